/*
 * The network: links that lose, repeat, delay, reorder and damage messages, and that are cut in one
 * or both directions. Every ordered pair of nodes is a link of its own.
 */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define CLEAN_DELAY_PARTS 400 /* of T: the mean delay of a clean link */

void network_init(struct sim *sim)
{
    memset(&sim->network, 0, sizeof sim->network);
}

/* Links between two healthy nodes are clean; in a calm run all are. */
static int link_is_clean(const struct sim *sim, int from, int to)
{
    return sim->plan.calm || (sim->network.healthy[from] && sim->network.healthy[to]);
}

static raft_range copy_range(struct sim *sim, const raft_range *range)
{
    raft_range copy = *range;
    copy.data = arena_copy(&sim->arena, range->data, range->size);
    return copy;
}

static raft_buf copy_buf(struct sim *sim, const raft_buf *buf)
{
    return (raft_buf){buf->size == 0 ? NULL : arena_copy(&sim->arena, buf->data, buf->size),
                      buf->size};
}

/* Encodes at an odd address now and then: a transport hands over what it has, where it is. */
static void encode(struct sim *sim, struct packet *packet, const raft_message *message)
{
    size_t shift = rng_chance(&sim->rng, 200000) ? 1 : 0;
    size_t size = raft_message_size(message);
    uint8_t *bytes = arena_take(&sim->arena, size + shift);
    packet->bytes = bytes + shift;
    packet->size = raft_encode(message, bytes + shift, size);
    if (packet->size != size) {
        checker_fail(&sim->checker, "codec", "a message of kind %d encodes to %zu bytes, not %zu",
                     message->kind, packet->size, size);
    }
}

static struct packet *packet_new(struct sim *sim, int from, int to, const raft_message *message)
{
    struct packet *packet = arena_take(&sim->arena, sizeof *packet);
    memset(packet, 0, sizeof *packet);
    packet->from = from;
    packet->to = to;
    packet->epoch = sim->network.epoch;
    packet->message = *message;
    if (rng_chance(&sim->rng, (uint32_t)sim->plan.encoded_ppm)) {
        encode(sim, packet, message);
        packet->message.range_count = 0;
        packet->message.meta = (raft_buf){NULL, 0};
        packet->message.chunk = (raft_buf){NULL, 0};
    } else {
        for (size_t i = 0; i < message->range_count; i++) {
            packet->message.ranges[i] = copy_range(sim, &message->ranges[i]);
        }
        packet->message.meta = copy_buf(sim, &message->meta);
        packet->message.chunk = copy_buf(sim, &message->chunk);
    }
    return packet;
}

static uint64_t draw_delay(struct sim *sim, int from, int to)
{
    const struct plan *plan = &sim->plan;
    if (link_is_clean(sim, from, to)) {
        uint64_t mean = plan->timeout_ms * 1000 / CLEAN_DELAY_PARTS;
        uint64_t drawn = rng_exponential(&sim->rng, mean);
        return 1 + (drawn < mean * 8 ? drawn : mean * 8);
    }
    uint64_t delay = 1 + rng_exponential(&sim->rng, plan->delay_us);
    if (rng_chance(&sim->rng, (uint32_t)plan->delay_tail_ppm)) {
        delay += rng_exponential(&sim->rng, plan->timeout_ms * 5000);
    }
    return delay;
}

static void carry(struct sim *sim, struct packet *packet)
{
    struct network *network = &sim->network;
    uint64_t delay = draw_delay(sim, packet->from, packet->to);
    uint64_t clogged = network->clogged_until[packet->from][packet->to];
    if (clogged > sim->now_us + delay && !link_is_clean(sim, packet->from, packet->to)) {
        delay = clogged - sim->now_us + rng_below(&sim->rng, 100);
    }
    uint64_t arrival = sim->now_us + delay;
    uint64_t *last = &network->last_arrival[packet->from][packet->to];
    COUNT_ADD(&sim->counters, messages_reordered, arrival < *last);
    *last = arrival;
    sim_schedule(sim, delay, EVENT_DELIVER, &sim->nodes[packet->to], 0, packet);
}

