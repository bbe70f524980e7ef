/*
 * Who counts: the pure arithmetic of membership.c, compared with the definitions counted out the
 * long way, for every group up to nine members, both halves of a joint one, and every wish for the
 * commit quorum (Q1, Q3, Q4). The definitions here never look at bits in parallel and never sort.
 */
#include "check.h"

#include "../raft_internal.h"

enum { MEMBERS = 9 };

static unsigned count_slowly(raft__set set)
{
    unsigned n = 0;
    for (unsigned i = 0; i < 32; i++) {
        n += set >> i & 1u;
    }
    return n;
}

static raft__set all_of(unsigned n)
{
    return n == 32 ? UINT32_MAX : (1u << n) - 1;
}

static uint64_t random_step(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* One half by the letter of Q1: q2 as wished or the majority, q1 the least that meets all rules. */
static int expected_half(int protocol, unsigned n, unsigned wish, unsigned *q1, unsigned *q2)
{
    int by_majority = protocol == RAFT_PROTOCOL_RAFT || wish == 0;
    *q2 = wish != 0 ? wish : n / 2 + 1;
    if (n == 0 || *q2 > n) {
        return 0;
    }
    for (*q1 = 1; *q1 + *q2 <= n || (by_majority && 2 * *q1 <= n); (*q1)++) {
    }
    return 1;
}

static struct raft__quorums one_half(raft__set voters, unsigned wish)
{
    struct raft__quorums quorums;
    memset(&quorums, 0, sizeof quorums);
    CHECK_EQ(raft__half_init(&quorums.halves[0], RAFT_PROTOCOL_RAFT, voters, wish), RAFT_OK);
    return quorums;
}

static struct raft__quorums two_halves(raft__set old_voters, unsigned old_wish,
                                       raft__set new_voters, unsigned new_wish)
{
    struct raft__quorums quorums = one_half(old_voters, old_wish);
    CHECK_EQ(raft__half_init(&quorums.halves[1], RAFT_PROTOCOL_RAFT, new_voters, new_wish),
             RAFT_OK);
    return quorums;
}

/* The definition: that many of this half's voters are in the set, for each half that exists. */
static int has_by_counting(const struct raft__quorums *quorums, int purpose, raft__set set)
{
    for (int h = 0; h < 2; h++) {
        const struct raft__half *half = &quorums->halves[h];
        if (h == 1 && half->voters == 0) {
            continue;
        }
        if (count_slowly(half->voters & set) < half->quorum[purpose]) {
            return 0;
        }
    }
    return 1;
}

/* The definition: the largest value v such that those who reached v are a commit quorum. */
static uint64_t value_by_search(const struct raft__quorums *quorums, const uint64_t *values,
                                unsigned n)
{
    uint64_t best = 0;
    for (unsigned i = 0; i < n; i++) {
        raft__set reached = 0;
        for (unsigned j = 0; j < n; j++) {
            if (values[j] >= values[i]) {
                reached |= (raft__set)1 << j;
            }
        }
        if (values[i] > best && has_by_counting(quorums, RAFT__COMMIT, reached)) {
            best = values[i];
        }
    }
    return best;
}

static void set_size_counts_bits(void)
{
    uint64_t seed = 1;
    for (raft__set set = 0; set < 1u << 16; set++) {
        CHECK_EQ(raft__set_size(set), count_slowly(set));
        CHECK_EQ(raft__set_size(set << 16), count_slowly(set));
    }
    for (int i = 0; i < 100000; i++) {
        raft__set set = (raft__set)(random_step(&seed) << 8 ^ random_step(&seed));
        CHECK_EQ(raft__set_size(set), count_slowly(set));
    }
    CHECK_EQ(raft__set_size(UINT32_MAX), 32);
}

static void check_halves(int protocol)
{
    for (unsigned n = 1; n <= 32; n++) {
        for (unsigned wish = 0; wish <= n + 3; wish++) {
            struct raft__half half;
            unsigned q1, q2;
            memset(&half, 0, sizeof half);
            int fits = expected_half(protocol, n, wish, &q1, &q2);
            CHECK_EQ(raft__half_init(&half, protocol, all_of(n), wish), fits ? RAFT_OK : RAFT_EARG);
            if (fits) {
                CHECK_EQ(half.voters, all_of(n));
                CHECK_EQ(half.quorum[RAFT__ELECTION], q1);
                CHECK_EQ(half.quorum[RAFT__COMMIT], q2);
            }
        }
    }
}

static void half_follows_the_wish_for_q2(void)
{
    check_halves(RAFT_PROTOCOL_RAFT);
}

/* Five voters that commit by two elect by four, and those that commit by four elect by two. */
static void half_of_multipaxos_needs_no_majority_to_elect(void)
{
    struct raft__half half;
    check_halves(RAFT_PROTOCOL_MULTIPAXOS);
    CHECK_EQ(raft__half_init(&half, RAFT_PROTOCOL_MULTIPAXOS, 31, 4), RAFT_OK);
    CHECK_EQ(half.quorum[RAFT__ELECTION], 2);
    CHECK_EQ(raft__half_init(&half, RAFT_PROTOCOL_MULTIPAXOS, 31, 2), RAFT_OK);
    CHECK_EQ(half.quorum[RAFT__ELECTION], 4);
    CHECK_EQ(raft__half_init(&half, RAFT_PROTOCOL_MULTIPAXOS, 15, 0), RAFT_OK);
    CHECK_EQ(half.quorum[RAFT__ELECTION], 3);
}

static void half_without_voters_is_refused(void)
{
    struct raft__half half;
    memset(&half, 0, sizeof half);
    CHECK_EQ(raft__half_init(&half, RAFT_PROTOCOL_RAFT, 0, 0), RAFT_EARG);
    CHECK_EQ(raft__half_init(&half, RAFT_PROTOCOL_RAFT, 0, 1), RAFT_EARG);
}

static void majorities_are_the_usual_ones(void)
{
    static const unsigned majority[] = {0, 1, 2, 2, 3, 3, 4, 4, 5, 5};
    for (unsigned n = 1; n <= MEMBERS; n++) {
        struct raft__quorums quorums = one_half(all_of(n), 0);
        CHECK_EQ(quorums.halves[0].quorum[RAFT__ELECTION], majority[n]);
        CHECK_EQ(quorums.halves[0].quorum[RAFT__COMMIT], majority[n]);
    }
}

/* Q1: the theorem itself, over all pairs of sets that are quorums. */
static void every_election_quorum_meets_every_commit_quorum(void)
{
    for (unsigned n = 1; n <= MEMBERS; n++) {
        for (unsigned wish = 0; wish <= n; wish++) {
            struct raft__quorums quorums = one_half(all_of(n), wish);
            for (raft__set a = 0; a <= all_of(n); a++) {
                if (!raft__quorum_has(&quorums, RAFT__ELECTION, a)) {
                    continue;
                }
                for (raft__set b = 0; b <= all_of(n); b++) {
                    if (raft__quorum_has(&quorums, RAFT__COMMIT, b) ||
                        raft__quorum_has(&quorums, RAFT__ELECTION, b)) {
                        CHECK((a & b) != 0);
                    }
                }
            }
        }
    }
}

static void one_half_counts_its_voters_alone(void)
{
    for (raft__set voters = 1; voters < 1u << MEMBERS; voters++) {
        struct raft__quorums quorums = one_half(voters, 0);
        for (raft__set set = 0; set < 1u << MEMBERS; set++) {
            for (int purpose = RAFT__ELECTION; purpose <= RAFT__COMMIT; purpose++) {
                CHECK_EQ(raft__quorum_has(&quorums, purpose, set),
                         has_by_counting(&quorums, purpose, set));
            }
        }
    }
}

static void strangers_never_help_a_quorum(void)
{
    struct raft__quorums quorums = one_half(0x15u, 0);
    CHECK(!raft__quorum_has(&quorums, RAFT__COMMIT, ~(raft__set)0x15u));
    CHECK(!raft__quorum_has(&quorums, RAFT__ELECTION, ~(raft__set)0x14u));
    CHECK(raft__quorum_has(&quorums, RAFT__COMMIT, ~(raft__set)0x10u));
}

/* R13: with {0,1,2} leaving for {2,3,4}, three of five are the union's majority, yet nothing. */
static void quorum_of_the_union_is_no_quorum(void)
{
    struct raft__quorums quorums = two_halves(0x07u, 0, 0x1cu, 0);
    CHECK(!raft__quorum_has(&quorums, RAFT__COMMIT, 0x19u));
    CHECK(!raft__quorum_has(&quorums, RAFT__ELECTION, 0x07u));
    CHECK(!raft__quorum_has(&quorums, RAFT__ELECTION, 0x1cu));
    CHECK(raft__quorum_has(&quorums, RAFT__COMMIT, 0x0eu));
}

static void joint_groups_need_both_halves(void)
{
    enum { SPREAD = 6 };
    for (raft__set a = 1; a < 1u << SPREAD; a++) {
        for (raft__set b = 1; b < 1u << SPREAD; b++) {
            struct raft__quorums quorums = two_halves(a, 0, b, 0);
            for (raft__set set = 0; set < 1u << SPREAD; set++) {
                CHECK_EQ(raft__quorum_has(&quorums, RAFT__ELECTION, set),
                         has_by_counting(&quorums, RAFT__ELECTION, set));
                CHECK_EQ(raft__quorum_has(&quorums, RAFT__COMMIT, set),
                         has_by_counting(&quorums, RAFT__COMMIT, set));
            }
        }
    }
}

static void joint_groups_with_wishes_need_both_halves(void)
{
    enum { SPREAD = 4 };
    for (raft__set a = 1; a < 1u << SPREAD; a++) {
        for (raft__set b = 1; b < 1u << SPREAD; b++) {
            for (unsigned wish_a = 0; wish_a <= count_slowly(a); wish_a++) {
                for (unsigned wish_b = 0; wish_b <= count_slowly(b); wish_b++) {
                    struct raft__quorums quorums = two_halves(a, wish_a, b, wish_b);
                    for (raft__set set = 0; set < 1u << SPREAD; set++) {
                        for (int purpose = 0; purpose < 2; purpose++) {
                            CHECK_EQ(raft__quorum_has(&quorums, purpose, set),
                                     has_by_counting(&quorums, purpose, set));
                        }
                    }
                }
            }
        }
    }
}

/* Fewer than half a joint group's old side cannot hide behind a big new side. */
static void joint_with_a_single_old_voter_waits_for_that_voter(void)
{
    struct raft__quorums quorums = two_halves(0x01u, 0, 0x3fu, 0);
    CHECK(!raft__quorum_has(&quorums, RAFT__COMMIT, 0x3eu));
    CHECK(!raft__quorum_has(&quorums, RAFT__COMMIT, 0x01u));
    CHECK(raft__quorum_has(&quorums, RAFT__COMMIT, 0x0fu));
}

static void unknown_membership_decides_nothing(void)
{
    struct raft__quorums quorums;
    uint64_t values[RAFT_MEMBERS_MAX];
    memset(&quorums, 0, sizeof quorums);
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        values[i] = 9;
    }
    CHECK(!raft__quorum_has(&quorums, RAFT__ELECTION, UINT32_MAX));
    CHECK(!raft__quorum_has(&quorums, RAFT__COMMIT, UINT32_MAX));
    CHECK_EQ(raft__quorum_value(&quorums, values), 0);
}

