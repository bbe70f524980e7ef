/*
 * The linearizability checker, judged by histories whose verdict is known: forged ones of every
 * kind of mistake, random small ones decided by trying every order, and random large ones made by a
 * store that is linearizable by construction.
 */
#include "check.h"
#include "linearize.h"

#include <stdlib.h>

static struct history history;

static void begin(void)
{
    history_free(&history);
}

static uint32_t text(const char *value)
{
    return value ? history_value(&history, value, strlen(value)) : OPERATION_NO_VALUE;
}

/* Client numbers do not matter to the judgement; each operation gets one of its own. */
static void add(int kind, int outcome, uint64_t called, uint64_t returned, const char *value,
                int64_t number)
{
    struct operation operation = {.called = called,
                                  .returned = returned,
                                  .client = (uint32_t)history.count,
                                  .value = kind == OPERATION_INCR ? 0 : text(value),
                                  .kind = (uint8_t)kind,
                                  .outcome = (uint8_t)outcome,
                                  .number = number};

    history_add(&history, &operation);
}

static void get(uint64_t called, uint64_t returned, const char *value)
{
    add(OPERATION_GET, OPERATION_OK, called, returned, value, 0);
}

static void set(uint64_t called, uint64_t returned, const char *value)
{
    add(OPERATION_SET, OPERATION_OK, called, returned, value, 0);
}

static void incr(uint64_t called, uint64_t returned, int64_t number)
{
    add(OPERATION_INCR, OPERATION_OK, called, returned, NULL, number);
}

static void append(uint64_t called, uint64_t returned, const char *value, int64_t length)
{
    add(OPERATION_APPEND, OPERATION_OK, called, returned, value, length);
}

static void unknown(int kind, uint64_t called, const char *value)
{
    add(kind, OPERATION_UNKNOWN, called, 0, value, 0);
}

static int is_linearizable(void)
{
    struct verdict verdict = linearize(&history);

    CHECK(verdict.kind != VERDICT_GAVE_UP);
    return verdict.kind == VERDICT_LINEARIZABLE;
}

/* ---- Forged histories ---- */

static void an_empty_history_is_accepted(void)
{
    begin();
    CHECK(is_linearizable());
}

static void one_after_the_other_is_accepted(void)
{
    begin();
    get(1, 2, NULL);
    set(3, 4, "a");
    get(5, 6, "a");
    append(7, 8, "b", 2);
    get(9, 10, "ab");
    CHECK(is_linearizable());
}

static void concurrent_sets_may_take_either_order(void)
{
    begin();
    set(1, 4, "a");
    set(2, 3, "b");
    get(5, 6, "a");
    get(7, 8, "a");
    CHECK(is_linearizable());
    begin();
    set(1, 4, "a");
    set(2, 3, "b");
    get(5, 6, "b");
    CHECK(is_linearizable());
}

static void a_read_may_see_a_write_that_has_not_returned(void)
{
    begin();
    set(1, 10, "a");
    get(2, 3, "a");
    get(4, 5, "a");
    CHECK(is_linearizable());
}

static void a_stale_read_is_rejected(void)
{
    begin();
    set(1, 2, "a");
    set(3, 4, "b");
    get(5, 6, "a");
    CHECK(!is_linearizable());
}

static void a_lost_write_is_rejected(void)
{
    begin();
    set(1, 2, "a");
    get(3, 4, NULL);
    CHECK(!is_linearizable());
}

static void a_double_increment_is_rejected(void)
{
    begin();
    incr(1, 2, 1);
    incr(3, 4, 3);
    CHECK(!is_linearizable());
}

static void two_increments_with_the_same_result_are_rejected(void)
{
    begin();
    incr(1, 4, 1);
    incr(2, 3, 1);
    CHECK(!is_linearizable());
}

static void a_read_of_the_future_is_rejected(void)
{
    begin();
    get(1, 2, "a");
    set(3, 4, "a");
    CHECK(!is_linearizable());
}

static void a_value_that_nobody_wrote_is_rejected(void)
{
    begin();
    set(1, 2, "a");
    get(3, 4, "x");
    CHECK(!is_linearizable());
}

static void reads_that_go_back_in_time_are_rejected(void)
{
    begin();
    set(1, 2, "a");
    set(3, 20, "b");
    get(4, 5, "b");
    get(6, 7, "a");
    CHECK(!is_linearizable());
}

