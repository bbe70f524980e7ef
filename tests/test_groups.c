/*
 * Many groups in one process: exactly those are polled that were touched or are due, sleeping ones
 * cost nothing, and what concerns all of them reaches all of them.
 *
 * The source is compiled in with an allocator of our own, so that memory can fail. Three servers
 * hand their messages over in memory, and the clock is a number.
 */
#include <stdlib.h>

#include "check.h"
#include "cluster.h"

static int memory_fails;

static void *fallible_realloc(void *p, size_t size)
{
    return memory_fails ? NULL : realloc(p, size);
}

#define realloc fallible_realloc
#include "groups.c"
#undef realloc

#include "sim/disk.h"
#include "wal.h"

enum { SERVERS = 3, GROUPS = 100 };

static const uint64_t LONGEST = 2000; /* the longest election timeout by default */

struct replica {
    struct group group;
    struct server *server;
    raft_index applied;
    int touches_when_applying; /* a callback that gives its own group something to do */
};

struct server {
    raft_id id;
    int dead;
    wal *log; /* null: what is written is durable at once */
    struct groups groups;
    struct replica replicas[GROUPS]; /* group g is at g - 1 */
};

static struct server servers[SERVERS];
static uint64_t now_ms;

/* ---- A host of three servers ---------------------------------------------------------------- */

static int persist(void *host, const raft_write *write)
{
    struct replica *replica = host;
    uint64_t group = (uint64_t)(replica - replica->server->replicas) + 1;
    wal *log = replica->server->log;
    return log ? wal_append(log, group, write) : RAFT_OK;
}

static void hand_over(void *host, const raft_message *message)
{
    (void)host;
    struct server *server = &servers[message->to - 1];
    struct replica *replica = &server->replicas[message->group - 1];
    if (!server->dead) {
        int status = raft_receive(replica->group.node, message);
        CHECK(status == RAFT_OK || status == RAFT_ESTOPPED);
        groups_touch(&server->groups, &replica->group);
    }
}

static int apply(void *host, const raft_range *range)
{
    struct replica *replica = host;
    replica->applied = range->first + range->count - 1;
    if (replica->touches_when_applying) {
        replica->touches_when_applying = 0;
        CHECK_EQ(raft_propose(replica->group.node, "more", 4, NULL, NULL), RAFT_OK);
        groups_touch(&replica->server->groups, &replica->group);
    }
    return RAFT_OK;
}

static void open_node(struct server *server, uint64_t group, const raft_member *members,
                      size_t count)
{
    struct replica *replica = &server->replicas[group - 1];
    raft_options options;
    raft_callbacks callbacks;
    raft *node;
    raft_options_init(&options);
    raft_callbacks_init(&callbacks);
    options.id = server->id;
    options.group = group;
    options.seed = 7;
    options.quiesce = 1;
    options.protocol = cluster_protocol;
    callbacks.persist = persist;
    callbacks.send = hand_over;
    callbacks.apply = apply;
    *replica = (struct replica){.server = server};
    CHECK_EQ(raft_new(&options, &callbacks, replica, &node), RAFT_OK);
    CHECK_EQ(raft_bootstrap(node, members, count), RAFT_OK);
    CHECK_EQ(raft_start(node, now_ms), RAFT_OK);
    CHECK_EQ(groups_add(&server->groups, &replica->group, node), 0);
}

static void open_replica(struct server *server, uint64_t group)
{
    const raft_member members[SERVERS] = {{.id = 1}, {.id = 2}, {.id = 3}};
    open_node(server, group, members, SERVERS);
}

static void close_replica(struct replica *replica)
{
    raft *node = replica->group.node;
    groups_remove(&replica->server->groups, &replica->group);
    CHECK_EQ(raft_free(node), RAFT_OK);
    replica->group.node = NULL;
}

static void open_servers(void)
{
    now_ms = 1;
    for (raft_id id = 1; id <= SERVERS; id++) {
        struct server *server = &servers[id - 1];
        server->id = id;
        server->dead = 0;
        groups_init(&server->groups);
    }
    for (uint64_t group = 1; group <= GROUPS; group++) {
        for (size_t i = 0; i < SERVERS; i++) {
            open_replica(&servers[i], group);
        }
    }
}

static void close_servers(void)
{
    for (size_t i = 0; i < SERVERS; i++) {
        for (size_t g = 0; g < GROUPS; g++) {
            close_replica(&servers[i].replicas[g]);
        }
        CHECK_EQ(servers[i].groups.count, 0);
        CHECK_EQ(groups_deadline(&servers[i].groups), RAFT_NEVER);
        groups_free(&servers[i].groups);
    }
}

