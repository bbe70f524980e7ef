/*
 * The write-ahead log on a disk that fails: every call in every way, and the power at every call.
 * Whatever happens, what was reported stored is there when the log is opened again, and what is
 * there is the beginning of what was issued.
 */
#include "check.h"
#include "journal.h"

#include <stdlib.h>

enum { SESSIONS = 2, BATCHES = 6 };

static struct journal journal;

static void begin(uint64_t seed)
{
    journal_free(&journal);
    journal_init(&journal, seed);
}

static void describe(const char *what, uint64_t call, uint64_t seed)
{
    printf("    %s at call %" PRIu64 ", seed %" PRIu64 ": %s; %s %s:%" PRIu64 "\n", what, call,
           seed, journal.fault != NULL ? journal.fault : "", journal.error.text, journal.error.file,
           journal.error.offset);
}

/* Opens, writes and closes (or kills), several times. The code of the first thing that failed. */
static int sessions(void)
{
    for (int i = 0; i < SESSIONS; i++) {
        int result = journal_open(&journal);
        result = result == RAFT_OK ? journal_run(&journal, BATCHES) : result;
        if (result != RAFT_OK) {
            return result;
        }
        if (i % 2 == 0) {
            journal_kill(&journal);
        } else if (journal_close(&journal) != RAFT_OK) {
            return RAFT_ESTORAGE;
        }
    }
    return RAFT_OK;
}

/* How many calls that takes with that seed, where nothing fails. */
static uint64_t calls_of_sessions(uint64_t seed)
{
    begin(seed);
    CHECK_EQ(sessions(), RAFT_OK);
    return disk_calls(journal.disk);
}

/* Opening works, twice with the same result, and the log can be used. */
static int recovers(void)
{
    if (journal_open(&journal) != RAFT_OK) {
        return 0;
    }
    size_t first = journal.replayed_count;
    journal_kill(&journal);
    if (journal_open(&journal) != RAFT_OK || journal.replayed_count != first ||
        journal_run(&journal, 2) != RAFT_OK) {
        return 0;
    }
    journal_crash(&journal);
    if (journal_open(&journal) != RAFT_OK) {
        return 0;
    }
    return journal_close(&journal) == RAFT_OK && journal_open(&journal) == RAFT_OK;
}

static void nothing_stored_is_lost_whenever_the_power_fails(void)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        uint64_t calls = calls_of_sessions(seed);
        for (uint64_t call = 1; call <= calls; call++) {
            begin(seed);
            disk_fail_at(journal.disk, call, DISK_FAULT_CRASH, 1);
            sessions();
            journal_crash(&journal);
            if (!recovers()) {
                describe("power failure", call, seed);
                CHECK(0);
            }
        }
    }
}

/* From one crash on, many disks that it could have left. */
static void nothing_stored_is_lost_whatever_sectors_the_crash_keeps(void)
{
    for (uint64_t seed = 100; seed < 500; seed++) {
        begin(seed);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        uint64_t call = disk_calls(journal.disk) + 1 + seed % 17;
        disk_fail_at(journal.disk, call, DISK_FAULT_CRASH, 1);
        journal_run(&journal, 12);
        journal_crash(&journal);
        if (!recovers()) {
            describe("power failure", call, seed);
            CHECK(0);
        }
    }
}

/* Several calls write it, and the sectors of all of them are lost as the crash likes. */
static void a_batch_of_many_writes_is_torn_anywhere(void)
{
    for (uint64_t seed = 500; seed < 700; seed++) {
        begin(seed);
        journal.options.segment_bytes = 65536;
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        CHECK_EQ(journal_run(&journal, 2), RAFT_OK);
        disk_fail_at(journal.disk, disk_calls(journal.disk) + 1 + seed % 6, DISK_FAULT_CRASH, 1);
        for (uint64_t i = 0; i < 150; i++) {
            CHECK_EQ(journal_append_sized(&journal, 1 + i % 5, 8 * (1 + (size_t)(seed % 30))),
                     RAFT_PENDING);
        }
        journal_commit(&journal);
        journal_crash(&journal);
        if (!recovers()) {
            describe("power failure", seed % 6, seed);
            CHECK(0);
        }
    }
}

