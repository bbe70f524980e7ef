/*
 * Snapshots: taken by the host, which lets the log go in front of them, and received from a leader
 * or by the host's own ways, which replaces the log (Raft dissertation chapter 5, rules R35 to R40).
 *
 * A snapshot that arrives:
 *
 *     pieces ──snapshot_write──▶ all durable ──log replaced, persist──▶ in use ──snapshot_load──▶
 *
 *   (1) snapshot_index is the newest snapshot that is durable; base_index <= snapshot_index, and
 *       snapshot_index <= applied_index but while a snapshot is being loaded (I20, R40).
 *   (2) A snapshot is of use only beyond the commit index. Where the log holds its last entry, the
 *       log stays and the commit index moves; else all of the log goes, in the same write that puts
 *       the snapshot into use (R35).
 *   (3) It is acknowledged when that write is durable, not before; no write that was issued earlier
 *       says anything of the log any more (R6).
 *   (4) Until the state machine is loaded nothing is applied, and this server does not campaign
 *       (R37). It votes, and takes entries.
 */
#include "raft_internal.h"

#define PIECE_BYTES_MAX ((size_t)1 << 26) /* chunk_bytes_max allows no more */

/* ---- Taking --------------------------------------------------------------------------------- */

int raft_snapshot_meta(const raft *node, void *out, size_t capacity, size_t *size)
{
    if (node == NULL || out == NULL || size == NULL) {
        return RAFT_EARG;
    }
    if (node->phase != RAFT__STARTED || node->error != RAFT_OK) {
        return RAFT_ESTATE;
    }
    if (node->applying_index != 0 || node->load_due) {
        return RAFT_EBUSY; /* the state is not that of applied_index, nor of any index */
    }
    const struct raft__held *held = raft__config_at(node, node->applied_index);
    if (held == NULL) {
        return RAFT_ENOTMEMBER;
    }
    struct raft__meta meta;
    meta.index = node->applied_index;
    meta.term = raft__log_term(&node->log, node->applied_index);
    meta.accepted_round = node->state.accepted_round;
    meta.version = held->index; /* as of the index, however new the one in force is (R36) */
    meta.config = held->bytes;
    meta.config_size = held->size;
    *size = raft__meta_size(held->size);
    if (*size > capacity) {
        return RAFT_ESIZE;
    }
    raft__meta_encode(&meta, (uint8_t *)out);
    return RAFT_OK;
}

void raft__snapshot_rearm(raft *node)
{
    uint64_t bytes = node->options.snapshot_log_bytes;
    uint64_t from = raft__log_position(&node->log, node->snapshot_index + 1);
    node->wanted_position = bytes == 0 ? UINT64_MAX : from + bytes;
    node->snapshot_news |= node->log.end_position >= node->wanted_position;
    node->rare |= node->snapshot_news;
}

static uint64_t newest_loan(const raft *node)
{
    return node->pending_count > 0 ? node->seq : 0;
}

/*
 * What is in front of the newest snapshot is given up but for a trail, whoever may still need it
 * (R40). Nothing goes that is not durable here: the snapshot of a volatile state may be ahead.
 */
static void trim(raft *node)
{
    raft_index limit =
        node->snapshot_index < node->durable_index ? node->snapshot_index : node->durable_index;
    if (limit <= node->log.base_index) {
        return;
    }
    raft_index base = raft__log_trail(&node->log, limit, node->options.trailing_bytes);
    raft__log_compact(&node->log, &node->memory, base, newest_loan(node));
    raft__config_compact(node, base);
    raft__bound_log(node);
}

/* Whether this is the metadata of an applied entry of this very log. */
static int is_own_meta(const raft *node, const struct raft__meta *meta)
{
    const struct raft__held *held = raft__config_at(node, meta->index);
    return meta->index <= node->applied_index && held != NULL && held->index == meta->version &&
           raft__log_term(&node->log, meta->index) == meta->term &&
           held->size == meta->config_size &&
           memcmp(held->bytes, meta->config, meta->config_size) == 0;
}

