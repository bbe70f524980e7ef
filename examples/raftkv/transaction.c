/*
 * Transactions of a connection. Their commands wait as bodies of the log's form, one behind the
 * other; so do the watched keys with their versions (see commands.c).
 */
#include "transaction.h"

#include <string.h>

#include "commands_internal.h"

void transaction_free(struct transaction *transaction)
{
    buffer_free(&transaction->commands);
    buffer_free(&transaction->watched);
    memset(transaction, 0, sizeof *transaction);
}

static void forget_commands(struct transaction *transaction)
{
    buffer_free(&transaction->commands);
    transaction->is_open = 0;
    transaction->is_spoiled = 0;
    transaction->has_slot = 0;
    transaction->slot = 0;
    transaction->count = 0;
}

static void forget_watches(struct transaction *transaction)
{
    buffer_free(&transaction->watched);
    transaction->watch_count = 0;
}

void transaction_end(struct transaction *transaction)
{
    forget_commands(transaction);
    forget_watches(transaction);
}

void transaction_spoil(struct transaction *transaction)
{
    transaction->is_spoiled = transaction->is_open;
}

/* ---- Queueing ---- */

static void refuse(struct transaction *transaction, const char *error, struct buffer *reply)
{
    reply_error(reply, error);
    transaction_spoil(transaction);
}

static void note_slot(struct transaction *transaction, const struct command *command,
                      const struct slice *args, size_t count)
{
    if (!transaction->has_slot && command->first_key > 0) {
        transaction->has_slot = 1;
        transaction->slot = command_slot(command, args, count);
    }
}

static void queue(struct transaction *transaction, const struct command *command,
                  const struct slice *args, size_t count, struct buffer *reply)
{
    if (!command_is_queueable(command)) {
        refuse(transaction, "ERR Command not allowed inside a transaction", reply);
        return;
    }
    if (transaction->count == TRANSACTION_COMMANDS_MAX ||
        command_body_size(args, count) >
            TRANSACTION_BYTES_MAX - buffer_size(&transaction->commands)) {
        refuse(transaction, "ERR the transaction is too large for an entry of the log", reply);
        return;
    }
    if (command_add_body(command, args, count, &transaction->commands) != COMMAND_OK) {
        buffer_free(&transaction->commands); /* what is left of it is never executed */
        refuse(transaction, "ERR out of memory for the transaction", reply);
        return;
    }
    transaction->count++;
    note_slot(transaction, command, args, count);
    reply_simple(reply, "QUEUED");
}

static enum transaction_step begin(struct transaction *transaction, struct buffer *reply)
{
    if (transaction->is_open) {
        reply_error(reply, "ERR MULTI calls can not be nested");
    } else {
        transaction->is_open = 1;
        reply_simple(reply, "OK");
    }
    return TRANSACTION_ANSWERED;
}

static enum transaction_step discard(struct transaction *transaction, struct buffer *reply)
{
    if (!transaction->is_open) {
        reply_error(reply, "ERR DISCARD without MULTI");
    } else {
        transaction_end(transaction);
        reply_simple(reply, "OK");
    }
    return TRANSACTION_ANSWERED;
}

static enum transaction_step execute(struct transaction *transaction, struct buffer *reply)
{
    if (!transaction->is_open) {
        reply_error(reply, "ERR EXEC without MULTI");
        return TRANSACTION_ANSWERED;
    }
    if (transaction->is_spoiled) {
        transaction_end(transaction);
        reply_error(reply, "EXECABORT Transaction discarded because of previous errors.");
        return TRANSACTION_ANSWERED;
    }
    return TRANSACTION_PROPOSE;
}

static enum transaction_step unwatch(struct transaction *transaction, struct buffer *reply)
{
    forget_watches(transaction);
    reply_simple(reply, "OK");
    return TRANSACTION_ANSWERED;
}

enum transaction_step transaction_take(struct transaction *transaction, const struct slice *args,
                                       size_t count, struct buffer *reply)
{
    const struct command *command = commands_admit(args, count, reply);

    if (command == NULL && slice_is(args[0], "exec")) {
        transaction_end(transaction);
        return TRANSACTION_ANSWERED;
    }
    if (command == NULL) {
        transaction_spoil(transaction);
        return TRANSACTION_ANSWERED;
    }
    switch (command->id) {
    case COMMAND_MULTI:
        return begin(transaction, reply);
    case COMMAND_DISCARD:
        return discard(transaction, reply);
    case COMMAND_EXEC:
        return execute(transaction, reply);
    case COMMAND_WATCH:
        reply_error(reply, "ERR WATCH inside MULTI is not allowed");
        return TRANSACTION_ANSWERED;
    case COMMAND_QUIT:
        return TRANSACTION_PASS;
    default:
        break;
    }
    if (!transaction->is_open) {
        return command->id == COMMAND_UNWATCH ? unwatch(transaction, reply) : TRANSACTION_PASS;
    }
    queue(transaction, command, args, count, reply);
    return TRANSACTION_ANSWERED;
}

/* ---- Watching ---- */

/* Room for a key and its version, or null. */
static char *room_to_watch(struct transaction *transaction, struct slice key)
{
    if (transaction->watch_count == TRANSACTION_WATCHES_MAX ||
        key.size > TRANSACTION_WATCHED_MAX - buffer_size(&transaction->watched)) {
        return NULL;
    }
    return buffer_reserve(&transaction->watched, NUMBER_BYTES_MAX + key.size + VERSION_BYTES);
}

static int watch(struct transaction *transaction, const struct store *store, struct slice key)
{
    char *room = room_to_watch(transaction, key);
    char *at = room;

    if (room == NULL) {
        transaction->watched.failed = 0;
        return 0;
    }
    at = put_number(at, key.size);
    if (key.size > 0) {
        memcpy(at, key.data, key.size);
    }
    bytes_put_u64(at + key.size, store_version(store, key));
    buffer_commit(&transaction->watched, (size_t)(at - room) + key.size + VERSION_BYTES);
    transaction->watch_count++;
    return 1;
}

void transaction_watch(struct transaction *transaction, const struct store *store,
                       const struct slice *args, size_t count, struct buffer *reply)
{
    for (size_t i = 1; i < count; i++) {
        if (!watch(transaction, store, args[i])) {
            reply_error(reply, "ERR too many keys are watched");
            return;
        }
    }
    reply_simple(reply, "OK");
}

/* ---- Executing ---- */

int transaction_encode(const struct transaction *transaction, uint64_t now_ms, struct buffer *out)
{
    size_t watched_bytes = buffer_size(&transaction->watched);
    size_t command_bytes = buffer_size(&transaction->commands);
    size_t size = ENTRY_HEAD_BYTES + 1 + number_size(transaction->watch_count) + watched_bytes +
                  number_size(transaction->count) + command_bytes;
    char *at = buffer_reserve(out, size);

    if (at == NULL) {
        return COMMAND_ENOMEM;
    }
    at = put_entry_head(at, now_ms);
    *at++ = COMMAND_EXEC;
    at = put_number(at, transaction->watch_count);
    memcpy(at, buffer_bytes(&transaction->watched), watched_bytes);
    at = put_number(at + watched_bytes, transaction->count);
    memcpy(at, buffer_bytes(&transaction->commands), command_bytes);
    buffer_commit(out, size);
    return COMMAND_OK;
}
