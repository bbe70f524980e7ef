/*
 * Judges whether what clients saw of a key-value store can be explained by operations that took
 * effect one after the other, each at some instant between its call and its return (Herlihy and
 * Wing's linearizability).
 *
 * Keys are judged one by one, which is exact because no operation concerns two of them. An
 * operation whose outcome is unknown may have taken effect at any time after its call, or never;
 * one that is known to have failed never has.
 */
#ifndef LINEARIZE_H
#define LINEARIZE_H

#include <stddef.h>
#include <stdint.h>

enum operation_kind { OPERATION_GET, OPERATION_SET, OPERATION_INCR, OPERATION_APPEND };

enum operation_outcome {
    OPERATION_OK,     /* it returned, and result is what it returned */
    OPERATION_FAILED, /* it returned that it was not and will not be executed */
    OPERATION_UNKNOWN /* it did not return, or returned that nobody knows */
};

#define OPERATION_NO_VALUE UINT32_MAX /* the value of a key that does not exist */

struct operation {
    uint64_t called;   /* stamps of one counter for calls and returns: no two are equal */
    uint64_t returned; /* OPERATION_OK alone */
    uint32_t client;   /* for messages alone */
    uint32_t key;
    uint32_t value; /* SET, APPEND: what was given; GET: what was returned; see history_value */
    uint8_t kind;
    uint8_t outcome;
    int64_t number; /* INCR: the new number; APPEND: the new length, where the outcome is OK */
};

/* Zero-filled it is empty and ready. */
struct history {
    struct operation *operations;
    size_t count;
    size_t capacity;
    struct value_table *values; /* texts by number; made when first needed */
};

/* The number of a text: equal texts have equal numbers. Ends the program where memory fails. */
uint32_t history_value(struct history *history, const char *text, size_t size);

/* Adds an operation, in any order; returns its position. Ends the program where memory fails. */
size_t history_add(struct history *history, const struct operation *operation);

void history_free(struct history *history);

enum verdict_kind {
    VERDICT_LINEARIZABLE,
    VERDICT_NOT_LINEARIZABLE,
    VERDICT_GAVE_UP /* more work than the bound allows: nothing is known */
};

struct verdict {
    enum verdict_kind kind;
    uint32_t key;           /* of the first key that is not linearizable */
    size_t explained;       /* most returned operations of that key that one order explains */
    size_t returned;        /* of those that returned */
    struct operation stuck; /* one that no order explains after those */
    uint64_t steps;         /* tried, over all keys */
};

/* Judges every key. */
struct verdict linearize(struct history *history);

/* One line about an operation, for people. Returns as snprintf does. */
int operation_describe(const struct history *history, const struct operation *operation, char *out,
                       size_t size);

#endif
