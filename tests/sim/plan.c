/*
 * From a seed to the options of a run; see plan.h.
 */
#include "plan.h"

#include "random.h"

#include <inttypes.h>
#include <string.h>

#define HALF 500000

static uint64_t flag(struct rng *rng, uint32_t ppm)
{
    return rng_chance(rng, ppm) ? 1 : 0;
}

static uint64_t choose_nodes(struct rng *rng)
{
    static const uint8_t common[16] = {3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 4, 2, 1, 7, 6};
    return common[rng_below(rng, 16)];
}

/* Zero, or with this probability a number between the two. */
static uint64_t maybe(struct rng *rng, uint32_t ppm, uint64_t low, uint64_t high)
{
    int chosen = rng_chance(rng, ppm);
    uint64_t drawn = rng_between(rng, low, high);
    return chosen ? drawn : 0;
}

/* Small half the time, so that rare numbers near the lower end are common enough. */
static uint64_t skewed(struct rng *rng, uint64_t low, uint64_t high)
{
    uint64_t middle = low + (high - low) / 8;
    return rng_chance(rng, HALF) ? rng_between(rng, low, middle) : rng_between(rng, low, high);
}

static void draw_engine(struct plan *plan, struct rng *rng)
{
    plan->nodes = choose_nodes(rng);
    plan->timeout_ms = rng_between(rng, 20, 300);
    plan->heartbeat_ms = maybe(rng, HALF, 1 + plan->timeout_ms / 10, plan->timeout_ms / 3);
    plan->no_pre_vote = flag(rng, 250000);
    plan->no_stickiness = flag(rng, 200000);
    plan->no_check_quorum = flag(rng, 150000);
    plan->apply_ahead = flag(rng, 300000);
    plan->wide_ids = flag(rng, 300000);
    plan->log_bytes_max = maybe(rng, 30000, 2000, 60000);
    plan->uncommitted_bytes_max = maybe(rng, 250000, 300, 20000);
    plan->entry_bytes_max = maybe(rng, HALF, 64, 2000);
    plan->append_bytes_max = maybe(rng, HALF, 100, 3000);
    plan->apply_bytes_max = maybe(rng, 400000, 100, 3000);
    plan->inflight_messages_max = maybe(rng, HALF, 1, 6);
    plan->inflight_bytes_max = maybe(rng, 300000, 200, 5000);
    plan->reads_max = maybe(rng, 250000, 1, 8);
    plan->spares =
        maybe(rng, HALF, 1, SIM_NODES_MAX - plan->nodes < 3 ? SIM_NODES_MAX - plan->nodes : 3);
    plan->witness = plan->spares > 0 ? flag(rng, 400000) : 0;
}

/*
 * Two clocks whose rates differ from the true one by d each differ by 2d/(1+d) of the faster. Where
 * that is beyond the bound of the membership, or clocks jump, leases are not to be relied on.
 */
static void draw_leases(struct plan *plan, struct rng *rng)
{
    uint64_t bound = 100;
    plan->lease_ms = maybe(rng, HALF, 1, plan->timeout_ms * 2);
    plan->client_lease_ppm = maybe(rng, 800000, 100000, 900000);
    plan->lease_drift_permille = maybe(rng, HALF, 1, 500);
    bound = plan->lease_drift_permille != 0 ? plan->lease_drift_permille : bound;
    plan->lease_sound = plan->lease_ms != 0 ? flag(rng, 700000) : 0;
    if (plan->lease_sound) {
        uint64_t most = bound * 1000000 / (2000 - bound); /* d at the very bound */
        plan->drift_ppm = plan->drift_ppm > most || rng_chance(rng, HALF) ? most : plan->drift_ppm;
    }
}

static void draw_orders(struct plan *plan, struct rng *rng)
{
    uint64_t t_us = plan->timeout_ms * 1000;
    plan->incarnation = flag(rng, 600000);
    plan->forward_bytes_max = plan->incarnation ? maybe(rng, 600000, 300, 20000) : 0;
    plan->client_forward_ppm = plan->forward_bytes_max != 0 ? rng_between(rng, 10000, 300000) : 0;
    plan->quiesce = flag(rng, 150000);
    plan->disk_timeout_ms = maybe(rng, 300000, plan->timeout_ms / 2, plan->timeout_ms * 4);
    if (!plan->calm) {
        plan->stop_every_us = maybe(rng, 200000, t_us * 5, t_us * 40);
        plan->options_every_us = maybe(rng, 200000, t_us, t_us * 20);
    }
}

