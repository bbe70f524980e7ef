/*
 * The keyspace as a chained hash table that is resized a little at every change.
 *
 * Invariants
 *  - An entry lies in exactly one of `current` and `old`. New entries enter `current` alone.
 *  - `old` exists only while a resize is under way; its buckets below `cursor` are empty.
 *  - Table sizes are powers of two. A bucket of the smaller table corresponds to the buckets of the
 *    larger one whose index has the same low bits; the scan rests on that.
 *  - Growth starts when there are as many keys as buckets, and moves several entries per change: it
 *    is over long before the next one is due. If the memory for a larger table is not to be had,
 *    chains become longer and the next change tries again: that is no failure.
 *  - Flushed tables wait in `retired` and are freed bucket by bucket.
 */
#include "store.h"

#include <stdlib.h>
#include <string.h>

#include "siphash.h"

#define TABLE_SIZE_MIN     ((size_t)16)
#define BUCKETS_PER_CHANGE ((size_t)4)
#define EMPTY_PER_BUCKET   ((size_t)8) /* empty buckets that count as one in a bounded step */
#define RANDOM_TRIES       64
#define SLACK_KEPT         ((size_t)64) /* unused bytes of a value that are not worth giving back */

struct entry {
    struct entry *next;
    uint64_t hash;
    size_t value_size;
    size_t value_capacity;
    size_t key_size;
    char bytes[]; /* the key, then the value */
};

struct table {
    struct table *next; /* of the retired ones */
    size_t size;
    size_t cursor; /* being emptied: buckets below it are empty */
    struct entry *buckets[];
};

struct store {
    struct table *current; /* null: nothing was ever written, or everything was flushed */
    struct table *old;
    struct table *retired;
    size_t count;
    uint64_t bytes;
    struct siphash_key secret;
    uint64_t random_state;
};

static struct slice entry_key(const struct entry *entry)
{
    struct slice key = {entry->bytes, entry->key_size};

    return key;
}

static char *value_bytes(struct entry *entry)
{
    return entry->bytes + entry->key_size;
}

static struct slice entry_value(const struct entry *entry)
{
    struct slice value = {entry->bytes + entry->key_size, entry->value_size};

    return value;
}

static struct entry **bucket_of(struct table *table, uint64_t hash)
{
    return &table->buckets[hash & (table->size - 1)];
}

static struct table *table_new(size_t size)
{
    struct table *table;

    if (size > (SIZE_MAX - sizeof *table) / sizeof table->buckets[0]) {
        return NULL;
    }
    table = calloc(1, sizeof *table + size * sizeof table->buckets[0]);
    if (table != NULL) {
        table->size = size;
    }
    return table;
}

static void free_chain(struct entry *entry)
{
    while (entry != NULL) {
        struct entry *next = entry->next;
        free(entry);
        entry = next;
    }
}

static void table_free(struct table *table)
{
    if (table == NULL) {
        return;
    }
    for (size_t i = table->cursor; i < table->size; i++) {
        free_chain(table->buckets[i]);
    }
    free(table);
}

struct store *store_new(const uint8_t secret[16])
{
    struct store *store = calloc(1, sizeof *store);

    if (store != NULL) {
        store->secret.low = load_u64(secret);
        store->secret.high = load_u64(secret + 8);
        store->random_state = store->secret.low + store->secret.high;
    }
    return store;
}

void store_free(struct store *store)
{
    if (store == NULL) {
        return;
    }
    table_free(store->current);
    table_free(store->old);
    while (store->retired != NULL) {
        struct table *next = store->retired->next;
        table_free(store->retired);
        store->retired = next;
    }
    free(store);
}

size_t store_count(const struct store *store)
{
    return store->count;
}

uint64_t store_bytes(const struct store *store)
{
    return store->bytes;
}

/* ---- Deferred work ---- */

static void move_chain(struct store *store, struct entry *entry)
{
    while (entry != NULL) {
        struct entry *next = entry->next;
        struct entry **bucket = bucket_of(store->current, entry->hash);
        entry->next = *bucket;
        *bucket = entry;
        entry = next;
    }
}

/*
 * Empties some buckets of a table: into `current`, or into the void when it is retired. Returns 1
 * once the table is empty.
 */
