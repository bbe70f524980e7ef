/*
 * Memberships in the log: in force on append and rolled back with it, joint changes, learners,
 * witnesses, failure zones, sessions, and members that lost their log (R41 to R48, R56, R57, R65).
 */
#include "check.h"
#include "cluster.h"
#include "members.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t T = 1000;
static const uint64_t LONGEST = 2000;

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

/* ---- Growing and shrinking ------------------------------------------------------------------ */

static void one_server_grows_to_three_through_a_joint_membership(void)
{
    struct cluster *cluster = group(1, 3);
    CHECK_EQ(change(cluster, 1, "1 2l 3l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_STR(members_at(cluster, 3), "1 2l 3l");
    CHECK_STR(cluster_applied_text(cluster, 3, 1 + cluster_noops(cluster)), "before");
    CHECK_EQ(change(cluster, 1, "1 2 3"), RAFT_OK);
    CHECK_STR(members_at(cluster, 1), "1 2l 3l > 1 2 3");
    cluster_run(cluster, LONGEST);
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_STR(members_at(cluster, id), "1 2 3");
    }
    CHECK_EQ(cluster_status(cluster, 1).commit_quorum, 2);
    CHECK_EQ(configs_stored(cluster, 1), 3);
    CHECK(cluster_elect(cluster, 3));
    CLUSTER_DONE(cluster);
}

static void one_server_grows_to_three_by_single_steps(void)
{
    struct cluster *cluster = group(1, 3);
    static const char *const steps[] = {"1 2l", "1 2", "1 2 3l", "1 2 3"};
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(change(cluster, 1, steps[i]), RAFT_OK);
        cluster_run(cluster, 3 * LONGEST);
        CHECK_STR(members_at(cluster, 1), steps[i]);
    }
    CHECK_EQ(configs_stored(cluster, 1), 4);
    CHECK(cluster_elect(cluster, 2));
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

/* R65: a wish in the membership, fulfilled by whoever leads. */
static void learners_with_the_wish_become_voters_when_they_have_caught_up(void)
{
    struct cluster *cluster = group(1, 3);
    CHECK_EQ(change(cluster, 1, "1 2p 3p"), RAFT_OK);
    cluster_run(cluster, 6 * LONGEST);
    CHECK_STR(members_at(cluster, 1), "1 2 3");
    CHECK_STR(members_at(cluster, 3), "1 2 3");
    CLUSTER_DONE(cluster);
}

static void the_wish_outlives_the_leader_that_heard_it(void)
{
    struct cluster *cluster = group(3, 4);
    cluster_isolate(cluster, 4);
    CHECK_EQ(change(cluster, 1, "1 2 3 4p"), RAFT_OK);
    cluster_run(cluster, LONGEST);
    CHECK_STR(members_at(cluster, 2), "1 2 3 4p"); /* unreachable: it waits */
    CHECK(cluster_elect(cluster, 2));
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    cluster_run(cluster, 6 * LONGEST);
    CHECK_STR(members_at(cluster, 2), "1 2 3 4");
    CHECK_STR(members_at(cluster, 4), "1 2 3 4");
    CLUSTER_DONE(cluster);
}

/* The nth message that is under way anywhere arrives, counted round about; false: there is none. */
static int deliver_any(struct cluster *cluster, size_t n)
{
    size_t links = cluster->count * cluster->count;
    for (size_t i = 0; i < links; i++) {
        raft_id from = (n + i) % links / cluster->count + 1;
        raft_id to = (n + i) % links % cluster->count + 1;
        if (cluster_queued(cluster, from, to) > 0) {
            cluster_deliver(cluster, from, to);
            return 1;
        }
    }
    return 0;
}

/* 4 is a learner that is to become a voter, and the leader has just begun to make it one. */
static struct cluster *promotion_just_begun(uint32_t commit_quorum)
{
    struct cluster *cluster = cluster_create(4);
    cluster->founders = 3;
    cluster->commit_quorum = commit_quorum;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    struct wish wish;
    wish_for(&wish, "1 2 3 4p");
    wish.membership.commit_quorum = commit_quorum;
    CHECK_EQ(ask(cluster, 1, &wish), RAFT_OK);
    raft_index version = version_at(cluster, 1);
    cluster->latency_ms = 5;
    for (int i = 0; i < 10000 && version_at(cluster, 1) == version; i++) {
        cluster_run(cluster, 1);
    }
    CHECK(version_at(cluster, 1) > version);
    CHECK_EQ(version_at(cluster, 2), version);
    cluster->latency_ms = 0;
    cluster_hold(cluster, 0, 0);
    return cluster;
}

/*
 * R44, R65: the leader dies after any number of messages, when its promotion is in the logs of nobody
 * else, of some, of all, joint, committed, left; and each of the others is the first to campaign, the
 * learner too. In the end 4 is a voter, everybody says so, and it became one once.
 */
static void promotion_under_way_is_finished_whoever_leads(void)
{
    for (uint32_t commit_quorum = 0; commit_quorum <= 2; commit_quorum += 2) {
        for (raft_id candidate = 2; candidate <= 4; candidate++) {
            int is_amid = 1;
            for (size_t count = 0; is_amid; count++) {
                struct cluster *cluster = promotion_just_begun(commit_quorum);
                CHECK_EQ(cluster_status(cluster, 1).membership_joint, commit_quorum != 0); /* Q5 */
                for (size_t i = 0; i < count && is_amid; i++) {
                    is_amid = deliver_any(cluster, 7 * i);
                }
                cluster_crash(cluster, 1);
                cluster_drop_all(cluster, 0, 0);
                cluster_heal_all(cluster);
                cluster_run(cluster, T + 1); /* nobody is bound any more */
                raft_campaign(cluster->nodes[candidate].raft);
                cluster_run(cluster, 8 * LONGEST);
                CHECK(cluster_stable_leader(cluster) != 0);
                CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
                cluster_run(cluster, 2 * LONGEST);
                for (raft_id id = 1; id <= 4; id++) {
                    CHECK_STR(members_at(cluster, id), "1 2 3 4");
                    CHECK_EQ(configs_stored(cluster, id), commit_quorum != 0 ? 3 : 2);
                }
                CHECK(cluster_converged(cluster));
                CLUSTER_DONE(cluster);
            }
        }
    }
}

/* R45: it would govern at once, and could commit nothing. */
static void membership_that_could_commit_nothing_is_refused(void)
{
    struct cluster *cluster = group(1, 3);
    CHECK_EQ(change(cluster, 1, "1 2"), RAFT_EBUSY);
    CHECK_EQ(change(cluster, 1, "1 2 3"), RAFT_EBUSY);
    cluster_isolate(cluster, 2);
    CHECK_EQ(change(cluster, 1, "1 2l 3l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(change(cluster, 1, "1 2 3l"), RAFT_EBUSY); /* 2 has not caught up */
    CHECK_EQ(change(cluster, 1, "1 2l 3"), RAFT_OK);
    cluster_run(cluster, LONGEST);
    CHECK_STR(members_at(cluster, 3), "1 2l 3");
    CLUSTER_DONE(cluster);
}

/* A dead server may be replaced in one step by a live one that has caught up as a learner. */
static void dead_member_is_replaced_by_a_learner(void)
{
    struct cluster *cluster = group(3, 4);
    cluster_crash(cluster, 3);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(change(cluster, 1, "1 2 4"), RAFT_OK);
    CHECK_STR(members_at(cluster, 1), "1 2 3 4l > 1 2 4");
    cluster_run(cluster, LONGEST);
    CHECK_STR(members_at(cluster, 4), "1 2 4");
    CHECK(cluster_elect(cluster, 4));
    CLUSTER_DONE(cluster);
}

/* New voters count as just heard: an unreachable one does not depose the leader (R22). */
static void voter_added_while_unreachable_does_not_depose_the_leader(void)
{
    struct cluster *cluster = group(3, 4);
    raft_term term = cluster_term(cluster, 1);
    cluster_isolate(cluster, 4);
    CHECK_EQ(change(cluster, 1, "1 2 3 4"), RAFT_OK);
    cluster_run(cluster, 6 * LONGEST);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CHECK_STR(members_at(cluster, 2), "1 2 3 4");
    CHECK_EQ(cluster_status(cluster, 1).commit_quorum, 3);
    CLUSTER_DONE(cluster);
}

/* ---- What is refused ------------------------------------------------------------------------ */

static void change_against_a_stale_version_is_refused(void)
{
    struct cluster *cluster = group(3, 4);
    struct wish wish;
    raft *leader = cluster->nodes[1].raft;
    raft_index index = 0, expected = cluster_status(cluster, 1).last_index + 1;
    raft_term term = 99;
    wish_for(&wish, "1 2 3 4l");
    CHECK_EQ(raft_set_membership(leader, &wish.membership, 1, NULL, NULL), RAFT_ECONFLICT);
    CHECK_EQ(raft_set_membership(leader, &wish.membership, 0, &index, &term), RAFT_OK);
    CHECK_EQ(index, expected);
    CHECK_EQ(term, cluster_term(cluster, 1));
    CHECK_EQ(raft_set_membership(leader, &wish.membership, 0, NULL, NULL), RAFT_ECONFLICT);
    CHECK_EQ(raft_set_membership(leader, &wish.membership, expected, NULL, NULL), RAFT_EBUSY);
    cluster_run(cluster, T);
    CHECK_EQ(raft_set_membership(leader, &wish.membership, expected, &index, &term), RAFT_OK);
    CHECK_EQ(index, expected); /* it is so already: nothing was appended */
    CHECK_EQ(term, 0);
    CHECK_EQ(cluster_status(cluster, 1).last_index, expected);
    CLUSTER_DONE(cluster);
}

static void memberships_that_make_no_sense_are_refused(void)
{
    static const char *const senseless[] = {"1l 2l", "1w 2w 3", "1 2 2", "0 1 2", "1 2 3w"};
    struct cluster *cluster = group(3, 3);
    struct wish wish;
    uint64_t before = cluster_fingerprint(cluster, 1);
    for (size_t i = 0; i < sizeof senseless / sizeof senseless[0]; i++) {
        CHECK_EQ(change(cluster, 1, senseless[i]), RAFT_EARG);
    }
    wish_for(&wish, "1 2 3");
    wish.membership.commit_quorum = 4;
    CHECK_EQ(ask(cluster, 1, &wish), RAFT_EARG);
    wish.membership.commit_quorum = 1;
    CHECK_EQ(ask(cluster, 1, &wish), RAFT_EARG);
    wish.membership.commit_quorum = 0;
    wish.membership.lease_ms = 60001;
    CHECK_EQ(ask(cluster, 1, &wish), RAFT_EARG);
    wish.membership.lease_ms = 0;
    wish.members[0].promote = 1; /* it is a voter */
    CHECK_EQ(ask(cluster, 1, &wish), RAFT_EARG);
    wish.members[0].promote = 0;
    wish.membership.size = 8;
    CHECK_EQ(ask(cluster, 1, &wish), RAFT_EARG);
    CHECK_EQ(raft_set_membership(cluster->nodes[1].raft, NULL, 0, NULL, NULL), RAFT_EARG);
    CHECK_EQ(cluster_fingerprint(cluster, 1), before);
    CHECK_EQ(change(cluster, 2, "1 2"), RAFT_ENOTLEADER);
    CLUSTER_DONE(cluster);
}

/* R42, the single-server bug of 2015: of two rival changes one is gone before the other commits. */
static void rival_changes_of_two_leaders_never_both_commit(void)
{
    struct cluster *cluster = group(4, 4);
    cluster_isolate(cluster, 1);
    CHECK_EQ(change(cluster, 1, "1 2 3"), RAFT_OK); /* only in its own log */
    cluster_settle(cluster);
    CHECK(cluster_elect(cluster, 2));
    CHECK_STR(members_at(cluster, 2), "1 2 3 4");
    CHECK_EQ(change(cluster, 2, "1 2 4"), RAFT_OK);
    cluster_run(cluster, T);
    CHECK_EQ(cluster_commit(cluster, 2), version_at(cluster, 2));
    CHECK(cluster_commit(cluster, 1) < version_at(cluster, 1));
    cluster_heal_all(cluster);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_STR(members_at(cluster, 1), "1 2 4");
    CLUSTER_DONE(cluster);
}

static void change_waits_for_the_leaders_own_no_op(void)
{
    struct cluster *cluster = cluster_new(3);
    cluster_hold(cluster, 2, 1);
    cluster_hold(cluster, 3, 1);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_OK);
    for (int i = 0; i < 20 && cluster_role(cluster, 1) != RAFT_ROLE_LEADER; i++) {
        cluster_settle(cluster);
        cluster_deliver(cluster, 2, 1);
    }
    cluster_settle(cluster);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CHECK_EQ(cluster_commit(cluster, 1), 0);
    CHECK_EQ(change(cluster, 1, "1 2"), RAFT_EBUSY);
    cluster_heal_all(cluster);
    cluster_run(cluster, T);
    CHECK_EQ(change(cluster, 1, "1 2"), RAFT_OK);
    cluster_run(cluster, T);
    CHECK_STR(members_at(cluster, 2), "1 2");
    CLUSTER_DONE(cluster);
}

/* P18, in both protocols: a group may become one of Multi-Paxos. */
static void owner_slots_are_given_once(void)
{
    struct cluster *cluster = group(3, 5);
    static const char *const steps[] = {"1 2 3 4l", "1 2 4l", "1 2 3l 4l", "1 2 3l 4l 5l",
                                        "1 2 3l"};
    static const uint32_t slots[][5] = {
        {1, 2, 3, 4, 0}, {1, 2, 0, 4, 0}, {1, 2, 5, 4, 0}, {1, 2, 5, 4, 6}, {1, 2, 5, 0, 0}};
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_EQ(slot_at(cluster, 2, id), id); /* founders, in their order */
    }
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        CHECK_EQ(change(cluster, 1, steps[i]), RAFT_OK);
        cluster_run(cluster, LONGEST);
        for (raft_id id = 1; id <= 5; id++) {
            CHECK_EQ(slot_at(cluster, 2, id), slots[i][id - 1]);
        }
    }
    cluster_crash(cluster, 1);
    cluster_crash(cluster, 2);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    CHECK(cluster_elect(cluster, 2));
    CHECK_EQ(change(cluster, 2, "1 2 3l 4l"), RAFT_OK); /* 6 is the highest, though nobody has it */
    CHECK_EQ(slot_at(cluster, 2, 4), 7);
    CLUSTER_DONE(cluster);
}

