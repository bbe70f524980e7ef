/*
 * One run of the simulator: a whole cluster in one thread and in virtual time. What happens depends
 * on the plan alone. The parts:
 *
 *     sim.c       command line, workers, summary        run.c      the loop and the phases of a run
 *     plan.c      from a seed to options                faults.c   what goes wrong, and healing
 *     node.c      a host of the engine: callbacks, crash, restart, clocks
 *     network.c   links and messages on their way       client.c   proposals and reads
 *     members.c   changes of the membership             checker.c  the observer
 *     losses.c    disks that are lost or go bad       refine.c   both protocols as in the papers
 *     snapshots.c taken, sent, received, loaded         store.c    storage (model or WAL)
 *     queue.c     events to come                        arena.c    memory of a run
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "arena.h"
#include "checker.h"
#include "counters.h"
#include "plan.h"
#include "queue.h"
#include "raft.h"
#include "random.h"
#include "refine.h"

#define NEVER           UINT64_MAX
#define CLUSTER         UINT64_C(0x6b65656c)
#define MESSAGE_KINDS   18
#define ARCHIVE_PACKETS 256
#define PROBES_MAX      64
#define SHELF_SHOTS     12

enum event_kind {
    EVENT_DELIVER,   /* data: the packet */
    EVENT_SYNC,      /* the disk of a node has finished everything up to write `value` */
    EVENT_PERSISTED, /* and its engine is told */
    EVENT_APPLIED,   /* apply up to index `value` is done */
    EVENT_RESTART,
    EVENT_CLIENT,
    EVENT_SNAPSHOT,      /* a snapshot up to index `value` is durable */
    EVENT_CHUNK_READ,    /* data: the chunk */
    EVENT_CHUNK_WRITTEN, /* data: the chunk; value: a hash of its bytes */
    EVENT_LOADED,        /* data: the snapshot */
    EVENT_FETCHED,       /* data: the request */
    EVENT_SHIPPED,       /* the host has copied its snapshot to server `value` */
    EVENT_BROKEN,        /* the connection to server `value` broke: its process is dead */
    EVENT_OPERATE,       /* a client's request reaches a node that was paused */
    EVENT_FAULT,         /* value: FAULT_* */
    EVENT_AMBUSH,        /* value: FAULT_* and NODE_*: the node is in that state, or was just now */
    EVENT_UNCUT,         /* a partition of epoch `value` ends */
    EVENT_TICK           /* the run looks at its phase */
};

enum phase {
    PHASE_FAULTS,   /* everything in the plan may happen */
    PHASE_CORE,     /* a quorum is healthy: it has to elect and commit (I25) */
    PHASE_CONVERGE, /* everybody is healthy: all have to become equal (V24) */
    PHASE_STABLE,   /* nothing may change any more (I28) */
    PHASE_OVER
};

struct sim;
struct store;

struct packet {
    int from; /* positions */
    int to;
    uint64_t epoch;       /* of the network when it was sent */
    int damaged;          /* the receiver has to refuse it */
    size_t size;          /* of bytes */
    const uint8_t *bytes; /* encoded; null where it travels as a message */
    raft_message message;
};

struct network {
    uint8_t cut[SIM_NODES_MAX][SIM_NODES_MAX]; /* from, to */
    uint8_t kind_lost[MESSAGE_KINDS];
    uint64_t clogged_until[SIM_NODES_MAX][SIM_NODES_MAX];
    uint64_t last_arrival[SIM_NODES_MAX][SIM_NODES_MAX];
    uint64_t epoch;
    uint64_t partition;                      /* number of the present one */
    int healthy[SIM_NODES_MAX];              /* links between healthy nodes are clean */
    struct packet *archive[ARCHIVE_PACKETS]; /* a sample of everything ever sent */
    uint64_t archived;
};

struct clock {
    uint64_t at_us; /* virtual time of the last change of rate */
    uint64_t ms;    /* what the clock showed then */
    uint64_t rate;  /* milliseconds in 1000 * 2^20 virtual microseconds; 2^20 is true */
};

/* A snapshot on disk, or on its way there. */
struct shot {
    raft_index index;
    raft_term term;
    uint64_t chain; /* of the state that it holds */
    const uint8_t *meta;
    size_t meta_size;
    uint8_t *data; /* null: a witness has none */
    size_t size;
    int received; /* from a leader: counts when the log names it */
};

struct shelf {
    struct shot *shots[SHELF_SHOTS];
    size_t count;
};

