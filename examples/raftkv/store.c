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
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

#define TABLE_SIZE_MIN     ((size_t)16)
#define TABLE_SIZE_MAX     ((size_t)1 << 31) /* a hash has 32 bits */
#define BUCKETS_PER_CHANGE ((size_t)4)
#define EMPTY_PER_BUCKET   ((size_t)8) /* empty buckets that count as one in a bounded step */
#define RANDOM_TRIES       64
#define SLACK_KEPT         ((size_t)64) /* unused bytes of a value that are not worth giving back */

struct slice entry_key(const struct entry *entry)
{
    struct slice key = {entry->bytes, entry->key_size};

    return key;
}

static char *value_bytes(struct entry *entry)
{
    return entry->bytes + entry->key_size;
}

struct slice entry_value(const struct entry *entry)
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
    table_free(store->keys.current);
    table_free(store->keys.old);
    free(store->keys.due);
    while (store->retired != NULL) {
        struct table *next = store->retired->next;
        table_free(store->retired);
        store->retired = next;
    }
    free(store);
}

size_t store_count(const struct store *store)
{
    return store->keys.count;
}

size_t store_expiring_count(const struct store *store)
{
    return store->keys.due_count;
}

uint64_t store_bytes(const struct store *store)
{
    return store->keys.bytes;
}

/* ---- Deferred work ---- */

static void move_chain(struct keyspace *keys, struct entry *entry)
{
    while (entry != NULL) {
        struct entry *next = entry->next;
        struct entry **bucket = bucket_of(keys->current, entry->hash);
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
        if (table == store->keys.old) {
            move_chain(&store->keys, chain);
        } else {
            free_chain(chain);
        }
    }
    return table->cursor == table->size;
}

int store_step(struct store *store, size_t buckets)
{
    if (store->keys.old != NULL) {
        if (empty_some(store, store->keys.old, buckets)) {
            free(store->keys.old);
            store->keys.old = NULL;
        }
    } else if (store->retired != NULL) {
        struct table *table = store->retired;
        if (empty_some(store, table, buckets)) {
            store->retired = table->next;
            free(table);
        }
    }
    return store->keys.old != NULL || store->retired != NULL;
}

static void begin_resize(struct keyspace *keys, size_t size)
{
    struct table *table = size <= TABLE_SIZE_MAX ? table_new(size) : NULL;

    if (table != NULL) {
        keys->old = keys->current;
        keys->current = table;
    }
}

/* Follows every change of the number of keys. */
static void keep_in_shape(struct keyspace *keys)
{
    size_t size = keys->current->size;

    if (keys->old != NULL) {
        return;
    }
    if (keys->count >= size) {
        begin_resize(keys, size * 2);
    } else if (size > TABLE_SIZE_MIN && keys->count < size / 8) {
        begin_resize(keys, size / 4 > TABLE_SIZE_MIN ? size / 4 : TABLE_SIZE_MIN);
    }
}

/* ---- Finding ---- */

static uint32_t hash_of(const struct store *store, struct slice key)
{
    return (uint32_t)siphash(store->secret, key);
}

/* The link that points to a key's entry in a table, or null. */
static struct entry **find_in(struct table *table, uint32_t hash, struct slice key)
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

/* A key's entry, overdue or not. */
static struct entry **find(const struct store *store, uint32_t hash, struct slice key)
{
    struct entry **link = find_in(store->keys.current, hash, key);

    return link != NULL ? link : find_in(store->keys.old, hash, key);
}

struct entry **store_link_of(const struct store *store, const struct entry *entry)
{
    return find(store, entry->hash, entry_key(entry));
}

static int is_overdue(const struct store *store, const struct entry *entry)
{
    return entry->due_place != 0 && due_of(&store->keys, entry) < store->clock_ms;
}

/* The entry of a key that exists, or null. */
static const struct entry *find_living(const struct store *store, struct slice key)
{
    struct entry **link = find(store, hash_of(store, key), key);

    return link == NULL || is_overdue(store, *link) ? NULL : *link;
}

int store_get(const struct store *store, struct slice key, struct slice *value)
{
    const struct entry *entry = find_living(store, key);

    if (entry != NULL && value != NULL) {
        *value = entry_value(entry);
    }
    return entry != NULL;
}

uint64_t store_expiry(const struct store *store, struct slice key)
{
    const struct entry *entry = find_living(store, key);

    return entry == NULL ? 0 : due_of(&store->keys, entry);
}

uint64_t store_version(const struct store *store, struct slice key)
{
    const struct entry *entry = find_living(store, key);

    return entry == NULL ? 0 : entry->version;
}

/* ---- Changing ---- */

