/*
 * The one encoding: entries and messages as bytes. Golden vectors pin the wire form down byte by
 * byte (the table at the top of message.c); properties hold for random messages, for every cut and
 * for every flipped byte; hostile lengths and numbers are refused before they are used.
 */
#include "check.h"

#include "../raft_internal.h"

#include <stdlib.h>

/* ---- Golden vectors: one row for each eight bytes ------------------------------------------- */

/* clang-format off */
#define U64(b) (b), 0, 0, 0, 0, 0, 0, 0

static const uint8_t golden_pre_vote[] = {
    1, 1, 0, 0, 0, 0, 0, 0,                          /* format, kind, refused, protocol, entries */
    U64(9),                                          /* cluster */
    0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,  /* group */
    U64(1), U64(2),                                  /* from, to */
    U64(6),                                          /* term */
    U64(3),                                          /* round */
    0x2c, 0x01, 0, 0, 0, 0, 0, 0,                    /* index 300 */
    U64(5),                                          /* its term */
    U64(0),                                          /* commit */
    U64(7),                                          /* term asked for */
    U64(0),                                          /* bytes of entries */
};

static const uint8_t golden_pre_vote_reply[] = {
    1, 2, 1, 0, 0, 0, 0, 0, U64(9), U64(1), U64(2), U64(1), U64(6), U64(3),
    U64(0), U64(0), U64(0), U64(7), U64(0),
};

static const uint8_t golden_vote[] = {
    1, 3, 0, 0, 0, 0, 0, 0, U64(9), U64(1), U64(1), U64(2), U64(7), U64(4),
    U64(40), U64(5), U64(0), U64(0), U64(0),
};

static const uint8_t golden_vote_reply[] = {
    1, 4, 0, 0, 0, 0, 0, 0, U64(9), U64(1), U64(2), U64(1), U64(7), U64(4),
    U64(0), U64(0), U64(0), U64(0), U64(0),
};

static const uint8_t golden_append[] = {
    1, 5, 0, 0, 3, 0, 0, 0, U64(9), U64(1), U64(1), U64(3), U64(7), U64(9),
    U64(41), U64(6),          /* the entry before */
    U64(40),                  /* commit */
    U64(7),                   /* term of the entries */
    U64(48),                  /* bytes of the entries */
    3, 0, 0, 0, 1, 0, 0, 0, 'a', 'b', 'c', 0, 0, 0, 0, 0,
    0, 0, 0, 0, 2, 0, 0, 0,   /* a no-op */
    9, 0, 0, 0, 1, 0, 0, 0, '1', '2', '3', '4', '5', '6', '7', '8', '9', 0, 0, 0, 0, 0, 0, 0,
};

static const uint8_t golden_append_reply[] = {
    1, 6, 0, 0, 0, 0, 0, 0, U64(9), U64(1), U64(3), U64(1), U64(7), U64(9),
    U64(44), U64(0), U64(0), U64(0), U64(0),
};

static const uint8_t golden_refused_append_reply[] = {
    1, 6, 1, 0, 0, 0, 0, 0, U64(9), U64(1), U64(3), U64(1), U64(7), U64(9),
    U64(30), U64(4),          /* the hint */
    U64(41),                  /* what did not match */
    U64(0), U64(0),
};

static const uint8_t golden_heartbeat[] = {
    1, 7, 0, 0, 0, 0, 0, 0, U64(9), U64(1), U64(1), U64(2), U64(7), U64(10),
    U64(0), U64(0), U64(40), U64(0), U64(0),
};

static const uint8_t golden_heartbeat_reply[] = {
    1, 8, 0, 0, 0, 0, 0, 0, U64(9), U64(1), U64(2), U64(1), U64(7), U64(10),
    U64(0), U64(0), U64(0), U64(0), U64(0),
};

static const uint8_t golden_uncertain_heartbeat_reply[] = {
    1, 8, 1, 0, 0, 0, 0, 0, U64(9), U64(1), U64(2), U64(1), U64(7), U64(10),
    U64(0), U64(0), U64(0), U64(0), U64(0),
};

static const uint8_t golden_transfer_ask[] = {
    1, 18, 0, 0, 0, 0, 0, 0, U64(9), U64(1), U64(2), U64(1), U64(7), U64(0),
    U64(0), U64(0), U64(0), U64(3), U64(0),
};

static const uint8_t golden_snapshot_ask[] = {
    1, 19, 0, 0, 0, 0, 0, 0, U64(9), U64(1), U64(2), U64(1), U64(7), U64(10),
    U64(0), U64(0), U64(40), U64(0), U64(0),
};

/* clang-format on */

static raft_message blank(int kind, raft_id from, raft_id to, raft_term term, uint64_t round)
{
    raft_message m;
    memset(&m, 0, sizeof m);
    m.cluster = 9;
    m.group = 1;
    m.kind = kind;
    m.from = from;
    m.to = to;
    m.term = term;
    m.round = round;
    return m;
}

/* The bytes say the message, and the message says the bytes. */
static void check_golden(const uint8_t *bytes, size_t size, const raft_message *m)
{
    uint8_t out[256];
    raft_message back;
    CHECK_EQ(raft_message_size(m), size);
    memset(out, 0xcc, sizeof out);
    CHECK_EQ(raft_encode(m, out, sizeof out), size);
    for (size_t i = 0; i < size; i++) {
        CHECK_EQ(out[i], bytes[i]);
    }
    CHECK_EQ(out[size], 0xcc);
    CHECK_EQ(raft_decode(bytes, size, &back), RAFT_OK);
    CHECK_EQ(back.kind, m->kind);
    CHECK_EQ(back.cluster, m->cluster);
    CHECK_EQ(back.group, m->group);
    CHECK_EQ(back.from, m->from);
    CHECK_EQ(back.to, m->to);
    CHECK_EQ(back.term, m->term);
    CHECK_EQ(back.round, m->round);
    CHECK_EQ(back.index, m->index);
    CHECK_EQ(back.index_term, m->index_term);
    CHECK_EQ(back.asked_term, m->asked_term);
    CHECK_EQ(back.commit, m->commit);
    CHECK_EQ(back.refused_index, m->refused_index);
    CHECK_EQ(back.request, m->request);
    CHECK_EQ(back.refused, m->refused);
    CHECK_EQ(back.protocol, m->protocol);
}

