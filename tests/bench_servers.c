/*
 * Processes of the end-to-end benchmark. One cluster at a time, known to this file so that it can
 * be removed when the program ends early.
 */
#define _XOPEN_SOURCE 700

#include "bench_servers.h"
#include "address.h"
#include "bench.h"
#include "io.h"
#include "raftkv/ports.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READY_MS = 20000, LEADER_MS = 20000, SYNCS = 201 };

static struct servers *running; /* what has to go when the program ends */
static volatile sig_atomic_t stop_asked;

/* ---- The end --------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void clean_up(void)
{
    if (running) {
        servers_end(running);
    }
}

static void ask_stop(int signal)
{
    (void)signal;
    stop_asked = 1;
}

void servers_check_signal(void)
{
    if (stop_asked) {
        bench_fail("interrupted");
    }
}

static void prepare_for_the_end(void)
{
    static int is_prepared;
    if (!is_prepared) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_handler = ask_stop;
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        sigaction(SIGHUP, &action, NULL);
        atexit(clean_up);
        is_prepared = 1;
    }
}

void servers_kill_one(struct servers *servers, int which)
{
    pid_t pid = servers->pid[which];
    if (pid > 0) {
        servers->pid[which] = 0;
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
}

void servers_end(struct servers *servers)
{
    running = NULL;
    for (int i = 0; i < SERVERS; i++) {
        servers_kill_one(servers, i);
    }
    nftw(servers->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- The beginning --------------------------------------------------------------------------- */

static void choose_ports(struct servers *servers)
{
    for (int i = 0; i < SERVERS; i++) {
        servers->client_port[i] = ports_next();
        servers->peer_port[i] = ports_next();
        if (servers->client_port[i] == 0 || servers->peer_port[i] == 0) {
            bench_fail("no free port");
        }
    }
}

static void run_server(const struct servers *servers, int which, int output)
{
    char id[16], directory[300], listen[32], peer_listen[32], peers[256], election[16], beat[16];
    size_t used = 0;
    int silence = open("/dev/null", O_RDWR);
    dup2(output, STDOUT_FILENO);
    dup2(silence, STDIN_FILENO);
    snprintf(id, sizeof id, "%d", which + 1);
    snprintf(directory, sizeof directory, "%s/%d", servers->directory, which + 1);
    snprintf(listen, sizeof listen, "127.0.0.1:%u", servers->client_port[which]);
    snprintf(peer_listen, sizeof peer_listen, "127.0.0.1:%u", servers->peer_port[which]);
    for (int i = 0; i < SERVERS; i++) {
        used +=
            (size_t)snprintf(peers + used, sizeof peers - used, "%s%d=127.0.0.1:%u/127.0.0.1:%u",
                             i ? "," : "", i + 1, servers->peer_port[i], servers->client_port[i]);
    }
    snprintf(election, sizeof election, "%u", servers->election_ms);
    snprintf(beat, sizeof beat, "%u", servers->election_ms / 5);
    execl(servers->binary, "raftkv", "--id", id, "--dir", directory, "--listen", listen,
          "--peer-listen", peer_listen, "--peers", peers, "--election-ms", election,
          "--heartbeat-ms", beat, "--protocol", servers->protocol, "--loglevel", "error",
          (char *)NULL);
    _exit(127);
}

/* Its one line on stdout; end of file means that it could not start. */
static void await_ready(int output)
{
    char line[512];
    size_t size = 0;
    struct pollfd wait = {.fd = output, .events = POLLIN};
    while (size < sizeof line - 1 && poll(&wait, 1, READY_MS) > 0) {
        ssize_t got = read(output, line + size, sizeof line - 1 - size);
        if (got <= 0) {
            break;
        }
        size += (size_t)got;
        line[size] = 0;
        if (strchr(line, '\n')) {
            if (!strncmp(line, "ready ", 6)) {
                return;
            }
            break;
        }
    }
    servers_check_signal();
    bench_fail("a server did not become ready");
}

static int spawn(struct servers *servers, int which)
{
    int ends[2];
    if (pipe(ends)) {
        bench_fail("no pipe");
    }
    pid_t pid = fork();
    if (pid < 0) {
        bench_fail("cannot fork");
    }
    if (pid == 0) {
        close(ends[0]);
        run_server(servers, which, ends[1]);
    }
    close(ends[1]);
    servers->pid[which] = pid;
    return ends[0];
}

void servers_start_one(struct servers *servers, int which)
{
    int output = spawn(servers, which);
    await_ready(output);
    close(output);
}

