/*
 * What the files that implement commands share. The functions declared here are the rows' entries
 * of the table in commands.c: they are named after the commands.
 */
#ifndef RAFTKV_COMMANDS_INTERNAL_H
#define RAFTKV_COMMANDS_INTERNAL_H

#include "commands.h"

/* One execution of a command. Everything is borrowed. */
struct call {
    struct store *store; /* null in checks and in local commands */
    const struct command *command;
    const struct slice *args;
    size_t count;
    struct buffer *reply; /* null: nobody to answer */
};

#define ERROR_SYNTAX      "ERR syntax error"
#define ERROR_NOT_INTEGER "ERR value is not an integer or out of range"
#define ERROR_TOO_LONG    "ERR string exceeds maximum allowed size (proto-max-bulk-len)"

/*
 * A command's own checks come first, run by commands_check; then what executes it. An execution
 * returns COMMAND_OK once it has answered, and COMMAND_ENOMEM where the store failed.
 */

/* strings.c */
int check_pairs(const struct call *call);
int check_set(const struct call *call);
int run_append(const struct call *call);
int run_decr(const struct call *call);
int run_decrby(const struct call *call);
int run_get(const struct call *call);
int run_getdel(const struct call *call);
int run_getrange(const struct call *call);
int run_getset(const struct call *call);
int run_incr(const struct call *call);
int run_incrby(const struct call *call);
int run_incrbyfloat(const struct call *call);
int run_mget(const struct call *call);
int run_mset(const struct call *call);
int run_msetnx(const struct call *call);
int run_set(const struct call *call);
int run_setnx(const struct call *call);
int run_setrange(const struct call *call);
int run_strlen(const struct call *call);

/* keys.c */
int check_flush(const struct call *call);
int run_dbsize(const struct call *call);
int run_del(const struct call *call);
int run_exists(const struct call *call);
int run_flush(const struct call *call);
int run_keys(const struct call *call);
int run_randomkey(const struct call *call);
int run_rename(const struct call *call);
int run_renamenx(const struct call *call);
int run_scan(const struct call *call);
int run_type(const struct call *call);

/* local.c; these return 1 when they have answered, 0 to leave it to the server */
int run_cluster(const struct call *call);
int run_command(const struct call *call);
int run_config(const struct call *call);
int run_echo(const struct call *call);
int run_ping(const struct call *call);
int run_select(const struct call *call);

#endif
