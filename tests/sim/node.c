/*
 * A host of the engine, as a good host is written, and everything that can befall it.
 *
 * A crash may come between any two steps of a callback. raft_free is not legal there, so the host
 * dies instead: from that step on whatever the engine does has no effect on anybody, and the node
 * is buried when the call returns.
 */
#include "sim.h"
#include "store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TRUE_RATE  ((uint64_t)1 << 20)
#define UNSET_BYTE 0xdb
#define FAR_MS     UINT64_C(1000000000) /* a deadline further away than this is no deadline */

/* ---- Clock ----------------------------------------------------------------------------------- */

uint64_t node_now_ms(const struct node *node)
{
    uint64_t passed = node->sim->now_us - node->clock.at_us;
    return node->clock.ms + passed * node->clock.rate / (1000 * TRUE_RATE);
}

/* The virtual time at which the node's clock shows ms, now at the earliest. */
static uint64_t time_of(const struct node *node, uint64_t ms)
{
    uint64_t now_ms = node_now_ms(node);
    if (ms <= now_ms) {
        return node->sim->now_us;
    }
    if (ms - now_ms > FAR_MS) {
        return NEVER;
    }
    uint64_t needed = (ms - node->clock.ms) * 1000 * TRUE_RATE;
    uint64_t at_us = node->clock.at_us + (needed + node->clock.rate - 1) / node->clock.rate;
    return at_us > node->sim->now_us ? at_us : node->sim->now_us;
}

/* rate: TRUE_RATE times this many millionths. */
void node_set_rate(struct node *node, uint64_t millionths)
{
    node->clock.ms = node_now_ms(node);
    node->clock.at_us = node->sim->now_us;
    node->clock.rate =
        TRUE_RATE / 1000000 * millionths + TRUE_RATE % 1000000 * millionths / 1000000;
}

