/*
 * One run: the loop over events and the phases.
 *
 * First everything that the plan holds may go wrong. Then a quorum is healed, which has to elect a
 * leader and commit a proposal within twenty election timeouts, whatever the others do (I25). Then
 * all are healed and have to become equal (V24), with every proposal and read answered (I29). Then
 * nothing at all may happen any more: no term moves, no leader changes (V24, I28).
 */
#include "sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define EVENTS_MAX        3000000
#define LIVENESS_TIMEOUTS 20
#define STABLE_TIMEOUTS   10

/* ---- Bookkeeping ----------------------------------------------------------------------------- */

void sim_record(struct sim *sim, uint64_t word)
{
    sim->trace_hash = hash_join(sim->trace_hash ^ sim->now_us, word);
}

void sim_trace(struct sim *sim, const char *format, ...)
{
    if (sim->trace) {
        va_list arguments;
        va_start(arguments, format);
        printf("%9" PRIu64 ".%03u ", sim->now_us / 1000, (unsigned)(sim->now_us % 1000));
        vprintf(format, arguments);
        putchar('\n');
        va_end(arguments);
    }
}

void sim_schedule(struct sim *sim, uint64_t delay_us, enum event_kind kind, struct node *node,
                  uint64_t value, void *data)
{
    struct event event = {sim->now_us + delay_us,
                          0,
                          (int)kind,
                          node == NULL ? NOBODY : node->position,
                          node == NULL ? 0 : node->incarnation,
                          value,
                          data};
    queue_add(&sim->queue, event);
}

int sim_is_faulty(const struct sim *sim)
{
    return sim->phase == PHASE_FAULTS && !sim->plan.calm;
}

/* ---- Phases ---------------------------------------------------------------------------------- */

static void enter_phase(struct sim *sim, enum phase phase)
{
    static const char *const names[] = {"faults", "a quorum is healed", "all are healed", "calm",
                                        "the end"};
    sim->phase = phase;
    sim->phase_began_us = sim->now_us;
    sim_trace(sim, "--- %s", names[phase]);
    sim_record(sim, (uint64_t)phase);
}

static uint64_t timeouts_passed(const struct sim *sim)
{
    return (sim->now_us - sim->phase_began_us) / sim->timeout_us;
}

static const struct node *find_leader(const struct sim *sim)
{
    const struct node *found = NULL;
    for (int i = 0; i < sim->node_count; i++) {
        const struct node *node = &sim->nodes[i];
        if (node->raft != NULL && node->status.role == RAFT_ROLE_LEADER &&
            (found == NULL || node->status.term > found->status.term)) {
            found = node;
        }
    }
    return found;
}

static raft_term highest_term(const struct sim *sim)
{
    raft_term term = 0;
    for (int i = 0; i < sim->node_count; i++) {
        term = sim->nodes[i].status.term > term ? sim->nodes[i].status.term : term;
    }
    return term;
}

static raft_index longest_log(const struct sim *sim)
{
    raft_index last = 0;
    for (int i = 0; i < sim->node_count; i++) {
        last = sim->nodes[i].status.last_index > last ? sim->nodes[i].status.last_index : last;
    }
    return last;
}

/*
 * Entries take their round trips: one for each, in the worst of configurations. Over healed links
 * these are short; a leader outside the quorum has its bad links still.
 */
static uint64_t time_to_send(const struct sim *sim, uint64_t entries)
{
    const struct node *leader = find_leader(sim);
    int is_outside = leader != NULL && !sim->core[leader->position];
    uint64_t trip_us = is_outside ? 2 * sim->plan.delay_us : 0;
    return entries * (trip_us > sim->timeout_us / 40 ? trip_us : sim->timeout_us / 40);
}

/* From now on nobody may be deposed (I28) and no term may move. */
static void watch_leader(struct sim *sim)
{
    sim->watching = 1;
    sim->stable_changes = sim->checker.leader_changes;
    sim->stable_term = highest_term(sim);
}

