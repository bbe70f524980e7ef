/*
 * Opening a directory of checkpoints, bringing it in step with the log, and closing it. The rules
 * by which it is decided what counts are at the top of checkpoint.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "checkpoint_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        struct checkpoint_group *group = checkpoint_get_group(store, name->group);
        if (group == NULL) {
            return 0;
        }
        if (name->stage == CHECKPOINT_LOCAL || name->stage == CHECKPOINT_INCOMING) {
            (void)checkpoint_remove_file(store, name);
        } else if (name->stage == CHECKPOINT_FINAL &&
                   (!group->has_newest || name->index > group->newest ||
                    (name->index == group->newest && name->term > group->newest_term))) {
            group->has_newest = 1;
            group->newest = name->index;
            group->newest_term = name->term;
            checkpoint_note_ordered(group, name->index);
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
    result = store->options.writer_thread ? checkpoint_start_thread(store) : 0;
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
    struct checkpoint_group *group = checkpoint_find_group(store, base->group);
    struct checkpoint_name from =
        checkpoint_name_of(base->group, base->index, base->term, CHECKPOINT_COMPLETE);
    struct checkpoint_name to =
        checkpoint_name_of(base->group, base->index, base->term, CHECKPOINT_FINAL);
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
    result = checkpoint_rename_file(store, &from, &to);
    if (result < 0) {
        return checkpoint_explain(error, RAFT_ESTORAGE, result, &from,
                                  "the checkpoint cannot be put into use");
    }
    group->has_newest = 1;
    group->newest = base->index;
    group->newest_term = base->term;
    checkpoint_note_ordered(group, base->index);
    return RAFT_OK;
}

/* Older ones, and what was received for nothing. */
static int clean_up(checkpoint_store *store, struct checkpoint_error *error)
{
    for (size_t i = 0; i < store->found_count; i++) {
        const struct checkpoint_name *name = &store->found[i];
        const struct checkpoint_group *group = checkpoint_find_group(store, name->group);
        struct checkpoint_name newest =
            checkpoint_name_of(name->group, group->newest, group->newest_term, CHECKPOINT_FINAL);
        int is_old = name->stage == CHECKPOINT_FINAL &&
                     (name->index != group->newest || name->term != group->newest_term);
        int result = is_old ? verify_ends(store, &newest, error) : RAFT_OK;
        if (result != RAFT_OK) {
            return result;
        }
        if (is_old || name->stage == CHECKPOINT_COMPLETE) {
            (void)checkpoint_remove_file(store, name);
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
    struct checkpoint_job *job;
    while ((job = checkpoint_take_job(&store->done)) != NULL) {
        free(job);
    }
}

void checkpoint_close(checkpoint_store *store)
{
    if (store == NULL) {
        return;
    }
    while (store->writers != NULL) {
        checkpoint_drop_writer(store->writers);
    }
    checkpoint_stop_thread(store);
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
