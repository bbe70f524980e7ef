/*
 * What the parts of the store share: checkpoint.c, which knows what is to be done,
 * checkpoint_jobs.c, which does it, and checkpoint_recover.c, which opens and closes.
 */
#ifndef KEELSON_CHECKPOINT_INTERNAL_H
#define KEELSON_CHECKPOINT_INTERNAL_H

#include "checkpoint.h"
#include "checkpoint_format.h"
#include "checkpoint_read.h"

#include <pthread.h>

enum checkpoint_job_kind {
    JOB_CREATE,
    JOB_BLOCK,
    JOB_FINISH,
    JOB_DROP,
    JOB_TELL,
    JOB_INSTALL,
    JOB_REMOVE
};

struct checkpoint_job {
    struct checkpoint_job *next;
    enum checkpoint_job_kind kind;
    checkpoint_writer *writer;     /* null: INSTALL and REMOVE */
    struct checkpoint_name name;   /* of these two */
    struct checkpoint_event event; /* what is told when it is done; kind 0: nothing */
    size_t size;
    uint8_t bytes[]; /* CREATE: the head; BLOCK: head and data of a block */
};

struct checkpoint_writer {
    checkpoint_store *store;
    struct checkpoint_name name;
    checkpoint_writer *next; /* all that are open */

    /* Of the caller's thread. */
    struct checkpoint_job *ending;  /* the last job, made first: to end needs no memory */
    struct checkpoint_job *filling; /* the block that is not full; null: none */
    uint64_t size;                  /* bytes of data taken */
    raft_id peer;                   /* incoming: from whom */

    /* Of the jobs. */
    int fd;
    uint32_t seed;
    uint32_t chain;
    uint64_t offset; /* where the next block goes */
    uint64_t blocks, written, unsynced;
    int failure; /* negated errno; sticky. The caller reads it under the lock */
};

/* What is known of a group: what is durable, and what has been ordered. */
struct checkpoint_group {
    uint64_t id;
    int has_newest;
    raft_index newest; /* durable under its final name */
    raft_term newest_term;
    int has_ordered;
    raft_index ordered; /* the newest that was committed, installed, or found */
    struct {
        raft_index index; /* 0: none */
        raft_term term;
    } received[2]; /* complete and not installed; more of them are not remembered */
    checkpoint_writer *incoming;
};

/* A peer that a checkpoint is being sent to. */
struct checkpoint_sending {
    uint64_t group;
    raft_id peer;
    checkpoint_reader *reader;
    struct checkpoint_sending *next;
};

struct checkpoint_queue {
    struct checkpoint_job *first;
    struct checkpoint_job *last;
};

struct checkpoint_store {
    struct checkpoint_options options;
    const struct io *io;
    char directory[CHECKPOINT_DIRECTORY_MAX];
    int directory_fd;
    int lock_fd;

    /* Of the caller's thread. */
    struct checkpoint_group *groups; /* sorted by id */
    size_t group_count, group_capacity;
    checkpoint_writer *writers;
    struct checkpoint_sending *sendings;
    struct checkpoint_name *found; /* what the directory held, until checkpoint_recover */
    size_t found_count, found_capacity;

    /* Under the lock. */
    struct checkpoint_queue jobs;
    struct checkpoint_queue done; /* with an event to be told */
    size_t queued_bytes;
    int room_wanted;
    int is_closing;
    int is_notified;

    int has_thread;
    int pipe[2];
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

/* ---- checkpoint_jobs.c ---------------------------------------------------------------------- */

void checkpoint_lock(checkpoint_store *store);
void checkpoint_unlock(checkpoint_store *store);

/* RAFT_OK, RAFT_ENOMEM or RAFT_ESTORAGE for 0 or a negated errno. */
int checkpoint_status_of(int error);

/* Null where there is no memory. room: bytes at its end. */
struct checkpoint_job *checkpoint_new_job(enum checkpoint_job_kind kind, checkpoint_writer *writer,
                                          size_t room);

void checkpoint_set_event(struct checkpoint_job *job, int kind, const struct checkpoint_name *name,
                          raft_id peer);

/* Takes the job. RAFT_PENDING, or without a thread how it ended. */
int checkpoint_order(checkpoint_store *store, struct checkpoint_job *job);

/* The first job of a queue, taken out of it, or null. */
struct checkpoint_job *checkpoint_take_job(struct checkpoint_queue *queue);

/* 0 or a negated errno. A file that is not there has been removed. */
int checkpoint_remove_file(checkpoint_store *store, const struct checkpoint_name *name);

/* And makes the new name durable. */
int checkpoint_rename_file(checkpoint_store *store, const struct checkpoint_name *from,
                           const struct checkpoint_name *to);

/* 0 or a negated errno. */
int checkpoint_start_thread(checkpoint_store *store);

/* Waits until everything ordered is done. */
void checkpoint_stop_thread(checkpoint_store *store);

/* Under the lock. */
void checkpoint_drain_pipe(checkpoint_store *store);

/* ---- checkpoint.c --------------------------------------------------------------------------- */

struct checkpoint_name checkpoint_name_of(uint64_t group, raft_index index, raft_term term,
                                          enum checkpoint_stage stage);

/* The group, or null; get notes it if it is new, and returns null where there is no memory. */
struct checkpoint_group *checkpoint_find_group(const checkpoint_store *store, uint64_t id);
struct checkpoint_group *checkpoint_get_group(checkpoint_store *store, uint64_t id);

void checkpoint_note_ordered(struct checkpoint_group *group, raft_index index);

/* What was written is removed; the writer is gone. */
void checkpoint_drop_writer(checkpoint_writer *writer);

#endif
