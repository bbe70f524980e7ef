/*
 * A node in a loop, with its log in files and its messages over TCP: the parts of this directory
 * put together for a program that has one group and one thread.
 *
 *     host_open(&options, error, &host)         founds the group, or continues it
 *     for (;;) {
 *         raft_propose(host_node(host), ...)    or raft_read, and the like
 *         host_turn(host, 1000)                 waits, and does everything that is due
 *     }
 *     host_close(host)
 *
 * A turn is: wait for sockets, take messages, let the engine store, send, apply and tell, write and
 * sync the log. However much was proposed before it, a turn costs one write and one sync.
 *
 * Simple on purpose. The log is synced by the same thread, which does nothing else meanwhile. It is
 * kept whole and applied again from its first entry after a start, so a state machine begins empty
 * and can live in memory. Servers that were added later are reached at the addresses that are their
 * blobs. Peers are not authenticated, and therefore only reached on loopback. raftkv/ goes further
 * in each of these; the way there is to take this file and change it.
 */
#ifndef KEELSON_HOST_H
#define KEELSON_HOST_H

#include "../raft.h"

struct host;
struct loop;

#define HOST_ERROR_MAX 512u

struct host_options {
    const char *directory; /* of the log; made where it is missing, but not its parents */
    raft_id id;            /* this server */
    uint64_t cluster;      /* as in raft_options. 0: 1 */
    int protocol;          /* RAFT_PROTOCOL_*: the same on all servers, for ever */
    /*
     * All founders, this server among them: "1=127.0.0.1:7001,2=127.0.0.1:7002,...", the same text
     * on each. Null: this server alone, without a network. Only founds: once the directory holds a
     * membership, that one governs, addresses included.
     */
    const char *members;
    uint32_t election_timeout_ms; /* as in raft_options. 0: its default */

    void *ctx; /* first argument of the callbacks */
    /*
     * A committed entry: every index in order, no-ops and memberships included (entry->kind). Any
     * result but RAFT_OK stops the node. Lends *entry and its payload until it returns. Null: no
     * state machine.
     */
    int (*apply)(void *ctx, const raft_entry *entry);
    /* An event, as in raft_callbacks. Null: nobody listens. */
    void (*notify)(void *ctx, const raft_event *event);
};

/*
 * Opens the log, founds or restores the group, listens, and starts the node. Borrows the options,
 * texts included. A server that is alone campaigns at once. apply and notify may be called before
 * it returns. RAFT_OK and *out; or a code, and a sentence that says why: RAFT_EARG: options or
 * members that are none; what wal_open, raft_new and raft_bootstrap return; RAFT_ENOTMEMBER: the
 * directory holds a membership without this server; RAFT_ESTORAGE: an address that is none, or
 * that cannot be used here, or no random bytes; RAFT_ENOMEM.
 */
int host_open(const struct host_options *options, char error[HOST_ERROR_MAX], struct host **out);

/* The node; lent until host_close. Inputs of it are legal between turns. */
raft *host_node(const struct host *host);

/* The loop, for descriptors of the program's own; lent until host_close. */
struct loop *host_loop(const struct host *host);

/*
 * One turn. Waits until something is due or has arrived, at most wait_ms (negative: without bound).
 * Legal neither in apply and notify nor in a callback of the loop. RAFT_OK, or the fatal error
 * after which the node takes part in nothing; one more turn tells notify what is still owed then.
 */
int host_turn(struct host *host, int wait_ms);

/* Stores what is queued, closes and frees everything. Null is allowed. RAFT_OK, RAFT_ESTORAGE. */
int host_close(struct host *host);

#endif
