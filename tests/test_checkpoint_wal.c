/*
 * The log and the checkpoints of a server together, as a host uses them: a life of appending,
 * taking checkpoints, trimming, and taking over a leader's snapshot, with the power going and with
 * failures at every call. What a restart finds is what was there before the step that was cut
 * short, or after it; with the newest hard state, and with every entry behind the checkpoint.
 */
#include "check.h"

#include "../examples/checkpoint.h"
#include "../examples/wal.h"
#include "sim/disk.h"
#include "sim/random.h"

#include <stdlib.h>

enum { GROUP = 4, ENTRY_WORDS = 24, INDEX_MAX = 4000, META = 40 };

/* What one write, if it is stored, leads to. */
struct point {
    raft_term term;
    raft_index base; /* of the newest metadata in the log; 0: the founding one */
    raft_index last;
};

static struct {
    struct disk *disk;
    struct wal_options log_options;
    struct checkpoint_options store_options;
    struct wal_error log_error;
    struct checkpoint_error store_error;
    wal *log;
    checkpoint_store *store;
    struct rng rng;

    struct point stored, tried; /* reported, and last given to the log */
    raft_index checkpoint;      /* the newest that was reported taken or installed */

    /* What a replay gives. */
    struct point replayed;
    raft_index first; /* of the log; 0: it is empty */
    const char *fault;
    size_t writes;
    uint64_t entry[6 * ENTRY_WORDS];
    struct checkpoint_event event; /* the last one */
} t;

/* The entry at an index is always the same, and so is the state that it leads to. */
static uint64_t word_of(raft_index index, size_t i)
{
    return hash_join(index, i);
}

static raft_term term_of(raft_index index)
{
    return index == 0 ? 0 : 1;
}

static size_t data_size_of(raft_index index)
{
    return (size_t)(index * 37 % 3000);
}

/* ---- Starting ------------------------------------------------------------------------------- */

static int take_range(const raft_range *lent)
{
    raft_range range = *lent;
    raft_entry entry;
    while (raft_range_next(&range, &entry)) {
        if (t.first == 0) {
            t.first = entry.index;
        } else if (entry.index != t.replayed.last + 1) {
            t.fault = "the log has a gap";
        }
        for (size_t i = 0; i < entry.size / 8; i++) {
            uint64_t word;
            memcpy(&word, (const uint8_t *)entry.data + 8 * i, 8);
            t.fault = word == word_of(entry.index, i) ? t.fault : "an entry is another";
        }
        t.replayed.last = entry.index;
    }
    return 0;
}

static int replay(void *ctx, uint64_t group, const raft_write *write)
{
    (void)ctx;
    t.fault = group == GROUP ? t.fault : "a group that was never written";
    t.writes++;
    if (write->has_state) {
        t.replayed.term = write->state.term;
    }
    if (write->meta != NULL) {
        int holds =
            t.first != 0 && t.first <= write->base_index && write->base_index <= t.replayed.last;
        t.first = holds ? t.first : 0;
        t.replayed.last = holds ? t.replayed.last : write->base_index;
        t.replayed.base = write->base_index;
    }
    if (write->truncate_from > 0 && write->truncate_from <= t.replayed.last) {
        t.first = write->truncate_from <= t.first ? 0 : t.first;
        t.replayed.last = write->truncate_from - 1;
    }
    for (size_t i = 0; i < write->range_count; i++) {
        take_range(&write->ranges[i]);
    }
    return 0;
}

static void check_data(raft_index index, const uint8_t *bytes, size_t size)
{
    t.fault = size == data_size_of(index) ? t.fault : "the newest checkpoint has another size";
    for (size_t i = 0; i < size; i++) {
        t.fault = bytes[i] == (uint8_t)(index + i) ? t.fault : "the newest checkpoint is another";
    }
}