/* All values of a small range at every position: ties, all equal, all different. */
static void check_all_values(const struct raft__quorums *quorums, unsigned n, unsigned range)
{
    uint64_t values[RAFT_MEMBERS_MAX] = {0};
    for (;;) {
        CHECK_EQ(raft__quorum_value(quorums, values), value_by_search(quorums, values, n));
        unsigned at = 0;
        while (at < n && ++values[at] == range) {
            values[at++] = 0;
        }
        if (at == n) {
            return;
        }
    }
}

static void commit_value_is_the_largest_that_a_quorum_reached(void)
{
    static const unsigned range[] = {0, 9, 9, 7, 6, 5, 4, 3, 3, 3};
    for (unsigned n = 1; n <= MEMBERS; n++) {
        for (unsigned wish = 0; wish <= n; wish++) {
            struct raft__quorums quorums = one_half(all_of(n), wish);
            check_all_values(&quorums, n, range[n]);
        }
    }
}

static void commit_value_of_a_joint_group_is_reached_in_both_halves(void)
{
    for (raft__set a = 1; a < 1u << 5; a++) {
        for (raft__set b = 1; b < 1u << 5; b++) {
            struct raft__quorums quorums = two_halves(a, 0, b, 0);
            check_all_values(&quorums, 5, 3);
        }
    }
}

