/*
 * The records of one batch. Heads, descriptions and metadata are copied together; entries are lent,
 * but for those of moved records, which nobody else keeps.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "wal_batch.h"

#include "crc32c.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

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

/* All of a record but what is lent. */
static size_t own_bytes_of(const raft_write *write, int copies)
{
    size_t bytes = WAL_RECORD_HEAD + WAL_RECORD_STATE + WAL_RECORD_BASE +
                   write->range_count * WAL_RECORD_RANGE + (size_t)wal_padded(write->meta_size) +
                   WAL_RECORD_END;
    for (size_t i = 0; copies && i < write->range_count; i++) {
        bytes += write->ranges[i].size;
    }
    return bytes;
}

int wal_batch_reserve(struct wal_batch *batch, const raft_write *write, int copies)
{
    size_t own_bytes = own_bytes_of(write, copies);
    uint8_t *own = grow(batch->own, batch->own_size, own_bytes, &batch->own_capacity, 1);
    if (own == NULL) {
        return 0;
    }
    batch->own = own;
    struct wal_part *parts = grow(batch->parts, batch->part_count, write->range_count + 2,
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
static void add_own(struct wal_batch *batch, size_t size)
{
    struct wal_part *next = &batch->parts[batch->part_count];
    if (batch->part_count > 0 && next[-1].lent == NULL) {
        next[-1].size += size;
    } else {
        next->lent = NULL;
        next->offset = batch->own_size;
        next->size = size;
        batch->part_count++;
    }
    batch->own_size += size;
}

static void add_lent(struct wal_batch *batch, const void *data, size_t size)
{
    struct wal_part *part = &batch->parts[batch->part_count++];
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
    if (write->meta != NULL) {
        wal_encode_base(write, out);
        out += WAL_RECORD_BASE;
    }
    for (size_t i = 0; i < write->range_count; i++) {
        wal_encode_range(&write->ranges[i], out);
        out += WAL_RECORD_RANGE;
    }
    if (write->meta != NULL && write->meta_size > 0) {
        size_t padded = (size_t)wal_padded(write->meta_size);
        memcpy(out, write->meta, write->meta_size);
        memset(out + write->meta_size, 0, padded - write->meta_size);
        out += padded;
    }
    return (size_t)(out - start);
}

static uint32_t flags_of(const raft_write *write)
{
    return (write->has_state ? WAL_HAS_STATE : 0u) | (write->meta != NULL ? WAL_HAS_META : 0u);
}

static void add_entries(struct wal_batch *batch, const raft_range *range, int copies)
{
    if (copies) {
        memcpy(batch->own + batch->own_size, range->data, range->size);
        add_own(batch, range->size);
    } else {
        add_lent(batch, range->data, range->size);
    }
}

uint64_t wal_batch_add(struct wal_batch *batch, uint64_t group, const raft_write *write,
                       uint32_t flags, int copies)
{
    uint8_t *head = batch->own + batch->own_size;
    size_t described = describe_write(write, head + WAL_RECORD_HEAD);
    struct wal_record record = {0};
    record.size = WAL_RECORD_HEAD + described + WAL_RECORD_END;
    record.group = group;
    record.truncate_from = write->truncate_from;
    record.range_count = (uint32_t)write->range_count;
    record.meta_size = (uint32_t)write->meta_size;
    record.flags = flags_of(write) | flags;
    record.body_crc = crc32c(0, head + WAL_RECORD_HEAD, described);
    batch->heads[batch->head_count++] = batch->own_size;
    add_own(batch, WAL_RECORD_HEAD + described);
    for (size_t i = 0; i < write->range_count; i++) {
        const raft_range *range = &write->ranges[i];
        record.body_crc = crc32c(record.body_crc, range->data, range->size);
        record.size += range->size;
        add_entries(batch, range, copies);
    }
    memcpy(batch->own + batch->own_size, wal_record_end, WAL_RECORD_END);
    record.body_crc = crc32c(record.body_crc, wal_record_end, WAL_RECORD_END);
    add_own(batch, WAL_RECORD_END);
    wal_encode_record(&record, head);
    batch->bytes += record.size;
    return record.size;
}

void wal_batch_empty(struct wal_batch *batch)
{
    batch->own_size = 0;
    batch->part_count = 0;
    batch->head_count = 0;
    batch->bytes = 0;
}

void wal_batch_free(struct wal_batch *batch)
{
    free(batch->own);
    free(batch->parts);
    free(batch->heads);
    memset(batch, 0, sizeof *batch);
}

void wal_batch_place(struct wal_batch *batch, uint32_t seed, uint64_t offset, uint64_t *sequence,
                     uint64_t number)
{
    for (size_t i = 0; i < batch->head_count; i++) {
        uint8_t *head = batch->own + batch->heads[i];
        int is_last = i + 1 == batch->head_count;
        wal_place_record(head, seed, offset, (*sequence)++, number, is_last);
        offset += wal_record_size(head);
    }
}

uint64_t wal_batch_record_size(const struct wal_batch *batch, size_t record)
{
    return wal_record_size(batch->own + batch->heads[record]);
}

int wal_batch_gather(const struct wal_batch *batch, size_t first, size_t skip, struct iovec *out)
{
    int count = 0;
    for (size_t i = first; i < batch->part_count && count < WAL_PARTS_PER_CALL; i++, count++) {
        const struct wal_part *part = &batch->parts[i];
        const uint8_t *data = part->lent != NULL ? part->lent : batch->own + part->offset;
        data += skip;
        /* The member has no const. */
        memcpy(&out[count].iov_base, &data, sizeof data);
        out[count].iov_len = part->size - skip;
        skip = 0;
    }
    return count;
}
