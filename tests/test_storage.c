/*
 * Storage and restart (rules R1 to R10, R60): what waits for the disk, what a completion proves and
 * what it does not, what a crash at any point leaves, what a failed write does, what may be
 * restored.
 * lone.h watches every message against the disk all the while; cluster.h does so for whole groups.
 */
#include "check.h"
#include "cluster.h"
#include "lone.h"

/* The n-th term, as one that server 2 leads, and as one that server 3 does. */
static raft_term two(raft_term n)
{
    return lone_term(2, n);
}

static raft_term three(raft_term n)
{
    return lone_term(3, n);
}

/* A follower whose writes complete when the test says so. */
static void slow_follower(lone *l, const raft_term *terms, size_t count, raft_term term)
{
    lone_follower(l, terms, count, term);
    l->persist_result = RAFT_PENDING;
}

static raft_index highest_ack(const lone *l)
{
    raft_index highest = 0;
    for (size_t i = 0; i < l->sent_count; i++) {
        const raft_message *m = &l->sent[i].message;
        if (m->kind == RAFT_MESSAGE_APPEND_REPLY && !m->refused && m->index > highest) {
            highest = m->index;
        }
    }
    return highest;
}

static size_t events_of(const lone *l, int kind)
{
    size_t n = 0;
    for (size_t i = 0; i < l->event_count; i++) {
        n += l->events[i].kind == kind;
    }
    return n;
}

/* ---- Waiting for the disk ------------------------------------------------------------------- */

