/*
 * Proposals of servers that do not lead (rules R62, R63): sent once, one hop, appended all or none
 * and never twice, and each with one answer that is true.
 */
#include "check.h"
#include "cluster.h"
#include "lone.h"

#include <string.h>

static const uint64_t LONGEST = 2000;

/* ---- Groups --------------------------------------------------------------------------------- */

static struct cluster *forwarding(size_t count, size_t founders)
{
    struct cluster *cluster = cluster_create(count);
    cluster->founders = founders;
    for (raft_id id = 1; id <= count; id++) {
        cluster->nodes[id].options.incarnation = 100 + id;
        cluster->nodes[id].options.forward_bytes_max = 4096;
    }
    return cluster;
}

static struct cluster *led(size_t count)
{
    struct cluster *cluster = forwarding(count, count);
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    return cluster;
}

static int forward(struct cluster *cluster, raft_id id, const char *text, uint64_t tag)
{
    return raft_forward(cluster->nodes[id].raft, text, strlen(text), tag);
}

/* The one answer to a tag, or null; more than one is a failure. */
static const raft_event *outcome(struct cluster *cluster, raft_id id, uint64_t tag)
{
    const struct cluster_node *node = &cluster->nodes[id];
    const raft_event *found = NULL;
    for (size_t i = 0; i < node->event_count; i++) {
        const raft_event *event = &node->events[i].event;
        if (event->kind == RAFT_EVENT_FORWARDED && event->tag == tag) {
            CHECK(found == NULL);
            found = event;
        }
    }
    return found;
}

/* 1: appended, 0: no answer yet, else how it ended. */
static int status_of(struct cluster *cluster, raft_id id, uint64_t tag)
{
    const raft_event *event = outcome(cluster, id, tag);
    return event == NULL ? 0 : event->status == RAFT_OK ? 1 : event->status;
}

/* How often a text is in what a server has applied. */
static size_t applied_times(struct cluster *cluster, raft_id id, const char *text)
{
    size_t times = 0;
    for (raft_index i = 1; i <= cluster_status(cluster, id).applied_index; i++) {
        const char *applied = cluster_applied_text(cluster, id, i);
        times += applied != NULL && strcmp(applied, text) == 0;
    }
    return times;
}

static void a_forwarded_proposal_is_appended_by_the_leader_and_applied_where_it_was_made(void)
{
    struct cluster *cluster = led(3);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(forward(cluster, 2, "x", 42), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 2).forwards_pending, 1);
    CHECK_EQ(raft_deadline(cluster->nodes[2].raft), 0);
    cluster_settle(cluster);
    CHECK_EQ(status_of(cluster, 2, 42), 1);
    const raft_event *event = outcome(cluster, 2, 42);
    CHECK_EQ(event->term, cluster_term(cluster, 1));
    CHECK_STR(cluster_applied_text(cluster, 1, event->index), "x");
    cluster_run(cluster, 100);
    CHECK_STR(cluster_applied_text(cluster, 2, event->index), "x");
    CHECK_EQ(cluster_applied(cluster, 2, event->index)->term, event->term);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 1, RAFT_MESSAGE_PROPOSE), 1);
    CHECK_EQ(cluster_status(cluster, 2).forwards_pending, 0);
    CHECK_EQ(cluster_status(cluster, 1).counters.entries_proposed, 1);
    CLUSTER_DONE(cluster);
}

static void the_proposals_of_one_poll_go_in_one_message_and_get_consecutive_indexes(void)
{
    struct cluster *cluster = led(3);
    uint64_t mark = cluster_mark(cluster);
    for (uint64_t tag = 0; tag < 40; tag++) {
        CHECK_EQ(forward(cluster, 2, tag % 2 ? "odd one" : "", tag), RAFT_OK);
    }
    cluster_settle(cluster);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 1, RAFT_MESSAGE_PROPOSE), 1);
    raft_index first = outcome(cluster, 2, 0)->index;
    for (uint64_t tag = 0; tag < 40; tag++) {
        CHECK_EQ(status_of(cluster, 2, tag), 1);
        CHECK_EQ(outcome(cluster, 2, tag)->index, first + tag);
        CHECK_STR(cluster_applied_text(cluster, 1, first + tag), tag % 2 ? "odd one" : "");
    }
    CLUSTER_DONE(cluster);
}

static void what_is_too_much_for_one_message_goes_in_several(void)
{
    struct cluster *cluster = forwarding(3, 3);
    cluster->nodes[2].options.append_bytes_max = 64;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    uint64_t mark = cluster_mark(cluster);
    static const char large[] = "larger than a message may be, and therefore alone in one of them, "
                                "whatever the bound says";
    for (uint64_t tag = 0; tag < 10; tag++) {
        CHECK_EQ(forward(cluster, 2, tag == 5 ? large : "sixteen bytes..", tag), RAFT_OK);
    }
    cluster_settle(cluster);
    CHECK(cluster_sent_count(cluster, mark, 2, 1, RAFT_MESSAGE_PROPOSE) >= 5);
    raft_index first = outcome(cluster, 2, 0)->index;
    for (uint64_t tag = 0; tag < 10; tag++) {
        CHECK_EQ(status_of(cluster, 2, tag), 1);
        CHECK_EQ(outcome(cluster, 2, tag)->index, first + tag);
    }
    CHECK_STR(cluster_applied_text(cluster, 1, first + 5), large);
    CLUSTER_DONE(cluster);
}

static void on_a_leader_it_is_appended_at_once(void)
{
    struct cluster *cluster = led(3);
    raft_index last = cluster_status(cluster, 1).last_index;
    CHECK_EQ(forward(cluster, 1, "own", 1), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 1).last_index, last + 1);
    cluster_settle(cluster);
    CHECK_EQ(status_of(cluster, 1, 1), 1);
    CHECK_EQ(outcome(cluster, 1, 1)->index, last + 1);
    CHECK_STR(cluster_applied_text(cluster, 1, last + 1), "own");
    CLUSTER_DONE(cluster);
}

