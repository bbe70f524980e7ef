/*
 * The engine's figures: a cluster in one thread, messages handed to their receiver inside the
 * sender's send callback, storage that does nothing, a state machine that walks what it is given.
 * So what is measured is the protocol and the log, on all servers together.
 *
 * Two shapes of load. A closed round proposes a batch, and ends when the leader has applied it:
 * four polls with three servers. A pipelined round proposes the next batch before the leader is
 * polled again, as a busy host does: three polls. In both, followers apply a batch one round later.
 *
 * The clock stands still while the rounds run. Every run begins with a new cluster in memory that
 * was touched before: an arena for each node, so that the kernel's page faults are not counted as
 * ours (with compaction, memory is reused in the steady state).
 */
#include "bench.h"
#include "raft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES_MAX = 7, WARM_ROUNDS = 64, RUNS = 7, PAYLOAD_MAX = 4096, BATCH_MAX = 256 };

struct arena {
    uint8_t *memory;
    size_t size, used;
    uint64_t calls; /* that wanted memory */
    int64_t live_bytes;
};

struct member {
    struct cluster *cluster;
    raft *node;
    struct arena arena;
    uint64_t applied;
    uint64_t touched; /* keeps the compiler from leaving the walk out */
};

struct cluster {
    struct member members[NODES_MAX];
    size_t count;
    size_t leader; /* position */
    uint64_t now_ms;
    uint64_t messages;
};

struct configuration {
    const char *name;
    size_t nodes;
    size_t payload_bytes;
    size_t batch;
    int pipelined;
    int protocol; /* RAFT_PROTOCOL_... */
};

static const struct configuration configurations[] = {
    {"engine_16B_batch1", 3, 16, 1, 0, RAFT_PROTOCOL_RAFT},
    {"engine_16B_batch64", 3, 16, 64, 0, RAFT_PROTOCOL_RAFT},
    {"engine_16B_batch256", 3, 16, 256, 0, RAFT_PROTOCOL_RAFT},
    {"engine_256B_batch1", 3, 256, 1, 0, RAFT_PROTOCOL_RAFT},
    {"engine_256B_batch64", 3, 256, 64, 0, RAFT_PROTOCOL_RAFT},
    {"engine_256B_batch256", 3, 256, 256, 0, RAFT_PROTOCOL_RAFT},
    {"engine_4096B_batch1", 3, 4096, 1, 0, RAFT_PROTOCOL_RAFT},
    {"engine_4096B_batch64", 3, 4096, 64, 0, RAFT_PROTOCOL_RAFT},
    {"engine_4096B_batch256", 3, 4096, 256, 0, RAFT_PROTOCOL_RAFT},
    {"engine_pipelined_16B_batch1", 3, 16, 1, 1, RAFT_PROTOCOL_RAFT},
    {"engine_pipelined_16B_batch64", 3, 16, 64, 1, RAFT_PROTOCOL_RAFT},
    {"engine_pipelined_16B_batch256", 3, 16, 256, 1, RAFT_PROTOCOL_RAFT},
    {"engine_5nodes_16B_batch64", 5, 16, 64, 0, RAFT_PROTOCOL_RAFT},
    {"engine_7nodes_16B_batch64", 7, 16, 64, 0, RAFT_PROTOCOL_RAFT},
    {"engine_multipaxos_16B_batch1", 3, 16, 1, 0, RAFT_PROTOCOL_MULTIPAXOS},
    {"engine_multipaxos_16B_batch64", 3, 16, 64, 0, RAFT_PROTOCOL_MULTIPAXOS},
    {"engine_multipaxos_256B_batch64", 3, 256, 64, 0, RAFT_PROTOCOL_MULTIPAXOS},
    {"engine_multipaxos_pipelined_16B_batch1", 3, 16, 1, 1, RAFT_PROTOCOL_MULTIPAXOS},
    {"engine_multipaxos_5nodes_16B_batch64", 5, 16, 64, 0, RAFT_PROTOCOL_MULTIPAXOS},
};

enum { CONFIGURATIONS = sizeof configurations / sizeof configurations[0] };

/* ---- The host -------------------------------------------------------------------------------- */

/* Bumps; frees nothing; grows in place what is last. The sizes come from the engine. */
static void *arena_alloc(void *host, void *p, size_t old_size, size_t new_size)
{
    struct arena *arena = &((struct member *)host)->arena;
    size_t rounded = (new_size + 15) & ~(size_t)15;
    arena->live_bytes += (int64_t)new_size - (int64_t)old_size;
    if (!new_size) {
        return NULL;
    }
    arena->calls++;
    if (p && new_size <= old_size) {
        return p;
    }
    if (arena->size - arena->used < rounded) {
        bench_fail("the arena is too small");
    }
    uint8_t *made = arena->memory + arena->used;
    arena->used += rounded;
    if (p) {
        memcpy(made, p, old_size);
    }
    return made;
}

