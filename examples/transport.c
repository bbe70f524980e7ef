/*
 * The TCP transport: connections, their handshakes and buffers, and who may be sent what.
 *
 * Invariants:
 *   1. A connection is in the loop exactly while its fd is not -1. It ends once (end_connection),
 *      is then on the dead list, and is freed in a later tick: whoever is in a callback of it may
 *      finish.
 *   2. peer.connection is the one dialled to it, in any stage, or null; then dial_at_ms is when to
 *      try again.
 *   3. out holds whole frames but for what the socket took of the first, behind what the handshake
 *      says (said_left bytes). Before the stage is OPEN nothing but that leaves: a server that is
 *      not the right one learns nothing else. Only a dialled connection has frames before that.
 *   4. With a secret, frames are sealed in the order in which they leave: those that waited for the
 *      keys in open_connection, the others when they are flushed.
 *   5. out and the outbox together stay within queue_bytes_max: transport_send checks it, so that
 *      flushing never has to drop part of a frame.
 *   6. The outbox points into lent memory, and only between transport_send and transport_flush.
 *   7. Everything taken off the input is a multiple of eight bytes and the buffer moves to its
 *      beginning as a whole: messages are aligned in it.
 */
#define _POSIX_C_SOURCE 200809L

#include "transport.h"
#include "address.h"
#include "bytes.h"
#include "frame.h"
#include "handshake.h"
#include "io.h"
#include "loop.h"
#include "outbox.h"
#include "secret.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum {
    ACCEPTS_PER_TURN = 16,
    READS_PER_TURN = 8,               /* so that one busy peer leaves room for the others */
    ACCEPT_PAUSE_MS = 100,            /* when descriptors have run out */
    PARTS_MAX = 2 * OUTBOX_PARTS_MAX, /* byte ranges in one writev */
    GREETING_BYTES = 512,             /* input buffer of a stranger: room for a handshake */
    INPUT_BYTES = 64 * 1024,          /* input buffer of a peer, until a larger frame fills it */
    FRAME_TARGET_BYTES = 256 * 1024,  /* a frame ends here: its reader waits for its end */
    OUTPUT_KEEP_BYTES = 1024 * 1024   /* a drained queue above this is given back */
};

enum stage {
    CONNECTING, /* dialled: connect has not reported yet */
    GREETING,   /* the handshake is under way */
    OPEN
};

struct connection {
    struct transport *transport;
    struct peer *peer; /* whom we dialled; null where we were called */
    int fd;
    enum stage stage;
    raft_id from; /* who is on the other side; before OPEN: 0 */
    struct handshake handshake;
    struct bytes in, out;
    struct outbox outbox;
    size_t said_left;     /* bytes of the handshake at the head of out */
    uint64_t deadline_ms; /* before OPEN: of the handshake; then: of progress, or UINT64_MAX */
    uint64_t open_since_ms;
    struct connection *next_dead;
};

struct peer {
    raft_id id;
    struct address address;
    struct connection *connection;
    uint64_t dial_at_ms;
    uint32_t pause_ms; /* 0: none yet */
    int is_lost;       /* on_connection is still to be told */
    enum transport_reason reason;
};

struct transport {
    struct transport_options options;
    const struct io *io;
    struct secret secret; /* of size 0: none */
    int listen_fd;
    struct address listen_address;
    uint64_t accept_again_ms; /* UINT64_MAX: accepting */
    char told_address[HELLO_ADDRESS_MAX + 1];
    struct peer **peers;
    size_t peer_count;
    struct connection **accepted;
    size_t accepted_count; /* in the order in which they were accepted */
    struct connection *dead;
    int has_gathered, has_lost;
    struct transport_stats stats;
};

static int has_secret(const struct transport *t)
{
    return t->secret.size != 0;
}

/* What frame.h has to say against some bytes. */
static enum transport_reason reason_of(long status)
{
    return (enum transport_reason)(-status);
}

static uint64_t clock_ms(const struct transport *t)
{
    return t->io->now_ms(t->io->ctx);
}

/* ---- Ends of connections --------------------------------------------------------------------- */

