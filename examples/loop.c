/*
 * The event loop. Two ways of waiting, epoll and poll, behind a table of two functions.
 *
 * Invariants:
 *   1. slots[fd].callback is set exactly while fd is watched.
 *   2. A callback runs only for a slot that was added before the turn's wait began (slot.turn <
 *      loop.turn): what the kernel said about a descriptor that was removed in the same turn never
 *      reaches a new one of the same number.
 *   3. poll: places[slots[fd].place].fd == fd for every watched fd; places has no gaps.
 */
#define _GNU_SOURCE

#include "loop.h"
#include "io.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#ifdef IO_HAS_EPOLL
#include <sys/epoll.h>
#endif

enum { READY_MAX = 256 }; /* descriptors reported in one turn; the others come in the next */

struct slot {
    loop_callback *callback;
    void *ctx;
    uint64_t turn; /* the turn in which it was added */
    unsigned interest;
    size_t place; /* poll: its position in places */
};

struct ready {
    int fd;
    unsigned what;
};

struct waiter {
    /* Makes what is watched agree with slots[fd]. 0, or a negated errno. */
    int (*change)(struct loop *loop, int fd, int was_watched, int is_watched);
    /* Fills loop->ready; returns how many, or a negated errno. */
    int (*wait)(struct loop *loop, int timeout_ms);
};

struct loop {
    const struct io *io;
    const struct waiter *waiter;
    struct slot *slots;
    size_t slot_count;
    uint64_t turn;
    int epoll_fd;
    struct pollfd *places;
    size_t place_count, place_capacity;
    struct ready ready[READY_MAX];
};

static unsigned with_errors(unsigned what, int is_error)
{
    return is_error ? LOOP_READ | LOOP_WRITE : what;
}

/* ---- poll ---- */

static short poll_interest(unsigned interest)
{
    return (short)((interest & LOOP_READ ? POLLIN : 0) | (interest & LOOP_WRITE ? POLLOUT : 0));
}

static int poll_place(struct loop *loop, int fd)
{
    if (loop->place_count == loop->place_capacity) {
        size_t capacity = loop->place_capacity ? 2 * loop->place_capacity : 16;
        struct pollfd *places = realloc(loop->places, capacity * sizeof *places);

        if (!places) {
            return -ENOMEM;
        }
        loop->places = places;
        loop->place_capacity = capacity;
    }
    loop->slots[fd].place = loop->place_count;
    loop->places[loop->place_count++] = (struct pollfd){.fd = fd};
    return 0;
}

/* The last place moves into the gap. */
static void poll_unplace(struct loop *loop, int fd)
{
    size_t place = loop->slots[fd].place;

    loop->places[place] = loop->places[--loop->place_count];
    loop->slots[loop->places[place].fd].place = place;
}

static int poll_change(struct loop *loop, int fd, int was_watched, int is_watched)
{
    if (!is_watched) {
        poll_unplace(loop, fd);
        return 0;
    }
    if (!was_watched) {
        int status = poll_place(loop, fd);

        if (status) {
            return status;
        }
    }
    loop->places[loop->slots[fd].place].events = poll_interest(loop->slots[fd].interest);
    return 0;
}

