/*
 * MULTI, EXEC, DISCARD, WATCH and UNWATCH of one connection.
 *
 * Between MULTI and EXEC commands are checked as Redis checks them and kept here, in the form that
 * they will have in the log. EXEC makes one entry of them: all are applied at one place in the log,
 * or none. The entry carries the versions that the watched keys had when they were watched, and
 * whoever applies it compares: so the outcome is the same on every replica, and right whoever leads
 * by then. A version that was read late, from a replica that lags, makes EXEC fail where it need
 * not have; never the other way round.
 *
 * Two things differ from Redis. A watched key that did not exist and does not exist again at EXEC
 * counts as unchanged, even if it existed meanwhile. And commands about connections and the server
 * (INFO, CLIENT, WAIT and so on) cannot be queued.
 */
#ifndef RAFTKV_TRANSACTION_H
#define RAFTKV_TRANSACTION_H

#include "commands.h"

#define TRANSACTION_COMMANDS_MAX ((size_t)65536)
#define TRANSACTION_BYTES_MAX    ((size_t)14 << 20) /* of commands; with the watches, an entry */
#define TRANSACTION_WATCHES_MAX  ((size_t)1024)
#define TRANSACTION_WATCHED_MAX  ((size_t)1 << 20) /* bytes of watched keys */

/* Zero-filled it is ready. */
struct transaction {
    int is_open;    /* after MULTI */
    int is_spoiled; /* a command could not be queued: EXEC will refuse */
    int has_slot;   /* a command has a key */
    unsigned slot;  /* of the first such key */
    size_t count;   /* of commands */
    size_t watch_count;
    struct buffer commands;
    struct buffer watched;
};

void transaction_free(struct transaction *transaction);

enum transaction_step {
    TRANSACTION_PASS,     /* none of its business: execute the command as usual */
    TRANSACTION_ANSWERED, /* the reply was added */
    TRANSACTION_PROPOSE /* EXEC: transaction_encode and propose; the entry's reply is the answer */
};

/*
 * Looks at a command of a connection: to be called for every one while is_open, and for those of
 * COMMAND_QUEUE. count is at least 1.
 */
enum transaction_step transaction_take(struct transaction *transaction, const struct slice *args,
                                       size_t count, struct buffer *reply);

/* A command of an open transaction was refused by the caller, who has answered: EXEC will too. */
void transaction_spoil(struct transaction *transaction);

/* Adds the entry of EXEC. COMMAND_OK, or COMMAND_ENOMEM (and out has failed). */
int transaction_encode(const struct transaction *transaction, uint64_t now_ms, struct buffer *out);

/* Ends it, watches included: to be called when EXEC was proposed or refused. */
void transaction_end(struct transaction *transaction);

/*
 * Watches the keys of a checked WATCH as the store has them, and answers. The store is at least as
 * fresh as a read at this place would need.
 */
void transaction_watch(struct transaction *transaction, const struct store *store,
                       const struct slice *args, size_t count, struct buffer *reply);

#endif