static void learners_forward_too(void)
{
    struct cluster *cluster = forwarding(4, 3);
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(forward(cluster, 4, "x", 1), RAFT_ENOTMEMBER);
    raft_member members[RAFT_MEMBERS_MAX];
    raft_membership membership;
    raft_membership_init(&membership);
    CHECK_EQ(raft_get_membership(cluster->nodes[1].raft, &membership, members, RAFT_MEMBERS_MAX),
             RAFT_OK);
    memset(&members[3], 0, sizeof(members[3]));
    members[3].id = 4;
    members[3].role = RAFT_MEMBER_LEARNER;
    membership.member_count = 4;
    CHECK_EQ(
        raft_set_membership(cluster->nodes[1].raft, &membership, membership.version, NULL, NULL),
        RAFT_OK);
    cluster_run(cluster, 200);
    CHECK_EQ(forward(cluster, 4, "x", 2), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(status_of(cluster, 4, 2), 1);
    CLUSTER_DONE(cluster);
}

static void what_cannot_be_forwarded_is_refused_with_its_reason(void)
{
    struct cluster *cluster = forwarding(3, 3);
    cluster->nodes[2].options.entry_bytes_max = 3000;
    cluster->nodes[3].options.incarnation = 0;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK_EQ(forward(cluster, 2, "x", 1), RAFT_ENOLEADER);
    CHECK(cluster_elect(cluster, 1));
    static char large[5000];
    CHECK_EQ(raft_forward(cluster->nodes[2].raft, large, 3001, 1), RAFT_ESIZE);
    CHECK_EQ(raft_forward(cluster->nodes[1].raft, large, 5000, 1), RAFT_ESIZE);
    CHECK_EQ(raft_forward(cluster->nodes[2].raft, NULL, 1, 1), RAFT_EARG);
    CHECK_EQ(raft_forward(NULL, "x", 1, 1), RAFT_EARG);
    CHECK_EQ(forward(cluster, 3, "x", 1), RAFT_ESTATE);
    CHECK_EQ(cluster_status(cluster, 2).forwards_pending, 0);
    CHECK_EQ(cluster_event_count(cluster, 2, 0, RAFT_EVENT_FORWARDED), 0);
    CLUSTER_DONE(cluster);
}

static void beyond_forward_bytes_max_it_is_refused_until_answers_come(void)
{
    struct cluster *cluster = forwarding(3, 3);
    cluster->nodes[2].options.forward_bytes_max = 64;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_hold(cluster, 2, 1);
    for (uint64_t tag = 1; tag <= 4; tag++) {
        CHECK_EQ(forward(cluster, 2, "8 bytes.", tag), RAFT_OK);
        cluster_poll(cluster, 2);
    }
    CHECK_EQ(forward(cluster, 2, "", 5), RAFT_EBUSY);
    cluster_heal(cluster, 2, 1);
    cluster_settle(cluster);
    CHECK_EQ(forward(cluster, 2, "8 bytes.", 5), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(status_of(cluster, 2, 5), 1);
    CLUSTER_DONE(cluster);
}

/* The leader is full, hands over, or takes no entry so large: a word, and a final one. */
static void what_the_leader_cannot_take_is_dropped_for_certain(void)
{
    struct cluster *cluster = forwarding(3, 3);
    cluster->nodes[1].options.entry_bytes_max = 100;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    static char large[200];
    raft_index last = cluster_status(cluster, 1).last_index;
    CHECK_EQ(forward(cluster, 2, "goes with it", 1), RAFT_OK);
    CHECK_EQ(raft_forward(cluster->nodes[2].raft, large, sizeof(large), 2), RAFT_OK);
    uint64_t mark = cluster_mark(cluster);
    cluster_poll(cluster, 2);
    uint64_t number = cluster_sent(cluster, mark, 2, 1, RAFT_MESSAGE_PROPOSE)->number;
    cluster_settle(cluster);
    CHECK_EQ(status_of(cluster, 2, 1), RAFT_EDROPPED);
    CHECK_EQ(status_of(cluster, 2, 2), RAFT_EDROPPED);
    CHECK_EQ(cluster_status(cluster, 1).last_index, last); /* all or nothing */
    cluster_replay(cluster, number);
    cluster_settle(cluster);
    CHECK_EQ(cluster_status(cluster, 1).last_index, last); /* nor later: it was said */
    CLUSTER_DONE(cluster);
}

static void a_repeated_message_is_never_appended_twice(void)
{
    struct cluster *cluster = led(3);
    uint64_t mark = cluster_mark(cluster);
    uint64_t numbers[30];
    for (uint64_t i = 0; i < 30; i++) {
        CHECK_EQ(forward(cluster, 2, "once", i), RAFT_OK);
        cluster_poll(cluster, 2);
        numbers[i] = cluster_sent(cluster, mark, 2, 1, RAFT_MESSAGE_PROPOSE)->number;
        mark = numbers[i];
        cluster_duplicate(cluster, 2, 1);
    }
    cluster_settle(cluster);
    raft_index last = cluster_status(cluster, 1).last_index;
    for (uint64_t i = 0; i < 30; i++) {
        cluster_replay(cluster, numbers[29 - i]);
        cluster_replay(cluster, numbers[i]);
    }
    cluster_settle(cluster);
    CHECK_EQ(cluster_status(cluster, 1).last_index, last);
    CHECK_EQ(applied_times(cluster, 1, "once"), 30);
    CLUSTER_DONE(cluster);
}

static void messages_that_overtake_each_other_are_all_appended(void)
{
    struct cluster *cluster = led(3);
    cluster_hold(cluster, 2, 1);
    for (uint64_t i = 0; i < 60; i++) {
        CHECK_EQ(forward(cluster, 2, "any order", i), RAFT_OK);
        cluster_poll(cluster, 2);
    }
    while (cluster_queued(cluster, 2, 1) > 0) {
        cluster_deliver_at(cluster, 2, 1, cluster_queued(cluster, 2, 1) - 1);
    }
    cluster_heal(cluster, 2, 1);
    cluster_settle(cluster);
    for (uint64_t i = 0; i < 60; i++) {
        CHECK_EQ(status_of(cluster, 2, i), 1);
    }
    CHECK_EQ(applied_times(cluster, 1, "any order"), 60);
    CLUSTER_DONE(cluster);
}

/* So late that the leader cannot know any more whether it was seen: it is not taken. */
static void a_message_from_before_what_the_leader_remembers_is_not_taken(void)
{
    struct cluster *cluster = led(3);
    cluster_hold(cluster, 2, 1);
    CHECK_EQ(forward(cluster, 2, "late", 1000), RAFT_OK);
    cluster_poll(cluster, 2);
    for (uint64_t i = 0; i < 64; i++) {
        CHECK_EQ(forward(cluster, 2, "later", i), RAFT_OK);
        cluster_poll(cluster, 2);
        while (cluster_queued(cluster, 2, 1) > 1) {
            cluster_deliver_at(cluster, 2, 1, 1);
        }
    }
    cluster_heal(cluster, 2, 1);
    cluster_run(cluster, LONGEST + 1);
    CHECK_EQ(applied_times(cluster, 1, "late"), 0);
    CHECK_EQ(applied_times(cluster, 1, "later"), 64);
    CHECK_EQ(status_of(cluster, 2, 1000), RAFT_EUNKNOWN);
    CLUSTER_DONE(cluster);
}

static void without_an_answer_the_outcome_is_unknown_and_nothing_is_sent_again(void)
{
    struct cluster *cluster = led(3);
    uint64_t mark = cluster_mark(cluster);
    cluster_cut(cluster, 1, 2); /* the answer is lost, and everything else from the leader */
    CHECK_EQ(forward(cluster, 2, "x", 1), RAFT_OK);
    cluster_run(cluster, LONGEST - 1);
    cluster_heal_all(cluster);
    CHECK_EQ(status_of(cluster, 2, 1), 0);
    cluster_run(cluster, 2);
    CHECK_EQ(status_of(cluster, 2, 1), RAFT_EUNKNOWN);
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 0, RAFT_MESSAGE_PROPOSE), 1);
    CHECK_EQ(applied_times(cluster, 1, "x"), 1);
    CHECK_EQ(status_of(cluster, 2, 1), RAFT_EUNKNOWN);
    CLUSTER_DONE(cluster);
}

