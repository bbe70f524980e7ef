/*
 * Pull before campaigning (rule N7): a pre-candidate that fails for its log alone takes what it
 * lacks from whoever has the best one. What is pulled is no contact, certifies and commits nothing.
 */
#include "check.h"
#include "cluster.h"
#include "lone.h"

#include <string.h>

static const uint64_t T = 1000;
static const uint64_t LONGEST = 2000;
static const uint64_t FOUR_TIMEOUTS = 8000;

/* ---- One node whose peers are played -------------------------------------------------------- */

/* A voter of five with this log, in this term, that has just begun to ask for pre-votes. */
static void pre_candidate(lone *l, const raft_term *terms, size_t count, raft_term term)
{
    lone_init(l);
    l->members = 5;
    lone_seed(l, terms, count, term, 0);
    CHECK_EQ(lone_restart(l), RAFT_OK);
    CHECK_EQ(raft_campaign(l->node), RAFT_OK);
    lone_poll(l);
    CHECK_EQ(lone_status(l).role, RAFT_ROLE_PRE_CANDIDATE);
}

static raft_message pre_vote_answer(const lone *l, raft_id from)
{
    const raft_message *asked = lone_newest(l, RAFT_MESSAGE_PRE_VOTE, from);
    raft_message m = lone_message(RAFT_MESSAGE_PRE_VOTE_REPLY, from, lone_status(l).term);
    m.round = asked->round;
    m.asked_term = asked->asked_term;
    return m;
}

static void grant(lone *l, raft_id from)
{
    raft_message m = pre_vote_answer(l, from);
    CHECK_EQ(lone_receive(l, &m), RAFT_OK);
}

static void refuse_for_log(lone *l, raft_id from, raft_index last, raft_term last_term)
{
    raft_message m = pre_vote_answer(l, from);
    m.refused = 1;
    m.flags = RAFT_FLAG_LOG;
    m.index = last;
    m.index_term = last_term;
    CHECK_EQ(lone_receive(l, &m), RAFT_OK);
    lone_poll(l);
}

/* Peer `from` gives entries of one term behind prev, in answer to the newest question to it. */
static int give(lone *l, raft_id from, raft_index prev, raft_term prev_term, raft_term term,
                size_t count, int last)
{
    lone_batch b = lone_batch_make(term, prev + 1, count);
    const raft_message *asked = lone_newest(l, RAFT_MESSAGE_PULL, from);
    raft_message m = lone_message(RAFT_MESSAGE_PULL_REPLY, from, lone_status(l).term);
    m.round = asked->round;
    m.index = prev;
    m.index_term = prev_term;
    m.flags = last ? RAFT_FLAG_LAST : 0;
    if (count > 0) {
        m.ranges[0] = lone_batch_range(&b);
        m.range_count = 1;
    }
    int code = lone_receive(l, &m);
    free(b.data);
    lone_poll(l);
    return code;
}

/* It does not know the entry that it was asked about. */
static void hint(lone *l, raft_id from, raft_index index, raft_term term)
{
    const raft_message *asked = lone_newest(l, RAFT_MESSAGE_PULL, from);
    raft_message m = lone_message(RAFT_MESSAGE_PULL_REPLY, from, lone_status(l).term);
    m.round = asked->round;
    m.refused = 1;
    m.refused_index = asked->index;
    m.index = index;
    m.index_term = term;
    CHECK_EQ(lone_receive(l, &m), RAFT_OK);
    lone_poll(l);
}

/* Enough say yes, but for those who say no for the log: 3 has `last` entries, the last of a term. */
static void begin_pull(lone *l, raft_index last, raft_term last_term)
{
    grant(l, 2);
    refuse_for_log(l, 3, last, last_term);
    CHECK_EQ(lone_count(l, RAFT_MESSAGE_PULL, 3), 1);
    CHECK_EQ(lone_status(l).counters.pulls, 1);
}

static raft_term stored_term(const lone *l, raft_index index)
{
    lone_log disk = lone_durable(l);
    raft_term term = index <= disk.last ? disk.at[index].term : 0;
    lone_log_free(&disk);
    return term;
}

static void pulls_when_yes_and_no_for_the_log_make_a_quorum(void)
{
    lone l;
    pre_candidate(&l, TERMS(1, 1), 2, 3);
    refuse_for_log(&l, 3, 6, 2);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PULL, 0), 0); /* two of five are no quorum */
    grant(&l, 2);
    lone_poll(&l);
    const raft_message *question = lone_newest(&l, RAFT_MESSAGE_PULL, 3);
    CHECK(question != NULL);
    CHECK_EQ(question->index, 2);
    CHECK_EQ(question->index_term, 1);
    CHECK_EQ(lone_status(&l).role, RAFT_ROLE_PRE_CANDIDATE);
    CHECK_EQ(lone_status(&l).leader, 0);
    CHECK_STR(lone_close(&l), "sound");
}

