/*
 * The log in memory on its own: what was appended comes back, terms and positions agree with a
 * plain array, truncation never touches lent bytes, a failed allocation changes nothing. The array
 * below is the model; a long random walk compares everything with it after every step.
 */
#include "check.h"

#include "../raft_internal.h"

#include <stdlib.h>

/* ---- Memory that counts and fails ----------------------------------------------------------- */

struct bank {
    size_t live_bytes;
    size_t calls;
    size_t fail_at;     /* the call that fails, from 1; 0: none */
    int fail_from_then; /* and all later ones */
    int wrong_size;     /* somebody misremembers what he was given */
};

static void *bank_alloc(void *host, void *p, size_t old_size, size_t new_size)
{
    struct bank *bank = host;
    uint64_t *block = p != NULL ? (uint64_t *)p - 2 : NULL;
    bank->wrong_size |= block != NULL ? block[0] != old_size : old_size != 0;
    if (new_size == 0) {
        bank->live_bytes -= old_size;
        free(block);
        return NULL;
    }
    bank->calls++;
    if (bank->fail_at != 0 &&
        (bank->calls == bank->fail_at || (bank->fail_from_then && bank->calls > bank->fail_at))) {
        return NULL;
    }
    uint64_t *fresh = realloc(block, new_size + 16);
    if (fresh == NULL) {
        return NULL;
    }
    fresh[0] = new_size;
    bank->live_bytes += new_size - old_size;
    return fresh + 2;
}

static struct raft__memory memory_of(struct bank *bank)
{
    struct raft__memory memory = {bank_alloc, bank};
    return memory;
}

/* ---- The model ------------------------------------------------------------------------------ */

enum { MODEL_MAX = 20000 };

struct model {
    raft_index base;
    raft_term base_term;
    raft_index last;
    struct {
        raft_term term;
        uint32_t size;
        uint32_t seed;
        int kind;
    } at[MODEL_MAX]; /* at[i - base], [0] unused */
};

struct fixture {
    struct bank bank;
    struct raft__memory memory;
    struct raft__log log;
    struct model model;
    uint8_t *scratch;
    size_t scratch_size;
};

static struct fixture *open_log(uint64_t bytes_max)
{
    struct fixture *f = calloc(1, sizeof *f);
    CHECK(f != NULL);
    f->memory = memory_of(&f->bank);
    raft__log_init(&f->log, bytes_max);
    return f;
}

static void close_log(struct fixture *f)
{
    raft__log_free(&f->log, &f->memory);
    size_t live = f->bank.live_bytes;
    int wrong = f->bank.wrong_size;
    free(f->scratch);
    free(f);
    CHECK_EQ(live, 0);
    CHECK_EQ(wrong, 0);
}

static uint64_t random_step(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void fill(uint8_t *out, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(seed * 31 + i * 7);
    }
}

static raft_term model_term(const struct model *m, raft_index index)
{
    return index == m->base ? m->base_term : m->at[index - m->base].term;
}

static void model_push(struct model *m, raft_term term, uint32_t size, uint32_t seed, int kind)
{
    size_t i = (size_t)(++m->last - m->base);
    CHECK(i < MODEL_MAX);
    m->at[i].term = term;
    m->at[i].size = size;
    m->at[i].seed = seed;
    m->at[i].kind = kind;
}

/* Appends count entries as payloads; the model follows only where the log said yes. */
static int append(struct fixture *f, raft_term term, size_t count, uint32_t size, uint32_t seed)
{
    raft_buf *payloads = calloc(count, sizeof *payloads);
    uint8_t *bytes = malloc(count * (size_t)size + 1);
    CHECK(payloads != NULL && bytes != NULL);
    for (size_t i = 0; i < count; i++) {
        fill(bytes + i * size, size, seed + (uint32_t)i);
        payloads[i].data = bytes + i * size;
        payloads[i].size = size;
    }
    int code = raft__log_append(&f->log, &f->memory, term, RAFT_ENTRY_DATA, payloads, count,
                                count * raft_entry_size(size));
    memset(bytes, 0xdd, count * (size_t)size); /* it was borrowed, not kept */
    free(bytes);
    free(payloads);
    for (size_t i = 0; code == RAFT_OK && i < count; i++) {
        model_push(&f->model, term, size, seed + (uint32_t)i, RAFT_ENTRY_DATA);
    }
    return code;
}

/* Encoded entries from first on, as a follower gets them; they replace what is there. */
static int replace(struct fixture *f, raft_index first, raft_term term, size_t count, uint32_t size,
                   uint32_t seed, uint64_t lent_seq)
{
    size_t whole = raft_entry_size(size);
    uint8_t *bytes = malloc(count * whole);
    uint8_t *payload = malloc((size_t)size + 1);
    CHECK(bytes != NULL && payload != NULL);
    for (size_t i = 0; i < count; i++) {
        raft_entry e = {0, 0, payload, size, RAFT_ENTRY_DATA};
        fill(payload, size, seed + (uint32_t)i);
        CHECK_EQ(raft_entry_encode(&e, bytes + i * whole, whole), RAFT_OK);
    }
    raft_range range = {first, term, count, count * whole, bytes};
    int code = raft__log_append_range(&f->log, &f->memory, &range, lent_seq);
    memset(bytes, 0xdd, count * whole);
    free(bytes);
    free(payload);
    if (code == RAFT_OK) {
        f->model.last = first - 1;
    }
    for (size_t i = 0; code == RAFT_OK && i < count; i++) {
        model_push(&f->model, term, size, seed + (uint32_t)i, RAFT_ENTRY_DATA);
    }
    return code;
}

