/*
 * Handing over where the membership or a lease has a say: leaders that a membership leaves out
 * (R46), targets that may not lead (R53), orders under promises (R50, R53), priorities (R55).
 */
#include "check.h"
#include "cluster.h"
#include "lone.h"
#include "members.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t T = 1000;
static const uint64_t LONGEST = 2000;
static const uint64_t FOUR_TIMEOUTS = 8000;

static struct cluster *group(size_t founders, size_t count)
{
    struct cluster *cluster = cluster_create(count);
    cluster->founders = founders;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    CHECK(cluster_propose(cluster, 1, "before") > 0);
    cluster_run(cluster, T);
    return cluster;
}

static int transfer(struct cluster *cluster, raft_id leader, raft_id target)
{
    int code = raft_transfer(cluster->nodes[leader].raft, target);
    cluster->nodes[leader].spin_count = 0;
    return code;
}

static int has_leader(struct cluster *cluster)
{
    return cluster_stable_leader(cluster) != 0;
}

/* ---- A leader that is left out -------------------------------------------------------------- */

static void a_leader_that_is_removed_hands_over_at_once_and_is_silent_then(void)
{
    struct cluster *cluster = group(3, 3);
    raft_term term = cluster_term(cluster, 1);
    uint64_t since = cluster->now_ms;
    CHECK_EQ(change(cluster, 1, "2 3"), RAFT_OK);
    cluster_run(cluster, 200);
    raft_id leader = cluster_leader(cluster);
    CHECK(leader == 2 || leader == 3);
    CHECK(cluster->now_ms - since < T);
    CHECK_EQ(cluster_term(cluster, leader), cluster_later(cluster, term, 1, leader));
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_status(cluster, 1).counters.transfers_begun, 1);
    CHECK(cluster_commit(cluster, 5 - leader) >= version_at(cluster, leader));
    uint64_t mark = cluster_mark(cluster);
    cluster_run(cluster, 5 * FOUR_TIMEOUTS);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, 0), 0);
    CHECK_EQ(cluster_leader(cluster), leader);
    CHECK_EQ(cluster_term(cluster, leader), cluster_later(cluster, term, 1, leader));
    int code;
    CHECK_EQ(cluster_propose_code(cluster, 1, "no", &code), 0);
    CHECK_EQ(code, RAFT_ENOTMEMBER);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_ENOTMEMBER);
    CLUSTER_DONE(cluster);
}

static void a_leader_that_is_demoted_hands_over_and_follows_as_a_learner(void)
{
    struct cluster *cluster = group(3, 3);
    CHECK_EQ(change(cluster, 1, "1l 2 3"), RAFT_OK);
    cluster_run(cluster, 200);
    raft_id leader = cluster_leader(cluster);
    CHECK(leader == 2 || leader == 3);
    raft_index index = cluster_propose(cluster, leader, "for the learner too");
    cluster_run(cluster, T);
    CHECK_STR(cluster_applied_text(cluster, 1, index), "for the learner too");
    CHECK_EQ(cluster_status(cluster, 1).leader, leader);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_ENOTMEMBER);
    CLUSTER_DONE(cluster);
}

