/*
 * The table of commands, the checks before execution, and the log's form of a write.
 *
 * A log entry, version 1: a byte 1, a byte with the command's number, the number of arguments
 * without the command word, then each argument as its size and its bytes. Numbers are in groups of
 * seven bits, the least first, every byte but the last with its high bit set, in the shortest form.
 */
#include <stdlib.h>
#include <string.h>

#include "commands_internal.h"

#define ENTRY_VERSION    1
#define ARGS_ON_STACK    ((size_t)16)
#define SLOT_COUNT       16384u
#define QUOTED_BYTES_MAX ((size_t)128) /* of a client's words in an error */

/* Rows of commands that exist in Redis or in the next version, and are refused by name. */
#define LATER(name, arity)                                                                         \
    {                                                                                              \
        name, COMMAND_LATER, COMMAND_UNSUPPORTED, arity, 0, 0, 0, 0, NULL, NULL                    \
    }

/* In alphabetical order: the lookup is a binary search. */
static const struct command commands[] = {
    {"append", COMMAND_APPEND, COMMAND_WRITE, 3, 1, 1, 1, 0, NULL, run_append},
    {"auth", COMMAND_AUTH, COMMAND_LOCAL, -2, 0, 0, 0, COMMAND_BEFORE_AUTH, NULL, NULL},
    {"client", COMMAND_CLIENT, COMMAND_LOCAL, -2, 0, 0, 0, 0, NULL, NULL},
    {"cluster", COMMAND_CLUSTER, COMMAND_LOCAL, -2, 0, 0, 0, 0, NULL, run_cluster},
    {"command", COMMAND_COMMAND, COMMAND_LOCAL, -1, 0, 0, 0, 0, NULL, run_command},
    {"config", COMMAND_CONFIG, COMMAND_LOCAL, -2, 0, 0, 0, 0, NULL, run_config},
    {"dbsize", COMMAND_DBSIZE, COMMAND_READ, 1, 0, 0, 0, 0, NULL, run_dbsize},
    {"decr", COMMAND_DECR, COMMAND_WRITE, 2, 1, 1, 1, 0, NULL, run_decr},
    {"decrby", COMMAND_DECRBY, COMMAND_WRITE, 3, 1, 1, 1, 0, NULL, run_decrby},
    {"del", COMMAND_DEL, COMMAND_WRITE, -2, 1, -1, 1, 0, NULL, run_del},
    LATER("discard", 1),
    {"echo", COMMAND_ECHO, COMMAND_LOCAL, 2, 0, 0, 0, 0, NULL, run_echo},
    LATER("exec", 1),
    {"exists", COMMAND_EXISTS, COMMAND_READ, -2, 1, -1, 1, 0, NULL, run_exists},
    LATER("expire", -3),
    LATER("expireat", -3),
    LATER("expiretime", 2),
    {"flushall", COMMAND_FLUSHALL, COMMAND_WRITE, -1, 0, 0, 0, 0, check_flush, run_flush},
    {"flushdb", COMMAND_FLUSHDB, COMMAND_WRITE, -1, 0, 0, 0, 0, check_flush, run_flush},
    {"get", COMMAND_GET, COMMAND_READ, 2, 1, 1, 1, 0, NULL, run_get},
    {"getdel", COMMAND_GETDEL, COMMAND_WRITE, 2, 1, 1, 1, 0, NULL, run_getdel},
    LATER("getex", -2),
    {"getrange", COMMAND_GETRANGE, COMMAND_READ, 4, 1, 1, 1, 0, NULL, run_getrange},
    {"getset", COMMAND_GETSET, COMMAND_WRITE, 3, 1, 1, 1, 0, NULL, run_getset},
    {"hello", COMMAND_HELLO, COMMAND_LOCAL, -1, 0, 0, 0, COMMAND_BEFORE_AUTH, NULL, NULL},
    {"incr", COMMAND_INCR, COMMAND_WRITE, 2, 1, 1, 1, 0, NULL, run_incr},
    {"incrby", COMMAND_INCRBY, COMMAND_WRITE, 3, 1, 1, 1, 0, NULL, run_incrby},
    {"incrbyfloat", COMMAND_INCRBYFLOAT, COMMAND_WRITE, 3, 1, 1, 1, 0, NULL, run_incrbyfloat},
    {"info", COMMAND_INFO, COMMAND_LOCAL, -1, 0, 0, 0, 0, NULL, NULL},
    {"keys", COMMAND_KEYS, COMMAND_READ, 2, 0, 0, 0, 0, NULL, run_keys},
    {"mget", COMMAND_MGET, COMMAND_READ, -2, 1, -1, 1, 0, NULL, run_mget},
    {"mset", COMMAND_MSET, COMMAND_WRITE, -3, 1, -1, 2, 0, check_pairs, run_mset},
    {"msetnx", COMMAND_MSETNX, COMMAND_WRITE, -3, 1, -1, 2, 0, check_pairs, run_msetnx},
    LATER("multi", 1),
    LATER("persist", 2),
    LATER("pexpire", -3),
    LATER("pexpireat", -3),
    LATER("pexpiretime", 2),
    {"ping", COMMAND_PING, COMMAND_LOCAL, -1, 0, 0, 0, 0, NULL, run_ping},
    LATER("psetex", 4),
    LATER("pttl", 2),
    {"quit", COMMAND_QUIT, COMMAND_LOCAL, -1, 0, 0, 0, COMMAND_BEFORE_AUTH, NULL, NULL},
    LATER("raft.add", -3),
    LATER("raft.checkpoint", 1),
    {"raft.members", COMMAND_RAFT_MEMBERS, COMMAND_ADMIN, 1, 0, 0, 0, 0, NULL, NULL},
    LATER("raft.promote", 2),
    LATER("raft.remove", 2),
    {"raft.state", COMMAND_RAFT_STATE, COMMAND_ADMIN, 1, 0, 0, 0, 0, NULL, NULL},
    LATER("raft.transfer", -1),
    {"randomkey", COMMAND_RANDOMKEY, COMMAND_READ, 1, 0, 0, 0, 0, NULL, run_randomkey},
    {"readonly", COMMAND_READONLY, COMMAND_LOCAL, 1, 0, 0, 0, 0, NULL, NULL},
    {"readwrite", COMMAND_READWRITE, COMMAND_LOCAL, 1, 0, 0, 0, 0, NULL, NULL},
    {"rename", COMMAND_RENAME, COMMAND_WRITE, 3, 1, 2, 1, 0, NULL, run_rename},
    {"renamenx", COMMAND_RENAMENX, COMMAND_WRITE, 3, 1, 2, 1, 0, NULL, run_renamenx},
    {"role", COMMAND_ROLE, COMMAND_LOCAL, 1, 0, 0, 0, 0, NULL, NULL},
    {"scan", COMMAND_SCAN, COMMAND_READ, -2, 0, 0, 0, 0, NULL, run_scan},
    {"select", COMMAND_SELECT, COMMAND_LOCAL, 2, 0, 0, 0, 0, NULL, run_select},
    {"set", COMMAND_SET, COMMAND_WRITE, -3, 1, 1, 1, 0, check_set, run_set},
    LATER("setex", 4),
    {"setnx", COMMAND_SETNX, COMMAND_WRITE, 3, 1, 1, 1, 0, NULL, run_setnx},
    {"setrange", COMMAND_SETRANGE, COMMAND_WRITE, 4, 1, 1, 1, 0, NULL, run_setrange},
    {"shutdown", COMMAND_SHUTDOWN, COMMAND_ADMIN, -1, 0, 0, 0, 0, NULL, NULL},
    {"strlen", COMMAND_STRLEN, COMMAND_READ, 2, 1, 1, 1, 0, NULL, run_strlen},
    {"substr", COMMAND_SUBSTR, COMMAND_READ, 4, 1, 1, 1, 0, NULL, run_getrange},
    {"time", COMMAND_TIME, COMMAND_LOCAL, 1, 0, 0, 0, 0, NULL, NULL},
    LATER("ttl", 2),
    {"type", COMMAND_TYPE, COMMAND_READ, 2, 1, 1, 1, 0, NULL, run_type},
    {"unlink", COMMAND_UNLINK, COMMAND_WRITE, -2, 1, -1, 1, 0, NULL, run_del},
    LATER("unwatch", 1),
    {"wait", COMMAND_WAIT, COMMAND_LOCAL, 3, 0, 0, 0, 0, NULL, NULL},
    LATER("watch", -2),
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

/* ---- Looking up ---- */

/* Orders a word in any case before, at or after a lower-case name. */
static int compare_name(struct slice word, const char *name)
{
    for (size_t i = 0; i < word.size; i++) {
        int difference = byte_lower(word.data[i]) - (unsigned char)name[i];
        if (difference != 0 || name[i] == '\0') {
            return difference != 0 ? difference : 1;
        }
    }
    return name[word.size] == '\0' ? 0 : -1;
}

const struct command *commands_lookup(struct slice name)
{
    size_t low = 0;
    size_t high = COMMAND_COUNT;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_name(name, commands[middle].name);
        if (order == 0) {
            return &commands[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

const struct command *commands_at(size_t position)
{
    return position < COMMAND_COUNT ? &commands[position] : NULL;
}

static const struct command *write_of_number(int id)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].id == id && commands[i].kind == COMMAND_WRITE) {
            return &commands[i];
        }
    }
    return NULL;
}