/* Keeps a copy of the metadata of the newest snapshot. */
static int copy_meta(raft *node, const void *meta, size_t size, uint8_t **copy)
{
    *copy = (uint8_t *)raft__resize(&node->memory, NULL, 0, size);
    if (*copy == NULL) {
        return RAFT_ENOMEM;
    }
    memcpy(*copy, meta, size);
    return RAFT_OK;
}

static void adopt_meta(raft *node, const struct raft__meta *meta, uint8_t *bytes, size_t size)
{
    raft__free(&node->memory, node->meta, node->meta_size);
    node->meta = bytes;
    node->meta_size = size;
    node->snapshot_index = meta->index;
    node->snapshot_term = meta->term;
}

int raft_compact(raft *node, const void *meta_bytes, size_t size)
{
    struct raft__meta meta;
    uint8_t *copy;
    int status = raft__enter(node, 1);
    if (status != RAFT_OK) {
        return status;
    }
    if (raft__meta_decode(meta_bytes, size, &meta) != RAFT_OK) {
        return RAFT_EARG;
    }
    if (meta.index <= node->snapshot_index) {
        return RAFT_OK;
    }
    if (!is_own_meta(node, &meta)) {
        return RAFT_EARG;
    }
    status = copy_meta(node, meta_bytes, size, &copy);
    if (status != RAFT_OK) {
        return status;
    }
    adopt_meta(node, &meta, copy, size);
    raft__snapshot_rearm(node);
    trim(node);
    return RAFT_OK;
}

/*
 * A log that is beyond its bound already, after a restart or because the bound was lowered, keeps
 * what it has for one: else it could take nothing, so the group might commit nothing, and nothing
 * could ever leave memory. From there the bound only falls, to the one wished for.
 */
void raft__bound_log(raft *node)
{
    uint64_t wished = node->options.log_bytes_max;
    uint64_t kept = node->log.bytes < node->log.bytes_max ? node->log.bytes : node->log.bytes_max;
    node->log.bytes_max = kept > wished ? kept : wished;
}

/* What is applied and durable is needed by slow peers alone, and for these storage is asked. */
void raft__evict(raft *node)
{
    raft_index index =
        node->applied_index < node->durable_index ? node->applied_index : node->durable_index;
    raft__log_evict(&node->log, &node->memory, index, node->options.log_bytes_max / 2,
                    newest_loan(node));
    raft__bound_log(node);
}

/* ---- Asking for a fresh one ----------------------------------------------------------------- */

/*
 * A snapshot at or below the commit index says nothing new, and is not installed (R35), but for the
 * one that the host has asked for. That is safe because nothing has been applied since: it was asked
 * for at the commit index of that moment, which no apply has passed, so whatever reaches that index
 * covers all that is applied here (I2, I3). And where the log holds its last entry, the log, what it
 * has acknowledged and the commit index stay as they are (R7, R24): only the state machine leaps.
 */
static int is_asked_for(const raft *node, raft_index index)
{
    return node->renewing && index >= node->fresh.index;
}

/* Where nobody can send one, apply must not stand still for ever. */
static void be_patient(raft *node)
{
    node->fresh.until_ms = node->now_ms + (uint64_t)node->options.election_timeout_ms * 20;
}

static void end_renewing(raft *node)
{
    node->renewing = 0;
    node->waiting--;
    node->dirty = 1; /* apply goes on */
}

void raft__fresh_end(raft *node)
{
    const struct raft__install *install = node->install;
    if (!node->renewing) {
        return;
    }
    end_renewing(node);
    if (install != NULL && install->meta.index <= node->commit_index) {
        raft__install_give_up(node, RAFT_EDROPPED);
    }
}

static int is_data_member(const raft *node)
{
    return node->self < node->peer_count && (node->witnesses & raft__bit_of(node, node->self)) == 0;
}

