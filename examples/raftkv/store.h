/*
 * The keyspace: binary-safe keys to binary-safe strings that may expire, in memory.
 *
 * Invariants and promises
 *  - Where a key lies depends on a secret of this process, so that nobody can choose keys that
 *    collide. Order is therefore different on every replica: nothing that depends on it may enter
 *    replicated state. Only the scan, the walk and the random key show it, and they are reads; the
 *    bytes of a snapshot show it too, but neither their digest nor what they load into does.
 *  - No call takes time in proportion to the number of keys, store_each, store_digest and
 *    store_free apart. The table grows and shrinks a few buckets per change, and a flushed table is
 *    freed the same way.
 *  - A failed allocation changes nothing (but that an overdue key may have been taken away) and is
 *    reported as STORE_NOMEM.
 *  - A slice of a key or value that the store hands out is valid until the next change.
 *
 * Time. The store has a clock of its own, which moves only when it is told to (store_advance) and
 * never back. A key whose time is before that clock is *overdue*: it is there no longer for any
 * call here but store_count and store_bytes, which hold it until store_remove_overdue, a change of
 * that key or a flush takes it away. Overdue keys are taken away in the order of their times, those
 * of one moment in the order of their versions: where all replicas advance and remove alike, they
 * hold the same keys at every moment, the overdue ones included.
 *
 * Versions. Every change of a key gives it the next number of one counter, so two states of a key
 * that differ never have the same version. The counter is part of the content.
 */
#ifndef RAFTKV_STORE_H
#define RAFTKV_STORE_H

#include "buffer.h"

/*
 * The longest key and the longest value: the default limit of a log entry, so that any value can be
 * written again by one entry. A constant, since all replicas must agree on it.
 */
#define STORE_KEY_BYTES_MAX   ((size_t)16 << 20)
#define STORE_VALUE_BYTES_MAX ((size_t)16 << 20)

#define STORE_FOREVER     UINT64_MAX          /* an expiry: never */
#define STORE_KEEP_EXPIRY (UINT64_MAX - 1)    /* store_put: as it was */
#define STORE_TIME_MAX    ((uint64_t)1 << 63) /* times are 1 and up, and below it */

enum {
    STORE_OK = 0,
    STORE_NOMEM = -1,
    STORE_ECORRUPT = -2, /* the bytes of a snapshot are damaged, or not those of a snapshot */
    STORE_EVERSION = -3  /* a snapshot of a later version */
};

struct store;

/* A new, empty store; null where memory fails. The secret is 16 random bytes (getrandom). */
struct store *store_new(const uint8_t secret[16]);

/* Null is allowed. No view is open. */
void store_free(struct store *store);

/* Keys held. */
size_t store_count(const struct store *store);

/* Keys held that will expire. */
size_t store_expiring_count(const struct store *store);

/* Bytes of keys and values held, without the overhead of the table. */
uint64_t store_bytes(const struct store *store);

/* 1 with *value set (which may be null) when the key exists, else 0. */
int store_get(const struct store *store, struct slice key, struct slice *value);

/*
 * Sets a key, new or not, with a time to expire, STORE_FOREVER or STORE_KEEP_EXPIRY. value may be a slice of another key's value in this store, but not of this
 * key's. STORE_OK or STORE_NOMEM.
 */
int store_put(struct store *store, struct slice key, struct slice value, uint64_t expire_at_ms);

/* store_put with STORE_FOREVER. */
int store_set(struct store *store, struct slice key, struct slice value);

/*
 * Writes bytes into the value at offset; what lies between its end and the offset becomes zero
 * bytes. The key is created where it is missing; an expiry stays. offset + bytes.size is at most
 * STORE_VALUE_BYTES_MAX. *value_size (may be null) is the new length. STORE_OK or STORE_NOMEM.
 */
int store_write(struct store *store, struct slice key, size_t offset, struct slice bytes,
                size_t *value_size);

/* 1 when the key was there and is removed, else 0. */
int store_delete(struct store *store, struct slice key);

/* Removes every key. The memory is given back during later changes, or by store_step. */
void store_flush(struct store *store);

/* ---- Time and versions ---- */

uint64_t store_clock(const struct store *store);

/* Moves the clock, unless that would be back. Times from STORE_TIME_MAX on count as the last one.
 */
void store_advance(struct store *store, uint64_t now_ms);

/* Removes the overdue keys that are first in order, `most` at most; returns how many. */
size_t store_remove_overdue(struct store *store, size_t most);

/* The earliest time at which a key that is held expires: it is overdue once the clock is past it.
 * STORE_FOREVER where none expires. */
uint64_t store_next_expiry(const struct store *store);

