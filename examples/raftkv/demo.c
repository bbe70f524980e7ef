/*
 * raftkv-demo: a cluster's worst day in under twenty seconds.
 *
 * Three nodes on loopback are written to, the leader is killed in the midst of it, another takes
 * over, the dead one comes back and catches up, a checkpoint is taken, a fourth node joins and gets
 * it, one is removed, and everything that was acknowledged is read back. Writing goes on meanwhile.
 * Exit status 0 only if nothing acknowledged was lost. Nothing is left running or on disk, also
 * when it is interrupted.
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "caller.h"
#include "launch.h"

enum {
    FOUNDERS = 3,
    NODES = FOUNDERS + 1,
    KEYS = 6000,
    PIPELINE = 8,
    KILL_AT = KEYS / 3,
    RESTART_AT = KEYS / 2,
    JOIN_AT = 2 * KEYS / 3,
    REMOVE_AT = 5 * KEYS / 6,
    ASK_MS = 1000,
    GIVE_UP_MS = 8000, /* without any answer */
    BAR_WIDTH = 40
};

struct demo {
    struct fleet fleet;
    struct caller caller;
    unsigned port; /* where writes go; 0: not known */
    int leader;    /* the node there */
    int written;   /* keys 0 .. written - 1 are acknowledged */
    int is_terminal;
    uint64_t answered_ms; /* when a write was last acknowledged */
    uint64_t gap_ms_max;
    uint64_t retries; /* writes sent again because their fate was not known */
    int lost;
};

/* Set by the signal handler. */
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void sleep_ms(int ms)
{
    struct timespec pause = {0, (long)ms * 1000000};

    nanosleep(&pause, NULL);
}

/* ---- What is shown ---- */

static void show_bar(const struct demo *demo, const char *what, int done, int total)
{
    char bar[BAR_WIDTH + 1];
    int filled = done * BAR_WIDTH / total;

    if (!demo->is_terminal) {
        if (done > 0 && done % (total / 3) == 0) {
            printf("  %s %d of %d\n", what, done, total);
            fflush(stdout);
        }
        return;
    }
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)filled);
    bar[BAR_WIDTH] = '\0';
    printf("\r  %s [%s] %d", what, bar, done);
    fflush(stdout);
}

/* Before any other line: the bar stays on a line of its own. */
static void end_bar(const struct demo *demo)
{
    if (demo->is_terminal) {
        printf("\n");
    }
}

/* ---- Talking to the cluster ---- */

static void forget_leader(struct demo *demo)
{
    caller_close(&demo->caller);
    demo->port = 0;
}

/* Connects to the leader if it is known, else to the node after the last one tried. */
static int connect_next(struct demo *demo)
{
    if (demo->caller.fd >= 0) {
        return 0;
    }
    if (demo->port == 0) {
        do {
            demo->leader = (demo->leader + 1) % NODES;
        } while (demo->fleet.nodes[demo->leader].pid <= 0);
        demo->port = demo->fleet.nodes[demo->leader].port;
    }
    if (caller_connect(&demo->caller, demo->port, ASK_MS)) {
        demo->port = 0;
        sleep_ms(5);
        return -1;
    }
    demo->leader = fleet_node_of(&demo->fleet, demo->port);
    return 0;
}

/* An error that says "ask elsewhere, or later". */
static void follow(struct demo *demo, const struct reply *reply)
{
    unsigned moved = reply_moved_to(reply);

    forget_leader(demo);
    demo->port = moved;
    if (!moved) {
        sleep_ms(5);
    }
}

static void key_and_value(int number, char key[32], char value[32])
{
    snprintf(key, 32, "demo:%d", number);
    snprintf(value, 32, "value %d", number * 7919);
}

static void add_write(struct demo *demo, int number)
{
    char key[32], value[32];
    struct slice args[3];

    key_and_value(number, key, value);
    args[0] = slice_of("SET");
    args[1] = slice_of(key);
    args[2] = slice_of(value);
    caller_add(&demo->caller, args, 3);
}

