/*
 * Snapshots of the keyspace: their bytes are those of the moment when the view was opened, whatever
 * happens to the store meanwhile; what is loaded is what was there; and bytes that are anything
 * else are refused.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "raftkv/store.h"

static const uint8_t secret[16] = {1, 2, 3};
static const uint8_t other_secret[16] = {4, 5, 6};

static uint64_t random_state = 7;

static unsigned random_below(unsigned bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((random_state >> 33) % bound);
}

static struct store *new_store(const uint8_t bytes[16])
{
    struct store *store = store_new(bytes);

    CHECK(store != NULL);
    return store;
}

/* A key for a number, in memory that the next call reuses. */
static struct slice numbered(unsigned number)
{
    static char text[32];
    struct slice key = {text, (size_t)snprintf(text, sizeof text, "key:%u", number)};

    return key;
}

/* A value of up to a few hundred bytes. */
static struct slice some_value(void)
{
    static char text[400];
    size_t size = random_below(10) == 0 ? random_below(sizeof text) : random_below(20);

    memset(text, (int)('a' + random_below(26)), size);
    return (struct slice){text, size};
}

/* ---- A model: what a store should hold ---- */

enum { KEYS = 600 };

struct model_key {
    int exists;
    char *value;
    size_t size;
    uint64_t expire_at_ms;
    uint64_t version;
};

struct model {
    struct model_key keys[KEYS];
    size_t count;
    uint64_t clock_ms;
    uint64_t digest;
};

static void model_clear(struct model *model)
{
    for (unsigned i = 0; i < KEYS; i++) {
        free(model->keys[i].value);
    }
    memset(model, 0, sizeof *model);
}

/* Notes what the store holds, by its own words. */
static void model_take(struct model *model, const struct store *store)
{
    model_clear(model);
    for (unsigned i = 0; i < KEYS; i++) {
        struct model_key *key = &model->keys[i];
        struct slice value;

        key->exists = store_get(store, numbered(i), &value);
        key->expire_at_ms = store_expiry(store, numbered(i));
        key->version = store_version(store, numbered(i));
        if (key->exists) {
            key->value = malloc(value.size + 1);
            CHECK(key->value != NULL);
            memcpy(key->value, value.data, value.size);
            key->size = value.size;
        }
    }
    model->count = store_count(store);
    model->clock_ms = store_clock(store);
    model->digest = store_digest(store);
}

static void check_model(const struct model *model, const struct store *store)
{
    for (unsigned i = 0; i < KEYS; i++) {
        const struct model_key *key = &model->keys[i];
        struct slice value;

        CHECK_EQ(store_get(store, numbered(i), &value), key->exists);
        CHECK_EQ(store_expiry(store, numbered(i)), key->expire_at_ms);
        CHECK_EQ(store_version(store, numbered(i)), key->version);
        if (key->exists) {
            CHECK(slice_equal(value, (struct slice){key->value, key->size}));
        }
    }
    CHECK_EQ(store_count(store), model->count);
    CHECK_EQ(store_clock(store), model->clock_ms);
    CHECK_EQ(store_digest(store), model->digest);
}

/* ---- Changes ---- */

static void change(struct store *store)
{
    struct slice key = numbered(random_below(KEYS));
    uint64_t soon_ms = store_clock(store) + 1 + random_below(50);

    switch (random_below(12)) {
    case 0:
    case 1:
    case 2:
        CHECK_EQ(store_set(store, key, some_value()), STORE_OK);
        break;
    case 3:
        CHECK_EQ(store_put(store, key, some_value(), soon_ms), STORE_OK);
        break;
    case 4:
        CHECK_EQ(store_put(store, key, some_value(), STORE_KEEP_EXPIRY), STORE_OK);
        break;
    case 5:
    case 6:
        CHECK_EQ(store_write(store, key, random_below(200), some_value(), NULL), STORE_OK);
        break;
    case 7:
    case 8:
        store_delete(store, key);
        break;
    case 9:
        CHECK(store_expire(store, key, soon_ms) >= 0);
        break;
    case 10:
        CHECK(store_expire(store, key, STORE_FOREVER) >= 0);
        break;
    default:
        store_advance(store, store_clock(store) + random_below(20));
        store_remove_overdue(store, random_below(8));
        break;
    }
}

static void change_many(struct store *store, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        change(store);
    }
}

/* ---- Bytes to stores ---- */

