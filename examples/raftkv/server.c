/*
 * The server: opening, the turn of its event loop, connections, the end.
 *
 * A turn: wait → take bytes from sockets → look at requests → propose and ask → let the engine do
 * what is due (store, send, apply, tell) → write answers. However many clients sent something, a
 * turn costs one message to each follower, one write and one sync of the log.
 *
 * Invariants:
 *   1. A client that is closed stays in the graveyard until the end of the turn, so that no pointer
 *      to it that is in use in the turn dangles; it is out of its place in the table at once.
 *   2. A client is in backlog and outbox at most once each (is_in_backlog, is_in_outbox).
 */
#define _POSIX_C_SOURCE 200809L

#include "admin.h"
#include "../secret.h"
#include "server_parts.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LISTEN_BACKLOG = 512,
    CLIENTS_MAX = 10000,
    SWEEP_MS = 1000,         /* how often idle clients and refused servers are looked for */
    AUTHENTICATE_MS = 10000, /* until AUTH, where a password is set */
    OUTPUT_STALL_MS = 60000, /* until a client that does not take its answers is cut off */
    STOP_MS = 1500           /* until stopping does not wait for answers any longer */
};

/* ---- Lists and places ---- */

static int list_add(struct client_list *list, struct client *client)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        struct client **items = realloc(list->items, capacity * sizeof(struct client *));

        if (!items) {
            return -1;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = client;
    return 0;
}

struct client *server_client(const struct server *server, uint32_t slot, uint32_t generation)
{
    const struct client_place *place;

    if (slot == PLACE_NONE) { /* the server itself */
        return NULL;
    }
    assert(slot < server->place_count);
    place = &server->places[slot];
    return place->generation == generation ? place->client : NULL;
}

/* Makes a free place. 0, or -1 where memory fails. */
static int add_place(struct server *server)
{
    size_t capacity = server->place_count ? 2 * server->place_count : 64;
    struct client_place *places = realloc(server->places, capacity * sizeof *places);

    if (!places) {
        return -1;
    }
    for (size_t i = server->place_count; i < capacity; i++) {
        uint32_t next = i + 1 < capacity ? (uint32_t)(i + 1) : PLACE_NONE;

        places[i] = (struct client_place){NULL, 0, next};
    }
    server->first_free = (uint32_t)server->place_count;
    server->places = places;
    server->place_count = capacity;
    return 0;
}

static int take_place(struct server *server, struct client *client)
{
    struct client_place *place;

    if (server->first_free == PLACE_NONE && add_place(server)) {
        return -1;
    }
    client->slot = server->first_free;
    place = &server->places[client->slot];
    client->generation = place->generation;
    server->first_free = place->next_free;
    place->client = client;
    server->client_count++;
    return 0;
}

static void leave_place(struct server *server, const struct client *client)
{
    struct client_place *place = &server->places[client->slot];

    place->client = NULL;
    place->generation++;
    place->next_free = server->first_free;
    server->first_free = client->slot;
    server->client_count--;
}

static int has_unseen_input(const struct client *client)
{
    return buffer_size(&client->in) > client->queued_bytes;
}

void server_look_at(struct server *server, struct client *client)
{
    if (!client->is_in_backlog && has_unseen_input(client) && client_accepts(client)) {
        if (list_add(&server->backlog, client)) {
            server_drop(server, client);
            return;
        }
        client->is_in_backlog = 1;
    }
}

void server_write_to(struct server *server, struct client *client)
{
    if (!client->is_in_outbox && !client->is_closed) {
        if (list_add(&server->outbox, client)) {
            server_drop(server, client);
            return;
        }
        client->is_in_outbox = 1;
    }
}

static void resume_accepting(struct server *server)
{
    if (!server->is_accepting && !server_is_stopping(server)) {
        server->is_accepting = loop_set(server->loop, server->listen_fd, LOOP_READ) == 0;
    }
}

void server_drop(struct server *server, struct client *client)
{
    if (client->is_closed) {
        return;
    }
    client->is_closed = 1;
    server->waiting_count -= client->wait.is_active != 0;
    admin_forget(server, client);
    loop_remove(server->loop, client->fd);
    server->io->close(server->io->ctx, client->fd);
    client->fd = -1;
    leave_place(server, client);
    if (list_add(&server->graveyard, client)) {
        say(server->options->log_level, LOG_WARN, "out of memory: a closed client is not freed");
    }
    resume_accepting(server);
}

/* ---- Sockets of clients ---- */

static int wants_input(const struct server *server, const struct client *client)
{
    return client_accepts(client) && !client->input_ended && !server_is_stopping(server);
}

