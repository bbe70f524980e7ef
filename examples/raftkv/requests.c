/*
 * From bytes to commands, and from outcomes to answers.
 *
 * Invariants:
 *   1. The answers of a client leave in the order of its requests: only the request at the front of
 *      its queue is answered.
 *   2. A write is answered with its result only while its entry is applied (V11).
 *   3. A read is executed only when its raft_read was confirmed, or right before a later write of
 *      the same client is applied (see server_parts.h), or with --reads stale.
 *   4. Commands that concern the connection itself wait until its queue is empty, and nothing
 *      behind them is looked at before. Those of a transaction do so too; so while one is open
 *      nothing is queued, and what it watches was read.
 *   5. A write that is handed to the leader is alone in its client's queue (forward.c).
 */
#include "server_parts.h"

enum { REQUESTS_A_TURN = 1024 }; /* of one client, so that the others have their turn */

/* What a request needs, found out by looking at it. */
enum step {
    STEP_DONE,   /* answered or queued; go on with the next */
    STEP_BARRIER /* only when the queue is empty */
};

/* ---- Executing at the front ---- */

/* Looks at the request at the front again: its arguments, in the shared parser. */
static void look_again(struct server *server, const struct client *client,
                       const struct request *request)
{
    enum resp_result result = resp_parse(&server->again, buffer_bytes(&client->in), request->bytes);

    (void)result; /* it was a whole request the first time, under limits no wider than these */
}

static void execute_local(struct server *server, struct client *client,
                          const struct command *command, const struct slice *args, size_t count)
{
    if (!command) {
        commands_check(args, count, &client->out);
    } else if (command->id == COMMAND_WATCH) {
        transaction_watch(&client->transaction, server->store, args, count, &client->out);
    } else if (command->kind == COMMAND_READ) {
        command_read(server->store, command, args, count, server_wall_ms(server), &client->out);
    } else {
        command_local(command, args, count, &client->out);
    }
}

static void execute_front(struct server *server, struct client *client,
                          const struct request *request)
{
    look_again(server, client, request);
    execute_local(server, client, request->command, server->again.args, server->again.arg_count);
}

static unsigned slot_of(struct server *server, const struct client *client,
                        const struct request *request)
{
    if (request->command->id == COMMAND_EXEC) {
        return request->slot;
    }
    look_again(server, client, request);
    return command_slot(request->command, server->again.args, server->again.arg_count);
}

static void answer_error(struct server *server, struct client *client,
                         const struct request *request)
{
    switch (request->answer) {
    case ANSWER_REDIRECT:
        topology_redirect(server, slot_of(server, client, request), &client->out);
        break;
    case ANSWER_BUSY:
        reply_error(&client->out, "TRYAGAIN too many writes are under way");
        break;
    case ANSWER_TOO_LARGE:
        reply_error(&client->out, "ERR the command is too large for an entry of the log");
        break;
    case ANSWER_FULL:
        reply_error(&client->out, "TRYAGAIN the log has reached its bound (--log-bytes)");
        break;
    case ANSWER_NOT_TAKEN:
        reply_error(&client->out, "TRYAGAIN not executed: the leader did not take the write");
        break;
    case ANSWER_LATE:
        reply_error(&client->out, "TRYAGAIN the leader did not confirm the read in time");
        break;
    default:
        server->stats.writes_unknown++;
        reply_error(&client->out, "UNKNOWN leadership was lost, the write may or may not be "
                                  "executed");
        break;
    }
}

static int read_is_ready(const struct server *server, const struct client *client,
                         const struct request *request)
{
    return request->kind == REQUEST_READ && request->read_tag <= server->read_confirmed &&
           buffer_size(&client->out) < CLIENT_OUT_BYTES_SOFT;
}

/* Answers the request at the front if its time has come. */
static int answer_front(struct server *server, struct client *client)
{
    struct request *request = client_front(client);

    if (request->answer != ANSWER_WAITING) {
        answer_error(server, client, request);
    } else if (request->kind == REQUEST_LOCAL || read_is_ready(server, client, request)) {
        execute_front(server, client, request);
    } else {
        return 0;
    }
    client_pop(client);
    return 1;
}

