/*
 * The commands: replies and errors by the rules of Redis's documentation, the form of a write in
 * the log, and what is refused before it gets there.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "raftkv/commands.h"
#include "raftkv/decimal.h"

static const uint8_t secret[16] = {7};
static struct store *store;

/* Executes as the server does: checks, then by kind, writes by way of their log entry. */
static void execute(const struct slice *args, size_t count, struct buffer *reply)
{
    const struct command *command = commands_check(args, count, reply);
    struct buffer entry = {0};

    if (command == NULL) {
        return;
    }
    switch (command->kind) {
    case COMMAND_READ:
        command_read(store, command, args, count, 0, reply);
        break;
    case COMMAND_WRITE:
        CHECK_EQ(command_encode(command, args, count, 0, &entry), COMMAND_OK);
        CHECK_EQ(buffer_size(&entry), command_encoded_size(command, args, count));
        CHECK_EQ(command_apply(store, buffer_bytes(&entry), buffer_size(&entry), reply),
                 COMMAND_OK);
        buffer_free(&entry);
        break;
    default:
        if (!command_local(command, args, count, reply)) {
            reply_simple(reply, "the server's");
        }
    }
}

/* Sends one request, spelled as in redis-cli; the reply is zero-terminated in *reply. */
static void request(const char *line, struct buffer *reply)
{
    struct resp_parser parser;
    char text[1024];
    int size = snprintf(text, sizeof text, "%s\n", line);

    resp_parser_init(&parser);
    CHECK_EQ(resp_parse(&parser, text, (size_t)size), RESP_REQUEST);
    execute(parser.args, parser.arg_count, reply);
    buffer_add(reply, "", 1);
    resp_parser_free(&parser);
}

static void check_reply(const char *line, const char *expected, const char *file, int at)
{
    struct buffer reply = {0};
    char text[4096];

    request(line, &reply);
    snprintf(text, sizeof text, "%s", buffer_bytes(&reply));
    buffer_free(&reply);
    check_string(text, expected, line, file, at);
}

/* The last line end is implied. */
#define EXPECT(line, expected) check_reply(line, expected "\r\n", __FILE__, __LINE__)

#define EMPTY   "$0\r\n"
#define NIL     "$-1"
#define SYNTAX  "-ERR syntax error"
#define INTEGER "-ERR value is not an integer or out of range"
#define FLOAT   "-ERR value is not a valid float"

static void arity(const char *line, const char *name)
{
    struct buffer reply = {0};
    char expected[128];

    snprintf(expected, sizeof expected, "-ERR wrong number of arguments for '%s' command\r\n",
             name);
    request(line, &reply);
    CHECK_STR(buffer_bytes(&reply), expected);
    buffer_free(&reply);
}

static void begin(void)
{
    store_free(store);
    store = store_new(secret);
    CHECK(store != NULL);
}

/* ---- Strings ---- */

static void set_and_get(void)
{
    begin();
    EXPECT("GET k", NIL);
    EXPECT("SET k v", "+OK");
    EXPECT("GET k", "$1\r\nv");
    EXPECT("set k \"\"", "+OK");
    EXPECT("GET k", EMPTY);
    EXPECT("SET k w NX", NIL);
    EXPECT("SET n w NX", "+OK");
    EXPECT("SET n x XX", "+OK");
    EXPECT("SET m x XX", NIL);
    EXPECT("GET m", NIL);
    EXPECT("SET n y GET", "$1\r\nx");
    EXPECT("SET o y GET", NIL);
    EXPECT("SET o z NX GET", "$1\r\ny");
    EXPECT("GET o", "$1\r\ny");
    EXPECT("SET o z XX GET", "$1\r\ny");
    EXPECT("GET o", "$1\r\nz");
    EXPECT("SET p z XX GET", NIL);
    EXPECT("EXISTS p", ":0");
    EXPECT("SET k v NX XX", SYNTAX);
    EXPECT("SET k v XX NX", SYNTAX);
    EXPECT("SET k v BOGUS", SYNTAX);
    arity("SET k", "set");
    arity("GET", "get");
    arity("GET a b", "get");
}

