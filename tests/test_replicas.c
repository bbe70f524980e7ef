/*
 * The same entries give the same state and the same replies everywhere (V8, V23): random writes,
 * transactions and ticks, applied by replicas with other secrets, with and without an audience, and
 * by some that were restored from a snapshot which was written while entries were applied.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "raftkv/transaction.h"

enum {
    ENTRIES = 12000,
    KEYS = 60,
    CHECK_EVERY = 97, /* entries between two comparisons of everything */
    WORDS_MAX = 8
};

static uint64_t random_state;

static unsigned random_below(unsigned bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((random_state >> 33) % bound);
}

static const char *pick(const char *const *words, size_t count)
{
    return words[random_below((unsigned)count)];
}

#define PICK(words) pick(words, sizeof words / sizeof words[0])

/* ---- Random commands ---- */

struct words {
    char text[WORDS_MAX][32];
    struct slice args[WORDS_MAX];
    size_t count;
};

static void add_word(struct words *words, const char *word)
{
    snprintf(words->text[words->count], sizeof words->text[0], "%s", word);
    words->args[words->count] = slice_of(words->text[words->count]);
    words->count++;
}

static void add_key(struct words *words)
{
    char key[32];

    snprintf(key, sizeof key, "key:%u", random_below(KEYS));
    add_word(words, key);
}

/* A word for a letter of a shape; small letters are words for commands. */
static void add_letter(struct words *words, char letter)
{
    static const char *const values[] = {"1", "-7",   "abc",
                                         "",  "0.25", "a longer value than others"};
    static const char *const numbers[] = {"1", "-5", "17", "40", "x", "9223372036854775807"};
    static const char *const units[] = {"EX", "PX", "PX", "PX"};
    static const char *const conditions[] = {"NX", "XX", "GT", "LT"};

    switch (letter) {
    case 'K':
        add_key(words);
        break;
    case 'V':
        add_word(words, PICK(values));
        break;
    case 'N':
        add_word(words, PICK(numbers));
        break;
    case 'U':
        add_word(words, PICK(units));
        break;
    case 'C':
        add_word(words, PICK(conditions));
        break;
    default:
        break;
    }
}

static void random_words(struct words *words, int with_reads)
{
    static const struct {
        const char *name;
        const char *shape;
    } writes[] = {
        {"SET", "KV"},         {"SET", "KVUN"},    {"SET", "KVC"},      {"SETEX", "KNV"},
        {"PSETEX", "KNV"},     {"GETEX", "KUN"},   {"GETEX", "K"},      {"GETSET", "KV"},
        {"GETDEL", "K"},       {"SETNX", "KV"},    {"MSET", "KVKV"},    {"MSETNX", "KVKV"},
        {"DEL", "KK"},         {"UNLINK", "K"},    {"APPEND", "KV"},    {"SETRANGE", "KNV"},
        {"INCR", "K"},         {"INCRBY", "KN"},   {"DECR", "K"},       {"DECRBY", "KN"},
        {"INCRBYFLOAT", "KN"}, {"RENAME", "KK"},   {"RENAMENX", "KK"},  {"EXPIRE", "KN"},
        {"PEXPIRE", "KN"},     {"PEXPIRE", "KNC"}, {"PEXPIREAT", "KN"}, {"PERSIST", "K"},
        {"PEXPIRE", "KN"},     {"PEXPIRE", "KN"},
    };
    static const struct {
        const char *name;
        const char *shape;
    } reads[] = {{"GET", "K"},     {"MGET", "KK"},  {"TTL", "K"},   {"PTTL", "K"},
                 {"EXISTS", "KK"}, {"STRLEN", "K"}, {"DBSIZE", ""}, {"PEXPIRETIME", "K"}};
    unsigned choice = random_below(sizeof writes / sizeof writes[0]);
    const char *name = writes[choice].name;
    const char *shape = writes[choice].shape;

    words->count = 0;
    if (with_reads && random_below(2) == 0) {
        choice = random_below(sizeof reads / sizeof reads[0]);
        name = reads[choice].name;
        shape = reads[choice].shape;
    } else if (random_below(1500) == 0) {
        name = "FLUSHALL";
        shape = "";
    }
    add_word(words, name);
    for (; *shape != '\0'; shape++) {
        add_letter(words, *shape);
    }
}

