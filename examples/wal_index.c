/*
 * Where in the files of a log everything is that somebody may still need.
 *
 * Invariants:
 *   1. A file's pins are the group states, the metadata and the runs that are in it. The oldest
 *      file of the log is the first with a pin; all before it may be removed.
 *   2. The runs of a group have strictly rising firsts and no gap between them, and stand in the
 *      files in that order: a later record never holds an earlier entry, since whoever writes an
 *      index again has removed everything from there on. (A move writes all that is left.)
 *   3. What is removed from a log by truncation is removed by a later record. Files go from the
 *      oldest on, so the truncation never goes before what it has removed (row 60).
 */
#include "wal_index.h"

#include <stdlib.h>
#include <string.h>

#define RUN_BYTES  ((uint64_t)64 * 1024) /* a run is begun anew after that many bytes of file */
#define COST_MAX   ((uint64_t)1 << 60)
#define MOVE_BYTES ((uint64_t)(WAL_RECORD_MIN + WAL_RECORD_STATE + WAL_RECORD_BASE))

void wal_index_free(struct wal_index *index)
{
    for (size_t i = 0; i < index->group_count; i++) {
        free(index->groups[i].runs);
    }
    free(index->groups);
    free(index->slots);
    free(index->files);
    memset(index, 0, sizeof *index);
}

/* ---- Groups by id --------------------------------------------------------------------------- */

static size_t slot_of(const struct wal_index *index, uint64_t id)
{
    uint64_t hash = id * UINT64_C(0x9e3779b97f4a7c15);
    size_t slot = (size_t)(hash >> 32) & (index->slot_count - 1);
    while (index->slots[slot] != 0 && index->groups[index->slots[slot] - 1].id != id) {
        slot = (slot + 1) & (index->slot_count - 1);
    }
    return slot;
}

/* The group's position counted from 1, 0 where there is none. */
static size_t position_of(const struct wal_index *index, uint64_t id)
{
    return index->slot_count == 0 ? 0 : index->slots[slot_of(index, id)];
}

struct wal_group *wal_index_find(const struct wal_index *index, uint64_t id)
{
    size_t position = position_of(index, id);
    return position == 0 ? NULL : &index->groups[position - 1];
}

/* At most half of the slots are taken. */
static int make_slots(struct wal_index *index)
{
    if (2 * (index->group_count + 1) <= index->slot_count) {
        return 1;
    }
    size_t count = index->slot_count == 0 ? 16 : 2 * index->slot_count;
    size_t *slots = calloc(count, sizeof *slots);
    if (slots == NULL) {
        return 0;
    }
    free(index->slots);
    index->slots = slots;
    index->slot_count = count;
    for (size_t i = 0; i < index->group_count; i++) {
        slots[slot_of(index, index->groups[i].id)] = i + 1;
    }
    return 1;
}

static struct wal_group *add_group(struct wal_index *index, uint64_t id)
{
    if (index->group_count == index->group_capacity) {
        size_t capacity = index->group_capacity == 0 ? 8 : 2 * index->group_capacity;
        struct wal_group *groups = realloc(index->groups, capacity * sizeof *groups);
        if (groups == NULL) {
            return NULL;
        }
        index->groups = groups;
        index->group_capacity = capacity;
    }
    if (!make_slots(index)) {
        return NULL;
    }
    struct wal_group *group = &index->groups[index->group_count++];
    memset(group, 0, sizeof *group);
    group->id = id;
    index->slots[slot_of(index, id)] = index->group_count;
    return group;
}

/* ---- Files ---------------------------------------------------------------------------------- */

static struct wal_file *file_of(const struct wal_index *index, uint64_t number)
{
    if (number < index->first_file || number - index->first_file >= index->file_count) {
        return NULL;
    }
    return &index->files[number - index->first_file];
}

const struct wal_file *wal_index_file(const struct wal_index *index, uint64_t number)
{
    return file_of(index, number);
}

