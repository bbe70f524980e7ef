/*
 * The write-ahead log: its format byte by byte, what it keeps, whom it refuses, and how it tells a
 * write that a crash cut short from damage.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "check.h"
#include "journal.h"

#include "../examples/crc32c.h"
#include "../examples/wal_format.h"

#include <errno.h>
#include <fcntl.h>

static struct journal journal;

static void begin(uint64_t seed)
{
    journal_free(&journal);
    journal_init(&journal, seed);
}

/* Where each record of a log of one file begins, as its sizes say; the last is the end. */
static size_t record_offsets(const char *path, uint64_t offsets[64])
{
    uint64_t offset = JOURNAL_DATA_START;
    size_t count = 0;
    uint8_t size[8];
    for (;;) {
        uint64_t bytes = 0;
        offsets[count] = offset;
        if (disk_peek(journal.disk, path, offset + 8, size, sizeof size) != 0) {
            return count;
        }
        for (int i = 7; i >= 0; i--) {
            bytes = bytes << 8 | size[i];
        }
        if (bytes == 0) {
            return count;
        }
        offset += bytes;
        count++;
    }
}

/* ---- Format --------------------------------------------------------------------------------- */

/* Computed by another program from the description of the format. */
static const uint8_t golden_head[88] = {
    0x4b, 0x45, 0x45, 0x4c, 0x53, 0x57, 0x41, 0x4c, 0x02, 0x00, 0x00, 0x00, 0xcc, 0xff, 0xc8,
    0x47, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0x11, 0x11, 0x11, 0x11,
    0x11, 0x11, 0x11, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};

static const uint8_t golden_record[176] = {
    0x71, 0x44, 0xa0, 0xbb, 0x31, 0x1c, 0x07, 0xd2, 0xb0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x2a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0xab, 0x4c, 0x4f, 0x47,
    0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x09, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x61, 0x62, 0x63, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
    0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x00, 0x00, 0x00, 0xab, 0x4c, 0x4f, 0x47, 0x45, 0x4e, 0x44, 0xba,
};

static int constant_random(void *ctx, void *data, size_t size)
{
    (void)ctx;
    memset(data, 0x11, size);
    return 0;
}

static void the_format_is_what_its_description_says(void)
{
    uint8_t entry[16];
    uint8_t found[sizeof golden_record];
    begin(1);
    struct io io = *disk_io(journal.disk);
    io.random = constant_random;
    raft_entry plain = {12, 6, "hello", 5, RAFT_ENTRY_DATA};
    memset(entry, 0, sizeof entry);
    memcpy(entry + 8, plain.data, plain.size);
    entry[0] = 5;
    entry[4] = RAFT_ENTRY_DATA;
    raft_range range = {12, 6, 1, sizeof entry, entry};
    raft_write write = {0};
    write.has_state = 1;
    write.state.term = 7;
    write.state.vote = 2;
    write.state.accepted_round = 4;
    write.state.lease_max_ms = 9;
    write.meta = "abc";
    write.meta_size = 3;
    write.base_index = 11;
    write.base_term = 5;
    write.truncate_from = 12;
    write.ranges = &range;
    write.range_count = 1;
    journal.options.io = &io;
    CHECK_EQ(wal_open(&journal.options, NULL, NULL, &journal.error, &journal.log), RAFT_OK);
    CHECK_EQ(journal_append_write(&journal, 42, &write), RAFT_PENDING);
    CHECK_EQ(journal_commit(&journal), RAFT_OK);
    CHECK_EQ(disk_peek(journal.disk, JOURNAL_FIRST_FILE, 0, found, sizeof golden_head), 0);
    CHECK(memcmp(found, golden_head, sizeof golden_head) == 0);
    CHECK_EQ(disk_peek(journal.disk, JOURNAL_FIRST_FILE, 4096, found, sizeof golden_record), 0);
    CHECK(memcmp(found, golden_record, sizeof golden_record) == 0);
    wal_close(journal.log);
    journal.log = NULL;
}

static void the_checksum_has_its_published_values(void)
{
    uint8_t data[32];
    CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283u);
    CHECK_EQ(crc32c(0, "", 0), 0);
    memset(data, 0, sizeof data);
    CHECK_EQ(crc32c(0, data, sizeof data), 0x8a9136aau);
    memset(data, 0xff, sizeof data);
    CHECK_EQ(crc32c(0, data, sizeof data), 0x62a8ab43u);
    for (uint8_t i = 0; i < 32; i++) {
        data[i] = i;
    }
    CHECK_EQ(crc32c(0, data, sizeof data), 0x46dd794eu);
}

static void the_checksum_is_the_same_in_pieces_and_without_the_instruction(void)
{
    const uint8_t *bytes = (const uint8_t *)journal.pool;
    for (size_t size = 0; size < 300; size++) {
        uint32_t whole = crc32c(7, bytes + size % 9, size);
        size_t cut = size / 3;
        CHECK_EQ(crc32c_portable(7, bytes + size % 9, size), whole);
        CHECK_EQ(crc32c(crc32c(7, bytes + size % 9, cut), bytes + size % 9 + cut, size - cut),
                 whole);
    }
}