static uint32_t random_below(const struct transport *t, uint32_t bound)
{
    uint32_t value = 0;
    if (t->io->random(t->io->ctx, &value, sizeof value) < 0) {
        value = bound / 2;
    }
    return bound ? value % bound : 0;
}

/* Pauses double up to the bound; half of each is random, so that servers do not dial in step. */
static void schedule_dial(struct transport *t, struct peer *peer)
{
    uint32_t max = t->options.backoff_max_ms;
    uint32_t pause = peer->pause_ms ? peer->pause_ms : t->options.backoff_min_ms;
    peer->pause_ms = pause > max / 2 ? max : 2 * pause;
    peer->dial_at_ms = clock_ms(t) + pause / 2 + random_below(t, pause - pause / 2 + 1);
}

static void lose_peer(struct transport *t, struct connection *c, enum transport_reason reason)
{
    struct peer *peer = c->peer;
    if (c->stage == OPEN) {
        peer->is_lost = t->has_lost = 1;
        /* One that held for long has earned a quick return; one that is cut at once has not. */
        if (clock_ms(t) - c->open_since_ms >= t->options.backoff_max_ms) {
            peer->pause_ms = 0;
        }
    }
    peer->connection = NULL;
    peer->reason = reason;
    schedule_dial(t, peer);
}

static void forget_accepted(struct transport *t, const struct connection *c)
{
    for (size_t i = 0; i < t->accepted_count; i++) {
        if (t->accepted[i] == c) {
            t->accepted_count--;
            memmove(&t->accepted[i], &t->accepted[i + 1],
                    (t->accepted_count - i) * sizeof *t->accepted);
            return;
        }
    }
}

static void count_end(struct transport *t, enum transport_reason reason)
{
    t->stats.ended[reason]++;
    if (reason >= TRANSPORT_MAGIC && reason <= TRANSPORT_LIMIT) {
        t->stats.last_refusal = reason;
    }
}

static void end_connection(struct connection *c, enum transport_reason reason)
{
    struct transport *t = c->transport;
    if (c->fd < 0) {
        return;
    }
    loop_remove(t->options.loop, c->fd);
    t->io->close(t->io->ctx, c->fd);
    c->fd = -1;
    count_end(t, reason);
    t->stats.messages_dropped += c->outbox.message_count;
    outbox_clear(&c->outbox);
    if (c->peer) {
        lose_peer(t, c, reason);
    } else {
        forget_accepted(t, c);
    }
    c->next_dead = t->dead;
    t->dead = c;
}

static void free_dead(struct transport *t)
{
    while (t->dead) {
        struct connection *c = t->dead;
        t->dead = c->next_dead;
        bytes_free(&c->in);
        bytes_free(&c->out);
        outbox_free(&c->outbox);
        secret_wipe(&c->handshake, sizeof c->handshake);
        free(c);
    }
}

/* Told last, when nothing in here depends any more on what the host does in return. */
static void tell_lost(struct transport *t)
{
    if (!t->has_lost) {
        return;
    }
    t->has_lost = 0;
    for (size_t i = 0; i < t->peer_count; i++) {
        struct peer *peer = t->peers[i];
        if (peer->is_lost) {
            peer->is_lost = 0;
            if (t->options.on_connection) {
                t->options.on_connection(t->options.host, peer->id, 0);
            }
        }
    }
}

/* ---- Writing --------------------------------------------------------------------------------- */

static size_t sendable(const struct connection *c)
{
    return c->stage == OPEN ? bytes_held(&c->out) : c->said_left;
}

static void watch(struct connection *c)
{
    unsigned interest = LOOP_WRITE;
    if (c->stage != CONNECTING) {
        interest = LOOP_READ | (sendable(c) ? (unsigned)LOOP_WRITE : 0u);
    }
    if (loop_set(c->transport->options.loop, c->fd, interest)) {
        end_connection(c, TRANSPORT_MEMORY);
    }
}

static void set_progress_deadline(struct connection *c)
{
    if (c->stage == OPEN) {
        c->deadline_ms = bytes_held(&c->out)
                             ? clock_ms(c->transport) + c->transport->options.stall_ms
                             : UINT64_MAX;
    }
}

