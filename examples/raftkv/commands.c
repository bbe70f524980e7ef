/*
 * The table of commands, the checks before execution, and the log's form of a write.
 *
 * A log entry: a byte 2, the proposer's time in milliseconds (64 bits, little-endian), and a body.
 * (A byte 1 and a body, without a time, is what the first version wrote.) A body: a byte with the
 * command's number, the number of arguments without the command word, then each argument as its
 * size and its bytes. Numbers are in groups of seven bits, the least first, every byte but the last
 * with its high bit set, in the shortest form.
 *
 * The body of a transaction: the number of EXEC, the number of watched keys, each as its size, its
 * bytes and its version (64 bits, little-endian), the number of commands, and each one's body.
 */
#include <stdlib.h>
#include <string.h>

#include "commands_internal.h"

#define ENTRY_TIMELESS   1
#define ENTRY_VERSION    2
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
    {"discard", COMMAND_DISCARD, COMMAND_QUEUE, 1, 0, 0, 0, 0, NULL, NULL},
    {"echo", COMMAND_ECHO, COMMAND_LOCAL, 2, 0, 0, 0, 0, NULL, run_echo},
    {"exec", COMMAND_EXEC, COMMAND_QUEUE, 1, 0, 0, 0, 0, NULL, NULL},
    {"exists", COMMAND_EXISTS, COMMAND_READ, -2, 1, -1, 1, 0, NULL, run_exists},
    {"expire", COMMAND_EXPIRE, COMMAND_WRITE, -3, 1, 1, 1, 0, check_expire, run_expire},
    {"expireat", COMMAND_EXPIREAT, COMMAND_WRITE, -3, 1, 1, 1, 0, check_expire, run_expire},
    {"expiretime", COMMAND_EXPIRETIME, COMMAND_READ, 2, 1, 1, 1, 0, NULL, run_expiretime},
    {"flushall", COMMAND_FLUSHALL, COMMAND_WRITE, -1, 0, 0, 0, 0, check_flush, run_flush},
    {"flushdb", COMMAND_FLUSHDB, COMMAND_WRITE, -1, 0, 0, 0, 0, check_flush, run_flush},
    {"get", COMMAND_GET, COMMAND_READ, 2, 1, 1, 1, 0, NULL, run_get},
    {"getdel", COMMAND_GETDEL, COMMAND_WRITE, 2, 1, 1, 1, 0, NULL, run_getdel},
    {"getex", COMMAND_GETEX, COMMAND_WRITE, -2, 1, 1, 1, 0, check_getex, run_getex},
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
    {"multi", COMMAND_MULTI, COMMAND_QUEUE, 1, 0, 0, 0, 0, NULL, NULL},
    {"persist", COMMAND_PERSIST, COMMAND_WRITE, 2, 1, 1, 1, 0, NULL, run_persist},
    {"pexpire", COMMAND_PEXPIRE, COMMAND_WRITE, -3, 1, 1, 1, 0, check_expire, run_expire},
    {"pexpireat", COMMAND_PEXPIREAT, COMMAND_WRITE, -3, 1, 1, 1, 0, check_expire, run_expire},
    {"pexpiretime", COMMAND_PEXPIRETIME, COMMAND_READ, 2, 1, 1, 1, 0, NULL, run_expiretime},
    {"ping", COMMAND_PING, COMMAND_LOCAL, -1, 0, 0, 0, 0, NULL, run_ping},
    {"psetex", COMMAND_PSETEX, COMMAND_WRITE, 4, 1, 1, 1, 0, check_setex, run_setex},
    {"pttl", COMMAND_PTTL, COMMAND_READ, 2, 1, 1, 1, 0, NULL, run_ttl},
    {"quit", COMMAND_QUIT, COMMAND_LOCAL, -1, 0, 0, 0, COMMAND_BEFORE_AUTH, NULL, NULL},
    {"raft.add", COMMAND_RAFT_ADD, COMMAND_ADMIN, -3, 0, 0, 0, 0, NULL, NULL},
    {"raft.checkpoint", COMMAND_RAFT_CHECKPOINT, COMMAND_ADMIN, 1, 0, 0, 0, 0, NULL, NULL},
    {"raft.members", COMMAND_RAFT_MEMBERS, COMMAND_ADMIN, 1, 0, 0, 0, 0, NULL, NULL},
    {"raft.promote", COMMAND_RAFT_PROMOTE, COMMAND_ADMIN, 2, 0, 0, 0, 0, NULL, NULL},
    {"raft.remove", COMMAND_RAFT_REMOVE, COMMAND_ADMIN, 2, 0, 0, 0, 0, NULL, NULL},
    {"raft.state", COMMAND_RAFT_STATE, COMMAND_ADMIN, 1, 0, 0, 0, 0, NULL, NULL},
    {"raft.transfer", COMMAND_RAFT_TRANSFER, COMMAND_ADMIN, -1, 0, 0, 0, 0, NULL, NULL},
    {"randomkey", COMMAND_RANDOMKEY, COMMAND_READ, 1, 0, 0, 0, 0, NULL, run_randomkey},
    {"readonly", COMMAND_READONLY, COMMAND_LOCAL, 1, 0, 0, 0, 0, NULL, NULL},
    {"readwrite", COMMAND_READWRITE, COMMAND_LOCAL, 1, 0, 0, 0, 0, NULL, NULL},
    {"rename", COMMAND_RENAME, COMMAND_WRITE, 3, 1, 2, 1, 0, NULL, run_rename},
    {"renamenx", COMMAND_RENAMENX, COMMAND_WRITE, 3, 1, 2, 1, 0, NULL, run_renamenx},
    {"role", COMMAND_ROLE, COMMAND_LOCAL, 1, 0, 0, 0, 0, NULL, NULL},
    {"scan", COMMAND_SCAN, COMMAND_READ, -2, 0, 0, 0, 0, NULL, run_scan},
    {"select", COMMAND_SELECT, COMMAND_LOCAL, 2, 0, 0, 0, 0, NULL, run_select},
    {"set", COMMAND_SET, COMMAND_WRITE, -3, 1, 1, 1, 0, check_set, run_set},
    {"setex", COMMAND_SETEX, COMMAND_WRITE, 4, 1, 1, 1, 0, check_setex, run_setex},
    {"setnx", COMMAND_SETNX, COMMAND_WRITE, 3, 1, 1, 1, 0, NULL, run_setnx},
    {"setrange", COMMAND_SETRANGE, COMMAND_WRITE, 4, 1, 1, 1, 0, NULL, run_setrange},
    {"shutdown", COMMAND_SHUTDOWN, COMMAND_ADMIN, -1, 0, 0, 0, 0, NULL, NULL},
    {"strlen", COMMAND_STRLEN, COMMAND_READ, 2, 1, 1, 1, 0, NULL, run_strlen},
    {"substr", COMMAND_SUBSTR, COMMAND_READ, 4, 1, 1, 1, 0, NULL, run_getrange},
    {"time", COMMAND_TIME, COMMAND_LOCAL, 1, 0, 0, 0, 0, NULL, NULL},
    {"ttl", COMMAND_TTL, COMMAND_READ, 2, 1, 1, 1, 0, NULL, run_ttl},
    {"type", COMMAND_TYPE, COMMAND_READ, 2, 1, 1, 1, 0, NULL, run_type},
    {"unlink", COMMAND_UNLINK, COMMAND_WRITE, -2, 1, -1, 1, 0, NULL, run_del},
    {"unwatch", COMMAND_UNWATCH, COMMAND_QUEUE, 1, 0, 0, 0, 0, NULL, run_unwatch},
    {"wait", COMMAND_WAIT, COMMAND_LOCAL, 3, 0, 0, 0, 0, NULL, NULL},
    {"watch", COMMAND_WATCH, COMMAND_READ, -2, 1, -1, 1, 0, NULL, run_watch},
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