static void refusals_for_other_reasons_are_no_help(void)
{
    lone l;
    pre_candidate(&l, TERMS(1, 1), 2, 3);
    grant(&l, 2);
    raft_message m = pre_vote_answer(&l, 3);
    m.refused = 1; /* it follows a live leader, say */
    m.index = 6;
    m.index_term = 2;
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PULL, 0), 0);
    CHECK_STR(lone_close(&l), "sound");
}

static void pulls_from_the_highest_last_term_and_then_index(void)
{
    for (int first = 0; first < 2; first++) {
        lone l;
        pre_candidate(&l, TERMS(1, 1), 2, 9);
        refuse_for_log(&l, first ? 3 : 4, first ? 500 : 7, first ? 2 : 4);
        refuse_for_log(&l, first ? 4 : 3, first ? 7 : 500, first ? 4 : 2);
        CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PULL, 4), 1); /* 7/4 is better than 500/2 */
        CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PULL, 3), 0);
        CHECK_STR(lone_close(&l), "sound");
        pre_candidate(&l, TERMS(1, 1), 2, 9);
        refuse_for_log(&l, first ? 3 : 4, first ? 8 : 9, 2);
        refuse_for_log(&l, first ? 4 : 3, first ? 9 : 8, 2);
        CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PULL, 4), 1);
        CHECK_STR(lone_close(&l), "sound");
    }
}

static void what_is_pulled_is_taken_in_and_then_it_asks_again(void)
{
    lone l;
    pre_candidate(&l, TERMS(1, 1), 2, 3);
    begin_pull(&l, 6, 2);
    lone_clear(&l);
    /* lone_clear forgets the question: it is asked again after a while, with the same number */
    lone_wait(&l, T / 2);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PULL, 3), 1);
    CHECK_EQ(give(&l, 3, 2, 1, 1, 2, 0), RAFT_OK);
    const raft_message *next = lone_newest(&l, RAFT_MESSAGE_PULL, 3);
    CHECK_EQ(next->index, 4);
    CHECK_EQ(next->index_term, 1);
    CHECK_EQ(give(&l, 3, 4, 1, 2, 2, 1), RAFT_OK);
    const raft_message *asked = lone_newest(&l, RAFT_MESSAGE_PRE_VOTE, 2);
    CHECK(asked != NULL);
    CHECK_EQ(asked->index, 6);
    CHECK_EQ(asked->index_term, 2);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_EQ(lone_status(&l).last_contact_ms, 0); /* no contact */
    grant(&l, 2);
    grant(&l, 3);
    lone_poll(&l);
    CHECK_EQ(lone_status(&l).role, RAFT_ROLE_CANDIDATE);
    CHECK_STR(lone_close(&l), "sound");
}

static void finds_the_point_of_joining_by_hints_and_replaces_the_tail(void)
{
    lone l;
    pre_candidate(&l, TERMS(1, 1, 2, 2, 2, 2), 6, 5);
    begin_pull(&l, 5, 4);
    CHECK_EQ(lone_newest(&l, RAFT_MESSAGE_PULL, 3)->index, 6);
    hint(&l, 3, 3, 1); /* 3 has terms 1, 1, 1, 4, 4 */
    CHECK_EQ(lone_newest(&l, RAFT_MESSAGE_PULL, 3)->index, 2);
    CHECK_EQ(give(&l, 3, 2, 1, 1, 1, 0), RAFT_OK);
    CHECK_EQ(lone_status(&l).last_index, 3); /* 4, 5, 6 of term 2 are gone */
    CHECK_EQ(stored_term(&l, 3), 1);
    CHECK_EQ(give(&l, 3, 3, 1, 4, 2, 1), RAFT_OK);
    CHECK_EQ(stored_term(&l, 5), 4);
    CHECK_STR(lone_close(&l), "sound");
}

/* R2: what was pulled is durable before it is advertised. */
static void asks_again_only_when_what_was_pulled_is_durable(void)
{
    lone l;
    pre_candidate(&l, TERMS(1, 1), 2, 3);
    begin_pull(&l, 4, 2);
    l.persist_result = RAFT_PENDING;
    size_t before = lone_count(&l, RAFT_MESSAGE_PRE_VOTE, 2);
    CHECK_EQ(give(&l, 3, 2, 1, 2, 2, 1), RAFT_OK);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PRE_VOTE, 2), before);
    lone_settle(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PRE_VOTE, 2), before + 1);
    CHECK_EQ(lone_newest(&l, RAFT_MESSAGE_PRE_VOTE, 2)->index, 4);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- What must not be: certified and commit ------------------------------------------------- */

/*
 * The counter-example of the model: 1 has 1, 1 and acknowledged both to the leader of term 3; it
 * pulls 1, 2 from a server that the leader never reached. A heartbeat of term 3 that says "commit
 * 2" must not commit 2/2 in the place of 2/1.
 */