static void the_other_setters(void)
{
    begin();
    EXPECT("GETSET k a", NIL);
    EXPECT("GETSET k b", "$1\r\na");
    EXPECT("GETDEL k", "$1\r\nb");
    EXPECT("GETDEL k", NIL);
    EXPECT("SETNX k 1", ":1");
    EXPECT("SETNX k 2", ":0");
    EXPECT("GET k", "$1\r\n1");
    EXPECT("MSET a 1 b 2 a 3", "+OK");
    EXPECT("MGET a b nothing a", "*4\r\n$1\r\n3\r\n$1\r\n2\r\n$-1\r\n$1\r\n3");
    EXPECT("MSETNX c 1 a 9", ":0");
    EXPECT("EXISTS c", ":0");
    EXPECT("MSETNX c 1 d 2", ":1");
    EXPECT("MGET c d", "*2\r\n$1\r\n1\r\n$1\r\n2");
    arity("MSET a", "mset");
    arity("MSET a 1 b", "mset");
    arity("MSETNX a 1 b", "msetnx");
    arity("MGET", "mget");
    arity("GETSET k", "getset");
    arity("GETDEL", "getdel");
    arity("SETNX k", "setnx");
}

static void append_and_strlen(void)
{
    begin();
    EXPECT("STRLEN k", ":0");
    EXPECT("APPEND k Hello", ":5");
    EXPECT("APPEND k \" World\"", ":11");
    EXPECT("GET k", "$11\r\nHello World");
    EXPECT("STRLEN k", ":11");
    EXPECT("APPEND e \"\"", ":0");
    EXPECT("EXISTS e", ":1");
    arity("APPEND k", "append");
    arity("STRLEN", "strlen");
}

static void ranges(void)
{
    begin();
    EXPECT("SET k \"This is a string\"", "+OK");
    EXPECT("GETRANGE k 0 3", "$4\r\nThis");
    EXPECT("GETRANGE k -3 -1", "$3\r\ning");
    EXPECT("GETRANGE k 0 -1", "$16\r\nThis is a string");
    EXPECT("GETRANGE k 10 100", "$6\r\nstring");
    EXPECT("GETRANGE k 5 2", EMPTY);
    EXPECT("GETRANGE k -1 -3", EMPTY);
    EXPECT("GETRANGE k -100 -90", "$1\r\nT"); /* as Redis: both ends are moved to the first byte */
    EXPECT("GETRANGE k -100 3", "$4\r\nThis");
    EXPECT("GETRANGE k 16 20", EMPTY);
    EXPECT("GETRANGE k -9223372036854775808 9223372036854775807", "$16\r\nThis is a string");
    EXPECT("GETRANGE missing 0 -1", EMPTY);
    EXPECT("SUBSTR k 5 6", "$2\r\nis");
    EXPECT("GETRANGE k x 1", INTEGER);
    EXPECT("GETRANGE k 1 x", INTEGER);
    arity("GETRANGE k 1", "getrange");
    arity("SUBSTR k 1", "substr");
}

