/*
 * The active/standby example as real processes on loopback: one of three is active; where it dies,
 * is paused or comes back, every takeover has a token above all before, no token is ever held by
 * two, and one that was active once learns that its token is void.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "check.h"
#include "raftkv/ports.h"

enum { SERVERS = 3, PATIENCE_MS = 60000, TOKENS_MAX = 256 };

struct process {
    pid_t pid; /* 0: it does not run */
    int out;   /* what it says */
    char line[128];
    size_t size;              /* of a line that is not complete yet */
    unsigned long long token; /* 0: as far as it has said, it stands by */
    int voids;                /* how often it has said that its token is void */
};

static char program[512];
static char directory[256];
static char members[256];
static const char *protocol;                  /* the last argument; null: there is none */
static struct process processes[SERVERS + 1]; /* by id */
static unsigned long long tokens[TOKENS_MAX]; /* all that were announced, by anyone */
static size_t token_count;
static unsigned long long highest; /* of them */

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- Processes ---- */

/* In the child. Whatever ends the test ends it too. */
static void run(int id, int out, pid_t parent)
{
    char number[8], log[320];

#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (getppid() != parent) {
        _exit(1);
    }
    dup2(out, 1);
    snprintf(number, sizeof number, "%d", id);
    snprintf(log, sizeof log, "%s/%d", directory, id);
    execl(program, program, number, log, members, protocol, (char *)NULL);
    _exit(127);
}

static void start(int id)
{
    struct process *process = &processes[id];
    pid_t parent = getpid();
    int out[2];

    CHECK_EQ(process->pid, 0);
    CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
    process->pid = fork();
    if (process->pid == 0) {
        run(id, out[1], parent);
    }
    close(out[1]);
    CHECK(process->pid > 0);
    process->out = out[0];
    process->size = 0;
    process->token = 0;
    fcntl(process->out, F_SETFL, O_NONBLOCK);
}

static void stop(int id)
{
    struct process *process = &processes[id];

    if (process->pid > 0) {
        kill(process->pid, SIGKILL);
        waitpid(process->pid, NULL, 0);
        close(process->out);
        *process = (struct process){0};
    }
}

/* ---- What they say ---- */

/* No token is announced twice, by whomever. What different servers say may be read in any order. */
static void add_token(unsigned long long token)
{
    for (size_t i = 0; i < token_count; i++) {
        CHECK(tokens[i] != token);
    }
    CHECK(token_count < TOKENS_MAX);
    tokens[token_count++] = token;
    highest = token > highest ? token : highest;
}

static void hear(int id, const char *line)
{
    struct process *process = &processes[id];
    unsigned long long token;
    int who;

    if (sscanf(line, "server %d: active, token %llu", &who, &token) == 2) {
        CHECK_EQ(process->token, 0);
        process->token = token;
        add_token(token);
    } else if (sscanf(line, "server %d: token %llu is void", &who, &token) == 2) {
        CHECK_EQ(process->token, token);
        process->token = 0;
        process->voids++;
    } else {
        check_fail(line, __FILE__, __LINE__);
    }
    CHECK_EQ(who, id);
}

/* Reads what a process has said. Returns 0 where it has ended. */
static int listen_to(int id)
{
    struct process *process = &processes[id];
    char c;

    for (;;) {
        ssize_t count = read(process->out, &c, 1);

        if (count <= 0) {
            return count < 0 && (errno == EAGAIN || errno == EINTR);
        }
        if (c == '\n') {
            process->line[process->size] = '\0';
            process->size = 0;
            hear(id, process->line);
        } else if (process->size < sizeof process->line - 1) {
            process->line[process->size++] = c;
        }
    }
}

static void listen_to_all(void)
{
    for (int id = 1; id <= SERVERS; id++) {
        if (processes[id].pid) {
            CHECK(listen_to(id));
        }
    }
}

/* The server other than `not_this` that holds the highest token of all, or 0. */
static int active_but(int not_this)
{
    for (int id = 1; id <= SERVERS; id++) {
        if (id != not_this && processes[id].token && processes[id].token == highest) {
            return id;
        }
    }
    return 0;
}

static int await_active_but(int not_this)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    int active;

    while (listen_to_all(), (active = active_but(not_this)) == 0 && now_ms() < end_ms) {
        poll(NULL, 0, 5);
    }
    CHECK(active != 0);
    return active;
}

static void await_void(int id)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    int before = processes[id].voids;

    while (listen_to_all(), processes[id].voids == before && now_ms() < end_ms) {
        poll(NULL, 0, 5);
    }
    CHECK(processes[id].voids > before);
}

/* ---- Tests ---- */

static void end(void)
{
    char command[300];

    for (int id = 1; id <= SERVERS; id++) {
        stop(id);
    }
    if (directory[0]) {
        snprintf(command, sizeof command, "rm -rf '%s'", directory);
        CHECK_EQ(system(command), 0);
        directory[0] = '\0';
    }
}