/* Where the founding metadata have the highest slot that was ever given. */
enum { META_SLOT_HIGH = 40 + 6 };

/* Three founders of a group in which all owner slots but so many have been given. */
static struct cluster *group_with_slots_left(uint32_t left, size_t count)
{
    struct cluster *cluster = cluster_create(count);
    cluster->founders = 3;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    for (raft_id id = 1; id <= 3; id++) {
        uint8_t *meta = (uint8_t *)cluster->nodes[id].store.meta;
        cluster_crash(cluster, id);
        CHECK(cluster->nodes[id].store.meta_size > META_SLOT_HIGH + 1);
        CHECK_EQ(meta[META_SLOT_HIGH], 3);
        meta[META_SLOT_HIGH] = (uint8_t)(65535 - left);
        meta[META_SLOT_HIGH + 1] = (uint8_t)((65535 - left) >> 8);
        CHECK_EQ(cluster_restart(cluster, id), RAFT_OK);
    }
    CHECK(cluster_elect(cluster, 1));
    CHECK(cluster_propose(cluster, 1, "before") > 0);
    cluster_run(cluster, T);
    return cluster;
}

/* P18: none left, and nobody is added, who was there before neither; everything else goes on. */
static void additions_are_refused_when_owner_slots_are_used_up(void)
{
    struct cluster *cluster = group_with_slots_left(1, 5);
    uint64_t before = cluster_fingerprint(cluster, 1);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_EARG); /* one of them would be left without */
    CHECK_EQ(cluster_fingerprint(cluster, 1), before);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(slot_at(cluster, 4, 4), 65535);
    before = cluster_fingerprint(cluster, 1);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_EARG);
    CHECK_EQ(change(cluster, 1, "1 2 3 4 5"), RAFT_EARG);
    CHECK_EQ(cluster_fingerprint(cluster, 1), before);
    CHECK_EQ(change(cluster, 1, "1 2 3 4"), RAFT_OK);
    cluster_run(cluster, LONGEST);
    CHECK(cluster_elect(cluster, 4)); /* in a term of the last slot */
    CHECK_EQ(change(cluster, 4, "1 2 4"), RAFT_OK);
    cluster_run(cluster, LONGEST);
    CHECK_EQ(change(cluster, 4, "1 2 3l 4"), RAFT_EARG);
    CHECK_EQ(change(cluster, 4, "1 2 3 4"), RAFT_EARG);
    CHECK_EQ(change(cluster, 4, "1 2l 4"), RAFT_OK);
    cluster_run(cluster, LONGEST);
    CHECK_STR(members_at(cluster, 2), "1 2l 4");
    CLUSTER_DONE(cluster);
}

