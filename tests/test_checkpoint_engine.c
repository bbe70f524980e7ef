/*
 * Three servers of the engine on the shipped log and checkpoints, on simulated disks: entries are
 * compacted away, the log is trimmed, a server that was cut off is brought up by a checkpoint, old
 * entries are read back, and the power fails at every call of its disk meanwhile. In the end all
 * have applied the same.
 */
#include "check.h"
#include "cluster.h"

#include "../examples/checkpoint.h"
#include "../examples/wal.h"
#include "sim/disk.h"
#include "sim/random.h"

#include <stdlib.h>

enum { SERVERS = 3, GROUP = 1, OTHER_GROUP = 2, STEP_MS = 10, FILLER = 3000, QUEUE_MAX = 4096 };

struct server {
    raft_id id;
    struct disk *disk;
    wal *log;
    checkpoint_store *store;
    raft *node;
    raft_index applied;
    uint64_t hash;               /* of everything applied */
    uint64_t meta_seq;           /* of the write with metadata that is on its way; 0: none */
    struct checkpoint_base base; /* of the newest metadata in the log */
    uint64_t loads, fetches;
    int is_cut;
};

static struct server servers[SERVERS];
static struct {
    raft_id from[QUEUE_MAX], to[QUEUE_MAX];
    uint8_t *bytes[QUEUE_MAX];
    size_t size[QUEUE_MAX];
    size_t count;
} network;
static uint64_t now_ms;
static struct rng rng;

/* ---- What a host does ----------------------------------------------------------------------- */

static int persist(void *host, const raft_write *write)
{
    struct server *server = host;
    if (write->meta != NULL && write->base_index > 0) {
        server->meta_seq = write->seq;
        server->base.index = write->base_index;
        server->base.term = write->base_term;
    }
    return wal_append(server->log, GROUP, write);
}

static void send_message(void *host, const raft_message *message)
{
    const struct server *server = host;
    size_t size = raft_message_size(message);
    size_t last = network.count;
    if (server->is_cut || message->to > SERVERS || servers[message->to - 1].is_cut ||
        last == QUEUE_MAX) {
        return;
    }
    network.bytes[last] = malloc(size);
    CHECK(network.bytes[last] != NULL);
    network.size[last] = raft_encode(message, network.bytes[last], size);
    network.from[last] = server->id;
    network.to[last] = message->to;
    network.count++;
}

static int apply(void *host, const raft_range *range)
{
    struct server *server = host;
    raft_range rest = *range;
    raft_entry entry;
    while (raft_range_next(&rest, &entry)) {
        CHECK_EQ(entry.index, server->applied + 1);
        server->applied = entry.index;
        server->hash = hash_bytes(hash_join(server->hash, entry.term), entry.data, entry.size);
    }
    return RAFT_OK;
}

static int read_log(void *host, raft_fetch *fetch)
{
    struct server *server = host;
    server->fetches++;
    int result = wal_read(server->log, GROUP, fetch);
    CHECK(result == RAFT_OK || result == RAFT_ESIZE || disk_is_off(server->disk));
    return result;
}

static int snapshot_read(void *host, raft_chunk *chunk)
{
    return checkpoint_send(((struct server *)host)->store, GROUP, chunk);
}

static int snapshot_write(void *host, const raft_chunk *chunk)
{
    return checkpoint_receive(((struct server *)host)->store, GROUP, chunk);
}

/* The state: what was applied, and something to make it large. */
static int load(struct server *server, raft_index index, raft_term term)
{
    uint8_t bytes[16 + FILLER];
    checkpoint_reader *reader;
    size_t size = 0;
    int result = checkpoint_read_begin(server->store, GROUP, index, term, &reader, NULL);
    if (result != RAFT_OK) {
        return result;
    }
    result = checkpoint_read(reader, 0, bytes, sizeof bytes, &size);
    checkpoint_read_end(reader);
    if (result == RAFT_OK) {
        CHECK_EQ(size, sizeof bytes);
        memcpy(&server->applied, bytes, 8);
        memcpy(&server->hash, bytes + 8, 8);
        CHECK(index == 0 || server->applied == index);
    }
    return result;
}

static int snapshot_load(void *host, raft_index index, raft_term term)
{
    struct server *server = host;
    server->loads++;
    return load(server, index, term);
}

static void notify(void *host, const raft_event *event)
{
    struct server *server = host;
    if (event->kind == RAFT_EVENT_SNAPSHOT_END) {
        checkpoint_send_end(server->store, GROUP, event->peer);
    }
}

static void trim(struct server *server, raft_index checkpoint)
{
    raft_status status;
    memset(&status, 0, sizeof status);
    status.size = sizeof status;
    CHECK_EQ(raft_get_status(server->node, &status), RAFT_OK);
    CHECK_EQ(wal_trim(server->log, GROUP, checkpoint, status.first_index), RAFT_OK);
}

