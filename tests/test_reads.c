/*
 * Linearizable reads by read-index. On the leader (rule R49): never before an own-term entry is
 * committed, never without a round that began after the read, never ahead of apply, and one answer
 * each. On followers and learners (R63): one request to the leader for many, an answer of use once,
 * and never a local read in its place.
 */
#include "check.h"
#include "cluster.h"
#include "lone.h"

#include <string.h>

static const uint64_t T = 1000;
static const uint64_t LONGEST = 2000;

static struct cluster *led_cluster(size_t count, raft_id leader)
{
    struct cluster *cluster = cluster_new(count);
    CHECK(cluster_elect(cluster, leader));
    return cluster;
}

static int ask(struct cluster *cluster, raft_id id, uint64_t tag)
{
    return raft_read(cluster->nodes[id].raft, tag);
}

/* 1: answered well, 0: no answer yet, else the reason. */
static int answer_of(struct cluster *cluster, raft_id id, uint64_t tag)
{
    const raft_event *event = cluster_read_answer(cluster, id, tag);
    CHECK(cluster_read_answers(cluster, id, tag) <= 1);
    if (event == NULL) {
        return 0;
    }
    return event->status == RAFT_OK ? 1 : event->status;
}

static void a_read_is_answered_after_a_round_with_the_index_of_what_was_committed(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_index index = cluster_propose(cluster, 1, "x");
    cluster_settle(cluster);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(ask(cluster, 1, 42), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 1).reads_pending, 1);
    CHECK_EQ(raft_deadline(cluster->nodes[1].raft), 0);
    cluster_poll(cluster, 1);
    CHECK_EQ(answer_of(cluster, 1, 42), 0);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_HEARTBEAT), 2);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 1, 42), 1);
    CHECK_EQ(cluster_read_answer(cluster, 1, 42)->index, index);
    CHECK_EQ(cluster_status(cluster, 1).reads_pending, 0);
    CLUSTER_DONE(cluster);
}

static void many_reads_share_a_round_and_equal_tags_are_answered_apart(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    uint64_t mark = cluster_mark(cluster);
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(ask(cluster, 1, 5), RAFT_OK);
    }
    cluster_settle(cluster);
    CHECK_EQ(cluster_read_answers(cluster, 1, 5), 1000);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_HEARTBEAT), 2);
    CLUSTER_DONE(cluster);
}

static void a_read_before_the_first_entry_of_the_term_is_committed_waits_for_it(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_index index = cluster_propose(cluster, 1, "acknowledged by the old leader");
    cluster_poll(cluster, 1);
    cluster_deliver_all(cluster, 1, 2);
    cluster_deliver_all(cluster, 2, 1);
    CHECK_EQ(cluster_commit(cluster, 1), index);
    CHECK(cluster_commit(cluster, 2) < index);
    cluster_isolate(cluster, 1);
    cluster_run(cluster, T);
    cluster_poll(cluster, 3);
    cluster_hold(cluster, 2, 3);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    for (int i = 0; i < 50 && cluster_role(cluster, 2) != RAFT_ROLE_LEADER; i++) {
        cluster_poll(cluster, 2);
        cluster_deliver_all(cluster, 2, 3);
        cluster_deliver_all(cluster, 3, 2);
    }
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_LEADER);
    CHECK(cluster_commit(cluster, 2) < index);
    CHECK_EQ(ask(cluster, 2, 9), RAFT_OK);
    cluster_poll(cluster, 2);
    raft_message echo =
        cluster_forge(cluster, 3, 2, cluster_term(cluster, 2), RAFT_MESSAGE_HEARTBEAT_REPLY);
    for (size_t i = 0; i < cluster_queued(cluster, 2, 3); i++) {
        const raft_message *sent = &cluster_peek(cluster, 2, 3, i)->message;
        echo.round = sent->round > echo.round ? sent->round : echo.round;
    }
    cluster_inject(cluster, 2, &echo);
    CHECK_EQ(answer_of(cluster, 2, 9), 0);
    cluster_heal(cluster, 2, 3);
    cluster_run(cluster, T);
    CHECK_EQ(answer_of(cluster, 2, 9), 1);
    CHECK(cluster_read_answer(cluster, 2, 9)->index >= index + cluster_noops(cluster));
    CLUSTER_DONE(cluster);
}

/* The answers to an earlier round were under way when the read came: they prove nothing for it. */
static void answers_to_a_round_begun_before_the_read_do_not_confirm_it(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_hold(cluster, 2, 1);
    cluster_hold(cluster, 3, 1);
    cluster_run(cluster, 100);
    CHECK(cluster_queued(cluster, 2, 1) >= 1);
    CHECK(cluster_queued(cluster, 3, 1) >= 1);
    cluster_cut(cluster, 1, 2);
    cluster_cut(cluster, 1, 3);
    CHECK_EQ(ask(cluster, 1, 6), RAFT_OK);
    cluster_poll(cluster, 1);
    cluster_deliver_all(cluster, 2, 1);
    cluster_deliver_all(cluster, 3, 1);
    CHECK_EQ(answer_of(cluster, 1, 6), 0);
    cluster_heal_all(cluster);
    cluster_run(cluster, 100);
    CHECK_EQ(answer_of(cluster, 1, 6), 1);
    CLUSTER_DONE(cluster);
}

