/*
 * Who leads: roles, timers, pre-vote, votes, stickiness and check-quorum (Raft dissertation chapter
 * 3, §4.2.3, §6.2, §9.6). What pre-candidates pull is in pull.c, handing over in transfer.c.
 *
 *   follower ──timeout──▶ pre-candidate ──pre-vote quorum──▶ candidate ──vote quorum──▶ leader
 *      ▲                        │                                │                        │
 *      └── leader of the term, higher term, or a majority of noes┘      higher term, quorum
 *      └────────────────────────────────────────────────────────────── lost, disk stalled ┘
 *
 *   (1) Term and vote change together, and the vote only with the term or from nobody (R3).
 *   (2) Pre-votes change nothing: no term, no vote, no timer of the one asked (R18, I22).
 *   (3) Only a leader is `leader` to itself; a campaign knows no leader (R20).
 *   (4) The own vote counts, and votes are asked for, once term, vote and log are durable (R1, R2).
 */
#include "raft_internal.h"

/* ---- Timers --------------------------------------------------------------------------------- */

/* splitmix64: any seed will do, and the state is one word. */
static uint64_t election_random(raft *node)
{
    node->random += 0x9e3779b97f4a7c15u;
    return raft__mix(node->random);
}

/*
 * Who has a lower priority than others leaves them the first attempt, and half as long the second:
 * a favoured server that lives but cannot win holds nobody up for more than a few timeouts (R55).
 */
static uint64_t priority_delay(const raft *node)
{
    uint64_t delay = (uint64_t)node->options.election_timeout_ms * node->delay_levels;
    return node->attempts < 32 ? delay >> node->attempts : 0;
}

/* Uniform over [T, 2T): spread on both sides, so that no fast server always wins (R15). */
static inline void draw_timer(raft *node)
{
    int may = node->may_lead || raft__may_campaign(node); /* R16 */
    uint64_t shortest = node->options.election_timeout_ms;
    uint64_t drawn = shortest + election_random(node) % shortest;
    drawn += node->delay_levels != 0 ? priority_delay(node) : 0;
    node->election_at_ms = may ? node->now_ms + drawn : RAFT_NEVER;
    node->timer_reset = 0;
}

void raft__draw_timer(raft *node)
{
    draw_timer(node);
}

/* Its timer runs on, as if it had not been heard: it may be in the way of one with a quorum. */
void raft__heard_weak_leader(raft *node)
{
    node->contact = 0;
    node->timer_reset = 0;
}

/*
 * Whether a live leader binds this server: it then refuses candidates and does not even adopt their
 * term (R19). Measured from contact, never from another timer. A leader whose quorum is checked is
 * bound by itself. Without the check a leader cut off for good would bind its followers for ever.
 */
static int is_sticky(const raft *node)
{
    if (node->options.no_stickiness || node->options.no_check_quorum) {
        return 0;
    }
    if (node->role == RAFT_ROLE_LEADER) {
        return 1;
    }
    return node->contact && (node->contact_fresh ||
                             node->now_ms - node->contact_ms < node->options.election_timeout_ms);
}

int raft__is_bound(const raft *node)
{
    return is_sticky(node) || raft__promise_binds(node, 0, 0);
}

/*
 * A follower campaigns when its timer runs out. Before that it wants one look at the clock when its
 * stickiness ends, and one when its promise does: candidates are judged by the last sample, and
 * that would be too old.
 */
uint64_t raft__follower_deadline(const raft *node)
{
    uint64_t due = node->election_at_ms;
    uint64_t loose_at_ms = node->contact_ms + node->options.election_timeout_ms;
    if (node->contact && node->now_ms < loose_at_ms && loose_at_ms < due) {
        due = loose_at_ms;
    }
    if (node->now_ms < node->promised_until_ms && node->promised_until_ms < due && !node->asleep) {
        due = node->promised_until_ms;
    }
    if (node->pull.source != 0 && node->pull.again_ms < due) {
        due = node->pull.again_ms;
    }
    if (node->phase1 != NULL && raft__phase1_deadline(node) < due) {
        due = raft__phase1_deadline(node);
    }
    return node->stopping && node->stop_at_ms < due ? node->stop_at_ms : due;
}

/* ---- Roles ---------------------------------------------------------------------------------- */

static void leave_leadership(raft *node)
{
    raft__own_remember(node);
    raft__reads_fail(node);
    raft__lease_void(node);
    raft__progress_free(node);
    node->handing_over = node->stopping;
    node->change_due = 0;
    node->regression_due = 0;
    node->contact = 0;
    node->contact_fresh = 0;
    raft__draw_timer(node);
}