static int append_encoded(struct fixture *f, raft_term term, size_t count, uint32_t size,
                          uint32_t seed)
{
    return replace(f, f->log.last_index + 1, term, count, size, seed, 0);
}

static void truncate_log(struct fixture *f, raft_index from, uint64_t lent_seq)
{
    raft__log_truncate(&f->log, &f->memory, from, lent_seq);
    f->model.last = from - 1;
}

static void check_entry(const struct model *m, const raft_entry *e)
{
    uint8_t expected[512];
    size_t i = (size_t)(e->index - m->base);
    CHECK_EQ(e->term, m->at[i].term);
    CHECK_EQ(e->size, m->at[i].size);
    CHECK_EQ(e->kind, m->at[i].kind);
    const uint8_t *data = e->data;
    for (size_t at = 0; at < e->size; at += sizeof expected) {
        size_t piece = e->size - at < sizeof expected ? e->size - at : sizeof expected;
        for (size_t b = 0; b < piece; b++) {
            expected[b] = (uint8_t)(m->at[i].seed * 31 + (at + b) * 7);
        }
        CHECK(memcmp(data + at, expected, piece) == 0);
    }
}

/* Reads [first, last] in ranges of at most bytes_max: everything comes back, nothing mixed. */
static size_t check_ranges(const struct fixture *f, raft_index first, raft_index last,
                           uint64_t bytes_max)
{
    size_t pieces = 0;
    for (raft_index at = first; at <= last; pieces++) {
        raft_range range;
        raft__log_range(&f->log, at, last, bytes_max, &range);
        CHECK_EQ(range.first, at);
        CHECK(range.count >= 1);
        CHECK(range.size <= bytes_max || range.count == 1);
        CHECK(range.first + range.count - 1 <= last);
        CHECK(raft__range_kinds(&range));
        raft_range walk = range;
        raft_entry e;
        while (raft_range_next(&walk, &e)) {
            CHECK_EQ(e.index, at);
            check_entry(&f->model, &e);
            at++;
        }
        CHECK_EQ(at, range.first + range.count);
    }
    return pieces;
}

/* Everything that can be asked of the log agrees with the model. */
static void check_against_model(const struct fixture *f)
{
    const struct model *m = &f->model;
    const struct raft__log *log = &f->log;
    CHECK_STR(raft__log_check(log) ? raft__log_check(log) : "sound", "sound");
    CHECK_EQ(log->last_index, m->last);
    CHECK_EQ(log->last_term, model_term(m, m->last));
    raft_index memory = raft__log_memory(log);
    raft_index first = memory > log->base_index ? memory : log->base_index + 1;
    for (raft_index i = log->base_index; i <= m->last; i++) {
        CHECK_EQ(raft__log_term(log, i), model_term(m, i));
    }
    for (raft_index i = memory; i <= m->last; i++) {
        uint64_t size = raft__log_position(log, i + 1) - raft__log_position(log, i);
        CHECK_EQ(size, raft_entry_size(m->at[i - m->base].size));
    }
    for (raft_index i = log->base_index; i < memory; i++) {
        CHECK_EQ(raft__log_position(log, i), raft__log_position(log, memory));
    }
    check_ranges(f, first, m->last, UINT64_MAX);
}

/* ---- Appending and reading ------------------------------------------------------------------ */

static void empty_log_ends_at_its_base(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    check_against_model(f);
    CHECK_EQ(f->log.last_index, 0);
    CHECK_EQ(raft__log_term(&f->log, 0), 0);
    CHECK_EQ(raft__log_floor(&f->log, 0, 5), 0);
    CHECK_EQ(f->log.bytes, 0);
    CHECK_EQ(f->bank.calls, 0);
    close_log(f);
}

static void payloads_of_every_size_come_back(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    for (uint32_t size = 0; size <= 100; size++) {
        CHECK_EQ(append(f, 1, 1, size, size), RAFT_OK);
    }
    check_against_model(f);
    CHECK_EQ(append(f, 1, 1, 1u << 20, 5), RAFT_OK);
    CHECK_EQ(append(f, 1, 1, 3, 6), RAFT_OK);
    check_against_model(f);
    close_log(f);
}

static void encoded_entries_come_back_as_they_were(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    for (uint32_t size = 0; size <= 100; size++) {
        CHECK_EQ(append_encoded(f, 1, 1 + size % 4, size, size), RAFT_OK);
    }
    CHECK_EQ(append_encoded(f, 2, 2, 1u << 20, 5), RAFT_OK);
    CHECK_EQ(append_encoded(f, 2, 3000, 16, 6), RAFT_OK);
    check_against_model(f);
    close_log(f);
}