static void stored(void *ctx, uint64_t group, uint64_t seq, int status)
{
    struct server *server = ctx;
    if (group != GROUP) {
        return;
    }
    if (status == RAFT_OK && server->meta_seq != 0 && server->meta_seq == seq) {
        server->meta_seq = 0;
        status = checkpoint_install(server->store, GROUP, server->base.index, server->base.term);
    }
    raft_persisted(server->node, seq, status);
}

static void note_event(void *ctx, const struct checkpoint_event *event)
{
    *(struct checkpoint_event *)ctx = *event;
}

/* Of what is applied now. Where the disk fails nothing has changed. */
static void take(struct server *server)
{
    uint8_t meta[RAFT_META_MAX], bytes[16 + FILLER] = {0};
    struct checkpoint_event event = {0};
    checkpoint_writer *writer;
    raft_index index;
    raft_term term;
    size_t size;
    CHECK_EQ(raft_snapshot_meta(server->node, meta, sizeof meta, &size), RAFT_OK);
    CHECK_EQ(raft_meta_read(meta, size, &index, &term), RAFT_OK);
    memcpy(bytes, &server->applied, 8);
    memcpy(bytes + 8, &server->hash, 8);
    if (checkpoint_begin(server->store, GROUP, index, term, meta, size, &writer) != RAFT_OK) {
        return;
    }
    CHECK_EQ(checkpoint_add(writer, bytes, sizeof bytes), RAFT_OK);
    CHECK_EQ(checkpoint_commit(writer), RAFT_OK);
    CHECK_EQ(checkpoint_collect(server->store, note_event, &event), 1);
    CHECK_EQ(event.status, RAFT_OK);
    CHECK_EQ(raft_compact(server->node, meta, size), RAFT_OK);
    trim(server, index);
}

/* ---- Starting and stopping ------------------------------------------------------------------ */

static int replay(void *ctx, uint64_t group, const raft_write *write)
{
    struct server *server = ctx;
    if (group != GROUP) {
        return RAFT_OK;
    }
    if (write->meta != NULL) {
        server->base.index = write->base_index;
        server->base.term = write->base_term;
    }
    return raft_restore(server->node, write);
}

static void new_node(struct server *server)
{
    raft_options options;
    raft_callbacks callbacks;
    raft_options_init(&options);
    raft_callbacks_init(&callbacks);
    options.id = server->id;
    options.protocol = cluster_protocol;
    options.seed = now_ms;
    options.election_timeout_ms = 100;
    options.log_bytes_max = 65536;
    options.trailing_bytes = 6000;
    options.chunk_bytes_max = 500;
    options.apply_ahead = 1;
    callbacks.persist = persist;
    callbacks.send = send_message;
    callbacks.apply = apply;
    callbacks.notify = notify;
    callbacks.read_log = read_log;
    callbacks.snapshot_read = snapshot_read;
    callbacks.snapshot_write = snapshot_write;
    callbacks.snapshot_load = snapshot_load;
    CHECK_EQ(raft_new(&options, &callbacks, server, &server->node), RAFT_OK);
}

/* The newest checkpoint's metadata comes last, and its data is loaded. */
static int restore_checkpoint(struct server *server)
{
    checkpoint_reader *reader;
    raft_write write = {0};
    raft_term term;
    if (!checkpoint_newest(server->store, GROUP, &write.base_index, &term)) {
        return RAFT_OK;
    }
    int result = checkpoint_read_begin(server->store, GROUP, 0, 0, &reader, NULL);
    if (result != RAFT_OK) {
        return result;
    }
    write.base_term = term;
    write.meta = checkpoint_read_info(reader)->meta;
    write.meta_size = checkpoint_read_info(reader)->meta_size;
    result = raft_restore(server->node, &write);
    checkpoint_read_end(reader);
    return result == RAFT_OK ? load(server, 0, 0) : result;
}

