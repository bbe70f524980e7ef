/*
 * Checkpoints: durable snapshots of the state machines of one server, of one group or of many, each
 * a file in a directory of their own. They are written piece by piece beside the running service,
 * received from a leader, loaded after a restart, and read for other servers.
 *
 * Taking one, and giving up the log in front of it:
 *
 *     raft_snapshot_meta(node, meta, sizeof meta, &size);    the state is frozen from here ...
 *     checkpoint_begin(store, group, index, term, meta, size, &writer);
 *     checkpoint_add(writer, data, bytes);                   ... or a view of it is
 *     checkpoint_commit(writer);
 *     checkpoint_collect(store, done, host);                 done, later: CHECKPOINT_TAKEN:
 *         raft_compact(node, meta, size);
 *         wal_trim(log, group, index, status.first_index);
 *
 * Receiving one. Three things are durable one after the other, and a crash between any two of them
 * leaves either the old state or the new one:
 *
 *     snapshot_write:           return checkpoint_receive(store, group, chunk);
 *                               1. with the last piece: the file, beside the one in use
 *     persist:                  return wal_append(log, group, write);
 *                               2. the record whose metadata makes it the one in use
 *     when that is stored:      checkpoint_install(store, group, index, term);
 *                               3. the file under its final name; CHECKPOINT_INSTALLED tells
 *     snapshot_load:            checkpoint_read_begin(store, group, index, term, &reader, error);
 *
 * After a restart the log says how far it came: wal_open first, noting base_index and base_term of
 * the last write with metadata of every group, then checkpoint_recover with these, which finishes 3
 * where 2 had happened and undoes 1 where it had not. Then the newest checkpoint of every group is
 * opened with checkpoint_read_begin, its metadata given to raft_restore as the last write, and its
 * data loaded.
 *
 * With a writer thread nothing waits for the disk but opening, closing and reading: the completion
 * descriptor becomes readable when checkpoint_collect has something to tell. Without it every call
 * does its work itself. A store is used by one thread at a time, and its callbacks run on it.
 */
#ifndef KEELSON_CHECKPOINT_H
#define KEELSON_CHECKPOINT_H

#include "../raft.h"
#include "io.h"

typedef struct checkpoint_store checkpoint_store;
typedef struct checkpoint_writer checkpoint_writer;
typedef struct checkpoint_reader checkpoint_reader;

#define CHECKPOINT_FORMAT_VERSION      1u
#define CHECKPOINT_NAME_MAX            64u
#define CHECKPOINT_BLOCK_BYTES_DEFAULT ((uint32_t)64 * 1024)
#define CHECKPOINT_BLOCK_BYTES_MIN     ((uint32_t)512)
#define CHECKPOINT_BLOCK_BYTES_MAX     ((uint32_t)16 * 1024 * 1024)
#define CHECKPOINT_QUEUE_BYTES_DEFAULT ((size_t)8 * 1024 * 1024)

struct checkpoint_options {
    const struct io *io;   /* mandatory; must outlive the store */
    const char *directory; /* mandatory, of its own; made (0700), but not its parents */
    uint64_t cluster;      /* both are in every file; files of others are refused */
    uint64_t node;
    uint32_t block_bytes; /* data under one checksum. 0: default; at most 16 MiB */
    size_t queue_bytes;   /* data given and not written yet, of all writers. 0: default */
    int writer_thread;    /* nonzero: a thread of the store's own, which takes no signals */
};

/* Why something failed. */
struct checkpoint_error {
    int code;                       /* what the function returned */
    int system;                     /* the errno behind it, positive; 0: none */
    char file[CHECKPOINT_NAME_MAX]; /* name inside the directory; empty: the directory itself */
    uint64_t offset;                /* in that file, where it is damaged */
    char text[96];                  /* what is wrong, in English */
};

/* What a group's log begins with, as the log says. */
struct checkpoint_base {
    uint64_t group;
    raft_index index; /* base_index of the last write with metadata; 0: none, or the founding one */
    raft_term term;
};

struct checkpoint_info {
    uint64_t group;
    raft_index index;
    raft_term term;
    const void *meta; /* lent until the reader ends */
    size_t meta_size;
    uint64_t size; /* bytes of data */
    uint64_t cluster;
    uint64_t node;
};

enum {
    CHECKPOINT_TAKEN = 1,     /* what checkpoint_commit was called for */
    CHECKPOINT_RECEIVED = 2,  /* a piece that checkpoint_receive answered with RAFT_PENDING */
    CHECKPOINT_INSTALLED = 3, /* what checkpoint_install was called for */
    CHECKPOINT_ROOM = 4       /* checkpoint_add was refused for lack of room, and there is some */
};

struct checkpoint_event {
    int kind;
    int status; /* RAFT_OK; RAFT_ESTORAGE: it is as if it had not been begun; RAFT_ENOMEM */
    int system; /* the errno behind it, positive; 0: none */
    uint64_t group;
    raft_index index;
    raft_term term;
    raft_id peer; /* RECEIVED: from whom */
};

typedef void checkpoint_done(void *ctx, const struct checkpoint_event *event);

/*
 * Locks the directory and looks at what it holds; what was being written when the process ended is
 * removed. Copies the options, but not what io points to. error may be null. RAFT_OK, and *out is
 * the store; RAFT_EARG; RAFT_EBUSY: another process uses it; RAFT_ESTORAGE; RAFT_ENOMEM.
 */
int checkpoint_open(const struct checkpoint_options *options, struct checkpoint_error *error,
                    checkpoint_store **out);

