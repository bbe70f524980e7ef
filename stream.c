/*
 * What a leader reads back from its host for a peer that is behind its memory: pieces of a
 * snapshot where the log begins too late (Raft dissertation §5.2), entries where memory does.
 *
 * A snapshot goes piece by piece, and the next piece when the one before is written at the other
 * end: its answer names the offset wanted. Nothing is sent on an answer that only repeats what is
 * known, or two copies of one message would breed for ever. What may be lost is sent again when
 * the peer has answered a round that was begun after it.
 *
 *   (1) A peer is in the snapshot state because it has shown that its log ends, or leaves ours, in
 *       front of what can be sent (replication.c). It leaves it by an acknowledgement, whatever
 *       snapshot that is from (R38). So no snapshot is sent twice to a peer that keeps it.
 *   (2) Only a peer that was heard lately is sent anything (R39).
 *   (3) A transfer that the host was asked for ends with one event (RAFT_EVENT_SNAPSHOT_END).
 *   (4) A buffer that the host fills is not freed before it says that it has done so.
 */
#include "raft_internal.h"

#define ENTRY_BYTES_MAX ((size_t)1 << 31) /* beyond any entry's size */

/* ---- Streams -------------------------------------------------------------------------------- */

static struct raft__stream *stream_of(const raft *node, raft_id peer)
{
    struct raft__stream *stream = node->streams;
    while (stream != NULL && stream->peer != peer) {
        stream = stream->next;
    }
    return stream;
}

/* The one that is in use; what has ended is only waited for. */
static struct raft__stream *active_stream(const raft *node, raft_id peer, int entries)
{
    struct raft__stream *stream = stream_of(node, peer);
    int fits = stream != NULL && !stream->ended && stream->entries == entries;
    return fits ? stream : NULL;
}

static struct raft__stream *stream_new(raft *node, raft_id peer)
{
    struct raft__stream *stream =
        (struct raft__stream *)raft__resize(&node->memory, NULL, 0, sizeof(*stream));
    if (stream != NULL) {
        memset(stream, 0, sizeof(*stream));
        stream->peer = peer;
        stream->next = node->streams;
        node->streams = stream;
        node->rare = 1;
    }
    return stream;
}

static void stream_free(raft *node, struct raft__stream *stream)
{
    raft__free(&node->memory, stream->data, stream->capacity);
    raft__free(&node->memory, stream->meta, stream->meta_size);
    raft__free(&node->memory, stream, sizeof(*stream));
}

/* A buffer of exactly this many bytes; what was in it is forgotten. */
static int stream_reserve(raft *node, struct raft__stream *stream, size_t bytes)
{
    if (stream->capacity >= bytes) {
        return RAFT_OK;
    }
    uint8_t *data = (uint8_t *)raft__resize(&node->memory, NULL, 0, bytes);
    if (data == NULL) {
        return RAFT_ENOMEM;
    }
    raft__free(&node->memory, stream->data, stream->capacity);
    stream->data = data;
    stream->capacity = bytes;
    return RAFT_OK;
}

void raft__stream_end(raft *node, raft_id peer, int status)
{
    struct raft__stream *stream = stream_of(node, peer);
    if (stream != NULL && !stream->ended) {
        stream->ended = 1;
        stream->status = status;
        node->snapshot_news |= stream->begun;
        node->dirty = 1;
    }
}

/* Entries are of use as long as the peer wants what memory has not. */
static int entries_are_wanted(const raft *node, const struct raft__stream *stream)
{
    uint32_t position = raft__position_of(node, stream->peer);
    if (node->role != RAFT_ROLE_LEADER || position >= node->peer_count) {
        return node->pull.asked_by == stream->peer && (node->pull.due & RAFT__PULL_ANSWER) != 0;
    }
    const struct raft__peer *peer = &node->peers[position];
    return peer->state <= RAFT_PEER_REPLICATE && peer->next < raft__log_memory(&node->log);
}

/* Not in the midst of a poll: what was sent is lent until the next one. */
void raft__streams_sweep(raft *node)
{
    struct raft__stream **link = &node->streams;
    while (*link != NULL) {
        struct raft__stream *stream = *link;
        if (stream->entries && !stream->ended && !entries_are_wanted(node, stream)) {
            stream->ended = 1;
        }
        if (stream->ended && !stream->begun && !stream->reading) {
            *link = stream->next;
            stream_free(node, stream);
        } else {
            link = &stream->next;
        }
    }
}