/* ---- In force and rolled back --------------------------------------------------------------- */

/* R41: voters, quorums and peers are again what they were; elections use the old set. */
static void truncated_membership_gives_way_to_the_one_before(void)
{
    struct cluster *cluster = group(5, 6);
    cluster_isolate(cluster, 1);
    CHECK_EQ(change(cluster, 1, "1 2 3 6l"), RAFT_OK);
    cluster_run(cluster, T / 2);
    CHECK_STR(members_at(cluster, 1), "1 2 3 4 5 > 1 2 3 6l");
    cluster_run(cluster, 4 * LONGEST);
    raft_id leader = cluster_leader(cluster);
    CHECK(leader > 1);
    CHECK(cluster_propose(cluster, leader, "other") > 0);
    cluster_run(cluster, T);
    cluster_heal_all(cluster);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_STR(members_at(cluster, 1), "1 2 3 4 5");
    CHECK_EQ(cluster_status(cluster, 1).commit_quorum, 3);
    CHECK_EQ(cluster_status(cluster, 1).membership_version, 0);
    CHECK(cluster_elect(cluster, 1));
    CLUSTER_DONE(cluster);
}

/* The payload of a membership with node 4, as it stands in an entry; returns the entry's size. */
static size_t entry_with_membership(struct cluster *cluster, uint8_t *out)
{
    CHECK_EQ(change(cluster, 1, "1 2 3 4l"), RAFT_OK);
    cluster_run(cluster, T);
    const struct cluster_entry *entry = cluster_stored(cluster, 1, version_at(cluster, 1));
    memset(out, 0, RAFT_META_MAX);
    out[0] = (uint8_t)entry->size;
    out[1] = (uint8_t)(entry->size >> 8);
    out[4] = RAFT_ENTRY_CONFIG;
    memcpy(out + 8, entry->data, entry->size);
    return raft_entry_size(entry->size);
}

/*
 * R41: a joiner's only membership is cut by the entry that holds another. The older term comes
 * last: whoever wrote 2:term 5 was deposed by one that had 1:term 4 and lacked the rest.
 */
static void only_membership_of_a_joiner_gives_way_to_another_at_once(void)
{
    struct cluster *cluster = group(3, 4);
    uint8_t bytes[RAFT_META_MAX + 8] = {0, 0, 0, 0, RAFT_ENTRY_NOOP, 0, 0, 0};
    cluster_isolate(cluster, 4);
    size_t size = entry_with_membership(cluster, bytes + 8);
    raft_message first = cluster_forge(cluster, 1, 4, 5, RAFT_MESSAGE_APPEND);
    first.range_count = 1;
    first.ranges[0] = (raft_range){1, 5, 2, 8 + size, bytes};
    CHECK_EQ(cluster_inject(cluster, 4, &first), RAFT_OK);
    CHECK_STR(members_at(cluster, 4), "1 2 3 4l");
    CHECK_EQ(version_at(cluster, 4), 2);
    raft_message second = cluster_forge(cluster, 2, 4, 6, RAFT_MESSAGE_APPEND);
    second.range_count = 1;
    second.ranges[0] = (raft_range){1, 4, 1, size, bytes + 8};
    CHECK_EQ(cluster_inject(cluster, 4, &second), RAFT_OK);
    CHECK_STR(members_at(cluster, 4), "1 2 3 4l");
    CHECK_EQ(version_at(cluster, 4), 1);
    raft_message third = cluster_forge(cluster, 3, 4, 7, RAFT_MESSAGE_APPEND);
    third.range_count = 1;
    third.ranges[0] = (raft_range){1, 7, 1, 8, bytes};
    CHECK_EQ(cluster_inject(cluster, 4, &third), RAFT_OK);
    CHECK_STR(members_at(cluster, 4), "none");
    CHECK(raft_check(cluster->nodes[4].raft) == NULL);
    CLUSTER_DONE(cluster);
}

/* Catalogue 46: what is in the log governs, after a restart too, committed or not. */
static void uncommitted_membership_governs_after_a_restart(void)
{
    struct cluster *cluster = group(3, 4);
    cluster_hold(cluster, 2, 1);
    cluster_hold(cluster, 3, 1);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l"), RAFT_OK);
    cluster_run(cluster, T / 2);
    for (raft_id id = 1; id <= 3; id++) {
        cluster_crash(cluster, id);
    }
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    CHECK_EQ(cluster_restart_stepwise(cluster, 3), RAFT_OK);
    CHECK_STR(members_at(cluster, 2), "1 2 3 4l");
    CHECK_STR(members_at(cluster, 3), "1 2 3 4l");
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_heal_all(cluster);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK_STR(members_at(cluster, 4), "1 2 3 4l");
    CLUSTER_DONE(cluster);
}

