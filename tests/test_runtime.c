/*
 * Options changed while the node runs: what may change does so at once, what others rely on does
 * not, and what is running goes on.
 */
#include "check.h"
#include "cluster.h"
#include "lone.h"

#include <string.h>

static const uint64_t T = 1000;
static const uint64_t LONGEST = 2000;

static raft_options options_of(const struct cluster *cluster, raft_id id)
{
    raft_options options;
    raft_options_init(&options);
    CHECK_EQ(raft_get_options(cluster->nodes[id].raft, &options), RAFT_OK);
    return options;
}

static int set(struct cluster *cluster, raft_id id, const raft_options *options)
{
    int code = raft_set_options(cluster->nodes[id].raft, options);
    cluster->nodes[id].options = *options;
    cluster->nodes[id].spin_count = 0;
    return code;
}

static struct cluster *led_cluster(size_t count)
{
    struct cluster *cluster = cluster_new(count);
    CHECK(cluster_elect(cluster, 1));
    return cluster;
}

static void the_options_in_force_are_told_with_their_defaults(void)
{
    struct cluster *cluster = led_cluster(1);
    raft_options options = options_of(cluster, 1);
    CHECK_EQ(options.id, 1);
    CHECK_EQ(options.cluster, 7);
    CHECK_EQ(options.election_timeout_ms, 1000);
    CHECK_EQ(options.heartbeat_ms, 100);
    CHECK_EQ(options.disk_timeout_ms, 2000);
    CHECK_EQ(options.log_bytes_max, (uint64_t)256 << 20);
    CHECK_EQ(options.reads_max, 65536);
    CHECK_EQ(options.trailing_bytes, (uint64_t)4 << 20);
    CHECK_EQ(options.chunk_bytes_max, 256 << 10);
    CHECK_EQ(options.forward_bytes_max, 0);
    CHECK_EQ(raft_set_options(cluster->nodes[1].raft, &options), RAFT_OK); /* as they are */
    CHECK_EQ(raft_get_options(NULL, &options), RAFT_EARG);
    CHECK_EQ(raft_get_options(cluster->nodes[1].raft, NULL), RAFT_EARG);
    options.size = sizeof options.size - 1;
    CHECK_EQ(raft_get_options(cluster->nodes[1].raft, &options), RAFT_EARG);
    CLUSTER_DONE(cluster);
}

/* A host built with an older header gets what it knows, and nothing behind it is written. */
static void no_more_is_told_than_the_caller_knows(void)
{
    struct cluster *cluster = led_cluster(1);
    raft_options options;
    memset(&options, 0x5a, sizeof options);
    options.size = offsetof(raft_options, heartbeat_ms);
    CHECK_EQ(raft_get_options(cluster->nodes[1].raft, &options), RAFT_OK);
    CHECK_EQ(options.election_timeout_ms, 1000);
    CHECK_EQ(options.heartbeat_ms, 0x5a5a5a5a);
    CHECK_EQ(options.size, offsetof(raft_options, heartbeat_ms));
    CLUSTER_DONE(cluster);
}

/* Else it could take nothing any more, and a group that needs it could commit nothing. */
static void a_log_beyond_its_lowered_bound_still_takes_entries(void)
{
    struct cluster *cluster = led_cluster(3);
    static char text[1001];
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 400; i++) {
        CHECK(cluster_propose(cluster, 1, text) > 0);
        cluster_settle(cluster);
    }
    cluster_isolate(cluster, 2); /* the third is needed for every commit */
    raft_options options = options_of(cluster, 3);
    options.log_bytes_max = 16384;
    options.trailing_bytes = 0;
    CHECK_EQ(set(cluster, 3, &options), RAFT_OK);
    CHECK(cluster_status(cluster, 3).log_bytes > 16384 + 16384 / 8 + 256 * 1024);
    for (int i = 0; i < 270; i++) {
        CHECK(cluster_propose(cluster, 1, text) > 0);
    }
    cluster_run(cluster, T / 2);
    CHECK_EQ(cluster_status(cluster, 3).last_index, cluster_status(cluster, 1).last_index);
    CHECK_EQ(cluster_commit(cluster, 1), cluster_status(cluster, 1).last_index);
    CLUSTER_DONE(cluster);
}