static int would_block(long status)
{
    return status == -EAGAIN || status == -EWOULDBLOCK || status == -EINTR;
}

static void write_out(struct connection *c)
{
    struct transport *t = c->transport;
    size_t size = sendable(c);
    if (!size) {
        return;
    }
    long written = t->io->write(t->io->ctx, c->fd, c->out.data + c->out.head, size);
    if (written < 0) {
        if (!would_block(written)) {
            end_connection(c, TRANSPORT_NETWORK);
        }
        return;
    }
    t->stats.bytes_sent += (uint64_t)written;
    c->said_left -= c->said_left < (size_t)written ? c->said_left : (size_t)written;
    bytes_take(&c->out, (size_t)written);
    if (!bytes_held(&c->out) && c->out.capacity > OUTPUT_KEEP_BYTES) {
        bytes_free(&c->out);
    }
    set_progress_deadline(c);
}

/*
 * Puts what the handshake says into the output, behind what it has said before and before the
 * frames that wait for its end.
 */
static int queue_said(struct connection *c, const uint8_t *said, size_t size)
{
    if (!bytes_reserve(&c->out, size)) {
        return 0;
    }
    uint8_t *at = c->out.data + c->out.head + c->said_left;
    memmove(at + size, at, bytes_held(&c->out) - c->said_left);
    memcpy(at, said, size);
    c->out.tail += size;
    c->said_left += size;
    return 1;
}

/* Keeps what the socket did not take of the parts; skip is what it took. */
static void keep_rest(struct connection *c, const struct iovec *parts, size_t count, size_t skip)
{
    size_t rest = 0;
    for (size_t i = 0; i < count; i++) {
        rest += parts[i].iov_len;
    }
    rest -= skip;
    if (!rest) {
        return;
    }
    if (!bytes_reserve(&c->out, rest)) {
        end_connection(c, TRANSPORT_MEMORY);
        return;
    }
    c->transport->stats.bytes_copied += rest;
    for (size_t i = 0; i < count; i++) {
        size_t passed = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        size_t left = parts[i].iov_len - passed;
        skip -= passed;
        if (left) {
            memcpy(c->out.data + c->out.tail, (const uint8_t *)parts[i].iov_base + passed, left);
            c->out.tail += left;
        }
    }
}

/* Writes the parts from where they are, unless others wait before them. */
static void deliver(struct connection *c, const struct iovec *parts, size_t count)
{
    struct transport *t = c->transport;
    int was_empty = bytes_held(&c->out) == 0;
    size_t written = 0;
    if (c->stage == OPEN && was_empty) {
        long status = t->io->writev(t->io->ctx, c->fd, parts, (int)count);
        if (status < 0 && !would_block(status)) {
            end_connection(c, TRANSPORT_NETWORK);
            return;
        }
        written = status < 0 ? 0 : (size_t)status;
        t->stats.bytes_sent += written;
    }
    keep_rest(c, parts, count, written);
    if (c->fd >= 0 && c->stage == OPEN && was_empty && bytes_held(&c->out)) {
        set_progress_deadline(c);
        watch(c);
    }
}

/* What seals the next frames: null where nothing does, or before the handshake is done. */
static struct frame_key *sealing_key(struct connection *c)
{
    return has_secret(c->transport) && c->stage == OPEN ? &c->handshake.sent : NULL;
}

static void flush_connection(struct connection *c)
{
    struct transport *t = c->transport;
    struct iovec parts[PARTS_MAX];
    size_t frames = 0, messages = 0, count;
    while (c->fd >= 0 && (count = outbox_gather(&c->outbox, sealing_key(c), parts, PARTS_MAX,
                                                &frames, &messages)) > 0) {
        deliver(c, parts, count);
    }
    t->stats.frames_sent += frames;
    t->stats.messages_sent += messages;
    outbox_clear(&c->outbox);
}

void transport_flush(struct transport *t)
{
    if (t->has_gathered) {
        t->has_gathered = 0;
        for (size_t i = 0; i < t->peer_count; i++) {
            if (t->peers[i]->connection) {
                flush_connection(t->peers[i]->connection);
            }
        }
        for (size_t i = t->accepted_count; i-- > 0;) {
            flush_connection(t->accepted[i]);
        }
    }
    tell_lost(t);
}