/* Asked between the receipt of an old echo and the poll: still not confirmed by it. */
static void an_echo_received_before_the_poll_that_starts_the_round_does_not_confirm_it(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_hold(cluster, 2, 1);
    cluster_run(cluster, 100);
    cluster_cut(cluster, 3, 1);
    CHECK(cluster_queued(cluster, 2, 1) >= 1);
    CHECK_EQ(ask(cluster, 1, 6), RAFT_OK);
    cluster_cut(cluster, 1, 0);
    while (cluster_queued(cluster, 2, 1) > 0) {
        cluster_receive(cluster, 2, 1);
    }
    cluster_poll(cluster, 1);
    cluster_poll(cluster, 1);
    CHECK_EQ(answer_of(cluster, 1, 6), 0);
    CLUSTER_DONE(cluster);
}

static void old_echoes_repeated_for_ever_confirm_nothing(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    uint64_t last = cluster_mark(cluster);
    cluster_isolate(cluster, 1);
    CHECK_EQ(ask(cluster, 1, 8), RAFT_OK);
    cluster_poll(cluster, 1);
    for (uint64_t number = 1; number <= last; number++) {
        if (cluster->sent[number - 1].message.to == 1) {
            cluster_replay(cluster, number);
        }
    }
    CHECK_EQ(answer_of(cluster, 1, 8), 0);
    CLUSTER_DONE(cluster);
}

static void one_peer_answering_three_times_is_no_quorum(void)
{
    struct cluster *cluster = led_cluster(5, 1);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(ask(cluster, 1, 3), RAFT_OK);
    cluster_poll(cluster, 1);
    raft_message echo =
        cluster_forge(cluster, 2, 1, cluster_term(cluster, 1), RAFT_MESSAGE_HEARTBEAT_REPLY);
    echo.round = cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_HEARTBEAT)->message.round;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(cluster_inject(cluster, 1, &echo), RAFT_OK);
    }
    echo.from = 77;
    cluster_inject(cluster, 1, &echo);
    echo.from = 78;
    cluster_inject(cluster, 1, &echo);
    CHECK_EQ(answer_of(cluster, 1, 3), 0);
    echo.from = 5;
    CHECK_EQ(cluster_inject(cluster, 1, &echo), RAFT_OK);
    CHECK_EQ(answer_of(cluster, 1, 3), 1);
    CLUSTER_DONE(cluster);
}

static void an_echo_of_a_round_that_was_never_begun_is_refused(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    CHECK_EQ(ask(cluster, 1, 3), RAFT_OK);
    cluster_poll(cluster, 1);
    uint64_t refused = cluster_status(cluster, 1).counters.messages_refused;
    raft_message echo =
        cluster_forge(cluster, 2, 1, cluster_term(cluster, 1), RAFT_MESSAGE_HEARTBEAT_REPLY);
    echo.round = 1000000;
    CHECK_EQ(cluster_inject(cluster, 1, &echo), RAFT_EMALFORMED);
    CHECK_EQ(cluster_status(cluster, 1).counters.messages_refused, refused + 1);
    CHECK_EQ(answer_of(cluster, 1, 3), 0);
    CLUSTER_DONE(cluster);
}

static void a_lost_round_is_made_good_by_the_next_heartbeat(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    CHECK_EQ(ask(cluster, 1, 3), RAFT_OK);
    cluster_poll(cluster, 1);
    cluster_drop_all(cluster, 1, 0);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 1, 3), 0);
    cluster_run(cluster, 100);
    CHECK_EQ(answer_of(cluster, 1, 3), 1);
    CLUSTER_DONE(cluster);
}

static void
an_old_leader_in_a_minority_never_answers_well_and_fails_its_reads_on_stepping_down(void)
{
    struct cluster *cluster = led_cluster(5, 1);
    cluster_split(cluster, 1, 3);
    cluster_split(cluster, 1, 4);
    cluster_split(cluster, 1, 5);
    cluster_split(cluster, 2, 3);
    cluster_split(cluster, 2, 4);
    cluster_split(cluster, 2, 5);
    for (uint64_t tag = 1; tag <= 3; tag++) {
        CHECK_EQ(ask(cluster, 1, tag), RAFT_OK);
        cluster_run(cluster, 50);
    }
    cluster_run(cluster, 2 * LONGEST);
    CHECK(cluster_role(cluster, 1) != RAFT_ROLE_LEADER);
    for (uint64_t tag = 1; tag <= 3; tag++) {
        CHECK_EQ(answer_of(cluster, 1, tag), RAFT_ENOLEADER);
        CHECK_EQ(cluster_read_answers(cluster, 1, tag), 1);
    }
    CHECK_EQ(cluster_status(cluster, 1).reads_pending, 0);
    CLUSTER_DONE(cluster);
}

static void reads_of_a_leader_that_meets_its_successor_fail_with_another_server_leads(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    CHECK_EQ(ask(cluster, 1, 4), RAFT_OK);
    raft_message beat = cluster_forge(cluster, 2, 1, term + 1, RAFT_MESSAGE_HEARTBEAT);
    beat.round = 1;
    CHECK_EQ(cluster_inject(cluster, 1, &beat), RAFT_OK);
    CHECK_EQ(answer_of(cluster, 1, 4), RAFT_ENOTLEADER);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(cluster_read_answers(cluster, 1, 4), 1);
    CLUSTER_DONE(cluster);
}

