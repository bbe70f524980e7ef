/*
 * The commands about when keys expire.
 *
 * A time that was given relative to now counts from the store's clock, which is at least the time
 * that the entry was stamped with. A key is there up to and including its last millisecond.
 */
#include <string.h>

#include "commands_internal.h"

#define QUOTED_OPTION_MAX 128

uint64_t base_time(const struct call *call)
{
    return call->store == NULL ? 0 : store_clock(call->store);
}

static int refuse_time(const struct call *call)
{
    reply_errorf(call->reply, "ERR invalid expire time in '%s' command", call->command->name);
    return 0;
}

/* ---- Options of SET and GETEX ---- */

static int unit_of(struct slice word)
{
    static const char *const words[] = {
        [EXPIRY_EX] = "ex", [EXPIRY_PX] = "px", [EXPIRY_EXAT] = "exat", [EXPIRY_PXAT] = "pxat"};

    for (int unit = EXPIRY_EX; unit <= EXPIRY_PXAT; unit++) {
        if (slice_is(word, words[unit])) {
            return unit;
        }
    }
    return EXPIRY_NONE;
}

int take_expiry_option(const struct call *call, size_t *position, struct expiry_option *option)
{
    struct slice word = call->args[*position];
    int unit = unit_of(word);

    if (slice_is(word, "keepttl") && option->unit == EXPIRY_NONE && !option->persist) {
        option->keep = 1;
        return 1;
    }
    if (slice_is(word, "persist") && option->unit == EXPIRY_NONE && !option->keep) {
        option->persist = 1;
        return 1;
    }
    if (unit == EXPIRY_NONE || (option->unit != EXPIRY_NONE && option->unit != unit) ||
        option->keep || option->persist || *position + 1 == call->count) {
        return 0;
    }
    option->unit = unit;
    option->time = call->args[++*position];
    return 1;
}

int take_expiry(const struct call *call, const struct expiry_option *option, uint64_t *at_ms)
{
    int in_seconds = option->unit == EXPIRY_EX || option->unit == EXPIRY_EXAT;
    int is_relative = option->unit == EXPIRY_EX || option->unit == EXPIRY_PX;
    int64_t base = is_relative ? (int64_t)base_time(call) : 0;
    int64_t time;

    if (option->unit == EXPIRY_NONE) {
        *at_ms = option->keep ? STORE_KEEP_EXPIRY : STORE_FOREVER;
        return 1;
    }
    if (!slice_to_integer(option->time, &time)) {
        reply_error(call->reply, ERROR_NOT_INTEGER);
        return 0;
    }
    if (time <= 0 || (in_seconds && time > INT64_MAX / 1000)) {
        return refuse_time(call);
    }
    time = in_seconds ? time * 1000 : time;
    if (time > INT64_MAX - base) {
        return refuse_time(call);
    }
    *at_ms = (uint64_t)(time + base);
    return 1;
}

/* ---- SETEX, PSETEX, GETEX ---- */

static struct expiry_option option_of_setex(const struct call *call)
{
    struct expiry_option option = {.time = call->args[2]};

    option.unit = call->command->id == COMMAND_SETEX ? EXPIRY_EX : EXPIRY_PX;
    return option;
}

int check_setex(const struct call *call)
{
    struct expiry_option option = option_of_setex(call);
    uint64_t at_ms;

    return take_expiry(call, &option, &at_ms);
}

int run_setex(const struct call *call)
{
    struct expiry_option option = option_of_setex(call);
    uint64_t at_ms;

    if (!take_expiry(call, &option, &at_ms)) {
        return COMMAND_OK;
    }
    reply_simple(call->reply, "OK");
    return store_put(call->store, call->args[1], call->args[3], at_ms) == STORE_OK ? COMMAND_OK
                                                                                   : COMMAND_ENOMEM;
}

static int take_getex_option(const struct call *call, struct expiry_option *option)
{
    memset(option, 0, sizeof *option);
    for (size_t i = 2; i < call->count; i++) {
        if (slice_is(call->args[i], "keepttl") || !take_expiry_option(call, &i, option)) {
            reply_error(call->reply, ERROR_SYNTAX);
            return 0;
        }
    }
    return 1;
}

/* The time is judged after the key was found: that is the order in which Redis complains. */
int check_getex(const struct call *call)
{
    struct expiry_option option;

    return take_getex_option(call, &option);
}

/* Sets an expiry, or deletes the key where that lies behind. COMMAND_OK or COMMAND_ENOMEM. */
static int expire_at(const struct call *call, uint64_t at_ms)
{
    if (at_ms <= base_time(call)) {
        store_delete(call->store, call->args[1]);
        return COMMAND_OK;
    }
    return store_expire(call->store, call->args[1], at_ms) == STORE_NOMEM ? COMMAND_ENOMEM
                                                                          : COMMAND_OK;
}

int run_getex(const struct call *call)
{
    struct expiry_option option;
    uint64_t at_ms;
    uint64_t old_ms = store_expiry(call->store, call->args[1]);

    if (!take_getex_option(call, &option) || (old_ms != 0 && !take_expiry(call, &option, &at_ms))) {
        return COMMAND_OK;
    }
    reply_value(call, call->args[1]);
    if (old_ms == 0) {
        return COMMAND_OK;
    }
    if (option.unit != EXPIRY_NONE) {
        return expire_at(call, at_ms);
    }
    if (option.persist && old_ms != STORE_FOREVER) {
        store_expire(call->store, call->args[1], STORE_FOREVER);
    }
    return COMMAND_OK;
}

/* ---- EXPIRE and its kin ---- */

enum { IF_NONE = 1, IF_SOME = 2, IF_GREATER = 4, IF_LESS = 8 };

