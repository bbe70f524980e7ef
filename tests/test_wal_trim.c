/*
 * Trimming a write-ahead log and reading it back, against a model: whatever is trimmed, moved,
 * truncated and cut short by crashes, every group comes back with its newest hard state, with the
 * metadata that no checkpoint replaces, and with its entries from the first one needed on, without
 * a gap and with nothing that was removed.
 */
#include "check.h"

#include "../examples/wal.h"
#include "../examples/wal_format.h"
#include "sim/disk.h"
#include "sim/random.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

enum { GROUPS = 5, LOG_MAX = 4096, BATCH_MAX = 8, META_BYTES = 24, PAYLOAD_MAX = 600 };

_Static_assert(PAYLOAD_MAX % sizeof(uint64_t) == 0, "contents are made of whole words");

/* A group as its host knows it, or as a replay makes it. */
struct group {
    raft_hard_state state;
    int has_state;
    int has_meta;
    raft_index base;
    raft_term base_term;
    uint8_t meta[META_BYTES];
    raft_index first, last; /* of the log; last < first: it is empty */
    uint8_t terms[LOG_MAX]; /* counts from first to last; must be the last member */
};

struct model {
    struct group groups[GROUPS];
};

static struct {
    struct disk *disk;
    struct wal_options options;
    struct wal_error error;
    wal *log;
    struct rng rng;
    struct model history[BATCH_MAX + 1]; /* as stored, and after each write on its way */
    size_t queued;
    int is_queued[GROUPS]; /* a write of that group is on its way */
    uint8_t *lent[2 * BATCH_MAX];
    size_t lent_count;
    raft_index checkpoint[GROUPS]; /* durable elsewhere; survives every crash */
    raft_term checkpoint_term[GROUPS];
    raft_index needed[GROUPS];
    struct model replayed;
    uint8_t sound[GROUPS][LOG_MAX]; /* replayed: the content is the right one */
    size_t replayed_writes;
    const char *fault;
    uint64_t seq;
    uint64_t reported;
} t;

static struct model *newest(void)
{
    return &t.history[t.queued];
}

/* Every write and every recovery copies one, thousands of times: of the terms only what counts. */
static void copy_model(struct model *to, const struct model *from)
{
    for (size_t g = 0; g < GROUPS; g++) {
        const struct group *group = &from->groups[g];
        memcpy(&to->groups[g], group, offsetof(struct group, terms));
        if (group->last >= group->first) {
            memcpy(to->groups[g].terms + group->first, group->terms + group->first,
                   (size_t)(group->last - group->first + 1));
        }
    }
}

/* ---- Entries that can be recognised --------------------------------------------------------- */

/* Writes the content of an entry to `out`, which has room for PAYLOAD_MAX bytes. */
static size_t payload_of(uint64_t group, raft_index index, raft_term term, uint8_t *out)
{
    struct rng rng = {hash_join(hash_join(group, index), term)};
    size_t size = (size_t)rng_below(&rng, rng_below(&rng, 12) == 0 ? PAYLOAD_MAX : 60);
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t some = rng_next(&rng);
        memcpy(out + i, &some, sizeof some);
    }
    return size;
}

static size_t encode(uint64_t group, raft_index index, raft_term term, uint8_t *out)
{
    uint8_t payload[PAYLOAD_MAX];
    raft_entry entry = {index, term, payload, 0, RAFT_ENTRY_DATA};
    entry.size = payload_of(group, index, term, payload);
    CHECK_EQ(raft_entry_encode(&entry, out, 8 + PAYLOAD_MAX + 8), RAFT_OK);
    return raft_entry_size(entry.size);
}

static int is_entry(uint64_t group, const raft_entry *entry)
{
    uint8_t payload[PAYLOAD_MAX];
    size_t size = payload_of(group, entry->index, entry->term, payload);
    return entry->size == size && (size == 0 || memcmp(entry->data, payload, size) == 0);
}

static void free_lent(void)
{
    for (size_t i = 0; i < t.lent_count; i++) {
        free(t.lent[i]);
    }
    t.lent_count = 0;
}

