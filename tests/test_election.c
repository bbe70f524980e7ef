/*
 * Elections: votes, terms, timers and what must be durable first (rules R1 to R3, R11 to R17, R60,
 * R64). Pre-votes, check-quorum and stickiness have test_prevote.c; where a test is about a plain
 * vote, stickiness is switched off so that the voter answers.
 */
#include "check.h"
#include "cluster.h"

#include <string.h>

static const uint64_t T = 1000; /* the shortest election timeout of the harness */
static const raft_term TERM_MAX = INT64_MAX;

static struct cluster *frank_cluster(size_t count)
{
    struct cluster *cluster = cluster_create(count);
    for (raft_id id = 1; id <= count; id++) {
        cluster->nodes[id].options.no_pre_vote = 1;
        cluster->nodes[id].options.no_stickiness = 1;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    return cluster;
}

static raft_message vote_request(const struct cluster *cluster, raft_id from, raft_id to,
                                 raft_term term, raft_index index, raft_term index_term)
{
    raft_message message = cluster_forge(cluster, from, to, term, RAFT_MESSAGE_VOTE);
    message.round = 1000 + term;
    message.index = index;
    message.index_term = index_term;
    return message;
}

static raft_message heartbeat(const struct cluster *cluster, raft_id from, raft_id to,
                              raft_term term)
{
    raft_message message = cluster_forge(cluster, from, to, term, RAFT_MESSAGE_HEARTBEAT);
    message.round = 1;
    return message;
}

/* Asks a node for its vote. 1: granted, 0: refused, -1: no answer. */
static int asked_for_vote(struct cluster *cluster, raft_id from, raft_id to, raft_term term,
                          raft_index index, raft_term index_term)
{
    uint64_t mark = cluster_mark(cluster);
    raft_message message = vote_request(cluster, from, to, term, index, index_term);
    CHECK_EQ(cluster_inject(cluster, to, &message), RAFT_OK);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, to, from, RAFT_MESSAGE_VOTE_REPLY);
    if (reply == NULL) {
        return -1;
    }
    CHECK_EQ(reply->message.round, message.round);
    return reply->message.refused == 0;
}

static int has_leader(struct cluster *cluster)
{
    return cluster_stable_leader(cluster) != 0;
}

static void of_three_fresh_nodes_one_leads_with_a_single_no_op(void)
{
    struct cluster *cluster = cluster_new(3);
    CHECK(cluster_run_until(cluster, has_leader, 2 * T));
    cluster_run(cluster, T);
    CHECK(cluster_converged(cluster));
    CHECK_EQ(cluster_term(cluster, 1), 1);
    CHECK_EQ(cluster_commit(cluster, 1), 1);
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_EQ(cluster_status(cluster, id).leader, cluster_leader(cluster));
        CHECK_EQ(cluster_applied(cluster, id, 1)->kind, RAFT_ENTRY_NOOP);
        CHECK_EQ(cluster_applied(cluster, id, 1)->size, 0);
    }
    CLUSTER_DONE(cluster);
}

static void groups_of_every_size_up_to_nine_elect(void)
{
    for (size_t count = 1; count <= CLUSTER_MAX; count++) {
        struct cluster *cluster = cluster_new(count);
        cluster->latency_ms = 5;
        CHECK(cluster_run_until(cluster, has_leader, 10 * T));
        cluster_run(cluster, T);
        CHECK(cluster_converged(cluster));
        CHECK_EQ(cluster_status(cluster, 1).election_quorum, count / 2 + 1);
        CHECK_EQ(cluster_status(cluster, 1).commit_quorum, count / 2 + 1);
        CLUSTER_DONE(cluster);
    }
}

static void a_single_voter_leads_only_after_its_own_vote_is_durable(void)
{
    struct cluster *cluster = cluster_create(1);
    cluster_store_async(cluster, 1, 1);
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    cluster_complete(cluster, 1);
    cluster_advance(cluster, 2 * T);
    CHECK(cluster->nodes[1].store.pending_count > 0);
    CHECK(cluster_role(cluster, 1) != RAFT_ROLE_LEADER);
    cluster_complete_one(cluster, 1);
    if (cluster_noops(cluster) == 0) { /* it has accepted its own round as well (P5) */
        CHECK(cluster_role(cluster, 1) != RAFT_ROLE_LEADER);
        cluster_complete_one(cluster, 1);
    }
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CHECK_EQ(cluster->nodes[1].store.state.term, cluster_later(cluster, 0, 1, 1));
    CHECK_EQ(cluster->nodes[1].store.state.vote, 1);
    CHECK_EQ(cluster_commit(cluster, 1), 0);
    cluster_complete(cluster, 1);
    CHECK_EQ(cluster_commit(cluster, 1), cluster_noops(cluster));
    CLUSTER_DONE(cluster);
}

static void vote_requests_wait_for_the_candidates_own_vote(void)
{
    struct cluster *cluster = frank_cluster(3);
    cluster_complete(cluster, 1);
    cluster_poll(cluster, 1);
    cluster_store_async(cluster, 1, 1);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, 0), 0);
    cluster_complete(cluster, 1);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_VOTE), 2);
    const struct cluster_message *request = cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_VOTE);
    CHECK_EQ(request->durable_state.term, request->message.term);
    CHECK_EQ(request->durable_state.vote, 1);
    CLUSTER_DONE(cluster);
}

