/*
 * Multi-Paxos where the membership has a say: logs that only a witness tells of (P17), owner slots
 * (P18), changes under way while a candidate collects its promises (P9), whose acknowledgements count
 * (P6, P7), and who is helped to another log (P4).
 */
#include "check.h"
#include "cluster.h"
#include "members.h"

static const uint64_t T = 1000;
static const uint64_t LONGEST = 2000;

/* The term of a slot's owner in its so-manyth round (P1). */
static raft_term term_at(uint64_t round, uint32_t slot)
{
    return round << 16 | slot;
}

static uint32_t slot_of_term(raft_term term)
{
    return (uint32_t)(term & 0xffff);
}

/* Campaigns are asked for, and candidates answered, at any time: no pre-votes, no stickiness. */
static struct cluster *make_frank(size_t founders, size_t count)
{
    cluster_protocol = RAFT_PROTOCOL_MULTIPAXOS;
    struct cluster *cluster = cluster_create(count);
    cluster_protocol = RAFT_PROTOCOL_RAFT;
    cluster->founders = founders;
    for (raft_id id = 1; id <= count; id++) {
        cluster->nodes[id].options.no_pre_vote = 1;
        cluster->nodes[id].options.no_stickiness = 1;
    }
    return cluster;
}

static void start(struct cluster *cluster)
{
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
}

static raft_term stored_round(const struct cluster *cluster, raft_id id)
{
    return cluster->nodes[id].store.state.accepted_round;
}

/* The member is asked by the candidate, answers, and is heard. */
static void promise(struct cluster *cluster, raft_id candidate, raft_id member)
{
    cluster_deliver_all(cluster, candidate, member);
    cluster_deliver_all(cluster, member, candidate);
}

/* ---- What a witness tells of (P17) ---------------------------------------------------------- */

/*
 * Of the voters 1, 2, 4, 5 and the witness 3 the first three hold so many entries; 4 and 5 have none
 * of them. 1, who led, has led in a later round too, accepted by the witness alone, and is dead. So
 * the witness has the best log, and 2 all that it tells of.
 */
