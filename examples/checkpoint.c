/*
 * The store of checkpoints: taking, receiving, installing and removing them.
 *
 * A file has four names in its life, all of them group-index-term: X.local while it is written
 * here, or X.incoming while it is received and X.received once that is complete; and X.checkpoint.
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

#include "checkpoint_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

struct checkpoint_group *checkpoint_find_group(const checkpoint_store *store, uint64_t id)
{
    size_t position = position_of(store, id);
    return position < store->group_count && store->groups[position].id == id
               ? &store->groups[position]
               : NULL;
}

/* The group, noted if it is new; null where there is no memory. */
struct checkpoint_group *checkpoint_get_group(checkpoint_store *store, uint64_t id)
{
    struct checkpoint_group *known = checkpoint_find_group(store, id);
    if (known != NULL) {
        return known;
    }
    if (store->group_count == store->group_capacity) {
        size_t capacity = store->group_capacity == 0 ? 8 : 2 * store->group_capacity;
        struct checkpoint_group *groups = realloc(store->groups, capacity * sizeof *groups);
        if (groups == NULL) {
            return NULL;
        }
        store->groups = groups;
        store->group_capacity = capacity;
    }
    size_t position = position_of(store, id);
    struct checkpoint_group *group = &store->groups[position];
    memmove(group + 1, group, (store->group_count - position) * sizeof *group);
    memset(group, 0, sizeof *group);
    group->id = id;
    store->group_count++;
    return group;
}

struct checkpoint_name checkpoint_name_of(uint64_t group, raft_index index, raft_term term,
                                          enum checkpoint_stage stage)
{
    struct checkpoint_name name = {group, index, term, stage};
    return name;
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
                       struct checkpoint_job *job)
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
    struct checkpoint_job *job =
        checkpoint_new_job(JOB_CREATE, writer, (size_t)checkpoint_head_bytes((uint32_t)meta_size));
    struct checkpoint_job *ending = checkpoint_new_job(JOB_DROP, writer, 0);
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
    (void)checkpoint_order(store, job);
    *out = writer;
    return RAFT_OK;
}

static int failure_of(checkpoint_writer *writer)
{
    checkpoint_lock(writer->store);
    int failure = writer->failure;
    checkpoint_unlock(writer->store);
    return failure;
}

static void flush_block(checkpoint_writer *writer)
{
    struct checkpoint_job *job = writer->filling;
    writer->filling = NULL;
    if (job != NULL) {
        (void)checkpoint_order(writer->store, job);
    }
}

/* Bytes that fit into the block that is not full. */
static size_t room_in_block(const checkpoint_writer *writer)
{
    size_t full = writer->store->options.block_bytes + (size_t)CHECKPOINT_BLOCK_HEAD;
    return writer->filling != NULL ? full - writer->filling->size : 0;
}