static void commit_value_holds_for_scattered_positions_up_to_the_last(void)
{
    uint64_t seed = 42;
    for (int i = 0; i < 20000; i++) {
        uint64_t values[RAFT_MEMBERS_MAX];
        raft__set a = (raft__set)(random_step(&seed) << 16 ^ random_step(&seed)) | 0x80000000u;
        raft__set b = (raft__set)(random_step(&seed) << 16 ^ random_step(&seed)) | 1u;
        struct raft__quorums quorums =
            two_halves(a, (unsigned)(random_step(&seed) % (count_slowly(a) + 1)), b,
                       (unsigned)(random_step(&seed) % (count_slowly(b) + 1)));
        for (size_t v = 0; v < RAFT_MEMBERS_MAX; v++) {
            values[v] = random_step(&seed) % 40;
        }
        values[31] = random_step(&seed) % 3 == 0 ? UINT64_MAX >> 1 : values[31];
        CHECK_EQ(raft__quorum_value(&quorums, values), value_by_search(&quorums, values, 32));
    }
}

/* An observer whose log is ahead must not lift the value: only voters are looked at. */
static void commit_value_ignores_those_without_a_vote(void)
{
    struct raft__quorums quorums = one_half(0x07u, 0);
    uint64_t values[RAFT_MEMBERS_MAX] = {3, 5, 1, 100, 100, 100};
    CHECK_EQ(raft__quorum_value(&quorums, values), 3);
}

