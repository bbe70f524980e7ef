/*
 * torture: real raftkv processes on free loopback ports, under load, killed and started again.
 *
 * Rounds of five kinds: one node is killed, whoever it is; the leader is killed; all are killed at
 * once; the leader is paused and goes on later as if nothing had happened; the membership changes: a
 * new server is added, one is removed or replaced, the leader as well as another, leadership is
 * handed over, and now and then the leader is killed in the midst of it. At the end everything is
 * read back: the history must be linearizable, no acknowledged write may be missing, and the
 * replicas must hold the same. Exit status 0 only then; 2 for flags that make no sense.
 */
#define _POSIX_C_SOURCE 200809L

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../linearize.h"
#include "raftkv/caller.h"
#include "raftkv/launch.h"
#include "workload.h"

enum {
    FOUNDERS = 3,
    SPARES = 2, /* places for servers that are added */
    NODES = FOUNDERS + SPARES,
    CHANGE_MS = 40000, /* until a change of the membership is through */
    START_MS = 20000,
    RECOVER_MS = 20000, /* until a write is acknowledged again */
    SETTLE_MS = 20000,  /* until the replicas agree at the end */
    ASK_MS = 1000,
    STOP_MS = 5000
};

enum round_kind { ROUND_ONE, ROUND_LEADER, ROUND_ALL, ROUND_PAUSE, ROUND_MEMBERS, ROUND_KINDS };

struct flags {
    const char *program;
    const char *reads; /* given to the nodes */
    int forward;       /* nodes that do not lead hand writes on, instead of redirecting */
    const char *protocol;
    const char *history; /* where the history of a key that is not linearizable goes; may be null */
    int rounds[ROUND_KINDS];
    int clients;
    uint64_t seed;
};

/* Set by the signal handler. */
static volatile sig_atomic_t interrupted;

static const char *const round_names[ROUND_KINDS] = {"one", "leader", "all", "pause", "members"};

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* ---- Flags ---- */

static int usage(const char *what)
{
    fprintf(
        stderr,
        "torture: %s\n"
        "usage: torture [--one N] [--leader N] [--all N] [--pause N] [--members N]\n"
        "               [--clients N] [--seed N] [--raftkv PATH]\n"
        "               [--reads linearizable|lease|stale] [--forward yes|no] [--history PATH]\n"
        "               [--protocol raft|multipaxos]\n"
        "  rounds in which one node, the leader or all are killed (20 of each), the leader is\n"
        "  paused (5), or the membership changes (20); concurrent clients (8); where the server\n"
        "  is (build/raftkv); how it reads (lease); whether nodes hand writes to the leader (no);\n"
        "  with stale reads a run has to fail, which shows that it can; the file to\n"
        "  write the history of a key to that is not linearizable; how the servers agree (raft)\n",
        what);
    return 2;
}

static int *round_flag(struct flags *flags, const char *name)
{
    for (int kind = 0; kind < ROUND_KINDS; kind++) {
        if (!strncmp(name, "--", 2) && !strcmp(name + 2, round_names[kind])) {
            return &flags->rounds[kind];
        }
    }
    return strcmp(name, "--clients") ? NULL : &flags->clients;
}

static int read_flag(struct flags *flags, const char *name, const char *value)
{
    char *end;
    unsigned long long number;
    int *count;

    if (!strcmp(name, "--raftkv")) {
        flags->program = value;
        return 0;
    }
    if (!strcmp(name, "--reads")) {
        flags->reads = value;
        return 0;
    }
    if (!strcmp(name, "--protocol")) {
        flags->protocol = value;
        return strcmp(value, "raft") && strcmp(value, "multipaxos") ? -1 : 0;
    }
    if (!strcmp(name, "--forward")) {
        flags->forward = !strcmp(value, "yes");
        return flags->forward || !strcmp(value, "no") ? 0 : -1;
    }
    if (!strcmp(name, "--history")) {
        flags->history = value;
        return 0;
    }
    number = strtoull(value, &end, 10);
    if (*end || end == value) {
        return -1;
    }
    if (!strcmp(name, "--seed")) {
        flags->seed = number;
        return 0;
    }
    count = round_flag(flags, name);
    if (!count || number > 100000) {
        return -1;
    }
    *count = (int)number;
    return 0;
}