static void acknowledgement_waits_for_the_write(void)
{
    lone l;
    slow_follower(&l, TERMS(1, 1), 2, 1);
    CHECK_EQ(lone_append(&l, 2, two(1), 2, two(1), two(1), 3, 0), RAFT_OK);
    for (int i = 0; i < 5; i++) {
        lone_wait(&l, 10);
        CHECK_EQ(l.sent_count, 0); /* not even of prev: the leader would send all again */
    }
    CHECK_EQ(lone_status(&l).durable_index, 2);
    CHECK_EQ(lone_status(&l).writes_pending, 1);
    CHECK_EQ(lone_complete(&l, 1), RAFT_OK);
    CHECK(raft_deadline(l.node) <= l.now_ms);
    lone_poll(&l);
    CHECK_EQ(highest_ack(&l), 5);
    CHECK_EQ(lone_status(&l).durable_index, 5);
    CHECK_EQ(lone_status(&l).writes_pending, 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* The term of the message is new: until it is durable not even a refusal leaves. */
static void nothing_is_said_in_a_term_that_is_not_durable(void)
{
    lone l;
    slow_follower(&l, TERMS(1, 1), 2, 1);
    CHECK_EQ(lone_append(&l, 2, two(5), 7, two(4), two(5), 1, 0), RAFT_OK);
    CHECK_EQ(lone_heartbeat(&l, 2, two(5), 0, 9), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.sent_count, 0);
    lone_complete(&l, 1);
    lone_poll(&l);
    CHECK(l.sent_count > 0);
    CHECK_EQ(l.sent[0].message.term, two(5));
    CHECK_STR(lone_close(&l), "sound");
}

static void vote_waits_for_the_write(void)
{
    lone l;
    slow_follower(&l, TERMS(1, 1), 2, 1);
    raft_message m = lone_message(RAFT_MESSAGE_VOTE, 3, three(4));
    m.round = 8;
    m.index = 2;
    m.index_term = two(1);
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.sent_count, 0);
    lone_complete(&l, 1);
    lone_poll(&l);
    CHECK_EQ(l.sent_count, 1);
    CHECK_EQ(l.sent[0].message.kind, RAFT_MESSAGE_VOTE_REPLY);
    CHECK(!l.sent[0].message.refused);
    CHECK_STR(lone_close(&l), "sound");
}

static void four_writes_may_be_outstanding_and_the_fifth_waits(void)
{
    lone l;
    slow_follower(&l, TERMS(1), 1, 1);
    for (raft_index prev = 1; prev <= 8; prev++) {
        CHECK_EQ(lone_append(&l, 2, two(1), prev, two(1), two(1), 1, 0), RAFT_OK);
        lone_poll(&l);
    }
    CHECK_EQ(lone_outstanding(&l), RAFT_WRITES_MAX);
    lone_log issued = lone_issued(&l);
    raft_index last = issued.last;
    lone_log_free(&issued);
    CHECK_EQ(last, 5);
    CHECK_EQ(lone_complete(&l, 1), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_outstanding(&l), RAFT_WRITES_MAX); /* all that waited, in one write */
    CHECK_EQ(highest_ack(&l), 2);
    CHECK_EQ(lone_complete(&l, 4), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(highest_ack(&l), 9);
    CHECK_STR(lone_close(&l), "sound");
}

static void completion_is_cumulative_and_wrong_ones_are_refused(void)
{
    lone l;
    slow_follower(&l, TERMS(1), 1, 1);
    for (raft_index prev = 1; prev <= 3; prev++) {
        CHECK_EQ(lone_append(&l, 2, two(1), prev, two(1), two(1), 1, 0), RAFT_OK);
        lone_poll(&l);
    }
    uint64_t first = l.writes[l.writes_done].write.seq;
    CHECK_EQ(raft_persisted(l.node, 0, RAFT_OK), RAFT_EARG);
    CHECK_EQ(raft_persisted(l.node, first - 1, RAFT_OK), RAFT_EARG);
    CHECK_EQ(raft_persisted(l.node, first + 3, RAFT_OK), RAFT_EARG);
    CHECK_EQ(raft_persisted(l.node, UINT64_MAX, RAFT_OK), RAFT_EARG);
    CHECK_EQ(raft_persisted(l.node, first, RAFT_PENDING), RAFT_EARG);
    CHECK_EQ(raft_persisted(NULL, first, RAFT_OK), RAFT_EARG);
    CHECK_EQ(lone_status(&l).durable_index, 1);
    CHECK_EQ(lone_complete(&l, 2), RAFT_OK); /* two with one call */
    CHECK_EQ(lone_status(&l).durable_index, 3);
    CHECK_EQ(raft_persisted(l.node, first + 1, RAFT_OK), RAFT_EARG); /* twice */
    CHECK_EQ(lone_complete(&l, 1), RAFT_OK);
    CHECK_EQ(lone_status(&l).durable_index, 4);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- What a completion proves (R6) ---------------------------------------------------------- */

/* x, overwritten by y, overwritten by x again: the first write of x proves nothing of the last. */
static void completion_of_overwritten_entries_proves_nothing(void)
{
    lone l;
    slow_follower(&l, TERMS(1, 1), 2, 4);
    CHECK_EQ(lone_append(&l, 2, two(4), 2, two(1), two(3), 3, 0), RAFT_OK); /* x: 3..5 of term 3 */
    lone_poll(&l);
    CHECK_EQ(lone_append(&l, 3, three(5), 2, two(1), three(5), 3, 0), RAFT_OK); /* y: of term 5 */
    lone_poll(&l);
    lone_batch x = lone_batch_make(two(3), 3, 3);
    raft_message m = lone_message(RAFT_MESSAGE_APPEND, 2, two(6));
    m.index = 2;
    m.index_term = two(1);
    m.ranges[0] = lone_batch_range(&x);
    m.range_count = 1;
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK); /* x again, byte for byte */
    lone_poll(&l);
    CHECK_EQ(lone_outstanding(&l), 3);
    lone_clear(&l);
    for (int done = 1; done <= 2; done++) {
        CHECK_EQ(lone_complete(&l, 1), RAFT_OK);
        lone_poll(&l);
        CHECK_EQ(lone_status(&l).durable_index, 2);
        CHECK(highest_ack(&l) <= 2);
    }
    CHECK_EQ(lone_complete(&l, 1), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).durable_index, 5);
    CHECK_EQ(highest_ack(&l), 5);
    free(x.data);
    CHECK_STR(lone_close(&l), "sound");
}

/* A shorter y: the old write may not vouch for what lies behind the new end either. */
static void completion_after_a_shorter_overwrite_proves_no_more_than_is_left(void)
{
    lone l;
    slow_follower(&l, TERMS(1, 1), 2, 4);
    CHECK_EQ(lone_append(&l, 2, two(4), 2, two(1), two(4), 6, 0), RAFT_OK); /* 3..8 */
    lone_poll(&l);
    CHECK_EQ(lone_append(&l, 3, three(5), 4, two(4), three(5), 1, 0), RAFT_OK); /* 5, cuts 6..8 */
    lone_poll(&l);
    /* 6..8 again, others */
    CHECK_EQ(lone_append(&l, 3, three(5), 5, three(5), three(5), 3, 0), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_complete(&l, 1), RAFT_OK);
    CHECK_EQ(lone_status(&l).durable_index, 4);
    CHECK_EQ(lone_complete(&l, 1), RAFT_OK);
    CHECK_EQ(lone_status(&l).durable_index, 5);
    CHECK_EQ(lone_complete(&l, 1), RAFT_OK);
    CHECK_EQ(lone_status(&l).durable_index, 8);
    CHECK_STR(lone_close(&l), "sound");
}

/* Truncations that storage was not told yet are told once, at their lowest. */
static void truncations_between_polls_are_told_as_one(void)
{
    lone l;
    slow_follower(&l, TERMS(1, 1, 1, 1, 1, 1), 6, 1);
    CHECK_EQ(lone_append(&l, 2, two(2), 5, two(1), two(2), 4, 0), RAFT_OK);
    CHECK_EQ(lone_append(&l, 3, three(3), 3, two(1), three(3), 3, 0), RAFT_OK);
    CHECK_EQ(lone_append(&l, 2, two(4), 4, three(3), two(4), 1, 0), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_outstanding(&l), 1);
    const raft_write *w = &l.writes[l.write_count - 1].write;
    CHECK_EQ(w->truncate_from, 4);
    CHECK_EQ(w->state.term, two(4));
    lone_log log = lone_issued(&l);
    raft_index last = log.last;
    raft_term fourth = log.at[4].term;
    raft_term fifth = log.at[5].term;
    lone_log_free(&log);
    CHECK_EQ(last, 5);
    CHECK_EQ(fourth, three(3));
    CHECK_EQ(fifth, two(4));
    CHECK_STR(lone_close(&l), "sound");
}

/* A random course of rival leaders over a slow disk; lone.h compares every lent byte. */
static void rival_leaders_over_a_slow_disk_keep_every_promise(void)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        lone l;
        slow_follower(&l, TERMS(1, 1, 1), 3, 1);
        uint64_t r = seed * 7919;
        raft_term n = 2;
        raft_term terms[200] = {0, two(1), two(1), two(1)};
        raft_index last = 3;
        for (int step = 0; step < 120; step++) {
            r = r * 6364136223846793005u + 1442695040888963407u;
            unsigned roll = (unsigned)(r >> 33);
            if (roll % 4 == 0) {
                n++;
                last = 3 + roll / 4 % (last - 2); /* the new leader has less */
            }
            if (roll % 4 <= 1 && last < 150) {
                size_t count = 1 + roll / 16 % 5;
                raft_id rival = 2 + n % 2;
                raft_term term = lone_term(rival, n);
                CHECK_EQ(lone_append(&l, rival, term, last, terms[last], term, count, 3), RAFT_OK);
                for (size_t i = 0; i < count; i++) {
                    terms[++last] = term;
                }
            }
            if (roll % 8 < 5) {
                lone_poll(&l);
            }
            if (roll % 16 >= 9 && lone_outstanding(&l)) {
                CHECK_EQ(lone_complete(&l, 1 + roll / 16 % lone_outstanding(&l)), RAFT_OK);
            }
            CHECK(lone_lent_intact(&l));
            if (roll % 61 == 0) {
                lone_crash(&l);
                CHECK_EQ(lone_restart(&l), RAFT_OK);
                last = 3;
                n++; /* more than was ever seen */
            }
        }
        lone_settle(&l);
        CHECK_STR(lone_close(&l), "sound");
    }
}