static int persist(void *host, const raft_write *write)
{
    (void)host;
    (void)write;
    return RAFT_OK;
}

static void hand_over(void *host, const raft_message *message)
{
    struct cluster *cluster = ((struct member *)host)->cluster;
    cluster->messages++;
    if (raft_receive(cluster->members[message->to - 1].node, message) != RAFT_OK) {
        bench_fail("a message was refused");
    }
}

static int apply(void *host, const raft_range *range)
{
    struct member *member = host;
    raft_range rest = *range;
    raft_entry entry;
    while (raft_range_next(&rest, &entry)) {
        member->touched += entry.size;
    }
    member->applied = range->first + range->count - 1;
    return RAFT_OK;
}

static void poll_node(struct cluster *cluster, size_t position)
{
    if (raft_poll(cluster->members[position].node, cluster->now_ms) != RAFT_OK) {
        bench_fail("a node failed");
    }
}

static void poll_followers(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->count; i++) {
        if (i != cluster->leader) {
            poll_node(cluster, i);
        }
    }
}

/* Until nothing waits to leave anywhere. */
static void settle(struct cluster *cluster)
{
    for (int moved = 1; moved;) {
        moved = 0;
        for (size_t i = 0; i < cluster->count; i++) {
            if (raft_deadline(cluster->members[i].node) == 0) {
                poll_node(cluster, i);
                moved = 1;
            }
        }
    }
}

/* ---- A cluster ------------------------------------------------------------------------------- */

static void touch_arena(struct arena *arena, size_t size)
{
    if (arena->size < size) {
        free(arena->memory);
        arena->memory = malloc(size);
        if (!arena->memory) {
            bench_fail("no memory");
        }
        memset(arena->memory, 1, size);
        arena->size = size;
    }
    arena->used = 0;
    arena->calls = 0;
    arena->live_bytes = 0;
}

static void make_node(struct member *member, raft_id id, int protocol, const raft_member *members,
                      size_t count)
{
    raft_options options;
    raft_callbacks callbacks;
    raft_options_init(&options);
    raft_callbacks_init(&callbacks);
    options.id = id;
    options.protocol = protocol;
    options.log_bytes_max = UINT64_MAX / 4;
    callbacks.persist = persist;
    callbacks.send = hand_over;
    callbacks.apply = apply;
    callbacks.alloc = arena_alloc;
    if (raft_new(&options, &callbacks, member, &member->node) ||
        raft_bootstrap(member->node, members, count) || raft_start(member->node, 0)) {
        bench_fail("cannot make a node");
    }
}

static void elect(struct cluster *cluster)
{
    raft_status status = {.size = sizeof status};
    settle(cluster); /* the founding is written */
    if (raft_campaign(cluster->members[0].node)) {
        bench_fail("cannot campaign");
    }
    settle(cluster);
    raft_get_status(cluster->members[0].node, &status);
    if (status.role != RAFT_ROLE_LEADER) {
        bench_fail("no leader");
    }
    cluster->leader = 0;
}

/* The arenas of an earlier cluster are used again. */
static void cluster_begin(struct cluster *cluster, size_t count, int protocol, size_t arena_bytes)
{
    raft_member members[NODES_MAX];
    memset(members, 0, sizeof members);
    for (size_t i = 0; i < count; i++) {
        members[i].id = i + 1;
    }
    cluster->count = count;
    cluster->now_ms = 1;
    cluster->messages = 0;
    for (size_t i = 0; i < count; i++) {
        struct member *member = &cluster->members[i];
        touch_arena(&member->arena, arena_bytes);
        member->cluster = cluster;
        member->applied = 0;
        make_node(member, i + 1, protocol, members, count);
    }
    elect(cluster);
}

static void cluster_end(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->count; i++) {
        raft_free(cluster->members[i].node);
    }
}

static void free_arenas(struct cluster *cluster)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        free(cluster->members[i].arena.memory);
    }
}

/* ---- Rounds ---------------------------------------------------------------------------------- */

static void propose_batch(struct cluster *cluster, const struct configuration *c)
{
    static const uint8_t payload[PAYLOAD_MAX];
    raft *leader = cluster->members[cluster->leader].node;
    for (size_t i = 0; i < c->batch; i++) {
        if (raft_propose(leader, payload, c->payload_bytes, NULL, NULL) != RAFT_OK) {
            bench_fail("a proposal was refused");
        }
    }
}

