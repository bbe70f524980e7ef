/*
 * Who is in the cluster and who leads, as clients are told. Nothing here is a guess: where no
 * leader is known, or where a member has told no address for clients, that is what is said.
 */
#include "server_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOT_LAST = 16383, NODE_NAME_MAX = 48 };

/* ---- Members ---- */

/* Splits HOST:PORT; the brackets of an IPv6 address go, since clients are told host and port. */
static void split_host(const char *address, char host[MEMBER_ADDRESS_MAX], unsigned *port)
{
    const char *colon = strrchr(address, ':');
    size_t size = colon ? (size_t)(colon - address) : 0;

    if (size > 2 && address[0] == '[' && address[size - 1] == ']') {
        address++;
        size -= 2;
    }
    memcpy(host, address, size);
    host[size] = '\0';
    *port = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
}

/* This server's own address for clients: the one of its blob, else the one it listens on. */
static void fill_own_address(const struct server *server, struct member *member)
{
    char text[ADDRESS_TEXT_MAX];

    if (!member->host[0]) {
        address_format(&server->listen_address, text);
        split_host(text, member->host, &member->port);
    }
}

void topology_load(struct server *server)
{
    raft_member stored;

    server->member_count = 0;
    server->has_leases = 0; /* to be looked at again */
    while (raft_get_member(server->node, server->member_count, &stored) == RAFT_OK) {
        struct member *member = &server->members[server->member_count++];
        char client[MEMBER_ADDRESS_MAX];

        member->id = stored.id;
        member->kind = stored.role == RAFT_MEMBER_NONE ? stored.former_role : stored.role;
        options_split_blob(stored.blob, stored.blob_size, member->peer, client);
        split_host(client, member->host, &member->port);
        if (member->id == server->options->id) {
            fill_own_address(server, member);
        }
    }
}

static void forget_strangers(struct server *server)
{
    for (size_t i = 0; i < server->connected_count; i++) {
        if (!topology_member(server, server->connected[i])) {
            peers_forget(server, server->connected[i]);
        }
    }
    server->connected_count = 0;
}

raft_id topology_connect(struct server *server, int may_wait)
{
    raft_id refused = 0;

    if (!server->transport) {
        return 0;
    }
    forget_strangers(server);
    for (size_t i = 0; i < server->member_count; i++) {
        const struct member *member = &server->members[i];
        int status;

        if (member->id == server->options->id || !member->peer[0]) {
            continue;
        }
        status = peers_connect(server, member, may_wait);
        server->connected[server->connected_count++] = member->id;
        if (status == -EACCES && refused == 0) {
            refused = member->id;
        }
    }
    return refused;
}

const struct member *topology_member(const struct server *server, raft_id id)
{
    for (size_t i = 0; i < server->member_count; i++) {
        if (server->members[i].id == id) {
            return &server->members[i];
        }
    }
    return NULL;
}

static int keeps_data(const struct server *server, raft_id id)
{
    const struct member *member = topology_member(server, id);

    return member && member->kind != RAFT_MEMBER_WITNESS;
}

size_t topology_holders(const struct server *server, raft_index index)
{
    raft_peer_status peer;
    size_t count = 0;

    for (size_t i = 0; raft_get_peer(server->node, i, &peer) == RAFT_OK; i++) {
        count +=
            peer.id != server->options->id && keeps_data(server, peer.id) && peer.match >= index;
    }
    return count;
}

const char *topology_role_name(int role)
{
    switch (role) {
    case RAFT_ROLE_LEADER:
        return "leader";
    case RAFT_ROLE_CANDIDATE:
        return "candidate";
    case RAFT_ROLE_PRE_CANDIDATE:
        return "pre-candidate";
    default:
        return "follower";
    }
}

const char *topology_kind_name(int kind)
{
    static const char *const names[] = {"voter", "learner", "witness", "none"};

    return names[kind];
}

/* ---- Redirects ---- */

void topology_redirect(struct server *server, unsigned slot, struct buffer *out)
{
    const struct member *leader = topology_member(server, server->leader);

    server->stats.redirects++;
    if (server->leader == server->options->id) {
        reply_error(out, "TRYAGAIN not executed: this server has just begun to lead, or stops");
    } else if (!leader) {
        reply_error(out, "CLUSTERDOWN no leader is known");
    } else if (!leader->host[0]) {
        reply_errorf(out, "CLUSTERDOWN server %llu leads, but --peers told no client address of it",
                     (unsigned long long)leader->id);
    } else {
        reply_errorf(out, "MOVED %u %s:%u", slot, leader->host, leader->port);
    }
}

/* ---- CLUSTER ---- */