/* ---- Queueing -------------------------------------------------------------------------------- */

static struct peer *find_peer(const struct transport *t, raft_id id)
{
    for (size_t i = 0; i < t->peer_count; i++) {
        if (t->peers[i]->id == id) {
            return t->peers[i];
        }
    }
    return NULL;
}

static struct connection *find_accepted(const struct transport *t, raft_id from)
{
    for (size_t i = 0; i < t->accepted_count; i++) {
        if (t->accepted[i]->stage == OPEN && t->accepted[i]->from == from) {
            return t->accepted[i];
        }
    }
    return NULL;
}

/*
 * The connection over which messages go to a server: the one dialled to the address that the host
 * gave; where it gave none, the one that the server made.
 */
static struct connection *connection_to(const struct transport *t, raft_id id)
{
    const struct peer *peer = find_peer(t, id);
    return peer ? peer->connection : find_accepted(t, id);
}

static size_t queued_bytes(const struct connection *c)
{
    return bytes_held(&c->out) + c->outbox.bytes;
}

static int has_room(const struct connection *c, size_t message_bytes)
{
    const struct transport_options *own = &c->transport->options;
    return FRAME_HEADER + FRAME_PREFIX + frame_padded(message_bytes) <= own->frame_bytes_max &&
           queued_bytes(c) + outbox_cost(&c->outbox, message_bytes) <= own->queue_bytes_max;
}

void transport_send(struct transport *t, const raft_message *message)
{
    struct connection *c = connection_to(t, message->to);
    size_t size = raft_message_size(message);
    if (!c || !has_room(c, size) || !outbox_add(&c->outbox, message, size)) {
        t->stats.messages_dropped++;
        return;
    }
    t->has_gathered = 1;
}

/* ---- Reading --------------------------------------------------------------------------------- */

/* The frames that waited for the keys. */
static void seal_waiting(struct connection *c)
{
    uint8_t *at = c->out.data + c->out.head + c->said_left;
    const uint8_t *end = c->out.data + c->out.tail;
    while (at < end) {
        at += frame_seal_next(at, &c->handshake.sent);
    }
}

static void open_connection(struct connection *c)
{
    struct transport *t = c->transport;
    struct connection *older = c->peer ? NULL : find_accepted(t, c->handshake.other);
    if (older) {
        end_connection(older, TRANSPORT_REPLACED);
    }
    if (has_secret(t)) {
        seal_waiting(c);
    }
    c->from = c->handshake.other;
    c->stage = OPEN;
    c->open_since_ms = clock_ms(t);
    set_progress_deadline(c);
    if (c->peer) {
        c->peer->reason = TRANSPORT_NONE;
        if (t->options.on_connection) {
            t->options.on_connection(t->options.host, c->peer->id, 1);
        }
    }
}

/* One step of the handshake. Returns whether it took anything. */
static int take_greeting(struct connection *c)
{
    uint8_t said[HANDSHAKE_OUT_MAX];
    size_t said_size;
    long used = handshake_take(&c->handshake, c->in.data + c->in.head, bytes_held(&c->in), said,
                               &said_size);
    if (said_size) {
        if (!queue_said(c, said, said_size)) {
            end_connection(c, TRANSPORT_MEMORY);
            return 0;
        }
        write_out(c); /* also where it says why this is the end */
    }
    if (used < 0) {
        end_connection(c, reason_of(used));
    }
    if (used <= 0 || c->fd < 0) {
        return 0;
    }
    bytes_take(&c->in, (size_t)used);
    if (c->handshake.step == HANDSHAKE_DONE) {
        open_connection(c);
    }
    return 1;
}

static void take_messages(struct connection *c, struct frame *frame)
{
    struct transport *t = c->transport;
    raft_message message;
    int status = 1;
    while (c->fd >= 0 && (status = frame_message(frame, &message)) > 0) {
        if (message.from != c->from || message.to != t->options.id ||
            message.cluster != t->options.cluster) {
            end_connection(c, TRANSPORT_FOREIGN);
            return;
        }
        t->stats.messages_received++;
        t->options.on_message(t->options.host, &message);
    }
    if (status < 0) {
        end_connection(c, reason_of(status));
    }
}