/* ---- What it keeps -------------------------------------------------------------------------- */

static void what_is_stored_is_replayed_in_order(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        begin(seed);
        for (int session = 0; session < 3; session++) {
            CHECK_EQ(journal_open(&journal), RAFT_OK);
            CHECK_EQ(journal_run(&journal, 30), RAFT_OK);
            CHECK_EQ(journal.stored_count, journal.issued_count);
            CHECK_EQ(journal_close(&journal), RAFT_OK);
        }
        size_t stored = journal.stored_count;
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        CHECK_EQ(journal.replayed_count, stored);
    }
}

struct replayed_write {
    int count;
    raft_write write;
    uint8_t meta[16];
    uint8_t entries[64];
    raft_range range;
    uint64_t group;
};

static int keep_write(void *ctx, uint64_t group, const raft_write *write)
{
    struct replayed_write *kept = ctx;
    kept->count++;
    kept->group = group;
    kept->write = *write;
    if (write->meta_size > 0) {
        memcpy(kept->meta, write->meta, write->meta_size);
    }
    if (write->range_count > 0) {
        kept->range = write->ranges[0];
        memcpy(kept->entries, kept->range.data, kept->range.size);
    }
    return 0;
}

static void every_field_of_a_write_comes_back(void)
{
    struct replayed_write kept = {0};
    uint64_t words[3] = {1, 2, 3};
    raft_range range = {UINT64_C(1) << 62, UINT64_C(1) << 61, 3, sizeof words, words};
    raft_write write = {0};
    begin(1);
    write.seq = 99;
    write.has_state = 1;
    write.state.term = UINT64_MAX;
    write.state.vote = UINT64_MAX - 1;
    write.state.accepted_round = UINT64_MAX - 2;
    write.state.lease_max_ms = UINT64_MAX - 3;
    write.meta = "members";
    write.meta_size = 7;
    write.base_index = UINT64_MAX - 5;
    write.base_term = UINT64_MAX - 6;
    write.truncate_from = UINT64_MAX - 4;
    write.ranges = &range;
    write.range_count = 1;
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal_append_write(&journal, UINT64_MAX, &write), RAFT_PENDING);
    CHECK_EQ(journal_close(&journal), RAFT_OK);
    CHECK_EQ(wal_open(&journal.options, keep_write, &kept, NULL, &journal.log), RAFT_OK);
    CHECK_EQ(kept.count, 1);
    CHECK_EQ(kept.group, UINT64_MAX);
    CHECK(memcmp(&kept.write.state, &write.state, sizeof write.state) == 0);
    CHECK_EQ(kept.write.meta_size, 7);
    CHECK(memcmp(kept.meta, "members", 7) == 0);
    CHECK_EQ(kept.write.base_index, UINT64_MAX - 5);
    CHECK_EQ(kept.write.base_term, UINT64_MAX - 6);
    CHECK_EQ(kept.write.truncate_from, UINT64_MAX - 4);
    CHECK_EQ(kept.range.first, UINT64_C(1) << 62);
    CHECK_EQ(kept.range.term, UINT64_C(1) << 61);
    CHECK_EQ(kept.range.count, 3);
    CHECK_EQ(kept.range.size, sizeof words);
    CHECK(memcmp(kept.entries, words, sizeof words) == 0);
}

static void empty_metadata_is_not_the_same_as_none(void)
{
    struct replayed_write kept = {0};
    raft_write write = {0};
    begin(1);
    write.meta = "";
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal_append_write(&journal, 1, &write), RAFT_PENDING);
    CHECK_EQ(journal_close(&journal), RAFT_OK);
    CHECK_EQ(wal_open(&journal.options, keep_write, &kept, NULL, &journal.log), RAFT_OK);
    CHECK(kept.write.meta != NULL);
    CHECK_EQ(kept.write.meta_size, 0);
    CHECK(!kept.write.has_state);
    CHECK_EQ(kept.write.range_count, 0);
}

/* A log as a host would have it: the term of every index. */
struct small_log {
    raft_term terms[20];
    size_t count;
};

static int restore_small(void *ctx, uint64_t group, const raft_write *write)
{
    struct small_log *log = ctx;
    (void)group;
    if (write->truncate_from > 0 && write->truncate_from <= log->count) {
        log->count = (size_t)write->truncate_from - 1;
    }
    for (size_t i = 0; i < write->range_count; i++) {
        CHECK_EQ(write->ranges[i].first, log->count + 1);
        for (size_t n = 0; n < write->ranges[i].count; n++) {
            log->terms[log->count++] = write->ranges[i].term;
        }
    }
    return 0;
}

