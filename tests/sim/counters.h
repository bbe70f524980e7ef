/*
 * What a run counts, so that one sees that every fault really happened. COUNTERS(X) lists
 * X(name, floor): over FLOOR_RUNS runs with the standard options, a counter below its floor means
 * that the simulator has lost a fault, and fails the whole. crash_joint and the like count pairs: a
 * fault that met a node, or a message, in that state.
 */
#ifndef SIM_COUNTERS_H
#define SIM_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#define FLOOR_RUNS 400

#define COUNTERS(X)                                                                                \
    X(events, 1400000)                                                                             \
    X(virtual_seconds, 1950)                                                                       \
    X(elections_started, 1950)                                                                     \
    X(elections_won, 550)                                                                          \
    X(terms, 1450)                                                                                 \
    X(leader_changes, 550)                                                                         \
    X(entries_chosen, 60000)                                                                       \
    X(entries_applied, 600000)                                                                     \
    X(truncations, 80)                                                                             \
    X(writes, 80000)                                                                               \
    X(writes_pending, 39500)                                                                       \
    X(writes_lost, 70)                                                                             \
    X(writes_torn, 13)                                                                             \
    X(writes_failed, 44)                                                                           \
    X(disk_hangs, 155)                                                                             \
    X(crashes, 750)                                                                                \
    X(crashes_in_persist, 47)                                                                      \
    X(crashes_after_sync, 15)                                                                      \
    X(crashes_in_send, 210)                                                                        \
    X(crashes_in_apply, 14)                                                                        \
    X(crashes_of_all, 55)                                                                          \
    X(restarts, 1050)                                                                              \
    X(pauses, 445)                                                                                 \
    X(clock_jumps, 125)                                                                            \
    X(clock_backwards, 120)                                                                        \
    X(messages_sent, 500000)                                                                       \
    X(messages_delivered, 550000)                                                                  \
    X(messages_lost, 27500)                                                                        \
    X(messages_cut, 10500)                                                                         \
    X(messages_duplicated, 23000)                                                                  \
    X(messages_reordered, 95000)                                                                   \
    X(messages_replayed, 36500)                                                                    \
    X(messages_damaged, 2800)                                                                      \
    X(messages_foreign, 600)                                                                       \
    X(kind_losses, 90)                                                                             \
    X(partitions_symmetric, 140)                                                                   \
    X(partitions_one_way, 145)                                                                     \
    X(partitions_partial, 290)                                                                     \
    X(allocations_failed, 485)                                                                     \
    X(proposals_taken, 65000)                                                                      \
    X(proposals_refused, 20500)                                                                    \
    X(proposals_applied, 55000)                                                                    \
    X(proposals_dropped, 1700)                                                                     \
    X(proposals_unknown, 4300)                                                                     \
    X(reads_taken, 8000)                                                                           \
    X(reads_answered, 7500)                                                                        \
    X(reads_failed, 390)                                                                           \
    X(inputs_reentrant, 1150)                                                                      \
    X(applies_pending, 39500)                                                                      \
    X(applies_failed, 11)                                                                          \
    X(memberships_asked, 3024)                                                                     \
    X(memberships_begun, 1297)                                                                     \
    X(memberships_joint, 204)                                                                      \
    X(memberships_chosen, 1803)                                                                    \
    X(learners_asked, 747)                                                                         \
    X(witnesses_asked, 171)                                                                        \
    X(removals_asked, 932)                                                                         \
    X(leaders_removed, 217)                                                                        \
    X(quorums_asked, 238)                                                                          \
    X(reads_by_lease, 2863)                                                                        \
    X(reads_forwarded, 2131)                                                                       \
    X(leases_held, 259253)                                                                         \
    X(forwards_appended, 4016)                                                                     \
    X(forwards_dropped, 50)                                                                        \
    X(forwards_unknown, 154)                                                                       \
    X(pulls, 354)                                                                                  \
    X(logs_adopted, 0)                                                                             \
    X(tails_cut, 0)                                                                                \
    X(prepares_widened, 0)                                                                         \
    X(keep_alives, 0)                                                                              \
    X(snapshots_pulled, 0)                                                                         \
    X(sleeps, 243)                                                                                 \
    X(options_altered, 326)                                                                        \
    X(stops, 250)                                                                                  \
    X(crash_joint, 36)                                                                             \
    X(crash_transferring, 14)                                                                      \
    X(crash_installing, 8)                                                                         \
    X(crash_sending, 8)                                                                            \
    X(crash_leased, 151)                                                                           \
    X(pause_joint, 30)                                                                             \
    X(pause_transferring, 16)                                                                      \
    X(pause_installing, 8)                                                                         \
    X(pause_sending, 6)                                                                            \
    X(pause_leased, 107)                                                                           \
    X(hang_joint, 20)                                                                              \
    X(hang_transferring, 15)                                                                       \
    X(hang_installing, 6)                                                                          \
    X(hang_sending, 5)                                                                             \
    X(hang_leased, 48)                                                                             \
    X(write_joint, 14)                                                                             \
    X(write_transferring, 12)                                                                      \
    X(write_installing, 5)                                                                         \
    X(write_sending, 4)                                                                            \
    X(write_leased, 33)                                                                            \
    X(allocation_joint, 17)                                                                        \
    X(allocation_transferring, 9)                                                                  \
    X(allocation_installing, 5)                                                                    \
    X(allocation_sending, 3)                                                                       \
    X(allocation_leased, 48)                                                                       \
    X(partition_joint, 82)                                                                         \
    X(partition_transferring, 20)                                                                  \
    X(partition_installing, 12)                                                                    \
    X(partition_sending, 13)                                                                       \
    X(partition_leased, 282)                                                                       \
    X(wipe_joint, 2)                                                                               \
    X(wipe_transferring, 2)                                                                        \
    X(wipe_installing, 2)                                                                          \
    X(wipe_sending, 1)                                                                             \
    X(wipe_leased, 5)                                                                              \
    X(rot_joint, 2)                                                                                \
    X(rot_transferring, 2)                                                                         \
    X(rot_installing, 1)                                                                           \
    X(rot_sending, 1)                                                                              \
    X(rot_leased, 4)                                                                               \
    X(clock_leased, 90)                                                                            \
    X(chunk_lost, 30)                                                                              \
    X(chunk_duplicated, 12)                                                                        \
    X(read_lost, 280)                                                                              \
    X(transfers_asked, 250)                                                                        \
    X(commit_hints, 600)                                                                           \
    X(transfer_lost, 68)                                                                           \
    X(snapshots_taken, 5024)                                                                       \
    X(snapshots_wanted, 5217)                                                                      \
    X(snapshots_installed, 79)                                                                     \
    X(snapshots_loaded, 72)                                                                        \
    X(fresh_asked, 40)                                                                             \
    X(fresh_loaded, 6)                                                                             \
    X(snapshots_shipped, 19)                                                                       \
    X(crashes_in_snapshot, 12)                                                                     \
    X(chunks_read, 88)                                                                             \
    X(chunks_written, 86)                                                                          \
    X(host_failures, 11)                                                                           \
    X(fetches, 237)                                                                                \
    X(disks_wiped, 5)                                                                              \
    X(disks_lost, 45)                                                                              \
    X(disks_rotten, 40)                                                                            \
    X(regressions_told, 2)                                                                         \
    X(lost_removed, 55)                                                                            \
    X(starts_refused, 32)                                                                          \
    X(reads_corrupt, 1)                                                                            \
    X(hosts_stopped, 0)                                                                            \
    X(runs_unhealable, 0)                                                                          \
    X(runs_wal, 11)                                                                                \
    X(runs_calm, 2)                                                                                \
    X(runs_repeated, 2)                                                                            \
    X(heals_slow, 0)                                                                               \
    X(disk_crashes, 17)

/* The floors of runs of Multi-Paxos: what is particular to it, and what it rests on. */
#define PAXOS_FLOORS(X)                                                                            \
    X(elections_won, 2200)                                                                         \
    X(leader_changes, 2200)                                                                        \
    X(entries_chosen, 170000)                                                                      \
    X(truncations, 160)                                                                            \
    X(memberships_chosen, 2200)                                                                    \
    X(crash_joint, 70)                                                                             \
    X(snapshots_installed, 90)                                                                     \
    X(pulls, 580)                                                                                  \
    X(logs_adopted, 350)                                                                           \
    X(tails_cut, 160)                                                                              \
    X(prepares_widened, 105)                                                                       \
    X(keep_alives, 1950)                                                                           \
    X(snapshots_pulled, 2)

enum counter {
#define X(name, floor) COUNT_##name,
    COUNTERS(X)
#undef X
        COUNTER_COUNT
};

struct counters {
    uint64_t value[COUNTER_COUNT];
};

#define COUNT(counters, name)             ((void)(counters)->value[COUNT_##name]++)
#define COUNT_ADD(counters, name, amount) ((void)((counters)->value[COUNT_##name] += (amount)))

#endif
