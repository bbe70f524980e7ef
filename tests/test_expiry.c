/*
 * Expiry: what a key's time does to it, who decides what time it is, and in which order keys go.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "raftkv/commands.h"

static const uint8_t secret[16] = {7};
static struct store *store;
static uint64_t now_ms;    /* the proposer's clock */
static uint64_t reader_ms; /* the reader's */

static uint64_t random_state = 99;

static unsigned random_below(unsigned bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((random_state >> 33) % bound);
}

static void begin(void)
{
    store_free(store);
    store = store_new(secret);
    CHECK(store != NULL);
    now_ms = 1000000;
    reader_ms = 0;
}

/* ---- Requests ---- */

static void execute(const struct slice *args, size_t count, struct buffer *reply)
{
    const struct command *command = commands_check(args, count, reply);
    struct buffer entry = {0};

    if (command == NULL) {
        return;
    }
    if (command->kind == COMMAND_READ) {
        command_read(store, command, args, count, reader_ms, reply);
        return;
    }
    CHECK_EQ(command->kind, COMMAND_WRITE);
    CHECK_EQ(command_encode(command, args, count, now_ms, &entry), COMMAND_OK);
    CHECK_EQ(command_apply(store, buffer_bytes(&entry), buffer_size(&entry), reply), COMMAND_OK);
    buffer_free(&entry);
}

static void check_reply(const char *line, const char *expected, const char *file, int at)
{
    struct resp_parser parser;
    struct buffer reply = {0};
    char text[1024];
    int size = snprintf(text, sizeof text, "%s\n", line);

    resp_parser_init(&parser);
    CHECK_EQ(resp_parse(&parser, text, (size_t)size), RESP_REQUEST);
    execute(parser.args, parser.arg_count, &reply);
    buffer_add(&reply, "", 1);
    snprintf(text, sizeof text, "%s", buffer_bytes(&reply));
    resp_parser_free(&parser);
    buffer_free(&reply);
    check_string(text, expected, line, file, at);
}

/* The last line end is implied. */
#define EXPECT(line, expected) check_reply(line, expected "\r\n", __FILE__, __LINE__)

#define NIL     "$-1"
#define SYNTAX  "-ERR syntax error"
#define INTEGER "-ERR value is not an integer or out of range"
#define INVALID "-ERR invalid expire time in "

/* Lets the proposer's clock go on by so much, and the store learn of it by some write. */
static void pass(uint64_t ms)
{
    struct buffer tick = {0};

    now_ms += ms;
    CHECK_EQ(command_encode_tick(now_ms, &tick), COMMAND_OK);
    CHECK_EQ(command_apply(store, buffer_bytes(&tick), buffer_size(&tick), NULL), COMMAND_OK);
    buffer_free(&tick);
}

/* ---- Keys and their time ---- */

static void a_key_is_there_until_its_time_and_not_after(void)
{
    begin();
    EXPECT("SET k v PX 500", "+OK");
    pass(500);
    EXPECT("GET k", "$1\r\nv");
    EXPECT("PTTL k", ":0");
    pass(1);
    EXPECT("GET k", NIL);
    EXPECT("EXISTS k", ":0");
    EXPECT("TTL k", ":-2");
    EXPECT("STRLEN k", ":0");
    EXPECT("TYPE k", "+none");
    EXPECT("DEL k", ":0");
    EXPECT("DBSIZE", ":0");
    EXPECT("TTL none", ":-2");
    EXPECT("SET k v", "+OK");
    EXPECT("TTL k", ":-1");
    EXPECT("PTTL k", ":-1");
    EXPECT("EXPIRETIME k", ":-1");
    EXPECT("PEXPIRETIME none", ":-2");
}

