/*
 * --forward: writes that reach a server which does not lead are handed to the leader, once, and
 * answered here.
 *
 *   asked here ──▶ encoded, raft_forward ──▶ the leader gives the entry its own time, and appends it
 *                                                                                    │
 *   answered here ◀── the entry is applied here: its reply ◀── index and term, or "no" ◀┘
 *
 * The reply is what the entry gives when it is applied here, which may be before the leader's word
 * on where it is has come: then what was applied meanwhile is looked up. Nothing is sent twice; what
 * has no outcome in time is unknown (R62).
 *
 * Invariants:
 *   1. A client has at most one write under way so, and nothing behind it is looked at: messages may
 *      overtake each other, and its writes may not.
 *   2. Replies of applied entries are kept only while a write waits for the leader's word, and
 *      within bounds: a reply that is not there any more makes an outcome unknown, never wrong.
 */
#include "server_parts.h"

#include <stdlib.h>
#include <string.h>

enum {
    FORWARDS_MAX = 256, /* under way; each is compared with what is applied */
    KEPT_MAX = 8192,
    /* In longest election timeouts: the leader's word comes within one. */
    DEADLINE_TIMEOUTS = 2
};

#define KEPT_BYTES_MAX ((size_t)4 << 20)

/* ---- What is under way ---- */

static void begin(struct server *server, uint64_t tag, const struct waiter *waiter)
{
    struct forwards *forwards = &server->forwards;
    uint64_t timeout_ms = 2 * (uint64_t)server->options->election_ms;

    forwards->items[forwards->count++] = (struct forward){
        .tag = tag,
        .waiter = *waiter,
        .deadline_ms = server->io->now_ms(server->io->ctx) + DEADLINE_TIMEOUTS * timeout_ms};
    forwards->open_count++;
    server->stats.writes_forwarded++;
}

/* Nobody waits for the leader's word: what was applied is of no use any more. */
static void forget_kept(struct forwards *forwards)
{
    if (forwards->open_count == 0) {
        forwards->kept_count = 0;
        buffer_clear(&forwards->replies);
    }
}

/* Takes one out. The order of the others does not matter. */
static struct waiter end(struct forwards *forwards, size_t at)
{
    struct waiter waiter = forwards->items[at].waiter;

    forwards->open_count -= forwards->items[at].index == 0;
    forwards->items[at] = forwards->items[--forwards->count];
    forget_kept(forwards);
    return waiter;
}

static int reserve(struct forwards *forwards)
{
    if (!forwards->items) {
        forwards->items = malloc(FORWARDS_MAX * sizeof *forwards->items);
        forwards->kept = malloc(KEPT_MAX * sizeof *forwards->kept);
        forwards->replies.bytes_max = KEPT_BYTES_MAX;
    }
    return forwards->items && forwards->kept && forwards->count < FORWARDS_MAX ? 0 : -1;
}

void forward_free(struct forwards *forwards)
{
    free(forwards->items);
    free(forwards->kept);
    buffer_free(&forwards->replies);
    buffer_free(&forwards->scratch);
}

/* ---- Handing on ---- */

int forward_is_possible(const struct server *server)
{
    return server->options->forward && server->role != RAFT_ROLE_LEADER && server->leader != 0 &&
           server->leader != server->options->id && !server_is_stopping(server);
}

static enum request_answer answer_of(int status)
{
    switch (status) {
    case RAFT_OK:
        return ANSWER_WAITING;
    case RAFT_ENOLEADER:
    case RAFT_ENOTLEADER:
    case RAFT_ENOTMEMBER:
        return ANSWER_REDIRECT;
    case RAFT_ESIZE:
        return ANSWER_TOO_LARGE;
    default:
        return ANSWER_BUSY;
    }
}

/* Hands on what the scratch buffer holds. */
static enum request_answer hand_on(struct server *server, const struct waiter *waiter, int encoded)
{
    struct forwards *forwards = &server->forwards;
    uint64_t tag = forwards->next_tag;
    int status;

    if (encoded != COMMAND_OK || reserve(forwards)) {
        return ANSWER_BUSY;
    }
    status = raft_forward(server->node, buffer_bytes(&forwards->scratch),
                          buffer_size(&forwards->scratch), tag);
    consensus_check(server, status);
    if (status == RAFT_OK) {
        forwards->next_tag++;
        begin(server, tag, waiter);
    }
    return answer_of(status);
}

enum request_answer forward_command(struct server *server, const struct waiter *waiter,
                                    const struct command *command, const struct slice *args,
                                    size_t count)
{
    struct buffer *scratch = &server->forwards.scratch;

    buffer_clear(scratch);
    return hand_on(server, waiter,
                   command_encode(command, args, count, server_wall_ms(server), scratch));
}

enum request_answer forward_transaction(struct server *server, const struct waiter *waiter,
                                        const struct transaction *transaction)
{
    struct buffer *scratch = &server->forwards.scratch;

    buffer_clear(scratch);
    return hand_on(server, waiter,
                   transaction_encode(transaction, server_wall_ms(server), scratch));
}

/* ---- The entries ---- */

/* Applies an entry whose reply may be asked for later. */
static int apply_and_keep(struct server *server, const raft_entry *entry)
{
    struct forwards *forwards = &server->forwards;
    struct buffer *replies = &forwards->replies;
    size_t before = buffer_size(replies);
    int status = command_apply(server->store, entry->data, entry->size, replies);

    if (replies->failed || forwards->kept_count == KEPT_MAX) {
        replies->end = replies->start + before;
        replies->failed = 0;
    } else {
        forwards->kept[forwards->kept_count++] =
            (struct kept_reply){entry->index, entry->term, before, buffer_size(replies) - before};
    }
    return status;
}

