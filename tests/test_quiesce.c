/*
 * Groups without work (rule R54): they fall asleep together, nothing runs while they do, and
 * anything that happens wakes them safely.
 */
#include "check.h"
#include "cluster.h"

#include <string.h>

static const uint64_t T = 1000;
static const uint64_t LONGEST = 2000;

static struct cluster *sleepy_cluster(size_t count)
{
    struct cluster *cluster = cluster_create(count);
    for (raft_id id = 1; id <= count; id++) {
        cluster->nodes[id].options.quiesce = 1;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    return cluster;
}

static int all_asleep(struct cluster *cluster)
{
    for (raft_id id = 1; id <= cluster->count; id++) {
        if (cluster->nodes[id].raft != NULL && !cluster_status(cluster, id).asleep) {
            return 0;
        }
    }
    return 1;
}

static struct cluster *sleeping_cluster(size_t count)
{
    struct cluster *cluster = sleepy_cluster(count);
    CHECK(cluster_run_until(cluster, all_asleep, 3 * LONGEST));
    cluster_settle(cluster);
    return cluster;
}

static int no_deadline(struct cluster *cluster)
{
    for (raft_id id = 1; id <= cluster->count; id++) {
        if (cluster->nodes[id].raft != NULL &&
            raft_deadline(cluster->nodes[id].raft) != RAFT_NEVER) {
            return 0;
        }
    }
    return 1;
}

static void an_idle_group_sleeps_after_one_timeout_and_costs_nothing(void)
{
    struct cluster *cluster = sleepy_cluster(3);
    raft_term term = cluster_term(cluster, 1);
    CHECK(cluster_propose(cluster, 1, "the last for long") > 0);
    uint64_t since = cluster->now_ms;
    cluster_run(cluster, LONGEST - 1);
    CHECK(!cluster_status(cluster, 1).asleep);
    CHECK(cluster_run_until(cluster, all_asleep, LONGEST));
    CHECK(cluster->now_ms - since <= LONGEST + 300);
    cluster_settle(cluster);
    CHECK(no_deadline(cluster));
    uint64_t mark = cluster_mark(cluster);
    cluster_run(cluster, 1000 * LONGEST);
    CHECK_EQ(cluster_mark(cluster), mark);
    CHECK(all_asleep(cluster));
    CHECK_EQ(cluster_status(cluster, 1).counters.sleeps, 1);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 2), term);
    CLUSTER_DONE(cluster);
}

static void without_the_option_nobody_sleeps_nor_where_one_does_not_have_it(void)
{
    struct cluster *cluster = cluster_new(3);
    CHECK(cluster_elect(cluster, 1));
    cluster_run(cluster, 5 * LONGEST);
    CHECK(!cluster_status(cluster, 1).asleep && !cluster_status(cluster, 2).asleep);
    CLUSTER_DONE(cluster);
    cluster = cluster_create(3);
    cluster->nodes[1].options.quiesce = 1;
    cluster->nodes[2].options.quiesce = 1;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_run(cluster, 5 * LONGEST);
    for (raft_id id = 1; id <= 3; id++) {
        CHECK(!cluster_status(cluster, id).asleep);
    }
    CLUSTER_DONE(cluster);
}

static void a_group_of_one_sleeps_too_and_serves_when_asked(void)
{
    struct cluster *cluster = sleeping_cluster(1);
    CHECK(no_deadline(cluster));
    cluster_run(cluster, 100 * LONGEST);
    raft_index index = cluster_propose(cluster, 1, "awake");
    CHECK(index > 0);
    cluster_settle(cluster);
    CHECK_STR(cluster_applied_text(cluster, 1, index), "awake");
    CHECK(cluster_run_until(cluster, all_asleep, 2 * LONGEST));
    CLUSTER_DONE(cluster);
}

/* ---- What keeps a group awake --------------------------------------------------------------- */

static void it_does_not_sleep_while_a_voter_is_silent_or_behind(void)
{
    struct cluster *cluster = sleepy_cluster(3);
    cluster_isolate(cluster, 3);
    cluster_run(cluster, 5 * LONGEST);
    CHECK(!cluster_status(cluster, 1).asleep && !cluster_status(cluster, 2).asleep);
    CHECK_EQ(cluster_leader(cluster), 1);
    cluster_heal_all(cluster);
    cluster->nodes[3].apply_async = 1; /* it holds everything, and has not applied it */
    CHECK(cluster_propose(cluster, 1, "applied slowly") > 0);
    cluster_run(cluster, 5 * LONGEST);
    CHECK(!cluster_status(cluster, cluster_leader(cluster)).asleep);
    cluster->nodes[3].apply_async = 0;
    cluster_complete_apply(cluster, 3);
    CHECK(cluster_run_until(cluster, all_asleep, 3 * LONGEST));
    CLUSTER_DONE(cluster);
}

