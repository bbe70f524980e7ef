/*
 * Ten thousand groups in one log, of which a few are busy: those that do nothing keep no file and
 * cost next to nothing, and come back as they were.
 */
#include "check.h"

#include "../examples/wal.h"
#include "sim/disk.h"

#include <stdlib.h>

enum { GROUPS = 10000, BUSY = 50, ROUNDS = 1500, ENTRY = 264 };

static struct {
    struct disk *disk;
    struct wal_options options;
    wal *log;
    uint8_t entry[ENTRY];
    raft_term term[GROUPS + 1];
    raft_index last[GROUPS + 1];
    raft_term replayed_term[GROUPS + 1];
    raft_index replayed_last[GROUPS + 1];
    uint8_t replayed_meta[GROUPS + 1];
    uint64_t given; /* bytes of entries given to the log */
} t;

static int replay(void *ctx, uint64_t group, const raft_write *write)
{
    (void)ctx;
    CHECK(group >= 1 && group <= GROUPS);
    raft_index *last = &t.replayed_last[group];
    if (write->has_state) {
        t.replayed_term[group] = write->state.term;
    }
    if (write->meta != NULL) {
        t.replayed_meta[group] = 1;
        *last = write->base_index;
    }
    if (write->truncate_from > 0 && write->truncate_from <= *last) {
        *last = write->truncate_from - 1;
    }
    for (size_t i = 0; i < write->range_count; i++) {
        const raft_range *range = &write->ranges[i];
        CHECK(*last == 0 || range->first == *last + 1 || range->first == write->truncate_from);
        *last = range->first + range->count - 1;
    }
    return 0;
}

static void open_log(void)
{
    memset(t.replayed_term, 0, sizeof t.replayed_term);
    memset(t.replayed_last, 0, sizeof t.replayed_last);
    memset(t.replayed_meta, 0, sizeof t.replayed_meta);
    CHECK_EQ(wal_open(&t.options, replay, NULL, NULL, &t.log), RAFT_OK);
}

static void done(void *ctx, uint64_t group, uint64_t seq, int status)
{
    (void)ctx;
    (void)group;
    (void)seq;
    CHECK_EQ(status, RAFT_OK);
}

static void commit(void)
{
    CHECK_EQ(wal_commit(t.log), RAFT_OK);
    wal_collect(t.log, done, NULL);
}

static void append(uint64_t group)
{
    raft_range range = {++t.last[group], 1, 1, ENTRY, t.entry};
    raft_write write = {0};
    write.seq = 1;
    write.ranges = &range;
    write.range_count = 1;
    t.given += ENTRY;
    CHECK_EQ(wal_append(t.log, group, &write), RAFT_PENDING);
}

static void found(uint64_t group)
{
    raft_write write = {0};
    write.seq = 1;
    write.has_state = 1;
    write.state.term = t.term[group] = group % 100 + 1;
    write.meta = "the members of a group, three of them, with their addresses";
    write.meta_size = 60;
    CHECK_EQ(wal_append(t.log, group, &write), RAFT_PENDING);
}

static void begin(void)
{
    struct disk_options disk = {0};
    raft_entry entry = {1, 1, NULL, ENTRY - 8, RAFT_ENTRY_DATA};
    uint8_t payload[ENTRY - 8];
    memset(&t, 0, sizeof t);
    memset(payload, 0x77, sizeof payload);
    entry.data = payload;
    CHECK_EQ(raft_entry_encode(&entry, t.entry, sizeof t.entry), RAFT_OK);
    disk.no_write_back = 1;
    t.disk = disk_new(&disk);
    t.options.io = disk_io(t.disk);
    t.options.directory = "log";
    t.options.node = 1;
    t.options.segment_bytes = 1 << 20;
    open_log();
    for (uint64_t group = 1; group <= GROUPS; group++) {
        found(group);
        append(group);
        if (group % 100 == 0) {
            commit();
        }
    }
}

static void end(void)
{
    wal_close(t.log);
    disk_free(t.disk);
}

static void check_all(void)
{
    for (uint64_t group = 1; group <= GROUPS; group++) {
        CHECK_EQ(t.replayed_term[group], t.term[group]);
        CHECK_EQ(t.replayed_last[group], t.last[group]);
        CHECK(group <= BUSY || t.replayed_meta[group]);
    }
}

static void idle_groups_hold_up_no_file_and_cost_little(void)
{
    struct wal_stats stats;
    uint64_t segments_max = 0;
    begin();
    wal_get_stats(t.log, &stats);
    uint64_t live = stats.log_bytes;
    for (int round = 0; round < ROUNDS; round++) {
        for (uint64_t group = 1; group <= BUSY; group++) {
            append(group);
            append(group);
        }
        commit();
        if (round % 10 == 9) {
            for (uint64_t group = 1; group <= BUSY; group++) {
                CHECK_EQ(wal_trim(t.log, group, t.last[group], t.last[group] - 5), RAFT_OK);
            }
        }
        wal_get_stats(t.log, &stats);
        segments_max = stats.segments > segments_max ? stats.segments : segments_max;
    }
    CHECK(t.given > 6 * live / 2);
    CHECK(stats.moves > GROUPS - BUSY);
    CHECK_EQ(stats.moves_failed, 0);
    CHECK(stats.log_bytes < 4 * live);
    CHECK(segments_max < 4 * (live >> 20) + 4);
    CHECK(stats.bytes < 2 * (t.given + live));
    CHECK_EQ(wal_close(t.log), RAFT_OK);
    t.log = NULL;
    open_log();
    check_all();
}

int main(void)
{
    RUN(idle_groups_hold_up_no_file_and_cost_little);
    end();
    return check_done();
}