/* R2: the tail that a request boasts of is not durable yet, so the request waits for it. */
static void vote_requests_wait_for_every_entry_they_advertise(void)
{
    struct cluster *cluster = frank_cluster(3);
    CHECK(cluster_elect(cluster, 2));
    cluster_store_async(cluster, 1, 1);
    CHECK(cluster_propose(cluster, 2, "tail") > 0);
    cluster_poll(cluster, 2);
    cluster_deliver_all(cluster, 2, 1);
    cluster_isolate(cluster, 2);
    raft_index tail = 1 + cluster_noops(cluster);
    CHECK_EQ(cluster_status(cluster, 1).last_index, tail);
    CHECK_EQ(cluster_status(cluster, 1).durable_index, tail - 1);
    uint64_t mark = cluster_mark(cluster);
    cluster_advance_node(cluster, 1, 2 * T);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 3, RAFT_MESSAGE_VOTE), 0);
    for (int i = 0; i < 4 && cluster->nodes[1].store.pending_count > 0; i++) {
        cluster_complete(cluster, 1);
        cluster_advance_node(cluster, 1, 2 * T);
    }
    const struct cluster_message *request = cluster_sent(cluster, mark, 1, 3, RAFT_MESSAGE_VOTE);
    CHECK(request != NULL);
    CHECK_EQ(request->message.index, tail);
    CHECK(request->durable_last >= tail);
    CLUSTER_DONE(cluster);
}

static void a_grant_leaves_only_after_the_vote_is_durable(void)
{
    struct cluster *cluster = frank_cluster(3);
    cluster_poll(cluster, 2);
    cluster_store_async(cluster, 2, 1);
    CHECK_EQ(asked_for_vote(cluster, 1, 2, 4, 0, 0), -1);
    CHECK_EQ(cluster_term(cluster, 2), 4);
    uint64_t mark = cluster_mark(cluster);
    cluster_complete(cluster, 2);
    const struct cluster_message *grant =
        cluster_sent(cluster, mark, 2, 1, RAFT_MESSAGE_VOTE_REPLY);
    CHECK(grant != NULL);
    CHECK_EQ(grant->message.refused, 0);
    CHECK_EQ(grant->durable_state.term, 4);
    CHECK_EQ(grant->durable_state.vote, 1);
    CLUSTER_DONE(cluster);
}

static void without_a_quorum_the_term_climbs_without_pre_vote(void)
{
    struct cluster *cluster = frank_cluster(3);
    cluster_isolate(cluster, 1);
    cluster_advance_node(cluster, 1, 20 * T);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_CANDIDATE);
    CHECK(cluster_term(cluster, 1) >= 9);
    CLUSTER_DONE(cluster);
}

static void without_a_quorum_the_term_stands_still_with_pre_vote(void)
{
    struct cluster *cluster = cluster_new(3);
    cluster_isolate(cluster, 1);
    uint64_t mark = cluster_mark(cluster);
    cluster_advance_node(cluster, 1, 20 * T);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_PRE_CANDIDATE);
    CHECK_EQ(cluster_term(cluster, 1), 0);
    CHECK(cluster_sent_count(cluster, mark, 1, 2, RAFT_MESSAGE_PRE_VOTE) >= 9);
    CLUSTER_DONE(cluster);
}

/*
 * An entry of the first term everywhere, in Raft behind the no-op of that term and followed by that
 * of the second; the nodes keep no leader in mind.
 */
static struct cluster *voters_with_a_log(void)
{
    struct cluster *cluster = frank_cluster(3);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(cluster_propose(cluster, 1, "two"), 1 + cluster_noops(cluster));
    cluster_run(cluster, T);
    CHECK(cluster_elect(cluster, 3));
    cluster_run(cluster, T);
    CHECK_EQ(cluster_status(cluster, 2).last_index, 1 + 2 * cluster_noops(cluster));
    return cluster;
}

static void a_candidate_with_an_older_last_term_is_refused_though_its_term_is_adopted(void)
{
    struct cluster *cluster = voters_with_a_log();
    raft_term term = cluster_term(cluster, 2);
    raft_term old = cluster_stored(cluster, 2, 2)->term;
    CHECK_EQ(asked_for_vote(cluster, 1, 2, term + 5, 900, old), 0);
    CHECK_EQ(cluster_term(cluster, 2), term + 5);
    CHECK_EQ(cluster_status(cluster, 2).vote, 0);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_FOLLOWER);
    CLUSTER_DONE(cluster);
}

static void
a_candidate_with_a_shorter_log_of_the_same_term_is_refused_though_its_term_is_adopted(void)
{
    struct cluster *cluster = voters_with_a_log();
    raft_term term = cluster_term(cluster, 2);
    CHECK_EQ(asked_for_vote(cluster, 1, 2, term + 5, 2, term), 0);
    CHECK_EQ(cluster_term(cluster, 2), term + 5);
    CHECK_EQ(cluster_status(cluster, 2).vote, 0);
    CLUSTER_DONE(cluster);
}

static void a_candidate_with_an_equal_or_better_log_is_granted(void)
{
    struct cluster *cluster = voters_with_a_log();
    raft_term term = cluster_term(cluster, 2);
    CHECK_EQ(asked_for_vote(cluster, 1, 2, term + 1, 3, term), 1);
    CHECK_EQ(asked_for_vote(cluster, 1, 2, term + 2, 4, term), 1);
    CHECK_EQ(asked_for_vote(cluster, 1, 2, term + 4, 1, term + 3), 1);
    CLUSTER_DONE(cluster);
}

static void a_voter_refuses_a_second_candidate_and_grants_the_first_again(void)
{
    struct cluster *cluster = frank_cluster(3);
    CHECK_EQ(asked_for_vote(cluster, 1, 2, 7, 0, 0), 1);
    CHECK_EQ(asked_for_vote(cluster, 3, 2, 7, 9, 6), 0);
    uint64_t writes = cluster->nodes[2].store.writes;
    CHECK_EQ(asked_for_vote(cluster, 1, 2, 7, 0, 0), 1);
    CHECK_EQ(cluster->nodes[2].store.writes, writes);
    CHECK_EQ(cluster_status(cluster, 2).vote, 1);
    CLUSTER_DONE(cluster);
}

