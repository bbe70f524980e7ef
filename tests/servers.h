/*
 * What tests of raftkv's processes share: a fleet of servers, one connection to one of them, and
 * questions that are put to it and whose answers are checked. Everything is of the one test program
 * that includes this.
 */
#ifndef TESTS_SERVERS_H
#define TESTS_SERVERS_H

#include "check.h"
#include "cluster.h"
#include "raftkv/caller.h"
#include "raftkv/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 15000, ARGUMENTS_MAX = 24 };

static char program[512];
static struct fleet fleet;
static struct caller caller;
static struct reply reply;

/* ---- Running ---- */

static inline uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline void sleep_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

/*
 * Short enough for the many elections that are waited for, and long enough that a leader is not lost
 * where many processes share a processor.
 */
#define QUICK "--election-ms", "300", "--heartbeat-ms", "30"

static const char *const quick[] = {QUICK, NULL};

/* What RUN_BOTH runs under, as --protocol takes it; null: the default. */
static inline const char *protocol_name(void)
{
    return cluster_protocol == RAFT_PROTOCOL_MULTIPAXOS ? "multipaxos" : NULL;
}

/* What it has said tells why it does not start. */
static inline void start(int node)
{
    char said[2048];
    int status = fleet_start(&fleet, node, WAIT_MS);

    if (status) {
        fleet_log_tail(&fleet, node, said, sizeof said);
        printf("it said: %s\n", said);
    }
    CHECK_EQ(status, 0);
}

static inline void begin(int size, const char *const *flags)
{
    fleet_remove(&fleet);
    CHECK_EQ(fleet_make(&fleet, program, size), 0);
    fleet.flags = flags;
    fleet.protocol = protocol_name();
    for (int i = 0; i < size; i++) {
        start(i);
    }
}

static inline void end(void)
{
    caller_close(&caller);
    fleet_remove(&fleet);
}

/* Runs the program to its end, adding what it says on stderr to `said`. Its exit status. */
static inline int run(char *said, size_t size, const char *const *arguments)
{
    int output[2];
    int status;
    size_t used = 0;
    ssize_t count;
    pid_t pid;

    CHECK_EQ(pipe(output), 0);
    pid = fork();
    if (pid == 0) {
        dup2(output[1], 2);
        dup2(open("/dev/null", O_WRONLY), 1);
        close(output[0]);
        execv(program, (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    close(output[1]);
    while ((count = read(output[0], said + used, size - 1 - used)) > 0) {
        used += (size_t)count;
    }
    said[used] = '\0';
    close(output[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Runs with the words that follow, ended by null; checks the exit status and what is said. */
static inline void expect_refusal(int expected, const char *words, ...)
{
    const char *arguments[ARGUMENTS_MAX] = {program};
    char said[8192];
    int count = 1;
    va_list more;

    va_start(more, words);
    while (count < ARGUMENTS_MAX - 1 && (arguments[count] = va_arg(more, const char *)) != NULL) {
        count++;
    }
    va_end(more);
    arguments[count] = NULL;
    CHECK_EQ(run(said, sizeof said, arguments), expected);
    if (!strstr(said, words)) {
        printf("it said: %s\n", said);
    }
    CHECK(strstr(said, words));
}

static inline void directory_of(int node, char out[320])
{
    snprintf(out, 320, "%s/%d", fleet.directory, node + 1);
}

/* ---- Asking ---- */

static inline void connect_to(int node)
{
    CHECK_EQ(caller_connect(&caller, fleet.nodes[node].port, WAIT_MS), 0);
}

static inline void ask(const char *words)
{
    CHECK_EQ(caller_ask(&caller, words, &reply, WAIT_MS), 0);
}

static inline void expect_text(const char *words, const char *text)
{
    char actual[256];

    ask(words);
    snprintf(actual, sizeof actual, "%.*s", (int)reply.text.size, reply.text.data);
    CHECK_STR(actual, text);
}

/* The keys name0, name1 ...; each says its number. */
static inline void set_keys(const char *name, int count)
{
    char words[64];

    for (int i = 0; i < count; i++) {
        snprintf(words, sizeof words, "SET %s%d value%d", name, i, i);
        expect_text(words, "OK");
    }
}

static inline void expect_keys(const char *name, int count)
{
    char words[64], value[64];

    for (int i = 0; i < count; i++) {
        snprintf(words, sizeof words, "GET %s%d", name, i);
        snprintf(value, sizeof value, "value%d", i);
        expect_text(words, value);
    }
}

/* The number behind "name:" in a section of INFO. */
static inline uint64_t info_number(const char *section, const char *name)
{
    char words[64], text[8192];
    const char *found;

    snprintf(words, sizeof words, "INFO %s", section);
    ask(words);
    snprintf(text, sizeof text, "\n%.*s", (int)reply.text.size, reply.text.data);
    snprintf(words, sizeof words, "\n%s:", name);
    found = strstr(text, words);
    CHECK(found != NULL);
    return strtoull(found + strlen(words), NULL, 10);
}

static inline void expect_integer(const char *words, int64_t value)
{
    ask(words);
    CHECK_EQ(reply.kind, REPLY_INTEGER);
    CHECK_EQ(reply.integer, value);
}

static inline void expect_error(const char *words, const char *code)
{
    ask(words);
    if (!reply_is_error(&reply, code)) {
        printf("%s: %.*s\n", words, (int)reply.text.size, reply.text.data);
    }
    CHECK(reply_is_error(&reply, code));
}

static inline int info_has(const char *section, const char *line)
{
    char words[64];
    size_t length = strlen(line);

    snprintf(words, sizeof words, "INFO %s", section);
    ask(words);
    for (size_t at = 0; at + length <= reply.text.size; at++) {
        if (!memcmp(reply.text.data + at, line, length)) {
            return 1;
        }
    }
    return 0;
}

/* Connects to the node that leads, once one of those that run does and can commit. */
static inline int connect_to_leader(void)
{
    uint64_t deadline = now_ms() + WAIT_MS;

    while (now_ms() < deadline) {
        for (int i = 0; i < fleet.size; i++) {
            if (fleet.nodes[i].pid <= 0 || fleet.nodes[i].is_paused) {
                continue;
            }
            connect_to(i);
            ask("SET leader found");
            if (reply.kind == REPLY_STATUS) {
                return i;
            }
        }
        sleep_ms(10);
    }
    CHECK(0); /* nobody was elected in time */
    return -1;
}

/* ---- The program ---- */

/* The server lies beside the test, unless $RAFTKV names another. */
static inline int find_program(const char *self)
{
    const char *named = getenv("RAFTKV");
    const char *slash = strrchr(self, '/');

    if (named) {
        snprintf(program, sizeof program, "%s", named);
    } else {
        snprintf(program, sizeof program, "%.*s/raftkv", slash ? (int)(slash - self) : 1,
                 slash ? self : ".");
    }
    return access(program, X_OK);
}

#endif