void raft__streams_free(raft *node)
{
    while (node->streams != NULL) {
        struct raft__stream *stream = node->streams;
        node->streams = stream->next;
        stream_free(node, stream);
    }
}

/* ---- Entries -------------------------------------------------------------------------------- */

static raft_fetch fetch_of(const struct raft__stream *stream)
{
    raft_fetch fetch;
    memset(&fetch, 0, sizeof(fetch));
    fetch.peer = stream->peer;
    fetch.first = stream->index;
    fetch.last = stream->until;
    fetch.term = stream->term;
    fetch.data = stream->data;
    fetch.capacity = stream->room;
    return fetch;
}

/* What the host has filled in is as little to be trusted as its storage. */
static int fetch_is_sound(const struct raft__stream *stream, const raft_fetch *fetch)
{
    raft_range range = {stream->index, stream->term, fetch->count, fetch->size, stream->data};
    return fetch->data == stream->data && fetch->size <= stream->room && fetch->count > 0 &&
           fetch->count - 1 <= stream->until - stream->index && raft__range_kinds(&range) != 0;
}

/* Takes in how a read has ended: RAFT_OK, or why there is nothing; RAFT_ESIZE: ask once more. */
static int take_fetch(raft *node, struct raft__stream *stream, const raft_fetch *fetch, int status)
{
    if (status == RAFT_ESIZE && fetch->size > stream->room && fetch->size < ENTRY_BYTES_MAX) {
        stream->room = fetch->size;
        return stream_reserve(node, stream, fetch->size) == RAFT_OK ? RAFT_ESIZE : RAFT_ENOMEM;
    }
    if (status != RAFT_OK || !fetch_is_sound(stream, fetch)) {
        return RAFT_EARG;
    }
    stream->count = fetch->count;
    stream->size = fetch->size;
    stream->loaded = 1;
    node->counters.entries_fetched += fetch->count;
    return RAFT_OK;
}

/* Asks the host, and once more with a larger buffer where one entry needs it. */
static int fetch_entries(raft *node, struct raft__stream *stream)
{
    int status = RAFT_ESIZE;
    for (int asked = 0; asked < 2 && status == RAFT_ESIZE; asked++) {
        raft_fetch fetch = fetch_of(stream);
        node->inside = RAFT__IN_CALLBACK;
        status = node->callbacks.read_log(node->host, &fetch);
        node->inside = RAFT__OUTSIDE;
        if (status == RAFT_PENDING) {
            stream->reading = 1;
            return status;
        }
        status = take_fetch(node, stream, &fetch, status);
    }
    return status;
}

/* Which entries to ask for: of one term, up to where memory begins. */
static int aim_at(raft *node, struct raft__stream *stream, raft_index first)
{
    raft_index before = raft__log_memory(&node->log) - 1;
    raft_index end = raft__log_run_end(&node->log, first);
    if (stream->index != first || stream->room == 0) {
        stream->room = node->options.append_bytes_max; /* more only for the entry that needs it */
    }
    stream->loaded = 0;
    stream->index = first;
    stream->until = end < before ? end : before;
    stream->term = raft__log_term(&node->log, first);
    return stream_reserve(node, stream, stream->room);
}

int raft__stream_entries(raft *node, const struct raft__peer *peer, raft_range *range)
{
    struct raft__stream *stream = stream_of(node, peer->id);
    if (stream == NULL && node->callbacks.read_log != NULL) {
        stream = stream_new(node, peer->id);
        if (stream != NULL) {
            stream->entries = 1;
        }
    }
    if (stream == NULL || stream->ended || !stream->entries) {
        return RAFT_ENOMEM; /* or the one before is not done with */
    }
    if (stream->reading) {
        return RAFT_PENDING;
    }
    if (!stream->loaded || stream->index != peer->next) {
        int status = aim_at(node, stream, peer->next);
        status = status == RAFT_OK ? fetch_entries(node, stream) : status;
        if (status != RAFT_OK) {
            return status;
        }
    }
    range->first = stream->index;
    range->term = stream->term;
    range->count = stream->count;
    range->size = stream->size;
    range->data = stream->data;
    return RAFT_OK;
}