static void pre_vote_has_its_golden_bytes(void)
{
    raft_message m = blank(RAFT_MESSAGE_PRE_VOTE, 1, 2, 6, 3);
    m.group = 0x0102030405060708u;
    m.index = 300;
    m.index_term = 5;
    m.asked_term = 7;
    check_golden(golden_pre_vote, sizeof golden_pre_vote, &m);
}

static void pre_vote_reply_has_its_golden_bytes(void)
{
    raft_message m = blank(RAFT_MESSAGE_PRE_VOTE_REPLY, 2, 1, 6, 3);
    m.asked_term = 7;
    m.refused = 1;
    check_golden(golden_pre_vote_reply, sizeof golden_pre_vote_reply, &m);
}

static void vote_has_its_golden_bytes(void)
{
    raft_message m = blank(RAFT_MESSAGE_VOTE, 1, 2, 7, 4);
    m.index = 40;
    m.index_term = 5;
    check_golden(golden_vote, sizeof golden_vote, &m);
}

static void vote_reply_has_its_golden_bytes(void)
{
    raft_message m = blank(RAFT_MESSAGE_VOTE_REPLY, 2, 1, 7, 4);
    check_golden(golden_vote_reply, sizeof golden_vote_reply, &m);
}

/* The three golden entries, as one range or cut into two. */
static raft_message sample_append(size_t cut)
{
    static const size_t at[] = {0, 16, 24, 48};
    const uint8_t *entries = golden_append + RAFT_MESSAGE_HEADER;
    raft_message m = blank(RAFT_MESSAGE_APPEND, 1, 3, 7, 9);
    raft_range first = {42, 7, cut, at[cut], entries};
    raft_range second = {42 + cut, 7, 3 - cut, 48 - at[cut], entries + at[cut]};
    m.index = 41;
    m.index_term = 6;
    m.commit = 40;
    m.ranges[0] = cut > 0 ? first : second;
    m.ranges[1] = second;
    m.range_count = cut > 0 && cut < 3 ? 2 : 1;
    return m;
}

static void append_has_its_golden_bytes(void)
{
    for (size_t cut = 0; cut <= 3; cut++) {
        raft_message m = sample_append(cut);
        check_golden(golden_append, sizeof golden_append, &m);
    }
}

/* However the entries lie in the log's memory, they are the same bytes on the wire. */
static void append_of_as_many_ranges_as_entries_has_its_golden_bytes(void)
{
    static const size_t at[] = {0, 16, 24, 48};
    raft_message m = sample_append(0);
    m.range_count = 3;
    for (size_t i = 0; i < 3; i++) {
        raft_range one = {42 + i, 7, 1, at[i + 1] - at[i],
                          golden_append + RAFT_MESSAGE_HEADER + at[i]};
        m.ranges[i] = one;
    }
    CHECK(raft__message_check(&m));
    check_golden(golden_append, sizeof golden_append, &m);
}

static void append_is_decoded_in_place_as_one_range(void)
{
    raft_message m;
    raft_entry e;
    CHECK_EQ(raft_decode(golden_append, sizeof golden_append, &m), RAFT_OK);
    CHECK_EQ(m.range_count, 1);
    CHECK_EQ(m.ranges[0].first, 42);
    CHECK_EQ(m.ranges[0].term, 7);
    CHECK_EQ(m.ranges[0].count, 3);
    CHECK_EQ(m.ranges[0].size, 48);
    CHECK(m.ranges[0].data == golden_append + RAFT_MESSAGE_HEADER);
    raft_range walk = m.ranges[0];
    CHECK(raft_range_next(&walk, &e));
    CHECK_EQ(e.index, 42);
    CHECK_EQ(e.term, 7);
    CHECK_EQ(e.kind, RAFT_ENTRY_DATA);
    CHECK_EQ(e.size, 3);
    CHECK(memcmp(e.data, "abc", 3) == 0);
    CHECK(raft_range_next(&walk, &e));
    CHECK_EQ(e.index, 43);
    CHECK_EQ(e.kind, RAFT_ENTRY_NOOP);
    CHECK_EQ(e.size, 0);
    CHECK(raft_range_next(&walk, &e));
    CHECK_EQ(e.index, 44);
    CHECK_EQ(e.size, 9);
    CHECK(memcmp(e.data, "123456789", 9) == 0);
    CHECK(!raft_range_next(&walk, &e));
    CHECK_EQ(walk.count, 0);
    CHECK_EQ(walk.size, 0);
}

static void append_reply_has_its_golden_bytes(void)
{
    raft_message m = blank(RAFT_MESSAGE_APPEND_REPLY, 3, 1, 7, 9);
    m.index = 44;
    check_golden(golden_append_reply, sizeof golden_append_reply, &m);
    m.refused = 1;
    m.index = 30;
    m.index_term = 4;
    m.refused_index = 41;
    check_golden(golden_refused_append_reply, sizeof golden_refused_append_reply, &m);
}

