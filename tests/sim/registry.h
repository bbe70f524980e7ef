/*
 * Every entry that was ever seen in a run, by index and term. An (index, term) has one content for
 * ever, and one log below it: its chain, the hash of everything up to and including it.
 */
#ifndef SIM_REGISTRY_H
#define SIM_REGISTRY_H

#include "raft.h"

#define CHAIN_BASE UINT64_C(0x6b65656c736f6e01) /* the chain of the empty log */
#define NOBODY     (-1)

enum outcome { OUTCOME_OPEN, OUTCOME_APPLIED, OUTCOME_DROPPED, OUTCOME_UNKNOWN };

struct registry_entry {
    raft_index index; /* 0: a free place of the table */
    raft_term term;
    uint64_t content;     /* hash of kind, size and payload */
    uint64_t chain;       /* 0: not known yet */
    int proposer;         /* position of the node; NOBODY: a no-op */
    int outcome;          /* of the proposal: OUTCOME_* */
    int is_config;        /* a membership */
    uint64_t incarnation; /* of the proposer */
    uint64_t floor;       /* indexes acknowledged before the proposal began end here */
};

struct registry {
    struct registry_entry *table; /* open addressing */
    size_t capacity;              /* a power of two */
    size_t count;
};

uint64_t entry_content(const raft_entry *entry);
uint64_t entry_chain(uint64_t previous_chain, raft_term term, uint64_t content);

/* The entry, or null. Valid until registry_add. */
struct registry_entry *registry_find(const struct registry *registry, raft_index index,
                                     raft_term term);

/* Adds an entry that is not there: a no-op of unknown chain, to be filled in by the caller. */
struct registry_entry *registry_add(struct registry *registry, raft_index index, raft_term term,
                                    uint64_t content);

void registry_clear(struct registry *registry);
void registry_free(struct registry *registry);

#endif
