/*
 * A client of the Redis protocol for programs that drive a cluster: one connection, requests and
 * replies with a time limit. It needs no other program, which is its point.
 */
#ifndef RAFTKV_CALLER_H
#define RAFTKV_CALLER_H

#include "buffer.h"

struct caller {
    int fd; /* -1: not connected */
    struct buffer in;
    struct buffer out; /* requests that were added and not sent yet */
};

enum reply_kind { REPLY_STATUS, REPLY_ERROR, REPLY_INTEGER, REPLY_BULK, REPLY_NULL };

struct reply {
    enum reply_kind kind;
    struct slice text; /* STATUS, ERROR, BULK: valid until the next call */
    int64_t integer;
};

/* An unconnected caller. */
void caller_init(struct caller *caller);

/* Connects to a port of 127.0.0.1, after closing what was open. 0, or -1. */
int caller_connect(struct caller *caller, unsigned port, int timeout_ms);

/* Closes the connection and forgets what was not sent; the caller can connect again. */
void caller_close(struct caller *caller);

/* Closes and frees. */
void caller_free(struct caller *caller);

/* Adds a request of `count` arguments. */
void caller_add(struct caller *caller, const struct slice *args, size_t count);

/* Sends what was added. 0, or -1: the connection is closed, and any of it may have been sent. */
int caller_send(struct caller *caller, int timeout_ms);

/* Waits for one reply; arrays are not understood. 0, or -1: the connection is closed. */
int caller_receive(struct caller *caller, struct reply *reply, int timeout_ms);

/* caller_add of a line of words, caller_send and caller_receive. */
int caller_ask(struct caller *caller, const char *words, struct reply *reply, int timeout_ms);

/* Whether an error begins with this word. */
int reply_is_error(const struct reply *reply, const char *word);

/* The port in a MOVED error; 0: it is none. */
unsigned reply_moved_to(const struct reply *reply);

#endif