static void check_undisturbed(struct sim *sim)
{
    if (sim->watching && (sim->checker.leader_changes != sim->stable_changes ||
                          highest_term(sim) != sim->stable_term || find_leader(sim) == NULL)) {
        checker_fail(&sim->checker, "I28",
                     "a healthy leader of term %" PRIu64 " is deposed; the term is %" PRIu64 " now",
                     sim->stable_term, highest_term(sim));
    }
}

/* A calm run is watched as soon as a leader has settled. */
static void tick_faults(struct sim *sim)
{
    if (sim->plan.calm && !sim->watching && sim->checker.commit_max > 0 &&
        timeouts_passed(sim) > 4) {
        watch_leader(sim);
    }
    if ((sim->doomed | sim->wiped) != 0 && rng_chance(&sim->rng, 100000)) {
        losses_are_replaced(sim);
    }
    if (sim->now_us - sim->phase_began_us >= sim->plan.fault_us) {
        sim->watching = 0;
        if (sim->doomed != 0 && !losses_are_bearable(sim, sim->doomed)) {
            COUNT(&sim->counters, runs_unhealable);
            enter_phase(sim, PHASE_OVER);
            return;
        }
        raft_index longest = longest_log(sim);
        sim->healed_at = sim->checker.chosen.count;
        sim->backlog = longest > sim->healed_at ? longest - sim->healed_at : 0;
        enter_phase(sim, PHASE_CORE);
        faults_heal_core(sim);
    }
}

/*
 * Where logs may be full, nothing can be demanded but a leader that has committed all it has. One
 * outside the quorum, over bad links, may work off what it had: that any of it commits is enough.
 */
static int core_works(const struct sim *sim)
{
    const struct node *leader = find_leader(sim);
    if (leader != NULL && sim->plan.log_bytes_max != 0 &&
        leader->status.commit_index == leader->status.last_index) {
        return 1;
    }
    if (leader != NULL && !sim->core[leader->position] &&
        leader->status.commit_index > sim->healed_at) {
        return 1;
    }
    return client_probe_succeeded(sim);
}

static void tick_core(struct sim *sim, struct result *result)
{
    client_probe(sim);
    result->heal_timeouts = timeouts_passed(sim) + 1;
    if (core_works(sim)) {
        COUNT_ADD(&sim->counters, heals_slow, result->heal_timeouts > 4);
        enter_phase(sim, PHASE_CONVERGE);
        faults_heal_all(sim);
    } else if (sim->now_us - sim->phase_began_us >
               LIVENESS_TIMEOUTS * sim->timeout_us + time_to_send(sim, sim->backlog)) {
        checker_fail(&sim->checker, "I25",
                     "a healthy quorum commits nothing in %d election "
                     "timeouts",
                     LIVENESS_TIMEOUTS);
    }
}

static void tick_converge(struct sim *sim)
{
    int replaced = losses_are_replaced(sim);
    members_switch_off(sim);
    if (replaced && checker_converged(&sim->checker) && find_leader(sim) != NULL &&
        sim->now_us - sim->phase_began_us > sim->timeout_us) {
        enter_phase(sim, PHASE_STABLE);
        network_forget_old_mail(sim);
    } else if (sim->now_us - sim->phase_began_us >
               LIVENESS_TIMEOUTS * sim->timeout_us + time_to_send(sim, longest_log(sim))) {
        checker_quiet(&sim->checker);
        checker_fail(&sim->checker, "V24", "the cluster does not become equal");
    }
}

/* V22: nothing is held back, counted or waited for in an idle cluster. */
static void check_idle(struct sim *sim)
{
    raft_peer_status peer;
    for (int i = 0; i < sim->node_count; i++) {
        const struct node *node = &sim->nodes[i];
        if (node->raft == NULL) {
            continue; /* no member any more */
        }
        uint64_t held = node->status.writes_pending + node->status.reads_pending +
                        node->status.uncommitted_bytes;
        for (size_t j = 0; raft_get_peer(node->raft, j, &peer) == RAFT_OK; j++) {
            held += peer.inflight_messages + peer.inflight_bytes;
        }
        if (held != 0) {
            checker_fail(&sim->checker, "V22", "node %d is not idle at the end", i);
        }
    }
}

