/*
 * Sessions: a hash table by id, and a list by the entry that last used each.
 *
 * Invariants:
 *   1. Every session is in its bucket and in the list once; the list is ascending by `used`, and
 *      id <= used <= last_index.
 *   2. count <= count_max and bytes <= bytes_max, but within a call; bytes is the sum of the costs.
 *   3. begun is null, or the newest of the list: what makes room never takes it.
 *   4. Nothing but the entries applied decides what is kept. Neither the addresses nor the buckets
 *      show in what is saved.
 */
#include "session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SESSIONS_MAGIC         UINT32_C(0x5353454b) /* "KESS" */
#define SESSIONS_FORMAT        UINT32_C(1)
#define SESSIONS_COUNT_DEFAULT ((uint64_t)65536)
#define SESSIONS_BYTES_DEFAULT ((uint64_t)64 << 20)
#define SESSIONS_REPLY_DEFAULT ((uint64_t)64 << 10)
#define SESSIONS_REPLY_LIMIT   ((uint64_t)1 << 31)

enum { SESSIONS_BUCKETS_MIN = 16 };

struct session {
    uint64_t id;
    uint64_t number; /* of the last request executed; 0: none yet */
    raft_index used; /* by the entry at this index last */
    uint8_t *reply;  /* its answer; null where it is empty or not kept */
    size_t reply_size;
    int is_unkept; /* the answer was too large */
    struct session *older;
    struct session *newer;
    struct session *next; /* in the bucket */
};

struct sessions {
    struct sessions_limits limits;
    struct session **buckets;
    size_t bucket_count; /* a power of two */
    struct session *oldest;
    struct session *newest;
    size_t count;
    uint64_t bytes;
    raft_index last_index; /* of the last call that had one */
    struct session *begun; /* SESSIONS_NEW was said of its request begun_number */
    uint64_t begun_number;
};

/* ---- Limits --------------------------------------------------------------------------------- */

/* Fills in the defaults. Returns 0 where not even one session is allowed. */
static int complete_limits(const struct sessions_limits *given, struct sessions_limits *out)
{
    *out = given ? *given : (struct sessions_limits){0};
    if (out->count_max == 0) {
        out->count_max = SESSIONS_COUNT_DEFAULT;
    }
    if (out->bytes_max == 0) {
        out->bytes_max = SESSIONS_BYTES_DEFAULT;
    }
    if (out->bytes_max <= SESSIONS_COST) {
        return 0;
    }
    if (out->reply_bytes_max == 0) {
        uint64_t room = out->bytes_max - SESSIONS_COST;

        out->reply_bytes_max = room < SESSIONS_REPLY_DEFAULT ? room : SESSIONS_REPLY_DEFAULT;
    }
    return out->reply_bytes_max < SESSIONS_REPLY_LIMIT &&
           out->reply_bytes_max <= out->bytes_max - SESSIONS_COST;
}

/* ---- Table and list ------------------------------------------------------------------------- */

