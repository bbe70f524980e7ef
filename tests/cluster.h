/*
 * A whole group of servers in one process, for scripted tests: virtual time, a network whose every
 * message is in the script's hand, stores that lose what was not completed, state machines that
 * remember what they were given. Everything goes through the public API and nothing is random but
 * the engine's own seeded timeouts, so a script always takes the same course.
 *
 * Servers have the ids 1 to count and sit in cluster->nodes[id]. Nothing moves by itself: time
 * passes in cluster_advance (no message is delivered) and cluster_run (messages flow), messages
 * move in the deliver family, cluster_settle and cluster_run. A message waits in the queue of its
 * ordered pair until it is delivered or dropped; all messages ever sent are kept, numbered from 1,
 * with what was durable on the sender's store when they left, so that a script can assert on them
 * and replay them.
 *
 * The harness watches on its own: at most one leader a term (V1), votes and acknowledgements only
 * after they are durable (V2, V3, V11, R1, R2), the same entry applied everywhere at an index, in
 * order, once a run (V8), nothing committed truncated (V10), writes and ranges well formed, memory
 * lent unchanged as long as promised, raft_check clean after every step, no busy loop, no message
 * of a correct server refused (unless the script has forged some: these may contradict it). An
 * accepted round is durable before it is told and never falls nor exceeds the term (P6, I8). A
 * snapshot that is loaded is what was applied elsewhere up to its index (I19), was durable when it
 * was put into use (R35), and every transfer begun with a host ends with one event. The first
 * violation is kept as a sentence: every test ends by asserting that cluster_violation is null.
 */
#ifndef KEELSON_TESTS_CLUSTER_H
#define KEELSON_TESTS_CLUSTER_H

#include "../raft.h"

enum { CLUSTER_MAX = 9 };

/* An entry as a store or a state machine holds it. data is owned by whoever holds the entry. */
struct cluster_entry {
    raft_index index;
    raft_term term;
    int kind;
    size_t size;
    char *data; /* payload, with a zero byte behind it so that texts can be compared */
};

struct cluster_log {
    struct cluster_entry *entries; /* consecutive; entries[0] has index base + 1 */
    size_t count;
    size_t capacity;
    raft_index base; /* 0 but in a store that has compacted or was given a snapshot */
};

/* A snapshot as a host keeps it: metadata, and the bytes that a state machine is made of. */
struct cluster_snapshot {
    raft_index index;
    raft_term term;
    uint8_t *meta;
    size_t meta_size;
    uint8_t *bytes;
    size_t size;
    int whole; /* all of it has arrived, and is durable */
};

enum { CLUSTER_SNAPSHOTS = 4 }; /* how many of its snapshots a node can still give */

/* A deep copy of a write that persist was given. */
struct cluster_write {
    uint64_t seq;
    int has_state;
    raft_hard_state state;
    void *meta;
    size_t meta_size;
    raft_index base_index;
    raft_index truncate_from;
    struct cluster_log appended;
    const void *lent[8]; /* where the bytes of the ranges were lent, to see them unchanged */
    size_t lent_sizes[8];
    uint64_t lent_hashes[8];
    size_t lent_count;
};

/* Stable storage: what survives a crash, and the writes that are on their way. */
struct cluster_store {
    int any; /* something is stored */
    raft_hard_state state;
    void *meta;
    size_t meta_size;
    struct cluster_log log;
    struct cluster_write *pending; /* oldest first */
    size_t pending_count;
    int async;                 /* persist answers RAFT_PENDING until cluster_complete */
    int fail_next;             /* negative: the next persist returns it and stores nothing */
    uint64_t writes;           /* persist calls, all runs together */
    raft_index confirmed_last; /* last index when raft_persisted or persist last said so */
};

/* Memory of a node: counted, checked against the sizes the engine claims, and made to fail. */
struct cluster_memory {
    uint64_t calls;   /* allocations and growths asked for so far */
    uint64_t fail_at; /* the call that fails, counting from 1; 0: none */
    int fail_on;      /* nonzero: all calls after fail_at fail too */
    uint64_t failed;  /* how many were refused */
    uint64_t live_blocks;
    uint64_t live_bytes;
};

struct cluster_event {
    uint64_t at_ms;
    uint64_t run; /* which run of the node told it */
    raft_event event;
};

struct cluster;