/* ---- What a replay gives, by the rules of raft_restore -------------------------------------- */

static int holds(const struct group *group, raft_index index, raft_term term)
{
    if (group->has_meta && group->base == index) {
        return group->base_term == term;
    }
    return index >= group->first && index <= group->last && group->terms[index] == term;
}

static void replay_meta(struct group *group, const raft_write *write)
{
    if (!holds(group, write->base_index, write->base_term)) {
        group->first = write->base_index + 1;
        group->last = write->base_index;
    }
    group->has_meta = 1;
    group->base = write->base_index;
    group->base_term = write->base_term;
    memset(group->meta, 0, META_BYTES);
    if (write->meta_size <= META_BYTES && write->meta_size > 0) {
        memcpy(group->meta, write->meta, write->meta_size);
    }
}

static void replay_range(uint64_t id, struct group *group, raft_range range)
{
    raft_entry entry;
    if (group->last < group->first) {
        group->first = range.first;
    } else if (range.first != group->last + 1) {
        t.fault = "the replayed log has a gap";
    }
    while (range.count > 0) {
        if (!raft_range_next(&range, &entry) || entry.index >= LOG_MAX) {
            t.fault = "an entry is malformed";
            return;
        }
        group->terms[entry.index] = (uint8_t)entry.term;
        t.sound[id - 1][entry.index] = (uint8_t)is_entry(id, &entry);
        group->last = entry.index;
    }
}

static int replay(void *ctx, uint64_t id, const raft_write *write)
{
    (void)ctx;
    if (id == 0 || id > GROUPS) {
        t.fault = "a group that was never written";
        return 0;
    }
    struct group *group = &t.replayed.groups[id - 1];
    t.replayed_writes++;
    if (write->has_state) {
        group->has_state = 1;
        group->state = write->state;
    }
    if (write->meta != NULL) {
        replay_meta(group, write);
    }
    if (write->truncate_from > 0 && write->truncate_from <= group->last) {
        group->last = write->truncate_from - 1;
    }
    for (size_t i = 0; i < write->range_count; i++) {
        replay_range(id, group, write->ranges[i]);
    }
    return 0;
}

/* ---- Is it what was stored? ----------------------------------------------------------------- */

static const char *difference(size_t g, const struct group *was)
{
    const struct group *is = &t.replayed.groups[g];
    if (is->has_state != was->has_state || memcmp(&is->state, &was->state, sizeof is->state) != 0) {
        return "a hard state is not the newest";
    }
    if (was->has_meta && was->base > t.checkpoint[g] &&
        (!is->has_meta || is->base != was->base || is->base_term != was->base_term ||
         memcmp(is->meta, was->meta, META_BYTES) != 0)) {
        return "metadata that is needed is not there";
    }
    if (t.checkpoint[g] > 0 && !(was->has_meta && was->base > t.checkpoint[g]) &&
        !holds(is, t.checkpoint[g], t.checkpoint_term[g])) {
        return "the log does not show that it fits the checkpoint";
    }
    if (is->last != was->last) {
        return "the log has another end";
    }
    raft_index first = was->first > t.needed[g] ? was->first : t.needed[g];
    for (raft_index i = first; i <= was->last; i++) {
        if (i < is->first || is->terms[i] != was->terms[i] || !t.sound[g][i]) {
            return "an entry is missing or another";
        }
    }
    return NULL;
}

/* The number of writes on their way that were stored; -1: it is none of the states it may be. */
static int matching_history(void)
{
    const char *why = NULL;
    for (size_t n = 0; n <= t.queued; n++) {
        size_t equal = 0;
        for (size_t g = 0; g < GROUPS; g++) {
            const char *what = difference(g, &t.history[n].groups[g]);
            equal += what == NULL;
            why = what != NULL ? what : why;
        }
        if (equal == GROUPS) {
            return (int)n;
        }
    }
    t.fault = why;
    return -1;
}

