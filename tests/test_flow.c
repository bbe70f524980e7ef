/*
 * Flow control (rules R31, R34 and the byte bounds): how much a leader sends ahead, how it finds
 * out what was lost, what it takes from the host, and in what portions entries are applied.
 */
#include "check.h"
#include "cluster.h"
#include "lone.h"

/*
 * Server 1 of three leads, everything so far is acknowledged by both peers: one entry, the no-op of
 * Raft (R17), or in Multi-Paxos, where a leader begins with none, one of the host's.
 */
static void leader_with(lone *l, void (*change)(raft_options *))
{
    lone_init(l);
    if (change != NULL) {
        change(&l->options);
    }
    lone_boot(l);
    CHECK(lone_lead(l));
    if (lone_noops() == 0) {
        CHECK_EQ(lone_propose(l), 1);
    }
    lone_serve(l, 0xe);
    CHECK_EQ(lone_peer(l, 2).match, 1);
}

static void propose_bytes(lone *l, size_t size, int expected)
{
    static const uint8_t zeros[1 << 16] = {0};
    CHECK(size <= sizeof zeros);
    CHECK_EQ(raft_propose(l->node, zeros, size, NULL, NULL), expected);
}

static void narrow_messages(raft_options *o)
{
    o->inflight_messages_max = 4;
    o->append_bytes_max = 24; /* one standard payload of the tests in each message */
}

static void narrow_bytes(raft_options *o)
{
    o->inflight_bytes_max = 100;
    o->append_bytes_max = 40;
}

/* ---- Probing -------------------------------------------------------------------------------- */

static void probe_has_one_append_outstanding_until_a_reply(void)
{
    lone l;
    lone_init(&l);
    lone_boot(&l);
    CHECK(lone_lead(&l));
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1);
    for (int i = 0; i < 20; i++) {
        lone_propose(&l);
        lone_poll(&l);
    }
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1);
    CHECK_EQ(lone_peer(&l, 2).state, RAFT_PEER_PROBE);
    raft_index probed = lone_noops(); /* the no-op, or what is in front of the first entry */
    CHECK_EQ(lone_last(lone_newest(&l, RAFT_MESSAGE_APPEND, 2)), probed);
    CHECK_EQ(lone_ack(&l, 2, probed), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_peer(&l, 2).state, RAFT_PEER_REPLICATE);
    CHECK_EQ(lone_peer(&l, 2).next, probed + 21);
    CHECK_EQ(lone_last(lone_newest(&l, RAFT_MESSAGE_APPEND, 2)), probed + 20);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 3), 1);
    CHECK_STR(lone_close(&l), "sound");
}

static void heartbeat_reply_lets_a_lost_probe_go_again(void)
{
    lone l;
    lone_init(&l);
    lone_boot(&l);
    CHECK(lone_lead(&l));
    lone_poll(&l);
    lone_wait(&l, 100);
    lone_wait(&l, 100);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1); /* heartbeats alone do not repeat it */
    CHECK_EQ(lone_beat_back(&l, 2), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 2);
    const raft_message *first = lone_find(&l, RAFT_MESSAGE_APPEND, 2, 0);
    const raft_message *again = lone_find(&l, RAFT_MESSAGE_APPEND, 2, 1);
    CHECK_EQ(first->index, again->index);
    CHECK_EQ(lone_last(first), lone_last(again));
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 2);
    CHECK_STR(lone_close(&l), "sound");
}

/* R31: a caught-up peer in probe returns to replicate with no traffic of the host at all. */
static void caught_up_peer_in_probe_returns_by_an_empty_append(void)
{
    lone l;
    leader_with(&l, NULL);
    CHECK_EQ(raft_unreachable(l.node, 2), RAFT_OK);
    CHECK_EQ(lone_peer(&l, 2).state, RAFT_PEER_PROBE);
    lone_wait(&l, 100);
    CHECK_EQ(lone_beat_back(&l, 2), RAFT_OK);
    lone_clear(&l);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1);
    const raft_message *m = lone_find(&l, RAFT_MESSAGE_APPEND, 2, 0);
    CHECK_EQ(m->range_count, 0);
    CHECK_EQ(m->index, lone_status(&l).last_index);
    CHECK_EQ(lone_ack(&l, 2, m->index), RAFT_OK);
    CHECK_EQ(lone_peer(&l, 2).state, RAFT_PEER_REPLICATE);
    CHECK_STR(lone_close(&l), "sound");
}