/* Returns whether there was one. */
static int take_frame(struct connection *c)
{
    struct transport *t = c->transport;
    struct frame frame;
    long used = frame_next(c->in.data + c->in.head, bytes_held(&c->in), t->options.frame_bytes_max,
                           has_secret(t) ? &c->handshake.received : NULL, &frame);
    if (used < 0) {
        end_connection(c, reason_of(used));
    }
    if (used <= 0) {
        return 0;
    }
    t->stats.frames_received++;
    take_messages(c, &frame);
    bytes_take(&c->in, (size_t)used);
    return 1;
}

static void take_input(struct connection *c)
{
    while (c->fd >= 0 && c->stage == GREETING && bytes_held(&c->in)) {
        if (!take_greeting(c)) {
            return;
        }
    }
    while (c->fd >= 0 && c->stage == OPEN && bytes_held(&c->in)) {
        if (!take_frame(c)) {
            return;
        }
    }
}

/*
 * Room to read into; 0 where memory is lacking. A buffer that is full from its beginning holds part
 * of one frame, which is known to keep the limit: its bytes have earned it twice the room.
 */
static size_t input_room(struct connection *c)
{
    struct bytes *in = &c->in;
    size_t frame_max = c->transport->options.frame_bytes_max + FRAME_SEAL;
    size_t wanted = c->stage == OPEN ? INPUT_BYTES : GREETING_BYTES;
    if (in->capacity == in->tail) {
        bytes_compact(in);
    }
    if (in->capacity == in->tail && wanted <= in->capacity) {
        wanted = frame_max / 2 < in->capacity ? frame_max : 2 * in->capacity;
    }
    if (wanted > in->capacity && !bytes_resize(in, wanted)) {
        return 0;
    }
    return in->capacity - in->tail;
}

/* One read. Returns whether another may follow. */
static int read_once(struct connection *c)
{
    struct transport *t = c->transport;
    size_t room = input_room(c);
    if (!room) {
        end_connection(c, TRANSPORT_MEMORY);
        return 0;
    }
    long got = t->io->read(t->io->ctx, c->fd, c->in.data + c->in.tail, room);
    if (got <= 0) {
        if (!would_block(got)) {
            end_connection(c, got ? TRANSPORT_NETWORK : TRANSPORT_CLOSED);
        }
        return 0;
    }
    c->in.tail += (size_t)got;
    t->stats.bytes_received += (uint64_t)got;
    take_input(c);
    return c->fd >= 0 && (size_t)got == room;
}

static void connection_ready(void *ctx, int fd, unsigned ready)
{
    struct connection *c = ctx;
    struct transport *t = c->transport;
    if (c->stage == CONNECTING) {
        c->stage = GREETING;
        if (t->io->socket_error(t->io->ctx, fd)) {
            end_connection(c, TRANSPORT_NETWORK);
        }
    }
    if (c->fd >= 0 && ready & LOOP_WRITE) {
        write_out(c);
    }
    if (c->fd >= 0 && ready & LOOP_READ) {
        for (int i = 0; i < READS_PER_TURN && read_once(c); i++) {
        }
    }
    if (c->fd >= 0) {
        watch(c);
    }
    tell_lost(t);
}

/* ---- Making connections ---------------------------------------------------------------------- */

/* Begins the handshake; what a caller says first waits in the output. */
static int greet(struct connection *c)
{
    const struct transport *t = c->transport;
    uint8_t said[HANDSHAKE_OUT_MAX], nonce[HANDSHAKE_NONCE];
    struct handshake_side side = {.cluster = t->options.cluster,
                                  .self = t->options.id,
                                  .callee = c->peer ? c->peer->id : 0,
                                  .address = t->told_address};
    if (has_secret(t)) {
        if (t->io->random(t->io->ctx, nonce, sizeof nonce) < 0) {
            return 0;
        }
        side.secret = &t->secret;
        side.nonce = nonce;
    }
    size_t size = handshake_begin(&c->handshake, &side, said);
    return !size || queue_said(c, said, size);
}

