/*
 * Many groups in one process: three servers that take turns in one thread, each with a replica of
 * every group, one log with real fdatasync, one transport over loopback and one `struct groups`.
 * What is said of processor time is the three servers' together.
 *
 * The groups are founded, each is led by one of the servers in turn, and they fall asleep. Then:
 * what they cost while nobody needs them; what a hundred that are busy cost beside them; how long a
 * sleeping one takes to wake and commit; how long until all have a leader again after a server has
 * died.
 */
#define _XOPEN_SOURCE 700

#include "bench.h"
#include "groups.h"
#include "io.h"
#include "loop.h"
#include "transport.h"
#include "wal.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SERVERS = 3,
    BUSY = 100,
    ELECTION_MS = 2000,
    HEARTBEAT_MS = 500,
    READY_MS = 60000, /* for what has to come to pass before anything is measured */
    MEASURE_MS = 2000,
    WAKE_UPS = 300,
    AWAKE_WAIT_MS = 10, /* of each server in its turn, the others waiting meanwhile */
    ASLEEP_WAIT_MS = 250,
    PAYLOAD = 16
};

struct replica {
    struct group group;
    struct server *server;
    raft_index proposed; /* here, last */
    raft_index applied;
};

struct server {
    raft_id id;
    struct loop *loop;
    struct transport *transport;
    wal *log;
    struct groups groups;
    struct replica *replicas; /* group g is at g - 1 */
    uint64_t turns;           /* in which something was polled */
    raft_id lost;             /* whose connection broke; 0: nobody's */
    uint64_t lost_ms;         /* when the rest of the groups are told; 0: none was told yet */
    int dead;
};

static struct server servers[SERVERS];
static size_t group_count;
static int64_t live_bytes; /* of all nodes */
static char directory[256];
static volatile sig_atomic_t stop_asked;

static uint64_t now_ms(void)
{
    return io_posix.now_ms(io_posix.ctx);
}

/* ---- The parts of a server ------------------------------------------------------------------ */

static struct replica *replica_of(struct server *server, uint64_t group)
{
    if (group == 0 || group > group_count) {
        bench_fail("a group that there is not");
    }
    return &server->replicas[group - 1];
}

static void must(int status, const char *what)
{
    if (status != 0) {
        bench_fail(what);
    }
}

static int persist(void *host, const raft_write *write)
{
    struct replica *replica = host;
    uint64_t group = (uint64_t)(replica - replica->server->replicas) + 1;
    return wal_append(replica->server->log, group, write);
}

static void send_message(void *host, const raft_message *message)
{
    struct replica *replica = host;
    transport_send(replica->server->transport, message);
}

static int apply(void *host, const raft_range *range)
{
    struct replica *replica = host;
    replica->applied = range->first + range->count - 1;
    return RAFT_OK;
}

static void *count_alloc(void *host, void *p, size_t old_size, size_t new_size)
{
    (void)host;
    if (new_size == 0) {
        live_bytes -= (int64_t)old_size;
        free(p);
        return NULL;
    }
    void *made = realloc(p, new_size);
    if (made) {
        live_bytes += (int64_t)new_size - (int64_t)old_size;
    }
    return made;
}

static void on_message(void *host, const raft_message *message)
{
    struct server *server = host;
    struct replica *replica = replica_of(server, message->group);
    must(raft_receive(replica->group.node, message), "a message was refused");
    groups_touch(&server->groups, &replica->group);
}

static void on_connection(void *host, raft_id peer, int up)
{
    struct server *server = host;
    if (!up) {
        server->lost = peer;
    }
}

static void on_stored(void *host, uint64_t group, uint64_t seq, int status)
{
    struct server *server = host;
    struct replica *replica = replica_of(server, group);
    must(raft_persisted(replica->group.node, seq, status), "a write failed");
    groups_touch(&server->groups, &replica->group);
}

/*
 * Whose turn it is to follow the lost server in a group: with all of them campaigning at once the
 * votes would be split. Spread over the groups, so that all have as many to lead.
 */
