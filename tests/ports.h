/*
 * Free ports of loopback for tests that have to know them before anyone listens. They are taken
 * from below the range from which systems choose ports for outgoing connections: otherwise such a
 * connection could hold the port of a server that is started again.
 */
#ifndef TESTS_PORTS_H
#define TESTS_PORTS_H

#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORTS_FIRST = 20000, PORTS_LAST = 31999 };

static inline int port_is_free(unsigned port)
{
    struct sockaddr_in address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int is_free;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    is_free = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return is_free;
}

/* A free port that no other call has given; *from moves on, and starts as 0. Or 0. */
static inline unsigned choose_port(unsigned *from)
{
    if (*from == 0) {
        *from = PORTS_FIRST + (unsigned)getpid() * 7919u % (PORTS_LAST - PORTS_FIRST);
    }
    for (int tries = PORTS_LAST - PORTS_FIRST; tries > 0; tries--) {
        unsigned port = *from;

        *from = port >= PORTS_LAST ? PORTS_FIRST : port + 1;
        if (port_is_free(port)) {
            return port;
        }
    }
    return 0;
}

#endif