struct node {
    struct sim *sim;
    int position;
    raft_id id;
    raft *raft; /* null: down */
    uint64_t incarnation;
    uint64_t slowness;     /* times in the host and its disk are multiplied by it */
    int dying;             /* inside a callback: the host is dead, what follows has no effect */
    int restarting;        /* an EVENT_RESTART is on its way */
    uint64_t crash_in;     /* callback steps until it dies; 0: never */
    int crash_in_snapshot; /* it dies at the next step that has to do with one */
    struct clock clock;
    uint64_t clock_low; /* sometimes the host's clock reads this much too low, once */
    uint64_t poll_at;   /* virtual time of the next poll */
    int poll_soon;      /* poll_at was set because something waits to leave */
    uint64_t paused_until;
    uint64_t hung_until; /* the disk finishes nothing before */
    int fail_apply;      /* the next apply fails */
    int snapshot_due;    /* entries cannot be read: a snapshot has to do */
    uint32_t allocation_ppm;
    struct rng allocation_rng;
    size_t allocated; /* bytes that the engine holds */
    struct store *store;
    uint64_t write_last;                 /* issued */
    uint64_t write_synced;               /* finished by the disk */
    uint64_t write_told;                 /* told to the engine */
    uint64_t sync_at;                    /* when the last write issued will be finished */
    uint64_t issued_ms[RAFT_WRITES_MAX]; /* node clock at which write seq % MAX was issued */
    raft_range applying;                 /* lent by an apply that is outstanding; count 0: none */
    uint64_t applying_hash;
    raft_index machine_index; /* the state machine: how far, and the chain of all up to there */
    uint64_t machine_chain;
    struct shelf shelf;
    struct shot *taking;   /* being written; null: none */
    struct shot *arriving; /* being received; null: none */
    raft_id arriving_peer;
    raft_index
        sending[SIM_NODES_MAX]; /* to each: the snapshot of the transfer that was begun; or 0 */
    raft_status status;
    raft_index told_version; /* of the membership that the observer was told of */
    int told_joint;
    uint32_t told_lost; /* positions that the engine has told to have lost their logs */
};

struct probe {
    raft_index index;
    raft_term term;
};

#define AMBUSHES 8

/* A fault that waits for somebody to be in a state that does not last. */
struct ambush {
    uint64_t fault; /* FAULT_* */
    unsigned state; /* NODE_* */
};

struct client {
    uint64_t next_value;
    uint8_t *buffer;
    struct probe probes[PROBES_MAX]; /* proposals made since the healing */
    size_t probe_count;
};

struct sim {
    struct plan plan;
    struct rng rng;
    uint64_t now_us;
    struct queue queue;
    struct arena arena;
    struct node nodes[SIM_NODES_MAX];
    int node_count; /* founders first, then spares */
    int founders;
    struct network network;
    struct client client;
    struct ambush ambushes[AMBUSHES];
    size_t ambush_count;
    struct checker checker;
    struct refine spec;
    struct counters counters;
    uint64_t trace_hash;
    int zones_asked; /* a membership with failure zones may govern */
    uint32_t doomed; /* positions whose disk is lost or damaged */
    uint32_t
        wiped; /* learners that came back empty, and are not to vote before they are added anew */
    int trace; /* print the timeline */
    enum phase phase;
    uint64_t phase_began_us;
    int core[SIM_NODES_MAX];
    raft_term stable_term;
    uint64_t stable_changes;
    uint64_t backlog;     /* entries not chosen yet when the healing began */
    raft_index healed_at; /* the last chosen by then */
    int watching;         /* a leader is established in a calm run or phase */
    uint64_t timeout_us;  /* the longest election timeout, in true time */
};

struct result {
    uint64_t seed;
    int failed;
    uint64_t trace_hash;
    uint64_t heal_timeouts; /* election timeouts that the core needed, rounded up */
    struct counters counters;
    char failure[384];
};

/* run.c: runs a plan. The struct is zeroed before its first use, keeps its memory for the next run,
 * and is given back with sim_free. */
void sim_run(struct sim *sim, const struct plan *plan, int trace, struct result *result);
void sim_free(struct sim *sim);

/* Adds to the hash of everything that happened. */
void sim_record(struct sim *sim, uint64_t word);

