/*
 * Partial partitions (Part 4 of the rules): as long as some server reaches a quorum, the group has
 * a leader again within four election timeouts, and where the old leader still reaches one, nothing
 * moves at all. Every case is tried with several seeds and latencies.
 */
#include "check.h"
#include "cluster.h"

#include <string.h>

static const uint64_t T = 1000;
static const uint64_t FOUR_TIMEOUTS = 4 * 2 * 1000;

enum { SEEDS = 25 };

static struct cluster *seeded_cluster(size_t count, raft_id leader, uint64_t seed)
{
    struct cluster *cluster = cluster_create(count);
    for (raft_id id = 1; id <= count; id++) {
        cluster->nodes[id].options.seed = seed * 7919;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, leader));
    cluster->latency_ms = seed % 4 * 5;
    CHECK(cluster_propose(cluster, leader, "before") > 0);
    cluster_run(cluster, T + seed * 37 % T);
    CHECK_EQ(cluster_leader(cluster), leader);
    return cluster;
}

/* Keeps only the links between a hub and all others. */
static void make_star(struct cluster *cluster, raft_id hub)
{
    for (raft_id i = 1; i <= cluster->count; i++) {
        for (raft_id j = i + 1; j <= cluster->count; j++) {
            if (i != hub && j != hub) {
                cluster_split(cluster, i, j);
            }
        }
    }
}

/*
 * A leader that commits a proposal made now is the only kind that counts. Something is proposed to
 * each new one, where it does not begin its term with an entry of its own.
 */
static int commits(struct cluster *cluster)
{
    raft_id leader = cluster_leader(cluster);
    if (leader == 0) {
        return 0;
    }
    const struct cluster_entry *last =
        cluster_stored(cluster, leader, cluster_status(cluster, leader).last_index);
    if (last == NULL || last->term != cluster_term(cluster, leader)) {
        cluster_propose(cluster, leader, "in this term");
        return 0;
    }
    return cluster_commit(cluster, leader) == last->index;
}

static void expect_recovery_by(struct cluster *cluster, raft_id leader)
{
    uint64_t since = cluster->now_ms;
    while ((cluster_leader(cluster) != leader || !commits(cluster)) &&
           cluster->now_ms < since + 4 * FOUR_TIMEOUTS) {
        cluster_run(cluster, 10);
    }
    CHECK_EQ(cluster_leader(cluster), leader);
    CHECK(cluster->now_ms <= since + FOUR_TIMEOUTS);
    CHECK(cluster_propose(cluster, leader, "after") > 0);
    cluster_run(cluster, T);
    CHECK(commits(cluster));
}

static void expect_recovery_by_another(struct cluster *cluster, raft_id old)
{
    uint64_t since = cluster->now_ms;
    while ((cluster_leader(cluster) == old || !commits(cluster)) &&
           cluster->now_ms < since + 4 * FOUR_TIMEOUTS) {
        cluster_run(cluster, 10);
    }
    CHECK(cluster_leader(cluster) != old && cluster_leader(cluster) != 0);
    CHECK(cluster->now_ms <= since + FOUR_TIMEOUTS);
    CHECK(cluster_propose(cluster, cluster_leader(cluster), "after") > 0);
    cluster_run(cluster, T);
    CHECK(commits(cluster));
}

static void heal_and_converge(struct cluster *cluster)
{
    cluster_heal_all(cluster);
    cluster_run(cluster, FOUR_TIMEOUTS);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

static void a_leader_that_lost_its_quorum_to_a_hub_is_replaced_by_the_hub(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(5, 1, seed);
        make_star(cluster, 3);
        expect_recovery_by(cluster, 3);
        heal_and_converge(cluster);
    }
}

static void the_hub_wins_a_star_of_seven_as_well(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(7, 7, seed);
        make_star(cluster, 4);
        expect_recovery_by(cluster, 4);
        heal_and_converge(cluster);
    }
}

static void a_hub_that_leads_already_goes_on_leading(void)
{
    struct cluster *cluster = seeded_cluster(5, 3, 1);
    raft_term term = cluster_term(cluster, 3);
    make_star(cluster, 3);
    cluster_run(cluster, 200 * T);
    CHECK_EQ(cluster_leader(cluster), 3);
    CHECK_EQ(cluster_term(cluster, 3), term);
    heal_and_converge(cluster);
}

