/*
 * The clients of a torture run: threads that ask a cluster for everything that the checker knows
 * how to judge, while somebody kills its nodes, and note what they were told.
 *
 * Two records are kept. The history is what the linearizability checker judges. The ledger is
 * plainer: keys that are written once, each with a value of its own; what was acknowledged must be
 * there at the end.
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include <stdint.h>

#include "../linearize.h"

struct workload;

struct workload_counts {
    uint64_t ok;
    uint64_t failed;
    uint64_t unknown;
    uint64_t acknowledged; /* writes, those of the ledger included */
    uint64_t gap_ms_max;   /* longest time without any acknowledged write */
};

/* Starts `clients` threads against the nodes on these ports. Null where that fails. */
struct workload *workload_start(const unsigned *ports, int port_count, int clients, uint64_t seed);

/* What has been counted up to now. Any thread. */
struct workload_counts workload_count(struct workload *workload);

/* Stops the threads. Afterwards the functions below may be called. */
void workload_stop(struct workload *workload);

/*
 * Reads every key of the history once more and adds that to it, and every key of the ledger.
 * Returns the number of acknowledged ledger writes that are missing or wrong; -1: the cluster does
 * not answer.
 */
long workload_read_back(struct workload *workload);

/* Ledger writes that were acknowledged. */
uint64_t workload_ledger(const struct workload *workload);

struct history *workload_history(struct workload *workload);

/* The first answer that no correct server gives, or null. */
const char *workload_complaint(const struct workload *workload);

void workload_free(struct workload *workload);

#endif
