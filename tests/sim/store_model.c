/*
 * Storage as a model: a table of what is durable, and the writes that are not durable yet. A crash
 * keeps a random beginning of the latter, in whose last write a random end of the sequence "state,
 * metadata, truncation, entries" is missing (R4).
 *
 * What a snapshot covers is trimmed, and then the table begins behind `base`.
 *
 * The bytes of entries are read when a write becomes durable, not when it is given, and have to be
 * the same then.
 */
#include "store.h"

#include "arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct model_entry {
    raft_term term;
    size_t size;         /* encoded */
    const uint8_t *data; /* in the arena */
    int rotten;          /* its checksum does not fit any more */
};

struct model_write {
    raft_write write;
    raft_range *ranges;
    uint8_t *meta;
    uint64_t lent_hash; /* of what the ranges lend */
};

struct model {
    struct store store;
    struct arena *arena;
    int has_state;
    raft_hard_state state;
    const uint8_t *meta;
    size_t meta_size;
    raft_index meta_index; /* of the snapshot that meta describes; founding: 0 */
    raft_index base;       /* the entry in front of the first of the table */
    struct model_entry *entries;
    size_t entry_count;
    size_t entry_capacity;
    struct model_write pending[RAFT_WRITES_MAX + 1];
    size_t pending_count;
    int failing; /* the next sync fails */
    int state_rotten;
};

static struct model *model_of(struct store *store)
{
    return (struct model *)store;
}

static uint64_t hash_ranges(const raft_write *write)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < write->range_count; i++) {
        hash = hash_bytes(hash, write->ranges[i].data, write->ranges[i].size);
    }
    return hash;
}

static int model_write(struct store *store, const raft_write *write)
{
    struct model *model = model_of(store);
    if (model->pending_count == RAFT_WRITES_MAX + 1) {
        return RAFT_ESTORAGE;
    }
    struct model_write *pending = &model->pending[model->pending_count++];
    pending->write = *write;
    pending->ranges =
        arena_copy(model->arena, write->ranges, write->range_count * sizeof(raft_range));
    pending->write.ranges = pending->ranges;
    pending->meta =
        write->meta == NULL ? NULL : arena_copy(model->arena, write->meta, write->meta_size);
    pending->lent_hash = hash_ranges(write);
    return RAFT_PENDING;
}

/* Every write that is outstanding still has its bytes. */
static void check_lent(struct model *model)
{
    for (size_t i = 0; i < model->pending_count; i++) {
        const struct model_write *pending = &model->pending[i];
        if (hash_ranges(&pending->write) != pending->lent_hash) {
            model->store.lent_changed = 1;
        }
    }
}

static void store_entries(struct model *model, const raft_range *lent, size_t *steps)
{
    raft_range range = *lent;
    const uint8_t *bytes = arena_copy(model->arena, lent->data, lent->size);
    raft_entry entry;
    range.data = bytes;
    if (*steps > 0 && model->entry_count == 0 && range.first > model->base + 1) {
        model->base = range.first - 1; /* an empty log begins where a snapshot of the host's ends */
    }
    while (*steps > 0 && raft_range_next(&range, &entry)) {
        size_t size = raft_entry_size(entry.size);
        model->entries = vector_grow(model->entries, model->entry_count, &model->entry_capacity,
                                     sizeof *model->entries);
        model->entries[model->entry_count++] = (struct model_entry){entry.term, size, bytes, 0};
        bytes += size;
        --*steps;
    }
}

static void cut(struct model *model, raft_index from)
{
    if (from <= model->base) {
        model->entry_count = 0;
        model->base = from - 1;
    } else if (from - model->base <= model->entry_count) {
        model->entry_count = (size_t)(from - model->base - 1);
    }
}

/* Stores a write as far as this many steps go: state, metadata, truncation, each entry. */
static void store_steps(struct model *model, const struct model_write *pending, size_t steps)
{
    const raft_write *write = &pending->write;
    if (steps > 0 && write->has_state) {
        model->has_state = 1;
        model->state = write->state;
        steps--;
    }
    if (steps > 0 && write->meta != NULL) {
        model->meta = pending->meta;
        model->meta_size = write->meta_size;
        model->meta_index = write->base_index;
        model->base = write->base_index;
        model->entry_count = 0; /* one step: the log goes as the metadata comes */
        steps--;
    }
    if (steps > 0 && write->truncate_from != 0) {
        cut(model, write->truncate_from);
        steps--;
    }
    for (size_t i = 0; i < write->range_count; i++) {
        store_entries(model, &pending->ranges[i], &steps);
    }
}

