/*
 * The commands on strings and counters. The writes among them depend on the content and their
 * arguments alone.
 */
#include <string.h>

#include "commands_internal.h"
#include "decimal.h"

#define ERROR_NOT_FLOAT "ERR value is not a valid float"

static int out_of_memory_unless(int store_result)
{
    return store_result == STORE_OK ? COMMAND_OK : COMMAND_ENOMEM;
}

void reply_value(const struct call *call, struct slice key)
{
    struct slice value;

    if (store_get(call->store, key, &value)) {
        reply_bulk(call->reply, value);
    } else {
        reply_null(call->reply);
    }
}

/* An integer argument; 0 with the error answered where it is none. */
static int take_integer(const struct call *call, size_t position, int64_t *value)
{
    if (slice_to_integer(call->args[position], value)) {
        return 1;
    }
    reply_error(call->reply, ERROR_NOT_INTEGER);
    return 0;
}

/* ---- Getting ---- */

int run_get(const struct call *call)
{
    reply_value(call, call->args[1]);
    return COMMAND_OK;
}

int run_mget(const struct call *call)
{
    reply_array(call->reply, call->count - 1);
    for (size_t i = 1; i < call->count; i++) {
        reply_value(call, call->args[i]);
    }
    return COMMAND_OK;
}

int run_strlen(const struct call *call)
{
    struct slice value = {NULL, 0};

    store_get(call->store, call->args[1], &value);
    reply_integer(call->reply, (int64_t)value.size);
    return COMMAND_OK;
}

/* The position that an offset means, counted from the end where it is negative; at least 0. */
static int64_t position_of(int64_t offset, int64_t size)
{
    if (offset < 0) {
        offset += size;
    }
    return offset < 0 ? 0 : offset;
}

/* Both ends inclusive. Two negative ends in the wrong order are empty whatever the length. */
static struct slice range_of(struct slice value, int64_t start, int64_t end)
{
    struct slice nothing = {"", 0};
    int64_t size = (int64_t)value.size;

    if (start < 0 && end < 0 && start > end) {
        return nothing;
    }
    start = position_of(start, size);
    end = position_of(end, size);
    if (end >= size) {
        end = size - 1;
    }
    if (start > end || size == 0) {
        return nothing;
    }
    struct slice part = {value.data + start, (size_t)(end - start + 1)};
    return part;
}

int run_getrange(const struct call *call)
{
    struct slice value = {"", 0};
    int64_t start;
    int64_t end;

    if (take_integer(call, 2, &start) && take_integer(call, 3, &end)) {
        store_get(call->store, call->args[1], &value);
        reply_bulk(call->reply, range_of(value, start, end));
    }
    return COMMAND_OK;
}

/* ---- Setting ---- */

struct set_options {
    int if_missing; /* NX */
    int if_present; /* XX */
    int get;        /* answer with the old value */
    struct expiry_option expiry;
};

/* 1, or 0 where there is no such option or it contradicts another. */
static int take_set_option(const struct call *call, size_t *position, struct set_options *options)
{
    struct slice word = call->args[*position];

    if (slice_is(word, "nx") && !options->if_present) {
        options->if_missing = 1;
    } else if (slice_is(word, "xx") && !options->if_missing) {
        options->if_present = 1;
    } else if (slice_is(word, "get")) {
        options->get = 1;
    } else {
        return !slice_is(word, "persist") && take_expiry_option(call, position, &options->expiry);
    }
    return 1;
}

/* 1, or 0 and answered with an error. */
static int take_set_options(const struct call *call, struct set_options *options)
{
    memset(options, 0, sizeof *options);
    for (size_t i = 3; i < call->count; i++) {
        if (!take_set_option(call, &i, options)) {
            reply_error(call->reply, ERROR_SYNTAX);
            return 0;
        }
    }
    return 1;
}

int check_set(const struct call *call)
{
    struct set_options options;
    uint64_t at_ms;

    return take_set_options(call, &options) && take_expiry(call, &options.expiry, &at_ms);
}

int run_set(const struct call *call)
{
    struct set_options options;
    int present = store_get(call->store, call->args[1], NULL);
    uint64_t at_ms;
    int wanted;

    if (!take_set_options(call, &options) || !take_expiry(call, &options.expiry, &at_ms)) {
        return COMMAND_OK;
    }
    wanted = present ? !options.if_missing : !options.if_present;
    if (options.get) {
        reply_value(call, call->args[1]);
    } else if (wanted) {
        reply_simple(call->reply, "OK");
    } else {
        reply_null(call->reply);
    }
    if (!wanted) {
        return COMMAND_OK;
    }
    return out_of_memory_unless(store_put(call->store, call->args[1], call->args[2], at_ms));
}

int run_getset(const struct call *call)
{
    reply_value(call, call->args[1]);
    return out_of_memory_unless(store_set(call->store, call->args[1], call->args[2]));
}

int run_getdel(const struct call *call)
{
    reply_value(call, call->args[1]);
    store_delete(call->store, call->args[1]);
    return COMMAND_OK;
}

int run_setnx(const struct call *call)
{
    int present = store_get(call->store, call->args[1], NULL);

    reply_integer(call->reply, !present);
    if (present) {
        return COMMAND_OK;
    }
    return out_of_memory_unless(store_set(call->store, call->args[1], call->args[2]));
}

