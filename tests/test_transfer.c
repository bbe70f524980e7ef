/*
 * Leadership that changes hands on purpose (rules R46, R53, R55, R23): transfers, leaders that have
 * to go, stepping down, forgetting the leader, stopping, priorities.
 */
#include "check.h"
#include "cluster.h"
#include "lone.h"

#include <string.h>

static const uint64_t T = 1000;
static const uint64_t LONGEST = 2000; /* "one election timeout" of raft.h */

static struct cluster *led_cluster(size_t count, raft_id leader)
{
    struct cluster *cluster = cluster_new(count);
    CHECK(cluster_elect(cluster, leader));
    return cluster;
}

static int transfer(struct cluster *cluster, raft_id leader, raft_id target)
{
    int code = raft_transfer(cluster->nodes[leader].raft, target);
    cluster->nodes[leader].spin_count = 0;
    return code;
}

static int propose_code(struct cluster *cluster, raft_id id, const char *text)
{
    int code;
    cluster_propose_code(cluster, id, text, &code);
    return code;
}

/* ---- The usual case ------------------------------------------------------------------------- */

static void to_an_up_to_date_voter_takes_one_term_and_one_election(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    uint64_t since = cluster->now_ms;
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 1).transfer_target, 2);
    cluster_settle(cluster);
    CHECK_EQ(cluster->now_ms, since); /* no timeout is waited for */
    CHECK_EQ(cluster_stable_leader(cluster), 2);
    CHECK_EQ(cluster_term(cluster, 2), cluster_later(cluster, term, 1, 2));
    CHECK_EQ(cluster_status(cluster, 2).counters.elections_started, 1);
    CHECK_EQ(cluster_status(cluster, 1).counters.transfers_begun, 1);
    CHECK_EQ(cluster_status(cluster, 1).transfer_target, 0);
    CHECK_EQ(cluster_event_count(cluster, 1, 0, RAFT_EVENT_TRANSFER), 0);
    CHECK_EQ(cluster_sent_count(cluster, 0, 2, 0, RAFT_MESSAGE_PRE_VOTE), 0);
    CHECK(cluster_propose(cluster, 2, "goes on") > 0);
    cluster_run(cluster, T);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

static void works_without_pre_vote_check_quorum_and_stickiness_too(void)
{
    for (int without = 0; without < 8; without++) {
        struct cluster *cluster = cluster_create(5);
        for (raft_id id = 1; id <= 5; id++) {
            cluster->nodes[id].options.no_pre_vote = without & 1;
            cluster->nodes[id].options.no_check_quorum = without >> 1 & 1;
            cluster->nodes[id].options.no_stickiness = without >> 2 & 1;
        }
        CHECK_EQ(cluster_start(cluster), RAFT_OK);
        CHECK(cluster_elect(cluster, 1));
        CHECK_EQ(transfer(cluster, 1, 4), RAFT_OK);
        cluster_settle(cluster);
        CHECK_EQ(cluster_stable_leader(cluster), 4);
        CLUSTER_DONE(cluster);
    }
}

static void entries_proposed_before_are_committed_by_the_next_leader(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    raft_index index = cluster_propose(cluster, 1, "before");
    CHECK_EQ(transfer(cluster, 1, 3), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_leader(cluster), 3);
    cluster_run(cluster, T);
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_STR(cluster_applied_text(cluster, id, index), "before");
        CHECK_EQ(cluster_applied(cluster, id, index)->term, term);
    }
    CLUSTER_DONE(cluster);
}

static void to_a_lagging_voter_waits_until_it_holds_everything(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_isolate(cluster, 2);
    for (int i = 0; i < 50; i++) {
        CHECK(cluster_propose(cluster, 1, "while it was away") > 0);
    }
    cluster_run(cluster, T / 2);
    cluster_heal_all(cluster);
    cluster_hold(cluster, 2, 1);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster_run(cluster, T / 2);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 2, RAFT_MESSAGE_TRANSFER), 0);
    cluster_heal_all(cluster);
    cluster_run(cluster, T / 2);
    CHECK_EQ(cluster_stable_leader(cluster), 2);
    cluster_run(cluster, T);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