/* Nobody promised that they are stored, but nothing else may come back in their place. */
static void without_syncs_a_crash_leaves_a_beginning_or_a_refusal(void)
{
    int opened = 0;
    for (uint64_t seed = 700; seed < 1000; seed++) {
        begin(seed);
        journal.options.sync_never = 1;
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        CHECK_EQ(journal_run(&journal, 10), RAFT_OK);
        journal_crash(&journal);
        journal.stored_count = 0;
        int result = journal_open(&journal);
        CHECK(result == RAFT_OK || result == RAFT_ECORRUPT);
        opened += result == RAFT_OK;
    }
    CHECK(opened > 0);
}

/* The recovery from a crash is itself cut short, and again. */
static void a_crash_during_recovery_loses_nothing(void)
{
    for (uint64_t seed = 1000; seed < 1300; seed++) {
        begin(seed);
        for (uint64_t round = 0; round < 6; round++) {
            uint64_t ahead = 1 + rng_below(&journal.rng, round % 2 == 0 ? 60 : 16);
            uint64_t call = disk_calls(journal.disk) + ahead;
            disk_fail_at(journal.disk, call, DISK_FAULT_CRASH, 1);
            int result = journal_open(&journal);
            if (result != RAFT_OK && !disk_is_off(journal.disk)) {
                describe("recovery", call, seed);
                CHECK(0);
            }
            if (result == RAFT_OK) {
                journal_run(&journal, 5);
            }
            journal_crash(&journal);
        }
        if (!recovers()) {
            describe("recovery", 0, seed);
            CHECK(0);
        }
    }
}

/* After a call that failed: is the log open and stopped, or closed, and never half of each? */
static void check_stopped(void)
{
    if (journal.log == NULL) {
        return;
    }
    size_t stored = journal.stored_count;
    CHECK(wal_failed(journal.log) != 0);
    CHECK_EQ(journal_append(&journal), RAFT_ESTORAGE);
    CHECK_EQ(journal_commit(&journal), RAFT_ESTORAGE);
    CHECK_EQ(journal.stored_count, stored);
    CHECK(journal.fault == NULL);
    CHECK_EQ(journal_close(&journal), RAFT_ESTORAGE);
}

static void try_fault(enum disk_fault fault, int lasting, uint64_t call, uint64_t seed)
{
    begin(seed);
    disk_fail_at(journal.disk, call, fault, lasting);
    int result = sessions();
    if (result != RAFT_OK) {
        CHECK_EQ(result, RAFT_ESTORAGE);
        check_stopped();
    }
    disk_fail_at(journal.disk, 0, DISK_FAULT_NONE, 0);
    if (seed % 2 == 0) {
        journal_crash(&journal);
    } else {
        disk_kill(journal.disk);
    }
    if (!recovers()) {
        describe("fault", call, seed);
        CHECK(0);
    }
}

static void every_call_fails_in_turn(enum disk_fault fault, int lasting)
{
    for (uint64_t seed = 1; seed <= 2; seed++) {
        uint64_t calls = calls_of_sessions(seed);
        for (uint64_t call = 1; call <= calls; call++) {
            try_fault(fault, lasting, call, seed);
        }
    }
}

static void every_call_fails_once_with_an_io_error(void)
{
    every_call_fails_in_turn(DISK_FAULT_EIO, 0);
}

static void every_call_fails_for_good_with_an_io_error(void)
{
    every_call_fails_in_turn(DISK_FAULT_EIO, 1);
}

static void every_call_fails_once_for_lack_of_space(void)
{
    every_call_fails_in_turn(DISK_FAULT_ENOSPC, 0);
    every_call_fails_in_turn(DISK_FAULT_EDQUOT, 0);
}

static void every_write_fails_half_way(void)
{
    every_call_fails_in_turn(DISK_FAULT_PARTIAL, 0);
}

static void every_call_is_interrupted_once(void)
{
    every_call_fails_in_turn(DISK_FAULT_EINTR, 0);
}

