/*
 * The log in memory: appended to, truncated, given up at its front, and lent out as ranges of
 * encoded bytes. Knows nothing of roles or messages.
 *
 * Entries lie encoded in segments, back to back. A segment is never moved or resized, so what was
 * lent stays where it is. Terms are kept beside them as runs, since they change only at elections.
 *
 * Two things happen at the front, both by whole segments. Compaction moves base_index: what is at
 * or below it is gone for good. Eviction gives up memory alone: the entries are on storage still,
 * and their terms here.
 *
 *          base_index      first in memory                    last_index
 *     ──────────┼───────────────┼─────────────────────────────────┤
 *      compacted     evicted       segments
 *               └── runs of terms ────────────────────────────────┘
 *
 *   (1) Segments are in index order, without a gap, each with at least one entry above base_index;
 *       the last ends at last_index. Where nothing is evicted, the first begins at base_index + 1
 *       at the latest.
 *   (2) Runs are in index order with strictly rising terms (R32); the first begins at
 *       base_index + 1. A log without entries has neither segments nor runs.
 *   (3) Bytes below a segment's `used` never change while it lives. Truncation lowers `used` and,
 *       if a write may still lend what lies beyond, seals the segment, so that nothing overwrites
 *       it.
 *   (4) A segment that is given up whole while lent waits in limbo until those writes, or the apply
 *       that is in hand, are done.
 */
#include "raft_internal.h"

#define SEGMENT_BYTES_MIN 256u
#define SEGMENT_BYTES_MAX (256u * 1024u)
#define SLOT_BYTES        4u /* an entry's place in the table of offsets */

void raft__log_init(struct raft__log *log, uint64_t bytes_max)
{
    memset(log, 0, sizeof(*log));
    log->front_index = 1;
    log->last_run = 1;
    log->plain_from = 1;
    log->bytes_max = bytes_max;
    log->segment_max = SEGMENT_BYTES_MAX;
    if (bytes_max / 8 < SEGMENT_BYTES_MAX) { /* what is given up is whole segments */
        log->segment_max = bytes_max / 8 > SEGMENT_BYTES_MIN ? (size_t)(bytes_max / 8) & ~(size_t)7
                                                             : SEGMENT_BYTES_MIN;
    }
}

void raft__log_begin(struct raft__log *log, raft_index index, raft_term term)
{
    RAFT_ASSERT(log->segment_count == 0 && log->run_count == 0);
    log->base_index = index;
    log->base_term = term;
    log->front_index = index + 1;
    log->last_index = index;
    log->last_term = term;
    log->tail = NULL;
    log->last_run = index + 1;
    log->plain_from = index + 1;
}

/* ---- Segments ------------------------------------------------------------------------------- */

static inline uint32_t segment_offset(const struct raft__segment *segment, uint32_t entry)
{
    return raft__get32(segment->bytes + segment->capacity - SLOT_BYTES * (entry + 1));
}

/* The table of offsets grows downwards: where the offset of the next entry goes. */
static inline uint8_t *segment_free_slot(struct raft__segment *segment)
{
    return segment->bytes + segment->capacity - SLOT_BYTES * (segment->count + 1);
}

/* Where entry `entry` starts; entry == count: where the last one ends. */
static uint32_t segment_start(const struct raft__segment *segment, uint32_t entry)
{
    return entry == segment->count ? segment->used : segment_offset(segment, entry);
}

static raft_index segment_last(const struct raft__segment *segment)
{
    return segment->first + segment->count - 1;
}

static inline int segment_fits(const struct raft__segment *segment, size_t bytes, size_t count)
{
    size_t room = segment->capacity - segment->used - SLOT_BYTES * (size_t)segment->count;
    return !segment->sealed && bytes <= room && count <= (room - bytes) / SLOT_BYTES;
}

/* What is asked for most is at the end: noted whenever that becomes another. */
static void log_note_end(struct raft__log *log)
{
    uint32_t segments = log->segment_count;
    uint32_t runs = log->run_count;
    log->tail = segments == 0 ? NULL : log->segments[segments - 1];
    log->last_run = runs == 0 ? log->last_index + 1 : log->runs[runs - 1].first;
    raft_index held = segments == 0 ? log->last_index + 1 : log->tail->first;
    log->plain_from = held > log->last_run ? held : log->last_run;
}