/* The chain of November 2020: two servers cut from each other, both reach the third. */
static void in_a_chain_the_leader_stays_and_no_term_climbs_for_a_thousand_timeouts(void)
{
    for (raft_id leader = 1; leader <= 3; leader++) {
        struct cluster *cluster = seeded_cluster(3, leader, leader);
        raft_term term = cluster_term(cluster, leader);
        raft_id one = leader % 3 + 1;
        cluster_split(cluster, leader, one);
        for (int i = 0; i < 1000; i++) {
            cluster_run(cluster, 2 * T);
            if (i % 100 == 0) {
                CHECK(cluster_propose(cluster, leader, "goes on") > 0);
            }
        }
        CHECK_EQ(cluster_leader(cluster), leader);
        for (raft_id id = 1; id <= 3; id++) {
            CHECK_EQ(cluster_term(cluster, id), term);
        }
        CHECK(commits(cluster));
        heal_and_converge(cluster);
    }
}

static void in_a_chain_around_the_leader_nothing_moves(void)
{
    struct cluster *cluster = seeded_cluster(3, 3, 2);
    raft_term term = cluster_term(cluster, 3);
    cluster_split(cluster, 1, 2);
    cluster_run(cluster, 100 * T);
    CHECK_EQ(cluster_leader(cluster), 3);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CHECK_EQ(cluster_term(cluster, 2), term);
    heal_and_converge(cluster);
}

/* Of five: the old leader reaches only the bridge, which the majority needs or not. */
static void a_bridge_voter_does_not_keep_a_minority_leader_alive(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(5, 1, seed);
        cluster_isolate(cluster, 1);
        cluster_heal(cluster, 1, 3);
        cluster_heal(cluster, 3, 1);
        expect_recovery_by_another(cluster, 1);
        heal_and_converge(cluster);
    }
}

/* The majority cannot elect without the bridge: {1, 2} and {4, 5} meet only in 3. */
static void a_bridge_between_two_halves_lets_one_half_lead(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(5, 1, seed);
        raft_term term = cluster_term(cluster, 1);
        for (raft_id left = 1; left <= 2; left++) {
            cluster_split(cluster, left, 4);
            cluster_split(cluster, left, 5);
        }
        cluster_run(cluster, 100 * T);
        CHECK_EQ(cluster_leader(cluster), 1);
        CHECK_EQ(cluster_term(cluster, 1), term);
        CHECK_EQ(cluster_term(cluster, 5), term);
        heal_and_converge(cluster);
    }
}

static void the_bridge_dies_and_the_majority_side_of_the_rest_recovers(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(5, 1, seed);
        cluster_isolate(cluster, 1);
        cluster_heal(cluster, 1, 3);
        cluster_heal(cluster, 3, 1);
        cluster_run(cluster, T / 2);
        cluster_crash(cluster, 3);
        expect_recovery_by_another(cluster, 1);
        CHECK_EQ(cluster_restart(cluster, 3), RAFT_OK);
        heal_and_converge(cluster);
    }
}

static void one_follower_deaf_to_the_leader_changes_nothing(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(3, 1, seed);
        raft_term term = cluster_term(cluster, 1);
        cluster_cut(cluster, 1, 2);
        cluster_run(cluster, 50 * T);
        CHECK_EQ(cluster_leader(cluster), 1);
        CHECK_EQ(cluster_term(cluster, 2), term);
        heal_and_converge(cluster);
    }
}

static void one_follower_mute_towards_the_leader_changes_nothing(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(3, 1, seed);
        raft_term term = cluster_term(cluster, 1);
        cluster_cut(cluster, 2, 1);
        cluster_run(cluster, 50 * T);
        CHECK_EQ(cluster_leader(cluster), 1);
        CHECK_EQ(cluster_term(cluster, 2), term);
        heal_and_converge(cluster);
    }
}

static void a_leader_that_hears_nobody_is_replaced(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(3, 1, seed);
        cluster_cut(cluster, 0, 1);
        expect_recovery_by_another(cluster, 1);
        heal_and_converge(cluster);
    }
}

static void a_leader_that_nobody_hears_is_replaced(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(3, 1, seed);
        cluster_cut(cluster, 1, 0);
        expect_recovery_by_another(cluster, 1);
        heal_and_converge(cluster);
    }
}

