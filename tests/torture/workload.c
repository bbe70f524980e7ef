/*
 * The clients. Each thread has one connection; it follows redirects and goes on to the next node
 * when one is gone.
 *
 * A stamp for the history is drawn before a request is sent and after its answer is read, from one
 * counter, so that the order of stamps never claims more than what really was the order.
 *
 * Keys are of two kinds: counters (INCR, GET) and registers (SET, APPEND, GET). A key that has
 * collected several operations of unknown outcome is left for a fresh one: each of them adds to
 * what the checker may have to look at.
 */
#define _POSIX_C_SOURCE 200809L

#include "workload.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "raftkv/caller.h"

enum {
    PLACES = 8, /* keys in use at a time; the first ones are counters */
    COUNTERS = 3,
    UNKNOWN_A_KEY = 5, /* then a place gets a fresh key */
    PIPELINE_MAX = 6,
    CONNECT_MS = 500,
    ANSWER_MS = 3000,
    RETRY_MS = 10,
    LEDGER_ONE_IN = 6, /* pipelines that are a write to the ledger */
    READ_BACK_MS = 20000
};

struct ledger {
    uint8_t *acknowledged; /* by number; 0: not known */
    uint64_t count;
    uint64_t capacity;
};

struct client {
    struct workload *workload;
    pthread_t thread;
    uint32_t number;
    uint64_t random_state;
    unsigned port;
    struct caller caller;
    struct ledger ledger;
    struct operation pipeline[PIPELINE_MAX];
    int pipelined;
    uint64_t written; /* makes its values unique */
};

struct workload {
    pthread_mutex_t mutex; /* guards what follows, up to the next comment */
    uint64_t stamp;
    uint32_t keys[PLACES]; /* the key at each place */
    uint32_t unknown[PLACES];
    uint32_t next_key;
    struct history history;
    struct workload_counts counts;
    uint64_t acknowledged_ms;
    int is_stopping;
    char complaint[256];

    /* Set before the threads start. */
    unsigned ports[16];
    int port_count;
    struct client *clients;
    int client_count;
};

/* ---- Small things ---- */

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void rest(void)
{
    struct timespec pause = {0, RETRY_MS * 1000000L};

    nanosleep(&pause, NULL);
}

static uint32_t random_below(struct client *client, uint32_t bound)
{
    uint64_t x = client->random_state += 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((x >> 33) % bound);
}

static void lock(struct workload *workload)
{
    pthread_mutex_lock(&workload->mutex);
}

static void unlock(struct workload *workload)
{
    pthread_mutex_unlock(&workload->mutex);
}

static int is_stopping(struct workload *workload)
{
    int stopping;

    lock(workload);
    stopping = workload->is_stopping;
    unlock(workload);
    return stopping;
}

static int is_counter(uint32_t place)
{
    return place < COUNTERS;
}

/* Keys are numbered; a key's place is its number modulo PLACES, so its kind is known for ever. */
static void key_name(uint32_t key, char out[32])
{
    snprintf(out, 32, "%s:%" PRIu32, is_counter(key % PLACES) ? "counter" : "register", key);
}

/* ---- Connections ---- */

static unsigned next_port(struct client *client)
{
    const struct workload *workload = client->workload;

    return workload->ports[random_below(client, (uint32_t)workload->port_count)];
}

static int connect_somewhere(struct client *client)
{
    if (client->caller.fd >= 0) {
        return 0;
    }
    if (client->port == 0) {
        client->port = next_port(client);
    }
    if (caller_connect(&client->caller, client->port, CONNECT_MS)) {
        client->port = 0;
        rest();
        return -1;
    }
    return 0;
}

/* After an answer that another node may know better. */
static void go_on(struct client *client, const struct reply *reply)
{
    unsigned moved = reply_moved_to(reply);

    client->port = moved; /* 0: any */
    caller_close(&client->caller);
    if (!moved) {
        rest();
    }
}

/* ---- What an answer means ---- */

static int is_definite_failure(const struct reply *reply)
{
    return reply_is_error(reply, "MOVED") || reply_is_error(reply, "CLUSTERDOWN") ||
           reply_is_error(reply, "TRYAGAIN") || reply_is_error(reply, "LOADING");
}