static void reads_and_proposals_put_the_sleep_off(void)
{
    struct cluster *cluster = sleepy_cluster(3);
    for (uint64_t i = 0; i < 20; i++) {
        if (i % 2) {
            CHECK(cluster_propose(cluster, 1, "work") > 0);
        } else {
            CHECK_EQ(raft_read(cluster->nodes[1].raft, i), RAFT_OK);
        }
        cluster_run(cluster, LONGEST - 200);
        CHECK(!cluster_status(cluster, 1).asleep);
    }
    CHECK(cluster_run_until(cluster, all_asleep, 2 * LONGEST));
    CLUSTER_DONE(cluster);
}

static void a_transfer_under_way_keeps_it_awake(void)
{
    struct cluster *cluster = sleepy_cluster(3);
    cluster_run(cluster, LONGEST - 500);
    cluster_hold(cluster, 1, 2);
    CHECK_EQ(raft_transfer(cluster->nodes[1].raft, 2), RAFT_OK);
    cluster_run(cluster, LONGEST - 600);
    CHECK(!cluster_status(cluster, 1).asleep);
    cluster_heal_all(cluster);
    CHECK(cluster_run_until(cluster, all_asleep, 4 * LONGEST));
    CLUSTER_DONE(cluster);
}

/* Rings that grew under load go; the log stays, until it is compacted. */
static void a_group_that_was_busy_sleeps_in_as_little_memory(void)
{
    enum { MESSAGES = 8 }; /* so few that the log needs no second segment */
    struct cluster *cluster = sleeping_cluster(3);
    uint64_t quiet_bytes[4];
    CHECK(cluster_propose(cluster, 1, "so that there is a log") > 0);
    CHECK(cluster_run_until(cluster, all_asleep, 3 * LONGEST));
    cluster_settle(cluster);
    for (raft_id id = 1; id <= 3; id++) {
        quiet_bytes[id] =
            cluster->nodes[id].memory.live_bytes - cluster_status(cluster, id).log_bytes;
    }
    for (uint64_t i = 0; i < MESSAGES;
         i++) { /* each in a message of its own, and nobody answers yet */
        CHECK(cluster_propose(cluster, 1, "work") > 0);
        CHECK_EQ(raft_read(cluster->nodes[1].raft, i), RAFT_OK);
        cluster_advance(cluster, 0);
    }
    cluster_settle(cluster);
    uint64_t busy_bytes =
        cluster->nodes[1].memory.live_bytes - cluster_status(cluster, 1).log_bytes;
    CHECK(busy_bytes > quiet_bytes[1] + MESSAGES * 2 * sizeof(raft_index));
    CHECK(cluster_run_until(cluster, all_asleep, 3 * LONGEST));
    cluster_settle(cluster);
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_EQ(cluster->nodes[id].memory.live_bytes - cluster_status(cluster, id).log_bytes,
                 quiet_bytes[id]);
    }
    raft_index index = cluster_propose(cluster, 1, "and again");
    CHECK(index > 0);
    cluster_settle(cluster);
    CHECK_STR(cluster_applied_text(cluster, 3, index), "and again");
    CLUSTER_DONE(cluster);
}

/* ---- Waking --------------------------------------------------------------------------------- */

static void a_proposal_wakes_the_leader_and_the_leader_all_others(void)
{
    struct cluster *cluster = sleeping_cluster(3);
    cluster_run(cluster, 50 * LONGEST);
    raft_term term = cluster_term(cluster, 1);
    raft_index index = cluster_propose(cluster, 1, "good morning");
    CHECK(index > 0);
    cluster_settle(cluster);
    for (raft_id id = 1; id <= 3; id++) {
        CHECK(!cluster_status(cluster, id).asleep);
        CHECK_STR(cluster_applied_text(cluster, id, index), "good morning");
    }
    CHECK_EQ(cluster_status(cluster, 1).quorum_ok, 1);
    CHECK(cluster_run_until(cluster, all_asleep, 2 * LONGEST));
    CHECK_EQ(cluster_term(cluster, 1), term);
    CHECK_EQ(cluster_leader(cluster), 1);
    CLUSTER_DONE(cluster);
}