/* Answered by a quorum, and deposed before the state machine got there: no good answer any more. */
static void a_read_confirmed_but_not_applied_fails_on_stepping_down(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster->nodes[1].apply_async = 1;
    cluster_propose(cluster, 1, "slow");
    cluster_settle(cluster);
    CHECK_EQ(ask(cluster, 1, 4), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 1, 4), 0);
    raft_message higher =
        cluster_forge(cluster, 2, 1, cluster_term(cluster, 1) + 1, RAFT_MESSAGE_APPEND_REPLY);
    CHECK_EQ(cluster_inject(cluster, 1, &higher), RAFT_OK);
    CHECK_EQ(answer_of(cluster, 1, 4), RAFT_ENOLEADER);
    cluster->nodes[1].apply_async = 0;
    cluster_complete_apply(cluster, 1);
    CLUSTER_DONE(cluster);
}

static void a_read_waits_until_its_index_is_applied(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster->nodes[1].apply_async = 1;
    raft_index index = cluster_propose(cluster, 1, "slow");
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 1), index);
    CHECK_EQ(ask(cluster, 1, 4), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 1, 4), 0);
    cluster_complete_apply(cluster, 1);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 1, 4), 1);
    CLUSTER_DONE(cluster);
}

static void reads_of_a_single_voter_wait_for_its_own_first_entry_to_be_durable(void)
{
    struct cluster *cluster = cluster_create(1);
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    cluster_store_async(cluster, 1, 1);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    cluster_complete_one(cluster, 1);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CHECK_EQ(ask(cluster, 1, 1), RAFT_OK);
    cluster_poll(cluster, 1);
    CHECK_EQ(answer_of(cluster, 1, 1), 0);
    cluster_complete(cluster, 1);
    CHECK_EQ(answer_of(cluster, 1, 1), 1);
    CHECK_EQ(ask(cluster, 1, 2), RAFT_OK);
    cluster_poll(cluster, 1);
    CHECK_EQ(answer_of(cluster, 1, 2), 1);
    CLUSTER_DONE(cluster);
}

/* After a restart the log is all there, the commit index is not: reads wait for the no-op. */
static void a_restarted_single_voter_reads_what_it_had_acknowledged(void)
{
    struct cluster *cluster = led_cluster(1, 1);
    raft_index index = cluster_propose(cluster, 1, "kept");
    cluster_settle(cluster);
    cluster_crash(cluster, 1);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    CHECK_EQ(ask(cluster, 1, 7), RAFT_ENOLEADER);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(ask(cluster, 1, 8), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 1, 8), 1);
    CHECK(cluster_read_answer(cluster, 1, 8)->index >= index);
    CHECK_STR(cluster_applied_text(cluster, 1, index), "kept");
    CLUSTER_DONE(cluster);
}

static void who_cannot_read_says_why(void)
{
    struct cluster *cluster = cluster_create(4);
    cluster->founders = 3;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK_EQ(ask(cluster, 1, 1), RAFT_ENOLEADER);
    CHECK_EQ(ask(cluster, 4, 1), RAFT_ENOTMEMBER);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(ask(cluster, 2, 1), RAFT_ENOTLEADER);
    CHECK_EQ(cluster_event_count(cluster, 2, 0, RAFT_EVENT_READ), 0);
    CLUSTER_DONE(cluster);
}

static void beyond_reads_max_reads_are_refused_until_others_are_answered(void)
{
    struct cluster *cluster = cluster_create(3);
    cluster->nodes[1].options.reads_max = 3;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    for (uint64_t tag = 1; tag <= 3; tag++) {
        CHECK_EQ(ask(cluster, 1, tag), RAFT_OK);
    }
    CHECK_EQ(ask(cluster, 1, 4), RAFT_EBUSY);
    cluster_settle(cluster);
    CHECK_EQ(ask(cluster, 1, 4), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 1, 3), 1);
    CHECK_EQ(answer_of(cluster, 1, 4), 1);
    CLUSTER_DONE(cluster);
}

static void proposals_and_reads_in_one_poll_are_answered_in_their_own_order(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    CHECK_EQ(ask(cluster, 1, 1), RAFT_OK);
    raft_index index = cluster_propose(cluster, 1, "after the read");
    cluster_settle(cluster);
    CHECK_EQ(ask(cluster, 1, 2), RAFT_OK);
    cluster_settle(cluster);
    CHECK(cluster_read_answer(cluster, 1, 1)->index < index);
    CHECK_EQ(cluster_read_answer(cluster, 1, 2)->index, index);
    CLUSTER_DONE(cluster);
}

/* Reads asked while answers are being told: the host's usual way of asking the next one. */
static void ask_again(struct cluster *cluster, raft_id id, int callback, const void *argument)
{
    const raft_event *event = argument;
    if (callback == CLUSTER_IN_NOTIFY && event->kind == RAFT_EVENT_READ && event->tag < 5) {
        CHECK_EQ(raft_read(cluster->nodes[id].raft, event->tag + 1), RAFT_OK);
    }
}

