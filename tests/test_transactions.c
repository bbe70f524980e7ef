/*
 * MULTI, EXEC, DISCARD, WATCH and UNWATCH as a connection sees them, and the entry that they make.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "raftkv/transaction.h"

static const uint8_t secret[16] = {7};
static struct store *store;
static struct transaction ours;
static struct transaction theirs;
static uint64_t now_ms;

static void begin(void)
{
    store_free(store);
    store = store_new(secret);
    CHECK(store != NULL);
    transaction_free(&ours);
    transaction_free(&theirs);
    now_ms = 5000;
}

/* ---- Requests, as the server deals with them ---- */

static void propose(const struct buffer *entry, struct buffer *reply)
{
    CHECK_EQ(command_apply(store, buffer_bytes(entry), buffer_size(entry), reply), COMMAND_OK);
}

static void execute(struct transaction *transaction, const struct slice *args, size_t count,
                    struct buffer *reply)
{
    const struct command *command = commands_check(args, count, NULL);
    struct buffer entry = {0};

    if (transaction->is_open || (command != NULL && command->kind == COMMAND_QUEUE)) {
        if (transaction_take(transaction, args, count, reply) == TRANSACTION_PROPOSE) {
            CHECK_EQ(transaction_encode(transaction, now_ms, &entry), COMMAND_OK);
            CHECK(buffer_size(&entry) <= COMMAND_ENTRY_BYTES_MAX);
            transaction_end(transaction);
            propose(&entry, reply);
        }
    } else if (command == NULL) {
        commands_check(args, count, reply);
    } else if (command->id == COMMAND_WATCH) {
        transaction_watch(transaction, store, args, count, reply);
    } else if (command->kind == COMMAND_WRITE) {
        CHECK_EQ(command_encode(command, args, count, now_ms, &entry), COMMAND_OK);
        propose(&entry, reply);
    } else {
        CHECK_EQ(command->kind, COMMAND_READ);
        command_read(store, command, args, count, now_ms, reply);
    }
    buffer_free(&entry);
}

static void check_reply(struct transaction *transaction, const char *line, const char *expected,
                        const char *file, int at)
{
    struct resp_parser parser;
    struct buffer reply = {0};
    char text[2048];
    int size = snprintf(text, sizeof text, "%s\n", line);

    resp_parser_init(&parser);
    CHECK_EQ(resp_parse(&parser, text, (size_t)size), RESP_REQUEST);
    execute(transaction, parser.args, parser.arg_count, &reply);
    buffer_add(&reply, "", 1);
    snprintf(text, sizeof text, "%s", buffer_bytes(&reply));
    resp_parser_free(&parser);
    buffer_free(&reply);
    check_string(text, expected, line, file, at);
}

/* The last line end is implied. EXPECT is our connection, OTHER another one. */
#define EXPECT(line, expected) check_reply(&ours, line, expected "\r\n", __FILE__, __LINE__)
#define OTHER(line, expected)  check_reply(&theirs, line, expected "\r\n", __FILE__, __LINE__)

#define NIL     "$-1"
#define CHANGED "*-1"
#define ABORTED "-EXECABORT Transaction discarded because of previous errors."

/* ---- Queueing and executing ---- */

static void commands_are_executed_together_at_exec(void)
{
    begin();
    EXPECT("MULTI", "+OK");
    EXPECT("SET a 1", "+QUEUED");
    EXPECT("INCR a", "+QUEUED");
    EXPECT("GET a", "+QUEUED");
    EXPECT("GET none", "+QUEUED");
    EXPECT("MGET a b", "+QUEUED");
    EXPECT("PING", "+QUEUED");
    OTHER("GET a", NIL);
    EXPECT("EXEC", "*6\r\n+OK\r\n:2\r\n$1\r\n2\r\n$-1\r\n*2\r\n$1\r\n2\r\n$-1\r\n+PONG");
    EXPECT("GET a", "$1\r\n2");
    EXPECT("MULTI", "+OK");
    EXPECT("EXEC", "*0");
}

