/*
 * A binary heap of events; see queue.h.
 */
#include "queue.h"

#include "arena.h"

#include <stdlib.h>

static int before(const struct event *a, const struct event *b)
{
    return a->time_us != b->time_us ? a->time_us < b->time_us : a->sequence < b->sequence;
}

void queue_add(struct queue *queue, struct event event)
{
    queue->events = vector_grow(queue->events, queue->count, &queue->capacity, sizeof event);
    event.sequence = queue->sequence++;
    size_t hole = queue->count++;
    while (hole > 0 && before(&event, &queue->events[(hole - 1) / 2])) {
        queue->events[hole] = queue->events[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    queue->events[hole] = event;
}

const struct event *queue_peek(const struct queue *queue)
{
    return queue->count == 0 ? NULL : &queue->events[0];
}

struct event queue_take(struct queue *queue)
{
    struct event taken = queue->events[0];
    struct event last = queue->events[--queue->count];
    size_t hole = 0;
    for (;;) {
        size_t child = 2 * hole + 1;
        if (child >= queue->count) {
            break;
        }
        if (child + 1 < queue->count && before(&queue->events[child + 1], &queue->events[child])) {
            child++;
        }
        if (!before(&queue->events[child], &last)) {
            break;
        }
        queue->events[hole] = queue->events[child];
        hole = child;
    }
    queue->events[hole] = last;
    return taken;
}

void queue_clear(struct queue *queue)
{
    queue->count = 0;
    queue->sequence = 0;
}

void queue_free(struct queue *queue)
{
    free(queue->events);
    queue->events = NULL;
    queue->count = 0;
    queue->capacity = 0;
}