static void a_read_asked_while_another_is_answered_needs_a_round_of_its_own(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster->hook = ask_again;
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(ask(cluster, 1, 1), RAFT_OK);
    cluster_settle(cluster);
    for (uint64_t tag = 1; tag <= 5; tag++) {
        CHECK_EQ(answer_of(cluster, 1, tag), 1);
    }
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 2, RAFT_MESSAGE_HEARTBEAT), 5);
    CLUSTER_DONE(cluster);
}

static void reads_survive_neither_a_crash_nor_a_second_leadership(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_isolate(cluster, 1);
    CHECK_EQ(ask(cluster, 1, 1), RAFT_OK);
    cluster_poll(cluster, 1);
    raft_term above = cluster_later(cluster, cluster_term(cluster, 1), 6, 2);
    raft_message higher = cluster_forge(cluster, 2, 1, above, RAFT_MESSAGE_APPEND_REPLY);
    CHECK_EQ(raft_receive(cluster->nodes[1].raft, &higher), RAFT_OK);
    cluster_heal_all(cluster);
    cluster_poll(cluster, 1);
    CHECK_EQ(answer_of(cluster, 1, 1), RAFT_ENOLEADER);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(ask(cluster, 1, 2), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 1, 2), 1);
    CHECK_EQ(cluster_read_answers(cluster, 1, 1), 1);
    CLUSTER_DONE(cluster);
}

/* Reads go on being answered while a stream of proposals keeps the pipeline full. */
static void reads_are_answered_under_a_steady_load_of_proposals(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster->latency_ms = 3;
    for (uint64_t tag = 1; tag <= 100; tag++) {
        for (int i = 0; i < 10; i++) {
            CHECK(cluster_propose(cluster, 1, "load") > 0);
        }
        raft_index committed = cluster_commit(cluster, 1);
        CHECK_EQ(ask(cluster, 1, tag), RAFT_OK);
        cluster_run(cluster, 7);
        CHECK_EQ(answer_of(cluster, 1, tag), 1);
        CHECK(cluster_read_answer(cluster, 1, tag)->index >= committed);
    }
    CLUSTER_DONE(cluster);
}

/* ---- On servers that do not lead ------------------------------------------------------------ */

static struct cluster *asking_cluster(size_t count, size_t founders)
{
    struct cluster *cluster = cluster_create(count);
    cluster->founders = founders;
    for (raft_id id = 1; id <= count; id++) {
        cluster->nodes[id].options.incarnation = 100 + id;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    return cluster;
}

static void add_member(struct cluster *cluster, raft_id id, int role)
{
    raft_member members[RAFT_MEMBERS_MAX];
    raft_membership membership;
    raft_membership_init(&membership);
    CHECK_EQ(raft_get_membership(cluster->nodes[1].raft, &membership, members, RAFT_MEMBERS_MAX),
             RAFT_OK);
    raft_member *member = &members[membership.member_count++];
    memset(member, 0, sizeof(*member));
    member->id = id;
    member->role = role;
    CHECK_EQ(
        raft_set_membership(cluster->nodes[1].raft, &membership, membership.version, NULL, NULL),
        RAFT_OK);
    cluster_run(cluster, T);
}

static void a_read_on_a_follower_asks_the_leader_and_waits_until_its_index_is_applied(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    cluster->nodes[2].apply_async = 1;
    raft_index index = cluster_propose(cluster, 1, "seen by whom?");
    cluster_settle(cluster);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(ask(cluster, 2, 7), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 2).reads_pending, 1);
    cluster_settle(cluster);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 1, RAFT_MESSAGE_READ), 1);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_READ_REPLY);
    CHECK(reply != NULL);
    CHECK_EQ(reply->message.index, index);
    CHECK(cluster_sent(cluster, mark, 1, 0, RAFT_MESSAGE_HEARTBEAT)->number < reply->number);
    CHECK_EQ(answer_of(cluster, 2, 7), 0);
    while (cluster->nodes[2].apply_pending != 0) {
        cluster_complete_apply(cluster, 2);
    }
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 2, 7), 1);
    CHECK_EQ(cluster_read_answer(cluster, 2, 7)->index, index);
    CHECK_EQ(cluster_status(cluster, 1).counters.reads_forwarded, 1);
    CHECK_EQ(cluster_status(cluster, 2).counters.reads_by_round, 1);
    CHECK_EQ(cluster_status(cluster, 2).reads_pending, 0);
    CLUSTER_DONE(cluster);
}

static void reads_of_a_follower_share_a_request_and_later_ones_have_one_of_their_own(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    uint64_t mark = cluster_mark(cluster);
    for (int i = 0; i < 500; i++) {
        CHECK_EQ(ask(cluster, 2, 5), RAFT_OK);
    }
    cluster_hold(cluster, 2, 1);
    cluster_poll(cluster, 2);
    CHECK_EQ(ask(cluster, 2, 6), RAFT_OK);
    cluster_poll(cluster, 2);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 1, RAFT_MESSAGE_READ), 1);
    cluster_heal(cluster, 2, 1);
    cluster_settle(cluster);
    CHECK_EQ(cluster_read_answers(cluster, 2, 5), 500);
    CHECK_EQ(answer_of(cluster, 2, 6), 1);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 1, RAFT_MESSAGE_READ), 2);
    CLUSTER_DONE(cluster);
}

