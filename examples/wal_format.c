/*
 * Encoding and decoding of the log's heads. Byte by byte and little-endian, so that a directory can
 * be carried to another machine.
 *
 *     head of a file                      head of a record
 *      0  8  "KEELSWAL"                    0  4  checksum of place and of bytes 4 to 63
 *      8  4  format version                4  4  checksum of the body
 *     12  4  checksum of all else          8  8  bytes of the record, head and body
 *     16  8  cluster                      16  8  sequence
 *     24  8  node                         24  8  batch
 *     32  8  number of the file           32  8  group
 *     40  8  salt                         40  8  truncate_from
 *     48  8  bytes of the file            48  4  ranges
 *     56  8  sequence of the first record 52  4  bytes of metadata
 *     64  8  batch of the first record    56  4  flags
 *     72  8  end of the file before       60  4  "\xabLOG"
 *     80  8  number of the oldest file needed
 *
 * A body is the hard state (term, vote, accepted round, lease maximum), the index and term of the
 * snapshot that the metadata is of, for every range its first index, term, count and bytes, the
 * metadata padded to eight bytes, the bytes of the ranges, and eight bytes of which none is 0. The
 * flags say whether there is a state and whether there is metadata.
 */
#include "wal_format.h"

#include "crc32c.h"

#include <string.h>

const uint8_t wal_record_end[WAL_RECORD_END] = {0xab, 'L', 'O', 'G', 'E', 'N', 'D', 0xba};

static const uint8_t segment_magic[8] = {'K', 'E', 'E', 'L', 'S', 'W', 'A', 'L'};
static const uint8_t record_magic[4] = {0xab, 'L', 'O', 'G'};

/* Spelled out, so that compilers see one store. */
static void put_32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
    out[2] = (uint8_t)(value >> 16);
    out[3] = (uint8_t)(value >> 24);
}

static void put_64(uint8_t *out, uint64_t value)
{
    put_32(out, (uint32_t)value);
    put_32(out + 4, (uint32_t)(value >> 32));
}

static uint32_t get_32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static uint64_t get_64(const uint8_t *in)
{
    return (uint64_t)get_32(in) | (uint64_t)get_32(in + 4) << 32;
}

uint64_t wal_padded(uint64_t size)
{
    return (size + 7) / 8 * 8;
}

/* ---- The head of a file --------------------------------------------------------------------- */

static uint32_t segment_checksum(const uint8_t head[WAL_SEGMENT_HEAD])
{
    return crc32c(crc32c(0, head, 12), head + 16, WAL_SEGMENT_HEAD - 16);
}

uint32_t wal_encode_segment(const struct wal_segment *segment, uint8_t out[WAL_SEGMENT_HEAD])
{
    memcpy(out, segment_magic, sizeof segment_magic);
    put_32(out + 8, WAL_FORMAT_VERSION);
    put_64(out + 16, segment->cluster);
    put_64(out + 24, segment->node);
    put_64(out + 32, segment->number);
    put_64(out + 40, segment->salt);
    put_64(out + 48, segment->size);
    put_64(out + 56, segment->first_sequence);
    put_64(out + 64, segment->first_batch);
    put_64(out + 72, segment->previous_end);
    put_64(out + 80, segment->oldest);
    uint32_t checksum = segment_checksum(out);
    put_32(out + 12, checksum);
    return checksum;
}

/* The version is looked at first: others may sum up differently. */
int wal_decode_segment(const uint8_t in[WAL_SEGMENT_HEAD], struct wal_segment *segment,
                       uint32_t *seed)
{
    if (memcmp(in, segment_magic, sizeof segment_magic) != 0) {
        return RAFT_ECORRUPT;
    }
    if (get_32(in + 8) != WAL_FORMAT_VERSION) {
        return RAFT_EVERSION;
    }
    *seed = segment_checksum(in);
    if (get_32(in + 12) != *seed) {
        return RAFT_ECORRUPT;
    }
    segment->cluster = get_64(in + 16);
    segment->node = get_64(in + 24);
    segment->number = get_64(in + 32);
    segment->salt = get_64(in + 40);
    segment->size = get_64(in + 48);
    segment->first_sequence = get_64(in + 56);
    segment->first_batch = get_64(in + 64);
    segment->previous_end = get_64(in + 72);
    segment->oldest = get_64(in + 80);
    return RAFT_OK;
}

/* ---- The head of a record ------------------------------------------------------------------- */

/* The file is in the seed, since the head of every file has another checksum. */
static uint32_t record_checksum(const uint8_t head[WAL_RECORD_HEAD], uint32_t seed, uint64_t offset)
{
    uint8_t place[8];
    put_64(place, offset);
    return crc32c(crc32c(seed, place, sizeof place), head + 4, WAL_RECORD_HEAD - 4);
}