static void unreachable_peer_is_probed_behind_its_match(void)
{
    lone l;
    leader_with(&l, NULL);
    for (int i = 0; i < 5; i++) {
        lone_propose(&l);
        lone_poll(&l);
    }
    CHECK_EQ(lone_ack(&l, 2, 3), RAFT_OK);
    CHECK_EQ(raft_unreachable(l.node, 2), RAFT_OK);
    raft_peer_status p = lone_peer(&l, 2);
    CHECK_EQ(p.state, RAFT_PEER_PROBE);
    CHECK_EQ(p.match, 3);
    CHECK_EQ(p.next, 4);
    CHECK_EQ(p.inflight_messages, 0);
    CHECK_EQ(p.inflight_bytes, 0);
    CHECK_EQ(raft_unreachable(l.node, 99), RAFT_OK);
    CHECK_EQ(raft_unreachable(l.node, 1), RAFT_OK);
    lone_serve(&l, 0xe);
    lone_wait(&l, 100);
    lone_beat_back(&l, 2);
    lone_serve(&l, 0xe);
    CHECK_EQ(lone_peer(&l, 2).match, 6);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- The window ----------------------------------------------------------------------------- */

static void window_is_filled_to_its_messages_and_no_further(void)
{
    lone l;
    leader_with(&l, narrow_messages);
    for (int i = 0; i < 10; i++) {
        lone_propose(&l);
        lone_poll(&l);
    }
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 4);
    CHECK_EQ(lone_peer(&l, 2).inflight_messages, 4);
    CHECK_EQ(lone_peer(&l, 2).next, 6);
    CHECK_STR(lone_close(&l), "sound");
}

static void acknowledgement_frees_everything_at_or_below_it(void)
{
    lone l;
    leader_with(&l, narrow_messages);
    for (int i = 0; i < 10; i++) {
        lone_propose(&l);
    }
    lone_poll(&l);
    CHECK_EQ(lone_peer(&l, 2).inflight_messages, 4); /* 2 to 5 */
    lone_clear(&l);
    for (raft_index low = 0; low <= 1; low++) {
        CHECK_EQ(lone_ack(&l, 2, low), RAFT_OK); /* low ones free nothing */
        lone_poll(&l);
        CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 0);
    }
    CHECK_EQ(lone_ack(&l, 2, 4), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 3);
    CHECK_EQ(lone_find(&l, RAFT_MESSAGE_APPEND, 2, 0)->index, 5);
    CHECK_EQ(lone_peer(&l, 2).inflight_messages, 4);
    CHECK_EQ(lone_ack(&l, 2, 8), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_peer(&l, 2).next, 12);
    CHECK_EQ(lone_peer(&l, 2).inflight_messages, 3);
    CHECK_EQ(lone_ack(&l, 2, 11), RAFT_OK);
    CHECK_EQ(lone_peer(&l, 2).inflight_messages, 0);
    CHECK_EQ(lone_peer(&l, 2).inflight_bytes, 0);
    CHECK_STR(lone_close(&l), "sound");
}

static void bytes_in_flight_pause_and_the_last_message_may_overshoot(void)
{
    lone l;
    leader_with(&l, narrow_bytes);
    for (int i = 0; i < 20; i++) {
        propose_bytes(&l, 10, RAFT_OK); /* 24 bytes encoded: one a message of 40 */
    }
    lone_poll(&l);
    raft_peer_status p = lone_peer(&l, 2);
    CHECK_EQ(p.inflight_messages, 5); /* 96 < 100 <= 120 */
    CHECK_EQ(p.inflight_bytes, 120);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 5);
    CHECK_EQ(lone_ack(&l, 2, 2), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_peer(&l, 2).inflight_bytes, 120);
    lone_serve(&l, 0xe);
    CHECK_EQ(lone_peer(&l, 2).inflight_bytes, 0);
    CHECK_EQ(lone_peer(&l, 2).match, 21);
    CHECK_STR(lone_close(&l), "sound");
}

static void page_always_carries_an_entry_and_an_oversized_one_goes_alone(void)
{
    lone l;
    leader_with(&l, narrow_bytes);
    propose_bytes(&l, 5, RAFT_OK);    /* 16 encoded */
    propose_bytes(&l, 5000, RAFT_OK); /* larger than a message and than the window */
    propose_bytes(&l, 5, RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 2);
    const raft_message *first = lone_find(&l, RAFT_MESSAGE_APPEND, 2, 0);
    const raft_message *large = lone_find(&l, RAFT_MESSAGE_APPEND, 2, 1);
    CHECK_EQ(first->ranges[0].count, 1);
    CHECK_EQ(large->ranges[0].count, 1);
    CHECK(large->ranges[0].size > 5000);
    lone_serve(&l, 0xe);
    CHECK_EQ(lone_peer(&l, 2).match, 4);
    CHECK_EQ(l.applied_last, 4);
    CHECK_EQ(l.applied[3].size, 5000);
    CHECK_STR(lone_close(&l), "sound");
}

