/*
 * A server's past: what the directory of a stopped server holds, or a copy of a checkpoint, read
 * and not changed. raftkv-check shows it, raftkv-recover founds a new cluster on it.
 *
 * Everything is verified on the way: every checksum of the log and of the checkpoints, that the
 * writes fit each other, and that the log goes on where the checkpoint ends, as a starting server
 * does; the engine itself judges.
 */
#ifndef RAFTKV_PAST_H
#define RAFTKV_PAST_H

#include "../checkpoint_read.h"
#include "../wal.h"
#include "store.h"

#define PAST_ERROR_MAX 1536u
#define PAST_PATH_MAX  (CHECKPOINT_DIRECTORY_MAX - 16) /* its end included */

struct past {
    const struct io *io;
    char path[PAST_PATH_MAX]; /* of the directory, or of the file */
    char error[PAST_ERROR_MAX];
    int is_damaged; /* what error says is damage, not merely that it cannot be read */
    uint64_t cluster;
    raft_id id;

    /* Of a directory alone; the log is null for a file. */
    wal *log;
    raft *node;                  /* restored; it takes part in nothing */
    int protocol;                /* RAFT_PROTOCOL_*, as the membership says */
    uint8_t meta[RAFT_META_MAX]; /* of what the log begins with, or else of the checkpoint */
    int is_foreign;              /* an engine of that protocol has refused the log */
    size_t meta_size;            /* 0: there is none, the server waits to be added */
    raft_hard_state state;
    raft_status status;
    int is_witness; /* keeps no content */

    /* The checkpoint that counts. */
    int has_checkpoint;
    char checkpoint_path[CHECKPOINT_PATH_MAX];
    raft_index checkpoint_index;
    raft_term checkpoint_term;
    uint64_t checkpoint_bytes;
    size_t checkpoint_files; /* sound ones in the directory */

    struct store *store; /* as of applied_index */
    raft_index applied_index;
    raft_index last_index; /* of everything there is */
    raft_term last_term;
};

/*
 * Reads a directory, and loads the newest checkpoint. 0, or -1 with the reason in past->error,
 * which names file and offset where something is damaged. past_close is due either way.
 */
int past_open(struct past *past, const char *directory);

/* The same with a copy of one checkpoint. */
int past_open_file(struct past *past, const char *path);

/* Applies the rest of the log to the store, as if all of it were committed. 0, or -1. */
int past_apply(struct past *past);

/* A page of stored entries, of one term; for past_read, zeroed before its first. */
struct past_page {
    raft_fetch fetch;
    size_t capacity;
};

/* Reads entries from `first` on, at least that one. 0, or -1. */
int past_read(struct past *past, raft_index first, struct past_page *page);

void past_page_free(struct past_page *page);

void past_close(struct past *past);

#endif