/* Watches for what can be dealt with: input while it is accepted, room while output waits. */
static void update_interest(struct server *server, struct client *client)
{
    unsigned interest = 0;

    if (wants_input(server, client)) {
        interest |= LOOP_READ;
    }
    if (buffer_size(&client->out) > 0) {
        interest |= LOOP_WRITE;
    }
    if (loop_set(server->loop, client->fd, interest)) {
        server_drop(server, client);
    }
}

static void read_client(struct server *server, struct client *client)
{
    client->active_ms = server->io->now_ms(server->io->ctx);
    if (client_fill(server->io, client) == CLIENT_GONE) {
        server_drop(server, client);
        return;
    }
    server_look_at(server, client);
    server_write_to(server, client);
}

/* Ends a connection that has said all it will say and has been told all it asked. */
static int is_finished(const struct client *client)
{
    return buffer_size(&client->out) == 0 &&
           (client->is_ending || (client->input_ended && client->request_count == 0 &&
                                  !client->is_in_backlog && !client->wait.is_active));
}

static void write_client(struct server *server, struct client *client)
{
    size_t before = buffer_size(&client->out);

    if (client->out.failed) {
        say(server->options->log_level, LOG_WARN,
            "client %s is cut off: it does not take its "
            "answers",
            client->address);
        server->stats.output_cut_off++;
        server_drop(server, client);
        return;
    }
    if (before > 0) {
        if (client_flush(server->io, client) == CLIENT_GONE) {
            server_drop(server, client);
            return;
        }
        if (buffer_size(&client->out) < before) {
            client->active_ms = server->io->now_ms(server->io->ctx);
        }
    }
    server_look_at(server, client); /* there may be room for more answers now */
    if (is_finished(client)) {
        server_drop(server, client);
    }
    if (!client->is_closed) {
        update_interest(server, client);
    }
}

/* What is ready without having been asked for is an error of the connection. */
static void on_client(void *ctx, int fd, unsigned ready)
{
    struct client *client = ctx;
    struct server *server = client->host;

    (void)fd;
    if ((ready & LOOP_READ) && !wants_input(server, client)) {
        server_drop(server, client);
        return;
    }
    if (ready & LOOP_READ) {
        read_client(server, client);
    }
    if (ready & LOOP_WRITE) {
        server_write_to(server, client);
    }
}

/* ---- Accepting ---- */

static void describe_peer(struct client *client, const struct address *address)
{
    char text[ADDRESS_TEXT_MAX];

    address_format(address, text);
    snprintf(client->address, sizeof client->address, "%s", text);
    client->is_loopback = address_is_loopback(address) != 0;
}

/* Makes a client of a connection. 0, or -1 and the descriptor is still open. */
static int admit(struct server *server, int fd, const struct address *address)
{
    struct client *client = client_new(fd, server->io->now_ms(server->io->ctx));

    if (!client) {
        return -1;
    }
    client->host = server;
    client->id = ++server->next_client_id;
    if (server->password->size > 0) {
        client->parser.limits = resp_limits_unauthenticated;
    }
    describe_peer(client, address);
    server->io->no_delay(server->io->ctx, fd);
    if (take_place(server, client)) {
        client->fd = -1;
        client_free(server->io, client);
        return -1;
    }
    if (loop_add(server->loop, fd, LOOP_READ, on_client, client)) {
        leave_place(server, client);
        client->fd = -1;
        client_free(server->io, client);
        return -1;
    }
    return 0;
}

static void refuse(struct server *server, int fd)
{
    static const char text[] = "-ERR max number of clients reached\r\n";

    server->stats.connections_refused++;
    server->io->write(server->io->ctx, fd, text, sizeof text - 1);
    server->io->close(server->io->ctx, fd);
}

static int accept_one(struct server *server)
{
    struct address address;
    unsigned length = (unsigned)sizeof address.storage;
    int fd = server->io->accept(server->io->ctx, server->listen_fd,
                                (struct sockaddr *)&address.storage, &length);

    if (fd < 0) {
        return fd;
    }
    address.length = (socklen_t)length;
    server->stats.connections++;
    if (server->client_count >= CLIENTS_MAX || admit(server, fd, &address)) {
        refuse(server, fd);
    }
    return 0;
}

/* Where descriptors have run out, accepting pauses: the event loop would spin otherwise. */
static void on_listen(void *ctx, int fd, unsigned ready)
{
    struct server *server = ctx;
    int status = 0;

    (void)ready;
    for (int i = 0; i < LISTEN_BACKLOG && status == 0; i++) {
        status = accept_one(server);
    }
    if (status == -EMFILE || status == -ENFILE || status == -ENOBUFS || status == -ENOMEM) {
        say(server->options->log_level, LOG_WARN, "accepting pauses: %s", strerror(-status));
        loop_set(server->loop, fd, 0);
        server->is_accepting = 0;
    }
}