/* The 40 hexadecimal digits by which cluster clients tell servers apart. */
static void node_name(const struct server *server, raft_id id, char out[NODE_NAME_MAX])
{
    snprintf(out, NODE_NAME_MAX, "%016llx%024llx", (unsigned long long)server->cluster,
             (unsigned long long)id);
}

static void reply_node(const struct server *server, const struct member *member, struct buffer *out)
{
    char name[NODE_NAME_MAX];

    node_name(server, member->id, name);
    reply_array(out, 3);
    reply_bulk_text(out, member->host);
    reply_integer(out, member->port);
    reply_bulk_text(out, name);
}

/* Members that serve clients and say where, the leader first. */
static size_t reachable(const struct server *server, const struct member *list[RAFT_MEMBERS_MAX])
{
    const struct member *leader = topology_member(server, server->leader);
    size_t count = 0;

    if (leader && leader->host[0]) {
        list[count++] = leader;
    }
    for (size_t i = 0; i < server->member_count; i++) {
        const struct member *member = &server->members[i];

        if (member != leader && member->host[0] && member->kind != RAFT_MEMBER_WITNESS) {
            list[count++] = member;
        }
    }
    return count;
}

static int leader_is_reachable(const struct server *server)
{
    const struct member *leader = topology_member(server, server->leader);

    return leader && leader->host[0];
}

/* One range of slots at the leader; none where nobody serves them. */
static void cluster_slots(const struct server *server, struct buffer *out)
{
    const struct member *list[RAFT_MEMBERS_MAX];
    size_t count = reachable(server, list);

    if (!leader_is_reachable(server)) {
        reply_array(out, 0);
        return;
    }
    reply_array(out, 1);
    reply_array(out, 2 + count);
    reply_integer(out, 0);
    reply_integer(out, SLOT_LAST);
    for (size_t i = 0; i < count; i++) {
        reply_node(server, list[i], out);
    }
}

static void reply_shard_node(const struct server *server, const struct member *member,
                             struct buffer *out)
{
    char name[NODE_NAME_MAX];

    node_name(server, member->id, name);
    reply_array(out, 14);
    reply_bulk_text(out, "id");
    reply_bulk_text(out, name);
    reply_bulk_text(out, "port");
    reply_integer(out, member->port);
    reply_bulk_text(out, "ip");
    reply_bulk_text(out, member->host);
    reply_bulk_text(out, "endpoint");
    reply_bulk_text(out, member->host);
    reply_bulk_text(out, "role");
    reply_bulk_text(out, member->id == server->leader ? "master" : "replica");
    reply_bulk_text(out, "replication-offset");
    reply_integer(out, 0);
    reply_bulk_text(out, "health");
    reply_bulk_text(out, "online");
}

static void cluster_shards(const struct server *server, struct buffer *out)
{
    const struct member *list[RAFT_MEMBERS_MAX];
    size_t count = reachable(server, list);

    if (!leader_is_reachable(server)) {
        reply_array(out, 0);
        return;
    }
    reply_array(out, 1);
    reply_array(out, 4);
    reply_bulk_text(out, "slots");
    reply_array(out, 2);
    reply_integer(out, 0);
    reply_integer(out, SLOT_LAST);
    reply_bulk_text(out, "nodes");
    reply_array(out, count);
    for (size_t i = 0; i < count; i++) {
        reply_shard_node(server, list[i], out);
    }
}

/* A line of CLUSTER NODES. Without a leader all are replicas of nobody. */
static void add_node_line(const struct server *server, const struct member *member,
                          struct buffer *text)
{
    int leads = member->id == server->leader;
    int is_self = member->id == server->options->id;
    char name[NODE_NAME_MAX], leader[NODE_NAME_MAX];
    char line[MEMBER_ADDRESS_MAX + 256];

    node_name(server, member->id, name);
    node_name(server, server->leader, leader);
    snprintf(line, sizeof line, "%s %s:%u@%u %s%s %s 0 0 %llu connected%s\n", name, member->host,
             member->port, member->port, is_self ? "myself," : "", leads ? "master" : "slave",
             leads || server->leader == 0 ? "-" : leader, (unsigned long long)server->term,
             leads ? " 0-16383" : "");
    buffer_add(text, line, strlen(line));
}

static void cluster_nodes(const struct server *server, struct buffer *out)
{
    struct buffer text = {0};

    for (size_t i = 0; i < server->member_count; i++) {
        add_node_line(server, &server->members[i], &text);
    }
    reply_bulk(out, (struct slice){buffer_bytes(&text), buffer_size(&text)});
    buffer_free(&text);
}

