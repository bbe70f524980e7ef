/*
 * Connections. Invariants:
 *   1. queued_bytes is the sum of the bytes of the queued requests, and not above the input's size.
 *   2. The parser has seen nothing before in.start + queued_bytes since the last request it found.
 */
#include "client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../io.h"

enum {
    READ_BYTES = 16 * 1024, /* asked of the socket at once */
    REQUESTS_MIN = 16
};

struct client *client_new(int fd, uint64_t now_ms)
{
    struct client *client = calloc(1, sizeof *client);

    if (!client) {
        return NULL;
    }
    client->fd = fd;
    client->born_ms = now_ms;
    client->active_ms = now_ms;
    client->out.bytes_max = CLIENT_OUT_BYTES_MAX;
    resp_parser_init(&client->parser);
    return client;
}

void client_free(const struct io *io, struct client *client)
{
    if (client->fd >= 0) {
        io->close(io->ctx, client->fd);
    }
    resp_parser_free(&client->parser);
    buffer_free(&client->in);
    buffer_free(&client->out);
    transaction_free(&client->transaction);
    free(client->requests);
    free(client);
}

/* Room to read into: enough for a large argument at once, but never more than was asked for. */
static size_t read_size(const struct client *client)
{
    size_t unseen = buffer_size(&client->in) - client->queued_bytes;
    size_t missing = client->parser.wanted > unseen ? client->parser.wanted - unseen : 0;
    size_t most = client->parser.limits.request_bytes_max;

    if (missing > most) {
        missing = most;
    }
    return missing > READ_BYTES ? missing : READ_BYTES;
}

enum client_io client_fill(const struct io *io, struct client *client)
{
    size_t size = read_size(client);
    char *room = buffer_reserve(&client->in, size);
    long count;

    if (!room) {
        return CLIENT_GONE;
    }
    count = io->read(io->ctx, client->fd, room, size);
    if (count == -EAGAIN || count == -EWOULDBLOCK || count == -EINTR) {
        return CLIENT_ALIVE;
    }
    if (count < 0) {
        return CLIENT_GONE;
    }
    if (count == 0) {
        client->input_ended = 1;
    }
    buffer_commit(&client->in, (size_t)count);
    return CLIENT_ALIVE;
}

enum client_io client_flush(const struct io *io, struct client *client)
{
    while (buffer_size(&client->out) > 0) {
        long count =
            io->write(io->ctx, client->fd, buffer_bytes(&client->out), buffer_size(&client->out));

        if (count == -EAGAIN || count == -EWOULDBLOCK) {
            return CLIENT_BLOCKED;
        }
        if (count < 0 && count != -EINTR) {
            return CLIENT_GONE;
        }
        if (count > 0) {
            buffer_consume(&client->out, (size_t)count);
        }
    }
    return CLIENT_ALIVE;
}

int client_accepts(const struct client *client)
{
    return !client->is_closed && !client->is_ending && !client->is_broken &&
           !client->wait.is_active && !client->task &&
           (!client->has_barrier || client->request_count == 0) &&
           client->request_count < CLIENT_REQUESTS_MAX &&
           client->queued_bytes < CLIENT_QUEUED_BYTES_MAX &&
           buffer_size(&client->out) < CLIENT_OUT_BYTES_SOFT;
}

static struct request *request_at(const struct client *client, size_t position)
{
    size_t at = ((size_t)client->first_number + position) & (client->request_capacity - 1);

    return &client->requests[at];
}

static int grow_requests(struct client *client)
{
    size_t capacity = client->request_capacity ? 2 * client->request_capacity : REQUESTS_MIN;
    struct request *requests = malloc(capacity * sizeof *requests);

    if (!requests) {
        return -1;
    }
    for (size_t i = 0; i < client->request_count; i++) {
        requests[((size_t)client->first_number + i) & (capacity - 1)] = *request_at(client, i);
    }
    free(client->requests);
    client->requests = requests;
    client->request_capacity = capacity;
    return 0;
}

int client_enqueue(struct client *client, const struct request *request)
{
    if (client->request_count == client->request_capacity && grow_requests(client)) {
        return -1;
    }
    client->request_count++;
    *request_at(client, client->request_count - 1) = *request;
    client->queued_bytes += request->bytes;
    assert(client->queued_bytes <= buffer_size(&client->in));
    return 0;
}

void client_skip(struct client *client, size_t bytes)
{
    if (client->request_count == 0) {
        buffer_consume(&client->in, bytes);
        return;
    }
    request_at(client, client->request_count - 1)->bytes += bytes;
    client->queued_bytes += bytes;
}

struct request *client_front(const struct client *client)
{
    return client->request_count > 0 ? request_at(client, 0) : NULL;
}

struct request *client_request(const struct client *client, uint64_t number)
{
    if (number < client->first_number || number - client->first_number >= client->request_count) {
        return NULL;
    }
    return request_at(client, (size_t)(number - client->first_number));
}

uint64_t client_next_number(const struct client *client)
{
    return client->first_number + client->request_count;
}

void client_pop(struct client *client)
{
    size_t bytes = client_front(client)->bytes;

    buffer_consume(&client->in, bytes);
    client->queued_bytes -= bytes;
    client->first_number++;
    client->request_count--;
}

void client_fail_reads(struct client *client, uint64_t tag, enum request_answer answer)
{
    for (size_t i = 0; i < client->request_count; i++) {
        struct request *request = request_at(client, i);

        if (request->kind == REQUEST_READ && request->read_tag <= tag &&
            request->answer == ANSWER_WAITING) {
            request->answer = (uint8_t)answer;
        }
    }
}