static struct cluster *best_log_at_a_witness(int count)
{
    struct cluster *cluster = make_frank(2, 5);
    cluster->nodes[2].options.append_bytes_max = 64;
    cluster->nodes[2].options.trailing_bytes = 1;
    cluster->snapshots = 1;
    start(cluster);
    CHECK_EQ(change(cluster, 1, "1 2 3w 4l 5l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(change(cluster, 1, "1 2 3w 4 5"), RAFT_OK);
    cluster_run(cluster, T);
    CHECK_STR(members_at(cluster, 5), "1 2 3w 4 5");
    cluster_isolate(cluster, 4);
    cluster_isolate(cluster, 5);
    for (int i = 0; i < count; i++) {
        CHECK(cluster_propose(cluster, 1, "told of by a witness, kept by another") > 0);
        cluster_settle(cluster);
    }
    CHECK_EQ(cluster_commit(cluster, 1), cluster_status(cluster, 1).last_index);
    cluster_crash(cluster, 1);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_heal_all(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    promise(cluster, 1, 3);
    promise(cluster, 1, 5);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    cluster_cut(cluster, 1, 2);
    cluster_cut(cluster, 1, 4);
    cluster_cut(cluster, 1, 5);
    cluster_deliver_all(cluster, 1, 3);
    CHECK_EQ(stored_round(cluster, 3), cluster_term(cluster, 1));
    CHECK(stored_round(cluster, 2) < stored_round(cluster, 3));
    cluster_crash(cluster, 1);
    cluster_drop_all(cluster, 0, 0);
    cluster_heal_all(cluster);
    return cluster;
}

/* What the others have, and 4 and 5 do not: the last entries of the log. */
static void expect_all_applied(const struct cluster *cluster, raft_id id, raft_index last)
{
    for (raft_index index = last - 4; index <= last; index++) {
        CHECK_STR(cluster_applied_text(cluster, id, index),
                  "told of by a witness, kept by another");
    }
}

/* The list is the witness's, and the payloads are of whoever with data holds its last entry. */
static void best_log_at_a_witness_is_adopted_with_the_payloads_of_another(void)
{
    struct cluster *cluster = best_log_at_a_witness(5);
    raft_index last = cluster_status(cluster, 2).last_index;
    uint64_t mark = cluster_mark(cluster);
    cluster_isolate(cluster, 5);
    CHECK_EQ(raft_campaign(cluster->nodes[4].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 4), RAFT_ROLE_LEADER);
    CHECK_EQ(cluster_sent_count(cluster, mark, 4, 3, RAFT_MESSAGE_PULL), 0);
    CHECK(cluster_sent_count(cluster, mark, 4, 2, RAFT_MESSAGE_PULL) > 5);
    CHECK_EQ(cluster_commit(cluster, 4), last);
    expect_all_applied(cluster, 4, last);
    cluster_heal_all(cluster);
    cluster_run(cluster, T);
    expect_all_applied(cluster, 5, last);
    CLUSTER_DONE(cluster);
}

/* The source has compacted what the witness tells of: they come in its snapshot (P12, P17). */
static void payloads_of_a_log_that_a_witness_tells_of_come_in_a_snapshot(void)
{
    struct cluster *cluster = best_log_at_a_witness(300);
    raft_index last = cluster_status(cluster, 2).last_index;
    cluster_isolate(cluster, 5);
    CHECK_EQ(cluster_compact(cluster, 2), RAFT_OK);
    CHECK(cluster_status(cluster, 2).first_index > cluster_status(cluster, 4).last_index + 1);
    CHECK_EQ(raft_campaign(cluster->nodes[4].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 4), RAFT_ROLE_LEADER);
    CHECK_EQ(cluster_status(cluster, 4).counters.snapshots_installed, 1);
    CHECK_EQ(stored_round(cluster, 4), cluster_term(cluster, 4));
    expect_all_applied(cluster, 4, last);
    CLUSTER_DONE(cluster);
}

/* Nobody leads with a part of the payloads, nor without them; and nothing is made up (P17). */
static void candidate_leads_with_every_payload_or_not_at_all(void)
{
    struct cluster *cluster = best_log_at_a_witness(5);
    raft_index last = cluster_status(cluster, 2).last_index;
    raft_index before = cluster_status(cluster, 4).last_index;
    raft_term round = stored_round(cluster, 4);
    size_t reigns = cluster->reign_count;
    cluster_isolate(cluster, 5);
    cluster_hold(cluster, 2, 4);
    CHECK_EQ(raft_campaign(cluster->nodes[4].raft), RAFT_OK);
    cluster_settle(cluster);
    for (int i = 0; i < 20 && cluster_status(cluster, 4).last_index < before + 2; i++) {
        cluster_deliver(cluster, 2, 4);
        cluster_settle(cluster);
    }
    CHECK_EQ(cluster_status(cluster, 4).last_index, before + 2); /* two of five have come */
    cluster_crash(cluster, 2);
    cluster_drop_all(cluster, 2, 4);
    cluster_heal_all(cluster);
    cluster_run(cluster, 10 * LONGEST); /* 3, 4 and 5 are a Q1, and the log is at none of them */
    CHECK_EQ(cluster->reign_count, reigns);
    CHECK_EQ(stored_round(cluster, 4), round);
    CHECK(cluster_status(cluster, 4).last_index < last);
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    expect_all_applied(cluster, 4, last);
    expect_all_applied(cluster, 5, last);
    CLUSTER_DONE(cluster);
}

/*
 * 5 has a longer log that only it has heard of, of a round before: as far as the witness's log goes
 * it is another one, and no source of payloads (P4: joined by index and term).
 */
static void longer_log_of_another_round_is_no_source_of_payloads(void)
{
    struct cluster *cluster = make_frank(2, 5);
    start(cluster);
    CHECK_EQ(change(cluster, 1, "1 2 3w 4l 5l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(change(cluster, 1, "1 2 3w 4 5"), RAFT_OK);
    cluster_run(cluster, T);
    raft_index shared = cluster_status(cluster, 1).last_index;
    CHECK(cluster_elect(cluster, 5));
    cluster_settle(cluster);
    cluster_isolate(cluster, 5);
    for (int i = 0; i < 7; i++) {
        CHECK(cluster_propose(cluster, 5, "unheard") > 0);
    }
    cluster_settle(cluster);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 4);
    for (int i = 0; i < 3; i++) {
        CHECK(cluster_propose(cluster, 1, "chosen") > 0);
    }
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 1), shared + 3);
    cluster_crash(cluster, 1);
    cluster_crash(cluster, 2);
    cluster_heal_all(cluster);
    size_t reigns = cluster->reign_count;
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[4].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK(cluster_sent_count(cluster, mark, 4, 5, RAFT_MESSAGE_PULL) >
          0); /* it is asked, and lacks */
    cluster_run(cluster, 10 * LONGEST);
    CHECK_EQ(cluster->reign_count, reigns);
    CHECK_EQ(cluster_status(cluster, 4).last_index, shared); /* nothing of it was taken */
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    for (raft_index index = shared + 1; index <= shared + 3; index++) {
        CHECK_STR(cluster_applied_text(cluster, 4, index), "chosen");
        CHECK_STR(cluster_applied_text(cluster, 5, index), "chosen");
    }
    CLUSTER_DONE(cluster);
}

/* ---- Owner slots (P1, P18) ------------------------------------------------------------------ */

/* A server that comes back owns terms of its new slot, and nobody those of the old one. */
static void server_that_comes_back_leads_in_terms_of_another_slot(void)
{
    struct cluster *cluster = make_frank(3, 4);
    start(cluster);
    static const char *const steps[] = {"1 2 3 4l", "1 2 3 4", "1 2 3", "1 2 3 4l", "1 2 3 4"};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        CHECK_EQ(change(cluster, 1, steps[i]), RAFT_OK);
        cluster_run(cluster, 3 * LONGEST);
        CHECK_STR(members_at(cluster, 1), steps[i]);
        if (i == 1) {
            CHECK(cluster_elect(cluster, 4));
            CHECK_EQ(slot_of_term(cluster_term(cluster, 4)), 4);
            CHECK(cluster_elect(cluster, 1));
        }
    }
    CHECK(cluster_elect(cluster, 4));
    CHECK_EQ(slot_of_term(cluster_term(cluster, 4)), 5);
    CLUSTER_DONE(cluster);
}

/*
 * 4 knows its slot from a membership that nobody else holds, and that is dropped: the slot is given
 * again, to 5. Were it used before the membership is certain, two servers would own its terms.
 */
static void slot_of_a_membership_that_may_be_dropped_is_not_used(void)
{
    struct cluster *cluster = make_frank(3, 5);
    start(cluster);
    cluster_cut(cluster, 1, 2);
    cluster_cut(cluster, 1, 3);
    CHECK_EQ(change(cluster, 1, "1 2 3 4"), RAFT_OK);
    cluster_settle(cluster);
    CHECK_STR(members_at(cluster, 4), "1 2 3 4");
    CHECK_EQ(slot_at(cluster, 4, 4), 4);
    cluster_heal_all(cluster);
    cluster_isolate(cluster, 4);
    CHECK(cluster_elect(cluster, 2));
    raft_term term = cluster_term(cluster, 4);
    CHECK_EQ(raft_campaign(cluster->nodes[4].raft), RAFT_ELIMIT);
    cluster_run(cluster, 4 * LONGEST);
    CHECK_EQ(cluster_term(cluster, 4), term);
    CHECK_STR(members_at(cluster, 1), "1 2 3");
    CHECK_EQ(change(cluster, 2, "1 2 3 5"), RAFT_OK);
    cluster_run(cluster, T);
    CHECK_EQ(slot_at(cluster, 1, 5), 4);
    CHECK(cluster_elect(cluster, 5));
    CHECK_EQ(slot_of_term(cluster_term(cluster, 5)), 4);
    cluster_heal_all(cluster);
    CHECK_EQ(change(cluster, 5, "1 2 3 4 5"), RAFT_OK);
    cluster_run(cluster, T);
    CHECK(cluster_elect(cluster, 4));
    CHECK_EQ(slot_of_term(cluster_term(cluster, 4)), 5);
    CLUSTER_DONE(cluster);
}

/* ---- Changes under way (P9) ----------------------------------------------------------------- */

/* 4 is becoming a voter by itself: 1, who leads, and 2 hold the entry; then 1 dies. */
static struct cluster *promotion_at_one_follower(void)
{
    struct cluster *cluster = make_frank(3, 4);
    start(cluster);
    cluster->latency_ms = 5;
    CHECK_EQ(change(cluster, 1, "1 2 3 4p"), RAFT_OK);
    raft_index wish = version_at(cluster, 1);
    for (int i = 0; i < 10000 && version_at(cluster, 1) == wish; i++) {
        cluster_run(cluster, 1);
    }
    CHECK(version_at(cluster, 1) > wish);
    CHECK_STR(members_at(cluster, 1), "1 2 3 4");
    for (raft_id id = 3; id <= 4; id++) { /* before it has arrived anywhere */
        cluster_isolate(cluster, id);
        CHECK_EQ(version_at(cluster, id), wish);
    }
    cluster->latency_ms = 0;
    cluster_settle(cluster);
    CHECK_STR(members_at(cluster, 2), "1 2 3 4");
    CHECK(cluster_commit(cluster, 1) < version_at(cluster, 1)); /* two of four */
    cluster_crash(cluster, 1);
    return cluster;
}

/* 3 counts three voters, and finds a fourth in what it adopts, who believes itself a learner. */
static void promotion_under_way_needs_the_promise_of_whom_it_promotes(void)
{
    struct cluster *cluster = promotion_at_one_follower();
    raft_index promotion = version_at(cluster, 2);
    cluster_heal_all(cluster);
    cluster_isolate(cluster, 4);
    CHECK_STR(members_at(cluster, 3), "1 2 3 4p");
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_STR(members_at(cluster, 3), "1 2 3 4"); /* adopted: 2 and 3 are no Q1 of it */
    CHECK_EQ(cluster_role(cluster, 3), RAFT_ROLE_CANDIDATE);
    cluster_run(cluster, 4 * LONGEST);
    CHECK_EQ(cluster_leader(cluster), 0);
    cluster_heal_all(cluster);
    CHECK(cluster_elect(cluster, 3));
    cluster_run(cluster, T);
    CHECK(cluster_commit(cluster, 3) >= promotion);
    CHECK_EQ(configs_stored(cluster, 3), 2);
    CHECK_STR(members_at(cluster, 4), "1 2 3 4");
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_run(cluster, T);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

/*
 * 3, which is to go, adopts a joint membership from 2: its own half has promised, and the other one
 * has to as well. It leads to commit it, leaves it, and hands over (P9, R44, R46).
 */
static void joint_membership_under_way_needs_the_promises_of_both_halves(void)
{
    struct cluster *cluster = make_frank(3, 5);
    start(cluster);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    for (raft_id id = 3; id <= 5; id++) {
        cluster_isolate(cluster, id);
    }
    CHECK_EQ(change(cluster, 1, "1 2 4 5"), RAFT_OK);
    cluster_settle(cluster);
    CHECK_STR(members_at(cluster, 2), "1 2 3 4l 5l > 1 2 4 5");
    cluster_crash(cluster, 1);
    cluster_heal(cluster, 2, 3);
    cluster_heal(cluster, 3, 2);
    size_t reigns = cluster->reign_count;
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_STR(members_at(cluster, 3), "1 2 3 4l 5l > 1 2 4 5"); /* 2 and 3 of the former three */
    CHECK_EQ(cluster_role(cluster, 3), RAFT_ROLE_CANDIDATE);
    cluster_heal(cluster, 3, 4);
    cluster_heal(cluster, 4, 3);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_settle(cluster); /* 2 and 4 of the four to come */
    CHECK_EQ(cluster->reign_count, reigns);
    cluster_heal_all(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK(cluster->reign_count > reigns);
    CHECK_EQ(cluster->reigns[reigns].id, 3);
    cluster_run(cluster, 2 * LONGEST);
    raft_id leader = cluster_leader(cluster);
    CHECK(leader == 2 || leader >= 4);
    CHECK_STR(members_at(cluster, leader), "1 2 4 5");
    CHECK_EQ(configs_stored(cluster, leader), 3);
    CLUSTER_DONE(cluster);
}

/* ---- Who counts (P6, P7) -------------------------------------------------------------------- */

static raft_message acknowledgement(const struct cluster *cluster, raft_id from, raft_index index,
                                    int flags)
{
    raft_message message =
        cluster_forge(cluster, from, 1, cluster_term(cluster, 1), RAFT_MESSAGE_APPEND_REPLY);
    message.index = index;
    message.flags = flags;
    return message;
}

/*
 * Only what a server acknowledges after it has accepted the term counts, however far it says that
 * its log goes: its entries may be of an older round yet (P6, P7).
 */
static void acknowledgements_before_the_round_is_accepted_commit_nothing(void)
{
    struct cluster *cluster = make_frank(3, 3);
    start(cluster);
    cluster_isolate(cluster, 2);
    cluster_isolate(cluster, 3);
    raft_index index = cluster_propose(cluster, 1, "at the leader alone");
    cluster_settle(cluster);
    cluster_crash(cluster, 1);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_heal_all(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    cluster_poll(cluster, 1);
    promise(cluster, 1, 2);
    cluster_poll(cluster, 1);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    cluster_drop_all(cluster, 0, 0);
    for (raft_id from = 2; from <= 3; from++) {
        raft_message early = acknowledgement(cluster, from, index, 0);
        CHECK_EQ(cluster_inject(cluster, 1, &early), RAFT_OK);
        CHECK_EQ(cluster_peer(cluster, 1, from).match, index);
        early.flags = RAFT_FLAG_ACCEPTED;
        early.term = term_at(1, 1); /* of its first leadership */
        CHECK_EQ(cluster_inject(cluster, 1, &early), RAFT_OK);
        early.term = cluster_term(cluster, 1);
        early.refused = 1; /* no acknowledgement */
        early.refused_index = index;
        CHECK_EQ(cluster_inject(cluster, 1, &early), RAFT_OK);
    }
    CHECK_EQ(cluster_commit(cluster, 1), index - 1);
    raft_message accepted = acknowledgement(cluster, 2, index, RAFT_FLAG_ACCEPTED);
    CHECK_EQ(cluster_inject(cluster, 1, &accepted), RAFT_OK);
    CHECK_EQ(cluster_commit(cluster, 1), index);
    CLUSTER_DONE(cluster);
}

/* ---- Who is helped (P4) --------------------------------------------------------------------- */

/* 1 has led, and 2 holds what it proposed; its memory does not. 1 is away since. */
static struct cluster *source_with_a_log(void)
{
    static char payload[700];
    struct cluster *cluster = make_frank(3, 3);
    cluster->read_log = 1;
    for (raft_id id = 1; id <= 3; id++) {
        cluster->nodes[id].options.log_bytes_max = 64 << 10;
    }
    start(cluster);
    for (int i = 0; i < 200; i++) {
        CHECK_EQ(raft_propose(cluster->nodes[1].raft, payload, sizeof payload, NULL, NULL),
                 RAFT_OK);
        cluster_settle(cluster);
    }
    cluster_run(cluster, 200);
    CHECK(cluster_status(cluster, 2).memory_index > 50);
    cluster_isolate(cluster, 1);
    return cluster;
}

/* 3 asks for what follows an entry of the first term. */
static raft_message question(const struct cluster *cluster, raft_term term, raft_index index)
{
    raft_message pull = cluster_forge(cluster, 3, 2, term, RAFT_MESSAGE_PULL);
    pull.index = index;
    pull.index_term = index > 0 ? term_at(1, 1) : 0;
    pull.round = 5;
    return pull;
}

static raft_message prepare(const struct cluster *cluster, raft_id from, raft_term term)
{
    raft_message message = cluster_forge(cluster, from, 2, term, RAFT_MESSAGE_VOTE);
    message.round = 5;
    return message;
}

/* How many entries 2 has given to 3 since. */
static size_t entries_given(const struct cluster *cluster, uint64_t mark)
{
    size_t count = 0;
    const struct cluster_message *sent;
    while ((sent = cluster_sent(cluster, mark, 2, 3, RAFT_MESSAGE_PULL_REPLY)) != NULL) {
        mark = sent->number;
        count += sent->message.range_count > 0 ? sent->message.ranges[0].count : 0;
    }
    return count;
}

/* Its log would change under the answer: a later leader is free to replace what was promised. */
static void only_whom_the_present_term_is_promised_is_given_entries(void)
{
    struct cluster *cluster = source_with_a_log();
    raft_index last = cluster_status(cluster, 2).last_index;
    raft_term first = cluster_term(cluster, 2);
    raft_message pull = question(cluster, first, last - 5);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(cluster_inject(cluster, 2, &pull), RAFT_OK); /* the term is promised to 1 */
    CHECK_EQ(entries_given(cluster, mark), 0);
    pull = question(cluster, term_at(5, 3), last - 5);
    CHECK_EQ(cluster_inject(cluster, 2, &pull), RAFT_OK); /* nobody was promised that */
    CHECK_EQ(entries_given(cluster, mark), 0);
    CHECK_EQ(cluster_term(cluster, 2), first);
    raft_message asked = prepare(cluster, 3, term_at(5, 3));
    CHECK_EQ(cluster_inject(cluster, 2, &asked), RAFT_OK);
    CHECK_EQ(cluster_inject(cluster, 2, &pull), RAFT_OK);
    CHECK_EQ(entries_given(cluster, mark), 5);
    asked = prepare(cluster, 1, term_at(6, 1));
    CHECK_EQ(cluster_inject(cluster, 2, &asked), RAFT_OK);
    mark = cluster_mark(cluster);
    CHECK_EQ(cluster_inject(cluster, 2, &pull), RAFT_OK); /* it is promised to another by now */
    CHECK_EQ(entries_given(cluster, mark), 0);
    const struct cluster_message *reply =
        cluster_sent(cluster, mark, 2, 3, RAFT_MESSAGE_PULL_REPLY);
    CHECK(reply != NULL && reply->message.refused); /* so that it gives up at once */
    CHECK_EQ(reply->message.term, term_at(6, 1));
    asked = prepare(cluster, 3, term_at(8, 3));
    CHECK_EQ(cluster_inject(cluster, 2, &asked), RAFT_OK);
    mark = cluster_mark(cluster);
    CHECK_EQ(cluster_inject(cluster, 2, &pull), RAFT_OK); /* asked in the term before that */
    CHECK_EQ(entries_given(cluster, mark), 0);
    CLUSTER_DONE(cluster);
}

/* What storage is asked for the one goes to the one. */
static void question_of_another_server_takes_no_answer_away(void)
{
    struct cluster *cluster = source_with_a_log();
    raft_message asked = prepare(cluster, 3, term_at(5, 3));
    raft_message pull = question(cluster, term_at(5, 3), 1);
    cluster->nodes[2].fetch_async = 1;
    CHECK_EQ(cluster_inject(cluster, 2, &asked), RAFT_OK);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(cluster_inject(cluster, 2, &pull), RAFT_OK);
    CHECK(cluster->nodes[2].fetches[3].data != NULL);
    pull.from = 1; /* which was promised nothing */
    CHECK_EQ(cluster_inject(cluster, 2, &pull), RAFT_OK);
    cluster_complete_fetches(cluster, 2);
    CHECK(entries_given(cluster, mark) > 0);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 1, RAFT_MESSAGE_PULL_REPLY), 0);
    CLUSTER_DONE(cluster);
}

/* The term is promised to another while the answer waits for the poll, or for storage. */
static void answer_that_is_overtaken_by_a_promise_gives_no_entries(void)
{
    for (int from_storage = 0; from_storage <= 1; from_storage++) {
        struct cluster *cluster = source_with_a_log();
        raft_index last = cluster_status(cluster, 2).last_index;
        raft_message asked = prepare(cluster, 3, term_at(5, 3));
        raft_message rival = prepare(cluster, 1, term_at(6, 1));
        raft_message pull = question(cluster, term_at(5, 3), from_storage ? 1 : last - 5);
        cluster->nodes[2].fetch_async = 1;
        CHECK_EQ(cluster_inject(cluster, 2, &asked), RAFT_OK);
        uint64_t mark = cluster_mark(cluster);
        if (from_storage) {
            CHECK_EQ(cluster_inject(cluster, 2, &pull), RAFT_OK);
            CHECK(cluster->nodes[2].fetches[3].data != NULL); /* the host is asked */
        } else {
            cluster->forged++;
            CHECK_EQ(raft_receive(cluster->nodes[2].raft, &pull), RAFT_OK);
        }
        CHECK_EQ(cluster_inject(cluster, 2, &rival), RAFT_OK);
        cluster_complete_fetches(cluster, 2);
        CHECK_EQ(cluster_term(cluster, 2), term_at(6, 1));
        CHECK_EQ(entries_given(cluster, mark), 0);
        CLUSTER_DONE(cluster);
    }
}

int main(void)
{
    RUN(best_log_at_a_witness_is_adopted_with_the_payloads_of_another);
    RUN(payloads_of_a_log_that_a_witness_tells_of_come_in_a_snapshot);
    RUN(candidate_leads_with_every_payload_or_not_at_all);
    RUN(longer_log_of_another_round_is_no_source_of_payloads);
    RUN(server_that_comes_back_leads_in_terms_of_another_slot);
    RUN(slot_of_a_membership_that_may_be_dropped_is_not_used);
    RUN(promotion_under_way_needs_the_promise_of_whom_it_promotes);
    RUN(joint_membership_under_way_needs_the_promises_of_both_halves);
    RUN(acknowledgements_before_the_round_is_accepted_commit_nothing);
    RUN(only_whom_the_present_term_is_promised_is_given_entries);
    RUN(question_of_another_server_takes_no_answer_away);
    RUN(answer_that_is_overtaken_by_a_promise_gives_no_entries);
    return check_done();
}
