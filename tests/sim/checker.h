/*
 * The global observer: it is told everything that happens to every node, keeps its own idea of what
 * is durable where and of what has been chosen, and flags the first thing that breaks an invariant
 * (I1..I29 of the protocol rules, checks V1..V24). It knows nothing of the simulator that feeds it,
 * so that tests can feed it forged histories.
 *
 * Nodes are named by position, 0 and up. What a node was told to be durable is durable: a sync that
 * the node has not been told of yet does not count, so whoever relies on luck is caught.
 */
#ifndef SIM_CHECKER_H
#define SIM_CHECKER_H

#include "raft.h"
#include "registry.h"

#define CHECKER_NODES_MAX 8
#define CHECKER_TERM_MAX  ((raft_term)1 << 20) /* beyond it something raises terms without end */
#define CHECKER_SLOTS     65536                /* of Multi-Paxos (P18) */

struct checker_setup {
    int node_count;
    raft_id ids[CHECKER_NODES_MAX];
    int founders;       /* the first so many positions found the group; 0: all */
    uint32_t witnesses; /* positions that are witnesses whenever they are members */
    int paxos;          /* the group runs Multi-Paxos */
    int apply_ahead;
    int zones; /* founders at even and odd positions are in two failure zones, which count */
    uint64_t append_bytes_max; /* bounds of I24; 0: not checked */
    uint64_t apply_bytes_max;
    uint64_t inflight_messages_max;
    uint64_t inflight_bytes_max;
    uint64_t entry_bytes_max;
    uint64_t reads_max;
    uint64_t log_bytes_max;
    uint64_t sticky_ms; /* how long contact with a leader binds at least (R19); 0: not at all */
};

/* A log as terms and chains; entry i is at links[i - 1]. */
struct checker_link {
    raft_term term;
    uint64_t chain;
    raft_index config; /* the newest membership at or below; 0: the founding one */
};

/* A membership, with quorums counted here once more; sets are bit masks over positions. */
struct checker_config {
    raft_index version;
    uint32_t members;
    uint32_t wishes;    /* learners that are to become voters by themselves */
    uint32_t voters[2]; /* of both halves while joint; else [1] is 0 */
    unsigned elect[2];
    unsigned commit[2];
    int zones; /* failure zones count (R57) */
    uint32_t zone[CHECKER_NODES_MAX];
};

struct checker_log {
    struct checker_link *links;
    size_t count;
    size_t capacity;
};

/* A write that persist was given and that the node does not know to be durable yet. */
struct checker_write {
    uint64_t seq;
    int has_state;
    raft_hard_state state;
    int replaces; /* a snapshot takes the place of the log, up to base_index */
    raft_index base_index;
    raft_index truncate_from;
    size_t first_link; /* in the node's pending links */
    size_t link_count;
};

/* The last question of a kind that a node was asked by a candidate. */
struct checker_question {
    uint64_t round;
    raft_term term;   /* that the candidate wants to lead */
    int log_is_worse; /* the candidate's log is known to be worse than that of the one asked */
    int sticky;       /* who is asked hears a leader (R19) */
    int promised;     /* who is asked has promised not to help against one (R50) */
};

/* What a node has promised to a leader, by its own clock; until 0: nothing. */
struct checker_promise {
    uint64_t until_ms;
    raft_term term;     /* no promise of a higher term is among it */
    raft_term tag_term; /* the newest round that was answered with a credit */
    uint64_t tag_round;
    int answered; /* since the node was observed */
};

struct checker_node {
    int up;
    uint64_t incarnation;
    raft_index
        fresh_asked; /* a snapshot that the host has asked for ends here, or beyond; 0: none */
    raft_hard_state durable_state;
    raft_hard_state issued_state;
    struct checker_log durable;  /* what would survive a crash now, at the least */
    struct checker_log issued;   /* what persist was given, all of it */
    struct checker_log restored; /* while the node restarts */
    raft_hard_state restored_state;
    raft_index restored_snapshot;
    uint64_t restored_bytes; /* of a log that was above its bound when the node started; or 0 */
    struct checker_write pending[RAFT_WRITES_MAX];
    size_t pending_count;
    struct checker_log pending_links;
    raft_status status;           /* as last observed; size 0: not observed since it started */
    struct checker_config config; /* that governs there */
    struct checker_question votes_asked[CHECKER_NODES_MAX]; /* by the candidate's position */
    struct checker_question pre_votes_asked[CHECKER_NODES_MAX];
    raft_index apply_next;
    raft_index applied;   /* completed */
    raft_index loading;   /* the snapshot that snapshot_load was asked for; 0: none */
    raft_index snapshot;  /* the newest that is durable and in use, or was taken here */
    raft_term acked_term; /* the last term in which entries were acknowledged, and up to where */
    raft_index acked;
    uint64_t now_ms; /* the clock of its own */
    int has_contact; /* it follows a leader that it has heard at contact_ms */
    uint64_t contact_ms;
    struct checker_promise promise;
    int stale_from; /* leader: a position whose last reply is older than its membership; or NOBODY */
    int adopts;     /* candidate: it has taken in a part of another server's log (P4) */
    int config_moved; /* another membership governs since the node was observed */
    uint64_t proposals_open;
    uint64_t reads_open;
    uint64_t forwards_open;
};