static void setrange(void)
{
    begin();
    EXPECT("SET k \"Hello World\"", "+OK");
    EXPECT("SETRANGE k 6 Redis", ":11");
    EXPECT("GET k", "$11\r\nHello Redis");
    EXPECT("SETRANGE z 3 ab", ":5");
    EXPECT("GETRANGE z 3 4", "$2\r\nab");
    EXPECT("SETRANGE nothing 10 \"\"", ":0");
    EXPECT("EXISTS nothing", ":0");
    EXPECT("SETRANGE k 100 \"\"", ":11");
    EXPECT("SETRANGE k -1 x", "-ERR offset is out of range");
    EXPECT("SETRANGE k x y", INTEGER);
    EXPECT("SETRANGE big 16777215 x", ":16777216");
    EXPECT("SETRANGE big 16777216 x",
           "-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    EXPECT("SETRANGE big 9223372036854775807 x",
           "-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    EXPECT("APPEND big x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    EXPECT("APPEND big \"\"", ":16777216");
    EXPECT("STRLEN big", ":16777216");
    arity("SETRANGE k 1", "setrange");
}

/* ---- Counters ---- */

static void integers_count(void)
{
    begin();
    EXPECT("INCR n", ":1");
    EXPECT("INCRBY n 10", ":11");
    EXPECT("DECR n", ":10");
    EXPECT("DECRBY n 15", ":-5");
    EXPECT("INCRBY n -5", ":-10");
    EXPECT("GET n", "$3\r\n-10");
    EXPECT("INCRBY n 1.5", INTEGER);
    EXPECT("INCRBY n 99999999999999999999", INTEGER);
    EXPECT("DECRBY n x", INTEGER);
    EXPECT("SET s abc", "+OK");
    EXPECT("INCR s", INTEGER);
    EXPECT("SET s \" 1\"", "+OK");
    EXPECT("INCR s", INTEGER);
    EXPECT("SET s \"\"", "+OK");
    EXPECT("DECR s", INTEGER);
    arity("INCR", "incr");
    arity("INCRBY n", "incrby");
    arity("DECR", "decr");
    arity("DECRBY n", "decrby");
}

static void integers_do_not_overflow(void)
{
    begin();
    EXPECT("SET n 9223372036854775806", "+OK");
    EXPECT("INCR n", ":9223372036854775807");
    EXPECT("INCR n", "-ERR increment or decrement would overflow");
    EXPECT("INCRBY n 9223372036854775807", "-ERR increment or decrement would overflow");
    EXPECT("GET n", "$19\r\n9223372036854775807");
    EXPECT("SET n -9223372036854775807", "+OK");
    EXPECT("DECR n", ":-9223372036854775808");
    EXPECT("DECR n", "-ERR increment or decrement would overflow");
    EXPECT("DECRBY n -9223372036854775808", "-ERR decrement would overflow");
    EXPECT("INCRBY n 9223372036854775807", ":-1");
}

static void decimals_add_exactly(void)
{
    begin();
    EXPECT("SET f 10.50", "+OK");
    EXPECT("INCRBYFLOAT f 0.1", "$4\r\n10.6");
    EXPECT("INCRBYFLOAT f -5", "$3\r\n5.6");
    EXPECT("SET f 5.0e3", "+OK");
    EXPECT("INCRBYFLOAT f 2.0e2", "$4\r\n5200");
    EXPECT("GET f", "$4\r\n5200");
    EXPECT("INCRBYFLOAT new -1.5", "$4\r\n-1.5");
    EXPECT("INCRBYFLOAT new 1.5", "$1\r\n0");
    EXPECT("SET f 1000.1", "+OK");
    EXPECT("INCRBYFLOAT f 0.1", "$6\r\n1000.2"); /* no binary noise */
    EXPECT("SET f 123456789012345678901234567890", "+OK");
    EXPECT("INCRBYFLOAT f 0.1", "$32\r\n123456789012345678901234567890.1");
    EXPECT("SET f 0.99999999999999999", "+OK");
    EXPECT("INCRBYFLOAT f 0.00000000000000001", "$1\r\n1");
    EXPECT("INCRBYFLOAT f -1e-17", "$19\r\n0.99999999999999999");
    EXPECT("SET f abc", "+OK");
    EXPECT("INCRBYFLOAT f 1", FLOAT);
    EXPECT("INCRBYFLOAT n nan", FLOAT);
    EXPECT("INCRBYFLOAT n 0x10", FLOAT);
    EXPECT("INCRBYFLOAT n 1e5000", FLOAT);
    EXPECT("INCRBYFLOAT n inf", "-ERR increment would produce NaN or Infinity");
    EXPECT("INCRBYFLOAT n -Infinity", "-ERR increment would produce NaN or Infinity");
    EXPECT("EXISTS n", ":0");
    arity("INCRBYFLOAT f", "incrbyfloat");
}

static void check_decimal(const char *text, const char *expected)
{
    struct decimal number;
    char out[DECIMAL_TEXT_MAX];

    CHECK_EQ(decimal_parse(slice_of(text), &number), DECIMAL_OK);
    out[decimal_print(&number, out)] = '\0';
    CHECK_STR(out, expected);
}

static void decimals_are_read_and_printed_in_one_way(void)
{
    check_decimal("0", "0");
    check_decimal("-0", "0");
    check_decimal("-0.0e5", "0");
    check_decimal("+007.50", "7.5");
    check_decimal(".5", "0.5");
    check_decimal("5.", "5");
    check_decimal("1e3", "1000");
    check_decimal("12345e-3", "12.345");
    check_decimal("-1.25E+1", "-12.5");
    check_decimal("1e-17", "0.00000000000000001");
    check_decimal("1e-99999999999", "0");
    check_decimal("0e99999999999", "0");
    check_decimal("0.000000000000000005", "0");                   /* half to even */
    check_decimal("0.000000000000000015", "0.00000000000000002"); /* half to even */
    check_decimal("0.0000000000000000050000001", "0.00000000000000001");
    check_decimal("0.999999999999999999", "1");
    check_decimal("9.999999999999999999", "10");
    check_decimal("-99.999999999999999995", "-100");
}

static void decimals_end_at_their_range(void)
{
    struct decimal a;
    struct decimal b;
    char text[DECIMAL_TEXT_MAX];

    CHECK_EQ(decimal_parse(slice_of("9e4932"), &a), DECIMAL_OK);
    CHECK_EQ(decimal_parse(slice_of("1e4932"), &b), DECIMAL_OK);
    CHECK_EQ(decimal_parse(slice_of("1e4933"), &b), DECIMAL_INVALID);
    CHECK_EQ(decimal_parse(slice_of("1e4932"), &b), DECIMAL_OK);
    CHECK_EQ(decimal_print(&a, text), 4933);
    CHECK_EQ(decimal_add(&a, &b), DECIMAL_INFINITE);
    CHECK_EQ(decimal_parse(slice_of("9e4932"), &a), DECIMAL_OK);
    b.negative = 1;
    CHECK_EQ(decimal_add(&a, &b), DECIMAL_OK);
    CHECK_EQ(decimal_print(&a, text), 4933);
    CHECK_EQ(text[0], '8');
    memset(text, '9', 4933 + 18 + 1); /* rounding carries into a digit that is not there */
    text[4933] = '.';
    CHECK_EQ(decimal_parse((struct slice){text, 4933 + 18 + 1}, &a), DECIMAL_INVALID);
    CHECK_EQ(decimal_parse((struct slice){text, 4933 + 17 + 1}, &a), DECIMAL_OK);
}

static void what_is_no_decimal_is_refused(void)
{
    static const char *const bad[] = {"",      " ",   ".",   "-",  "+",       "e1",
                                      "1e",    "1e+", "1 ",  " 1", "--1",     "1.2.3",
                                      "1e1.5", "0x1", "nan", "in", "infinit", "1_0"};
    static char longest[DECIMAL_TEXT_MAX + 1];
    struct decimal number;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQ(decimal_parse(slice_of(bad[i]), &number), DECIMAL_INVALID);
    }
    memset(longest, '0', sizeof longest - 1);
    CHECK_EQ(decimal_parse(slice_of(longest), &number), DECIMAL_INVALID);
}

