/*
 * A frozen view of a store that goes on changing, and its bytes.
 *
 * Invariants
 *  - While a view is open and attached, an entry is *owed* to it as long as entry->view is not the
 *    view's number: it was there when the view was opened, has not changed since, and its record
 *    has not been made. An owed entry is never changed or freed before view_keep has made its
 *    record. What the store makes anew bears the number from birth.
 *  - The walk is a scan: it meets every entry that stays where it was, however the table is resized
 *    meanwhile; what it meets twice is owed once.
 *  - A flush gives the tables to the view, which then walks what nobody changes any more.
 *  - records_left and the bytes of the records not yet made add up to what the header promised.
 *  - A record that cannot be copied costs the view (is_lost), never the change.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

#define BUCKET_COST ((size_t)16) /* of a budget's bytes: an empty bucket is not free */

/* The record of a key that was changed before its turn. */
struct kept {
    struct kept *next;
    size_t size;
    char bytes[];
};

struct store_view {
    struct store *store;
    struct keyspace keys; /* the view's own, once detached */
    int is_detached;
    int is_walked;   /* the scan has come to its end */
    int is_lost;     /* no memory */
    int is_begun;    /* the header was given */
    int is_ended;    /* the trailer was given */
    uint32_t number; /* view_number of the store when this was opened */
    uint64_t cursor;
    struct kept *first_kept;
    struct kept *last_kept;
    uint64_t records_left;
    uint64_t size;
    uint64_t digest; /* of the records made so far */
    uint8_t header[SNAPSHOT_HEADER_BYTES];
    /* For one call of store_snapshot_next. */
    struct buffer *out;
    size_t budget_end; /* size of `out` at which the walk pauses */
    int is_paused;
};

/* ---- Digests ---- */

static const struct siphash_key key_digest = {UINT64_C(0x6b65656c736f6e21),
                                              UINT64_C(0x6469676573742031)};
static const struct siphash_key time_digest = {UINT64_C(0x6b65656c736f6e22),
                                               UINT64_C(0x6469676573742032)};
static const struct siphash_key state_digest = {UINT64_C(0x6b65656c736f6e23),
                                                UINT64_C(0x6469676573742033)};
static const struct siphash_key header_digest = {UINT64_C(0x6b65656c736f6e24),
                                                 UINT64_C(0x6469676573742034)};

static uint64_t digest_of_pair(struct siphash_key kind, uint64_t a, uint64_t b)
{
    char bytes[16];

    bytes_put_u64(bytes, a);
    bytes_put_u64(bytes + 8, b);
    return siphash(kind, (struct slice){bytes, sizeof bytes});
}

/*
 * Sums of these do not depend on order. The hash of the key and that of the numbers become the key
 * of the value's hash, so the place where one ends and the next begins counts too.
 */
uint64_t digest_of_key(struct slice key, struct slice value, uint64_t expire_at_ms,
                       uint64_t version)
{
    struct siphash_key value_digest = {siphash(key_digest, key),
                                       digest_of_pair(time_digest, expire_at_ms, version)};

    return siphash(value_digest, value);
}

uint64_t digest_of_state(uint64_t clock_ms, uint64_t version)
{
    return digest_of_pair(state_digest, clock_ms, version);
}

uint64_t digest_of_header(const uint8_t header[SNAPSHOT_HEADER_BYTES])
{
    return siphash(header_digest, (struct slice){(const char *)header, SNAPSHOT_HEADER_BYTES});
}

/* ---- Records ---- */

static size_t record_size(const struct entry *entry)
{
    return SNAPSHOT_RECORD_BYTES + entry->key_size + entry->value_size;
}

static const struct keyspace *keys_of(const struct store_view *view)
{
    return view->is_detached ? &view->keys : &view->store->keys;
}

/* Writes an owed entry's record to room for it. */
static void make_record(struct store_view *view, struct entry *entry, char *out)
{
    uint64_t expire_at_ms = due_of(keys_of(view), entry);

    bytes_put_u32(out, entry->key_size);
    bytes_put_u32(out + 4, entry->value_size);
    bytes_put_u64(out + 8, expire_at_ms == STORE_FOREVER ? 0 : expire_at_ms);
    bytes_put_u64(out + 16, entry->version);
    memcpy(out + SNAPSHOT_RECORD_BYTES, entry->bytes, (size_t)entry->key_size + entry->value_size);
    view->digest +=
        digest_of_key(entry_key(entry), entry_value(entry), expire_at_ms, entry->version);
    view->records_left--;
    entry->view = view->number;
}

static int is_owed(const struct store_view *view, const struct entry *entry)
{
    return entry->view != view->number;
}

static void lose(struct store_view *view)
{
    view->is_lost = 1;
    if (!view->is_detached) {
        view->store->view = NULL;
    }
}

