/*
 * Keelson: an embeddable consensus engine. This header is its specification: what is not said
 * here is not promised.
 *
 * The engine keeps one replicated log. The host program gives it time, messages, storage and a
 * state machine; the engine decides what to persist, send and apply, and hands it over through
 * callbacks. It does no I/O, reads no clock, starts no thread and has no global state.
 *
 * A complete host has this shape (examples/hello.c runs as it stands):
 *
 *     raft_options options;
 *     raft_options_init(&options);
 *     options.id = 1;
 *     raft_new(&options, &callbacks, host, &node);
 *     if (nothing is stored) raft_bootstrap(node, members, 3);
 *     else for (each stored write, oldest first) raft_restore(node, &write);
 *     raft_start(node, clock_ms());
 *     for (;;) {
 *         wait for sockets until raft_deadline(node);
 *         raft_receive(node, &message);              every message that arrived
 *         raft_propose(node, data, size, &index, &term);
 *         raft_poll(node, clock_ms());               everything that leaves, leaves here
 *     }
 *
 *
 * Conventions
 * -----------
 *
 * Threads. A node is used by one thread at a time. Nodes are independent of each other.
 *
 * Inputs and the flush. Every function that changes a node changes memory only, raft_poll apart:
 * raft_poll is the only function that calls the host back (the allocator apart). It hands out, in
 * this order, persist, then send, then apply, then notify; snapshot_write comes behind persist,
 * read_log and snapshot_read just before what they are for is sent, snapshot_load in place of
 * apply.
 *
 * Re-entrancy. From inside apply and notify the host may call raft_propose, raft_propose_many,
 * raft_read and raft_compact on the same node, and from inside any callback the functions that take
 * a const raft pointer. Every other call on the same node from inside a callback is refused with
 * RAFT_EREENTRY and changes nothing. The allocator is no place for any of them: it runs in the
 * midst of a change, and nothing guards it. Other nodes may be used freely.
 *
 * Ownership words. "Borrows": the pointer is used until the call returns and not kept. "Lends until
 * X": the memory belongs to the engine and stays unchanged until X. Nothing changes hands.
 *
 * Null. A null node, and a null pointer where data is needed, is answered with RAFT_EARG, by
 * raft_range_next and raft_encode with 0. raft_free(NULL) does nothing, raft_deadline(NULL) is
 * RAFT_NEVER. raft_options_init, raft_callbacks_init, raft_message_size and raft_encode_header take
 * no null.
 *
 * Errors. Functions return RAFT_OK (0) or a negative code; section 3 has them in tiers. A call that
 * fails has changed nothing, unless its text says otherwise or the code is of the fatal tier: that
 * one is sticky, the node then takes part in nothing and answers only raft_free and functions of a
 * const node. One more raft_poll tells notify what is still owed: dropped proposals, failed reads,
 * and the error itself.
 *
 * Bugs. Where one of its own invariants is broken, the engine calls abort: stopped is better than
 * wrong. No argument, message or stored byte is meant to get that far.
 *
 * Time. Milliseconds of one monotonic clock that also counts while the machine is suspended
 * (CLOCK_BOOTTIME on Linux), given to raft_start and raft_poll alone. The sample given to raft_poll
 * is taken after the last input handed in before it: the loop "now = clock(); receive; poll(now)"
 * is wrong, since it dates what has arrived too early. A sample below an earlier one counts as
 * equal to it.
 *
 * Determinism. The same options and seed and the same calls with the same samples give the same
 * callbacks, byte for byte, on every machine. (The memory that log_bytes_max bounds holds pointers:
 * a log that is full on one machine has a little room left where they are smaller.)
 *
 * Sizes. Identifiers are 64 bits and never 0. Terms and indexes stay below 2^63. Bytes on the wire
 * and in persisted entries are little-endian whatever the machine.
 *
 * Clocks. Election timers need clocks that run at roughly the same speed. Leases, which are off by
 * default, need more: a clock that counts suspended time, and a bound on the drift between any two
 * servers, which is part of the membership (raft_membership.lease_drift_permille).
 *
 * Faults. Servers may crash and restart, messages may be lost, repeated, delayed and reordered.
 * What persist confirmed must survive a crash. Servers that lie are outside the model, and so are
 * two servers under one id and one whose storage was lost or set back: they may vote twice. But no
 * malformed input from a peer does more than be refused and counted.
 */
#ifndef RAFT_H
#define RAFT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. Version and export ------------------------------------------------------------------ */

#define RAFT_VERSION_MAJOR 0
#define RAFT_VERSION_MINOR 1
#define RAFT_VERSION_PATCH 0
#define RAFT_VERSION_NUMBER                                                                        \
    (RAFT_VERSION_MAJOR * 10000 + RAFT_VERSION_MINOR * 100 + RAFT_VERSION_PATCH)

/* Marks every public function. Define it as `static` to vendor the pair into one source file. */
#ifndef RAFT_API
#if defined(__GNUC__) && !defined(__TINYC__)
#define RAFT_API __attribute__((visibility("default")))
#else
#define RAFT_API
#endif
#endif

/* The version of the library that is linked, as text ("0.1.0") and as RAFT_VERSION_NUMBER. */
RAFT_API const char *raft_version(void);
RAFT_API int raft_version_number(void);

/* ---- 2. Basic types ------------------------------------------------------------------------- */

typedef struct raft raft;

typedef uint64_t raft_id;    /* a server; never 0, never given to another server, ever */
typedef uint64_t raft_index; /* a position in the log; the first entry has index 1 */
typedef uint64_t raft_term;  /* a term of office; 0 before the first election */

#define RAFT_MEMBERS_MAX    32u        /* members of one group */
#define RAFT_BLOB_MAX       255u       /* bytes of a member's blob */
#define RAFT_ENTRY_HEADER   8u         /* bytes before the payload of an encoded entry */
#define RAFT_MESSAGE_HEADER 96u        /* bytes before the entries of an encoded message */
#define RAFT_RANGES_MAX     4u         /* ranges of entries in one message */
#define RAFT_META_MAX       9216u      /* bytes of a snapshot's metadata */
#define RAFT_NEVER          UINT64_MAX /* raft_deadline: nothing is due */

typedef struct raft_buf {
    const void *data;
    size_t size;
} raft_buf;

enum { RAFT_PROTOCOL_RAFT = 0, RAFT_PROTOCOL_MULTIPAXOS = 1 };

enum {
    RAFT_ROLE_FOLLOWER = 0,
    RAFT_ROLE_PRE_CANDIDATE = 1,
    RAFT_ROLE_CANDIDATE = 2,
    RAFT_ROLE_LEADER = 3
};

enum {
    RAFT_ENTRY_DATA = 1,    /* a proposal of the host */
    RAFT_ENTRY_NOOP = 2,    /* a leader's first entry; no payload */
    RAFT_ENTRY_CONFIG = 3,  /* a membership; the payload is the engine's, to be stored unread */
    RAFT_ENTRY_STRIPPED = 4 /* what a witness keeps of a proposal: no payload */
};

/* One entry of the log, as the host sees it. */
typedef struct raft_entry {
    raft_index index;
    raft_term term;
    const void *data; /* payload; its lifetime is that of the range it was taken from */
    size_t size;      /* bytes of payload */
    int kind;         /* RAFT_ENTRY_* */
} raft_entry;

/*
 * A run of entries that share a term, in the one encoding used in memory, on the wire and on disk.
 * Each entry is 4 bytes of payload size, 1 byte of kind, 3 zero bytes, the payload, and zero bytes
 * up to a multiple of eight. A host may store `data` as it stands, or take the entries one by one
 * with raft_range_next.
 */
typedef struct raft_range {
    raft_index first; /* index of the first entry */
    raft_term term;   /* term of every entry */
    size_t count;     /* entries; at least 1 */
    size_t size;      /* bytes of data */
    const void *data;
} raft_range;

/*
 * Takes the first entry off a range: fills *entry, moves *range on and returns 1; returns 0 when
 * nothing is left. To walk a range that was lent as const, walk a copy. The entry points into the
 * range's data. A range whose bytes are not well formed ends early.
 */
RAFT_API int raft_range_next(raft_range *range, raft_entry *entry);

/*
 * Bytes that an entry with this payload takes when encoded; SIZE_MAX where that does not fit. No
 * payload of 2^30 bytes or more can be encoded.
 */
RAFT_API size_t raft_entry_size(size_t payload_size);