/* With a witness any server may hold the only copy of what is committed (R56): none may be lost. */
static void draw_losses(struct plan *plan, struct rng *rng)
{
    uint64_t t_us = plan->timeout_ms * 1000;
    if (!plan->calm && !plan->witness) {
        plan->wipe_every_us = maybe(rng, 400000, t_us, t_us * 20);
        plan->rot_every_us = plan->read_log ? maybe(rng, 600000, t_us * 10, t_us * 80)
                                            : maybe(rng, 350000, t_us, t_us * 20);
    }
}

/* Snapshots are small, so that many are taken; none where nothing takes them. */
static void draw_snapshots(struct plan *plan, struct rng *rng)
{
    uint64_t t_us = plan->timeout_ms * 1000;
    int taken = rng_chance(rng, 850000);
    plan->read_log = flag(rng, 300000);
    plan->ship = flag(rng, 250000);
    plan->snapshot_log_bytes = maybe(rng, taken ? 600000 : 0, 500, 20000);
    plan->snapshot_every_us = maybe(rng, taken ? 600000 : 0, t_us, t_us * 20);
    plan->trailing_bytes = maybe(rng, 800000, 1, rng_chance(rng, HALF) ? 300 : 4000);
    plan->chunk_bytes_max = maybe(rng, 700000, 16, 1000);
    plan->snapshot_bytes = skewed(rng, 1, 3000);
    plan->snapshot_us = skewed(rng, 1, t_us);
    plan->chunk_pending_ppm = (uint64_t[]){0, HALF, 1000000}[rng_below(rng, 3)];
    plan->chunk_fail_ppm = maybe(rng, HALF, 1000, 100000);
    plan->fetch_pending_ppm = (uint64_t[]){0, HALF, 1000000}[rng_below(rng, 3)];
    plan->fetch_fail_ppm = maybe(rng, HALF, 1000, 100000);
    if (plan->read_log && rng_chance(rng, 600000)) {
        plan->log_bytes_max = rng_between(rng, 8000, 60000);
    }
    if (plan->log_bytes_max != 0 && plan->trailing_bytes > plan->log_bytes_max / 2) {
        plan->trailing_bytes = plan->log_bytes_max / 2;
    }
}

/* A healthy network, a healthy disk, a busy client. */
static void draw_weather(struct plan *plan, struct rng *rng)
{
    uint64_t t_us = plan->timeout_ms * 1000;
    static const uint32_t encoded[4] = {0, 1000000, 1000000, HALF};
    plan->encoded_ppm = encoded[rng_below(rng, 4)];
    plan->delay_us = skewed(rng, t_us / 1000, t_us / 40);
    plan->poll_delay_us = skewed(rng, 1, t_us / 200);
    plan->poll_late_us = skewed(rng, 1, t_us / 200);
    plan->persist_ok_ppm = (uint64_t[]){0, HALF, 1000000}[rng_below(rng, 3)];
    plan->sync_us = skewed(rng, 1, t_us / 60);
    plan->told_us = skewed(rng, 1, t_us / 60);
    plan->apply_pending_ppm = (uint64_t[]){0, 300000, 1000000}[rng_below(rng, 3)];
    plan->apply_us = skewed(rng, 1, t_us / 20);
    plan->client_us = skewed(rng, t_us / 20, t_us);
    plan->client_stray_ppm = rng_between(rng, 20000, 400000);
    plan->client_read_ppm = maybe(rng, 700000, 50000, 600000);
    plan->client_batch_max = skewed(rng, 1, 12);
    plan->client_bytes_max = skewed(rng, 16, 700);
    plan->reentrant_ppm = maybe(rng, 300000, 1000, 100000);
}

static void draw_network_faults(struct plan *plan, struct rng *rng)
{
    uint64_t t_us = plan->timeout_ms * 1000;
    if (rng_chance(rng, 300000)) {
        plan->delay_us = rng_between(rng, t_us / 20, t_us);
    }
    plan->delay_tail_ppm = maybe(rng, HALF, 1000, 50000);
    plan->drop_ppm = maybe(rng, HALF, 2000, rng_chance(rng, 200000) ? 500000 : 80000);
    plan->duplicate_ppm = maybe(rng, HALF, 2000, 200000);
    plan->damage_ppm = maybe(rng, 400000, 500, 20000);
    plan->foreign_ppm = maybe(rng, 300000, 500, 10000);
    plan->partition_every_us = maybe(rng, 600000, t_us * 2, t_us * 30);
    plan->kind_loss_every_us = maybe(rng, 250000, t_us * 4, t_us * 40);
    plan->clog_every_us = maybe(rng, 300000, t_us * 2, t_us * 20);
    plan->replay_every_us = maybe(rng, 400000, t_us / 20, t_us * 2);
    plan->hint_every_us = maybe(rng, 300000, t_us, t_us * 10);
    plan->core_wild = flag(rng, 300000);
    plan->old_mail = flag(rng, HALF);
}