int raft_request_snapshot(raft *node)
{
    int status = raft__enter(node, 0);
    if (status != RAFT_OK || node->renewing) {
        return status;
    }
    if (node->callbacks.snapshot_load == NULL) {
        return RAFT_ESTATE;
    }
    if (!is_data_member(node)) {
        return RAFT_ENOTMEMBER;
    }
    if (node->role != RAFT_ROLE_FOLLOWER || node->leader == 0) {
        return RAFT_ENOLEADER;
    }
    if (node->stopping || node->install != NULL || raft__is_installing(node)) {
        return RAFT_EBUSY;
    }
    raft__wake(node);
    node->renewing = 1;
    node->fresh.index = node->commit_index > 0 ? node->commit_index : 1;
    node->fresh.again_ms = node->now_ms;
    be_patient(node);
    node->waiting++;
    node->rare = 1;
    node->counters.snapshots_asked++;
    node->dirty = 1;
    return RAFT_OK;
}

static int may_ask(const raft *node)
{
    return node->renewing && node->role == RAFT_ROLE_FOLLOWER && node->leader != 0;
}

void raft__fresh_send(raft *node)
{
    raft_message message;
    if (may_ask(node) && node->now_ms >= node->fresh.again_ms) {
        raft__message_begin(node, &message, RAFT_MESSAGE_SNAPSHOT_ASK, node->leader);
        message.round = node->leader_round;
        message.commit = node->fresh.index;
        node->fresh.again_ms = node->now_ms + node->options.heartbeat_ms;
        raft__send(node, &message);
    }
}

void raft__fresh_timers(raft *node)
{
    int in_hand = node->install != NULL && node->install->phase >= RAFT__ARRIVED;
    if (node->renewing && node->now_ms >= node->fresh.until_ms && !in_hand) {
        raft__fresh_end(node);
    }
}

uint64_t raft__fresh_deadline(const raft *node)
{
    uint64_t due = may_ask(node) ? node->fresh.again_ms : RAFT_NEVER;
    return node->renewing && node->fresh.until_ms < due && node->install == NULL
               ? node->fresh.until_ms
               : due;
}

/* ---- Receiving ------------------------------------------------------------------------------ */

/* What the message says of the snapshot is what its metadata says. */
static int describes(const raft *node, const raft_message *message)
{
    struct raft__meta meta;
    return raft__meta_decode(message->meta.data, message->meta.size, &meta) == RAFT_OK &&
           raft__config_acceptable(node, meta.config, meta.config_size) &&
           meta.index == message->index && meta.term == message->index_term;
}

/* Whether a snapshot that ends so denies the log up to `fixed`, or lets the terms fall (R35). */
static int denies(const raft *node, raft_index fixed, raft_index index, raft_term term)
{
    if (index > fixed) {
        return term < raft__log_term(&node->log, fixed);
    }
    return index >= node->log.base_index && raft__log_term(&node->log, index) != term;
}

/* What is committed, and what a leader of the present term has certified, stays as it is. */
static raft_index fixed_index(const raft *node)
{
    return node->certified > node->commit_index ? node->certified : node->commit_index;
}

int raft__snapshot_contradicts(const raft *node, const raft_message *message)
{
    int bare = (message->flags & RAFT_FLAG_BARE) != 0;
    raft_index fixed = message->term == node->state.term ? fixed_index(node) : node->commit_index;
    if (message->chunk.size > PIECE_BYTES_MAX || (bare && is_data_member(node)) ||
        (!bare && node->self < node->peer_count && !is_data_member(node))) {
        return 1;
    }
    if (message->offset == 0 && !describes(node, message)) {
        return 1;
    }
    return denies(node, fixed, message->index, message->index_term);
}

static void tell_end(raft *node, const struct raft__install *install, int status)
{
    RAFT_ASSERT(node->end_count < RAFT__ENDS); /* one between two polls, and one within */
    struct raft__end end = {install->from, install->meta.index, status};
    node->ends[node->end_count++] = end;
    node->snapshot_news = 1;
    node->rare = 1;
    node->dirty = 1;
}

void raft__install_free(raft *node)
{
    struct raft__install *install = node->install;
    if (install != NULL) {
        raft__free(&node->memory, install->meta_bytes, install->meta_size);
        raft__free(&node->memory, install->data, install->capacity);
        raft__free(&node->memory, install, sizeof(*install));
        node->install = NULL;
    }
}