/* The same entries by either way are the same bytes: one encoding everywhere. */
static void proposed_and_received_entries_are_the_same_bytes(void)
{
    struct fixture *a = open_log(UINT64_MAX);
    struct fixture *b = open_log(UINT64_MAX);
    for (uint32_t size = 0; size < 40; size++) {
        CHECK_EQ(append(a, 3, 2, size, size), RAFT_OK);
        CHECK_EQ(append_encoded(b, 3, 2, size, size), RAFT_OK);
    }
    for (raft_index i = 1; i <= a->log.last_index; i++) {
        raft_range x;
        raft_range y;
        raft__log_range(&a->log, i, i, 1, &x);
        raft__log_range(&b->log, i, i, 1, &y);
        CHECK_EQ(x.size, y.size);
        CHECK(memcmp(x.data, y.data, x.size) == 0);
    }
    close_log(a);
    close_log(b);
}

static void many_entries_span_segments_without_a_seam(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    for (uint32_t i = 0; i < 12000; i++) {
        CHECK_EQ(append(f, 1 + i / 5000, 1, i % 90, i), RAFT_OK);
    }
    CHECK(f->log.segment_count > 3);
    check_against_model(f);
    for (raft_index first = 1; first <= 12000; first += 1009) {
        check_ranges(f, first, 12000, 700);
    }
    close_log(f);
}

static void one_batch_larger_than_a_segment_goes_in_whole(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    CHECK_EQ(append(f, 1, 3, 10, 1), RAFT_OK);
    CHECK_EQ(append(f, 1, 9000, 120, 2), RAFT_OK);
    CHECK_EQ(append(f, 2, 9000, 1, 3), RAFT_OK);
    check_against_model(f);
    close_log(f);
}

static void range_ends_at_its_byte_limit(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    CHECK_EQ(append(f, 1, 10, 8, 1), RAFT_OK); /* 16 bytes each */
    for (uint64_t limit = 0; limit < 200; limit++) {
        raft_range range;
        raft__log_range(&f->log, 2, 9, limit, &range);
        size_t fits = limit < 32 ? 1 : (size_t)(limit / 16);
        CHECK_EQ(range.count, fits < 8 ? fits : 8);
        CHECK_EQ(range.size, range.count * 16);
    }
    close_log(f);
}

static void oversized_entry_goes_alone(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    CHECK_EQ(append(f, 1, 1, 8, 1), RAFT_OK);
    CHECK_EQ(append(f, 1, 1, 5000, 2), RAFT_OK);
    CHECK_EQ(append(f, 1, 1, 8, 3), RAFT_OK);
    CHECK_EQ(check_ranges(f, 1, 3, 100), 3);
    close_log(f);
}

static void range_never_mixes_terms(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    for (raft_term term = 1; term <= 30; term++) {
        CHECK_EQ(append(f, term, (size_t)(1 + term % 3), 4, (uint32_t)term), RAFT_OK);
    }
    for (raft_index first = 1; first <= f->model.last; first++) {
        raft_range range;
        raft__log_range(&f->log, first, f->model.last, UINT64_MAX, &range);
        CHECK_EQ(range.term, model_term(&f->model, first));
        for (size_t i = 0; i < range.count; i++) {
            CHECK_EQ(model_term(&f->model, first + i), range.term);
        }
    }
    close_log(f);
}

/* ---- Terms ---------------------------------------------------------------------------------- */

/* The seven runs of the figure: 1 1 1 4 4 5 5 6 6 6, and gaps between terms. */
static void fill_terms(struct fixture *f, const raft_term *terms, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK_EQ(append(f, terms[i], 1, 4, (uint32_t)i), RAFT_OK);
    }
}

static const raft_term figure[] = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};

/* R30, by the definition: scanning down from index. */
static void floor_is_the_largest_index_whose_term_is_not_above(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    fill_terms(f, figure, 10);
    for (raft_index index = 0; index <= 10; index++) {
        for (raft_term term = 0; term <= 8; term++) {
            raft_index expected = index;
            while (expected > 0 && model_term(&f->model, expected) > term) {
                expected--;
            }
            CHECK_EQ(raft__log_floor(&f->log, index, term), expected);
        }
    }
    close_log(f);
}

static void mismatch_is_the_first_index_of_another_term(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    fill_terms(f, figure, 10);
    for (raft_index first = 1; first <= 10; first++) {
        for (raft_index last = first - 1; last <= 10; last++) {
            for (raft_term term = 1; term <= 8; term++) {
                raft_index expected = 0;
                for (raft_index i = last; i >= first; i--) {
                    expected = model_term(&f->model, i) != term ? i : expected;
                }
                CHECK_EQ(raft__log_mismatch(&f->log, first, last, term), expected);
            }
        }
    }
    close_log(f);
}

static void thousands_of_terms_are_found(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    for (uint32_t i = 0; i < 6000; i++) {
        CHECK_EQ(append(f, 1 + i / 2 * 3, 1, 1, i), RAFT_OK);
    }
    check_against_model(f);
    CHECK_EQ(raft__log_floor(&f->log, 6000, 1), 2);
    CHECK_EQ(raft__log_floor(&f->log, 6000, 0), 0);
    close_log(f);
}

/* ---- Truncating and lending ----------------------------------------------------------------- */

static void truncation_at_every_index_keeps_what_is_below(void)
{
    for (raft_index from = 1; from <= 61; from++) {
        struct fixture *f = open_log(UINT64_MAX);
        for (uint32_t i = 0; i < 60; i++) {
            CHECK_EQ(append(f, 1 + i / 7, 1, i, i), RAFT_OK);
        }
        truncate_log(f, from, 0);
        check_against_model(f);
        CHECK_EQ(append(f, 20, 5, 33, 900), RAFT_OK);
        check_against_model(f);
        close_log(f);
    }
}

