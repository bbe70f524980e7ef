/*
 * The write-ahead log: appending, group commit, the writer thread.
 *
 * Format. The log is a row of files, 0000000000000001.wal and up, each of a fixed size and all
 * zeros before its first record. The first 4096 bytes are the file's head: version, cluster, node,
 * number, size, a random salt, the counts at which its records begin and where those of the file
 * before it end. Then come records, one for each raft_write. A record is its head, then hard state,
 * ranges, metadata and entries, the latter in the encoding that the engine uses everywhere. A
 * checksum over the body stands in the head, and one over the head, the file's head and the position
 * in front of it. Every record names its group. (The bytes are in wal_format.c.)
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
 *   5. At opening (where something was replayed) and at closing a mark is written: an empty record
 *      whose only sense is that all before it was confirmed, so that damage to it is never taken
 *      for a torn end.
 *
 * Threads. The caller's thread fills one batch while the writer thread owns the other, the tail and
 * the last file. They exchange them under the lock, which nobody holds during a system call (but
 * for one byte through the pipe). `issued` belongs to the caller's thread alone.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "wal.h"

#include "crc32c.h"
#include "wal_format.h"
#include "wal_recover.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define PARTS_PER_CALL 64

/* A run of bytes of a batch: in its own memory, or lent. */
struct part {
    const void *lent; /* null: own */
    size_t offset;    /* own: in the batch's memory */
    size_t size;
};

struct batch {
    uint8_t *own; /* heads, descriptions, metadata and ends of all records */
    size_t own_size, own_capacity;
    struct part *parts;
    size_t part_count, part_capacity;
    size_t *heads; /* where in own the head of each record is */
    size_t head_count, head_capacity;
    uint64_t bytes;
};

struct issued {
    uint64_t group;
    uint64_t seq;
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
    struct batch batches[2];
    int filling;      /* which of them takes new writes */
    int is_committed; /* and whether it may be written */
    int is_writing;   /* the other one is being written */
    int is_closing;
    int failure;        /* positive errno; sticky */
    uint64_t completed; /* writes stored since wal_open */
    int is_notified;    /* a byte is in the pipe */
    struct wal_stats stats;

