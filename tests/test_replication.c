/*
 * How the log reaches everybody (rules R24 to R33): what a follower accepts, certifies,
 * acknowledges and commits; what a leader believes of its peers; what may be committed by counting.
 * Single rules are shown on one node whose peers the test plays (lone.h), courses of events on
 * whole groups (cluster.h).
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

/* The same server leading the next term; in Raft its no-op is entry count + 1 (R17). */
static void leader(lone *l, const raft_term *terms, size_t count, raft_term term)
{
    lone_follower(l, terms, count, term);
    CHECK(lone_lead(l));
    lone_settle(l);
}

/* The durable log has exactly these of 2's terms. */
static void check_log(const lone *l, const raft_term *terms, size_t count)
{
    lone_log log = lone_durable(l);
    int same = log.last == count;
    for (size_t i = 0; same && i < count; i++) {
        same = log.at[i + 1].term == two(terms[i]);
    }
    lone_log_free(&log);
    CHECK(same);
}

/* The only append reply since the last clearing: index, refused, hint. */
static void check_reply(const lone *l, raft_id to, int refused, raft_index index)
{
    CHECK_EQ(lone_count(l, RAFT_MESSAGE_APPEND_REPLY, 0), 1);
    const raft_message *reply = lone_find(l, RAFT_MESSAGE_APPEND_REPLY, to, 0);
    CHECK(reply != NULL);
    CHECK_EQ(reply->refused != 0, refused);
    CHECK_EQ(reply->index, index);
}

/* ---- A follower accepts --------------------------------------------------------------------- */

static void matching_append_is_stored_and_acknowledged(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1), 2, 1);
    CHECK_EQ(lone_append(&l, 2, two(1), 2, two(1), two(1), 3, 0), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 2, 0, 5);
    check_log(&l, TERMS(1, 1, 1, 1, 1), 5);
    CHECK_EQ(lone_status(&l).leader, 2);
    CHECK_STR(lone_close(&l), "sound");
}

static void reply_echoes_the_round_of_the_append(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1), 2, 1);
    raft_message m = lone_message(RAFT_MESSAGE_APPEND, 2, two(1));
    m.index = 2;
    m.index_term = two(1);
    m.round = 77;
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 2, 0, 2);
    CHECK_EQ(lone_find(&l, RAFT_MESSAGE_APPEND_REPLY, 2, 0)->round, 77);
    CHECK_STR(lone_close(&l), "sound");
}

static void append_leaving_a_gap_is_refused_and_changes_nothing(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 2), 3, 2);
    CHECK_EQ(lone_append(&l, 2, two(2), 7, two(2), two(2), 2, 7), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 2, 1, 3);
    const raft_message *reply = lone_find(&l, RAFT_MESSAGE_APPEND_REPLY, 2, 0);
    CHECK_EQ(reply->index_term, two(2));
    CHECK_EQ(reply->refused_index, 7);
    check_log(&l, TERMS(1, 1, 2), 3);
    CHECK_EQ(l.write_count, 1);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_STR(lone_close(&l), "sound");
}

/*
 * R38: what is committed is in every leader's log, so it is acknowledged beside a refusal, and nothing
 * above it: a new leader, to which nothing was acknowledged yet, may be waiting for no more than that.
 */
static void refusal_comes_with_an_acknowledgement_of_what_is_committed(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 1, 1, 1), 5, 1);
    CHECK_EQ(lone_append(&l, 2, 1, 5, 1, 1, 0, 3), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 3);
    lone_clear(&l);
    CHECK_EQ(lone_append(&l, 3, 2, 9, 2, 2, 1, 0), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND_REPLY, 3), 2);
    const raft_message *reply = lone_find(&l, RAFT_MESSAGE_APPEND_REPLY, 3, 0);
    CHECK(!reply->refused);
    CHECK_EQ(reply->index, 3);
    reply = lone_find(&l, RAFT_MESSAGE_APPEND_REPLY, 3, 1);
    CHECK(reply->refused);
    CHECK_EQ(reply->index, 5);
    CHECK_EQ(reply->refused_index, 9);
    CHECK_STR(lone_close(&l), "sound");
}

/* A refusal is contact all the same: who is being repaired must not campaign. */
static void refused_append_resets_the_election_timer(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 2), 3, 2);
    for (int i = 0; i < 20; i++) {
        lone_wait(&l, 900);
        CHECK_EQ(lone_append(&l, 2, two(2), 7, two(2), two(2), 2, 7), RAFT_OK);
        lone_poll(&l);
    }
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PRE_VOTE, 0), 0);
    CHECK_EQ(lone_status(&l).role, RAFT_ROLE_FOLLOWER);
    CHECK_STR(lone_close(&l), "sound");
}

/* R30, the follower's side: the largest (i, t) with i <= min(prev, last) and t <= prev's term. */
static void hint_skips_every_entry_that_cannot_be_the_leaders(void)
{
    static const raft_term own[] = {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3};
    for (raft_index prev = 1; prev <= 14; prev++) {
        for (raft_term prev_term = 1; prev_term <= 6; prev_term++) {
            if (prev <= 11 && own[prev - 1] == prev_term) {
                continue;
            }
            lone l;
            lone_follower(&l, own, 11, 6);
            raft_index hint = prev < 11 ? prev : 11;
            while (hint > 0 && own[hint - 1] > prev_term) {
                hint--;
            }
            CHECK_EQ(lone_append(&l, 2, two(6), prev, two(prev_term), two(6), 1, 0), RAFT_OK);
            lone_poll(&l);
            check_reply(&l, 2, 1, hint);
            const raft_message *reply = lone_find(&l, RAFT_MESSAGE_APPEND_REPLY, 2, 0);
            CHECK_EQ(reply->index_term, hint ? two(own[hint - 1]) : 0);
            CHECK_EQ(reply->refused_index, prev);
            CHECK_STR(lone_close(&l), "sound");
        }
    }
}

/* R7: only from the first entry that differs is anything removed. */
static void only_the_differing_tail_is_replaced(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 2, 2, 2), 5, 3);
    CHECK_EQ(lone_append(&l, 2, two(3), 1, two(1), two(1), 1, 0), RAFT_OK); /* 2 repeats */
    CHECK_EQ(lone_append(&l, 2, two(3), 2, two(1), two(2), 2, 0), RAFT_OK); /* 3 and 4 repeat */
    lone_poll(&l);
    check_log(&l, TERMS(1, 1, 2, 2, 2), 5);
    CHECK_EQ(lone_append(&l, 2, two(3), 4, two(2), two(3), 2, 0), RAFT_OK);
    lone_poll(&l);
    check_log(&l, TERMS(1, 1, 2, 2, 3, 3), 6);
    CHECK_EQ(l.writes[l.write_count - 1].write.truncate_from, 5);
    CHECK_EQ(lone_newest(&l, RAFT_MESSAGE_APPEND_REPLY, 2)->index, 6);
    CHECK_STR(lone_close(&l), "sound");
}

/* Catalogue 29: an old, short append that comes late takes nothing away. */
static void late_short_append_removes_nothing(void)
{
    lone l;
    lone_follower(&l, TERMS(1), 1, 2);
    CHECK_EQ(lone_append(&l, 2, two(2), 1, two(1), two(2), 6, 0), RAFT_OK);
    lone_poll(&l);
    lone_clear(&l);
    for (raft_index prev = 1; prev <= 7; prev++) {
        for (size_t count = 0; count + prev <= 7; count++) {
            raft_term prev_term = two(prev == 1 ? 1 : 2);
            CHECK_EQ(lone_append(&l, 2, two(2), prev, prev_term, two(2), count, 0), RAFT_OK);
            lone_poll(&l);
        }
    }
    check_log(&l, TERMS(1, 2, 2, 2, 2, 2, 2), 7);
    CHECK_EQ(l.write_count, 2); /* the seed and the six entries */
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND_REPLY, 2), l.sent_count);
    CHECK_STR(lone_close(&l), "sound");
}

/* R24: what repeats at or below the commit index is skipped, the rest is taken. */
static void repeats_below_the_commit_index_are_skipped(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 1, 1, 1), 5, 1);
    CHECK_EQ(lone_append(&l, 2, two(1), 5, two(1), two(1), 0, 5), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 5);
    lone_clear(&l);
    CHECK_EQ(lone_append(&l, 2, two(1), 2, two(1), two(1), 5, 5), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 2, 0, 7);
    check_log(&l, TERMS(1, 1, 1, 1, 1, 1, 1), 7);
    CHECK_EQ(l.writes[l.write_count - 1].write.truncate_from, 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* R24, last clause: a new leader that begins far below is told the commit index. */
static void append_wholly_below_the_commit_index_is_answered_with_it(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 1, 1, 1), 5, 1);
    CHECK_EQ(lone_append(&l, 2, two(1), 5, two(1), two(1), 0, 5), RAFT_OK);
    lone_poll(&l);
    lone_clear(&l);
    CHECK_EQ(lone_append(&l, 3, three(2), 1, two(1), two(1), 2, 0), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 3, 0, 5);
    CHECK_EQ(lone_status(&l).commit_index, 5);
    check_log(&l, TERMS(1, 1, 1, 1, 1), 5);
    CHECK_STR(lone_close(&l), "sound");
}

static void acknowledgement_of_a_repeat_is_given_again(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1), 2, 1);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(lone_append(&l, 2, two(1), 2, two(1), two(1), 3, 0), RAFT_OK);
        lone_poll(&l);
        check_reply(&l, 2, 0, 5);
        lone_clear(&l);
    }
    CHECK_EQ(l.write_count, 2);
    CHECK_STR(lone_close(&l), "sound");
}

/* R21: the only way in which a deposed leader learns that it is one. */
static void append_of_an_older_term_is_answered_with_ours(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1), 2, 7);
    CHECK_EQ(lone_append(&l, 3, three(6), 1, two(1), three(6), 2, 2), RAFT_OK);
    lone_poll(&l);
    check_log(&l, TERMS(1, 1), 2);
    CHECK_EQ(l.sent_count, 1);
    CHECK_EQ(l.sent[0].message.term, two(7));
    CHECK_EQ(l.sent[0].message.to, 3);
    CHECK_EQ(lone_status(&l).leader, 0);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_STR(lone_close(&l), "sound");
}