static uint64_t next_deadline(void)
{
    uint64_t next = RAFT_NEVER;
    for (size_t i = 0; i < SERVERS; i++) {
        uint64_t deadline = servers[i].dead ? RAFT_NEVER : groups_deadline(&servers[i].groups);
        next = deadline < next ? deadline : next;
    }
    return next;
}

/* Polls all servers as long as anything is due. Returns how many polls that took. */
static size_t settle(void)
{
    size_t polled = 0;
    while (next_deadline() <= now_ms) {
        for (size_t i = 0; i < SERVERS; i++) {
            polled += servers[i].dead ? 0 : groups_poll(&servers[i].groups, now_ms);
        }
    }
    return polled;
}

/* Lets the clock jump from deadline to deadline. */
static void run(uint64_t duration_ms)
{
    uint64_t end_ms = now_ms + duration_ms;
    while (next_deadline() <= end_ms) {
        now_ms = next_deadline() > now_ms ? next_deadline() : now_ms;
        settle();
    }
    now_ms = end_ms;
}

static raft_status status_of(const struct replica *replica)
{
    raft_status status = {.size = sizeof status};
    CHECK_EQ(raft_get_status(replica->group.node, &status), RAFT_OK);
    return status;
}

static struct replica *leader_of(uint64_t group)
{
    for (size_t i = 0; i < SERVERS; i++) {
        struct replica *replica = &servers[i].replicas[group - 1];
        if (!servers[i].dead && status_of(replica).role == RAFT_ROLE_LEADER) {
            return replica;
        }
    }
    return NULL;
}

static size_t count_asleep(void)
{
    size_t asleep = 0;
    for (size_t i = 0; i < SERVERS; i++) {
        for (size_t g = 0; g < GROUPS; g++) {
            asleep += status_of(&servers[i].replicas[g]).asleep != 0;
        }
    }
    return asleep;
}

/* Leaders spread over the servers, and all groups asleep. */
static void open_sleeping_servers(void)
{
    open_servers();
    settle(); /* the founding is stored */
    for (uint64_t group = 1; group <= GROUPS; group++) {
        struct replica *replica = &servers[group % SERVERS].replicas[group - 1];
        CHECK_EQ(raft_campaign(replica->group.node), RAFT_OK);
        groups_touch(&replica->server->groups, &replica->group);
    }
    run(5 * LONGEST);
    CHECK_EQ(count_asleep(), SERVERS * GROUPS);
}

static void propose(struct replica *leader)
{
    CHECK_EQ(raft_propose(leader->group.node, "work", 4, NULL, NULL), RAFT_OK);
    groups_touch(&leader->server->groups, &leader->group);
}

/* ---- Whom a poll reaches -------------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t random_below(uint64_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % bound;
}

/* What groups_poll has to poll at now_ms, counted one by one. */
static size_t count_due(const struct server *server)
{
    size_t due = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        const struct group *group = &server->replicas[g].group;
        due += group->node && (group->touched || raft_deadline(group->node) <= now_ms);
    }
    return due;
}

static uint64_t earliest_deadline(const struct server *server)
{
    uint64_t earliest = RAFT_NEVER;
    for (size_t g = 0; g < GROUPS; g++) {
        const struct group *group = &server->replicas[g].group;
        uint64_t deadline = group->node ? raft_deadline(group->node) : RAFT_NEVER;
        earliest = deadline < earliest ? deadline : earliest;
    }
    return earliest;
}

/* A server whose peers are silent: timers of all kinds, and groups that come and go. */
static void polls_are_those_that_looking_at_each_would_find(void)
{
    struct server *server = &servers[0];
    random_state = 42;
    open_servers();
    servers[1].dead = servers[2].dead = 1;
    for (int step = 0; step < 5000; step++) {
        struct replica *replica = &server->replicas[random_below(GROUPS)];
        if (random_below(4) == 0) {
            uint64_t number = (uint64_t)(replica - server->replicas) + 1;
            if (replica->group.node) {
                close_replica(replica);
            } else {
                open_replica(server, number);
            }
        } else if (replica->group.node) {
            (void)raft_campaign(replica->group.node);
            groups_touch(&server->groups, &replica->group);
            groups_touch(&server->groups, &replica->group); /* twice is once */
        }
        if (random_below(3) == 0) {
            now_ms += random_below(300);
            size_t due = count_due(server);
            CHECK_EQ(groups_poll(&server->groups, now_ms), due);
            CHECK_EQ(groups_deadline(&server->groups), earliest_deadline(server));
        }
    }
    for (size_t g = 0; g < GROUPS; g++) {
        if (!server->replicas[g].group.node) {
            open_replica(server, g + 1);
        }
    }
    close_servers();
}