static int read_flags(struct flags *flags, int argc, char **argv)
{
    const char *program = getenv("RAFTKV");

    *flags = (struct flags){.program = program ? program : "build/raftkv",
                            .reads = "lease",
                            .protocol = "raft",
                            .rounds = {20, 20, 20, 5, 20},
                            .clients = 8};
    flags->seed = (uint64_t)time(NULL);
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc || read_flag(flags, argv[i], argv[i + 1])) {
            return usage(argv[i]);
        }
    }
    return flags->clients > 0 ? 0 : usage("--clients 0");
}

/* ---- The cluster ---- */

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void sleep_ms(uint32_t ms)
{
    struct timespec pause = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

    nanosleep(&pause, NULL);
}

static uint32_t random_below(uint64_t *state, uint32_t bound)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % bound);
}

/* Asks one node for a field of INFO; copies its value. 0, or -1. */
static int ask_field(const struct fleet *fleet, int node, const char *section, const char *field,
                     char *out, size_t size)
{
    struct caller caller;
    struct reply reply;
    char words[64];
    int status = -1;

    caller_init(&caller);
    snprintf(words, sizeof words, "INFO %s", section);
    if (!caller_connect(&caller, fleet->nodes[node].port, ASK_MS) &&
        !caller_ask(&caller, words, &reply, ASK_MS) && reply.kind == REPLY_BULK) {
        size_t length = strlen(field);

        for (size_t at = 0; at + length < reply.text.size; at++) {
            if ((at == 0 || reply.text.data[at - 1] == '\n') &&
                !memcmp(reply.text.data + at, field, length) &&
                reply.text.data[at + length] == ':') {
                const char *value = reply.text.data + at + length + 1;

                snprintf(out, size, "%.*s", (int)strcspn(value, "\r\n"), value);
                status = 0;
                break;
            }
        }
    }
    caller_free(&caller);
    return status;
}

/* The node that says it leads, in the highest term if several do; -1: none. */
static int find_leader(const struct fleet *fleet)
{
    unsigned long long best = 0;
    int leader = -1;

    for (int i = 0; i < fleet->size; i++) {
        char role[32], term[32];

        if (fleet->nodes[i].pid > 0 && !fleet->nodes[i].is_paused &&
            !ask_field(fleet, i, "raft", "role", role, sizeof role) && !strcmp(role, "leader") &&
            !ask_field(fleet, i, "raft", "current_term", term, sizeof term) &&
            strtoull(term, NULL, 10) > best) {
            best = strtoull(term, NULL, 10);
            leader = i;
        }
    }
    return leader;
}

static int start_node(struct fleet *fleet, int node)
{
    char tail[2048];

    if (!fleet_start(fleet, node, START_MS)) {
        return 0;
    }
    fleet_log_tail(fleet, node, tail, sizeof tail);
    printf("FAIL node %d does not start:\n%s", node + 1, tail);
    return -1;
}

static int await_progress(struct workload *workload)
{
    uint64_t before = workload_count(workload).acknowledged;
    uint64_t deadline = now_ms() + RECOVER_MS;

    while (workload_count(workload).acknowledged < before + 20) {
        if (now_ms() > deadline) {
            printf("FAIL no write is acknowledged any more\n");
            return -1;
        }
        if (interrupted) {
            return -1;
        }
        sleep_ms(5);
    }
    return 0;
}

/* ---- Rounds ---- */

static unsigned running(const struct fleet *fleet)
{
    unsigned set = 0;

    for (int i = 0; i < NODES; i++) {
        set |= fleet->nodes[i].pid > 0 ? 1u << i : 0;
    }
    return set;
}

/* One of the places in a set, which is not empty. */
static int one_of(unsigned set, uint64_t *random)
{
    int node;

    do {
        node = (int)random_below(random, NODES);
    } while (!(set & 1u << node));
    return node;
}

/* The nodes that a round concerns, as a set of bits. */
static unsigned choose_victims(const struct fleet *fleet, enum round_kind kind, uint64_t *random)
{
    int leader;

    switch (kind) {
    case ROUND_ONE:
        return 1u << one_of(running(fleet), random);
    case ROUND_ALL:
        return running(fleet);
    default:
        leader = find_leader(fleet);
        return 1u << (leader >= 0 ? leader : one_of(running(fleet), random));
    }
}

