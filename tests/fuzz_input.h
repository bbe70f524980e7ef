/*
 * How fuzz targets read their input: bytes on demand, zeros behind the end, and messages put
 * together from a dozen bytes relative to the state of the node, so that few bytes lead deep.
 */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include "lone.h"

typedef struct fuzz_input {
    const uint8_t *data;
    size_t size;
} fuzz_input;

static inline uint8_t fuzz_byte(fuzz_input *in)
{
    if (in->size == 0) {
        return 0;
    }
    in->size--;
    return *in->data++;
}

static inline uint64_t fuzz_number(fuzz_input *in)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value |= (uint64_t)fuzz_byte(in) << 8 * i;
    }
    return value;
}

/* Up to wanted bytes of the input, in a block of exactly that size for the caller to free. */
static inline uint8_t *fuzz_bytes(fuzz_input *in, size_t wanted, size_t *size)
{
    *size = wanted < in->size ? wanted : in->size;
    uint8_t *block = lone_grow(NULL, *size);
    memcpy(block, in->data, *size);
    in->data += *size;
    in->size -= *size;
    return block;
}

/* An index near something that matters to the node. */
static inline raft_index fuzz_index(fuzz_input *in, const raft_status *s)
{
    uint8_t b = fuzz_byte(in);
    raft_index back = b >> 3;
    switch (b & 7) {
    case 0:
        return back;
    case 1:
        return s->last_index;
    case 2:
        return s->last_index + back;
    case 3:
        return s->last_index > back ? s->last_index - back : 0;
    case 4:
        return s->commit_index;
    case 5:
        return s->commit_index + back;
    case 6:
        return s->commit_index > back ? s->commit_index - back : 0;
    default:
        return b == 255 ? fuzz_number(in) : s->durable_index;
    }
}

static inline raft_term fuzz_term(fuzz_input *in, const raft_status *s)
{
    uint8_t b = fuzz_byte(in);
    if (b == 255) {
        return fuzz_number(in);
    }
    raft_term up = b & 3;
    return b & 4 ? (s->term > up ? s->term - up : 0) : s->term + (b & 8 ? up : 0);
}

/* The term that the node's log has at an index, as its writes tell; else one near the present. */
static inline raft_term fuzz_term_at(fuzz_input *in, const lone *l, raft_index index,
                                     const raft_status *s)
{
    uint8_t b = fuzz_byte(in);
    raft_term term = 0;
    if (b & 1) {
        return fuzz_term(in, s);
    }
    lone_log log = lone_issued(l);
    if (index > 0 && index <= log.last) {
        term = log.at[index].term;
    }
    lone_log_free(&log);
    return term;
}

/* What servers ask each other for their hosts, and the answers; numbers are small, so they meet. */
static inline int fuzz_receive_forwarded(fuzz_input *in, lone *l, uint8_t kind, uint8_t flags)
{
    raft_status s = lone_status(l);
    raft_message m = lone_message(RAFT_MESSAGE_READ + kind % 4, 2 + flags % 3, fuzz_term(in, &s));
    lone_batch batch;
    memset(&batch, 0, sizeof batch);
    m.nonce = flags >> 3 & 3;
    m.request = fuzz_byte(in) & 127;
    m.round = m.kind == RAFT_MESSAGE_PROPOSE ? fuzz_byte(in) & 15 : 0;
    m.refused = (m.kind == RAFT_MESSAGE_READ_REPLY || m.kind == RAFT_MESSAGE_PROPOSE_REPLY) &&
                (flags >> 5 & 1) != 0;
    if (m.kind == RAFT_MESSAGE_PROPOSE) {
        for (int n = flags >> 6; n >= 0; n--) {
            static const uint8_t payload[64] = {0};
            uint8_t size = fuzz_byte(in);
            int entry_kind = size == 255 ? RAFT_ENTRY_STRIPPED : RAFT_ENTRY_DATA;
            lone_batch_add(&batch, payload, size == 255 ? 0 : size % 64, entry_kind);
        }
        m.chunk.data = batch.data;
        m.chunk.size = batch.size;
    } else if (m.kind != RAFT_MESSAGE_READ && !m.refused) {
        m.index = fuzz_index(in, &s);
        m.index_term = fuzz_term_at(in, l, m.index, &s);
    }
    int code = lone_receive(l, &m);
    free(batch.data);
    return code;
}

/* Hands a forged message to the node; most are plausible, none needs to be honest. */
static inline int fuzz_receive_forged(fuzz_input *in, lone *l)
{
    raft_status s = lone_status(l);
    uint8_t kind = fuzz_byte(in);
    uint8_t flags = fuzz_byte(in);
    if (kind >= 192) {
        return fuzz_receive_forwarded(in, l, kind, flags);
    }
    raft_message m = lone_message(1 + kind % 8, 2 + flags % 3, fuzz_term(in, &s));
    m.refused = flags >> 4 & 1;
    m.round = flags >> 5 & 1 ? fuzz_byte(in) : flags >> 6;
    m.index = fuzz_index(in, &s);
    m.index_term = fuzz_term_at(in, l, m.index, &s);
    m.commit = fuzz_index(in, &s);
    m.refused_index = fuzz_index(in, &s);
    m.asked_term = fuzz_term(in, &s);
    if (kind >= 128) {
        m.flags = m.kind == RAFT_MESSAGE_HEARTBEAT ? RAFT_FLAG_CREDIT : 0;
        m.credit_ms = m.kind == RAFT_MESSAGE_HEARTBEAT_REPLY ? fuzz_byte(in) * 16u : 0;
        m.tag_term = m.kind == RAFT_MESSAGE_VOTE ? fuzz_term(in, &s) : 0;
        m.tag_round = m.tag_term != 0 ? fuzz_byte(in) : 0;
    }
    lone_batch batches[2];
    memset(batches, 0, sizeof batches);
    if (m.kind == RAFT_MESSAGE_APPEND) {
        raft_term term = fuzz_term(in, &s);
        uint8_t counts = fuzz_byte(in);
        raft_index first = m.index + 1;
        for (size_t i = 0; i < 2 && (counts >> 4 * i & 7) != 0; i++) {
            batches[i].first = first;
            batches[i].term = term;
            for (unsigned n = counts >> 4 * i & 7; n > 0; n--) {
                uint8_t size = fuzz_byte(in);
                static const uint8_t payload[64] = {0};
                int noop = size == 255;
                lone_batch_add(&batches[i], payload, noop ? 0 : size % 64,
                               noop ? RAFT_ENTRY_NOOP : RAFT_ENTRY_DATA);
            }
            first += batches[i].count;
            m.ranges[i] = lone_batch_range(&batches[i]);
            m.range_count = i + 1;
        }
    } else if (flags >> 3 & 1) {
        m.range_count = fuzz_byte(in) % (RAFT_RANGES_MAX + 2); /* ranges where none belong */
    }
    int code = lone_receive(l, &m);
    free(batches[0].data);
    free(batches[1].data);
    return code;
}

/* The node may fail only as its header says: by a breach that lone.h saw, the target fails. */
static inline void fuzz_end(lone *l)
{
    const char *verdict = lone_close(l);
    if (strcmp(verdict, "sound") != 0) {
        fprintf(stderr, "%s\n", verdict);
        abort();
    }
}

#endif