/*
 * Keeps the vote where the term stays (R3) and the timer in any case: merely learning a higher term
 * must not put off the own campaign (R15).
 */
void raft__become_follower(raft *node, raft_term term, raft_id leader)
{
    RAFT_ASSERT(term >= node->state.term);
    if (node->role == RAFT_ROLE_LEADER) {
        raft__transfer_leave(node, term > node->state.term);
        leave_leadership(node);
    }
    raft__pull_end(node);
    raft__phase1_end(node);
    node->transfer.tag_term = 0;
    if (term > node->state.term) {
        raft__set_state(node, term, 0);
    }
    node->role = RAFT_ROLE_FOLLOWER;
    node->leader = leader;
    node->untold = 1;
    node->request_due = 0;
    node->dirty = 1;
}

/* A server that a membership has left out, but not for certain, campaigns without a vote (R16). */
static raft__set own_ballot(const raft *node)
{
    return raft__bit_of(node, node->self) & raft__voters(node);
}

static void begin_campaign(raft *node, int role)
{
    node->role = (uint8_t)role;
    node->leader = 0; /* R20: else two followers of a dead leader refuse each other */
    node->untold = 1;
    node->granted = 0;
    node->refused = 0;
    node->self_asked = 0;
    node->transfer.tag_term = 0; /* of an earlier candidacy (R23) */
    node->hold_due = 0;
    raft__fresh_end(node);
    node->attempts = (uint8_t)(node->attempts + (node->attempts < UINT8_MAX));
    raft__pull_end(node);
    raft__phase1_end(node);
    raft__pull_forget(node);
    node->round++; /* replies to earlier campaigns do not count (R13) */
    node->request_due = 1;
    node->rare = 1;
    node->dirty = 1;
    raft__draw_timer(node);
}

/* Somebody else has to, or this server in a while. */
static void give_up_campaign(raft *node)
{
    raft__become_follower(node, node->state.term, 0);
    raft__draw_timer(node);
}

/* A term of its own, whatever this server was in the one before: it never leads that again (R60). */
static void become_candidate(raft *node)
{
    raft__set_state(node, node->rules->next_term(node), node->id);
    begin_campaign(node, RAFT_ROLE_CANDIDATE);
    node->counters.elections_started++;
    if (node->rules->begin(node) != RAFT_OK) {
        give_up_campaign(node);
    }
}

void raft__lead(raft *node)
{
    raft__phase1_end(node);
    node->role = RAFT_ROLE_LEADER;
    node->leader = node->id;
    node->untold = 1;
    node->own_first = node->log.last_index;
    node->through_from = node->rules->by_log ? UINT64_MAX : node->own_first;
    node->settled = 0;
    node->led_term = node->state.term;
    node->heard = node->granted;
    node->quorum_ok = 1;
    node->heartbeat_at_ms = node->now_ms;
    node->quorum_at_ms = node->now_ms + node->options.election_timeout_ms;
    node->election_at_ms = RAFT_NEVER;
    node->transfer.tag_term = 0;
    node->transfer.until_ms = RAFT_NEVER;
    node->dirty = 1;
    node->counters.elections_won++;
    raft__progress_reset(node);
    raft__lease_begin(node);
}

/* How many different priorities of other voters with data are above the own one, up to 3 (R55). */
static uint8_t levels_above(const raft *node)
{
    uint8_t levels = 0;
    unsigned above = node->self < node->peer_count ? node->peers[node->self].priority : UINT8_MAX;
    while (levels < 3) {
        unsigned next = UINT8_MAX + 1;
        for (uint32_t i = 0; i < node->peer_count; i++) {
            unsigned priority = node->peers[i].priority;
            if (raft__may_lead_at(node, i) && priority > above && priority < next) {
                next = priority;
            }
        }
        if (next > UINT8_MAX) {
            break;
        }
        above = next;
        levels++;
    }
    return levels;
}

/* Who may campaign keeps its timer; who may not has none (R16). */
void raft__membership_changed(raft *node)
{
    int may = raft__may_campaign(node);
    node->delay_levels = levels_above(node);
    node->pull.behind = 0; /* positions have changed: they may say it again */
    if (node->self >= node->peer_count) {
        raft__fresh_end(node); /* no leader would send it any more */
    }
    if (node->role == RAFT_ROLE_LEADER) {
        raft__transfer_membership(node);
        return;
    }
    if (!may && node->role != RAFT_ROLE_FOLLOWER) {
        raft__become_follower(node, node->state.term, 0);
    }
    if (may != (node->election_at_ms != RAFT_NEVER)) {
        node->timer_reset = 1;
        node->dirty = 1;
    }
}

