/*
 * The mailbox: a list of letters under a lock, and a pipe that holds a byte while the list may hold
 * a letter.
 *
 * Invariants:
 *   1. Under the lock: a byte is in the pipe exactly while is_woken. It is written with the first
 *      letter, before that is in the list, and read only where the list is found empty under the
 *      same lock. So a letter in the list always has its byte, and at most one byte is ever in the
 *      pipe: writing it cannot block.
 *   2. A letter is in the list `posted`, then in the list `taken`, then freed. taken belongs to the
 *      loop's thread alone.
 *   3. count and bytes are those of all letters in both lists.
 *   4. A ticket has two owners, its letter and whoever asked, and is freed by the last that leaves.
 *      It depends on no mailbox.
 *   5. Locks are held for a few instructions and no system call but that write, read and, for
 *      waiting, the condition; never two at a time.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "mailbox.h"
#include "io.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Where conditions can wait by the monotonic clock they do: setting the time shortens no wait. */
#if defined(_POSIX_CLOCK_SELECTION) && _POSIX_CLOCK_SELECTION > 0 &&                               \
    defined(_POSIX_MONOTONIC_CLOCK) && _POSIX_MONOTONIC_CLOCK >= 0
#define MAILBOX_CLOCK CLOCK_MONOTONIC
#else
#define MAILBOX_CLOCK CLOCK_REALTIME
#endif

enum { LETTERS_DEFAULT = 1024, BYTES_DEFAULT = 16 << 20 };

struct mailbox_ticket {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    int owners;
    int status; /* MAILBOX_WAITING until there is an answer */
    void *data;
    size_t size;
};

struct letter {
    struct mailbox_letter shown; /* first: what the loop holds is a pointer to it */
    struct letter *next;
    struct letter *previous; /* in `taken` */
    mailbox_done *done;
    void *ctx;
    struct mailbox_ticket *ticket; /* null: nobody waits */
};

struct mailbox {
    const struct io *io;
    size_t letters_max;
    size_t bytes_max;
    int pipe[2];

    pthread_mutex_t lock; /* of the following */
    struct letter *first; /* posted, oldest first */
    struct letter *last;
    size_t count;
    size_t bytes;
    int is_woken;
    int is_closed;

    struct letter *taken; /* oldest first; the loop's thread alone, like the next */
    struct letter *taken_last;
};

/* ---- Tickets -------------------------------------------------------------------------------- */

static int choose_clock(pthread_condattr_t *attributes)
{
#if defined(_POSIX_CLOCK_SELECTION) && _POSIX_CLOCK_SELECTION > 0
    return pthread_condattr_setclock(attributes, MAILBOX_CLOCK);
#else
    (void)attributes; /* MAILBOX_CLOCK is what conditions use anyway */
    return 0;
#endif
}

static int init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    int result = pthread_condattr_init(&attributes);

    if (result != 0) {
        return result;
    }
    result = choose_clock(&attributes);
    if (result == 0) {
        result = pthread_cond_init(condition, &attributes);
    }
    pthread_condattr_destroy(&attributes);
    return result;
}

static struct mailbox_ticket *new_ticket(void)
{
    struct mailbox_ticket *ticket = calloc(1, sizeof *ticket);

    if (!ticket || pthread_mutex_init(&ticket->lock, NULL) != 0) {
        free(ticket);
        return NULL;
    }
    if (init_condition(&ticket->answered) != 0) {
        pthread_mutex_destroy(&ticket->lock);
        free(ticket);
        return NULL;
    }
    ticket->owners = 2;
    ticket->status = MAILBOX_WAITING;
    return ticket;
}

static void free_ticket(struct mailbox_ticket *ticket)
{
    pthread_cond_destroy(&ticket->answered);
    pthread_mutex_destroy(&ticket->lock);
    free(ticket->data);
    free(ticket);
}

void mailbox_forget(struct mailbox_ticket *ticket)
{
    int owners;

    if (!ticket) {
        return;
    }
    pthread_mutex_lock(&ticket->lock);
    owners = --ticket->owners;
    pthread_mutex_unlock(&ticket->lock);
    if (owners == 0) {
        free_ticket(ticket);
    }
}

/* The letter's owner of the ticket leaves with this. */
static void answer_ticket(struct mailbox_ticket *ticket, int status, const void *data, size_t size)
{
    void *copy = size > 0 ? malloc(size) : NULL;

    if (copy) {
        memcpy(copy, data, size);
    }
    pthread_mutex_lock(&ticket->lock);
    assert(ticket->status == MAILBOX_WAITING);
    ticket->status = status;
    ticket->data = copy;
    ticket->size = size;
    pthread_cond_broadcast(&ticket->answered);
    pthread_mutex_unlock(&ticket->lock);
    mailbox_forget(ticket);
}