/* ---- Keys ---- */

static void deleting_and_counting_keys(void)
{
    begin();
    EXPECT("MSET a 1 b 2 c 3", "+OK");
    EXPECT("EXISTS a b x a", ":3");
    EXPECT("DEL a x a", ":1");
    EXPECT("UNLINK b c", ":2");
    EXPECT("DBSIZE", ":0");
    EXPECT("SET k v", "+OK");
    EXPECT("TYPE k", "+string");
    EXPECT("TYPE x", "+none");
    EXPECT("DBSIZE", ":1");
    EXPECT("FLUSHALL", "+OK");
    EXPECT("FLUSHDB async", "+OK");
    EXPECT("FLUSHALL SYNC", "+OK");
    EXPECT("FLUSHALL NOW", SYNTAX);
    EXPECT("FLUSHDB ASYNC SYNC", SYNTAX);
    EXPECT("DBSIZE", ":0");
    arity("DEL", "del");
    arity("UNLINK", "unlink");
    arity("EXISTS", "exists");
    arity("TYPE", "type");
    arity("DBSIZE x", "dbsize");
}

static void renaming(void)
{
    begin();
    EXPECT("RENAME a b", "-ERR no such key");
    EXPECT("MSET a 1 b 2", "+OK");
    EXPECT("RENAME a b", "+OK");
    EXPECT("GET b", "$1\r\n1");
    EXPECT("EXISTS a", ":0");
    EXPECT("RENAME b b", "+OK");
    EXPECT("GET b", "$1\r\n1");
    EXPECT("SET c 3", "+OK");
    EXPECT("RENAMENX b c", ":0");
    EXPECT("RENAMENX b d", ":1");
    EXPECT("RENAMENX d d", ":0");
    EXPECT("RENAMENX x y", "-ERR no such key");
    EXPECT("MGET b c d", "*3\r\n$-1\r\n$1\r\n3\r\n$1\r\n1");
    arity("RENAME a", "rename");
    arity("RENAMENX a", "renamenx");
}

static void looking_around(void)
{
    begin();
    EXPECT("RANDOMKEY", NIL);
    EXPECT("KEYS *", "*0");
    EXPECT("SCAN 0", "*2\r\n$1\r\n0\r\n*0");
    EXPECT("MSET one 1", "+OK");
    EXPECT("RANDOMKEY", "$3\r\none");
    EXPECT("KEYS *", "*1\r\n$3\r\none");
    EXPECT("KEYS o*", "*1\r\n$3\r\none");
    EXPECT("KEYS x*", "*0");
    EXPECT("SCAN 0 COUNT 100", "*2\r\n$1\r\n0\r\n*1\r\n$3\r\none");
    EXPECT("SCAN 0 MATCH t* COUNT 100", "*2\r\n$1\r\n0\r\n*0");
    EXPECT("SCAN 0 TYPE string count 100", "*2\r\n$1\r\n0\r\n*1\r\n$3\r\none");
    EXPECT("SCAN 0 TYPE list COUNT 100", "*2\r\n$1\r\n0\r\n*0");
    EXPECT("SCAN 0 COUNT 9223372036854775807", "*2\r\n$1\r\n0\r\n*1\r\n$3\r\none");
    EXPECT("SCAN x", "-ERR invalid cursor");
    EXPECT("SCAN \"\"", "-ERR invalid cursor");
    EXPECT("SCAN 18446744073709551616", "-ERR invalid cursor");
    EXPECT("SCAN 0 COUNT 0", SYNTAX);
    EXPECT("SCAN 0 COUNT x", INTEGER);
    EXPECT("SCAN 0 COUNT", SYNTAX);
    EXPECT("SCAN 0 BOGUS 1", SYNTAX);
    arity("KEYS", "keys");
    arity("SCAN", "scan");
    arity("RANDOMKEY x", "randomkey");
}