static void commit_value_never_falls_when_a_member_advances(void)
{
    uint64_t seed = 3;
    for (unsigned n = 1; n <= MEMBERS; n++) {
        struct raft__quorums quorums = one_half(all_of(n), 0);
        for (int round = 0; round < 300; round++) {
            uint64_t values[RAFT_MEMBERS_MAX] = {0};
            uint64_t before = 0;
            for (int step = 0; step < 30; step++) {
                values[random_step(&seed) % n] += random_step(&seed) % 4;
                uint64_t after = raft__quorum_value(&quorums, values);
                CHECK(after >= before);
                before = after;
            }
        }
    }
}

/* ---- The encoded membership ----------------------------------------------------------------- */

static struct raft__config config_of(size_t count)
{
    struct raft__config config;
    memset(&config, 0, sizeof config);
    config.is.member_count = count;
    config.slot_high = (uint32_t)count;
    for (size_t i = 0; i < count && i < RAFT_MEMBERS_MAX; i++) {
        config.members[i].id = i + 1;
        config.members[i].owner_slot = (uint32_t)i + 1;
        config.members[i].former_role = RAFT_MEMBER_NONE;
    }
    return config;
}

static struct raft__config sample_config(void)
{
    struct raft__config config = config_of(4);
    config.members[0].blob = "a:1";
    config.members[0].blob_size = 3;
    config.members[0].priority = 9;
    config.members[1].id = UINT64_MAX;
    config.members[1].zone = 255;
    config.members[2].id = 77;
    config.members[2].blob = "host";
    config.members[2].blob_size = 4;
    config.members[2].session = 41;
    config.members[3].role = RAFT_MEMBER_LEARNER;
    config.members[3].promote = 1;
    config.is.lease_ms = 300;
    config.is.lease_drift_permille = 50;
    config.is.zones = 1;
    return config;
}

/* The metadata of a snapshot at 50 with that membership; returns its size. */
static size_t encode_meta(const struct raft__config *config, uint8_t *out)
{
    uint8_t bytes[RAFT_META_MAX];
    struct raft__meta meta = {50, 7, 0, 41, bytes, raft__config_size(config)};
    raft__config_encode(config, bytes);
    raft__meta_encode(&meta, out);
    return raft__meta_size(meta.config_size);
}

