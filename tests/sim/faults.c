/*
 * What goes wrong in a run, how often, and how it is mended. Each kind of fault strikes at random
 * times with a mean distance that the plan has drawn; kinds that the plan leaves out never do.
 *
 * Some states of a server last for a few messages only, and chance alone would hardly ever meet
 * them. So a part of the faults waits until somebody is in one of these states, and strikes there.
 */
#include "sim.h"
#include "store.h"

#include <string.h>

enum fault {
    FAULT_CRASH,
    FAULT_PARTITION,
    FAULT_KIND_LOSS,
    FAULT_CLOG,
    FAULT_REPLAY,
    FAULT_PAUSE,
    FAULT_CLOCK,
    FAULT_HANG,
    FAULT_WRITE,
    FAULT_APPLY,
    FAULT_WIPE,
    FAULT_ROT,
    FAULT_ALLOCATION,
    FAULT_HINT,
    FAULT_CAMPAIGN,
    FAULT_MEMBERS,
    FAULT_HANDOVER,
    FAULT_SNAPSHOT, /* no fault: a host takes one */
    FAULT_STOP,     /* and these are orders of its operator */
    FAULT_OPTIONS,
    FAULT_COUNT
};

static uint64_t mean_distance(const struct plan *plan, enum fault fault)
{
    const uint64_t distances[FAULT_COUNT] = {
        plan->crash_every_us,       plan->partition_every_us, plan->kind_loss_every_us,
        plan->clog_every_us,        plan->replay_every_us,    plan->pause_every_us,
        plan->clock_every_us,       plan->hang_every_us,      plan->write_fault_every_us,
        plan->apply_fault_every_us, plan->wipe_every_us,      plan->rot_every_us,
        plan->allocation_every_us,  plan->hint_every_us,      plan->campaign_every_us,
        plan->members_every_us,     plan->handover_every_us,  plan->snapshot_every_us,
        plan->stop_every_us,        plan->options_every_us};
    return distances[fault];
}

static void schedule(struct sim *sim, enum fault fault)
{
    uint64_t mean = mean_distance(&sim->plan, fault);
    if (mean != 0) {
        sim_schedule(sim, 1 + rng_exponential(&sim->rng, mean), EVENT_FAULT, NULL, (uint64_t)fault,
                     NULL);
    }
}

static uint64_t some_timeouts(struct sim *sim, uint64_t mean)
{
    return rng_exponential(&sim->rng, sim->plan.timeout_ms * 1000 * mean);
}

/* Leaders are struck more often than chance would have it: that is where bugs are. */
static struct node *choose_victim(struct sim *sim)
{
    uint64_t start = rng_below(&sim->rng, (uint64_t)sim->node_count);
    int leader = rng_chance(&sim->rng, 400000);
    for (int i = 0; leader && i < sim->node_count; i++) {
        struct node *node = &sim->nodes[(start + (uint64_t)i) % (uint64_t)sim->node_count];
        if (node->raft != NULL && node->status.role == RAFT_ROLE_LEADER) {
            return node;
        }
    }
    return &sim->nodes[start];
}

static void crash_now(struct node *node)
{
    if (node->raft != NULL) {
        node_crash(node);
        node_restart_in(node, rng_exponential(&node->sim->rng, node->sim->plan.down_us));
    }
}

static void strike_crash(struct sim *sim, struct node *node)
{
    if (rng_chance(&sim->rng, (uint32_t)sim->plan.crash_all_ppm)) {
        COUNT(&sim->counters, crashes_of_all);
        for (int i = 0; i < sim->node_count; i++) {
            crash_now(&sim->nodes[i]);
        }
    } else if (rng_chance(&sim->rng, 300000)) {
        crash_now(node);
    } else if (rng_chance(&sim->rng, 300000)) {
        node->store->kind->plant(node->store, 1);
    } else if (node->raft != NULL) {
        node->crash_in = rng_between(&sim->rng, 1, 12);
    }
}

static void count_partition(struct sim *sim)
{
    unsigned midst = 0;
    for (int i = 0; i < sim->node_count; i++) {
        midst |= node_midst(&sim->nodes[i]);
    }
    node_count_pairs(sim, COUNT_partition_joint, midst);
}