static int open_log(void)
{
    memset(&t.replayed, 0, sizeof t.replayed);
    for (size_t g = 0; g < GROUPS; g++) {
        t.replayed.groups[g].first = 1;
    }
    t.replayed_writes = 0;
    t.fault = NULL;
    t.options.io = disk_io(t.disk);
    int result = wal_open(&t.options, replay, NULL, &t.error, &t.log);
    if (result != RAFT_OK) {
        return result;
    }
    int stored = t.fault == NULL ? matching_history() : -1;
    if (stored < 0) {
        return 1;
    }
    if (stored > 0) {
        copy_model(&t.history[0], &t.history[stored]);
    }
    t.queued = 0;
    memset(t.is_queued, 0, sizeof t.is_queued);
    for (uint64_t g = 0; g < GROUPS; g++) {
        CHECK_EQ(wal_trim(t.log, g + 1, t.checkpoint[g], t.needed[g]), RAFT_OK);
    }
    return RAFT_OK;
}

/* ---- What a host does ----------------------------------------------------------------------- */

static void begin(uint64_t seed)
{
    struct disk_options disk = {0};
    wal_close(t.log);
    disk_free(t.disk);
    free_lent();
    memset(&t, 0, sizeof t);
    disk.seed = seed;
    disk.stale_bytes = 1;
    t.disk = disk_new(&disk);
    t.rng.state = seed ^ 0x7472696d;
    t.options.directory = "log";
    t.options.cluster = 5;
    t.options.node = 3;
    t.options.segment_bytes = WAL_SEGMENT_BYTES_MIN;
    for (size_t g = 0; g < GROUPS; g++) {
        t.history[0].groups[g].first = 1;
    }
}

static void end(void)
{
    wal_close(t.log);
    disk_free(t.disk);
    free_lent();
    memset(&t, 0, sizeof t);
}

static void done(void *ctx, uint64_t group, uint64_t seq, int status)
{
    (void)ctx;
    (void)group;
    CHECK(seq != 0); /* moves are no writes of the host's */
    if (status == RAFT_OK) {
        t.reported++;
    }
}

static int commit(void)
{
    int result = wal_commit(t.log);
    wal_collect(t.log, done, NULL);
    if (result == RAFT_OK) {
        copy_model(&t.history[0], newest());
        t.queued = 0;
        memset(t.is_queued, 0, sizeof t.is_queued);
        free_lent();
    }
    return result;
}

/* Queues one write; the model that it leads to is in newest() already. */
static int append(size_t g, raft_write *write)
{
    write->seq = ++t.seq;
    return wal_append(t.log, g + 1, write);
}

static struct group *next_state(size_t g)
{
    CHECK(t.queued < BATCH_MAX);
    copy_model(&t.history[t.queued + 1], newest());
    t.queued++;
    t.is_queued[g] = 1;
    return &newest()->groups[g];
}

static void raise_term(struct group *group, raft_write *write)
{
    group->has_state = 1;
    group->state.term++;
    group->state.vote = 1 + rng_below(&t.rng, 3);
    write->has_state = 1;
    write->state = group->state;
}

/* Fills a range with entries of the group's term behind its last one, and lends its bytes. */
static raft_range entries(size_t g, struct group *group, size_t count)
{
    raft_range range = {group->last + 1, group->state.term, count, 0, NULL};
    uint8_t *data = malloc(count * (16 + PAYLOAD_MAX));
    CHECK(data != NULL && group->last + count < LOG_MAX);
    for (size_t i = 0; i < count; i++) {
        group->last++;
        group->terms[group->last] = (uint8_t)group->state.term;
        range.size += encode(g + 1, group->last, group->state.term, data + range.size);
    }
    range.data = data;
    t.lent[t.lent_count++] = data;
    return range;
}

static int append_entries(size_t g, size_t count)
{
    raft_write write = {0};
    struct group *group = next_state(g);
    if (group->state.term == 0 || rng_below(&t.rng, 12) == 0) {
        raise_term(group, &write);
    }
    raft_range range = entries(g, group, count);
    write.ranges = &range;
    write.range_count = 1;
    return append(g, &write);
}