/* Handed in, and the leader is gone before anything could leave. */
static void what_was_never_sent_is_dropped(void)
{
    struct cluster *cluster = led(3);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(forward(cluster, 2, "x", 1), RAFT_OK);
    raft_message higher =
        cluster_forge(cluster, 3, 2, cluster_term(cluster, 1) + 1, RAFT_MESSAGE_APPEND_REPLY);
    CHECK_EQ(cluster_inject(cluster, 2, &higher), RAFT_OK);
    CHECK_EQ(status_of(cluster, 2, 1), RAFT_EDROPPED);
    cluster_run(cluster, 4 * LONGEST);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 0, RAFT_MESSAGE_PROPOSE), 0);
    CHECK_EQ(applied_times(cluster, 1, "x"), 0);
    CLUSTER_DONE(cluster);
}

/* The disk of the asker hangs, so nothing may be said, for longer than anybody waits. */
static void what_could_not_be_sent_in_time_is_dropped(void)
{
    struct cluster *cluster = forwarding(5, 5);
    for (raft_id id = 1; id <= 5; id++) {
        cluster->nodes[id].options.disk_timeout_ms = 4000;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_store_async(cluster, 2, 1);
    raft_term next = cluster_later(cluster, cluster_term(cluster, 1), 1, 3);
    raft_message beat = cluster_forge(cluster, 3, 2, next, RAFT_MESSAGE_HEARTBEAT);
    beat.round = 1;
    CHECK_EQ(cluster_inject(cluster, 2, &beat), RAFT_OK); /* a new term, not durable yet */
    cluster_isolate(cluster, 2);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(forward(cluster, 2, "x", 1), RAFT_OK);
    for (int i = 0; i < 20; i++) {
        beat.round++;
        cluster_inject(cluster, 2, &beat);
        cluster_run(cluster, LONGEST / 20 - 1);
    }
    CHECK_EQ(status_of(cluster, 2, 1), 0);
    cluster_run(cluster, 100);
    CHECK_EQ(status_of(cluster, 2, 1), RAFT_EDROPPED);
    cluster_store_async(cluster, 2, 0);
    cluster_complete(cluster, 2);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 0, RAFT_MESSAGE_PROPOSE), 0);
    CLUSTER_DONE(cluster);
}

