/*
 * Snapshots as a host takes, keeps, sends, receives and loads them.
 *
 * The state machine of a node is the chain of what it has applied. A snapshot of it is that chain,
 * and bytes that nobody can mistake for those of another snapshot: they follow from who took it and
 * when. The shelf of a node is what it has on disk: snapshots taken here, and such as were received,
 * which count only once the log says so.
 */
#include "sim.h"
#include "store.h"

#include <inttypes.h>
#include <string.h>

#define HEADER_BYTES 24     /* chain, salt, size */
#define ROT_PPM      300000 /* of reads, in runs where disks go bad: what is asked for is bad */

static struct node *find_node(struct sim *sim, raft_id id)
{
    for (int i = 0; i < sim->node_count; i++) {
        if (sim->nodes[i].id == id) {
            return &sim->nodes[i];
        }
    }
    return NULL;
}

/* How long something takes; not long where all is well. */
static uint64_t delay(struct sim *sim, uint64_t mean_us)
{
    uint64_t calm_us = sim->plan.timeout_ms * 1000 / 400;
    return 1 + rng_exponential(&sim->rng, sim_is_faulty(sim) ? mean_us : calm_us);
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

static uint8_t byte_at(uint64_t salt, size_t offset)
{
    return (uint8_t)(mix64(salt + offset / 8) >> (8 * (offset % 8)));
}

static void fill_bytes(struct shot *shot, uint64_t salt)
{
    uint64_t header[3] = {shot->chain, salt, shot->size};
    uint8_t *data = shot->data;
    memcpy(data, header, HEADER_BYTES);
    for (size_t i = HEADER_BYTES; i < shot->size; i++) {
        data[i] = byte_at(salt, i);
    }
}

/* Whether these are the bytes of one snapshot, whole and in order. */
static int bytes_are_whole(const struct shot *shot)
{
    uint64_t header[3];
    if (shot->size < HEADER_BYTES) {
        return 0;
    }
    memcpy(header, shot->data, HEADER_BYTES);
    for (size_t i = HEADER_BYTES; i < shot->size; i++) {
        if (shot->data[i] != byte_at(header[1], i)) {
            return 0;
        }
    }
    return header[2] == shot->size;
}

static struct shot *shot_new(struct sim *sim, const void *meta, size_t meta_size)
{
    struct shot *shot = arena_take(&sim->arena, sizeof *shot);
    memset(shot, 0, sizeof *shot);
    shot->meta = arena_copy(&sim->arena, meta, meta_size);
    shot->meta_size = meta_size;
    if (raft_meta_read(meta, meta_size, &shot->index, &shot->term) != RAFT_OK) {
        checker_fail(&sim->checker, "I19", "metadata that cannot be read");
    }
    return shot;
}

/* ---- The shelf ------------------------------------------------------------------------------- */

/* The newest of those taken here, or of those received with this index. */
static struct shot *find_shot(const struct node *node, int received, raft_index index)
{
    struct shot *found = NULL;
    for (size_t i = 0; i < node->shelf.count; i++) {
        struct shot *shot = node->shelf.shots[i];
        if (shot->received == received && (index == 0 || shot->index == index) &&
            (found == NULL || shot->index >= found->index)) {
            found = shot;
        }
    }
    return found;
}

/* What is older than the newest in use goes when the shelf is full. */
static void shelve(struct node *node, struct shot *shot)
{
    struct shelf *shelf = &node->shelf;
    if (shelf->count == SHELF_SHOTS) {
        size_t oldest = 0;
        for (size_t i = 1; i < shelf->count; i++) {
            oldest = shelf->shots[i]->index < shelf->shots[oldest]->index ? i : oldest;
        }
        shelf->shots[oldest] = shelf->shots[--shelf->count];
    }
    shelf->shots[shelf->count++] = shot;
}

void snapshots_announce(struct node *node)
{
    const struct shot *own = find_shot(node, 0, 0);
    node->store->newest = own == NULL ? (raft_buf){NULL, 0} : (raft_buf){own->meta, own->meta_size};
    node->store->newest_index = own == NULL ? 0 : own->index;
}

/* What was received and never came into use is of no use any more. */
static void clear_away(struct node *node, const struct shot *in_use)
{
    struct shelf *shelf = &node->shelf;
    size_t kept = 0;
    for (size_t i = 0; i < shelf->count; i++) {
        struct shot *shot = shelf->shots[i];
        if (!shot->received || shot == in_use) {
            shelf->shots[kept++] = shot;
        }
    }
    shelf->count = kept;
}

/*
 * After a restart: the newest that was taken here, or the one that the log has put into use, and
 * the state machine is as it says. Returns the one to be named to the engine as the last write, or
 * null: the log has named it, or there is none.
 */
const struct shot *snapshots_recover(struct node *node, raft_index installed)
{
    struct sim *sim = node->sim;
    const struct shot *own = find_shot(node, 0, 0);
    struct shot *received = installed == 0 ? NULL : find_shot(node, 1, installed);
    int own_is_newer = own != NULL && own->index >= installed;
    const struct shot *in_use = own_is_newer ? own : received;
    clear_away(node, received);
    node->arriving = NULL;
    node->taking = NULL;
    memset(node->sending, 0, sizeof node->sending);
    node->machine_index = in_use == NULL ? 0 : in_use->index;
    node->machine_chain = in_use == NULL ? CHAIN_BASE : in_use->chain;
    if (installed != 0 && in_use == NULL && !node_is_witness(node)) {
        checker_fail(&sim->checker, "V20",
                     "the log of node %d names snapshot %" PRIu64 ", which is not durable",
                     node->position, installed);
    }
    return own_is_newer && own->index > installed ? own : NULL;
}

/* ---- Taking ---------------------------------------------------------------------------------- */

/* Freezes the state. It is durable a while later, if nothing comes between. */
void snapshots_take(struct node *node)
{
    struct sim *sim = node->sim;
    uint8_t meta[RAFT_META_MAX];
    size_t size;
    if (node->taking != NULL || node->raft == NULL || node->status.error != RAFT_OK ||
        raft_snapshot_meta(node->raft, meta, sizeof meta, &size) != RAFT_OK) {
        return;
    }
    struct shot *shot = shot_new(sim, meta, size);
    if (shot->index == 0 || shot->index <= node->status.snapshot_index) {
        return;
    }
    if (!node_is_witness(node)) {
        if (shot->index != node->machine_index) {
            checker_fail(&sim->checker, "I19", "node %d has applied %" PRIu64 ", not %" PRIu64,
                         node->position, node->machine_index, shot->index);
        }
        shot->chain = node->machine_chain;
        shot->size = HEADER_BYTES + (size_t)rng_below(&sim->rng, sim->plan.snapshot_bytes);
        shot->data = arena_take(&sim->arena, shot->size);
        fill_bytes(shot, rng_next(&sim->rng));
    }
    COUNT(&sim->counters, snapshots_taken);
    node->taking = shot;
    sim_schedule(sim, delay(sim, sim->plan.snapshot_us), EVENT_SNAPSHOT, node, shot->index, NULL);
}

static void let_log_go(struct node *node, const struct shot *shot)
{
    raft_status status;
    int result = raft_compact(node->raft, shot->meta, shot->meta_size);
    if (result != RAFT_OK && result != RAFT_ENOMEM && node->status.error == RAFT_OK) {
        checker_fail(&node->sim->checker, "API", "raft_compact: %s", raft_strerror(result));
    }
    memset(&status, 0, sizeof status);
    status.size = sizeof status;
    raft_get_status(node->raft, &status);
    node->store->kind->trim(node->store, shot->index, status.first_index);
}

/* It is durable; and when the power goes now, it is found at the restart. */
void snapshots_taken(struct node *node, raft_index index)
{
    struct sim *sim = node->sim;
    struct shot *shot = node->taking;
    if (shot == NULL || shot->index != index || node->status.error != RAFT_OK) {
        return;
    }
    node->taking = NULL;
    shelve(node, shot);
    sim_trace(sim, "n%d has snapshot %" PRIu64, node->position, index);
    if (!node_is_witness(node)) {
        checker_snapshot(&sim->checker, node->position, shot->index, shot->chain);
    }
    if (!node_dies_here(node, COUNT_crashes_in_snapshot)) {
        let_log_go(node, shot);
    }
    node_changed(node);
}

/* ---- Sending --------------------------------------------------------------------------------- */

/* The snapshot under way, as a reader finds it on the shelf. */
static const struct shot *find_for(const struct node *node, raft_index index, raft_term term)
{
    for (size_t i = 0; i < node->shelf.count; i++) {
        const struct shot *shot = node->shelf.shots[i];
        if (shot->index == index && shot->term == term && shot->data != NULL) {
            return shot;
        }
    }
    return NULL;
}

static int fill_chunk(struct node *node, raft_chunk *chunk)
{
    const struct shot *shot = find_for(node, chunk->index, chunk->term);
    if (shot == NULL) {
        return -1; /* a full shelf has dropped it */
    }
    if (chunk->offset > shot->size) {
        checker_fail(&node->sim->checker, "R39",
                     "node %d is asked for a snapshot's byte %" PRIu64 " of %zu", node->position,
                     chunk->offset, shot->size);
        return -1;
    }
    size_t left = shot->size - (size_t)chunk->offset;
    chunk->size = left < chunk->capacity ? left : chunk->capacity;
    chunk->last = chunk->size == left;
    memcpy(chunk->data, shot->data + chunk->offset, chunk->size);
    return RAFT_OK;
}

/* A transfer is begun with the newest snapshot, goes on with that one, and its end is told. */
static void note_transfer(struct node *node, const raft_chunk *chunk)
{
    const struct node *to = find_node(node->sim, chunk->peer);
    if (to == NULL || node->sending[to->position] == chunk->index) {
        return;
    }
    if (chunk->offset != 0 || node->sending[to->position] != 0 ||
        chunk->index != node->status.snapshot_index) {
        checker_fail(&node->sim->checker, "R39",
                     "node %d begins snapshot %" PRIu64 " at %" PRIu64 ", its newest is %" PRIu64
                     ", %" PRIu64 " was begun",
                     node->position, chunk->index, chunk->offset, node->status.snapshot_index,
                     node->sending[to->position]);
    }
    node->sending[to->position] = chunk->index;
}

void snapshots_ended(struct node *node, const raft_event *event)
{
    const struct node *peer = find_node(node->sim, event->peer);
    if (peer != NULL && node->sending[peer->position] == event->index) {
        node->sending[peer->position] = 0;
    }
}

int snapshots_read(void *host, raft_chunk *chunk)
{
    struct node *node = host;
    struct sim *sim = node->sim;
    if (!node_enter(node) || node_dies_here(node, COUNT_crashes_in_snapshot)) {
        return -1;
    }
    COUNT(&sim->counters, chunks_read);
    if (node_host_fails(node, sim->plan.chunk_fail_ppm)) {
        return -1;
    }
    note_transfer(node, chunk);
    if (rng_chance(&sim->rng, (uint32_t)sim->plan.chunk_pending_ppm)) {
        raft_chunk *copy = arena_copy(&sim->arena, chunk, sizeof *chunk);
        sim_schedule(sim, delay(sim, sim->plan.sync_us), EVENT_CHUNK_READ, node, 0, copy);
        return RAFT_PENDING;
    }
    return fill_chunk(node, chunk);
}

void snapshots_chunk_read(struct node *node, raft_chunk *chunk)
{
    int status = fill_chunk(node, chunk);
    int result = raft_chunk_read(node->raft, chunk, status);
    if (result != RAFT_OK && node->status.error == RAFT_OK) {
        checker_fail(&node->sim->checker, "API", "raft_chunk_read: %s", raft_strerror(result));
    }
    node_changed(node);
}

/* ---- Receiving ------------------------------------------------------------------------------- */

static void begin_arriving(struct node *node, const raft_chunk *chunk)
{
    struct sim *sim = node->sim;
    node->arriving = shot_new(sim, chunk->meta, chunk->meta_size);
    node->arriving->received = 1;
    node->arriving->data = arena_take(&sim->arena, HEADER_BYTES + (size_t)sim->plan.snapshot_bytes);
    node->arriving_peer = chunk->peer;
}

/* The pieces of one snapshot come from one server, without a gap. */
static int fits(const struct node *node, const raft_chunk *chunk)
{
    const struct shot *shot = node->arriving;
    return shot != NULL && shot->index == chunk->index && shot->term == chunk->term &&
           node->arriving_peer == chunk->peer && shot->size == chunk->offset &&
           shot->size + chunk->size <= HEADER_BYTES + node->sim->plan.snapshot_bytes;
}

/* All of it is here, and durable: whether it is whole shows now. */
static void shelve_received(struct node *node)
{
    struct shot *shot = node->arriving;
    node->arriving = NULL;
    if (!bytes_are_whole(shot)) {
        checker_fail(&node->sim->checker, "I19",
                     "node %d has received a snapshot %" PRIu64 " that is not whole",
                     node->position, shot->index);
        return;
    }
    memcpy(&shot->chain, shot->data, sizeof shot->chain);
    shelve(node, shot);
}

static int store_chunk(struct node *node, const raft_chunk *chunk)
{
    if (chunk->offset == 0) {
        begin_arriving(node, chunk);
    }
    if (!fits(node, chunk)) {
        checker_fail(&node->sim->checker, "R39",
                     "node %d is given byte %" PRIu64 " of snapshot %" PRIu64 " out of order",
                     node->position, chunk->offset, chunk->index);
        return -1;
    }
    memcpy(node->arriving->data + node->arriving->size, chunk->data, chunk->size);
    node->arriving->size += chunk->size;
    if (chunk->last) {
        shelve_received(node);
    }
    return RAFT_OK;
}

int snapshots_write(void *host, const raft_chunk *chunk)
{
    struct node *node = host;
    struct sim *sim = node->sim;
    if (!node_enter(node) || node_dies_here(node, COUNT_crashes_in_snapshot)) {
        return -1;
    }
    COUNT(&sim->counters, chunks_written);
    if (node_host_fails(node, sim->plan.chunk_fail_ppm)) {
        return -1;
    }
    if (rng_chance(&sim->rng, (uint32_t)sim->plan.chunk_pending_ppm)) {
        raft_chunk *copy = arena_copy(&sim->arena, chunk, sizeof *chunk);
        sim_schedule(sim, delay(sim, sim->plan.sync_us), EVENT_CHUNK_WRITTEN, node,
                     hash_bytes(0, chunk->data, chunk->size), copy);
        return RAFT_PENDING;
    }
    int result = store_chunk(node, chunk);
    return node_dies_here(node, COUNT_crashes_in_snapshot) ? -1 : result;
}

void snapshots_chunk_written(struct node *node, const raft_chunk *chunk, uint64_t lent_hash)
{
    if (hash_bytes(0, chunk->data, chunk->size) != lent_hash) {
        checker_fail(&node->sim->checker, "memory",
                     "node %d changed what it lent to snapshot_write", node->position);
    }
    int status = store_chunk(node, chunk);
    if (!node_dies_here(node, COUNT_crashes_in_snapshot)) {
        int result = raft_chunk_written(node->raft, status);
        if (result != RAFT_OK && node->status.error == RAFT_OK) {
            checker_fail(&node->sim->checker, "API", "raft_chunk_written: %s",
                         raft_strerror(result));
        }
    }
    node_changed(node);
}

/* ---- Loading --------------------------------------------------------------------------------- */

static void load(struct node *node, const struct shot *shot)
{
    node->machine_index = shot->index;
    node->machine_chain = shot->chain;
    COUNT(&node->sim->counters, snapshots_loaded);
    checker_loaded(&node->sim->checker, node->position, shot->index, shot->chain);
}

int snapshots_load(void *host, raft_index index, raft_term term)
{
    struct node *node = host;
    struct sim *sim = node->sim;
    if (!node_enter(node) || node_dies_here(node, COUNT_crashes_in_snapshot)) {
        return RAFT_PENDING;
    }
    checker_load(&sim->checker, node->position, index, term);
    sim_trace(sim, "n%d loads %" PRIu64, node->position, index);
    const struct shot *shot = find_for(node, index, term);
    if (shot == NULL) {
        checker_fail(&sim->checker, "R35", "node %d loads %" PRIu64 ", which it has not",
                     node->position, index);
        return -1;
    }
    if (node->fail_apply) {
        node->fail_apply = 0;
        COUNT(&sim->counters, applies_failed);
        return -1;
    }
    if (rng_chance(&sim->rng, (uint32_t)sim->plan.apply_pending_ppm)) {
        sim_schedule(sim, delay(sim, sim->plan.apply_us), EVENT_LOADED, node, index,
                     (void *)(uintptr_t)shot);
        return RAFT_PENDING;
    }
    load(node, shot);
    return RAFT_OK;
}

void snapshots_loaded(struct node *node, const struct shot *shot)
{
    if (node->status.error != RAFT_OK) {
        return;
    }
    load(node, shot);
    int result = raft_applied(node->raft, shot->index, RAFT_OK);
    if (result != RAFT_OK) {
        checker_fail(&node->sim->checker, "API", "raft_applied of a snapshot: %s",
                     raft_strerror(result));
    }
    node_changed(node);
}

/* ---- Shipping -------------------------------------------------------------------------------- */

/* Where there is no snapshot_read the host copies the file, by ways of its own. */
void snapshots_needed(struct node *node, raft_id peer)
{
    struct sim *sim = node->sim;
    uint64_t mean = sim->plan.timeout_ms * (sim_is_faulty(sim) ? 1000 : 50);
    sim_schedule(sim, 1 + rng_exponential(&sim->rng, mean), EVENT_SHIPPED, node, peer, NULL);
}

static int receive_shipped(struct node *to, const struct shot *shot)
{
    struct sim *sim = to->sim;
    if (to->raft == NULL || to->status.error != RAFT_OK || node_is_paused(to)) {
        return RAFT_ETIMEOUT;
    }
    struct shot *copy = arena_copy(&sim->arena, shot, sizeof *shot);
    copy->received = 1;
    shelve(to, copy);
    int result = raft_snapshot_received(to->raft, copy->meta, copy->meta_size);
    if (result == RAFT_EARG || result == RAFT_ECORRUPT || result == RAFT_EVERSION) {
        checker_fail(&sim->checker, "API", "raft_snapshot_received: %s", raft_strerror(result));
    }
    COUNT_ADD(&sim->counters, snapshots_shipped, result == RAFT_OK);
    node_changed(to);
    return result < 0 ? result : RAFT_OK;
}

void snapshots_shipped(struct node *node, raft_id peer)
{
    struct sim *sim = node->sim;
    struct node *to = find_node(sim, peer);
    const struct shot *shot =
        find_for(node, node->status.snapshot_index, node->status.snapshot_term);
    int lost = to == NULL || shot == NULL || sim->network.cut[node->position][to->position] ||
               node_host_fails(node, sim->plan.chunk_fail_ppm);
    int result = lost ? RAFT_ETIMEOUT : receive_shipped(to, shot);
    raft_snapshot_sent(node->raft, peer, result);
    node_changed(node);
}

/* ---- Entries from storage -------------------------------------------------------------------- */

static int read_entries(struct node *node, raft_fetch *fetch)
{
    struct sim *sim = node->sim;
    if (fetch->first < node->status.first_index) {
        checker_fail(&sim->checker, "R40",
                     "node %d asks for entry %" PRIu64 ", its log begins at %" PRIu64,
                     node->position, fetch->first, node->status.first_index);
    }
    int result = node->store->kind->read(node->store, fetch);
    sim_trace(sim, "n%d reads %" PRIu64 "..%" PRIu64 " for %" PRIu64 ": %d, %zu entries, %zu bytes",
              node->position, fetch->first, fetch->last, fetch->peer, result, fetch->count,
              fetch->size);
    if (result == RAFT_ECORRUPT && losses_spoil_read(node)) {
        return result;
    }
    if (result != RAFT_OK && result != RAFT_ESIZE &&
        (!sim_is_faulty(sim) || result == RAFT_ECORRUPT)) {
        checker_fail(&sim->checker, "R40",
                     "entry %" PRIu64 "/%" PRIu64 " of node %d cannot be read: %s", fetch->first,
                     fetch->term, node->position, raft_strerror(result));
    }
    return result;
}

int snapshots_read_log(void *host, raft_fetch *fetch)
{
    struct node *node = host;
    struct sim *sim = node->sim;
    if (!node_enter(node)) {
        return -1;
    }
    COUNT(&sim->counters, fetches);
    if (sim->plan.rot_every_us != 0 && sim_is_faulty(sim) && rng_chance(&sim->rng, ROT_PPM)) {
        losses_rot(sim, node, fetch->first);
    }
    if (node_host_fails(node, sim->plan.fetch_fail_ppm)) {
        return -1;
    }
    if (rng_chance(&sim->rng, (uint32_t)sim->plan.fetch_pending_ppm)) {
        raft_fetch *copy = arena_copy(&sim->arena, fetch, sizeof *fetch);
        sim_schedule(sim, delay(sim, sim->plan.sync_us), EVENT_FETCHED, node, 0, copy);
        return RAFT_PENDING;
    }
    return read_entries(node, fetch);
}

/* Trimmed meanwhile, it cannot be had any more. */
void snapshots_fetched(struct node *node, raft_fetch *fetch)
{
    int gone = fetch->first < node->status.first_index;
    int status = gone ? RAFT_ESTATE : read_entries(node, fetch);
    int result = raft_log_read(node->raft, fetch, status);
    if (result != RAFT_OK && node->status.error == RAFT_OK) {
        checker_fail(&node->sim->checker, "API", "raft_log_read: %s", raft_strerror(result));
    }
    node_changed(node);
}