/*
 * Brings the directory in step with the log, see above; once, after checkpoint_open. Of every group
 * the newest checkpoint is kept, and older ones are removed once its ends have been verified.
 * RAFT_OK; RAFT_ECORRUPT: the log of a group begins with a checkpoint that is not there whole, so
 * that data is lost; RAFT_EFOREIGN, RAFT_EVERSION: a file of others; RAFT_ESTORAGE; RAFT_ENOMEM.
 */
int checkpoint_recover(checkpoint_store *store, const struct checkpoint_base *bases, size_t count,
                       struct checkpoint_error *error);

/* Index and term of the newest checkpoint of a group. Returns 0 where there is none. */
int checkpoint_newest(const checkpoint_store *store, uint64_t group, raft_index *index,
                      raft_term *term);

/* ---- Taking ---- */

/*
 * Begins a checkpoint. Copies the metadata, RAFT_META_MAX bytes at most. RAFT_OK; RAFT_EARG;
 * RAFT_ESTATE: there is one as new or newer, or committed, or this one is being taken already;
 * RAFT_ESTORAGE: no random bytes; RAFT_ENOMEM.
 */
int checkpoint_begin(checkpoint_store *store, uint64_t group, raft_index index, raft_term term,
                     const void *meta, size_t meta_size, checkpoint_writer **out);

/*
 * Adds data, which it copies. RAFT_OK; RAFT_EBUSY: nothing was taken, since queue_bytes would be
 * exceeded (never where nothing is queued): CHECKPOINT_ROOM follows; RAFT_ENOMEM: nothing was
 * taken; RAFT_ESTORAGE: writing has failed, checkpoint_abort is left; RAFT_EARG.
 */
int checkpoint_add(checkpoint_writer *writer, const void *data, size_t size);

/*
 * Ends the checkpoint: it is made durable, takes the place of the one before, and CHECKPOINT_TAKEN
 * tells. The writer is gone, whatever is returned. RAFT_OK; RAFT_ESTATE: one as new or newer is
 * there by now, or on its way, and this one is dropped without an event; RAFT_EARG.
 */
int checkpoint_commit(checkpoint_writer *writer);

/* Drops what was written. The writer is gone. null: nothing happens. */
void checkpoint_abort(checkpoint_writer *writer);

/* ---- Receiving ---- */

/*
 * Takes a piece, as raft_callbacks.snapshot_write asks; it copies what it is given. RAFT_OK;
 * RAFT_PENDING: CHECKPOINT_RECEIVED follows (the last piece waits for the disk, others only while
 * the queue is full); RAFT_ESTATE: not the piece that comes next, or of one not newer than what is
 * here; RAFT_ESTORAGE, RAFT_ENOMEM: all of it is dropped; RAFT_EARG.
 */
int checkpoint_receive(checkpoint_store *store, uint64_t group, const raft_chunk *chunk);

/* No more pieces come: what is not complete is dropped. */
void checkpoint_receive_end(checkpoint_store *store, uint64_t group);

/*
 * Makes the received checkpoint the newest one, when the log's record that names it is durable.
 * RAFT_OK: done, or a newer one is there; RAFT_PENDING: CHECKPOINT_INSTALLED follows; where that
 * says RAFT_ESTORAGE, checkpoint_recover will do it after a restart, or another call; RAFT_ESTATE:
 * no such one was received; RAFT_ESTORAGE; RAFT_ENOMEM.
 */
int checkpoint_install(checkpoint_store *store, uint64_t group, raft_index index, raft_term term);

/* ---- Reading ---- */

/*
 * Opens a checkpoint, the newest one (index 0) or that at (index, term), and verifies its ends. It
 * stays readable until checkpoint_read_end, whatever replaces it. RAFT_OK; RAFT_ESTATE: there is no
 * such one; RAFT_ECORRUPT, RAFT_EFOREIGN, RAFT_EVERSION; RAFT_ESTORAGE; RAFT_ENOMEM; RAFT_EARG.
 */
int checkpoint_read_begin(checkpoint_store *store, uint64_t group, raft_index index, raft_term term,
                          checkpoint_reader **out, struct checkpoint_error *error);

const struct checkpoint_info *checkpoint_read_info(const checkpoint_reader *reader);

/*
 * Reads data from an offset on: *size is capacity, or what is left, or 0 at the end. Every block is
 * verified before any of it is given. RAFT_OK; RAFT_ECORRUPT; RAFT_ESTORAGE; RAFT_EARG: beyond the
 * end.
 */
int checkpoint_read(checkpoint_reader *reader, uint64_t offset, void *data, size_t capacity,
                    size_t *size);

/* null: nothing happens. */
void checkpoint_read_end(checkpoint_reader *reader);

/*
 * Gives a piece, as raft_callbacks.snapshot_read asks, and keeps the file open for that peer until
 * checkpoint_send_end, another checkpoint, or the close. As checkpoint_read_begin and
 * checkpoint_read.
 */
int checkpoint_send(checkpoint_store *store, uint64_t group, raft_chunk *chunk);
void checkpoint_send_end(checkpoint_store *store, uint64_t group, raft_id peer);

/* ---- Completion ---- */

/* Tells what has been completed since the last call, in order. Returns how many. */
size_t checkpoint_collect(checkpoint_store *store, checkpoint_done *done, void *ctx);

/* Readable when checkpoint_collect has something to tell; -1 without a writer thread. */
int checkpoint_completion_fd(const checkpoint_store *store);

/*
 * Finishes what was committed, drops what was not, waits for the disk, joins the thread, unlocks
 * the directory. Readers must have ended. Events not collected are not told. null: nothing happens.
 */
void checkpoint_close(checkpoint_store *store);

#endif