/* The entry is in the log of a leader that falls: its fate is that of any entry (R62). */
static void what_a_deposed_leader_appended_is_told_as_appended_and_may_be_dropped_later(void)
{
    struct cluster *cluster = led(5);
    for (raft_id id = 3; id <= 5; id++) {
        cluster_split(cluster, 1, id);
        cluster_split(cluster, 2, id);
    }
    CHECK_EQ(forward(cluster, 2, "doomed", 1), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(status_of(cluster, 2, 1), 1);
    raft_index index = outcome(cluster, 2, 1)->index;
    raft_term term = outcome(cluster, 2, 1)->term;
    cluster_run(cluster, 4 * LONGEST);
    raft_id leader = cluster_leader(cluster);
    CHECK(leader > 2);
    cluster_propose(cluster, leader, "instead");
    cluster_heal_all(cluster);
    cluster_run(cluster, 2 * LONGEST);
    CHECK(cluster_applied(cluster, 2, index) != NULL);
    CHECK(cluster_applied(cluster, 2, index)->term != term);
    CHECK_EQ(applied_times(cluster, 2, "doomed"), 0);
    CLUSTER_DONE(cluster);
}

/* The entry was faster than the answer: apply has shown it. */
static void an_answer_that_comes_after_the_entry_says_what_became_of_it(void)
{
    struct cluster *cluster = led(3);
    uint64_t mark = cluster_mark(cluster);
    cluster_hold(cluster, 1, 2);
    CHECK_EQ(forward(cluster, 2, "fast", 1), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_status(cluster, 1).counters.entries_proposed, 1);
    uint64_t reply = cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_PROPOSE_REPLY)->number;
    raft_index index = cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_PROPOSE_REPLY)->message.index;
    while (cluster_applied(cluster, 2, index) == NULL) {
        cluster_run(cluster, 50);
        for (size_t i = 0; i < cluster_queued(cluster, 1, 2); i++) {
            if (cluster_peek(cluster, 1, 2, i)->number != reply) {
                cluster_deliver_at(cluster, 1, 2, i--);
            }
        }
    }
    CHECK_EQ(status_of(cluster, 2, 1), 0);
    cluster_heal_all(cluster);
    cluster_settle(cluster);
    CHECK_EQ(status_of(cluster, 2, 1), 1);
    CHECK_STR(cluster_applied_text(cluster, 2, index), "fast");
    CLUSTER_DONE(cluster);
}

/* The leader has stepped down with the answer on its way: it is still the truth. */
static void the_answer_of_an_earlier_term_is_believed(void)
{
    struct cluster *cluster = led(3);
    CHECK_EQ(forward(cluster, 2, "x", 1), RAFT_OK);
    cluster_hold(cluster, 1, 2);
    cluster_settle(cluster);
    CHECK_EQ(status_of(cluster, 2, 1), 0);
    raft_message higher =
        cluster_forge(cluster, 3, 2, cluster_term(cluster, 1) + 1, RAFT_MESSAGE_APPEND_REPLY);
    CHECK_EQ(cluster_inject(cluster, 2, &higher), RAFT_OK);
    cluster_heal_all(cluster);
    cluster_settle(cluster);
    CHECK_EQ(status_of(cluster, 2, 1), 1);
    CLUSTER_DONE(cluster);
}

/*
 * It arrives at a server that has led in that term and leads no more. What it has not seen it can
 * refuse for certain; what it has appended it must not.
 */
static void who_has_led_refuses_what_it_has_not_seen_and_is_silent_about_what_it_has(void)
{
    struct cluster *cluster = led(3);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(forward(cluster, 2, "seen", 1), RAFT_OK);
    cluster_poll(cluster, 2);
    uint64_t seen = cluster_sent(cluster, mark, 2, 1, RAFT_MESSAGE_PROPOSE)->number;
    cluster_deliver_all(cluster, 2, 1);
    cluster_drop_all(cluster, 1, 2);
    CHECK_EQ(forward(cluster, 2, "not seen", 2), RAFT_OK);
    cluster_hold(cluster, 2, 1);
    cluster_poll(cluster, 2);
    raft_message higher =
        cluster_forge(cluster, 3, 1, cluster_term(cluster, 1) + 1, RAFT_MESSAGE_APPEND_REPLY);
    CHECK_EQ(cluster_inject(cluster, 1, &higher), RAFT_OK);
    CHECK(cluster_role(cluster, 1) != RAFT_ROLE_LEADER);
    cluster_replay(cluster, seen);
    cluster_deliver_all(cluster, 2, 1);
    cluster_deliver_all(cluster, 1, 2);
    CHECK_EQ(status_of(cluster, 2, 1), 0);
    CHECK_EQ(status_of(cluster, 2, 2), RAFT_EDROPPED);
    cluster_heal_all(cluster);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(status_of(cluster, 2, 1), RAFT_EUNKNOWN);
    CHECK_EQ(applied_times(cluster, 3, "not seen"), 0);
    CLUSTER_DONE(cluster);
}

/* After a restart the leader of old remembers nothing: it cannot say that it did not append. */
static void a_restarted_leader_is_silent_about_what_was_sent_in_its_term(void)
{
    struct cluster *cluster = led(3);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(forward(cluster, 2, "x", 1), RAFT_OK);
    cluster_poll(cluster, 2);
    uint64_t number = cluster_sent(cluster, mark, 2, 1, RAFT_MESSAGE_PROPOSE)->number;
    cluster_hold(cluster, 1, 0);
    cluster_deliver_all(cluster, 2, 1);
    cluster_drop_all(cluster, 1, 0);
    cluster_crash(cluster, 1);
    CHECK_EQ(cluster_restart(cluster, 1), RAFT_OK);
    mark = cluster_mark(cluster);
    cluster_replay(cluster, number);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 2, RAFT_MESSAGE_PROPOSE_REPLY), 0);
    cluster_heal_all(cluster);
    cluster_run(cluster, 3 * LONGEST);
    CHECK_EQ(status_of(cluster, 2, 1), RAFT_EUNKNOWN);
    CLUSTER_DONE(cluster);
}

/* A leader does not pass it on: the asker knows who leads, or it does not. */
static void nothing_is_forwarded_a_second_hop(void)
{
    struct cluster *cluster = led(3);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(forward(cluster, 2, "x", 1), RAFT_OK);
    cluster_hold(cluster, 2, 1);
    cluster_poll(cluster, 2);
    raft_message sent = cluster_sent(cluster, mark, 2, 1, RAFT_MESSAGE_PROPOSE)->message;
    sent.to = 3;
    raft_index last = cluster_status(cluster, 1).last_index;
    CHECK_EQ(cluster_inject(cluster, 3, &sent), RAFT_OK);
    CHECK_EQ(cluster_sent_count(cluster, mark, 3, 0, RAFT_MESSAGE_PROPOSE), 0);
    CHECK_EQ(cluster_status(cluster, 1).last_index, last);
    cluster_heal_all(cluster);
    cluster_settle(cluster);
    CHECK_EQ(applied_times(cluster, 1, "x"), 1);
    CLUSTER_DONE(cluster);
}

