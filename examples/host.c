/*
 * The parts put together.
 *
 * Invariants:
 *   1. What the engine lends to transport_send is flushed before any other call that takes the
 *      node.
 *   2. The clock given to raft_poll is read after everything that was received before (R59).
 *   3. Nothing goes on after an error of the fatal tier.
 */
#include "host.h"

#include "io.h"
#include "loop.h"
#include "transport.h"
#include "wal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_GROUP = 1 };

struct host {
    const struct io *io;
    void *ctx;
    int (*apply)(void *ctx, const raft_entry *entry);
    void (*notify)(void *ctx, const raft_event *event);
    raft_id id;
    raft *node;
    wal *log;
    struct loop *loop;
    struct transport *transport; /* null: alone */
    raft_id peers[RAFT_MEMBERS_MAX];
    size_t peer_count;
    int has_new_members;
    int status; /* the first error that ends everything */
};

static uint64_t host_now(const struct host *host)
{
    return host->io->now_ms(host->io->ctx);
}

/* Of the other tiers some are everyday, as where a message is refused: the engine counts them. */
static void note_status(struct host *host, int status)
{
    if (host->status == RAFT_OK && status <= RAFT_ESTORAGE) {
        host->status = status;
    }
}

/* ---- What the engine asks for --------------------------------------------------------------- */

static int host_persist(void *ctx, const raft_write *write)
{
    struct host *host = ctx;
    return wal_append(host->log, HOST_GROUP, write);
}

static void host_send(void *ctx, const raft_message *message)
{
    struct host *host = ctx;
    if (host->transport) {
        transport_send(host->transport, message);
    }
}

static int host_apply(void *ctx, const raft_range *range)
{
    struct host *host = ctx;
    raft_range rest = *range;
    raft_entry entry;
    int status = RAFT_OK;
    while (status == RAFT_OK && raft_range_next(&rest, &entry)) {
        status = host->apply ? host->apply(host->ctx, &entry) : RAFT_OK;
    }
    return status;
}

static void host_notify(void *ctx, const raft_event *event)
{
    struct host *host = ctx;
    if (event->kind == RAFT_EVENT_MEMBERS) {
        host->has_new_members = 1;
    } else if (event->kind == RAFT_EVENT_FATAL) {
        note_status(host, event->status);
    }
    if (host->notify) {
        host->notify(host->ctx, event);
    }
}

/* ---- What the other parts say --------------------------------------------------------------- */

static int host_replay(void *ctx, uint64_t group, const raft_write *write)
{
    struct host *host = ctx;
    return group == HOST_GROUP ? raft_restore(host->node, write) : RAFT_EFOREIGN;
}

static void host_stored(void *ctx, uint64_t group, uint64_t seq, int status)
{
    struct host *host = ctx;
    (void)group;
    note_status(host, raft_persisted(host->node, seq, status));
}

static void host_receive(void *ctx, const raft_message *message)
{
    struct host *host = ctx;
    note_status(host, raft_receive(host->node, message));
}

static void host_connection(void *ctx, raft_id peer, int up)
{
    struct host *host = ctx;
    if (!up) {
        note_status(host, raft_unreachable(host->node, peer));
    }
}

/* ---- Members -------------------------------------------------------------------------------- */

/* The address in a member's blob, as text. */
static void blob_text(const raft_member *member, char out[RAFT_BLOB_MAX + 1])
{
    if (member->blob_size > 0) {
        memcpy(out, member->blob, member->blob_size);
    }
    out[member->blob_size] = '\0';
}

static int is_member(const raft *node, raft_id id, raft_member *member)
{
    for (size_t i = 0; raft_get_member(node, i, member) == RAFT_OK; i++) {
        if (member->id == id) {
            return 1;
        }
    }
    return 0;
}

static void forget_former_peers(struct host *host)
{
    raft_member member;
    size_t kept = 0;
    for (size_t i = 0; i < host->peer_count; i++) {
        if (is_member(host->node, host->peers[i], &member)) {
            host->peers[kept++] = host->peers[i];
        } else {
            transport_forget(host->transport, host->peers[i]);
        }
    }
    host->peer_count = kept;
}

static int knows_peer(const struct host *host, raft_id id)
{
    for (size_t i = 0; i < host->peer_count; i++) {
        if (host->peers[i] == id) {
            return 1;
        }
    }
    return 0;
}