static void a_scan_goes_through_all_keys_by_its_cursors(void)
{
    enum { KEYS = 1000 };
    static unsigned char seen[KEYS];
    char line[64];
    char cursor[32] = "0";
    unsigned steps = 0;
    unsigned found = 0;

    begin();
    memset(seen, 0, sizeof seen);
    for (unsigned i = 0; i < KEYS; i++) {
        snprintf(line, sizeof line, "SET %u x", i);
        EXPECT(line, "+OK");
    }
    do {
        struct buffer reply = {0};
        snprintf(line, sizeof line, "SCAN %s COUNT 7", cursor);
        request(line, &reply);
        const char *at = strchr(buffer_bytes(&reply), '$');
        CHECK(at != NULL && sscanf(at, "$%*d\r\n%31s", cursor) == 1);
        while ((at = strchr(at + 1, '$')) != NULL) {
            unsigned key = KEYS;
            CHECK(sscanf(at, "$%*d\r\n%u", &key) == 1 && key < KEYS);
            found += !seen[key];
            seen[key] = 1;
        }
        buffer_free(&reply);
        CHECK(++steps < 2000);
    } while (strcmp(cursor, "0") != 0);
    CHECK_EQ(found, KEYS);
    CHECK(steps > 20);
}

static void a_reply_beyond_its_bound_fails_and_harms_nobody(void)
{
    struct buffer reply = {0};

    begin();
    EXPECT("SET k 0123456789", "+OK");
    reply.bytes_max = 50;
    request("MGET k k k k k k", &reply);
    CHECK(reply.failed);
    buffer_clear(&reply);
    request("KEYS *", &reply);
    CHECK(!reply.failed);
    buffer_clear(&reply);
    for (reply.bytes_max = 1; reply.bytes_max <= 10; reply.bytes_max++) { /* of 11 */
        buffer_clear(&reply);
        request("KEYS *", &reply);
        CHECK(reply.failed);
    }
    buffer_free(&reply);
}

/* ---- Commands of the server and of nobody ---- */

static void local_commands(void)
{
    begin();
    EXPECT("PING", "+PONG");
    EXPECT("PING hi", "$2\r\nhi");
    arity("PING a b", "ping");
    EXPECT("ECHO hi", "$2\r\nhi");
    arity("ECHO", "echo");
    EXPECT("SELECT 0", "+OK");
    EXPECT("SELECT 1", "-ERR DB index is out of range");
    EXPECT("SELECT x", INTEGER);
    EXPECT("CONFIG GET save", "*2\r\n$4\r\nsave\r\n" EMPTY);
    EXPECT("CONFIG GET appendonly", "*2\r\n$10\r\nappendonly\r\n$3\r\nyes");
    EXPECT("CONFIG GET nothing", "*0");
    EXPECT("CONFIG GET", "-ERR wrong number of arguments for 'config|get' command");
    EXPECT("CONFIG SET save x", "-ERR CONFIG SET is not supported by this version");
    EXPECT("CONFIG BOGUS", "-ERR unknown subcommand 'BOGUS'. Try CONFIG HELP.");
    EXPECT("COMMAND DOCS", "*0");
    EXPECT("COMMAND DOCS get", "*0");
    EXPECT("COMMAND INFO get nosuch nobody",
           "*3\r\n*10\r\n$3\r\nget\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n"
           "*0\r\n*0\r\n*0\r\n*0\r\n$-1\r\n$-1");
    EXPECT("COMMAND LIST FILTERBY MODULE x", SYNTAX);
    arity("COMMAND COUNT x", "command|count");
    EXPECT("COMMAND BOGUS", "-ERR unknown subcommand 'BOGUS'. Try COMMAND HELP.");
    EXPECT("CLUSTER KEYSLOT foo", ":12182");
    EXPECT("CLUSTER KEYSLOT", "-ERR wrong number of arguments for 'cluster|keyslot' command");
    EXPECT("CLUSTER INFO", "+the server's");
    EXPECT("TIME", "+the server's");
}