static void target_zero_is_the_live_voter_with_the_most_of_the_log(void)
{
    struct cluster *cluster = led_cluster(5, 1);
    cluster_isolate(cluster, 2);
    cluster_isolate(cluster, 3);
    CHECK(cluster_propose(cluster, 1, "two lack this") > 0);
    cluster_run(cluster, 100);
    cluster_cut(cluster, 1, 4);
    CHECK(cluster_propose(cluster, 1, "three lack this") > 0);
    cluster_settle(cluster);
    CHECK_EQ(transfer(cluster, 1, 0), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 1).transfer_target, 5);
    CHECK_EQ(transfer(cluster, 1, 0), RAFT_OK); /* under way already */
    CHECK_EQ(cluster_status(cluster, 1).counters.transfers_begun, 1);
    cluster_heal_all(cluster);
    cluster_settle(cluster);
    CHECK_EQ(cluster_leader(cluster), 5);
    CLUSTER_DONE(cluster);
}

/* ---- Refusals ------------------------------------------------------------------------------- */

static void to_itself_or_a_stranger_is_refused(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    uint64_t before = cluster_fingerprint(cluster, 1);
    CHECK_EQ(transfer(cluster, 1, 1), RAFT_EARG);
    CHECK_EQ(transfer(cluster, 1, 77), RAFT_EARG);
    CHECK_EQ(cluster_fingerprint(cluster, 1), before);
    CHECK_EQ(raft_transfer(NULL, 2), RAFT_EARG);
    CLUSTER_DONE(cluster);
    cluster = led_cluster(1, 1);
    CHECK_EQ(transfer(cluster, 1, 0), RAFT_EARG); /* there is nobody */
    CLUSTER_DONE(cluster);
}

/* ---- Asked for on another server ------------------------------------------------------------ */

static void asked_of_a_follower_it_is_forwarded_to_the_leader(void)
{
    for (raft_id target = 0; target <= 3; target += target == 0 ? 2 : 1) {
        struct cluster *cluster = led_cluster(3, 1);
        uint64_t since = cluster->now_ms;
        uint64_t mark = cluster_mark(cluster);
        CHECK_EQ(transfer(cluster, 2, target), RAFT_OK);
        CHECK_EQ(cluster_status(cluster, 2).transfer_target, 0);
        cluster_settle(cluster);
        CHECK_EQ(cluster->now_ms, since); /* no timeout is waited for */
        raft_id leader = cluster_stable_leader(cluster);
        CHECK(target == 0 ? leader == 2 || leader == 3 : leader == target);
        CHECK_EQ(cluster_sent_count(cluster, mark, 0, 0, RAFT_MESSAGE_TRANSFER_ASK), 1);
        CHECK_EQ(cluster_sent_count(cluster, mark, 2, 1, RAFT_MESSAGE_TRANSFER_ASK), 1);
        CHECK_EQ(cluster_status(cluster, 2).counters.transfers_asked, 1);
        CHECK_EQ(cluster_status(cluster, 1).counters.transfers_begun, 1);
        cluster_run(cluster, LONGEST);
        CHECK(cluster_converged(cluster));
        CLUSTER_DONE(cluster);
    }
}

static void what_cannot_be_forwarded_is_refused(void)
{
    struct cluster *cluster = cluster_create(4);
    cluster->founders = 3; /* the fourth is no member */
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(transfer(cluster, 2, 1), RAFT_EARG); /* it leads */
    CHECK_EQ(transfer(cluster, 2, 77), RAFT_EARG);
    CHECK_EQ(transfer(cluster, 4, 2), RAFT_ENOTMEMBER);
    CHECK_EQ(raft_forget_leader(cluster->nodes[2].raft), RAFT_OK);
    CHECK_EQ(transfer(cluster, 2, 3), RAFT_ENOLEADER);
    cluster_settle(cluster);
    CHECK_EQ(cluster_sent_count(cluster, mark, 0, 0, RAFT_MESSAGE_TRANSFER_ASK), 0);
    CHECK_EQ(cluster_leader(cluster), 1);
    CLUSTER_DONE(cluster);
}

/* Late, it would depose a leader that nobody asked to go. */
static void what_was_asked_in_an_earlier_term_is_ignored(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    CHECK_EQ(transfer(cluster, 2, 3), RAFT_OK);
    cluster_settle(cluster);
    uint64_t number = cluster_sent(cluster, 0, 2, 1, RAFT_MESSAGE_TRANSFER_ASK)->number;
    CHECK_EQ(cluster_leader(cluster), 3);
    CHECK_EQ(cluster_replay(cluster, number), RAFT_OK); /* to one that leads no longer */
    cluster_settle(cluster);
    CHECK_EQ(cluster_leader(cluster), 3);
    CHECK(cluster_elect(cluster, 1));
    raft_term term = cluster_term(cluster, 1);
    CHECK_EQ(cluster_replay(cluster, number), RAFT_OK); /* to one that leads again */
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_stable_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CLUSTER_DONE(cluster);
}