static void words_out_of_place_are_errors(void)
{
    begin();
    EXPECT("EXEC", "-ERR EXEC without MULTI");
    EXPECT("DISCARD", "-ERR DISCARD without MULTI");
    EXPECT("UNWATCH", "+OK");
    EXPECT("MULTI", "+OK");
    EXPECT("MULTI", "-ERR MULTI calls can not be nested");
    EXPECT("WATCH a", "-ERR WATCH inside MULTI is not allowed");
    EXPECT("SET a 1", "+QUEUED");
    EXPECT("UNWATCH", "+QUEUED");
    EXPECT("EXEC", "*2\r\n+OK\r\n+OK");
    EXPECT("MULTI x", "-ERR wrong number of arguments for 'multi' command");
    EXPECT("MULTI", "+OK");
    EXPECT("SET a 2", "+QUEUED");
    EXPECT("EXEC x", "-EXECABORT Transaction discarded because of: wrong number of arguments for "
                     "'exec' command");
    EXPECT("GET a", "$1\r\n1");
    EXPECT("MULTI", "+OK"); /* which was not spoiled by what came before it */
    EXPECT("EXEC", "*0");
}

static void discard_forgets_everything(void)
{
    begin();
    EXPECT("WATCH k", "+OK");
    EXPECT("MULTI", "+OK");
    EXPECT("SET a 1", "+QUEUED");
    EXPECT("DISCARD", "+OK");
    EXPECT("EXISTS a", ":0");
    OTHER("SET k 1", "+OK");
    EXPECT("MULTI", "+OK");
    EXPECT("PING", "+QUEUED");
    EXPECT("EXEC", "*1\r\n+PONG");
}

static void what_cannot_be_queued_aborts(void)
{
    static const char *const bad[] = {"nosuch", "GET",      "SET a",     "DISCARD x", "MULTI x",
                                      "INFO",   "WAIT 0 0", "CLIENT ID", "SHUTDOWN"};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct resp_parser parser;
        struct buffer reply = {0};
        char text[64];

        begin();
        EXPECT("MULTI", "+OK");
        EXPECT("SET a 1", "+QUEUED");
        resp_parser_init(&parser);
        snprintf(text, sizeof text, "%s\n", bad[i]);
        CHECK_EQ(resp_parse(&parser, text, strlen(text)), RESP_REQUEST);
        execute(&ours, parser.args, parser.arg_count, &reply);
        CHECK(buffer_bytes(&reply)[0] == '-');
        buffer_free(&reply);
        resp_parser_free(&parser);
        EXPECT("SET b 1", "+QUEUED");
        EXPECT("EXEC", ABORTED);
        EXPECT("EXISTS a b", ":0");
        EXPECT("EXEC", "-ERR EXEC without MULTI");
    }
}

/* Redis finds these out at EXEC, and the others are executed all the same. */
static void an_error_of_one_command_is_its_own(void)
{
    begin();
    EXPECT("SET s abc", "+OK");
    EXPECT("MULTI", "+OK");
    EXPECT("SET a 1", "+QUEUED");
    EXPECT("INCR s", "+QUEUED");
    EXPECT("SET b 1 BOGUS", "+QUEUED");
    EXPECT("SET b 1 EX 0", "+QUEUED");
    EXPECT("EXPIRE a x", "+QUEUED");
    EXPECT("SET c 1", "+QUEUED");
    EXPECT("EXEC", "*6\r\n+OK\r\n-ERR value is not an integer or out of range\r\n"
                   "-ERR syntax error\r\n-ERR invalid expire time in 'set' command\r\n"
                   "-ERR value is not an integer or out of range\r\n+OK");
    EXPECT("EXISTS a b c", ":2");
}

static void a_refusal_by_the_server_aborts_too(void)
{
    begin();
    EXPECT("MULTI", "+OK");
    EXPECT("SET a 1", "+QUEUED");
    transaction_spoil(&ours);
    EXPECT("EXEC", ABORTED);
    EXPECT("EXISTS a", ":0");
}

static void a_transaction_redirects_to_its_first_key(void)
{
    begin();
    EXPECT("MULTI", "+OK");
    EXPECT("PING", "+QUEUED");
    EXPECT("DBSIZE", "+QUEUED");
    CHECK_EQ(ours.slot, 0);
    EXPECT("GET foo", "+QUEUED");
    EXPECT("GET bar", "+QUEUED");
    CHECK_EQ(ours.slot, 12182);
    EXPECT("DISCARD", "+OK");
    CHECK_EQ(ours.slot, 0);
}

/* ---- Watching ---- */