static void learners_ask_and_serve_but_witnesses_and_strangers_do_not(void)
{
    struct cluster *cluster = asking_cluster(6, 3);
    add_member(cluster, 4, RAFT_MEMBER_LEARNER);
    add_member(cluster, 5, RAFT_MEMBER_WITNESS);
    CHECK_EQ(ask(cluster, 4, 1), RAFT_OK);
    CHECK_EQ(ask(cluster, 5, 1), RAFT_ENOTMEMBER);
    CHECK_EQ(ask(cluster, 6, 1), RAFT_ENOTMEMBER);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 4, 1), 1);
    CHECK_EQ(cluster_read_answer(cluster, 4, 1)->index, cluster_commit(cluster, 1));
    uint64_t mark = cluster_mark(cluster);
    raft_message read = cluster_forge(cluster, 6, 1, cluster_term(cluster, 1), RAFT_MESSAGE_READ);
    read.nonce = 1;
    read.request = 1;
    CHECK_EQ(cluster_inject(cluster, 1, &read), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 6, 0), 0);
    CLUSTER_DONE(cluster);
}

/* Asked by server 2, once the round is echoed; the index that it is told. */
static raft_index index_served(lone *l)
{
    raft_message read = lone_message(RAFT_MESSAGE_READ, 2, lone_status(l).term);
    static uint64_t request;
    read.nonce = 5;
    read.request = ++request;
    lone_clear(l);
    CHECK_EQ(lone_receive(l, &read), RAFT_OK);
    lone_poll(l);
    lone_beat_back(l, 3);
    lone_poll(l);
    const raft_message *reply = lone_newest(l, RAFT_MESSAGE_READ_REPLY, 2);
    CHECK(reply != NULL && !reply->refused && reply->request == request);
    return reply->index;
}

/* Nothing of the own term is committed, and then nothing is applied: neither counts. */
static void another_server_is_told_at_least_the_no_op_and_all_that_is_committed(void)
{
    lone l;
    lone_init(&l);
    raft_term old = lone_term(2, 1);
    lone_seed(&l, (raft_term[]){old, old, old}, 3, old, 0);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK(lone_lead(&l));
    lone_settle(&l);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    raft_index least = 3 + lone_noops(); /* the no-op (R49), or what was adopted (P11) */
    CHECK_EQ(index_served(&l), least);
    l.apply_result = RAFT_PENDING;
    CHECK_EQ(lone_propose(&l), least + 1);
    lone_settle(&l);
    lone_ack(&l, 2, least + 1);
    lone_settle(&l);
    CHECK_EQ(lone_status(&l).commit_index, least + 1);
    CHECK(lone_status(&l).applied_index < least + 1);
    CHECK_EQ(index_served(&l), least + 1);
    lone_complete_apply(&l);
    CHECK_STR(lone_close(&l), "sound");
}

/* The echoes that are under way when the request arrives prove nothing for it. */
static void a_read_for_another_server_needs_a_round_begun_after_its_arrival(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    cluster_hold(cluster, 2, 1);
    cluster_hold(cluster, 3, 1);
    cluster_run(cluster, 100);
    CHECK(cluster_queued(cluster, 3, 1) >= 1);
    uint64_t mark = cluster_mark(cluster);
    raft_message read = cluster_forge(cluster, 2, 1, cluster_term(cluster, 1), RAFT_MESSAGE_READ);
    read.nonce = 102;
    read.request = 1;
    cluster_cut(cluster, 1, 0);
    CHECK_EQ(cluster_inject(cluster, 1, &read), RAFT_OK);
    cluster_deliver_all(cluster, 2, 1);
    cluster_deliver_all(cluster, 3, 1);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 2, RAFT_MESSAGE_READ_REPLY), 0);
    cluster_heal_all(cluster);
    cluster_run(cluster, 100);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 2, RAFT_MESSAGE_READ_REPLY), 1);
    CLUSTER_DONE(cluster);
}

/* The old leader is cut off with the asker, the others elect and acknowledge: nothing stale. */
static void a_read_through_a_deposed_leader_is_never_answered_well(void)
{
    struct cluster *cluster = asking_cluster(5, 5);
    for (raft_id id = 3; id <= 5; id++) {
        cluster_split(cluster, 1, id);
        cluster_split(cluster, 2, id);
    }
    cluster_run(cluster, T);
    CHECK_EQ(ask(cluster, 2, 7), RAFT_OK);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_leader(cluster) > 2);
    CHECK_EQ(cluster_read_answers(cluster, 2, 7), 1);
    CHECK(answer_of(cluster, 2, 7) < 0);
    CLUSTER_DONE(cluster);
}

static void a_leader_that_steps_down_refuses_what_it_was_asked_for(void)
{
    struct cluster *cluster = asking_cluster(5, 5);
    for (raft_id id = 3; id <= 5; id++) {
        cluster_split(cluster, 1, id);
    }
    CHECK_EQ(ask(cluster, 2, 7), RAFT_OK);
    uint64_t mark = cluster_mark(cluster);
    cluster_run(cluster, 2 * T);
    const struct cluster_message *no = cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_READ_REPLY);
    CHECK(cluster_role(cluster, 1) != RAFT_ROLE_LEADER);
    CHECK(no != NULL && no->message.refused);
    CHECK_EQ(cluster_read_answers(cluster, 2, 7), 1);
    CHECK(answer_of(cluster, 2, 7) < 0);
    CLUSTER_DONE(cluster);
}

