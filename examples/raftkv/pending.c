/* Answers by index. Invariant: items are ascending by (term, index). */
#include "pending.h"

#include <assert.h>
#include <stdlib.h>

enum { CAPACITY_MIN = 256 };

static struct pending_item *item_at(const struct pending *pending, size_t position)
{
    return &pending->items[(pending->first + position) & (pending->capacity - 1)];
}

static void drop_front(struct pending *pending, struct waiter *waiter)
{
    *waiter = item_at(pending, 0)->waiter;
    pending->first = (pending->first + 1) & (pending->capacity - 1);
    pending->count--;
}

void pending_free(struct pending *pending)
{
    free(pending->items);
    *pending = (struct pending){0};
}

int pending_reserve(struct pending *pending, size_t count)
{
    size_t capacity = pending->capacity ? pending->capacity : CAPACITY_MIN;
    struct pending_item *items;

    while (capacity - pending->count < count) {
        if (capacity > SIZE_MAX / 2 / sizeof *items) {
            return -1;
        }
        capacity *= 2;
    }
    if (capacity == pending->capacity) {
        return 0;
    }
    items = malloc(capacity * sizeof *items);
    if (!items) {
        return -1;
    }
    for (size_t i = 0; i < pending->count; i++) {
        items[i] = *item_at(pending, i);
    }
    free(pending->items);
    pending->items = items;
    pending->capacity = capacity;
    pending->first = 0;
    return 0;
}

void pending_add(struct pending *pending, raft_index index, raft_term term,
                 const struct waiter *waiter)
{
    assert(pending->count < pending->capacity);
    if (pending->count > 0) {
        const struct pending_item *last = item_at(pending, pending->count - 1);

        assert(last->term < term || (last->term == term && last->index < index));
    }
    *item_at(pending, pending->count++) = (struct pending_item){index, term, *waiter, PENDING_NONE};
}

enum pending_outcome pending_settle(struct pending *pending, raft_index index, raft_term term,
                                    struct waiter *waiter)
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

enum pending_outcome pending_take_marked(struct pending *pending, struct waiter *waiter)
{
    enum pending_outcome outcome;

    if (pending->count == 0 || item_at(pending, 0)->outcome == PENDING_NONE) {
        return PENDING_NONE;
    }
    outcome = (enum pending_outcome)item_at(pending, 0)->outcome;
    drop_front(pending, waiter);
    return outcome;
}