enum {
    CLUSTER_IN_PERSIST = 1,
    CLUSTER_IN_SEND,
    CLUSTER_IN_APPLY,
    CLUSTER_IN_NOTIFY,
    CLUSTER_IN_READ, /* snapshot_read, and so on */
    CLUSTER_IN_WRITE,
    CLUSTER_IN_LOAD,
    CLUSTER_IN_FETCH
};

struct cluster_node {
    struct cluster *cluster;
    raft_id id;
    raft *raft;      /* null while crashed */
    uint64_t run;    /* counts starts, from 1 */
    int64_t skew_ms; /* this node's clock minus the cluster's */
    raft_options options;
    struct cluster_store store;
    struct cluster_memory memory;

    struct cluster_log applied; /* of this run */
    raft_index apply_pending;   /* last index of an outstanding apply; 0: none */
    raft_range apply_lent;
    uint64_t apply_hash;
    int apply_async;     /* apply answers RAFT_PENDING until cluster_complete_apply */
    int apply_fail_next; /* negative: the next apply returns it */

    /* Snapshots, where cluster->snapshots is set: newest first; what is on its way in. */
    struct cluster_snapshot snapshots[CLUSTER_SNAPSHOTS];
    struct cluster_snapshot staged;
    int forgets_old; /* only the newest snapshot can be read */
    int read_async;  /* snapshot_read answers RAFT_PENDING until cluster_complete_reads */
    int write_async; /* snapshot_write, until cluster_complete_chunk */
    int load_async;  /* snapshot_load, until cluster_complete_apply */
    int fetch_async; /* read_log, until cluster_complete_fetches */
    int read_fail;   /* negative: what these return while it is set */
    int write_fail;
    int fetch_fail;
    int load_fail_next;  /* negative: the next snapshot_load returns it */
    int durable_machine; /* what was applied survives a crash; told by raft_restore_applied */
    raft_chunk reads[CLUSTER_MAX + 1]; /* outstanding, by peer; data null: none */
    raft_fetch fetches[CLUSTER_MAX + 1];
    raft_chunk chunk; /* the outstanding snapshot_write */
    int chunk_pending;
    raft_index sending[CLUSTER_MAX + 1]; /* the snapshot that was begun for a peer; 0: none */
    raft_index receiving;                /* the snapshot that was begun here; 0: none */
    uint64_t fetched;                    /* calls of read_log */

    struct cluster_event *events; /* of all runs */
    size_t event_count;
    size_t event_capacity;
    uint64_t last_seq; /* of the last write in this run */
    int in_callback;   /* CLUSTER_IN_*; 0: none */
    uint64_t spin_ms;  /* how often polled without anything happening at this sample */
    uint64_t spin_count;
};

/* A message that left a node. */
struct cluster_message {
    uint64_t number; /* from 1 */
    uint64_t sent_ms;
    uint64_t sender_run;
    raft_message message; /* decoded; its ranges point into bytes */
    uint8_t *bytes;       /* the wire form, in a block of exactly its size */
    size_t size;
    raft_hard_state durable_state; /* of the sender, as it left */
    raft_index durable_last;
    raft_term durable_last_term;
};

struct cluster_queue {
    uint64_t *numbers;
    size_t count;
    size_t capacity;
    int cut;  /* what is sent now is lost */
    int hold; /* settle and run leave the queue alone */
};

struct cluster {
    size_t count;
    size_t founders; /* nodes 1..founders are bootstrapped, the others are joiners; default: all */
    uint64_t now_ms;
    int snapshots;         /* hosts take and give snapshots; default: they know of none */
    int ships;             /* these hosts ship them themselves: no snapshot_read */
    int read_log;          /* hosts read stored entries back */
    raft_index base_index; /* founded on a past of so many entries */
    uint32_t lease_ms;     /* of the founding membership; 0: no leases */
    uint32_t lease_drift_permille;
    uint32_t commit_quorum; /* of the founding membership; 0: majorities */
    uint64_t latency_ms; /* cluster_run and cluster_settle deliver a message this late; default 0 */
    struct cluster_node nodes[CLUSTER_MAX + 1];                    /* by id; [0] is unused */
    struct cluster_queue queues[CLUSTER_MAX + 1][CLUSTER_MAX + 1]; /* [from][to] */
    struct cluster_message *sent;
    size_t sent_count;
    size_t sent_capacity;
    struct cluster_log committed; /* every index ever applied anywhere */
    struct {
        raft_term term;
        raft_id id;
        uint64_t run;
    } * reigns; /* every leadership that was told */
    size_t reign_count;
    size_t reign_capacity;
    struct {
        raft_id voter;
        raft_term term;
        raft_id candidate;
    } * votes; /* every vote that was sent, own votes included */
    size_t vote_count;
    size_t vote_capacity;
    uint64_t forged;     /* messages injected by the script */
    char violation[256]; /* the first; empty: none */
    /*
     * Called inside every callback of every node after the harness has done its part; argument is
     * the callback's own (raft_write, raft_message, raft_range, raft_event). May be null.
     */
    void (*hook)(struct cluster *cluster, raft_id id, int callback, const void *argument);
    void *hook_data; /* the script's */
};

