/*
 * Fuzz target: the bytes of a snapshot, and the keyspace while it is being saved. The first byte of
 * the input chooses.
 *
 * 0: the rest is a snapshot, 1: the same, and its digest is put right so that what is wrong with it
 * has to be found by other means, 2: it is a stream of sections. Loaded in one piece and in many it
 * has the same outcome; what is accepted is saved and loaded again with the same digest.
 * 3: the rest are changes of a store, views of it and their pieces; every view that ends loads as
 * what the store was when it was opened.
 */
#include <stdlib.h>
#include <string.h>

#include "raftkv/state.h"
#include "raftkv/store_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RAW, WITH_DIGEST, SECTIONS, CHANGES };

static const uint8_t secret[16] = {1};
static const uint8_t other_secret[16] = {2};

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

/* ---- Loading ---- */

/* Feeds in pieces of this size, each in memory of its own. */
static int load(struct slice bytes, size_t piece_max, struct store **store)
{
    struct store_load *load = store_load_begin(secret);
    uint64_t index;

    require(load != NULL);
    while (bytes.size > 0) {
        size_t piece = bytes.size < piece_max ? bytes.size : piece_max;
        char *exact = malloc(piece);
        int status;

        require(exact != NULL);
        memcpy(exact, bytes.data, piece);
        status = store_load_feed(load, exact, piece);
        require(store_load_feed(load, exact, 0) == status);
        free(exact);
        bytes.data += piece;
        bytes.size -= piece;
    }
    return store_load_end(load, store, &index);
}

static void save(struct store *store, size_t budget, struct buffer *bytes)
{
    struct store_view *view = store_snapshot_begin(store, 1);

    require(view != NULL);
    while (store_snapshot_next(view, bytes, budget) > 0) {
    }
    require(!bytes->failed && buffer_size(bytes) == store_snapshot_size(view));
    store_snapshot_end(view);
}

static struct slice slice_of_buffer(const struct buffer *buffer)
{
    return (struct slice){buffer_bytes(buffer), buffer_size(buffer)};
}

static void run_load(struct slice bytes)
{
    struct store *whole = NULL;
    struct store *pieces = NULL;
    struct store *again = NULL;
    struct buffer saved = {0};
    int status = load(bytes, SIZE_MAX, &whole);

    require(load(bytes, 1 + bytes.size % 7, &pieces) == status);
    require((whole != NULL) == (status == STORE_OK) && status != STORE_NOMEM);
    if (status == STORE_OK) {
        require(store_digest(whole) == store_digest(pieces));
        save(whole, 100, &saved);
        require(load(slice_of_buffer(&saved), 64, &again) == STORE_OK);
        require(store_digest(whole) == store_digest(again));
        require(store_count(whole) == store_count(again));
        store_remove_overdue(whole, 3);
        store_remove_overdue(again, 3);
        require(store_count(whole) == store_count(again));
    }
    store_free(whole);
    store_free(pieces);
    store_free(again);
    buffer_free(&saved);
}

/* The digest that belongs to a header and to the whole records behind it; rest is what follows. */
static uint64_t digest_of(struct slice *rest)
{
    uint64_t digest = digest_of_header((const uint8_t *)rest->data) +
                      digest_of_state(bytes_u64(rest->data + 16), bytes_u64(rest->data + 24));

    rest->data += SNAPSHOT_HEADER_BYTES;
    rest->size -= SNAPSHOT_HEADER_BYTES;
    while (rest->size >= SNAPSHOT_RECORD_BYTES) {
        const char *record = rest->data;
        uint64_t size = (uint64_t)bytes_u32(record) + bytes_u32(record + 4);
        uint64_t expiry = bytes_u64(record + 8);
        struct slice key = {record + SNAPSHOT_RECORD_BYTES, bytes_u32(record)};

        if (size > rest->size - SNAPSHOT_RECORD_BYTES) {
            break;
        }
        struct slice value = {key.data + key.size, bytes_u32(record + 4)};
        digest +=
            digest_of_key(key, value, expiry == 0 ? STORE_FOREVER : expiry, bytes_u64(record + 16));
        rest->data += SNAPSHOT_RECORD_BYTES + size;
        rest->size -= SNAPSHOT_RECORD_BYTES + (size_t)size;
    }
    return digest;
}

static void run_with_digest(struct slice bytes)
{
    struct buffer whole = {0};
    struct slice rest = bytes;
    char trailer[SNAPSHOT_TRAILER_BYTES];

    if (bytes.size < SNAPSHOT_HEADER_BYTES) {
        return;
    }
    bytes_put_u64(trailer, digest_of(&rest));
    buffer_add(&whole, bytes.data, bytes.size - rest.size);
    buffer_add(&whole, trailer, sizeof trailer);
    run_load(slice_of_buffer(&whole));
    buffer_free(&whole);
}