static void follower_of_three(lone *l)
{
    lone_init(l);
    l->members = 5;
    lone_seed(l, TERMS(1, 1), 2, 3, 0);
    CHECK_EQ(lone_restart(l), RAFT_OK);
    CHECK_EQ(lone_append(l, 5, 3, 2, 1, 3, 0, 0), RAFT_OK); /* both are the leader's */
    lone_settle(l);
    CHECK_EQ(lone_newest(l, RAFT_MESSAGE_APPEND_REPLY, 5)->index, 2);
    CHECK_EQ(raft_campaign(l->node), RAFT_OK);
    lone_poll(l);
}

static void a_term_is_left_behind_where_what_it_certified_is_cut(void)
{
    lone l;
    follower_of_three(&l);
    begin_pull(&l, 2, 2);
    hint(&l, 3, 1, 1);
    CHECK_EQ(lone_status(&l).term, 3);
    lone_clear(&l);
    lone_wait(&l, T / 2);
    CHECK_EQ(give(&l, 3, 1, 1, 2, 1, 1), RAFT_OK);
    CHECK_EQ(lone_status(&l).term, 4);
    CHECK_EQ(stored_term(&l, 2), 2);
    lone_log disk = lone_durable(&l);
    CHECK_EQ(disk.state.term, 4);
    CHECK_EQ(disk.state.vote, 0); /* raised by nobody's campaign */
    lone_log_free(&disk);
    CHECK_EQ(lone_heartbeat(&l, 5, 3, 2, 9), RAFT_OK);
    lone_settle(&l);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_EQ(lone_status(&l).applied_index, 0);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_APPEND_REPLY, 5), 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* The write that cuts is the one that raises the term, or a later one (R4). */
static void the_term_is_on_the_disk_before_the_log_is_cut(void)
{
    lone l;
    follower_of_three(&l);
    begin_pull(&l, 2, 2);
    hint(&l, 3, 1, 1);
    size_t first = l.write_count;
    CHECK_EQ(give(&l, 3, 1, 1, 2, 1, 1), RAFT_OK);
    int raised = 0;
    int cut = 0;
    for (size_t i = first; i < l.write_count; i++) {
        const raft_write *w = &l.writes[i].write;
        raised = raised || (w->has_state && w->state.term == 4);
        cut = cut || w->truncate_from == 2;
        CHECK(raised || !cut);
    }
    CHECK(cut);
    CHECK_STR(lone_close(&l), "sound");
}

/* Where only what was never certified changes, the term stays, but nothing counts as certified. */
static void a_pull_that_changes_the_log_forgets_what_was_certified(void)
{
    lone l;
    follower_of_three(&l);
    begin_pull(&l, 4, 2);
    CHECK_EQ(give(&l, 3, 2, 1, 2, 2, 0), RAFT_OK); /* behind what was certified */
    CHECK_EQ(lone_status(&l).term, 3);
    CHECK_EQ(lone_status(&l).last_index, 4);
    CHECK_EQ(lone_heartbeat(&l, 5, 3, 4, 9), RAFT_OK);
    lone_settle(&l);
    CHECK_EQ(lone_status(&l).commit_index, 0);
    CHECK_EQ(lone_newest(&l, RAFT_MESSAGE_HEARTBEAT_REPLY, 5)->refused, 1); /* it says so */
    CHECK_EQ(lone_append(&l, 5, 3, 2, 1, 3, 1, 2), RAFT_OK); /* the leader's log is 1, 1, 3 */
    lone_settle(&l);
    CHECK_EQ(stored_term(&l, 3), 3);
    CHECK_EQ(lone_status(&l).commit_index, 2);
    CHECK_STR(lone_close(&l), "sound");
}

static void a_chunk_after_an_accepted_append_is_ignored(void)
{
    lone l;
    follower_of_three(&l);
    begin_pull(&l, 4, 2);
    uint64_t round = lone_newest(&l, RAFT_MESSAGE_PULL, 3)->round;
    CHECK_EQ(lone_append(&l, 5, 3, 2, 1, 3, 2, 0), RAFT_OK); /* 1, 1, 3, 3 */
    lone_settle(&l);
    CHECK_EQ(lone_newest(&l, RAFT_MESSAGE_APPEND_REPLY, 5)->index, 4);
    lone_batch b = lone_batch_make(2, 3, 2);
    raft_message late = lone_message(RAFT_MESSAGE_PULL_REPLY, 3, 3);
    late.round = round;
    late.index = 2;
    late.index_term = 1;
    late.ranges[0] = lone_batch_range(&b);
    late.range_count = 1;
    CHECK_EQ(lone_receive(&l, &late), RAFT_OK);
    free(b.data);
    lone_settle(&l);
    CHECK_EQ(stored_term(&l, 3), 3);
    CHECK_EQ(stored_term(&l, 4), 3);
    CHECK_EQ(lone_status(&l).term, 3);
    CHECK_STR(lone_close(&l), "sound");
}

