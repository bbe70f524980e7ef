/*
 * raftkv end to end: a load client of its own, on the same machine, with one request under way on
 * each connection; 256-byte values under random keys out of 100,000; every write is on the disks of
 * two servers before it is acknowledged. Then the gap after SIGKILL of the leader.
 */
#define _POSIX_C_SOURCE 200809L

#include "bench.h"
#include "bench_servers.h"
#include "io.h"
#include "loop.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    VALUE_BYTES = 256,
    KEYS = 100000,
    CLIENTS_MAX = 256,
    SAMPLES_MAX = 4000000,
    WARM_MS = 500,
    LOAD_MS = 3000,
    FAILOVERS = 20
};

struct load {
    struct loop *loop;
    int is_get;
    uint64_t random;
    uint64_t measure_from_ns, end_ns;
    uint32_t *samples; /* latencies in nanoseconds / 16: four seconds fit easily */
    size_t sample_count;
    size_t pending; /* requests under way */
};

struct client {
    struct load *load;
    int fd;
    uint64_t sent_ns;
    char reply[512];
    size_t reply_bytes;
};

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static size_t make_set(char *out, size_t size, unsigned key)
{
    size_t head = (size_t)snprintf(out, size, "*3\r\n$3\r\nSET\r\n$10\r\nkey:%06u\r\n$%d\r\n", key,
                                   VALUE_BYTES);
    memset(out + head, 'a' + (int)(key % 26), VALUE_BYTES);
    memcpy(out + head + VALUE_BYTES, "\r\n", 2);
    return head + VALUE_BYTES + 2;
}

static size_t make_get(char *out, size_t size, unsigned key)
{
    return (size_t)snprintf(out, size, "*2\r\n$3\r\nGET\r\n$10\r\nkey:%06u\r\n", key);
}

/* ---- Load ------------------------------------------------------------------------------------ */

static void send_request(struct client *client)
{
    char request[512];
    unsigned key = (unsigned)(next_random(&client->load->random) % KEYS);
    size_t size = client->load->is_get ? make_get(request, sizeof request, key)
                                       : make_set(request, sizeof request, key);
    client->sent_ns = bench_now_ns();
    client->reply_bytes = 0;
    client->load->pending++;
    if (io_posix.write(NULL, client->fd, request, size) != (long)size) {
        bench_fail("a request was not taken whole");
    }
}

/* 1: a whole reply as it should be; 0: more is to come. Anything else ends the benchmark. */
static int reply_is_whole(const struct client *client)
{
    static const char value_head[] = "$256\r\n";
    const char *reply = client->reply;
    size_t size = client->reply_bytes;
    if (!client->load->is_get && size <= 5 && !memcmp(reply, "+OK\r\n", size)) {
        return size == 5;
    }
    if (client->load->is_get && reply[0] == '$') {
        int is_nil = size > 1 && reply[1] == '-';
        size_t whole = is_nil ? 5 : sizeof value_head - 1 + VALUE_BYTES + 2;
        if (size <= whole) {
            return size == whole;
        }
    }
    fprintf(stderr, "bench: unexpected reply: %.*s\n", (int)size, reply);
    bench_fail("the load was not served");
    return 0;
}

static void on_reply(void *ctx, int fd, unsigned ready)
{
    struct client *client = ctx;
    struct load *load = client->load;
    (void)ready;
    long got = io_posix.read(NULL, fd, client->reply + client->reply_bytes,
                             sizeof client->reply - client->reply_bytes);
    if (got <= 0) {
        bench_fail("a server closed a connection");
    }
    client->reply_bytes += (size_t)got;
    if (!reply_is_whole(client)) {
        return;
    }
    uint64_t now = bench_now_ns();
    load->pending--;
    if (client->sent_ns >= load->measure_from_ns && now < load->end_ns &&
        load->sample_count < SAMPLES_MAX) {
        load->samples[load->sample_count++] = (uint32_t)((now - client->sent_ns) / 16);
    }
    if (now < load->end_ns) {
        send_request(client);
    }
}

