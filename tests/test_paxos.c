/*
 * Multi-Paxos by log adoption (rules P1 to P18, the scenarios under [Multi-Paxos mode]).
 */
#include "check.h"
#include "cluster.h"
#include "lone.h"

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

/* Metadata of a founding membership. */
static const uint8_t founding_meta[] = {
    2, 0, 0, 0, 0, 0, 0, 0,                         /* format */
    0, 0, 0, 0, 0, 0, 0, 0,                         /* index */
    0, 0, 0, 0, 0, 0, 0, 0,                         /* term */
    0, 0, 0, 0, 0, 0, 0, 0,                         /* accepted round */
    0, 0, 0, 0, 0, 0, 0, 0,                         /* version */
    1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* of one member, with id 1 */
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0, 0, 0};

enum { META_PROTOCOL = 41 };

/* A protocol belongs to a group for ever: what one has stored is not of the other (P8). */
static void stored_membership_of_the_other_protocol_is_refused(void)
{
    uint8_t meta[sizeof founding_meta];
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
            memcpy(meta, founding_meta, sizeof meta);
            CHECK_EQ(raft_meta_convert(meta, sizeof meta, stored), RAFT_OK);
            CHECK_EQ(raft_new(&options, &callbacks, NULL, &node), RAFT_OK);
            CHECK_EQ(raft_restore(node, &write), stored == asked ? RAFT_OK : RAFT_EFOREIGN);
            CHECK_EQ(raft_start(node, 0), stored == asked ? RAFT_OK : RAFT_ESTATE);
            raft_free(node);
        }
    }
}

/* Nothing else of a membership changes, and of what is none, nothing at all (P15). */
static void conversion_of_a_membership_changes_its_protocol_alone(void)
{
    uint8_t meta[sizeof founding_meta];
    uint8_t *membership = meta + META_PROTOCOL - 1;
    size_t size = sizeof(meta) - (META_PROTOCOL - 1);
    memcpy(meta, founding_meta, sizeof(meta));
    CHECK_EQ(raft_meta_convert(meta, sizeof(meta), RAFT_PROTOCOL_MULTIPAXOS), RAFT_OK);
    CHECK_EQ(meta[META_PROTOCOL], 1);
    CHECK_EQ(raft_membership_convert(membership, size, RAFT_PROTOCOL_RAFT), RAFT_OK);
    CHECK(memcmp(meta, founding_meta, sizeof(meta)) == 0);
    CHECK_EQ(raft_meta_convert(NULL, sizeof(meta), RAFT_PROTOCOL_RAFT), RAFT_EARG);
    CHECK_EQ(raft_membership_convert(NULL, size, RAFT_PROTOCOL_RAFT), RAFT_EARG);
    CHECK_EQ(raft_meta_convert(meta, sizeof(meta), 2), RAFT_EARG);
    CHECK_EQ(raft_meta_convert(meta, sizeof(meta), -1), RAFT_EARG);
    CHECK_EQ(raft_meta_convert(meta, sizeof(meta) - 1, RAFT_PROTOCOL_MULTIPAXOS), RAFT_ECORRUPT);
    CHECK_EQ(raft_membership_convert(membership, 0, RAFT_PROTOCOL_MULTIPAXOS), RAFT_ECORRUPT);
    CHECK(memcmp(meta, founding_meta, sizeof(meta)) == 0);
}

/* ---- Scripts by hand ------------------------------------------------------------------------ */

/* Campaigns are asked for, and candidates answered, at any time: no pre-votes, no stickiness. */
static struct cluster *make_frank(size_t count)
{
    cluster_protocol = RAFT_PROTOCOL_MULTIPAXOS;
    struct cluster *cluster = cluster_create(count);
    cluster_protocol = RAFT_PROTOCOL_RAFT;
    for (raft_id id = 1; id <= count; id++) {
        cluster->nodes[id].options.no_pre_vote = 1;
        cluster->nodes[id].options.no_stickiness = 1;
    }
    return cluster;
}

static struct cluster *start_frank(size_t count)
{
    struct cluster *cluster = make_frank(count);
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    return cluster;
}

/*
 * The node is promised a term by two others and leads; nothing that it sends as the leader arrives
 * anywhere. For candidates that have nothing to pull.
 */
static void lead_unheard(struct cluster *cluster, raft_id id, raft_id one, raft_id other)
{
    cluster_drop_all(cluster, 0, 0);
    CHECK_EQ(raft_campaign(cluster->nodes[id].raft), RAFT_OK);
    cluster_poll(cluster, id);
    cluster_deliver_all(cluster, id, one);
    cluster_deliver_all(cluster, id, other);
    cluster_deliver_all(cluster, one, id);
    cluster_deliver_all(cluster, other, id);
    cluster_poll(cluster, id);
    CHECK_EQ(cluster_role(cluster, id), RAFT_ROLE_LEADER);
    cluster_drop_all(cluster, 0, 0);
}

/* Proposals that are durable at the leader and at nobody else; then it starts anew. */
static void propose_unheard(struct cluster *cluster, raft_id id, const char *text, int count)
{
    for (int i = 0; i < count; i++) {
        CHECK(cluster_propose(cluster, id, text) > 0);
    }
    cluster_poll(cluster, id);
    cluster_crash(cluster, id);
    cluster_drop_all(cluster, 0, 0);
    CHECK_EQ(cluster_restart(cluster, id), RAFT_OK);
}

/* Only these are reached, and reach each other: the others are cut off from everybody. */
static void connect_only(struct cluster *cluster, raft_id a, raft_id b, raft_id c)
{
    cluster_heal_all(cluster);
    for (raft_id id = 1; id <= cluster->count; id++) {
        if (id != a && id != b && id != c) {
            cluster_isolate(cluster, id);
        }
    }
}

static raft_message vote_request(const struct cluster *cluster, raft_id from, raft_id to,
                                 raft_term term)
{
    raft_message message = cluster_forge(cluster, from, to, term, RAFT_MESSAGE_VOTE);
    message.round = 1000;
    return message;
}

static raft_term stored_round(const struct cluster *cluster, raft_id id)
{
    return cluster->nodes[id].store.state.accepted_round;
}

/* ---- What a new leader finds (P4, P5, P7) --------------------------------------------------- */

/* Leader 1 of five has an entry on 2 alone, and dies. */
static struct cluster *entry_on_one_follower(void)
{
    struct cluster *cluster = start_frank(5);
    CHECK(cluster_elect(cluster, 1));
    cluster_cut(cluster, 1, 3);
    cluster_cut(cluster, 1, 4);
    cluster_cut(cluster, 1, 5);
    CHECK_EQ(cluster_propose(cluster, 1, "on one follower"), 1);
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 1), 0);
    CHECK(cluster_stored(cluster, 2, 1) != NULL);
    cluster_crash(cluster, 1);
    return cluster;
}

static void entry_on_one_follower_is_committed_where_that_one_promises(void)
{
    struct cluster *cluster = entry_on_one_follower();
    connect_only(cluster, 2, 3, 4);
    CHECK(cluster_elect(cluster, 3));
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 3), 1);
    CHECK_EQ(cluster_stored(cluster, 3, 1)->term, term_at(1, 1)); /* it keeps its own term */
    CHECK_STR(cluster_applied_text(cluster, 4, 1), "on one follower");
    CLUSTER_DONE(cluster);
}

static void entry_on_one_follower_is_overwritten_where_that_one_is_not_asked(void)
{
    struct cluster *cluster = entry_on_one_follower();
    connect_only(cluster, 3, 4, 5);
    CHECK(cluster_elect(cluster, 3));
    CHECK_EQ(cluster_status(cluster, 3).last_index, 0);
    CHECK_EQ(cluster_propose(cluster, 3, "another"), 1);
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 3), 1);
    cluster_heal_all(cluster);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_run(cluster, 4 * LONGEST);
    for (raft_id id = 1; id <= 5; id++) {
        CHECK_STR(cluster_applied_text(cluster, id, 1), "another");
    }
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

