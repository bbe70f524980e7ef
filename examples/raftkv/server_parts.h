/*
 * What the parts of the server share. The parts, from the wire inwards:
 *
 *   server.c     opening and closing, the turn of the event loop, connections
 *   requests.c   from bytes to commands, and from outcomes to answers, in each client's order
 *   session.c    commands about a connection or the process: AUTH, HELLO, CLIENT, WAIT, SHUTDOWN
 *   peers.c      where the other servers are, names included
 *   topology.c   who is in the cluster and who leads: redirects, CLUSTER, ROLE, RAFT.MEMBERS
 *   admin.c      changing the cluster: RAFT.ADD and the like
 *   info.c       INFO
 *   consensus.c  the callbacks of the engine, the log, proposals and reads
 *   forward.c    writes that are handed to the leader and answered here
 *   checkpoints.c  checkpoints of the keyspace: taken, sent, received, loaded
 *
 * A write waits for its entry (../pending.h). A read waits for whichever comes first: the confirmation
 * of the raft_read of its turn, or the moment before the same client's next write is applied. The
 * second is as good as the first: that write was proposed after the read arrived, so when its entry
 * is applied here with the term in which it was proposed, the state before it holds everything that
 * was acknowledged before the read arrived. A later leader that had acknowledged more by then would
 * have kept that entry from being committed.
 */
#ifndef RAFTKV_SERVER_PARTS_H
#define RAFTKV_SERVER_PARTS_H

#include "../address.h"
#include "../checkpoint.h"
#include "../io.h"
#include "../loop.h"
#include "../pending.h"
#include "../transport.h"
#include "../wal.h"
#include "client.h"
#include "commands.h"
#include "options.h"
#include "raft.h"
#include "say.h"
#include "server.h"
#include "store.h"

#define SERVER_GROUP       ((uint64_t)1) /* the one group of this version */
#define SERVER_FAILURE_MAX 256u

/* A member of the cluster as its blob describes it. */
struct member {
    raft_id id;
    char peer[MEMBER_ADDRESS_MAX]; /* HOST:PORT; "": it has none */
    char host[MEMBER_ADDRESS_MAX]; /* for clients; "": not told */
    unsigned port;
    int kind; /* RAFT_MEMBER_* */
};

/* Who waits for an entry: a request of a client, by names that outlive the client. */
struct waiter {
    uint32_t slot;       /* place in the table of clients */
    uint32_t generation; /* tells it from another client at that place */
    uint64_t number;     /* of the request, counted by the client */
};

/* The writes of a turn, proposed together at its end. */
struct batch {
    struct buffer payloads; /* one behind the other */
    size_t *sizes;
    struct waiter *waiters;
    raft_buf *parts; /* made when all payloads are at their place */
    size_t count;
    size_t capacity;
};

/* A client with reads that the raft_read of this tag covers. */
struct reader {
    uint64_t tag;
    uint32_t slot;
    uint32_t generation;
};

/* A ring of them by ascending tag. */
struct readers {
    struct reader *items;
    size_t capacity; /* a power of two, or 0 */
    size_t first;
    size_t count;
};

/* A write that was handed to the leader (forward.c). */
struct forward {
    uint64_t tag; /* of raft_forward */
    struct waiter waiter;
    raft_index index; /* 0 until the leader has said where it is */
    raft_term term;
    uint64_t deadline_ms;
};

/* The reply of an entry that was applied, in case it is one of them. */
struct kept_reply {
    raft_index index;
    raft_term term;
    size_t at; /* in the bytes of all of them */
    size_t size;
};

struct forwards {
    struct forward *items;
    size_t count;
    size_t open_count; /* of those whose place is not known */
    uint64_t next_tag;
    struct kept_reply *kept;
    size_t kept_count;
    struct buffer replies;
    struct buffer scratch; /* what is encoded here, or stamped for others */
};

/* A list of clients that something is to be done for; each is in it at most once. */
struct client_list {
    struct client **items;
    size_t count;
    size_t capacity;
};

struct client_place {
    struct client *client; /* null: free */
    uint32_t generation;
    uint32_t next_free; /* of a free place: the next one; PLACE_NONE ends the chain */
};