static void membership_survives_its_encoding(void)
{
    struct raft__config config = sample_config();
    struct raft__config back;
    struct raft__meta meta;
    uint8_t bytes[RAFT_META_MAX];
    size_t size = encode_meta(&config, bytes);
    CHECK_EQ(raft__meta_decode(bytes, size, &meta), RAFT_OK);
    CHECK_EQ(meta.index, 50);
    CHECK_EQ(meta.term, 7);
    CHECK_EQ(meta.version, 41);
    CHECK_EQ(raft__config_decode(meta.config, meta.config_size, &back), RAFT_OK);
    CHECK_EQ(back.is.member_count, 4);
    CHECK_EQ(back.is.lease_ms, 300);
    CHECK_EQ(back.is.lease_drift_permille, 50);
    CHECK_EQ(back.is.zones, 1);
    CHECK_EQ(back.is.joint, 0);
    for (size_t i = 0; i < 4; i++) {
        const raft_member *was = &config.members[i];
        const raft_member *is = &back.members[i];
        CHECK_EQ(is->id, was->id);
        CHECK_EQ(is->role, was->role);
        CHECK_EQ(is->promote, was->promote);
        CHECK_EQ(is->priority, was->priority);
        CHECK_EQ(is->zone, was->zone);
        CHECK_EQ(is->session, was->session);
        CHECK_EQ(is->owner_slot, was->owner_slot);
        CHECK_EQ(is->blob_size, was->blob_size);
        CHECK(is->blob_size == 0 || memcmp(is->blob, was->blob, is->blob_size) == 0);
    }
}

static void membership_cut_short_or_too_long_is_refused(void)
{
    struct raft__config config = sample_config();
    struct raft__meta back;
    uint8_t bytes[RAFT_META_MAX] = {0};
    size_t size = encode_meta(&config, bytes);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut + 1); /* a reader beyond the end is seen by the sanitizers */
        CHECK(exact != NULL);
        memcpy(exact, bytes, cut);
        int code = raft__meta_decode(exact, cut, &back);
        free(exact);
        CHECK_EQ(code, RAFT_ECORRUPT);
    }
    CHECK_EQ(raft__meta_decode(bytes, size + 1, &back), RAFT_ECORRUPT);
    CHECK_EQ(raft__meta_decode(NULL, 0, &back), RAFT_ECORRUPT);
}

/* A flipped byte is refused, or means another membership that encodes to exactly these bytes. */
static void membership_with_a_flipped_byte_is_refused_or_canonical(void)
{
    struct raft__config config = sample_config();
    uint8_t bytes[RAFT_META_MAX];
    uint8_t again[RAFT_META_MAX];
    size_t size = raft__config_size(&config);
    raft__config_encode(&config, bytes);
    for (size_t at = 0; at < size; at++) {
        for (unsigned flip = 1; flip < 256; flip++) {
            struct raft__config back;
            bytes[at] ^= (uint8_t)flip;
            if (raft__config_decode(bytes, size, &back) == RAFT_OK) {
                CHECK_EQ(raft__config_size(&back), size);
                raft__config_encode(&back, again);
                CHECK(memcmp(bytes, again, size) == 0);
            }
            bytes[at] ^= (uint8_t)flip;
        }
    }
}

static void membership_of_a_later_format_is_told_from_garbage(void)
{
    struct raft__config config = sample_config();
    struct raft__meta back;
    uint8_t bytes[RAFT_META_MAX];
    size_t size = encode_meta(&config, bytes);
    bytes[0]++;
    CHECK_EQ(raft__meta_decode(bytes, size, &back), RAFT_EVERSION);
    bytes[0] = 0;
    CHECK_EQ(raft__meta_decode(bytes, size, &back), RAFT_ECORRUPT);
    size = encode_meta(&config, bytes);
    bytes[40]++;
    CHECK_EQ(raft__meta_decode(bytes, size, &back), RAFT_EVERSION);
}

static int check_code(const struct raft__config *config)
{
    struct raft__quorums quorums;
    return raft__config_check(config, &quorums);
}