/* 1 and 2 have led one after the other, unheard by the rest, and proposed so many entries each. */
static struct cluster *rivals(int first, int second)
{
    struct cluster *cluster = start_frank(5);
    lead_unheard(cluster, 1, 3, 4);
    propose_unheard(cluster, 1, "older", first);
    lead_unheard(cluster, 2, 3, 4);
    propose_unheard(cluster, 2, "newer", second);
    CHECK(stored_round(cluster, 1) < stored_round(cluster, 2));
    connect_only(cluster, 1, 2, 3);
    return cluster;
}

static void of_two_rival_suffixes_of_one_length_that_of_the_newer_round_is_adopted(void)
{
    struct cluster *cluster = rivals(2, 2);
    CHECK(cluster_elect(cluster, 3));
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 3), 2);
    CHECK_STR(cluster_applied_text(cluster, 1, 1), "newer");
    CHECK_STR(cluster_applied_text(cluster, 1, 2), "newer");
    CLUSTER_DONE(cluster);
}

static void shorter_suffix_of_a_newer_round_wins_over_a_longer_one(void)
{
    for (raft_id candidate = 1; candidate <= 3; candidate++) {
        struct cluster *cluster = rivals(7, 1);
        CHECK(cluster_elect(cluster, candidate));
        cluster_settle(cluster);
        CHECK_EQ(cluster_commit(cluster, candidate), 1);
        CHECK_EQ(cluster_status(cluster, 1).last_index, 1); /* what the best log has not is cut */
        CHECK_STR(cluster_applied_text(cluster, 1, 1), "newer");
        CLUSTER_DONE(cluster);
    }
}

/* Raft's figure 8: here the old entry is committed by counting, and stays (P7). */
static void figure_8_entry_is_committed_without_one_of_the_own_term_and_stays(void)
{
    struct cluster *cluster = start_frank(5);
    lead_unheard(cluster, 1, 3, 4);
    CHECK_EQ(cluster_propose(cluster, 1, "figure 8"), 1);
    cluster_settle(cluster); /* to nobody: it was cut off */
    cluster_crash(cluster, 1);
    cluster_drop_all(cluster, 0, 0);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    lead_unheard(cluster, 5, 3, 4);
    propose_unheard(cluster, 5, "rival", 1);
    raft_term rival = stored_round(cluster, 5);
    connect_only(cluster, 1, 2, 3);
    CHECK(cluster_elect(cluster, 1));
    cluster_settle(cluster);
    CHECK(cluster_term(cluster, 1) > rival);
    CHECK_EQ(cluster_status(cluster, 1).last_index, 1);
    CHECK_EQ(cluster_commit(cluster, 1), 1);
    CHECK_EQ(cluster_stored(cluster, 2, 1)->term, term_at(1, 1));
    cluster_crash(cluster, 1);
    connect_only(cluster, 3, 4, 5);
    CHECK(cluster_elect(cluster, 5));
    cluster_settle(cluster);
    CHECK_STR(cluster_applied_text(cluster, 5, 1), "figure 8");
    CLUSTER_DONE(cluster);
}

static void higher_priority_leads_though_its_log_is_shorter(void)
{
    struct cluster *cluster = start_group(3);
    raft_member members[3] = {{.id = 1, .role = RAFT_MEMBER_VOTER},
                              {.id = 2, .role = RAFT_MEMBER_VOTER},
                              {.id = 3, .role = RAFT_MEMBER_VOTER, .priority = 3}};
    raft_membership favoured;
    raft_membership_init(&favoured);
    favoured.members = members;
    favoured.member_count = 3;
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(raft_set_membership(cluster->nodes[1].raft, &favoured, 0, NULL, NULL), RAFT_OK);
    cluster_run(cluster, T);
    cluster_isolate(cluster, 3);
    for (int i = 0; i < 20; i++) {
        CHECK(cluster_propose(cluster, 1, "without the third") > 0);
    }
    cluster_settle(cluster);
    raft_index last = cluster_status(cluster, 1).last_index;
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(cluster_leader(cluster), 3);
    CHECK_EQ(cluster_commit(cluster, 3), last);
    CHECK_STR(cluster_applied_text(cluster, 3, last), "without the third");
    CLUSTER_DONE(cluster);
}

static void transfer_to_a_lagging_voter_succeeds_at_once(void)
{
    struct cluster *cluster = start_group(3);
    CHECK(cluster_elect(cluster, 1));
    cluster_hold(cluster, 1, 3);
    for (int i = 0; i < 20; i++) {
        CHECK(cluster_propose(cluster, 1, "not at the third") > 0);
    }
    cluster_settle(cluster);
    for (size_t i = cluster_queued(cluster, 1, 3); i > 0; i--) {
        cluster_drop(cluster, 1, 3);
    }
    CHECK_EQ(cluster_status(cluster, 3).last_index, 0);
    uint64_t since = cluster->now_ms;
    cluster_heal_all(cluster);
    CHECK_EQ(raft_transfer(cluster->nodes[1].raft, 3), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_leader(cluster), 3);
    CHECK_EQ(cluster->now_ms, since);
    CHECK(cluster_status(cluster, 3).counters.pulls > 0);
    CHECK_STR(cluster_applied_text(cluster, 3, 20), "not at the third");
    CLUSTER_DONE(cluster);
}

/* L is what was adopted; the read knows nothing of it before (P11). */
static void read_after_an_election_waits_for_what_was_adopted(void)
{
    struct cluster *cluster = start_frank(3);
    CHECK(cluster_elect(cluster, 1));
    cluster_cut(cluster, 2, 1);
    cluster_cut(cluster, 3, 1);
    cluster_cut(cluster, 1, 3);
    CHECK_EQ(cluster_propose(cluster, 1, "undecided"), 1);
    cluster_settle(cluster);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    lead_unheard(cluster, 2, 3, 3);
    CHECK_EQ(cluster_commit(cluster, 2), 0);
    CHECK_EQ(raft_read(cluster->nodes[2].raft, 9), RAFT_OK);
    cluster_hold(cluster, 2, 3);
    cluster_settle(cluster);
    /* The round is confirmed by a heartbeat; the entry is not accepted by anybody. */
    for (size_t i = cluster_queued(cluster, 2, 3); i > 0; i--) {
        if (cluster_peek(cluster, 2, 3, 0)->message.kind == RAFT_MESSAGE_HEARTBEAT) {
            cluster_deliver(cluster, 2, 3);
            cluster_deliver_all(cluster, 3, 2);
        } else {
            cluster_drop(cluster, 2, 3);
        }
    }
    CHECK(cluster_read_answer(cluster, 2, 9) == NULL);
    cluster_heal_all(cluster);
    cluster_run(cluster, 2 * LONGEST);
    CHECK(cluster_read_answer(cluster, 2, 9) != NULL);
    CHECK_EQ(cluster_read_answer(cluster, 2, 9)->status, RAFT_OK);
    CHECK(cluster_read_answer(cluster, 2, 9)->index >= 1);
    CLUSTER_DONE(cluster);
}

/* ---- Promises (P1 to P3) -------------------------------------------------------------------- */

static void promise_that_a_crash_crosses_is_not_sent_or_is_kept(void)
{
    for (size_t steps = 0; steps <= 1; steps++) {
        struct cluster *cluster = start_frank(3);
        cluster_run(cluster, 1);
        cluster_store_async(cluster, 2, 1);
        uint64_t mark = cluster_mark(cluster);
        raft_message asked = vote_request(cluster, 3, 2, term_at(5, 3));
        CHECK_EQ(cluster_inject(cluster, 2, &asked), RAFT_OK);
        CHECK_EQ(cluster_sent_count(cluster, mark, 2, 3, 0), 0);
        cluster_crash_after(cluster, 2, steps);
        cluster_store_async(cluster, 2, 0);
        CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
        CHECK_EQ(cluster_term(cluster, 2), steps == 0 ? 0 : term_at(5, 3));
        raft_message lower = vote_request(cluster, 1, 2, term_at(5, 1));
        mark = cluster_mark(cluster);
        CHECK_EQ(cluster_inject(cluster, 2, &lower), RAFT_OK);
        const struct cluster_message *reply =
            cluster_sent(cluster, mark, 2, 1, RAFT_MESSAGE_VOTE_REPLY);
        CHECK(reply != NULL);
        CHECK_EQ(reply->message.refused != 0, steps == 1);
        mark = cluster_mark(cluster);
        CHECK_EQ(cluster_inject(cluster, 2, &asked), RAFT_OK);
        reply = cluster_sent(cluster, mark, 2, 3, RAFT_MESSAGE_VOTE_REPLY);
        CHECK(reply != NULL && !reply->message.refused);
        CHECK_EQ(reply->message.term, term_at(5, 3));
        CLUSTER_DONE(cluster);
    }
}