/* Makes the transport's peers those of the membership. Returns what transport_peer refused. */
static int update_peers(struct host *host)
{
    char address[RAFT_BLOB_MAX + 1];
    raft_member member;
    int refused = 0;
    host->has_new_members = 0;
    if (!host->transport) {
        return 0;
    }
    forget_former_peers(host);
    for (size_t i = 0; raft_get_member(host->node, i, &member) == RAFT_OK; i++) {
        blob_text(&member, address);
        if (member.id != host->id) {
            int status = transport_peer(host->transport, member.id, address);
            refused = refused ? refused : status;
            if (status == 0 && !knows_peer(host, member.id)) {
                host->peers[host->peer_count++] = member.id;
            }
        }
    }
    return refused;
}

/* Takes "ID=ADDRESS" off a text; the member's blob points into it. Returns what follows, or null
 * where it is not of that form. */
static const char *parse_member(const char *text, raft_member *member)
{
    char *equals;
    *member = (raft_member){.id = strtoull(text, &equals, 10)};
    if (text[0] < '0' || text[0] > '9' || *equals != '=' || member->id == 0) {
        return NULL;
    }
    member->blob = equals + 1;
    member->blob_size = strcspn(equals + 1, ",");
    const char *rest = equals + 1 + member->blob_size;
    return member->blob_size > 0 && member->blob_size <= RAFT_BLOB_MAX
               ? rest + (*rest == ',' && rest[1] != '\0')
               : NULL;
}

static int found_alone(struct host *host)
{
    const raft_member self = {.id = host->id};
    return raft_bootstrap(host->node, &self, 1);
}

static int found_group(struct host *host, const char *text)
{
    raft_member members[RAFT_MEMBERS_MAX];
    size_t count = 0;
    int has_self = 0;
    do {
        text = count < RAFT_MEMBERS_MAX ? parse_member(text, &members[count]) : NULL;
        if (!text) {
            return RAFT_EARG;
        }
        has_self |= members[count++].id == host->id;
    } while (*text);
    return has_self ? raft_bootstrap(host->node, members, count) : RAFT_EARG;
}

/* ---- Opening -------------------------------------------------------------------------------- */

/* Says why in words, and returns the code. */
static int explain(char error[HOST_ERROR_MAX], int code, const char *what, const char *why)
{
    snprintf(error, HOST_ERROR_MAX, "%s: %s", what, why);
    return code;
}

static int open_node(struct host *host, const struct host_options *given,
                     char error[HOST_ERROR_MAX])
{
    raft_options options;
    raft_callbacks callbacks;
    raft_options_init(&options);
    options.id = given->id;
    options.cluster = given->cluster;
    options.group = HOST_GROUP;
    options.protocol = given->protocol;
    options.election_timeout_ms = given->election_timeout_ms;
    if (host->io->random(host->io->ctx, &options.seed, sizeof options.seed)) {
        return explain(error, RAFT_ESTORAGE, "node", "no random bytes");
    }
    raft_callbacks_init(&callbacks);
    callbacks.persist = host_persist;
    callbacks.send = host_send;
    callbacks.apply = host_apply;
    callbacks.notify = host_notify;
    int status = raft_new(&options, &callbacks, host, &host->node);
    return status == RAFT_OK ? status : explain(error, status, "node", raft_strerror(status));
}

static int open_log(struct host *host, const struct host_options *given, char error[HOST_ERROR_MAX])
{
    const struct wal_options options = {.io = host->io,
                                        .directory = given->directory,
                                        .cluster = given->cluster ? given->cluster : 1,
                                        .node = given->id};
    struct wal_error why;
    int status = wal_open(&options, host_replay, host, &why, &host->log);
    if (status != RAFT_OK) {
        snprintf(error, HOST_ERROR_MAX, "%s/%s at %" PRIu64 ": %s", given->directory, why.file,
                 why.offset, why.text[0] ? why.text : raft_strerror(status));
    } else if (wal_recovered(host->log)->writes == 0) {
        status = given->members ? found_group(host, given->members) : found_alone(host);
        if (status != RAFT_OK) {
            explain(error, status, "members",
                    given->members ? given->members : raft_strerror(status));
        }
    }
    return status;
}