/* ---- Campaigning ---------------------------------------------------------------------------- */

static int has_quorum_for(const raft *node, int purpose)
{
    return raft__quorum_has(&node->quorums, purpose, node->granted);
}

static int cannot_win(const raft *node)
{
    return !raft__quorum_has(&node->quorums, RAFT__ELECTION, ~node->refused);
}

/* A pre-vote quorum can both elect and commit, or leading would be of no use (Q3). */
static void judge_pre_votes(raft *node)
{
    if (has_quorum_for(node, RAFT__ELECTION) && has_quorum_for(node, RAFT__COMMIT)) {
        become_candidate(node);
    } else if (raft__pull_would_help(node)) {
        raft__pull_begin(node); /* where nobody is known yet to pull from, somebody may answer */
    } else if (cannot_win(node)) {
        give_up_campaign(node);
    }
}

static void count_ballots(raft *node)
{
    if (node->role == RAFT_ROLE_PRE_CANDIDATE) {
        judge_pre_votes(node);
    } else {
        node->rules->judge(node);
    }
}

static int campaign_check(const raft *node, raft_term tag_term, uint64_t tag_round)
{
    if (!raft__may_campaign(node)) {
        return RAFT_ENOTMEMBER;
    }
    if (node->stopping || raft__promise_binds(node, tag_term, tag_round) ||
        raft__is_installing(node)) { /* R37 */
        return RAFT_EBUSY;
    }
    return node->rules->next_term(node) == 0 ? RAFT_ELIMIT : RAFT_OK;
}

/*
 * With a write outstanding a campaign could not ask for a vote anyway (R2), and a server whose disk
 * hangs had better leave it to the others.
 */
static int is_durable(const raft *node)
{
    return raft__state_is_durable(node) && raft__log_is_durable(node);
}

static void ask_first(raft *node)
{
    begin_campaign(node, RAFT_ROLE_PRE_CANDIDATE);
    node->granted = own_ballot(node);
    count_ballots(node);
}

int raft__campaign(raft *node)
{
    int status = campaign_check(node, 0, 0);
    if (status != RAFT_OK || !is_durable(node)) {
        return status != RAFT_OK ? status : RAFT_EBUSY;
    }
    if (node->options.no_pre_vote) {
        become_candidate(node);
    } else {
        ask_first(node);
    }
    return RAFT_OK;
}

/* The leader has seen that this server holds its whole log: nobody needs to be asked (R53). */
int raft__campaign_by_order(raft *node, raft_term tag_term, uint64_t tag_round)
{
    int status = is_durable(node) ? campaign_check(node, tag_term, tag_round) : RAFT_EBUSY;
    if (status == RAFT_OK) {
        become_candidate(node);
        status = node->role == RAFT_ROLE_CANDIDATE ? RAFT_OK : RAFT_ENOMEM;
    }
    if (status == RAFT_OK) { /* else nobody is asked, and the order belongs to nobody (R23) */
        node->transfer.tag_term = tag_term;
        node->transfer.tag_round = tag_round;
    }
    return status;
}

/* The questions leave when the log is durable (R2). */
int raft__campaign_again(raft *node)
{
    int status = campaign_check(node, 0, 0);
    if (status == RAFT_OK) {
        ask_first(node);
    }
    return status;
}

/* A candidate's term, vote or log have become durable: its own vote counts from now on (R1). */
void raft__election_durable(raft *node)
{
    if (raft__state_is_durable(node) && raft__log_is_durable(node)) {
        node->granted |= node->self_asked ? 0 : own_ballot(node);
        node->self_asked = 1;
        count_ballots(node);
    }
}

/*
 * The voters. What a witness tells of has no payloads, and a learner may be the only one to have them
 * (R56): where a witness votes, learners are asked too, by the message that is answered with what the
 * log holds. They do not count.
 */
static raft__set whom_to_ask(const raft *node)
{
    int pre = node->role == RAFT_ROLE_PRE_CANDIDATE;
    raft__set voters = raft__voters(node);
    return node->witnesses != 0 && pre == node->rules->by_log ? ~(raft__set)0 : voters;
}