/* A snapshot that holds the entry helps; without one it is asked for again, not at once. */
void raft__unreadable(raft *node, struct raft__peer *peer, raft_index first)
{
    if (peer->state > RAFT_PEER_REPLICATE || peer->next != first) {
        return; /* it is elsewhere by now */
    }
    peer->retry_ms = node->now_ms + node->options.heartbeat_ms;
    if (node->snapshot_index >= first) {
        peer->unreadable = first;
        raft__peer_needs_snapshot(node, peer);
    }
}

int raft_log_read(raft *node, const raft_fetch *fetch, int status)
{
    int entered = raft__enter(node, 0);
    if (entered != RAFT_OK) {
        return entered;
    }
    struct raft__stream *stream = fetch == NULL ? NULL : stream_of(node, fetch->peer);
    if (stream == NULL || status > 0 || !stream->entries || !stream->reading) {
        return RAFT_EARG;
    }
    stream->reading = 0;
    node->dirty = 1;
    if (stream->ended) {
        return RAFT_OK;
    }
    int sound = status != RAFT_OK || fetch_is_sound(stream, fetch);
    int taken = take_fetch(node, stream, fetch, status);
    uint32_t position = raft__position_of(node, fetch->peer);
    if (taken != RAFT_OK && taken != RAFT_ESIZE && position < node->peer_count) {
        raft__unreadable(node, &node->peers[position], stream->index);
    }
    return sound ? RAFT_OK : RAFT_EARG;
}

/* ---- Snapshots: beginning ------------------------------------------------------------------- */

void raft__peer_needs_snapshot(raft *node, struct raft__peer *peer)
{
    peer->state = RAFT_PEER_SNAPSHOT;
    peer->paused = 0;
    peer->nudge = 0;
    peer->window.count = 0;
    peer->needs = RAFT__NO_NEED;
    peer->retry_ms = 0;
    node->dirty = 1;
}

/* To a witness goes metadata, which needs no host. */
static int can_stream(const raft *node, uint32_t position)
{
    return node->callbacks.snapshot_read != NULL || (node->witnesses >> position & 1) != 0;
}

static struct raft__stream *begin_snapshot(raft *node, raft_id peer)
{
    struct raft__stream *stream = stream_new(node, peer);
    if (stream == NULL) {
        return NULL;
    }
    stream->meta = (uint8_t *)raft__resize(&node->memory, NULL, 0, node->meta_size);
    if (stream->meta == NULL) {
        stream->ended = 1;
        return NULL;
    }
    memcpy(stream->meta, node->meta, node->meta_size);
    stream->meta_size = node->meta_size;
    stream->index = node->snapshot_index;
    stream->term = node->snapshot_term;
    stream->due = 1;
    return stream;
}

/* ---- Snapshots: pieces ---------------------------------------------------------------------- */

static void take_piece(raft *node, struct raft__stream *stream, const raft_chunk *chunk, int status)
{
    int sound = chunk->data == stream->data && chunk->size <= stream->capacity &&
                (chunk->size > 0 || chunk->last);
    if (status == RAFT_OK && sound) {
        stream->size = chunk->size;
        stream->last = chunk->last != 0;
        stream->loaded = 1;
    } else if (stream->index < node->snapshot_index) {
        raft__stream_end(node, stream->peer, RAFT_EDROPPED); /* a newer one can be had instead */
    } else {
        stream->retry_ms = node->now_ms + node->options.heartbeat_ms;
    }
}

static void read_piece(raft *node, struct raft__stream *stream)
{
    raft_chunk chunk;
    if (stream_reserve(node, stream, node->options.chunk_bytes_max) != RAFT_OK) {
        return;
    }
    memset(&chunk, 0, sizeof(chunk));
    chunk.peer = stream->peer;
    chunk.index = stream->index;
    chunk.term = stream->term;
    chunk.offset = stream->offset;
    chunk.data = stream->data;
    chunk.capacity = stream->capacity;
    node->inside = RAFT__IN_CALLBACK;
    int status = node->callbacks.snapshot_read(node->host, &chunk);
    node->inside = RAFT__OUTSIDE;
    stream->begun |= status == RAFT_OK || status == RAFT_PENDING;
    if (status == RAFT_PENDING) {
        stream->reading = 1;
    } else {
        take_piece(node, stream, &chunk, status);
    }
}

