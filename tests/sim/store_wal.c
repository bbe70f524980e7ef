/*
 * Storage as the shipped write-ahead log, inline, on a simulated disk. The disk decides what a
 * crash leaves; the log has to find its way through it.
 */
#include "store.h"

#include "../../examples/wal.h"
#include "disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAL_GROUP   1
#define WAL_CLUSTER 7

#define FILE_NAME_BYTES 32
#define FILES_MAX       2000 /* none is numbered higher in a run of this length */

struct wal_store {
    struct store store;
    struct disk *disk;
    struct disk_options disk_options;
    struct io io; /* the disk's table, while the process lives */
    wal *log;     /* null: closed */
    struct wal_options options;
    store_replay *replay; /* while it restores */
    void *replay_ctx;
    uint64_t done; /* reported by the log since the last sync */
    int status;    /* worst of what it reported */
};

static struct wal_store *wal_of(struct store *store)
{
    return (struct wal_store *)store;
}

static int wal_store_write(struct store *store, const raft_write *write)
{
    return wal_append(wal_of(store)->log, WAL_GROUP, write);
}

static void collected(void *ctx, uint64_t group, uint64_t seq, int status)
{
    struct wal_store *it = ctx;
    (void)group;
    it->done = seq;
    if (status != RAFT_OK) {
        it->status = status;
    }
}

/* The log reports what it has finished; a write it does not report is not durable. */
static int wal_store_sync(struct store *store, uint64_t seq)
{
    struct wal_store *it = wal_of(store);
    it->status = RAFT_OK;
    wal_commit(it->log);
    wal_collect(it->log, collected, it);
    if (it->status == RAFT_OK && it->done < seq) {
        return RAFT_ESTORAGE;
    }
    return it->status;
}

/* ---- A dead process: closing its log must not reach the disk any more ------------------------ */

static int dead_open(void *ctx, const char *path, int flags, int mode)
{
    (void)ctx;
    (void)path;
    (void)flags;
    (void)mode;
    return -EIO;
}

static long dead_pwritev(void *ctx, int fd, const struct iovec *parts, int count, uint64_t offset)
{
    (void)ctx;
    (void)fd;
    (void)parts;
    (void)count;
    (void)offset;
    return -EIO;
}

static long dead_pwrite(void *ctx, int fd, const void *data, size_t size, uint64_t offset)
{
    (void)ctx;
    (void)fd;
    (void)data;
    (void)size;
    (void)offset;
    return -EIO;
}

static int dead_file_call(void *ctx, int fd)
{
    (void)ctx;
    (void)fd;
    return -EIO;
}

static int dead_path_call(void *ctx, const char *path)
{
    (void)ctx;
    (void)path;
    return -EIO;
}

static void kill_process(struct wal_store *it)
{
    disk_kill(it->disk);
    it->io.open = dead_open;
    it->io.pwrite = dead_pwrite;
    it->io.pwritev = dead_pwritev;
    it->io.fdatasync = dead_file_call;
    it->io.fsync = dead_file_call;
    it->io.close = dead_file_call;
    it->io.unlink = dead_path_call;
}

/* What was written stays in the kernel's memory when a process is killed; power takes that too. */
static void wal_store_power_off(struct store *store)
{
    struct wal_store *it = wal_of(store);
    int killed = !disk_is_off(it->disk) && rng_chance(&store->rng, 300000);
    if (killed) {
        kill_process(it);
    } else {
        disk_power_off(it->disk);
    }
    if (it->log != NULL) {
        wal_close(it->log);
        it->log = NULL;
    }
    it->io = *disk_io(it->disk);
    disk_fail_at(it->disk, 0, DISK_FAULT_NONE, 0);
    if (!killed) {
        disk_restart(it->disk);
    }
}

static void wal_store_plant(struct store *store, int crash)
{
    struct wal_store *it = wal_of(store);
    static const enum disk_fault faults[4] = {DISK_FAULT_EIO, DISK_FAULT_ENOSPC, DISK_FAULT_PARTIAL,
                                              DISK_FAULT_SHORT};
    enum disk_fault fault = crash ? DISK_FAULT_CRASH : faults[rng_below(&store->rng, 4)];
    disk_fail_at(it->disk, disk_calls(it->disk) + rng_between(&store->rng, 1, 12), fault, 0);
}

static void wal_store_mend(struct store *store)
{
    disk_fail_at(wal_of(store)->disk, 0, DISK_FAULT_NONE, 0);
}

static int wal_store_is_off(const struct store *store)
{
    return disk_is_off(((const struct wal_store *)store)->disk);
}

static int replayed(void *ctx, uint64_t group, const raft_write *write)
{
    struct wal_store *it = ctx;
    (void)group;
    return it->replay(it->replay_ctx, write);
}