static void truncated_whole_and_filled_again_is_like_new(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    CHECK_EQ(append(f, 1, 500, 50, 1), RAFT_OK);
    truncate_log(f, 1, 0);
    check_against_model(f);
    CHECK_EQ(f->log.bytes, 0);
    CHECK_EQ(append(f, 1, 500, 50, 2), RAFT_OK); /* the same term may come again */
    check_against_model(f);
    close_log(f);
}

struct loan {
    raft_range range;
    uint8_t *copy;
    uint64_t seq;
};

static struct loan lend(const struct fixture *f, raft_index first, uint64_t seq)
{
    struct loan loan;
    raft__log_range(&f->log, first, f->log.last_index, UINT64_MAX, &loan.range);
    loan.copy = malloc(loan.range.size);
    CHECK(loan.copy != NULL);
    memcpy(loan.copy, loan.range.data, loan.range.size);
    loan.seq = seq;
    return loan;
}

static int loan_intact(const struct loan *loan)
{
    return memcmp(loan->range.data, loan->copy, loan->range.size) == 0;
}

/* The ABA case of R6 in memory: x lent, overwritten by y, overwritten by x again. */
static void lent_bytes_survive_truncation_and_overwriting(void)
{
    for (raft_index from = 1; from <= 10; from++) {
        struct fixture *f = open_log(UINT64_MAX);
        CHECK_EQ(append(f, 1, 10, 16, 100), RAFT_OK);
        struct loan x = lend(f, 1, 1);
        truncate_log(f, from, 1);
        CHECK_EQ(append_encoded(f, 2, 10, 16, 200), RAFT_OK);
        struct loan y = lend(f, from, 2);
        truncate_log(f, from, 2);
        CHECK_EQ(append(f, 3, 10, 16, 300), RAFT_OK);
        check_against_model(f);
        CHECK(loan_intact(&x));
        CHECK(loan_intact(&y));
        raft__log_release(&f->log, &f->memory, 1);
        CHECK(loan_intact(&y));
        raft__log_release(&f->log, &f->memory, 2);
        check_against_model(f);
        CHECK(f->log.limbo == NULL);
        free(x.copy);
        free(y.copy);
        close_log(f);
    }
}

static void entries_are_replaced_from_every_index_on(void)
{
    for (raft_index from = 1; from <= 41; from++) {
        for (size_t count = 1; count < 90; count += 29) {
            struct fixture *f = open_log(UINT64_MAX);
            CHECK_EQ(append(f, 1, 20, 16, 1), RAFT_OK);
            CHECK_EQ(append(f, 2, 20, 30, 1), RAFT_OK);
            CHECK_EQ(replace(f, from, 3, count, 20, 500, 0), RAFT_OK);
            check_against_model(f);
            close_log(f);
        }
    }
}

static void replacing_leaves_lent_bytes_alone(void)
{
    for (raft_index from = 1; from <= 30; from++) {
        struct fixture *f = open_log(UINT64_MAX);
        CHECK_EQ(append(f, 1, 30, 16, 100), RAFT_OK);
        struct loan x = lend(f, 1, 1);
        struct loan tail = lend(f, 30, 1);
        CHECK_EQ(replace(f, from, 2, 40, 16, 200, 1), RAFT_OK);
        struct loan y = lend(f, from, 2);
        CHECK_EQ(replace(f, from, 3, 2, 16, 300, 2), RAFT_OK);
        check_against_model(f);
        CHECK(loan_intact(&x));
        CHECK(loan_intact(&tail));
        CHECK(loan_intact(&y));
        raft__log_release(&f->log, &f->memory, 2);
        check_against_model(f);
        free(x.copy);
        free(tail.copy);
        free(y.copy);
        close_log(f);
    }
}

/* All or nothing: what should have been replaced is still there when there is no room. */
static void failed_replacing_removes_nothing(void)
{
    for (size_t fail = 1; fail < 6; fail++) {
        struct fixture *f = open_log(UINT64_MAX);
        CHECK_EQ(append(f, 1, 30, 16, 100), RAFT_OK);
        f->bank.fail_at = f->bank.calls + fail;
        f->bank.fail_from_then = 1;
        int code = replace(f, 5, 2, 300, 50, 7, 1);
        CHECK(code == RAFT_ENOMEM || code == RAFT_OK);
        check_against_model(f);
        f->bank.fail_at = 0;
        CHECK_EQ(replace(f, 5, 3, 300, 50, 8, 1), RAFT_OK);
        check_against_model(f);
        raft__log_release(&f->log, &f->memory, 1);
        close_log(f);
    }
    struct fixture *f = open_log(4096);
    CHECK_EQ(append(f, 1, 30, 16, 100), RAFT_OK);
    CHECK_EQ(replace(f, 5, 2, 5000, 100, 7, 0), RAFT_EFULL);
    check_against_model(f);
    CHECK_EQ(f->log.last_index, 30);
    close_log(f);
}