static void send_piece(raft *node, struct raft__stream *stream, int bare)
{
    raft_message message;
    raft__message_begin(node, &message, RAFT_MESSAGE_SNAPSHOT, stream->peer);
    message.round = node->round;
    message.index = stream->index;
    message.index_term = stream->term;
    message.offset = stream->offset;
    if (stream->offset == 0) {
        message.meta.data = stream->meta;
        message.meta.size = stream->meta_size;
    }
    if (stream->size > 0) {
        message.chunk.data = stream->data;
        message.chunk.size = stream->size;
    }
    message.flags = (stream->last ? RAFT_FLAG_LAST : 0) | (bare ? RAFT_FLAG_BARE : 0);
    stream->due = 0;
    stream->sent_round = node->round;
    node->counters.chunks_sent++;
    raft__send(node, &message);
}

/* Entries are, where a snapshot is needed; one that was never begun is, when there is a newer. */
static int is_outdated(const raft *node, const struct raft__stream *stream)
{
    return stream->entries ||
           (!stream->begun && !stream->loaded && stream->index < node->snapshot_index);
}

/* The transfer to this peer, begun where there is none. Null: not now. */
static struct raft__stream *current_transfer(raft *node, struct raft__peer *peer)
{
    struct raft__stream *stream = stream_of(node, peer->id);
    if (stream == NULL && node->now_ms >= peer->retry_ms && node->meta != NULL) {
        return begin_snapshot(node, peer->id);
    }
    if (stream != NULL && is_outdated(node, stream)) {
        stream->ended = 1; /* of no use any more; freed by the next poll, and that is soon */
    }
    return stream == NULL || stream->ended ? NULL : stream;
}

/* Nothing is read for a peer that is silent; the host may free what it holds for it (R39). */
static int is_silent(raft *node, uint32_t position)
{
    if (raft__peer_is_alive(node, position)) {
        return 0;
    }
    raft__stream_end(node, node->peers[position].id, RAFT_ETIMEOUT);
    return 1;
}

static void feed_piece(raft *node, uint32_t position, struct raft__stream *stream)
{
    if (!stream->due || stream->reading) {
        return;
    }
    int bare = (node->witnesses >> position & 1) != 0;
    if (bare) {
        stream->last = 1;
        stream->loaded = 1;
    }
    if (!stream->loaded && node->now_ms >= stream->retry_ms) {
        read_piece(node, stream);
    }
    if (stream->loaded && !stream->ended) {
        send_piece(node, stream, bare);
    }
}

void raft__feed_snapshot(raft *node, uint32_t position)
{
    struct raft__peer *peer = &node->peers[position];
    raft_index known = peer->match > node->log.base_index ? peer->match : node->log.base_index;
    peer->next = known + 1; /* where a question where it stands may begin */
    if (!can_stream(node, position)) {
        if (peer->needs == RAFT__NO_NEED && node->now_ms >= peer->retry_ms) {
            peer->needs = RAFT__UNTOLD;
            node->needs_due = 1;
            node->snapshot_news = 1;
            node->rare = 1;
        }
        return;
    }
    if (is_silent(node, position)) {
        return;
    }
    struct raft__stream *stream = current_transfer(node, peer);
    if (stream != NULL) {
        feed_piece(node, position, stream);
    }
}

int raft_chunk_read(raft *node, const raft_chunk *chunk, int status)
{
    int entered = raft__enter(node, 0);
    if (entered != RAFT_OK) {
        return entered;
    }
    struct raft__stream *stream = chunk == NULL ? NULL : stream_of(node, chunk->peer);
    if (stream == NULL || status > 0 || stream->entries || !stream->reading) {
        return RAFT_EARG;
    }
    stream->reading = 0;
    node->dirty = 1;
    if (!stream->ended) {
        take_piece(node, stream, chunk, status);
    }
    return RAFT_OK;
}

/* ---- Snapshots: asked for ------------------------------------------------------------------- */

/*
 * A peer that lacks nothing wants a snapshot for its host's sake. It goes beside the appends, which
 * it goes on to acknowledge, so no state of the peer changes.
 */

/* The one for this peer, begun where there is none. Null: not now. */
static struct raft__stream *asked_transfer(raft *node, raft_id peer)
{
    struct raft__stream *stream = stream_of(node, peer);
    if (stream != NULL) {
        return stream->ended || !stream->asked ? NULL : stream;
    }
    stream = begin_snapshot(node, peer);
    if (stream != NULL) {
        stream->asked = 1;
    }
    return stream;
}

