/*
 * raftkv as its users meet it: real processes on loopback, real signals, real files.
 *
 * The program is $RAFTKV, or lies beside this one. Where it was not built there is nothing to test.
 */
#define _POSIX_C_SOURCE 200809L

#include "servers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- Starting and stopping ---- */

static void a_single_node_serves_at_once_and_stops_with_zero(void)
{
    begin(1, NULL);
    connect_to(0);
    expect_text("SET a 1", "OK");
    expect_text("GET a", "1");
    CHECK_EQ(fleet_stop(&fleet, 0, WAIT_MS), 0);
    end();
}

static void what_was_acknowledged_survives_sigkill(void)
{
    begin(1, NULL);
    connect_to(0);
    for (int i = 0; i < 50; i++) {
        expect_integer("INCR n", i + 1);
    }
    fleet_kill(&fleet, 0);
    start(0);
    connect_to_leader();
    expect_text("GET n", "50");
    end();
}

static void a_command_line_that_makes_no_sense_exits_with_two(void)
{
    expect_refusal(2, "usage: raftkv", "--nonsense", NULL);
    expect_refusal(2, "--dir is missing", "--id", "1", NULL);
    expect_refusal(2, "not supported by this version", "--id", "1", "--dir", "d", "--shards", "2",
                   NULL);
}

static void a_second_process_on_a_directory_is_refused(void)
{
    char directory[320];

    begin(1, NULL);
    directory_of(0, directory);
    expect_refusal(1, "another process", "--id", "1", "--dir", directory, "--listen", "127.0.0.1:0",
                   NULL);
    connect_to(0);
    expect_text("SET still served", "OK");
    end();
}

static void a_directory_of_another_server_or_cluster_is_refused(void)
{
    char directory[320];

    begin(1, NULL);
    directory_of(0, directory);
    CHECK_EQ(fleet_stop(&fleet, 0, WAIT_MS), 0);
    expect_refusal(1, directory, "--id", "2", "--dir", directory, "--listen", "127.0.0.1:0", NULL);
    expect_refusal(1, directory, "--id", "1", "--dir", directory, "--listen", "127.0.0.1:0",
                   "--cluster", "other", NULL);
    start(0);
    end();
}

static void a_port_in_use_is_refused(void)
{
    char directory[320], listen[64];

    begin(1, NULL);
    snprintf(directory, sizeof directory, "%s/other", fleet.directory);
    snprintf(listen, sizeof listen, "127.0.0.1:%u", fleet.nodes[0].port);
    expect_refusal(1, listen, "--id", "1", "--dir", directory, "--listen", listen, NULL);
    end();
}

static void shutdown_is_a_graceful_stop(void)
{
    int status;

    begin(1, NULL);
    connect_to(0);
    expect_text("SET a 1", "OK");
    expect_error("SHUTDOWN WHENEVER", "ERR");
    CHECK_EQ(caller_ask(&caller, "SHUTDOWN", &reply, WAIT_MS), -1);
    CHECK_EQ(waitpid(fleet.nodes[0].pid, &status, 0), fleet.nodes[0].pid);
    fleet.nodes[0].pid = 0;
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    end();
}

/* ---- The log on disk ---- */

/* The path of the file in a directory that a function of its size prefers: the largest. */
static void find_log(const char *directory, char out[700])
{
    DIR *list = opendir(directory);
    struct dirent *entry;
    off_t largest = -1;

    CHECK(list != NULL);
    while ((entry = readdir(list)) != NULL) {
        char path[700];
        struct stat about;

        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (!stat(path, &about) && S_ISREG(about.st_mode) && about.st_size > largest) {
            largest = about.st_size;
            memcpy(out, path, sizeof path);
        }
    }
    closedir(list);
    CHECK(largest > 0);
}

/* Where a text lies in a file, the first time; the file is at most a few megabytes of content. */
static off_t find_in_file(int fd, const char *text)
{
    static char block[1 << 20];
    size_t length = strlen(text);
    ssize_t size = pread(fd, block, sizeof block, 0);

    for (ssize_t at = 0; at + (ssize_t)length <= size; at++) {
        if (!memcmp(block + at, text, length)) {
            return at;
        }
    }
    return -1;
}

