/*
 * The resolver: questions in a table under a lock, a thread that takes them in turn, and a mailbox
 * for the answers.
 *
 * Invariants:
 *   1. A question stays in the table until its answer is in the hands of the loop's thread, or it
 *      is taken back. An answer whose question (by number, which is never given twice) is not
 *      there any more is dropped: it is late.
 *   2. The table and the mailbox have two owners, the loop's thread and the resolver's, and go with
 *      the last of them. The thread is detached, since waiting for it could take long.
 *   3. No lock is held while the system is asked, and none while something is posted.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "resolver.h"
#include "io.h"
#include "loop.h"
#include "mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAUSE_DEFAULT_MS = 500, PAUSE_DOUBLED_MAX = 5 };

struct question {
    uint64_t tag;
    uint64_t number;
    uint64_t due_ms; /* UINT64_MAX: answered, and the answer is on its way */
    unsigned tries;
    char text[RESOLVER_TEXT_MAX];
};

struct answer {
    uint64_t number;
    char numeric[ADDRESS_TEXT_MAX];
};

struct resolver {
    struct resolver_options options;
    struct mailbox *box;

    pthread_mutex_t lock; /* of the following */
    pthread_cond_t changed;
    struct question questions[RESOLVER_QUESTIONS_MAX];
    size_t count;
    uint64_t next_number;
    int owners;
    int is_ended;
};

static uint64_t resolver_now(const struct resolver *resolver)
{
    return resolver->options.io->now_ms(resolver->options.io->ctx);
}

/* ---- The table, under the lock -------------------------------------------------------------- */

static struct question *question_of(struct resolver *resolver, uint64_t number)
{
    for (size_t i = 0; i < resolver->count; i++) {
        if (resolver->questions[i].number == number) {
            return &resolver->questions[i];
        }
    }
    return NULL;
}

static void remove_question(struct resolver *resolver, struct question *question)
{
    *question = resolver->questions[--resolver->count];
}

static void remove_tag(struct resolver *resolver, uint64_t tag)
{
    for (size_t i = 0; i < resolver->count; i++) {
        if (resolver->questions[i].tag == tag) {
            remove_question(resolver, &resolver->questions[i]);
            return;
        }
    }
}

/* The question that is due first; null where there is none. */
static struct question *first_due(struct resolver *resolver)
{
    struct question *first = NULL;

    for (size_t i = 0; i < resolver->count; i++) {
        struct question *question = &resolver->questions[i];

        if (question->due_ms != UINT64_MAX && (!first || question->due_ms < first->due_ms)) {
            first = question;
        }
    }
    return first;
}

/* ---- The thread ----------------------------------------------------------------------------- */

/* Sleeps under the lock; a clock that is set makes a pause longer or shorter, no more. */
static void pause_for(struct resolver *resolver, uint64_t ms)
{
    struct timespec end;

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += (time_t)(ms / 1000);
    end.tv_nsec += (long)(ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_nsec -= 1000000000;
        end.tv_sec++;
    }
    pthread_cond_timedwait(&resolver->changed, &resolver->lock, &end);
}

/* Waits under the lock for a question that is due, and copies it. Returns 0 at the end. */
static int next_question(struct resolver *resolver, struct question *out)
{
    while (!resolver->is_ended) {
        struct question *question = first_due(resolver);
        uint64_t now_ms = resolver_now(resolver);

        if (!question) {
            pthread_cond_wait(&resolver->changed, &resolver->lock);
        } else if (question->due_ms > now_ms) {
            pause_for(resolver, question->due_ms - now_ms);
        } else {
            *out = *question;
            return 1;
        }
    }
    return 0;
}

static void put_off(struct resolver *resolver, struct question *question)
{
    unsigned doubled = question->tries < PAUSE_DOUBLED_MAX ? question->tries : PAUSE_DOUBLED_MAX;

    question->due_ms = resolver_now(resolver) + ((uint64_t)resolver->options.pause_ms << doubled);
    question->tries++;
}

/* Asks the system. Returns 0 where there is an answer. */
static int look_up(const struct resolver *resolver, const struct question *question,
                   struct answer *answer)
{
    const struct resolver_options *options = &resolver->options;
    struct address address;
    int status = options->look_up ? options->look_up(options->look_up_ctx, question->text, &address)
                                  : address_parse(question->text, &address);

    memset(answer, 0, sizeof *answer);
    answer->number = question->number;
    if (status == 0) {
        address_format(&address, answer->numeric);
    }
    return status;
}

/* Without the lock. Returns 0 where the answer is on its way. */
static int answer_question(struct resolver *resolver, const struct question *question)
{
    struct answer answer;

    if (look_up(resolver, question, &answer) != 0) {
        return -1;
    }
    return mailbox_post(resolver->box, &answer, sizeof answer, NULL, NULL) == MAILBOX_OK ? 0 : -1;
}

static void leave(struct resolver *resolver)
{
    int owners;

    pthread_mutex_lock(&resolver->lock);
    owners = --resolver->owners;
    pthread_mutex_unlock(&resolver->lock);
    if (owners == 0) {
        mailbox_free(resolver->box);
        pthread_cond_destroy(&resolver->changed);
        pthread_mutex_destroy(&resolver->lock);
        free(resolver);
    }
}