/* Nobody takes over: it goes all the same, one election timeout after its removal is committed. */
static void a_removed_leader_that_finds_no_successor_steps_down_after_one_timeout(void)
{
    struct cluster *cluster = group(3, 3);
    CHECK_EQ(change(cluster, 1, "2 3"), RAFT_OK);
    cluster_poll(cluster, 1);
    for (raft_id id = 2; id <= 3; id++) {
        cluster_deliver_all(cluster, 1, id);
        cluster_poll(cluster, id);
    }
    cluster_cut(cluster, 1, 0); /* it hears that all is committed, and is not heard any more */
    cluster_deliver_all(cluster, 2, 1);
    cluster_deliver_all(cluster, 3, 1);
    CHECK_EQ(cluster_commit(cluster, 1), version_at(cluster, 1));
    cluster_hold(cluster, 2, 3); /* and the others elect nobody who could depose it */
    cluster_hold(cluster, 3, 2);
    uint64_t since = cluster_clock(cluster, 1);
    for (int beats = 0; beats < 40 && cluster_role(cluster, 1) == RAFT_ROLE_LEADER; beats++) {
        for (raft_id id = 2; id <= 3; id++) { /* they seem to answer, so the quorum is fine */
            raft_message reply = cluster_forge(cluster, id, 1, cluster_term(cluster, 1),
                                               RAFT_MESSAGE_HEARTBEAT_REPLY);
            CHECK_EQ(cluster_inject(cluster, 1, &reply), RAFT_OK);
        }
        cluster_advance_node(cluster, 1, 50);
    }
    uint64_t took = cluster_clock(cluster, 1) - since;
    CHECK(took >= LONGEST && took <= LONGEST + 100);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_FOLLOWER);
    uint64_t mark = cluster_mark(cluster);
    cluster_advance_node(cluster, 1, FOUR_TIMEOUTS);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, 0), 0);
    CLUSTER_DONE(cluster);
}

/* R44, R46: the exit from the joint membership waits for the transfer, whoever leads then. */
static void a_joint_exit_that_is_due_during_a_transfer_happens_afterwards(void)
{
    for (int succeeds = 0; succeeds < 2; succeeds++) {
        struct cluster *cluster = group(3, 5);
        CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_OK);
        cluster_run(cluster, 2 * LONGEST);
        cluster_cut(cluster, 1, 3);
        CHECK_EQ(change(cluster, 1, "1 2 3 4 5"), RAFT_OK);
        CHECK_EQ(cluster_status(cluster, 1).membership_joint, 1);
        CHECK_EQ(transfer(cluster, 1, 3), RAFT_OK);
        cluster_settle(cluster);
        cluster_run(cluster, 100);
        CHECK(cluster_commit(cluster, 1) >= version_at(cluster, 1));
        CHECK_EQ(cluster_status(cluster, 1).membership_joint, 1);
        if (succeeds) {
            cluster_heal_all(cluster);
        }
        cluster_run(cluster, 2 * LONGEST);
        cluster_heal_all(cluster);
        cluster_run(cluster, 2 * LONGEST);
        raft_id leader = cluster_stable_leader(cluster);
        CHECK(leader != 0 && (!succeeds || leader == 3));
        for (raft_id id = 1; id <= 5; id++) {
            CHECK_EQ(cluster_status(cluster, id).membership_joint, 0);
            CHECK_EQ(cluster_status(cluster, id).voter_count, 5);
        }
        size_t configs = 0;
        for (raft_index index = 1; cluster_stored(cluster, 2, index) != NULL; index++) {
            configs += cluster_stored(cluster, 2, index)->kind == RAFT_ENTRY_CONFIG;
        }
        CHECK_EQ(configs, 3); /* learners added, joint, left: once each */
        CLUSTER_DONE(cluster);
    }
}

static void the_leader_is_replaced_by_a_joiner_to_which_it_hands_over_midway(void)
{
    struct cluster *cluster = group(3, 5);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_OK);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_EQ(change(cluster, 1, "2 3 4 5"), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 1).membership_joint, 1);
    CHECK_EQ(transfer(cluster, 1, 4), RAFT_OK);
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_stable_leader(cluster), 4);
    CHECK_EQ(cluster_status(cluster, 4).membership_joint, 0);
    CHECK_EQ(cluster_status(cluster, 4).voter_count, 4);
    raft_term term = cluster_term(cluster, 4);
    cluster_run(cluster, 2 * FOUR_TIMEOUTS); /* it may ask, not having heard that it is removed */
    CHECK_EQ(cluster_stable_leader(cluster), 4);
    CHECK_EQ(cluster_term(cluster, 4), term);
    CLUSTER_DONE(cluster);
}

