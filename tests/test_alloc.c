/*
 * Memory that fails. The same life of a small group is lived again and again; in life k the k-th
 * allocation of one server fails, once or together with all that follow until memory returns. Every
 * call must answer as raft.h says and change nothing where it fails, nothing may leak, the others
 * go on, and once memory is back the whole group converges.
 */
#include "check.h"
#include "cluster.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t T = 1000;
static const uint64_t LONGEST = 2000;

struct life {
    struct cluster *cluster;
    raft_id victim;
    uint64_t tag;
};

static void memory_returns(struct life *life)
{
    life->cluster->nodes[life->victim].memory.fail_at = 0;
}

/* Starts a node; where memory fails, it is there again for the second try. */
static void start(struct life *life, raft_id id)
{
    int code = cluster_restart(life->cluster, id);
    if (code != RAFT_OK) {
        CHECK_EQ(code, RAFT_ENOMEM);
        CHECK_EQ(id, life->victim);
        CHECK(life->cluster->nodes[id].raft == NULL);
        memory_returns(life);
        CHECK_EQ(cluster_restart(life->cluster, id), RAFT_OK);
    }
}

/* What raft.h allows a leader or former leader to answer here. */
static int is_allowed(int code)
{
    return code == RAFT_OK || code == RAFT_ENOMEM || code == RAFT_ENOTLEADER ||
           code == RAFT_ENOLEADER;
}

static void propose_some(struct life *life, raft_id id, size_t size)
{
    struct cluster *cluster = life->cluster;
    static char payload[20000];
    for (int i = 0; i < 20; i++) {
        raft_index index = 0;
        uint64_t before = cluster_fingerprint(cluster, id);
        int code = raft_propose(cluster->nodes[id].raft, payload, size, &index, NULL);
        CHECK(is_allowed(code));
        CHECK(code == RAFT_OK || cluster_fingerprint(cluster, id) == before);
        CHECK((code == RAFT_OK) == (index != 0));
        if (i % 5 == 0) {
            cluster_settle(cluster);
        }
    }
    cluster_settle(cluster);
}

static void propose_a_vector(struct life *life, raft_id id)
{
    struct cluster *cluster = life->cluster;
    static char payload[3000];
    raft_buf buffers[40];
    for (size_t i = 0; i < 40; i++) {
        buffers[i].data = payload;
        buffers[i].size = i * 70;
    }
    raft_index last = cluster_status(cluster, id).last_index;
    int code = raft_propose_many(cluster->nodes[id].raft, buffers, 40, NULL, NULL);
    CHECK(is_allowed(code));
    CHECK_EQ(cluster_status(cluster, id).last_index, last + (code == RAFT_OK ? 40 : 0));
    cluster_settle(cluster);
}

static void read_some(struct life *life, raft_id id)
{
    struct cluster *cluster = life->cluster;
    for (int i = 0; i < 20; i++) {
        uint64_t before = cluster_fingerprint(cluster, id);
        int code = raft_read(cluster->nodes[id].raft, ++life->tag);
        CHECK(is_allowed(code));
        CHECK(code == RAFT_OK || cluster_fingerprint(cluster, id) == before);
    }
    cluster_run(cluster, LONGEST);
}

/* Makes a node leader if memory lets it; another may have won meanwhile. */
static void campaign(struct life *life, raft_id id)
{
    struct cluster *cluster = life->cluster;
    raft_id leader = cluster_leader(cluster);
    if (leader == id) {
        return;
    }
    if (leader != 0) {
        cluster_isolate(cluster, leader);
    }
    cluster_run(cluster, T);
    int code = raft_campaign(cluster->nodes[id].raft);
    CHECK(code == RAFT_OK || code == RAFT_EBUSY);
    cluster_settle(cluster);
    cluster_heal_all(cluster);
    cluster_run(cluster, LONGEST);
}

/* The log of the victim is cut back once, so that truncation and limbo meet failing memory too. */
static void diverge(struct life *life, raft_id id)
{
    struct cluster *cluster = life->cluster;
    cluster_isolate(cluster, id);
    cluster_store_async(cluster, id, 1);
    propose_some(life, id, 500);
    cluster_run(cluster, 3 * LONGEST);
    cluster_store_async(cluster, id, 0);
    cluster_heal_all(cluster);
    cluster_run(cluster, LONGEST);
    cluster_complete(cluster, id);
    cluster_run(cluster, LONGEST);
}

/* Everything that a group does, with the leader named; returns whether any allocation failed. */
static int live(raft_id victim, raft_id leader, uint64_t fail_at, int fail_on)
{
    struct life life = {cluster_create(3), victim, 0};
    struct cluster *cluster = life.cluster;
    struct cluster_memory *memory = &cluster->nodes[victim].memory;
    memory->fail_at = fail_at;
    memory->fail_on = fail_on;
    for (raft_id id = 1; id <= 3; id++) {
        start(&life, id);
    }
    campaign(&life, leader);
    propose_some(&life, leader, 30);
    propose_some(&life, leader, 2500);
    propose_a_vector(&life, leader);
    read_some(&life, leader);
    diverge(&life, leader);
    campaign(&life, leader);
    propose_some(&life, leader, 20000);
    cluster_crash(cluster, victim);
    cluster_run(cluster, LONGEST);
    start(&life, victim);
    cluster_run(cluster, LONGEST);
    campaign(&life, victim);
    propose_some(&life, victim, 100);
    read_some(&life, victim);
    memory_returns(&life);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK(cluster_propose(cluster, cluster_leader(cluster), "all is well") > 0);
    cluster_run(cluster, 2 * LONGEST);
    CHECK(cluster_converged(cluster));
    CHECK_EQ(cluster_status(cluster, 1).reads_pending, 0);
    CHECK(cluster_elect(cluster, victim));
    int failed = memory->failed > 0;
    CLUSTER_DONE(cluster);
    return failed;
}