/*
 * One timeout for what is still on its way (a late pre-vote, say), then nothing may move. A sleeper
 * that a straggler has woken campaigns first, since nobody sends it heartbeats (R54).
 */
static void tick_stable(struct sim *sim)
{
    if (!sim->watching && timeouts_passed(sim) >= (sim->plan.quiesce ? 4 : 1)) {
        watch_leader(sim);
    }
    if (timeouts_passed(sim) >= STABLE_TIMEOUTS) {
        checker_quiet(&sim->checker);
        check_idle(sim);
        enter_phase(sim, PHASE_OVER);
    }
}

static void tick(struct sim *sim, struct result *result)
{
    check_undisturbed(sim);
    switch (sim->phase) {
    case PHASE_FAULTS:
        tick_faults(sim);
        break;
    case PHASE_CORE:
        tick_core(sim, result);
        break;
    case PHASE_CONVERGE:
        tick_converge(sim);
        break;
    case PHASE_STABLE:
        tick_stable(sim);
        break;
    case PHASE_OVER:
        break;
    }
    sim_schedule(sim, sim->timeout_us / 8, EVENT_TICK, NULL, 0, NULL);
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* What the host does waits while its process is paused; the disk and the network go on. */
static int must_wait(const struct event *event, const struct node *node)
{
    return node_is_paused(node) &&
           (event->kind == EVENT_PERSISTED || event->kind == EVENT_APPLIED ||
            event->kind == EVENT_OPERATE || event->kind == EVENT_BROKEN ||
            (event->kind >= EVENT_SNAPSHOT && event->kind <= EVENT_SHIPPED));
}

static void handle_snapshot(struct node *node, const struct event *event)
{
    switch ((enum event_kind)event->kind) {
    case EVENT_SNAPSHOT:
        snapshots_taken(node, event->value);
        break;
    case EVENT_CHUNK_READ:
        snapshots_chunk_read(node, event->data);
        break;
    case EVENT_CHUNK_WRITTEN:
        snapshots_chunk_written(node, event->data, event->value);
        break;
    case EVENT_LOADED:
        snapshots_loaded(node, event->data);
        break;
    case EVENT_FETCHED:
        snapshots_fetched(node, event->data);
        break;
    case EVENT_SHIPPED:
        snapshots_shipped(node, event->value);
        break;
    default:
        break;
    }
}

static void handle_node(struct sim *sim, const struct event *event)
{
    struct node *node = &sim->nodes[event->node];
    if (event->kind == EVENT_RESTART) {
        node_start(node);
    } else if (event->kind == EVENT_DELIVER) {
        node_deliver(node, event->data);
    } else if (node->raft == NULL || event->incarnation != node->incarnation) {
        return;
    } else if (must_wait(event, node)) {
        sim_schedule(sim, node->paused_until - sim->now_us, (enum event_kind)event->kind, node,
                     event->value, event->data);
    } else if (event->kind == EVENT_BROKEN) {
        node_hint(node, event->value);
    } else if (event->kind == EVENT_OPERATE) {
        client_operate(node);
    } else if (event->kind == EVENT_SYNC) {
        node_synced(node, event->value);
    } else if (event->kind == EVENT_PERSISTED) {
        node_persisted(node, event->value);
    } else if (event->kind == EVENT_APPLIED) {
        node_applied(node, event->value);
    } else if (event->kind == EVENT_AMBUSH) {
        faults_spring(node, event->value);
    } else {
        handle_snapshot(node, event);
    }
}

static void handle(struct sim *sim, const struct event *event, struct result *result)
{
    switch ((enum event_kind)event->kind) {
    case EVENT_CLIENT:
        if (sim->phase < PHASE_CONVERGE) {
            client_step(sim);
        }
        break;
    case EVENT_FAULT:
        faults_strike(sim, event->value);
        break;
    case EVENT_UNCUT:
        network_uncut(sim, event->value);
        break;
    case EVENT_TICK:
        tick(sim, result);
        break;
    default:
        handle_node(sim, event);
        break;
    }
}

/* The node whose poll comes next, or null where an event comes first. */
static struct node *next_poll(struct sim *sim)
{
    const struct event *event = queue_peek(&sim->queue);
    uint64_t first_us = event == NULL ? NEVER : event->time_us;
    struct node *found = NULL;
    for (int i = 0; i < sim->node_count; i++) {
        if (sim->nodes[i].raft != NULL && sim->nodes[i].poll_at < first_us) {
            found = &sim->nodes[i];
            first_us = found->poll_at;
        }
    }
    return found;
}

static void step(struct sim *sim, struct result *result)
{
    struct node *node = next_poll(sim);
    if (node != NULL) {
        sim->now_us = node->poll_at > sim->now_us ? node->poll_at : sim->now_us;
        sim_record(sim, (uint64_t)node->position);
        node_poll(node);
        return;
    }
    struct event event = queue_take(&sim->queue);
    sim->now_us = event.time_us;
    sim_record(sim, hash_join((uint64_t)event.kind, event.value));
    handle(sim, &event, result);
}

/* ---- The run --------------------------------------------------------------------------------- */

/* An option as the engine takes it: zero is its default. */
static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static void begin_checker(struct sim *sim)
{
    struct checker_setup setup;
    const struct plan *plan = &sim->plan;
    memset(&setup, 0, sizeof setup);
    setup.node_count = sim->node_count;
    for (int i = 0; i < sim->node_count; i++) {
        setup.ids[i] = plan->wide_ids ? mix64(plan->seed + (uint64_t)i) | 1 : (raft_id)i + 1;
    }
    setup.founders = sim->founders;
    setup.witnesses = plan->witness ? (uint32_t)1 << (sim->node_count - 1) : 0;
    setup.zones = plan->zones != 0;
    setup.paxos = plan->paxos != 0;
    setup.apply_ahead = plan->apply_ahead != 0;
    setup.append_bytes_max = or_default(plan->append_bytes_max, 256 * 1024);
    setup.apply_bytes_max = or_default(plan->apply_bytes_max, 1024 * 1024);
    setup.inflight_messages_max = or_default(plan->inflight_messages_max, 64);
    setup.inflight_bytes_max = or_default(plan->inflight_bytes_max, 8 * 1024 * 1024);
    setup.entry_bytes_max = or_default(plan->entry_bytes_max, 16 * 1024 * 1024);
    setup.reads_max = or_default(plan->reads_max, 65536);
    setup.sticky_ms = plan->no_stickiness || plan->no_check_quorum ? 0 : plan->timeout_ms;
    setup.log_bytes_max = or_default(plan->log_bytes_max, (uint64_t)256 * 1024 * 1024);
    checker_begin(&sim->checker, &setup);
    refine_begin(&sim->spec, &setup);
}

static void begin(struct sim *sim, const struct plan *plan, int trace)
{
    sim->plan = *plan;
    sim->rng.state = mix64(plan->seed);
    sim->now_us = 0;
    sim->founders = (int)plan->nodes;
    sim->node_count = (int)(plan->nodes + plan->spares);
    sim->trace = trace;
    sim->trace_hash = plan->seed;
    sim->timeout_us = plan->timeout_ms * 2000;
    sim->watching = 0;
    sim->zones_asked = plan->zones != 0;
    sim->doomed = 0;
    sim->wiped = 0;
    sim->ambush_count = 0;
    memset(&sim->counters, 0, sizeof sim->counters);
    memset(sim->core, 0, sizeof sim->core);
    queue_clear(&sim->queue);
    arena_reset(&sim->arena);
    begin_checker(sim);
    network_init(sim);
    client_init(sim);
    enter_phase(sim, PHASE_FAULTS);
    for (int i = 0; i < sim->node_count; i++) {
        node_init(sim, i);
    }
    for (int i = 0; i < sim->node_count; i++) {
        node_restart_in(&sim->nodes[i], rng_below(&sim->rng, plan->timeout_ms * 500));
    }
    faults_begin(sim);
    sim_schedule(sim, 1, EVENT_CLIENT, NULL, 0, NULL);
    sim_schedule(sim, 1, EVENT_TICK, NULL, 0, NULL);
}

static void finish_counters(struct sim *sim)
{
    struct counters *counters = &sim->counters;
    const struct checker *checker = &sim->checker;
    COUNT_ADD(counters, virtual_seconds, sim->now_us / 1000000);
    COUNT_ADD(counters, leader_changes, checker->leader_changes);
    COUNT_ADD(counters, terms, checker->term_count);
    COUNT_ADD(counters, entries_chosen, checker->chosen.count);
    COUNT_ADD(counters, truncations, checker->truncations);
    COUNT_ADD(counters, logs_adopted, checker->adoptions[ADOPTION_LOGS]);
    COUNT_ADD(counters, tails_cut, checker->adoptions[ADOPTION_TAILS_CUT]);
    COUNT_ADD(counters, prepares_widened, checker->adoptions[ADOPTION_PREPARES]);
    COUNT_ADD(counters, keep_alives, checker->adoptions[ADOPTION_KEEP_ALIVES]);
    COUNT_ADD(counters, snapshots_pulled, checker->adoptions[ADOPTION_SNAPSHOTS]);
    COUNT_ADD(counters, snapshots_installed, checker->installs);
    COUNT_ADD(counters, proposals_applied, checker->outcomes[OUTCOME_APPLIED]);
    COUNT_ADD(counters, proposals_dropped, checker->outcomes[OUTCOME_DROPPED]);
    COUNT_ADD(counters, proposals_unknown, checker->outcomes[OUTCOME_UNKNOWN]);
    COUNT_ADD(counters, reads_answered, checker->reads_answered);
    COUNT_ADD(counters, memberships_chosen, checker_memberships(checker));
    COUNT_ADD(counters, reads_failed, checker->reads_failed);
    COUNT_ADD(counters, forwards_appended, checker->forward_outcomes[0]);
    COUNT_ADD(counters, forwards_dropped, checker->forward_outcomes[1]);
    COUNT_ADD(counters, forwards_unknown, checker->forward_outcomes[2]);
    COUNT_ADD(counters, runs_wal, sim->plan.store == STORE_WAL);
    COUNT_ADD(counters, runs_calm, sim->plan.calm);
}

/* What a timeline that ends in a violation ends with. */
static void trace_nodes(struct sim *sim)
{
    char text[4096];
    for (int i = 0; sim->trace && i < sim->node_count; i++) {
        if (sim->nodes[i].raft != NULL) {
            raft_describe_node(sim->nodes[i].raft, text, sizeof text);
            sim_trace(sim, "n%d is\n%s", i, text);
        }
    }
}

void sim_run(struct sim *sim, const struct plan *plan, int trace, struct result *result)
{
    uint64_t events = 0;
    memset(result, 0, sizeof *result);
    result->seed = plan->seed;
    begin(sim, plan, trace);
    while (sim->phase != PHASE_OVER && checker_failure(&sim->checker) == NULL) {
        step(sim, result);
        if (refine_failure(&sim->spec) != NULL) {
            checker_fail(&sim->checker, "V25", "%s", refine_failure(&sim->spec));
        }
        if (++events == EVENTS_MAX) {
            checker_fail(&sim->checker, "V24", "the run does not end");
        }
    }
    if (checker_failure(&sim->checker) != NULL) {
        trace_nodes(sim);
    }
    for (int i = 0; i < sim->node_count; i++) {
        node_free(&sim->nodes[i]);
    }
    COUNT_ADD(&sim->counters, events, events);
    finish_counters(sim);
    result->trace_hash = sim->trace_hash;
    result->counters = sim->counters;
    if (checker_failure(&sim->checker) != NULL) {
        result->failed = 1;
        snprintf(result->failure, sizeof result->failure, "%s (at %" PRIu64 ".%03u ms)",
                 checker_failure(&sim->checker), sim->now_us / 1000,
                 (unsigned)(sim->now_us % 1000));
    }
}

void sim_free(struct sim *sim)
{
    queue_free(&sim->queue);
    arena_free(&sim->arena);
    checker_free(&sim->checker);
    refine_free(&sim->spec);
}