/* Contact without an append ends it as well; so does a higher term, whoever tells it. */
static void contact_or_a_higher_term_ends_a_pull(void)
{
    for (int how = 0; how < 3; how++) {
        lone l;
        follower_of_three(&l);
        begin_pull(&l, 4, 2);
        if (how == 0) {
            CHECK_EQ(lone_heartbeat(&l, 5, 3, 0, 9), RAFT_OK);
        } else {
            raft_message m =
                lone_message(how == 1 ? RAFT_MESSAGE_PULL_REPLY : RAFT_MESSAGE_VOTE_REPLY, 3, 8);
            m.round = lone_newest(&l, RAFT_MESSAGE_PULL, 3)->round;
            m.refused = 1;
            m.refused_index = how == 1 ? 2 : 0;
            CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
            CHECK_EQ(lone_status(&l).term, 8);
        }
        lone_settle(&l);
        CHECK_EQ(lone_status(&l).role, RAFT_ROLE_FOLLOWER);
        raft_term term = lone_status(&l).term;
        CHECK_EQ(give(&l, 3, 2, 1, 2, 2, 0), RAFT_OK);
        CHECK_EQ(lone_status(&l).last_index, 2);
        CHECK_EQ(lone_status(&l).term, term);
        CHECK_STR(lone_close(&l), "sound");
    }
}

static void replies_from_others_or_to_other_questions_change_nothing(void)
{
    lone l;
    pre_candidate(&l, TERMS(1, 1), 2, 3);
    begin_pull(&l, 6, 2);
    uint64_t round = lone_newest(&l, RAFT_MESSAGE_PULL, 3)->round;
    lone_batch b = lone_batch_make(2, 3, 1);
    raft_message m = lone_message(RAFT_MESSAGE_PULL_REPLY, 4, 3); /* not who was asked */
    m.round = round;
    m.index = 2;
    m.index_term = 1;
    m.ranges[0] = lone_batch_range(&b);
    m.range_count = 1;
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    m.from = 3;
    m.round = round - 1; /* another question */
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    m.round = round;
    m.term = 2; /* another term */
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    CHECK_EQ(lone_status(&l).last_index, 2);
    m.term = 3;
    m.index_term = 2; /* it agrees to what it was not asked about */
    CHECK_EQ(lone_receive(&l, &m), RAFT_EMALFORMED);
    m.index_term = 1;
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    CHECK_EQ(lone_status(&l).last_index, 3);
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK); /* the same once more */
    CHECK_EQ(lone_status(&l).last_index, 3);
    free(b.data);
    CHECK_STR(lone_close(&l), "sound");
}

/* I14: nothing that is committed here is ever asked about, nor replaced. */
static void nothing_is_cut_below_the_own_commit_index(void)
{
    lone l;
    lone_init(&l);
    l.members = 5;
    lone_seed(&l, TERMS(1, 1, 1), 3, 1, 0);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(lone_append(&l, 5, 1, 3, 1, 1, 0, 2), RAFT_OK);
    lone_settle(&l);
    CHECK_EQ(lone_status(&l).commit_index, 2);
    CHECK_EQ(raft_campaign(l.node), RAFT_OK);
    lone_poll(&l);
    begin_pull(&l, 9, 1);
    hint(&l, 3, 0, 0); /* compacted, or another history */
    CHECK_EQ(lone_newest(&l, RAFT_MESSAGE_PULL, 3)->index, 2);
    size_t asked = lone_count(&l, RAFT_MESSAGE_PULL, 3);
    hint(&l, 3, 0, 0); /* it does not have even that: the pull ends */
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PULL, 3), asked);
    CHECK_EQ(lone_status(&l).role, RAFT_ROLE_FOLLOWER);
    CHECK_EQ(lone_status(&l).last_index, 3);
    CHECK_STR(lone_close(&l), "sound");
}

/* A pull that brings nothing is not repeated at the speed of the network. */
static void a_source_that_has_nothing_to_give_is_left_until_the_timer(void)
{
    lone l;
    pre_candidate(&l, TERMS(1, 1), 2, 3);
    begin_pull(&l, 6, 2);
    size_t asked = lone_count(&l, RAFT_MESSAGE_PRE_VOTE, 2);
    CHECK_EQ(give(&l, 3, 2, 1, 2, 0, 1), RAFT_OK);
    CHECK_EQ(lone_status(&l).role, RAFT_ROLE_FOLLOWER);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PRE_VOTE, 2), asked);
    CHECK(raft_deadline(l.node) >= l.now_ms + T);
    CHECK_STR(lone_close(&l), "sound");
}