static void segments_in_limbo_are_freed_when_their_writes_are_done(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    CHECK_EQ(append(f, 1, 2000, 100, 1), RAFT_OK);
    uint64_t full = f->log.bytes;
    truncate_log(f, 1, 7);
    CHECK_EQ(f->log.bytes, full); /* what is lent is still memory of the log */
    raft__log_release(&f->log, &f->memory, 6);
    CHECK_EQ(f->log.bytes, full);
    raft__log_release(&f->log, &f->memory, 7);
    CHECK_EQ(f->log.bytes, 0);
    check_against_model(f);
    close_log(f);
}

static void limbo_of_several_writes_is_released_in_their_order(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    uint64_t bytes[5];
    for (uint64_t seq = 1; seq <= 4; seq++) {
        CHECK_EQ(append(f, seq, 300, 100, (uint32_t)seq), RAFT_OK);
        truncate_log(f, 1, seq);
        bytes[seq] = f->log.bytes;
    }
    for (uint64_t seq = 1; seq <= 4; seq++) {
        CHECK(f->log.bytes > 0);
        raft__log_release(&f->log, &f->memory, seq);
        CHECK(f->log.bytes < bytes[4]);
    }
    CHECK_EQ(f->log.bytes, 0);
    close_log(f);
}

static void freeing_a_log_frees_what_is_in_limbo(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    CHECK_EQ(append(f, 1, 5, 100, 1), RAFT_OK);
    CHECK_EQ(append(f, 1, 2000, 100, 1), RAFT_OK);
    truncate_log(f, 3, 9);
    CHECK(f->log.limbo != NULL);
    close_log(f);
}

/* ---- Limits --------------------------------------------------------------------------------- */

static void full_log_refuses_whole_batches_and_stays_as_it_was(void)
{
    enum { LIMIT_BYTES = 8192 };
    struct fixture *f = open_log(LIMIT_BYTES);
    int code = RAFT_OK;
    while ((code = append(f, 1, 3, 40, 1)) == RAFT_OK) {
        CHECK(f->log.bytes <= LIMIT_BYTES);
        check_against_model(f);
    }
    CHECK_EQ(code, RAFT_EFULL);
    check_against_model(f);
    CHECK_EQ(append(f, 9, 1, LIMIT_BYTES, 1), RAFT_EFULL);
    check_against_model(f);
    CHECK(f->model.last * 48 > LIMIT_BYTES / 2); /* the bound is used, not merely kept */
    truncate_log(f, 2, 0);
    CHECK_EQ(append(f, 2, 3, 40, 1), RAFT_OK);
    check_against_model(f);
    close_log(f);
}

/* What a leader with the same bound took must fit; but a follower has a bound as well. */
static void follower_goes_on_for_a_little_and_then_refuses(void)
{
    enum { LIMIT_BYTES = 8192, SLACK_BYTES = LIMIT_BYTES / 8 + (256 << 10) };
    struct fixture *f = open_log(LIMIT_BYTES);
    while (append(f, 1, 1, 40, 1) == RAFT_OK) {
    }
    raft_index leaders = f->model.last;
    int code;
    while ((code = append_encoded(f, 1, 3, 40, 1)) == RAFT_OK) {
        CHECK(f->log.bytes <= LIMIT_BYTES + SLACK_BYTES);
    }
    CHECK_EQ(code, RAFT_EFULL);
    CHECK(f->model.last > leaders + leaders / 8);
    check_against_model(f);
    CHECK_EQ(append(f, 1, 1, 40, 1), RAFT_EFULL);
    close_log(f);
}

/* R17: nothing may keep a leader from its no-op. */
static void no_op_goes_into_a_full_log(void)
{
    static const raft_buf nothing = {NULL, 0};
    struct fixture *f = open_log(4096);
    while (append(f, 1, 1, 0, 0) == RAFT_OK) {
    }
    for (raft_term term = 2; term < 50; term++) {
        CHECK_EQ(raft__log_append(&f->log, &f->memory, term, RAFT_ENTRY_NOOP, &nothing, 1,
                                  RAFT_ENTRY_HEADER),
                 RAFT_OK);
        model_push(&f->model, term, 0, 0, RAFT_ENTRY_NOOP);
    }
    check_against_model(f);
    close_log(f);
}

static void indexes_end_at_the_limit(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    raft__log_begin(&f->log, RAFT_LIMIT - 3, 5);
    f->model.base = f->model.last = RAFT_LIMIT - 3;
    f->model.base_term = 5;
    CHECK_EQ(append(f, 5, 4, 1, 1), RAFT_ELIMIT);
    check_against_model(f);
    CHECK_EQ(append(f, 5, 2, 1, 1), RAFT_OK);
    CHECK_EQ(append(f, 6, 2, 1, 1), RAFT_ELIMIT);
    CHECK_EQ(append(f, 6, 1, 1, 1), RAFT_OK);
    CHECK_EQ(append(f, 6, 1, 1, 1), RAFT_ELIMIT);
    check_against_model(f);
    close_log(f);
}

static void log_above_a_base_works_alike(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    raft__log_begin(&f->log, 1000, 3);
    f->model.base = f->model.last = 1000;
    f->model.base_term = 3;
    for (uint32_t i = 0; i < 400; i++) {
        CHECK_EQ(append(f, 3 + i / 50, 1, i % 60, i), RAFT_OK);
    }
    check_against_model(f);
    CHECK_EQ(raft__log_floor(&f->log, 1300, 2), 1000);
    CHECK_EQ(raft__log_floor(&f->log, 1300, 3), 1050);
    truncate_log(f, 1001, 0);
    check_against_model(f);
    CHECK_EQ(append(f, 3, 1, 1, 1), RAFT_OK);
    check_against_model(f);
    close_log(f);
}