/* The node stops: the end is told now, whoever has the buffer still. */
void raft__install_stop(raft *node)
{
    if (node->install != NULL && node->install->begun) {
        tell_end(node, node->install, node->error);
        node->install->begun = 0;
    }
}

static void end_install(raft *node, int status)
{
    if (node->install->begun) {
        tell_end(node, node->install, status);
    }
    raft__install_free(node);
}

/* A snapshot that is durable as a whole stays true whoever leads. */
void raft__install_give_up(raft *node, int status)
{
    struct raft__install *install = node->install;
    node->piece_reply.due = 0;
    if (install == NULL || install->phase == RAFT__COMPLETE) {
        return;
    }
    if (install->phase == RAFT__WRITING) {
        install->given_up = 1; /* the host has its buffer */
        return;
    }
    end_install(node, status);
}

/* It is committed, wherever it came from. What the leader hears is how far all is durable (R24). */
static void acknowledge(raft *node, raft_index index)
{
    raft__commit_to(node, index);
    if (node->pull.source != 0 && node->pull.index < node->commit_index) {
        raft__pull_on(node); /* it joins no further back than what is committed (N7) */
    }
    if (node->role == RAFT_ROLE_FOLLOWER && node->leader != 0) {
        if (node->commit_index > node->certified) {
            node->certified = node->commit_index; /* R25 */
        }
        node->refusal_due = 0;
        node->ack_due = 1;
    }
    node->dirty = 1;
}

static void answer_piece(raft *node, raft_index index, raft_term term, uint64_t wanted, int refused)
{
    struct raft__piece_reply reply = {index, term, wanted, 1, (uint8_t)refused};
    node->piece_reply = reply;
    if (node->role == RAFT_ROLE_CANDIDATE && node->pull.source != 0) {
        node->pull.due |= RAFT__PULL_PIECE;
        node->rare = 1;
    }
    node->dirty = 1;
}

static struct raft__install *install_new(raft *node, const void *meta_bytes, size_t size)
{
    struct raft__install *install =
        (struct raft__install *)raft__resize(&node->memory, NULL, 0, sizeof(*install));
    if (install == NULL) {
        return NULL;
    }
    memset(install, 0, sizeof(*install));
    if (copy_meta(node, meta_bytes, size, &install->meta_bytes) != RAFT_OK) {
        raft__free(&node->memory, install, sizeof(*install));
        return NULL;
    }
    install->meta_size = size;
    int status = raft__meta_decode(install->meta_bytes, size, &install->meta);
    RAFT_ASSERT(status == RAFT_OK); /* it was decoded before */
    return install;
}

/* Whether the message belongs to the transfer that is under way. */
static int continues(const struct raft__install *install, const raft_message *message)
{
    return install->from == message->from && install->sender_term == message->term &&
           install->meta.index == message->index && install->meta.term == message->index_term;
}

/*
 * The transfer that the message belongs to, begun by its first piece. Null: it is of no use now;
 * *status is RAFT_OK or RAFT_ENOMEM then.
 */
static struct raft__install *find_transfer(raft *node, const raft_message *message, int *status)
{
    struct raft__install *install = node->install;
    *status = RAFT_OK;
    if (install != NULL && continues(install, message)) {
        return install->given_up ? NULL : install;
    }
    if (install != NULL && install->phase >= RAFT__WRITING) {
        return NULL; /* first comes what is in hand */
    }
    if (message->offset != 0) {
        answer_piece(node, message->index, message->index_term, 0, 0);
        return NULL; /* from the beginning: what came before is not here (R39) */
    }
    install = install_new(node, message->meta.data, message->meta.size);
    if (install == NULL) {
        *status = RAFT_ENOMEM;
        return NULL;
    }
    if (node->install != NULL) {
        end_install(node, RAFT_EDROPPED);
    }
    install->from = message->from;
    install->sender_term = message->term;
    install->bare = (message->flags & RAFT_FLAG_BARE) != 0;
    node->install = install;
    node->rare = 1;
    return install;
}