/* Prints a line of the timeline. */
void sim_trace(struct sim *sim, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

void sim_schedule(struct sim *sim, uint64_t delay_us, enum event_kind kind, struct node *node,
                  uint64_t value, void *data);

int sim_is_faulty(const struct sim *sim); /* the phase of faults */

/* node.c */
void node_init(struct sim *sim, int position);
void node_free(struct node *node);
void node_start(struct node *node);
void node_restart_in(struct node *node, uint64_t delay_us);
void node_crash(struct node *node);
void node_poll(struct node *node);
void node_deliver(struct node *node, struct packet *packet);
void node_synced(struct node *node, uint64_t seq);
void node_persisted(struct node *node, uint64_t seq);
void node_applied(struct node *node, raft_index index);
void node_campaign(struct node *node);

/* how: 0 steps down, 1 forgets the leader, else transfers to target, or to the best if that is 0. */
void node_hand_over(struct node *node, uint64_t how, raft_id target);
void node_set_options(struct node *node, int altered);
void node_order(struct node *node, int (*order)(raft *raft));
void node_hint(struct node *node, raft_id peer);
uint64_t node_now_ms(const struct node *node);
void node_set_rate(struct node *node, uint64_t millionths); /* of a true clock's */
void node_changed(struct node *node);                       /* after every call on the engine */
int node_is_paused(const struct node *node);
int node_is_witness(const struct node *node);

/* What a node is in the midst of, in the order of the counters of pairs. */
enum node_state {
    NODE_JOINT = 1,
    NODE_TRANSFERRING = 2,
    NODE_INSTALLING = 4,
    NODE_SENDING = 8, /* a snapshot */
    NODE_LEASED = 16
};
#define NODE_STATES 5
unsigned node_midst(const struct node *node);

/* Counts a fault with each of these states; `joint` is the counter of its first pair. */
void node_count_pairs(struct sim *sim, enum counter joint, unsigned midst);
int node_enter(
    struct node *node); /* a callback begins: whether there is still a host to be called */
int node_dies_here(struct node *node, enum counter place);
int node_host_fails(struct node *node, uint64_t ppm); /* while there are faults */

/* network.c */
void network_init(struct sim *sim);
void network_send(struct sim *sim, const struct node *from, const raft_message *message);
void network_replay(struct sim *sim);
void network_partition(struct sim *sim);
void network_uncut(struct sim *sim, uint64_t partition);
void network_lose_kind(struct sim *sim);
void network_clog(struct sim *sim);
void network_heal(struct sim *sim, const int healthy[SIM_NODES_MAX], int wild);
void network_forget_old_mail(struct sim *sim);

/* client.c */
void client_init(struct sim *sim);
void client_step(struct sim *sim);
void client_operate(struct node *node);
void client_reenter(struct node *node);
void client_probe(struct sim *sim);
int client_probe_succeeded(const struct sim *sim);

/* snapshots.c */
void snapshots_take(struct node *node);
void snapshots_taken(struct node *node, raft_index index);
void snapshots_announce(struct node *node);
const struct shot *snapshots_recover(struct node *node, raft_index installed);
int snapshots_read(void *host, raft_chunk *chunk);
void snapshots_chunk_read(struct node *node, raft_chunk *chunk);
int snapshots_write(void *host, const raft_chunk *chunk);
void snapshots_chunk_written(struct node *node, const raft_chunk *chunk, uint64_t lent_hash);
int snapshots_load(void *host, raft_index index, raft_term term);
void snapshots_loaded(struct node *node, const struct shot *shot);
void snapshots_ended(struct node *node, const raft_event *event);
void snapshots_needed(struct node *node, raft_id peer);
void snapshots_shipped(struct node *node, raft_id peer);
int snapshots_read_log(void *host, raft_fetch *fetch);
void snapshots_fetched(struct node *node, raft_fetch *fetch);

/* losses.c */
int losses_are_bearable(const struct sim *sim, uint32_t doomed);
int losses_wipe(struct sim *sim, struct node *node);
struct node *losses_choose(struct sim *sim, struct node *node);
int losses_rot(struct sim *sim, struct node *node, raft_index index); /* 0: anything */
int losses_refused(struct node *node, int result);
int losses_spoil_read(struct node *node);
int losses_are_replaced(struct sim *sim);

/* members.c */
void members_change(struct sim *sim);
int members_remove(struct sim *sim, struct node *leader, uint32_t positions);
struct node *members_leader(struct sim *sim);
uint32_t members_needed(struct sim *sim);
void members_switch_off(struct sim *sim);

/* faults.c */
void faults_begin(struct sim *sim);
void faults_strike(struct sim *sim, uint64_t fault);
void faults_lie_in_wait(struct node *node); /* the node's state may have changed */
void faults_spring(struct node *node, uint64_t value);
void faults_heal_core(struct sim *sim);
void faults_heal_all(struct sim *sim);

#endif