static int empty_some(struct store *store, struct table *table, size_t buckets)
{
    size_t visits = buckets > SIZE_MAX / EMPTY_PER_BUCKET ? SIZE_MAX : buckets * EMPTY_PER_BUCKET;

    while (table->cursor < table->size && buckets > 0 && visits > 0) {
        struct entry *chain = table->buckets[table->cursor];
        table->buckets[table->cursor++] = NULL;
        visits--;
        if (chain == NULL) {
            continue;
        }
        buckets--;
        if (table == store->old) {
            move_chain(store, chain);
        } else {
            free_chain(chain);
        }
    }
    return table->cursor == table->size;
}

int store_step(struct store *store, size_t buckets)
{
    if (store->old != NULL) {
        if (empty_some(store, store->old, buckets)) {
            free(store->old);
            store->old = NULL;
        }
    } else if (store->retired != NULL) {
        struct table *table = store->retired;
        if (empty_some(store, table, buckets)) {
            store->retired = table->next;
            free(table);
        }
    }
    return store->old != NULL || store->retired != NULL;
}

static void begin_resize(struct store *store, size_t size)
{
    struct table *table = table_new(size);

    if (table != NULL) {
        store->old = store->current;
        store->current = table;
    }
}

/* Follows every change of the number of keys. */
static void keep_in_shape(struct store *store)
{
    size_t size = store->current->size;

    if (store->old != NULL) {
        return;
    }
    if (store->count >= size) {
        begin_resize(store, size * 2);
    } else if (size > TABLE_SIZE_MIN && store->count < size / 8) {
        begin_resize(store, size / 4 > TABLE_SIZE_MIN ? size / 4 : TABLE_SIZE_MIN);
    }
}

/* ---- Finding ---- */

/* The link that points to a key's entry in a table, or null. */
static struct entry **find_in(struct table *table, uint64_t hash, struct slice key)
{
    if (table == NULL) {
        return NULL;
    }
    for (struct entry **link = bucket_of(table, hash); *link != NULL; link = &(*link)->next) {
        if ((*link)->hash == hash && slice_equal(entry_key(*link), key)) {
            return link;
        }
    }
    return NULL;
}

static struct entry **find(const struct store *store, uint64_t hash, struct slice key)
{
    struct entry **link = find_in(store->current, hash, key);

    return link != NULL ? link : find_in(store->old, hash, key);
}

int store_get(const struct store *store, struct slice key, struct slice *value)
{
    struct entry **link = find(store, siphash(store->secret, key), key);

    if (link == NULL) {
        return 0;
    }
    if (value != NULL) {
        *value = entry_value(*link);
    }
    return 1;
}

/* ---- Changing ---- */

static struct entry *entry_new(uint64_t hash, struct slice key, size_t value_capacity)
{
    struct entry *entry;

    if (key.size > SIZE_MAX / 4 || value_capacity > SIZE_MAX / 4) {
        return NULL;
    }
    entry = malloc(sizeof *entry + key.size + value_capacity);
    if (entry == NULL) {
        return NULL;
    }
    entry->next = NULL;
    entry->hash = hash;
    entry->key_size = key.size;
    entry->value_size = 0;
    entry->value_capacity = value_capacity;
    if (key.size > 0) {
        memcpy(entry->bytes, key.data, key.size);
    }
    return entry;
}

static void put_value(struct store *store, struct entry *entry, struct slice value)
{
    store->bytes = store->bytes - entry->value_size + value.size;
    if (value.size > 0) {
        memcpy(value_bytes(entry), value.data, value.size);
    }
    entry->value_size = value.size;
}

/* Adds a key that is not there, with an empty value. Null: no memory. */
static struct entry *insert(struct store *store, uint64_t hash, struct slice key, size_t capacity)
{
    struct entry *entry;
    struct entry **bucket;

    if (store->current == NULL) {
        store->current = table_new(TABLE_SIZE_MIN);
    }
    entry = store->current == NULL ? NULL : entry_new(hash, key, capacity);
    if (entry == NULL) {
        return NULL;
    }
    bucket = bucket_of(store->current, hash);
    entry->next = *bucket;
    *bucket = entry;
    store->count++;
    store->bytes += key.size;
    keep_in_shape(store);
    return entry;
}

