/*
 * What the parts of build/bench share. Every figure is one line: name value unit. Machines are
 * noisy: times are minima of runs that take turns, and `make bench-instructions` counts instead of
 * timing.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

/* Nanoseconds of a monotonic clock. */
uint64_t bench_now_ns(void);

/* Prints a figure with as many digits as mean something. */
void bench_print(const char *name, double value, const char *unit);

/* Prints why and ends the program: a benchmark that cannot measure does not guess. */
void bench_fail(const char *what);

/* The engine: three nodes in one thread. */
void bench_engine(void);

/*
 * Runs the configuration `name` for so many rounds and prints nothing, for counting instructions as
 * the difference of two lengths. 0, or -1: no such configuration. *per_round is set to the entries
 * (or polls, or messages) of a round.
 */
int bench_count(const char *name, uint64_t rounds, uint64_t *per_round);

/* Prints the names that bench_count knows, one a line, with what a round has and its unit. */
void bench_list(void);

/* Many groups in one process: so many idle ones, and up to a hundred busy ones beside them. */
void bench_groups(size_t idle);

/* What an election costs in each protocol, in virtual time. */
void bench_elections(void);

/* raftkv: three processes on loopback with real fsync, of the binary at path. */
void bench_raftkv(const char *path);

#endif
