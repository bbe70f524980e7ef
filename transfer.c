/*
 * Leadership that changes hands on purpose: transfers, leaders that have to go, stepping down,
 * forgetting, stopping (Raft dissertation §3.10, rules R46, R53).
 *
 *   asked, or has to go ──▶ no more proposals ──▶ target holds the whole log ──▶ "campaign now"
 *                                                                                     │
 *       given up: one election timeout, target not eligible any more       higher term ◀┘
 *
 *   (1) A transfer is under way only on a leader, and every way out of leadership ends it.
 *   (2) "Campaign now" is sent only to a server that holds everything durably, and again with every
 *       heartbeat, since messages get lost. It names the leader's term and round (the tag): the
 *       votes it leads to pass stickiness, and promises no newer than itself, but nothing else.
 *   (3) The tag belongs to one candidacy: whatever ends that, clears it.
 */
#include "raft_internal.h"

static uint64_t one_timeout(const raft *node)
{
    return (uint64_t)node->options.election_timeout_ms * 2;
}

/* Whatever is proposed after this would only put the end off. */
static void close_proposals(raft *node)
{
    node->handing_over = node->transfer.target != 0 || node->stopping;
}

/* ---- The target ----------------------------------------------------------------------------- */

static int may_be_target(const raft *node, uint32_t position)
{
    return position != node->self && raft__may_lead_at(node, position);
}

/* Who answers is better than who does not; then who has more of the log; then the priority. */
static int is_better_target(const raft *node, uint32_t one, uint32_t other)
{
    const struct raft__peer *left = &node->peers[one];
    const struct raft__peer *right = &node->peers[other];
    int alive = raft__peer_is_alive(node, one);
    if (alive != raft__peer_is_alive(node, other)) {
        return alive;
    }
    return left->match != right->match ? left->match > right->match
                                       : left->priority > right->priority;
}

/* Among those that remain voters where a change is under way; peer_count: there is none. */
static uint32_t best_target(const raft *node)
{
    uint32_t best = node->peer_count;
    for (uint32_t i = 0; i < node->peer_count; i++) {
        if (may_be_target(node, i) && (node->quorums.halves[0].voters >> i & 1) != 0 &&
            (best == node->peer_count || is_better_target(node, i, best))) {
            best = i;
        }
    }
    return best;
}

/* ---- The leader's side ---------------------------------------------------------------------- */

static void end_transfer(raft *node)
{
    if (node->transfer.ordered) {
        node->transfer.ordered = 0;
        raft__lease_suspend(node, RAFT__HANDOVER, 0);
    }
    node->transfer.target = 0;
    node->transfer.until_ms = RAFT_NEVER;
    node->transfer.undated = 0;
    close_proposals(node);
    node->rare = 1;
    node->change_due = 1; /* the membership may have waited for this (R44) */
    node->dirty = 1;
}

/* Its time runs from the next sample on, which is taken after the request (R59). */
static void begin_transfer(raft *node, uint32_t position)
{
    struct raft__transfer *transfer = &node->transfer;
    if (transfer->target != 0) {
        end_transfer(node); /* another one takes its place */
    }
    transfer->target = node->peers[position].id;
    transfer->until_ms = RAFT_NEVER;
    transfer->undated = 1;
    close_proposals(node);
    node->counters.transfers_begun++;
    node->dirty = 1;
}

static void give_up(raft *node, int status)
{
    node->transfer.told_peer = node->transfer.target;
    node->untold = 1;
    node->transfer.told_status = status;
    end_transfer(node);
}

/*
 * Leadership ends. With a higher term the target may have won, and whoever did is told as a change
 * of role; without one it was lost on the way.
 */
void raft__transfer_leave(raft *node, int term_rises)
{
    if (node->transfer.target == 0) {
        return;
    }
    if (term_rises) {
        end_transfer(node);
    } else {
        give_up(node, RAFT_ENOLEADER);
    }
}

void raft__transfer_membership(raft *node)
{
    const struct raft__transfer *transfer = &node->transfer;
    if (transfer->target != 0 && !may_be_target(node, raft__position_of(node, transfer->target))) {
        give_up(node, RAFT_ENOTMEMBER); /* R47, R53 */
    }
}