static void higher_term_append_is_followed_and_written_in_one_batch(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1), 2, 1);
    CHECK_EQ(lone_append(&l, 3, three(9), 2, two(1), three(9), 2, 0), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).term, three(9));
    CHECK_EQ(l.write_count, 2);
    CHECK(l.writes[1].write.has_state);
    CHECK_EQ(l.writes[1].write.state.term, three(9));
    CHECK_EQ(l.writes[1].write.state.vote, 0);
    check_reply(&l, 3, 0, 4);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- What a follower may commit ------------------------------------------------------------- */

/* R26, the very example: stale 4..8 behind an accepted empty append at 3. */
static void heartbeat_commits_only_what_this_term_has_certified(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 1, 2, 2, 2, 2, 2), 8, 2);
    CHECK_EQ(lone_append(&l, 2, two(5), 3, two(1), two(5), 0, 0), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 2, 0, 3);
    CHECK_EQ(lone_heartbeat(&l, 2, two(5), 6, 1), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 3);
    CHECK_EQ(l.applied_last, 3);
    check_log(&l, TERMS(1, 1, 1, 2, 2, 2, 2, 2), 8);
    CHECK_EQ(lone_append(&l, 2, two(5), 3, two(1), two(5), 3, 6), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 6);
    check_log(&l, TERMS(1, 1, 1, 5, 5, 5), 6);
    CHECK_STR(lone_close(&l), "sound");
}

/* The message proves 6, the leader has committed 8, our 7 and 8 are not his. */
static void commit_stops_at_what_the_message_proves(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 1, 1, 2, 2, 2, 2), 8, 4);
    CHECK_EQ(lone_append(&l, 2, two(4), 4, two(1), two(2), 2, 8), RAFT_OK); /* 5 and 6 repeat */
    lone_poll(&l);
    check_reply(&l, 2, 0, 6);
    CHECK_EQ(lone_status(&l).commit_index, 6);
    CHECK_EQ(l.applied_last, 6);
    CHECK_STR(lone_close(&l), "sound");
}

static void raw_commit_index_moves_nobody_who_accepted_nothing(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 2, 2), 4, 2);
    CHECK_EQ(lone_heartbeat(&l, 2, two(3), 4, 1), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_EQ(lone_append(&l, 2, two(3), 9, two(3), two(3), 1, 4),
             RAFT_OK); /* refused: proves nothing */
    CHECK_EQ(lone_heartbeat(&l, 2, two(3), 4, 2), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_EQ(l.applied_last, 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* R25: certified is 0 after any term change; what an earlier leader proved is proof no more. */
static void certificate_ends_with_the_term(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1), 2, 1);
    CHECK_EQ(lone_append(&l, 3, three(2), 2, two(1), three(2), 4, 2), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 2);
    CHECK_EQ(lone_heartbeat(&l, 2, two(3), 6, 1), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 2);
    CHECK_EQ(lone_append(&l, 2, two(3), 2, two(1), two(3), 2, 3), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 3);
    check_log(&l, TERMS(1, 1, 3, 3), 4);
    CHECK_STR(lone_close(&l), "sound");
}

static void certificate_ends_with_a_restart(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1), 2, 2);
    CHECK_EQ(lone_append(&l, 2, two(2), 2, two(1), two(2), 4, 0), RAFT_OK);
    lone_poll(&l);
    lone_crash(&l);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(lone_heartbeat(&l, 2, two(2), 6, 1), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_EQ(lone_append(&l, 2, two(2), 6, two(2), two(2), 0, 6), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 6);
    CHECK_STR(lone_close(&l), "sound");
}

/* Who cannot follow the commit index says so: in an idle group no append would ever certify it. */
static void heartbeat_beyond_the_certificate_is_answered_with_doubt(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1), 2, 1);
    CHECK_EQ(lone_heartbeat(&l, 2, two(1), 2, 5), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.sent_count, 1);
    CHECK_EQ(l.sent[0].message.kind, RAFT_MESSAGE_HEARTBEAT_REPLY);
    CHECK(l.sent[0].message.refused);
    CHECK_EQ(lone_append(&l, 2, two(1), 2, two(1), two(1), 0, 2), RAFT_OK);
    lone_poll(&l);
    lone_clear(&l);
    CHECK_EQ(lone_heartbeat(&l, 2, two(1), 2, 6), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.sent_count, 1);
    CHECK(!l.sent[0].message.refused);
    CHECK_EQ(l.sent[0].message.round, 6);
    CHECK_STR(lone_close(&l), "sound");
}

static void doubting_peer_is_sent_one_empty_append(void)
{
    lone l;
    leader(&l, TERMS(1), 1, 1);
    lone_serve(&l, 0xe);
    lone_wait(&l, 100);
    raft_message m = lone_message(RAFT_MESSAGE_HEARTBEAT_REPLY, 2, lone_status(&l).term);
    m.round = lone_newest(&l, RAFT_MESSAGE_HEARTBEAT, 2)->round;
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_clear(&l);
    lone_poll(&l);
    CHECK_EQ(l.sent_count, 0); /* content peers are left alone */
    m.refused = 1;
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.sent_count, 1);
    CHECK_EQ(l.sent[0].message.kind, RAFT_MESSAGE_APPEND);
    CHECK_EQ(l.sent[0].message.range_count, 0);
    CHECK_EQ(l.sent[0].message.index, lone_status(&l).last_index);
    CHECK_STR(lone_close(&l), "sound");
}

static void commit_index_never_falls(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 1, 1), 4, 1);
    CHECK_EQ(lone_append(&l, 2, two(1), 4, two(1), two(1), 0, 4), RAFT_OK);
    lone_poll(&l);
    for (raft_index commit = 0; commit < 4; commit++) {
        CHECK_EQ(lone_heartbeat(&l, 2, two(1), commit, 1 + commit), RAFT_OK);
        CHECK_EQ(lone_append(&l, 2, two(1), 2, two(1), two(1), 1, commit), RAFT_OK);
        lone_poll(&l);
        CHECK_EQ(lone_status(&l).commit_index, 4);
    }
    CHECK_STR(lone_close(&l), "sound");
}

/* R25: the follower's own last index is never acknowledged for its own sake. */
static void stale_tail_is_not_acknowledged(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 1, 2, 2, 2), 6, 3);
    for (raft_index prev = 1; prev <= 3; prev++) {
        lone_clear(&l);
        CHECK_EQ(lone_append(&l, 3, three(3), prev, two(1), three(3), 0, 0), RAFT_OK);
        lone_poll(&l);
        check_reply(&l, 3, 0, prev);
    }
    CHECK_STR(lone_close(&l), "sound");
}

static void reordered_appends_are_taken_when_the_gap_is_closed(void)
{
    lone l;
    lone_follower(&l, TERMS(1), 1, 1);
    CHECK_EQ(lone_append(&l, 2, two(1), 3, two(1), two(1), 2, 5), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 2, 1, 1);
    lone_clear(&l);
    CHECK_EQ(lone_append(&l, 2, two(1), 1, two(1), two(1), 2, 5), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 2, 0, 3);
    CHECK_EQ(lone_status(&l).commit_index, 3);
    lone_clear(&l);
    CHECK_EQ(lone_append(&l, 2, two(1), 3, two(1), two(1), 2, 5), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 2, 0, 5);
    CHECK_EQ(lone_status(&l).commit_index, 5);
    CHECK_STR(lone_close(&l), "sound");
}

static void many_appends_between_polls_share_one_write_and_one_reply(void)
{
    lone l;
    lone_follower(&l, TERMS(1), 1, 1);
    for (raft_index prev = 1; prev < 30; prev++) {
        CHECK_EQ(lone_append(&l, 2, two(1), prev, two(1), two(1), 1, prev), RAFT_OK);
    }
    size_t writes = l.write_count;
    lone_poll(&l);
    CHECK_EQ(l.write_count, writes + 1);
    check_reply(&l, 2, 0, 30);
    CHECK_EQ(l.sent_count, 1);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- What is refused whole (R32) ------------------------------------------------------------ */

/* Refused: the code, the counter, and nothing else. */
static void check_refused(lone *l, const raft_message *m)
{
    uint64_t refused = lone_status(l).counters.messages_refused;
    raft_index last = lone_status(l).last_index;
    CHECK_EQ(lone_receive(l, m), RAFT_EMALFORMED);
    CHECK_EQ(lone_status(l).counters.messages_refused, refused + 1);
    CHECK_EQ(lone_status(l).last_index, last);
    CHECK_EQ(lone_status(l).leader, 0);
    lone_poll(l);
    CHECK_EQ(l->sent_count, 0);
    CHECK_EQ(l->write_count, 1);
}

static void invalid_batches_are_refused_whole(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 3), 3, 5);
    lone_batch b = lone_batch_make(two(4), 4, 4);
    lone_batch rest = lone_batch_make(two(4), 8, 2);
    raft_message good = lone_message(RAFT_MESSAGE_APPEND, 2, two(5));
    good.index = 3;
    good.index_term = two(3);
    good.ranges[0] = lone_batch_range(&b);
    good.ranges[1] = lone_batch_range(&rest);
    good.range_count = 2;

    raft_message m = good;
    m.ranges[0].first = 5; /* a gap behind prev */
    check_refused(&l, &m);
    m = good;
    m.ranges[0].first = 3; /* over prev */
    check_refused(&l, &m);
    m = good;
    m.ranges[1].first = 9; /* a gap between the ranges */
    check_refused(&l, &m);
    m = good;
    m.ranges[0].term = m.ranges[1].term = two(2); /* falls below prev's */
    check_refused(&l, &m);
    m = good;
    m.ranges[1].term = two(3); /* falls within */
    check_refused(&l, &m);
    m = good;
    m.ranges[0].term = m.ranges[1].term = two(6); /* above the sender's */
    check_refused(&l, &m);
    m = good;
    m.ranges[0].term = m.ranges[1].term = 0;
    check_refused(&l, &m);
    m = good;
    m.ranges[0].count = 5; /* more than the bytes hold */
    check_refused(&l, &m);
    m = good;
    m.ranges[0].count = 3; /* fewer */
    check_refused(&l, &m);
    m = good;
    m.ranges[0].count = 0;
    check_refused(&l, &m);
    m = good;
    m.ranges[1].size -= 8;
    check_refused(&l, &m);
    m = good;
    m.ranges[1].data = NULL;
    check_refused(&l, &m);
    m = good;
    m.range_count = 3; /* the third says nothing */
    check_refused(&l, &m);
    m = good;
    m.range_count = RAFT_RANGES_MAX + 1;
    check_refused(&l, &m);
    m = good;
    m.index_term = two(6); /* prev newer than the sender's term */
    check_refused(&l, &m);
    m = good;
    m.commit = (uint64_t)1 << 63;
    check_refused(&l, &m);
    m = good;
    m.term = (uint64_t)1 << 63; /* R64: never adopted */
    check_refused(&l, &m);
    CHECK_EQ(lone_status(&l).term, two(5));

    CHECK_EQ(lone_receive(&l, &good), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 2, 0, 9);
    check_log(&l, TERMS(1, 1, 3, 4, 4, 4, 4, 4, 4), 9);
    free(b.data);
    free(rest.data);
    CHECK_STR(lone_close(&l), "sound");
}