static void no_message_exceeds_its_bytes_unless_it_is_one_entry(void)
{
    lone l;
    leader_with(&l, narrow_bytes);
    uint64_t r = 1;
    for (int i = 0; i < 300; i++) {
        r = r * 6364136223846793005u + 1442695040888963407u;
        propose_bytes(&l, (size_t)(r >> 40) % 60, RAFT_OK);
        lone_poll(&l);
        for (size_t s = 0; s < l.sent_count; s++) {
            const raft_message *m = &l.sent[s].message;
            if (m->range_count) {
                CHECK(m->ranges[0].size <= 40 || m->ranges[0].count == 1);
            }
        }
        if (i % 5 == 0) {
            lone_serve(&l, 0xe);
        }
        lone_clear(&l);
        CHECK(lone_peer(&l, 2).inflight_bytes < 100 + 80);
    }
    CHECK_STR(lone_close(&l), "sound");
}

/* The window grows, wraps and drains in every way; a plain list says how full it must be. */
static void window_counts_right_however_it_is_used(void)
{
    lone l;
    lone_init(&l);
    l.options.inflight_messages_max = 37;
    l.options.append_bytes_max = 16; /* one entry a message */
    lone_boot(&l);
    CHECK(lone_lead(&l));
    lone_serve(&l, 0xe);
    uint64_t r = 3;
    raft_index match = lone_noops();
    raft_index next = match + 1;
    for (int step = 0; step < 600; step++) {
        r = r * 6364136223846793005u + 1442695040888963407u;
        if ((r >> 33) % 5 < 3) {
            for (uint64_t n = (r >> 40) % 6; n > 0; n--) {
                CHECK(lone_propose(&l) != 0);
            }
        } else if (next > match + 1) {
            match += 1 + (r >> 40) % (next - match - 1);
            CHECK_EQ(lone_ack(&l, 2, match), RAFT_OK);
        }
        lone_poll(&l);
        raft_index last = lone_status(&l).last_index;
        next = match + 37 < last ? match + 38 : last + 1;
        raft_peer_status p = lone_peer(&l, 2);
        CHECK_EQ(p.match, match);
        CHECK_EQ(p.next, next);
        CHECK_EQ(p.inflight_messages, next - match - 1);
        lone_clear(&l);
    }
    CHECK_STR(lone_close(&l), "sound");
}

/* Fresh entries ask the same question as an empty append would: one of them is enough. */
static void new_entries_save_the_empty_append(void)
{
    lone l;
    leader_with(&l, NULL);
    lone_propose(&l);
    lone_poll(&l);
    lone_wait(&l, 100);
    CHECK_EQ(lone_beat_back(&l, 2), RAFT_OK);
    lone_propose(&l);
    lone_clear(&l);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1);
    CHECK_EQ(lone_find(&l, RAFT_MESSAGE_APPEND, 2, 0)->range_count, 1);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- Loss ----------------------------------------------------------------------------------- */

/* R31: nothing of a full window arrived; a heartbeat's reply is the only sign of life. */
static void window_lost_whole_is_found_by_one_empty_append(void)
{
    lone l;
    leader_with(&l, narrow_messages);
    for (int i = 0; i < 10; i++) {
        lone_propose(&l);
    }
    lone_poll(&l);
    CHECK_EQ(lone_peer(&l, 2).next, 6);
    lone_wait(&l, 100);
    CHECK_EQ(lone_beat_back(&l, 2), RAFT_OK);
    lone_clear(&l);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1);
    const raft_message *empty = lone_find(&l, RAFT_MESSAGE_APPEND, 2, 0);
    CHECK_EQ(empty->range_count, 0);
    CHECK_EQ(empty->index, 5);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1); /* one, not a stream of them */
    CHECK_EQ(lone_refuse(&l, 2, 5, 1, lone_status(&l).term), RAFT_OK);
    lone_clear(&l);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1);
    const raft_message *probe = lone_find(&l, RAFT_MESSAGE_APPEND, 2, 0);
    CHECK_EQ(probe->index, 1);
    CHECK(probe->range_count > 0);
    CHECK_EQ(lone_peer(&l, 2).inflight_messages, 0);
    CHECK_EQ(lone_ack(&l, 2, 2), RAFT_OK); /* of what the probe carried */
    lone_serve(&l, 0xe);
    CHECK_EQ(lone_peer(&l, 2).match, 11);
    CHECK_STR(lone_close(&l), "sound");
}