static void a_server_that_does_not_lead_refuses_to_read_for_others(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    uint64_t mark = cluster_mark(cluster);
    raft_message read = cluster_forge(cluster, 2, 3, cluster_term(cluster, 1), RAFT_MESSAGE_READ);
    read.nonce = 102;
    read.request = 1;
    CHECK_EQ(cluster_inject(cluster, 3, &read), RAFT_OK);
    const struct cluster_message *no = cluster_sent(cluster, mark, 3, 2, RAFT_MESSAGE_READ_REPLY);
    CHECK(no != NULL && no->message.refused);
    CHECK_EQ(no->message.request, 1);
    CHECK_EQ(no->message.nonce, 102);
    CHECK(cluster_elect(cluster, 2));
    CHECK(cluster_elect(cluster, 1));
    mark = cluster_mark(cluster);
    read.to = 1; /* who led in that term, and leads again, but in another */
    CHECK(read.term < cluster_term(cluster, 1));
    CHECK_EQ(cluster_inject(cluster, 1, &read), RAFT_OK);
    no = cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_READ_REPLY);
    CHECK(no != NULL && no->message.refused);
    CLUSTER_DONE(cluster);
}

static void reads_fail_when_another_leader_is_heard_before_the_answer(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    cluster_hold(cluster, 2, 1);
    CHECK_EQ(ask(cluster, 2, 7), RAFT_OK);
    cluster_poll(cluster, 2);
    raft_term next = cluster_later(cluster, cluster_term(cluster, 1), 1, 3);
    raft_message beat = cluster_forge(cluster, 3, 2, next, RAFT_MESSAGE_HEARTBEAT);
    beat.round = 1;
    CHECK_EQ(cluster_inject(cluster, 2, &beat), RAFT_OK);
    CHECK_EQ(answer_of(cluster, 2, 7), RAFT_ENOTLEADER);
    cluster_heal_all(cluster);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_EQ(cluster_read_answers(cluster, 2, 7), 1);
    CLUSTER_DONE(cluster);
}

static void a_lost_request_is_made_again_under_a_new_number(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    CHECK_EQ(ask(cluster, 2, 7), RAFT_OK);
    uint64_t mark = cluster_mark(cluster);
    cluster_poll(cluster, 2);
    cluster_drop_all(cluster, 2, 1);
    cluster_run(cluster, T - 1);
    CHECK_EQ(answer_of(cluster, 2, 7), 0);
    cluster_run(cluster, 2);
    CHECK_EQ(answer_of(cluster, 2, 7), 1);
    const struct cluster_message *first = cluster_sent(cluster, mark, 2, 1, RAFT_MESSAGE_READ);
    const struct cluster_message *second =
        cluster_sent(cluster, first->number, 2, 1, RAFT_MESSAGE_READ);
    CHECK(second != NULL);
    CHECK(second->message.request > first->message.request);
    CLUSTER_DONE(cluster);
}

static void without_an_answer_reads_are_given_up_after_one_election_timeout(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    cluster_cut(cluster, 2, 1); /* it hears the leader, and is not heard */
    CHECK_EQ(ask(cluster, 2, 7), RAFT_OK);
    uint64_t asked_ms = cluster->now_ms;
    cluster_run(cluster, LONGEST - 1);
    CHECK_EQ(answer_of(cluster, 2, 7), 0);
    cluster_run(cluster, 2);
    CHECK_EQ(answer_of(cluster, 2, 7), RAFT_ETIMEOUT);
    CHECK(cluster->now_ms <= asked_ms + LONGEST + 1);
    CHECK_EQ(ask(cluster, 2, 8), RAFT_OK);
    cluster_heal_all(cluster);
    cluster_run(cluster, T + 100);
    CHECK_EQ(answer_of(cluster, 2, 8), 1);
    CLUSTER_DONE(cluster);
}

/* The leader's answer is there, the entries that it speaks of are not. */
static void a_read_whose_index_is_never_applied_is_given_up_too(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    cluster->nodes[2].apply_async = 1;
    cluster_propose(cluster, 1, "slow");
    cluster_settle(cluster);
    CHECK_EQ(ask(cluster, 2, 7), RAFT_OK);
    cluster_settle(cluster);
    cluster_run(cluster, LONGEST - 1);
    CHECK_EQ(answer_of(cluster, 2, 7), 0);
    cluster_run(cluster, 2);
    CHECK_EQ(answer_of(cluster, 2, 7), RAFT_ETIMEOUT);
    cluster->nodes[2].apply_async = 0;
    while (cluster->nodes[2].apply_pending != 0) {
        cluster_complete_apply(cluster, 2);
    }
    CLUSTER_DONE(cluster);
}