/* What is committed cannot be contradicted by a correct leader: nothing of it is removed (I14). */
static void append_that_contradicts_what_is_committed_is_refused(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 2, 2, 2), 5, 2);
    CHECK_EQ(lone_append(&l, 2, two(2), 5, two(2), two(2), 0, 4), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 4);
    uint64_t refused = lone_status(&l).counters.messages_refused;
    CHECK_EQ(lone_append(&l, 2, two(2), 1, two(1), two(1), 2, 4),
             RAFT_EMALFORMED); /* 3 is of term 2 */
    CHECK_EQ(lone_append(&l, 3, three(3), 2, two(1), three(3), 4, 4), RAFT_EMALFORMED);
    CHECK_EQ(lone_status(&l).counters.messages_refused, refused + 2);
    lone_settle(&l);
    check_log(&l, TERMS(1, 1, 2, 2, 2), 5);
    CHECK_EQ(lone_status(&l).commit_index, 4);
    CHECK_STR(lone_close(&l), "sound");
}

/* What the term's leader has certified he does not take back either, committed or not. */
static void append_that_contradicts_its_own_terms_certificate_is_refused(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1), 2, 2);
    CHECK_EQ(lone_append(&l, 2, two(5), 2, two(1), two(5), 4, 0), RAFT_OK);
    CHECK_EQ(lone_append(&l, 2, two(5), 2, two(1), two(4), 1, 0), RAFT_EMALFORMED);
    CHECK_EQ(lone_append(&l, 2, two(5), 4, two(4), two(5), 1, 0), RAFT_EMALFORMED);
    lone_settle(&l);
    check_log(&l, TERMS(1, 1, 5, 5, 5, 5), 6);
    /* The next term's leader may, whoever it is. */
    CHECK_EQ(lone_append(&l, 3, three(6), 2, two(1), three(6), 1, 0), RAFT_OK);
    lone_settle(&l);
    CHECK_EQ(lone_status(&l).last_index, 3);
    CHECK_EQ(lone_append(&l, 2, two(7), 2, two(1), two(7), 2, 0), RAFT_OK);
    lone_settle(&l);
    check_log(&l, TERMS(1, 1, 7, 7), 4);
    CHECK_STR(lone_close(&l), "sound");
}

/* Within what is committed a message may end anywhere. */
static void repeats_may_end_where_a_term_ends(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 2, 2, 3), 5, 3);
    CHECK_EQ(lone_append(&l, 2, two(3), 5, two(3), two(3), 0, 5), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_append(&l, 2, two(3), 0, 0, two(1), 2, 5), RAFT_OK);
    CHECK_EQ(lone_append(&l, 2, two(3), 1, two(1), two(1), 1, 5), RAFT_OK);
    CHECK_EQ(lone_append(&l, 2, two(3), 2, two(1), two(2), 2, 5), RAFT_OK);
    CHECK_EQ(lone_append(&l, 2, two(3), 4, two(2), two(3), 1, 5), RAFT_OK);
    CHECK_EQ(lone_status(&l).counters.messages_refused, 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* The same by prev alone: a wrong term below the commit index must not let falling terms in. */
static void prev_that_contradicts_what_is_committed_is_refused(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 3, 3), 4, 3);
    CHECK_EQ(lone_append(&l, 2, two(3), 4, two(3), two(3), 0, 4), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_append(&l, 3, three(9), 4, two(1), two(2), 2, 0), RAFT_EMALFORMED);
    CHECK_EQ(lone_append(&l, 3, three(9), 4, two(2), two(2), 0, 0), RAFT_EMALFORMED);
    lone_settle(&l);
    check_log(&l, TERMS(1, 1, 3, 3), 4);
    CHECK_STR(lone_close(&l), "sound");
}

static void second_leader_of_one_term_is_refused(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1), 2, 1);
    CHECK_EQ(lone_append(&l, 2, two(1), 2, two(1), two(1), 1, 0), RAFT_OK);
    CHECK_EQ(lone_append(&l, 3, two(1), 2, two(1), two(1), 1, 0), RAFT_EMALFORMED);
    CHECK_EQ(lone_heartbeat(&l, 3, two(1), 2, 1), RAFT_EMALFORMED);
    CHECK_EQ(lone_status(&l).leader, 2);
    CHECK_STR(lone_close(&l), "sound");
}

/* Anybody may win a term of Raft; in Multi-Paxos it is its owner's from the beginning (P1, I5). */
static void leader_of_a_term_is_who_may_own_it(void)
{
    for (int by_append = 0; by_append <= 1; by_append++) {
        lone l;
        lone_follower(&l, TERMS(1, 1), 2, 1);
        int code = by_append ? lone_append(&l, 3, two(5), 2, two(1), two(5), 1, 0)
                             : lone_heartbeat(&l, 3, two(5), 0, 1);
        CHECK_EQ(code, lone_in_multipaxos() ? RAFT_EMALFORMED : RAFT_OK);
        CHECK_EQ(lone_status(&l).leader, lone_in_multipaxos() ? 0 : 3);
        CHECK_EQ(lone_status(&l).last_index, by_append && !lone_in_multipaxos() ? 3 : 2);
        code = by_append ? lone_append(&l, 2, two(5), 2, two(1), two(5), 2, 0)
                         : lone_heartbeat(&l, 2, two(5), 0, 2);
        CHECK_EQ(code, lone_in_multipaxos() ? RAFT_OK : RAFT_EMALFORMED);
        CHECK_EQ(lone_status(&l).leader, lone_in_multipaxos() ? 2 : 3);
        lone_settle(&l);
        CHECK_STR(lone_close(&l), "sound");
    }
}

static void leader_refuses_an_append_of_its_own_term(void)
{
    lone l;
    leader(&l, TERMS(1, 1), 2, 1);
    raft_term term = lone_status(&l).term;
    raft_index last = 2 + lone_noops();
    CHECK_EQ(lone_append(&l, 2, term, last, term, term, 1, last), RAFT_EMALFORMED);
    CHECK_EQ(lone_heartbeat(&l, 2, term, last, 1), RAFT_EMALFORMED);
    CHECK_EQ(lone_status(&l).role, RAFT_ROLE_LEADER);
    CHECK_EQ(lone_status(&l).last_index, last);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- A leader and its peers ----------------------------------------------------------------- */

static void first_append_probes_at_the_end_of_the_log(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 2), 3, 4);
    CHECK(lone_lead(&l));
    lone_poll(&l);
    for (raft_id peer = 2; peer <= 3; peer++) {
        CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, peer), 1);
        const raft_message *m = lone_find(&l, RAFT_MESSAGE_APPEND, peer, 0);
        CHECK_EQ(m->index, 3);
        CHECK_EQ(m->index_term, two(2));
        CHECK_EQ(lone_last(m), 3 + lone_noops());
        CHECK_EQ(lone_peer(&l, peer).state, RAFT_PEER_PROBE);
    }
    CHECK_STR(lone_close(&l), "sound");
}

static void one_remote_acknowledgement_of_three_commits(void)
{
    lone l;
    leader(&l, TERMS(1), 1, 1);
    raft_index index = lone_propose(&l);
    CHECK_EQ(index, 2 + lone_noops());
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_EQ(lone_ack(&l, 2, index), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, index);
    CHECK_EQ(l.applied_last, index);
    CHECK_EQ(l.applied[2].kind, lone_noops() ? RAFT_ENTRY_NOOP : RAFT_ENTRY_DATA);
    CHECK_STR(lone_close(&l), "sound");
}

/* R27, figure 8: however many hold an entry of an older term, counting does not commit it. */
static void entries_of_older_terms_are_not_committed_by_counting(void)
{
    lone l;
    leader(&l, TERMS(1, 2, 2), 3, 3);
    CHECK_EQ(lone_ack(&l, 2, 3), RAFT_OK);
    CHECK_EQ(lone_ack(&l, 3, 3), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_peer(&l, 2).match, 3);
    CHECK_EQ(lone_peer(&l, 3).match, 3);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_EQ(lone_ack(&l, 2, 4), RAFT_OK); /* the no-op */
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 4);
    CHECK_EQ(l.applied_last, 4);
    CHECK_STR(lone_close(&l), "sound");
}

/* R5: the leader's own disk counts like any other, when it is done and not before. */
static void own_match_moves_only_when_the_write_completes(void)
{
    lone l;
    leader(&l, TERMS(1), 1, 1);
    lone_serve(&l, 0xe);
    l.persist_result = RAFT_PENDING;
    raft_index index = lone_propose(&l);
    lone_poll(&l);
    CHECK_EQ(lone_outstanding(&l), 1);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1); /* in the same poll as the write */
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 3), 1);
    CHECK_EQ(lone_ack(&l, 2, index), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, index - 1);
    lone_complete(&l, 1);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, index);
    CHECK_STR(lone_close(&l), "sound");
}