/* Nor does it leave in a later term than the one it was asked in. */
static void what_was_asked_before_the_term_rose_is_not_sent(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(transfer(cluster, 2, 3), RAFT_OK);
    raft_term next = cluster_later(cluster, cluster_term(cluster, 1), 1, 1);
    raft_message m = cluster_forge(cluster, 1, 2, next, RAFT_MESSAGE_HEARTBEAT);
    CHECK_EQ(cluster_inject(cluster, 2, &m), RAFT_OK);
    CHECK_EQ(cluster_term(cluster, 2), next);
    cluster_advance(cluster, 50);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 0, RAFT_MESSAGE_TRANSFER_ASK), 0);
    CLUSTER_DONE(cluster);
}

static void who_does_not_lead_passes_nothing_on_and_strangers_ask_in_vain(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    uint64_t mark = cluster_mark(cluster);
    raft_message ask = cluster_forge(cluster, 2, 3, term, RAFT_MESSAGE_TRANSFER_ASK);
    ask.request = 2;
    CHECK_EQ(cluster_inject(cluster, 3, &ask), RAFT_OK); /* a follower */
    ask = cluster_forge(cluster, 9, 1, term, RAFT_MESSAGE_TRANSFER_ASK);
    ask.request = 2;
    CHECK_EQ(cluster_inject(cluster, 1, &ask), RAFT_OK); /* from no member */
    ask = cluster_forge(cluster, 2, 1, term, RAFT_MESSAGE_TRANSFER_ASK);
    ask.request = 1;
    CHECK_EQ(cluster_inject(cluster, 1, &ask), RAFT_OK); /* to the leader itself */
    ask.request = 77;
    CHECK_EQ(cluster_inject(cluster, 1, &ask), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_sent_count(cluster, mark, 0, 0, RAFT_MESSAGE_TRANSFER_ASK), 0);
    CHECK_EQ(cluster_status(cluster, 1).counters.transfers_begun, 0);
    CHECK_EQ(cluster_stable_leader(cluster), 1);
    CLUSTER_DONE(cluster);
}

static void while_it_lasts_proposals_are_refused_and_reads_are_not(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_hold(cluster, 1, 2);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    CHECK_EQ(propose_code(cluster, 1, "no"), RAFT_ETRANSFER);
    CHECK_EQ(raft_read(cluster->nodes[1].raft, 7), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_read_answer(cluster, 1, 7)->status, RAFT_OK);
    CHECK_EQ(propose_code(cluster, 1, "no"), RAFT_ETRANSFER);
    CLUSTER_DONE(cluster);
}

/* ---- The end of a transfer ------------------------------------------------------------------ */

static void to_a_dead_target_is_given_up_after_one_timeout_and_proposals_pass_again(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_crash(cluster, 2);
    raft_term term = cluster_term(cluster, 1);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster_run(cluster, LONGEST - 1);
    CHECK_EQ(propose_code(cluster, 1, "not yet"), RAFT_ETRANSFER);
    CHECK_EQ(cluster_event_count(cluster, 1, 0, RAFT_EVENT_TRANSFER), 0);
    cluster_run(cluster, 1);
    CHECK_EQ(cluster_event_count(cluster, 1, 0, RAFT_EVENT_TRANSFER), 1);
    CHECK_EQ(cluster_event(cluster, 1, 0, RAFT_EVENT_TRANSFER)->status, RAFT_ETIMEOUT);
    CHECK_EQ(cluster_event(cluster, 1, 0, RAFT_EVENT_TRANSFER)->peer, 2);
    CHECK_EQ(cluster_status(cluster, 1).transfer_target, 0);
    CHECK_EQ(propose_code(cluster, 1, "again"), RAFT_OK);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CLUSTER_DONE(cluster);
}

/* The time runs from the first sample taken after the call, however old the last one was (R59). */
static void the_timeout_begins_with_the_sample_after_the_request(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_crash(cluster, 2);
    cluster_settle(cluster);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster->now_ms += 90; /* within a heartbeat: nothing was due in between */
    uint64_t since = cluster->now_ms;
    cluster_run(cluster, LONGEST - 1);
    CHECK_EQ(cluster_status(cluster, 1).transfer_target, 2);
    cluster_run(cluster, 1);
    CHECK_EQ(cluster_status(cluster, 1).transfer_target, 0);
    CHECK_EQ(cluster->nodes[1].events[cluster->nodes[1].event_count - 1].at_ms, since + LONGEST);
    CLUSTER_DONE(cluster);
}

