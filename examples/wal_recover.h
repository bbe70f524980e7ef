/*
 * Reading a log back: between wal.c, which appends, and wal_recover.c, which reads. The rules by
 * which a torn end is told from damage are in wal_recover.c.
 */
#ifndef KEELSON_WAL_RECOVER_H
#define KEELSON_WAL_RECOVER_H

#include "wal.h"
#include "wal_index.h"

#define WAL_DIRECTORY_MAX 1024u
#define WAL_PATH_MAX      (WAL_DIRECTORY_MAX + WAL_FILE_NAME_MAX)

/* Where the log ends and goes on. */
struct wal_tail {
    int fd; /* of the last file, for reading and writing; -1: there is no file */
    struct wal_segment segment;
    uint32_t seed;
    uint64_t offset; /* where its records end */
    uint64_t next_sequence;
    uint64_t next_batch;
    uint64_t existing; /* number of the oldest file there is */
    uint64_t oldest;   /* and of the oldest of which anything is needed */
    int is_dirty; /* something other than zeros follows: nothing may be appended to this file */
};

/* directory/name; the directory is shorter than WAL_DIRECTORY_MAX. */
void wal_join_path(const char *directory, const char *name, char out[WAL_PATH_MAX]);

void wal_segment_name(uint64_t number, char out[WAL_FILE_NAME_MAX]);

/* Fills *error, which may be null, and returns code. file may be null. */
int wal_explain(struct wal_error *error, int code, int system, const char *file, uint64_t offset,
                const char *text);

/*
 * Verifies all files of the directory, replays their records, and makes them durable, unless they
 * are only looked at. Changes no byte. Returns what wal_open returns; on RAFT_OK *found, *tail and *index (zeroed before) are
 * filled and tail->fd is the caller's to close.
 */
int wal_recover(const struct wal_options *options, wal_replay *replay, void *ctx,
                struct wal_error *error, struct wal_recovery *found, struct wal_tail *tail,
                struct wal_index *index);

#endif