static void strike_pause(struct sim *sim, struct node *node)
{
    if (node->raft != NULL) {
        COUNT(&sim->counters, pauses);
        node_count_pairs(sim, COUNT_pause_joint, node_midst(node));
        node->paused_until = sim->now_us + some_timeouts(sim, 2);
        if (node->poll_at < node->paused_until) {
            node->poll_at = node->paused_until;
        }
        sim_trace(sim, "n%d pauses", node->position);
    }
}

static void strike_clock(struct sim *sim, struct node *node)
{
    uint64_t drift = rng_below(&sim->rng, sim->plan.drift_ppm + 1);
    COUNT_ADD(&sim->counters, clock_leased, (node_midst(node) & NODE_LEASED) != 0);
    switch (sim->plan.lease_sound ? 2 : rng_below(&sim->rng, 3)) {
    case 0:
        COUNT(&sim->counters, clock_jumps);
        node->clock.ms += rng_below(&sim->rng, sim->plan.timeout_ms * 5);
        break;
    case 1:
        COUNT(&sim->counters, clock_backwards);
        node->clock_low = rng_below(&sim->rng, sim->plan.timeout_ms * 3);
        break;
    default:
        node_set_rate(node, rng_chance(&sim->rng, 500000) ? 1000000 + drift : 1000000 - drift);
        break;
    }
    if (node->raft != NULL) {
        node_changed(node);
    }
}

static void strike_hang(struct sim *sim, struct node *node)
{
    COUNT(&sim->counters, disk_hangs);
    node_count_pairs(sim, COUNT_hang_joint, node_midst(node));
    node->hung_until = sim->now_us + some_timeouts(sim, 4);
    sim_trace(sim, "the disk of n%d hangs", node->position);
}

/* The next write fails. */
static void strike_write(struct sim *sim, struct node *node)
{
    node_count_pairs(sim, COUNT_write_joint, node_midst(node));
    node->store->kind->plant(node->store, 0);
}

/* Memory becomes short, or plenty again. */
static void strike_allocation(struct sim *sim, struct node *node)
{
    node->allocation_ppm = node->allocation_ppm == 0 ? (uint32_t)sim->plan.allocation_ppm : 0;
    if (node->allocation_ppm != 0) {
        node_count_pairs(sim, COUNT_allocation_joint, node_midst(node));
    }
}

static void strike_hint(struct sim *sim)
{
    struct node *node = choose_victim(sim);
    node_hint(node, sim->nodes[rng_below(&sim->rng, (uint64_t)sim->node_count)].id);
}

static void strike_handover(struct sim *sim)
{
    struct node *node = choose_victim(sim);
    uint64_t how = rng_below(&sim->rng, 8);
    const struct node *target = &sim->nodes[rng_below(&sim->rng, (uint64_t)sim->node_count)];
    node_hand_over(node, how, rng_chance(&sim->rng, 300000) ? 0 : target->id);
}

static void strike_all(struct sim *sim, enum fault fault)
{
    switch (fault) {
    case FAULT_PARTITION:
        count_partition(sim);
        network_partition(sim);
        break;
    case FAULT_KIND_LOSS:
        network_lose_kind(sim);
        break;
    case FAULT_CLOG:
        network_clog(sim);
        break;
    case FAULT_REPLAY:
        network_replay(sim);
        break;
    case FAULT_HINT:
        strike_hint(sim);
        break;
    case FAULT_MEMBERS:
        members_change(sim);
        break;
    case FAULT_HANDOVER:
        strike_handover(sim);
        break;
    default:
        snapshots_take(&sim->nodes[rng_below(&sim->rng, (uint64_t)sim->node_count)]);
        break;
    }
}

