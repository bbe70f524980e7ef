/*
 * The storage of one node. Two kinds: a model (what is durable as a table, what is not yet as a
 * list of writes) and the shipped write-ahead log on a simulated disk.
 */
#ifndef SIM_STORE_H
#define SIM_STORE_H

#include "counters.h"
#include "raft.h"
#include "random.h"

struct arena;
struct store;

typedef int store_replay(void *ctx, const raft_write *write);

struct store_kind {
    /* Takes a write; the bytes of its ranges are lent until it is synced or lost. RAFT_PENDING, or
     * a negative code where it failed. */
    int (*write)(struct store *store, const raft_write *write);
    /* Makes every write up to seq durable, or more. RAFT_OK, or negative: anything may be lost. */
    int (*sync)(struct store *store, uint64_t seq);
    /* The power goes: what is not durable may be lost or torn. Nothing lent is used afterwards. */
    void (*power_off)(struct store *store);
    /* Plants a failure in the near future: a crash in the midst of a write, or an error. */
    void (*plant)(struct store *store, int crash);
    /* Takes back what was planted and has not struck yet. */
    void (*mend)(struct store *store);
    /* Whether a planted crash has struck. */
    int (*is_off)(const struct store *store);
    /* Gives back everything stored. RAFT_OK or the first error, of replay or the store's own. */
    int (*restore)(struct store *store, store_replay *replay, void *ctx);
    /* A snapshot at `snapshot` is durable: entries below first are not needed any more. */
    void (*trim)(struct store *store, raft_index snapshot, raft_index first);
    /* As raft_callbacks.read_log, without RAFT_PENDING. */
    int (*read)(struct store *store, raft_fetch *fetch);
    /* Everything is gone, while nobody uses it: the store is as a new one, of a server that joins. */
    void (*wipe)(struct store *store);
    /* Something that is stored goes bad, the entry at index among it (0: anything). Whether it has. */
    int (*rot)(struct store *store, raft_index index);
    void (*free)(struct store *store);
};

struct store {
    const struct store_kind *kind;
    struct rng rng;
    struct counters *counters;
    char error[160]; /* why restore failed, where the store knows */
    int joins;       /* it is no founder: a log without founding metadata is whole */
    /* The newest snapshot that was taken here and is durable; size 0: none. A store that keeps tables
     * may begin with it. */
    raft_buf newest;
    raft_index newest_index;
    int lent_changed; /* what was lent to it is not what it was: the engine has broken its word */
};

struct store *store_model_new(struct arena *arena, struct rng rng, struct counters *counters);
struct store *store_wal_new(struct rng rng, struct counters *counters, raft_id node,
                            uint64_t (*now_us)(void *arg), void *now_arg);

#endif
