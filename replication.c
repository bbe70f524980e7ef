/*
 * How the log reaches everybody: the follower's side of an append, the leader's progress per peer,
 * flow control and the commit rule (Raft dissertation §3.5, §3.6, §10.2).
 *
 * What a leader knows of a peer:
 *
 *               acknowledged at next - 1 or above
 *     ┌───────┐ ─────────────────────────────────▶ ┌───────────┐
 *     │ PROBE │                                     │ REPLICATE │
 *     └───────┘ ◀───────────────────────────────── └───────────┘
 *                    refused, or unreachable
 *
 * PROBE looks for the point where the logs agree, one append at a time. REPLICATE sends ahead of
 * the acknowledgements within a window of messages and bytes.
 *
 *   (1) match < next, and match never falls within a leadership (R28).
 *   (2) match rises only on acknowledgements, which speak only of what is durable (R1, R28).
 *   (3) A follower acknowledges and commits no further than `certified`: what messages of the
 *       present term have shown to be the leader's log. Never its own last index (R25, R26).
 *   (4) Only an entry of the leader's own term is committed by counting (R27).
 */
#include "raft_internal.h"

/* ---- Follower ------------------------------------------------------------------------------- */

/* Who claims to lead our term must be the one leader of it: two would break everything (I4). */
RAFT_APART static int accept_new_leader(raft *node, raft_id from)
{
    if (node->role == RAFT_ROLE_LEADER || (node->leader != 0 && node->leader != from) ||
        !node->rules->may_own(node, from, node->state.term)) {
        return RAFT_EMALFORMED;
    }
    if (node->role != RAFT_ROLE_FOLLOWER) {
        raft__become_follower(node, node->state.term, from);
    }
    node->leader = from;
    node->untold = 1;
    raft__pull_serve_end(node); /* it has what it pulled */
    return RAFT_OK;
}

/*
 * Contact: a valid append, heartbeat or snapshot chunk of the own term's leader. It is dated by the
 * next sample, which errs to the safe side (R59).
 */
static inline int accept_leader(raft *node, raft_id from, uint64_t round)
{
    if (node->leader != from || node->role != RAFT_ROLE_FOLLOWER) {
        int status = accept_new_leader(node, from);
        if (status != RAFT_OK) {
            return status;
        }
    }
    node->contact = 1;
    node->contact_fresh = 1;
    node->timer_reset = 1;
    node->attempts = 0;
    if (round > node->leader_round) {
        node->leader_round = round;
    }
    return RAFT_OK;
}

int raft__accept_leader(raft *node, raft_id from, uint64_t round)
{
    return accept_leader(node, from, round);
}

/*
 * Whether the log agrees with the message at its prev. What is committed or certified agrees by
 * definition; the log below may be gone (R24).
 */
static int prev_matches(const raft *node, const raft_message *message)
{
    if (message->index <= node->commit_index || message->index <= node->certified) {
        return 1;
    }
    return message->index <= node->log.last_index &&
           raft__log_term(&node->log, message->index) == message->index_term;
}

/*
 * The hint lets the leader skip whole terms: the last entry here that can be part of a log whose
 * entry at prev has that term (R30). What is committed here is the leader's as well (I6), and is
 * acknowledged beside the refusal: the leader may have lost the acknowledgement of a snapshot that
 * its log has outrun since, and would wait for one that has come (R38).
 */
RAFT_APART static void refuse_append(raft *node, const raft_message *message)
{
    if (node->commit_index > node->certified) {
        node->certified = node->commit_index;
    }
    node->ack_due = node->certified > 0;
    raft_index last = node->log.last_index;
    raft_index from = message->index < last ? message->index : last;
    node->hint_index = raft__log_floor(&node->log, from, message->index_term);
    node->hint_term = raft__log_term(&node->log, node->hint_index);
    node->refused_index = message->index;
    node->refusal_due = 1;
}

/* Whether a range holds the entry that the log begins behind, in another term. */
static int denies_base(const raft *node, const raft_range *range, raft_index last)
{
    raft_index base = node->log.base_index;
    return range->first <= base && last >= base && range->term != raft__log_term(&node->log, base);
}

/* Whether an entry at or below `fixed` has another term here. */
RAFT_APART static int ranges_contradict(const raft *node, const raft_message *message,
                                        raft_index fixed)
{
    for (size_t i = 0; i < message->range_count; i++) {
        const raft_range *range = &message->ranges[i];
        raft_index last = range->first + range->count - 1;
        if (denies_base(node, range, last) ||
            raft__log_mismatch(&node->log, range->first, last < fixed ? last : fixed,
                               range->term) != 0) {
            return 1;
        }
    }
    return 0;
}

/*
 * Headers without payload are for witnesses only, and for who does not know yet what it is; a
 * membership must be one that this server understands.
 */
RAFT_APART static int kinds_acceptable(const raft *node, const raft_message *message,
                                       unsigned kinds)
{
    if ((kinds & 1u << RAFT_ENTRY_STRIPPED) != 0 && node->self < node->peer_count &&
        (raft__bit_of(node, node->self) & node->witnesses) == 0) {
        return 0;
    }
    for (size_t i = 0; i < message->range_count; i++) {
        if (!raft__configs_acceptable(node, &message->ranges[i], kinds)) {
            return 0;
        }
    }
    return 1;
}