static void what_others_rely_on_stays(void)
{
    struct cluster *cluster = led_cluster(1);
    uint64_t before = cluster_fingerprint(cluster, 1);
    for (int which = 0; which < 7; which++) {
        raft_options options = options_of(cluster, 1);
        options.id += which == 0;
        options.cluster += which == 1;
        options.group += which == 2;
        options.seed += which == 3;
        options.incarnation += which == 4;
        options.quiesce = which == 5;
        options.apply_ahead = which == 6;
        CHECK_EQ(raft_set_options(cluster->nodes[1].raft, &options), RAFT_EARG);
    }
    CHECK_EQ(cluster_fingerprint(cluster, 1), before);
    CLUSTER_DONE(cluster);
}

static void what_is_out_of_range_is_refused_as_by_raft_new(void)
{
    struct cluster *cluster = led_cluster(1);
    for (int which = 0; which < 8; which++) {
        raft_options options = options_of(cluster, 1);
        switch (which) {
        case 0:
            options.election_timeout_ms = 1;
            break;
        case 1:
            options.heartbeat_ms = options.election_timeout_ms;
            break;
        case 2:
            options.disk_timeout_ms = 4 * options.election_timeout_ms + 1;
            break;
        case 3:
            options.inflight_messages_max = 4097;
            break;
        case 4:
            options.entry_bytes_max = (uint32_t)1 << 30;
            break;
        case 5:
            options.trailing_bytes = options.log_bytes_max / 2 + 1;
            break;
        case 6:
            options.chunk_bytes_max = ((uint32_t)1 << 26) + 1;
            break;
        default:
            options.protocol = options.protocol == RAFT_PROTOCOL_RAFT ? RAFT_PROTOCOL_MULTIPAXOS
                                                                      : RAFT_PROTOCOL_RAFT;
            break;
        }
        CHECK_EQ(raft_set_options(cluster->nodes[1].raft, &options), RAFT_EARG);
    }
    raft_options options = options_of(cluster, 1);
    CHECK_EQ(raft_set_options(NULL, &options), RAFT_EARG);
    CHECK_EQ(raft_set_options(cluster->nodes[1].raft, NULL), RAFT_EARG);
    struct {
        raft_options known;
        uint64_t unknown;
    } newer;
    memset(&newer, 0, sizeof newer);
    newer.known = options;
    newer.known.size = sizeof newer;
    CHECK_EQ(raft_set_options(cluster->nodes[1].raft, &newer.known), RAFT_OK);
    newer.unknown = 1;
    CHECK_EQ(raft_set_options(cluster->nodes[1].raft, &newer.known), RAFT_EVERSION);
    CLUSTER_DONE(cluster);
}

static void zero_means_the_default_again(void)
{
    struct cluster *cluster = led_cluster(1);
    raft_options options = options_of(cluster, 1);
    options.entry_bytes_max = 10;
    CHECK_EQ(raft_set_options(cluster->nodes[1].raft, &options), RAFT_OK);
    CHECK_EQ(raft_propose(cluster->nodes[1].raft, "more than ten bytes", 19, NULL, NULL),
             RAFT_ESIZE);
    options.entry_bytes_max = 0;
    CHECK_EQ(raft_set_options(cluster->nodes[1].raft, &options), RAFT_OK);
    CHECK_EQ(options_of(cluster, 1).entry_bytes_max, 16 << 20);
    CHECK_EQ(raft_propose(cluster->nodes[1].raft, "more than ten bytes", 19, NULL, NULL), RAFT_OK);
    CLUSTER_DONE(cluster);
}

/* Heartbeats follow at once, timers that were drawn run out as they were drawn. */
static void timeouts_change_in_a_running_group(void)
{
    struct cluster *cluster = led_cluster(3);
    for (raft_id id = 1; id <= 3; id++) {
        raft_options options = options_of(cluster, id);
        options.election_timeout_ms = 200;
        options.heartbeat_ms = 20;
        options.disk_timeout_ms = 0;
        uint64_t due = raft_deadline(cluster->nodes[id].raft);
        CHECK_EQ(set(cluster, id, &options), RAFT_OK);
        cluster_poll(cluster, id);
        CHECK(raft_deadline(cluster->nodes[id].raft) <= due);
        CHECK_EQ(options_of(cluster, id).disk_timeout_ms, 400);
    }
    cluster_run(cluster, LONGEST);
    CHECK_EQ(cluster_leader(cluster), 1);
    uint64_t mark = cluster_mark(cluster);
    cluster_run(cluster, 200);
    size_t beats = cluster_sent_count(cluster, mark, 1, 2, RAFT_MESSAGE_HEARTBEAT);
    CHECK(beats >= 9 && beats <= 11);
    cluster_crash(cluster, 1);
    cluster_run(cluster, 4 * 400);
    CHECK(cluster_stable_leader(cluster) > 1);
    CLUSTER_DONE(cluster);
}