/* It was for the reads of then; those of now have not been asked for yet. */
static void an_answer_is_used_once_and_only_by_the_run_that_asked(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    CHECK_EQ(ask(cluster, 2, 1), RAFT_OK);
    uint64_t mark = cluster_mark(cluster);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 2, 1), 1);
    uint64_t old = cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_READ_REPLY)->number;
    cluster_cut(cluster, 2, 1);
    CHECK_EQ(ask(cluster, 2, 2), RAFT_OK);
    cluster_replay(cluster, old);
    cluster_poll(cluster, 2);
    cluster_replay(cluster, old);
    CHECK_EQ(answer_of(cluster, 2, 2), 0);
    cluster_crash(cluster, 2);
    cluster->nodes[2].options.incarnation = 202;
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    cluster_heal_all(cluster);
    cluster_run(cluster, 200);
    CHECK_EQ(cluster_status(cluster, 2).applied_index, cluster_commit(cluster, 1));
    cluster_cut(cluster, 2, 1);
    CHECK_EQ(ask(cluster, 2, 3), RAFT_OK);
    cluster_poll(cluster, 2); /* request 1 of this run, as it was of the last one */
    CHECK_EQ(cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_READ_REPLY)->message.request, 1);
    cluster_replay(cluster, old);
    CHECK_EQ(answer_of(cluster, 2, 3), 0);
    cluster_heal_all(cluster);
    cluster_run(cluster, T + 100);
    CHECK_EQ(answer_of(cluster, 2, 3), 1);
    CLUSTER_DONE(cluster);
}

static void a_repeated_request_is_answered_well_and_changes_nothing(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    CHECK_EQ(ask(cluster, 2, 1), RAFT_OK);
    cluster_poll(cluster, 2);
    uint64_t mark = cluster_mark(cluster);
    cluster_duplicate(cluster, 2, 1);
    cluster_duplicate(cluster, 2, 1);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 2, 1), 1);
    CHECK(cluster_sent_count(cluster, mark, 1, 2, RAFT_MESSAGE_READ_REPLY) <= 3);
    CLUSTER_DONE(cluster);
}

static void reads_that_ask_the_leader_count_against_reads_max(void)
{
    struct cluster *cluster = cluster_create(3);
    cluster->nodes[2].options.reads_max = 3;
    cluster->nodes[2].options.incarnation = 1;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    for (uint64_t tag = 1; tag <= 3; tag++) {
        CHECK_EQ(ask(cluster, 2, tag), RAFT_OK);
    }
    CHECK_EQ(ask(cluster, 2, 4), RAFT_EBUSY);
    cluster_settle(cluster);
    CHECK_EQ(ask(cluster, 2, 4), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 2, 4), 1);
    CLUSTER_DONE(cluster);
}

static void reads_that_ask_the_leader_are_told_when_storage_fails(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    cluster_hold(cluster, 2, 1);
    CHECK_EQ(ask(cluster, 2, 1), RAFT_OK);
    cluster_poll(cluster, 2);
    cluster->nodes[2].store.fail_next = -1;
    cluster_propose(cluster, 1, "more than the disk takes");
    cluster_settle(cluster);
    CHECK_EQ(cluster_status(cluster, 2).error, RAFT_ESTORAGE);
    CHECK_EQ(answer_of(cluster, 2, 1), RAFT_ESTORAGE);
    CLUSTER_DONE(cluster);
}

/* Whoever is being stopped takes no more, and answers what it has taken. */
static void when_a_server_is_stopped_its_reads_are_answered_and_new_ones_refused(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    cluster_cut(cluster, 2, 1);
    cluster_cut(cluster, 3, 1);
    CHECK_EQ(ask(cluster, 1, 1), RAFT_OK);
    CHECK_EQ(ask(cluster, 2, 1), RAFT_OK);
    cluster_poll(cluster, 1);
    cluster_poll(cluster, 2);
    for (raft_id id = 1; id <= 2; id++) {
        CHECK_EQ(raft_stop(cluster->nodes[id].raft), RAFT_OK);
        CHECK_EQ(ask(cluster, id, 2), RAFT_ETRANSFER);
        CHECK_EQ(raft_read_lease(cluster->nodes[id].raft, 2), RAFT_ETRANSFER);
    }
    cluster_run(cluster, 2 * LONGEST);
    for (raft_id id = 1; id <= 2; id++) {
        CHECK_EQ(cluster_status(cluster, id).error, RAFT_ESTOPPED);
        CHECK_EQ(cluster_read_answers(cluster, id, 1), 1);
        CHECK(answer_of(cluster, id, 1) < 0);
        CHECK_EQ(cluster_read_answers(cluster, id, 2), 0);
    }
    CLUSTER_DONE(cluster);
}

/* The asker becomes leader before it has an answer. */
static void a_server_that_comes_to_lead_ends_what_it_had_asked_for(void)
{
    struct cluster *cluster = asking_cluster(3, 3);
    cluster_isolate(cluster, 1);
    CHECK_EQ(ask(cluster, 2, 1), RAFT_OK);
    CHECK(cluster_elect(cluster, 2));
    CHECK_EQ(cluster_read_answers(cluster, 2, 1), 1);
    CHECK(answer_of(cluster, 2, 1) < 0);
    CHECK_EQ(ask(cluster, 2, 2), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 2, 2), 1);
    CLUSTER_DONE(cluster);
}