/* Loads the newest checkpoint; *index is 0 where there is none. */
static int load(raft_index *index)
{
    static uint8_t bytes[3000];
    raft_term term;
    checkpoint_reader *reader;
    size_t size = 0;
    *index = 0;
    if (!checkpoint_newest(t.store, GROUP, index, &term)) {
        return RAFT_OK;
    }
    int result = checkpoint_read_begin(t.store, GROUP, 0, 0, &reader, &t.store_error);
    if (result != RAFT_OK) {
        return result;
    }
    result = checkpoint_read(reader, 0, bytes, sizeof bytes, &size);
    if (result == RAFT_OK) {
        check_data(*index, bytes, size);
    }
    checkpoint_read_end(reader);
    return result;
}

static int is_point(const struct point *point)
{
    return t.replayed.term == point->term && t.replayed.last == point->last;
}

/* Is it one of the two states that it may be, and does the log join its checkpoint? */
static void judge(raft_index checkpoint)
{
    if (t.fault != NULL) {
        return;
    }
    if (!is_point(&t.stored) && !is_point(&t.tried)) {
        t.fault = "neither the state before the last write nor the one after it";
    } else if (checkpoint < t.checkpoint) {
        t.fault = "a checkpoint that was there is gone";
    } else if (t.first > checkpoint + 1) {
        t.fault = "entries between the checkpoint and the log are gone";
    } else if (t.replayed.base > checkpoint) {
        t.fault = "the checkpoint that the log begins with is not in use";
    } else if (checkpoint > t.replayed.last) {
        t.fault = "the log ends before its checkpoint";
    } else if (checkpoint > 0 && t.first > checkpoint && t.replayed.base != checkpoint) {
        t.fault = "the log does not show that it fits its checkpoint";
    }
}

static int start(void)
{
    struct checkpoint_base base = {GROUP, 0, 0};
    memset(&t.replayed, 0, sizeof t.replayed);
    t.first = 0;
    t.fault = NULL;
    t.writes = 0;
    t.log_options.io = t.store_options.io = disk_io(t.disk);
    int result = wal_open(&t.log_options, replay, NULL, &t.log_error, &t.log);
    result =
        result == RAFT_OK ? checkpoint_open(&t.store_options, &t.store_error, &t.store) : result;
    base.index = t.replayed.base;
    base.term = term_of(base.index);
    result = result == RAFT_OK ? checkpoint_recover(t.store, &base, 1, &t.store_error) : result;
    raft_index checkpoint = 0;
    result = result == RAFT_OK ? load(&checkpoint) : result;
    if (result != RAFT_OK) {
        return result;
    }
    judge(checkpoint);
    t.checkpoint = checkpoint;
    t.stored = t.tried = t.replayed;
    if (checkpoint > 0) {
        CHECK_EQ(wal_trim(t.log, GROUP, checkpoint, checkpoint + 1), RAFT_OK);
    }
    return t.fault == NULL ? RAFT_OK : 1;
}

static void stop(void)
{
    wal_close(t.log);
    checkpoint_close(t.store);
    t.log = NULL;
    t.store = NULL;
}

static void crash(void)
{
    disk_power_off(t.disk);
    stop();
    disk_restart(t.disk);
}

static void begin(uint64_t seed)
{
    struct disk_options disk = {0};
    stop();
    disk_free(t.disk);
    memset(&t, 0, sizeof t);
    disk.seed = seed;
    disk.stale_bytes = 1;
    t.disk = disk_new(&disk);
    t.rng.state = seed ^ 0x626f7468;
    t.log_options.directory = "log";
    t.log_options.node = 3;
    t.log_options.segment_bytes = WAL_SEGMENT_BYTES_MIN;
    t.store_options.directory = "snap";
    t.store_options.node = 3;
    t.store_options.block_bytes = CHECKPOINT_BLOCK_BYTES_MIN;
}

/* ---- The steps of a life -------------------------------------------------------------------- */