static uint64_t last_file(const struct wal_index *index)
{
    return index->first_file + index->file_count - 1;
}

/* Room for the files that the records on their way may be in, and one more. */
static int reserve_files(struct wal_index *index)
{
    size_t wanted = index->file_count + index->pending + 1;
    if (wanted <= index->file_capacity) {
        return 1;
    }
    size_t capacity = wanted < 8 ? 8 : 2 * wanted;
    struct wal_file *files = realloc(index->files, capacity * sizeof *files);
    if (files == NULL) {
        return 0;
    }
    index->files = files;
    index->file_capacity = capacity;
    return 1;
}

/* There is room for it. */
static void add_file(struct wal_index *index, uint64_t number, uint32_t seed)
{
    if (index->file_count == 0) {
        index->first_file = number;
    }
    while (index->file_count == 0 || last_file(index) < number) {
        struct wal_file *file = &index->files[index->file_count++];
        memset(file, 0, sizeof *file);
        file->end = WAL_DATA_START;
        file->seed = seed;
    }
}

int wal_index_add_file(struct wal_index *index, uint64_t number, uint32_t seed)
{
    if (!reserve_files(index)) {
        return 0;
    }
    add_file(index, number, seed);
    return 1;
}

void wal_index_note_end(struct wal_index *index, uint64_t number, uint64_t end)
{
    file_of(index, number)->end = end;
}

static void pin(struct wal_index *index, uint64_t number)
{
    file_of(index, number)->pins++;
}

static void unpin(struct wal_index *index, uint64_t number)
{
    struct wal_file *file = file_of(index, number);
    if (file != NULL) {
        file->pins--;
    }
}

uint64_t wal_index_oldest(const struct wal_index *index)
{
    size_t i = 0;
    while (i + 1 < index->file_count && index->files[i].pins == 0) {
        i++;
    }
    return index->first_file + i;
}

uint64_t wal_index_drop_files(struct wal_index *index, uint64_t oldest)
{
    uint64_t bytes = 0;
    size_t count = 0;
    while (count + 1 < index->file_count && index->first_file + count < oldest) {
        bytes += index->files[count].end - WAL_DATA_START;
        count++;
    }
    index->file_count -= count;
    index->first_file += count;
    if (count > 0) {
        memmove(index->files, index->files + count, index->file_count * sizeof *index->files);
    }
    return bytes;
}

/* ---- Runs ----------------------------------------------------------------------------------- */

static void drop_runs_from(struct wal_index *index, struct wal_group *group, raft_index from)
{
    while (group->run_count > 0 && group->runs[group->run_count - 1].first >= from) {
        unpin(index, group->runs[--group->run_count].file);
    }
    if (group->last >= from) {
        group->is_cut = group->run_count > 0;
        group->last = group->run_count == 0 ? 0 : from - 1;
    }
}

/* A run that holds anything from `first` on stays whole. */
static void drop_runs_below(struct wal_index *index, struct wal_group *group, raft_index first)
{
    size_t count = 0;
    while (count < group->run_count &&
           (count + 1 < group->run_count ? group->runs[count + 1].first <= first
                                         : group->last < first)) {
        unpin(index, group->runs[count].file);
        count++;
    }
    if (count > 0) {
        group->run_count -= count;
        memmove(group->runs, group->runs + count, group->run_count * sizeof *group->runs);
    }
    group->last = group->run_count == 0 ? 0 : group->last;
}

static int continues_run(const struct wal_group *group, const struct wal_effect *effect,
                         const struct wal_place *place)
{
    const struct wal_run *run = group->run_count == 0 ? NULL : &group->runs[group->run_count - 1];
    return run != NULL && effect->truncate_from == 0 && !effect->has_meta && !group->is_cut &&
           effect->first == group->last + 1 && run->file == place->file &&
           place->offset - run->offset < RUN_BYTES;
}

