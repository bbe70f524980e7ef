/*
 * The server: one thread, one event loop, one raft node, one keyspace.
 */
#ifndef RAFTKV_SERVER_H
#define RAFTKV_SERVER_H

#include "options.h"

struct io;
struct server;

/* Room for why a server could not be opened. */
#define SERVER_ERROR_MAX 512u

/*
 * Recovers the directory and listens. Borrows the options, the password and the io table until
 * server_close. 0 and *out, or -1 with the reason in error.
 */
int server_open(const struct options *options, const struct password *password, const struct io *io,
                char error[SERVER_ERROR_MAX], struct server **out);

/* The line that tells that it listens, without a line end. */
void server_describe(const struct server *server, char *out, size_t size);

/*
 * Serves until a byte can be read from stop_fd (or a client says SHUTDOWN), then answers what is
 * under way, for a bounded time. 0, or -1 after a failure that server_failure describes.
 */
int server_run(struct server *server, int stop_fd);

/* Why server_run has failed. */
const char *server_failure(const struct server *server);

/* Writes what is left to the log, closes everything and frees. 0, or -1 where the log failed. */
int server_close(struct server *server);

#endif
