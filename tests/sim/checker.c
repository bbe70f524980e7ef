/*
 * The global observer; see checker.h.
 *
 * Everything is incremental: a check costs a few table look-ups, whatever the length of the
 * history. Two facts make that possible. The chain of an entry stands for the whole log up to it,
 * so that comparing two chains compares two logs. And chosen entries never change (I10), so that
 * each is compared once with what follows.
 *
 * Compaction is not seen here: a log is always whole, what a snapshot covers being what is chosen. So
 * a snapshot is compared once with the chosen entries, and a log that begins behind it like any.
 *
 * An entry is chosen when a quorum has made it durable while its durable term was the entry's own:
 * whoever leads later meets one of them. In Multi-Paxos, when a quorum holds it that has durably
 * accepted one term, whatever the entry's own. What lies below a chosen entry is chosen with it.
 */
#include "checker.h"

#include "arena.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_SLACK_BYTES (256 * 1024 + 4096) /* a follower's, and empty entries */
#define CONFIG_BYTES    512u                /* of a membership, which passes, with its segment */
#define SLOT_BITS       16
#define SLOT_MASK       (CHECKER_SLOTS - 1)

void checker_fail(struct checker *checker, const char *invariant, const char *format, ...)
{
    if (checker->failure[0] != '\0') {
        return;
    }
    va_list arguments;
    size_t used = (size_t)snprintf(checker->failure, sizeof checker->failure, "%s: ", invariant);
    va_start(arguments, format);
    vsnprintf(checker->failure + used, sizeof checker->failure - used, format, arguments);
    va_end(arguments);
}

const char *checker_failure(const struct checker *checker)
{
    return checker->failure[0] == '\0' ? NULL : checker->failure;
}

/* ---- Logs and terms -------------------------------------------------------------------------- */

static uint64_t chain_at(const struct checker_log *log, raft_index index)
{
    return index == 0 ? CHAIN_BASE : log->links[index - 1].chain;
}

static raft_term term_at(const struct checker_log *log, raft_index index)
{
    return index == 0 ? 0 : log->links[index - 1].term;
}

/* The newest membership at or below an index. */
static raft_index config_at(const struct checker_log *log, raft_index index)
{
    return index == 0 ? 0 : log->links[index - 1].config;
}

/* Whether the log has the entry at index and the same log below it. */
static int log_holds(const struct checker_log *log, raft_index index, uint64_t chain)
{
    return index <= log->count && chain_at(log, index) == chain;
}

static void log_append(struct checker_log *log, struct checker_link link)
{
    log->links = vector_grow(log->links, log->count, &log->capacity, sizeof link);
    log->links[log->count++] = link;
}

static void log_truncate(struct checker_log *log, raft_index from)
{
    if (from != 0 && from <= log->count) {
        log->count = (size_t)(from - 1);
    }
}

/* The first so many entries of another log. */
static void log_assign(struct checker_log *log, const struct checker_log *from, uint64_t count)
{
    log->count = 0;
    for (size_t i = 0; i < from->count && i < count; i++) {
        log_append(log, from->links[i]);
    }
}