/*
 * Whether an append denies what is committed, or what its own term has certified: no correct leader
 * does. Judged before anything changes.
 */
static int append_contradicts(const raft *node, const raft_message *message, unsigned kinds)
{
    raft_index fixed = node->commit_index;
    if (kinds > RAFT__PLAIN_KINDS && !kinds_acceptable(node, message, kinds)) {
        return 1;
    }
    if (message->term == node->state.term && node->certified > fixed) {
        fixed = node->certified;
    }
    if (message->index > fixed) {
        return 0;
    }
    if (message->index >= node->log.base_index &&
        raft__log_term(&node->log, message->index) != message->index_term) {
        return 1;
    }
    return message->index < fixed && ranges_contradict(node, message, fixed);
}

/* Takes the ranges in, as many as memory allows; returns the last index that agrees now. */
static raft_index take_ranges(raft *node, const raft_message *message, unsigned kinds, int *status)
{
    raft_index matched = message->index;
    *status = RAFT_OK;
    for (size_t i = 0; i < message->range_count && *status == RAFT_OK; i++) {
        size_t count = 0;
        *status = raft__take_range(node, &message->ranges[i], kinds, &count);
        matched += count;
    }
    return matched;
}

/*
 * An acknowledgement of prev alone, while the entries behind it are being written, would only make
 * the leader send them once more: it counts as made.
 */
static void expect_more_than(raft *node, raft_index prev)
{
    raft_index known = prev < node->durable_index ? prev : node->durable_index;
    if (known > node->acked) {
        node->acked = known;
    }
}

/*
 * The message may repeat what is here: only from the first entry that differs is anything replaced
 * (R7). What it proves, and no more, is certified, acknowledged once durable, and committed (R25).
 */
int raft__append_receive(raft *node, const raft_message *message, unsigned kinds)
{
    if (append_contradicts(node, message, kinds)) {
        return RAFT_EMALFORMED;
    }
    raft__adopt_term(node, message->term);
    int status = accept_leader(node, message->from, message->round);
    if (status != RAFT_OK) {
        return status;
    }
    node->dirty = 1;
    if (!prev_matches(node, message)) {
        refuse_append(node, message);
        return RAFT_OK;
    }
    raft_index matched = take_ranges(node, message, kinds, &status);
    if (matched < node->commit_index) {
        matched = node->commit_index;
    }
    if (matched > node->certified) {
        node->certified = matched;
    }
    if (message->index >= node->refused_index) {
        node->refusal_due = 0; /* what was missing has come meanwhile */
    }
    if (message->range_count > 0) {
        expect_more_than(node, message->index);
        node->full = status != RAFT_OK; /* the leader is told, and waits with more */
    }
    if ((message->flags & RAFT_FLAG_THROUGH) != 0 && status == RAFT_OK) {
        raft__reached_adopted(node);
    }
    node->ack_due = 1;
    raft__commit_to(node, message->commit < node->certified ? message->commit : node->certified);
    return status;
}

/*
 * Carries the commit index unclamped; `certified` makes that safe (R26). Where it falls short, as
 * after a restart in a group that is idle, the reply says so, and the leader sends an empty append.
 */
int raft__heartbeat_receive(raft *node, const raft_message *message)
{
    int status = accept_leader(node, message->from, message->round);
    if (status != RAFT_OK) {
        return status;
    }
    if ((message->flags & RAFT_FLAG_NO_QUORUM) != 0 && message->round == node->leader_round) {
        raft__heard_weak_leader(node);
    }
    node->uncertain = message->commit > node->certified;
    if (node->full) {
        raft__fresh_end(node); /* what is not applied cannot leave memory */
    }
    node->full = 0; /* to be tried again: memory may have become free */
    if ((message->flags & RAFT_FLAG_CREDIT) != 0) {
        raft__lease_asked(node, message->round);
    }
    if (message->round != 0) {
        node->heartbeat_reply_due = 1;
        node->dirty = 1;
    }
    raft__commit_to(node, message->commit < node->certified ? message->commit : node->certified);
    if (node->options.quiesce) {
        raft__quiet_heartbeat(node, message);
    }
    return RAFT_OK;
}

/* What every reply to the leader tells: while memory is short it sends no more entries. */
static int reply_flags(const raft *node)
{
    return node->full ? RAFT_FLAG_FULL : 0;
}

RAFT_APART static void send_refusal(raft *node)
{
    raft_message message;
    raft__message_begin(node, &message, RAFT_MESSAGE_APPEND_REPLY, node->leader);
    message.round = node->leader_round;
    message.refused = 1;
    message.index = node->hint_index;
    message.index_term = node->hint_term;
    message.refused_index = node->refused_index;
    message.flags = reply_flags(node);
    node->refusal_due = 0;
    raft__send(node, &message);
}