int raft__transfer_next(raft *node, raft_event *event)
{
    struct raft__transfer *transfer = &node->transfer;
    if (transfer->told_peer == 0) {
        return 0;
    }
    memset(event, 0, sizeof(*event));
    event->kind = RAFT_EVENT_TRANSFER;
    event->status = transfer->told_status;
    event->term = node->state.term;
    event->peer = transfer->told_peer;
    transfer->told_peer = 0;
    return 1;
}

/* A committed membership without this server, or in which it may not lead (R46). */
static int is_left_out(const raft *node)
{
    return !node->may_lead && !raft__is_joint(node) &&
           raft__config_index(node) <= node->commit_index;
}

/* A write has been outstanding for so many disk timeouts (R9). */
static int disk_is_stalled(const raft *node, uint64_t timeouts)
{
    return node->pending_count > 0 &&
           node->now_ms - node->pending[0].issued_ms >= timeouts * node->options.disk_timeout_ms;
}

int raft__disk_is_stalled(const raft *node)
{
    return disk_is_stalled(node, 1);
}

static int must_hand_over(const raft *node)
{
    return node->stopping || disk_is_stalled(node, 1) || is_left_out(node);
}

/*
 * Whoever is left out finds no better time to go than now; it keeps silent afterwards, since it may
 * not campaign. A stalled leader tries until its second timeout. Then both leave without a
 * successor: leading any longer, the one would bind those who can write, the other those who count.
 */
static int must_leave(const raft *node, int gave_up)
{
    return disk_is_stalled(node, 2) || (gave_up && is_left_out(node));
}

void raft__transfer_timers(raft *node)
{
    struct raft__transfer *transfer = &node->transfer;
    int gave_up = 0;
    if (transfer->undated) {
        transfer->undated = 0;
        transfer->until_ms = node->now_ms + one_timeout(node);
    }
    if (transfer->target != 0 && node->now_ms >= transfer->until_ms) {
        give_up(node, RAFT_ETIMEOUT);
        gave_up = 1;
    }
    if (must_leave(node, gave_up)) {
        raft__become_follower(node, node->state.term, 0);
    } else if (transfer->target == 0 && must_hand_over(node)) {
        uint32_t best = best_target(node);
        if (best < node->peer_count) {
            begin_transfer(node, best);
        }
    }
}

/* When the next step is due for a leader that has to go, or hands over. */
uint64_t raft__transfer_deadline(const raft *node)
{
    uint64_t due = node->transfer.until_ms;
    if (node->stopping && node->stop_at_ms < due) {
        due = node->stop_at_ms;
    }
    if (node->pending_count > 0) {
        uint64_t stalled = node->pending[0].issued_ms + node->options.disk_timeout_ms;
        stalled += stalled <= node->now_ms ? node->options.disk_timeout_ms : 0;
        due = stalled < due ? stalled : due;
    }
    return due;
}

/*
 * From here on the target may lead at any moment: this server gives up its lease, and the rounds up
 * to this one never count for one again (R53).
 */
void raft__transfer_send(raft *node, int round_due)
{
    struct raft__transfer *transfer = &node->transfer;
    const struct raft__peer *peer = &node->peers[raft__position_of(node, transfer->target)];
    int is_ready = !node->rules->by_log || peer->match == node->log.last_index;
    if (!is_ready || (transfer->ordered && !round_due)) {
        return;
    }
    raft_message message;
    raft__message_begin(node, &message, RAFT_MESSAGE_TRANSFER, transfer->target);
    message.tag_term = node->state.term;
    message.tag_round = node->round;
    if (!transfer->ordered) {
        transfer->ordered = 1;
        raft__lease_suspend(node, RAFT__HANDOVER, 1);
    }
    raft__send(node, &message);
}

/* On a leader; target 0: the best one. */
static int hand_over(raft *node, raft_id target)
{
    int is_under_way = node->transfer.target != 0;
    uint32_t position = target != 0 ? raft__position_of(node, target) : best_target(node);
    if (position >= node->peer_count || !may_be_target(node, position)) {
        return RAFT_EARG;
    }
    if (!is_under_way || (target != 0 && target != node->transfer.target)) {
        raft__wake(node);
        begin_transfer(node, position);
    }
    return RAFT_OK;
}

/* ---- Asking from elsewhere ------------------------------------------------------------------ */

/*
 * One hop, to the leader known, once (R53). What it is asked in this term it does in no other,
 * so an ask that could not leave before the term has risen does not leave at all.
 */