/* It may ask in the same term again: nobody has heard of it. */
static void ballot_that_is_not_durable_is_not_on_the_wire(void)
{
    struct cluster *cluster = start_frank(3);
    cluster_run(cluster, 1);
    cluster_store_async(cluster, 1, 1);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_term(cluster, 1), term_at(1, 1));
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, 0), 0);
    cluster_crash(cluster, 1);
    cluster_store_async(cluster, 1, 0);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    CHECK_EQ(cluster_term(cluster, 1), 0);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(cluster_term(cluster, 1), term_at(1, 1));
    CLUSTER_DONE(cluster);
}

static void term_learnt_from_others_is_promised_to_its_owner_and_to_nobody_else(void)
{
    struct cluster *cluster = start_frank(3);
    raft_message reply = cluster_forge(cluster, 1, 2, term_at(4, 3), RAFT_MESSAGE_APPEND_REPLY);
    CHECK_EQ(cluster_inject(cluster, 2, &reply), RAFT_OK);
    CHECK_EQ(cluster_term(cluster, 2), term_at(4, 3));
    uint64_t mark = cluster_mark(cluster);
    raft_message thief = vote_request(cluster, 1, 2, term_at(4, 3));
    cluster_inject(cluster, 2, &thief);
    thief.term = term_at(9, 3);
    cluster_inject(cluster, 2, &thief);
    const struct cluster_message *sent;
    for (; (sent = cluster_sent(cluster, mark, 2, 1, RAFT_MESSAGE_VOTE_REPLY)) != NULL;
         mark = sent->number) {
        CHECK(sent->message.refused);
    }
    CHECK_EQ(cluster_status(cluster, 2).vote, 0);
    raft_message owner = vote_request(cluster, 3, 2, cluster_term(cluster, 2));
    CHECK_EQ(cluster_inject(cluster, 2, &owner), RAFT_OK);
    sent = cluster_sent(cluster, mark, 2, 3, RAFT_MESSAGE_VOTE_REPLY);
    CHECK(sent != NULL && !sent->message.refused);
    CLUSTER_DONE(cluster);
}

static void promises_of_older_ballots_elect_nobody(void)
{
    struct cluster *cluster = start_frank(5);
    cluster_hold(cluster, 0, 1);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_queued(cluster, 2, 1), 1);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    CHECK_EQ(cluster_term(cluster, 1), term_at(2, 1));
    for (raft_id voter = 2; voter <= 5; voter++) {
        cluster_deliver(cluster, voter, 1);
    }
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_CANDIDATE);
    cluster_deliver_all(cluster, 1, 2); /* one promise of the present ballot, told three times */
    cluster_duplicate(cluster, 2, 1);
    cluster_duplicate(cluster, 2, 1);
    cluster_deliver_all(cluster, 2, 1);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_CANDIDATE);
    CLUSTER_DONE(cluster);
}

static void prepare_of_an_older_ballot_is_refused_with_the_newer_one(void)
{
    struct cluster *cluster = start_frank(3);
    CHECK(cluster_elect(cluster, 3));
    CHECK(cluster_elect(cluster, 1));
    raft_term term = cluster_term(cluster, 1);
    const struct cluster_message *old = cluster_sent(cluster, 0, 3, 2, RAFT_MESSAGE_VOTE);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(cluster_replay(cluster, old->number), RAFT_OK);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, 2, 3, RAFT_MESSAGE_VOTE_REPLY);
    CHECK(reply != NULL && reply->message.refused);
    CHECK_EQ(reply->message.term, term);
    cluster_run(cluster, T);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 2), term);
    CLUSTER_DONE(cluster);
}

static int has_leader(struct cluster *cluster)
{
    return cluster_stable_leader(cluster) != 0;
}

static void duelling_candidates_without_pre_votes_end_by_their_timers(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct cluster *cluster = make_frank(5);
        for (raft_id id = 1; id <= 5; id++) {
            cluster->nodes[id].options.seed = seed;
        }
        cluster->latency_ms = 50;
        CHECK_EQ(cluster_start(cluster), RAFT_OK);
        for (raft_id id = 1; id <= 5; id++) {
            CHECK_EQ(raft_campaign(cluster->nodes[id].raft), RAFT_OK);
        }
        CHECK(cluster_run_until(cluster, has_leader, 5 * LONGEST));
        raft_id leader = cluster_leader(cluster);
        cluster_run(cluster, 5 * LONGEST);
        CHECK_EQ(cluster_leader(cluster), leader);
        CLUSTER_DONE(cluster);
    }
}

static void deposed_leader_follows_and_does_not_campaign_at_once(void)
{
    struct cluster *cluster = start_group(3);
    CHECK(cluster_elect(cluster, 1));
    raft_message nack = cluster_forge(cluster, 2, 1, term_at(7, 2), RAFT_MESSAGE_APPEND_REPLY);
    nack.refused = 1;
    cluster_isolate(cluster, 1);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(cluster_inject(cluster, 1, &nack), RAFT_OK);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_term(cluster, 1), term_at(7, 2));
    cluster_advance_node(cluster, 1, T - 1);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_PRE_VOTE), 0);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_VOTE), 0);
    CLUSTER_DONE(cluster);
}

/* 47 bits of round: the last one is used, and there is none behind it (P1, R64). */
static void last_round_is_used_and_none_comes_after_it(void)
{
    struct cluster *cluster = start_frank(3);
    const uint64_t last_round = ((uint64_t)1 << 47) - 1;
    raft_message reply =
        cluster_forge(cluster, 2, 1, term_at(last_round - 1, 3), RAFT_MESSAGE_APPEND_REPLY);
    CHECK_EQ(cluster_inject(cluster, 1, &reply), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(cluster_term(cluster, 1), term_at(last_round, 1));
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_ELIMIT);
    CHECK_EQ(cluster_propose(cluster, 1, "in the last round"), 1);
    cluster_run(cluster, T);
    CHECK_EQ(cluster_commit(cluster, 2), 1);
    cluster_crash(cluster, 1);
    cluster_run(cluster, 5 * LONGEST);
    CHECK_EQ(cluster_term(cluster, 2), term_at(last_round, 1));
    CHECK_EQ(cluster_leader(cluster), 0);
    CLUSTER_DONE(cluster);
}

static void message_of_the_other_mode_is_refused_and_counted(void)
{
    struct cluster *cluster = start_group(3);
    CHECK(cluster_elect(cluster, 1));
    uint64_t refused = cluster_status(cluster, 2).counters.messages_refused;
    raft_message beat =
        cluster_forge(cluster, 1, 2, cluster_term(cluster, 1), RAFT_MESSAGE_HEARTBEAT);
    beat.protocol = RAFT_PROTOCOL_RAFT;
    CHECK_EQ(cluster_inject(cluster, 2, &beat), RAFT_EFOREIGN);
    beat.kind = RAFT_MESSAGE_VOTE;
    beat.term = term_at(9, 1);
    CHECK_EQ(cluster_inject(cluster, 2, &beat), RAFT_EFOREIGN);
    CHECK_EQ(cluster_status(cluster, 2).counters.messages_refused, refused + 2);
    CHECK_EQ(cluster_term(cluster, 2), cluster_term(cluster, 1));
    CLUSTER_DONE(cluster);
}

/* ---- The pull (P4, P12, P16) ---------------------------------------------------------------- */

/* 3 of three lacks so many entries and takes them in small pieces; 1, who led, is dead. */
static struct cluster *lagging_candidate(int count, int with_snapshots)
{
    struct cluster *cluster = make_frank(3);
    for (raft_id id = 1; id <= 3; id++) {
        cluster->nodes[id].options.append_bytes_max = 64;
        cluster->nodes[id].options.trailing_bytes = 1;
    }
    cluster->snapshots = with_snapshots;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 3);
    for (int i = 0; i < count; i++) {
        CHECK(cluster_propose(cluster, 1, "3 lacks this, and all that follows it") > 0);
        cluster_settle(cluster);
    }
    cluster_run(cluster, T);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    return cluster;
}