/* Acknowledges what is certified as far as it is durable; the rest follows when it is. */
static int send_ack(raft *node)
{
    raft_index index =
        node->certified < node->durable_index ? node->certified : node->durable_index;
    if (index < node->certified && index <= node->acked) {
        return 0;
    }
    raft_message message;
    raft__message_begin(node, &message, RAFT_MESSAGE_APPEND_REPLY, node->leader);
    message.round = node->leader_round;
    message.index = index;
    message.credit_ms = raft__credit(node);
    message.flags = reply_flags(node) | node->accepted_flag;
    node->acked = index;
    node->ack_due = index < node->certified;
    raft__send(node, &message);
    return 1;
}

static void send_heartbeat_reply(raft *node)
{
    raft_message message;
    raft__message_begin(node, &message, RAFT_MESSAGE_HEARTBEAT_REPLY, node->leader);
    message.round = node->leader_round;
    message.refused = node->uncertain;
    message.credit_ms = raft__credit(node);
    message.flags = reply_flags(node) | (node->quiet.idle_reply ? RAFT_FLAG_IDLE : 0);
    raft__send(node, &message);
}

/* An append reply says all that a heartbeat reply would. */
void raft__follower_send(raft *node)
{
    if (node->role != RAFT_ROLE_FOLLOWER || node->leader == 0) {
        return;
    }
    int replied = node->refusal_due;
    if (node->ack_due) {
        replied |= send_ack(node);
    }
    if (node->refusal_due) { /* behind what is held: that tells more */
        send_refusal(node);
    }
    if (node->piece_reply.due) {
        raft__snapshot_answer(node, node->leader, node->leader_round);
    }
    if (node->heartbeat_reply_due) {
        node->heartbeat_reply_due = 0;
        if (!replied) {
            send_heartbeat_reply(node);
        }
    }
}

/* Headers for a witness in one append: a membership, or some hundred entries. */
#define STRIPPED_BYTES ((size_t)RAFT_META_MAX + 16)

/* ---- Leader: the window --------------------------------------------------------------------- */

RAFT_APART static int window_grow(raft *node, struct raft__window *window)
{
    uint32_t wanted = window->capacity == 0 ? 4 : window->capacity * 2u;
    raft_index *last = (raft_index *)raft__resize(&node->memory, NULL, 0, wanted * sizeof(*last));
    if (last == NULL) {
        return RAFT_ENOMEM;
    }
    for (uint32_t i = 0; i < window->count; i++) {
        last[i] = window->last[(window->head + i) & (window->capacity - 1u)];
    }
    raft__free(&node->memory, window->last, window->capacity * sizeof(*last));
    window->last = last;
    window->capacity = (uint16_t)wanted;
    window->head = 0;
    return RAFT_OK;
}

static void window_push(struct raft__window *window, raft_index last)
{
    RAFT_ASSERT(window->count < window->capacity);
    window->last[(window->head + window->count) & (window->capacity - 1u)] = last;
    window->count++;
}

/* An acknowledgement frees every message that it covers. */
static void window_pop(struct raft__window *window, raft_index index)
{
    while (window->count > 0 && window->last[window->head] <= index) {
        window->head = (uint16_t)((window->head + 1u) & (window->capacity - 1u));
        window->count--;
    }
}

/* What is sent and not acknowledged lies between match and next: no counter can drift. */
uint64_t raft__inflight_bytes(const raft *node, const struct raft__peer *peer)
{
    if (peer->state != RAFT_PEER_REPLICATE || peer->next == peer->match + 1) {
        return 0;
    }
    if ((node->witnesses >> (peer - node->peers) & 1) != 0) {
        return (peer->next - peer->match - 1) * RAFT_ENTRY_HEADER; /* headers went to it */
    }
    return raft__log_position(&node->log, peer->next) -
           raft__log_position(&node->log, peer->match + 1);
}

/* The last message may overshoot the window's bytes (R31). Without memory it counts as full. */
static inline int window_has_room(raft *node, struct raft__peer *peer)
{
    if (peer->window.count >= node->options.inflight_messages_max ||
        (peer->window.count > 0 &&
         raft__inflight_bytes(node, peer) >= node->options.inflight_bytes_max)) {
        return 0;
    }
    return peer->window.count < peer->window.capacity ||
           window_grow(node, &peer->window) == RAFT_OK;
}

/* ---- Leader: progress ----------------------------------------------------------------------- */

void raft__peer_reset(const raft *node, struct raft__peer *peer)
{
    peer->match = 0;
    peer->next = node->log.last_index + 1;
    peer->commit_told = 0;
    peer->round_echoed = 0;
    peer->since_round = 0;
    peer->session_round = node->round;
    peer->match_round = 0;
    peer->heard_ms = 0;
    peer->state = RAFT_PEER_PROBE;
    peer->paused = 0;
    peer->nudge = 0;
    peer->full = 0;
    peer->accepted = node->rules->by_log || peer->id == node->id; /* it leads by having accepted */
    peer->lost_told = 0;
    peer->needs = RAFT__NO_NEED;
    peer->retry_ms = 0;
    peer->unreadable = 0;
    peer->window.count = 0;
}

