/*
 * Names are looked up beside the loop: it is told what becomes known, once, never what it has taken
 * back, and never waits. Also run under ThreadSanitizer (make tsan).
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "check.h"
#include "io.h"
#include "loop.h"
#include "resolver.h"

enum { PATIENCE_MS = 60000 };

/* A system that knows names when the test says so. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned unknown; /* how many more times a name is not known */
    int is_blocked;   /* whoever asks waits */
    unsigned asked;
    unsigned waiting;
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* "pN:1" is 127.0.0.1:N, if it is known. */
static int look_up(void *ctx, const char *text, struct address *out)
{
    char numeric[32];
    unsigned port = 0;
    int is_known;

    (void)ctx;
    pthread_mutex_lock(&names.lock);
    names.asked++;
    names.waiting++;
    pthread_cond_broadcast(&names.changed);
    while (names.is_blocked) {
        pthread_cond_wait(&names.changed, &names.lock);
    }
    names.waiting--;
    is_known = names.unknown == 0;
    names.unknown -= names.unknown > 0;
    pthread_mutex_unlock(&names.lock);
    if (!is_known || sscanf(text, "p%u:", &port) != 1) {
        return -ENOENT;
    }
    snprintf(numeric, sizeof numeric, "127.0.0.1:%u", port);
    return address_parse(numeric, out);
}

static void set_names(unsigned unknown, int is_blocked)
{
    pthread_mutex_lock(&names.lock);
    names.unknown = unknown;
    names.is_blocked = is_blocked;
    pthread_cond_broadcast(&names.changed);
    pthread_mutex_unlock(&names.lock);
}

static void await_blocked(void)
{
    pthread_mutex_lock(&names.lock);
    while (names.waiting == 0) {
        pthread_cond_wait(&names.changed, &names.lock);
    }
    pthread_mutex_unlock(&names.lock);
}

static struct loop *loop;
static struct resolver *resolver;

static struct {
    unsigned count;
    uint64_t tag[16];
    char numeric[16][ADDRESS_TEXT_MAX];
} told;

static void done(void *ctx, uint64_t tag, const char *numeric)
{
    (void)ctx;
    told.tag[told.count] = tag;
    snprintf(told.numeric[told.count], ADDRESS_TEXT_MAX, "%s", numeric);
    told.count++;
}

static unsigned threads_at_start;

/* Threads of this process; always as many where the system does not tell. */
static unsigned threads(void)
{
    DIR *directory = opendir("/proc/self/task");
    unsigned count = 0;

    while (directory && readdir(directory)) {
        count++;
    }
    if (directory) {
        closedir(directory);
    }
    return count;
}

static void end(void)
{
    resolver_free(resolver);
    resolver = NULL;
    set_names(0, 0);
    for (int i = 0; i < 200 && threads() > threads_at_start; i++) {
        poll(NULL, 0, 1); /* no more than a courtesy to memory checkers: the thread frees as well */
    }
    loop_free(loop);
    loop = NULL;
}

static void begin_with(int (*by)(void *ctx, const char *text, struct address *out))
{
    struct resolver_options options = {.io = &io_posix, .done = done, .pause_ms = 1, .look_up = by};

    end();
    told.count = 0;
    loop = loop_new(&io_posix);
    CHECK(loop != NULL);
    options.loop = loop;
    CHECK_EQ(resolver_new(&options, &resolver), 0);
}

static void await_told(unsigned count)
{
    uint64_t end_ms = io_posix.now_ms(NULL) + PATIENCE_MS;

    while (told.count < count && io_posix.now_ms(NULL) < end_ms) {
        loop_wait(loop, 100);
    }
    CHECK_EQ(told.count, count);
}

static void a_name_that_is_known_is_told_once(void)
{
    begin_with(look_up);
    CHECK_EQ(resolver_ask(resolver, 7, "p80:1"), 0);
    await_told(1);
    CHECK_EQ(told.tag[0], 7);
    CHECK_STR(told.numeric[0], "127.0.0.1:80");
    CHECK_EQ(resolver_ask(resolver, 8, "p81:1"), 0);
    await_told(2);
    CHECK_EQ(told.tag[1], 8);
}

static void a_name_that_is_not_known_yet_is_asked_for_again(void)
{
    begin_with(look_up);
    set_names(4, 0);
    CHECK_EQ(resolver_ask(resolver, 1, "p80:1"), 0);
    await_told(1);
    CHECK_STR(told.numeric[0], "127.0.0.1:80");
    CHECK_EQ(names.unknown, 0);
}

static void one_that_is_never_known_does_not_hold_up_others(void)
{
    begin_with(look_up);
    CHECK_EQ(resolver_ask(resolver, 1, "nobody:1"), 0);
    for (uint64_t tag = 2; tag < 6; tag++) {
        CHECK_EQ(resolver_ask(resolver, tag, "p9:1"), 0);
    }
    await_told(4);
    for (unsigned i = 0; i < told.count; i++) {
        CHECK(told.tag[i] != 1);
    }
}

