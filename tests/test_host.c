/*
 * The host of one group and one thread: three of them in this process, over real sockets and files,
 * agree, survive being closed, and refuse what makes no sense without leaving anything.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include <stdlib.h>
#include <time.h>

#include "check.h"
#include "cluster.h"
#include "host.h"
#include "raftkv/ports.h"

enum { SERVERS = 3, TEXT_MAX = 256, PATIENCE_MS = 60000 };

struct server {
    struct host *host;
    char text[TEXT_MAX]; /* the state machine */
    raft_index applied;
    int leads;
    int fatal;
    int apply_fails;
};

static struct server servers[SERVERS + 1]; /* by id */
static char directory[256];
static char members[256];
static char error[HOST_ERROR_MAX];

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int apply(void *ctx, const raft_entry *entry)
{
    struct server *server = ctx;
    size_t length = strlen(server->text);

    if (server->apply_fails) {
        return RAFT_EAPPLY;
    }
    CHECK_EQ(entry->index, server->applied + 1);
    server->applied = entry->index;
    if (entry->kind == RAFT_ENTRY_DATA && entry->size < TEXT_MAX - length) {
        memcpy(server->text + length, entry->data, entry->size);
        server->text[length + entry->size] = '\0';
    }
    return RAFT_OK;
}

static void notify(void *ctx, const raft_event *event)
{
    struct server *server = ctx;

    if (event->kind == RAFT_EVENT_ROLE) {
        server->leads = event->role == RAFT_ROLE_LEADER;
    } else if (event->kind == RAFT_EVENT_FATAL) {
        server->fatal = event->status;
    }
}

static int open_with(int id, const char *text)
{
    struct host_options options = {.id = (raft_id)id,
                                   .members = text,
                                   .election_timeout_ms = 300,
                                   .protocol = cluster_protocol,
                                   .ctx = &servers[id],
                                   .apply = apply,
                                   .notify = notify};
    char path[300];

    snprintf(path, sizeof path, "%s/%d", directory, id);
    options.directory = path;
    servers[id] = (struct server){0};
    error[0] = '\0';
    return host_open(&options, error, &servers[id].host);
}

static int close_one(int id)
{
    int status = host_close(servers[id].host);

    servers[id] = (struct server){0};
    return status;
}

static void end(void)
{
    char command[300];

    for (int id = 1; id <= SERVERS; id++) {
        close_one(id);
    }
    if (directory[0]) {
        snprintf(command, sizeof command, "rm -rf '%s'", directory);
        CHECK_EQ(system(command), 0);
        directory[0] = '\0';
    }
}

static void begin(void)
{
    const char *parent = getenv("TMPDIR");
    size_t used = 0;

    end();
    snprintf(directory, sizeof directory, "%s/host-XXXXXX", parent ? parent : "/tmp");
    CHECK(mkdtemp(directory) != NULL);
    for (int id = 1; id <= SERVERS; id++) {
        used += (size_t)snprintf(members + used, sizeof members - used, "%s%d=127.0.0.1:%u",
                                 id > 1 ? "," : "", id, ports_next());
    }
}

static void turn_all(void)
{
    for (int id = 1; id <= SERVERS; id++) {
        if (servers[id].host) {
            CHECK_EQ(host_turn(servers[id].host, 1), RAFT_OK);
        }
    }
}

/* Proposes to whoever takes it, and goes on until all that run have applied it. */
static void agree(const char *word, const char *text)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    int proposed = 0, agreed = 0;

    while (agreed < SERVERS && now_ms() < end_ms) {
        turn_all();
        agreed = 0;
        for (int id = 1; id <= SERVERS; id++) {
            struct host *host = servers[id].host;

            if (host && !proposed && *word) {
                proposed = raft_propose(host_node(host), word, strlen(word), NULL, NULL) == RAFT_OK;
            }
            agreed += !host || strcmp(servers[id].text, text) == 0;
        }
    }
    CHECK_EQ(agreed, SERVERS);
}

static void three_hosts_agree_and_survive_being_closed(void)
{
    begin();
    for (int id = 1; id <= SERVERS; id++) {
        CHECK_EQ(open_with(id, members), RAFT_OK);
    }
    agree("a", "a");
    CHECK_EQ(close_one(1), RAFT_OK);
    agree("b", "ab");
    for (int id = 2; id <= SERVERS; id++) {
        CHECK_EQ(close_one(id), RAFT_OK);
    }
    for (int id = 1; id <= SERVERS; id++) {
        CHECK_EQ(open_with(id, members), RAFT_OK);
    }
    agree("c", "abc");
}