/* A new leader removes what was not committed: nothing that a checkpoint covers. */
static int overwrite(size_t g)
{
    raft_write write = {0};
    struct group *group = next_state(g);
    raft_index lowest = t.checkpoint[g] + 1 > group->first ? t.checkpoint[g] + 1 : group->first;
    raise_term(group, &write);
    if (group->last >= lowest) {
        write.truncate_from = lowest + rng_below(&t.rng, group->last - lowest + 1);
        group->last = write.truncate_from - 1;
    }
    raft_range range = entries(g, group, 1 + (size_t)rng_below(&t.rng, 3));
    write.ranges = &range;
    write.range_count = 1;
    return append(g, &write);
}

/* A snapshot from a leader, ahead of everything here; or the founding metadata. */
static int install(size_t g, raft_index ahead)
{
    raft_write write = {0};
    struct group *group = next_state(g);
    raise_term(group, &write);
    group->base = group->last + ahead;
    group->base_term = ahead == 0 ? 0 : group->state.term;
    group->has_meta = 1;
    group->first = group->base + 1;
    group->last = group->base;
    memset(group->meta, (int)(rng_below(&t.rng, 255) + 1), META_BYTES);
    write.meta = group->meta;
    write.meta_size = META_BYTES;
    write.base_index = group->base;
    write.base_term = group->base_term;
    return append(g, &write);
}

/* A checkpoint of what is stored: durable, by other means, before the log is told. */
static void trim(size_t g)
{
    const struct group *group = &t.history[0].groups[g];
    raft_index lowest = t.checkpoint[g] > group->base ? t.checkpoint[g] : group->base;
    if (lowest >= group->last && !(group->has_meta && group->base == group->last)) {
        return;
    }
    raft_index checkpoint = lowest + rng_below(&t.rng, group->last - lowest + 1);
    if (checkpoint == 0) {
        return;
    }
    raft_index trailing = rng_below(&t.rng, 3) == 0 ? rng_below(&t.rng, 20) : 0;
    raft_index first = checkpoint + 1 > trailing ? checkpoint + 1 - trailing : 1;
    t.checkpoint[g] = checkpoint;
    t.checkpoint_term[g] = checkpoint == group->base ? group->base_term : group->terms[checkpoint];
    t.needed[g] = first > t.needed[g] ? first : t.needed[g];
    CHECK_EQ(wal_trim(t.log, g + 1, checkpoint, t.needed[g]), RAFT_OK);
}

/* Some time of a host's life. The first thing that fails. */
static int live(int steps)
{
    for (int i = 0; i < steps; i++) {
        size_t g = (size_t)rng_below(&t.rng, rng_below(&t.rng, 3) == 0 ? GROUPS : 2);
        uint64_t what = rng_below(&t.rng, 100);
        int result = RAFT_PENDING;
        if (newest()->groups[g].last + 300 > LOG_MAX) {
            return RAFT_OK;
        }
        if (t.queued == BATCH_MAX && commit() != RAFT_OK) {
            return RAFT_ESTORAGE;
        }
        if (what < 60) {
            result = append_entries(g, 1 + (size_t)rng_below(&t.rng, 6));
        } else if (what < 68) {
            result = overwrite(g);
        } else if (what < 71) {
            result = install(g, 1 + rng_below(&t.rng, 50));
        } else if (what >= 90 && !t.is_queued[g]) {
            trim(g);
        } else if (t.queued > 0) {
            result = commit() == RAFT_OK ? RAFT_PENDING : RAFT_ESTORAGE;
        }
        if (result != RAFT_PENDING) {
            return result;
        }
    }
    return commit();
}

static int found_groups(void)
{
    for (size_t g = 0; g < GROUPS; g++) {
        int result = install(g, 0);
        if (result != RAFT_PENDING) {
            return result;
        }
    }
    return commit();
}

/* A wal_close that writes nothing: the process is dead. */
static void abandon(void)
{
    wal_close(t.log);
    t.log = NULL;
    free_lent();
}

static void crash(void)
{
    disk_power_off(t.disk);
    abandon();
    disk_restart(t.disk);
}

