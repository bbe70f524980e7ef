/*
 * Ports for servers that are stopped and started again (examples/raftkv/ports.h): none for two
 * programs at once, and none that a server could not have. Sockets of loopback.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "raftkv/ports.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* So many that two of them would begin at the same block, if nobody owned one. */
enum { PROGRAMS = 80 };

static struct {
    pid_t pid;
    unsigned port;
} programs[PROGRAMS];
static int leave[2] = {-1, -1}; /* a pipe that is closed when they may end */

static void end_programs(void)
{
    close(leave[1]);
    for (int i = 0; i < PROGRAMS; i++) {
        CHECK_EQ(waitpid(programs[i].pid, NULL, 0), programs[i].pid);
    }
    close(leave[0]);
}

/* Says which port it gets, and stays. */
static void run_program(int out)
{
    unsigned port = ports_next();
    char byte;

    close(leave[1]);
    if (write(out, &port, sizeof port) == (ssize_t)sizeof port) {
        while (read(leave[0], &byte, 1) > 0) {
        }
    }
    _exit(0);
}

static void begin_program(int which)
{
    int said[2];

    CHECK_EQ(pipe(said), 0);
    programs[which].pid = fork();
    if (programs[which].pid == 0) {
        run_program(said[1]);
    }
    close(said[1]);
    CHECK(programs[which].pid > 0);
    CHECK_EQ(read(said[0], &programs[which].port, sizeof programs[which].port),
             sizeof programs[which].port);
    close(said[0]);
}

/* Before this program has a block: otherwise they would share it. */
static void two_programs_have_no_port_in_common(void)
{
    CHECK_EQ(pipe(leave), 0);
    for (int i = 0; i < PROGRAMS; i++) {
        begin_program(i);
    }
    end_programs();
    for (int i = 0; i < PROGRAMS; i++) {
        CHECK(programs[i].port != 0);
        for (int k = 0; k < i; k++) {
            CHECK(abs((int)programs[i].port - (int)programs[k].port) >= PORTS_PER_PROGRAM);
        }
    }
}

static void a_port_comes_again_after_all_others(void)
{
    unsigned ports[PORTS_PER_PROGRAM];

    for (int i = 0; i < PORTS_PER_PROGRAM; i++) {
        ports[i] = ports_next();
        for (int k = 0; k < i; k++) {
            CHECK(ports[i] != ports[k]);
        }
    }
    for (int i = 0; i < PORTS_PER_PROGRAM; i++) {
        CHECK_EQ(ports_next(), ports[i]);
    }
}

static int comes_again(unsigned port)
{
    int found = 0;

    for (int i = 0; i < PORTS_PER_PROGRAM; i++) {
        found |= ports_next() == port;
    }
    return found;
}

static struct sockaddr_in address_of(unsigned port)
{
    struct sockaddr_in address;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int listen_on(unsigned port)
{
    struct sockaddr_in address = address_of(port);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(listen(fd, 1), 0);
    return fd;
}

/* The server's end is closed first, so it is its port that waits for late segments. */
static void serve_once(int listener, unsigned port)
{
    struct sockaddr_in address = address_of(port);
    char byte;
    int client = socket(AF_INET, SOCK_STREAM, 0);
    int server;

    CHECK_EQ(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    server = accept(listener, NULL, NULL);
    CHECK(server >= 0);
    close(server);
    CHECK_EQ(read(client, &byte, 1), 0);
    close(client);
}

static void a_port_of_a_server_comes_again_once_that_has_ended(void)
{
    unsigned port = ports_next();
    int listener = listen_on(port);

    CHECK(!comes_again(port));
    serve_once(listener, port);
    close(listener);
    CHECK(comes_again(port));
}

int main(void)
{
    RUN(two_programs_have_no_port_in_common);
    RUN(a_port_comes_again_after_all_others);
    RUN(a_port_of_a_server_comes_again_once_that_has_ended);
    return check_done();
}
