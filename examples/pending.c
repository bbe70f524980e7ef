/*
 * Answers by index. Invariants:
 *   1. items are ascending by (term, index);
 *   2. the waiter of the item at items[i] is at waiters[i * waiter_size].
 */
#include "pending.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PENDING_CAPACITY_MIN = 256 };

/* Where the item at a position, counted from the front, is in the ring. */
static size_t place_of(const struct pending *pending, size_t position)
{
    return (pending->first + position) & (pending->capacity - 1);
}

static struct pending_item *item_at(const struct pending *pending, size_t position)
{
    return &pending->items[place_of(pending, position)];
}

static unsigned char *waiter_at(const struct pending *pending, size_t position)
{
    return pending->waiters + place_of(pending, position) * pending->waiter_size;
}

static void drop_front(struct pending *pending, void *waiter)
{
    memcpy(waiter, waiter_at(pending, 0), pending->waiter_size);
    pending->first = place_of(pending, 1);
    pending->count--;
}

void pending_init(struct pending *pending, size_t waiter_size)
{
    assert(waiter_size > 0);
    *pending = (struct pending){.waiter_size = waiter_size};
}

void pending_free(struct pending *pending)
{
    free(pending->items);
    free(pending->waiters);
    *pending = (struct pending){.waiter_size = pending->waiter_size};
}

/* A larger ring, with the front at its beginning. 0, or -1. */
static int grow(struct pending *pending, size_t capacity)
{
    struct pending_item *items = malloc(capacity * sizeof *items);
    unsigned char *waiters = malloc(capacity * pending->waiter_size);

    if (!items || !waiters) {
        free(items);
        free(waiters);
        return -1;
    }
    for (size_t i = 0; i < pending->count; i++) {
        items[i] = *item_at(pending, i);
        memcpy(waiters + i * pending->waiter_size, waiter_at(pending, i), pending->waiter_size);
    }
    free(pending->items);
    free(pending->waiters);
    pending->items = items;
    pending->waiters = waiters;
    pending->capacity = capacity;
    pending->first = 0;
    return 0;
}

int pending_reserve(struct pending *pending, size_t count)
{
    size_t capacity = pending->capacity ? pending->capacity : PENDING_CAPACITY_MIN;
    size_t largest = sizeof(struct pending_item) > pending->waiter_size
                         ? sizeof(struct pending_item)
                         : pending->waiter_size;

    while (capacity - pending->count < count) {
        if (capacity > SIZE_MAX / 2 / largest) {
            return -1;
        }
        capacity *= 2;
    }
    return capacity == pending->capacity ? 0 : grow(pending, capacity);
}

void pending_add(struct pending *pending, raft_index index, raft_term term, const void *waiter)
{
    assert(pending->count < pending->capacity);
    if (pending->count > 0) {
        const struct pending_item *last = item_at(pending, pending->count - 1);

        assert(last->term < term || (last->term == term && last->index < index)); /* 1 */
    }
    pending->count++;
    *item_at(pending, pending->count - 1) = (struct pending_item){index, term, PENDING_NONE};
    memcpy(waiter_at(pending, pending->count - 1), waiter, pending->waiter_size);
}

enum pending_outcome pending_settle(struct pending *pending, raft_index index, raft_term term,
                                    void *waiter)
{
    const struct pending_item *front;

    if (pending->count == 0) {
        return PENDING_NONE;
    }
    front = item_at(pending, 0);
    if (front->term == term && front->index == index) {
        drop_front(pending, waiter);
        return PENDING_APPLIED;
    }
    if (front->term < term) {
        drop_front(pending, waiter);
        return PENDING_DROPPED;
    }
    return PENDING_NONE;
}

void pending_mark(struct pending *pending, raft_index first, raft_index last, raft_term term,
                  enum pending_outcome outcome)
{
    for (size_t i = 0; i < pending->count; i++) {
        struct pending_item *item = item_at(pending, i);

        if (item->term > term) {
            break;
        }
        if (item->term == term && item->index >= first && item->index <= last) {
            item->outcome = (int)outcome;
        }
    }
}

void pending_give_up(struct pending *pending, raft_term term)
{
    for (size_t i = 0; i < pending->count && item_at(pending, i)->term < term; i++) {
        struct pending_item *item = item_at(pending, i);

        if (item->outcome == PENDING_NONE) {
            item->outcome = PENDING_UNKNOWN;
        }
    }
}

enum pending_outcome pending_take_marked(struct pending *pending, void *waiter)
{
    enum pending_outcome outcome;

    if (pending->count == 0 || item_at(pending, 0)->outcome == PENDING_NONE) {
        return PENDING_NONE;
    }
    outcome = (enum pending_outcome)item_at(pending, 0)->outcome;
    drop_front(pending, waiter);
    return outcome;
}