static struct connection *new_connection(struct transport *t, struct peer *peer, int fd)
{
    struct connection *c = calloc(1, sizeof *c);
    if (!c) {
        t->io->close(t->io->ctx, fd);
        return NULL;
    }
    c->transport = t;
    c->peer = peer;
    c->fd = fd;
    c->stage = peer ? CONNECTING : GREETING;
    c->deadline_ms = clock_ms(t) + t->options.handshake_ms;
    outbox_begin(&c->outbox, has_secret(t),
                 t->options.frame_bytes_max < FRAME_TARGET_BYTES ? t->options.frame_bytes_max
                                                                 : FRAME_TARGET_BYTES);
    /* Both only make things faster: a system that refuses them is served all the same. */
    (void)t->io->no_delay(t->io->ctx, fd);
    (void)t->io->give_up_after(t->io->ctx, fd, t->options.stall_ms);
    return c;
}

static int start_connect(struct connection *c, const struct address *address)
{
    struct transport *t = c->transport;
    int status = t->io->connect(t->io->ctx, c->fd, (const struct sockaddr *)&address->storage,
                                (unsigned)address->length);
    if (status && status != -EINPROGRESS && status != -EINTR) {
        return status;
    }
    return loop_add(t->options.loop, c->fd, LOOP_WRITE, connection_ready, c);
}

static void dial_failed(struct transport *t, struct peer *peer, enum transport_reason reason)
{
    count_end(t, reason);
    peer->reason = reason;
    schedule_dial(t, peer);
}

static void dial(struct transport *t, struct peer *peer)
{
    t->stats.dialled++;
    int fd = t->io->socket(t->io->ctx, peer->address.storage.ss_family, SOCK_STREAM);
    if (fd < 0) {
        dial_failed(t, peer, TRANSPORT_NETWORK);
        return;
    }
    struct connection *c = new_connection(t, peer, fd);
    if (!c) {
        dial_failed(t, peer, TRANSPORT_MEMORY);
        return;
    }
    peer->connection = c;
    if (!greet(c)) {
        end_connection(c, TRANSPORT_MEMORY);
    } else if (start_connect(c, &peer->address)) {
        end_connection(c, TRANSPORT_NETWORK);
    }
}

/*
 * Room for one more caller. Whoever has not been let in yet and has waited longest makes it, so
 * that callers who say nothing cannot keep the servers of the cluster out.
 */
static int has_room_for_caller(struct transport *t)
{
    if (t->accepted_count < t->options.connections_max) {
        return 1;
    }
    for (size_t i = 0; i < t->accepted_count; i++) {
        if (t->accepted[i]->stage != OPEN) {
            end_connection(t->accepted[i], TRANSPORT_LIMIT);
            return 1;
        }
    }
    return 0;
}

static void add_accepted(struct transport *t, int fd)
{
    if (!has_room_for_caller(t)) {
        t->io->close(t->io->ctx, fd);
        count_end(t, TRANSPORT_LIMIT);
        return;
    }
    struct connection *c = new_connection(t, NULL, fd);
    if (!c) {
        count_end(t, TRANSPORT_MEMORY);
        return;
    }
    t->stats.accepted++;
    t->accepted[t->accepted_count++] = c;
    if (!greet(c) || loop_add(t->options.loop, fd, LOOP_READ, connection_ready, c)) {
        end_connection(c, TRANSPORT_MEMORY);
    }
}

/* Without descriptors the listening socket would be ready for ever: it rests for a while. */
static void pause_accepting(struct transport *t)
{
    if (!loop_set(t->options.loop, t->listen_fd, 0)) {
        t->accept_again_ms = clock_ms(t) + ACCEPT_PAUSE_MS;
    }
}

static void listener_ready(void *ctx, int fd, unsigned ready)
{
    struct transport *t = ctx;
    (void)ready;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int accepted = t->io->accept(t->io->ctx, fd, NULL, NULL);
        if (accepted == -EMFILE || accepted == -ENFILE || accepted == -ENOMEM ||
            accepted == -ENOBUFS) {
            pause_accepting(t);
        }
        if (accepted < 0) {
            return;
        }
        add_accepted(t, accepted);
    }
}