static void segment_free(struct raft__log *log, const struct raft__memory *memory,
                         struct raft__segment *segment)
{
    log->bytes -= segment->allocated;
    raft__free(memory, segment, segment->allocated);
}

/* The segment that holds index, among all. */
RAFT_APART static const struct raft__segment *log_search(const struct raft__log *log,
                                                         raft_index index)
{
    uint32_t low = 0;
    uint32_t high = log->segment_count;
    while (low + 1 < high) {
        uint32_t middle = low + (high - low) / 2;
        if (log->segments[middle]->first <= index) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return log->segments[low];
}

/* The last one is asked for most. */
static inline const struct raft__segment *log_segment(const struct raft__log *log, raft_index index)
{
    return log->tail->first <= index ? log->tail : log_search(log, index);
}

/* Each segment is four times the one before it: a quiet log is small and a busy one flat. */
static size_t segment_preference(const struct raft__log *log)
{
    const struct raft__segment *tail = log->tail;
    if (tail == NULL) {
        return SEGMENT_BYTES_MIN;
    }
    size_t larger = (size_t)tail->capacity * 4;
    return larger > log->segment_max ? log->segment_max : larger;
}

static int array_reserve(const struct raft__memory *memory, void **array, uint32_t *capacity,
                         uint32_t count, size_t item_size)
{
    if (count < *capacity) {
        return RAFT_OK;
    }
    uint32_t wanted = *capacity == 0 ? 1 : *capacity * 2; /* a quiet log needs no more */
    void *grown = raft__resize(memory, *array, *capacity * item_size, wanted * item_size);
    if (grown == NULL) {
        return RAFT_ENOMEM;
    }
    *array = grown;
    *capacity = wanted;
    return RAFT_OK;
}

/*
 * A new, empty segment that is not in the log yet, with room for bytes of entries, count of them,
 * so that the log stays within bytes_max. What oversteps the log's own bound is no larger than
 * needed.
 */
static int segment_new(struct raft__log *log, const struct raft__memory *memory, size_t bytes,
                       size_t count, uint64_t bytes_max, struct raft__segment **out)
{
    size_t needed = (bytes + count * SLOT_BYTES + 7) & ~(size_t)7;
    size_t preferred = segment_preference(log);
    if (needed > UINT32_MAX - 8) {
        return RAFT_ESIZE;
    }
    size_t header = sizeof(struct raft__segment);
    uint64_t room = log->bytes_max > log->bytes ? log->bytes_max - log->bytes : 0;
    if (preferred + header > room) {
        preferred = room > header ? (size_t)(room - header) & ~(size_t)7 : 0;
    }
    if (needed > preferred) {
        if (log->bytes > bytes_max || needed + header > bytes_max - log->bytes) {
            return RAFT_EFULL;
        }
        preferred = needed;
    }
    struct raft__segment *segment =
        (struct raft__segment *)raft__resize(memory, NULL, 0, header + preferred);
    if (segment == NULL) {
        return RAFT_ENOMEM;
    }
    memset(segment, 0, header);
    segment->allocated = header + preferred;
    segment->capacity = (uint32_t)preferred;
    log->bytes += segment->allocated;
    *out = segment;
    return RAFT_OK;
}

/* Puts a segment made by segment_new at the end. Room in the array was reserved. */
static void log_push(struct raft__log *log, struct raft__segment *segment)
{
    segment->first = log->last_index + 1;
    segment->position = log->end_position;
    log->segments[log->segment_count++] = segment;
    log_note_end(log);
}

/* ---- Terms ---------------------------------------------------------------------------------- */

static int runs_reserve(struct raft__log *log, const struct raft__memory *memory)
{
    void *array = log->runs;
    int status =
        array_reserve(memory, &array, &log->run_capacity, log->run_count, sizeof(*log->runs));
    log->runs = (struct raft__run *)array;
    return status;
}

static void log_begin_term(struct raft__log *log, raft_term term)
{
    RAFT_ASSERT(term >= log->last_term); /* R32 */
    if (log->run_count == 0 || log->runs[log->run_count - 1].term != term) {
        struct raft__run run = {log->last_index + 1, term};
        log->runs[log->run_count++] = run;
        log_note_end(log);
    }
    log->last_term = term;
}

/* The number of runs that begin at or below index. */
RAFT_APART static uint32_t runs_up_to(const struct raft__log *log, raft_index index)
{
    uint32_t low = 0;
    uint32_t high = log->run_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (log->runs[middle].first <= index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

raft_term raft__log_term_within(const struct raft__log *log, raft_index index)
{
    RAFT_ASSERT(index >= log->base_index && index <= log->last_index);
    uint32_t runs = runs_up_to(log, index);
    return runs == 0 ? log->base_term : log->runs[runs - 1].term;
}

raft_index raft__log_floor(const struct raft__log *log, raft_index index, raft_term term)
{
    RAFT_ASSERT(index >= log->base_index && index <= log->last_index);
    uint32_t run = runs_up_to(log, index);
    while (run > 0 && log->runs[run - 1].term > term) {
        run--;
        index = log->runs[run].first - 1;
    }
    return index;
}

raft_index raft__log_mismatch(const struct raft__log *log, raft_index first, raft_index last,
                              raft_term term)
{
    RAFT_ASSERT(last <= log->last_index);
    if (first <= log->base_index) {
        first = log->base_index + 1; /* what is compacted is committed, and matches */
    }
    if (first > last) {
        return 0;
    }
    uint32_t run = runs_up_to(log, first) - 1;
    if (log->runs[run].term != term) {
        return first;
    }
    if (run + 1 < log->run_count && log->runs[run + 1].first <= last) {
        return log->runs[run + 1].first;
    }
    return 0;
}

raft_index raft__log_run_end(const struct raft__log *log, raft_index index)
{
    RAFT_ASSERT(index > log->base_index && index <= log->last_index);
    uint32_t run = runs_up_to(log, index);
    return run < log->run_count ? log->runs[run].first - 1 : log->last_index;
}

/* ---- Reading -------------------------------------------------------------------------------- */

uint64_t raft__log_position(const struct raft__log *log, raft_index index)
{
    RAFT_ASSERT(index <= log->last_index + 1);
    if (index > log->last_index || log->segment_count == 0) {
        return log->end_position;
    }
    const struct raft__segment *segment = log_segment(log, index);
    if (index < segment->first) {
        return segment->position;
    }
    return segment->position + segment_offset(segment, (uint32_t)(index - segment->first));
}

/* The number of entries from `from` on, below `end`, that fit in bytes_max: at least one. */
RAFT_APART static uint32_t segment_fitting(const struct raft__segment *segment, uint32_t from,
                                           uint32_t end, uint64_t bytes_max)
{
    uint32_t start = segment_offset(segment, from);
    uint32_t low = from + 1;
    while (low < end) { /* the largest low with start(low) - start <= bytes_max, or from + 1 */
        uint32_t middle = low + (end - low + 1) / 2;
        if (segment_start(segment, middle) - start <= bytes_max) {
            low = middle;
        } else {
            end = middle - 1;
        }
    }
    return low - from;
}

/* Cuts a range that begins at entry `from` of the segment, and is too long, to bytes_max. */
RAFT_APART static void segment_cut(const struct raft__segment *segment, uint32_t from,
                                   uint64_t bytes_max, raft_range *range)
{
    uint32_t end = from + (uint32_t)range->count;
    range->count = segment_fitting(segment, from, end, bytes_max);
    range->size =
        segment_start(segment, from + (uint32_t)range->count) - segment_offset(segment, from);
}

/* First..last, which the segment has and which are all of this term. */
static inline void segment_range(const struct raft__segment *segment, raft_index first,
                                 raft_index last, raft_term term, uint64_t bytes_max,
                                 raft_range *range)
{
    uint32_t from = (uint32_t)(first - segment->first);
    uint32_t count = (uint32_t)(last - first + 1);
    uint32_t start = segment_offset(segment, from);
    range->first = first;
    range->term = term;
    range->count = count;
    range->size = segment_start(segment, from + count) - start;
    range->data = segment->bytes + start;
    if (range->size > bytes_max) {
        segment_cut(segment, from, bytes_max, range);
    }
}

/* Not of the last segment or not of the last term: up to where the next begins. */
RAFT_APART static void log_range_within(const struct raft__log *log, raft_index first,
                                        raft_index last, uint64_t bytes_max, raft_range *range)
{
    const struct raft__segment *segment = log_segment(log, first);
    uint32_t run = runs_up_to(log, first);
    if (run < log->run_count && log->runs[run].first <= last) {
        last = log->runs[run].first - 1;
    }
    if (last > segment_last(segment)) {
        last = segment_last(segment);
    }
    segment_range(segment, first, last, log->runs[run - 1].term, bytes_max, range);
}

void raft__log_range(const struct raft__log *log, raft_index first, raft_index last,
                     uint64_t bytes_max, raft_range *range)
{
    RAFT_ASSERT(first >= log->front_index && first <= last && last <= log->last_index);
    if (first < log->plain_from) {
        log_range_within(log, first, last, bytes_max, range);
    } else {
        segment_range(log->tail, first, last, log->last_term, bytes_max, range);
    }
}

/* ---- Appending ------------------------------------------------------------------------------ */

/*
 * A place for an append: the leading `head` entries go to the tail, the rest to a new segment. All
 * that can fail happens here, before the log changes.
 */
static int log_reserve(struct raft__log *log, const struct raft__memory *memory, size_t rest_bytes,
                       size_t rest_count, uint64_t bytes_max, struct raft__segment **fresh)
{
    *fresh = NULL;
    if (runs_reserve(log, memory) != RAFT_OK) {
        return RAFT_ENOMEM;
    }
    if (rest_count == 0) {
        return RAFT_OK;
    }
    void *array = log->segments;
    int status = array_reserve(memory, &array, &log->segment_capacity, log->segment_count,
                               sizeof(*log->segments));
    log->segments = (struct raft__segment **)array;
    if (status != RAFT_OK) {
        return status;
    }
    return segment_new(log, memory, rest_bytes, rest_count, bytes_max, fresh);
}

/* The usual case: there is room in the tail, and the term has begun. Nothing can fail. */
static inline int tail_takes(const struct raft__log *log, raft_term term, size_t bytes,
                             size_t count)
{
    const struct raft__segment *tail = log->tail;
    return tail != NULL && term == log->last_term && segment_fits(tail, bytes, count);
}

/* Takes in what has been written at the end of the tail, with its offsets. */
static inline void log_grow_tail(struct raft__log *log, struct raft__segment *tail, size_t count,
                                 size_t bytes)
{
    log->last_index += count;
    log->end_position += bytes;
    tail->count += (uint32_t)count;
    tail->used += (uint32_t)bytes;
}

static void log_write_payloads(struct raft__log *log, int kind, const raft_buf *payloads,
                               size_t count)
{
    struct raft__segment *tail = log->tail;
    uint8_t *slot = segment_free_slot(tail);
    uint32_t used = tail->used;
    for (const raft_buf *payload = payloads; payload < payloads + count; payload++) {
        raft__put32(slot, used);
        used += (uint32_t)raft__entry_write(tail->bytes + used, kind, payload->data, payload->size);
        slot -= SLOT_BYTES;
    }
    log_grow_tail(log, tail, count, used - tail->used);
}

/* How many leading payloads fit in the tail, and takes the bytes of these from *rest_bytes. */
static size_t log_head_of_payloads(const struct raft__log *log, const raft_buf *payloads,
                                   size_t count, size_t *rest_bytes)
{
    const struct raft__segment *tail = log->tail;
    size_t head = 0;
    size_t bytes = 0;
    while (tail != NULL && head < count) {
        size_t size = raft__entry_size(payloads[head].size);
        if (!segment_fits(tail, bytes + size, head + 1)) {
            break;
        }
        bytes += size;
        head++;
    }
    *rest_bytes -= bytes;
    return head;
}

/* Where a segment or a term begins. */
RAFT_APART static int log_append_anew(struct raft__log *log, const struct raft__memory *memory,
                                      raft_term term, int kind, const raft_buf *payloads,
                                      size_t count, size_t bytes)
{
    struct raft__segment *fresh;
    size_t rest_bytes = bytes;
    size_t head = log_head_of_payloads(log, payloads, count, &rest_bytes);
    uint64_t bytes_max = kind == RAFT_ENTRY_DATA ? log->bytes_max : UINT64_MAX; /* R17, R44 */
    int status = log_reserve(log, memory, rest_bytes, count - head, bytes_max, &fresh);
    if (status != RAFT_OK) {
        return status;
    }
    log_begin_term(log, term);
    if (head > 0) {
        log_write_payloads(log, kind, payloads, head);
    }
    if (fresh != NULL) {
        log_push(log, fresh);
        log_write_payloads(log, kind, payloads + head, count - head);
    }
    return RAFT_OK;
}

int raft__log_append_one(struct raft__log *log, const struct raft__memory *memory, raft_term term,
                         int kind, const void *payload, size_t payload_size)
{
    size_t bytes = raft__entry_size(payload_size);
    if (log->last_index >= RAFT_LIMIT || !tail_takes(log, term, bytes, 1)) {
        raft_buf one = {payload, payload_size};
        return raft__log_append(log, memory, term, kind, &one, 1, bytes);
    }
    struct raft__segment *tail = log->tail;
    uint8_t *entry = tail->bytes + tail->used;
    raft__put32(segment_free_slot(tail), tail->used);
    log_grow_tail(log, tail, 1, bytes);
    raft__entry_write(entry, kind, payload, payload_size);
    return RAFT_OK;
}

int raft__log_append(struct raft__log *log, const struct raft__memory *memory, raft_term term,
                     int kind, const raft_buf *payloads, size_t count, size_t bytes)
{
    if (count > RAFT_LIMIT - log->last_index) {
        return RAFT_ELIMIT;
    }
    if (!tail_takes(log, term, bytes, count)) {
        return log_append_anew(log, memory, term, kind, payloads, count, bytes);
    }
    log_write_payloads(log, kind, payloads, count);
    return RAFT_OK;
}

/* Copies encoded entries to the tail; their sum is known to be bytes. */
static inline void log_write_encoded(struct raft__log *log, const uint8_t *data, size_t bytes)
{
    struct raft__segment *tail = log->tail;
    uint8_t *slot = segment_free_slot(tail);
    uint32_t used = tail->used;
    size_t count = 0;
    size_t done = 0;
    memcpy(tail->bytes + used, data, bytes); /* first: the walk goes on while it is stored */
    while (done < bytes) {
        raft__put32(slot, used + (uint32_t)done);
        done += raft__entry_size(raft__get32(data + done));
        slot -= SLOT_BYTES;
        count++;
    }
    RAFT_ASSERT(done == bytes);
    log_grow_tail(log, tail, count, bytes);
}

/* How many leading entries of the range, and bytes of them, fit in the tail. */
static size_t log_head_of(const struct raft__log *log, const raft_range *range, size_t *bytes)
{
    const struct raft__segment *tail = log->tail;
    const uint8_t *data = (const uint8_t *)range->data;
    size_t head = 0;
    *bytes = 0;
    while (tail != NULL && head < range->count) {
        size_t size = raft__entry_size(raft__get32(data + *bytes));
        if (!segment_fits(tail, *bytes + size, head + 1)) {
            break;
        }
        *bytes += size;
        head++;
    }
    return head;
}

/*
 * Room for what a leader with the same bound took, since segments need not begin at the same
 * places, and for no-ops in any case: else a full group could not even elect (R17).
 */
static uint64_t follower_bytes_max(const struct raft__log *log, const raft_range *range)
{
    uint64_t slack = log->bytes_max / 8 + SEGMENT_BYTES_MAX;
    if (range->size == range->count * RAFT_ENTRY_HEADER || slack > UINT64_MAX - log->bytes_max) {
        return UINT64_MAX;
    }
    return log->bytes_max + slack;
}

/* Where a segment or a term begins, or entries are replaced. */
RAFT_APART static int log_append_range_anew(struct raft__log *log,
                                            const struct raft__memory *memory,
                                            const raft_range *range, uint64_t lent_seq)
{
    const uint8_t *data = (const uint8_t *)range->data;
    struct raft__segment *fresh;
    size_t head = 0;
    size_t head_bytes = 0;
    int replaces = range->first <= log->last_index;
    if (!replaces) {
        head = log_head_of(log, range, &head_bytes);
    }
    int status = log_reserve(log, memory, range->size - head_bytes, range->count - head,
                             follower_bytes_max(log, range), &fresh);
    if (status != RAFT_OK) {
        return status;
    }
    if (replaces) {
        raft__log_truncate(log, memory, range->first, lent_seq);
    }
    log_begin_term(log, range->term);
    if (head > 0) {
        log_write_encoded(log, data, head_bytes);
    }
    if (fresh != NULL) {
        log_push(log, fresh);
        log_write_encoded(log, data + head_bytes, range->size - head_bytes);
    }
    return RAFT_OK;
}

int raft__log_append_range(struct raft__log *log, const struct raft__memory *memory,
                           const raft_range *range, uint64_t lent_seq)
{
    RAFT_ASSERT(range->first > log->base_index && range->first <= log->last_index + 1);
    if (range->first <= log->last_index ||
        !tail_takes(log, range->term, range->size, range->count)) {
        return log_append_range_anew(log, memory, range, lent_seq);
    }
    log_write_encoded(log, (const uint8_t *)range->data, range->size);
    return RAFT_OK;
}

/* ---- Truncating ----------------------------------------------------------------------------- */

/* Frees a segment that has left the log, or keeps it while writes up to lent_seq lend its bytes. */
static void log_dispose(struct raft__log *log, const struct raft__memory *memory,
                        struct raft__segment *segment, uint64_t lent_seq, int lent_to_apply)
{
    if (lent_seq == 0 && !lent_to_apply) {
        segment_free(log, memory, segment);
        return;
    }
    segment->lent_seq = lent_seq;
    segment->lent_to_apply = lent_to_apply != 0;
    segment->limbo_next = log->limbo;
    log->limbo = segment;
}

void raft__log_truncate(struct raft__log *log, const struct raft__memory *memory, raft_index from,
                        uint64_t lent_seq)
{
    RAFT_ASSERT(from > log->base_index && from <= log->last_index + 1);
    RAFT_ASSERT(from >= raft__log_memory(log)); /* what is evicted is committed (I14) */
    log->end_position = raft__log_position(log, from);
    log->last_term = raft__log_term(log, from - 1);
    log->last_index = from - 1;
    int is_all =
        from == log->base_index + 1; /* what is compacted may lie in front in its segment */
    while (log->tail != NULL && (is_all || log->tail->first >= from)) {
        log_dispose(log, memory, log->segments[--log->segment_count], lent_seq, 0);
        log_note_end(log);
    }
    struct raft__segment *tail = log->tail;
    if (tail != NULL && tail->first + tail->count > from) {
        uint32_t kept = (uint32_t)(from - tail->first);
        tail->used = segment_offset(tail, kept);
        tail->count = kept;
        tail->sealed = tail->sealed || lent_seq != 0; /* invariant (3) */
    }
    log->run_count = runs_up_to(log, from - 1);
    log_note_end(log);
}

void raft__log_release(struct raft__log *log, const struct raft__memory *memory, uint64_t seq)
{
    struct raft__segment **link = &log->limbo;
    while (*link != NULL) {
        struct raft__segment *segment = *link;
        if (segment->lent_seq <= seq && !segment->lent_to_apply) {
            *link = segment->limbo_next;
            segment_free(log, memory, segment);
        } else {
            link = &segment->limbo_next;
        }
    }
}

void raft__log_return_applied(struct raft__log *log)
{
    for (struct raft__segment *segment = log->limbo; segment != NULL;
         segment = segment->limbo_next) {
        segment->lent_to_apply = 0;
    }
}

/* ---- Giving up the front -------------------------------------------------------------------- */

/* The front is behind the base, and in memory. What has gone there may have been the end too. */
static void log_note_ends(struct raft__log *log)
{
    raft_index memory = raft__log_memory(log);
    log->front_index = memory > log->base_index ? memory : log->base_index + 1;
    log_note_end(log);
}

/* Takes the first `count` segments out of the log. */
static void log_drop_front(struct raft__log *log, const struct raft__memory *memory, uint32_t count,
                           uint64_t lent_seq)
{
    for (uint32_t i = 0; i < count; i++) {
        log_dispose(log, memory, log->segments[i], lent_seq, 0);
    }
    log->segment_count -= count;
    if (count > 0 && log->segment_count > 0) {
        memmove(log->segments, log->segments + count, log->segment_count * sizeof(*log->segments));
    }
}

raft_index raft__log_trail(const struct raft__log *log, raft_index index, uint64_t bytes)
{
    RAFT_ASSERT(index >= log->base_index && index <= log->last_index);
    raft_index base = index;
    if (index >= raft__log_memory(log)) {
        uint64_t end = raft__log_position(log, index + 1);
        uint64_t wanted = end > bytes ? end - bytes : 0;
        uint32_t i = log->segment_count - 1;
        while (i > 0 && log->segments[i]->position > wanted) {
            i--;
        }
        raft_index before = log->segments[i]->first - 1;
        base = before < index ? before : index;
    }
    return base > log->base_index ? base : log->base_index;
}

void raft__log_compact(struct raft__log *log, const struct raft__memory *memory, raft_index index,
                       uint64_t lent_seq)
{
    RAFT_ASSERT(index >= log->base_index && index <= log->last_index);
    uint32_t segments = 0;
    uint32_t runs = runs_up_to(log, index + 1);
    raft_term term = raft__log_term(log, index);
    while (segments < log->segment_count && segment_last(log->segments[segments]) <= index) {
        segments++;
    }
    log_drop_front(log, memory, segments, lent_seq);
    runs = index == log->last_index ? log->run_count : runs - 1;
    log->run_count -= runs;
    for (uint32_t i = 0; i < log->run_count; i++) {
        log->runs[i] = log->runs[i + runs];
    }
    if (log->run_count > 0) {
        log->runs[0].first = index + 1;
    }
    log->base_index = index;
    log->base_term = term;
    log_note_ends(log);
}

void raft__log_evict(struct raft__log *log, const struct raft__memory *memory, raft_index index,
                     uint64_t bytes_max, uint64_t lent_seq)
{
    uint64_t bytes = log->bytes;
    uint32_t count = 0;
    while (count < log->segment_count && bytes > bytes_max &&
           segment_last(log->segments[count]) <= index) {
        bytes -= log->segments[count++]->allocated;
    }
    log_drop_front(log, memory, count, lent_seq);
    log_note_ends(log);
}

void raft__log_reset(struct raft__log *log, const struct raft__memory *memory, raft_index index,
                     raft_term term, uint64_t lent_seq, int lent_to_apply)
{
    while (log->segment_count > 0) {
        log_dispose(log, memory, log->segments[--log->segment_count], lent_seq, lent_to_apply);
    }
    log->run_count = 0;
    raft__log_begin(log, index, term);
}

void raft__log_free(struct raft__log *log, const struct raft__memory *memory)
{
    raft__log_reset(log, memory, log->base_index, log->base_term, 0, 0);
    raft__log_return_applied(log);
    raft__log_release(log, memory, UINT64_MAX);
    RAFT_ASSERT(log->bytes == 0);
    raft__free(memory, log->segments, log->segment_capacity * sizeof(*log->segments));
    raft__free(memory, log->runs, log->run_capacity * sizeof(*log->runs));
}

/* ---- Checking ------------------------------------------------------------------------------- */

static const char *log_check_runs(const struct raft__log *log)
{
    raft_index next = log->base_index + 1;
    raft_term term = log->base_term;
    for (uint32_t i = 0; i < log->run_count; i++) {
        if ((i == 0 && log->runs[i].first != next) || log->runs[i].first < next ||
            (i == 0 ? log->runs[i].term < term : log->runs[i].term <= term)) {
            return "runs of terms rise without a gap";
        }
        next = log->runs[i].first + 1;
        term = log->runs[i].term;
    }
    if (log->last_run != (log->run_count > 0 ? log->runs[log->run_count - 1].first : next)) {
        return "it is known where the last run begins";
    }
    return term == log->last_term ? NULL : "the last run has the last term";
}

const char *raft__log_check(const struct raft__log *log)
{
    raft_index next = raft__log_memory(log);
    uint64_t position = log->segment_count > 0 ? log->segments[0]->position : log->end_position;
    if (log->front_index != (next > log->base_index ? next : log->base_index + 1)) {
        return "the front is the first entry that is in memory and not compacted";
    }
    if (log->tail != (log->segment_count > 0 ? log->segments[log->segment_count - 1] : NULL)) {
        return "the tail is the last segment";
    }
    if (log->tail != NULL &&
        log->plain_from != (log->tail->first > log->last_run ? log->tail->first : log->last_run)) {
        return "it is known from where on a range is in one piece";
    }
    if (log->segment_count > 0 && segment_last(log->segments[0]) <= log->base_index) {
        return "nothing is kept that is compacted whole";
    }
    for (uint32_t i = 0; i < log->segment_count; i++) {
        const struct raft__segment *segment = log->segments[i];
        if (segment->first != next || segment->count == 0 || segment->position != position) {
            return "segments follow each other without a gap";
        }
        if (segment->used + SLOT_BYTES * (uint64_t)segment->count > segment->capacity) {
            return "a segment holds no more than fits";
        }
        next += segment->count;
        position += segment->used;
    }
    if (next != log->last_index + 1 || position != log->end_position) {
        return "the segments end where the log ends";
    }
    return log_check_runs(log);
}