static void the_order_of_real_time_holds_between_clients(void)
{
    begin();
    append(1, 2, "a", 1);
    append(3, 4, "b", 2);
    get(5, 6, "ba");
    CHECK(!is_linearizable());
    begin();
    append(1, 3, "a", 1);
    append(2, 4, "b", 2);
    get(5, 6, "ba");
    CHECK(!is_linearizable());
    begin();
    append(1, 3, "a", 2);
    append(2, 4, "b", 1);
    get(5, 6, "ba");
    CHECK(is_linearizable());
}

static void an_unknown_write_may_take_effect_much_later(void)
{
    begin();
    unknown(OPERATION_SET, 1, "a");
    get(2, 3, NULL);
    set(4, 5, "b");
    get(6, 7, "b");
    get(8, 9, "a");
    CHECK(is_linearizable());
}

static void an_unknown_write_may_never_take_effect(void)
{
    begin();
    set(1, 2, "b");
    unknown(OPERATION_SET, 3, "a");
    get(4, 5, "b");
    get(6, 7, "b");
    CHECK(is_linearizable());
}

static void an_unknown_write_takes_effect_at_most_once(void)
{
    begin();
    unknown(OPERATION_SET, 1, "a");
    get(2, 3, "a");
    set(4, 5, "b");
    get(6, 7, "b");
    get(8, 9, "a");
    CHECK(!is_linearizable());
}

static void an_unknown_write_does_not_act_before_its_call(void)
{
    begin();
    get(1, 2, "a");
    unknown(OPERATION_SET, 3, "a");
    CHECK(!is_linearizable());
}

static void unknown_increments_explain_a_gap_of_their_number(void)
{
    begin();
    incr(1, 2, 1);
    unknown(OPERATION_INCR, 3, NULL);
    unknown(OPERATION_INCR, 4, NULL);
    incr(5, 6, 4);
    CHECK(is_linearizable());
    begin();
    incr(1, 2, 1);
    unknown(OPERATION_INCR, 3, NULL);
    unknown(OPERATION_INCR, 4, NULL);
    incr(5, 6, 5);
    CHECK(!is_linearizable());
}

static void an_unknown_append_is_seen_by_length(void)
{
    begin();
    set(1, 2, "a");
    unknown(OPERATION_APPEND, 3, "xyz");
    append(4, 5, "b", 5);
    get(6, 7, "axyzb");
    CHECK(is_linearizable());
    begin();
    set(1, 2, "a");
    unknown(OPERATION_APPEND, 3, "xyz");
    append(4, 5, "b", 5);
    get(6, 7, "ab");
    CHECK(!is_linearizable());
}

static void a_failed_write_that_took_effect_is_rejected(void)
{
    begin();
    set(1, 2, "a");
    add(OPERATION_SET, OPERATION_FAILED, 3, 4, "b", 0);
    get(5, 6, "b");
    CHECK(!is_linearizable());
}

static void a_failed_write_without_effect_is_accepted(void)
{
    begin();
    set(1, 2, "a");
    add(OPERATION_INCR, OPERATION_FAILED, 3, 4, NULL, 0);
    add(OPERATION_SET, OPERATION_FAILED, 5, 6, "b", 0);
    get(7, 8, "a");
    CHECK(is_linearizable());
}

static void keys_are_judged_apart_and_the_wrong_one_is_named(void)
{
    struct verdict verdict;
    struct operation operation = {.kind = OPERATION_SET, .outcome = OPERATION_OK};

    begin();
    operation.key = 1;
    operation.called = 1;
    operation.returned = 2;
    operation.value = text("a");
    history_add(&history, &operation);
    operation.key = 2;
    operation.kind = OPERATION_GET;
    operation.called = 3;
    operation.returned = 4;
    history_add(&history, &operation);
    verdict = linearize(&history);
    CHECK_EQ(verdict.kind, VERDICT_NOT_LINEARIZABLE);
    CHECK_EQ(verdict.key, 2);
    CHECK_EQ(verdict.stuck.called, 3);
}

/* ---- Against every order ---- */

static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % bound);
}

/* For the slow judge: the text of each operation of the small history; null: no value. */
static const char *small_texts[8];