static void membership_lists_that_cannot_found_a_group_are_refused(void)
{
    uint8_t blob[RAFT_BLOB_MAX + 1] = {0};
    struct raft__config config = config_of(RAFT_MEMBERS_MAX);
    CHECK_EQ(check_code(&config), RAFT_OK);
    config.is.member_count = RAFT_MEMBERS_MAX + 1;
    CHECK_EQ(check_code(&config), RAFT_EARG);
    config.is.member_count = 0;
    CHECK_EQ(check_code(&config), RAFT_EARG);
    config = config_of(5);
    config.members[4].id = 2;
    CHECK_EQ(check_code(&config), RAFT_EARG);
    config = config_of(4);
    config.members[3].id = 0;
    CHECK_EQ(check_code(&config), RAFT_EARG);
    config.members[3].id = 9;
    config.members[3].blob_size = 1;
    CHECK_EQ(check_code(&config), RAFT_EARG);
    config.members[3].blob = blob;
    CHECK_EQ(check_code(&config), RAFT_OK);
    config.members[3].blob_size = RAFT_BLOB_MAX;
    CHECK_EQ(check_code(&config), RAFT_OK);
    config.members[3].blob_size = RAFT_BLOB_MAX + 1;
    CHECK_EQ(check_code(&config), RAFT_EARG);
}

static void membership_at_its_largest_survives_its_encoding(void)
{
    struct raft__config config = config_of(RAFT_MEMBERS_MAX);
    struct raft__config back;
    uint8_t blob[RAFT_BLOB_MAX];
    uint8_t bytes[RAFT_META_MAX];
    memset(blob, 0xee, sizeof blob);
    for (size_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
        config.members[i].blob = blob;
        config.members[i].blob_size = RAFT_BLOB_MAX;
    }
    size_t size = raft__config_size(&config);
    CHECK(raft__meta_size(size) <= sizeof bytes);
    raft__config_encode(&config, bytes);
    CHECK_EQ(raft__config_decode(bytes, size, &back), RAFT_OK);
    CHECK(memcmp(back.members[31].blob, blob, sizeof blob) == 0);
}

/* Q6, Q2: data voters in every commit quorum, and no single commit by accident. */
static void quorums_that_could_lose_data_are_refused(void)
{
    struct raft__config config = config_of(3);
    config.members[2].role = RAFT_MEMBER_WITNESS;
    CHECK_EQ(check_code(&config), RAFT_OK);
    config.members[1].role = RAFT_MEMBER_WITNESS;
    CHECK_EQ(check_code(&config), RAFT_EARG);
    config = config_of(1);
    config.members[0].role = RAFT_MEMBER_WITNESS;
    CHECK_EQ(check_code(&config), RAFT_EARG);
    config.members[0].role = RAFT_MEMBER_LEARNER;
    CHECK_EQ(check_code(&config), RAFT_EARG);
    config = config_of(3);
    config.is.commit_quorum = 1;
    CHECK_EQ(check_code(&config), RAFT_EARG);
    config.is.allow_single_commit = 1;
    CHECK_EQ(check_code(&config), RAFT_OK);
    config.is.commit_quorum = 4;
    CHECK_EQ(check_code(&config), RAFT_EARG);
}

/* R45: a witness stays one as long as it is a member. */
static void joint_memberships_keep_witnesses_what_they_are(void)
{
    struct raft__config config = config_of(4);
    config.is.joint = 1;
    for (size_t i = 0; i < 4; i++) {
        config.members[i].former_role = RAFT_MEMBER_VOTER;
    }
    CHECK_EQ(check_code(&config), RAFT_OK);
    config.members[3].role = RAFT_MEMBER_WITNESS;
    CHECK_EQ(check_code(&config), RAFT_EARG);
    config.members[3].former_role = RAFT_MEMBER_NONE;
    CHECK_EQ(check_code(&config), RAFT_OK);
    config.members[3].role = RAFT_MEMBER_NONE;
    CHECK_EQ(check_code(&config), RAFT_EARG);
    config.members[3].former_role = RAFT_MEMBER_WITNESS;
    CHECK_EQ(check_code(&config), RAFT_OK);
    config.members[3].role = RAFT_MEMBER_LEARNER;
    CHECK_EQ(check_code(&config), RAFT_EARG);
}