static void a_candidate_met_by_its_terms_leader_follows_and_keeps_its_own_vote(void)
{
    struct cluster *cluster = frank_cluster(3);
    cluster_hold(cluster, 0, 0);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_CANDIDATE);
    raft_term term = cluster_term(cluster, 1);
    raft_message append = cluster_forge(cluster, 2, 1, term, RAFT_MESSAGE_APPEND);
    append.index = 40;
    append.index_term = term;
    append.round = 3;
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(cluster_inject(cluster, 1, &append), RAFT_OK);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_APPEND_REPLY);
    CHECK(reply != NULL && reply->message.refused);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_status(cluster, 1).leader, 2);
    CHECK_EQ(cluster_status(cluster, 1).vote, 1);
    CHECK(asked_for_vote(cluster, 3, 1, term, 90, term) != 1);
    CHECK_EQ(cluster_status(cluster, 1).vote, 1);
    CLUSTER_DONE(cluster);
}

/* The voter has one vote under way when it crashes with `steps` of that write on its disk. */
static void crash_voter_at(size_t steps, int with_entries)
{
    struct cluster *cluster = frank_cluster(3);
    if (with_entries) {
        CHECK(cluster_elect(cluster, 1));
        cluster_run(cluster, T);
    }
    raft_index last = cluster_status(cluster, 2).last_index;
    raft_term last_term = last > 0 ? cluster_stored(cluster, 2, last)->term : 0;
    raft_term asked = cluster_later(cluster, 0, 9, 1);
    cluster_store_async(cluster, 2, 1);
    CHECK_EQ(asked_for_vote(cluster, 1, 2, asked, last, last_term), -1);
    size_t all = cluster_pending_steps(cluster, 2);
    CHECK(all >= 1);
    cluster_crash_after(cluster, 2, steps < all ? steps : all);
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    CHECK_EQ(asked_for_vote(cluster, 3, 2, asked, last, last_term) == 1, 0);
    cluster_complete(cluster, 2);
    CHECK(asked_for_vote(cluster, 1, 2, asked, last, last_term) != 2);
    cluster_complete(cluster, 2);
    CHECK(cluster_status(cluster, 2).vote == 1 || cluster_status(cluster, 2).vote == 3);
    CLUSTER_DONE(cluster);
}

static void a_voter_crashing_at_any_write_boundary_never_votes_twice(void)
{
    for (size_t steps = 0; steps <= 3; steps++) {
        crash_voter_at(steps, 0);
        crash_voter_at(steps, 1);
    }
}

static void a_candidate_crashing_at_any_write_boundary_never_votes_twice(void)
{
    for (size_t steps = 0; steps <= 3; steps++) {
        struct cluster *cluster = frank_cluster(3);
        cluster_poll(cluster, 1);
        cluster_store_async(cluster, 1, 1);
        cluster_isolate(cluster, 1);
        CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
        cluster_poll(cluster, 1);
        raft_term term = cluster_term(cluster, 1);
        cluster_crash_after(cluster, 1, steps);
        CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
        int answer = asked_for_vote(cluster, 3, 1, term, 5, term);
        CHECK(answer != 1);
        cluster_complete(cluster, 1);
        raft_id vote = cluster->nodes[1].store.state.vote;
        /* 3 may have the vote that was lost with the write; the term is not its own in Multi-Paxos */
        CHECK(vote == 1 || vote == (cluster_noops(cluster) != 0 ? 3u : 0u));
        cluster_advance_node(cluster, 1, 2 * T);
        cluster_complete(cluster, 1);
        CHECK(cluster_term(cluster, 1) > term || vote != 1); /* lost, and nobody has heard of it */
        CLUSTER_DONE(cluster);
    }
}

/* Every crash point of a vote that arrives together with a term change and entries. */
static void a_store_restored_after_a_torn_write_starts_in_a_legal_state(void)
{
    for (size_t steps = 0; steps <= 8; steps++) {
        struct cluster *cluster = frank_cluster(3);
        cluster_store_async(cluster, 2, 1);
        CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
        cluster_poll(cluster, 1);
        cluster_deliver_all(cluster, 1, 3);
        cluster_deliver_all(cluster, 3, 1);
        CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
        for (int i = 0; i < 5; i++) {
            cluster_propose(cluster, 1, "entry");
        }
        cluster_poll(cluster, 1);
        cluster_drop(cluster, 1, 2);
        cluster_deliver_all(cluster, 1, 2);
        cluster_crash_after(cluster, 2, steps);
        cluster_store_async(cluster, 2, 0);
        CHECK_EQ(steps % 2 ? cluster_restart(cluster, 2) : cluster_restart_stepwise(cluster, 2),
                 RAFT_OK);
        cluster_run(cluster, 4 * T);
        CHECK(cluster_converged(cluster));
        CLUSTER_DONE(cluster);
    }
}

/* Node 1 asks for votes in a group of five for the second time; nothing is answered by itself. */
static struct cluster *candidate_of_five(raft_message *request)
{
    struct cluster *cluster = frank_cluster(5);
    cluster_cut(cluster, 0, 1);
    cluster_cut(cluster, 1, 0);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_settle(cluster);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_CANDIDATE);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_VOTE), 4);
    *request = cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_VOTE)->message;
    return cluster;
}

static void answer_vote(struct cluster *cluster, raft_id from, const raft_message *request,
                        int refused)
{
    raft_message reply = cluster_forge(cluster, from, 1, request->term, RAFT_MESSAGE_VOTE_REPLY);
    reply.round = request->round;
    reply.refused = refused;
    cluster_inject(cluster, 1, &reply);
}

static void the_same_grant_three_times_is_one_vote(void)
{
    raft_message request;
    struct cluster *cluster = candidate_of_five(&request);
    for (int i = 0; i < 3; i++) {
        answer_vote(cluster, 2, &request, 0);
    }
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_CANDIDATE);
    answer_vote(cluster, 3, &request, 0);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CLUSTER_DONE(cluster);
}

