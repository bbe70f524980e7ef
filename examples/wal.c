/*
 * The write-ahead log: appending, group commit, the writer thread, trimming.
 *
 * Format. The log is a row of files, 0000000000000001.wal and up, each of a fixed size and all
 * zeros before its first record. The first 4096 bytes are the file's head: version, cluster, node,
 * number, size, a random salt, the counts at which its records begin, where those of the file
 * before it end, and which is the oldest file of which anything is needed. Then come records, one
 * for each raft_write. A record is its head, then hard state, ranges, metadata and entries, the
 * latter in the encoding that the engine uses everywhere. A checksum over the body stands in the
 * head, and one over the head, the file's head and the position in front of it. Every record names
 * its group. (The bytes are in wal_format.c.)
 *
 * A record holds as a whole or not at all, so of one raft_write a crash leaves all or nothing: more
 * than raft.h asks for. The order among the groups' records is the order of wal_append.
 *
 * Invariants:
 *   1. Everything queued by then goes to disk as one batch, with one sync. A batch is in one file.
 *   2. A batch is written only after the one before it was synced; a file is made, filled with
 *      zeros, synced and made known to its directory before a batch is written to it, and only
 *      after all batches of the file before it were synced. Recovery rests on this (wal_recover.c):
 *      whatever is followed by something later was once confirmed.
 *   3. After any failure of a write, a sync or of making a file nothing is written any more: what
 *      is on disk is not known, a second sync may succeed without having stored anything (row 74).
 *      Only interrupted writes go on, since they say how much they did.
 *   4. With sync_never invariant 2 holds for a killed process, but not for a power cut.
 *   5. Files are removed only when the head of a later one, durable under its name, says that they
 *      are not needed, and it says so only if whatever is needed of them was confirmed in records
 *      that follow. Recovery begins at the file that the newest head names: from there on none may
 *      be missing, before it any may. So a crash may come anywhere between two removals.
 *   6. A moved record says the hard state of a group again, or all that is needed of the group:
 *      state, metadata, and its entries after a truncation that removes them all. To a reader it is
 *      a write like others.
 *   7. At opening (where something was replayed) and at closing a mark is written: an empty record
 *      whose only sense is that all before it was confirmed, so that damage to it is never taken
 *      for a torn end.
 *
 * Threads. The caller's thread fills one batch while the writer thread owns the other, the tail and
 * the last file; it also removes files. They exchange them under the lock, which nobody holds
 * during a system call (but for one byte through the pipe). The index and what is read back belong
 * to the caller's thread alone; `issued`, too, but that the writer fills in the places.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "wal.h"

#include "wal_batch.h"
#include "wal_index.h"
#include "wal_read.h"
#include "wal_recover.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define MOVE_STEP_BYTES  ((uint64_t)1024 * 1024)     /* read back and queued at once, about */
#define MOVE_GROUP_BYTES ((uint64_t)4 * 1024 * 1024) /* a group that needs more is not moved */

/* A write, or a move, that is not reported yet. */
struct issued {
    uint64_t group;
    uint64_t seq;
    struct wal_effect effect;
    struct wal_place place; /* once it is stored */
};

struct wal {
    struct wal_options options;
    const struct io *io;
    char directory[WAL_DIRECTORY_MAX];
    int lock_fd;
    int directory_fd;
    struct wal_recovery recovered;

    /* Of whoever writes. */
    struct wal_tail tail;

    /* Under the lock, where there is a thread. */
    struct wal_batch batches[2];
    int filling;      /* which of them takes new writes */
    int is_committed; /* and whether it may be written */
    int is_writing;   /* the other one is being written */
    int is_closing;
    int failure;        /* positive errno; sticky */
    uint64_t completed; /* of those issued */
    int is_notified;    /* a byte is in the pipe */
    uint64_t oldest;    /* the oldest file of which anything is needed */
    uint64_t existing;  /* the oldest file there is */
    struct wal_stats stats;