/* When a key expires, or STORE_FOREVER; 0 when it does not exist. */
uint64_t store_expiry(const struct store *store, struct slice key);

/* Sets a key's expiry, or takes it away. 1, 0 where the key does not exist, or STORE_NOMEM. */
int store_expire(struct store *store, struct slice key, uint64_t expire_at_ms);

/* The version of a key; 0 when it does not exist. */
uint64_t store_version(const struct store *store, struct slice key);

/* ---- Walking ---- */

/*
 * Does a bounded piece of deferred work: moves or frees up to `buckets` buckets. Returns 1 when
 * there is more to do, else 0. Never needed; a host that is idle may call it.
 */
int store_step(struct store *store, size_t buckets);

/* Called with a key and its value; must not change the store. */
typedef void (*store_visit)(void *arg, struct slice key, struct slice value);

/*
 * One step of an iteration over a store that may change between the steps. Starts with cursor 0;
 * returns the next cursor, or 0 at the end. A key that is there from the first step to the last is
 * visited at least once, however the table grew or shrank meanwhile; any key may be visited more
 * than once. Any number is a legal cursor; those returned are below 2^63.
 */
uint64_t store_scan(const struct store *store, uint64_t cursor, store_visit visit, void *arg);

/* Visits every key once. */
void store_each(const struct store *store, store_visit visit, void *arg);

/* A key chosen at random, by a generator that is seeded from the secret: 1, or 0 when empty. */
int store_random_key(struct store *store, struct slice *key);

/*
 * A number that depends on the content alone: keys, values, expiries, versions and the clock, with
 * overdue keys as long as they are held. Replicas that have applied the same entries have the same
 * digest, whatever their secrets, and whether they were restored from a snapshot meanwhile. For
 * comparing replicas, not against forgery.
 */
uint64_t store_digest(const struct store *store);

/* ---- Snapshots ----
 *
 *     view = store_snapshot_begin(store, applied_index)
 *     each turn of the loop, entries being applied between the turns:
 *         more = store_snapshot_next(view, buffer, budget)      then take the buffer's bytes away
 *     store_snapshot_end(view)                                  at any time, complete or not
 *
 * The bytes are those of the content when the view was opened: a key that is changed or removed
 * before its turn is copied into the view first. So a view holds, beside what it has handed out,
 * at most what its store held when it was opened, and only what has changed since. At most one view
 * a store is open. Several consumers share the bytes of one (a file), not the view.
 */

struct store_view;

/* Opens a view; null where memory fails. O(1). */
struct store_view *store_snapshot_begin(struct store *store, uint64_t applied_index);

/* All bytes that the view will give: known from the beginning, for a length that goes before. */
uint64_t store_snapshot_size(const struct store_view *view);

/*
 * Adds the next piece of the bytes to out: about `budget` bytes, more by at most one key with its
 * value, for work in proportion. 1: there is more. 0: that was all. STORE_NOMEM: the buffer has
 * failed, or a key could not be copied when it was changed; the snapshot is lost and the store
 * unharmed. The outcome of the last call is repeated by further ones.
 */
int store_snapshot_next(struct store_view *view, struct buffer *out, size_t budget);

/* The store's digest when the view was opened, once all bytes were given. */
uint64_t store_snapshot_digest(const struct store_view *view);

/* Closes the view, whether it gave all its bytes or not. Null is allowed. */
void store_snapshot_end(struct store_view *view);

/*
 * Builds a store from a snapshot's bytes, which come in pieces of any size and are not trusted:
 *
 *     load = store_load_begin(secret)
 *     store_load_feed(load, bytes, size) ...
 *     status = store_load_end(load, &fresh, &applied_index)     always, it frees the load
 *     store_replace(store, fresh)
 *
 * Memory grows with the bytes that have arrived, not with what they announce. Every status but
 * STORE_OK is repeated by further calls.
 */
struct store_load;

/* Null where memory fails. */
struct store_load *store_load_begin(const uint8_t secret[16]);

/* STORE_OK, STORE_NOMEM, STORE_ECORRUPT or STORE_EVERSION. Bytes behind the end are damage. */
int store_load_feed(struct store_load *load, const void *data, size_t size);

/*
 * STORE_OK with a new store in *store (the caller's) and the index that the snapshot was taken at
 * in *applied_index, if all was there and the digest is right; else what was wrong, and null. store
 * may be null: the load is only given up.
 */
int store_load_end(struct store_load *load, struct store **store, uint64_t *applied_index);

/*
 * Gives a store the content of a fresh one, which it takes and frees. What it held before is freed
 * step by step; a view of it stays whole. O(1).
 */
void store_replace(struct store *store, struct store *fresh);

#endif
