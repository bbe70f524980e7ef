/*
 * Clients: they propose values that are all different and read, at the leader they believe in or
 * anywhere. What becomes of it is the observer's business.
 */
#include "sim.h"

#include <string.h>

#define VALUE_BYTES_MAX 4096
#define BATCH_MAX       16

void client_init(struct sim *sim)
{
    uint8_t *buffer = arena_take(&sim->arena, VALUE_BYTES_MAX * BATCH_MAX);
    memset(&sim->client, 0, sizeof sim->client);
    sim->client.buffer = buffer;
}

/* A value nobody has proposed before; rarely an empty one, which cannot be told from another. */
static raft_buf next_value(struct sim *sim, size_t place)
{
    uint8_t *data = sim->client.buffer + place * VALUE_BYTES_MAX;
    uint64_t value = ++sim->client.next_value;
    size_t size = 8 + (size_t)rng_below(&sim->rng, sim->plan.client_bytes_max);
    if (rng_chance(&sim->rng, 10000)) {
        size = 0;
    } else if (rng_chance(&sim->rng, 10000)) {
        size = VALUE_BYTES_MAX;
    }
    memset(data, (int)(value & 0xff), size);
    for (size_t i = 0; i < 8 && i < size; i++) {
        data[i] = (uint8_t)(value >> (8 * i));
    }
    return (raft_buf){data, size};
}

static void count_refusal(struct sim *sim, int result)
{
    COUNT(&sim->counters, proposals_refused);
    if (result >= 0 || result == RAFT_EARG || result == RAFT_ESTATE || result == RAFT_EREENTRY) {
        checker_fail(&sim->checker, "API", "a proposal is refused: %s", raft_strerror(result));
    }
}

/* I24: beyond the quota only an entry that is alone, or that is empty, gets in. */
static void check_quota(struct node *node, size_t size)
{
    raft_status status;
    uint64_t quota = node->sim->plan.uncommitted_bytes_max;
    memset(&status, 0, sizeof status);
    status.size = sizeof status;
    raft_get_status(node->raft, &status);
    if (quota != 0 && size != 0 && status.uncommitted_bytes > quota &&
        status.uncommitted_bytes != raft_entry_size(size)) {
        checker_fail(&node->sim->checker, "I24", "node %d takes a proposal above its quota",
                     node->position);
    }
}

static int propose_one(struct node *node, struct probe *name)
{
    struct sim *sim = node->sim;
    raft_buf value = next_value(sim, 0);
    int result = raft_propose(node->raft, value.data, value.size, &name->index, &name->term);
    if (result != RAFT_OK) {
        count_refusal(sim, result);
        return result;
    }
    COUNT(&sim->counters, proposals_taken);
    checker_proposed(&sim->checker, node->position, name->index, name->term, value.data,
                     value.size);
    check_quota(node, value.size);
    return result;
}

static void propose_many(struct node *node, size_t count)
{
    struct sim *sim = node->sim;
    raft_buf values[BATCH_MAX];
    raft_index first;
    raft_term term;
    memset(values, 0, sizeof values);
    for (size_t i = 0; i < count && i < BATCH_MAX; i++) {
        values[i] = next_value(sim, i);
    }
    int result = raft_propose_many(node->raft, values, count, &first, &term);
    if (result != RAFT_OK) {
        count_refusal(sim, result);
        return;
    }
    COUNT_ADD(&sim->counters, proposals_taken, count);
    for (size_t i = 0; i < count; i++) {
        checker_proposed(&sim->checker, node->position, first + i, term, values[i].data,
                         values[i].size);
    }
}

static void read_at(struct node *node)
{
    struct sim *sim = node->sim;
    uint64_t tag = checker_read_tag(&sim->checker, node->position);
    int by_lease = rng_chance(&sim->rng, (uint32_t)sim->plan.client_lease_ppm);
    int result = by_lease ? raft_read_lease(node->raft, tag) : raft_read(node->raft, tag);
    if (result == RAFT_OK) {
        COUNT(&sim->counters, reads_taken);
        checker_read_begun(&sim->checker, tag);
    }
    if (by_lease && sim->plan.lease_ms != 0 && !sim->plan.lease_sound) {
        checker_read_unsafe(&sim->checker, tag);
    }
}