static int is_heir(const struct server *server, uint64_t group)
{
    raft_id living = (server->id + SERVERS - server->lost) % SERVERS; /* 1 or 2 behind it */
    return group % (SERVERS - 1) + 1 == living;
}

static void tell_groups(struct server *server, int only_as_heir)
{
    for (uint64_t g = 1; g <= group_count; g++) {
        struct group *group = &replica_of(server, g)->group;
        raft_status status = {.size = sizeof status};
        raft_get_status(group->node, &status);
        if (status.leader == server->lost && (!only_as_heir || is_heir(server, g))) {
            must(raft_unreachable(group->node, server->lost), "a node failed");
            groups_touch(&server->groups, group);
        }
    }
}

/*
 * Nothing that was lent is in the transport's hands any more when this is called. Where the heir is
 * lost, too, the others hear of it one timeout later.
 */
static void tell_lost(struct server *server)
{
    if (server->lost_ms == 0) {
        tell_groups(server, 1);
        server->lost_ms = now_ms() + ELECTION_MS;
    } else if (now_ms() >= server->lost_ms) {
        tell_groups(server, 0);
        server->lost = 0;
        server->lost_ms = 0;
    }
}

static void turn(struct server *server, int wait_ms)
{
    if (loop_wait(server->loop, groups_deadline(&server->groups) == 0 ? 0 : wait_ms) < 0) {
        bench_fail("the loop failed");
    }
    transport_tick(server->transport, now_ms());
    server->turns += groups_poll(&server->groups, now_ms()) > 0;
    transport_flush(server->transport);
    must(wal_commit(server->log), "the log failed");
    wal_collect(server->log, on_stored, server);
    if (server->lost != 0) {
        tell_lost(server);
    }
}

static void turn_all(int wait_ms)
{
    for (size_t i = 0; i < SERVERS; i++) {
        if (!servers[i].dead) {
            turn(&servers[i], wait_ms);
        }
    }
    if (stop_asked) {
        bench_fail("interrupted");
    }
}

static void turn_for(uint64_t duration_ms, int wait_ms)
{
    uint64_t end_ms = now_ms() + duration_ms;
    while (now_ms() < end_ms) {
        turn_all(wait_ms);
    }
}

static void turn_until(int (*holds)(void), const char *what)
{
    uint64_t end_ms = now_ms() + READY_MS;
    while (!holds()) {
        if (now_ms() > end_ms) {
            bench_fail(what);
        }
        turn_all(0);
    }
}

