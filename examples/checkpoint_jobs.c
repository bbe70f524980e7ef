/*
 * What is done to the files of checkpoints, and the thread that does it.
 *
 * A job sees nothing but itself and its writer's part that belongs to jobs. Jobs are done one after
 * the other in the order of the calls. A writer that has failed does nothing any more, and what it
 * leaves is removed.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "checkpoint_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/*
 * The disk is told to write that often, so that the last sync, which others wait behind, is short.
 */
#define SYNC_BYTES ((uint64_t)4 * 1024 * 1024)

/* ---- Small parts ---------------------------------------------------------------------------- */

void checkpoint_lock(checkpoint_store *store)
{
    if (store->has_thread) {
        pthread_mutex_lock(&store->mutex);
    }
}

void checkpoint_unlock(checkpoint_store *store)
{
    if (store->has_thread) {
        pthread_mutex_unlock(&store->mutex);
    }
}

static void push(struct checkpoint_queue *queue, struct checkpoint_job *job)
{
    job->next = NULL;
    if (queue->last != NULL) {
        queue->last->next = job;
    } else {
        queue->first = job;
    }
    queue->last = job;
}

struct checkpoint_job *checkpoint_take_job(struct checkpoint_queue *queue)
{
    struct checkpoint_job *job = queue->first;
    if (job != NULL) {
        queue->first = job->next;
        queue->last = job->next != NULL ? queue->last : NULL;
    }
    return job;
}

int checkpoint_status_of(int error)
{
    return error == 0 ? RAFT_OK : error == -ENOMEM ? RAFT_ENOMEM : RAFT_ESTORAGE;
}

static int system_of(int error)
{
    return error < 0 ? -error : 0;
}

/* ---- Jobs: what is done to files ------------------------------------------------------------ */

int checkpoint_remove_file(checkpoint_store *store, const struct checkpoint_name *name)
{
    char path[CHECKPOINT_PATH_MAX];
    checkpoint_path(store->directory, name, path);
    int result = store->io->unlink(store->io->ctx, path);
    return result == -ENOENT ? 0 : result;
}

int checkpoint_rename_file(checkpoint_store *store, const struct checkpoint_name *from,
                           const struct checkpoint_name *to)
{
    char old_path[CHECKPOINT_PATH_MAX];
    char new_path[CHECKPOINT_PATH_MAX];
    checkpoint_path(store->directory, from, old_path);
    checkpoint_path(store->directory, to, new_path);
    int result = store->io->rename(store->io->ctx, old_path, new_path);
    return result < 0 ? result : store->io->fsync(store->io->ctx, store->directory_fd);
}

static int create_file(checkpoint_writer *writer, const struct checkpoint_job *job)
{
    checkpoint_store *store = writer->store;
    char path[CHECKPOINT_PATH_MAX];
    int result = checkpoint_remove_file(store, &writer->name);
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

static int write_block(checkpoint_writer *writer, struct checkpoint_job *job)
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
    return checkpoint_rename_file(writer->store, &writer->name, &to);
}

/*
 * What is left under the name of something unfinished goes; where that fails, at the next opening.
 */
static void drop_file(checkpoint_writer *writer)
{
    close_file(writer);
    (void)checkpoint_remove_file(writer->store, &writer->name);
}

/* A later job may find the file installed by an earlier one. */
static int install_file(checkpoint_store *store, const struct checkpoint_name *name)
{
    struct checkpoint_name from = *name;
    from.stage = CHECKPOINT_COMPLETE;
    return checkpoint_rename_file(store, &from, name);
}

static int do_writer_job(struct checkpoint_job *job)
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
static int do_job(checkpoint_store *store, struct checkpoint_job *job)
{
    if (job->kind == JOB_INSTALL) {
        return install_file(store, &job->name);
    }
    if (job->kind == JOB_REMOVE) {
        (void)checkpoint_remove_file(store, &job->name);
        return 0;
    }
    int result = do_writer_job(job);
    if (job->kind == JOB_FINISH && result < 0) {
        drop_file(job->writer);
    }
    return result;
}

static int ends_writer(const struct checkpoint_job *job)
{
    return job->kind == JOB_FINISH || job->kind == JOB_DROP;
}

/* Under the lock: what follows from a job that was done. */
static void settle_job(checkpoint_store *store, struct checkpoint_job *job, int result)
{
    if (job->writer != NULL && result < 0) {
        job->writer->failure = result;
    }
    store->queued_bytes -= job->kind == JOB_BLOCK ? job->size : 0;
    job->event.status = checkpoint_status_of(result);
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
    checkpoint_lock(store);
    for (;;) {
        struct checkpoint_job *job = checkpoint_take_job(&store->jobs);
        if (job != NULL) {
            checkpoint_unlock(store);
            int result = do_job(store, job);
            checkpoint_lock(store);
            settle_job(store, job, result);
            notify(store);
        } else if (store->is_closing) {
            break;
        } else {
            pthread_cond_wait(&store->wake, &store->mutex);
        }
    }
    checkpoint_unlock(store);
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

int checkpoint_start_thread(checkpoint_store *store)
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
void checkpoint_stop_thread(checkpoint_store *store)
{
    if (!store->has_thread) {
        return;
    }
    checkpoint_lock(store);
    store->is_closing = 1;
    pthread_cond_signal(&store->wake);
    checkpoint_unlock(store);
    pthread_join(store->thread, NULL);
    store->has_thread = 0;
    pthread_mutex_destroy(&store->mutex);
    pthread_cond_destroy(&store->wake);
}

void checkpoint_drain_pipe(checkpoint_store *store)
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

/* ---- Ordering jobs -------------------------------------------------------------------------- */

struct checkpoint_job *checkpoint_new_job(enum checkpoint_job_kind kind, checkpoint_writer *writer,
                                          size_t room)
{
    struct checkpoint_job *job = malloc(sizeof *job + room);
    if (job != NULL) {
        memset(job, 0, sizeof *job);
        job->kind = kind;
        job->writer = writer;
    }
    return job;
}

void checkpoint_set_event(struct checkpoint_job *job, int kind, const struct checkpoint_name *name,
                          raft_id peer)
{
    job->event.kind = kind;
    job->event.group = name->group;
    job->event.index = name->index;
    job->event.term = name->term;
    job->event.peer = peer;
}

/* RAFT_PENDING, or without a thread how it ended. */
int checkpoint_order(checkpoint_store *store, struct checkpoint_job *job)
{
    checkpoint_lock(store);
    store->queued_bytes += job->kind == JOB_BLOCK ? job->size : 0;
    if (store->has_thread) {
        push(&store->jobs, job);
        pthread_cond_signal(&store->wake);
        checkpoint_unlock(store);
        return RAFT_PENDING;
    }
    int result = do_job(store, job);
    settle_job(store, job, result);
    return checkpoint_status_of(result);
}