/* ---- The turn ---- */

/*
 * Takes the list as it is now: what is added meanwhile belongs to the next turn. A server that
 * stops looks at nothing new.
 */
static void look_at_backlog(struct server *server)
{
    size_t count = server->backlog.count;

    for (size_t i = 0; i < count; i++) {
        struct client *client = server->backlog.items[i];

        client->is_in_backlog = 0;
        if (!client->is_closed && !server_is_stopping(server)) {
            requests_take(server, client);
        }
    }
    for (size_t i = count; i < server->backlog.count; i++) {
        server->backlog.items[i - count] = server->backlog.items[i];
    }
    server->backlog.count -= count;
}

static void write_outbox(struct server *server)
{
    for (size_t i = 0; i < server->outbox.count; i++) {
        struct client *client = server->outbox.items[i];

        client->is_in_outbox = 0;
        if (!client->is_closed) {
            write_client(server, client);
        }
    }
    server->outbox.count = 0;
}

/* A client in the backlog is not freed before it has left it. */
static void bury(struct server *server)
{
    size_t kept = 0;

    for (size_t i = 0; i < server->graveyard.count; i++) {
        struct client *client = server->graveyard.items[i];

        if (client->is_in_backlog || client->is_in_outbox) {
            server->graveyard.items[kept++] = client;
        } else {
            client_free(server->io, client);
        }
    }
    server->graveyard.count = kept;
}

static void sweep_client(struct server *server, struct client *client, uint64_t now_ms)
{
    int is_stranger =
        session_needs_auth(server, client) && now_ms - client->born_ms > AUTHENTICATE_MS;
    int is_stuck = buffer_size(&client->out) > 0 && now_ms - client->active_ms > OUTPUT_STALL_MS;

    if (is_stuck) {
        server->stats.output_cut_off++;
    }
    if (is_stranger || is_stuck) {
        server_drop(server, client);
    }
}

