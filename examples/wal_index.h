/*
 * Where in the files of a log everything is that somebody may still need: of every group the newest
 * hard state, the metadata and the entries. Kept in memory, made anew when the log is opened. From
 * it follow which files may be removed and which records are worth moving to the end of the log so
 * that more may be, and it finds entries that are to be read back. Nothing here does I/O.
 *
 * An index is used by one thread at a time.
 */
#ifndef KEELSON_WAL_INDEX_H
#define KEELSON_WAL_INDEX_H

#include "wal.h"
#include "wal_format.h"

/* Where a record stands. */
struct wal_place {
    uint64_t file; /* number; 0: nowhere */
    uint64_t offset;
    uint32_t seed; /* of the checksums in that file */
};

/*
 * Entries that stand one after another in records of one group in one file, from first to the one
 * before the next run, or the group's last. The first record is at offset; those that follow are
 * found by going from record to record.
 */
struct wal_run {
    raft_index first;
    uint64_t file;
    uint64_t offset;
    uint64_t bytes; /* of the group's records */
};

struct wal_group {
    uint64_t id;
    raft_hard_state state; /* the newest, on its way or stored */
    uint64_t state_file;   /* where the newest stored one is; 0: none */
    uint64_t meta_file;    /* where the metadata is, if it is needed; else 0 */
    uint64_t meta_offset;
    uint64_t meta_bytes; /* of its record */
    raft_index base_index;
    raft_index needed; /* entries below are not needed */
    raft_index last;   /* the last stored entry; 0: none */
    int is_cut;        /* the last run has records of entries behind it, which are truncated */
    struct wal_run *runs;
    size_t run_count, run_capacity;
    size_t pending; /* records on their way */
};

/* What a record does to a group, short enough to be remembered until it is stored. */
struct wal_effect {
    size_t group; /* position in the index */
    uint64_t size;
    raft_index truncate_from;
    raft_index first; /* of its entries; 0: it has none */
    uint64_t count;
    raft_index base_index; /* with meta */
    int has_state;
    int has_meta;
    int is_move;
};

struct wal_file {
    uint64_t end;  /* where the records known here end */
    uint64_t pins; /* things needed in it */
    uint64_t cost; /* see wal_index_plan */
    uint32_t seed;
};

struct wal_index {
    struct wal_group *groups;
    size_t group_count, group_capacity;
    size_t *slots; /* a hash table of positions + 1 in groups */
    size_t slot_count;
    struct wal_file *files; /* of consecutive numbers */
    size_t file_count, file_capacity;
    uint64_t first_file; /* number of the first of them */
    size_t pending;      /* records on their way, each of which may be in a new file */
};

void wal_index_free(struct wal_index *index);

/* The group of that id, or null. */
struct wal_group *wal_index_find(const struct wal_index *index, uint64_t id);

/*
 * Announces a record of a group, before it is written: fills *effect, but for the size, and makes
 * room for everything that wal_index_add will have to remember. 0 where there is no memory: nothing
 * has changed.
 */
int wal_index_expect(struct wal_index *index, uint64_t id, const raft_write *write,
                     struct wal_effect *effect);

/* Takes note of a file; 0 where there is no memory. Files come in the order of their numbers. */
int wal_index_add_file(struct wal_index *index, uint64_t number, uint32_t seed);

/* The records in that file end there. */
void wal_index_note_end(struct wal_index *index, uint64_t number, uint64_t end);

/* The record that was announced is stored there. They are added in the order of announcing. */
void wal_index_add(struct wal_index *index, const struct wal_effect *effect,
                   const struct wal_place *place);

/*
 * See wal_trim. The entry at checkpoint stays, too, or metadata of it: raft_restore looks for it.
 */
void wal_index_trim(struct wal_index *index, struct wal_group *group, raft_index checkpoint,
                    raft_index first);

/* See wal_forget. */
void wal_index_forget(struct wal_index *index, struct wal_group *group);

/* The oldest file of which anything is needed; of the last one something always is. */
uint64_t wal_index_oldest(const struct wal_index *index);

/* Forgets files older than that one. Returns the bytes of their records. */
uint64_t wal_index_drop_files(struct wal_index *index, uint64_t oldest);

/*
 * The file up to which, itself not included, everything needed is worth moving to the end of the
 * log: the furthest one for which at most half as many bytes are written as are then released. So
 * with however many groups, the log stays within about three times what is needed of it (as much
 * again is written before as much is released) and a few files, and moving costs at most half of
 * what was written before. A group that needs more than that many bytes is not moved: it has to
 * take a checkpoint. 0: nothing is worth it.
 */
uint64_t wal_index_plan(struct wal_index *index, uint64_t group_bytes_max);

/* A group that needs the oldest file, if it is not the last; else 0. */
uint64_t wal_index_holder(const struct wal_index *index);

/* What would have to be moved to empty the files below that one of this group. */
int wal_group_has_state_below(const struct wal_group *group, uint64_t file);
int wal_group_has_data_below(const struct wal_group *group, uint64_t file);
uint64_t wal_group_bytes(const struct wal_group *group);

/* The lowest entry stored and needed; 0: none. */
raft_index wal_group_first(const struct wal_group *group);

/* The run that holds an entry; null where none does. */
const struct wal_run *wal_group_run(const struct wal_group *group, raft_index entry);

const struct wal_file *wal_index_file(const struct wal_index *index, uint64_t number);

#endif
