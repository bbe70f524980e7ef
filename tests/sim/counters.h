/*
 * What a run counts, so that one sees that every fault really happened. COUNTERS(X) lists
 * X(name, floor): over FLOOR_RUNS runs with the standard options, a counter below its floor means
 * that the simulator has lost a fault, and fails the whole.
 */
#ifndef SIM_COUNTERS_H
#define SIM_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#define FLOOR_RUNS 400

#define COUNTERS(X)                                                                                \
    X(events, 400000)                                                                              \
    X(virtual_seconds, 1000)                                                                       \
    X(elections_started, 2000)                                                                     \
    X(elections_won, 2000)                                                                         \
    X(terms, 2000)                                                                                 \
    X(leader_changes, 1000)                                                                        \
    X(entries_chosen, 20000)                                                                       \
    X(entries_applied, 50000)                                                                      \
    X(truncations, 100)                                                                            \
    X(writes, 20000)                                                                               \
    X(writes_pending, 5000)                                                                        \
    X(writes_lost, 100)                                                                            \
    X(writes_torn, 30)                                                                             \
    X(writes_failed, 20)                                                                           \
    X(disk_hangs, 50)                                                                              \
    X(crashes, 1000)                                                                               \
    X(crashes_in_persist, 50)                                                                      \
    X(crashes_after_sync, 20)                                                                      \
    X(crashes_in_send, 50)                                                                         \
    X(crashes_in_apply, 20)                                                                        \
    X(crashes_of_all, 10)                                                                          \
    X(restarts, 1000)                                                                              \
    X(pauses, 100)                                                                                 \
    X(clock_jumps, 50)                                                                             \
    X(clock_backwards, 50)                                                                         \
    X(messages_sent, 200000)                                                                       \
    X(messages_delivered, 150000)                                                                  \
    X(messages_lost, 5000)                                                                         \
    X(messages_cut, 5000)                                                                          \
    X(messages_duplicated, 2000)                                                                   \
    X(messages_reordered, 5000)                                                                    \
    X(messages_replayed, 2000)                                                                     \
    X(messages_damaged, 500)                                                                       \
    X(messages_foreign, 100)                                                                       \
    X(kind_losses, 20)                                                                             \
    X(partitions_symmetric, 50)                                                                    \
    X(partitions_one_way, 30)                                                                      \
    X(partitions_partial, 30)                                                                      \
    X(allocations_failed, 500)                                                                     \
    X(proposals_taken, 20000)                                                                      \
    X(proposals_refused, 2000)                                                                     \
    X(proposals_applied, 10000)                                                                    \
    X(proposals_dropped, 50)                                                                       \
    X(proposals_unknown, 100)                                                                      \
    X(reads_taken, 2000)                                                                           \
    X(reads_answered, 1000)                                                                        \
    X(reads_failed, 50)                                                                            \
    X(inputs_reentrant, 200)                                                                       \
    X(applies_pending, 500)                                                                        \
    X(applies_failed, 5)                                                                           \
    X(runs_wal, 20)                                                                                \
    X(runs_calm, 5)                                                                                \
    X(runs_repeated, 5)                                                                            \
    X(heals_slow, 0)                                                                               \
    X(disk_crashes, 20)

enum counter {
#define X(name, floor) COUNT_##name,
    COUNTERS(X)
#undef X
    COUNTER_COUNT
};

struct counters {
    uint64_t value[COUNTER_COUNT];
};

#define COUNT(counters, name) ((void)(counters)->value[COUNT_##name]++)
#define COUNT_ADD(counters, name, amount) ((void)((counters)->value[COUNT_##name] += (amount)))

#endif
