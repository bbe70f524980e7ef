/*
 * Who counts: quorum arithmetic, pure functions of sets and numbers, and the encoded form of a
 * membership. Knows nothing of roles, logs or messages.
 *
 * The theorem that everything rests on: every election quorum meets every commit quorum (Q1). A set
 * of members is a bit mask over their positions, so a quorum test is a population count. While a
 * change is under way there are two halves, and a quorum is needed in each; a quorum of their union
 * is none (R13).
 */
#include "raft_internal.h"

unsigned raft__set_size(raft__set set)
{
    set = set - ((set >> 1) & 0x55555555u);
    set = (set & 0x33333333u) + ((set >> 2) & 0x33333333u);
    set = (set + (set >> 4)) & 0x0f0f0f0fu;
    return (set * 0x01010101u) >> 24;
}

/*
 * The user wishes for q2 alone; q1 follows: n - q2 + 1 so that both kinds of quorum meet, and in
 * Raft at least a majority, so that two election quorums of one term meet too (Q1).
 */
int raft__half_init(struct raft__half *half, raft__set voters, unsigned wish)
{
    unsigned n = raft__set_size(voters);
    unsigned majority = n / 2 + 1;
    unsigned commit = wish == 0 ? majority : wish;
    if (n == 0 || commit > n) {
        return RAFT_EARG;
    }
    unsigned election = n - commit + 1;
    if (election < majority) {
        election = majority;
    }
    half->voters = voters;
    half->quorum[RAFT__ELECTION] = (uint8_t)election;
    half->quorum[RAFT__COMMIT] = (uint8_t)commit;
    return RAFT_OK;
}

static int half_has(const struct raft__half *half, int purpose, raft__set set)
{
    return raft__set_size(half->voters & set) >= half->quorum[purpose];
}

int raft__quorum_has(const struct raft__quorums *quorums, int purpose, raft__set set)
{
    if (quorums->halves[0].voters == 0) {
        return 0; /* no membership is known: nothing is ever decided */
    }
    return half_has(&quorums->halves[0], purpose, set) &&
           (quorums->halves[1].voters == 0 || half_has(&quorums->halves[1], purpose, set));
}

/* How many of a half's voters have a value at or above this one. */
static unsigned half_reached(const struct raft__half *half, const uint64_t *values, uint64_t value)
{
    unsigned reached = 0;
    unsigned i = 0;
    for (raft__set left = half->voters; left != 0; left >>= 1, i++) {
        reached += (left & 1) != 0 && values[i] >= value;
    }
    return reached;
}

/*
 * Voters are few and mostly equally far: to try the value of each that is above the best so far
 * takes one or two passes then, and is the definition besides.
 */
static uint64_t half_value(const struct raft__half *half, const uint64_t *values)
{
    uint64_t best = 0;
    unsigned i = 0;
    for (raft__set left = half->voters; left != 0; left >>= 1, i++) {
        if ((left & 1) != 0 && values[i] > best &&
            half_reached(half, values, values[i]) >= half->quorum[RAFT__COMMIT]) {
            best = values[i];
        }
    }
    return best;
}

uint64_t raft__quorum_value(const struct raft__quorums *quorums, const uint64_t *values)
{
    if (quorums->halves[0].voters == 0) {
        return 0;
    }
    uint64_t value = half_value(&quorums->halves[0], values);
    if (quorums->halves[1].voters != 0) {
        uint64_t other = half_value(&quorums->halves[1], values);
        value = other < value ? other : value;
    }
    return value;
}

/* ---- The encoded membership ----------------------------------------------------------------- */

/*
 * Metadata, format 1, little-endian: u8 format, u8 protocol, u8 members, u8 commit quorum wished,
 * u32 zero, u64 index, u64 term, u64 accepted round; then per member u64 id, u64 session, u16 owner
 * slot, u8 role, u8 blob size, blob. In the founding metadata sessions and roles (voter) are 0 and
 * owner slots count from 1.
 */