static int ask_leader(raft *node, raft_id target)
{
    struct raft__reply ask;
    uint32_t position = raft__position_of(node, target);
    if (target == node->leader || (target != 0 && !raft__may_lead_at(node, position))) {
        return RAFT_EARG;
    }
    memset(&ask, 0, sizeof(ask));
    ask.to = node->leader;
    ask.asked_term = node->state.term;
    ask.request = target;
    ask.kind = RAFT_MESSAGE_TRANSFER_ASK;
    raft__wake(node);
    raft__reply(node, &ask);
    node->counters.transfers_asked++;
    return RAFT_OK;
}

void raft__transfer_ask_send(raft *node, const struct raft__reply *ask)
{
    raft_message message;
    if (ask->asked_term == node->state.term) {
        raft__message_begin(node, &message, RAFT_MESSAGE_TRANSFER_ASK, ask->to);
        message.request = ask->request;
        raft__send(node, &message);
    }
}

/*
 * Of the own term, from a member. Whoever does not lead it drops it: to pass it on could send it in
 * circles. What may not be done is not done, as for the own host.
 */
void raft__transfer_ask_receive(raft *node, const raft_message *message)
{
    if (node->role == RAFT_ROLE_LEADER &&
        raft__position_of(node, message->from) < node->peer_count) {
        (void)hand_over(node, message->request);
    }
}

int raft_transfer(raft *node, raft_id target)
{
    int status = raft__enter(node, 0);
    if (status == RAFT_OK) {
        status = raft__must_lead(node);
    }
    if (status == RAFT_ENOTLEADER) {
        return ask_leader(node, target);
    }
    return status == RAFT_OK ? hand_over(node, target) : status;
}

/* ---- The target's side ---------------------------------------------------------------------- */

/*
 * "Campaign now", from the leader of the own term to one that follows it. What comes late, from an
 * earlier term or to a server that may not lead any more, is ignored; what comes at a bad moment is
 * sent again (R53).
 */
void raft__transfer_receive(raft *node, const raft_message *message)
{
    if (node->role == RAFT_ROLE_FOLLOWER && node->leader == message->from && node->may_lead) {
        (void)raft__campaign_by_order(node, message->tag_term, message->tag_round);
    }
}

/* ---- Leaving without a successor ------------------------------------------------------------ */

int raft_step_down(raft *node)
{
    int status = raft__enter(node, 0);
    if (status == RAFT_OK && node->role == RAFT_ROLE_LEADER) {
        raft__wake(node);
        raft__become_follower(node, node->state.term, 0);
    }
    return status;
}

int raft_forget_leader(raft *node)
{
    int status = raft__enter(node, 0);
    if (status != RAFT_OK || node->role != RAFT_ROLE_FOLLOWER || node->leader == 0) {
        return status;
    }
    if (raft__promise_binds(node, 0, 0)) {
        return RAFT_EBUSY; /* R50: to forget it does not take it back */
    }
    raft__wake(node);
    node->leader = 0;
    node->untold = 1;
    node->contact = 0;
    node->dirty = 1;
    return RAFT_OK;
}

/* ---- Stopping ------------------------------------------------------------------------------- */

int raft_stop(raft *node)
{
    int status = raft__enter(node, 0);
    if (status != RAFT_OK || node->stopping) {
        return status;
    }
    raft__wake(node);
    node->stopping = 1;
    node->rare = 1;
    node->stop_at_ms = RAFT_NEVER;
    node->dirty = 1;
    close_proposals(node);
    return RAFT_OK;
}

/* A leader without a successor has nothing left to do when all is committed and applied here. */
static int has_drained(const raft *node)
{
    if (node->role == RAFT_ROLE_LEADER &&
        (best_target(node) < node->peer_count || node->applied_index < node->log.last_index)) {
        return 0;
    }
    return node->own_count == 0 && raft__reads_waiting(node) == 0 &&
           raft__forwards_waiting(node) == 0 && node->pending_count == 0 &&
           node->applying_index == 0;
}

int raft__has_stopped(raft *node)
{
    if (node->stop_at_ms == RAFT_NEVER) {
        node->stop_at_ms = node->now_ms + one_timeout(node);
    }
    return node->now_ms >= node->stop_at_ms || has_drained(node);
}
