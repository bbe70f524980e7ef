/*
 * Disks that are lost, or on which something goes bad (R48, R61).
 *
 * What a server has said to others is worth nothing without its disk. So a host that finds it empty,
 * or whose store finds damage, does not start the server again: it is switched off for good, and its
 * operator removes it. Only a server that never was a voter may come back empty under its id: nobody
 * has counted its word. A leader that had it as a follower says that its log is lost; then it is
 * removed as well, and may be added again.
 *
 * As many are lost as can be borne: with those that are left, every membership that governs anywhere
 * still has its quorums.
 */
#include "sim.h"
#include "store.h"

static uint32_t bit_of(const struct node *node)
{
    return (uint32_t)1 << node->position;
}

static unsigned count_of(uint32_t set)
{
    unsigned count = 0;
    for (; set != 0; set &= set - 1) {
        count++;
    }
    return count;
}

static int has_quorums(const struct checker_config *config, uint32_t doomed)
{
    for (int half = 0; half < 2 && config->voters[half] != 0; half++) {
        unsigned left = count_of(config->voters[half] & ~doomed);
        if (left < config->elect[half] || left < config->commit[half]) {
            return 0;
        }
    }
    return 1;
}

/*
 * Whether those that are left would do, without the doomed. Who still goes by a membership that is
 * older than a chosen one cannot be elected, and does not matter.
 */
int losses_are_bearable(const struct sim *sim, uint32_t doomed)
{
    const struct checker_log *chosen = &sim->checker.chosen;
    raft_index newest = chosen->count == 0 ? 0 : chosen->links[chosen->count - 1].config;
    for (int i = 0; i < sim->node_count; i++) {
        const struct checker_config *config = &sim->checker.nodes[i].config;
        int knows_none = i >= sim->founders && config->version == 0;
        if ((sim->checker.absent >> i & 1) == 0 && !knows_none && config->version >= newest &&
            !has_quorums(config, doomed)) {
            return 0;
        }
    }
    return 1;
}

/* Who may become a voter by itself, somewhere. */
static uint32_t with_a_wish(const struct sim *sim)
{
    uint32_t wishes = 0;
    for (int i = 0; i < sim->node_count; i++) {
        wishes |= sim->checker.nodes[i].config.wishes;
    }
    return wishes;
}

/* Among zones more than a quorum is needed. */
static int may_be_lost(const struct node *node)
{
    const struct sim *sim = node->sim;
    return ((sim->doomed | with_a_wish(sim)) & bit_of(node)) == 0 && !sim->zones_asked &&
           losses_are_bearable(sim, sim->doomed | bit_of(node));
}

/* Whether it is a learner with a log, was never more, and is not about to become more. */
static int may_come_back(const struct node *node)
{
    const struct sim *sim = node->sim;
    uint32_t members = 0;
    if (sim->checker.nodes[node->position].durable.count == 0) {
        return 0;
    }
    for (int i = 0; i < sim->node_count; i++) {
        members |= sim->checker.nodes[i].config.members;
    }
    return (members & ~with_a_wish(sim) & ~sim->checker.ever_voters & ~sim->doomed &
            bit_of(node)) != 0;
}

static void switch_off(struct node *node)
{
    node->sim->doomed |= bit_of(node);
    checker_lost(&node->sim->checker, node->position);
}

static void empty_disk(struct node *node)
{
    sim_trace(node->sim, "n%d loses its disk", node->position);
    node_crash(node);
    node->store->kind->wipe(node->store);
    node->shelf.count = 0;
    node->store->newest = (raft_buf){NULL, 0};
    node->store->newest_index = 0;
}

static void wipe(struct sim *sim, struct node *node, int comes_back)
{
    node_count_pairs(sim, COUNT_wipe_joint, node_midst(node));
    empty_disk(node);
    if (comes_back) {
        COUNT(&sim->counters, disks_wiped);
        sim->wiped |= bit_of(node);
        checker_wiped(&sim->checker, node->position);
        refine_forgotten(&sim->spec, node->position);
        node_restart_in(node, rng_exponential(&sim->rng, sim->plan.down_us));
    } else {
        COUNT(&sim->counters, disks_lost);
        switch_off(node);
    }
}