static void grants_of_other_terms_rounds_kinds_and_strangers_are_no_votes(void)
{
    raft_message request;
    struct cluster *cluster = candidate_of_five(&request);
    raft_message other = request;
    other.term = request.term - 1;
    CHECK(other.term > 0);
    answer_vote(cluster, 2, &other, 0);
    answer_vote(cluster, 3, &other, 0);
    other = request;
    other.round = request.round + 1;
    answer_vote(cluster, 2, &other, 0);
    answer_vote(cluster, 3, &other, 0);
    other.round = request.round - 1;
    answer_vote(cluster, 4, &other, 0);
    answer_vote(cluster, 5, &other, 0);
    answer_vote(cluster, 77, &request, 0);
    answer_vote(cluster, 78, &request, 0);
    for (raft_id from = 2; from <= 5; from++) {
        raft_message pre =
            cluster_forge(cluster, from, 1, request.term, RAFT_MESSAGE_PRE_VOTE_REPLY);
        pre.round = request.round;
        pre.asked_term = request.term;
        cluster_inject(cluster, 1, &pre);
    }
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_CANDIDATE);
    CHECK_EQ(cluster_term(cluster, 1), request.term);
    answer_vote(cluster, 4, &request, 0);
    answer_vote(cluster, 5, &request, 0);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CLUSTER_DONE(cluster);
}

static void a_grant_from_the_future_is_a_higher_term_and_no_vote(void)
{
    raft_message request;
    struct cluster *cluster = candidate_of_five(&request);
    raft_message other = request;
    other.term = request.term + 3;
    answer_vote(cluster, 2, &other, 0);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_term(cluster, 1), request.term + 3);
    CHECK_EQ(cluster_status(cluster, 1).vote, 0);
    CLUSTER_DONE(cluster);
}

static void a_majority_of_refusals_makes_a_follower_of_the_same_term_with_a_fresh_timeout(void)
{
    raft_message request;
    struct cluster *cluster = candidate_of_five(&request);
    cluster->now_ms += 700;
    cluster_poll(cluster, 1);
    answer_vote(cluster, 2, &request, 1);
    answer_vote(cluster, 2, &request, 1);
    answer_vote(cluster, 3, &request, 1);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_CANDIDATE);
    answer_vote(cluster, 4, &request, 1);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_term(cluster, 1), request.term);
    CHECK_EQ(cluster_status(cluster, 1).vote, 1);
    uint64_t due = raft_deadline(cluster->nodes[1].raft);
    CHECK(due > cluster->now_ms && due < cluster->now_ms + 2 * T);
    answer_vote(cluster, 5, &request, 0);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
    CLUSTER_DONE(cluster);
}

static void who_knows_the_leader_of_a_term_votes_for_nobody_else_in_it(void)
{
    struct cluster *cluster = frank_cluster(3);
    raft_message beat = heartbeat(cluster, 3, 2, 6);
    CHECK_EQ(cluster_inject(cluster, 2, &beat), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 2).leader, 3);
    CHECK_EQ(cluster_status(cluster, 2).vote, 0);
    CHECK(asked_for_vote(cluster, 1, 2, 6, 90, 5) != 1);
    CHECK_EQ(cluster_status(cluster, 2).vote, 0);
    CHECK_EQ(cluster_status(cluster, 2).leader, 3);
    CLUSTER_DONE(cluster);
}

static void a_leader_grants_nobody_a_vote_in_its_own_term(void)
{
    struct cluster *cluster = frank_cluster(3);
    CHECK(cluster_elect(cluster, 1));
    raft_term term = cluster_term(cluster, 1);
    CHECK(asked_for_vote(cluster, 2, 1, term, 90, term) != 1);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CHECK_EQ(cluster_status(cluster, 1).vote, 1);
    CLUSTER_DONE(cluster);
}

static void a_vote_request_of_a_past_term_is_answered_with_the_term_and_disturbs_nobody(void)
{
    struct cluster *cluster = frank_cluster(3);
    CHECK(cluster_elect(cluster, 2));
    CHECK(cluster_elect(cluster, 1));
    raft_term term = cluster_term(cluster, 1);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(asked_for_vote(cluster, 3, 1, term - 1, 90, term - 1), 0);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, 1, 3, RAFT_MESSAGE_VOTE_REPLY);
    CHECK_EQ(reply->message.term, term);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CLUSTER_DONE(cluster);
}

static void timeouts_are_spread_over_the_whole_span(void)
{
    enum { DRAWS = 2000, BANDS = 10 };
    unsigned bands[BANDS] = {0};
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        struct cluster *cluster = cluster_create(3);
        cluster->nodes[1].options.seed = seed;
        CHECK_EQ(cluster_start(cluster), RAFT_OK);
        cluster_poll(cluster, 1);
        uint64_t timeout = raft_deadline(cluster->nodes[1].raft) - cluster->now_ms;
        CHECK(timeout >= T && timeout < 2 * T);
        bands[(timeout - T) * BANDS / T]++;
        CLUSTER_DONE(cluster);
    }
    for (int i = 0; i < BANDS; i++) {
        CHECK(bands[i] > DRAWS / BANDS * 3 / 4 && bands[i] < DRAWS / BANDS * 5 / 4);
    }
}

/* When a follower or candidate campaigns next, after everything that waits has left. */
static uint64_t timer_of(struct cluster *cluster, raft_id id)
{
    for (int i = 0; i < 4 && raft_deadline(cluster->nodes[id].raft) <= cluster->now_ms; i++) {
        cluster_poll(cluster, id);
    }
    return raft_deadline(cluster->nodes[id].raft);
}

