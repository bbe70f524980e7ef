/*
 * Reading stored entries back.
 *
 * The index knows runs, not records: from the beginning of a run the reader goes from record to
 * record, past those of other groups, until it meets the one that holds the entry. Where the last
 * record read is of the same run and not beyond that entry, it goes on from there, so that reading
 * on costs what is read.
 *
 * What is met on the way was stored and verified before, by this process or when it opened the log.
 * So anything that does not hold now is damage, never a torn end.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "wal_read.h"

#include "crc32c.h"
#include "wal_recover.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define READ_BYTES ((uint64_t)128 * 1024)

void wal_reader_init(struct wal_reader *reader, const struct io *io, const char *directory)
{
    memset(reader, 0, sizeof *reader);
    reader->io = io;
    reader->directory = directory;
    reader->fd = -1;
}

static void close_file(struct wal_reader *reader)
{
    if (reader->fd >= 0) {
        reader->io->close(reader->io->ctx, reader->fd);
    }
    reader->fd = -1;
    reader->file = 0;
    reader->length = 0;
    reader->group = 0;
}

void wal_reader_free(struct wal_reader *reader)
{
    close_file(reader);
    free(reader->bytes);
    free(reader->ranges);
    reader->bytes = NULL;
    reader->ranges = NULL;
}

void wal_reader_release(struct wal_reader *reader, uint64_t oldest)
{
    if (reader->file < oldest) {
        close_file(reader);
    }
}

/* ---- The window ----------------------------------------------------------------------------- */

static int open_file(struct wal_reader *reader, uint64_t number)
{
    char name[WAL_FILE_NAME_MAX];
    char path[WAL_PATH_MAX];
    if (reader->file == number) {
        return RAFT_OK;
    }
    close_file(reader);
    wal_segment_name(number, name);
    wal_join_path(reader->directory, name, path);
    reader->fd = io_open_file(reader->io, path, O_RDONLY);
    reader->file = reader->fd < 0 ? 0 : number;
    return reader->fd < 0 ? RAFT_ESTORAGE : RAFT_OK;
}

static int grow_window(struct wal_reader *reader, uint64_t size)
{
    if (size <= reader->capacity) {
        return 1;
    }
    uint8_t *bytes = size > SIZE_MAX / 2 ? NULL : realloc(reader->bytes, (size_t)size);
    if (bytes == NULL) {
        return 0;
    }
    reader->bytes = bytes;
    reader->capacity = (size_t)size;
    return 1;
}

/*
 * Makes bytes visible that are within the stored part of the file. They stay until the next call;
 * a record that was read before them is forgotten, unless they are in the same window.
 */
static int view(struct wal_reader *reader, uint64_t end, uint64_t offset, uint64_t size,
                const uint8_t **out)
{
    if (offset > end || size > end - offset) {
        return RAFT_ECORRUPT;
    }
    if (offset < reader->start || offset - reader->start > reader->length ||
        size > reader->length - (offset - reader->start)) {
        uint64_t wanted = end - offset < READ_BYTES ? end - offset : READ_BYTES;
        wanted = wanted < size ? size : wanted;
        reader->length = 0;
        reader->group = 0;
        if (!grow_window(reader, wanted)) {
            return RAFT_ENOMEM;
        }
        long got = io_read_all(reader->io, reader->fd, reader->bytes, (size_t)wanted, offset);
        if (got < 0) {
            return RAFT_ESTORAGE;
        }
        if ((uint64_t)got < size) {
            return RAFT_ECORRUPT;
        }
        reader->start = offset;
        reader->length = (size_t)got;
    }
    *out = reader->bytes + (offset - reader->start);
    return RAFT_OK;
}

/* ---- Records -------------------------------------------------------------------------------- */

static int make_room_for_ranges(struct wal_reader *reader, const struct wal_record *record)
{
    size_t count = record->range_count;
    if (count > record->size / WAL_RECORD_RANGE) {
        return RAFT_ECORRUPT;
    }
    if (count <= reader->range_capacity) {
        return RAFT_OK;
    }
    raft_range *ranges = realloc(reader->ranges, count * sizeof *ranges);
    if (ranges == NULL) {
        return RAFT_ENOMEM;
    }
    reader->ranges = ranges;
    reader->range_capacity = count;
    return RAFT_OK;
}

static int read_head(struct wal_reader *reader, const struct wal_file *file, uint64_t offset,
                     struct wal_record *record)
{
    const uint8_t *head;
    int result = view(reader, file->end, offset, WAL_RECORD_HEAD, &head);
    if (result != RAFT_OK) {
        return result;
    }
    if (!wal_decode_record(head, file->seed, offset, record) || record->size < WAL_RECORD_MIN) {
        return RAFT_ECORRUPT;
    }
    return RAFT_OK;
}

