/*
 * Exactly-once sessions of clients: a table that a state machine keeps beside its data, so that a
 * request which reached the log twice is executed once (Raft dissertation §6.3, V19).
 *
 * A client whose request got no answer, or "unknown", can only ask again, here or elsewhere, and
 * the log may then hold the request twice. So:
 *
 *   - A client opens a session by an entry. The session's id is the index of that entry, so no id
 *     is ever given twice.
 *   - It numbers its requests 1, 2, 3, ... and sends the next when the one before is answered or
 *     given up. Every try of a request carries the same id and number, in the entry itself.
 *   - The state machine asks this table before it executes a request, and gives it the answer to
 *     keep. A repeated request gets the answer that was kept.
 *
 * In apply:
 *
 *     entry that opens a session:      sessions_open(table, entry.index)      answer: entry.index
 *     entry with (id, number, command):
 *         switch (sessions_begin(table, entry.index, id, number, &kept)) {
 *         case SESSIONS_NEW:           execute command, which gives an answer
 *                                      sessions_finish(table, answer, answer_size)
 *         case SESSIONS_REPEAT:        the answer is kept.data, kept.size: execute nothing
 *         default:                     answer the verdict: execute nothing
 *         }
 *     entry that ends sessions:        sessions_close, sessions_expire
 *
 * The table is part of the replicated state. Everything in it follows from the entries applied, in
 * their order: which session goes when there are too many is decided by the entry that last used
 * it, never by a clock. A host that wants sessions to end after a time proposes an entry that says
 * so. The limits are part of the state as well: other limits on one server would be another state
 * machine there. And the table goes into the same snapshot as the data, taken at the same index: a
 * table older than the data executes a request twice, a younger one swallows it.
 *
 * Memory. A call that returns SESSIONS_ENOMEM has changed nothing. But the other servers have
 * applied the entry, so a state machine must not go on without it: apply returns an error, the node
 * stops, and applies the entry again after a restart.
 *
 * Reads that change nothing need no session. Used by one thread at a time. Costs are constant but
 * for evictions and where it says otherwise.
 */
#ifndef KEELSON_SESSION_H
#define KEELSON_SESSION_H

#include <stddef.h>
#include <stdint.h>

#include "../raft.h"

struct sessions;

#define SESSIONS_COST       ((uint64_t)64) /* what a session counts besides its answer, in bytes */
#define SESSIONS_HEAD_BYTES ((size_t)56)   /* saved bytes before the first session */
#define SESSIONS_ITEM_BYTES ((size_t)32)   /* saved bytes of a session without its answer */

enum {
    SESSIONS_OK = 0,

    /* What sessions_begin says of a request. */
    SESSIONS_NEW = 1,     /* to be executed, then sessions_finish */
    SESSIONS_REPEAT = 2,  /* executed before; its answer is given */
    SESSIONS_UNKEPT = 3,  /* executed before; its answer was too large to be kept */
    SESSIONS_STALE = 4,   /* older than the last one executed: answered or given up long ago */
    SESSIONS_UNKNOWN = 5, /* no such session: never opened, ended or evicted. The client must open a
                             new one; whether its last request was executed cannot be told */

    SESSIONS_ENOMEM = -1,
    SESSIONS_EARG = -2,     /* limits that cannot be; calls or indexes out of order: a bug of the
                               host, or a table and data of different snapshots */
    SESSIONS_ECORRUPT = -3, /* bytes that no table was saved as */
    SESSIONS_EVERSION = -4  /* bytes of a later version */
};

/* 0 means the default. */
struct sessions_limits {
    uint64_t count_max;       /* sessions at the same time. 0: 65536 */
    uint64_t bytes_max;       /* of all: answers, and SESSIONS_COST each. 0: 64 MiB */
    uint64_t reply_bytes_max; /* of an answer that is kept; with SESSIONS_COST at most bytes_max,
                                 and below 2^31. 0: 64 KiB, or less where bytes_max is small */
};

/* An answer that was kept. Lent until the next call that may change the table. */
struct sessions_reply {
    const void *data;
    size_t size;
};

/*
 * Makes an empty table. Null limits are all defaults. SESSIONS_OK; SESSIONS_EARG: limits that allow
 * not even one session; SESSIONS_ENOMEM. *out is set only on SESSIONS_OK.
 */
int sessions_new(const struct sessions_limits *limits, struct sessions **out);

/* Null is allowed. */
void sessions_free(struct sessions *table);

/*
 * In the following, index is that of the entry being applied: above 0, never below that of a call
 * before, and that of sessions_open above all before. Where it is not, or where a request was begun
 * and not finished, the answer is SESSIONS_EARG and nothing has changed.
 */

/*
 * Opens the session with the id `index`. Where there are too many, those go that were not used for
 * longest. SESSIONS_OK; SESSIONS_EARG; SESSIONS_ENOMEM.
 */
int sessions_open(struct sessions *table, raft_index index);

/*
 * Says what to do with request `number` of session `id`, and counts as use of that session.
 * *reply (which may be null) is set on SESSIONS_REPEAT. A verdict, or SESSIONS_EARG.
 */
int sessions_begin(struct sessions *table, raft_index index, uint64_t id, uint64_t number,
                   struct sessions_reply *reply);

/*
 * Ends what a SESSIONS_NEW began: the request is executed, this is its answer. Copies it; one above
 * reply_bytes_max is not kept, which a repeat is told. Where the answers are too many, the sessions
 * go that were not used for longest. SESSIONS_OK; SESSIONS_EARG: nothing was begun;
 * SESSIONS_ENOMEM: it can be called again.
 */
int sessions_finish(struct sessions *table, const void *reply, size_t size);

/* Ends a session. SESSIONS_OK; SESSIONS_UNKNOWN: there was none; SESSIONS_EARG. */
int sessions_close(struct sessions *table, raft_index index, uint64_t id);

/*
 * Ends every session that no entry at `unused_since` or above has used: a host that ends sessions
 * by time remembers which index was the last one at that time. SESSIONS_OK; SESSIONS_EARG. The cost
 * grows with the sessions that end.
 */
int sessions_expire(struct sessions *table, raft_index index, raft_index unused_since);

/*
 * Sets other limits; sessions beyond them go. SESSIONS_OK; SESSIONS_EARG. Answers already kept may
 * stay above a new reply_bytes_max, but never so many that bytes_max is exceeded.
 */
int sessions_limit(struct sessions *table, raft_index index, const struct sessions_limits *limits);

/* Sessions that are open, and what they count in bytes. */
size_t sessions_count(const struct sessions *table);
uint64_t sessions_bytes(const struct sessions *table);

/* ---- Snapshots. Each of the following walks the whole table. -------------------------------- */

/* How many bytes sessions_save writes now. */
size_t sessions_saved_size(const struct sessions *table);

/*
 * Writes the table, limits included. The same entries give the same bytes on every machine. Returns
 * the size; 0 where capacity is too small or a request was begun and not finished.
 */
size_t sessions_save(const struct sessions *table, void *out, size_t capacity);

/*
 * Replaces the table, limits included, by one that was saved. The bytes need not be trusted: all
 * are checked, and what is accepted is saved as the same bytes again. SESSIONS_OK; SESSIONS_EARG:
 * in the midst of a request; SESSIONS_ECORRUPT; SESSIONS_EVERSION; SESSIONS_ENOMEM. On any error
 * the table is as it was.
 */
int sessions_load(struct sessions *table, const void *data, size_t size);

/* A number that is equal on servers that have applied the same, and else almost surely is not. */
uint64_t sessions_digest(const struct sessions *table);

#endif
