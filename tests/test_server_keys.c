/*
 * Expiry and transactions in real servers: what the log's clock does where nobody writes, what a
 * pipeline of them is answered, and what becomes of them where no leader is.
 *
 * The program is $RAFTKV, or lies beside this one. Where it was not built there is nothing to test.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "cluster.h"
#include "raftkv/launch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 15000, CONNECTIONS = 2 };

static char program[512];
static struct fleet fleet;
static int sockets[CONNECTIONS] = {-1, -1};

/* Patient, since a busy machine should not depose the leader that a test talks to. */
static const char *const patient[] = {"--election-ms", "500", "--heartbeat-ms", "50", NULL};

/* ---- Running ---- */

static void hang_up(int connection)
{
    if (sockets[connection] >= 0) {
        close(sockets[connection]);
    }
    sockets[connection] = -1;
}

static void end(void)
{
    for (int i = 0; i < CONNECTIONS; i++) {
        hang_up(i);
    }
    fleet_remove(&fleet);
}

static void begin(int size)
{
    end();
    CHECK_EQ(fleet_make(&fleet, program, size), 0);
    fleet.flags = patient;
    fleet.protocol = cluster_protocol == RAFT_PROTOCOL_MULTIPAXOS ? "multipaxos" : NULL;
    for (int i = 0; i < size; i++) {
        CHECK_EQ(fleet_start(&fleet, i, WAIT_MS), 0);
    }
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&pause, NULL);
}

/* ---- Talking: bytes out, bytes in ---- */

static void call_up(int connection, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    hang_up(connection);
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockets[connection] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(sockets[connection] >= 0);
    CHECK_EQ(connect(sockets[connection], (struct sockaddr *)&address, sizeof address), 0);
}

static void tell(int connection, const char *lines)
{
    size_t size = strlen(lines);

    CHECK_EQ(write(sockets[connection], lines, size), size);
}

/* Reads up to `size` bytes, fewer only where nothing comes any more. */
static size_t hear(int connection, char *out, size_t size)
{
    struct pollfd waiting = {sockets[connection], POLLIN, 0};
    size_t used = 0;

    while (used < size && poll(&waiting, 1, WAIT_MS) == 1) {
        ssize_t count = read(sockets[connection], out + used, size - used);
        if (count <= 0) {
            break;
        }
        used += (size_t)count;
    }
    out[used] = '\0';
    return used;
}

static void expect(int connection, const char *lines, const char *answers)
{
    char heard[2048];

    tell(connection, lines);
    hear(connection, heard, strlen(answers));
    CHECK_STR(heard, answers);
}

/* One line of an answer, without its end. */
static void hear_line(int connection, char *out, size_t size)
{
    size_t used = 0;

    while (used + 1 < size && hear(connection, out + used, 1) == 1 && out[used] != '\n') {
        used++;
    }
    out[used > 0 && out[used - 1] == '\r' ? used - 1 : used] = '\0';
}

/* Connects to whoever leads; returns its place in the fleet. */
static int call_leader(int connection)
{
    uint64_t deadline = now_ms() + WAIT_MS;
    char line[256];

    for (int i = 0; now_ms() < deadline; i = (i + 1) % fleet.size) {
        if (fleet.nodes[i].pid > 0 && !fleet.nodes[i].is_paused) {
            call_up(connection, fleet.nodes[i].port);
            tell(connection, "GET no-such-key\r\n");
            hear_line(connection, line, sizeof line);
            if (strcmp(line, "$-1") == 0) {
                return i;
            }
            hang_up(connection);
            sleep_ms(20);
        }
    }
    CHECK(0); /* nobody was elected in time */
    return -1;
}

/* ---- Expiry ---- */

