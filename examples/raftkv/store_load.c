/*
 * From the bytes of a snapshot to a store. The bytes may be anything.
 *
 * An item (header, record, trailer) is taken from where it lies when it has arrived whole, and is
 * collected in `part` when it comes in pieces. How much an item needs is known in two steps: its
 * fixed size, and for a record, once its sizes are there and have been judged, the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

enum load_phase { LOAD_HEADER, LOAD_RECORDS, LOAD_TRAILER, LOAD_DONE };

struct store_load {
    struct store *store;
    struct buffer part;
    enum load_phase phase;
    int status;
    uint64_t applied_index;
    uint64_t version; /* of the last change: no key has a higher one */
    uint64_t records_left;
    uint64_t bytes_left;
    uint64_t digest;
};

struct store_load *store_load_begin(const uint8_t secret[16])
{
    struct store_load *load = calloc(1, sizeof *load);

    if (load == NULL) {
        return NULL;
    }
    load->store = store_new(secret);
    if (load->store == NULL) {
        free(load);
        return NULL;
    }
    return load;
}

/* ---- Items ---- */

static void next_phase(struct store_load *load)
{
    load->phase = load->records_left > 0 ? LOAD_RECORDS : LOAD_TRAILER;
}

static int take_header(struct store_load *load, const char *bytes)
{
    uint64_t clock_ms = bytes_u64(bytes + 16);

    if (bytes_u32(bytes) != SNAPSHOT_MAGIC) {
        return STORE_ECORRUPT;
    }
    if (bytes_u32(bytes + 4) != SNAPSHOT_FORMAT) {
        return STORE_EVERSION;
    }
    load->applied_index = bytes_u64(bytes + 8);
    load->version = bytes_u64(bytes + 24);
    load->records_left = bytes_u64(bytes + 32);
    load->bytes_left = bytes_u64(bytes + 40);
    if (clock_ms >= STORE_TIME_MAX || load->version >= STORE_TIME_MAX ||
        load->records_left > load->version || (load->records_left == 0 && load->bytes_left > 0)) {
        return STORE_ECORRUPT;
    }
    load->store->clock_ms = clock_ms;
    load->store->version = load->version;
    load->digest =
        digest_of_header((const uint8_t *)bytes) + digest_of_state(clock_ms, load->version);
    next_phase(load);
    return STORE_OK;
}

/* May there be a record of these sizes? */
static int sizes_fit(const struct store_load *load, const char *bytes)
{
    uint64_t key_size = bytes_u32(bytes);
    uint64_t value_size = bytes_u32(bytes + 4);

    return key_size <= STORE_KEY_BYTES_MAX && value_size <= STORE_VALUE_BYTES_MAX &&
           key_size + value_size <= load->bytes_left;
}

static int take_record(struct store_load *load, const char *bytes)
{
    struct slice key = {bytes + SNAPSHOT_RECORD_BYTES, bytes_u32(bytes)};
    struct slice value = {key.data + key.size, bytes_u32(bytes + 4)};
    uint64_t expiry = bytes_u64(bytes + 8);
    uint64_t version = bytes_u64(bytes + 16);
    uint64_t expire_at_ms = expiry == 0 ? STORE_FOREVER : expiry;

    if (expiry >= STORE_TIME_MAX || version == 0 || version > load->version) {
        return STORE_ECORRUPT;
    }
    load->records_left--;
    load->bytes_left -= key.size + value.size;
    load->digest += digest_of_key(key, value, expire_at_ms, version);
    if (load->records_left == 0 && load->bytes_left > 0) {
        return STORE_ECORRUPT;
    }
    next_phase(load);
    return store_restore(load->store, key, value, expire_at_ms, version);
}

static int take_trailer(struct store_load *load, const char *bytes)
{
    load->phase = LOAD_DONE;
    return bytes_u64(bytes) == load->digest ? STORE_OK : STORE_ECORRUPT;
}

/* ---- Pieces ---- */

/*
 * Bytes of the current item, of which `size` have arrived at `bytes`; as far as they tell. 0: there
 * can be no such item.
 */
static size_t item_size(const struct store_load *load, const char *bytes, size_t size)
{
    if (load->phase == LOAD_HEADER) {
        return SNAPSHOT_HEADER_BYTES;
    }
    if (load->phase == LOAD_TRAILER) {
        return SNAPSHOT_TRAILER_BYTES;
    }
    if (size < SNAPSHOT_RECORD_BYTES) {
        return SNAPSHOT_RECORD_BYTES;
    }
    return sizes_fit(load, bytes)
               ? SNAPSHOT_RECORD_BYTES + (size_t)bytes_u32(bytes) + (size_t)bytes_u32(bytes + 4)
               : 0;
}

static int take_item(struct store_load *load, const char *bytes)
{
    switch (load->phase) {
    case LOAD_HEADER:
        return take_header(load, bytes);
    case LOAD_RECORDS:
        return take_record(load, bytes);
    default:
        return take_trailer(load, bytes);
    }
}

static void skip_bytes(struct slice *rest, size_t size)
{
    rest->data += size;
    rest->size -= size;
}

/* Moves bytes of the current item from rest to `part`. Returns 1 when the item is whole there. */
static int collect_item(struct store_load *load, struct slice *rest)
{
    size_t size;

    while ((size = item_size(load, buffer_bytes(&load->part), buffer_size(&load->part))) > 0) {
        size_t missing = size - buffer_size(&load->part);
        size_t piece = missing < rest->size ? missing : rest->size;

        if (missing == 0) {
            return 1;
        }
        if (piece == 0) {
            return 0;
        }
        buffer_add(&load->part, rest->data, piece);
        if (load->part.failed) {
            load->status = STORE_NOMEM;
            return 0;
        }
        skip_bytes(rest, piece);
    }
    load->status = STORE_ECORRUPT;
    return 0;
}

/* Takes one item, or what there is of it. Returns 0 when there is no more to do. */
static int take_some(struct store_load *load, struct slice *rest)
{
    size_t size;

    if (load->phase == LOAD_DONE) {
        load->status = STORE_ECORRUPT;
        return 0;
    }
    size = item_size(load, rest->data, rest->size);
    if (buffer_size(&load->part) == 0 && size > 0 && size <= rest->size) {
        load->status = take_item(load, rest->data);
        skip_bytes(rest, size);
    } else if (collect_item(load, rest)) {
        load->status = take_item(load, buffer_bytes(&load->part));
        buffer_clear(&load->part);
    } else {
        return 0;
    }
    return load->status == STORE_OK && rest->size > 0;
}

int store_load_feed(struct store_load *load, const void *data, size_t size)
{
    struct slice rest = {data, size};

    if (load->status == STORE_OK && size > 0) {
        while (take_some(load, &rest)) {
        }
    }
    return load->status;
}

int store_load_end(struct store_load *load, struct store **store, uint64_t *applied_index)
{
    int status =
        load->status == STORE_OK && load->phase != LOAD_DONE ? STORE_ECORRUPT : load->status;

    if (store != NULL) {
        *store = status == STORE_OK ? load->store : NULL;
    }
    if (store == NULL || status != STORE_OK) {
        store_free(load->store);
    } else if (applied_index != NULL) {
        *applied_index = load->applied_index;
    }
    buffer_free(&load->part);
    free(load);
    return status;
}