/*
 * Encodes an entry (its data, size and kind) into out, which has at least
 * raft_entry_size(entry->size) bytes. For hosts that store entries in a form of their own and have
 * to make ranges of them again for raft_restore. RAFT_OK, RAFT_EARG, or RAFT_ESIZE when capacity
 * is too small or the payload is 2^30 bytes or more.
 */
RAFT_API int raft_entry_encode(const raft_entry *entry, void *out, size_t capacity);

/* ---- 3. Errors ------------------------------------------------------------------------------ */

enum {
    RAFT_OK = 0,
    RAFT_PENDING = 1, /* from callbacks only, not from send and notify: done later, section 8 */

    /* Usage: the call was wrong; nothing has changed. */
    RAFT_EARG = -1,       /* an argument is null or out of its range */
    RAFT_ESTATE = -2,     /* the call is not legal now (before raft_start, twice, ...) */
    RAFT_EREENTRY = -3,   /* the call is not legal inside a callback */
    RAFT_EVERSION = -4,   /* made for a newer version of this library or of its formats */
    RAFT_ESIZE = -5,      /* an entry above entry_bytes_max, 4 GiB at once, or a small buffer */
    RAFT_EMALFORMED = -6, /* bytes or a message that no correct server produces */
    RAFT_EFOREIGN = -7,   /* of another cluster, group or protocol; not to this id, or from it */
    RAFT_ELIMIT = -8,     /* terms or indexes are exhausted */
    RAFT_ECONFLICT = -9,  /* the membership has another version than the caller thinks */

    /* Try elsewhere: this server cannot, another may. */
    RAFT_ENOTLEADER = -20, /* another server leads; raft_status.leader says which */
    RAFT_ENOLEADER = -21,  /* no leader is known */
    RAFT_ENOTMEMBER = -22, /* not in the membership that this server knows, or not in that role */

    /* Busy: try again later. */
    RAFT_ENOMEM = -40,    /* the allocator failed */
    RAFT_EFULL = -41,     /* the log has reached log_bytes_max */
    RAFT_EBUSY = -42,     /* a limit is reached, or what was asked for has to wait for something */
    RAFT_ETRANSFER = -43, /* leadership is being handed over */

    /* Outcomes, in events only. */
    RAFT_EDROPPED = -50, /* the proposal was not and will never be applied */
    RAFT_EUNKNOWN = -51, /* the proposal may or may not be applied (it may be so later, too) */
    RAFT_ETIMEOUT = -52, /* no answer came in time; it is safe to ask again */

    /* Fatal: sticky; the first cause is kept and returned by every later input. */
    RAFT_ESTORAGE = -60, /* persist failed: what is on disk is not known any more */
    RAFT_EAPPLY = -61,   /* apply failed: the state machine is not what the log says */
    RAFT_ECORRUPT = -62, /* what was restored contradicts itself */
    RAFT_ESTOPPED = -63  /* raft_stop has come to its end */
};

/* A sentence in English for a code, for any int. Never null; static. */
RAFT_API const char *raft_strerror(int code);

/* ---- 4. Callbacks --------------------------------------------------------------------------- */

/*
 * What must survive a crash of this server besides the log. One atomic record: a server that
 * remembers a term but not its vote in it can vote twice.
 */
typedef struct raft_hard_state {
    raft_term term;
    raft_id vote;             /* whom this server voted for in term; 0: nobody */
    raft_term accepted_round; /* Multi-Paxos: the term whose leader's log this is (P5, P6) */
    uint64_t lease_max_ms;    /* the longest lease of any membership ever stored here */
} raft_hard_state;

/*
 * One batch for stable storage. To store it is to do, in this order: replace the hard state,
 * replace the metadata, remove every entry at truncate_from and above, append the ranges. A crash
 * in the midst may lose the end of that sequence, never its beginning.
 */
typedef struct raft_write {
    uint64_t seq;  /* counts from 1 in every run of the node; to raft_restore: ignored */
    int has_state; /* nonzero: state below is new */
    raft_hard_state state;
    /*
     * Null, or the metadata of the snapshot that everything begins with from now on: the founding
     * one, or one received from a leader, whose data snapshot_write has made durable before. To
     * store it is to remove every stored entry (before the ranges are appended); the log goes on at
     * base_index + 1. The removal and the metadata are one atomic step. Opaque bytes, at most
     * RAFT_META_MAX, to be kept like the log. The first write of a run may bring the newest
     * snapshot that was restored once more, where the restored log did not reach it and is dropped.
     */
    const void *meta;
    size_t meta_size;
    raft_index base_index;    /* with meta: the last entry that the snapshot covers; founding: 0 */
    raft_term base_term;      /* with meta: the term of that entry */
    raft_index truncate_from; /* 0: nothing is removed. With meta, but for the founding one, it is
                                 base_index + 1: nothing more, but raft_restore looks at it */
    /*
     * What is appended, in index order, each joined to the last; where no entry is stored, to the
     * newest snapshot, which may be one of the host's own that is newer than meta.
     */
    const raft_range *ranges;
    size_t range_count;
} raft_write;

/*
 * Messages between servers. A message says everything by itself: the transport may lose, repeat
 * and reorder messages freely. Fields that a kind does not use are 0.
 */
enum {
    RAFT_MESSAGE_PRE_VOTE = 1,       /* "would you vote for me?": asked_term, round, index */
    RAFT_MESSAGE_PRE_VOTE_REPLY = 2, /* echoes both; refused, with commit, at or below index: the
                                        last durable entry for LOG, else the committed one */
    RAFT_MESSAGE_VOTE = 3,           /* round; index: the candidate's last entry; tag, if ordered */
    RAFT_MESSAGE_VOTE_REPLY = 4,   /* echoes round; refused; commit, which is index; a promise says
                                        what it has, below */
    RAFT_MESSAGE_APPEND = 5,       /* index and index_term: the entry before the ranges; commit */
    RAFT_MESSAGE_APPEND_REPLY = 6, /* index: all up to it is durable; or refused, with a hint */
    RAFT_MESSAGE_HEARTBEAT = 7,    /* commit; round, or 0 where no reply is wanted */
    RAFT_MESSAGE_HEARTBEAT_REPLY = 8, /* echoes round; refused: cannot follow to that commit */
    RAFT_MESSAGE_SNAPSHOT =
        9, /* a chunk: index names the snapshot; offset; meta at offset 0; LAST */
    RAFT_MESSAGE_SNAPSHOT_REPLY = 10, /* index as asked; offset: the one wanted next */
    RAFT_MESSAGE_TRANSFER = 11,       /* "campaign now": tag_term, tag_round */
    RAFT_MESSAGE_READ = 12,           /* a read for another server: nonce, request */
    RAFT_MESSAGE_READ_REPLY = 13,     /* echoes both; index and its term; or refused */
    RAFT_MESSAGE_PROPOSE = 14,        /* proposals for the leader: round, nonce, request; chunk */
    RAFT_MESSAGE_PROPOSE_REPLY = 15,  /* echoes both; index and term of the first; or refused */
    RAFT_MESSAGE_PULL = 16,           /* entries wanted behind index; round */
    RAFT_MESSAGE_PULL_REPLY = 17,     /* echoes round; as an append; or refused, with a hint */
    RAFT_MESSAGE_TRANSFER_ASK = 18,   /* for the leader: request: the target, 0: its choice */
    RAFT_MESSAGE_SNAPSHOT_ASK = 19    /* for the leader: a snapshot at commit or beyond; round */
};

/* More about a message, beside its kind. */
enum {
    RAFT_FLAG_LOG = 2,      /* pre-vote reply: refused only because of the candidate's log */
    RAFT_FLAG_BARE = 2,     /* snapshot: to a witness, metadata alone */
    RAFT_FLAG_HOLD = 2,     /* vote: the promise was given; patience is asked for (P16) */
    RAFT_FLAG_THROUGH = 2,  /* append: it ends where the leader's own term begins, or beyond (P6) */
    RAFT_FLAG_ACCEPTED = 2, /* append reply: accepted_round is this term: it counts (P7) */
    RAFT_FLAG_CREDIT = 4,   /* heartbeat: a lease is asked for */
    RAFT_FLAG_NO_QUORUM = 8, /* heartbeat: the leader does not reach a quorum (N5) */
    RAFT_FLAG_SLEEP = 16,    /* heartbeat: the group falls asleep (R54) */
    RAFT_FLAG_FULL = 32,     /* replies to a leader: no memory for more entries at present */
    RAFT_FLAG_IDLE = 64,     /* heartbeat reply: all is applied here; to a round that says sleep:
                                this server sleeps */
    RAFT_FLAG_LAST = 128     /* snapshot: the last chunk; pull reply: nothing follows */
};