/* Asks until the answer is this one. */
static void expect_soon(int connection, const char *line, const char *answer)
{
    uint64_t deadline = now_ms() + WAIT_MS;
    char heard[256];

    do {
        tell(connection, line);
        hear_line(connection, heard, sizeof heard);
        if (strcmp(heard, answer) == 0) {
            return;
        }
        sleep_ms(20);
    } while (now_ms() < deadline);
    CHECK_STR(heard, answer);
}

static void keys_expire_where_nobody_writes(void)
{
    begin(1);
    call_leader(0);
    expect(0, "SET k v PX 200\r\nSET stays v\r\nGET k\r\n", "+OK\r\n+OK\r\n$1\r\nv\r\n");
    expect_soon(0, "EXISTS k\r\n", ":0");
    expect_soon(0, "DBSIZE\r\n", ":1"); /* it is removed, not only hidden */
    expect(0, "TTL k\r\nTTL stays\r\n", ":-2\r\n:-1\r\n");
    end();
}

/* What is gone stays gone, and what has time left keeps it, across a restart. */
static void the_log_remembers_what_time_it_was(void)
{
    begin(1);
    call_leader(0);
    expect(0, "SET k v PX 100\r\nSET l v PXAT 33177117420000\r\n", "+OK\r\n+OK\r\n");
    expect_soon(0, "EXISTS k\r\n", ":0");
    fleet_kill(&fleet, 0);
    CHECK_EQ(fleet_start(&fleet, 0, WAIT_MS), 0);
    call_leader(0);
    expect(0, "EXISTS k\r\nPEXPIRETIME l\r\n", ":0\r\n:33177117420000\r\n");
    end();
}

static void keys_expire_on_every_replica_by_the_leaders_clock(void)
{
    char line[64];

    begin(3);
    call_leader(0);
    for (int i = 0; i < 2000; i++) { /* more than one tick removes */
        snprintf(line, sizeof line, "SET key:%d v PX 300\r\n", i);
        tell(0, line);
    }
    for (int i = 0; i < 2000; i++) {
        hear_line(0, line, sizeof line);
        CHECK_STR(line, "+OK");
    }
    expect_soon(0, "DBSIZE\r\n", ":0");
    end();
}

/* ---- Transactions ---- */

static void a_pipelined_transaction_is_answered_in_order(void)
{
    begin(1);
    call_leader(0);
    expect(0, "SET a 1\r\nMULTI\r\nINCR a\r\nGET a\r\nEXEC\r\nGET a\r\nMULTI\r\nEXEC\r\nINCR a\r\n",
           "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:2\r\n$1\r\n2\r\n$1\r\n2\r\n+OK\r\n*0\r\n"
           ":3\r\n");
    expect(0, "WATCH a\r\nGET a\r\nMULTI\r\nSET a 9\r\nEXEC\r\nGET a\r\n",
           "+OK\r\n$1\r\n3\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n$1\r\n9\r\n");
    expect(0, "SET a 1\r\nWATCH a\r\nSET a 2\r\nMULTI\r\nSET a 3\r\nEXEC\r\nGET a\r\n",
           "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n$1\r\n2\r\n");
    expect(0, "MULTI\r\nINFO\r\n", "+OK\r\n-ERR Command not allowed inside a transaction\r\n");
    expect(0, "EXEC\r\nEXEC\r\n",
           "-EXECABORT Transaction discarded because of previous errors.\r\n"
           "-ERR EXEC without MULTI\r\n");
    expect(0, "MULTI\r\nSET z 1\r\nQUIT\r\n", "+OK\r\n+QUEUED\r\n+OK\r\n");
    call_leader(0);
    expect(0, "EXISTS z\r\n", ":0\r\n");
    end();
}

static void a_transaction_fails_where_another_client_was_faster(void)
{
    begin(1);
    call_leader(0);
    call_leader(1);
    expect(0, "SET k 1\r\nWATCH k\r\nMULTI\r\nINCR k\r\n", "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n");
    expect(1, "INCR k\r\n", ":2\r\n");
    expect(0, "EXEC\r\nGET k\r\n", "*-1\r\n$1\r\n2\r\n");
    end();
}