static int start(struct server *server)
{
    const raft_member members[SERVERS] = {{.id = 1}, {.id = 2}, {.id = 3}};
    struct wal_options log = {.io = disk_io(server->disk), .directory = "log", .cluster = 1};
    struct checkpoint_options store = {
        .io = disk_io(server->disk), .directory = "snap", .cluster = 1, .block_bytes = 512};
    log.node = store.node = server->id;
    log.segment_bytes = WAL_SEGMENT_BYTES_MIN;
    server->applied = 0;
    server->hash = 0;
    server->meta_seq = 0;
    memset(&server->base, 0, sizeof server->base);
    server->base.group = GROUP;
    new_node(server);
    int result = wal_open(&log, replay, server, NULL, &server->log);
    result = result == RAFT_OK ? checkpoint_open(&store, NULL, &server->store) : result;
    result = result == RAFT_OK ? checkpoint_recover(server->store, &server->base, 1, NULL) : result;
    result = result == RAFT_OK ? restore_checkpoint(server) : result;
    if (result == RAFT_OK && wal_recovered(server->log)->writes == 0) {
        result = raft_bootstrap(server->node, members, SERVERS);
    }
    result = result == RAFT_OK ? raft_start(server->node, now_ms) : result;
    if (result == RAFT_OK && server->applied > 0) {
        trim(server, server->applied);
    }
    return result;
}

static void stop(struct server *server)
{
    wal_close(server->log);
    checkpoint_close(server->store);
    raft_free(server->node);
    server->log = NULL;
    server->store = NULL;
    server->node = NULL;
}

static void crash(struct server *server)
{
    disk_power_off(server->disk);
    stop(server);
    disk_restart(server->disk);
}

static void end(void)
{
    for (size_t i = 0; i < SERVERS; i++) {
        stop(&servers[i]);
        disk_free(servers[i].disk);
    }
    for (size_t i = 0; i < network.count; i++) {
        free(network.bytes[i]);
    }
    memset(servers, 0, sizeof servers);
    memset(&network, 0, sizeof network);
}

static void begin(uint64_t seed)
{
    end();
    now_ms = 0;
    rng.state = seed;
    for (size_t i = 0; i < SERVERS; i++) {
        struct disk_options disk = {0};
        disk.seed = seed + i;
        disk.stale_bytes = 1;
        servers[i].id = i + 1;
        servers[i].disk = disk_new(&disk);
        CHECK_EQ(start(&servers[i]), RAFT_OK);
    }
}

/* ---- Time passes ---------------------------------------------------------------------------- */

static void deliver(void)
{
    size_t count = network.count;
    for (size_t i = 0; i < count; i++) {
        struct server *server = &servers[network.to[i] - 1];
        if (!server->is_cut && !servers[network.from[i] - 1].is_cut) {
            raft_receive_bytes(server->node, network.bytes[i], network.size[i]);
        }
        free(network.bytes[i]);
    }
    network.count = 0;
}

/* A server whose power failed is restarted at once. */
static void turn(void)
{
    now_ms += STEP_MS;
    deliver();
    for (size_t i = 0; i < SERVERS; i++) {
        struct server *server = &servers[i];
        raft_poll(server->node, now_ms);
        wal_commit(server->log);
        wal_collect(server->log, stored, server);
        raft_poll(server->node, now_ms);
        while (disk_is_off(server->disk)) {
            crash(server);
            int result = start(server);
            CHECK(result == RAFT_OK || disk_is_off(server->disk));
        }
    }
}

static struct server *leader(void)
{
    for (size_t i = 0; i < SERVERS; i++) {
        raft_status status;
        memset(&status, 0, sizeof status);
        status.size = sizeof status;
        CHECK_EQ(raft_get_status(servers[i].node, &status), RAFT_OK);
        if (status.role == RAFT_ROLE_LEADER && !servers[i].is_cut) {
            return &servers[i];
        }
    }
    return NULL;
}

/* So many entries are proposed and applied where nothing is cut; checkpoints are taken. */
static void work(int entries, int with_checkpoints)
{
    for (int turns = 0; entries > 0; turns++) {
        uint8_t payload[300];
        struct server *lead = leader();
        CHECK(turns < 5000);
        memset(payload, entries, sizeof payload);
        if (lead != NULL && raft_propose(lead->node, payload, sizeof payload, NULL, NULL) == 0) {
            entries--;
        }
        turn();
        for (size_t i = 0; i < SERVERS && with_checkpoints; i++) {
            if (entries % 15 == (int)(3 * i) && !servers[i].is_cut && servers[i].applied > 0) {
                take(&servers[i]);
            }
        }
    }
}

static int are_equal(void)
{
    const struct server *lead = leader();
    for (size_t i = 0; i < SERVERS; i++) {
        if (lead == NULL || servers[i].applied != lead->applied || servers[i].hash != lead->hash) {
            return 0;
        }
    }
    return 1;
}

static void settle(void)
{
    for (int turns = 0; turns < 3 || !are_equal(); turns++) {
        CHECK(turns < 3000);
        turn();
    }
}

/* ---- Tests ---------------------------------------------------------------------------------- */

static struct server *follower(void)
{
    const struct server *lead = leader();
    CHECK(lead != NULL);
    return lead == &servers[0] ? &servers[1] : &servers[0];
}

