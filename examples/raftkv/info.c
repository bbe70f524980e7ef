/* INFO: what an operator and his tools want to know, from this server's own knowledge alone. */
#define _POSIX_C_SOURCE 200809L

#include "server_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 1024 };

struct facts {
    struct server *server;
    raft_status raft;
    struct wal_stats log;
    uint64_t now_ms;
    struct buffer text;
};

typedef void section_function(struct facts *facts);

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
line(struct facts *facts, const char *format, ...)
{
    char text[LINE_BYTES_MAX];
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size > 0) {
        buffer_add(&facts->text, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
        buffer_add(&facts->text, "\r\n", 2);
    }
}

static void number(struct facts *facts, const char *name, uint64_t value)
{
    line(facts, "%s:%llu", name, (unsigned long long)value);
}

static void server_section(struct facts *facts)
{
    static const char *const reads[] = {
        [READS_LINEARIZABLE] = "linearizable", [READS_LEASE] = "lease", [READS_STALE] = "stale"};
    const struct server *server = facts->server;
    uint64_t up_s = (facts->now_ms - server->started_ms) / 1000;

    line(facts, "raftkv_version:%s", raft_version());
    line(facts, "redis_version:7.0.0");
    line(facts, "redis_mode:cluster");
    number(facts, "process_id", (uint64_t)getpid());
    number(facts, "tcp_port", address_port(&server->listen_address));
    number(facts, "uptime_in_seconds", up_s);
    line(facts, "cluster_name:%s", server->options->cluster);
    line(facts, "reads:%s", reads[server->options->reads]);
    line(facts, "fsync:%s", server->options->sync_never ? "never" : "always");
}

/* A peer as a leader sees it; a follower knows its address alone. */
static void peer_line(struct facts *facts, const raft_peer_status *peer)
{
    const struct server *server = facts->server;
    const struct member *member = topology_member(server, peer->id);
    static const char *const states[] = {"probe", "replicate", "snapshot", "lost"};
    struct transport_peer_status connection = {0};

    if (server->transport) {
        transport_peer_status(server->transport, peer->id, &connection);
    }
    line(facts,
         "peer%llu:addr=%s,role=%s,kind=%s,match=%llu,next=%llu,state=%s,inflight=%zu,"
         "last_ack_ms=%llu,connected=%d",
         (unsigned long long)peer->id, member && member->peer[0] ? member->peer : "-",
         peer->id == server->leader ? "leader" : "follower",
         member ? topology_kind_name(member->kind) : "-", (unsigned long long)peer->match,
         (unsigned long long)peer->next, states[peer->state], peer->inflight_messages,
         (unsigned long long)(peer->last_heard_ms ? facts->now_ms - peer->last_heard_ms : 0),
         connection.sending);
}

static void peer_lines(struct facts *facts)
{
    raft_peer_status peer;

    for (size_t i = 0; raft_get_peer(facts->server->node, i, &peer) == RAFT_OK; i++) {
        if (peer.id != facts->server->options->id) {
            peer_line(facts, &peer);
        }
    }
}