int check_pairs(const struct call *call)
{
    if (call->count % 2 == 1) {
        return 1;
    }
    reply_wrong_arity(call->reply, call->command, NULL);
    return 0;
}

static int set_pairs(const struct call *call)
{
    for (size_t i = 1; i < call->count; i += 2) {
        if (store_set(call->store, call->args[i], call->args[i + 1]) != STORE_OK) {
            return COMMAND_ENOMEM;
        }
    }
    return COMMAND_OK;
}

int run_mset(const struct call *call)
{
    reply_simple(call->reply, "OK");
    return set_pairs(call);
}

int run_msetnx(const struct call *call)
{
    for (size_t i = 1; i < call->count; i += 2) {
        if (store_get(call->store, call->args[i], NULL)) {
            reply_integer(call->reply, 0);
            return COMMAND_OK;
        }
    }
    reply_integer(call->reply, 1);
    return set_pairs(call);
}

/* ---- Parts of values ---- */

/* Would a value of offset + more bytes be too long? Then that is the answer. */
static int too_long(const struct call *call, uint64_t offset, size_t more)
{
    if (offset <= STORE_VALUE_BYTES_MAX && more <= STORE_VALUE_BYTES_MAX - offset) {
        return 0;
    }
    reply_error(call->reply, ERROR_TOO_LONG);
    return 1;
}

static int write_part(const struct call *call, size_t offset, struct slice part)
{
    size_t size;

    if (store_write(call->store, call->args[1], offset, part, &size) != STORE_OK) {
        return COMMAND_ENOMEM;
    }
    reply_integer(call->reply, (int64_t)size);
    return COMMAND_OK;
}

int run_append(const struct call *call)
{
    struct slice value = {NULL, 0};

    store_get(call->store, call->args[1], &value);
    if (too_long(call, value.size, call->args[2].size)) {
        return COMMAND_OK;
    }
    return write_part(call, value.size, call->args[2]);
}

int run_setrange(const struct call *call)
{
    struct slice part = call->args[3];
    int64_t offset;

    if (!take_integer(call, 2, &offset)) {
        return COMMAND_OK;
    }
    if (offset < 0) {
        reply_error(call->reply, "ERR offset is out of range");
        return COMMAND_OK;
    }
    if (part.size == 0) {
        return run_strlen(call); /* nothing is written: a missing key stays missing */
    }
    if (too_long(call, (uint64_t)offset, part.size)) {
        return COMMAND_OK;
    }
    return write_part(call, (size_t)offset, part);
}

/* ---- Counters ---- */

static int sum_overflows(int64_t a, int64_t b)
{
    return b < 0 ? a < INT64_MIN - b : a > INT64_MAX - b;
}

static int add_integer(const struct call *call, int64_t addend)
{
    struct slice old;
    int64_t value = 0;
    char text[INTEGER_TEXT_MAX];

    if (store_get(call->store, call->args[1], &old) && !slice_to_integer(old, &value)) {
        reply_error(call->reply, ERROR_NOT_INTEGER);
        return COMMAND_OK;
    }
    if (sum_overflows(value, addend)) {
        reply_error(call->reply, "ERR increment or decrement would overflow");
        return COMMAND_OK;
    }
    value += addend;
    reply_integer(call->reply, value);
    struct slice sum = {text, integer_to_text(value, text)};
    return out_of_memory_unless(store_put(call->store, call->args[1], sum, STORE_KEEP_EXPIRY));
}

int run_incr(const struct call *call)
{
    return add_integer(call, 1);
}

int run_decr(const struct call *call)
{
    return add_integer(call, -1);
}

int run_incrby(const struct call *call)
{
    int64_t addend;

    return take_integer(call, 2, &addend) ? add_integer(call, addend) : COMMAND_OK;
}

int run_decrby(const struct call *call)
{
    int64_t subtrahend;

    if (!take_integer(call, 2, &subtrahend)) {
        return COMMAND_OK;
    }
    if (subtrahend == INT64_MIN) { /* its negative does not exist */
        reply_error(call->reply, "ERR decrement would overflow");
        return COMMAND_OK;
    }
    return add_integer(call, -subtrahend);
}

/* The error for two operands and their sum, or null. *a becomes the sum. */
static const char *add_decimals(struct slice left, struct slice right, struct decimal *a,
                                struct decimal *b)
{
    int left_result = decimal_parse(left, a);
    int right_result = decimal_parse(right, b);

    if (left_result == DECIMAL_INVALID || right_result == DECIMAL_INVALID) {
        return ERROR_NOT_FLOAT;
    }
    if (left_result == DECIMAL_INFINITE || right_result == DECIMAL_INFINITE ||
        decimal_add(a, b) == DECIMAL_INFINITE) {
        return "ERR increment would produce NaN or Infinity";
    }
    return NULL;
}

int run_incrbyfloat(const struct call *call)
{
    struct slice value = {"0", 1};
    struct decimal sum;
    struct decimal addend;
    char text[DECIMAL_TEXT_MAX];
    const char *error;

    store_get(call->store, call->args[1], &value);
    error = add_decimals(value, call->args[2], &sum, &addend);
    if (error != NULL) {
        reply_error(call->reply, error);
        return COMMAND_OK;
    }
    struct slice result = {text, decimal_print(&sum, text)};
    reply_bulk(call->reply, result);
    return out_of_memory_unless(store_put(call->store, call->args[1], result, STORE_KEEP_EXPIRY));
}