/*
 * Requests wait until everything they claim is durable: term, own vote, and where the log decides,
 * the last entry (R2, P2).
 */
void raft__election_send(raft *node)
{
    if (!node->request_due || (node->rules->by_log && !raft__log_is_durable(node))) {
        return;
    }
    int pre = node->role == RAFT_ROLE_PRE_CANDIDATE;
    raft__set asked = whom_to_ask(node);
    node->request_due = 0;
    for (uint32_t i = 0; i < node->peer_count; i++) {
        if (i == node->self || (raft__bit_of(node, i) & asked) == 0) {
            continue;
        }
        raft_message message;
        raft__message_begin(node, &message, pre ? RAFT_MESSAGE_PRE_VOTE : RAFT_MESSAGE_VOTE,
                            node->peers[i].id);
        message.asked_term = pre ? node->rules->next_term(node) : 0;
        message.round = node->round;
        if (node->rules->by_log) {
            message.index = node->log.last_index;
            message.index_term = node->log.last_term;
        }
        message.flags = !pre && node->hold_due ? RAFT_FLAG_HOLD : 0;
        if (node->transfer.tag_term != 0) {
            message.tag_term = node->transfer.tag_term;
            message.tag_round = node->transfer.tag_round;
        }
        raft__send(node, &message);
    }
    node->hold_due = 0;
}

/* ---- Voting --------------------------------------------------------------------------------- */

void raft__reply(raft *node, const struct raft__reply *reply)
{
    uint32_t slot = 0;
    while (slot < node->reply_count &&
           (node->replies[slot].kind != reply->kind || node->replies[slot].to != reply->to)) {
        slot++;
    }
    if (node->replies == NULL) {
        node->replies = (struct raft__reply *)raft__resize(&node->memory, NULL, 0,
                                                           RAFT__REPLIES * sizeof(*node->replies));
    }
    if (node->replies != NULL && slot < RAFT__REPLIES) {
        node->replies[slot] = *reply; /* the newer question is the one that is waited for */
        node->reply_count += slot == node->reply_count;
        node->rare = 1;
        node->dirty = 1;
    }
}

void raft__replies_free(raft *node)
{
    raft__free(&node->memory, node->replies, RAFT__REPLIES * sizeof(*node->replies));
    node->replies = NULL;
    node->reply_count = 0;
}

/* Whether the candidate's log is at least as good as ours: the election restriction (R12). */
static int log_is_up_to_date(const raft *node, const raft_message *message)
{
    return message->index_term > node->log.last_term ||
           (message->index_term == node->log.last_term && message->index >= node->log.last_index);
}

/* Whether the vote of the present term is free for this candidate (R12). */
static int vote_is_free(const raft *node, raft_id candidate)
{
    return (node->state.vote == 0 || node->state.vote == candidate) &&
           (node->leader == 0 || node->leader == candidate);
}

/*
 * What is committed, told to a candidate that may not have heard it: with the entry there, or, where
 * another entry is told already, as far as that one reaches (R57). A promise says it by itself.
 */
static void add_hint(const raft *node, struct raft__reply *reply)
{
    if (!node->rules->by_log) {
        return;
    }
    reply->commit = node->commit_index;
    if ((reply->flags & RAFT_FLAG_LOG) == 0) {
        reply->index = node->commit_index;
        reply->index_term = raft__log_term(&node->log, node->commit_index);
    } else if (reply->commit > reply->index) {
        reply->commit = reply->index;
    }
}

/*
 * Answered whatever the membership known here says: the candidate's may be newer (R14). A server
 * whose disk hangs says no: it could not vote either. Where all disks are that slow nobody is
 * elected meanwhile, which is no loss, since a vote takes a write as well; and without a leader
 * there is nothing new to write, so what is outstanding comes to an end.
 */
void raft__pre_vote_receive(raft *node, const raft_message *message)
{
    int would_vote = message->asked_term > node->state.term ||
                     (message->asked_term == node->state.term && vote_is_free(node, message->from));
    struct raft__reply reply;
    memset(&reply, 0, sizeof(reply));
    reply.to = message->from;
    reply.asked_term = message->asked_term;
    reply.round = message->round;
    reply.kind = RAFT_MESSAGE_PRE_VOTE_REPLY;
    reply.refused = 1;
    if (would_vote && !raft__is_bound(node) && node->now_ms >= node->held_until_ms &&
        !raft__disk_is_stalled(node)) {
        reply.refused = !node->rules->log_allows(node, message);
        reply.flags = reply.refused ? RAFT_FLAG_LOG : 0;
    }
    if (reply.refused && node->durable_index >= node->log.base_index) {
        /* What is told of the own log is durable: it may be asked for (N7). */
        reply.index = node->durable_index;
        reply.index_term = raft__log_term(&node->log, node->durable_index);
    }
    if (reply.refused) {
        add_hint(node, &reply);
    }
    raft__reply(node, &reply);
}