static size_t bucket_of(const struct sessions *table, uint64_t id)
{
    /* Ids are indexes, so neighbours are likely: the product spreads them. */
    return (size_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (table->bucket_count - 1);
}

static struct session *find_session(const struct sessions *table, uint64_t id)
{
    struct session *session = table->buckets[bucket_of(table, id)];

    while (session && session->id != id) {
        session = session->next;
    }
    return session;
}

/* Longer chains are slower and still right, so that a failure to grow is none. */
static void grow_buckets(struct sessions *table)
{
    size_t count = 2 * table->bucket_count;
    struct session **buckets;

    if (table->count < table->bucket_count || count > SIZE_MAX / 2 / sizeof(struct session *)) {
        return;
    }
    buckets = calloc(count, sizeof(struct session *));
    if (!buckets) {
        return;
    }
    free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = count;
    for (struct session *session = table->oldest; session; session = session->newer) {
        size_t bucket = bucket_of(table, session->id);

        session->next = buckets[bucket];
        buckets[bucket] = session;
    }
}

static void list_append(struct sessions *table, struct session *session)
{
    assert(!table->newest || table->newest->used <= session->used); /* 1 */
    session->newer = NULL;
    session->older = table->newest;
    if (table->newest) {
        table->newest->newer = session;
    } else {
        table->oldest = session;
    }
    table->newest = session;
}

static void list_remove(struct sessions *table, struct session *session)
{
    if (session->older) {
        session->older->newer = session->newer;
    } else {
        table->oldest = session->newer;
    }
    if (session->newer) {
        session->newer->older = session->older;
    } else {
        table->newest = session->older;
    }
}

static uint64_t cost_of(const struct session *session)
{
    return SESSIONS_COST + session->reply_size;
}

static void insert_session(struct sessions *table, struct session *session)
{
    size_t bucket;

    grow_buckets(table);
    bucket = bucket_of(table, session->id);
    session->next = table->buckets[bucket];
    table->buckets[bucket] = session;
    list_append(table, session);
    table->count++;
    table->bytes += cost_of(session);
}

static void free_session(struct session *session)
{
    free(session->reply);
    free(session);
}

static void end_session(struct sessions *table, struct session *session)
{
    struct session **link = &table->buckets[bucket_of(table, session->id)];

    while (*link != session) {
        link = &(*link)->next;
    }
    *link = session->next;
    list_remove(table, session);
    table->count--;
    table->bytes -= cost_of(session);
    free_session(session);
}

static void end_oldest(struct sessions *table)
{
    assert(!table->oldest->older);         /* 1 */
    assert(table->oldest != table->begun); /* 3 */
    end_session(table, table->oldest);
}

/* Ends sessions, the least recently used first, until one more of this cost would fit. */
static void make_room(struct sessions *table, size_t count, uint64_t cost)
{
    while (table->oldest && (table->count + count > table->limits.count_max ||
                             table->bytes + cost > table->limits.bytes_max)) {
        end_oldest(table);
    }
}

/* ---- Life ----------------------------------------------------------------------------------- */

int sessions_new(const struct sessions_limits *limits, struct sessions **out)
{
    struct sessions_limits complete;
    struct sessions *table;

    if (!out || !complete_limits(limits, &complete)) {
        return SESSIONS_EARG;
    }
    table = calloc(1, sizeof *table);
    if (!table) {
        return SESSIONS_ENOMEM;
    }
    table->limits = complete;
    table->bucket_count = SESSIONS_BUCKETS_MIN;
    table->buckets = calloc(table->bucket_count, sizeof(struct session *));
    if (!table->buckets) {
        free(table);
        return SESSIONS_ENOMEM;
    }
    *out = table;
    return SESSIONS_OK;
}

static void free_content(struct sessions *table)
{
    struct session *session = table->oldest;

    while (session) {
        struct session *newer = session->newer;

        free_session(session);
        session = newer;
    }
    free(table->buckets);
}

void sessions_free(struct sessions *table)
{
    if (table) {
        free_content(table);
        free(table);
    }
}

size_t sessions_count(const struct sessions *table)
{
    return table->count;
}

uint64_t sessions_bytes(const struct sessions *table)
{
    return table->bytes;
}

/* ---- Entries -------------------------------------------------------------------------------- */

static int is_in_order(const struct sessions *table, raft_index index)
{
    return index > 0 && index >= table->last_index && !table->begun;
}

int sessions_open(struct sessions *table, raft_index index)
{
    struct session *session;

    if (!is_in_order(table, index) || index == table->last_index) {
        return SESSIONS_EARG;
    }
    session = calloc(1, sizeof *session);
    if (!session) {
        return SESSIONS_ENOMEM;
    }
    session->id = index;
    session->used = index;
    table->last_index = index;
    make_room(table, 1, SESSIONS_COST);
    insert_session(table, session);
    return SESSIONS_OK;
}

static void use_session(struct sessions *table, struct session *session, raft_index index)
{
    list_remove(table, session);
    session->used = index;
    list_append(table, session);
}

int sessions_begin(struct sessions *table, raft_index index, uint64_t id, uint64_t number,
                   struct sessions_reply *reply)
{
    struct session *session;

    if (!is_in_order(table, index)) {
        return SESSIONS_EARG;
    }
    table->last_index = index;
    session = find_session(table, id);
    if (!session) {
        return SESSIONS_UNKNOWN; /* as if new, it might be executed for the second time */
    }
    use_session(table, session, index);
    if (number < session->number || number == 0) {
        return SESSIONS_STALE;
    }
    if (number > session->number) {
        table->begun = session;
        table->begun_number = number;
        return SESSIONS_NEW;
    }
    if (session->is_unkept) {
        return SESSIONS_UNKEPT;
    }
    if (reply) {
        *reply = (struct sessions_reply){session->reply, session->reply_size};
    }
    return SESSIONS_REPEAT;
}

int sessions_finish(struct sessions *table, const void *reply, size_t size)
{
    struct session *session = table->begun;
    int is_kept = size <= table->limits.reply_bytes_max;
    uint8_t *copy = NULL;

    if (!session || (size > 0 && !reply)) {
        return SESSIONS_EARG;
    }
    if (is_kept && size > 0) {
        copy = malloc(size);
        if (!copy) {
            return SESSIONS_ENOMEM;
        }
        memcpy(copy, reply, size);
    }
    table->bytes -= session->reply_size;
    free(session->reply);
    session->reply = copy;
    session->reply_size = 0;
    session->is_unkept = !is_kept;
    session->number = table->begun_number;
    make_room(table, 0, is_kept ? size : 0);
    session->reply_size = is_kept ? size : 0;
    table->bytes += session->reply_size;
    table->begun = NULL;
    return SESSIONS_OK;
}

int sessions_close(struct sessions *table, raft_index index, uint64_t id)
{
    struct session *session;

    if (!is_in_order(table, index)) {
        return SESSIONS_EARG;
    }
    table->last_index = index;
    session = find_session(table, id);
    if (!session) {
        return SESSIONS_UNKNOWN;
    }
    end_session(table, session);
    return SESSIONS_OK;
}

int sessions_expire(struct sessions *table, raft_index index, raft_index unused_since)
{
    if (!is_in_order(table, index)) {
        return SESSIONS_EARG;
    }
    table->last_index = index;
    while (table->oldest && table->oldest->used < unused_since) {
        end_oldest(table);
    }
    return SESSIONS_OK;
}

int sessions_limit(struct sessions *table, raft_index index, const struct sessions_limits *limits)
{
    struct sessions_limits complete;

    if (!is_in_order(table, index) || !complete_limits(limits, &complete)) {
        return SESSIONS_EARG;
    }
    table->last_index = index;
    table->limits = complete;
    make_room(table, 0, 0);
    return SESSIONS_OK;
}

/* ---- Saving --------------------------------------------------------------------------------- */

/*
 * All numbers little-endian. Head: magic and format (4 bytes each), count_max, bytes_max,
 * reply_bytes_max, last_index, count (8 each), 8 bytes of zero. Then the sessions, the least
 * recently used first: id, number, used (8 each), size of the answer, whether it was too large
 * (4 each), the answer.
 *
 * One walk writes, counts and sums up; out is null where nothing is to be written.
 */
struct sessions_sink {
    uint8_t *out;
    size_t size;
    uint64_t digest; /* FNV-1a */
};

static void sink_bytes(struct sessions_sink *sink, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        sink->digest = (sink->digest ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    if (sink->out && size > 0) {
        memcpy(sink->out + sink->size, data, size);
    }
    sink->size += size;
}

static void sink_number(struct sessions_sink *sink, uint64_t number, unsigned bytes)
{
    uint8_t encoded[8] = {0};

    for (unsigned i = 0; i < bytes; i++) {
        encoded[i] = (uint8_t)(number >> (8 * i));
    }
    sink_bytes(sink, encoded, bytes);
}

static void sink_table(struct sessions_sink *sink, const struct sessions *table)
{
    sink_number(sink, SESSIONS_MAGIC, 4);
    sink_number(sink, SESSIONS_FORMAT, 4);
    sink_number(sink, table->limits.count_max, 8);
    sink_number(sink, table->limits.bytes_max, 8);
    sink_number(sink, table->limits.reply_bytes_max, 8);
    sink_number(sink, table->last_index, 8);
    sink_number(sink, table->count, 8);
    sink_number(sink, 0, 8);
    for (const struct session *it = table->oldest; it; it = it->newer) {
        sink_number(sink, it->id, 8);
        sink_number(sink, it->number, 8);
        sink_number(sink, it->used, 8);
        sink_number(sink, it->reply_size, 4);
        sink_number(sink, it->is_unkept ? 1 : 0, 4);
        sink_bytes(sink, it->reply, it->reply_size);
    }
}

size_t sessions_saved_size(const struct sessions *table)
{
    uint64_t replies = table->bytes - table->count * SESSIONS_COST;

    return SESSIONS_HEAD_BYTES + table->count * SESSIONS_ITEM_BYTES + (size_t)replies;
}

size_t sessions_save(const struct sessions *table, void *out, size_t capacity)
{
    struct sessions_sink sink = {.out = out};

    if (table->begun || !out || capacity < sessions_saved_size(table)) {
        return 0;
    }
    sink_table(&sink, table);
    assert(sink.size == sessions_saved_size(table));
    return sink.size;
}

uint64_t sessions_digest(const struct sessions *table)
{
    struct sessions_sink sink = {.digest = UINT64_C(0xcbf29ce484222325)};

    sink_table(&sink, table);
    return sink.digest;
}

/* ---- Loading -------------------------------------------------------------------------------- */

struct sessions_source {
    const uint8_t *at;
    size_t left;
};

/* The caller has seen that so many bytes are left. */
static uint64_t take_number(struct sessions_source *source, unsigned bytes)
{
    uint64_t number = 0;

    assert(source->left >= bytes);
    for (unsigned i = bytes; i-- > 0;) {
        number = number << 8 | source->at[i];
    }
    source->at += bytes;
    source->left -= bytes;
    return number;
}

/* Reads the head into an empty table, and how many sessions are to follow. */
static int load_head(struct sessions *table, struct sessions_source *source, uint64_t *count)
{
    struct sessions_limits given, complete;
    uint64_t format;

    if (source->left < SESSIONS_HEAD_BYTES || take_number(source, 4) != SESSIONS_MAGIC) {
        return SESSIONS_ECORRUPT;
    }
    format = take_number(source, 4);
    if (format != SESSIONS_FORMAT) {
        return format > SESSIONS_FORMAT ? SESSIONS_EVERSION : SESSIONS_ECORRUPT;
    }
    given.count_max = take_number(source, 8);
    given.bytes_max = take_number(source, 8);
    given.reply_bytes_max = take_number(source, 8);
    if (!complete_limits(&given, &complete) || memcmp(&given, &complete, sizeof given) != 0) {
        return SESSIONS_ECORRUPT;
    }
    table->limits = complete;
    table->last_index = take_number(source, 8);
    *count = take_number(source, 8);
    return take_number(source, 8) == 0 ? SESSIONS_OK : SESSIONS_ECORRUPT;
}

/* Whether a session read from untrusted bytes can follow those in the table. */
static int fits(const struct sessions *table, const struct session *session)
{
    raft_index least = table->newest ? table->newest->used : 1;

    if (session->id == 0 || session->used < session->id || session->used < least ||
        session->used > table->last_index || find_session(table, session->id)) {
        return 0;
    }
    if (session->reply_size > 0 && (session->number == 0 || session->is_unkept)) {
        return 0;
    }
    return !(session->is_unkept && session->number == 0) &&
           table->count < table->limits.count_max &&
           cost_of(session) <= table->limits.bytes_max - table->bytes;
}

/* Reads one session, all but its answer. Returns 0 where the bytes are none. */
static int load_item(const struct sessions *table, struct sessions_source *source,
                     struct session *session)
{
    uint64_t unkept;

    if (source->left < SESSIONS_ITEM_BYTES) {
        return 0;
    }
    session->id = take_number(source, 8);
    session->number = take_number(source, 8);
    session->used = take_number(source, 8);
    session->reply_size = (size_t)take_number(source, 4);
    unkept = take_number(source, 4);
    session->is_unkept = unkept != 0;
    return unkept <= 1 && session->reply_size <= source->left && fits(table, session);
}

static int load_session(struct sessions *table, struct sessions_source *source)
{
    struct session item = {0};
    struct session *session;

    if (!load_item(table, source, &item)) {
        return SESSIONS_ECORRUPT;
    }
    session = malloc(sizeof *session);
    if (!session) {
        return SESSIONS_ENOMEM;
    }
    *session = item;
    if (item.reply_size > 0) {
        session->reply = malloc(item.reply_size);
        if (!session->reply) {
            free(session);
            return SESSIONS_ENOMEM;
        }
        memcpy(session->reply, source->at, item.reply_size);
        source->at += item.reply_size;
        source->left -= item.reply_size;
    }
    insert_session(table, session);
    return SESSIONS_OK;
}

static int load_table(struct sessions *table, struct sessions_source *source)
{
    uint64_t count = 0;
    int status = load_head(table, source, &count);

    for (uint64_t i = 0; i < count && status == SESSIONS_OK; i++) {
        status = load_session(table, source);
    }
    if (status == SESSIONS_OK && source->left > 0) {
        status = SESSIONS_ECORRUPT;
    }
    return status;
}

int sessions_load(struct sessions *table, const void *data, size_t size)
{
    struct sessions_source source = {data, size};
    struct sessions *loaded;
    struct sessions old = *table;
    int status;

    if (table->begun || (!data && size > 0)) {
        return SESSIONS_EARG;
    }
    status = sessions_new(NULL, &loaded);
    if (status == SESSIONS_OK) {
        status = load_table(loaded, &source);
        if (status == SESSIONS_OK) {
            *table = *loaded;
            *loaded = old;
        }
        sessions_free(loaded);
    }
    return status;
}