static void a_read_wakes_and_is_confirmed_by_a_round(void)
{
    struct cluster *cluster = sleeping_cluster(3);
    CHECK_EQ(raft_read(cluster->nodes[1].raft, 9), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_read_answer(cluster, 1, 9)->status, RAFT_OK);
    CHECK(!cluster_status(cluster, 2).asleep);
    CLUSTER_DONE(cluster);
    cluster = sleeping_cluster(3);
    cluster_isolate(cluster, 1); /* nobody can confirm it: it must not be answered */
    CHECK_EQ(raft_read(cluster->nodes[1].raft, 9), RAFT_OK);
    cluster_run(cluster, 2 * LONGEST);
    CHECK(cluster_read_answer(cluster, 1, 9)->status < 0);
    CLUSTER_DONE(cluster);
}

/* A leader that wakes counts its peers as just heard, and gives them the time to answer. */
static void a_woken_leader_whose_peers_are_gone_yields_within_two_windows(void)
{
    struct cluster *cluster = sleeping_cluster(3);
    cluster_run(cluster, 20 * LONGEST);
    cluster_crash(cluster, 2);
    cluster_crash(cluster, 3);
    CHECK(cluster_propose(cluster, 1, "anybody?") > 0);
    cluster_run(cluster, T / 2);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    cluster_run(cluster, 2 * LONGEST);
    CHECK(cluster_role(cluster, 1) != RAFT_ROLE_LEADER);
    CLUSTER_DONE(cluster);
}

static void anything_that_a_host_asks_of_a_follower_wakes_it(void)
{
    struct cluster *cluster = sleeping_cluster(3);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    CHECK(!cluster_status(cluster, 2).asleep);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK(cluster_run_until(cluster, all_asleep, 4 * LONGEST));
    raft_id leader = cluster_leader(cluster);
    raft_id follower = leader % 3 + 1;
    CHECK_EQ(raft_forget_leader(cluster->nodes[follower].raft), RAFT_OK);
    CHECK(!cluster_status(cluster, follower).asleep);
    cluster_settle(cluster);
    uint64_t due = raft_deadline(cluster->nodes[follower].raft);
    CHECK(due > cluster->now_ms && due < cluster->now_ms + LONGEST); /* a fresh timer */
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK(cluster_run_until(cluster, all_asleep, 4 * LONGEST));
    leader = cluster_leader(cluster);
    CHECK_EQ(raft_transfer(cluster->nodes[leader].raft, 0), RAFT_OK);
    cluster_settle(cluster);
    CHECK(cluster_leader(cluster) != leader);
    CHECK(cluster_run_until(cluster, all_asleep, 4 * LONGEST));
    leader = cluster_leader(cluster);
    CHECK_EQ(raft_step_down(cluster->nodes[leader].raft), RAFT_OK);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CLUSTER_DONE(cluster);
}

static void what_refuses_to_change_anything_does_not_wake(void)
{
    struct cluster *cluster = sleeping_cluster(3);
    uint64_t before = cluster_fingerprint(cluster, 1);
    CHECK_EQ(raft_transfer(cluster->nodes[1].raft, 1), RAFT_EARG);
    CHECK_EQ(raft_propose(cluster->nodes[1].raft, NULL, 5, NULL, NULL), RAFT_EARG);
    raft_message foreign = cluster_forge(cluster, 2, 1, 1, RAFT_MESSAGE_HEARTBEAT_REPLY);
    foreign.cluster++;
    CHECK_EQ(raft_receive(cluster->nodes[1].raft, &foreign), RAFT_EFOREIGN);
    CHECK(cluster_status(cluster, 1).asleep);
    CHECK_EQ(cluster_fingerprint(cluster, 1), before);
    CHECK_EQ(raft_propose(cluster->nodes[2].raft, "x", 1, NULL, NULL), RAFT_ENOTLEADER);
    CHECK(cluster_status(cluster, 2).asleep);
    CHECK_EQ(raft_poll(cluster->nodes[2].raft, cluster->now_ms + 100 * LONGEST), RAFT_OK);
    CHECK(cluster_status(cluster, 2).asleep);
    CLUSTER_DONE(cluster);
}