/* The best target is one that stays: not a voter that is about to leave. */
static void the_best_target_is_a_voter_of_the_membership_to_come(void)
{
    struct cluster *cluster = group(3, 5);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_OK);
    cluster_run(cluster, 2 * LONGEST);
    cluster_hold(cluster, 4, 1);
    cluster_hold(cluster, 5, 1);
    CHECK_EQ(change(cluster, 1, "1 4 5"), RAFT_OK); /* 2 and 3 are further now, but leave */
    cluster_settle(cluster);
    CHECK_EQ(transfer(cluster, 1, 0), RAFT_OK);
    raft_id target = cluster_status(cluster, 1).transfer_target;
    CHECK(target == 4 || target == 5);
    cluster_heal_all(cluster);
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_stable_leader(cluster), target);
    CLUSTER_DONE(cluster);
}

static void a_membership_is_not_changed_while_leadership_is_handed_over(void)
{
    struct cluster *cluster = group(3, 3);
    cluster_hold(cluster, 1, 2);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    CHECK_EQ(change(cluster, 1, "1 2"), RAFT_ETRANSFER);
    CLUSTER_DONE(cluster);
}

/* ---- Who may not lead ----------------------------------------------------------------------- */

static void learners_and_witnesses_are_no_targets_and_obey_no_order(void)
{
    struct cluster *cluster = group(2, 4);
    CHECK_EQ(change(cluster, 1, "1 2 3l 4w"), RAFT_OK);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_EQ(cluster_status(cluster, 1).voter_count, 3);
    CHECK_EQ(transfer(cluster, 1, 3), RAFT_EARG);
    CHECK_EQ(transfer(cluster, 1, 4), RAFT_EARG);
    for (raft_id id = 3; id <= 4; id++) {
        raft_message order =
            cluster_forge(cluster, 1, id, cluster_term(cluster, 1), RAFT_MESSAGE_TRANSFER);
        order.tag_term = order.term;
        order.tag_round = 1;
        CHECK_EQ(cluster_inject(cluster, id, &order), RAFT_OK);
        CHECK_EQ(cluster_role(cluster, id), RAFT_ROLE_FOLLOWER);
        CHECK_EQ(raft_campaign(cluster->nodes[id].raft), RAFT_ENOTMEMBER);
    }
    CHECK_EQ(transfer(cluster, 1, 0), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 1).transfer_target, 2);
    cluster_run(cluster, T);
    CHECK_EQ(cluster_leader(cluster), 2);
    CLUSTER_DONE(cluster);
}

static void an_order_that_reaches_a_retired_server_is_ignored(void)
{
    struct cluster *cluster = group(4, 4);
    cluster_hold(cluster, 1, 4);
    CHECK_EQ(transfer(cluster, 1, 4), RAFT_OK);
    cluster_run(cluster, 100);
    const struct cluster_message *order = cluster_sent(cluster, 0, 1, 4, RAFT_MESSAGE_TRANSFER);
    CHECK(order != NULL);
    uint64_t number = order->number;
    cluster_drop_all(cluster, 1, 4);
    cluster_heal_all(cluster);
    cluster_run(cluster, LONGEST); /* told once more, it has led meanwhile */
    CHECK(cluster_elect(cluster, 1));
    raft_id leader = 1;
    CHECK(cluster_propose(cluster, 1, "of this term") > 0);
    cluster_run(cluster, T);
    CHECK_EQ(change(cluster, 1, "1 2 3"), RAFT_OK);
    cluster_run(cluster, LONGEST);
    raft_term term = cluster_term(cluster, leader);
    CHECK_EQ(cluster_replay(cluster, number), RAFT_OK);
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_role(cluster, 4), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_leader(cluster), leader);
    CHECK_EQ(cluster_term(cluster, leader), term);
    CLUSTER_DONE(cluster);
}

/* ---- Leases --------------------------------------------------------------------------------- */