static void refusal_while_replicating_goes_back_to_the_match(void)
{
    lone l;
    leader_with(&l, NULL);
    for (int i = 0; i < 6; i++) {
        lone_propose(&l);
        lone_poll(&l);
    }
    CHECK_EQ(lone_ack(&l, 2, 3), RAFT_OK);
    lone_clear(&l);
    CHECK_EQ(lone_refuse(&l, 2, 5, 4, lone_status(&l).term), RAFT_OK);
    raft_peer_status p = lone_peer(&l, 2);
    CHECK_EQ(p.state, RAFT_PEER_PROBE);
    CHECK_EQ(p.match, 3);
    CHECK_EQ(p.next, 4);
    CHECK_EQ(p.inflight_messages, 0);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1);
    CHECK_EQ(lone_find(&l, RAFT_MESSAGE_APPEND, 2, 0)->index, 3);
    CHECK_STR(lone_close(&l), "sound");
}

/* R29, R31: what answers messages of before the fall to probing neither ends it nor repeats it. */
static void late_answers_do_not_end_the_probe(void)
{
    lone l;
    leader_with(&l, NULL);
    for (int i = 0; i < 6; i++) {
        lone_propose(&l);
        lone_poll(&l);
    }
    raft_message late = lone_message(RAFT_MESSAGE_APPEND_REPLY, 2, lone_status(&l).term);
    late.round = lone_round(&l, 2);
    late.index = 3;
    CHECK_EQ(lone_receive(&l, &late), RAFT_OK);
    CHECK_EQ(lone_refuse(&l, 2, 5, 4, lone_status(&l).term), RAFT_OK);
    lone_clear(&l);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1);
    CHECK(lone_round(&l, 2) > late.round);
    CHECK_EQ(lone_receive(&l, &late), RAFT_OK); /* once more, of no more than is known */
    CHECK_EQ(lone_peer(&l, 2).state, RAFT_PEER_PROBE);
    late.index = 5; /* it proves more, which counts, but not that the probe has arrived */
    CHECK_EQ(lone_receive(&l, &late), RAFT_OK);
    CHECK_EQ(lone_peer(&l, 2).match, 5);
    CHECK_EQ(lone_peer(&l, 2).state, RAFT_PEER_PROBE);
    CHECK_EQ(lone_ack(&l, 2, 7), RAFT_OK);
    CHECK_EQ(lone_peer(&l, 2).state, RAFT_PEER_REPLICATE);
    CHECK_EQ(lone_peer(&l, 2).next, 8);
    CHECK_STR(lone_close(&l), "sound");
}

static void refusal_from_within_the_pipeline_loses_no_entry(void)
{
    struct cluster *c = cluster_create(3);
    for (raft_id id = 1; id <= 3; id++) {
        c->nodes[id].options.append_bytes_max = 32;
    }
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    cluster_settle(c);
    raft_index first = 0;
    for (int i = 0; i < 8; i++) {
        raft_index index = cluster_propose(c, 1, "0123456789");
        first = first ? first : index;
        cluster_poll(c, 1);
    }
    cluster_drop(c, 1, 2); /* the first of eight */
    cluster_settle(c);
    cluster_run(c, 500);
    for (raft_index i = first; i < first + 8; i++) {
        CHECK_STR(cluster_applied_text(c, 2, i), "0123456789");
    }
    CHECK(cluster_violation(c) == NULL);
    cluster_free(c);
}

/* A peer that is down does not hold up the others, however long. */
static void silent_peer_holds_up_nobody_and_is_caught_up_later(void)
{
    struct cluster *c = cluster_create(3);
    for (raft_id id = 1; id <= 3; id++) {
        c->nodes[id].options.inflight_messages_max = 4;
        c->nodes[id].options.append_bytes_max = 64;
    }
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    cluster_settle(c);
    cluster_isolate(c, 3);
    raft_index last = 0;
    for (int i = 0; i < 200; i++) {
        last = cluster_propose(c, 1, "entry");
        CHECK(last != 0);
        cluster_run(c, 20);
    }
    CHECK_EQ(cluster_commit(c, 1), last);
    CHECK_EQ(cluster_commit(c, 2), last);
    cluster_heal_all(c);
    cluster_run(c, 4000);
    CHECK(cluster_converged(c));
    CHECK(cluster_violation(c) == NULL);
    cluster_free(c);
}