typedef struct raft_message {
    uint64_t cluster;
    uint64_t group;
    raft_id from;
    raft_id to;
    raft_term term;           /* the sender's term */
    uint64_t round;           /* the sender's counter of questions asked; replies echo it */
    raft_index index;         /* the position that the kind is about, see above */
    raft_term index_term;     /* the term of the entry at index */
    raft_term asked_term;     /* pre-vote: the term that the candidate would campaign in */
    raft_index commit;        /* append, heartbeat, pull reply, promise, replies to candidates: the
                             sender's commit index */
    raft_term accepted_round; /* promise: the sender's, with its last durable entry: index (P3) */
    raft_index refused_index; /* refused append or pull reply: the index that did not match */
    uint64_t credit_ms;       /* replies to a leader: how long no other is elected (R50) */
    raft_term tag_term;       /* transfer, and a vote ordered by one: the leader's term and round */
    uint64_t tag_round;       /* when it was ordered (R53); 0 and 0: a vote of one's own accord */
    uint64_t offset;          /* snapshot: of the chunk; reply: the one wanted */
    uint64_t nonce;           /* read, propose: the incarnation that asks */
    uint64_t request;         /* and its number there; a transfer that is asked for: the target */
    int kind;                 /* RAFT_MESSAGE_* */
    int protocol;             /* RAFT_PROTOCOL_* */
    int refused;              /* replies: nonzero means no */
    int flags;                /* RAFT_FLAG_* */
    raft_buf meta;            /* snapshot: its metadata, with offset 0 */
    raft_buf chunk;           /* snapshot: data; propose: entries as in a range */
    size_t range_count; /* append, pull reply: how many ranges hold entries; decoded: at most 1 */
    raft_range ranges[RAFT_RANGES_MAX]; /* all of one term, each joined to the one before */
} raft_message;

/*
 * Events tell what has become of things by the flush: roles passed through between two polls are
 * not told, nor the role of follower that a node starts with. They come in the order in which they
 * are listed. Fields that a kind does not name are not promised.
 */
enum {
    RAFT_EVENT_ROLE = 1,      /* role or term has changed; both, and the known leader, are given */
    RAFT_EVENT_LEADER = 2,    /* only the known leader has changed, to that given (0: none) */
    RAFT_EVENT_MEMBERS = 3,   /* another membership governs, or the one that governs is committed */
    RAFT_EVENT_TRANSFER = 4,  /* a transfer to peer was given up in this term: status */
    RAFT_EVENT_DROPPED = 5,   /* the outcome of proposals first..last made in term: see status */
    RAFT_EVENT_FORWARDED = 6, /* the outcome of raft_forward: tag, status, index and term */
    RAFT_EVENT_READ = 7,      /* the answer to raft_read: tag, status, and index when RAFT_OK */
    RAFT_EVENT_SNAPSHOT_WANTED = 8, /* the log has grown by snapshot_log_bytes, or a peer asks for
                                       a fresh one: take one */
    RAFT_EVENT_SNAPSHOT_NEEDED = 9, /* peer needs a snapshot, and there is no snapshot_read */
    RAFT_EVENT_SNAPSHOT_END = 10,   /* no more chunks to or from peer of the snapshot at index */
    RAFT_EVENT_REGRESSION = 11,     /* peer has lost what it had acknowledged (R48) */
    RAFT_EVENT_FATAL = 12           /* status is the sticky error; the last event of a node */
};

typedef struct raft_event {
    int kind;         /* RAFT_EVENT_* */
    int status;       /* see the kinds; MEMBERS: 1 committed, 0 not yet; SNAPSHOT_END: RAFT_OK: all
                         chunks went through; else it was given up: RAFT_ETIMEOUT: the peer is
                         silent; RAFT_ENOTLEADER, RAFT_ENOTMEMBER: this server leads no longer, or
                         another does, or the peer is gone; RAFT_EDROPPED: refused, or not needed
                         any more; what snapshot_write returned; the sticky error */
    int role;         /* ROLE: RAFT_ROLE_* */
    raft_term term;   /* ROLE, LEADER: the current term; DROPPED, FORWARDED: that of the entries */
    raft_id leader;   /* ROLE, LEADER */
    raft_id peer;     /* TRANSFER, SNAPSHOT_NEEDED, SNAPSHOT_END, REGRESSION */
    uint64_t tag;     /* READ, FORWARDED: as given to the call */
    raft_index index; /* READ: the state machine holds at least all entries up to this one;
                         MEMBERS: the version; FORWARDED: of the entry; SNAPSHOT_END */
    raft_index first; /* DROPPED: indexes, inclusive; also of memberships, and of what others
                         handed over: a host looks for its own among them */
    raft_index last;
} raft_event;

/* A piece of a snapshot on its way. (index, term) is the last entry that the snapshot covers. */
typedef struct raft_chunk {
    raft_id peer; /* to whom it goes, or from whom it comes */
    raft_index index;
    raft_term term;
    uint64_t offset;  /* of this piece in the snapshot's data */
    void *data;       /* reading: filled by the host; writing: the bytes, not to be changed */
    size_t capacity;  /* reading: bytes of room at data */
    size_t size;      /* bytes at data; reading: filled by the host */
    int last;         /* nonzero: the data ends with this piece; reading: filled by the host */
    const void *meta; /* writing, at offset 0: the snapshot's metadata */
    size_t meta_size;
} raft_chunk;

/* A request for stored entries that are no longer in memory. All of them are of one term. */
typedef struct raft_fetch {
    raft_id peer;     /* for whom */
    raft_index first; /* the first one wanted */
    raft_index last;  /* the last one that is of use */
    raft_term term;   /* of all of them */
    void *data;       /* where the encoded entries go, back to back; filled by the host */
    size_t capacity;  /* bytes of room at data */
    size_t count;     /* filled by the host: entries from first on, at least 1 */
    size_t size;      /* filled by the host: their bytes; with RAFT_ESIZE: those of the first */
} raft_fetch;

/*
 * The host's side. `host` is the pointer given to raft_new. persist, send and apply are mandatory;
 * each of the others may be null.
 */