static int load(struct slice bytes, size_t piece_max, struct store **store, uint64_t *index)
{
    struct store_load *load = store_load_begin(other_secret);

    CHECK(load != NULL);
    while (bytes.size > 0) {
        size_t piece = 1 + random_below((unsigned)piece_max);
        char *exact; /* of the exact size, so that overreading is seen */

        piece = piece < bytes.size ? piece : bytes.size;
        exact = malloc(piece);
        CHECK(exact != NULL);
        memcpy(exact, bytes.data, piece);
        store_load_feed(load, exact, piece);
        free(exact);
        bytes.data += piece;
        bytes.size -= piece;
    }
    return store_load_end(load, store, index);
}

static struct slice slice_of_buffer(const struct buffer *buffer)
{
    return (struct slice){buffer_bytes(buffer), buffer_size(buffer)};
}

/* The bytes of a view whose store is changed `changes` times between the pieces. */
static void take_all(struct store *store, struct store_view *view, size_t budget, unsigned changes,
                     struct buffer *bytes)
{
    int more;

    do {
        more = store_snapshot_next(view, bytes, budget);
        CHECK(more >= 0);
        change_many(store, changes);
    } while (more > 0);
    CHECK_EQ(buffer_size(bytes), store_snapshot_size(view));
    CHECK_EQ(store_snapshot_next(view, bytes, budget), 0);
    CHECK_EQ(buffer_size(bytes), store_snapshot_size(view));
}

static void check_loads_as(const struct model *model, const struct buffer *bytes, uint64_t index)
{
    struct store *loaded = NULL;
    uint64_t loaded_index = 0;

    CHECK_EQ(load(slice_of_buffer(bytes), 1 + random_below(3000), &loaded, &loaded_index),
             STORE_OK);
    CHECK_EQ(loaded_index, index);
    check_model(model, loaded);
    store_free(loaded);
}

/* ---- Views ---- */

static struct model model;

static void an_empty_store_is_saved_and_loaded(void)
{
    struct store *store = new_store(secret);
    struct store_view *view;
    struct buffer bytes = {0};

    model_take(&model, store);
    view = store_snapshot_begin(store, 0);
    CHECK(view != NULL);
    take_all(store, view, 100, 0, &bytes);
    CHECK_EQ(store_snapshot_digest(view), model.digest);
    store_snapshot_end(view);
    check_loads_as(&model, &bytes, 0);
    buffer_free(&bytes);
    store_free(store);
}

static void a_view_is_of_its_moment_while_the_store_changes(void)
{
    struct store *store = new_store(secret);

    for (unsigned round = 0; round < 150; round++) {
        struct buffer bytes = {0};
        struct store_view *view;

        change_many(store, random_below(2000));
        model_take(&model, store);
        view = store_snapshot_begin(store, round + 1);
        CHECK(view != NULL);
        take_all(store, view, random_below(2000), random_below(40), &bytes);
        CHECK_EQ(store_snapshot_digest(view), model.digest);
        store_snapshot_end(view);
        check_loads_as(&model, &bytes, round + 1);
        buffer_free(&bytes);
    }
    store_free(store);
}

/* From a full table to a nearly empty one and back, several times while one view is open. */
static void the_table_may_be_resized_under_a_view(void)
{
    struct store *store = new_store(secret);

    for (unsigned round = 0; round < 12; round++) {
        struct buffer bytes = {0};
        struct store_view *view;
        int more;

        for (unsigned i = 0; i < KEYS; i++) {
            if (round % 2 == 0 || i < 20) {
                store_set(store, numbered(i), some_value());
            } else {
                store_delete(store, numbered(i));
            }
        }
        model_take(&model, store);
        view = store_snapshot_begin(store, 5);
        CHECK(view != NULL);
        for (unsigned turn = 0; turn == 0 || more > 0; turn++) {
            more = store_snapshot_next(view, &bytes, 1 + random_below(100));
            CHECK(more >= 0);
            for (unsigned i = 0; i < 200; i++) { /* mostly new keys, then none */
                struct slice key = numbered(KEYS + random_below(4000));
                if (turn / 12 % 2 == 0) {
                    store_set(store, key, some_value());
                } else {
                    store_delete(store, key);
                }
            }
        }
        store_snapshot_end(view);
        CHECK_EQ(bytes.failed, 0);
        for (unsigned i = 0; i < 4000; i++) {
            store_delete(store, numbered(KEYS + i));
        }
        check_loads_as(&model, &bytes, 5);
        buffer_free(&bytes);
    }
    store_free(store);
}