static void successive_timeouts_of_one_node_are_spread_too(void)
{
    enum { DRAWS = 1000, BANDS = 5 };
    unsigned bands[BANDS] = {0};
    struct cluster *cluster = cluster_new(3);
    cluster_isolate(cluster, 1);
    cluster_poll(cluster, 1);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t before = cluster->now_ms;
        uint64_t due = timer_of(cluster, 1);
        CHECK(due >= before + T && due < before + 2 * T);
        bands[(due - before - T) * BANDS / T]++;
        cluster->now_ms = due;
        cluster_poll(cluster, 1);
    }
    for (int i = 0; i < BANDS; i++) {
        CHECK(bands[i] > DRAWS / BANDS * 3 / 4 && bands[i] < DRAWS / BANDS * 5 / 4);
    }
    CLUSTER_DONE(cluster);
}

static void nodes_of_one_seed_rarely_expire_together(void)
{
    unsigned together = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        uint64_t first = UINT64_MAX, second = UINT64_MAX;
        struct cluster *cluster = cluster_create(5);
        for (raft_id id = 1; id <= 5; id++) {
            cluster->nodes[id].options.seed = seed;
        }
        CHECK_EQ(cluster_start(cluster), RAFT_OK);
        for (raft_id id = 1; id <= 5; id++) {
            cluster_poll(cluster, id);
            uint64_t due = raft_deadline(cluster->nodes[id].raft);
            second = due < first ? first : due < second ? due : second;
            first = due < first ? due : first;
        }
        together += second - first < 5;
        CLUSTER_DONE(cluster);
    }
    CHECK(together < 300 / 10);
}

enum { SERIES = 60 };

static void draw_series(uint64_t seed, raft_id id, uint64_t series[SERIES])
{
    struct cluster *cluster = cluster_create(5);
    cluster->nodes[id].options.seed = seed;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    cluster_isolate(cluster, id);
    for (int i = 0; i < SERIES; i++) {
        uint64_t before = cluster->now_ms;
        cluster->now_ms = timer_of(cluster, id);
        series[i] = cluster->now_ms - before;
        cluster_poll(cluster, id);
    }
    CLUSTER_DONE(cluster);
}

/*
 * Two servers whose timeouts run through the same series, one some steps behind, would campaign
 * together for ever once they fall into step.
 */
static void the_series_of_two_nodes_are_not_each_other_shifted(void)
{
    for (uint64_t seed = 0; seed < 8; seed++) {
        uint64_t series[6][SERIES];
        for (raft_id id = 1; id <= 5; id++) {
            draw_series(seed, id, series[id]);
        }
        for (raft_id one = 1; one <= 5; one++) {
            for (raft_id other = 1; other <= 5; other++) {
                for (int shift = 0; one != other && shift < 20; shift++) {
                    int equal = 0;
                    for (int i = 0; i + shift < SERIES; i++) {
                        equal += series[one][i] == series[other][i + shift];
                    }
                    CHECK(equal <= 3);
                }
            }
        }
    }
}

/* R15. The deadline of a follower that never heard a leader is its election timer. */
static void only_contact_grants_and_campaigns_reset_the_timer(void)
{
    struct cluster *cluster = voters_with_a_log();
    cluster_isolate(cluster, 2);
    cluster_crash(cluster, 2);
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    raft_term term = cluster_term(cluster, 2);
    uint64_t due = timer_of(cluster, 2);
    cluster->now_ms += 300;
    raft_term first = cluster_later(cluster, term, 1, 1);
    if (cluster_noops(cluster) != 0) { /* refused for its log, and its term adopted (R11, R12) */
        CHECK_EQ(asked_for_vote(cluster, 1, 2, first, 0, 0), 0);
        CHECK_EQ(cluster_term(cluster, 2), first);
    } else { /* refused for a term that is another's (P2) */
        CHECK_EQ(asked_for_vote(cluster, 1, 2, cluster_later(cluster, term, 1, 3), 0, 0), 0);
        CHECK_EQ(cluster_term(cluster, 2), term);
    }
    CHECK_EQ(timer_of(cluster, 2), due);
    raft_term second = cluster_later(cluster, term, 2, 1);
    raft_message reply = cluster_forge(cluster, 1, 2, second, RAFT_MESSAGE_APPEND_REPLY);
    cluster_inject(cluster, 2, &reply);
    CHECK_EQ(cluster_term(cluster, 2), second);
    CHECK_EQ(timer_of(cluster, 2), due);
    raft_message late = heartbeat(cluster, 3, 2, term);
    cluster_inject(cluster, 2, &late);
    CHECK_EQ(timer_of(cluster, 2), due);
    raft_term third = cluster_later(cluster, term, 3, 1);
    raft_message pre = cluster_forge(cluster, 1, 2, second, RAFT_MESSAGE_PRE_VOTE);
    pre.asked_term = third;
    pre.round = 5;
    pre.index = 900;
    pre.index_term = second;
    cluster_inject(cluster, 2, &pre);
    CHECK_EQ(timer_of(cluster, 2), due);
    CHECK_EQ(asked_for_vote(cluster, 1, 2, third, 900, second), 1);
    uint64_t after_grant = timer_of(cluster, 2);
    CHECK(after_grant >= cluster->now_ms + T && after_grant < cluster->now_ms + 2 * T);
    cluster->now_ms += 200;
    raft_message beat = heartbeat(cluster, 1, 2, third);
    cluster_inject(cluster, 2, &beat);
    uint64_t after_contact = timer_of(cluster, 2);
    CHECK(after_contact >= cluster->now_ms + T && after_contact < cluster->now_ms + 2 * T);
    CHECK(after_contact != after_grant);
    CLUSTER_DONE(cluster);
}