/* ---- Random entries ---- */

static uint64_t proposer_ms;

/* Clocks differ and jump: stamps are not in order. */
static uint64_t stamp(void)
{
    proposer_ms += random_below(4);
    return random_below(10) == 0 ? proposer_ms - random_below(30) : proposer_ms;
}

/* What some connection watched, as `seen` has it: maybe long before its transaction. */
static struct transaction queued;

static void random_transaction(const struct store *seen, struct buffer *entry)
{
    struct words words = {.count = 0};
    struct slice multi = {"MULTI", 5};
    unsigned commands = random_below(6);

    if (random_below(2) == 0) {
        add_word(&words, "WATCH");
        add_key(&words);
        add_key(&words);
        transaction_watch(&queued, seen, words.args, words.count, NULL);
    }
    if (random_below(3) == 0) {
        return; /* the transaction comes later, and what it watches may change */
    }
    CHECK_EQ(transaction_take(&queued, &multi, 1, NULL), TRANSACTION_ANSWERED);
    for (unsigned i = 0; i < commands; i++) {
        random_words(&words, 1);
        CHECK_EQ(transaction_take(&queued, words.args, words.count, NULL), TRANSACTION_ANSWERED);
    }
    CHECK(!queued.is_spoiled);
    CHECK_EQ(transaction_encode(&queued, stamp(), entry), COMMAND_OK);
    transaction_end(&queued);
}

/* More keys get one and the same time than an entry removes. */
static void same_time_for_many(struct buffer *entry)
{
    struct slice multi = {"MULTI", 5};
    char at[32];

    snprintf(at, sizeof at, "%llu", (unsigned long long)proposer_ms + 20);
    transaction_end(&queued);
    CHECK_EQ(transaction_take(&queued, &multi, 1, NULL), TRANSACTION_ANSWERED);
    for (unsigned i = 0; i < KEYS; i++) {
        struct words words = {.count = 0};

        add_word(&words, "SET");
        add_key(&words);
        add_word(&words, "v");
        add_word(&words, "PXAT");
        add_word(&words, at);
        CHECK_EQ(transaction_take(&queued, words.args, words.count, NULL), TRANSACTION_ANSWERED);
    }
    CHECK_EQ(transaction_encode(&queued, stamp(), entry), COMMAND_OK);
    transaction_end(&queued);
}

/* Adds an entry; leaves it empty now and then. */
static void random_entry(const struct store *seen, struct buffer *entry)
{
    struct words words;
    const struct command *command;

    if (random_below(100) == 0) {
        same_time_for_many(entry);
        return;
    }
    switch (random_below(8)) {
    case 0:
        if (random_below(4) == 0) { /* removes more, so only sometimes */
            CHECK_EQ(command_encode_tick(stamp(), entry), COMMAND_OK);
        }
        return;
    case 1:
    case 2:
        random_transaction(seen, entry);
        return;
    default:
        random_words(&words, 0);
        command = commands_check(words.args, words.count, NULL);
        if (command != NULL) {
            CHECK_EQ(command_encode(command, words.args, words.count, stamp(), entry), COMMAND_OK);
        }
    }
}

/* ---- The log and its replicas ---- */

struct log {
    struct buffer entries[ENTRIES];
    size_t count;
};

static struct log entries;

struct replica {
    struct store *store;
    size_t applied;
};

static void open_replica(struct replica *replica, unsigned number)
{
    uint8_t secret[16] = {(uint8_t)(number * 37 + 1), 9};

    replica->store = store_new(secret);
    CHECK(replica->store != NULL);
    replica->applied = 0;
}

static void apply_next(struct replica *replica, struct buffer *reply)
{
    const struct buffer *entry = &entries.entries[replica->applied];

    CHECK_EQ(command_apply(replica->store, buffer_bytes(entry), buffer_size(entry), reply),
             COMMAND_OK);
    replica->applied++;
}

static void check_same(const struct store *a, const struct store *b)
{
    CHECK_EQ(store_count(a), store_count(b));
    CHECK_EQ(store_bytes(a), store_bytes(b));
    CHECK_EQ(store_clock(a), store_clock(b));
    CHECK_EQ(store_next_expiry(a), store_next_expiry(b));
    CHECK_EQ(store_expiring_count(a), store_expiring_count(b));
    CHECK_EQ(store_digest(a), store_digest(b));
}