/* The last sample says that the promise of a lease lasts, and nothing has changed it since. */
static void a_campaign_that_is_refused_does_not_wake(void)
{
    struct cluster *cluster = cluster_create(3);
    for (raft_id id = 1; id <= 3; id++) {
        cluster->nodes[id].options.quiesce = 1;
    }
    cluster->lease_ms = 30000;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    CHECK(cluster_run_until(cluster, all_asleep, 3 * LONGEST));
    cluster_settle(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_EBUSY);
    CHECK(cluster_status(cluster, 2).asleep);
    CHECK_EQ(raft_deadline(cluster->nodes[2].raft), RAFT_NEVER);
    cluster_run(cluster, 40000);
    CHECK_EQ(raft_poll(cluster->nodes[2].raft, cluster->now_ms), RAFT_OK);
    CHECK(cluster_status(cluster, 2).asleep);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    CHECK(!cluster_status(cluster, 2).asleep);
    cluster_run(cluster, LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CLUSTER_DONE(cluster);
}

/* ---- A dead leader -------------------------------------------------------------------------- */

static void told_that_the_leader_is_dead_a_follower_campaigns_at_once(void)
{
    struct cluster *cluster = sleeping_cluster(3);
    cluster_crash(cluster, 1);
    cluster_run(cluster, 50 * LONGEST); /* nobody notices by itself */
    CHECK(cluster_status(cluster, 2).asleep && cluster_status(cluster, 3).asleep);
    CHECK_EQ(raft_unreachable(cluster->nodes[2].raft, 3), RAFT_OK); /* that is not the leader */
    CHECK(cluster_status(cluster, 2).asleep);
    uint64_t since = cluster->now_ms;
    CHECK_EQ(raft_unreachable(cluster->nodes[2].raft, 1), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster->now_ms, since);
    CHECK_EQ(cluster_stable_leader(cluster), 2);
    CLUSTER_DONE(cluster);
}

static void told_so_by_mistake_a_live_leader_or_a_new_one_leads_soon(void)
{
    struct cluster *cluster = sleeping_cluster(3);
    CHECK_EQ(raft_unreachable(cluster->nodes[2].raft, 1), RAFT_OK);
    CHECK_EQ(raft_unreachable(cluster->nodes[3].raft, 1), RAFT_OK);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK(cluster_converged(cluster));
    CHECK(cluster_run_until(cluster, all_asleep, 3 * LONGEST));
    CLUSTER_DONE(cluster);
}

/* TiKV 16429: one who campaigns must not be refused by those who sleep. */
static void sleeping_voters_are_bound_to_nobody(void)
{
    struct cluster *cluster = sleeping_cluster(5);
    cluster_crash(cluster, 1);
    CHECK_EQ(raft_campaign(cluster->nodes[4].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_stable_leader(cluster), 4);
    CLUSTER_DONE(cluster);
}

static void a_restarted_leader_wakes_those_who_waited_for_it(void)
{
    struct cluster *cluster = sleeping_cluster(3);
    raft_term term = cluster_term(cluster, 1);
    cluster_crash(cluster, 1);
    cluster_run(cluster, 10 * LONGEST);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK(cluster_term(cluster, cluster_leader(cluster)) > term);
    CHECK(cluster_run_until(cluster, all_asleep, 3 * LONGEST));
    CLUSTER_DONE(cluster);
}

/* ---- Messages that come late or not at all -------------------------------------------------- */

static void a_lost_note_or_a_lost_answer_only_puts_the_sleep_off(void)
{
    for (int way = 0; way < 2; way++) {
        struct cluster *cluster = sleepy_cluster(3);
        raft_term term = cluster_term(cluster, 1);
        raft_id from = way == 0 ? 1 : 3;
        raft_id to = way == 0 ? 3 : 1;
        cluster_hold(cluster, from, to);
        int lost = 0;
        for (int i = 0; i < 2000 && !all_asleep(cluster); i++) {
            cluster_run(cluster, 10);
            while (cluster_queued(cluster, from, to) > 0) {
                const raft_message *m = &cluster_peek(cluster, from, to, 0)->message;
                int is_about_sleep = way == 0 ? (m->flags & RAFT_FLAG_SLEEP) != 0
                                              : cluster_status(cluster, 3).asleep;
                if (is_about_sleep && lost < 3) {
                    lost++;
                    cluster_drop(cluster, from, to);
                } else {
                    cluster_deliver(cluster, from, to);
                }
            }
        }
        CHECK_EQ(lost, 3);
        CHECK(all_asleep(cluster));
        CHECK_EQ(cluster_term(cluster, 1), term);
        CHECK_EQ(cluster_leader(cluster), 1);
        cluster_heal_all(cluster);
        cluster_run(cluster, 10 * LONGEST);
        CHECK_EQ(cluster_term(cluster, 3), term);
        CLUSTER_DONE(cluster);
    }
}

/* What was on its way when the group fell asleep is dropped, or it would wake up at once. */
static void stragglers_wake_nobody(void)
{
    struct cluster *cluster = sleeping_cluster(3);
    uint64_t sent = cluster_mark(cluster);
    CHECK(sent > 40);
    for (uint64_t number = sent - 30; number <= sent; number++) {
        raft_id to = cluster->sent[number - 1].message.to;
        CHECK_EQ(cluster_replay(cluster, number), RAFT_OK);
        CHECK(cluster_status(cluster, to).asleep);
    }
    CHECK_EQ(cluster_mark(cluster), sent);
    CHECK(no_deadline(cluster));
    CLUSTER_DONE(cluster);
}

/* A note counts only where it says what holds, and as the leader's newest word. */
static void a_note_of_another_commit_or_an_older_round_is_not_obeyed(void)
{
    struct cluster *cluster = sleepy_cluster(3);
    raft_term term = cluster_term(cluster, 2);
    CHECK(cluster_propose(cluster, 1, "so that there is a commit index") > 0);
    cluster_run(cluster, cluster->nodes[1].options.heartbeat_ms);
    uint64_t newest = 0; /* the round, not the message: what is sent next may move that */
    uint64_t at = 0;
    for (const struct cluster_message *m;
         (m = cluster_sent(cluster, at, 1, 2, RAFT_MESSAGE_HEARTBEAT)) != NULL; at = m->number) {
        newest = m->message.round;
    }
    CHECK(newest > 0);
    raft_message note = cluster_forge(cluster, 1, 2, term, RAFT_MESSAGE_HEARTBEAT);
    note.flags = RAFT_FLAG_SLEEP;
    note.commit = cluster_commit(cluster, 2);
    note.round = newest - 1;
    CHECK_EQ(cluster_inject(cluster, 2, &note), RAFT_OK);
    CHECK(!cluster_status(cluster, 2).asleep);
    note.round = newest + 1;
    note.commit--;
    CHECK_EQ(cluster_inject(cluster, 2, &note), RAFT_OK);
    CHECK(!cluster_status(cluster, 2).asleep);
    note.commit += 2;
    CHECK_EQ(cluster_inject(cluster, 2, &note), RAFT_OK);
    CHECK(!cluster_status(cluster, 2).asleep);
    note.commit--;
    CHECK_EQ(cluster_inject(cluster, 2, &note), RAFT_OK);
    CHECK(cluster_status(cluster, 2).asleep);
    CHECK_EQ(cluster_status(cluster, 2).leader, 1);
    CLUSTER_DONE(cluster);
}

/* Many seeds and latencies, work at odd moments: nobody is deposed, everything is applied. */
static void groups_that_doze_and_work_lose_nothing_and_keep_their_leader(void)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct cluster *cluster = cluster_create(3);
        for (raft_id id = 1; id <= 3; id++) {
            cluster->nodes[id].options.quiesce = 1;
            cluster->nodes[id].options.seed = seed * 104729;
        }
        CHECK_EQ(cluster_start(cluster), RAFT_OK);
        CHECK(cluster_elect(cluster, 1));
        cluster->latency_ms = seed % 5 * 17;
        raft_term term = cluster_term(cluster, 1);
        for (uint64_t i = 0; i < 20; i++) {
            CHECK(cluster_propose(cluster, 1, "odd moments") > 0);
            cluster_run(cluster, 1900 + (seed * 37 + i * 61) % 700);
        }
        CHECK(cluster_run_until(cluster, all_asleep, 2 * LONGEST));
        CHECK(cluster_converged(cluster));
        CHECK_EQ(cluster_leader(cluster), 1);
        CHECK_EQ(cluster_term(cluster, 1), term);
        CHECK(cluster_status(cluster, 1).counters.sleeps > 1);
        CLUSTER_DONE(cluster);
    }
}