/*
 * What it acknowledged before a restart, a server does not know any more: it leaves the term before
 * it cuts anything, or that term's leader could go on counting what is gone.
 */
static void what_is_cut_after_a_restart_may_have_been_acknowledged(void)
{
    lone l;
    pre_candidate(&l, TERMS(1, 1, 2, 2), 4, 6);
    begin_pull(&l, 9, 5);
    hint(&l, 3, 2, 1);
    CHECK_EQ(lone_status(&l).term, 6);
    CHECK_EQ(give(&l, 3, 2, 1, 3, 2, 0), RAFT_OK);
    CHECK_EQ(lone_status(&l).term, 7);
    CHECK_EQ(lone_append(&l, 2, 6, 4, 2, 5, 1, 0), RAFT_OK); /* of the term that was left */
    lone_settle(&l);
    CHECK_EQ(lone_status(&l).last_index, 4);
    CHECK_EQ(stored_term(&l, 4), 3);
    CHECK_STR(lone_close(&l), "sound");
}

static void a_half_pulled_log_is_legal_and_survives_a_crash(void)
{
    lone l;
    pre_candidate(&l, TERMS(1, 1, 2, 2), 4, 6);
    begin_pull(&l, 9, 5);
    hint(&l, 3, 2, 1);
    CHECK_EQ(give(&l, 3, 2, 1, 3, 2, 0), RAFT_OK);
    lone_crash(&l);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(lone_status(&l).last_index, 4);
    CHECK_EQ(stored_term(&l, 4), 3);
    CHECK_EQ(lone_append(&l, 4, 7, 4, 3, 5, 1, 0), RAFT_OK); /* whoever leads goes on from there */
    lone_settle(&l);
    CHECK_EQ(lone_status(&l).last_index, 5);
    CHECK_STR(lone_close(&l), "sound");
}

static void without_memory_the_question_is_asked_again(void)
{
    lone l;
    pre_candidate(&l, TERMS(1, 1), 2, 3);
    begin_pull(&l, 900, 2);
    l.fail_after = 0;
    CHECK_EQ(give(&l, 3, 2, 1, 2, 800, 0), RAFT_ENOMEM);
    l.fail_after = -1;
    CHECK_EQ(lone_status(&l).last_index, 2);
    size_t asked = lone_count(&l, RAFT_MESSAGE_PULL, 3);
    lone_wait(&l, T / 2);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PULL, 3), asked + 1);
    CHECK_EQ(give(&l, 3, 2, 1, 2, 800, 0), RAFT_OK);
    CHECK_EQ(lone_status(&l).last_index, 802);
    CHECK_STR(lone_close(&l), "sound");
}

static void with_no_pull_a_worse_log_just_loses(void)
{
    lone l;
    lone_init(&l);
    l.members = 5;
    l.options.no_pull = 1;
    lone_seed(&l, TERMS(1, 1), 2, 3, 0);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(raft_campaign(l.node), RAFT_OK);
    lone_poll(&l);
    grant(&l, 2);
    for (raft_id from = 3; from <= 5; from++) {
        raft_message m = pre_vote_answer(&l, from);
        m.refused = 1;
        m.flags = RAFT_FLAG_LOG;
        m.index = 6;
        m.index_term = 2;
        CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    }
    lone_poll(&l);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PULL, 0), 0);
    CHECK_EQ(lone_status(&l).role, RAFT_ROLE_FOLLOWER);
    CHECK_STR(lone_close(&l), "sound");
}