/* Whatever is written over is no longer there; behind a gap nothing before it is of use. */
static void add_entries(struct wal_index *index, struct wal_group *group,
                        const struct wal_effect *effect, const struct wal_place *place)
{
    int continues = continues_run(group, effect, place);
    if (effect->first <= group->last) {
        drop_runs_from(index, group, effect->first);
    } else if (effect->first != group->last + 1) {
        drop_runs_from(index, group, 0);
    }
    group->last = effect->first + (effect->count - 1);
    if (continues) {
        group->runs[group->run_count - 1].bytes += effect->size;
    } else {
        struct wal_run *run = &group->runs[group->run_count++];
        run->first = effect->first;
        run->file = place->file;
        run->offset = place->offset;
        run->bytes = effect->size;
        pin(index, place->file);
    }
    group->is_cut = 0;
    drop_runs_below(index, group, group->needed);
}

const struct wal_run *wal_group_run(const struct wal_group *group, raft_index entry)
{
    size_t low = 0;
    size_t high = group->run_count;
    if (entry == 0 || entry > group->last || high == 0 || group->runs[0].first > entry) {
        return NULL;
    }
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (group->runs[middle].first <= entry) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &group->runs[low];
}

raft_index wal_group_first(const struct wal_group *group)
{
    if (group->run_count == 0) {
        return 0;
    }
    return group->runs[0].first > group->needed ? group->runs[0].first : group->needed;
}

/* ---- Records -------------------------------------------------------------------------------- */

static uint64_t entries_of(const raft_write *write)
{
    uint64_t count = 0;
    for (size_t i = 0; i < write->range_count; i++) {
        count += write->ranges[i].count;
    }
    return count;
}

static int reserve_runs(struct wal_group *group)
{
    size_t wanted = group->run_count + group->pending + 1;
    if (wanted <= group->run_capacity) {
        return 1;
    }
    size_t capacity = group->run_capacity == 0 ? wanted : 2 * wanted;
    struct wal_run *runs = realloc(group->runs, capacity * sizeof *runs);
    if (runs == NULL) {
        return 0;
    }
    group->runs = runs;
    group->run_capacity = capacity;
    return 1;
}

int wal_index_expect(struct wal_index *index, uint64_t id, const raft_write *write,
                     struct wal_effect *effect)
{
    size_t position = position_of(index, id);
    struct wal_group *group = position != 0 ? &index->groups[position - 1] : add_group(index, id);
    if (group == NULL || !reserve_runs(group) || !reserve_files(index)) {
        return 0;
    }
    memset(effect, 0, sizeof *effect);
    effect->group = (size_t)(group - index->groups);
    effect->truncate_from = write->truncate_from;
    effect->count = entries_of(write);
    effect->first = effect->count > 0 ? write->ranges[0].first : 0;
    if (effect->count > UINT64_MAX - effect->first) {
        effect->first = 0; /* no such log: nothing of it will be read */
    }
    effect->base_index = write->base_index;
    effect->has_state = write->has_state;
    effect->has_meta = write->meta != NULL;
    if (write->has_state) {
        group->state = write->state;
    }
    group->pending++;
    index->pending++;
    return 1;
}

static void move_pin(struct wal_index *index, uint64_t *file, uint64_t to)
{
    if (*file != 0) {
        unpin(index, *file);
    }
    *file = to;
    if (to != 0) {
        pin(index, to);
    }
}

void wal_index_add(struct wal_index *index, const struct wal_effect *effect,
                   const struct wal_place *place)
{
    struct wal_group *group = &index->groups[effect->group];
    add_file(index, place->file, place->seed);
    wal_index_note_end(index, place->file, place->offset + effect->size);
    group->pending--;
    index->pending--;
    if (effect->has_state) {
        move_pin(index, &group->state_file, place->file);
    }
    if (effect->has_meta) {
        move_pin(index, &group->meta_file, place->file);
        group->meta_offset = place->offset;
        group->meta_bytes = effect->size;
        group->base_index = effect->base_index;
        drop_runs_from(index, group, 0);
    }
    if (effect->truncate_from > 0) {
        drop_runs_from(index, group, effect->truncate_from);
    }
    if (effect->first > 0) {
        add_entries(index, group, effect, place);
    }
}