/* Keeps an even sample of everything ever sent. */
static void archive(struct network *network, struct rng *rng, struct packet *packet)
{
    uint64_t place = network->archived < ARCHIVE_PACKETS ? network->archived
                                                         : rng_below(rng, network->archived + 1);
    if (place < ARCHIVE_PACKETS) {
        network->archive[place] = packet;
    }
    network->archived++;
}

/*
 * What a checksum would catch: nobody may deliver it, but the decoder has to survive it. The copy
 * has its exact size in memory, so that reading beyond it is seen.
 */
static void damage(struct sim *sim, const raft_message *message)
{
    raft_message decoded;
    size_t size = raft_message_size(message);
    uint8_t *whole = arena_take(&sim->arena, size);
    raft_encode(message, whole, size);
    uint8_t *bytes = must_copy(whole, size);
    uint64_t flips = rng_between(&sim->rng, 1, 8);
    for (uint64_t i = 0; i < flips; i++) {
        uint64_t bit = rng_below(&sim->rng, 8);
        bytes[rng_below(&sim->rng, size)] ^= (uint8_t)(1u << bit);
    }
    raft_decode(bytes, size, &decoded);
    free(bytes);
    COUNT(&sim->counters, messages_damaged);
}

/* A message that is not meant for its receiver, or that no server sends: it has to be refused. */
static void send_foreign(struct sim *sim, int from, int to, raft_message message)
{
    struct packet *packet;
    switch (rng_below(&sim->rng, 6)) {
    case 0:
        message.cluster++;
        break;
    case 1:
        message.group++;
        break;
    case 2:
        message.to = message.from;
        break;
    case 3:
        message.from = message.to;
        break;
    case 4:
        message.term = (raft_term)1 << 63;
        break;
    default:
        message.protocol = !message.protocol;
        break;
    }
    packet = packet_new(sim, from, to, &message);
    packet->damaged = 1;
    COUNT(&sim->counters, messages_foreign);
    carry(sim, packet);
}

/* A frame that was cut short. */
static void send_truncated(struct sim *sim, int from, int to, const raft_message *message)
{
    struct packet *packet = packet_new(sim, from, to, message);
    if (packet->bytes != NULL) {
        packet->size = (size_t)rng_below(&sim->rng, packet->size);
        packet->damaged = 1;
        COUNT(&sim->counters, messages_damaged);
        carry(sim, packet);
    }
}

static int is_lost(struct sim *sim, int from, int to, int kind)
{
    struct network *network = &sim->network;
    if (network->cut[from][to]) {
        COUNT(&sim->counters, messages_cut);
        return 1;
    }
    if (link_is_clean(sim, from, to)) {
        return 0;
    }
    uint64_t chances = kind == RAFT_MESSAGE_SNAPSHOT ? 3 : 1; /* there are so few */
    if (network->kind_lost[kind % MESSAGE_KINDS] ||
        rng_chance(&sim->rng, (uint32_t)(sim->plan.drop_ppm * chances))) {
        COUNT(&sim->counters, messages_lost);
        return 1;
    }
    return 0;
}

static int position_of(const struct sim *sim, raft_id id)
{
    for (int i = 0; i < sim->node_count; i++) {
        if (sim->nodes[i].id == id) {
            return i;
        }
    }
    return NOBODY;
}

static void trace_message(struct sim *sim, const raft_message *message, const char *fate)
{
    char text[256];
    if (sim->trace) {
        raft_describe_message(message, text, sizeof text);
        sim_trace(sim, "%s%s", text, fate);
    }
}

