/*
 * The keyspace: binary-safe keys to binary-safe strings, in memory.
 *
 * Invariants and promises
 *  - Where a key lies depends on a secret of this process, so that nobody can choose keys that
 *    collide. Order is therefore different on every replica: nothing that depends on it may enter
 *    replicated state. Only the scan, the walk and the random key show it, and they are reads.
 *  - No call takes time in proportion to the number of keys, store_each, store_digest and
 * store_free apart. The table grows and shrinks a few buckets per change, and a flushed table is
 * freed the same way.
 *  - A failed allocation changes nothing and is reported as STORE_NOMEM.
 *  - A slice of a key or value that the store hands out is valid until the next change.
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

enum { STORE_OK = 0, STORE_NOMEM = -1 };

struct store;

/* A new, empty store; null where memory fails. The secret is 16 random bytes (getrandom). */
struct store *store_new(const uint8_t secret[16]);

/* Null is allowed. */
void store_free(struct store *store);

/* Keys held. */
size_t store_count(const struct store *store);

/* Bytes of keys and values held, without the overhead of the table. */
uint64_t store_bytes(const struct store *store);

/* 1 with *value set (which may be null) when the key exists, else 0. */
int store_get(const struct store *store, struct slice key, struct slice *value);

/*
 * Sets a key, new or not. value may be a slice of another key's value in this store, but not of
 * this key's. STORE_OK or STORE_NOMEM.
 */
int store_set(struct store *store, struct slice key, struct slice value);

/*
 * Writes bytes into the value at offset; what lies between its end and the offset becomes zero
 * bytes. The key is created where it is missing. offset + bytes.size is at most
 * STORE_VALUE_BYTES_MAX. *value_size (may be null) is the new length. STORE_OK or STORE_NOMEM.
 */
int store_write(struct store *store, struct slice key, size_t offset, struct slice bytes,
                size_t *value_size);

/* 1 when the key was there and is removed, else 0. */
int store_delete(struct store *store, struct slice key);

/* Removes every key. The memory is given back during later changes, or by store_step. */
void store_flush(struct store *store);

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
 * A number that depends on the content alone: the same keys and values give the same digest in any
 * process, whatever order they were written in. For comparing replicas, not against forgery.
 */
uint64_t store_digest(const struct store *store);

#endif