static size_t steps_of(const struct model_write *pending)
{
    const raft_write *write = &pending->write;
    size_t steps = write->has_state ? 1 : 0;
    steps += write->meta != NULL ? 1 : 0;
    steps += write->truncate_from != 0 ? 1 : 0;
    for (size_t i = 0; i < write->range_count; i++) {
        steps += write->ranges[i].count;
    }
    return steps;
}

static void forget_pending(struct model *model, size_t count)
{
    model->pending_count -= count;
    memmove(model->pending, model->pending + count,
            model->pending_count * sizeof model->pending[0]);
}

static void model_power_off(struct store *store)
{
    struct model *model = model_of(store);
    size_t kept = (size_t)rng_below(&store->rng, model->pending_count + 1);
    check_lent(model);
    for (size_t i = 0; i < kept; i++) {
        store_steps(model, &model->pending[i], SIZE_MAX);
    }
    if (kept < model->pending_count) {
        size_t steps = (size_t)rng_below(&store->rng, steps_of(&model->pending[kept]));
        store_steps(model, &model->pending[kept], steps);
        COUNT_ADD(store->counters, writes_torn, steps > 0);
        COUNT_ADD(store->counters, writes_lost, model->pending_count - kept);
    }
    model->pending_count = 0;
    model->failing = 0;
}

static int model_sync(struct store *store, uint64_t seq)
{
    struct model *model = model_of(store);
    size_t done = 0;
    check_lent(model);
    if (model->failing) {
        model_power_off(store);
        return RAFT_ESTORAGE;
    }
    while (done < model->pending_count && model->pending[done].write.seq <= seq) {
        store_steps(model, &model->pending[done++], SIZE_MAX);
    }
    forget_pending(model, done);
    return RAFT_OK;
}

static void model_plant(struct store *store, int crash)
{
    if (!crash) {
        model_of(store)->failing = 1;
    }
}

static void model_mend(struct store *store)
{
    model_of(store)->failing = 0;
}

static int model_is_off(const struct store *store)
{
    (void)store;
    return 0;
}

/* Entries of one term that follow each other, from the first, in one stretch of bytes. */
static size_t gather(struct model *model, size_t first, size_t limit, raft_range *range)
{
    size_t count = 0;
    size_t size = 0;
    while (count < limit && first + count < model->entry_count &&
           model->entries[first + count].term == model->entries[first].term) {
        size += model->entries[first + count++].size;
    }
    uint8_t *bytes = arena_take(model->arena, size);
    *range = (raft_range){model->base + first + 1, model->entries[first].term, count, size, bytes};
    for (size_t i = first; i < first + count; i++) {
        memcpy(bytes, model->entries[i].data, model->entries[i].size);
        bytes += model->entries[i].size;
    }
    return count;
}

/* All entries as ranges of one write. */
static raft_range *gather_all(struct model *model, size_t *count)
{
    raft_range *ranges = arena_take(model->arena, model->entry_count * sizeof *ranges);
    size_t next = 0;
    *count = 0;
    while (next < model->entry_count) {
        next += gather(model, next, SIZE_MAX, &ranges[(*count)++]);
    }
    return ranges;
}

/* As a host does that keeps tables: one write that begins with the newest snapshot. */
static int restore_table(struct model *model, store_replay *replay, void *ctx)
{
    raft_write write;
    memset(&write, 0, sizeof write);
    write.has_state = model->has_state;
    write.state = model->state;
    write.meta = model->store.newest.data;
    write.meta_size = model->store.newest.size;
    write.ranges = gather_all(model, &write.range_count);
    return replay(ctx, &write);
}

static int restore_entries(struct model *model, store_replay *replay, void *ctx)
{
    size_t next = 0;
    while (next < model->entry_count) {
        raft_range range;
        raft_write write;
        size_t limit = rng_chance(&model->store.rng, 500000)
                           ? SIZE_MAX
                           : (size_t)rng_between(&model->store.rng, 1, 64);
        next += gather(model, next, limit, &range);
        memset(&write, 0, sizeof write);
        write.ranges = &range;
        write.range_count = 1;
        int result = replay(ctx, &write);
        if (result != RAFT_OK) {
            return result;
        }
    }
    return RAFT_OK;
}

/* R61: what was confirmed is damaged, and nothing says what it was. */
static int is_rotten(const struct model *model)
{
    int rotten = model->state_rotten;
    for (size_t i = 0; i < model->entry_count; i++) {
        rotten |= model->entries[i].rotten;
    }
    return rotten;
}

