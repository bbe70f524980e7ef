/*
 * A register that is written once: single-decree Paxos. Three proposers each want another value in
 * it, a third of all messages is lost, and all end with the one value that was chosen.
 *
 *     register [SEED]
 *
 * A decree is a log of one entry. To propose is to prepare, that is to campaign: whoever has the
 * promises of a majority has also got the best log that any of them has. If that is empty, nothing
 * can have been chosen, and the proposer is free to write its value. If not, there may be no other
 * value any more: it replicates what it has found, whoever's that was. SEED draws what is lost, and
 * whether one of the three is cut off (SEED modulo 4: which): it proposes when all is over, and is
 * told. hello.c is simpler still.
 */
#include "raft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERVERS = 3, STEP_MS = 10, LATE_MS = 5000, PATIENCE_MS = 600000 };
enum { QUEUE_MAX = 64, MESSAGE_MAX = 512 };

struct network {
    uint64_t random;
    raft_id cut_off; /* nobody hears it, and it hears nobody */
    raft_id to[QUEUE_MAX];
    size_t size[QUEUE_MAX];
    uint8_t bytes[QUEUE_MAX][MESSAGE_MAX];
    size_t count;
};

struct server {
    raft *node;
    raft_id id;
    char chosen[64]; /* the register as this server knows it; "": not yet */
    struct network *network;
};

/* Once in so many times, by a generator of Knuth's. */
static int happens(struct network *network, unsigned times)
{
    network->random = network->random * 6364136223846793005u + 1442695040888963407u;
    return (network->random >> 33) % times == 0;
}

/* RAFT_OK promises that a crash will not forget the write. Nobody crashes here. */
static int persist(void *host, const raft_write *write)
{
    (void)host, (void)write;
    return RAFT_OK;
}

static void send_message(void *host, const raft_message *message)
{
    struct network *network = ((struct server *)host)->network;
    size_t last = network->count;
    int is_cut = network->cut_off == message->to || network->cut_off == message->from;
    if (last < QUEUE_MAX && !is_cut && !happens(network, 3)) {
        network->to[last] = message->to;
        network->size[last] = raft_encode(message, network->bytes[last], MESSAGE_MAX);
        network->count++;
    }
}

/* The first entry is the value, and nobody proposes a second one. */
static int apply(void *host, const raft_range *range)
{
    struct server *server = host;
    raft_range rest = *range;
    raft_entry entry;
    if (range->first != 1 || range->count != 1 || !raft_range_next(&rest, &entry) ||
        entry.size >= sizeof server->chosen) {
        return RAFT_EAPPLY;
    }
    memcpy(server->chosen, entry.data, entry.size);
    printf("server %d learns \"%s\"\n", (int)server->id, server->chosen);
    return RAFT_OK;
}

/* Until a value is known. Two that prepare in turn hinder each other, so each draws its moments. */
static void propose(struct server *server)
{
    raft_status status = {.size = sizeof status};
    char value[32];
    raft_get_status(server->node, &status);
    if (server->chosen[0] != '\0') {
        return;
    }
    if (status.role == RAFT_ROLE_LEADER && status.last_index == 0) {
        snprintf(value, sizeof value, "value of server %d", (int)server->id);
        if (raft_propose(server->node, value, strlen(value), NULL, NULL) == RAFT_OK) {
            printf("server %d writes \"%s\"\n", (int)server->id, value);
        }
    } else if (status.role != RAFT_ROLE_LEADER && happens(server->network, 10)) {
        raft_campaign(server->node); /* RAFT_EBUSY: next time */
    }
}

static int start(struct server *server, raft_id id)
{
    const raft_member members[SERVERS] = {{.id = 1}, {.id = 2}, {.id = 3}};
    raft_options options;
    raft_callbacks callbacks;
    raft_options_init(&options);
    raft_callbacks_init(&callbacks);
    options.id = server->id = id;
    options.protocol = RAFT_PROTOCOL_MULTIPAXOS;
    options.no_pre_vote = 1;   /* a proposer asks nobody whether it may prepare, ... */
    options.no_stickiness = 1; /* ... and is promised, whoever leads */
    callbacks.persist = persist;
    callbacks.send = send_message;
    callbacks.apply = apply;
    return raft_new(&options, &callbacks, server, &server->node) == RAFT_OK &&
           raft_bootstrap(server->node, members, SERVERS) == RAFT_OK &&
           raft_start(server->node, 0) == RAFT_OK;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    struct network net = {.random = seed, .cut_off = seed % (SERVERS + 1)};
    struct server servers[SERVERS] = {{0}};
    int told = 0, ok = 1;
    for (raft_id id = 1; id <= SERVERS; id++) {
        servers[id - 1].network = &net;
        ok = start(&servers[id - 1], id) && ok;
    }
    for (uint64_t now_ms = 0; ok && told < SERVERS && now_ms < PATIENCE_MS; now_ms += STEP_MS) {
        if (now_ms >= LATE_MS && told == SERVERS - 1) {
            net.cut_off = 0;
        }
        for (size_t i = 0; i < net.count; i++) { /* what was sent arrives, if it was not lost */
            raft_receive_bytes(servers[net.to[i] - 1].node, net.bytes[i], net.size[i]);
        }
        net.count = 0;
        told = 0;
        for (int i = 0; i < SERVERS; i++) {
            propose(&servers[i]);
            ok = raft_poll(servers[i].node, now_ms) == RAFT_OK && ok;
            told += servers[i].chosen[0] != '\0';
        }
    }
    for (int i = 0; i < SERVERS; i++) {
        ok = strcmp(servers[i].chosen, servers[0].chosen) == 0 && ok;
        raft_free(servers[i].node);
    }
    printf("%s\n", ok && told == SERVERS ? "one value was chosen" : "this must not happen");
    return ok && told == SERVERS ? 0 : 1;
}
