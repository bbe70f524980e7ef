/*
 * Changes of the membership: what an operator asks for, sensible or not, at whoever believes to
 * lead. What becomes of it is the observer's business.
 */
#include "sim.h"

#include <string.h>

struct wish {
    raft_membership membership;
    raft_member members[RAFT_MEMBERS_MAX];
};

static int is_witness(const struct sim *sim, raft_id id)
{
    return sim->plan.witness && id == sim->nodes[sim->node_count - 1].id;
}

static raft_member *find(struct wish *wish, raft_id id)
{
    for (size_t i = 0; i < wish->membership.member_count; i++) {
        if (wish->members[i].id == id) {
            return &wish->members[i];
        }
    }
    return NULL;
}

/* Adds a server that is none of the members yet, mostly as a learner. */
static void add_somebody(struct sim *sim, struct wish *wish)
{
    uint64_t start = rng_below(&sim->rng, (uint64_t)sim->node_count);
    for (int i = 0; i < sim->node_count; i++) {
        raft_id id = sim->nodes[(start + (uint64_t)i) % (uint64_t)sim->node_count].id;
        if (find(wish, id) != NULL) {
            continue;
        }
        raft_member *member = &wish->members[wish->membership.member_count++];
        memset(member, 0, sizeof *member);
        member->id = id;
        if (is_witness(sim, id)) {
            member->role = RAFT_MEMBER_WITNESS;
            COUNT(&sim->counters, witnesses_asked);
        } else if (rng_chance(&sim->rng, 800000)) {
            member->role = RAFT_MEMBER_LEARNER;
            member->promote = rng_chance(&sim->rng, sim->plan.wipe_every_us != 0 ? 200000 : 700000);
            COUNT(&sim->counters, learners_asked);
        }
        return;
    }
}

static void remove_somebody(struct sim *sim, struct wish *wish, raft_id leader)
{
    size_t at = (size_t)rng_below(&sim->rng, wish->membership.member_count);
    COUNT(&sim->counters, removals_asked);
    if (wish->members[at].id == leader) {
        COUNT(&sim->counters, leaders_removed);
    }
    wish->members[at] = wish->members[--wish->membership.member_count];
}

/* A learner becomes a voter, or the reverse. */
static void turn_somebody(struct sim *sim, struct wish *wish)
{
    raft_member *member = &wish->members[rng_below(&sim->rng, wish->membership.member_count)];
    if (member->role == RAFT_MEMBER_LEARNER) {
        member->role = RAFT_MEMBER_VOTER;
        member->promote = 0;
    } else if (member->role == RAFT_MEMBER_VOTER) {
        member->role = RAFT_MEMBER_LEARNER;
    }
}

static void turn_knobs(struct sim *sim, struct wish *wish)
{
    raft_member *member = &wish->members[rng_below(&sim->rng, wish->membership.member_count)];
    member->priority = (uint32_t)rng_below(&sim->rng, 3);
    member->zone = (uint32_t)rng_below(&sim->rng, 3);
    if (rng_chance(&sim->rng, 500000)) {
        COUNT(&sim->counters, quorums_asked);
        wish->membership.commit_quorum =
            (uint32_t)rng_below(&sim->rng, wish->membership.member_count + 1);
        wish->membership.allow_single_commit = (uint8_t)rng_chance(&sim->rng, 200000);
    }
    wish->membership.zones = (uint8_t)rng_chance(&sim->rng, 200000);
    for (size_t i = 0; wish->membership.zones && i < wish->membership.member_count; i++) {
        wish->members[i].zone = 1 + (uint32_t)rng_below(&sim->rng, 2);
    }
    sim->zones_asked |= wish->membership.zones;
}

static void alter(struct sim *sim, struct wish *wish, raft_id leader)
{
    uint64_t steps = rng_chance(&sim->rng, 700000) ? 1 : rng_between(&sim->rng, 2, 4);
    for (uint64_t i = 0; i < steps; i++) {
        uint64_t drawn = rng_below(&sim->rng, 10);
        if (drawn < 5) {
            add_somebody(sim, wish);
        } else if (drawn < 7 && wish->membership.member_count > 1) {
            remove_somebody(sim, wish, leader);
        } else if (drawn < 9) {
            turn_somebody(sim, wish);
        } else {
            turn_knobs(sim, wish);
        }
    }
}

static struct node *choose_leader(struct sim *sim)
{
    struct node *found = NULL;
    uint64_t seen = 0;
    for (int i = 0; i < sim->node_count; i++) {
        struct node *node = &sim->nodes[i];
        if (node->raft != NULL && node->status.role == RAFT_ROLE_LEADER && !node_is_paused(node) &&
            rng_below(&sim->rng, ++seen) == 0) {
            found = node;
        }
    }
    return found;
}

static void check_result(struct sim *sim, int result)
{
    if (result == RAFT_ESTATE || result == RAFT_EREENTRY || result > 0) {
        checker_fail(&sim->checker, "API", "raft_set_membership: %s", raft_strerror(result));
    }
}

/* The membership that governs at a leader, as the beginning of another; 0: not now. */
static int begin_wish(const struct node *leader, struct wish *wish)
{
    raft_membership_init(&wish->membership);
    return raft_get_membership(leader->raft, &wish->membership, wish->members, RAFT_MEMBERS_MAX) ==
               RAFT_OK &&
           !wish->membership.joint;
}

static int submit(struct sim *sim, struct node *leader, const struct wish *wish)
{
    raft_term term = 0;
    int result =
        raft_set_membership(leader->raft, &wish->membership, wish->membership.version, NULL, &term);
    check_result(sim, result);
    node_changed(leader);
    if (result == RAFT_OK && term != 0) {
        COUNT(&sim->counters, memberships_begun);
        if (leader->raft != NULL) {
            COUNT_ADD(&sim->counters, memberships_joint, leader->status.membership_joint != 0);
        }
    }
    return result == RAFT_OK;
}