static void append_entries(raft_index truncate_from, raft_index first, raft_term term, size_t count)
{
    raft_range range = {first, term, count, count * 8, journal.pool};
    raft_write write = {0};
    write.truncate_from = truncate_from;
    write.ranges = &range;
    write.range_count = 1;
    CHECK_EQ(journal_append_write(&journal, 1, &write), RAFT_PENDING);
    CHECK_EQ(journal_commit(&journal), RAFT_OK);
}

/* Rows 60 and 72: what was removed does not come back, what replaced it does. */
static void entries_that_were_overwritten_stay_overwritten(void)
{
    struct small_log log = {{0}, 0};
    begin(1);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    append_entries(0, 1, 1, 5);
    append_entries(3, 3, 2, 4);
    append_entries(3, 3, 3, 2);
    append_entries(5, 5, 4, 1);
    journal_kill(&journal);
    CHECK_EQ(wal_open(&journal.options, restore_small, &log, NULL, &journal.log), RAFT_OK);
    static const raft_term expected[] = {1, 1, 3, 3, 4};
    CHECK_EQ(log.count, 5);
    for (size_t i = 0; i < 5; i++) {
        CHECK_EQ(log.terms[i], expected[i]);
    }
}

static void all_groups_share_one_sync(void)
{
    begin(2);
    journal.options.segment_bytes = 1 << 20;
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    uint64_t syncs = disk_syncs(journal.disk);
    for (uint64_t group = 1; group <= 500; group++) {
        CHECK_EQ(journal_append_sized(&journal, group, 64), RAFT_PENDING);
    }
    CHECK_EQ(journal_commit(&journal), RAFT_OK);
    CHECK_EQ(disk_syncs(journal.disk), syncs + 1);
    CHECK_EQ(journal.stored_count, 500);
    CHECK_EQ(journal_commit(&journal), RAFT_OK);
    CHECK_EQ(disk_syncs(journal.disk), syncs + 1);
    journal_crash(&journal);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal.replayed_count, 500);
}

static void nothing_is_reported_before_it_is_committed(void)
{
    begin(3);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal_append(&journal), RAFT_PENDING);
    CHECK_EQ(wal_collect(journal.log, NULL, NULL), 0);
    CHECK_EQ(wal_completion_fd(journal.log), -1);
}

static void a_log_without_sync_syncs_nothing_and_survives_a_kill(void)
{
    begin(4);
    journal.options.sync_never = 1;
    journal.options.segment_bytes = 1 << 20;
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    uint64_t syncs = disk_syncs(journal.disk);
    CHECK_EQ(journal_run(&journal, 50), RAFT_OK);
    CHECK_EQ(disk_syncs(journal.disk), syncs);
    size_t stored = journal.stored_count;
    journal_kill(&journal);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal.replayed_count, stored);
}

static void a_write_larger_than_a_file_gets_a_file_of_its_size(void)
{
    begin(5);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal_append_sized(&journal, 1, 30000), RAFT_PENDING);
    CHECK_EQ(journal_append_sized(&journal, 2, 8), RAFT_PENDING);
    CHECK_EQ(journal_commit(&journal), RAFT_OK);
    CHECK(disk_size(journal.disk, "log/0000000000000002.wal") > 30000);
    CHECK_EQ(journal_run(&journal, 10), RAFT_OK);
    journal_crash(&journal);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
}

static void a_file_is_filled_to_its_last_byte(void)
{
    begin(6);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    size_t room = 16384 - JOURNAL_DATA_START - 64 - 32 - 8;
    CHECK_EQ(journal_append_sized(&journal, 1, room), RAFT_PENDING);
    CHECK_EQ(journal_commit(&journal), RAFT_OK);
    CHECK_EQ(disk_size(journal.disk, "log/0000000000000002.wal"), -1);
    journal_crash(&journal);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal.replayed_count, 1);
    CHECK_EQ(journal_run(&journal, 3), RAFT_OK);
    CHECK_EQ(journal_close(&journal), RAFT_OK);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
}

static void bad_writes_are_refused_and_nothing_else_is(void)
{
    raft_range range = {1, 1, 1, 7, journal.pool};
    raft_write write = {0};
    begin(7);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(wal_append(journal.log, 0, &write), RAFT_EARG);
    CHECK_EQ(wal_append(journal.log, 1, NULL), RAFT_EARG);
    CHECK_EQ(wal_append(NULL, 1, &write), RAFT_EARG);
    write.ranges = &range;
    write.range_count = 1;
    CHECK_EQ(wal_append(journal.log, 1, &write), RAFT_EARG);
    write.ranges = NULL;
    CHECK_EQ(wal_append(journal.log, 1, &write), RAFT_EARG);
    write.range_count = 0;
    write.meta_size = 1;
    CHECK_EQ(wal_append(journal.log, 1, &write), RAFT_EARG);
    CHECK_EQ(wal_failed(journal.log), 0);
    CHECK_EQ(journal_run(&journal, 2), RAFT_OK);
    CHECK_EQ(wal_close(NULL), RAFT_OK);
    CHECK_EQ(wal_commit(NULL), RAFT_EARG);
    CHECK_EQ(wal_collect(NULL, NULL, NULL), 0);
}