static struct cluster *leased_group(uint32_t lease_ms)
{
    struct cluster *cluster = cluster_create(3);
    cluster->lease_ms = lease_ms;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    CHECK(cluster_propose(cluster, 1, "before") > 0);
    cluster_run(cluster, T);
    CHECK(cluster_status(cluster, 1).lease_until_ms > cluster->now_ms);
    return cluster;
}

static void a_transfer_overrides_the_promises_that_were_given_to_the_leader(void)
{
    struct cluster *cluster = leased_group(3000);
    uint64_t since = cluster->now_ms;
    CHECK(cluster_status(cluster, 3).promised_until_ms > cluster->now_ms);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_stable_leader(cluster), 2);
    CHECK_EQ(cluster->now_ms, since);
    CLUSTER_DONE(cluster);
}

/* From the order to the end of the transfer no lease; after an abort only a fresh round gives one. */
static void the_lease_is_void_from_the_order_until_a_fresh_round_after_an_abort(void)
{
    struct cluster *cluster = leased_group(3000);
    cluster_cut(cluster, 1, 2);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster_settle(cluster);
    CHECK(cluster_sent(cluster, 0, 1, 2, RAFT_MESSAGE_TRANSFER) != NULL);
    CHECK_EQ(cluster_status(cluster, 1).lease_until_ms, 0);
    uint64_t mark = cluster_mark(cluster);
    cluster_run(cluster, LONGEST - 1);
    for (const struct cluster_message *m;
         (m = cluster_sent(cluster, mark, 1, 3, RAFT_MESSAGE_HEARTBEAT)) != NULL;
         mark = m->number) {
        CHECK_EQ(m->message.flags & RAFT_FLAG_CREDIT, 0);
    }
    CHECK_EQ(cluster_status(cluster, 1).lease_until_ms, 0);
    CHECK_EQ(raft_read_lease(cluster->nodes[1].raft, 5), RAFT_OK);
    cluster_settle(cluster); /* by a round then */
    CHECK_EQ(cluster_read_answer(cluster, 1, 5)->status, RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 1).counters.reads_by_lease, 0);
    cluster_hold(cluster, 3, 1);
    cluster_run(cluster, 1);
    CHECK_EQ(cluster_status(cluster, 1).transfer_target, 0);
    CHECK_EQ(cluster_status(cluster, 1).lease_until_ms, 0); /* aborted: not by that alone */
    cluster_heal_all(cluster);
    cluster_run(cluster, 100);
    CHECK(cluster_status(cluster, 1).lease_until_ms > cluster->now_ms);
    CHECK_EQ(cluster_leader(cluster), 1);
    CLUSTER_DONE(cluster);
}