/*
 * A candidate that a leader has ordered passes by stickiness, and by a promise that is no newer
 * than the order (R50, R53). Who is bound does not even take the term over.
 */
void raft__vote_receive(raft *node, const raft_message *message)
{
    struct raft__reply reply;
    int promised = raft__promise_binds(node, message->tag_term, message->tag_round);
    int loose = message->tag_term != 0 || !is_sticky(node);
    int may_own = node->rules->may_own(node, message->from, message->term);
    memset(&reply, 0, sizeof(reply));
    reply.to = message->from;
    reply.round = message->round;
    reply.kind = RAFT_MESSAGE_VOTE_REPLY;
    reply.refused = 1;
    if (message->term > node->state.term && !promised && loose && may_own) {
        raft__become_follower(node, message->term, 0);
    }
    if (message->term == node->state.term && !promised && may_own &&
        vote_is_free(node, message->from) && node->rules->log_allows(node, message)) {
        reply.refused = 0;
        if (node->state.vote == 0) { /* a repeated request gets the same answer, no more time */
            raft__set_state(node, node->state.term, message->from);
            node->timer_reset = 1; /* R15 */
            raft__pull_end(node);
        } else if ((message->flags & RAFT_FLAG_HOLD) != 0 && node->leader == 0) {
            raft__hold(node);
        }
    }
    add_hint(node, &reply);
    raft__reply(node, &reply);
}

/* Whether a reply answers the campaign that is under way (R13). */
static int ballot_counts(const raft *node, const raft_message *message)
{
    if (message->round != node->round) {
        return 0;
    }
    if (message->kind == RAFT_MESSAGE_PRE_VOTE_REPLY) {
        return node->role == RAFT_ROLE_PRE_CANDIDATE &&
               message->asked_term == node->rules->next_term(node);
    }
    return node->role == RAFT_ROLE_CANDIDATE && message->term == node->state.term;
}

/* Whether a membership in (before, now] governed or governs. */
static int membership_between(const raft *node, raft_index before, raft_index now)
{
    const struct raft__held *newest = raft__config_at(node, now);
    return newest != NULL && newest->index > before;
}

/*
 * What a voter knows to be committed is committed here where this log holds the entry that it names,
 * and so all before it (R57, I12); by the index alone a stale tail would be. Where that commits a
 * membership the campaign is over, returns 1: the votes were asked for, and this server found itself
 * entitled to ask (R16), while it was open whether that one stays.
 */
static int take_hint(raft *node, const raft_message *message)
{
    raft_index before = node->commit_index;
    if (message->commit <= before || !node->rules->by_log ||
        !raft__log_holds(&node->log, message->index, message->index_term)) {
        return 0;
    }
    raft__commit_to(node, message->commit);
    node->counters.commit_hints++;
    if (membership_between(node, before, node->commit_index)) {
        give_up_campaign(node);
        return 1;
    }
    if (node->pull.source != 0 && node->pull.index < node->commit_index) {
        raft__pull_end(node); /* it joins no further back than what is committed (N7) */
    }
    return 0;
}

/* A vote or pre-vote reply. A pre-vote may be granted by a server that is behind in terms (R18). */
void raft__ballot_receive(raft *node, const raft_message *message)
{
    int is_grant = message->kind == RAFT_MESSAGE_PRE_VOTE_REPLY && !message->refused;
    if (message->term > node->state.term && !is_grant) {
        raft__become_follower(node, message->term, 0);
        return;
    }
    uint32_t position = raft__position_of(node, message->from);
    raft__set member = raft__bit_of(node, position);
    raft__set voter = member & raft__voters(node); /* else it only tells of its log (R56) */
    if (member == 0 || !ballot_counts(node, message) || take_hint(node, message)) {
        return;
    }
    if (message->refused) {
        node->refused |= voter & ~node->granted;
        if ((message->flags & RAFT_FLAG_LOG) != 0) {
            raft__pull_note(node, position, message);
        }
    } else {
        node->granted |= voter & ~node->refused;
        if (node->role == RAFT_ROLE_CANDIDATE) {
            node->rules->take(node, message);
        }
    }
    count_ballots(node);
}