void raft__progress_reset(raft *node)
{
    raft_index next = node->own_first + (node->log.last_term < node->state.term);
    for (uint32_t i = 0; i < node->peer_count; i++) {
        raft__peer_reset(node, &node->peers[i]);
        node->peers[i].next = next;
        node->peers[i].session_round = 0; /* what answers this term answers this leadership */
    }
    node->checked_last = node->own_first;
    node->checked_before = node->own_first;
    node->match_moved = 1;
    node->change_due = 1;
    node->rare = 1;
}

void raft__peer_free(raft *node, struct raft__peer *peer)
{
    static const struct raft__window none = {NULL, 0, 0, 0};
    struct raft__window *window = &peer->window;
    raft__stream_end(node, peer->id, RAFT_ENOTMEMBER);
    raft__free(&node->memory, window->last, window->capacity * sizeof(*window->last));
    raft__free(&node->memory, peer->stripped, STRIPPED_BYTES);
    *window = none;
    peer->stripped = NULL;
}

void raft__progress_free(raft *node)
{
    for (uint32_t i = 0; i < node->peer_count; i++) {
        raft__stream_end(node, node->peers[i].id, RAFT_ENOTLEADER);
        raft__peer_free(node, &node->peers[i]);
    }
}

int raft__peer_is_alive(const raft *node, uint32_t position)
{
    if (position >= node->peer_count || node->peers[position].state == RAFT_PEER_LOST) {
        return 0;
    }
    uint64_t heard_ms = node->peers[position].heard_ms;
    return heard_ms != 0 &&
           node->now_ms - heard_ms <= (uint64_t)node->options.election_timeout_ms * 2;
}

int raft__peer_has_caught_up(const raft *node, uint32_t position)
{
    return raft__peer_is_alive(node, position) &&
           node->peers[position].state == RAFT_PEER_REPLICATE &&
           node->peers[position].match >= node->checked_before;
}

/*
 * Back to looking for the point of agreement; match is where it is for certain (R31), and in front
 * of the log nothing can be asked.
 */
void raft__peer_probe(const raft *node, struct raft__peer *peer)
{
    raft_index base = node->log.base_index;
    peer->state = RAFT_PEER_PROBE;
    peer->next = (peer->match > base ? peer->match : base) + 1;
    peer->paused = 0;
    peer->nudge = 0;
    peer->window.count = 0;
}

/*
 * The peer denies, later than it acknowledged it, what it had acknowledged as durable: its storage
 * was lost or set back. An id is one log for ever: it counts for nothing and gets nothing any more,
 * until it is removed (R48).
 */
RAFT_APART static void lose_peer(raft *node, struct raft__peer *peer)
{
    raft__peer_probe(node, peer);
    raft__stream_end(node, peer->id, RAFT_EDROPPED);
    peer->match = 0;
    peer->next = 1;
    peer->accepted = 0;
    peer->round_echoed = 0;
    peer->lease_end_ms = 0;
    peer->state = RAFT_PEER_LOST;
    node->regression_due = 1;
    node->rare = 1;
    node->dirty = 1;
}

int raft__regression_next(raft *node, raft_event *event)
{
    for (uint32_t i = 0; node->role == RAFT_ROLE_LEADER && i < node->peer_count; i++) {
        struct raft__peer *peer = &node->peers[i];
        if (peer->state == RAFT_PEER_LOST && !peer->lost_told) {
            memset(event, 0, sizeof(*event));
            event->kind = RAFT_EVENT_REGRESSION;
            event->peer = peer->id;
            event->term = node->state.term;
            peer->lost_told = 1;
            return 1;
        }
    }
    node->regression_due = 0;
    return 0;
}

/*
 * A refusal moves the cursor to the last entry here that can agree with the hint: at most one probe
 * for each distinct term (R30). Late refusals, of what is known to match or of an older probe,
 * change nothing (R29). Where the hint lies in front of the log, nothing in the log agrees: what
 * agrees and has a term not above that of the entry asked about would be named by the hint.
 */
RAFT_APART static void receive_refusal(raft *node, struct raft__peer *peer,
                                       const raft_message *message)
{
    if (message->index < peer->match && message->round > peer->match_round) {
        lose_peer(node, peer);
        return;
    }
    if (message->refused_index <= peer->match) {
        return;
    }
    if (peer->state == RAFT_PEER_SNAPSHOT) {
        raft__snapshot_missing(node, peer, message->round);
        return;
    }
    if (peer->state == RAFT_PEER_REPLICATE) {
        if (message->round >= peer->since_round) {
            raft__peer_probe(node, peer);
            peer->since_round = ++node->round; /* a question of its own, told from those before */
        }
        return;
    }
    if (message->refused_index != peer->next - 1) {
        return;
    }
    raft_index from = message->index < peer->next - 2 ? message->index : peer->next - 2;
    raft_index base = node->log.base_index;
    raft_index agreed = from < base ? from : raft__log_floor(&node->log, from, message->index_term);
    agreed = agreed > peer->match ? agreed : peer->match;
    if (agreed < base) {
        raft__peer_needs_snapshot(node, peer);
        return;
    }
    peer->next = agreed + 1;
    peer->paused = 0;
}