#define META_FORMAT 1u
#define META_HEADER 32u
#define META_MEMBER 20u

int raft__members_check(const raft_member *members, size_t count)
{
    if (count == 0 || count > RAFT_MEMBERS_MAX) {
        return RAFT_EARG;
    }
    for (size_t i = 0; i < count; i++) {
        const raft_member *member = &members[i];
        if (member->id == 0 || member->blob_size > RAFT_BLOB_MAX ||
            (member->blob == NULL && member->blob_size != 0)) {
            return RAFT_EARG;
        }
        for (size_t j = 0; j < i; j++) {
            if (members[j].id == member->id) {
                return RAFT_EARG;
            }
        }
    }
    return RAFT_OK;
}

size_t raft__meta_size(const struct raft__meta *meta)
{
    size_t size = META_HEADER;
    for (size_t i = 0; i < meta->member_count; i++) {
        size += META_MEMBER + meta->members[i].blob_size;
    }
    return size;
}

void raft__meta_encode(const struct raft__meta *meta, uint8_t *out)
{
    memset(out, 0, META_HEADER);
    out[0] = META_FORMAT;
    out[1] = (uint8_t)meta->protocol;
    out[2] = (uint8_t)meta->member_count;
    out[3] = (uint8_t)meta->commit_quorum;
    raft__put64(out + 8, meta->index);
    raft__put64(out + 16, meta->term);
    raft__put64(out + 24, meta->accepted_round);
    out += META_HEADER;
    for (size_t i = 0; i < meta->member_count; i++) {
        const raft_member *member = &meta->members[i];
        raft__put64(out, member->id);
        raft__put64(out + 8, 0);
        raft__put16(out + 16, (uint16_t)(i + 1));
        out[18] = 0;
        out[19] = (uint8_t)member->blob_size;
        if (member->blob_size > 0) {
            memcpy(out + META_MEMBER, member->blob, member->blob_size);
        }
        out += META_MEMBER + member->blob_size;
    }
}

/* One member at in; returns the bytes it takes, or 0 where it is not well formed. */
static size_t meta_decode_member(const uint8_t *in, size_t size, size_t position,
                                 raft_member *member)
{
    if (size < META_MEMBER || size - META_MEMBER < in[19]) {
        return 0;
    }
    if (raft__get64(in + 8) != 0 || raft__get16(in + 16) != position + 1 || in[18] != 0) {
        return 0;
    }
    member->id = raft__get64(in);
    member->blob_size = in[19];
    member->blob = in + META_MEMBER;
    return META_MEMBER + member->blob_size;
}

/* RAFT_OK, RAFT_ECORRUPT, or RAFT_EVERSION: written by a later version. */
int raft__meta_decode(const void *data, size_t size, struct raft__meta *meta)
{
    const uint8_t *in = (const uint8_t *)data;
    if (in == NULL || size < META_HEADER) {
        return RAFT_ECORRUPT;
    }
    if (in[0] != META_FORMAT) {
        return in[0] > META_FORMAT ? RAFT_EVERSION : RAFT_ECORRUPT;
    }
    meta->protocol = in[1];
    meta->member_count = in[2];
    meta->commit_quorum = in[3];
    meta->index = raft__get64(in + 8);
    meta->term = raft__get64(in + 16);
    meta->accepted_round = raft__get64(in + 24);
    if (meta->member_count > RAFT_MEMBERS_MAX || raft__get32(in + 4) != 0) {
        return RAFT_ECORRUPT;
    }
    size_t at = META_HEADER;
    for (size_t i = 0; i < meta->member_count; i++) {
        size_t taken = meta_decode_member(in + at, size - at, i, &meta->members[i]);
        if (taken == 0) {
            return RAFT_ECORRUPT;
        }
        at += taken;
    }
    if (at != size || raft__members_check(meta->members, meta->member_count) != RAFT_OK) {
        return RAFT_ECORRUPT;
    }
    return RAFT_OK;
}
