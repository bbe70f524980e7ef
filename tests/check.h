/*
 * A small test harness: checks, named tests, one summary line.
 *
 *     static void an_empty_log_ends_at_zero(void)
 *     {
 *         CHECK_EQ(last_index(log), 0);
 *     }
 *
 *     int main(void)
 *     {
 *         RUN(an_empty_log_ends_at_zero);
 *         return check_done();
 *     }
 *
 * Every test prints `ok NAME` or `FAIL NAME: file:line what`; the program ends with `N passed, N
 * failed` and exit status 1 if any failed. The first check that does not hold ends its test (the
 * remaining tests still run), so what follows a check may rely on it. Checks belong to the main
 * thread.
 *
 * Exactly one source file of a program includes this header as it is. Helper files that want to
 * check too define CHECK_HELPER before they include it and share that file's tally.
 */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct check_tally {
    const char *test; /* the test that runs; null between tests */
    jmp_buf end_of_test;
    unsigned passed;
    unsigned failed;
};

extern struct check_tally check_tally;

/* The condition holds. */
#define CHECK(condition) check_true((condition) ? 1 : 0, #condition, __FILE__, __LINE__)

/* Two integers are equal; both are shown if they are not. Negative ones are welcome. */
#define CHECK_EQ(actual, expected)                                                                 \
    check_equal((uint64_t)(actual), (uint64_t)(expected), #actual " == " #expected, __FILE__,      \
                __LINE__)

/* Two strings are equal; both are shown if they are not. */
#define CHECK_STR(actual, expected)                                                                \
    check_string((actual), (expected), #actual " == " #expected, __FILE__, __LINE__)

/* Runs `void name(void)` as a test of that name. */
#define RUN(name) check_run(#name, (name))

/* Ends the test that runs as failed. Outside any test, ends the program by counting on. */
static inline void check_fail(const char *what, const char *file, int line)
{
    const char *test = check_tally.test != NULL ? check_tally.test : "(setup)";
    printf("FAIL %s: %s:%d %s\n", test, file, line, what);
    fflush(stdout);
    check_tally.failed++;
    if (check_tally.test != NULL) {
        longjmp(check_tally.end_of_test, 1);
    }
}

static inline void check_true(int holds, const char *what, const char *file, int line)
{
    if (!holds) {
        check_fail(what, file, line);
    }
}

/* Writes a number as people expect it: result codes are small negative numbers. */
static inline void check_number(uint64_t value, char out[32])
{
    if (value > INT64_MAX && value >= UINT64_MAX - INT32_MAX) {
        snprintf(out, 32, "-%" PRIu64, UINT64_MAX - value + 1);
    } else {
        snprintf(out, 32, "%" PRIu64, value);
    }
}

static inline void check_equal(uint64_t actual, uint64_t expected, const char *what,
                               const char *file, int line)
{
    char text[512], left[32], right[32];
    if (actual == expected) {
        return;
    }
    check_number(actual, left);
    check_number(expected, right);
    snprintf(text, sizeof text, "%s (%s, not %s)", what, left, right);
    check_fail(text, file, line);
}

static inline void check_string(const char *actual, const char *expected, const char *what,
                                const char *file, int line)
{
    char text[1024];
    if (actual != NULL && expected != NULL && strcmp(actual, expected) == 0) {
        return;
    }
    snprintf(text, sizeof text, "%s (\"%.300s\", not \"%.300s\")", what,
             actual != NULL ? actual : "(null)", expected != NULL ? expected : "(null)");
    check_fail(text, file, line);
}

#ifndef CHECK_HELPER

struct check_tally check_tally;

static inline void check_run(const char *name, void (*test)(void))
{
    check_tally.test = name;
    if (setjmp(check_tally.end_of_test) == 0) {
        test();
        check_tally.passed++;
        printf("ok %s\n", name);
        fflush(stdout);
    }
    check_tally.test = NULL;
}

/* Prints the summary. Returns what main returns. */
static inline int check_done(void)
{
    printf("%u passed, %u failed\n", check_tally.passed, check_tally.failed);
    fflush(stdout);
    return check_tally.failed == 0 ? 0 : 1;
}

#endif

#endif