/* Reads the record whose head is known, and remembers it. */
static int read_body(struct wal_reader *reader, const struct wal_file *file, uint64_t offset,
                     const struct wal_record *record)
{
    const uint8_t *whole;
    int result = view(reader, file->end, offset, record->size, &whole);
    result = result == RAFT_OK ? make_room_for_ranges(reader, record) : result;
    if (result != RAFT_OK) {
        return result;
    }
    const uint8_t *body = whole + WAL_RECORD_HEAD;
    if (crc32c(0, body, (size_t)record->size - WAL_RECORD_HEAD) != record->body_crc ||
        !wal_decode_body(record, body, reader->ranges, &reader->write)) {
        return RAFT_ECORRUPT;
    }
    reader->group = record->group;
    reader->offset = offset;
    reader->record = *record;
    return RAFT_OK;
}

/* The range of the record read last that holds an entry; null where none does. */
static const raft_range *range_with(const struct wal_reader *reader, raft_index entry)
{
    for (size_t i = 0; i < reader->write.range_count; i++) {
        const raft_range *range = &reader->write.ranges[i];
        if (range->first <= entry && entry - range->first < range->count) {
            return range;
        }
    }
    return NULL;
}

static int is_at_or_before(const struct wal_reader *reader, const struct wal_group *group,
                           const struct wal_run *run, raft_index entry)
{
    return reader->group == group->id && reader->file == run->file &&
           reader->offset >= run->offset && reader->write.range_count > 0 &&
           reader->write.ranges[0].first <= entry;
}

/* Reads the record that holds an entry of the run; *range is the one in it. */
static int seek(struct wal_reader *reader, const struct wal_index *index,
                const struct wal_group *group, const struct wal_run *run, raft_index entry,
                const raft_range **range)
{
    const struct wal_file *file = wal_index_file(index, run->file);
    struct wal_record record = {0};
    int result = open_file(reader, run->file);
    uint64_t offset = run->offset;
    if (result == RAFT_OK && is_at_or_before(reader, group, run, entry)) {
        *range = range_with(reader, entry);
        if (*range != NULL) {
            return RAFT_OK;
        }
        offset = reader->offset + reader->record.size;
    }
    for (; result == RAFT_OK; offset += record.size) {
        result = read_head(reader, file, offset, &record);
        if (result != RAFT_OK || record.group != group->id || record.range_count == 0) {
            continue;
        }
        result = read_body(reader, file, offset, &record);
        *range = result == RAFT_OK ? range_with(reader, entry) : NULL;
        if (*range != NULL) {
            return RAFT_OK;
        }
    }
    return result;
}

/* ---- Entries -------------------------------------------------------------------------------- */

/*
 * The part of a range from one entry to another, both within it, at most so many bytes. count 0:
 * the first does not fit, and size is what it needs. 0: the range is not well formed.
 */
static int cut(const raft_range *whole, raft_index first, raft_index last, size_t capacity,
               raft_range *part)
{
    raft_range rest = *whole;
    raft_entry entry;
    while (rest.first < first) {
        if (!raft_range_next(&rest, &entry)) {
            return 0;
        }
    }
    *part = rest;
    part->count = 0;
    part->size = 0;
    while (rest.count > 0 && rest.first <= last) {
        size_t before = rest.size;
        if (!raft_range_next(&rest, &entry)) {
            return 0;
        }
        size_t taken = before - rest.size;
        if (taken > capacity - part->size) {
            part->size = part->count == 0 ? taken : part->size;
            return 1;
        }
        part->size += taken;
        part->count++;
    }
    return part->count > 0;
}

int wal_reader_fetch(struct wal_reader *reader, const struct wal_index *index,
                     const struct wal_group *group, raft_fetch *fetch)
{
    uint8_t *out = fetch->data;
    raft_index next = fetch->first;
    int any_term = fetch->term == 0;
    fetch->count = 0;
    fetch->size = 0;
    if (group == NULL || wal_group_run(group, next) == NULL) {
        return RAFT_ESTATE;
    }
    while (next <= fetch->last) {
        const struct wal_run *run = wal_group_run(group, next);
        const raft_range *range;
        raft_range part;
        if (run == NULL) {
            break;
        }
        int result = seek(reader, index, group, run, next, &range);
        if (result != RAFT_OK) {
            return result;
        }
        raft_index end = group->last < fetch->last ? group->last : fetch->last;
        if (run + 1 < group->runs + group->run_count && run[1].first <= end) {
            end = run[1].first - 1;
        }
        fetch->term = fetch->term == 0 ? range->term : fetch->term;
        if (any_term && range->term != fetch->term) {
            break;
        }
        if (range->term != fetch->term ||
            !cut(range, next, end, fetch->capacity - fetch->size, &part)) {
            return RAFT_ECORRUPT;
        }
        if (part.count == 0) {
            fetch->size = fetch->count == 0 ? part.size : fetch->size;
            return fetch->count == 0 ? RAFT_ESIZE : RAFT_OK;
        }
        memcpy(out + fetch->size, part.data, part.size);
        fetch->size += part.size;
        fetch->count += part.count;
        next += part.count;
    }
    return RAFT_OK;
}