static int compare_samples(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static const char *prefix_of(const struct servers *servers)
{
    return strcmp(servers->protocol, "raft") ? "multipaxos_" : "";
}

static double percentile_us(const struct load *load, double share)
{
    size_t at = (size_t)(share * (double)(load->sample_count - 1));
    return load->samples[at] * 16.0 / 1000;
}

/* One figure of a load; those of Raft, which is what raftkv runs unless told otherwise, bare. */
static void print_figure(const struct servers *servers, const char *verb, int clients,
                         const char *figure, double value, const char *unit)
{
    char name[128];
    snprintf(name, sizeof name, "raftkv_%s%s_%d_%s", prefix_of(servers), verb, clients, figure);
    bench_print(name, value, unit);
}

static void print_load(const struct load *load, const struct servers *servers, const char *verb,
                       int clients, double cpu_us)
{
    double done = (double)load->sample_count;
    if (load->sample_count < 100) {
        bench_fail("too little was served");
    }
    print_figure(servers, verb, clients, "throughput", done * 1000 / LOAD_MS, "ops/s");
    print_figure(servers, verb, clients, "p50", percentile_us(load, 0.50), "us");
    print_figure(servers, verb, clients, "p99", percentile_us(load, 0.99), "us");
    print_figure(servers, verb, clients, "max", percentile_us(load, 1), "us");
    print_figure(servers, verb, clients, "cpu", cpu_us / done, "us/op");
}

static void connect_clients(struct load *load, struct client *clients, int count,
                            const struct servers *servers, int leader)
{
    for (int i = 0; i < count; i++) {
        clients[i].load = load;
        clients[i].fd = servers_connect(servers, leader);
        if (clients[i].fd < 0 ||
            loop_add(load->loop, clients[i].fd, LOOP_READ, on_reply, &clients[i])) {
            bench_fail("cannot connect to the leader");
        }
    }
}

static void turn(struct load *load)
{
    servers_check_signal();
    if (loop_wait(load->loop, 1000) < 0) {
        bench_fail("the event loop failed");
    }
    if (bench_now_ns() > load->end_ns + UINT64_C(20000000000)) {
        bench_fail("requests were never answered");
    }
}

static void run_load(struct servers *servers, int clients_count, int is_get)
{
    static struct client clients[CLIENTS_MAX];
    struct load load = {.loop = loop_new(&io_posix), .is_get = is_get, .random = 7};
    load.samples = malloc(SAMPLES_MAX * sizeof *load.samples);
    if (!load.loop || !load.samples) {
        bench_fail("no memory");
    }
    connect_clients(&load, clients, clients_count, servers, servers_leader(servers));
    load.measure_from_ns = bench_now_ns() + WARM_MS * UINT64_C(1000000);
    load.end_ns = load.measure_from_ns + LOAD_MS * UINT64_C(1000000);
    for (int i = 0; i < clients_count; i++) {
        send_request(&clients[i]);
    }
    while (bench_now_ns() < load.measure_from_ns) {
        turn(&load);
    }
    double cpu_before = servers_cpu_us(servers);
    while (bench_now_ns() < load.end_ns) {
        turn(&load);
    }
    double cpu_us = servers_cpu_us(servers) - cpu_before;
    while (load.pending) {
        turn(&load);
    }
    qsort(load.samples, load.sample_count, sizeof *load.samples, compare_samples);
    print_load(&load, servers, is_get ? "get" : "set", clients_count, cpu_us);
    for (int i = 0; i < clients_count; i++) {
        loop_remove(load.loop, clients[i].fd);
        close(clients[i].fd);
    }
    loop_free(load.loop);
    free(load.samples);
}

/* ---- Failover -------------------------------------------------------------------------------- */

struct survivor {
    int fd;
    int is_waiting; /* for a reply */
};

/* Asks again where there was an answer but no acknowledgement. Returns whether one came. */
static int ask_survivor(struct survivor *survivor)
{
    char request[512], reply[512];
    if (survivor->is_waiting) {
        long got = io_posix.read(NULL, survivor->fd, reply, sizeof reply);
        if (got > 0 && reply[0] == '+') {
            return 1;
        }
        survivor->is_waiting = got <= 0;
        return 0;
    }
    size_t size = make_set(request, sizeof request, 1);
    survivor->is_waiting = io_posix.write(NULL, survivor->fd, request, size) == (long)size;
    return 0;
}

static double failover_ms(struct servers *servers)
{
    struct survivor survivors[SERVERS];
    int leader = servers_leader(servers);
    int count = 0;
    for (int i = 0; i < SERVERS; i++) {
        if (i != leader) {
            survivors[count++] = (struct survivor){servers_connect(servers, i), 0};
            if (survivors[count - 1].fd < 0) {
                bench_fail("cannot connect to a follower");
            }
        }
    }
    uint64_t begin = bench_now_ns();
    kill(servers->pid[leader], SIGKILL);
    int is_served = 0;
    while (!is_served && bench_now_ns() - begin < UINT64_C(20000000000)) {
        for (int i = 0; i < count && !is_served; i++) {
            is_served = ask_survivor(&survivors[i]);
        }
        poll(NULL, 0, is_served ? 0 : 1);
        servers_check_signal();
    }
    double ms = (double)(bench_now_ns() - begin) / 1e6;
    if (!is_served) {
        bench_fail("nobody took over");
    }
    for (int i = 0; i < count; i++) {
        close(survivors[i].fd);
    }
    servers_kill_one(servers, leader);
    servers_start_one(servers, leader);
    return ms;
}

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void run_failovers(const char *path, const char *protocol)
{
    static struct servers servers;
    double took[FAILOVERS];
    char name[64];
    servers_begin(&servers, path, protocol, 150);
    for (int i = 0; i < FAILOVERS; i++) {
        took[i] = failover_ms(&servers);
        /* The returned server has caught up by then, and timers are random again. */
        poll(NULL, 0, 300);
    }
    servers_end(&servers);
    qsort(took, FAILOVERS, sizeof took[0], compare_doubles);
    snprintf(name, sizeof name, "raftkv_%sfailover_election150_median", prefix_of(&servers));
    bench_print(name, took[FAILOVERS / 2], "ms");
    snprintf(name, sizeof name, "raftkv_%sfailover_election150_max", prefix_of(&servers));
    bench_print(name, took[FAILOVERS - 1], "ms");
}

static void run_loads(const char *path, const char *protocol)
{
    static const int clients[] = {1, 64, 256};
    static struct servers servers;
    servers_begin(&servers, path, protocol, 300);
    if (!strcmp(protocol, "raft")) {
        bench_print("disk_fdatasync_512B_p10", servers_sync_us(&servers), "us");
    }
    for (int is_get = 0; is_get < 2; is_get++) {
        for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
            run_load(&servers, clients[i], is_get);
        }
    }
    servers_end(&servers);
}

void bench_raftkv(const char *path)
{
    static const char *const protocols[] = {"raft", "multipaxos"};
    for (size_t i = 0; i < 2; i++) {
        run_loads(path, protocols[i]);
        run_failovers(path, protocols[i]);
    }
}