void store_remove(struct store *store, struct entry **link)
{
    struct entry *entry = *link;

    view_keep(store, entry);
    due_remove(&store->keys, entry);
    *link = entry->next;
    store->keys.count--;
    store->keys.bytes -= (uint64_t)entry->key_size + entry->value_size;
    free(entry);
    keep_in_shape(&store->keys);
}

/* The link of a key that is about to change; null where it does not exist, or no longer. */
static struct entry **find_to_change(struct store *store, uint32_t hash, struct slice key)
{
    struct entry **link;

    store_step(store, BUCKETS_PER_CHANGE);
    link = find(store, hash, key);
    if (link != NULL && is_overdue(store, *link)) {
        store_remove(store, link);
        link = NULL;
    }
    return link;
}

static struct entry *entry_new(uint32_t hash, struct slice key, size_t value_capacity)
{
    struct entry *entry;

    if (key.size > STORE_KEY_BYTES_MAX || value_capacity > STORE_VALUE_BYTES_MAX) {
        return NULL;
    }
    entry = malloc(sizeof *entry + key.size + value_capacity);
    if (entry == NULL) {
        return NULL;
    }
    *entry = (struct entry){
        .hash = hash, .key_size = (uint32_t)key.size, .value_capacity = (uint32_t)value_capacity};
    if (key.size > 0) {
        memcpy(entry->bytes, key.data, key.size);
    }
    return entry;
}

static void put_value(struct store *store, struct entry *entry, struct slice value)
{
    store->keys.bytes = store->keys.bytes - entry->value_size + value.size;
    if (value.size > 0) {
        memcpy(value_bytes(entry), value.data, value.size);
    }
    entry->value_size = (uint32_t)value.size;
}

/* Adds a key that is not there, with an empty value. Null: no memory. */
static struct entry *insert(struct store *store, uint32_t hash, struct slice key, size_t capacity)
{
    struct keyspace *keys = &store->keys;
    struct entry *entry;
    struct entry **bucket;

    if (keys->current == NULL) {
        keys->current = table_new(TABLE_SIZE_MIN);
    }
    entry = keys->current == NULL ? NULL : entry_new(hash, key, capacity);
    if (entry == NULL) {
        return NULL;
    }
    entry->view = store->view_number; /* made after it was opened: none of its business */
    bucket = bucket_of(keys->current, hash);
    entry->next = *bucket;
    *bucket = entry;
    keys->count++;
    keys->bytes += key.size;
    keep_in_shape(keys);
    return entry;
}

/* Gives the entry behind link a new home with room for a value that is about to be replaced. */
static int rehouse(struct store *store, struct entry **link, size_t capacity)
{
    struct entry *old = *link;
    struct entry *entry = entry_new(old->hash, entry_key(old), capacity);

    if (entry == NULL) {
        return 0;
    }
    entry->next = old->next;
    entry->version = old->version;
    entry->due_place = old->due_place;
    entry->view = old->view;
    due_moved(&store->keys, entry);
    store->keys.bytes -= old->value_size;
    free(old);
    *link = entry;
    return 1;
}

static int fits(const struct entry *entry, size_t size)
{
    return size <= entry->value_capacity && entry->value_capacity - size <= size + SLACK_KEPT;
}

/* An entry whose value is about to be replaced by one of `size` bytes; null: no memory. */
static struct entry *room_for_value(struct store *store, struct entry **link, size_t size)
{
    view_keep(store, *link);
    if (fits(*link, size) || rehouse(store, link, size) || size <= (*link)->value_capacity) {
        return *link;
    }
    return NULL;
}

/* Follows every change of a key; there is room in the heap where it is to expire. */
static void note_change(struct store *store, struct entry *entry, uint64_t expire_at_ms)
{
    if (expire_at_ms == STORE_KEEP_EXPIRY) {
        expire_at_ms = due_of(&store->keys, entry);
    }
    entry->version = ++store->version;
    if (expire_at_ms == STORE_FOREVER) {
        due_remove(&store->keys, entry);
    } else {
        due_set(&store->keys, entry, expire_at_ms);
    }
}

static int is_time(uint64_t expire_at_ms)
{
    return expire_at_ms < STORE_TIME_MAX;
}

int store_put(struct store *store, struct slice key, struct slice value, uint64_t expire_at_ms)
{
    uint32_t hash = hash_of(store, key);
    struct entry **link = find_to_change(store, hash, key);
    struct entry *entry;

    if (is_time(expire_at_ms) && !due_reserve(&store->keys)) {
        return STORE_NOMEM;
    }
    entry = link == NULL ? insert(store, hash, key, value.size)
                         : room_for_value(store, link, value.size);
    if (entry == NULL) {
        return STORE_NOMEM;
    }
    put_value(store, entry, value);
    note_change(store, entry, expire_at_ms);
    return STORE_OK;
}

int store_set(struct store *store, struct slice key, struct slice value)
{
    return store_put(store, key, value, STORE_FOREVER);
}

