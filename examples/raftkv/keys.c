/*
 * The commands on the keyspace as a whole and on keys whatever they hold.
 */
#include "commands_internal.h"
#include "glob.h"

#define SCAN_COUNT_DEFAULT   10
#define SCAN_BUCKETS_PER_KEY 10 /* of empty table are searched for a key that was asked for */

int run_dbsize(const struct call *call)
{
    reply_integer(call->reply, (int64_t)store_count(call->store));
    return COMMAND_OK;
}

int run_exists(const struct call *call)
{
    int64_t present = 0;

    for (size_t i = 1; i < call->count; i++) {
        present += store_get(call->store, call->args[i], NULL);
    }
    reply_integer(call->reply, present);
    return COMMAND_OK;
}

int run_type(const struct call *call)
{
    reply_simple(call->reply, store_get(call->store, call->args[1], NULL) ? "string" : "none");
    return COMMAND_OK;
}

int run_del(const struct call *call)
{
    int64_t removed = 0;

    for (size_t i = 1; i < call->count; i++) {
        removed += store_delete(call->store, call->args[i]);
    }
    reply_integer(call->reply, removed);
    return COMMAND_OK;
}

/* Both words mean the same here: a flush never makes anybody wait. */
int check_flush(const struct call *call)
{
    if (call->count == 1 || (call->count == 2 && (slice_is(call->args[1], "async") ||
                                                  slice_is(call->args[1], "sync")))) {
        return 1;
    }
    reply_error(call->reply, ERROR_SYNTAX);
    return 0;
}

int run_flush(const struct call *call)
{
    store_flush(call->store);
    reply_simple(call->reply, "OK");
    return COMMAND_OK;
}

/* ---- Renaming ---- */

/* The expiry goes with the value. */
static int move_value(const struct call *call, struct slice value)
{
    uint64_t at_ms = store_expiry(call->store, call->args[1]);

    if (slice_equal(call->args[1], call->args[2])) {
        return COMMAND_OK;
    }
    if (store_put(call->store, call->args[2], value, at_ms) != STORE_OK) {
        return COMMAND_ENOMEM;
    }
    store_delete(call->store, call->args[1]);
    return COMMAND_OK;
}

int run_rename(const struct call *call)
{
    struct slice value;

    if (!store_get(call->store, call->args[1], &value)) {
        reply_error(call->reply, "ERR no such key");
        return COMMAND_OK;
    }
    reply_simple(call->reply, "OK");
    return move_value(call, value);
}

int run_renamenx(const struct call *call)
{
    struct slice value;
    int taken = store_get(call->store, call->args[2], NULL);

    if (!store_get(call->store, call->args[1], &value)) {
        reply_error(call->reply, "ERR no such key");
        return COMMAND_OK;
    }
    reply_integer(call->reply, !taken);
    return taken ? COMMAND_OK : move_value(call, value);
}

/* ---- Looking around: the order of the table shows here, so these are reads ---- */

int run_randomkey(const struct call *call)
{
    struct slice key;

    if (store_random_key(call->store, &key)) {
        reply_bulk(call->reply, key);
    } else {
        reply_null(call->reply);
    }
    return COMMAND_OK;
}

/* Keys on their way into a reply, whose head needs their number first. */
struct collection {
    struct slice pattern;
    int any_key; /* the pattern is "*" or absent */
    int no_key;  /* a type was asked for that we do not have */
    size_t visited;
    size_t count;
    struct buffer found; /* count bulks */
};

static void collect(void *arg, struct slice key, struct slice value)
{
    struct collection *collection = arg;

    (void)value;
    collection->visited++;
    if (collection->no_key || (!collection->any_key && !glob_match(collection->pattern, key, 0))) {
        return;
    }
    collection->count++;
    reply_bulk(&collection->found, key);
}

static void set_pattern(struct collection *collection, struct slice pattern)
{
    collection->pattern = pattern;
    collection->any_key = pattern.size == 1 && pattern.data[0] == '*';
}

static void begin_collection(struct collection *collection, const struct buffer *reply)
{
    *collection = (struct collection){.any_key = 1};
    collection->found.bytes_max = reply->bytes_max;
}

static void reply_collection(struct buffer *reply, struct collection *collection)
{
    reply_array(reply, collection->count);
    buffer_add(reply, buffer_bytes(&collection->found), buffer_size(&collection->found));
    reply->failed |= collection->found.failed;
    buffer_free(&collection->found);
}

int run_keys(const struct call *call)
{
    struct collection collection;

    begin_collection(&collection, call->reply);
    set_pattern(&collection, call->args[1]);
    store_each(call->store, collect, &collection);
    reply_collection(call->reply, &collection);
    return COMMAND_OK;
}

static int take_cursor(struct slice text, uint64_t *cursor)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return 0;
        }
        uint64_t digit = (uint64_t)(text.data[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return 0;
        }
        value = value * 10 + digit;
    }
    *cursor = value;
    return text.size > 0;
}

/* Takes one option with its value. Null, or the error. */
static const char *take_scan_option(struct slice word, struct slice value, int64_t *count,
                                    struct collection *collection)
{
    if (slice_is(word, "count")) {
        if (!slice_to_integer(value, count)) {
            return ERROR_NOT_INTEGER;
        }
        return *count < 1 ? ERROR_SYNTAX : NULL;
    }
    if (slice_is(word, "match")) {
        set_pattern(collection, value);
        return NULL;
    }
    if (slice_is(word, "type")) {
        collection->no_key = !slice_is(value, "string");
        return NULL;
    }
    return ERROR_SYNTAX;
}

static const char *take_scan_options(const struct call *call, int64_t *count,
                                     struct collection *collection)
{
    const char *error = NULL;

    for (size_t i = 2; i < call->count && error == NULL; i += 2) {
        error = i + 1 == call->count
                    ? ERROR_SYNTAX
                    : take_scan_option(call->args[i], call->args[i + 1], count, collection);
    }
    return error;
}

/* Visits buckets until enough keys were seen, or enough of an empty table, or all of it. */
static uint64_t scan_some(const struct call *call, uint64_t cursor, uint64_t count,
                          struct collection *collection)
{
    uint64_t buckets =
        count > UINT64_MAX / SCAN_BUCKETS_PER_KEY ? UINT64_MAX : count * SCAN_BUCKETS_PER_KEY;

    do {
        cursor = store_scan(call->store, cursor, collect, collection);
        buckets--;
    } while (cursor != 0 && buckets > 0 && collection->visited < count);
    return cursor;
}

int run_scan(const struct call *call)
{
    struct collection collection;
    int64_t count = SCAN_COUNT_DEFAULT;
    uint64_t cursor;
    const char *error;
    char text[INTEGER_TEXT_MAX];

    if (!take_cursor(call->args[1], &cursor)) {
        reply_error(call->reply, "ERR invalid cursor");
        return COMMAND_OK;
    }
    begin_collection(&collection, call->reply);
    error = take_scan_options(call, &count, &collection);
    if (error != NULL) {
        reply_error(call->reply, error);
        return COMMAND_OK;
    }
    cursor = scan_some(call, cursor, (uint64_t)count, &collection);
    struct slice next = {text, integer_to_text((int64_t)cursor, text)};
    reply_array(call->reply, 2);
    reply_bulk(call->reply, next);
    reply_collection(call->reply, &collection);
    return COMMAND_OK;
}