/* R53: an order that was overtaken by an abort and a renewed lease deposes no lease holder. */
static void an_order_older_than_the_renewed_lease_is_not_obeyed(void)
{
    struct cluster *cluster = leased_group(3000);
    cluster_hold(cluster, 1, 2);
    CHECK_EQ(transfer(cluster, 1, 2), RAFT_OK);
    cluster_settle(cluster);
    const struct cluster_message *order = cluster_sent(cluster, 0, 1, 2, RAFT_MESSAGE_TRANSFER);
    uint64_t number = order->number;
    CHECK(order != NULL);
    CHECK_EQ(transfer(cluster, 1, 3), RAFT_OK); /* replaced, and that one is lost as well */
    cluster_drop_all(cluster, 1, 2);
    cluster_heal_all(cluster);
    cluster_cut(cluster, 1, 3);
    cluster_run(cluster, LONGEST); /* given up; both promise again by what follows */
    cluster_heal_all(cluster);
    cluster_run(cluster, 300);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK(cluster_status(cluster, 1).lease_until_ms > cluster->now_ms);
    raft_term term = cluster_term(cluster, 1);
    CHECK_EQ(cluster_replay(cluster, number), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CLUSTER_DONE(cluster);
}

/* The same with the ordered vote: neither the voters nor the leader itself follow it. */
static void an_ordered_vote_older_than_the_renewed_lease_is_refused_by_voter_and_leader(void)
{
    struct cluster *cluster = leased_group(3000);
    raft_term term = cluster_term(cluster, 1);
    raft_index last = cluster_status(cluster, 1).last_index;
    for (raft_id to = 1; to <= 3; to += 2) {
        raft_message vote = cluster_forge(cluster, 2, to, term + 1, RAFT_MESSAGE_VOTE);
        vote.round = 500;
        vote.index = last;
        vote.index_term = term;
        vote.tag_term = term;
        vote.tag_round = 1; /* of long ago */
        CHECK_EQ(cluster_inject(cluster, to, &vote), RAFT_OK);
        CHECK_EQ(cluster_term(cluster, to), term);
        CHECK_EQ(cluster_sent(cluster, 0, to, 2, RAFT_MESSAGE_VOTE_REPLY)->message.refused, 1);
    }
    CHECK_EQ(cluster_leader(cluster), 1);
    CLUSTER_DONE(cluster);
}

static void under_a_promise_the_leader_is_not_forgotten_and_nobody_campaigns(void)
{
    struct cluster *cluster = leased_group(3000);
    uint64_t before = cluster_fingerprint(cluster, 2);
    CHECK_EQ(raft_forget_leader(cluster->nodes[2].raft), RAFT_EBUSY);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_EBUSY);
    CHECK_EQ(cluster_fingerprint(cluster, 2), before);
    cluster_crash(cluster, 1);
    cluster_drop_all(cluster, 0, 0);
    cluster_run(cluster, 3001);
    CHECK_EQ(raft_forget_leader(cluster->nodes[2].raft), RAFT_OK);
    CLUSTER_DONE(cluster);
}

/* With leases a quorum that is told to campaign replaces the leader only when promises have ended. */
static void a_quorum_told_to_campaign_waits_for_the_end_of_its_promises(void)
{
    struct cluster *cluster = leased_group(3000);
    uint64_t lease_until = cluster_status(cluster, 1).lease_until_ms;
    cluster_isolate(cluster, 1);
    uint64_t since = cluster->now_ms;
    while (cluster_leader(cluster) <= 1 && cluster->now_ms < since + 2 * FOUR_TIMEOUTS) {
        raft_campaign(cluster->nodes[2].raft);
        raft_campaign(cluster->nodes[3].raft);
        cluster_poll(cluster, 2);
        cluster_poll(cluster, 3);
        cluster_drop_all(cluster, 3, 0);
        cluster_run(cluster, 50);
    }
    CHECK(cluster_leader(cluster) > 1);
    CHECK(cluster->now_ms >= lease_until);
    CLUSTER_DONE(cluster);
}

/* ---- Priorities ----------------------------------------------------------------------------- */

static struct cluster *preferring(uint64_t seed, const uint32_t *priorities, size_t count)
{
    struct wish wish;
    struct cluster *cluster = cluster_create(count);
    for (raft_id id = 1; id <= count; id++) {
        cluster->nodes[id].options.seed = seed * 7919;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    wish_for(&wish, count == 3 ? "1 2 3" : "1 2 3 4 5");
    for (size_t i = 0; i < count; i++) {
        wish.members[i].priority = priorities[i];
    }
    CHECK_EQ(ask(cluster, 1, &wish), RAFT_OK);
    cluster_run(cluster, T);
    return cluster;
}

static void the_favoured_voter_campaigns_first(void)
{
    static const uint32_t priorities[] = {0, 0, 9, 0, 0};
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct cluster *cluster = preferring(seed, priorities, 5);
        cluster_crash(cluster, 1);
        CHECK(cluster_run_until(cluster, has_leader, 2 * LONGEST));
        CHECK_EQ(cluster_stable_leader(cluster), 3);
        CHECK_EQ(cluster_sent_count(cluster, 0, 2, 0, RAFT_MESSAGE_PRE_VOTE), 0);
        CLUSTER_DONE(cluster);
    }
}

