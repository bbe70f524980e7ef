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
 * Each side dials for what it sends: messages to a peer go over the connection made to the address
 * that the host gave, messages from it arrive over the one that it made. A server whose address the
 * host has not given is answered over the connection that it made: that is how one that joins, and
 * knows nobody, takes part before its log has told it who the others are. Once the host gives an
 * address, that one is dialled and used, and no other way round it. What a caller says its address
 * is, is shown (transport_peer_status) and never dialled: whoever has lied about it would be sent
 * what is meant for another.
 *
 * transport_send only notes where the bytes are; transport_flush gathers them from the log's own
 * memory, messages of any number of groups in few frames, into one write per peer, and copies what
 * the socket does not take, because the memory is lent no longer than that.
 *
 * Nothing blocks and nothing grows without bound. A message that finds no connection, or its peer's
 * queue full, is dropped whole; the engine sends again what is still needed. A connection that is
 * lost loses what was queued in it and is dialled again after a pause that doubles up to a bound. A
 * peer that sends what no correct peer sends is cut off and counted by reason.
 *
 * A connection begins with a handshake (handshake.h). Without a secret it says who calls whom in
 * which cluster, against mistakes but not against enemies: hence addresses outside loopback are
 * refused unless the host insists.
 *
 * With a secret, the same on all servers of the cluster:
 *   - both sides prove that they have it before anything else is said or heard, for exactly this
 *     cluster, these two ids and this connection; a peer without one, or with another, is refused
 *     and both sides know why. Nothing is sent to it that is longer than what it has sent;
 *   - every frame is sealed: what was changed, left out, added, repeated, moved to another
 *     connection or sent back is found, and ends the connection;
 *   - who has authenticated as a server sends only messages from that server;
 *   - nothing falls back: a server with a secret never talks without it.
 * It does not keep anything from being read: the bytes are not encrypted. Where the network is not
 * trusted with the data, let it run through WireGuard or a TLS tunnel. It does not keep servers of
 * the cluster honest: whoever has the secret may be any of them. It does not hide who talks to whom
 * and how much. Connections can still be broken by whoever owns the network, and the secret is only
 * as good as it is hard to guess (secret.h). To change it, stop all servers: two secrets at a time
 * are not known.
 */
#ifndef KEELSON_TRANSPORT_H
#define KEELSON_TRANSPORT_H

#include "raft.h"

struct io;
struct loop;
struct secret;
struct transport;

/* Why a connection ended, or could not be made. */
enum transport_reason {
    TRANSPORT_NONE,     /* it has not */
    TRANSPORT_NETWORK,  /* refused, reset, unreachable */
    TRANSPORT_CLOSED,   /* the other side closed it */
    TRANSPORT_TIMEOUT,  /* no handshake in time, or the other side took nothing for as long */
    TRANSPORT_MAGIC,    /* hello: not this protocol */
    TRANSPORT_VERSION,  /* hello: another version of it */
    TRANSPORT_CLUSTER,  /* hello: another cluster */
    TRANSPORT_IDENTITY, /* hello: not from or to whom it should be */
    TRANSPORT_LENGTH,   /* a frame above the limit, or one that does not add up */
    TRANSPORT_CHECKSUM, /* a hello or frame that was damaged */
    TRANSPORT_MESSAGE,  /* a message that cannot be decoded */
    TRANSPORT_FOREIGN,  /* a message that contradicts the handshake: sender, receiver or cluster */
    TRANSPORT_PLAIN,    /* hello: only one of the two sides has a secret */
    TRANSPORT_SECRET,   /* the other side could not prove that it has the same secret */
    TRANSPORT_SEAL,     /* a frame that its sender did not seal, or not for here and now */
    TRANSPORT_LIMIT,    /* too many accepted connections */
    TRANSPORT_REPLACED, /* the same peer called again, or its address has changed */
    TRANSPORT_MEMORY,   /* no memory for its buffers, or no random bytes for its nonce */
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
    /* Authenticates all peers (secret.h); copied. Null: none, peers are not authenticated. */
    const struct secret *secret;
    int allow_insecure; /* nonzero: addresses outside loopback are allowed without a secret */

