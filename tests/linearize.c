/*
 * The search is that of Wing and Gong with the memory of Lowe: order the operations one by one,
 * each time one that no other, not yet ordered, returned before; go back where the store would have
 * answered differently; never try again from the same set of ordered operations with the same
 * value.
 *
 * Operations of unknown outcome would make that exponential, so they are tried last and only where
 * they can matter:
 *   1. One that is directly followed by a SET may as well never have happened. So none is ordered
 *      before a SET.
 *   2. INCRs of unknown outcome differ only in when they may first happen. So the one called first
 *      is used first.
 *   3. A GET of unknown outcome says nothing and is left out.
 *   4. Where one place was reached with some of them used, to reach it with those and others used
 *      is no better: nothing ever has to use them. So that is not tried any further.
 *   5. Whatever is ordered next after some of them returned, can be ordered now, and is no SET (1).
 *      So the value that they leave has to begin what a GET among those returned, or to be short
 *      enough for the length that an APPEND returned, unless it is a number.
 * And one rule for those that returned:
 *   6. A GET that can be ordered now and returned what the key holds now is ordered now: it changes
 *      nothing, and later is no better. So where there is one, nothing else is tried.
 * None of these rules hides an order: each turns any order that breaks it into one that keeps it.
 *
 * Sets of returned operations are remembered by a 128-bit sum. Two sets with the same sum would
 * make the search give up a branch too early: it could reject what is right (with a chance of about
 * one in 10^25), but never accept what is wrong.
 */
#include "linearize.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX ((uint64_t)200000000)

enum { UNKNOWN_MAX = 256 }; /* operations of unknown outcome of one key */

