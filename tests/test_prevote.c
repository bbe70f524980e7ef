/*
 * Pre-vote, check-quorum and stickiness (rules R18 to R22, and R11, R13, R15 where they meet
 * these): who is let in, who is left alone, and that nobody is locked out.
 */
#include "check.h"
#include "cluster.h"

#include <string.h>

static const uint64_t T = 1000;       /* the shortest election timeout of the harness */
static const uint64_t LONGEST = 2000; /* "one election timeout" of raft.h */

static int has_leader(struct cluster *cluster)
{
    return cluster_stable_leader(cluster) != 0;
}

static struct cluster *led_cluster(size_t count, raft_id leader)
{
    struct cluster *cluster = cluster_new(count);
    CHECK(cluster_elect(cluster, leader));
    return cluster;
}

static uint64_t timer_of(struct cluster *cluster, raft_id id)
{
    for (int i = 0; i < 4 && raft_deadline(cluster->nodes[id].raft) <= cluster->now_ms; i++) {
        cluster_poll(cluster, id);
    }
    return raft_deadline(cluster->nodes[id].raft);
}

/* A pre-vote from `from` for the term after `term`, with a log that is better than any. */
static raft_message pre_vote(const struct cluster *cluster, raft_id from, raft_id to,
                             raft_term term)
{
    raft_message message = cluster_forge(cluster, from, to, term, RAFT_MESSAGE_PRE_VOTE);
    message.asked_term = term + 1;
    message.round = 50 + term;
    message.index = term > 0 ? 1000 : 0;
    message.index_term = term;
    return message;
}

/* Injects a pre-vote. 1: granted, 0: refused, -1: not answered. */
static int asked_for_pre_vote(struct cluster *cluster, raft_id from, raft_id to, raft_term term)
{
    uint64_t mark = cluster_mark(cluster);
    raft_message message = pre_vote(cluster, from, to, term);
    CHECK_EQ(cluster_inject(cluster, to, &message), RAFT_OK);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, to, from, RAFT_MESSAGE_PRE_VOTE_REPLY);
    if (reply == NULL) {
        return -1;
    }
    CHECK_EQ(reply->message.round, message.round);
    CHECK_EQ(reply->message.asked_term, message.asked_term);
    return reply->message.refused == 0;
}

static int asked_for_vote(struct cluster *cluster, raft_id from, raft_id to, raft_term term)
{
    uint64_t mark = cluster_mark(cluster);
    raft_message message = cluster_forge(cluster, from, to, term, RAFT_MESSAGE_VOTE);
    message.round = 50 + term;
    message.index = 1000;
    message.index_term = term - 1;
    CHECK_EQ(cluster_inject(cluster, to, &message), RAFT_OK);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, to, from, RAFT_MESSAGE_VOTE_REPLY);
    return reply == NULL ? -1 : reply->message.refused == 0;
}

static void an_isolated_follower_rejoins_without_disturbing_anybody(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    cluster_isolate(cluster, 3);
    cluster_run(cluster, 50 * T);
    CHECK_EQ(cluster_term(cluster, 3), term);
    CHECK_EQ(cluster_role(cluster, 3), RAFT_ROLE_PRE_CANDIDATE);
    cluster_propose(cluster, 1, "while away");
    cluster_run(cluster, T);
    cluster_heal_all(cluster);
    cluster_run(cluster, 5 * T);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CHECK(cluster_converged(cluster));
    CHECK_STR(cluster_applied_text(cluster, 3, 1 + cluster_noops(cluster)), "while away");
    CLUSTER_DONE(cluster);
}