static void queue_and_exec(const char *expected)
{
    EXPECT("MULTI", "+OK");
    EXPECT("PING", "+QUEUED");
    check_reply(&ours, "EXEC", expected, __FILE__, __LINE__);
}

#define EXECUTES "*1\r\n+PONG\r\n"
#define FAILS    CHANGED "\r\n"

static void what_changed_since_it_was_watched_stops_exec(void)
{
    static const char *const changes[] = {
        "SET k other", "SET k v",      "APPEND k x", "DEL k",         "UNLINK k",
        "FLUSHALL",    "FLUSHDB",      "RENAME k l", "RENAME l k",    "EXPIRE k 100",
        "PERSIST t",   "GETDEL k",     "GETSET k v", "MSET a 1 k 1",  "SETRANGE k 0 v",
        "EXPIRE k -1", "GETEX k EX 5", "SET k v XX", "APPEND k \"\"",
    };

    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct buffer reply = {0};
        struct resp_parser parser;
        char text[64];

        begin();
        EXPECT("MSET k v l v", "+OK");
        EXPECT("SET t v EX 100", "+OK");
        EXPECT("WATCH a k t", "+OK");
        resp_parser_init(&parser);
        snprintf(text, sizeof text, "%s\n", changes[i]);
        CHECK_EQ(resp_parse(&parser, text, strlen(text)), RESP_REQUEST);
        execute(i % 2 ? &ours : &theirs, parser.args, parser.arg_count, &reply);
        CHECK(buffer_bytes(&reply)[0] != '-');
        resp_parser_free(&parser);
        buffer_free(&reply);
        EXPECT("MULTI", "+OK");
        EXPECT("SET done 1", "+QUEUED");
        EXPECT("EXEC", CHANGED);
        EXPECT("EXISTS done", ":0");
        queue_and_exec(EXECUTES); /* the failure has ended the watch */
    }
}

static void what_did_not_change_lets_exec_through(void)
{
    static const char *const others[] = {
        "SET x 1",   "DEL none",  "GET k",           "EXPIRE none 5", "SET k v NX",
        "PERSIST k", "SETNX k 2", "EXPIRE k 100 XX", "RENAMENX k l",  "MSETNX k 1 x 2"};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct buffer reply = {0};
        struct resp_parser parser;
        char text[64];

        begin();
        EXPECT("MSET k v l v", "+OK");
        EXPECT("WATCH k none", "+OK");
        resp_parser_init(&parser);
        snprintf(text, sizeof text, "%s\n", others[i]);
        CHECK_EQ(resp_parse(&parser, text, strlen(text)), RESP_REQUEST);
        execute(&theirs, parser.args, parser.arg_count, &reply);
        resp_parser_free(&parser);
        buffer_free(&reply);
        queue_and_exec(EXECUTES);
    }
}

static void a_key_that_came_or_came_back_has_changed(void)
{
    begin();
    EXPECT("WATCH k", "+OK");
    OTHER("SET k 1", "+OK");
    queue_and_exec(FAILS);
    EXPECT("WATCH k", "+OK");
    OTHER("DEL k", ":1");
    OTHER("SET k 1", "+OK");
    queue_and_exec(FAILS);
    EXPECT("WATCH k", "+OK");
    OTHER("FLUSHALL", "+OK");
    OTHER("SET k 1", "+OK");
    queue_and_exec(FAILS);
}

static void unwatch_and_exec_end_the_watch(void)
{
    begin();
    EXPECT("WATCH k", "+OK");
    EXPECT("UNWATCH", "+OK");
    OTHER("SET k 1", "+OK");
    queue_and_exec(EXECUTES);
    EXPECT("WATCH k", "+OK");
    queue_and_exec(EXECUTES);
    OTHER("SET k 2", "+OK");
    queue_and_exec(EXECUTES);
    EXPECT("WATCH k", "+OK"); /* also when it was aborted */
    EXPECT("MULTI", "+OK");
    EXPECT("nosuch", "-ERR unknown command 'nosuch', with args beginning with: ");
    EXPECT("EXEC", ABORTED);
    OTHER("SET k 3", "+OK");
    queue_and_exec(EXECUTES);
}