/* ---- making and ending ---------------------------------------------------------------------- */

/* Of the groups that are made from now on; Raft unless a test says otherwise. */
extern int cluster_protocol;

/*
 * Runs a script that says nothing of one protocol's own rules (with check.h) under both: as `name`
 * and as `name_in_multipaxos`. What such a script may have to know of the protocol is asked below.
 */
#define RUN_BOTH(name)                                                                             \
    do {                                                                                           \
        RUN(name);                                                                                 \
        cluster_protocol = RAFT_PROTOCOL_MULTIPAXOS;                                               \
        check_run(#name "_in_multipaxos", (name));                                                 \
        cluster_protocol = RAFT_PROTOCOL_RAFT;                                                     \
    } while (0)

/*
 * The term of a founder that lies so many campaigns above another term: Raft counts them, in
 * Multi-Paxos the rounds are counted and the founder's slot, its id here, is in the low bits (P1).
 */
raft_term cluster_later(const struct cluster *cluster, raft_term term, uint64_t rounds,
                        raft_id owner);

/* How many entries a leader begins its term with: the no-op of Raft, in Multi-Paxos none. */
raft_index cluster_noops(const struct cluster *cluster);

/*
 * Makes a cluster of count servers that are not started yet, so that a script can still change
 * nodes[id].options (election timeout 1000, heartbeat 100, seed 1 to begin with), founders,
 * now_ms (10000), the stores' async and the memory's limits. Exits the process when the test
 * machine has no memory.
 */
struct cluster *cluster_create(size_t count);

/*
 * raft_new, raft_bootstrap (founders) and raft_start on all, then one raft_poll, so that the
 * founding is on the disk or on its way. The first code that is not RAFT_OK.
 */
int cluster_start(struct cluster *cluster);

/* cluster_create and cluster_start; a failure to start is a violation. */
struct cluster *cluster_new(size_t count);

/* Frees everything. Blocks that a node has not given back are reported on stderr, and exit 1. */
void cluster_free(struct cluster *cluster);

/* Null, or the first thing that was wrong. */
const char *cluster_violation(const struct cluster *cluster);

/* How a test ends (with check.h): the harness saw nothing wrong, and everything is given back. */
#define CLUSTER_DONE(cluster)                                                                      \
    do {                                                                                           \
        CHECK_STR(cluster_violation(cluster) != NULL ? cluster_violation(cluster)                  \
                                                     : "no violation",                             \
                  "no violation");                                                                 \
        cluster_free(cluster);                                                                     \
    } while (0)

/* ---- crashes and restarts ------------------------------------------------------------------- */

/* The node is gone, and with it every write that was not completed. Its queues stay. */
void cluster_crash(struct cluster *cluster, raft_id id);

/*
 * Steps that the pending writes of a node consist of: a state, a metadata, a truncation and each
 * entry count one, in the order in which they reach the disk.
 */
size_t cluster_pending_steps(const struct cluster *cluster, raft_id id);

/* As cluster_crash, but the first `steps` steps of the pending writes did reach the disk. */
void cluster_crash_after(struct cluster *cluster, raft_id id, size_t steps);

/*
 * Starts a node that is not running, from its store (as one write), or, where that is empty,
 * bootstrapped or as a joiner as it was the first time. The code of the call that failed, and the
 * node is down again, or RAFT_OK.
 */
int cluster_restart(struct cluster *cluster, raft_id id);

/* The same, the store given back write by write: the state first, then one entry a write. */
int cluster_restart_stepwise(struct cluster *cluster, raft_id id);

/* ---- storage -------------------------------------------------------------------------------- */

/* Makes persist of the node (0: of all) answer RAFT_PENDING from now on, or RAFT_OK again. */
void cluster_store_async(struct cluster *cluster, raft_id id, int async);

/* The oldest pending write, or all, become durable; told by raft_persisted; then polls. */
int cluster_complete_one(struct cluster *cluster, raft_id id);
int cluster_complete(struct cluster *cluster, raft_id id);

/* The oldest pending write fails; told by raft_persisted, whose code is returned; then polls. */
int cluster_fail_write(struct cluster *cluster, raft_id id, int status);

/* An outstanding apply is completed; then polls. */
int cluster_complete_apply(struct cluster *cluster, raft_id id);

/* The durable entry at an index, or null. */
const struct cluster_entry *cluster_stored(const struct cluster *cluster, raft_id id,
                                           raft_index index);

/* ---- snapshots ------------------------------------------------------------------------------ */

/*
 * Takes a snapshot of what the node has applied, durable at once, tells raft_compact, and drops
 * from the store what status.first_index allows. The code of the call that failed, or RAFT_OK.
 */
int cluster_compact(struct cluster *cluster, raft_id id);

/* Ships the newest snapshot of one node to another by the hosts' own ways, told to both. */
int cluster_ship(struct cluster *cluster, raft_id from, raft_id to);

/* What these callbacks answered RAFT_PENDING is done now; then polls. */
int cluster_complete_reads(struct cluster *cluster, raft_id id);
int cluster_complete_chunk(struct cluster *cluster, raft_id id);
int cluster_complete_fetches(struct cluster *cluster, raft_id id);

/* Whether transfers that were begun with the node's host have not ended yet. */
int cluster_transfers(const struct cluster *cluster, raft_id id);

/* ---- time ----------------------------------------------------------------------------------- */

/* The node's clock now. */
uint64_t cluster_clock(const struct cluster *cluster, raft_id id);

/* raft_poll at the node's clock, or at a sample of the script's choice. */
int cluster_poll(struct cluster *cluster, raft_id id);
int cluster_poll_at(struct cluster *cluster, raft_id id, uint64_t now_ms);

/* Time passes; every node is polled at its deadlines; no message is delivered. */
void cluster_advance(struct cluster *cluster, uint64_t ms);

/* Time passes on one node's clock only; it is polled at its deadlines. */
void cluster_advance_node(struct cluster *cluster, raft_id id, uint64_t ms);

/*
 * No time passes; nodes that have something waiting are polled and messages on links that are not
 * held are delivered, oldest first, until nothing moves. Pending writes stay pending.
 */
void cluster_settle(struct cluster *cluster);

/* Time passes with everything settling at every instant where something is due. */
void cluster_run(struct cluster *cluster, uint64_t ms);

/*
 * As cluster_run, until done(cluster) is true, at most ms; whether it became true. The time that
 * it took is what cluster->now_ms has grown by.
 */
int cluster_run_until(struct cluster *cluster, int (*done)(struct cluster *), uint64_t ms);

/* ---- network -------------------------------------------------------------------------------- */

/*
 * Links, one way. 0 stands for every node. cut: what is sent is lost and what is queued too.
 * hold: what is sent stays queued while settling and running; heal ends both.
 */
void cluster_cut(struct cluster *cluster, raft_id from, raft_id to);
void cluster_hold(struct cluster *cluster, raft_id from, raft_id to);
void cluster_heal(struct cluster *cluster, raft_id from, raft_id to);

/* Cuts both ways between a node and all others; between two nodes; heals all links. */
void cluster_isolate(struct cluster *cluster, raft_id id);
void cluster_split(struct cluster *cluster, raft_id one, raft_id other);
void cluster_heal_all(struct cluster *cluster);

size_t cluster_queued(const struct cluster *cluster, raft_id from, raft_id to);

/* The message at a position of a queue, oldest first, or null. */
const struct cluster_message *cluster_peek(const struct cluster *cluster, raft_id from, raft_id to,
                                           size_t position);

/*
 * raft_receive_bytes with the oldest (or the one at a position) of a queue, then raft_poll. The
 * code of the former; RAFT_OK when nothing was queued or the receiver is down.
 */
int cluster_deliver(struct cluster *cluster, raft_id from, raft_id to);
int cluster_deliver_at(struct cluster *cluster, raft_id from, raft_id to, size_t position);

/* Everything that is in the queue now, one after the other; how many. */
size_t cluster_deliver_all(struct cluster *cluster, raft_id from, raft_id to);

/* As cluster_deliver, without the poll. */
int cluster_receive(struct cluster *cluster, raft_id from, raft_id to);

/* Loses the oldest of a queue, or all; 0 stands for every node. */
void cluster_drop(struct cluster *cluster, raft_id from, raft_id to);
void cluster_drop_all(struct cluster *cluster, raft_id from, raft_id to);

/* Puts the oldest of a queue there once more, behind all others. */
void cluster_duplicate(struct cluster *cluster, raft_id from, raft_id to);

/* Delivers a message that was sent earlier, however old, once more; then polls. */
int cluster_replay(struct cluster *cluster, uint64_t number);

/* Fills in a message as node `from` would address it: cluster, group, from, to, term, kind. */
raft_message cluster_forge(const struct cluster *cluster, raft_id from, raft_id to, raft_term term,
                           int kind);

/* raft_receive with a message of the script's making, then raft_poll; the code of the former. */
int cluster_inject(struct cluster *cluster, raft_id to, const raft_message *message);

/* ---- what was sent -------------------------------------------------------------------------- */

/* How many messages were sent so far: a mark for the two below. */
uint64_t cluster_mark(const struct cluster *cluster);

/*
 * The first message after a mark from one node to another, of a kind; 0 matches any. Null: none.
 * To go on searching, the number of what was found is the next mark.
 */
const struct cluster_message *cluster_sent(const struct cluster *cluster, uint64_t mark,
                                           raft_id from, raft_id to, int kind);
size_t cluster_sent_count(const struct cluster *cluster, uint64_t mark, raft_id from, raft_id to,
                          int kind);

/* A number that depends on every byte sent and every time of sending. */
uint64_t cluster_traffic_hash(const struct cluster *cluster);

/* ---- leading and proposing ------------------------------------------------------------------ */

/*
 * Makes a node leader with everything delivered, past a live leader too (that one is cut off until
 * the voters may vote again). Stores complete at once while it runs. Whether it leads.
 */
int cluster_elect(struct cluster *cluster, raft_id id);

/* The living leader of the highest term, or 0. */
raft_id cluster_leader(const struct cluster *cluster);

/* The leader that a quorum of living nodes follows in its term, or 0. */
raft_id cluster_stable_leader(const struct cluster *cluster);

/* raft_propose of a text, with no settling. Its index, or 0; *code, if not null, says why. */
raft_index cluster_propose_code(struct cluster *cluster, raft_id id, const char *text, int *code);
raft_index cluster_propose(struct cluster *cluster, raft_id id, const char *text);

/* ---- inspecting ----------------------------------------------------------------------------- */

raft_status cluster_status(const struct cluster *cluster, raft_id id);
int cluster_role(const struct cluster *cluster, raft_id id);
raft_term cluster_term(const struct cluster *cluster, raft_id id);
raft_index cluster_commit(const struct cluster *cluster, raft_id id);
raft_peer_status cluster_peer(const struct cluster *cluster, raft_id leader, raft_id peer);

/* What a node of this run applied at an index, or null. */
const struct cluster_entry *cluster_applied(const struct cluster *cluster, raft_id id,
                                            raft_index index);

/* The text applied at an index, "" for a no-op, null where nothing was applied. */
const char *cluster_applied_text(const struct cluster *cluster, raft_id id, raft_index index);

/* Whether all living nodes have the same term, last, commit and applied index. */
int cluster_converged(const struct cluster *cluster);

/* Events of a node from a position of its events array on, of a kind (0: any). Null: none. */
const raft_event *cluster_event(const struct cluster *cluster, raft_id id, size_t since, int kind);
size_t cluster_event_count(const struct cluster *cluster, raft_id id, size_t since, int kind);

/* The answer to a read with this tag, or null; how often it was answered. */
const raft_event *cluster_read_answer(const struct cluster *cluster, raft_id id, uint64_t tag);
size_t cluster_read_answers(const struct cluster *cluster, raft_id id, uint64_t tag);

/* Whether any of the DROPPED events of a node covers an index; its status, or 0. */
int cluster_outcome(const struct cluster *cluster, raft_id id, raft_index index, raft_term term);

/*
 * A number made of raft_describe_node, the deadline and the status without the counts of received
 * and refused messages: equal before and after means that a call changed nothing.
 */
uint64_t cluster_fingerprint(const struct cluster *cluster, raft_id id);

#endif
