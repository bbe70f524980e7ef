/*
 * The event loop: who is called back, when, and who is not called any more. Every test runs over
 * epoll, where there is one, and over poll.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "io.h"
#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIPES_MAX = 300, WAIT_MS = 10000 };

/* What the callbacks saw, and what they are to do. */
struct watcher {
    struct loop *loop;
    int calls;
    unsigned ready; /* of the last call */
    int remove_fd;  /* -1: nothing */
    int add_fd;
    struct watcher *add_for;
};

static struct io io; /* the table under test: the real one, with or without epoll */

static void on_ready(void *ctx, int fd, unsigned ready)
{
    struct watcher *watcher = ctx;
    (void)fd;
    watcher->calls++;
    watcher->ready = ready;
    if (watcher->remove_fd >= 0) {
        loop_remove(watcher->loop, watcher->remove_fd);
    }
    if (watcher->add_fd >= 0) {
        CHECK_EQ(loop_add(watcher->loop, watcher->add_fd, LOOP_READ, on_ready, watcher->add_for),
                 0);
    }
}

static struct watcher watching(struct loop *loop)
{
    return (struct watcher){.loop = loop, .remove_fd = -1, .add_fd = -1};
}

static struct loop *new_loop(void)
{
    struct loop *loop = loop_new(&io);
    CHECK(loop);
    return loop;
}

static void open_pipe(int ends[2])
{
    CHECK_EQ(io.pipe(io.ctx, ends), 0);
}

static void close_pipe(int ends[2])
{
    io.close(io.ctx, ends[0]);
    io.close(io.ctx, ends[1]);
}

static void put_byte(int ends[2])
{
    CHECK_EQ(io.write(io.ctx, ends[1], "x", 1), 1);
}

static void a_descriptor_with_bytes_is_called_back_until_it_is_read(void)
{
    struct loop *loop = new_loop();
    struct watcher watcher = watching(loop);
    int ends[2];
    char byte;
    open_pipe(ends);
    CHECK_EQ(loop_add(loop, ends[0], LOOP_READ, on_ready, &watcher), 0);
    CHECK_EQ(loop_wait(loop, 0), 0);
    put_byte(ends);
    CHECK_EQ(loop_wait(loop, WAIT_MS), 1);
    CHECK_EQ(watcher.ready, LOOP_READ);
    CHECK_EQ(loop_wait(loop, WAIT_MS), 1);
    CHECK_EQ(io.read(io.ctx, ends[0], &byte, 1), 1);
    CHECK_EQ(loop_wait(loop, 0), 0);
    CHECK_EQ(watcher.calls, 2);
    loop_free(loop);
    close_pipe(ends);
}

static void only_what_is_of_interest_is_told(void)
{
    struct loop *loop = new_loop();
    struct watcher watcher = watching(loop);
    int ends[2];
    open_pipe(ends);
    CHECK_EQ(loop_add(loop, ends[1], LOOP_READ, on_ready, &watcher), 0);
    CHECK_EQ(loop_wait(loop, 0), 0);
    CHECK_EQ(loop_set(loop, ends[1], LOOP_WRITE), 0);
    CHECK_EQ(loop_wait(loop, WAIT_MS), 1);
    CHECK_EQ(watcher.ready, LOOP_WRITE);
    CHECK_EQ(loop_set(loop, ends[1], 0), 0);
    CHECK_EQ(loop_wait(loop, 0), 0);
    loop_free(loop);
    close_pipe(ends);
}

static void a_hang_up_is_told_whatever_the_interest(void)
{
    struct loop *loop = new_loop();
    struct watcher watcher = watching(loop);
    int ends[2];
    open_pipe(ends);
    CHECK_EQ(loop_add(loop, ends[0], 0, on_ready, &watcher), 0);
    CHECK_EQ(loop_wait(loop, 0), 0);
    io.close(io.ctx, ends[1]);
    CHECK_EQ(loop_wait(loop, WAIT_MS), 1);
    CHECK_EQ(watcher.ready, LOOP_READ | LOOP_WRITE);
    loop_remove(loop, ends[0]);
    CHECK_EQ(loop_wait(loop, 0), 0);
    loop_free(loop);
    io.close(io.ctx, ends[0]);
}