static void quorum_of_followers_commits_ahead_of_the_leaders_disk(void)
{
    lone l;
    leader(&l, TERMS(1), 1, 1);
    lone_serve(&l, 0xe);
    l.persist_result = RAFT_PENDING;
    raft_index index = lone_propose(&l);
    lone_poll(&l);
    CHECK_EQ(lone_ack(&l, 2, index), RAFT_OK);
    CHECK_EQ(lone_ack(&l, 3, index), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, index);
    CHECK_EQ(lone_status(&l).durable_index, index - 1);
    CHECK_EQ(l.applied_last, index - 1); /* nothing is applied past the own durable point */
    lone_complete(&l, 1);
    lone_poll(&l);
    CHECK_EQ(l.applied_last, index);
    CHECK_STR(lone_close(&l), "sound");
}

static void volatile_state_machine_applies_ahead_of_the_own_disk(void)
{
    lone l;
    lone_init(&l);
    l.options.apply_ahead = 1;
    lone_boot(&l);
    CHECK(lone_lead(&l));
    lone_serve(&l, 0xe);
    l.persist_result = RAFT_PENDING;
    raft_index index = lone_propose(&l);
    lone_poll(&l);
    CHECK_EQ(lone_ack(&l, 2, index), RAFT_OK);
    CHECK_EQ(lone_ack(&l, 3, index), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(l.applied_last, index);
    CHECK_EQ(lone_status(&l).durable_index, index - 1);
    CHECK_STR(lone_close(&l), "sound");
}

/* R28, R29: late answers of every kind prove life and change nothing. */
static void stale_answers_move_nothing(void)
{
    lone l;
    leader(&l, TERMS(1, 1, 1), 3, 1);
    for (int i = 0; i < 6; i++) {
        lone_propose(&l);
    }
    lone_serve(&l, 0xe);
    raft_index last = 9 + lone_noops();
    raft_peer_status before = lone_peer(&l, 2);
    CHECK_EQ(before.match, last);
    CHECK_EQ(before.state, RAFT_PEER_REPLICATE);
    for (raft_index late = 0; late <= last; late++) {
        CHECK_EQ(lone_ack(&l, 2, late), RAFT_OK);
        CHECK_EQ(lone_refuse(&l, 2, late, late ? late - 1 : 0, late > 1 ? two(1) : 0), RAFT_OK);
        raft_peer_status after = lone_peer(&l, 2);
        CHECK_EQ(after.match, last);
        CHECK_EQ(after.next, last + 1);
        CHECK_EQ(after.state, RAFT_PEER_REPLICATE);
    }
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 0);
    CHECK_STR(lone_close(&l), "sound");
}

static void refusal_of_another_probe_is_stale(void)
{
    lone l;
    leader(&l, TERMS(1, 1, 1, 1, 1), 5, 1);
    CHECK_EQ(lone_peer(&l, 2).next, 6);
    for (raft_index refused = 0; refused <= 6; refused++) {
        if (refused != 5) {
            CHECK_EQ(lone_refuse(&l, 2, refused, 0, 0), RAFT_OK);
            CHECK_EQ(lone_peer(&l, 2).next, 6);
        }
    }
    CHECK_EQ(lone_refuse(&l, 2, 5, 2, two(1)), RAFT_OK);
    CHECK_EQ(lone_peer(&l, 2).next, 3);
    CHECK_EQ(lone_peer(&l, 2).match, 0); /* a hint is no acknowledgement */
    CHECK_STR(lone_close(&l), "sound");
}

/* R28: a hint that agrees with the whole log still counts for nothing. */
/* R28: what an earlier leadership knew of a peer is forgotten; its log may have been cut since. */
static void progress_begins_anew_with_each_leadership(void)
{
    lone l;
    leader(&l, TERMS(1, 1), 2, 1);
    lone_serve(&l, 0xe);
    raft_index last = 2 + lone_noops();
    CHECK_EQ(lone_peer(&l, 2).match, last);
    CHECK_EQ(lone_peer(&l, 3).match, last);
    raft_term term = lone_status(&l).term;
    CHECK_EQ(lone_heartbeat(&l, 2, lone_next_term(2, term), last, 1), RAFT_OK);
    lone_wait(&l, 5000);
    CHECK_EQ(lone_peer(&l, 2).match, 0);
    CHECK(lone_lead(&l));
    lone_settle(&l);
    for (raft_id id = 2; id <= 3; id++) {
        CHECK_EQ(lone_peer(&l, id).match, 0);
        CHECK_EQ(lone_peer(&l, id).next, last + 1);
        CHECK_EQ(lone_peer(&l, id).state, RAFT_PEER_PROBE);
        CHECK_EQ(lone_peer(&l, id).inflight_messages, 0);
    }
    raft_index fresh = lone_propose(&l);
    CHECK_EQ(fresh, last + lone_noops() + 1);
    lone_settle(&l);
    CHECK_EQ(lone_ack(&l, 2, last), RAFT_OK); /* of the earlier one: proves nothing new */
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, last);
    CHECK_EQ(lone_ack(&l, 2, fresh), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, fresh);
    CHECK_STR(lone_close(&l), "sound");
}

static void hint_never_raises_match_or_commits(void)
{
    lone l;
    leader(&l, TERMS(1, 1, 1), 3, 1);
    raft_term term = lone_status(&l).term;
    CHECK_EQ(lone_refuse(&l, 2, 3, 4, term), RAFT_OK);
    CHECK_EQ(lone_refuse(&l, 3, 3, 4, term), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_peer(&l, 2).match, 0);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* R30, the leader's side: its largest index <= the hint's whose term is <= the hint's. */
static void leader_jumps_over_terms_that_the_follower_never_had(void)
{
    static const raft_term own[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
    for (raft_index hint = 0; hint <= 12; hint++) {
        for (raft_term hint_term = hint ? 1 : 0; hint_term <= (hint ? 7u : 0u); hint_term++) {
            lone l;
            leader(&l, own, 10, 7);
            raft_index expected = hint < 9 ? hint : 9; /* below the probe that failed, at 10 */
            while (expected > 0 && own[expected - 1] > hint_term) {
                expected--;
            }
            lone_clear(&l);
            CHECK_EQ(lone_refuse(&l, 2, 10, hint, two(hint_term)), RAFT_OK);
            lone_poll(&l);
            CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1);
            const raft_message *m = lone_find(&l, RAFT_MESSAGE_APPEND, 2, 0);
            CHECK_EQ(m->index, expected);
            CHECK_EQ(m->index_term, expected ? two(own[expected - 1]) : 0);
            CHECK_STR(lone_close(&l), "sound");
        }
    }
}

static void acknowledgement_beyond_the_log_is_refused(void)
{
    lone l;
    leader(&l, TERMS(1, 1), 2, 1);
    CHECK_EQ(lone_ack(&l, 2, 4), RAFT_EMALFORMED);
    CHECK_EQ(lone_ack(&l, 2, ((uint64_t)1 << 63) - 2), RAFT_EMALFORMED);
    CHECK_EQ(lone_ack(&l, 2, UINT64_MAX), RAFT_EMALFORMED);
    CHECK_EQ(lone_peer(&l, 2).match, 0);
    CHECK_EQ(lone_status(&l).counters.messages_refused, 3);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_STR(lone_close(&l), "sound");
}

static void replies_of_other_terms_are_dropped(void)
{
    lone l;
    leader(&l, TERMS(1, 1), 2, 3);
    raft_message m = lone_message(RAFT_MESSAGE_APPEND_REPLY, 2, two(3));
    m.index = 3;
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    CHECK_EQ(lone_peer(&l, 2).match, 0);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* R47: who is not of the group counts for nothing, whatever he claims to hold. */
static void acknowledgements_of_strangers_count_for_nothing(void)
{
    lone l;
    leader(&l, TERMS(1, 1), 2, 3);
    for (raft_id stranger = 4; stranger < 9; stranger++) {
        lone_ack(&l, stranger, 3);
    }
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_STR(lone_close(&l), "sound");
}

static void higher_term_reply_ends_leadership_and_its_proposals_are_answered(void)
{
    lone l;
    leader(&l, TERMS(1, 1), 2, 3);
    raft_index index = lone_propose(&l);
    raft_term term = lone_status(&l).term;
    CHECK_EQ(raft_read(l.node, 5), RAFT_OK);
    lone_poll(&l);
    raft_term next = lone_next_term(2, term);
    raft_message m = lone_message(RAFT_MESSAGE_HEARTBEAT_REPLY, 2, next);
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).role, RAFT_ROLE_FOLLOWER);
    CHECK_EQ(lone_status(&l).term, next);
    int read_failed = 0;
    for (size_t i = 0; i < l.event_count; i++) {
        read_failed |= l.events[i].kind == RAFT_EVENT_READ && l.events[i].status == RAFT_ENOLEADER;
    }
    CHECK(read_failed);
    lone_clear(&l);
    CHECK_EQ(lone_append(&l, 2, next, 2, two(1), next, 3, 5), RAFT_OK);
    lone_poll(&l);
    size_t dropped = 0;
    for (size_t i = 0; i < l.event_count; i++) {
        if (l.events[i].kind == RAFT_EVENT_DROPPED) {
            CHECK_EQ(l.events[i].status, RAFT_EDROPPED);
            CHECK_EQ(l.events[i].term, term);
            CHECK_EQ(l.events[i].first, index);
            CHECK_EQ(l.events[i].last, index);
            dropped++;
        }
    }
    CHECK_EQ(dropped, 1);
    CHECK_STR(lone_close(&l), "sound");
}

