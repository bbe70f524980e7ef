/*
 * A simulated disk: the file part of the io table, in memory, deterministic from a seed.
 *
 * What is written is seen by every later read, but is on the disk only after fsync or fdatasync of
 * the file; names (created, renamed, removed) only after fsync of their directory. A crash keeps:
 *   - of the sectors (512 bytes) written and not synced, any subset, each one whole: some are
 *     written back early, at random, as a kernel does, so that a sector written twice can be left
 *     with its first content;
 *   - of the write call that the crash interrupts, a prefix that may end at any byte, and then as
 *     above;
 *   - of a file size changed and not synced, the old or the new one; in the bytes gained and not
 *     written back are zeros, or with stale_bytes whatever the disk held before;
 *   - of the changes to a directory not synced, any subset, each one whole.
 * A killed process (disk_kill) loses nothing but its open files and locks.
 *
 * Calls are counted from 1: those of the file part (list included), not clocks and random. A fault
 * is planted at a call number. The socket part of the table is null.
 */
#ifndef KEELSON_SIM_DISK_H
#define KEELSON_SIM_DISK_H

#include "../../examples/io.h"

struct disk;

struct disk_options {
    uint64_t seed;
    int stale_bytes;       /* nonzero: see above */
    int no_write_back;     /* nonzero: nothing reaches the disk before it is synced */
    uint32_t keep_percent; /* how likely a sector or name not synced survives; 0: varies by crash */
    uint64_t capacity_bytes; /* of all files together; beyond it -ENOSPC. 0: no bound */

    /* The clocks of the table; null: a clock that advances one microsecond a call. */
    uint64_t (*now_us)(void *arg);
    void *now_arg;
};

enum disk_fault {
    DISK_FAULT_NONE,
    DISK_FAULT_EIO,     /* the call fails and does nothing; a failed sync drops what it was to
                           sync: reads still see it, later syncs succeed, a crash loses it */
    DISK_FAULT_ENOSPC,  /* likewise */
    DISK_FAULT_EDQUOT,  /* likewise */
    DISK_FAULT_EINTR,   /* likewise, but a sync drops nothing */
    DISK_FAULT_SHORT,   /* reads and writes move fewer bytes (at least one); others succeed */
    DISK_FAULT_PARTIAL, /* a write does a part and then reports -EIO; others as EIO */
    DISK_FAULT_CRASH    /* the power goes in the midst of the call: a write is torn, other calls
                           have happened or not, and every call after it is -EIO until
                           disk_restart */
};

/* Null where there is no memory. */
struct disk *disk_new(const struct disk_options *options);
void disk_free(struct disk *disk);

/* The table; lent until disk_free. */
const struct io *disk_io(struct disk *disk);

/*
 * The same disk once more, with its open files, random state and planted faults: for trying many
 * crashes from one point. Its table is its own. With another seed it goes another way.
 */
struct disk *disk_clone(const struct disk *disk, uint64_t seed);

/* Calls made so far. */
uint64_t disk_calls(const struct disk *disk);

/* Syncs that succeeded so far, of files (fdatasync and fsync) and of directories. */
uint64_t disk_syncs(const struct disk *disk);

/*
 * Plants a fault at that call; at most one waits at a time, DISK_FAULT_NONE takes it away. lasting:
 * every call from there on fails in this way (crashes are always lasting).
 */
void disk_fail_at(struct disk *disk, uint64_t call, enum disk_fault fault, int lasting);

/* Nonzero once the planted fault has been met. */
int disk_fault_met(const struct disk *disk);

/* The power goes now: every call fails until disk_restart. Nothing where it is gone already. */
void disk_power_off(struct disk *disk);

/* Decides what the power failure left, closes all files, and lets calls work again. */
void disk_restart(struct disk *disk);

/* disk_power_off and disk_restart. */
void disk_crash(struct disk *disk);

/* The process dies and the machine stays: open files and locks go, nothing else does. */
void disk_kill(struct disk *disk);

/* Nonzero while the power is off. */
int disk_is_off(const struct disk *disk);

/*
 * Damage, on the disk and in what reads see: each returns 0, or -1 where the file does not exist or
 * is too short. disk_rot flips one random bit in every byte; disk_zero clears; disk_poke writes.
 */
int disk_rot(struct disk *disk, const char *path, uint64_t offset, uint64_t size);
int disk_zero(struct disk *disk, const char *path, uint64_t offset, uint64_t size);
int disk_poke(struct disk *disk, const char *path, uint64_t offset, const void *data, size_t size);

/* Reads of this range fail with -EIO from now on (one range at a time; size 0 takes it away). */
int disk_unreadable(struct disk *disk, const char *path, uint64_t offset, uint64_t size);

/* What reads would see, without a call being counted. disk_size: -1 where there is no such file. */
int64_t disk_size(const struct disk *disk, const char *path);
int disk_peek(const struct disk *disk, const char *path, uint64_t offset, void *data, size_t size);

/* Bytes in that file that a crash now could lose. */
uint64_t disk_unsynced(const struct disk *disk, const char *path);

#endif