/* Every ordered pair of three servers cut alone, whoever leads: the group works on or again. */
static void any_single_one_way_cut_is_survived(void)
{
    for (raft_id from = 1; from <= 3; from++) {
        for (raft_id to = 1; to <= 3; to++) {
            if (from == to) {
                continue;
            }
            struct cluster *cluster = seeded_cluster(3, 1, from * 3 + to);
            cluster_cut(cluster, from, to);
            cluster_run(cluster, FOUR_TIMEOUTS);
            raft_id leader = cluster_leader(cluster);
            CHECK(leader != 0);
            raft_term term = cluster_term(cluster, leader);
            CHECK(cluster_propose(cluster, leader, "works") > 0);
            cluster_run(cluster, T);
            CHECK(commits(cluster));
            cluster_run(cluster, 50 * T);
            CHECK_EQ(cluster_leader(cluster), leader);
            CHECK_EQ(cluster_term(cluster, leader), term);
            heal_and_converge(cluster);
        }
    }
}

/* A ring of one-way links: each server hears one neighbour and is heard by the other. */
static void a_one_way_ring_breaks_nothing_and_heals(void)
{
    struct cluster *cluster = seeded_cluster(3, 1, 5);
    cluster_cut(cluster, 2, 1);
    cluster_cut(cluster, 3, 2);
    cluster_cut(cluster, 1, 3);
    cluster_run(cluster, 100 * T);
    heal_and_converge(cluster);
}

static void a_leader_whose_disk_stalls_is_replaced(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(3, 1, seed);
        cluster_store_async(cluster, 1, 1);
        CHECK(cluster_propose(cluster, 1, "stalls") > 0);
        expect_recovery_by_another(cluster, 1);
        cluster_store_async(cluster, 1, 0);
        cluster_complete(cluster, 1);
        heal_and_converge(cluster);
    }
}

/* The same with work going on: what the stalled leader sent may commit on the others. */
static void a_stalled_leader_under_load_loses_nothing_that_was_committed(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(5, 1, seed);
        cluster_store_async(cluster, 1, 1);
        for (int i = 0; i < 30; i++) {
            if (cluster_role(cluster, 1) == RAFT_ROLE_LEADER) {
                cluster_propose(cluster, 1, "under load");
            }
            cluster_run(cluster, 50);
        }
        expect_recovery_by_another(cluster, 1);
        cluster_crash(cluster, 1);
        cluster_store_async(cluster, 1, 0);
        CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
        heal_and_converge(cluster);
    }
}

static void a_follower_whose_disk_stalls_holds_nobody_up(void)
{
    struct cluster *cluster = seeded_cluster(3, 1, 3);
    raft_term term = cluster_term(cluster, 1);
    cluster_store_async(cluster, 2, 1);
    for (int i = 0; i < 50; i++) {
        CHECK(cluster_propose(cluster, 1, "goes on") > 0);
        cluster_run(cluster, T);
    }
    CHECK(commits(cluster));
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 1), term);
    cluster_store_async(cluster, 2, 0);
    for (int i = 0; i < 100; i++) {
        cluster_complete(cluster, 2);
        cluster_settle(cluster);
    }
    heal_and_converge(cluster);
}

/* The cut moves around for a long time; whenever it rests for four timeouts there is a leader. */
static void a_moving_isolation_never_leaves_the_rest_without_a_leader(void)
{
    struct cluster *cluster = seeded_cluster(5, 1, 9);
    for (raft_id round = 0; round < 30; round++) {
        cluster_heal_all(cluster);
        raft_id victim = cluster_leader(cluster);
        cluster_isolate(cluster, victim != 0 ? victim : 1 + round % 5);
        expect_recovery_by_another(cluster, victim);
    }
    heal_and_converge(cluster);
}

static void both_minorities_of_a_three_way_split_wait_and_rejoin_without_a_new_term(void)
{
    struct cluster *cluster = seeded_cluster(5, 1, 4);
    raft_term term = cluster_term(cluster, 1);
    static const int side[] = {0, 1, 1, 2, 2, 3};
    for (raft_id i = 1; i <= 5; i++) {
        for (raft_id j = i + 1; j <= 5; j++) {
            if (side[i] != side[j]) {
                cluster_split(cluster, i, j);
            }
        }
    }
    cluster_run(cluster, 100 * T);
    CHECK_EQ(cluster_leader(cluster), 0);
    for (raft_id id = 1; id <= 5; id++) {
        CHECK_EQ(cluster_term(cluster, id), term);
    }
    heal_and_converge(cluster);
}

