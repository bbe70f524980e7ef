/*
 * Exactly-once sessions (V19): a request is executed once, however often and wherever it is tried;
 * a session that has gone is never taken for a new one; what goes is decided by the log alone; the
 * table survives in a snapshot as the same bytes everywhere.
 *
 * The source is compiled in with an allocator of our own, so that memory can fail.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cluster.h"
#include "sim/random.h"

static long allocations_left = -1; /* until one fails; negative: none does */

static int allocation_fails(void)
{
    return allocations_left >= 0 && allocations_left-- == 0;
}

static void *fallible_malloc(size_t size)
{
    return allocation_fails() ? NULL : malloc(size);
}

static void *fallible_calloc(size_t count, size_t size)
{
    return allocation_fails() ? NULL : calloc(count, size);
}

#define malloc fallible_malloc
#define calloc fallible_calloc
#include "session.c"
#undef malloc
#undef calloc

enum { SAVED_MAX = 64 * 1024 };

static struct sessions *table;
static struct sessions *other;
static struct sessions_reply reply;
static uint8_t saved[SAVED_MAX], again[SAVED_MAX];

static void begin(const struct sessions_limits *limits)
{
    allocations_left = -1;
    sessions_free(table);
    sessions_free(other);
    table = NULL;
    other = NULL;
    CHECK_EQ(sessions_new(limits, &table), SESSIONS_OK);
    CHECK_EQ(sessions_new(NULL, &other), SESSIONS_OK);
}

/* Executes a request whose answer is a text. */
static void execute(raft_index index, uint64_t id, uint64_t number, const char *text)
{
    CHECK_EQ(sessions_begin(table, index, id, number, &reply), SESSIONS_NEW);
    CHECK_EQ(sessions_finish(table, text, strlen(text)), SESSIONS_OK);
}

static void expect_repeat(raft_index index, uint64_t id, uint64_t number, const char *text)
{
    CHECK_EQ(sessions_begin(table, index, id, number, &reply), SESSIONS_REPEAT);
    CHECK_EQ(reply.size, strlen(text));
    CHECK(reply.size == 0 || memcmp(reply.data, text, reply.size) == 0);
}

static void expect_verdict(raft_index index, uint64_t id, uint64_t number, int verdict)
{
    CHECK_EQ(sessions_begin(table, index, id, number, &reply), verdict);
}

/* ---- Verdicts ---- */

static void a_request_is_executed_once_and_its_answer_repeated(void)
{
    begin(NULL);
    CHECK_EQ(sessions_open(table, 7), SESSIONS_OK);
    execute(8, 7, 1, "one");
    expect_repeat(9, 7, 1, "one");
    expect_repeat(10, 7, 1, "one");
    execute(11, 7, 2, "two");
    expect_repeat(12, 7, 2, "two");
}

static void an_empty_answer_is_an_answer(void)
{
    begin(NULL);
    CHECK_EQ(sessions_open(table, 7), SESSIONS_OK);
    CHECK_EQ(sessions_begin(table, 8, 7, 1, &reply), SESSIONS_NEW);
    CHECK_EQ(sessions_finish(table, NULL, 0), SESSIONS_OK);
    expect_repeat(9, 7, 1, "");
}

static void an_older_request_is_stale_and_not_executed(void)
{
    begin(NULL);
    CHECK_EQ(sessions_open(table, 1), SESSIONS_OK);
    execute(2, 1, 1, "one");
    execute(3, 1, 2, "two");
    expect_verdict(4, 1, 1, SESSIONS_STALE);
    expect_repeat(5, 1, 2, "two");
}

/* The client gave up request 2 and went on; late in the log, 2 must not take effect after 3. */
static void a_request_that_was_given_up_is_never_executed_later(void)
{
    begin(NULL);
    CHECK_EQ(sessions_open(table, 1), SESSIONS_OK);
    execute(2, 1, 1, "one");
    execute(3, 1, 3, "three");
    expect_verdict(4, 1, 2, SESSIONS_STALE);
}

static void number_zero_is_no_request(void)
{
    begin(NULL);
    CHECK_EQ(sessions_open(table, 1), SESSIONS_OK);
    expect_verdict(2, 1, 0, SESSIONS_STALE);
    execute(3, 1, 1, "one");
    expect_verdict(4, 1, 0, SESSIONS_STALE);
}

static void sessions_do_not_disturb_each_other(void)
{
    begin(NULL);
    CHECK_EQ(sessions_open(table, 1), SESSIONS_OK);
    CHECK_EQ(sessions_open(table, 2), SESSIONS_OK);
    execute(3, 1, 1, "a");
    execute(4, 2, 1, "b");
    expect_repeat(5, 1, 1, "a");
    expect_repeat(6, 2, 1, "b");
}

