/*
 * raftkv's processes under Multi-Paxos: what clients see is the same, though a leader appends
 * nothing of its own, and a directory is of one protocol (P8).
 */
#define _XOPEN_SOURCE 700

#include "servers.h"

static const char *const paxos[] = {"--protocol", "multipaxos", QUICK, NULL};

/* A term is led by its owner (P1): founders have the slots 1, 2 and 3. */
static void nothing_is_lost_with_a_leader(void)
{
    int leader;

    begin(3, paxos);
    leader = connect_to_leader();
    CHECK(info_has("raft", "protocol:multipaxos"));
    CHECK_EQ(info_number("raft", "current_term") & 0xffff, (uint64_t)leader + 1);
    set_keys("before", 50);
    fleet_kill(&fleet, leader);
    CHECK(connect_to_leader() != leader);
    expect_keys("before", 50);
    set_keys("after", 50);
    start(leader);
    for (int i = 0; i < 3; i++) {
        fleet_kill(&fleet, i);
    }
    for (int i = 0; i < 3; i++) {
        start(i);
    }
    connect_to_leader();
    expect_keys("before", 50);
    expect_keys("after", 50);
    end();
}

/* A write of the last term waits for nothing that a new leader would have to append (P7, P11). */
static void a_new_leader_answers_reads_before_any_write(void)
{
    int leader;
    uint64_t last, deadline = now_ms() + WAIT_MS;

    begin(3, paxos);
    leader = connect_to_leader();
    set_keys("key", 3);
    last = info_number("raft", "last_index");
    fleet_kill(&fleet, leader);
    do {
        connect_to((leader + 1) % 3);
        ask("GET key2");
        if (reply.kind != REPLY_BULK) {
            connect_to((leader + 2) % 3);
            ask("GET key2");
        }
    } while (reply.kind != REPLY_BULK && now_ms() < deadline);
    CHECK(slice_equal(reply.text, slice_of("value2")));
    CHECK_EQ(info_number("raft", "last_index"), last);
    end();
}

static void keys_expire_under_a_leader_that_writes_nothing(void)
{
    uint64_t deadline = now_ms() + WAIT_MS;

    begin(1, paxos);
    connect_to_leader();
    expect_text("SET gone soon PX 200", "OK");
    fleet_kill(&fleet, 0);
    start(0);
    connect_to(0);
    do { /* it has to lead and to let time pass by itself */
        sleep_ms(10);
        ask("DBSIZE");
    } while ((reply.kind != REPLY_INTEGER || reply.integer != 1) && now_ms() < deadline);
    expect_integer("DBSIZE", 1);
    expect_integer("EXISTS leader", 1);
    end();
}

static void expect_other_protocol(const char *wrong, const char *right)
{
    char directory[320];

    begin(1, right[0] == 'm' ? paxos : quick);
    connect_to_leader();
    fleet_kill(&fleet, 0);
    directory_of(0, directory);
    expect_refusal(1, "belongs to a cluster that does not agree by", "--id", "1", "--dir",
                   directory, "--listen", "127.0.0.1:0", "--protocol", wrong, NULL);
    start(0); /* it was left as it was */
    connect_to_leader();
    expect_text("GET leader", "found");
    end();
}

static void a_directory_of_the_other_protocol_is_refused(void)
{
    expect_other_protocol("multipaxos", "raft");
    expect_other_protocol("raft", "multipaxos");
}

int main(int argc, char **argv)
{
    (void)argc;
    if (find_program(argv[0])) {
        printf("skip: %s is not built\n", program);
        return check_done();
    }
    caller_init(&caller);
    RUN(nothing_is_lost_with_a_leader);
    RUN(a_new_leader_answers_reads_before_any_write);
    RUN(keys_expire_under_a_leader_that_writes_nothing);
    RUN(a_directory_of_the_other_protocol_is_refused);
    end();
    caller_free(&caller);
    return check_done();
}
