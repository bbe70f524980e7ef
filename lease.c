/*
 * Leases: reads on the leader without a round of messages, and what followers owe for them (Raft
 * dissertation §6.4.1, rules R50, R59).
 *
 * A round may ask for credit. A follower that answers it promises to help elect nobody else for the
 * length of a lease, counted from its contact; the leader counts the same length, shortened by the
 * drift bound, from the sample before it sent the round, which was earlier. So while a commit
 * quorum's promises last by the leader's clock, they last by the followers' own, and since every
 * election quorum meets it, nobody else leads and commits.
 *
 *   (1) A promise is only ever prolonged. Neither a new term or role nor a forgotten leader ends
 *       it; only time does. A server that restarts has forgotten its promises, and withholds
 *       itself for the longest lease it was ever allowed to give (lease_max).
 *   (2) A promise is tagged with the newest (term, round) credited. What that leader itself orders
 *       later, by handing over, is not bound by it (R53).
 *   (3) The leader uses its lease only after an entry of its own term is committed, and never
 *       beyond doubt: a clock that went backwards, a transfer under way, other lengths in the
 *       membership make it void, and reads fall back to rounds (R49).
 *   (4) Ends round down, promises round up: served while now < end, bound while now < promised.
 */
#include "raft_internal.h"

#define ROUNDS      16u /* a power of two */
#define FINEST_PART 64u /* of a lease: sendings closer than that share a sample */

/* The rounds from this one on were sent at this sample or later. */
struct sending {
    uint64_t round;
    uint64_t sent_ms;
};

/* What a leader keeps for its lease. */
struct raft__lease {
    struct sending sendings[ROUNDS]; /* a ring; the newest at `newest` */
    uint32_t newest;
    uint64_t asked_round; /* the newest round that asked for credit in this leadership; 0: none */
    uint64_t void_round;  /* answers to rounds up to this one count no more */
};

/* ---- What a follower owes ------------------------------------------------------------------- */

/*
 * What a restart may have made forgotten is kept, whoever orders a campaign: its tag is not known.
 * That ends with the longest lease, whatever is promised meanwhile: a promise of this run has a tag
 * of its own, and is not bound against its own leader's order for ever (R50, R53).
 */
void raft__lease_restart(raft *node)
{
    if (node->state.lease_max_ms > 0 && node->state.term > 0) {
        node->withheld_until_ms = node->now_ms + node->state.lease_max_ms + 1;
        node->promised_until_ms = node->withheld_until_ms;
    }
}

/*
 * Remembered with the hard state, in the write that stores the membership, so that no promise can
 * be longer than a restart withholds.
 */
void raft__lease_remember(raft *node, uint64_t length_ms)
{
    if (length_ms > node->state.lease_max_ms) {
        node->state.lease_max_ms = length_ms;
        node->lease_max_unwritten = 1;
        node->rare = 1;
        node->dirty = 1;
    }
}

static int tag_is_below(raft_term term, uint64_t round, raft_term other_term, uint64_t other_round)
{
    return term < other_term || (term == other_term && round < other_round);
}

/*
 * A leader is bound by what it may have been promised itself: an order to campaign that is older
 * than its newest credit is not obeyed, though it would harm nobody but itself.
 */
int raft__promise_binds(const raft *node, raft_term tag_term, uint64_t tag_round)
{
    if (node->role == RAFT_ROLE_LEADER && tag_term != 0 && node->lease != NULL &&
        node->lease->asked_round != 0 &&
        tag_is_below(tag_term, tag_round, node->state.term, node->lease->asked_round)) {
        return 1;
    }
    if (node->now_ms >= node->promised_until_ms) {
        return 0;
    }
    return tag_term == 0 || node->now_ms < node->withheld_until_ms ||
           tag_is_below(tag_term, tag_round, node->promise_term, node->promise_round);
}

/* The lease of the membership in force, once that is durable here (R50). */
static uint64_t durable_length(const raft *node)
{
    return raft__config_index(node) <= node->durable_index ? node->lease_ms : 0;
}

void raft__lease_asked(raft *node, uint64_t round)
{
    if (round > node->credit_round) {
        node->credit_round = round;
        node->credit_ms = 0;
        node->credit_due = 1;
    }
}

void raft__promise(raft *node)
{
    uint64_t length = durable_length(node);
    node->credit_due = 0;
    if (length == 0 || node->role != RAFT_ROLE_FOLLOWER || node->leader == 0) {
        return;
    }
    int lasts = node->now_ms < node->promised_until_ms;
    uint64_t until = node->now_ms + length + 1;
    if (!lasts || tag_is_below(node->promise_term, node->promise_round, node->state.term,
                               node->credit_round)) {
        node->promise_term = node->state.term;
        node->promise_round = node->credit_round;
    }
    if (until > node->promised_until_ms) {
        node->promised_until_ms = until;
    }
    node->credit_ms = length;
}

/* ---- What a leader has ---------------------------------------------------------------------- */