/* Short transfers are not failures: everything succeeds. */
static void every_transfer_is_short(void)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        begin(seed);
        disk_fail_at(journal.disk, 1, DISK_FAULT_SHORT, 1);
        CHECK_EQ(sessions(), RAFT_OK);
        journal_crash(&journal);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
    }
}

/* Row 74: the second sync would succeed, but the first one's pages are lost. */
static void a_sync_that_failed_once_is_never_tried_again(void)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        begin(seed);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        CHECK_EQ(journal_run(&journal, 3), RAFT_OK);
        CHECK_EQ(journal_append_sized(&journal, 1, 64), RAFT_PENDING);
        disk_fail_at(journal.disk, disk_calls(journal.disk) + 2, DISK_FAULT_EIO, 0);
        uint64_t syncs = disk_syncs(journal.disk);
        CHECK_EQ(journal_commit(&journal), RAFT_ESTORAGE);
        CHECK(disk_fault_met(journal.disk));
        CHECK_EQ(journal.failed_count, 1);
        check_stopped();
        CHECK_EQ(disk_syncs(journal.disk), syncs);
        journal_crash(&journal);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
    }
}

/* The write that failed is still in the kernel's memory and is replayed: it must be stored then. */
static void what_is_replayed_is_stored_even_if_an_earlier_sync_failed(void)
{
    int came_back = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        begin(seed);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        CHECK_EQ(journal_run(&journal, 3), RAFT_OK);
        CHECK_EQ(journal_append_sized(&journal, 1, 2000), RAFT_PENDING);
        disk_fail_at(journal.disk, disk_calls(journal.disk) + 2, DISK_FAULT_EIO, 0);
        CHECK_EQ(journal_commit(&journal), RAFT_ESTORAGE);
        journal_kill(&journal);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        size_t replayed = journal.replayed_count;
        came_back += replayed == journal.issued_count && replayed > 0;
        journal_crash(&journal);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        CHECK_EQ(journal.replayed_count, replayed);
    }
    CHECK(came_back > 0);
}

/* The process dies between the write and the sync; the next one relies on what it reads. */
static void what_is_replayed_is_stored_even_if_it_was_never_synced(void)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        begin(seed);
        journal.options.sync_never = 1;
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        CHECK_EQ(journal_run(&journal, 20), RAFT_OK);
        size_t stored = journal.stored_count;
        journal_kill(&journal);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        CHECK_EQ(journal.replayed_count, stored);
        journal_crash(&journal);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        CHECK_EQ(journal.replayed_count, stored);
    }
}

static void a_full_disk_stops_the_log_and_a_larger_one_continues_it(void)
{
    struct disk_options options = {0};
    options.seed = 3;
    options.capacity_bytes = 40000;
    begin(3);
    disk_free(journal.disk);
    journal.disk = disk_new(&options);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal_run(&journal, 100), RAFT_ESTORAGE);
    CHECK(journal.stored_count > 0);
    check_stopped();
    CHECK_EQ(journal_open(&journal), RAFT_OK);
}

int main(void)
{
    journal_init(&journal, 0);
    RUN(nothing_stored_is_lost_whenever_the_power_fails);
    RUN(nothing_stored_is_lost_whatever_sectors_the_crash_keeps);
    RUN(a_batch_of_many_writes_is_torn_anywhere);
    RUN(without_syncs_a_crash_leaves_a_beginning_or_a_refusal);
    RUN(a_crash_during_recovery_loses_nothing);
    RUN(every_call_fails_once_with_an_io_error);
    RUN(every_call_fails_for_good_with_an_io_error);
    RUN(every_call_fails_once_for_lack_of_space);
    RUN(every_write_fails_half_way);
    RUN(every_call_is_interrupted_once);
    RUN(every_transfer_is_short);
    RUN(a_sync_that_failed_once_is_never_tried_again);
    RUN(what_is_replayed_is_stored_even_if_an_earlier_sync_failed);
    RUN(what_is_replayed_is_stored_even_if_it_was_never_synced);
    RUN(a_full_disk_stops_the_log_and_a_larger_one_continues_it);
    journal_free(&journal);
    return check_done();
}