/* The asker restarts and counts from 1 again; messages of its earlier run are still about. */
static void an_earlier_run_of_the_asker_is_told_from_the_present_one(void)
{
    struct cluster *cluster = led(3);
    uint64_t mark = cluster_mark(cluster);
    uint64_t old[3];
    for (uint64_t i = 0; i < 3; i++) {
        CHECK_EQ(forward(cluster, 2, "old", i), RAFT_OK);
        cluster_poll(cluster, 2);
        old[i] = cluster_sent(cluster, mark, 2, 1, RAFT_MESSAGE_PROPOSE)->number;
        mark = old[i];
    }
    cluster_settle(cluster);
    cluster_crash(cluster, 2);
    cluster->nodes[2].options.incarnation = 202;
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    cluster_run(cluster, 100);
    CHECK_EQ(forward(cluster, 2, "new", 10), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(status_of(cluster, 2, 10), 1);
    for (int i = 0; i < 3; i++) {
        cluster_replay(cluster, old[i]);
    }
    CHECK_EQ(forward(cluster, 2, "new", 11), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(status_of(cluster, 2, 11), 1);
    CHECK_EQ(applied_times(cluster, 1, "old"), 3);
    CHECK_EQ(applied_times(cluster, 1, "new"), 2);
    CLUSTER_DONE(cluster);
}

/* An answer to another run's request of the same number is not one to this run's. */
static void an_answer_to_an_earlier_run_is_not_used(void)
{
    struct cluster *cluster = led(3);
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(forward(cluster, 2, "old", 1), RAFT_OK);
    cluster_settle(cluster);
    uint64_t answer = cluster_sent(cluster, mark, 1, 2, RAFT_MESSAGE_PROPOSE_REPLY)->number;
    cluster_crash(cluster, 2);
    cluster->nodes[2].options.incarnation = 202;
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    cluster_run(cluster, 100);
    cluster_hold(cluster, 2, 1);
    CHECK_EQ(forward(cluster, 2, "new", 2), RAFT_OK);
    cluster_poll(cluster, 2);
    cluster_replay(cluster, answer);
    CHECK_EQ(status_of(cluster, 2, 2), 0);
    cluster_heal_all(cluster);
    cluster_settle(cluster);
    CHECK_EQ(status_of(cluster, 2, 2), 1);
    CHECK_STR(cluster_applied_text(cluster, 1, outcome(cluster, 2, 2)->index), "new");
    CLUSTER_DONE(cluster);
}

static raft_membership membership_of(struct cluster *cluster, raft_member *members)
{
    raft_membership membership;
    raft_membership_init(&membership);
    CHECK_EQ(raft_get_membership(cluster->nodes[1].raft, &membership, members, RAFT_MEMBERS_MAX),
             RAFT_OK);
    return membership;
}

/* Removed and added again in one term: what it sent in its first membership is not taken twice. */
static void a_member_that_left_and_came_back_is_still_remembered(void)
{
    struct cluster *cluster = led(4);
    raft_member members[RAFT_MEMBERS_MAX];
    uint64_t mark = cluster_mark(cluster);
    CHECK_EQ(forward(cluster, 4, "x", 1), RAFT_OK);
    cluster_settle(cluster);
    uint64_t number = cluster_sent(cluster, mark, 4, 1, RAFT_MESSAGE_PROPOSE)->number;
    raft_membership membership = membership_of(cluster, members);
    membership.member_count = 3;
    CHECK_EQ(
        raft_set_membership(cluster->nodes[1].raft, &membership, membership.version, NULL, NULL),
        RAFT_OK);
    cluster_run(cluster, 300);
    membership = membership_of(cluster, members);
    CHECK_EQ(membership.member_count, 3);
    raft_index last = cluster_status(cluster, 1).last_index;
    cluster_replay(cluster, number);
    CHECK_EQ(cluster_status(cluster, 1).last_index, last);
    memset(&members[3], 0, sizeof(members[3]));
    members[3].id = 4;
    members[3].role = RAFT_MEMBER_LEARNER;
    membership.member_count = 4;
    CHECK_EQ(
        raft_set_membership(cluster->nodes[1].raft, &membership, membership.version, NULL, NULL),
        RAFT_OK);
    cluster_run(cluster, 300);
    last = cluster_status(cluster, 1).last_index;
    cluster_replay(cluster, number);
    CHECK_EQ(cluster_status(cluster, 1).last_index, last);
    CHECK_EQ(applied_times(cluster, 1, "x"), 1);
    CLUSTER_DONE(cluster);
}

static void what_is_on_its_way_is_unknown_when_storage_fails_and_what_is_not_is_dropped(void)
{
    struct cluster *cluster = led(3);
    cluster_hold(cluster, 2, 1);
    CHECK_EQ(forward(cluster, 2, "sent", 1), RAFT_OK);
    cluster_poll(cluster, 2);
    cluster->nodes[2].store.fail_next = -1;
    cluster_propose(cluster, 1, "more than the disk takes");
    cluster_poll(cluster, 1);
    CHECK_EQ(forward(cluster, 2, "not sent", 2), RAFT_OK);
    cluster_receive(cluster, 1, 2);
    cluster_poll(cluster, 2);
    CHECK_EQ(cluster_status(cluster, 2).error, RAFT_ESTORAGE);
    CHECK_EQ(status_of(cluster, 2, 1), RAFT_EUNKNOWN);
    CHECK_EQ(status_of(cluster, 2, 2), RAFT_EDROPPED);
    CHECK_EQ(cluster_status(cluster, 2).forwards_pending, 0);
    CLUSTER_DONE(cluster);
}

static void when_a_server_is_stopped_what_it_forwarded_is_answered(void)
{
    struct cluster *cluster = led(3);
    cluster_cut(cluster, 2, 1);
    CHECK_EQ(forward(cluster, 2, "lost", 1), RAFT_OK);
    cluster_poll(cluster, 2);
    CHECK_EQ(raft_stop(cluster->nodes[2].raft), RAFT_OK);
    CHECK_EQ(forward(cluster, 2, "late", 2), RAFT_ETRANSFER);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_EQ(cluster_status(cluster, 2).error, RAFT_ESTOPPED);
    CHECK_EQ(status_of(cluster, 2, 1), RAFT_EUNKNOWN);
    CHECK(outcome(cluster, 2, 2) == NULL);
    CLUSTER_DONE(cluster);
}

/* Handed in from inside notify, as a host does that repeats what was dropped. */
static void forward_again(struct cluster *cluster, raft_id id, int callback, const void *argument)
{
    const raft_event *event = argument;
    if (callback == CLUSTER_IN_NOTIFY && event->kind == RAFT_EVENT_FORWARDED && event->tag < 5) {
        CHECK_EQ(forward(cluster, id, "again", event->tag + 1), RAFT_OK);
    }
    if (callback == CLUSTER_IN_SEND) {
        CHECK_EQ(forward(cluster, id, "no", 99), RAFT_EREENTRY);
    }
}

static void proposals_are_forwarded_from_inside_notify_too(void)
{
    struct cluster *cluster = led(3);
    cluster->hook = forward_again;
    CHECK_EQ(forward(cluster, 2, "first", 1), RAFT_OK);
    CHECK_EQ(forward(cluster, 1, "first", 3), RAFT_OK);
    cluster_settle(cluster);
    for (uint64_t tag = 1; tag <= 5; tag++) {
        CHECK_EQ(status_of(cluster, 2, tag), 1);
    }
    CHECK_EQ(status_of(cluster, 1, 5), 1);
    CLUSTER_DONE(cluster);
}

/* A storm of requests, losses, repetitions and leaders: every tag has one answer, and a true one. */
static void in_a_storm_every_proposal_has_one_true_answer(void)
{
    struct cluster *cluster = forwarding(5, 5);
    for (raft_id id = 1; id <= 5; id++) {
        cluster->nodes[id].options.uncommitted_bytes_max = 64; /* some are refused */
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster->latency_ms = 7;
    uint64_t random = 12345;
    uint64_t tag = 0;
    static char texts[2000][16];
    for (int step = 0; step < 600; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t draw = random >> 33;
        raft_id id = 1 + draw % 5;
        for (uint64_t i = 0; i < draw % 4 && tag < 2000; i++) {
            snprintf(texts[tag], sizeof(texts[tag]), "p%u", (unsigned)tag);
            tag += forward(cluster, id, texts[tag], tag) == RAFT_OK;
        }
        cluster_poll(cluster, id);
        raft_id to = 1 + (draw >> 8) % 5;
        for (raft_id from = 1; (draw >> 12) % 3 == 0 && from <= 5; from++) {
            if (from != to && cluster_queued(cluster, from, to) > 0) {
                cluster_duplicate(cluster, from, to);
            }
        }
        if ((draw >> 16) % 40 == 0) {
            cluster_isolate(cluster, to);
        } else if ((draw >> 16) % 40 == 1) {
            cluster_heal_all(cluster);
        } else if ((draw >> 16) % 40 == 2) {
            cluster_drop_all(cluster, 0, to);
        }
        cluster_run(cluster, (draw >> 20) % 60);
    }
    cluster_heal_all(cluster);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(tag > 300);
    size_t ends[3] = {0, 0, 0};
    for (uint64_t i = 0; i < tag; i++) {
        size_t answers = 0;
        for (raft_id id = 1; id <= 5; id++) {
            const raft_event *event = outcome(cluster, id, i);
            if (event == NULL) {
                continue;
            }
            answers++;
            size_t times = applied_times(cluster, 1, texts[i]);
            CHECK(times <= 1);
            if (event->status == RAFT_OK) {
                const struct cluster_entry *entry = cluster_applied(cluster, 1, event->index);
                CHECK_EQ(times, entry != NULL && entry->term == event->term);
                ends[0]++;
            } else if (event->status == RAFT_EDROPPED) {
                CHECK_EQ(times, 0);
                ends[1]++;
            } else {
                CHECK_EQ(event->status, RAFT_EUNKNOWN);
                ends[2]++;
            }
        }
        CHECK_EQ(answers, 1);
    }
    CHECK(ends[0] > 100 && ends[1] > 0 && ends[2] > 0); /* all of it has happened */
    CLUSTER_DONE(cluster);
}

/* ---- One leader, and what peers may send it ------------------------------------------------- */

static raft_message proposes(const lone *l, raft_id from, uint64_t nonce, uint64_t request,
                             const lone_batch *batch)
{
    raft_message m = lone_message(RAFT_MESSAGE_PROPOSE, from, lone_status(l).term);
    m.round = 1;
    m.nonce = nonce;
    m.request = request;
    m.chunk.data = batch->data;
    m.chunk.size = batch->size;
    return m;
}

static void lead(lone *l)
{
    lone_init(l);
    lone_boot(l);
    lone_settle(l);
    CHECK(lone_lead(l));
    lone_serve(l, ~0u);
}

static void only_data_and_whole_entries_are_taken_from_a_peer(void)
{
    static const int kinds[] = {RAFT_ENTRY_NOOP, RAFT_ENTRY_STRIPPED};
    lone l;
    lead(&l);
    raft_index last = lone_status(&l).last_index;
    for (size_t i = 0; i < 2; i++) {
        lone_batch bad = lone_batch_make(1, 1, 2);
        lone_batch_add(&bad, NULL, 0, kinds[i]);
        raft_message m = proposes(&l, 2, 5, 1, &bad);
        CHECK_EQ(lone_receive(&l, &m), RAFT_EMALFORMED);
        free(bad.data);
    }
    lone_batch good = lone_batch_make(1, 1, 2);
    raft_message m = proposes(&l, 2, 5, 1, &good);
    m.chunk.size -= 8;
    CHECK_EQ(lone_receive(&l, &m), RAFT_EMALFORMED);
    m = proposes(&l, 2, 5, 1, &good);
    m.chunk.size = 0;
    CHECK_EQ(lone_receive(&l, &m), RAFT_EMALFORMED);
    m = proposes(&l, 2, 0, 1, &good);
    CHECK_EQ(lone_receive(&l, &m), RAFT_EMALFORMED);
    m = proposes(&l, 2, 5, 1, &good);
    m.round = 1000000; /* a round that was never begun */
    CHECK_EQ(lone_receive(&l, &m), RAFT_EMALFORMED);
    CHECK_EQ(lone_status(&l).last_index, last);
    m.round = 1;
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    CHECK_EQ(lone_status(&l).last_index, last + 2);
    free(good.data);
    CHECK_STR(lone_close(&l), "sound");
}

static void strangers_and_other_terms_are_passed_over_in_silence(void)
{
    lone l;
    lead(&l);
    lone_batch batch = lone_batch_make(1, 1, 1);
    raft_index last = lone_status(&l).last_index;
    raft_message m = proposes(&l, 77, 5, 1, &batch);
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    CHECK_EQ(lone_status(&l).last_index, last);
    raft_term term = lone_status(&l).term;
    raft_message higher = lone_message(RAFT_MESSAGE_APPEND_REPLY, 3, term + 5);
    CHECK_EQ(lone_receive(&l, &higher), RAFT_OK);
    lone_settle(&l);
    CHECK(lone_lead(&l));
    lone_serve(&l, ~0u);
    last = lone_status(&l).last_index;
    m = proposes(&l, 2, 5, 1, &batch);
    m.term = term; /* led once, by this very server: it is over */
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).last_index, last);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PROPOSE_REPLY, 0), 0);
    free(batch.data);
    CHECK_STR(lone_close(&l), "sound");
}