static void strike(struct sim *sim, enum fault fault, struct node *node)
{
    switch (fault) {
    case FAULT_CRASH:
        strike_crash(sim, node);
        break;
    case FAULT_PAUSE:
        strike_pause(sim, node);
        break;
    case FAULT_CLOCK:
        strike_clock(sim, node);
        break;
    case FAULT_HANG:
        strike_hang(sim, node);
        break;
    case FAULT_WRITE:
        strike_write(sim, node);
        break;
    case FAULT_APPLY:
        node->fail_apply = 1;
        break;
    case FAULT_WIPE:
        losses_wipe(sim, losses_choose(sim, node));
        break;
    case FAULT_ROT:
        losses_rot(sim, node, 0);
        break;
    case FAULT_ALLOCATION:
        strike_allocation(sim, node);
        break;
    case FAULT_CAMPAIGN:
        node_campaign(node);
        break;
    case FAULT_STOP:
        COUNT(&sim->counters, stops);
        node_order(node, raft_stop);
        break;
    case FAULT_OPTIONS:
        node_set_options(node, rng_chance(&sim->rng, 500000));
        break;
    default:
        strike_all(sim, fault);
        break;
    }
}

/* ---- Ambushes -------------------------------------------------------------------------------- */

/* A run bears few of them. */
static int is_rare(uint64_t fault)
{
    return fault == FAULT_WIPE || fault == FAULT_ROT;
}

/* A state that does not last and that this run can bring about, or 0. */
static unsigned choose_state(struct sim *sim, int rare)
{
    const struct plan *plan = &sim->plan;
    unsigned states[8];
    size_t count = 0;
    if (plan->snapshot_every_us != 0 || plan->snapshot_log_bytes != 0) {
        for (int i = 0; i < (rare ? 3 : 2); i++) { /* the shortest of all */
            states[count++] = NODE_INSTALLING;
            states[count++] = plan->ship ? NODE_INSTALLING : NODE_SENDING;
        }
    }
    if (plan->handover_every_us != 0) {
        states[count++] = NODE_TRANSFERRING;
    }
    if (plan->members_every_us != 0) {
        states[count++] = NODE_JOINT;
    }
    return count == 0 ? 0 : states[rng_below(&sim->rng, count)];
}

static int can_wait(enum fault fault)
{
    return fault == FAULT_CRASH || fault == FAULT_PARTITION || fault == FAULT_PAUSE ||
           fault == FAULT_HANG || fault == FAULT_WRITE || fault == FAULT_WIPE ||
           fault == FAULT_ROT || fault == FAULT_ALLOCATION;
}

/* Whether the fault waits for its moment instead of striking at once. */
static int lays_ambush(struct sim *sim, enum fault fault)
{
    int frequent = fault == FAULT_CRASH || fault == FAULT_PARTITION;
    int rare = is_rare((uint64_t)fault);
    if (!can_wait(fault) || !rng_chance(&sim->rng, frequent ? 400000 : rare ? 850000 : 700000)) {
        return 0;
    }
    unsigned state = choose_state(sim, rare);
    if (state == 0 || sim->ambush_count == AMBUSHES) {
        return 0;
    }
    sim->ambushes[sim->ambush_count++] = (struct ambush){(uint64_t)fault, state};
    return 1;
}

void faults_lie_in_wait(struct node *node)
{
    struct sim *sim = node->sim;
    if (sim->ambush_count == 0 || !sim_is_faulty(sim)) {
        return;
    }
    unsigned midst = node_midst(node);
    for (size_t i = 0; i < sim->ambush_count; i++) {
        if ((sim->ambushes[i].state & midst) != 0) {
            int at_once = is_rare(sim->ambushes[i].fault) || rng_chance(&sim->rng, 500000);
            uint64_t mean = at_once ? 0 : sim->plan.delay_us;
            sim_schedule(sim, 1 + rng_exponential(&sim->rng, mean), EVENT_AMBUSH, node,
                         sim->ambushes[i].fault << 8 | sim->ambushes[i].state, NULL);
            sim->ambushes[i--] = sim->ambushes[--sim->ambush_count];
        }
    }
}

/* Not every server can be lost at every time: then this waits for another one. */
static void strike_disk(struct sim *sim, struct node *node, uint64_t fault, unsigned state)
{
    int struck = fault == FAULT_WIPE ? losses_wipe(sim, node) : losses_rot(sim, node, 0);
    if (!struck && sim->ambush_count < AMBUSHES) {
        sim->ambushes[sim->ambush_count++] = (struct ambush){fault, state};
    }
}

