/*
 * The executable specification; see refine.h. Actions are named as in "Paxos Made Simple" and the
 * TLA+ specifications of it, and as in the figure of Raft's rules. Each begins with what enables it.
 */
#include "refine.h"

#include "arena.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void forbid(struct refine *spec, const char *action, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* A step that is none of the protocol's. The first one is kept. */
static void forbid(struct refine *spec, const char *action, const char *format, ...)
{
    va_list arguments;
    if (spec->failure[0] != '\0') {
        return;
    }
    size_t used = (size_t)snprintf(spec->failure, sizeof spec->failure, "%s: ", action);
    va_start(arguments, format);
    vsnprintf(spec->failure + used, sizeof spec->failure - used, format, arguments);
    va_end(arguments);
}

const char *refine_failure(const struct refine *spec)
{
    return spec->failure[0] == '\0' ? NULL : spec->failure;
}

/* ---- Logs, as sequences of values ------------------------------------------------------------- */

static uint64_t value_at(const struct checker_log *log, raft_index slot)
{
    return slot == 0 ? CHAIN_BASE : log->links[slot - 1].chain;
}

static raft_term term_at(const struct checker_log *log, raft_index slot)
{
    return slot == 0 ? 0 : log->links[slot - 1].term;
}

/* Whether the first n values are those of which the last is this one. */
static int begins_with(const struct checker_log *log, raft_index n, uint64_t value)
{
    return n <= log->count && value_at(log, n) == value;
}