static int keep_piece(raft *node, struct raft__install *install, const raft_message *message)
{
    size_t size = message->chunk.size;
    if (size > install->capacity) {
        uint8_t *data = (uint8_t *)raft__resize(&node->memory, NULL, 0, size);
        if (data == NULL) {
            return RAFT_ENOMEM;
        }
        raft__free(&node->memory, install->data, install->capacity);
        install->data = data;
        install->capacity = size;
    }
    if (size > 0) {
        memcpy(install->data, message->chunk.data, size);
    }
    install->size = size;
    install->last = (message->flags & RAFT_FLAG_LAST) != 0;
    install->phase = RAFT__ARRIVED;
    return RAFT_OK;
}

/* One piece waits at a time; the next poll gives it to the host. */
static int take_piece_of(raft *node, const raft_message *message)
{
    int status;
    struct raft__install *install = find_transfer(node, message, &status);
    if (install == NULL || install->phase == RAFT__ARRIVED || install->phase == RAFT__WRITING) {
        return status; /* no answer: it comes when the piece in hand is written */
    }
    if (install->phase == RAFT__COMPLETE || message->offset != install->offset) {
        answer_piece(node, message->index, message->index_term, install->offset, 0);
        return RAFT_OK;
    }
    return keep_piece(node, install, message);
}

static int can_take(const raft *node, const raft_message *message)
{
    return (message->flags & RAFT_FLAG_BARE) != 0 ||
           (node->callbacks.snapshot_write != NULL && node->callbacks.snapshot_load != NULL);
}

int raft__snapshot_receive(raft *node, const raft_message *message)
{
    if (raft__pulls_from(node, message->from)) {
        raft__pull_piece(node, message->round);
    } else if (!node->rules->by_log && node->state.vote == node->id) {
        return RAFT_OK; /* the own term: a late piece, of a pull that is over (P12) */
    } else {
        int status = raft__accept_leader(node, message->from, message->round);
        if (status != RAFT_OK) {
            return status;
        }
    }
    node->dirty = 1;
    if (!is_asked_for(node, message->index) &&
        (message->index <= node->commit_index ||
         raft__log_holds(&node->log, message->index, message->index_term))) {
        acknowledge(node, message->index);
        return RAFT_OK;
    }
    if (!can_take(node, message)) {
        answer_piece(node, message->index, message->index_term, 0, 1);
        return RAFT_OK;
    }
    if (is_asked_for(node, message->index)) {
        be_patient(node);
    }
    return take_piece_of(node, message);
}

void raft__snapshot_answer(raft *node, raft_id to, uint64_t round)
{
    const struct raft__piece_reply *reply = &node->piece_reply;
    raft_message message;
    raft__message_begin(node, &message, RAFT_MESSAGE_SNAPSHOT_REPLY, to);
    message.round = round;
    message.index = reply->index;
    message.index_term = reply->term;
    message.offset = reply->offset;
    message.refused = reply->refused;
    node->piece_reply.due = 0;
    raft__send(node, &message);
}

/* ---- Installing ----------------------------------------------------------------------------- */

/* What is written of the log, and what outstanding writes will confirm, is gone with it (R6). */
static void forget_written(raft *node)
{
    if (node->durable_index > node->commit_index) {
        node->durable_index = node->commit_index;
    }
    for (uint32_t i = 0; i < node->pending_count; i++) {
        if (node->pending[i].last_index > node->durable_index) {
            node->pending[i].last_index = node->durable_index;
        }
    }
}

static void load(raft *node, const struct raft__meta *meta)
{
    node->load_due = 1;
    node->rare = 1;
    node->load_index = meta->index;
    node->load_term = meta->term;
}

/* The log holds it all already: the state machine alone is replaced, as its host has asked. */
static void reload(raft *node, const struct raft__install *install)
{
    raft__own_cover(node, install->meta.index, install->meta.term);
    load(node, &install->meta);
    node->untold = 1; /* until it is loaded, which may be all that there is to do */
}

