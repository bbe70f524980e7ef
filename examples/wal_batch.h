/*
 * The records of one batch, ready to be written: between wal.c, which says when, and wal_format.c,
 * which knows the bytes.
 */
#ifndef KEELSON_WAL_BATCH_H
#define KEELSON_WAL_BATCH_H

#include "wal_format.h"

#define WAL_PARTS_PER_CALL 64

struct iovec;

/* A run of bytes of a batch: in its own memory, or lent. */
struct wal_part {
    const void *lent; /* null: own */
    size_t offset;    /* own: in the batch's memory */
    size_t size;
};

struct wal_batch {
    uint8_t *own; /* heads, descriptions, metadata and ends of all records; entries of moved ones */
    size_t own_size, own_capacity;
    struct wal_part *parts;
    size_t part_count, part_capacity;
    size_t *heads; /* where in own the head of each record is */
    size_t head_count, head_capacity;
    uint64_t bytes;
};

/*
 * Makes room for a record of that write; with copies for its entries too. 0 where there is no
 * memory: nothing has changed.
 */
int wal_batch_reserve(struct wal_batch *batch, const raft_write *write, int copies);

/*
 * Adds a record, for which room was made, with those flags beside the ones that the write implies.
 * Without copies the entries are lent until the batch is written. Returns its size.
 */
uint64_t wal_batch_add(struct wal_batch *batch, uint64_t group, const raft_write *write,
                       uint32_t flags, int copies);

/* Says of all records which they are and where they go. Counts *sequence on. */
void wal_batch_place(struct wal_batch *batch, uint32_t seed, uint64_t offset, uint64_t *sequence,
                     uint64_t number);

/* The bytes of a record of the batch. */
uint64_t wal_batch_record_size(const struct wal_batch *batch, size_t record);

/*
 * The parts from one of them on, at most WAL_PARTS_PER_CALL, less the bytes of the first that are
 * written already. How many.
 */
int wal_batch_gather(const struct wal_batch *batch, size_t first, size_t skip, struct iovec *out);

void wal_batch_empty(struct wal_batch *batch);
void wal_batch_free(struct wal_batch *batch);

#endif