typedef struct raft_callbacks {
    size_t size; /* set by raft_callbacks_init; the library reads no further */

    /*
     * Stores a write. Before it reports success (returns RAFT_OK, or raft_persisted is called with
     * its seq), the bytes must be on stable storage: a later crash must not lose them. May return
     * RAFT_PENDING and be completed later with raft_persisted. Up to RAFT_WRITES_MAX writes may be
     * outstanding; they complete in issue order. Any other return is a failed write: whether it
     * reached the disk is not known, so the node stops for good with RAFT_ESTORAGE, and only a
     * restart from storage may continue. Never retry a failed sync.
     * Lends *write, its ranges array and meta until it returns; lends the bytes of the ranges until
     * the write is completed, even if the entries are removed from the log meanwhile.
     */
    int (*persist)(void *host, const raft_write *write);

    /*
     * Takes a message to its receiver, or loses it. Returns nothing: networks lose messages, and
     * the engine sends again what is still needed. Lends *message until it returns; lends the bytes
     * of its ranges until the next call that takes this node and may change it.
     */
    void (*send)(void *host, const raft_message *message);

    /*
     * Applies committed entries to the state machine: every index in order, exactly once in a run
     * of the node, no-ops and memberships included (so that a durable state machine can store the
     * index), but for those that a snapshot covers. Never called on a witness. May return
     * RAFT_PENDING and be completed later with raft_applied; one call is outstanding at a time. Any
     * other return stops the node with RAFT_EAPPLY. After a restart entries are applied again from
     * the one behind the newest restored snapshot on, or behind raft_restore_applied, once they are
     * known to be committed.
     * Lends *range until it returns; lends its bytes until the call is completed.
     */
    int (*apply)(void *host, const raft_range *range);

    /*
     * Tells an event. Optional: roles can be polled with raft_get_status, but the answers to reads
     * and the fate of dropped proposals are told nowhere else. Lends *event until it returns.
     */
    void (*notify)(void *host, const raft_event *event);

    /*
     * Reads stored entries back, which a slow peer still needs and which memory has given up: fills
     * fetch->data, count and size. RAFT_OK; RAFT_PENDING: raft_log_read follows, and data is lent
     * until then; RAFT_ESIZE: the first entry alone needs fetch->size bytes; anything else: they
     * cannot be had, and the peer gets a snapshot. One request for a peer is outstanding at a time.
     * Asked only for first_index of raft_status and above. Optional: without it the log stays in
     * memory until raft_compact. What is not applied stays in memory in any case: a restart needs
     * room for all that the newest snapshot does not cover, log_bytes_max or not.
     */
    int (*read_log)(void *host, raft_fetch *fetch);

    /*
     * Gives a piece of the snapshot at (chunk->index, chunk->term), for chunk->peer: fills
     * chunk->data from chunk->offset on, size and last. Offset 0 begins a transfer, and may come
     * again; RAFT_EVENT_SNAPSHOT_END ends it, so that the host can hold a frozen view in between.
     * Only the newest snapshot given to raft_compact is ever begun; several peers may be sent
     * different ones. As long as this server leads, the bytes of one snapshot stay the same for a
     * peer: a transfer is resumed where it was, any offset up to the end may be asked for, and at
     * the end there are 0 bytes, which are the last. RAFT_OK; RAFT_PENDING: raft_chunk_read
     * follows, and data is lent until then; anything else: not now, to be tried again later, or
     * with a newer snapshot where there is one. Optional: without it the host ships
     * snapshots by itself (RAFT_EVENT_SNAPSHOT_NEEDED, raft_snapshot_received) or never compacts.
     */
    int (*snapshot_read)(void *host, raft_chunk *chunk);

    /*
     * Takes a piece of a snapshot that a leader sends. Offset 0 begins anew, whatever came before;
     * others follow without a gap. With the last piece everything must be durable, beside the
     * snapshot in use, when RAFT_OK is reported: then persist makes it the one in use, and
     * snapshot_load follows. RAFT_OK; RAFT_PENDING: raft_chunk_written follows, and data and meta
     * are lent until then; anything else: given up, the leader begins again later.
     * RAFT_EVENT_SNAPSHOT_END tells when no more pieces come. With RAFT_OK, persist was given the
     * metadata just before, unless the log has reached the snapshot meanwhile: then it is of no
     * use, and may go, unless raft_request_snapshot has asked for it. Optional: without it snapshots are refused, and a server too far behind
     * stays behind.
     */
    int (*snapshot_write)(void *host, const raft_chunk *chunk);

    /*
     * Replaces the state machine by the snapshot at (index, term), which persist has put into use;
     * or which raft_request_snapshot has asked for: then it is the newest that snapshot_write, or
     * raft_snapshot_received, has brought.
     * RAFT_OK, RAFT_PENDING (completed by raft_applied with that index), or the node stops with
     * RAFT_EAPPLY. Mandatory where snapshots can arrive, so with snapshot_write. Never called on a
     * witness.
     */
    int (*snapshot_load)(void *host, raft_index index, raft_term term);

    /*
     * Memory. (p, old, new): allocate (p null, old 0), resize, or free (new 0; returns null). On
     * failure returns null and leaves p as it was; shrinking may fail too. Aligned for any type, as
     * by malloc. Optional: null means the malloc family. May be called from raft_new and from every
     * function that takes a non-const node.
     */
    void *(*alloc)(void *host, void *p, size_t old_size, size_t new_size);
} raft_callbacks;

#define RAFT_WRITES_MAX 4u

/* Clears *callbacks and sets its size. */
RAFT_API void raft_callbacks_init(raft_callbacks *callbacks);

/* ---- 5. Options ----------------------------------------------------------------------------- */

/*
 * Zero means the default, everywhere. New options are added at the end. raft_options_init clears
 * the struct and sets size; fields that the library does not know must be 0 (RAFT_EVERSION).
 */
typedef struct raft_options {
    size_t size;

    raft_id id;       /* this server; mandatory */
    uint64_t cluster; /* every message carries it and others are refused; 0: 1 */
    uint64_t group;   /* one of many logs in a process; 0: 1 */
    uint64_t seed; /* of the random timeouts; mixed with id and group. 0 is a seed like another */
    int protocol;  /* RAFT_PROTOCOL_*: the same on all servers of a group, for ever */

    /*
     * The shortest election timeout T. Timeouts are drawn from [T, 2T); "one election timeout" in
     * this header is the longest, 2T. Ten times a network round trip and a disk sync is a good
     * choice. 0: 1000; from 2 to 2^30.
     */
    uint32_t election_timeout_ms;
    /* How often an idle leader says that it lives; below T. 0: a fifth of T, and one. */
    uint32_t heartbeat_ms;
    /*
     * A leader whose write has been outstanding this long hands over, so that a server whose disk
     * works can lead; after twice as long it leads no longer and is silent. Other servers grant no
     * pre-votes meanwhile. 0: one election timeout, 2T. At most 4T.
     */
    uint32_t disk_timeout_ms;

    /*
     * Memory of the log. At the bound, proposals are refused with RAFT_EFULL; a follower goes on
     * for another eighth and 256 KiB, so that it can hold what a leader with the same bound took.
     * Empty entries and memberships pass, or no leader could begin, nor a change come to its end.
     * What is applied leaves memory by raft_compact, or, where there is a read_log, by itself when
     * half of the bound is used. A log that is larger, restored so or when the bound is lowered,
     * has its own size for a bound until it has shrunk. 0: 256 MiB.
     */
    uint64_t log_bytes_max;
    /*
     * Encoded bytes of the leader's entries that are not committed yet. Beyond it proposals are
     * refused with RAFT_EBUSY; an empty payload always passes, and anything passes where nothing is
     * uncommitted. 0: 64 MiB.
     */
    uint64_t uncommitted_bytes_max;
    uint32_t entry_bytes_max;  /* payload of one proposal. 0: 16 MiB; below 2^30 */
    uint32_t append_bytes_max; /* entries in one message; a larger entry goes alone. 0: 256 KiB */
    uint32_t apply_bytes_max;  /* entries applied in one poll; a larger one goes alone. 0: 1 MiB */
    uint32_t inflight_messages_max; /* unacknowledged appends to one peer. 0: 64; at most 4096 */
    uint64_t inflight_bytes_max;    /* bytes of them; the last may overshoot. 0: 8 MiB */
    uint32_t reads_max;             /* reads waiting. 0: 65536; at most 2^30 */

    uint8_t no_pre_vote;     /* nonzero: campaign without asking first */
    uint8_t no_check_quorum; /* nonzero: a leader that hears nobody stays; no stickiness either */
    uint8_t no_stickiness;   /* nonzero: followers of a live leader answer candidates */
    /*
     * Nonzero: entries may be applied here before they are durable here (they are on a quorum).
     * Only for a state machine that lives in memory and is rebuilt from the log at start.
     */
    uint8_t apply_ahead;
    /*
     * Nonzero: a pre-candidate that is refused only because of its log does not catch up from
     * another follower (N7). Where only one server reaches a quorum, and it lacks entries, the
     * group then has no leader until the network heals.
     */
    uint8_t no_pull;
    /*
     * Nonzero: a group without work falls asleep after one election timeout: no timer, no message,
     * until something is to be done (R54). It takes the option on all voters, and all of them
     * alive. Whether the leader of a sleeping group lives, nobody notices: the host tells by
     * raft_unreachable(node, leader) on the followers.
     */
    uint8_t quiesce;

    /*
     * A number that no earlier run of this server has used, random or counted on stable storage.
     * With it, raft_read and raft_forward work on servers that do not lead: what they ask the
     * leader for carries it (R63). 0: they are refused there.
     */
    uint64_t incarnation;
    uint32_t forward_bytes_max; /* encoded proposals without an answer; 0: no raft_forward */

    /* Log bytes since the newest snapshot at which RAFT_EVENT_SNAPSHOT_WANTED comes. 0: never. */
    uint64_t snapshot_log_bytes;
    /*
     * raft_compact keeps this many bytes of entries in front of the snapshot, so that a server that
     * is a little behind needs none. 0: 4 MiB; at most log_bytes_max / 2.
     */
    uint64_t trailing_bytes;
    uint32_t chunk_bytes_max; /* data of a snapshot in one message. 0: 256 KiB; at most 2^26 */
} raft_options;

RAFT_API void raft_options_init(raft_options *options);

/* ---- 6. Lifecycle --------------------------------------------------------------------------- */

