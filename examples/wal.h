/*
 * The write-ahead log of a process: everything that the groups of one server hand to persist, in
 * one sequence of files, with one fdatasync for all that arrived together.
 *
 * A host uses it like this:
 *
 *     wal_open(&options, replay, host, &error, &log);     replay calls raft_restore
 *     ... in persist:  return wal_append(log, group, write);
 *     ... in the loop: raft_poll(node, now);              may queue a write
 *                      wal_commit(log);                   writes and syncs all that is queued
 *                      wal_collect(log, done, host);      done calls raft_persisted
 *     ... after raft_compact:  wal_trim(log, group, checkpoint, status.first_index);
 *     ... in read_log:         return wal_read(log, group, fetch);
 *     wal_close(log);
 *
 * With a writer thread wal_commit returns at once, wal_completion_fd becomes readable when
 * something is done, and wal_collect is called then. The thread sees only bytes that were lent;
 * every callback runs on the caller's thread. Without the thread wal_commit does the work itself
 * and wal_collect after it reports everything that was queued.
 *
 * A log is used by one thread at a time. The format is described at the top of wal.c.
 */
#ifndef KEELSON_WAL_H
#define KEELSON_WAL_H

#include "../raft.h"
#include "io.h"

typedef struct wal wal;

#define WAL_FORMAT_VERSION        2u
#define WAL_SEGMENT_BYTES_DEFAULT ((uint64_t)64 * 1024 * 1024)
#define WAL_SEGMENT_BYTES_MIN     ((uint64_t)8 * 1024)
#define WAL_FILE_NAME_MAX         32u

struct wal_options {
    const struct io *io;   /* mandatory; must outlive the log */
    const char *directory; /* mandatory; made (0700) where it is missing, but not its parents */
    uint64_t cluster;      /* both are in every file; a directory of others is refused */
    uint64_t node;
    uint64_t segment_bytes; /* size of a file; a larger write gets a file of its size. 0: default */
    int sync_never;         /* nonzero: commits are not synced, and a power cut may lose them or
                               leave a log that is refused; a killed process loses nothing */
    int writer_thread;      /* nonzero: a thread of the log's own, which takes no signals, writes
                               and syncs */
    /*
     * Nonzero: for tools that look at the log of a stopped server. Nothing is made, written, synced
     * or removed, and what is replayed may be in the kernel's memory alone. cluster and node may be
     * 0, for any. A directory in use is refused as ever. Such a log takes no writes, as one that has
     * failed with EROFS, and it has no writer thread.
     */
    int read_only;
};

/* Why wal_open failed. */
struct wal_error {
    int code;                     /* what wal_open returned */
    int system;                   /* the errno behind it, positive; 0: none */
    char file[WAL_FILE_NAME_MAX]; /* name inside the directory; empty: the directory itself */
    uint64_t offset;              /* in that file */
    char text[96];                /* what is wrong, in English, without file and offset */
};

/* What wal_open found. */
struct wal_recovery {
    uint64_t writes; /* replayed */
    uint64_t moved;  /* of these, such as say again what was said in a file that is gone since */
    uint64_t bytes;  /* of files that hold them */
    uint64_t segments;
    int torn;                          /* nonzero: the last write was cut short by a crash */
    char torn_file[WAL_FILE_NAME_MAX]; /* where the cut is */
    uint64_t torn_offset;
    uint64_t cluster; /* that the files belong to; 0: there is none */
    uint64_t node;
};

struct wal_stats {
    uint64_t writes;       /* completed since wal_open */
    uint64_t bytes;        /* written since wal_open */
    uint64_t segments;     /* files there are */
    uint64_t log_bytes;    /* bytes of records in them */
    uint64_t moves;        /* groups of which something was moved, see wal_trim, since wal_open */
    uint64_t moves_failed; /* such as could not be read back or had no memory: their files stay */
    uint64_t syncs;
    uint64_t sync_us_max;
    uint64_t sync_us_sum; /* mean: divided by syncs */
};

/*
 * Called for every stored write, oldest first; normally gives it to raft_restore of that group.
 * Lends everything until it returns. Returns 0, or a negative code that ends wal_open with it.
 */
typedef int wal_replay(void *ctx, uint64_t group, const raft_write *write);

/* Called for every write that is completed, in issue order; status is RAFT_OK or RAFT_ESTORAGE. */
typedef void wal_done(void *ctx, uint64_t group, uint64_t seq, int status);