static void done(void *ctx, uint64_t group, uint64_t seq, int status)
{
    (void)ctx;
    (void)group;
    (void)seq;
    t.stored = status == RAFT_OK ? t.tried : t.stored;
}

static int store_write(const raft_write *write)
{
    int result = wal_append(t.log, GROUP, write);
    result = result == RAFT_PENDING ? wal_commit(t.log) : result;
    wal_collect(t.log, done, NULL);
    return result;
}

static int append(void)
{
    raft_write write = {0};
    raft_range range = {t.stored.last + 1, 1, 1 + (size_t)rng_below(&t.rng, 5), 0, t.entry};
    uint8_t *out = (uint8_t *)t.entry;
    t.tried = t.stored;
    for (size_t n = 0; n < range.count; n++) {
        uint64_t payload[ENTRY_WORDS - 1];
        raft_entry entry = {++t.tried.last, 1, payload, sizeof payload, RAFT_ENTRY_DATA};
        for (size_t i = 0; i < ENTRY_WORDS - 1; i++) {
            payload[i] = word_of(entry.index, i);
        }
        CHECK_EQ(raft_entry_encode(&entry, out + range.size, sizeof t.entry - range.size), RAFT_OK);
        range.size += raft_entry_size(sizeof payload);
    }
    if (t.tried.term == 0 || rng_below(&t.rng, 10) == 0) {
        write.has_state = 1;
        write.state.term = ++t.tried.term;
    }
    write.ranges = &range;
    write.range_count = 1;
    return store_write(&write);
}

static void note_event(void *ctx, const struct checkpoint_event *event)
{
    (void)ctx;
    t.event = *event;
}

static void in_use(raft_index checkpoint)
{
    t.checkpoint = checkpoint;
    CHECK_EQ(wal_trim(t.log, GROUP, checkpoint, checkpoint + 1 - rng_below(&t.rng, 2)), RAFT_OK);
}

static void fill_data(raft_index index, uint8_t *out)
{
    for (size_t i = 0; i < data_size_of(index); i++) {
        out[i] = (uint8_t)(index + i);
    }
}

static int take(void)
{
    static uint8_t bytes[3000];
    raft_index index = t.stored.last;
    checkpoint_writer *writer;
    if (index <= t.checkpoint) {
        return RAFT_OK;
    }
    int result = checkpoint_begin(t.store, GROUP, index, 1, "m", 1, &writer);
    if (result != RAFT_OK) {
        return result;
    }
    fill_data(index, bytes);
    result = checkpoint_add(writer, bytes, data_size_of(index));
    if (result != RAFT_OK) {
        checkpoint_abort(writer);
        return result;
    }
    CHECK_EQ(checkpoint_commit(writer), RAFT_OK);
    CHECK_EQ(checkpoint_collect(t.store, note_event, NULL), 1);
    if (t.event.status == RAFT_OK) {
        in_use(index);
    }
    return t.event.status;
}

static int receive(raft_index index)
{
    static uint8_t bytes[3000];
    raft_chunk chunk = {0};
    int result = RAFT_OK;
    fill_data(index, bytes);
    chunk.index = index;
    chunk.term = 1;
    chunk.meta = "m";
    chunk.meta_size = 1;
    while (result == RAFT_OK && !chunk.last) {
        size_t left = data_size_of(index) - (size_t)chunk.offset;
        chunk.data = bytes + chunk.offset;
        chunk.size = left < 700 ? left : 700;
        chunk.last = chunk.size == left;
        result = checkpoint_receive(t.store, GROUP, &chunk);
        chunk.offset += chunk.size;
    }
    return result;
}

/* In the order that checkpoint.h gives. */
static int install(void)
{
    raft_write write = {0};
    raft_index index = t.stored.last + 1 + rng_below(&t.rng, 30);
    int result = receive(index);
    if (result != RAFT_OK) {
        return result;
    }
    t.tried = t.stored;
    t.tried.base = t.tried.last = index;
    write.has_state = 1;
    write.state.term = ++t.tried.term;
    write.meta = "m";
    write.meta_size = 1;
    write.base_index = index;
    write.base_term = 1;
    result = store_write(&write);
    result = result == RAFT_OK ? checkpoint_install(t.store, GROUP, index, 1) : result;
    if (result == RAFT_OK) {
        in_use(index);
    }
    return result;
}