static void sweep(struct server *server, uint64_t now_ms)
{
    if (now_ms < server->sweep_ms) {
        return;
    }
    server->sweep_ms = now_ms + SWEEP_MS;
    peers_say_refusals(server, now_ms);
    for (size_t i = 0; i < server->place_count; i++) {
        if (server->places[i].client) {
            sweep_client(server, server->places[i].client, now_ms);
        }
    }
    resume_accepting(server);
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t turn_deadline(const struct server *server, uint64_t next_wait_ms)
{
    uint64_t deadline = earliest(consensus_deadline(server), next_wait_ms);

    if (server->backlog.count > 0 && !server->is_congested) {
        return 0;
    }
    if (server->client_count > 0 || !server->is_accepting) {
        deadline = earliest(deadline, server->sweep_ms);
    }
    return earliest(deadline, server->stop_ms);
}

/* One turn. Returns until when the next may wait. */
static uint64_t turn(struct server *server, uint64_t deadline_ms)
{
    uint64_t now_ms = server->io->now_ms(server->io->ctx);
    uint64_t next_wait_ms;
    int status = loop_wait(server->loop, loop_timeout(deadline_ms, now_ms));

    if (status < 0) {
        server_fail(server, "waiting for sockets: %s", strerror(-status));
    }
    now_ms = server->io->now_ms(server->io->ctx);
    if (server->transport) {
        transport_tick(server->transport, now_ms);
    }
    look_at_backlog(server);
    consensus_submit(server);
    consensus_flush(server);
    next_wait_ms = earliest(session_check_waits(server, now_ms), admin_check(server, now_ms));
    sweep(server, now_ms);
    write_outbox(server);
    bury(server);
    return turn_deadline(server, next_wait_ms);
}

/* ---- The end ---- */

uint64_t server_wall_ms(const struct server *server)
{
    return server->io->wall_ms(server->io->ctx);
}

int server_is_stopping(const struct server *server)
{
    return server->stop_ms != UINT64_MAX;
}

void server_stop(struct server *server)
{
    if (server_is_stopping(server)) {
        return;
    }
    say(server->options->log_level, LOG_INFO, "stopping");
    server->stop_ms = server->io->now_ms(server->io->ctx) + STOP_MS;
    consensus_stop(server);
    loop_remove(server->loop, server->listen_fd);
    server->io->close(server->io->ctx, server->listen_fd);
    server->listen_fd = -1;
    for (size_t i = 0; i < server->place_count; i++) {
        struct client *client = server->places[i].client;

        if (client) {
            server_write_to(server, client);
        }
    }
}

void server_fail(struct server *server, const char *format, ...)
{
    va_list arguments;

    if (server->failure[0]) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(server->failure, sizeof server->failure, format, arguments);
    va_end(arguments);
}

const char *server_failure(const struct server *server)
{
    return server->failure;
}

/* Nonzero once everybody has been told everything, or the time for it is over. */
static int is_done(const struct server *server)
{
    if (!server_is_stopping(server)) {
        return 0;
    }
    if (server->io->now_ms(server->io->ctx) >= server->stop_ms) {
        return 1;
    }
    if (!server->has_stopped) {
        return 0;
    }
    for (size_t i = 0; i < server->place_count; i++) {
        const struct client *client = server->places[i].client;

        if (client && (client->request_count > 0 || buffer_size(&client->out) > 0)) {
            return 0;
        }
    }
    return 1;
}

static void on_stop(void *ctx, int fd, unsigned ready)
{
    struct server *server = ctx;

    (void)ready;
    loop_remove(server->loop, fd);
    server_stop(server);
}

static void on_disk(void *ctx, int fd, unsigned ready)
{
    (void)ctx; /* the turn collects what is done */
    (void)fd;
    (void)ready;
}

int server_run(struct server *server, int stop_fd)
{
    uint64_t deadline_ms = 0;

    if (loop_add(server->loop, stop_fd, LOOP_READ, on_stop, server)) {
        server_fail(server, "watching for signals: out of memory");
    }
    while (!server->failure[0] && !is_done(server)) {
        deadline_ms = turn(server, deadline_ms);
    }
    return server->failure[0] ? -1 : 0;
}

/* ---- Opening ---- */

static int open_listener(struct server *server, char error[SERVER_ERROR_MAX])
{
    const char *text = server->options->listen;
    int fd = address_parse(text, &server->listen_address);

    if (fd == 0) {
        fd = address_listen(server->io, &server->listen_address, LISTEN_BACKLOG);
    }
    if (fd < 0) {
        snprintf(error, SERVER_ERROR_MAX, "--listen %s: %s", text, strerror(-fd));
        return -1;
    }
    server->listen_fd = fd;
    server->is_accepting = 1;
    if (loop_add(server->loop, fd, LOOP_READ, on_listen, server)) {
        snprintf(error, SERVER_ERROR_MAX, "out of memory");
        return -1;
    }
    return 0;
}

/* Where other servers are listened for: as asked, else as the membership says. Null: nowhere. */
static const char *peer_address(const struct server *server)
{
    const struct member *self = topology_member(server, server->options->id);

    if (server->options->peer_listen) {
        return server->options->peer_listen;
    }
    return self && self->peer[0] ? self->peer : NULL;
}

static int add_peers(struct server *server, char error[SERVER_ERROR_MAX])
{
    raft_id refused = topology_connect(server, 1);

    if (refused) {
        snprintf(error, SERVER_ERROR_MAX,
                 "server %llu at %s is outside loopback: give --secret-file, or --insecure if its "
                 "network is trusted",
                 (unsigned long long)refused, topology_member(server, refused)->peer);
        return -1;
    }
    return 0;
}

static int read_secret(const struct server *server, struct secret *secret,
                       char error[SERVER_ERROR_MAX])
{
    const char *path = server->options->secret_file;
    int status = secret_read(server->io, path, SECRET_BYTES_MIN, secret);

    if (status == -EACCES) {
        snprintf(error, SERVER_ERROR_MAX, "--secret-file %s: others must not be able to read it",
                 path);
    } else if (status == -EINVAL) {
        snprintf(error, SERVER_ERROR_MAX, "--secret-file %s: not a file of %u to %u bytes", path,
                 SECRET_BYTES_MIN, SECRET_BYTES_MAX);
    } else if (status) {
        snprintf(error, SERVER_ERROR_MAX, "--secret-file %s: %s", path, strerror(-status));
    }
    return status;
}

static int open_transport(struct server *server, char error[SERVER_ERROR_MAX])
{
    struct transport_options options = {.io = server->io,
                                        .loop = server->loop,
                                        .cluster = server->cluster,
                                        .id = server->options->id,
                                        .listen = peer_address(server),
                                        .allow_insecure = server->options->insecure,
                                        .host = server,
                                        .on_message = consensus_receive,
                                        .on_connection = consensus_connection};
    struct secret secret;
    int status;

    if (!options.listen) {
        return 0;
    }
    if (server->options->secret_file) {
        if (read_secret(server, &secret, error)) {
            return -1;
        }
        options.secret = &secret;
    }
    status = transport_open(&options, &server->transport);
    secret_wipe(&secret, sizeof secret);
    if (status) {
        snprintf(error, SERVER_ERROR_MAX, "listening for servers on %s: %s%s", options.listen,
                 strerror(-status),
                 status == -EACCES ? " (outside loopback: give --secret-file, or --insecure if the "
                                     "network is trusted)"
                                   : "");
        return -1;
    }
    return add_peers(server, error);
}

static int open_disk_events(struct server *server, char error[SERVER_ERROR_MAX])
{
    int fds[] = {wal_completion_fd(server->log),
                 checkpoint_completion_fd(server->checkpoints.store)};

    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0 && loop_add(server->loop, fds[i], LOOP_READ, on_disk, server)) {
            snprintf(error, SERVER_ERROR_MAX, "out of memory");
            return -1;
        }
    }
    return 0;
}