static void note_answer(struct demo *demo)
{
    uint64_t now = now_ms();

    if (demo->written > 0 && now - demo->answered_ms > demo->gap_ms_max) {
        demo->gap_ms_max = now - demo->answered_ms;
    }
    demo->answered_ms = now;
    demo->written++;
}

/* Writes the next few keys. Those that are not acknowledged come again: the value is the same. */
static void write_some(struct demo *demo, int until)
{
    int count = until - demo->written < PIPELINE ? until - demo->written : PIPELINE;
    struct reply reply;

    if (connect_next(demo)) {
        return;
    }
    for (int i = 0; i < count; i++) {
        add_write(demo, demo->written + i);
    }
    if (caller_send(&demo->caller, ASK_MS)) {
        demo->retries += (uint64_t)count;
        forget_leader(demo);
        return;
    }
    for (int i = 0; i < count; i++) {
        if (caller_receive(&demo->caller, &reply, ASK_MS)) {
            demo->retries += (uint64_t)(count - i);
            forget_leader(demo);
            return;
        }
        if (reply.kind == REPLY_ERROR) {
            follow(demo, &reply);
            return;
        }
        note_answer(demo);
    }
}

/* Writes up to a number of keys. 0, or -1 where the cluster does not answer. */
static int write_until(struct demo *demo, int until)
{
    uint64_t asked_ms = now_ms();

    while (demo->written < until && !interrupted) {
        int before = demo->written;

        write_some(demo, until);
        if (demo->written > before) {
            asked_ms = now_ms();
            show_bar(demo, "writing", demo->written, KEYS);
        } else if (now_ms() - asked_ms > GIVE_UP_MS) {
            end_bar(demo);
            printf("  no answer for %d ms\n", GIVE_UP_MS);
            return -1;
        }
    }
    return interrupted ? -1 : 0;
}

/* ---- The story ---- */

static int start_nodes(struct demo *demo)
{
    printf("Three nodes in %s\n", demo->fleet.directory);
    for (int i = 0; i < FOUNDERS; i++) {
        if (fleet_start(&demo->fleet, i, GIVE_UP_MS)) {
            char tail[1024];

            fleet_log_tail(&demo->fleet, i, tail, sizeof tail);
            printf("  node %d does not start:\n%s", i + 1, tail);
            return -1;
        }
        printf("  node %d: clients on 127.0.0.1:%u, peers on 127.0.0.1:%u, process %ld\n", i + 1,
               demo->fleet.nodes[i].port, demo->fleet.nodes[i].peer_port,
               (long)demo->fleet.nodes[i].pid);
    }
    return 0;
}

/* Kills the leader and writes on: shows who took over, and how long nobody answered. */
static int kill_leader(struct demo *demo)
{
    int dead = demo->leader;
    uint64_t last_ms = demo->answered_ms;

    fleet_kill(&demo->fleet, dead);
    end_bar(demo);
    printf("  SIGKILL for node %d, which led\n", dead + 1);
    if (write_until(demo, KILL_AT + 1)) {
        return -1;
    }
    end_bar(demo);
    printf("  node %d leads now; %" PRIu64 " ms passed without an answer\n", demo->leader + 1,
           demo->answered_ms - last_ms);
    return dead;
}

/* A field of INFO as text; 0, or -1. */
static int ask_field(const struct demo *demo, int node, const char *section, const char *field,
                     char out[64])
{
    struct caller caller;
    struct reply reply;
    char words[64];
    int status = -1;

    caller_init(&caller);
    snprintf(words, sizeof words, "INFO %s", section);
    if (!caller_connect(&caller, demo->fleet.nodes[node].port, ASK_MS) &&
        !caller_ask(&caller, words, &reply, ASK_MS) && reply.kind == REPLY_BULK) {
        size_t length = strlen(field);

        for (size_t at = 0; at + length < reply.text.size; at++) {
            if (!memcmp(reply.text.data + at, field, length)) {
                const char *value = reply.text.data + at + length;

                snprintf(out, 64, "%.*s", (int)strcspn(value, "\r\n"), value);
                status = 0;
                break;
            }
        }
    }
    caller_free(&caller);
    return status;
}