static void the_command_list_counts_right(void)
{
    struct buffer reply = {0};
    unsigned listed = 0;
    unsigned counted = 0;

    begin();
    request("COMMAND COUNT", &reply);
    CHECK(sscanf(buffer_bytes(&reply), ":%u", &counted) == 1);
    buffer_clear(&reply);
    request("COMMAND", &reply);
    CHECK(sscanf(buffer_bytes(&reply), "*%u", &listed) == 1);
    CHECK_EQ(listed, counted);
    CHECK(strstr(buffer_bytes(&reply), "incrbyfloat") != NULL);
    CHECK(strstr(buffer_bytes(&reply), "setex") != NULL);
    buffer_clear(&reply);
    request("COMMAND LIST", &reply);
    CHECK(sscanf(buffer_bytes(&reply), "*%u", &listed) == 1);
    CHECK_EQ(listed, counted);
    buffer_free(&reply);
}

static void unknown_commands_are_quoted(void)
{
    begin();
    EXPECT("nosuch", "-ERR unknown command 'nosuch', with args beginning with: ");
    EXPECT("nosuch a bc", "-ERR unknown command 'nosuch', with args beginning with: 'a' 'bc' ");
    EXPECT("\"a\\r\\n+b\" \"\\r\\n\"",
           "-ERR unknown command 'a  +b', with args beginning with: '  ' ");
    EXPECT("\"\"", "-ERR unknown command '', with args beginning with: ");
    EXPECT("getx", "-ERR unknown command 'getx', with args beginning with: ");
    EXPECT("\"get\\x00\" k", "-ERR unknown command 'get', with args beginning with: 'k' ");
}

static void commands_of_later_versions_are_refused_by_name(void)
{
    begin();
    arity("RAFT.ADD", "raft.add");
    EXPECT("EXISTS k", ":0");
}

/* ---- The table ---- */

static void the_table_is_sorted_and_found_in_any_case(void)
{
    const struct command *command;
    const char *previous = "";
    char upper[32];

    for (size_t i = 0; (command = commands_at(i)) != NULL; i++) {
        CHECK(strcmp(previous, command->name) < 0);
        previous = command->name;
        for (size_t at = 0; at <= strlen(command->name); at++) {
            char c = command->name[at];
            upper[at] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
        }
        CHECK(commands_lookup(slice_of(upper)) == command);
        CHECK(commands_lookup(slice_of(command->name)) == command);
        CHECK((command->kind == COMMAND_WRITE) == (command->id > 0 && command->id < COMMAND_EXEC));
        CHECK((command->first_key != 0) == (command->key_step != 0));
    }
    CHECK(commands_lookup(slice_of("")) == NULL);
    CHECK(commands_lookup(slice_of("ge")) == NULL);
    CHECK(commands_lookup(slice_of("zzz")) == NULL);
}

/* The numbers are in logs on disks. */
static void the_numbers_in_the_log_never_change(void)
{
    static const char *const writes[] = {
        "set",         "getset", "getdel",   "setnx",    "mset",      "msetnx",  "del",
        "unlink",      "append", "setrange", "incr",     "incrby",    "decr",    "decrby",
        "incrbyfloat", "rename", "renamenx", "flushall", "flushdb",   "setex",   "psetex",
        "getex",       "expire", "pexpire",  "expireat", "pexpireat", "persist", "exec"};
    static const char *const reads[] = {"get",    "mget", "exists", "strlen",     "getrange",
                                        "substr", "type", "keys",   "scan",       "randomkey",
                                        "dbsize", "ttl",  "pttl",   "expiretime", "pexpiretime"};
    static const char *const others[] = {"ping", "echo", "select", "command", "config", "unwatch"};

    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++) {
        CHECK_EQ(commands_lookup(slice_of(writes[i]))->id, i + 1);
    }
    CHECK_EQ(COMMAND_TICK, sizeof writes / sizeof writes[0] + 1);
    for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++) {
        CHECK_EQ(commands_lookup(slice_of(reads[i]))->id, 64 + i);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        CHECK_EQ(commands_lookup(slice_of(others[i]))->id, 128 + i);
    }
}

static void slots_are_those_of_redis_cluster(void)
{
    CHECK_EQ(commands_slot(slice_of("")), 0);
    CHECK_EQ(commands_slot(slice_of("123456789")), 0x31c3);
    CHECK_EQ(commands_slot(slice_of("foo")), 12182);
    CHECK_EQ(commands_slot(slice_of("bar")), 5061);
    CHECK_EQ(commands_slot(slice_of("{user1000}.following")), commands_slot(slice_of("user1000")));
    CHECK_EQ(commands_slot(slice_of("foo{bar}{zap}")), commands_slot(slice_of("bar")));
    CHECK_EQ(commands_slot(slice_of("foo{{bar}}zap")), commands_slot(slice_of("{bar")));
    CHECK(commands_slot(slice_of("foo{}{bar}")) != commands_slot(slice_of("bar")));
    CHECK(commands_slot(slice_of("{bar")) != commands_slot(slice_of("bar")));
    CHECK(commands_slot(slice_of("}bar{foo}")) == commands_slot(slice_of("foo")));
}