/* Everything about one term. */
struct checker_term {
    raft_term term;
    int leader; /* position, or NOBODY */
    uint64_t leader_incarnation;
    raft_id vote_durable[CHECKER_NODES_MAX];
    raft_id vote_sent[CHECKER_NODES_MAX];
    raft_index accepted[CHECKER_NODES_MAX]; /* what counts for choosing, ever durable in the term */
    uint32_t acceptors;                     /* Multi-Paxos: who has accepted it durably (P6) */
    raft_index adopted;                     /* what its leader began with, L, and its chain */
    uint64_t adopted_chain;
    raft_index match[CHECKER_NODES_MAX]; /* as the leader has known them */
    uint64_t round_sent;                 /* the newest round of its leader */
    uint64_t joined[CHECKER_NODES_MAX];  /* the same when that server was added; else 0 */
    uint32_t forgetful;                  /* who has lost its disk since the term began */
    struct checker_config config;        /* that its leader counts by */
};

/* What Multi-Paxos is seen to do, beside all that Raft does, too. */
enum adoption {
    ADOPTION_LOGS,        /* leaders that had taken in a part of another server's log */
    ADOPTION_TAILS_CUT,   /* what the best log, or the leader's, had not */
    ADOPTION_PREPARES,    /* memberships that came with the log adopted (P9) */
    ADOPTION_KEEP_ALIVES, /* (P16) */
    ADOPTION_SNAPSHOTS,   /* put into use by candidates (P12) */
    ADOPTION_COUNT
};

/* A proposal that was handed to the leader from elsewhere; its value says which one it is. */
struct checker_forward {
    int node;
    uint64_t incarnation;
    uint64_t value;
    int open;
    int dropped;
    raft_index index; /* where a leader has appended it; 0: not seen */
    raft_term term;
};

struct checker_read {
    int node;
    uint64_t incarnation;
    raft_index floor; /* committed anywhere before the read began */
    int open;
};

struct checker {
    struct checker_setup setup;
    struct checker_node nodes[CHECKER_NODES_MAX];
    struct registry registry;
    struct checker_term *terms; /* in order */
    size_t term_count;
    size_t term_capacity;
    struct checker_log chosen; /* by the oracle: accepted by a quorum in one term */
    raft_term *chosen_in;      /* the term that chose each, which may be later than its own */
    size_t chosen_in_capacity;
    struct checker_forward *forwards; /* by tag - 1; values rise */
    size_t forward_count;
    size_t forward_capacity;
    raft_term newest_led;       /* the highest term that has had a leader */
    struct checker_read *reads; /* by tag - 1 */
    size_t read_count;
    size_t read_capacity;
    struct checker_log announced; /* memberships by which leaders counted: term and index */
    struct checker_config founding;
    raft_index member_since[CHECKER_NODES_MAX]; /* the first membership with it; founders: 0 */
    uint32_t ever_voters; /* who was ever to be counted, by any membership that governed anywhere */
    uint32_t absent;      /* positions that are switched off for good */
    raft_index commit_max;   /* the highest commit index seen anywhere */
    raft_index acknowledged; /* the highest position that a client has been shown */
    uint64_t leader_changes;
    uint64_t truncations;
    uint8_t slot_owners[CHECKER_SLOTS]; /* position + 1; 0: nobody has used it yet (P18) */
    uint64_t adoptions[ADOPTION_COUNT];
    uint64_t installs; /* snapshots that replaced a log durably */
    uint64_t outcomes[OUTCOME_UNKNOWN + 1];
    uint64_t reads_answered;
    uint64_t reads_failed;
    uint64_t forward_outcomes[3]; /* told appended, dropped, unknown */
    char failure[320];
};