enum {
    RAFT_MEMBER_VOTER = 0,   /* votes, and counts for committing */
    RAFT_MEMBER_LEARNER = 1, /* gets the log and applies it; counts for nothing */
    /*
     * Votes and acknowledges, but keeps no payload and no state: a third server for two. The cost:
     * an entry that is committed by one data voter and the witnesses waits for that voter, or for a
     * learner that holds it; while they are away nobody can lead, and if none returns the entry is
     * lost (R56). The id of a witness is never anything else, not even when the change that would
     * have added it was dropped: such a server stops with RAFT_ECORRUPT.
     */
    RAFT_MEMBER_WITNESS = 2,
    RAFT_MEMBER_NONE = 3 /* while joint: was no member before, or will be none */
};

/* A server of the group. */
typedef struct raft_member {
    raft_id id;
    const void *blob; /* a few bytes that travel with the membership: an address, usually */
    size_t blob_size; /* at most RAFT_BLOB_MAX */
    int role;         /* RAFT_MEMBER_* */
    /*
     * Nonzero, on a learner: it becomes a voter by itself when it has caught up. A wish, kept in
     * the membership, so that whoever leads fulfils it (R65).
     */
    int promote;
    uint32_t priority; /* at most 255: who has less than another voter campaigns later (R55) */
    uint32_t zone;     /* failure zone, at most 255; 0: none. See raft_membership.zones */
    /* From here on filled by raft_get_membership, and not looked at where a membership is given. */
    int former_role;     /* while joint: the role in the membership that is being left; else NONE */
    uint32_t owner_slot; /* 1 to 65535, never given to another member */
    uint64_t session;    /* the version that added it */
} raft_member;

/*
 * A membership: who belongs to the group and how they decide. It lives in the log, governs as soon
 * as it is in there, and travels with every snapshot. Zero means the default.
 */
typedef struct raft_membership {
    size_t size; /* set by raft_membership_init */
    const raft_member *members;
    size_t member_count; /* 1 to RAFT_MEMBERS_MAX; while joint, both memberships together */
    /*
     * Voters that must hold an entry before it is committed, q2. From it follows how many must vote
     * for a leader, q1: n - q2 + 1, and at least a majority (Q1). 0: majorities.
     */
    uint32_t commit_quorum;
    uint8_t allow_single_commit; /* nonzero: a commit_quorum of 1 among 3 or more is meant */
    /*
     * Nonzero: an entry is committed only where it is in two failure zones besides, or with all
     * voters. A voter without a zone belongs to none; with all voters in one zone it means nothing
     * (R57). A witness counts for its zone, though it has no copy of the payload.
     */
    uint8_t zones;
    /*
     * Leases: a follower that answers a heartbeat promises not to help elect another leader for so
     * long, and a leader with the promises of a commit quorum may answer reads at once. The drift
     * bound is between any two clocks; reads are wrong where it is not kept (R50). 0: no leases.
     * At most 60000; a sensible value is the election timeout T, which then also is what a failover
     * takes longer in the worst case, as does every restart.
     */
    uint32_t lease_ms;
    uint32_t lease_drift_permille; /* 0: 100; at most 900 */
    /* From here on filled by raft_get_membership. */
    raft_index version;            /* the index of the entry that holds it; founding: the base */
    int committed;                 /* nonzero: it is known here to be committed */
    int joint;                     /* nonzero: another one is being left; see former_role */
    uint32_t former_commit_quorum; /* while joint */
} raft_membership;

/* Clears *membership and sets its size. */
RAFT_API void raft_membership_init(raft_membership *membership);

/*
 * Makes a node. Copies options and callbacks. Afterwards raft_bootstrap or raft_restore, then
 * raft_start. A node that is started with neither, or restored without its meta, belongs to no
 * group that it knows, as a server does that is going to be added: it answers candidates and takes
 * entries, but never campaigns. A member that lost its storage must not come back so, nor by
 * raft_bootstrap: it could vote twice; it is removed, and added as a new one. RAFT_OK;
 * RAFT_EARG: an option out of its range, id 0, a mandatory callback missing, sizes not set;
 * RAFT_EVERSION: options or callbacks of a newer header with an unknown field set; RAFT_ENOMEM.
 * *out is set only on RAFT_OK.
 */
RAFT_API int raft_new(const raft_options *options, const raft_callbacks *callbacks, void *host,
                      raft **out);

/*
 * Founds a group: the same members, in the same order, with the same blobs on every founder, once
 * in the life of the group, and only where nothing was ever stored; a founder that crashed before
 * its first write was stored founds again, and so does one whose storage holds a hard state but no
 * metadata, as a torn first write may leave it. A node that is not among the members never
 * campaigns. The membership reaches storage as raft_write.meta with the first write. Borrows the
 * array and its blobs. Before raft_start.
 * RAFT_OK; RAFT_EARG: no member, more than RAFT_MEMBERS_MAX, id 0 or the same id twice, a blob too
 * long, or what raft_set_membership refuses so; RAFT_ESTATE: something was restored, or
 * bootstrapped already, or started; RAFT_ENOMEM.
 */
RAFT_API int raft_bootstrap(raft *node, const raft_member *members, size_t count);

/*
 * The same with everything that a membership can say, and with a past: where the founders hold the
 * same state already, base_index says how many entries it stands for (0: none), and the log goes
 * on behind it. That state is the group's first snapshot: snapshot_read must be able to give it,
 * since every server added later receives it first, and apply begins at base_index + 1. This is how
 * a backup is brought into a new group (under a new cluster identity), and how a group is recovered
 * whose quorum is lost for good (R58).
 */
RAFT_API int raft_bootstrap_at(raft *node, const raft_membership *membership,
                               raft_index base_index);

/*
 * Gives back what persist stored, as one write or many, in the order of storing. A host that keeps
 * a journal replays its writes as they were; a host that keeps tables gives one write with the
 * state, the meta of the newest snapshot and all entries, those in front of its end too. Entries
 * that were compacted away may be missing at the front: the first one is at most one behind the
 * newest snapshot's last, and whatever truncations concern lost ones is passed over. Last comes the
 * metadata of the newest snapshot, if one was taken since, as a write with nothing else: the log
 * stays if it holds the entry that the snapshot ends with, else it is dropped. base_index and
 * base_term may be left 0 there. The state machine must be as that snapshot says (or see
 * raft_restore_applied). Borrows everything; copies the entries. Before raft_start.
 * RAFT_OK; RAFT_EARG; RAFT_ESTATE: started, or bootstrapped; RAFT_ECORRUPT: the write contradicts
 * what was restored before it (a gap, falling terms, malformed entries or meta, a snapshot older
 * than one before); RAFT_EFOREIGN: a membership of the other protocol; RAFT_EVERSION: meta of a
 * later format; RAFT_EFULL: and there is no read_log; RAFT_ENOMEM. On any error but RAFT_EARG and
 * RAFT_ESTATE, free the node: it refuses to be started.
 */
RAFT_API int raft_restore(raft *node, const raft_write *write);

/*
 * For a state machine that is durable by itself and stores, atomically with its data, the index of
 * the last entry applied: entries up to that one are committed and not applied again. After
 * raft_restore, before raft_start. RAFT_OK; RAFT_EARG; RAFT_ESTATE; RAFT_ECORRUPT: the index is
 * behind the restored snapshot (load that first) or beyond the log and the snapshot, so that
 * entries must have been lost (R8).
 */
RAFT_API int raft_restore_applied(raft *node, raft_index index);

/*
 * Begins: timers run from now_ms on. RAFT_OK; RAFT_EARG; RAFT_ESTATE: started already, or a
 * raft_restore failed; RAFT_ECORRUPT: the restored hard state is older than the restored log, or
 * entries are missing at its front that no restored snapshot covers.
 */
RAFT_API int raft_start(raft *node, uint64_t now_ms);

/*
 * Changes options at run time: timeouts, limits and switches. id, cluster, group, seed, protocol,
 * incarnation, quiesce and apply_ahead must be as they are. What is running goes on: timers already
 * drawn, windows larger than the new bound drain. RAFT_OK; RAFT_EARG: as in raft_new, or one of
 * those differs; RAFT_EVERSION; RAFT_ESTATE; RAFT_EREENTRY; fatal.
 */
RAFT_API int raft_set_options(raft *node, const raft_options *options);

/* Copies the options in force, with defaults filled in, up to options->size. RAFT_OK, RAFT_EARG. */
RAFT_API int raft_get_options(const raft *node, raft_options *options);