static void *run_resolver(void *ctx)
{
    struct resolver *resolver = ctx;
    struct question question;

    pthread_mutex_lock(&resolver->lock);
    while (next_question(resolver, &question)) {
        struct question *still;
        int status;

        pthread_mutex_unlock(&resolver->lock);
        status = answer_question(resolver, &question);
        pthread_mutex_lock(&resolver->lock);
        still = question_of(resolver, question.number);
        if (still && status == 0) {
            still->due_ms = UINT64_MAX;
        } else if (still) {
            put_off(resolver, still);
        }
    }
    pthread_mutex_unlock(&resolver->lock);
    leave(resolver);
    return NULL;
}

/* ---- The loop's side ------------------------------------------------------------------------ */

/* Takes the question of an answer out of the table. Returns 0 where the answer is late. */
static int take_question(struct resolver *resolver, uint64_t number, uint64_t *tag)
{
    struct question *question;

    pthread_mutex_lock(&resolver->lock);
    question = question_of(resolver, number);
    if (question) {
        *tag = question->tag;
        remove_question(resolver, question);
    }
    pthread_mutex_unlock(&resolver->lock);
    return question != NULL;
}

static void on_answers(void *ctx, int fd, unsigned ready)
{
    struct resolver *resolver = ctx;
    struct mailbox_letter *letter;

    (void)fd;
    (void)ready;
    while ((letter = mailbox_take(resolver->box))) {
        struct answer answer;
        uint64_t tag;

        memcpy(&answer, letter->data, sizeof answer);
        mailbox_answer(resolver->box, letter, MAILBOX_OK, NULL, 0);
        if (take_question(resolver, answer.number, &tag)) {
            resolver->options.done(resolver->options.ctx, tag, answer.numeric);
        }
    }
}

/* Signals are for the threads of the host. */
static int start_thread(struct resolver *resolver)
{
    pthread_t thread;
    sigset_t all, before;
    int status;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    status = pthread_create(&thread, NULL, run_resolver, resolver);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status == 0) {
        pthread_detach(thread);
    }
    return -status;
}

/* Lock, mailbox, loop and thread. What was made is undone where a later one fails. */
static int open_resolver(struct resolver *resolver)
{
    const struct mailbox_options options = {.io = resolver->options.io};
    struct loop *loop = resolver->options.loop;
    int status;

    pthread_mutex_init(&resolver->lock, NULL);
    pthread_cond_init(&resolver->changed, NULL);
    status = mailbox_new(&options, &resolver->box);
    if (status == 0) {
        status = loop_add(loop, mailbox_fd(resolver->box), LOOP_READ, on_answers, resolver);
        if (status == 0) {
            resolver->owners = 2;
            status = start_thread(resolver);
            if (status == 0) {
                return 0;
            }
            loop_remove(loop, mailbox_fd(resolver->box));
        }
        mailbox_free(resolver->box);
    }
    pthread_cond_destroy(&resolver->changed);
    pthread_mutex_destroy(&resolver->lock);
    return status;
}

int resolver_new(const struct resolver_options *options, struct resolver **out)
{
    struct resolver *resolver;
    int status;

    if (!options || !options->io || !options->loop || !options->done) {
        return -EINVAL;
    }
    resolver = calloc(1, sizeof *resolver);
    if (!resolver) {
        return -ENOMEM;
    }
    resolver->options = *options;
    if (resolver->options.pause_ms == 0) {
        resolver->options.pause_ms = PAUSE_DEFAULT_MS;
    }
    status = open_resolver(resolver);
    if (status == 0) {
        *out = resolver;
    } else {
        free(resolver);
    }
    return status;
}

void resolver_free(struct resolver *resolver)
{
    if (!resolver) {
        return;
    }
    loop_remove(resolver->options.loop, mailbox_fd(resolver->box));
    mailbox_close(resolver->box);
    pthread_mutex_lock(&resolver->lock);
    resolver->is_ended = 1;
    resolver->count = 0;
    pthread_cond_signal(&resolver->changed);
    pthread_mutex_unlock(&resolver->lock);
    leave(resolver);
}

int resolver_ask(struct resolver *resolver, uint64_t tag, const char *text)
{
    size_t size = strlen(text);
    int status = 0;

    if (size >= RESOLVER_TEXT_MAX) {
        return -EINVAL;
    }
    pthread_mutex_lock(&resolver->lock);
    remove_tag(resolver, tag);
    if (resolver->count == RESOLVER_QUESTIONS_MAX) {
        status = -ENOSPC;
    } else {
        struct question *question = &resolver->questions[resolver->count++];

        *question = (struct question){.tag = tag, .number = ++resolver->next_number};
        memcpy(question->text, text, size + 1);
        pthread_cond_signal(&resolver->changed);
    }
    pthread_mutex_unlock(&resolver->lock);
    return status;
}

void resolver_forget(struct resolver *resolver, uint64_t tag)
{
    pthread_mutex_lock(&resolver->lock);
    remove_tag(resolver, tag);
    pthread_mutex_unlock(&resolver->lock);
}