/* Deadlines set, moved and taken away at random; after each step the earliest is in front. */
static void the_heap_is_in_order_whatever_is_moved_or_removed(void)
{
    static struct group plain[GROUPS];
    struct groups groups;
    random_state = 7;
    groups_init(&groups);
    for (size_t i = 0; i < GROUPS; i++) {
        CHECK_EQ(groups_add(&groups, &plain[i], NULL), 0);
    }
    for (int step = 0; step < 20000; step++) {
        uint64_t deadline = random_below(3) == 0 ? RAFT_NEVER : random_below(1000);
        set_deadline(&groups, &plain[random_below(GROUPS)], deadline);
        for (size_t i = 0; i < groups.heap_count; i++) {
            CHECK_EQ(groups.heap[i]->place, i + 1);
            CHECK(groups.heap[(i - (i > 0)) / 2]->deadline_ms <= groups.heap[i]->deadline_ms);
        }
        size_t with_deadline = 0;
        for (size_t i = 0; i < GROUPS; i++) {
            with_deadline += plain[i].deadline_ms != RAFT_NEVER;
        }
        CHECK_EQ(groups.heap_count, with_deadline);
    }
    groups_free(&groups);
}

static void what_a_callback_touches_is_polled_next_time(void)
{
    open_sleeping_servers();
    struct replica *leader = leader_of(5);
    CHECK(leader != NULL);
    leader->touches_when_applying = 1;
    raft_index before = leader->applied;
    propose(leader);
    settle();
    CHECK_EQ(leader->applied, before + 2);
    close_servers();
}

static void a_node_that_failed_is_not_due(void)
{
    open_sleeping_servers();
    struct replica *leader = leader_of(5);
    CHECK(leader != NULL);
    CHECK_EQ(raft_stop(leader->group.node), RAFT_OK);
    groups_touch(&leader->server->groups, &leader->group);
    run(3 * LONGEST);
    CHECK_EQ(status_of(leader).error, RAFT_ESTOPPED);
    CHECK_EQ(leader->group.place, 0);
    close_servers();
}

/* ---- Sleep ---------------------------------------------------------------------------------- */

static void sleeping_groups_are_never_polled(void)
{
    open_sleeping_servers();
    CHECK_EQ(next_deadline(), RAFT_NEVER);
    now_ms += 1000000000;
    for (size_t i = 0; i < SERVERS; i++) {
        CHECK_EQ(servers[i].groups.heap_count, 0);
        CHECK_EQ(groups_poll(&servers[i].groups, now_ms), 0);
    }
    close_servers();
}

static void who_wakes_wakes_alone(void)
{
    open_sleeping_servers();
    struct replica *leader = leader_of(9);
    CHECK(leader != NULL);
    propose(leader);
    settle();
    CHECK_EQ(count_asleep(), SERVERS * (GROUPS - 1));
    for (size_t i = 0; i < SERVERS; i++) {
        CHECK_EQ(servers[i].groups.heap_count, 1);
        CHECK_EQ(servers[i].replicas[8].applied, leader->applied);
    }
    run(3 * LONGEST);
    CHECK_EQ(count_asleep(), SERVERS * GROUPS);
    close_servers();
}

/* R54: of a dead leader nobody in a sleeping group learns but by the host. */
static void a_lost_server_is_replaced_in_every_group(void)
{
    open_sleeping_servers();
    servers[0].dead = 1;
    run(10 * LONGEST);
    CHECK_EQ(count_asleep(), SERVERS * GROUPS);
    for (size_t i = 1; i < SERVERS; i++) {
        for (size_t g = 0; g < GROUPS; g++) {
            struct replica *replica = &servers[i].replicas[g];
            CHECK_EQ(raft_unreachable(replica->group.node, 1), RAFT_OK);
            groups_touch(&servers[i].groups, &replica->group);
        }
    }
    run(3 * LONGEST);
    for (uint64_t group = 1; group <= GROUPS; group++) {
        struct replica *leader = leader_of(group);
        CHECK(leader != NULL && leader->server != &servers[0]);
        propose(leader);
    }
    settle();
    for (uint64_t group = 1; group <= GROUPS; group++) {
        CHECK_EQ(leader_of(group)->applied, status_of(leader_of(group)).last_index);
    }
    servers[0].dead = 0;
    close_servers();
}