/* ---- The quota of uncommitted bytes (R34) --------------------------------------------------- */

static void small_quota(raft_options *o)
{
    o->uncommitted_bytes_max = 100;
}

static void quota_refuses_beyond_its_bytes(void)
{
    lone l;
    leader_with(&l, small_quota);
    CHECK_EQ(lone_status(&l).uncommitted_bytes, 0);
    for (int i = 0; i < 4; i++) {
        propose_bytes(&l, 16, RAFT_OK); /* 24 encoded */
    }
    CHECK_EQ(lone_status(&l).uncommitted_bytes, 96);
    propose_bytes(&l, 16, RAFT_EBUSY);
    propose_bytes(&l, 1, RAFT_EBUSY);
    CHECK_EQ(lone_status(&l).uncommitted_bytes, 96);
    lone_serve(&l, 0xe);
    CHECK_EQ(lone_status(&l).uncommitted_bytes, 0);
    propose_bytes(&l, 16, RAFT_OK);
    CHECK_STR(lone_close(&l), "sound");
}

static void empty_payload_passes_the_quota(void)
{
    lone l;
    leader_with(&l, small_quota);
    propose_bytes(&l, 90, RAFT_OK);
    for (int i = 0; i < 10; i++) {
        propose_bytes(&l, 0, RAFT_OK);
        propose_bytes(&l, 1, RAFT_EBUSY);
    }
    lone_serve(&l, 0xe);
    CHECK_EQ(lone_status(&l).uncommitted_bytes, 0);
    CHECK_EQ(l.applied_last, 12);
    CHECK_STR(lone_close(&l), "sound");
}

static void anything_passes_where_nothing_is_uncommitted(void)
{
    lone l;
    leader_with(&l, small_quota);
    propose_bytes(&l, 50000, RAFT_OK);
    propose_bytes(&l, 1, RAFT_EBUSY);
    lone_serve(&l, 0xe);
    propose_bytes(&l, 50000, RAFT_OK);
    lone_serve(&l, 0xe);
    CHECK_EQ(l.applied_last, 3);
    CHECK_STR(lone_close(&l), "sound");
}

static void quota_takes_a_vector_whole_or_not_at_all(void)
{
    lone l;
    leader_with(&l, small_quota);
    raft_buf vector[4] = {{"0123456789012345", 16}, {"0123456789012345", 16}, {NULL, 0}, {"x", 1}};
    CHECK_EQ(raft_propose_many(l.node, vector, 4, NULL, NULL), RAFT_OK); /* 72 of 100 */
    raft_index last = lone_status(&l).last_index;
    CHECK_EQ(raft_propose_many(l.node, vector, 2, NULL, NULL), RAFT_EBUSY);
    CHECK_EQ(lone_status(&l).last_index, last);
    CHECK_STR(lone_close(&l), "sound");
}

/* Catalogue 39: a counter that drifts refuses everything one day. */
static void quota_neither_drifts_nor_underflows_over_leader_changes(void)
{
    struct cluster *c = cluster_create(3);
    for (raft_id id = 1; id <= 3; id++) {
        c->nodes[id].options.uncommitted_bytes_max = 200;
    }
    CHECK_EQ(cluster_start(c), RAFT_OK);
    for (int round = 0; round < 9; round++) {
        raft_id lead = 1 + (raft_id)round % 3;
        CHECK(cluster_elect(c, lead));
        for (int i = 0; i < 6; i++) {
            cluster_propose(c, lead, "0123456789");
        }
        if (round % 2) {
            cluster_isolate(c, lead); /* what is proposed now stays uncommitted, then is cut */
            cluster_propose(c, lead, "lost");
            cluster_poll(c, lead);
        } else {
            cluster_settle(c);
        }
        CHECK(cluster_status(c, lead).uncommitted_bytes <= 200 + 24);
        cluster_heal_all(c);
    }
    cluster_run(c, 5000);
    CHECK(cluster_converged(c));
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_EQ(cluster_status(c, id).uncommitted_bytes, 0);
    }
    raft_id lead = cluster_leader(c);
    CHECK(cluster_propose(c, lead, "still taken") != 0);
    CHECK(cluster_violation(c) == NULL);
    cluster_free(c);
}

/* ---- A full log ----------------------------------------------------------------------------- */

static void small_log(raft_options *o)
{
    o->log_bytes_max = 16384;
}