/* As in Redis: expiring is a change, having expired before is none. */
static void a_watched_key_that_expires_has_changed(void)
{
    begin();
    EXPECT("SET k v PX 100", "+OK");
    EXPECT("WATCH k", "+OK");
    now_ms += 101; /* only the entry of EXEC brings the time */
    queue_and_exec(FAILS);
    EXPECT("SET k v PX 100", "+OK");
    now_ms += 101;
    OTHER("SET x 1", "+OK");
    EXPECT("WATCH k", "+OK");
    queue_and_exec(EXECUTES);
    EXPECT("SET k v PX 100", "+OK");
    EXPECT("WATCH k", "+OK");
    now_ms += 100;
    queue_and_exec(EXECUTES);
}

static void time_stands_still_within_a_transaction(void)
{
    begin();
    EXPECT("SET k v PX 100", "+OK");
    now_ms += 60;
    EXPECT("MULTI", "+OK");
    EXPECT("PTTL k", "+QUEUED");
    EXPECT("PEXPIRE k 10", "+QUEUED");
    EXPECT("PTTL k", "+QUEUED");
    EXPECT("SET l v PX 1", "+QUEUED");
    EXPECT("GET l", "+QUEUED");
    EXPECT("EXEC", "*5\r\n:40\r\n:1\r\n:10\r\n+OK\r\n$1\r\nv");
}

/* ---- Bounds ---- */

static void a_transaction_has_bounds(void)
{
    char *value = malloc(STORE_VALUE_BYTES_MAX);
    struct slice args[] = {{"SET", 3}, {"k", 1}, {value, (size_t)4 << 20}};
    struct slice ping[] = {{"PING", 4}};
    struct buffer reply = {0};

    CHECK(value != NULL);
    memset(value, 'v', STORE_VALUE_BYTES_MAX);
    begin();
    EXPECT("MULTI", "+OK");
    for (int i = 0; i < 3; i++) {
        execute(&ours, args, 3, &reply);
    }
    CHECK(!ours.is_spoiled);
    execute(&ours, args, 3, &reply);
    CHECK(ours.is_spoiled);
    EXPECT("EXEC", ABORTED);
    EXPECT("MULTI", "+OK");
    buffer_clear(&reply);
    for (size_t i = 0; i < TRANSACTION_COMMANDS_MAX; i++) {
        execute(&ours, ping, 1, &reply);
    }
    CHECK(!ours.is_spoiled);
    EXPECT("PING", "-ERR the transaction is too large for an entry of the log");
    EXPECT("EXEC", ABORTED);
    EXPECT("EXISTS k", ":0");
    buffer_free(&reply);
    free(value);
}

static void watches_have_bounds(void)
{
    char *key = malloc((size_t)1 << 20);
    struct slice args[] = {{"WATCH", 5}, {key, (size_t)600 << 10}, {key, (size_t)600 << 10}};
    struct buffer reply = {0};

    CHECK(key != NULL);
    memset(key, 'k', (size_t)1 << 20);
    begin();
    transaction_watch(&ours, store, args, 3, &reply);
    CHECK(buffer_bytes(&reply)[0] == '-');
    CHECK_EQ(ours.watch_count, 1);
    transaction_end(&ours);
    for (size_t i = 0; i < TRANSACTION_WATCHES_MAX; i++) {
        EXPECT("WATCH k", "+OK");
    }
    EXPECT("WATCH k", "-ERR too many keys are watched");
    queue_and_exec(EXECUTES);
    buffer_free(&reply);
    free(key);
}

/* ---- The entry ---- */

static void entry_of(struct buffer *entry)
{
    begin();
    EXPECT("SET w old", "+OK");
    EXPECT("WATCH w none", "+OK");
    EXPECT("MULTI", "+OK");
    EXPECT("SET k v", "+QUEUED");
    EXPECT("GET k", "+QUEUED");
    EXPECT("PING", "+QUEUED");
    CHECK_EQ(transaction_encode(&ours, 5000, entry), COMMAND_OK);
}

static void an_entry_has_its_documented_form(void)
{
    static const char golden[] = "\2\210\23\0\0\0\0\0\0"    /* 5000 */
                                 "\34\2\1w\1\0\0\0\0\0\0\0" /* EXEC, two watches */
                                 "\4none\0\0\0\0\0\0\0\0"
                                 "\3\1\2\1k\1v"     /* three commands: SET */
                                 "\100\1\1k\200\0"; /* GET and PING */
    struct buffer entry = {0};

    entry_of(&entry);
    CHECK_EQ(buffer_size(&entry), sizeof golden - 1);
    CHECK(memcmp(buffer_bytes(&entry), golden, sizeof golden - 1) == 0);
    buffer_free(&entry);
}