static void reads_of_a_learner_are_served_by_a_single_voter(void)
{
    struct cluster *cluster = asking_cluster(2, 1);
    add_member(cluster, 2, RAFT_MEMBER_LEARNER);
    raft_index index = cluster_propose(cluster, 1, "x");
    cluster_settle(cluster);
    CHECK_EQ(ask(cluster, 2, 1), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(answer_of(cluster, 2, 1), 1);
    CHECK(cluster_read_answer(cluster, 2, 1)->index >= index);
    CLUSTER_DONE(cluster);
}

/* Without the one that does not answer, those who are left are a quorum. */
static void reads_are_released_when_the_voter_they_wait_for_is_removed(void)
{
    struct cluster *cluster = led_cluster(2, 1);
    raft_member members[RAFT_MEMBERS_MAX];
    raft_membership membership;
    raft_membership_init(&membership);
    cluster_hold(cluster, 2, 1);
    CHECK_EQ(ask(cluster, 1, 1), RAFT_OK);
    cluster_poll(cluster, 1);
    CHECK_EQ(answer_of(cluster, 1, 1), 0);
    CHECK_EQ(raft_get_membership(cluster->nodes[1].raft, &membership, members, RAFT_MEMBERS_MAX),
             RAFT_OK);
    membership.member_count = 1;
    CHECK_EQ(
        raft_set_membership(cluster->nodes[1].raft, &membership, membership.version, NULL, NULL),
        RAFT_OK);
    cluster_poll(cluster, 1);
    cluster_poll(cluster, 1);
    CHECK_EQ(answer_of(cluster, 1, 1), 1);
    CLUSTER_DONE(cluster);
}

int main(void)
{
    RUN_BOTH(a_read_is_answered_after_a_round_with_the_index_of_what_was_committed);
    RUN_BOTH(many_reads_share_a_round_and_equal_tags_are_answered_apart);
    RUN_BOTH(a_read_before_the_first_entry_of_the_term_is_committed_waits_for_it);
    RUN_BOTH(answers_to_a_round_begun_before_the_read_do_not_confirm_it);
    RUN_BOTH(an_echo_received_before_the_poll_that_starts_the_round_does_not_confirm_it);
    RUN_BOTH(old_echoes_repeated_for_ever_confirm_nothing);
    RUN_BOTH(one_peer_answering_three_times_is_no_quorum);
    RUN_BOTH(an_echo_of_a_round_that_was_never_begun_is_refused);
    RUN_BOTH(a_lost_round_is_made_good_by_the_next_heartbeat);
    RUN_BOTH(an_old_leader_in_a_minority_never_answers_well_and_fails_its_reads_on_stepping_down);
    RUN_BOTH(reads_of_a_leader_that_meets_its_successor_fail_with_another_server_leads);
    RUN_BOTH(a_read_confirmed_but_not_applied_fails_on_stepping_down);
    RUN_BOTH(a_read_waits_until_its_index_is_applied);
    RUN(reads_of_a_single_voter_wait_for_its_own_first_entry_to_be_durable);
    RUN_BOTH(a_restarted_single_voter_reads_what_it_had_acknowledged);
    RUN_BOTH(who_cannot_read_says_why);
    RUN_BOTH(beyond_reads_max_reads_are_refused_until_others_are_answered);
    RUN_BOTH(proposals_and_reads_in_one_poll_are_answered_in_their_own_order);
    RUN_BOTH(a_read_asked_while_another_is_answered_needs_a_round_of_its_own);
    RUN_BOTH(reads_survive_neither_a_crash_nor_a_second_leadership);
    RUN_BOTH(reads_are_answered_under_a_steady_load_of_proposals);
    RUN_BOTH(a_read_on_a_follower_asks_the_leader_and_waits_until_its_index_is_applied);
    RUN_BOTH(reads_of_a_follower_share_a_request_and_later_ones_have_one_of_their_own);
    RUN_BOTH(learners_ask_and_serve_but_witnesses_and_strangers_do_not);
    RUN_BOTH(a_read_for_another_server_needs_a_round_begun_after_its_arrival);
    RUN_BOTH(a_read_through_a_deposed_leader_is_never_answered_well);
    RUN_BOTH(a_leader_that_steps_down_refuses_what_it_was_asked_for);
    RUN_BOTH(a_server_that_does_not_lead_refuses_to_read_for_others);
    RUN_BOTH(reads_fail_when_another_leader_is_heard_before_the_answer);
    RUN_BOTH(a_lost_request_is_made_again_under_a_new_number);
    RUN_BOTH(without_an_answer_reads_are_given_up_after_one_election_timeout);
    RUN_BOTH(a_read_whose_index_is_never_applied_is_given_up_too);
    RUN_BOTH(an_answer_is_used_once_and_only_by_the_run_that_asked);
    RUN_BOTH(a_repeated_request_is_answered_well_and_changes_nothing);
    RUN_BOTH(reads_that_ask_the_leader_count_against_reads_max);
    RUN_BOTH(reads_that_ask_the_leader_are_told_when_storage_fails);
    RUN_BOTH(a_server_that_comes_to_lead_ends_what_it_had_asked_for);
    RUN_BOTH(reads_of_a_learner_are_served_by_a_single_voter);
    RUN_BOTH(reads_are_released_when_the_voter_they_wait_for_is_removed);
    RUN_BOTH(another_server_is_told_at_least_the_no_op_and_all_that_is_committed);
    RUN_BOTH(when_a_server_is_stopped_its_reads_are_answered_and_new_ones_refused);
    return check_done();
}