/* R62: truncated here is not dropped; a proposal that survives elsewhere is applied as promised. */
static void truncated_proposal_that_comes_back_is_applied_not_dropped(void)
{
    lone l;
    leader(&l, TERMS(1, 1), 2, 3);
    raft_index index = lone_propose(&l);
    raft_term term = lone_status(&l).term;
    lone_poll(&l);
    raft_term next = lone_next_term(2, term);
    CHECK_EQ(lone_append(&l, 2, next, 2, two(1), next, 1, 0), RAFT_OK); /* cuts it away */
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).last_index, 3);
    lone_clear(&l);
    /* Server 3 holds what we proposed and leads now. */
    lone_batch own = {NULL, 0, 0, 3, term};
    if (lone_noops() != 0) {
        lone_batch_add(&own, "", 0, RAFT_ENTRY_NOOP);
    }
    char text[48];
    size_t n = lone_payload(term, index, text);
    lone_batch_add(&own, text, n, RAFT_ENTRY_DATA);
    next = lone_next_term(3, next);
    raft_message m = lone_message(RAFT_MESSAGE_APPEND, 3, next);
    m.index = 2;
    m.index_term = two(1);
    m.ranges[0] = lone_batch_range(&own);
    m.range_count = 1;
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    CHECK_EQ(lone_append(&l, 3, next, index, term, next, 1, index + 1), RAFT_OK);
    lone_poll(&l);
    lone_poll(&l);
    CHECK_EQ(l.applied_last, index + 1);
    CHECK_EQ(l.applied[index].term, term);
    for (size_t i = 0; i < l.event_count; i++) {
        CHECK(l.events[i].kind != RAFT_EVENT_DROPPED);
    }
    free(own.data);
    CHECK_STR(lone_close(&l), "sound");
}

/* R33: nobody waits for a heartbeat to learn that an entry he holds is committed. */
static void commit_is_told_at_once_to_those_who_hold_the_entry(void)
{
    lone l;
    leader(&l, TERMS(1), 1, 1);
    lone_serve(&l, 0xe);
    raft_index index = lone_propose(&l);
    lone_poll(&l);
    lone_clear(&l);
    CHECK_EQ(lone_ack(&l, 2, index), RAFT_OK);
    lone_poll(&l);
    CHECK(lone_count(&l, 0, 2) >= 1);
    CHECK_EQ(l.sent[0].message.commit, index);
    lone_clear(&l);
    CHECK_EQ(lone_ack(&l, 3, index), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, 0, 3), 1);
    CHECK_EQ(lone_newest(&l, 0, 3)->commit, index);
    lone_clear(&l);
    lone_poll(&l);
    CHECK_EQ(l.sent_count, 0); /* and not twice */
    CHECK_STR(lone_close(&l), "sound");
}

/* R33: an append tells the commit index as well, and then nothing else needs to. */
static void append_tells_commit_index_and_round(void)
{
    lone l;
    leader(&l, TERMS(1), 1, 1);
    lone_serve(&l, 0xe);
    lone_wait(&l, 100);
    uint64_t round = lone_newest(&l, RAFT_MESSAGE_HEARTBEAT, 2)->round;
    raft_index index = lone_propose(&l);
    lone_poll(&l);
    CHECK_EQ(lone_ack(&l, 2, index), RAFT_OK);
    lone_propose(&l);
    lone_clear(&l);
    lone_poll(&l);
    for (raft_id id = 2; id <= 3; id++) {
        CHECK_EQ(lone_count(&l, 0, id), 1);
        CHECK_EQ(lone_find(&l, RAFT_MESSAGE_APPEND, id, 0)->commit, index);
        CHECK_EQ(lone_find(&l, RAFT_MESSAGE_APPEND, id, 0)->round, round);
    }
    lone_wait(&l, 100);
    CHECK(lone_newest(&l, RAFT_MESSAGE_HEARTBEAT, 2)->round > round);
    CHECK_STR(lone_close(&l), "sound");
}

/* Entries acknowledged ahead of the commit index are no reason to repeat what was told. */
static void commit_index_that_does_not_move_is_not_repeated(void)
{
    lone l;
    leader(&l, TERMS(1), 1, 1);
    lone_serve(&l, 0xe);
    l.persist_result = RAFT_PENDING;
    raft_index index = lone_propose(&l);
    lone_poll(&l);
    CHECK_EQ(lone_ack(&l, 2, index), RAFT_OK);
    lone_clear(&l);
    for (int i = 0; i < 5; i++) {
        lone_wait(&l, 1);
    }
    CHECK_EQ(l.sent_count, 0);
    CHECK_STR(lone_close(&l), "sound");
}

static void heartbeat_wants_its_reply_at_once(void)
{
    lone l;
    lone_follower(&l, TERMS(1), 1, 1);
    CHECK_EQ(lone_heartbeat(&l, 2, two(1), 0, 4), RAFT_OK);
    lone_poll(&l);
    lone_poll(&l);
    lone_clear(&l);
    CHECK(raft_deadline(l.node) > l.now_ms);
    CHECK_EQ(lone_heartbeat(&l, 2, two(1), 0, 5), RAFT_OK);
    CHECK(raft_deadline(l.node) <= l.now_ms);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_HEARTBEAT_REPLY, 2), 1);
    CHECK_EQ(lone_heartbeat(&l, 2, two(1), 0, 0), RAFT_OK); /* round 0 wants none */
    lone_poll(&l);
    CHECK_EQ(l.sent_count, 1);
    CHECK_STR(lone_close(&l), "sound");
}

static void lost_commit_notice_is_repeated_by_the_next_heartbeat(void)
{
    lone l;
    leader(&l, TERMS(1), 1, 1);
    raft_index index = lone_propose(&l);
    lone_serve(&l, 0xe);
    lone_clear(&l); /* the notices are lost */
    lone_wait(&l, 100);
    for (raft_id peer = 2; peer <= 3; peer++) {
        const raft_message *beat = lone_newest(&l, RAFT_MESSAGE_HEARTBEAT, peer);
        CHECK(beat != NULL);
        CHECK_EQ(beat->commit, index);
        CHECK(beat->round != 0);
    }
    CHECK_STR(lone_close(&l), "sound");
}

static void proposals_between_two_polls_share_one_write_and_one_append_a_peer(void)
{
    lone l;
    leader(&l, TERMS(1), 1, 1);
    lone_serve(&l, 0xe);
    for (int warm = 0; warm < 300; warm++) { /* so that segments have grown to their size */
        CHECK(lone_propose(&l) != 0);
        if (warm % 10 == 0) {
            lone_serve(&l, 0xe);
        }
    }
    lone_serve(&l, 0xe);
    size_t writes = l.write_count;
    raft_index before = lone_status(&l).last_index;
    for (int i = 0; i < 100; i++) {
        CHECK(lone_propose(&l) != 0);
    }
    lone_poll(&l);
    CHECK_EQ(l.write_count, writes + 1);
    for (raft_id peer = 2; peer <= 3; peer++) {
        CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, peer), 1);
        CHECK_EQ(lone_find(&l, RAFT_MESSAGE_APPEND, peer, 0)->index, before);
        CHECK_EQ(lone_last(lone_find(&l, RAFT_MESSAGE_APPEND, peer, 0)), before + 100);
    }
    CHECK_STR(lone_close(&l), "sound");
}

static void young_log_batches_too(void)
{
    lone l;
    leader(&l, TERMS(1), 1, 1);
    lone_serve(&l, 0xe);
    size_t writes = l.write_count;
    for (int i = 0; i < 100; i++) {
        CHECK(lone_propose(&l) != 0);
    }
    lone_poll(&l);
    CHECK_EQ(l.write_count, writes + 1);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND, 2), 1);
    CHECK_STR(lone_close(&l), "sound");
}

static void appends_are_pipelined_without_waiting(void)
{
    lone l;
    leader(&l, TERMS(1), 1, 1);
    lone_serve(&l, 0xe);
    for (raft_index i = 0; i < 10; i++) {
        raft_index index = lone_propose(&l);
        lone_clear(&l);
        lone_poll(&l);
        const raft_message *m = lone_find(&l, RAFT_MESSAGE_APPEND, 3, 0);
        CHECK(m != NULL);
        CHECK_EQ(m->index, index - 1);
        CHECK_EQ(lone_last(m), index);
    }
    CHECK_EQ(lone_peer(&l, 3).inflight_messages, 10);
    CHECK_STR(lone_close(&l), "sound");
}

static void one_message_carries_one_term(void)
{
    lone l;
    leader(&l, TERMS(1, 1, 2, 3, 3, 3), 6, 3);
    lone_clear(&l);
    CHECK_EQ(lone_refuse(&l, 2, 6, 0, 0), RAFT_OK);
    lone_poll(&l);
    raft_index last = 6 + lone_noops();
    raft_index from = 1;
    for (size_t i = 0; i < 5 && from <= last; i++) {
        const raft_message *m = lone_newest(&l, RAFT_MESSAGE_APPEND, 2);
        CHECK(m != NULL);
        CHECK(m->range_count == 1);
        from = lone_last(m) + 1;
        CHECK_EQ(lone_ack(&l, 2, lone_last(m)), RAFT_OK);
        lone_poll(&l);
    }
    CHECK_EQ(lone_peer(&l, 2).match, last);
    CHECK_STR(lone_close(&l), "sound");
}