/* The value is never empty: it tells which proposal it is. */
static void forward_from(struct node *node)
{
    struct sim *sim = node->sim;
    raft_buf value = next_value(sim, 0);
    value.size = value.size < 8 ? 8 : value.size;
    for (size_t i = 0; i < 8; i++) {
        sim->client.buffer[i] = (uint8_t)(sim->client.next_value >> (8 * i));
    }
    uint64_t tag = checker_forward_tag(&sim->checker, node->position, sim->client.next_value);
    int result = raft_forward(node->raft, value.data, value.size, tag);
    if (result == RAFT_OK) {
        checker_forward_begun(&sim->checker, tag);
    } else {
        count_refusal(sim, result);
    }
}

static void operate(struct node *node)
{
    struct sim *sim = node->sim;
    struct probe ignored;
    uint64_t count = rng_between(&sim->rng, 1, sim->plan.client_batch_max);
    if (rng_chance(&sim->rng, (uint32_t)sim->plan.client_read_ppm)) {
        read_at(node);
    } else if (rng_chance(&sim->rng, (uint32_t)sim->plan.client_forward_ppm)) {
        forward_from(node);
    } else if (count > 1 && rng_chance(&sim->rng, 500000)) {
        propose_many(node, (size_t)count);
    } else {
        for (uint64_t i = 0; i < count; i++) {
            propose_one(node, &ignored);
        }
    }
}

void client_operate(struct node *node)
{
    if (node->status.error == RAFT_OK) {
        operate(node);
        node_changed(node);
    }
}

/*
 * A node that believes to lead, or now and then any; null: none can be reached. Where it is paused
 * the request waits in its socket, and is what it sees first when it goes on.
 */
static struct node *choose_node(struct sim *sim)
{
    struct node *found = NULL;
    uint64_t seen = 0;
    int stray = rng_chance(&sim->rng, (uint32_t)sim->plan.client_stray_ppm);
    for (int i = 0; i < sim->node_count; i++) {
        struct node *node = &sim->nodes[i];
        if (node->raft != NULL && node->status.error == RAFT_OK &&
            (stray || node->status.role == RAFT_ROLE_LEADER) && rng_below(&sim->rng, ++seen) == 0) {
            found = node;
        }
    }
    return found;
}

/* A cluster that heals has a backlog to work off, with the smallest of windows perhaps. */
static uint64_t mean_pause(const struct sim *sim)
{
    return sim->phase == PHASE_FAULTS ? sim->plan.client_us : sim->plan.client_us * 16;
}

void client_step(struct sim *sim)
{
    struct node *node = choose_node(sim);
    if (node != NULL && node_is_paused(node)) {
        sim_schedule(sim, node->paused_until - sim->now_us, EVENT_OPERATE, node, 0, NULL);
    } else if (node != NULL) {
        client_operate(node);
    }
    sim_schedule(sim, 1 + rng_exponential(&sim->rng, mean_pause(sim)), EVENT_CLIENT, NULL, 0, NULL);
}

/* From inside apply and notify. */
void client_reenter(struct node *node)
{
    struct sim *sim = node->sim;
    if (sim->phase >= PHASE_CONVERGE || node->status.error != RAFT_OK ||
        !rng_chance(&sim->rng, (uint32_t)sim->plan.reentrant_ppm)) {
        return;
    }
    COUNT(&sim->counters, inputs_reentrant);
    operate(node);
}

/* Proposes at every leader, and remembers what to wait for. */
void client_probe(struct sim *sim)
{
    for (int i = 0; i < sim->node_count; i++) {
        struct node *node = &sim->nodes[i];
        struct client *client = &sim->client;
        if (node->raft != NULL && node->status.role == RAFT_ROLE_LEADER) {
            struct probe *probe = &client->probes[client->probe_count % PROBES_MAX];
            if (propose_one(node, probe) == RAFT_OK) {
                client->probe_count++;
            }
            node_changed(node);
        }
    }
}

int client_probe_succeeded(const struct sim *sim)
{
    const struct client *client = &sim->client;
    size_t kept = client->probe_count < PROBES_MAX ? client->probe_count : PROBES_MAX;
    for (size_t i = 0; i < kept; i++) {
        const struct registry_entry *entry =
            registry_find(&sim->checker.registry, client->probes[i].index, client->probes[i].term);
        if (entry != NULL && entry->outcome == OUTCOME_APPLIED) {
            return 1;
        }
    }
    return 0;
}