/* As in Redis Cluster: MULTI is taken, a command for elsewhere is redirected and spoils it. */
static void a_follower_redirects_what_is_queued(void)
{
    char moved[128];
    int leader;

    begin(3);
    leader = call_leader(0);
    snprintf(moved, sizeof moved,
             "+OK\r\n-MOVED 12182 127.0.0.1:%u\r\n"
             "-EXECABORT Transaction discarded because of previous errors.\r\n",
             fleet.nodes[leader].port);
    for (int i = 0; i < 3; i++) {
        if (i != leader) {
            uint64_t deadline = now_ms() + WAIT_MS;
            char heard[256];

            do { /* until it knows the leader */
                call_up(1, fleet.nodes[i].port);
                tell(1, "MULTI\r\nSET foo 1\r\nEXEC\r\n");
                hear(1, heard, strlen(moved));
            } while (strcmp(heard, moved) != 0 && now_ms() < deadline);
            CHECK_STR(heard, moved);
        }
    }
    expect(0, "EXISTS foo\r\n", ":0\r\n");
    end();
}

/* Asks a server that is to give way until it knows who has taken over. */
static void expect_moved_soon(int connection, unsigned port, char moved[64])
{
    uint64_t deadline = now_ms() + WAIT_MS;

    do {
        call_up(connection, port);
        tell(connection, "GET foo\r\n");
        hear_line(connection, moved, 64);
    } while (strncmp(moved, "-MOVED 12182 ", 13) != 0 && now_ms() < deadline);
    CHECK(strncmp(moved, "-MOVED 12182 ", 13) == 0);
}