static void strike(struct fleet *fleet, enum round_kind kind, unsigned victims)
{
    for (int i = 0; i < NODES; i++) {
        if (!(victims & 1u << i)) {
            continue;
        }
        if (kind == ROUND_PAUSE) {
            fleet_pause(fleet, i);
        } else if (fleet->nodes[i].pid > 0) {
            kill(fleet->nodes[i].pid, SIGKILL); /* all at once; they are waited for below */
        }
    }
}

static int repair(struct fleet *fleet, enum round_kind kind, unsigned victims)
{
    for (int i = 0; i < NODES; i++) {
        if (victims & 1u << i) {
            if (kind == ROUND_PAUSE) {
                fleet_resume(fleet, i);
                continue;
            }
            fleet_kill(fleet, i);
            if (start_node(fleet, i)) {
                return -1;
            }
        }
    }
    return 0;
}

/* ---- Changes of the membership ---- */

/*
 * Says a command to whoever leads until it is answered with OK: it is safe to repeat. Once, if
 * `kills` is set, the leader is killed right after it was told.
 */
static int command_leader(struct fleet *fleet, const char *words, int kills)
{
    uint64_t deadline = now_ms() + CHANGE_MS;

    while (now_ms() < deadline && !interrupted) {
        int leader = find_leader(fleet);
        struct caller caller;
        struct reply reply;
        int is_done = 0;

        if (leader < 0) {
            sleep_ms(20);
            continue;
        }
        caller_init(&caller);
        if (!caller_connect(&caller, fleet->nodes[leader].port, ASK_MS)) {
            if (kills) {
                caller_ask(&caller, words, &reply, 5);
                fleet_kill(fleet, leader);
                kills = 0;
                if (start_node(fleet, leader)) {
                    caller_free(&caller);
                    return -1;
                }
            } else {
                is_done =
                    !caller_ask(&caller, words, &reply, CHANGE_MS) && reply.kind == REPLY_STATUS;
            }
        }
        caller_free(&caller);
        if (is_done) {
            return 0;
        }
        sleep_ms(20);
    }
    printf("FAIL %s is not done\n", words);
    return -1;
}

/* Starts a server that never was, in a free place, and adds it. */
static int add_server(struct fleet *fleet, unsigned *last_id, int kills, uint64_t *random)
{
    char words[128], address[64];
    int node = one_of(~running(fleet), random);

    fleet_renew(fleet, node, ++*last_id);
    if (start_node(fleet, node)) {
        return -1;
    }
    fleet_address(fleet, node, address);
    snprintf(words, sizeof words, "RAFT.ADD %u %s", fleet->nodes[node].id, address);
    return command_leader(fleet, words, kills);
}

static int remove_server(struct fleet *fleet, int kills, uint64_t *random)
{
    char words[64];
    int leader = find_leader(fleet);
    int node = leader >= 0 && random_below(random, 2) ? leader : one_of(running(fleet), random);

    snprintf(words, sizeof words, "RAFT.REMOVE %u", fleet->nodes[node].id);
    if (command_leader(fleet, words, kills)) {
        return -1;
    }
    sleep_ms(random_below(random, 200)); /* it may go on for a while, knowing it or not */
    fleet_kill(fleet, node);
    return 0;
}

static int hand_over(struct fleet *fleet, uint64_t *random)
{
    char words[64];

    snprintf(words, sizeof words, "RAFT.TRANSFER %u",
             fleet->nodes[one_of(running(fleet), random)].id);
    return command_leader(fleet, words, 0);
}

static int count_of(unsigned set)
{
    int count = 0;

    for (; set; set &= set - 1) {
        count++;
    }
    return count;
}

static int change_members(struct fleet *fleet, unsigned *last_id, uint64_t *random)
{
    int size = count_of(running(fleet));
    int kills = random_below(random, 3) == 0;

    if (random_below(random, 5) == 0) {
        return hand_over(fleet, random);
    }
    if (size == NODES || (size > FOUNDERS && random_below(random, 2))) {
        return remove_server(fleet, kills, random);
    }
    if (add_server(fleet, last_id, kills, random)) {
        return -1;
    }
    return size > FOUNDERS || random_below(random, 2) ? remove_server(fleet, 0, random) : 0;
}

