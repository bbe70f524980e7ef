/*
 * A write-ahead log under test: on a simulated disk, with random writes from a seed, and with a
 * memory of what was issued, what was reported stored, and what a reopened log replayed.
 *
 * What journal_open checks is what the log promises (V10, V11, V21): the replayed writes are the
 * first of the issued ones, each whole and equal, and none that was reported stored is missing.
 */
#ifndef KEELSON_TEST_JOURNAL_H
#define KEELSON_TEST_JOURNAL_H

#include "../examples/wal.h"
#include "sim/disk.h"
#include "sim/random.h"

#define JOURNAL_WRITES_MAX 2048
#define JOURNAL_POOL_BYTES 32768
#define JOURNAL_DIRECTORY  "log"
#define JOURNAL_FIRST_FILE "log/0000000000000001.wal"
#define JOURNAL_DATA_START 4096u
#define JOURNAL_BROKEN     1 /* the log opened, and broke a promise */

struct journal {
    struct disk *disk;
    struct wal_options options;
    struct wal_error error; /* of the last journal_open */
    wal *log;               /* null: closed */
    struct rng rng;

    uint64_t issued[JOURNAL_WRITES_MAX]; /* fingerprints */
    size_t issued_count;
    size_t stored_count;   /* reported with RAFT_OK */
    size_t failed_count;   /* reported with another status, since journal_open */
    size_t reported_count; /* since journal_open */
    uint64_t next_seq;

    uint64_t replayed[JOURNAL_WRITES_MAX];
    size_t replayed_count;
    const char *fault; /* null, or which promise was broken */

    uint64_t pool[JOURNAL_POOL_BYTES / 8]; /* where the lent bytes of entries are */
};

/* A fresh disk and an empty journal on it, not opened. */
void journal_init(struct journal *journal, uint64_t seed);
void journal_free(struct journal *journal);

/*
 * Opens the log and checks what it replayed. Returns what wal_open returned, or JOURNAL_BROKEN
 * where it succeeded and should not have (journal->fault says why). Writes that were issued and did
 * not come back are forgotten: they are gone for good.
 */
int journal_open(struct journal *journal);

int journal_close(struct journal *journal);

/* The process dies: the log is abandoned as it is. */
void journal_kill(struct journal *journal);

/* The power fails and comes back. */
void journal_crash(struct journal *journal);

/* Queues one write; a random one, or one entry of so many payload bytes in that group. */
int journal_append(struct journal *journal);
int journal_append_sized(struct journal *journal, uint64_t group, size_t bytes);

/* Queues any write. */
int journal_append_write(struct journal *journal, uint64_t group, const raft_write *write);

/* wal_commit and wal_collect. Returns what the former did. */
int journal_commit(struct journal *journal);

/* Batches of one to four random writes each. Stops at the first error, which it returns. */
int journal_run(struct journal *journal, int batches);

/* A fingerprint of a write and its group, of everything that is to survive. */
uint64_t journal_fingerprint(uint64_t group, const raft_write *write);

#endif