static void full_log_refuses_proposals_and_loses_nothing(void)
{
    lone l;
    leader_with(&l, small_log);
    raft_index last = 0;
    int code = RAFT_OK;
    for (int i = 0; i < 10000 && code == RAFT_OK; i++) {
        code = raft_propose(l.node, "0123456789", 10, &last, NULL);
        if (i % 50 == 0) {
            lone_serve(&l, 0xe);
        }
    }
    CHECK_EQ(code, RAFT_EFULL);
    CHECK(last > 100);
    CHECK(lone_status(&l).log_bytes <= 16384);
    CHECK_EQ(raft_propose(l.node, "x", 1, NULL, NULL), RAFT_EFULL);
    lone_serve(&l, 0xe);
    CHECK_EQ(l.applied_last, last);
    CHECK_EQ(raft_read(l.node, 9), RAFT_OK); /* reading goes on */
    lone_crash(&l);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(lone_status(&l).last_index, last);
    CHECK_STR(lone_close(&l), "sound");
}

static void follower_with_a_full_log_takes_no_more_and_keeps_what_it_has(void)
{
    lone l;
    lone_init(&l);
    l.options.log_bytes_max = 8192;
    lone_boot(&l);
    raft_term term = lone_term(2, 1);
    CHECK_EQ(lone_append(&l, 2, term, 0, 0, term, 1, 0), RAFT_OK);
    raft_index last = 1;
    int code;
    while ((code = lone_append(&l, 2, term, last, term, term, 200, last)) == RAFT_OK &&
           last < 100000) {
        lone_poll(&l);
        last += 200;
    }
    CHECK_EQ(code, RAFT_EFULL);
    CHECK(lone_status(&l).log_bytes <= 8192 + 8192 / 8 + (256 << 10)); /* the bound and the slack */
    lone_poll(&l);
    raft_index held = lone_status(&l).last_index;
    CHECK_EQ(held, last);
    lone_clear(&l);
    CHECK_EQ(lone_heartbeat(&l, 2, term, last, 3), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, last);
    for (size_t i = 0; i < l.sent_count; i++) {
        CHECK(l.sent[i].message.index <= last);
    }
    lone_crash(&l);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(lone_status(&l).last_index, last);
    CHECK_STR(lone_close(&l), "sound");
}

/* What a leader at the bound accepted fits its followers, and they can still elect and read. */
static void group_at_its_bound_commits_what_it_took_and_survives_an_election(void)
{
    for (size_t size = 1; size < 200; size = size * 3 + 1) {
        struct cluster *c = cluster_create(3);
        for (raft_id id = 1; id <= 3; id++) {
            small_log(&c->nodes[id].options);
        }
        CHECK_EQ(cluster_start(c), RAFT_OK);
        CHECK(cluster_elect(c, 1));
        char text[256];
        memset(text, 'x', size);
        text[size] = '\0';
        raft_index last = 0;
        for (int i = 0; i < 5000; i++) {
            raft_index index = cluster_propose(c, 1, text);
            if (index == 0) {
                break;
            }
            last = index;
            if (i % 3 == 0) {
                cluster_settle(c);
            }
        }
        cluster_run(c, 2000);
        CHECK_EQ(cluster_commit(c, 1), last);
        for (raft_id id = 2; id <= 3; id++) {
            CHECK(cluster_elect(c, id));
            CHECK_EQ(raft_read(c->nodes[id].raft, 77), RAFT_OK);
            cluster_run(c, 1000);
            const raft_event *answer = cluster_read_answer(c, id, 77);
            CHECK(answer != NULL);
            CHECK_EQ(answer->status, RAFT_OK);
        }
        CHECK(cluster_violation(c) == NULL);
        cluster_free(c);
    }
}

/* ---- Applying ------------------------------------------------------------------------------- */

static void small_pages(raft_options *o)
{
    o->apply_bytes_max = 100;
}

static void entries_are_applied_in_pages_one_poll_each(void)
{
    lone l;
    leader_with(&l, small_pages);
    for (int i = 0; i < 40; i++) {
        propose_bytes(&l, 10, RAFT_OK); /* 24 encoded: four to a page */
    }
    lone_poll(&l);
    CHECK_EQ(lone_ack(&l, 2, 41), RAFT_OK);
    raft_index before = l.applied_last;
    int polls = 0;
    while (l.applied_last < 41 && polls < 100) {
        CHECK(raft_deadline(l.node) <= l.now_ms);
        lone_poll(&l);
        CHECK((l.applied_last - before) * 24 <= 100 + 24);
        CHECK(l.applied_last > before);
        before = l.applied_last;
        polls++;
    }
    CHECK(polls >= 8);
    CHECK_STR(lone_close(&l), "sound");
}