/* ---- Errors that name the command ---- */

void reply_wrong_arity(struct buffer *reply, const struct command *command, const char *subcommand)
{
    reply_errorf(reply, "ERR wrong number of arguments for '%s%s%s' command", command->name,
                 subcommand == NULL ? "" : "|", subcommand == NULL ? "" : subcommand);
}

static int quoted_size(struct slice word, size_t bytes_max)
{
    return (int)(word.size < bytes_max ? word.size : bytes_max);
}

void reply_unknown_subcommand(struct buffer *reply, const struct command *command,
                              const struct slice *args)
{
    char name[32];
    size_t length = 0;

    for (; command->name[length] != '\0' && length + 1 < sizeof name; length++) {
        char letter = command->name[length];
        name[length] = letter >= 'a' && letter <= 'z' ? (char)(letter - 'a' + 'A') : letter;
    }
    name[length] = '\0';
    reply_errorf(reply, "ERR unknown subcommand '%.*s'. Try %s HELP.",
                 quoted_size(args[1], QUOTED_BYTES_MAX), args[1].data, name);
}

/* Shows the word and the beginning of what followed it, as much as is of use. */
static void reply_unknown_command(struct buffer *reply, const struct slice *args, size_t count)
{
    char shown[QUOTED_BYTES_MAX + 4];
    size_t length = 0;

    for (size_t i = 1; i < count && length < QUOTED_BYTES_MAX; i++) {
        size_t size = (size_t)quoted_size(args[i], QUOTED_BYTES_MAX - length);
        shown[length++] = '\'';
        for (size_t at = 0; at < size; at++) {
            shown[length++] = args[i].data[at] == '\0' ? ' ' : args[i].data[at];
        }
        shown[length++] = '\'';
        shown[length++] = ' ';
    }
    shown[length] = '\0';
    reply_errorf(reply, "ERR unknown command '%.*s', with args beginning with: %s",
                 quoted_size(args[0], QUOTED_BYTES_MAX), args[0].data, shown);
}