static void single_server_commits_what_its_disk_holds(void)
{
    lone l;
    lone_init(&l);
    l.members = 1;
    lone_boot(&l);
    CHECK(lone_lead(&l));
    l.persist_result = RAFT_PENDING;
    raft_index index = lone_propose(&l);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, index - 1);
    lone_complete(&l, 1);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, index);
    CHECK_EQ(l.applied_last, index);
    CHECK_EQ(l.sent_count, 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- Proposing ------------------------------------------------------------------------------ */

static void each_reason_to_refuse_a_proposal_has_its_code(void)
{
    lone l;
    lone_init(&l);
    l.options.entry_bytes_max = 100;
    raft_index index = 42;
    raft_term term = 42;
    CHECK_EQ(lone_new(&l), RAFT_OK);
    CHECK_EQ(raft_propose(l.node, "x", 1, &index, &term), RAFT_ESTATE);
    CHECK_EQ(lone_bootstrap(&l), RAFT_OK);
    CHECK_EQ(lone_start(&l), RAFT_OK);
    CHECK_EQ(raft_propose(l.node, "x", 1, &index, &term), RAFT_ENOLEADER);
    CHECK_EQ(lone_heartbeat(&l, 2, two(1), 0, 1), RAFT_OK);
    CHECK_EQ(raft_propose(l.node, "x", 1, &index, &term), RAFT_ENOTLEADER);
    CHECK_EQ(lone_status(&l).leader, 2);
    lone_wait(&l, 5000);
    CHECK(lone_lead(&l));
    static const uint8_t big[101] = {0};
    CHECK_EQ(raft_propose(l.node, big, 101, &index, &term), RAFT_ESIZE);
    CHECK_EQ(raft_propose(l.node, NULL, 1, &index, &term), RAFT_EARG);
    CHECK_EQ(raft_propose(NULL, "x", 1, &index, &term), RAFT_EARG);
    CHECK_EQ(raft_propose_many(l.node, NULL, 1, &index, &term), RAFT_EARG);
    CHECK_EQ(raft_propose_many(l.node, &(raft_buf){"x", 1}, 0, &index, &term), RAFT_EARG);
    CHECK_EQ(index, 42);
    CHECK_EQ(term, 42);
    CHECK_EQ(raft_propose(l.node, big, 100, NULL, NULL), RAFT_OK);
    CHECK_EQ(raft_propose(l.node, NULL, 0, &index, &term), RAFT_OK);
    CHECK_EQ(index, 2 + lone_noops());
    CHECK_EQ(term, lone_status(&l).term);
    CHECK_STR(lone_close(&l), "sound");
}

static void joiner_is_told_that_it_is_no_member(void)
{
    lone l;
    lone_init(&l);
    CHECK_EQ(lone_new(&l), RAFT_OK);
    CHECK_EQ(lone_start(&l), RAFT_OK);
    CHECK_EQ(raft_propose(l.node, "x", 1, NULL, NULL), RAFT_ENOTMEMBER);
    CHECK_EQ(lone_heartbeat(&l, 2, two(1), 0, 1), RAFT_OK);
    CHECK_EQ(raft_propose(l.node, "x", 1, NULL, NULL), RAFT_ENOTMEMBER);
    lone_wait(&l, 100000);
    CHECK_EQ(lone_status(&l).role, RAFT_ROLE_FOLLOWER);
    CHECK_STR(lone_close(&l), "sound");
}

static void vector_of_proposals_is_taken_whole_or_not_at_all(void)
{
    lone l;
    lone_init(&l);
    l.options.entry_bytes_max = 100;
    lone_boot(&l);
    CHECK(lone_lead(&l));
    static const uint8_t bytes[101] = {0};
    raft_buf good[3] = {{bytes, 1}, {NULL, 0}, {bytes, 100}};
    raft_buf large[3] = {{bytes, 1}, {bytes, 101}, {bytes, 1}};
    raft_buf null[3] = {{bytes, 1}, {bytes, 1}, {NULL, 1}};
    raft_index first = 0;
    raft_term term = 0;
    raft_index last = lone_status(&l).last_index;
    CHECK_EQ(raft_propose_many(l.node, large, 3, &first, &term), RAFT_ESIZE);
    CHECK_EQ(raft_propose_many(l.node, null, 3, &first, &term), RAFT_EARG);
    CHECK_EQ(lone_status(&l).last_index, last);
    CHECK_EQ(lone_status(&l).counters.entries_proposed, 0);
    CHECK_EQ(raft_propose_many(l.node, good, 3, &first, &term), RAFT_OK);
    CHECK_EQ(first, last + 1);
    CHECK_EQ(lone_status(&l).last_index, last + 3);
    CHECK_EQ(lone_status(&l).counters.entries_proposed, 3);
    lone_serve(&l, 0xe);
    CHECK_EQ(l.applied_last, last + 3);
    CHECK_EQ(l.applied[last + 2].size, 0);
    CHECK_EQ(l.applied[last + 3].size, 100);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- Whole groups --------------------------------------------------------------------------- */

static void end_of(struct cluster *c)
{
    const char *violation = cluster_violation(c);
    CHECK_STR(violation ? violation : "none", "none");
    cluster_free(c);
}

/* Replaces the stored log of a node that is down with entries of these terms. */
static void set_store(struct cluster *c, raft_id id, const raft_term *terms, size_t count,
                      raft_term term)
{
    struct cluster_store *store = &c->nodes[id].store;
    for (size_t i = 0; i < store->log.count; i++) {
        free(store->log.entries[i].data);
    }
    store->log.entries = lone_grow(store->log.entries, (count + 1) * sizeof *store->log.entries);
    store->log.capacity = count + 1;
    store->log.count = count;
    for (size_t i = 0; i < count; i++) {
        struct cluster_entry *e = &store->log.entries[i];
        e->index = i + 1;
        e->term = terms[i];
        e->kind = RAFT_ENTRY_DATA;
        e->data = lone_grow(NULL, 48);
        e->size = lone_payload(terms[i], i + 1, e->data);
    }
    store->state.term = term;
    store->state.vote = 0;
    store->confirmed_last = count;
}

/* A group that is down and whose members have stored their founding record. */
static struct cluster *founded_and_down(size_t count)
{
    struct cluster *c = cluster_new(count);
    for (raft_id id = 1; id <= count; id++) {
        cluster_poll(c, id);
        CHECK(c->nodes[id].store.meta != NULL);
        cluster_crash(c, id);
    }
    return c;
}

static void proposal_is_applied_on_all_three_soon(void)
{
    struct cluster *c = cluster_new(3);
    CHECK(cluster_elect(c, 1));
    raft_index index = cluster_propose(c, 1, "x");
    CHECK(index != 0);
    cluster_settle(c); /* no time passes: nobody waits for a heartbeat */
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_STR(cluster_applied_text(c, id, index), "x");
    }
    end_of(c);
}

/* The figure of seven logs in the paper: leader 1, followers short, long and divergent. */
static void seven_logs_of_the_figure_become_equal_with_few_probes(void)
{
    static const raft_term lead[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
    static const raft_term a[] = {1, 1, 1, 4, 4, 5, 5, 6, 6};
    static const raft_term b[] = {1, 1, 1, 4};
    static const raft_term cc[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6};
    static const raft_term d[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7};
    static const raft_term e[] = {1, 1, 1, 4, 4, 4, 4};
    static const raft_term f[] = {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3};
    struct cluster *c = founded_and_down(7);
    set_store(c, 1, lead, 10, 7);
    set_store(c, 2, a, 9, 7);
    set_store(c, 3, b, 4, 7);
    set_store(c, 4, cc, 11, 7);
    set_store(c, 5, d, 12, 7);
    set_store(c, 6, e, 7, 7);
    set_store(c, 7, f, 11, 7);
    for (raft_id id = 1; id <= 7; id++) {
        c->nodes[id].options.no_pull = 1; /* the leader of the figure is to win as it is */
        CHECK_EQ(cluster_restart(c, id), RAFT_OK);
    }
    uint64_t mark = cluster_mark(c);
    CHECK(cluster_elect(c, 1));
    cluster_run(c, 3000);
    CHECK(cluster_converged(c));
    static const size_t terms_of[] = {0, 0, 4, 2, 4, 5, 2, 3}; /* distinct terms in each log */
    for (raft_id id = 2; id <= 7; id++) {
        size_t refusals = 0;
        const struct cluster_message *m;
        for (uint64_t at = mark;
             (m = cluster_sent(c, at, id, 1, RAFT_MESSAGE_APPEND_REPLY)) != NULL; at = m->number) {
            refusals += m->message.refused != 0;
        }
        CHECK(refusals <= terms_of[id]);
        CHECK_EQ(cluster_status(c, id).last_index, 11);
        for (raft_index i = 1; i <= 10; i++) {
            CHECK_EQ(cluster_stored(c, id, i)->term, lead[i - 1]);
        }
    }
    end_of(c);
}

/* R30's bound on random logs: refusals never exceed the number of distinct terms of both logs. */
static void probes_never_exceed_the_number_of_terms(void)
{
    uint64_t seed = 99;
    for (int round = 0; round < 60; round++) {
        raft_term logs[2][60];
        size_t counts[2];
        raft_term distinct[2];
        for (int w = 0; w < 2; w++) { /* a shared prefix, then each its own way */
            raft_term term = 1;
            counts[w] = 20 + (size_t)((seed >> 33) % 40);
            distinct[w] = 1;
            for (size_t i = 0; i < counts[w]; i++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                if (i >= 5 && (seed >> 40) % 3 == 0) {
                    term += 1 + 2 * ((seed >> 45) % 2) + (term % 2 == (raft_term)w);
                    distinct[w]++;
                }
                logs[w][i] = term;
            }
        }
        struct cluster *c = founded_and_down(3);
        raft_term high = logs[0][counts[0] - 1] > logs[1][counts[1] - 1] ? logs[0][counts[0] - 1]
                                                                         : logs[1][counts[1] - 1];
        set_store(c, 1, logs[0], counts[0], high);
        set_store(c, 2, logs[0], counts[0], high);
        set_store(c, 3, logs[1], counts[1], high);
        for (raft_id id = 1; id <= 3; id++) {
            CHECK_EQ(cluster_restart(c, id), RAFT_OK);
        }
        cluster_isolate(c, 3);
        uint64_t mark = cluster_mark(c);
        CHECK(cluster_elect(c, 1));
        cluster_heal_all(c);
        cluster_run(c, 3000);
        CHECK(cluster_converged(c));
        size_t refusals = 0;
        const struct cluster_message *m;
        for (uint64_t at = mark; (m = cluster_sent(c, at, 3, 1, RAFT_MESSAGE_APPEND_REPLY)) != NULL;
             at = m->number) {
            refusals += m->message.refused != 0;
        }
        raft_term bound = distinct[0] < distinct[1] ? distinct[0] : distinct[1];
        CHECK(refusals <= bound + 1);
        end_of(c);
    }
}

/* Delivers from 1 to a peer until the peer holds index durably, then loses the rest. */
static void deliver_through(struct cluster *c, raft_id from, raft_id to, raft_index index)
{
    for (int i = 0; i < 50 && c->nodes[to].store.log.count < index; i++) {
        if (cluster_queued(c, from, to)) {
            cluster_deliver(c, from, to);
        }
        cluster_poll(c, from);
        cluster_deliver_all(c, to, from);
    }
    cluster_drop_all(c, from, to);
    CHECK_EQ(c->nodes[to].store.log.count, index);
}

/* Figure 8 of the paper, with the stores of its step (c): 2 is of term 2 on a majority. */
static void figure_8_entry_on_a_majority_is_not_committed_and_may_be_erased(void)
{
    struct cluster *c = founded_and_down(5);
    set_store(c, 1, TERMS(1, 2), 2, 3);
    set_store(c, 2, TERMS(1, 2), 2, 3);
    set_store(c, 3, TERMS(1), 1, 3);
    set_store(c, 4, TERMS(1), 1, 3);
    set_store(c, 5, TERMS(1, 3), 2, 3);
    for (raft_id id = 1; id <= 4; id++) {
        CHECK_EQ(cluster_restart(c, id), RAFT_OK);
    }
    /* Server 1 wins term 4, but nothing that it sends as leader arrives. */
    CHECK_EQ(raft_campaign(c->nodes[1].raft), RAFT_OK);
    for (int i = 0; i < 30 && cluster_role(c, 1) != RAFT_ROLE_LEADER; i++) {
        cluster_poll(c, 1);
        for (raft_id id = 2; id <= 4; id++) {
            cluster_deliver_all(c, 1, id);
            cluster_deliver_all(c, id, 1);
        }
    }
    CHECK_EQ(cluster_role(c, 1), RAFT_ROLE_LEADER);
    deliver_through(c, 1, 3, 2);
    CHECK_EQ(cluster_stored(c, 3, 2)->term, 2);
    cluster_deliver_all(c, 3, 1);
    cluster_poll(c, 1);
    CHECK_EQ(cluster_peer(c, 1, 3).match, 2); /* 1, 2 and 3 hold it: three of five */
    CHECK(cluster_commit(c, 1) < 2);
    cluster_crash(c, 1);
    for (raft_id from = 1; from <= 5; from++) {
        for (raft_id to = 1; to <= 5; to++) {
            if (from != to) {
                cluster_drop_all(c, from, to);
            }
        }
    }
    CHECK_EQ(cluster_restart(c, 5), RAFT_OK);
    cluster_split(c, 2, 3); /* of the others, nobody can win */
    cluster_split(c, 2, 4);
    cluster_split(c, 3, 4);
    CHECK(cluster_elect(c, 5));
    cluster_heal_all(c);
    cluster_run(c, 3000);
    for (raft_id id = 2; id <= 5; id++) {
        CHECK_EQ(cluster_stored(c, id, 2)->term, 3);
    }
    CHECK_EQ(cluster_restart(c, 1), RAFT_OK);
    cluster_run(c, 5000);
    CHECK(cluster_converged(c));
    end_of(c);
}

/* The lost half of the scenario: with the no-op on a majority it is safe for ever. */
static void figure_8_entry_commits_together_with_the_no_op(void)
{
    struct cluster *c = founded_and_down(5);
    set_store(c, 1, TERMS(1, 2), 2, 3);
    set_store(c, 2, TERMS(1, 2), 2, 3);
    set_store(c, 3, TERMS(1), 1, 3);
    set_store(c, 4, TERMS(1), 1, 3);
    set_store(c, 5, TERMS(1, 3), 2, 3);
    c->nodes[5].options.no_pull = 1; /* it is to campaign with the log that it has */
    for (raft_id id = 1; id <= 4; id++) {
        CHECK_EQ(cluster_restart(c, id), RAFT_OK);
    }
    CHECK(cluster_elect(c, 1));
    cluster_settle(c);
    CHECK(cluster_commit(c, 1) >= 3);
    CHECK_EQ(cluster_applied(c, 1, 2)->term, 2);
    cluster_crash(c, 1);
    CHECK_EQ(cluster_restart(c, 5), RAFT_OK);
    cluster_split(c, 2, 3); /* nobody else can win and bring 5 up to date */
    cluster_split(c, 2, 4);
    cluster_split(c, 3, 4);
    CHECK(!cluster_elect(c, 5));
    cluster_heal_all(c);
    cluster_run(c, 10000);
    CHECK(cluster_stable_leader(c) != 0);
    CHECK_EQ(cluster_stored(c, 5, 2)->term, 2);
    end_of(c);
}

/* Everything shuffled, repeated and lost while entries stream: match only rises, all converges. */
static void shuffled_pipelines_converge(void)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct cluster *c = cluster_create(3);
        for (raft_id id = 1; id <= 3; id++) {
            c->nodes[id].options.append_bytes_max = 64;
            c->nodes[id].options.inflight_messages_max = 8;
        }
        CHECK_EQ(cluster_start(c), RAFT_OK);
        CHECK(cluster_elect(c, 1));
        cluster_settle(c);
        uint64_t r = seed;
        raft_index match[4] = {0};
        for (int step = 0; step < 400; step++) {
            r = r * 6364136223846793005u + 1442695040888963407u;
            raft_id peer = 2 + (r >> 33) % 2;
            raft_id from = (r >> 35) % 2 ? 1 : peer;
            raft_id to = from == 1 ? peer : 1;
            size_t queued = cluster_queued(c, from, to);
            switch ((r >> 40) % 8) {
            case 0:
                cluster_propose(c, 1, "payload");
                break;
            case 1:
                cluster_poll(c, 1);
                break;
            case 2:
                if (queued) {
                    cluster_duplicate(c, from, to);
                }
                break;
            case 3:
                if (queued && (r >> 50) % 4 == 0) {
                    cluster_drop(c, from, to);
                }
                break;
            default:
                if (queued) {
                    CHECK_EQ(cluster_deliver_at(c, from, to, (size_t)((r >> 52) % queued)),
                             RAFT_OK);
                }
                break;
            }
            for (raft_id id = 2; id <= 3 && cluster_role(c, 1) == RAFT_ROLE_LEADER; id++) {
                raft_peer_status p = cluster_peer(c, 1, id);
                CHECK(p.match >= match[id]);
                CHECK(p.match < p.next);
                CHECK(p.inflight_messages <= 8);
                match[id] = p.match;
            }
        }
        cluster_run(c, 4000);
        CHECK(cluster_converged(c));
        CHECK_EQ(cluster_leader(c), 1);
        end_of(c);
    }
}