/* The answer to the first is under way when it is taken back, or replaced. */
static void what_was_taken_back_is_not_told(void)
{
    begin_with(look_up);
    set_names(0, 1);
    CHECK_EQ(resolver_ask(resolver, 1, "p1:1"), 0);
    await_blocked();
    resolver_forget(resolver, 1);
    resolver_forget(resolver, 99);
    CHECK_EQ(resolver_ask(resolver, 2, "p2:1"), 0);
    CHECK_EQ(resolver_ask(resolver, 2, "p3:1"), 0);
    set_names(0, 0);
    await_told(1);
    CHECK_EQ(told.tag[0], 2);
    CHECK_STR(told.numeric[0], "127.0.0.1:3");
    CHECK_EQ(resolver_ask(resolver, 4, "p4:1"), 0);
    await_told(2);
    CHECK_EQ(told.tag[1], 4);
}

/* Even where its answer is in the mailbox already. */
static void a_late_answer_is_not_mistaken_for_that_to_a_new_question(void)
{
    struct pollfd nothing = {.fd = -1};

    begin_with(look_up);
    for (uint64_t round = 0; round < 50; round++) {
        CHECK_EQ(resolver_ask(resolver, 1, "p1:1"), 0);
        poll(&nothing, 1, round % 3 ? 0 : 1);
        CHECK_EQ(resolver_ask(resolver, 1, "p2:1"), 0);
        await_told(1);
        CHECK_STR(told.numeric[0], "127.0.0.1:2");
        told.count = 0;
    }
}

static void nobody_waits_for_a_system_that_hangs(void)
{
    begin_with(look_up);
    set_names(0, 1);
    CHECK_EQ(resolver_ask(resolver, 1, "p1:1"), 0);
    await_blocked();
    CHECK_EQ(loop_wait(loop, 0), 0);
    resolver_free(resolver); /* returns, though the system has not */
    resolver = NULL;
    CHECK_EQ(loop_wait(loop, 0), 0);
    CHECK_EQ(told.count, 0);
}

static void questions_are_bounded(void)
{
    char text[RESOLVER_TEXT_MAX + 1];

    begin_with(look_up);
    set_names(0, 1);
    for (uint64_t tag = 1; tag <= RESOLVER_QUESTIONS_MAX; tag++) {
        CHECK_EQ(resolver_ask(resolver, tag, "nobody:1"), 0);
    }
    CHECK_EQ(resolver_ask(resolver, 1000, "p1:1"), -ENOSPC);
    CHECK_EQ(resolver_ask(resolver, 3, "p3:1"), 0);
    memset(text, 'x', RESOLVER_TEXT_MAX);
    text[RESOLVER_TEXT_MAX] = '\0';
    CHECK_EQ(resolver_ask(resolver, 1, text), -EINVAL);
    set_names(0, 0);
    await_told(1);
    CHECK_EQ(told.tag[0], 3);
}

static void the_system_is_asked_where_the_host_has_nobody_else(void)
{
    begin_with(NULL);
    CHECK_EQ(resolver_ask(resolver, 5, "127.0.0.1:7005"), 0);
    await_told(1);
    CHECK_STR(told.numeric[0], "127.0.0.1:7005");
}

static void what_is_numeric_is_known_without_asking_anybody(void)
{
    static const char *const numeric[] = {"127.0.0.1:1", "[::1]:65535", "0.0.0.0:0"};
    static const char *const other[] = {
        "localhost:1", "127.0.0.1", "127.0.0.1:65536", "[::g]:1", "[localhost]:1",
        ":1",          "",          "1.2.3:1x"};

    for (size_t i = 0; i < sizeof numeric / sizeof numeric[0]; i++) {
        CHECK(address_is_numeric(numeric[i]));
    }
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        CHECK(!address_is_numeric(other[i]));
    }
    CHECK(!address_is_numeric(NULL));
    CHECK(address_is_well_formed("localhost:1"));
    CHECK(address_is_well_formed("nobody.invalid:7001"));
    CHECK(address_is_well_formed("[::1]:1"));
    for (size_t i = 1; i < sizeof other / sizeof other[0]; i++) {
        CHECK(!address_is_well_formed(other[i]));
    }
    CHECK(!address_is_well_formed(NULL));
}

static void options_that_make_no_sense_are_refused(void)
{
    struct resolver_options options = {.io = &io_posix, .done = done};
    struct resolver *none = NULL;

    end();
    CHECK_EQ(resolver_new(NULL, &none), -EINVAL);
    CHECK_EQ(resolver_new(&options, &none), -EINVAL);
    CHECK(none == NULL);
}

int main(void)
{
    threads_at_start = threads();
    RUN(a_name_that_is_known_is_told_once);
    RUN(a_name_that_is_not_known_yet_is_asked_for_again);
    RUN(one_that_is_never_known_does_not_hold_up_others);
    RUN(what_was_taken_back_is_not_told);
    RUN(a_late_answer_is_not_mistaken_for_that_to_a_new_question);
    RUN(nobody_waits_for_a_system_that_hangs);
    RUN(questions_are_bounded);
    RUN(the_system_is_asked_where_the_host_has_nobody_else);
    RUN(what_is_numeric_is_known_without_asking_anybody);
    RUN(options_that_make_no_sense_are_refused);
    end();
    return check_done();
}
