/*
 * What a seed means: every option of a run. Swarm testing: each run enables a random subset of the
 * faults, so that none masks another, and draws their strength anew.
 */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "raft.h"

#include <stdio.h>

#define SIM_NODES_MAX 8

enum plan_store {
    STORE_MODEL,
    STORE_WAL,
    STORE_BOTH /* drawn by the seed */
};

/* Names a field of plan once, for the struct and for printing. Times are virtual microseconds. */
#define PLAN_NUMBERS(X)                                                                            \
    X(nodes)   /* founders */                                                                      \
    X(spares)  /* servers that may be added */                                                     \
    X(witness) /* the last spare is a witness when it is added */                                  \
    X(store)                                                                                       \
    X(paxos)      /* Multi-Paxos instead of Raft; the seed has no say in it */                     \
    X(calm)       /* no faults at all: nobody may be deposed (I28) */                              \
    X(repeat)     /* run twice and compare (I27) */                                                \
    X(timeout_ms) /* T */                                                                          \
    X(heartbeat_ms)                                                                                \
    X(no_pre_vote)                                                                                 \
    X(no_check_quorum)                                                                             \
    X(no_stickiness)                                                                               \
    X(apply_ahead)                                                                                 \
    X(wide_ids) /* ids that need all their bits */                                                 \
    X(log_bytes_max)                                                                               \
    X(uncommitted_bytes_max)                                                                       \
    X(entry_bytes_max)                                                                             \
    X(append_bytes_max)                                                                            \
    X(apply_bytes_max)                                                                             \
    X(inflight_messages_max)                                                                       \
    X(inflight_bytes_max)                                                                          \
    X(reads_max)                                                                                   \
    X(zones)    /* the founders are in two failure zones, which count */                           \
    X(lease_ms) /* of the founding membership */                                                   \
    X(lease_drift_permille)                                                                        \
    X(lease_sound) /* clocks keep the bound: leases have to hold */                                \
    X(incarnation) /* reads and proposals at any server */                                         \
    X(forward_bytes_max)                                                                           \
    X(no_pull)                                                                                     \
    X(quiesce)                                                                                     \
    X(disk_timeout_ms)                                                                             \
    X(read_log) /* memory of the log is given up, storage is asked */                              \
    X(ship)     /* snapshots go by ways of the host */                                             \
    X(snapshot_log_bytes)                                                                          \
    X(trailing_bytes)                                                                              \
    X(chunk_bytes_max)                                                                             \
    X(snapshot_bytes) /* of data, at most */                                                       \
    X(snapshot_us)    /* until one is durable, mean */                                             \
    X(chunk_pending_ppm)                                                                           \
    X(chunk_fail_ppm)                                                                              \
    X(fetch_pending_ppm)                                                                           \
    X(fetch_fail_ppm)                                                                              \
    X(snapshot_every_us)                                                                           \
    X(fault_us)       /* how long faults go on */                                                  \
    X(core_wild)      /* while a quorum is healed, links to the rest stay bad */                   \
    X(old_mail)       /* messages sent before the healing still arrive after it */                 \
    X(encoded_ppm)    /* messages that travel as bytes */                                          \
    X(delay_us)       /* of messages, mean */                                                      \
    X(delay_tail_ppm) /* messages that take much longer */                                         \
    X(drop_ppm)                                                                                    \
    X(duplicate_ppm)                                                                               \
    X(damage_ppm)                                                                                  \
    X(foreign_ppm)                                                                                 \
    X(poll_delay_us)  /* of a host between an input and raft_poll, mean */                         \
    X(poll_late_us)   /* of a host after its deadline, mean */                                     \
    X(persist_ok_ppm) /* writes that persist finishes itself */                                    \
    X(sync_us)        /* of a write, mean */                                                       \
    X(told_us)        /* from the sync to raft_persisted, mean */                                  \
    X(apply_pending_ppm)                                                                           \
    X(apply_us)                                                                                    \
    X(drift_ppm)        /* of a node's clock, at most */                                           \
    X(slow_factor)      /* one host and its disk are so much slower; 0: none */                    \
    X(client_us)        /* between operations, mean */                                             \
    X(client_stray_ppm) /* operations at any node instead of the leader */                         \
    X(client_read_ppm)                                                                             \
    X(client_lease_ppm) /* reads by lease */                                                       \
    X(client_forward_ppm)                                                                          \
    X(client_batch_max)                                                                            \
    X(client_bytes_max)                                                                            \
    X(reentrant_ppm)                                                                               \
    X(allocation_ppm) /* allocations that fail, in bad times */                                    \
    X(crash_every_us) /* these are mean times between faults; 0: never */                          \
    X(crash_all_ppm)  /* crashes that strike everybody */                                          \
    X(down_us)        /* mean time until a restart */                                              \
    X(partition_every_us)                                                                          \
    X(kind_loss_every_us)                                                                          \
    X(clog_every_us)                                                                               \
    X(replay_every_us)                                                                             \
    X(pause_every_us)                                                                              \
    X(clock_every_us)                                                                              \
    X(hang_every_us)                                                                               \
    X(write_fault_every_us)                                                                        \
    X(apply_fault_every_us)                                                                        \
    X(wipe_every_us) /* disks that are lost */                                                     \
    X(rot_every_us)  /* what is stored goes bad */                                                 \
    X(allocation_every_us)                                                                         \
    X(hint_every_us)                                                                               \
    X(campaign_every_us)                                                                           \
    X(handover_every_us) /* transfers, leaders that step down or are forgotten */                  \
    X(members_every_us)                                                                            \
    X(stop_every_us)                                                                               \
    X(options_every_us)

struct plan {
    uint64_t seed;
#define X(name) uint64_t name;
    PLAN_NUMBERS(X)
#undef X
};

/* Draws the plan of a seed. */
struct plan plan_draw(uint64_t seed, enum plan_store store);

/* Prints everything that is not 0. */
void plan_print(const struct plan *plan, FILE *file);

/* Whether the engine's protections against disruption are all on. */
int plan_is_protected(const struct plan *plan);

#endif