static void the_same_target_again_changes_nothing_and_another_replaces_it(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_crash(cluster, 2);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster_run(cluster, LONGEST - 10);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster_run(cluster, 10);
    CHECK_EQ(cluster_event_count(cluster, 1, 0, RAFT_EVENT_TRANSFER), 1); /* the first deadline */
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster_run(cluster, T);
    CHECK_EQ(transfer(cluster, 1, 3), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 1).transfer_target, 3);
    cluster_settle(cluster);
    CHECK_EQ(cluster_leader(cluster), 3);
    CHECK_EQ(cluster_event_count(cluster, 1, 0, RAFT_EVENT_TRANSFER), 1);
    CLUSTER_DONE(cluster);
}

static void what_ends_leadership_in_the_term_ends_the_transfer_with_a_reason(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_isolate(cluster, 1);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    CHECK_EQ(raft_step_down(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    CHECK_EQ(cluster_event(cluster, 1, 0, RAFT_EVENT_TRANSFER)->status, RAFT_ENOLEADER);
    CHECK_EQ(propose_code(cluster, 1, "no leader"), RAFT_ENOLEADER);
    cluster_heal_all(cluster);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(cluster_status(cluster, 1).transfer_target, 0); /* no flag survives (H#696) */
    CHECK_EQ(propose_code(cluster, 1, "leads again"), RAFT_OK);
    CLUSTER_DONE(cluster);
}

static void a_lost_go_now_is_sent_again_with_the_next_heartbeat(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_cut(cluster, 1, 2);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster_settle(cluster);
    CHECK(cluster_sent(cluster, 0, 1, 2, RAFT_MESSAGE_TRANSFER) != NULL);
    cluster_heal_all(cluster);
    cluster_run(cluster, 100);
    CHECK_EQ(cluster_stable_leader(cluster), 2);
    CLUSTER_DONE(cluster);
}

/* A candidate by order that is not elected campaigns like any other afterwards: it asks first. */
static void the_order_belongs_to_one_candidacy(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster_poll(cluster, 1);
    cluster_cut(cluster, 2, 0);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_CANDIDATE);
    const struct cluster_message *vote = cluster_sent(cluster, 0, 2, 3, RAFT_MESSAGE_VOTE);
    const struct cluster_message *order = cluster_sent(cluster, 0, 1, 2, RAFT_MESSAGE_TRANSFER);
    CHECK_EQ(vote->message.tag_term, order->message.tag_term);
    CHECK_EQ(vote->message.tag_round, order->message.tag_round);
    CHECK_EQ(order->message.tag_term, order->message.term);
    cluster_isolate(cluster, 1);
    uint64_t mark = cluster_mark(cluster);
    cluster_advance_node(cluster, 2, 4 * LONGEST);
    CHECK(cluster_sent(cluster, mark, 2, 3, RAFT_MESSAGE_PRE_VOTE) != NULL);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 3, RAFT_MESSAGE_VOTE), 0);
    cluster_heal_all(cluster);
    cluster_isolate(cluster, 1);
    cluster_run(cluster, 4 * LONGEST);
    raft_id leader = cluster_stable_leader(cluster);
    CHECK(leader == 2 || leader == 3);
    for (uint64_t at = mark; (vote = cluster_sent(cluster, at, leader, 0, RAFT_MESSAGE_VOTE));) {
        CHECK_EQ(vote->message.tag_term, 0);
        at = vote->number;
    }
    CLUSTER_DONE(cluster);
}

/* ---- Orders that come late or to the wrong server ------------------------------------------- */

static void a_go_now_of_an_earlier_term_is_ignored(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_hold(cluster, 1, 2);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster_poll(cluster, 1);
    const struct cluster_message *order = cluster_sent(cluster, 0, 1, 2, RAFT_MESSAGE_TRANSFER);
    uint64_t number = order->number;
    cluster_drop_all(cluster, 1, 2);
    cluster_heal_all(cluster);
    CHECK_EQ(raft_step_down(cluster->nodes[1].raft), RAFT_OK);
    CHECK(cluster_elect(cluster, 3));
    raft_term term = cluster_term(cluster, 3);
    CHECK_EQ(cluster_replay(cluster, number), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_stable_leader(cluster), 3);
    CHECK_EQ(cluster_term(cluster, 2), term);
    CLUSTER_DONE(cluster);
}

