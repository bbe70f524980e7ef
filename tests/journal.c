/* A write-ahead log under test; see journal.h. */
#include "journal.h"

#include <stdlib.h>

/* A quarter of the pool is zeros, so that bodies have sectors that look lost. */
static void fill_pool(struct journal *journal)
{
    size_t words = JOURNAL_POOL_BYTES / 8;
    for (size_t i = 0; i < words; i++) {
        journal->pool[i] = i % 512 < 128 ? 0 : rng_next(&journal->rng);
    }
}

void journal_init(struct journal *journal, uint64_t seed)
{
    struct disk_options disk = {0};
    memset(journal, 0, sizeof *journal);
    disk.seed = seed;
    disk.stale_bytes = 1;
    journal->disk = disk_new(&disk);
    journal->rng.state = seed ^ 0x77616c;
    journal->next_seq = 1;
    journal->options.io = disk_io(journal->disk);
    journal->options.directory = JOURNAL_DIRECTORY;
    journal->options.cluster = 5;
    journal->options.node = 3;
    journal->options.segment_bytes = 16384;
    fill_pool(journal);
}

void journal_free(struct journal *journal)
{
    if (journal->log != NULL) {
        disk_power_off(journal->disk);
        wal_close(journal->log);
    }
    disk_free(journal->disk);
    journal->log = NULL;
    journal->disk = NULL;
}

static uint64_t range_fingerprint(uint64_t hash, const raft_range *range)
{
    hash = hash_join(hash, range->first);
    hash = hash_join(hash, range->term);
    hash = hash_join(hash, range->count);
    return hash_bytes(hash, range->data, range->size);
}

uint64_t journal_fingerprint(uint64_t group, const raft_write *write)
{
    uint64_t hash = hash_join(group, write->has_state != 0);
    if (write->has_state) {
        hash = hash_join(hash, write->state.term);
        hash = hash_join(hash, write->state.vote);
        hash = hash_join(hash, write->state.accepted_round);
        hash = hash_join(hash, write->state.lease_max_ms);
    }
    hash = hash_join(hash, write->meta != NULL);
    hash = hash_bytes(hash, write->meta, write->meta_size);
    hash = hash_join(hash, write->meta != NULL ? write->base_index : 0);
    hash = hash_join(hash, write->meta != NULL ? write->base_term : 0);
    hash = hash_join(hash, write->truncate_from);
    for (size_t i = 0; i < write->range_count; i++) {
        hash = range_fingerprint(hash, &write->ranges[i]);
    }
    return hash;
}

/* ---- Opening and checking ------------------------------------------------------------------- */

static int note_replayed(void *ctx, uint64_t group, const raft_write *write)
{
    struct journal *journal = ctx;
    if (journal->replayed_count == JOURNAL_WRITES_MAX) {
        journal->fault = "more was replayed than was ever written";
        return RAFT_ECORRUPT;
    }
    journal->replayed[journal->replayed_count++] = journal_fingerprint(group, write);
    return 0;
}

static const char *broken_promise(const struct journal *journal)
{
    if (journal->replayed_count > journal->issued_count) {
        return "writes were replayed that were not issued (or came back from the dead)";
    }
    for (size_t i = 0; i < journal->replayed_count; i++) {
        if (journal->replayed[i] != journal->issued[i]) {
            return "what was replayed is not what was issued";
        }
    }
    if (journal->replayed_count < journal->stored_count) {
        return "a write that was reported stored is gone";
    }
    return NULL;
}

int journal_open(struct journal *journal)
{
    journal->replayed_count = 0;
    journal->failed_count = 0;
    journal->reported_count = 0;
    journal->options.io = disk_io(journal->disk);
    int result =
        wal_open(&journal->options, note_replayed, journal, &journal->error, &journal->log);
    if (result != RAFT_OK) {
        return result;
    }
    journal->fault = broken_promise(journal);
    if (journal->fault != NULL) {
        return JOURNAL_BROKEN;
    }
    journal->issued_count = journal->replayed_count;
    journal->stored_count = journal->replayed_count;
    return RAFT_OK;
}

int journal_close(struct journal *journal)
{
    int result = wal_close(journal->log);
    journal->log = NULL;
    return result;
}

/* The disk takes no call while the log is freed, so that nothing is written in passing. */
void journal_kill(struct journal *journal)
{
    struct disk *alive = disk_clone(journal->disk, rng_next(&journal->rng));
    disk_power_off(journal->disk);
    wal_close(journal->log);
    disk_free(journal->disk);
    disk_kill(alive);
    journal->disk = alive;
    journal->options.io = disk_io(alive);
    journal->log = NULL;
}

