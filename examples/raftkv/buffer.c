/*
 * Slices, integers as text, and the growing buffer.
 *
 * The buffer moves its content to the front before it asks for memory, and grows by doubling, so
 * that adding is linear in the bytes added.
 */
#include "buffer.h"

#include <stdlib.h>
#include <string.h>

#define BUFFER_FIRST_BYTES ((size_t)256)

struct slice slice_of(const char *text)
{
    struct slice slice = {text, strlen(text)};

    return slice;
}

int slice_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int byte_lower(char byte)
{
    unsigned char value = (unsigned char)byte;

    return value >= 'A' && value <= 'Z' ? value - 'A' + 'a' : value;
}

int slice_is(struct slice a, const char *text)
{
    for (size_t i = 0; i < a.size; i++) {
        if (text[i] == '\0' || byte_lower(a.data[i]) != byte_lower(text[i])) {
            return 0;
        }
    }
    return text[a.size] == '\0';
}

/* Adds up decimal digits below a bound; 0 where there is another byte or the bound is passed. */
static int digits_to_magnitude(struct slice digits, uint64_t bound, uint64_t *magnitude)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < digits.size; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9') {
            return 0;
        }
        uint64_t digit = (uint64_t)(digits.data[i] - '0');
        if (sum > (bound - digit) / 10) {
            return 0;
        }
        sum = sum * 10 + digit;
    }
    *magnitude = sum;
    return 1;
}

int slice_to_integer(struct slice text, int64_t *value)
{
    int negative = text.size > 0 && text.data[0] == '-';
    struct slice digits = text;
    uint64_t magnitude;

    if (negative) {
        digits.data++;
        digits.size--;
    }
    if (digits.size == 0 || (digits.data[0] == '0' && text.size > 1)) {
        return 0;
    }
    if (!digits_to_magnitude(digits, (uint64_t)INT64_MAX + (uint64_t)negative, &magnitude)) {
        return 0;
    }
    if (!negative) {
        *value = (int64_t)magnitude;
    } else {
        *value = -(int64_t)(magnitude - 1) - 1; /* -(2^63) has no positive counterpart */
    }
    return 1;
}

size_t integer_to_text(int64_t value, char out[INTEGER_TEXT_MAX])
{
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char reversed[INTEGER_TEXT_MAX];
    size_t count = 0;
    size_t length = 0;

    do {
        reversed[count++] = (char)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude > 0);
    if (value < 0) {
        reversed[count++] = '-';
    }
    while (count > 0) {
        out[length++] = reversed[--count];
    }
    out[length] = '\0';
    return length;
}

uint32_t bytes_u32(const char *bytes)
{
    uint32_t value = 0;

    for (int i = 3; i >= 0; i--) {
        value = value << 8 | (unsigned char)bytes[i];
    }
    return value;
}

uint64_t bytes_u64(const char *bytes)
{
    return (uint64_t)bytes_u32(bytes + 4) << 32 | bytes_u32(bytes);
}

void bytes_put_u32(char *out, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (char)(value >> 8 * i & 0xff);
    }
}

void bytes_put_u64(char *out, uint64_t value)
{
    bytes_put_u32(out, (uint32_t)(value & UINT32_MAX));
    bytes_put_u32(out + 4, (uint32_t)(value >> 32));
}

void buffer_free(struct buffer *buffer)
{
    size_t bytes_max = buffer->bytes_max;

    free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
    buffer->bytes_max = bytes_max;
}

void buffer_clear(struct buffer *buffer)
{
    buffer->start = 0;
    buffer->end = 0;
    buffer->failed = 0;
}

const char *buffer_bytes(const struct buffer *buffer)
{
    return buffer->data == NULL ? "" : buffer->data + buffer->start;
}

size_t buffer_size(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

static void move_to_front(struct buffer *buffer)
{
    if (buffer->start > 0) {
        memmove(buffer->data, buffer->data + buffer->start, buffer_size(buffer));
        buffer->end -= buffer->start;
        buffer->start = 0;
    }
}

static int grow(struct buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity > 0 ? buffer->capacity : BUFFER_FIRST_BYTES;

    while (capacity < needed) {
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
    }
    char *data = realloc(buffer->data, capacity);
    if (data == NULL) {
        return 0;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return 1;
}

/* Is there, or can there be made, room for size more bytes? */
static int make_room(struct buffer *buffer, size_t size)
{
    size_t content = buffer_size(buffer);
    size_t bound = buffer->bytes_max > 0 ? buffer->bytes_max : SIZE_MAX;

    if (buffer->failed || size > bound || content > bound - size) {
        return 0;
    }
    if (size <= buffer->capacity - buffer->end) {
        return 1;
    }
    /* Moving alone is worth it only where it frees at least what it moves; else it repeats soon. */
    int move_pays = content <= buffer->start;
    size_t needed = content + size;
    move_to_front(buffer);
    if (move_pays && needed <= buffer->capacity) {
        return 1;
    }
    return grow(buffer, needed > buffer->capacity ? needed : buffer->capacity + 1);
}

char *buffer_reserve(struct buffer *buffer, size_t size)
{
    if (buffer == NULL) {
        return NULL;
    }
    if (!make_room(buffer, size) || (buffer->data == NULL && !grow(buffer, 1))) {
        buffer->failed = 1;
        return NULL;
    }
    return buffer->data + buffer->end;
}

void buffer_commit(struct buffer *buffer, size_t size)
{
    if (buffer != NULL) {
        buffer->end += size;
    }
}

void buffer_add(struct buffer *buffer, const void *data, size_t size)
{
    char *room = buffer_reserve(buffer, size);

    if (room != NULL && size > 0) {
        memcpy(room, data, size);
        buffer_commit(buffer, size);
    }
}

void buffer_consume(struct buffer *buffer, size_t size)
{
    size_t content = buffer_size(buffer);

    buffer->start += size < content ? size : content;
    if (buffer->start == buffer->end) {
        buffer->start = 0;
        buffer->end = 0;
    }
}
