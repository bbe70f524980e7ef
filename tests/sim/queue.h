/*
 * The events to come, ordered by time and, at the same time, by the order in which they were added.
 */
#ifndef SIM_QUEUE_H
#define SIM_QUEUE_H

#include <stddef.h>
#include <stdint.h>

struct event {
    uint64_t time_us;
    uint64_t sequence;
    int kind;
    int node;             /* position of the node it is for */
    uint64_t incarnation; /* of that node; an event for an earlier one is void */
    uint64_t value;
    void *data;
};

struct queue {
    struct event *events; /* a binary heap */
    size_t count;
    size_t capacity;
    uint64_t sequence;
};

void queue_add(struct queue *queue, struct event event);

/* The next event, or null; valid until the queue changes. */
const struct event *queue_peek(const struct queue *queue);

/* Takes the next event off a queue that is not empty. */
struct event queue_take(struct queue *queue);

void queue_clear(struct queue *queue);
void queue_free(struct queue *queue);

#endif