static void close_log(void)
{
    int result = wal_close(t.log);
    t.log = NULL;
    CHECK_EQ(result, RAFT_OK);
}

static uint64_t files_now(void)
{
    struct wal_stats stats;
    wal_get_stats(t.log, &stats);
    return stats.segments;
}

static int exists(uint64_t number)
{
    char path[64];
    snprintf(path, sizeof path, "log/%016" PRIx64 ".wal", number);
    return disk_size(t.disk, path) >= 0;
}

static void say(const char *what, uint64_t call, uint64_t seed)
{
    printf("    %s, call %" PRIu64 ", seed %" PRIu64 ": %s; %s %s\n", what, call, seed,
           t.fault != NULL ? t.fault : "", t.error.text, t.error.file);
}

/* ---- Tests ---------------------------------------------------------------------------------- */

static void a_trimmed_log_comes_back_as_it_was(void)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        begin(seed);
        CHECK_EQ(open_log(), RAFT_OK);
        CHECK_EQ(found_groups(), RAFT_OK);
        for (int session = 0; session < 4; session++) {
            CHECK_EQ(live(300), RAFT_OK);
            close_log();
            int result = open_log();
            if (result != RAFT_OK) {
                say("reopening", 0, seed);
            }
            CHECK_EQ(result, RAFT_OK);
        }
    }
}

static void files_that_nobody_needs_are_removed(void)
{
    begin(1);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(found_groups(), RAFT_OK);
    for (int i = 0; i < 200; i++) {
        CHECK_EQ(append_entries(0, 5), RAFT_PENDING);
        CHECK_EQ(commit(), RAFT_OK);
    }
    uint64_t before = files_now();
    CHECK(before > 5);
    CHECK(exists(1));
    raft_index last = newest()->groups[0].last;
    t.checkpoint[0] = last;
    t.checkpoint_term[0] = newest()->groups[0].terms[last];
    t.needed[0] = last + 1;
    CHECK_EQ(wal_trim(t.log, 1, last, last + 1), RAFT_OK);
    for (int i = 0; i < 60; i++) {
        CHECK_EQ(append_entries(0, 5), RAFT_PENDING);
        CHECK_EQ(commit(), RAFT_OK);
    }
    CHECK(!exists(1));
    CHECK(!exists(before - 2));
    CHECK(files_now() < before);
    close_log();
    CHECK_EQ(open_log(), RAFT_OK);
}

/* The founding of the other groups, in the first file, was moved; they were never written again. */
static void groups_that_do_nothing_hold_up_nobody(void)
{
    begin(2);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(found_groups(), RAFT_OK);
    CHECK_EQ(append_entries(3, 4), RAFT_PENDING);
    CHECK_EQ(commit(), RAFT_OK);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 30; i++) {
            CHECK_EQ(append_entries(0, 4), RAFT_PENDING);
            CHECK_EQ(commit(), RAFT_OK);
        }
        trim(0);
        CHECK(files_now() < 12);
    }
    struct wal_stats stats;
    wal_get_stats(t.log, &stats);
    CHECK(stats.moves > 0);
    CHECK_EQ(stats.moves_failed, 0);
    CHECK(!exists(1));
    close_log();
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK(wal_recovered(t.log)->moved > 0);
}

/* Restart time follows the checkpoint, not the history. */
static void what_is_replayed_is_bounded_by_the_checkpoint(void)
{
    size_t replayed[2];
    for (int longer = 0; longer < 2; longer++) {
        begin(3);
        CHECK_EQ(open_log(), RAFT_OK);
        CHECK_EQ(found_groups(), RAFT_OK);
        for (int round = 0; round < (longer ? 40 : 8); round++) {
            for (int i = 0; i < 20; i++) {
                CHECK_EQ(append_entries(0, 4), RAFT_PENDING);
                CHECK_EQ(commit(), RAFT_OK);
            }
            raft_index last = newest()->groups[0].last;
            t.checkpoint[0] = last;
            t.checkpoint_term[0] = newest()->groups[0].terms[last];
            t.needed[0] = last + 1;
            CHECK_EQ(wal_trim(t.log, 1, last, last + 1), RAFT_OK);
        }
        close_log();
        CHECK_EQ(open_log(), RAFT_OK);
        replayed[longer] = t.replayed_writes;
    }
    CHECK(replayed[0] < 100);
    CHECK(replayed[1] < 100);
}