#define PLACE_NONE UINT32_MAX

/* Checkpoints that are being taken, received and loaded (checkpoints.c). */
struct checkpoints {
    struct checkpoint_store *store;
    struct checkpoint_base base; /* what the log begins with */

    struct store_view *view; /* of the one being taken; null: none */
    struct checkpoint_writer *writer;
    struct buffer piece; /* of the view, not written yet */
    int has_all;         /* the view has given all its bytes */
    int waits_for_room;
    int is_committing;
    int is_wanted;
    raft_index index; /* of the one being taken, and its metadata */
    uint8_t meta[RAFT_META_MAX];
    size_t meta_size;
    raft_index taken_index; /* of the newest that is durable; 0: none */
    uint64_t taken_count;

    int is_loading; /* one from the leader goes into use */
    int waits_for_name;
    int load_is_due;
    raft_index load_index;
    raft_term load_term;
    struct checkpoint_reader *reader;
    struct store_load *load;
    uint64_t load_offset;
};

struct server_stats {
    uint64_t connections;
    uint64_t connections_refused;
    uint64_t commands;
    uint64_t writes_unknown;
    uint64_t writes_dropped;
    uint64_t writes_forwarded;
    uint64_t reads_failed;
    uint64_t redirects;
    uint64_t output_cut_off; /* clients closed for not taking their answers */
};

struct server {
    const struct options *options;
    const struct password *password;
    const struct io *io;
    struct loop *loop;
    wal *log;
    struct transport *transport; /* null in a cluster of one without --peer-listen */
    uint64_t refusals_said;      /* connections with servers that were refused, and were told */
    uint64_t refusals_ms;        /* when more of them may be */
    struct resolver *resolver;   /* null until the address of a server is a name not known yet */
    raft *node;
    int is_other_protocol; /* what the directory holds is not of --protocol */
    struct store *store;
    uint64_t cluster;
    uint64_t started_ms;

    int listen_fd;
    struct address listen_address;
    int is_accepting;

    /* The cluster as known here. */
    struct member members[RAFT_MEMBERS_MAX];
    size_t member_count;
    raft_id connected[RAFT_MEMBERS_MAX]; /* whom the transport was told of */
    size_t connected_count;
    int role; /* RAFT_ROLE_* */
    raft_id leader;
    raft_term term;
    uint64_t give_up_ms; /* when writes of a lost term are answered "unknown"; UINT64_MAX: never */
    int is_congested; /* requests wait in their buffers: too much is uncommitted, or one moment */

    /* Writes and reads under way. */
    struct checkpoints checkpoints;
    struct pending pending;
    struct batch batch;
    struct forwards forwards;
    struct readers readers;
    uint64_t read_tag;       /* of this turn's raft_read */
    uint64_t read_confirmed; /* every read up to this tag may be answered */
    int read_wanted;         /* somebody asked in this turn */
    uint64_t tick_ms;        /* the time of the last tick that was proposed, and the term */
    raft_term tick_term;
    struct resp_parser again; /* for requests that are looked at a second time */

    /* Clients. */
    struct client_place *places;
    size_t place_count;
    uint32_t first_free;
    size_t client_count;
    size_t waiting_count; /* of WAIT */
    size_t task_count;    /* changes of the cluster that clients wait for (admin.c) */
    uint64_t transfers_given_up;
    int has_leases; /* the membership allows them */
    uint64_t next_client_id;
    struct client_list backlog;
    struct client_list outbox;
    struct client_list graveyard;
    uint64_t sweep_ms;

    int has_stopped;  /* the engine takes part in nothing any more */
    uint64_t stop_ms; /* when stopping ends at the latest; UINT64_MAX: it serves */
    struct server_stats stats;
    char failure[SERVER_FAILURE_MAX]; /* "": none */
};

/* ---- server.c ---- */

/* Lists a client whose input may hold requests, or whose output may be written. */
void server_look_at(struct server *server, struct client *client);
void server_write_to(struct server *server, struct client *client);