/* Whatever is favoured and cannot lead: dead, or alive and cut off from what it needs. */
static void favour_never_blocks_an_election(void)
{
    static const uint32_t priorities[] = {255, 0, 100, 7, 200};
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct cluster *cluster = preferring(seed, priorities, 5);
        uint64_t since = cluster->now_ms;
        cluster_crash(cluster, 1);
        if (seed % 2) {
            cluster_crash(cluster, 5);
        } else {
            cluster_cut(cluster, 5, 0); /* it hears all, and nobody hears it */
        }
        CHECK(cluster_run_until(cluster, has_leader, FOUR_TIMEOUTS));
        CHECK(cluster->now_ms - since <= FOUR_TIMEOUTS);
        CLUSTER_DONE(cluster);
    }
}

/* From its last sign of life, or `since`, a lonely voter asks after so much and its usual draw. */
static void expect_delay(struct cluster *cluster, raft_id id, uint64_t since, uint64_t delay)
{
    uint64_t mark = cluster_mark(cluster);
    while (cluster_sent(cluster, mark, id, 0, RAFT_MESSAGE_PRE_VOTE) == NULL) {
        CHECK(cluster_clock(cluster, id) < since + delay + LONGEST);
        cluster_advance_node(cluster, id, 1);
    }
    CHECK(cluster_clock(cluster, id) >= since + delay + T);
}

/* T for each level above, three at most, and half of it at every further attempt. */
static void the_delay_is_a_timeout_a_level_and_halves_until_a_leader_is_heard(void)
{
    static const uint32_t priorities[] = {255, 0, 100, 7, 200};
    static const uint64_t levels[] = {0, 0, 3, 2, 3, 1};
    for (raft_id id = 2; id <= 5; id++) {
        struct cluster *cluster = preferring(1, priorities, 5);
        for (int again = 0; again < 2; again++) {
            uint64_t delay = levels[id] * T;
            cluster_isolate(cluster, id);
            expect_delay(cluster, id, cluster_status(cluster, id).last_contact_ms, delay);
            for (int attempt = 1; attempt < 5; attempt++) {
                delay /= 2;
                expect_delay(cluster, id, cluster_clock(cluster, id), delay);
            }
            cluster_heal_all(cluster);
            cluster_run(cluster, LONGEST);
            CHECK_EQ(cluster_status(cluster, id).leader, 1);
        }
        CLUSTER_DONE(cluster);
    }
}

static void equal_priorities_change_nothing_and_leadership_is_not_taken_by_favour(void)
{
    static const uint32_t equal[] = {4, 4, 4};
    static const uint32_t other[] = {1, 4, 4};
    struct cluster *cluster = preferring(2, equal, 3);
    cluster_crash(cluster, 1);
    CHECK(cluster_run_until(cluster, has_leader, LONGEST));
    CLUSTER_DONE(cluster);
    cluster = preferring(2, other, 3);
    raft_term term = cluster_term(cluster, 1);
    cluster_run(cluster, 5 * FOUR_TIMEOUTS);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CLUSTER_DONE(cluster);
}

/* ---- Commit hints in the answers to a campaign ---------------------------------------------- */

static const raft_term HINTED[] = {1, 1, 2, 2, 2};

/* A server with five entries, none known to be committed, that asks as a candidate or before. */
static void campaigner(lone *l, int pre)
{
    lone_init(l);
    l->members = 5;
    l->options.no_pre_vote = !pre;
    lone_seed(l, HINTED, 5, 2, 0);
    CHECK_EQ(lone_restart(l), RAFT_OK);
    CHECK_EQ(raft_campaign(l->node), RAFT_OK);
    lone_settle(l);
    CHECK_EQ(lone_status(l).role, pre ? RAFT_ROLE_PRE_CANDIDATE : RAFT_ROLE_CANDIDATE);
    CHECK_EQ(lone_status(l).commit_index, 0);
}