static void receive_ack(raft *node, struct raft__peer *peer, raft_index index, uint64_t round)
{
    int moved = index > peer->match;
    if (moved) {
        peer->match = index;
        peer->match_round = node->round;
        node->match_moved = 1;
    }
    if (peer->state == RAFT_PEER_REPLICATE) {
        window_pop(&peer->window, index);
    } else if (peer->state == RAFT_PEER_SNAPSHOT) {
        raft__snapshot_acknowledged(node, peer, index, round, moved);
    } else if (index + 1 >= peer->next && round >= peer->since_round) {
        peer->state = RAFT_PEER_REPLICATE;
        peer->paused = 0;
    }
    if (peer->next <= peer->match) {
        peer->next = peer->match + 1;
    }
}

/*
 * The peer lives and has read what was sent before. So what is still unacknowledged may be lost:
 * one empty append finds out, brings a caught-up peer back from probing (R31), and certifies its
 * log to a peer that cannot follow the commit index.
 */
static void receive_liveness(raft *node, struct raft__peer *peer, const raft_message *message)
{
    if (peer->state == RAFT_PEER_PROBE) {
        peer->paused = 0;
    } else if (peer->state == RAFT_PEER_SNAPSHOT) {
        raft__snapshot_again(node, peer, message->round);
    } else if (message->refused || peer->match + 1 < peer->next || !peer->accepted) {
        peer->nudge = 1;
    }
}

/* A member and its position, or null. */
static inline struct raft__peer *find_peer(const raft *node, raft_id id, uint32_t *position)
{
    struct raft__peer *peer = node->peers;
    for (uint32_t i = 0; i < node->peer_count; i++, peer++) {
        if (peer->id == id) {
            *position = i;
            return peer;
        }
    }
    return NULL;
}

/* A reply to an append, heartbeat or snapshot, of the own term. Beyond the own log or rounds it is
 * nonsense. */
int raft__progress_receive(raft *node, const raft_message *message)
{
    uint32_t position;
    struct raft__peer *peer = find_peer(node, message->from, &position);
    if (node->role != RAFT_ROLE_LEADER || peer == NULL) {
        raft__pull_piece_reply(node, message);
        return RAFT_OK;
    }
    int is_ack = message->kind == RAFT_MESSAGE_APPEND_REPLY && !message->refused;
    if (message->round > node->round || (is_ack && message->index > node->log.last_index)) {
        return RAFT_EMALFORMED;
    }
    if (message->round < peer->session_round || peer->state == RAFT_PEER_LOST) {
        return RAFT_OK; /* of an earlier membership (R28), or of a log that is gone */
    }
    node->heard |= (raft__set)1 << position;
    peer->heard_ms = node->now_ms;
    peer->full = (message->flags & RAFT_FLAG_FULL) != 0;
    node->dirty = 1;
    if (message->round > peer->round_echoed) {
        peer->round_echoed = message->round;
    }
    if (!peer->accepted && is_ack && (message->flags & RAFT_FLAG_ACCEPTED) != 0) {
        peer->accepted = 1;
        node->match_moved = 1;
    }
    if (message->credit_ms != 0) {
        raft__lease_credit(node, peer, message->round, message->credit_ms);
    }
    if (is_ack) {
        receive_ack(node, peer, message->index, message->round);
    } else if (message->kind == RAFT_MESSAGE_HEARTBEAT_REPLY) {
        if (node->options.quiesce) {
            raft__quiet_reply(node, position, message);
        }
        receive_liveness(node, peer, message);
    } else if (message->kind == RAFT_MESSAGE_SNAPSHOT_REPLY) {
        raft__snapshot_reply(node, peer, message);
    } else {
        receive_refusal(node, peer, message);
    }
    return RAFT_OK;
}

/* ---- Leader: sending ------------------------------------------------------------------------ */

/*
 * The appends and heartbeats of one poll differ only in their receiver where peers are equally far,
 * as they mostly are: each is built once and sent to all of these.
 */
struct draft {
    raft_message append;
    raft_message heartbeat;
    uint64_t append_bytes_max; /* that the append was built with */
    raft_index append_end;     /* behind its last entry */
    uint64_t round;            /* of the heartbeats; 0: none is due */
    int round_flags;           /* and what they say */
};

/* Multi-Paxos: whether an append that ends here certifies everything that was adopted (P6). */
static int through_adopted(const raft *node, raft_index end)
{
    return end >= node->through_from ? RAFT_FLAG_THROUGH : 0;
}