/* Waits until a node holds exactly what the leader holds. 0, or -1. */
static int await_equal(const struct demo *demo, int node)
{
    uint64_t deadline = now_ms() + GIVE_UP_MS;
    char there[64], here[64];

    while (now_ms() < deadline && !interrupted) {
        if (!ask_field(demo, demo->leader, "digest", "keyspace_digest:", here) &&
            !ask_field(demo, node, "digest", "keyspace_digest:", there) && !strcmp(here, there)) {
            return 0;
        }
        sleep_ms(2);
    }
    return -1;
}

static int restart_node(struct demo *demo, int node)
{
    end_bar(demo);
    if (fleet_start(&demo->fleet, node, GIVE_UP_MS)) {
        printf("  node %d does not start again\n", node + 1);
        return -1;
    }
    printf("  node %d is started again, and writing goes on\n", node + 1);
    return 0;
}

static int watch_catch_up(struct demo *demo, int node)
{
    char applied[64] = "?";

    end_bar(demo);
    if (await_equal(demo, node)) {
        printf("  node %d does not catch up\n", node + 1);
        return -1;
    }
    ask_field(demo, node, "raft", "applied_index:", applied);
    printf("  node %d has caught up: it has applied %s entries and holds what the leader holds\n",
           node + 1, applied);
    return 0;
}

/* Asks the leader for something that is answered with OK when it is done. 0, or -1. */
static int command(const struct demo *demo, const char *words)
{
    struct caller caller;
    struct reply reply;
    uint64_t deadline = now_ms() + GIVE_UP_MS;
    int node = demo->leader;
    int status = -1;

    caller_init(&caller);
    while (status && now_ms() < deadline && !interrupted) {
        int moved;

        if (caller_connect(&caller, demo->fleet.nodes[node].port, ASK_MS) ||
            caller_ask(&caller, words, &reply, GIVE_UP_MS)) {
            sleep_ms(5);
            continue;
        }
        status = reply.kind == REPLY_STATUS ? 0 : -1;
        moved = fleet_node_of(&demo->fleet, reply_moved_to(&reply));
        node = moved >= 0 ? moved : node;
    }
    caller_free(&caller);
    return status;
}

static int take_checkpoint(const struct demo *demo)
{
    char index[64] = "?";

    end_bar(demo);
    if (command(demo, "RAFT.CHECKPOINT") ||
        ask_field(demo, demo->leader, "snapshot", "snapshot_index:", index)) {
        printf("  no checkpoint was taken\n");
        return -1;
    }
    printf("  node %d has taken a checkpoint of its first %s entries\n", demo->leader + 1, index);
    return 0;
}

/* A server with an empty directory becomes one of the cluster. */
static int add_node(struct demo *demo)
{
    const int node = FOUNDERS;
    char words[128], address[64], installed[64] = "?";

    end_bar(demo);
    if (fleet_start(&demo->fleet, node, GIVE_UP_MS)) {
        printf("  node %d does not start\n", node + 1);
        return -1;
    }
    fleet_address(&demo->fleet, node, address);
    snprintf(words, sizeof words, "RAFT.ADD %d %s", node + 1, address);
    if (command(demo, words) || await_equal(demo, node) ||
        ask_field(demo, node, "snapshot", "snapshots_installed:", installed)) {
        printf("  node %d does not join\n", node + 1);
        return -1;
    }
    printf("  node %d has joined: it got %sthe log, has caught up, and votes now\n", node + 1,
           strcmp(installed, "0") ? "the checkpoint, the rest of " : "");
    return 0;
}

/* The one that leads goes, as the hardest case: it hands over first. */
static int remove_node(struct demo *demo)
{
    int node = demo->leader;
    char words[64];

    end_bar(demo);
    snprintf(words, sizeof words, "RAFT.REMOVE %d", node + 1);
    if (command(demo, words)) {
        printf("  node %d cannot be removed\n", node + 1);
        return -1;
    }
    if (fleet_stop(&demo->fleet, node, GIVE_UP_MS)) {
        printf("  node %d does not stop\n", node + 1);
        return -1;
    }
    printf("  node %d, which led, is removed and stopped\n", node + 1);
    return 0;
}