static struct timespec time_after(int timeout_ms)
{
    struct timespec time;

    clock_gettime(MAILBOX_CLOCK, &time);
    time.tv_sec += timeout_ms / 1000;
    time.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_nsec -= 1000000000;
        time.tv_sec++;
    }
    return time;
}

int mailbox_wait(struct mailbox_ticket *ticket, int timeout_ms, struct mailbox_answer *answer)
{
    struct timespec end = time_after(timeout_ms > 0 ? timeout_ms : 0);
    int result = 0;
    int status;

    pthread_mutex_lock(&ticket->lock);
    while (ticket->status == MAILBOX_WAITING && result == 0) {
        result = timeout_ms < 0 ? pthread_cond_wait(&ticket->answered, &ticket->lock)
                                : pthread_cond_timedwait(&ticket->answered, &ticket->lock, &end);
    }
    status = ticket->status;
    if (answer && status != MAILBOX_WAITING) {
        *answer = (struct mailbox_answer){ticket->data, ticket->size};
    }
    pthread_mutex_unlock(&ticket->lock);
    return status;
}

/* ---- Life ----------------------------------------------------------------------------------- */

int mailbox_new(const struct mailbox_options *options, struct mailbox **out)
{
    struct mailbox *box;
    int status;

    if (!options || !options->io || !out) {
        return -EINVAL;
    }
    box = calloc(1, sizeof *box);
    if (!box) {
        return -ENOMEM;
    }
    box->io = options->io;
    box->letters_max = options->letters_max ? options->letters_max : LETTERS_DEFAULT;
    box->bytes_max = options->bytes_max ? options->bytes_max : BYTES_DEFAULT;
    status = -pthread_mutex_init(&box->lock, NULL);
    if (status == 0) {
        status = box->io->pipe(box->io->ctx, box->pipe);
        if (status < 0) {
            pthread_mutex_destroy(&box->lock);
        }
    }
    if (status < 0) {
        free(box);
        return status;
    }
    *out = box;
    return 0;
}

int mailbox_fd(const struct mailbox *box)
{
    return box->pipe[0];
}

size_t mailbox_count(struct mailbox *box)
{
    size_t count;

    pthread_mutex_lock(&box->lock);
    count = box->count;
    pthread_mutex_unlock(&box->lock);
    return count;
}

/* ---- Posting -------------------------------------------------------------------------------- */

static struct letter *new_letter(const void *data, size_t size)
{
    struct letter *letter;

    if (size > SIZE_MAX - sizeof *letter) {
        return NULL;
    }
    letter = calloc(1, sizeof *letter + size);
    if (letter) {
        letter->shown = (struct mailbox_letter){letter + 1, size};
        if (size > 0) {
            memcpy(letter + 1, data, size);
        }
    }
    return letter;
}

/* Under the lock. Makes the descriptor readable; nonzero where that cannot be done. */
static int wake(struct mailbox *box)
{
    const char byte = 'm';
    long result = box->is_woken ? 1 : -EINTR;

    while (result == -EINTR) {
        result = box->io->write(box->io->ctx, box->pipe[1], &byte, 1);
    }
    box->is_woken = result == 1; /* 1 */
    return result != 1;
}

/* Under the lock. */
static int refusal(const struct mailbox *box, size_t size)
{
    if (box->is_closed) {
        return MAILBOX_ECLOSED;
    }
    if (size > box->bytes_max) {
        return MAILBOX_ESIZE;
    }
    return box->count >= box->letters_max || size > box->bytes_max - box->bytes ? MAILBOX_EFULL
                                                                                : MAILBOX_OK;
}

/* Puts a letter into the list, or frees it and says why not. Its ticket is the caller's then. */
static int deliver(struct mailbox *box, struct letter *letter)
{
    int status;

    pthread_mutex_lock(&box->lock);
    status = refusal(box, letter->shown.size);
    if (status == MAILBOX_OK && wake(box)) {
        status = MAILBOX_EWAKE;
    }
    if (status == MAILBOX_OK) {
        if (box->last) {
            box->last->next = letter;
        } else {
            box->first = letter;
        }
        box->last = letter;
        box->count++;
        box->bytes += letter->shown.size;
    }
    pthread_mutex_unlock(&box->lock);
    if (status != MAILBOX_OK) {
        free(letter);
    }
    return status;
}