static int run_round(struct fleet *fleet, struct workload *workload, enum round_kind kind,
                     unsigned *last_id, uint64_t *random)
{
    unsigned victims;

    if (kind == ROUND_MEMBERS) {
        return change_members(fleet, last_id, random) || await_progress(workload) ? -1 : 0;
    }
    sleep_ms(random_below(random, 300));
    victims = choose_victims(fleet, kind, random);
    strike(fleet, kind, victims);
    sleep_ms(random_below(random, kind == ROUND_ALL ? 50 : 700));
    return repair(fleet, kind, victims) || await_progress(workload) ? -1 : 0;
}

/* Mixes the kinds, so that what one leaves behind meets the next. */
static enum round_kind next_kind(const int left[ROUND_KINDS], int total, uint64_t *random)
{
    int choice = (int)random_below(random, (uint32_t)total);
    int kind = 0;

    while (choice >= left[kind]) {
        choice -= left[kind++];
    }
    return (enum round_kind)kind;
}

static int run_rounds(struct fleet *fleet, struct workload *workload, const struct flags *flags)
{
    int left[ROUND_KINDS];
    int total = 0;
    unsigned last_id = FOUNDERS + SPARES;
    uint64_t random = flags->seed;

    memcpy(left, flags->rounds, sizeof left);
    for (int kind = 0; kind < ROUND_KINDS; kind++) {
        total += left[kind];
    }
    for (int round = 1; total > 0; round++, total--) {
        enum round_kind kind = next_kind(left, total, &random);
        struct workload_counts counts;

        left[kind]--;
        if (interrupted || run_round(fleet, workload, kind, &last_id, &random)) {
            return -1;
        }
        counts = workload_count(workload);
        printf("round %d, %s: %llu ok, %llu failed, %llu unknown\n", round, round_names[kind],
               (unsigned long long)counts.ok, (unsigned long long)counts.failed,
               (unsigned long long)counts.unknown);
        fflush(stdout);
    }
    return 0;
}

/* ---- The verdict ---- */

/* What each node says of itself, to be read when something went wrong. */
static void show_states(const struct fleet *fleet)
{
    for (int i = 0; i < NODES; i++) {
        struct caller caller;
        struct reply reply;
        char tail[1024];

        caller_init(&caller);
        if (!caller_connect(&caller, fleet->nodes[i].port, ASK_MS) &&
            !caller_ask(&caller, "RAFT.STATE", &reply, ASK_MS)) {
            printf("%.*s", (int)reply.text.size, reply.text.data);
            if (!caller_ask(&caller, "INFO raft transport", &reply, ASK_MS)) {
                printf("%.*s", (int)reply.text.size, reply.text.data);
            }
        }
        caller_free(&caller);
        fleet_log_tail(fleet, i, tail, sizeof tail);
        printf("%s\n", tail);
    }
}

static int replicas_agree(const struct fleet *fleet)
{
    char digests[NODES][32] = {{0}};
    const char *first = NULL;
    uint64_t deadline = now_ms() + SETTLE_MS;

    while (now_ms() < deadline) {
        int equal = 1;

        first = NULL;
        for (int i = 0; i < NODES; i++) {
            if (fleet->nodes[i].pid <= 0) {
                continue;
            }
            if (ask_field(fleet, i, "digest", "keyspace_digest", digests[i], sizeof digests[i])) {
                snprintf(digests[i], sizeof digests[i], "no answer");
                equal = 0;
            }
            first = first ? first : digests[i];
            equal = equal && !strcmp(first, digests[i]);
        }
        if (equal) {
            return 1;
        }
        sleep_ms(50);
    }
    printf("FAIL the replicas differ:");
    for (int i = 0; i < NODES; i++) {
        printf(" %s", digests[i][0] ? digests[i] : "-");
    }
    printf("\n");
    show_states(fleet);
    return 0;
}

static int ledger_is_whole(struct workload *workload)
{
    long wrong = workload_read_back(workload);

    if (wrong < 0) {
        printf("FAIL the cluster does not answer any more\n");
    } else if (wrong > 0) {
        printf("FAIL %ld acknowledged writes are lost\n", wrong);
    } else {
        printf("ok   all of %llu acknowledged writes of the ledger are there\n",
               (unsigned long long)workload_ledger(workload));
    }
    return wrong == 0;
}