/* R64: a pull that would pass the last term, or a campaign after it, does not happen. */
static void at_the_last_term_a_pull_neither_wraps_nor_campaigns(void)
{
    lone l;
    raft_term top = INT64_MAX;
    lone_init(&l);
    l.members = 5;
    lone_seed(&l, TERMS(1, 1), 2, top - 1, 0);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(lone_append(&l, 5, top - 1, 2, 1, 3, 0, 0), RAFT_OK);
    lone_settle(&l);
    CHECK_EQ(raft_campaign(l.node), RAFT_OK);
    lone_poll(&l);
    begin_pull(&l, 2, 2);
    hint(&l, 3, 1, 1);
    CHECK_EQ(give(&l, 3, 1, 1, 2, 1, 1), RAFT_OK); /* what was certified goes: the last term */
    CHECK_EQ(lone_status(&l).term, top);
    CHECK_EQ(lone_status(&l).role, RAFT_ROLE_FOLLOWER);
    lone_wait(&l, 4 * LONGEST);
    CHECK_EQ(lone_status(&l).term, top);
    CHECK_EQ(lone_status(&l).role, RAFT_ROLE_FOLLOWER);
    CHECK_EQ(raft_campaign(l.node), RAFT_ELIMIT);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- Being pulled from ---------------------------------------------------------------------- */

/* The n-th term, as one of server 2's, which asks here. */
static raft_term two(raft_term n)
{
    return lone_term(2, n);
}

/* A voter that has given 2 its vote, its promise, in this term: in Multi-Paxos only 2 may ask (P4). */
static void asked_by_2(lone *l, const raft_term *terms, size_t count, raft_term term)
{
    lone_init(l);
    lone_seed_by(l, 2, terms, count, term, 2);
    CHECK_EQ(lone_restart(l), RAFT_OK);
}

static raft_message question(raft_id from, raft_term term, raft_index index, raft_term index_term)
{
    raft_message m = lone_message(RAFT_MESSAGE_PULL, from, term);
    m.round = 31;
    m.index = index;
    m.index_term = index_term;
    return m;
}

static void gives_runs_of_one_term_and_says_where_it_ends(void)
{
    lone l;
    asked_by_2(&l, TERMS(1, 1, 2, 2, 2), 5, 2);
    raft_message m = question(2, two(2), 1, two(1));
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    const raft_message *reply = lone_newest(&l, RAFT_MESSAGE_PULL_REPLY, 2);
    CHECK_EQ(reply->round, 31);
    CHECK_EQ(reply->index, 1);
    CHECK_EQ(reply->ranges[0].count, 1); /* one run of one term */
    CHECK_EQ(reply->ranges[0].term, two(1));
    CHECK_EQ(reply->flags, 0);
    m = question(2, two(2), 2, two(1));
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    reply = lone_newest(&l, RAFT_MESSAGE_PULL_REPLY, 2);
    CHECK_EQ(reply->ranges[0].count, 3);
    CHECK_EQ(reply->flags, RAFT_FLAG_LAST);
    CHECK_STR(lone_close(&l), "sound");
}

/* In Multi-Paxos all that was written before the promise is durable with it (R4, P2). */
static void gives_nothing_that_is_on_its_way_to_the_disk(void)
{
    lone l;
    asked_by_2(&l, TERMS(1, 1, 2, 2, 2), 5, 2);
    l.persist_result = RAFT_PENDING;
    CHECK_EQ(lone_append(&l, 3, 2, 5, 2, 2, 4, 0), RAFT_OK);
    lone_poll(&l);
    l.now_ms += 2 * LONGEST; /* the leader that sent it has not been heard for long */
    lone_poll(&l);
    raft_message m = question(2, 2, 4, 2);
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    const raft_message *reply = lone_newest(&l, RAFT_MESSAGE_PULL_REPLY, 2);
    CHECK_EQ(reply->ranges[0].count, 1);
    CHECK_EQ(reply->flags, RAFT_FLAG_LAST);
    lone_settle(&l);
    CHECK_STR(lone_close(&l), "sound");
}

static void what_it_does_not_know_it_answers_with_a_hint(void)
{
    lone l;
    asked_by_2(&l, TERMS(1, 1, 2, 4, 4), 5, 4);
    raft_message m = question(2, two(4), 9, two(3));
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    const raft_message *reply = lone_newest(&l, RAFT_MESSAGE_PULL_REPLY, 2);
    CHECK_EQ(reply->refused, 1);
    CHECK_EQ(reply->refused_index, 9);
    CHECK_EQ(reply->index, 3);
    CHECK_EQ(reply->index_term, two(2));
    CHECK_STR(lone_close(&l), "sound");
}

static void who_follows_a_live_leader_gives_nothing_and_takes_no_term(void)
{
    lone l;
    lone_init(&l);
    raft_term led = lone_term(3, 4);
    lone_seed(&l, (raft_term[]){two(1), two(1)}, 2, led, 0);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    CHECK_EQ(lone_heartbeat(&l, 3, led, 0, 1), RAFT_OK);
    lone_settle(&l);
    raft_message m = question(2, two(9), 1, two(1));
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_settle(&l);
    CHECK_EQ(lone_status(&l).term, led);
    CHECK_EQ(lone_status(&l).leader, 3);
    CHECK_EQ(lone_count(&l, RAFT_MESSAGE_PULL_REPLY, 2), 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* R18: who asks from a lower term learns the higher one. */
static void a_question_from_a_lower_term_is_answered_with_the_own_term(void)
{
    lone l;
    lone_init(&l);
    raft_term own = lone_term(3, 4);
    lone_seed(&l, (raft_term[]){two(1), two(1)}, 2, own, 0);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    raft_message m = question(2, two(3), 1, two(1));
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_settle(&l);
    CHECK_EQ(lone_newest(&l, RAFT_MESSAGE_PULL_REPLY, 2)->term, own);
    CHECK_STR(lone_close(&l), "sound");
}

/* What is told of the own log with a refusal can be pulled: it is durable. */
static void a_refused_pre_vote_tells_the_last_durable_entry_and_that_it_is_for_the_log(void)
{
    lone l;
    lone_init(&l);
    lone_seed(&l, TERMS(1, 1, 2), 3, 2, 0);
    CHECK_EQ(lone_restart(&l), RAFT_OK);
    raft_message m = lone_message(RAFT_MESSAGE_PRE_VOTE, 2, 2);
    m.asked_term = 3;
    m.round = 8;
    m.index = 3;
    m.index_term = 1;
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_poll(&l);
    const raft_message *reply = lone_newest(&l, RAFT_MESSAGE_PRE_VOTE_REPLY, 2);
    CHECK_EQ(reply->refused, 1);
    CHECK_EQ(reply->flags, RAFT_FLAG_LOG);
    CHECK_EQ(reply->index, 3);
    CHECK_EQ(reply->index_term, 2);
    CHECK_EQ(lone_heartbeat(&l, 3, 2, 0, 1), RAFT_OK); /* now it is bound besides */
    CHECK_EQ(lone_receive(&l, &m), RAFT_OK);
    lone_settle(&l);
    reply = lone_newest(&l, RAFT_MESSAGE_PRE_VOTE_REPLY, 2);
    CHECK_EQ(reply->refused, 1);
    CHECK_EQ(reply->flags, 0);
    CHECK_STR(lone_close(&l), "sound");
}

/* ---- Groups --------------------------------------------------------------------------------- */

/*
 * Five servers, only the hub reaches a quorum, and it lacks the last entries: the leader dies with
 * the hub cut off from what came last.
 */
static struct cluster *constrained(uint64_t seed, uint32_t append_bytes, int no_pull)
{
    struct cluster *cluster = cluster_create(5);
    for (raft_id id = 1; id <= 5; id++) {
        cluster->nodes[id].options.seed = seed * 7919;
        cluster->nodes[id].options.append_bytes_max = append_bytes;
        cluster->nodes[id].options.no_pull = (uint8_t)no_pull;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster->latency_ms = seed % 4 * 5;
    cluster_run(cluster, T);
    cluster_isolate(cluster, 3);
    for (int i = 0; i < 20; i++) {
        CHECK(cluster_propose(cluster, 1, "the hub lacks this") > 0);
    }
    cluster_run(cluster, T / 2);
    cluster_heal_all(cluster);
    for (raft_id i = 1; i <= 5; i++) {
        for (raft_id j = i + 1; j <= 5; j++) {
            if (i != 3 && j != 3) {
                cluster_split(cluster, i, j);
            }
        }
    }
    cluster_split(cluster, 1, 3); /* the leader is gone altogether */
    return cluster;
}

static int hub_leads(struct cluster *cluster)
{
    return cluster_role(cluster, 3) == RAFT_ROLE_LEADER &&
           cluster_commit(cluster, 3) == cluster_status(cluster, 3).last_index;
}

static void a_constrained_election_is_won_by_the_hub(void)
{
    for (uint64_t seed = 0; seed < 25; seed++) {
        struct cluster *cluster = constrained(seed, seed % 2 ? 64 : 4096, 0);
        CHECK(cluster_run_until(cluster, hub_leads, FOUR_TIMEOUTS));
        CHECK(cluster_status(cluster, 3).counters.pulls > 0);
        CHECK_STR(cluster_applied_text(cluster, 3, 20 + cluster_noops(cluster)),
                  "the hub lacks this");
        cluster_heal_all(cluster);
        cluster_run(cluster, FOUR_TIMEOUTS);
        CHECK(cluster_converged(cluster));
        CLUSTER_DONE(cluster);
    }
}

/* The documented stall; it ends with the partition. */
static void without_the_pull_a_constrained_election_waits_for_the_network(void)
{
    struct cluster *cluster = constrained(3, 4096, 1);
    cluster_run(cluster, 10 * FOUR_TIMEOUTS);
    CHECK_EQ(cluster_role(cluster, 3) == RAFT_ROLE_LEADER, 0);
    CHECK_EQ(cluster_status(cluster, 3).counters.pulls, 0);
    cluster_heal_all(cluster);
    cluster_run(cluster, FOUR_TIMEOUTS);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

static void questions_and_answers_that_are_lost_are_repeated(void)
{
    for (raft_id lost = 0; lost < 2; lost++) {
        struct cluster *cluster = constrained(7 + lost, 64, 0);
        cluster_hold(cluster, 3, 2);
        cluster_hold(cluster, 3, 4);
        cluster_hold(cluster, 3, 5);
        int dropped = 0;
        uint64_t since = cluster->now_ms;
        while (!hub_leads(cluster) && cluster->now_ms < since + 2 * FOUR_TIMEOUTS) {
            cluster_run(cluster, 5);
            for (raft_id to = 2; to <= 5; to++) {
                while (to != 3 && cluster_queued(cluster, 3, to) > 0) {
                    int kind = cluster_peek(cluster, 3, to, 0)->message.kind;
                    if (kind == RAFT_MESSAGE_PULL && dropped++ % 3 == 0) {
                        cluster_drop(cluster, 3, to);
                    } else {
                        cluster_deliver(cluster, 3, to);
                    }
                }
            }
        }
        CHECK(dropped > 3);
        CHECK(hub_leads(cluster));
        CLUSTER_DONE(cluster);
    }
}

/* The source goes away in the midst: another one takes its place, what was pulled stays. */
static void a_source_that_dies_is_replaced(void)
{
    struct cluster *cluster = constrained(5, 64, 0);
    uint64_t since = cluster->now_ms;
    while (cluster_status(cluster, 3).last_index < 8 && cluster->now_ms < since + FOUR_TIMEOUTS) {
        cluster_run(cluster, 1);
    }
    CHECK_EQ(cluster_role(cluster, 3),
             cluster_noops(cluster) ? RAFT_ROLE_PRE_CANDIDATE : RAFT_ROLE_CANDIDATE);
    raft_id source = 0;
    uint64_t at = 0;
    const struct cluster_message *pull;
    while ((pull = cluster_sent(cluster, at, 3, 0, RAFT_MESSAGE_PULL)) != NULL) {
        source = pull->message.to;
        at = pull->number;
    }
    raft_index half = cluster_status(cluster, 3).last_index;
    CHECK(source != 0 && half < 21);
    cluster_crash(cluster, source);
    CHECK(cluster_run_until(cluster, hub_leads, FOUR_TIMEOUTS));
    CLUSTER_DONE(cluster);
}

/* With any other server alive and connected the pull is only a short cut. */
static void a_follower_that_is_behind_and_first_to_time_out_catches_up_and_leads(void)
{
    struct cluster *cluster = cluster_new(3);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 3);
    for (int i = 0; i < 5; i++) {
        CHECK(cluster_propose(cluster, 1, "3 lacks this") > 0);
    }
    cluster_run(cluster, T);
    cluster_crash(cluster, 1);
    cluster_heal_all(cluster);
    cluster->now_ms += T;
    CHECK_EQ(raft_campaign(cluster->nodes[3].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_stable_leader(cluster), 3);
    CHECK_EQ(cluster_status(cluster, 3).counters.pulls, 1);
    CHECK_STR(cluster_applied_text(cluster, 3, 5 + cluster_noops(cluster)), "3 lacks this");
    CLUSTER_DONE(cluster);
}

int main(void)
{
    RUN(pulls_when_yes_and_no_for_the_log_make_a_quorum);
    RUN(refusals_for_other_reasons_are_no_help);
    RUN(pulls_from_the_highest_last_term_and_then_index);
    RUN(what_is_pulled_is_taken_in_and_then_it_asks_again);
    RUN(finds_the_point_of_joining_by_hints_and_replaces_the_tail);
    RUN(asks_again_only_when_what_was_pulled_is_durable);
    RUN(a_term_is_left_behind_where_what_it_certified_is_cut);
    RUN(the_term_is_on_the_disk_before_the_log_is_cut);
    RUN(a_pull_that_changes_the_log_forgets_what_was_certified);
    RUN(a_chunk_after_an_accepted_append_is_ignored);
    RUN(contact_or_a_higher_term_ends_a_pull);
    RUN(replies_from_others_or_to_other_questions_change_nothing);
    RUN(nothing_is_cut_below_the_own_commit_index);
    RUN(a_source_that_has_nothing_to_give_is_left_until_the_timer);
    RUN(what_is_cut_after_a_restart_may_have_been_acknowledged);
    RUN(a_half_pulled_log_is_legal_and_survives_a_crash);
    RUN(without_memory_the_question_is_asked_again);
    RUN(with_no_pull_a_worse_log_just_loses);
    RUN(at_the_last_term_a_pull_neither_wraps_nor_campaigns);
    RUN_BOTH(gives_runs_of_one_term_and_says_where_it_ends);
    RUN(gives_nothing_that_is_on_its_way_to_the_disk);
    RUN_BOTH(what_it_does_not_know_it_answers_with_a_hint);
    RUN_BOTH(who_follows_a_live_leader_gives_nothing_and_takes_no_term);
    RUN_BOTH(a_question_from_a_lower_term_is_answered_with_the_own_term);
    RUN(a_refused_pre_vote_tells_the_last_durable_entry_and_that_it_is_for_the_log);
    RUN_BOTH(a_constrained_election_is_won_by_the_hub);
    RUN(without_the_pull_a_constrained_election_waits_for_the_network);
    RUN_BOTH(questions_and_answers_that_are_lost_are_repeated);
    RUN_BOTH(a_source_that_dies_is_replaced);
    RUN_BOTH(a_follower_that_is_behind_and_first_to_time_out_catches_up_and_leads);
    return check_done();
}
