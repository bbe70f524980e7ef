/*
 * Multi-Paxos by log adoption (rules P1 to P18, the scenarios under [Multi-Paxos mode]).
 */
#include "check.h"
#include "cluster.h"

#include <stdlib.h>
#include <string.h>

enum { T = 1000, LONGEST = 2 * T };

static struct cluster *start_group(size_t count)
{
    cluster_protocol = RAFT_PROTOCOL_MULTIPAXOS;
    struct cluster *cluster = cluster_create(count);
    cluster_protocol = RAFT_PROTOCOL_RAFT;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    return cluster;
}

/* The slot of a founder is its place in the founding membership, the round counts from 1 (P1). */
static raft_term term_at(uint64_t round, raft_id owner)
{
    return round << 16 | owner;
}

static void fresh_group_has_one_leader_and_its_term_is_its_own(void)
{
    for (raft_id id = 1; id <= 3; id++) {
        struct cluster *cluster = start_group(3);
        CHECK(cluster_elect(cluster, id));
        CHECK_EQ(cluster_term(cluster, id), term_at(1, id));
        CHECK(cluster_propose(cluster, id, "first") == 1); /* no entry of its own is needed */
        cluster_settle(cluster);
        CHECK_EQ(cluster_commit(cluster, id), 1);
        CHECK(cluster_converged(cluster));
        CLUSTER_DONE(cluster);
    }
}

/* Whatever its log: it takes the best one, and nothing is lost (P4). */
static void shorter_log_wins_and_adopts_the_longer_one(void)
{
    struct cluster *cluster = start_group(3);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 3);
    for (int i = 0; i < 50; i++) {
        CHECK(cluster_propose(cluster, 1, "without the third") > 0);
    }
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 1), 50);
    cluster_heal_all(cluster);
    cluster_crash(cluster, 1);
    CHECK(cluster_elect(cluster, 3));
    CHECK_EQ(cluster_status(cluster, 3).last_index, 50);
    CHECK(cluster_status(cluster, 3).counters.pulls > 0);
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 3), 50);
    CLUSTER_DONE(cluster);
}

static void best_log_pulls_nothing(void)
{
    struct cluster *cluster = start_group(3);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 3);
    CHECK(cluster_propose(cluster, 1, "without the third") > 0);
    cluster_settle(cluster);
    cluster_heal_all(cluster);
    cluster_crash(cluster, 1);
    CHECK(cluster_elect(cluster, 2));
    CHECK_EQ(cluster_status(cluster, 2).counters.pulls, 0);
    CHECK_EQ(cluster_sent_count(cluster, 0, 2, 0, RAFT_MESSAGE_PULL), 0);
    CLUSTER_DONE(cluster);
}

static int persist_nothing(void *host, const raft_write *write)
{
    (void)host, (void)write;
    return RAFT_OK;
}

static void send_nothing(void *host, const raft_message *message)
{
    (void)host, (void)message;
}

static int apply_nothing(void *host, const raft_range *range)
{
    (void)host, (void)range;
    return RAFT_OK;
}

/* A protocol belongs to a group for ever: what one has stored is not of the other (P8). */
static void stored_membership_of_the_other_protocol_is_refused(void)
{
    uint8_t meta[] = {2, 0, 0, 0, 0, 0, 0, 0,                         /* format */
                      0, 0, 0, 0, 0, 0, 0, 0,                         /* index */
                      0, 0, 0, 0, 0, 0, 0, 0,                         /* term */
                      0, 0, 0, 0, 0, 0, 0, 0,                         /* accepted round */
                      0, 0, 0, 0, 0, 0, 0, 0,                         /* version */
                      1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* of one member, with id 1 */
                      1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0, 0, 0};
    raft_write write = {.meta = meta, .meta_size = sizeof(meta)};
    for (uint8_t stored = 0; stored < 2; stored++) {
        for (int asked = 0; asked < 2; asked++) {
            raft_options options;
            raft_callbacks callbacks;
            raft *node = NULL;
            raft_options_init(&options);
            raft_callbacks_init(&callbacks);
            callbacks.persist = persist_nothing;
            callbacks.send = send_nothing;
            callbacks.apply = apply_nothing;
            options.id = 1;
            options.protocol = asked;
            meta[41] = stored;
            CHECK_EQ(raft_new(&options, &callbacks, NULL, &node), RAFT_OK);
            CHECK_EQ(raft_restore(node, &write), stored == asked ? RAFT_OK : RAFT_EFOREIGN);
            CHECK_EQ(raft_start(node, 0), stored == asked ? RAFT_OK : RAFT_ESTATE);
            raft_free(node);
        }
    }
}

int main(void)
{
    RUN(fresh_group_has_one_leader_and_its_term_is_its_own);
    RUN(shorter_log_wins_and_adopts_the_longer_one);
    RUN(best_log_pulls_nothing);
    RUN(stored_membership_of_the_other_protocol_is_refused);
    return check_done();
}