static void without_pre_vote_a_rejoining_node_deposes_the_leader_once_then_all_settles(void)
{
    struct cluster *cluster = cluster_create(3);
    for (raft_id id = 1; id <= 3; id++) {
        cluster->nodes[id].options.no_pre_vote = 1;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 3);
    cluster_run(cluster, 20 * T);
    raft_term high = cluster_term(cluster, 3);
    CHECK(high > cluster_term(cluster, 1) + 5);
    cluster_heal_all(cluster);
    size_t reigns = cluster->reign_count;
    CHECK_EQ(cluster_run_until(cluster, has_leader, 10 * T), 1);
    cluster_run(cluster, 30 * T);
    CHECK(cluster_term(cluster, cluster_leader(cluster)) > high);
    CHECK(cluster->reign_count <= reigns + 2);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

/*
 * The sticky voters ignore a candidate whose term is high and whose log is short; only the answer
 * to the leader's next heartbeat frees it, at the price of one election (R21).
 */
static void a_higher_term_with_a_short_log_is_taken_in_by_way_of_the_leaders_heartbeat(void)
{
    struct cluster *cluster = cluster_create(3);
    cluster->nodes[3].options.no_pre_vote = 1;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 3);
    for (int i = 0; i < 5; i++) {
        cluster_propose(cluster, 1, "longer");
    }
    cluster_run(cluster, 20 * T);
    raft_term high = cluster_term(cluster, 3);
    cluster_heal_all(cluster);
    cluster_cut(cluster, 1, 3);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 2), cluster_term(cluster, 1));
    CHECK(cluster_term(cluster, 1) < high);
    cluster_heal_all(cluster);
    cluster_run(cluster, 10 * T);
    CHECK(has_leader(cluster));
    CHECK(cluster_leader(cluster) != 3 || cluster_noops(cluster) == 0); /* where logs elect */
    CHECK(cluster_term(cluster, cluster_leader(cluster)) > high);
    CHECK(cluster_converged(cluster));
    CHECK_STR(cluster_applied_text(cluster, 3, 5 + cluster_noops(cluster)), "longer");
    CLUSTER_DONE(cluster);
}

static void a_leader_with_a_live_quorum_never_yields(void)
{
    struct cluster *cluster = led_cluster(5, 2);
    raft_term term = cluster_term(cluster, 2);
    cluster->latency_ms = 20;
    cluster_isolate(cluster, 1);
    cluster_isolate(cluster, 5);
    cluster_run(cluster, 500 * T);
    CHECK_EQ(cluster_leader(cluster), 2);
    CHECK_EQ(cluster_term(cluster, 2), term);
    CHECK_EQ(cluster_status(cluster, 2).quorum_ok, 1);
    CHECK_EQ(cluster->reign_count, 1);
    CLUSTER_DONE(cluster);
}

static void a_leader_with_a_silent_quorum_yields_at_its_term_within_two_windows(void)
{
    struct cluster *cluster = led_cluster(5, 2);
    raft_term term = cluster_term(cluster, 2);
    cluster_cut(cluster, 1, 2);
    cluster_cut(cluster, 3, 2);
    cluster_cut(cluster, 4, 2);
    cluster_advance_node(cluster, 2, 2 * LONGEST);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_PRE_CANDIDATE);
    CHECK_EQ(cluster_term(cluster, 2), term);
    CHECK_EQ(cluster_status(cluster, 2).leader, 0);
    CLUSTER_DONE(cluster);
}

static void a_leader_that_yielded_sends_nothing_that_keeps_followers_bound(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_cut(cluster, 0, 1);
    while (cluster_role(cluster, 1) == RAFT_ROLE_LEADER) {
        cluster_advance_node(cluster, 1, 100);
    }
    uint64_t mark = cluster_mark(cluster);
    cluster_advance_node(cluster, 1, 10 * T);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_HEARTBEAT), 0);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_APPEND), 0);
    CLUSTER_DONE(cluster);
}

static void a_new_leader_counts_those_who_elected_it_as_just_heard(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_cut(cluster, 0, 1);
    cluster_advance_node(cluster, 1, T / 2);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CHECK_EQ(cluster_status(cluster, 1).quorum_ok, 1);
    CLUSTER_DONE(cluster);
}

static void without_check_quorum_a_lonely_leader_stays(void)
{
    struct cluster *cluster = cluster_create(3);
    for (raft_id id = 1; id <= 3; id++) {
        cluster->nodes[id].options.no_check_quorum = 1;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 1);
    cluster_advance_node(cluster, 1, 50 * T);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CHECK_EQ(cluster_status(cluster, 1).quorum_ok, 0);
    CLUSTER_DONE(cluster);
}

