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
    X(events, 2800000)                                                                             \
    X(virtual_seconds, 3900)                                                                       \
    X(elections_started, 3900)                                                                     \
    X(elections_won, 1100)                                                                         \
    X(terms, 2900)                                                                                 \
    X(leader_changes, 1100)                                                                        \
    X(entries_chosen, 120000)                                                                      \
    X(entries_applied, 1200000)                                                                    \
    X(truncations, 160)                                                                            \
    X(writes, 160000)                                                                              \
    X(writes_pending, 79000)                                                                       \
    X(writes_lost, 140)                                                                            \
    X(writes_torn, 26)                                                                             \
    X(writes_failed, 89)                                                                           \
    X(disk_hangs, 310)                                                                             \
    X(crashes, 1500)                                                                               \
    X(crashes_in_persist, 94)                                                                      \
    X(crashes_after_sync, 31)                                                                      \
    X(crashes_in_send, 420)                                                                        \
    X(crashes_in_apply, 29)                                                                        \
    X(crashes_of_all, 110)                                                                         \
    X(restarts, 2100)                                                                              \
    X(pauses, 890)                                                                                 \
    X(clock_jumps, 250)                                                                            \
    X(clock_backwards, 240)                                                                        \
    X(messages_sent, 1000000)                                                                      \
    X(messages_delivered, 1100000)                                                                 \
    X(messages_lost, 55000)                                                                        \
    X(messages_cut, 21000)                                                                         \
    X(messages_duplicated, 46000)                                                                  \
    X(messages_reordered, 190000)                                                                  \
    X(messages_replayed, 73000)                                                                    \
    X(messages_damaged, 5600)                                                                      \
    X(messages_foreign, 1200)                                                                      \
    X(kind_losses, 180)                                                                            \
    X(partitions_symmetric, 280)                                                                   \
    X(partitions_one_way, 290)                                                                     \
    X(partitions_partial, 580)                                                                     \
    X(allocations_failed, 970)                                                                     \
    X(proposals_taken, 130000)                                                                     \
    X(proposals_refused, 41000)                                                                    \
    X(proposals_applied, 110000)                                                                   \
    X(proposals_dropped, 3400)                                                                     \
    X(proposals_unknown, 8600)                                                                     \
    X(reads_taken, 16000)                                                                          \
    X(reads_answered, 15000)                                                                       \
    X(reads_failed, 780)                                                                           \
    X(inputs_reentrant, 2300)                                                                      \
    X(applies_pending, 79000)                                                                      \
    X(applies_failed, 22)                                                                          \
    X(runs_wal, 23)                                                                                \
    X(runs_calm, 4)                                                                                \
    X(runs_repeated, 5)                                                                            \
    X(heals_slow, 0)                                                                               \
    X(disk_crashes, 35)

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
