/*
 * What the files of the keyspace share:
 *
 *   store.c        the table: finding, changing, resizing, walking
 *   store_due.c    which key expires when
 *   store_view.c   a frozen view of the whole, and its bytes
 *   store_load.c   from such bytes to a store
 */
#ifndef RAFTKV_STORE_INTERNAL_H
#define RAFTKV_STORE_INTERNAL_H

#include "siphash.h"
#include "store.h"

struct entry {
    struct entry *next;
    uint64_t version;
    uint32_t hash;
    uint32_t value_size;
    uint32_t value_capacity;
    uint32_t key_size;
    uint32_t due_place; /* in the heap, counted from 1; 0: it never expires */
    uint32_t view;      /* the last view that has it already, or was opened before it was made */
    char bytes[];       /* the key, then the value */
};

struct table {
    struct table *next; /* of the retired ones */
    size_t size;
    size_t cursor; /* being emptied: buckets below it are empty */
    struct entry *buckets[];
};

/* An item of the heap of expiries: the least first, by time and then by version. */
struct due {
    uint64_t at_ms;
    struct entry *entry;
};

/* All keys that there are at a time. */
struct keyspace {
    struct table *current; /* null: nothing was ever written, or everything was flushed */
    struct table *old;
    struct due *due;
    size_t due_count;
    size_t due_capacity;
    size_t count;
    uint64_t bytes;
};

struct store {
    struct keyspace keys;
    struct table *retired;
    struct siphash_key secret;
    uint64_t random_state;
    uint64_t clock_ms;
    uint64_t version;        /* of the last change */
    uint32_t view_number;    /* of the last view that was opened */
    struct store_view *view; /* the open one whose keys are still changing, or null */
};

struct slice entry_key(const struct entry *entry);
struct slice entry_value(const struct entry *entry);

/* ---- store.c ---- */

/*
 * Calls visit for the entries that a step of the scan covers (see store_scan), overdue ones
 * included; returns the next cursor.
 */
typedef void (*entry_visit)(void *arg, struct entry *entry);
uint64_t keyspace_scan(const struct keyspace *keys, uint64_t cursor, entry_visit visit, void *arg);

/* Gives the tables and the heap up; the memory of the tables is freed step by step. */
void store_retire(struct store *store, struct keyspace *keys);

/* Takes an entry out of everything and frees it. */
void store_remove(struct store *store, struct entry **link);

/* The link that points to an entry. */
struct entry **store_link_of(const struct store *store, const struct entry *entry);

/*
 * Adds a key as a file had it; expire_at_ms is STORE_FOREVER or a time. STORE_OK, STORE_NOMEM, or
 * STORE_ECORRUPT where the key is there already.
 */
int store_restore(struct store *store, struct slice key, struct slice value, uint64_t expire_at_ms,
                  uint64_t version);

/* ---- store_due.c ---- */

/* Room for one more; 0 where memory fails. */
int due_reserve(struct keyspace *keys);

/*
 * Sets when an entry expires, or puts it in its place after its version has changed. There is room
 * where it had no time before.
 */
void due_set(struct keyspace *keys, struct entry *entry, uint64_t at_ms);

/* STORE_FOREVER, or when the entry expires. */
uint64_t due_of(const struct keyspace *keys, const struct entry *entry);

void due_remove(struct keyspace *keys, struct entry *entry);

/* Tells the heap that an entry has moved in memory. */
void due_moved(struct keyspace *keys, struct entry *entry);

/* ---- store_view.c ---- */

/*
 * The bytes of a snapshot, all numbers little-endian:
 *
 *     header    u32 "RKVS", u32 format, u64 applied index, clock, version, count, bytes
 *     records   u32 key size, u32 value size, u64 expiry (0: none), u64 version, key, value
 *     trailer   u64 digest of header and content
 */
#define SNAPSHOT_MAGIC         UINT32_C(0x53564b52)
#define SNAPSHOT_FORMAT        UINT32_C(1)
#define SNAPSHOT_HEADER_BYTES  ((size_t)48)
#define SNAPSHOT_RECORD_BYTES  ((size_t)24) /* without key and value */
#define SNAPSHOT_TRAILER_BYTES ((size_t)8)

/* To be called before an entry is changed or removed: the open view must have it first. */
void view_keep(struct store *store, struct entry *entry);

/* The keyspace that the view walks is given up by its store: it becomes the view's own. */
void view_detach(struct store *store);

/* What one key adds to a digest, and what the clock and the versions do. */
uint64_t digest_of_key(struct slice key, struct slice value, uint64_t expire_at_ms,
                       uint64_t version);
uint64_t digest_of_state(uint64_t clock_ms, uint64_t version);
uint64_t digest_of_header(const uint8_t header[SNAPSHOT_HEADER_BYTES]);

#endif
