/* Writes that wait for their entry: each gets one answer, and the answers keep their order. */
#include "check.h"
#include "raftkv/pending.h"

static struct pending pending;

static void begin(void)
{
    pending_free(&pending);
}

/* A waiter is told from others by its number. */
static void add(raft_index index, raft_term term, uint64_t number)
{
    struct waiter waiter = {0, 0, number};

    CHECK_EQ(pending_reserve(&pending, 1), 0);
    pending_add(&pending, index, term, &waiter);
}

static void expect_settled(raft_index index, raft_term term, enum pending_outcome outcome,
                           uint64_t number)
{
    struct waiter waiter = {0, 0, 0};

    CHECK_EQ(pending_settle(&pending, index, term, &waiter), outcome);
    if (outcome != PENDING_NONE) {
        CHECK_EQ(waiter.number, number);
    }
}

static void expect_marked(enum pending_outcome outcome, uint64_t number)
{
    struct waiter waiter = {0, 0, 0};

    CHECK_EQ(pending_take_marked(&pending, &waiter), outcome);
    if (outcome != PENDING_NONE) {
        CHECK_EQ(waiter.number, number);
    }
}

static void an_entry_answers_the_one_that_waits_for_it(void)
{
    begin();
    add(5, 2, 50);
    add(6, 2, 60);
    expect_settled(4, 2, PENDING_NONE, 0);
    expect_settled(5, 2, PENDING_APPLIED, 50);
    expect_settled(5, 2, PENDING_NONE, 0);
    expect_settled(6, 2, PENDING_APPLIED, 60);
    CHECK_EQ(pending.count, 0);
}

static void entries_of_others_answer_nobody(void)
{
    begin();
    expect_settled(1, 1, PENDING_NONE, 0);
    add(5, 2, 50);
    expect_settled(4, 1, PENDING_NONE, 0);
    CHECK_EQ(pending.count, 1);
}

static void an_entry_of_a_later_term_drops_what_was_proposed_before(void)
{
    begin();
    add(5, 2, 50);
    add(6, 2, 60);
    expect_settled(5, 3, PENDING_DROPPED, 50);
    expect_settled(5, 3, PENDING_DROPPED, 60);
    expect_settled(5, 3, PENDING_NONE, 0);
}

static void the_same_index_may_be_proposed_again_in_a_later_term(void)
{
    begin();
    add(5, 2, 50);
    add(5, 4, 51);
    expect_settled(5, 4, PENDING_DROPPED, 50);
    expect_settled(5, 4, PENDING_APPLIED, 51);
}

static void what_events_decide_leaves_in_order(void)
{
    begin();
    add(5, 2, 50);
    add(6, 2, 60);
    add(7, 2, 70);
    pending_mark(&pending, 6, 6, 2, PENDING_DROPPED);
    expect_marked(PENDING_NONE, 0);
    expect_settled(5, 2, PENDING_APPLIED, 50);
    expect_marked(PENDING_DROPPED, 60);
    expect_marked(PENDING_NONE, 0);
    CHECK_EQ(pending.count, 1);
}

static void an_event_concerns_its_own_term_alone(void)
{
    begin();
    add(5, 2, 50);
    add(5, 4, 51);
    pending_mark(&pending, 1, 9, 2, PENDING_UNKNOWN);
    expect_marked(PENDING_UNKNOWN, 50);
    expect_marked(PENDING_NONE, 0);
}

static void giving_up_spares_the_present_term(void)
{
    begin();
    add(5, 2, 50);
    add(6, 2, 60);
    add(7, 4, 70);
    pending_mark(&pending, 5, 5, 2, PENDING_DROPPED);
    pending_give_up(&pending, 4);
    expect_marked(PENDING_DROPPED, 50);
    expect_marked(PENDING_UNKNOWN, 60);
    expect_marked(PENDING_NONE, 0);
    CHECK_EQ(pending.count, 1);
}

static void a_late_answer_after_giving_up_finds_nobody(void)
{
    begin();
    add(5, 2, 50);
    pending_give_up(&pending, RAFT_NEVER);
    expect_marked(PENDING_UNKNOWN, 50);
    expect_settled(5, 2, PENDING_NONE, 0);
}

static void thousands_keep_their_order_while_the_ring_grows_and_turns(void)
{
    uint64_t added = 0, settled = 0;

    begin();
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 100 + round; i++) {
            added++;
            add(added, 1, added);
        }
        for (int i = 0; i < 90 + round; i++) {
            settled++;
            expect_settled(settled, 1, PENDING_APPLIED, settled);
        }
    }
    while (settled < added) {
        settled++;
        expect_settled(settled, 1, PENDING_APPLIED, settled);
    }
    CHECK_EQ(pending.count, 0);
    begin();
}

int main(void)
{
    RUN(an_entry_answers_the_one_that_waits_for_it);
    RUN(entries_of_others_answer_nobody);
    RUN(an_entry_of_a_later_term_drops_what_was_proposed_before);
    RUN(the_same_index_may_be_proposed_again_in_a_later_term);
    RUN(what_events_decide_leaves_in_order);
    RUN(an_event_concerns_its_own_term_alone);
    RUN(giving_up_spares_the_present_term);
    RUN(a_late_answer_after_giving_up_finds_nobody);
    RUN(thousands_keep_their_order_while_the_ring_grows_and_turns);
    return check_done();
}