void wal_index_trim(struct wal_index *index, struct wal_group *group, raft_index checkpoint,
                    raft_index first)
{
    raft_index needed = first < checkpoint ? first : checkpoint;
    if (group->meta_file != 0 && group->base_index < needed) {
        move_pin(index, &group->meta_file, 0);
    }
    if (needed > group->needed) {
        group->needed = needed;
        drop_runs_below(index, group, needed);
    }
}

void wal_index_forget(struct wal_index *index, struct wal_group *group)
{
    drop_runs_from(index, group, 0);
    move_pin(index, &group->meta_file, 0);
    move_pin(index, &group->state_file, 0);
    group->needed = 0;
}

/* ---- What is worth moving ------------------------------------------------------------------- */

uint64_t wal_group_bytes(const struct wal_group *group)
{
    uint64_t bytes = MOVE_BYTES;
    for (size_t i = 0; i < group->run_count; i++) {
        bytes += group->runs[i].bytes;
    }
    return bytes + (group->meta_file != 0 ? group->meta_bytes : 0);
}

/* 0: it has neither entries nor metadata that are needed. */
static uint64_t oldest_data(const struct wal_group *group)
{
    uint64_t run_file = group->run_count > 0 ? group->runs[0].file : 0;
    if (group->meta_file != 0 && (run_file == 0 || group->meta_file < run_file)) {
        return group->meta_file;
    }
    return run_file;
}

int wal_group_has_state_below(const struct wal_group *group, uint64_t file)
{
    return group->state_file != 0 && group->state_file < file;
}

int wal_group_has_data_below(const struct wal_group *group, uint64_t file)
{
    uint64_t oldest = oldest_data(group);
    return oldest != 0 && oldest < file;
}

static void add_cost(struct wal_index *index, uint64_t number, uint64_t cost)
{
    struct wal_file *file = file_of(index, number);
    if (file != NULL) {
        file->cost = cost < COST_MAX - file->cost ? file->cost + cost : COST_MAX;
    }
}

static void sum_up_costs(struct wal_index *index, uint64_t group_bytes_max)
{
    for (size_t i = 0; i < index->file_count; i++) {
        index->files[i].cost = 0;
    }
    for (size_t i = 0; i < index->group_count; i++) {
        const struct wal_group *group = &index->groups[i];
        add_cost(index, group->state_file, MOVE_BYTES);
        uint64_t bytes = wal_group_bytes(group);
        add_cost(index, oldest_data(group), bytes <= group_bytes_max ? bytes : COST_MAX);
    }
}

uint64_t wal_index_plan(struct wal_index *index, uint64_t group_bytes_max)
{
    uint64_t oldest = wal_index_oldest(index);
    uint64_t best = 0;
    uint64_t cost = 0;
    uint64_t gain = 0;
    sum_up_costs(index, group_bytes_max);
    for (size_t i = (size_t)(oldest - index->first_file);
         i + 1 < index->file_count && cost < COST_MAX; i++) {
        cost += index->files[i].cost;
        gain += index->files[i].end - WAL_DATA_START;
        if (cost <= gain / 2) {
            best = index->first_file + i + 1;
        }
    }
    return best;
}

uint64_t wal_index_holder(const struct wal_index *index)
{
    uint64_t oldest = wal_index_oldest(index);
    for (size_t i = 0; i < index->group_count && oldest < last_file(index); i++) {
        const struct wal_group *group = &index->groups[i];
        if (group->state_file == oldest || oldest_data(group) == oldest) {
            return group->id;
        }
    }
    return 0;
}