static void complain(struct workload *workload, const char *what, const struct reply *reply)
{
    if (!workload->complaint[0]) {
        snprintf(workload->complaint, sizeof workload->complaint, "%s: '%.*s' (kind %d)", what,
                 (int)(reply->text.size < 100 ? reply->text.size : 100), reply->text.data,
                 (int)reply->kind);
    }
}

static int answer_fits(int kind, const struct reply *reply)
{
    switch (kind) {
    case OPERATION_GET:
        return reply->kind == REPLY_BULK || reply->kind == REPLY_NULL;
    case OPERATION_SET:
        return reply->kind == REPLY_STATUS;
    default:
        return reply->kind == REPLY_INTEGER;
    }
}

static int outcome_of(struct workload *workload, int kind, const struct reply *reply)
{
    if (is_definite_failure(reply)) {
        return OPERATION_FAILED;
    }
    if (reply_is_error(reply, "UNKNOWN")) {
        return OPERATION_UNKNOWN;
    }
    if (!answer_fits(kind, reply)) {
        complain(workload, "an answer that fits no command", reply);
        return OPERATION_UNKNOWN;
    }
    return OPERATION_OK;
}

/* The mutex is held. */
static void count_outcome(struct workload *workload, int outcome, int is_write)
{
    uint64_t now = now_ms();

    workload->counts.ok += outcome == OPERATION_OK;
    workload->counts.failed += outcome == OPERATION_FAILED;
    workload->counts.unknown += outcome == OPERATION_UNKNOWN;
    if (outcome == OPERATION_OK && is_write) {
        workload->counts.acknowledged++;
        if (workload->acknowledged_ms &&
            now - workload->acknowledged_ms > workload->counts.gap_ms_max) {
            workload->counts.gap_ms_max = now - workload->acknowledged_ms;
        }
        workload->acknowledged_ms = now;
    }
}

/* ---- The history ---- */

/* Leaves a key that has become hard to judge. The mutex is held. */
static void count_unknown(struct workload *workload, uint32_t key)
{
    uint32_t place = key % PLACES;

    if (workload->keys[place] == key && ++workload->unknown[place] >= UNKNOWN_A_KEY) {
        workload->next_key += PLACES;
        workload->keys[place] = workload->next_key + place;
        workload->unknown[place] = 0;
    }
}

/* Notes an operation's end; reply is null where the connection has ended before. */
static void note(struct workload *workload, struct operation *operation, const struct reply *reply)
{
    lock(workload);
    operation->outcome = OPERATION_UNKNOWN;
    if (reply) {
        operation->outcome = (uint8_t)outcome_of(workload, operation->kind, reply);
        operation->returned = ++workload->stamp;
    }
    if (operation->outcome == OPERATION_OK && operation->kind == OPERATION_GET) {
        operation->value =
            reply->kind == REPLY_NULL
                ? OPERATION_NO_VALUE
                : history_value(&workload->history, reply->text.data, reply->text.size);
    } else if (operation->outcome == OPERATION_OK) {
        operation->number = reply->integer;
    } else if (operation->outcome == OPERATION_UNKNOWN && operation->kind != OPERATION_GET) {
        count_unknown(workload, operation->key);
    }
    count_outcome(workload, operation->outcome, operation->kind != OPERATION_GET);
    history_add(&workload->history, operation);
    unlock(workload);
}

static int random_kind(struct client *client, uint32_t place)
{
    if (random_below(client, 5) < 2) {
        return OPERATION_GET;
    }
    if (is_counter(place)) {
        return OPERATION_INCR;
    }
    return random_below(client, 3) ? OPERATION_APPEND : OPERATION_SET;
}

static void add_request(struct client *client, const struct operation *operation, const char *value)
{
    static const char *const words[] = {"GET", "SET", "INCR", "APPEND"};
    char key[32];
    struct slice args[3];
    int has_value = operation->kind == OPERATION_SET || operation->kind == OPERATION_APPEND;

    key_name(operation->key, key);
    args[0] = slice_of(words[operation->kind]);
    args[1] = slice_of(key);
    args[2] = slice_of(value);
    caller_add(&client->caller, args, has_value ? 3 : 2);
}