static void heartbeat_and_reply_have_their_golden_bytes(void)
{
    raft_message m = blank(RAFT_MESSAGE_HEARTBEAT, 1, 2, 7, 10);
    m.commit = 40;
    check_golden(golden_heartbeat, sizeof golden_heartbeat, &m);
    m = blank(RAFT_MESSAGE_HEARTBEAT_REPLY, 2, 1, 7, 10);
    check_golden(golden_heartbeat_reply, sizeof golden_heartbeat_reply, &m);
    m.refused = 1;
    check_golden(golden_uncertain_heartbeat_reply, sizeof golden_uncertain_heartbeat_reply, &m);
}

static void transfer_ask_has_its_golden_bytes(void)
{
    raft_message m = blank(RAFT_MESSAGE_TRANSFER_ASK, 2, 1, 7, 0);
    m.request = 3;
    check_golden(golden_transfer_ask, sizeof golden_transfer_ask, &m);
}

static void snapshot_ask_has_its_golden_bytes(void)
{
    raft_message m = blank(RAFT_MESSAGE_SNAPSHOT_ASK, 2, 1, 7, 10);
    m.commit = 40;
    check_golden(golden_snapshot_ask, sizeof golden_snapshot_ask, &m);
    m.commit = 0; /* there is no such snapshot */
    CHECK(!raft__message_check(&m));
}

static const struct {
    const uint8_t *bytes;
    size_t size;
} golden[] = {
    {golden_pre_vote, sizeof golden_pre_vote},
    {golden_pre_vote_reply, sizeof golden_pre_vote_reply},
    {golden_vote, sizeof golden_vote},
    {golden_vote_reply, sizeof golden_vote_reply},
    {golden_append, sizeof golden_append},
    {golden_append_reply, sizeof golden_append_reply},
    {golden_refused_append_reply, sizeof golden_refused_append_reply},
    {golden_heartbeat, sizeof golden_heartbeat},
    {golden_heartbeat_reply, sizeof golden_heartbeat_reply},
    {golden_uncertain_heartbeat_reply, sizeof golden_uncertain_heartbeat_reply},
    {golden_transfer_ask, sizeof golden_transfer_ask},
    {golden_snapshot_ask, sizeof golden_snapshot_ask},
};

enum { GOLDEN_COUNT = sizeof golden / sizeof golden[0] };

/* ---- Every cut, every flip ------------------------------------------------------------------ */

/* Decodes from a block of exactly that size, so that sanitizers see a byte read too many. */
static int decode_exact(const uint8_t *bytes, size_t size)
{
    raft_message m;
    uint8_t *exact = malloc(size > 0 ? size : 1);
    CHECK(exact != NULL);
    memcpy(exact, bytes, size);
    int code = raft_decode(exact, size, &m);
    free(exact);
    return code;
}

static void every_truncation_of_every_message_is_refused(void)
{
    for (size_t g = 0; g < GOLDEN_COUNT; g++) {
        CHECK_EQ(decode_exact(golden[g].bytes, golden[g].size), RAFT_OK);
        for (size_t size = 0; size < golden[g].size; size++) {
            CHECK_EQ(decode_exact(golden[g].bytes, size), RAFT_EMALFORMED);
        }
    }
}

static void bytes_behind_a_message_are_refused(void)
{
    uint8_t longer[256] = {0};
    for (size_t g = 0; g < GOLDEN_COUNT; g++) {
        memcpy(longer, golden[g].bytes, golden[g].size);
        for (size_t extra = 1; extra <= 24; extra++) {
            CHECK_EQ(decode_exact(longer, golden[g].size + extra), RAFT_EMALFORMED);
        }
        memset(longer, 0, sizeof longer);
    }
}

/* One message, one encoding: whatever is accepted encodes to the bytes it was read from. */
static void check_refused_or_canonical(const uint8_t *bytes, size_t size)
{
    raft_message m;
    uint8_t again[256];
    if (raft_decode(bytes, size, &m) == RAFT_OK) {
        CHECK_EQ(raft_encode(&m, again, sizeof again), size);
        CHECK(memcmp(bytes, again, size) == 0);
    }
}

static void every_flipped_byte_is_refused_or_means_another_message(void)
{
    uint8_t bytes[256];
    for (size_t g = 0; g < GOLDEN_COUNT; g++) {
        memcpy(bytes, golden[g].bytes, golden[g].size);
        for (size_t at = 0; at < golden[g].size; at++) {
            for (unsigned flip = 1; flip < 256; flip++) {
                bytes[at] ^= (uint8_t)flip;
                check_refused_or_canonical(bytes, golden[g].size);
                bytes[at] ^= (uint8_t)flip;
            }
        }
    }
}

static void two_flipped_bits_are_refused_or_mean_another_message(void)
{
    uint8_t bytes[256];
    memcpy(bytes, golden_append, sizeof golden_append);
    for (size_t a = 0; a < 8 * sizeof golden_append; a++) {
        bytes[a / 8] ^= (uint8_t)(1u << a % 8);
        for (size_t b = 0; b < a; b++) {
            bytes[b / 8] ^= (uint8_t)(1u << b % 8);
            check_refused_or_canonical(bytes, sizeof golden_append);
            bytes[b / 8] ^= (uint8_t)(1u << b % 8);
        }
        bytes[a / 8] ^= (uint8_t)(1u << a % 8);
    }
}

/* ---- Random messages ------------------------------------------------------------------------ */