static int apply_exactly(const char *bytes, size_t size)
{
    char *exact = malloc(size + 1);
    int status;

    CHECK(exact != NULL);
    memcpy(exact, bytes, size);
    status = command_verify(exact, size);
    CHECK_EQ(command_apply(store, exact, size, NULL), status);
    free(exact);
    return status;
}

/* Nothing is executed of an entry that is damaged further on, and no time passes by it. */
static void a_damaged_entry_leaves_no_trace(void)
{
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
#define BAD(text) {text, sizeof(text) - 1}
        BAD("\1\34\0\2\1\2\1k\1v\34\0\0"),   /* a transaction in a transaction */
        BAD("\1\34\0\2\1\2\1k\1v\35\0"),     /* a tick */
        BAD("\1\34\0\2\1\2\1k\1v\242\0"),    /* MULTI */
        BAD("\1\34\0\2\1\2\1k\1v\0\0"),      /* nothing */
        BAD("\1\34\0\2\1\2\1k\1v\1\1\1k"),   /* SET without a value */
        BAD("\1\34\0\2\1\2\1k\1v\377\1\1k"), /* of a later version */
        BAD("\1\34\0\1\1\2\1k\1v!"),         /* something behind the end */
        BAD("\1\34\0\3\1\2\1k\1v"),          /* fewer commands than announced */
        BAD("\1\34\377\377\377\177"),        /* watches in no bytes */
        BAD("\1\34\0\377\377\377\177"),      /* commands in no bytes */
    };
    struct buffer entry = {0};
    uint64_t digest;

    entry_of(&entry);
    digest = store_digest(store);
    for (size_t cut = 0; cut < buffer_size(&entry); cut++) {
        CHECK_EQ(apply_exactly(buffer_bytes(&entry), cut), COMMAND_EFORMAT);
        CHECK_EQ(store_digest(store), digest);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQ(apply_exactly(bad[i].bytes, bad[i].size), COMMAND_EFORMAT);
        CHECK_EQ(store_digest(store), digest);
    }
    CHECK_EQ(apply_exactly(buffer_bytes(&entry), buffer_size(&entry)), COMMAND_OK);
    EXPECT("DISCARD", "+OK");
    EXPECT("GET k", "$1\r\nv");
    buffer_free(&entry);
}

/* The one who proposes what another has encoded gives it the time of its own clock. */
static void an_entry_can_be_given_another_time(void)
{
    struct buffer entry = {0};

    entry_of(&entry);
    CHECK_EQ(command_set_time(entry.data + entry.start, buffer_size(&entry), 777777), COMMAND_OK);
    CHECK_EQ(apply_exactly(buffer_bytes(&entry), buffer_size(&entry)), COMMAND_OK);
    CHECK_EQ(store_clock(store), 777777);
    CHECK_EQ(command_set_time(entry.data + entry.start, 8, 1), COMMAND_EFORMAT);
    entry.data[entry.start] = 1;
    CHECK_EQ(command_set_time(entry.data + entry.start, buffer_size(&entry), 1), COMMAND_EFORMAT);
    buffer_free(&entry);
}

int main(void)
{
    RUN(commands_are_executed_together_at_exec);
    RUN(words_out_of_place_are_errors);
    RUN(discard_forgets_everything);
    RUN(what_cannot_be_queued_aborts);
    RUN(an_error_of_one_command_is_its_own);
    RUN(a_refusal_by_the_server_aborts_too);
    RUN(a_transaction_redirects_to_its_first_key);
    RUN(what_changed_since_it_was_watched_stops_exec);
    RUN(what_did_not_change_lets_exec_through);
    RUN(a_key_that_came_or_came_back_has_changed);
    RUN(unwatch_and_exec_end_the_watch);
    RUN(a_watched_key_that_expires_has_changed);
    RUN(time_stands_still_within_a_transaction);
    RUN(a_transaction_has_bounds);
    RUN(watches_have_bounds);
    RUN(an_entry_has_its_documented_form);
    RUN(a_damaged_entry_leaves_no_trace);
    RUN(an_entry_can_be_given_another_time);
    transaction_free(&ours);
    transaction_free(&theirs);
    store_free(store);
    return check_done();
}