/* This one, where it may come back or may be lost. Whether it was struck. */
int losses_wipe(struct sim *sim, struct node *node)
{
    int comes_back = may_come_back(node);
    if (comes_back || may_be_lost(node)) {
        wipe(sim, node, comes_back);
        return 1;
    }
    return 0;
}

/* One that may come back, if there is any: there are few. */
struct node *losses_choose(struct sim *sim, struct node *node)
{
    int wanted = rng_chance(&sim->rng, 700000);
    for (int i = 0; i < sim->node_count && wanted; i++) {
        struct node *victim = &sim->nodes[(node->position + i) % sim->node_count];
        if (may_come_back(victim)) {
            return victim;
        }
    }
    return node;
}

/* The server goes on, until a read or its next start finds it. */
int losses_rot(struct sim *sim, struct node *node, raft_index index)
{
    if (!may_be_lost(node) || !node->store->kind->rot(node->store, index)) {
        return 0;
    }
    COUNT(&sim->counters, disks_rotten);
    node_count_pairs(sim, COUNT_rot_joint, node_midst(node));
    sim->doomed |= bit_of(node);
    sim_trace(sim, "something on the disk of n%d goes bad", node->position);
    return 1;
}

/* R61: what the store refuses to give back is not started, and nothing is tried to save it. */
int losses_refused(struct node *node, int result)
{
    struct sim *sim = node->sim;
    int refused = result == RAFT_ECORRUPT || result == RAFT_EVERSION || result == RAFT_EFOREIGN;
    if (!refused || (sim->doomed & bit_of(node)) == 0) {
        return 0;
    }
    COUNT(&sim->counters, starts_refused);
    sim_trace(sim, "n%d does not start: %s", node->position, node->store->error);
    switch_off(node);
    return 1;
}

/*
 * Entries cannot be read back. The host takes a snapshot, for who needs them; or it stops, as one
 * may that trusts its disk no more (R9). Whether there is a reason for it.
 */
int losses_spoil_read(struct node *node)
{
    struct sim *sim = node->sim;
    if ((sim->doomed & bit_of(node)) == 0) {
        return 0;
    }
    COUNT(&sim->counters, reads_corrupt);
    node->snapshot_due = 1;
    if (sim_is_faulty(sim) && rng_chance(&sim->rng, 300000)) {
        COUNT(&sim->counters, hosts_stopped);
        node->dying = 1;
    }
    return 1;
}

/* Who cannot be used any more: switched off, or taken for lost by this leader. */
static uint32_t useless_to(const struct sim *sim, const struct node *leader)
{
    uint32_t useless = sim->checker.absent;
    raft_peer_status peer;
    for (size_t i = 0; raft_get_peer(leader->raft, i, &peer) == RAFT_OK; i++) {
        for (int j = 0; j < sim->node_count; j++) {
            if (sim->nodes[j].id == peer.id && peer.state == RAFT_PEER_LOST) {
                useless |= leader->told_lost & bit_of(&sim->nodes[j]);
            }
        }
    }
    return useless & sim->checker.nodes[leader->position].config.members;
}

/* The operator removes the lost, whom the leader or their hosts have named. Whether all are gone. */
int losses_are_replaced(struct sim *sim)
{
    struct node *leader = members_leader(sim);
    if (leader == NULL || node_is_paused(leader) || leader->status.membership_joint ||
        leader->status.commit_index < leader->status.membership_version) {
        return 0;
    }
    uint32_t useless = useless_to(sim, leader);
    if (useless == 0) {
        sim->wiped &= sim->checker.nodes[leader->position].config.members;
        return 1;
    }
    COUNT_ADD(&sim->counters, lost_removed, members_remove(sim, leader, useless) != 0);
    return 0;
}