static void a_note_in_a_term_that_is_not_durable_yet_is_not_obeyed(void)
{
    struct cluster *cluster = sleepy_cluster(3);
    cluster_run(cluster, T / 2);
    cluster_isolate(cluster, 3);
    cluster_store_async(cluster, 3, 1);
    raft_message note =
        cluster_forge(cluster, 2, 3, cluster_term(cluster, 3) + 1, RAFT_MESSAGE_HEARTBEAT);
    note.round = 5;
    note.commit = cluster_commit(cluster, 3);
    note.flags = RAFT_FLAG_SLEEP;
    CHECK_EQ(cluster_inject(cluster, 3, &note), RAFT_OK);
    CHECK(!cluster_status(cluster, 3).asleep);
    cluster_settle(cluster);
    CHECK(raft_check(cluster->nodes[3].raft) == NULL);
    cluster_store_async(cluster, 3, 0);
    CLUSTER_DONE(cluster);
}

static void a_snapshot_that_the_host_ships_wakes_a_follower(void)
{
    struct cluster *cluster = cluster_create(3);
    cluster->snapshots = 1;
    for (raft_id id = 1; id <= 3; id++) {
        cluster->nodes[id].options.quiesce = 1;
        cluster->nodes[id].options.trailing_bytes = 1;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    CHECK(cluster_run_until(cluster, all_asleep, 3 * LONGEST));
    cluster_settle(cluster);
    cluster_isolate(cluster, 3);
    CHECK(cluster_propose(cluster, 1, "what 3 does not hear of") > 0);
    cluster_run(cluster, T / 2);
    CHECK_EQ(cluster_compact(cluster, 1), RAFT_OK);
    CHECK(cluster_status(cluster, 3).asleep);
    CHECK_EQ(cluster_ship(cluster, 1, 3), RAFT_OK);
    CHECK(!cluster_status(cluster, 3).asleep);
    cluster_run(cluster, T / 4);
    CHECK_EQ(cluster_status(cluster, 3).applied_index, cluster_status(cluster, 1).applied_index);
    CHECK(raft_check(cluster->nodes[3].raft) == NULL);
    CLUSTER_DONE(cluster);
}

int main(void)
{
    RUN_BOTH(an_idle_group_sleeps_after_one_timeout_and_costs_nothing);
    RUN_BOTH(without_the_option_nobody_sleeps_nor_where_one_does_not_have_it);
    RUN_BOTH(a_group_of_one_sleeps_too_and_serves_when_asked);
    RUN_BOTH(it_does_not_sleep_while_a_voter_is_silent_or_behind);
    RUN_BOTH(reads_and_proposals_put_the_sleep_off);
    RUN_BOTH(a_transfer_under_way_keeps_it_awake);
    RUN_BOTH(a_group_that_was_busy_sleeps_in_as_little_memory);
    RUN_BOTH(a_proposal_wakes_the_leader_and_the_leader_all_others);
    RUN_BOTH(a_read_wakes_and_is_confirmed_by_a_round);
    RUN_BOTH(a_woken_leader_whose_peers_are_gone_yields_within_two_windows);
    RUN_BOTH(anything_that_a_host_asks_of_a_follower_wakes_it);
    RUN_BOTH(a_note_in_a_term_that_is_not_durable_yet_is_not_obeyed);
    RUN_BOTH(a_snapshot_that_the_host_ships_wakes_a_follower);
    RUN_BOTH(what_refuses_to_change_anything_does_not_wake);
    RUN_BOTH(a_campaign_that_is_refused_does_not_wake);
    RUN_BOTH(told_that_the_leader_is_dead_a_follower_campaigns_at_once);
    RUN_BOTH(told_so_by_mistake_a_live_leader_or_a_new_one_leads_soon);
    RUN_BOTH(sleeping_voters_are_bound_to_nobody);
    RUN_BOTH(a_restarted_leader_wakes_those_who_waited_for_it);
    RUN_BOTH(a_lost_note_or_a_lost_answer_only_puts_the_sleep_off);
    RUN_BOTH(stragglers_wake_nobody);
    RUN_BOTH(a_note_of_another_commit_or_an_older_round_is_not_obeyed);
    RUN_BOTH(groups_that_doze_and_work_lose_nothing_and_keep_their_leader);
    return check_done();
}
