/*
 * Multi-Paxos on the shared log: who may be promised a term, how a promised server becomes the
 * leader, and when what it replicates counts (rules P1 to P18). What Raft has in place of it is in
 * election.c; everything else is common to both.
 *
 *   prepare ──promises of a Q1──▶ adopt the best log ──▶ accepted_round = t ──▶ leader of t
 *                 ▲                       │
 *                 └── not a Q1 of the ────┘
 *                     membership adopted (P9)
 *
 *   (1) A term has one owner: the slot in its low bits is given to one server for ever. So no two
 *       servers ask for promises in the same term, and a promise never looks at the log (P1, P2).
 *   (2) The best log has the highest (accepted_round, last index): whatever was chosen before is a
 *       part of it, since every Q1 meets every Q2. The candidate makes its own log exactly that one,
 *       and cuts nothing before it has a Q1 (P4).
 *   (3) accepted_round = t says that the log is the leader's of t, through the end of what it
 *       adopted, L. It is stored after the entries that it speaks of, never with them: a write may
 *       be torn (P5, P6). Acknowledgements count only from servers that have stored it (P7).
 */
#include "raft_internal.h"

/* What a server says of its log when it promises a term (P3). */
struct promise {
    raft_id from;
    raft_term accepted_round;
    raft_index last;
    raft_term last_term;
    raft_index commit;
    uint8_t lacks_goal; /* asked for the end of a witness's best log, it did not know it (P17) */
};

/* A candidate's collection, by server: the membership may change under it. */
struct raft__phase1 {
    struct promise promises[RAFT_MEMBERS_MAX];
    uint32_t count;
    uint64_t until_ms;        /* until when the own timer is put off while a pull goes on */
    uint64_t hold_ms;         /* when those that have promised are to be held next (P16) */
    uint64_t pulled;          /* how far it had come by then */
    raft_index asked_members; /* the membership that was asked last */
};

/* A pull that goes on may take this many election timeouts (P16). */
#define PULL_TIMEOUTS 200u

/* ---- Terms ---------------------------------------------------------------------------------- */

#define SLOT_BITS 16
#define SLOT_MASK (((raft_term)1 << SLOT_BITS) - 1)

/*
 * Slots are read from the newest membership that is certain to stay: committed, or followed by
 * another one, which was not begun before (P10). One that may be dropped yet gives slots that may
 * be given again.
 */
static const struct raft__held *settled_config(const raft *node)
{
    const struct raft__configs *configs = &node->configs;
    if (configs->count == 0) {
        return NULL;
    }
    const struct raft__held *newest = &configs->items[configs->count - 1];
    if (newest->index <= node->commit_index) {
        return newest;
    }
    return configs->count > 1 ? newest - 1 : NULL;
}

/* The member that has this id, or this slot; its id is 0 if none is known for certain. */
static raft_member settled_member(const raft *node, raft_id id, uint32_t slot)
{
    static const raft_member none;
    struct raft__config config;
    const struct raft__held *held = settled_config(node);
    if (held != NULL && raft__config_decode(held->bytes, held->size, &config) == RAFT_OK) {
        for (size_t i = 0; i < config.is.member_count; i++) {
            if (config.members[i].id == id || config.members[i].owner_slot == slot) {
                return config.members[i];
            }
        }
    }
    return none;
}

static uint32_t slot_of(const raft *node, raft_id id)
{
    return settled_member(node, id, 0).owner_slot;
}

static raft_id owner_of(const raft *node, raft_term term)
{
    return settled_member(node, 0, (uint32_t)(term & SLOT_MASK)).id;
}

/* The next round above all that were seen, with the own slot; 0: none is left, or none is given. */
static raft_term next_term(const raft *node)
{
    raft_term round = (node->state.term >> SLOT_BITS) + 1;
    uint32_t slot = slot_of(node, node->id);
    return slot == 0 || round > RAFT_LIMIT >> SLOT_BITS ? 0 : round << SLOT_BITS | slot;
}