static void a_voter_that_heard_its_leader_refuses_until_the_minimum_timeout_then_grants(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_hold(cluster, 0, 0);
    raft_term term = cluster_term(cluster, 2);
    raft_message beat = cluster_forge(cluster, 1, 2, term, RAFT_MESSAGE_HEARTBEAT);
    beat.round = 1;
    CHECK_EQ(cluster_inject(cluster, 2, &beat), RAFT_OK);
    uint64_t heard = cluster->now_ms;
    CHECK_EQ(cluster_status(cluster, 2).last_contact_ms, heard);
    cluster->now_ms = heard + T - 1;
    cluster_poll(cluster, 2);
    CHECK(asked_for_vote(cluster, 3, 2, term + 7) != 1);
    CHECK_EQ(asked_for_pre_vote(cluster, 3, 2, term + 7), 0);
    CHECK_EQ(cluster_term(cluster, 2), term);
    CHECK_EQ(cluster_status(cluster, 2).leader, 1);
    cluster->now_ms = heard + T;
    cluster_poll(cluster, 2);
    CHECK_EQ(asked_for_pre_vote(cluster, 3, 2, term + 7), 1);
    CHECK_EQ(asked_for_vote(cluster, 3, 2, term + 7), 1);
    CHECK_EQ(cluster_term(cluster, 2), term + 7);
    CLUSTER_DONE(cluster);
}

/* The leader and a candidate are heard between two polls: the contact counts as now (R59). */
static void contact_and_a_vote_request_before_one_poll_leave_the_voter_bound(void)
{
    struct cluster *cluster = cluster_new(3);
    raft_term led = cluster_later(cluster, 0, 1, 1);
    raft_term asked = cluster_later(cluster, 0, 9, 3);
    raft_message beat = cluster_forge(cluster, 1, 2, led, RAFT_MESSAGE_HEARTBEAT);
    raft_message vote = cluster_forge(cluster, 3, 2, asked, RAFT_MESSAGE_VOTE);
    beat.round = 1;
    vote.round = 1;
    cluster->now_ms += 5 * T;
    CHECK_EQ(raft_receive(cluster->nodes[2].raft, &beat), RAFT_OK);
    CHECK_EQ(raft_receive(cluster->nodes[2].raft, &vote), RAFT_OK);
    CHECK_EQ(cluster_term(cluster, 2), led);
    CHECK_EQ(cluster_status(cluster, 2).leader, 1);
    cluster_poll(cluster, 2);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_term(cluster, 2), led);
    CLUSTER_DONE(cluster);
}

/* R19: another reset of the timer (here a granted vote) is no contact. */
static void stickiness_is_measured_from_contact_and_not_from_other_timer_resets(void)
{
    struct cluster *cluster = cluster_new(3);
    CHECK_EQ(asked_for_vote(cluster, 1, 2, 4), 1);
    CHECK_EQ(asked_for_vote(cluster, 3, 2, 5), 1);
    CHECK_EQ(asked_for_pre_vote(cluster, 1, 2, 5), 1);
    CLUSTER_DONE(cluster);
}

static void a_leader_with_a_fresh_quorum_refuses_pre_votes_and_votes_of_any_term(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    CHECK_EQ(asked_for_pre_vote(cluster, 3, 1, term + 4), 0);
    CHECK(asked_for_vote(cluster, 3, 1, term + 4) != 1);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CLUSTER_DONE(cluster);
}

static void without_stickiness_followers_of_a_live_leader_answer_candidates(void)
{
    struct cluster *cluster = cluster_create(3);
    cluster->nodes[2].options.no_stickiness = 1;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    raft_term term = cluster_term(cluster, 2);
    CHECK_EQ(asked_for_pre_vote(cluster, 3, 2, term), 1);
    CHECK_EQ(cluster_term(cluster, 2), term);
    CHECK_EQ(asked_for_vote(cluster, 3, 2, cluster_later(cluster, term, 1, 3)), 1);
    CLUSTER_DONE(cluster);
}

static void switching_check_quorum_off_switches_stickiness_off(void)
{
    struct cluster *cluster = cluster_create(3);
    cluster->nodes[2].options.no_check_quorum = 1;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    raft_term next = cluster_later(cluster, cluster_term(cluster, 2), 1, 3);
    CHECK_EQ(asked_for_vote(cluster, 3, 2, next), 1);
    CLUSTER_DONE(cluster);
}

static void followers_of_a_dead_leader_do_not_refuse_each_other(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_crash(cluster, 1);
    cluster_drop_all(cluster, 0, 0);
    cluster_hold(cluster, 0, 0);
    cluster_run(cluster, LONGEST);
    for (raft_id id = 2; id <= 3; id++) {
        CHECK_EQ(cluster_role(cluster, id), RAFT_ROLE_PRE_CANDIDATE);
        CHECK_EQ(cluster_status(cluster, id).leader, 0);
    }
    cluster_heal_all(cluster);
    CHECK(cluster_run_until(cluster, has_leader, 4 * LONGEST));
    CHECK(cluster_leader(cluster) != 1);
    CLUSTER_DONE(cluster);
}