    /* Of the caller's thread, but that places are filled in under the lock: a ring by number. */
    struct issued *issued;
    size_t issued_capacity; /* a power of two */
    uint64_t issued_count;  /* ever */
    uint64_t reported;      /* of those, also the failed ones */

    /* Of the caller's thread. */
    struct wal_index index;
    struct wal_reader reader;
    struct wal_copy copy;  /* of the group that is moved */
    int is_trimmed;        /* since wal_open; before, nothing is removed */
    uint64_t planned_file; /* the last file when the last plan was made */
    uint64_t move_below;   /* what is in older files is being moved; 0: nothing is */
    size_t move_next;      /* the group whose turn it is */

    int has_thread;
    int pipe[2];
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

/* ---- Small parts ---------------------------------------------------------------------------- */

static void lock(wal *log)
{
    if (log->has_thread) {
        pthread_mutex_lock(&log->mutex);
    }
}

static void unlock(wal *log)
{
    if (log->has_thread) {
        pthread_mutex_unlock(&log->mutex);
    }
}

/* ---- Files ---------------------------------------------------------------------------------- */

/* Reserving space only repeats itself where it was interrupted. */
static int allocate(const struct io *io, int fd, uint64_t size)
{
    int result;
    do {
        result = io->allocate(io->ctx, fd, size);
    } while (result == -EINTR);
    return result;
}

static int fill_segment(wal *log, int fd, const struct wal_segment *segment, uint32_t *seed)
{
    uint8_t head[WAL_SEGMENT_HEAD];
    int result = allocate(log->io, fd, segment->size);
    if (result < 0) {
        return result;
    }
    *seed = wal_encode_segment(segment, head);
    result = io_write_all(log->io, fd, head, sizeof head, 0);
    if (result < 0) {
        return result;
    }
    return log->io->fsync(log->io->ctx, fd);
}

static int publish_segment(wal *log, uint64_t number, const char *from)
{
    char name[WAL_FILE_NAME_MAX];
    char path[WAL_PATH_MAX];
    wal_segment_name(number, name);
    wal_join_path(log->directory, name, path);
    int result = log->io->rename(log->io->ctx, from, path);
    return result < 0 ? result : log->io->fsync(log->io->ctx, log->directory_fd);
}

/*
 * Files that nobody needs, the oldest first. Where one cannot be removed, that is tried again with
 * the next file: what it says is not lost, only ignored.
 */
static void remove_old_files(wal *log)
{
    struct wal_tail *tail = &log->tail;
    while (tail->existing < tail->segment.oldest) {
        char name[WAL_FILE_NAME_MAX];
        char path[WAL_PATH_MAX];
        wal_segment_name(tail->existing, name);
        wal_join_path(log->directory, name, path);
        int result = log->io->unlink(log->io->ctx, path);
        if (result < 0 && result != -ENOENT) {
            return;
        }
        tail->existing++;
    }
}

/* Under another name until it is complete: a file of the log is never seen half made. */
static int make_segment(wal *log, const struct wal_segment *segment, uint32_t *seed)
{
    const struct io *io = log->io;
    char path[WAL_PATH_MAX];
    wal_join_path(log->directory, "next", path);
    int result = io->unlink(io->ctx, path);
    if (result < 0 && result != -ENOENT) {
        return result;
    }
    int fd = io_open_file(io, path, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0) {
        return fd;
    }
    result = fill_segment(log, fd, segment, seed);
    result = result == 0 ? publish_segment(log, segment->number, path) : result;
    if (result < 0) {
        io->close(io->ctx, fd);
        return result;
    }
    return fd;
}

static int begin_segment(wal *log, uint64_t batch_bytes)
{
    struct wal_tail *tail = &log->tail;
    struct wal_segment segment = {0};
    uint32_t seed = 0;
    segment.cluster = log->options.cluster;
    segment.node = log->options.node;
    segment.number = tail->segment.number + 1;
    segment.size = log->options.segment_bytes;
    if (batch_bytes > segment.size - WAL_DATA_START) {
        segment.size = WAL_DATA_START + batch_bytes;
    }
    segment.first_sequence = tail->next_sequence;
    segment.first_batch = tail->next_batch;
    segment.previous_end = tail->fd < 0 ? 0 : tail->offset;
    segment.oldest = tail->oldest;
    int result = log->io->random(log->io->ctx, &segment.salt, sizeof segment.salt);
    int fd = result < 0 ? result : make_segment(log, &segment, &seed);
    if (fd < 0) {
        return fd;
    }
    if (tail->fd >= 0) {
        log->io->close(log->io->ctx, tail->fd);
    }
    tail->fd = fd;
    tail->segment = segment;
    tail->seed = seed;
    tail->offset = WAL_DATA_START;
    tail->is_dirty = 0;
    remove_old_files(log);
    return 0;
}

/* ---- Writing a batch ------------------------------------------------------------------------ */

static int write_parts(wal *log, const struct wal_batch *batch, uint64_t offset)
{
    size_t part = 0;
    size_t skip = 0;
    while (part < batch->part_count) {
        struct iovec vector[WAL_PARTS_PER_CALL];
        int count = wal_batch_gather(batch, part, skip, vector);
        long written = log->io->pwritev(log->io->ctx, log->tail.fd, vector, count, offset);
        if (written == 0) {
            return -ENOSPC;
        }
        if (written < 0 && written != -EINTR) {
            return (int)written;
        }
        size_t left = written > 0 ? (size_t)written : 0;
        offset += left;
        while (part < batch->part_count && left >= batch->parts[part].size - skip) {
            left -= batch->parts[part++].size - skip;
            skip = 0;
        }
        skip += left;
    }
    return 0;
}

static int sync_tail(wal *log, uint64_t *sync_us)
{
    uint64_t start = log->io->now_us(log->io->ctx);
    int result = log->io->fdatasync(log->io->ctx, log->tail.fd);
    uint64_t end = log->io->now_us(log->io->ctx);
    *sync_us = end > start ? end - start : 0;
    return result;
}

/* 0 once the batch is on stable storage, or a negated errno. *sync_us: how long the sync took. */
static int store_batch(wal *log, struct wal_batch *batch, int sync, uint64_t *sync_us)
{
    struct wal_tail *tail = &log->tail;
    if (tail->fd < 0 || tail->is_dirty || batch->bytes > tail->segment.size - tail->offset) {
        int result = begin_segment(log, batch->bytes);
        if (result < 0) {
            return result;
        }
    }
    wal_batch_place(batch, tail->seed, tail->offset, &tail->next_sequence, tail->next_batch++);
    int result = write_parts(log, batch, tail->offset);
    if (result == 0 && sync) {
        result = sync_tail(log, sync_us);
    }
    tail->offset += batch->bytes;
    return result;
}

/* Under the lock. */
static void note_files(wal *log)
{
    log->existing = log->tail.existing;
    log->stats.segments = log->tail.segment.number - log->existing + 1;
}

/* Under the lock. */
static void count_batch(wal *log, const struct wal_batch *batch, int synced, uint64_t sync_us)
{
    struct wal_stats *stats = &log->stats;
    stats->bytes += batch->bytes;
    stats->log_bytes += batch->bytes;
    note_files(log);
    if (synced) {
        stats->syncs++;
        stats->sync_us_sum += sync_us;
        stats->sync_us_max = sync_us > stats->sync_us_max ? sync_us : stats->sync_us_max;
    }
}

/* Under the lock: the records of the batch just stored get their places. */
static void note_places(wal *log, const struct wal_batch *batch)
{
    struct wal_place place = {log->tail.segment.number, log->tail.offset - batch->bytes,
                              log->tail.seed};
    for (size_t i = 0; i < batch->head_count; i++) {
        log->issued[(log->completed + i) & (log->issued_capacity - 1)].place = place;
        place.offset += wal_batch_record_size(batch, i);
    }
}

/* Writes the batch that was being filled. Called under the lock, which it gives up meanwhile. */
static void write_batch(wal *log)
{
    struct wal_batch *batch = &log->batches[log->filling];
    int sync = !log->options.sync_never;
    uint64_t sync_us = 0;
    log->tail.oldest = log->oldest;
    log->filling = 1 - log->filling;
    log->is_committed = 0;
    log->is_writing = 1;
    unlock(log);
    int result = store_batch(log, batch, sync, &sync_us);
    lock(log);
    log->is_writing = 0;
    if (result < 0) {
        log->failure = log->failure != 0 ? log->failure : -result;
    } else {
        count_batch(log, batch, sync, sync_us);
        note_places(log, batch);
        log->completed += batch->head_count;
    }
    wal_batch_empty(batch);
}

/* ---- The writer thread ---------------------------------------------------------------------- */

/* Under the lock. Where the pipe fails the host finds out at its next wal_collect. */
static void notify(wal *log)
{
    static const uint8_t byte = 1;
    if (!log->is_notified) {
        long result;
        do {
            result = log->io->write(log->io->ctx, log->pipe[1], &byte, 1);
        } while (result == -EINTR);
        log->is_notified = result == 1;
    }
}

static int has_work(const wal *log)
{
    return log->failure == 0 && log->is_committed && log->batches[log->filling].head_count > 0;
}

static void *run_writer(void *argument)
{
    wal *log = argument;
    lock(log);
    for (;;) {
        if (has_work(log)) {
            write_batch(log);
            notify(log);
        } else if (log->is_closing) {
            break;
        } else {
            pthread_cond_wait(&log->wake, &log->mutex);
        }
    }
    unlock(log);
    return NULL;
}

/* The host's signals go to the host's threads, whose waiting they interrupt. */
static int create_without_signals(wal *log)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&log->thread, NULL, run_writer, log);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static int start_thread(wal *log)
{
    int result = log->io->pipe(log->io->ctx, log->pipe);
    if (result < 0) {
        return result;
    }
    pthread_mutex_init(&log->mutex, NULL);
    pthread_cond_init(&log->wake, NULL);
    log->has_thread = 1;
    int error = create_without_signals(log);
    if (error != 0) {
        log->has_thread = 0;
        pthread_mutex_destroy(&log->mutex);
        pthread_cond_destroy(&log->wake);
    }
    return -error;
}

