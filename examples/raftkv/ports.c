/*
 * A program owns the block whose first port it has bound: it never listens there, and nobody else
 * can bind it before the program has ended, however it ends.
 */
#define _POSIX_C_SOURCE 200809L

#include "ports.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PORT_FIRST = 20000, PORT_END = 32000, BLOCK = PORTS_PER_PROGRAM + 1 };

static unsigned block; /* its first port; 0: this program has none yet */
static unsigned count; /* of ports tried */

static int bind_port(int fd, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return bind(fd, (struct sockaddr *)&address, sizeof address);
}

/* The socket stays open until the program ends, and is not for the servers that it starts. */
static int own_block(unsigned first)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) || bind_port(fd, first)) {
        if (fd >= 0) {
            close(fd);
        }
        return 0;
    }
    block = first;
    return 1;
}

/* Two programs begin to look at different places, mostly. */
static int find_block(void)
{
    unsigned blocks = (PORT_END - PORT_FIRST) / BLOCK;
    struct timespec now;
    unsigned from;

    clock_gettime(CLOCK_MONOTONIC, &now);
    from = (unsigned)now.tv_nsec / 1000 + (unsigned)getpid() * 7919;
    for (unsigned i = 0; i < blocks; i++) {
        if (own_block(PORT_FIRST + (from + i) % blocks * BLOCK)) {
            return 1;
        }
    }
    return 0;
}

/* As a server tries it: connections that have ended do not matter. */
static int is_free(unsigned port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;
    int result = fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) &&
                 !bind_port(fd, port) && !listen(fd, 1);

    if (fd >= 0) {
        close(fd);
    }
    return result;
}

unsigned ports_next(void)
{
    if (block == 0 && !find_block()) {
        errno = EADDRINUSE;
        return 0;
    }
    for (int tries = 0; tries < PORTS_PER_PROGRAM; tries++) {
        unsigned port = block + 1 + count++ % PORTS_PER_PROGRAM;

        if (is_free(port)) {
            return port;
        }
    }
    errno = EADDRINUSE;
    return 0;
}