/* Every subset of `all` that has `needed` members meets every one with `other_needed`, by trial. */
static int always_meet(raft__set voters, unsigned needed, raft__set other, unsigned other_needed)
{
    raft__set all = voters | other;
    for (raft__set set = 0; set <= all; set++) {
        raft__set rest = other & ~set;
        if (raft__set_size(set & voters) >= needed && (set & ~voters) == 0 &&
            raft__set_size(rest) >= other_needed) {
            return 0;
        }
    }
    return 1;
}

/* Whether all quorums of the two halves meet that have to, by the definition. */
static int all_meet(int protocol, const struct raft__half *now, const struct raft__half *then)
{
    return always_meet(now->voters, now->quorum[RAFT__ELECTION], then->voters,
                       then->quorum[RAFT__COMMIT]) &&
           always_meet(then->voters, then->quorum[RAFT__ELECTION], now->voters,
                       now->quorum[RAFT__COMMIT]) &&
           (protocol != RAFT_PROTOCOL_RAFT ||
            always_meet(now->voters, now->quorum[RAFT__ELECTION], then->voters,
                        then->quorum[RAFT__ELECTION]));
}

static void check_step(int protocol, unsigned n, unsigned wish, unsigned m, unsigned then_wish)
{
    struct raft__half now;
    struct raft__half then;
    CHECK_EQ(raft__half_init(&now, protocol, ((raft__set)1 << n) - 1, wish), RAFT_OK);
    CHECK_EQ(raft__half_init(&then, protocol, ((raft__set)1 << m) - 1, then_wish), RAFT_OK);
    CHECK_EQ(raft__one_step_is_safe(protocol, &now, &then), all_meet(protocol, &now, &then));
}

/* Q4, Q5: for all memberships of up to seven, one step is allowed only where all quorums meet. */
static void check_steps(int protocol)
{
    for (unsigned n = 1; n <= 7; n++) {
        for (unsigned wish = 0; wish <= n; wish++) {
            for (unsigned m = n > 1 ? n - 1 : 1; m <= n + 1 && m <= 7; m++) {
                for (unsigned then_wish = 0; then_wish <= m; then_wish++) {
                    check_step(protocol, n, wish, m, then_wish);
                }
            }
        }
    }
    struct raft__half now;
    struct raft__half then;
    CHECK_EQ(raft__half_init(&now, protocol, 7, 0), RAFT_OK);
    CHECK_EQ(raft__half_init(&then, protocol, 0x1c, 0), RAFT_OK);
    CHECK(!raft__one_step_is_safe(protocol, &now, &then)); /* R43: two come or go */
}

static void one_step_is_allowed_only_where_all_quorums_meet(void)
{
    check_steps(RAFT_PROTOCOL_RAFT);
}

/* From three voters to four that commit by three and elect by two: {1, 2} and {3, 4} (Q5). */
static void one_step_in_multipaxos_is_allowed_only_where_both_kinds_meet(void)
{
    struct raft__half now;
    struct raft__half then;
    check_steps(RAFT_PROTOCOL_MULTIPAXOS);
    CHECK_EQ(raft__half_init(&now, RAFT_PROTOCOL_MULTIPAXOS, 7, 0), RAFT_OK);
    CHECK_EQ(raft__half_init(&then, RAFT_PROTOCOL_MULTIPAXOS, 15, 3), RAFT_OK);
    CHECK_EQ(then.quorum[RAFT__ELECTION], 2);
    CHECK(!raft__one_step_is_safe(RAFT_PROTOCOL_MULTIPAXOS, &now, &then));
}

