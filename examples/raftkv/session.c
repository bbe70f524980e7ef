/*
 * Commands about a connection or about the process. They are executed when nothing else of their
 * client is under way, so that AUTH governs exactly what follows it, and WAIT sees exactly what was
 * written before it.
 */
#define _POSIX_C_SOURCE 200809L

#include "admin.h"
#include "server_parts.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

typedef void session_command(struct server *server, struct client *client,
                             const struct command *command, const struct slice *args, size_t count);

/* ---- Trust ---- */

int session_needs_auth(const struct server *server, const struct client *client)
{
    return server->password->size > 0 && !client->is_authenticated;
}

/* Takes as long for a wrong password as for the right one, whatever they have in common. */
static int password_matches(const struct password *password, struct slice given)
{
    size_t difference = password->size ^ given.size;

    for (size_t i = 0; i < given.size; i++) {
        difference |=
            (unsigned char)given.data[i] ^ (unsigned char)password->text[i % password->size];
    }
    return difference == 0;
}

static int authenticate(struct server *server, struct client *client, struct slice user,
                        struct slice given)
{
    if (!slice_is(user, "default") || !password_matches(server->password, given)) {
        reply_error(&client->out, "WRONGPASS invalid username-password pair or user is disabled.");
        return -1;
    }
    client->is_authenticated = 1;
    client->parser.limits = resp_limits_default;
    return 0;
}

static void run_auth(struct server *server, struct client *client, const struct command *command,
                     const struct slice *args, size_t count)
{
    struct slice user = count == 3 ? args[1] : slice_of("default");

    (void)command;
    if (count > 3) {
        reply_error(&client->out, "ERR syntax error");
    } else if (server->password->size == 0) {
        reply_error(&client->out, "ERR AUTH <password> called without any password configured for "
                                  "the default user. Are you sure your configuration is correct?");
    } else if (!authenticate(server, client, user, args[count - 1])) {
        reply_simple(&client->out, "OK");
    }
}

static int is_trusted(const struct server *server, const struct client *client)
{
    return server->password->size > 0 ? client->is_authenticated : client->is_loopback;
}

/* ---- HELLO ---- */

static int is_name(struct slice name)
{
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] < '!' || name.data[i] > '~') {
            return 0;
        }
    }
    return name.size < CLIENT_NAME_MAX;
}

static void set_name(struct client *client, struct slice name)
{
    if (name.size > 0) {
        memcpy(client->name, name.data, name.size);
    }
    client->name[name.size] = '\0';
}

/* The options behind HELLO's version. 0, or -1 with the error written. */
static int hello_options(struct server *server, struct client *client, const struct slice *args,
                         size_t count)
{
    for (size_t i = 2; i < count;) {
        if (slice_is(args[i], "AUTH") && i + 2 < count) {
            if (authenticate(server, client, args[i + 1], args[i + 2])) {
                return -1;
            }
            i += 3;
        } else if (slice_is(args[i], "SETNAME") && i + 1 < count && is_name(args[i + 1])) {
            set_name(client, args[i + 1]);
            i += 2;
        } else {
            reply_error(&client->out, "ERR Syntax error in HELLO");
            return -1;
        }
    }
    return 0;
}

static void reply_pair(struct buffer *out, const char *name, const char *value)
{
    reply_bulk_text(out, name);
    reply_bulk_text(out, value);
}

static void reply_hello(const struct server *server, const struct client *client,
                        struct buffer *out)
{
    reply_array(out, 14);
    reply_pair(out, "server", "redis");
    reply_pair(out, "version", "7.0.0");
    reply_bulk_text(out, "proto");
    reply_integer(out, 2);
    reply_bulk_text(out, "id");
    reply_integer(out, (int64_t)client->id);
    reply_pair(out, "mode", "cluster");
    reply_pair(out, "role", server->role == RAFT_ROLE_LEADER ? "master" : "replica");
    reply_bulk_text(out, "modules");
    reply_array(out, 0);
}