/*
 * Locks the directory, verifies and replays what it holds, and makes the log ready for appending.
 * Everything that was replayed is on stable storage when it returns. A last write that a crash cut
 * short is dropped (wal_recovered tells); any other damage is refused and nothing is changed.
 * replay may be null. Copies the options, but not what io points to. error may be null.
 * RAFT_OK, and *out is the log. Otherwise *out is null and *error is filled:
 * RAFT_EARG: options; RAFT_EBUSY: another process uses the directory; RAFT_EFOREIGN: it belongs to
 * another cluster or node; RAFT_EVERSION: it was written by another version; RAFT_ECORRUPT: damage,
 * with file and offset; RAFT_ESTORAGE: a system call failed; RAFT_ENOMEM; or what replay returned.
 */
int wal_open(const struct wal_options *options, wal_replay *replay, void *ctx,
             struct wal_error *error, wal **out);

/* What wal_open found; lent until wal_close. */
const struct wal_recovery *wal_recovered(const wal *log);

/*
 * Queues a write. Copies all of it but the entries: the bytes of the ranges are lent until the
 * write is reported by wal_collect. RAFT_PENDING; RAFT_EARG: null or group 0, nothing is queued;
 * RAFT_ESTORAGE: the log has failed, or there is no memory for the write, upon which it fails.
 * A persist callback can return the result as it is.
 */
int wal_append(wal *log, uint64_t group, const raft_write *write);

/*
 * Begins writing and syncing everything queued, as one batch with one sync; nothing is done where
 * nothing is queued. With a writer thread that is busy, what is queued goes together when it is
 * free. RAFT_OK, or RAFT_ESTORAGE: the log has failed.
 */
int wal_commit(wal *log);

/*
 * Reports the writes that have been completed since the last call. A log that has failed reports
 * all that are queued as failed. done may call wal_append. Returns how many were reported.
 */
size_t wal_collect(wal *log, wal_done *done, void *ctx);

/*
 * Says what is not needed any more of a group, because a checkpoint of it is durable by other means
 * than this log: entries below first_index, and metadata of a base_index below. checkpoint is the
 * index of that checkpoint. What joins the log to it is kept in any case, so that a replay shows
 * that they fit: the entry at that index, or metadata of it as base_index. Files go, the oldest
 * first, when nothing in them is needed by any group; they are removed when the next file is begun,
 * and never before the first call of this. What little is still needed in old files is moved:
 * written again at the end of the log with the next wal_commit, so that groups which do nothing
 * hold up nobody; only a group with megabytes in the log has to be trimmed itself (see
 * wal_oldest_group). A replay gives what was moved twice where the old place is still there; and it
 * may give more than what is needed, at the front. To be called after wal_open, too, since the log
 * does not remember it. Costs little, but for up to about a megabyte that is read to be moved.
 * RAFT_OK, also where the group is unknown; RAFT_EARG: null, group 0, or first_index is above
 * checkpoint + 1: what is in between would be lost.
 */
int wal_trim(wal *log, uint64_t group, raft_index checkpoint, raft_index first_index);

/*
 * Nothing stored of this group is needed any more, not even its hard state; a replay may still give
 * it. RAFT_OK; RAFT_EARG; RAFT_EBUSY: a write of it is not reported yet.
 */
int wal_forget(wal *log, uint64_t group);

/* A group that keeps old files from being removed, and should take a checkpoint; 0: none. */
uint64_t wal_oldest_group(const wal *log);

/*
 * Reads stored entries back, as raft_callbacks.read_log asks: such as were reported by wal_collect
 * and neither trimmed nor truncated since. Fills fetch->count and size, and as many bytes of data
 * as there is room for; every checksum is verified. It waits for the disk.
 * RAFT_OK; RAFT_ESIZE: the first entry alone needs fetch->size bytes; RAFT_ESTATE: the log does not
 * hold the first entry; RAFT_ECORRUPT: it holds something else than what was stored, or of another
 * term; RAFT_ESTORAGE: a system call failed; RAFT_ENOMEM; RAFT_EARG.
 */
int wal_read(wal *log, uint64_t group, raft_fetch *fetch);

/* Readable when wal_collect has something to report; -1 without a writer thread. */
int wal_completion_fd(const wal *log);

/*
 * 0, or the positive errno of the first failure. A log that failed writes nothing any more: what is
 * on disk is not known, and only opening it anew can tell.
 */
int wal_failed(wal *log);

void wal_get_stats(wal *log, struct wal_stats *stats);

/*
 * Finishes what is queued, joins the thread, unlocks the directory and frees the log. It waits for
 * the disk as long as that takes. Nothing is reported: call wal_collect before, and free no lent
 * bytes until wal_close has returned.
 * RAFT_OK, or RAFT_ESTORAGE where something could not be stored. null, or read only: RAFT_OK.
 */
int wal_close(wal *log);

#endif