/* With other lengths, what was counted so far means nothing (R50). */
void raft__lease_lengths(raft *node, uint32_t length_ms, uint32_t drift_permille)
{
    if (length_ms != node->lease_ms || drift_permille != node->lease_drift_permille) {
        node->lease_ms = length_ms;
        node->lease_drift_permille = drift_permille;
        raft__lease_void(node);
    }
    raft__lease_remember(node, length_ms);
}

void raft__lease_begin(raft *node)
{
    node->lease_suspended = 0;
    if (node->lease != NULL) {
        node->lease->asked_round = 0;
    }
}

void raft__lease_void(raft *node)
{
    if (node->lease != NULL) {
        node->lease->void_round = node->round;
        for (uint32_t i = 0; i < node->peer_count; i++) {
            node->peers[i].lease_end_ms = 0;
        }
    }
}

void raft__lease_suspend(raft *node, int why, int suspended)
{
    unsigned others = node->lease_suspended & ~(unsigned)why;
    node->lease_suspended = (uint8_t)(suspended ? others | (unsigned)why : others);
    raft__lease_void(node);
}

/* Made when it is needed first: without memory there is no lease. */
static int lease_exists(raft *node)
{
    if (node->lease == NULL) {
        node->lease =
            (struct raft__lease *)raft__resize(&node->memory, NULL, 0, sizeof(*node->lease));
        if (node->lease == NULL) {
            return 0;
        }
        memset(node->lease, 0, sizeof(*node->lease));
    }
    return 1;
}

/*
 * Rounds that follow each other closely share the sample of the first: to date a sending too early
 * only shortens the lease, and so few places reach back far enough however many rounds there are.
 */
static void note_sending(raft *node)
{
    struct raft__lease *lease = node->lease;
    const struct sending *last = &lease->sendings[lease->newest];
    if (last->round > lease->void_round &&
        node->now_ms - last->sent_ms < node->lease_ms / FINEST_PART) {
        return;
    }
    lease->newest = (lease->newest + 1) & (ROUNDS - 1);
    lease->sendings[lease->newest].round = node->round;
    lease->sendings[lease->newest].sent_ms = node->now_ms;
}

/* A sample below an earlier one dates nothing: the clock cannot be trusted until it has caught up. */
int raft__lease_ask(raft *node)
{
    if (node->lease_ms == 0 || node->lease_suspended || node->clock_is_back ||
        !lease_exists(node)) {
        return 0;
    }
    note_sending(node);
    node->lease->asked_round = node->round;
    return RAFT_FLAG_CREDIT;
}

/* What the leader counts of a credit: shorter by the drift bound, and rounded down. */
static uint64_t counted_ms(const raft *node, uint64_t credit_ms)
{
    uint64_t length = credit_ms < node->lease_ms ? credit_ms : node->lease_ms;
    return length * (1000 - node->lease_drift_permille) / 1000;
}

/* The sending that a round belongs to; null: too long ago to be remembered. */
static const struct sending *sending_of(const struct raft__lease *lease, uint64_t round)
{
    for (uint32_t i = 0; i < ROUNDS; i++) {
        const struct sending *sending = &lease->sendings[(lease->newest - i) & (ROUNDS - 1)];
        if (sending->round != 0 && sending->round <= round) {
            return sending;
        }
    }
    return NULL;
}

void raft__lease_credit(raft *node, struct raft__peer *peer, uint64_t round, uint64_t credit_ms)
{
    const struct raft__lease *lease = node->lease;
    if (lease == NULL) {
        return;
    }
    const struct sending *sending = sending_of(lease, round);
    if (sending == NULL || sending->round <= lease->void_round) {
        return; /* too long ago, or void */
    }
    uint64_t end = sending->sent_ms + counted_ms(node, credit_ms);
    if (end > peer->lease_end_ms) {
        peer->lease_end_ms = end;
    }
}

/* The leader needs no promise of its own: while it leads it helps nobody else. */
uint64_t raft__lease_end(const raft *node)
{
    uint64_t ends[RAFT_MEMBERS_MAX];
    if (node->role != RAFT_ROLE_LEADER || node->lease_ms == 0 || node->lease == NULL ||
        node->lease_suspended || node->clock_is_back || node->commit_index < node->own_first) {
        return 0;
    }
    for (uint32_t i = 0; i < node->peer_count; i++) {
        ends[i] = i == node->self ? node->now_ms + counted_ms(node, node->lease_ms)
                                  : node->peers[i].lease_end_ms;
    }
    return raft__quorum_value(&node->quorums, ends);
}

void raft__lease_free(raft *node)
{
    raft__free(&node->memory, node->lease, sizeof(*node->lease));
    node->lease = NULL;
}

const char *raft__lease_check(const raft *node)
{
    if (node->credit_ms != 0 && node->credit_ms > node->state.lease_max_ms) {
        return "no credit is longer than a restart remembers"; /* R50 */
    }
    if (node->withheld_until_ms > node->promised_until_ms) {
        return "what is withheld after a restart counts as promised"; /* R50 */
    }
    if (node->credit_round > node->leader_round) {
        return "credit is asked for by a round that was heard";
    }
    if (node->role == RAFT_ROLE_LEADER && node->lease != NULL &&
        node->lease->asked_round > node->round) {
        return "credit is asked for by a round that was begun";
    }
    return NULL;
}