/* The thread finishes what was committed and ends. */
static void stop_thread(wal *log)
{
    if (!log->has_thread) {
        return;
    }
    lock(log);
    log->is_closing = 1;
    pthread_cond_signal(&log->wake);
    unlock(log);
    pthread_join(log->thread, NULL);
    log->has_thread = 0;
    pthread_mutex_destroy(&log->mutex);
    pthread_cond_destroy(&log->wake);
}

/* ---- Appending and committing --------------------------------------------------------------- */

static int is_storable(uint64_t group, const raft_write *write)
{
    if (group == 0 || write == NULL || (write->meta == NULL && write->meta_size > 0) ||
        (write->ranges == NULL && write->range_count > 0) || write->meta_size > INT32_MAX ||
        write->range_count > INT32_MAX / WAL_RECORD_RANGE) {
        return 0;
    }
    for (size_t i = 0; i < write->range_count; i++) {
        if (write->ranges[i].size % 8 != 0 || write->ranges[i].data == NULL) {
            return 0;
        }
    }
    return 1;
}

static int reserve_issued(wal *log)
{
    if (log->issued_count - log->reported < log->issued_capacity) {
        return 1;
    }
    size_t capacity = log->issued_capacity == 0 ? 64 : 2 * log->issued_capacity;
    struct issued *ring = calloc(capacity, sizeof *ring);
    if (ring == NULL) {
        return 0;
    }
    for (uint64_t i = log->reported; i < log->issued_count; i++) {
        ring[i & (capacity - 1)] = log->issued[i & (log->issued_capacity - 1)];
    }
    free(log->issued);
    log->issued = ring;
    log->issued_capacity = capacity;
    return 1;
}