/* ---- The clock ------------------------------------------------------------------------------ */

/*
 * A leader that a commit quorum did not answer for a whole timeout leaves at the same term, and
 * with it falls silent, so that it binds nobody (R22).
 */
static void check_quorum(raft *node)
{
    raft__set alive = node->heard | raft__bit_of(node, node->self);
    node->quorum_ok = (uint8_t)raft__quorum_has(&node->quorums, RAFT__COMMIT, alive);
    node->quorum_at_ms = node->now_ms + node->options.election_timeout_ms;
    node->heard = 0;
    node->checked_before = node->checked_last;
    node->checked_last = node->log.last_index;
    node->change_due = 1; /* looked at regularly: a learner may have caught up */
    node->rare = 1;
    if (!node->quorum_ok && !node->options.no_check_quorum) {
        raft__become_follower(node, node->state.term, 0);
    }
}

static void leader_timers(raft *node)
{
    if (node->now_ms >= node->quorum_at_ms) {
        check_quorum(node);
        if (node->role != RAFT_ROLE_LEADER) {
            return;
        }
    }
    if (node->handing_over || node->pending_count > 0 || !node->may_lead) {
        raft__transfer_timers(node);
    }
}

/* Apart from each other, as the timers are, so that those who promised alike do not collide. */
static void hold_campaign(raft *node)
{
    uint64_t half = node->options.election_timeout_ms / 2;
    node->election_at_ms = node->promised_until_ms + election_random(node) % half;
}

/* A pull goes on, or has come to nothing; what a candidate waited for may have happened. */
RAFT_APART static void campaign_timers(raft *node)
{
    if (node->pull.source != 0) {
        raft__pull_timers(node);
    }
    if (node->phase1 != NULL) {
        raft__phase1_timers(node);
        count_ballots(node);
    }
}

void raft__election_timers(raft *node)
{
    if (node->contact_fresh) {
        node->contact_ms = node->now_ms;
        node->contact_fresh = 0;
        if (node->credit_due) {
            raft__promise(node);
        }
    }
    if (node->role == RAFT_ROLE_LEADER) {
        leader_timers(node);
        return;
    }
    if (node->role != RAFT_ROLE_FOLLOWER) {
        campaign_timers(node);
    }
    if (node->timer_reset) {
        draw_timer(node); /* it lies ahead */
        return;
    }
    if (node->role == RAFT_ROLE_LEADER || node->now_ms < node->election_at_ms) {
        return;
    }
    if (raft__promise_binds(node, 0, 0)) {
        hold_campaign(node);
    } else if (raft__campaign(node) != RAFT_OK) {
        raft__draw_timer(node);
    }
}

/* ---- Raft's rules --------------------------------------------------------------------------- */

static raft_term term_after(const raft *node)
{
    return node->state.term < RAFT_LIMIT ? node->state.term + 1 : 0;
}

/* Votes decide whose a term is. */
static int anyone_may_own(const raft *node, raft_id id, raft_term term)
{
    (void)node;
    (void)id;
    (void)term;
    return 1;
}

static int say_nothing(const raft *node, raft_message *vote)
{
    (void)node;
    (void)vote;
    return 1;
}

static int begin_at_once(raft *node)
{
    (void)node;
    return RAFT_OK;
}

static void count_only(raft *node, const raft_message *vote)
{
    (void)node;
    (void)vote;
}

/* A leader starts with an entry of its own term: older ones commit only below it (R17, R27). */
static void lead_with_noop(raft *node)
{
    if (raft__own_reserve(node) == RAFT_OK &&
        raft__log_append_one(&node->log, &node->memory, node->state.term, RAFT_ENTRY_NOOP, NULL,
                             0) == RAFT_OK) {
        raft__lead(node);
    } else {
        give_up_campaign(node); /* no memory to lead with */
    }
}

/* The votes are for this server's log, which holds all that is committed (R12): it leads with it. */
static void judge_votes(raft *node)
{
    if (has_quorum_for(node, RAFT__ELECTION)) {
        lead_with_noop(node);
    } else if (cannot_win(node)) {
        give_up_campaign(node);
    }
}

const struct raft__rules *raft__raft_rules(void)
{
    static const struct raft__rules rules = {
        term_after,    anyone_may_own, log_is_up_to_date, say_nothing,
        begin_at_once, count_only,     judge_votes,       1,
    };
    return &rules;
}