/* What could not be understood is answered after everything before it, and ends the connection. */
static void answer_broken(struct client *client)
{
    if (client->is_broken && client->request_count == 0 && !client->is_ending) {
        if (client->parser.error) {
            reply_error(&client->out, client->parser.error);
        }
        client->is_ending = 1;
    }
}

void requests_advance(struct server *server, struct client *client)
{
    while (client->request_count > 0 && answer_front(server, client)) {
    }
    answer_broken(client);
    server_write_to(server, client);
    server_look_at(server, client);
}

/* ---- Outcomes ---- */

/* Answers what comes before a write that is being applied. Its reads see the state before it. */
static void answer_until(struct server *server, struct client *client, uint64_t number)
{
    while (client->first_number < number) {
        struct request *request = client_front(client);

        if (request->answer != ANSWER_WAITING) {
            answer_error(server, client, request);
        } else if (request->kind == REQUEST_WRITE) {
            request->answer = ANSWER_UNKNOWN; /* cannot be: writes are settled in order */
            answer_error(server, client, request);
        } else {
            execute_front(server, client, request);
        }
        client_pop(client);
    }
}

int requests_apply(struct server *server, struct client *client, const struct waiter *waiter,
                   const raft_entry *entry)
{
    int status;

    answer_until(server, client, waiter->number);
    status = command_apply(server->store, entry->data, entry->size, &client->out);
    client->last_write = entry->index;
    client_pop(client);
    requests_advance(server, client);
    return status;
}

void requests_settle(struct server *server, const struct waiter *waiter, enum request_answer answer)
{
    struct client *client = server_client(server, waiter->slot, waiter->generation);
    struct request *request = client ? client_request(client, waiter->number) : NULL;

    if (request) {
        request->answer = (uint8_t)answer;
        requests_advance(server, client);
    }
}

void requests_answer(struct server *server, const struct waiter *waiter, raft_index index,
                     struct slice reply)
{
    struct client *client = server_client(server, waiter->slot, waiter->generation);

    if (client && client_request(client, waiter->number)) {
        answer_until(server, client, waiter->number);
        buffer_add(&client->out, reply.data, reply.size);
        client->last_write = index;
        client_pop(client);
        requests_advance(server, client);
    }
}

/* Takes the first reader off if its tag is not above `tag`. Returns 0 where there is none. */
static int take_reader(struct readers *readers, uint64_t tag, struct reader *reader)
{
    if (readers->count == 0 || readers->items[readers->first].tag > tag) {
        return 0;
    }
    *reader = readers->items[readers->first];
    readers->first = (readers->first + 1) & (readers->capacity - 1);
    readers->count--;
    return 1;
}

void requests_reads_confirmed(struct server *server, uint64_t tag)
{
    struct reader reader;

    if (tag > server->read_confirmed) {
        server->read_confirmed = tag;
    }
    while (take_reader(&server->readers, tag, &reader)) {
        struct client *client = server_client(server, reader.slot, reader.generation);

        if (client) {
            requests_advance(server, client);
        }
    }
}

void requests_reads_failed(struct server *server, uint64_t tag, enum request_answer answer)
{
    struct reader reader;

    while (take_reader(&server->readers, tag, &reader)) {
        struct client *client = server_client(server, reader.slot, reader.generation);

        if (client) {
            server->stats.reads_failed++;
            client_fail_reads(client, reader.tag, answer);
            requests_advance(server, client);
        }
    }
}

/* ---- Taking requests ---- */

/* Queues the request that the parser has found. Where memory fails the client is cut off. */
static void enqueue(struct server *server, struct client *client, const struct command *command,
                    enum request_kind kind, enum request_answer answer)
{
    struct request request = {.command = command,
                              .read_tag = server->read_tag,
                              .bytes = client->parser.used,
                              .kind = (uint8_t)kind,
                              .answer = (uint8_t)answer};

    if (client_enqueue(client, &request)) {
        server_drop(server, client);
    }
}

/* Answers at once where nobody is before it, else when it comes to the front. */
static void take_local(struct server *server, struct client *client, const struct command *command)
{
    if (client->request_count > 0) {
        enqueue(server, client, command, REQUEST_LOCAL, ANSWER_WAITING);
        return;
    }
    execute_local(server, client, command, client->parser.args, client->parser.arg_count);
    buffer_consume(&client->in, client->parser.used);
}

