/*
 * A buffer of bytes that grows at its tail and is consumed at its head.
 */
#ifndef KEELSON_BYTES_H
#define KEELSON_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
    uint8_t *data;
    size_t head, tail, capacity; /* held are the bytes [head, tail) */
};

size_t bytes_held(const struct bytes *bytes);

/* Takes bytes off the head. */
void bytes_take(struct bytes *bytes, size_t size);

/* Moves what is held to the beginning. */
void bytes_compact(struct bytes *bytes);

/* Changes the capacity, which is not below the tail. 0 where there is no memory for it. */
int bytes_resize(struct bytes *bytes, size_t capacity);

/*
 * Room for size more bytes at the tail; 0 where there is no memory for it. Moves the bytes only
 * where at least as many were taken, or into twice the room, so that a long queue that drains
 * slowly is not moved again and again. The capacity stays below four times what is held at most.
 */
int bytes_reserve(struct bytes *bytes, size_t size);

void bytes_free(struct bytes *bytes);

#endif