/* R44: never twice, whatever else happens meanwhile. */
static void joint_membership_is_left_exactly_once(void)
{
    struct cluster *cluster = group(5, 7);
    CHECK_EQ(change(cluster, 1, "1 2 3 4 5 6l 7l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(change(cluster, 1, "1 2 3 6 7"), RAFT_OK);
    for (int i = 0; i < 50; i++) {
        CHECK(cluster_propose(cluster, 1, "while joint") > 0);
        cluster_settle(cluster);
        int expected = cluster_status(cluster, 1).membership_joint ? RAFT_EBUSY : RAFT_OK;
        CHECK_EQ(change(cluster, 1, "1 2 3"), expected);
        if (!cluster_status(cluster, 1).membership_joint) {
            break;
        }
    }
    cluster_run(cluster, 2 * LONGEST);
    CHECK_STR(members_at(cluster, 1), "1 2 3");
    size_t joint = 0;
    for (size_t i = 0; i < cluster->nodes[2].event_count; i++) {
        joint += cluster->nodes[2].events[i].event.kind == RAFT_EVENT_MEMBERS;
    }
    CHECK(joint >= 3);
    CHECK_EQ(configs_stored(cluster, 1), 5); /* learners; joint, left; joint, left */
    CLUSTER_DONE(cluster);
}

/* The joint entry is committed, and its leader dies: the next one leaves it. */
static void joint_membership_is_left_by_the_next_leader(void)
{
    struct cluster *cluster = group(3, 5);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(change(cluster, 1, "1 4 5"), RAFT_OK);
    raft_index joint = version_at(cluster, 1);
    CHECK_EQ(cluster_poll(cluster, 1), RAFT_OK);
    for (raft_id id = 2; id <= 5; id++) { /* all hold it, nobody knows that it is committed */
        cluster_hold(cluster, id, 1);
        cluster_deliver_all(cluster, 1, id);
    }
    cluster_settle(cluster);
    CHECK_EQ(version_at(cluster, 5), joint);
    CHECK(cluster_status(cluster, 5).membership_joint);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    cluster_run(cluster, 8 * LONGEST);
    raft_id leader = cluster_stable_leader(cluster);
    CHECK(leader != 0);
    CHECK_STR(members_at(cluster, leader), "1 4 5");
    CHECK(cluster_commit(cluster, leader) > joint);
    CLUSTER_DONE(cluster);
}

/*
 * R42, P10: whoever leads now leaves it when it is committed, and something of the own term; until
 * then other logs, with other memberships, may yet win.
 */
static void joint_membership_is_not_left_before_it_is_committed_in_the_term(void)
{
    struct cluster *cluster = group(3, 5);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(change(cluster, 1, "1 2 4 5"), RAFT_OK);
    raft_index joint = version_at(cluster, 1);
    CHECK_EQ(cluster_poll(cluster, 1), RAFT_OK);
    for (raft_id id = 2; id <= 5; id++) { /* they hold it, and nobody has heard of that */
        cluster_hold(cluster, id, 1);
        cluster_deliver_all(cluster, 1, id);
    }
    cluster_crash(cluster, 1);
    cluster_drop_all(cluster, 0, 0);
    cluster_heal_all(cluster);
    cluster_advance(cluster, T);
    for (int i = 0; i < 20 && cluster_role(cluster, 2) != RAFT_ROLE_LEADER; i++) {
        raft_campaign(cluster->nodes[2].raft);
        cluster_poll(cluster, 2);
        for (int questions = 0; questions < 2; questions++) { /* a pre-vote, then a vote */
            for (raft_id id = 3; id <= 5; id++) {
                cluster_deliver_all(cluster, 2, id);
                cluster_deliver_all(cluster, id, 2);
            }
        }
        cluster_advance(cluster, 100);
    }
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_LEADER);
    CHECK_EQ(version_at(cluster, 2), joint);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_STR(members_at(cluster, 2), "1 2 4 5");
    CLUSTER_DONE(cluster);
}

/* Both halves decide, though the old one is a single server (catalogue 35, R43). */
static void joint_membership_with_a_single_old_voter_has_no_shortcut(void)
{
    struct cluster *cluster = group(1, 3);
    CHECK_EQ(change(cluster, 1, "1 2l 3l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    cluster_hold(cluster, 2, 1);
    cluster_hold(cluster, 3, 1);
    raft_index before = cluster_commit(cluster, 1);
    CHECK_EQ(change(cluster, 1, "1 2 3"), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 1).membership_joint, 1);
    cluster_settle(cluster);
    CHECK_EQ(cluster_status(cluster, 1).durable_index, before + 1);
    CHECK_EQ(cluster_commit(cluster, 1), before);
    CHECK_EQ(raft_read(cluster->nodes[1].raft, 7), RAFT_OK);
    cluster_run(cluster, T / 4);
    CHECK(cluster_read_answer(cluster, 1, 7) == NULL);
    cluster_heal_all(cluster);
    cluster_run(cluster, T);
    CHECK(cluster_read_answer(cluster, 1, 7) != NULL);
    CHECK_STR(members_at(cluster, 1), "1 2 3");
    CLUSTER_DONE(cluster);
}

/* R47: what the smaller quorum holds already is committed at once. */
static void entries_commit_when_the_voter_that_was_missing_is_removed(void)
{
    struct cluster *cluster = group(4, 4);
    cluster_crash(cluster, 4);
    cluster_isolate(cluster, 3);
    raft_index index = cluster_propose(cluster, 1, "two of four");
    cluster_settle(cluster);
    CHECK(cluster_commit(cluster, 1) < index);
    cluster_heal_all(cluster);
    cluster_run(cluster, T / 2);
    cluster_isolate(cluster, 3);
    index = cluster_propose(cluster, 1, "two of four again");
    cluster_settle(cluster);
    CHECK(cluster_commit(cluster, 1) < index);
    CHECK_EQ(change(cluster, 1, "1 2 3"), RAFT_OK);
    cluster_settle(cluster);
    CHECK(cluster_commit(cluster, 1) > index);
    CLUSTER_DONE(cluster);
}

/*
 * It governs since it was appended, however far apply has come: of the old three voters only the
 * candidate is left, so without the votes of the new ones nobody could be elected (R41).
 */
static void committed_membership_governs_before_it_is_applied(void)
{
    struct cluster *cluster = group(3, 5);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    cluster->nodes[2].apply_async = 1;
    CHECK(cluster_propose(cluster, 1, "that takes its time") > 0);
    cluster_settle(cluster);
    CHECK_EQ(change(cluster, 1, "1 2 3 4 5"), RAFT_OK);
    cluster_run(cluster, T);
    CHECK_STR(members_at(cluster, 2), "1 2 3 4 5");
    CHECK(cluster_commit(cluster, 2) >= version_at(cluster, 2));
    CHECK(cluster_status(cluster, 2).applied_index + 2 < version_at(cluster, 2));
    cluster_crash(cluster, 1);
    cluster_isolate(cluster, 3);
    cluster_run(cluster, T + 1);
    CHECK(cluster_elect(cluster, 2));
    CHECK(cluster_status(cluster, 2).applied_index + 2 < version_at(cluster, 2));
    CHECK(cluster_propose(cluster, 2, "by one of the old and two new") > 0);
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 2), cluster_status(cluster, 2).last_index);
    cluster->nodes[2].apply_async = 0;
    CHECK_EQ(cluster_complete_apply(cluster, 2), RAFT_OK);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_heal_all(cluster);
    cluster_run(cluster, 2 * LONGEST);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

static void learners_count_for_nothing(void)
{
    struct cluster *cluster = group(3, 5);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    cluster_isolate(cluster, 2);
    cluster_isolate(cluster, 3);
    raft_index index = cluster_propose(cluster, 1, "held by three of five");
    CHECK_EQ(raft_read(cluster->nodes[1].raft, 7), RAFT_OK);
    cluster_run(cluster, T / 2);
    CHECK_EQ(cluster_peer(cluster, 1, 4).match, index);
    CHECK(cluster_commit(cluster, 1) < index);
    CHECK(cluster_read_answer(cluster, 1, 7) == NULL);
    cluster_run(cluster, 4 * LONGEST);
    CHECK_EQ(cluster_leader(cluster), 0); /* without a quorum, and no learner campaigns */
    CHECK_EQ(raft_campaign(cluster->nodes[4].raft), RAFT_ENOTMEMBER);
    CLUSTER_DONE(cluster);
}

/*
 * Whatever they claim to hold, and to have accepted: learners, who was removed, and strangers move no
 * commit index and confirm no read (R47, P7).
 */
static void forged_acknowledgements_of_who_does_not_vote_commit_nothing(void)
{
    struct cluster *cluster = group(4, 6);
    CHECK_EQ(change(cluster, 1, "1 2 3 5l"), RAFT_OK); /* 4 is removed, 6 was never there */
    cluster_run(cluster, 3 * LONGEST);
    raft_index committed = cluster_commit(cluster, 1);
    for (raft_id id = 2; id <= 6; id++) {
        cluster_isolate(cluster, id);
    }
    raft_index index = cluster_propose(cluster, 1, "at the leader alone");
    CHECK_EQ(raft_read(cluster->nodes[1].raft, 7), RAFT_OK);
    uint64_t mark = cluster_mark(cluster);
    cluster_run(cluster, 101);
    const struct cluster_message *beat = cluster_sent(cluster, mark, 1, 5, RAFT_MESSAGE_HEARTBEAT);
    CHECK(beat != NULL);
    raft_message forged =
        cluster_forge(cluster, 5, 1, cluster_term(cluster, 1), RAFT_MESSAGE_APPEND_REPLY);
    forged.round = beat->message.round;
    forged.index = index;
    for (raft_id from = 4; from <= 6; from++) {
        forged.from = from;
        for (int flags = 0; flags <= RAFT_FLAG_ACCEPTED; flags += RAFT_FLAG_ACCEPTED) {
            forged.flags = flags;
            CHECK_EQ(cluster_inject(cluster, 1, &forged), RAFT_OK);
        }
    }
    cluster_run(cluster, T / 2);
    CHECK_EQ(cluster_peer(cluster, 1, 5).match, index);
    CHECK_EQ(cluster_commit(cluster, 1), committed);
    CHECK(cluster_read_answer(cluster, 1, 7) == NULL);
    forged.from = 2; /* the same of a voter counts */
    CHECK_EQ(cluster_inject(cluster, 1, &forged), RAFT_OK);
    CHECK_EQ(cluster_commit(cluster, 1), index);
    cluster_settle(cluster);
    CHECK(cluster_read_answer(cluster, 1, 7) != NULL);
    CLUSTER_DONE(cluster);
}

/* ---- Leaving -------------------------------------------------------------------------------- */

static void removed_server_moves_no_term(void)
{
    struct cluster *cluster = group(4, 4);
    cluster_isolate(cluster, 4); /* it never hears that it is removed */
    CHECK_EQ(change(cluster, 1, "1 2 3"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    cluster_heal_all(cluster);
    raft_term term = cluster_term(cluster, 1);
    cluster_run(cluster, 20 * LONGEST);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CHECK_STR(members_at(cluster, 4), "1 2 3 4");
    CLUSTER_DONE(cluster);
}

/* It does not know that it is a learner by now, and has campaigned alone meanwhile (R19, R21). */
static void demoted_voter_that_comes_back_with_a_higher_term_settles(void)
{
    struct cluster *cluster = cluster_create(4);
    cluster->nodes[4].options.no_pre_vote = 1;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    CHECK(cluster_propose(cluster, 1, "before") > 0);
    cluster_run(cluster, T);
    cluster_isolate(cluster, 4);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l"), RAFT_OK);
    cluster_run(cluster, 5 * LONGEST);
    CHECK_STR(members_at(cluster, 1), "1 2 3 4l");
    CHECK_STR(members_at(cluster, 4), "1 2 3 4");
    CHECK(cluster_term(cluster, 4) > cluster_term(cluster, 1) + 1);
    cluster_heal_all(cluster);
    cluster_run(cluster, 5 * LONGEST);
    raft_id leader = cluster_stable_leader(cluster);
    CHECK(leader >= 1 && leader <= 3);
    CHECK_STR(members_at(cluster, 4), "1 2 3 4l");
    CHECK_EQ(cluster_status(cluster, 4).leader, leader);
    raft_term term = cluster_term(cluster, leader);
    CHECK(cluster_propose(cluster, leader, "after") > 0);
    cluster_run(cluster, 20 * LONGEST);
    CHECK_EQ(cluster_stable_leader(cluster), leader);
    CHECK_EQ(cluster_term(cluster, 4), term);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

static void removed_server_that_knows_it_stays_silent(void)
{
    struct cluster *cluster = group(4, 4);
    raft_term term = cluster_term(cluster, 1);
    CHECK_EQ(change(cluster, 1, "1 2 3"), RAFT_OK);
    cluster_settle(cluster);
    uint64_t mark = cluster_mark(cluster);
    cluster_run(cluster, 10 * LONGEST);
    CHECK_EQ(cluster_sent_count(cluster, mark, 4, 0, RAFT_MESSAGE_PRE_VOTE) > 0,
             cluster_commit(cluster, 4) < version_at(cluster, 1));
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_term(cluster, 1), term);
    CLUSTER_DONE(cluster);
}

/* R46: a leader that removes itself goes on without counting itself. */
static void leader_that_removes_itself_does_not_count_itself(void)
{
    struct cluster *cluster = group(3, 3);
    cluster_hold(cluster, 2, 1);
    cluster_hold(cluster, 3, 1);
    CHECK_EQ(change(cluster, 1, "2 3"), RAFT_OK);
    raft_index later = cluster_propose(cluster, 1, "behind its removal");
    CHECK(later > 0);
    cluster_settle(cluster);
    CHECK_EQ(cluster_status(cluster, 1).durable_index, later);
    cluster_deliver_all(cluster, 2, 1);
    CHECK(cluster_commit(cluster, 1) < version_at(cluster, 1)); /* one of two */
    cluster_heal_all(cluster);
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 1), later);
    cluster_run(cluster, 4 * LONGEST);
    raft_id leader = cluster_stable_leader(cluster);
    CHECK(leader == 2 || leader == 3);
    CHECK_EQ(raft_campaign(cluster->nodes[1].raft), RAFT_ENOTMEMBER);
    raft_index last = cluster_propose(cluster, leader, "without it");
    CHECK(last > later + cluster_noops(cluster));
    cluster_run(cluster, T);
    CHECK_EQ(cluster_commit(cluster, leader), last);
    CLUSTER_DONE(cluster);
}

/* R16: holding the entry it elects itself alone, though it never heard that it is committed. */
static void survivor_of_two_that_holds_the_removal_elects_itself(void)
{
    struct cluster *cluster = group(2, 2);
    cluster_hold(cluster, 2, 1);
    CHECK_EQ(change(cluster, 1, "1"), RAFT_OK);
    cluster_settle(cluster);
    CHECK_STR(members_at(cluster, 1), "1");
    cluster_crash(cluster, 2);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster_commit(cluster, 1), cluster_status(cluster, 1).last_index);
    CLUSTER_DONE(cluster);
}

