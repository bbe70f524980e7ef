/*
 * Fuzz target: what a client sends, and what a log holds. The first byte of the input chooses.
 *
 * Even: the rest is a stream of requests. It is parsed whole and again in pieces that arrive one by
 * one in memory that moves; both ways must find the same requests, and every request is executed,
 * writes and transactions by way of their log entries, while time passes. Odd: the rest is the payload of an entry: it is refused
 * without a trace, or executed and answered. In both, a second replica that has nobody to answer
 * ends with the same content.
 */
#include <stdlib.h>
#include <string.h>

#include "raftkv/transaction.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { APPLY = 1, UNAUTHENTICATED = 2 };

#define REPLY_BYTES_MAX ((size_t)1 << 22)
#define PIECE_BYTES_MAX 7
#define MS_PER_REQUEST  7

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

struct replica {
    struct store *store;
    struct buffer reply;
    struct transaction transaction; /* of the first one's client */
    uint64_t now_ms;
};

static struct replica replica_new(uint8_t secret_byte)
{
    uint8_t secret[16] = {secret_byte};
    struct replica replica = {.store = store_new(secret)};

    require(replica.store != NULL);
    replica.reply.bytes_max = REPLY_BYTES_MAX;
    return replica;
}

static void replica_free(struct replica *replica)
{
    transaction_free(&replica->transaction);
    buffer_free(&replica->reply);
    store_free(replica->store);
}

/* Applies a payload to both; the first answers, the second does not. */
static int apply_to_both(struct replica both[2], const char *payload, size_t size)
{
    int result = command_apply(both[0].store, payload, size, &both[0].reply);

    require(command_apply(both[1].store, payload, size, NULL) == result);
    require(store_count(both[0].store) == store_count(both[1].store));
    require(store_bytes(both[0].store) == store_bytes(both[1].store));
    return result;
}

static void propose(struct replica both[2], const struct buffer *entry)
{
    size_t before = buffer_size(&both[0].reply);

    require(apply_to_both(both, buffer_bytes(entry), buffer_size(entry)) == COMMAND_OK);
    require(both[0].reply.failed || buffer_size(&both[0].reply) > before);
}

/* MULTI and what follows it. */
static void execute_queue(struct replica both[2], const struct slice *args, size_t count)
{
    struct transaction *transaction = &both[0].transaction;
    struct buffer entry = {0};

    if (transaction_take(transaction, args, count, &both[0].reply) == TRANSACTION_PROPOSE) {
        require(transaction_encode(transaction, both[0].now_ms, &entry) == COMMAND_OK);
        transaction_end(transaction);
        propose(both, &entry);
    }
    buffer_free(&entry);
}

static void execute_write(struct replica both[2], const struct command *command,
                          const struct slice *args, size_t count)
{
    struct buffer entry = {0};

    require(command_encode(command, args, count, both[0].now_ms, &entry) == COMMAND_OK);
    require(buffer_size(&entry) == command_encoded_size(command, args, count));
    propose(both, &entry);
    buffer_free(&entry);
}

static void execute(struct replica both[2], const struct slice *args, size_t count)
{
    struct buffer *reply = &both[0].reply;
    const struct command *command = commands_check(args, count, reply);

    both[0].now_ms += MS_PER_REQUEST;
    if (both[0].transaction.is_open || (command != NULL && command->kind == COMMAND_QUEUE)) {
        buffer_clear(reply);
        execute_queue(both, args, count);
    } else if (command == NULL) {
        require(buffer_size(reply) > 0);
    } else if (command->id == COMMAND_WATCH) {
        transaction_watch(&both[0].transaction, both[0].store, args, count, reply);
    } else if (command->kind == COMMAND_WRITE) {
        require(command_slot(command, args, count) < 16384);
        execute_write(both, command, args, count);
    } else if (command->kind == COMMAND_READ) {
        command_read(both[0].store, command, args, count, both[0].now_ms, reply);
    } else {
        command_local(command, args, count, reply);
    }
    buffer_clear(reply);
}

/* ---- Streams of requests ---- */

struct outcome {
    size_t requests;
    size_t arguments;
    uint64_t sum; /* of sizes and places, so that differences show */
    enum resp_result last;
    size_t consumed;
};

