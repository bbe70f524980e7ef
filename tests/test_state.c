/*
 * The stream of a whole snapshot: sections in, sections out, and what is none.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "raftkv/state.h"

enum { OTHER_PART = 7, PART_BYTES_MAX = 5000 };

static const uint8_t secret[16] = {1};
static const uint32_t known[] = {OTHER_PART, STATE_SESSIONS};

static uint64_t random_state = 3;

static size_t random_below(size_t bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(random_state >> 33) % bound;
}

static struct store *some_store(unsigned keys)
{
    struct store *store = store_new(secret);
    char key[32];

    CHECK(store != NULL);
    for (unsigned i = 0; i < keys; i++) {
        snprintf(key, sizeof key, "key:%u", i);
        CHECK_EQ(store_set(store, slice_of(key), slice_of("value")), STORE_OK);
    }
    return store;
}

/* Sessions of `size` bytes and another part; the stream of them and a store. */
static void stream_of(struct store *store, size_t size, size_t budget, struct buffer *bytes)
{
    struct state_part parts[2] = {{.type = STATE_SESSIONS}, {.type = OTHER_PART}};
    struct state_view *view;
    int more;

    for (size_t i = 0; i < size; i++) {
        buffer_add(&parts[0].bytes, &"0123456789"[i % 10], 1);
    }
    buffer_add(&parts[1].bytes, "other", 5);
    view = state_view_begin(store, 42, parts, 2);
    CHECK(view != NULL);
    CHECK_EQ(buffer_size(&parts[0].bytes), 0);
    do {
        more = state_view_next(view, bytes, budget);
        CHECK(more >= 0);
    } while (more > 0);
    CHECK_EQ(buffer_size(bytes), state_view_size(view));
    CHECK_EQ(state_view_digest(view), store_digest(store));
    CHECK_EQ(state_view_next(view, bytes, budget), 0);
    state_view_end(view);
}

static int load(const char *bytes, size_t size, size_t piece_max, struct state *state)
{
    struct state_load *load = state_load_begin(secret, known, 2, PART_BYTES_MAX);

    CHECK(load != NULL);
    while (size > 0) {
        size_t piece = 1 + random_below(piece_max);
        char *exact; /* of the exact size, so that overreading is seen */

        piece = piece < size ? piece : size;
        exact = malloc(piece);
        CHECK(exact != NULL);
        memcpy(exact, bytes, piece);
        state_load_feed(load, exact, piece);
        free(exact);
        bytes += piece;
        size -= piece;
    }
    return state_load_end(load, state);
}

static void what_is_saved_is_loaded(void)
{
    static const size_t sizes[] = {0, 1, 100, PART_BYTES_MAX};

    for (unsigned round = 0; round < 40; round++) {
        struct store *store = some_store(round * 10);
        size_t size = sizes[round % 4];
        struct buffer bytes = {0};
        struct state state;

        stream_of(store, size, random_below(2000), &bytes);
        CHECK_EQ(load(buffer_bytes(&bytes), buffer_size(&bytes), round % 2 ? 10 : 3000, &state),
                 STORE_OK);
        CHECK_EQ(store_digest(state.store), store_digest(store));
        CHECK_EQ(state.applied_index, 42);
        CHECK_EQ(buffer_size(state_part_of(&state, STATE_SESSIONS)), size);
        CHECK(
            slice_is((struct slice){buffer_bytes(state_part_of(&state, OTHER_PART)), 5}, "other"));
        CHECK(state_part_of(&state, 99) == NULL);
        state_clear(&state);
        buffer_free(&bytes);
        store_free(store);
    }
}

static void a_view_can_be_given_up_at_any_time(void)
{
    struct store *store = some_store(200);

    for (int pieces = 0; pieces < 12; pieces++) {
        struct state_part part = {.type = STATE_SESSIONS};
        struct buffer bytes = {0};
        struct state_view *view;

        buffer_add(&part.bytes, "0123456789", 10);
        view = state_view_begin(store, 1, &part, 1);
        CHECK(view != NULL);
        for (int i = 0; i < pieces; i++) {
            CHECK(state_view_next(view, &bytes, 800) >= 0);
        }
        state_view_end(view);
        buffer_free(&bytes);
    }
    state_view_end(NULL);
    store_free(store);
}

/* Of the parts' content nothing is known here; of everything else every bit counts. */
static void damage_is_noticed(void)
{
    struct store *store = some_store(3);
    struct buffer bytes = {0};
    size_t size;
    struct state state;

    stream_of(store, 4, 1000, &bytes);
    size = buffer_size(&bytes);
    for (size_t cut = 0; cut < size; cut++) {
        CHECK_EQ(load(buffer_bytes(&bytes), cut, 50, &state), STORE_ECORRUPT);
        CHECK(state.store == NULL && state.part_count == 0);
    }
    for (size_t at = 0; at < size; at++) {
        int in_a_part = (at >= size - 16 - 5 && at < size - 16) ||
                        (at >= size - 16 - 5 - 16 - 4 && at < size - 16 - 5 - 16);

        for (int bit = 0; bit < 8 && !in_a_part; bit++) {
            int status;
            bytes.data[bytes.start + at] ^= (char)(1 << bit);
            status = load(buffer_bytes(&bytes), size, 50, &state);
            CHECK(status == STORE_ECORRUPT || status == STORE_EVERSION);
            bytes.data[bytes.start + at] ^= (char)(1 << bit);
        }
    }
    buffer_add(&bytes, "", 1);
    CHECK_EQ(load(buffer_bytes(&bytes), size + 1, 50, &state), STORE_ECORRUPT);
    CHECK_EQ(load(buffer_bytes(&bytes), size, 50, NULL), STORE_OK);
    buffer_free(&bytes);
    store_free(store);
}