static void *need(void *memory)
{
    if (!memory) {
        fputs("linearize: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* ---- Values: every text once ---- */

struct text {
    size_t offset;
    size_t size;
};

struct value_table {
    char *bytes;
    size_t byte_count, byte_capacity;
    struct text *texts;
    uint32_t count, capacity;
    uint32_t *buckets; /* number + 1, or 0 */
    uint32_t bucket_count;
};

static uint64_t hash_text(const char *text, size_t size)
{
    uint64_t hash = size;

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    }
    return mix(hash);
}

static void place_value(struct value_table *table, uint32_t number)
{
    const struct text *text = &table->texts[number];
    uint64_t at = hash_text(table->bytes + text->offset, text->size);

    while (table->buckets[at & (table->bucket_count - 1)]) {
        at++;
    }
    table->buckets[at & (table->bucket_count - 1)] = number + 1;
}

static void grow_values(struct value_table *table)
{
    table->capacity = table->capacity ? 2 * table->capacity : 1024;
    table->texts = need(realloc(table->texts, table->capacity * sizeof *table->texts));
    free(table->buckets);
    table->bucket_count = 2 * table->capacity;
    table->buckets = need(calloc(table->bucket_count, sizeof *table->buckets));
    for (uint32_t i = 0; i < table->count; i++) {
        place_value(table, i);
    }
}

static void add_bytes(struct value_table *table, const char *text, size_t size)
{
    while (table->byte_capacity - table->byte_count < size) {
        table->byte_capacity = table->byte_capacity ? 2 * table->byte_capacity : 65536;
        table->bytes = need(realloc(table->bytes, table->byte_capacity));
    }
    if (size > 0) {
        memcpy(table->bytes + table->byte_count, text, size);
    }
    table->byte_count += size;
}

static int find_value(const struct value_table *table, const char *text, size_t size,
                      uint32_t *number)
{
    uint64_t at = hash_text(text, size);

    if (table->bucket_count == 0) {
        return 0;
    }
    for (;; at++) {
        uint32_t found = table->buckets[at & (table->bucket_count - 1)];

        if (!found) {
            return 0;
        }
        *number = found - 1;
        if (table->texts[*number].size == size &&
            !memcmp(table->bytes + table->texts[*number].offset, text, size)) {
            return 1;
        }
    }
}

static uint32_t value_number(struct value_table *table, const char *text, size_t size)
{
    uint32_t number;

    if (find_value(table, text, size, &number)) {
        return number;
    }
    if (table->count == table->capacity) {
        grow_values(table);
    }
    number = table->count++;
    table->texts[number] = (struct text){table->byte_count, size};
    add_bytes(table, text, size);
    place_value(table, number);
    return number;
}

static struct value_table *values_of(struct history *history)
{
    if (!history->values) {
        history->values = need(calloc(1, sizeof *history->values));
    }
    return history->values;
}

uint32_t history_value(struct history *history, const char *text, size_t size)
{
    return value_number(values_of(history), text, size);
}

/* ---- Histories ---- */

size_t history_add(struct history *history, const struct operation *operation)
{
    if (history->count == history->capacity) {
        history->capacity = history->capacity ? 2 * history->capacity : 1024;
        history->operations =
            need(realloc(history->operations, history->capacity * sizeof *history->operations));
    }
    history->operations[history->count] = *operation;
    return history->count++;
}

void history_free(struct history *history)
{
    if (history->values) {
        free(history->values->bytes);
        free(history->values->texts);
        free(history->values->buckets);
        free(history->values);
    }
    free(history->operations);
    *history = (struct history){0};
}

/* ---- The store that histories are compared with ---- */

static size_t value_size(const struct value_table *table, uint32_t value)
{
    return value == OPERATION_NO_VALUE ? 0 : table->texts[value].size;
}

/* Reads a value as a number; no value is 0. Returns 0 where it is none. */
static int value_as_number(const struct value_table *table, uint32_t value, int64_t *number)
{
    char text[32];
    char *end;
    size_t size = value_size(table, value);

    *number = 0;
    if (value == OPERATION_NO_VALUE) {
        return 1;
    }
    if (size == 0 || size >= sizeof text) {
        return 0;
    }
    memcpy(text, table->bytes + table->texts[value].offset, size);
    text[size] = '\0';
    *number = strtoll(text, &end, 10);
    return end == text + size;
}

static uint32_t number_as_value(struct value_table *table, int64_t number)
{
    char text[32];
    int size = snprintf(text, sizeof text, "%" PRId64, number);

    return value_number(table, text, (size_t)size);
}

static uint32_t joined_value(struct value_table *table, uint32_t head, uint32_t tail)
{
    size_t head_size = value_size(table, head);
    size_t size = head_size + value_size(table, tail);
    char *text = need(malloc(size + 1));
    uint32_t value;

    if (head_size > 0) {
        memcpy(text, table->bytes + table->texts[head].offset, head_size);
    }
    memcpy(text + head_size, table->bytes + table->texts[tail].offset, size - head_size);
    value = value_number(table, text, size);
    free(text);
    return value;
}

static int step_incr(struct value_table *table, uint32_t value, const struct operation *operation,
                     uint32_t *next)
{
    int64_t number;

    if (!value_as_number(table, value, &number)) {
        return 0;
    }
    if (operation->outcome == OPERATION_OK && operation->number != number + 1) {
        return 0;
    }
    *next = number_as_value(table, number + 1);
    return 1;
}

static int step_append(struct value_table *table, uint32_t value, const struct operation *operation,
                       uint32_t *next)
{
    size_t size = value_size(table, value) + value_size(table, operation->value);

    if (operation->outcome == OPERATION_OK && operation->number != (int64_t)size) {
        return 0;
    }
    *next = joined_value(table, value, operation->value);
    return 1;
}

/* Whether the operation can happen at a key with this value, and the value afterwards. */
static int step(struct value_table *table, uint32_t value, const struct operation *operation,
                uint32_t *next)
{
    *next = value;
    switch (operation->kind) {
    case OPERATION_GET:
        return operation->value == value;
    case OPERATION_SET:
        *next = operation->value;
        return 1;
    case OPERATION_INCR:
        return step_incr(table, value, operation, next);
    default:
        return step_append(table, value, operation, next);
    }
}

/* ---- The memory of the search ---- */

struct sum {
    uint64_t high;
    uint64_t low;
};

/* The operations of unknown outcome that are used, by their position. */
struct used {
    uint64_t words[UNKNOWN_MAX / 64];
};

/* One way to have reached a place, and the next one; 0 ends the chain. */
struct way {
    struct used used;
    uint32_t next;
};

/* A place: which returned operations are ordered, and the value then. */
struct place {
    struct sum sum; /* {0, 0}: free */
    uint32_t first_way;
};

struct seen {
    struct place *places; /* a table of open addresses */
    size_t capacity;
    size_t count;
    struct way *ways; /* from 1 */
    uint32_t way_count, way_capacity;
};

static struct place *seen_find(const struct seen *seen, struct sum sum)
{
    for (size_t at = (size_t)sum.low;; at++) {
        struct place *place = &seen->places[at & (seen->capacity - 1)];

        if ((place->sum.high == sum.high && place->sum.low == sum.low) ||
            (place->sum.high == 0 && place->sum.low == 0)) {
            return place;
        }
    }
}

static void seen_grow(struct seen *seen)
{
    struct seen larger = *seen;

    larger.capacity = seen->capacity ? 2 * seen->capacity : 4096;
    larger.places = need(calloc(larger.capacity, sizeof *larger.places));
    for (size_t i = 0; i < seen->capacity; i++) {
        if (seen->places[i].first_way) {
            *seen_find(&larger, seen->places[i].sum) = seen->places[i];
        }
    }
    free(seen->places);
    *seen = larger;
}

static uint32_t seen_new_way(struct seen *seen, const struct used *used, uint32_t next)
{
    if (seen->way_count + 1 >= seen->way_capacity) {
        seen->way_capacity = seen->way_capacity ? 2 * seen->way_capacity : 4096;
        seen->ways = need(realloc(seen->ways, seen->way_capacity * sizeof *seen->ways));
    }
    seen->ways[++seen->way_count] = (struct way){*used, next};
    return seen->way_count;
}

static int is_subset(const struct used *a, const struct used *b)
{
    for (size_t i = 0; i < UNKNOWN_MAX / 64; i++) {
        if (a->words[i] & ~b->words[i]) {
            return 0;
        }
    }
    return 1;
}

/* Returns 1 where no way that used as little leads to this place yet (rule 4). */
static int seen_add(struct seen *seen, struct sum sum, const struct used *used)
{
    struct place *place;

    if (2 * seen->count >= seen->capacity) {
        seen_grow(seen);
    }
    place = seen_find(seen, sum);
    for (uint32_t way = place->first_way; way; way = seen->ways[way].next) {
        if (is_subset(&seen->ways[way].used, used)) {
            return 0;
        }
    }
    seen->count += place->first_way == 0;
    place->sum = sum;
    place->first_way = seen_new_way(seen, used, place->first_way);
    return 1;
}

/* ---- The search ---- */

/* An operation of the key that is judged. Those that returned are linked in order of calls. */
struct item {
    const struct operation *operation;
    struct item *previous;
    struct item *next;
    struct sum sum;       /* of one that returned */
    size_t unknown_place; /* of one of unknown outcome: its position among them */
};

/* One operation has been ordered; `value` is what the key had before. */
struct frame {
    struct item *item;
    uint32_t value;
    uint8_t after_unknown; /* before it, an operation of unknown outcome was ordered last */
};

struct search {
    struct value_table *values;
    struct item head; /* of the linked list */
    struct item *items;
    size_t item_count;
    struct item **unknown; /* by their calls */
    size_t unknown_count;
    struct frame *frames;
    size_t depth;
    size_t returned_left;
    struct seen seen;
    struct sum sum; /* of those that returned and are ordered */
    struct used used;
    uint32_t value;
    int after_unknown;
    uint64_t steps;
    struct verdict *verdict;
};

static int is_known(const struct item *item)
{
    return item->operation->outcome == OPERATION_OK;
}

static int by_call(const void *left, const void *right)
{
    const struct operation *a = ((const struct item *)left)->operation;
    const struct operation *b = ((const struct item *)right)->operation;

    return a->called < b->called ? -1 : a->called > b->called;
}

/* Whether it can have had an effect, or says anything. */
static int matters(const struct operation *operation)
{
    return operation->outcome == OPERATION_OK ||
           (operation->outcome == OPERATION_UNKNOWN && operation->kind != OPERATION_GET);
}

static void link_items(struct search *search)
{
    struct item *last = &search->head;

    for (size_t i = 0; i < search->item_count; i++) {
        struct item *item = &search->items[i];

        item->sum = (struct sum){mix(2 * i), mix(2 * i + 1)};
        if (is_known(item)) {
            item->previous = last;
            last->next = item;
            last = item;
            search->returned_left++;
        } else {
            item->unknown_place = search->unknown_count;
            search->unknown[search->unknown_count++] = item;
        }
    }
    last->next = NULL;
}

/* The operations first..first + count - 1 of the history are those of one key. */
static void search_open(struct search *search, struct value_table *values,
                        const struct operation *const *operations, size_t count,
                        struct verdict *verdict)
{
    *search = (struct search){.values = values, .value = OPERATION_NO_VALUE, .verdict = verdict};
    search->items = need(calloc(count + 1, sizeof *search->items));
    search->unknown = need(calloc(count + 1, sizeof(struct item *)));
    search->frames = need(calloc(count + 1, sizeof *search->frames));
    for (size_t i = 0; i < count; i++) {
        if (matters(operations[i])) {
            search->items[search->item_count++].operation = operations[i];
        }
    }
    qsort(search->items, search->item_count, sizeof *search->items, by_call);
    link_items(search);
}

static void search_close(struct search *search)
{
    free(search->items);
    free(search->unknown);
    free(search->frames);
    free(search->seen.places);
    free(search->seen.ways);
}

/* The first return among those not ordered: whatever was called after it has to wait. */
static uint64_t first_return(const struct search *search, const struct item **which)
{
    uint64_t first = UINT64_MAX;

    for (const struct item *item = search->head.next; item && item->operation->called < first;
         item = item->next) {
        if (item->operation->returned < first) {
            first = item->operation->returned;
            *which = item;
        }
    }
    return first;
}

static uint64_t bit_of(const struct item *item)
{
    return (uint64_t)1 << item->unknown_place % 64;
}

static int is_used(const struct search *search, const struct item *item)
{
    return (search->used.words[item->unknown_place / 64] & bit_of(item)) != 0;
}

/* Adds an item to what is ordered, or takes it away. */
static void toggle(struct search *search, const struct item *item)
{
    if (is_known(item)) {
        search->sum.high ^= item->sum.high;
        search->sum.low ^= item->sum.low;
    } else {
        search->used.words[item->unknown_place / 64] ^= bit_of(item);
    }
}

static void unlink_item(struct search *search, const struct item *item)
{
    item->previous->next = item->next;
    if (item->next) {
        item->next->previous = item->previous;
    }
    search->returned_left--;
}

static void relink_item(struct search *search, struct item *item)
{
    item->previous->next = item;
    if (item->next) {
        item->next->previous = item;
    }
    search->returned_left++;
}

static void take(struct search *search, struct item *item, uint32_t next)
{
    search->frames[search->depth++] =
        (struct frame){item, search->value, (uint8_t)search->after_unknown};
    toggle(search, item);
    if (is_known(item)) {
        unlink_item(search, item);
    }
    search->value = next;
    search->after_unknown = !is_known(item);
}

static struct item *give_back(struct search *search)
{
    const struct frame *frame = &search->frames[--search->depth];

    toggle(search, frame->item);
    if (is_known(frame->item)) {
        relink_item(search, frame->item);
    }
    search->value = frame->value;
    search->after_unknown = frame->after_unknown;
    return frame->item;
}

static int is_new(struct search *search)
{
    struct sum sum = search->sum;
    uint64_t state = (uint64_t)search->value * 2 + (uint64_t)search->after_unknown;

    sum.high ^= mix(~state);
    sum.low ^= mix(state ^ 0x5bf03635u);
    return seen_add(&search->seen, sum, &search->used);
}

/* Orders an item if the store allows it and the place is new. */
static int try_item(struct search *search, struct item *item)
{
    uint32_t next;

    search->steps++;
    if (search->after_unknown && item->operation->kind == OPERATION_SET) {
        return 0; /* rule 1 */
    }
    if (!step(search->values, search->value, item->operation, &next)) {
        return 0;
    }
    take(search, item, next);
    if (is_new(search)) {
        return 1;
    }
    give_back(search);
    return 0;
}

static int try_known(struct search *search, struct item *from, uint64_t before)
{
    for (struct item *item = from; item && item->operation->called < before; item = item->next) {
        if (try_item(search, item)) {
            return 1;
        }
    }
    return 0;
}

static int begins(const struct value_table *table, uint32_t head, uint32_t whole)
{
    return value_size(table, head) <= value_size(table, whole) &&
           !memcmp(table->bytes + table->texts[head].offset,
                   table->bytes + table->texts[whole].offset, value_size(table, head));
}

/* Whether an operation that returned can follow this value, after more appending at most. */
static int can_follow(const struct value_table *table, uint32_t value,
                      const struct operation *operation)
{
    switch (operation->kind) {
    case OPERATION_GET:
        return operation->value != OPERATION_NO_VALUE && begins(table, value, operation->value);
    case OPERATION_APPEND:
        return (int64_t)(value_size(table, value) + value_size(table, operation->value)) <=
               operation->number;
    default:
        return 0;
    }
}

/* Rule 5, for a value that an operation of unknown outcome would leave. */
static int leads_somewhere(const struct search *search, uint32_t value, uint64_t before)
{
    int64_t number;

    if (value_as_number(search->values, value, &number)) {
        return 1;
    }
    for (const struct item *item = search->head.next; item && item->operation->called < before;
         item = item->next) {
        if (can_follow(search->values, value, item->operation)) {
            return 1;
        }
    }
    return 0;
}

static int try_unknown_item(struct search *search, struct item *item, uint64_t before)
{
    uint32_t value;

    return step(search->values, search->value, item->operation, &value) &&
           leads_somewhere(search, value, before) && try_item(search, item);
}

static int try_unknown(struct search *search, size_t from, uint64_t before)
{
    int incr_seen = 0;

    for (size_t i = 0; i < search->unknown_count; i++) {
        struct item *item = search->unknown[i];
        int is_incr = item->operation->kind == OPERATION_INCR;

        if (item->operation->called >= before) {
            break;
        }
        if (is_used(search, item) || (is_incr && incr_seen)) { /* rule 2 */
            continue;
        }
        incr_seen |= is_incr;
        if (i >= from && try_unknown_item(search, item, before)) {
            return 1;
        }
    }
    return 0;
}

/* A GET that fits where the search is; null: there is none. */
static struct item *fitting_get(const struct search *search, uint64_t before)
{
    for (struct item *item = search->head.next; item && item->operation->called < before;
         item = item->next) {
        if (item->operation->kind == OPERATION_GET && item->operation->value == search->value) {
            return item;
        }
    }
    return NULL;
}

/* Orders one more, beginning behind `after` (null: with the first). 0 where nothing fits. */
static int advance(struct search *search, struct item *after)
{
    const struct item *which = NULL;
    uint64_t before = first_return(search, &which);
    struct item *get = fitting_get(search, before);

    if (get) {
        return !after && try_item(search, get); /* rule 6 */
    }
    if (!after) {
        return try_known(search, search->head.next, before) || try_unknown(search, 0, before);
    }
    if (is_known(after)) {
        return try_known(search, after->next, before) || try_unknown(search, 0, before);
    }
    return try_unknown(search, after->unknown_place + 1, before);
}

/* Remembers the longest order, for the message. */
static void note_progress(struct search *search, size_t returned)
{
    const struct item *which = NULL;
    size_t explained = returned - search->returned_left;

    if (search->returned_left == 0) {
        return;
    }
    if (explained >= search->verdict->explained) {
        first_return(search, &which);
        search->verdict->explained = explained;
        search->verdict->returned = returned;
        search->verdict->stuck = *which->operation;
    }
}

static enum verdict_kind search_run(struct search *search)
{
    size_t returned = search->returned_left;
    struct item *after = NULL;

    search->verdict->explained = 0;
    if (search->unknown_count > UNKNOWN_MAX) {
        return VERDICT_GAVE_UP;
    }
    while (search->returned_left > 0) {
        if (search->steps > STEPS_MAX) {
            return VERDICT_GAVE_UP;
        }
        if (advance(search, after)) {
            after = NULL;
            continue;
        }
        if (!after) {
            note_progress(search, returned);
        }
        if (search->depth == 0) {
            return VERDICT_NOT_LINEARIZABLE;
        }
        after = give_back(search);
    }
    return VERDICT_LINEARIZABLE;
}

/* ---- All keys ---- */

static int by_key(const void *left, const void *right)
{
    const struct operation *a = *(const struct operation *const *)left;
    const struct operation *b = *(const struct operation *const *)right;

    return a->key < b->key ? -1 : a->key > b->key;
}

static void judge_key(struct history *history, const struct operation **operations, size_t count,
                      struct verdict *verdict)
{
    struct search search;

    search_open(&search, values_of(history), operations, count, verdict);
    verdict->key = operations[0]->key;
    verdict->kind = search_run(&search);
    verdict->steps += search.steps;
    search_close(&search);
}

struct verdict linearize(struct history *history)
{
    const struct operation **sorted =
        need(malloc((history->count + 1) * sizeof(struct operation *)));
    struct verdict verdict = {.kind = VERDICT_LINEARIZABLE};

    for (size_t i = 0; i < history->count; i++) {
        sorted[i] = &history->operations[i];
    }
    qsort(sorted, history->count, sizeof *sorted, by_key);
    for (size_t first = 0, end; first < history->count; first = end) {
        for (end = first; end < history->count && sorted[end]->key == sorted[first]->key; end++) {
        }
        judge_key(history, sorted + first, end - first, &verdict);
        if (verdict.kind != VERDICT_LINEARIZABLE) {
            break;
        }
    }
    free(sorted);
    return verdict;
}

static void describe_value(const struct history *history, uint32_t value, char out[40])
{
    if (value == OPERATION_NO_VALUE || !history->values) {
        snprintf(out, 40, "nothing");
    } else {
        const struct text *text = &history->values->texts[value];

        snprintf(out, 40, "'%.*s'%s", (int)(text->size < 30 ? text->size : 30),
                 history->values->bytes + text->offset, text->size > 30 ? "..." : "");
    }
}

int operation_describe(const struct history *history, const struct operation *operation, char *out,
                       size_t size)
{
    static const char *const kinds[] = {"GET", "SET", "INCR", "APPEND"};
    static const char *const outcomes[] = {"ok", "failed", "unknown"};
    char value[40];

    describe_value(
        history, operation->kind == OPERATION_INCR ? OPERATION_NO_VALUE : operation->value, value);
    return snprintf(out, size, "client %u, key %u, called %llu, returned %llu: %s %s %s -> %lld",
                    (unsigned)operation->client, (unsigned)operation->key,
                    (unsigned long long)operation->called, (unsigned long long)operation->returned,
                    kinds[operation->kind], value, outcomes[operation->outcome],
                    (long long)operation->number);
}
