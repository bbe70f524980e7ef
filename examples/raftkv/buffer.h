/*
 * The two shapes of bytes in raftkv: a slice that somebody else owns, and a buffer that grows.
 *
 * A buffer's failure is sticky: once memory or its bound is exhausted it takes no more bytes, and
 * `failed` says so, so that a writer of many small pieces checks once, at the end. Every function
 * that adds to a buffer accepts a null buffer and then does nothing: replicas that have nobody to
 * answer execute the same code as the one that has.
 */
#ifndef RAFTKV_BUFFER_H
#define RAFTKV_BUFFER_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that are borrowed; any value may occur in them. data may be null where size is 0. */
struct slice {
    const char *data;
    size_t size;
};

/* The slice of a zero-terminated string, without the zero. */
struct slice slice_of(const char *text);

/* A byte as a number, ASCII capitals as small letters. */
int byte_lower(char byte);

/* Same bytes? The second form takes ASCII letters of either case as equal, and a C string. */
int slice_equal(struct slice a, struct slice b);
int slice_is(struct slice a, const char *text);

/*
 * Reads a whole slice as a decimal integer in its one canonical spelling: no space, no plus sign,
 * no leading zero, no "-0". Returns 1 and sets *value, or returns 0.
 */
int slice_to_integer(struct slice text, int64_t *value);

#define INTEGER_TEXT_MAX 21u

/* Writes value in decimal, ended by a zero byte; returns the length without it. */
size_t integer_to_text(int64_t value, char out[INTEGER_TEXT_MAX]);

/* Numbers as little-endian bytes. */
uint32_t bytes_u32(const char *bytes);
uint64_t bytes_u64(const char *bytes);
void bytes_put_u32(char *out, uint32_t value);
void bytes_put_u64(char *out, uint64_t value);

/*
 * A growing queue of bytes: added at the end, taken from the front. Zero-filled it is empty and
 * ready. The content is data[start..end).
 */
struct buffer {
    char *data;
    size_t start;
    size_t end;
    size_t capacity;
    size_t bytes_max; /* content never exceeds this; 0: no bound. Set by the owner */
    int failed;       /* something could not be added; what is there is incomplete */
};

/* Frees the memory and leaves an empty buffer; bytes_max stays. */
void buffer_free(struct buffer *buffer);

/* Empties the buffer and forgets a failure; keeps the memory. */
void buffer_clear(struct buffer *buffer);

/* The content. The pointer is valid until the buffer is next added to, reserved or freed. */
const char *buffer_bytes(const struct buffer *buffer);
size_t buffer_size(const struct buffer *buffer);

/*
 * Room for `size` more bytes at the end, uninitialised: write into it, then call buffer_commit with
 * what was written. Null, with the buffer marked failed, where memory or bytes_max does not allow
 * it.
 */
char *buffer_reserve(struct buffer *buffer, size_t size);
void buffer_commit(struct buffer *buffer, size_t size);

/* Copies bytes to the end. */
void buffer_add(struct buffer *buffer, const void *data, size_t size);

/* Drops `size` bytes, at most all, from the front. */
void buffer_consume(struct buffer *buffer, size_t size);

#endif
