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
    uint64_t now_ms;      /* a reader's time, or 0 */
};

#define ERROR_SYNTAX      "ERR syntax error"
#define ERROR_NOT_INTEGER "ERR value is not an integer or out of range"
#define ERROR_TOO_LONG    "ERR string exceeds maximum allowed size (proto-max-bulk-len)"

/*
 * A command's own checks come first, run by commands_check; then what executes it. An execution
 * returns COMMAND_OK once it has answered, and COMMAND_ENOMEM where the store failed.
 */

/* How an entry of the log begins and what a transaction is made of, see commands.c. */
#define ENTRY_HEAD_BYTES   ((size_t)9)
#define NUMBER_BYTES_MAX   ((size_t)5)
#define VERSION_BYTES      ((size_t)8)
#define TICK_REMOVALS_MAX  ((size_t)1024)
#define ENTRY_REMOVALS_MAX ((size_t)16)

char *put_entry_head(char *out, uint64_t now_ms);
char *put_number(char *out, size_t number);
size_t number_size(size_t number);

/* A command without the head. Adds it; COMMAND_OK or COMMAND_ENOMEM. */
size_t command_body_size(const struct slice *args, size_t count);
int command_add_body(const struct command *command, const struct slice *args, size_t count,
                     struct buffer *out);

/* May it be one of a transaction's commands? */
int command_is_queueable(const struct command *command);

/* The time at which a write with a relative time begins to count: the store's. */
uint64_t base_time(const struct call *call);

/* expiry.c */
struct expiry_option {
    int unit; /* enum expiry_unit */
    int keep;
    int persist;
    struct slice time;
};

enum expiry_unit { EXPIRY_NONE, EXPIRY_EX, EXPIRY_PX, EXPIRY_EXAT, EXPIRY_PXAT };

/*
 * Takes one of EX PX EXAT PXAT KEEPTTL PERSIST at *position, with its time, unless it contradicts
 * one taken before. 1, or 0 where it is none.
 */
int take_expiry_option(const struct call *call, size_t *position, struct expiry_option *option);

/*
 * The moment that an option means; STORE_FOREVER or STORE_KEEP_EXPIRY without a time. 1, or 0 with
 * the error answered.
 */
int take_expiry(const struct call *call, const struct expiry_option *option, uint64_t *at_ms);

int check_expire(const struct call *call);
int check_getex(const struct call *call);
int check_setex(const struct call *call);
int run_expire(const struct call *call);
int run_expiretime(const struct call *call);
int run_getex(const struct call *call);
int run_persist(const struct call *call);
int run_setex(const struct call *call);
int run_tick(const struct call *call);
int run_ttl(const struct call *call);

/* strings.c */
void reply_value(const struct call *call, struct slice key);
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
int run_unwatch(const struct call *call);
int run_watch(const struct call *call);

#endif