static void bad_options_are_refused(void)
{
    struct wal_options good = journal.options;
    wal *log;
    begin(8);
    journal.options.node = 0;
    CHECK_EQ(journal_open(&journal), RAFT_EARG);
    journal.options = good;
    journal.options.directory = "";
    CHECK_EQ(journal_open(&journal), RAFT_EARG);
    journal.options = good;
    journal.options.segment_bytes = WAL_SEGMENT_BYTES_MIN - 1;
    CHECK_EQ(journal_open(&journal), RAFT_EARG);
    journal.options = good;
    journal.options.writer_thread = 1; /* the simulated disk has no pipes */
    CHECK_EQ(journal_open(&journal), RAFT_EARG);
    CHECK_EQ(wal_open(NULL, NULL, NULL, NULL, &log), RAFT_EARG);
}

static void statistics_count_what_was_done(void)
{
    struct wal_stats stats;
    begin(9);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal_append_sized(&journal, 1, 800), RAFT_PENDING);
    CHECK_EQ(journal_append_sized(&journal, 1, 8), RAFT_PENDING);
    CHECK_EQ(journal_commit(&journal), RAFT_OK);
    wal_get_stats(journal.log, &stats);
    CHECK_EQ(stats.writes, 2);
    CHECK_EQ(stats.bytes, 808 + 2 * (64 + 32 + 8));
    CHECK_EQ(stats.log_bytes, stats.bytes);
    CHECK_EQ(stats.segments, 1);
    CHECK_EQ(stats.syncs, 1);
    CHECK(stats.sync_us_max > 0);
    CHECK_EQ(stats.sync_us_sum, stats.sync_us_max);
    uint64_t log_bytes = stats.log_bytes;
    journal_kill(&journal);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(wal_recovered(journal.log)->writes, 2);
    CHECK_EQ(wal_recovered(journal.log)->bytes, log_bytes);
    CHECK_EQ(wal_recovered(journal.log)->segments, 1);
    CHECK(!wal_recovered(journal.log)->torn);
    wal_get_stats(journal.log, &stats);
    CHECK_EQ(stats.writes, 0);
    CHECK(stats.log_bytes > log_bytes);
}

/* ---- Whom it refuses ------------------------------------------------------------------------ */

static int refuse_all(void *ctx, uint64_t group, const raft_write *write)
{
    (void)ctx;
    (void)group;
    (void)write;
    return RAFT_EFULL;
}

static void a_write_that_the_host_refuses_ends_the_opening(void)
{
    wal *log = NULL;
    begin(10);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal_run(&journal, 1), RAFT_OK);
    CHECK_EQ(journal_close(&journal), RAFT_OK);
    CHECK_EQ(wal_open(&journal.options, refuse_all, NULL, &journal.error, &log), RAFT_EFULL);
    CHECK(log == NULL);
    CHECK_STR(journal.error.file, "0000000000000001.wal");
    CHECK_EQ(journal.error.offset, JOURNAL_DATA_START);
}

static void a_second_opening_is_refused(void)
{
    wal *log = NULL;
    begin(11);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(wal_open(&journal.options, NULL, NULL, &journal.error, &log), RAFT_EBUSY);
    CHECK_STR(journal.error.file, "lock");
    CHECK_EQ(journal_run(&journal, 2), RAFT_OK);
    journal_kill(&journal);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
}

static void make_closed_log(uint64_t seed, int batches)
{
    begin(seed);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal_run(&journal, batches), RAFT_OK);
    CHECK_EQ(journal_close(&journal), RAFT_OK);
}

static void another_node_or_cluster_is_refused(void)
{
    make_closed_log(12, 3);
    journal.options.node = 4;
    CHECK_EQ(journal_open(&journal), RAFT_EFOREIGN);
    CHECK_EQ(journal.replayed_count, 0);
    journal.options.node = 3;
    journal.options.cluster = 6;
    CHECK_EQ(journal_open(&journal), RAFT_EFOREIGN);
    journal.options.cluster = 5;
    CHECK_EQ(journal_open(&journal), RAFT_OK);
}

static void another_format_is_refused(void)
{
    uint8_t version = WAL_FORMAT_VERSION - 1;
    make_closed_log(13, 3);
    for (; version <= WAL_FORMAT_VERSION + 1; version += 2) {
        CHECK_EQ(disk_poke(journal.disk, JOURNAL_FIRST_FILE, 8, &version, 1), 0);
        CHECK_EQ(journal_open(&journal), RAFT_EVERSION);
        CHECK_EQ(journal.error.offset, 8);
    }
    version = WAL_FORMAT_VERSION;
    CHECK_EQ(disk_poke(journal.disk, JOURNAL_FIRST_FILE, 8, &version, 1), 0);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
}