static void a_go_now_counts_only_from_the_leader_that_is_followed(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    raft_message order = cluster_forge(cluster, 3, 2, term, RAFT_MESSAGE_TRANSFER);
    order.tag_term = term;
    order.tag_round = 5;
    CHECK_EQ(cluster_inject(cluster, 2, &order), RAFT_OK);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_FOLLOWER);
    order = cluster_forge(cluster, 2, 1, term, RAFT_MESSAGE_TRANSFER);
    order.tag_term = term;
    CHECK_EQ(cluster_inject(cluster, 1, &order), RAFT_OK); /* nor does a leader obey one */
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    raft_term later = cluster_later(cluster, term, 1, 1);
    order = cluster_forge(cluster, 1, 3, later, RAFT_MESSAGE_TRANSFER);
    order.tag_term = later;
    CHECK_EQ(cluster_inject(cluster, 3, &order), RAFT_OK); /* the term, not the order, is taken */
    CHECK_EQ(cluster_role(cluster, 3), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_term(cluster, 3), later);
    CLUSTER_DONE(cluster);
}

/* A vote ordered by a leader passes the voters' stickiness; one of the candidate's own does not. */
static void stickiness_yields_to_an_ordered_vote_only(void)
{
    lone l;
    lone_init(&l);
    lone_boot(&l);
    raft_term led = lone_term(2, 4);
    raft_term asked = lone_term(3, 5);
    CHECK_EQ(lone_heartbeat(&l, 2, led, 0, 1), RAFT_OK);
    lone_settle(&l);
    raft_message vote = lone_message(RAFT_MESSAGE_VOTE, 3, asked);
    vote.round = 9;
    CHECK_EQ(lone_receive(&l, &vote), RAFT_OK);
    lone_settle(&l);
    CHECK_EQ(lone_status(&l).term, led);
    CHECK_EQ(lone_newest(&l, RAFT_MESSAGE_VOTE_REPLY, 3)->refused, 1);
    vote.tag_term = led;
    vote.tag_round = 1;
    CHECK_EQ(lone_receive(&l, &vote), RAFT_OK);
    lone_settle(&l);
    CHECK_EQ(lone_status(&l).term, asked);
    CHECK_EQ(lone_status(&l).vote, 3);
    CHECK_EQ(lone_newest(&l, RAFT_MESSAGE_VOTE_REPLY, 3)->refused, 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* R12 and R11 hold for ordered candidates as for others. */
static void an_ordered_candidate_with_a_worse_log_is_refused(void)
{
    lone l;
    lone_init(&l);
    lone_seed(&l, (raft_term[]){1, 1, 1}, 3, 1, 0);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    raft_message vote = lone_message(RAFT_MESSAGE_VOTE, 3, 2);
    vote.round = 9;
    vote.index = 2;
    vote.index_term = 1;
    vote.tag_term = 1;
    CHECK_EQ(lone_receive(&l, &vote), RAFT_OK);
    lone_settle(&l);
    CHECK_EQ(lone_newest(&l, RAFT_MESSAGE_VOTE_REPLY, 3)->refused, 1);
    CHECK_EQ(lone_status(&l).vote, 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* R2: the target asks for votes when its own is durable, not before. */
static void an_ordered_candidate_waits_for_its_own_vote(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_store_async(cluster, 2, 1);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_CANDIDATE);
    CHECK_EQ(cluster_sent_count(cluster, 0, 2, 0, RAFT_MESSAGE_VOTE), 0);
    cluster_store_async(cluster, 2, 0);
    cluster_complete(cluster, 2);
    cluster_settle(cluster);
    CHECK_EQ(cluster_stable_leader(cluster), 2);
    CLUSTER_DONE(cluster);
}

/* ---- Storage that hangs (R9) ---------------------------------------------------------------- */

static void a_leader_whose_writes_hang_hands_over_after_one_disk_timeout(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_store_async(cluster, 1, 1);
    raft_index index = cluster_propose(cluster, 1, "hangs here, not elsewhere");
    cluster_settle(cluster);
    uint64_t hung = cluster->now_ms;
    cluster_run(cluster, LONGEST - 1);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_sent_count(cluster, 0, 1, 0, RAFT_MESSAGE_TRANSFER), 0);
    cluster_run(cluster, 1);
    CHECK_EQ(cluster->now_ms, hung + LONGEST);
    CHECK_EQ(cluster_status(cluster, 1).counters.transfers_begun, 1);
    raft_id leader = cluster_leader(cluster);
    CHECK(leader == 2 || leader == 3);
    CHECK_EQ(cluster_status(cluster, leader).counters.elections_started, 1);
    CHECK_STR(cluster_applied_text(cluster, leader, index), "hangs here, not elsewhere");
    cluster_store_async(cluster, 1, 0);
    cluster_complete(cluster, 1);
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_leader(cluster), leader);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

/* With nobody who could take over it leads no longer than two, and says nothing afterwards. */
static void a_stalled_leader_without_a_successor_is_silent_after_two_disk_timeouts(void)
{
    struct cluster *cluster = cluster_create(3);
    for (raft_id id = 1; id <= 3; id++) {
        cluster->nodes[id].options.disk_timeout_ms = 700;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_store_async(cluster, 0, 1); /* all hang: nobody can acknowledge */
    CHECK(cluster_propose(cluster, 1, "stuck") > 0);
    cluster_settle(cluster);
    cluster_run(cluster, 1399);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CHECK_EQ(propose_code(cluster, 1, "no more"), RAFT_ETRANSFER);
    cluster_run(cluster, 1);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
    uint64_t mark = cluster_mark(cluster);
    cluster_run(cluster, 4 * LONGEST);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_HEARTBEAT), 0);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_APPEND), 0);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_PRE_VOTE), 0);
    cluster_store_async(cluster, 0, 0);
    for (raft_id id = 1; id <= 3; id++) {
        cluster_complete(cluster, id);
    }
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