/* An append behind index prev, with entries of at most bytes_max; without any if that is 0. */
RAFT_APART static void draft_append(const raft *node, struct draft *draft, raft_index prev,
                                    uint64_t bytes_max)
{
    raft_message *message = &draft->append;
    raft_index next = prev + 1;
    uint64_t room = bytes_max;
    raft__message_begin(node, message, RAFT_MESSAGE_APPEND, 0);
    message->round = node->round;
    message->index = prev;
    message->index_term = raft__log_term(&node->log, prev);
    message->commit = node->commit_index;
    while (room > 0 && message->range_count < RAFT_RANGES_MAX && next <= node->log.last_index) {
        raft_range *range = &message->ranges[message->range_count];
        raft__log_range(&node->log, next, node->log.last_index, room, range);
        if (message->range_count > 0 &&
            (range->term != message->ranges[0].term || range->size > room)) {
            break; /* one term in a message; an entry too large for it goes alone */
        }
        message->range_count++;
        next += range->count;
        room = range->size < room ? room - range->size : 0;
    }
    message->flags = through_adopted(node, next - 1);
    draft->append_bytes_max = bytes_max;
    draft->append_end = next;
}

static void send_append(raft *node, struct draft *draft, struct raft__peer *peer,
                        uint64_t bytes_max)
{
    if (draft->append.kind == 0 || draft->append.index != peer->next - 1 ||
        draft->append_bytes_max != bytes_max) {
        draft_append(node, draft, peer->next - 1, bytes_max);
    }
    if (peer->state == RAFT_PEER_REPLICATE && draft->append_end > peer->next) {
        window_push(&peer->window, draft->append_end - 1);
        peer->next = draft->append_end;
    }
    peer->commit_told = node->commit_index;
    draft->append.to = peer->id;
    raft__send(node, &draft->append);
}

/*
 * Headers of the entries of a range up to last, in place of the entries; memberships whole. Returns
 * how many there are: no more than have room, one in any case.
 */
static size_t strip_entries(raft_range range, raft_index last, size_t room, uint8_t *out,
                            raft_range *stripped)
{
    raft_entry entry;
    size_t size = 0;
    stripped->first = range.first;
    stripped->term = range.term;
    stripped->count = 0;
    stripped->data = out;
    while (raft_range_next(&range, &entry)) {
        int whole = entry.kind == RAFT_ENTRY_CONFIG;
        size_t payload_size = whole ? entry.size : 0;
        if (stripped->count > 0 &&
            (entry.index > last || size + raft__entry_size(payload_size) > room)) {
            break; /* one always has room */
        }
        int kind = entry.kind == RAFT_ENTRY_DATA ? RAFT_ENTRY_STRIPPED : entry.kind;
        size += raft__entry_write(out + size, kind, entry.data, payload_size);
        stripped->count++;
    }
    stripped->size = size;
    return stripped->count;
}

static size_t strip_room(const raft *node)
{
    return node->options.append_bytes_max < STRIPPED_BYTES ? node->options.append_bytes_max
                                                           : STRIPPED_BYTES;
}

/* An append behind peer->next - 1, without entries yet. */
static void begin_append(const raft *node, const struct raft__peer *peer, raft_message *message)
{
    raft__message_begin(node, message, RAFT_MESSAGE_APPEND, peer->id);
    message->round = node->round;
    message->index = peer->next - 1;
    message->index_term = raft__log_term(&node->log, peer->next - 1);
    message->commit = node->commit_index;
}

/* The last index that an append of one range speaks of. */
static raft_index message_end(const raft_message *message)
{
    return message->index + (message->range_count > 0 ? message->ranges[0].count : 0);
}

/* An append of headers behind peer->next - 1, up to last; none if that is below. */
static void send_stripped(raft *node, struct raft__peer *peer, raft_index last)
{
    raft_message message;
    raft_range range;
    begin_append(node, peer, &message);
    if (last >= peer->next) {
        raft__log_range(&node->log, peer->next, last, UINT64_MAX, &range);
        message.range_count =
            strip_entries(range, last, strip_room(node), peer->stripped, &message.ranges[0]) > 0;
    }
    message.flags = through_adopted(node, message_end(&message));
    if (message.range_count > 0 && peer->state == RAFT_PEER_REPLICATE) {
        peer->next += message.ranges[0].count;
    }
    peer->commit_told = node->commit_index;
    raft__send(node, &message);
}

static int has_room_to_strip(raft *node, struct raft__peer *peer)
{
    if (peer->stripped == NULL) {
        peer->stripped = (uint8_t *)raft__resize(&node->memory, NULL, 0, STRIPPED_BYTES);
    }
    return peer->stripped != NULL;
}

/*
 * A witness is told of an entry only when enough data voters hold it (R56). Headers are small and
 * lie in a buffer of the peer's own, so one append is under way at a time.
 */
RAFT_APART static void feed_witness(raft *node, struct raft__peer *peer)
{
    raft_index last =
        node->witness_limit < node->log.last_index ? node->witness_limit : node->log.last_index;
    if (!has_room_to_strip(node, peer)) {
        return; /* no memory at present */
    }
    if (peer->state == RAFT_PEER_PROBE && !peer->paused) {
        peer->paused = 1;
        send_stripped(node, peer, last);
    } else if (peer->state == RAFT_PEER_REPLICATE && peer->next == peer->match + 1 &&
               (peer->next <= last || peer->nudge) && !peer->full) {
        peer->nudge = 0;
        send_stripped(node, peer, last);
    } else if (peer->nudge) {
        peer->nudge = 0;
        send_stripped(node, peer, 0);
    }
}