/* A window that is lowered below what is in flight drains without loss, and stays low then. */
static void a_window_lowered_below_what_is_in_flight_drains(void)
{
    struct cluster *cluster = led_cluster(3);
    raft_options options = options_of(cluster, 1);
    options.append_bytes_max = 16;
    CHECK_EQ(set(cluster, 1, &options), RAFT_OK);
    cluster_hold(cluster, 2, 1);
    for (int i = 0; i < 40; i++) {
        CHECK(cluster_propose(cluster, 1, "x") > 0);
    }
    cluster_settle(cluster);
    size_t before = cluster_peer(cluster, 1, 2).inflight_messages;
    CHECK(before >= 40);
    options.inflight_messages_max = 2;
    options.inflight_bytes_max = 64;
    CHECK_EQ(set(cluster, 1, &options), RAFT_OK);
    CHECK_EQ(cluster_peer(cluster, 1, 2).inflight_messages, before);
    CHECK(cluster_propose(cluster, 1, "y") > 0);
    cluster_settle(cluster);
    CHECK_EQ(cluster_peer(cluster, 1, 2).inflight_messages, before); /* no more than there is */
    cluster_heal_all(cluster);
    cluster_run(cluster, T);
    CHECK(cluster_converged(cluster));
    CHECK_STR(cluster_applied_text(cluster, 2, 41 + cluster_noops(cluster)), "y");
    cluster_hold(cluster, 2, 1);
    for (int i = 0; i < 10; i++) {
        CHECK(cluster_propose(cluster, 1, "z") > 0);
        cluster_settle(cluster);
        CHECK(cluster_peer(cluster, 1, 2).inflight_messages <= 2);
    }
    CLUSTER_DONE(cluster);
}

static void limits_of_reads_and_bytes_hold_from_now_on(void)
{
    struct cluster *cluster = led_cluster(3);
    cluster_isolate(cluster, 1);
    for (uint64_t tag = 0; tag < 5; tag++) {
        CHECK_EQ(raft_read(cluster->nodes[1].raft, tag), RAFT_OK);
    }
    raft_options options = options_of(cluster, 1);
    options.reads_max = 3;
    options.uncommitted_bytes_max = 32;
    CHECK_EQ(set(cluster, 1, &options), RAFT_OK);
    CHECK_EQ(raft_read(cluster->nodes[1].raft, 6), RAFT_EBUSY);
    CHECK_EQ(raft_propose(cluster->nodes[1].raft, "0123456789", 10, NULL, NULL), RAFT_OK);
    CHECK_EQ(raft_propose(cluster->nodes[1].raft, "0123456789", 10, NULL, NULL), RAFT_EBUSY);
    cluster_heal_all(cluster);
    cluster_run(cluster, T);
    for (uint64_t tag = 0; tag < 5; tag++) {
        CHECK_EQ(cluster_read_answers(cluster, 1, tag), 1);
    }
    CHECK_EQ(raft_read(cluster->nodes[1].raft, 7), RAFT_OK);
    CLUSTER_DONE(cluster);
}

static void a_log_bound_lowered_below_what_is_held_refuses_and_loses_nothing(void)
{
    struct cluster *cluster = led_cluster(3);
    static char payload[3000];
    for (int i = 0; i < 30; i++) {
        CHECK_EQ(raft_propose(cluster->nodes[1].raft, payload, sizeof payload, NULL, NULL),
                 RAFT_OK);
    }
    cluster_run(cluster, 100);
    raft_options options = options_of(cluster, 1);
    options.log_bytes_max = 4096;
    options.trailing_bytes = 0;
    CHECK_EQ(set(cluster, 1, &options), RAFT_OK);
    int code = RAFT_OK;
    for (int i = 0; i < 200 && code == RAFT_OK; i++) { /* the room that was allocated is used */
        code = raft_propose(cluster->nodes[1].raft, payload, sizeof payload, NULL, NULL);
    }
    CHECK_EQ(code, RAFT_EFULL);
    cluster_run(cluster, T);
    CHECK(cluster_converged(cluster));
    options.log_bytes_max = 0;
    CHECK_EQ(set(cluster, 1, &options), RAFT_OK);
    CHECK_EQ(raft_propose(cluster->nodes[1].raft, payload, sizeof payload, NULL, NULL), RAFT_OK);
    CLUSTER_DONE(cluster);
}

