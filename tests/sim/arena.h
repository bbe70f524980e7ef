/*
 * Memory of one run: taken piece by piece, given back all at once, kept for the next run.
 */
#ifndef SIM_ARENA_H
#define SIM_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *first;
    struct arena_chunk *current;
    size_t used; /* of the current chunk */
};

/* Eight-byte aligned memory that lives until arena_reset. Ends the program if there is none. */
void *arena_take(struct arena *arena, size_t size);

/* arena_take and memcpy. */
void *arena_copy(struct arena *arena, const void *data, size_t size);

/* Everything taken is gone; the chunks stay. */
void arena_reset(struct arena *arena);

void arena_free(struct arena *arena);

/* Memory of exactly this size with that content, to be given to free. Ends the program likewise. */
void *must_copy(const void *data, size_t size);

/* realloc for vectors that grow by doubling: room for one more of `size` bytes. Ends the program
 * if there is no memory. */
void *vector_grow(void *data, size_t count, size_t *capacity, size_t size);

#endif