/*
 * Begins the end of this node: new proposals and reads are refused with RAFT_ETRANSFER, a leader
 * hands over to the best follower, and what is pending gets its answers; after one election timeout
 * at the latest, the rest is told to be unknown or to have failed. Then RAFT_EVENT_FATAL says
 * RAFT_ESTOPPED, and the node takes part in nothing. Keep polling until then. RAFT_OK, also when it
 * has begun before; RAFT_EARG; RAFT_ESTATE; RAFT_EREENTRY; fatal.
 */
RAFT_API int raft_stop(raft *node);

/*
 * Frees the node; null is allowed. Proposals and reads not answered by then will not be: their
 * outcome is unknown. Writes and applies still outstanding are the host's to finish or abandon, but
 * the bytes they were lent are gone: finish them first. So are the buffers lent to read_log,
 * snapshot_read and snapshot_write: nothing may be written to them any more. RAFT_OK;
 * RAFT_EREENTRY: from inside a callback.
 */
RAFT_API int raft_free(raft *node);

/* ---- 7. Inputs ------------------------------------------------------------------------------ */

/*
 * Advances the clock to now_ms, fires the timers that are due, and flushes: persist (one batch for
 * all inputs since the last poll) → messages that depend on nothing durable → messages whose
 * conditions are durable by now → apply → notify. Costs next to nothing when nothing is due.
 * RAFT_OK; RAFT_EARG; RAFT_ESTATE: not started; RAFT_EREENTRY; a fatal error.
 */
RAFT_API int raft_poll(raft *node, uint64_t now_ms);

/*
 * When to poll at the latest, on the clock of raft_poll: 0 when something waits to leave,
 * RAFT_NEVER when nothing is due. Every input may change it; read it again after each.
 */
RAFT_API uint64_t raft_deadline(const raft *node);

/*
 * Takes a message from a peer. Borrows it and the bytes it points to. Everything in it is checked
 * first; a message that is refused changes nothing but a counter.
 * RAFT_OK: taken, or stale and ignored; RAFT_EARG; RAFT_ESTATE; RAFT_EREENTRY; RAFT_EMALFORMED;
 * RAFT_EFOREIGN; RAFT_ENOMEM, RAFT_EFULL: its entries, or the last of them, are as good as lost and
 * will be sent again, though its sender counts as heard; a fatal error.
 */
RAFT_API int raft_receive(raft *node, const raft_message *message);

/* raft_decode and raft_receive in one. Returns what either of them does. */
RAFT_API int raft_receive_bytes(raft *node, const void *data, size_t size);

/* ---- 8. Completions ------------------------------------------------------------------------- */

/*
 * Completes a write for which persist returned RAFT_PENDING, and with it all writes before it.
 * status is RAFT_OK, or negative: the write failed or may have failed, the node stops for good. A
 * new node counts from 1 again: what completes late from an earlier run is the host's to drop.
 * RAFT_OK; RAFT_EARG: no such write is outstanding, or status is positive; RAFT_ESTATE;
 * RAFT_EREENTRY; a fatal error, the one just caused included.
 */
RAFT_API int raft_persisted(raft *node, uint64_t seq, int status);

/*
 * Completes an apply that returned RAFT_PENDING; index is the last of its range. status as above.
 * RAFT_OK; RAFT_EARG: nothing outstanding ends at index; RAFT_ESTATE; RAFT_EREENTRY; fatal.
 */
RAFT_API int raft_applied(raft *node, raft_index index, int status);

/* Completes a read_log that returned RAFT_PENDING: *fetch as it would have been left. status as
 * the callback returns it. RAFT_OK; RAFT_EARG: no such request is outstanding for fetch->peer, or
 * what it holds is malformed (then it counts as failed); RAFT_ESTATE; RAFT_EREENTRY; fatal.
 */
RAFT_API int raft_log_read(raft *node, const raft_fetch *fetch, int status);

/*
 * Complete a snapshot_read or snapshot_write that returned RAFT_PENDING; chunk->peer tells which,
 * and of a read data, size and last are looked at. status as the callback returns it. RAFT_OK, also
 * where the transfer has ended meanwhile; RAFT_EARG; RAFT_ESTATE; RAFT_EREENTRY; fatal.
 */
RAFT_API int raft_chunk_read(raft *node, const raft_chunk *chunk, int status);
RAFT_API int raft_chunk_written(raft *node, int status);

/*
 * A hint: the connection to a peer broke, what was sent to it lately is probably lost. Never needed
 * for safety. On a follower in a sleeping group it says that the leader's process is gone: it
 * campaigns at once. RAFT_OK, also where the peer is unknown; RAFT_EARG; RAFT_ESTATE;
 * RAFT_EREENTRY; fatal.
 */
RAFT_API int raft_unreachable(raft *node, raft_id peer);

/* ---- 9. Proposing and reading --------------------------------------------------------------- */

/*
 * Appends an entry to the leader's log. Borrows and copies data. On RAFT_OK, *index and *term (each
 * may be null) name the entry, and it gets exactly one answer: it is applied (apply shows an entry
 * with that index and term), or an event says that it was dropped (another entry was committed in
 * its place) or that its fate cannot be known here any more. What is proposed again for want of an
 * answer may be applied twice; to tell repeats is up to the state machine.
 * RAFT_OK; RAFT_EARG; RAFT_ESTATE; RAFT_EREENTRY: from inside persist or send; RAFT_ESIZE;
 * RAFT_ENOTLEADER, RAFT_ENOLEADER: a member that does not lead, learners included;
 * RAFT_ENOTMEMBER: no member of the membership that governs here; RAFT_ENOMEM, RAFT_EFULL,
 * RAFT_EBUSY; RAFT_ETRANSFER: leadership is being handed over, or the node stopped; RAFT_ELIMIT;
 * fatal.
 */
RAFT_API int raft_propose(raft *node, const void *data, size_t size, raft_index *index,
                          raft_term *term);

/*
 * Appends count entries (at least 1) with consecutive indexes, all or none. *first is the index of
 * the first. Otherwise as raft_propose.
 */
RAFT_API int raft_propose_many(raft *node, const raft_buf *payloads, size_t count,
                               raft_index *first, raft_term *term);

/*
 * Hands a proposal to the leader from a server that does not lead. Copies data. One answer comes as
 * RAFT_EVENT_FORWARDED, within one election timeout or so. With RAFT_OK the leader has appended it,
 * at index and term, and it is applied here when apply shows that index with that term (another
 * term there: it was dropped); where apply has passed that index before the event, it was applied.
 * With RAFT_EDROPPED it never was nor will be applied; with RAFT_EUNKNOWN nobody knows. It is sent
 * once and never again by the engine, one hop, and never appended twice: a leader appends the
 * proposals of one message all or none. On a leader it is appended at once. RAFT_OK; RAFT_EARG;
 * RAFT_ESTATE: no incarnation, no forward_bytes_max, or no notify; RAFT_EREENTRY: from inside
 * persist or send; RAFT_ESIZE: above entry_bytes_max, or forward_bytes_max as a whole;
 * RAFT_ENOTMEMBER, RAFT_ENOLEADER; RAFT_EBUSY: forward_bytes_max is reached; RAFT_ETRANSFER;
 * RAFT_ENOMEM; on a leader also what raft_propose returns; fatal.
 */
RAFT_API int raft_forward(raft *node, const void *data, size_t size, uint64_t tag);

/*
 * Asks for a linearizable read by read-index (Raft dissertation §6.4). Answered by one
 * RAFT_EVENT_READ with this tag, which need not be unique: with RAFT_OK once the state machine here
 * holds everything that was acknowledged anywhere before this call, and leadership was confirmed by
 * a round of messages begun after it; or with the reason why not (RAFT_ENOTLEADER, RAFT_ENOLEADER,
 * RAFT_ETIMEOUT, a fatal error). Many reads share a round. On a follower or learner the leader is
 * asked, which needs options.incarnation, and again where no answer comes; after one election
 * timeout, or when another leader is heard, it is given up. A witness cannot serve.
 * RAFT_OK; RAFT_EARG; RAFT_ESTATE: also without a notify callback; RAFT_EREENTRY; RAFT_ENOTMEMBER:
 * not a member that holds data; RAFT_ENOTLEADER: and no incarnation; RAFT_ENOLEADER; RAFT_EBUSY,
 * RAFT_ETRANSFER: being stopped; RAFT_ENOMEM; fatal.
 */
RAFT_API int raft_read(raft *node, uint64_t tag);