static uint64_t random_step(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Numbers of all magnitudes. */
static uint64_t random_number(uint64_t *seed)
{
    return random_step(seed) >> (2 + random_step(seed) % 62);
}

enum { RANDOM_BYTES = 4096 };

static void random_entries(uint64_t *seed, raft_message *m, uint8_t *buffer)
{
    size_t used = 0;
    raft_term term = m->index_term + random_number(seed) % (m->term - m->index_term + 1);
    m->range_count = term > 0 ? (size_t)(random_step(seed) % 3) : 0;
    for (size_t r = 0; r < m->range_count; r++) {
        raft_range *range = &m->ranges[r];
        range->first = r == 0 ? m->index + 1 : m->ranges[0].first + m->ranges[0].count;
        range->term = term;
        range->data = buffer + used;
        range->count = 1 + (size_t)(random_step(seed) % 5);
        for (size_t i = 0; i < range->count; i++) {
            uint8_t payload[200];
            raft_entry e = {0, 0, payload, (size_t)(random_step(seed) % 200), RAFT_ENTRY_DATA};
            for (size_t b = 0; b < e.size; b++) {
                payload[b] = (uint8_t)random_step(seed);
            }
            if (random_step(seed) % 8 == 0) {
                e.kind = RAFT_ENTRY_NOOP;
                e.size = 0;
            }
            CHECK_EQ(raft_entry_encode(&e, buffer + used, RANDOM_BYTES - used), RAFT_OK);
            used += raft_entry_size(e.size);
        }
        range->size = (size_t)(buffer + used - (const uint8_t *)range->data);
    }
}

/* A message that a correct server could send. */
static raft_message random_message(uint64_t *seed, uint8_t *buffer)
{
    raft_message m;
    memset(&m, 0, sizeof m);
    m.kind = 1 + (int)(random_step(seed) % 8);
    m.cluster = random_step(seed);
    m.group = random_step(seed);
    m.from = random_step(seed);
    m.to = random_step(seed);
    m.round = random_step(seed);
    m.term = 1 + random_number(seed);
    int has_entry = random_step(seed) % 4 != 0;
    raft_index index = has_entry ? 1 + random_number(seed) : 0;
    raft_term index_term = has_entry ? 1 + random_number(seed) % m.term : 0;
    switch (m.kind) {
    case RAFT_MESSAGE_PRE_VOTE:
        m.asked_term = m.term + 1;
        m.index = index;
        m.index_term = index_term;
        break;
    case RAFT_MESSAGE_VOTE:
        m.index = index;
        m.index_term = index_term;
        break;
    case RAFT_MESSAGE_PRE_VOTE_REPLY:
        m.asked_term = 1 + random_number(seed);
        m.refused = (int)(random_step(seed) % 2);
        break;
    case RAFT_MESSAGE_VOTE_REPLY:
        m.refused = (int)(random_step(seed) % 2);
        break;
    case RAFT_MESSAGE_APPEND:
        m.index = index;
        m.index_term = index_term;
        m.commit = random_number(seed);
        random_entries(seed, &m, buffer);
        break;
    case RAFT_MESSAGE_APPEND_REPLY:
        m.index = index;
        m.refused = (int)(random_step(seed) % 2);
        if (m.refused) {
            m.index_term = index_term;
            m.refused_index = random_number(seed);
        }
        break;
    case RAFT_MESSAGE_HEARTBEAT:
        m.commit = random_number(seed);
        break;
    default:
        break;
    }
    return m;
}

static size_t joined_bytes(const raft_message *m, uint8_t *out)
{
    size_t size = 0;
    for (size_t i = 0; i < m->range_count; i++) {
        memcpy(out + size, m->ranges[i].data, m->ranges[i].size);
        size += m->ranges[i].size;
    }
    return size;
}

static void random_messages_survive_encoding_and_decoding(void)
{
    static uint8_t buffer[RANDOM_BYTES];
    static uint8_t wire[RANDOM_BYTES + RAFT_MESSAGE_HEADER];
    static uint8_t again[RANDOM_BYTES + RAFT_MESSAGE_HEADER];
    uint64_t seed = 88172645463325252u;
    for (int i = 0; i < 50000; i++) {
        raft_message m = random_message(&seed, buffer);
        raft_message back;
        size_t size = raft_message_size(&m);
        CHECK_EQ(raft_encode(&m, wire, size), size);
        CHECK_EQ(raft_decode(wire, size, &back), RAFT_OK);
        CHECK_EQ(back.kind, m.kind);
        CHECK_EQ(back.term, m.term);
        CHECK_EQ(back.round, m.round);
        CHECK_EQ(back.index, m.index);
        CHECK_EQ(back.index_term, m.index_term);
        CHECK_EQ(back.asked_term, m.asked_term);
        CHECK_EQ(back.commit, m.commit);
        CHECK_EQ(back.refused_index, m.refused_index);
        CHECK_EQ(back.refused, m.refused);
        CHECK_EQ(raft_encode(&back, again, sizeof again), size);
        CHECK(memcmp(wire, again, size) == 0);
    }
}

static void scattered_encoding_is_the_whole_encoding(void)
{
    static uint8_t buffer[RANDOM_BYTES];
    static uint8_t whole[RANDOM_BYTES + RAFT_MESSAGE_HEADER];
    static uint8_t parts[RANDOM_BYTES + RAFT_MESSAGE_HEADER];
    uint64_t seed = 5;
    for (int i = 0; i < 5000; i++) {
        raft_message m = random_message(&seed, buffer);
        size_t size = raft_encode(&m, whole, sizeof whole);
        raft_encode_header(&m, parts);
        CHECK_EQ(size, RAFT_MESSAGE_HEADER + joined_bytes(&m, parts + RAFT_MESSAGE_HEADER));
        CHECK(memcmp(whole, parts, size) == 0);
    }
}

static void encoding_into_too_small_a_buffer_writes_nothing(void)
{
    uint8_t out[256];
    raft_message m = sample_append(2);
    for (size_t capacity = 0; capacity < sizeof golden_append; capacity++) {
        memset(out, 0xcc, sizeof out);
        CHECK_EQ(raft_encode(&m, out, capacity), 0);
        CHECK_EQ(out[0], 0xcc);
    }
    CHECK_EQ(raft_encode(&m, NULL, 1000), 0);
    CHECK_EQ(raft_encode(NULL, out, sizeof out), 0);
}

/* ---- Hostile numbers ------------------------------------------------------------------------ */

static void put64(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> 8 * i);
    }
}