/*
 * R19 binds a follower for the shortest timeout, not until its own runs out: the first to expire
 * wins at once, though the other has had nothing to do since it heard the leader.
 */
static void the_first_follower_to_miss_a_dead_leader_is_elected_at_once(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct cluster *cluster = cluster_create(3);
        for (raft_id id = 1; id <= 3; id++) {
            cluster->nodes[id].options.seed = seed;
        }
        CHECK_EQ(cluster_start(cluster), RAFT_OK);
        CHECK(cluster_elect(cluster, 1));
        cluster_crash(cluster, 1);
        uint64_t died = cluster->now_ms;
        CHECK(cluster_run_until(cluster, has_leader, 4 * LONGEST));
        CHECK(cluster->now_ms < died + LONGEST);
        CHECK_EQ(cluster_status(cluster, cluster_leader(cluster)).counters.elections_started, 1);
        size_t asked_by_one =
            cluster_sent_count(cluster, 0, 5 - cluster_leader(cluster), 0, RAFT_MESSAGE_PRE_VOTE);
        CHECK_EQ(asked_by_one, 0);
        CLUSTER_DONE(cluster);
    }
}

/* The order clears the own stickiness; one asks the other before the leader is heard again. */
static void a_quorum_told_to_campaign_replaces_a_live_leader(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_poll(cluster, 2);
    cluster_poll(cluster, 3);
    cluster_drop_all(cluster, 3, 0);
    cluster_settle(cluster);
    CHECK_EQ(cluster_leader(cluster), 2);
    CHECK_EQ(cluster_term(cluster, 2), cluster_later(cluster, term, 1, 2));
    cluster_run(cluster, T);
    CHECK_EQ(cluster_status(cluster, 1).leader, 2);
    CHECK_EQ(cluster_status(cluster, 3).leader, 2);
    CLUSTER_DONE(cluster);
}

static void a_quorum_whose_campaigns_meet_ends_the_old_term_all_the_same(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(has_leader(cluster));
    CHECK(cluster_term(cluster, cluster_leader(cluster)) > term);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

static void one_follower_told_to_campaign_alone_disturbs_nobody(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    cluster_run(cluster, 10 * T);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CHECK_EQ(cluster_status(cluster, 2).leader, 1);
    CLUSTER_DONE(cluster);
}

static void a_pre_vote_from_a_lower_term_is_refused_with_the_own_term_which_is_adopted(void)
{
    struct cluster *cluster = cluster_new(3);
    raft_term high = cluster_later(cluster, 0, 8, 1);
    raft_message raise = cluster_forge(cluster, 1, 2, high, RAFT_MESSAGE_APPEND_REPLY);
    CHECK_EQ(cluster_inject(cluster, 2, &raise), RAFT_OK);
    cluster_isolate(cluster, 1);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_poll(cluster, 3);
    cluster_deliver(cluster, 3, 2);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, 2, 3, RAFT_MESSAGE_PRE_VOTE_REPLY);
    CHECK(reply != NULL && reply->message.refused);
    CHECK_EQ(reply->message.term, high);
    cluster_deliver(cluster, 2, 3);
    CHECK_EQ(cluster_term(cluster, 3), high);
    CHECK_EQ(cluster_status(cluster, 3).vote, 0);
    CLUSTER_DONE(cluster);
}

static void a_pre_vote_grant_from_a_node_that_is_behind_in_terms_counts(void)
{
    struct cluster *cluster = cluster_new(3);
    cluster_isolate(cluster, 3);
    raft_term high = cluster_later(cluster, 0, 8, 3);
    raft_term next = cluster_later(cluster, high, 1, 1);
    raft_message raise = cluster_forge(cluster, 3, 1, high, RAFT_MESSAGE_APPEND_REPLY);
    CHECK_EQ(cluster_inject(cluster, 1, &raise), RAFT_OK);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    cluster_deliver(cluster, 1, 2);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, 2, 1, RAFT_MESSAGE_PRE_VOTE_REPLY);
    CHECK_EQ(reply->message.refused, 0);
    CHECK_EQ(reply->message.term, 0);
    CHECK_EQ(reply->message.asked_term, next);
    cluster_settle(cluster);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 1), next);
    CLUSTER_DONE(cluster);
}