static void survivor_of_two_without_the_removal_waits_for_the_other(void)
{
    struct cluster *cluster = group(2, 2);
    cluster_cut(cluster, 1, 2);
    CHECK_EQ(change(cluster, 1, "1"), RAFT_OK);
    cluster_settle(cluster);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    cluster_run(cluster, 10 * LONGEST);
    CHECK_EQ(cluster_leader(cluster), 0);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_EQ(cluster_leader(cluster), 1);
    CLUSTER_DONE(cluster);
}

/* R28, catalogue 41: an acknowledgement from before it was removed says nothing of now. */
static void acknowledgement_of_an_earlier_membership_raises_nothing(void)
{
    struct cluster *cluster = group(3, 4);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    cluster_hold(cluster, 4, 1);
    raft_index index = cluster_propose(cluster, 1, "acknowledged late");
    cluster_settle(cluster);
    CHECK(cluster_queued(cluster, 4, 1) > 0);
    cluster_isolate(cluster, 2); /* no heartbeat on the way may change the script */
    cluster_heal_all(cluster);
    cluster_hold(cluster, 4, 1);
    CHECK_EQ(change(cluster, 1, "1 2 3"), RAFT_OK);
    cluster_settle(cluster);
    cluster_hold(cluster, 1, 4);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l"), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_peer(cluster, 1, 4).match, 0);
    cluster_deliver_all(cluster, 4, 1);
    CHECK_EQ(cluster_peer(cluster, 1, 4).match, 0);
    CHECK(index > 0);
    cluster_heal_all(cluster);
    cluster_run(cluster, T);
    CHECK_EQ(cluster_peer(cluster, 1, 4).match, cluster_status(cluster, 1).last_index);
    CLUSTER_DONE(cluster);
}

/*
 * R48 must not be mistaken: what a peer refused before a restart may arrive after what it
 * acknowledged since, with a higher round than that, because a restart forgets rounds.
 */
static void late_refusal_from_before_a_restart_is_no_loss(void)
{
    struct cluster *cluster = group(3, 3);
    cluster_run(cluster, LONGEST);
    uint64_t round = cluster->sent[cluster->sent_count - 1].message.round; /* a heartbeat's */
    cluster_crash(cluster, 3);
    raft_index index = cluster_propose(cluster, 1, "missed");
    cluster_run(cluster, T / 2);
    CHECK_EQ(cluster_restart(cluster, 3), RAFT_OK);
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_peer(cluster, 1, 3).match, index);
    raft_message late =
        cluster_forge(cluster, 3, 1, cluster_term(cluster, 1), RAFT_MESSAGE_APPEND_REPLY);
    late.refused = 1;
    late.round = round;
    late.refused_index = index;
    late.index = index - 1;
    late.index_term = 1;
    CHECK_EQ(cluster_inject(cluster, 1, &late), RAFT_OK);
    CHECK_EQ(cluster_peer(cluster, 1, 3).state, RAFT_PEER_REPLICATE);
    CHECK(cluster_event(cluster, 1, 0, RAFT_EVENT_REGRESSION) == NULL);
    CLUSTER_DONE(cluster);
}

/* R42: leaving is a change like another; a new leader commits something of its own first. */
static void new_leader_leaves_a_joint_membership_only_behind_its_no_op(void)
{
    struct cluster *cluster = group(3, 5);
    CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    cluster_hold(cluster, 1, 2); /* so that 2 gets the joint entry and its commit, no more */
    CHECK_EQ(change(cluster, 1, "1 2 3 4 5"), RAFT_OK);
    raft_index joint = version_at(cluster, 1);
    for (int i = 0; i < 40 && cluster_commit(cluster, 2) < joint; i++) {
        cluster_settle(cluster);
        cluster_deliver(cluster, 1, 2);
    }
    CHECK(cluster_commit(cluster, 2) >= joint);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    cluster_run(cluster, 6 * LONGEST);
    raft_id leader = cluster_stable_leader(cluster);
    CHECK(leader != 0);
    CHECK_STR(members_at(cluster, leader), "1 2 3 4 5");
    raft_term own = cluster_term(cluster, leader);
    raft_index index = joint + 1;
    while (cluster_stored(cluster, leader, index)->term < own) {
        index++;
    }
    CHECK_EQ(cluster_stored(cluster, leader, index)->kind, RAFT_ENTRY_NOOP);
    CLUSTER_DONE(cluster);
}