/* How many values from slot 1 on two sequences have in common. */
static raft_index common(const struct checker_log *a, const struct checker_log *b)
{
    raft_index low = 0;
    raft_index high = a->count < b->count ? a->count : b->count;
    while (low < high) {
        raft_index middle = low + (high - low + 1) / 2;
        if (value_at(a, middle) == value_at(b, middle)) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

static void append(struct checker_log *log, struct checker_link link)
{
    log->links = vector_grow(log->links, log->count, &log->capacity, sizeof *log->links);
    log->links[log->count++] = link;
}

static void extend(struct checker_log *log, const struct checker_log *from)
{
    while (log->count < from->count) {
        append(log, from->links[log->count]);
    }
}

static void append_content(struct checker_log *log, raft_term term, uint64_t content)
{
    uint64_t value = entry_chain(value_at(log, log->count), term, content);
    append(log, (struct checker_link){term, value, 0});
}

/* ---- Rounds ----------------------------------------------------------------------------------- */

/* A place behind all rounds; the memory that one had in an earlier run is used again. */
static struct refine_round *add_round(struct refine *spec)
{
    if (spec->round_count == spec->round_room) {
        spec->rounds = vector_grow(spec->rounds, spec->round_room, &spec->round_capacity,
                                   sizeof *spec->rounds);
        memset(&spec->rounds[spec->round_room++], 0, sizeof *spec->rounds);
    }
    return &spec->rounds[spec->round_count++];
}

/* The round of a term; others may move. The newest ones are asked for most. */
static struct refine_round *round_of(struct refine *spec, raft_term term)
{
    size_t place = spec->round_count;
    while (place > 0 && spec->rounds[place - 1].term >= term) {
        place--;
    }
    if (place < spec->round_count && spec->rounds[place].term == term) {
        return &spec->rounds[place];
    }
    struct refine_round fresh = *add_round(spec);
    struct checker_log memory = fresh.proposed;
    memmove(&spec->rounds[place + 1], &spec->rounds[place],
            (spec->round_count - 1 - place) * sizeof fresh);
    memset(&fresh, 0, sizeof fresh);
    fresh.term = term;
    fresh.leader = NOBODY;
    fresh.proposed = memory;
    fresh.proposed.count = 0;
    spec->rounds[place] = fresh;
    return &spec->rounds[place];
}

void refine_begin(struct refine *spec, const struct checker_setup *setup)
{
    spec->paxos = setup->paxos;
    spec->server_count = setup->node_count;
    memcpy(spec->ids, setup->ids, sizeof spec->ids);
    memset(spec->servers, 0, sizeof spec->servers);
    spec->round_count = 0;
    spec->ahead_count = 0;
    spec->chosen = 0;
    spec->failure[0] = '\0';
}

void refine_free(struct refine *spec)
{
    for (size_t i = 0; i < spec->round_room; i++) {
        free(spec->rounds[i].proposed.links);
    }
    free(spec->rounds);
    free(spec->ahead);
    memset(spec, 0, sizeof *spec);
}

/* ---- Quorums ---------------------------------------------------------------------------------- */

static unsigned size_of(uint32_t set)
{
    unsigned size = 0;
    for (; set != 0; set &= set - 1) {
        size++;
    }
    return size;
}

/* So many voters of each half of a membership are in the set. */
static int is_quorum(const struct checker_config *config, const unsigned needed[2], uint32_t set)
{
    return size_of(config->voters[0] & set) >= needed[0] &&
           (config->voters[1] == 0 || size_of(config->voters[1] & set) >= needed[1]);
}

/* ---- Chosen ----------------------------------------------------------------------------------- */

/* Who has accepted values for all slots up to n in the round. */
static uint32_t acceptors_of(const struct refine_round *round, raft_index n)
{
    uint32_t set = 0;
    for (int i = 0; i < CHECKER_NODES_MAX; i++) {
        set |= round->accepted[i] >= n ? (uint32_t)1 << i : 0;
    }
    return set;
}

/* Leader completeness, Paxos' invariant: what a round has chosen, every later one proposes. */
static void check_complete(struct refine *spec, const struct refine_round *earlier,
                           const struct refine_round *later)
{
    raft_index n = earlier->chosen;
    if (later->leader != NOBODY && n > 0 &&
        !begins_with(&later->proposed, n, value_at(&earlier->proposed, n))) {
        forbid(spec, "LeaderCompleteness",
               "round %" PRIu64 " has chosen %" PRIu64 " slots, but round %" PRIu64
               " proposes something else",
               earlier->term, n, later->term);
    }
}

/* Whether the first n slots are chosen, with the values of which the last is this one. */
static int is_chosen(const struct refine *spec, raft_index n, uint64_t value)
{
    for (size_t i = 0; i < spec->round_count; i++) {
        const struct refine_round *round = &spec->rounds[i];
        if (round->chosen >= n && begins_with(&round->proposed, n, value)) {
            return 1;
        }
    }
    return 0;
}

/* A quorum of the leader's membership may have accepted more by now. */
static void choose(struct refine *spec, struct refine_round *round)
{
    raft_index before = round->chosen;
    for (int i = 0; i < spec->server_count; i++) {
        raft_index n = round->accepted[i];
        if (n > round->chosen && round->is_judged &&
            is_quorum(&round->config, round->config.commit, acceptors_of(round, n))) {
            round->chosen = n;
        }
    }
    if (round->chosen == before) {
        return;
    }
    spec->chosen = round->chosen > spec->chosen ? round->chosen : spec->chosen;
    for (struct refine_round *later = round + 1; later < spec->rounds + spec->round_count;
         later++) {
        check_complete(spec, round, later);
    }
}

/* ---- Phase 1b: promises and votes ------------------------------------------------------------- */

/*
 * Promise(a, t) and RequestVote's receiver: rounds only rise; one proposer owns a round of Paxos; a
 * vote of Raft is given once. Remembered: what the acceptor had accepted by then.
 */
static void phase1b(struct refine *spec, int server, const raft_hard_state *state)
{
    const struct refine_server *it = &spec->servers[server];
    struct refine_round *round = round_of(spec, state->term);
    if (state->vote == 0 || round->voted_for[server] == state->vote) {
        return;
    }
    if (round->voted_for[server] != 0) {
        forbid(spec, "Phase1b", "server %d votes twice in term %" PRIu64, server, state->term);
    }
    if (spec->paxos && round->proposer != 0 && round->proposer != state->vote) {
        forbid(spec, "Phase1b", "server %d promises round %" PRIu64 " to a second proposer", server,
               state->term);
    }
    round->proposer = state->vote;
    round->voted_for[server] = state->vote;
    round->promises |= (uint32_t)1 << server;
    round->prior[server] = state->accepted_round; /* both may have become durable together */
    if (state->accepted_round == state->term) {
        round->prior[server] = it->state.accepted_round;
    }
    if (it->log != NULL && begins_with(it->log, it->last, it->chain)) { /* else it was cut since */
        round->log_last[server] = it->last;
        round->log_term[server] = term_at(it->log, it->last);
    }
}

/* ---- Phase 2a begins -------------------------------------------------------------------------- */

/*
 * The log that a leader begins with is proposed: in Raft when it leads, in Paxos as soon as it has
 * accepted its round itself, though it may not live to say so. Judged when its membership is seen.
 */
static void begin_to_propose(struct refine_round *round, int server, const struct checker_log *log)
{
    round->leader = server;
    extend(&round->proposed, log);
    round->adopted = log->count;
    while (round->adopted > 0 && term_at(log, round->adopted) == round->term) {
        round->adopted--;
    }
}

/* ---- Phase 2b: accepting ---------------------------------------------------------------------- */

/*
 * Accept(a, t, slot, value) for all slots up to n: not below the promise, the values proposed in t
 * and, in Paxos, at least all that its proposer had found in phase 1: a round is accepted whole.
 */
static void phase2b(struct refine *spec, int server, raft_term in)
{
    const struct refine_server *it = &spec->servers[server];
    raft_index n = it->last;
    struct refine_round *round = round_of(spec, in);
    if (round->leader == NOBODY && round->voted_for[server] != spec->ids[server] &&
        in == it->state.term) {
        forbid(spec, "Phase2b", "server %d accepts in round %" PRIu64 ", in which nobody leads",
               server, in);
        return;
    }
    if (round->leader == NOBODY && !spec->paxos) {
        return; /* the leader to be, which is not seen to lead yet: looked at then */
    }
    if (round->leader == NOBODY) {
        begin_to_propose(round, server, it->log);
    }
    if (in < it->state.term) {
        return; /* a higher promise came into the same write: nobody was told of this one */
    }
    if (!begins_with(&round->proposed, n, it->chain)) {
        if (is_chosen(spec, n, it->chain)) {
            return; /* learnt: a snapshot of what was applied has outlived a log that was not durable */
        }
        forbid(spec, "Phase2b",
               "server %d accepts %" PRIu64 " slots in round %" PRIu64 ", not as proposed", server,
               n, in);
        return;
    }
    if (spec->paxos && n < round->adopted) {
        forbid(spec, "Phase2b",
               "server %d accepts %" PRIu64 " slots in round %" PRIu64 " of %" PRIu64 " adopted",
               server, n, in, round->adopted);
    }
    if (n > round->accepted[server]) {
        round->accepted[server] = n;
        choose(spec, round);
    }
}

/*
 * The round that the durable state accepts, if it does: the promised one, or, where a write or a restart shows
 * several steps at once, one below it that is new. In Raft the round of the last entry.
 */
static void accept(struct refine *spec, int server, raft_term accepted_before)
{
    const struct refine_server *it = &spec->servers[server];
    raft_term in = it->state.accepted_round;
    if (!spec->paxos) {
        in = it->last > 0 ? term_at(it->log, it->last) : 0;
    }
    int is_new = spec->paxos && in > accepted_before;
    if (in > 0 && (in == it->state.term || is_new)) {
        phase2b(spec, server, in);
    }
}

/* Log matching: an entry of a term is in a log as the term's leader has proposed it. */
static void check_matching(struct refine *spec, int server)
{
    const struct refine_server *it = &spec->servers[server];
    if (it->last == 0) {
        return;
    }
    const struct refine_round *round = round_of(spec, term_at(it->log, it->last));
    if (round->leader != NOBODY && it->last <= round->proposed.count &&
        value_at(&round->proposed, it->last) != it->chain) {
        forbid(spec, "LogMatching", "server %d has slot %" PRIu64 " otherwise than term %" PRIu64,
               server, it->last, round->term);
    }
}

void refine_durable(struct refine *spec, int server, const raft_hard_state *state,
                    const struct checker_log *log)
{
    struct refine_server *it = &spec->servers[server];
    if (state->term < it->state.term || state->accepted_round < it->state.accepted_round ||
        state->accepted_round > state->term) {
        forbid(
            spec, "Phase1b",
            "server %d goes from term %" PRIu64 ", accepted %" PRIu64 ", to %" PRIu64 ", %" PRIu64,
            server, it->state.term, it->state.accepted_round, state->term, state->accepted_round);
    }
    it->log = log;
    phase1b(spec, server, state);
    raft_term accepted_before = it->state.accepted_round;
    it->state = *state;
    if (it->last != log->count || it->chain != value_at(log, log->count)) {
        it->last = log->count;
        it->chain = value_at(log, log->count);
        check_matching(spec, server);
    }
    accept(spec, server, accepted_before);
}

void refine_started(struct refine *spec, int server)
{
    spec->servers[server].leads = 0;
}

void refine_forgotten(struct refine *spec, int server)
{
    for (size_t i = 0; i < spec->round_count; i++) {
        struct refine_round *round = &spec->rounds[i];
        round->promises &= ~((uint32_t)1 << server);
        round->voted_for[server] = 0;
        round->accepted[server] = 0;
    }
    memset(&spec->servers[server], 0, sizeof spec->servers[server]);
}

/* ---- Phase 2a: proposing ---------------------------------------------------------------------- */

/* Who has promised the round, having accepted nothing in any round above `most`. */
static uint32_t promised_at_most(const struct refine_round *round, raft_term most)
{
    uint32_t set = 0;
    for (int i = 0; i < CHECKER_NODES_MAX; i++) {
        int counts = (round->promises >> i & 1) != 0 && round->prior[i] <= most;
        set |= counts ? (uint32_t)1 << i : 0;
    }
    return set;
}

/*
 * How many of the values proposed are safe because an earlier round has proposed them, and a quorum
 * has accepted nothing in between: the highest-numbered proposal among it is that one, or older.
 */
static raft_index safe_as_proposed(const struct refine *spec, const struct refine_round *round)
{
    raft_index safe = 0;
    for (const struct refine_round *old = spec->rounds; old < round; old++) {
        if (old->leader != NOBODY &&
            is_quorum(&round->config, round->config.elect, promised_at_most(round, old->term))) {
            raft_index n = common(&old->proposed, &round->proposed);
            safe = n > safe ? n : safe;
        }
    }
    return safe;
}

/* Who has promised, having accepted no round above an old one, and in it nothing behind n slots. */
static uint32_t silent_behind(const struct refine_round *round, const struct refine_round *old,
                              raft_index n)
{
    uint32_t set = promised_at_most(round, old->term);
    for (int i = 0; i < CHECKER_NODES_MAX; i++) {
        if (round->prior[i] == old->term && old->accepted[i] > n) {
            set &= ~((uint32_t)1 << i);
        }
    }
    return set;
}

/*
 * Whether slots behind the first n are free, for values of the proposer's choice: a quorum has
 * accepted nothing there. Or nothing since an old round, and this had found nothing there itself: to
 * propose a log is to propose its end, too. What an old round proposed behind other values than the
 * first n ones is of no concern: these are safe.
 */
static int is_free(const struct refine *spec, const struct refine_round *round, raft_index n)
{
    const struct checker_config *config = &round->config;
    if (is_quorum(config, config->elect, promised_at_most(round, 0))) {
        return 1;
    }
    for (const struct refine_round *old = spec->rounds; old < round; old++) {
        int differs = common(&old->proposed, &round->proposed) < n;
        uint32_t set = differs ? promised_at_most(round, old->term) : silent_behind(round, old, n);
        if (old->leader != NOBODY && (differs || old->adopted <= n) &&
            is_quorum(config, config->elect, set)) {
            return 1;
        }
    }
    return 0;
}

/*
 * Propose(t, slot, value) for the log that the leader begins with, and for any value behind it: a
 * quorum has promised t, and each value is that of the highest-numbered proposal which an acceptor
 * in it has accepted.
 */
static void phase2a_of_paxos(struct refine *spec, const struct refine_round *round)
{
    raft_index safe = safe_as_proposed(spec, round);
    if (safe > round->adopted) {
        safe = round->adopted;
    }
    if (!is_free(spec, round, safe)) {
        forbid(spec, "Phase2a",
               "round %" PRIu64 " begins with %" PRIu64
               " slots, of which no quorum of promises (%x)"
               " allows more than %" PRIu64,
               round->term, round->adopted, (unsigned)round->promises, safe);
    }
}

/* A quorum has voted for logs that are at least as up-to-date as the voter's. */
static void become_leader_of_raft(struct refine *spec, const struct refine_round *round)
{
    uint32_t votes = 0;
    raft_term last_term = term_at(&round->proposed, round->adopted);
    for (int i = 0; i < spec->server_count; i++) {
        if (round->voted_for[i] != spec->ids[round->leader]) {
            continue;
        }
        votes |= (uint32_t)1 << i;
        if (round->log_term[i] > last_term ||
            (round->log_term[i] == last_term && round->log_last[i] > round->adopted)) {
            forbid(spec, "RequestVote",
                   "server %d votes in term %" PRIu64 " for a log that ends at %" PRIu64 "/%" PRIu64
                   ", its own at %" PRIu64 "/%" PRIu64,
                   i, round->term, round->adopted, last_term, round->log_last[i],
                   round->log_term[i]);
        }
    }
    if (!is_quorum(&round->config, round->config.elect, votes)) {
        forbid(spec, "BecomeLeader", "server %d leads term %" PRIu64 " by the votes of %x",
               round->leader, round->term, (unsigned)votes);
    }
}

static void judge(struct refine *spec, struct refine_round *round)
{
    round->is_judged = 1;
    if (spec->paxos) {
        phase2a_of_paxos(spec, round);
    } else {
        become_leader_of_raft(spec, round);
    }
    for (const struct refine_round *old = spec->rounds; old < round; old++) {
        check_complete(spec, old, round);
    }
    for (int i = 0; i < spec->server_count; i++) {
        if (spec->servers[i].state.term == round->term) {
            accept(spec, i, spec->servers[i].state.accepted_round);
        }
    }
}

static void begin_to_lead(struct refine *spec, int server, struct refine_round *round,
                          const struct checker_log *issued)
{
    int is_own = round->leader == NOBODY || round->leader == server;
    if (!is_own || round->is_led || round->voted_for[server] != spec->ids[server]) {
        forbid(spec, "Phase2a", "server %d leads round %" PRIu64 ", which is not its own", server,
               round->term);
        return;
    }
    round->is_led = 1;
    if (round->leader == NOBODY) {
        begin_to_propose(round, server, issued);
    }
    extend(&round->proposed, issued);
}

/* What was sent ahead is proposed as soon as all in front of it is. */
static void catch_up(const struct refine *spec, struct refine_round *round)
{
    for (size_t i = 0; i < spec->ahead_count; i++) {
        const struct refine_ahead *entry = &spec->ahead[i];
        if (entry->term == round->term && entry->slot == round->proposed.count + 1) {
            append_content(&round->proposed, round->term, entry->content);
        }
    }
}

/*
 * A leader appends only. What it writes is proposed, what it still writes after its time included:
 * it may have been sent.
 */
void refine_wrote(struct refine *spec, int server, const struct checker_log *issued)
{
    const struct refine_server *it = &spec->servers[server];
    if (it->led == 0) {
        return;
    }
    struct refine_round *round = round_of(spec, it->led);
    const struct checker_log *proposed = &round->proposed;
    raft_index n = issued->count < proposed->count ? issued->count : proposed->count;
    int holds = value_at(issued, n) == value_at(proposed, n);
    if (it->leads && !holds) {
        forbid(spec, "LeaderAppendOnly", "leader %d of round %" PRIu64 " changes what it proposed",
               server, round->term);
    } else if (holds && term_at(issued, issued->count) == it->led) {
        extend(&round->proposed, issued);
        catch_up(spec, round);
    }
}

void refine_observed(struct refine *spec, int server, const raft_status *status,
                     const struct checker_config *config, const struct checker_log *issued)
{
    struct refine_server *it = &spec->servers[server];
    struct refine_round *round = round_of(spec, status->term);
    int leads = status->role == RAFT_ROLE_LEADER;
    if (leads && (!it->leads || it->led != status->term)) {
        begin_to_lead(spec, server, round, issued);
    }
    it->leads = leads;
    it->led = leads ? status->term : it->led;
    if (round->leader == server && (leads || !round->is_judged)) {
        round->config = *config;
        if (!round->is_judged) {
            judge(spec, round);
        }
        choose(spec, round);
    }
    if (status->commit_index > spec->chosen) {
        forbid(spec, "Learn", "server %d learns %" PRIu64 " slots, %" PRIu64 " are chosen", server,
               status->commit_index, spec->chosen);
    }
}

/* ---- Messages --------------------------------------------------------------------------------- */

/* "1a" is of who has promised the round to itself, "1b" of who has promised it to the receiver. */
static void check_promise_sent(struct refine *spec, int server, const raft_message *message,
                               raft_id candidate)
{
    const struct refine_server *it = &spec->servers[server];
    if (it->state.term != message->term || it->state.vote != candidate) {
        forbid(spec, "Phase1b",
               "server %d speaks of a promise of round %" PRIu64 ", durable is %" PRIu64, server,
               message->term, it->state.term);
    }
    if (spec->paxos && message->kind == RAFT_MESSAGE_VOTE_REPLY &&
        message->accepted_round != it->state.accepted_round) {
        forbid(spec, "Phase1b", "server %d promises with round %" PRIu64 ", durable is %" PRIu64,
               server, message->accepted_round, it->state.accepted_round);
    }
}

static void send_ahead(struct refine *spec, const raft_entry *entry)
{
    for (size_t i = 0; i < spec->ahead_count; i++) {
        if (spec->ahead[i].term == entry->term && spec->ahead[i].slot == entry->index) {
            return;
        }
    }
    spec->ahead =
        vector_grow(spec->ahead, spec->ahead_count, &spec->ahead_capacity, sizeof *spec->ahead);
    spec->ahead[spec->ahead_count++] =
        (struct refine_ahead){entry->term, entry->index, entry_content(entry)};
}

/*
 * The entries of a range that are behind all that was proposed follow it now. A leader may send what
 * it has not begun to write, and to one server a tail whose front nobody was sent yet.
 */
static void propose(struct refine *spec, struct refine_round *round, raft_range range)
{
    struct checker_log *log = &round->proposed;
    raft_entry entry;
    while (raft_range_next(&range, &entry)) {
        if (entry.index == log->count + 1) {
            append_content(log, entry.term, entry_content(&entry));
        } else if (entry.index > log->count) {
            send_ahead(spec, &entry);
        }
    }
    catch_up(spec, round);
}

/* "2a" carries what the leader of the round has proposed, or proposes by it: disks are slow (R5). */
static void check_proposal_sent(struct refine *spec, int server, const raft_message *message)
{
    struct refine_round *round = round_of(spec, message->term);
    const struct checker_log *log = &round->proposed;
    int is_known = message->index <= log->count; /* else it was neither written nor sent yet */
    raft_term before = is_known ? term_at(log, message->index) : round->term;
    int is_proposed = round->leader == server && before == message->index_term;
    for (size_t i = 0; i < message->range_count && is_proposed; i++) {
        const raft_range *range = &message->ranges[i];
        raft_index last = range->first + range->count - 1;
        if (last > log->count && range->term == round->term) {
            propose(spec, round, *range);
        }
        is_proposed = is_known ? last <= log->count && term_at(log, range->first) == range->term &&
                                     term_at(log, last) == range->term
                               : range->term == round->term;
    }
    if (!is_proposed) {
        forbid(spec, "Phase2a",
               "server %d sends in round %" PRIu64 " what it has not proposed there", server,
               message->term);
    }
}

/* "2b" says what is accepted: as proposed, durably, with no higher promise. */
static void check_acceptance_sent(struct refine *spec, int server, const raft_message *message)
{
    const struct refine_server *it = &spec->servers[server];
    const struct refine_round *round = round_of(spec, message->term);
    raft_index n = message->index;
    int is_held = it->state.term == message->term && it->log != NULL && n <= it->log->count &&
                  begins_with(&round->proposed, n, value_at(it->log, n));
    int counts = (message->flags & RAFT_FLAG_ACCEPTED) != 0;
    if (!is_held || (counts && it->state.accepted_round != message->term)) {
        forbid(spec, "Phase2b",
               "server %d says that it has accepted %" PRIu64 " slots in round %" PRIu64, server, n,
               message->term);
    }
}

void refine_sent(struct refine *spec, int server, const raft_message *message)
{
    if (message->kind == RAFT_MESSAGE_VOTE) {
        check_promise_sent(spec, server, message, spec->ids[server]);
    } else if (message->kind == RAFT_MESSAGE_VOTE_REPLY && !message->refused) {
        check_promise_sent(spec, server, message, message->to);
    } else if (message->kind == RAFT_MESSAGE_APPEND) {
        check_proposal_sent(spec, server, message);
    } else if (message->kind == RAFT_MESSAGE_APPEND_REPLY && !message->refused) {
        check_acceptance_sent(spec, server, message);
    }
}