void journal_crash(struct journal *journal)
{
    disk_power_off(journal->disk);
    if (journal->log != NULL) {
        wal_close(journal->log);
        journal->log = NULL;
    }
    disk_restart(journal->disk);
}

/* ---- Writing -------------------------------------------------------------------------------- */

int journal_append_write(struct journal *journal, uint64_t group, const raft_write *write)
{
    if (journal->issued_count == JOURNAL_WRITES_MAX) {
        abort();
    }
    int result = wal_append(journal->log, group, write);
    if (result == RAFT_PENDING) {
        journal->issued[journal->issued_count++] = journal_fingerprint(group, write);
    }
    return result;
}

static raft_range random_range(struct journal *journal, size_t bytes)
{
    raft_range range;
    size_t most = JOURNAL_POOL_BYTES - bytes;
    range.first = rng_below(&journal->rng, 1000) + 1;
    range.term = rng_below(&journal->rng, 10) + 1;
    range.count = 1 + (size_t)rng_below(&journal->rng, bytes / 8);
    range.size = bytes;
    range.data = (const uint8_t *)journal->pool + rng_below(&journal->rng, most / 8) * 8;
    return range;
}

/* Mostly small, now and then as large as a sector, a page, or a good part of a file. */
static size_t random_size(struct journal *journal)
{
    static const uint32_t largest[] = {8, 40, 40, 200, 200, 600, 3000, 9000};
    uint64_t choice = rng_below(&journal->rng, sizeof largest / sizeof largest[0]);
    return 8 + (size_t)rng_below(&journal->rng, largest[choice]) / 8 * 8;
}

int journal_append(struct journal *journal)
{
    raft_range ranges[2];
    uint8_t meta[40];
    raft_write write = {0};
    write.seq = journal->next_seq++;
    write.has_state = (int)rng_below(&journal->rng, 2);
    if (write.has_state) {
        write.state.term = rng_below(&journal->rng, 100);
        write.state.vote = rng_below(&journal->rng, 4);
        write.state.accepted_round = rng_below(&journal->rng, 3);
        write.state.lease_max_ms = rng_below(&journal->rng, 3);
    }
    if (rng_below(&journal->rng, 10) == 0) {
        write.meta_size = (size_t)rng_below(&journal->rng, sizeof meta + 1);
        memset(meta, (int)rng_below(&journal->rng, 256), sizeof meta);
        write.meta = meta;
        write.base_index = rng_below(&journal->rng, 50);
        write.base_term = rng_below(&journal->rng, 5);
    }
    write.truncate_from = rng_below(&journal->rng, 3) == 0 ? rng_below(&journal->rng, 50) : 0;
    write.range_count = (size_t)rng_below(&journal->rng, 3);
    for (size_t i = 0; i < write.range_count; i++) {
        ranges[i] = random_range(journal, random_size(journal));
    }
    write.ranges = ranges;
    return journal_append_write(journal, 1 + rng_below(&journal->rng, 5), &write);
}

int journal_append_sized(struct journal *journal, uint64_t group, size_t bytes)
{
    raft_range range = random_range(journal, bytes);
    raft_write write = {0};
    write.seq = journal->next_seq++;
    write.ranges = &range;
    write.range_count = 1;
    return journal_append_write(journal, group, &write);
}

static void note_done(void *ctx, uint64_t group, uint64_t seq, int status)
{
    struct journal *journal = ctx;
    (void)group;
    (void)seq;
    journal->reported_count++;
    if (status == RAFT_OK && journal->failed_count > 0) {
        journal->fault = "a write succeeded after one before it had failed";
    }
    journal->stored_count += status == RAFT_OK;
    journal->failed_count += status != RAFT_OK;
}

int journal_commit(struct journal *journal)
{
    int result = wal_commit(journal->log);
    wal_collect(journal->log, note_done, journal);
    return result;
}

int journal_run(struct journal *journal, int batches)
{
    for (int i = 0; i < batches; i++) {
        for (uint64_t n = rng_below(&journal->rng, 4) + 1; n > 0; n--) {
            if (journal_append(journal) != RAFT_PENDING) {
                return RAFT_ESTORAGE;
            }
        }
        if (journal_commit(journal) != RAFT_OK) {
            return RAFT_ESTORAGE;
        }
    }
    return RAFT_OK;
}