/* Under the lock. 0: there is no memory for it. */
static int issue(wal *log, uint64_t group, const raft_write *write, int is_move)
{
    struct wal_batch *batch = &log->batches[log->filling];
    struct wal_effect effect;
    if (!reserve_issued(log) || !wal_batch_reserve(batch, write, is_move) ||
        !wal_index_expect(&log->index, group, write, &effect)) {
        return 0;
    }
    effect.is_move = is_move;
    effect.size = wal_batch_add(batch, group, write, is_move ? WAL_IS_MOVED : 0u, is_move);
    struct issued *issued = &log->issued[log->issued_count & (log->issued_capacity - 1)];
    issued->group = group;
    issued->seq = write->seq;
    issued->effect = effect;
    log->issued_count++;
    return 1;
}

int wal_append(wal *log, uint64_t group, const raft_write *write)
{
    if (log == NULL || !is_storable(group, write)) {
        return RAFT_EARG;
    }
    lock(log);
    if (log->failure == 0 && !issue(log, group, write, 0)) {
        /* A write that is lost makes all later ones worthless. */
        log->failure = ENOMEM;
    }
    int failed = log->failure != 0;
    unlock(log);
    return failed ? RAFT_ESTORAGE : RAFT_PENDING;
}

int wal_commit(wal *log)
{
    if (log == NULL) {
        return RAFT_EARG;
    }
    lock(log);
    if (log->failure == 0 && log->batches[log->filling].head_count > 0) {
        log->is_committed = 1;
        if (log->has_thread) {
            pthread_cond_signal(&log->wake);
        } else {
            write_batch(log);
        }
    }
    int failed = log->failure != 0;
    unlock(log);
    return failed ? RAFT_ESTORAGE : RAFT_OK;
}