/* The host is to take one; it is told so again where that has not helped for a while. */
static void want_fresh(raft *node, raft_index index)
{
    if (node->fresh.wanted == 0 && node->now_ms >= node->fresh.again_ms) {
        node->fresh.wanted = index;
        node->fresh.again_ms = node->now_ms + (uint64_t)node->options.election_timeout_ms * 2;
    }
    node->snapshot_news |= node->fresh.wanted != 0;
    node->rare |= node->snapshot_news;
}

/* Of the own term, from a member with data: what it already has, or a transfer, is enough. */
void raft__fresh_receive(raft *node, const raft_message *message)
{
    uint32_t position = raft__position_of(node, message->from);
    if (node->role != RAFT_ROLE_LEADER || position >= node->peer_count ||
        (node->witnesses >> position & 1) != 0 || node->callbacks.snapshot_read == NULL ||
        node->peers[position].state > RAFT_PEER_REPLICATE || message->round > node->round ||
        !raft__service_exists(node)) {
        return;
    }
    node->dirty = 1;
    if (node->snapshot_index < message->commit) {
        want_fresh(node, message->commit);
        return;
    }
    struct raft__stream *stream = asked_transfer(node, message->from);
    if (stream != NULL) {
        stream->due |= message->round > stream->sent_round; /* what may be lost is sent again */
        stream->until_ms = node->now_ms + (uint64_t)node->options.election_timeout_ms * 2;
    }
}

/* As long as the peer goes on asking. */
void raft__fresh_feed(raft *node)
{
    for (struct raft__stream *stream = node->streams; stream != NULL; stream = stream->next) {
        uint32_t position = raft__position_of(node, stream->peer);
        if (!stream->asked || stream->ended || position >= node->peer_count) {
            continue;
        }
        if (node->now_ms >= stream->until_ms) {
            raft__stream_end(node, stream->peer, RAFT_ETIMEOUT);
        } else if (is_outdated(node, stream)) {
            raft__stream_end(node, stream->peer, RAFT_EDROPPED); /* it asks again, for the newer */
        } else {
            feed_piece(node, position, stream);
        }
    }
}

static int next_fresh(raft *node, raft_event *event)
{
    if (node->fresh.wanted == 0 || node->role != RAFT_ROLE_LEADER ||
        node->applied_index < node->fresh.wanted) {
        return 0;
    }
    memset(event, 0, sizeof(*event));
    event->kind = RAFT_EVENT_SNAPSHOT_WANTED;
    event->index = node->applied_index;
    node->fresh.wanted = 0;
    return 1;
}

/* ---- Snapshots: answers --------------------------------------------------------------------- */

/* The piece has arrived, or another is wanted. */
static void move_on(struct raft__stream *stream, uint64_t wanted)
{
    int arrived = stream->loaded && wanted == stream->offset + stream->size;
    if (wanted == stream->offset) {
        return; /* a repeated answer; what is lost is sent again with the next round */
    }
    stream->offset = wanted;
    stream->size = 0;
    if (arrived && stream->last) {
        return; /* all of it: nothing is left but to ask for the acknowledgement */
    }
    stream->loaded = 0;
    stream->last = 0;
    stream->due = 1;
}

void raft__snapshot_reply(raft *node, struct raft__peer *peer, const raft_message *message)
{
    struct raft__stream *stream = active_stream(node, peer->id, 0);
    if (stream == NULL || stream->index != message->index || stream->term != message->index_term ||
        stream->reading || stream->sent_round == 0 || message->round < stream->sent_round) {
        return; /* of an earlier piece, or of a transfer that has ended */
    }
    if (message->refused) {
        raft__stream_end(node, peer->id, RAFT_EDROPPED);
        peer->retry_ms = node->now_ms + node->options.election_timeout_ms;
        return;
    }
    if (stream->asked && stream->loaded && stream->last &&
        message->offset == stream->offset + stream->size) {
        node->counters.snapshots_sent++;
        raft__stream_end(node, peer->id, RAFT_OK); /* no acknowledgement tells more */
        return;
    }
    int bare = (node->witnesses >> raft__position_of(node, peer->id) & 1) != 0;
    move_on(stream, bare ? 0 : message->offset); /* metadata is all that there is (R56) */
}

void raft__snapshot_again(raft *node, struct raft__peer *peer, uint64_t round)
{
    struct raft__stream *stream = active_stream(node, peer->id, 0);
    if (stream != NULL) {
        stream->due |= round > stream->sent_round;
    } else if (peer->needs != RAFT__NO_NEED) {
        peer->nudge = 1; /* the host ships it: has it come? */
    }
}

