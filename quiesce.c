/*
 * Groups without work fall asleep: no timer, no message, until something is to be done (rule R54).
 *
 *   awake ── idle for one election timeout, and all voters say they are idle ──▶ drowsy
 *     ▲                                                                            │
 *     ├── not all voters answer, or something happens ────────── rounds say "sleep"│
 *     └── any input but a late reply ── asleep ◀── all voters answer "asleep" ─────┘
 *
 *   (1) Idle means: last = commit = applied, and nothing is under way, neither here nor there.
 *   (2) The leader gives up its lease before it says "sleep", and stops its timers only when every
 *       voter has stopped its own: a follower that was not told would campaign. Answers count from
 *       the first round that said so, so that a round may take longer than to the next one.
 *   (3) A follower falls asleep only if the note is the leader's newest word, and says what holds
 *       here: the same term, the same commit index.
 *   (4) Asleep, a server has no deadline and is bound to no leader. A promise runs out as ever.
 */
#include "raft_internal.h"

static int log_is_quiet(const raft *node)
{
    return node->log.last_index == node->applied_index && node->applying_index == 0 &&
           raft__state_is_durable(node) && raft__log_is_durable(node) &&
           raft__reads_waiting(node) == 0 && raft__forwards_waiting(node) == 0 &&
           node->install == NULL && !node->renewing && !node->stopping;
}

/* ---- Falling asleep ------------------------------------------------------------------------- */

/*
 * A group that was busy keeps nothing of it: rings that are empty are made anew when they are
 * needed, as they were the first time.
 */
static void give_back_rings(raft *node)
{
    raft__reads_free(node); /* 1: nobody waits */
    for (uint32_t i = 0; i < node->peer_count; i++) {
        struct raft__window *window = &node->peers[i].window;
        if (window->count == 0) {
            raft__free(&node->memory, window->last, window->capacity * sizeof(*window->last));
            window->last = NULL;
            window->capacity = 0;
            window->head = 0;
        }
    }
}

static void fall_asleep(raft *node)
{
    RAFT_ASSERT(raft__reads_waiting(node) == 0);
    give_back_rings(node);
    node->asleep = 1;
    node->timer_reset = 0;
    node->contact = 0;
    node->election_at_ms = RAFT_NEVER;
    node->heartbeat_at_ms = RAFT_NEVER;
    node->quorum_at_ms = RAFT_NEVER;
    node->counters.sleeps++;
}

/* What a leader has done besides proposing: equal twice means nothing in between. */
static uint64_t leader_activity(const raft *node)
{
    return node->log.last_index + node->counters.reads_by_round + node->counters.reads_by_lease +
           node->counters.reads_forwarded;
}

/* Voters answer for themselves; of learners it is enough that they have everything. */
static int leader_is_idle(const raft *node)
{
    for (uint32_t i = 0; i < node->peer_count; i++) {
        const struct raft__peer *peer = &node->peers[i];
        if (i != node->self &&
            (peer->match < node->log.last_index || peer->promote || !peer->accepted)) {
            return 0;
        }
    }
    return log_is_quiet(node) && node->transfer.target == 0 && !raft__is_joint(node) &&
           node->quorum_ok;
}

static int all_voters_idle(const raft *node)
{
    raft__set silent = raft__voters(node) & ~node->quiet.idle & ~raft__bit_of(node, node->self);
    return silent == 0;
}

/* There is no lease from the first round that says "sleep" to the first that does not. */
static void set_drowsy(raft *node, int drowsy)
{
    if (drowsy != node->quiet.drowsy) {
        node->quiet.drowsy = (uint8_t)drowsy;
        raft__lease_suspend(node, RAFT__DROWSY, drowsy);
    }
}

/* From this round on the voters' answers count. */
static void ask_anew(raft *node, int drowsy)
{
    node->quiet.since_ms = node->now_ms;
    node->quiet.round = node->round;
    node->quiet.idle = 0;
    set_drowsy(node, drowsy);
}

/*
 * A voter that does not answer "asleep" within a minimum timeout may not have heard the note, or
 * may be gone: the next rounds wake those that obeyed, and all begins again.
 */
int raft__quiet_round(raft *node)
{
    struct raft__quiet *quiet = &node->quiet;
    uint64_t activity = leader_activity(node);
    uint64_t waited_ms = node->now_ms - quiet->since_ms;
    uint64_t shortest = node->options.election_timeout_ms;
    if (activity != quiet->activity || !leader_is_idle(node)) {
        quiet->activity = activity;
        ask_anew(node, 0);
    } else if (quiet->drowsy && waited_ms >= shortest) {
        ask_anew(node, 0);
    } else if (!quiet->drowsy && waited_ms >= 2 * shortest && all_voters_idle(node)) {
        ask_anew(node, 1);
    }
    if (quiet->drowsy && all_voters_idle(node)) {
        fall_asleep(node); /* there is no other voter */
    }
    return quiet->drowsy;
}

/* A voter is idle, or asleep where the rounds say so. */
void raft__quiet_reply(raft *node, uint32_t position, const raft_message *message)
{
    struct raft__quiet *quiet = &node->quiet;
    if (message->round < quiet->round) {
        return;
    }
    if ((message->flags & RAFT_FLAG_IDLE) == 0) {
        quiet->idle &= ~raft__bit_of(node, position);
        return;
    }
    quiet->idle |= raft__bit_of(node, position);
    if (quiet->drowsy && all_voters_idle(node) && leader_is_idle(node)) {
        fall_asleep(node);
    }
}

/* A heartbeat has been taken in: what its reply says about this follower. */
void raft__quiet_heartbeat(raft *node, const raft_message *message)
{
    if (message->round != node->leader_round) {
        return; /* late: there was a newer one */
    }
    node->quiet.idle_reply = log_is_quiet(node) && message->commit == node->log.last_index;
    if (node->quiet.idle_reply && (message->flags & RAFT_FLAG_SLEEP) != 0) {
        fall_asleep(node);
    }
}

/* ---- Waking up ------------------------------------------------------------------------------ */

/*
 * What was on its way when the group fell asleep must not wake it: replies to a leader that has
 * heard all it needs, and what a leader sent before its note.
 */
int raft__is_straggler(const raft *node, const raft_message *message)
{
    if (message->term != node->state.term || message->refused) {
        return 0;
    }
    if (node->role == RAFT_ROLE_LEADER) {
        return message->kind == RAFT_MESSAGE_HEARTBEAT_REPLY ||
               message->kind == RAFT_MESSAGE_APPEND_REPLY;
    }
    return (message->kind == RAFT_MESSAGE_HEARTBEAT || message->kind == RAFT_MESSAGE_APPEND) &&
           message->from == node->leader && message->round <= node->leader_round;
}

/*
 * The last sample may be hours old: timers begin with the next. A leader asks all at once, and
 * counts them as heard until they had the time to answer.
 */
void raft__wake_up(raft *node)
{
    node->asleep = 0;
    node->dirty = 1;
    node->quiet.idle_reply = 0;
    if (node->role == RAFT_ROLE_LEADER) {
        node->heard = raft__voters(node);
        node->quiet.activity = UINT64_MAX;
        set_drowsy(node, 0);
        node->heartbeat_at_ms = node->now_ms;
        node->quorum_at_ms = node->now_ms;
    } else {
        node->timer_reset = 1;
    }
}