/*
 * The log in memory becomes that of the snapshot, and the next write makes it so on storage. The
 * truncation in it says nothing new to a disk; in a journal that is replayed it tells a snapshot
 * that replaces the log from one that was taken of it.
 */
static void replace_log(raft *node, struct raft__install *install, struct raft__held *held)
{
    raft_index index = install->meta.index;
    raft_term term = install->meta.term;
    if (node->role != RAFT_ROLE_FOLLOWER && !raft__pulls_from(node, install->from)) {
        raft__become_follower(node, node->state.term, 0);
    }
    raft__own_cover(node, index, term);
    forget_written(node);
    raft__log_reset(&node->log, &node->memory, index, term, newest_loan(node),
                    node->applying_index != 0);
    node->written_index = index;
    node->truncated_from = index + 1;
    node->rare = 1;
    node->meta_unwritten = 1;
    raft__config_reset(node, install->meta.version, held);
    adopt_meta(node, &install->meta, install->meta_bytes, install->meta_size);
    install->meta_bytes = NULL; /* it is the node's now */
    load(node, &install->meta);
    node->is_witness |= install->bare;
    node->counters.snapshots_installed++;
    raft__snapshot_rearm(node);
}

/*
 * Everything has arrived and is durable beside the state in use. Another leader may have certified
 * something else since it began to come; one of the two is none, and the log is not the liar's.
 */
static void put_into_use(raft *node)
{
    struct raft__install *install = node->install;
    raft_index index = install->meta.index;
    if (denies(node, fixed_index(node), index, install->meta.term)) {
        end_install(node, RAFT_EMALFORMED);
        return;
    }
    if (index > node->commit_index && !raft__log_holds(&node->log, index, install->meta.term)) {
        struct raft__held held;
        if (raft__config_prepare(node, install->meta.config, install->meta.config_size, &held) !=
            RAFT_OK) {
            return; /* no memory: by a later poll */
        }
        replace_log(node, install, &held);
    } else if (is_asked_for(node, index)) {
        reload(node, install);
    }
    if (is_asked_for(node, index)) {
        end_renewing(node);
        node->counters.snapshots_fresh++;
    }
    acknowledge(node, index);
    end_install(node, RAFT_OK);
}

/* The host has stored the piece, or has not. */
static void piece_done(raft *node, int status)
{
    struct raft__install *install = node->install;
    if (install->given_up) {
        end_install(node, RAFT_EDROPPED);
        return;
    }
    if (status != RAFT_OK) {
        answer_piece(node, install->meta.index, install->meta.term, 0, 1);
        end_install(node, status);
        return;
    }
    install->offset += install->size;
    install->phase = install->last ? RAFT__COMPLETE : RAFT__ARRIVING;
    answer_piece(node, install->meta.index, install->meta.term, install->offset, 0);
}

static void write_piece(raft *node, struct raft__install *install)
{
    raft_chunk chunk;
    memset(&chunk, 0, sizeof(chunk));
    chunk.peer = install->from;
    chunk.index = install->meta.index;
    chunk.term = install->meta.term;
    chunk.offset = install->offset;
    chunk.data = install->data;
    chunk.capacity = install->size;
    chunk.size = install->size;
    chunk.last = install->last;
    if (install->offset == 0) {
        chunk.meta = install->meta_bytes;
        chunk.meta_size = install->meta_size;
    }
    install->begun = 1;
    install->phase = RAFT__WRITING;
    node->counters.chunks_received++;
    node->inside = RAFT__IN_CALLBACK;
    int status = node->callbacks.snapshot_write(node->host, &chunk);
    node->inside = RAFT__OUTSIDE;
    if (status != RAFT_PENDING) {
        piece_done(node, status);
    }
}