/* What the directory holds governs; the text only founds. */
static void the_membership_of_the_directory_governs(void)
{
    begin();
    for (int id = 1; id <= SERVERS; id++) {
        CHECK_EQ(open_with(id, members), RAFT_OK);
    }
    agree("a", "a");
    for (int id = 1; id <= SERVERS; id++) {
        CHECK_EQ(close_one(id), RAFT_OK);
        CHECK_EQ(open_with(id, id == 1 ? NULL : "nonsense"), RAFT_OK);
    }
    agree("b", "ab");
}

static void one_alone_leads_at_once(void)
{
    begin();
    CHECK_EQ(open_with(1, NULL), RAFT_OK);
    agree("a", "a");
    CHECK(servers[1].leads);
    CHECK_EQ(close_one(1), RAFT_OK);
    CHECK_EQ(open_with(1, NULL), RAFT_OK);
    agree("", "a");
}

static void what_makes_no_sense_is_refused_with_a_reason(void)
{
    static const char *const wrong[] = {"",
                                        "1",
                                        "1=",
                                        "=127.0.0.1:1",
                                        "0=127.0.0.1:1",
                                        "-1=127.0.0.1:1",
                                        " 1=127.0.0.1:1",
                                        "2=127.0.0.1:1",
                                        "1=127.0.0.1:1,",
                                        "1=127.0.0.1:1,,2=127.0.0.1:2",
                                        "1=127.0.0.1:1,1=127.0.0.1:2"};
    struct host_options nothing = {.id = 1};
    struct host *none = NULL;

    begin();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK_EQ(open_with(1, wrong[i]), RAFT_EARG);
        CHECK(error[0] != '\0');
        CHECK(servers[1].host == NULL);
    }
    CHECK_EQ(host_open(&nothing, error, &none), RAFT_EARG);
    CHECK_EQ(open_with(1, "1=127.0.0.1:99999"), RAFT_ESTORAGE);
    CHECK_EQ(open_with(1, "1=192.0.2.1:7001"), RAFT_ESTORAGE);
    CHECK_EQ(open_with(1, members), RAFT_OK); /* and nothing of all that was stored */
    CHECK(none == NULL);
}

static void a_directory_in_use_or_of_another_server_is_refused(void)
{
    struct host_options options = {.id = 1, .protocol = cluster_protocol};
    struct host *second = NULL;
    char path[300];

    begin();
    snprintf(path, sizeof path, "%s/1", directory);
    options.directory = path;
    CHECK_EQ(open_with(1, NULL), RAFT_OK);
    CHECK_EQ(host_open(&options, error, &second), RAFT_EBUSY);
    CHECK_EQ(close_one(1), RAFT_OK);
    options.id = 2;
    CHECK_EQ(host_open(&options, error, &second), RAFT_EFOREIGN);
    options.id = 1;
    options.cluster = 9;
    CHECK_EQ(host_open(&options, error, &second), RAFT_EFOREIGN);
    options.cluster = 0;
    options.protocol = RAFT_PROTOCOL_RAFT + RAFT_PROTOCOL_MULTIPAXOS - cluster_protocol;
    CHECK_EQ(host_open(&options, error, &second), RAFT_EFOREIGN);
    CHECK(second == NULL);
}

static void a_state_machine_that_fails_ends_the_host(void)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    int status = RAFT_OK;

    begin();
    CHECK_EQ(open_with(1, NULL), RAFT_OK);
    servers[1].apply_fails = 1;
    while (status == RAFT_OK && now_ms() < end_ms) {
        raft_propose(host_node(servers[1].host), "a", 1, NULL, NULL); /* P7: else none to apply */
        status = host_turn(servers[1].host, 10);
    }
    CHECK_EQ(status, RAFT_EAPPLY);
    CHECK_EQ(host_turn(servers[1].host, 0), RAFT_EAPPLY);
    CHECK_EQ(servers[1].fatal, RAFT_EAPPLY);
}

int main(void)
{
    RUN_BOTH(three_hosts_agree_and_survive_being_closed);
    RUN_BOTH(the_membership_of_the_directory_governs);
    RUN_BOTH(one_alone_leads_at_once);
    RUN_BOTH(what_makes_no_sense_is_refused_with_a_reason);
    RUN_BOTH(a_directory_in_use_or_of_another_server_is_refused);
    RUN_BOTH(a_state_machine_that_fails_ends_the_host);
    end();
    return check_done();
}