void network_send(struct sim *sim, const struct node *from, const raft_message *message)
{
    int to = position_of(sim, message->to);
    COUNT(&sim->counters, messages_sent);
    if (to == NOBODY) {
        return;
    }
    if (is_lost(sim, from->position, to, message->kind)) {
        trace_message(sim, message, "  (lost)");
        COUNT_ADD(&sim->counters, chunk_lost, message->kind == RAFT_MESSAGE_SNAPSHOT);
        COUNT_ADD(&sim->counters, read_lost, message->kind == RAFT_MESSAGE_READ);
        COUNT_ADD(&sim->counters, transfer_lost, message->kind == RAFT_MESSAGE_TRANSFER);
        return;
    }
    trace_message(sim, message, "");
    struct packet *packet = packet_new(sim, from->position, to, message);
    archive(&sim->network, &sim->rng, packet);
    carry(sim, packet);
    if (link_is_clean(sim, from->position, to)) {
        return;
    }
    if (rng_chance(&sim->rng, (uint32_t)sim->plan.duplicate_ppm)) {
        COUNT(&sim->counters, messages_duplicated);
        COUNT_ADD(&sim->counters, chunk_duplicated, message->kind == RAFT_MESSAGE_SNAPSHOT);
        carry(sim, packet);
    }
    if (rng_chance(&sim->rng, (uint32_t)sim->plan.damage_ppm)) {
        damage(sim, message);
        send_truncated(sim, from->position, to, message);
    }
    if (rng_chance(&sim->rng, (uint32_t)sim->plan.foreign_ppm)) {
        send_foreign(sim, from->position, to, *message);
    }
}

/* Something that was sent at any time of the run arrives once more, at its old receiver. */
void network_replay(struct sim *sim)
{
    struct network *network = &sim->network;
    uint64_t kept = network->archived < ARCHIVE_PACKETS ? network->archived : ARCHIVE_PACKETS;
    uint64_t count = rng_between(&sim->rng, 1, 8);
    for (uint64_t i = 0; i < count && kept > 0; i++) {
        struct packet *old = network->archive[rng_below(&sim->rng, kept)];
        struct packet *packet = arena_copy(&sim->arena, old, sizeof *old);
        packet->epoch = network->epoch;
        COUNT(&sim->counters, messages_replayed);
        carry(sim, packet);
    }
}

/* ---- Partitions ------------------------------------------------------------------------------ */

static void cut_all(struct sim *sim)
{
    memset(sim->network.cut, 1, sizeof sim->network.cut);
}

static void connect(struct sim *sim, int a, int b)
{
    sim->network.cut[a][b] = 0;
    sim->network.cut[b][a] = 0;
}