static void lent_bytes_stay_while_the_log_is_cut_and_grown(void)
{
    lone l;
    slow_follower(&l, TERMS(1), 1, 1);
    CHECK_EQ(lone_append(&l, 2, two(1), 1, two(1), two(1), 40, 0), RAFT_OK);
    lone_poll(&l);
    for (raft_term n = 2; n < 30; n++) {
        raft_id rival = 2 + n % 2;
        raft_term term = lone_term(rival, n);
        raft_term before = lone_term(2 + (n - 1) % 2, n - 1);
        CHECK_EQ(lone_append(&l, rival, term, 1 + n % 3, n % 3 ? before : two(1), term, 40, 0),
                 RAFT_OK);
        CHECK(lone_lent_intact(&l));
    }
    lone_poll(&l);
    CHECK(lone_lent_intact(&l));
    lone_settle(&l);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- Failure (R9) --------------------------------------------------------------------------- */

static void check_dead(lone *l, int error)
{
    lone_clear(l);
    size_t writes = l->write_count;
    size_t applies = l->apply_calls;
    CHECK_EQ(raft_propose(l->node, "x", 1, NULL, NULL), error);
    CHECK_EQ(raft_propose_many(l->node, &(raft_buf){"x", 1}, 1, NULL, NULL), error);
    CHECK_EQ(raft_read(l->node, 1), error);
    CHECK_EQ(raft_campaign(l->node), error);
    CHECK_EQ(raft_unreachable(l->node, 2), error);
    CHECK_EQ(lone_heartbeat(l, 2, two(99), 0, 1), error);
    CHECK_EQ(raft_persisted(l->node, 1, RAFT_OK), error);
    CHECK_EQ(raft_applied(l->node, 1, RAFT_OK), error);
    for (int i = 0; i < 30; i++) {
        CHECK_EQ(lone_wait(l, 1000), error);
    }
    CHECK_EQ(lone_status(l).error, error);
    CHECK(lone_status(l).role != RAFT_ROLE_LEADER);
    CHECK_EQ(l->sent_count, 0);
    CHECK_EQ(l->write_count, writes);
    CHECK_EQ(l->apply_calls, applies);
    CHECK_EQ(events_of(l, RAFT_EVENT_FATAL), 0); /* told once, before */
}

static void failed_write_stops_a_follower_for_good(void)
{
    lone l;
    slow_follower(&l, TERMS(1), 1, 1);
    CHECK_EQ(lone_append(&l, 2, two(1), 1, two(1), two(1), 3, 0), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(raft_persisted(l.node, l.writes[l.writes_done].write.seq, -1), RAFT_ESTORAGE);
    CHECK_EQ(lone_poll(&l), RAFT_ESTORAGE);
    CHECK_EQ(highest_ack(&l), 0);
    CHECK_EQ(events_of(&l, RAFT_EVENT_FATAL), 1);
    check_dead(&l, RAFT_ESTORAGE);
    lone_crash(&l);
    l.persist_result = RAFT_OK;
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(lone_status(&l).error, RAFT_OK);
    CHECK_EQ(lone_status(&l).last_index, 1);
    CHECK_STR(lone_close(&l), "sound");
}

static void write_that_fails_at_once_stops_the_node_in_the_same_poll(void)
{
    for (int code = -1; code > -70; code -= 7) {
        lone l;
        lone_init(&l);
        lone_seed_by(&l, 2, TERMS(1), 1, 1, 0);
        CHECK_EQ(lone_restart(&l), RAFT_OK);
        lone_clear(&l);
        l.persist_result = code;
        CHECK_EQ(lone_append(&l, 2, two(2), 1, two(1), two(2), 3, 4), RAFT_OK);
        CHECK_EQ(lone_poll(&l), RAFT_ESTORAGE);
        CHECK_EQ(l.sent_count, 0);
        CHECK_EQ(l.applied_last, 0);
        CHECK_EQ(events_of(&l, RAFT_EVENT_FATAL), 1);
        l.persist_result = RAFT_OK; /* the disk works again; the node does not believe it */
        check_dead(&l, RAFT_ESTORAGE);
        CHECK_STR(lone_close(&l), "sound");
    }
}

static void failed_write_of_a_leader_ends_its_reads_and_proposals(void)
{
    lone l;
    lone_init(&l);
    lone_boot(&l);
    CHECK(lone_lead(&l));
    lone_serve(&l, 0xe);
    l.persist_result = RAFT_PENDING;
    raft_index index = lone_propose(&l);
    CHECK_EQ(raft_read(l.node, 33), RAFT_OK);
    lone_poll(&l);
    lone_clear(&l);
    CHECK_EQ(raft_persisted(l.node, l.writes[l.writes_done].write.seq, -5), RAFT_ESTORAGE);
    CHECK_EQ(lone_poll(&l), RAFT_ESTORAGE);
    size_t answered = 0;
    for (size_t i = 0; i < l.event_count; i++) {
        const raft_event *e = &l.events[i];
        answered += e->kind == RAFT_EVENT_READ && e->tag == 33 && e->status == RAFT_ESTORAGE;
        answered += e->kind == RAFT_EVENT_DROPPED && e->first == index && e->last == index &&
                    e->status == RAFT_EUNKNOWN;
    }
    CHECK_EQ(answered, 2);
    CHECK_EQ(l.events[l.event_count - 1].kind, RAFT_EVENT_FATAL);
    CHECK_EQ(l.sent_count, 0);
    check_dead(&l, RAFT_ESTORAGE);
    CHECK_STR(lone_close(&l), "sound");
}

static void failed_apply_stops_the_node_and_answers_every_proposal(void)
{
    lone l;
    lone_init(&l);
    l.options.apply_bytes_max = 60;
    lone_boot(&l);
    CHECK(lone_lead(&l));
    lone_serve(&l, 0xe);
    raft_index first = lone_propose(&l);
    for (int i = 0; i < 9; i++) {
        lone_propose(&l);
    }
    raft_index last = lone_status(&l).last_index;
    lone_poll(&l);
    l.apply_result = -1;
    CHECK_EQ(lone_ack(&l, 2, last - 3), RAFT_OK); /* some committed, some not */
    CHECK_EQ(lone_poll(&l), RAFT_EAPPLY);
    uint8_t answered[64] = {0};
    for (size_t i = 0; i < l.event_count; i++) {
        const raft_event *e = &l.events[i];
        if (e->kind == RAFT_EVENT_DROPPED) {
            CHECK_EQ(e->status, RAFT_EUNKNOWN);
            for (raft_index at = e->first; at <= e->last; at++) {
                answered[at]++;
            }
        }
    }
    for (raft_index at = first; at <= last; at++) {
        CHECK_EQ(answered[at], 1);
    }
    CHECK_EQ(events_of(&l, RAFT_EVENT_FATAL), 1);
    l.apply_result = RAFT_OK;
    check_dead(&l, RAFT_EAPPLY);
    CHECK_STR(lone_close(&l), "sound");
}

static void apply_that_fails_later_stops_the_node(void)
{
    lone l;
    lone_init(&l);
    lone_boot(&l);
    l.apply_result = RAFT_PENDING;
    CHECK_EQ(lone_append(&l, 2, two(1), 0, 0, two(1), 3, 3), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.apply_pending, 3);
    CHECK_EQ(raft_applied(l.node, 3, -1), RAFT_EAPPLY);
    CHECK_EQ(lone_poll(&l), RAFT_EAPPLY);
    check_dead(&l, RAFT_EAPPLY);
    CHECK_STR(lone_close(&l), "sound");
}

static void first_cause_is_kept(void)
{
    lone l;
    slow_follower(&l, TERMS(1), 1, 1);
    l.apply_result = RAFT_PENDING;
    CHECK_EQ(lone_append(&l, 2, two(1), 1, two(1), two(1), 3, 1), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.apply_pending, 1);
    CHECK_EQ(raft_persisted(l.node, l.writes[l.writes_done].write.seq, -1), RAFT_ESTORAGE);
    CHECK_EQ(raft_applied(l.node, 1, -1), RAFT_ESTORAGE);
    CHECK_EQ(lone_status(&l).error, RAFT_ESTORAGE);
    CHECK_STR(lone_close(&l), "sound");
}

/*
 * A leader whose disk hangs has to go within its bound; with nobody to hand over to, it steps down
 * after twice that and falls silent, its network fine.
 */
static void leader_with_a_hung_disk_is_silent_within_its_bound(void)
{
    lone l;
    lone_init(&l);
    l.options.disk_timeout_ms = 2000;
    lone_boot(&l);
    CHECK(lone_lead(&l));
    lone_serve(&l, 0xe);
    l.persist_result = RAFT_PENDING;
    lone_propose(&l);
    lone_poll(&l);
    uint64_t hung_ms = l.now_ms;
    while (lone_status(&l).role == RAFT_ROLE_LEADER && l.now_ms < hung_ms + 10000) {
        CHECK(l.now_ms - hung_ms < 4000);
        CHECK_EQ(lone_status(&l).transfer_target != 0, l.now_ms - hung_ms >= 2000);
        lone_clear(&l);
        l.now_ms = raft_deadline(l.node) > l.now_ms ? raft_deadline(l.node) : l.now_ms;
        lone_poll(&l);
        for (raft_id peer = 2; peer <= 3; peer++) {
            if (lone_count(&l, RAFT_MESSAGE_HEARTBEAT, peer)) {
                lone_beat_back(&l, peer);
            }
        }
    }
    CHECK_EQ(l.now_ms - hung_ms, 4000);
    lone_clear(&l);
    for (int i = 0; i < 100; i++) {
        lone_wait(&l, 100);
    }
    CHECK_EQ(l.sent_count, 0);
    CHECK_EQ(l.write_count - l.writes_done, 1);
    CHECK_STR(lone_close(&l), "sound");
}

static void leadership_moves_away_from_a_hung_disk(void)
{
    struct cluster *c = cluster_new(3);
    CHECK(cluster_elect(c, 1));
    cluster_settle(c);
    cluster_store_async(c, 1, 1);
    CHECK(cluster_propose(c, 1, "stuck") != 0);
    cluster_run(c, 2000 + 4 * 2000);
    raft_id lead = cluster_stable_leader(c);
    CHECK(lead == 2 || lead == 3);
    raft_index index = cluster_propose(c, lead, "goes on");
    CHECK(index != 0);
    cluster_run(c, 1000);
    CHECK_STR(cluster_applied_text(c, 5 - lead, index), "goes on");
    cluster_store_async(c, 1, 0);
    cluster_complete(c, 1);
    cluster_run(c, 6000);
    CHECK(cluster_converged(c));
    CHECK(cluster_violation(c) == NULL);
    cluster_free(c);
}

/* ---- Crashes -------------------------------------------------------------------------------- */

/* At every step of a write that cuts a tail and grows another: what was acknowledged survives. */
static void crash_between_truncation_and_new_entries_loses_nothing_acknowledged(void)
{
    for (size_t steps = 0;; steps++) {
        struct cluster *c = cluster_new(3);
        CHECK(cluster_elect(c, 1));
        cluster_settle(c);
        raft_index kept = cluster_propose(c, 1, "kept");
        cluster_settle(c);
        cluster_isolate(c, 1);
        for (int i = 0; i < 4; i++) {
            cluster_propose(c, 1, "tail that is cut");
        }
        cluster_poll(c, 1);
        CHECK(cluster_elect(c, 2));
        raft_index fresh = cluster_propose(c, 2, "new");
        cluster_settle(c);
        CHECK(cluster_commit(c, 2) >= fresh);
        cluster_store_async(c, 1, 1);
        cluster_heal_all(c);
        size_t pending = 0, least = 2 + (size_t)cluster_noops(c);
        for (int i = 0; i < 100 && pending < least; i++) {
            cluster_complete(c, 1); /* the new term, before the truncation can begin */
            cluster_run(c, 20);
            pending = cluster_pending_steps(c, 1);
        }
        CHECK(pending >= least); /* a truncation and the entries */
        cluster_crash_after(c, 1, steps);
        CHECK(cluster_stored(c, 1, kept) != NULL);
        CHECK_STR(cluster_stored(c, 1, kept)->data, "kept");
        cluster_store_async(c, 1, 0);
        CHECK_EQ(cluster_restart(c, 1), RAFT_OK);
        cluster_run(c, 6000);
        CHECK(cluster_converged(c));
        CHECK_STR(cluster_applied_text(c, 1, kept), "kept");
        CHECK_STR(cluster_applied_text(c, 1, fresh), "new");
        CHECK(cluster_violation(c) == NULL);
        cluster_free(c);
        if (steps > pending) {
            break;
        }
    }
}

/* A node that is killed at every write of a busy life is a good follower after each. */
static void crash_at_every_write_leaves_a_log_that_restarts(void)
{
    lone l;
    slow_follower(&l, TERMS(1, 1), 2, 1);
    uint64_t r = 12345;
    raft_term n = 2;
    for (int i = 0; i < 150; i++) {
        r = r * 6364136223846793005u + 1442695040888963407u;
        n += r >> 60 & 1;
        raft_id rival = 2 + n % 2;
        raft_term term = lone_term(rival, n);
        lone_log log = lone_durable(&l);
        raft_index prev = log.last - (log.last > 4 ? (r >> 40) % 3 : 0);
        raft_term prev_term = prev ? log.at[prev].term : 0;
        lone_log_free(&log);
        CHECK_EQ(
            lone_append(&l, rival, term, prev, prev_term, term, 1 + (size_t)((r >> 45) % 3), 0),
            RAFT_OK);
        lone_poll(&l);
        if ((r >> 50) % 2) {
            lone_complete(&l, 1);
        }
        lone_crash(&l);
        CHECK_EQ(lone_restart(&l), RAFT_OK);
        lone_log after = lone_durable(&l);
        CHECK_EQ(lone_status(&l).last_index, after.last);
        CHECK_EQ(lone_status(&l).term, after.state.term);
        CHECK_EQ(lone_status(&l).vote, after.state.vote);
        lone_log_free(&after);
    }
    CHECK_STR(lone_close(&l), "sound");
}

static void all_servers_restart_in_every_order(void)
{
    static const raft_id orders[6][3] = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3},
                                         {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};
    struct cluster *c = cluster_new(3);
    CHECK(cluster_elect(c, 1));
    raft_index first = cluster_propose(c, 1, "first");
    cluster_run(c, 500);
    raft_index last = 0;
    for (int round = 0; round < 12; round++) {
        for (int i = 0; i < 3; i++) {
            cluster_crash(c, orders[round % 6][i]);
            cluster_run(c, 300);
        }
        for (int i = 0; i < 3; i++) {
            raft_id id = orders[(round / 6 + round) % 6][i];
            CHECK_EQ(round % 2 ? cluster_restart(c, id) : cluster_restart_stepwise(c, id), RAFT_OK);
            cluster_run(c, 300);
        }
        cluster_run(c, 8000);
        raft_id lead = cluster_stable_leader(c);
        CHECK(lead != 0);
        last = cluster_propose(c, lead, "again");
        CHECK(last != 0);
        cluster_run(c, 1000);
    }
    CHECK(cluster_converged(c));
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_STR(cluster_applied_text(c, id, first), "first");
        CHECK_STR(cluster_applied_text(c, id, last), "again");
    }
    CHECK(cluster_violation(c) == NULL);
    cluster_free(c);
}

