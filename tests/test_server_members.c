/*
 * A cluster that changes while it serves: servers are added and removed, the lead is handed over,
 * checkpoints are taken and started from, and reads are answered by followers and under leases.
 */
#define _POSIX_C_SOURCE 200809L

#include "servers.h"

enum { LARGE_BYTES = 200000, LARGE_COUNT = 40 }; /* together more than what trails a checkpoint */

static void begin_with_spares(int founders, int spares, const char *const *flags)
{
    fleet_remove(&fleet);
    CHECK_EQ(fleet_make_with_spares(&fleet, program, founders, spares), 0);
    fleet.flags = flags;
    fleet.protocol = protocol_name();
    for (int i = 0; i < founders + spares; i++) {
        start(i);
    }
}

/* INCRs that are sent together, and whose answers are awaited later. */
static void send_increments(int count)
{
    for (int i = 0; i < count; i++) {
        struct slice args[2] = {slice_of("INCR"), slice_of("n")};

        caller_add(&caller, args, 2);
    }
    CHECK_EQ(caller_send(&caller, WAIT_MS), 0);
}

static void await_increments(int count)
{
    for (int i = 0; i < count; i++) {
        CHECK_EQ(caller_receive(&caller, &reply, WAIT_MS), 0);
        CHECK_EQ(reply.kind, REPLY_INTEGER);
        CHECK_EQ(reply.integer, i + 1);
    }
}

static void digest_of(int node, char out[64])
{
    connect_to(node);
    ask("INFO digest");
    snprintf(out, 64, "%.*s", (int)reply.text.size, reply.text.data);
}

/* Two servers that hold the same, once both have applied everything. */
static void await_same_keyspace(int one, int other)
{
    char left[64], right[64];
    uint64_t deadline = now_ms() + WAIT_MS;

    do {
        digest_of(one, left);
        digest_of(other, right);
    } while (strcmp(left, right) != 0 && now_ms() < deadline);
    CHECK_STR(left, right);
}

static void set_large_keys(void)
{
    static char value[LARGE_BYTES];
    char key[32];

    memset(value, 'v', sizeof value);
    for (int i = 0; i < LARGE_COUNT; i++) {
        struct slice args[3] = {slice_of("SET"), {key, 0}, {value, sizeof value}};

        args[1].size = (size_t)snprintf(key, sizeof key, "large%d", i);
        caller_add(&caller, args, 3);
        CHECK_EQ(caller_send(&caller, WAIT_MS), 0);
        CHECK_EQ(caller_receive(&caller, &reply, WAIT_MS), 0);
        CHECK_EQ(reply.kind, REPLY_STATUS);
    }
}

static void add_server(struct caller *admin, int node)
{
    char address[64], words[128];
    struct reply answer;

    fleet_address(&fleet, node, address);
    snprintf(words, sizeof words, "RAFT.ADD %u %s", fleet.nodes[node].id, address);
    CHECK_EQ(caller_ask(admin, words, &answer, 2 * WAIT_MS), 0);
    if (answer.kind != REPLY_STATUS) {
        printf("%s: %.*s\n", words, (int)answer.text.size, answer.text.data);
    }
    CHECK_EQ(answer.kind, REPLY_STATUS);
}

/* Its log begins behind the checkpoint, so the checkpoint is what the empty server gets first. */
static void an_empty_server_is_added_under_load(void)
{
    enum { LOAD = 20000 };

    struct caller admin;
    int leader;

    caller_init(&admin);
    begin_with_spares(3, 1, quick);
    leader = connect_to_leader();
    set_large_keys();
    expect_text("RAFT.CHECKPOINT", "OK");
    CHECK(info_number("raft", "first_index") > 1);
    send_increments(LOAD);
    CHECK_EQ(caller_connect(&admin, fleet.nodes[leader].port, WAIT_MS), 0);
    add_server(&admin, 3);
    caller_free(&admin);
    await_increments(LOAD);
    connect_to(leader);
    CHECK_EQ(info_number("raft", "voters"), 4);
    await_same_keyspace(leader, 3);
    CHECK(info_number("snapshot", "snapshots_installed") > 0);
    connect_to_leader();
    expect_integer("DBSIZE", LARGE_COUNT + 2); /* with n and leader */
    end();
}

static void the_lead_is_handed_to_whom_is_named(void)
{
    char words[64];
    int leader, other;

    begin(3, quick);
    leader = connect_to_leader();
    other = (leader + 1) % 3;
    expect_text("SET a 1", "OK");
    snprintf(words, sizeof words, "RAFT.TRANSFER %d", other + 1);
    expect_text(words, "OK");
    CHECK_EQ(connect_to_leader(), other);
    expect_integer("INCR a", 2);
    end();
}