/* Switches: pre-vote off, and the next campaign asks nobody first; pull off, stickiness off. */
static void switches_turn_at_once(void)
{
    struct cluster *cluster = led_cluster(3);
    raft_term term = cluster_term(cluster, 1);
    raft_options options = options_of(cluster, 3);
    options.no_pre_vote = 1;
    options.no_stickiness = 1;
    CHECK_EQ(set(cluster, 3, &options), RAFT_OK);
    raft_message vote = cluster_forge(cluster, 2, 3, term + 1, RAFT_MESSAGE_VOTE);
    vote.round = 4;
    vote.index = 100;
    vote.index_term = term;
    CHECK_EQ(cluster_inject(cluster, 3, &vote), RAFT_OK);
    CHECK_EQ(cluster_term(cluster, 3), term + 1);
    cluster_isolate(cluster, 3);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_EQ(cluster_role(cluster, 3), RAFT_ROLE_CANDIDATE);
    CHECK_EQ(cluster_sent_count(cluster, 0, 3, 0, RAFT_MESSAGE_PRE_VOTE), 0);
    CLUSTER_DONE(cluster);
}

static void before_the_start_and_after_the_end_options_stay(void)
{
    lone l;
    lone_init(&l);
    CHECK_EQ(lone_new(&l), RAFT_OK);
    raft_options options = l.options;
    CHECK_EQ(raft_set_options(l.node, &options), RAFT_ESTATE);
    raft_free(l.node);
    lone_boot(&l);
    CHECK_EQ(raft_set_options(l.node, &options), RAFT_OK);
    CHECK_EQ(raft_stop(l.node), RAFT_OK);
    lone_settle(&l);
    CHECK_EQ(raft_set_options(l.node, &options), RAFT_ESTOPPED);
    CHECK_EQ(raft_stop(l.node), RAFT_ESTOPPED);
    CHECK_STR(lone_close(&l), "sound");
}

static int codes[8];

static void call_all(struct cluster *cluster, raft_id id, int callback, const void *argument)
{
    raft *node = cluster->nodes[id].raft;
    raft_options options = cluster->nodes[id].options;
    (void)argument;
    if (node == NULL || callback != CLUSTER_IN_APPLY) {
        return;
    }
    codes[0] = raft_set_options(node, &options);
    codes[1] = raft_transfer(node, 2);
    codes[2] = raft_step_down(node);
    codes[3] = raft_forget_leader(node);
    codes[4] = raft_stop(node);
    codes[5] = raft_campaign(node);
    codes[6] = raft_unreachable(node, 2);
    codes[7] = raft_get_options(node, &options);
}

static void inside_callbacks_none_of_this_is_legal_but_to_look(void)
{
    struct cluster *cluster = led_cluster(3);
    cluster->hook = call_all;
    CHECK(cluster_propose(cluster, 1, "look") > 0);
    cluster_run(cluster, 100);
    cluster->hook = NULL;
    for (int i = 0; i < 7; i++) {
        CHECK_EQ(codes[i], RAFT_EREENTRY);
    }
    CHECK_EQ(codes[7], RAFT_OK);
    CHECK_EQ(cluster_leader(cluster), 1);
    CLUSTER_DONE(cluster);
}

int main(void)
{
    RUN_BOTH(the_options_in_force_are_told_with_their_defaults);
    RUN_BOTH(no_more_is_told_than_the_caller_knows);
    RUN_BOTH(a_log_beyond_its_lowered_bound_still_takes_entries);
    RUN_BOTH(what_others_rely_on_stays);
    RUN_BOTH(what_is_out_of_range_is_refused_as_by_raft_new);
    RUN_BOTH(zero_means_the_default_again);
    RUN_BOTH(timeouts_change_in_a_running_group);
    RUN_BOTH(a_window_lowered_below_what_is_in_flight_drains);
    RUN_BOTH(limits_of_reads_and_bytes_hold_from_now_on);
    RUN_BOTH(a_log_bound_lowered_below_what_is_held_refuses_and_loses_nothing);
    RUN_BOTH(switches_turn_at_once);
    RUN_BOTH(before_the_start_and_after_the_end_options_stay);
    RUN_BOTH(inside_callbacks_none_of_this_is_legal_but_to_look);
    return check_done();
}