static void a_missing_file_is_refused(void)
{
    const struct io *io;
    make_closed_log(14, 30);
    io = disk_io(journal.disk);
    CHECK(disk_size(journal.disk, "log/0000000000000003.wal") > 0);
    CHECK_EQ(io->rename(io->ctx, "log/0000000000000002.wal", "log/elsewhere"), 0);
    CHECK_EQ(journal_open(&journal), RAFT_ECORRUPT);
    CHECK_STR(journal.error.file, "0000000000000002.wal");
    CHECK_EQ(io->rename(io->ctx, "log/elsewhere", "log/0000000000000002.wal"), 0);
    CHECK_EQ(io->rename(io->ctx, JOURNAL_FIRST_FILE, "log/elsewhere"), 0);
    CHECK_EQ(journal_open(&journal), RAFT_ECORRUPT);
    CHECK_STR(journal.error.file, "0000000000000001.wal");
    CHECK_EQ(io->rename(io->ctx, "log/elsewhere", JOURNAL_FIRST_FILE), 0);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
}

static void files_that_changed_places_are_refused(void)
{
    const struct io *io;
    make_closed_log(15, 30);
    io = disk_io(journal.disk);
    CHECK_EQ(io->rename(io->ctx, "log/0000000000000002.wal", "log/elsewhere"), 0);
    CHECK_EQ(io->rename(io->ctx, JOURNAL_FIRST_FILE, "log/0000000000000002.wal"), 0);
    CHECK_EQ(io->rename(io->ctx, "log/elsewhere", JOURNAL_FIRST_FILE), 0);
    CHECK_EQ(journal_open(&journal), RAFT_ECORRUPT);
}

static void a_file_that_was_cut_short_is_refused(void)
{
    static const uint64_t sizes[] = {0, 40, 4096, 12000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        make_closed_log(16, 2);
        const struct io *io = disk_io(journal.disk);
        int fd = io->open(io->ctx, JOURNAL_FIRST_FILE, O_RDWR, 0);
        CHECK_EQ(io->ftruncate(io->ctx, fd, sizes[i]), 0);
        CHECK_EQ(journal_open(&journal), RAFT_ECORRUPT);
        CHECK_EQ(journal.error.offset, sizes[i]);
    }
}

static void a_sector_that_cannot_be_read_is_an_error_with_its_place(void)
{
    make_closed_log(17, 5);
    CHECK_EQ(disk_unreadable(journal.disk, JOURNAL_FIRST_FILE, 4608, 1), 0);
    CHECK_EQ(journal_open(&journal), RAFT_ESTORAGE);
    CHECK_EQ(journal.error.system, EIO);
    CHECK_STR(journal.error.file, "0000000000000001.wal");
}

/* ---- Damage --------------------------------------------------------------------------------- */

static void a_flipped_bit_anywhere_in_a_file_head_is_refused(void)
{
    for (uint64_t byte = 0; byte < WAL_SEGMENT_HEAD; byte++) {
        make_closed_log(18, 2);
        CHECK_EQ(disk_rot(journal.disk, JOURNAL_FIRST_FILE, byte, 1), 0);
        int result = journal_open(&journal);
        CHECK(result == RAFT_ECORRUPT || (result == RAFT_EVERSION && byte / 4 == 2));
    }
}

/* Row 75. The mark that closing left is the last record: all before it was confirmed. */
static void a_flipped_bit_in_a_closed_log_is_refused_with_its_place(void)
{
    uint64_t offsets[64];
    make_closed_log(19, 4);
    size_t count = record_offsets(JOURNAL_FIRST_FILE, offsets);
    struct disk *whole = disk_clone(journal.disk, 1);
    for (size_t record = 0; record < count; record++) {
        for (uint64_t byte = offsets[record]; byte < offsets[record + 1]; byte++) {
            disk_free(journal.disk);
            journal.disk = disk_clone(whole, byte);
            CHECK_EQ(disk_rot(journal.disk, JOURNAL_FIRST_FILE, byte, 1), 0);
            CHECK_EQ(journal_open(&journal), RAFT_ECORRUPT);
            CHECK_EQ(journal.error.offset, offsets[record]);
            CHECK_STR(journal.error.file, "0000000000000001.wal");
        }
    }
    disk_free(whole);
}

static void zeroed_sectors_in_a_closed_log_are_refused(void)
{
    uint64_t offsets[64];
    make_closed_log(20, 6);
    size_t count = record_offsets(JOURNAL_FIRST_FILE, offsets);
    struct disk *whole = disk_clone(journal.disk, 1);
    for (uint64_t sector = 4096; sector < offsets[count - 1]; sector += 512) {
        disk_free(journal.disk);
        journal.disk = disk_clone(whole, sector);
        CHECK_EQ(disk_zero(journal.disk, JOURNAL_FIRST_FILE, sector, 512), 0);
        int result = journal_open(&journal);
        /* Payloads have zeros of their own: then nothing has changed. */
        CHECK(result == RAFT_ECORRUPT || (result == RAFT_OK && journal.replayed_count > 0 &&
                                          journal.stored_count == journal.replayed_count));
        if (result == RAFT_OK) {
            CHECK_EQ(journal_close(&journal), RAFT_OK);
        }
    }
    disk_free(whole);
}