/* Gives the entry behind link a new home with room for a value that is about to be replaced. */
static int rehouse(struct store *store, struct entry **link, size_t capacity)
{
    struct entry *entry = entry_new((*link)->hash, entry_key(*link), capacity);

    if (entry == NULL) {
        return 0;
    }
    entry->next = (*link)->next;
    store->bytes -= (*link)->value_size;
    free(*link);
    *link = entry;
    return 1;
}

static int fits(const struct entry *entry, size_t size)
{
    return size <= entry->value_capacity && entry->value_capacity - size <= size + SLACK_KEPT;
}

int store_set(struct store *store, struct slice key, struct slice value)
{
    uint64_t hash = siphash(store->secret, key);
    struct entry **link;
    struct entry *entry = NULL;

    store_step(store, BUCKETS_PER_CHANGE);
    link = find(store, hash, key);
    if (link == NULL) {
        entry = insert(store, hash, key, value.size);
    } else if (fits(*link, value.size) || rehouse(store, link, value.size) ||
               value.size <= (*link)->value_capacity) {
        entry = *link;
    }
    if (entry == NULL) {
        return STORE_NOMEM;
    }
    put_value(store, entry, value);
    return STORE_OK;
}

/* Room for a value of `size` bytes, the old ones kept; grows ahead, so that appending is linear. */
static int extend(struct entry **link, size_t size)
{
    size_t capacity = (*link)->value_capacity;
    struct entry *entry;

    if (size <= capacity) {
        return 1;
    }
    capacity = size <= STORE_VALUE_BYTES_MAX / 2 ? size * 2 : STORE_VALUE_BYTES_MAX;
    entry = realloc(*link, sizeof *entry + (*link)->key_size + capacity);
    if (entry == NULL) {
        return 0;
    }
    entry->value_capacity = capacity;
    *link = entry;
    return 1;
}

static void overwrite(struct store *store, struct entry *entry, size_t offset, struct slice bytes)
{
    char *value = value_bytes(entry);
    size_t end = offset + bytes.size;

    if (offset > entry->value_size) {
        memset(value + entry->value_size, 0, offset - entry->value_size);
    }
    if (bytes.size > 0) {
        memcpy(value + offset, bytes.data, bytes.size);
    }
    if (end > entry->value_size) {
        store->bytes += end - entry->value_size;
        entry->value_size = end;
    }
}

int store_write(struct store *store, struct slice key, size_t offset, struct slice bytes,
                size_t *value_size)
{
    uint64_t hash = siphash(store->secret, key);
    struct entry **link;
    struct entry *entry = NULL;

    store_step(store, BUCKETS_PER_CHANGE);
    link = find(store, hash, key);
    if (link == NULL) {
        entry = insert(store, hash, key, offset + bytes.size);
    } else if (extend(link, offset + bytes.size)) {
        entry = *link;
    }
    if (entry == NULL) {
        return STORE_NOMEM;
    }
    overwrite(store, entry, offset, bytes);
    if (value_size != NULL) {
        *value_size = entry->value_size;
    }
    return STORE_OK;
}

int store_delete(struct store *store, struct slice key)
{
    struct entry **link;
    struct entry *entry;

    store_step(store, BUCKETS_PER_CHANGE);
    link = find(store, siphash(store->secret, key), key);
    if (link == NULL) {
        return 0;
    }
    entry = *link;
    *link = entry->next;
    store->count--;
    store->bytes -= entry->key_size + entry->value_size;
    free(entry);
    keep_in_shape(store);
    return 1;
}

static void retire(struct store *store, struct table *table)
{
    if (table != NULL) {
        table->next = store->retired;
        store->retired = table;
    }
}

void store_flush(struct store *store)
{
    retire(store, store->current);
    retire(store, store->old);
    store->current = NULL;
    store->old = NULL;
    store->count = 0;
    store->bytes = 0;
}

/* ---- Walking ---- */

static void visit_bucket(const struct table *table, uint64_t index, store_visit visit, void *arg)
{
    for (const struct entry *e = table->buckets[index & (table->size - 1)]; e != NULL;
         e = e->next) {
        visit(arg, entry_key(e), entry_value(e));
    }
}

