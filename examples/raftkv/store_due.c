/*
 * A binary heap of the keys that expire.
 *
 * Invariants
 *  - due[p].entry->due_place is p + 1, and every entry with a due_place is there.
 *  - No item is greater than those below it, by (at_ms, version). Versions are unique, so the order
 *    is total, and the same in every store of this content: what expires first, where not all can
 *    be removed at once, is part of replicated state.
 */
#include <stdlib.h>

#include "store_internal.h"

#define DUE_MIN ((size_t)16)

static int is_before(const struct due *a, const struct due *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->entry->version < b->entry->version;
}

static void put_at(struct keyspace *keys, size_t place, struct due item)
{
    keys->due[place] = item;
    item.entry->due_place = (uint32_t)place + 1;
}

static void sift_up(struct keyspace *keys, size_t place)
{
    struct due item = keys->due[place];

    while (place > 0 && is_before(&item, &keys->due[(place - 1) / 2])) {
        put_at(keys, place, keys->due[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put_at(keys, place, item);
}

static void sift_down(struct keyspace *keys, size_t place)
{
    struct due item = keys->due[place];
    size_t child;

    while ((child = 2 * place + 1) < keys->due_count) {
        if (child + 1 < keys->due_count && is_before(&keys->due[child + 1], &keys->due[child])) {
            child++;
        }
        if (!is_before(&keys->due[child], &item)) {
            break;
        }
        put_at(keys, place, keys->due[child]);
        place = child;
    }
    put_at(keys, place, item);
}

static int resize(struct keyspace *keys, size_t capacity)
{
    struct due *due = realloc(keys->due, capacity * sizeof *due);

    if (due == NULL) {
        return 0;
    }
    keys->due = due;
    keys->due_capacity = capacity;
    return 1;
}

int due_reserve(struct keyspace *keys)
{
    size_t capacity = keys->due_capacity == 0 ? DUE_MIN : 2 * keys->due_capacity;

    if (keys->due_count < keys->due_capacity) {
        return 1;
    }
    return capacity <= UINT32_MAX && capacity <= SIZE_MAX / sizeof *keys->due &&
           resize(keys, capacity);
}

void due_set(struct keyspace *keys, struct entry *entry, uint64_t at_ms)
{
    struct due item = {at_ms, entry};

    if (entry->due_place == 0) {
        put_at(keys, keys->due_count++, item);
    } else {
        put_at(keys, entry->due_place - 1, item);
    }
    sift_up(keys, entry->due_place - 1);
    sift_down(keys, entry->due_place - 1);
}

uint64_t due_of(const struct keyspace *keys, const struct entry *entry)
{
    return entry->due_place == 0 ? STORE_FOREVER : keys->due[entry->due_place - 1].at_ms;
}

void due_remove(struct keyspace *keys, struct entry *entry)
{
    size_t place = entry->due_place;

    if (place == 0) {
        return;
    }
    entry->due_place = 0;
    keys->due_count--;
    if (--place < keys->due_count) {
        put_at(keys, place, keys->due[keys->due_count]);
        sift_up(keys, place);
        sift_down(keys, place);
    }
    if (keys->due_capacity > DUE_MIN && keys->due_count < keys->due_capacity / 4) {
        (void)resize(keys, keys->due_capacity / 2); /* where that fails, it stays as large */
    }
}

void due_moved(struct keyspace *keys, struct entry *entry)
{
    if (entry->due_place != 0) {
        keys->due[entry->due_place - 1].entry = entry;
    }
}