/* A random order of the nodes, so that no position is special. */
static void shuffle(struct sim *sim, int order[SIM_NODES_MAX])
{
    for (int i = 0; i < sim->node_count; i++) {
        int j = (int)rng_below(&sim->rng, (uint64_t)i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

static void cut_halves(struct sim *sim, const int *order, int first)
{
    for (int i = 0; i < sim->node_count; i++) {
        for (int j = 0; j < sim->node_count; j++) {
            sim->network.cut[order[i]][order[j]] = (i < first) != (j < first);
        }
    }
}

static void cut_to_chain(struct sim *sim, const int *order)
{
    cut_all(sim);
    for (int i = 0; i + 1 < sim->node_count; i++) {
        connect(sim, order[i], order[i + 1]);
    }
}

static void cut_to_star(struct sim *sim, const int *order)
{
    cut_all(sim);
    for (int i = 1; i < sim->node_count; i++) {
        connect(sim, order[0], order[i]);
    }
}

/* Two halves that share one node. */
static void cut_to_bridge(struct sim *sim, const int *order)
{
    cut_halves(sim, order, sim->node_count / 2);
    for (int i = 1; i < sim->node_count; i++) {
        connect(sim, order[0], order[i]);
    }
}

/* One node sends and does not hear, or hears and cannot send. */
static void cut_one_way(struct sim *sim, int node, int deaf)
{
    for (int i = 0; i < sim->node_count; i++) {
        if (deaf) {
            sim->network.cut[i][node] = 1;
        } else {
            sim->network.cut[node][i] = 1;
        }
    }
}

static void cut_at_random(struct sim *sim)
{
    uint32_t ppm = (uint32_t)rng_between(&sim->rng, 50000, 800000);
    for (int i = 0; i < sim->node_count; i++) {
        for (int j = 0; j < sim->node_count; j++) {
            sim->network.cut[i][j] = (uint8_t)rng_chance(&sim->rng, ppm);
        }
    }
}

void network_partition(struct sim *sim)
{
    int order[SIM_NODES_MAX] = {0};
    shuffle(sim, order);
    memset(sim->network.cut, 0, sizeof sim->network.cut);
    switch (rng_below(&sim->rng, 8)) {
    case 0:
        cut_halves(sim, order, 1);
        COUNT(&sim->counters, partitions_symmetric);
        break;
    case 1:
        cut_halves(sim, order, (int)rng_below(&sim->rng, (uint64_t)sim->node_count));
        COUNT(&sim->counters, partitions_symmetric);
        break;
    case 2:
        cut_to_chain(sim, order);
        COUNT(&sim->counters, partitions_partial);
        break;
    case 3:
        cut_to_star(sim, order);
        COUNT(&sim->counters, partitions_partial);
        break;
    case 4:
        cut_to_bridge(sim, order);
        COUNT(&sim->counters, partitions_partial);
        break;
    case 5:
        cut_one_way(sim, order[0], 0);
        COUNT(&sim->counters, partitions_one_way);
        break;
    case 6:
        cut_one_way(sim, order[0], 1);
        COUNT(&sim->counters, partitions_one_way);
        break;
    default:
        cut_at_random(sim);
        COUNT(&sim->counters, partitions_partial);
        break;
    }
    sim->network.partition++;
    sim_trace(sim, "partition %llu", (unsigned long long)sim->network.partition);
    sim_schedule(sim, rng_exponential(&sim->rng, sim->plan.timeout_ms * 4000), EVENT_UNCUT, NULL,
                 sim->network.partition, NULL);
}

void network_uncut(struct sim *sim, uint64_t partition)
{
    if (partition == sim->network.partition && sim_is_faulty(sim)) {
        memset(sim->network.cut, 0, sizeof sim->network.cut);
        sim_trace(sim, "partition %llu ends", (unsigned long long)partition);
    }
}

void network_lose_kind(struct sim *sim)
{
    uint8_t *lost = &sim->network.kind_lost[rng_between(&sim->rng, 1, MESSAGE_KINDS - 1)];
    int any = 0;
    for (int i = 0; i < MESSAGE_KINDS; i++) {
        any |= sim->network.kind_lost[i];
    }
    memset(sim->network.kind_lost, 0, sizeof sim->network.kind_lost);
    if (!any) {
        *lost = 1;
        COUNT(&sim->counters, kind_losses);
    }
}

/* What one node sends to another is held back and then arrives all at once. */
void network_clog(struct sim *sim)
{
    uint64_t from = rng_below(&sim->rng, (uint64_t)sim->node_count);
    uint64_t to = rng_below(&sim->rng, (uint64_t)sim->node_count);
    sim->network.clogged_until[from][to] =
        sim->now_us + rng_exponential(&sim->rng, sim->plan.timeout_ms * 3000);
}

/* ---- Healing --------------------------------------------------------------------------------- */

/* Links between the healthy become clean; the others are cut, or stay as bad as they can be. */
void network_heal(struct sim *sim, const int healthy[SIM_NODES_MAX], int wild)
{
    struct network *network = &sim->network;
    network->partition++;
    if (wild) {
        cut_at_random(sim);
    } else {
        cut_all(sim);
    }
    for (int i = 0; i < sim->node_count; i++) {
        network->healthy[i] = healthy[i];
        for (int j = 0; j < sim->node_count; j++) {
            if (healthy[i] && healthy[j]) {
                network->cut[i][j] = 0;
            }
        }
    }
    memset(network->kind_lost, 0, sizeof network->kind_lost);
    if (!sim->plan.old_mail) {
        network->epoch++;
    }
}

void network_forget_old_mail(struct sim *sim)
{
    sim->network.epoch++;
}