static void run_rounds(struct cluster *cluster, const struct configuration *c, uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++) {
        propose_batch(cluster, c);
        poll_node(cluster, cluster->leader);
        poll_followers(cluster);
        if (!c->pipelined) {
            poll_node(cluster, cluster->leader);
        }
    }
}

/* Everybody has applied everything: a heartbeat tells the last commit index. */
static void finish(struct cluster *cluster)
{
    raft_status status = {.size = sizeof status};
    cluster->now_ms += 500;
    poll_node(cluster, cluster->leader);
    settle(cluster);
    raft_get_status(cluster->members[cluster->leader].node, &status);
    for (size_t i = 0; i < cluster->count; i++) {
        if (cluster->members[i].applied != status.last_index) {
            bench_fail("not everything was applied everywhere");
        }
    }
}

/* About 16 MiB of payload a node at most, and enough rounds for the clock. */
static uint64_t rounds_of(const struct configuration *c)
{
    uint64_t entries = (16u << 20) / c->payload_bytes;
    entries = entries > 100000 ? 100000 : entries;
    return entries / c->batch;
}

static size_t arena_for(const struct configuration *c, uint64_t rounds)
{
    size_t entries = (size_t)(rounds + 2 * WARM_ROUNDS) * c->batch;
    return (4u << 20) + 2 * entries * (raft_entry_size(c->payload_bytes) + 16);
}

/* ---- Measuring ------------------------------------------------------------------------------- */

struct figures {
    double ns;          /* per entry, the least of all runs */
    double messages;    /* per entry */
    double allocations; /* per entry, all nodes */
    double log_bytes;   /* per entry and node */
};

static uint64_t total_allocations(const struct cluster *cluster)
{
    uint64_t calls = 0;
    for (size_t i = 0; i < cluster->count; i++) {
        calls += cluster->members[i].arena.calls;
    }
    return calls;
}

static uint64_t total_log_bytes(const struct cluster *cluster)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < cluster->count; i++) {
        raft_status status = {.size = sizeof status};
        raft_get_status(cluster->members[i].node, &status);
        bytes += status.log_bytes;
    }
    return bytes;
}

static void measure(struct cluster *cluster, const struct configuration *c, struct figures *figures)
{
    uint64_t rounds = rounds_of(c);
    double entries = (double)(rounds * c->batch);
    cluster_begin(cluster, c->nodes, c->protocol, arena_for(c, rounds));
    run_rounds(cluster, c, WARM_ROUNDS);
    uint64_t messages = cluster->messages;
    uint64_t allocations = total_allocations(cluster);
    uint64_t log_bytes = total_log_bytes(cluster);
    uint64_t begin = bench_now_ns();
    run_rounds(cluster, c, rounds);
    double ns = (double)(bench_now_ns() - begin) / entries;
    figures->messages = (double)(cluster->messages - messages) / entries;
    figures->allocations = (double)(total_allocations(cluster) - allocations) / entries;
    figures->log_bytes =
        (double)(total_log_bytes(cluster) - log_bytes) / entries / (double)c->nodes;
    if (figures->ns == 0 || ns < figures->ns) {
        figures->ns = ns;
    }
    finish(cluster);
    cluster_end(cluster);
}

static void print_figures(const struct configuration *c, const struct figures *figures)
{
    char name[128];
    snprintf(name, sizeof name, "%s_time", c->name);
    bench_print(name, figures->ns, "ns/entry");
    snprintf(name, sizeof name, "%s_messages", c->name);
    bench_print(name, figures->messages, "messages/entry");
    snprintf(name, sizeof name, "%s_allocations", c->name);
    bench_print(name, figures->allocations, "allocations/entry");
    /* Every byte of the log was written by the one copy: its growth is what was copied. */
    snprintf(name, sizeof name, "%s_copied", c->name);
    bench_print(name, figures->log_bytes, "bytes/entry/node");
}

static void measure_rounds(struct cluster *cluster)
{
    struct figures figures[CONFIGURATIONS];
    memset(figures, 0, sizeof figures);
    for (int run = 0; run < RUNS; run++) {
        for (size_t i = 0; i < CONFIGURATIONS; i++) {
            measure(cluster, &configurations[i], &figures[i]);
        }
    }
    for (size_t i = 0; i < CONFIGURATIONS; i++) {
        print_figures(&configurations[i], &figures[i]);
    }
}

/* ---- Small things ---------------------------------------------------------------------------- */

static void idle_polls(struct cluster *cluster, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        poll_node(cluster, cluster->leader);
    }
}

