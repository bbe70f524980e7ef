/*
 * The connections of clients: their buffers and the queue of requests that wait for an answer.
 *
 * A request stays in the input buffer until it is answered, and answers are written in the order of
 * the requests. So a request needs no memory of its own but its place in the queue, and an answer
 * none but its bytes in the output buffer. The input buffer holds, from the front: the bytes of the
 * queued requests, then `size - queued_bytes` bytes that were not looked at yet.
 */
#ifndef RAFTKV_CLIENT_H
#define RAFTKV_CLIENT_H

#include "buffer.h"
#include "commands.h"
#include "resp.h"
#include "transaction.h"

struct io;
struct task;

#define CLIENT_NAME_MAX    64u
#define CLIENT_ADDRESS_MAX 64u

enum request_kind {
    REQUEST_LOCAL, /* answered from what is known here when it comes to the front */
    REQUEST_READ,  /* waits until a read is confirmed, or for the client's next write */
    REQUEST_WRITE  /* waits for its entry */
};

enum request_answer {
    ANSWER_WAITING,   /* not known yet; REQUEST_LOCAL never waits */
    ANSWER_REDIRECT,  /* not executed: this server does not lead */
    ANSWER_BUSY,      /* not executed: too much is under way */
    ANSWER_TOO_LARGE, /* not executed: no entry of the log can hold it */
    ANSWER_FULL,      /* not executed: the log has reached its bound */
    ANSWER_NOT_TAKEN, /* not executed: the leader that it was handed to did not append it */
    ANSWER_LATE,      /* a read that got no answer from the leader in time */
    ANSWER_UNKNOWN    /* a write that may or may not be executed */
};

struct request {
    const struct command *command; /* null: commands_check refuses it, and says so again */
    uint64_t read_tag;             /* REQUEST_READ: the raft_read that covers it */
    size_t bytes;                  /* of the input that it takes */
    uint8_t kind;
    uint8_t answer;
    uint16_t slot; /* of a transaction, for a redirect */
};

/* WAIT: the client is told when enough replicas have what it wrote, or when the time is up. */
struct client_wait {
    int is_active;
    uint64_t replicas;
    uint64_t deadline_ms; /* UINT64_MAX: none */
};

struct client {
    void *host; /* the server, for the event loop's callbacks */
    int fd;
    uint32_t slot;       /* place in the server's table */
    uint32_t generation; /* of that place */
    uint64_t id;         /* told to the client; never used twice in a run */
    struct buffer in;
    struct buffer out;
    struct resp_parser parser;

    struct request *requests; /* a ring; capacity is a power of two, or 0 */
    size_t request_capacity;
    size_t request_count;
    uint64_t first_number; /* of the request at the front; requests are counted from 0 */
    size_t queued_bytes;

    uint64_t last_write; /* index of its last applied write */
    uint64_t reader_tag; /* the last raft_read that it was noted for */
    uint64_t born_ms;
    uint64_t active_ms; /* when it last sent, or took, bytes */
    struct client_wait wait;
    struct task *task; /* a change of the cluster that it waits for (admin.h); null: none */
    struct transaction transaction;

    uint8_t is_loopback;
    uint8_t is_authenticated;
    uint8_t is_readonly;   /* it said READONLY: a follower may serve its reads */
    uint8_t has_barrier;   /* the next request has to wait until the queue is empty */
    uint8_t is_forwarding; /* its last write was handed to the leader */
    uint8_t is_broken;     /* what it sends cannot be understood any more; parser.error says why */
    uint8_t is_ending;     /* closed as soon as the output is written */
    uint8_t is_closed;     /* dead: only its memory is left, until the end of the turn */
    uint8_t is_in_backlog; /* noted by the server: there may be requests to look at */
    uint8_t is_in_outbox;  /* noted by the server: there is output to write */
    uint8_t input_ended;   /* the client has closed its side */

    char name[CLIENT_NAME_MAX];
    char address[CLIENT_ADDRESS_MAX];
};

/* Bounds of one client. */
#define CLIENT_OUT_BYTES_MAX    ((size_t)256 << 20) /* unsent answers; beyond it is cut off */
#define CLIENT_OUT_BYTES_SOFT   ((size_t)1 << 20)   /* unsent answers before reads are put off */
#define CLIENT_QUEUED_BYTES_MAX ((size_t)1 << 20)   /* of requests under way, the last one apart */
#define CLIENT_REQUESTS_MAX     ((size_t)16384)     /* under way */

/* A client on a connected socket, which it then owns. Null where memory fails: fd stays open. */
struct client *client_new(int fd, uint64_t now_ms);

/* Closes the socket unless that was done, and frees everything. */
void client_free(const struct io *io, struct client *client);

enum client_io {
    CLIENT_ALIVE,
    CLIENT_BLOCKED, /* client_flush: the socket takes no more now */
    CLIENT_GONE     /* the connection is broken, or there is no memory for it */
};

/* Reads what has arrived, up to a bound for one turn. An end of input sets input_ended. */
enum client_io client_fill(const struct io *io, struct client *client);

/* Writes what the socket takes. */
enum client_io client_flush(const struct io *io, struct client *client);

/* Nonzero while more may be asked of this client: it is within its bounds and nothing bars it. */
int client_accepts(const struct client *client);

/* Adds a request whose bytes are the next `bytes` of the input. 0, or -1 where memory fails. */
int client_enqueue(struct client *client, const struct request *request);

/* The bytes of an empty request: dropped, or counted to the request before. */
void client_skip(struct client *client, size_t bytes);

/* The request at the front, or null. */
struct request *client_front(const struct client *client);

/* The request of a number, or null where it has been answered. */
struct request *client_request(const struct client *client, uint64_t number);

/* The number that the next request will have. */
uint64_t client_next_number(const struct client *client);

/* Forgets the request at the front and drops its bytes from the input. */
void client_pop(struct client *client);

/* Marks every read up to a tag that still waits. */
void client_fail_reads(struct client *client, uint64_t tag, enum request_answer answer);

#endif
