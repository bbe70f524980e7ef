/*
 * A counter that survives restarts: a state machine of your own, with its log in real files.
 *
 *     counter DIRECTORY [AMOUNT]
 *
 * adds AMOUNT (1 unless given) to the counter in DIRECTORY and prints it before and after. Run it
 * twice, kill it in between: an addition that was reported is never lost, one that was not reported
 * may or may not have happened, and none happens twice.
 *
 * The group has a single member, and agrees with itself by Raft; with .protocol in the options below
 * it would by Multi-Paxos. With more members, host.h takes the messages from server to server too
 * (standby.c shows it), and whoever adds has to ask the server that leads, as raftkv/ does.
 */
#include "host.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { ENTRY_BYTES = 8 };

struct counter {
    int64_t value; /* the state machine: all of it */

    struct host *host;
    int status;               /* the first error; it ends the program */
    int leads;                /* this server is the leader */
    int read_done;            /* the read that we asked for was answered */
    raft_index applied_index; /* the last entry that is part of value */
};

/*
 * An entry is an amount, as eight little-endian bytes. The result must depend on the entries alone:
 * no clock, no random number, nothing of this machine. The addition is unsigned so that it wraps
 * everywhere alike. After a restart the entries are applied again from the first one, so the
 * counter itself need not be stored.
 */
static int apply(void *ctx, const raft_entry *entry)
{
    struct counter *counter = ctx;
    const unsigned char *bytes = entry->data;
    uint64_t amount = 0;
    if (entry->kind == RAFT_ENTRY_DATA && entry->size == ENTRY_BYTES) {
        for (int i = ENTRY_BYTES - 1; i >= 0; i--) {
            amount = amount << 8 | bytes[i];
        }
    }
    counter->value = (int64_t)((uint64_t)counter->value + amount);
    counter->applied_index = entry->index;
    return RAFT_OK;
}

static void notify(void *ctx, const raft_event *event)
{
    struct counter *counter = ctx;
    if (event->kind == RAFT_EVENT_ROLE) {
        counter->leads = event->role == RAFT_ROLE_LEADER;
    } else if (event->kind == RAFT_EVENT_READ) {
        counter->read_done = event->status == RAFT_OK;
        counter->status = event->status;
    } else if (event->kind == RAFT_EVENT_DROPPED) {
        counter->status = event->status; /* no other server can take over, so never here */
    }
}

/* Everything happens in here: what was asked is stored, sent, applied and told. */
static void turn(struct counter *counter)
{
    int status = host_turn(counter->host, 1000);
    if (counter->status == RAFT_OK) {
        counter->status = status;
    }
}

/* The value is not current until the engine says so: a new leader first catches up. */
static int64_t read_value(struct counter *counter)
{
    counter->read_done = 0;
    if (counter->status == RAFT_OK) {
        counter->status = raft_read(host_node(counter->host), 0);
    }
    while (!counter->read_done && counter->status == RAFT_OK) {
        turn(counter);
    }
    return counter->value;
}

/* The addition has happened once its entry is applied, not when it is proposed. */
static void add(struct counter *counter, int64_t amount)
{
    unsigned char bytes[ENTRY_BYTES];
    raft_index index = 0;
    for (int i = 0; i < ENTRY_BYTES; i++) {
        bytes[i] = (unsigned char)((uint64_t)amount >> (8 * i));
    }
    if (counter->status == RAFT_OK) {
        counter->status = raft_propose(host_node(counter->host), bytes, sizeof bytes, &index, NULL);
    }
    while (counter->applied_index < index && counter->status == RAFT_OK) {
        turn(counter);
    }
}

/* The whole text is a number of 64 bits. */
static int parse_amount(const char *text, int64_t *amount)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0) {
        return 0;
    }
    *amount = number;
    return 1;
}

int main(int argc, char **argv)
{
    struct counter counter = {.status = RAFT_OK};
    char error[HOST_ERROR_MAX];
    int64_t amount = 1;
    if (argc < 2 || argc > 3 || (argc == 3 && !parse_amount(argv[2], &amount))) {
        fprintf(stderr, "usage: counter DIRECTORY [AMOUNT]\n");
        return 2;
    }

    const struct host_options options = {
        .id = 1, .directory = argv[1], .ctx = &counter, .apply = apply, .notify = notify};
    if (host_open(&options, error, &counter.host) != RAFT_OK) {
        fprintf(stderr, "counter: %s\n", error);
        return EXIT_FAILURE;
    }
    while (!counter.leads && counter.status == RAFT_OK) {
        turn(&counter);
    }
    int64_t before = read_value(&counter);
    add(&counter, amount);
    if (counter.status == RAFT_OK) {
        printf("%" PRId64 " + %" PRId64 " = %" PRId64 "\n", before, amount, counter.value);
    } else {
        fprintf(stderr, "counter: %s\n", raft_strerror(counter.status));
    }
    host_close(counter.host);
    return counter.status == RAFT_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