static void all_servers_restarted_at_once_elect_again(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(3, 1, seed);
        raft_index last = cluster_status(cluster, 1).last_index;
        for (raft_id id = 1; id <= 3; id++) {
            cluster_crash(cluster, id);
        }
        cluster_drop_all(cluster, 0, 0);
        for (raft_id id = 1; id <= 3; id++) {
            CHECK_EQ(cluster_restart(cluster, id), RAFT_OK);
        }
        expect_recovery_by_another(cluster, 0);
        CHECK(cluster_commit(cluster, cluster_leader(cluster)) > last);
        heal_and_converge(cluster);
    }
}

/* A leader that does not check its quorum, and reaches only the bridge that the others need. */
static struct cluster *weak_leader_and_bridge(uint64_t seed)
{
    struct cluster *cluster = cluster_create(5);
    for (raft_id id = 1; id <= 5; id++) {
        cluster->nodes[id].options.seed = seed * 7919;
    }
    cluster->nodes[1].options.no_check_quorum = 1;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster->latency_ms = seed % 4 * 5;
    cluster_run(cluster, T + seed * 37 % T);
    cluster_crash(cluster, 5);
    cluster_split(cluster, 1, 2);
    cluster_split(cluster, 1, 4);
    return cluster;
}

static void a_bridge_that_is_told_of_no_quorum_helps_the_others(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = weak_leader_and_bridge(seed);
        expect_recovery_by_another(cluster, 1);
        CHECK_EQ(cluster_restart(cluster, 5), RAFT_OK);
        heal_and_converge(cluster);
    }
}

/* N5: what it is told in a round older than the newest one heard says nothing any more. */
static void a_note_of_no_quorum_in_an_old_round_does_not_loosen_a_follower(void)
{
    struct cluster *cluster = cluster_new(3);
    CHECK(cluster_elect(cluster, 1));
    raft_message beat =
        cluster_forge(cluster, 1, 2, cluster_term(cluster, 2), RAFT_MESSAGE_HEARTBEAT);
    raft_term next = cluster_later(cluster, beat.term, 1, 3);
    raft_message vote = cluster_forge(cluster, 3, 2, next, RAFT_MESSAGE_VOTE);
    vote.round = 70;
    vote.index = 900;
    vote.index_term = beat.term;
    beat.round = 500;
    CHECK_EQ(cluster_inject(cluster, 2, &beat), RAFT_OK);
    beat.round = 499;
    beat.flags = RAFT_FLAG_NO_QUORUM;
    CHECK_EQ(cluster_inject(cluster, 2, &beat), RAFT_OK);
    CHECK_EQ(cluster_inject(cluster, 2, &vote), RAFT_OK);
    CHECK_EQ(cluster_term(cluster, 2), beat.term);
    uint64_t timer = raft_deadline(cluster->nodes[2].raft);
    cluster->now_ms += 10;
    beat.round = 501;
    CHECK_EQ(cluster_inject(cluster, 2, &beat), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 2).leader, 1);        /* it is followed all the same, */
    CHECK(raft_deadline(cluster->nodes[2].raft) >= timer); /* and binds nobody */
    CHECK_EQ(cluster_inject(cluster, 2, &vote), RAFT_OK);
    CHECK_EQ(cluster_term(cluster, 2), next);
    CLUSTER_DONE(cluster);
}

/* Its timer runs on as if the leader were not heard: if nobody else campaigns, it does. */
static void a_leader_without_quorum_puts_off_no_campaign(void)
{
    struct cluster *cluster = cluster_create(3);
    cluster->nodes[1].options.no_check_quorum = 1;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_crash(cluster, 3);
    cluster_cut(cluster, 2, 1); /* 1 hears nobody, and goes on */
    uint64_t mark = cluster_mark(cluster);
    cluster_run(cluster, 2 * FOUR_TIMEOUTS);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CHECK(cluster_sent(cluster, mark, 2, 0, RAFT_MESSAGE_PRE_VOTE) != NULL);
    cluster_heal_all(cluster);
    CHECK_EQ(cluster_restart(cluster, 3), RAFT_OK);
    cluster_run(cluster, FOUR_TIMEOUTS);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

/*
 * Only the hub reaches a quorum, and the others have longer logs, of the old leader's term and of a
 * newer one (N7).
 */
static void a_hub_with_the_worst_log_leads_a_constrained_group(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(5, 1, seed);
        cluster_isolate(cluster, 3);
        raft_index lacking = cluster_propose(cluster, 1, "the hub lacks this");
        CHECK(lacking > 0);
        cluster_run(cluster, T);
        cluster_crash(cluster, 1);
        expect_recovery_by_another(cluster, 1); /* 2, 4 or 5, in a newer term */
        raft_id second = cluster_leader(cluster);
        cluster_isolate(cluster, second);
        CHECK(cluster_propose(cluster, second, "and nobody else has this") > 0);
        cluster_run(cluster, 100);
        CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
        cluster_heal_all(cluster);
        make_star(cluster, 3);
        expect_recovery_by(cluster, 3);
        CHECK_STR(cluster_applied_text(cluster, 3, lacking), "the hub lacks this");
        heal_and_converge(cluster);
    }
}