static uint64_t reverse_bits(uint64_t value)
{
    uint64_t reversed = 0;

    for (int i = 0; i < 64; i++) {
        reversed = reversed << 1 | (value >> i & 1);
    }
    return reversed;
}

/*
 * Adds one to the cursor's bits under the mask, the highest bit counting least. Counting this way,
 * what was visited is at any time a set of low-bit patterns: when the table changes its size, the
 * buckets that split off from visited ones, or merge into them, are behind the cursor too.
 */
static uint64_t next_cursor(uint64_t cursor, uint64_t mask)
{
    return reverse_bits(reverse_bits(cursor | ~mask) + 1);
}

/* With two tables: a bucket of the smaller and every bucket of the larger that corresponds to it.
 */
static uint64_t scan_both(const struct store *store, uint64_t cursor, store_visit visit, void *arg)
{
    int shrinking = store->old->size > store->current->size;
    const struct table *small = shrinking ? store->current : store->old;
    const struct table *large = shrinking ? store->old : store->current;
    uint64_t small_mask = small->size - 1;
    uint64_t large_mask = large->size - 1;

    visit_bucket(small, cursor, visit, arg);
    do {
        visit_bucket(large, cursor, visit, arg);
        cursor = next_cursor(cursor, large_mask);
    } while ((cursor & (small_mask ^ large_mask)) != 0);
    return cursor;
}

uint64_t store_scan(const struct store *store, uint64_t cursor, store_visit visit, void *arg)
{
    if (store->current == NULL) {
        return 0;
    }
    if (store->old != NULL) {
        return scan_both(store, cursor, visit, arg);
    }
    visit_bucket(store->current, cursor, visit, arg);
    return next_cursor(cursor, store->current->size - 1);
}

static void visit_table(const struct table *table, store_visit visit, void *arg)
{
    for (size_t i = 0; table != NULL && i < table->size; i++) {
        visit_bucket(table, i, visit, arg);
    }
}

void store_each(const struct store *store, store_visit visit, void *arg)
{
    visit_table(store->current, visit, arg);
    visit_table(store->old, visit, arg);
}

/* The splitmix64 generator. */
static uint64_t next_random(struct store *store)
{
    uint64_t mixed = store->random_state += UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

/* Bucket number `position` of both tables taken as one row. */
static const struct entry *bucket_at(const struct store *store, size_t position)
{
    size_t size = store->current->size;

    return store->old == NULL || position < size ? store->current->buckets[position]
                                                 : store->old->buckets[position - size];
}

/*
 * A filled bucket: by trial, which favours none, and after bad luck the next one in the row, so
 * that it always ends.
 */
static const struct entry *random_chain(struct store *store)
{
    size_t buckets = store->current->size + (store->old != NULL ? store->old->size : 0);
    size_t position = (size_t)(next_random(store) % buckets);

    for (int i = 0; i < RANDOM_TRIES && bucket_at(store, position) == NULL; i++) {
        position = (size_t)(next_random(store) % buckets);
    }
    while (bucket_at(store, position) == NULL) {
        position = (position + 1) % buckets;
    }
    return bucket_at(store, position);
}

int store_random_key(struct store *store, struct slice *key)
{
    const struct entry *chain;
    size_t length = 1; /* a filled bucket has at least one */

    if (store->count == 0) {
        return 0;
    }
    chain = random_chain(store);
    for (const struct entry *e = chain->next; e != NULL; e = e->next) {
        length++;
    }
    for (size_t skip = (size_t)(next_random(store) % length); skip > 0; skip--) {
        chain = chain->next;
    }
    *key = entry_key(chain);
    return 1;
}

/*
 * Sums what does not depend on order. The key's hash becomes the key of the value's hash, so the
 * place where one ends and the other begins counts too.
 */
static void add_to_digest(void *arg, struct slice key, struct slice value)
{
    static const struct siphash_key same_everywhere = {UINT64_C(0x6b65656c736f6e21),
                                                       UINT64_C(0x6469676573742031)};
    struct siphash_key value_key = {siphash(same_everywhere, key), same_everywhere.high};
    uint64_t *digest = arg;

    *digest += siphash(value_key, value);
}

uint64_t store_digest(const struct store *store)
{
    uint64_t digest = 0;

    store_each(store, add_to_digest, &digest);
    return digest;
}