/* ---- Trimming and moving -------------------------------------------------------------------- */

/* Under the lock: which files are needed goes one way, which are left comes back. */
static void exchange_files(wal *log)
{
    if (log->is_trimmed) {
        log->oldest = wal_index_oldest(&log->index);
    }
    log->stats.log_bytes -= wal_index_drop_files(&log->index, log->existing);
    wal_reader_release(&log->reader, log->existing);
}

/* What cannot be read back stays where it is. */
static void move_group(wal *log, struct wal_group *group, int with_data)
{
    int result = wal_reader_copy(&log->reader, &log->index, group, with_data, &log->copy);
    lock(log);
    if (result == RAFT_OK && log->failure == 0) {
        result = issue(log, group->id, &log->copy.write, 1) ? RAFT_OK : RAFT_ENOMEM;
    }
    log->stats.moves++;
    log->stats.moves_failed += result != RAFT_OK;
    unlock(log);
}

/*
 * A part of what is to be moved, so that the caller is not held up for long. A group with a write
 * on its way is passed over: what is to be said of it again is not known yet.
 */
static void move_some(wal *log)
{
    uint64_t bytes = 0;
    while (log->move_below != 0 && bytes < MOVE_STEP_BYTES) {
        if (log->move_next == log->index.group_count) {
            log->move_below = 0;
            break;
        }
        struct wal_group *group = &log->index.groups[log->move_next++];
        int with_data = wal_group_has_data_below(group, log->move_below);
        if (group->pending == 0 &&
            (with_data || wal_group_has_state_below(group, log->move_below))) {
            bytes += with_data ? wal_group_bytes(group) : WAL_RECORD_MIN;
            move_group(log, group, with_data);
        }
    }
}