/* A snapshot that is written while its store goes on applying. */
struct transfer {
    struct store_view *view;
    struct buffer bytes;
    size_t index;
};

static void begin_transfer(struct transfer *transfer, struct replica *from)
{
    transfer->index = from->applied;
    transfer->view = store_snapshot_begin(from->store, from->applied);
    CHECK(transfer->view != NULL);
    buffer_clear(&transfer->bytes);
}

/* Takes a piece; when it was the last one the receiver starts again from what it got. */
static void go_on_with_transfer(struct transfer *transfer, struct replica *to)
{
    int more = store_snapshot_next(transfer->view, &transfer->bytes, random_below(1500));
    uint8_t secret[16] = {(uint8_t)random_below(256), 3};
    struct store_load *load;
    struct store *fresh;
    uint64_t index;

    CHECK(more >= 0);
    if (more > 0) {
        return;
    }
    store_snapshot_end(transfer->view);
    transfer->view = NULL;
    load = store_load_begin(secret);
    CHECK(load != NULL);
    for (size_t at = 0; at < buffer_size(&transfer->bytes);) {
        size_t left = buffer_size(&transfer->bytes) - at;
        size_t piece = 1 + random_below(300);

        piece = piece < left ? piece : left;
        CHECK_EQ(store_load_feed(load, buffer_bytes(&transfer->bytes) + at, piece), STORE_OK);
        at += piece;
    }
    CHECK_EQ(store_load_end(load, &fresh, &index), STORE_OK);
    CHECK_EQ(index, transfer->index);
    store_replace(to->store, fresh);
    to->applied = transfer->index;
}

static void check_replies(const struct buffer *a, const struct buffer *b)
{
    CHECK_EQ(buffer_size(a), buffer_size(b));
    CHECK(memcmp(buffer_bytes(a), buffer_bytes(b), buffer_size(a)) == 0);
}

/* The leader answers, one follower answers too (as a later leader would), one is silent, and one
 * lives on snapshots. */
static void run_seed(uint64_t seed)
{
    struct replica leader, answering, silent, restored;
    struct transfer transfer = {.view = NULL};
    struct buffer replies[2] = {{0}, {0}};
    unsigned transfers = 0;

    random_state = seed;
    proposer_ms = 100;
    entries.count = 0;
    open_replica(&leader, 1);
    open_replica(&answering, 2);
    open_replica(&silent, 3);
    open_replica(&restored, 4);
    while (entries.count < ENTRIES) {
        struct buffer *entry = &entries.entries[entries.count];

        buffer_clear(entry);
        random_entry(leader.store, entry);
        if (buffer_size(entry) == 0) {
            continue;
        }
        entries.count++;
        buffer_clear(&replies[0]);
        buffer_clear(&replies[1]);
        apply_next(&leader, &replies[0]);
        apply_next(&answering, &replies[1]);
        check_replies(&replies[0], &replies[1]);
        apply_next(&silent, NULL);
        if (transfer.view == NULL && random_below(8) == 0) {
            begin_transfer(&transfer, random_below(2) ? &leader : &silent);
        } else if (transfer.view != NULL && random_below(4) == 0) {
            go_on_with_transfer(&transfer, &restored);
            transfers += transfer.view == NULL;
        }
        if (entries.count % CHECK_EVERY == 0) {
            while (restored.applied < entries.count) {
                apply_next(&restored, NULL);
            }
            check_same(leader.store, answering.store);
            check_same(leader.store, silent.store);
            check_same(leader.store, restored.store);
        }
    }
    CHECK(transfers > 20);
    CHECK(store_count(leader.store) > 0);
    store_snapshot_end(transfer.view);
    buffer_free(&transfer.bytes);
    buffer_free(&replies[0]);
    buffer_free(&replies[1]);
    transaction_free(&queued);
    store_free(leader.store);
    store_free(answering.store);
    store_free(silent.store);
    store_free(restored.store);
}

static void the_same_entries_give_the_same_state_and_replies(void)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run_seed(seed);
    }
}

int main(void)
{
    RUN(the_same_entries_give_the_same_state_and_replies);
    for (size_t i = 0; i < ENTRIES; i++) {
        buffer_free(&entries.entries[i]);
    }
    return check_done();
}