/* R48: reported, not counted, not followed. */
static void member_that_lost_its_log_is_reported_and_counts_for_nothing(void)
{
    struct cluster *cluster = group(3, 3);
    cluster_crash(cluster, 3);
    free(cluster->nodes[3].store.meta);
    for (size_t i = 0; i < cluster->nodes[3].store.log.count; i++) {
        free(cluster->nodes[3].store.log.entries[i].data);
    }
    cluster->nodes[3].store.log.count = 0;
    cluster->nodes[3].store.meta = NULL;
    cluster->nodes[3].store.meta_size = 0;
    cluster->nodes[3].store.confirmed_last = 0;
    cluster->nodes[3].store.any = 0;
    memset(&cluster->nodes[3].store.state, 0, sizeof(raft_hard_state));
    CHECK_EQ(cluster_restart(cluster, 3), RAFT_OK);
    cluster_run(cluster, LONGEST);
    const raft_event *event = cluster_event(cluster, 1, 0, RAFT_EVENT_REGRESSION);
    CHECK(event != NULL);
    CHECK_EQ(event->peer, 3);
    CHECK_EQ(cluster_event_count(cluster, 1, 0, RAFT_EVENT_REGRESSION), 1);
    CHECK_EQ(cluster_peer(cluster, 1, 3).state, RAFT_PEER_LOST);
    CHECK_EQ(cluster_propose(cluster, 1, "by two"), 2 + cluster_noops(cluster));
    cluster_run(cluster, T);
    CHECK_EQ(cluster_commit(cluster, 1), 2 + cluster_noops(cluster));
    CHECK_EQ(cluster_status(cluster, 3).last_index, 0);
    CHECK_EQ(change(cluster, 1, "1 2"), RAFT_OK); /* to be removed, and added as a new one */
    cluster_run(cluster, T);
    CHECK_STR(members_at(cluster, 2), "1 2");
    CLUSTER_DONE(cluster);
}

/* ---- Witnesses ------------------------------------------------------------------------------ */