static void a_voter_whose_disk_hangs_grants_no_pre_vote_until_it_works_again(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_store_async(cluster, 3, 1);
    CHECK(cluster_propose(cluster, 1, "hangs at 3") > 0);
    cluster_run(cluster, LONGEST);
    cluster_crash(cluster, 1);
    cluster_drop_all(cluster, 0, 0);
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_PRE_CANDIDATE);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    cluster_settle(cluster);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, 3, 2, RAFT_MESSAGE_PRE_VOTE_REPLY);
    CHECK(reply != NULL && reply->message.refused);
    CHECK_EQ(reply->message.flags & RAFT_FLAG_LOG, 0);
    cluster_store_async(cluster, 3, 0);
    cluster_complete(cluster, 3);
    cluster_run(cluster, 2 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CLUSTER_DONE(cluster);
}

/* N6: a single voter has nobody to go to; it stays where it is until the disk answers. */
static void a_single_voter_with_a_hanging_disk_leads_again_when_it_works(void)
{
    struct cluster *cluster = led_cluster(1, 1);
    cluster_store_async(cluster, 1, 1);
    CHECK(cluster_propose(cluster, 1, "slow") > 0);
    cluster_run(cluster, 10 * LONGEST);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
    cluster_store_async(cluster, 1, 0);
    cluster_complete(cluster, 1);
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_leader(cluster), 1);
    CLUSTER_DONE(cluster);
}

/* ---- Stepping down, forgetting -------------------------------------------------------------- */