static void a_vote_split_after_won_pre_votes_is_decided_in_a_later_round(void)
{
    struct cluster *cluster = cluster_new(4);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    cluster_poll(cluster, 2);
    for (raft_id voter = 3; voter <= 4; voter++) {
        for (raft_id candidate = 1; candidate <= 2; candidate++) {
            cluster_deliver_all(cluster, candidate, voter);
            cluster_deliver_all(cluster, voter, candidate);
        }
    }
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_CANDIDATE);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_CANDIDATE);
    cluster_deliver_all(cluster, 1, 3);
    cluster_deliver_all(cluster, 2, 4);
    cluster_settle(cluster);
    CHECK_EQ(cluster_leader(cluster), 0);
    CHECK(cluster_run_until(cluster, has_leader, 6 * LONGEST));
    CHECK(cluster_term(cluster, cluster_leader(cluster)) >= 2);
    CLUSTER_DONE(cluster);
}

static void a_follower_that_hears_but_cannot_send_does_not_campaign(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_cut(cluster, 3, 0);
    uint64_t mark = cluster_mark(cluster);
    cluster_run(cluster, 50 * T);
    CHECK_EQ(cluster_role(cluster, 3), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_sent_count(cluster, mark, 3, 0, RAFT_MESSAGE_PRE_VOTE), 0);
    CHECK_EQ(cluster_leader(cluster), 1);
    CLUSTER_DONE(cluster);
}

static void a_follower_that_can_send_but_not_hear_campaigns_and_raises_no_term(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    cluster_cut(cluster, 0, 3);
    uint64_t mark = cluster_mark(cluster);
    cluster_run(cluster, 50 * T);
    CHECK(cluster_sent_count(cluster, mark, 3, 1, RAFT_MESSAGE_PRE_VOTE) > 20);
    CHECK_EQ(cluster_sent_count(cluster, mark, 3, 0, RAFT_MESSAGE_VOTE), 0);
    CHECK_EQ(cluster_leader(cluster), 1);
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_EQ(cluster_term(cluster, id), term);
    }
    CLUSTER_DONE(cluster);
}

static void a_leader_that_sends_but_cannot_receive_yields_and_others_elect(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_cut(cluster, 0, 1);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_leader(cluster) == 2 || cluster_leader(cluster) == 3);
    CHECK(has_leader(cluster));
    CHECK(cluster_role(cluster, 1) != RAFT_ROLE_LEADER);
    cluster_heal_all(cluster);
    cluster_run(cluster, T);
    CHECK_EQ(cluster_status(cluster, 1).leader, cluster_leader(cluster));
    CLUSTER_DONE(cluster);
}

static void a_pre_vote_changes_nothing_at_the_one_asked(void)
{
    struct cluster *cluster = cluster_new(3);
    uint64_t due = timer_of(cluster, 2);
    uint64_t writes = cluster->nodes[2].store.writes;
    cluster->now_ms += 500;
    cluster_poll(cluster, 2);
    CHECK_EQ(asked_for_pre_vote(cluster, 1, 2, 6), 1);
    CHECK_EQ(asked_for_pre_vote(cluster, 3, 2, 6), 1);
    CHECK_EQ(cluster_term(cluster, 2), 0);
    CHECK_EQ(cluster_status(cluster, 2).vote, 0);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(timer_of(cluster, 2), due);
    CHECK_EQ(cluster->nodes[2].store.writes, writes);
    CHECK_EQ(cluster_status(cluster, 2).last_contact_ms, 0);
    CLUSTER_DONE(cluster);
}

static void a_pre_candidate_writes_nothing_and_keeps_term_and_vote(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_status before = cluster_status(cluster, 2);
    uint64_t writes = cluster->nodes[2].store.writes;
    cluster_isolate(cluster, 2);
    cluster_advance_node(cluster, 2, 10 * T);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_PRE_CANDIDATE);
    CHECK_EQ(cluster_term(cluster, 2), before.term);
    CHECK_EQ(cluster_status(cluster, 2).vote, before.vote);
    CHECK_EQ(cluster->nodes[2].store.writes, writes);
    CHECK_EQ(cluster_status(cluster, 2).counters.elections_started, 0);
    CLUSTER_DONE(cluster);
}

