/*
 * Addresses as people write them: HOST:PORT, [IPV6]:PORT, NAME:PORT. Names are looked up by the
 * system's resolver, which may block: parse at start, not while serving.
 */
#ifndef KEELSON_ADDRESS_H
#define KEELSON_ADDRESS_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/socket.h>

#define ADDRESS_TEXT_MAX 64u /* room for any numeric address with its port and a zero byte */

struct io;

struct address {
    struct sockaddr_storage storage;
    socklen_t length;
};

/* 0; -EINVAL: not of that form, or a port above 65535; -ENOENT: the name is not known. */
int address_parse(const char *text, struct address *out);

/* Nonzero where the text is an address that address_parse reads without asking anybody. */
int address_is_numeric(const char *text);

/* Nonzero where it has the form of an address. Nobody is asked whether there is such a name. */
int address_is_well_formed(const char *text);

/* Nonzero where only this machine can reach it: 127.0.0.0/8, ::1. */
int address_is_loopback(const struct address *address);

/* The port, in the machine's byte order. */
unsigned address_port(const struct address *address);

/* Writes the numeric form, such as 127.0.0.1:7001 or [::1]:7001. */
void address_format(const struct address *address, char out[ADDRESS_TEXT_MAX]);

/* A listening socket through the io table; *address gets the port that was taken. Or a negated
 * errno. */
int address_listen(const struct io *io, struct address *address, int backlog);

#endif