/* Each failing allocation in turn: refused or silent, and never a part of it. */
static void without_memory_a_message_is_taken_whole_or_not_at_all(void)
{
    for (long fail = 0; fail < 6; fail++) {
        lone l;
        lead(&l);
        lone_batch batch = lone_batch_make(1, 1, 300);
        raft_index last = lone_status(&l).last_index;
        raft_message m = proposes(&l, 2, 5, 1, &batch);
        l.fail_after = fail;
        CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
        l.fail_after = -1;
        raft_index now = lone_status(&l).last_index;
        CHECK(now == last || now == last + 300);
        lone_clear(&l);
        lone_settle(&l);
        const raft_message *reply = lone_find(&l, RAFT_MESSAGE_PROPOSE_REPLY, 2, 0);
        CHECK(reply == NULL || reply->refused == (now == last));
        CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
        raft_index then = lone_status(&l).last_index;
        CHECK(then == now || (reply == NULL && now == last));
        free(batch.data);
        CHECK_STR(lone_close(&l), "sound");
    }
}

/* Without memory the asker is told so, and has changed nothing. */
static void without_memory_a_proposal_is_not_taken_for_forwarding(void)
{
    for (long fail = 0; fail < 4; fail++) {
        lone l;
        lone_init(&l);
        l.options.incarnation = 9;
        l.options.forward_bytes_max = 4096;
        lone_boot(&l);
        lone_heartbeat(&l, 2, lone_term(2, 1), 0, 1);
        lone_settle(&l);
        l.fail_after = fail;
        int status = raft_forward(l.node, "x", 1, 7);
        l.fail_after = -1;
        CHECK(status == RAFT_OK || status == RAFT_ENOMEM);
        CHECK_EQ(status == RAFT_OK, lone_status(&l).forwards_pending == 1);
        lone_clear(&l);
        lone_poll(&l);
        CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PROPOSE, 2), status == RAFT_OK);
        CHECK_EQ(raft_forward(l.node, "y", 1, 8), RAFT_OK);
        lone_poll(&l);
        CHECK(lone_count(&l, RAFT_MESSAGE_PROPOSE, 2) >= 1);
        CHECK_STR(lone_close(&l), "sound");
    }
}