static void cluster_info(const struct server *server, struct buffer *out)
{
    char text[512];
    int is_up = server->leader != 0;

    snprintf(text, sizeof text,
             "cluster_enabled:1\r\ncluster_state:%s\r\ncluster_slots_assigned:16384\r\n"
             "cluster_slots_ok:%d\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:%d\r\n"
             "cluster_known_nodes:%zu\r\ncluster_size:1\r\ncluster_current_epoch:%llu\r\n"
             "cluster_my_epoch:%llu\r\n",
             is_up ? "ok" : "fail", is_up ? SLOT_LAST + 1 : 0, is_up ? 0 : SLOT_LAST + 1,
             server->member_count, (unsigned long long)server->term,
             (unsigned long long)server->term);
    reply_bulk_text(out, text);
}

void topology_cluster(struct server *server, const struct command *command,
                      const struct slice *args, size_t count, struct buffer *out)
{
    char name[NODE_NAME_MAX];
    struct slice what = args[1];

    if (count != 2) {
        reply_unknown_subcommand(out, command, args);
    } else if (slice_is(what, "SLOTS")) {
        cluster_slots(server, out);
    } else if (slice_is(what, "SHARDS")) {
        cluster_shards(server, out);
    } else if (slice_is(what, "NODES")) {
        cluster_nodes(server, out);
    } else if (slice_is(what, "INFO")) {
        cluster_info(server, out);
    } else if (slice_is(what, "MYID")) {
        node_name(server, server->options->id, name);
        reply_bulk_text(out, name);
    } else {
        reply_unknown_subcommand(out, command, args);
    }
}

/* ---- ROLE and RAFT.* ---- */

/*
 * The member of a peer; null for this server, which need not be among them while it commits its own
 * removal, and for one that was added in this turn.
 */
static const struct member *replica(const struct server *server, const raft_peer_status *peer)
{
    return peer->id == server->options->id ? NULL : topology_member(server, peer->id);
}

static size_t count_replicas(const struct server *server)
{
    raft_peer_status peer;
    size_t count = 0;

    for (size_t i = 0; raft_get_peer(server->node, i, &peer) == RAFT_OK; i++) {
        count += replica(server, &peer) != NULL;
    }
    return count;
}

static void role_of_leader(struct server *server, struct buffer *out)
{
    raft_status status = {.size = sizeof status};
    raft_peer_status peer;
    char text[INTEGER_TEXT_MAX];

    raft_get_status(server->node, &status);
    reply_array(out, 3);
    reply_bulk_text(out, "master");
    reply_integer(out, (int64_t)status.applied_index);
    reply_array(out, count_replicas(server));
    for (size_t i = 0; raft_get_peer(server->node, i, &peer) == RAFT_OK; i++) {
        const struct member *member = replica(server, &peer);

        if (member) {
            reply_array(out, 3);
            reply_bulk_text(out, member->host);
            integer_to_text((int64_t)member->port, text);
            reply_bulk_text(out, text);
            integer_to_text((int64_t)peer.match, text);
            reply_bulk_text(out, text);
        }
    }
}

static void role_of_follower(struct server *server, struct buffer *out)
{
    const struct member *leader = topology_member(server, server->leader);
    raft_status status = {.size = sizeof status};

    raft_get_status(server->node, &status);
    reply_array(out, 5);
    reply_bulk_text(out, "slave");
    reply_bulk_text(out, leader ? leader->host : "");
    reply_integer(out, leader ? (int64_t)leader->port : 0);
    reply_bulk_text(out, leader ? "connected" : "connect");
    reply_integer(out, (int64_t)status.applied_index);
}

void topology_role(struct server *server, struct buffer *out)
{
    if (server->role == RAFT_ROLE_LEADER) {
        role_of_leader(server, out);
    } else {
        role_of_follower(server, out);
    }
}

static void reply_member(const struct server *server, const struct member *member,
                         struct buffer *out)
{
    char client[MEMBER_ADDRESS_MAX + 16] = "-";
    char text[2 * MEMBER_ADDRESS_MAX + 128];

    if (member->host[0]) {
        snprintf(client, sizeof client, "%s:%u", member->host, member->port);
    }
    snprintf(text, sizeof text, "id=%llu peer=%s client=%s kind=%s role=%s",
             (unsigned long long)member->id, member->peer[0] ? member->peer : "-", client,
             topology_kind_name(member->kind),
             member->id == server->leader ? "leader"
             : server->leader == 0        ? "unknown"
                                          : "follower");
    reply_bulk_text(out, text);
}

void topology_raft_members(struct server *server, struct buffer *out)
{
    reply_array(out, server->member_count);
    for (size_t i = 0; i < server->member_count; i++) {
        reply_member(server, &server->members[i], out);
    }
}

void topology_raft_state(struct server *server, struct buffer *out)
{
    size_t size = raft_describe_node(server->node, NULL, 0) + 1;
    char *text = malloc(size);

    if (!text) {
        reply_error(out, "ERR out of memory");
        return;
    }
    raft_describe_node(server->node, text, size);
    reply_bulk_text(out, text);
    free(text);
}