/* Once for each new file: before there is one, nothing would be removed anyway. */
static void plan_moves(wal *log)
{
    uint64_t last = log->index.first_file + log->index.file_count - 1;
    uint64_t limit = log->options.segment_bytes / 4;
    if (last != log->planned_file && log->move_below == 0) {
        log->planned_file = last;
        log->move_below =
            wal_index_plan(&log->index, limit < MOVE_GROUP_BYTES ? limit : MOVE_GROUP_BYTES);
        log->move_next = 0;
    }
}

int wal_trim(wal *log, uint64_t group, raft_index checkpoint, raft_index first_index)
{
    if (log == NULL || group == 0 || (first_index > 0 && first_index - 1 > checkpoint)) {
        return RAFT_EARG;
    }
    struct wal_group *known = wal_index_find(&log->index, group);
    log->is_trimmed = 1;
    if (known != NULL) {
        wal_index_trim(&log->index, known, checkpoint, first_index);
        plan_moves(log);
    }
    lock(log);
    exchange_files(log);
    unlock(log);
    move_some(log);
    return RAFT_OK;
}

int wal_forget(wal *log, uint64_t group)
{
    if (log == NULL || group == 0) {
        return RAFT_EARG;
    }
    struct wal_group *known = wal_index_find(&log->index, group);
    if (known != NULL && known->pending > 0) {
        return RAFT_EBUSY;
    }
    log->is_trimmed = 1;
    if (known != NULL) {
        wal_index_forget(&log->index, known);
        plan_moves(log);
    }
    lock(log);
    exchange_files(log);
    unlock(log);
    return RAFT_OK;
}

uint64_t wal_oldest_group(const wal *log)
{
    return log != NULL ? wal_index_holder(&log->index) : 0;
}

int wal_read(wal *log, uint64_t group, raft_fetch *fetch)
{
    if (log == NULL || fetch == NULL || fetch->data == NULL || fetch->first == 0 ||
        fetch->last < fetch->first) {
        return RAFT_EARG;
    }
    return wal_reader_fetch(&log->reader, &log->index, wal_index_find(&log->index, group), fetch);
}

/* ---- Reporting ------------------------------------------------------------------------------ */

static void drain_pipe(wal *log)
{
    uint8_t byte;
    long result;
    if (!log->is_notified) {
        return;
    }
    do {
        result = log->io->read(log->io->ctx, log->pipe[0], &byte, 1);
    } while (result == -EINTR);
    log->is_notified = 0;
}

/* What was stored can be read back from now on, and what it replaces is not needed any more. */
static int take_issued(wal *log, struct issued *issued, int is_stored)
{
    *issued = log->issued[log->reported++ & (log->issued_capacity - 1)];
    if (is_stored) {
        wal_index_add(&log->index, &issued->effect, &issued->place);
    }
    return !issued->effect.is_move;
}

/*
 * The bytes of failed writes are the lender's again, so none is reported as failed while the thread
 * may be reading them.
 */
size_t wal_collect(wal *log, wal_done *done, void *ctx)
{
    struct issued issued;
    size_t count = 0;
    size_t stored_count = 0;
    if (log == NULL) {
        return 0;
    }
    lock(log);
    drain_pipe(log);
    uint64_t stored = log->completed;
    uint64_t end = log->failure != 0 && !log->is_writing ? log->issued_count : stored;
    unlock(log);
    while (log->reported < end) {
        int is_stored = log->reported < stored;
        if (take_issued(log, &issued, is_stored)) {
            done(ctx, issued.group, issued.seq, is_stored ? RAFT_OK : RAFT_ESTORAGE);
            count++;
            stored_count += is_stored != 0;
        }
    }
    lock(log);
    log->stats.writes += stored_count;
    exchange_files(log);
    unlock(log);
    move_some(log);
    return count;
}

int wal_completion_fd(const wal *log)
{
    return log != NULL && log->has_thread ? log->pipe[0] : -1;
}