void raft__install_step(raft *node)
{
    struct raft__install *install = node->install;
    if (install->phase == RAFT__ARRIVED && node->end_count > 0) {
        node->more_due = 1; /* first the host hears that the one before has ended */
        return;
    }
    if (install->phase == RAFT__ARRIVED && !install->bare) {
        write_piece(node, install);
    } else if (install->phase == RAFT__ARRIVED) {
        piece_done(node, RAFT_OK); /* a witness has nothing to write (R56) */
    }
    if (node->install != NULL && node->install->phase == RAFT__COMPLETE) {
        put_into_use(node);
    }
}

int raft_chunk_written(raft *node, int status)
{
    int entered = raft__enter(node, 0);
    if (entered != RAFT_OK) {
        return entered;
    }
    if (status > 0 || node->install == NULL || node->install->phase != RAFT__WRITING) {
        return RAFT_EARG;
    }
    piece_done(node, status);
    return RAFT_OK;
}

/* Whether the host may bring this snapshot, which the log does not hold. */
static int check_shipped(const raft *node, const struct raft__meta *meta)
{
    if (node->role == RAFT_ROLE_LEADER || meta->term > node->state.term ||
        denies(node, fixed_index(node), meta->index, meta->term)) {
        return RAFT_EMALFORMED; /* a leader's log lacks nothing that is committed (I13) */
    }
    if (node->callbacks.snapshot_load == NULL && !node->is_witness) {
        return RAFT_ESTATE;
    }
    return node->install != NULL || node->load_due || node->load_in_hand ? RAFT_EBUSY : RAFT_OK;
}

int raft_snapshot_received(raft *node, const void *meta_bytes, size_t size)
{
    struct raft__meta meta;
    int status = raft__enter(node, 0);
    if (status != RAFT_OK) {
        return status;
    }
    if (meta_bytes == NULL) {
        return RAFT_EARG;
    }
    status = raft__meta_decode(meta_bytes, size, &meta);
    if (status == RAFT_OK && !raft__config_acceptable(node, meta.config, meta.config_size)) {
        status = RAFT_ECORRUPT;
    }
    if (status != RAFT_OK) {
        return status;
    }
    if (!is_asked_for(node, meta.index) &&
        (meta.index <= node->commit_index || raft__log_holds(&node->log, meta.index, meta.term))) {
        acknowledge(node, meta.index);
        return RAFT_OK;
    }
    status = check_shipped(node, &meta);
    if (status != RAFT_OK) {
        return status;
    }
    raft__wake(node); /* R54 */
    node->install = install_new(node, meta_bytes, size);
    if (node->install == NULL) {
        return RAFT_ENOMEM;
    }
    node->install->phase = RAFT__COMPLETE;
    node->install->bare = node->is_witness;
    node->rare = 1;
    node->dirty = 1;
    return RAFT_OK;
}

/* ---- What is to be told --------------------------------------------------------------------- */

static int next_wanted(raft *node, raft_event *event)
{
    if (node->log.end_position < node->wanted_position || node->error != RAFT_OK ||
        raft__is_installing(node) ||
        raft__log_position(&node->log, node->applied_index + 1) < node->wanted_position) {
        return 0;
    }
    memset(event, 0, sizeof(*event));
    event->kind = RAFT_EVENT_SNAPSHOT_WANTED;
    event->index = node->applied_index;
    node->wanted_position = raft__log_position(&node->log, node->applied_index + 1) +
                            node->options.snapshot_log_bytes; /* again after as much more */
    return 1;
}

static int next_end(raft *node, raft_event *event)
{
    if (node->end_count == 0) {
        return 0;
    }
    memset(event, 0, sizeof(*event));
    event->kind = RAFT_EVENT_SNAPSHOT_END;
    event->peer = node->ends[0].peer;
    event->index = node->ends[0].index;
    event->status = node->ends[0].status;
    node->end_count--;
    node->ends[0] = node->ends[1];
    return 1;
}

int raft__snapshot_next(raft *node, raft_event *event)
{
    if (!node->snapshot_news) {
        return 0;
    }
    if (next_wanted(node, event) || raft__stream_next(node, event) || next_end(node, event)) {
        return 1;
    }
    node->snapshot_news = node->log.end_position >= node->wanted_position; /* not applied yet */
    return 0;
}