/* A crash comes at once, at one of the next steps of the host, or at the next with a snapshot. */
void faults_spring(struct node *node, uint64_t value)
{
    struct sim *sim = node->sim;
    uint64_t fault = value >> 8;
    if (!sim_is_faulty(sim)) {
        return;
    }
    if (fault == FAULT_CRASH && rng_chance(&sim->rng, 300000)) {
        crash_now(node);
    } else if (fault == FAULT_CRASH && rng_chance(&sim->rng, 500000)) {
        node->crash_in_snapshot = 1;
    } else if (fault == FAULT_CRASH) {
        node->crash_in = rng_between(&sim->rng, 1, 6);
    } else if (is_rare(fault)) {
        strike_disk(sim, node, fault, (unsigned)(value & 0xff));
    } else {
        strike(sim, (enum fault)fault, node);
    }
}

/* ---- Times ----------------------------------------------------------------------------------- */

void faults_begin(struct sim *sim)
{
    for (int fault = 0; fault < FAULT_COUNT; fault++) {
        schedule(sim, (enum fault)fault);
    }
}

void faults_strike(struct sim *sim, uint64_t fault)
{
    if (sim_is_faulty(sim)) {
        if (!lays_ambush(sim, (enum fault)fault)) {
            strike(sim, (enum fault)fault, choose_victim(sim));
        }
        schedule(sim, (enum fault)fault);
    }
}

/* A node whose host, disk, clock and memory work again. One that is down comes back at once. */
static void heal_node(struct node *node)
{
    node->slowness = 1;
    node->sync_at = 0;
    sim_schedule(node->sim, 1, EVENT_SYNC, node, node->write_last, NULL);
    node->crash_in = 0;
    node->crash_in_snapshot = 0;
    node->clock_low = 0;
    node->paused_until = 0;
    node->poll_soon = 0;
    node->hung_until = 0;
    node->fail_apply = 0;
    node->allocation_ppm = 0;
    node_set_rate(node, 1000000);
    node->store->kind->mend(node->store);
    if (node->raft != NULL && node->status.error != RAFT_OK) {
        node_crash(node);
    }
    if (node->raft == NULL) {
        node_start(node);
    } else {
        node_set_options(node, 0);
    }
}

/* R54: who sleeps under a leader that cannot be reached any more is told so by its host. */
static void tell_the_core(struct sim *sim)
{
    for (int i = 0; i < sim->node_count; i++) {
        for (int j = 0; j < sim->node_count; j++) {
            if (sim->core[i] && !sim->core[j]) {
                node_hint(&sim->nodes[i], sim->nodes[j].id);
            }
        }
    }
}

/* A random quorum is healed; the others are left down, cut off, or in their bad ways. */
void faults_heal_core(struct sim *sim)
{
    /* A leader outside, over wild links, could bring in a membership that needs those outside. */
    int wild = sim->plan.core_wild && plan_is_protected(&sim->plan) &&
               sim->plan.members_every_us == 0 && sim->doomed == 0;
    uint32_t needed = members_needed(sim);
    for (int i = 0; i < sim->node_count; i++) {
        sim->core[i] = (needed >> i & 1) != 0;
    }
    network_heal(sim, sim->core, wild);
    for (int i = 0; i < sim->node_count; i++) {
        if (sim->core[i]) {
            heal_node(&sim->nodes[i]);
        } else if (rng_chance(&sim->rng, 300000)) {
            node_crash(&sim->nodes[i]);
        }
    }
    if (sim->plan.quiesce) {
        tell_the_core(sim);
    }
}

void faults_heal_all(struct sim *sim)
{
    for (int i = 0; i < sim->node_count; i++) {
        sim->core[i] = 1;
    }
    network_heal(sim, sim->core, 0);
    for (int i = 0; i < sim->node_count; i++) {
        if ((sim->doomed >> i & 1) != 0) {
            node_crash(&sim->nodes[i]); /* its disk is looked at: it starts, or never again */
        }
        heal_node(&sim->nodes[i]);
    }
}