/* ---- Giving up the front -------------------------------------------------------------------- */

/* A log of many segments and several terms. */
static struct fixture *open_long_log(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    for (uint32_t i = 0; i < 9000; i++) {
        CHECK_EQ(append(f, 1 + i / 1000, 1, 40 + i % 90, i), RAFT_OK);
    }
    CHECK(f->log.segment_count > 5);
    return f;
}

static void compaction_at_any_index_keeps_what_is_above(void)
{
    for (raft_index base = 1; base <= 9000; base += base < 1100 ? 99 : 713) {
        struct fixture *f = open_long_log();
        uint64_t before = f->log.bytes;
        raft__log_compact(&f->log, &f->memory, base, 0);
        CHECK_EQ(f->log.base_index, base);
        check_against_model(f);
        CHECK(base < 4000 || f->log.bytes < before);
        CHECK_EQ(raft__log_mismatch(&f->log, 1, base, 99), 0);
        CHECK_EQ(append(f, 20, 5, 10, 3), RAFT_OK);
        truncate_log(f, base + 1, 0);
        CHECK_EQ(append(f, 21, 5, 10, 4), RAFT_OK);
        check_against_model(f);
        close_log(f);
    }
}

/* The base may lie within a segment; what is cut right behind it leaves nothing of that. */
static void truncation_right_behind_the_base_empties_the_log(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    CHECK_EQ(append(f, 1, 8, 10, 1), RAFT_OK);
    raft__log_compact(&f->log, &f->memory, 3, 0);
    CHECK_EQ(f->log.segment_count, 1);
    truncate_log(f, 4, 0);
    check_against_model(f);
    CHECK_EQ(f->log.bytes, 0);
    CHECK_EQ(append(f, 2, 8, 10, 1), RAFT_OK);
    check_against_model(f);
    close_log(f);
}

static void compaction_to_the_end_leaves_an_empty_log(void)
{
    struct fixture *f = open_long_log();
    raft__log_compact(&f->log, &f->memory, 9000, 0);
    check_against_model(f);
    CHECK_EQ(f->log.segment_count, 0);
    CHECK_EQ(f->log.run_count, 0);
    CHECK_EQ(f->log.bytes, 0);
    CHECK_EQ(append(f, 9, 100, 10, 3), RAFT_OK);
    check_against_model(f);
    CHECK_EQ(raft__log_floor(&f->log, 9050, 3), 9000);
    close_log(f);
}

/* R40: as many bytes as are wished for stay in front of the snapshot, and not many more. */
static void the_trail_holds_what_is_wished_for_in_whole_segments(void)
{
    struct fixture *f = open_long_log();
    for (raft_index index = 1; index <= 9000; index += 577) {
        for (uint64_t bytes = 1; bytes < 2000000; bytes *= 7) {
            raft_index base = raft__log_trail(&f->log, index, bytes);
            uint64_t end = raft__log_position(&f->log, index + 1);
            uint64_t kept = end - raft__log_position(&f->log, base + 1);
            CHECK(base < index);
            CHECK(kept >= bytes || base == 0);
            CHECK(kept <= bytes + (256 << 10));
        }
    }
    CHECK_EQ(raft__log_trail(&f->log, 9000, UINT64_MAX), 0);
    close_log(f);
}

static void evicted_entries_keep_their_terms_and_nothing_else(void)
{
    struct fixture *f = open_long_log();
    raft__log_evict(&f->log, &f->memory, 6000, 0, 0);
    CHECK(raft__log_memory(&f->log) > 3000);
    CHECK(raft__log_memory(&f->log) <= 6001);
    CHECK_EQ(f->log.base_index, 0);
    check_against_model(f);
    CHECK_EQ(raft__log_floor(&f->log, 8999, 2), 2000);
    CHECK_EQ(raft__log_mismatch(&f->log, 1500, 8000, 2), 2001);
    CHECK_EQ(raft__log_run_end(&f->log, 1), 1000);
    CHECK_EQ(raft__log_run_end(&f->log, 1000), 1000);
    CHECK_EQ(raft__log_run_end(&f->log, 8001), 9000);
    raft__log_evict(&f->log, &f->memory, 9000, 0, 0);
    CHECK_EQ(raft__log_memory(&f->log), 9001);
    CHECK_EQ(f->log.bytes, 0);
    check_against_model(f);
    CHECK_EQ(append(f, 9, 300, 100, 3), RAFT_OK);
    check_against_model(f);
    CHECK_EQ(raft__log_trail(&f->log, 8000, 1000), 8000);
    raft__log_compact(&f->log, &f->memory, 8000, 0);
    check_against_model(f);
    close_log(f);
}

static void eviction_stops_at_the_bytes_that_may_stay(void)
{
    struct fixture *f = open_long_log();
    uint64_t wanted = f->log.bytes / 2;
    raft__log_evict(&f->log, &f->memory, 9000, wanted, 0);
    CHECK(f->log.bytes <= wanted);
    CHECK(f->log.bytes + (260 << 10) > wanted);
    raft_index memory = raft__log_memory(&f->log);
    raft__log_evict(&f->log, &f->memory, 9000, wanted, 0);
    CHECK_EQ(raft__log_memory(&f->log), memory);
    check_against_model(f);
    close_log(f);
}