int store_restore(struct store *store, struct slice key, struct slice value, uint64_t expire_at_ms,
                  uint64_t version)
{
    uint32_t hash = hash_of(store, key);
    struct entry *entry;

    store_step(store, BUCKETS_PER_CHANGE);
    if (find(store, hash, key) != NULL) {
        return STORE_ECORRUPT;
    }
    if (is_time(expire_at_ms) && !due_reserve(&store->keys)) {
        return STORE_NOMEM;
    }
    entry = insert(store, hash, key, value.size);
    if (entry == NULL) {
        return STORE_NOMEM;
    }
    put_value(store, entry, value);
    entry->version = version;
    if (is_time(expire_at_ms)) {
        due_set(&store->keys, entry, expire_at_ms);
    }
    return STORE_OK;
}

/* Room for a value of `size` bytes, the old ones kept; grows ahead, so that appending is linear. */
static int extend(struct store *store, struct entry **link, size_t size)
{
    size_t capacity = (*link)->value_capacity;
    struct entry *entry;

    view_keep(store, *link);
    if (size <= capacity) {
        return 1;
    }
    capacity = size <= STORE_VALUE_BYTES_MAX / 2 ? size * 2 : STORE_VALUE_BYTES_MAX;
    entry = realloc(*link, sizeof *entry + (*link)->key_size + capacity);
    if (entry == NULL) {
        return 0;
    }
    entry->value_capacity = (uint32_t)capacity;
    due_moved(&store->keys, entry);
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
        store->keys.bytes += end - entry->value_size;
        entry->value_size = (uint32_t)end;
    }
}

int store_write(struct store *store, struct slice key, size_t offset, struct slice bytes,
                size_t *value_size)
{
    uint32_t hash = hash_of(store, key);
    struct entry **link = find_to_change(store, hash, key);
    struct entry *entry = NULL;

    if (link == NULL) {
        entry = insert(store, hash, key, offset + bytes.size);
    } else if (extend(store, link, offset + bytes.size)) {
        entry = *link;
    }
    if (entry == NULL) {
        return STORE_NOMEM;
    }
    overwrite(store, entry, offset, bytes);
    note_change(store, entry, STORE_KEEP_EXPIRY);
    if (value_size != NULL) {
        *value_size = entry->value_size;
    }
    return STORE_OK;
}

int store_delete(struct store *store, struct slice key)
{
    struct entry **link = find_to_change(store, hash_of(store, key), key);

    if (link == NULL) {
        return 0;
    }
    store_remove(store, link);
    return 1;
}

static void retire_table(struct store *store, struct table *table)
{
    if (table != NULL) {
        table->next = store->retired;
        store->retired = table;
    }
}

void store_retire(struct store *store, struct keyspace *keys)
{
    retire_table(store, keys->current);
    retire_table(store, keys->old);
    free(keys->due);
    *keys = (struct keyspace){0};
}

void store_flush(struct store *store)
{
    view_detach(store);
    store_retire(store, &store->keys);
}

void store_replace(struct store *store, struct store *fresh)
{
    store_flush(store);
    store->keys = fresh->keys;
    store->secret = fresh->secret;
    store->clock_ms = fresh->clock_ms;
    store->version = fresh->version;
    if (store->view_number < fresh->view_number) {
        store->view_number = fresh->view_number; /* the next view's is above that of any entry */
    }
    fresh->keys = (struct keyspace){0};
    store_free(fresh);
}

/* ---- Time ---- */

uint64_t store_clock(const struct store *store)
{
    return store->clock_ms;
}

void store_advance(struct store *store, uint64_t now_ms)
{
    if (now_ms >= STORE_TIME_MAX) {
        now_ms = STORE_TIME_MAX - 1;
    }
    if (now_ms > store->clock_ms) {
        store->clock_ms = now_ms;
    }
}

uint64_t store_next_expiry(const struct store *store)
{
    return store->keys.due_count == 0 ? STORE_FOREVER : store->keys.due[0].at_ms;
}

size_t store_remove_overdue(struct store *store, size_t most)
{
    size_t removed = 0;

    while (removed < most && store_next_expiry(store) < store->clock_ms) {
        store_step(store, BUCKETS_PER_CHANGE);
        store_remove(store, store_link_of(store, store->keys.due[0].entry));
        removed++;
    }
    return removed;
}

int store_expire(struct store *store, struct slice key, uint64_t expire_at_ms)
{
    struct entry **link = find_to_change(store, hash_of(store, key), key);

    if (link == NULL) {
        return 0;
    }
    if (is_time(expire_at_ms) && !due_reserve(&store->keys)) {
        return STORE_NOMEM;
    }
    view_keep(store, *link);
    note_change(store, *link, expire_at_ms);
    return 1;
}