static void note_request(struct outcome *outcome, const struct resp_parser *parser)
{
    outcome->requests++;
    outcome->arguments += parser->arg_count;
    for (size_t i = 0; i < parser->arg_count; i++) {
        outcome->sum = outcome->sum * 31 + parser->args[i].size;
        for (size_t at = 0; at < parser->args[i].size; at++) {
            outcome->sum = outcome->sum * 31 + (unsigned char)parser->args[i].data[at];
        }
    }
    outcome->consumed += parser->used;
}

/* Takes requests off a buffer as long as they are complete; `both` may be null: only look. */
static void drain(struct resp_parser *parser, struct buffer *input, struct outcome *outcome,
                  struct replica *both)
{
    for (;;) {
        size_t size = buffer_size(input);
        outcome->last = resp_parse(parser, buffer_bytes(input), size);
        if (outcome->last != RESP_REQUEST) {
            require(outcome->last != RESP_MORE || parser->wanted > size);
            require(outcome->last != RESP_ERROR || parser->error != NULL);
            require(outcome->last != RESP_NOMEM);
            return;
        }
        require(parser->used > 0 && parser->used <= size);
        require(parser->arg_count <= parser->limits.args_max);
        note_request(outcome, parser);
        if (both != NULL && parser->arg_count > 0) {
            execute(both, parser->args, parser->arg_count);
        }
        buffer_consume(input, parser->used);
    }
}

/* Parses with at most piece_max bytes arriving at a time. */
static struct outcome parse_in_pieces(const uint8_t *data, size_t size, size_t piece_max,
                                      int unauthenticated, struct replica *both)
{
    struct resp_parser parser;
    struct buffer input = {0};
    struct outcome outcome = {0, 0, 0, RESP_MORE, 0};
    size_t at = 0;

    resp_parser_init(&parser);
    if (unauthenticated) {
        parser.limits = resp_limits_unauthenticated;
    }
    while (at < size && outcome.last >= RESP_MORE) {
        size_t piece = size - at < piece_max ? size - at : piece_max;
        struct buffer moved = {0};
        buffer_add(&moved, buffer_bytes(&input), buffer_size(&input));
        buffer_add(&moved, data + at, piece);
        buffer_free(&input);
        input = moved;
        at += piece;
        drain(&parser, &input, &outcome, both);
    }
    buffer_free(&input);
    resp_parser_free(&parser);
    return outcome;
}

static void run_stream(const uint8_t *data, size_t size, int unauthenticated)
{
    struct replica both[2] = {replica_new(1), replica_new(2)};
    struct outcome whole = parse_in_pieces(data, size, SIZE_MAX, unauthenticated, both);
    struct outcome pieces =
        parse_in_pieces(data, size, 1 + size % PIECE_BYTES_MAX, unauthenticated, NULL);

    require(whole.requests == pieces.requests && whole.arguments == pieces.arguments);
    require(whole.sum == pieces.sum && whole.consumed == pieces.consumed);
    require((whole.last < 0) == (pieces.last < 0));
    require(store_digest(both[0].store) == store_digest(both[1].store));
    replica_free(&both[0]);
    replica_free(&both[1]);
}

/* ---- Entries of a log ---- */

static void run_payload(const char *payload, size_t size)
{
    struct replica both[2] = {replica_new(1), replica_new(2)};
    int result = command_verify(payload, size);

    require(apply_to_both(both, payload, size) == result);

    require(result == COMMAND_OK || result == COMMAND_EFORMAT);
    if (result == COMMAND_EFORMAT) {
        require(store_count(both[0].store) == 0 && buffer_size(&both[0].reply) == 0);
    } else {
        require(both[0].reply.failed || buffer_size(&both[0].reply) > 0);
    }
    require(store_digest(both[0].store) == store_digest(both[1].store));
    replica_free(&both[0]);
    replica_free(&both[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    if (data[0] & APPLY) {
        char *exact = malloc(size); /* of the exact size, so that overreading is seen */
        require(exact != NULL);
        memcpy(exact, data + 1, size - 1);
        run_payload(exact, size - 1);
        free(exact);
    } else {
        run_stream(data + 1, size - 1, (data[0] & UNAUTHENTICATED) != 0);
    }
    return 0;
}