/* It may have been removed, by a change that may yet be undone: it serves what it is asked for. */
static void check_membership(const struct server *server)
{
    if (server->member_count > 0 && !topology_member(server, server->options->id)) {
        say(server->options->log_level, LOG_WARN,
            "server %llu is not a member of the cluster that %s holds",
            (unsigned long long)server->options->id, server->options->directory);
    }
}

/* The directory first: a process that may not use it touches no port. */
static int open_parts(struct server *server, char error[SERVER_ERROR_MAX])
{
    if (consensus_open(server, error) || open_listener(server, error)) {
        return -1;
    }
    topology_load(server);
    check_membership(server);
    if (open_transport(server, error) || open_disk_events(server, error)) {
        return -1;
    }
    return consensus_start(server, error);
}

static struct server *make_server(const struct options *options, const struct password *password,
                                  const struct io *io)
{
    struct server *server = calloc(1, sizeof *server);
    uint8_t secret[16]; /* without it clients could choose keys that collide */

    if (!server) {
        return NULL;
    }
    server->options = options;
    server->password = password;
    server->io = io;
    server->listen_fd = -1;
    server->stop_ms = UINT64_MAX;
    server->first_free = PLACE_NONE;
    server->started_ms = io->now_ms(io->ctx);
    resp_parser_init(&server->again);
    if (io->random(io->ctx, secret, sizeof secret) == 0) {
        server->store = store_new(secret);
    }
    server->loop = loop_new(io);
    if (!server->store || !server->loop) {
        server_close(server);
        return NULL;
    }
    return server;
}

int server_open(const struct options *options, const struct password *password, const struct io *io,
                char error[SERVER_ERROR_MAX], struct server **out)
{
    struct server *server = make_server(options, password, io);

    if (!server) {
        snprintf(error, SERVER_ERROR_MAX, "out of memory, or no random bytes");
        return -1;
    }
    if (open_parts(server, error)) {
        server_close(server);
        return -1;
    }
    *out = server;
    return 0;
}

void server_describe(const struct server *server, char *out, size_t size)
{
    const char *peer = peer_address(server);
    char listen[ADDRESS_TEXT_MAX], peer_text[ADDRESS_TEXT_MAX] = "-";
    struct address address;

    address_format(&server->listen_address, listen);
    if (server->transport && address_parse(peer, &address) == 0) {
        char *colon;

        address_format(&address, peer_text);
        colon = strrchr(peer_text, ':');
        snprintf(colon, sizeof peer_text - (size_t)(colon - peer_text), ":%u",
                 transport_port(server->transport));
    }
    snprintf(out, size, "ready id=%llu listen=%s peer=%s pid=%ld",
             (unsigned long long)server->options->id, listen, peer_text, (long)getpid());
}

static void close_clients(struct server *server)
{
    for (size_t i = 0; i < server->place_count; i++) {
        if (server->places[i].client) {
            client_free(server->io, server->places[i].client);
        }
    }
    for (size_t i = 0; i < server->graveyard.count; i++) {
        client_free(server->io, server->graveyard.items[i]);
    }
    free(server->places);
    free(server->backlog.items);
    free(server->outbox.items);
    free(server->graveyard.items);
}

int server_close(struct server *server)
{
    int status = consensus_close(server);

    peers_close(server);
    transport_close(server->transport);
    close_clients(server);
    if (server->listen_fd >= 0) {
        server->io->close(server->io->ctx, server->listen_fd);
    }
    loop_free(server->loop);
    store_free(server->store);
    resp_parser_free(&server->again);
    free(server);
    return status;
}