/* The answer of a voter that names an entry, and how far all is committed. */
static raft_message hint(const lone *l, int pre, raft_index index, raft_term term,
                         raft_index commit)
{
    const raft_message *asked = lone_newest(l, pre ? RAFT_MESSAGE_PRE_VOTE : RAFT_MESSAGE_VOTE, 2);
    raft_message m = lone_message(pre ? RAFT_MESSAGE_PRE_VOTE_REPLY : RAFT_MESSAGE_VOTE_REPLY, 2,
                                  lone_status(l).term);
    m.round = asked->round;
    m.asked_term = asked->asked_term;
    m.refused = 1;
    m.index = index;
    m.index_term = term;
    m.commit = commit;
    return m;
}

static raft_index commit_after(int pre, const raft_message *m, lone *l)
{
    CHECK_EQ(lone_receive(l, m), RAFT_OK);
    raft_index commit = lone_status(l).commit_index;
    CHECK_EQ(lone_status(l).role, pre ? RAFT_ROLE_PRE_CANDIDATE : RAFT_ROLE_CANDIDATE);
    lone_settle(l);
    CHECK_STR(lone_close(l), "sound");
    return commit;
}

static void a_commit_hint_counts_only_where_the_log_holds_its_entry(void)
{
    static const struct {
        raft_index index;
        raft_term term;
        raft_index commit;
        raft_index taken;
    } hints[] = {
        {4, 2, 4, 4}, {5, 2, 3, 3}, {2, 1, 2, 2}, /* held */
        {4, 1, 4, 0}, {2, 2, 2, 0},               /* of another term: a stale tail here, or there */
        {6, 2, 6, 0}, {6, 2, 3, 0}, {0, 0, 0, 0}, /* not here; nothing */
    };
    for (int pre = 0; pre <= 1; pre++) {
        for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
            lone l;
            campaigner(&l, pre);
            raft_message m = hint(&l, pre, hints[i].index, hints[i].term, hints[i].commit);
            CHECK_EQ(commit_after(pre, &m, &l), hints[i].taken);
        }
    }
}

static void a_commit_hint_counts_only_in_an_answer_to_this_campaign(void)
{
    for (int pre = 0; pre <= 1; pre++) {
        lone l;
        campaigner(&l, pre);
        raft_message m = hint(&l, pre, 4, 2, 4);
        m.round--; /* of an earlier one */
        CHECK_EQ(commit_after(pre, &m, &l), 0);
        campaigner(&l, pre);
        m = hint(&l, pre, 4, 2, 4);
        m.from = 9; /* from no voter */
        CHECK_EQ(commit_after(pre, &m, &l), 0);
        campaigner(&l, pre);
        m = hint(&l, pre, 4, 2, 5); /* beyond the entry that it names */
        CHECK_EQ(lone_receive(&l, &m), RAFT_EMALFORMED);
        CHECK_EQ(lone_status(&l).commit_index, 0);
        lone_settle(&l);
        CHECK_STR(lone_close(&l), "sound");
    }
}

/* What the leader and one voter have committed, the other holds without knowing it. */
static struct cluster *half_told(const char *members)
{
    struct cluster *cluster = group(3, 4);
    cluster_hold(cluster, 1, 3);
    if (members != NULL) {
        CHECK_EQ(change(cluster, 1, members), RAFT_OK);
    } else {
        CHECK(cluster_propose(cluster, 1, "told to one") > 0);
    }
    cluster_settle(cluster);
    const struct cluster_message *waits = cluster_peek(cluster, 1, 3, 0);
    CHECK(waits != NULL && waits->message.kind == RAFT_MESSAGE_APPEND);
    CHECK_EQ(cluster_deliver(cluster, 1, 3), RAFT_OK);
    cluster_crash(cluster, 1);
    cluster_drop_all(cluster, 1, 3);
    CHECK_EQ(cluster_status(cluster, 3).last_index, cluster_commit(cluster, 2));
    CHECK_EQ(cluster_commit(cluster, 3), cluster_commit(cluster, 2) - 1);
    return cluster;
}

