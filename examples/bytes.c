#include "bytes.h"

#include <stdlib.h>
#include <string.h>

size_t bytes_held(const struct bytes *b)
{
    return b->tail - b->head;
}

void bytes_take(struct bytes *b, size_t size)
{
    b->head += size;
    if (b->head == b->tail) {
        b->head = b->tail = 0;
    }
}

void bytes_compact(struct bytes *b)
{
    if (b->head) {
        memmove(b->data, b->data + b->head, bytes_held(b));
        b->tail -= b->head;
        b->head = 0;
    }
}

int bytes_resize(struct bytes *b, size_t capacity)
{
    uint8_t *data = realloc(b->data, capacity);
    if (!data) {
        return 0;
    }
    b->data = data;
    b->capacity = capacity;
    return 1;
}

int bytes_reserve(struct bytes *b, size_t size)
{
    if (b->capacity - b->tail >= size) {
        return 1;
    }
    size_t capacity = b->capacity ? b->capacity : 4096;
    if (b->head < bytes_held(b)) {
        capacity *= 2;
    }
    bytes_compact(b);
    while (capacity - b->tail < size) {
        capacity *= 2;
    }
    return capacity == b->capacity || bytes_resize(b, capacity);
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}