/* A refused vote must not wait for ever: a stream of higher terms does not starve the timer. */
static void a_stream_of_higher_terms_does_not_keep_a_node_from_campaigning(void)
{
    struct cluster *cluster = voters_with_a_log();
    cluster_isolate(cluster, 2);
    uint64_t mark = cluster_mark(cluster);
    raft_term term = cluster_term(cluster, 2);
    for (int i = 0; i < 20; i++) {
        cluster_advance_node(cluster, 2, 100);
        term = cluster_later(cluster, term, 1, 1);
        if (cluster_noops(cluster) != 0) { /* refused for its log (R12); a prepare is not (P2) */
            CHECK_EQ(asked_for_vote(cluster, 1, 2, term, 0, 0), 0);
        }
        raft_message reply = cluster_forge(cluster, 1, 2, term, RAFT_MESSAGE_APPEND_REPLY);
        CHECK_EQ(cluster_inject(cluster, 2, &reply), RAFT_OK);
        if (cluster_sent(cluster, mark, 2, 0, RAFT_MESSAGE_VOTE) != NULL) {
            break;
        }
    }
    CHECK(cluster_sent(cluster, mark, 2, 0, RAFT_MESSAGE_VOTE) != NULL);
    CLUSTER_DONE(cluster);
}

static void the_first_no_op_passes_a_full_log_and_a_full_quota(void)
{
    struct cluster *cluster = cluster_create(3);
    int code = RAFT_OK;
    for (raft_id id = 1; id <= 3; id++) {
        cluster->nodes[id].options.log_bytes_max = 64 * 1024;
        cluster->nodes[id].options.entry_bytes_max = 1024;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    char payload[1000];
    memset(payload, 'x', sizeof payload - 1);
    payload[sizeof payload - 1] = 0;
    for (int i = 0; i < 1000 && code == RAFT_OK; i++) {
        cluster_propose_code(cluster, 1, payload, &code);
        cluster_settle(cluster);
    }
    CHECK_EQ(code, RAFT_EFULL);
    raft_index last = cluster_status(cluster, 1).last_index;
    CHECK(cluster_elect(cluster, 2));
    cluster_run(cluster, 2 * T);
    CHECK_EQ(cluster_status(cluster, 2).last_index, last + 1);
    CHECK_EQ(cluster_commit(cluster, 2), last + 1);
    CLUSTER_DONE(cluster);
}

static void a_restarted_leader_never_leads_its_term_again(void)
{
    struct cluster *cluster = frank_cluster(3);
    CHECK(cluster_elect(cluster, 1));
    raft_term term = cluster_term(cluster, 1);
    uint64_t last = cluster_mark(cluster);
    cluster_crash(cluster, 1);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    for (uint64_t number = 1; number <= last; number++) {
        if (cluster->sent[number - 1].message.to == 1) {
            cluster_replay(cluster, number);
            CHECK(cluster_role(cluster, 1) == RAFT_ROLE_FOLLOWER);
        }
    }
    CHECK(cluster_elect(cluster, 1));
    CHECK(cluster_term(cluster, 1) > term);
    CLUSTER_DONE(cluster);
}

/* The grants that a candidate was waiting for reach its next run, even its next candidacy. */
static void grants_that_cross_a_crash_elect_nobody(void)
{
    struct cluster *cluster = frank_cluster(3);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    raft_term term = cluster_term(cluster, 1);
    cluster_deliver_all(cluster, 1, 2);
    cluster_deliver_all(cluster, 1, 3);
    CHECK_EQ(cluster_queued(cluster, 2, 1), 1);
    cluster_crash(cluster, 1);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_deliver(cluster, 2, 1);
    cluster_deliver(cluster, 3, 1);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    CHECK(cluster_term(cluster, 1) > term);
    CLUSTER_DONE(cluster);
}

static void an_unknown_candidate_is_answered_and_may_be_granted(void)
{
    struct cluster *cluster = cluster_create(3);
    cluster->founders = 2;
    cluster->nodes[1].options.no_stickiness = 1;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK_EQ(asked_for_vote(cluster, 3, 1, 5, 0, 0), 1);
    CHECK_EQ(asked_for_vote(cluster, 2, 1, 5, 0, 0), 0);
    CLUSTER_DONE(cluster);
}

static void a_joiner_answers_candidates_but_never_campaigns(void)
{
    struct cluster *cluster = cluster_create(3);
    cluster->founders = 2;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    cluster_poll(cluster, 3);
    CHECK_EQ(raft_deadline(cluster->nodes[3].raft), RAFT_NEVER);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_ENOTMEMBER);
    CHECK_EQ(asked_for_vote(cluster, 1, 3, 5, 0, 0), 1);
    cluster_advance_node(cluster, 3, 20 * T);
    CHECK_EQ(cluster_role(cluster, 3), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_term(cluster, 3), 5);
    CHECK_EQ(cluster_sent_count(cluster, 0, 3, 0, RAFT_MESSAGE_PRE_VOTE), 0);
    CLUSTER_DONE(cluster);
}

static void a_higher_term_in_any_reply_makes_a_leader_follow(void)
{
    static const int kinds[] = {RAFT_MESSAGE_VOTE_REPLY, RAFT_MESSAGE_APPEND_REPLY,
                                RAFT_MESSAGE_HEARTBEAT_REPLY};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct cluster *cluster = cluster_new(3);
        CHECK(cluster_elect(cluster, 1));
        raft_term term = cluster_term(cluster, 1);
        raft_message reply = cluster_forge(cluster, 2, 1, term + 4, kinds[i]);
        reply.refused = kinds[i] == RAFT_MESSAGE_HEARTBEAT_REPLY ? 0 : 1;
        CHECK_EQ(cluster_inject(cluster, 1, &reply), RAFT_OK);
        CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
        CHECK_EQ(cluster_term(cluster, 1), term + 4);
        CHECK_EQ(cluster_status(cluster, 1).leader, 0);
        CHECK_EQ(cluster_status(cluster, 1).vote, 0);
        CLUSTER_DONE(cluster);
    }
}