static int wal_store_restore(struct store *store, store_replay *replay, void *ctx)
{
    struct wal_store *it = wal_of(store);
    struct wal_error error;
    if (it->log != NULL) {
        wal_close(it->log);
        it->log = NULL;
    }
    memset(&error, 0, sizeof error);
    it->replay = replay;
    it->replay_ctx = ctx;
    it->done = 0;
    int result = wal_open(&it->options, replayed, it, &error, &it->log);
    if (result == RAFT_OK) {
        COUNT_ADD(store->counters, writes_torn, wal_recovered(it->log)->torn != 0);
        return RAFT_OK;
    }
    snprintf(store->error, sizeof store->error, "%s: %s at %llu", error.file, error.text,
             (unsigned long long)error.offset);
    if (wal_store_is_off(store)) {
        disk_restart(it->disk);
        disk_fail_at(it->disk, 0, DISK_FAULT_NONE, 0);
        COUNT(store->counters, disk_crashes);
        return RAFT_EBUSY;
    }
    return result == RAFT_ESTORAGE && disk_fault_met(it->disk) ? RAFT_EBUSY : result;
}

static void wal_store_trim(struct store *store, raft_index snapshot, raft_index first)
{
    wal_trim(wal_of(store)->log, WAL_GROUP, snapshot, first <= snapshot + 1 ? first : snapshot + 1);
}

static int wal_store_read(struct store *store, raft_fetch *fetch)
{
    return wal_read(wal_of(store)->log, WAL_GROUP, fetch);
}

static void new_disk(struct wal_store *it)
{
    it->disk_options.seed = rng_next(&it->store.rng);
    it->disk = disk_new(&it->disk_options);
    if (it->disk == NULL) {
        abort();
    }
    it->io = *disk_io(it->disk);
}

static void wal_store_wipe(struct store *store)
{
    struct wal_store *it = wal_of(store);
    if (it->log != NULL) {
        wal_close(it->log);
        it->log = NULL;
    }
    disk_free(it->disk);
    new_disk(it);
    store->joins = 1;
}

/* One of the files, with its size; or 0: there is none. */
static int64_t choose_file(struct wal_store *it, char path[FILE_NAME_BYTES])
{
    int64_t found = 0;
    uint64_t seen = 0;
    for (uint64_t number = 1; number < FILES_MAX; number++) {
        char name[FILE_NAME_BYTES];
        snprintf(name, sizeof name, "/wal/%016" PRIx64 ".wal", number);
        int64_t size = disk_size(it->disk, name);
        if (size > 0 && rng_below(&it->store.rng, ++seen) == 0) {
            memcpy(path, name, sizeof name);
            found = size;
        }
    }
    return found;
}

/* A byte of what was written, which is not zero, or where an entry is asked for, much of a file. */
static int wal_store_rot(struct store *store, raft_index index)
{
    struct wal_store *it = wal_of(store);
    char path[FILE_NAME_BYTES];
    uint8_t bytes[512];
    int64_t size = choose_file(it, path);
    for (int tries = 0; size > 0 && tries < 64; tries++) {
        uint64_t offset = rng_below(&store->rng, (uint64_t)size);
        uint64_t left = (uint64_t)size - offset;
        size_t count = left < sizeof bytes ? (size_t)left : sizeof bytes;
        disk_peek(it->disk, path, offset, bytes, count);
        for (size_t i = 0; i < count; i++) {
            if (bytes[i] != 0) {
                disk_rot(it->disk, path, offset + i, index != 0 ? left - i : 1);
                return 1;
            }
        }
    }
    return 0;
}

static void wal_store_free(struct store *store)
{
    struct wal_store *it = wal_of(store);
    if (it->log != NULL) {
        wal_close(it->log);
    }
    disk_free(it->disk);
    free(it);
}

static const struct store_kind wal_kind = {wal_store_write,   wal_store_sync, wal_store_power_off,
                                           wal_store_plant,   wal_store_mend, wal_store_is_off,
                                           wal_store_restore, wal_store_trim, wal_store_read,
                                           wal_store_wipe,    wal_store_rot,  wal_store_free};

struct store *store_wal_new(struct rng rng, struct counters *counters, raft_id node,
                            uint64_t (*now_us)(void *arg), void *now_arg)
{
    struct wal_store *it = calloc(1, sizeof *it);
    if (it == NULL) {
        abort();
    }
    it->store.rng = rng;
    it->disk_options.stale_bytes = rng_chance(&it->store.rng, 300000);
    it->disk_options.now_us = now_us;
    it->disk_options.now_arg = now_arg;
    new_disk(it);
    it->store.kind = &wal_kind;
    it->store.counters = counters;
    it->options.io = &it->io;
    it->options.directory = "/wal";
    it->options.cluster = WAL_CLUSTER;
    it->options.node = node;
    it->options.segment_bytes = WAL_SEGMENT_BYTES_MIN << rng_below(&it->store.rng, 4);
    return &it->store;
}