    uint32_t frame_bytes_max; /* of one frame, thus of one message. 0: 17 MiB */
    uint32_t queue_bytes_max; /* waiting for one peer; at least a frame. 0: twice the frame */
    /* Accepted at the same time; where one more calls, the oldest of those whose handshake is not
     * through goes, else the caller. 0: 64 */
    uint32_t connections_max;
    uint32_t handshake_ms;   /* until the handshake is through. 0: 2000 */
    uint32_t stall_ms;       /* until a peer that takes no bytes is given up. 0: 5000 */
    uint32_t backoff_min_ms; /* pause before the second dial. 0: 20 */
    uint32_t backoff_max_ms; /* the pause grows up to this. 0: 1000 */

    void *host; /* first argument of the callbacks */
    /*
     * A message arrived. It points into the transport's buffer: valid until the callback returns.
     * May call transport_send and transport_flush. Mandatory.
     */
    void (*on_message)(void *host, const raft_message *message);
    /*
     * The connection dialled to a peer, over which messages go to it, was made (up 1) or lost (up
     * 0): a reason to call raft_unreachable. Called from loop_wait, transport_tick and
     * transport_flush, never from transport_send. Optional.
     */
    void (*on_connection)(void *host, raft_id peer, int up);
};

/*
 * Opens and listens. Copies the options, texts and secret included. 0 and *out; -EINVAL: an option
 * missing, out of its range, or an address that is none; -EACCES: an address outside loopback
 * without a secret; -ENOENT: an
 * unknown name; -ENOMEM; or what socket, bind and listen say.
 */
int transport_open(const struct transport_options *options, struct transport **out);

/* Closes every connection and frees. Null is allowed; not from inside a callback. */
void transport_close(struct transport *transport);

/* The port listened on. */
unsigned transport_port(const struct transport *transport);

/*
 * Adds a peer or changes its address, and dials it in the next tick; legal at any time. Another
 * address ends the connection that was dialled, not the one that the peer made; the same again
 * changes nothing. May block to look a name up. 0; -EINVAL: own id, id 0, not an address; -EACCES,
 * -ENOENT, -ENOMEM as above. Not from inside a callback.
 */
int transport_peer(struct transport *transport, raft_id id, const char *address);

/*
 * Forgets a peer and closes its connections, both ways. It may call again and is heard then: who is
 * a member is the engine's to say. Unknown: nothing happens. Not inside a callback.
 */
void transport_forget(struct transport *transport, raft_id id);

/*
 * Queues a message for message->to, or drops it: no such peer, not connected, queue full, too
 * large. Encodes its header; the bytes of its other parts have to stay until transport_flush.
 */
void transport_send(struct transport *transport, const raft_message *message);

/* Writes what was queued. Afterwards nothing refers to lent memory any more. */
void transport_flush(struct transport *transport);

/* When transport_tick has something to do, on the clock of io->now_ms; UINT64_MAX: never. */
uint64_t transport_deadline(const struct transport *transport);

/* Dials, and gives up what has taken too long. Costs next to nothing when nothing is due. */
void transport_tick(struct transport *transport, uint64_t now_ms);

/* Counters since transport_open. Bytes are those that went through sockets, handshakes included. */
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
    int sending;                  /* connected for sending, handshake done */
    int receiving;                /* likewise for receiving */
    enum transport_reason reason; /* of the last failure to send; NONE since it is connected */
    uint64_t queued_bytes;
    const char *claimed_address; /* as its hello says; "": none. Valid until the next call */
};

/* 0, or -ENOENT: no such peer, nor a connection that it made. */
int transport_peer_status(const struct transport *transport, raft_id id,
                          struct transport_peer_status *status);

/* A sentence for a reason; never null. */
const char *transport_reason_text(enum transport_reason reason);

/* A word for it, for keys of statistics: "network", "secret"; never null. */
const char *transport_reason_name(enum transport_reason reason);

#endif