/* All blocks that the data needs, before any of it is taken: it is taken whole or not at all. */
static struct checkpoint_job *make_blocks(const checkpoint_writer *writer, size_t size)
{
    size_t block_bytes = writer->store->options.block_bytes;
    struct checkpoint_job *first = NULL;
    for (size_t made = room_in_block(writer); made < size; made += block_bytes) {
        struct checkpoint_job *job =
            checkpoint_new_job(JOB_BLOCK, NULL, block_bytes + CHECKPOINT_BLOCK_HEAD);
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

static void fill_blocks(checkpoint_writer *writer, struct checkpoint_job *blocks,
                        const uint8_t *data, size_t size)
{
    size_t full = writer->store->options.block_bytes + CHECKPOINT_BLOCK_HEAD;
    while (size > 0 && (writer->filling != NULL || blocks != NULL)) {
        struct checkpoint_job *block = writer->filling;
        if (block == NULL) {
            block = blocks;
            blocks = blocks->next;
            block->writer = writer;
            writer->filling = block;
        }
        size_t piece = size < full - block->size ? size : full - block->size;
        memcpy(block->bytes + block->size, data, piece);
        block->size += piece;
        writer->size += piece;
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
        return checkpoint_status_of(failure);
    }
    struct checkpoint_job *blocks = make_blocks(writer, size);
    if (blocks == NULL && room_in_block(writer) < size) {
        return RAFT_ENOMEM;
    }
    fill_blocks(writer, blocks, data, size);
    return checkpoint_status_of(failure_of(writer));
}

/* The jobs see the writer for the last time in the one that is ordered here. As order. */
static int end_writer(checkpoint_writer *writer, enum checkpoint_job_kind kind, int event)
{
    checkpoint_store *store = writer->store;
    struct checkpoint_job *job = writer->ending;
    job->kind = kind;
    if (event != 0) {
        checkpoint_set_event(job, event, &writer->name, writer->peer);
    }
    if (kind == JOB_FINISH) {
        flush_block(writer);
    }
    free(writer->filling);
    writer->filling = NULL;
    unlink_writer(writer);
    return checkpoint_order(store, job);
}

void checkpoint_drop_writer(checkpoint_writer *writer)
{
    (void)end_writer(writer, JOB_DROP, 0);
}

/* ---- What has become of groups -------------------------------------------------------------- */

static int is_newer(const struct checkpoint_group *group, raft_index index)
{
    return !group->has_ordered || index > group->ordered;
}

void checkpoint_note_ordered(struct checkpoint_group *group, raft_index index)
{
    group->has_ordered = 1;
    group->ordered = index;
}

/* It did not come to what was ordered: the same may be ordered again. */
static void take_back(struct checkpoint_group *group, raft_index index)
{
    if (group->has_ordered && group->ordered == index) {
        group->has_ordered = group->has_newest;
        group->ordered = group->newest;
    }
}

/* Removing is no matter of life and death: what is left is removed at the next opening. */
static void order_removal(checkpoint_store *store, struct checkpoint_name name)
{
    struct checkpoint_job *job = checkpoint_new_job(JOB_REMOVE, NULL, 0);
    if (job != NULL) {
        job->name = name;
        (void)checkpoint_order(store, job);
    }
}

/* A checkpoint is durable under its final name: the one before it goes (invariant 3). */
static void set_newest(checkpoint_store *store, struct checkpoint_group *group, raft_index index,
                       raft_term term)
{
    if (group->has_newest && group->newest > index) {
        order_removal(store, checkpoint_name_of(group->id, index, term, CHECKPOINT_FINAL));
        return;
    }
    if (group->has_newest && group->newest < index) {
        order_removal(store, checkpoint_name_of(group->id, group->newest, group->newest_term,
                                                CHECKPOINT_FINAL));
    }
    group->has_newest = 1;
    group->newest = index;
    group->newest_term = term;
}

static int is_received(const struct checkpoint_group *group, raft_index index, raft_term term)
{
    return index != 0 && ((group->received[0].index == index && group->received[0].term == term) ||
                          (group->received[1].index == index && group->received[1].term == term));
}

static void note_received(struct checkpoint_group *group, raft_index index, raft_term term)
{
    if (!is_received(group, index, term)) {
        group->received[0] = group->received[1];
        group->received[1].index = index;
        group->received[1].term = term;
    }
}

/* What was received before the one installed, and never installed, is of no use any more. */
static void note_installed(checkpoint_store *store, struct checkpoint_group *group,
                           raft_index index, raft_term term)
{
    set_newest(store, group, index, term);
    for (size_t i = 0; i < 2; i++) {
        raft_index other = group->received[i].index;
        if (other != 0 && other < index) {
            order_removal(store, checkpoint_name_of(group->id, other, group->received[i].term,
                                                    CHECKPOINT_COMPLETE));
        }
        if (other <= index) {
            group->received[i].index = 0;
        }
    }
}

/* ---- Taking --------------------------------------------------------------------------------- */

/* Two at once would write to files of one name. */
static int is_being_taken(const checkpoint_store *store, uint64_t group, raft_index index)
{
    const checkpoint_writer *writer = store->writers;
    while (writer != NULL && (writer->name.stage != CHECKPOINT_LOCAL ||
                              writer->name.group != group || writer->name.index != index)) {
        writer = writer->next;
    }
    return writer != NULL;
}

int checkpoint_begin(checkpoint_store *store, uint64_t group, raft_index index, raft_term term,
                     const void *meta, size_t meta_size, checkpoint_writer **out)
{
    struct checkpoint_name name = checkpoint_name_of(group, index, term, CHECKPOINT_LOCAL);
    if (store == NULL || out == NULL || group == 0 || (meta == NULL && meta_size > 0) ||
        meta_size > RAFT_META_MAX) {
        return RAFT_EARG;
    }
    *out = NULL;
    struct checkpoint_group *known = checkpoint_get_group(store, group);
    if (known == NULL) {
        return RAFT_ENOMEM;
    }
    if (!is_newer(known, index) || is_being_taken(store, group, index)) {
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
    checkpoint_lock(store);
    int full = is_full(store, size) && writer->failure == 0;
    store->room_wanted = store->room_wanted || full;
    checkpoint_unlock(store);
    return full ? RAFT_EBUSY : add_data(writer, data, size);
}

int checkpoint_commit(checkpoint_writer *writer)
{
    if (writer == NULL) {
        return RAFT_EARG;
    }
    struct checkpoint_group *group = checkpoint_find_group(writer->store, writer->name.group);
    raft_index index = writer->name.index;
    if (!is_newer(group, index)) {
        checkpoint_drop_writer(writer);
        return RAFT_ESTATE;
    }
    checkpoint_note_ordered(group, index);
    (void)end_writer(writer, JOB_FINISH, CHECKPOINT_TAKEN);
    return RAFT_OK;
}

void checkpoint_abort(checkpoint_writer *writer)
{
    if (writer != NULL) {
        checkpoint_drop_writer(writer);
    }
}

/* ---- Receiving ------------------------------------------------------------------------------ */

static int is_piece_good(const raft_chunk *chunk)
{
    return chunk != NULL && chunk->index != 0 && (chunk->data != NULL || chunk->size == 0) &&
           (chunk->meta != NULL || chunk->meta_size == 0) && chunk->meta_size <= RAFT_META_MAX;
}

static int begin_incoming(checkpoint_store *store, struct checkpoint_group *group,
                          const raft_chunk *chunk)
{
    struct checkpoint_name name =
        checkpoint_name_of(group->id, chunk->index, chunk->term, CHECKPOINT_INCOMING);
    if (!is_newer(group, chunk->index)) {
        return RAFT_ESTATE;
    }
    if (group->incoming != NULL) {
        checkpoint_drop_writer(group->incoming);
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
static int finish_incoming(checkpoint_store *store, struct checkpoint_group *group)
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
    checkpoint_lock(store);
    int full = is_full(store, 0) && store->has_thread;
    checkpoint_unlock(store);
    struct checkpoint_job *job = full ? checkpoint_new_job(JOB_TELL, writer, 0) : NULL;
    if (job == NULL) {
        return RAFT_OK;
    }
    checkpoint_set_event(job, CHECKPOINT_RECEIVED, &writer->name, writer->peer);
    return checkpoint_order(store, job);
}

int checkpoint_receive(checkpoint_store *store, uint64_t group_id, const raft_chunk *chunk)
{
    if (store == NULL || group_id == 0 || !is_piece_good(chunk)) {
        return RAFT_EARG;
    }
    struct checkpoint_group *group = checkpoint_get_group(store, group_id);
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
    struct checkpoint_group *group = store != NULL ? checkpoint_find_group(store, group_id) : NULL;
    if (group != NULL && group->incoming != NULL) {
        checkpoint_drop_writer(group->incoming);
        group->incoming = NULL;
    }
}

int checkpoint_install(checkpoint_store *store, uint64_t group_id, raft_index index, raft_term term)
{
    if (store == NULL) {
        return RAFT_EARG;
    }
    struct checkpoint_group *group = checkpoint_find_group(store, group_id);
    if (group != NULL && group->has_newest && group->newest >= index) {
        return RAFT_OK;
    }
    if (group == NULL || !is_received(group, index, term)) {
        return RAFT_ESTATE;
    }
    struct checkpoint_job *job = checkpoint_new_job(JOB_INSTALL, NULL, 0);
    if (job == NULL) {
        return RAFT_ENOMEM;
    }
    job->name = checkpoint_name_of(group_id, index, term, CHECKPOINT_FINAL);
    if (store->has_thread) {
        checkpoint_set_event(job, CHECKPOINT_INSTALLED, &job->name, 0);
    }
    if (is_newer(group, index)) {
        checkpoint_note_ordered(group, index);
    }
    int result = checkpoint_order(store, job);
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
    const struct checkpoint_group *group =
        store != NULL ? checkpoint_find_group(store, group_id) : NULL;
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
        struct checkpoint_name name = checkpoint_name_of(group, index, term, stages[i]);
        result = checkpoint_read_file(&store->options, &name, out, error);
    }
    return result;
}

static struct checkpoint_sending **find_sending(checkpoint_store *store, uint64_t group,
                                                raft_id peer)
{
    struct checkpoint_sending **link = &store->sendings;
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
                         struct checkpoint_sending **out)
{
    struct checkpoint_sending *sending = calloc(1, sizeof *sending);
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
    struct checkpoint_sending *sending = *find_sending(store, group, chunk->peer);
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
    struct checkpoint_sending **link = store != NULL ? find_sending(store, group, peer) : NULL;
    struct checkpoint_sending *sending = link != NULL ? *link : NULL;
    if (sending != NULL) {
        *link = sending->next;
        checkpoint_read_end(sending->reader);
        free(sending);
    }
}

/* ---- Completion ----------------------------------------------------------------------------- */

static void drop_failed_incoming(struct checkpoint_group *group,
                                 const struct checkpoint_event *event)
{
    const checkpoint_writer *writer = group->incoming;
    if (writer != NULL && writer->name.index == event->index && writer->name.term == event->term) {
        checkpoint_drop_writer(group->incoming);
        group->incoming = NULL;
    }
}

static void note_event(checkpoint_store *store, const struct checkpoint_job *job)
{
    const struct checkpoint_event *event = &job->event;
    struct checkpoint_group *group = checkpoint_find_group(store, event->group);
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
    struct checkpoint_queue all;
    struct checkpoint_job *job;
    size_t count = 0;
    if (store == NULL) {
        return 0;
    }
    checkpoint_lock(store);
    checkpoint_drain_pipe(store);
    all = store->done;
    store->done.first = NULL;
    store->done.last = NULL;
    int has_room = take_room(store);
    checkpoint_unlock(store);
    while ((job = checkpoint_take_job(&all)) != NULL) {
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