/* R57: by the definition, for every assignment of three zones to four voters. */
static void zoned_commits_reach_two_zones_or_everybody(void)
{
    struct raft__quorums quorums;
    memset(&quorums, 0, sizeof quorums);
    CHECK_EQ(raft__half_init(&quorums.halves[0], RAFT_PROTOCOL_RAFT, 15, 0), RAFT_OK);
    for (unsigned assigned = 0; assigned < 81; assigned++) {
        uint8_t zones[RAFT_MEMBERS_MAX] = {0};
        uint64_t values[RAFT_MEMBERS_MAX] = {9, 7, 5, 3};
        unsigned rest = assigned;
        for (unsigned i = 0; i < 4; i++, rest /= 3) {
            zones[i] = (uint8_t)(rest % 3);
        }
        int unzoned = zones[0] == 0 || zones[1] == 0 || zones[2] == 0 || zones[3] == 0;
        int one_zone = zones[0] == zones[1] && zones[1] == zones[2] && zones[2] == zones[3];
        int two_by_5 = (zones[0] != 0 && zones[1] != 0 && zones[0] != zones[1]) ||
                       (zones[0] != 0 && zones[2] != 0 && zones[0] != zones[2]) ||
                       (zones[1] != 0 && zones[2] != 0 && zones[1] != zones[2]);
        uint64_t expected = two_by_5 || (one_zone && !unzoned) ? 5 : 3;
        CHECK_EQ(raft__zoned_value(&quorums, zones, values), expected);
    }
}

/* R56: with two data voters and a witness, the witness hears what one of them holds. */
static void witnesses_hear_of_what_enough_data_voters_hold(void)
{
    struct raft__quorums quorums;
    uint64_t values[RAFT_MEMBERS_MAX] = {9, 7, 100, 5, 2};
    memset(&quorums, 0, sizeof quorums);
    CHECK_EQ(raft__half_init(&quorums.halves[0], RAFT_PROTOCOL_RAFT, 7, 0), RAFT_OK);
    CHECK_EQ(raft__data_value(&quorums, 4, values), 9);
    CHECK_EQ(raft__data_value(&quorums, 0, values), 9);
    CHECK_EQ(raft__half_init(&quorums.halves[0], RAFT_PROTOCOL_RAFT, 31, 0), RAFT_OK);
    CHECK_EQ(raft__data_value(&quorums, 4, values), 7);
    CHECK_EQ(raft__data_value(&quorums, 4 | 1, values), 7);
    CHECK_EQ(raft__half_init(&quorums.halves[1], RAFT_PROTOCOL_RAFT, 8 | 16 | 4, 0), RAFT_OK);
    CHECK_EQ(raft__data_value(&quorums, 4, values), 5);
}

int main(void)
{
    RUN(set_size_counts_bits);
    RUN(half_follows_the_wish_for_q2);
    RUN(half_of_multipaxos_needs_no_majority_to_elect);
    RUN(half_without_voters_is_refused);
    RUN(majorities_are_the_usual_ones);
    RUN(every_election_quorum_meets_every_commit_quorum);
    RUN(one_half_counts_its_voters_alone);
    RUN(strangers_never_help_a_quorum);
    RUN(quorum_of_the_union_is_no_quorum);
    RUN(joint_groups_need_both_halves);
    RUN(joint_groups_with_wishes_need_both_halves);
    RUN(joint_with_a_single_old_voter_waits_for_that_voter);
    RUN(unknown_membership_decides_nothing);
    RUN(commit_value_is_the_largest_that_a_quorum_reached);
    RUN(commit_value_of_a_joint_group_is_reached_in_both_halves);
    RUN(commit_value_holds_for_scattered_positions_up_to_the_last);
    RUN(commit_value_ignores_those_without_a_vote);
    RUN(commit_value_never_falls_when_a_member_advances);
    RUN(membership_survives_its_encoding);
    RUN(membership_cut_short_or_too_long_is_refused);
    RUN(membership_with_a_flipped_byte_is_refused_or_canonical);
    RUN(membership_of_a_later_format_is_told_from_garbage);
    RUN(membership_lists_that_cannot_found_a_group_are_refused);
    RUN(membership_at_its_largest_survives_its_encoding);
    RUN(quorums_that_could_lose_data_are_refused);
    RUN(joint_memberships_keep_witnesses_what_they_are);
    RUN(one_step_is_allowed_only_where_all_quorums_meet);
    RUN(one_step_in_multipaxos_is_allowed_only_where_both_kinds_meet);
    RUN(zoned_commits_reach_two_zones_or_everybody);
    RUN(witnesses_hear_of_what_enough_data_voters_hold);
    return check_done();
}