static void a_callback_may_remove_its_own_descriptor(void)
{
    struct loop *loop = new_loop();
    struct watcher watcher = watching(loop);
    int ends[2];
    open_pipe(ends);
    watcher.remove_fd = ends[0];
    CHECK_EQ(loop_add(loop, ends[0], LOOP_READ, on_ready, &watcher), 0);
    put_byte(ends);
    CHECK_EQ(loop_wait(loop, WAIT_MS), 1);
    CHECK_EQ(loop_wait(loop, 0), 0);
    CHECK_EQ(watcher.calls, 1);
    loop_free(loop);
    close_pipe(ends);
}

/* Both are ready in one turn; each removes the other, so only the first is called. */
static void what_a_callback_removes_is_not_called_in_the_same_turn(void)
{
    struct loop *loop = new_loop();
    struct watcher one = watching(loop), two = watching(loop);
    int first[2], second[2];
    open_pipe(first);
    open_pipe(second);
    one.remove_fd = second[0];
    two.remove_fd = first[0];
    CHECK_EQ(loop_add(loop, first[0], LOOP_READ, on_ready, &one), 0);
    CHECK_EQ(loop_add(loop, second[0], LOOP_READ, on_ready, &two), 0);
    put_byte(first);
    put_byte(second);
    CHECK_EQ(loop_wait(loop, WAIT_MS), 1);
    CHECK_EQ(one.calls + two.calls, 1);
    CHECK_EQ(loop_wait(loop, 0), 1);
    CHECK_EQ(one.calls + two.calls, 2);
    CHECK(one.calls == 2 || two.calls == 2);
    loop_free(loop);
    close_pipe(first);
    close_pipe(second);
}

/* As when a callback closes a descriptor and accept gives its number to somebody else. */
static void a_new_descriptor_of_an_old_number_gets_none_of_its_readiness(void)
{
    struct loop *loop = new_loop();
    struct watcher one = watching(loop), two = watching(loop), heir = watching(loop);
    int first[2], second[2];
    open_pipe(first);
    open_pipe(second);
    one.remove_fd = one.add_fd = second[0];
    two.remove_fd = two.add_fd = first[0];
    one.add_for = two.add_for = &heir;
    CHECK_EQ(loop_add(loop, first[0], LOOP_READ, on_ready, &one), 0);
    CHECK_EQ(loop_add(loop, second[0], LOOP_READ, on_ready, &two), 0);
    put_byte(first);
    put_byte(second);
    CHECK_EQ(loop_wait(loop, WAIT_MS), 1);
    CHECK_EQ(heir.calls, 0);
    one.remove_fd = one.add_fd = two.remove_fd = two.add_fd = -1;
    CHECK_EQ(loop_wait(loop, WAIT_MS), 2);
    CHECK_EQ(heir.calls, 1);
    loop_free(loop);
    close_pipe(first);
    close_pipe(second);
}