static void live_through_every_failure(raft_id victim, raft_id leader, int fail_on)
{
    uint64_t fail_at = 1;
    while (live(victim, leader, fail_at, fail_on)) {
        fail_at++;
    }
    CHECK(fail_at > 20);
}

static void a_leader_survives_each_single_allocation_failing(void)
{
    live_through_every_failure(1, 1, 0);
}

static void a_follower_survives_each_single_allocation_failing(void)
{
    live_through_every_failure(2, 1, 0);
}

static void a_leader_survives_memory_running_out_at_any_point(void)
{
    live_through_every_failure(1, 1, 1);
}

static void a_follower_survives_memory_running_out_at_any_point(void)
{
    live_through_every_failure(2, 1, 1);
}

static void a_single_voter_survives_each_allocation_failing(void)
{
    int failed = 1;
    for (uint64_t fail_at = 1; failed; fail_at++) {
        struct life life = {cluster_create(1), 1, 0};
        struct cluster *cluster = life.cluster;
        cluster->nodes[1].memory.fail_at = fail_at;
        start(&life, 1);
        cluster_run(cluster, 4 * LONGEST);
        CHECK_EQ(cluster_leader(cluster), 1);
        propose_some(&life, 1, 900);
        read_some(&life, 1);
        cluster_crash(cluster, 1);
        start(&life, 1);
        cluster_run(cluster, 4 * LONGEST);
        CHECK(cluster_converged(cluster));
        CHECK(cluster_status(cluster, 1).applied_index >= 19 + cluster_noops(cluster));
        failed = cluster->nodes[1].memory.failed > 0;
        CLUSTER_DONE(cluster);
    }
}

static void while_memory_is_out_a_leader_without_room_leaves_the_office_to_others(void)
{
    struct cluster *cluster = cluster_new(3);
    struct cluster_memory *memory = &cluster->nodes[1].memory;
    memory->fail_at = memory->calls + 1;
    memory->fail_on = 1;
    for (int i = 0; i < 20; i++) {
        raft_campaign(cluster->nodes[1].raft);
        cluster_run(cluster, 100);
    }
    cluster_run(cluster, 8 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    raft_index index = cluster_propose(cluster, cluster_leader(cluster), "without the poor one");
    cluster_run(cluster, LONGEST);
    CHECK(index == 0 || cluster_commit(cluster, cluster_leader(cluster)) >= index);
    memory->fail_at = 0;
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

static void everything_is_given_back_at_every_stage_of_a_life(void)
{
    for (uint64_t stage = 0; stage < 40; stage++) {
        struct cluster *cluster = cluster_new(3);
        cluster_store_async(cluster, 0, stage % 3 == 0);
        for (uint64_t i = 0; i < stage; i++) {
            cluster_run(cluster, 137);
            raft_id leader = cluster_leader(cluster);
            if (leader != 0) {
                cluster_propose(cluster, leader, "x");
                raft_read(cluster->nodes[leader].raft, i);
            }
            cluster_complete_one(cluster, 1 + i % 3);
        }
        CLUSTER_DONE(cluster);
    }
}

/* A steady state allocates nothing for each entry or message: only log segments, now and then. */
static void the_steady_state_allocates_next_to_nothing(void)
{
    struct cluster *cluster = cluster_new(3);
    CHECK(cluster_elect(cluster, 1));
    for (int i = 0; i < 2000; i++) {
        cluster_propose(cluster, 1, "warm up");
        cluster_settle(cluster);
    }
    uint64_t before[4];
    for (raft_id id = 1; id <= 3; id++) {
        before[id] = cluster->nodes[id].memory.calls;
    }
    for (int i = 0; i < 2000; i++) {
        cluster_propose(cluster, 1, "steady state");
        raft_read(cluster->nodes[1].raft, 1);
        cluster_settle(cluster);
    }
    for (raft_id id = 1; id <= 3; id++) {
        CHECK(cluster->nodes[id].memory.calls - before[id] <= 10);
    }
    CLUSTER_DONE(cluster);
}

int main(void)
{
    RUN_BOTH(a_leader_survives_each_single_allocation_failing);
    RUN_BOTH(a_follower_survives_each_single_allocation_failing);
    RUN_BOTH(a_leader_survives_memory_running_out_at_any_point);
    RUN_BOTH(a_follower_survives_memory_running_out_at_any_point);
    RUN_BOTH(a_single_voter_survives_each_allocation_failing);
    RUN_BOTH(while_memory_is_out_a_leader_without_room_leaves_the_office_to_others);
    RUN_BOTH(everything_is_given_back_at_every_stage_of_a_life);
    RUN_BOTH(the_steady_state_allocates_next_to_nothing);
    return check_done();
}