static void what_was_never_opened_is_unknown(void)
{
    begin(NULL);
    CHECK_EQ(sessions_open(table, 5), SESSIONS_OK);
    expect_verdict(6, 4, 1, SESSIONS_UNKNOWN);
    expect_verdict(6, 0, 1, SESSIONS_UNKNOWN);
    expect_verdict(6, UINT64_MAX, 1, SESSIONS_UNKNOWN);
}

static void an_answer_too_large_is_not_kept_and_the_request_not_executed_again(void)
{
    const struct sessions_limits limits = {.reply_bytes_max = 4};

    begin(&limits);
    CHECK_EQ(sessions_open(table, 1), SESSIONS_OK);
    execute(2, 1, 1, "four");
    expect_repeat(3, 1, 1, "four");
    execute(4, 1, 2, "fives");
    expect_verdict(5, 1, 2, SESSIONS_UNKEPT);
    expect_verdict(6, 1, 1, SESSIONS_STALE);
    CHECK_EQ(sessions_bytes(table), SESSIONS_COST);
    execute(7, 1, 3, "six");
    expect_repeat(8, 1, 3, "six");
}

/* ---- Ends ---- */

static void a_session_that_ended_is_unknown_for_ever(void)
{
    begin(NULL);
    CHECK_EQ(sessions_open(table, 1), SESSIONS_OK);
    execute(2, 1, 1, "one");
    CHECK_EQ(sessions_close(table, 3, 1), SESSIONS_OK);
    CHECK_EQ(sessions_close(table, 4, 1), SESSIONS_UNKNOWN);
    expect_verdict(5, 1, 1, SESSIONS_UNKNOWN);
    expect_verdict(5, 1, 2, SESSIONS_UNKNOWN);
    CHECK_EQ(sessions_open(table, 1), SESSIONS_EARG);
    CHECK_EQ(sessions_open(table, 5), SESSIONS_EARG);
    expect_verdict(6, 1, 2, SESSIONS_UNKNOWN);
    CHECK_EQ(sessions_count(table), 0);
    CHECK_EQ(sessions_bytes(table), 0);
}

static void where_there_are_too_many_the_least_recently_used_goes(void)
{
    const struct sessions_limits limits = {.count_max = 3};

    begin(&limits);
    for (raft_index index = 1; index <= 3; index++) {
        CHECK_EQ(sessions_open(table, index), SESSIONS_OK);
    }
    execute(4, 1, 1, "used");
    CHECK_EQ(sessions_open(table, 5), SESSIONS_OK);
    CHECK_EQ(sessions_count(table), 3);
    expect_verdict(6, 2, 1, SESSIONS_UNKNOWN);
    expect_repeat(7, 1, 1, "used");
    execute(8, 3, 1, "three");
    CHECK_EQ(sessions_open(table, 9), SESSIONS_OK);
    expect_verdict(10, 5, 1, SESSIONS_UNKNOWN);
}

static void a_repeat_counts_as_use(void)
{
    const struct sessions_limits limits = {.count_max = 2};

    begin(&limits);
    CHECK_EQ(sessions_open(table, 1), SESSIONS_OK);
    execute(2, 1, 1, "one");
    CHECK_EQ(sessions_open(table, 3), SESSIONS_OK);
    expect_repeat(4, 1, 1, "one");
    CHECK_EQ(sessions_open(table, 5), SESSIONS_OK);
    expect_verdict(6, 3, 1, SESSIONS_UNKNOWN);
    expect_repeat(7, 1, 1, "one");
}

static void where_answers_are_too_many_bytes_others_go_and_never_the_own(void)
{
    const struct sessions_limits limits = {.bytes_max = 3 * SESSIONS_COST + 10,
                                           .reply_bytes_max = 100};

    begin(&limits);
    for (raft_index index = 1; index <= 3; index++) {
        CHECK_EQ(sessions_open(table, index), SESSIONS_OK);
    }
    execute(4, 1, 1, "0123456789");
    CHECK_EQ(sessions_count(table), 3);
    execute(5, 2, 1, "x");
    CHECK_EQ(sessions_count(table), 2);
    expect_verdict(6, 3, 1, SESSIONS_UNKNOWN);
    expect_repeat(7, 1, 1, "0123456789");
    execute(8, 1, 2, "a long answer of sixty bytes and more, which is sixty-six in all....");
    CHECK(sessions_bytes(table) <= limits.bytes_max);
    expect_repeat(9, 1, 2, "a long answer of sixty bytes and more, which is sixty-six in all....");
    CHECK_EQ(sessions_count(table), 2);
}

