/*
 * Memory of one run; see arena.h.
 */
#include "arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)1 << 20)

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    unsigned char bytes[];
};

static void *must(void *memory)
{
    if (memory == NULL) {
        fputs("sim: out of memory\n", stderr);
        abort();
    }
    return memory;
}

void *must_copy(const void *data, size_t size)
{
    void *memory = must(malloc(size > 0 ? size : 1));
    if (size > 0) {
        memcpy(memory, data, size);
    }
    return memory;
}

static struct arena_chunk *chunk_new(size_t size)
{
    struct arena_chunk *chunk = must(malloc(sizeof *chunk + size));
    chunk->next = NULL;
    chunk->size = size;
    return chunk;
}

/* The next chunk that holds `size`: an old one where it fits, or a new one in its place. */
static void next_chunk(struct arena *arena, size_t size)
{
    struct arena_chunk **link = arena->current == NULL ? &arena->first : &arena->current->next;
    if (*link == NULL || (*link)->size < size) {
        struct arena_chunk *chunk = chunk_new(size > CHUNK_BYTES ? size : CHUNK_BYTES);
        chunk->next = *link;
        *link = chunk;
    }
    arena->current = *link;
    arena->used = 0;
}

void *arena_take(struct arena *arena, size_t size)
{
    size = (size + 7) & ~(size_t)7;
    if (arena->current == NULL || arena->current->size - arena->used < size) {
        next_chunk(arena, size);
    }
    void *memory = arena->current->bytes + arena->used;
    arena->used += size;
    return memory;
}

void *arena_copy(struct arena *arena, const void *data, size_t size)
{
    void *memory = arena_take(arena, size);
    if (size > 0) {
        memcpy(memory, data, size);
    }
    return memory;
}

void arena_reset(struct arena *arena)
{
    arena->current = NULL;
    arena->used = 0;
}

void arena_free(struct arena *arena)
{
    while (arena->first != NULL) {
        struct arena_chunk *chunk = arena->first;
        arena->first = chunk->next;
        free(chunk);
    }
    arena_reset(arena);
}

void *vector_grow(void *data, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return data;
    }
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    return must(realloc(data, *capacity * size));
}
