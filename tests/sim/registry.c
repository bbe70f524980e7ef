/*
 * A hash table of entries; see registry.h.
 */
#include "registry.h"

#include "random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY ((size_t)1 << 12)

uint64_t entry_content(const raft_entry *entry)
{
    return hash_bytes((uint64_t)entry->kind, entry->data, entry->size) | 1;
}

uint64_t entry_chain(uint64_t previous_chain, raft_term term, uint64_t content)
{
    return hash_join(hash_join(previous_chain, term), content) | 1;
}

static size_t place_of(const struct registry *registry, raft_index index, raft_term term)
{
    size_t place = (size_t)hash_join(index, term) & (registry->capacity - 1);
    while (registry->table[place].index != 0 &&
           (registry->table[place].index != index || registry->table[place].term != term)) {
        place = (place + 1) & (registry->capacity - 1);
    }
    return place;
}

struct registry_entry *registry_find(const struct registry *registry, raft_index index,
                                     raft_term term)
{
    if (registry->count == 0 || index == 0) {
        return NULL;
    }
    struct registry_entry *entry = &registry->table[place_of(registry, index, term)];
    return entry->index == 0 ? NULL : entry;
}

static void grow(struct registry *registry)
{
    struct registry old = *registry;
    registry->capacity = old.capacity == 0 ? FIRST_CAPACITY : old.capacity * 2;
    registry->table = calloc(registry->capacity, sizeof *registry->table);
    if (registry->table == NULL) {
        fputs("sim: out of memory\n", stderr);
        abort();
    }
    for (size_t i = 0; i < old.capacity; i++) {
        const struct registry_entry *entry = &old.table[i];
        if (entry->index != 0) {
            registry->table[place_of(registry, entry->index, entry->term)] = *entry;
        }
    }
    free(old.table);
}

struct registry_entry *registry_add(struct registry *registry, raft_index index, raft_term term,
                                    uint64_t content)
{
    if (registry->count * 2 >= registry->capacity) {
        grow(registry);
    }
    struct registry_entry *entry = &registry->table[place_of(registry, index, term)];
    memset(entry, 0, sizeof *entry);
    entry->index = index;
    entry->term = term;
    entry->content = content;
    entry->proposer = NOBODY;
    registry->count++;
    return entry;
}

void registry_clear(struct registry *registry)
{
    if (registry->count > 0) {
        memset(registry->table, 0, registry->capacity * sizeof *registry->table);
        registry->count = 0;
    }
}

void registry_free(struct registry *registry)
{
    free(registry->table);
    registry->table = NULL;
    registry->capacity = 0;
    registry->count = 0;
}