static void raft_section(struct facts *facts)
{
    const struct member *leader = topology_member(facts->server, facts->raft.leader);
    const raft_status *node = &facts->raft;
    uint64_t contact = node->last_contact_ms;

    line(facts, "protocol:%s", options_protocol_name(facts->server->options->protocol));
    number(facts, "node_id", node->id);
    line(facts, "role:%s", topology_role_name(node->role));
    number(facts, "leader_id", node->leader);
    if (leader && leader->host[0]) {
        line(facts, "leader_addr:%s:%u", leader->host, leader->port);
    } else {
        line(facts, "leader_addr:"); /* nobody leads, or the membership does not say where it is */
    }
    number(facts, "current_term", node->term);
    number(facts, "voted_for", node->vote);
    number(facts, "commit_index", node->commit_index);
    number(facts, "applied_index", node->applied_index);
    number(facts, "durable_index", node->durable_index);
    number(facts, "last_index", node->last_index);
    number(facts, "first_index", node->first_index);
    number(facts, "voters", node->voter_count - node->witness_count);
    number(facts, "learners", node->learner_count);
    number(facts, "witnesses", node->witness_count);
    number(facts, "membership_version", node->membership_version);
    number(facts, "membership_joint", (uint64_t)node->membership_joint);
    number(facts, "failures_tolerated", node->failures_tolerated);
    number(facts, "quorum_ok", (uint64_t)node->quorum_ok);
    number(facts, "last_contact_ms",
           node->role == RAFT_ROLE_LEADER || contact == 0 ? 0 : facts->now_ms - contact);
    number(facts, "elections_started", node->counters.elections_started);
    number(facts, "elections_won", node->counters.elections_won);
    number(facts, "messages_sent", node->counters.messages_sent);
    number(facts, "messages_received", node->counters.messages_received);
    number(facts, "messages_refused", node->counters.messages_refused);
    number(facts, "uncommitted_bytes", node->uncommitted_bytes);
    number(facts, "lease_ms",
           node->lease_until_ms > facts->now_ms ? node->lease_until_ms - facts->now_ms : 0);
    number(facts, "reads_by_round", node->counters.reads_by_round);
    number(facts, "reads_by_lease", node->counters.reads_by_lease);
    number(facts, "reads_forwarded", node->counters.reads_forwarded);
    peer_lines(facts);
}

/* Why connections to other servers ended, as far as any has: a number for each reason. */
static void endings(struct facts *facts, const struct transport_stats *stats)
{
    char name[64];

    for (int reason = TRANSPORT_NONE + 1; reason < TRANSPORT_REASONS; reason++) {
        if (stats->ended[reason] > 0) {
            snprintf(name, sizeof name, "peer_connections_ended_%s",
                     transport_reason_name((enum transport_reason)reason));
            number(facts, name, stats->ended[reason]);
        }
    }
}

/* Connections to the other servers: what went through, and why connections ended. */
static void transport_section(struct facts *facts)
{
    struct transport_stats stats;

    if (!facts->server->transport) {
        return;
    }
    transport_stats(facts->server->transport, &stats);
    number(facts, "peer_messages_sent", stats.messages_sent);
    number(facts, "peer_messages_received", stats.messages_received);
    number(facts, "peer_messages_dropped", stats.messages_dropped);
    number(facts, "peer_bytes_sent", stats.bytes_sent);
    number(facts, "peer_bytes_received", stats.bytes_received);
    number(facts, "peer_bytes_copied", stats.bytes_copied);
    number(facts, "peer_connections_dialled", stats.dialled);
    number(facts, "peer_connections_accepted", stats.accepted);
    endings(facts, &stats);
}

static void log_section(struct facts *facts)
{
    const struct wal_stats *log = &facts->log;

    number(facts, "log_bytes", log->log_bytes);
    number(facts, "log_segments", log->segments);
    number(facts, "log_memory_bytes", facts->raft.log_bytes);
    number(facts, "log_memory_bytes_max", facts->server->options->log_bytes);
    number(facts, "log_writes", log->writes);
    number(facts, "log_written_bytes", log->bytes);
    number(facts, "sync_count", log->syncs);
    number(facts, "sync_us_max", log->sync_us_max);
    number(facts, "sync_us_mean", log->syncs ? log->sync_us_sum / log->syncs : 0);
}

static void snapshot_section(struct facts *facts)
{
    const struct checkpoints *checkpoints = &facts->server->checkpoints;
    const raft_status *node = &facts->raft;

    number(facts, "snapshot_index", node->snapshot_index);
    number(facts, "snapshot_term", node->snapshot_term);
    number(facts, "snapshot_in_progress", checkpoints->view != NULL || checkpoints->is_committing);
    number(facts, "snapshot_loading", (uint64_t)node->installing);
    number(facts, "snapshots_taken", checkpoints->taken_count);
    number(facts, "snapshots_installed", node->counters.snapshots_installed);
    number(facts, "snapshots_sent", node->counters.snapshots_sent);
    number(facts, "entries_since_snapshot", node->applied_index - node->snapshot_index);
}

static void clients_section(struct facts *facts)
{
    number(facts, "connected_clients", facts->server->client_count);
    number(facts, "blocked_clients", facts->server->waiting_count);
    number(facts, "pending_writes", facts->server->pending.count);
    number(facts, "pending_reads", facts->server->readers.count);
}