/*
 * The same on a leader, answered without a round as long as its lease lasts (§6.4.1): by the next
 * poll, judged by the sample given to it. Without a lease it is raft_read, and so it is on a server
 * that does not lead.
 */
RAFT_API int raft_read_lease(raft *node, uint64_t tag);

/* ---- 10. Leadership ------------------------------------------------------------------------- */

/*
 * Campaigns now, as if the election timeout had passed: pre-vote and the voters' stickiness and
 * promises hold as ever. Does nothing on a leader. RAFT_OK; RAFT_EARG; RAFT_ESTATE; RAFT_EREENTRY;
 * RAFT_ENOTMEMBER: this server is not a voter with data; RAFT_EBUSY: a write is outstanding (the
 * founding one right after raft_bootstrap and raft_start, for instance), a snapshot is being
 * installed, the own promise of a lease lasts, or the node is being stopped; RAFT_ELIMIT; fatal.
 */
RAFT_API int raft_campaign(raft *node);

/*
 * Hands leadership over to a voter, 0: to the one that is furthest of those that answer. Until it
 * has happened, and for one election timeout at most, proposals are refused with RAFT_ETRANSFER.
 * RAFT_EVENT_ROLE tells when this server leads no longer; RAFT_EVENT_TRANSFER that it was given up:
 * RAFT_ETIMEOUT, RAFT_ENOTMEMBER (the target may not lead any more), RAFT_ENOLEADER (leadership was
 * lost in this term). The same target again, or 0 while one is under way, changes nothing; another
 * one replaces it, without an event.
 * A member that does not lead asks the leader that it knows to do so; RAFT_OK means no more than
 * that it was asked: by one message, which may be lost, and which a server that leads no longer, or
 * in another term, ignores. RAFT_EVENT_ROLE or LEADER tells if another leads; where nothing comes
 * within one election timeout, ask again. No event of TRANSFER is told here.
 * RAFT_OK; RAFT_EARG: the target leads already or is not a voter with data, or there is none;
 * RAFT_ENOTMEMBER, RAFT_ENOLEADER; RAFT_ESTATE; RAFT_EREENTRY; fatal.
 */
RAFT_API int raft_transfer(raft *node, raft_id target);

/*
 * Leaves leadership at once, at the same term, without a successor; raft_transfer is kinder. Does
 * nothing on a server that does not lead. RAFT_OK; RAFT_EARG; RAFT_ESTATE; RAFT_EREENTRY; fatal.
 */
RAFT_API int raft_step_down(raft *node);

/*
 * Forgets the leader, so that candidates are answered at once, where the host knows that it is
 * dead. The timer goes on. Nothing on a server that knows no leader, or leads. RAFT_OK; RAFT_EARG;
 * RAFT_EBUSY: the promise of a lease lasts; RAFT_ESTATE; RAFT_EREENTRY; fatal.
 */
RAFT_API int raft_forget_leader(raft *node);

/* ---- 11. Membership and snapshots ----------------------------------------------------------- */

/*
 * Proposes another membership, as a whole: get the present one, alter it, give it back. `version`
 * is that of the present one: whoever was faster has changed it. The change governs as soon as it
 * is in the log; where one step would not be safe the engine goes through a joint membership (§4.3)
 * and leaves it by itself, whoever leads then; RAFT_EVENT_MEMBERS tells each step. *index and *term
 * (each may be null) name the first entry, whose outcome is told as that of any proposal. Asking
 * for what is already so changes nothing: RAFT_OK, *index is the version, *term 0. A leader that is
 * removed or demoted hands over when that is committed. Borrows everything.
 *
 * RAFT_EARG: no data voter; RAFT_MEMBERS_MAX, an id 0 or twice, a blob too long, numbers out of
 * range; a commit_quorum above the number of voters, or not above that of the witnesses (Q6), or 1
 * among three or more voters without allow_single_commit; a change to or from witness (remove, then
 * add another id); owner slots are used up. RAFT_ECONFLICT: the version. RAFT_EBUSY: the present
 * membership is not committed, is joint, or nothing of this term is committed yet (R42); or a
 * learner that is to vote has not caught up, or the voters heard lately would not be a commit
 * quorum of the new membership: it could commit nothing, not even a way back (R45). Add new servers
 * as learners first, with `promote`. RAFT_ETRANSFER, RAFT_ENOTMEMBER, RAFT_ENOTLEADER,
 * RAFT_ENOLEADER, RAFT_ENOMEM, RAFT_ELIMIT, RAFT_ESTATE; RAFT_EREENTRY: from inside a
 * callback; fatal.
 */
RAFT_API int raft_set_membership(raft *node, const raft_membership *membership, raft_index version,
                                 raft_index *index, raft_term *term);

/*
 * The membership that governs here: fills *membership up to its size, and members, which it points
 * to, with as many as fit; blobs point into the node until the next call that takes it. With
 * capacity 0, members may be null. RAFT_OK; RAFT_EARG; RAFT_ENOTMEMBER: none is known.
 */
RAFT_API int raft_get_membership(const raft *node, raft_membership *membership,
                                 raft_member *members, size_t capacity);

/*
 * The member at a position of the membership in force, 0 and up; *member points into the node until
 * the next call that takes it. RAFT_OK, or RAFT_EARG: no such position.
 */
RAFT_API int raft_get_member(const raft *node, size_t position, raft_member *member);

/*
 * The metadata of a snapshot of the state machine as it is now, at applied_index: its index, term
 * and membership. *size is their number of bytes. Call it when the state is frozen, store the bytes
 * with the data, atomically, and give them to raft_compact when both are durable. RAFT_OK;
 * RAFT_EARG; RAFT_ESIZE: capacity is too small (RAFT_META_MAX never is); RAFT_ENOTMEMBER: no
 * membership is known yet, so there is nothing to take; RAFT_EBUSY: apply or snapshot_load has
 * something in hand, or a snapshot is to be loaded: the state is not that of any index;
 * RAFT_ESTATE: not started, or stopped by an error.
 */
RAFT_API int raft_snapshot_meta(const raft *node, void *out, size_t capacity, size_t *size);

/*
 * The snapshot with this metadata is durable and can be read: the log in front of it is given up
 * but for trailing_bytes of it, whoever still needs it. Storage may drop what is below first_index
 * of raft_status, but nothing behind this snapshot: a newer one from a leader may count already and
 * not be stored yet. From inside apply and notify, too. Borrows. RAFT_OK, also where a newer one is
 * known; RAFT_EARG: not metadata of an applied entry of this very log; RAFT_ENOMEM; RAFT_ESTATE;
 * RAFT_EREENTRY: from inside another callback; fatal.
 */
RAFT_API int raft_compact(raft *node, const void *meta, size_t size);

/* The index, term and number of bytes of metadata. RAFT_OK; RAFT_EARG; RAFT_ECORRUPT;
 * RAFT_EVERSION. */
RAFT_API int raft_meta_read(const void *meta, size_t size, raft_index *index, raft_term *term);

/*
 * For the offline conversion of all servers of a stopped group to the other protocol: these put it
 * into a membership, in place; the first into a snapshot's metadata, the second into the payload of
 * an entry of kind RAFT_ENTRY_CONFIG. Whoever converts also gives every server a hard state that
 * the other protocol can go on from (docs/raftkv.md says which, and when it may).
 * RAFT_OK; RAFT_EARG; RAFT_ECORRUPT, RAFT_EVERSION: nothing was changed.
 */
RAFT_API int raft_meta_convert(void *meta, size_t size, int protocol);
RAFT_API int raft_membership_convert(void *payload, size_t size, int protocol);

/*
 * For hosts that ship snapshots themselves, on the receiver: the snapshot with this metadata has
 * arrived and is durable beside the one in use; it goes into use as after the last snapshot_write,
 * and the leader learns it from the acknowledgement. RAFT_OK, also where the log holds its last
 * entry, which is committed then; RAFT_EARG; RAFT_ECORRUPT, RAFT_EVERSION; RAFT_EMALFORMED: of a
 * term that this server has not reached, or one that its leader's log denies; RAFT_EBUSY: another
 * is arriving or being installed; RAFT_ENOMEM; RAFT_ESTATE: also without a snapshot_load;
 * RAFT_EREENTRY; fatal.
 */
RAFT_API int raft_snapshot_received(raft *node, const void *meta, size_t size);

