/*
 * The store of checkpoints: taking, receiving, installing and removing them.
 *
 * A file has four names in its life, all of them group-index-term: X.local while it is written here,
 * or X.incoming while it is received and X.received once that is complete; and X.checkpoint.
 *
 * Invariants:
 *   1. A file gets the name X.received or X.checkpoint only after it was written and synced whole,
 *      and nothing is reported before the directory was synced, too. So what has such a name and
 *      does not hold is damage, never a crash.
 *   2. X.received becomes X.checkpoint only when the log's record that names it is durable: by
 *      checkpoint_install, or by checkpoint_recover, which is told what the log says.
 *   3. A checkpoint is removed only when a newer one of its group is durable under its final name.
 *      Never is an older one used in the place of a newer one that is damaged: the log between them
 *      is gone (row 57).
 *   4. After a failure while one is written that one is dropped; a sync is never tried again. What
 *      was there before stays in use.
 *
 * All work on files is done as jobs, one after the other in the order of the calls: by the thread,
 * or at once where there is none. A job sees nothing but itself and its writer's part that belongs
 * to jobs; the lists of the store belong to the caller's thread. In between are the queues, under
 * the lock, which nobody holds during a system call (but for one byte through the pipe).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "checkpoint.h"

#include "checkpoint_format.h"
#include "checkpoint_read.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The disk is told to write that often, so that the last sync, which others wait behind, is short. */
#define SYNC_BYTES ((uint64_t)4 * 1024 * 1024)

enum job_kind { JOB_CREATE, JOB_BLOCK, JOB_FINISH, JOB_DROP, JOB_TELL, JOB_INSTALL, JOB_REMOVE };

struct job {
    struct job *next;
    enum job_kind kind;
    checkpoint_writer *writer;     /* null: INSTALL and REMOVE */
    struct checkpoint_name name;   /* of these two */
    struct checkpoint_event event; /* what is told when it is done; kind 0: nothing */
    size_t size;
    uint8_t bytes[]; /* CREATE: the head; BLOCK: head and data of a block */
};

struct checkpoint_writer {
    checkpoint_store *store;
    struct checkpoint_name name;
    checkpoint_writer *next; /* all that are open */

    /* Of the caller's thread. */
    struct job *ending;  /* the last job, made first: to end needs no memory */
    struct job *filling; /* the block that is not full; null: none */
    uint64_t size;       /* bytes of data taken */
    raft_id peer;        /* incoming: from whom */

    /* Of the jobs. */
    int fd;
    uint32_t seed;
    uint32_t chain;
    uint64_t offset; /* where the next block goes */
    uint64_t blocks, written, unsynced;
    int failure; /* negated errno; sticky. The caller reads it under the lock */
};

/* What is known of a group: what is durable, and what has been ordered. */
struct group {
    uint64_t id;
    int has_newest;
    raft_index newest; /* durable under its final name */
    raft_term newest_term;
    int has_ordered;
    raft_index ordered; /* the newest that was committed, installed, or found */
    struct {
        raft_index index; /* 0: none */
        raft_term term;
    } received[2]; /* complete and not installed; more of them are not remembered */
    checkpoint_writer *incoming;
};

/* A peer that a checkpoint is being sent to. */
struct sending {
    uint64_t group;
    raft_id peer;
    checkpoint_reader *reader;
    struct sending *next;
};

struct queue {
    struct job *first;
    struct job *last;
};

struct checkpoint_store {
    struct checkpoint_options options;
    const struct io *io;
    char directory[CHECKPOINT_DIRECTORY_MAX];
    int directory_fd;
    int lock_fd;

    /* Of the caller's thread. */
    struct group *groups; /* sorted by id */
    size_t group_count, group_capacity;
    checkpoint_writer *writers;
    struct sending *sendings;
    struct checkpoint_name *found; /* what the directory held, until checkpoint_recover */
    size_t found_count, found_capacity;

    /* Under the lock. */
    struct queue jobs;
    struct queue done; /* with an event to be told */
    size_t queued_bytes;
    int room_wanted;
    int is_closing;
    int is_notified;