/* One heartbeat to each follower, and their answers where it asks for them. */
static void heartbeat_rounds(struct cluster *cluster, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        cluster->now_ms = raft_deadline(cluster->members[cluster->leader].node);
        poll_node(cluster, cluster->leader);
        poll_followers(cluster);
        poll_node(cluster, cluster->leader);
    }
}

struct append {
    uint8_t *entries;
    uint8_t *wire;
    size_t wire_bytes;
    raft_message message;
};

static void append_begin(struct append *append, size_t count, size_t payload_bytes)
{
    static const uint8_t payload[PAYLOAD_MAX];
    size_t each = raft_entry_size(payload_bytes);
    memset(append, 0, sizeof *append);
    append->wire_bytes = RAFT_MESSAGE_HEADER + count * each;
    append->entries = malloc(count * each);
    append->wire = malloc(append->wire_bytes);
    if (!append->entries || !append->wire) {
        bench_fail("no memory");
    }
    for (size_t i = 0; i < count; i++) {
        raft_entry entry = {.data = payload, .size = payload_bytes, .kind = RAFT_ENTRY_DATA};
        raft_entry_encode(&entry, append->entries + i * each, each);
    }
    append->message = (raft_message){.cluster = 1,
                                     .group = 1,
                                     .from = 1,
                                     .to = 2,
                                     .term = 2,
                                     .index = 10,
                                     .index_term = 2,
                                     .commit = 9,
                                     .kind = RAFT_MESSAGE_APPEND,
                                     .range_count = 1};
    append->message.ranges[0] = (raft_range){11, 2, count, count * each, append->entries};
}

static void append_end(struct append *append)
{
    free(append->entries);
    free(append->wire);
}

static void code_appends(struct append *append, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        raft_message decoded;
        append->message.commit = i % 8;
        if (!raft_encode(&append->message, append->wire, append->wire_bytes) ||
            raft_decode(append->wire, append->wire_bytes, &decoded)) {
            bench_fail("an append does not survive its encoding");
        }
    }
}

static void copy_appends(struct append *append, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        append->entries[RAFT_ENTRY_HEADER] = (uint8_t)i;
        memcpy(append->wire + RAFT_MESSAGE_HEADER, append->entries,
               append->wire_bytes - RAFT_MESSAGE_HEADER);
    }
}

static double least(double a, double b)
{
    return a == 0 || b < a ? b : a;
}

static void measure_idle(struct cluster *cluster, const char *prefix, int protocol)
{
    enum { POLLS = 200000, BEATS = 20000 };
    double poll_ns = 0, beat_ns = 0;
    char name[64];
    for (int run = 0; run < RUNS; run++) {
        cluster_begin(cluster, 3, protocol, 4u << 20);
        uint64_t begin = bench_now_ns();
        idle_polls(cluster, POLLS);
        uint64_t middle = bench_now_ns();
        heartbeat_rounds(cluster, BEATS);
        beat_ns = least(beat_ns, (double)(bench_now_ns() - middle) / BEATS);
        poll_ns = least(poll_ns, (double)(middle - begin) / POLLS);
        cluster_end(cluster);
    }
    snprintf(name, sizeof name, "%s_idle_poll_time", prefix);
    bench_print(name, poll_ns, "ns/poll");
    snprintf(name, sizeof name, "%s_heartbeat_round_3nodes_time", prefix);
    bench_print(name, beat_ns, "ns/round");
}

static void measure_memory(struct cluster *cluster)
{
    double live[2];
    cluster_begin(cluster, 3, RAFT_PROTOCOL_RAFT, 4u << 20);
    bench_print("engine_memory_idle_leader", (double)cluster->members[0].arena.live_bytes, "bytes");
    live[0] = (double)cluster->members[1].arena.live_bytes;
    cluster_end(cluster);
    cluster_begin(cluster, 5, RAFT_PROTOCOL_RAFT, 4u << 20);
    live[1] = (double)cluster->members[1].arena.live_bytes;
    cluster_end(cluster);
    bench_print("engine_memory_idle_follower", live[0], "bytes");
    bench_print("engine_memory_each_peer", (live[1] - live[0]) / 2, "bytes");
}