/*
 * Nobody is added whose disk is lost, nobody votes whose log is, and enough are left to go on: that
 * an operator has to look after (R48).
 */
static int is_wise(const struct sim *sim, const struct wish *wish, uint32_t members)
{
    unsigned voters = 0;
    unsigned sound = 0;
    for (size_t i = 0; i < wish->membership.member_count; i++) {
        const raft_member *member = &wish->members[i];
        uint32_t bit = 0;
        for (int j = 0; j < sim->node_count; j++) {
            bit = sim->nodes[j].id == member->id ? (uint32_t)1 << j : bit;
        }
        int votes = member->role != RAFT_MEMBER_LEARNER;
        if ((sim->doomed & bit & ~members) != 0 ||
            ((votes || member->promote) && (sim->wiped & bit) != 0)) {
            return 0;
        }
        voters += (unsigned)votes;
        sound += votes && (sim->doomed & bit) == 0;
    }
    unsigned majority = voters / 2 + 1;
    unsigned commit = wish->membership.commit_quorum;
    unsigned elect = voters + 1 - (commit == 0 ? majority : commit);
    elect = elect < majority && (!sim->plan.paxos || commit == 0) ? majority : elect;
    return !wish->membership.zones && sound >= elect && sound >= (commit == 0 ? majority : commit);
}

void members_change(struct sim *sim)
{
    struct node *node = choose_leader(sim);
    struct wish wish;
    if (node == NULL || !begin_wish(node, &wish)) {
        return;
    }
    int zones_asked = sim->zones_asked;
    alter(sim, &wish, node->id);
    if ((sim->doomed | sim->wiped) != 0 &&
        !is_wise(sim, &wish, sim->checker.nodes[node->position].config.members)) {
        sim->zones_asked = zones_asked;
        return;
    }
    COUNT(&sim->counters, memberships_asked);
    submit(sim, node, &wish);
}

int members_remove(struct sim *sim, struct node *leader, uint32_t positions)
{
    struct wish wish;
    size_t kept = 0;
    if (!begin_wish(leader, &wish)) {
        return 0;
    }
    for (size_t i = 0; i < wish.membership.member_count; i++) {
        int goes = 0;
        for (int j = 0; j < sim->node_count; j++) {
            goes |= (positions >> j & 1) != 0 && sim->nodes[j].id == wish.members[i].id;
        }
        if (!goes) {
            wish.members[kept++] = wish.members[i];
        }
    }
    wish.membership.member_count = kept;
    return submit(sim, leader, &wish);
}

/* ---- Healing --------------------------------------------------------------------------------- */

/* A random set of so many of the voters. */
static uint32_t some_of(struct sim *sim, uint32_t voters, unsigned needed)
{
    uint32_t chosen = 0;
    unsigned left = 0;
    for (int i = 0; i < sim->node_count; i++) {
        left += voters >> i & 1;
    }
    for (int i = 0; i < sim->node_count; i++) {
        if ((voters >> i & 1) != 0 && rng_below(&sim->rng, left--) < needed) {
            chosen |= (uint32_t)1 << i;
            needed--;
        }
    }
    return chosen;
}

/*
 * Quorums of both halves; with witnesses or zones in play, everybody: payloads must be reachable.
 * And the learners: one that is promoted in the last moment counts from then on (R65).
 */
static uint32_t quorum_of(struct sim *sim, const struct checker_config *config)
{
    uint32_t set = 0;
    for (int half = 0; half < 2 && config->voters[half] != 0; half++) {
        unsigned needed =
            config->elect[half] > config->commit[half] ? config->elect[half] : config->commit[half];
        set |= some_of(sim, config->voters[half] & ~sim->doomed, needed);
    }
    if ((config->members & sim->checker.setup.witnesses) != 0 || sim->zones_asked) {
        set |= config->members;
    }
    return set | (config->members & ~config->voters[0] & ~config->voters[1] & ~sim->doomed);
}

/*
 * Servers that are enough: whatever membership may come to govern, one of those in the logs, it has
 * its quorums among them.
 */
uint32_t members_needed(struct sim *sim)
{
    uint32_t set = quorum_of(sim, &sim->checker.founding);
    if (sim->plan.members_every_us == 0 && sim->doomed == 0) {
        return set;
    }
    set = 0;
    for (int i = 0; i < sim->node_count; i++) {
        set |= quorum_of(sim, &sim->checker.nodes[i].config);
    }
    return set;
}

struct node *members_leader(struct sim *sim)
{
    struct node *leader = NULL;
    for (int i = 0; i < sim->node_count; i++) {
        struct node *node = &sim->nodes[i];
        if (node->raft != NULL && node->status.role == RAFT_ROLE_LEADER &&
            (leader == NULL || node->status.term > leader->status.term)) {
            leader = node;
        }
    }
    return leader;
}

/* Whoever is no member of the newest membership, once that is certain, is switched off for good. */
void members_switch_off(struct sim *sim)
{
    const struct checker *checker = &sim->checker;
    const struct node *leader = members_leader(sim);
    if (leader == NULL || leader->status.membership_joint ||
        leader->status.commit_index < leader->status.membership_version ||
        leader->status.commit_index != checker->chosen.count) {
        return;
    }
    uint32_t members = checker->nodes[leader->position].config.members;
    for (int i = 0; i < sim->node_count; i++) {
        if ((members >> i & 1) == 0 && (checker->absent >> i & 1) == 0 && i != leader->position) {
            sim->checker.absent |= (uint32_t)1 << i;
            node_crash(&sim->nodes[i]);
        }
    }
}