/* ---- Walking ---- */

static void visit_bucket(const struct table *table, uint64_t index, entry_visit visit, void *arg)
{
    for (struct entry *e = table->buckets[index & (table->size - 1)]; e != NULL; e = e->next) {
        visit(arg, e);
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
static uint64_t scan_both(const struct keyspace *keys, uint64_t cursor, entry_visit visit,
                          void *arg)
{
    int shrinking = keys->old->size > keys->current->size;
    const struct table *small = shrinking ? keys->current : keys->old;
    const struct table *large = shrinking ? keys->old : keys->current;
    uint64_t small_mask = small->size - 1;
    uint64_t large_mask = large->size - 1;

    visit_bucket(small, cursor, visit, arg);
    do {
        visit_bucket(large, cursor, visit, arg);
        cursor = next_cursor(cursor, large_mask);
    } while ((cursor & (small_mask ^ large_mask)) != 0);
    return cursor;
}

uint64_t keyspace_scan(const struct keyspace *keys, uint64_t cursor, entry_visit visit, void *arg)
{
    if (keys->current == NULL) {
        return 0;
    }
    if (keys->old != NULL) {
        return scan_both(keys, cursor, visit, arg);
    }
    visit_bucket(keys->current, cursor, visit, arg);
    return next_cursor(cursor, keys->current->size - 1);
}

/* A walk for the public: of the keys that exist. */
struct walk {
    const struct store *store;
    store_visit visit;
    void *arg;
};

static void visit_living(void *arg, struct entry *entry)
{
    const struct walk *walk = arg;

    if (!is_overdue(walk->store, entry)) {
        walk->visit(walk->arg, entry_key(entry), entry_value(entry));
    }
}

uint64_t store_scan(const struct store *store, uint64_t cursor, store_visit visit, void *arg)
{
    struct walk walk = {store, visit, arg};

    return keyspace_scan(&store->keys, cursor, visit_living, &walk);
}

static void visit_all(const struct keyspace *keys, entry_visit visit, void *arg)
{
    for (size_t i = 0; keys->current != NULL && i < keys->current->size; i++) {
        visit_bucket(keys->current, i, visit, arg);
    }
    for (size_t i = 0; keys->old != NULL && i < keys->old->size; i++) {
        visit_bucket(keys->old, i, visit, arg);
    }
}

void store_each(const struct store *store, store_visit visit, void *arg)
{
    struct walk walk = {store, visit, arg};

    visit_all(&store->keys, visit_living, &walk);
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
    size_t size = store->keys.current->size;

    return store->keys.old == NULL || position < size ? store->keys.current->buckets[position]
                                                      : store->keys.old->buckets[position - size];
}

/* Keys of a bucket that exist. */
static size_t living_in(const struct store *store, const struct entry *chain)
{
    size_t count = 0;

    for (; chain != NULL; chain = chain->next) {
        count += !is_overdue(store, chain);
    }
    return count;
}

/*
 * A bucket with keys: by trial, which favours none, and after bad luck the next one in the row, so
 * that it always ends. Null where no key exists.
 */
static const struct entry *random_chain(struct store *store)
{
    size_t old_size = store->keys.old != NULL ? store->keys.old->size : 0;
    size_t buckets = store->keys.current->size + old_size;
    size_t position = (size_t)(next_random(store) % buckets);

    for (int i = 0; i < RANDOM_TRIES && bucket_at(store, position) == NULL; i++) {
        position = (size_t)(next_random(store) % buckets);
    }
    for (size_t i = 0; i < buckets; i++) {
        const struct entry *chain = bucket_at(store, (position + i) % buckets);
        if (living_in(store, chain) > 0) {
            return chain;
        }
    }
    return NULL;
}

int store_random_key(struct store *store, struct slice *key)
{
    const struct entry *chain = store->keys.count == 0 ? NULL : random_chain(store);
    size_t living = living_in(store, chain);
    size_t skip = living == 0 ? 0 : (size_t)(next_random(store) % living);

    for (; chain != NULL; chain = chain->next) {
        if (!is_overdue(store, chain) && skip-- == 0) {
            *key = entry_key(chain);
            return 1;
        }
    }
    return 0;
}

/* ---- The digest ---- */

struct digest {
    const struct keyspace *keys;
    uint64_t sum;
};

static void add_to_digest(void *arg, struct entry *entry)
{
    struct digest *digest = arg;

    digest->sum += digest_of_key(entry_key(entry), entry_value(entry), due_of(digest->keys, entry),
                                 entry->version);
}

uint64_t store_digest(const struct store *store)
{
    struct digest digest = {&store->keys, digest_of_state(store->clock_ms, store->version)};

    visit_all(&store->keys, add_to_digest, &digest);
    return digest.sum;
}