/* R60: a leader that lost its unsynced tail gets it back or not, and never reuses (index, term). */
static void leader_that_lost_its_unsynced_tail_leads_only_in_a_higher_term(void)
{
    struct cluster *c = cluster_new(3);
    CHECK(cluster_elect(c, 1));
    cluster_settle(c);
    raft_term term = cluster_term(c, 1);
    cluster_store_async(c, 1, 1);
    raft_index index = cluster_propose(c, 1, "on 2 and 3");
    cluster_poll(c, 1);
    cluster_deliver_all(c, 1, 2);
    cluster_deliver_all(c, 1, 3);
    cluster_crash(c, 1);
    cluster_store_async(c, 1, 0);
    CHECK_EQ(cluster_restart(c, 1), RAFT_OK);
    CHECK_EQ(cluster_role(c, 1), RAFT_ROLE_FOLLOWER);
    CHECK_EQ(cluster_term(c, 1), term);
    cluster_run(c, 8000);
    raft_id lead = cluster_stable_leader(c);
    CHECK(lead != 0);
    CHECK(cluster_term(c, lead) > term);
    CHECK(cluster_converged(c));
    CHECK_STR(cluster_applied_text(c, 1, index), "on 2 and 3"); /* 1 cannot win */
    CHECK(cluster_violation(c) == NULL);
    cluster_free(c);
}