static void a_higher_term_from_a_leader_only_kind_names_the_leader_at_once(void)
{
    static const int kinds[] = {RAFT_MESSAGE_APPEND, RAFT_MESSAGE_HEARTBEAT};
    for (size_t i = 0; i < 2; i++) {
        struct cluster *cluster = cluster_new(3);
        CHECK(cluster_elect(cluster, 1));
        raft_index first = cluster_propose(cluster, 1, "first");
        cluster_settle(cluster);
        raft_term next = cluster_later(cluster, cluster_term(cluster, 1), 8, 3);
        raft_message message = cluster_forge(cluster, 3, 1, next, kinds[i]);
        message.index = i == 0 ? first : 0;
        message.index_term = i == 0 ? cluster_stored(cluster, 1, first)->term : 0;
        CHECK_EQ(cluster_inject(cluster, 1, &message), RAFT_OK);
        CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
        CHECK_EQ(cluster_term(cluster, 1), next);
        CHECK_EQ(cluster_status(cluster, 1).leader, 3);
        CLUSTER_DONE(cluster);
    }
}

static void two_candidates_of_a_term_split_the_vote_and_a_later_term_decides(void)
{
    struct cluster *cluster = frank_cluster(4);
    raft_campaign(cluster->nodes[1].raft);
    raft_campaign(cluster->nodes[2].raft);
    cluster_poll(cluster, 1);
    cluster_poll(cluster, 2);
    cluster_deliver_all(cluster, 1, 3);
    cluster_deliver_all(cluster, 2, 4);
    cluster_settle(cluster);
    CHECK_EQ(cluster_leader(cluster), 0);
    CHECK(cluster_run_until(cluster, has_leader, 8 * T));
    CHECK(cluster_term(cluster, 3) >= 2);
    CLUSTER_DONE(cluster);
}

static void a_new_leader_sends_its_no_op_while_its_own_write_is_under_way(void)
{
    struct cluster *cluster = frank_cluster(3);
    cluster_hold(cluster, 2, 1);
    cluster_hold(cluster, 3, 1);
    raft_campaign(cluster->nodes[1].raft);
    cluster_settle(cluster);
    cluster_store_async(cluster, 1, 1);
    uint64_t mark = cluster_mark(cluster);
    cluster_deliver(cluster, 2, 1);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    const struct cluster_message *append = cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_APPEND);
    CHECK(append != NULL);
    CHECK_EQ(append->message.range_count, 1);
    CHECK_EQ(append->message.ranges[0].first, 1);
    CHECK_EQ(append->durable_last, 0);
    cluster_deliver_all(cluster, 1, 2);
    cluster_deliver_all(cluster, 2, 1);
    CHECK_EQ(cluster_commit(cluster, 1), 0);
    cluster_complete(cluster, 1);
    CHECK_EQ(cluster_commit(cluster, 1), 1);
    CLUSTER_DONE(cluster);
}

static void terms_and_indexes_beyond_the_limit_are_malformed_and_never_adopted(void)
{
    struct cluster *cluster = frank_cluster(3);
    const raft_term beyond[] = {TERM_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < 2; i++) {
        raft_message message = vote_request(cluster, 2, 1, beyond[i], 0, 0);
        message.round = 1;
        uint64_t refused = cluster_status(cluster, 1).counters.messages_refused;
        CHECK_EQ(cluster_inject(cluster, 1, &message), RAFT_EMALFORMED);
        message = vote_request(cluster, 2, 1, 5, beyond[i], 1);
        CHECK_EQ(cluster_inject(cluster, 1, &message), RAFT_EMALFORMED);
        message = vote_request(cluster, 2, 1, 5, 1, beyond[i]);
        CHECK_EQ(cluster_inject(cluster, 1, &message), RAFT_EMALFORMED);
        message = heartbeat(cluster, 2, 1, 5);
        message.commit = beyond[i];
        CHECK_EQ(cluster_inject(cluster, 1, &message), RAFT_EMALFORMED);
        CHECK_EQ(cluster_status(cluster, 1).counters.messages_refused, refused + 4);
        CHECK_EQ(cluster_term(cluster, 1), 0);
    }
    CLUSTER_DONE(cluster);
}

static void at_the_last_term_campaigns_fail_and_following_goes_on(void)
{
    for (uint8_t no_pre_vote = 0; no_pre_vote <= 1; no_pre_vote++) {
        struct cluster *cluster = cluster_create(3);
        cluster->nodes[1].options.no_pre_vote = no_pre_vote;
        CHECK_EQ(cluster_start(cluster), RAFT_OK);
        raft_message reply = cluster_forge(cluster, 2, 1, TERM_MAX, RAFT_MESSAGE_APPEND_REPLY);
        CHECK_EQ(cluster_inject(cluster, 1, &reply), RAFT_OK);
        CHECK_EQ(cluster_term(cluster, 1), TERM_MAX);
        CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_ELIMIT);
        cluster_advance_node(cluster, 1, 10 * T);
        CHECK_EQ(cluster_term(cluster, 1), TERM_MAX);
        CHECK_EQ(cluster_sent_count(cluster, 0, 1, 0, RAFT_MESSAGE_VOTE), 0);
        raft_message beat = heartbeat(cluster, 3, 1, TERM_MAX);
        CHECK_EQ(cluster_inject(cluster, 1, &beat), RAFT_OK);
        CHECK_EQ(cluster_status(cluster, 1).leader, 3);
        CLUSTER_DONE(cluster);
    }
}

static void a_campaign_ordered_by_the_host_is_an_ordinary_one(void)
{
    struct cluster *cluster = cluster_new(3);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    CHECK_EQ(raft_deadline(cluster->nodes[2].raft), 0);
    cluster_poll(cluster, 2);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 0, RAFT_MESSAGE_PRE_VOTE), 2);
    cluster_settle(cluster);
    CHECK_EQ(cluster_leader(cluster), 2);
    raft_term term = cluster_term(cluster, 2);
    uint64_t before = cluster_fingerprint(cluster, 2);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    CHECK_EQ(cluster_fingerprint(cluster, 2), before);
    cluster_settle(cluster);
    CHECK_EQ(cluster_term(cluster, 2), term);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_LEADER);
    CLUSTER_DONE(cluster);
}