/* A server that is not known here may have been added since; nobody else has its slot (P18). */
static int may_own(const raft *node, raft_id id, raft_term term)
{
    raft_id owner = owner_of(node, term);
    return (term & SLOT_MASK) != 0 && (owner == 0 || owner == id);
}

/* ---- Promising ------------------------------------------------------------------------------ */

/* P2: the log is not looked at. */
static int ignore_log(const raft *node, const raft_message *message)
{
    (void)node;
    (void)message;
    return 1;
}

/*
 * Only what is durable is told: it may be asked for. While a snapshot that replaces the log is being
 * put into use it is neither the old one nor the new one yet.
 */
static int describe_log(const raft *node, raft_message *promise)
{
    raft_index last = node->durable_index;
    if (last < node->log.base_index) {
        return 0;
    }
    promise->index = last;
    promise->index_term = raft__log_term(&node->log, last);
    promise->commit = node->commit_index < last ? node->commit_index : last;
    promise->accepted_round = node->state.accepted_round;
    return 1;
}

/*
 * The candidate that was promised this term is at work on it: nobody is helped to another one for
 * a while (P16). Not contact: it binds to nothing else.
 */
void raft__hold(raft *node)
{
    if (node->role != RAFT_ROLE_FOLLOWER) {
        raft__become_follower(node, node->state.term, 0);
    }
    node->timer_reset = 1;
    node->held_until_ms = node->now_ms + node->options.election_timeout_ms;
}

/* ---- Phase 1 -------------------------------------------------------------------------------- */

static int begin_phase1(raft *node)
{
    if (node->phase1 == NULL) {
        node->phase1 =
            (struct raft__phase1 *)raft__resize(&node->memory, NULL, 0, sizeof(*node->phase1));
        if (node->phase1 == NULL) {
            return RAFT_ENOMEM;
        }
    }
    memset(node->phase1, 0, sizeof(*node->phase1));
    node->phase1->hold_ms = node->now_ms;
    node->phase1->until_ms =
        node->now_ms + (uint64_t)node->options.election_timeout_ms * 2 * PULL_TIMEOUTS;
    node->phase1->asked_members = raft__config_index(node);
    return RAFT_OK;
}

void raft__phase1_end(raft *node)
{
    raft__free(&node->memory, node->phase1, sizeof(*node->phase1));
    node->phase1 = NULL;
}

static struct promise *promise_of(struct raft__phase1 *phase1, raft_id from)
{
    uint32_t i = 0;
    while (i < phase1->count && phase1->promises[i].from != from) {
        i++;
    }
    return i < phase1->count ? &phase1->promises[i] : NULL;
}

/* Said again, it may tell more: what was being written is durable by then. */
static void take_promise(raft *node, const raft_message *message)
{
    struct raft__phase1 *phase1 = node->phase1;
    struct promise *promise = promise_of(phase1, message->from);
    if (promise == NULL) {
        if (phase1->count == RAFT_MEMBERS_MAX) {
            return; /* so many have come and gone while this log was pulled */
        }
        promise = &phase1->promises[phase1->count++];
        memset(promise, 0, sizeof(*promise));
    } else if (message->index < promise->last) {
        return; /* overtaken */
    }
    promise->from = message->from;
    promise->accepted_round = message->accepted_round;
    promise->last = message->index;
    promise->last_term = message->index_term;
    promise->commit = message->commit;
}

static void drop_promise(raft *node, raft_id from)
{
    struct raft__phase1 *phase1 = node->phase1;
    struct promise *promise = promise_of(phase1, from);
    if (promise != NULL) {
        *promise = phase1->promises[--phase1->count];
    }
    node->granted &= ~raft__bit_of(node, raft__position_of(node, from));
}

static int is_better(raft_term round, raft_index last, raft_term than_round, raft_index than_last)
{
    return round > than_round || (round == than_round && last > than_last);
}

/* Whose log is the best; null: the own one. From outside the membership, too (P9). */
static const struct promise *best_promise(const raft *node)
{
    const struct promise *best = NULL;
    raft_term round = node->state.accepted_round;
    raft_index last = node->log.last_index;
    for (uint32_t i = 0; i < node->phase1->count; i++) {
        const struct promise *promise = &node->phase1->promises[i];
        if (is_better(promise->accepted_round, promise->last, round, last)) {
            best = promise;
            round = promise->accepted_round;
            last = promise->last;
        }
    }
    return best;
}