static void leader_with_a_slow_disk_commits_and_its_crash_loses_nothing(void)
{
    struct cluster *c = cluster_new(3);
    CHECK(cluster_elect(c, 1));
    cluster_settle(c);
    cluster_store_async(c, 1, 1);
    raft_index index = cluster_propose(c, 1, "kept");
    cluster_settle(c);
    CHECK_EQ(cluster_commit(c, 1), index);
    CHECK_STR(cluster_applied_text(c, 2, index), "kept");
    CHECK(cluster_stored(c, 1, index) == NULL);
    cluster_crash(c, 1);
    cluster_store_async(c, 1, 0);
    cluster_run(c, 8000);
    CHECK(cluster_stable_leader(c) != 0);
    CHECK_EQ(cluster_restart(c, 1), RAFT_OK);
    cluster_run(c, 8000);
    CHECK(cluster_converged(c));
    CHECK_STR(cluster_applied_text(c, 1, index), "kept");
    end_of(c);
}

/* A follower of many sizes of payload holds what was proposed, byte for byte. */
static void payloads_of_all_sizes_arrive_intact(void)
{
    enum { LARGE = 1 << 20 };
    struct cluster *c = cluster_new(3);
    CHECK(cluster_elect(c, 1));
    char *bytes = lone_grow(NULL, LARGE);
    for (size_t i = 0; i < LARGE; i++) {
        bytes[i] = (char)(i * 131 >> 3);
    }
    raft_index first = 0;
    for (size_t size = 0; size <= 100; size++) {
        raft_index index;
        CHECK_EQ(raft_propose(c->nodes[1].raft, bytes + size, size, &index, NULL), RAFT_OK);
        first = first ? first : index;
    }
    raft_index large;
    CHECK_EQ(raft_propose(c->nodes[1].raft, bytes, LARGE, &large, NULL), RAFT_OK);
    cluster_settle(c);
    for (raft_id id = 1; id <= 3; id++) {
        for (size_t size = 0; size <= 100; size++) {
            const struct cluster_entry *e = cluster_applied(c, id, first + size);
            CHECK(e != NULL);
            CHECK_EQ(e->size, size);
            CHECK(memcmp(e->data, bytes + size, size) == 0);
        }
        const struct cluster_entry *e = cluster_applied(c, id, large);
        CHECK(e != NULL);
        CHECK_EQ(e->size, LARGE);
        CHECK(memcmp(e->data, bytes, LARGE) == 0);
    }
    free(bytes);
    end_of(c);
}

/* Nothing is proposed any more; the restarted follower applies all the same. */
static void restarted_follower_of_an_idle_group_catches_up(void)
{
    struct cluster *c = cluster_new(3);
    CHECK(cluster_elect(c, 1));
    raft_index index = cluster_propose(c, 1, "before");
    cluster_run(c, 1000);
    cluster_crash(c, 2);
    CHECK_EQ(cluster_restart(c, 2), RAFT_OK);
    cluster_run(c, 1000);
    CHECK_EQ(cluster_leader(c), 1);
    CHECK_STR(cluster_applied_text(c, 2, index), "before");
    CHECK(cluster_converged(c));
    end_of(c);
}

/* A stale append of a deposed leader denies what is committed: it is old, not malformed (R21). */
static void stale_append_that_differs_from_the_committed_log_is_answered(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1), 2, 1);
    CHECK_EQ(lone_append(&l, 2, two(5), 2, two(1), two(5), 3, 5), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).commit_index, 5);
    lone_clear(&l);
    uint64_t refused = lone_status(&l).counters.messages_refused;
    CHECK_EQ(lone_append(&l, 3, three(4), 4, three(4), three(4), 2, 2), RAFT_OK);
    CHECK_EQ(lone_append(&l, 3, three(4), 2, two(1), three(4), 2, 2), RAFT_OK);
    CHECK_EQ(lone_status(&l).counters.messages_refused, refused);
    lone_poll(&l);
    CHECK(lone_count(&l, 0, 3) >= 1);
    CHECK_EQ(lone_find(&l, 0, 3, 0)->term, two(5));
    check_log(&l, TERMS(1, 1, 5, 5, 5), 5);
    CHECK_STR(lone_close(&l), "sound");
}