static void a_time_can_be_given_in_four_ways(void)
{
    begin();
    EXPECT("SET k v EX 10", "+OK");
    EXPECT("PEXPIRETIME k", ":1010000");
    EXPECT("SET k v PX 10", "+OK");
    EXPECT("PEXPIRETIME k", ":1000010");
    EXPECT("SET k v EXAT 1010", "+OK");
    EXPECT("PEXPIRETIME k", ":1010000");
    EXPECT("SET k v PXAT 1000499", "+OK");
    EXPECT("PEXPIRETIME k", ":1000499");
    EXPECT("EXPIRETIME k", ":1000");
    EXPECT("SET k v PXAT 1000500", "+OK");
    EXPECT("EXPIRETIME k", ":1001");
    EXPECT("EXPIRE k 10", ":1");
    EXPECT("PEXPIRETIME k", ":1010000");
    EXPECT("PEXPIRE k 10", ":1");
    EXPECT("PEXPIRETIME k", ":1000010");
    EXPECT("EXPIREAT k 1010", ":1");
    EXPECT("PEXPIRETIME k", ":1010000");
    EXPECT("PEXPIREAT k 1000010", ":1");
    EXPECT("PEXPIRETIME k", ":1000010");
    EXPECT("SETEX k 10 v", "+OK");
    EXPECT("TTL k", ":10");
    EXPECT("PSETEX k 10 v", "+OK");
    EXPECT("PTTL k", ":10");
    EXPECT("GETEX k EX 20", "$1\r\nv");
    EXPECT("TTL k", ":20");
    EXPECT("EXPIRE none 10", ":0");
}

static void what_replaces_a_value_takes_its_time_away(void)
{
    static const char *const writes[] = {"SET k 1", "GETSET k 1", "MSET k 1", "RENAME other k"};
    static const char *const edits[] = {
        "APPEND k 1",      "SETRANGE k 0 1",        "INCR k", "INCRBY k 5", "INCRBYFLOAT k 0.5",
        "SET k 1 KEEPTTL", "SET k 1 XX GET KEEPTTL"};
    struct buffer reply = {0};

    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        begin();
        EXPECT("SET k 1 EX 100", "+OK");
        EXPECT("SET other 1", "+OK");
        struct slice args[3];
        char text[64];
        size_t count = 0;
        snprintf(text, sizeof text, "%s", writes[i]);
        for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
            args[count++] = slice_of(word);
        }
        execute(args, count, &reply);
        EXPECT("TTL k", ":-1");
    }
    for (size_t i = 0; i < sizeof edits / sizeof edits[0]; i++) {
        begin();
        EXPECT("SET k 1 EX 100", "+OK");
        struct slice args[6];
        char text[64];
        size_t count = 0;
        snprintf(text, sizeof text, "%s", edits[i]);
        for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
            args[count++] = slice_of(word);
        }
        execute(args, count, &reply);
        EXPECT("TTL k", ":100");
    }
    buffer_free(&reply);
}

static void a_time_goes_with_its_value(void)
{
    begin();
    EXPECT("SET a v EX 100", "+OK");
    EXPECT("RENAME a b", "+OK");
    EXPECT("TTL b", ":100");
    EXPECT("RENAME b b", "+OK");
    EXPECT("TTL b", ":100");
    EXPECT("RENAMENX b c", ":1");
    EXPECT("TTL c", ":100");
    EXPECT("SET d v", "+OK");
    EXPECT("RENAME d c", "+OK");
    EXPECT("TTL c", ":-1");
    EXPECT("SET e v PX 5", "+OK"); /* and a key that is gone is not in the way */
    pass(6);
    EXPECT("RENAMENX c e", ":1");
    EXPECT("TTL e", ":-1");
    EXPECT("RENAME nothing e", "-ERR no such key");
}

static void a_time_in_the_past_deletes(void)
{
    static const char *const deleting[] = {
        "EXPIRE k 0",    "EXPIRE k -1",         "PEXPIRE k -5",  "EXPIREAT k 1",
        "EXPIREAT k -1", "PEXPIREAT k 1000000", "PEXPIREAT k 0", "EXPIRE k -9223372036854775"};

    for (size_t i = 0; i < sizeof deleting / sizeof deleting[0]; i++) {
        begin();
        EXPECT("SET k v EX 100", "+OK");
        check_reply(deleting[i], ":1\r\n", __FILE__, __LINE__);
        EXPECT("EXISTS k", ":0");
        CHECK_EQ(store_count(store), 0);
    }
    begin();
    EXPECT("SET k v", "+OK");
    EXPECT("GETEX k PXAT 5", "$1\r\nv");
    EXPECT("EXISTS k", ":0");
    EXPECT("SET k v PXAT 5", "+OK"); /* a SET that comes too late */
    EXPECT("GET k", NIL);
}