static void pending_apply_pauses_and_resumes(void)
{
    lone l;
    leader_with(&l, small_pages);
    l.apply_result = RAFT_PENDING;
    for (int i = 0; i < 40; i++) {
        propose_bytes(&l, 10, RAFT_OK);
    }
    lone_poll(&l);
    CHECK_EQ(lone_ack(&l, 2, 41), RAFT_OK);
    lone_poll(&l);
    raft_index out = l.apply_pending;
    CHECK(out > 1 && out < 41);
    for (int i = 0; i < 5; i++) {
        lone_wait(&l, 10);
        CHECK_EQ(l.apply_pending, out); /* one outstanding at a time */
        CHECK_EQ(lone_status(&l).applied_index, 1);
    }
    CHECK_EQ(raft_applied(l.node, out - 1, RAFT_OK), RAFT_EARG);
    CHECK_EQ(raft_applied(l.node, out + 1, RAFT_OK), RAFT_EARG);
    CHECK_EQ(raft_applied(l.node, out, RAFT_PENDING), RAFT_EARG);
    for (int i = 0; i < 100 && lone_status(&l).applied_index < 41; i++) {
        CHECK_EQ(lone_complete_apply(&l), RAFT_OK);
        lone_poll(&l);
    }
    CHECK_EQ(lone_status(&l).applied_index, 41);
    CHECK_EQ(raft_applied(l.node, 41, RAFT_OK), RAFT_EARG);
    CHECK_STR(lone_close(&l), "sound");
}

/* Appends and truncations above go on while a range is out; its bytes stay. */
static void bytes_lent_to_apply_stay_while_the_log_changes(void)
{
    lone l;
    lone_init(&l);
    lone_boot(&l);
    l.apply_result = RAFT_PENDING;
    raft_term first = lone_term(2, 1);
    CHECK_EQ(lone_append(&l, 2, first, 0, 0, first, 30, 10), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.apply_pending, 10);
    for (raft_term n = 2; n < 12; n++) {
        raft_id rival = 2 + n % 2;
        raft_term term = lone_term(rival, n);
        CHECK_EQ(lone_append(&l, rival, term, 10, first, term, 50, 10), RAFT_OK);
        lone_poll(&l);
    }
    CHECK_EQ(lone_complete_apply(&l), RAFT_OK);
    CHECK_EQ(lone_status(&l).applied_index, 10);
    CHECK_STR(lone_close(&l), "sound");
}

static void large_backlog_is_replayed_without_a_skip_or_a_repeat(void)
{
    enum { COUNT = 3000 };
    raft_term *terms = lone_grow(NULL, COUNT * sizeof *terms);
    for (size_t i = 0; i < COUNT; i++) {
        terms[i] = lone_term(2, 1 + i / 400);
    }
    lone l;
    lone_init(&l);
    l.options.apply_bytes_max = 300;
    raft_term term = lone_term(2, 9);
    lone_seed(&l, terms, COUNT, term, 0);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(lone_append(&l, 2, term, COUNT, terms[COUNT - 1], term, 0, COUNT), RAFT_OK);
    for (int i = 0; i < COUNT && l.applied_last < COUNT; i++) {
        l.apply_result = i % 3 == 0 ? RAFT_PENDING : RAFT_OK;
        lone_poll(&l);
        if (l.apply_pending) {
            CHECK_EQ(lone_complete_apply(&l), RAFT_OK);
        }
    }
    CHECK_EQ(l.applied_last, COUNT);
    for (raft_index i = 1; i <= COUNT; i++) {
        char text[48];
        CHECK_EQ(l.applied[i].size, lone_payload(terms[i - 1], i, text));
        CHECK(memcmp(l.applied[i].data, text, l.applied[i].size) == 0);
    }
    free(terms);
    CHECK_STR(lone_close(&l), "sound");
}

/* Each entry proposes the next; the log moves on under the range that is being applied. */
static void propose_next(lone *l)
{
    if (lone_status(l).last_index < 60 && lone_propose(l) == 0) {
        lone_blame(l, "a proposal from inside apply is refused");
    }
    if (raft_poll(l->node, l->now_ms) != RAFT_EREENTRY || raft_campaign(l->node) != RAFT_EREENTRY) {
        lone_blame(l, "a call from inside apply is not refused");
    }
}