struct small_value {
    int is_there;
    char text[64];
};

/* Whether the operation fits the value, which becomes what it leaves. */
static int replay(size_t position, struct small_value *value)
{
    const struct operation *operation = &history.operations[position];
    const char *given = small_texts[position];
    int64_t result;

    switch (operation->kind) {
    case OPERATION_GET:
        return value->is_there ? given && !strcmp(value->text, given) : !given;
    case OPERATION_SET:
        strcpy(value->text, given);
        result = operation->number;
        break;
    case OPERATION_APPEND:
        strcat(value->text, given);
        result = (int64_t)strlen(value->text);
        break;
    default:
        if (strchr(value->text, 'x')) {
            return 0;
        }
        result = atoll(value->text) + 1;
        snprintf(value->text, sizeof value->text, "%d", (int)result);
        break;
    }
    value->is_there = 1;
    return operation->outcome == OPERATION_UNKNOWN || operation->number == result;
}

/* Tries every order of every choice of the unknown ones. */
static int some_order_fits(unsigned used, const struct small_value *value)
{
    uint64_t before = UINT64_MAX;
    int is_complete = 1;

    for (size_t i = 0; i < history.count; i++) {
        const struct operation *operation = &history.operations[i];

        if (!(used & 1u << i) && operation->outcome == OPERATION_OK) {
            is_complete = 0;
            before = operation->returned < before ? operation->returned : before;
        }
    }
    for (size_t i = 0; !is_complete && i < history.count; i++) {
        const struct operation *operation = &history.operations[i];
        struct small_value next = *value;

        if (!(used & 1u << i) && operation->outcome != OPERATION_FAILED &&
            operation->called < before && replay(i, &next) &&
            some_order_fits(used | 1u << i, &next)) {
            return 1;
        }
    }
    return is_complete;
}

/* A text that some short order of operations could leave. */
static const char *small_text(int kind)
{
    static const char *const given[] = {"1", "2", "x"};
    static const char *const read[] = {"1", "2", "x", "11", "12", "1x", "x1", "3", "22", NULL};

    return kind == OPERATION_GET ? read[random_below(10)] : given[random_below(3)];
}

/* Seven random operations, with stamps in a random order. */
static void make_small_history(void)
{
    uint64_t stamps[14];

    begin();
    for (uint64_t i = 0; i < 14; i++) {
        uint32_t at = random_below((uint32_t)i + 1);

        stamps[i] = stamps[at];
        stamps[at] = i + 1;
    }
    for (int i = 0; i < 7; i++) {
        uint64_t a = stamps[2 * i], b = stamps[2 * i + 1];
        int kind = (int)random_below(4);
        int outcome = random_below(3) == 0 ? (int)random_below(2) + 1 : OPERATION_OK;

        small_texts[i] = small_text(kind);
        add(kind, outcome, a < b ? a : b, a < b ? b : a, small_texts[i], 1 + (int)random_below(3));
    }
}

static void small_histories_are_judged_as_by_trying_every_order(void)
{
    unsigned accepted = 0;

    random_state = 7;
    for (int run = 0; run < 40000; run++) {
        struct small_value nothing = {0, ""};
        int expected;

        make_small_history();
        expected = some_order_fits(0, &nothing);
        CHECK_EQ(is_linearizable(), expected);
        accepted += expected != 0;
    }
    CHECK(accepted > 1000 && accepted < 39000);
}

/* ---- Large ones ---- */

enum { CLIENTS = 12, KEYS = 3 };

struct caller {
    int is_busy;
    int has_acted;
    struct operation operation;
};

/* What the store does at the instant of the operation. */
static void act(struct caller *caller, char values[KEYS][64 * 1024], int present[KEYS])
{
    struct operation *operation = &caller->operation;
    char *value = values[operation->key];
    char number[24];

    caller->has_acted = 1;
    if (operation->kind == OPERATION_GET) {
        operation->value = present[operation->key] ? text(value) : OPERATION_NO_VALUE;
        return;
    }
    if (operation->kind == OPERATION_INCR) {
        operation->number = atoll(value) + 1;
        snprintf(value, 64 * 1024, "%lld", (long long)operation->number);
    } else {
        snprintf(number, sizeof number, "<%llu>", (unsigned long long)operation->called);
        strcpy(operation->kind == OPERATION_SET ? value : value + strlen(value), number);
        operation->number = (int64_t)strlen(value);
    }
    present[operation->key] = 1;
}