static const struct command *command_of_number(unsigned id)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (commands[i].id == (int)id) {
            return &commands[i];
        }
    }
    return NULL;
}

int command_is_queueable(const struct command *command)
{
    return command->id < COMMAND_STORED_END && command->run != NULL;
}

/* ---- Errors that name the command ---- */

void reply_wrong_arity(struct buffer *reply, const struct command *command, const char *subcommand)
{
    const char *code =
        command->id == COMMAND_EXEC ? "EXECABORT Transaction discarded because of:" : "ERR";

    reply_errorf(reply, "%s wrong number of arguments for '%s%s%s' command", code, command->name,
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

/* What Redis finds out before it queues a command. */
static int admit(const struct command *command, size_t count, struct buffer *reply)
{
    if (!arity_fits(command->arity, count)) {
        reply_wrong_arity(reply, command, NULL);
        return 0;
    }
    if (command->kind == COMMAND_UNSUPPORTED) {
        reply_errorf(reply, "ERR '%s' is not supported by this version", command->name);
        return 0;
    }
    return 1;
}

/* What holds for the command, whoever asks: a client, or an entry of the log. */
static int check(const struct call *call)
{
    if (!admit(call->command, call->count, call->reply)) {
        return 0;
    }
    if (args_too_long(call->args, call->count)) {
        reply_error(call->reply, ERROR_TOO_LONG);
        return 0;
    }
    return call->command->check == NULL || call->command->check(call);
}

const struct command *commands_admit(const struct slice *args, size_t count, struct buffer *reply)
{
    const struct command *command = commands_lookup(args[0]);

    if (command == NULL) {
        reply_unknown_command(reply, args, count);
        return NULL;
    }
    return admit(command, count, reply) ? command : NULL;
}

const struct command *commands_check(const struct slice *args, size_t count, struct buffer *reply)
{
    const struct command *command = commands_lookup(args[0]);
    struct call call = {.command = command, .args = args, .count = count, .reply = reply};

    if (command == NULL) {
        reply_unknown_command(reply, args, count);
        return NULL;
    }
    return check(&call) ? command : NULL;
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

size_t number_size(size_t number)
{
    size_t size = 1;

    while (number >= 0x80) {
        number >>= 7;
        size++;
    }
    return size;
}

char *put_number(char *out, size_t number)
{
    while (number >= 0x80) {
        *out++ = (char)((number & 0x7f) | 0x80);
        number >>= 7;
    }
    *out++ = (char)number;
    return out;
}

char *put_entry_head(char *out, uint64_t now_ms)
{
    *out++ = ENTRY_VERSION;
    bytes_put_u64(out, now_ms);
    return out + sizeof now_ms;
}

size_t command_body_size(const struct slice *args, size_t count)
{
    size_t size = 1 + number_size(count - 1);

    for (size_t i = 1; i < count; i++) {
        size += number_size(args[i].size) + args[i].size;
    }
    return size;
}

static char *put_body(char *out, const struct command *command, const struct slice *args,
                      size_t count)
{
    *out++ = (char)command->id;
    out = put_number(out, count - 1);
    for (size_t i = 1; i < count; i++) {
        out = put_number(out, args[i].size);
        if (args[i].size > 0) {
            memcpy(out, args[i].data, args[i].size);
        }
        out += args[i].size;
    }
    return out;
}

int command_add_body(const struct command *command, const struct slice *args, size_t count,
                     struct buffer *out)
{
    size_t size = command_body_size(args, count);
    char *at = buffer_reserve(out, size);

    if (at == NULL) {
        return COMMAND_ENOMEM;
    }
    put_body(at, command, args, count);
    buffer_commit(out, size);
    return COMMAND_OK;
}

size_t command_encoded_size(const struct command *command, const struct slice *args, size_t count)
{
    (void)command;
    return ENTRY_HEAD_BYTES + command_body_size(args, count);
}

int command_encode(const struct command *command, const struct slice *args, size_t count,
                   uint64_t now_ms, struct buffer *out)
{
    size_t size = command_encoded_size(command, args, count);
    char *at = buffer_reserve(out, size);

    if (at == NULL) {
        return COMMAND_ENOMEM;
    }
    put_body(put_entry_head(at, now_ms), command, args, count);
    buffer_commit(out, size);
    return COMMAND_OK;
}

/* Not in the table: no client can ask for it. */
static const struct command tick = {"tick", COMMAND_TICK, COMMAND_WRITE, 1, 0, 0, 0,
                                    0,      NULL,         run_tick};

int command_encode_tick(uint64_t now_ms, struct buffer *out)
{
    return command_encode(&tick, NULL, 1, now_ms, out);
}

int command_set_time(void *payload, size_t size, uint64_t now_ms)
{
    char *bytes = payload;

    if (size < ENTRY_HEAD_BYTES || bytes[0] != ENTRY_VERSION) {
        return COMMAND_EFORMAT;
    }
    put_entry_head(bytes, now_ms);
    return COMMAND_OK;
}

/* ---- Reading it ---- */

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

static int take_u64(struct slice *rest, uint64_t *value)
{
    if (rest->size < sizeof *value) {
        return 0;
    }
    *value = bytes_u64(rest->data);
    rest->data += sizeof *value;
    rest->size -= sizeof *value;
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

static int take_head(struct slice *rest, uint64_t *now_ms)
{
    unsigned version;

    *now_ms = 0;
    if (!take_byte(rest, &version)) {
        return 0;
    }
    return version == ENTRY_TIMELESS || (version == ENTRY_VERSION && take_u64(rest, now_ms));
}

/* The arguments of one command after the other. */
struct arguments {
    struct slice few[ARGS_ON_STACK];
    struct slice *items; /* null: those few */
    size_t capacity;
};

static struct slice *room_for_arguments(struct arguments *arguments, size_t count)
{
    if (count <= ARGS_ON_STACK) {
        return arguments->few;
    }
    if (count > arguments->capacity) {
        free(arguments->items);
        arguments->items = malloc(count * sizeof *arguments->items);
        arguments->capacity = arguments->items != NULL ? count : 0;
    }
    return arguments->items;
}

/* Reads the body of a command, which is then at call->command, args and count. */
static int take_body(struct slice *rest, struct arguments *arguments, struct call *call)
{
    unsigned id = 0;
    size_t count = 0;
    struct slice *args;

    if (!take_byte(rest, &id) || !take_number(rest, &count) ||
        count > rest->size) { /* an argument takes a byte at least */
        return COMMAND_EFORMAT;
    }
    call->command = id == COMMAND_TICK ? &tick : command_of_number(id);
    if (call->command == NULL) {
        return COMMAND_EFORMAT;
    }
    args = room_for_arguments(arguments, count + 1);
    if (args == NULL) {
        return COMMAND_ENOMEM;
    }
    args[0] = slice_of(call->command->name);
    for (size_t i = 1; i <= count; i++) {
        if (!take_argument(rest, &args[i])) {
            return COMMAND_EFORMAT;
        }
    }
    call->args = args;
    call->count = count + 1;
    return COMMAND_OK;
}

/* ---- Applying ---- */

/* What every entry does, whatever is in it: time passes, and takes some keys with it. */
static void pass_time(struct store *store, uint64_t now_ms)
{
    store_advance(store, now_ms);
    store_remove_overdue(store, ENTRY_REMOVALS_MAX);
}

/* The body of a write must fill the rest of the entry. What it is is in call then. */
static int verify_write(struct call *call, struct slice rest, struct arguments *arguments)
{
    struct call silent;
    int status = take_body(&rest, arguments, call);

    if (status != COMMAND_OK) {
        return status;
    }
    silent = *call;
    silent.reply = NULL;
    silent.store = NULL;
    return rest.size == 0 && call->command->kind == COMMAND_WRITE && check(&silent)
               ? COMMAND_OK
               : COMMAND_EFORMAT;
}

static int apply_write(struct call *call, struct slice rest, uint64_t now_ms,
                       struct arguments *arguments)
{
    int status = verify_write(call, rest, arguments);

    if (status != COMMAND_OK) {
        return status;
    }
    pass_time(call->store, now_ms);
    return call->command->run(call);
}

/*
 * Are all watched keys as they were? Returns 1 and the rest, 0 where the entry is damaged. Without
 * a store that is all there is to know.
 */
static int take_watches(const struct store *store, struct slice *rest, int *unchanged)
{
    size_t count;

    *unchanged = 1;
    if (!take_number(rest, &count) || count > rest->size) {
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        struct slice key;
        uint64_t version;

        if (!take_argument(rest, &key) || !take_u64(rest, &version)) {
            return 0;
        }
        *unchanged &= store == NULL || store_version(store, key) == version;
    }
    return 1;
}

static int admit_queued(const struct call *call)
{
    return command_is_queueable(call->command) && call->command != &tick &&
                   admit(call->command, call->count, NULL)
               ? COMMAND_OK
               : COMMAND_EFORMAT;
}

/* Reads have no effect but their replies, so they are executed for whoever waits for those. */
static int run_queued(const struct call *call)
{
    if ((call->reply == NULL && call->command->kind != COMMAND_WRITE) || !check(call)) {
        return COMMAND_OK;
    }
    if (call->command->kind == COMMAND_WRITE) {
        return call->command->run(call);
    }
    (void)call->command->run(call);
    return COMMAND_OK;
}

static int each_queued(struct call *call, struct slice rest, size_t count,
                       struct arguments *arguments, int (*each)(const struct call *call))
{
    int status = COMMAND_OK;

    for (size_t i = 0; i < count && status == COMMAND_OK; i++) {
        status = take_body(&rest, arguments, call);
        if (status == COMMAND_OK) {
            status = each(call);
        }
    }
    return status == COMMAND_OK && rest.size > 0 ? COMMAND_EFORMAT : status;
}

/* Takes what is in front of a transaction's commands and verifies these; rest is theirs then. */
static int verify_transaction(struct call *call, struct slice *rest, size_t *count,
                              struct arguments *arguments)
{
    int unchanged;

    rest->data++; /* the number of EXEC */
    rest->size--;
    if (!take_watches(NULL, rest, &unchanged) || !take_number(rest, count)) {
        return COMMAND_EFORMAT;
    }
    return each_queued(call, *rest, *count, arguments, admit_queued);
}

/* Twice over the commands: nothing is executed of an entry that is damaged further on. */
static int apply_transaction(struct call *call, struct slice rest, uint64_t now_ms,
                             struct arguments *arguments)
{
    struct slice watches = {rest.data + 1, rest.size - 1};
    size_t count;
    int unchanged;
    int status = verify_transaction(call, &rest, &count, arguments);

    if (status != COMMAND_OK) {
        return status;
    }
    pass_time(call->store, now_ms);
    take_watches(call->store, &watches, &unchanged);
    if (!unchanged) {
        reply_null_array(call->reply);
        return COMMAND_OK;
    }
    reply_array(call->reply, count);
    return each_queued(call, rest, count, arguments, run_queued);
}

static int is_transaction(struct slice body)
{
    return (unsigned char)body.data[0] == COMMAND_EXEC;
}

int command_apply(struct store *store, const void *payload, size_t size, struct buffer *reply)
{
    struct slice rest = {payload, size};
    struct call call = {.store = store, .reply = reply};
    struct arguments arguments = {.items = NULL};
    uint64_t now_ms;
    int status;

    if (!take_head(&rest, &now_ms) || rest.size == 0) {
        return COMMAND_EFORMAT;
    }
    status = is_transaction(rest) ? apply_transaction(&call, rest, now_ms, &arguments)
                                  : apply_write(&call, rest, now_ms, &arguments);
    free(arguments.items);
    return status;
}

int command_verify(const void *payload, size_t size)
{
    struct slice rest = {payload, size};
    struct call call = {.store = NULL};
    struct arguments arguments = {.items = NULL};
    uint64_t now_ms;
    size_t count;
    int status;

    if (!take_head(&rest, &now_ms) || rest.size == 0) {
        return COMMAND_EFORMAT;
    }
    status = is_transaction(rest) ? verify_transaction(&call, &rest, &count, &arguments)
                                  : verify_write(&call, rest, &arguments);
    free(arguments.items);
    return status;
}

/* ---- Reading and answering ---- */

void command_read(struct store *store, const struct command *command, const struct slice *args,
                  size_t count, uint64_t now_ms, struct buffer *reply)
{
    struct call call = {.store = store,
                        .command = command,
                        .args = args,
                        .count = count,
                        .reply = reply,
                        .now_ms = now_ms};

    if (reply != NULL) {
        (void)command->run(&call);
    }
}

int command_local(const struct command *command, const struct slice *args, size_t count,
                  struct buffer *reply)
{
    struct call call = {.command = command, .args = args, .count = count, .reply = reply};

    return command->run != NULL && command->run(&call);
}