static void an_answer_as_large_as_allowed_fits_beside_nothing(void)
{
    const struct sessions_limits limits = {.bytes_max = SESSIONS_COST + 3};

    begin(&limits);
    CHECK_EQ(sessions_open(table, 1), SESSIONS_OK);
    execute(2, 1, 1, "abc");
    expect_repeat(3, 1, 1, "abc");
    CHECK_EQ(sessions_open(table, 4), SESSIONS_OK);
    CHECK_EQ(sessions_count(table), 1);
    expect_verdict(5, 1, 1, SESSIONS_UNKNOWN);
}

static void an_entry_ends_what_was_not_used_for_long(void)
{
    begin(NULL);
    for (raft_index index = 1; index <= 4; index++) {
        CHECK_EQ(sessions_open(table, index), SESSIONS_OK);
    }
    execute(5, 1, 1, "one");
    CHECK_EQ(sessions_expire(table, 6, 3), SESSIONS_OK);
    CHECK_EQ(sessions_count(table), 3);
    expect_verdict(7, 2, 1, SESSIONS_UNKNOWN);
    expect_repeat(8, 1, 1, "one");
    CHECK_EQ(sessions_expire(table, 9, 9), SESSIONS_OK);
    CHECK_EQ(sessions_count(table), 0);
}

static void limits_change_by_an_entry(void)
{
    struct sessions_limits limits = {.count_max = 2};

    begin(NULL);
    for (raft_index index = 1; index <= 4; index++) {
        CHECK_EQ(sessions_open(table, index), SESSIONS_OK);
    }
    CHECK_EQ(sessions_limit(table, 5, &limits), SESSIONS_OK);
    CHECK_EQ(sessions_count(table), 2);
    expect_verdict(6, 2, 1, SESSIONS_UNKNOWN);
    execute(7, 3, 1, "kept");
    limits.reply_bytes_max = 2;
    CHECK_EQ(sessions_limit(table, 8, &limits), SESSIONS_OK);
    expect_repeat(9, 3, 1, "kept");
    execute(10, 3, 2, "kept");
    expect_verdict(11, 3, 2, SESSIONS_UNKEPT);
}

static void limits_that_allow_nothing_are_refused(void)
{
    const struct sessions_limits bad[] = {
        {.bytes_max = SESSIONS_COST},
        {.bytes_max = 1},
        {.bytes_max = 1000, .reply_bytes_max = 1000 - SESSIONS_COST + 1},
        {.bytes_max = UINT64_MAX, .reply_bytes_max = UINT64_C(1) << 31},
    };
    struct sessions *none = NULL;

    begin(NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t digest = sessions_digest(table);

        CHECK_EQ(sessions_new(&bad[i], &none), SESSIONS_EARG);
        CHECK_EQ(sessions_limit(table, 1, &bad[i]), SESSIONS_EARG);
        CHECK_EQ(sessions_digest(table), digest);
    }
    CHECK(none == NULL);
}

/* ---- Misuse ---- */

static void calls_out_of_order_are_refused_and_change_nothing(void)
{
    uint64_t digest;

    begin(NULL);
    CHECK_EQ(sessions_open(table, 0), SESSIONS_EARG);
    CHECK_EQ(sessions_open(table, 5), SESSIONS_OK);
    digest = sessions_digest(table);
    CHECK_EQ(sessions_open(table, 5), SESSIONS_EARG);
    expect_verdict(4, 5, 1, SESSIONS_EARG);
    expect_verdict(0, 5, 1, SESSIONS_EARG);
    CHECK_EQ(sessions_close(table, 4, 5), SESSIONS_EARG);
    CHECK_EQ(sessions_expire(table, 4, 9), SESSIONS_EARG);
    CHECK_EQ(sessions_limit(table, 4, NULL), SESSIONS_EARG);
    CHECK_EQ(sessions_finish(table, "x", 1), SESSIONS_EARG);
    CHECK_EQ(sessions_digest(table), digest);
}

/* A host that forgets to finish would execute the request again: it finds out at once. */
static void a_request_that_was_begun_is_finished_before_anything_else(void)
{
    size_t size;

    begin(NULL);
    CHECK_EQ(sessions_open(table, 1), SESSIONS_OK);
    size = sessions_save(table, saved, sizeof saved);
    CHECK(size > 0);
    expect_verdict(2, 1, 1, SESSIONS_NEW);
    expect_verdict(3, 1, 1, SESSIONS_EARG);
    CHECK_EQ(sessions_open(table, 3), SESSIONS_EARG);
    CHECK_EQ(sessions_close(table, 3, 1), SESSIONS_EARG);
    CHECK_EQ(sessions_save(table, again, sizeof again), 0);
    CHECK_EQ(sessions_load(table, saved, size), SESSIONS_EARG);
    CHECK_EQ(sessions_finish(table, "x", 1), SESSIONS_OK);
    CHECK_EQ(sessions_finish(table, "y", 1), SESSIONS_EARG);
    expect_repeat(3, 1, 1, "x");
}