/* Closes a connection at once. What it asked for is executed, but nobody is told. */
void server_drop(struct server *server, struct client *client);

/* The client of a waiter; null where it has gone. */
struct client *server_client(const struct server *server, uint32_t slot, uint32_t generation);

/* Begins to stop. Repeating it changes nothing. */
void server_stop(struct server *server);

int server_is_stopping(const struct server *server);

/* The clock that entries are stamped with, in milliseconds since 1970. */
uint64_t server_wall_ms(const struct server *server);

/* Remembers the first failure, after which the turn ends. A printf. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void server_fail(struct server *server, const char *format, ...);

/* ---- requests.c ---- */

/* Deals with what a client has sent, as far as it can. */
void requests_take(struct server *server, struct client *client);

/* Answers what can be answered, in order. */
void requests_advance(struct server *server, struct client *client);

/* An entry that a client waits for is applied: answers what is before it, and then it. */
int requests_apply(struct server *server, struct client *client, const struct waiter *waiter,
                   const raft_entry *entry);

/* Gives a waiting write an answer other than its result. */
void requests_settle(struct server *server, const struct waiter *waiter,
                     enum request_answer answer);

/* Answers a waiting write with the reply that its entry, applied already, has given. */
void requests_answer(struct server *server, const struct waiter *waiter, raft_index index,
                     struct slice reply);

/* Answers the reads up to a tag: confirmed, or with the reason why not. */
void requests_reads_confirmed(struct server *server, uint64_t tag);
void requests_reads_failed(struct server *server, uint64_t tag, enum request_answer answer);

/* ---- session.c ---- */

/* Executes a command that the server itself answers. The client's queue is empty. */
void session_execute(struct server *server, struct client *client, const struct command *command,
                     const struct slice *args, size_t count);

/* Answers those WAITs that are satisfied or overdue. Returns when the next one is due. */
uint64_t session_check_waits(struct server *server, uint64_t now_ms);

/* Nonzero where the connection has to say AUTH before anything else. */
int session_needs_auth(const struct server *server, const struct client *client);

/* ---- topology.c ---- */

/* Reads the members of the node, and tells the transport where they are. */
void topology_load(struct server *server);

/*
 * Tells the transport the addresses of the others, and to forget who is no member any more. Names
 * are waited for where that may be: not while the server serves. Returns the first one whose
 * address is not allowed without protection, or 0.
 */
raft_id topology_connect(struct server *server, int may_wait);

/* The member of an id, or null. */
const struct member *topology_member(const struct server *server, raft_id id);

/* Adds the error for a request that this server does not execute; slot is that of its key. */
void topology_redirect(struct server *server, unsigned slot, struct buffer *out);

void topology_cluster(struct server *server, const struct command *command,
                      const struct slice *args, size_t count, struct buffer *out);
void topology_role(struct server *server, struct buffer *out);
void topology_raft_members(struct server *server, struct buffer *out);
void topology_raft_state(struct server *server, struct buffer *out);

/* Others with data, learners too, known to hold everything up to an index. Leader only. */
size_t topology_holders(const struct server *server, raft_index index);

const char *topology_role_name(int role);
const char *topology_kind_name(int kind);

/* ---- peers.c ---- */

/*
 * Tells the transport where a member is, another address than before included. A name is looked up
 * at once where that may wait, which it may not while the server serves; one that is not known is
 * looked up beside the loop until it is, and that is no error. 0; -EACCES: outside loopback, see
 * transport_peer; or another negated errno. Of each a warning is said.
 */
int peers_connect(struct server *server, const struct member *member, int may_wait);

/* Neither calls this one nor asks for its name any more. */
void peers_forget(struct server *server, raft_id id);

/* Says in the log that connections were refused, for a wrong secret say: once in a while. */
void peers_say_refusals(struct server *server, uint64_t now_ms);

/* Looks for nobody any more. Before the loop is freed. */
void peers_close(struct server *server);

/* ---- info.c ---- */

/* The text of INFO for the sections named (none: all), as one bulk. */
void info_write(struct server *server, const struct slice *sections, size_t count,
                struct buffer *out);