/* A round of 0 wants no reply: it only tells the commit index. */
static void send_heartbeat(raft *node, struct draft *draft, struct raft__peer *peer)
{
    raft_message *message = &draft->heartbeat;
    if (message->kind == 0) {
        raft__message_begin(node, message, RAFT_MESSAGE_HEARTBEAT, 0);
        message->round = draft->round;
        message->commit = node->commit_index;
        message->flags = draft->round_flags;
    }
    message->to = peer->id;
    peer->commit_told = node->commit_index;
    raft__send(node, message);
}

/* What a peer that can take nothing at present is sent: the question where it stands. */
static uint64_t append_bytes(const raft *node, const struct raft__peer *peer)
{
    return peer->full ? 0 : node->options.append_bytes_max;
}

static void feed_data(raft *node, struct draft *draft, struct raft__peer *peer)
{
    if (peer->state == RAFT_PEER_PROBE && !peer->paused) {
        peer->paused = 1;
        send_append(node, draft, peer, append_bytes(node, peer));
    }
    while (peer->state == RAFT_PEER_REPLICATE && peer->next <= node->log.last_index &&
           !peer->full && window_has_room(node, peer)) {
        peer->nudge = 0;
        send_append(node, draft, peer, node->options.append_bytes_max);
    }
}

/* Entries that storage gave: one append of them in a poll, since they are lent until the next. */
static void send_stored(raft *node, struct raft__peer *peer, const raft_range *range,
                        int is_witness)
{
    raft_message message;
    begin_append(node, peer, &message);
    message.range_count = 1;
    message.ranges[0] = *range;
    if (is_witness) {
        message.range_count = strip_entries(*range, node->witness_limit, strip_room(node),
                                            peer->stripped, &message.ranges[0]) > 0;
    } else {
        window_push(&peer->window, range->first + range->count - 1);
    }
    peer->next += message.range_count > 0 ? message.ranges[0].count : 0;
    message.flags = through_adopted(node, message_end(&message));
    peer->commit_told = node->commit_index;
    peer->nudge = 0;
    node->more_due = 1;
    raft__send(node, &message);
}

/* A peer that replicates from behind what memory holds: its entries come from storage. */
static void feed_stored(raft *node, uint32_t position)
{
    struct raft__peer *peer = &node->peers[position];
    raft_range range;
    int is_witness = (node->witnesses >> position & 1) != 0;
    if (is_witness && peer->next > node->witness_limit) {
        return; /* committed, but under a membership before: the one in force asks for more (R56) */
    }
    int has_room = is_witness ? peer->next == peer->match + 1 && has_room_to_strip(node, peer)
                              : window_has_room(node, peer);
    if (peer->full || !has_room || node->now_ms < peer->retry_ms) {
        return;
    }
    int status = raft__stream_entries(node, peer, &range);
    if (status == RAFT_OK) {
        send_stored(node, peer, &range, is_witness);
    } else if (status != RAFT_PENDING && status != RAFT_ENOMEM) {
        raft__unreadable(node, peer, peer->next);
    }
}

/*
 * A peer that is behind memory. Where the log was compacted beyond what it was sent next, it is
 * asked once whether it holds what the log begins behind: it may, and needs no snapshot then.
 */
RAFT_APART static void feed_behind(raft *node, struct draft *draft, uint32_t position)
{
    struct raft__peer *peer = &node->peers[position];
    if (peer->state == RAFT_PEER_SNAPSHOT) {
        raft__feed_snapshot(node, position);
        return;
    }
    if (peer->next <= node->log.base_index && peer->state != RAFT_PEER_LOST) {
        uint8_t paused = peer->state == RAFT_PEER_PROBE && peer->paused;
        raft__peer_probe(node, peer);
        peer->paused = paused;
    }
    if (peer->state == RAFT_PEER_PROBE && !peer->paused) {
        peer->paused = 1;
        send_append(node, draft, peer, 0);
    } else if (peer->state == RAFT_PEER_REPLICATE) {
        feed_stored(node, position);
    }
}

/* Whether what is sent next to the peer lies in memory, and it is to be sent entries at all. */
static int is_in_memory(const raft *node, const struct raft__peer *peer)
{
    return peer->state <= RAFT_PEER_REPLICATE && peer->next >= node->log.front_index;
}

/* Appends, as far as they are due. */
static inline void feed_entries(raft *node, struct draft *draft, struct raft__peer *peer,
                                uint32_t position)
{
    if (!is_in_memory(node, peer)) {
        feed_behind(node, draft, position);
    } else if ((node->witnesses >> position & 1) != 0) {
        feed_witness(node, peer);
    } else {
        feed_data(node, draft, peer);
    }
    if (peer->nudge) {
        peer->nudge = 0;
        send_append(node, draft, peer, 0);
    }
}

static inline int is_sent_everything(const raft *node, const struct raft__peer *peer)
{
    return peer->state == RAFT_PEER_REPLICATE && peer->next > node->log.last_index && !peer->nudge;
}