/* ---- Snapshots ---- */

/* The table goes to bytes and back into `other`, and the two trade places. */
static void through_bytes(void)
{
    size_t size = sessions_save(table, saved, sizeof saved);
    struct sessions *from = table;

    CHECK_EQ(size, sessions_saved_size(table));
    CHECK_EQ(sessions_load(other, saved, size), SESSIONS_OK);
    CHECK_EQ(sessions_save(other, again, sizeof again), size);
    CHECK(memcmp(saved, again, size) == 0);
    CHECK_EQ(sessions_digest(other), sessions_digest(table));
    CHECK_EQ(sessions_bytes(other), sessions_bytes(table));
    CHECK_EQ(sessions_count(other), sessions_count(table));
    table = other;
    other = from;
}

static void a_snapshot_remembers_what_was_executed(void)
{
    const struct sessions_limits limits = {.count_max = 3, .reply_bytes_max = 5};

    begin(&limits);
    CHECK_EQ(sessions_open(table, 1), SESSIONS_OK);
    CHECK_EQ(sessions_open(table, 2), SESSIONS_OK);
    CHECK_EQ(sessions_open(table, 3), SESSIONS_OK);
    execute(4, 2, 1, "two");
    execute(5, 1, 7, "too large");
    through_bytes();
    expect_repeat(6, 2, 1, "two");
    expect_verdict(7, 1, 7, SESSIONS_UNKEPT);
    CHECK_EQ(sessions_open(table, 8), SESSIONS_OK); /* the limits and the order came along */
    expect_verdict(9, 3, 1, SESSIONS_UNKNOWN);
    through_bytes();
    CHECK_EQ(sessions_open(table, 8), SESSIONS_EARG); /* and so did the index */
}

static void an_empty_table_is_saved_too(void)
{
    begin(NULL);
    through_bytes();
    CHECK_EQ(sessions_saved_size(table), SESSIONS_HEAD_BYTES);
    CHECK_EQ(sessions_save(table, saved, SESSIONS_HEAD_BYTES - 1), 0);
    CHECK_EQ(sessions_save(table, saved, SESSIONS_HEAD_BYTES), SESSIONS_HEAD_BYTES);
}

/* The bytes are a format: this is what version 1 looks like. */
static void the_saved_form_is_the_same_everywhere(void)
{
    static const uint8_t expected[] = {
        'K', 'E', 'S', 'S', 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0,   0,  0, 0,
        0,   100, 0,   0,   0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0,   0,  0, 0,
        0,   0,   0,   0,   0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 5, 0,   0,  0, 0,
        0,   0,   0,   2,   1, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 'o', 'k'};
    const struct sessions_limits limits = {2, 1024, 100};

    begin(&limits);
    CHECK_EQ(sessions_open(table, 257), SESSIONS_OK);
    execute(258, 257, 5, "ok");
    expect_verdict(259, 256, 1, SESSIONS_UNKNOWN);
    CHECK_EQ(sessions_save(table, saved, sizeof saved), sizeof expected);
    CHECK(memcmp(saved, expected, sizeof expected) == 0);
}

static void expect_refused(const uint8_t *bytes, size_t size, int status)
{
    uint64_t digest = sessions_digest(table);

    CHECK_EQ(sessions_load(table, bytes, size), status);
    CHECK_EQ(sessions_digest(table), digest);
}

/* A small table in `saved`: two sessions, the first with the answer "ok". Returns its size. */
static size_t save_two(void)
{
    begin(NULL);
    CHECK_EQ(sessions_open(table, 1), SESSIONS_OK);
    CHECK_EQ(sessions_open(table, 2), SESSIONS_OK);
    execute(3, 1, 1, "ok");
    expect_verdict(4, 2, 0, SESSIONS_STALE);
    return sessions_save(table, saved, sizeof saved);
}

static void cut_or_longer_bytes_are_refused(void)
{
    size_t size = save_two();

    for (size_t cut = 0; cut < size; cut++) {
        expect_refused(saved, cut, SESSIONS_ECORRUPT);
    }
    saved[size] = 0;
    expect_refused(saved, size + 1, SESSIONS_ECORRUPT);
    CHECK_EQ(sessions_load(table, saved, size), SESSIONS_OK);
}

