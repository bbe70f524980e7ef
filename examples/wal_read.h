/*
 * Reading stored entries back: through an index, with every checksum looked at again.
 */
#ifndef KEELSON_WAL_READ_H
#define KEELSON_WAL_READ_H

#include "wal_index.h"

/* One file at a time, through a window, and the record that was read last. */
struct wal_reader {
    const struct io *io;
    const char *directory;
    int fd;
    uint64_t file; /* that fd is of; 0: none */
    uint8_t *bytes;
    size_t capacity;
    uint64_t start; /* of the window in the file */
    size_t length;

    uint64_t group; /* of the record; 0: none */
    uint64_t offset;
    struct wal_record record;
    raft_write write; /* what it says; points into the window */
    raft_range *ranges;
    size_t range_capacity;
};

/* All that is needed of a group, as one write that says it again. */
struct wal_copy {
    raft_write write;
    uint8_t *meta;
    raft_range *ranges;
    size_t range_capacity;
    uint8_t *data;
    size_t size, capacity;
};

void wal_reader_init(struct wal_reader *reader, const struct io *io, const char *directory);
void wal_reader_free(struct wal_reader *reader);

/* Reads no more from files older than that one. */
void wal_reader_release(struct wal_reader *reader, uint64_t oldest);

/* See wal_read. group may be null. */
int wal_reader_fetch(struct wal_reader *reader, const struct wal_index *index,
                     const struct wal_group *group, raft_fetch *fetch);

/*
 * The hard state and, with data, the metadata and entries. RAFT_OK, or as wal_read. *copy is
 * zeroed, or was used before.
 */
int wal_reader_copy(struct wal_reader *reader, const struct wal_index *index,
                    const struct wal_group *group, int with_data, struct wal_copy *copy);
void wal_copy_free(struct wal_copy *copy);

#endif