/* Lost sectors are the shape of a torn end, but the mark behind them says that they were synced. */
static void the_last_write_of_a_closed_log_is_never_cut(void)
{
    for (uint64_t sector = 9; sector < 12; sector++) {
        begin(20);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        CHECK_EQ(journal_append_sized(&journal, 1, 4000), RAFT_PENDING);
        CHECK_EQ(journal_close(&journal), RAFT_OK);
        CHECK_EQ(disk_zero(journal.disk, JOURNAL_FIRST_FILE, sector * 512, 512), 0);
        CHECK_EQ(journal_open(&journal), RAFT_ECORRUPT);
        CHECK_EQ(journal.error.offset, JOURNAL_DATA_START);
    }
}

/* The same after a crash: what was recovered once counts as confirmed. */
static void what_was_recovered_once_is_never_cut(void)
{
    for (uint64_t sector = 9; sector < 12; sector++) {
        begin(20);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        CHECK_EQ(journal_append_sized(&journal, 1, 4000), RAFT_PENDING);
        CHECK_EQ(journal_commit(&journal), RAFT_OK);
        journal_kill(&journal);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        journal_kill(&journal);
        CHECK_EQ(disk_zero(journal.disk, JOURNAL_FIRST_FILE, sector * 512, 512), 0);
        CHECK_EQ(journal_open(&journal), RAFT_ECORRUPT);
    }
}

static void damage_in_an_earlier_file_is_refused(void)
{
    uint64_t offsets[64];
    make_closed_log(21, 40);
    CHECK(disk_size(journal.disk, "log/0000000000000003.wal") > 0);
    size_t count = record_offsets("log/0000000000000002.wal", offsets);
    CHECK_EQ(disk_zero(journal.disk, "log/0000000000000002.wal", offsets[count - 1],
                       offsets[count] - offsets[count - 1]),
             0);
    CHECK_EQ(journal_open(&journal), RAFT_ECORRUPT);
    CHECK_STR(journal.error.file, "0000000000000002.wal");
    CHECK_EQ(journal.error.offset, offsets[count - 1]);
}

/* A log whose last batch, of two records, was never confirmed by anything later. */
static size_t make_open_log(uint64_t offsets[64])
{
    begin(22);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(journal_append_sized(&journal, 1, 640), RAFT_PENDING);
        CHECK_EQ(journal_append_sized(&journal, 2, 1600), RAFT_PENDING);
        CHECK_EQ(journal_commit(&journal), RAFT_OK);
    }
    journal_kill(&journal);
    CHECK_EQ(record_offsets(JOURNAL_FIRST_FILE, offsets), 8);
    return 8;
}

/* What the crash took was never reported, in the tests that cut. */
static void forget_last(size_t writes)
{
    journal.stored_count -= writes;
}

static void cut_the_last_batch_at(uint64_t byte)
{
    uint64_t offsets[64];
    make_open_log(offsets);
    size_t whole = byte < offsets[7] ? 6 : 7;
    CHECK_EQ(disk_zero(journal.disk, JOURNAL_FIRST_FILE, byte, offsets[8] - byte), 0);
    forget_last(2);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal.replayed_count, whole);
    CHECK(wal_recovered(journal.log)->torn);
    CHECK_EQ(wal_recovered(journal.log)->torn_offset, offsets[whole]);
    CHECK_STR(wal_recovered(journal.log)->torn_file, "0000000000000001.wal");

    /* Row 76: what is written now is not hidden behind the torn end. */
    CHECK_EQ(journal_run(&journal, 3), RAFT_OK);
    size_t stored = journal.stored_count;
    journal_crash(&journal);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal.replayed_count, stored);
    CHECK(!wal_recovered(journal.log)->torn);
}

static void a_last_batch_without_its_end_is_cut_and_the_log_goes_on(void)
{
    uint64_t offsets[64];
    make_open_log(offsets);
    for (uint64_t byte = offsets[6] + 1; byte < offsets[8]; byte += 13) {
        cut_the_last_batch_at(byte);
    }
    cut_the_last_batch_at(offsets[7]);
    cut_the_last_batch_at(offsets[8] - 1);
}

static void a_last_batch_with_lost_sectors_is_cut(void)
{
    uint64_t offsets[64];
    make_open_log(offsets);
    for (uint64_t sector = offsets[6] / 512; sector <= (offsets[8] - 1) / 512; sector++) {
        make_open_log(offsets);
        uint64_t from = sector * 512 < offsets[6] ? offsets[6] : sector * 512;
        uint64_t to = (sector + 1) * 512 > offsets[8] ? offsets[8] : (sector + 1) * 512;
        CHECK_EQ(disk_zero(journal.disk, JOURNAL_FIRST_FILE, from, to - from), 0);
        forget_last(2);
        CHECK_EQ(journal_open(&journal), RAFT_OK);
        CHECK(journal.replayed_count >= 6);
        CHECK(wal_recovered(journal.log)->torn || journal.replayed_count == 8);
    }
}