static struct cluster *led_cluster_that_does_not_pull(size_t count, raft_id leader)
{
    struct cluster *cluster = cluster_create(count);
    for (raft_id id = 1; id <= count; id++) {
        cluster->nodes[id].options.no_pull = 1;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, leader));
    return cluster;
}

static void a_pre_candidate_with_a_worse_log_is_refused(void)
{
    struct cluster *cluster = led_cluster_that_does_not_pull(3, 1);
    cluster_isolate(cluster, 3);
    cluster_propose(cluster, 1, "more");
    cluster_run(cluster, T);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    raft_term term = cluster_term(cluster, 2);
    cluster->now_ms += T;
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_poll(cluster, 3);
    uint64_t mark = cluster_mark(cluster);
    cluster_poll(cluster, 2);
    cluster_drop_all(cluster, 2, 3);
    cluster_deliver_all(cluster, 3, 2);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, 2, 3, RAFT_MESSAGE_PRE_VOTE_REPLY);
    CHECK(reply != NULL && reply->message.refused);
    CHECK_EQ(cluster_term(cluster, 3), term);
    CHECK(cluster_run_until(cluster, has_leader, 4 * LONGEST));
    CHECK_EQ(cluster_leader(cluster), 2);
    CLUSTER_DONE(cluster);
}

/* O#1796: the longest log at a low term, short logs at a high one; terms must reach each other. */
static void a_long_log_of_a_low_term_and_short_logs_of_a_high_term_do_not_block_each_other(void)
{
    struct cluster *cluster = led_cluster_that_does_not_pull(4, 1);
    cluster_split(cluster, 1, 3);
    cluster_split(cluster, 1, 4);
    cluster_split(cluster, 2, 3);
    cluster_split(cluster, 2, 4);
    cluster_propose(cluster, 1, "long");
    cluster_settle(cluster);
    for (raft_id id = 3; id <= 4; id++) {
        raft_term high = cluster_later(cluster, 0, 40, 3);
        raft_message raise = cluster_forge(cluster, 7 - id, id, high, RAFT_MESSAGE_APPEND_REPLY);
        CHECK_EQ(cluster_inject(cluster, id, &raise), RAFT_OK);
    }
    cluster_run(cluster, 10 * T);
    CHECK_EQ(cluster_leader(cluster), 0);
    cluster_heal_all(cluster);
    CHECK(cluster_run_until(cluster, has_leader, 4 * LONGEST));
    CHECK(cluster_leader(cluster) <= 2 || cluster_noops(cluster) == 0); /* where logs elect */
    cluster_run(cluster, LONGEST);
    CHECK(cluster_converged(cluster));
    CHECK_STR(cluster_applied_text(cluster, 4, 1 + cluster_noops(cluster)), "long");
    CLUSTER_DONE(cluster);
}

static void pre_vote_grants_of_another_round_or_twice_from_one_node_do_not_add_up(void)
{
    struct cluster *cluster = cluster_new(5);
    cluster_isolate(cluster, 1);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    const struct cluster_message *request = cluster_sent(cluster, 0, 1, 2, RAFT_MESSAGE_PRE_VOTE);
    raft_message grant = cluster_forge(cluster, 2, 1, 0, RAFT_MESSAGE_PRE_VOTE_REPLY);
    grant.asked_term = request->message.asked_term;
    grant.round = request->message.round;
    cluster_inject(cluster, 1, &grant);
    cluster_inject(cluster, 1, &grant);
    grant.from = 3;
    grant.round++;
    cluster_inject(cluster, 1, &grant);
    grant.from = 4;
    grant.round -= 2;
    cluster_inject(cluster, 1, &grant);
    grant.round = request->message.round;
    grant.asked_term++;
    cluster_inject(cluster, 1, &grant);
    grant.asked_term = request->message.asked_term;
    grant.from = 99;
    cluster_inject(cluster, 1, &grant);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_PRE_CANDIDATE);
    grant.from = 5;
    cluster_inject(cluster, 1, &grant);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_CANDIDATE);
    CLUSTER_DONE(cluster);
}