static void a_log_that_is_reset_begins_behind_the_snapshot(void)
{
    struct fixture *f = open_long_log();
    raft__log_reset(&f->log, &f->memory, 50000, 30, 0, 0);
    CHECK_EQ(f->log.bytes, 0);
    memset(&f->model, 0, sizeof f->model);
    f->model.base = f->model.last = 50000;
    f->model.base_term = 30;
    check_against_model(f);
    CHECK_EQ(append(f, 30, 10, 10, 1), RAFT_OK);
    CHECK_EQ(append(f, 31, 10, 10, 1), RAFT_OK);
    check_against_model(f);
    close_log(f);
}

static void what_is_given_up_while_lent_waits_for_every_borrower(void)
{
    struct fixture *f = open_long_log();
    struct loan written = lend(f, 8500, 7);
    struct loan applied = lend(f, 100, 7);
    raft__log_reset(&f->log, &f->memory, 50000, 30, 7, 1);
    CHECK(f->log.bytes > 0);
    raft__log_release(&f->log, &f->memory, 6);
    CHECK(loan_intact(&written) && loan_intact(&applied));
    raft__log_release(&f->log, &f->memory, 7);
    CHECK(loan_intact(&applied));
    CHECK(f->log.bytes > 0);
    raft__log_return_applied(&f->log);
    raft__log_release(&f->log, &f->memory, 7);
    CHECK_EQ(f->log.bytes, 0);
    free(written.copy);
    free(applied.copy);
    close_log(f);
}

/* ---- Memory that runs out ------------------------------------------------------------------- */

static void failed_allocation_changes_nothing_and_can_be_repeated(void)
{
    for (int encoded = 0; encoded < 2; encoded++) {
        for (size_t fail = 1; fail < 60; fail++) {
            struct fixture *f = open_log(UINT64_MAX);
            f->bank.fail_at = fail;
            for (uint32_t i = 0; i < 40; i++) {
                raft_index before = f->log.last_index;
                int code = encoded ? append_encoded(f, 1 + i, 2, i * 40, i)
                                   : append(f, 1 + i, 2, i * 40, i);
                if (code != RAFT_OK) {
                    CHECK_EQ(code, RAFT_ENOMEM);
                    CHECK_EQ(f->log.last_index, before);
                    check_against_model(f);
                    i--; /* once more, with success */
                }
            }
            check_against_model(f);
            CHECK_EQ(f->log.last_index, 80);
            close_log(f);
        }
    }
}

static void log_without_memory_still_reads_and_truncates(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    CHECK_EQ(append(f, 1, 50, 30, 1), RAFT_OK);
    f->bank.fail_at = f->bank.calls + 1;
    f->bank.fail_from_then = 1;
    CHECK_EQ(append(f, 2, 50, 3000, 1), RAFT_ENOMEM);
    truncate_log(f, 20, 3);
    raft__log_release(&f->log, &f->memory, 3);
    check_against_model(f);
    close_log(f);
}

static void appending_allocates_once_in_many_entries(void)
{
    struct fixture *f = open_log(UINT64_MAX);
    CHECK_EQ(append(f, 1, 10000, 100, 1), RAFT_OK);
    size_t before = f->bank.calls;
    for (uint32_t i = 0; i < 9000; i++) {
        CHECK_EQ(append(f, 1, 1, 100, i), RAFT_OK);
    }
    CHECK(f->bank.calls - before < 20);
    close_log(f);
}

/* ---- A long random walk --------------------------------------------------------------------- */

enum { LOANS = 8 };

struct walk {
    struct fixture *f;
    uint64_t seed;
    raft_term term;
    uint64_t seq;      /* of the newest loan */
    uint64_t released; /* up to here they are returned */
    struct loan loans[LOANS];
    size_t loan_count;
};

/* Whatever is cut, is cut in memory: what was evicted is applied. */
static raft_index walk_lowest(const struct walk *w)
{
    raft_index memory = raft__log_memory(&w->f->log);
    raft_index base = w->f->log.base_index;
    return memory > base ? memory : base + 1;
}

static void walk_lend(struct walk *w)
{
    const struct fixture *f = w->f;
    raft_index lowest = walk_lowest(w);
    if (w->loan_count < LOANS && lowest <= f->log.last_index) {
        raft_index first = lowest + random_step(&w->seed) % (f->log.last_index - lowest + 1);
        w->loans[w->loan_count++] = lend(f, first, ++w->seq);
    }
}

static void walk_release(struct walk *w)
{
    size_t kept = 0;
    w->released += random_step(&w->seed) % (w->seq - w->released + 1);
    for (size_t i = 0; i < w->loan_count; i++) {
        if (w->loans[i].seq <= w->released) {
            free(w->loans[i].copy);
        } else {
            w->loans[kept++] = w->loans[i];
        }
    }
    w->loan_count = kept;
    raft__log_release(&w->f->log, &w->f->memory, w->released);
}

static void walk_truncate(struct walk *w)
{
    struct fixture *f = w->f;
    raft_index length = f->log.last_index + 1 - walk_lowest(w);
    raft_index from = f->log.last_index + 1 - random_step(&w->seed) % (length + 1) / 2;
    truncate_log(f, from, w->seq > w->released ? w->seq : 0);
}