static void descriptors_are_removed_in_any_order(void)
{
    struct loop *loop = new_loop();
    struct watcher watchers[8];
    int pipes[8][2];
    static const int order[8] = {3, 7, 0, 6, 1, 5, 2, 4};
    for (int i = 0; i < 8; i++) {
        watchers[i] = watching(loop);
        open_pipe(pipes[i]);
        put_byte(pipes[i]);
        CHECK_EQ(loop_add(loop, pipes[i][0], LOOP_READ, on_ready, &watchers[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(loop_wait(loop, WAIT_MS), 8 - i);
        loop_remove(loop, pipes[order[i]][0]);
        CHECK_EQ(watchers[order[i]].calls, i + 1);
    }
    CHECK_EQ(loop_wait(loop, 0), 0);
    loop_free(loop);
    for (int i = 0; i < 8; i++) {
        close_pipe(pipes[i]);
    }
}

static void of_hundreds_of_ready_descriptors_none_starves(void)
{
    struct loop *loop = new_loop();
    static struct watcher watchers[PIPES_MAX];
    static int pipes[PIPES_MAX][2];
    for (int i = 0; i < PIPES_MAX; i++) {
        watchers[i] = watching(loop);
        open_pipe(pipes[i]);
        put_byte(pipes[i]);
        CHECK_EQ(loop_add(loop, pipes[i][0], LOOP_READ, on_ready, &watchers[i]), 0);
    }
    for (int turn = 0; turn < PIPES_MAX; turn++) {
        CHECK(loop_wait(loop, WAIT_MS) > 0);
    }
    for (int i = 0; i < PIPES_MAX; i++) {
        CHECK(watchers[i].calls > 0);
        close_pipe(pipes[i]);
    }
    loop_free(loop);
}

static void misuse_is_refused(void)
{
    struct loop *loop = new_loop();
    struct watcher watcher = watching(loop);
    int ends[2];
    open_pipe(ends);
    CHECK_EQ(loop_add(loop, -1, LOOP_READ, on_ready, &watcher), -EINVAL);
    CHECK_EQ(loop_add(loop, ends[0], LOOP_READ, NULL, &watcher), -EINVAL);
    CHECK_EQ(loop_add(loop, ends[0], LOOP_READ, on_ready, &watcher), 0);
    CHECK_EQ(loop_add(loop, ends[0], LOOP_READ, on_ready, &watcher), -EEXIST);
    CHECK_EQ(loop_set(loop, ends[1], LOOP_READ), -ENOENT);
    loop_remove(loop, ends[1]);
    loop_remove(loop, -1);
    loop_free(loop);
    loop_free(NULL);
    close_pipe(ends);
}

static int interrupted_poll(void *ctx, struct pollfd *fds, unsigned count, int timeout_ms)
{
    (void)ctx, (void)fds, (void)count, (void)timeout_ms;
    return -EINTR;
}

static int interrupted_epoll(void *ctx, int epoll_fd, struct epoll_event *events, int count,
                             int timeout_ms)
{
    (void)ctx, (void)epoll_fd, (void)events, (void)count, (void)timeout_ms;
    return -EINTR;
}

static int broken_poll(void *ctx, struct pollfd *fds, unsigned count, int timeout_ms)
{
    (void)ctx, (void)fds, (void)count, (void)timeout_ms;
    return -ENOMEM;
}

static int broken_epoll(void *ctx, int epoll_fd, struct epoll_event *events, int count,
                        int timeout_ms)
{
    (void)ctx, (void)epoll_fd, (void)events, (void)count, (void)timeout_ms;
    return -ENOMEM;
}

static void an_interrupted_wait_is_an_empty_turn_and_a_broken_one_an_error(void)
{
    struct io saved = io;
    struct loop *loop = new_loop();
    io.poll = interrupted_poll;
    io.epoll_wait = interrupted_epoll;
    CHECK_EQ(loop_wait(loop, -1), 0);
    io.poll = broken_poll;
    io.epoll_wait = broken_epoll;
    CHECK_EQ(loop_wait(loop, -1), -ENOMEM);
    io = saved;
    loop_free(loop);
}

static int refused_epoll(void *ctx)
{
    (void)ctx;
    return -ENOSYS;
}

static void where_epoll_is_refused_poll_serves(void)
{
    io.epoll_create = refused_epoll;
    a_descriptor_with_bytes_is_called_back_until_it_is_read();
}

static void timeouts_end_at_the_deadline(void)
{
    CHECK_EQ(loop_timeout(UINT64_MAX, 5), -1);
    CHECK_EQ(loop_timeout(5, 5), 0);
    CHECK_EQ(loop_timeout(4, 5), 0);
    CHECK_EQ(loop_timeout(0, 5), 0);
    CHECK_EQ(loop_timeout(105, 5), 100);
    CHECK_EQ(loop_timeout(UINT64_MAX - 1, 5), 2147483647);
}

static void run_all(void)
{
    RUN(a_descriptor_with_bytes_is_called_back_until_it_is_read);
    RUN(only_what_is_of_interest_is_told);
    RUN(a_hang_up_is_told_whatever_the_interest);
    RUN(a_callback_may_remove_its_own_descriptor);
    RUN(what_a_callback_removes_is_not_called_in_the_same_turn);
    RUN(a_new_descriptor_of_an_old_number_gets_none_of_its_readiness);
    RUN(descriptors_are_removed_in_any_order);
    RUN(of_hundreds_of_ready_descriptors_none_starves);
    RUN(misuse_is_refused);
    RUN(an_interrupted_wait_is_an_empty_turn_and_a_broken_one_an_error);
}

int main(void)
{
    io = io_posix;
    run_all();
    io.epoll_create = NULL;
    run_all();
    RUN(where_epoll_is_refused_poll_serves);
    RUN(timeouts_end_at_the_deadline);
    return check_done();
}
