/*
 * Hello, consensus. Three servers in one process elect a leader and agree on a text, by Raft, or by
 * Multi-Paxos where that is the first argument: for a host they are the same.
 *
 * The engine never touches the world. We hand it time, messages and proposals, which only change
 * its memory; raft_poll then calls us back with what is to be stored, sent and applied. So the world
 * can be a toy: messages travel through an array, time is a number, and there is no disk. counter.c
 * has real ones.
 */
#include "raft.h"

#include <stdio.h>
#include <string.h>

enum { SERVERS = 3, STEP_MS = 10, PATIENCE_MS = 60000, QUEUE_MAX = 64, MESSAGE_MAX = 512 };

/* Messages on their way. */
struct network {
    raft_id to[QUEUE_MAX];
    size_t size[QUEUE_MAX];
    uint8_t bytes[QUEUE_MAX][MESSAGE_MAX];
    size_t count;
};

struct server {
    raft *node;
    raft_id id;
    char text[64]; /* our state machine: what was agreed on */
    struct network *network;
};

/* RAFT_OK promises that a crash will not forget the write. Nobody crashes here. */
static int persist(void *host, const raft_write *write)
{
    (void)host, (void)write;
    return RAFT_OK;
}

/* A network may lose messages, so one that finds no room needs no further thought. */
static void send_message(void *host, const raft_message *message)
{
    struct network *network = ((struct server *)host)->network;
    size_t last = network->count;
    if (last < QUEUE_MAX) {
        network->to[last] = message->to;
        network->size[last] = raft_encode(message, network->bytes[last], MESSAGE_MAX);
        network->count++;
    }
}

/* Every server is given the same entries in the same order. That is the whole point. */
static int apply(void *host, const raft_range *range)
{
    struct server *server = host;
    raft_range rest = *range;
    raft_entry entry;
    while (raft_range_next(&rest, &entry)) {
        if (entry.kind == RAFT_ENTRY_DATA && entry.size < sizeof server->text) {
            memcpy(server->text, entry.data, entry.size);
            printf("server %d applies entry %d\n", (int)server->id, (int)entry.index);
        }
    }
    return RAFT_OK;
}

static int start(struct server *server, raft_id id, int protocol)
{
    const raft_member members[SERVERS] = {{.id = 1}, {.id = 2}, {.id = 3}};
    raft_options options;
    raft_callbacks callbacks;
    raft_options_init(&options);
    raft_callbacks_init(&callbacks);
    options.id = server->id = id;
    options.protocol = protocol;
    callbacks.persist = persist;
    callbacks.send = send_message;
    callbacks.apply = apply;
    return raft_new(&options, &callbacks, server, &server->node) == RAFT_OK &&
           raft_bootstrap(server->node, members, SERVERS) == RAFT_OK &&
           raft_start(server->node, 0) == RAFT_OK;
}

int main(int argc, char **argv)
{
    int is_paxos = argc > 1 && strcmp(argv[1], "multipaxos") == 0;
    int protocol = is_paxos ? RAFT_PROTOCOL_MULTIPAXOS : RAFT_PROTOCOL_RAFT;
    const char *words = "hello, world";
    struct network net = {.count = 0};
    struct server servers[SERVERS] = {{0}};
    int proposed = 0, agreed = 0, ok = 1;
    for (raft_id id = 1; id <= SERVERS; id++) {
        servers[id - 1].network = &net;
        ok = start(&servers[id - 1], id, protocol) && ok;
    }
    for (uint64_t now_ms = 0; ok && agreed < SERVERS && now_ms < PATIENCE_MS; now_ms += STEP_MS) {
        for (size_t i = 0; i < net.count; i++) { /* what was sent arrives */
            raft_receive_bytes(servers[net.to[i] - 1].node, net.bytes[i], net.size[i]);
        }
        net.count = 0;
        agreed = 0;
        for (int i = 0; i < SERVERS; i++) { /* only the leader accepts a proposal */
            struct server *server = &servers[i];
            if (!proposed && raft_propose(server->node, words, strlen(words), NULL, NULL) == 0) {
                printf("server %d leads after %d ms\n", (int)server->id, (int)now_ms);
                proposed = 1;
            }
            raft_poll(server->node, now_ms);
            agreed += strcmp(server->text, words) == 0; /* a proposal holds once it is applied */
        }
    }
    for (int i = 0; i < SERVERS; i++) {
        printf("server %d holds \"%s\"\n", i + 1, servers[i].text);
        raft_free(servers[i].node);
    }
    return agreed == SERVERS ? 0 : 1;
}