    int has_thread;
    int pipe[2];
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

/* ---- Small parts ---------------------------------------------------------------------------- */

static void lock(checkpoint_store *store)
{
    if (store->has_thread) {
        pthread_mutex_lock(&store->mutex);
    }
}

static void unlock(checkpoint_store *store)
{
    if (store->has_thread) {
        pthread_mutex_unlock(&store->mutex);
    }
}

static void push(struct queue *queue, struct job *job)
{
    job->next = NULL;
    if (queue->last != NULL) {
        queue->last->next = job;
    } else {
        queue->first = job;
    }
    queue->last = job;
}

static struct job *pop(struct queue *queue)
{
    struct job *job = queue->first;
    if (job != NULL) {
        queue->first = job->next;
        queue->last = job->next != NULL ? queue->last : NULL;
    }
    return job;
}

static int status_of(int error)
{
    return error == 0 ? RAFT_OK : error == -ENOMEM ? RAFT_ENOMEM : RAFT_ESTORAGE;
}

static int system_of(int error)
{
    return error < 0 ? -error : 0;
}

/* ---- Groups --------------------------------------------------------------------------------- */

/* The first position whose group is not below that id. */
static size_t position_of(const checkpoint_store *store, uint64_t id)
{
    size_t low = 0;
    size_t high = store->group_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (store->groups[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct group *find_group(const checkpoint_store *store, uint64_t id)
{
    size_t position = position_of(store, id);
    return position < store->group_count && store->groups[position].id == id
               ? &store->groups[position]
               : NULL;
}

/* The group, noted if it is new; null where there is no memory. */
static struct group *get_group(checkpoint_store *store, uint64_t id)
{
    struct group *known = find_group(store, id);
    if (known != NULL) {
        return known;
    }
    if (store->group_count == store->group_capacity) {
        size_t capacity = store->group_capacity == 0 ? 8 : 2 * store->group_capacity;
        struct group *groups = realloc(store->groups, capacity * sizeof *groups);
        if (groups == NULL) {
            return NULL;
        }
        store->groups = groups;
        store->group_capacity = capacity;
    }
    size_t position = position_of(store, id);
    struct group *group = &store->groups[position];
    memmove(group + 1, group, (store->group_count - position) * sizeof *group);
    memset(group, 0, sizeof *group);
    group->id = id;
    store->group_count++;
    return group;
}

static struct checkpoint_name name_of(uint64_t group, raft_index index, raft_term term,
                                      enum checkpoint_stage stage)
{
    struct checkpoint_name name = {group, index, term, stage};
    return name;
}

/* ---- Jobs: what is done to files ------------------------------------------------------------ */

static int remove_file(checkpoint_store *store, const struct checkpoint_name *name)
{
    char path[CHECKPOINT_PATH_MAX];
    checkpoint_path(store->directory, name, path);
    int result = store->io->unlink(store->io->ctx, path);
    return result == -ENOENT ? 0 : result;
}

static int rename_file(checkpoint_store *store, const struct checkpoint_name *from,
                       const struct checkpoint_name *to)
{
    char old_path[CHECKPOINT_PATH_MAX];
    char new_path[CHECKPOINT_PATH_MAX];
    checkpoint_path(store->directory, from, old_path);
    checkpoint_path(store->directory, to, new_path);
    int result = store->io->rename(store->io->ctx, old_path, new_path);
    return result < 0 ? result : store->io->fsync(store->io->ctx, store->directory_fd);
}

static int create_file(checkpoint_writer *writer, const struct job *job)
{
    checkpoint_store *store = writer->store;
    char path[CHECKPOINT_PATH_MAX];
    int result = remove_file(store, &writer->name);
    if (result < 0) {
        return result;
    }
    checkpoint_path(store->directory, &writer->name, path);
    writer->fd = io_open_file(store->io, path, O_RDWR | O_CREAT | O_EXCL);
    if (writer->fd < 0) {
        return writer->fd;
    }
    writer->offset = job->size;
    return io_write_all(store->io, writer->fd, job->bytes, job->size, 0);
}

static int write_block(checkpoint_writer *writer, struct job *job)
{
    const struct io *io = writer->store->io;
    uint32_t size = (uint32_t)(job->size - CHECKPOINT_BLOCK_HEAD);
    uint32_t checksum = checkpoint_encode_block(job->bytes, size, writer->blocks, writer->seed);
    int result = io_write_all(io, writer->fd, job->bytes, job->size, writer->offset);
    if (result < 0) {
        return result;
    }
    writer->chain = checkpoint_chain(writer->chain, checksum);
    writer->offset += job->size;
    writer->written += size;
    writer->blocks++;
    writer->unsynced += job->size;
    if (writer->unsynced < SYNC_BYTES) {
        return 0;
    }
    writer->unsynced = 0;
    return io->fdatasync(io->ctx, writer->fd);
}

static void close_file(checkpoint_writer *writer)
{
    const struct io *io = writer->store->io;
    if (writer->fd >= 0) {
        io->close(io->ctx, writer->fd);
        writer->fd = -1;
    }
}

/* Closed before it is known under its new name; what close says is of no interest after a sync. */
static int finish_file(checkpoint_writer *writer)
{
    const struct io *io = writer->store->io;
    struct checkpoint_foot foot = {writer->written, writer->blocks, writer->chain};
    struct checkpoint_name to = writer->name;
    uint8_t bytes[CHECKPOINT_FOOT];
    checkpoint_encode_foot(&foot, writer->seed, bytes);
    int result = io_write_all(io, writer->fd, bytes, sizeof bytes, writer->offset);
    result = result < 0 ? result : io->fsync(io->ctx, writer->fd);
    close_file(writer);
    if (result < 0) {
        return result;
    }
    to.stage = writer->name.stage == CHECKPOINT_LOCAL ? CHECKPOINT_FINAL : CHECKPOINT_COMPLETE;
    return rename_file(writer->store, &writer->name, &to);
}

/* What is left under the name of something unfinished goes; where that fails, at the next opening. */
static void drop_file(checkpoint_writer *writer)
{
    close_file(writer);
    (void)remove_file(writer->store, &writer->name);
}

/* A later job may find the file installed by an earlier one. */
static int install_file(checkpoint_store *store, const struct checkpoint_name *name)
{
    struct checkpoint_name from = *name;
    from.stage = CHECKPOINT_COMPLETE;
    return rename_file(store, &from, name);
}

static int do_writer_job(struct job *job)
{
    checkpoint_writer *writer = job->writer;
    if (job->kind == JOB_DROP) {
        drop_file(writer);
        return 0;
    }
    if (writer->failure < 0) {
        return writer->failure;
    }
    switch (job->kind) {
    case JOB_CREATE:
        return create_file(writer, job);
    case JOB_BLOCK:
        return write_block(writer, job);
    case JOB_FINISH:
        return finish_file(writer);
    default:
        return 0;
    }
}

/* Without the lock. Returns 0 or a negated errno. */
static int do_job(checkpoint_store *store, struct job *job)
{
    if (job->kind == JOB_INSTALL) {
        return install_file(store, &job->name);
    }
    if (job->kind == JOB_REMOVE) {
        (void)remove_file(store, &job->name);
        return 0;
    }
    int result = do_writer_job(job);
    if (job->kind == JOB_FINISH && result < 0) {
        drop_file(job->writer);
    }
    return result;
}

static int ends_writer(const struct job *job)
{
    return job->kind == JOB_FINISH || job->kind == JOB_DROP;
}

/* Under the lock: what follows from a job that was done. */
static void settle_job(checkpoint_store *store, struct job *job, int result)
{
    if (job->writer != NULL && result < 0) {
        job->writer->failure = result;
    }
    store->queued_bytes -= job->kind == JOB_BLOCK ? job->size : 0;
    job->event.status = status_of(result);
    job->event.system = system_of(result);
    if (ends_writer(job)) {
        free(job->writer);
    }
    if (job->event.kind != 0) {
        push(&store->done, job);
    } else {
        free(job);
    }
}

/* ---- The thread ----------------------------------------------------------------------------- */

/* Under the lock. Where the pipe fails the host finds out at its next checkpoint_collect. */
static void notify(checkpoint_store *store)
{
    static const uint8_t byte = 1;
    int has_room = store->room_wanted && store->queued_bytes <= store->options.queue_bytes / 2;
    if ((store->done.first != NULL || has_room) && !store->is_notified) {
        long result;
        do {
            result = store->io->write(store->io->ctx, store->pipe[1], &byte, 1);
        } while (result == -EINTR);
        store->is_notified = result == 1;
    }
}

static void *run_thread(void *argument)
{
    checkpoint_store *store = argument;
    lock(store);
    for (;;) {
        struct job *job = pop(&store->jobs);
        if (job != NULL) {
            unlock(store);
            int result = do_job(store, job);
            lock(store);
            settle_job(store, job, result);
            notify(store);
        } else if (store->is_closing) {
            break;
        } else {
            pthread_cond_wait(&store->wake, &store->mutex);
        }
    }
    unlock(store);
    return NULL;
}

/* The host's signals go to the host's threads, whose waiting they interrupt. */
static int create_without_signals(checkpoint_store *store)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&store->thread, NULL, run_thread, store);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static int start_thread(checkpoint_store *store)
{
    int result = store->io->pipe(store->io->ctx, store->pipe);
    if (result < 0) {
        return result;
    }
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->wake, NULL);
    store->has_thread = 1;
    int error = create_without_signals(store);
    if (error != 0) {
        store->has_thread = 0;
        pthread_mutex_destroy(&store->mutex);
        pthread_cond_destroy(&store->wake);
    }
    return -error;
}

/* The thread does what was ordered and ends. */
static void stop_thread(checkpoint_store *store)
{
    if (!store->has_thread) {
        return;
    }
    lock(store);
    store->is_closing = 1;
    pthread_cond_signal(&store->wake);
    unlock(store);
    pthread_join(store->thread, NULL);
    store->has_thread = 0;
    pthread_mutex_destroy(&store->mutex);
    pthread_cond_destroy(&store->wake);
}

/* ---- Ordering jobs -------------------------------------------------------------------------- */

static struct job *new_job(enum job_kind kind, checkpoint_writer *writer, size_t room)
{
    struct job *job = calloc(1, sizeof *job + room);
    if (job != NULL) {
        job->kind = kind;
        job->writer = writer;
    }
    return job;
}

static void set_event(struct job *job, int kind, const struct checkpoint_name *name, raft_id peer)
{
    job->event.kind = kind;
    job->event.group = name->group;
    job->event.index = name->index;
    job->event.term = name->term;
    job->event.peer = peer;
}

/* RAFT_PENDING, or without a thread how it ended. */
static int order(checkpoint_store *store, struct job *job)
{
    lock(store);
    store->queued_bytes += job->kind == JOB_BLOCK ? job->size : 0;
    if (store->has_thread) {
        push(&store->jobs, job);
        pthread_cond_signal(&store->wake);
        unlock(store);
        return RAFT_PENDING;
    }
    int result = do_job(store, job);
    settle_job(store, job, result);
    return status_of(result);
}

/* Removing is no matter of life and death: what is left is removed at the next opening. */
static void order_removal(checkpoint_store *store, struct checkpoint_name name)
{
    struct job *job = new_job(JOB_REMOVE, NULL, 0);
    if (job != NULL) {
        job->name = name;
        (void)order(store, job);
    }
}

/* ---- Writers -------------------------------------------------------------------------------- */

static void unlink_writer(checkpoint_writer *writer)
{
    checkpoint_writer **link = &writer->store->writers;
    while (*link != writer) {
        link = &(*link)->next;
    }
    *link = writer->next;
}

static int encode_head(checkpoint_writer *writer, const void *meta, size_t meta_size,
                       struct job *job)
{
    checkpoint_store *store = writer->store;
    struct checkpoint_head head = {0};
    int result = store->io->random(store->io->ctx, &head.salt, sizeof head.salt);
    if (result < 0) {
        return RAFT_ESTORAGE;
    }
    head.cluster = store->options.cluster;
    head.node = store->options.node;
    head.group = writer->name.group;
    head.index = writer->name.index;
    head.term = writer->name.term;
    head.meta_size = (uint32_t)meta_size;
    head.block_bytes = store->options.block_bytes;
    writer->seed = checkpoint_encode_head(&head, meta, job->bytes);
    job->size = (size_t)checkpoint_head_bytes(head.meta_size);
    return RAFT_OK;
}

static int begin_writer(checkpoint_store *store, const struct checkpoint_name *name,
                        const void *meta, size_t meta_size, checkpoint_writer **out)
{
    checkpoint_writer *writer = calloc(1, sizeof *writer);
    struct job *job =
        new_job(JOB_CREATE, writer, (size_t)checkpoint_head_bytes((uint32_t)meta_size));
    struct job *ending = new_job(JOB_DROP, writer, 0);
    if (writer == NULL || job == NULL || ending == NULL) {
        free(writer);
        free(job);
        free(ending);
        return RAFT_ENOMEM;
    }
    writer->ending = ending;
    writer->store = store;
    writer->name = *name;
    writer->fd = -1;
    int result = encode_head(writer, meta, meta_size, job);
    if (result != RAFT_OK) {
        free(ending);
        free(writer);
        free(job);
        return result;
    }
    writer->next = store->writers;
    store->writers = writer;
    (void)order(store, job);
    *out = writer;
    return RAFT_OK;
}

static int failure_of(checkpoint_writer *writer)
{
    lock(writer->store);
    int failure = writer->failure;
    unlock(writer->store);
    return failure;
}

static void flush_block(checkpoint_writer *writer)
{
    struct job *job = writer->filling;
    writer->filling = NULL;
    if (job != NULL) {
        (void)order(writer->store, job);
    }
}

/* Bytes that fit into the block that is not full. */
static size_t room_in_block(const checkpoint_writer *writer)
{
    size_t full = writer->store->options.block_bytes + (size_t)CHECKPOINT_BLOCK_HEAD;
    return writer->filling != NULL ? full - writer->filling->size : 0;
}

/* All blocks that the data needs, before any of it is taken: it is taken whole or not at all. */
static struct job *make_blocks(const checkpoint_writer *writer, size_t size)
{
    size_t block_bytes = writer->store->options.block_bytes;
    struct job *first = NULL;
    for (size_t made = room_in_block(writer); made < size; made += block_bytes) {
        struct job *job = new_job(JOB_BLOCK, NULL, block_bytes + CHECKPOINT_BLOCK_HEAD);
        if (job == NULL) {
            while (first != NULL) {
                job = first;
                first = first->next;
                free(job);
            }
            return NULL;
        }
        job->size = CHECKPOINT_BLOCK_HEAD;
        job->next = first;
        first = job;
    }
    return first;
}

static void fill_blocks(checkpoint_writer *writer, struct job *blocks, const uint8_t *data,
                        size_t size)
{
    size_t full = writer->store->options.block_bytes + CHECKPOINT_BLOCK_HEAD;
    writer->size += size;
    while (size > 0) {
        struct job *block = writer->filling;
        if (block == NULL) {
            block = blocks;
            blocks = blocks->next;
            block->writer = writer;
            writer->filling = block;
        }
        size_t piece = size < full - block->size ? size : full - block->size;
        memcpy(block->bytes + block->size, data, piece);
        block->size += piece;
        data += piece;
        size -= piece;
        if (block->size == full) {
            flush_block(writer);
        }
    }
}

/* RAFT_OK, RAFT_ENOMEM, or RAFT_ESTORAGE. */
static int add_data(checkpoint_writer *writer, const void *data, size_t size)
{
    int failure = failure_of(writer);
    if (failure < 0) {
        return status_of(failure);
    }
    struct job *blocks = make_blocks(writer, size);
    if (blocks == NULL && room_in_block(writer) < size) {
        return RAFT_ENOMEM;
    }
    fill_blocks(writer, blocks, data, size);
    return status_of(failure_of(writer));
}

/* The jobs see the writer for the last time in the one that is ordered here. As order. */
static int end_writer(checkpoint_writer *writer, enum job_kind kind, int event)
{
    checkpoint_store *store = writer->store;
    struct job *job = writer->ending;
    job->kind = kind;
    if (event != 0) {
        set_event(job, event, &writer->name, writer->peer);
    }
    if (kind == JOB_FINISH) {
        flush_block(writer);
    }
    free(writer->filling);
    writer->filling = NULL;
    unlink_writer(writer);
    return order(store, job);
}

static void drop_writer(checkpoint_writer *writer)
{
    (void)end_writer(writer, JOB_DROP, 0);
}

/* ---- What has become of groups -------------------------------------------------------------- */

static int is_newer(const struct group *group, raft_index index)
{
    return !group->has_ordered || index > group->ordered;
}

static void note_ordered(struct group *group, raft_index index)
{
    group->has_ordered = 1;
    group->ordered = index;
}

/* It did not come to what was ordered: the same may be ordered again. */
static void take_back(struct group *group, raft_index index)
{
    if (group->has_ordered && group->ordered == index) {
        group->has_ordered = group->has_newest;
        group->ordered = group->newest;
    }
}

/* A checkpoint is durable under its final name: the one before it goes (invariant 3). */
static void set_newest(checkpoint_store *store, struct group *group, raft_index index,
                       raft_term term)
{
    if (group->has_newest && group->newest > index) {
        order_removal(store, name_of(group->id, index, term, CHECKPOINT_FINAL));
        return;
    }
    if (group->has_newest && group->newest < index) {
        order_removal(store,
                      name_of(group->id, group->newest, group->newest_term, CHECKPOINT_FINAL));
    }
    group->has_newest = 1;
    group->newest = index;
    group->newest_term = term;
}

static int is_received(const struct group *group, raft_index index, raft_term term)
{
    return index != 0 && ((group->received[0].index == index && group->received[0].term == term) ||
                          (group->received[1].index == index && group->received[1].term == term));
}

static void note_received(struct group *group, raft_index index, raft_term term)
{
    if (!is_received(group, index, term)) {
        group->received[0] = group->received[1];
        group->received[1].index = index;
        group->received[1].term = term;
    }
}

/* What was received before the one installed, and never installed, is of no use any more. */
static void note_installed(checkpoint_store *store, struct group *group, raft_index index,
                           raft_term term)
{
    set_newest(store, group, index, term);
    for (size_t i = 0; i < 2; i++) {
        raft_index other = group->received[i].index;
        if (other != 0 && other < index) {
            order_removal(store,
                          name_of(group->id, other, group->received[i].term, CHECKPOINT_COMPLETE));
        }
        if (other <= index) {
            group->received[i].index = 0;
        }
    }
}

/* ---- Taking --------------------------------------------------------------------------------- */

int checkpoint_begin(checkpoint_store *store, uint64_t group, raft_index index, raft_term term,
                     const void *meta, size_t meta_size, checkpoint_writer **out)
{
    struct checkpoint_name name = name_of(group, index, term, CHECKPOINT_LOCAL);
    if (store == NULL || out == NULL || group == 0 || (meta == NULL && meta_size > 0) ||
        meta_size > RAFT_META_MAX) {
        return RAFT_EARG;
    }
    *out = NULL;
    struct group *known = get_group(store, group);
    if (known == NULL) {
        return RAFT_ENOMEM;
    }
    if (!is_newer(known, index)) {
        return RAFT_ESTATE;
    }
    return begin_writer(store, &name, meta, meta_size, out);
}

/* Under the lock. */
static int is_full(const checkpoint_store *store, size_t size)
{
    return store->queued_bytes > 0 && (size > store->options.queue_bytes ||
                                       store->queued_bytes > store->options.queue_bytes - size);
}

int checkpoint_add(checkpoint_writer *writer, const void *data, size_t size)
{
    if (writer == NULL || (data == NULL && size > 0)) {
        return RAFT_EARG;
    }
    checkpoint_store *store = writer->store;
    lock(store);
    int full = is_full(store, size) && writer->failure == 0;
    store->room_wanted = store->room_wanted || full;
    unlock(store);
    return full ? RAFT_EBUSY : add_data(writer, data, size);
}

int checkpoint_commit(checkpoint_writer *writer)
{
    if (writer == NULL) {
        return RAFT_EARG;
    }
    struct group *group = find_group(writer->store, writer->name.group);
    raft_index index = writer->name.index;
    if (!is_newer(group, index)) {
        drop_writer(writer);
        return RAFT_ESTATE;
    }
    note_ordered(group, index);
    (void)end_writer(writer, JOB_FINISH, CHECKPOINT_TAKEN);
    return RAFT_OK;
}

void checkpoint_abort(checkpoint_writer *writer)
{
    if (writer != NULL) {
        drop_writer(writer);
    }
}

/* ---- Receiving ------------------------------------------------------------------------------ */

static int is_piece_good(const raft_chunk *chunk)
{
    return chunk != NULL && chunk->index != 0 && (chunk->data != NULL || chunk->size == 0) &&
           (chunk->meta != NULL || chunk->meta_size == 0) && chunk->meta_size <= RAFT_META_MAX;
}

static int begin_incoming(checkpoint_store *store, struct group *group, const raft_chunk *chunk)
{
    struct checkpoint_name name =
        name_of(group->id, chunk->index, chunk->term, CHECKPOINT_INCOMING);
    if (!is_newer(group, chunk->index)) {
        return RAFT_ESTATE;
    }
    if (group->incoming != NULL) {
        drop_writer(group->incoming);
        group->incoming = NULL;
    }
    int result = begin_writer(store, &name, chunk->meta, chunk->meta_size, &group->incoming);
    if (result == RAFT_OK) {
        group->incoming->peer = chunk->peer;
    }
    return result;
}

static int is_next_piece(const checkpoint_writer *writer, const raft_chunk *chunk)
{
    return writer != NULL && writer->name.index == chunk->index &&
           writer->name.term == chunk->term && writer->size == chunk->offset;
}

/* Complete, durable, and not yet in use (invariant 2). */
static int finish_incoming(checkpoint_store *store, struct group *group)
{
    checkpoint_writer *writer = group->incoming;
    struct checkpoint_name name = writer->name;
    group->incoming = NULL;
    int result = end_writer(writer, JOB_FINISH, store->has_thread ? CHECKPOINT_RECEIVED : 0);
    if (result == RAFT_OK) {
        note_received(group, name.index, name.term);
    }
    return result;
}

/* The piece is taken in any case; while the queue is full the sender has to wait. */
static int pace_incoming(checkpoint_store *store, checkpoint_writer *writer)
{
    lock(store);
    int full = is_full(store, 0) && store->has_thread;
    unlock(store);
    struct job *job = full ? new_job(JOB_TELL, writer, 0) : NULL;
    if (job == NULL) {
        return RAFT_OK;
    }
    set_event(job, CHECKPOINT_RECEIVED, &writer->name, writer->peer);
    return order(store, job);
}

int checkpoint_receive(checkpoint_store *store, uint64_t group_id, const raft_chunk *chunk)
{
    if (store == NULL || group_id == 0 || !is_piece_good(chunk)) {
        return RAFT_EARG;
    }
    struct group *group = get_group(store, group_id);
    if (group == NULL) {
        return RAFT_ENOMEM;
    }
    int result = chunk->offset == 0 ? begin_incoming(store, group, chunk) : RAFT_OK;
    if (result != RAFT_OK) {
        return result;
    }
    if (!is_next_piece(group->incoming, chunk)) {
        return RAFT_ESTATE;
    }
    result = add_data(group->incoming, chunk->data, chunk->size);
    if (result != RAFT_OK) {
        checkpoint_receive_end(store, group_id);
        return result;
    }
    return chunk->last ? finish_incoming(store, group) : pace_incoming(store, group->incoming);
}

void checkpoint_receive_end(checkpoint_store *store, uint64_t group_id)
{
    struct group *group = store != NULL ? find_group(store, group_id) : NULL;
    if (group != NULL && group->incoming != NULL) {
        drop_writer(group->incoming);
        group->incoming = NULL;
    }
}

int checkpoint_install(checkpoint_store *store, uint64_t group_id, raft_index index, raft_term term)
{
    if (store == NULL) {
        return RAFT_EARG;
    }
    struct group *group = find_group(store, group_id);
    if (group != NULL && group->has_newest && group->newest >= index) {
        return RAFT_OK;
    }
    if (group == NULL || !is_received(group, index, term)) {
        return RAFT_ESTATE;
    }
    struct job *job = new_job(JOB_INSTALL, NULL, 0);
    if (job == NULL) {
        return RAFT_ENOMEM;
    }
    job->name = name_of(group_id, index, term, CHECKPOINT_FINAL);
    if (store->has_thread) {
        set_event(job, CHECKPOINT_INSTALLED, &job->name, 0);
    }
    if (is_newer(group, index)) {
        note_ordered(group, index);
    }
    int result = order(store, job);
    if (result == RAFT_OK) {
        note_installed(store, group, index, term);
    } else if (result != RAFT_PENDING) {
        take_back(group, index);
    }
    return result;
}

/* ---- Reading -------------------------------------------------------------------------------- */

int checkpoint_newest(const checkpoint_store *store, uint64_t group_id, raft_index *index,
                      raft_term *term)
{
    const struct group *group = store != NULL ? find_group(store, group_id) : NULL;
    if (group == NULL || !group->has_newest) {
        return 0;
    }
    *index = group->newest;
    *term = group->newest_term;
    return 1;
}

/* The thread may be giving it its final name at this moment: it has one of the two, or again. */
int checkpoint_read_begin(checkpoint_store *store, uint64_t group, raft_index index, raft_term term,
                          checkpoint_reader **out, struct checkpoint_error *error)
{
    static const enum checkpoint_stage stages[] = {CHECKPOINT_FINAL, CHECKPOINT_COMPLETE,
                                                   CHECKPOINT_FINAL};
    if (store == NULL || out == NULL) {
        return checkpoint_explain(error, RAFT_EARG, 0, NULL, "an argument is null");
    }
    *out = NULL;
    if (index == 0 && !checkpoint_newest(store, group, &index, &term)) {
        return checkpoint_explain(error, RAFT_ESTATE, 0, NULL, "the group has no checkpoint");
    }
    int result = RAFT_ESTATE;
    for (size_t i = 0; i < 3 && result == RAFT_ESTATE; i++) {
        struct checkpoint_name name = name_of(group, index, term, stages[i]);
        result = checkpoint_read_file(&store->options, &name, out, error);
    }
    return result;
}

static struct sending **find_sending(checkpoint_store *store, uint64_t group, raft_id peer)
{
    struct sending **link = &store->sendings;
    while (*link != NULL && ((*link)->group != group || (*link)->peer != peer)) {
        link = &(*link)->next;
    }
    return link;
}

static int is_of(const checkpoint_reader *reader, const raft_chunk *chunk)
{
    const struct checkpoint_info *info = checkpoint_read_info(reader);
    return info->index == chunk->index && info->term == chunk->term;
}

static int begin_sending(checkpoint_store *store, uint64_t group, const raft_chunk *chunk,
                         struct sending **out)
{
    struct sending *sending = calloc(1, sizeof *sending);
    if (sending == NULL) {
        return RAFT_ENOMEM;
    }
    int result =
        checkpoint_read_begin(store, group, chunk->index, chunk->term, &sending->reader, NULL);
    if (result != RAFT_OK) {
        free(sending);
        return result;
    }
    sending->group = group;
    sending->peer = chunk->peer;
    sending->next = store->sendings;
    store->sendings = sending;
    *out = sending;
    return RAFT_OK;
}

int checkpoint_send(checkpoint_store *store, uint64_t group, raft_chunk *chunk)
{
    if (store == NULL || chunk == NULL || chunk->index == 0 || chunk->data == NULL ||
        chunk->capacity == 0) {
        return RAFT_EARG;
    }
    struct sending *sending = *find_sending(store, group, chunk->peer);
    if (sending != NULL && !is_of(sending->reader, chunk)) {
        checkpoint_send_end(store, group, chunk->peer);
        sending = NULL;
    }
    int result = sending == NULL ? begin_sending(store, group, chunk, &sending) : RAFT_OK;
    if (result != RAFT_OK) {
        return result;
    }
    result =
        checkpoint_read(sending->reader, chunk->offset, chunk->data, chunk->capacity, &chunk->size);
    chunk->last = result == RAFT_OK &&
                  chunk->offset + chunk->size == checkpoint_read_info(sending->reader)->size;
    return result;
}

void checkpoint_send_end(checkpoint_store *store, uint64_t group, raft_id peer)
{
    struct sending **link = store != NULL ? find_sending(store, group, peer) : NULL;
    struct sending *sending = link != NULL ? *link : NULL;
    if (sending != NULL) {
        *link = sending->next;
        checkpoint_read_end(sending->reader);
        free(sending);
    }
}

/* ---- Completion ----------------------------------------------------------------------------- */

static void drain_pipe(checkpoint_store *store)
{
    uint8_t byte;
    long result;
    if (!store->is_notified) {
        return;
    }
    do {
        result = store->io->read(store->io->ctx, store->pipe[0], &byte, 1);
    } while (result == -EINTR);
    store->is_notified = 0;
}

static void drop_failed_incoming(struct group *group, const struct checkpoint_event *event)
{
    const checkpoint_writer *writer = group->incoming;
    if (writer != NULL && writer->name.index == event->index && writer->name.term == event->term) {
        drop_writer(group->incoming);
        group->incoming = NULL;
    }
}

static void note_event(checkpoint_store *store, const struct job *job)
{
    const struct checkpoint_event *event = &job->event;
    struct group *group = find_group(store, event->group);
    int is_good = event->status == RAFT_OK;
    if (event->kind == CHECKPOINT_RECEIVED && !is_good) {
        drop_failed_incoming(group, event);
    } else if (event->kind == CHECKPOINT_RECEIVED && job->kind == JOB_FINISH) {
        note_received(group, event->index, event->term);
    } else if (event->kind == CHECKPOINT_RECEIVED) {
        return;
    } else if (!is_good) {
        take_back(group, event->index);
    } else if (event->kind == CHECKPOINT_TAKEN) {
        set_newest(store, group, event->index, event->term);
    } else {
        note_installed(store, group, event->index, event->term);
    }
}

/* Under the lock. */
static int take_room(checkpoint_store *store)
{
    int has_room = store->room_wanted && store->queued_bytes <= store->options.queue_bytes / 2;
    store->room_wanted = has_room ? 0 : store->room_wanted;
    return has_room;
}

size_t checkpoint_collect(checkpoint_store *store, checkpoint_done *done, void *ctx)
{
    struct queue all;
    struct job *job;
    size_t count = 0;
    if (store == NULL) {
        return 0;
    }
    lock(store);
    drain_pipe(store);
    all = store->done;
    store->done.first = NULL;
    store->done.last = NULL;
    int has_room = take_room(store);
    unlock(store);
    while ((job = pop(&all)) != NULL) {
        note_event(store, job);
        done(ctx, &job->event);
        free(job);
        count++;
    }
    if (has_room) {
        struct checkpoint_event event = {0};
        event.kind = CHECKPOINT_ROOM;
        done(ctx, &event);
        count++;
    }
    return count;
}

int checkpoint_completion_fd(const checkpoint_store *store)
{
    return store != NULL && store->has_thread ? store->pipe[0] : -1;
}

/* ---- Opening -------------------------------------------------------------------------------- */

static int are_options_good(const struct checkpoint_options *options)
{
    return options != NULL && options->io != NULL && options->directory != NULL &&
           options->directory[0] != '\0' && strlen(options->directory) < CHECKPOINT_DIRECTORY_MAX &&
           options->node != 0 &&
           (options->block_bytes == 0 || (options->block_bytes >= CHECKPOINT_BLOCK_BYTES_MIN &&
                                          options->block_bytes <= CHECKPOINT_BLOCK_BYTES_MAX)) &&
           (!options->writer_thread || options->io->pipe != NULL);
}

static checkpoint_store *new_store(const struct checkpoint_options *options)
{
    checkpoint_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return NULL;
    }
    store->options = *options;
    store->io = options->io;
    if (options->block_bytes == 0) {
        store->options.block_bytes = CHECKPOINT_BLOCK_BYTES_DEFAULT;
    }
    if (options->queue_bytes == 0) {
        store->options.queue_bytes = CHECKPOINT_QUEUE_BYTES_DEFAULT;
    }
    memcpy(store->directory, options->directory, strlen(options->directory) + 1);
    store->options.directory = store->directory;
    store->directory_fd = -1;
    store->lock_fd = -1;
    store->pipe[0] = -1;
    store->pipe[1] = -1;
    return store;
}

static int open_directory(checkpoint_store *store, struct checkpoint_error *error)
{
    const struct io *io = store->io;
    char path[CHECKPOINT_PATH_MAX];
    int result = io->mkdir(io->ctx, store->directory, 0700);
    if (result < 0 && result != -EEXIST) {
        return checkpoint_explain(error, RAFT_ESTORAGE, result, NULL,
                                  "the directory cannot be made");
    }
    result = io_sync_parent(io, store->directory);
    if (result < 0) {
        return checkpoint_explain(error, RAFT_ESTORAGE, result, NULL,
                                  "the directory's parent cannot be synced");
    }
    store->directory_fd = io_open_file(io, store->directory, O_RDONLY | O_DIRECTORY);
    snprintf(path, sizeof path, "%s/lock", store->directory);
    store->lock_fd =
        store->directory_fd < 0 ? store->directory_fd : io_open_file(io, path, O_RDWR | O_CREAT);
    if (store->lock_fd < 0) {
        return checkpoint_explain(error, RAFT_ESTORAGE, store->lock_fd, NULL,
                                  "the directory cannot be opened");
    }
    result = io_lock_file(io, store->lock_fd);
    if (result == -EWOULDBLOCK) {
        return checkpoint_explain(error, RAFT_EBUSY, 0, NULL, "another process uses the directory");
    }
    return result == 0 ? RAFT_OK
                       : checkpoint_explain(error, RAFT_ESTORAGE, result, NULL,
                                            "the directory cannot be locked");
}

static int note_name(void *arg, const char *text)
{
    checkpoint_store *store = arg;
    struct checkpoint_name name;
    if (!checkpoint_parse_name(text, &name)) {
        return 0;
    }
    if (store->found_count == store->found_capacity) {
        size_t capacity = store->found_capacity == 0 ? 16 : 2 * store->found_capacity;
        struct checkpoint_name *found = realloc(store->found, capacity * sizeof *found);
        if (found == NULL) {
            return 1;
        }
        store->found = found;
        store->found_capacity = capacity;
    }
    store->found[store->found_count++] = name;
    return 0;
}

/* Of the finished ones the newest of each group counts; unfinished ones are removed. */
static int sort_found(checkpoint_store *store)
{
    for (size_t i = 0; i < store->found_count; i++) {
        const struct checkpoint_name *name = &store->found[i];
        struct group *group = get_group(store, name->group);
        if (group == NULL) {
            return 0;
        }
        if (name->stage == CHECKPOINT_LOCAL || name->stage == CHECKPOINT_INCOMING) {
            (void)remove_file(store, name);
        } else if (name->stage == CHECKPOINT_FINAL &&
                   (!group->has_newest || name->index > group->newest ||
                    (name->index == group->newest && name->term > group->newest_term))) {
            group->has_newest = 1;
            group->newest = name->index;
            group->newest_term = name->term;
            note_ordered(group, name->index);
        }
    }
    return 1;
}

static int open_store(checkpoint_store *store, struct checkpoint_error *error)
{
    int result = open_directory(store, error);
    if (result != RAFT_OK) {
        return result;
    }
    result = store->io->list(store->io->ctx, store->directory, note_name, store);
    if (result < 0) {
        return checkpoint_explain(error, RAFT_ESTORAGE, result, NULL,
                                  "the directory cannot be listed");
    }
    if (result > 0 || !sort_found(store)) {
        return checkpoint_explain(error, RAFT_ENOMEM, 0, NULL, "no memory");
    }
    result = store->options.writer_thread ? start_thread(store) : 0;
    return result == 0 ? RAFT_OK
                       : checkpoint_explain(error, RAFT_ESTORAGE, result, NULL,
                                            "no thread or pipe to be had");
}

int checkpoint_open(const struct checkpoint_options *options, struct checkpoint_error *error,
                    checkpoint_store **out)
{
    if (out == NULL || !are_options_good(options)) {
        return checkpoint_explain(error, RAFT_EARG, 0, NULL, "the options are not in their ranges");
    }
    *out = NULL;
    checkpoint_store *store = new_store(options);
    if (store == NULL) {
        return checkpoint_explain(error, RAFT_ENOMEM, 0, NULL, "no memory");
    }
    int result = open_store(store, error);
    if (result != RAFT_OK) {
        checkpoint_close(store);
        return result;
    }
    *out = store;
    return RAFT_OK;
}

/* ---- Recovering ----------------------------------------------------------------------------- */

static int verify_ends(checkpoint_store *store, const struct checkpoint_name *name,
                       struct checkpoint_error *error)
{
    checkpoint_reader *reader;
    int result = checkpoint_read_file(&store->options, name, &reader, error);
    checkpoint_read_end(reader);
    return result;
}

/* The log's record is durable, the last step may not have been done: it is done now. */
static int recover_base(checkpoint_store *store, const struct checkpoint_base *base,
                        struct checkpoint_error *error)
{
    struct group *group = find_group(store, base->group);
    struct checkpoint_name from =
        name_of(base->group, base->index, base->term, CHECKPOINT_COMPLETE);
    struct checkpoint_name to = name_of(base->group, base->index, base->term, CHECKPOINT_FINAL);
    if (group != NULL && group->has_newest &&
        (group->newest > base->index ||
         (group->newest == base->index && group->newest_term == base->term))) {
        return RAFT_OK;
    }
    int result = verify_ends(store, &from, error);
    if (result == RAFT_ESTATE || group == NULL) {
        return checkpoint_explain(error, RAFT_ECORRUPT, 0, &to,
                                  "the checkpoint that the log begins with is missing");
    }
    if (result != RAFT_OK) {
        return result;
    }
    result = rename_file(store, &from, &to);
    if (result < 0) {
        return checkpoint_explain(error, RAFT_ESTORAGE, result, &from,
                                  "the checkpoint cannot be put into use");
    }
    group->has_newest = 1;
    group->newest = base->index;
    group->newest_term = base->term;
    note_ordered(group, base->index);
    return RAFT_OK;
}

/* Older ones, and what was received for nothing. */
static int clean_up(checkpoint_store *store, struct checkpoint_error *error)
{
    for (size_t i = 0; i < store->found_count; i++) {
        const struct checkpoint_name *name = &store->found[i];
        const struct group *group = find_group(store, name->group);
        struct checkpoint_name newest =
            name_of(name->group, group->newest, group->newest_term, CHECKPOINT_FINAL);
        int is_old = name->stage == CHECKPOINT_FINAL &&
                     (name->index != group->newest || name->term != group->newest_term);
        int result = is_old ? verify_ends(store, &newest, error) : RAFT_OK;
        if (result != RAFT_OK) {
            return result;
        }
        if (is_old || name->stage == CHECKPOINT_COMPLETE) {
            (void)remove_file(store, name);
        }
    }
    return RAFT_OK;
}

int checkpoint_recover(checkpoint_store *store, const struct checkpoint_base *bases, size_t count,
                       struct checkpoint_error *error)
{
    if (store == NULL || (bases == NULL && count > 0)) {
        return checkpoint_explain(error, RAFT_EARG, 0, NULL, "an argument is null");
    }
    /* A name that was seen may be in the kernel's memory alone. */
    int result = store->io->fsync(store->io->ctx, store->directory_fd);
    if (result < 0) {
        return checkpoint_explain(error, RAFT_ESTORAGE, result, NULL,
                                  "the directory cannot be synced");
    }
    result = RAFT_OK;
    for (size_t i = 0; i < count && result == RAFT_OK; i++) {
        result = bases[i].index > 0 ? recover_base(store, &bases[i], error) : RAFT_OK;
    }
    result = result == RAFT_OK ? clean_up(store, error) : result;
    if (result == RAFT_OK) {
        free(store->found);
        store->found = NULL;
        store->found_count = 0;
        store->found_capacity = 0;
    }
    return result;
}

/* ---- Closing -------------------------------------------------------------------------------- */

static void free_done(checkpoint_store *store)
{
    struct job *job;
    while ((job = pop(&store->done)) != NULL) {
        free(job);
    }
}

void checkpoint_close(checkpoint_store *store)
{
    if (store == NULL) {
        return;
    }
    while (store->writers != NULL) {
        drop_writer(store->writers);
    }
    stop_thread(store);
    while (store->sendings != NULL) {
        checkpoint_send_end(store, store->sendings->group, store->sendings->peer);
    }
    int fds[] = {store->pipe[0], store->pipe[1], store->directory_fd, store->lock_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            store->io->close(store->io->ctx, fds[i]);
        }
    }
    free_done(store);
    free(store->groups);
    free(store->found);
    free(store);
}