/* ---- Checking ---- */

static int arity_fits(int arity, size_t count)
{
    return arity >= 0 ? count == (size_t)arity : count >= (size_t)-arity;
}

static int args_too_long(const struct slice *args, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (args[i].size > STORE_VALUE_BYTES_MAX) {
            return 1;
        }
    }
    return 0;
}

/* What holds for the command, whoever asks: a client, or an entry of the log. */
static int check(const struct command *command, const struct slice *args, size_t count,
                 struct buffer *reply)
{
    struct call call = {NULL, command, args, count, reply};

    if (!arity_fits(command->arity, count)) {
        reply_wrong_arity(reply, command, NULL);
        return 0;
    }
    if (command->kind == COMMAND_UNSUPPORTED) {
        reply_errorf(reply, "ERR '%s' is not supported by this version", command->name);
        return 0;
    }
    if (args_too_long(args, count)) {
        reply_error(reply, ERROR_TOO_LONG);
        return 0;
    }
    return command->check == NULL || command->check(&call);
}

const struct command *commands_check(const struct slice *args, size_t count, struct buffer *reply)
{
    const struct command *command = commands_lookup(args[0]);

    if (command == NULL) {
        reply_unknown_command(reply, args, count);
        return NULL;
    }
    return check(command, args, count, reply) ? command : NULL;
}

/* ---- Slots ---- */

/* CRC-16/XMODEM, bit by bit: keys are short, and a slot is needed for redirects only. */
static unsigned crc16(struct slice bytes)
{
    unsigned crc = 0;

    for (size_t i = 0; i < bytes.size; i++) {
        crc ^= (unsigned)(unsigned char)bytes.data[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000u) != 0 ? crc << 1 ^ 0x1021u : crc << 1;
        }
        crc &= 0xffffu;
    }
    return crc;
}

/* What lies between the first "{" and the first "}" behind it, unless there is nothing. */
static struct slice hash_tag(struct slice key)
{
    const char *open = key.size == 0 ? NULL : memchr(key.data, '{', key.size);
    const char *close;

    if (open == NULL) {
        return key;
    }
    close = memchr(open, '}', key.size - (size_t)(open - key.data));
    if (close == NULL || close == open + 1) {
        return key;
    }
    struct slice tag = {open + 1, (size_t)(close - open) - 1};
    return tag;
}

unsigned commands_slot(struct slice key)
{
    return crc16(hash_tag(key)) % SLOT_COUNT;
}