static void times_that_cannot_be_are_refused(void)
{
    begin();
    EXPECT("SET k v EX 0", INVALID "'set' command");
    EXPECT("SET k v PX -1", INVALID "'set' command");
    EXPECT("SET k v EXAT 0", INVALID "'set' command");
    EXPECT("SET k v PXAT -5", INVALID "'set' command");
    EXPECT("SET k v EX 9223372036854776", INVALID "'set' command");
    EXPECT("SET k v PX 9223372036854775807", INVALID "'set' command");
    EXPECT("SET k v EX 9223372036854775", INVALID "'set' command");
    EXPECT("SET k v EX x", INTEGER);
    EXPECT("SET k v EX 1.5", INTEGER);
    EXPECT("SET k v EX", SYNTAX);
    EXPECT("SETEX k 0 v", INVALID "'setex' command");
    EXPECT("SETEX k x v", INTEGER);
    EXPECT("PSETEX k -1 v", INVALID "'psetex' command");
    EXPECT("PSETEX k 9223372036854775807 v", INVALID "'psetex' command");
    EXPECT("EXISTS k", ":0");
    EXPECT("EXPIRE k 9223372036854776", INVALID "'expire' command");
    EXPECT("EXPIRE k -9223372036854776", INVALID "'expire' command");
    EXPECT("EXPIRE k 9223372036854775", INVALID "'expire' command");
    EXPECT("PEXPIRE k 9223372036854775807", INVALID "'pexpire' command");
    EXPECT("EXPIREAT k 9223372036854776", INVALID "'expireat' command");
    EXPECT("EXPIRE k x", INTEGER);
    EXPECT("GETEX k EX 0", NIL);
    EXPECT("SET k v PXAT 9223372036854775807", "+OK");
    EXPECT("PEXPIRETIME k", ":9223372036854775807");
    EXPECT("GETEX k EX 0", INVALID "'getex' command");
    EXPECT("GETEX k PX 9223372036854775807", INVALID "'getex' command");
    EXPECT("PEXPIREAT k 9223372036854775807", ":1");
    EXPECT("PEXPIRE k -9223372036854775808", ":1");
    EXPECT("EXISTS k", ":0");
}

static void options_that_contradict_each_other_are_refused(void)
{
    static const char *const bad[] = {"SET k v EX 10 PX 10",
                                      "SET k v EX 10 KEEPTTL",
                                      "SET k v KEEPTTL EX 10",
                                      "SET k v EX 10 EXAT 5",
                                      "SET k v PERSIST",
                                      "SET k v PXAT 5 PX 10",
                                      "GETEX k KEEPTTL",
                                      "GETEX k EX 10 PERSIST",
                                      "GETEX k PERSIST EX 10",
                                      "GETEX k NX",
                                      "GETEX k EX",
                                      "GETEX k EX 10 PX 10"};

    begin();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        check_reply(bad[i], SYNTAX "\r\n", __FILE__, __LINE__);
    }
    EXPECT("EXPIRE k 10 NX XX",
           "-ERR NX and XX, GT or LT options at the same time are not compatible");
    EXPECT("EXPIRE k 10 GT NX",
           "-ERR NX and XX, GT or LT options at the same time are not compatible");
    EXPECT("EXPIRE k 10 GT LT", "-ERR GT and LT options at the same time are not compatible");
    EXPECT("EXPIRE k 10 AB", "-ERR Unsupported option AB");
    EXPECT("EXPIRE k x AB", "-ERR Unsupported option AB");
    EXPECT("SET k v EX 10 EX 20 NX", "+OK");
    EXPECT("TTL k", ":20");
}

static void conditions_of_expire(void)
{
    begin();
    EXPECT("SET k v", "+OK");
    EXPECT("EXPIRE k 10 XX", ":0");
    EXPECT("EXPIRE k 10 GT", ":0"); /* for ever is longest */
    EXPECT("EXPIRE k 100 LT", ":1");
    EXPECT("EXPIRE k 50 GT", ":0");
    EXPECT("EXPIRE k 100 GT", ":0");
    EXPECT("EXPIRE k 200 XX GT", ":1");
    EXPECT("EXPIRE k 300 LT", ":0");
    EXPECT("EXPIRE k 200 LT", ":0");
    EXPECT("EXPIRE k 300 NX", ":0");
    EXPECT("TTL k", ":200");
    EXPECT("PERSIST k", ":1");
    EXPECT("PERSIST k", ":0");
    EXPECT("PERSIST none", ":0");
    EXPECT("EXPIRE k 300 NX", ":1");
    EXPECT("EXPIRE k -1 NX", ":0");
    EXPECT("EXPIRE k -1 LT", ":1");
    EXPECT("EXISTS k", ":0");
}