static void a_flush_leaves_the_view_whole(void)
{
    for (unsigned round = 0; round < 60; round++) {
        struct store *store = new_store(secret);
        struct buffer bytes = {0};
        struct store_view *view;

        change_many(store, 1500);
        model_take(&model, store);
        view = store_snapshot_begin(store, 9);
        CHECK(view != NULL);
        for (unsigned i = 0; i < round; i++) {
            CHECK(store_snapshot_next(view, &bytes, 300) >= 0);
            change_many(store, 10);
        }
        store_flush(store);
        CHECK_EQ(store_count(store), 0);
        change_many(store, 300);
        store_flush(store);
        take_all(store, view, 300, 20, &bytes);
        store_snapshot_end(view);
        while (store_step(store, 100)) {
        }
        check_loads_as(&model, &bytes, 9);
        buffer_free(&bytes);
        store_free(store);
    }
}

static void a_view_given_up_costs_the_next_one_nothing(void)
{
    struct store *store = new_store(secret);

    change_many(store, 1500);
    for (unsigned round = 0; round < 30; round++) {
        struct buffer bytes = {0};
        struct store_view *view = store_snapshot_begin(store, 1);

        CHECK(view != NULL);
        for (unsigned i = 0; i < round; i++) {
            CHECK(store_snapshot_next(view, &bytes, 500) >= 0);
            change_many(store, 5);
        }
        if (round % 7 == 3) {
            store_flush(store);
            change_many(store, 1000);
        }
        store_snapshot_end(view);
        buffer_clear(&bytes);
        change_many(store, 20);
        model_take(&model, store);
        view = store_snapshot_begin(store, 2);
        CHECK(view != NULL);
        take_all(store, view, 700, 10, &bytes);
        store_snapshot_end(view);
        check_loads_as(&model, &bytes, 2);
        buffer_free(&bytes);
    }
    store_free(store);
}

/* A buffer that may not grow loses the snapshot, not the store. */
static void a_full_buffer_ends_the_view_and_harms_nobody(void)
{
    struct store *store = new_store(secret);
    struct buffer bytes = {.bytes_max = 5000};
    struct store_view *view;
    int more = 1;

    change_many(store, 3000);
    model_take(&model, store);
    view = store_snapshot_begin(store, 1);
    CHECK(view != NULL);
    while (more == 1) {
        more = store_snapshot_next(view, &bytes, 1000);
    }
    CHECK_EQ(more, STORE_NOMEM);
    CHECK_EQ(store_snapshot_next(view, &bytes, 1000), STORE_NOMEM);
    check_model(&model, store);
    change_many(store, 100);
    store_snapshot_end(view);
    buffer_free(&bytes);
    store_free(store);
}

/* Work and memory per call stay near the budget. */
static void a_piece_is_about_as_large_as_the_budget(void)
{
    struct store *store = new_store(secret);
    struct store_view *view;
    size_t pieces = 0;
    int more;

    for (unsigned i = 0; i < 5000; i++) {
        store_set(store, numbered(i), some_value());
    }
    view = store_snapshot_begin(store, 1);
    CHECK(view != NULL);
    do {
        struct buffer bytes = {0};
        more = store_snapshot_next(view, &bytes, 4096);
        CHECK(buffer_size(&bytes) < 4096 + 500);
        pieces++;
        buffer_free(&bytes);
    } while (more > 0);
    CHECK(pieces >= store_snapshot_size(view) / 4096);
    CHECK(pieces <= 3 * store_snapshot_size(view) / 4096); /* it is not all table */
    store_snapshot_end(view);
    store_free(store);
}

/* ---- Loading into a store that serves ---- */

static void replacing_takes_all_of_the_fresh_one(void)
{
    struct store *source = new_store(other_secret);
    struct store *store = new_store(secret);
    struct store *fresh = NULL;
    struct buffer bytes = {0};
    struct buffer old_bytes = {0};
    struct store_view *view;
    static struct model old_model;

    change_many(source, 2000);
    change_many(store, 1200);
    view = store_snapshot_begin(source, 77);
    take_all(source, view, 1000, 0, &bytes);
    store_snapshot_end(view);
    model_take(&model, source);

    model_take(&old_model, store);
    view = store_snapshot_begin(store, 50); /* of the store that is about to be replaced */
    CHECK(store_snapshot_next(view, &old_bytes, 500) > 0);
    CHECK_EQ(load(slice_of_buffer(&bytes), 5000, &fresh, NULL), STORE_OK);
    store_replace(store, fresh);
    check_model(&model, store);
    take_all(store, view, 500, 3, &old_bytes);
    store_snapshot_end(view);
    check_loads_as(&old_model, &old_bytes, 50);

    model_take(&model, store); /* and it can be saved itself */
    buffer_clear(&bytes);
    view = store_snapshot_begin(store, 78);
    take_all(store, view, 800, 30, &bytes);
    store_snapshot_end(view);
    check_loads_as(&model, &bytes, 78);
    model_clear(&old_model);
    buffer_free(&bytes);
    buffer_free(&old_bytes);
    store_free(store);
    store_free(source);
}