static void put32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> 8 * i);
    }
}

static const uint64_t hostile[] = {
    (uint64_t)1 << 63, ((uint64_t)1 << 63) + 1, UINT64_MAX,      UINT64_MAX - 1,
    UINT64_MAX - 7,    UINT64_MAX - 95,         UINT64_MAX - 96,
};

enum { HOSTILE_COUNT = sizeof hostile / sizeof hostile[0] };

/* R64: offsets of term, index, index_term, commit or refused_index, asked or entries' term. */
static void terms_and_indexes_from_2_to_the_63_on_are_refused(void)
{
    static const size_t fields[] = {40, 56, 64, 72, 80};
    uint8_t bytes[256];
    for (size_t g = 0; g < GOLDEN_COUNT; g++) {
        int has_target = golden[g].bytes == golden_transfer_ask; /* an identity, at offset 80 */
        for (size_t f = 0; f < sizeof fields / sizeof fields[0] - (has_target != 0); f++) {
            for (size_t h = 0; h < HOSTILE_COUNT; h++) {
                memcpy(bytes, golden[g].bytes, golden[g].size);
                put64(bytes + fields[f], hostile[h]);
                CHECK_EQ(raft_decode(bytes, golden[g].size, &(raft_message){0}), RAFT_EMALFORMED);
            }
        }
    }
}

/* Rounds and identities are no terms: they have all 64 bits. */
static void rounds_and_identities_may_have_all_64_bits(void)
{
    static const size_t fields[] = {8, 16, 24, 32, 48};
    uint8_t bytes[256];
    for (size_t g = 0; g < GOLDEN_COUNT; g++) {
        for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++) {
            memcpy(bytes, golden[g].bytes, golden[g].size);
            put64(bytes + fields[f], UINT64_MAX);
            CHECK_EQ(raft_decode(bytes, golden[g].size, &(raft_message){0}), RAFT_OK);
        }
    }
}

static void entries_that_would_pass_the_last_index_are_refused(void)
{
    uint8_t bytes[256];
    for (uint64_t below = 0; below < 6; below++) { /* three entries follow */
        memcpy(bytes, golden_append, sizeof golden_append);
        put64(bytes + 56, ((uint64_t)1 << 63) - 1 - below);
        int code = raft_decode(bytes, sizeof golden_append, &(raft_message){0});
        CHECK_EQ(code, below < 3 ? RAFT_EMALFORMED : RAFT_OK);
    }
}

static void entry_counts_that_do_not_add_up_are_refused(void)
{
    static const uint32_t counts[] = {0, 1, 2, 4, 5, 6, 7, 255, 0x7fffffff, 0x80000000, UINT32_MAX};
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        memcpy(bytes, golden_append, sizeof golden_append);
        put32(bytes + 4, counts[i]);
        CHECK_EQ(raft_decode(bytes, sizeof golden_append, &(raft_message){0}), RAFT_EMALFORMED);
    }
}

static void payload_sizes_that_do_not_add_up_are_refused(void)
{
    static const uint32_t sizes[] = {0,          2,          10,         17,         24,
                                     40,         41,         255,        0x3fffffff, 0x40000000,
                                     0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffff8, UINT32_MAX};
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        memcpy(bytes, golden_append, sizeof golden_append);
        put32(bytes + RAFT_MESSAGE_HEADER, sizes[i]);
        CHECK_EQ(raft_decode(bytes, sizeof golden_append, &(raft_message){0}), RAFT_EMALFORMED);
    }
}

static void stated_bytes_other_than_those_that_came_are_refused(void)
{
    uint8_t bytes[256];
    for (size_t h = 0; h < HOSTILE_COUNT; h++) {
        memcpy(bytes, golden_append, sizeof golden_append);
        put64(bytes + 88, hostile[h]);
        CHECK_EQ(raft_decode(bytes, sizeof golden_append, &(raft_message){0}), RAFT_EMALFORMED);
        put64(bytes + 88, 48 + hostile[h]);
        CHECK_EQ(raft_decode(bytes, sizeof golden_append, &(raft_message){0}), RAFT_EMALFORMED);
    }
}

static void entry_of_unknown_kind_or_dirty_padding_is_refused(void)
{
    uint8_t bytes[256];
    memcpy(bytes, golden_append, sizeof golden_append);
    for (unsigned kind = 0; kind < 256; kind++) {
        bytes[RAFT_MESSAGE_HEADER + 4] = (uint8_t)kind;
        int code = raft_decode(bytes, sizeof golden_append, &(raft_message){0});
        int any_payload = kind == RAFT_ENTRY_DATA || kind == RAFT_ENTRY_CONFIG;
        CHECK_EQ(code, any_payload ? RAFT_OK : RAFT_EMALFORMED);
    }
    for (size_t zero = 0; zero < 16; zero++) {
        memcpy(bytes, golden_append, sizeof golden_append);
        if ((zero >= 5 && zero < 8) || zero >= 11) {
            bytes[RAFT_MESSAGE_HEADER + zero] = 1;
            CHECK_EQ(raft_decode(bytes, sizeof golden_append, &(raft_message){0}), RAFT_EMALFORMED);
        }
    }
}