/* ---- checkpoints.c ---- */

/* Notes a write of the log that is replayed. */
void checkpoints_note_base(struct server *server, const raft_write *write);

/* After the log was replayed: recovers the directory and loads the newest. 0, or -1 and why. */
int checkpoints_open(struct server *server, char error[SERVER_ERROR_MAX]);

/* After the node was started: the log need not keep what the checkpoint covers. */
void checkpoints_start(struct server *server);
void checkpoints_close(struct server *server);

/* Does what is due, a piece of it. */
void checkpoints_turn(struct server *server);
int checkpoints_are_busy(const struct server *server);

/* One is to be taken as soon as possible. Nonzero while one is wanted or on its way. */
void checkpoints_want(struct server *server);
int checkpoints_is_under_way(const struct server *server);

/* The engine's callbacks snapshot_read, snapshot_write, snapshot_load, and the end of a transfer. */
int checkpoints_read(struct server *server, raft_chunk *chunk);
int checkpoints_write(struct server *server, const raft_chunk *chunk);
int checkpoints_load(struct server *server, raft_index index, raft_term term);
void checkpoints_end(struct server *server, raft_id peer);

/* ---- consensus.c ---- */

/* Ends the server where a status of the engine is of the fatal tier. */
void consensus_check(struct server *server, int status);

/* Opens log and node, founds or restores the group. 0, or -1 with the reason. */
int consensus_open(struct server *server, char error[SERVER_ERROR_MAX]);

/* Sets the timers going. 0, or -1 with the reason. */
int consensus_start(struct server *server, char error[SERVER_ERROR_MAX]);

/* Finishes the log and frees the node. 0, or -1 where something could not be stored. */
int consensus_close(struct server *server);

/* Adds a checked write to the batch of this turn. 0, or -1 where memory fails. */
int consensus_add(struct server *server, const struct waiter *waiter, const struct command *command,
                  const struct slice *args, size_t count);

/* Adds a transaction that EXEC has ended. 0, or -1 where memory fails. */
int consensus_add_transaction(struct server *server, const struct waiter *waiter,
                              const struct transaction *transaction);

/* Proposes the batch and asks for the reads of this turn. */
void consensus_submit(struct server *server);

/* Lets the engine do what is due, stores, sends and answers. */
void consensus_flush(struct server *server);

/* Begins to hand over and to answer what is under way; server->has_stopped tells the end. */
void consensus_stop(struct server *server);

/* When consensus_flush has something to do. */
uint64_t consensus_deadline(const struct server *server);

/* Notes that a client has reads in this turn. 0, or -1 where memory fails. */
int consensus_want_read(struct server *server, struct client *client);

/* A message arrived. */
void consensus_receive(void *host, const raft_message *message);

/* A connection to a peer was made or lost. */
void consensus_connection(void *host, raft_id peer, int up);

/* ---- forward.c ---- */

/* Whether a write may be handed to the leader: --forward was given, and one is known. */
int forward_is_possible(const struct server *server);

/*
 * Hands a checked write to the leader: ANSWER_WAITING, or why not. Nothing else of its client is
 * under way, nor will be until it is answered.
 */
enum request_answer forward_command(struct server *server, const struct waiter *waiter,
                                    const struct command *command, const struct slice *args,
                                    size_t count);
enum request_answer forward_transaction(struct server *server, const struct waiter *waiter,
                                        const struct transaction *transaction);

/* Applies an entry that nobody waits for as a proposal made here. As command_apply. */
int forward_apply(struct server *server, const raft_entry *entry);

/* RAFT_EVENT_FORWARDED. */
void forward_told(struct server *server, const raft_event *event);

/* Answers those that have waited long enough; when that is due. */
void forward_check(struct server *server, uint64_t now_ms);
uint64_t forward_deadline(const struct server *server);

/*
 * Copies what another server wants appended, with the time of this one, since the leader's clock
 * decides what expires. 0, or -1: it is nothing that a server of this version could have handed on.
 */
int forward_stamp(const raft_message *message, uint64_t now_ms, struct buffer *out);

void forward_free(struct forwards *forwards);

#endif