/* Lets the candidate pull until it has so many entries. */
static void pull_some(struct cluster *cluster, raft_index count)
{
    cluster_hold(cluster, 2, 3);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_settle(cluster);
    for (int i = 0; i < 100 && cluster_status(cluster, 3).last_index < count; i++) {
        cluster_deliver(cluster, 2, 3);
        cluster_settle(cluster);
    }
    CHECK_EQ(cluster_role(cluster, 3), RAFT_ROLE_CANDIDATE);
    CHECK(cluster_status(cluster, 3).last_index >= count);
}

static void source_that_promises_a_higher_term_ends_the_pull(void)
{
    struct cluster *cluster = lagging_candidate(20, 0);
    pull_some(cluster, 5);
    raft_term term = cluster_term(cluster, 3);
    raft_message rival = vote_request(cluster, 1, 2, term_at(50, 1));
    CHECK_EQ(cluster_inject(cluster, 2, &rival), RAFT_OK);
    cluster_heal_all(cluster);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 3), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_term(cluster, 3), term_at(50, 1));
    CHECK(cluster_status(cluster, 3).last_index < 20);
    CHECK(stored_round(cluster, 3) < term);
    CHECK(cluster_elect(cluster, 3));
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 3), 20);
    CLUSTER_DONE(cluster);
}

/* Its log is worth what it was before, whatever part of another one it holds (P4). */
static void half_pulled_log_keeps_the_round_it_had_and_survives_a_crash(void)
{
    struct cluster *cluster = lagging_candidate(20, 0);
    raft_term before = stored_round(cluster, 3);
    pull_some(cluster, 5);
    CHECK_EQ(stored_round(cluster, 3), before);
    cluster_crash(cluster, 3);
    cluster_drop_all(cluster, 0, 0);
    CHECK_EQ(cluster_restart(cluster, 3), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 3).last_index >= 5, 1);
    CHECK_EQ(stored_round(cluster, 3), before);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_heal_all(cluster);
    cluster_isolate(cluster, 2);
    CHECK(cluster_elect(cluster, 3)); /* from 1, who has it all as well */
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 3), 20);
    CLUSTER_DONE(cluster);
}

static void nothing_is_cut_before_the_promises_are_complete(void)
{
    struct cluster *cluster = start_frank(5);
    lead_unheard(cluster, 1, 3, 4);
    propose_unheard(cluster, 1, "older", 5);
    lead_unheard(cluster, 2, 3, 4);
    propose_unheard(cluster, 2, "newer", 1);
    cluster_heal_all(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    cluster_deliver_all(cluster, 1, 2);
    cluster_deliver_all(cluster, 2, 1); /* the best log, but two of five are no Q1 */
    CHECK_EQ(cluster_status(cluster, 1).last_index, 5);
    CHECK_EQ(cluster_sent_count(cluster, 0, 1, 0, RAFT_MESSAGE_PULL), 0);
    cluster_deliver_all(cluster, 1, 3);
    cluster_deliver_all(cluster, 3, 1);
    CHECK(cluster_sent_count(cluster, 0, 1, 2, RAFT_MESSAGE_PULL) > 0);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CHECK_STR(cluster_applied_text(cluster, 1, 1), "newer");
    CLUSTER_DONE(cluster);
}

static void source_that_is_silent_is_left_out_and_the_rest_is_no_quorum(void)
{
    struct cluster *cluster = lagging_candidate(20, 0);
    pull_some(cluster, 5);
    cluster_crash(cluster, 2);
    cluster_run(cluster, 5 * LONGEST);
    CHECK(cluster_role(cluster, 3) != RAFT_ROLE_LEADER);
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    cluster_heal_all(cluster);
    cluster_run(cluster, 5 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK_EQ(cluster_commit(cluster, 3), 20);
    CLUSTER_DONE(cluster);
}

/* Those that have promised wait while the pull goes on: no pre-vote is granted by them (P16). */
static void long_pull_is_not_preempted_where_pre_votes_are_asked(void)
{
    struct cluster *cluster = lagging_candidate(40, 0);
    raft_options options = cluster->nodes[2].options;
    options.no_pre_vote = 0;
    CHECK_EQ(raft_set_options(cluster->nodes[2].raft, &options), RAFT_OK);
    cluster->latency_ms = 75; /* forty pieces take six seconds: several timeouts */
    uint64_t since = cluster->now_ms;
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    CHECK(cluster_run_until(cluster, has_leader, 8 * LONGEST));
    CHECK(cluster->now_ms > since + LONGEST);
    CHECK_EQ(cluster_leader(cluster), 3);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 0, RAFT_MESSAGE_VOTE), 0);
    CHECK_EQ(cluster_term(cluster, 3), term_at(2, 3));
    CLUSTER_DONE(cluster);
}

static void source_that_has_compacted_gives_its_snapshot_first(void)
{
    struct cluster *cluster = lagging_candidate(300, 1);
    raft_term before = stored_round(cluster, 3);
    CHECK_EQ(cluster_compact(cluster, 2), RAFT_OK);
    CHECK(cluster_status(cluster, 2).first_index > 1);
    cluster_store_async(cluster, 3, 1);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    for (int i = 0; i < 2000 && cluster_status(cluster, 3).snapshot_index == 0; i++) {
        cluster_complete(cluster, 3);
        cluster_run(cluster, 1);
    }
    CHECK(cluster_status(cluster, 3).snapshot_index > 0);
    CHECK_EQ(stored_round(cluster, 3), before); /* a snapshot brings no round (P12) */
    cluster_store_async(cluster, 3, 0);
    cluster_complete(cluster, 3);
    cluster_run(cluster, 2 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK_EQ(cluster_commit(cluster, 3), 300);
    CHECK_EQ(cluster_status(cluster, 3).counters.snapshots_installed, 1);
    CLUSTER_DONE(cluster);
}

/*
 * What it lacks has left the memory of the only source, and by that log it is no member any more: it
 * pulls all the same, and learns what it has missed (P4, P9).
 */
static void removed_server_that_was_not_told_pulls_from_storage(void)
{
    static char payload[700];
    struct cluster *cluster = make_frank(3);
    raft_member members[3];
    raft_membership membership;
    cluster->read_log = 1;
    for (raft_id id = 1; id <= 3; id++) {
        cluster->nodes[id].options.log_bytes_max = 64 << 10;
        cluster->nodes[id].options.append_bytes_max = 2048;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 3);
    raft_membership_init(&membership);
    CHECK_EQ(raft_get_membership(cluster->nodes[1].raft, &membership, members, 3), RAFT_OK);
    membership.member_count = 2;
    CHECK_EQ(
        raft_set_membership(cluster->nodes[1].raft, &membership, membership.version, NULL, NULL),
        RAFT_OK);
    for (int i = 0; i < 300; i++) {
        CHECK_EQ(raft_propose(cluster->nodes[1].raft, payload, sizeof payload, NULL, NULL),
                 RAFT_OK);
        cluster_settle(cluster);
    }
    cluster_run(cluster, T);
    CHECK(cluster_status(cluster, 2).memory_index > 100);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_status(cluster, 3).last_index, cluster_status(cluster, 2).last_index);
    CHECK(cluster_commit(cluster, 3) >= 300);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_ENOTMEMBER);
    CLUSTER_DONE(cluster);
}

/* Only another promise comes with a snapshot; the best log is whole. */
static void entries_come_from_the_best_log_and_no_snapshot_from_another(void)
{
    struct cluster *cluster = make_frank(5);
    cluster->snapshots = 1;
    for (raft_id id = 1; id <= 5; id++) {
        cluster->nodes[id].options.trailing_bytes = 1;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 3);
    for (int i = 0; i < 300; i++) {
        CHECK(cluster_propose(cluster, 1, "3 lacks this, and all that follows it") > 0);
        cluster_settle(cluster);
    }
    cluster_run(cluster, T);
    cluster_isolate(cluster, 2);
    CHECK(cluster_propose(cluster, 1, "2 lacks this") > 0);
    cluster_settle(cluster);
    CHECK_EQ(cluster_compact(cluster, 2), RAFT_OK);
    CHECK(cluster_status(cluster, 2).first_index > 1);
    cluster_crash(cluster, 1);
    connect_only(cluster, 2, 3, 4);
    uint64_t mark = cluster_mark(cluster);
    CHECK(cluster_elect(cluster, 3));
    CHECK_EQ(cluster_sent_count(cluster, mark, 0, 3, RAFT_MESSAGE_SNAPSHOT), 0);
    CHECK_EQ(cluster_sent_count(cluster, mark, 3, 2, RAFT_MESSAGE_PULL), 0);
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 3), 301);
    CLUSTER_DONE(cluster);
}

