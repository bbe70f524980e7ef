#define _GNU_SOURCE

#include "launch.h"

#include "ports.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { ARGUMENTS_MAX = 40 };

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void sleep_ms(int ms)
{
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};

    nanosleep(&pause, NULL);
}

/* ---- Making ---- */

static int choose_ports(struct fleet *fleet)
{
    size_t used = 0;

    for (int i = 0; i < fleet->size; i++) {
        struct fleet_node *node = &fleet->nodes[i];

        node->port = ports_next();
        node->peer_port = ports_next();
        if (!node->port || !node->peer_port) {
            return -1;
        }
        node->id = (unsigned)i + 1;
        if (i < fleet->founders) {
            used += (size_t)snprintf(fleet->peers + used, sizeof fleet->peers - used,
                                     "%s%d=127.0.0.1:%u/127.0.0.1:%u", i ? "," : "", i + 1,
                                     node->peer_port, node->port);
        }
    }
    return 0;
}

void fleet_address(const struct fleet *fleet, int node, char out[64])
{
    snprintf(out, 64, "127.0.0.1:%u/127.0.0.1:%u", fleet->nodes[node].peer_port,
             fleet->nodes[node].port);
}

int fleet_make(struct fleet *fleet, const char *program, int size)
{
    return fleet_make_with_spares(fleet, program, size, 0);
}

int fleet_make_with_spares(struct fleet *fleet, const char *program, int founders, int spares)
{
    const char *parent = getenv("TMPDIR");
    char directory[sizeof fleet->directory];

    memset(fleet, 0, sizeof *fleet);
    if (founders < 1 || spares < 0 || founders + spares > FLEET_SIZE_MAX) {
        errno = EINVAL;
        return -1;
    }
    fleet->founders = founders;
    fleet->size = founders + spares;
    snprintf(fleet->program, sizeof fleet->program, "%s", program);
    snprintf(directory, sizeof directory, "%s/raftkv-XXXXXX", parent && *parent ? parent : "/tmp");
    if (choose_ports(fleet) || !mkdtemp(directory)) {
        return -1;
    }
    memcpy(fleet->directory, directory, sizeof directory);
    return 0;
}

/* ---- Starting ---- */

static void directory_path(const struct fleet *fleet, int node, char *out, size_t size)
{
    snprintf(out, size, "%s/%u", fleet->directory, fleet->nodes[node].id);
}

static void log_path(const struct fleet *fleet, int node, char *out, size_t size)
{
    snprintf(out, size, "%s/%d.log", fleet->directory, node + 1);
}

static void run_child(const struct fleet *fleet, int node, int ready_fd)
{
    char id[16], directory[320], listen[64], peer[64], log[320];
    const char *arguments[ARGUMENTS_MAX] = {fleet->program, "--id",     id,    "--dir",
                                            directory,      "--listen", listen};
    unsigned number = fleet->nodes[node].id;
    int count = 7;
    int log_fd;

    snprintf(id, sizeof id, "%u", number);
    directory_path(fleet, node, directory, sizeof directory);
    snprintf(listen, sizeof listen, "127.0.0.1:%u", fleet->nodes[node].port);
    snprintf(peer, sizeof peer, "127.0.0.1:%u", fleet->nodes[node].peer_port);
    if (number <= (unsigned)fleet->founders && fleet->peers[0]) {
        arguments[count++] = "--peers";
        arguments[count++] = fleet->peers;
    } else if (number > (unsigned)fleet->founders) {
        arguments[count++] = "--join";
        arguments[count++] = "--peer-listen";
        arguments[count++] = peer;
    }
    if (fleet->protocol) {
        arguments[count++] = "--protocol";
        arguments[count++] = fleet->protocol;
    }
    for (int i = 0; fleet->flags && fleet->flags[i] && count < ARGUMENTS_MAX - 1; i++) {
        arguments[count++] = fleet->flags[i];
    }
    arguments[count] = NULL;
    log_path(fleet, node, log, sizeof log);
    log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(ready_fd, 1);
    dup2(log_fd, 2);
    execv(fleet->program, (char *const *)(uintptr_t)arguments);
    fprintf(stderr, "%s: %s\n", fleet->program, strerror(errno));
    _exit(127);
}

