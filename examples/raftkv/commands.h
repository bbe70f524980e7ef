/*
 * The commands: what there is, what each needs, and the execution of those that concern the
 * keyspace. Nothing here knows of consensus, sockets or clocks.
 *
 * The way of a request through the server:
 *
 *     command = commands_check(args, count, reply)    null: answered with an error, done
 *     by command->kind:
 *       COMMAND_LOCAL   command_local(...); where that returns 0 the server answers, by command->id
 *       COMMAND_ADMIN   the server answers, by command->id; for trusted connections only
 *       COMMAND_READ    once the state machine is fresh enough: command_read(...)
 *       COMMAND_WRITE   command_encode(...), replicate, and when applied: command_apply(...)
 *
 * Determinism. command_apply depends on the store's content and the payload alone: no clock, no
 * random number, no floating point (INCRBYFLOAT adds decimals, see decimal.h), no order of the
 * table. The same payloads in the same order give every replica the same content, and the same
 * reply on whichever of them answers.
 *
 * What enters the log. A write is encoded only after commands_check has accepted it; what
 * commands_check refuses (unknown options, options of later versions) never enters the log. A
 * payload that this version could not have encoded is therefore damage or comes from a newer
 * version, and command_apply refuses it with COMMAND_EFORMAT: to skip it would make replicas
 * differ.
 */
#ifndef RAFTKV_COMMANDS_H
#define RAFTKV_COMMANDS_H

#include "buffer.h"
#include "resp.h"
#include "store.h"

/*
 * Identifies a command. The numbers of writes are stored in the log: they are never changed and
 * never given to another command. The others may change.
 */
enum command_id {
    COMMAND_SET = 1,
    COMMAND_GETSET = 2,
    COMMAND_GETDEL = 3,
    COMMAND_SETNX = 4,
    COMMAND_MSET = 5,
    COMMAND_MSETNX = 6,
    COMMAND_DEL = 7,
    COMMAND_UNLINK = 8,
    COMMAND_APPEND = 9,
    COMMAND_SETRANGE = 10,
    COMMAND_INCR = 11,
    COMMAND_INCRBY = 12,
    COMMAND_DECR = 13,
    COMMAND_DECRBY = 14,
    COMMAND_INCRBYFLOAT = 15,
    COMMAND_RENAME = 16,
    COMMAND_RENAMENX = 17,
    COMMAND_FLUSHALL = 18,
    COMMAND_FLUSHDB = 19,
    COMMAND_WRITES_END, /* one above the last write */

    COMMAND_GET = 64,
    COMMAND_MGET,
    COMMAND_EXISTS,
    COMMAND_STRLEN,
    COMMAND_GETRANGE,
    COMMAND_SUBSTR,
    COMMAND_TYPE,
    COMMAND_KEYS,
    COMMAND_SCAN,
    COMMAND_RANDOMKEY,
    COMMAND_DBSIZE,

    COMMAND_PING = 128,
    COMMAND_ECHO,
    COMMAND_SELECT,
    COMMAND_COMMAND,
    COMMAND_CONFIG,
    COMMAND_CLUSTER, /* KEYSLOT here; the other subcommands are the server's */
    COMMAND_QUIT,    /* from here on: the server's */
    COMMAND_AUTH,
    COMMAND_HELLO,
    COMMAND_CLIENT,
    COMMAND_INFO,
    COMMAND_ROLE,
    COMMAND_TIME,
    COMMAND_WAIT,
    COMMAND_READONLY,
    COMMAND_READWRITE,
    COMMAND_RAFT_STATE,
    COMMAND_RAFT_MEMBERS,
    COMMAND_SHUTDOWN,

    COMMAND_LATER = 255 /* known, but of a later version; commands_check refuses it */
};

enum command_kind {
    COMMAND_READ,       /* of the keyspace */
    COMMAND_WRITE,      /* through the log */
    COMMAND_LOCAL,      /* needs neither keyspace nor log */
    COMMAND_ADMIN,      /* the server's; only after AUTH, or from loopback without a password */
    COMMAND_UNSUPPORTED /* never returned by commands_check */
};

enum {
    COMMAND_BEFORE_AUTH = 1 /* flag: allowed on a connection that still has to authenticate */
};

struct call; /* commands_internal.h */

struct command {
    const char *name; /* lower case */
    int id;           /* enum command_id */
    int kind;         /* enum command_kind */
    int arity;        /* arguments with the command word; negative: at least that many */
    int first_key;    /* position of the first key; 0: the command has no key */
    int last_key;   /* position of the last key; negative counts from the end, -1 being the last */
    int key_step;   /* distance between keys */
    unsigned flags; /* COMMAND_BEFORE_AUTH */

    /* Internal; each may be null. */
    int (*check)(const struct call *call); /* of the options: 1, or 0 and answered */
    int (*run)(const struct call *call);   /* what command_apply, _read or _local returns */
};

/* The command of a name in any case; null: there is none. Static. */
const struct command *commands_lookup(struct slice name);

/* The commands one by one, in alphabetical order: 0 and up; null at the end. */
const struct command *commands_at(size_t position);

/*
 * Looks up args[0] and checks all that can be checked without the keyspace: the number of
 * arguments, options, whether this version has the command. count is at least 1. Null: refused, and
 * reply has the error.
 */
const struct command *commands_check(const struct slice *args, size_t count, struct buffer *reply);

/* The hash slot of a key, 0..16383: CRC16 of the key, or of what its first {...} encloses. */
unsigned commands_slot(struct slice key);

/* The slot of a checked command's first key; 0 where it has no key. */
unsigned command_slot(const struct command *command, const struct slice *args, size_t count);

enum {
    COMMAND_OK = 0,
    COMMAND_ENOMEM = -1, /* the store could not allocate */
    COMMAND_EFORMAT = -2 /* the payload is not one that this version encodes */
};

/* Bytes that command_encode adds. */
size_t command_encoded_size(const struct command *command, const struct slice *args, size_t count);

/*
 * Adds the log entry of a checked COMMAND_WRITE to out. COMMAND_OK, or COMMAND_ENOMEM (and out has
 * failed).
 */
int command_encode(const struct command *command, const struct slice *args, size_t count,
                   struct buffer *out);

/*
 * Executes an encoded write and adds its reply; reply is null where nobody waits. Borrows all.
 * COMMAND_OK: executed, which includes being answered with an error such as an overflow. On
 * COMMAND_ENOMEM and COMMAND_EFORMAT this replica has fallen off the log and must stop; the store
 * may hold a part of the command, and nothing useful is in reply.
 * A reply that does not fit is reply->failed, not an error here.
 */
int command_apply(struct store *store, const void *payload, size_t size, struct buffer *reply);

/* Executes a checked COMMAND_READ and adds its reply. Changes no content of the store. */
void command_read(struct store *store, const struct command *command, const struct slice *args,
                  size_t count, struct buffer *reply);

/*
 * Answers a checked COMMAND_LOCAL that needs nothing of the server: PING ECHO SELECT COMMAND
 * CONFIG and CLUSTER KEYSLOT. Returns 1 when answered, 0 when the server has to.
 */
int command_local(const struct command *command, const struct slice *args, size_t count,
                  struct buffer *reply);

/* The error that Redis gives for args[1] of a command with subcommands. */
void reply_unknown_subcommand(struct buffer *reply, const struct command *command,
                              const struct slice *args);

/* "wrong number of arguments": of the command, or with subcommand (lower case, or null) of that. */
void reply_wrong_arity(struct buffer *reply, const struct command *command, const char *subcommand);

#endif
