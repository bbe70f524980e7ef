/*
 * Where the other servers are. A member's address may be a name, and to look a name up may block
 * for longer than an election timeout: a leader that did so while it serves would lose its lead.
 * So it is done beside the loop (../resolver.h), and again until the name is known.
 */
#include "server_parts.h"

#include "../resolver.h"

#include <errno.h>
#include <string.h>

enum { REFUSALS_PAUSE_MS = 60000 }; /* who is refused calls again and again */

static void warn(const struct server *server, raft_id id, const char *address, int status)
{
    say(server->options->log_level, LOG_WARN, "server %llu at %s: %s", (unsigned long long)id,
        address, strerror(-status));
}

/* The resolver knows now. Who has left the cluster meanwhile is not looked for any more. */
static void on_address(void *ctx, uint64_t tag, const char *numeric)
{
    struct server *server = ctx;
    const struct member *member = topology_member(server, tag);
    int status = 0;

    if (member) {
        say(server->options->log_level, LOG_INFO, "server %llu at %s is %s",
            (unsigned long long)tag, member->peer, numeric);
        status = transport_peer(server->transport, tag, numeric);
    }
    if (status) {
        warn(server, tag, numeric, status);
    }
}

/* Most clusters have no names, and no resolver. */
static int ask(struct server *server, const struct member *member)
{
    const struct resolver_options options = {
        .io = server->io, .loop = server->loop, .done = on_address, .ctx = server};
    int status = server->resolver ? 0 : resolver_new(&options, &server->resolver);

    return status ? status : resolver_ask(server->resolver, member->id, member->peer);
}

int peers_connect(struct server *server, const struct member *member, int may_wait)
{
    int status = -ENOENT;

    if (may_wait || address_is_numeric(member->peer)) {
        status = transport_peer(server->transport, member->id, member->peer);
    }
    if (status == -ENOENT) {
        if (may_wait) {
            say(server->options->log_level, LOG_WARN,
                "server %llu at %s: the name is not known; it is asked for until it is",
                (unsigned long long)member->id, member->peer);
        }
        status = ask(server, member);
    } else if (server->resolver) {
        resolver_forget(server->resolver, member->id);
    }
    if (status) {
        warn(server, member->id, member->peer, status);
    }
    return status;
}

void peers_forget(struct server *server, raft_id id)
{
    transport_forget(server->transport, id);
    if (server->resolver) {
        resolver_forget(server->resolver, id);
    }
}

/* Connections that ended because the two sides do not belong together. */
static uint64_t count_refusals(const struct transport_stats *stats)
{
    uint64_t count = 0;

    for (int reason = TRANSPORT_MAGIC; reason <= TRANSPORT_LIMIT; reason++) {
        count += stats->ended[reason];
    }
    return count;
}

void peers_say_refusals(struct server *server, uint64_t now_ms)
{
    struct transport_stats stats;
    uint64_t count;

    if (!server->transport || now_ms < server->refusals_ms) {
        return;
    }
    transport_stats(server->transport, &stats);
    count = count_refusals(&stats);
    if (count > server->refusals_said) {
        say(server->options->log_level, LOG_WARN,
            "%llu connections with servers were refused, the last because: %s",
            (unsigned long long)(count - server->refusals_said),
            transport_reason_text(stats.last_refusal));
        server->refusals_said = count;
        server->refusals_ms = now_ms + REFUSALS_PAUSE_MS;
    }
}

void peers_close(struct server *server)
{
    resolver_free(server->resolver);
}