static void stepping_down_keeps_the_term_and_another_is_elected(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    CHECK_EQ(raft_step_down(cluster->nodes[2].raft), RAFT_OK); /* nothing to leave */
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(raft_step_down(cluster->nodes[1].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CHECK_EQ(cluster_status(cluster, 1).leader, 0);
    cluster_run(cluster, 2 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK(cluster_term(cluster, cluster_leader(cluster)) > term); /* R60 */
    CHECK_EQ(raft_step_down(NULL), RAFT_EARG);
    CLUSTER_DONE(cluster);
}

static raft_message pre_vote(const struct cluster *cluster, raft_id from, raft_id to,
                             raft_term term, raft_index index)
{
    raft_message message = cluster_forge(cluster, from, to, term, RAFT_MESSAGE_PRE_VOTE);
    message.asked_term = term + 1;
    message.round = 77;
    message.index = index;
    message.index_term = term;
    return message;
}

static int pre_vote_granted(struct cluster *cluster, raft_id to, const raft_message *message)
{
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(cluster_inject(cluster, to, message), RAFT_OK);
    return !cluster_sent(cluster, mark, to, message->from, RAFT_MESSAGE_PRE_VOTE_REPLY)
                ->message.refused;
}

static void who_forgets_the_leader_answers_candidates_and_still_checks_their_logs(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    raft_index last = cluster_status(cluster, 2).last_index;
    raft_message good = pre_vote(cluster, 3, 2, term, last);
    raft_message bad = pre_vote(cluster, 3, 2, term, last - 1);
    bad.index_term = last > 1 ? term : 0;
    CHECK(!pre_vote_granted(cluster, 2, &good));
    uint64_t election_at = raft_deadline(cluster->nodes[2].raft);
    CHECK_EQ(raft_forget_leader(cluster->nodes[2].raft), RAFT_OK);
    cluster_poll(cluster, 2);
    CHECK_EQ(cluster_status(cluster, 2).leader, 0);
    CHECK_EQ(cluster_event(cluster, 2, 0, RAFT_EVENT_FATAL) != NULL, 0);
    CHECK(raft_deadline(cluster->nodes[2].raft) >= election_at); /* it wanted to end stickiness */
    CHECK(!pre_vote_granted(cluster, 2, &bad));
    CHECK(pre_vote_granted(cluster, 2, &good));
    CLUSTER_DONE(cluster);
}

static void forgetting_touches_neither_leaders_nor_candidates_nor_timers(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    uint64_t before = cluster_fingerprint(cluster, 1);
    CHECK_EQ(raft_forget_leader(cluster->nodes[1].raft), RAFT_OK);
    CHECK_EQ(cluster_fingerprint(cluster, 1), before);
    cluster_isolate(cluster, 3);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_EQ(cluster_role(cluster, 3), RAFT_ROLE_PRE_CANDIDATE);
    before = cluster_fingerprint(cluster, 3);
    CHECK_EQ(raft_forget_leader(cluster->nodes[3].raft), RAFT_OK);
    CHECK_EQ(cluster_fingerprint(cluster, 3), before);
    for (int again = 0; again < 30; again++) { /* forgetting all the time puts off no campaign */
        CHECK_EQ(raft_forget_leader(cluster->nodes[2].raft), RAFT_OK);
        cluster_cut(cluster, 1, 2);
        cluster_advance_node(cluster, 2, 100);
    }
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_PRE_CANDIDATE);
    CHECK_EQ(raft_forget_leader(NULL), RAFT_EARG);
    CLUSTER_DONE(cluster);
}

static void a_forgotten_leader_is_known_again_when_it_is_heard(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    CHECK_EQ(raft_forget_leader(cluster->nodes[2].raft), RAFT_OK);
    CHECK(cluster_propose(cluster, 1, "on") > 0);
    cluster_run(cluster, 100);
    CHECK_EQ(cluster_status(cluster, 2).leader, 1);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

/* ---- Stopping ------------------------------------------------------------------------------- */

static size_t fatal_at(const struct cluster *cluster, raft_id id)
{
    return cluster_event_count(cluster, id, 0, RAFT_EVENT_FATAL);
}

static void a_leader_that_is_stopped_hands_over_and_its_proposals_are_answered(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster->latency_ms = 10;
    raft_index index = cluster_propose(cluster, 1, "accepted");
    CHECK_EQ(raft_stop(cluster->nodes[1].raft), RAFT_OK);
    CHECK_EQ(raft_stop(cluster->nodes[1].raft), RAFT_OK);
    CHECK_EQ(propose_code(cluster, 1, "too late"), RAFT_ETRANSFER);
    cluster_run(cluster, 200);
    CHECK(cluster_leader(cluster) == 2 || cluster_leader(cluster) == 3);
    CHECK_EQ(fatal_at(cluster, 1), 1);
    CHECK_EQ(cluster_event(cluster, 1, 0, RAFT_EVENT_FATAL)->status, RAFT_ESTOPPED);
    CHECK_STR(cluster_applied_text(cluster, 1, index), "accepted");
    CHECK_EQ(propose_code(cluster, 1, "stopped"), RAFT_ESTOPPED);
    CHECK_EQ(raft_poll(cluster->nodes[1].raft, cluster->now_ms), RAFT_ESTOPPED);
    CHECK_EQ(raft_deadline(cluster->nodes[1].raft), RAFT_NEVER);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_propose(cluster, cluster_leader(cluster), "without it") > 0);
    CLUSTER_DONE(cluster);
}

static void a_follower_that_is_stopped_stops_at_once(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    CHECK_EQ(raft_stop(cluster->nodes[3].raft), RAFT_OK);
    CHECK_EQ(raft_read(cluster->nodes[3].raft, 1) < 0, 1);
    cluster_settle(cluster);
    CHECK_EQ(cluster_event(cluster, 3, 0, RAFT_EVENT_FATAL)->status, RAFT_ESTOPPED);
    CHECK_EQ(cluster_status(cluster, 3).error, RAFT_ESTOPPED);
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(raft_stop(NULL), RAFT_EARG);
    CLUSTER_DONE(cluster);
}

static void a_single_voter_that_is_stopped_drains_first(void)
{
    struct cluster *cluster = led_cluster(1, 1);
    cluster_store_async(cluster, 1, 1);
    raft_index index = cluster_propose(cluster, 1, "to be drained");
    CHECK_EQ(raft_stop(cluster->nodes[1].raft), RAFT_OK);
    cluster_run(cluster, T);
    CHECK_EQ(fatal_at(cluster, 1), 0);
    cluster_complete(cluster, 1);
    cluster_settle(cluster);
    CHECK_STR(cluster_applied_text(cluster, 1, index), "to be drained");
    CHECK_EQ(cluster_event(cluster, 1, 0, RAFT_EVENT_FATAL)->status, RAFT_ESTOPPED);
    CLUSTER_DONE(cluster);
}

static void stopping_takes_one_timeout_at_most_and_tells_the_rest_as_unknown(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    cluster_isolate(cluster, 1);
    raft_index index = cluster_propose(cluster, 1, "nobody knows");
    CHECK_EQ(raft_read(cluster->nodes[1].raft, 5), RAFT_OK);
    CHECK_EQ(raft_stop(cluster->nodes[1].raft), RAFT_OK);
    cluster_run(cluster, LONGEST - 1);
    CHECK_EQ(fatal_at(cluster, 1), 0);
    cluster_run(cluster, 1);
    CHECK_EQ(cluster_event(cluster, 1, 0, RAFT_EVENT_FATAL)->status, RAFT_ESTOPPED);
    CHECK_EQ(cluster_outcome(cluster, 1, index, term), RAFT_EUNKNOWN);
    CHECK_EQ(cluster_read_answers(cluster, 1, 5), 1);
    CHECK(cluster_read_answer(cluster, 1, 5)->status < 0);
    CHECK_EQ(cluster->nodes[1].events[cluster->nodes[1].event_count - 1].event.kind,
             RAFT_EVENT_FATAL);
    CLUSTER_DONE(cluster);
}

/* ---- The harness's shape -------------------------------------------------------------------- */

int main(void)
{
    RUN_BOTH(to_an_up_to_date_voter_takes_one_term_and_one_election);
    RUN_BOTH(works_without_pre_vote_check_quorum_and_stickiness_too);
    RUN_BOTH(entries_proposed_before_are_committed_by_the_next_leader);
    RUN(to_a_lagging_voter_waits_until_it_holds_everything);
    RUN_BOTH(target_zero_is_the_live_voter_with_the_most_of_the_log);
    RUN_BOTH(to_itself_or_a_stranger_is_refused);
    RUN_BOTH(asked_of_a_follower_it_is_forwarded_to_the_leader);
    RUN_BOTH(what_cannot_be_forwarded_is_refused);
    RUN_BOTH(what_was_asked_in_an_earlier_term_is_ignored);
    RUN_BOTH(what_was_asked_before_the_term_rose_is_not_sent);
    RUN_BOTH(who_does_not_lead_passes_nothing_on_and_strangers_ask_in_vain);
    RUN_BOTH(while_it_lasts_proposals_are_refused_and_reads_are_not);
    RUN_BOTH(to_a_dead_target_is_given_up_after_one_timeout_and_proposals_pass_again);
    RUN_BOTH(the_timeout_begins_with_the_sample_after_the_request);
    RUN_BOTH(the_same_target_again_changes_nothing_and_another_replaces_it);
    RUN_BOTH(what_ends_leadership_in_the_term_ends_the_transfer_with_a_reason);
    RUN_BOTH(a_lost_go_now_is_sent_again_with_the_next_heartbeat);
    RUN_BOTH(the_order_belongs_to_one_candidacy);
    RUN_BOTH(a_go_now_of_an_earlier_term_is_ignored);
    RUN_BOTH(a_go_now_counts_only_from_the_leader_that_is_followed);
    RUN_BOTH(stickiness_yields_to_an_ordered_vote_only);
    RUN(an_ordered_candidate_with_a_worse_log_is_refused);
    RUN_BOTH(an_ordered_candidate_waits_for_its_own_vote);
    RUN_BOTH(a_leader_whose_writes_hang_hands_over_after_one_disk_timeout);
    RUN_BOTH(a_stalled_leader_without_a_successor_is_silent_after_two_disk_timeouts);
    RUN_BOTH(a_voter_whose_disk_hangs_grants_no_pre_vote_until_it_works_again);
    RUN_BOTH(a_single_voter_with_a_hanging_disk_leads_again_when_it_works);
    RUN_BOTH(stepping_down_keeps_the_term_and_another_is_elected);
    RUN(who_forgets_the_leader_answers_candidates_and_still_checks_their_logs);
    RUN_BOTH(forgetting_touches_neither_leaders_nor_candidates_nor_timers);
    RUN_BOTH(a_forgotten_leader_is_known_again_when_it_is_heard);
    RUN_BOTH(a_leader_that_is_stopped_hands_over_and_its_proposals_are_answered);
    RUN_BOTH(a_follower_that_is_stopped_stops_at_once);
    RUN_BOTH(a_single_voter_that_is_stopped_drains_first);
    RUN_BOTH(stopping_takes_one_timeout_at_most_and_tells_the_rest_as_unknown);
    return check_done();
}