static void nothing_is_removed_before_the_first_trim(void)
{
    begin(4);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(wal_close(t.log), RAFT_OK);
    CHECK_EQ(wal_open(&t.options, NULL, NULL, NULL, &t.log), RAFT_OK);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(install(0, 100), RAFT_PENDING);
        CHECK_EQ(append_entries(0, 5), RAFT_PENDING);
        CHECK_EQ(commit(), RAFT_OK);
    }
    CHECK(files_now() > 2);
    CHECK(exists(1));
}

/* A group with much in the log is not moved; it is named, so that it can take a checkpoint. */
static void a_group_with_much_in_the_log_is_named(void)
{
    begin(5);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(found_groups(), RAFT_OK);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(append_entries(2, 4), RAFT_PENDING);
        CHECK_EQ(append_entries(0, 4), RAFT_PENDING);
        CHECK_EQ(commit(), RAFT_OK);
    }
    CHECK_EQ(wal_trim(t.log, 1, 300, 301), RAFT_OK);
    CHECK(exists(1));
    CHECK(wal_oldest_group(t.log) != 0);
    for (uint64_t g = 1; g <= GROUPS; g++) {
        CHECK_EQ(wal_forget(t.log, g), RAFT_OK);
    }
    CHECK_EQ(wal_oldest_group(t.log), 0);
}

static void a_trim_that_would_lose_something_is_refused(void)
{
    begin(6);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(found_groups(), RAFT_OK);
    CHECK_EQ(append_entries(0, 5), RAFT_PENDING);
    CHECK_EQ(wal_forget(t.log, 1), RAFT_EBUSY);
    CHECK_EQ(commit(), RAFT_OK);
    CHECK_EQ(wal_trim(t.log, 1, 3, 5), RAFT_EARG);
    CHECK_EQ(wal_trim(t.log, 0, 3, 4), RAFT_EARG);
    CHECK_EQ(wal_trim(NULL, 1, 3, 4), RAFT_EARG);
    CHECK_EQ(wal_trim(t.log, 77, 3, 4), RAFT_OK);
    CHECK_EQ(wal_forget(t.log, 77), RAFT_OK);
    CHECK_EQ(wal_forget(t.log, 0), RAFT_EARG);
    CHECK_EQ(wal_forget(NULL, 1), RAFT_EARG);
    CHECK_EQ(wal_oldest_group(NULL), 0);
}

static void a_file_missing_behind_the_oldest_needed_is_refused(void)
{
    const struct io *io;
    uint64_t first = 1;
    char path[64];
    begin(7);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(found_groups(), RAFT_OK);
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 40; i++) {
            CHECK_EQ(append_entries(0, 4), RAFT_PENDING);
            CHECK_EQ(commit(), RAFT_OK);
        }
        if (round < 4) {
            trim(0);
        }
    }
    close_log();
    while (!exists(first)) {
        first++;
    }
    CHECK(first > 1);
    io = disk_io(t.disk);
    snprintf(path, sizeof path, "log/%016" PRIx64 ".wal", first);
    CHECK_EQ(io->rename(io->ctx, path, "log/elsewhere"), 0);
    CHECK_EQ(open_log(), RAFT_ECORRUPT);
    CHECK_STR(t.error.file, path + 4);
    CHECK_EQ(io->rename(io->ctx, "log/elsewhere", path), 0);
    CHECK_EQ(open_log(), RAFT_OK);
}

/* ---- Reading back --------------------------------------------------------------------------- */