static void what_contradicts_the_membership_is_refused_at_once(void)
{
    begin(1, quick);
    connect_to(0);
    expect_text("SET a 1", "OK");
    expect_error("RAFT.ADD 1 127.0.0.1:1 witness", "ERR");
    CHECK(strstr(reply.text.data, "is a voter"));
    expect_error("RAFT.ADD 1 127.0.0.1:1 learner", "ERR");
    expect_error("RAFT.PROMOTE 7", "ERR");
    expect_text("RAFT.PROMOTE 1", "OK");
    expect_text("RAFT.REMOVE 7", "OK");
    expect_error("RAFT.REMOVE 1", "ERR");
    expect_error("RAFT.ADD 0 127.0.0.1:1", "ERR");
    expect_error("RAFT.ADD 2 nowhere", "ERR");
    expect_error("RAFT.ADD 2 [1.2.3.4]:7", "ERR");
    expect_error("RAFT.ADD 2 127.0.0.1:7/nowhere", "ERR");
    expect_text("RAFT.ADD 2 localhost:7/localhost:8 learner", "OK"); /* nobody answers there */
    expect_text("RAFT.REMOVE 2", "OK");
    expect_error("RAFT.TRANSFER 1 2", "ERR");
    end();
}

static void a_server_without_a_network_adds_nobody(void)
{
    fleet_remove(&fleet);
    CHECK_EQ(fleet_make(&fleet, program, 1), 0);
    fleet.flags = quick;
    fleet.protocol = protocol_name();
    fleet.peers[0] = '\0';
    start(0);
    connect_to(0);
    expect_text("SET a 1", "OK");
    expect_error("RAFT.ADD 2 127.0.0.1:1", "ERR");
    CHECK(strstr(reply.text.data, "--peer-listen"));
    CHECK(info_has("raft", "\r\nlearners:0\r\n"));
    end();
}

/* Asks whoever leads, again where the lead was lost meanwhile: it does no harm. */
static void ask_until_done(const char *words)
{
    for (uint64_t deadline = now_ms() + WAIT_MS; now_ms() < deadline; connect_to_leader()) {
        ask(words);
        if (reply.kind == REPLY_STATUS) {
            return;
        }
        CHECK(reply_is_error(&reply, "UNKNOWN") || reply_is_error(&reply, "MOVED") ||
              reply_is_error(&reply, "CLUSTERDOWN") || reply_is_error(&reply, "TRYAGAIN"));
    }
    CHECK_EQ(reply.kind, REPLY_STATUS);
}

/* It commits its own removal, hands over, and is silent from then on. */
static void a_leader_is_removed_and_nothing_is_lost(void)
{
    char words[64];
    int leader, next;

    begin(3, quick);
    leader = connect_to_leader();
    for (int i = 0; i < 100; i++) {
        expect_integer("INCR n", i + 1);
    }
    snprintf(words, sizeof words, "RAFT.REMOVE %d", leader + 1);
    ask_until_done(words);
    CHECK_EQ(fleet_stop(&fleet, leader, WAIT_MS), 0);
    next = connect_to_leader();
    CHECK(next != leader);
    expect_integer("INCR n", 101);
    CHECK_EQ(info_number("raft", "voters"), 2);
    end();
}

/* What the checkpoint covers is not applied again: n would count twice. */
static void a_server_starts_from_its_checkpoint(void)
{
    char tail[4096];
    uint64_t index;

    begin(1, NULL);
    connect_to_leader();
    set_large_keys();
    send_increments(1000);
    await_increments(1000);
    expect_text("RAFT.CHECKPOINT", "OK");
    index = info_number("raft", "applied_index");
    expect_text("SET later 1", "OK");
    fleet_kill(&fleet, 0);
    start(0);
    connect_to_leader();
    expect_text("GET n", "1000");
    expect_text("GET later", "1");
    CHECK(info_number("snapshot", "snapshot_index") >= index);
    fleet_log_tail(&fleet, 0, tail, sizeof tail);
    CHECK(strstr(tail, "loaded the checkpoint at "));
    end();
}

/* Asks one server, again while nobody leads whom it could ask how far the log is committed. */
static void read_from(struct caller *reader, const char *words, struct reply *answer)
{
    uint64_t deadline = now_ms() + WAIT_MS;

    do {
        CHECK_EQ(caller_ask(reader, words, answer, WAIT_MS), 0);
    } while (answer->kind == REPLY_ERROR && now_ms() < deadline);
}