static void a_commands_slot_is_that_of_its_first_key(void)
{
    struct slice mset[] = {{"MSET", 4}, {"foo", 3}, {"v", 1}};
    struct slice ping[] = {{"PING", 4}, {"foo", 3}};
    struct slice keys[] = {{"KEYS", 4}, {"foo", 3}};

    CHECK_EQ(command_slot(commands_lookup(mset[0]), mset, 3), 12182);
    CHECK_EQ(command_slot(commands_lookup(ping[0]), ping, 2), 0);
    CHECK_EQ(command_slot(commands_lookup(keys[0]), keys, 2), 0);
}

/* ---- Entries of the log ---- */

static int apply(const char *payload, size_t size)
{
    char *exact = malloc(size + 1); /* of the exact size, so that overreading is seen */
    int result;

    CHECK(exact != NULL);
    memcpy(exact, payload, size);
    result = command_verify(exact, size);
    CHECK_EQ(command_apply(store, exact, size, NULL), result);
    free(exact);
    return result;
}

static void an_entry_has_its_documented_form(void)
{
    static const char golden[] = "\2\7\0\0\0\0\0\1\0\1\2\1k\5value";
    static const char timeless[] = "\1\1\2\1k\6timely";
    struct slice args[] = {{"SET", 3}, {"k", 1}, {"value", 5}};
    struct buffer entry = {0};
    struct slice bytes;

    CHECK_EQ(command_encode(commands_lookup(args[0]), args, 3, (UINT64_C(1) << 48) + 7, &entry),
             COMMAND_OK);
    bytes.data = buffer_bytes(&entry);
    bytes.size = buffer_size(&entry);
    CHECK_EQ(bytes.size, sizeof golden - 1);
    CHECK(memcmp(bytes.data, golden, bytes.size) == 0);
    buffer_free(&entry);
    begin();
    CHECK_EQ(apply(golden, sizeof golden - 1), COMMAND_OK);
    EXPECT("GET k", "$5\r\nvalue");
    CHECK_EQ(store_clock(store), (UINT64_C(1) << 48) + 7);
    CHECK_EQ(apply(timeless, sizeof timeless - 1), COMMAND_OK); /* of the first version */
    EXPECT("GET k", "$6\r\ntimely");
    CHECK_EQ(store_clock(store), (UINT64_C(1) << 48) + 7);
}

static void an_entry_with_many_or_long_arguments_survives(void)
{
    enum { PAIRS = 300 };
    static struct slice args[2 * PAIRS + 1];
    static char keys[PAIRS][8];
    static char value[20000];
    struct buffer reply = {0};

    begin();
    memset(value, 'v', sizeof value);
    args[0] = slice_of("mset");
    for (size_t i = 0; i < PAIRS; i++) {
        snprintf(keys[i], sizeof keys[i], "k%zu", i);
        args[2 * i + 1] = slice_of(keys[i]);
        args[2 * i + 2].data = value;
        args[2 * i + 2].size = i * 60;
    }
    execute(args, 2 * PAIRS + 1, &reply);
    buffer_free(&reply);
    EXPECT("DBSIZE", ":300");
    EXPECT("STRLEN k299", ":17940");
    EXPECT("STRLEN k2", ":120");
}

static void what_we_could_not_have_encoded_is_refused(void)
{
#define ENTRY(bytes)                                                                               \
    {                                                                                              \
        bytes, sizeof(bytes) - 1                                                                   \
    }
    static const struct slice bad[] = {
        ENTRY(""),                            /* nothing */
        ENTRY("\1"),                          /* no command */
        ENTRY("\1\1"),                        /* no count */
        ENTRY("\3\1\2\1k\1v"),                /* another version */
        ENTRY("\2\1\2\1k\1v"),                /* a time that is cut off */
        ENTRY("\2\0\0\0\0\0\0\0\0"),          /* a time and nothing else */
        ENTRY("\1\0\2\1k\1v"),                /* no such command */
        ENTRY("\1\24\2\1k\1v"),               /* SETEX lacks an argument */
        ENTRY("\1\100\1\1k"),                 /* GET is no write */
        ENTRY("\1\377\1\1k"),                 /* of a later version */
        ENTRY("\1\1\2\1k"),                   /* an argument is missing */
        ENTRY("\1\1\2\1k\2v"),                /* an argument is cut off */
        ENTRY("\1\1\2\1k\1v!"),               /* something behind the end */
        ENTRY("\1\1\1\1k"),                   /* wrong number of arguments */
        ENTRY("\1\5\3\1a\1b\1c"),             /* MSET of a key without a value */
        ENTRY("\1\1\3\1k\1v\2EX"),            /* an option without its value */
        ENTRY("\1\1\3\1k\1v\5BOGUS"),         /* an option of nobody */
        ENTRY("\1\22\1\3NOW"),                /* FLUSHALL NOW */
        ENTRY("\1\1\202\0\1k\1v"),            /* a number in a longer form than it needs */
        ENTRY("\1\1\2\201\0k\1v"),            /* likewise */
        ENTRY("\1\1\2\377\377\377\377\177k"), /* a number above all bounds */
        ENTRY("\1\7\377\377\377\177"),        /* 2^28-1 arguments in no bytes */
    };

    begin();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_EQ(apply(bad[i].data, bad[i].size), COMMAND_EFORMAT);
    }
    EXPECT("DBSIZE", ":0");
}