/* ---- Phase 2 (P6, P7) ----------------------------------------------------------------------- */

static void append_that_overtakes_its_predecessor_is_refused_with_a_hint(void)
{
    struct cluster *cluster = start_group(3);
    CHECK(cluster_elect(cluster, 1));
    cluster_hold(cluster, 1, 2);
    for (int i = 0; i < 2; i++) {
        CHECK(cluster_propose(cluster, 1, "one after the other") > 0);
        cluster_poll(cluster, 1);
    }
    CHECK_EQ(cluster_queued(cluster, 1, 2), 2);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(cluster_deliver_at(cluster, 1, 2, 1), RAFT_OK);
    cluster_poll(cluster, 2);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, 2, 1, RAFT_MESSAGE_APPEND_REPLY);
    CHECK(reply == NULL || reply->message.refused);
    CHECK_EQ(cluster_status(cluster, 2).last_index, 0);
    cluster_heal_all(cluster);
    cluster_run(cluster, T);
    CHECK(cluster_converged(cluster));
    CHECK_EQ(cluster_commit(cluster, 2), 2);
    CLUSTER_DONE(cluster);
}

static void heartbeat_commits_nothing_beyond_what_this_term_certified(void)
{
    struct cluster *cluster = start_frank(5);
    lead_unheard(cluster, 3, 4, 5);
    propose_unheard(cluster, 3, "stale", 3);
    cluster_isolate(cluster, 3);
    CHECK(cluster_elect(cluster, 1));
    for (int i = 0; i < 3; i++) {
        CHECK(cluster_propose(cluster, 1, "chosen") > 0);
    }
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 1), 3);
    cluster_run(cluster, 150); /* a heartbeat goes out, and gets lost */
    const struct cluster_message *beat = NULL, *next;
    while ((next = cluster_sent(cluster, beat == NULL ? 0 : beat->number, 1, 3,
                                RAFT_MESSAGE_HEARTBEAT)) != NULL) {
        beat = next;
    }
    CHECK(beat != NULL && beat->message.commit == 3);
    CHECK_EQ(cluster_replay(cluster, beat->number), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 3).leader, 1);
    CHECK_EQ(cluster_commit(cluster, 3), 0);
    cluster_heal_all(cluster);
    cluster_run(cluster, T);
    CHECK_STR(cluster_applied_text(cluster, 3, 3), "chosen");
    CLUSTER_DONE(cluster);
}

static void commit_stands_on_others_while_the_leaders_own_write_hangs(void)
{
    struct cluster *cluster = start_frank(3);
    CHECK(cluster_elect(cluster, 1));
    cluster_store_async(cluster, 1, 1);
    CHECK_EQ(cluster_propose(cluster, 1, "on the others"), 1);
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 1), 1);
    CHECK(cluster_stored(cluster, 1, 1) == NULL);
    cluster_run(cluster, 2 * 100);
    cluster_crash(cluster, 1);
    cluster_store_async(cluster, 1, 0);
    CHECK(cluster_elect(cluster, 3));
    cluster_settle(cluster);
    CHECK_STR(cluster_applied_text(cluster, 3, 1), "on the others");
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_run(cluster, T);
    CHECK_STR(cluster_applied_text(cluster, 1, 1), "on the others");
    CLUSTER_DONE(cluster);
}

static void leader_is_not_counted_before_its_own_write_is_durable(void)
{
    struct cluster *cluster = start_frank(3);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 3);
    cluster_store_async(cluster, 1, 1);
    CHECK_EQ(cluster_propose(cluster, 1, "on one other"), 1);
    cluster_settle(cluster);
    CHECK(cluster_stored(cluster, 2, 1) != NULL);
    CHECK_EQ(cluster_commit(cluster, 1), 0);
    cluster_complete(cluster, 1);
    CHECK_EQ(cluster_commit(cluster, 1), 1);
    CLUSTER_DONE(cluster);
}

/* Leader 1 has adopted ten entries, committed by nobody yet; 3 has none of them. */
static struct cluster *leader_with_ten(void)
{
    struct cluster *cluster = make_frank(3);
    cluster->nodes[1].options.append_bytes_max = 64;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 2));
    cluster_isolate(cluster, 3);
    cluster_cut(cluster, 1, 2); /* so that nobody knows of a commit */
    for (int i = 0; i < 10; i++) {
        CHECK(cluster_propose(cluster, 2, "long enough to fill a message alone") > 0);
    }
    cluster_settle(cluster);
    CHECK_EQ(cluster_status(cluster, 1).last_index, 10);
    cluster_crash(cluster, 2);
    cluster_heal_all(cluster);
    lead_unheard(cluster, 1, 3, 3);
    CHECK_EQ(cluster_status(cluster, 1).last_index, 10);
    return cluster;
}

/* Raised on the first one, a chosen suffix would be outranked by a shorter log (P6). */
static void round_is_accepted_when_the_log_reaches_what_was_adopted_and_not_before(void)
{
    struct cluster *cluster = leader_with_ten();
    raft_term term = cluster_term(cluster, 1);
    raft_index seen = 0;
    cluster_hold(cluster, 1, 3);
    cluster_hold(cluster, 3, 1);
    for (int i = 0; i < 1000 && cluster_status(cluster, 3).last_index < 10; i++) {
        cluster_run(cluster, 10);
        cluster_deliver(cluster, 1, 3);
        cluster_deliver_all(cluster, 3, 1);
        CHECK_EQ(stored_round(cluster, 3) == term, cluster_status(cluster, 3).last_index == 10);
        CHECK(cluster_commit(cluster, 1) == 0 || stored_round(cluster, 3) == term);
        seen = cluster_peer(cluster, 1, 3).match > seen && cluster_peer(cluster, 1, 3).match < 10
                   ? cluster_peer(cluster, 1, 3).match
                   : seen;
    }
    CHECK(seen > 0); /* it was acknowledged all the while, and counted for nothing */
    CHECK_EQ(stored_round(cluster, 3), term);
    cluster_heal_all(cluster);
    cluster_run(cluster, T);
    CHECK_EQ(cluster_commit(cluster, 3), 10);
    CLUSTER_DONE(cluster);
}

/* All have one entry; 2, who led, has six more behind it that nobody else has. */
static struct cluster *stale_tail_behind_what_is_shared(void)
{
    struct cluster *cluster = start_frank(5);
    CHECK(cluster_elect(cluster, 2));
    CHECK_EQ(cluster_propose(cluster, 2, "shared"), 1);
    cluster_run(cluster, 2 * 100);
    cluster_isolate(cluster, 2);
    propose_unheard(cluster, 2, "stale", 6);
    cluster_heal_all(cluster);
    lead_unheard(cluster, 3, 4, 5);
    CHECK_EQ(cluster->nodes[2].store.log.count, 7);
    return cluster;
}

/*
 * The node's disk takes so many steps of what is written, in the order in which it is written; then
 * it crashes. False: all was written before.
 */
static int crash_after_steps(struct cluster *cluster, raft_id id, size_t steps)
{
    for (int i = 0; i < 60; i++) {
        cluster_run(cluster, 5);
        if (cluster_pending_steps(cluster, id) > steps) {
            break;
        }
        steps -= cluster_pending_steps(cluster, id);
        cluster_complete(cluster, id);
    }
    int is_short = cluster_pending_steps(cluster, id) > steps;
    cluster_crash_after(cluster, id, steps);
    cluster_store_async(cluster, id, 0);
    return is_short;
}

static void expect_recovery_with(struct cluster *cluster, raft_id crashed, const char *text)
{
    CHECK_EQ(cluster_restart(cluster, crashed), RAFT_OK);
    cluster_heal_all(cluster);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK(cluster_converged(cluster));
    CHECK_STR(cluster_applied_text(cluster, crashed, 1), text);
    CLUSTER_DONE(cluster);
}