static void write_history(const struct history *history, uint32_t key, const char *path)
{
    FILE *file = path ? fopen(path, "w") : NULL;
    char line[256];

    for (size_t i = 0; file && i < history->count; i++) {
        if (history->operations[i].key == key) {
            operation_describe(history, &history->operations[i], line, sizeof line);
            fprintf(file, "%s\n", line);
        }
    }
    if (file) {
        fclose(file);
    }
}

static int history_is_linearizable(struct workload *workload, const char *path)
{
    struct history *history = workload_history(workload);
    struct verdict verdict = linearize(history);
    char line[256];

    if (verdict.kind == VERDICT_LINEARIZABLE) {
        printf("ok   the history of %zu operations is linearizable (%llu steps)\n", history->count,
               (unsigned long long)verdict.steps);
        return 1;
    }
    operation_describe(history, &verdict.stuck, line, sizeof line);
    printf("FAIL key %u %s: %zu of %zu operations are explained, not\n     %s\n",
           (unsigned)verdict.key,
           verdict.kind == VERDICT_GAVE_UP ? "could not be judged" : "is not linearizable",
           verdict.explained, verdict.returned, line);
    write_history(history, verdict.key, path);
    return 0;
}

static int nodes_stop_well(struct fleet *fleet)
{
    int is_well = 1;

    for (int i = 0; i < NODES; i++) {
        int status = fleet->nodes[i].pid > 0 ? fleet_stop(fleet, i, STOP_MS) : 0;

        if (status != 0) {
            printf("FAIL node %d ended with status %d\n", i + 1, status);
            is_well = 0;
        }
    }
    return is_well;
}

static int judge(struct fleet *fleet, struct workload *workload, const struct flags *flags)
{
    const char *complaint = workload_complaint(workload);
    int is_good = ledger_is_whole(workload);

    is_good &= history_is_linearizable(workload, flags->history);
    is_good &= replicas_agree(fleet);
    is_good &= nodes_stop_well(fleet);
    if (complaint) {
        printf("FAIL %s\n", complaint);
    }
    return is_good && !complaint;
}

static int torture(struct fleet *fleet, const struct flags *flags)
{
    unsigned ports[NODES];
    struct workload *workload;
    struct workload_counts counts;
    int is_good;

    for (int i = 0; i < NODES; i++) {
        ports[i] = fleet->nodes[i].port;
        if (i < FOUNDERS && start_node(fleet, i)) {
            return -1;
        }
    }
    workload = workload_start(ports, NODES, flags->clients, flags->seed);
    if (!workload) {
        printf("FAIL no threads\n");
        return -1;
    }
    is_good = !await_progress(workload) && !run_rounds(fleet, workload, flags);
    workload_stop(workload);
    counts = workload_count(workload);
    is_good = is_good && judge(fleet, workload, flags);
    printf("%s   %llu operations ok, %llu failed, %llu unknown; longest time without an "
           "acknowledged write %llu ms\n",
           is_good ? "ok" : "FAIL", (unsigned long long)counts.ok,
           (unsigned long long)counts.failed, (unsigned long long)counts.unknown,
           (unsigned long long)counts.gap_ms_max);
    workload_free(workload);
    return is_good ? 0 : -1;
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
    const char *node_flags[] = {
        "--election-ms", "150", "--heartbeat-ms",       "30",   "--reads", NULL,
        "--log-bytes",   "8m",  "--checkpoint-entries", "3000", NULL,      NULL};
    struct fleet fleet;
    struct flags flags;
    int status = read_flags(&flags, argc, argv);

    if (status) {
        return status;
    }
    catch_signals();
    if (fleet_make_with_spares(&fleet, flags.program, FOUNDERS, SPARES)) {
        perror("torture");
        return 1;
    }
    node_flags[5] = flags.reads;
    node_flags[10] = flags.forward ? "--forward" : NULL;
    fleet.flags = node_flags;
    fleet.protocol = flags.protocol;
    printf("torture --protocol %s --seed %llu, %d clients, nodes in %s\n", flags.protocol,
           (unsigned long long)flags.seed, flags.clients, fleet.directory);
    fflush(stdout);
    status = torture(&fleet, &flags);
    fleet_remove(&fleet);
    return status ? 1 : 0;
}