static raft_index highest_commit(const raft *node)
{
    raft_index commit = node->commit_index;
    for (uint32_t i = 0; i < node->phase1->count; i++) {
        const struct promise *promise = &node->phase1->promises[i];
        commit = promise->commit > commit ? promise->commit : commit;
    }
    return commit;
}

/* Nobody leads with it: another round may find more. */
static void give_up_phase1(raft *node)
{
    raft__become_follower(node, node->state.term, 0);
    raft__draw_timer(node);
}

/* What a witness tells of has no payloads: some server with data must know its last entry (P17). */
static const struct promise *source_for(const raft *node, const struct promise *best)
{
    const struct promise *source = NULL;
    if ((raft__bit_of(node, raft__position_of(node, best->from)) & node->witnesses) == 0) {
        return best;
    }
    for (uint32_t i = 0; i < node->phase1->count; i++) {
        const struct promise *promise = &node->phase1->promises[i];
        uint32_t position = raft__position_of(node, promise->from);
        int has_data = (raft__bit_of(node, position) & node->witnesses) == 0;
        if (has_data && !promise->lacks_goal && promise->last >= best->last &&
            (source == NULL || is_better(promise->accepted_round, promise->last,
                                         source->accepted_round, source->last))) {
            source = promise;
        }
    }
    return source;
}

/*
 * Where the own log has the last entry of the best one, all in front of it is the same, and what is
 * behind it goes. Else the best one is pulled. True: the log is the best one.
 */
static int adopt(raft *node, const struct promise *best)
{
    if (raft__log_holds(&node->log, best->last, best->last_term)) {
        if (best->last < node->commit_index) {
            give_up_phase1(node); /* what is committed is in every best log: this promise lied */
            return 0;
        }
        if (best->last < node->log.last_index) {
            raft__truncate(node, best->last + 1);
        }
        return node->phase1 != NULL; /* what governs now may not let this server lead (R16) */
    }
    const struct promise *source = source_for(node, best);
    if (best->last < node->commit_index) {
        give_up_phase1(node); /* as above */
    } else if (source != NULL) {
        raft__pull_log(node, source->from, best->last, best->last_term, source != best);
    } /* else somebody with the payloads may answer yet (P17) */
    return 0;
}

/* Everybody that the membership counts is asked; those that have promised say so again (P9). */
static void ask_all(raft *node)
{
    node->phase1->asked_members = raft__config_index(node);
    node->refused = 0;
    node->request_due = 1;
    node->rare = 1;
    node->dirty = 1;
}

/* A Q1 of the membership in force, both halves if joint. */
static int has_quorum(const raft *node)
{
    return raft__quorum_has(&node->quorums, RAFT__ELECTION, node->granted);
}

/* No Q1 yet: another membership asks others, too (P9); where one can no longer be had, no more. */
static void seek_promises(raft *node)
{
    if (node->phase1->asked_members != raft__config_index(node)) {
        ask_all(node);
    } else if (!raft__quorum_has(&node->quorums, RAFT__ELECTION, ~node->refused)) {
        give_up_phase1(node);
    }
}

/* P5: accepted_round is stored, after all that it speaks of. */
static void lead(raft *node)
{
    raft_index commit = highest_commit(node);
    if (raft__own_reserve(node) != RAFT_OK) {
        give_up_phase1(node); /* no memory to lead with */
        return;
    }
    raft__lead(node);
    raft__commit_to(node, commit);
}

/*
 * With the promises of a Q1, whatever can have been chosen in an earlier term is in the best of the
 * logs. Looked at whenever anything has changed; each step is taken when the one before is durable.
 */