static void stats_section(struct facts *facts)
{
    const struct server_stats *stats = &facts->server->stats;

    number(facts, "total_connections_received", stats->connections);
    number(facts, "rejected_connections", stats->connections_refused);
    number(facts, "total_commands_processed", stats->commands);
    number(facts, "writes_forwarded", stats->writes_forwarded);
    number(facts, "writes_not_executed", stats->writes_dropped);
    number(facts, "writes_unknown", stats->writes_unknown);
    number(facts, "clients_with_failed_reads", stats->reads_failed);
    number(facts, "redirects", stats->redirects);
    number(facts, "clients_cut_off_for_output", stats->output_cut_off);
}

static size_t count_connected(const struct server *server)
{
    struct transport_peer_status connection;
    size_t count = 0;

    for (size_t i = 0; server->transport && i < server->member_count; i++) {
        const struct member *member = &server->members[i];

        count += member->id != server->options->id && member->kind != RAFT_MEMBER_WITNESS &&
                 transport_peer_status(server->transport, member->id, &connection) == 0 &&
                 connection.sending;
    }
    return count;
}

static void replication_section(struct facts *facts)
{
    const struct server *server = facts->server;
    const struct member *leader = topology_member(server, server->leader);

    if (server->role == RAFT_ROLE_LEADER) {
        line(facts, "role:master");
        number(facts, "connected_slaves", count_connected(server));
    } else {
        line(facts, "role:slave");
        line(facts, "master_host:%s", leader ? leader->host : "");
        number(facts, "master_port", leader ? leader->port : 0);
        line(facts, "master_link_status:%s", leader ? "up" : "down");
    }
    number(facts, "master_repl_offset", facts->raft.applied_index);
}

static void keyspace_section(struct facts *facts)
{
    const struct store *store = facts->server->store;

    if (store_count(store) > 0) {
        line(facts, "db0:keys=%zu,expires=%zu,avg_ttl=0", store_count(store),
             store_expiring_count(store));
    }
    number(facts, "keyspace_bytes", store_bytes(store));
}

/* Equal on replicas that have applied the same entries. Takes a walk over every key. */
static void digest_section(struct facts *facts)
{
    line(facts, "keyspace_digest:%016llx", (unsigned long long)store_digest(facts->server->store));
}

static void cluster_section(struct facts *facts)
{
    line(facts, "cluster_enabled:1");
}

struct section {
    const char *name;
    section_function *write;
    int on_demand; /* only where it is named */
};

static const struct section sections[] = {
    {"Server", server_section, 0},       {"Raft", raft_section, 0},
    {"Transport", transport_section, 0}, {"Log", log_section, 0},
    {"Snapshot", snapshot_section, 0},   {"Clients", clients_section, 0},
    {"Stats", stats_section, 0},         {"Replication", replication_section, 0},
    {"Cluster", cluster_section, 0},     {"Keyspace", keyspace_section, 0},
    {"Digest", digest_section, 1},
};

static int is_wanted(const struct section *section, const struct slice *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_is(names[i], section->name)) {
            return 1;
        }
        if (!section->on_demand && (slice_is(names[i], "all") || slice_is(names[i], "default") ||
                                    slice_is(names[i], "everything"))) {
            return 1;
        }
    }
    return count == 0 && !section->on_demand;
}

void info_write(struct server *server, const struct slice *names, size_t count, struct buffer *out)
{
    struct facts facts = {.server = server, .raft = {.size = sizeof facts.raft}};

    facts.now_ms = server->io->now_ms(server->io->ctx);
    raft_get_status(server->node, &facts.raft);
    wal_get_stats(server->log, &facts.log);
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        if (is_wanted(&sections[i], names, count)) {
            line(&facts, "%s# %s", buffer_size(&facts.text) ? "\r\n" : "", sections[i].name);
            sections[i].write(&facts);
        }
    }
    reply_bulk(out, (struct slice){buffer_bytes(&facts.text), buffer_size(&facts.text)});
    buffer_free(&facts.text);
}
