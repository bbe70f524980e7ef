/*
 * Reading a log back, and telling a torn end from damage.
 *
 * A batch is written only after the batch before it was synced, and a file is begun only after all
 * batches of the file before it were. So whatever is followed by a later batch, or by a later file,
 * was confirmed, and other servers may count on it: damage there is refused, never cut (R61). Only
 * the last batch may have been in flight when the machine stopped. It is cut at its first record
 * that does not hold, if
 *
 *   1. it is in the last file;
 *   2. no head of a record of a later batch is found anywhere behind it (heads are known by a
 *      checksum that covers file and position, so bytes left by others are not taken for one);
 *   3. it has the shape that a crash leaves. A file is all zeros, synced, before its first record
 *      is written. So a sector that was lost is zeros from where the batch begins in it to where
 *      the batch ends in it, and a write that was interrupted is zeros from some byte on. No head
 *      begins or ends with a zero byte and no record ends with one, so the loss of a sector or of
 *      the end is seen in every record that it touches. Bits that flipped leave no such trace.
 *
 * What remains of a cut batch stays in the file, but the file is never appended to again: the next
 * one says in its head where the records of this one end, and everything behind is forgotten (row
 * 76 of the catalogue). An end that is followed by zeros alone is clean and is appended to.
 *
 * What was read may be in the kernel's memory alone: the process was killed between writing and
 * syncing, or a sync failed and the pages were dropped. Every file is synced, after the last batch
 * was written once more as it is, before anything that was replayed is relied on. (Not where the log
 * is only looked at: who copies it elsewhere makes the copy durable.)
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "wal_recover.h"

#include "crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_BYTES ((size_t)1024 * 1024)

/* A file that is read through a window. */
struct window {
    int fd;
    uint64_t size; /* of the file */
    uint8_t *bytes;
    size_t capacity;
    uint64_t start; /* of the window in the file */
    size_t length;
};

struct recovery {
    const struct wal_options *options;
    const struct io *io;
    wal_replay *replay;
    void *ctx;
    struct wal_error *error;
    struct wal_recovery *found;
    struct wal_tail *tail;
    struct wal_index *index;

    uint64_t *numbers; /* of the files, once known only of those that are needed */
    struct wal_segment *segments;
    uint32_t *seeds;
    size_t count, capacity;
    uint64_t cluster; /* that they have to belong to; read only, 0: that of the last one */
    uint64_t node;

    char file[WAL_FILE_NAME_MAX]; /* being read */
    struct window window;
    raft_range *ranges; /* room for those of one write */
    size_t range_capacity;

    uint64_t offset;      /* of the next record */
    uint64_t limit;       /* records end here at the latest */
    uint64_t sequence;    /* of the last record */
    uint64_t batch;       /* likewise */
    uint64_t batch_start; /* offset of the first record of the last batch in this file */
    int batch_ended;      /* the last record ends its batch */
};

/* What stands where the next record should be. */
enum verdict { RECORD_HOLDS, RECORD_ABSENT, HEAD_BROKEN, BODY_BROKEN, RECORD_WRONG, READ_FAILED };

/* ---- Names and errors ----------------------------------------------------------------------- */

void wal_join_path(const char *directory, const char *name, char out[WAL_PATH_MAX])
{
    snprintf(out, WAL_PATH_MAX, "%s/%s", directory, name);
}

void wal_segment_name(uint64_t number, char out[WAL_FILE_NAME_MAX])
{
    snprintf(out, WAL_FILE_NAME_MAX, "%016" PRIx64 ".wal", number);
}

int wal_explain(struct wal_error *error, int code, int system, const char *file, uint64_t offset,
                const char *text)
{
    if (error != NULL) {
        memset(error, 0, sizeof *error);
        error->code = code;
        error->system = system < 0 ? -system : system;
        error->offset = offset;
        snprintf(error->file, sizeof error->file, "%s", file != NULL ? file : "");
        snprintf(error->text, sizeof error->text, "%s", text);
    }
    return code;
}