/* Everything that is needed of a group can be read, and nothing else. */
static void check_readable(size_t g, size_t capacity)
{
    const struct group *group = &t.history[0].groups[g];
    uint8_t *room = malloc(capacity);
    raft_index next = group->first > t.needed[g] ? group->first : t.needed[g];
    CHECK(room != NULL);
    while (next <= group->last) {
        raft_fetch fetch = {1, next, next, group->terms[next], room, capacity, 0, 0};
        while (fetch.last < group->last && group->terms[fetch.last + 1] == fetch.term) {
            fetch.last++;
        }
        int result = wal_read(t.log, g + 1, &fetch);
        if (result == RAFT_ESIZE) {
            CHECK(fetch.size > capacity);
            fetch.data = realloc(room, fetch.size);
            CHECK(fetch.data != NULL);
            room = fetch.data;
            capacity = fetch.capacity = fetch.size;
            result = wal_read(t.log, g + 1, &fetch);
        }
        CHECK_EQ(result, RAFT_OK);
        CHECK(fetch.count >= 1 && fetch.count <= fetch.last - fetch.first + 1);
        CHECK(fetch.size <= capacity);
        raft_range range = {next, fetch.term, fetch.count, fetch.size, room};
        raft_entry entry;
        while (raft_range_next(&range, &entry)) {
            CHECK(is_entry(g + 1, &entry));
            next++;
        }
        CHECK_EQ(range.count, 0);
        CHECK_EQ(range.size, 0);
    }
    raft_fetch beyond = {1, group->last + 1, group->last + 9, 1, room, capacity, 0, 0};
    CHECK_EQ(wal_read(t.log, g + 1, &beyond), RAFT_ESTATE);
    free(room);
}

static void stored_entries_can_be_read_back(void)
{
    static const size_t capacities[] = {32, 300, 5000, 100000};
    for (uint64_t seed = 1; seed <= 40; seed++) {
        begin(seed);
        t.options.segment_bytes = seed % 2 == 0 ? 1 << 20 : WAL_SEGMENT_BYTES_MIN;
        CHECK_EQ(open_log(), RAFT_OK);
        CHECK_EQ(found_groups(), RAFT_OK);
        for (int round = 0; round < 6; round++) {
            CHECK_EQ(live(60), RAFT_OK);
            if (round == 3) {
                close_log();
                CHECK_EQ(open_log(), RAFT_OK);
            }
            for (size_t g = 0; g < GROUPS; g++) {
                check_readable(g, capacities[(seed + (uint64_t)round) % 4]);
            }
        }
    }
}

static void what_is_not_there_is_told_from_what_is_damaged(void)
{
    uint8_t room[512];
    begin(8);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(found_groups(), RAFT_OK);
    CHECK_EQ(append_entries(0, 6), RAFT_PENDING);
    raft_fetch fetch = {2, 2, 4, 1, room, sizeof room, 0, 0};
    fetch.term = newest()->groups[0].terms[2];
    CHECK_EQ(wal_read(t.log, 1, &fetch), RAFT_ESTATE);
    CHECK_EQ(commit(), RAFT_OK);
    CHECK_EQ(wal_read(t.log, 2, &fetch), RAFT_ESTATE);
    CHECK_EQ(wal_read(t.log, 99, &fetch), RAFT_ESTATE);
    CHECK_EQ(wal_read(t.log, 1, NULL), RAFT_EARG);
    CHECK_EQ(wal_read(NULL, 1, &fetch), RAFT_EARG);
    fetch.term++;
    CHECK_EQ(wal_read(t.log, 1, &fetch), RAFT_ECORRUPT);
    fetch.term--;
    CHECK_EQ(disk_unreadable(t.disk, "log/0000000000000001.wal", WAL_DATA_START, 4000), 0);
    CHECK_EQ(wal_read(t.log, 1, &fetch), RAFT_OK); /* what was read before is still there */
    close_log();
    CHECK_EQ(open_log(), RAFT_ESTORAGE);
}