void wal_encode_record(const struct wal_record *record, uint8_t out[WAL_RECORD_HEAD])
{
    put_32(out, 0);
    put_32(out + 4, record->body_crc);
    put_64(out + 8, record->size);
    put_64(out + 16, record->sequence);
    put_64(out + 24, record->batch);
    put_64(out + 32, record->group);
    put_64(out + 40, record->truncate_from);
    put_32(out + 48, record->range_count);
    put_32(out + 52, record->meta_size);
    put_32(out + 56, record->flags);
    memcpy(out + 60, record_magic, sizeof record_magic);
}

void wal_place_record(uint8_t head[WAL_RECORD_HEAD], uint32_t seed, uint64_t offset,
                      uint64_t sequence, uint64_t batch, int ends_batch)
{
    put_64(head + 16, sequence);
    put_64(head + 24, batch);
    if (ends_batch) {
        put_32(head + 56, get_32(head + 56) | WAL_ENDS_BATCH);
    }
    put_32(head, record_checksum(head, seed, offset));
}

uint64_t wal_record_size(const uint8_t head[WAL_RECORD_HEAD])
{
    return get_64(head + 8);
}

int wal_decode_record(const uint8_t head[WAL_RECORD_HEAD], uint32_t seed, uint64_t offset,
                      struct wal_record *record)
{
    if (memcmp(head + 60, record_magic, sizeof record_magic) != 0 ||
        get_32(head) != record_checksum(head, seed, offset)) {
        return 0;
    }
    record->body_crc = get_32(head + 4);
    record->size = get_64(head + 8);
    record->sequence = get_64(head + 16);
    record->batch = get_64(head + 24);
    record->group = get_64(head + 32);
    record->truncate_from = get_64(head + 40);
    record->range_count = get_32(head + 48);
    record->meta_size = get_32(head + 52);
    record->flags = get_32(head + 56);
    return 1;
}

/* ---- Bodies --------------------------------------------------------------------------------- */

void wal_encode_state(const raft_hard_state *state, uint8_t out[WAL_RECORD_STATE])
{
    put_64(out, state->term);
    put_64(out + 8, state->vote);
    put_64(out + 16, state->accepted_round);
    put_64(out + 24, state->lease_max_ms);
}

static void decode_state(const uint8_t *in, raft_hard_state *state)
{
    state->term = get_64(in);
    state->vote = get_64(in + 8);
    state->accepted_round = get_64(in + 16);
    state->lease_max_ms = get_64(in + 24);
}

void wal_encode_base(const raft_write *write, uint8_t out[WAL_RECORD_BASE])
{
    put_64(out, write->base_index);
    put_64(out + 8, write->base_term);
}

void wal_encode_range(const raft_range *range, uint8_t out[WAL_RECORD_RANGE])
{
    put_64(out, range->first);
    put_64(out + 8, range->term);
    put_64(out + 16, range->count);
    put_64(out + 24, range->size);
}

/* The data follows later in the body; only what is left of it bounds its size. */
static int decode_range(const uint8_t *in, uint64_t *left, raft_range *range)
{
    uint64_t size = get_64(in + 24);
    uint64_t count = get_64(in + 16);
    if (size > *left || count > size) {
        return 0;
    }
    range->first = get_64(in);
    range->term = get_64(in + 8);
    range->count = (size_t)count;
    range->size = (size_t)size;
    *left -= size;
    return 1;
}

/* Bytes of a body before the data of its ranges, its end included. */
static uint64_t fixed_part(const struct wal_record *record)
{
    uint64_t state = (record->flags & WAL_HAS_STATE) != 0 ? WAL_RECORD_STATE : 0;
    uint64_t base = (record->flags & WAL_HAS_META) != 0 ? WAL_RECORD_BASE : 0;
    return state + base + (uint64_t)record->range_count * WAL_RECORD_RANGE +
           wal_padded(record->meta_size) + WAL_RECORD_END;
}

int wal_decode_body(const struct wal_record *record, const uint8_t *body, raft_range *ranges,
                    raft_write *write)
{
    uint64_t body_size = record->size - WAL_RECORD_HEAD;
    int has_meta = (record->flags & WAL_HAS_META) != 0;
    if (fixed_part(record) > body_size || (!has_meta && record->meta_size > 0)) {
        return 0;
    }
    uint64_t left = body_size - fixed_part(record);
    memset(write, 0, sizeof *write);
    if ((record->flags & WAL_HAS_STATE) != 0) {
        write->has_state = 1;
        decode_state(body, &write->state);
        body += WAL_RECORD_STATE;
    }
    if (has_meta) {
        write->base_index = get_64(body);
        write->base_term = get_64(body + 8);
        body += WAL_RECORD_BASE;
    }
    for (uint32_t i = 0; i < record->range_count; i++, body += WAL_RECORD_RANGE) {
        if (!decode_range(body, &left, &ranges[i])) {
            return 0;
        }
    }
    write->meta = has_meta ? body : NULL;
    write->meta_size = record->meta_size;
    body += wal_padded(record->meta_size);
    for (uint32_t i = 0; i < record->range_count; i++) {
        ranges[i].data = body;
        body += ranges[i].size;
    }
    write->seq = record->sequence;
    write->truncate_from = record->truncate_from;
    write->ranges = ranges;
    write->range_count = record->range_count;
    return left == 0;
}