static int poll_wait(struct loop *loop, int timeout_ms)
{
    int count = 0;
    int found =
        loop->io->poll(loop->io->ctx, loop->places, (unsigned)loop->place_count, timeout_ms);

    if (found <= 0) {
        return found;
    }
    /* Begins elsewhere in every turn: where more are ready than fit, nobody starves. */
    for (size_t i = 0; i < loop->place_count && count < READY_MAX; i++) {
        const struct pollfd *place = &loop->places[(i + loop->turn) % loop->place_count];
        unsigned what = (place->revents & POLLIN ? LOOP_READ : 0u) |
                        (place->revents & POLLOUT ? LOOP_WRITE : 0u);

        if (place->revents) {
            int is_error = (place->revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;

            loop->ready[count++] = (struct ready){place->fd, with_errors(what, is_error)};
        }
    }
    return count;
}

static const struct waiter poll_waiter = {poll_change, poll_wait};

/* ---- epoll ---- */

#ifdef IO_HAS_EPOLL

static uint32_t epoll_interest(unsigned interest)
{
    return (interest & LOOP_READ ? (uint32_t)EPOLLIN : 0) |
           (interest & LOOP_WRITE ? (uint32_t)EPOLLOUT : 0);
}

static int epoll_update(struct loop *loop, int fd, int was_watched, int is_watched)
{
    int operation = !is_watched ? EPOLL_CTL_DEL : was_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    struct epoll_event event;

    memset(&event, 0, sizeof event);
    event.events = epoll_interest(loop->slots[fd].interest);
    event.data.fd = fd;
    return loop->io->epoll_change(loop->io->ctx, loop->epoll_fd, operation, fd, &event);
}

static int epoll_collect(struct loop *loop, int timeout_ms)
{
    struct epoll_event events[READY_MAX];
    int count = loop->io->epoll_wait(loop->io->ctx, loop->epoll_fd, events, READY_MAX, timeout_ms);

    for (int i = 0; i < count; i++) {
        unsigned what = (events[i].events & EPOLLIN ? LOOP_READ : 0u) |
                        (events[i].events & EPOLLOUT ? LOOP_WRITE : 0u);
        int is_error = (events[i].events & (EPOLLERR | EPOLLHUP)) != 0;

        loop->ready[i] = (struct ready){events[i].data.fd, with_errors(what, is_error)};
    }
    return count;
}

static const struct waiter epoll_waiter = {epoll_update, epoll_collect};

static void choose_waiter(struct loop *loop)
{
    int fd = loop->io->epoll_create ? loop->io->epoll_create(loop->io->ctx) : -ENOSYS;

    loop->epoll_fd = fd >= 0 ? fd : -1;
    loop->waiter = fd >= 0 ? &epoll_waiter : &poll_waiter;
}

#else

static void choose_waiter(struct loop *loop)
{
    loop->epoll_fd = -1;
    loop->waiter = &poll_waiter;
}

#endif

/* ---- the loop ---- */

struct loop *loop_new(const struct io *io)
{
    struct loop *loop = calloc(1, sizeof *loop);

    if (loop) {
        loop->io = io;
        choose_waiter(loop);
    }
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop) {
        return;
    }
    if (loop->epoll_fd >= 0) {
        loop->io->close(loop->io->ctx, loop->epoll_fd);
    }
    free(loop->places);
    free(loop->slots);
    free(loop);
}

static struct slot *find_slot(struct loop *loop, int fd)
{
    if (fd < 0 || (size_t)fd >= loop->slot_count || !loop->slots[fd].callback) {
        return NULL;
    }
    return &loop->slots[fd];
}

static int reserve_slot(struct loop *loop, int fd)
{
    size_t count = loop->slot_count ? loop->slot_count : 16;
    struct slot *slots;

    if ((size_t)fd < loop->slot_count) {
        return 0;
    }
    while (count <= (size_t)fd) {
        count *= 2;
    }
    slots = realloc(loop->slots, count * sizeof *slots);
    if (!slots) {
        return -ENOMEM;
    }
    memset(slots + loop->slot_count, 0, (count - loop->slot_count) * sizeof *slots);
    loop->slots = slots;
    loop->slot_count = count;
    return 0;
}

int loop_add(struct loop *loop, int fd, unsigned interest, loop_callback *callback, void *ctx)
{
    int status;

    if (fd < 0 || !callback) {
        return -EINVAL;
    }
    if (find_slot(loop, fd)) {
        return -EEXIST;
    }
    status = reserve_slot(loop, fd);
    if (status) {
        return status;
    }
    loop->slots[fd] = (struct slot){callback, ctx, loop->turn, interest, 0};
    status = loop->waiter->change(loop, fd, 0, 1);
    if (status) {
        loop->slots[fd].callback = NULL;
    }
    return status;
}

int loop_set(struct loop *loop, int fd, unsigned interest)
{
    struct slot *slot = find_slot(loop, fd);
    unsigned old;
    int status;

    if (!slot) {
        return -ENOENT;
    }
    if (slot->interest == interest) {
        return 0;
    }
    old = slot->interest;
    slot->interest = interest;
    status = loop->waiter->change(loop, fd, 1, 1);
    if (status) {
        slot->interest = old;
    }
    return status;
}

void loop_remove(struct loop *loop, int fd)
{
    if (find_slot(loop, fd)) {
        loop->waiter->change(loop, fd, 1, 0);
        loop->slots[fd].callback = NULL;
    }
}

int loop_wait(struct loop *loop, int timeout_ms)
{
    int called = 0;
    int count = loop->waiter->wait(loop, timeout_ms);

    if (count < 0) {
        return count == -EINTR ? 0 : count;
    }
    loop->turn++;
    for (int i = 0; i < count; i++) {
        int fd = loop->ready[i].fd;
        const struct slot *slot = find_slot(loop, fd);

        if (slot && slot->turn < loop->turn) {
            slot->callback(slot->ctx, fd, loop->ready[i].what);
            called++;
        }
    }
    return called;
}

int loop_timeout(uint64_t deadline_ms, uint64_t now_ms)
{
    uint64_t left = deadline_ms > now_ms ? deadline_ms - now_ms : 0;

    if (deadline_ms == UINT64_MAX) {
        return -1;
    }
    return left > INT_MAX ? INT_MAX : (int)left;
}