static void run_sections(struct slice bytes)
{
    static const uint32_t known[] = {STATE_SESSIONS, 7};
    struct state states[2];
    int statuses[2];

    for (size_t run = 0; run < 2; run++) {
        struct state_load *loading = state_load_begin(secret, known, 2, 1000);
        size_t piece_max = run == 0 ? SIZE_MAX : 1 + bytes.size % 11;

        require(loading != NULL);
        for (size_t at = 0; at < bytes.size;) {
            size_t left = bytes.size - at;
            size_t piece = left < piece_max ? left : piece_max;
            state_load_feed(loading, bytes.data + at, piece);
            at += piece;
        }
        statuses[run] = state_load_end(loading, &states[run]);
    }
    require(statuses[0] == statuses[1] && statuses[0] != STORE_NOMEM);
    require(states[0].part_count == states[1].part_count);
    require((states[0].store != NULL) == (statuses[0] == STORE_OK));
    if (statuses[0] == STORE_OK) {
        require(store_digest(states[0].store) == store_digest(states[1].store));
    }
    state_clear(&states[0]);
    state_clear(&states[1]);
}

/* ---- Changing while saving ---- */

struct life {
    struct store *store;
    struct store_view *view;
    struct buffer bytes;
    uint64_t digest; /* when the view was opened */
};

static unsigned take_byte(struct slice *rest)
{
    if (rest->size == 0) {
        return 0;
    }
    rest->size--;
    return (unsigned char)*rest->data++;
}

static void end_view(struct life *life)
{
    struct store *loaded = NULL;

    require(store_snapshot_digest(life->view) == life->digest);
    require(buffer_size(&life->bytes) == store_snapshot_size(life->view));
    store_snapshot_end(life->view);
    life->view = NULL;
    require(load(slice_of_buffer(&life->bytes), 50, &loaded) == STORE_OK);
    require(store_digest(loaded) == life->digest);
    store_free(loaded);
}

static void begin_view(struct life *life)
{
    buffer_clear(&life->bytes);
    life->digest = store_digest(life->store);
    life->view = store_snapshot_begin(life->store, 1);
    require(life->view != NULL);
}

static void go_on_with_view(struct life *life, unsigned budget)
{
    if (life->view == NULL) {
        begin_view(life);
    } else if (store_snapshot_next(life->view, &life->bytes, budget) == 0) {
        end_view(life);
    }
}

static void replace_store(struct life *life)
{
    struct store *fresh = NULL;
    struct buffer saved = {0};

    if (life->view != NULL) {
        return;
    }
    save(life->store, 1000, &saved);
    require(load(slice_of_buffer(&saved), 1000, &fresh) == STORE_OK);
    life->digest = store_digest(life->store);
    store_replace(life->store, fresh);
    require(store_digest(life->store) == life->digest);
    buffer_free(&saved);
}

static void change(struct life *life, struct slice *rest)
{
    unsigned what = take_byte(rest);
    unsigned number = take_byte(rest);
    char name[2] = {(char)('a' + number % 64), 0};
    struct slice key = {name, 1 + number / 128};
    struct slice value = {"0123456789abcdefghijklmnopqrstuvwxyz0123456789", number % 40};
    uint64_t soon_ms = store_clock(life->store) + 1 + number % 8;

    switch (what % 12) {
    case 0:
        require(store_set(life->store, key, value) == STORE_OK);
        break;
    case 1:
        require(store_put(life->store, key, value, soon_ms) == STORE_OK);
        break;
    case 2:
        require(store_put(life->store, key, value, STORE_KEEP_EXPIRY) == STORE_OK);
        break;
    case 3:
        require(store_write(life->store, key, what, value, NULL) == STORE_OK);
        break;
    case 4:
        store_delete(life->store, key);
        break;
    case 5:
        require(store_expire(life->store, key, soon_ms) >= 0);
        break;
    case 6:
        require(store_expire(life->store, key, STORE_FOREVER) >= 0);
        break;
    case 7:
        store_advance(life->store, store_clock(life->store) + number % 8);
        store_remove_overdue(life->store, what / 12 % 4);
        break;
    case 8:
        store_step(life->store, number);
        break;
    case 9:
        if (number > 200) {
            store_flush(life->store);
        } else if (number > 180) {
            replace_store(life);
        } else if (number > 160) {
            store_snapshot_end(life->view);
            life->view = NULL;
        }
        break;
    default:
        go_on_with_view(life, number);
        break;
    }
}

static void run_changes(struct slice rest)
{
    struct life life = {.store = store_new(other_secret)};

    require(life.store != NULL);
    while (rest.size > 0) {
        change(&life, &rest);
    }
    while (life.view != NULL) {
        go_on_with_view(&life, 20);
    }
    store_snapshot_end(life.view);
    buffer_free(&life.bytes);
    store_free(life.store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = {(const char *)data + 1, size - 1};

    if (size < 1) {
        return 0;
    }
    switch (data[0] % 4) {
    case RAW:
        run_load(rest);
        break;
    case WITH_DIGEST:
        run_with_digest(rest);
        break;
    case SECTIONS:
        run_sections(rest);
        break;
    default:
        run_changes(rest);
        break;
    }
    return 0;
}