/* ---- The beginning and the end -------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void remove_directory(void)
{
    if (directory[0]) {
        nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        directory[0] = '\0';
    }
}

static void ask_stop(int signal)
{
    (void)signal;
    stop_asked = 1;
}

static void make_directory(void)
{
    const char *parent = getenv("TMPDIR");
    struct sigaction action;
    snprintf(directory, sizeof directory, "%s/keelson-groups-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(directory)) {
        directory[0] = '\0';
        bench_fail("no scratch directory");
    }
    atexit(remove_directory);
    memset(&action, 0, sizeof action);
    action.sa_handler = ask_stop;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static void open_server(struct server *server, raft_id id)
{
    char path[300];
    *server = (struct server){.id = id};
    snprintf(path, sizeof path, "%s/%u", directory, (unsigned)id);
    struct wal_options log = {.io = &io_posix, .directory = path, .cluster = 1, .node = id};
    server->loop = loop_new(&io_posix);
    struct transport_options transport = {.io = &io_posix,
                                          .loop = server->loop,
                                          .id = id,
                                          .listen = "127.0.0.1:0",
                                          .host = server,
                                          .on_message = on_message,
                                          .on_connection = on_connection};
    server->replicas = calloc(group_count, sizeof *server->replicas);
    if (!server->loop || !server->replicas) {
        bench_fail("no memory");
    }
    must(wal_open(&log, NULL, NULL, NULL, &server->log), "cannot open a log");
    must(transport_open(&transport, &server->transport), "cannot listen");
    groups_init(&server->groups);
}

static void connect_servers(void)
{
    char address[32];
    for (size_t i = 0; i < SERVERS; i++) {
        for (size_t j = 0; j < SERVERS; j++) {
            if (i != j) {
                snprintf(address, sizeof address, "127.0.0.1:%u",
                         transport_port(servers[j].transport));
                must(transport_peer(servers[i].transport, j + 1, address), "cannot add a peer");
            }
        }
    }
}

static void open_replica(struct server *server, uint64_t group)
{
    const raft_member members[SERVERS] = {{.id = 1}, {.id = 2}, {.id = 3}};
    struct replica *replica = replica_of(server, group);
    raft_options options;
    raft_callbacks callbacks;
    raft *node;
    raft_options_init(&options);
    raft_callbacks_init(&callbacks);
    options.id = server->id;
    options.group = group;
    options.election_timeout_ms = ELECTION_MS;
    options.heartbeat_ms = HEARTBEAT_MS;
    options.quiesce = 1;
    callbacks.persist = persist;
    callbacks.send = send_message;
    callbacks.apply = apply;
    callbacks.alloc = count_alloc;
    replica->server = server;
    must(raft_new(&options, &callbacks, replica, &node), "cannot make a node");
    must(raft_bootstrap(node, members, SERVERS), "cannot found a group");
    must(raft_start(node, now_ms()), "cannot start a node");
    must(groups_add(&server->groups, &replica->group, node), "no memory");
}

static void close_server(struct server *server)
{
    (void)wal_close(server->log); /* before the nodes: it was lent their bytes */
    transport_close(server->transport);
    for (size_t g = 0; g < group_count; g++) {
        raft_free(server->replicas[g].group.node);
    }
    groups_free(&server->groups);
    loop_free(server->loop);
    free(server->replicas);
}

/* ---- What is waited for --------------------------------------------------------------------- */

static raft_status status_of(struct replica *replica)
{
    raft_status status = {.size = sizeof status};
    raft_get_status(replica->group.node, &status);
    return status;
}

static int are_connected(void)
{
    struct transport_peer_status peer;
    for (size_t i = 0; i < SERVERS; i++) {
        for (raft_id id = 1; id <= SERVERS; id++) {
            if (id != servers[i].id &&
                (transport_peer_status(servers[i].transport, id, &peer) || !peer.sending)) {
                return 0;
            }
        }
    }
    return 1;
}

/* Null where none leads that has committed all it has. */
static struct replica *leader_of(uint64_t group)
{
    for (size_t i = 0; i < SERVERS; i++) {
        struct replica *replica = replica_of(&servers[i], group);
        raft_status status = status_of(replica);
        if (!servers[i].dead && status.role == RAFT_ROLE_LEADER &&
            status.commit_index == status.last_index) {
            return replica;
        }
    }
    return NULL;
}

static uint64_t next_without_leader; /* all groups before it have one */

static int all_have_leaders(void)
{
    while (next_without_leader <= group_count && leader_of(next_without_leader)) {
        next_without_leader++;
    }
    return next_without_leader > group_count;
}

static int all_asleep(void)
{
    for (size_t i = 0; i < SERVERS; i++) {
        if (groups_deadline(&servers[i].groups) != RAFT_NEVER) {
            return 0;
        }
    }
    return 1;
}

static void campaign_everywhere(void)
{
    for (uint64_t group = 1; group <= group_count; group++) {
        struct server *server = &servers[group % SERVERS];
        struct replica *replica = replica_of(server, group);
        must(raft_campaign(replica->group.node), "cannot campaign");
        groups_touch(&server->groups, &replica->group);
    }
}

/* ---- Measuring ------------------------------------------------------------------------------ */

/* Sums over the servers that live, or did so far. */
struct totals {
    uint64_t ns, cpu_ns;
    uint64_t polls, turns, syncs, sync_us, writes, frames, messages;
};