/* ---- All of a group ------------------------------------------------------------------------- */

static int add_data(struct wal_copy *copy, const raft_range *part)
{
    if (part->size > copy->capacity - copy->size) {
        size_t capacity = copy->capacity < 4096 ? 4096 : 2 * copy->capacity;
        capacity = capacity - copy->size < part->size ? copy->size + part->size : capacity;
        uint8_t *data = realloc(copy->data, capacity);
        if (data == NULL) {
            return RAFT_ENOMEM;
        }
        copy->data = data;
        copy->capacity = capacity;
    }
    memcpy(copy->data + copy->size, part->data, part->size);
    copy->size += part->size;
    return RAFT_OK;
}

/* Ranges of one term that are joined become one. Their data is set when all of it is there. */
static int add_range(struct wal_copy *copy, const raft_range *part)
{
    size_t count = copy->write.range_count;
    if (count > 0 && copy->ranges[count - 1].term == part->term) {
        raft_range *last = &copy->ranges[count - 1];
        last->count += part->count;
        last->size += part->size;
        return add_data(copy, part);
    }
    if (count == copy->range_capacity) {
        size_t capacity = count == 0 ? 4 : 2 * count;
        raft_range *ranges = realloc(copy->ranges, capacity * sizeof *ranges);
        if (ranges == NULL) {
            return RAFT_ENOMEM;
        }
        copy->ranges = ranges;
        copy->range_capacity = capacity;
    }
    copy->ranges[copy->write.range_count++] = *part;
    return add_data(copy, part);
}

static int copy_entries(struct wal_reader *reader, const struct wal_index *index,
                        const struct wal_group *group, struct wal_copy *copy)
{
    raft_index next = wal_group_first(group);
    while (next != 0 && next <= group->last) {
        const struct wal_run *run = wal_group_run(group, next);
        const raft_range *range;
        raft_range part;
        int result = run == NULL ? RAFT_ECORRUPT : seek(reader, index, group, run, next, &range);
        if (result != RAFT_OK) {
            return result;
        }
        raft_index end = group->last;
        if (run + 1 < group->runs + group->run_count) {
            end = run[1].first - 1;
        }
        if (!cut(range, next, end, SIZE_MAX, &part)) {
            return RAFT_ECORRUPT;
        }
        result = add_range(copy, &part);
        if (result != RAFT_OK) {
            return result;
        }
        next += part.count;
    }
    return RAFT_OK;
}

static int copy_meta(struct wal_reader *reader, const struct wal_index *index,
                     const struct wal_group *group, struct wal_copy *copy)
{
    struct wal_record record = {0};
    const struct wal_file *file = wal_index_file(index, group->meta_file);
    int result = open_file(reader, group->meta_file);
    result = result == RAFT_OK ? read_head(reader, file, group->meta_offset, &record) : result;
    result = result == RAFT_OK ? read_body(reader, file, group->meta_offset, &record) : result;
    if (result != RAFT_OK) {
        return result;
    }
    if (record.group != group->id || reader->write.meta == NULL) {
        return RAFT_ECORRUPT;
    }
    free(copy->meta);
    copy->meta = malloc(reader->write.meta_size + 1);
    if (copy->meta == NULL) {
        return RAFT_ENOMEM;
    }
    memcpy(copy->meta, reader->write.meta, reader->write.meta_size);
    copy->write.meta = copy->meta;
    copy->write.meta_size = reader->write.meta_size;
    copy->write.base_index = reader->write.base_index;
    copy->write.base_term = reader->write.base_term;
    copy->write.truncate_from = reader->write.base_index + 1;
    return RAFT_OK;
}

int wal_reader_copy(struct wal_reader *reader, const struct wal_index *index,
                    const struct wal_group *group, int with_data, struct wal_copy *copy)
{
    memset(&copy->write, 0, sizeof copy->write);
    copy->size = 0;
    copy->write.has_state = group->state_file != 0;
    copy->write.state = group->state;
    if (!with_data) {
        return RAFT_OK;
    }
    copy->write.truncate_from = wal_group_first(group);
    int result = group->meta_file != 0 ? copy_meta(reader, index, group, copy) : RAFT_OK;
    result = result == RAFT_OK ? copy_entries(reader, index, group, copy) : result;
    const uint8_t *data = copy->data;
    for (size_t i = 0; i < copy->write.range_count; i++) {
        copy->ranges[i].data = data;
        data += copy->ranges[i].size;
    }
    copy->write.ranges = copy->ranges;
    return result;
}

void wal_copy_free(struct wal_copy *copy)
{
    free(copy->meta);
    free(copy->ranges);
    free(copy->data);
    memset(copy, 0, sizeof *copy);
}