static void take_redirected(struct server *server, struct client *client,
                            const struct command *command)
{
    if (client->request_count > 0) {
        enqueue(server, client, command, REQUEST_READ, ANSWER_REDIRECT);
        return;
    }
    topology_redirect(server, command_slot(command, client->parser.args, client->parser.arg_count),
                      &client->out);
    buffer_consume(&client->in, client->parser.used);
}

static void take_read(struct server *server, struct client *client, const struct command *command)
{
    if (server->options->reads == READS_STALE) {
        take_local(server, client, command);
    } else if (server->role != RAFT_ROLE_LEADER && !client->is_readonly &&
               !server->options->forward) {
        take_redirected(server, client, command);
    } else if (consensus_want_read(server, client)) {
        server_drop(server, client);
    } else {
        enqueue(server, client, command, REQUEST_READ, ANSWER_WAITING);
    }
}

static int can_propose(const struct server *server)
{
    return server->role == RAFT_ROLE_LEADER && !server_is_stopping(server);
}

/* A write of a server that does not lead. Nothing behind it is looked at until it is answered. */
static enum step take_forwarded(struct server *server, struct client *client,
                                const struct command *command)
{
    const struct resp_parser *parser = &client->parser;
    struct waiter waiter = {client->slot, client->generation, client_next_number(client)};
    enum request_answer answer;

    if (client->request_count > 0) {
        return STEP_BARRIER;
    }
    answer = forward_command(server, &waiter, command, parser->args, parser->arg_count);
    client->is_forwarding = answer == ANSWER_WAITING;
    enqueue(server, client, command, REQUEST_WRITE, answer);
    if (answer != ANSWER_WAITING) {
        requests_advance(server, client);
    }
    return STEP_DONE;
}

static void take_write(struct server *server, struct client *client, const struct command *command)
{
    const struct resp_parser *parser = &client->parser;
    struct waiter waiter = {client->slot, client->generation, client_next_number(client)};
    enum request_answer answer = ANSWER_WAITING;

    if (!can_propose(server)) {
        take_redirected(server, client, command);
        return;
    }
    if (command_encoded_size(command, parser->args, parser->arg_count) > COMMAND_ENTRY_BYTES_MAX) {
        answer = ANSWER_TOO_LARGE;
    } else if (consensus_add(server, &waiter, command, parser->args, parser->arg_count)) {
        answer = ANSWER_BUSY;
    }
    enqueue(server, client, command, REQUEST_WRITE, answer);
    if (answer != ANSWER_WAITING) {
        requests_advance(server, client);
    }
}

/* Commands that the server answers itself, KEYSLOT among them for simplicity. */
static enum step take_own(struct server *server, struct client *client,
                          const struct command *command)
{
    if (client->request_count > 0) {
        return STEP_BARRIER;
    }
    session_execute(server, client, command, client->parser.args, client->parser.arg_count);
    buffer_consume(&client->in, client->parser.used);
    return STEP_DONE;
}

/* EXEC: what was queued becomes one entry. The transaction is over, whatever comes of it. */
static void take_exec(struct server *server, struct client *client, const struct command *command)
{
    struct transaction *transaction = &client->transaction;
    struct waiter waiter = {client->slot, client->generation, client_next_number(client)};
    struct request request = {.command = command,
                              .bytes = client->parser.used,
                              .kind = REQUEST_WRITE,
                              .answer = ANSWER_WAITING,
                              .slot = (uint16_t)transaction->slot};

    if (forward_is_possible(server)) {
        request.answer = (uint8_t)forward_transaction(server, &waiter, transaction);
        client->is_forwarding = request.answer == ANSWER_WAITING;
    } else if (!can_propose(server)) {
        request.answer = ANSWER_REDIRECT;
    } else if (consensus_add_transaction(server, &waiter, transaction)) {
        request.answer = ANSWER_BUSY;
    }
    transaction_end(transaction);
    if (client_enqueue(client, &request)) {
        server_drop(server, client);
    } else if (request.answer != ANSWER_WAITING) {
        requests_advance(server, client);
    }
}