static void damage_is_found_when_entries_are_read_back(void)
{
    uint8_t room[4096];
    for (uint64_t byte = 0; byte < 400; byte += 7) {
        begin(9);
        CHECK_EQ(open_log(), RAFT_OK);
        CHECK_EQ(append_entries(0, 20), RAFT_PENDING);
        CHECK_EQ(commit(), RAFT_OK);
        raft_fetch fetch = {2, 1, 20, newest()->groups[0].terms[1], room, sizeof room, 0, 0};
        CHECK_EQ(disk_rot(t.disk, "log/0000000000000001.wal", WAL_DATA_START + byte, 1), 0);
        CHECK_EQ(wal_read(t.log, 1, &fetch), RAFT_ECORRUPT);
    }
}

/* ---- Crashes and failures ------------------------------------------------------------------- */

static int a_life(void)
{
    int result = open_log();
    result = result == RAFT_OK ? found_groups() : result;
    result = result == RAFT_OK ? live(300) : result;
    if (result == RAFT_OK) {
        result = wal_close(t.log);
        t.log = NULL;
        result = result == RAFT_OK ? open_log() : result;
    }
    return result == RAFT_OK ? live(300) : result;
}

/* In each of them files are removed and groups are moved, or the tests would show little. */
static uint64_t calls_of_a_life(uint64_t seed)
{
    struct wal_stats stats;
    begin(seed);
    CHECK_EQ(a_life(), RAFT_OK);
    wal_get_stats(t.log, &stats);
    CHECK(!exists(1));
    CHECK(stats.moves + wal_recovered(t.log)->moved > 0);
    return disk_calls(t.disk);
}

static int recovers(void)
{
    if (open_log() != RAFT_OK) {
        return 0;
    }
    crash();
    return open_log() == RAFT_OK && live(40) == RAFT_OK && (close_log(), open_log()) == RAFT_OK;
}

static void a_crash_at_any_call_loses_nothing(void)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        uint64_t calls = calls_of_a_life(seed);
        for (uint64_t call = 1; call <= calls; call++) {
            begin(seed);
            disk_fail_at(t.disk, call, DISK_FAULT_CRASH, 1);
            a_life();
            crash();
            if (!recovers()) {
                say("power failure", call, seed);
                CHECK(0);
            }
        }
    }
}

static void every_call_fails_in_turn(enum disk_fault fault, int lasting)
{
    uint64_t calls = calls_of_a_life(7);
    for (uint64_t call = 1; call <= calls; call++) {
        begin(7);
        disk_fail_at(t.disk, call, fault, lasting);
        int result = a_life();
        if (result != RAFT_OK && result != RAFT_ESTORAGE) {
            say("fault", call, 7);
        }
        CHECK(result == RAFT_OK || result == RAFT_ESTORAGE);
        disk_fail_at(t.disk, 0, DISK_FAULT_NONE, 0);
        crash();
        if (!recovers()) {
            say("fault", call, 7);
            CHECK(0);
        }
    }
}

static void any_call_may_fail_once_or_for_good(void)
{
    every_call_fails_in_turn(DISK_FAULT_EIO, 0);
    every_call_fails_in_turn(DISK_FAULT_EIO, 1);
    every_call_fails_in_turn(DISK_FAULT_ENOSPC, 0);
    every_call_fails_in_turn(DISK_FAULT_PARTIAL, 0);
    every_call_fails_in_turn(DISK_FAULT_EINTR, 0);
    every_call_fails_in_turn(DISK_FAULT_SHORT, 0);
}

int main(void)
{
    RUN(a_trimmed_log_comes_back_as_it_was);
    RUN(files_that_nobody_needs_are_removed);
    RUN(groups_that_do_nothing_hold_up_nobody);
    RUN(what_is_replayed_is_bounded_by_the_checkpoint);
    RUN(nothing_is_removed_before_the_first_trim);
    RUN(a_group_with_much_in_the_log_is_named);
    RUN(a_trim_that_would_lose_something_is_refused);
    RUN(a_file_missing_behind_the_oldest_needed_is_refused);
    RUN(stored_entries_can_be_read_back);
    RUN(what_is_not_there_is_told_from_what_is_damaged);
    RUN(damage_is_found_when_entries_are_read_back);
    RUN(a_crash_at_any_call_loses_nothing);
    RUN(any_call_may_fail_once_or_for_good);
    end();
    return check_done();
}