/* ---- Streams that somebody made up ---- */

static void add_section(struct buffer *out, uint32_t type, uint64_t size, struct slice content)
{
    char head[16];

    bytes_put_u32(head, type);
    bytes_put_u32(head + 4, 0);
    bytes_put_u64(head + 8, size);
    buffer_add(out, head, sizeof head);
    buffer_add(out, content.data, content.size);
}

/* The head, and the section of an empty keyspace where that is wanted. */
static void begin_stream(struct buffer *out, int with_keys)
{
    struct store *store = some_store(0);
    struct store_view *view = store_snapshot_begin(store, 1);
    struct buffer keys = {0};
    char head[8];

    CHECK(view != NULL);
    bytes_put_u32(head, UINT32_C(0x43564b52));
    bytes_put_u32(head + 4, 1);
    buffer_clear(out);
    buffer_add(out, head, sizeof head);
    CHECK_EQ(store_snapshot_next(view, &keys, 1000), 0);
    if (with_keys) {
        add_section(out, STATE_KEYSPACE, buffer_size(&keys),
                    (struct slice){buffer_bytes(&keys), buffer_size(&keys)});
    }
    buffer_free(&keys);
    store_snapshot_end(view);
    store_free(store);
}

static void expect_status(const struct buffer *bytes, int status)
{
    CHECK_EQ(load(buffer_bytes(bytes), buffer_size(bytes), 100, NULL), status);
}

static void sections_have_an_order(void)
{
    static const struct slice none = {"", 0};
    struct buffer bytes = {0};

    begin_stream(&bytes, 1); /* the least that there is */
    add_section(&bytes, UINT32_MAX, 0, none);
    expect_status(&bytes, STORE_OK);
    begin_stream(&bytes, 1); /* no end */
    expect_status(&bytes, STORE_ECORRUPT);
    begin_stream(&bytes, 0); /* no keyspace */
    add_section(&bytes, UINT32_MAX, 0, none);
    expect_status(&bytes, STORE_ECORRUPT);
    begin_stream(&bytes, 0); /* another section first */
    add_section(&bytes, STATE_SESSIONS, 0, none);
    expect_status(&bytes, STORE_ECORRUPT);
    begin_stream(&bytes, 1); /* a section twice */
    add_section(&bytes, STATE_SESSIONS, 0, none);
    add_section(&bytes, STATE_SESSIONS, 0, none);
    expect_status(&bytes, STORE_ECORRUPT);
    begin_stream(&bytes, 1); /* the keyspace twice */
    add_section(&bytes, STATE_KEYSPACE, 0, none);
    expect_status(&bytes, STORE_ECORRUPT);
    begin_stream(&bytes, 1); /* descending */
    add_section(&bytes, OTHER_PART, 0, none);
    add_section(&bytes, STATE_SESSIONS, 0, none);
    expect_status(&bytes, STORE_ECORRUPT);
    begin_stream(&bytes, 1); /* type 0 */
    add_section(&bytes, 0, 0, none);
    expect_status(&bytes, STORE_ECORRUPT);
    begin_stream(&bytes, 1); /* an end with something in it */
    add_section(&bytes, UINT32_MAX, 1, slice_of("x"));
    expect_status(&bytes, STORE_ECORRUPT);
    buffer_free(&bytes);
}

static void sections_are_known_and_bounded(void)
{
    struct buffer bytes = {0};

    begin_stream(&bytes, 1);
    add_section(&bytes, 3, 1, slice_of("x"));
    add_section(&bytes, UINT32_MAX, 0, slice_of(""));
    expect_status(&bytes, STORE_EVERSION);
    begin_stream(&bytes, 1);
    add_section(&bytes, STATE_SESSIONS, PART_BYTES_MAX + 1, slice_of("x"));
    expect_status(&bytes, STORE_ECORRUPT);
    begin_stream(&bytes, 1);
    add_section(&bytes, STATE_SESSIONS, UINT64_MAX, slice_of("x"));
    expect_status(&bytes, STORE_ECORRUPT);
    buffer_free(&bytes);
}

int main(void)
{
    RUN(what_is_saved_is_loaded);
    RUN(a_view_can_be_given_up_at_any_time);
    RUN(damage_is_noticed);
    RUN(sections_have_an_order);
    RUN(sections_are_known_and_bounded);
    return check_done();
}