/*
 * On the sender: shipping to peer has ended. With RAFT_OK the peer is asked what it holds now; where
 * it still needs a snapshot, or the status is another one, RAFT_EVENT_SNAPSHOT_NEEDED comes again,
 * one election timeout later. A host that never calls it learns of no shipment that was lost. RAFT_OK, also where that peer needs none; RAFT_EARG: a positive status; RAFT_ESTATE;
 * RAFT_EREENTRY; fatal.
 */
RAFT_API int raft_snapshot_sent(raft *node, raft_id peer, int status);

/*
 * Asks the leader for a fresh snapshot, although nothing is missing here: where the host no longer
 * trusts its state machine, or its own snapshot, but its log. It comes as any snapshot does, by
 * snapshot_write and snapshot_load, or by raft_snapshot_received, and covers at least all that was
 * committed here at this call. From this call until it is loaded nothing is applied here. Log,
 * votes and acknowledgements go on, and where the log holds what the snapshot covers it stays as it
 * is: then persist is given no metadata, snapshot_load alone puts the snapshot into use, at or
 * beyond applied_index, and to give up the log in front of it takes raft_compact, as with one of
 * the host's own. Proposals of this server that it covers are told to be of unknown fate.
 * The leader is asked again with every heartbeat_ms. It begins with the snapshot that it has, if
 * that is fresh enough; else RAFT_EVENT_SNAPSHOT_WANTED asks its host for one. It takes a
 * snapshot_read there; a leader without it sends none.
 * The request is forgotten, and apply goes on with what is there, when the term or the role changes,
 * when this server is no member with data any more, when memory for entries runs out, when nothing
 * of it has come for ten election timeouts, and by a restart: snapshot_asked of raft_status is 0 then, and RAFT_EVENT_ROLE tells the first two.
 * RAFT_OK, also when one is under way; RAFT_EARG; RAFT_ESTATE: also without a snapshot_load;
 * RAFT_EREENTRY; RAFT_ENOTMEMBER: not a member that holds data; RAFT_ENOLEADER: none is known, or
 * this server leads; RAFT_EBUSY: a snapshot is being installed, or the node is being stopped; fatal.
 */
RAFT_API int raft_request_snapshot(raft *node);

/* ---- 12. Messages --------------------------------------------------------------------------- */

/*
 * The wire form: RAFT_MESSAGE_HEADER bytes, then the bytes of meta, chunk and the ranges.
 * raft_encode_header writes the former, so that a transport can gather the latter from where they
 * lie; raft_encode writes both. raft_message_size is the whole length.
 */
RAFT_API size_t raft_message_size(const raft_message *message);
RAFT_API void raft_encode_header(const raft_message *message, uint8_t out[RAFT_MESSAGE_HEADER]);

/* Returns the bytes written, or 0 where capacity is too small. */
RAFT_API size_t raft_encode(const raft_message *message, void *out, size_t capacity);

/*
 * Reads a message; its ranges point into data. Every length is checked before it is used, every
 * entry is walked once. RAFT_OK; RAFT_EARG; RAFT_EMALFORMED: too short, too long, unknown kind,
 * nonzero where zero belongs, entries that do not add up; RAFT_EVERSION: a format of the future.
 * *message means something only on RAFT_OK. data needs no alignment.
 */
RAFT_API int raft_decode(const void *data, size_t size, raft_message *message);

/* ---- 13. Observing -------------------------------------------------------------------------- */

/* Counters since raft_new. */
typedef struct raft_counters {
    uint64_t elections_started; /* campaigns, without pre-votes */
    uint64_t elections_won;
    uint64_t messages_sent;
    uint64_t messages_received; /* taken by raft_receive, stale ones included */
    uint64_t messages_refused;  /* malformed, foreign, or contradicting what is settled */
    uint64_t writes;            /* calls of persist */
    uint64_t entries_proposed;
    uint64_t entries_applied;
    uint64_t snapshots_sent; /* completed transfers */
    uint64_t snapshots_installed;
    uint64_t chunks_sent;
    uint64_t chunks_received;
    uint64_t entries_fetched; /* by read_log */
    uint64_t reads_by_round;  /* own reads answered with RAFT_OK */
    uint64_t reads_by_lease;
    uint64_t reads_forwarded; /* answered to other servers */
    uint64_t transfers_begun;
    uint64_t memberships; /* entries of memberships taken into the log */
    uint64_t pulls;       /* begun before a campaign (N7) */
    uint64_t sleeps;
    uint64_t transfers_asked; /* of the leader, on other servers */
    uint64_t snapshots_asked; /* by raft_request_snapshot */
    uint64_t snapshots_fresh; /* and put into use */
    uint64_t commit_hints;    /* in the answers to a campaign, that moved the commit index */
} raft_counters;

typedef struct raft_status {
    size_t size; /* set by the caller; the library writes no further */
    raft_id id;
    int role;
    int error; /* the sticky error; RAFT_OK: none */
    raft_term term;
    raft_id vote;
    raft_id leader;         /* 0: unknown */
    raft_index first_index; /* of the log: compaction goes up to here */
    raft_index last_index;
    raft_index durable_index; /* everything up to it is on this server's stable storage */
    raft_index commit_index;
    raft_index applied_index;
    uint64_t log_bytes; /* memory of the log */
    uint64_t uncommitted_bytes;
    uint64_t last_contact_ms; /* the sample at which a leader was last heard; 0: never */
    size_t member_count;
    size_t election_quorum; /* voters needed to elect, and to commit */
    size_t commit_quorum;
    int quorum_ok; /* leader: a commit quorum answered in the last timeout */
    size_t writes_pending;
    size_t reads_pending;
    raft_counters counters;
    raft_index memory_index;   /* first entry in memory; those before are asked of read_log */
    raft_index snapshot_index; /* of the newest durable snapshot; founding: the base */
    raft_term snapshot_term;
    raft_index membership_version;
    int membership_joint;
    size_t voter_count; /* witnesses included; of the membership to come while joint */
    size_t learner_count;
    size_t witness_count;
    size_t failures_tolerated;  /* voters that may fail while commits and elections go on */
    uint64_t lease_until_ms;    /* leader: until when reads need no round; 0: no lease */
    uint64_t promised_until_ms; /* until when no other leader is helped; 0: no promise */
    raft_id transfer_target;    /* 0: no transfer */
    int asleep;
    int installing; /* a snapshot is arriving or being loaded */
    size_t forwards_pending;
    raft_index snapshot_asked; /* a fresh snapshot is awaited, at this index or beyond; 0: none */
} raft_status;

/* Fills *status up to status->size. RAFT_OK or RAFT_EARG. */
RAFT_API int raft_get_status(const raft *node, raft_status *status);

enum {
    RAFT_PEER_PROBE = 0,     /* looking for the point where the logs agree */
    RAFT_PEER_REPLICATE = 1, /* sending ahead of the acknowledgements */
    RAFT_PEER_SNAPSHOT = 2,  /* receiving a snapshot */
    RAFT_PEER_LOST = 3       /* has lost what it acknowledged: to be removed (R48) */
};

typedef struct raft_peer_status {
    raft_id id;
    raft_index match; /* known to be durable there */
    raft_index next;  /* sent next */
    int state;        /* RAFT_PEER_* */
    size_t inflight_messages;
    uint64_t inflight_bytes;
    int heard;                 /* answered since the last quorum check */
    uint64_t last_heard_ms;    /* the sample at which it last answered; 0: not in this leadership */
    raft_index snapshot_index; /* being sent; 0: none */
    uint64_t snapshot_offset;
} raft_peer_status;

/*
 * What a leader knows of the member at a position; all but id is 0 on other servers. RAFT_OK, or
 * RAFT_EARG: no such position.
 */
RAFT_API int raft_get_peer(const raft *node, size_t position, raft_peer_status *peer);

/*
 * One line for people, such as "1->3 append term=7 prev=41/6 n=2 bytes=48 commit=40 round=9", and
 * several lines about a whole node. Like snprintf they return the length of the full text, write at
 * most size bytes and end them with a zero byte if size is not 0.
 */
RAFT_API size_t raft_describe_message(const raft_message *message, char *out, size_t size);
RAFT_API size_t raft_describe_node(const raft *node, char *out, size_t size);

/*
 * Verifies the node's own invariants, in time linear in members and segments. Returns null, or the
 * sentence that does not hold: a bug of this library or memory overwritten by somebody.
 */
RAFT_API const char *raft_check(const raft *node);

#ifdef __cplusplus
}
#endif

#endif