/* The attempt that timed out asked for the same term: its late grants belong to nothing. */
static void grants_of_an_earlier_attempt_at_the_same_term_do_not_count(void)
{
    struct cluster *cluster = cluster_new(5);
    cluster_isolate(cluster, 1);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    const raft_message first = cluster_sent(cluster, 0, 1, 2, RAFT_MESSAGE_PRE_VOTE)->message;
    uint64_t mark = cluster_mark(cluster);
    cluster_advance_node(cluster, 1, LONGEST);
    const struct cluster_message *again = cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_PRE_VOTE);
    CHECK_EQ(again->message.asked_term, first.asked_term);
    CHECK(again->message.round != first.round);
    for (raft_id from = 2; from <= 5; from++) {
        raft_message grant = cluster_forge(cluster, from, 1, 0, RAFT_MESSAGE_PRE_VOTE_REPLY);
        grant.asked_term = first.asked_term;
        grant.round = first.round;
        CHECK_EQ(cluster_inject(cluster, 1, &grant), RAFT_OK);
    }
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_PRE_CANDIDATE);
    CLUSTER_DONE(cluster);
}

/* R11: the one who grants may have reached the asked term already, and that is nothing to adopt. */
static void a_pre_vote_grant_of_a_higher_term_counts_and_is_not_adopted(void)
{
    struct cluster *cluster = cluster_new(5);
    cluster_isolate(cluster, 1);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    const struct cluster_message *request = cluster_sent(cluster, 0, 1, 2, RAFT_MESSAGE_PRE_VOTE);
    for (raft_id from = 2; from <= 3; from++) {
        raft_term asked = request->message.asked_term;
        raft_message grant = cluster_forge(cluster, from, 1, asked, RAFT_MESSAGE_PRE_VOTE_REPLY);
        grant.asked_term = asked;
        grant.round = request->message.round;
        CHECK_EQ(cluster_inject(cluster, 1, &grant), RAFT_OK);
        CHECK_EQ(cluster_term(cluster, 1), from == 2 ? 0 : asked);
    }
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_CANDIDATE);
    CLUSTER_DONE(cluster);
}

static void a_majority_of_pre_vote_refusals_ends_the_attempt_at_the_same_term(void)
{
    struct cluster *cluster = cluster_new(3);
    cluster_isolate(cluster, 1);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    const struct cluster_message *request = cluster_sent(cluster, 0, 1, 2, RAFT_MESSAGE_PRE_VOTE);
    for (raft_id from = 2; from <= 3; from++) {
        raft_message no = cluster_forge(cluster, from, 1, 0, RAFT_MESSAGE_PRE_VOTE_REPLY);
        no.asked_term = request->message.asked_term;
        no.round = request->message.round;
        no.refused = 1;
        CHECK_EQ(cluster_inject(cluster, 1, &no), RAFT_OK);
    }
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_term(cluster, 1), 0);
    cluster_advance_node(cluster, 1, LONGEST);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_PRE_CANDIDATE);
    CLUSTER_DONE(cluster);
}

static void leader_messages_of_a_lower_term_are_answered_with_the_own_term(void)
{
    static const int kinds[] = {RAFT_MESSAGE_APPEND, RAFT_MESSAGE_HEARTBEAT};
    for (size_t i = 0; i < 2; i++) {
        struct cluster *cluster = led_cluster(3, 1);
        raft_term term = cluster_term(cluster, 1);
        raft_index first = cluster_propose(cluster, 1, "first");
        cluster_settle(cluster);
        raft_term high = cluster_later(cluster, term, 9, 3);
        raft_message raise = cluster_forge(cluster, 3, 2, high, RAFT_MESSAGE_APPEND_REPLY);
        CHECK_EQ(cluster_inject(cluster, 2, &raise), RAFT_OK);
        raft_status before = cluster_status(cluster, 2);
        uint64_t mark = cluster_mark(cluster);
        raft_message stale = cluster_forge(cluster, 1, 2, term, kinds[i]);
        stale.round = kinds[i] == RAFT_MESSAGE_HEARTBEAT;
        stale.index = i == 0 ? first : 0;
        stale.index_term = i == 0 ? cluster_stored(cluster, 1, first)->term : 0;
        CHECK_EQ(cluster_inject(cluster, 2, &stale), RAFT_OK);
        const struct cluster_message *reply = cluster_sent(cluster, mark, 2, 1, 0);
        CHECK(reply != NULL);
        CHECK_EQ(reply->message.term, high);
        CHECK_EQ(cluster_status(cluster, 2).leader, 0);
        CHECK_EQ(cluster_status(cluster, 2).last_contact_ms, before.last_contact_ms);
        cluster_deliver_all(cluster, 2, 1);
        CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
        CHECK_EQ(cluster_term(cluster, 1), high);
        CLUSTER_DONE(cluster);
    }
}