static void begin_operation(struct client *client, struct operation *operation)
{
    struct workload *workload = client->workload;
    uint32_t place = random_below(client, PLACES);
    char value[48];

    snprintf(value, sizeof value, "<%" PRIu32 ".%" PRIu64 ">", client->number, client->written++);
    *operation =
        (struct operation){.client = client->number, .kind = (uint8_t)random_kind(client, place)};
    lock(workload);
    operation->key = workload->keys[place];
    operation->called = ++workload->stamp;
    operation->value = history_value(&workload->history, value, strlen(value));
    unlock(workload);
    add_request(client, operation, value);
}

/* Several requests at once, the answers to which are then awaited one by one. */
static void run_pipeline(struct client *client)
{
    struct reply reply;
    int count = random_below(client, 2) ? 1 : 1 + (int)random_below(client, PIPELINE_MAX);
    int redirected = 0;
    int is_open;
    struct reply last = {.kind = REPLY_STATUS};

    for (int i = 0; i < count; i++) {
        begin_operation(client, &client->pipeline[i]);
    }
    is_open = !caller_send(&client->caller, ANSWER_MS);
    for (int i = 0; i < count; i++) {
        is_open = is_open && !caller_receive(&client->caller, &reply, ANSWER_MS);
        note(client->workload, &client->pipeline[i], is_open ? &reply : NULL);
        if (is_open && reply.kind == REPLY_ERROR) {
            redirected = 1;
            last = reply;
        }
    }
    if (!is_open) {
        client->port = 0;
    } else if (redirected) {
        go_on(client, &last);
    }
}

/* ---- The ledger ---- */

static void ledger_key(const struct client *client, uint64_t number, char out[48])
{
    snprintf(out, 48, "ledger:%" PRIu32 ":%" PRIu64, client->number, number);
}

static int ledger_reserve(struct ledger *ledger)
{
    uint64_t capacity = ledger->capacity ? 2 * ledger->capacity : 1024;
    uint8_t *grown;

    if (ledger->count < ledger->capacity) {
        return 0;
    }
    grown = realloc(ledger->acknowledged, (size_t)capacity);
    if (!grown) {
        return -1;
    }
    ledger->acknowledged = grown;
    ledger->capacity = capacity;
    return 0;
}

/* The value of a ledger key is its name again. */
static void run_ledger(struct client *client)
{
    struct workload *workload = client->workload;
    char key[48];
    struct slice args[3];
    struct reply reply;
    int outcome = OPERATION_UNKNOWN;

    if (ledger_reserve(&client->ledger)) {
        return;
    }
    ledger_key(client, client->ledger.count, key);
    args[0] = slice_of("SET");
    args[1] = slice_of(key);
    args[2] = slice_of(key);
    caller_add(&client->caller, args, 3);
    if (caller_send(&client->caller, ANSWER_MS) ||
        caller_receive(&client->caller, &reply, ANSWER_MS)) {
        client->port = 0;
    } else {
        lock(workload);
        outcome = outcome_of(workload, OPERATION_SET, &reply);
        unlock(workload);
        if (reply.kind == REPLY_ERROR) {
            go_on(client, &reply);
        }
    }
    client->ledger.acknowledged[client->ledger.count++] = outcome == OPERATION_OK;
    lock(workload);
    count_outcome(workload, outcome, 1);
    unlock(workload);
}

/* ---- Threads ---- */

static void *run_client(void *argument)
{
    struct client *client = argument;

    while (!is_stopping(client->workload)) {
        if (connect_somewhere(client)) {
            continue;
        }
        if (random_below(client, LEDGER_ONE_IN) == 0) {
            run_ledger(client);
        } else {
            run_pipeline(client);
        }
    }
    return NULL;
}

static void open_client(struct workload *workload, int number, uint64_t seed)
{
    struct client *client = &workload->clients[number];

    client->workload = workload;
    client->number = (uint32_t)number;
    client->random_state = seed * 1000003u + (uint64_t)number;
    caller_init(&client->caller);
}

struct workload *workload_start(const unsigned *ports, int port_count, int clients, uint64_t seed)
{
    struct workload *workload = calloc(1, sizeof *workload);