static void contradictions_are_refused(void)
{
    /* Offset in the saved form, value that is wrong there, and what is wrong with it. */
    static const struct {
        size_t offset;
        uint8_t value;
        int status;
    } wrong[] = {
        {0, 'X', SESSIONS_ECORRUPT},   /* magic */
        {4, 2, SESSIONS_EVERSION},     /* a later format */
        {4, 0, SESSIONS_ECORRUPT},     /* a format that never was */
        {48, 1, SESSIONS_ECORRUPT},    /* what is to be zero */
        {32, 3, SESSIONS_ECORRUPT},    /* the last index is below a use */
        {40, 1, SESSIONS_ECORRUPT},    /* fewer sessions than follow */
        {40, 3, SESSIONS_ECORRUPT},    /* more sessions than follow */
        {56, 0, SESSIONS_ECORRUPT},    /* id 0 */
        {56, 2, SESSIONS_ECORRUPT},    /* the same id twice */
        {56, 4, SESSIONS_ECORRUPT},    /* used before it was opened */
        {64, 0, SESSIONS_ECORRUPT},    /* an answer to nothing */
        {72, 5, SESSIONS_ECORRUPT},    /* used after the next in order */
        {80, 1, SESSIONS_ECORRUPT},    /* a shorter answer: the rest does not add up */
        {83, 0x80, SESSIONS_ECORRUPT}, /* an answer larger than the bytes */
        {84, 1, SESSIONS_ECORRUPT},    /* kept and not kept */
        {84, 2, SESSIONS_ECORRUPT},    /* neither yes nor no */
        {118, 1, SESSIONS_ECORRUPT},   /* not kept, and nothing was executed */
    };
    size_t size = save_two();

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(again, saved, size);
        again[wrong[i].offset] = wrong[i].value;
        expect_refused(again, size, wrong[i].status);
    }
}

/* Whatever bytes are accepted are the bytes that would have been saved. */
static void damaged_bytes_are_refused_or_mean_themselves(void)
{
    struct rng rng = {7};
    size_t size = save_two();
    unsigned accepted = 0;
    uint8_t bytes[512];

    CHECK(size < sizeof bytes - 8);
    for (int round = 0; round < 20000; round++) {
        size_t length = rng_chance(&rng, 900000) ? size : (size_t)rng_below(&rng, size + 8);

        memset(bytes, 0, sizeof bytes);
        memcpy(bytes, saved, size);
        for (uint64_t flips = rng_between(&rng, 1, 3); flips > 0; flips--) {
            bytes[rng_below(&rng, length ? length : 1)] = (uint8_t)rng_below(&rng, 4);
        }
        if (sessions_load(other, bytes, length) == SESSIONS_OK) {
            accepted++;
            CHECK_EQ(sessions_save(other, again, sizeof again), length);
            CHECK(memcmp(bytes, again, length) == 0);
        }
    }
    CHECK(accepted > 100);
}

/* ---- Against a model ---- */

enum { MODEL_MAX = 8, MODEL_REPLY = 24 };

/* The same by plain reading of the contract: an array in the order of use. */
struct model {
    struct {
        uint64_t id, number, used;
        char reply[MODEL_REPLY + 1];
        size_t size;
        int unkept;
    } at[MODEL_MAX + 1];
    size_t count;
    size_t count_max, bytes_max, reply_max;
};

static size_t model_find(const struct model *model, uint64_t id)
{
    size_t place = 0;

    while (place < model->count && model->at[place].id != id) {
        place++;
    }
    return place;
}

static void model_remove(struct model *model, size_t place)
{
    model->count--;
    memmove(&model->at[place], &model->at[place + 1], (model->count - place) * sizeof model->at[0]);
}

static void model_trim(struct model *model)
{
    uint64_t bytes;

    do {
        bytes = 0;
        for (size_t i = 0; i < model->count; i++) {
            bytes += SESSIONS_COST + model->at[i].size;
        }
        if (bytes > model->bytes_max || model->count > model->count_max) {
            model_remove(model, 0);
        }
    } while (bytes > model->bytes_max || model->count > model->count_max);
}

static void model_open(struct model *model, uint64_t id)
{
    memset(&model->at[model->count], 0, sizeof model->at[0]);
    model->at[model->count].id = id;
    model->at[model->count].used = id;
    model->count++;
    model_trim(model);
}

/* Moves a session to the end and says what its request is. */
static int model_begin(struct model *model, uint64_t index, uint64_t id, uint64_t number)
{
    size_t place = model_find(model, id), last = model->count - 1;

    if (place == model->count) {
        return SESSIONS_UNKNOWN;
    }
    model->at[model->count] = model->at[place];
    model->at[model->count].used = index;
    model->count++;
    model_remove(model, place);
    if (number < model->at[last].number || number == 0) {
        return SESSIONS_STALE;
    }
    if (number > model->at[last].number) {
        return SESSIONS_NEW;
    }
    return model->at[last].unkept ? SESSIONS_UNKEPT : SESSIONS_REPEAT;
}