static void damage_in_the_middle_of_the_log_is_refused_with_its_place(void)
{
    char directory[320], path[700];
    off_t at;
    int fd;

    begin(1, NULL);
    connect_to(0);
    expect_text("SET first precious-content", "OK");
    for (int i = 0; i < 100; i++) {
        expect_text("SET k later-content", "OK");
    }
    CHECK_EQ(fleet_stop(&fleet, 0, WAIT_MS), 0);
    directory_of(0, directory);
    find_log(directory, path);
    fd = open(path, O_RDWR);
    CHECK(fd >= 0);
    at = find_in_file(fd, "precious-content");
    CHECK(at > 0);
    CHECK_EQ(pwrite(fd, "X", 1, at), 1);
    close(fd);
    expect_refusal(1, "at offset", "--id", "1", "--dir", directory, "--listen", "127.0.0.1:0",
                   NULL);
    expect_refusal(1, strrchr(path, '/') + 1, "--id", "1", "--dir", directory, "--listen",
                   "127.0.0.1:0", NULL);
    end();
}

/* ---- Passwords ---- */

static void make_file(const char *name, const char *content, mode_t mode, char path[320])
{
    int fd;

    snprintf(path, 320, "%s/%s", fleet.directory, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    fchmod(fd, mode);
    close(fd);
}

static void a_password_is_asked_for_before_anything_else(void)
{
    static const char *flags[3] = {"--requirepass-file"};
    char path[320];

    fleet_remove(&fleet);
    CHECK_EQ(fleet_make(&fleet, program, 1), 0);
    make_file("password", "open sesame\n", 0600, path);
    flags[1] = path;
    fleet.flags = flags;
    start(0);
    connect_to(0);
    expect_error("GET a", "NOAUTH");
    expect_error("RAFT.STATE", "NOAUTH");
    expect_error("SHUTDOWN", "NOAUTH");
    expect_error("NONSENSE", "NOAUTH");
    expect_error("AUTH wrong", "WRONGPASS");
    expect_error("GET a", "NOAUTH");
    {
        struct slice args[2] = {slice_of("AUTH"), slice_of("open sesame")};

        caller_add(&caller, args, 2);
        CHECK_EQ(caller_send(&caller, WAIT_MS), 0);
        CHECK_EQ(caller_receive(&caller, &reply, WAIT_MS), 0);
        CHECK_EQ(reply.kind, REPLY_STATUS);
    }
    expect_text("SET a 1", "OK");
    ask("RAFT.STATE");
    CHECK_EQ(reply.kind, REPLY_BULK);
    end();
}

static void a_password_file_that_others_can_read_is_refused(void)
{
    char directory[320], path[320];

    fleet_remove(&fleet);
    CHECK_EQ(fleet_make(&fleet, program, 1), 0);
    make_file("password", "open sesame\n", 0644, path);
    directory_of(0, directory);
    expect_refusal(1, "others", "--id", "1", "--dir", directory, "--listen", "127.0.0.1:0",
                   "--requirepass-file", path, NULL);
    end();
}

/* ---- Secrets ---- */

static int log_says(int node, const char *words)
{
    char text[8192];

    fleet_log_tail(&fleet, node, text, sizeof text);
    return strstr(text, words) != NULL;
}

static void await_in_log(int node, const char *words)
{
    for (uint64_t deadline = now_ms() + WAIT_MS; now_ms() < deadline; sleep_ms(10)) {
        if (log_says(node, words)) {
            return;
        }
    }
    CHECK(log_says(node, words));
}

static void a_server_with_another_secret_is_refused_and_both_sides_say_so(void)
{
    static const char *flags[7] = {QUICK, "--secret-file"};
    char ours[320], theirs[320];

    fleet_remove(&fleet);
    CHECK_EQ(fleet_make(&fleet, program, 3), 0);
    make_file("ours", "what the three of them share\n", 0600, ours);
    make_file("theirs", "what nobody else has heard of\n", 0600, theirs);
    fleet.flags = flags;
    flags[5] = ours;
    start(0);
    start(1);
    connect_to_leader();
    flags[5] = theirs;
    start(2);
    await_in_log(0, "the other side has another secret");
    await_in_log(2, "the other side has another secret");
    connect_to(2);
    CHECK(info_has("raft", "leader_id:0\r\nleader_addr:\r\n"));
    expect_error("GET leader", "CLUSTERDOWN");
    CHECK_EQ(fleet_stop(&fleet, 2, WAIT_MS), 0);
    flags[5] = ours;
    start(2);
    connect_to_leader();
    expect_text("SET a 1", "OK");
    expect_integer("WAIT 2 15000", 2);
    CHECK(info_has("replication", "connected_slaves:2\r\n"));
    end();
}

static void a_secret_file_that_others_can_read_or_that_is_short_is_refused(void)
{
    char directory[320], path[320];

    fleet_remove(&fleet);
    CHECK_EQ(fleet_make(&fleet, program, 1), 0);
    directory_of(0, directory);
    make_file("open", "what the three of them share\n", 0640, path);
    expect_refusal(1, "others", "--id", "1", "--dir", directory, "--listen", "127.0.0.1:0",
                   "--peer-listen", "127.0.0.1:0", "--secret-file", path, NULL);
    make_file("short", "short\n", 0600, path);
    expect_refusal(1, "not a file of", "--id", "1", "--dir", directory, "--listen", "127.0.0.1:0",
                   "--peer-listen", "127.0.0.1:0", "--secret-file", path, NULL);
    expect_refusal(1, "No such file", "--id", "1", "--dir", directory, "--listen", "127.0.0.1:0",
                   "--peer-listen", "127.0.0.1:0", "--secret-file", "/nowhere/secret", NULL);
    end();
}

/* ---- One connection ---- */

static void add(const char *words)
{
    struct slice args[8];
    size_t count = 0;

    while (*words) {
        size_t size = strcspn(words, " ");

        args[count++] = (struct slice){words, size};
        words += size + (words[size] == ' ');
    }
    caller_add(&caller, args, count);
}

static void expect_next(const char *text)
{
    char actual[256];

    CHECK_EQ(caller_receive(&caller, &reply, WAIT_MS), 0);
    snprintf(actual, sizeof actual, "%.*s", (int)reply.text.size, reply.text.data);
    CHECK_STR(reply.kind == REPLY_NULL ? "nothing" : actual, text);
}

static void a_pipeline_is_executed_in_its_order(void)
{
    begin(1, NULL);
    connect_to(0);
    for (int round = 0; round < 50; round++) {
        add("DEL k");
        add("GET k");
        add("SET k 1");
        add("GET k");
        add("PING");
        add("INCR k");
        add("NONSENSE");
        add("GET k");
        add("APPEND k x");
        add("STRLEN k");
        add("CLIENT GETNAME");
        add("SET k last");
        add("GET k");
        CHECK_EQ(caller_send(&caller, WAIT_MS), 0);
        CHECK_EQ(caller_receive(&caller, &reply, WAIT_MS), 0);
        expect_next("nothing");
        expect_next("OK");
        expect_next("1");
        expect_next("PONG");
        expect_next("2");
        CHECK_EQ(caller_receive(&caller, &reply, WAIT_MS), 0);
        CHECK(reply_is_error(&reply, "ERR"));
        expect_next("2");
        expect_next("2");
        expect_next("2");
        expect_next("");
        expect_next("OK");
        expect_next("last");
    }
    end();
}

static void a_deep_pipeline_is_answered_whole(void)
{
    enum { DEPTH = 40000 };

    begin(1, NULL);
    connect_to(0);
    for (int i = 0; i < DEPTH; i++) {
        add(i % 3 ? "INCR n" : "GET n");
    }
    CHECK_EQ(caller_send(&caller, WAIT_MS), 0);
    for (int i = 0, n = 0; i < DEPTH; i++) {
        CHECK_EQ(caller_receive(&caller, &reply, WAIT_MS), 0);
        if (i % 3) {
            n++;
            CHECK_EQ(reply.kind, REPLY_INTEGER);
            CHECK_EQ(reply.integer, n);
        } else if (n > 0) {
            CHECK_EQ(strtoll(reply.text.data, NULL, 10), n);
        }
    }
    end();
}

static void large_values_pass_and_too_large_ones_are_refused(void)
{
    size_t size = (size_t)12 << 20;
    char *value = malloc(size + 1);
    struct slice args[3] = {slice_of("SET"), slice_of("big"), {value, size}};

    CHECK(value != NULL);
    memset(value, 'v', size);
    value[size] = '\0';
    begin(1, NULL);
    connect_to(0);
    caller_add(&caller, args, 3);
    CHECK_EQ(caller_send(&caller, WAIT_MS), 0);
    expect_next("OK");
    expect_integer("STRLEN big", (int64_t)size);
    ask("GET big");
    CHECK(slice_equal(reply.text, args[2]));
    free(value);
    expect_error("SETRANGE big 600000000 x", "ERR");
    expect_text("PING", "PONG");
    end();
}

/* Sends raw bytes on a fresh connection; returns the answer up to the end of the connection. */
static size_t talk(const char *bytes, size_t size, char *answer, size_t answer_size)
{
    size_t used = 0;
    ssize_t count;

    connect_to(0);
    fcntl(caller.fd, F_SETFL, 0);
    CHECK_EQ(write(caller.fd, bytes, size), (ssize_t)size);
    while (used < answer_size - 1 &&
           (count = read(caller.fd, answer + used, answer_size - 1 - used)) > 0) {
        used += (size_t)count;
    }
    answer[used] = '\0';
    caller_close(&caller);
    return used;
}

static void what_is_no_request_is_answered_once_and_cut_off(void)
{
    char answer[512];

    begin(1, NULL);
    CHECK(talk("PING\r\n*1\r\n$-5\r\n", 15, answer, sizeof answer) > 0);
    CHECK(!strncmp(answer, "+PONG\r\n-ERR Protocol error", 25));
    CHECK_EQ(talk("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27, answer, sizeof answer), 0);
    CHECK_EQ(talk("POST / HTTP/1.1\r\nHost: x\r\n\r\n", 28, answer, sizeof answer), 0);
    connect_to(0);
    expect_text("PING", "PONG");
    end();
}

static void a_client_that_closes_its_side_still_gets_its_answers(void)
{
    char answer[256];
    size_t used = 0;
    ssize_t count;
    static const char requests[] = "SET a 1\r\nINCR a\r\nGET a\r\nQUIT\r\n";

    begin(1, NULL);
    connect_to(0);
    fcntl(caller.fd, F_SETFL, 0);
    CHECK_EQ(write(caller.fd, requests, sizeof requests - 1), (ssize_t)sizeof requests - 1);
    CHECK_EQ(shutdown(caller.fd, SHUT_WR), 0);
    while ((count = read(caller.fd, answer + used, sizeof answer - 1 - used)) > 0) {
        used += (size_t)count;
    }
    answer[used] = '\0';
    CHECK_STR(answer, "+OK\r\n:2\r\n$1\r\n2\r\n+OK\r\n");
    end();
}

static void commands_about_the_connection_work(void)
{
    begin(1, NULL);
    connect_to(0);
    expect_error("HELLO 3", "NOPROTO");
    expect_error("AUTH x", "ERR");
    expect_text("CLIENT SETNAME me", "OK");
    expect_text("CLIENT GETNAME", "me");
    expect_error("CLIENT KILLALL", "ERR");
    expect_integer("CLUSTER KEYSLOT foo", 12182);
    expect_text("READONLY", "OK");
    expect_text("READWRITE", "OK");
    expect_integer("WAIT 0 0", 0);
    expect_error("WAIT 0 -1", "ERR");
    CHECK(info_has("raft", "role:leader\r\n"));
    CHECK(info_has("replication", "role:master\r\n"));
    end();
}

/* ---- Three nodes ---- */

static void any_node_knows_the_way_to_the_leader(void)
{
    int leader;
    char moved[64];

    begin(3, quick);
    leader = connect_to_leader();
    snprintf(moved, sizeof moved, "MOVED 12182 127.0.0.1:%u", fleet.nodes[leader].port);
    for (int i = 0; i < 3; i++) {
        uint64_t deadline = now_ms() + WAIT_MS;

        if (i == leader) {
            continue;
        }
        connect_to(i);
        do {
            ask("SET foo bar");
        } while (reply_is_error(&reply, "CLUSTERDOWN") && now_ms() < deadline);
        expect_text("SET foo bar", moved);
        expect_text("GET foo", moved);
        ask("DBSIZE");
        CHECK(!strncmp(reply.text.data, "MOVED 0 ", 8));
        CHECK(info_has("replication", "role:slave\r\n"));
        expect_error("WAIT 1 0", "ERR");
    }
    end();
}

static void wait_counts_the_replicas_that_have_a_write(void)
{
    begin(3, quick);
    connect_to_leader();
    expect_text("SET a 1", "OK");
    expect_integer("WAIT 2 5000", 2);
    end();
}

static void without_a_quorum_a_write_is_unknown_and_then_refused(void)
{
    int leader;

    begin(3, quick);
    leader = connect_to_leader();
    for (int i = 0; i < 3; i++) {
        if (i != leader) {
            fleet_kill(&fleet, i);
        }
    }
    expect_error("SET lost maybe", "UNKNOWN");
    expect_error("SET not executed", "CLUSTERDOWN");
    expect_error("GET not", "CLUSTERDOWN");
    CHECK(info_has("raft", "leader_id:0\r\n"));
    end();
}

/* V15: the paused leader still believes that it leads when it goes on. */
static void a_leader_that_was_paused_serves_no_stale_read(void)
{
    struct caller old;
    struct reply answer;
    int leader;

    caller_init(&old);
    begin(3, quick);
    leader = connect_to_leader();
    expect_text("SET k old", "OK");
    CHECK_EQ(caller_connect(&old, fleet.nodes[leader].port, WAIT_MS), 0);
    fleet_pause(&fleet, leader);
    caller_close(&caller);
    connect_to_leader();
    expect_text("SET k new", "OK");
    {
        struct slice args[2] = {slice_of("GET"), slice_of("k")};

        caller_add(&old, args, 2);
    }
    CHECK_EQ(caller_send(&old, WAIT_MS), 0);
    fleet_resume(&fleet, leader);
    CHECK_EQ(caller_receive(&old, &answer, WAIT_MS), 0);
    CHECK(answer.kind == REPLY_ERROR || slice_equal(answer.text, slice_of("new")));
    caller_free(&old);
    end();
}

static void a_killed_leader_is_replaced_and_nothing_is_lost(void)
{
    int leader;

    begin(3, quick);
    leader = connect_to_leader();
    for (int i = 0; i < 100; i++) {
        expect_integer("INCR n", i + 1);
    }
    fleet_kill(&fleet, leader);
    connect_to_leader();
    expect_integer("INCR n", 101);
    start(leader);
    for (int i = 0; i < 3; i++) {
        fleet_kill(&fleet, i);
    }
    for (int i = 0; i < 3; i++) {
        start(i);
    }
    connect_to_leader();
    expect_text("GET n", "101");
    end();
}

static void the_membership_on_disk_governs_over_the_command_line(void)
{
    char other[sizeof fleet.peers];

    begin(3, quick);
    connect_to_leader();
    expect_text("SET a 1", "OK");
    CHECK_EQ(fleet_stop(&fleet, 2, WAIT_MS), 0);
    snprintf(other, sizeof other, "%s", fleet.peers);
    snprintf(fleet.peers, sizeof fleet.peers, "3=127.0.0.1:1/127.0.0.1:2");
    start(2);
    connect_to(2);
    for (uint64_t deadline = now_ms() + WAIT_MS; now_ms() < deadline;) {
        if (info_has("raft", "\r\nvoters:3\r\n") && !info_has("raft", "\r\nleader_id:0\r\n")) {
            break;
        }
        sleep_ms(10);
    }
    CHECK(info_has("raft", "\r\nvoters:3\r\n"));
    CHECK(!info_has("raft", "\r\nleader_id:0\r\n"));
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
    RUN(a_single_node_serves_at_once_and_stops_with_zero);
    RUN_BOTH(what_was_acknowledged_survives_sigkill);
    RUN(a_command_line_that_makes_no_sense_exits_with_two);
    RUN(a_second_process_on_a_directory_is_refused);
    RUN(a_directory_of_another_server_or_cluster_is_refused);
    RUN(a_port_in_use_is_refused);
    RUN_BOTH(shutdown_is_a_graceful_stop);
    RUN(damage_in_the_middle_of_the_log_is_refused_with_its_place);
    RUN(a_password_is_asked_for_before_anything_else);
    RUN(a_password_file_that_others_can_read_is_refused);
    RUN(a_server_with_another_secret_is_refused_and_both_sides_say_so);
    RUN(a_secret_file_that_others_can_read_or_that_is_short_is_refused);
    RUN_BOTH(a_pipeline_is_executed_in_its_order);
    RUN(a_deep_pipeline_is_answered_whole);
    RUN(large_values_pass_and_too_large_ones_are_refused);
    RUN(what_is_no_request_is_answered_once_and_cut_off);
    RUN(a_client_that_closes_its_side_still_gets_its_answers);
    RUN(commands_about_the_connection_work);
    RUN_BOTH(any_node_knows_the_way_to_the_leader);
    RUN_BOTH(wait_counts_the_replicas_that_have_a_write);
    RUN_BOTH(without_a_quorum_a_write_is_unknown_and_then_refused);
    RUN_BOTH(a_leader_that_was_paused_serves_no_stale_read);
    RUN_BOTH(a_killed_leader_is_replaced_and_nothing_is_lost);
    RUN_BOTH(the_membership_on_disk_governs_over_the_command_line);
    end();
    caller_free(&caller);
    fleet_remove(&fleet);
    return check_done();
}