/* A server that has no address of its own in the membership has no network. */
static int open_transport(struct host *host, const struct host_options *given,
                          char error[HOST_ERROR_MAX])
{
    char listen[RAFT_BLOB_MAX + 1] = "";
    const struct transport_options options = {.io = host->io,
                                              .loop = host->loop,
                                              .cluster = given->cluster,
                                              .id = given->id,
                                              .listen = listen,
                                              .host = host,
                                              .on_message = host_receive,
                                              .on_connection = host_connection};
    raft_member self;
    if (!is_member(host->node, host->id, &self)) {
        return explain(error, RAFT_ENOTMEMBER, given->directory, raft_strerror(RAFT_ENOTMEMBER));
    }
    blob_text(&self, listen);
    if (!listen[0]) {
        return RAFT_OK;
    }
    int status = transport_open(&options, &host->transport);
    if (status == 0) {
        status = update_peers(host);
    }
    return status == 0 ? RAFT_OK
                       : explain(error, RAFT_ESTORAGE, host->transport ? "a peer" : listen,
                                 strerror(-status));
}

/* Nobody else can lead, so why wait? It is busy until its founding is stored. */
static int lead_alone(struct host *host)
{
    raft_member second;
    if (raft_get_member(host->node, 1, &second) == RAFT_OK) {
        return RAFT_OK;
    }
    int status = host_turn(host, 0);
    return status == RAFT_OK ? raft_campaign(host->node) : status;
}

static int open_parts(struct host *host, const struct host_options *given,
                      char error[HOST_ERROR_MAX])
{
    int status = host->loop ? RAFT_OK : explain(error, RAFT_ENOMEM, "loop", "no memory");
    if (status == RAFT_OK) {
        status = open_node(host, given, error);
    }
    if (status == RAFT_OK) {
        status = open_log(host, given, error);
    }
    if (status == RAFT_OK) {
        status = open_transport(host, given, error);
    }
    if (status == RAFT_OK) {
        status = raft_start(host->node, host_now(host));
        status = status == RAFT_OK ? lead_alone(host) : status;
        if (status != RAFT_OK) {
            explain(error, status, given->directory, raft_strerror(status));
        }
    }
    return status;
}

int host_open(const struct host_options *options, char error[HOST_ERROR_MAX], struct host **out)
{
    if (!options->directory || options->id == 0) {
        return explain(error, RAFT_EARG, "options", "a directory and an id are needed");
    }
    struct host *host = calloc(1, sizeof *host);
    if (!host) {
        return explain(error, RAFT_ENOMEM, "host", "no memory");
    }
    host->io = &io_posix;
    host->ctx = options->ctx;
    host->apply = options->apply;
    host->notify = options->notify;
    host->id = options->id;
    host->loop = loop_new(host->io);
    int status = open_parts(host, options, error);
    if (status == RAFT_OK) {
        *out = host;
    } else {
        host_close(host);
    }
    return status;
}

/* ---- Running -------------------------------------------------------------------------------- */

raft *host_node(const struct host *host)
{
    return host->node;
}

struct loop *host_loop(const struct host *host)
{
    return host->loop;
}

/* How long to wait: for what is due first, and not longer than asked. */
static int host_timeout(const struct host *host, int wait_ms)
{
    uint64_t now_ms = host_now(host);
    uint64_t deadline_ms = raft_deadline(host->node);
    if (host->transport && transport_deadline(host->transport) < deadline_ms) {
        deadline_ms = transport_deadline(host->transport);
    }
    int timeout_ms = loop_timeout(deadline_ms, now_ms);
    return wait_ms >= 0 && (timeout_ms < 0 || timeout_ms > wait_ms) ? wait_ms : timeout_ms;
}

int host_turn(struct host *host, int wait_ms)
{
    if (loop_wait(host->loop, host_timeout(host, wait_ms)) < 0) {
        note_status(host, RAFT_ESTORAGE);
    }
    if (host->transport) {
        transport_tick(host->transport, host_now(host));
    }
    note_status(host, raft_poll(host->node, host_now(host))); /* 2 */
    if (host->transport) {
        transport_flush(host->transport); /* 1 */
    }
    note_status(host, wal_commit(host->log));
    wal_collect(host->log, host_stored, host);
    if (host->has_new_members) {
        update_peers(host); /* one that cannot be reached is no reason to stop */
    }
    return host->status;
}

int host_close(struct host *host)
{
    if (!host) {
        return RAFT_OK;
    }
    int status = wal_close(host->log); /* before the node: it was lent the node's bytes */
    transport_close(host->transport);
    raft_free(host->node);
    loop_free(host->loop);
    free(host);
    return status;
}