/* R32: the terms of a message do not fall, and none is above the sender's. */
static void entries_of_falling_terms_or_above_the_senders_are_refused(void)
{
    uint8_t bytes[256];
    for (uint64_t term = 0; term < 12; term++) {
        memcpy(bytes, golden_append, sizeof golden_append);
        put64(bytes + 80, term); /* prev's term is 6, the sender's 7 */
        int code = raft_decode(bytes, sizeof golden_append, &(raft_message){0});
        CHECK_EQ(code, term == 6 || term == 7 ? RAFT_OK : RAFT_EMALFORMED);
    }
}

static void position_zero_has_no_term_and_others_have_one(void)
{
    uint8_t bytes[256];
    memcpy(bytes, golden_append, sizeof golden_append);
    put64(bytes + 56, 0);
    CHECK_EQ(raft_decode(bytes, sizeof golden_append, &(raft_message){0}), RAFT_EMALFORMED);
    put64(bytes + 64, 0);
    CHECK_EQ(raft_decode(bytes, sizeof golden_append, &(raft_message){0}), RAFT_OK);
    put64(bytes + 56, 41);
    CHECK_EQ(raft_decode(bytes, sizeof golden_append, &(raft_message){0}), RAFT_EMALFORMED);
}

/* A server without a term has nothing that another could want; nor could it answer. */
static void pull_of_term_zero_is_refused(void)
{
    uint8_t bytes[RAFT_MESSAGE_HEADER];
    raft_message m = blank(RAFT_MESSAGE_PULL, 2, 1, 1, 5);
    CHECK_EQ(raft_encode(&m, bytes, sizeof bytes), sizeof bytes);
    CHECK_EQ(raft_decode(bytes, sizeof bytes, &(raft_message){0}), RAFT_OK);
    put64(bytes + 40, 0);
    CHECK_EQ(raft_decode(bytes, sizeof bytes, &(raft_message){0}), RAFT_EMALFORMED);
}

static void format_of_the_future_is_told_from_garbage(void)
{
    uint8_t bytes[256];
    for (size_t g = 0; g < GOLDEN_COUNT; g++) {
        memcpy(bytes, golden[g].bytes, golden[g].size);
        bytes[0] = 2;
        CHECK_EQ(raft_decode(bytes, golden[g].size, &(raft_message){0}), RAFT_EVERSION);
        bytes[0] = 255;
        CHECK_EQ(raft_decode(bytes, golden[g].size, &(raft_message){0}), RAFT_EVERSION);
        bytes[0] = 0;
        CHECK_EQ(raft_decode(bytes, golden[g].size, &(raft_message){0}), RAFT_EMALFORMED);
    }
}

static void unknown_kinds_are_refused(void)
{
    uint8_t bytes[256];
    memcpy(bytes, golden_heartbeat_reply, sizeof golden_heartbeat_reply);
    for (unsigned kind = 0; kind < 256; kind++) {
        if (kind < 1 || kind > 19) {
            bytes[1] = (uint8_t)kind;
            CHECK_EQ(raft_decode(bytes, sizeof golden_heartbeat_reply, &(raft_message){0}),
                     RAFT_EMALFORMED);
        }
    }
}

static void null_is_answered_with_an_argument_error(void)
{
    raft_message m;
    CHECK_EQ(raft_decode(NULL, 96, &m), RAFT_EARG);
    CHECK_EQ(raft_decode(golden_vote, sizeof golden_vote, NULL), RAFT_EARG);
}

/* ---- Entries -------------------------------------------------------------------------------- */

static void entries_of_every_small_size_survive(void)
{
    uint8_t payload[101];
    uint8_t bytes[256];
    for (size_t size = 0; size <= 100; size++) {
        raft_entry e = {0, 0, payload, size, RAFT_ENTRY_DATA};
        for (size_t i = 0; i < size; i++) {
            payload[i] = (uint8_t)(i * 7 + size);
        }
        size_t whole = raft_entry_size(size);
        CHECK_EQ(whole, (size + 8 + 7) / 8 * 8);
        memset(bytes, 0xff, sizeof bytes);
        CHECK_EQ(raft_entry_encode(&e, bytes, whole), RAFT_OK);
        for (size_t i = 8 + size; i < whole; i++) {
            CHECK_EQ(bytes[i], 0);
        }
        CHECK_EQ(bytes[whole], 0xff);
        raft_range range = {5, 3, 1, whole, bytes};
        raft_entry back;
        CHECK(raft_range_next(&range, &back));
        CHECK_EQ(back.index, 5);
        CHECK_EQ(back.term, 3);
        CHECK_EQ(back.kind, RAFT_ENTRY_DATA);
        CHECK_EQ(back.size, size);
        CHECK(size == 0 || memcmp(back.data, payload, size) == 0);
        CHECK(!raft_range_next(&range, &back));
    }
}

static void entry_is_refused_where_it_does_not_fit(void)
{
    uint8_t bytes[64];
    raft_entry e = {0, 0, "0123456789", 10, RAFT_ENTRY_DATA};
    for (size_t capacity = 0; capacity < 24; capacity++) {
        memset(bytes, 0xcc, sizeof bytes);
        CHECK_EQ(raft_entry_encode(&e, bytes, capacity), RAFT_ESIZE);
        CHECK_EQ(bytes[0], 0xcc);
    }
    CHECK_EQ(raft_entry_encode(&e, bytes, 24), RAFT_OK);
}

/* A size that wrapped around would let a small buffer pass for large enough. */
static void entry_size_never_wraps_around(void)
{
    for (size_t below = 0; below < 64; below++) {
        size_t payload_size = SIZE_MAX - below;
        size_t size = raft_entry_size(payload_size);
        if (below < 15) {
            CHECK_EQ(size, SIZE_MAX);
        } else {
            CHECK(size > payload_size && size - payload_size < 16);
        }
        CHECK(size <= raft_entry_size(payload_size + (below > 0)));
    }
}