static void proposals_from_inside_apply_are_taken(void)
{
    lone l;
    leader_with(&l, NULL);
    l.on_apply = propose_next;
    lone_propose(&l);
    lone_serve(&l, 0xe);
    CHECK_EQ(l.applied_last, 60);
    for (raft_index i = 2; i <= 60; i++) {
        char text[48];
        CHECK_EQ(l.applied[i].size, lone_payload(l.applied[i].term, i, text));
        CHECK(memcmp(l.applied[i].data, text, l.applied[i].size) == 0);
    }
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- Memory that runs out on the way -------------------------------------------------------- */

/* Windows, log and reads: with every allocation failing once in turn, all is well in the end. */
static void failing_allocations_delay_and_break_nothing(void)
{
    for (long fail = 0; fail < 80; fail++) {
        lone l;
        lone_init(&l);
        l.options.inflight_messages_max = 64;
        lone_boot(&l);
        l.fail_after = fail;
        l.fail_once = 1;
        for (int i = 0; i < 10 && lone_status(&l).role != RAFT_ROLE_LEADER; i++) {
            size_t seen = 0;
            lone_clear(&l);
            raft_campaign(l.node);
            lone_poll(&l);
            lone_grant_all(&l, &seen);
            lone_poll(&l);
            lone_grant_all(&l, &seen);
            lone_settle(&l);
        }
        CHECK_EQ(lone_status(&l).role, RAFT_ROLE_LEADER);
        size_t taken = 0;
        for (int i = 0; i < 60; i++) {
            taken += lone_propose(&l) != 0;
            lone_poll(&l);
        }
        lone_wait(&l, 100);
        lone_beat_back(&l, 2);
        lone_beat_back(&l, 3);
        lone_serve(&l, 0xe);
        lone_wait(&l, 100);
        lone_beat_back(&l, 2);
        lone_beat_back(&l, 3);
        lone_serve(&l, 0xe);
        CHECK(taken >= 59);
        CHECK_EQ(lone_status(&l).commit_index, lone_status(&l).last_index);
        CHECK_STR(lone_close(&l), "sound");
    }
}

int main(void)
{
    RUN_BOTH(probe_has_one_append_outstanding_until_a_reply);
    RUN_BOTH(heartbeat_reply_lets_a_lost_probe_go_again);
    RUN_BOTH(caught_up_peer_in_probe_returns_by_an_empty_append);
    RUN_BOTH(unreachable_peer_is_probed_behind_its_match);
    RUN_BOTH(window_is_filled_to_its_messages_and_no_further);
    RUN_BOTH(acknowledgement_frees_everything_at_or_below_it);
    RUN_BOTH(bytes_in_flight_pause_and_the_last_message_may_overshoot);
    RUN_BOTH(page_always_carries_an_entry_and_an_oversized_one_goes_alone);
    RUN_BOTH(no_message_exceeds_its_bytes_unless_it_is_one_entry);
    RUN_BOTH(window_counts_right_however_it_is_used);
    RUN_BOTH(new_entries_save_the_empty_append);
    RUN_BOTH(window_lost_whole_is_found_by_one_empty_append);
    RUN_BOTH(refusal_while_replicating_goes_back_to_the_match);
    RUN_BOTH(late_answers_do_not_end_the_probe);
    RUN_BOTH(refusal_from_within_the_pipeline_loses_no_entry);
    RUN_BOTH(silent_peer_holds_up_nobody_and_is_caught_up_later);
    RUN_BOTH(quota_refuses_beyond_its_bytes);
    RUN_BOTH(empty_payload_passes_the_quota);
    RUN_BOTH(anything_passes_where_nothing_is_uncommitted);
    RUN_BOTH(quota_takes_a_vector_whole_or_not_at_all);
    RUN_BOTH(quota_neither_drifts_nor_underflows_over_leader_changes);
    RUN_BOTH(full_log_refuses_proposals_and_loses_nothing);
    RUN_BOTH(follower_with_a_full_log_takes_no_more_and_keeps_what_it_has);
    RUN_BOTH(group_at_its_bound_commits_what_it_took_and_survives_an_election);
    RUN_BOTH(entries_are_applied_in_pages_one_poll_each);
    RUN_BOTH(pending_apply_pauses_and_resumes);
    RUN_BOTH(bytes_lent_to_apply_stay_while_the_log_changes);
    RUN_BOTH(large_backlog_is_replayed_without_a_skip_or_a_repeat);
    RUN_BOTH(proposals_from_inside_apply_are_taken);
    RUN_BOTH(failing_allocations_delay_and_break_nothing);
    return check_done();
}