static void getex_only_looks_without_an_option(void)
{
    begin();
    EXPECT("GETEX k", NIL);
    EXPECT("SET k v EX 100", "+OK");
    EXPECT("GETEX k", "$1\r\nv");
    EXPECT("TTL k", ":100");
    EXPECT("GETEX k PERSIST", "$1\r\nv");
    EXPECT("TTL k", ":-1");
    EXPECT("GETEX k PERSIST", "$1\r\nv");
}

/* ---- Whose clock ---- */

static void time_never_goes_back(void)
{
    begin();
    EXPECT("SET k v PX 100", "+OK");
    now_ms += 200;
    EXPECT("SET other v", "+OK"); /* any entry lets time pass */
    EXPECT("GET k", NIL);
    now_ms -= 10000; /* a leader whose clock is slow */
    EXPECT("SET other v", "+OK");
    EXPECT("GET k", NIL);
    EXPECT("SET k w PX 100", "+OK");
    EXPECT("PEXPIRETIME k", ":1000300"); /* it lives as long as it was to, by the log's clock */
    now_ms += 10000;
    EXPECT("SET other v", "+OK");
    EXPECT("GET k", "$1\r\nw");
}

/* What was seen to be gone for one reader would be there for the next. */
static void a_readers_clock_hides_nothing(void)
{
    begin();
    EXPECT("SET k v PX 100", "+OK");
    reader_ms = now_ms + 40;
    EXPECT("PTTL k", ":60");
    reader_ms = now_ms + 500;
    EXPECT("GET k", "$1\r\nv");
    EXPECT("EXISTS k", ":1");
    EXPECT("PTTL k", ":0");
    EXPECT("TTL k", ":0");
    reader_ms = now_ms - 500; /* behind: then the log's clock counts */
    EXPECT("PTTL k", ":100");
    EXPECT("PEXPIRETIME k", ":1000100");
}

static void nobody_sees_a_key_that_is_overdue_but_not_removed(void)
{
    char line[64];

    begin();
    for (int i = 0; i < 3000; i++) {
        snprintf(line, sizeof line, "SET key:%d v PX 100", i);
        check_reply(line, "+OK\r\n", __FILE__, __LINE__);
    }
    now_ms += 200;
    EXPECT("SET living v", "+OK");
    CHECK(store_count(store) > 2000); /* one entry does not remove them all */
    CHECK(store_count(store) < 3001);
    EXPECT("KEYS *", "*1\r\n$6\r\nliving");
    EXPECT("EXISTS key:0 key:1 key:2999", ":0");
    EXPECT("RANDOMKEY", "$6\r\nliving");
    EXPECT("SCAN 0 COUNT 100000", "*2\r\n$1\r\n0\r\n*1\r\n$6\r\nliving");
    EXPECT("SET key:5 w KEEPTTL", "+OK");
    EXPECT("TTL key:5", ":-1");
    EXPECT("APPEND key:6 w", ":1");
    EXPECT("TTL key:6", ":-1");
    EXPECT("SET key:7 w XX", NIL);
    EXPECT("SETNX key:8 w", ":1");
    EXPECT("INCR key:9", ":1");
    EXPECT("EXPIRE key:10 100", ":0");
    EXPECT("PERSIST key:11", ":0");
    EXPECT("DEL living key:5 key:6 key:8 key:9", ":5");
    EXPECT("RANDOMKEY", NIL);
    for (int i = 0; i < 4; i++) {
        pass(0);
    }
    CHECK_EQ(store_count(store), 0);
    CHECK_EQ(store_bytes(store), 0);
    CHECK_EQ(store_next_expiry(store), STORE_FOREVER);
}

/* ---- The order in which keys go ---- */

enum { KEYS = 150 };

static struct {
    int held;
    uint64_t at_ms; /* STORE_FOREVER: none */
    uint64_t version;
} model[KEYS];

static uint64_t clock_ms;

static struct slice numbered(unsigned number)
{
    static char text[32];