static void run_hello(struct server *server, struct client *client, const struct command *command,
                      const struct slice *args, size_t count)
{
    int64_t version = 2;

    (void)command;
    if (count > 1 && !slice_to_integer(args[1], &version)) {
        reply_error(&client->out, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version != 2) {
        reply_error(&client->out, "NOPROTO unsupported protocol version");
        return;
    }
    if (hello_options(server, client, args, count)) {
        return;
    }
    if (session_needs_auth(server, client)) {
        reply_error(&client->out,
                    "NOAUTH HELLO must be called with the client already authenticated, otherwise "
                    "the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the "
                    "client and select the RESP protocol version at the same time");
        return;
    }
    reply_hello(server, client, &client->out);
}

/* ---- CLIENT ---- */

static int describe_client(const struct server *server, const struct client *client, char *out,
                           size_t size)
{
    uint64_t now = server->io->now_ms(server->io->ctx);

    return snprintf(out, size,
                    "id=%llu addr=%s name=%s age=%llu idle=%llu qbuf=%zu omem=%zu pending=%zu\n",
                    (unsigned long long)client->id, client->address, client->name,
                    (unsigned long long)((now - client->born_ms) / 1000),
                    (unsigned long long)((now - client->active_ms) / 1000),
                    buffer_size(&client->in), buffer_size(&client->out), client->request_count);
}

static void client_info(struct server *server, struct client *client)
{
    char line[256];

    describe_client(server, client, line, sizeof line);
    reply_bulk_text(&client->out, line);
}

static void client_list(struct server *server, struct client *client)
{
    struct buffer text = {0};
    char line[256];

    for (size_t i = 0; i < server->place_count; i++) {
        if (server->places[i].client) {
            describe_client(server, server->places[i].client, line, sizeof line);
            buffer_add(&text, line, strlen(line));
        }
    }
    reply_bulk(&client->out, (struct slice){buffer_bytes(&text), buffer_size(&text)});
    buffer_free(&text);
}

static void client_set_name(struct client *client, struct slice name)
{
    if (!is_name(name)) {
        reply_error(&client->out, "ERR Client names cannot contain spaces, newlines or special "
                                  "characters.");
        return;
    }
    set_name(client, name);
    reply_simple(&client->out, "OK");
}

static void run_client(struct server *server, struct client *client, const struct command *command,
                       const struct slice *args, size_t count)
{
    struct slice what = args[1];

    if (slice_is(what, "ID") && count == 2) {
        reply_integer(&client->out, (int64_t)client->id);
    } else if (slice_is(what, "GETNAME") && count == 2) {
        reply_bulk_text(&client->out, client->name);
    } else if (slice_is(what, "SETNAME") && count == 3) {
        client_set_name(client, args[2]);
    } else if (slice_is(what, "SETINFO") && count == 4) {
        reply_simple(&client->out, "OK");
    } else if (slice_is(what, "INFO") && count == 2) {
        client_info(server, client);
    } else if (slice_is(what, "LIST") && count == 2) {
        client_list(server, client);
    } else {
        reply_unknown_subcommand(&client->out, command, args);
    }
}

/* ---- WAIT ---- */

static void run_wait(struct server *server, struct client *client, const struct command *command,
                     const struct slice *args, size_t count)
{
    int64_t replicas, timeout_ms;

    (void)command;
    (void)count;
    if (!slice_to_integer(args[1], &replicas) || !slice_to_integer(args[2], &timeout_ms)) {
        reply_error(&client->out, "ERR value is not an integer or out of range");
    } else if (timeout_ms < 0) {
        reply_error(&client->out, "ERR timeout is negative");
    } else if (server->role != RAFT_ROLE_LEADER) {
        reply_error(&client->out, "ERR WAIT cannot be used with replica instances. Please also "
                                  "note that writes are redirected to the leader.");
    } else {
        uint64_t now = server->io->now_ms(server->io->ctx);

        client->wait.is_active = 1;
        client->wait.replicas = replicas > 0 ? (uint64_t)replicas : 0;
        client->wait.deadline_ms = timeout_ms ? now + (uint64_t)timeout_ms : UINT64_MAX;
        server->waiting_count++;
    }
}

/* One client's WAIT. A server that has lost the lead knows nothing better any more: it answers. */
static void check_wait(struct server *server, struct client *client, uint64_t now_ms)
{
    size_t holders = topology_holders(server, client->last_write);

    if (holders < client->wait.replicas && now_ms < client->wait.deadline_ms &&
        server->role == RAFT_ROLE_LEADER && !server_is_stopping(server)) {
        return;
    }
    reply_integer(&client->out, (int64_t)holders);
    client->wait.is_active = 0;
    server->waiting_count--;
    server_write_to(server, client);
    server_look_at(server, client);
}

uint64_t session_check_waits(struct server *server, uint64_t now_ms)
{
    uint64_t next = UINT64_MAX;

    for (size_t i = 0; server->waiting_count > 0 && i < server->place_count; i++) {
        struct client *client = server->places[i].client;

        if (client && client->wait.is_active) {
            check_wait(server, client, now_ms);
            if (client->wait.is_active && client->wait.deadline_ms < next) {
                next = client->wait.deadline_ms;
            }
        }
    }
    return next;
}

/* ---- The others ---- */

static void run_quit(struct server *server, struct client *client, const struct command *command,
                     const struct slice *args, size_t count)
{
    (void)server;
    (void)command;
    (void)args;
    (void)count;
    reply_simple(&client->out, "OK");
    client->is_ending = 1;
}

static void run_info(struct server *server, struct client *client, const struct command *command,
                     const struct slice *args, size_t count)
{
    (void)command;
    info_write(server, args + 1, count - 1, &client->out);
}

static void run_cluster(struct server *server, struct client *client, const struct command *command,
                        const struct slice *args, size_t count)
{
    if (!command_local(command, args, count, &client->out)) {
        topology_cluster(server, command, args, count, &client->out);
    }
}

static void run_role(struct server *server, struct client *client, const struct command *command,
                     const struct slice *args, size_t count)
{
    (void)command;
    (void)args;
    (void)count;
    topology_role(server, &client->out);
}

static void run_time(struct server *server, struct client *client, const struct command *command,
                     const struct slice *args, size_t count)
{
    struct timespec now;
    char text[INTEGER_TEXT_MAX];

    (void)server;
    (void)command;
    (void)args;
    (void)count;
    clock_gettime(CLOCK_REALTIME, &now);
    reply_array(&client->out, 2);
    integer_to_text((int64_t)now.tv_sec, text);
    reply_bulk_text(&client->out, text);
    integer_to_text((int64_t)now.tv_nsec / 1000, text);
    reply_bulk_text(&client->out, text);
}

/* Whether reads of this connection may be served by a server that does not lead. */
static void run_readonly(struct server *server, struct client *client,
                         const struct command *command, const struct slice *args, size_t count)
{
    (void)server;
    (void)args;
    (void)count;
    client->is_readonly = command->id == COMMAND_READONLY;
    reply_simple(&client->out, "OK");
}

static void run_raft(struct server *server, struct client *client, const struct command *command,
                     const struct slice *args, size_t count)
{
    (void)args;
    (void)count;
    if (command->id == COMMAND_RAFT_STATE) {
        topology_raft_state(server, &client->out);
    } else {
        topology_raft_members(server, &client->out);
    }
}

/* As in Redis, success is the end of the connection. SAVE, NOSAVE: there is nothing to choose. */
static void run_shutdown(struct server *server, struct client *client,
                         const struct command *command, const struct slice *args, size_t count)
{
    (void)command;
    if (count > 2 || (count == 2 && !slice_is(args[1], "NOSAVE") && !slice_is(args[1], "SAVE"))) {
        reply_error(&client->out, "ERR syntax error");
        return;
    }
    client->is_ending = 1;
    say(server->options->log_level, LOG_INFO, "a client at %s said SHUTDOWN", client->address);
    server_stop(server);
}

struct session_entry {
    int id;
    session_command *run;
};

static const struct session_entry entries[] = {
    {COMMAND_CLUSTER, run_cluster},
    {COMMAND_QUIT, run_quit},
    {COMMAND_AUTH, run_auth},
    {COMMAND_HELLO, run_hello},
    {COMMAND_CLIENT, run_client},
    {COMMAND_INFO, run_info},
    {COMMAND_ROLE, run_role},
    {COMMAND_TIME, run_time},
    {COMMAND_WAIT, run_wait},
    {COMMAND_READONLY, run_readonly},
    {COMMAND_READWRITE, run_readonly},
    {COMMAND_RAFT_STATE, run_raft},
    {COMMAND_RAFT_MEMBERS, run_raft},
    {COMMAND_RAFT_ADD, admin_begin},
    {COMMAND_RAFT_REMOVE, admin_begin},
    {COMMAND_RAFT_PROMOTE, admin_begin},
    {COMMAND_RAFT_TRANSFER, admin_begin},
    {COMMAND_RAFT_CHECKPOINT, admin_begin},
    {COMMAND_SHUTDOWN, run_shutdown},
};

void session_execute(struct server *server, struct client *client, const struct command *command,
                     const struct slice *args, size_t count)
{
    if (command->kind == COMMAND_ADMIN && !is_trusted(server, client)) {
        reply_errorf(&client->out,
                     "NOPERM %s is allowed after AUTH, or from loopback where no "
                     "password is set",
                     command->name);
        return;
    }
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        if (entries[i].id == command->id) {
            entries[i].run(server, client, command, args, count);
            return;
        }
    }
    reply_errorf(&client->out, "ERR %s is not supported by this version", command->name);
}