int mailbox_post(struct mailbox *box, const void *data, size_t size, mailbox_done *done, void *ctx)
{
    struct letter *letter = new_letter(data, size);

    if (!letter) {
        return MAILBOX_ENOMEM;
    }
    letter->done = done;
    letter->ctx = ctx;
    return deliver(box, letter);
}

int mailbox_ask(struct mailbox *box, const void *data, size_t size, struct mailbox_ticket **ticket)
{
    struct letter *letter = new_letter(data, size);
    struct mailbox_ticket *made = new_ticket();
    int status = MAILBOX_ENOMEM;

    if (letter && made) {
        letter->ticket = made;
        status = deliver(box, letter);
    } else {
        free(letter);
    }
    if (status == MAILBOX_OK) {
        *ticket = made;
    } else if (made) {
        free_ticket(made);
    }
    return status;
}

/* ---- Taking and answering ------------------------------------------------------------------- */

/* Under the lock, where the list is empty. */
static void sleep_again(struct mailbox *box)
{
    char byte;
    long result = box->is_woken ? -EINTR : 1;

    while (result == -EINTR) {
        result = box->io->read(box->io->ctx, box->pipe[0], &byte, 1);
    }
    box->is_woken = result != 1; /* 1; where reading fails, it is read the next time */
}

static void remember_taken(struct mailbox *box, struct letter *letter)
{
    letter->next = NULL;
    letter->previous = box->taken_last;
    if (box->taken_last) {
        box->taken_last->next = letter;
    } else {
        box->taken = letter;
    }
    box->taken_last = letter;
}

static void forget_taken(struct mailbox *box, struct letter *letter)
{
    if (letter->previous) {
        letter->previous->next = letter->next;
    } else {
        assert(box->taken == letter); /* 2 */
        box->taken = letter->next;
    }
    if (letter->next) {
        letter->next->previous = letter->previous;
    } else {
        assert(box->taken_last == letter); /* 2 */
        box->taken_last = letter->previous;
    }
}

static struct letter *take_posted(struct mailbox *box)
{
    struct letter *letter;

    pthread_mutex_lock(&box->lock);
    letter = box->first;
    if (letter) {
        box->first = letter->next;
        box->last = letter->next ? box->last : NULL;
    } else {
        sleep_again(box);
    }
    pthread_mutex_unlock(&box->lock);
    return letter;
}

struct mailbox_letter *mailbox_take(struct mailbox *box)
{
    struct letter *letter = take_posted(box);

    if (!letter) {
        return NULL;
    }
    remember_taken(box, letter);
    return &letter->shown;
}

/* Tells whoever waits, and frees the letter, which is in no list any more. */
static void answer_letter(struct mailbox *box, struct letter *letter, int status, const void *data,
                          size_t size)
{
    struct mailbox_answer answer = {data, size};

    assert(status != MAILBOX_WAITING);
    pthread_mutex_lock(&box->lock);
    box->count--;
    box->bytes -= letter->shown.size;
    pthread_mutex_unlock(&box->lock);
    if (letter->ticket) {
        answer_ticket(letter->ticket, status, data, size);
    } else if (letter->done) {
        letter->done(letter->ctx, status, &answer);
    }
    free(letter);
}

void mailbox_answer(struct mailbox *box, struct mailbox_letter *letter, int status,
                    const void *data, size_t size)
{
    struct letter *whole = (struct letter *)(void *)letter;

    forget_taken(box, whole);
    answer_letter(box, whole, status, data, size);
}

/* ---- The end -------------------------------------------------------------------------------- */

/* What was taken came first, so it is answered first. */
void mailbox_close(struct mailbox *box)
{
    struct letter *letter;

    pthread_mutex_lock(&box->lock);
    box->is_closed = 1;
    pthread_mutex_unlock(&box->lock);
    while (box->taken) {
        mailbox_answer(box, &box->taken->shown, MAILBOX_EUNKNOWN, NULL, 0);
    }
    while ((letter = take_posted(box))) {
        answer_letter(box, letter, MAILBOX_ECLOSED, NULL, 0);
    }
}

void mailbox_free(struct mailbox *box)
{
    if (!box) {
        return;
    }
    mailbox_close(box);
    assert(box->count == 0 && box->bytes == 0); /* 3 */
    box->io->close(box->io->ctx, box->pipe[0]);
    box->io->close(box->io->ctx, box->pipe[1]);
    pthread_mutex_destroy(&box->lock);
    free(box);
}