/* Where the record of a term is, or would have to be. */
static size_t place_of_term(const struct checker *checker, raft_term term)
{
    size_t low = 0;
    size_t high = checker->term_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (checker->terms[middle].term < term) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void add_term(struct checker *checker, size_t place, raft_term term)
{
    checker->terms = vector_grow(checker->terms, checker->term_count, &checker->term_capacity,
                                 sizeof *checker->terms);
    struct checker_term *record = &checker->terms[place];
    memmove(record + 1, record, (checker->term_count++ - place) * sizeof *record);
    memset(record, 0, sizeof *record);
    record->term = term;
    record->leader = NOBODY;
    record->config = checker->founding;
}

/* How many terms there have been up to this one: Multi-Paxos counts rounds (P1). */
static raft_term round_of(const struct checker *checker, raft_term term)
{
    return checker->setup.paxos ? term >> SLOT_BITS : term;
}

/*
 * The record of a term; records of other terms may move. A term that nobody can have reached is a
 * violation and counts as term 0.
 */
static struct checker_term *term_of(struct checker *checker, raft_term term)
{
    if (round_of(checker, term) > CHECKER_TERM_MAX) {
        checker_fail(checker, "V24", "terms grow without end: %" PRIu64, term);
        term = 0;
    }
    size_t place = place_of_term(checker, term);
    if (place == checker->term_count || checker->terms[place].term != term) {
        add_term(checker, place, term);
    }
    return &checker->terms[place];
}

static int position_of(const struct checker *checker, raft_id id)
{
    for (int i = 0; i < checker->setup.node_count; i++) {
        if (checker->setup.ids[i] == id) {
            return i;
        }
    }
    return NOBODY;
}

/* ---- A history begins and ends --------------------------------------------------------------- */

static unsigned majority(unsigned voters)
{
    return voters / 2 + 1;
}

static unsigned set_size(uint32_t set)
{
    unsigned size = 0;
    for (; set != 0; set &= set - 1) {
        size++;
    }
    return size;
}

/*
 * Q1: the user sets the commit quorum, and the election quorum follows; without a wish both are
 * majorities. Two election quorums have to meet in Raft alone.
 */
static void config_half(const struct checker *checker, struct checker_config *config, int half,
                        uint32_t voters, unsigned wish)
{
    unsigned n = set_size(voters);
    config->voters[half] = voters;
    config->commit[half] = wish != 0 ? wish : majority(n);
    config->elect[half] = n + 1 - config->commit[half];
    if ((!checker->setup.paxos || wish == 0) && config->elect[half] < majority(n)) {
        config->elect[half] = majority(n);
    }
}

static void found(struct checker *checker)
{
    int founders = checker->setup.founders;
    uint32_t all = ((uint32_t)1 << (founders != 0 ? founders : checker->setup.node_count)) - 1;
    memset(&checker->founding, 0, sizeof checker->founding);
    checker->founding.members = all;
    config_half(checker, &checker->founding, 0, all, 0);
    checker->founding.zones = checker->setup.zones;
    for (uint32_t i = 0; checker->setup.zones && i < CHECKER_NODES_MAX; i++) {
        checker->founding.zone[i] = 1 + i % 2;
    }
}

void checker_begin(struct checker *checker, const struct checker_setup *setup)
{
    checker->setup = *setup;
    checker->absent = 0;
    found(checker);
    checker->ever_voters = checker->founding.voters[0];
    memset(checker->slot_owners, 0, sizeof checker->slot_owners);
    for (int i = 0; i < CHECKER_NODES_MAX; i++) {
        checker->member_since[i] = (checker->founding.members >> i & 1) != 0 ? 0 : UINT64_MAX;
    }
    for (int i = 0; i < CHECKER_NODES_MAX; i++) {
        struct checker_node *node = &checker->nodes[i];
        struct checker_log logs[4] = {node->durable, node->issued, node->restored,
                                      node->pending_links};
        memset(node, 0, sizeof *node);
        for (int j = 0; j < 4; j++) {
            logs[j].count = 0;
        }
        node->durable = logs[0];
        node->issued = logs[1];
        node->restored = logs[2];
        node->pending_links = logs[3];
        node->config = checker->founding;
        node->stale_from = NOBODY;
    }
    registry_clear(&checker->registry);
    checker->term_count = 0;
    checker->chosen.count = 0;
    checker->announced.count = 0;
    checker->read_count = 0;
    checker->forward_count = 0;
    checker->newest_led = 0;
    memset(checker->forward_outcomes, 0, sizeof checker->forward_outcomes);
    checker->commit_max = 0;
    checker->acknowledged = 0;
    checker->leader_changes = 0;
    checker->truncations = 0;
    checker->installs = 0;
    memset(checker->adoptions, 0, sizeof checker->adoptions);
    memset(checker->outcomes, 0, sizeof checker->outcomes);
    checker->reads_answered = 0;
    checker->reads_failed = 0;
    checker->failure[0] = '\0';
}

void checker_free(struct checker *checker)
{
    for (int i = 0; i < CHECKER_NODES_MAX; i++) {
        free(checker->nodes[i].durable.links);
        free(checker->nodes[i].issued.links);
        free(checker->nodes[i].restored.links);
        free(checker->nodes[i].pending_links.links);
    }
    registry_free(&checker->registry);
    free(checker->terms);
    free(checker->chosen.links);
    free(checker->announced.links);
    free(checker->chosen_in);
    free(checker->reads);
    free(checker->forwards);
    memset(checker, 0, sizeof *checker);
}

/* ---- Entries --------------------------------------------------------------------------------- */

/* The forwarded proposal with this value, or null. */
static struct checker_forward *find_forward(struct checker *checker, uint64_t value)
{
    size_t low = 0;
    size_t high = checker->forward_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (checker->forwards[middle].value < value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    int found = low < checker->forward_count && checker->forwards[low].value == value;
    return found ? &checker->forwards[low] : NULL;
}

/* An entry that no server proposed by itself: it may have been handed to one, once (R63). */
static int was_forwarded(struct checker *checker, const raft_entry *entry)
{
    uint64_t value = 0;
    const uint8_t *data = entry->data;
    if (entry->kind != RAFT_ENTRY_DATA || entry->size < 8) {
        return 0;
    }
    for (size_t i = 0; i < 8; i++) {
        value |= (uint64_t)data[i] << (8 * i);
    }
    struct checker_forward *forward = find_forward(checker, value);
    if (forward == NULL) {
        return 0;
    }
    if (forward->index != 0 || forward->dropped) {
        checker_fail(checker, "V18",
                     "a proposal forwarded by node %d is appended at %" PRIu64 "/%" PRIu64
                     " after %" PRIu64 "/%" PRIu64 "%s",
                     forward->node, entry->index, entry->term, forward->index, forward->term,
                     forward->dropped ? ", and was told to be dropped" : "");
    }
    forward->index = entry->index;
    forward->term = entry->term;
    return 1;
}

/*
 * An entry is seen, in a log or on its way, below which there is a log with this chain (0: not
 * known). Returns its own chain, or 0 where that is not known.
 */
static uint64_t entry_seen(struct checker *checker, int node, uint64_t previous_chain,
                           const raft_entry *entry)
{
    uint64_t content = entry_content(entry);
    struct registry_entry *known = registry_find(&checker->registry, entry->index, entry->term);
    if (known != NULL && entry->kind == RAFT_ENTRY_STRIPPED) {
        content = known->content; /* the header of what it stands for */
    }
    if (known == NULL) {
        if ((entry->kind != RAFT_ENTRY_NOOP || entry->size != 0) &&
            entry->kind != RAFT_ENTRY_CONFIG && !was_forwarded(checker, entry)) {
            checker_fail(checker, "I3",
                         "node %d has entry %" PRIu64 "/%" PRIu64 " that nobody proposed", node,
                         entry->index, entry->term);
        }
        known = registry_add(&checker->registry, entry->index, entry->term, content);
    }
    known->is_config = entry->kind == RAFT_ENTRY_CONFIG;
    if (known->content != content) {
        checker_fail(checker, "I23", "entry %" PRIu64 "/%" PRIu64 " has two contents; node %d",
                     entry->index, entry->term, node);
    }
    if (previous_chain == 0) {
        return known->chain;
    }
    uint64_t chain = entry_chain(previous_chain, entry->term, content);
    if (known->chain != 0 && known->chain != chain) {
        checker_fail(checker, "I12", "two logs differ below entry %" PRIu64 "/%" PRIu64 "; node %d",
                     entry->index, entry->term, node);
    }
    known->chain = chain;
    return chain;
}

void checker_proposed(struct checker *checker, int node, raft_index index, raft_term term,
                      const void *data, size_t size)
{
    raft_entry entry = {index, term, data, size, RAFT_ENTRY_DATA};
    if (registry_find(&checker->registry, index, term) != NULL) {
        checker_fail(checker, "I23", "node %d proposes %" PRIu64 "/%" PRIu64 " a second time", node,
                     index, term);
        return;
    }
    struct registry_entry *added =
        registry_add(&checker->registry, index, term, entry_content(&entry));
    added->proposer = node;
    added->incarnation = checker->nodes[node].incarnation;
    added->floor = checker->acknowledged;
    checker->nodes[node].proposals_open++;
    checker->outcomes[OUTCOME_OPEN]++;
    if (term_of(checker, term)->leader != node) {
        checker_fail(checker, "I4",
                     "node %d takes a proposal in term %" PRIu64 ", which it does not lead", node,
                     term);
    }
}

/* ---- Storage --------------------------------------------------------------------------------- */

static int same_state(const raft_hard_state *a, const raft_hard_state *b)
{
    return a->term == b->term && a->vote == b->vote && a->accepted_round == b->accepted_round;
}

/* A term never falls, and a vote never changes within a term (R3). */
static void check_state_follows(struct checker *checker, int node, const raft_hard_state *before,
                                const raft_hard_state *after)
{
    if (after->term < before->term) {
        checker_fail(checker, "I2", "node %d writes term %" PRIu64 " after %" PRIu64, node,
                     after->term, before->term);
    }
    if (after->term == before->term && before->vote != 0 && after->vote != before->vote) {
        checker_fail(checker, "V2", "node %d changes its vote in term %" PRIu64, node, after->term);
    }
    if (after->accepted_round < before->accepted_round || after->accepted_round > after->term ||
        (!checker->setup.paxos && after->accepted_round != 0)) {
        checker_fail(checker, "I8",
                     "node %d writes accepted round %" PRIu64 " after %" PRIu64
                     ", in term %" PRIu64,
                     node, after->accepted_round, before->accepted_round, after->term);
    }
}

/*
 * An entry that a term has chosen is removed under no leader of that term or a later one. Under an
 * earlier one, whose messages come late, it may be: the quorum that chose it is elsewhere. The term
 * of what takes its place is at most that of the leader. Where nothing does (P4, P6) it is the term
 * that was written before, the state of this write being that of a later moment.
 */
static void check_truncation(struct checker *checker, int node, const raft_write *write,
                             raft_term term_before)
{
    struct checker_node *it = &checker->nodes[node];
    raft_index from = write->truncate_from;
    raft_term term = write->range_count > 0 ? write->ranges[0].term : term_before;
    if (from > it->issued.count) {
        return;
    }
    checker->truncations++;
    checker->adoptions[ADOPTION_TAILS_CUT] += write->range_count == 0;
    if (it->status.size != 0 && it->status.role == RAFT_ROLE_LEADER) {
        checker_fail(checker, "I15", "leader %d removes its entry %" PRIu64, node, from);
    }
    if (from <= checker->chosen.count && checker->chosen_in[from - 1] <= term &&
        chain_at(&it->issued, from) == chain_at(&checker->chosen, from)) {
        checker_fail(checker, "I14", "node %d removes the chosen entry %" PRIu64, node, from);
    }
    if (from <= it->acked && it->acked_term == it->issued_state.term) {
        checker_fail(checker, "N7",
                     "node %d removes entry %" PRIu64 " in term %" PRIu64
                     ", in which it has acknowledged %" PRIu64,
                     node, from, it->acked_term, it->acked);
    }
}

/* Appends the entries of a write to a log whose every entry is looked up on the way. */
static void append_ranges(struct checker *checker, int node, struct checker_log *log,
                          const raft_write *write)
{
    for (size_t i = 0; i < write->range_count; i++) {
        raft_range range = write->ranges[i];
        raft_entry entry;
        if (range.first != log->count + 1 || range.term < term_at(log, log->count)) {
            checker_fail(checker, "R32",
                         "node %d writes %" PRIu64 "/%" PRIu64 " after %zu/%" PRIu64, node,
                         range.first, range.term, log->count, term_at(log, log->count));
            return;
        }
        size_t expected = range.count;
        while (raft_range_next(&range, &entry)) {
            uint64_t chain = entry_seen(checker, node, chain_at(log, log->count), &entry);
            raft_index config =
                entry.kind == RAFT_ENTRY_CONFIG ? entry.index : config_at(log, log->count);
            log_append(log, (struct checker_link){entry.term, chain, config});
            expected--;
        }
        if (expected != 0) {
            checker_fail(checker, "R32", "node %d writes a malformed range", node);
        }
    }
}

/*
 * R42, I17: a leader begins a change when the one before is chosen, and in Raft when something of its
 * own term is; for Multi-Paxos see check_settled.
 */
static void check_change(struct checker *checker, int node, size_t before)
{
    const struct checker_node *it = &checker->nodes[node];
    const struct checker_log *log = &it->issued;
    raft_index newest = config_at(log, log->count);
    if (newest <= before || it->status.size == 0 || it->status.role != RAFT_ROLE_LEADER ||
        term_at(log, newest) != it->status.term) {
        return;
    }
    if (config_at(log, newest - 1) > checker->chosen.count) {
        checker_fail(checker, "I17",
                     "leader %d appends membership %" PRIu64 ", %" PRIu64 " is not chosen yet",
                     node, newest, config_at(log, newest - 1));
    }
    if (!checker->setup.paxos &&
        (checker->chosen.count == 0 ||
         checker->chosen_in[checker->chosen.count - 1] < it->status.term)) {
        checker_fail(checker, "R42",
                     "leader %d appends membership %" PRIu64 " before its term has chosen anything",
                     node, newest);
    }
}

/* A snapshot stands for what is chosen up to its index, which its metadata names (I19). */
static int snapshot_is_chosen(struct checker *checker, int node, raft_index index, raft_term term)
{
    if (index <= checker->chosen.count && term_at(&checker->chosen, index) == term) {
        return 1;
    }
    checker_fail(checker, "I19",
                 "node %d has a snapshot of %" PRIu64 "/%" PRIu64 ", %zu are chosen", node, index,
                 term, checker->chosen.count);
    return 0;
}

/* Whether a write puts a snapshot into use, other than the founding one. */
static int puts_snapshot(struct checker *checker, int node, const raft_write *write,
                         raft_index *index)
{
    raft_term term;
    if (write->meta == NULL || raft_meta_read(write->meta, write->meta_size, index, &term) < 0) {
        return 0;
    }
    return *index != 0 && snapshot_is_chosen(checker, node, *index, term);
}

/* R35, V20: the log goes only where it does not hold the last entry of what takes its place. */
static void check_replacement(struct checker *checker, int node, const raft_write *write,
                              raft_index index)
{
    struct checker_node *it = &checker->nodes[node];
    uint64_t chain = chain_at(&checker->chosen, index);
    if (write->base_index != index || write->base_term != term_at(&checker->chosen, index)) {
        checker_fail(checker, "I19", "node %d installs %" PRIu64 " as %" PRIu64 "/%" PRIu64, node,
                     index, write->base_index, write->base_term);
    }
    if (index <= it->status.commit_index && it->status.snapshot_index != index) {
        checker_fail(checker, "R35", "node %d installs %" PRIu64 " below its commit index", node,
                     index);
    }
    if (index < it->issued.count && log_holds(&it->issued, index, chain) &&
        checker->chosen_in[index - 1] <= it->issued_state.term) {
        checker_fail(checker, "V20", "node %d installs %" PRIu64 " over a log that holds it", node,
                     index);
    }
}

void checker_wrote(struct checker *checker, int node, const raft_write *write)
{
    raft_index base_index = 0;
    struct checker_node *it = &checker->nodes[node];
    if (it->pending_count == RAFT_WRITES_MAX) {
        checker_fail(checker, "I24", "node %d has more than %u writes outstanding", node,
                     RAFT_WRITES_MAX);
        return;
    }
    raft_term term_before = it->issued_state.term;
    if (write->has_state) {
        check_state_follows(checker, node, &it->issued_state, &write->state);
        it->issued_state = write->state;
    }
    int replaces = puts_snapshot(checker, node, write, &base_index);
    if (replaces) {
        check_replacement(checker, node, write, base_index);
        log_assign(&it->issued, &checker->chosen, base_index);
    }
    if (write->truncate_from != 0) {
        check_truncation(checker, node, write, term_before);
        log_truncate(&it->issued, write->truncate_from);
    }
    size_t before = it->issued.count;
    append_ranges(checker, node, &it->issued, write);
    int adopts = it->status.size != 0 && it->status.role == RAFT_ROLE_CANDIDATE;
    it->adopts |= adopts && (replaces || write->range_count > 0);
    checker->adoptions[ADOPTION_SNAPSHOTS] += adopts && replaces;
    check_change(checker, node, before);
    if (term_at(&it->issued, it->issued.count) > it->issued_state.term) {
        checker_fail(checker, "R4", "node %d writes an entry above its written term", node);
    }
    struct checker_write *pending = &it->pending[it->pending_count++];
    *pending = (struct checker_write){write->seq,
                                      write->has_state,
                                      write->state,
                                      replaces,
                                      base_index,
                                      write->truncate_from,
                                      it->pending_links.count,
                                      it->issued.count - before};
    for (size_t i = before; i < it->issued.count; i++) {
        log_append(&it->pending_links, it->issued.links[i]);
    }
}

/* The entry at the index is durable on a quorum in its own term: it and all below it are chosen. */
static void choose(struct checker *checker, const struct checker_log *log, raft_term term,
                   raft_index index)
{
    struct checker_log *chosen = &checker->chosen;
    raft_index common = index < chosen->count ? index : chosen->count;
    if (!log_holds(log, common, chain_at(chosen, common))) {
        checker_fail(checker, "I10", "entry %" PRIu64 " is chosen twice, now in term %" PRIu64,
                     common, term);
        return;
    }
    for (raft_index i = common; i > 0 && checker->chosen_in[i - 1] > term; i--) {
        checker->chosen_in[i - 1] = term; /* by a quorum that was only completed now */
    }
    while (chosen->count < index) {
        checker->chosen_in = vector_grow(checker->chosen_in, chosen->count,
                                         &checker->chosen_in_capacity, sizeof(raft_term));
        checker->chosen_in[chosen->count] = term;
        log_append(chosen, log->links[chosen->count]);
    }
}

/* What `needed` of the voters have accepted in the term. */
static raft_index accepted_by(const struct checker_term *term, uint32_t voters, unsigned needed)
{
    raft_index best = 0;
    for (int i = 0; i < CHECKER_NODES_MAX; i++) {
        unsigned reached = 0;
        for (int j = 0; j < CHECKER_NODES_MAX; j++) {
            reached += (voters >> j & 1) != 0 && term->accepted[j] >= term->accepted[i];
        }
        if ((voters >> i & 1) != 0 && reached >= needed && term->accepted[i] > best) {
            best = term->accepted[i];
        }
    }
    return best;
}

/* The last entry that a commit quorum of both halves has accepted in the term. */
static raft_index accepted_by_quorum(const struct checker_term *term)
{
    const struct checker_config *config = &term->config;
    raft_index index = accepted_by(term, config->voters[0], config->commit[0]);
    if (config->voters[1] != 0) {
        raft_index other = accepted_by(term, config->voters[1], config->commit[1]);
        index = other < index ? other : index;
    }
    return index;
}

/*
 * Looks what a term has chosen by now. The log of one that has accepted that much shows which
 * entries they are; if all who had have moved on to later terms, those have chosen them as well.
 */
static void judge(struct checker *checker, raft_term number)
{
    const struct checker_term *term = term_of(checker, number);
    int counts = !checker->setup.paxos || term->leader != NOBODY; /* by whose membership, else */
    raft_index index = counts ? accepted_by_quorum(term) : 0;
    for (int i = 0; index > 0 && i < checker->setup.node_count; i++) {
        const struct checker_node *it = &checker->nodes[i];
        if (term->accepted[i] >= index && it->durable_state.term == number &&
            it->durable.count >= index) {
            choose(checker, &it->durable, number, index);
            return;
        }
    }
}

/*
 * I9: who has accepted a term, and no later one, has the log of its leader: all that this had
 * adopted, and beyond it entries of the term alone. Before it leads only the leader itself has.
 */
static void check_accepted(struct checker *checker, int node, const struct checker_term *term)
{
    const struct checker_node *it = &checker->nodes[node];
    const struct checker_log *log = &it->durable;
    raft_index adopted = term->adopted;
    if (term->leader == NOBODY) {
        if (it->durable_state.vote != checker->setup.ids[node]) {
            checker_fail(checker, "I9", "node %d has accepted term %" PRIu64 " of no leader", node,
                         term->term);
        }
        return;
    }
    if (!log_holds(log, adopted, term->adopted_chain) ||
        (log->count > adopted && term_at(log, adopted + 1) != term->term)) {
        checker_fail(checker, "I9",
                     "node %d has accepted term %" PRIu64 ", but its log is not that of leader %d"
                     " up to %" PRIu64,
                     node, term->term, term->leader, adopted);
    }
}

/* Up to where the durable log counts for choosing in the durable term; 0: not at all (P7). */
static raft_index counts_up_to(struct checker *checker, int node, struct checker_term *term)
{
    const struct checker_node *it = &checker->nodes[node];
    raft_index last = it->durable.count;
    if (!checker->setup.paxos) {
        return term_at(&it->durable, last) == it->durable_state.term ? last : 0;
    }
    if (it->durable_state.accepted_round != term->term || term->term == 0) {
        return 0;
    }
    check_accepted(checker, node, term);
    term->acceptors |= (uint32_t)1 << node;
    return last;
}

/* The durable state of a node has moved: what follows for votes and for what is chosen. */
static void durable_moved(struct checker *checker, int node)
{
    struct checker_node *it = &checker->nodes[node];
    struct checker_term *term = term_of(checker, it->durable_state.term);
    if (it->durable_state.vote != 0) {
        term->vote_durable[node] = it->durable_state.vote;
    }
    raft_index last = counts_up_to(checker, node, term);
    if (last > term->accepted[node]) {
        term->accepted[node] = last;
        judge(checker, it->durable_state.term);
    }
}

static void make_durable(struct checker *checker, int node, const struct checker_write *write)
{
    struct checker_node *it = &checker->nodes[node];
    if (write->has_state) {
        check_state_follows(checker, node, &it->durable_state, &write->state);
        it->durable_state = write->state;
    }
    if (write->replaces) {
        log_assign(&it->durable, &checker->chosen, write->base_index);
        it->snapshot = write->base_index > it->snapshot ? write->base_index : it->snapshot;
        checker->installs++;
    }
    log_truncate(&it->durable, write->truncate_from);
    for (size_t i = 0; i < write->link_count; i++) {
        log_append(&it->durable, it->pending_links.links[write->first_link + i]);
    }
    durable_moved(checker, node);
}

void checker_durable(struct checker *checker, int node, uint64_t seq)
{
    struct checker_node *it = &checker->nodes[node];
    size_t done = 0;
    while (done < it->pending_count && it->pending[done].seq <= seq) {
        make_durable(checker, node, &it->pending[done++]);
    }
    it->pending_count -= done;
    memmove(it->pending, it->pending + done, it->pending_count * sizeof it->pending[0]);
    if (it->pending_count == 0) {
        it->pending_links.count = 0;
    }
}

/* ---- Restart --------------------------------------------------------------------------------- */

void checker_restarting(struct checker *checker, int node)
{
    struct checker_node *it = &checker->nodes[node];
    it->restored.count = 0;
    it->restored_snapshot = 0;
    it->restored_bytes = 0;
    it->has_contact = 0;
    it->stale_from = NOBODY;
    memset(&it->restored_state, 0, sizeof it->restored_state);
}

/* The memberships that a snapshot covers are known, whatever of their entries was restored. */
static void know_memberships(struct checker *checker, struct checker_log *log, raft_index index)
{
    for (raft_index i = 0; i < log->count; i++) {
        struct checker_link *link = &log->links[i];
        if (i < index) {
            link->config = checker->chosen.links[i].config;
        } else if (link->config != i + 1) {
            link->config = config_at(log, i);
        }
    }
}

/* A log that holds the last entry of the snapshot stays, another one is dropped (R35). */
static void settle(struct checker *checker, struct checker_log *log, raft_index index, int replaces)
{
    if (replaces || !log_holds(log, index, chain_at(&checker->chosen, index))) {
        log_assign(log, &checker->chosen, index);
    }
    know_memberships(checker, log, index);
}

/*
 * A journal may have lost its front. What is there now is chosen; what was there when its first
 * entries were written may have been something else, which later records truncate. So these know
 * their chains only from when they were seen first.
 */
static void restore_headless(struct checker *checker, int node, const raft_write *write)
{
    struct checker_log *log = &checker->nodes[node].restored;
    raft_index before = write->ranges[0].first - 1;
    const struct registry_entry *first =
        registry_find(&checker->registry, before + 1, write->ranges[0].term);
    if (first == NULL) {
        checker_fail(checker, "V21", "node %d restores %" PRIu64 ", which it never had", node,
                     before + 1);
        return;
    }
    log_assign(log, &checker->chosen, before - 1);
    while (log->count < before) {
        log_append(log, (struct checker_link){0, 0, config_at(log, log->count)});
    }
    if (before <= checker->chosen.count) {
        log->links[before - 1].config = checker->chosen.links[before - 1].config;
    }
    append_ranges(checker, node, log, write);
    if (before <= checker->chosen.count) {
        log->links[before - 1] = checker->chosen.links[before - 1];
    }
}

static void restore_ranges(struct checker *checker, int node, const raft_write *write)
{
    struct checker_log *log = &checker->nodes[node].restored;
    if (write->range_count > 0 && write->ranges[0].first > log->count + 1) {
        restore_headless(checker, node, write);
    } else {
        append_ranges(checker, node, log, write);
    }
}

/* In the order of storing; in a table the metadata is that of a snapshot within the entries. */
void checker_restored(struct checker *checker, int node, const raft_write *write)
{
    struct checker_node *it = &checker->nodes[node];
    raft_index index = 0;
    int named = puts_snapshot(checker, node, write, &index);
    int table = named && write->truncate_from == 0 && write->range_count > 0 &&
                write->ranges[0].first <= index;
    if (write->has_state) {
        it->restored_state = write->state;
    }
    if (table) {
        restore_ranges(checker, node, write);
    }
    if (named) {
        settle(checker, &it->restored, index, write->truncate_from != 0);
        it->restored_snapshot = index;
    }
    log_truncate(&it->restored, write->truncate_from);
    if (!table) {
        restore_ranges(checker, node, write);
    }
}

/*
 * Whether what was restored is what the durable log and state say now, the snapshot with which the
 * log may not have kept up included.
 */
static int restored_is_durable(struct checker *checker, const struct checker_node *it)
{
    const struct checker_log *log = &it->durable;
    raft_index snapshot = it->restored_snapshot;
    if (!log_holds(log, snapshot, chain_at(&checker->chosen, snapshot))) {
        log = &checker->chosen;
    }
    size_t count = log == &checker->chosen ? (size_t)snapshot : log->count;
    return same_state(&it->restored_state, &it->durable_state) && it->restored.count == count &&
           log_holds(log, count, chain_at(&it->restored, count));
}

/* Steps through a write, in the order in which it may be torn, until what was restored is met. */
static int restored_within(struct checker *checker, struct checker_node *it,
                           const struct checker_write *write)
{
    if (write->has_state) {
        it->durable_state = write->state;
        if (restored_is_durable(checker, it)) {
            return 1;
        }
    }
    if (write->replaces) {
        log_assign(&it->durable, &checker->chosen, write->base_index);
    }
    log_truncate(&it->durable, write->truncate_from);
    for (size_t i = 0; i < write->link_count; i++) {
        if (restored_is_durable(checker, it)) {
            return 1;
        }
        log_append(&it->durable, it->pending_links.links[write->first_link + i]);
    }
    return restored_is_durable(checker, it);
}

/* V21: everything confirmed is there, and beyond it a beginning of what was not confirmed. */
static int restored_is_legal(struct checker *checker, struct checker_node *it)
{
    if (it->restored_snapshot < it->snapshot) {
        return 0;
    }
    if (restored_is_durable(checker, it)) {
        return 1;
    }
    for (size_t i = 0; i < it->pending_count; i++) {
        if (restored_within(checker, it, &it->pending[i])) {
            return 1;
        }
    }
    return 0;
}

void checker_started(struct checker *checker, int node)
{
    struct checker_node *it = &checker->nodes[node];
    if ((checker->absent >> node & 1) != 0) {
        checker_fail(checker, "R48", "node %d starts, which was switched off for good", node);
    }
    if (!restored_is_legal(checker, it)) {
        checker_fail(checker, "V21",
                     "node %d restored term %" PRIu64 " and %zu entries, which it "
                     "never stored so",
                     node, it->restored_state.term, it->restored.count);
    }
    it->durable_state = it->restored_state;
    it->issued_state = it->restored_state;
    log_assign(&it->durable, &it->restored, it->restored.count);
    log_assign(&it->issued, &it->restored, it->restored.count);
    it->pending_count = 0;
    it->pending_links.count = 0;
    it->up = 1;
    it->incarnation++;
    it->adopts = 0;
    memset(&it->status, 0, sizeof it->status);
    memset(it->votes_asked, 0, sizeof it->votes_asked);
    memset(it->pre_votes_asked, 0, sizeof it->pre_votes_asked);
    it->config = checker->founding;
    it->snapshot = it->restored_snapshot;
    it->apply_next = it->snapshot + 1;
    it->applied = it->snapshot;
    it->fresh_asked = 0;
    it->loading = 0;
    it->proposals_open = 0;
    it->reads_open = 0;
    it->forwards_open = 0;
    durable_moved(checker, node);
}

/* Nobody will answer any more: the outcome of what was open is unknown. */
static void abandon_open(struct checker *checker, int node)
{
    struct checker_node *it = &checker->nodes[node];
    checker->outcomes[OUTCOME_UNKNOWN] += it->proposals_open;
    it->proposals_open = 0;
    it->reads_open = 0;
    it->forwards_open = 0;
}

void checker_crashed(struct checker *checker, int node)
{
    checker->nodes[node].up = 0;
    abandon_open(checker, node);
}

static void check_is_down(struct checker *checker, int node)
{
    if (checker->nodes[node].up) {
        checker_fail(checker, "R48", "node %d goes on after its disk was lost", node);
    }
}

void checker_lost(struct checker *checker, int node)
{
    check_is_down(checker, node);
    checker->absent |= (uint32_t)1 << node;
}

/* What it has said stands nowhere any more; and a leader of a term that has begun may not know it. */
void checker_wiped(struct checker *checker, int node)
{
    struct checker_node *it = &checker->nodes[node];
    check_is_down(checker, node);
    if ((checker->ever_voters >> node & 1) != 0) {
        checker_fail(checker, "R48", "node %d has lost its disk, and comes back as it was", node);
    }
    for (size_t i = 0; i < checker->term_count; i++) {
        struct checker_term *term = &checker->terms[i];
        term->vote_durable[node] = 0;
        term->vote_sent[node] = 0;
        term->accepted[node] = 0;
        term->acceptors &= ~((uint32_t)1 << node);
        term->forgetful |= (uint32_t)1 << node;
    }
    memset(&it->durable_state, 0, sizeof it->durable_state);
    it->durable.count = 0;
    it->pending_count = 0;
    it->pending_links.count = 0;
    it->snapshot = 0;
    it->acked_term = 0;
    it->acked = 0;
    memset(&it->promise, 0, sizeof it->promise);
    it->config = checker->founding;
}

/* ---- Messages -------------------------------------------------------------------------------- */

/* I5, P18: a slot belongs to one server for ever, and so does a term. Founders have the first. */
static void check_owner(struct checker *checker, int node, raft_term term)
{
    if (!checker->setup.paxos) {
        return;
    }
    raft_term slot = term & SLOT_MASK;
    int founder = slot > 0 && slot <= set_size(checker->founding.members) ? (int)slot : 0;
    int owner = checker->slot_owners[slot] != 0 ? checker->slot_owners[slot] : founder;
    if (slot == 0 || (owner != 0 && owner != node + 1)) {
        checker_fail(checker, "I5", "node %d takes term %" PRIu64 ", which belongs to node %d",
                     node, term, owner - 1);
    }
    if (checker->chosen.count < checker->member_since[node]) {
        checker_fail(checker, "P18",
                     "node %d takes term %" PRIu64 " by a membership at %" PRIu64
                     " or beyond, chosen are %zu",
                     node, term, checker->member_since[node], checker->chosen.count);
    }
    checker->slot_owners[slot] = (uint8_t)(node + 1);
}

static void check_vote_request(struct checker *checker, int node, const raft_message *message)
{
    const struct checker_node *it = &checker->nodes[node];
    check_owner(checker, node, message->term);
    checker->adoptions[ADOPTION_KEEP_ALIVES] += (message->flags & RAFT_FLAG_HOLD) != 0;
    if (term_of(checker, message->term)->vote_durable[node] != message->from) {
        checker_fail(checker, "I6",
                     "node %d asks for votes in term %" PRIu64 " before its own is durable", node,
                     message->term);
    }
    if (message->index > it->durable.count ||
        term_at(&it->durable, message->index) != message->index_term) {
        checker_fail(checker, "I6",
                     "node %d advertises %" PRIu64 "/%" PRIu64 ", which is not durable", node,
                     message->index, message->index_term);
    }
}

/* R12, R18: nobody votes, nor would vote, for a log that is worse than the own. */
static void check_grant(struct checker *checker, int node, const raft_message *message)
{
    int candidate = position_of(checker, message->to);
    int is_vote = message->kind == RAFT_MESSAGE_VOTE_REPLY;
    const struct checker_question *asked = is_vote
                                               ? &checker->nodes[node].votes_asked[candidate]
                                               : &checker->nodes[node].pre_votes_asked[candidate];
    raft_term term = is_vote ? message->term : message->asked_term;
    if (!message->refused && asked->round == message->round && asked->term == term &&
        asked->log_is_worse && !checker->setup.paxos) {
        checker_fail(checker, "R12",
                     "node %d grants %s to node %d, whose log is worse than its own", node,
                     is_vote ? "its vote" : "a pre-vote", candidate);
    }
    if (!message->refused && asked->round == message->round && asked->term == term &&
        (asked->sticky || asked->promised)) {
        checker_fail(checker, asked->promised ? "R50" : "R19",
                     "node %d grants %s to node %d, but %s", node,
                     is_vote ? "its vote" : "a pre-vote", candidate,
                     asked->promised ? "has promised not to" : "hears a leader");
    }
}

/* I6, P3: what a promise tells of the own log is durable, and true. */
static void check_promise(struct checker *checker, int node, const raft_message *message)
{
    const struct checker_node *it = &checker->nodes[node];
    if (message->index > it->durable.count ||
        term_at(&it->durable, message->index) != message->index_term ||
        message->accepted_round != it->durable_state.accepted_round) {
        checker_fail(checker, "I6",
                     "node %d promises with %" PRIu64 "/%" PRIu64 ", accepted in %" PRIu64
                     "; durable is %zu, accepted in %" PRIu64,
                     node, message->index, message->index_term, message->accepted_round,
                     it->durable.count, it->durable_state.accepted_round);
    }
    if (message->commit > checker->chosen.count) {
        checker_fail(checker, "I11", "node %d promises with commit %" PRIu64 ", %zu are chosen",
                     node, message->commit, checker->chosen.count);
    }
}

static void check_vote_reply(struct checker *checker, int node, const raft_message *message)
{
    struct checker_term *term = term_of(checker, message->term);
    check_grant(checker, node, message);
    if (message->refused) {
        return;
    }
    if (checker->setup.paxos) {
        check_promise(checker, node, message);
    }
    if (term->vote_durable[node] != message->to) {
        checker_fail(checker, "I6",
                     "node %d grants its vote in term %" PRIu64 " before it is durable", node,
                     message->term);
    }
    if (term->vote_sent[node] != 0 && term->vote_sent[node] != message->to) {
        checker_fail(checker, "V2", "node %d votes twice in term %" PRIu64, node, message->term);
    }
    term->vote_sent[node] = message->to;
}

static void check_leader_message(struct checker *checker, int node, const raft_message *message)
{
    const struct checker_node *it = &checker->nodes[node];
    if (term_of(checker, message->term)->leader != node) {
        checker_fail(checker, "I4", "node %d speaks as the leader of term %" PRIu64, node,
                     message->term);
    }
    if (message->commit > it->status.commit_index) {
        checker_fail(checker, "I11", "node %d announces commit %" PRIu64 " above its own", node,
                     message->commit);
    }
}

/* How many data voters of a half hold an entry durably, or have left the leader's term since. */
static unsigned data_copies(const struct checker *checker, uint32_t voters, raft_term term,
                            raft_index index, uint64_t chain)
{
    unsigned copies = 0;
    for (int i = 0; i < checker->setup.node_count; i++) {
        const struct checker_node *it = &checker->nodes[i];
        copies += (voters >> i & 1) != 0 &&
                  (it->durable_state.term > term || log_holds(&it->durable, index, chain));
    }
    return copies;
}

/* R56: a witness gets headers, nobody else does, and none that could still be lost. */
static void check_stripped(struct checker *checker, int node, const raft_message *message,
                           const raft_entry *entry, uint64_t chain)
{
    const struct checker_config *config = &checker->nodes[node].config;
    int to = position_of(checker, message->to);
    int to_witness = (checker->setup.witnesses >> to & 1) != 0;
    if ((to_witness && entry->kind == RAFT_ENTRY_DATA) ||
        (!to_witness && entry->kind == RAFT_ENTRY_STRIPPED)) {
        checker_fail(checker, "R56", "node %d sends an entry of kind %d to node %d", node,
                     entry->kind, to);
    }
    if (entry->kind != RAFT_ENTRY_STRIPPED || chain == 0) {
        return;
    }
    for (int half = 0; half < 2 && config->voters[half] != 0; half++) {
        uint32_t data = config->voters[half] & ~checker->setup.witnesses;
        unsigned witnesses = set_size(config->voters[half] & checker->setup.witnesses);
        if (data_copies(checker, data, message->term, entry->index, chain) + witnesses <
            config->commit[half]) {
            checker_fail(checker, "R56",
                         "node %d tells a witness of %" PRIu64 ", which could still be lost", node,
                         entry->index);
        }
    }
}

/* Walks the entries of a message; they have to be those of a log of the sender. */
static void check_entries(struct checker *checker, int node, const raft_message *message,
                          const struct checker_log *log)
{
    const struct registry_entry *previous =
        registry_find(&checker->registry, message->index, message->index_term);
    uint64_t chain = message->index == 0 ? CHAIN_BASE : previous != NULL ? previous->chain : 0;
    raft_index index = message->index;
    uint64_t bytes = 0;
    size_t count = 0;
    for (size_t i = 0; i < message->range_count; i++) {
        raft_range range = message->ranges[i];
        raft_entry entry;
        bytes += range.size;
        count += range.count;
        if (range.first != index + 1 || range.term < message->index_term ||
            range.term > message->term) {
            checker_fail(checker, "R32",
                         "node %d sends %" PRIu64 "/%" PRIu64 " after %" PRIu64 "/%" PRIu64, node,
                         range.first, range.term, index, message->index_term);
            return;
        }
        while (raft_range_next(&range, &entry)) {
            chain = entry_seen(checker, node, chain, &entry);
            index = entry.index;
            check_stripped(checker, node, message, &entry, chain);
        }
    }
    if (chain != 0 && index <= log->count && chain_at(log, index) != chain) {
        checker_fail(checker, "R32",
                     "node %d sends entries up to %" PRIu64 " that are not its "
                     "own",
                     node, index);
    }
    if (checker->setup.append_bytes_max != 0 && bytes > checker->setup.append_bytes_max &&
        count > 1) {
        checker_fail(checker, "I24", "node %d sends %" PRIu64 " bytes in one append", node, bytes);
    }
}

/* R5: a leader sends what it has written, before that is durable. */
static void check_append(struct checker *checker, int node, const raft_message *message)
{
    check_entries(checker, node, message, &checker->nodes[node].issued);
}

/* N7: what is pulled is durable where it comes from. */
static void check_pull_reply(struct checker *checker, int node, const raft_message *message)
{
    const struct checker_log *log = &checker->nodes[node].durable;
    raft_index end = message->index;
    if (message->refused) {
        return;
    }
    for (size_t i = 0; i < message->range_count; i++) {
        end += message->ranges[i].count;
    }
    if (end > log->count) {
        checker_fail(checker, "I6",
                     "node %d lets entries up to %" PRIu64 " be pulled, but only %zu are durable",
                     node, end, log->count);
        return;
    }
    check_entries(checker, node, message, log);
}

/* Only the newest snapshot here goes out, or one that was when the transfer began. */
static void check_piece(struct checker *checker, int node, const raft_message *message)
{
    const struct checker_node *it = &checker->nodes[node];
    const struct checker_term *term = term_of(checker, message->term);
    if (!checker->setup.paxos || term->leader == node || term->vote_durable[node] != message->to) {
        check_leader_message(checker, node, message); /* else it is pulled from (P12) */
    }
    snapshot_is_chosen(checker, node, message->index, message->index_term);
    if (message->index > it->snapshot) {
        checker_fail(checker, "I20", "node %d sends snapshot %" PRIu64 ", its newest is %" PRIu64,
                     node, message->index, it->snapshot);
    }
    if (message->term < it->durable_state.term) {
        checker_fail(checker, "I7", "node %d leads on in term %" PRIu64, node, message->term);
    }
}

/* R53: the tag is the leader's own, and who is ordered is known to hold its whole log. */
static void check_order(struct checker *checker, int node, const raft_message *message)
{
    raft_index last = checker->nodes[node].status.last_index;
    raft_index match = term_of(checker, message->term)->match[position_of(checker, message->to)];
    check_leader_message(checker, node, message);
    if (match < last && !checker->setup.paxos) {
        checker_fail(checker, "R53",
                     "leader %d orders a campaign of %" PRIu64 ", which holds %" PRIu64
                     " of %" PRIu64 " entries",
                     node, message->to, match, last);
    }
    if (message->tag_term != message->term) {
        checker_fail(checker, "R53", "leader %d orders a campaign with a tag of term %" PRIu64,
                     node, message->tag_term);
    }
}

static void note_acknowledged(struct checker_node *it, const raft_message *message)
{
    if (message->term > it->acked_term) {
        it->acked_term = message->term;
        it->acked = 0;
    }
    if (message->term == it->acked_term && message->index > it->acked) {
        it->acked = message->index;
    }
}

static void check_append_reply(struct checker *checker, int node, const raft_message *message)
{
    struct checker_node *it = &checker->nodes[node];
    int leader = position_of(checker, message->to);
    if (message->refused) {
        return;
    }
    if (checker->setup.paxos && (message->flags & RAFT_FLAG_ACCEPTED) != 0 &&
        it->durable_state.accepted_round != message->term) {
        checker_fail(checker, "I6",
                     "node %d says that it has accepted term %" PRIu64 ", durable is %" PRIu64,
                     node, message->term, it->durable_state.accepted_round);
    }
    note_acknowledged(it, message);
    if (message->index > it->durable.count) {
        checker_fail(checker, "I6",
                     "node %d acknowledges %" PRIu64 ", but only %zu entries are "
                     "durable",
                     node, message->index, it->durable.count);
        return;
    }
    if (message->term < it->durable_state.term) {
        checker_fail(checker, "I7",
                     "node %d acknowledges entries in term %" PRIu64 " after a promise of %" PRIu64,
                     node, message->term, it->durable_state.term);
    }
    if (leader != NOBODY && term_of(checker, message->term)->leader == leader) {
        const struct checker_node *peer = &checker->nodes[leader];
        int leads = peer->up && peer->status.size != 0 && peer->status.role == RAFT_ROLE_LEADER &&
                    peer->status.term == message->term;
        if (leads && message->index <= peer->issued.count &&
            !log_holds(&it->durable, message->index, chain_at(&peer->issued, message->index))) {
            checker_fail(checker, "I6",
                         "node %d acknowledges %" PRIu64
                         ", where its log differs from its leader's",
                         node, message->index);
        }
    }
}

static void check_message_kind(struct checker *checker, int node, const raft_message *message)
{
    switch (message->kind) {
    case RAFT_MESSAGE_PRE_VOTE:
        if (round_of(checker, message->asked_term) != round_of(checker, message->term) + 1) {
            checker_fail(checker, "R18", "node %d asks for term %" PRIu64 " from %" PRIu64, node,
                         message->asked_term, message->term);
        }
        break;
    case RAFT_MESSAGE_VOTE:
        check_vote_request(checker, node, message);
        break;
    case RAFT_MESSAGE_VOTE_REPLY:
        check_vote_reply(checker, node, message);
        break;
    case RAFT_MESSAGE_APPEND:
        check_leader_message(checker, node, message);
        check_append(checker, node, message);
        break;
    case RAFT_MESSAGE_HEARTBEAT:
        check_leader_message(checker, node, message);
        break;
    case RAFT_MESSAGE_APPEND_REPLY:
        check_append_reply(checker, node, message);
        break;
    case RAFT_MESSAGE_PRE_VOTE_REPLY:
        check_grant(checker, node, message);
        break;
    case RAFT_MESSAGE_TRANSFER:
        check_order(checker, node, message);
        break;
    case RAFT_MESSAGE_PULL_REPLY:
        check_pull_reply(checker, node, message);
        break;
    case RAFT_MESSAGE_SNAPSHOT:
        check_piece(checker, node, message);
        break;
    case RAFT_MESSAGE_HEARTBEAT_REPLY:
    case RAFT_MESSAGE_SNAPSHOT_REPLY:
    case RAFT_MESSAGE_PULL:
    case RAFT_MESSAGE_READ:
    case RAFT_MESSAGE_READ_REPLY:
    case RAFT_MESSAGE_PROPOSE:
    case RAFT_MESSAGE_PROPOSE_REPLY:
    case RAFT_MESSAGE_TRANSFER_ASK:
    case RAFT_MESSAGE_SNAPSHOT_ASK:
        break;
    default:
        checker_fail(checker, "R66", "node %d sends a message of kind %d", node, message->kind);
        break;
    }
}

/* A reply with a credit has left: the promise that goes with it is seen next (R50). */
static void note_credit(struct checker_promise *promise, const raft_message *message)
{
    if (message->credit_ms != 0 &&
        (message->term > promise->tag_term ||
         (message->term == promise->tag_term && message->round > promise->tag_round))) {
        promise->tag_term = message->term;
        promise->tag_round = message->round;
    }
    promise->answered |= message->credit_ms != 0;
}

static void note_round(struct checker *checker, int node, const raft_message *message)
{
    struct checker_term *term = term_of(checker, message->term);
    if (term->leader == node && message->round > term->round_sent &&
        (message->kind == RAFT_MESSAGE_APPEND || message->kind == RAFT_MESSAGE_HEARTBEAT ||
         message->kind == RAFT_MESSAGE_SNAPSHOT)) {
        term->round_sent = message->round;
    }
}

void checker_sent(struct checker *checker, int node, const raft_message *message)
{
    struct checker_node *it = &checker->nodes[node];
    if (message->from != checker->setup.ids[node] || message->to == message->from ||
        position_of(checker, message->to) == NOBODY) {
        checker_fail(checker, "R66", "node %d sends as %" PRIu64 " to %" PRIu64, node,
                     message->from, message->to);
        return;
    }
    if (message->term > it->durable_state.term) {
        checker_fail(checker, "I6", "node %d sends term %" PRIu64 " (kind %d), durable is %" PRIu64,
                     node, message->term, message->kind, it->durable_state.term);
    }
    check_message_kind(checker, node, message);
    note_credit(&it->promise, message);
    note_round(checker, node, message);
}

/* Whether the node has promised not to help such a candidate; one that a leader has ordered passes
 * by a promise that is no newer than the order (R50, R53). */
static int has_promised(const struct checker_node *it, const raft_message *message)
{
    const struct checker_promise *promise = &it->promise;
    raft_term wanted = message->kind == RAFT_MESSAGE_VOTE ? message->term : message->asked_term;
    if (it->now_ms >= promise->until_ms || wanted <= promise->term) {
        return 0;
    }
    return message->tag_term == 0 || message->tag_term < promise->tag_term ||
           (message->tag_term == promise->tag_term && message->tag_round < promise->tag_round);
}

static int is_sticky(const struct checker *checker, const struct checker_node *it,
                     const raft_message *message)
{
    raft_term wanted = message->kind == RAFT_MESSAGE_VOTE ? message->term : message->asked_term;
    return message->tag_term == 0 && it->has_contact && wanted > it->status.term &&
           message->from != it->status.leader &&
           it->now_ms - it->contact_ms < checker->setup.sticky_ms;
}

/*
 * Whether the log that a candidate advertises is worse than that of the one asked. What is in memory
 * alone is not known here, so only where all of the log is durable, and then it is what was written.
 */
static int is_known_to_be_worse(const struct checker_node *it, const raft_message *message)
{
    raft_index last = it->status.last_index;
    if (it->status.durable_index != last || it->issued.count != last) {
        return 0;
    }
    raft_term last_term = term_at(&it->issued, last);
    return message->index_term < last_term ||
           (message->index_term == last_term && message->index < last);
}

/* A question may come again, from before a restart even, when its sender's log was shorter. */
static void note_question(struct checker *checker, int node, const raft_message *message)
{
    struct checker_node *it = &checker->nodes[node];
    int candidate = position_of(checker, message->from);
    if (candidate == NOBODY ||
        (message->kind != RAFT_MESSAGE_PRE_VOTE && message->kind != RAFT_MESSAGE_VOTE)) {
        return;
    }
    int is_vote = message->kind == RAFT_MESSAGE_VOTE;
    raft_term term = is_vote ? message->term : message->asked_term;
    struct checker_question *asked =
        is_vote ? &it->votes_asked[candidate] : &it->pre_votes_asked[candidate];
    int again = asked->round == message->round && asked->term == term;
    asked->log_is_worse = is_known_to_be_worse(it, message) && (!again || asked->log_is_worse);
    asked->promised = has_promised(it, message) && (!again || asked->promised);
    asked->sticky = is_sticky(checker, it, message) && (!again || asked->sticky);
    asked->round = message->round;
    asked->term = term;
}

/* R19: contact is what a leader sends that reaches a quorum; a host's word ends it, too. */
static void note_contact(struct checker *checker, int node, const raft_message *message, int result,
                         const raft_status *status)
{
    struct checker_node *it = &checker->nodes[node];
    int is_leaders = message->kind == RAFT_MESSAGE_APPEND ||
                     message->kind == RAFT_MESSAGE_HEARTBEAT ||
                     message->kind == RAFT_MESSAGE_SNAPSHOT;
    if (is_leaders && result == RAFT_OK && message->term == status->term &&
        message->from == status->leader && status->role == RAFT_ROLE_FOLLOWER) {
        it->has_contact = (message->flags & RAFT_FLAG_NO_QUORUM) == 0;
        it->contact_ms = it->now_ms;
    }
}

/* R28: what answers a round before the server was added, or added again, tells nothing. */
static void note_stale(struct checker *checker, int node, const raft_message *message)
{
    struct checker_node *it = &checker->nodes[node];
    int from = position_of(checker, message->from);
    const struct checker_term *term = term_of(checker, it->status.term);
    it->stale_from = from != NOBODY && it->status.role == RAFT_ROLE_LEADER &&
                             message->term == it->status.term && term->joined[from] != 0 &&
                             message->round <= term->joined[from]
                         ? from
                         : NOBODY;
}

void checker_received(struct checker *checker, int node, const raft_message *message, int result,
                      const raft_status *status)
{
    const raft_status *before = &checker->nodes[node].status;
    if (before->size == 0) {
        return;
    }
    note_question(checker, node, message);
    note_contact(checker, node, message, result, status);
    note_stale(checker, node, message);
    int moved = status->term != before->term || status->vote != before->vote ||
                status->last_index != before->last_index ||
                status->commit_index != before->commit_index;
    if (message->kind == RAFT_MESSAGE_PRE_VOTE && moved) {
        checker_fail(checker, "I22", "a pre-vote changed node %d", node);
    }
    if (message->kind == RAFT_MESSAGE_APPEND && message->term < before->term && moved) {
        checker_fail(checker, "I7",
                     "node %d accepted an append of term %" PRIu64 " in term %" PRIu64, node,
                     message->term, before->term);
    }
    if (result < 0 && result != RAFT_ENOMEM && result != RAFT_EFULL && moved) {
        checker_fail(checker, "E", "node %d refused a message (%d) that changed it", node, result);
    }
}

/* ---- Status ---------------------------------------------------------------------------------- */

/*
 * What earlier terms have chosen, as a count: what the leader of this one has to hold. It may be
 * elected late, when later terms have chosen more already.
 */
static raft_index chosen_below_term(const struct checker *checker, raft_term term)
{
    size_t low = 0;
    size_t high = checker->chosen.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (checker->chosen_in[middle] < term) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* I16, I18: an election quorum of both halves has voted durably, and no witness leads. */
static void check_election(struct checker *checker, int node, const struct checker_term *term,
                           const raft_status *status)
{
    const struct checker_config *config = &checker->nodes[node].config;
    uint32_t votes = 0;
    for (int i = 0; i < checker->setup.node_count; i++) {
        votes |= term->vote_durable[i] == checker->setup.ids[node] ? (uint32_t)1 << i : 0;
    }
    for (int half = 0; half < 2 && config->voters[half] != 0; half++) {
        if (set_size(votes & config->voters[half]) < config->elect[half]) {
            checker_fail(checker, "I16",
                         "node %d leads term %" PRIu64 " by the durable votes of set %x of %x",
                         node, status->term, (unsigned)votes, (unsigned)config->voters[half]);
        }
    }
    if ((checker->setup.witnesses >> node & 1) != 0) {
        checker_fail(checker, "I18", "witness %d leads term %" PRIu64, node, status->term);
    }
}

/*
 * P5: what a leader has adopted, L, is all of its log that is not of its own term, and is durable;
 * so is that it accepts its term itself.
 */
static void note_adopted(struct checker *checker, int node, struct checker_term *term)
{
    struct checker_node *it = &checker->nodes[node];
    raft_index adopted = it->issued.count;
    if (!checker->setup.paxos) {
        return;
    }
    while (adopted > 0 && term_at(&it->issued, adopted) == term->term) {
        adopted--;
    }
    if (it->durable_state.accepted_round != term->term ||
        !log_holds(&it->durable, adopted, chain_at(&it->issued, adopted))) {
        checker_fail(checker, "P5",
                     "node %d leads term %" PRIu64 " with %" PRIu64 " entries adopted, but has"
                     " accepted %" PRIu64 " durably",
                     node, term->term, adopted, it->durable_state.accepted_round);
    }
    term->adopted = adopted;
    term->adopted_chain = chain_at(&it->issued, adopted);
    checker->adoptions[ADOPTION_LOGS] += it->adopts != 0;
    it->adopts = 0;
}

static void check_new_leader(struct checker *checker, int node, const raft_status *status)
{
    struct checker_node *it = &checker->nodes[node];
    struct checker_term *term = term_of(checker, status->term);
    raft_index needed = chosen_below_term(checker, status->term);
    if (term->leader != NOBODY) {
        checker_fail(checker, "I4", "term %" PRIu64 " has two leaders: node %d and node %d",
                     status->term, term->leader, node);
    }
    if (!log_holds(&it->issued, needed, chain_at(&checker->chosen, needed))) {
        checker_fail(checker, checker->setup.paxos ? "I10" : "I13",
                     "leader %d of term %" PRIu64 " lacks the chosen entry %" PRIu64, node,
                     status->term, needed);
    }
    check_election(checker, node, term, status);
    check_owner(checker, node, status->term);
    term->config = it->config;
    term->leader = node;
    note_adopted(checker, node, term);
    checker->newest_led = status->term > checker->newest_led ? status->term : checker->newest_led;
    term->leader_incarnation = it->incarnation;
    checker->leader_changes++;
    judge(checker, status->term);
}

/*
 * A commit index is legal up to what is chosen. Whether the node has the chosen entries there shows
 * when they are applied: until its truncation is written, a node may have others on disk.
 */
/*
 * R57: two zones, or all voters. With a voter in no zone, two are in no zone together; with all in
 * one, zones mean nothing.
 */
static int is_spread(const struct checker_config *config, uint32_t voters, uint32_t set)
{
    uint32_t met = 0;
    uint32_t of_all = 0;
    int several = 0;
    int somewhere = 1;
    for (int i = 0; i < CHECKER_NODES_MAX; i++) {
        uint32_t zone = config->zone[i];
        if ((voters >> i & 1) == 0) {
            continue;
        }
        somewhere = somewhere && zone != 0;
        several = several || (of_all != 0 && zone != 0 && zone != of_all);
        of_all = of_all == 0 ? zone : of_all;
        if ((set >> i & 1) != 0 && zone != 0) {
            if (met != 0 && met != zone) {
                return 1;
            }
            met = zone;
        }
    }
    return (voters & ~set) == 0 || (somewhere && !several);
}

static void check_zones(struct checker *checker, int node, const raft_status *status)
{
    const struct checker_node *it = &checker->nodes[node];
    const struct checker_term *term = term_of(checker, status->term);
    uint32_t set = 0;
    for (int i = 0; i < checker->setup.node_count; i++) {
        set |= term->accepted[i] >= status->commit_index ? (uint32_t)1 << i : 0;
    }
    for (int half = 0; half < 2 && it->config.voters[half] != 0; half++) {
        if (!is_spread(&it->config, it->config.voters[half], set)) {
            checker_fail(checker, "R57",
                         "leader %d commits %" PRIu64 ", which only set %x in one zone holds", node,
                         status->commit_index, (unsigned)set);
        }
    }
}

/* A candidate heard it in the vote that made it the leader: somebody had committed that much (R57). */
static int was_told_by_a_vote(const struct checker *checker, const struct checker_node *it,
                              const raft_status *status)
{
    int led = it->status.role == RAFT_ROLE_LEADER && it->status.term == status->term;
    return !led && status->commit_index <= checker->commit_max &&
           status->counters.commit_hints > it->status.counters.commit_hints;
}

static void check_commit(struct checker *checker, int node, const raft_status *status)
{
    const struct checker_node *it = &checker->nodes[node];
    if (status->commit_index > checker->chosen.count) {
        checker_fail(checker, "I11",
                     "node %d (role %d, term %" PRIu64 ") commits %" PRIu64
                     ", only %zu entries are chosen",
                     node, status->role, status->term, status->commit_index, checker->chosen.count);
        return;
    }
    if (!checker->setup.paxos && status->role == RAFT_ROLE_LEADER &&
        status->commit_index > it->status.commit_index &&
        term_at(&checker->chosen, status->commit_index) != status->term &&
        !was_told_by_a_vote(checker, it, status)) {
        checker_fail(checker, "I13",
                     "leader %d of term %" PRIu64 " commits up to %" PRIu64
                     ", an entry of term %" PRIu64,
                     node, status->term, status->commit_index,
                     term_at(&checker->chosen, status->commit_index));
    }
    if (status->role == RAFT_ROLE_LEADER && it->config.zones && !it->config_moved &&
        it->status.role == RAFT_ROLE_LEADER && status->commit_index > it->status.commit_index) {
        check_zones(checker, node, status);
    }
    if (status->commit_index > checker->commit_max) {
        checker->commit_max = status->commit_index;
    }
}

static void check_monotone(struct checker *checker, int node, const raft_status *status)
{
    const raft_status *before = &checker->nodes[node].status;
    if (status->applied_index > status->commit_index || status->commit_index > status->last_index ||
        status->durable_index > status->last_index) {
        checker_fail(checker, "I2",
                     "node %d: applied %" PRIu64 ", commit %" PRIu64 ", durable %" PRIu64
                     ", last %" PRIu64,
                     node, status->applied_index, status->commit_index, status->durable_index,
                     status->last_index);
    }
    if (before->size != 0 &&
        (status->term < before->term || status->commit_index < before->commit_index ||
         status->applied_index < before->applied_index)) {
        checker_fail(checker, "I2", "term, commit or applied index of node %d went back", node);
    }
}

/* I20, V9: no trimming beyond what is committed and in a snapshot; a snapshot never goes back. */
static void check_snapshot_index(struct checker *checker, int node, const raft_status *status)
{
    const struct checker_node *it = &checker->nodes[node];
    if (status->first_index > status->snapshot_index + 1 ||
        status->snapshot_index > status->commit_index ||
        (it->status.size != 0 && (status->snapshot_index < it->status.snapshot_index ||
                                  status->first_index < it->status.first_index))) {
        checker_fail(checker, "I20",
                     "node %d: first %" PRIu64 ", snapshot %" PRIu64 ", commit %" PRIu64
                     ", was %" PRIu64 ", %" PRIu64,
                     node, status->first_index, status->snapshot_index, status->commit_index,
                     it->status.first_index, it->status.snapshot_index);
    }
}

/* What the node believes to be durable is, and was not removed by a write on its way (R6). */
static void check_durable_index(struct checker *checker, int node, const raft_status *status)
{
    const struct checker_node *it = &checker->nodes[node];
    raft_index index = status->durable_index;
    if (index > it->durable.count ||
        (index <= it->issued.count &&
         chain_at(&it->durable, index) != chain_at(&it->issued, index))) {
        checker_fail(checker, "V11", "node %d takes entry %" PRIu64 " for durable", node, index);
    }
}

static void check_bounds(struct checker *checker, int node, const raft_status *status)
{
    const struct checker_setup *setup = &checker->setup;
    struct checker_node *it = &checker->nodes[node];
    uint64_t slack = LOG_SLACK_BYTES + CONFIG_BYTES * status->counters.memberships;
    uint64_t log_bytes_max = setup->log_bytes_max + setup->log_bytes_max / 8 + slack;
    if (it->status.size == 0 && status->log_bytes > setup->log_bytes_max) { /* its bound now */
        it->restored_bytes = status->log_bytes;
    }
    if (status->writes_pending > RAFT_WRITES_MAX ||
        (setup->reads_max != 0 && status->reads_pending > setup->reads_max) ||
        (setup->log_bytes_max != 0 && status->log_bytes > log_bytes_max &&
         status->log_bytes > it->restored_bytes + it->restored_bytes / 8 + slack)) {
        checker_fail(checker, "I24", "node %d: %zu writes, %zu reads, %" PRIu64 " bytes of log",
                     node, status->writes_pending, status->reads_pending, status->log_bytes);
    }
}

/* I17: the newest membership in the own log governs, as far as the log is known here. */
static void check_governing(struct checker *checker, int node, const raft_status *status)
{
    const struct checker_log *log = &checker->nodes[node].issued;
    if (status->last_index == log->count && status->durable_index == log->count &&
        status->membership_version != config_at(log, log->count)) {
        checker_fail(checker, "I17",
                     "membership %" PRIu64 " governs node %d, the newest in its log is %" PRIu64,
                     status->membership_version, node, config_at(log, log->count));
    }
}

/* P10: a leader changes the membership when a commit quorum has accepted its term. */
static void check_settled(struct checker *checker, int node, const struct checker_term *term)
{
    const struct checker_config *config = &term->config;
    for (int half = 0; half < 2 && config->voters[half] != 0; half++) {
        if (set_size(term->acceptors & config->voters[half]) < config->commit[half]) {
            checker_fail(checker, "P10",
                         "leader %d changes the membership, its term %" PRIu64
                         " is accepted by set %x of %x",
                         node, term->term, (unsigned)term->acceptors,
                         (unsigned)config->voters[half]);
        }
    }
}

void checker_membership(struct checker *checker, int node, const raft_status *status,
                        const raft_membership *membership)
{
    struct checker_config config;
    uint32_t voters[2] = {0, 0};
    memset(&config, 0, sizeof config);
    config.version = membership->version;
    config.zones = membership->zones;
    for (size_t i = 0; i < membership->member_count; i++) {
        const raft_member *member = &membership->members[i];
        int position = position_of(checker, member->id);
        uint32_t bit = position == NOBODY ? 0 : (uint32_t)1 << position;
        int is_witness = (checker->setup.witnesses & bit) != 0;
        config.members |= bit;
        if (position != NOBODY) {
            config.zone[position] = member->zone;
            if (config.version < checker->member_since[position]) {
                checker->member_since[position] = config.version;
            }
        }
        config.wishes |= member->promote ? bit : 0;
        voters[0] |=
            member->role == RAFT_MEMBER_VOTER || member->role == RAFT_MEMBER_WITNESS ? bit : 0;
        if (membership->joint && (member->former_role == RAFT_MEMBER_VOTER ||
                                  member->former_role == RAFT_MEMBER_WITNESS)) {
            voters[1] |= bit;
        }
        if (position == NOBODY || (member->role == RAFT_MEMBER_WITNESS && !is_witness)) {
            checker_fail(checker, "R45", "node %d has a member that nobody asked for", node);
        }
    }
    config_half(checker, &config, 0, voters[0], membership->commit_quorum);
    if (membership->joint) {
        config_half(checker, &config, 1, voters[1], membership->former_commit_quorum);
    }
    uint32_t added = config.members & ~checker->nodes[node].config.members;
    checker->adoptions[ADOPTION_PREPARES] += status->role == RAFT_ROLE_CANDIDATE;
    checker->nodes[node].config = config;
    checker->nodes[node].config_moved = 1;
    checker->ever_voters |= config.voters[0] | config.voters[1];
    if (status->role == RAFT_ROLE_LEADER) {
        log_append(&checker->announced, (struct checker_link){status->term, 0, config.version});
        struct checker_term *term = term_of(checker, status->term);
        if (term->leader == node) {
            if (checker->setup.paxos) {
                check_settled(checker, node, term);
            }
            for (int i = 0; i < checker->setup.node_count; i++) {
                if ((config.members >> i & 1) == 0) {
                    term->match[i] = 0; /* added again, it begins anew (R28) */
                    term->forgetful &= ~((uint32_t)1 << i);
                }
                if ((added >> i & 1) != 0) {
                    term->joined[i] = term->round_sent;
                }
            }
            term->config = config;
            judge(checker, status->term);
        }
    }
}

/* What follows from a status for what binds the node. */
static void observe_bonds(struct checker_node *it, const raft_status *status)
{
    if (status->leader == 0 || status->role != RAFT_ROLE_FOLLOWER || status->asleep) {
        it->has_contact = 0;
    }
    if (it->promise.answered) {
        it->promise.answered = 0;
        it->promise.until_ms = status->promised_until_ms;
        it->promise.term = status->term;
    }
}

void checker_time(struct checker *checker, int node, uint64_t now_ms)
{
    checker->nodes[node].now_ms = now_ms;
}

void checker_contact_ends(struct checker *checker, int node)
{
    checker->nodes[node].has_contact = 0;
}

void checker_observed(struct checker *checker, int node, const raft_status *status)
{
    struct checker_node *it = &checker->nodes[node];
    int led = it->status.size != 0 && it->status.role == RAFT_ROLE_LEADER &&
              it->status.term == status->term;
    check_monotone(checker, node, status);
    check_snapshot_index(checker, node, status);
    check_durable_index(checker, node, status);
    check_bounds(checker, node, status);
    check_governing(checker, node, status);
    if (status->role == RAFT_ROLE_LEADER && !led) {
        check_new_leader(checker, node, status);
    }
    if (status->commit_index != it->status.commit_index) {
        check_commit(checker, node, status);
    }
    observe_bonds(it, status);
    it->config_moved = 0;
    if (status->snapshot_asked != 0) {
        it->fresh_asked = status->snapshot_asked;
    } else if (!status->installing) { /* what has come whole is loaded, whoever leads by then */
        it->fresh_asked = 0;
    }
    it->status = *status;
    it->status.size = sizeof it->status;
}

/* A leader's idea of a peer never exceeds what is durable there, and never falls (R28). */
void checker_peer(struct checker *checker, int node, const raft_peer_status *peer)
{
    const struct checker_node *leader = &checker->nodes[node];
    const struct checker_setup *setup = &checker->setup;
    int position = position_of(checker, peer->id);
    if (position == NOBODY || position == node || leader->status.role != RAFT_ROLE_LEADER) {
        return;
    }
    struct checker_term *term = term_of(checker, leader->status.term);
    int forgetful = (term->forgetful >> position & 1) != 0;
    if (peer->state == RAFT_PEER_LOST) {
        if (!forgetful) {
            checker_fail(checker, "R48", "leader %d takes the log of node %d for lost", node,
                         position);
        }
        return;
    }
    const struct checker_node *it = &checker->nodes[position];
    raft_index *known = &term->match[position];
    if (leader->stale_from == position && peer->match > *known) {
        checker_fail(
            checker, "R28",
            "leader %d takes an answer from before node %d was added for one: match %" PRIu64
            ", was %" PRIu64,
            node, position, peer->match, *known);
    }
    if (peer->match >= peer->next || peer->match < *known) {
        checker_fail(checker, "V9",
                     "leader %d: match %" PRIu64 " of node %d, next %" PRIu64 ", was %" PRIu64,
                     node, peer->match, position, peer->next, *known);
    }
    *known = peer->match;
    if (!forgetful && it->durable_state.term == leader->status.term &&
        (peer->match > it->durable.count ||
         (peer->match <= leader->issued.count &&
          !log_holds(&it->durable, peer->match, chain_at(&leader->issued, peer->match))))) {
        checker_fail(checker, "R28", "leader %d takes %" PRIu64 " for durable on node %d", node,
                     peer->match, position);
    }
    if (peer->inflight_messages > setup->inflight_messages_max ||
        peer->inflight_bytes > setup->inflight_bytes_max + setup->append_bytes_max +
                                   setup->entry_bytes_max + 2 * RAFT_ENTRY_HEADER) {
        checker_fail(checker, "I24",
                     "leader %d has %zu messages of %" PRIu64 " bytes in flight to node %d", node,
                     peer->inflight_messages, peer->inflight_bytes, position);
    }
}

/* ---- The state machine and the clients -------------------------------------------------------- */

static void check_applied_entry(struct checker *checker, int node, const raft_entry *entry)
{
    const struct registry_entry *known =
        registry_find(&checker->registry, entry->index, entry->term);
    if (entry->index > checker->chosen.count ||
        checker->chosen.links[entry->index - 1].term != entry->term) {
        checker_fail(checker, "I1", "node %d applies %" PRIu64 "/%" PRIu64 ", which is not chosen",
                     node, entry->index, entry->term);
    } else if (known == NULL || known->content != entry_content(entry)) {
        checker_fail(checker, "I3",
                     "node %d applies %" PRIu64 "/%" PRIu64 " with a content of its own", node,
                     entry->index, entry->term);
    } else if (known->outcome == OUTCOME_DROPPED) {
        checker_fail(checker, "V18",
                     "node %d applies %" PRIu64 "/%" PRIu64 ", which was reported dropped", node,
                     entry->index, entry->term);
    }
}

void checker_apply(struct checker *checker, int node, const raft_range *range)
{
    struct checker_node *it = &checker->nodes[node];
    raft_range rest = *range;
    raft_entry entry;
    size_t count = 0;
    if (it->apply_next != it->applied + 1) {
        checker_fail(checker, "I3", "node %d applies while an apply is outstanding", node);
    }
    while (raft_range_next(&rest, &entry)) {
        if (entry.index != it->apply_next) {
            checker_fail(checker, "I3", "node %d applies %" PRIu64 " instead of %" PRIu64, node,
                         entry.index, it->apply_next);
        }
        it->apply_next++;
        count++;
        check_applied_entry(checker, node, &entry);
    }
    if (count != range->count) {
        checker_fail(checker, "I3", "node %d applies a malformed range", node);
    }
    raft_index last = it->apply_next - 1;
    if (!checker->setup.apply_ahead && last <= checker->chosen.count &&
        !log_holds(&it->durable, last, chain_at(&checker->chosen, last))) {
        checker_fail(checker, "R5", "node %d applies %" PRIu64 " before it is durable there", node,
                     last);
    }
    if (checker->setup.apply_bytes_max != 0 && range->size > checker->setup.apply_bytes_max &&
        count > 1) {
        checker_fail(checker, "I24", "node %d applies %zu bytes at once", node, range->size);
    }
}

void checker_snapshot(struct checker *checker, int node, raft_index index, uint64_t chain)
{
    struct checker_node *it = &checker->nodes[node];
    if (index > checker->chosen.count || chain_at(&checker->chosen, index) != chain) {
        checker_fail(checker, "I19", "the snapshot %" PRIu64 " of node %d is not what is chosen",
                     index, node);
        return;
    }
    it->snapshot = index > it->snapshot ? index : it->snapshot;
}

void checker_load(struct checker *checker, int node, raft_index index, raft_term term)
{
    struct checker_node *it = &checker->nodes[node];
    if (it->apply_next != it->applied + 1 || it->loading != 0) {
        checker_fail(checker, "I3", "node %d loads while it applies", node);
    }
    int is_asked_for = it->fresh_asked != 0 && index >= it->fresh_asked;
    if (is_asked_for ? index < it->applied
                     : index <= it->applied || index != it->status.snapshot_index) {
        checker_fail(checker, "I19", "node %d loads %" PRIu64 " having applied %" PRIu64, node,
                     index, it->applied);
    }
    if (snapshot_is_chosen(checker, node, index, term) &&
        (index > it->durable.count || (it->snapshot < index && !is_asked_for))) {
        checker_fail(checker, "R35", "node %d loads %" PRIu64 ", which is not in use durably", node,
                     index);
    }
    it->fresh_asked = 0;
    it->loading = index;
    it->apply_next = index + 1;
}

void checker_loaded(struct checker *checker, int node, raft_index index, uint64_t chain)
{
    struct checker_node *it = &checker->nodes[node];
    if (index > checker->chosen.count || chain_at(&checker->chosen, index) != chain) {
        checker_fail(checker, "I19", "what node %d loads as %" PRIu64 " is not what is chosen",
                     node, index);
    }
    it->loading = 0;
    it->applied = index;
}

static void close_proposal(struct checker *checker, int node, struct registry_entry *entry,
                           int outcome)
{
    if (entry->outcome != OUTCOME_OPEN) {
        checker_fail(checker, "I29",
                     "proposal %" PRIu64 "/%" PRIu64 " of node %d is answered twice", entry->index,
                     entry->term, node);
        return;
    }
    entry->outcome = outcome;
    checker->nodes[node].proposals_open--;
    checker->outcomes[outcome]++;
}

/* A position was shown to a client: what begins from now on comes after it (I26). */
static void acknowledge(struct checker *checker, raft_index index)
{
    if (index > checker->acknowledged) {
        checker->acknowledged = index;
    }
}

static int is_own_proposal(const struct checker *checker, int node,
                           const struct registry_entry *entry)
{
    return entry != NULL && entry->proposer == node &&
           entry->incarnation == checker->nodes[node].incarnation;
}

void checker_applied(struct checker *checker, int node, raft_index index)
{
    struct checker_node *it = &checker->nodes[node];
    while (it->applied < index && it->applied < checker->chosen.count) {
        raft_index next = ++it->applied;
        struct registry_entry *entry =
            registry_find(&checker->registry, next, term_at(&checker->chosen, next));
        if (!is_own_proposal(checker, node, entry) || entry->outcome == OUTCOME_UNKNOWN) {
            continue; /* what was given up as unknown may still be applied */
        }
        if (next <= entry->floor) {
            checker_fail(checker, "I26",
                         "write %" PRIu64 " began after %" PRIu64 " was acknowledged", next,
                         entry->floor);
        }
        close_proposal(checker, node, entry, OUTCOME_APPLIED);
        acknowledge(checker, next);
    }
}

uint64_t checker_read_tag(struct checker *checker, int node)
{
    raft_index floor =
        checker->commit_max > checker->acknowledged ? checker->commit_max : checker->acknowledged;
    checker->reads = vector_grow(checker->reads, checker->read_count, &checker->read_capacity,
                                 sizeof *checker->reads);
    checker->reads[checker->read_count++] =
        (struct checker_read){node, checker->nodes[node].incarnation, floor, 0};
    return checker->read_count;
}

void checker_read_begun(struct checker *checker, uint64_t tag)
{
    struct checker_read *read = &checker->reads[tag - 1];
    read->open = 1;
    checker->nodes[read->node].reads_open++;
}

void checker_read_unsafe(struct checker *checker, uint64_t tag)
{
    checker->reads[tag - 1].floor = 0;
}

/*
 * R50: who has promised, by its own clock. A server that is down comes back bound; one that does not
 * know itself for a voter is not asked.
 */
static uint32_t bound_servers(const struct checker *checker, int leader)
{
    uint32_t bound = (uint32_t)1 << leader;
    for (int i = 0; i < checker->setup.node_count; i++) {
        const struct checker_node *it = &checker->nodes[i];
        uint32_t voters = it->config.voters[0] | it->config.voters[1];
        if (!it->up || it->status.size == 0 || (voters >> i & 1) == 0 ||
            it->now_ms < it->status.promised_until_ms) {
            bound |= (uint32_t)1 << i;
        }
    }
    return bound;
}

static void check_promises(struct checker *checker, int node)
{
    const struct checker_node *it = &checker->nodes[node];
    uint32_t bound = bound_servers(checker, node);
    for (int half = 0; half < 2 && it->config.voters[half] != 0; half++) {
        if (set_size(bound & it->config.voters[half]) < it->config.commit[half]) {
            checker_fail(checker, "R50",
                         "leader %d believes in its lease, but only set %x of %x is bound", node,
                         (unsigned)(bound & it->config.voters[half]),
                         (unsigned)it->config.voters[half]);
        }
    }
}

void checker_lease(struct checker *checker, int node, int sound)
{
    const raft_status *status = &checker->nodes[node].status;
    size_t count = checker->chosen.count;
    int has_chosen = checker->setup.paxos
                         ? count >= term_of(checker, status->term)->adopted
                         : count > 0 && checker->chosen_in[count - 1] >= status->term;
    if (!has_chosen) {
        checker_fail(checker, "R50",
                     "leader %d has a lease before its term %" PRIu64 " has chosen anything", node,
                     status->term);
    }
    if (sound && status->term < checker->newest_led) {
        checker_fail(checker, "V16",
                     "node %d believes in its lease of term %" PRIu64 ", term %" PRIu64
                     " has a leader",
                     node, status->term, checker->newest_led);
    }
    if (sound) {
        check_promises(checker, node);
    }
}

uint64_t checker_forward_tag(struct checker *checker, int node, uint64_t value)
{
    checker->forwards = vector_grow(checker->forwards, checker->forward_count,
                                    &checker->forward_capacity, sizeof *checker->forwards);
    checker->forwards[checker->forward_count++] =
        (struct checker_forward){node, checker->nodes[node].incarnation, value, 0, 0, 0, 0};
    return checker->forward_count;
}

void checker_forward_begun(struct checker *checker, uint64_t tag)
{
    struct checker_forward *forward = &checker->forwards[tag - 1];
    forward->open = 1;
    checker->nodes[forward->node].forwards_open++;
}

/*
 * R62: dropped means that another entry is chosen in its place, or one of a later term below it,
 * after which its term cannot come (terms only rise along a log). Anything less is unknown.
 */
static int can_never_be_chosen(const struct checker *checker, raft_index index, raft_term term)
{
    size_t judged = index < checker->chosen.count ? (size_t)index : checker->chosen.count;
    return judged > 0 && (term_at(&checker->chosen, judged) > term ||
                          (judged == index && term_at(&checker->chosen, judged) != term));
}

/* One answer, and an honest one (V18, I29). */
static void check_forwarded(struct checker *checker, int node, const raft_event *event)
{
    struct checker_forward *forward = event->tag == 0 || event->tag > checker->forward_count
                                          ? NULL
                                          : &checker->forwards[event->tag - 1];
    if (forward == NULL || !forward->open || forward->node != node ||
        forward->incarnation != checker->nodes[node].incarnation) {
        checker_fail(checker, "I29", "node %d answers forwarded %" PRIu64 ", which is not open",
                     node, event->tag);
        return;
    }
    forward->open = 0;
    checker->nodes[node].forwards_open--;
    checker->forward_outcomes[event->status == RAFT_OK         ? 0
                              : event->status == RAFT_EUNKNOWN ? 2
                                                               : 1]++;
    if (event->status == RAFT_OK && forward->index != 0 &&
        (forward->index != event->index || forward->term != event->term)) {
        checker_fail(checker, "V18",
                     "node %d is told that its proposal is %" PRIu64 "/%" PRIu64 ", it is %" PRIu64
                     "/%" PRIu64,
                     node, event->index, event->term, forward->index, forward->term);
    }
    if (event->status != RAFT_OK && event->status != RAFT_EUNKNOWN) {
        forward->dropped = 1;
        if (forward->index != 0 && !can_never_be_chosen(checker, forward->index, forward->term)) {
            checker_fail(checker, "V18",
                         "node %d is told that what became %" PRIu64 "/%" PRIu64
                         " is dropped, but it may yet be applied",
                         node, forward->index, forward->term);
        }
    }
}

static void check_read_served(struct checker *checker, int node, const struct checker_read *read,
                              raft_index index)
{
    const struct checker_node *it = &checker->nodes[node];
    if (index < read->floor) {
        checker_fail(checker, "I21",
                     "node %d serves a read at %" PRIu64 ", %" PRIu64
                     " was committed before it began",
                     node, index, read->floor);
    }
    if (it->applied < index) {
        checker_fail(checker, "I21",
                     "node %d serves a read at %" PRIu64 " having applied only %" PRIu64, node,
                     index, it->applied);
    }
    acknowledge(checker, it->applied);
}

static void check_read_answer(struct checker *checker, int node, const raft_event *event)
{
    struct checker_read *read = event->tag == 0 || event->tag > checker->read_count
                                    ? NULL
                                    : &checker->reads[event->tag - 1];
    if (read == NULL || !read->open || read->node != node ||
        read->incarnation != checker->nodes[node].incarnation) {
        checker_fail(checker, "I29", "node %d answers read %" PRIu64 ", which is not open", node,
                     event->tag);
        return;
    }
    read->open = 0;
    checker->nodes[node].reads_open--;
    if (event->status == RAFT_OK) {
        checker->reads_answered++;
        check_read_served(checker, node, read, event->index);
    } else {
        checker->reads_failed++;
    }
}

/* Whether it is a membership that the node appended as the leader of that term. */
static int is_own_membership(struct checker *checker, int node, raft_term term, raft_index index,
                             const struct registry_entry *entry)
{
    if (term_of(checker, term)->leader != node || (entry != NULL && !entry->is_config)) {
        return 0;
    }
    for (size_t i = checker->announced.count; i > 0; i--) {
        const struct checker_link *link = &checker->announced.links[i - 1];
        if (link->term == term && link->config == index) {
            return 1;
        }
    }
    return entry != NULL;
}

/* A leader's entries that came forwarded lie among its own, and are told with them. */
static int may_be_forwarded(struct checker *checker, int node, raft_term term)
{
    return checker->forward_count > 0 && term_of(checker, term)->leader == node;
}

static void check_dropped(struct checker *checker, int node, const raft_event *event,
                          raft_index index)
{
    struct registry_entry *entry = registry_find(&checker->registry, index, event->term);
    if (is_own_membership(checker, node, event->term, index, entry) ||
        (!is_own_proposal(checker, node, entry) && may_be_forwarded(checker, node, event->term))) {
        return;
    }
    if (!is_own_proposal(checker, node, entry)) {
        checker_fail(checker, "I29", "node %d drops %" PRIu64 "/%" PRIu64 ", which it did not take",
                     node, index, event->term);
        return;
    }
    if (event->status == RAFT_EDROPPED && !can_never_be_chosen(checker, index, event->term)) {
        checker_fail(checker, "V18",
                     "node %d reports %" PRIu64 "/%" PRIu64 " dropped, but it may yet be applied",
                     node, index, event->term);
    }
    close_proposal(checker, node, entry,
                   event->status == RAFT_EDROPPED ? OUTCOME_DROPPED : OUTCOME_UNKNOWN);
}

/* R48: nobody is said to have lost its log who has not. */
static void check_regression(struct checker *checker, int node, const raft_event *event)
{
    int peer = position_of(checker, event->peer);
    const struct checker_term *term = term_of(checker, event->term);
    if (peer == NOBODY || term->leader != node || (term->forgetful >> peer & 1) == 0) {
        checker_fail(checker, "R48", "node %d tells that node %d has lost its log", node, peer);
    }
}

void checker_event(struct checker *checker, int node, const raft_event *event)
{
    if (event->kind == RAFT_EVENT_READ) {
        check_read_answer(checker, node, event);
    } else if (event->kind == RAFT_EVENT_FORWARDED) {
        check_forwarded(checker, node, event);
    } else if (event->kind == RAFT_EVENT_REGRESSION) {
        check_regression(checker, node, event);
    } else if (event->kind == RAFT_EVENT_FATAL) {
        abandon_open(checker, node);
    } else if (event->kind == RAFT_EVENT_DROPPED) {
        if (event->first == 0 || event->first > event->last ||
            event->last - event->first > checker->registry.count + checker->forward_count) {
            checker_fail(checker, "I29", "node %d drops %" PRIu64 "..%" PRIu64, node, event->first,
                         event->last);
            return;
        }
        for (raft_index i = event->first; i <= event->last; i++) {
            check_dropped(checker, node, event, i);
        }
    }
}

/* ---- The end --------------------------------------------------------------------------------- */

static int is_equal_to_chosen(const struct checker *checker, const struct checker_log *log)
{
    raft_index last = checker->chosen.count;
    return log->count == last && log_holds(log, last, chain_at(&checker->chosen, last));
}

/* What a node has applied; a witness has nothing to apply to, and says so by its status alone. */
static raft_index applied_by(const struct checker *checker, int node)
{
    const struct checker_node *it = &checker->nodes[node];
    return (checker->setup.witnesses >> node & 1) != 0 ? it->status.applied_index : it->applied;
}

int checker_converged(const struct checker *checker)
{
    for (int i = 0; i < checker->setup.node_count; i++) {
        const struct checker_node *it = &checker->nodes[i];
        if ((checker->absent >> i & 1) != 0) {
            continue;
        }
        if (!it->up || applied_by(checker, i) != checker->chosen.count || it->proposals_open != 0 ||
            it->reads_open != 0 || it->forwards_open != 0 ||
            it->status.commit_index != checker->chosen.count ||
            !is_equal_to_chosen(checker, &it->durable)) {
            return 0;
        }
    }
    return 1;
}

void checker_quiet(struct checker *checker)
{
    for (int i = 0; i < checker->setup.node_count; i++) {
        const struct checker_node *it = &checker->nodes[i];
        if ((checker->absent >> i & 1) != 0) {
            continue;
        }
        if (it->proposals_open != 0 || it->reads_open != 0 || it->forwards_open != 0) {
            checker_fail(checker, "I29",
                         "node %d leaves %" PRIu64 " proposals, %" PRIu64 " reads and %" PRIu64
                         " forwarded proposals without an answer",
                         i, it->proposals_open, it->reads_open, it->forwards_open);
        }
        if (!it->up || applied_by(checker, i) != checker->chosen.count ||
            !is_equal_to_chosen(checker, &it->durable)) {
            checker_fail(checker, "V24",
                         "node %d has applied %" PRIu64 " and stored %zu of %zu "
                         "chosen entries",
                         i, applied_by(checker, i), it->durable.count, checker->chosen.count);
        }
    }
}

uint64_t checker_memberships(const struct checker *checker)
{
    uint64_t count = 0;
    for (size_t i = 0; i < checker->chosen.count; i++) {
        count += checker->chosen.links[i].config == i + 1;
    }
    return count;
}