static void entry_of_2_to_the_30_bytes_is_refused(void)
{
    uint8_t bytes[64];
    raft_entry e = {0, 0, bytes, (size_t)1 << 30, RAFT_ENTRY_DATA};
    CHECK_EQ(raft_entry_encode(&e, bytes, SIZE_MAX), RAFT_ESIZE);
    e.size = SIZE_MAX;
    CHECK_EQ(raft_entry_encode(&e, bytes, SIZE_MAX), RAFT_ESIZE);
    e.size = SIZE_MAX - 14;
    CHECK_EQ(raft_entry_encode(&e, bytes, SIZE_MAX), RAFT_ESIZE);
}

/* What was encoded can be decoded: so what could not be decoded is not encoded. */
static void entry_that_no_log_can_hold_is_not_encoded(void)
{
    uint8_t bytes[64];
    raft_entry e = {0, 0, "x", 1, RAFT_ENTRY_NOOP};
    CHECK_EQ(raft_entry_encode(&e, bytes, sizeof bytes), RAFT_EARG);
    e.size = 0;
    CHECK_EQ(raft_entry_encode(&e, bytes, sizeof bytes), RAFT_OK);
    e.kind = 0;
    CHECK_EQ(raft_entry_encode(&e, bytes, sizeof bytes), RAFT_EARG);
    e.kind = 3;
    CHECK_EQ(raft_entry_encode(&e, bytes, sizeof bytes), RAFT_EARG);
    e.kind = RAFT_ENTRY_DATA;
    e.size = 1;
    e.data = NULL;
    CHECK_EQ(raft_entry_encode(&e, bytes, sizeof bytes), RAFT_EARG);
    e.size = 0;
    CHECK_EQ(raft_entry_encode(&e, bytes, sizeof bytes), RAFT_OK);
    CHECK_EQ(raft_entry_encode(&e, NULL, sizeof bytes), RAFT_EARG);
    CHECK_EQ(raft_entry_encode(NULL, bytes, sizeof bytes), RAFT_EARG);
}

static void walk_over_a_malformed_range_ends_early(void)
{
    uint8_t entries[48];
    raft_entry e;
    memcpy(entries, golden_append + RAFT_MESSAGE_HEADER, sizeof entries);
    raft_range cut = {42, 7, 3, 40, entries};
    CHECK(raft_range_next(&cut, &e));
    CHECK(raft_range_next(&cut, &e));
    CHECK(!raft_range_next(&cut, &e));
    entries[16] = 200;
    raft_range long_payload = {42, 7, 3, sizeof entries, entries};
    CHECK(raft_range_next(&long_payload, &e));
    CHECK(!raft_range_next(&long_payload, &e));
    CHECK(!raft_range_next(NULL, &e));
    CHECK(!raft_range_next(&long_payload, NULL));
}

static void range_skips_as_it_walks(void)
{
    const uint8_t *entries = golden_append + RAFT_MESSAGE_HEADER;
    for (size_t count = 0; count < 3; count++) {
        raft_range skipped = {42, 7, 3, 48, entries};
        raft_range walked = {42, 7, 3, 48, entries};
        raft_entry e;
        raft__range_skip(&skipped, count);
        for (size_t i = 0; i < count; i++) {
            CHECK(raft_range_next(&walked, &e));
        }
        CHECK_EQ(skipped.first, walked.first);
        CHECK_EQ(skipped.count, walked.count);
        CHECK_EQ(skipped.size, walked.size);
        CHECK(skipped.data == walked.data);
        CHECK(raft__range_kinds(&skipped));
    }
}

static void range_is_valid_only_with_exactly_its_entries(void)
{
    const uint8_t *entries = golden_append + RAFT_MESSAGE_HEADER;
    for (size_t count = 0; count < 6; count++) {
        for (size_t size = 0; size <= 48; size++) {
            raft_range range = {42, 7, count, size, entries};
            int whole = (count == 1 && size == 16) || (count == 2 && size == 24) ||
                        (count == 3 && size == 48);
            CHECK_EQ(raft__range_kinds(&range) != 0, whole);
        }
    }
    raft_range huge = {42, 7, SIZE_MAX, 48, entries};
    CHECK(!raft__range_kinds(&huge));
    raft_range nothing = {42, 7, 1, 16, NULL};
    CHECK(!raft__range_kinds(&nothing));
    raft_range no_term = {42, 0, 1, 16, entries};
    CHECK(!raft__range_kinds(&no_term));
    raft_range no_index = {0, 7, 1, 16, entries};
    CHECK(!raft__range_kinds(&no_index));
}

/* R32 for messages that were never bytes: two ranges that do not join are one bad message. */
static void ranges_that_do_not_join_make_a_message_invalid(void)
{
    raft_message m = sample_append(2);
    CHECK(raft__message_check(&m));
    m.ranges[1].first++;
    CHECK(!raft__message_check(&m));
    m = sample_append(2);
    m.ranges[0].first--;
    CHECK(!raft__message_check(&m));
    m = sample_append(2);
    m.ranges[1].term = 6;
    CHECK(!raft__message_check(&m));
    m = sample_append(2);
    m.range_count = RAFT_RANGES_MAX + 1;
    CHECK(!raft__message_check(&m));
    m = sample_append(2);
    m.ranges[1].count = 2;
    CHECK(!raft__message_check(&m));
    m = sample_append(2);
    m.kind = RAFT_MESSAGE_HEARTBEAT;
    CHECK(!raft__message_check(&m));
}