/* Takes those out that wait for this index in another term: there is another entry in their place. */
static void drop_replaced(struct server *server, const raft_entry *entry)
{
    struct forwards *forwards = &server->forwards;

    for (size_t i = 0; i < forwards->count;) {
        const struct forward *forward = &forwards->items[i];

        if (forward->index == entry->index && forward->term != entry->term) {
            struct waiter waiter = end(forwards, i);

            server->stats.writes_dropped++;
            requests_settle(server, &waiter, ANSWER_NOT_TAKEN);
        } else {
            i++;
        }
    }
}

/* Takes out the one that waits for this entry: 1, or 0 where there is none. */
static int take_waiter(struct forwards *forwards, const raft_entry *entry, struct waiter *waiter)
{
    for (size_t i = 0; i < forwards->count; i++) {
        if (forwards->items[i].index == entry->index) {
            *waiter = end(forwards, i);
            return 1;
        }
    }
    return 0;
}

int forward_apply(struct server *server, const raft_entry *entry)
{
    struct forwards *forwards = &server->forwards;
    struct client *client;
    struct waiter waiter;

    drop_replaced(server, entry);
    if (take_waiter(forwards, entry, &waiter)) {
        client = server_client(server, waiter.slot, waiter.generation);
        if (client && client_request(client, waiter.number)) {
            return requests_apply(server, client, &waiter, entry);
        }
    }
    if (entry->kind != RAFT_ENTRY_DATA) {
        return COMMAND_OK;
    }
    return forwards->open_count > 0 ? apply_and_keep(server, entry)
                                    : command_apply(server->store, entry->data, entry->size, NULL);
}

/* ---- The leader's word ---- */

static const struct kept_reply *find_kept(const struct forwards *forwards, raft_index index,
                                          raft_term term)
{
    for (size_t i = 0; i < forwards->kept_count; i++) {
        if (forwards->kept[i].index == index && forwards->kept[i].term == term) {
            return &forwards->kept[i];
        }
    }
    return NULL;
}

/* It is applied already, and its reply was kept, or there was no room for it. */
static void answer_late(struct server *server, size_t at, const raft_event *event)
{
    struct forwards *forwards = &server->forwards;
    const struct kept_reply *kept = find_kept(forwards, event->index, event->term);
    struct waiter waiter = forwards->items[at].waiter;

    if (kept) {
        struct slice reply = {buffer_bytes(&forwards->replies) + kept->at, kept->size};

        requests_answer(server, &waiter, event->index, reply);
    } else {
        requests_settle(server, &waiter, ANSWER_UNKNOWN);
    }
    end(forwards, at);
}

static void take_word(struct server *server, size_t at, const raft_event *event)
{
    struct forwards *forwards = &server->forwards;
    raft_status status = {.size = sizeof status};
    struct waiter waiter;

    if (event->status == RAFT_OK) {
        raft_get_status(server->node, &status);
        if (event->index <= status.applied_index) {
            answer_late(server, at, event);
        } else {
            forwards->items[at].index = event->index;
            forwards->items[at].term = event->term;
            forwards->open_count--;
            forget_kept(forwards);
        }
        return;
    }
    waiter = end(forwards, at);
    server->stats.writes_dropped += event->status == RAFT_EDROPPED;
    requests_settle(server, &waiter,
                    event->status == RAFT_EDROPPED ? ANSWER_NOT_TAKEN : ANSWER_UNKNOWN);
}

void forward_told(struct server *server, const raft_event *event)
{
    for (size_t i = 0; i < server->forwards.count; i++) {
        if (server->forwards.items[i].tag == event->tag) {
            take_word(server, i, event);
            return;
        }
    }
}

/* ---- Time ---- */

void forward_check(struct server *server, uint64_t now_ms)
{
    struct forwards *forwards = &server->forwards;

    for (size_t i = 0; i < forwards->count;) {
        if (now_ms < forwards->items[i].deadline_ms) {
            i++;
        } else {
            struct waiter waiter = end(forwards, i);

            requests_settle(server, &waiter, ANSWER_UNKNOWN);
        }
    }
}

uint64_t forward_deadline(const struct server *server)
{
    uint64_t deadline = UINT64_MAX;

    for (size_t i = 0; i < server->forwards.count; i++) {
        if (server->forwards.items[i].deadline_ms < deadline) {
            deadline = server->forwards.items[i].deadline_ms;
        }
    }
    return deadline;
}

/* ---- On the leader ---- */

int forward_stamp(const raft_message *message, uint64_t now_ms, struct buffer *out)
{
    raft_range range = {1, 1, SIZE_MAX, message->chunk.size, NULL};
    raft_entry entry;
    char *bytes;

    buffer_clear(out);
    bytes = buffer_reserve(out, message->chunk.size);
    if (!bytes || message->chunk.size == 0) {
        return -1;
    }
    memcpy(bytes, message->chunk.data, message->chunk.size);
    buffer_commit(out, message->chunk.size);
    range.data = bytes;
    while (raft_range_next(&range, &entry)) {
        char *payload = bytes + ((const char *)entry.data - bytes);

        if (command_set_time(payload, entry.size, now_ms) != COMMAND_OK) {
            return -1;
        }
    }
    return range.size == 0 ? 0 : -1;
}