/* Two stores that go on from the same content stay the same, whichever of them was loaded. */
static void a_loaded_store_goes_on_like_the_original(void)
{
    struct store *store = new_store(secret);
    struct store *loaded = NULL;
    struct buffer bytes = {0};
    struct store_view *view;
    uint64_t same_from;

    change_many(store, 2000);
    view = store_snapshot_begin(store, 1);
    take_all(store, view, 1000, 0, &bytes);
    store_snapshot_end(view);
    CHECK_EQ(load(slice_of_buffer(&bytes), 100, &loaded, NULL), STORE_OK);
    for (unsigned i = 0; i < 300; i++) {
        same_from = random_state;
        change_many(store, 10);
        random_state = same_from;
        change_many(loaded, 10);
        CHECK_EQ(store_digest(store), store_digest(loaded));
        CHECK_EQ(store_count(store), store_count(loaded));
        CHECK_EQ(store_next_expiry(store), store_next_expiry(loaded));
    }
    buffer_free(&bytes);
    store_free(store);
    store_free(loaded);
}

/* ---- Bytes that are none ---- */

static void small_snapshot(struct buffer *bytes)
{
    struct store *store = new_store(secret);
    struct store_view *view;

    store_advance(store, 1000);
    store_set(store, slice_of("a"), slice_of("alpha"));
    store_put(store, slice_of("b"), slice_of(""), 5000);
    store_set(store, slice_of(""), slice_of("of the empty key"));
    view = store_snapshot_begin(store, 3);
    CHECK(view != NULL);
    CHECK_EQ(store_snapshot_next(view, bytes, 10000), 0);
    store_snapshot_end(view);
    store_free(store);
}

static int load_once(const struct buffer *bytes, size_t size)
{
    struct store *store = NULL;
    int status = load((struct slice){buffer_bytes(bytes), size}, 40, &store, NULL);

    CHECK((store != NULL) == (status == STORE_OK));
    store_free(store);
    return status;
}

static void every_damaged_byte_is_noticed(void)
{
    struct buffer bytes = {0};

    small_snapshot(&bytes);
    CHECK_EQ(load_once(&bytes, buffer_size(&bytes)), STORE_OK);
    for (size_t at = 0; at < buffer_size(&bytes); at++) {
        for (int bit = 0; bit < 8; bit++) {
            int status;

            bytes.data[bytes.start + at] ^= (char)(1 << bit);
            status = load_once(&bytes, buffer_size(&bytes));
            CHECK_EQ(status, at >= 4 && at < 8 ? STORE_EVERSION : STORE_ECORRUPT);
            bytes.data[bytes.start + at] ^= (char)(1 << bit);
        }
    }
    buffer_free(&bytes);
}

static void a_snapshot_that_ends_early_or_late_is_refused(void)
{
    struct buffer bytes = {0};
    size_t size;

    small_snapshot(&bytes);
    size = buffer_size(&bytes);
    for (size_t cut = 0; cut < size; cut++) {
        CHECK_EQ(load_once(&bytes, cut), STORE_ECORRUPT);
    }
    buffer_add(&bytes, "", 1);
    CHECK_EQ(load_once(&bytes, size + 1), STORE_ECORRUPT);
    CHECK_EQ(load_once(&bytes, size), STORE_OK);
    buffer_free(&bytes);
}

/* ---- Bytes that somebody made up: the digest is no secret, so each rule stands alone ---- */

struct forged {
    uint64_t clock_ms;
    uint64_t version;
    uint64_t count;
    uint64_t bytes;
};

static void forge_header(struct buffer *out, const struct forged *header)
{
    char bytes[48];

    bytes_put_u32(bytes, UINT32_C(0x53564b52));
    bytes_put_u32(bytes + 4, 1);
    bytes_put_u64(bytes + 8, 1);
    bytes_put_u64(bytes + 16, header->clock_ms);
    bytes_put_u64(bytes + 24, header->version);
    bytes_put_u64(bytes + 32, header->count);
    bytes_put_u64(bytes + 40, header->bytes);
    buffer_clear(out);
    buffer_add(out, bytes, sizeof bytes);
}