/* The front goes, by compaction or eviction. */
static void walk_front(struct walk *w)
{
    struct fixture *f = w->f;
    uint64_t r = random_step(&w->seed);
    uint64_t lent = w->seq > w->released ? w->seq : 0;
    raft_index index = f->log.base_index + r % (f->log.last_index - f->log.base_index + 1) / 4;
    if (r >> 30 & 1) {
        raft__log_evict(&f->log, &f->memory, index, f->log.bytes / 2, lent);
    } else {
        index = raft__log_trail(&f->log, index, r >> 40 & 1023);
        raft__log_compact(&f->log, &f->memory, index, lent);
    }
}

static void walk_append(struct walk *w)
{
    struct fixture *f = w->f;
    uint64_t r = random_step(&w->seed);
    size_t count = 1 + (size_t)(r % 7 == 0 ? r / 7 % 300 : r / 7 % 4);
    uint32_t size = (uint32_t)(r >> 20) % (r % 11 == 0 ? 4000 : 60);
    if (f->model.last + count + 10 >= MODEL_MAX) {
        truncate_log(f, walk_lowest(w), w->seq > w->released ? w->seq : 0);
    }
    w->term += r >> 40 & 1;
    uint64_t lent = w->seq > w->released ? w->seq : 0;
    raft_index first = f->log.last_index + 1 - (r >> 42) % 3 * (f->log.last_index / 8);
    first = first < walk_lowest(w) ? walk_lowest(w) : first;
    int code = r >> 41 & 1 ? append(f, w->term, count, size, (uint32_t)r)
                           : replace(f, first, w->term, count, size, (uint32_t)r, lent);
    CHECK(code == RAFT_OK || code == RAFT_EFULL);
}

static void random_walk_agrees_with_a_plain_array(void)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct walk w;
        memset(&w, 0, sizeof w);
        w.f = open_log(seed % 3 == 0 ? 100000 : UINT64_MAX);
        w.seed = seed * 77777;
        w.term = 1;
        for (int step = 0; step < 1500; step++) {
            uint64_t choice = random_step(&w.seed) % (seed % 2 == 0 ? 11 : 10);
            if (choice < 5) {
                walk_append(&w);
            } else if (choice < 7) {
                walk_truncate(&w);
            } else if (choice < 9) {
                walk_lend(&w);
            } else if (choice < 10) {
                walk_release(&w);
            } else {
                walk_front(&w);
            }
            for (size_t i = 0; i < w.loan_count; i++) {
                CHECK(loan_intact(&w.loans[i]));
            }
            CHECK(raft__log_check(&w.f->log) == NULL);
            if (step % 50 == 0) {
                check_against_model(w.f);
            }
        }
        for (size_t i = 0; i < w.loan_count; i++) {
            free(w.loans[i].copy);
        }
        close_log(w.f);
    }
}

int main(void)
{
    RUN(empty_log_ends_at_its_base);
    RUN(payloads_of_every_size_come_back);
    RUN(encoded_entries_come_back_as_they_were);
    RUN(proposed_and_received_entries_are_the_same_bytes);
    RUN(many_entries_span_segments_without_a_seam);
    RUN(one_batch_larger_than_a_segment_goes_in_whole);
    RUN(range_ends_at_its_byte_limit);
    RUN(oversized_entry_goes_alone);
    RUN(range_never_mixes_terms);
    RUN(floor_is_the_largest_index_whose_term_is_not_above);
    RUN(mismatch_is_the_first_index_of_another_term);
    RUN(thousands_of_terms_are_found);
    RUN(truncation_at_every_index_keeps_what_is_below);
    RUN(truncated_whole_and_filled_again_is_like_new);
    RUN(lent_bytes_survive_truncation_and_overwriting);
    RUN(entries_are_replaced_from_every_index_on);
    RUN(replacing_leaves_lent_bytes_alone);
    RUN(failed_replacing_removes_nothing);
    RUN(segments_in_limbo_are_freed_when_their_writes_are_done);
    RUN(limbo_of_several_writes_is_released_in_their_order);
    RUN(freeing_a_log_frees_what_is_in_limbo);
    RUN(full_log_refuses_whole_batches_and_stays_as_it_was);
    RUN(follower_goes_on_for_a_little_and_then_refuses);
    RUN(no_op_goes_into_a_full_log);
    RUN(indexes_end_at_the_limit);
    RUN(log_above_a_base_works_alike);
    RUN(compaction_at_any_index_keeps_what_is_above);
    RUN(truncation_right_behind_the_base_empties_the_log);
    RUN(compaction_to_the_end_leaves_an_empty_log);
    RUN(the_trail_holds_what_is_wished_for_in_whole_segments);
    RUN(evicted_entries_keep_their_terms_and_nothing_else);
    RUN(eviction_stops_at_the_bytes_that_may_stay);
    RUN(a_log_that_is_reset_begins_behind_the_snapshot);
    RUN(what_is_given_up_while_lent_waits_for_every_borrower);
    RUN(failed_allocation_changes_nothing_and_can_be_repeated);
    RUN(log_without_memory_still_reads_and_truncates);
    RUN(appending_allocates_once_in_many_entries);
    RUN(random_walk_agrees_with_a_plain_array);
    return check_done();
}