/* The same sectors, but a later batch shows that they had been there. */
static void an_earlier_batch_with_lost_sectors_is_refused(void)
{
    uint64_t offsets[64];
    int refused = 0;
    make_open_log(offsets);
    for (uint64_t sector = offsets[2] / 512 + 1; sector < offsets[6] / 512; sector++) {
        make_open_log(offsets);
        CHECK_EQ(disk_zero(journal.disk, JOURNAL_FIRST_FILE, sector * 512, 512), 0);
        int result = journal_open(&journal);
        CHECK(result == RAFT_ECORRUPT || (result == RAFT_OK && journal.replayed_count == 8));
        refused += result == RAFT_ECORRUPT;
    }
    CHECK(refused > 4);
}

/* The last batch may have been confirmed, and a crash flips no bits. */
static void a_flipped_bit_in_the_last_batch_is_refused(void)
{
    uint64_t offsets[64];
    make_open_log(offsets);
    for (uint64_t byte = offsets[6]; byte < offsets[8]; byte++) {
        make_open_log(offsets);
        CHECK_EQ(disk_rot(journal.disk, JOURNAL_FIRST_FILE, byte, 1), 0);
        int result = journal_open(&journal);
        CHECK_EQ(result, RAFT_ECORRUPT);
        CHECK_EQ(journal.error.offset, offsets[byte < offsets[7] ? 6 : 7]);
    }
}

/* The first record of the torn batch is written anew with its old size; the second stays dead. */
static void what_was_cut_does_not_come_back(void)
{
    uint64_t offsets[64];
    make_open_log(offsets);
    CHECK_EQ(disk_zero(journal.disk, JOURNAL_FIRST_FILE, offsets[6], offsets[7] - offsets[6]), 0);
    forget_last(2);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal.replayed_count, 6);
    CHECK(wal_recovered(journal.log)->torn);
    CHECK_EQ(journal_append_sized(&journal, 1, 640), RAFT_PENDING);
    CHECK_EQ(journal_commit(&journal), RAFT_OK);
    journal_crash(&journal);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    CHECK_EQ(journal.replayed_count, 7);
}

/* A write that the device put in the place of another: whole, but not the one that belongs here. */
static void a_record_in_the_place_of_another_is_refused(void)
{
    uint8_t record[4096];
    uint64_t offsets[64];
    for (size_t place = 2; place < 8; place += 2) {
        make_open_log(offsets);
        size_t bytes = (size_t)(offsets[1] - offsets[0]);
        CHECK_EQ(disk_peek(journal.disk, JOURNAL_FIRST_FILE, offsets[0], record, bytes), 0);
        CHECK_EQ(disk_poke(journal.disk, JOURNAL_FIRST_FILE, offsets[place], record, bytes), 0);
        CHECK_EQ(journal_open(&journal), RAFT_ECORRUPT);
        CHECK_EQ(journal.error.offset, offsets[place]);
    }
}

/* Undamaged, but with counts that no log of ours has there. */
static void a_record_with_another_count_is_refused(void)
{
    uint8_t head[WAL_SEGMENT_HEAD];
    uint64_t offsets[64];
    struct wal_segment segment;
    struct wal_record record;
    uint32_t seed;
    for (uint64_t which = 0; which < 4; which++) {
        make_open_log(offsets);
        CHECK_EQ(disk_peek(journal.disk, JOURNAL_FIRST_FILE, 0, head, WAL_SEGMENT_HEAD), 0);
        CHECK_EQ(wal_decode_segment(head, &segment, &seed), RAFT_OK);
        CHECK_EQ(disk_peek(journal.disk, JOURNAL_FIRST_FILE, offsets[2], head, WAL_RECORD_HEAD), 0);
        CHECK(wal_decode_record(head, seed, offsets[2], &record));
        CHECK_EQ(record.sequence, 3);
        CHECK_EQ(record.batch, 2);
        wal_place_record(head, seed, offsets[2], which < 2 ? 2 + 2 * which : 3,
                         which < 2 ? 2 : 2 * which - 3, 0);
        CHECK_EQ(disk_poke(journal.disk, JOURNAL_FIRST_FILE, offsets[2], head, WAL_RECORD_HEAD), 0);
        CHECK_EQ(journal_open(&journal), RAFT_ECORRUPT);
        CHECK_EQ(journal.error.offset, offsets[2]);
    }
}

