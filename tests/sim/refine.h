/*
 * The executable specification (V25): Paxos and Raft as their papers have them, with nothing of how
 * the engine goes about it, and nothing of how checker.c judges. Every step of a run, mapped to what
 * the papers speak of, has to be one that they allow.
 *
 *     in a run                                        in the papers
 *     durable term and vote (proposer)                promise(acceptor, round), "1b"; or a vote
 *     durable accepted_round, entries 1..n            accept(acceptor, round, slot, value), "2b",
 *       (Raft: the last entry is of the own term)       for each slot up to n
 *     a leader's log, through all that it writes      propose(round, slot, value), "2a"
 *     accepted by a commit quorum in one round        chosen(slot, value)
 *     commit index                                    learn(slot)
 *
 * A value is named by the chain of its entry: by the entry and all below it. Logs are the record that
 * the observer keeps of what is on the disks; it is read, never copied, but for what leaders propose.
 */
#ifndef SIM_REFINE_H
#define SIM_REFINE_H

#include "checker.h"

/* Everything that a round (a term) has been seen to do. What acceptors did is never forgotten. */
struct refine_round {
    raft_term term;
    raft_id proposer; /* Paxos: of whom promises name it; 0: nobody yet */
    int leader;       /* position, of who has begun to propose; NOBODY: phase 1 is not over */
    int is_led;
    int is_judged; /* whether it may propose that, by the membership that is known by then */
    struct checker_config config;
    struct checker_log proposed; /* the leader's log: value i is proposed for slot i */
    raft_index adopted;          /* L: so many were there when it began to lead */
    uint32_t promises;           /* who has promised the round to its proposer; Raft: votes */
    raft_id voted_for[CHECKER_NODES_MAX];  /* whom by */
    raft_term prior[CHECKER_NODES_MAX];    /* Paxos: the round last accepted in by then */
    raft_term log_term[CHECKER_NODES_MAX]; /* Raft: the last entry by then, at the least */
    raft_index log_last[CHECKER_NODES_MAX];
    raft_index accepted[CHECKER_NODES_MAX]; /* slots from 1 on */
    raft_index chosen;                      /* likewise */
};

/* An entry that a leader has sent before all in front of it was seen to be written or sent. */
struct refine_ahead {
    raft_term term;
    raft_index slot;
    uint64_t content;
};

struct refine_server {
    raft_hard_state state;         /* durable */
    const struct checker_log *log; /* likewise; null: nothing yet */
    raft_index last;               /* of that log, when it was looked at */
    uint64_t chain;
    int leads; /* in the term led, in this life */
    raft_term led;
};

struct refine {
    int paxos;
    int server_count;
    raft_id ids[CHECKER_NODES_MAX];
    struct refine_server servers[CHECKER_NODES_MAX];
    struct refine_round *rounds; /* in order; those behind round_count keep their memory */
    size_t round_count;
    size_t round_room;
    size_t round_capacity;
    struct refine_ahead *ahead;
    size_t ahead_count;
    size_t ahead_capacity;
    raft_index chosen; /* slots 1 and up, in any round */
    char failure[256];
};

/* Begins a run. Zeroed before its first use; may be used for the next. */
void refine_begin(struct refine *spec, const struct checker_setup *setup);
void refine_free(struct refine *spec);

/* The first step that no protocol allows ("Phase2a: ..."), or null. */
const char *refine_failure(const struct refine *spec);

/* The server starts a new life; or its disk is gone, and with it what was never counted (R48). */
void refine_started(struct refine *spec, int server);
void refine_forgotten(struct refine *spec, int server);

/* What is durable now. The log is looked at until the next call, and may grow meanwhile. */
void refine_durable(struct refine *spec, int server, const raft_hard_state *state,
                    const struct checker_log *log);

/* What the server has begun to write: all of its log. A leader proposes what it writes (R5). */
void refine_wrote(struct refine *spec, int server, const struct checker_log *issued);

/* Role, commit index, and the membership by which a leader counts. */
void refine_observed(struct refine *spec, int server, const raft_status *status,
                     const struct checker_config *config, const struct checker_log *issued);

void refine_sent(struct refine *spec, int server, const raft_message *message);

#endif