static void model_finish(struct model *model, uint64_t number, const char *text, size_t size)
{
    size_t last = model->count - 1;

    model->at[last].number = number;
    model->at[last].unkept = size > model->reply_max;
    model->at[last].size = size > model->reply_max ? 0 : size;
    memcpy(model->at[last].reply, text, size);
    model_trim(model);
}

static void random_request(struct model *model, struct rng *rng, raft_index index)
{
    uint64_t id = model->count > 0 && rng_chance(rng, 800000)
                      ? model->at[rng_below(rng, model->count)].id
                      : rng_below(rng, index + 2);
    size_t place = model_find(model, id);
    uint64_t last = place < model->count ? model->at[place].number : 0;
    uint64_t number = last + rng_below(rng, 3) - (last > 0 && rng_chance(rng, 200000));
    int verdict = model_begin(model, index, id, number);

    expect_verdict(index, id, number, verdict);
    if (verdict == SESSIONS_REPEAT) {
        const char *text = model->at[model->count - 1].reply;

        CHECK_EQ(reply.size, model->at[model->count - 1].size);
        CHECK(reply.size == 0 || memcmp(reply.data, text, reply.size) == 0);
    } else if (verdict == SESSIONS_NEW) {
        char text[MODEL_REPLY + 1];
        size_t size = (size_t)rng_below(rng, MODEL_REPLY);

        memset(text, (int)('a' + number % 26), sizeof text);
        CHECK_EQ(sessions_finish(table, text, size), SESSIONS_OK);
        model_finish(model, number, text, size);
    }
}

static void random_entry(struct model *model, struct rng *rng, raft_index index)
{
    uint64_t what = rng_below(rng, 20);

    if (what < 4) {
        CHECK_EQ(sessions_open(table, index), SESSIONS_OK);
        model_open(model, index);
    } else if (what == 4 && model->count > 0) {
        size_t place = (size_t)rng_below(rng, model->count);

        CHECK_EQ(sessions_close(table, index, model->at[place].id), SESSIONS_OK);
        model_remove(model, place);
    } else if (what == 5) {
        raft_index since = index > 40 ? index - 40 + rng_below(rng, 10) : 0;

        CHECK_EQ(sessions_expire(table, index, since), SESSIONS_OK);
        while (model->count > 0 && model->at[0].used < since) {
            model_remove(model, 0);
        }
    } else {
        random_request(model, rng, index);
    }
}

static void any_history_is_as_the_contract_reads(void)
{
    struct rng rng = {11};

    for (int run = 0; run < 60; run++) {
        struct model model = {.count_max = (size_t)rng_between(&rng, 1, MODEL_MAX),
                              .reply_max = (size_t)rng_between(&rng, 1, MODEL_REPLY)};

        model.bytes_max = (size_t)(SESSIONS_COST + model.reply_max + rng_below(&rng, 500));
        begin(&(struct sessions_limits){model.count_max, model.bytes_max, model.reply_max});
        for (raft_index index = 1; index <= 400; index++) {
            random_entry(&model, &rng, index);
            CHECK_EQ(sessions_count(table), model.count);
            CHECK(sessions_bytes(table) <= model.bytes_max);
            if (rng_chance(&rng, 100000)) {
                through_bytes();
            }
        }
    }
}

static void many_sessions_are_found(void)
{
    begin(NULL);
    for (raft_index index = 1; index <= 20000; index++) {
        CHECK_EQ(sessions_open(table, index), SESSIONS_OK);
    }
    for (raft_index id = 1; id <= 20000; id++) {
        expect_verdict(20000 + id, id, 0, SESSIONS_STALE);
    }
    CHECK_EQ(sessions_expire(table, 40001, 30001), SESSIONS_OK);
    CHECK_EQ(sessions_count(table), 10000);
    expect_verdict(40002, 10000, 1, SESSIONS_UNKNOWN);
    expect_verdict(40003, 10001, 1, SESSIONS_NEW);
}

/* ---- Memory ---- */

static uint64_t digest_before; /* of the table, when the last call that may allocate began */

static int finish_step(unsigned step)
{
    digest_before = sessions_digest(table);
    return sessions_finish(table, "some answer", step % 12);
}

