/*
 * A counter that survives restarts: a state machine of your own, with its log in real files.
 *
 *     counter DIRECTORY [AMOUNT]
 *
 * adds AMOUNT (1 unless given) to the counter in DIRECTORY and prints it before and after. Run it
 * twice, kill it in between: an addition that was reported is never lost, one that was not reported
 * may or may not have happened, and none happens twice.
 *
 * The group has a single member, so nothing is ever sent. With more members, `send` hands messages
 * to a transport (transport.h) and the loop waits for sockets as well: raftkv/ does that.
 */
#include "raft.h"
#include "wal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERVER = 1, CLUSTER = 1, GROUP = 1, ENTRY_BYTES = 8 };

struct counter {
    int64_t value; /* the state machine: all of it */

    raft *node;
    wal *log;
    int status;               /* the first error; it ends the program */
    int leads;                /* this server is the leader */
    int read_done;            /* the read that we asked for was answered */
    raft_index applied_index; /* the last entry that is part of value */
};

/* ---- What the engine asks of us ------------------------------------------------------------- */

/*
 * The log queues the write and answers RAFT_PENDING. wal_commit writes and syncs it, and only then
 * does `stored` tell the engine that it may rely on it.
 */
static int persist(void *host, const raft_write *write)
{
    struct counter *counter = host;
    return wal_append(counter->log, GROUP, write);
}

static void send_message(void *host, const raft_message *message)
{
    (void)host;
    (void)message;
}

/*
 * An entry is an amount, as eight little-endian bytes. The result must depend on the entries alone:
 * no clock, no random number, nothing of this machine. The addition is unsigned so that it wraps
 * everywhere alike.
 */
static int apply(void *host, const raft_range *range)
{
    struct counter *counter = host;
    raft_range rest = *range;
    raft_entry entry;
    while (raft_range_next(&rest, &entry)) {
        const unsigned char *bytes = entry.data;
        uint64_t amount = 0;
        if (entry.kind == RAFT_ENTRY_DATA && entry.size == ENTRY_BYTES) {
            for (int i = ENTRY_BYTES - 1; i >= 0; i--) {
                amount = amount << 8 | bytes[i];
            }
        }
        counter->value = (int64_t)((uint64_t)counter->value + amount);
        counter->applied_index = entry.index;
    }
    return RAFT_OK;
}

static void notify(void *host, const raft_event *event)
{
    struct counter *counter = host;
    if (event->kind == RAFT_EVENT_ROLE) {
        counter->leads = event->role == RAFT_ROLE_LEADER;
    } else if (event->kind == RAFT_EVENT_READ) {
        counter->read_done = event->status == RAFT_OK;
        counter->status = event->status;
    } else if (event->kind == RAFT_EVENT_DROPPED) {
        counter->status = event->status; /* no other server can take over, so never here */
    }
}

/* ---- Storage -------------------------------------------------------------------------------- */

/* Opening the log gives back every write, oldest first, and the engine gets them as they were. */
static int restore(void *ctx, uint64_t group, const raft_write *write)
{
    struct counter *counter = ctx;
    (void)group;
    return raft_restore(counter->node, write);
}

static void stored(void *ctx, uint64_t group, uint64_t seq, int status)
{
    struct counter *counter = ctx;
    (void)group;
    raft_persisted(counter->node, seq, status);
}

/*
 * An empty directory founds the group; any other continues it. After a restart the entries are
 * applied again from the first one, so the counter itself need not be stored.
 */
static int open_log(struct counter *counter, const char *directory)
{
    const struct wal_options options = {.io = &io_posix,
                                        .directory = directory,
                                        .cluster = CLUSTER,
                                        .node = SERVER,
                                        .segment_bytes = 1024 * 1024};
    struct wal_error error;
    int status = wal_open(&options, restore, counter, &error, &counter->log);
    if (status != RAFT_OK) {
        fprintf(stderr, "counter: %s/%s at %" PRIu64 ": %s\n", directory, error.file, error.offset,
                error.text);
    } else if (wal_recovered(counter->log)->writes == 0) {
        const raft_member self = {.id = SERVER};
        status = raft_bootstrap(counter->node, &self, 1);
    }
    return status;
}

static int start(struct counter *counter, const char *directory)
{
    raft_options options;
    raft_callbacks callbacks;
    raft_options_init(&options);
    options.id = SERVER;
    options.cluster = CLUSTER;
    options.group = GROUP;
    raft_callbacks_init(&callbacks);
    callbacks.persist = persist;
    callbacks.send = send_message;
    callbacks.apply = apply;
    callbacks.notify = notify;
    int status = raft_new(&options, &callbacks, counter, &counter->node);
    if (status == RAFT_OK) {
        status = open_log(counter, directory);
    }
    return status == RAFT_OK ? raft_start(counter->node, io_posix.now_ms(NULL)) : status;
}

/* ---- The loop ------------------------------------------------------------------------------- */

/*
 * One turn: wait until something is due, let the engine call us back, make durable what it gave us,
 * and report that. Everything proposed between two turns shares one write and one sync.
 */
static void turn(struct counter *counter)
{
    uint64_t now_ms = io_posix.now_ms(NULL);
    uint64_t deadline_ms = raft_deadline(counter->node);
    if (deadline_ms > now_ms) {
        uint64_t wait_ms = deadline_ms - now_ms;
        io_posix.poll(NULL, NULL, 0, wait_ms < 1000 ? (int)wait_ms : 1000);
    }
    int status = raft_poll(counter->node, io_posix.now_ms(NULL));
    if (status == RAFT_OK) {
        status = wal_commit(counter->log);
    }
    wal_collect(counter->log, stored, counter);
    if (counter->status == RAFT_OK) {
        counter->status = status;
    }
}

/* A lone server need not wait for its election timeout. It is busy while it stores its founding. */
static void take_office(struct counter *counter)
{
    while (!counter->leads && counter->status == RAFT_OK) {
        int status = raft_campaign(counter->node);
        if (status != RAFT_OK && status != RAFT_EBUSY) {
            counter->status = status;
        }
        turn(counter);
    }
}

/* The value is not current until the engine says so: a new leader first catches up. */
static int64_t read_value(struct counter *counter)
{
    counter->read_done = 0;
    if (counter->status == RAFT_OK) {
        counter->status = raft_read(counter->node, 0);
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
        counter->status = raft_propose(counter->node, bytes, sizeof bytes, &index, NULL);
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
    int64_t amount = 1;
    if (argc < 2 || argc > 3 || (argc == 3 && !parse_amount(argv[2], &amount))) {
        fprintf(stderr, "usage: counter DIRECTORY [AMOUNT]\n");
        return 2;
    }

    counter.status = start(&counter, argv[1]);
    if (counter.status == RAFT_OK) {
        take_office(&counter);
        int64_t before = read_value(&counter);
        add(&counter, amount);
        if (counter.status == RAFT_OK) {
            printf("%" PRId64 " + %" PRId64 " = %" PRId64 "\n", before, amount, counter.value);
        }
    }
    if (counter.status != RAFT_OK) {
        fprintf(stderr, "counter: %s\n", raft_strerror(counter.status));
    }
    wal_close(counter.log); /* before the node: the log may still hold bytes that the node lent */
    raft_free(counter.node);
    return counter.status == RAFT_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