/* 1, or 0 and answered with an error. */
static int take_conditions(const struct call *call, unsigned *conditions)
{
    *conditions = 0;
    for (size_t i = 3; i < call->count; i++) {
        struct slice word = call->args[i];
        unsigned condition = slice_is(word, "nx")   ? IF_NONE
                             : slice_is(word, "xx") ? IF_SOME
                             : slice_is(word, "gt") ? IF_GREATER
                             : slice_is(word, "lt") ? IF_LESS
                                                    : 0;
        if (condition == 0) {
            int shown = word.size < QUOTED_OPTION_MAX ? (int)word.size : QUOTED_OPTION_MAX;
            reply_errorf(call->reply, "ERR Unsupported option %.*s", shown, word.data);
            return 0;
        }
        *conditions |= condition;
    }
    if ((*conditions & IF_NONE) != 0 && (*conditions & ~(unsigned)IF_NONE) != 0) {
        reply_error(call->reply, "ERR NX and XX, GT or LT options at the same time are not "
                                 "compatible");
        return 0;
    }
    if ((*conditions & IF_GREATER) != 0 && (*conditions & IF_LESS) != 0) {
        reply_error(call->reply, "ERR GT and LT options at the same time are not compatible");
        return 0;
    }
    return 1;
}

/* The moment, which may lie before 0. 1, or 0 and answered with an error. */
static int take_moment(const struct call *call, int64_t *moment)
{
    int id = call->command->id;
    int in_seconds = id == COMMAND_EXPIRE || id == COMMAND_EXPIREAT;
    int is_relative = id == COMMAND_EXPIRE || id == COMMAND_PEXPIRE;
    int64_t base = is_relative ? (int64_t)base_time(call) : 0;
    int64_t time;

    if (!slice_to_integer(call->args[2], &time)) {
        reply_error(call->reply, ERROR_NOT_INTEGER);
        return 0;
    }
    if (in_seconds && (time > INT64_MAX / 1000 || time < INT64_MIN / 1000)) {
        return refuse_time(call);
    }
    time = in_seconds ? time * 1000 : time;
    if (time > INT64_MAX - base) {
        return refuse_time(call);
    }
    *moment = time + base;
    return 1;
}

int check_expire(const struct call *call)
{
    unsigned conditions;
    int64_t moment;

    return take_conditions(call, &conditions) && take_moment(call, &moment);
}

/* Do the conditions allow it? A key without an expiry counts as one that lives longest. */
static int is_allowed(unsigned conditions, uint64_t old_ms, int64_t moment)
{
    int has_expiry = old_ms != STORE_FOREVER;

    return !((conditions & IF_NONE) != 0 && has_expiry) &&
           !((conditions & IF_SOME) != 0 && !has_expiry) &&
           !((conditions & IF_GREATER) != 0 && (!has_expiry || moment <= (int64_t)old_ms)) &&
           !((conditions & IF_LESS) != 0 && has_expiry && moment >= (int64_t)old_ms);
}

int run_expire(const struct call *call)
{
    uint64_t old_ms = store_expiry(call->store, call->args[1]);
    unsigned conditions;
    int64_t moment;

    if (!take_conditions(call, &conditions) || !take_moment(call, &moment)) {
        return COMMAND_OK;
    }
    if (old_ms == 0 || !is_allowed(conditions, old_ms, moment)) {
        reply_integer(call->reply, 0);
        return COMMAND_OK;
    }
    reply_integer(call->reply, 1);
    return expire_at(call, moment < 0 ? 0 : (uint64_t)moment);
}

int run_persist(const struct call *call)
{
    uint64_t old_ms = store_expiry(call->store, call->args[1]);
    int has_expiry = old_ms != 0 && old_ms != STORE_FOREVER;

    if (has_expiry) {
        store_expire(call->store, call->args[1], STORE_FOREVER);
    }
    reply_integer(call->reply, has_expiry);
    return COMMAND_OK;
}

/* ---- How long ---- */

/* What is the same for all four: -2, -1, or 0 with *at_ms set. */
static int64_t find_expiry(const struct call *call, uint64_t *at_ms)
{
    *at_ms = store_expiry(call->store, call->args[1]);
    return *at_ms == 0 ? -2 : *at_ms == STORE_FOREVER ? -1 : 0;
}

static int64_t rounded_seconds(uint64_t time_ms)
{
    return (int64_t)((time_ms + 500) / 1000);
}

int run_ttl(const struct call *call)
{
    uint64_t at_ms;
    int64_t answer = find_expiry(call, &at_ms);
    uint64_t now_ms = base_time(call) > call->now_ms ? base_time(call) : call->now_ms;

    if (answer == 0) {
        uint64_t left_ms = at_ms > now_ms ? at_ms - now_ms : 0;
        answer = call->command->id == COMMAND_TTL ? rounded_seconds(left_ms) : (int64_t)left_ms;
    }
    reply_integer(call->reply, answer);
    return COMMAND_OK;
}

int run_expiretime(const struct call *call)
{
    uint64_t at_ms;
    int64_t answer = find_expiry(call, &at_ms);

    if (answer == 0) {
        answer = call->command->id == COMMAND_EXPIRETIME ? rounded_seconds(at_ms) : (int64_t)at_ms;
    }
    reply_integer(call->reply, answer);
    return COMMAND_OK;
}

/* ---- Time itself ---- */

int run_tick(const struct call *call)
{
    store_remove_overdue(call->store, TICK_REMOVALS_MAX);
    reply_simple(call->reply, "OK"); /* for uniformity: whoever proposes it does not listen */
    return COMMAND_OK;
}