static void feed_peer(raft *node, struct draft *draft, struct raft__peer *peer, uint32_t position)
{
    if (!is_sent_everything(node, peer)) {
        feed_entries(node, draft, peer, position);
    }
    if (draft->round != 0 ||
        (peer->commit_told < node->commit_index && peer->match > peer->commit_told)) {
        send_heartbeat(node, draft, peer); /* R33: it holds entries that it may commit now */
    }
}

/* What a round says beside that the leader lives. */
static int round_flags(raft *node)
{
    int flags = 0;
    if (!node->quorum_ok) { /* N5; only where quorums are not checked */
        raft__set alive = node->heard | raft__bit_of(node, node->self);
        flags |= raft__quorum_has(&node->quorums, RAFT__COMMIT, alive) ? 0 : RAFT_FLAG_NO_QUORUM;
    }
    if (node->options.quiesce && raft__quiet_round(node)) {
        flags |= RAFT_FLAG_SLEEP;
    }
    if (node->lease_ms != 0) {
        flags |= raft__lease_ask(node);
    }
    return flags;
}

/* A round goes out when it is time for a heartbeat, or when reads wait for one. */
static int begin_round(raft *node, int has_clients)
{
    if (node->now_ms < node->heartbeat_at_ms && !(has_clients && raft__reads_need_round(node))) {
        return 0;
    }
    node->round++;
    node->heartbeat_at_ms = node->now_ms + node->options.heartbeat_ms;
    if (has_clients) {
        raft__reads_join_round(node, node->round);
    }
    return 1;
}

void raft__leader_send(raft *node)
{
    int has_clients = node->rare && raft__has_clients(node);
    if (has_clients) {
        raft__reads_judge(node);
    }
    int round_due = begin_round(node, has_clients);
    struct draft draft;
    draft.round = round_due ? node->round : 0;
    draft.round_flags = round_due ? round_flags(node) : 0;
    draft.append.kind = 0;
    draft.heartbeat.kind = 0;
    struct raft__peer *peer = node->peers;
    for (uint32_t i = 0; i < node->peer_count; i++, peer++) {
        if (i != node->self) {
            feed_peer(node, &draft, peer, i);
        }
    }
    if (node->transfer.target != 0) {
        raft__transfer_send(node, round_due);
    }
}

/* ---- Leader: committing --------------------------------------------------------------------- */

RAFT_APART static raft_index zoned_commit(const raft *node, const uint64_t *matches)
{
    uint8_t zones[RAFT_MEMBERS_MAX] = {0};
    for (uint32_t i = 0; i < node->peer_count; i++) {
        zones[i] = node->peers[i].zone;
    }
    return raft__zoned_value(&node->quorums, zones, matches);
}

/* Moves the commit index as far as a commit quorum has come; matches by position. */
static void commit_counted(raft *node, const uint64_t *matches)
{
    if (node->witnesses != 0) {
        node->witness_limit = raft__data_value(&node->quorums, node->witnesses, matches);
    }
    raft_index index =
        node->zones ? zoned_commit(node, matches) : raft__quorum_value(&node->quorums, matches);
    if (index >= node->own_first) {
        raft__commit_to(node, index);
    }
}

/*
 * A commit quorum holds all that this leadership began with, and counts: changes of the membership
 * are safe from now on. In Raft it is the same as that the no-op is held (R42, P10).
 */
RAFT_APART static void settle(raft *node)
{
    raft__set set = 0;
    for (uint32_t i = 0; i < node->peer_count; i++) {
        const struct raft__peer *peer = &node->peers[i];
        set |= peer->accepted && peer->match >= node->own_first ? (raft__set)1 << i : 0;
    }
    node->settled = (uint8_t)raft__quorum_has(&node->quorums, RAFT__COMMIT, set);
    node->change_due |= node->settled && raft__is_joint(node);
    node->rare |= node->change_due;
}

/*
 * What a commit quorum holds durably, the own disk counted like any other (R5), is committed if it
 * reaches into the own term; older entries never by being counted (R27, figure 8 of the paper).
 */
void raft__leader_commit(raft *node)
{
    uint64_t matches[RAFT_MEMBERS_MAX];
    uint32_t ahead = 0; /* of the commit index: too few of these cannot move it */
    node->match_moved = 0;
    if (node->self < node->peer_count) { /* else it is leaving, and does not count (R46) */
        node->peers[node->self].match = node->durable_index;
    }
    if (!node->settled) {
        settle(node);
    }
    const struct raft__peer *peer = node->peers;
    for (uint32_t i = 0; i < node->peer_count; i++, peer++) {
        matches[i] = peer->accepted ? peer->match : 0;
        ahead += matches[i] > node->commit_index;
    }
    if (ahead >= node->quorums.halves[0].quorum[RAFT__COMMIT] || node->witnesses != 0) {
        commit_counted(node, matches);
    }
    if (raft__is_joint(node) && node->commit_index >= raft__config_index(node)) {
        node->change_due = 1;
        node->rare = 1;
    }
}
