/*
 * Many groups in one process: polls those that have something to do, and no others.
 *
 * A host of many groups has one log, one transport and one loop for all of them. A turn, with an
 * array of its own records in which each group has a `struct group`:
 *
 *     loop_wait(loop, loop_timeout(groups_deadline(&groups), now))
 *         on_message:    raft_receive(node, message)      of the group that message->group names
 *                        groups_touch(&groups, &record->group)
 *     raft_propose, raft_read, ... on any node, and groups_touch, too
 *     groups_poll(&groups, clock())       persist calls wal_append, send calls transport_send
 *     transport_flush(transport)          one write to each peer, whatever the groups
 *     wal_commit(log)                     one sync, whatever the groups
 *     wal_collect(log, done, ...)         done: raft_persisted, groups_touch
 *
 * So the messages of a turn leave in few frames and its writes share one sync, however many groups
 * they are of. With a thousand groups that are busy a turn costs what they do; a group that waits
 * for a timer costs its place in a heap; one that sleeps (raft_options.quiesce) costs memory alone,
 * since it has no deadline and is in no list.
 *
 * The memory of a sleeping group is the node, this struct, a pointer, and what the host and its log
 * keep of it. Three things make it small: options that ask for nothing that is not needed, entries
 * compacted or read back by read_log, and no buffers of the host's own for groups that are idle.
 *
 * Nobody notices that the leader of a sleeping group has died but the host. When the connection to
 * a server is lost it goes through its groups, once what was lent is flushed: where
 * raft_status.leader is that server it calls raft_unreachable(node, server) and groups_touch, which
 * makes the node campaign at once. Not all servers at the same moment, or the votes are split and a
 * timeout decides: let the host of one member do it first, another one in each group, and the
 * others a timeout later, where the leader is still that server (tests/bench_groups.c does so). The
 * other groups need not be told, and sleep on. A host of many groups spreads their leaders over the
 * servers (raft_transfer, or priorities).
 *
 * Callbacks of a node, which run inside groups_poll, may touch any group, and use other nodes only
 * as far as these are not in the same groups: what such a node lent in this turn is not sent yet.
 * They add and remove no group. One thread at a time.
 */
#ifndef KEELSON_GROUPS_H
#define KEELSON_GROUPS_H

#include <stddef.h>
#include <stdint.h>

#include "../raft.h"

/* One group, inside the host's own record of it. Not the host's to write. */
struct group {
    raft *node;
    uint64_t deadline_ms; /* its key in the heap */
    struct group *next;   /* touched: the next one */
    size_t place;         /* in the heap, from 1; 0: it has no deadline */
    int touched;
};

struct groups {
    struct group **heap; /* by deadline_ms; heap[0] is the earliest */
    size_t heap_count;
    size_t capacity; /* at least count: nothing but groups_add needs memory */
    size_t count;
    struct group *first, *last; /* touched, in that order */
    uint64_t polls;             /* calls of raft_poll, since groups_init */
};

/* None yet. Takes no memory. */
void groups_init(struct groups *groups);

/* Frees the memory, but no node. The groups in it may be added elsewhere afterwards. */
void groups_free(struct groups *groups);

/*
 * Adds a group with its node, which may be started before or after; it counts as touched. The
 * struct stays where it is until groups_remove or groups_free. 0, or -1: no memory.
 */
int groups_add(struct groups *groups, struct group *group, raft *node);

/* Before raft_free. Cost: as many as are touched, and the logarithm of those that wait. */
void groups_remove(struct groups *groups, struct group *group);

/* Something was done to the node: it is polled next time. To be called after every input to it. */
void groups_touch(struct groups *groups, struct group *group);

/*
 * Calls raft_poll once for every group that was touched or is due, those touched first, in the
 * order of touching. The sample is taken after the last input to any of them (R59). What is touched
 * meanwhile, or still has something to do, waits for the next call: groups_deadline is 0 then. A
 * node that fails tells RAFT_EVENT_FATAL, and is not due any more. Returns how many were polled.
 */
size_t groups_poll(struct groups *groups, uint64_t now_ms);

/* When to call groups_poll at the latest: 0 at once, RAFT_NEVER when nothing is due. */
uint64_t groups_deadline(const struct groups *groups);

#endif