/* ---- For people ----------------------------------------------------------------------------- */

static void check_line(const uint8_t *bytes, size_t size, const char *line)
{
    raft_message m;
    char text[256];
    CHECK_EQ(raft_decode(bytes, size, &m), RAFT_OK);
    CHECK_EQ(raft_describe_message(&m, text, sizeof text), strlen(line));
    CHECK_STR(text, line);
}

static void messages_are_described_in_one_line(void)
{
    check_line(golden_pre_vote, sizeof golden_pre_vote,
               "1->2 pre-vote term=6 asked=7 last=300/5 round=3");
    check_line(golden_pre_vote_reply, sizeof golden_pre_vote_reply,
               "2->1 pre-vote-reply term=6 asked=7 last=0/0 no round=3");
    check_line(golden_vote, sizeof golden_vote, "1->2 vote term=7 last=40/5 round=4");
    check_line(golden_vote_reply, sizeof golden_vote_reply, "2->1 vote-reply term=7 yes round=4");
    check_line(golden_append, sizeof golden_append,
               "1->3 append term=7 prev=41/6 n=3 bytes=48 commit=40 round=9");
    check_line(golden_append_reply, sizeof golden_append_reply,
               "3->1 append-reply term=7 match=44 round=9");
    check_line(golden_refused_append_reply, sizeof golden_refused_append_reply,
               "3->1 append-reply term=7 refused=41 hint=30/4 round=9");
    check_line(golden_heartbeat, sizeof golden_heartbeat,
               "1->2 heartbeat term=7 commit=40 round=10");
    check_line(golden_heartbeat_reply, sizeof golden_heartbeat_reply,
               "2->1 heartbeat-reply term=7 round=10");
}

static void description_is_cut_to_the_buffer_but_tells_its_full_length(void)
{
    char full[256];
    char part[256];
    raft_message m = sample_append(2);
    size_t length = raft_describe_message(&m, full, sizeof full);
    CHECK_EQ(length, strlen(full));
    CHECK_EQ(raft_describe_message(&m, NULL, 0), length);
    for (size_t size = 1; size <= length + 1; size++) {
        memset(part, 'X', sizeof part);
        CHECK_EQ(raft_describe_message(&m, part, size), length);
        CHECK_EQ(strlen(part), size - 1);
        CHECK(memcmp(part, full, size - 1) == 0);
        CHECK_EQ(part[size], 'X');
    }
}

static void description_survives_every_kind_and_the_largest_numbers(void)
{
    char text[512];
    for (int kind = -1; kind < 12; kind++) {
        raft_message m;
        memset(&m, 0xff, sizeof m);
        m.kind = kind;
        m.range_count = 0;
        size_t length = raft_describe_message(&m, text, sizeof text);
        CHECK_EQ(length, strlen(text));
        CHECK(strstr(text, "18446744073709551615->18446744073709551615 ") == text);
    }
}

int main(void)
{
    RUN(pre_vote_has_its_golden_bytes);
    RUN(pre_vote_reply_has_its_golden_bytes);
    RUN(vote_has_its_golden_bytes);
    RUN(vote_reply_has_its_golden_bytes);
    RUN(append_has_its_golden_bytes);
    RUN(append_of_as_many_ranges_as_entries_has_its_golden_bytes);
    RUN(append_is_decoded_in_place_as_one_range);
    RUN(append_reply_has_its_golden_bytes);
    RUN(heartbeat_and_reply_have_their_golden_bytes);
    RUN(transfer_ask_has_its_golden_bytes);
    RUN(snapshot_ask_has_its_golden_bytes);
    RUN(every_truncation_of_every_message_is_refused);
    RUN(bytes_behind_a_message_are_refused);
    RUN(every_flipped_byte_is_refused_or_means_another_message);
    RUN(two_flipped_bits_are_refused_or_mean_another_message);
    RUN(random_messages_survive_encoding_and_decoding);
    RUN(scattered_encoding_is_the_whole_encoding);
    RUN(encoding_into_too_small_a_buffer_writes_nothing);
    RUN(terms_and_indexes_from_2_to_the_63_on_are_refused);
    RUN(rounds_and_identities_may_have_all_64_bits);
    RUN(entries_that_would_pass_the_last_index_are_refused);
    RUN(entry_counts_that_do_not_add_up_are_refused);
    RUN(payload_sizes_that_do_not_add_up_are_refused);
    RUN(stated_bytes_other_than_those_that_came_are_refused);
    RUN(entry_of_unknown_kind_or_dirty_padding_is_refused);
    RUN(entries_of_falling_terms_or_above_the_senders_are_refused);
    RUN(position_zero_has_no_term_and_others_have_one);
    RUN(pull_of_term_zero_is_refused);
    RUN(format_of_the_future_is_told_from_garbage);
    RUN(unknown_kinds_are_refused);
    RUN(null_is_answered_with_an_argument_error);
    RUN(entries_of_every_small_size_survive);
    RUN(entry_is_refused_where_it_does_not_fit);
    RUN(entry_size_never_wraps_around);
    RUN(entry_of_2_to_the_30_bytes_is_refused);
    RUN(entry_that_no_log_can_hold_is_not_encoded);
    RUN(walk_over_a_malformed_range_ends_early);
    RUN(range_skips_as_it_walks);
    RUN(range_is_valid_only_with_exactly_its_entries);
    RUN(ranges_that_do_not_join_make_a_message_invalid);
    RUN(messages_are_described_in_one_line);
    RUN(description_is_cut_to_the_buffer_but_tells_its_full_length);
    RUN(description_survives_every_kind_and_the_largest_numbers);
    return check_done();
}