/* ---- One log for all ------------------------------------------------------------------------ */

static void on_stored(void *ctx, uint64_t group, uint64_t seq, int status)
{
    struct server *server = ctx;
    struct group *member = &server->replicas[group - 1].group;
    CHECK_EQ(raft_persisted(member->node, seq, status), RAFT_OK);
    groups_touch(&server->groups, member);
}

/* Turns of the only server that has a log, until nothing is due. */
static void turn_with_log(struct server *server)
{
    while (groups_deadline(&server->groups) <= now_ms) {
        groups_poll(&server->groups, now_ms);
        CHECK_EQ(wal_commit(server->log), RAFT_OK);
        wal_collect(server->log, on_stored, server);
    }
}

static void open_lone_replica(struct server *server, uint64_t group)
{
    const raft_member self = {.id = 1};
    open_node(server, group, &self, 1);
}

/* The writes of a turn are one batch with one sync, whatever the groups they are of. */
static void all_groups_share_a_sync(void)
{
    struct server *server = &servers[0];
    struct disk_options disk_options = {0};
    struct disk *disk = disk_new(&disk_options);
    struct wal_options options = {.io = disk_io(disk), .directory = "log", .cluster = 1, .node = 1};
    struct wal_stats before, after;
    *server = (struct server){.id = 1};
    groups_init(&server->groups);
    CHECK_EQ(wal_open(&options, NULL, NULL, NULL, &server->log), RAFT_OK);
    wal_get_stats(server->log, &before);
    for (uint64_t group = 1; group <= GROUPS; group++) {
        open_lone_replica(server, group);
    }
    turn_with_log(server);
    wal_get_stats(server->log, &after);
    CHECK_EQ(after.writes - before.writes, GROUPS);
    CHECK_EQ(after.syncs - before.syncs, 1);
    for (size_t g = 0; g < GROUPS; g++) {
        CHECK_EQ(raft_campaign(server->replicas[g].group.node), RAFT_OK);
        groups_touch(&server->groups, &server->replicas[g].group);
    }
    turn_with_log(server);
    wal_get_stats(server->log, &before);
    for (size_t g = 0; g < GROUPS; g++) {
        propose(&server->replicas[g]);
    }
    turn_with_log(server);
    wal_get_stats(server->log, &after);
    CHECK_EQ(after.writes - before.writes, GROUPS);
    CHECK_EQ(after.syncs - before.syncs, 1);
    for (size_t g = 0; g < GROUPS; g++) {
        CHECK_EQ(server->replicas[g].applied, status_of(&server->replicas[g]).last_index);
    }
    CHECK_EQ(wal_close(server->log), RAFT_OK);
    server->log = NULL;
    for (size_t g = 0; g < GROUPS; g++) {
        close_replica(&server->replicas[g]);
    }
    groups_free(&server->groups);
    disk_free(disk);
}

/* ---- Memory --------------------------------------------------------------------------------- */

static void only_adding_needs_memory_and_its_failure_changes_nothing(void)
{
    static struct replica extra;
    open_sleeping_servers();
    struct server *server = &servers[0];
    memory_fails = 1;
    CHECK_EQ(groups_poll(&server->groups, now_ms), 0);
    raft *node = server->replicas[0].group.node;
    close_replica(&server->replicas[1]);
    CHECK_EQ(groups_add(&server->groups, &server->replicas[1].group, node), 0); /* has room */
    groups_remove(&server->groups, &server->replicas[1].group);
    server->groups.capacity = server->groups.count;
    CHECK_EQ(groups_add(&server->groups, &extra.group, node), -1);
    CHECK_EQ(server->groups.count, GROUPS - 1);
    memory_fails = 0;
    open_replica(server, 2);
    settle();
    close_servers();
}

int main(void)
{
    RUN_BOTH(polls_are_those_that_looking_at_each_would_find);
    RUN(the_heap_is_in_order_whatever_is_moved_or_removed);
    RUN_BOTH(what_a_callback_touches_is_polled_next_time);
    RUN_BOTH(a_node_that_failed_is_not_due);
    RUN_BOTH(sleeping_groups_are_never_polled);
    RUN_BOTH(who_wakes_wakes_alone);
    RUN_BOTH(a_lost_server_is_replaced_in_every_group);
    RUN_BOTH(all_groups_share_a_sync);
    RUN(only_adding_needs_memory_and_its_failure_changes_nothing);
    return check_done();
}