/* All that the transfer could bring has arrived there, one way or the other. */
static void end_shipment(raft *node, struct raft__stream *stream, raft_index index)
{
    int whole = stream->loaded && stream->last && index >= stream->index;
    node->counters.snapshots_sent += (uint64_t)whole;
    raft__stream_end(node, stream->peer, whole ? RAFT_OK : RAFT_EDROPPED);
}

/* What was shipped has not arrived, or was lost there before it was in use. */
void raft__snapshot_missing(raft *node, struct raft__peer *peer, uint64_t round)
{
    if (peer->needs == RAFT__SHIPPED && round >= peer->since_round) {
        peer->needs = RAFT__NO_NEED;
        peer->retry_ms = node->now_ms + (uint64_t)node->options.election_timeout_ms * 2;
    }
}

/*
 * Any acknowledgement that the log can go on from ends the need (R38). Where the log was trimmed
 * beyond that meanwhile, a newer snapshot follows: what is held already is not sent for ever. Where
 * storage cannot give an entry the log begins in front of it: a peer without the snapshot denies
 * nothing then, but acknowledges what it had.
 */
void raft__snapshot_acknowledged(raft *node, struct raft__peer *peer, raft_index index,
                                 uint64_t round, int moved)
{
    struct raft__stream *stream = active_stream(node, peer->id, 0);
    if (index < node->log.base_index || index < peer->unreadable) {
        if (stream != NULL && index >= stream->index) {
            end_shipment(node, stream, index);
        } else if (stream == NULL && moved && peer->needs >= RAFT__TOLD) {
            peer->needs = RAFT__NO_NEED; /* the host ships a newer one */
            peer->retry_ms = node->now_ms + node->options.heartbeat_ms;
        } else {
            raft__snapshot_missing(node, peer, round);
        }
        return;
    }
    if (stream != NULL) {
        end_shipment(node, stream, index);
    }
    peer->state = RAFT_PEER_REPLICATE;
    peer->next = peer->match + 1;
    peer->needs = RAFT__NO_NEED;
    peer->unreadable = 0;
    peer->retry_ms = 0;
}

int raft_snapshot_sent(raft *node, raft_id peer_id, int status)
{
    int entered = raft__enter(node, 0);
    if (entered != RAFT_OK || status > 0) {
        return entered != RAFT_OK ? entered : RAFT_EARG;
    }
    uint32_t position = raft__position_of(node, peer_id);
    if (node->role != RAFT_ROLE_LEADER || position >= node->peer_count ||
        node->peers[position].state != RAFT_PEER_SNAPSHOT) {
        return RAFT_OK;
    }
    struct raft__peer *peer = &node->peers[position];
    if (status == RAFT_OK) {
        peer->nudge = 1; /* a report is no acknowledgement: it is asked (R38) */
        peer->needs = RAFT__SHIPPED;
        peer->since_round = ++node->round;
    } else {
        peer->needs = RAFT__NO_NEED;
        peer->retry_ms = node->now_ms + (uint64_t)node->options.election_timeout_ms * 2;
    }
    node->dirty = 1;
    return RAFT_OK;
}

/* ---- What is to be told --------------------------------------------------------------------- */

static int next_need(raft *node, raft_event *event)
{
    for (uint32_t i = 0; node->role == RAFT_ROLE_LEADER && i < node->peer_count; i++) {
        struct raft__peer *peer = &node->peers[i];
        if (peer->state == RAFT_PEER_SNAPSHOT && peer->needs == RAFT__UNTOLD) {
            peer->needs = RAFT__TOLD;
            memset(event, 0, sizeof(*event));
            event->kind = RAFT_EVENT_SNAPSHOT_NEEDED;
            event->peer = peer->id;
            return 1;
        }
    }
    node->needs_due = 0;
    return 0;
}

int raft__stream_next(raft *node, raft_event *event)
{
    if ((node->needs_due && next_need(node, event)) || next_fresh(node, event)) {
        return 1;
    }
    for (struct raft__stream *stream = node->streams; stream != NULL; stream = stream->next) {
        if (stream->ended && stream->begun) {
            memset(event, 0, sizeof(*event));
            event->kind = RAFT_EVENT_SNAPSHOT_END;
            event->peer = stream->peer;
            event->index = stream->index;
            event->status = stream->status;
            stream->begun = 0;
            node->dirty = 1; /* the next poll frees it */
            return 1;
        }
    }
    return 0;
}