/* Whoever reads a write may take metadata that has bytes for metadata that is there. */
static void metadata_that_no_flag_claims_is_refused(void)
{
    static const uint8_t body[64];
    struct wal_record record;
    raft_range ranges[1];
    raft_write write;
    memset(&record, 0, sizeof record);
    record.meta_size = 8;
    record.size = WAL_RECORD_HEAD + 8 + WAL_RECORD_END;
    CHECK(!wal_decode_body(&record, body, ranges, &write));
    record.flags = WAL_HAS_META;
    record.size += WAL_RECORD_BASE;
    CHECK(wal_decode_body(&record, body, ranges, &write));
    CHECK(write.meta != NULL && write.meta_size == 8);
}

/* Records of another file of the log, at their own offset: what a recycled block would hold. */
static void records_of_another_file_are_not_taken_for_this_one_s(void)
{
    uint8_t block[4096];
    uint64_t offsets[64];
    begin(23);
    CHECK_EQ(journal_open(&journal), RAFT_OK);
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(journal_append_sized(&journal, 1, 3000), RAFT_PENDING);
        CHECK_EQ(journal_commit(&journal), RAFT_OK);
    }
    size_t count = record_offsets("log/0000000000000003.wal", offsets);
    uint64_t end = offsets[count];
    journal_kill(&journal);
    CHECK_EQ(disk_peek(journal.disk, JOURNAL_FIRST_FILE, end, block, sizeof block), 0);
    CHECK_EQ(disk_poke(journal.disk, "log/0000000000000003.wal", end, block, sizeof block), 0);
    int result = journal_open(&journal);
    CHECK(result == RAFT_ECORRUPT || journal.replayed_count == 8);
    CHECK(journal.fault == NULL);
}

/* Nothing that a stranger writes makes it crash or take what was not written; see also fuzz_wal. */
static void random_damage_is_never_replayed(void)
{
    make_closed_log(24, 30);
    struct disk *whole = disk_clone(journal.disk, 1);
    for (uint64_t round = 0; round < 400; round++) {
        char path[64];
        disk_free(journal.disk);
        journal.disk = disk_clone(whole, round);
        snprintf(path, sizeof path, "log/%016" PRIx64 ".wal", 1 + rng_below(&journal.rng, 3));
        uint64_t from = rng_below(&journal.rng, 16384 - 700);
        disk_rot(journal.disk, path, from, 1 + rng_below(&journal.rng, 600));
        int result = journal_open(&journal);
        CHECK(journal.fault == NULL);
        if (result == RAFT_OK) {
            CHECK_EQ(journal.replayed_count, journal.stored_count);
            CHECK_EQ(journal_close(&journal), RAFT_OK);
        }
    }
    disk_free(whole);
}

int main(void)
{
    journal_init(&journal, 0);
    RUN(the_format_is_what_its_description_says);
    RUN(the_checksum_has_its_published_values);
    RUN(the_checksum_is_the_same_in_pieces_and_without_the_instruction);
    RUN(what_is_stored_is_replayed_in_order);
    RUN(every_field_of_a_write_comes_back);
    RUN(empty_metadata_is_not_the_same_as_none);
    RUN(entries_that_were_overwritten_stay_overwritten);
    RUN(all_groups_share_one_sync);
    RUN(nothing_is_reported_before_it_is_committed);
    RUN(a_log_without_sync_syncs_nothing_and_survives_a_kill);
    RUN(a_write_larger_than_a_file_gets_a_file_of_its_size);
    RUN(a_file_is_filled_to_its_last_byte);
    RUN(bad_writes_are_refused_and_nothing_else_is);
    RUN(bad_options_are_refused);
    RUN(statistics_count_what_was_done);
    RUN(a_write_that_the_host_refuses_ends_the_opening);
    RUN(a_second_opening_is_refused);
    RUN(another_node_or_cluster_is_refused);
    RUN(another_format_is_refused);
    RUN(a_missing_file_is_refused);
    RUN(files_that_changed_places_are_refused);
    RUN(a_file_that_was_cut_short_is_refused);
    RUN(a_sector_that_cannot_be_read_is_an_error_with_its_place);
    RUN(a_flipped_bit_anywhere_in_a_file_head_is_refused);
    RUN(a_flipped_bit_in_a_closed_log_is_refused_with_its_place);
    RUN(zeroed_sectors_in_a_closed_log_are_refused);
    RUN(the_last_write_of_a_closed_log_is_never_cut);
    RUN(what_was_recovered_once_is_never_cut);
    RUN(damage_in_an_earlier_file_is_refused);
    RUN(a_last_batch_without_its_end_is_cut_and_the_log_goes_on);
    RUN(a_last_batch_with_lost_sectors_is_cut);
    RUN(an_earlier_batch_with_lost_sectors_is_refused);
    RUN(a_flipped_bit_in_the_last_batch_is_refused);
    RUN(what_was_cut_does_not_come_back);
    RUN(a_record_in_the_place_of_another_is_refused);
    RUN(a_record_with_another_count_is_refused);
    RUN(metadata_that_no_flag_claims_is_refused);
    RUN(records_of_another_file_are_not_taken_for_this_one_s);
    RUN(random_damage_is_never_replayed);
    journal_free(&journal);
    return check_done();
}