static void call(struct caller *caller, uint64_t now, uint32_t client)
{
    uint32_t key = random_below(KEYS);
    char unique[24];

    caller->is_busy = 1;
    caller->has_acted = 0;
    caller->operation = (struct operation){.called = now, .client = client, .key = key};
    caller->operation.kind = OPERATION_GET;
    if (random_below(2) == 0) {
        caller->operation.kind = key == 0          ? OPERATION_INCR
                                 : random_below(8) ? OPERATION_APPEND
                                                   : OPERATION_SET;
    }
    snprintf(unique, sizeof unique, "<%llu>", (unsigned long long)now);
    caller->operation.value = text(unique);
}

static void finish(struct caller *caller, uint64_t now, uint32_t unknown_in)
{
    caller->is_busy = 0;
    caller->operation.returned = now;
    if (unknown_in && random_below(unknown_in) == 0) {
        caller->operation.outcome = OPERATION_UNKNOWN;
    }
    history_add(&history, &caller->operation);
}

/* A history of a correct store. One in `unknown_in` answers is lost; 0: none. */
static void make_large_history(int events, uint32_t unknown_in)
{
    static char values[KEYS][64 * 1024];
    int present[KEYS] = {0};
    struct caller callers[CLIENTS] = {0};

    begin();
    memset(values, 0, sizeof values);
    for (int now = 1; now <= events; now++) {
        uint32_t client = random_below(CLIENTS);
        struct caller *caller = &callers[client];

        if (!caller->is_busy) {
            call(caller, (uint64_t)now, client);
        } else if (!caller->has_acted) {
            act(caller, values, present);
        } else {
            finish(caller, (uint64_t)now, unknown_in);
        }
    }
}

static void what_a_correct_store_did_is_accepted(void)
{
    random_state = 3;
    make_large_history(30000, 0);
    CHECK(is_linearizable());
    make_large_history(20000, 400);
    CHECK(is_linearizable());
}

/* The first read from the middle on that an acknowledged write of long ago would have refuted. */
static void one_old_answer_among_thousands_is_rejected(void)
{
    size_t early = SIZE_MAX, late = SIZE_MAX;

    random_state = 5;
    make_large_history(30000, 0);
    for (size_t i = 0; i < history.count; i++) {
        const struct operation *operation = &history.operations[i];

        if (operation->key == 0 && operation->kind == OPERATION_GET &&
            operation->value != OPERATION_NO_VALUE) {
            if (early == SIZE_MAX) {
                early = i;
            }
            late = i;
        }
    }
    history.operations[late].value = history.operations[early].value;
    CHECK(!is_linearizable());
}

int main(void)
{
    RUN(an_empty_history_is_accepted);
    RUN(one_after_the_other_is_accepted);
    RUN(concurrent_sets_may_take_either_order);
    RUN(a_read_may_see_a_write_that_has_not_returned);
    RUN(a_stale_read_is_rejected);
    RUN(a_lost_write_is_rejected);
    RUN(a_double_increment_is_rejected);
    RUN(two_increments_with_the_same_result_are_rejected);
    RUN(a_read_of_the_future_is_rejected);
    RUN(a_value_that_nobody_wrote_is_rejected);
    RUN(reads_that_go_back_in_time_are_rejected);
    RUN(the_order_of_real_time_holds_between_clients);
    RUN(an_unknown_write_may_take_effect_much_later);
    RUN(an_unknown_write_may_never_take_effect);
    RUN(an_unknown_write_takes_effect_at_most_once);
    RUN(an_unknown_write_does_not_act_before_its_call);
    RUN(unknown_increments_explain_a_gap_of_their_number);
    RUN(an_unknown_append_is_seen_by_length);
    RUN(a_failed_write_that_took_effect_is_rejected);
    RUN(a_failed_write_without_effect_is_accepted);
    RUN(keys_are_judged_apart_and_the_wrong_one_is_named);
    RUN(small_histories_are_judged_as_by_trying_every_order);
    RUN(what_a_correct_store_did_is_accepted);
    RUN(one_old_answer_among_thousands_is_rejected);
    history_free(&history);
    return check_done();
}