/* ---- Time ------------------------------------------------------------------------------------ */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t transport_deadline(const struct transport *t)
{
    uint64_t deadline = t->accept_again_ms;
    for (size_t i = 0; i < t->peer_count; i++) {
        const struct peer *peer = t->peers[i];
        deadline =
            earlier(deadline, peer->connection ? peer->connection->deadline_ms : peer->dial_at_ms);
    }
    for (size_t i = 0; i < t->accepted_count; i++) {
        deadline = earlier(deadline, t->accepted[i]->deadline_ms);
    }
    return deadline;
}

void transport_tick(struct transport *t, uint64_t now_ms)
{
    free_dead(t);
    if (now_ms >= t->accept_again_ms && !loop_set(t->options.loop, t->listen_fd, LOOP_READ)) {
        t->accept_again_ms = UINT64_MAX;
    }
    for (size_t i = t->accepted_count; i-- > 0;) {
        if (now_ms >= t->accepted[i]->deadline_ms) {
            end_connection(t->accepted[i], TRANSPORT_TIMEOUT);
        }
    }
    for (size_t i = 0; i < t->peer_count; i++) {
        struct peer *peer = t->peers[i];
        if (peer->connection && now_ms >= peer->connection->deadline_ms) {
            end_connection(peer->connection, TRANSPORT_TIMEOUT);
        } else if (!peer->connection && now_ms >= peer->dial_at_ms) {
            dial(t, peer);
        }
    }
    tell_lost(t);
}

/* ---- Peers ----------------------------------------------------------------------------------- */

/* Outside loopback anybody may be at the other end: only who can authenticate peers goes there. */
static int parse_allowed(const struct transport *t, const char *text, struct address *out)
{
    int status = address_parse(text, out);
    if (!status && !has_secret(t) && !t->options.allow_insecure && !address_is_loopback(out)) {
        return -EACCES;
    }
    return status;
}

static int add_peer(struct transport *t, raft_id id, const struct address *address)
{
    struct peer **grown = realloc(t->peers, (t->peer_count + 1) * sizeof *grown);
    if (!grown) {
        return -ENOMEM;
    }
    t->peers = grown;
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer) {
        return -ENOMEM;
    }
    peer->id = id;
    peer->address = *address;
    t->peers[t->peer_count++] = peer;
    return 0;
}

static void move_peer(struct peer *peer, const struct address *address)
{
    if (peer->address.length == address->length &&
        !memcmp(&peer->address.storage, &address->storage, address->length)) {
        return;
    }
    peer->address = *address;
    if (peer->connection) {
        end_connection(peer->connection, TRANSPORT_REPLACED);
    }
    peer->pause_ms = 0;
    peer->dial_at_ms = 0;
}

int transport_peer(struct transport *t, raft_id id, const char *address)
{
    struct address parsed;
    if (!id || id == t->options.id) {
        return -EINVAL;
    }
    int status = parse_allowed(t, address, &parsed);
    if (status) {
        return status;
    }
    struct peer *peer = find_peer(t, id);
    if (!peer) {
        return add_peer(t, id, &parsed);
    }
    move_peer(peer, &parsed);
    return 0;
}

void transport_forget(struct transport *t, raft_id id)
{
    struct connection *caller = find_accepted(t, id);
    if (caller) {
        end_connection(caller, TRANSPORT_REPLACED);
    }
    for (size_t i = 0; i < t->peer_count; i++) {
        struct peer *peer = t->peers[i];
        if (peer->id == id) {
            if (peer->connection) {
                end_connection(peer->connection, TRANSPORT_REPLACED);
            }
            t->peers[i] = t->peers[--t->peer_count];
            free(peer);
            return;
        }
    }
}