/* A round that spoke of a longer tail would have it chosen over what is (P6). */
static void stale_tail_is_gone_from_the_disk_before_the_round_is_accepted(void)
{
    int is_short = 1;
    for (size_t steps = 0; is_short; steps++) {
        struct cluster *cluster = stale_tail_behind_what_is_shared();
        raft_term term = cluster_term(cluster, 3);
        cluster_store_async(cluster, 2, 1);
        is_short = crash_after_steps(cluster, 2, steps);
        CHECK(stored_round(cluster, 2) < term || cluster->nodes[2].store.log.count == 1);
        CHECK(is_short || stored_round(cluster, 2) == term);
        expect_recovery_with(cluster, 2, "shared");
    }
}

static void entries_are_on_the_disk_before_the_round_is_accepted(void)
{
    int is_short = 1;
    for (size_t steps = 0; is_short; steps++) {
        struct cluster *cluster = leader_with_ten();
        raft_term term = cluster_term(cluster, 1);
        cluster_store_async(cluster, 3, 1);
        is_short = crash_after_steps(cluster, 3, steps);
        CHECK(stored_round(cluster, 3) < term || cluster->nodes[3].store.log.count == 10);
        CHECK(cluster_commit(cluster, 1) == 0 || stored_round(cluster, 3) == term); /* P7 */
        CHECK(is_short || stored_round(cluster, 3) == term);
        CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
        expect_recovery_with(cluster, 3, "long enough to fill a message alone");
    }
}

/* The same for who is to lead: it has pulled, and must have it all before it says so (P5). */
static void candidate_leads_when_what_it_adopted_and_its_round_are_on_the_disk(void)
{
    int is_short = 1;
    for (size_t steps = 0; is_short; steps++) {
        struct cluster *cluster = lagging_candidate(20, 0);
        CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
        cluster_poll(cluster, 3);
        raft_term term = cluster_term(cluster, 3);
        size_t reigns = cluster->reign_count;
        cluster_store_async(cluster, 3, 1);
        is_short = crash_after_steps(cluster, 3, steps);
        CHECK(stored_round(cluster, 3) < term || cluster->nodes[3].store.log.count == 20);
        CHECK(cluster->reign_count == reigns || stored_round(cluster, 3) == term);
        CHECK(is_short || cluster->reign_count > reigns);
        CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
        expect_recovery_with(cluster, 3, "3 lacks this, and all that follows it");
    }
}

/* The best log is the shorter one here, and the beginning of the own (P4). */
static void candidate_cuts_what_the_best_log_has_not(void)
{
    struct cluster *cluster = stale_tail_behind_what_is_shared();
    cluster_crash(cluster, 3);
    CHECK_EQ(cluster_restart(cluster, 3), RAFT_OK);
    connect_only(cluster, 2, 3, 4);
    CHECK(cluster_elect(cluster, 2));
    CHECK_EQ(cluster_status(cluster, 2).last_index, 1);
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 2), 1);
    CLUSTER_DONE(cluster);
}

static void restart_that_lost_the_commit_index_learns_it_again(void)
{
    struct cluster *cluster = start_group(3);
    CHECK(cluster_elect(cluster, 1));
    for (int i = 0; i < 10; i++) {
        CHECK(cluster_propose(cluster, 1, "committed") > 0);
    }
    cluster_run(cluster, T);
    for (raft_id id = 1; id <= 3; id++) {
        cluster_crash(cluster, id);
    }
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_EQ(cluster_restart(cluster, id), RAFT_OK);
        CHECK_EQ(cluster_status(cluster, id).last_index, 10);
    }
    cluster_run(cluster, 3 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_EQ(cluster_commit(cluster, id), 10);
    }
    CLUSTER_DONE(cluster);
}

/* ---- Quorums and memberships (P9, P10) ------------------------------------------------------ */

static struct cluster *start_with_quorum(size_t count, uint32_t commit_quorum)
{
    struct cluster *cluster = make_frank(count);
    cluster->commit_quorum = commit_quorum;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    return cluster;
}

static void of_four_two_commit_and_three_elect(void)
{
    struct cluster *cluster = start_with_quorum(4, 2);
    CHECK_EQ(cluster_status(cluster, 1).election_quorum, 3);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 3);
    cluster_isolate(cluster, 4);
    CHECK_EQ(cluster_propose(cluster, 1, "by two"), 1);
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 1), 1);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    cluster_crash(cluster, 4);
    CHECK(!cluster_elect(cluster, 3)); /* two promises elect nobody */
    CHECK_EQ(cluster_leader(cluster), 0);
    CHECK_EQ(cluster_restart(cluster, 4), RAFT_OK);
    CHECK(cluster_elect(cluster, 3));
    cluster_settle(cluster);
    CHECK_STR(cluster_applied_text(cluster, 3, 1), "by two");
    CLUSTER_DONE(cluster);
}

static void of_five_one_elects_where_all_must_commit(void)
{
    struct cluster *cluster = start_with_quorum(5, 5);
    CHECK_EQ(cluster_status(cluster, 1).election_quorum, 1);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(cluster_propose(cluster, 1, "by all"), 1);
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 1), 1);
    CHECK_EQ(cluster_propose(cluster, 1, "by four"), 2);
    cluster_isolate(cluster, 5);
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 1), 1);
    for (raft_id id = 1; id <= 4; id++) {
        cluster_crash(cluster, id);
    }
    CHECK_EQ(raft_campaign(cluster->nodes[5].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 5), RAFT_ROLE_LEADER);
    CHECK_EQ(cluster_status(cluster, 5).last_index >= 1, 1);
    CLUSTER_DONE(cluster);
}

/* Commits go on with whatever quorums govern, and a crash of anyone loses none of them (I16). */
static void commit_quorum_changes_under_load_and_a_crash_loses_nothing(void)
{
    for (raft_id victim = 1; victim <= 5; victim++) {
        for (int moment = 0; moment < 8; moment++) {
            struct cluster *cluster = start_with_quorum(5, 2);
            raft_member members[5];
            raft_membership is;
            raft_membership_init(&is);
            CHECK(cluster_elect(cluster, 1));
            cluster->latency_ms = 5;
            CHECK(cluster_propose(cluster, 1, "load") > 0);
            cluster_run(cluster, 100);
            CHECK_EQ(raft_get_membership(cluster->nodes[1].raft, &is, members, 5), RAFT_OK);
            is.commit_quorum = 4;
            is.members = members;
            CHECK_EQ(raft_set_membership(cluster->nodes[1].raft, &is, 0, NULL, NULL), RAFT_OK);
            for (int i = 0; i < moment; i++) {
                cluster_propose(cluster, 1, "load");
                cluster_run(cluster, 5);
            }
            cluster_crash(cluster, victim);
            cluster_run(cluster, 4 * LONGEST);
            CHECK_EQ(cluster_restart(cluster, victim), RAFT_OK);
            cluster_run(cluster, 4 * LONGEST);
            CHECK(cluster_propose(cluster, cluster_leader(cluster), "after") > 0);
            cluster_run(cluster, T);
            CHECK(cluster_converged(cluster));
            CHECK_EQ(cluster_status(cluster, 1).membership_joint, 0);
            CLUSTER_DONE(cluster);
        }
    }
}

static int change(struct cluster *cluster, raft_id leader, raft_id first, size_t count,
                  raft_id learner)
{
    raft_member members[6] = {{.id = 0}};
    raft_membership wish;
    raft_membership_init(&wish);
    for (size_t i = 0; i < count; i++) {
        members[i].id = first + i;
        members[i].role = RAFT_MEMBER_VOTER;
    }
    if (learner != 0) {
        members[count].id = learner;
        members[count++].role = RAFT_MEMBER_LEARNER;
    }
    wish.members = members;
    wish.member_count = count;
    return raft_set_membership(cluster->nodes[leader].raft, &wish,
                               cluster_status(cluster, leader).membership_version, NULL, NULL);
}