static void forge_record(struct buffer *out, const char *key, uint32_t value_size, uint64_t expiry,
                         uint64_t version)
{
    char bytes[24];

    bytes_put_u32(bytes, (uint32_t)strlen(key));
    bytes_put_u32(bytes + 4, value_size);
    bytes_put_u64(bytes + 8, expiry);
    bytes_put_u64(bytes + 16, version);
    buffer_add(out, bytes, sizeof bytes);
    buffer_add(out, key, strlen(key));
}

/* What the load says once it has seen these bytes, before any digest. */
static int status_after(const struct buffer *bytes)
{
    struct store_load *load = store_load_begin(secret);
    int status;

    CHECK(load != NULL);
    status = store_load_feed(load, buffer_bytes(bytes), buffer_size(bytes));
    CHECK_EQ(store_load_feed(load, "", 0), status);
    CHECK_EQ(store_load_end(load, NULL, NULL), status == STORE_OK ? STORE_ECORRUPT : status);
    return status;
}

static void headers_that_cannot_be_are_refused_at_once(void)
{
    static const struct forged bad[] = {
        {UINT64_C(1) << 63, 5, 1, 1},      /* a clock beyond all times */
        {0, UINT64_C(1) << 63, 1, 1},      /* a counter beyond all bounds */
        {0, 5, 6, 6},                      /* more keys than changes */
        {0, 5, 0, 1},                      /* bytes of no key */
        {0, UINT64_MAX, UINT64_MAX, 1000}, /* everything */
    };
    static const struct forged good = {0, 5, 5, 100};
    struct buffer bytes = {0};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        forge_header(&bytes, &bad[i]);
        CHECK_EQ(status_after(&bytes), STORE_ECORRUPT);
    }
    forge_header(&bytes, &good);
    CHECK_EQ(status_after(&bytes), STORE_OK);
    buffer_free(&bytes);
}

static void records_that_cannot_be_are_refused_at_once(void)
{
    static const struct forged header = {0, 5, 3, 10};
    static const struct {
        const char *key;
        uint32_t value_size;
        uint64_t expiry;
        uint64_t version;
        int status;
    } second[] = {
        {"b", 0, 0, 2, STORE_OK},
        {"b", 0, 99, 5, STORE_OK},
        {"a", 0, 0, 2, STORE_ECORRUPT},                        /* twice the same key */
        {"b", 0, 0, 0, STORE_ECORRUPT},                        /* without a version */
        {"b", 0, 0, 6, STORE_ECORRUPT},                        /* from the future */
        {"b", 0, UINT64_C(1) << 63, 2, STORE_ECORRUPT},        /* beyond all times */
        {"b", 9, 0, 2, STORE_ECORRUPT},                        /* more bytes than announced */
        {"b", UINT32_MAX, 0, 2, STORE_ECORRUPT},               /* more than a value may have */
        {"b", ((uint32_t)16 << 20) + 1, 0, 2, STORE_ECORRUPT}, /* likewise */
    };
    struct buffer bytes = {0};

    for (size_t i = 0; i < sizeof second / sizeof second[0]; i++) {
        forge_header(&bytes, &header);
        forge_record(&bytes, "a", 0, 0, 1);
        forge_record(&bytes, second[i].key, second[i].value_size, second[i].expiry,
                     second[i].version);
        CHECK_EQ(status_after(&bytes), second[i].status);
    }
    forge_header(&bytes, &header); /* three keys that are smaller than the header says */
    forge_record(&bytes, "a", 0, 0, 1);
    forge_record(&bytes, "b", 0, 0, 2);
    forge_record(&bytes, "c", 0, 0, 3);
    CHECK_EQ(status_after(&bytes), STORE_ECORRUPT);
    buffer_free(&bytes);
}

int main(void)
{
    RUN(an_empty_store_is_saved_and_loaded);
    RUN(a_view_is_of_its_moment_while_the_store_changes);
    RUN(the_table_may_be_resized_under_a_view);
    RUN(a_flush_leaves_the_view_whole);
    RUN(a_view_given_up_costs_the_next_one_nothing);
    RUN(a_full_buffer_ends_the_view_and_harms_nobody);
    RUN(a_piece_is_about_as_large_as_the_budget);
    RUN(replacing_takes_all_of_the_fresh_one);
    RUN(a_loaded_store_goes_on_like_the_original);
    RUN(every_damaged_byte_is_noticed);
    RUN(a_snapshot_that_ends_early_or_late_is_refused);
    RUN(headers_that_cannot_be_are_refused_at_once);
    RUN(records_that_cannot_be_are_refused_at_once);
    model_clear(&model);
    return check_done();
}