    return (struct slice){text, (size_t)snprintf(text, sizeof text, "key:%u", number)};
}

static int is_overdue(unsigned number)
{
    return model[number].held && model[number].at_ms < clock_ms;
}

/* The first to go: by time, then by version. KEYS where nothing will. */
static unsigned first_due(void)
{
    unsigned first = KEYS;

    for (unsigned i = 0; i < KEYS; i++) {
        if (model[i].held && model[i].at_ms != STORE_FOREVER &&
            (first == KEYS || model[i].at_ms < model[first].at_ms ||
             (model[i].at_ms == model[first].at_ms && model[i].version < model[first].version))) {
            first = i;
        }
    }
    return first;
}

static void model_set(unsigned number, uint64_t at_ms, uint64_t version)
{
    model[number].held = 1;
    model[number].at_ms = at_ms;
    model[number].version = version;
}

static void model_remove(unsigned most)
{
    for (unsigned i = 0; i < most; i++) {
        unsigned first = first_due();
        if (first == KEYS || !is_overdue(first)) {
            return;
        }
        model[first].held = 0;
    }
}

static void change_both(uint64_t *version)
{
    unsigned number = random_below(KEYS);
    uint64_t at_ms = clock_ms + 1 + random_below(12); /* few, so that many are the same */
    unsigned most = random_below(4);
    int living = model[number].held && !is_overdue(number);

    switch (random_below(8)) {
    case 0:
    case 1:
        CHECK_EQ(store_put(store, numbered(number), slice_of("v"), at_ms), STORE_OK);
        model_set(number, at_ms, ++*version);
        break;
    case 2:
        CHECK_EQ(store_put(store, numbered(number), slice_of("long value"), STORE_KEEP_EXPIRY),
                 STORE_OK);
        model_set(number, living ? model[number].at_ms : STORE_FOREVER, ++*version);
        break;
    case 3:
        CHECK_EQ(store_write(store, numbered(number), 20, slice_of("w"), NULL), STORE_OK);
        model_set(number, living ? model[number].at_ms : STORE_FOREVER, ++*version);
        break;
    case 4:
        CHECK_EQ(store_delete(store, numbered(number)), living);
        model[number].held = 0;
        break;
    case 5:
        at_ms = random_below(3) == 0 ? STORE_FOREVER : at_ms;
        CHECK_EQ(store_expire(store, numbered(number), at_ms), living);
        if (living) {
            model_set(number, at_ms, ++*version);
        } else {
            model[number].held = 0;
        }
        break;
    case 6:
        clock_ms += random_below(3);
        store_advance(store, clock_ms);
        break;
    default:
        model_remove(most);
        store_remove_overdue(store, most);
        break;
    }
}

static void keys_go_by_time_and_then_by_version(void)
{
    uint64_t version = 0;

    begin();
    clock_ms = 0;
    for (unsigned i = 0; i < 60000; i++) {
        unsigned number = random_below(KEYS);
        unsigned first;
        size_t held = 0;

        change_both(&version);
        first = first_due();
        for (unsigned key = 0; key < KEYS; key++) {
            held += (size_t)model[key].held;
        }
        CHECK_EQ(store_count(store), held);
        CHECK_EQ(store_next_expiry(store), first == KEYS ? STORE_FOREVER : model[first].at_ms);
        CHECK_EQ(store_get(store, numbered(number), NULL),
                 model[number].held && !is_overdue(number));
        CHECK_EQ(store_version(store, numbered(number)),
                 model[number].held && !is_overdue(number) ? model[number].version : 0);
    }
    CHECK(version > 10000);
}

int main(void)
{
    RUN(a_key_is_there_until_its_time_and_not_after);
    RUN(a_time_can_be_given_in_four_ways);
    RUN(what_replaces_a_value_takes_its_time_away);
    RUN(a_time_goes_with_its_value);
    RUN(a_time_in_the_past_deletes);
    RUN(times_that_cannot_be_are_refused);
    RUN(options_that_contradict_each_other_are_refused);
    RUN(conditions_of_expire);
    RUN(getex_only_looks_without_an_option);
    RUN(time_never_goes_back);
    RUN(a_readers_clock_hides_nothing);
    RUN(nobody_sees_a_key_that_is_overdue_but_not_removed);
    RUN(keys_go_by_time_and_then_by_version);
    store_free(store);
    return check_done();
}
