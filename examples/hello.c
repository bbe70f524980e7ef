/*
 * Hello, consensus. Three servers in one process agree on a word, lose their leader, agree on a
 * second word without it, and let it catch up.
 *
 * The engine never touches the world. We hand it time, messages and proposals, which only change
 * its memory; raft_poll then calls us back with what is to be stored, sent and applied. So the world
 * can be a toy: messages travel through an array, time is a number, and there is no disk.
 */
#include "raft.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERVERS = 3, STEP_MS = 10, QUEUE_MAX = 64, MESSAGE_MAX = 1024, TEXT_MAX = 64 };

/* Our state machine is a text: applying an entry adds a word to it. */
struct server {
    raft *node;
    raft_id id;
    char text[TEXT_MAX];
    struct world *world;
};

struct envelope {
    raft_id to;
    size_t size;
    uint8_t bytes[MESSAGE_MAX];
};

struct world {
    struct server servers[SERVERS]; /* server i has the id i + 1 */
    struct envelope queue[QUEUE_MAX];
    size_t queued;
    uint64_t now_ms;
    raft_id cut_off; /* no message from or to this server arrives; 0: all do */
};

/*
 * Before RAFT_OK is returned the write must be on stable storage, or votes and acknowledged entries
 * are forgotten in a crash. Nobody crashes here, so memory will do; counter.c has real files.
 */
static int persist(void *host, const raft_write *write)
{
    (void)host;
    (void)write;
    return RAFT_OK;
}

/* A network may lose messages, so one that finds no room needs no further thought. */
static void send_message(void *host, const raft_message *message)
{
    struct world *world = ((struct server *)host)->world;
    int cut = message->from == world->cut_off || message->to == world->cut_off;
    if (!cut && world->queued < QUEUE_MAX) {
        struct envelope *envelope = &world->queue[world->queued++];
        envelope->to = message->to;
        envelope->size = raft_encode(message, envelope->bytes, MESSAGE_MAX);
    }
}

/* Every server is given the same entries in the same order. That is the whole point. */
static int apply(void *host, const raft_range *range)
{
    struct server *server = host;
    raft_range rest = *range;
    raft_entry entry;
    while (raft_range_next(&rest, &entry)) {
        size_t length = strlen(server->text);
        if (entry.kind == RAFT_ENTRY_DATA && entry.size < TEXT_MAX - length) {
            memcpy(server->text + length, entry.data, entry.size);
            server->text[length + entry.size] = '\0';
        }
    }
    return RAFT_OK;
}

static void notify(void *host, const raft_event *event)
{
    const struct server *server = host;
    int now_ms = (int)server->world->now_ms, id = (int)server->id;
    if (event->kind == RAFT_EVENT_ROLE && event->role == RAFT_ROLE_LEADER) {
        printf("%5d ms: server %d leads in term %d\n", now_ms, id, (int)event->term);
    } else if (event->kind == RAFT_EVENT_DROPPED) {
        printf("%5d ms: server %d learns that its proposal was dropped\n", now_ms, id);
    }
}

static int start_server(struct world *world, raft_id id, const raft_member *members)
{
    struct server *server = &world->servers[id - 1];
    raft_options options;
    raft_callbacks callbacks;
    raft_options_init(&options);
    options.id = id;
    raft_callbacks_init(&callbacks);
    callbacks.persist = persist;
    callbacks.send = send_message;
    callbacks.apply = apply;
    callbacks.notify = notify;
    server->id = id;
    server->world = world;
    if (raft_new(&options, &callbacks, server, &server->node) != RAFT_OK ||
        raft_bootstrap(server->node, members, SERVERS) != RAFT_OK) {
        return 0;
    }
    return raft_start(server->node, world->now_ms) == RAFT_OK;
}

/* Delivers what is on the way, then lets ten milliseconds pass on every server. */
static void step(struct world *world)
{
    for (size_t i = 0; i < world->queued; i++) {
        const struct envelope *envelope = &world->queue[i];
        raft_receive_bytes(world->servers[envelope->to - 1].node, envelope->bytes, envelope->size);
    }
    world->queued = 0;
    world->now_ms += STEP_MS;
    for (int i = 0; i < SERVERS; i++) {
        raft_poll(world->servers[i].node, world->now_ms);
    }
}

/* Proposes to everyone in turn: only the leader accepts. Returns who did. */
static raft_id propose(struct world *world, const char *words)
{
    for (int steps = 0; steps < 1000; steps++) {
        for (int i = 0; i < SERVERS; i++) {
            struct server *server = &world->servers[i];
            if (server->id != world->cut_off &&
                raft_propose(server->node, words, strlen(words), NULL, NULL) == RAFT_OK) {
                return server->id;
            }
        }
        step(world);
    }
    return 0;
}

/* An accepted proposal is only that. It holds once it is applied. */
static int agree_on(struct world *world, const char *text)
{
    int agreed = 0;
    for (int steps = 0; steps < 1000 && !agreed; steps++) {
        step(world);
        agreed = 1;
        for (int i = 0; i < SERVERS; i++) {
            const struct server *server = &world->servers[i];
            agreed = agreed && (server->id == world->cut_off || strcmp(server->text, text) == 0);
        }
    }
    printf("%5d ms: %s \"%s\"\n", (int)world->now_ms, agreed ? "agreed on" : "no agreement on",
           text);
    return agreed;
}

int main(void)
{
    const raft_member members[SERVERS] = {{.id = 1}, {.id = 2}, {.id = 3}};
    struct world world = {.queued = 0};
    int ok = 1;
    for (raft_id id = 1; id <= SERVERS; id++) {
        ok = start_server(&world, id, members) && ok;
    }

    ok = ok && propose(&world, "hello,") && agree_on(&world, "hello,");
    world.cut_off = ok ? propose(&world, " nobody hears this") : 0;
    printf("%5d ms: server %d is cut off, with a proposal that nobody heard\n", (int)world.now_ms,
           (int)world.cut_off);
    ok = ok && propose(&world, " world") && agree_on(&world, "hello, world");
    world.cut_off = 0;
    printf("%5d ms: it is back\n", (int)world.now_ms);
    ok = ok && agree_on(&world, "hello, world");

    for (int i = 0; i < SERVERS; i++) {
        printf("server %d holds \"%s\"\n", i + 1, world.servers[i].text);
        raft_free(world.servers[i].node);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
