/*
 * Writes that were proposed here and have no answer yet: who waits for which entry.
 *
 * A ring in the order of proposing, which is ascending by (term, index): a server proposes in one
 * term after the other, and in each with rising indexes. Its items leave from the front alone, so
 * that every client gets its answers in the order of its requests.
 */
#ifndef RAFTKV_PENDING_H
#define RAFTKV_PENDING_H

#include <stddef.h>
#include <stdint.h>

#include "raft.h"

/* A request of a client, by names that outlive the client. */
struct waiter {
    uint32_t slot;       /* place in the table of clients */
    uint32_t generation; /* tells it from another client at that place */
    uint64_t number;     /* of the request, counted by the client */
};

enum pending_outcome {
    PENDING_NONE,    /* nothing more to settle */
    PENDING_APPLIED, /* the entry that is being applied is the one waited for */
    PENDING_DROPPED, /* it was not and never will be applied */
    PENDING_UNKNOWN  /* it may or may not be applied */
};

struct pending_item {
    raft_index index;
    raft_term term;
    struct waiter waiter;
    int outcome; /* PENDING_NONE while it waits */
};

/* Zero-filled it is empty and ready. */
struct pending {
    struct pending_item *items;
    size_t capacity; /* a power of two, or 0 */
    size_t first;
    size_t count;
};

void pending_free(struct pending *pending);

/* Makes room for `count` more: 0, or -1 where memory fails and nothing has changed. */
int pending_reserve(struct pending *pending, size_t count);

/*
 * Adds one that was proposed after all that are held. There is room: pending_reserve was called
 * before the proposal, since after it there is no way back.
 */
void pending_add(struct pending *pending, raft_index index, raft_term term,
                 const struct waiter *waiter);

/*
 * To be called, until it returns PENDING_NONE, for every entry that is applied, no-ops included.
 * Takes the front item off when the entry decides it: PENDING_APPLIED for the entry itself,
 * PENDING_DROPPED for a proposal of an earlier term. (Such an item has an index not below this
 * one's, or it would have been settled before; and no entry of an earlier term can follow this one
 * in the log.)
 */
enum pending_outcome pending_settle(struct pending *pending, raft_index index, raft_term term,
                                    struct waiter *waiter);

/* Notes what RAFT_EVENT_DROPPED says of the proposals first..last made in term. */
void pending_mark(struct pending *pending, raft_index first, raft_index last, raft_term term,
                  enum pending_outcome outcome);

/* Notes that all that were made before term will not be waited for any longer: PENDING_UNKNOWN. */
void pending_give_up(struct pending *pending, raft_term term);

/* Takes the front item off if it was marked, and returns its outcome; else PENDING_NONE. */
enum pending_outcome pending_take_marked(struct pending *pending, struct waiter *waiter);

#endif