/* "commit >= L" is not enough: it may be known from promises, or L may be 0 (P10). */
static void membership_is_not_changed_before_a_commit_quorum_has_accepted_the_term(void)
{
    for (int with_log = 0; with_log < 2; with_log++) {
        struct cluster *cluster = start_frank(4);
        CHECK(cluster_elect(cluster, 1));
        if (with_log) {
            CHECK(cluster_propose(cluster, 1, "known to all") > 0);
            cluster_run(cluster, T);
        }
        cluster_crash(cluster, 1);
        cluster_drop_all(cluster, 0, 0);
        lead_unheard(cluster, 3, 2, 4);
        CHECK_EQ(cluster_commit(cluster, 3), cluster_status(cluster, 3).last_index);
        for (int beats = 0; beats < 3; beats++) { /* all are alive, and have accepted nothing */
            cluster_advance(cluster, 100);
            for (raft_id to = 2; to <= 4; to += 2) {
                while (cluster_queued(cluster, 3, to) > 0) {
                    if (cluster_peek(cluster, 3, to, 0)->message.kind == RAFT_MESSAGE_HEARTBEAT) {
                        cluster_deliver(cluster, 3, to);
                    } else {
                        cluster_drop(cluster, 3, to);
                    }
                }
                cluster_deliver_all(cluster, to, 3);
            }
            CHECK_EQ(change(cluster, 3, 2, 3, 0), RAFT_EBUSY);
        }
        cluster_run(cluster, 300);
        CHECK_EQ(cluster_role(cluster, 3), RAFT_ROLE_LEADER);
        CHECK_EQ(change(cluster, 3, 2, 3, 0), RAFT_OK);
        cluster_run(cluster, T);
        CHECK_EQ(cluster_status(cluster, 3).voter_count, 3);
        CLUSTER_DONE(cluster);
    }
}

/* 3 adopts the entry that removes it, leads to commit it, and hands over (P9, R46). */
static void candidate_that_the_adopted_membership_removes_commits_it_and_hands_over(void)
{
    struct cluster *cluster = start_frank(3);
    CHECK(cluster_elect(cluster, 1));
    CHECK(cluster_propose(cluster, 1, "before") > 0);
    cluster_run(cluster, T);
    cluster_isolate(cluster, 3);
    cluster_cut(cluster, 2, 1); /* 1 does not learn that it is committed */
    CHECK_EQ(change(cluster, 1, 1, 2, 0), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_status(cluster, 2).last_index, 2);
    cluster_crash(cluster, 1);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_heal_all(cluster);
    size_t reigns = cluster->reign_count;
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK(cluster->reign_count > reigns);
    CHECK_EQ(cluster->reigns[reigns].id, 3);
    cluster_run(cluster, 3 * LONGEST);
    CHECK(cluster_leader(cluster) == 1 || cluster_leader(cluster) == 2);
    CHECK(cluster_role(cluster, 3) != RAFT_ROLE_LEADER);
    CHECK_EQ(cluster_status(cluster, 1).voter_count, 2);
    CHECK_EQ(cluster_commit(cluster, 1) >= 2, 1);
    CHECK(cluster_propose(cluster, cluster_leader(cluster), "after") > 0);
    cluster_run(cluster, T);
    CHECK_EQ(cluster_commit(cluster, 1), cluster_commit(cluster, 2));
    CLUSTER_DONE(cluster);
}

/* Three voters have become five under 1, and 3, cut off, knows of 1, 2 and 3 only. */
static struct cluster *make_grown_without_3(void)
{
    struct cluster *cluster = make_frank(5);
    cluster->founders = 3;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(change(cluster, 1, 1, 3, 4), RAFT_OK);
    cluster_run(cluster, T);
    cluster_isolate(cluster, 3);
    CHECK_EQ(change(cluster, 1, 1, 4, 5), RAFT_OK);
    cluster_run(cluster, 2 * T);
    CHECK_EQ(change(cluster, 1, 1, 5, 0), RAFT_OK);
    cluster_run(cluster, T);
    return cluster;
}

/* What was a Q1 of the own membership is none of the one adopted: the others are asked (P9). */
static void adopted_membership_asks_for_promises_of_its_own(void)
{
    struct cluster *cluster = make_grown_without_3();
    CHECK_EQ(cluster_status(cluster, 2).voter_count, 5);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    cluster_split(cluster, 3, 4);
    cluster_split(cluster, 3, 5);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_settle(cluster); /* 2 and 3 were a Q1 of three, and are none of five */
    CHECK(cluster_role(cluster, 3) != RAFT_ROLE_LEADER);
    CHECK(cluster_status(cluster, 3).last_index == cluster_status(cluster, 2).last_index);
    CHECK(stored_round(cluster, 3) < cluster_term(cluster, 3)); /* nothing is decided yet */
    cluster_heal_all(cluster);
    CHECK(cluster_elect(cluster, 3));
    CHECK_EQ(cluster_status(cluster, 3).voter_count, 5);
    cluster_settle(cluster);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

/* Those whom only the adopted membership asks hold more than those who were a Q1 before (P9). */
static void best_log_is_chosen_anew_when_more_have_promised(void)
{
    struct cluster *cluster = make_grown_without_3();
    cluster_isolate(cluster, 2);
    cluster_cut(cluster, 4, 1);
    cluster_cut(cluster, 5, 1);
    raft_index chosen = cluster_propose(cluster, 1, "chosen by 1, 4 and 5");
    cluster_settle(cluster);
    CHECK(cluster_commit(cluster, 1) < chosen); /* so no promise tells of it by its commit index */
    CHECK(cluster_stored(cluster, 4, chosen) != NULL);
    CHECK(cluster_stored(cluster, 5, chosen) != NULL);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    CHECK(cluster_status(cluster, 2).last_index < chosen);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_settle(cluster); /* 2 and 3 first, whose log has it that 4 and 5 are asked */
    CHECK_EQ(cluster_role(cluster, 3), RAFT_ROLE_LEADER);
    CHECK_STR(cluster_applied_text(cluster, 3, chosen), "chosen by 1, 4 and 5");
    CLUSTER_DONE(cluster);
}

static void promises_and_acknowledgements_of_learners_do_not_count(void)
{
    struct cluster *cluster = make_frank(4);
    cluster->founders = 3;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(change(cluster, 1, 1, 3, 4), RAFT_OK);
    cluster_run(cluster, T);
    raft_index last = cluster_status(cluster, 1).last_index;
    cluster_isolate(cluster, 2);
    cluster_isolate(cluster, 3);
    CHECK_EQ(cluster_propose(cluster, 1, "at a learner"), last + 1);
    cluster_settle(cluster);
    CHECK(cluster_stored(cluster, 4, last + 1) != NULL);
    CHECK_EQ(cluster_commit(cluster, 1), last);
    cluster_crash(cluster, 1);
    cluster_drop_all(cluster, 0, 0);
    cluster_heal_all(cluster);
    cluster_isolate(cluster, 3);
    cluster_crash(cluster, 3);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    uint64_t mark = cluster_mark(cluster);
    cluster_poll(cluster, 2);
    raft_message grant =
        cluster_forge(cluster, 4, 2, cluster_term(cluster, 2), RAFT_MESSAGE_VOTE_REPLY);
    const struct cluster_message *asked = cluster_sent(cluster, mark, 2, 0, RAFT_MESSAGE_VOTE);
    CHECK(asked != NULL);
    grant.round = asked->message.round;
    CHECK_EQ(cluster_inject(cluster, 2, &grant), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_CANDIDATE);
    CLUSTER_DONE(cluster);
}

/*
 * What a deposed leader had taken and nobody adopted: the next leader writes nothing in its place by
 * itself, so that nothing would ever judge it. It is told as unknown, once (R62, I29).
 */
static void proposals_that_nobody_adopted_are_told_as_unknown(void)
{
    struct cluster *cluster = start_group(3);
    CHECK(cluster_elect(cluster, 1));
    raft_term term = cluster_term(cluster, 1);
    CHECK_EQ(cluster_propose(cluster, 1, "chosen"), 1);
    cluster_settle(cluster);
    cluster_isolate(cluster, 1);
    CHECK_EQ(cluster_propose(cluster, 1, "unheard"), 2);
    CHECK_EQ(cluster_propose(cluster, 1, "unheard"), 3);
    cluster_settle(cluster);
    CHECK(cluster_elect(cluster, 2));
    cluster_heal_all(cluster);
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_status(cluster, 1).last_index, 1);
    CHECK_EQ(cluster_outcome(cluster, 1, 2, term), RAFT_EUNKNOWN);
    CHECK_EQ(cluster_outcome(cluster, 1, 3, term), RAFT_EUNKNOWN);
    CHECK_EQ(cluster_event_count(cluster, 1, 0, RAFT_EVENT_DROPPED), 1);
    CLUSTER_DONE(cluster);
}