/* Refused, unless that server has come to lead meanwhile. */
static void expect_no_read(struct caller *reader, int node)
{
    struct reply answer;

    CHECK_EQ(caller_ask(reader, "GET k", &answer, WAIT_MS), 0);
    CHECK(answer.kind == REPLY_ERROR || connect_to_leader() == node);
}

/* Each sees what was acknowledged before it asked. */
static void followers_answer_reads_that_are_linearizable(void)
{
    char words[64], value[32];
    struct caller reader;
    struct reply answer;
    int follower;

    caller_init(&reader);
    begin(3, quick);
    follower = (connect_to_leader() + 1) % 3;
    CHECK_EQ(caller_connect(&reader, fleet.nodes[follower].port, WAIT_MS), 0);
    expect_no_read(&reader, follower);
    read_from(&reader, "READONLY", &answer);
    for (int i = 0; i < 100; i++) {
        snprintf(words, sizeof words, "SET k %d", i);
        snprintf(value, sizeof value, "%d", i);
        ask_until_done(words);
        read_from(&reader, "GET k", &answer);
        CHECK(slice_equal(answer.text, slice_of(value)));
    }
    read_from(&reader, "READWRITE", &answer);
    expect_no_read(&reader, follower);
    caller_free(&reader);
    end();
}

static void reads_are_answered_under_a_lease(void)
{
    static const char *const flags[] = {
        "--reads", "lease", "--election-ms", "400", "--heartbeat-ms", "20", NULL};
    uint64_t deadline = now_ms() + WAIT_MS;

    begin(3, flags);
    connect_to_leader();
    expect_text("SET k 1", "OK");
    while (info_number("raft", "reads_by_lease") == 0 && now_ms() < deadline) {
        expect_text("GET k", "1");
    }
    CHECK(info_number("raft", "reads_by_lease") > 0);
    end();
}

/* Of each section; `role` is in two, as the engine and as Redis have it. */
static void expect_distinct_keys(char *text)
{
    for (char *section = strtok(text, "#"); section != NULL; section = strtok(NULL, "#")) {
        for (char *at = strchr(section, '\n'); at != NULL; at = strchr(at + 1, '\n')) {
            char key[128];
            int size = (int)strcspn(at, ":\r");
            if (at[size] == ':') {
                snprintf(key, sizeof key, "%.*s:", size, at);
                CHECK(strstr(at + 1, key) == NULL);
            }
        }
    }
}

/* A client that parses INFO into a table keeps all of it: also why connections have ended. */
static void info_says_each_key_once(void)
{
    char text[16384];

    begin(3, quick);
    connect_to_leader();
    CHECK_EQ(caller_connect(&caller, fleet.nodes[0].peer_port, WAIT_MS), 0);
    CHECK(caller_ask(&caller, "PING a-port-for-servers-is-not-one-for-clients-and-ends-this",
                     &reply, WAIT_MS) != 0);
    fleet_kill(&fleet, 2);
    connect_to(0);
    CHECK(info_number("transport", "peer_connections_ended_magic") >= 1);
    for (uint64_t by = now_ms() + WAIT_MS;
         !info_has("transport", "peer_connections_ended_closed") &&
         !info_has("transport", "peer_connections_ended_network");
         sleep_ms(10)) {
        CHECK(now_ms() < by);
    }
    ask("INFO");
    snprintf(text, sizeof text, "\n%.*s", (int)reply.text.size, reply.text.data);
    CHECK(strlen(text) == reply.text.size + 1);
    expect_distinct_keys(text);
    end();
}

int main(int argc, char **argv)
{
    (void)argc;
    if (find_program(argv[0])) {
        printf("skip: %s is not built\n", program);
        return check_done();
    }
    caller_init(&caller);
    RUN_BOTH(an_empty_server_is_added_under_load);
    RUN_BOTH(the_lead_is_handed_to_whom_is_named);
    RUN_BOTH(what_contradicts_the_membership_is_refused_at_once);
    RUN_BOTH(a_server_without_a_network_adds_nobody);
    RUN_BOTH(a_leader_is_removed_and_nothing_is_lost);
    RUN_BOTH(a_server_starts_from_its_checkpoint);
    RUN_BOTH(followers_answer_reads_that_are_linearizable);
    RUN_BOTH(reads_are_answered_under_a_lease);
    RUN_BOTH(info_says_each_key_once);
    end();
    caller_free(&caller);
    return check_done();
}