static void a_removed_looking_candidate_of_a_high_term_moves_no_term_of_a_live_group(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    for (int i = 0; i < 50; i++) {
        cluster_run(cluster, 100);
        for (raft_id id = 1; id <= 3; id++) {
            raft_message vote = cluster_forge(cluster, 77, id, 900, RAFT_MESSAGE_VOTE);
            vote.index = 900;
            vote.index_term = 800;
            vote.round = 1;
            CHECK_EQ(raft_receive(cluster->nodes[id].raft, &vote), RAFT_OK);
        }
    }
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CHECK_EQ(cluster_term(cluster, 2), term);
    CHECK_EQ(cluster_term(cluster, 3), term);
    CLUSTER_DONE(cluster);
}

int main(void)
{
    RUN_BOTH(an_isolated_follower_rejoins_without_disturbing_anybody);
    RUN_BOTH(without_pre_vote_a_rejoining_node_deposes_the_leader_once_then_all_settles);
    RUN_BOTH(a_higher_term_with_a_short_log_is_taken_in_by_way_of_the_leaders_heartbeat);
    RUN_BOTH(a_leader_with_a_live_quorum_never_yields);
    RUN_BOTH(a_leader_with_a_silent_quorum_yields_at_its_term_within_two_windows);
    RUN_BOTH(a_leader_that_yielded_sends_nothing_that_keeps_followers_bound);
    RUN_BOTH(a_new_leader_counts_those_who_elected_it_as_just_heard);
    RUN_BOTH(without_check_quorum_a_lonely_leader_stays);
    RUN_BOTH(a_voter_that_heard_its_leader_refuses_until_the_minimum_timeout_then_grants);
    RUN_BOTH(contact_and_a_vote_request_before_one_poll_leave_the_voter_bound);
    RUN_BOTH(stickiness_is_measured_from_contact_and_not_from_other_timer_resets);
    RUN_BOTH(a_leader_with_a_fresh_quorum_refuses_pre_votes_and_votes_of_any_term);
    RUN_BOTH(without_stickiness_followers_of_a_live_leader_answer_candidates);
    RUN_BOTH(switching_check_quorum_off_switches_stickiness_off);
    RUN_BOTH(followers_of_a_dead_leader_do_not_refuse_each_other);
    RUN_BOTH(the_first_follower_to_miss_a_dead_leader_is_elected_at_once);
    RUN_BOTH(a_quorum_told_to_campaign_replaces_a_live_leader);
    RUN_BOTH(a_quorum_whose_campaigns_meet_ends_the_old_term_all_the_same);
    RUN_BOTH(one_follower_told_to_campaign_alone_disturbs_nobody);
    RUN_BOTH(a_pre_vote_from_a_lower_term_is_refused_with_the_own_term_which_is_adopted);
    RUN_BOTH(a_pre_vote_grant_from_a_node_that_is_behind_in_terms_counts);
    RUN(a_vote_split_after_won_pre_votes_is_decided_in_a_later_round);
    RUN_BOTH(a_follower_that_hears_but_cannot_send_does_not_campaign);
    RUN_BOTH(a_follower_that_can_send_but_not_hear_campaigns_and_raises_no_term);
    RUN_BOTH(a_leader_that_sends_but_cannot_receive_yields_and_others_elect);
    RUN_BOTH(a_pre_vote_changes_nothing_at_the_one_asked);
    RUN_BOTH(a_pre_candidate_writes_nothing_and_keeps_term_and_vote);
    RUN(a_pre_candidate_with_a_worse_log_is_refused);
    RUN_BOTH(a_long_log_of_a_low_term_and_short_logs_of_a_high_term_do_not_block_each_other);
    RUN_BOTH(pre_vote_grants_of_another_round_or_twice_from_one_node_do_not_add_up);
    RUN_BOTH(grants_of_an_earlier_attempt_at_the_same_term_do_not_count);
    RUN_BOTH(a_pre_vote_grant_of_a_higher_term_counts_and_is_not_adopted);
    RUN_BOTH(a_majority_of_pre_vote_refusals_ends_the_attempt_at_the_same_term);
    RUN_BOTH(leader_messages_of_a_lower_term_are_answered_with_the_own_term);
    RUN_BOTH(a_removed_looking_candidate_of_a_high_term_moves_no_term_of_a_live_group);
    return check_done();
}