/* One step of a life. SESSIONS_OK, or SESSIONS_ENOMEM. */
static int step_of_life(unsigned step)
{
    raft_index index = step + 1;

    digest_before = sessions_digest(table);
    if (step % 10 == 0) {
        return sessions_open(table, index);
    }
    if (step % 17 == 0) {
        size_t size = sessions_save(table, saved, sizeof saved);

        return sessions_load(table, saved, size);
    }
    CHECK_EQ(sessions_begin(table, index, step / 10 * 10 + 1, step, &reply), SESSIONS_NEW);
    return finish_step(step);
}

/* Lives the life whose allocation number `fails` fails once. Returns the digest at its end. */
static uint64_t live(long fails, int *has_failed)
{
    *has_failed = 0;
    begin(NULL);
    allocations_left = fails;
    for (unsigned step = 0; step < 200; step++) {
        int status = step_of_life(step);

        if (status == SESSIONS_ENOMEM) {
            CHECK_EQ(*has_failed, 0);
            *has_failed = 1;
            CHECK_EQ(sessions_digest(table), digest_before);
            status = table->begun ? finish_step(step) : step_of_life(step);
        }
        CHECK_EQ(status, SESSIONS_OK);
    }
    return sessions_digest(table);
}

static void memory_that_fails_changes_nothing(void)
{
    struct sessions *none = NULL;
    int has_failed;
    uint64_t expected = live(-1, &has_failed);
    int failures = 0;

    CHECK_EQ(has_failed, 0);
    for (long fails = 0; fails < 400; fails++) {
        CHECK_EQ(live(fails, &has_failed), expected);
        failures += has_failed;
    }
    CHECK(failures > 300); /* the rest: a bucket array that did not grow, which shows nowhere */
    for (long fails = 0; fails < 2; fails++) {
        allocations_left = fails;
        CHECK_EQ(sessions_new(NULL, &none), SESSIONS_ENOMEM);
        CHECK(none == NULL);
    }
    allocations_left = -1;
}

/* ---- In a replicated state machine ---- */

/*
 * A list that clients push to. An entry is "open", or "push ID NUMBER". The answer to a push is the
 * length after it, so that a second execution would show.
 */
struct machine {
    struct sessions *sessions;
    uint64_t length;
    raft_index applied;
};

static void machine_apply(struct machine *machine, const struct cluster_entry *entry)
{
    unsigned long long id, number;

    machine->applied = entry->index;
    if (entry->kind != RAFT_ENTRY_DATA) {
        return;
    }
    if (strcmp(entry->data, "open") == 0) {
        CHECK_EQ(sessions_open(machine->sessions, entry->index), SESSIONS_OK);
    } else if (sscanf(entry->data, "push %llu %llu", &id, &number) == 2 &&
               sessions_begin(machine->sessions, entry->index, id, number, &reply) ==
                   SESSIONS_NEW) {
        uint8_t length = (uint8_t)++machine->length;

        CHECK_EQ(sessions_finish(machine->sessions, &length, 1), SESSIONS_OK);
    }
}

static void machine_new(struct machine *machine)
{
    *machine = (struct machine){0};
    CHECK_EQ(sessions_new(NULL, &machine->sessions), SESSIONS_OK);
}

/* Applies what the server has applied since. */
static void machine_follow(struct machine *machine, const struct cluster *cluster, raft_id id)
{
    const struct cluster_log *log = &cluster->nodes[id].applied;

    for (size_t i = (size_t)machine->applied; i < log->count; i++) {
        machine_apply(machine, &log->entries[i]);
    }
}

/*
 * Catalogue row 66: an entry that no answer came for is proposed again elsewhere, and the log holds
 * it twice (and, through proxies that repeat by themselves, a third time).
 */
static void a_push_that_is_in_the_log_three_times_pushes_once(void)
{
    struct cluster *cluster = cluster_new(3);
    struct machine machines[4];
    char push[64];
    raft_index session;

    CHECK(cluster_elect(cluster, 1));
    session = cluster_propose(cluster, 1, "open");
    cluster_run(cluster, 500);
    snprintf(push, sizeof push, "push %llu 1", (unsigned long long)session);

    /* It reaches server 2, but nobody hears of it: the client asks server 2, which then leads. */
    cluster_propose(cluster, 1, push);
    CHECK_EQ(cluster_poll(cluster, 1), RAFT_OK);
    cluster_deliver_all(cluster, 1, 2);
    cluster_isolate(cluster, 1);
    cluster_run(cluster, 10000);
    CHECK(cluster_leader(cluster) == 2);
    cluster_propose(cluster, 2, push);
    cluster_propose(cluster, 2, push);
    cluster_run(cluster, 1000);
    cluster_heal_all(cluster);
    cluster_run(cluster, 5000);

    for (raft_id id = 1; id <= 3; id++) {
        machine_new(&machines[id]);
        machine_follow(&machines[id], cluster, id);
        CHECK_EQ(machines[id].length, 1);
        CHECK_EQ(sessions_digest(machines[id].sessions), sessions_digest(machines[1].sessions));
    }
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_EQ(sessions_begin(machines[id].sessions, 1000, session, 1, &reply), SESSIONS_REPEAT);
        CHECK(reply.size == 1 && *(const uint8_t *)reply.data == 1);
        sessions_free(machines[id].sessions);
    }
    CHECK_EQ(cluster_converged(cluster), 1);
    CHECK(cluster_violation(cluster) == NULL);
    cluster_free(cluster);
}