/* What a peer says of proposals that were never handed to it. */
static void answers_to_what_was_never_asked_change_nothing(void)
{
    lone l;
    lone_init(&l);
    l.options.incarnation = 9;
    l.options.forward_bytes_max = 4096;
    lone_boot(&l);
    lone_heartbeat(&l, 2, lone_term(2, 1), 0, 1);
    lone_settle(&l);
    CHECK_EQ(raft_forward(l.node, "x", 1, 7), RAFT_OK);
    lone_poll(&l);
    uint64_t request = lone_find(&l, RAFT_MESSAGE_PROPOSE, 2, 0)->request;
    raft_message m = lone_message(RAFT_MESSAGE_PROPOSE_REPLY, 2, lone_term(2, 1));
    m.nonce = 9;
    m.index = 5;
    m.index_term = lone_term(2, 1);
    for (uint64_t wrong = 0; wrong < 5; wrong++) {
        if (wrong != request) {
            m.request = wrong;
            CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
        }
    }
    m.request = request;
    m.nonce = 8;
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).forwards_pending, 1);
    m.nonce = 9;
    m.index = ((uint64_t)1 << 63) - 1; /* one more would not exist */
    CHECK_EQ(lone_receive(&l, &m), RAFT_EMALFORMED);
    m.index = 0;
    m.index_term = 0;
    CHECK_EQ(lone_receive(&l, &m), RAFT_EMALFORMED);
    m.index = 5;
    m.index_term = lone_term(2, 1);
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).forwards_pending, 0);
    CHECK_STR(lone_close(&l), "sound");
}