/* The same chosen so that the leader that dies is the hub's only source of what is committed. */
static void a_hub_that_fell_behind_and_lost_its_leader_leads(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(5, 1, seed);
        cluster_cut(cluster, 1, 3);
        cluster_cut(cluster, 3, 1);
        for (int i = 0; i < 30; i++) {
            CHECK(cluster_propose(cluster, 1, "the hub lacks this") > 0);
        }
        cluster_run(cluster, 200);
        cluster_crash(cluster, 1);
        cluster_heal_all(cluster);
        make_star(cluster, 3);
        expect_recovery_by(cluster, 3);
        CHECK(cluster_status(cluster, 3).counters.pulls > 0);
        CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
        heal_and_converge(cluster);
    }
}

/* A stalled leader in the midst of a star: the others reach each other only through it. */
static void a_hub_whose_disk_stalls_hands_over_or_the_group_waits_for_it(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct cluster *cluster = seeded_cluster(3, 1, seed);
        make_star(cluster, 1);
        cluster_store_async(cluster, 1, 1);
        CHECK(cluster_propose(cluster, 1, "stalls at the hub") > 0);
        cluster_run(cluster, FOUR_TIMEOUTS);
        CHECK(cluster_role(cluster, 1) != RAFT_ROLE_LEADER);
        cluster_store_async(cluster, 1, 0);
        cluster_complete(cluster, 1);
        expect_recovery_by_another(cluster, 0);
        heal_and_converge(cluster);
    }
}

int main(void)
{
    RUN_BOTH(a_leader_that_lost_its_quorum_to_a_hub_is_replaced_by_the_hub);
    RUN_BOTH(the_hub_wins_a_star_of_seven_as_well);
    RUN_BOTH(a_hub_that_leads_already_goes_on_leading);
    RUN_BOTH(in_a_chain_the_leader_stays_and_no_term_climbs_for_a_thousand_timeouts);
    RUN_BOTH(in_a_chain_around_the_leader_nothing_moves);
    RUN_BOTH(a_bridge_voter_does_not_keep_a_minority_leader_alive);
    RUN_BOTH(a_bridge_between_two_halves_lets_one_half_lead);
    RUN_BOTH(the_bridge_dies_and_the_majority_side_of_the_rest_recovers);
    RUN_BOTH(one_follower_deaf_to_the_leader_changes_nothing);
    RUN_BOTH(one_follower_mute_towards_the_leader_changes_nothing);
    RUN_BOTH(a_leader_that_hears_nobody_is_replaced);
    RUN_BOTH(a_leader_that_nobody_hears_is_replaced);
    RUN_BOTH(any_single_one_way_cut_is_survived);
    RUN_BOTH(a_one_way_ring_breaks_nothing_and_heals);
    RUN_BOTH(a_leader_whose_disk_stalls_is_replaced);
    RUN_BOTH(a_stalled_leader_under_load_loses_nothing_that_was_committed);
    RUN_BOTH(a_follower_whose_disk_stalls_holds_nobody_up);
    RUN_BOTH(a_moving_isolation_never_leaves_the_rest_without_a_leader);
    RUN_BOTH(both_minorities_of_a_three_way_split_wait_and_rejoin_without_a_new_term);
    RUN_BOTH(all_servers_restarted_at_once_elect_again);
    RUN_BOTH(a_bridge_that_is_told_of_no_quorum_helps_the_others);
    RUN_BOTH(a_note_of_no_quorum_in_an_old_round_does_not_loosen_a_follower);
    RUN_BOTH(a_leader_without_quorum_puts_off_no_campaign);
    RUN_BOTH(a_hub_with_the_worst_log_leads_a_constrained_group);
    RUN_BOTH(a_hub_that_fell_behind_and_lost_its_leader_leads);
    RUN_BOTH(a_hub_whose_disk_stalls_hands_over_or_the_group_waits_for_it);
    return check_done();
}
