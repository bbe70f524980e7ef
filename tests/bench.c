/*
 * build/bench                        everything
 * build/bench engine                 the engine alone
 * build/bench groups [COUNT]         many groups in one process; so many idle ones, 10000 by default
 * build/bench elections              what an election costs in each protocol
 * build/bench raftkv [PATH]          three raftkv processes, of PATH or the binary beside this one
 * build/bench --list                 the configurations of --count
 * build/bench --count NAME ROUNDS    one configuration, silently; see bench_instructions.sh
 */
#define _POSIX_C_SOURCE 200809L

#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { GROUPS_IDLE = 10000 };

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void bench_print(const char *name, double value, const char *unit)
{
    int digits = value >= 1000 ? 0 : value >= 100 ? 1 : value >= 1 ? 2 : 4;
    printf("%s %.*f %s\n", name, value == 0 ? 0 : digits, value, unit);
    fflush(stdout);
}

void bench_fail(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

/* build/bench -> build/raftkv */
static void find_server(const char *self, char *path, size_t size)
{
    const char *slash = strrchr(self, '/');
    int length = slash ? (int)(slash + 1 - self) : 0;
    snprintf(path, size, "%.*sraftkv", length, self);
}

static int count(char **argv)
{
    uint64_t per_round;
    char *end;
    unsigned long long rounds = strtoull(argv[1], &end, 10);
    if (*end || bench_count(argv[0], rounds, &per_round)) {
        fprintf(stderr, "bench: no such configuration: %s\n", argv[0]);
        return 2;
    }
    return 0;
}

/* 0, or the number that a text is, where it is a sensible one. */
static size_t parse_groups(const char *text)
{
    char *end;
    unsigned long count = strtoul(text, &end, 10);
    return *end || count > 1000000 ? 0 : count;
}

static void run_raftkv(const char *path)
{
    if (access(path, X_OK)) {
        fprintf(stderr, "bench: skipping raftkv, there is no %s\n", path);
        return;
    }
    bench_raftkv(path);
}

int main(int argc, char **argv)
{
    char server[4096];
    find_server(argv[0], server, sizeof server);
    if (argc == 1) {
        bench_engine();
        bench_groups(GROUPS_IDLE);
        bench_elections();
        run_raftkv(server);
    } else if (argc == 2 && !strcmp(argv[1], "elections")) {
        bench_elections();
    } else if (argc == 2 && !strcmp(argv[1], "engine")) {
        bench_engine();
    } else if (argc == 2 && !strcmp(argv[1], "groups")) {
        bench_groups(GROUPS_IDLE);
    } else if (argc == 3 && !strcmp(argv[1], "groups") && parse_groups(argv[2]) > 0) {
        bench_groups(parse_groups(argv[2]));
    } else if (argc <= 3 && !strcmp(argv[1], "raftkv")) {
        run_raftkv(argc == 3 ? argv[2] : server);
    } else if (argc == 2 && !strcmp(argv[1], "--list")) {
        bench_list();
    } else if (argc == 4 && !strcmp(argv[1], "--count")) {
        return count(argv + 2);
    } else {
        fprintf(stderr,
                "usage: bench [engine | elections | groups [COUNT] | raftkv [PATH] | --list | "
                "--count NAME ROUNDS]\n");
        return 2;
    }
    return 0;
}
