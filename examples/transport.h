/*
 * Takes raft messages from process to process over TCP.
 *
 * A turn of the host:
 *
 *     loop_wait(...)               on_message is called for what arrived: raft_receive
 *     transport_tick(t, now)
 *     raft_poll(node, now)         its send callback calls transport_send
 *     transport_flush(t)           before any other call that takes the node
 *
 * Each side dials for what it sends: messages to a peer go over the connection made to its address,
 * messages from it arrive over the one that it made. transport_send only notes where the bytes are;
 * transport_flush gathers them from the log's own memory into one write per peer and copies what
 * the socket does not take, because the memory is lent no longer than that.
 *
 * Nothing blocks and nothing grows without bound. A message that finds no connection, or its peer's
 * queue full, is dropped whole; the engine sends again what is still needed. A connection that is
 * lost loses what was queued in it and is dialled again after a pause that doubles up to a bound. A
 * peer that sends what no correct peer sends is cut off and counted by reason.
 *
 * A connection begins with a hello from each side (frame.h), which says who calls whom in which
 * cluster. That is a check against mistakes, not against enemies: peers are not authenticated, so
 * addresses outside loopback are refused unless the host insists.
 */
#ifndef KEELSON_TRANSPORT_H
#define KEELSON_TRANSPORT_H

#include "raft.h"

struct io;
struct loop;
struct transport;

/* Why a connection ended, or could not be made. */
enum transport_reason {
    TRANSPORT_NONE,     /* it has not */
    TRANSPORT_NETWORK,  /* refused, reset, unreachable */
    TRANSPORT_CLOSED,   /* the other side closed it */
    TRANSPORT_TIMEOUT,  /* no hello in time, or the other side took nothing for as long */
    TRANSPORT_MAGIC,    /* hello: not this protocol */
    TRANSPORT_VERSION,  /* hello: another version of it */
    TRANSPORT_CLUSTER,  /* hello: another cluster */
    TRANSPORT_IDENTITY, /* hello: not from or to whom it should be */
    TRANSPORT_LENGTH,   /* a frame above the limit, or one that does not add up */
    TRANSPORT_CHECKSUM, /* a hello or frame that was damaged */
    TRANSPORT_MESSAGE,  /* a message that cannot be decoded */
    TRANSPORT_FOREIGN,  /* a message that contradicts the hello: sender, receiver or cluster */
    TRANSPORT_LIMIT,    /* too many accepted connections */
    TRANSPORT_REPLACED, /* the same peer called again, or its address has changed */
    TRANSPORT_MEMORY,   /* no memory for its buffers */
    TRANSPORT_REASONS
};

/* 0 means the default wherever one is given. */
struct transport_options {
    const struct io *io; /* outlives the transport, like loop */
    struct loop *loop;
    uint64_t cluster;      /* compared in hellos and messages; as in raft_options, 0: 1 */
    raft_id id;            /* this server */
    const char *listen;    /* HOST:PORT to listen on; port 0 takes a free one */
    const char *advertise; /* the address told in hellos; null: the one listened on */
    int allow_insecure;    /* nonzero: addresses outside loopback are allowed */

    uint32_t frame_bytes_max; /* of one frame, thus of one message. 0: 17 MiB */
    uint32_t queue_bytes_max; /* waiting for one peer; at least a frame. 0: twice the frame */
    uint32_t connections_max; /* accepted at the same time. 0: 64 */
    uint32_t handshake_ms;    /* until both hellos are through. 0: 2000 */
    uint32_t stall_ms;        /* until a peer that takes no bytes is given up. 0: 5000 */
    uint32_t backoff_min_ms;  /* pause before the second dial. 0: 20 */
    uint32_t backoff_max_ms;  /* the pause grows up to this. 0: 1000 */

    void *host; /* first argument of the callbacks */
    /*
     * A message arrived. It points into the transport's buffer: valid until the callback returns.
     * May call transport_send and transport_flush. Mandatory.
     */
    void (*on_message)(void *host, const raft_message *message);
    /*
     * The connection over which messages go to a peer was made (up 1) or lost (up 0): a reason to
     * call raft_unreachable. Called from loop_wait, transport_tick and transport_flush, never from
     * transport_send. Optional.
     */
    void (*on_connection)(void *host, raft_id peer, int up);
};

/*
 * Opens and listens. Copies the options, texts included. 0 and *out; -EINVAL: an option missing,
 * out of its range, or an address that is none; -EACCES: an address outside loopback; -ENOENT: an
 * unknown name; -ENOMEM; or what socket, bind and listen say.
 */
int transport_open(const struct transport_options *options, struct transport **out);

/* Closes every connection and frees. Null is allowed; not from inside a callback. */
void transport_close(struct transport *transport);

/* The port listened on. */
unsigned transport_port(const struct transport *transport);

/*
 * Adds a peer or changes its address, and dials it in the next tick. The same address again changes
 * nothing. May block to look a name up. 0; -EINVAL: own id, id 0, not an address; -EACCES, -ENOENT,
 * -ENOMEM as above. Not from inside a callback.
 */
int transport_peer(struct transport *transport, raft_id id, const char *address);

/* Forgets a peer: its connections are closed. Unknown: nothing happens. Not inside a callback. */
void transport_forget(struct transport *transport, raft_id id);

/*
 * Queues a message for message->to, or drops it: no such peer, not connected, queue full, too
 * large. Keeps a copy of *message; the bytes of its ranges have to stay until transport_flush.
 */
void transport_send(struct transport *transport, const raft_message *message);

/* Writes what was queued. Afterwards nothing refers to lent memory any more. */
void transport_flush(struct transport *transport);

/* When transport_tick has something to do, on the clock of io->now_ms; UINT64_MAX: never. */
uint64_t transport_deadline(const struct transport *transport);

/* Dials, and gives up what has taken too long. Costs next to nothing when nothing is due. */
void transport_tick(struct transport *transport, uint64_t now_ms);

/* Counters since transport_open. Bytes are those that went through sockets, hellos included. */
struct transport_stats {
    uint64_t frames_sent, frames_received;
    uint64_t messages_sent, messages_received; /* handed to a connection; handed to on_message */
    uint64_t bytes_sent, bytes_received;
    uint64_t bytes_copied;     /* what a socket refused and had to be kept */
    uint64_t messages_dropped; /* whole messages that no connection was given */
    uint64_t dialled, accepted;
    uint64_t ended[TRANSPORT_REASONS];  /* connections and attempts that ended, by reason */
    enum transport_reason last_refusal; /* the last reason from MAGIC to LIMIT */
};

void transport_stats(const struct transport *transport, struct transport_stats *stats);

struct transport_peer_status {
    int sending;                  /* connected for sending, hellos done */
    int receiving;                /* likewise for receiving */
    enum transport_reason reason; /* of the last failure to send; NONE since it is connected */
    uint64_t queued_bytes;
};

/* 0, or -ENOENT: no such peer. */
int transport_peer_status(const struct transport *transport, raft_id id,
                          struct transport_peer_status *status);

/* A sentence for a reason; never null. */
const char *transport_reason_text(enum transport_reason reason);

#endif