/* Queued while it led, and at EXEC it does not: not executed, and the way is told. */
static void exec_is_redirected_by_a_leader_that_was_deposed(void)
{
    char moved[64];
    char line[64];
    int leader;

    begin(3);
    leader = call_leader(0);
    expect(0, "WATCH bar\r\nMULTI\r\nSET foo 1\r\nSET bar 1\r\n",
           "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    fleet_pause(&fleet, leader);
    call_leader(1);
    fleet_resume(&fleet, leader);
    expect_moved_soon(1, fleet.nodes[leader].port, moved);
    tell(0, "EXEC\r\n");
    hear_line(0, line, sizeof line);
    CHECK(strncmp(line, "-MOVED 12182 ", 13) == 0);
    expect(0, "EXEC\r\n", "-ERR EXEC without MULTI\r\n");
    call_leader(0);
    expect(0, "EXISTS foo bar\r\n", ":0\r\n");
    end();
}

/* The versions that a new leader compares are those of the old one. */
static void transactions_go_on_under_a_new_leader(void)
{
    int leader;

    begin(3);
    leader = call_leader(0);
    expect(0, "SET k 1\r\nSET l 1\r\n", "+OK\r\n+OK\r\n");
    fleet_kill(&fleet, leader);
    call_leader(0);
    call_leader(1);
    expect(0, "WATCH k\r\nMULTI\r\nINCR k\r\nEXEC\r\n", "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:2\r\n");
    expect(0, "WATCH k\r\nMULTI\r\nINCR k\r\n", "+OK\r\n+OK\r\n+QUEUED\r\n");
    expect(1, "SET l 2\r\n", "+OK\r\n");
    expect(0, "EXEC\r\n", "*1\r\n:3\r\n");
    end();
}

/* The server lies beside the test, unless $RAFTKV names another. */
static int find_program(const char *self)
{
    const char *named = getenv("RAFTKV");
    const char *slash = strrchr(self, '/');

    if (named != NULL) {
        snprintf(program, sizeof program, "%s", named);
    } else {
        snprintf(program, sizeof program, "%.*s/raftkv", slash != NULL ? (int)(slash - self) : 1,
                 slash != NULL ? self : ".");
    }
    return access(program, X_OK);
}

/* Looks at the number that is counted, watching it. Returns 0 where the server refuses. */
static int look(int connection, unsigned long *seen)
{
    char line[128];

    tell(connection, "WATCH n\r\nGET n\r\n");
    hear_line(connection, line, sizeof line);
    if (strcmp(line, "+OK") != 0) {
        return 0;
    }
    hear_line(connection, line, sizeof line);
    if (line[0] != '$') {
        return 0;
    }
    hear_line(connection, line, sizeof line);
    *seen = strtoul(line, NULL, 10);
    return 1;
}

enum fate { FATE_DONE, FATE_NOT_DONE, FATE_UNKNOWN };

/* What became of MULTI, SET, EXEC, which were sent. */
static enum fate hear_fate(int connection)
{
    char line[128];

    hear_line(connection, line, sizeof line); /* of MULTI */
    hear_line(connection, line, sizeof line); /* of SET */
    hear_line(connection, line, sizeof line);
    if (strcmp(line, "*1") == 0) {
        hear_line(connection, line, sizeof line);
        return FATE_DONE;
    }
    return strcmp(line, "*-1") == 0 || strncmp(line, "-EXECABORT", 10) == 0 ||
                   strncmp(line, "-MOVED", 6) == 0 || strncmp(line, "-CLUSTERDOWN", 12) == 0
               ? FATE_NOT_DONE
               : FATE_UNKNOWN;
}

/* Adds one to a number, as two clients at the same time. Counts what became of it. */
static void count_once(unsigned long fates[3])
{
    unsigned long seen[CONNECTIONS];
    char request[128];

    for (int i = 0; i < CONNECTIONS; i++) { /* both look, then both write */
        if (!look(i, &seen[i])) {
            call_leader(0);
            call_leader(1);
            return;
        }
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        snprintf(request, sizeof request, "MULTI\r\nSET n %lu\r\nEXEC\r\n", seen[i] + 1);
        tell(i, request);
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        fates[hear_fate(i)]++;
    }
}

static void counting_by_watch_loses_nothing(void)
{
    enum { ROUNDS = 120 };
    unsigned long fates[3] = {0, 0, 0};
    unsigned long counted = 0;

    begin(3);
    call_leader(0);
    call_leader(1);
    expect(0, "SET n 0\r\n", "+OK\r\n");
    for (int round = 0; round < ROUNDS; round++) {
        if (round == ROUNDS / 2) {
            fleet_kill(&fleet, call_leader(0));
            call_leader(0);
            call_leader(1);
        }
        count_once(fates);
    }
    call_leader(0);
    CHECK(look(0, &counted));
    CHECK(counted >= fates[FATE_DONE]);
    CHECK(counted <= fates[FATE_DONE] + fates[FATE_UNKNOWN]);
    CHECK(fates[FATE_DONE] > ROUNDS / 4);
    CHECK(fates[FATE_NOT_DONE] + fates[FATE_UNKNOWN] >= fates[FATE_DONE]); /* one of two at most */
    end();
}

int main(int argc, char **argv)
{
    (void)argc;
    signal(SIGPIPE, SIG_IGN);
    if (find_program(argv[0]) != 0) {
        printf("skip: %s is not built\n", program);
        return check_done();
    }
    RUN_BOTH(keys_expire_where_nobody_writes);
    RUN_BOTH(the_log_remembers_what_time_it_was);
    RUN_BOTH(keys_expire_on_every_replica_by_the_leaders_clock);
    RUN_BOTH(a_pipelined_transaction_is_answered_in_order);
    RUN_BOTH(a_transaction_fails_where_another_client_was_faster);
    RUN_BOTH(a_follower_redirects_what_is_queued);
    RUN_BOTH(exec_is_redirected_by_a_leader_that_was_deposed);
    RUN_BOTH(transactions_go_on_under_a_new_leader);
    RUN_BOTH(counting_by_watch_loses_nothing);
    end();
    return check_done();
}