/* In the child: a group of its own, so that ^C reaches only the parent, and no life without it. */
static void detach_child(pid_t parent)
{
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (getppid() != parent) {
        _exit(1);
    }
}

/* Waits for the line on a pipe. 0, or -1: it ended without, or took too long. */
static int await_ready(int fd, int timeout_ms)
{
    int64_t deadline = now_ms() + timeout_ms;
    char line[256] = "";
    size_t size = 0;

    while (!memchr(line, '\n', size) && size < sizeof line) {
        struct pollfd place = {.fd = fd, .events = POLLIN};
        int64_t left = deadline - now_ms();
        ssize_t count;

        if (left <= 0 || (poll(&place, 1, (int)left) < 0 && errno != EINTR)) {
            return -1;
        }
        if (!place.revents) {
            continue;
        }
        count = read(fd, line + size, sizeof line - size);
        if (count <= 0) {
            return -1;
        }
        size += (size_t)count;
    }
    return memcmp(line, "ready ", 6) ? -1 : 0;
}

int fleet_start(struct fleet *fleet, int node, int timeout_ms)
{
    pid_t parent = getpid();
    int ready[2];
    int status;
    pid_t pid;

    if (pipe(ready)) {
        return -1;
    }
    fcntl(ready[0], F_SETFD, FD_CLOEXEC);
    fcntl(ready[1], F_SETFD, FD_CLOEXEC);
    pid = fork();
    if (pid == 0) {
        detach_child(parent);
        run_child(fleet, node, ready[1]);
    }
    close(ready[1]);
    if (pid > 0) {
        fleet->nodes[node].pid = pid;
    }
    status = pid > 0 ? await_ready(ready[0], timeout_ms) : -1;
    close(ready[0]);
    if (status) {
        fleet_kill(fleet, node);
    }
    return status;
}

/* ---- Ending ---- */

void fleet_kill(struct fleet *fleet, int node)
{
    struct fleet_node *place = &fleet->nodes[node];

    if (place->pid > 0) {
        kill(place->pid, SIGKILL);
        while (waitpid(place->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    place->pid = 0;
    place->is_paused = 0;
}

void fleet_pause(struct fleet *fleet, int node)
{
    if (fleet->nodes[node].pid > 0) {
        kill(fleet->nodes[node].pid, SIGSTOP);
        fleet->nodes[node].is_paused = 1;
    }
}

void fleet_resume(struct fleet *fleet, int node)
{
    if (fleet->nodes[node].pid > 0) {
        kill(fleet->nodes[node].pid, SIGCONT);
        fleet->nodes[node].is_paused = 0;
    }
}

int fleet_stop(struct fleet *fleet, int node, int timeout_ms)
{
    struct fleet_node *place = &fleet->nodes[node];
    int64_t deadline = now_ms() + timeout_ms;
    int status;

    if (place->pid <= 0) {
        return -1;
    }
    kill(place->pid, SIGTERM);
    while (waitpid(place->pid, &status, WNOHANG) != place->pid) {
        if (now_ms() > deadline) {
            fleet_kill(fleet, node);
            return -1;
        }
        sleep_ms(5);
    }
    place->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

void fleet_renew(struct fleet *fleet, int node, unsigned id)
{
    char directory[320];

    directory_path(fleet, node, directory, sizeof directory);
    nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    fleet->nodes[node].id = id;
}

void fleet_remove(struct fleet *fleet)
{
    for (int i = 0; i < fleet->size; i++) {
        fleet_kill(fleet, i);
    }
    if (fleet->directory[0]) {
        nftw(fleet->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        fleet->directory[0] = '\0';
    }
}

/* ---- Looking ---- */

int fleet_node_of(const struct fleet *fleet, unsigned port)
{
    for (int i = 0; i < fleet->size; i++) {
        if (fleet->nodes[i].port == port) {
            return i;
        }
    }
    return -1;
}

void fleet_log_tail(const struct fleet *fleet, int node, char *out, size_t size)
{
    char path[320];
    ssize_t count = 0;
    off_t end;
    int fd;

    log_path(fleet, node, path, sizeof path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        end = lseek(fd, 0, SEEK_END);
        lseek(fd, end > (off_t)size - 1 ? end - (off_t)size + 1 : 0, SEEK_SET);
        count = read(fd, out, size - 1);
        close(fd);
    }
    out[count > 0 ? count : 0] = '\0';
}