/*
 * Catalogue row 67: what was executed is known from the snapshot alone, not from the memory of
 * whoever led. Wherever the snapshot is taken, the data and the table that it gives go on alike.
 */
static void a_repeat_after_a_snapshot_and_a_restart_pushes_nothing(void)
{
    struct cluster *cluster = cluster_new(3);
    const struct cluster_log *log;
    struct machine whole;
    char push[64];
    raft_index session;

    CHECK(cluster_elect(cluster, 1));
    session = cluster_propose(cluster, 1, "open");
    for (int number = 1; number <= 4; number++) {
        snprintf(push, sizeof push, "push %llu %d", (unsigned long long)session, number);
        cluster_propose(cluster, 1, push);
        cluster_propose(cluster, 1, push);
    }
    cluster_run(cluster, 500);
    cluster_crash(cluster, 1);
    cluster_run(cluster, 10000);
    cluster_propose(cluster, cluster_leader(cluster), push);
    cluster_run(cluster, 500);

    log = &cluster->nodes[2].applied;
    machine_new(&whole);
    machine_follow(&whole, cluster, 2);
    CHECK_EQ(whole.length, 4);
    for (size_t at = 0; at <= log->count; at++) {
        struct machine before, after;
        size_t size;

        machine_new(&before);
        for (size_t i = 0; i < at; i++) {
            machine_apply(&before, &log->entries[i]);
        }
        size = sessions_save(before.sessions, saved, sizeof saved);
        machine_new(&after);
        after.length = before.length;
        after.applied = before.applied;
        CHECK_EQ(sessions_load(after.sessions, saved, size), SESSIONS_OK);
        machine_follow(&after, cluster, 2);
        CHECK_EQ(after.length, 4);
        CHECK_EQ(sessions_digest(after.sessions), sessions_digest(whole.sessions));
        sessions_free(before.sessions);
        sessions_free(after.sessions);
    }
    sessions_free(whole.sessions);
    CHECK(cluster_violation(cluster) == NULL);
    cluster_free(cluster);
}

int main(void)
{
    RUN(a_request_is_executed_once_and_its_answer_repeated);
    RUN(an_empty_answer_is_an_answer);
    RUN(an_older_request_is_stale_and_not_executed);
    RUN(a_request_that_was_given_up_is_never_executed_later);
    RUN(number_zero_is_no_request);
    RUN(sessions_do_not_disturb_each_other);
    RUN(what_was_never_opened_is_unknown);
    RUN(an_answer_too_large_is_not_kept_and_the_request_not_executed_again);
    RUN(a_session_that_ended_is_unknown_for_ever);
    RUN(where_there_are_too_many_the_least_recently_used_goes);
    RUN(a_repeat_counts_as_use);
    RUN(where_answers_are_too_many_bytes_others_go_and_never_the_own);
    RUN(an_answer_as_large_as_allowed_fits_beside_nothing);
    RUN(an_entry_ends_what_was_not_used_for_long);
    RUN(limits_change_by_an_entry);
    RUN(limits_that_allow_nothing_are_refused);
    RUN(calls_out_of_order_are_refused_and_change_nothing);
    RUN(a_request_that_was_begun_is_finished_before_anything_else);
    RUN(a_snapshot_remembers_what_was_executed);
    RUN(an_empty_table_is_saved_too);
    RUN(the_saved_form_is_the_same_everywhere);
    RUN(cut_or_longer_bytes_are_refused);
    RUN(contradictions_are_refused);
    RUN(damaged_bytes_are_refused_or_mean_themselves);
    RUN(any_history_is_as_the_contract_reads);
    RUN(many_sessions_are_found);
    RUN(memory_that_fails_changes_nothing);
    RUN_BOTH(a_push_that_is_in_the_log_three_times_pushes_once);
    RUN_BOTH(a_repeat_after_a_snapshot_and_a_restart_pushes_nothing);
    begin(NULL);
    sessions_free(table);
    sessions_free(other);
    return check_done();
}