static void freed_with_writes_and_applies_outstanding_gives_everything_back(void)
{
    lone l;
    slow_follower(&l, TERMS(1), 1, 1);
    l.apply_result = RAFT_PENDING;
    CHECK_EQ(lone_append(&l, 2, two(1), 1, two(1), two(1), 30, 1), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_append(&l, 3, three(2), 1, two(1), three(2), 30, 1), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_append(&l, 2, two(3), 1, two(1), two(3), 30, 1), RAFT_OK);
    CHECK(lone_outstanding(&l) == 2);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- Restoring ------------------------------------------------------------------------------ */

/* The journal of a whole life, write by write, and its sum in one write give the same node. */
static void journal_and_table_restore_the_same_node(void)
{
    lone l;
    slow_follower(&l, TERMS(1, 1, 1), 3, 1);
    l.persist_result = RAFT_OK;
    CHECK_EQ(lone_append(&l, 2, two(2), 3, two(1), two(2), 5, 0), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_append(&l, 3, three(4), 5, two(2), three(4), 2, 0), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_append(&l, 2, two(6), 2, two(1), two(6), 9, 0), RAFT_OK);
    lone_poll(&l);
    lone_crash(&l);
    CHECK_EQ(lone_restart(&l), RAFT_OK); /* the journal */
    raft_status journal = lone_status(&l);
    lone_crash(&l);

    lone_log sum = lone_durable(&l);
    raft_range *ranges = lone_grow(NULL, (size_t)sum.last * sizeof *ranges);
    lone_batch *batches = lone_grow(NULL, (size_t)sum.last * sizeof *batches);
    for (raft_index i = 1; i <= sum.last; i++) {
        lone_batch b = {NULL, 0, 0, i, sum.at[i].term};
        lone_batch_add(&b, sum.at[i].data, sum.at[i].size, sum.at[i].kind);
        batches[i - 1] = b;
        ranges[i - 1] = lone_batch_range(&b);
    }
    raft_write table;
    memset(&table, 0, sizeof table);
    table.has_state = 1;
    table.state = sum.state;
    table.meta = sum.meta;
    table.meta_size = sum.meta_size;
    table.ranges = ranges;
    table.range_count = (size_t)sum.last;
    CHECK_EQ(lone_new(&l), RAFT_OK);
    CHECK_EQ(raft_restore(l.node, &table), RAFT_OK);
    CHECK_EQ(lone_start(&l), RAFT_OK);
    raft_status restored = lone_status(&l);
    CHECK_EQ(restored.term, journal.term);
    CHECK_EQ(restored.vote, journal.vote);
    CHECK_EQ(restored.last_index, journal.last_index);
    CHECK_EQ(restored.durable_index, journal.durable_index);
    CHECK_EQ(restored.member_count, journal.member_count);
    CHECK_EQ(restored.commit_index, 0);
    CHECK_EQ(lone_append(&l, 2, two(6), 11, two(6), two(6), 0, 11), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.applied_last, 11);
    for (raft_index i = 1; i <= 11; i++) {
        CHECK_EQ(l.applied[i].term, sum.at[i].term);
    }
    for (raft_index i = 0; i < sum.last; i++) {
        free(batches[i].data);
    }
    free(batches);
    free(ranges);
    lone_log_free(&sum);
    CHECK_STR(lone_close(&l), "sound");
}

static void restored_entries_are_copied_and_applied_again_from_the_first(void)
{
    lone l;
    lone_init(&l);
    lone_seed_by(&l, 2, TERMS(1, 1, 2), 3, 2, 0);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(lone_append(&l, 2, two(2), 3, two(2), two(2), 0, 3), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.applied_last, 3);
    lone_crash(&l);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(l.applied_last, 0);
    CHECK_EQ(lone_append(&l, 2, two(2), 3, two(2), two(2), 0, 3), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.applied_last, 3);
    CHECK_STR(lone_close(&l), "sound");
}

static void large_log_is_restored_in_one_write_and_in_many(void)
{
    enum { COUNT = 20000 };
    for (size_t pieces = 1; pieces <= 400; pieces *= 20) {
        lone l;
        lone_init(&l);
        lone_seed(&l, NULL, 0, two(3), 0);
        CHECK_EQ(lone_new(&l), RAFT_OK);
        CHECK_EQ(raft_restore(l.node, &l.writes[0].write), RAFT_OK);
        for (size_t at = 0; at < COUNT; at += COUNT / pieces) {
            lone_batch b = lone_batch_make(two(at < COUNT / 2 ? 2 : 3), at + 1, COUNT / pieces);
            raft_range range = lone_batch_range(&b);
            raft_write w;
            memset(&w, 0, sizeof w);
            w.ranges = &range;
            w.range_count = 1;
            CHECK_EQ(raft_restore(l.node, &w), RAFT_OK);
            memset(b.data, 0xee, b.size); /* borrowed, not kept */
            free(b.data);
        }
        CHECK_EQ(lone_start(&l), RAFT_OK);
        CHECK_EQ(lone_status(&l).last_index, COUNT);
        CHECK_EQ(lone_status(&l).durable_index, COUNT);
        lone_verify(&l);
        CHECK_EQ(l.write_count, 1);
        CHECK_STR(lone_close(&l), "sound");
    }
}

/* What a later version writes into the hard state passes through this one unharmed. */
static void whole_hard_state_is_kept(void)
{
    lone l;
    lone_init(&l);
    lone_seed_by(&l, 2, TERMS(1), 1, 3, 2);
    l.writes[0].write.state.accepted_round = two(2);
    l.writes[0].write.state.lease_max_ms = 88;
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(lone_heartbeat(&l, 2, two(9), 0, 1), RAFT_OK);
    lone_poll(&l);
    const raft_write *w = &l.writes[l.write_count - 1].write;
    CHECK(w->has_state);
    CHECK_EQ(w->state.term, two(9));
    CHECK_EQ(w->state.vote, 0);
    CHECK_EQ(w->state.accepted_round, two(2));
    CHECK_EQ(w->state.lease_max_ms, 88);
    CHECK_STR(lone_close(&l), "sound");
}

static void restart_writes_nothing_that_is_stored_already(void)
{
    lone l;
    lone_init(&l);
    lone_seed_by(&l, 2, TERMS(1, 1, 2), 3, 2, 2);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    lone_wait(&l, 10);
    CHECK_EQ(l.write_count, 1);
    CHECK_EQ(lone_status(&l).term, two(2));
    CHECK_EQ(lone_status(&l).vote, 2);
    CHECK_STR(lone_close(&l), "sound");
}

static void founding_record_reaches_storage_once_with_the_first_write(void)
{
    lone l;
    lone_init(&l);
    lone_boot(&l);
    CHECK(lone_lead(&l));
    lone_serve(&l, 0xe);
    for (size_t i = 0; i < l.write_count; i++) {
        CHECK_EQ(l.writes[i].write.meta != NULL, i == 0);
    }
    lone_crash(&l);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(lone_status(&l).member_count, 3);
    CHECK(lone_lead(&l));
    CHECK_EQ(events_of(&l, RAFT_EVENT_FATAL), 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* Tries one write on a node that holds founding record, term 5, entries 1..3 of terms 1 1 4. */
static int restore_after_seed(const raft_write *write, int start)
{
    lone l;
    lone_init(&l);
    lone_seed_by(&l, 2, TERMS(1, 1, 4), 3, 5, 2);
    CHECK_EQ(lone_new(&l), RAFT_OK);
    CHECK_EQ(raft_restore(l.node, &l.writes[0].write), RAFT_OK);
    int code = raft_restore(l.node, write);
    if (code == RAFT_OK && start) {
        code = lone_start(&l);
    }
    if (code == RAFT_OK && start) {
        lone_verify(&l);
    }
    CHECK_STR(lone_close(&l), "sound");
    return code;
}

static void writes_that_contradict_what_was_restored_are_corrupt(void)
{
    lone_batch b = lone_batch_make(two(4), 4, 3);
    raft_range range = lone_batch_range(&b);
    raft_write good;
    memset(&good, 0, sizeof good);
    good.ranges = &range;
    good.range_count = 1;
    CHECK_EQ(restore_after_seed(&good, 1), RAFT_OK);

    range.first = 5; /* a gap */
    CHECK_EQ(restore_after_seed(&good, 0), RAFT_ECORRUPT);
    range.first = 3; /* an overlap that is not announced by a truncation */
    CHECK_EQ(restore_after_seed(&good, 0), RAFT_ECORRUPT);
    range.first = 0;
    CHECK_EQ(restore_after_seed(&good, 0), RAFT_ECORRUPT);
    range.first = 4;
    range.term = two(3); /* terms fall */
    CHECK_EQ(restore_after_seed(&good, 0), RAFT_ECORRUPT);
    range.term = 0;
    CHECK_EQ(restore_after_seed(&good, 0), RAFT_ECORRUPT);
    range.term = (uint64_t)1 << 63;
    CHECK_EQ(restore_after_seed(&good, 0), RAFT_ECORRUPT);
    range.term = two(4);
    range.count = 4; /* bytes do not hold that many */
    CHECK_EQ(restore_after_seed(&good, 0), RAFT_ECORRUPT);
    range.count = 2;
    CHECK_EQ(restore_after_seed(&good, 0), RAFT_ECORRUPT);
    range.count = 3;
    range.size -= 8;
    CHECK_EQ(restore_after_seed(&good, 0), RAFT_ECORRUPT);
    range.size += 8;
    b.data[4] = 9; /* an unknown kind */
    CHECK_EQ(restore_after_seed(&good, 0), RAFT_ECORRUPT);
    b.data[4] = RAFT_ENTRY_DATA;
    b.data[7] = 1; /* nonzero where zero belongs */
    CHECK_EQ(restore_after_seed(&good, 0), RAFT_ECORRUPT);
    b.data[7] = 0;
    CHECK_EQ(restore_after_seed(&good, 1), RAFT_OK);

    good.truncate_from = 5; /* beyond the end */
    range.first = 5;
    CHECK_EQ(restore_after_seed(&good, 0), RAFT_ECORRUPT);
    good.truncate_from = 4; /* at the end: nothing is removed */
    range.first = 4;
    CHECK_EQ(restore_after_seed(&good, 1), RAFT_OK);
    good.truncate_from = 1;
    range.first = 1;
    CHECK_EQ(restore_after_seed(&good, 1), RAFT_OK);
    free(b.data);
}

static void hard_states_that_go_back_are_corrupt(void)
{
    raft_write w;
    memset(&w, 0, sizeof w);
    w.has_state = 1;
    w.state.term = two(5);
    w.state.vote = 2;
    w.state.accepted_round = lone_in_multipaxos() ? two(4) : 0;
    CHECK_EQ(restore_after_seed(&w, 1), RAFT_OK); /* the same once more */
    w.state.term = two(4);
    CHECK_EQ(restore_after_seed(&w, 0), RAFT_ECORRUPT);
    w.state.term = two(5);
    w.state.vote = 3; /* two votes in one term */
    CHECK_EQ(restore_after_seed(&w, 0), RAFT_ECORRUPT);
    w.state.vote = 0;
    CHECK_EQ(restore_after_seed(&w, 0), RAFT_ECORRUPT);
    w.state.term = two(6);
    CHECK_EQ(restore_after_seed(&w, 1), RAFT_OK);
    if (lone_in_multipaxos()) {
        w.state.accepted_round = two(3); /* falls (I8) */
        CHECK_EQ(restore_after_seed(&w, 0), RAFT_ECORRUPT);
        w.state.accepted_round = two(7); /* above the term (I8) */
        CHECK_EQ(restore_after_seed(&w, 0), RAFT_ECORRUPT);
        w.state.accepted_round = two(6);
        CHECK_EQ(restore_after_seed(&w, 1), RAFT_OK);
    }
    w.state.term = (uint64_t)1 << 63;
    CHECK_EQ(restore_after_seed(&w, 0), RAFT_ECORRUPT);
}

static int store_nothing(void *host, const raft_write *write)
{
    (void)host;
    (void)write;
    return RAFT_OK;
}

static void send_nothing(void *host, const raft_message *message)
{
    (void)host;
    (void)message;
}

static int apply_nothing(void *host, const raft_range *range)
{
    (void)host;
    (void)range;
    return RAFT_OK;
}

/* R61: with half of what was stored it would vote for who lacks the other half. */
static void node_that_was_not_restored_whole_does_not_start(void)
{
    raft *node = NULL;
    raft_options options;
    raft_callbacks callbacks;
    raft_write w;
    raft_options_init(&options);
    raft_callbacks_init(&callbacks);
    options.id = 1;
    options.protocol = cluster_protocol;
    callbacks.persist = store_nothing;
    callbacks.send = send_nothing;
    callbacks.apply = apply_nothing;
    memset(&w, 0, sizeof w);
    CHECK_EQ(raft_new(&options, &callbacks, NULL, &node), RAFT_OK);
    w.has_state = 1;
    w.state.term = two(5);
    CHECK_EQ(raft_restore(node, &w), RAFT_OK);
    w.state.term = two(4);
    CHECK_EQ(raft_restore(node, &w), RAFT_ECORRUPT);
    w.state.term = two(6);
    CHECK_EQ(raft_restore(node, &w), RAFT_ESTATE);
    CHECK_EQ(raft_start(node, 0), RAFT_ESTATE);
    CHECK_EQ(raft_poll(node, 1), RAFT_ESTATE);
    CHECK_EQ(raft_free(node), RAFT_OK);
}

/* R4: a term is durable before or with any entry accepted under it. */
static void log_newer_than_its_hard_state_is_corrupt(void)
{
    lone_batch b = lone_batch_make(two(6), 4, 1);
    raft_range range = lone_batch_range(&b);
    raft_write w;
    memset(&w, 0, sizeof w);
    w.ranges = &range;
    w.range_count = 1;
    CHECK_EQ(restore_after_seed(&w, 1), RAFT_ECORRUPT);
    w.has_state = 1;
    w.state.term = two(6);
    w.state.accepted_round = lone_in_multipaxos() ? two(4) : 0;
    CHECK_EQ(restore_after_seed(&w, 1), RAFT_OK);
    free(b.data);
}

static void founding_records_that_are_damaged_or_come_twice_are_corrupt(void)
{
    lone l;
    lone_init(&l);
    lone_seed(&l, NULL, 0, two(1), 0);
    raft_write w = l.writes[0].write;
    CHECK_EQ(restore_after_seed(&w, 0), RAFT_ECORRUPT); /* a second one */
    uint8_t *meta = lone_grow(NULL, w.meta_size);
    for (size_t cut = 0; cut < w.meta_size; cut++) {
        memcpy(meta, w.meta, w.meta_size);
        raft_write bad = w;
        bad.meta = meta;
        bad.meta_size = cut;
        CHECK_EQ(lone_new(&l), RAFT_OK);
        CHECK_EQ(raft_restore(l.node, &bad), RAFT_ECORRUPT);
        raft_free(l.node);
    }
    for (size_t at = 0; at < w.meta_size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            memcpy(meta, w.meta, w.meta_size);
            meta[at] ^= (uint8_t)(1u << bit);
            raft_write bad = w;
            bad.meta = meta;
            CHECK_EQ(lone_new(&l), RAFT_OK);
            int code = raft_restore(l.node, &bad);
            int is_protocol = at == 41 && bit == 0; /* the other one (P8) */
            CHECK(is_protocol ? code == RAFT_EFOREIGN
                              : code == RAFT_OK || code == RAFT_ECORRUPT || code == RAFT_EVERSION);
            if (code == RAFT_OK) {
                CHECK_EQ(lone_start(&l), RAFT_OK);
                CHECK(raft_check(l.node) == NULL);
            }
            raft_free(l.node);
        }
    }
    l.node = NULL;
    free(meta);
    CHECK_STR(lone_close(&l), "sound");
}

static void restoring_is_refused_when_it_is_too_late(void)
{
    lone l;
    lone_init(&l);
    lone_seed_by(&l, 2, TERMS(1), 1, 1, 0);
    raft_write w = l.writes[0].write;
    CHECK_EQ(lone_new(&l), RAFT_OK);
    CHECK_EQ(raft_restore(l.node, NULL), RAFT_EARG);
    CHECK_EQ(raft_restore(NULL, &w), RAFT_EARG);
    raft_write null_ranges = w;
    null_ranges.ranges = NULL;
    CHECK_EQ(raft_restore(l.node, &null_ranges), RAFT_EARG);
    CHECK_EQ(raft_restore(l.node, &w), RAFT_OK);
    CHECK_EQ(lone_bootstrap(&l), RAFT_ESTATE);
    CHECK_EQ(lone_start(&l), RAFT_OK);
    CHECK_EQ(lone_start(&l), RAFT_ESTATE);
    CHECK_EQ(raft_restore(l.node, &w), RAFT_ESTATE);
    CHECK_EQ(lone_bootstrap(&l), RAFT_ESTATE);
    raft_free(l.node);
    CHECK_EQ(lone_new(&l), RAFT_OK);
    CHECK_EQ(lone_bootstrap(&l), RAFT_OK);
    CHECK_EQ(raft_restore(l.node, &w), RAFT_ESTATE);
    CHECK_STR(lone_close(&l), "sound");
}

static void restoring_without_memory_fails_and_gives_everything_back(void)
{
    for (long fail = 0; fail < 12; fail++) {
        lone l;
        lone_init(&l);
        lone_seed_by(&l, 2, TERMS(1, 1, 2, 2, 3), 5, 3, 0);
        l.fail_after = fail;
        int code = lone_new(&l);
        if (code == RAFT_OK) {
            code = raft_restore(l.node, &l.writes[0].write);
        }
        CHECK(code == RAFT_OK || code == RAFT_ENOMEM);
        CHECK(code == RAFT_OK || fail < 11);
        CHECK_STR(lone_close(&l), "sound");
    }
}

static void log_that_exceeds_its_bound_is_not_restored(void)
{
    lone l;
    lone_init(&l);
    lone_seed(&l, NULL, 0, two(3), 0);
    l.options.log_bytes_max = 4096;
    CHECK_EQ(lone_new(&l), RAFT_OK);
    CHECK_EQ(raft_restore(l.node, &l.writes[0].write), RAFT_OK);
    lone_batch b = lone_batch_make(two(1), 1, 50000);
    raft_range range = lone_batch_range(&b);
    raft_write w;
    memset(&w, 0, sizeof w);
    w.ranges = &range;
    w.range_count = 1;
    CHECK_EQ(raft_restore(l.node, &w), RAFT_EFULL);
    free(b.data);
    CHECK_STR(lone_close(&l), "sound");
}

/* A random life of three servers with slow disks and crashes; cluster.h checks every promise. */
static void random_lives_over_slow_disks_keep_every_promise(void)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct cluster *c = cluster_create(3);
        for (raft_id id = 1; id <= 3; id++) {
            c->nodes[id].options.seed = seed;
            c->nodes[id].options.append_bytes_max = 80;
        }
        CHECK_EQ(cluster_start(c), RAFT_OK);
        cluster_store_async(c, 0, 1);
        uint64_t r = seed * 31;
        for (int step = 0; step < 400; step++) {
            r = r * 6364136223846793005u + 1442695040888963407u;
            raft_id id = 1 + (r >> 33) % 3;
            struct cluster_node *node = &c->nodes[id];
            switch ((r >> 37) % 8) {
            case 0:
                if (node->raft) {
                    size_t steps = cluster_pending_steps(c, id);
                    cluster_crash_after(c, id, steps ? (size_t)((r >> 45) % (steps + 1)) : 0);
                }
                break;
            case 1:
            case 2:
                if (!node->raft) {
                    CHECK_EQ(cluster_restart(c, id), RAFT_OK);
                }
                break;
            case 3:
                if (node->raft) {
                    cluster_propose(c, id, "something of some length");
                }
                break;
            default:
                if (node->raft && node->store.pending_count) {
                    cluster_complete_one(c, id);
                }
                break;
            }
            cluster_run(c, 1 + (r >> 50) % 200);
        }
        cluster_store_async(c, 0, 0);
        for (raft_id id = 1; id <= 3; id++) {
            if (!c->nodes[id].raft) {
                CHECK_EQ(cluster_restart(c, id), RAFT_OK);
            }
            cluster_complete(c, id);
        }
        cluster_run(c, 20000);
        CHECK(cluster_stable_leader(c) != 0);
        CHECK(cluster_converged(c));
        const char *violation = cluster_violation(c);
        CHECK_STR(violation ? violation : "none", "none");
        cluster_free(c);
    }
}

