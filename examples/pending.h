/*
 * Proposals that were made here and have no answer yet: who waits for which entry.
 *
 *     pending_init(&pending, sizeof(struct waiter));       a waiter is whatever the host needs
 *
 *     to propose:        pending_reserve(&pending, 1)      first: afterwards there is no way back
 *                        raft_propose(node, ..., &index, &term)
 *                        pending_add(&pending, index, term, &waiter)
 *     for every entry applied, no-ops included:
 *                        while ((outcome = pending_settle(&pending, index, term, &waiter)))
 *                            answer the waiter
 *     at RAFT_EVENT_DROPPED:
 *                        pending_mark(&pending, first, last, term, outcome by the event's status)
 *     after raft_poll:   while ((outcome = pending_take_marked(&pending, &waiter)))
 *                            answer the waiter
 *     before raft_free:  pending_give_up(&pending, RAFT_NEVER), and the same loop
 *
 * Done so, every proposal that the engine took gets exactly one answer (I29), and an answer says no
 * more than is known: what was cut from this server's log is not dropped, since another server may
 * still hold it and lead (R62). A host that keeps clients waiting no longer than it likes calls
 * pending_give_up earlier: they are told "unknown", and a late outcome finds nobody.
 *
 * A ring in the order of proposing, which is ascending by (term, index): a server proposes in one
 * term after the other, and in each with rising indexes. Its items leave from the front alone, so
 * that every client gets its answers in the order of its requests; an item that was marked waits
 * for those before it. Used by one thread at a time. The cost is constant for each item, but for
 * pending_mark and pending_give_up, which walk what is held.
 */
#ifndef KEELSON_PENDING_H
#define KEELSON_PENDING_H

#include <stddef.h>

#include "../raft.h"

enum pending_outcome {
    PENDING_NONE,    /* nothing more to settle */
    PENDING_APPLIED, /* the entry that is being applied is the one waited for */
    PENDING_DROPPED, /* it was not and never will be applied */
    PENDING_UNKNOWN  /* it may or may not be applied */
};

struct pending_item {
    raft_index index;
    raft_term term;
    int outcome; /* PENDING_NONE while it waits */
};

struct pending {
    struct pending_item *items;
    unsigned char *waiters; /* waiter_size bytes beside each item */
    size_t waiter_size;
    size_t capacity; /* a power of two, or 0 */
    size_t first;
    size_t count; /* how many wait */
};

/* An empty table of waiters of waiter_size bytes, which are copied in and out. Takes no memory. */
void pending_init(struct pending *pending, size_t waiter_size);

/*
 * Frees the memory; what is held then gets no answer. It is empty afterwards and can be used. One
 * that is zero-filled may be freed too.
 */
void pending_free(struct pending *pending);

/* Makes room for `count` more: 0, or -1 where memory fails and nothing has changed. */
int pending_reserve(struct pending *pending, size_t count);

/*
 * Adds one that was proposed after all that are held. There is room: pending_reserve was called
 * before the proposal. Borrows the waiter and copies it.
 */
void pending_add(struct pending *pending, raft_index index, raft_term term, const void *waiter);

/*
 * To be called, until it returns PENDING_NONE, for every entry that is applied, no-ops included.
 * Takes the front item off when the entry decides it, and copies its waiter out: PENDING_APPLIED
 * for the entry itself, PENDING_DROPPED for a proposal of an earlier term. (Such an item has an
 * index not below this one's, or it would have been settled before; and no entry of an earlier term
 * can follow this one in the log.)
 */
enum pending_outcome pending_settle(struct pending *pending, raft_index index, raft_term term,
                                    void *waiter);

/* Notes what RAFT_EVENT_DROPPED says of the proposals first..last made in term. */
void pending_mark(struct pending *pending, raft_index first, raft_index last, raft_term term,
                  enum pending_outcome outcome);

/* Notes that all that were made before term will not be waited for any longer: PENDING_UNKNOWN. */
void pending_give_up(struct pending *pending, raft_term term);

/* Takes the front item off if it was marked, and returns its outcome; else PENDING_NONE. */
enum pending_outcome pending_take_marked(struct pending *pending, void *waiter);

#endif