int wal_failed(wal *log)
{
    lock(log);
    int failure = log->failure;
    unlock(log);
    return failure;
}

void wal_get_stats(wal *log, struct wal_stats *stats)
{
    lock(log);
    *stats = log->stats;
    unlock(log);
}

const struct wal_recovery *wal_recovered(const wal *log)
{
    return &log->recovered;
}

/* ---- Opening -------------------------------------------------------------------------------- */

static int are_options_good(const struct wal_options *options)
{
    return options != NULL && options->io != NULL && options->directory != NULL &&
           options->directory[0] != '\0' && strlen(options->directory) < WAL_DIRECTORY_MAX &&
           (options->node != 0 || options->read_only) &&
           !(options->read_only && options->writer_thread) &&
           (options->segment_bytes == 0 || options->segment_bytes >= WAL_SEGMENT_BYTES_MIN) &&
           (!options->writer_thread || options->io->pipe != NULL);
}

static wal *new_log(const struct wal_options *options)
{
    wal *log = calloc(1, sizeof *log);
    if (log == NULL) {
        return NULL;
    }
    log->options = *options;
    log->io = options->io;
    if (log->options.segment_bytes == 0) {
        log->options.segment_bytes = WAL_SEGMENT_BYTES_DEFAULT;
    }
    memcpy(log->directory, options->directory, strlen(options->directory) + 1);
    log->options.directory = log->directory;
    log->lock_fd = -1;
    log->directory_fd = -1;
    log->tail.fd = -1;
    log->pipe[0] = -1;
    log->pipe[1] = -1;
    wal_reader_init(&log->reader, log->io, log->directory);
    return log;
}

static int open_directory(wal *log, struct wal_error *error)
{
    const struct io *io = log->io;
    int result = log->options.read_only ? 0 : io->mkdir(io->ctx, log->directory, 0700);
    if (result < 0 && result != -EEXIST) {
        return wal_explain(error, RAFT_ESTORAGE, result, NULL, 0, "the directory cannot be made");
    }
    log->directory_fd = io_open_file(io, log->directory, O_RDONLY | O_DIRECTORY);
    if (log->directory_fd < 0) {
        return wal_explain(error, RAFT_ESTORAGE, log->directory_fd, NULL, 0,
                           "the directory cannot be opened");
    }
    return RAFT_OK;
}

/* Who only looks makes no lock file: where there is none, no server has ever run. */
static int lock_directory(wal *log, struct wal_error *error)
{
    const struct io *io = log->io;
    char path[WAL_PATH_MAX];
    wal_join_path(log->directory, "lock", path);
    log->lock_fd = io_open_file(io, path, log->options.read_only ? O_RDONLY : O_RDWR | O_CREAT);
    if (log->options.read_only && log->lock_fd == -ENOENT) {
        return RAFT_OK;
    }
    if (log->lock_fd < 0) {
        return wal_explain(error, RAFT_ESTORAGE, log->lock_fd, "lock", 0,
                           "the lock file cannot be opened");
    }
    int result = io_lock_file(io, log->lock_fd);
    if (result == -EWOULDBLOCK) {
        return wal_explain(error, RAFT_EBUSY, 0, "lock", 0, "another process uses the directory");
    }
    if (result < 0) {
        return wal_explain(error, RAFT_ESTORAGE, result, "lock", 0,
                           "the directory cannot be locked");
    }
    return RAFT_OK;
}

/* A record of nothing; see invariant 7. */
static int write_mark(wal *log)
{
    static const raft_write nothing = {0};
    struct wal_batch *batch = &log->batches[log->filling];
    uint64_t sync_us = 0;
    if (!wal_batch_reserve(batch, &nothing, 0)) {
        return -ENOMEM;
    }
    wal_batch_add(batch, 0, &nothing, WAL_IS_MARK, 0);
    int result = store_batch(log, batch, 1, &sync_us);
    if (result == 0) {
        count_batch(log, batch, 1, sync_us);
    }
    wal_batch_empty(batch);
    return result;
}