static struct cluster *group_with_witness(void)
{
    struct cluster *cluster = group(2, 3);
    CHECK_EQ(change(cluster, 1, "1 2 3w"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_STR(members_at(cluster, 3), "1 2 3w");
    CHECK_EQ(cluster_status(cluster, 1).witness_count, 1);
    return cluster;
}

static void witness_keeps_headers_and_memberships_and_applies_nothing(void)
{
    struct cluster *cluster = group_with_witness();
    raft_index index = cluster_propose(cluster, 1, "secret");
    cluster_run(cluster, T);
    CHECK_EQ(cluster_stored(cluster, 3, index)->kind, RAFT_ENTRY_STRIPPED);
    CHECK_EQ(cluster_stored(cluster, 3, index)->size, 0);
    CHECK_EQ(cluster_stored(cluster, 3, index)->term, cluster_stored(cluster, 1, index)->term);
    raft_index noops = cluster_noops(cluster);
    CHECK(noops == 0 || cluster_stored(cluster, 3, 1)->kind == RAFT_ENTRY_NOOP);
    CHECK_EQ(cluster_stored(cluster, 3, noops + 1)->kind, RAFT_ENTRY_STRIPPED);
    CHECK_EQ(cluster_stored(cluster, 3, noops + 2)->kind, RAFT_ENTRY_CONFIG);
    CHECK_EQ(cluster->nodes[3].applied.count, 0);
    CHECK_EQ(cluster_status(cluster, 3).applied_index, index);
    cluster_crash(cluster, 3);
    CHECK_EQ(cluster_restart(cluster, 3), RAFT_OK);
    cluster_run(cluster, T);
    CHECK_EQ(cluster_status(cluster, 3).applied_index, index);
    CHECK_EQ(cluster->nodes[3].applied.count, 0);
    CLUSTER_DONE(cluster);
}

static void witness_commits_with_the_leader_when_the_other_is_gone(void)
{
    struct cluster *cluster = group_with_witness();
    cluster_crash(cluster, 2);
    raft_index index = cluster_propose(cluster, 1, "with the witness");
    cluster_run(cluster, T);
    CHECK_EQ(cluster_commit(cluster, 1), index);
    cluster_run(cluster, 5 * LONGEST);
    CHECK_EQ(cluster_leader(cluster), 1);
    /* The availability cost: 2 lacks the entry, and nobody can lead until 1 is back. */
    cluster_crash(cluster, 1);
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    cluster_run(cluster, 10 * LONGEST);
    CHECK_EQ(cluster_leader(cluster), 0);
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_ENOTMEMBER);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK_STR(cluster_applied_text(cluster, 2, index), "with the witness");
    CLUSTER_DONE(cluster);
}

/* R56: not before enough data voters hold it durably: here the leader itself. */
static void witness_hears_of_nothing_that_could_be_lost(void)
{
    struct cluster *cluster = group_with_witness();
    cluster_isolate(cluster, 2);
    cluster_store_async(cluster, 1, 1);
    uint64_t mark = cluster_mark(cluster);
    raft_index index = cluster_propose(cluster, 1, "not durable yet");
    cluster_run(cluster, T / 2);
    for (const struct cluster_message *sent =
             cluster_sent(cluster, mark, 1, 3, RAFT_MESSAGE_APPEND);
         sent != NULL; sent = cluster_sent(cluster, sent->number, 1, 3, RAFT_MESSAGE_APPEND)) {
        CHECK_EQ(sent->message.range_count, 0);
    }
    CHECK(cluster_status(cluster, 3).last_index < index);
    cluster_complete(cluster, 1);
    cluster_settle(cluster);
    CHECK_EQ(cluster_status(cluster, 3).last_index, index);
    CHECK_EQ(cluster_commit(cluster, 1), index);
    cluster_store_async(cluster, 1, 0);
    CLUSTER_DONE(cluster);
}

/* The witness answers first, and its log is as good as any; but the payloads are with 2 (R56, N7). */
static void candidate_behind_a_witness_pulls_from_who_has_the_payloads(void)
{
    struct cluster *cluster = group(2, 5);
    CHECK_EQ(change(cluster, 1, "1 2 3w 4l 5l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(change(cluster, 1, "1 2 3w 4 5"), RAFT_OK);
    cluster_run(cluster, T);
    cluster_isolate(cluster, 4);
    cluster_isolate(cluster, 5);
    raft_index index = cluster_propose(cluster, 1, "with a witness");
    cluster_run(cluster, T / 2);
    CHECK_EQ(cluster_commit(cluster, 1), index);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    cluster_isolate(cluster, 5);
    cluster_advance(cluster, T); /* nobody is bound any more; 4 is ordered to go first */
    cluster_drop_all(cluster, 0, 0);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(raft_campaign(cluster->nodes[4].raft), RAFT_OK);
    cluster_poll(cluster, 4);
    for (int turns = 0; turns < 10 && cluster_role(cluster, 4) != RAFT_ROLE_LEADER; turns++) {
        for (raft_id other = 3; other >= 2; other--) {
            cluster_deliver_all(cluster, 4, other);
            cluster_deliver_all(cluster, other, 4);
        }
    }
    CHECK_EQ(cluster_role(cluster, 4), RAFT_ROLE_LEADER);
    CHECK_EQ(cluster_sent_count(cluster, mark, 4, 3, RAFT_MESSAGE_PULL), 0);
    CHECK(cluster_sent_count(cluster, mark, 4, 2, RAFT_MESSAGE_PULL) > 0);
    cluster_settle(cluster);
    CHECK_STR(cluster_applied_text(cluster, 4, index), "with a witness");
    CLUSTER_DONE(cluster);
}

/*
 * R56, P17: the witness knows of an entry of which the dead leader and a learner have the payload.
 * The one data voter left finds it at the learner, which does not count for anything.
 */
static void payloads_that_only_a_learner_has_are_found_there(void)
{
    struct cluster *cluster = cluster_create(4);
    cluster->founders = 2;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(change(cluster, 1, "1 2 3w 4l"), RAFT_OK);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_STR(members_at(cluster, 4), "1 2 3w 4l");
    cluster_isolate(cluster, 2);
    raft_index index = cluster_propose(cluster, 1, "at a learner");
    cluster_run(cluster, T / 2);
    CHECK_EQ(cluster_commit(cluster, 1), index);
    CHECK(cluster_stored(cluster, 4, index) != NULL);
    CHECK_EQ(cluster_status(cluster, 3).last_index, index);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    cluster_run(cluster, 20 * LONGEST);
    CHECK_EQ(cluster_leader(cluster), 2);
    CHECK_STR(cluster_applied_text(cluster, 2, index), "at a learner");
    CLUSTER_DONE(cluster);
}

static void headers_are_refused_by_a_server_that_keeps_data(void)
{
    struct cluster *cluster = group(3, 3);
    static const uint8_t header[8] = {0, 0, 0, 0, RAFT_ENTRY_STRIPPED, 0, 0, 0};
    raft_index last = cluster_status(cluster, 2).last_index;
    raft_message message =
        cluster_forge(cluster, 1, 2, cluster_term(cluster, 1), RAFT_MESSAGE_APPEND);
    message.index = last;
    message.index_term = 1;
    message.range_count = 1;
    message.ranges[0] = (raft_range){last + 1, 1, 1, sizeof header, header};
    CHECK_EQ(cluster_inject(cluster, 2, &message), RAFT_EMALFORMED);
    CHECK_EQ(cluster_status(cluster, 2).last_index, last);
    CLUSTER_DONE(cluster);
}

static void witness_stays_a_witness(void)
{
    struct cluster *cluster = group_with_witness();
    CHECK_EQ(change(cluster, 1, "1 2 3"), RAFT_EARG);
    CHECK_EQ(change(cluster, 1, "1 2 3l"), RAFT_EARG);
    CHECK_EQ(change(cluster, 1, "1 2w 3w"), RAFT_EARG);
    CHECK_EQ(change(cluster, 1, "1 2"), RAFT_OK);
    cluster_run(cluster, T);
    CHECK_STR(members_at(cluster, 2), "1 2");
    CLUSTER_DONE(cluster);
}

/* ---- Quorums and zones ---------------------------------------------------------------------- */

static void quorums_are_changed_through_a_joint_membership_where_one_step_is_not_safe(void)
{
    struct cluster *cluster = group(5, 5);
    struct wish wish;
    wish_for(&wish, "1 2 3 4 5");
    wish.membership.commit_quorum = 2;
    CHECK_EQ(ask(cluster, 1, &wish), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 1).membership_joint, 1); /* 3 + 2 is not above 5 (Q5) */
    cluster_run(cluster, T);
    CHECK_EQ(cluster_status(cluster, 1).membership_joint, 0);
    CHECK_EQ(cluster_status(cluster, 3).commit_quorum, 2);
    CHECK_EQ(cluster_status(cluster, 3).election_quorum, 4);
    CHECK_EQ(cluster_status(cluster, 3).failures_tolerated, 1);
    cluster_isolate(cluster, 3);
    cluster_isolate(cluster, 4);
    cluster_isolate(cluster, 5);
    raft_index index = cluster_propose(cluster, 1, "by two of five");
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(cluster_commit(cluster, 1), index);
    CHECK_EQ(cluster_leader(cluster), 1);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    cluster_run(cluster, 4 * LONGEST);
    raft_id leader = cluster_stable_leader(cluster); /* by four of five, which meet every two */
    CHECK(leader != 0);
    CHECK(cluster_commit(cluster, leader) >= index + cluster_noops(cluster));
    CHECK_STR(cluster_applied_text(cluster, leader, index), "by two of five");
    CLUSTER_DONE(cluster);
}

/*
 * While the commit quorum changes under load, the victim's disk takes so many steps of what is
 * written, in the order in which it is written, and then it crashes. False: the change was over.
 */
static int crash_amid_the_change(struct cluster *cluster, raft_id victim, size_t steps)
{
    size_t pending = 0;
    for (int i = 0; i < 20 && pending <= steps; i++) {
        steps -= pending;
        cluster_complete(cluster, victim);
        cluster_propose(cluster, 1, "load");
        cluster_run(cluster, 5);
        pending = cluster_pending_steps(cluster, victim);
    }
    raft_status status = cluster_status(cluster, victim);
    int is_over = pending <= steps ||
                  (!status.membership_joint && status.commit_index >= status.membership_version &&
                   status.membership_version > 0);
    cluster_crash_after(cluster, victim, steps);
    cluster_store_async(cluster, victim, 0);
    return !is_over;
}

/* What elects among five under a membership, and what commits: in both halves while joint (Q1). */
static size_t quorum_of_five(const struct cluster *cluster, raft_id id, int elects)
{
    raft_member members[RAFT_MEMBERS_MAX];
    raft_membership is;
    raft_membership_init(&is);
    CHECK_EQ(raft_get_membership(cluster->nodes[id].raft, &is, members, RAFT_MEMBERS_MAX), RAFT_OK);
    raft_status status = cluster_status(cluster, id);
    size_t quorum = elects ? status.election_quorum : status.commit_quorum;
    size_t former = elects ? 5 - is.former_commit_quorum + 1 : is.former_commit_quorum;
    return is.joint && former > quorum ? former : quorum;
}

/* I16: what elects somewhere meets what commits there, or under the membership before or after. */
static void expect_quorums_that_meet(const struct cluster *cluster)
{
    for (raft_id one = 1; one <= 5; one++) {
        for (raft_id other = 1; other <= 5; other++) {
            if (cluster->nodes[one].raft != NULL && cluster->nodes[other].raft != NULL &&
                configs_stored(cluster, one) <= configs_stored(cluster, other) + 1 &&
                configs_stored(cluster, other) <= configs_stored(cluster, one) + 1) {
                CHECK(quorum_of_five(cluster, one, 1) + quorum_of_five(cluster, other, 0) > 5);
            }
        }
    }
}

/* Five of whom so many commit. Nobody asks before it campaigns: an election quorum is enough. */
static struct cluster *five_with_commit_quorum(uint32_t commit_quorum)
{
    struct cluster *cluster = cluster_create(5);
    cluster->commit_quorum = commit_quorum;
    for (raft_id id = 1; id <= 5; id++) {
        cluster->nodes[id].options.no_pre_vote = 1;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    CHECK(cluster_propose(cluster, 1, "before") > 0);
    cluster_run(cluster, T);
    return cluster;
}

/* 1 and 2 are out of reach, and who saw least of what they did has the time to elect a leader. */
static void let_the_others_lead(struct cluster *cluster)
{
    cluster_drop_all(cluster, 0, 0);
    cluster_heal_all(cluster);
    cluster_isolate(cluster, 1);
    cluster_isolate(cluster, 2);
    for (int i = 0; i < 8; i++) {
        cluster_run(cluster, T);
        for (raft_id id = 3; id <= 5; id++) {
            if (cluster->nodes[id].raft != NULL && cluster_role(cluster, id) == RAFT_ROLE_LEADER) {
                cluster_propose(cluster, id, "rival");
            }
        }
    }
}

/*
 * The change is asked for with everybody there, or with 2 alone within the leader's reach. After the
 * crash those who saw least of it go first. What was ever committed, by whatever quorum, is there in
 * the end, and every term has one leader (the harness watches that).
 */
static void commit_quorum_change_with_a_crash(uint32_t from, uint32_t to, raft_id victim,
                                              int everybody)
{
    int is_amid = 1;
    for (size_t steps = 0; is_amid; steps++) {
        struct cluster *cluster = five_with_commit_quorum(from);
        struct wish wish;
        for (raft_id id = 3; id <= 5 && !everybody; id++) {
            cluster_isolate(cluster, id);
        }
        CHECK(cluster_propose(cluster, 1, "by the quorum before") > 0);
        cluster_settle(cluster);
        cluster_store_async(cluster, victim, 1);
        wish_for(&wish, "1 2 3 4 5");
        wish.membership.commit_quorum = to;
        CHECK_EQ(ask(cluster, 1, &wish), RAFT_OK);
        is_amid = crash_amid_the_change(cluster, victim, steps);
        expect_quorums_that_meet(cluster);
        let_the_others_lead(cluster);
        CHECK_EQ(cluster_restart(cluster, victim), RAFT_OK);
        cluster_heal_all(cluster);
        cluster_run(cluster, 4 * LONGEST);
        CHECK(cluster_propose(cluster, cluster_stable_leader(cluster), "after") > 0);
        cluster_run(cluster, T);
        expect_quorums_that_meet(cluster);
        CHECK(cluster_converged(cluster));
        CHECK_EQ(cluster_commit(cluster, 1), cluster->committed.count);
        raft_status status = cluster_status(cluster, victim);
        CHECK_EQ(status.membership_joint, 0);
        CHECK(status.commit_quorum == to || status.commit_quorum == from);
        CLUSTER_DONE(cluster);
    }
}

static void commit_quorum_changes_through_a_crash_at_each_write(void)
{
    for (raft_id victim = 1; victim <= 3; victim++) {
        for (int everybody = 0; everybody <= 1; everybody++) {
            commit_quorum_change_with_a_crash(2, 4, victim, everybody);
            commit_quorum_change_with_a_crash(4, 2, victim, everybody);
        }
    }
}

/* R57: a majority inside one zone is not enough. */
static void commits_reach_two_failure_zones(void)
{
    struct cluster *cluster = group(5, 5);
    struct wish wish;
    wish_for(&wish, "1 2 3 4 5");
    wish.membership.zones = 1;
    for (size_t i = 0; i < 5; i++) {
        wish.members[i].zone = i < 3 ? 1 : 2;
    }
    CHECK_EQ(ask(cluster, 1, &wish), RAFT_OK);
    cluster_run(cluster, T);
    cluster_isolate(cluster, 4);
    cluster_isolate(cluster, 5);
    raft_index index = cluster_propose(cluster, 1, "in one zone");
    cluster_run(cluster, T / 2);
    CHECK_EQ(cluster_peer(cluster, 1, 3).match, index);
    CHECK(cluster_commit(cluster, 1) < index);
    cluster_heal_all(cluster);
    cluster_isolate(cluster, 5);
    cluster_run(cluster, T / 2);
    CHECK_EQ(cluster_commit(cluster, 1), index);
    CLUSTER_DONE(cluster);
}

/* ---- Without memory ------------------------------------------------------------------------- */

static void change_without_memory_changes_nothing(void)
{
    int refused = 0;
    for (uint64_t fail_at = 1; fail_at < 20; fail_at++) {
        struct cluster *cluster = group(3, 5);
        struct cluster_memory *memory = &cluster->nodes[1].memory;
        memory->fail_at = memory->calls + fail_at;
        uint64_t before = cluster_fingerprint(cluster, 1);
        int code = change(cluster, 1, "1 2 3 4l 5l");
        CHECK(code == RAFT_OK || code == RAFT_ENOMEM);
        CHECK(code == RAFT_OK || cluster_fingerprint(cluster, 1) == before);
        refused += code == RAFT_ENOMEM;
        if (code != RAFT_OK) {
            CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_OK);
        }
        cluster_run(cluster, 3 * LONGEST);
        CHECK_STR(members_at(cluster, 5), "1 2 3 4l 5l");
        CHECK(cluster_converged(cluster));
        CLUSTER_DONE(cluster);
    }
    CHECK(refused >= 2);
}

static void follower_without_memory_for_a_membership_takes_it_later(void)
{
    for (uint64_t fail_at = 1; fail_at < 12; fail_at++) {
        struct cluster *cluster = group(3, 5);
        struct cluster_memory *memory = &cluster->nodes[2].memory;
        memory->fail_at = memory->calls + fail_at;
        CHECK_EQ(change(cluster, 1, "1 2 3 4l 5l"), RAFT_OK);
        CHECK(cluster_propose(cluster, 1, "behind it") > 0);
        cluster_run(cluster, 3 * LONGEST);
        CHECK_STR(members_at(cluster, 2), "1 2 3 4l 5l");
        CHECK(cluster_converged(cluster));
        CLUSTER_DONE(cluster);
    }
}

int main(void)
{
    RUN_BOTH(one_server_grows_to_three_through_a_joint_membership);
    RUN_BOTH(one_server_grows_to_three_by_single_steps);
    RUN_BOTH(learners_with_the_wish_become_voters_when_they_have_caught_up);
    RUN_BOTH(the_wish_outlives_the_leader_that_heard_it);
    RUN_BOTH(promotion_under_way_is_finished_whoever_leads);
    RUN_BOTH(membership_that_could_commit_nothing_is_refused);
    RUN_BOTH(dead_member_is_replaced_by_a_learner);
    RUN_BOTH(voter_added_while_unreachable_does_not_depose_the_leader);
    RUN_BOTH(change_against_a_stale_version_is_refused);
    RUN_BOTH(memberships_that_make_no_sense_are_refused);
    RUN_BOTH(owner_slots_are_given_once);
    RUN_BOTH(additions_are_refused_when_owner_slots_are_used_up);
    RUN_BOTH(rival_changes_of_two_leaders_never_both_commit);
    RUN_BOTH(change_waits_for_the_leaders_own_no_op);
    RUN_BOTH(truncated_membership_gives_way_to_the_one_before);
    RUN_BOTH(only_membership_of_a_joiner_gives_way_to_another_at_once);
    RUN_BOTH(uncommitted_membership_governs_after_a_restart);
    RUN_BOTH(joint_membership_is_left_exactly_once);
    RUN_BOTH(joint_membership_is_left_by_the_next_leader);
    RUN_BOTH(joint_membership_is_not_left_before_it_is_committed_in_the_term);
    RUN_BOTH(joint_membership_with_a_single_old_voter_has_no_shortcut);
    RUN_BOTH(entries_commit_when_the_voter_that_was_missing_is_removed);
    RUN_BOTH(committed_membership_governs_before_it_is_applied);
    RUN_BOTH(learners_count_for_nothing);
    RUN_BOTH(forged_acknowledgements_of_who_does_not_vote_commit_nothing);
    RUN_BOTH(removed_server_moves_no_term);
    RUN_BOTH(demoted_voter_that_comes_back_with_a_higher_term_settles);
    RUN_BOTH(removed_server_that_knows_it_stays_silent);
    RUN_BOTH(leader_that_removes_itself_does_not_count_itself);
    RUN_BOTH(survivor_of_two_that_holds_the_removal_elects_itself);
    RUN_BOTH(survivor_of_two_without_the_removal_waits_for_the_other);
    RUN_BOTH(acknowledgement_of_an_earlier_membership_raises_nothing);
    RUN_BOTH(late_refusal_from_before_a_restart_is_no_loss);
    RUN(new_leader_leaves_a_joint_membership_only_behind_its_no_op);
    RUN_BOTH(member_that_lost_its_log_is_reported_and_counts_for_nothing);
    RUN_BOTH(witness_keeps_headers_and_memberships_and_applies_nothing);
    RUN_BOTH(witness_commits_with_the_leader_when_the_other_is_gone);
    RUN_BOTH(witness_hears_of_nothing_that_could_be_lost);
    RUN_BOTH(candidate_behind_a_witness_pulls_from_who_has_the_payloads);
    RUN_BOTH(payloads_that_only_a_learner_has_are_found_there);
    RUN_BOTH(headers_are_refused_by_a_server_that_keeps_data);
    RUN_BOTH(witness_stays_a_witness);
    RUN_BOTH(quorums_are_changed_through_a_joint_membership_where_one_step_is_not_safe);
    RUN_BOTH(commit_quorum_changes_through_a_crash_at_each_write);
    RUN_BOTH(commits_reach_two_failure_zones);
    RUN_BOTH(change_without_memory_changes_nothing);
    RUN_BOTH(follower_without_memory_for_a_membership_takes_it_later);
    return check_done();
}