unsigned command_slot(const struct command *command, const struct slice *args, size_t count)
{
    size_t position = (size_t)command->first_key;

    return position == 0 || position >= count ? 0 : commands_slot(args[position]);
}

/* ---- The log's form of a write ---- */

static size_t number_size(size_t number)
{
    size_t size = 1;

    while (number >= 0x80) {
        number >>= 7;
        size++;
    }
    return size;
}

static char *put_number(char *out, size_t number)
{
    while (number >= 0x80) {
        *out++ = (char)((number & 0x7f) | 0x80);
        number >>= 7;
    }
    *out++ = (char)number;
    return out;
}

size_t command_encoded_size(const struct command *command, const struct slice *args, size_t count)
{
    size_t size = 2 + number_size(count - 1);

    (void)command;
    for (size_t i = 1; i < count; i++) {
        size += number_size(args[i].size) + args[i].size;
    }
    return size;
}

int command_encode(const struct command *command, const struct slice *args, size_t count,
                   struct buffer *out)
{
    size_t size = command_encoded_size(command, args, count);
    char *at = buffer_reserve(out, size);

    if (at == NULL) {
        return COMMAND_ENOMEM;
    }
    *at++ = ENTRY_VERSION;
    *at++ = (char)command->id;
    at = put_number(at, count - 1);
    for (size_t i = 1; i < count; i++) {
        at = put_number(at, args[i].size);
        if (args[i].size > 0) {
            memcpy(at, args[i].data, args[i].size);
        }
        at += args[i].size;
    }
    buffer_commit(out, size);
    return COMMAND_OK;
}

static int take_byte(struct slice *rest, unsigned *byte)
{
    if (rest->size == 0) {
        return 0;
    }
    *byte = (unsigned char)*rest->data;
    rest->data++;
    rest->size--;
    return 1;
}

/* At most 28 bits, in the shortest form: two spellings of one entry would be one too many. */
static int take_number(struct slice *rest, size_t *number)
{
    unsigned byte = 0;
    size_t value = 0;

    for (unsigned shift = 0; shift < 28; shift += 7) {
        if (!take_byte(rest, &byte)) {
            return 0;
        }
        value |= (size_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *number = value;
            return byte != 0 || shift == 0;
        }
    }
    return 0;
}

static int take_argument(struct slice *rest, struct slice *argument)
{
    size_t size;

    if (!take_number(rest, &size) || size > rest->size) {
        return 0;
    }
    argument->data = rest->data;
    argument->size = size;
    rest->data += size;
    rest->size -= size;
    return 1;
}

/* Reads the arguments, which must fill the rest of the entry exactly, and executes. */
static int apply_args(struct call *call, struct slice rest, struct slice *args)
{
    args[0] = slice_of(call->command->name);
    for (size_t i = 1; i < call->count; i++) {
        if (!take_argument(&rest, &args[i])) {
            return COMMAND_EFORMAT;
        }
    }
    if (rest.size != 0 || !check(call->command, args, call->count, NULL)) {
        return COMMAND_EFORMAT;
    }
    call->args = args;
    return call->command->run(call);
}

int command_apply(struct store *store, const void *payload, size_t size, struct buffer *reply)
{
    struct slice rest = {payload, size};
    struct call call = {store, NULL, NULL, 0, reply};
    struct slice few[ARGS_ON_STACK];
    struct slice *args = few;
    unsigned version = 0;
    unsigned id = 0;
    size_t count = 0;
    int result;

    if (!take_byte(&rest, &version) || version != ENTRY_VERSION || !take_byte(&rest, &id) ||
        !take_number(&rest, &count) || count > rest.size) { /* an argument takes a byte at least */
        return COMMAND_EFORMAT;
    }
    call.command = write_of_number((int)id);
    call.count = count + 1;
    if (call.command == NULL) {
        return COMMAND_EFORMAT;
    }
    if (call.count > ARGS_ON_STACK) {
        args = malloc(call.count * sizeof *args);
    }
    if (args == NULL) {
        return COMMAND_ENOMEM;
    }
    result = apply_args(&call, rest, args);
    if (args != few) {
        free(args);
    }
    return result;
}

/* ---- Reading and answering ---- */

void command_read(struct store *store, const struct command *command, const struct slice *args,
                  size_t count, struct buffer *reply)
{
    struct call call = {store, command, args, count, reply};

    if (reply != NULL) {
        (void)command->run(&call);
    }
}

int command_local(const struct command *command, const struct slice *args, size_t count,
                  struct buffer *reply)
{
    struct call call = {NULL, command, args, count, reply};

    return command->run != NULL && command->run(&call);
}