static void while_a_write_is_outstanding_an_ordered_campaign_is_refused(void)
{
    struct cluster *cluster = cluster_new(3);
    CHECK(cluster_elect(cluster, 1));
    cluster_store_async(cluster, 2, 1);
    cluster_propose(cluster, 1, "x");
    cluster_poll(cluster, 1);
    cluster_deliver_all(cluster, 1, 2);
    CHECK_EQ(cluster_status(cluster, 2).writes_pending, 1);
    uint64_t before = cluster_fingerprint(cluster, 2);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_EBUSY);
    CHECK_EQ(cluster_fingerprint(cluster, 2), before);
    cluster_complete(cluster, 2);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    CLUSTER_DONE(cluster);
}

/* Random-looking but scripted storm: every message of three elections repeated in reverse order. */
static void all_messages_ever_sent_replayed_backwards_change_no_term_and_no_leader(void)
{
    struct cluster *cluster = cluster_new(3);
    CHECK(cluster_elect(cluster, 1));
    CHECK(cluster_elect(cluster, 2));
    CHECK(cluster_elect(cluster, 3));
    CHECK(cluster_propose(cluster, 3, "kept") > 0);
    cluster_run(cluster, 2 * T);
    raft_term term = cluster_term(cluster, 3);
    raft_index last = cluster_status(cluster, 3).last_index;
    for (uint64_t number = cluster_mark(cluster); number >= 1; number--) {
        cluster_replay(cluster, number);
    }
    cluster_run(cluster, 4 * T);
    CHECK_EQ(cluster_leader(cluster), 3);
    CHECK_EQ(cluster_term(cluster, 3), term);
    CHECK_EQ(cluster_status(cluster, 3).last_index, last);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

int main(void)
{
    RUN(of_three_fresh_nodes_one_leads_with_a_single_no_op);
    RUN_BOTH(groups_of_every_size_up_to_nine_elect);
    RUN_BOTH(a_single_voter_leads_only_after_its_own_vote_is_durable);
    RUN_BOTH(vote_requests_wait_for_the_candidates_own_vote);
    RUN(vote_requests_wait_for_every_entry_they_advertise);
    RUN_BOTH(a_grant_leaves_only_after_the_vote_is_durable);
    RUN_BOTH(without_a_quorum_the_term_climbs_without_pre_vote);
    RUN_BOTH(without_a_quorum_the_term_stands_still_with_pre_vote);
    RUN(a_candidate_with_an_older_last_term_is_refused_though_its_term_is_adopted);
    RUN(a_candidate_with_a_shorter_log_of_the_same_term_is_refused_though_its_term_is_adopted);
    RUN(a_candidate_with_an_equal_or_better_log_is_granted);
    RUN_BOTH(a_voter_refuses_a_second_candidate_and_grants_the_first_again);
    RUN(a_candidate_met_by_its_terms_leader_follows_and_keeps_its_own_vote);
    RUN_BOTH(a_voter_crashing_at_any_write_boundary_never_votes_twice);
    RUN_BOTH(a_candidate_crashing_at_any_write_boundary_never_votes_twice);
    RUN_BOTH(a_store_restored_after_a_torn_write_starts_in_a_legal_state);
    RUN_BOTH(the_same_grant_three_times_is_one_vote);
    RUN_BOTH(grants_of_other_terms_rounds_kinds_and_strangers_are_no_votes);
    RUN_BOTH(a_grant_from_the_future_is_a_higher_term_and_no_vote);
    RUN_BOTH(a_majority_of_refusals_makes_a_follower_of_the_same_term_with_a_fresh_timeout);
    RUN_BOTH(who_knows_the_leader_of_a_term_votes_for_nobody_else_in_it);
    RUN_BOTH(a_leader_grants_nobody_a_vote_in_its_own_term);
    RUN_BOTH(a_vote_request_of_a_past_term_is_answered_with_the_term_and_disturbs_nobody);
    RUN_BOTH(timeouts_are_spread_over_the_whole_span);
    RUN_BOTH(successive_timeouts_of_one_node_are_spread_too);
    RUN_BOTH(nodes_of_one_seed_rarely_expire_together);
    RUN_BOTH(the_series_of_two_nodes_are_not_each_other_shifted);
    RUN_BOTH(only_contact_grants_and_campaigns_reset_the_timer);
    RUN_BOTH(a_stream_of_higher_terms_does_not_keep_a_node_from_campaigning);
    RUN(the_first_no_op_passes_a_full_log_and_a_full_quota);
    RUN_BOTH(a_restarted_leader_never_leads_its_term_again);
    RUN_BOTH(grants_that_cross_a_crash_elect_nobody);
    RUN_BOTH(an_unknown_candidate_is_answered_and_may_be_granted);
    RUN_BOTH(a_joiner_answers_candidates_but_never_campaigns);
    RUN_BOTH(a_higher_term_in_any_reply_makes_a_leader_follow);
    RUN_BOTH(a_higher_term_from_a_leader_only_kind_names_the_leader_at_once);
    RUN(two_candidates_of_a_term_split_the_vote_and_a_later_term_decides);
    RUN(a_new_leader_sends_its_no_op_while_its_own_write_is_under_way);
    RUN_BOTH(terms_and_indexes_beyond_the_limit_are_malformed_and_never_adopted);
    RUN_BOTH(at_the_last_term_campaigns_fail_and_following_goes_on);
    RUN_BOTH(a_campaign_ordered_by_the_host_is_an_ordinary_one);
    RUN_BOTH(while_a_write_is_outstanding_an_ordered_campaign_is_refused);
    RUN_BOTH(all_messages_ever_sent_replayed_backwards_change_no_term_and_no_leader);
    return check_done();
}