static void a_server_far_behind_is_brought_up_by_a_checkpoint(void)
{
    begin(1);
    work(10, 0);
    struct server *late = follower();
    late->is_cut = 1;
    work(150, 1);
    late->is_cut = 0;
    settle();
    CHECK(late->loads > 0);
    work(20, 1);
    settle();
}

/* The bound on memory is 64 KiB: what a follower misses was given up, and is in the log. */
static void a_server_somewhat_behind_is_given_stored_entries(void)
{
    uint64_t fetches = 0;
    begin(2);
    work(10, 0);
    struct server *late = follower();
    late->is_cut = 1;
    work(160, 0);
    late->is_cut = 0;
    settle();
    CHECK_EQ(late->loads, 0);
    for (size_t i = 0; i < SERVERS; i++) {
        fetches += servers[i].fetches;
    }
    CHECK(fetches > 0);
}

static void all_restart_from_checkpoint_and_trimmed_log(void)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        begin(seed);
        for (int round = 0; round < 4; round++) {
            work(60, 1);
            settle();
            uint64_t hash = servers[0].hash;
            for (size_t i = 0; i < SERVERS; i++) {
                crash(&servers[i]);
                CHECK_EQ(start(&servers[i]), RAFT_OK);
                CHECK(round == 0 || servers[i].applied > 0);
                CHECK(wal_recovered(servers[i].log)->writes < 120);
            }
            work(1, 0);
            settle();
            CHECK(servers[0].hash != hash);
        }
    }
}

/* The log of another group grows and is trimmed, until the files of the first group are gone. */
static void push_through(struct server *server)
{
    static const uint64_t entries[64];
    struct wal_stats stats;
    raft_range range = {0, 1, 8, sizeof entries, entries};
    raft_write write = {0};
    write.ranges = &range;
    write.range_count = 1;
    for (range.first = 1; range.first < 1000; range.first += 8) {
        CHECK_EQ(wal_append(server->log, OTHER_GROUP, &write), RAFT_PENDING);
        CHECK_EQ(wal_commit(server->log), RAFT_OK);
        wal_collect(server->log, stored, server);
        CHECK_EQ(wal_trim(server->log, OTHER_GROUP, range.first, range.first), RAFT_OK);
    }
    wal_get_stats(server->log, &stats);
    CHECK(stats.moves > 0);
    CHECK_EQ(stats.moves_failed, 0);
    CHECK(disk_size(server->disk, "log/0000000000000001.wal") < 0);
}

static void what_was_moved_is_restored_as_it_was(void)
{
    for (int with_checkpoint = 0; with_checkpoint <= 1; with_checkpoint++) {
        begin(4);
        work(3, 0);
        settle();
        for (size_t i = 0; i < SERVERS; i++) {
            if (with_checkpoint) {
                take(&servers[i]);
            }
            push_through(&servers[i]);
        }
        uint64_t hash = servers[0].hash;
        for (size_t i = 0; i < SERVERS; i++) {
            crash(&servers[i]);
            CHECK_EQ(start(&servers[i]), RAFT_OK);
            CHECK(wal_recovered(servers[i].log)->moved > 0);
        }
        work(1, 0);
        settle();
        CHECK(servers[0].hash != hash);
    }
}

static void run_with_crash(uint64_t call)
{
    begin(3);
    work(10, 0);
    struct server *late = follower();
    late->is_cut = 1;
    work(150, 1);
    late->is_cut = 0;
    if (call > 0) {
        disk_fail_at(late->disk, disk_calls(late->disk) + call, DISK_FAULT_CRASH, 1);
    }
    settle();
    CHECK_EQ(disk_fault_met(late->disk), call > 0);
    CHECK(late->loads > 0 || call > 0);
}

/* Old state or new, never mixed; and in the end the same as everywhere. */
static void the_power_fails_at_any_call_while_a_checkpoint_is_installed(void)
{
    begin(3);
    work(10, 0);
    struct server *late = follower();
    late->is_cut = 1;
    work(150, 1);
    late->is_cut = 0;
    uint64_t before = disk_calls(late->disk);
    settle();
    uint64_t calls = disk_calls(late->disk) - before;
    CHECK(calls > 20);
    for (uint64_t call = 0; call <= calls; call++) {
        run_with_crash(call);
    }
}

int main(void)
{
    RUN_BOTH(a_server_far_behind_is_brought_up_by_a_checkpoint);
    RUN_BOTH(a_server_somewhat_behind_is_given_stored_entries);
    RUN_BOTH(all_restart_from_checkpoint_and_trimmed_log);
    RUN_BOTH(what_was_moved_is_restored_as_it_was);
    RUN_BOTH(the_power_fails_at_any_call_while_a_checkpoint_is_installed);
    end();
    return check_done();
}