static void votes_tell_the_candidate_what_is_committed(void)
{
    struct cluster *cluster = half_told(NULL);
    raft_index committed = cluster_commit(cluster, 2);
    cluster_advance_node(cluster, 2, T);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_hold(cluster, 3, 2);
    cluster_settle(cluster);
    while (cluster_status(cluster, 3).role != RAFT_ROLE_LEADER) {
        CHECK_EQ(cluster_deliver(cluster, 3, 2), RAFT_OK);
        cluster_settle(cluster);
    }
    CHECK_EQ(cluster_commit(cluster, 3), committed); /* before its no-op is anywhere else */
    CHECK_EQ(cluster_status(cluster, 3).counters.commit_hints, 1);
    cluster_heal_all(cluster);
    cluster_run(cluster, T);
    CHECK_EQ(cluster_stable_leader(cluster), 3);
    CLUSTER_DONE(cluster);
}

/* R57: the votes were asked for while another membership might still have governed. */
static void a_hint_that_commits_a_membership_ends_the_candidacy(void)
{
    struct cluster *cluster = half_told("1 2 3 4l");
    raft_index committed = cluster_commit(cluster, 2);
    raft_term term = cluster_term(cluster, 3);
    cluster_advance_node(cluster, 2, T);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 3), committed);
    CHECK_EQ(cluster_status(cluster, 3).role, RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_term(cluster, 3), term + 1);
    CHECK_EQ(cluster_status(cluster, 3).vote, 3); /* R3 */
    CHECK_EQ(cluster_leader(cluster), 0);
    cluster_run(cluster, 2 * LONGEST); /* the next campaign is not held up */
    CHECK(cluster_stable_leader(cluster) != 0);
    CLUSTER_DONE(cluster);
}

int main(void)
{
    RUN_BOTH(a_leader_that_is_removed_hands_over_at_once_and_is_silent_then);
    RUN_BOTH(a_leader_that_is_demoted_hands_over_and_follows_as_a_learner);
    RUN_BOTH(a_removed_leader_that_finds_no_successor_steps_down_after_one_timeout);
    RUN_BOTH(a_joint_exit_that_is_due_during_a_transfer_happens_afterwards);
    RUN_BOTH(the_leader_is_replaced_by_a_joiner_to_which_it_hands_over_midway);
    RUN_BOTH(the_best_target_is_a_voter_of_the_membership_to_come);
    RUN_BOTH(a_membership_is_not_changed_while_leadership_is_handed_over);
    RUN_BOTH(learners_and_witnesses_are_no_targets_and_obey_no_order);
    RUN_BOTH(an_order_that_reaches_a_retired_server_is_ignored);
    RUN_BOTH(a_transfer_overrides_the_promises_that_were_given_to_the_leader);
    RUN_BOTH(the_lease_is_void_from_the_order_until_a_fresh_round_after_an_abort);
    RUN_BOTH(an_order_older_than_the_renewed_lease_is_not_obeyed);
    RUN_BOTH(an_ordered_vote_older_than_the_renewed_lease_is_refused_by_voter_and_leader);
    RUN_BOTH(under_a_promise_the_leader_is_not_forgotten_and_nobody_campaigns);
    RUN_BOTH(a_quorum_told_to_campaign_waits_for_the_end_of_its_promises);
    RUN_BOTH(the_favoured_voter_campaigns_first);
    RUN_BOTH(favour_never_blocks_an_election);
    RUN_BOTH(the_delay_is_a_timeout_a_level_and_halves_until_a_leader_is_heard);
    RUN_BOTH(equal_priorities_change_nothing_and_leadership_is_not_taken_by_favour);
    RUN(a_commit_hint_counts_only_where_the_log_holds_its_entry);
    RUN(a_commit_hint_counts_only_in_an_answer_to_this_campaign);
    RUN(votes_tell_the_candidate_what_is_committed);
    RUN(a_hint_that_commits_a_membership_ends_the_candidacy);
    return check_done();
}