static void an_answer_that_comes_after_another_entry_in_its_place_says_dropped(void)
{
    lone l;
    lone_init(&l);
    l.options.incarnation = 9;
    l.options.forward_bytes_max = 4096;
    lone_boot(&l);
    lone_heartbeat(&l, 2, lone_term(2, 1), 0, 1);
    lone_settle(&l);
    CHECK_EQ(raft_forward(l.node, "doomed", 6, 7), RAFT_OK);
    lone_poll(&l);
    raft_message m = lone_message(RAFT_MESSAGE_PROPOSE_REPLY, 2, lone_term(2, 1));
    m.nonce = 9;
    m.request = lone_find(&l, RAFT_MESSAGE_PROPOSE, 2, 0)->request;
    m.index = 1;
    m.index_term = lone_term(2, 1);
    raft_term next = lone_term(3, 2);
    CHECK_EQ(lone_append(&l, 3, next, 0, 0, next, 1, 1), RAFT_OK);
    lone_settle(&l);
    CHECK_EQ(lone_status(&l).applied_index, 1);
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.events[l.event_count - 1].kind, RAFT_EVENT_FORWARDED);
    CHECK_EQ(l.events[l.event_count - 1].status, RAFT_EDROPPED);
    CHECK_STR(lone_close(&l), "sound");
}

/* Two proposals wait for the disk and go in one message, but not to the same deadline. */
static void an_answer_that_comes_after_its_first_proposal_was_given_up_names_the_right_index(void)
{
    lone l;
    lone_init(&l);
    l.options.incarnation = 9;
    l.options.forward_bytes_max = 4096;
    lone_boot(&l);
    l.persist_result = RAFT_PENDING;
    lone_heartbeat(&l, 2, lone_term(2, 1), 0,
                   1); /* a term that is not durable yet: nothing leaves (R1) */
    lone_poll(&l);
    CHECK_EQ(raft_forward(l.node, "first", 5, 7), RAFT_OK);
    lone_poll(&l);
    l.now_ms += 10;
    CHECK_EQ(raft_forward(l.node, "second", 6, 8), RAFT_OK);
    lone_poll(&l);
    CHECK(lone_find(&l, RAFT_MESSAGE_PROPOSE, 2, 0) == NULL);
    lone_settle(&l);
    CHECK(lone_find(&l, RAFT_MESSAGE_PROPOSE, 2, 0) != NULL);
    raft_message m = lone_message(RAFT_MESSAGE_PROPOSE_REPLY, 2, lone_term(2, 1));
    m.nonce = 9;
    m.request = lone_find(&l, RAFT_MESSAGE_PROPOSE, 2, 0)->request;
    m.index = 5;
    m.index_term = lone_term(2, 1);
    l.now_ms += LONGEST - 10;
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).forwards_pending, 1);
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    const raft_event *event = &l.events[l.event_count - 1];
    CHECK_EQ(event->kind, RAFT_EVENT_FORWARDED);
    CHECK_EQ(event->tag, 8);
    CHECK_EQ(event->status, RAFT_OK);
    CHECK_EQ(event->index, 6);
    CHECK_STR(lone_close(&l), "sound");
}

int main(void)
{
    RUN_BOTH(a_forwarded_proposal_is_appended_by_the_leader_and_applied_where_it_was_made);
    RUN_BOTH(the_proposals_of_one_poll_go_in_one_message_and_get_consecutive_indexes);
    RUN_BOTH(what_is_too_much_for_one_message_goes_in_several);
    RUN_BOTH(on_a_leader_it_is_appended_at_once);
    RUN_BOTH(learners_forward_too);
    RUN_BOTH(what_cannot_be_forwarded_is_refused_with_its_reason);
    RUN_BOTH(beyond_forward_bytes_max_it_is_refused_until_answers_come);
    RUN_BOTH(what_the_leader_cannot_take_is_dropped_for_certain);
    RUN_BOTH(a_repeated_message_is_never_appended_twice);
    RUN_BOTH(messages_that_overtake_each_other_are_all_appended);
    RUN_BOTH(a_message_from_before_what_the_leader_remembers_is_not_taken);
    RUN_BOTH(without_an_answer_the_outcome_is_unknown_and_nothing_is_sent_again);
    RUN_BOTH(what_was_never_sent_is_dropped);
    RUN_BOTH(what_could_not_be_sent_in_time_is_dropped);
    RUN_BOTH(what_a_deposed_leader_appended_is_told_as_appended_and_may_be_dropped_later);
    RUN_BOTH(the_answer_of_an_earlier_term_is_believed);
    RUN_BOTH(who_has_led_refuses_what_it_has_not_seen_and_is_silent_about_what_it_has);
    RUN_BOTH(a_restarted_leader_is_silent_about_what_was_sent_in_its_term);
    RUN_BOTH(nothing_is_forwarded_a_second_hop);
    RUN_BOTH(an_earlier_run_of_the_asker_is_told_from_the_present_one);
    RUN_BOTH(an_answer_to_an_earlier_run_is_not_used);
    RUN_BOTH(a_member_that_left_and_came_back_is_still_remembered);
    RUN_BOTH(what_is_on_its_way_is_unknown_when_storage_fails_and_what_is_not_is_dropped);
    RUN_BOTH(proposals_are_forwarded_from_inside_notify_too);
    RUN_BOTH(in_a_storm_every_proposal_has_one_true_answer);
    RUN_BOTH(only_data_and_whole_entries_are_taken_from_a_peer);
    RUN_BOTH(strangers_and_other_terms_are_passed_over_in_silence);
    RUN_BOTH(without_memory_a_message_is_taken_whole_or_not_at_all);
    RUN_BOTH(without_memory_a_proposal_is_not_taken_for_forwarding);
    RUN_BOTH(answers_to_what_was_never_asked_change_nothing);
    RUN_BOTH(an_answer_that_comes_after_the_entry_says_what_became_of_it);
    RUN_BOTH(an_answer_that_comes_after_another_entry_in_its_place_says_dropped);
    RUN_BOTH(an_answer_that_comes_after_its_first_proposal_was_given_up_names_the_right_index);
    RUN_BOTH(when_a_server_is_stopped_what_it_forwarded_is_answered);
    return check_done();
}