static uint64_t cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static struct totals totals_now(void)
{
    struct totals totals = {.ns = bench_now_ns(), .cpu_ns = cpu_ns()};
    for (size_t i = 0; i < SERVERS; i++) {
        struct wal_stats log;
        struct transport_stats transport;
        if (!servers[i].dead) {
            wal_get_stats(servers[i].log, &log);
            transport_stats(servers[i].transport, &transport);
            totals.polls += servers[i].groups.polls;
            totals.turns += servers[i].turns;
            totals.syncs += log.syncs;
            totals.sync_us += log.sync_us_sum;
            totals.writes += log.writes;
            totals.frames += transport.frames_sent;
            totals.messages += transport.messages_sent;
        }
    }
    return totals;
}

static void print_ratio(const char *name, const char *what, uint64_t amount, uint64_t by,
                        const char *unit)
{
    char text[96];
    snprintf(text, sizeof text, "groups_%s_%s", name, what);
    bench_print(text, by ? (double)amount / (double)by : 0, unit);
}

/* Groups nobody needs, for a while: awake, they say that they live. */
static void measure_idle(const char *name, int wait_ms)
{
    struct totals before = totals_now();
    turn_for(MEASURE_MS, wait_ms);
    struct totals after = totals_now();
    uint64_t ms = (after.ns - before.ns) / 1000000;
    print_ratio(name, "cpu", after.cpu_ns - before.cpu_ns, ms, "us/s");
    print_ratio(name, "polls", 1000 * (after.polls - before.polls), ms, "polls/s");
    print_ratio(name, "messages", 1000 * (after.messages - before.messages), ms, "messages/s");
}

/* Of all servers, in bytes; 0 where it cannot be read. */
static uint64_t resident_bytes(void)
{
    unsigned long long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file) {
        if (fscanf(file, "%llu %llu", &size, &resident) != 2) {
            resident = 0;
        }
        fclose(file);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void propose(struct replica *leader)
{
    static const uint8_t payload[PAYLOAD];
    must(raft_propose(leader->group.node, payload, sizeof payload, &leader->proposed, NULL),
         "a proposal was refused");
    groups_touch(&leader->server->groups, &leader->group);
}

static void finish_proposals(struct replica *const *leaders, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        while (leaders[i]->applied < leaders[i]->proposed) {
            turn_all(0);
        }
    }
}