/* An append without entries, of a leader whose log ends at `last` (P6). */
static int adopt_from(lone *l, raft_id leader, raft_term round, raft_index last,
                      raft_term last_term)
{
    raft_message append = lone_message(RAFT_MESSAGE_APPEND, leader, lone_term(leader, round));
    append.index = last;
    append.index_term = last_term;
    append.round = 1;
    append.flags = RAFT_FLAG_THROUGH;
    return lone_receive(l, &append);
}

/* Two leaders adopt less and less of it between two polls: what both leave out is told once (I29). */
static void proposals_that_two_leaders_leave_out_are_told_once(void)
{
    lone l;
    cluster_protocol = RAFT_PROTOCOL_MULTIPAXOS;
    lone_init(&l);
    lone_boot(&l);
    CHECK(lone_lead(&l));
    raft_term term = lone_status(&l).term;
    CHECK_EQ(lone_propose(&l), 1);
    CHECK_EQ(lone_propose(&l), 2);
    CHECK_EQ(lone_poll(&l), RAFT_OK);
    CHECK_EQ(lone_propose(&l), 3);
    CHECK_EQ(lone_propose(&l), 4);
    lone_clear(&l);
    CHECK_EQ(adopt_from(&l, 2, 2, 2, term), RAFT_OK);
    CHECK_EQ(lone_status(&l).last_index, 2);
    CHECK_EQ(adopt_from(&l, 3, 3, 1, term), RAFT_OK);
    CHECK_EQ(lone_poll(&l), RAFT_OK);
    CHECK_EQ(lone_status(&l).last_index, 1);
    raft_index told = 0;
    for (size_t i = 0; i < l.event_count; i++) {
        if (l.events[i].kind == RAFT_EVENT_DROPPED) {
            CHECK_EQ(l.events[i].status, RAFT_EUNKNOWN);
            CHECK(l.events[i].first >= 2 && l.events[i].last <= 4);
            told += l.events[i].last - l.events[i].first + 1;
        }
    }
    CHECK_EQ(told, 3);
    CHECK_STR(lone_close(&l), "sound");
    cluster_protocol = RAFT_PROTOCOL_RAFT;
}

/* A piece of a snapshot, from one that was pulled from before, says nothing to whose term it is. */
static void piece_that_comes_after_its_pull_is_ignored(void)
{
    struct cluster *cluster = start_group(3);
    CHECK(cluster_elect(cluster, 1));
    raft_term term = cluster_term(cluster, 1);
    raft_message piece = cluster_forge(cluster, 2, 1, term, RAFT_MESSAGE_SNAPSHOT);
    piece.index = 5;
    piece.index_term = term;
    piece.offset = 3;
    piece.chunk.data = "abc";
    piece.chunk.size = 3;
    piece.round = 1;
    CHECK_EQ(cluster_inject(cluster, 1, &piece), RAFT_OK);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CHECK(!cluster_status(cluster, 1).installing);
    CLUSTER_DONE(cluster);
}

/* A candidacy that memory does not allow leaves nothing of the order behind (R23). */
static void order_to_campaign_without_memory_is_forgotten(void)
{
    uint64_t failed = 1;
    for (uint64_t call = 1; failed > 0; call++) {
        struct cluster *cluster = start_group(3);
        CHECK(cluster_elect(cluster, 1));
        CHECK_EQ(raft_transfer(cluster->nodes[1].raft, 3), RAFT_OK);
        cluster_poll(cluster, 1);
        struct cluster_memory *memory = &cluster->nodes[3].memory;
        memory->fail_at = memory->calls + call;
        cluster_deliver_all(cluster, 1, 3);
        cluster_poll(cluster, 3);
        failed = memory->failed;
        memory->fail_at = 0;
        cluster_run(cluster, 3 * LONGEST);
        CHECK(cluster_stable_leader(cluster) != 0);
        CLUSTER_DONE(cluster);
        CHECK(call < 100);
        CHECK(call > 1 || failed > 0); /* something was asked for */
    }
}

int main(void)
{
    RUN(fresh_group_has_one_leader_and_its_term_is_its_own);
    RUN(shorter_log_wins_and_adopts_the_longer_one);
    RUN(best_log_pulls_nothing);
    RUN(stored_membership_of_the_other_protocol_is_refused);
    RUN(conversion_of_a_membership_changes_its_protocol_alone);
    RUN(entry_on_one_follower_is_committed_where_that_one_promises);
    RUN(entry_on_one_follower_is_overwritten_where_that_one_is_not_asked);
    RUN(of_two_rival_suffixes_of_one_length_that_of_the_newer_round_is_adopted);
    RUN(shorter_suffix_of_a_newer_round_wins_over_a_longer_one);
    RUN(figure_8_entry_is_committed_without_one_of_the_own_term_and_stays);
    RUN(higher_priority_leads_though_its_log_is_shorter);
    RUN(transfer_to_a_lagging_voter_succeeds_at_once);
    RUN(read_after_an_election_waits_for_what_was_adopted);
    RUN(promise_that_a_crash_crosses_is_not_sent_or_is_kept);
    RUN(ballot_that_is_not_durable_is_not_on_the_wire);
    RUN(term_learnt_from_others_is_promised_to_its_owner_and_to_nobody_else);
    RUN(promises_of_older_ballots_elect_nobody);
    RUN(prepare_of_an_older_ballot_is_refused_with_the_newer_one);
    RUN(duelling_candidates_without_pre_votes_end_by_their_timers);
    RUN(deposed_leader_follows_and_does_not_campaign_at_once);
    RUN(last_round_is_used_and_none_comes_after_it);
    RUN(message_of_the_other_mode_is_refused_and_counted);
    RUN(source_that_promises_a_higher_term_ends_the_pull);
    RUN(half_pulled_log_keeps_the_round_it_had_and_survives_a_crash);
    RUN(nothing_is_cut_before_the_promises_are_complete);
    RUN(source_that_is_silent_is_left_out_and_the_rest_is_no_quorum);
    RUN(long_pull_is_not_preempted_where_pre_votes_are_asked);
    RUN(source_that_has_compacted_gives_its_snapshot_first);
    RUN(removed_server_that_was_not_told_pulls_from_storage);
    RUN(entries_come_from_the_best_log_and_no_snapshot_from_another);
    RUN(append_that_overtakes_its_predecessor_is_refused_with_a_hint);
    RUN(heartbeat_commits_nothing_beyond_what_this_term_certified);
    RUN(commit_stands_on_others_while_the_leaders_own_write_hangs);
    RUN(leader_is_not_counted_before_its_own_write_is_durable);
    RUN(round_is_accepted_when_the_log_reaches_what_was_adopted_and_not_before);
    RUN(stale_tail_is_gone_from_the_disk_before_the_round_is_accepted);
    RUN(entries_are_on_the_disk_before_the_round_is_accepted);
    RUN(candidate_leads_when_what_it_adopted_and_its_round_are_on_the_disk);
    RUN(candidate_cuts_what_the_best_log_has_not);
    RUN(restart_that_lost_the_commit_index_learns_it_again);
    RUN(of_four_two_commit_and_three_elect);
    RUN(of_five_one_elects_where_all_must_commit);
    RUN(commit_quorum_changes_under_load_and_a_crash_loses_nothing);
    RUN(membership_is_not_changed_before_a_commit_quorum_has_accepted_the_term);
    RUN(candidate_that_the_adopted_membership_removes_commits_it_and_hands_over);
    RUN(adopted_membership_asks_for_promises_of_its_own);
    RUN(best_log_is_chosen_anew_when_more_have_promised);
    RUN(promises_and_acknowledgements_of_learners_do_not_count);
    RUN(proposals_that_nobody_adopted_are_told_as_unknown);
    RUN(proposals_that_two_leaders_leave_out_are_told_once);
    RUN(piece_that_comes_after_its_pull_is_ignored);
    RUN(order_to_campaign_without_memory_is_forgotten);
    return check_done();
}