    /* Of the caller's thread: a ring of the writes not reported yet. */
    struct issued *issued;
    size_t issued_first, issued_count, issued_capacity;
    uint64_t reported;

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

/* Makes room for `more` items behind `count`. Returns the array, or null with nothing changed. */
static void *grow(void *array, size_t count, size_t more, size_t *capacity, size_t item_bytes)
{
    if (more <= *capacity - count) {
        return array;
    }
    size_t wanted = *capacity < 64 ? 64 : *capacity;
    while (wanted - count < more) {
        if (wanted > SIZE_MAX / 2 / item_bytes) {
            return NULL;
        }
        wanted *= 2;
    }
    void *larger = realloc(array, wanted * item_bytes);
    if (larger != NULL) {
        *capacity = wanted;
    }
    return larger;
}

/* ---- Filling a batch ------------------------------------------------------------------------ */

/* All of a record but the data of the ranges. */
static size_t own_bytes_of(const raft_write *write)
{
    size_t state_bytes = write->has_state ? WAL_RECORD_STATE : 0;
    return WAL_RECORD_HEAD + state_bytes + write->range_count * WAL_RECORD_RANGE +
           (size_t)wal_padded(write->meta_size) + WAL_RECORD_END;
}

static int reserve(struct batch *batch, const raft_write *write)
{
    uint8_t *own = grow(batch->own, batch->own_size, own_bytes_of(write), &batch->own_capacity, 1);
    if (own == NULL) {
        return 0;
    }
    batch->own = own;
    struct part *parts = grow(batch->parts, batch->part_count, write->range_count + 2,
                              &batch->part_capacity, sizeof *parts);
    if (parts == NULL) {
        return 0;
    }
    batch->parts = parts;
    size_t *heads = grow(batch->heads, batch->head_count, 1, &batch->head_capacity, sizeof *heads);
    if (heads == NULL) {
        return 0;
    }
    batch->heads = heads;
    return 1;
}

/* What follows own bytes directly joins their part, so that most batches are few parts. */
static void add_own(struct batch *batch, size_t size)
{
    struct part *last = batch->part_count > 0 ? &batch->parts[batch->part_count - 1] : NULL;
    if (last != NULL && last->lent == NULL) {
        last->size += size;
    } else {
        struct part *part = &batch->parts[batch->part_count++];
        part->lent = NULL;
        part->offset = batch->own_size;
        part->size = size;
    }
    batch->own_size += size;
}

static void add_lent(struct batch *batch, const void *data, size_t size)
{
    struct part *part = &batch->parts[batch->part_count++];
    part->lent = data;
    part->offset = 0;
    part->size = size;
}

/* Everything between the head and the data of the ranges. Returns its size. */
static size_t describe_write(const raft_write *write, uint8_t *out)
{
    uint8_t *start = out;
    if (write->has_state) {
        wal_encode_state(&write->state, out);
        out += WAL_RECORD_STATE;
    }
    for (size_t i = 0; i < write->range_count; i++) {
        wal_encode_range(&write->ranges[i], out);
        out += WAL_RECORD_RANGE;
    }
    if (write->meta_size > 0) {
        size_t padded = (size_t)wal_padded(write->meta_size);
        memcpy(out, write->meta, write->meta_size);
        memset(out + write->meta_size, 0, padded - write->meta_size);
        out += padded;
    }
    return (size_t)(out - start);
}

static uint32_t flags_of(uint64_t group, const raft_write *write)
{
    return (write->has_state ? WAL_HAS_STATE : 0u) | (write->meta != NULL ? WAL_HAS_META : 0u) |
           (group == 0 ? WAL_IS_MARK : 0u);
}

/* There is room for it. */
static void add_record(struct batch *batch, uint64_t group, const raft_write *write)
{
    uint8_t *head = batch->own + batch->own_size;
    size_t described = describe_write(write, head + WAL_RECORD_HEAD);
    struct wal_record record = {0};
    record.size = WAL_RECORD_HEAD + described + WAL_RECORD_END;
    record.group = group;
    record.truncate_from = write->truncate_from;
    record.range_count = (uint32_t)write->range_count;
    record.meta_size = (uint32_t)write->meta_size;
    record.flags = flags_of(group, write);
    record.body_crc = crc32c(0, head + WAL_RECORD_HEAD, described);
    batch->heads[batch->head_count++] = batch->own_size;
    add_own(batch, WAL_RECORD_HEAD + described);
    for (size_t i = 0; i < write->range_count; i++) {
        const raft_range *range = &write->ranges[i];
        record.body_crc = crc32c(record.body_crc, range->data, range->size);
        record.size += range->size;
        add_lent(batch, range->data, range->size);
    }
    memcpy(batch->own + batch->own_size, wal_record_end, WAL_RECORD_END);
    record.body_crc = crc32c(record.body_crc, wal_record_end, WAL_RECORD_END);
    add_own(batch, WAL_RECORD_END);
    wal_encode_record(&record, head);
    batch->bytes += record.size;
}

static void empty_batch(struct batch *batch)
{
    batch->own_size = 0;
    batch->part_count = 0;
    batch->head_count = 0;
    batch->bytes = 0;
}

static void free_batch(struct batch *batch)
{
    free(batch->own);
    free(batch->parts);
    free(batch->heads);
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
    int fd = wal_open_file(io, path, O_RDWR | O_CREAT | O_EXCL);
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
    return 0;
}

/* ---- Writing a batch ------------------------------------------------------------------------ */

static void place_records(struct wal_tail *tail, struct batch *batch)
{
    uint64_t offset = tail->offset;
    for (size_t i = 0; i < batch->head_count; i++) {
        uint8_t *head = batch->own + batch->heads[i];
        int is_last = i + 1 == batch->head_count;
        wal_place_record(head, tail->seed, offset, tail->next_sequence++, tail->next_batch,
                         is_last);
        offset += wal_record_size(head);
    }
    tail->next_batch++;
}

/* The parts from one of them on, less the bytes of it that are written already. */
static int gather(const struct batch *batch, size_t first, size_t skip,
                  struct iovec out[PARTS_PER_CALL])
{
    int count = 0;
    for (size_t i = first; i < batch->part_count && count < PARTS_PER_CALL; i++, count++) {
        const struct part *part = &batch->parts[i];
        const uint8_t *data = part->lent != NULL ? part->lent : batch->own + part->offset;
        data += skip;
        /* The member has no const. */
        memcpy(&out[count].iov_base, &data, sizeof data);
        out[count].iov_len = part->size - skip;
        skip = 0;
    }
    return count;
}

static int write_parts(wal *log, const struct batch *batch, uint64_t offset)
{
    size_t part = 0;
    size_t skip = 0;
    while (part < batch->part_count) {
        struct iovec vector[PARTS_PER_CALL];
        int count = gather(batch, part, skip, vector);
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
static int store_batch(wal *log, struct batch *batch, int sync, uint64_t *sync_us)
{
    struct wal_tail *tail = &log->tail;
    if (tail->fd < 0 || tail->is_dirty || batch->bytes > tail->segment.size - tail->offset) {
        int result = begin_segment(log, batch->bytes);
        if (result < 0) {
            return result;
        }
    }
    place_records(tail, batch);
    int result = write_parts(log, batch, tail->offset);
    if (result == 0 && sync) {
        result = sync_tail(log, sync_us);
    }
    tail->offset += batch->bytes;
    return result;
}

/* Under the lock. */
static void count_batch(wal *log, const struct batch *batch, int synced, uint64_t sync_us)
{
    struct wal_stats *stats = &log->stats;
    stats->bytes += batch->bytes;
    stats->log_bytes += batch->bytes;
    stats->segments = log->tail.segment.number;
    if (synced) {
        stats->syncs++;
        stats->sync_us_sum += sync_us;
        stats->sync_us_max = sync_us > stats->sync_us_max ? sync_us : stats->sync_us_max;
    }
}

/* Writes the batch that was being filled. Called under the lock, which it gives up meanwhile. */
static void write_batch(wal *log)
{
    struct batch *batch = &log->batches[log->filling];
    int sync = !log->options.sync_never;
    uint64_t sync_us = 0;
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
        log->completed += batch->head_count;
        log->stats.writes += batch->head_count;
    }
    empty_batch(batch);
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
    if (log->issued_count < log->issued_capacity) {
        return 1;
    }
    size_t capacity = log->issued_capacity == 0 ? 64 : 2 * log->issued_capacity;
    struct issued *ring = calloc(capacity, sizeof *ring);
    if (ring == NULL) {
        return 0;
    }
    for (size_t i = 0; i < log->issued_count; i++) {
        size_t slot = log->issued_first + i;
        ring[i] = log->issued[slot < log->issued_capacity ? slot : slot - log->issued_capacity];
    }
    free(log->issued);
    log->issued = ring;
    log->issued_first = 0;
    log->issued_capacity = capacity;
    return 1;
}

static void note_issued(wal *log, uint64_t group, uint64_t seq)
{
    size_t slot = (log->issued_first + log->issued_count) % log->issued_capacity;
    log->issued[slot].group = group;
    log->issued[slot].seq = seq;
    log->issued_count++;
}

int wal_append(wal *log, uint64_t group, const raft_write *write)
{
    if (log == NULL || !is_storable(group, write)) {
        return RAFT_EARG;
    }
    lock(log);
    struct batch *batch = &log->batches[log->filling];
    if (log->failure == 0 && !(reserve_issued(log) && reserve(batch, write))) {
        /* A write that is lost makes all later ones worthless. */
        log->failure = ENOMEM;
    }
    int failed = log->failure != 0;
    if (!failed) {
        add_record(batch, group, write);
        note_issued(log, group, write->seq);
    }
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

static struct issued take_issued(wal *log)
{
    struct issued first = log->issued[log->issued_first];
    log->issued_first = (log->issued_first + 1) % log->issued_capacity;
    log->issued_count--;
    return first;
}

/*
 * The bytes of failed writes are the lender's again, so none is reported as failed while the thread
 * may be reading them.
 */
size_t wal_collect(wal *log, wal_done *done, void *ctx)
{
    if (log == NULL) {
        return 0;
    }
    lock(log);
    drain_pipe(log);
    size_t stored = (size_t)(log->completed - log->reported);
    size_t lost = log->failure != 0 && !log->is_writing ? log->issued_count - stored : 0;
    log->reported += stored;
    unlock(log);
    for (size_t i = 0; i < stored + lost; i++) {
        struct issued issued = take_issued(log);
        done(ctx, issued.group, issued.seq, i < stored ? RAFT_OK : RAFT_ESTORAGE);
    }
    return stored + lost;
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
           options->node != 0 &&
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
    return log;
}

static int sync_directory(const struct io *io, const char *path)
{
    int fd = wal_open_file(io, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return fd;
    }
    int result = io->fsync(io->ctx, fd);
    io->close(io->ctx, fd);
    return result;
}

/* The name of a new directory is durable when its parent is synced. */
static int sync_parent(const struct io *io, const char *directory)
{
    char parent[WAL_DIRECTORY_MAX];
    memcpy(parent, directory, strlen(directory) + 1);
    size_t end = strlen(parent);
    while (end > 1 && parent[end - 1] == '/') {
        end--;
    }
    while (end > 0 && parent[end - 1] != '/') {
        end--;
    }
    while (end > 1 && parent[end - 1] == '/') {
        end--;
    }
    parent[end] = '\0';
    return sync_directory(io, end > 0 ? parent : ".");
}

static int open_directory(wal *log, struct wal_error *error)
{
    const struct io *io = log->io;
    int result = io->mkdir(io->ctx, log->directory, 0700);
    if (result < 0 && result != -EEXIST) {
        return wal_explain(error, RAFT_ESTORAGE, result, NULL, 0, "the directory cannot be made");
    }
    log->directory_fd = wal_open_file(io, log->directory, O_RDONLY | O_DIRECTORY);
    if (log->directory_fd < 0) {
        return wal_explain(error, RAFT_ESTORAGE, log->directory_fd, NULL, 0,
                           "the directory cannot be opened");
    }
    return RAFT_OK;
}

static int lock_directory(wal *log, struct wal_error *error)
{
    const struct io *io = log->io;
    char path[WAL_PATH_MAX];
    int result;
    wal_join_path(log->directory, "lock", path);
    log->lock_fd = wal_open_file(io, path, O_RDWR | O_CREAT);
    if (log->lock_fd < 0) {
        return wal_explain(error, RAFT_ESTORAGE, log->lock_fd, "lock", 0,
                           "the lock file cannot be opened");
    }
    do {
        result = io->lock(io->ctx, log->lock_fd);
    } while (result == -EINTR);
    if (result == -EWOULDBLOCK) {
        return wal_explain(error, RAFT_EBUSY, 0, "lock", 0, "another process uses the directory");
    }
    if (result < 0) {
        return wal_explain(error, RAFT_ESTORAGE, result, "lock", 0,
                           "the directory cannot be locked");
    }
    return RAFT_OK;
}

/* A record of nothing; see invariant 5. */
static int write_mark(wal *log)
{
    static const raft_write nothing = {0};
    struct batch *batch = &log->batches[log->filling];
    uint64_t sync_us = 0;
    if (!reserve(batch, &nothing)) {
        return -ENOMEM;
    }
    add_record(batch, 0, &nothing);
    int result = store_batch(log, batch, 1, &sync_us);
    if (result == 0) {
        count_batch(log, batch, 1, sync_us);
    }
    empty_batch(batch);
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
        int result = sync_parent(log->io, log->directory);
        return result < 0 ? result : begin_segment(log, 0);
    }
    int result = log->io->fsync(log->io->ctx, log->directory_fd);
    if (result < 0) {
        return result;
    }
    return tail->next_sequence > 1 || tail->is_dirty ? write_mark(log) : 0;
}

static int open_log(wal *log, wal_replay *replay, void *ctx, struct wal_error *error)
{
    int result = open_directory(log, error);
    result = result == RAFT_OK ? lock_directory(log, error) : result;
    if (result == RAFT_OK) {
        result = wal_recover(&log->options, replay, ctx, error, &log->recovered, &log->tail);
    }
    if (result != RAFT_OK) {
        return result;
    }
    log->stats.log_bytes = log->recovered.bytes;
    result = prepare_tail(log);
    if (result < 0) {
        return wal_explain(error, RAFT_ESTORAGE, result, NULL, 0, "the log cannot be continued");
    }
    log->stats.segments = log->tail.segment.number;
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
    free_batch(&log->batches[0]);
    free_batch(&log->batches[1]);
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
    int result = log->failure == 0 ? RAFT_OK : RAFT_ESTORAGE;
    free_log(log);
    return result;
}