/* What was owed to a leader of an older term is owed to nobody. */
static void answers_due_to_an_older_leader_are_not_given_to_the_next(void)
{
    lone l;
    lone_follower(&l, TERMS(1, 1, 1), 3, 1);
    CHECK_EQ(lone_append(&l, 2, two(5), 9, two(5), two(5), 1, 0), RAFT_OK); /* a refusal is due */
    CHECK_EQ(lone_heartbeat(&l, 3, three(6), 0, 0), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND_REPLY, 0), 0);
    CHECK_EQ(lone_append(&l, 3, three(6), 3, two(1), three(6), 1, 0),
             RAFT_OK); /* an acknowledgement is due */
    CHECK_EQ(lone_heartbeat(&l, 2, two(7), 0, 0), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND_REPLY, 0), 0);
    CHECK_EQ(lone_append(&l, 2, two(7), 3, two(1), two(7), 1, 0), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 2, 0, 4);
    CHECK_STR(lone_close(&l), "sound");
}

/* A follower without room says so, so that the leader repeats nothing until it has some. */
static void append_that_finds_no_memory_is_answered_as_such(void)
{
    int accepted = lone_in_multipaxos() ? RAFT_FLAG_ACCEPTED : 0; /* before the restart (P6) */
    lone l;
    lone_follower(&l, TERMS(1), 1, 1);
    CHECK_EQ(lone_heartbeat(&l, 2, two(1), 0, 1), RAFT_OK);
    lone_poll(&l);
    lone_clear(&l);
    l.fail_after = 0;
    CHECK_EQ(lone_append(&l, 2, two(1), 1, two(1), two(1), 3000, 0), RAFT_ENOMEM);
    l.fail_after = -1;
    lone_poll(&l);
    check_reply(&l, 2, 0, 1);
    CHECK_EQ(l.sent[0].message.flags, accepted | RAFT_FLAG_FULL);
    lone_clear(&l);
    CHECK_EQ(lone_append(&l, 2, two(1), 1, two(1), 0, 0, 0),
             RAFT_OK); /* nothing in it: still no room */
    lone_poll(&l);
    CHECK_EQ(l.sent[0].message.flags, accepted | RAFT_FLAG_FULL);
    CHECK_EQ(lone_status(&l).last_index, 1);
    lone_clear(&l);
    CHECK_EQ(lone_append(&l, 2, two(1), 1, two(1), two(1), 3000, 0), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 2, 0, 3001);
    CHECK_EQ(l.sent[0].message.flags, accepted);
    CHECK_STR(lone_close(&l), "sound");
}

/* The gap closes before anything was said: one acknowledgement, no refusal behind the times. */
static void gap_closed_before_the_poll_is_not_complained_of(void)
{
    lone l;
    lone_follower(&l, TERMS(1), 1, 1);
    CHECK_EQ(lone_append(&l, 2, two(1), 3, two(1), two(1), 2, 0), RAFT_OK);
    CHECK_EQ(lone_append(&l, 2, two(1), 1, two(1), two(1), 2, 0), RAFT_OK);
    CHECK_EQ(lone_append(&l, 2, two(1), 3, two(1), two(1), 2, 0), RAFT_OK);
    lone_poll(&l);
    check_reply(&l, 2, 0, 5);
    CHECK_STR(lone_close(&l), "sound");
}

static void lost_commit_notice_reaches_followers_with_the_heartbeat(void)
{
    struct cluster *c = cluster_new(3);
    CHECK(cluster_elect(c, 1));
    cluster_settle(c);
    raft_index index = cluster_propose(c, 1, "x");
    cluster_poll(c, 1);
    cluster_deliver_all(c, 1, 2);
    cluster_deliver_all(c, 2, 1);
    CHECK_EQ(cluster_commit(c, 1), index);
    cluster_drop_all(c, 1, 2);
    cluster_drop_all(c, 1, 3);
    CHECK(cluster_commit(c, 2) < index);
    cluster_run(c, 300);
    CHECK_EQ(cluster_commit(c, 2), index);
    CHECK_EQ(cluster_commit(c, 3), index);
    end_of(c);
}

int main(void)
{
    RUN_BOTH(matching_append_is_stored_and_acknowledged);
    RUN_BOTH(reply_echoes_the_round_of_the_append);
    RUN_BOTH(append_leaving_a_gap_is_refused_and_changes_nothing);
    RUN(refusal_comes_with_an_acknowledgement_of_what_is_committed);
    RUN_BOTH(refused_append_resets_the_election_timer);
    RUN_BOTH(hint_skips_every_entry_that_cannot_be_the_leaders);
    RUN_BOTH(only_the_differing_tail_is_replaced);
    RUN_BOTH(late_short_append_removes_nothing);
    RUN_BOTH(repeats_below_the_commit_index_are_skipped);
    RUN_BOTH(append_wholly_below_the_commit_index_is_answered_with_it);
    RUN_BOTH(acknowledgement_of_a_repeat_is_given_again);
    RUN_BOTH(append_of_an_older_term_is_answered_with_ours);
    RUN_BOTH(higher_term_append_is_followed_and_written_in_one_batch);
    RUN_BOTH(heartbeat_commits_only_what_this_term_has_certified);
    RUN_BOTH(commit_stops_at_what_the_message_proves);
    RUN_BOTH(raw_commit_index_moves_nobody_who_accepted_nothing);
    RUN_BOTH(certificate_ends_with_the_term);
    RUN_BOTH(certificate_ends_with_a_restart);
    RUN_BOTH(heartbeat_beyond_the_certificate_is_answered_with_doubt);
    RUN_BOTH(doubting_peer_is_sent_one_empty_append);
    RUN_BOTH(commit_index_never_falls);
    RUN_BOTH(stale_tail_is_not_acknowledged);
    RUN_BOTH(reordered_appends_are_taken_when_the_gap_is_closed);
    RUN_BOTH(many_appends_between_polls_share_one_write_and_one_reply);
    RUN_BOTH(invalid_batches_are_refused_whole);
    RUN_BOTH(append_that_contradicts_what_is_committed_is_refused);
    RUN_BOTH(append_that_contradicts_its_own_terms_certificate_is_refused);
    RUN_BOTH(repeats_may_end_where_a_term_ends);
    RUN_BOTH(prev_that_contradicts_what_is_committed_is_refused);
    RUN_BOTH(second_leader_of_one_term_is_refused);
    RUN_BOTH(leader_of_a_term_is_who_may_own_it);
    RUN_BOTH(leader_refuses_an_append_of_its_own_term);
    RUN_BOTH(first_append_probes_at_the_end_of_the_log);
    RUN_BOTH(one_remote_acknowledgement_of_three_commits);
    RUN(entries_of_older_terms_are_not_committed_by_counting);
    RUN_BOTH(own_match_moves_only_when_the_write_completes);
    RUN_BOTH(quorum_of_followers_commits_ahead_of_the_leaders_disk);
    RUN_BOTH(volatile_state_machine_applies_ahead_of_the_own_disk);
    RUN_BOTH(stale_answers_move_nothing);
    RUN_BOTH(refusal_of_another_probe_is_stale);
    RUN_BOTH(progress_begins_anew_with_each_leadership);
    RUN_BOTH(hint_never_raises_match_or_commits);
    RUN_BOTH(leader_jumps_over_terms_that_the_follower_never_had);
    RUN_BOTH(acknowledgement_beyond_the_log_is_refused);
    RUN_BOTH(replies_of_other_terms_are_dropped);
    RUN_BOTH(acknowledgements_of_strangers_count_for_nothing);
    RUN_BOTH(higher_term_reply_ends_leadership_and_its_proposals_are_answered);
    RUN_BOTH(truncated_proposal_that_comes_back_is_applied_not_dropped);
    RUN_BOTH(commit_is_told_at_once_to_those_who_hold_the_entry);
    RUN_BOTH(append_tells_commit_index_and_round);
    RUN_BOTH(commit_index_that_does_not_move_is_not_repeated);
    RUN_BOTH(heartbeat_wants_its_reply_at_once);
    RUN_BOTH(lost_commit_notice_is_repeated_by_the_next_heartbeat);
    RUN_BOTH(proposals_between_two_polls_share_one_write_and_one_append_a_peer);
    RUN_BOTH(young_log_batches_too);
    RUN_BOTH(appends_are_pipelined_without_waiting);
    RUN_BOTH(one_message_carries_one_term);
    RUN_BOTH(single_server_commits_what_its_disk_holds);
    RUN_BOTH(each_reason_to_refuse_a_proposal_has_its_code);
    RUN_BOTH(joiner_is_told_that_it_is_no_member);
    RUN_BOTH(vector_of_proposals_is_taken_whole_or_not_at_all);
    RUN_BOTH(proposal_is_applied_on_all_three_soon);
    RUN_BOTH(seven_logs_of_the_figure_become_equal_with_few_probes);
    RUN_BOTH(probes_never_exceed_the_number_of_terms);
    RUN(figure_8_entry_on_a_majority_is_not_committed_and_may_be_erased);
    RUN(figure_8_entry_commits_together_with_the_no_op);
    RUN_BOTH(shuffled_pipelines_converge);
    RUN_BOTH(leader_with_a_slow_disk_commits_and_its_crash_loses_nothing);
    RUN_BOTH(payloads_of_all_sizes_arrive_intact);
    RUN_BOTH(restarted_follower_of_an_idle_group_catches_up);
    RUN_BOTH(stale_append_that_differs_from_the_committed_log_is_answered);
    RUN_BOTH(answers_due_to_an_older_leader_are_not_given_to_the_next);
    RUN_BOTH(append_that_finds_no_memory_is_answered_as_such);
    RUN_BOTH(gap_closed_before_the_poll_is_not_complained_of);
    RUN_BOTH(lost_commit_notice_reaches_followers_with_the_heartbeat);
    return check_done();
}
