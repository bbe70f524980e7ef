/*
 * The commands that need neither keyspace nor server: what is constant.
 */
#include "commands_internal.h"
#include "glob.h"

int run_ping(const struct call *call)
{
    if (call->count > 2) {
        reply_wrong_arity(call->reply, call->command, NULL);
    } else if (call->count == 2) {
        reply_bulk(call->reply, call->args[1]);
    } else {
        reply_simple(call->reply, "PONG");
    }
    return 1;
}

int run_echo(const struct call *call)
{
    reply_bulk(call->reply, call->args[1]);
    return 1;
}

int run_select(const struct call *call)
{
    int64_t database;

    if (!slice_to_integer(call->args[1], &database)) {
        reply_error(call->reply, ERROR_NOT_INTEGER);
    } else if (database != 0) {
        reply_error(call->reply, "ERR DB index is out of range");
    } else {
        reply_simple(call->reply, "OK");
    }
    return 1;
}

/* In a transaction, whose end it anticipates; elsewhere transaction_take has dealt with it. */
int run_unwatch(const struct call *call)
{
    reply_simple(call->reply, "OK");
    return 1;
}

/* What it does to the connection is transaction_watch. */
int run_watch(const struct call *call)
{
    reply_simple(call->reply, "OK");
    return COMMAND_OK;
}

int run_cluster(const struct call *call)
{
    if (!slice_is(call->args[1], "keyslot")) {
        return 0;
    }
    if (call->count != 3) {
        reply_wrong_arity(call->reply, call->command, "keyslot");
    } else {
        reply_integer(call->reply, (int64_t)commands_slot(call->args[2]));
    }
    return 1;
}

/* ---- CONFIG ---- */

/* What tools ask before they begin. The rest of the configuration is given at start. */
static const struct setting {
    const char *name;
    const char *value;
} settings[] = {
    {"appendfsync", "always"},
    {"appendonly", "yes"}, /* the replicated log is one */
    {"cluster-enabled", "yes"},
    {"databases", "1"},
    {"maxmemory", "0"},
    {"maxmemory-policy", "noeviction"},
    {"proto-max-bulk-len", "16777216"},
    {"save", ""},
    {"timeout", "0"},
};

#define SETTING_COUNT (sizeof settings / sizeof settings[0])

static int is_asked(const struct setting *setting, const struct call *call)
{
    for (size_t i = 2; i < call->count; i++) {
        if (glob_match(call->args[i], slice_of(setting->name), 1)) {
            return 1;
        }
    }
    return 0;
}

static void config_get(const struct call *call)
{
    size_t count = 0;

    for (size_t i = 0; i < SETTING_COUNT; i++) {
        count += (size_t)is_asked(&settings[i], call);
    }
    reply_array(call->reply, count * 2);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (is_asked(&settings[i], call)) {
            reply_bulk_text(call->reply, settings[i].name);
            reply_bulk_text(call->reply, settings[i].value);
        }
    }
}

int run_config(const struct call *call)
{
    struct slice word = call->args[1];

    if (slice_is(word, "get") && call->count >= 3) {
        config_get(call);
    } else if (slice_is(word, "get")) {
        reply_wrong_arity(call->reply, call->command, "get");
    } else if (slice_is(word, "set") || slice_is(word, "rewrite") || slice_is(word, "resetstat")) {
        reply_errorf(call->reply, "ERR CONFIG %.*s is not supported by this version",
                     (int)word.size, word.data);
    } else {
        reply_unknown_subcommand(call->reply, call->command, call->args);
    }
    return 1;
}

/* ---- COMMAND ---- */

static const struct command *supported_at(size_t *position)
{
    const struct command *command = commands_at(*position);

    while (command != NULL && command->kind == COMMAND_UNSUPPORTED) {
        command = commands_at(++*position);
    }
    ++*position;
    return command;
}

static size_t supported_count(void)
{
    size_t position = 0;
    size_t count = 0;

    while (supported_at(&position) != NULL) {
        count++;
    }
    return count;
}

static void reply_flags(struct buffer *reply, const struct command *command)
{
    static const char *const kinds[] = {
        [COMMAND_READ] = "readonly", [COMMAND_WRITE] = "write", [COMMAND_LOCAL] = "fast",
        [COMMAND_QUEUE] = "fast",    [COMMAND_ADMIN] = "admin",
    };
    int before_auth = (command->flags & COMMAND_BEFORE_AUTH) != 0;

    reply_array(reply, before_auth ? 2 : 1);
    reply_simple(reply, kinds[command->kind]);
    if (before_auth) {
        reply_simple(reply, "no_auth");
    }
}

/*
 * The ten fields of Redis 7. The last four (categories, tips, key specifications, subcommands) are
 * for tools that want to know more than we tell.
 */
static void reply_command_info(struct buffer *reply, const struct command *command)
{
    reply_array(reply, 10);
    reply_bulk_text(reply, command->name);
    reply_integer(reply, command->arity);
    reply_flags(reply, command);
    reply_integer(reply, command->first_key);
    reply_integer(reply, command->last_key);
    reply_integer(reply, command->key_step);
    for (int i = 0; i < 4; i++) {
        reply_array(reply, 0);
    }
}

static void command_list(struct buffer *reply,
                         void (*each)(struct buffer *, const struct command *))
{
    const struct command *command;
    size_t position = 0;

    reply_array(reply, supported_count());
    while ((command = supported_at(&position)) != NULL) {
        each(reply, command);
    }
}

static void reply_name(struct buffer *reply, const struct command *command)
{
    reply_bulk_text(reply, command->name);
}

static void command_info(const struct call *call)
{
    reply_array(call->reply, call->count - 2);
    for (size_t i = 2; i < call->count; i++) {
        const struct command *command = commands_lookup(call->args[i]);
        if (command != NULL && command->kind != COMMAND_UNSUPPORTED) {
            reply_command_info(call->reply, command);
        } else {
            reply_null(call->reply);
        }
    }
}

int run_command(const struct call *call)
{
    struct slice word = call->count > 1 ? call->args[1] : slice_of("");

    if (call->count == 1 || (slice_is(word, "info") && call->count == 2)) {
        command_list(call->reply, reply_command_info);
    } else if (slice_is(word, "info")) {
        command_info(call);
    } else if (slice_is(word, "docs")) {
        reply_array(call->reply, 0);
    } else if (slice_is(word, "list") && call->count == 2) {
        command_list(call->reply, reply_name);
    } else if (slice_is(word, "list")) {
        reply_error(call->reply, ERROR_SYNTAX); /* filters would be ignored */
    } else if (slice_is(word, "count") && call->count == 2) {
        reply_integer(call->reply, (int64_t)supported_count());
    } else if (slice_is(word, "count")) {
        reply_wrong_arity(call->reply, call->command, "count");
    } else {
        reply_unknown_subcommand(call->reply, call->command, call->args);
    }
    return 1;
}
