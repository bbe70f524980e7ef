/*
 * HOST:PORT. Numeric hosts are read without asking anybody; other names go to the resolver.
 */
#define _POSIX_C_SOURCE 200809L

#include "address.h"
#include "io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { HOST_BYTES_MAX = 254 }; /* a domain name and its zero byte */

/* The two halves of the text, brackets removed. */
struct host_port {
    char host[HOST_BYTES_MAX];
    unsigned port;
    int bracketed;
};

static int parse_port(const char *text, unsigned *port)
{
    unsigned value = 0;

    if (!*text) {
        return -EINVAL;
    }
    for (; *text; text++) {
        if (*text < '0' || *text > '9') {
            return -EINVAL;
        }
        value = 10 * value + (unsigned)(*text - '0');
        if (value > 65535) {
            return -EINVAL;
        }
    }
    *port = value;
    return 0;
}

static int split(const char *text, struct host_port *parts)
{
    const char *colon = strrchr(text, ':');
    size_t size;

    if (!colon || parse_port(colon + 1, &parts->port)) {
        return -EINVAL;
    }
    size = (size_t)(colon - text);
    parts->bracketed = size > 2 && text[0] == '[' && text[size - 1] == ']';
    if (parts->bracketed) {
        text++;
        size -= 2;
    }
    if (!size || size >= sizeof parts->host) {
        return -EINVAL;
    }
    memcpy(parts->host, text, size);
    parts->host[size] = 0;
    return !parts->bracketed && strpbrk(parts->host, ":[]") ? -EINVAL : 0;
}

static void make_v4(struct in_addr host, unsigned port, struct address *out)
{
    struct sockaddr_in in;

    memset(&in, 0, sizeof in);
    in.sin_family = AF_INET;
    in.sin_port = htons((uint16_t)port);
    in.sin_addr = host;
    memcpy(&out->storage, &in, sizeof in);
    out->length = (socklen_t)sizeof in;
}

static void make_v6(const struct in6_addr *host, unsigned port, struct address *out)
{
    struct sockaddr_in6 in;

    memset(&in, 0, sizeof in);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons((uint16_t)port);
    in.sin6_addr = *host;
    memcpy(&out->storage, &in, sizeof in);
    out->length = (socklen_t)sizeof in;
}

static int look_up(const struct host_port *parts, struct address *out)
{
    struct addrinfo hints, *found = NULL;
    char port[8];

    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    snprintf(port, sizeof port, "%u", parts->port);
    if (getaddrinfo(parts->host, port, &hints, &found) || !found) {
        return -ENOENT;
    }
    memcpy(&out->storage, found->ai_addr, found->ai_addrlen);
    out->length = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

/* 0; -EINVAL: not of that form; -ENOENT: a name, which somebody else has to be asked for. */
static int parse_numeric(const char *text, struct host_port *parts, struct address *out)
{
    struct in_addr v4;
    struct in6_addr v6;
    int status = text ? split(text, parts) : -EINVAL;

    if (status) {
        return status;
    }
    memset(out, 0, sizeof *out);
    if (parts->bracketed) {
        if (inet_pton(AF_INET6, parts->host, &v6) != 1) {
            return -EINVAL;
        }
        make_v6(&v6, parts->port, out);
        return 0;
    }
    if (inet_pton(AF_INET, parts->host, &v4) != 1) {
        return -ENOENT;
    }
    make_v4(v4, parts->port, out);
    return 0;
}

int address_is_well_formed(const char *text)
{
    struct host_port parts;
    struct address ignored;

    return parse_numeric(text, &parts, &ignored) != -EINVAL;
}

int address_is_numeric(const char *text)
{
    struct host_port parts;
    struct address ignored;

    return parse_numeric(text, &parts, &ignored) == 0;
}

int address_parse(const char *text, struct address *out)
{
    struct host_port parts;
    int status = parse_numeric(text, &parts, out);

    return status == -ENOENT ? look_up(&parts, out) : status;
}

static struct sockaddr_in as_v4(const struct address *address)
{
    struct sockaddr_in in;

    memcpy(&in, &address->storage, sizeof in);
    return in;
}

static struct sockaddr_in6 as_v6(const struct address *address)
{
    struct sockaddr_in6 in;

    memcpy(&in, &address->storage, sizeof in);
    return in;
}

int address_is_loopback(const struct address *address)
{
    if (address->storage.ss_family == AF_INET) {
        return ntohl(as_v4(address).sin_addr.s_addr) >> 24 == 127;
    }
    if (address->storage.ss_family == AF_INET6) {
        struct sockaddr_in6 in = as_v6(address);

        return !memcmp(&in.sin6_addr, &in6addr_loopback, sizeof in.sin6_addr);
    }
    return 0;
}

unsigned address_port(const struct address *address)
{
    if (address->storage.ss_family == AF_INET6) {
        return ntohs(as_v6(address).sin6_port);
    }
    return ntohs(as_v4(address).sin_port);
}

void address_format(const struct address *address, char out[ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (address->storage.ss_family == AF_INET6) {
        struct sockaddr_in6 in = as_v6(address);

        inet_ntop(AF_INET6, &in.sin6_addr, host, sizeof host);
        snprintf(out, ADDRESS_TEXT_MAX, "[%s]:%u", host, address_port(address));
    } else {
        struct sockaddr_in in = as_v4(address);

        inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        snprintf(out, ADDRESS_TEXT_MAX, "%s:%u", host, address_port(address));
    }
}

int address_listen(const struct io *io, struct address *address, int backlog)
{
    struct sockaddr *name = (struct sockaddr *)&address->storage;
    unsigned length = (unsigned)sizeof address->storage;
    int status;
    int fd = io->socket(io->ctx, address->storage.ss_family, SOCK_STREAM);

    if (fd < 0) {
        return fd;
    }
    status = io->bind(io->ctx, fd, name, (unsigned)address->length);
    if (!status) {
        status = io->listen(io->ctx, fd, backlog);
    }
    if (!status) {
        status = io->socket_name(io->ctx, fd, name, &length);
    }
    if (status) {
        io->close(io->ctx, fd);
        return status;
    }
    address->length = (socklen_t)length;
    return fd;
}