static int refuse(struct recovery *r, int code, int system, uint64_t offset, const char *text)
{
    return wal_explain(r->error, code, system, r->file, offset, text);
}

/* ---- Which files there are ------------------------------------------------------------------ */

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 0: not the name of a file of the log. */
static uint64_t number_of_name(const char *name)
{
    uint64_t number = 0;
    if (strlen(name) != 20 || strcmp(name + 16, ".wal") != 0) {
        return 0;
    }
    for (int i = 0; i < 16; i++) {
        if (digit_of(name[i]) < 0) {
            return 0;
        }
        number = number << 4 | (uint64_t)digit_of(name[i]);
    }
    return number;
}

static int note_name(void *arg, const char *name)
{
    struct recovery *r = arg;
    uint64_t number = number_of_name(name);
    if (number == 0) {
        return 0;
    }
    if (r->count == r->capacity) {
        size_t capacity = r->capacity == 0 ? 16 : 2 * r->capacity;
        uint64_t *numbers = realloc(r->numbers, capacity * sizeof *numbers);
        if (numbers == NULL) {
            return 1;
        }
        r->numbers = numbers;
        r->capacity = capacity;
    }
    r->numbers[r->count++] = number;
    return 0;
}

static int compare_numbers(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static int find_files(struct recovery *r)
{
    int result = r->io->list(r->io->ctx, r->options->directory, note_name, r);
    if (result > 0) {
        return refuse(r, RAFT_ENOMEM, 0, 0, "no memory");
    }
    if (result < 0) {
        return refuse(r, RAFT_ESTORAGE, result, 0, "the directory cannot be listed");
    }
    if (r->count > 0) {
        qsort(r->numbers, r->count, sizeof *r->numbers, compare_numbers);
    }
    return RAFT_OK;
}

/* ---- The heads of the files ----------------------------------------------------------------- */

static int open_segment(struct recovery *r, size_t i)
{
    char path[WAL_PATH_MAX];
    wal_segment_name(r->numbers[i], r->file);
    wal_join_path(r->options->directory, r->file, path);
    int fd = io_open_file(r->io, path, r->options->read_only ? O_RDONLY : O_RDWR);
    if (fd < 0) {
        return refuse(r, RAFT_ESTORAGE, fd, 0, "a file of the log cannot be opened");
    }
    r->window.fd = fd;
    r->window.length = 0;
    int result = r->io->file_size(r->io->ctx, fd, &r->window.size);
    if (result < 0) {
        return refuse(r, RAFT_ESTORAGE, result, 0, "a file of the log has no size");
    }
    return RAFT_OK;
}

static void close_segment(struct recovery *r)
{
    if (r->window.fd >= 0) {
        r->io->close(r->io->ctx, r->window.fd);
        r->window.fd = -1;
    }
}

/* Who only looks need not know whose log it is; but it is of one owner, the last file's. */
static void learn_owner(struct recovery *r, const struct wal_segment *segment)
{
    if (r->options->read_only && r->cluster == 0) {
        r->cluster = segment->cluster;
    }
    if (r->options->read_only && r->node == 0) {
        r->node = segment->node;
    }
}

/* Does this head belong to this place in this log? */
static int check_segment(struct recovery *r, size_t i)
{
    const struct wal_segment *segment = &r->segments[i];
    learn_owner(r, segment);
    if (segment->cluster != r->cluster) {
        return refuse(r, RAFT_EFOREIGN, 0, 16, "the log belongs to another cluster");
    }
    if (segment->node != r->node) {
        return refuse(r, RAFT_EFOREIGN, 0, 24, "the log belongs to another node");
    }
    if (segment->number != r->numbers[i]) {
        return refuse(r, RAFT_ECORRUPT, 0, 32, "the file has the name of another");
    }
    if (segment->oldest == 0 || segment->oldest > segment->number) {
        return refuse(r, RAFT_ECORRUPT, 0, 80, "the file asks for one that cannot be");
    }
    if (segment->size < WAL_DATA_START || r->window.size < segment->size) {
        return refuse(r, RAFT_ECORRUPT, 0, r->window.size, "the file has been cut short");
    }
    if (segment->first_sequence == 0 || segment->first_batch == 0 ||
        (segment->number == 1 && (segment->first_sequence != 1 || segment->first_batch != 1))) {
        return refuse(r, RAFT_ECORRUPT, 0, 56, "the beginning of the log is missing");
    }
    return RAFT_OK;
}

/* Does it say of the file before what that one is? */
static int check_joint(struct recovery *r, size_t i)
{
    const struct wal_segment *segment = &r->segments[i];
    if (segment->number == 1 ? segment->previous_end != 0
                             : segment->previous_end < WAL_DATA_START) {
        return refuse(r, RAFT_ECORRUPT, 0, 72, "the file does not follow the one before it");
    }
    if (i > 0 && segment->previous_end > r->segments[i - 1].size) {
        return refuse(r, RAFT_ECORRUPT, 0, 72, "the file does not follow the one before it");
    }
    return RAFT_OK;
}

static int read_head(struct recovery *r, size_t i)
{
    uint8_t head[WAL_SEGMENT_HEAD];
    long got = io_read_all(r->io, r->window.fd, head, sizeof head, 0);
    if (got < 0) {
        return refuse(r, RAFT_ESTORAGE, (int)got, 0, "a file of the log cannot be read");
    }
    if (got < (long)sizeof head) {
        return refuse(r, RAFT_ECORRUPT, 0, (uint64_t)got, "the file has been cut short");
    }
    int result = wal_decode_segment(head, &r->segments[i], &r->seeds[i]);
    if (result == RAFT_EVERSION) {
        return refuse(r, result, 0, 8, "the log was written by another version");
    }
    if (result != RAFT_OK) {
        return refuse(r, result, 0, 0, "the head of the file is damaged");
    }
    return check_segment(r, i);
}

static int read_head_of(struct recovery *r, size_t i)
{
    int result = open_segment(r, i);
    result = result == RAFT_OK ? read_head(r, i) : result;
    close_segment(r);
    return result;
}

/*
 * What the newest file says is needed must be there without a gap. What is older is what a crash
 * left of files being removed: any of them, and their contents do not count.
 */
static int select_files(struct recovery *r)
{
    uint64_t oldest = r->segments[r->count - 1].oldest;
    size_t left = 0;
    r->tail->existing = r->numbers[0] < oldest ? r->numbers[0] : oldest;
    r->tail->oldest = oldest;
    while (r->numbers[left] < oldest) {
        left++;
    }
    r->count -= left;
    memmove(r->numbers, r->numbers + left, r->count * sizeof *r->numbers);
    memmove(r->segments, r->segments + left, r->count * sizeof *r->segments);
    memmove(r->seeds, r->seeds + left, r->count * sizeof *r->seeds);
    for (size_t i = 0; i < r->count; i++) {
        if (r->numbers[i] != oldest + i) {
            wal_segment_name(oldest + i, r->file);
            return refuse(r, RAFT_ECORRUPT, 0, 0, "a file of the log is missing");
        }
    }
    return RAFT_OK;
}

/*
 * All heads before the first record: a directory that is refused is refused as a whole. The last
 * one first, since it says which others matter.
 */
static int read_heads(struct recovery *r)
{
    r->segments = calloc(r->count + 1, sizeof *r->segments);
    r->seeds = calloc(r->count + 1, sizeof *r->seeds);
    if (r->segments == NULL || r->seeds == NULL) {
        return refuse(r, RAFT_ENOMEM, 0, 0, "no memory");
    }
    if (r->count == 0) {
        r->tail->existing = 1;
        r->tail->oldest = 1;
        return RAFT_OK;
    }
    int result = read_head_of(r, r->count - 1);
    result = result == RAFT_OK ? select_files(r) : result;
    for (size_t i = 0; i < r->count && result == RAFT_OK; i++) {
        result = i + 1 < r->count ? read_head_of(r, i) : RAFT_OK;
        if (result == RAFT_OK) {
            wal_segment_name(r->numbers[i], r->file);
            result = check_joint(r, i);
        }
    }
    return result;
}

/* ---- The window ----------------------------------------------------------------------------- */

static int grow_window(struct window *window, size_t size)
{
    if (size <= window->capacity) {
        return RAFT_OK;
    }
    uint8_t *bytes = realloc(window->bytes, size);
    if (bytes == NULL) {
        return RAFT_ENOMEM;
    }
    window->bytes = bytes;
    window->capacity = size;
    return RAFT_OK;
}

/*
 * Makes size bytes at offset visible; they are within the file, so that no size that was read from
 * it asks for more memory than there are bytes. They stay until the next call. Null: failed, and
 * *result says how.
 */
static const uint8_t *view(struct recovery *r, uint64_t offset, uint64_t size, int *result)
{
    struct window *window = &r->window;
    if (offset >= window->start && offset - window->start <= window->length &&
        size <= window->length - (offset - window->start)) {
        return window->bytes + (offset - window->start);
    }
    uint64_t left = window->size - offset;
    uint64_t wanted = size > READ_BYTES ? size : left < READ_BYTES ? left : READ_BYTES;
    window->length = 0;
    if (wanted > SIZE_MAX / 2 || grow_window(window, (size_t)wanted) != RAFT_OK) {
        *result = refuse(r, RAFT_ENOMEM, 0, offset, "no memory for the record");
        return NULL;
    }
    long got = io_read_all(r->io, window->fd, window->bytes, (size_t)wanted, offset);
    if (got < 0 || (uint64_t)got < size) {
        *result =
            refuse(r, RAFT_ESTORAGE, got < 0 ? (int)got : EIO, offset, "the log cannot be read");
        return NULL;
    }
    window->start = offset;
    window->length = (size_t)got;
    return window->bytes;
}

static int all_zero(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* ---- One record ----------------------------------------------------------------------------- */

/* A head that is undamaged, but which no log of ours has at this place. */
static int is_consistent(const struct recovery *r, const struct wal_record *record)
{
    uint32_t known = WAL_HAS_STATE | WAL_HAS_META | WAL_ENDS_BATCH | WAL_IS_MARK | WAL_IS_MOVED;
    uint64_t batch = r->batch_ended ? r->batch + 1 : r->batch;
    return record->sequence == r->sequence + 1 && record->batch == batch &&
           (record->flags & ~known) == 0 && record->size >= WAL_RECORD_MIN &&
           record->size % 8 == 0 && record->size <= r->limit - r->offset &&
           (record->group == 0) == ((record->flags & WAL_IS_MARK) != 0);
}

static enum verdict examine(struct recovery *r, struct wal_record *record, int *result)
{
    if (r->limit - r->offset < WAL_RECORD_MIN) {
        return RECORD_ABSENT;
    }
    const uint8_t *head = view(r, r->offset, WAL_RECORD_HEAD, result);
    if (head == NULL) {
        return READ_FAILED;
    }
    if (all_zero(head, WAL_RECORD_HEAD)) {
        return RECORD_ABSENT;
    }
    if (!wal_decode_record(head, r->tail->seed, r->offset, record)) {
        return HEAD_BROKEN;
    }
    if (!is_consistent(r, record)) {
        return RECORD_WRONG;
    }
    const uint8_t *whole = view(r, r->offset, record->size, result);
    if (whole == NULL) {
        return READ_FAILED;
    }
    size_t body_size = (size_t)record->size - WAL_RECORD_HEAD;
    return crc32c(0, whole + WAL_RECORD_HEAD, body_size) == record->body_crc ? RECORD_HOLDS
                                                                             : BODY_BROKEN;
}

static int make_room_for_ranges(struct recovery *r, const struct wal_record *record)
{
    size_t count = record->range_count;
    if (count > record->size / WAL_RECORD_RANGE) {
        return refuse(r, RAFT_ECORRUPT, 0, r->offset, "the parts of a record do not add up");
    }
    if (count <= r->range_capacity) {
        return RAFT_OK;
    }
    raft_range *ranges = realloc(r->ranges, count * sizeof *ranges);
    if (ranges == NULL) {
        return refuse(r, RAFT_ENOMEM, 0, r->offset, "no memory for the record");
    }
    r->ranges = ranges;
    r->range_capacity = count;
    return RAFT_OK;
}

static int index_record(struct recovery *r, const struct wal_record *record,
                        const raft_write *write)
{
    struct wal_place place = {r->tail->segment.number, r->offset, r->tail->seed};
    struct wal_effect effect;
    if (!wal_index_expect(r->index, record->group, write, &effect)) {
        return refuse(r, RAFT_ENOMEM, 0, r->offset, "no memory for the index");
    }
    effect.size = record->size;
    wal_index_add(r->index, &effect, &place);
    return RAFT_OK;
}

/* The record is in the window. */
static int replay_record(struct recovery *r, const struct wal_record *record)
{
    raft_write write;
    const uint8_t *body = r->window.bytes + (r->offset - r->window.start) + WAL_RECORD_HEAD;
    int result = make_room_for_ranges(r, record);
    if (result != RAFT_OK) {
        return result;
    }
    if (!wal_decode_body(record, body, r->ranges, &write)) {
        return refuse(r, RAFT_ECORRUPT, 0, r->offset, "the parts of a record do not add up");
    }
    result = index_record(r, record, &write);
    if (r->replay == NULL || result != RAFT_OK) {
        return result;
    }
    result = r->replay(r->ctx, record->group, &write);
    return result == 0 ? RAFT_OK
                       : refuse(r, result < 0 ? result : RAFT_ECORRUPT, 0, r->offset,
                                "the write does not fit those before it");
}

static int take_record(struct recovery *r, const struct wal_record *record)
{
    if ((record->flags & WAL_IS_MARK) == 0) {
        int result = replay_record(r, record);
        if (result != RAFT_OK) {
            return result;
        }
        r->found->writes++;
        r->found->moved += (record->flags & WAL_IS_MOVED) != 0;
    }
    if (record->batch != r->batch) {
        r->batch_start = r->offset;
    }
    r->sequence = record->sequence;
    r->batch = record->batch;
    r->batch_ended = (record->flags & WAL_ENDS_BATCH) != 0;
    r->offset += record->size;
    r->found->bytes += record->size;
    wal_index_note_end(r->index, r->tail->segment.number, r->offset);
    return RAFT_OK;
}

/* ---- The end of the last file --------------------------------------------------------------- */

/*
 * Looks at everything from an offset on in words, where a head may begin: *evidence is nonzero if
 * there is a head of a batch later than that, *other if there is anything but zeros.
 */
static int search(struct recovery *r, uint64_t from, uint64_t batch, int *evidence, int *other)
{
    int result = RAFT_OK;
    for (uint64_t at = from; at + 8 <= r->limit;) {
        uint64_t left = r->limit - at;
        size_t size = left < READ_BYTES ? (size_t)left : READ_BYTES;
        const uint8_t *bytes = view(r, at, size, &result);
        if (bytes == NULL) {
            return result;
        }
        if (all_zero(bytes, size)) {
            at += size;
            continue;
        }
        *other = 1;
        size_t i = 0;
        for (; i + WAL_RECORD_HEAD <= size; i += 8) {
            struct wal_record record;
            if (wal_decode_record(bytes + i, r->tail->seed, at + i, &record) &&
                record.batch > batch) {
                *evidence = 1;
                return RAFT_OK;
            }
        }
        at += i == 0 ? size : i;
    }
    return RAFT_OK;
}

/* Is there a sector of which [from, to) has a part, all zeros? */
static int has_lost_sector(const uint8_t *bytes, uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at < to;) {
        uint64_t end = (at / WAL_SECTOR + 1) * WAL_SECTOR;
        end = end < to ? end : to;
        if (all_zero(bytes + (at - from), (size_t)(end - at))) {
            return 1;
        }
        at = end;
    }
    return 0;
}

/* The third condition at the top, for the record, or where it is unknown the head, at r->offset. */
static int looks_torn(struct recovery *r, uint64_t size, int *result)
{
    const uint8_t *bytes = view(r, r->offset, size, result);
    if (bytes == NULL) {
        return 0;
    }
    return bytes[size - 1] == 0 || has_lost_sector(bytes, r->offset, r->offset + size);
}

static int note_torn(struct recovery *r)
{
    r->tail->is_dirty = 1;
    r->found->torn = 1;
    r->found->torn_offset = r->offset;
    memcpy(r->found->torn_file, r->file, sizeof r->found->torn_file);
    return RAFT_OK;
}

static const char *describe(enum verdict verdict)
{
    switch (verdict) {
    case RECORD_ABSENT:
        return "a record is missing: zeros where it should be, and later ones exist";
    case HEAD_BROKEN:
        return "the head of a record is damaged";
    case BODY_BROKEN:
        return "the body of a record is damaged";
    default:
        return "a record is not the one that belongs here";
    }
}

/*
 * Decides about the end of the last file. Where the last record ends its batch, the batch that is
 * broken is the one after it; else it is the same.
 */
static int judge_end(struct recovery *r, enum verdict verdict, const struct wal_record *record)
{
    uint64_t broken_batch = r->batch_ended ? r->batch + 1 : r->batch;
    int evidence = 0;
    int other = 0;
    int result = search(r, r->offset, broken_batch, &evidence, &other);
    if (result != RAFT_OK) {
        return result;
    }
    if (evidence || verdict == RECORD_WRONG) {
        return refuse(r, RAFT_ECORRUPT, 0, r->offset, describe(verdict));
    }
    if (verdict == RECORD_ABSENT) {
        return other || !r->batch_ended ? note_torn(r) : RAFT_OK;
    }
    uint64_t size = verdict == BODY_BROKEN ? record->size : WAL_RECORD_HEAD;
    if (!looks_torn(r, size, &result)) {
        return result != RAFT_OK ? result
                                 : refuse(r, RAFT_ECORRUPT, 0, r->offset, describe(verdict));
    }
    return note_torn(r);
}

/* ---- One file ------------------------------------------------------------------------------- */

static int end_segment(struct recovery *r, size_t i, enum verdict verdict,
                       const struct wal_record *record)
{
    if (i + 1 == r->count) {
        return judge_end(r, verdict, record);
    }
    if (r->offset != r->limit) {
        return refuse(r, RAFT_ECORRUPT, 0, r->offset, describe(verdict));
    }
    return RAFT_OK;
}

static int read_records(struct recovery *r, size_t i)
{
    const struct wal_segment *segment = &r->segments[i];
    struct wal_record record = {0};
    int result = RAFT_OK;
    r->offset = WAL_DATA_START;
    r->batch_start = WAL_DATA_START;
    r->limit = i + 1 < r->count ? r->segments[i + 1].previous_end : segment->size;
    enum verdict verdict = examine(r, &record, &result);
    while (verdict == RECORD_HOLDS) {
        result = take_record(r, &record);
        if (result != RAFT_OK) {
            return result;
        }
        verdict = examine(r, &record, &result);
    }
    return verdict == READ_FAILED ? result : end_segment(r, i, verdict, &record);
}

/* The file continues the counts of the one before it; the first one begins them. */
static int enter_segment(struct recovery *r, size_t i)
{
    const struct wal_segment *segment = &r->segments[i];
    int result = open_segment(r, i);
    if (result != RAFT_OK) {
        return result;
    }
    if (i > 0 &&
        (segment->first_sequence != r->sequence + 1 || segment->first_batch != r->batch + 1)) {
        return refuse(r, RAFT_ECORRUPT, 0, 56, "the file does not follow the one before it");
    }
    if (!wal_index_add_file(r->index, segment->number, r->seeds[i])) {
        return refuse(r, RAFT_ENOMEM, 0, 0, "no memory for the index");
    }
    r->sequence = segment->first_sequence - 1;
    r->batch = segment->first_batch - 1;
    r->batch_ended = 1;
    r->tail->segment = *segment;
    r->tail->seed = r->seeds[i];
    return RAFT_OK;
}

/*
 * The bytes of the last batch are written over themselves: where a failed sync made the kernel
 * forget that they are not on the disk, it is reminded. All earlier ones were synced with success.
 */
static int refresh_last_batch(struct recovery *r)
{
    uint64_t size = r->offset - r->batch_start;
    int result = RAFT_OK;
    while (size > 0) {
        size_t piece = size < READ_BYTES ? (size_t)size : READ_BYTES;
        const uint8_t *bytes = view(r, r->batch_start, piece, &result);
        if (bytes == NULL) {
            return result;
        }
        result = io_write_all(r->io, r->window.fd, bytes, piece, r->batch_start);
        if (result < 0) {
            return refuse(r, RAFT_ESTORAGE, result, r->batch_start, "the log cannot be written");
        }
        r->batch_start += piece;
        size -= piece;
    }
    return RAFT_OK;
}

static int make_durable(struct recovery *r, size_t i)
{
    int result = i + 1 == r->count ? refresh_last_batch(r) : RAFT_OK;
    if (result != RAFT_OK) {
        return result;
    }
    result = r->io->fdatasync(r->io->ctx, r->window.fd);
    return result < 0 ? refuse(r, RAFT_ESTORAGE, result, 0, "the log cannot be synced") : RAFT_OK;
}

static int read_segment(struct recovery *r, size_t i)
{
    int result = enter_segment(r, i);
    result = result == RAFT_OK ? read_records(r, i) : result;
    result = result == RAFT_OK && !r->options->read_only ? make_durable(r, i) : result;
    if (result == RAFT_OK && i + 1 == r->count) {
        r->tail->fd = r->window.fd;
        r->tail->offset = r->offset;
        r->window.fd = -1;
    }
    close_segment(r);
    return result;
}

/* ---- The whole ------------------------------------------------------------------------------ */

static int recover_all(struct recovery *r)
{
    int result = find_files(r);
    result = result == RAFT_OK ? read_heads(r) : result;
    for (size_t i = 0; i < r->count && result == RAFT_OK; i++) {
        result = read_segment(r, i);
    }
    r->found->segments = r->count;
    r->found->cluster = r->count > 0 ? r->cluster : 0;
    r->found->node = r->count > 0 ? r->node : 0;
    r->tail->next_sequence = r->sequence + 1;
    r->tail->next_batch = r->batch + 1;
    return result;
}

int wal_recover(const struct wal_options *options, wal_replay *replay, void *ctx,
                struct wal_error *error, struct wal_recovery *found, struct wal_tail *tail,
                struct wal_index *index)
{
    struct recovery recovery = {0};
    recovery.options = options;
    recovery.io = options->io;
    recovery.cluster = options->cluster;
    recovery.node = options->node;
    recovery.replay = replay;
    recovery.ctx = ctx;
    recovery.error = error;
    recovery.found = found;
    recovery.tail = tail;
    recovery.index = index;
    recovery.window.fd = -1;
    recovery.batch_ended = 1;
    memset(found, 0, sizeof *found);
    memset(tail, 0, sizeof *tail);
    tail->fd = -1;
    int result = recover_all(&recovery);
    if (result != RAFT_OK && tail->fd >= 0) {
        options->io->close(options->io->ctx, tail->fd);
        tail->fd = -1;
    }
    free(recovery.numbers);
    free(recovery.segments);
    free(recovery.seeds);
    free(recovery.window.bytes);
    free(recovery.ranges);
    return result;
}
