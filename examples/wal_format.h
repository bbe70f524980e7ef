/*
 * The bytes of the write-ahead log: the head of a file and the head of a record, to and from
 * structs. Nothing here does I/O. The layout and what it is good for are told in wal.c.
 */
#ifndef KEELSON_WAL_FORMAT_H
#define KEELSON_WAL_FORMAT_H

#include "wal.h"

enum {
    WAL_SEGMENT_HEAD = 88, /* bytes at the start of a file */
    WAL_DATA_START = 4096, /* where its records begin: no sector is shared with the head */
    WAL_RECORD_HEAD = 64,  /* bytes before the body of a record */
    WAL_RECORD_STATE = 32, /* the hard state in a body */
    WAL_RECORD_BASE = 16,  /* index and term of the snapshot that metadata in a body is of */
    WAL_RECORD_RANGE = 32, /* the description of a range in a body */
    WAL_RECORD_END = 8,    /* what every body ends with; no byte of it is 0 */
    WAL_RECORD_MIN = WAL_RECORD_HEAD + WAL_RECORD_END,
    WAL_SECTOR = 512 /* what a device writes whole or not at all */
};

enum {
    WAL_HAS_STATE = 1,
    WAL_HAS_META = 2,
    WAL_ENDS_BATCH = 4, /* the last record of its batch */
    WAL_IS_MARK = 8,    /* says only that all before it was synced */
    WAL_IS_MOVED = 16   /* says again what an earlier file says, so that this may be removed */
};

struct wal_segment {
    uint64_t cluster;
    uint64_t node;
    uint64_t number;         /* 1, 2, 3, ... */
    uint64_t salt;           /* random: no record of another file, old or new, fits this one */
    uint64_t size;           /* of the file */
    uint64_t first_sequence; /* of the first record */
    uint64_t first_batch;
    uint64_t previous_end; /* where the records of the file before end */
    uint64_t oldest;       /* number of the oldest file of which anything is needed */
};

struct wal_record {
    uint64_t size;     /* head and body */
    uint64_t sequence; /* counts records from 1, through all files */
    uint64_t batch;    /* counts batches from 1, likewise */
    uint64_t group;    /* 0: a mark */
    raft_index truncate_from;
    uint32_t range_count;
    uint32_t meta_size;
    uint32_t flags;
    uint32_t body_crc;
};

extern const uint8_t wal_record_end[WAL_RECORD_END];

/* Bytes of metadata in a body: padded, so that everything stays aligned. */
uint64_t wal_padded(uint64_t size);

/* Returns the seed of the checksums in that file. */
uint32_t wal_encode_segment(const struct wal_segment *segment, uint8_t out[WAL_SEGMENT_HEAD]);

/* RAFT_OK and *seed; RAFT_EVERSION; RAFT_ECORRUPT. */
int wal_decode_segment(const uint8_t in[WAL_SEGMENT_HEAD], struct wal_segment *segment,
                       uint32_t *seed);

/* Writes the head of a record; wal_place_record completes it. */
void wal_encode_record(const struct wal_record *record, uint8_t out[WAL_RECORD_HEAD]);

/* Says which record it is and where it goes, and sums it up. */
void wal_place_record(uint8_t head[WAL_RECORD_HEAD], uint32_t seed, uint64_t offset,
                      uint64_t sequence, uint64_t batch, int ends_batch);

uint64_t wal_record_size(const uint8_t head[WAL_RECORD_HEAD]);

/* Nonzero and *record where these are the bytes of a head written for this place, undamaged. */
int wal_decode_record(const uint8_t head[WAL_RECORD_HEAD], uint32_t seed, uint64_t offset,
                      struct wal_record *record);

void wal_encode_state(const raft_hard_state *state, uint8_t out[WAL_RECORD_STATE]);
/* Those of write->meta, which is not null. */
void wal_encode_base(const raft_write *write, uint8_t out[WAL_RECORD_BASE]);

void wal_encode_range(const raft_range *range, uint8_t out[WAL_RECORD_RANGE]);

/*
 * Makes a write of the body of a record whose checksum holds. ranges has room for range_count; the
 * write points into it and into the body. Returns 0 where the parts do not add up to the whole.
 */
int wal_decode_body(const struct wal_record *record, const uint8_t *body, raft_range *ranges,
                    raft_write *write);

#endif
