/*
 * Proposals that wait for their entry: each gets one answer, and the answers keep their order.
 *
 * The source is compiled in with an allocator of our own, so that memory can fail.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"

static long allocations_left = -1; /* until one fails; negative: none does */

static void *fallible_malloc(size_t size)
{
    return allocations_left >= 0 && allocations_left-- == 0 ? NULL : malloc(size);
}

#define malloc fallible_malloc
#include "pending.c"
#undef malloc

/* What a host might want to remember of whoever waits. */
struct waiter {
    uint32_t place;
    uint32_t generation;
    uint64_t number;
};

static struct pending pending;

static void begin(void)
{
    pending_free(&pending);
    pending_init(&pending, sizeof(struct waiter));
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

/* 21 bytes: neither a power of two nor aligned to anything. */
static void a_waiter_may_be_of_any_size(void)
{
    struct pending odd;
    unsigned char waiter[21], out[22];

    pending_init(&odd, sizeof waiter);
    for (unsigned round = 0; round < 3; round++) {
        CHECK_EQ(pending_reserve(&odd, 300 * (round + 1)), 0);
        for (unsigned i = 0; i < 300 * (round + 1); i++) {
            memset(waiter, (int)(i % 251), sizeof waiter);
            pending_add(&odd, i + 1, round + 1, waiter);
        }
        for (unsigned i = 0; i < 300 * (round + 1); i++) {
            memset(waiter, (int)(i % 251), sizeof waiter);
            memset(out, 255, sizeof out);
            CHECK_EQ(pending_settle(&odd, i + 1, round + 1, out), PENDING_APPLIED);
            CHECK(memcmp(out, waiter, sizeof waiter) == 0);
            CHECK_EQ(out[sizeof waiter], 255);
        }
    }
    pending_free(&odd);
}

/* There is a way back as long as nothing is proposed. */
static void where_memory_fails_nothing_has_changed(void)
{
    begin();
    add(5, 2, 50);
    for (long n = 0; n < 2; n++) {
        allocations_left = n;
        CHECK_EQ(pending_reserve(&pending, 1000), -1);
        allocations_left = -1;
        CHECK_EQ(pending.count, 1);
    }
    CHECK_EQ(pending_reserve(&pending, SIZE_MAX), -1);
    CHECK_EQ(pending_reserve(&pending, 1000), 0);
    add(6, 2, 60);
    expect_settled(5, 2, PENDING_APPLIED, 50);
    expect_settled(6, 2, PENDING_APPLIED, 60);
    begin();
}

static void what_was_never_begun_may_be_freed(void)
{
    struct pending nothing = {0};

    pending_free(&nothing);
    CHECK_EQ(nothing.count, 0);
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
    RUN(a_waiter_may_be_of_any_size);
    RUN(where_memory_fails_nothing_has_changed);
    RUN(what_was_never_begun_may_be_freed);
    RUN(thousands_keep_their_order_while_the_ring_grows_and_turns);
    return check_done();
}