/* Reads one key back. 1: as written, 0: not, -1: no answer. */
static int check_key(struct demo *demo, int number)
{
    uint64_t deadline = now_ms() + GIVE_UP_MS;
    char words[48], key[32], value[32];
    struct reply reply;

    key_and_value(number, key, value);
    snprintf(words, sizeof words, "GET %s", key);
    while (now_ms() < deadline && !interrupted) {
        if (connect_next(demo)) {
            continue;
        }
        if (caller_ask(&demo->caller, words, &reply, ASK_MS)) {
            forget_leader(demo);
        } else if (reply.kind == REPLY_ERROR) {
            follow(demo, &reply);
        } else {
            return reply.kind == REPLY_BULK && slice_equal(reply.text, slice_of(value));
        }
    }
    return -1;
}

static int read_back(struct demo *demo)
{
    for (int i = 0; i < demo->written; i++) {
        int found = check_key(demo, i);

        if (found < 0) {
            return -1;
        }
        demo->lost += !found;
        if ((i + 1) % 50 == 0) {
            show_bar(demo, "reading", i + 1, demo->written);
        }
    }
    end_bar(demo);
    return 0;
}

static void show_table(const struct demo *demo)
{
    printf("\n"
           "  acknowledged writes   %8d\n"
           "  lost                  %8d\n"
           "  sent again            %8" PRIu64 "\n"
           "  longest gap           %8" PRIu64 " ms\n",
           demo->written, demo->lost, demo->retries, demo->gap_ms_max);
}

static int tell(struct demo *demo)
{
    int dead;

    if (start_nodes(demo)) {
        return -1;
    }
    printf("Writing %d keys\n", (int)KEYS);
    if (write_until(demo, KILL_AT)) {
        return -1;
    }
    dead = kill_leader(demo);
    if (dead < 0 || write_until(demo, RESTART_AT) || restart_node(demo, dead) ||
        write_until(demo, JOIN_AT) || watch_catch_up(demo, dead) || take_checkpoint(demo) ||
        add_node(demo) || write_until(demo, REMOVE_AT) || remove_node(demo) ||
        write_until(demo, KEYS)) {
        return -1;
    }
    end_bar(demo);
    printf("Reading everything back\n");
    if (read_back(demo)) {
        return -1;
    }
    show_table(demo);
    return demo->lost ? -1 : 0;
}

/* The server lies beside this program, unless $RAFTKV names another. */
static void find_server(const char *self, char *out, size_t size)
{
    const char *named = getenv("RAFTKV");
    const char *slash = strrchr(self, '/');

    if (named) {
        snprintf(out, size, "%s", named);
    } else {
        snprintf(out, size, "%.*s/raftkv", slash ? (int)(slash - self) : 1, slash ? self : ".");
    }
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
    static const char *const flags[] = {"--log-bytes", "1m", NULL};
    struct demo demo = {.leader = -1, .is_terminal = isatty(STDOUT_FILENO)};
    char program[512];
    int status;

    if (argc > 2) {
        fprintf(stderr, "usage: raftkv-demo [raft|multipaxos]\n");
        return 2;
    }
    catch_signals();
    find_server(argv[0], program, sizeof program);
    caller_init(&demo.caller);
    if (fleet_make_with_spares(&demo.fleet, program, FOUNDERS, NODES - FOUNDERS)) {
        perror("raftkv-demo");
        return 1;
    }
    demo.fleet.protocol = argc == 2 ? argv[1] : NULL;
    demo.fleet.flags = flags; /* a small log, so that who joins needs the checkpoint */
    status = tell(&demo);
    caller_free(&demo.caller);
    fleet_remove(&demo.fleet);
    if (interrupted) {
        printf("\ninterrupted; nothing is left behind\n");
    } else if (status) {
        printf("\nthe demonstration failed\n");
    }
    return status ? 1 : 0;
}
