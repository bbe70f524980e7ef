/*
 * The commands: what there is, what each needs, and the execution of those that concern the
 * keyspace. Nothing here knows of consensus, sockets or clocks.
 *
 * The way of a request through the server:
 *
 *     command = commands_check(args, count, reply)    null: answered with an error, done
 *     by command->kind:
 *       COMMAND_LOCAL   command_local(...); where that returns 0 the server answers, by command->id
 *       COMMAND_QUEUE   transaction_take(...), see transaction.h
 *       COMMAND_ADMIN   the server answers, by command->id; for trusted connections only
 *       COMMAND_READ    once the state machine is fresh enough: command_read(...)
 *       COMMAND_WRITE   command_encode(...), replicate, and when applied: command_apply(...)
 *
 * Time. Whoever proposes a write stamps the entry with its own clock, and the store's clock, by
 * which keys expire, is the latest stamp applied: no replica consults its own clock when it applies.
 * A stamp before an earlier one changes nothing, so a new leader whose clock is slow makes keys live
 * longer, and none come back. Every entry removes a bounded number of overdue keys; those that are
 * left are not seen by anybody meanwhile. Without writes time stands still: a leader proposes a
 * *tick* (command_encode_tick) when the first key is due.
 *
 * Reads see what the store's clock says and nothing else: would a reader hide a key by its own
 * clock, the next reader's could show it again. Only the number that TTL answers with uses the
 * reader's clock, where it is ahead, and stays at 0 until the key is gone.
 *
 * Determinism. command_apply depends on the store's content and the payload alone: no clock, no
 * random number, no floating point (INCRBYFLOAT adds decimals, see decimal.h), no order of the
 * table. The same payloads in the same order give every replica the same content, and the same
 * reply on whichever of them answers.
 *
 * What enters the log. A write is encoded only after commands_check has accepted it; what
 * commands_check refuses (unknown options, say) never enters the log, unless it was queued in a
 * transaction: there commands_admit was asked, and the rest is found out, and answered with the same
 * error, when the transaction is applied. A payload that this version could not have encoded is therefore damage or comes from a newer
 * version, and command_apply refuses it with COMMAND_EFORMAT: to skip it would make replicas
 * differ.
 */
#ifndef RAFTKV_COMMANDS_H
#define RAFTKV_COMMANDS_H

#include "buffer.h"
#include "resp.h"
#include "store.h"

/* The longest entry of the log (raft_options.entry_bytes_max). */
#define COMMAND_ENTRY_BYTES_MAX ((size_t)16 << 20)

/*
 * Identifies a command. Numbers below COMMAND_STORED_END are stored in the log, those of reads in
 * transactions: they are never changed and never given to another command. The others may change.
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
    COMMAND_SETEX = 20,
    COMMAND_PSETEX = 21,
    COMMAND_GETEX = 22,
    COMMAND_EXPIRE = 23,
    COMMAND_PEXPIRE = 24,
    COMMAND_EXPIREAT = 25,
    COMMAND_PEXPIREAT = 26,
    COMMAND_PERSIST = 27,
    COMMAND_EXEC = 28, /* a transaction; transaction_take answers it, or wants it proposed */
    COMMAND_TICK = 29, /* nobody's command: lets time pass */

    COMMAND_GET = 64,
    COMMAND_MGET = 65,
    COMMAND_EXISTS = 66,
    COMMAND_STRLEN = 67,
    COMMAND_GETRANGE = 68,
    COMMAND_SUBSTR = 69,
    COMMAND_TYPE = 70,
    COMMAND_KEYS = 71,
    COMMAND_SCAN = 72,
    COMMAND_RANDOMKEY = 73,
    COMMAND_DBSIZE = 74,
    COMMAND_TTL = 75,
    COMMAND_PTTL = 76,
    COMMAND_EXPIRETIME = 77,
    COMMAND_PEXPIRETIME = 78,

    COMMAND_PING = 128,
    COMMAND_ECHO = 129,
    COMMAND_SELECT = 130,
    COMMAND_COMMAND = 131,
    COMMAND_CONFIG = 132,
    COMMAND_UNWATCH = 133,
    COMMAND_STORED_END = 160,

    COMMAND_WATCH, /* the rest of it is transaction_watch */
    COMMAND_MULTI,
    COMMAND_DISCARD,
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
    COMMAND_RAFT_ADD, /* from here to the next gap: admin.h */
    COMMAND_RAFT_REMOVE,
    COMMAND_RAFT_PROMOTE,
    COMMAND_RAFT_TRANSFER,
    COMMAND_RAFT_CHECKPOINT,

    COMMAND_SHUTDOWN,

    COMMAND_LATER = 255 /* known, but of a later version; commands_check refuses it */
};

enum command_kind {
    COMMAND_READ,       /* of the keyspace */
    COMMAND_WRITE,      /* through the log */
    COMMAND_LOCAL,      /* needs neither keyspace nor log */
    COMMAND_QUEUE,      /* MULTI and what belongs to it: about the connection's transaction */
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

/*
 * The part of these checks that Redis makes before it queues a command in a transaction: the name,
 * the number of arguments, and whether this version has the command.
 */
const struct command *commands_admit(const struct slice *args, size_t count, struct buffer *reply);

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
 * Adds the log entry of a checked COMMAND_WRITE to out, with the proposer's time. COMMAND_OK, or
 * COMMAND_ENOMEM (and out has failed).
 */
int command_encode(const struct command *command, const struct slice *args, size_t count,
                   uint64_t now_ms, struct buffer *out);

/* Adds the entry that lets time pass and nothing else. Returns as command_encode. */
int command_encode_tick(uint64_t now_ms, struct buffer *out);

/*
 * Gives an encoded entry another time: for whoever proposes what another has encoded. COMMAND_OK or
 * COMMAND_EFORMAT.
 */
int command_set_time(void *payload, size_t size, uint64_t now_ms);

/*
 * Executes an encoded write and adds its reply; reply is null where nobody waits. Borrows all.
 * COMMAND_OK: executed, which includes being answered with an error such as an overflow. On
 * COMMAND_ENOMEM and COMMAND_EFORMAT this replica has fallen off the log and must stop; the store
 * may hold a part of the command, and nothing useful is in reply.
 * A reply that does not fit is reply->failed, not an error here.
 */
int command_apply(struct store *store, const void *payload, size_t size, struct buffer *reply);

/*
 * Would command_apply take this payload for an entry? For whoever proposes what came from elsewhere:
 * an entry that no replica takes stops them all. COMMAND_OK, COMMAND_EFORMAT or COMMAND_ENOMEM.
 */
int command_verify(const void *payload, size_t size);

/*
 * Executes a checked COMMAND_READ and adds its reply. now_ms is the reader's time, or 0. Changes no
 * content of the store.
 */
void command_read(struct store *store, const struct command *command, const struct slice *args,
                  size_t count, uint64_t now_ms, struct buffer *reply);

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