/*
 * A torn first write can leave a hard state without the founding metadata. It was never confirmed,
 * so nothing depends on it: nothing counts as stored.
 */
static int model_restore(struct store *store, store_replay *replay, void *ctx)
{
    struct model *model = model_of(store);
    raft_write write;
    if (is_rotten(model)) {
        snprintf(store->error, sizeof store->error, "a checksum does not fit");
        return RAFT_ECORRUPT;
    }
    if (model->meta == NULL && !store->joins) {
        model->has_state = 0;
        model->entry_count = 0;
        return RAFT_OK;
    }
    memset(&write, 0, sizeof write);
    if (!model->has_state) {
        return RAFT_OK;
    }
    if (store->newest.size != 0 && store->newest_index > model->meta_index &&
        store->newest_index <= model->base + model->entry_count &&
        rng_chance(&store->rng, 500000)) {
        return restore_table(model, replay, ctx);
    }
    write.has_state = model->has_state;
    write.state = model->state;
    write.meta = model->meta;
    write.meta_size = model->meta_size;
    int result = replay(ctx, &write);
    return result == RAFT_OK ? restore_entries(model, replay, ctx) : result;
}

/* What is trimmed and not durable yet has not come so far, and goes with a later trim. */
static void model_trim(struct store *store, raft_index snapshot, raft_index first)
{
    struct model *model = model_of(store);
    raft_index end = model->base + model->entry_count;
    raft_index to = first <= snapshot + 1 ? first : snapshot + 1;
    if (to <= model->base + 1) {
        return;
    }
    size_t gone = (size_t)((to - 1 < end ? to - 1 : end) - model->base);
    model->entry_count -= gone;
    model->base += gone;
    memmove(model->entries, model->entries + gone, model->entry_count * sizeof *model->entries);
}

static int model_read(struct store *store, raft_fetch *fetch)
{
    struct model *model = model_of(store);
    uint8_t *out = fetch->data;
    fetch->count = 0;
    fetch->size = 0;
    if (fetch->first <= model->base) {
        return RAFT_ESTATE;
    }
    for (raft_index i = fetch->first - model->base - 1;
         i < model->entry_count && model->base + i < fetch->last; i++) {
        const struct model_entry *entry = &model->entries[i];
        if (entry->rotten) {
            return fetch->count > 0 ? RAFT_OK : RAFT_ECORRUPT;
        }
        if (entry->term != fetch->term || fetch->size + entry->size > fetch->capacity) {
            if (fetch->count == 0 && entry->term == fetch->term) {
                fetch->size = entry->size;
                return RAFT_ESIZE;
            }
            break;
        }
        memcpy(out + fetch->size, entry->data, entry->size);
        fetch->size += entry->size;
        fetch->count++;
    }
    return fetch->count > 0 ? RAFT_OK : RAFT_ESTATE;
}

static void model_wipe(struct store *store)
{
    struct model *model = model_of(store);
    model->has_state = 0;
    model->meta = NULL;
    model->meta_size = 0;
    model->meta_index = 0;
    model->base = 0;
    model->entry_count = 0;
    model->pending_count = 0;
    model->failing = 0;
    model->state_rotten = 0;
    store->joins = 1;
}

/* A few entries in a row, or the term and the vote. */
static int model_rot(struct store *store, raft_index index)
{
    struct model *model = model_of(store);
    size_t first = (size_t)rng_below(&store->rng, model->entry_count);
    size_t count = (size_t)rng_between(&store->rng, 1, 8);
    if (!model->has_state || (index != 0 && index <= model->base)) {
        return 0;
    }
    first = index != 0 ? (size_t)(index - model->base - 1) : first;
    if (model->entry_count == 0 || (index == 0 && rng_chance(&store->rng, 200000))) {
        model->state_rotten = 1;
        return 1;
    }
    for (size_t i = first; i < model->entry_count && i < first + count; i++) {
        model->entries[i].rotten = 1;
    }
    return first < model->entry_count;
}

static void model_free(struct store *store)
{
    free(model_of(store)->entries);
    free(store);
}

static const struct store_kind model_kind = {
    model_write,   model_sync, model_power_off, model_plant, model_mend, model_is_off,
    model_restore, model_trim, model_read,      model_wipe,  model_rot,  model_free};

struct store *store_model_new(struct arena *arena, struct rng rng, struct counters *counters)
{
    struct model *model = calloc(1, sizeof *model);
    if (model == NULL) {
        abort();
    }
    model->store.kind = &model_kind;
    model->store.rng = rng;
    model->store.counters = counters;
    model->arena = arena;
    return &model->store;
}