/* Every busy group has so many proposals on their way, all the time. */
static void measure_busy(const char *name, size_t window, size_t busy)
{
    static struct replica *leaders[BUSY];
    uint64_t entries = 0;
    for (size_t i = 0; i < busy; i++) {
        leaders[i] = leader_of(i + 1);
        if (!leaders[i]) {
            bench_fail("a group has lost its leader");
        }
        leaders[i]->proposed = leaders[i]->applied;
    }
    struct totals before = totals_now();
    uint64_t end_ms = now_ms() + MEASURE_MS;
    while (now_ms() < end_ms) {
        for (size_t i = 0; i < busy; i++) {
            while (leaders[i]->proposed - leaders[i]->applied < window) {
                propose(leaders[i]);
                entries++;
            }
        }
        turn_all(0);
    }
    struct totals after = totals_now();
    finish_proposals(leaders, busy);
    uint64_t turns = after.turns - before.turns;
    print_ratio(name, "entries", 1000 * entries, (after.ns - before.ns) / 1000000, "entries/s");
    print_ratio(name, "cpu", after.cpu_ns - before.cpu_ns, entries, "ns/entry");
    print_ratio(name, "syncs", after.syncs - before.syncs, entries, "syncs/entry");
    print_ratio(name, "syncs_per_turn", after.syncs - before.syncs, turns, "syncs/turn");
    print_ratio(name, "sync", after.sync_us - before.sync_us, after.syncs - before.syncs,
                "us/sync");
    print_ratio(name, "writes", after.writes - before.writes, after.syncs - before.syncs,
                "writes/sync");
    print_ratio(name, "messages", after.messages - before.messages, entries, "messages/entry");
    print_ratio(name, "frames", after.frames - before.frames, turns, "frames/turn");
    print_ratio(name, "polls", after.polls - before.polls, turns, "polls/turn");
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* One sleeping group after the other: from the proposal to its being applied by the leader. */
static void measure_wake_up(size_t first, size_t count)
{
    static uint64_t us[WAKE_UPS];
    for (size_t i = 0; i < count; i++) {
        struct replica *leader = leader_of(first + i);
        if (!leader || !status_of(leader).asleep) {
            bench_fail("a group does not sleep");
        }
        uint64_t begin_ns = bench_now_ns();
        propose(leader);
        finish_proposals(&leader, 1);
        us[i] = (bench_now_ns() - begin_ns) / 1000;
    }
    qsort(us, count, sizeof us[0], compare_numbers);
    bench_print("groups_wake_up_median", (double)us[count / 2], "us");
    bench_print("groups_wake_up_p99", (double)us[count * 99 / 100], "us");
}

/*
 * While all sleep, the last server is not heard any more and its connections break, as when its
 * process is killed. Groups that are awake would wait for their election timers as ever.
 */
static void measure_death(void)
{
    struct server *victim = &servers[SERVERS - 1];
    size_t orphans = 0;
    for (uint64_t group = 1; group <= group_count; group++) {
        orphans += status_of(replica_of(victim, group)).role == RAFT_ROLE_LEADER;
    }
    transport_close(victim->transport);
    victim->transport = NULL;
    victim->dead = 1;
    struct totals before = totals_now();
    next_without_leader = 1;
    turn_until(all_have_leaders, "not every group has a leader again");
    struct totals after = totals_now();
    bench_print("groups_death_orphans", (double)orphans, "groups");
    bench_print("groups_death_time", (double)(after.ns - before.ns) / 1e6, "ms");
    print_ratio("death", "polls", after.polls - before.polls, orphans, "polls/group");
    print_ratio("death", "writes", after.writes - before.writes, after.syncs - before.syncs,
                "writes/sync");
}

static void measure_beginning(void)
{
    uint64_t resident = resident_bytes();
    uint64_t begin_ns = bench_now_ns();
    for (uint64_t group = 1; group <= group_count; group++) {
        for (size_t i = 0; i < SERVERS; i++) {
            open_replica(&servers[i], group);
        }
    }
    turn_all(0); /* the founding of all is stored, by one sync on each server */
    campaign_everywhere();
    next_without_leader = 1;
    turn_until(all_have_leaders, "not every group has a leader");
    bench_print("groups_founding_time", (double)(bench_now_ns() - begin_ns) / 1e6, "ms");
    measure_idle("awake", AWAKE_WAIT_MS);
    turn_until(all_asleep, "the groups do not fall asleep");
    print_ratio("asleep", "memory", (uint64_t)live_bytes, SERVERS * group_count, "bytes/node");
    print_ratio("asleep", "resident", resident_bytes() - resident, SERVERS * group_count,
                "bytes/node");
}

void bench_groups(size_t idle)
{
    size_t busy = idle < BUSY ? idle : BUSY;
    size_t wake_ups = idle < WAKE_UPS ? idle : WAKE_UPS;
    group_count = idle + busy;
    make_directory();
    for (size_t i = 0; i < SERVERS; i++) {
        open_server(&servers[i], i + 1);
    }
    connect_servers();
    turn_until(are_connected, "the servers do not find each other");
    bench_print("groups_idle", (double)idle, "groups");
    bench_print("groups_busy", (double)busy, "groups");
    measure_beginning();
    measure_idle("asleep", ASLEEP_WAIT_MS);
    measure_busy("busy_1", 1, busy);
    measure_busy("busy_16", 16, busy);
    measure_wake_up(busy + 1, wake_ups);
    turn_until(all_asleep, "the groups do not fall asleep again");
    measure_death();
    for (size_t i = 0; i < SERVERS; i++) {
        close_server(&servers[i]);
    }
    remove_directory();
}