int main(void)
{
    RUN_BOTH(acknowledgement_waits_for_the_write);
    RUN_BOTH(nothing_is_said_in_a_term_that_is_not_durable);
    RUN_BOTH(vote_waits_for_the_write);
    RUN_BOTH(four_writes_may_be_outstanding_and_the_fifth_waits);
    RUN_BOTH(completion_is_cumulative_and_wrong_ones_are_refused);
    RUN_BOTH(completion_of_overwritten_entries_proves_nothing);
    RUN_BOTH(completion_after_a_shorter_overwrite_proves_no_more_than_is_left);
    RUN_BOTH(truncations_between_polls_are_told_as_one);
    RUN_BOTH(rival_leaders_over_a_slow_disk_keep_every_promise);
    RUN_BOTH(lent_bytes_stay_while_the_log_is_cut_and_grown);
    RUN_BOTH(failed_write_stops_a_follower_for_good);
    RUN_BOTH(write_that_fails_at_once_stops_the_node_in_the_same_poll);
    RUN_BOTH(failed_write_of_a_leader_ends_its_reads_and_proposals);
    RUN_BOTH(failed_apply_stops_the_node_and_answers_every_proposal);
    RUN_BOTH(apply_that_fails_later_stops_the_node);
    RUN_BOTH(first_cause_is_kept);
    RUN_BOTH(leader_with_a_hung_disk_is_silent_within_its_bound);
    RUN_BOTH(leadership_moves_away_from_a_hung_disk);
    RUN_BOTH(crash_between_truncation_and_new_entries_loses_nothing_acknowledged);
    RUN_BOTH(crash_at_every_write_leaves_a_log_that_restarts);
    RUN_BOTH(all_servers_restart_in_every_order);
    RUN_BOTH(leader_that_lost_its_unsynced_tail_leads_only_in_a_higher_term);
    RUN_BOTH(freed_with_writes_and_applies_outstanding_gives_everything_back);
    RUN_BOTH(journal_and_table_restore_the_same_node);
    RUN_BOTH(restored_entries_are_copied_and_applied_again_from_the_first);
    RUN_BOTH(large_log_is_restored_in_one_write_and_in_many);
    RUN_BOTH(whole_hard_state_is_kept);
    RUN_BOTH(restart_writes_nothing_that_is_stored_already);
    RUN_BOTH(founding_record_reaches_storage_once_with_the_first_write);
    RUN_BOTH(writes_that_contradict_what_was_restored_are_corrupt);
    RUN_BOTH(hard_states_that_go_back_are_corrupt);
    RUN_BOTH(node_that_was_not_restored_whole_does_not_start);
    RUN_BOTH(log_newer_than_its_hard_state_is_corrupt);
    RUN_BOTH(founding_records_that_are_damaged_or_come_twice_are_corrupt);
    RUN_BOTH(restoring_is_refused_when_it_is_too_late);
    RUN_BOTH(restoring_without_memory_fails_and_gives_everything_back);
    RUN_BOTH(log_that_exceeds_its_bound_is_not_restored);
    RUN_BOTH(random_lives_over_slow_disks_keep_every_promise);
    return check_done();
}