/*
 * The name of the last file, and of a directory without files, may be in the kernel's memory alone:
 * what is stored from now on must not be lost with it.
 */
static int prepare_tail(wal *log)
{
    struct wal_tail *tail = &log->tail;
    if (tail->fd < 0) {
        int result = io_sync_parent(log->io, log->directory);
        return result < 0 ? result : begin_segment(log, 0);
    }
    int result = log->io->fsync(log->io->ctx, log->directory_fd);
    if (result < 0) {
        return result;
    }
    return tail->next_sequence > 1 || tail->is_dirty ? write_mark(log) : 0;
}

/* Nothing is written after a failure (invariant 3), and none is needed for that. */
static int stay_read_only(wal *log)
{
    log->failure = EROFS;
    log->oldest = log->tail.oldest;
    log->existing = log->tail.existing;
    log->stats.segments = log->recovered.segments;
    return RAFT_OK;
}

static int open_log(wal *log, wal_replay *replay, void *ctx, struct wal_error *error)
{
    int result = open_directory(log, error);
    result = result == RAFT_OK ? lock_directory(log, error) : result;
    if (result == RAFT_OK) {
        result = wal_recover(&log->options, replay, ctx, error, &log->recovered, &log->tail,
                             &log->index);
    }
    if (result != RAFT_OK) {
        return result;
    }
    log->stats.log_bytes = log->recovered.bytes;
    if (log->options.read_only) {
        return stay_read_only(log);
    }
    result = prepare_tail(log);
    if (result < 0) {
        return wal_explain(error, RAFT_ESTORAGE, result, NULL, 0, "the log cannot be continued");
    }
    if (!wal_index_add_file(&log->index, log->tail.segment.number, log->tail.seed)) {
        return wal_explain(error, RAFT_ENOMEM, 0, NULL, 0, "no memory");
    }
    wal_index_note_end(&log->index, log->tail.segment.number, log->tail.offset);
    remove_old_files(log);
    log->oldest = log->tail.oldest;
    note_files(log);
    result = log->options.writer_thread ? start_thread(log) : 0;
    if (result < 0) {
        return wal_explain(error, RAFT_ESTORAGE, result, NULL, 0, "no thread or pipe to be had");
    }
    return RAFT_OK;
}

/* Closes what is open, in the order that keeps the lock to the last. */
static void free_log(wal *log)
{
    int fds[] = {log->pipe[0], log->pipe[1], log->tail.fd, log->directory_fd, log->lock_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            log->io->close(log->io->ctx, fds[i]);
        }
    }
    wal_batch_free(&log->batches[0]);
    wal_batch_free(&log->batches[1]);
    wal_reader_free(&log->reader);
    wal_copy_free(&log->copy);
    wal_index_free(&log->index);
    free(log->issued);
    free(log);
}

int wal_open(const struct wal_options *options, wal_replay *replay, void *ctx,
             struct wal_error *error, wal **out)
{
    if (out == NULL || !are_options_good(options)) {
        return wal_explain(error, RAFT_EARG, 0, NULL, 0, "the options are not in their ranges");
    }
    *out = NULL;
    wal *log = new_log(options);
    if (log == NULL) {
        return wal_explain(error, RAFT_ENOMEM, 0, NULL, 0, "no memory");
    }
    int result = open_log(log, replay, ctx, error);
    if (result != RAFT_OK) {
        free_log(log);
        return result;
    }
    *out = log;
    return RAFT_OK;
}

int wal_close(wal *log)
{
    if (log == NULL) {
        return RAFT_OK;
    }
    wal_commit(log);
    stop_thread(log);
    if (log->failure == 0) {
        int result = write_mark(log);
        log->failure = -result;
    }
    int result = log->failure == 0 || log->options.read_only ? RAFT_OK : RAFT_ESTORAGE;
    free_log(log);
    return result;
}