static void measure_codec(size_t payload_bytes)
{
    enum { MESSAGES = 20000, ENTRIES = 64 };
    struct append append;
    double code_ns = 0, copy_ns = 0;
    char name[64];
    append_begin(&append, ENTRIES, payload_bytes);
    for (int run = 0; run < RUNS; run++) {
        uint64_t begin = bench_now_ns();
        code_appends(&append, MESSAGES);
        uint64_t middle = bench_now_ns();
        copy_appends(&append, MESSAGES);
        copy_ns = least(copy_ns, (double)(bench_now_ns() - middle) / MESSAGES / ENTRIES);
        code_ns = least(code_ns, (double)(middle - begin) / MESSAGES / ENTRIES);
    }
    append_end(&append);
    snprintf(name, sizeof name, "engine_encode_decode_%zuB_64", payload_bytes);
    bench_print(name, code_ns, "ns/entry");
    snprintf(name, sizeof name, "engine_copy_alone_%zuB_64", payload_bytes);
    bench_print(name, copy_ns, "ns/entry");
}

void bench_engine(void)
{
    static struct cluster cluster;
    measure_rounds(&cluster);
    measure_idle(&cluster, "engine", RAFT_PROTOCOL_RAFT);
    measure_idle(&cluster, "engine_multipaxos", RAFT_PROTOCOL_MULTIPAXOS);
    measure_memory(&cluster);
    measure_codec(16);
    measure_codec(256);
    free_arenas(&cluster);
}

/* ---- One configuration, for counting --------------------------------------------------------- */

struct small {
    const char *name;
    uint64_t per_round;
    const char *unit;
    void (*run)(uint64_t rounds);
};

static void run_idle(int protocol, void (*run)(struct cluster *, uint64_t), uint64_t rounds)
{
    static struct cluster cluster;
    cluster_begin(&cluster, 3, protocol, 4u << 20);
    run(&cluster, rounds);
    cluster_end(&cluster);
    free_arenas(&cluster);
}

static void run_idle_polls(uint64_t rounds)
{
    run_idle(RAFT_PROTOCOL_RAFT, idle_polls, rounds);
}

static void run_heartbeats(uint64_t rounds)
{
    run_idle(RAFT_PROTOCOL_RAFT, heartbeat_rounds, rounds);
}

static void run_multipaxos_idle_polls(uint64_t rounds)
{
    run_idle(RAFT_PROTOCOL_MULTIPAXOS, idle_polls, rounds);
}

static void run_multipaxos_heartbeats(uint64_t rounds)
{
    run_idle(RAFT_PROTOCOL_MULTIPAXOS, heartbeat_rounds, rounds);
}

static void run_codec(uint64_t rounds)
{
    struct append append;
    append_begin(&append, 64, 16);
    code_appends(&append, rounds);
    append_end(&append);
}

static void run_copy(uint64_t rounds)
{
    struct append append;
    append_begin(&append, 64, 16);
    copy_appends(&append, rounds);
    append_end(&append);
}

static const struct small smalls[] = {
    {"engine_idle_poll", 1, "poll", run_idle_polls},
    {"engine_heartbeat_round_3nodes", 1, "round", run_heartbeats},
    {"engine_multipaxos_idle_poll", 1, "poll", run_multipaxos_idle_polls},
    {"engine_multipaxos_heartbeat_round_3nodes", 1, "round", run_multipaxos_heartbeats},
    {"engine_encode_decode_16B_64", 64, "entry", run_codec},
    {"engine_copy_alone_16B_64", 64, "entry", run_copy},
};

enum { SMALLS = sizeof smalls / sizeof smalls[0] };

/* Arenas of one size up to so many rounds, so that touching them cancels out in a difference. */
static void count_rounds(const struct configuration *c, uint64_t rounds)
{
    static struct cluster cluster;
    uint64_t usual = 24 + 6144 / c->batch;
    cluster_begin(&cluster, c->nodes, c->protocol, arena_for(c, rounds > usual ? rounds : usual));
    run_rounds(&cluster, c, rounds);
    finish(&cluster);
    cluster_end(&cluster);
    free_arenas(&cluster);
}

int bench_count(const char *name, uint64_t rounds, uint64_t *per_round)
{
    for (size_t i = 0; i < CONFIGURATIONS; i++) {
        if (!strcmp(configurations[i].name, name)) {
            *per_round = configurations[i].batch;
            count_rounds(&configurations[i], rounds);
            return 0;
        }
    }
    for (size_t i = 0; i < SMALLS; i++) {
        if (!strcmp(smalls[i].name, name)) {
            *per_round = smalls[i].per_round;
            smalls[i].run(rounds);
            return 0;
        }
    }
    return -1;
}

void bench_list(void)
{
    for (size_t i = 0; i < CONFIGURATIONS; i++) {
        printf("%s %zu entry\n", configurations[i].name, configurations[i].batch);
    }
    for (size_t i = 0; i < SMALLS; i++) {
        printf("%s %llu %s\n", smalls[i].name, (unsigned long long)smalls[i].per_round,
               smalls[i].unit);
    }
}