    if (!workload) {
        return NULL;
    }
    workload->clients = calloc((size_t)clients, sizeof *workload->clients);
    pthread_mutex_init(&workload->mutex, NULL);
    memcpy(workload->ports, ports, (size_t)port_count * sizeof *ports);
    workload->port_count = port_count;
    for (uint32_t place = 0; place < PLACES; place++) {
        workload->keys[place] = place;
    }
    for (int i = 0; workload->clients && i < clients; i++) {
        open_client(workload, i, seed);
        if (pthread_create(&workload->clients[i].thread, NULL, run_client, &workload->clients[i])) {
            break;
        }
        workload->client_count++;
    }
    if (workload->client_count < clients) {
        workload_stop(workload);
        workload_free(workload);
        return NULL;
    }
    return workload;
}

struct workload_counts workload_count(struct workload *workload)
{
    struct workload_counts counts;

    lock(workload);
    counts = workload->counts;
    unlock(workload);
    return counts;
}

void workload_stop(struct workload *workload)
{
    lock(workload);
    workload->is_stopping = 1;
    unlock(workload);
    for (int i = 0; i < workload->client_count; i++) {
        pthread_join(workload->clients[i].thread, NULL);
    }
}

void workload_free(struct workload *workload)
{
    for (int i = 0; i < workload->client_count; i++) {
        caller_free(&workload->clients[i].caller);
        free(workload->clients[i].ledger.acknowledged);
    }
    free(workload->clients);
    history_free(&workload->history);
    pthread_mutex_destroy(&workload->mutex);
    free(workload);
}

/* ---- Reading back ---- */

/* A GET that is repeated until some node answers it. 0, or -1 when the time is up. */
static int get_surely(struct client *client, const char *key, struct reply *reply, uint64_t *called)
{
    struct slice args[2] = {slice_of("GET"), slice_of(key)};
    uint64_t deadline = now_ms() + READ_BACK_MS;

    while (now_ms() < deadline) {
        if (connect_somewhere(client)) {
            continue;
        }
        *called = ++client->workload->stamp;
        caller_add(&client->caller, args, 2);
        if (caller_send(&client->caller, ANSWER_MS) ||
            caller_receive(&client->caller, reply, ANSWER_MS)) {
            client->port = 0;
        } else if (reply->kind == REPLY_ERROR) {
            go_on(client, reply);
        } else {
            return 0;
        }
    }
    return -1;
}

static int read_back_history(struct workload *workload)
{
    struct client *reader = &workload->clients[0];

    for (uint32_t key = 0; key < workload->next_key + PLACES; key++) {
        struct operation operation = {.client = reader->number, .key = key};
        struct reply reply;
        char name[32];

        key_name(key, name);
        if (get_surely(reader, name, &reply, &operation.called)) {
            return -1;
        }
        note(workload, &operation, &reply);
    }
    return 0;
}

static long read_back_ledger(struct client *reader, const struct client *owner)
{
    long wrong = 0;

    for (uint64_t number = 0; number < owner->ledger.count; number++) {
        struct reply reply;
        uint64_t called;
        char key[48];

        if (!owner->ledger.acknowledged[number]) {
            continue;
        }
        ledger_key(owner, number, key);
        if (get_surely(reader, key, &reply, &called)) {
            return -1;
        }
        wrong += reply.kind != REPLY_BULK || !slice_equal(reply.text, slice_of(key));
    }
    return wrong;
}

long workload_read_back(struct workload *workload)
{
    long wrong = 0;

    if (read_back_history(workload)) {
        return -1;
    }
    for (int i = 0; i < workload->client_count; i++) {
        long count = read_back_ledger(&workload->clients[0], &workload->clients[i]);

        if (count < 0) {
            return -1;
        }
        wrong += count;
    }
    return wrong;
}

uint64_t workload_ledger(const struct workload *workload)
{
    uint64_t count = 0;

    for (int i = 0; i < workload->client_count; i++) {
        const struct ledger *ledger = &workload->clients[i].ledger;

        for (uint64_t number = 0; number < ledger->count; number++) {
            count += ledger->acknowledged[number];
        }
    }
    return count;
}

struct history *workload_history(struct workload *workload)
{
    return &workload->history;
}

const char *workload_complaint(const struct workload *workload)
{
    return workload->complaint[0] ? workload->complaint : NULL;
}