void view_keep(struct store *store, struct entry *entry)
{
    struct store_view *view = store->view;
    struct kept *kept;

    if (view == NULL || !is_owed(view, entry)) {
        return;
    }
    kept = malloc(sizeof *kept + record_size(entry));
    if (kept == NULL) {
        lose(view);
        return;
    }
    kept->next = NULL;
    kept->size = record_size(entry);
    make_record(view, entry, kept->bytes);
    if (view->last_kept == NULL) {
        view->first_kept = kept;
    } else {
        view->last_kept->next = kept;
    }
    view->last_kept = kept;
}

void view_detach(struct store *store)
{
    struct store_view *view = store->view;

    if (view == NULL) {
        return;
    }
    view->keys = store->keys;
    view->is_detached = 1;
    store->keys = (struct keyspace){0};
    store->view = NULL;
}

/* ---- The view ---- */

static void make_header(struct store_view *view, uint64_t applied_index)
{
    const struct store *store = view->store;
    char *out = (char *)view->header;

    bytes_put_u32(out, SNAPSHOT_MAGIC);
    bytes_put_u32(out + 4, SNAPSHOT_FORMAT);
    bytes_put_u64(out + 8, applied_index);
    bytes_put_u64(out + 16, store->clock_ms);
    bytes_put_u64(out + 24, store->version);
    bytes_put_u64(out + 32, store->keys.count);
    bytes_put_u64(out + 40, store->keys.bytes);
}

struct store_view *store_snapshot_begin(struct store *store, uint64_t applied_index)
{
    struct store_view *view = calloc(1, sizeof *view);

    if (view == NULL) {
        return NULL;
    }
    view->store = store;
    view->records_left = store->keys.count;
    view->size = SNAPSHOT_HEADER_BYTES + SNAPSHOT_RECORD_BYTES * (uint64_t)store->keys.count +
                 store->keys.bytes + SNAPSHOT_TRAILER_BYTES;
    view->digest = digest_of_state(store->clock_ms, store->version);
    make_header(view, applied_index);
    view->number = ++store->view_number;
    store->view = view;
    return view;
}

uint64_t store_snapshot_size(const struct store_view *view)
{
    return view->size;
}

uint64_t store_snapshot_digest(const struct store_view *view)
{
    return view->digest;
}

static int has_budget(const struct store_view *view)
{
    return buffer_size(view->out) < view->budget_end;
}

static void give_kept(struct store_view *view)
{
    while (view->first_kept != NULL && has_budget(view) && !view->out->failed) {
        struct kept *kept = view->first_kept;

        buffer_add(view->out, kept->bytes, kept->size);
        view->first_kept = kept->next;
        if (view->first_kept == NULL) {
            view->last_kept = NULL;
        }
        free(kept);
    }
}

static void give_entry(void *arg, struct entry *entry)
{
    struct store_view *view = arg;
    char *room;

    if (view->is_paused || !is_owed(view, entry)) {
        return;
    }
    room = has_budget(view) ? buffer_reserve(view->out, record_size(entry)) : NULL;
    if (room == NULL) {
        view->is_paused = 1;
        return;
    }
    make_record(view, entry, room);
    buffer_commit(view->out, record_size(entry));
}

/* Goes on with the scan. A step that was interrupted is repeated: what it gave is not owed now. */
static void walk(struct store_view *view)
{
    while (!view->is_walked && has_budget(view) && !view->out->failed) {
        uint64_t next;

        view->is_paused = 0;
        next = keyspace_scan(keys_of(view), view->cursor, give_entry, view);
        if (view->is_paused) {
            return;
        }
        view->cursor = next;
        view->is_walked = next == 0;
        view->budget_end -= view->budget_end > BUCKET_COST ? BUCKET_COST : view->budget_end;
    }
}

static void give_trailer(struct store_view *view)
{
    char trailer[SNAPSHOT_TRAILER_BYTES];

    assert(view->records_left == 0 && view->first_kept == NULL);
    bytes_put_u64(trailer, view->digest + digest_of_header(view->header));
    buffer_add(view->out, trailer, sizeof trailer);
    view->is_ended = 1;
}

int store_snapshot_next(struct store_view *view, struct buffer *out, size_t budget)
{
    size_t before = buffer_size(out);

    if (view->is_lost || view->is_ended) {
        return view->is_lost ? STORE_NOMEM : 0;
    }
    view->out = out;
    view->budget_end = budget < SIZE_MAX - before ? before + budget + 1 : SIZE_MAX;
    if (!view->is_begun) {
        buffer_add(out, view->header, sizeof view->header);
        view->is_begun = 1;
    }
    give_kept(view);
    walk(view);
    if (view->is_walked) { /* with budget left, hence after all that was kept */
        give_trailer(view);
    }
    if (out->failed) {
        lose(view);
        return STORE_NOMEM;
    }
    return !view->is_ended;
}

void store_snapshot_end(struct store_view *view)
{
    if (view == NULL) {
        return;
    }
    while (view->first_kept != NULL) {
        struct kept *next = view->first_kept->next;
        free(view->first_kept);
        view->first_kept = next;
    }
    if (view->is_detached) {
        store_retire(view->store, &view->keys);
    } else if (view->store->view == view) {
        view->store->view = NULL;
    }
    free(view);
}