void servers_begin(struct servers *servers, const char *binary, const char *protocol,
                   unsigned election_ms)
{
    const char *place = getenv("TMPDIR");
    memset(servers, 0, sizeof *servers);
    servers->binary = binary;
    servers->protocol = protocol;
    servers->election_ms = election_ms;
    snprintf(servers->directory, sizeof servers->directory, "%.200s/keelson-bench.XXXXXX",
             place && *place ? place : "/tmp");
    if (!mkdtemp(servers->directory)) {
        bench_fail("no scratch directory");
    }
    running = servers;
    prepare_for_the_end();
    choose_ports(servers);
    for (int i = 0; i < SERVERS; i++) {
        servers_start_one(servers, i);
    }
}

/* ---- Asking ---------------------------------------------------------------------------------- */

int servers_connect(const struct servers *servers, int which)
{
    struct address address;
    char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%u", servers->client_port[which]);
    address_parse(text, &address);
    int fd = io_posix.socket(NULL, AF_INET, SOCK_STREAM);
    if (fd < 0) {
        bench_fail("no socket");
    }
    int status = io_posix.connect(NULL, fd, (const struct sockaddr *)&address.storage,
                                  (unsigned)address.length);
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    if (status == -EINPROGRESS) {
        status = poll(&wait, 1, 1000) == 1 ? io_posix.socket_error(NULL, fd) : -ETIMEDOUT;
    }
    if (status) {
        close(fd);
        return -1;
    }
    io_posix.no_delay(NULL, fd);
    return fd;
}

/* Whether a server acknowledges a write now. */
static int acknowledges(const struct servers *servers, int which)
{
    static const char request[] = "*3\r\n$3\r\nSET\r\n$5\r\nprobe\r\n$1\r\n1\r\n";
    char reply[256];
    int fd = servers_connect(servers, which);
    if (fd < 0) {
        return 0;
    }
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    long got = 0;
    if (io_posix.write(NULL, fd, request, sizeof request - 1) == (long)sizeof request - 1 &&
        poll(&wait, 1, 2000) == 1) {
        got = io_posix.read(NULL, fd, reply, sizeof reply);
    }
    close(fd);
    return got == 5 && !memcmp(reply, "+OK\r\n", 5);
}

int servers_leader(struct servers *servers)
{
    uint64_t begin = bench_now_ns();
    while (bench_now_ns() - begin < LEADER_MS * UINT64_C(1000000)) {
        for (int i = 0; i < SERVERS; i++) {
            if (servers->pid[i] && acknowledges(servers, i)) {
                return i;
            }
        }
        servers_check_signal();
        poll(NULL, 0, 5);
    }
    bench_fail("no server leads");
    return -1;
}

/* User and system time are the 14th and 15th field, the 12th and 13th behind the name. */
static double cpu_us_of(pid_t pid)
{
    char path[64], text[1024];
    unsigned long long user = 0, kernel = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *file = fopen(path, "r");
    if (!file) {
        return 0;
    }
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    const char *rest = strrchr(text, ')');
    if (!rest || sscanf(rest + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu", &user,
                        &kernel) != 2) {
        return 0;
    }
    return (double)(user + kernel) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

double servers_cpu_us(const struct servers *servers)
{
    double sum = 0;
    for (int i = 0; i < SERVERS; i++) {
        sum += servers->pid[i] ? cpu_us_of(servers->pid[i]) : 0;
    }
    return sum;
}

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

double servers_sync_us(const struct servers *servers)
{
    static double took[SYNCS];
    static char block[512], zeros[SYNCS * sizeof block];
    char path[300];
    snprintf(path, sizeof path, "%s/sync", servers->directory);
    int fd = io_posix.open(NULL, path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || io_write_all(&io_posix, fd, zeros, sizeof zeros, 0) || io_posix.fsync(NULL, fd)) {
        bench_fail("cannot write a file");
    }
    for (int i = 0; i < SYNCS; i++) {
        uint64_t begin = bench_now_ns();
        if (io_write_all(&io_posix, fd, block, sizeof block, (uint64_t)i * sizeof block) ||
            io_posix.fdatasync(NULL, fd)) {
            bench_fail("cannot sync a file");
        }
        took[i] = (double)(bench_now_ns() - begin) / 1000;
    }
    close(fd);
    unlink(path);
    qsort(took, SYNCS, sizeof took[0], compare_doubles);
    return took[SYNCS / 10];
}