int transport_peer_status(const struct transport *t, raft_id id,
                          struct transport_peer_status *status)
{
    const struct peer *peer = find_peer(t, id);
    const struct connection *caller = find_accepted(t, id);
    const struct connection *c = connection_to(t, id);
    if (!peer && !caller) {
        return -ENOENT;
    }
    memset(status, 0, sizeof *status);
    status->sending = c && c->stage == OPEN;
    status->receiving = caller != NULL;
    status->reason = peer ? peer->reason : TRANSPORT_NONE;
    status->queued_bytes = c ? queued_bytes(c) : 0;
    status->claimed_address = caller ? caller->handshake.address : "";
    return 0;
}

void transport_stats(const struct transport *t, struct transport_stats *stats)
{
    *stats = t->stats;
}

/* ---- Opening and closing --------------------------------------------------------------------- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value ? value : otherwise;
}

static int set_options(struct transport *t, const struct transport_options *options)
{
    struct transport_options *own = &t->options;
    *own = *options;
    own->cluster = options->cluster ? options->cluster : 1;
    own->frame_bytes_max = or_default(options->frame_bytes_max, 17u << 20);
    own->queue_bytes_max = or_default(options->queue_bytes_max, 2 * own->frame_bytes_max);
    own->connections_max = or_default(options->connections_max, 64);
    own->handshake_ms = or_default(options->handshake_ms, 2000);
    own->stall_ms = or_default(options->stall_ms, 5000);
    own->backoff_min_ms = or_default(options->backoff_min_ms, 20);
    own->backoff_max_ms = or_default(options->backoff_max_ms, 1000);
    if (!own->io || !own->loop || !own->id || !own->listen || !own->on_message ||
        own->frame_bytes_max < FRAME_BYTES_MIN || own->frame_bytes_max > 1u << 30 ||
        own->queue_bytes_max < own->frame_bytes_max || own->backoff_min_ms > own->backoff_max_ms ||
        (own->advertise && strlen(own->advertise) > HELLO_ADDRESS_MAX)) {
        return -EINVAL;
    }
    t->io = own->io;
    if (own->secret) {
        if (own->secret->size < SECRET_BYTES_MIN || own->secret->size > SECRET_BYTES_MAX) {
            return -EINVAL;
        }
        t->secret = *own->secret;
    }
    own->secret = NULL;
    return 0;
}

static int start_listening(struct transport *t)
{
    int status = parse_allowed(t, t->options.listen, &t->listen_address);
    if (status) {
        return status;
    }
    t->listen_fd = address_listen(t->io, &t->listen_address, 64);
    if (t->listen_fd < 0) {
        return t->listen_fd;
    }
    if (t->options.advertise) {
        memcpy(t->told_address, t->options.advertise, strlen(t->options.advertise));
    } else {
        address_format(&t->listen_address, t->told_address);
    }
    return loop_add(t->options.loop, t->listen_fd, LOOP_READ, listener_ready, t);
}

int transport_open(const struct transport_options *options, struct transport **out)
{
    struct transport *t = calloc(1, sizeof *t);
    if (!t) {
        return -ENOMEM;
    }
    t->listen_fd = -1;
    t->accept_again_ms = UINT64_MAX;
    int status = set_options(t, options);
    if (!status) {
        t->accepted = calloc(t->options.connections_max, sizeof *t->accepted);
        status = t->accepted ? 0 : -ENOMEM;
    }
    if (status) {
        free(t);
        return status;
    }
    status = start_listening(t);
    if (status) {
        transport_close(t);
        return status;
    }
    t->options.listen = t->options.advertise = NULL;
    *out = t;
    return 0;
}

void transport_close(struct transport *t)
{
    if (!t) {
        return;
    }
    while (t->accepted_count) {
        end_connection(t->accepted[0], TRANSPORT_NONE);
    }
    for (size_t i = 0; i < t->peer_count; i++) {
        if (t->peers[i]->connection) {
            end_connection(t->peers[i]->connection, TRANSPORT_NONE);
        }
        free(t->peers[i]);
    }
    if (t->listen_fd >= 0) {
        loop_remove(t->options.loop, t->listen_fd);
        t->io->close(t->io->ctx, t->listen_fd);
    }
    free_dead(t);
    free(t->accepted);
    free(t->peers);
    secret_wipe(&t->secret, sizeof t->secret);
    free(t);
}

unsigned transport_port(const struct transport *t)
{
    return address_port(&t->listen_address);
}
