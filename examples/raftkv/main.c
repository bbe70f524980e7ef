/*
 * raftkv, the replicated key-value server: the process around the server.
 *
 * Exit status: 0 after a graceful stop, --help or --version; 1 where it could not start or had to
 * stop; 2 for a command line that makes no sense.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../io.h"
#include "options.h"
#include "say.h"
#include "server.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Written by the signal handler, so it has to be here. */
static int stop_pipe[2];

/* The first signal asks for a graceful stop; the next has its default effect and ends at once. */
static void on_signal(int signal_number)
{
    int saved = errno;
    ssize_t ignored = write(stop_pipe[1], "s", 1);

    (void)ignored;
    (void)signal_number;
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    errno = saved;
}

static int catch_signals(void)
{
    struct sigaction action;

    if (pipe(stop_pipe)) {
        return -1;
    }
    fcntl(stop_pipe[0], F_SETFD, FD_CLOEXEC);
    fcntl(stop_pipe[1], F_SETFD, FD_CLOEXEC);
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    action.sa_handler = on_signal;
    return sigaction(SIGTERM, &action, NULL) || sigaction(SIGINT, &action, NULL) ? -1 : 0;
}

/* As many connections as the system allows without asking anybody. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void say_ready(const struct server *server)
{
    char line[256];

    server_describe(server, line, sizeof line);
    printf("%s\n", line);
    fflush(stdout);
}

static int serve(const struct options *options, const struct password *password)
{
    char error[SERVER_ERROR_MAX];
    struct server *server;
    int status;

    if (server_open(options, password, &io_posix, error, &server)) {
        say(LOG_ERROR, LOG_ERROR, "%s", error);
        return EXIT_FAILED;
    }
    say_ready(server);
    status = server_run(server, stop_pipe[0]);
    if (status) {
        say(LOG_ERROR, LOG_ERROR, "stopped: %s", server_failure(server));
    }
    if (server_close(server) && !status) {
        say(LOG_ERROR, LOG_ERROR, "the end of the log could not be stored");
        status = -1;
    }
    return status ? EXIT_FAILED : EXIT_OK;
}

static int run(const struct options *options)
{
    struct password password = {.size = 0};
    char error[SERVER_ERROR_MAX];

    if (options->password_file &&
        options_read_password(options->password_file, &password, error, sizeof error)) {
        say(LOG_ERROR, LOG_ERROR, "--requirepass-file: %s", error);
        return EXIT_FAILED;
    }
    if (options->sync_never) {
        fprintf(stderr, "raftkv: --fsync never: a power cut can lose writes that were "
                        "acknowledged, and can make this server contradict the others\n");
    }
    raise_descriptor_limit();
    if (catch_signals()) {
        say(LOG_ERROR, LOG_ERROR, "catching signals: %s", strerror(errno));
        return EXIT_FAILED;
    }
    return serve(options, &password);
}

int main(int argc, char **argv)
{
    struct options options;
    char error[SERVER_ERROR_MAX];

    switch (options_parse(&options, argc, argv, error, sizeof error)) {
    case OPTIONS_HELP:
        fputs(options_usage(), stdout);
        return EXIT_OK;
    case OPTIONS_VERSION:
        printf("raftkv %s\n", raft_version());
        return EXIT_OK;
    case OPTIONS_BAD:
        fprintf(stderr, "raftkv: %s\n\n%s", error, options_usage());
        return EXIT_USAGE;
    default:
        return run(&options);
    }
}