int node_is_paused(const struct node *node)
{
    return node->paused_until > node->sim->now_us;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

union allocation {
    size_t size;
    max_align_t align;
};

static int allocation_fails(struct node *node)
{
    if (!rng_chance(&node->allocation_rng, node->allocation_ppm)) {
        return 0;
    }
    COUNT(&node->sim->counters, allocations_failed);
    return 1;
}

/* What is used after it was given back, or before it was set, shall look like nothing sensible. */
static void give_back(struct node *node, union allocation *block)
{
    if (block != NULL) {
        node->allocated -= block->size;
        memset(block + 1, UNSET_BYTE, block->size);
        free(block);
    }
}

static void *node_alloc(void *host, void *p, size_t old_size, size_t new_size)
{
    struct node *node = host;
    union allocation *block = p == NULL ? NULL : (union allocation *)p - 1;
    if ((block == NULL ? 0 : block->size) != old_size) {
        checker_fail(&node->sim->checker, "memory", "node %d gives a block of %zu bytes as %zu",
                     node->position, block == NULL ? 0 : block->size, old_size);
    }
    if (new_size == 0) {
        give_back(node, block);
        return NULL;
    }
    if (allocation_fails(node)) {
        return NULL;
    }
    union allocation *fresh = malloc(sizeof *fresh + new_size);
    if (fresh == NULL) {
        abort();
    }
    memset(fresh + 1, UNSET_BYTE, new_size);
    if (block != NULL) {
        memcpy(fresh + 1, block + 1, old_size < new_size ? old_size : new_size);
        give_back(node, block);
    }
    fresh->size = new_size;
    node->allocated += new_size;
    return fresh + 1;
}

/* ---- Observation ----------------------------------------------------------------------------- */

/* Tells the observer of the membership, where it is another than it was told last. */
static void observe_membership(struct node *node)
{
    raft_member members[RAFT_MEMBERS_MAX];
    raft_membership membership;
    if (node->status.membership_version == node->told_version &&
        node->status.membership_joint == node->told_joint) {
        return;
    }
    node->told_version = node->status.membership_version;
    node->told_joint = node->status.membership_joint;
    raft_membership_init(&membership);
    if (raft_get_membership(node->raft, &membership, members, RAFT_MEMBERS_MAX) == RAFT_OK) {
        checker_membership(&node->sim->checker, node->position, &node->status, &membership);
    }
}

/* What the observer knows of the disk, for the specification (V25). */
static void observe_disk(struct node *node)
{
    const struct checker_node *seen = &node->sim->checker.nodes[node->position];
    refine_durable(&node->sim->spec, node->position, &seen->durable_state, &seen->durable);
}

/* Write by write: each is a step. */
static void observe_durable(struct node *node, uint64_t seq)
{
    const struct checker_node *seen = &node->sim->checker.nodes[node->position];
    while (seen->pending_count > 0 && seen->pending[0].seq <= seq) {
        checker_durable(&node->sim->checker, node->position, seen->pending[0].seq);
        observe_disk(node);
    }
}

static void observe(struct node *node)
{
    const struct checker_node *seen = &node->sim->checker.nodes[node->position];
    memset(&node->status, 0, sizeof node->status);
    node->status.size = sizeof node->status;
    raft_get_status(node->raft, &node->status);
    checker_time(&node->sim->checker, node->position, node_now_ms(node));
    observe_membership(node);
    checker_observed(&node->sim->checker, node->position, &node->status);
    refine_observed(&node->sim->spec, node->position, &node->status, &seen->config, &seen->issued);
}

/* A callback begins: whether there is still a host to be called. */
int node_enter(struct node *node)
{
    if (node->dying) {
        return 0;
    }
    observe(node);
    return 1;
}

/* A step of a callback: whether the host dies here. */
int node_dies_here(struct node *node, enum counter place)
{
    if (node->dying) {
        return 1;
    }
    int here = node->crash_in_snapshot && place == COUNT_crashes_in_snapshot;
    if (!here && (node->crash_in == 0 || --node->crash_in > 0)) {
        return 0;
    }
    node->dying = 1;
    node->sim->counters.value[place]++;
    return 1;
}

int node_host_fails(struct node *node, uint64_t ppm)
{
    if (!sim_is_faulty(node->sim) || !rng_chance(&node->sim->rng, (uint32_t)ppm)) {
        return 0;
    }
    COUNT(&node->sim->counters, host_failures);
    return 1;
}

int node_is_witness(const struct node *node)
{
    return (node->sim->checker.setup.witnesses >> node->position & 1) != 0;
}

static int is_sending(const struct node *node)
{
    for (int i = 0; i < node->sim->node_count; i++) {
        if (node->sending[i] != 0 && node->status.role == RAFT_ROLE_LEADER) {
            return 1;
        }
    }
    return 0;
}

unsigned node_midst(const struct node *node)
{
    const raft_status *status = &node->status;
    if (node->raft == NULL || status->error != RAFT_OK) {
        return 0;
    }
    return (status->membership_joint ? NODE_JOINT : 0u) |
           (status->transfer_target != 0 ? NODE_TRANSFERRING : 0u) |
           (status->installing ? NODE_INSTALLING : 0u) | (is_sending(node) ? NODE_SENDING : 0u) |
           (status->lease_until_ms > node_now_ms(node) ? NODE_LEASED : 0u);
}

void node_count_pairs(struct sim *sim, enum counter joint, unsigned midst)
{
    for (int i = 0; i < NODE_STATES; i++) {
        sim->counters.value[(int)joint + i] += midst >> i & 1;
    }
}

static void die_of_disk(struct node *node)
{
    node->dying = 1;
    COUNT(&node->sim->counters, disk_crashes);
}

/* ---- persist --------------------------------------------------------------------------------- */

static void trace_write(struct node *node, const raft_write *write)
{
    if (node->sim->trace) {
        uint64_t first = write->range_count == 0 ? 0 : write->ranges[0].first;
        uint64_t count = 0;
        for (size_t i = 0; i < write->range_count; i++) {
            count += write->ranges[i].count;
        }
        sim_trace(node->sim,
                  "n%d write %" PRIu64 ": term %" PRIu64 " vote %" PRIu64 " accepted %" PRIu64
                  " truncate %" PRIu64 " append %" PRIu64 "+%" PRIu64,
                  node->position, write->seq, write->has_state ? write->state.term : 0,
                  write->has_state ? write->state.vote : 0,
                  write->has_state ? write->state.accepted_round : 0, write->truncate_from, first,
                  count);
    }
}

static void record_write(struct node *node, const raft_write *write)
{
    struct sim *sim = node->sim;
    sim_record(sim, hash_join(write->seq, write->has_state ? write->state.term : 0));
    sim_record(sim, hash_join(write->truncate_from, write->has_state ? write->state.vote : 0));
    for (size_t i = 0; i < write->range_count; i++) {
        const raft_range *range = &write->ranges[i];
        sim_record(sim, hash_bytes(hash_join(range->first, range->term), range->data, range->size));
    }
}

/* Syncs a write and reports it at once, as a host without asynchronous storage does. */
static int persist_now(struct node *node, const raft_write *write)
{
    int result = node->store->kind->sync(node->store, write->seq);
    if (node->store->kind->is_off(node->store)) {
        die_of_disk(node);
        return RAFT_PENDING;
    }
    if (result != RAFT_OK) {
        COUNT(&node->sim->counters, writes_failed);
        return result;
    }
    node->write_synced = write->seq;
    if (node_dies_here(node, COUNT_crashes_after_sync)) {
        return RAFT_PENDING;
    }
    node->write_told = write->seq;
    observe_durable(node, write->seq);
    return RAFT_OK;
}

static void schedule_sync(struct node *node, uint64_t seq)
{
    struct sim *sim = node->sim;
    int calm = !sim_is_faulty(sim);
    uint64_t mean = calm ? sim->plan.timeout_ms * 1000 / 400 : sim->plan.sync_us * node->slowness;
    uint64_t at = sim->now_us + 1 + rng_exponential(&sim->rng, mean);
    if (at < node->sync_at) {
        at = node->sync_at;
    }
    node->sync_at = at;
    sim_schedule(sim, at - sim->now_us, EVENT_SYNC, node, seq, NULL);
}

static int node_persist(void *host, const raft_write *write)
{
    struct node *node = host;
    struct sim *sim = node->sim;
    if (!node_enter(node) || node_dies_here(node, COUNT_crashes_in_persist)) {
        return RAFT_PENDING;
    }
    COUNT(&sim->counters, writes);
    trace_write(node, write);
    record_write(node, write);
    if (node->status.error != RAFT_OK || write->seq != node->write_last + 1) {
        checker_fail(&sim->checker, "R9",
                     "node %d writes %" PRIu64 " after %" PRIu64 ", its error is %d",
                     node->position, write->seq, node->write_last, node->status.error);
    }
    checker_wrote(&sim->checker, node->position, write);
    refine_wrote(&sim->spec, node->position, &sim->checker.nodes[node->position].issued);
    int result = node->store->kind->write(node->store, write);
    node->write_last = write->seq;
    node->issued_ms[write->seq % RAFT_WRITES_MAX] = node_now_ms(node);
    if (result < 0) {
        COUNT(&sim->counters, writes_failed);
        return result;
    }
    if (node_dies_here(node, COUNT_crashes_in_persist)) {
        return RAFT_PENDING;
    }
    if (node->write_told + 1 == write->seq && node->hung_until <= sim->now_us &&
        rng_chance(&sim->rng, (uint32_t)sim->plan.persist_ok_ppm)) {
        return persist_now(node, write);
    }
    COUNT(&sim->counters, writes_pending);
    schedule_sync(node, write->seq);
    return RAFT_PENDING;
}

static void storage_failed(struct node *node)
{
    COUNT(&node->sim->counters, writes_failed);
    sim_trace(node->sim, "n%d write %" PRIu64 " failed", node->position, node->write_told + 1);
    raft_persisted(node->raft, node->write_last, RAFT_ESTORAGE);
    node->write_told = node->write_last;
    node_changed(node);
}

void node_synced(struct node *node, uint64_t seq)
{
    struct sim *sim = node->sim;
    if (seq <= node->write_synced || node->status.error != RAFT_OK) {
        return;
    }
    if (node->hung_until > sim->now_us) {
        sim_schedule(sim, node->hung_until - sim->now_us, EVENT_SYNC, node, seq, NULL);
        return;
    }
    int result = node->store->kind->sync(node->store, seq);
    if (node->store->kind->is_off(node->store)) {
        die_of_disk(node);
        node_changed(node);
        return;
    }
    if (result != RAFT_OK) {
        storage_failed(node);
        return;
    }
    node->write_synced = seq;
    uint64_t mean = sim_is_faulty(sim) ? sim->plan.told_us : 1;
    sim_schedule(sim, 1 + rng_exponential(&sim->rng, mean), EVENT_PERSISTED, node, seq, NULL);
}

/* Completions are cumulative: the word of a later write covers the earlier ones. */
void node_persisted(struct node *node, uint64_t seq)
{
    if (seq <= node->write_told || node->status.error != RAFT_OK) {
        return;
    }
    if (node_dies_here(node, COUNT_crashes_after_sync)) {
        node_changed(node);
        return;
    }
    sim_trace(node->sim, "n%d write %" PRIu64 " durable", node->position, seq);
    node->write_told = seq;
    observe_durable(node, seq);
    int result = raft_persisted(node->raft, seq, RAFT_OK);
    if (result != RAFT_OK) {
        checker_fail(&node->sim->checker, "API", "raft_persisted: %s", raft_strerror(result));
    }
    node_changed(node);
}

/* ---- send ------------------------------------------------------------------------------------ */

static void record_message(struct sim *sim, const raft_message *message)
{
    sim_record(sim, hash_join((uint64_t)message->kind << 1 | (message->refused != 0), message->to));
    sim_record(sim, hash_join(message->term, message->round));
    sim_record(sim, hash_join(message->index, message->commit));
    sim_record(sim, hash_join(message->index_term, message->refused_index));
}

static void node_send(void *host, const raft_message *message)
{
    struct node *node = host;
    if (!node_enter(node) || node_dies_here(node, COUNT_crashes_in_send)) {
        return;
    }
    if (node->status.error != RAFT_OK) {
        checker_fail(&node->sim->checker, "R9", "node %d sends after error %d", node->position,
                     node->status.error);
    }
    record_message(node->sim, message);
    checker_sent(&node->sim->checker, node->position, message);
    refine_sent(&node->sim->spec, node->position, message);
    network_send(node->sim, node, message);
    node_dies_here(node, COUNT_crashes_in_send);
}

/* ---- apply and notify ------------------------------------------------------------------------ */

/* What the state machine makes of entries: a chain of all of them. */
static void run_machine(struct node *node, const raft_range *range)
{
    raft_range rest = *range;
    raft_entry entry;
    while (raft_range_next(&rest, &entry)) {
        node->machine_chain = entry_chain(node->machine_chain, entry.term, entry_content(&entry));
        node->machine_index = entry.index;
    }
}

static int apply_now(struct node *node, const raft_range *range, raft_index last)
{
    run_machine(node, range);
    checker_applied(&node->sim->checker, node->position, last);
    client_reenter(node);
    return RAFT_OK;
}

static int node_apply(void *host, const raft_range *range)
{
    struct node *node = host;
    struct sim *sim = node->sim;
    if (!node_enter(node) || node_dies_here(node, COUNT_crashes_in_apply)) {
        return RAFT_PENDING;
    }
    raft_index last = range->first + range->count - 1;
    sim_record(sim, hash_bytes(hash_join(range->first, range->term), range->data, range->size));
    sim_trace(sim, "n%d applies %" PRIu64 "..%" PRIu64 " of term %" PRIu64, node->position,
              range->first, last, range->term);
    checker_apply(&sim->checker, node->position, range);
    COUNT_ADD(&sim->counters, entries_applied, range->count);
    if (node->fail_apply) {
        node->fail_apply = 0;
        COUNT(&sim->counters, applies_failed);
        return -1;
    }
    if (node_dies_here(node, COUNT_crashes_in_apply)) {
        return RAFT_PENDING;
    }
    if (!rng_chance(&sim->rng, (uint32_t)sim->plan.apply_pending_ppm)) {
        return apply_now(node, range, last);
    }
    COUNT(&sim->counters, applies_pending);
    node->applying = *range;
    node->applying_hash = hash_bytes(0, range->data, range->size);
    uint64_t mean = sim_is_faulty(sim) ? sim->plan.apply_us : 100;
    sim_schedule(sim, 1 + rng_exponential(&sim->rng, mean), EVENT_APPLIED, node, last, NULL);
    return RAFT_PENDING;
}

void node_applied(struct node *node, raft_index index)
{
    struct sim *sim = node->sim;
    const raft_range *range = &node->applying;
    if (node->status.error != RAFT_OK || range->count == 0) {
        return;
    }
    if (hash_bytes(0, range->data, range->size) != node->applying_hash) {
        checker_fail(&sim->checker, "memory", "node %d changed what it lent to apply",
                     node->position);
    }
    run_machine(node, range);
    node->applying.count = 0;
    checker_applied(&sim->checker, node->position, index);
    int result = raft_applied(node->raft, index, RAFT_OK);
    if (result != RAFT_OK) {
        checker_fail(&sim->checker, "API", "raft_applied: %s", raft_strerror(result));
    }
    node_changed(node);
}

static void trace_event(struct node *node, const raft_event *event)
{
    static const char *const names[] = {
        "",          "role", "leader",          "members",         "transfer",     "dropped",
        "forwarded", "read", "snapshot wanted", "snapshot needed", "snapshot end", "regression",
        "fatal"};
    int count = (int)(sizeof names / sizeof names[0]);
    sim_trace(node->sim,
              "n%d event %s: role %d term %" PRIu64 " leader %" PRIu64 " status %d index %" PRIu64
              " %" PRIu64 "..%" PRIu64,
              node->position, names[event->kind > 0 && event->kind < count ? event->kind : 0],
              event->role, event->term, event->leader, event->status, event->index, event->first,
              event->last);
}

static void note_loss(struct node *node, raft_id peer)
{
    for (int i = 0; i < node->sim->node_count; i++) {
        if (node->sim->nodes[i].id == peer) {
            node->told_lost |= (uint32_t)1 << i;
        }
    }
}

static void node_notify(void *host, const raft_event *event)
{
    struct node *node = host;
    if (!node_enter(node)) {
        return;
    }
    sim_record(node->sim, hash_join((uint64_t)event->kind, event->index + event->first));
    trace_event(node, event);
    checker_event(&node->sim->checker, node->position, event);
    if (event->kind == RAFT_EVENT_SNAPSHOT_WANTED) {
        COUNT(&node->sim->counters, snapshots_wanted);
        snapshots_take(node);
    } else if (event->kind == RAFT_EVENT_SNAPSHOT_NEEDED) {
        snapshots_needed(node, event->peer);
    } else if (event->kind == RAFT_EVENT_SNAPSHOT_END) {
        snapshots_ended(node, event);
    } else if (event->kind == RAFT_EVENT_REGRESSION) {
        COUNT(&node->sim->counters, regressions_told);
        note_loss(node, event->peer);
    }
    client_reenter(node);
}

/* ---- Life and death -------------------------------------------------------------------------- */

static uint64_t store_now_us(void *arg)
{
    const struct sim *sim = arg;
    return sim->now_us;
}

void node_init(struct sim *sim, int position)
{
    struct node *node = &sim->nodes[position];
    struct rng rng = rng_fork(&sim->rng, 'd');
    memset(node, 0, sizeof *node);
    node->sim = sim;
    node->position = position;
    node->id = sim->checker.setup.ids[position];
    node->slowness = position == 0 && sim->plan.slow_factor != 0 ? sim->plan.slow_factor : 1;
    node->allocation_rng = rng_fork(&sim->rng, 'm');
    node->clock.ms = rng_below(&sim->rng, (uint64_t)1 << rng_below(&sim->rng, 45));
    node->clock.rate = TRUE_RATE;
    node->poll_at = NEVER;
    node->store = sim->plan.store == STORE_WAL
                      ? store_wal_new(rng, &sim->counters, node->id, store_now_us, sim)
                      : store_model_new(&sim->arena, rng, &sim->counters);
    node->store->joins = position >= sim->founders;
}

static void add_counters(struct node *node)
{
    COUNT_ADD(&node->sim->counters, elections_started, node->status.counters.elections_started);
    COUNT_ADD(&node->sim->counters, elections_won, node->status.counters.elections_won);
    COUNT_ADD(&node->sim->counters, reads_by_lease, node->status.counters.reads_by_lease);
    COUNT_ADD(&node->sim->counters, reads_forwarded, node->status.counters.reads_forwarded);
    COUNT_ADD(&node->sim->counters, pulls, node->status.counters.pulls);
    COUNT_ADD(&node->sim->counters, fresh_asked, node->status.counters.snapshots_asked);
    COUNT_ADD(&node->sim->counters, fresh_loaded, node->status.counters.snapshots_fresh);
    COUNT_ADD(&node->sim->counters, commit_hints, node->status.counters.commit_hints);
    COUNT_ADD(&node->sim->counters, transfers_asked, node->status.counters.transfers_asked);
    COUNT_ADD(&node->sim->counters, sleeps, node->status.counters.sleeps);
}

static void bury(struct node *node)
{
    raft_free(node->raft);
    node->raft = NULL;
    node->dying = 0;
    node->crash_in = 0;
    node->crash_in_snapshot = 0;
    node->poll_at = NEVER;
    node->poll_soon = 0;
    node->applying.count = 0;
    if (node->allocated != 0) {
        checker_fail(&node->sim->checker, "memory", "node %d leaks %zu bytes", node->position,
                     node->allocated);
        node->allocated = 0;
    }
}

static void check_lent(struct node *node)
{
    if (node->store->lent_changed) {
        checker_fail(&node->sim->checker, "memory", "node %d changed what it lent to persist",
                     node->position);
    }
}

/* R54: hosts notice that a process is dead, since its connections break. */
static void tell_others(struct node *dead)
{
    struct sim *sim = dead->sim;
    for (int i = 0; i < sim->node_count; i++) {
        if (i != dead->position) {
            sim_schedule(sim, 1 + rng_exponential(&sim->rng, sim->plan.timeout_ms * 100),
                         EVENT_BROKEN, &sim->nodes[i], dead->id, NULL);
        }
    }
}

void node_crash(struct node *node)
{
    if (node->raft == NULL) {
        return;
    }
    COUNT(&node->sim->counters, crashes);
    node_count_pairs(node->sim, COUNT_crash_joint, node_midst(node));
    sim_trace(node->sim, "n%d crashes", node->position);
    sim_record(node->sim, hash_join('c', (uint64_t)node->position));
    add_counters(node);
    checker_crashed(&node->sim->checker, node->position);
    node->store->kind->power_off(node->store);
    check_lent(node);
    node->incarnation++;
    bury(node);
    if (node->sim->plan.quiesce) {
        tell_others(node);
    }
}

void node_free(struct node *node)
{
    if (node->raft != NULL) {
        add_counters(node);
        bury(node);
    }
    if (node->store != NULL) {
        node->store->kind->free(node->store);
        node->store = NULL;
    }
}

void node_restart_in(struct node *node, uint64_t delay_us)
{
    if (!node->restarting) {
        node->restarting = 1;
        sim_schedule(node->sim, delay_us, EVENT_RESTART, node, 0, NULL);
    }
}

static void fill_options(const struct node *node, raft_options *options)
{
    const struct plan *plan = &node->sim->plan;
    raft_options_init(options);
    options->id = node->id;
    options->cluster = CLUSTER;
    options->protocol = plan->paxos ? RAFT_PROTOCOL_MULTIPAXOS : RAFT_PROTOCOL_RAFT;
    options->seed = hash_join(plan->seed, node->incarnation);
    options->election_timeout_ms = (uint32_t)plan->timeout_ms;
    options->heartbeat_ms = (uint32_t)plan->heartbeat_ms;
    options->log_bytes_max = plan->log_bytes_max;
    options->uncommitted_bytes_max = plan->uncommitted_bytes_max;
    options->entry_bytes_max = (uint32_t)plan->entry_bytes_max;
    options->append_bytes_max = (uint32_t)plan->append_bytes_max;
    options->apply_bytes_max = (uint32_t)plan->apply_bytes_max;
    options->inflight_messages_max = (uint32_t)plan->inflight_messages_max;
    options->inflight_bytes_max = plan->inflight_bytes_max;
    options->reads_max = (uint32_t)plan->reads_max;
    options->no_pre_vote = (uint8_t)plan->no_pre_vote;
    options->no_check_quorum = (uint8_t)plan->no_check_quorum;
    options->no_stickiness = (uint8_t)plan->no_stickiness;
    options->no_pull = (uint8_t)plan->no_pull;
    options->apply_ahead = (uint8_t)plan->apply_ahead;
    options->quiesce = (uint8_t)plan->quiesce;
    options->disk_timeout_ms = (uint32_t)plan->disk_timeout_ms;
    options->incarnation =
        plan->incarnation ? ((uint64_t)node->position << 32) + node->incarnation : 0;
    options->forward_bytes_max = (uint32_t)plan->forward_bytes_max;
    options->snapshot_log_bytes = plan->snapshot_log_bytes;
    options->trailing_bytes = plan->trailing_bytes;
    options->chunk_bytes_max = (uint32_t)plan->chunk_bytes_max;
}

static int make_engine(struct node *node)
{
    const struct plan *plan = &node->sim->plan;
    raft_options options;
    raft_callbacks callbacks;
    fill_options(node, &options);
    raft_callbacks_init(&callbacks);
    callbacks.persist = node_persist;
    callbacks.send = node_send;
    callbacks.apply = node_apply;
    callbacks.notify = node_notify;
    callbacks.alloc = node_alloc;
    callbacks.snapshot_load = snapshots_load;
    callbacks.snapshot_write = plan->ship ? NULL : snapshots_write;
    callbacks.snapshot_read = plan->ship ? NULL : snapshots_read;
    callbacks.read_log = plan->read_log ? snapshots_read_log : NULL;
    return raft_new(&options, &callbacks, node, &node->raft);
}

struct restore {
    struct node *node;
    uint64_t writes;
    raft_index snapshot; /* that the log names */
};

static int restore_write(void *ctx, const raft_write *write)
{
    struct restore *restore = ctx;
    raft_index index;
    raft_term term;
    if (write->meta != NULL &&
        raft_meta_read(write->meta, write->meta_size, &index, &term) == RAFT_OK) {
        restore->snapshot = index;
    }
    restore->writes++;
    checker_restored(&restore->node->sim->checker, restore->node->position, write);
    return raft_restore(restore->node->raft, write);
}

static int found_group(struct node *node)
{
    raft_member members[SIM_NODES_MAX];
    raft_membership membership;
    memset(members, 0, sizeof members);
    for (int i = 0; i < node->sim->founders; i++) {
        members[i].id = node->sim->nodes[i].id;
        members[i].blob = "address";
        members[i].blob_size = 7;
        members[i].zone = node->sim->plan.zones ? 1 + (uint32_t)i % 2 : 0;
    }
    raft_membership_init(&membership);
    membership.members = members;
    membership.member_count = (size_t)node->sim->founders;
    membership.lease_ms = (uint32_t)node->sim->plan.lease_ms;
    membership.lease_drift_permille = (uint32_t)node->sim->plan.lease_drift_permille;
    membership.zones = node->sim->plan.zones != 0;
    return raft_bootstrap_at(node->raft, &membership, 0);
}

/* Last comes the metadata of the newest snapshot, where the log has not named it. */
static int name_snapshot(struct restore *restore)
{
    const struct shot *shot = snapshots_recover(restore->node, restore->snapshot);
    raft_write write;
    if (shot == NULL) {
        return RAFT_OK;
    }
    memset(&write, 0, sizeof write);
    write.meta = shot->meta;
    write.meta_size = shot->meta_size;
    return restore_write(restore, &write);
}

static int fill_engine(struct node *node)
{
    struct restore restore = {node, 0, 0};
    checker_restarting(&node->sim->checker, node->position);
    snapshots_announce(node);
    int result = node->store->kind->restore(node->store, restore_write, &restore);
    if (result == RAFT_OK) {
        result = name_snapshot(&restore);
    }
    if (result == RAFT_OK && restore.writes == 0 && node->position < node->sim->founders) {
        result = found_group(node);
    }
    return result == RAFT_OK ? raft_start(node->raft, node_now_ms(node)) : result;
}

/* A start may fail for want of memory, or because the power goes again: then it is tried again. */
static void start_failed(struct node *node, int result)
{
    if (node->raft != NULL) {
        bury(node);
    }
    if (losses_refused(node, result)) {
        return;
    }
    if ((result != RAFT_ENOMEM || node->allocation_ppm == 0) && result != RAFT_EBUSY) {
        checker_fail(&node->sim->checker, "R61", "node %d does not start: %s %s", node->position,
                     raft_strerror(result), node->store->error);
    }
    node_restart_in(node, node->sim->plan.timeout_ms * 100);
}

void node_start(struct node *node)
{
    struct sim *sim = node->sim;
    node->restarting = 0;
    if (node->raft != NULL && node->status.error != RAFT_OK) {
        node_crash(node); /* the process ends where its engine has stopped */
    }
    if (node->raft != NULL || (sim->checker.absent >> node->position & 1) != 0) {
        return;
    }
    node->incarnation++;
    node->write_last = 0;
    node->write_synced = 0;
    node->write_told = 0;
    node->sync_at = 0;
    node->fail_apply = 0;
    node->told_version = 0;
    node->told_joint = 0;
    node->told_lost = 0;
    node->snapshot_due = 0;
    memset(&node->status, 0, sizeof node->status);
    int result = make_engine(node);
    if (result == RAFT_OK) {
        result = fill_engine(node);
    }
    if (result != RAFT_OK) {
        start_failed(node, result);
        return;
    }
    sim_trace(sim, "n%d starts", node->position);
    sim_record(sim, hash_join('s', (uint64_t)node->position));
    COUNT(&sim->counters, restarts);
    checker_started(&sim->checker, node->position);
    refine_started(&sim->spec, node->position);
    observe_disk(node);
    node_changed(node);
}

/* ---- Calls on the engine --------------------------------------------------------------------- */

/* R9: whose writes hang leads no longer than two disk timeouts. Asked after a poll, since only
 * polls tell the engine the time. */
static void check_hung_leader(struct node *node)
{
    if (node->raft == NULL || node->status.role != RAFT_ROLE_LEADER ||
        node->write_told == node->write_last) {
        return;
    }
    uint64_t since = node->issued_ms[(node->write_told + 1) % RAFT_WRITES_MAX];
    uint64_t disk_timeout_ms = node->sim->plan.disk_timeout_ms;
    uint64_t bound = (disk_timeout_ms != 0 ? disk_timeout_ms : node->sim->plan.timeout_ms * 2) * 2;
    if (node_now_ms(node) > since + bound) {
        checker_fail(&node->sim->checker, "R9",
                     "node %d leads with a write outstanding for %" PRIu64 " ms", node->position,
                     node_now_ms(node) - since);
    }
}

/* V16, where clocks keep their bound. What a lease allows is judged at polls. */
static void check_lease(struct node *node, uint64_t now_ms)
{
    if (node->raft == NULL || node->status.role != RAFT_ROLE_LEADER ||
        node->status.lease_until_ms <= now_ms) {
        return;
    }
    COUNT(&node->sim->counters, leases_held);
    for (int i = 0; i < node->sim->node_count; i++) {
        checker_time(&node->sim->checker, i, node_now_ms(&node->sim->nodes[i]));
    }
    checker_lease(&node->sim->checker, node->position, node->sim->plan.lease_sound != 0);
}

static void check_peers(struct node *node)
{
    raft_peer_status peer;
    if (node->status.role != RAFT_ROLE_LEADER) {
        return;
    }
    for (size_t i = 0; raft_get_peer(node->raft, i, &peer) == RAFT_OK; i++) {
        checker_peer(&node->sim->checker, node->position, &peer);
    }
}

/* When the host will call raft_poll: a little after something waits, a little after a deadline. */
static void plan_poll(struct node *node)
{
    struct sim *sim = node->sim;
    uint64_t deadline = raft_deadline(node->raft);
    uint64_t at;
    if (node->status.error != RAFT_OK) {
        at = NEVER;
    } else if (deadline == 0) {
        uint64_t mean = sim_is_faulty(sim) ? sim->plan.poll_delay_us * node->slowness : 20;
        at = node->poll_soon ? node->poll_at : sim->now_us + 1 + rng_exponential(&sim->rng, mean);
    } else {
        uint64_t mean = sim_is_faulty(sim) ? sim->plan.poll_late_us * node->slowness : 20;
        at = deadline == RAFT_NEVER ? NEVER : time_of(node, deadline);
        at = at == NEVER ? NEVER : at + 1 + rng_exponential(&sim->rng, mean);
    }
    node->poll_soon = deadline == 0;
    node->poll_at = at < node->paused_until ? node->paused_until : at;
}

void node_changed(struct node *node)
{
    struct sim *sim = node->sim;
    if (node->raft == NULL) {
        return;
    }
    if (node->dying) {
        node_crash(node);
        node_restart_in(node, rng_exponential(&sim->rng, sim->plan.down_us));
        return;
    }
    observe(node);
    if (node->snapshot_due) {
        node->snapshot_due = 0;
        snapshots_take(node);
    }
    check_peers(node);
    check_lent(node);
    const char *broken = raft_check(node->raft);
    if (broken != NULL) {
        checker_fail(&sim->checker, "raft_check", "node %d: %s", node->position, broken);
    }
    plan_poll(node);
    faults_lie_in_wait(node);
    if (node->status.error != RAFT_OK) {
        uint64_t mean = sim_is_faulty(sim) ? sim->plan.down_us + 1 : 1;
        node_restart_in(node, rng_exponential(&sim->rng, mean));
    }
}

void node_poll(struct node *node)
{
    uint64_t now_ms = node_now_ms(node);
    uint64_t low = node->clock_low < now_ms ? node->clock_low : 0;
    node->clock_low = 0;
    node->poll_soon = 0;
    node->poll_at = NEVER;
    int result = raft_poll(node->raft, now_ms - low);
    if (result == RAFT_EARG || result == RAFT_ESTATE || result == RAFT_EREENTRY) {
        checker_fail(&node->sim->checker, "API", "raft_poll: %s", raft_strerror(result));
    }
    if (low != 0) {
        checker_contact_ends(&node->sim->checker, node->position);
    }
    node_changed(node);
    if (low == 0) {
        check_hung_leader(node);
        check_lease(node, now_ms);
    }
}

static void check_refusal(struct node *node, const struct packet *packet, int result)
{
    if (packet->damaged && result >= 0) {
        checker_fail(&node->sim->checker, "R66",
                     "node %d took a message of kind %d that it should "
                     "refuse",
                     node->position, packet->message.kind);
    }
    int expected = result == RAFT_OK || result == RAFT_ENOMEM || result == RAFT_EFULL ||
                   node->status.error != RAFT_OK;
    if (!packet->damaged && !expected) {
        checker_fail(&node->sim->checker, "R66", "node %d refused an honest message of kind %d: %s",
                     node->position, packet->message.kind, raft_strerror(result));
    }
}

static void trace_delivery(const struct node *node, const struct packet *packet)
{
    char text[256];
    if (node->sim->trace) {
        raft_describe_message(&packet->message, text, sizeof text);
        sim_trace(node->sim, "n%d takes %s", node->position, text);
    }
}

/* What is cut short has its exact size in memory, so that a sanitizer sees who reads beyond it. */
static int receive_bytes(struct node *node, const struct packet *packet)
{
    if (!packet->damaged) {
        return raft_receive_bytes(node->raft, packet->bytes, packet->size);
    }
    uint8_t *copy = must_copy(packet->bytes, packet->size);
    int result = raft_receive_bytes(node->raft, copy, packet->size);
    free(copy);
    return result;
}

void node_deliver(struct node *node, struct packet *packet)
{
    struct sim *sim = node->sim;
    if (packet->epoch < sim->network.epoch) {
        return;
    }
    if (node->raft == NULL) {
        COUNT(&sim->counters, messages_lost);
        return;
    }
    if (node_is_paused(node)) {
        sim_schedule(sim, node->paused_until - sim->now_us, EVENT_DELIVER, node, 0, packet);
        return;
    }
    COUNT(&sim->counters, messages_delivered);
    trace_delivery(node, packet);
    int result = packet->bytes != NULL ? receive_bytes(node, packet)
                                       : raft_receive(node->raft, &packet->message);
    check_refusal(node, packet, result);
    raft_status after;
    memset(&after, 0, sizeof after);
    after.size = sizeof after;
    raft_get_status(node->raft, &after);
    checker_time(&sim->checker, node->position, node_now_ms(node));
    checker_received(&sim->checker, node->position, &packet->message, result, &after);
    node_changed(node);
}

/* Smaller limits than those of the plan, or the plan's again. */
void node_set_options(struct node *node, int altered)
{
    struct sim *sim = node->sim;
    raft_options options;
    if (node->raft == NULL || node->status.error != RAFT_OK || node_is_paused(node)) {
        return;
    }
    fill_options(node, &options);
    if (altered) {
        options.append_bytes_max = (uint32_t)rng_between(&sim->rng, 50, 99);
        options.inflight_messages_max = 1;
        options.no_pull = (uint8_t)rng_below(&sim->rng, 2);
        options.snapshot_log_bytes = rng_below(&sim->rng, 9000);
        COUNT(&sim->counters, options_altered);
    }
    int result = raft_set_options(node->raft, &options);
    if (result != RAFT_OK) {
        checker_fail(&sim->checker, "API", "raft_set_options: %s", raft_strerror(result));
    }
    node_changed(node);
}

/* An order of the operator; what may be refused is refused for a reason that the header names. */
void node_order(struct node *node, int (*order)(raft *raft))
{
    if (node->raft == NULL || node->status.error != RAFT_OK || node_is_paused(node)) {
        return;
    }
    int result = order(node->raft);
    if (result != RAFT_OK && result != RAFT_EBUSY) {
        checker_fail(&node->sim->checker, "API", "an order: %s", raft_strerror(result));
    }
    node_changed(node);
}

void node_campaign(struct node *node)
{
    if (node->raft != NULL && !node_is_paused(node)) {
        raft_campaign(node->raft);
        checker_contact_ends(&node->sim->checker, node->position);
        node_changed(node);
    }
}

/*
 * A host that wants another leader, or believes that there is none any more; or that trusts its state
 * machine no longer.
 */
void node_hand_over(struct node *node, uint64_t how, raft_id target)
{
    if (node->raft == NULL || node_is_paused(node)) {
        return;
    }
    if (how == 0) {
        raft_step_down(node->raft);
    } else if (how == 1) {
        raft_forget_leader(node->raft);
    } else if (how == 2) {
        raft_request_snapshot(node->raft);
    } else {
        raft_transfer(node->raft, target);
    }
    node_changed(node);
}

void node_hint(struct node *node, raft_id peer)
{
    if (node->raft != NULL && !node_is_paused(node)) {
        raft_unreachable(node->raft, peer);
        node_changed(node);
    }
}