/* Begins a history. The struct is zeroed before its first use and may be reused for the next. */
void checker_begin(struct checker *checker, const struct checker_setup *setup);
void checker_free(struct checker *checker);

/* The first violation ("I4: ..."), or null. */
const char *checker_failure(const struct checker *checker);

/* Flags a violation found by somebody else; the first one is kept. */
void checker_fail(struct checker *checker, const char *invariant, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* A node starts: checker_restarting, then every write given to raft_restore, then started. */
void checker_restarting(struct checker *checker, int node);
void checker_restored(struct checker *checker, int node, const raft_write *write);
void checker_started(struct checker *checker, int node);
void checker_crashed(struct checker *checker, int node);

/*
 * R48. The disk of a node that is down is lost. It is never heard again: it is switched off for good
 * (checker_lost). Only one that was never a voter may come back empty under its id, since nobody has
 * ever counted its word (checker_wiped).
 */
void checker_lost(struct checker *checker, int node);
void checker_wiped(struct checker *checker, int node);

/* raft_propose or one of raft_propose_many returned RAFT_OK. */
void checker_proposed(struct checker *checker, int node, raft_index index, raft_term term,
                      const void *data, size_t size);

/* persist was called; later, the node has been told that writes up to seq are durable. */
void checker_wrote(struct checker *checker, int node, const raft_write *write);
void checker_durable(struct checker *checker, int node, uint64_t seq);

/* send was called. */
void checker_sent(struct checker *checker, int node, const raft_message *message);

/* raft_receive returned; status is that after it, the one before was observed earlier. */
void checker_received(struct checker *checker, int node, const raft_message *message, int result,
                      const raft_status *status);

/* What raft_get_membership says, before the status that it goes with. */
void checker_membership(struct checker *checker, int node, const raft_status *status,
                        const raft_membership *membership);

/* What raft_get_status and raft_get_peer say; the former after every call on the node. */
void checker_observed(struct checker *checker, int node, const raft_status *status);
void checker_peer(struct checker *checker, int node, const raft_peer_status *peer);

/* apply was called; its work up to index is done. */
void checker_apply(struct checker *checker, int node, const raft_range *range);
void checker_applied(struct checker *checker, int node, raft_index index);

/*
 * A snapshot that was taken here, of what was applied up to index, is durable. Its chain is what the
 * host's state machine held: the hash of all that it had applied (I19).
 */
void checker_snapshot(struct checker *checker, int node, raft_index index, uint64_t chain);

/* snapshot_load was called; the state machine holds what the snapshot's data says. */
void checker_load(struct checker *checker, int node, raft_index index, raft_term term);
void checker_loaded(struct checker *checker, int node, raft_index index, uint64_t chain);

/* raft_read returned RAFT_OK. Takes and returns the tag to use, since it must be known before. */
uint64_t checker_read_tag(struct checker *checker, int node);
void checker_read_begun(struct checker *checker, uint64_t tag);

/* The read was begun by lease where clocks break its bound: it may be stale. */
void checker_read_unsafe(struct checker *checker, uint64_t tag);

/* raft_forward is called with a value that begins with these eight bytes; its tag. It was taken. */
uint64_t checker_forward_tag(struct checker *checker, int node, uint64_t value);
void checker_forward_begun(struct checker *checker, uint64_t tag);

/* What the node's own clock shows; it never goes back. Told before what happens at that time. */
void checker_time(struct checker *checker, int node, uint64_t now_ms);

/* The host has overruled the contact that the node has, or its clock tells nothing of when it was. */
void checker_contact_ends(struct checker *checker, int node);

/*
 * The node may answer reads by its lease, at this moment of true time (V16). Where clocks keep their
 * bound (sound), a quorum is bound by promises.
 */
void checker_lease(struct checker *checker, int node, int sound);

/* notify was called. */
void checker_event(struct checker *checker, int node, const raft_event *event);

/* All faults are over and everything has had its time: all nodes are up, equal and idle. */
void checker_quiet(struct checker *checker);

/* How many memberships were chosen. */
uint64_t checker_memberships(const struct checker *checker);

/* Whether every node is up and has applied everything that is chosen, with nothing open. */
int checker_converged(const struct checker *checker);

#endif
