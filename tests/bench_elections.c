/*
 * What an election costs in each protocol: from the death of a leader to the first commit of its
 * successor, in the virtual time of the test cluster, where messages and disks take none. So the
 * time is that of timers and rounds lost alone, and messages and bytes are exact.
 */
#include "bench.h"
#include "cluster.h"

#include <stdio.h>

enum { SERVERS = 3, SEEDS = 100, TIMEOUT_MS = 1000, LAG = 1000, GIVE_UP_MS = 60000 };

struct cost {
    double messages;
    double bytes;
    double ms;
};

static int has_leader(struct cluster *cluster)
{
    return cluster_leader(cluster) != 0;
}

static struct cluster *start_group(int protocol, uint64_t seed)
{
    int before = cluster_protocol;
    cluster_protocol = protocol;
    struct cluster *cluster = cluster_create(SERVERS);
    cluster_protocol = before;
    for (raft_id id = 1; id <= SERVERS; id++) {
        cluster->nodes[id].options.seed = seed * SERVERS + id;
    }
    if (cluster_start(cluster) != RAFT_OK || !cluster_elect(cluster, 1)) {
        bench_fail("the group does not begin");
    }
    return cluster;
}

/* Commits entries, which one survivor lacks altogether if it lags. */
static void fill_logs(struct cluster *cluster, int lags)
{
    if (lags) {
        cluster_isolate(cluster, SERVERS);
    }
    for (int i = 0; i < LAG; i++) {
        if (cluster_propose(cluster, 1,
                            "an entry of about a hundred bytes, as commands of clients "
                            "are, with a key and a value in them") == 0) {
            bench_fail("the leader takes no proposal");
        }
        cluster_settle(cluster);
    }
    cluster_heal_all(cluster);
}

static void elect_successor(struct cluster *cluster, struct cost *cost)
{
    uint64_t mark = cluster->sent_count;
    uint64_t began = cluster->now_ms;
    cluster_crash(cluster, 1);
    if (!cluster_run_until(cluster, has_leader, GIVE_UP_MS)) {
        bench_fail("nobody is elected");
    }
    raft_id leader = cluster_leader(cluster);
    raft_index index = cluster_propose(cluster, leader, "the first");
    cluster_settle(cluster);
    if (index == 0 || cluster_commit(cluster, leader) < index) {
        bench_fail("the successor commits nothing");
    }
    cost->ms += (double)(cluster->now_ms - began) / SEEDS;
    cost->messages += (double)(cluster->sent_count - mark) / SEEDS;
    for (size_t i = mark; i < cluster->sent_count; i++) {
        cost->bytes += (double)cluster->sent[i].size / SEEDS;
    }
}

static void print_cost(const char *protocol, const char *logs, const struct cost *cost)
{
    char name[128];
    snprintf(name, sizeof name, "election_%s_%s_messages", protocol, logs);
    bench_print(name, cost->messages, "messages");
    snprintf(name, sizeof name, "election_%s_%s_bytes", protocol, logs);
    bench_print(name, cost->bytes, "bytes");
    snprintf(name, sizeof name, "election_%s_%s_time", protocol, logs);
    bench_print(name, cost->ms / TIMEOUT_MS, "election_timeouts");
}

void bench_elections(void)
{
    static const char *const names[2] = {"raft", "multipaxos"};
    static const int protocols[2] = {RAFT_PROTOCOL_RAFT, RAFT_PROTOCOL_MULTIPAXOS};
    for (int lags = 0; lags < 2; lags++) {
        for (int i = 0; i < 2; i++) {
            struct cost cost = {0, 0, 0};
            for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                struct cluster *cluster = start_group(protocols[i], seed);
                fill_logs(cluster, lags);
                elect_successor(cluster, &cost);
                cluster_free(cluster);
            }
            print_cost(names[i], lags ? "one_lagging" : "equal", &cost);
        }
    }
}