static void make_directory(void)
{
    const char *parent = getenv("TMPDIR");

    end();
    snprintf(directory, sizeof directory, "%s/standby-XXXXXX", parent ? parent : "/tmp");
    CHECK(mkdtemp(directory) != NULL);
}

static void begin(void)
{
    size_t used = 0;

    make_directory();
    highest = 0;
    token_count = 0;
    for (int id = 1; id <= SERVERS; id++) {
        used += (size_t)snprintf(members + used, sizeof members - used, "%s%d=127.0.0.1:%u",
                                 id > 1 ? "," : "", id, ports_next());
    }
    for (int id = 1; id <= SERVERS; id++) {
        start(id);
    }
}

static void one_of_three_becomes_active(void)
{
    begin();
    CHECK(await_active_but(0) != 0);
}

static void another_takes_over_where_the_active_one_is_killed(void)
{
    int active;

    begin();
    active = await_active_but(0);
    for (int round = 0; round < 3; round++) {
        int next;

        stop(active);
        next = await_active_but(active);
        start(active);
        active = next;
    }
    CHECK(token_count >= 4);
}

/* Until it runs again it believes in its token; it learns, and is one of three again. */
static void one_that_was_paused_learns_that_its_token_is_void(void)
{
    int active, next;

    begin();
    active = await_active_but(0);
    kill(processes[active].pid, SIGSTOP);
    next = await_active_but(active);
    CHECK(processes[next].token > processes[active].token);
    kill(processes[active].pid, SIGCONT);
    await_void(active);
    stop(next);
    CHECK(await_active_but(next) != next);
}

/* All three die: the one that leads then has a token above those of before. */
static void tokens_rise_across_a_restart_of_all(void)
{
    unsigned long long before;

    begin();
    await_active_but(0);
    before = highest;
    for (int id = 1; id <= SERVERS; id++) {
        stop(id);
    }
    for (int id = 1; id <= SERVERS; id++) {
        start(id);
    }
    await_active_but(0);
    CHECK(highest > before);
}

static void one_alone_of_three_is_not_active(void)
{
    int active;

    begin();
    active = await_active_but(0);
    for (int id = 1; id <= SERVERS; id++) {
        if (id != active) {
            stop(id);
        }
    }
    await_void(active);
}

/* Runs it to its end, which it has to come to by itself. */
static int exit_status(const char *id, const char *path, const char *text)
{
    uint64_t end_ms = now_ms() + PATIENCE_MS;
    int status, nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    pid_t pid = fork();

    if (pid == 0) {
        dup2(nowhere, 1);
        dup2(nowhere, 2);
        execl(program, program, id, path, text, (char *)NULL);
        _exit(127);
    }
    close(nowhere);
    CHECK(pid > 0);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (now_ms() > end_ms) {
            kill(pid, SIGKILL);
        }
        poll(NULL, 0, 1);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_command_line_that_makes_no_sense_is_refused(void)
{
    static const char *const wrong[][2] = {{"0", "1=127.0.0.1:1"},
                                           {"x", "1=127.0.0.1:1"},
                                           {"2", "1=127.0.0.1:1"},
                                           {"1", ""},
                                           {"1", "1=127.0.0.1:1x"},
                                           {"1", "1=127.0.0.1:1,"},
                                           {"1", "1"},
                                           {"1", "1=,2=x"},
                                           {"1", "1=127.0.0.1:1,1=127.0.0.1:2"}};
    char path[300];

    make_directory();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(path, sizeof path, "%s/%zu", directory, i);
        CHECK_EQ(exit_status(wrong[i][0], path, wrong[i][1]), 1);
    }
}

/* The example lies beside the test. */
static int find_program(const char *self)
{
    const char *slash = strrchr(self, '/');

    snprintf(program, sizeof program, "%.*s/standby", slash ? (int)(slash - self) : 1,
             slash ? self : ".");
    return access(program, X_OK);
}

int main(int argc, char **argv)
{
    (void)argc;
    if (find_program(argv[0])) {
        printf("skip: %s is not built\n", program);
        return check_done();
    }
    RUN(one_of_three_becomes_active);
    RUN(another_takes_over_where_the_active_one_is_killed);
    RUN(one_that_was_paused_learns_that_its_token_is_void);
    RUN(tokens_rise_across_a_restart_of_all);
    RUN(one_alone_of_three_is_not_active);
    protocol = "multipaxos";
    check_run("another_takes_over_where_the_active_one_is_killed_in_multipaxos",
              another_takes_over_where_the_active_one_is_killed);
    check_run("tokens_rise_across_a_restart_of_all_in_multipaxos",
              tokens_rise_across_a_restart_of_all);
    protocol = NULL;
    RUN(a_command_line_that_makes_no_sense_is_refused);
    end();
    return check_done();
}