static void draw_node_faults(struct plan *plan, struct rng *rng)
{
    uint64_t t_us = plan->timeout_ms * 1000;
    plan->crash_every_us = maybe(rng, 700000, t_us * 2, t_us * 25);
    plan->crash_all_ppm = maybe(rng, 400000, 20000, 300000);
    plan->down_us = skewed(rng, t_us / 20, t_us * 10);
    plan->pause_every_us = maybe(rng, 350000, t_us * 2, t_us * 20);
    plan->clock_every_us = maybe(rng, 300000, t_us * 2, t_us * 20);
    plan->slow_factor = maybe(rng, 250000, 2, 30);
    plan->drift_ppm = maybe(rng, 400000, 1000, 200000);
    plan->hang_every_us = maybe(rng, 350000, t_us * 4, t_us * 30);
    plan->write_fault_every_us = maybe(rng, 400000, t_us * 4, t_us * 30);
    plan->apply_fault_every_us = maybe(rng, 100000, t_us * 10, t_us * 40);
    plan->allocation_every_us = maybe(rng, 400000, t_us * 2, t_us * 20);
    plan->allocation_ppm = rng_between(rng, 1000, 200000);
    plan->campaign_every_us = maybe(rng, 200000, t_us * 2, t_us * 20);
    if (rng_chance(rng, 300000)) {
        plan->sync_us = rng_between(rng, t_us / 20, t_us);
        plan->told_us = rng_between(rng, 1, t_us / 4);
    }
    if (rng_chance(rng, 200000)) {
        plan->poll_delay_us = rng_between(rng, t_us / 100, t_us / 5);
    }
}

struct plan plan_draw(uint64_t seed, enum plan_store store)
{
    struct plan plan;
    struct rng rng = {mix64(seed ^ UINT64_C(0x706c616e))};
    memset(&plan, 0, sizeof plan);
    plan.seed = seed;
    draw_engine(&plan, &rng);
    draw_weather(&plan, &rng);
    int wal = rng_chance(&rng, 200000);
    draw_snapshots(&plan, &rng);
    plan.store = store == STORE_BOTH ? (uint64_t)wal : (uint64_t)store;
    plan.repeat = flag(&rng, 40000);
    plan.calm = flag(&rng, 40000);
    plan.fault_us = plan.timeout_ms * 1000 * skewed(&rng, 30, 400);
    plan.members_every_us = plan.spares > 0 || rng_chance(&rng, 200000)
                                ? plan.timeout_ms * 1000 * skewed(&rng, 1, 20)
                                : 0;
    if (plan.calm) {
        plan.no_pre_vote = 0;
        plan.no_check_quorum = 0;
        plan.no_stickiness = 0;
        plan.log_bytes_max = 0;
    } else {
        draw_network_faults(&plan, &rng);
        draw_node_faults(&plan, &rng);
        plan.handover_every_us = plan.timeout_ms * 1000 * maybe(&rng, 300000, 1, 20);
        plan.no_pull = flag(&rng, 200000);
    }
    draw_leases(&plan, &rng);
    draw_orders(&plan, &rng);
    plan.zones = plan.nodes >= 3 ? flag(&rng, 60000) : 0;
    draw_losses(&plan, &rng);
    return plan;
}

void plan_print(const struct plan *plan, FILE *file)
{
    fprintf(file, "options of seed %" PRIu64 ":", plan->seed);
#define X(name)                                                                                    \
    if (plan->name != 0) {                                                                         \
        fprintf(file, " %s=%" PRIu64, #name, plan->name);                                          \
    }
    PLAN_NUMBERS(X)
#undef X
    fputc('\n', file);
}

int plan_is_protected(const struct plan *plan)
{
    return !plan->no_pre_vote && !plan->no_check_quorum && !plan->no_stickiness;
}