/* As in Redis Cluster, a command that has to go elsewhere spoils the transaction that it is for. */
static int redirect_queued(struct server *server, struct client *client,
                           const struct command *command)
{
    if (can_propose(server) || forward_is_possible(server) || !command ||
        !client->transaction.is_open ||
        (command->kind != COMMAND_READ && command->kind != COMMAND_WRITE)) {
        return 0;
    }
    topology_redirect(server, command_slot(command, client->parser.args, client->parser.arg_count),
                      &client->out);
    transaction_spoil(&client->transaction);
    return 1;
}

/* MULTI and what follows it. */
static enum step take_queue(struct server *server, struct client *client)
{
    const struct slice *args = client->parser.args;
    size_t count = client->parser.arg_count;
    const struct command *command = commands_admit(args, count, NULL);

    if (client->request_count > 0) {
        return STEP_BARRIER;
    }
    if (!redirect_queued(server, client, command)) {
        switch (transaction_take(&client->transaction, args, count, &client->out)) {
        case TRANSACTION_PASS:
            return take_own(server, client, command);
        case TRANSACTION_PROPOSE:
            take_exec(server, client, command);
            return STEP_DONE;
        default:
            break;
        }
    }
    buffer_consume(&client->in, client->parser.used);
    return STEP_DONE;
}

static void refuse_unauthenticated(struct client *client)
{
    reply_error(&client->out, "NOAUTH Authentication required.");
    buffer_consume(&client->in, client->parser.used);
}

static enum step take_request(struct server *server, struct client *client)
{
    const struct slice *args = client->parser.args;
    size_t count = client->parser.arg_count;
    const struct command *command;

    if (client->is_forwarding && client->request_count > 0) {
        return STEP_BARRIER;
    }
    client->is_forwarding = 0;
    if (session_needs_auth(server, client)) {
        command = commands_lookup(args[0]);
        if (!command || !(command->flags & COMMAND_BEFORE_AUTH)) {
            refuse_unauthenticated(client);
            return STEP_DONE;
        }
    }
    command = commands_check(args, count, NULL);
    if (client->transaction.is_open || (command && command->kind == COMMAND_QUEUE)) {
        return take_queue(server, client);
    }
    if (!command) {
        take_local(server, client, NULL);
    } else if (command->kind == COMMAND_READ) {
        take_read(server, client, command);
    } else if (command->kind == COMMAND_WRITE && forward_is_possible(server)) {
        return take_forwarded(server, client, command);
    } else if (command->kind == COMMAND_WRITE) {
        take_write(server, client, command);
    } else if (command->kind == COMMAND_LOCAL && command->id < COMMAND_CLUSTER) {
        take_local(server, client, command);
    } else {
        return take_own(server, client, command);
    }
    return STEP_DONE;
}

/* Parses the next request. Returns 1 when there is one with arguments. */
static int next_request(struct client *client)
{
    for (;;) {
        const char *data = buffer_bytes(&client->in) + client->queued_bytes;
        size_t size = buffer_size(&client->in) - client->queued_bytes;
        enum resp_result result = size > 0 ? resp_parse(&client->parser, data, size) : RESP_MORE;

        if (result == RESP_REQUEST && client->parser.arg_count == 0) {
            client_skip(client, client->parser.used);
            continue;
        }
        if (result < 0) {
            client->is_broken = 1;
            if (result != RESP_ERROR) {
                client->parser.error = NULL;
            }
        }
        return result == RESP_REQUEST;
    }
}

void requests_take(struct server *server, struct client *client)
{
    int taken = 0;

    client->has_barrier = 0;
    while (client_accepts(client) && !server->is_congested && next_request(client)) {
        if (take_request(server, client) == STEP_BARRIER) {
            client->has_barrier = 1;
            break;
        }
        server->stats.commands++;
        if (++taken == REQUESTS_A_TURN) {
            server_look_at(server, client);
            break;
        }
    }
    if (client->is_closed) {
        return;
    }
    if (server->is_congested) {
        server_look_at(server, client);
    }
    answer_broken(client);
    server_write_to(server, client);
}