static void judge_promises(raft *node)
{
    if (!node->self_asked || node->pull.source != 0 || raft__is_installing(node)) {
        return;
    }
    if (!has_quorum(node)) {
        seek_promises(node);
        return;
    }
    if (node->state.accepted_round == node->state.term) {
        if (raft__state_is_durable(node)) {
            lead(node);
        }
        return;
    }
    const struct promise *best = best_promise(node);
    if (best != NULL && !adopt(node, best)) {
        return;
    }
    if (!has_quorum(node)) {
        seek_promises(node); /* the log adopted has brought another membership */
    } else if (highest_commit(node) > node->log.last_index) {
        give_up_phase1(node); /* a fault, of somebody: what is committed would be missing */
    } else if (raft__log_is_durable(node)) {
        raft__accept_round(node);
    }
}

/* What was pulled is the source's log, or as much of it as there was to be had. */
void raft__phase1_pulled(raft *node, int outcome)
{
    struct raft__phase1 *phase1 = node->phase1;
    struct promise *source = promise_of(phase1, node->pull.source);
    raft_id from = node->pull.source;
    if (outcome == RAFT__PULL_SILENT) {
        drop_promise(node, from); /* it is asked anew, as anybody */
        ask_all(node);
    } else if (outcome == RAFT__PULL_LACKS && node->pull.verifies && source != NULL) {
        source->lacks_goal = 1;
    } else if (outcome == RAFT__PULL_LACKS) {
        drop_promise(node, from); /* it cannot give what it has promised with */
        node->refused |= raft__bit_of(node, raft__position_of(node, from));
    }
    raft__pull_end(node);
    node->dirty = 1;
}

/*
 * Those that have promised are held while the pull goes on, and the own timer is put off; not for
 * ever (P16).
 */
void raft__phase1_timers(raft *node)
{
    struct raft__phase1 *phase1 = node->phase1;
    if (node->pull.source == 0 || node->now_ms < phase1->hold_ms) {
        return;
    }
    phase1->hold_ms = node->now_ms + node->options.heartbeat_ms;
    if (node->pull.progress != phase1->pulled && node->now_ms < phase1->until_ms) {
        phase1->pulled = node->pull.progress;
        node->timer_reset = 1;
        node->hold_due = 1;
        ask_all(node);
    }
}

uint64_t raft__phase1_deadline(const raft *node)
{
    return node->pull.source != 0 ? node->phase1->hold_ms : RAFT_NEVER;
}

/* ---- Phase 2 -------------------------------------------------------------------------------- */

void raft__accept_round(raft *node)
{
    RAFT_ASSERT(node->state.accepted_round < node->state.term); /* I8 */
    node->accept_due = 0;
    node->state.accepted_round = node->state.term;
    node->state_version++;
    node->accepted_flag = RAFT_FLAG_ACCEPTED;
    if (node->own_count > 0) {
        raft__own_adopted(node);
    }
    node->ack_due = node->role == RAFT_ROLE_FOLLOWER;
    node->dirty = 1;
}

/* Everything that accepted_round will speak of is durable, and what it denies is gone (P6). */
void raft__accept_when_durable(raft *node)
{
    int is_cut = node->truncated_from == 0 &&
                 (node->pending_count == 0 || node->pending[0].seq > node->accept_seq);
    if (is_cut && !node->meta_unwritten && node->durable_index >= node->accept_index) {
        raft__accept_round(node);
    }
}

/*
 * The log is the leader's through L for certain. What lies beyond what is certified and is older
 * than this term is not: it goes first (P6).
 */
void raft__reached_adopted(raft *node)
{
    if (node->state.accepted_round == node->state.term || node->accept_due) {
        return;
    }
    if (node->log.last_index > node->certified &&
        raft__log_term(&node->log, node->certified + 1) < node->state.term) {
        raft__truncate(node, node->certified + 1);
    }
    node->accept_due = 1;
    node->accept_index = node->certified;
    node->accept_seq = node->seq + 1;
    raft__accept_when_durable(node);
}

/* ---- The rules ------------------------------------------------------------------------------ */

const struct raft__rules *raft__paxos_rules(void)
{
    static const struct raft__rules rules = {
        next_term, may_own, ignore_log, describe_log, begin_phase1, take_promise, judge_promises, 0,
    };
    return &rules;
}
