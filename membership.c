/*
 * Who counts: quorum arithmetic, pure functions of sets and numbers, what makes a membership sound,
 * and its encoded form. Knows nothing of the node, its log or messages.
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
 * Raft at least a majority, so that two election quorums of one term meet too (Q1). Multi-Paxos has
 * no use for that: nobody else can be elected in a term. Without a wish both are majorities.
 */
int raft__half_init(struct raft__half *half, int protocol, raft__set voters, unsigned wish)
{
    unsigned n = raft__set_size(voters);
    unsigned majority = n / 2 + 1;
    unsigned commit = wish == 0 ? majority : wish;
    if (n == 0 || commit > n) {
        return RAFT_EARG;
    }
    unsigned election = n - commit + 1;
    if ((protocol == RAFT_PROTOCOL_RAFT || wish == 0) && election < majority) {
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

/* Whether a commit quorum of a half's voters has values at or above this one. */
static inline int half_reached(const struct raft__half *half, const uint64_t *values,
                               uint64_t value)
{
    unsigned missing = half->quorum[RAFT__COMMIT];
    unsigned i = 0;
    for (raft__set left = half->voters; left != 0 && missing > 0; left >>= 1, i++) {
        missing -= (left & 1) != 0 && values[i] >= value;
    }
    return missing == 0;
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
        if ((left & 1) != 0 && values[i] > best && half_reached(half, values, values[i])) {
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

/* How many data voters of a half must hold an entry before a witness may hear of it (R56). */
static unsigned half_data_quorum(const struct raft__half *half, raft__set witnesses)
{
    return half->quorum[RAFT__COMMIT] - raft__set_size(half->voters & witnesses); /* Q6: above 0 */
}

uint64_t raft__data_value(const struct raft__quorums *quorums, raft__set witnesses,
                          const uint64_t *values)
{
    struct raft__quorums data = *quorums;
    for (unsigned i = 0; i < 2; i++) {
        struct raft__half *half = &data.halves[i];
        half->quorum[RAFT__COMMIT] = (uint8_t)half_data_quorum(half, witnesses);
        half->voters &= ~witnesses;
    }
    return raft__quorum_value(&data, values);
}

/* Two zones, or all voters, or the only zone that there is (R57). */
static int half_is_spread(const struct raft__half *half, const uint8_t *zones, raft__set set)
{
    uint8_t first = 0;
    unsigned unzoned = 0;
    unsigned zones_of_all = 0; /* beyond the first */
    uint8_t any = 0;
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if ((half->voters >> i & 1) == 0) {
            continue;
        }
        unzoned += zones[i] == 0;
        zones_of_all += any != 0 && zones[i] != 0 && zones[i] != any;
        any = any == 0 ? zones[i] : any;
        if ((set >> i & 1) != 0 && zones[i] != 0) {
            if (first != 0 && first != zones[i]) {
                return 1;
            }
            first = zones[i];
        }
    }
    return (half->voters & ~set) == 0 || (unzoned == 0 && zones_of_all == 0);
}

/* Those of the set that have reached a value. */
static raft__set reached(const uint64_t *values, raft__set set, uint64_t value)
{
    raft__set result = 0;
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++) {
        if ((set >> i & 1) != 0 && values[i] >= value) {
            result |= (raft__set)1 << i;
        }
    }
    return result;
}

uint64_t raft__zoned_value(const struct raft__quorums *quorums, const uint8_t *zones,
                           const uint64_t *values)
{
    uint64_t limit = raft__quorum_value(quorums, values);
    raft__set all = quorums->halves[0].voters | quorums->halves[1].voters;
    uint64_t best = 0;
    for (unsigned i = 0; i < RAFT_MEMBERS_MAX; i++) {
        uint64_t value = (all >> i & 1) == 0 ? 0 : values[i] < limit ? values[i] : limit;
        raft__set set = value > best ? reached(values, all, value) : 0;
        if (set != 0 && half_is_spread(&quorums->halves[0], zones, set) &&
            half_is_spread(&quorums->halves[1], zones, set)) {
            best = value;
        }
    }
    return best;
}

/* ---- Memberships ---------------------------------------------------------------------------- */

static int role_votes(int role)
{
    return role == RAFT_MEMBER_VOTER || role == RAFT_MEMBER_WITNESS;
}

/* Two data roles, or the same role: a witness never becomes anything else, nor the reverse (R45). */
static int roles_agree(int former, int role)
{
    return former == RAFT_MEMBER_NONE || role == RAFT_MEMBER_NONE ||
           (former == RAFT_MEMBER_WITNESS) == (role == RAFT_MEMBER_WITNESS);
}

static int member_check(const raft_member *member, int joint)
{
    int ok = member->id != 0 && member->blob_size <= RAFT_BLOB_MAX &&
             (member->blob != NULL || member->blob_size == 0);
    ok = ok && member->role >= RAFT_MEMBER_VOTER && member->role <= RAFT_MEMBER_NONE;
    ok = ok && member->priority <= 255 && member->zone <= 255 && (member->promote & ~1) == 0;
    ok = ok && (!member->promote || member->role == RAFT_MEMBER_LEARNER);
    if (!joint) {
        return ok && member->role != RAFT_MEMBER_NONE && member->former_role == RAFT_MEMBER_NONE;
    }
    ok = ok && member->former_role >= RAFT_MEMBER_VOTER && member->former_role <= RAFT_MEMBER_NONE;
    return ok && roles_agree(member->former_role, member->role) &&
           (member->role != RAFT_MEMBER_NONE || member->former_role != RAFT_MEMBER_NONE);
}

static int members_check(const struct raft__config *config)
{
    const raft_membership *is = &config->is;
    if (is->member_count == 0 || is->member_count > RAFT_MEMBERS_MAX) {
        return 0;
    }
    for (size_t i = 0; i < is->member_count; i++) {
        if (!member_check(&config->members[i], is->joint)) {
            return 0;
        }
        for (size_t j = 0; j < i; j++) {
            if (config->members[j].id == config->members[i].id) {
                return 0;
            }
        }
    }
    return 1;
}

/* The voters of one half, with their quorums; RAFT_EARG where Q1, Q2 or Q6 forbid them. */
static int config_half(const struct raft__config *config, int former, struct raft__half *half)
{
    raft__set voters = 0;
    raft__set witnesses = 0;
    uint32_t wish = former ? config->is.former_commit_quorum : config->is.commit_quorum;
    for (size_t i = 0; i < config->is.member_count; i++) {
        const raft_member *member = &config->members[i];
        int role = former ? member->former_role : member->role;
        voters |= role_votes(role) ? (raft__set)1 << i : 0;
        witnesses |= role == RAFT_MEMBER_WITNESS ? (raft__set)1 << i : 0;
    }
    if (raft__half_init(half, config->protocol, voters, wish) != RAFT_OK) {
        return RAFT_EARG;
    }
    unsigned commit = half->quorum[RAFT__COMMIT];
    if (raft__set_size(witnesses) >= commit || (voters & ~witnesses) == 0) {
        return RAFT_EARG; /* Q6 */
    }
    if (commit < 2 && raft__set_size(voters) >= 3 && !config->is.allow_single_commit && !former) {
        return RAFT_EARG; /* Q2 */
    }
    return RAFT_OK;
}

int raft__config_check(const struct raft__config *config, struct raft__quorums *quorums)
{
    const raft_membership *is = &config->is;
    memset(quorums, 0, sizeof(*quorums));
    if (!members_check(config) || is->lease_ms > RAFT__LEASE_MAX ||
        is->lease_drift_permille > 900 || is->commit_quorum > RAFT_MEMBERS_MAX ||
        is->former_commit_quorum > RAFT_MEMBERS_MAX ||
        config_half(config, 0, &quorums->halves[0]) != RAFT_OK) {
        return RAFT_EARG;
    }
    if (is->joint) {
        return config_half(config, 1, &quorums->halves[1]);
    }
    return is->former_commit_quorum == 0 ? RAFT_OK : RAFT_EARG;
}

/*
 * Q5: in one step every quorum of the one kind still meets every quorum of the other, and in Raft
 * election quorums meet each other.
 */
int raft__one_step_is_safe(int protocol, const struct raft__half *now,
                           const struct raft__half *then)
{
    unsigned all = raft__set_size(now->voters | then->voters);
    return raft__set_size(now->voters ^ then->voters) <= 1 && /* R43 */
           (unsigned)now->quorum[RAFT__ELECTION] + then->quorum[RAFT__COMMIT] > all &&
           (unsigned)then->quorum[RAFT__ELECTION] + now->quorum[RAFT__COMMIT] > all &&
           (protocol != RAFT_PROTOCOL_RAFT ||
            (unsigned)now->quorum[RAFT__ELECTION] + then->quorum[RAFT__ELECTION] > all);
}

/* ---- The encoded membership ----------------------------------------------------------------- */

/*
 * A membership, little-endian: u8 format (1), u8 protocol, u8 members, u8 flags (1: joint, 2: zones,
 * 4: a single commit is meant), u8 commit quorum wished, u8 the former one, u16 highest owner slot
 * ever given, u32 lease, u32 drift. Then per member u64 id, u64 session, u16 owner slot, u8 role,
 * u8 former role, u8 flags (1: promote), u8 priority, u8 zone, u8 blob size, blob.
 *
 * Metadata of a snapshot: u8 format (2), seven zero bytes, u64 index, u64 term, u64 accepted round,
 * u64 version, then the membership. The founding metadata is that of a snapshot of nothing.
 */
#define CONFIG_FORMAT 1u
#define CONFIG_HEADER 16u
#define CONFIG_MEMBER 24u
#define META_FORMAT   2u
#define META_HEADER   40u

enum { FLAG_JOINT = 1, FLAG_ZONES = 2, FLAG_SINGLE = 4 };

size_t raft__config_size(const struct raft__config *config)
{
    size_t size = CONFIG_HEADER;
    for (size_t i = 0; i < config->is.member_count; i++) {
        size += CONFIG_MEMBER + config->members[i].blob_size;
    }
    return size;
}

static void member_encode(const raft_member *member, uint8_t *out)
{
    raft__put64(out, member->id);
    raft__put64(out + 8, member->session);
    raft__put16(out + 16, (uint16_t)member->owner_slot);
    out[18] = (uint8_t)member->role;
    out[19] = (uint8_t)member->former_role;
    out[20] = (uint8_t)member->promote;
    out[21] = (uint8_t)member->priority;
    out[22] = (uint8_t)member->zone;
    out[23] = (uint8_t)member->blob_size;
    if (member->blob_size > 0) {
        memcpy(out + CONFIG_MEMBER, member->blob, member->blob_size);
    }
}

void raft__config_encode(const struct raft__config *config, uint8_t *out)
{
    const raft_membership *is = &config->is;
    out[0] = CONFIG_FORMAT;
    out[1] = (uint8_t)config->protocol;
    out[2] = (uint8_t)is->member_count;
    out[3] = (uint8_t)((is->joint ? FLAG_JOINT : 0) | (is->zones ? FLAG_ZONES : 0) |
                       (is->allow_single_commit ? FLAG_SINGLE : 0));
    out[4] = (uint8_t)is->commit_quorum;
    out[5] = (uint8_t)is->former_commit_quorum;
    raft__put16(out + 6, (uint16_t)config->slot_high);
    raft__put32(out + 8, is->lease_ms);
    raft__put32(out + 12, is->lease_drift_permille);
    out += CONFIG_HEADER;
    for (size_t i = 0; i < is->member_count; i++) {
        member_encode(&config->members[i], out);
        out += CONFIG_MEMBER + config->members[i].blob_size;
    }
}

/* One member at in; returns the bytes it takes, or 0 where it is cut short. */
static size_t member_decode(const uint8_t *in, size_t size, raft_member *member)
{
    if (size < CONFIG_MEMBER || size - CONFIG_MEMBER < in[23]) {
        return 0;
    }
    memset(member, 0, sizeof(*member));
    member->id = raft__get64(in);
    member->session = raft__get64(in + 8);
    member->owner_slot = raft__get16(in + 16);
    member->role = in[18];
    member->former_role = in[19];
    member->promote = in[20];
    member->priority = in[21];
    member->zone = in[22];
    member->blob_size = in[23];
    member->blob = in + CONFIG_MEMBER;
    return CONFIG_MEMBER + member->blob_size;
}

/* Owner slots are given once: no two members share one (P18). */
static int slots_check(const struct raft__config *config)
{
    for (size_t i = 0; i < config->is.member_count; i++) {
        uint32_t slot = config->members[i].owner_slot;
        if (slot == 0 || slot > config->slot_high) {
            return 0;
        }
        for (size_t j = 0; j < i; j++) {
            if (config->members[j].owner_slot == slot) {
                return 0;
            }
        }
    }
    return 1;
}

int raft__config_decode(const void *data, size_t size, struct raft__config *config)
{
    const uint8_t *in = (const uint8_t *)data;
    raft_membership *is = &config->is;
    struct raft__quorums quorums;
    memset(is, 0, sizeof(*is));
    if (size < 1 || (in[0] == CONFIG_FORMAT && size < CONFIG_HEADER)) {
        return RAFT_ECORRUPT;
    }
    if (in[0] != CONFIG_FORMAT) {
        return in[0] > CONFIG_FORMAT ? RAFT_EVERSION : RAFT_ECORRUPT;
    }
    is->size = sizeof(*is);
    is->members = config->members;
    is->member_count = in[2];
    is->joint = (in[3] & FLAG_JOINT) != 0;
    is->zones = (in[3] & FLAG_ZONES) != 0;
    is->allow_single_commit = (in[3] & FLAG_SINGLE) != 0;
    is->commit_quorum = in[4];
    is->former_commit_quorum = in[5];
    is->lease_ms = raft__get32(in + 8);
    is->lease_drift_permille = raft__get32(in + 12);
    config->protocol = in[1];
    config->slot_high = raft__get16(in + 6);
    if (config->protocol > RAFT_PROTOCOL_MULTIPAXOS || is->member_count > RAFT_MEMBERS_MAX ||
        in[3] > (FLAG_JOINT | FLAG_ZONES | FLAG_SINGLE)) {
        return RAFT_ECORRUPT;
    }
    size_t at = CONFIG_HEADER;
    for (size_t i = 0; i < is->member_count; i++) {
        size_t taken = member_decode(in + at, size - at, &config->members[i]);
        if (taken == 0) {
            return RAFT_ECORRUPT;
        }
        at += taken;
    }
    if (at != size || raft__config_check(config, &quorums) != RAFT_OK || !slots_check(config)) {
        return RAFT_ECORRUPT;
    }
    return RAFT_OK;
}

size_t raft__meta_size(size_t config_size)
{
    return META_HEADER + config_size;
}

void raft__meta_encode(const struct raft__meta *meta, uint8_t *out)
{
    raft__put64(out, META_FORMAT);
    raft__put64(out + 8, meta->index);
    raft__put64(out + 16, meta->term);
    raft__put64(out + 24, meta->accepted_round);
    raft__put64(out + 32, meta->version);
    memcpy(out + META_HEADER, meta->config, meta->config_size);
}

/* RAFT_OK, RAFT_ECORRUPT, or RAFT_EVERSION: written by a later version. */
int raft__meta_decode(const void *data, size_t size, struct raft__meta *meta)
{
    const uint8_t *in = (const uint8_t *)data;
    struct raft__config config;
    if (in == NULL || size < 8 || size > RAFT_META_MAX) {
        return RAFT_ECORRUPT;
    }
    if (raft__get64(in) != META_FORMAT) {
        return in[0] > META_FORMAT ? RAFT_EVERSION : RAFT_ECORRUPT;
    }
    if (size < META_HEADER) {
        return RAFT_ECORRUPT;
    }
    meta->index = raft__get64(in + 8);
    meta->term = raft__get64(in + 16);
    meta->accepted_round = raft__get64(in + 24);
    meta->version = raft__get64(in + 32);
    meta->config = in + META_HEADER;
    meta->config_size = size - META_HEADER;
    if (meta->index > RAFT_LIMIT || meta->term > RAFT_LIMIT || meta->version > meta->index ||
        (meta->index == 0) != (meta->term == 0)) {
        return RAFT_ECORRUPT;
    }
    return raft__config_decode(meta->config, meta->config_size, &config);
}

int raft_membership_convert(void *payload, size_t size, int protocol)
{
    struct raft__config config;
    if (payload == NULL || protocol < RAFT_PROTOCOL_RAFT || protocol > RAFT_PROTOCOL_MULTIPAXOS) {
        return RAFT_EARG;
    }
    int status = raft__config_decode(payload, size, &config);
    if (status == RAFT_OK) {
        ((uint8_t *)payload)[1] = (uint8_t)protocol; /* owner slots are given in both (P18) */
    }
    return status;
}

int raft_meta_convert(void *meta, size_t size, int protocol)
{
    struct raft__meta read;
    if (meta == NULL) {
        return RAFT_EARG;
    }
    int status = raft__meta_decode(meta, size, &read);
    return status == RAFT_OK
               ? raft_membership_convert((uint8_t *)meta + META_HEADER, read.config_size, protocol)
               : status;
}

int raft_meta_read(const void *meta, size_t size, raft_index *index, raft_term *term)
{
    struct raft__meta read;
    if (meta == NULL || index == NULL || term == NULL) {
        return RAFT_EARG;
    }
    int status = raft__meta_decode(meta, size, &read);
    if (status == RAFT_OK) {
        *index = read.index;
        *term = read.term;
    }
    return status;
}