static void replicas_with_and_without_an_audience_agree(void)
{
    static const char *const lines[] = {
        "SET a 1",           "INCR a",     "APPEND a x",        "INCR a",
        "MSET b 1 c 2",      "RENAME b d", "SETRANGE d 5 z",    "GETDEL c",
        "INCRBYFLOAT f 0.1", "SETNX f 2",  "INCRBYFLOAT f 0.2", "SET e v NX GET"};
    static const uint8_t other_secret[16] = {8};
    struct store *follower = store_new(other_secret);
    struct resp_parser parser;

    CHECK(follower != NULL);
    begin();
    resp_parser_init(&parser);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct buffer entry = {0};
        struct buffer reply = {0};
        char text[128];
        snprintf(text, sizeof text, "%s\n", lines[i]);
        CHECK_EQ(resp_parse(&parser, text, strlen(text)), RESP_REQUEST);
        const struct command *command = commands_check(parser.args, parser.arg_count, NULL);
        CHECK(command != NULL);
        command_encode(command, parser.args, parser.arg_count, 0, &entry);
        const char *payload = buffer_bytes(&entry);
        CHECK_EQ(command_apply(store, payload, buffer_size(&entry), &reply), COMMAND_OK);
        CHECK_EQ(command_apply(follower, payload, buffer_size(&entry), NULL), COMMAND_OK);
        CHECK_EQ(store_digest(store), store_digest(follower));
        buffer_free(&entry);
        buffer_free(&reply);
    }
    CHECK_EQ(store_count(store), 4);
    resp_parser_free(&parser);
    store_free(follower);
}

static void an_argument_above_the_largest_value_never_enters_the_log(void)
{
    size_t size = STORE_VALUE_BYTES_MAX + 1;
    char *value = calloc(1, size);
    struct slice args[] = {{"SET", 3}, {"k", 1}, {value, size}};
    struct buffer reply = {0};

    CHECK(value != NULL);
    CHECK(commands_check(args, 3, &reply) == NULL);
    buffer_add(&reply, "", 1);
    CHECK_STR(buffer_bytes(&reply),
              "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    args[2].size--;
    CHECK(commands_check(args, 3, NULL) != NULL);
    buffer_free(&reply);
    free(value);
}

int main(void)
{
    RUN(set_and_get);
    RUN(the_other_setters);
    RUN(append_and_strlen);
    RUN(ranges);
    RUN(setrange);
    RUN(integers_count);
    RUN(integers_do_not_overflow);
    RUN(decimals_add_exactly);
    RUN(decimals_are_read_and_printed_in_one_way);
    RUN(decimals_end_at_their_range);
    RUN(what_is_no_decimal_is_refused);
    RUN(deleting_and_counting_keys);
    RUN(renaming);
    RUN(looking_around);
    RUN(a_scan_goes_through_all_keys_by_its_cursors);
    RUN(a_reply_beyond_its_bound_fails_and_harms_nobody);
    RUN(local_commands);
    RUN(the_command_list_counts_right);
    RUN(unknown_commands_are_quoted);
    RUN(commands_of_later_versions_are_refused_by_name);
    RUN(the_table_is_sorted_and_found_in_any_case);
    RUN(the_numbers_in_the_log_never_change);
    RUN(slots_are_those_of_redis_cluster);
    RUN(a_commands_slot_is_that_of_its_first_key);
    RUN(an_entry_has_its_documented_form);
    RUN(an_entry_with_many_or_long_arguments_survives);
    RUN(what_we_could_not_have_encoded_is_refused);
    RUN(replicas_with_and_without_an_audience_agree);
    RUN(an_argument_above_the_largest_value_never_enters_the_log);
    store_free(store);
    return check_done();
}