static int live(int steps)
{
    for (int i = 0; i < steps; i++) {
        uint64_t what = rng_below(&t.rng, 30);
        int result = what < 26 ? append() : what < 29 ? take() : install();
        if (result != RAFT_OK) {
            return result;
        }
    }
    return RAFT_OK;
}

static int a_life(void)
{
    int result = start();
    result = result == RAFT_OK ? live(90) : result;
    if (result == RAFT_OK) {
        stop();
        result = start();
    }
    return result == RAFT_OK ? live(30) : result;
}

static int recovers(void)
{
    if (start() != RAFT_OK) {
        return 0;
    }
    struct point first = t.replayed;
    crash();
    return start() == RAFT_OK && is_point(&first) && live(20) == RAFT_OK &&
           (crash(), start()) == RAFT_OK;
}

static uint64_t calls_of_a_life(uint64_t seed)
{
    begin(seed);
    CHECK_EQ(a_life(), RAFT_OK);
    CHECK(t.checkpoint > 0);
    return disk_calls(t.disk);
}

static void say(uint64_t call, uint64_t seed)
{
    printf("    call %" PRIu64 ", seed %" PRIu64 ": %s; %s %s; %s %s\n", call, seed,
           t.fault != NULL ? t.fault : "", t.log_error.text, t.log_error.file, t.store_error.text,
           t.store_error.file);
}

/* ---- Tests ---------------------------------------------------------------------------------- */

static void a_crash_at_any_call_leaves_before_or_after(void)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        uint64_t calls = calls_of_a_life(seed);
        for (uint64_t call = 1; call <= calls; call++) {
            begin(seed);
            disk_fail_at(t.disk, call, DISK_FAULT_CRASH, 1);
            a_life();
            crash();
            if (!recovers()) {
                say(call, seed);
                CHECK(0);
            }
        }
    }
}

static void a_failure_at_any_call_leaves_before_or_after(void)
{
    static const enum disk_fault faults[] = {DISK_FAULT_EIO, DISK_FAULT_ENOSPC, DISK_FAULT_PARTIAL};
    uint64_t calls = calls_of_a_life(9);
    for (uint64_t i = 0; i < 6 * calls; i++) {
        uint64_t call = 1 + i / 6;
        begin(9);
        disk_fail_at(t.disk, call, faults[i % 3], i % 6 >= 3);
        int result = a_life();
        if (result != RAFT_OK && result != RAFT_ESTORAGE) {
            say(call, 9);
        }
        CHECK(result == RAFT_OK || result == RAFT_ESTORAGE);
        disk_fail_at(t.disk, 0, DISK_FAULT_NONE, 0);
        crash();
        if (!recovers()) {
            say(call, 9);
            CHECK(0);
        }
    }
}

/* Restart time follows the checkpoint, whatever the history. */
static void a_restart_replays_what_is_behind_the_checkpoint(void)
{
    begin(10);
    CHECK_EQ(start(), RAFT_OK);
    for (int round = 0; round < 30; round++) {
        for (int i = 0; i < 20; i++) {
            CHECK_EQ(append(), RAFT_OK);
        }
        CHECK_EQ(take(), RAFT_OK);
    }
    stop();
    CHECK_EQ(start(), RAFT_OK);
    CHECK(t.writes < 60);
}

int main(void)
{
    RUN(a_crash_at_any_call_leaves_before_or_after);
    RUN(a_failure_at_any_call_leaves_before_or_after);
    RUN(a_restart_replays_what_is_behind_the_checkpoint);
    begin(0);
    disk_free(t.disk);
    return check_done();
}
