/*
 * What the engine's files share: the node, the log, and the prototypes that cross files. Never
 * installed.
 *
 * Calls run one way: raft.c → election, replication, proposal, read → lease, configuration →
 * membership, log, message. membership.c and log.c know nothing of roles or messages; message.c knows nothing
 * of the node.
 *
 * R.., I.. and so on are the numbers of the safety rules and invariants in docs/rules.md.
 */
#ifndef RAFT_INTERNAL_H
#define RAFT_INTERNAL_H

#include "raft.h"

#include <stdlib.h>
#include <string.h>

/* Marks what crosses files but is nobody else's business; the amalgamation makes it static. */
#ifndef RAFT_INTERNAL
#if defined(__GNUC__) && !defined(__TINYC__)
#define RAFT_INTERNAL __attribute__((visibility("hidden")))
#else
#define RAFT_INTERNAL
#endif
#endif

/* Keeps a function apart from its caller, whose usual way around it then saves no registers. */
#if defined(__GNUC__) && !defined(__TINYC__)
#define RAFT_APART __attribute__((noinline))
#else
#define RAFT_APART
#endif

/*
 * Guards the engine's own invariants, in release builds too: stopped is better than wrong. Never
 * used on what a peer, a file or the host has given.
 */
#ifndef RAFT_ASSERT
#define RAFT_ASSERT(condition) ((condition) ? (void)0 : abort())
#endif

#define RAFT_LIMIT (UINT64_MAX >> 1) /* the highest term and index (R64) */

#define RAFT__LEASE_MAX 60000u /* the longest lease, in milliseconds */

/* ---- Memory --------------------------------------------------------------------------------- */

struct raft__memory {
    void *(*alloc)(void *host, void *p, size_t old_size, size_t new_size);
    void *host;
};

RAFT_INTERNAL void *raft__resize(const struct raft__memory *memory, void *p, size_t old_size,
                                 size_t new_size);
RAFT_INTERNAL void raft__free(const struct raft__memory *memory, void *p, size_t size);

/* ---- Little-endian bytes -------------------------------------------------------------------- */

/* Byte by byte: right on every machine, and one instruction where the compiler sees through it. */
static inline void raft__put16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
}

static inline void raft__put32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
    out[2] = (uint8_t)(value >> 16);
    out[3] = (uint8_t)(value >> 24);
}

static inline void raft__put64(uint8_t *out, uint64_t value)
{
    raft__put32(out, (uint32_t)value);
    raft__put32(out + 4, (uint32_t)(value >> 32));
}

static inline uint16_t raft__get16(const uint8_t *in)
{
    return (uint16_t)((unsigned)in[0] | (unsigned)in[1] << 8);
}

static inline uint32_t raft__get32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static inline uint64_t raft__get64(const uint8_t *in)
{
    return (uint64_t)raft__get32(in) | (uint64_t)raft__get32(in + 4) << 32;
}

/* Scatters the bits of a number: the finalizer of splitmix64. */
static inline uint64_t raft__mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* ---- log.c: the log in memory --------------------------------------------------------------- */

/*
 * A piece of the log in one allocation. Encoded entries grow upwards from the start of `bytes`, the
 * table of their offsets grows downwards from the end, so that neither has to be sized in advance.
 */
struct raft__segment {
    raft_index first;  /* index of its first entry */
    uint64_t position; /* bytes of all entries ever before it in this log */
    size_t allocated;  /* bytes of the whole allocation */
    uint64_t lent_seq; /* in limbo: the last write that may still lend its bytes */
    struct raft__segment *limbo_next;
    uint32_t count;         /* entries */
    uint32_t used;          /* bytes of entries */
    uint32_t capacity;      /* bytes for entries and offsets together; a multiple of eight */
    uint16_t sealed;        /* nonzero: bytes beyond `used` are lent, append elsewhere */
    uint16_t lent_to_apply; /* in limbo: the apply in hand may still lend its bytes */
    uint8_t bytes[];
};

/* Entries from first up to the next run's first were all created in this term. */
struct raft__run {
    raft_index first;
    raft_term term;
};

struct raft__log {
    struct raft__segment **segments; /* in index order; at least one entry in each */
    struct raft__run *runs;          /* in index order, terms strictly rising */
    struct raft__segment *limbo;     /* given up, but still lent to a write or to apply */
    struct raft__segment *tail;      /* the last segment; null where there is none */
    raft_index last_run;             /* where the last run begins; behind the log where none is */
    raft_index plain_from;           /* from here on all is in the last segment and the last run */
    raft_index base_index;           /* the last entry that is compacted away, and its term */
    raft_term base_term;
    raft_index front_index; /* from here on entries can be handed out */
    raft_index last_index;
    raft_term last_term;
    uint64_t end_position; /* bytes of all entries ever up to the last */
    uint64_t bytes;        /* memory of all segments */
    uint64_t bytes_max;
    size_t segment_max; /* bytes for entries in one segment, unless an entry needs more */
    uint32_t segment_count;
    uint32_t segment_capacity;
    uint32_t run_count;
    uint32_t run_capacity;
};

RAFT_INTERNAL void raft__log_init(struct raft__log *log, uint64_t bytes_max);

/* The log is empty and begins behind the entry at index. */
RAFT_INTERNAL void raft__log_begin(struct raft__log *log, raft_index index, raft_term term);
RAFT_INTERNAL void raft__log_free(struct raft__log *log, const struct raft__memory *memory);

/* The term of the entry at index; base_index <= index <= last_index. Mostly it is the last term. */
RAFT_INTERNAL raft_term raft__log_term_within(const struct raft__log *log, raft_index index);

static inline raft_term raft__log_term(const struct raft__log *log, raft_index index)
{
    return index >= log->last_run && index <= log->last_index ? log->last_term
                                                              : raft__log_term_within(log, index);
}

/* The largest index <= index whose term is <= term; base_index if there is none (R30). */
RAFT_INTERNAL raft_index raft__log_floor(const struct raft__log *log, raft_index index,
                                         raft_term term);

/*
 * The first index in [first, last] whose term is not term; 0 if all match, as what is compacted
 * does.
 */
RAFT_INTERNAL raft_index raft__log_mismatch(const struct raft__log *log, raft_index first,
                                            raft_index last, raft_term term);

/* The first entry in memory; those between base_index and it are on storage alone. */
static inline raft_index raft__log_memory(const struct raft__log *log)
{
    return log->segment_count == 0 ? log->last_index + 1 : log->segments[0]->first;
}

/* The last entry of the run of equal terms that holds index. */
RAFT_INTERNAL raft_index raft__log_run_end(const struct raft__log *log, raft_index index);

/*
 * Encoded bytes of all entries below index; differences of it are sizes. index <= last + 1. Entries
 * in front of memory count as nothing: sizes are too small by what was evicted of them.
 */
RAFT_INTERNAL uint64_t raft__log_position(const struct raft__log *log, raft_index index);

/*
 * The longest contiguous run of entries of one term from first on, up to last and to bytes_max
 * bytes, though always at least one entry. first is in memory.
 */
RAFT_INTERNAL void raft__log_range(const struct raft__log *log, raft_index first, raft_index last,
                                   uint64_t bytes_max, raft_range *range);

/*
 * Appends one payload, or several, `bytes` in all when encoded, as entries of a kind; or encoded
 * entries that raft__range_kinds has passed: these replace what the log holds at range->first and
 * above, as raft__log_truncate would. The last may overstep bytes_max by the slack that raft.h
 * states, empty entries by anything. All or nothing: RAFT_OK, RAFT_ENOMEM, RAFT_EFULL, RAFT_ELIMIT.
 */
RAFT_INTERNAL int raft__log_append_one(struct raft__log *log, const struct raft__memory *memory,
                                       raft_term term, int kind, const void *payload,
                                       size_t payload_size);
RAFT_INTERNAL int raft__log_append(struct raft__log *log, const struct raft__memory *memory,
                                   raft_term term, int kind, const raft_buf *payloads, size_t count,
                                   size_t bytes);
RAFT_INTERNAL int raft__log_append_range(struct raft__log *log, const struct raft__memory *memory,
                                         const raft_range *range, uint64_t lent_seq);

/* Removes from and all above. Bytes that writes up to lent_seq may still lend stay unchanged. */
RAFT_INTERNAL void raft__log_truncate(struct raft__log *log, const struct raft__memory *memory,
                                      raft_index from, uint64_t lent_seq);

/* Writes up to seq lend nothing any more; nor does apply (what that frees, the former frees). */
RAFT_INTERNAL void raft__log_release(struct raft__log *log, const struct raft__memory *memory,
                                     uint64_t seq);
RAFT_INTERNAL void raft__log_return_applied(struct raft__log *log);

/* Where compaction up to index may end, so that this many bytes in front of it stay (R40). */
RAFT_INTERNAL raft_index raft__log_trail(const struct raft__log *log, raft_index index,
                                         uint64_t bytes);

/* Whether the log holds this entry, or begins behind it. */
static inline int raft__log_holds(const struct raft__log *log, raft_index index, raft_term term)
{
    return index >= log->base_index && index <= log->last_index &&
           raft__log_term(log, index) == term;
}

/* Forgets everything up to index, which is the base then. */
RAFT_INTERNAL void raft__log_compact(struct raft__log *log, const struct raft__memory *memory,
                                     raft_index index, uint64_t lent_seq);

/* Gives up the memory of entries up to index, in whole segments, until bytes_max bytes are left. */
RAFT_INTERNAL void raft__log_evict(struct raft__log *log, const struct raft__memory *memory,
                                   raft_index index, uint64_t bytes_max, uint64_t lent_seq);

/* Forgets everything: the log begins anew behind the entry at index. */
RAFT_INTERNAL void raft__log_reset(struct raft__log *log, const struct raft__memory *memory,
                                   raft_index index, raft_term term, uint64_t lent_seq,
                                   int lent_to_apply);

RAFT_INTERNAL const char *raft__log_check(const struct raft__log *log);

/* ---- message.c: encoding -------------------------------------------------------------------- */

/* raft_entry_size, for loops over entries. */
static inline size_t raft__entry_size(size_t payload_size)
{
    return (payload_size + RAFT_ENTRY_HEADER + 7) & ~(size_t)7;
}

/* Writes an entry of raft__entry_size(payload_size) bytes, which it returns. */
static inline size_t raft__entry_write(uint8_t *out, int kind, const void *payload,
                                       size_t payload_size)
{
    size_t size = raft__entry_size(payload_size);
    raft__put64(out + size - 8, 0); /* the padding, where there is some; else overwritten */
    raft__put64(out, (uint64_t)payload_size | (uint64_t)kind << 32);
    if (payload_size > 0) {
        memcpy(out + RAFT_ENTRY_HEADER, payload, payload_size);
    }
    return size;
}

/*
 * 1 << RAFT_ENTRY_* for each kind that occurs, where data holds exactly count well-formed entries
 * in size bytes; else 0.
 */
RAFT_INTERNAL unsigned raft__range_kinds(const raft_range *range);

/* Drops the first count entries of a range; fewer than it has. */
RAFT_INTERNAL void raft__range_skip(raft_range *range, size_t count);

/*
 * RAFT__VALID and the kinds of its entries, where every field is in its bounds and the entries are
 * well formed (R32, R64); else 0.
 */
enum { RAFT__VALID = 1, RAFT__PLAIN_KINDS = 7 }; /* valid, with proposals and no-ops alone */
RAFT_INTERNAL unsigned raft__message_check(const raft_message *message);

/* raft_decode, which tells the same besides. */
RAFT_INTERNAL int raft__decode(const void *data, size_t size, raft_message *message,
                               unsigned *kinds);

/* Text under construction: counts on where the room ends, as snprintf does. */
struct raft__text {
    char *out;
    size_t size;
    size_t length;
};

RAFT_INTERNAL void raft__text_add(struct raft__text *text, const char *words);
RAFT_INTERNAL void raft__text_number(struct raft__text *text, const char *label, uint64_t value);
RAFT_INTERNAL size_t raft__text_end(struct raft__text *text);

/* ---- membership.c: who counts --------------------------------------------------------------- */

/* Sets of members are bit masks over their positions in the membership. */
typedef uint32_t raft__set;

enum { RAFT__ELECTION = 0, RAFT__COMMIT = 1 }; /* what a quorum is for (Q3) */

struct raft__half {
    raft__set voters;
    uint8_t quorum[2]; /* q1 to elect, q2 to commit (Q1) */
};

/* One half, or both while a joint change is under way; halves[1].voters is 0 otherwise. */
struct raft__quorums {
    struct raft__half halves[2];
};

RAFT_INTERNAL unsigned raft__set_size(raft__set set);

/* The half for these voters, with q2 as wished (0: majority). RAFT_EARG where Q1 cannot hold. */
RAFT_INTERNAL int raft__half_init(struct raft__half *half, int protocol, raft__set voters,
                                  unsigned wish);

/* Whether the set has a quorum of every half. */
RAFT_INTERNAL int raft__quorum_has(const struct raft__quorums *quorums, int purpose, raft__set set);

/* The largest value that a commit quorum of every half has reached; values by position. */
RAFT_INTERNAL uint64_t raft__quorum_value(const struct raft__quorums *quorums,
                                          const uint64_t *values);

/*
 * The same over data voters, as many as a commit quorum must contain: what has it is chosen as soon
 * as the witnesses hold its header, so only then are they told (R56).
 */
RAFT_INTERNAL uint64_t raft__data_value(const struct raft__quorums *quorums, raft__set witnesses,
                                        const uint64_t *values);

/* The same where the quorum must cover two failure zones besides (R57); zones by position. */
RAFT_INTERNAL uint64_t raft__zoned_value(const struct raft__quorums *quorums, const uint8_t *zones,
                                         const uint64_t *values);

/* A membership and what it holds beside what the host sees. Members' blobs are borrowed. */
struct raft__config {
    raft_membership is; /* is.members == members; version and committed are not part of it */
    int protocol;
    uint32_t slot_high; /* the highest owner slot ever given (P18) */
    raft_member members[RAFT_MEMBERS_MAX];
};

/* RAFT_OK and its quorums, or RAFT_EARG: see raft_set_membership. */
RAFT_INTERNAL int raft__config_check(const struct raft__config *config,
                                     struct raft__quorums *quorums);

/* Whether one step leads from the one to the other; positions are the same in both (R43, Q5). */
RAFT_INTERNAL int raft__one_step_is_safe(int protocol, const struct raft__half *now,
                                         const struct raft__half *then);

RAFT_INTERNAL size_t raft__config_size(const struct raft__config *config);
RAFT_INTERNAL void raft__config_encode(const struct raft__config *config, uint8_t *out);

/* RAFT_OK, RAFT_ECORRUPT, RAFT_EVERSION. Blobs point into data. */
RAFT_INTERNAL int raft__config_decode(const void *data, size_t size, struct raft__config *config);

/* What a snapshot says of itself: where it ends and who belonged to the group by then. */
struct raft__meta {
    raft_index index;
    raft_term term;
    raft_term accepted_round;
    raft_index version; /* the index of the entry that held the membership */
    const uint8_t *config;
    size_t config_size;
};

RAFT_INTERNAL size_t raft__meta_size(size_t config_size);
RAFT_INTERNAL void raft__meta_encode(const struct raft__meta *meta, uint8_t *out);
RAFT_INTERNAL int raft__meta_decode(const void *data, size_t size, struct raft__meta *meta);

/* ---- The node ------------------------------------------------------------------------------- */

/* The unacknowledged appends to one peer: the last index of each, in a ring. */
struct raft__window {
    raft_index *last;
    uint16_t capacity; /* a power of two, or 0 */
    uint16_t head;
    uint16_t count;
};

/*
 * What the two protocols do differently, side by side: election.c has Raft's, paxos.c has those of
 * Multi-Paxos. Where a function is not needed by one of them, it does nothing there.
 */
struct raft__rules {
    raft_term (*next_term)(const raft *node); /* the term to campaign in; 0: there is none */
    int (*may_own)(const raft *node, raft_id id, raft_term term); /* campaign in it, or lead it */
    int (*log_allows)(const raft *node, const raft_message *request); /* a vote for the sender */
    int (*describe)(const raft *node, raft_message *vote); /* what a vote says of the own log;
                                                              0: it is not certain yet */
    int (*begin)(raft *node);                              /* a candidacy; RAFT_OK, RAFT_ENOMEM */
    void (*take)(raft *node, const raft_message *vote);    /* one that was granted */
    void (*judge)(raft *node); /* candidate: leads, goes on, or gives up */
    uint8_t by_log; /* the log decides who leads; and who leads counts every acknowledgement */
};

RAFT_INTERNAL const struct raft__rules *raft__raft_rules(void);
RAFT_INTERNAL const struct raft__rules *raft__paxos_rules(void);

/* A member, and what a leader knows of it. The leader's own `match` is its durable index. */
struct raft__peer {
    raft_id id;
    raft_index match;       /* durable there; rises only on acknowledgements (R28) */
    raft_index next;        /* probing: the cursor; replicating: the next to send */
    raft_index commit_told; /* the commit index it was sent last (R33) */
    uint64_t round_echoed;  /* the newest round it answered (R49) */
    uint64_t since_round;   /* replies to older rounds say nothing of the present probe or window */
    uint64_t session_round; /* replies to older rounds are of an earlier membership (R28) */
    uint64_t match_round;   /* the newest round begun when match rose last */
    uint64_t lease_end_ms;  /* by the own clock, until when its credit counts; 0: none (R50) */
    uint64_t heard_ms;      /* the sample at which it answered last; 0: never */
    uint64_t retry_ms;      /* a snapshot or stored entries are not tried for before */
    raft_index unreadable;  /* storage could not give this entry: a snapshot must reach it */
    struct raft__window window;
    uint8_t *stripped; /* witness: the headers in the newest append to it */
    uint8_t state;     /* RAFT_PEER_* */
    uint8_t paused;    /* probing: an append is outstanding (R31) */
    uint8_t nudge;     /* an empty append is due, to learn what was lost (R31) */
    uint8_t full;      /* it has no memory for more entries at present */
    uint8_t accepted;  /* its acknowledgements count for committing (P7) */
    uint8_t lost_told; /* RAFT_EVENT_REGRESSION was told */
    uint8_t needs;     /* RAFT_EVENT_SNAPSHOT_NEEDED: RAFT__UNTOLD.., or no need */
    uint8_t zone;
    uint8_t priority;
    uint8_t promote; /* a learner that is to become a voter when it has caught up (R65) */
};

/* A membership in the log: its entry's index and payload. The base is that of the snapshot. */
struct raft__held {
    raft_index index;
    uint8_t *bytes;
    uint32_t size;
};

/*
 * All memberships in the log, oldest first, so that truncation at any point restores the one before
 * (R41); the last one governs. Empty: none is known.
 */
struct raft__configs {
    struct raft__held *items;
    uint32_t count;
    uint32_t capacity;
};

/*
 * What the host reads back for one peer: pieces of a snapshot, or entries that memory has given up.
 * Made for the purpose and freed after it, so that a peer that keeps up is small. One for a peer:
 * what was given up while the host still fills its buffer stays until that is done.
 */
struct raft__stream {
    struct raft__stream *next;
    raft_id peer;
    raft_index index; /* of the snapshot, or of the first entry in hand */
    raft_index until; /* of the last entry of use */
    raft_term term;
    uint64_t offset;     /* of the piece in hand, or of the one to be read */
    uint64_t sent_round; /* of the piece: replies to older rounds say nothing of it */
    uint64_t retry_ms;   /* the host is not asked before */
    uint8_t *data;
    size_t capacity;
    size_t room;   /* of it the host may fill with entries: what one message takes */
    size_t size;   /* of what is in hand */
    size_t count;  /* entries in hand */
    uint8_t *meta; /* of the snapshot */
    size_t meta_size;
    uint64_t until_ms; /* asked for by the peer: it has not asked again since long before */
    int status;        /* ended: how */
    uint8_t asked;     /* a snapshot that the peer has asked for, and does not need */
    uint8_t entries;   /* entries, not a snapshot */
    uint8_t reading;   /* the host has the buffer */
    uint8_t loaded;    /* the piece, or the entries, are in hand */
    uint8_t last;      /* the piece is the last one */
    uint8_t due;       /* the piece is to be sent now */
    uint8_t begun;     /* the host was asked, and is owed an end */
    uint8_t ended;     /* of no more use */
};

/* A snapshot on its way in. */
struct raft__install {
    raft_id from;           /* 0: the host ships it by itself */
    raft_term sender_term;  /* pieces of another term are of another transfer (R39) */
    struct raft__meta meta; /* its membership points into meta_bytes */
    uint8_t *meta_bytes;
    size_t meta_size;
    uint64_t offset; /* up to here everything is written */
    uint8_t *data;   /* the piece in hand */
    size_t capacity;
    size_t size;
    uint8_t phase;    /* RAFT__ARRIVING.. */
    uint8_t last;     /* the piece is the last one */
    uint8_t bare;     /* metadata alone: this server is a witness */
    uint8_t begun;    /* the host was given a piece, and is owed an end */
    uint8_t given_up; /* to be freed when the host has done with the piece */
};

enum {
    RAFT__ARRIVING, /* waits for the next piece */
    RAFT__ARRIVED,  /* the piece is to be given to the host */
    RAFT__WRITING,  /* the host has it */
    RAFT__COMPLETE  /* everything is durable: to be put into use */
};

/* The answer that is owed for a piece. */
struct raft__piece_reply {
    raft_index index;
    raft_term term;
    uint64_t offset; /* the one wanted */
    uint8_t due;
    uint8_t refused;
};

/* A snapshot that is asked for though none is needed. */
struct raft__fresh {
    raft_index index;  /* follower: it has to reach this */
    uint64_t again_ms; /* follower: when the leader is asked again; leader: when its host is */
    uint64_t until_ms; /* follower: it is forgotten then; put off by each piece */
    raft_index wanted; /* leader: its host is to be asked for one that reaches this; 0: no */
};

/* The end of an incoming transfer, to be told. */
struct raft__end {
    raft_id peer;
    raft_index index;
    int status;
};

enum { RAFT__NO_NEED, RAFT__UNTOLD, RAFT__TOLD, RAFT__SHIPPED };

#define RAFT__ENDS 2u

/* A write that the host has not completed. */
struct raft__pending {
    uint64_t seq;
    uint64_t issued_ms;
    raft_index last_index;  /* the log it makes durable; lowered when truncated meanwhile (R6) */
    uint32_t state_version; /* the hard state it makes durable */
};

/*
 * A reply to anyone but the own leader, or a transfer asked of that. One for a (receiver, kind): a
 * newer one replaces it.
 */
struct raft__reply {
    raft_id to;
    raft_term asked_term;
    uint64_t round;
    raft_index index; /* a refused pre-vote's: the own last entry; or see add_hint */
    raft_term index_term;
    raft_index commit;
    uint64_t request; /* a transfer that is asked for: the target; asked_term: in which term */
    uint8_t kind;
    uint8_t refused;
    uint8_t flags;
};

/* Leadership that is handed over, and a campaign that was ordered so (R53). See transfer.c. */
struct raft__transfer {
    raft_id target;     /* leader: who is to lead next; 0: no transfer */
    uint64_t until_ms;  /* leader: when it is given up; RAFT_NEVER: not dated, or no transfer */
    raft_term tag_term; /* candidate: of the order that it follows; 0: of its own accord */
    uint64_t tag_round;
    raft_id told_peer; /* the target of a transfer that was given up and is to be told; 0: none */
    int told_status;
    uint8_t undated; /* its time runs from the next sample on */
    uint8_t ordered; /* the target was told to campaign */
};

enum { RAFT__PULL_ASK = 1, RAFT__PULL_ANSWER = 2, RAFT__PULL_SERVE = 4, RAFT__PULL_PIECE = 8 };

enum { RAFT__PULL_DONE, RAFT__PULL_LACKS, RAFT__PULL_SILENT }; /* how a pull has ended */

/* The pull of a log before leading, on either side (N7, P4). See pull.c. */
struct raft__pull {
    raft_id source;        /* who is asked; 0: no pull */
    raft_term source_term; /* of the source's last entry, as it said */
    raft_term term;        /* the own one in this pull */
    uint64_t round;        /* of the open question, and the point of joining it asks about */
    raft_index index;
    raft_term index_term;
    uint64_t again_ms; /* when it is asked again */
    raft_id best;      /* pre-candidate: who has the best log above the own one; 0: nobody */
    raft_index best_index;
    raft_term best_term;
    raft__set behind; /* pre-candidate: who said no for the log only */
    raft_index goal;  /* candidate: the last entry of the log to be had (P4) */
    raft_term goal_term;
    uint64_t progress;    /* candidate: how often something has come */
    uint64_t piece_round; /* candidate: of the newest piece of a snapshot */
    raft_id asked_by;     /* being pulled from: by whom, and the question */
    raft_term asked_in;   /* the term of who asks */
    uint64_t asked_round;
    raft_index asked_index;
    raft_term asked_index_term;
    uint8_t due;         /* ASK, ANSWER, PIECE (its answer): waits to be sent; SERVE: whoever asked
                            is sent the snapshot first (P12) */
    uint8_t has_changed; /* the log, or the term, was changed by this pull */
    uint8_t unanswered;  /* candidate: how often the open question was asked in vain */
    uint8_t verifies;    /* candidate: asks whether the source knows the goal at all (P17) */
};

/* What it takes to let a group fall asleep (R54). See quiesce.c. */
struct raft__quiet {
    uint64_t since_ms;  /* leader: nothing has happened since, or it is drowsy since */
    uint64_t activity;  /* leader: what had happened until then */
    uint64_t round;     /* leader: the first round whose answers count */
    raft__set idle;     /* leader: who answered it, or a later one, as idle */
    uint8_t drowsy;     /* leader: the rounds say "sleep" */
    uint8_t idle_reply; /* follower: the reply that is due says "idle" */
};

/* A read of this server. */
struct raft__read {
    uint64_t tag;
    raft_index index;  /* to be applied first; UINT64_MAX: the leader asked has not said it yet */
    uint64_t round;    /* to be answered first; 0: not begun. Of the leader asked: the request */
    uint64_t until_ms; /* of the leader asked: given up then; 0: no sample was seen yet */
    int status;        /* negative: refused, and why */
    int by_lease;      /* needs no round */
};

/* Reads in order of arrival, in a ring. */
struct raft__reads {
    struct raft__read *items;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t head;
    uint32_t count;
};

/* A read that another server asks for, at most one of each; in order of arrival. */
struct raft__served {
    raft_id from;
    uint64_t nonce;
    uint64_t request;
    raft_index index;
    raft_term index_term;
    uint64_t round; /* to be answered first; 0: not begun */
};

/* An answer to another server; index 0: no. */
struct raft__answer {
    raft_id to;
    uint64_t nonce;
    uint64_t request;
    raft_index index;
    raft_term term;
    int kind;
};

/* What is remembered of a server that proposes through this one. */
struct raft__asker {
    raft_id id;
    uint64_t nonce;       /* of its newest run */
    uint64_t newest;      /* the highest of its requests seen, */
    uint64_t seen;        /* and which of those before: bit i is newest - i */
    uint64_t since_round; /* what tells of no later round is of an earlier run */
};

/* What this server does for others; made when it is asked first. */
struct raft__service {
    struct raft__served served[RAFT_MEMBERS_MAX];
    uint32_t served_count;
    uint32_t asker_count;
    struct raft__asker askers[RAFT_MEMBERS_MAX]; /* of asked_term, the last that was led here */
    raft_term asked_term;
    uint64_t since_round; /* for askers that were forgotten meanwhile */
    struct raft__answer *answers;
    uint32_t answer_count;
    uint32_t answer_capacity;
};

/* Proposals of an earlier leadership of this server whose fate is open (R62). */
struct raft__own {
    raft_term term;
    raft_index first;
    raft_index last;
    /* To be told: in front of them, what a snapshot covers unseen, or behind them, what was cut. */
    raft_index unknown_first;
    raft_index unknown_last; /* 0: nothing */
    int status;              /* 0: open; RAFT_EDROPPED or RAFT_EUNKNOWN: to be told */
};

#define RAFT__REPLIES 4u
#define RAFT__OWN     4u
#define RAFT__ANSWERS 1024u /* that wait to be sent; what is more is lost */

enum { RAFT__STARTED, RAFT__FRESH, RAFT__BOOTSTRAPPED, RAFT__RESTORED, RAFT__BROKEN };
enum { RAFT__OUTSIDE, RAFT__IN_CALLBACK, RAFT__IN_OPEN_CALLBACK }; /* open: apply, notify */

struct raft {
    /* Given once. */
    raft_id id;
    struct raft__memory memory;
    const struct raft__rules *rules;
    raft_callbacks callbacks;
    void *host;
    raft_options options;

    /* The hard state, and how far it is durable: versions are equal when it is (R1, R3). */
    raft_hard_state state;
    uint32_t state_version;
    uint32_t state_written; /* handed to persist */
    uint32_t state_durable;

    /* The log, and how far it is written and durable. durable <= written <= last. */
    struct raft__log log;
    raft_index written_index;
    raft_index durable_index;
    raft_index truncated_from; /* the lowest truncation that persist was not told; 0: none */
    uint64_t seq;              /* of the newest write */
    struct raft__pending pending[RAFT_WRITES_MAX];
    uint32_t pending_count;

    raft_index commit_index;
    uint64_t commit_position; /* of the entry behind it in the log's bytes */
    raft_index applied_index;
    raft_index applying_index; /* last of the range that apply has in hand; 0: none */

    /* The newest snapshot: what it covers is durable without the log. */
    raft_index snapshot_index;
    raft_term snapshot_term;
    uint8_t *meta;
    size_t meta_size;
    uint64_t wanted_position; /* of applied entries at which the next one is asked for */
    struct raft__install *install;
    struct raft__piece_reply piece_reply;
    struct raft__end ends[RAFT__ENDS];
    uint32_t end_count;
    struct raft__stream *streams; /* leader: what is read back for peers */
    raft_index load_index;        /* what load_due is about */
    raft_term load_term;
    struct raft__fresh fresh;

    /* The membership in force, its members in the order of their bits. */
    struct raft__configs configs;
    struct raft__quorums quorums;
    raft__set witnesses;
    raft__set learners; /* in the membership to come, while joint */
    struct raft__peer *peers;
    uint32_t peer_count;
    uint32_t peer_capacity; /* the most members that any of `configs` has */
    uint32_t self;          /* own position; peer_count: not a member */
    uint8_t may_lead;       /* this server is a voter that holds data */
    uint32_t lease_ms;      /* of the membership in force; 0: no leases */
    uint32_t lease_drift_permille;
    uint8_t zones;      /* commits must cover two failure zones */
    uint8_t has_joined; /* was a member by some membership known here, or got a member's entries */
    uint8_t is_witness; /* keeps headers instead of payloads; once so, always so */

    /* Role and time. */
    raft_id leader; /* known in this term; 0: none */
    uint64_t now_ms;
    struct raft__service *service; /* null until another server asks for something */
    uint32_t waiting; /* reads and forwarded proposals of the own host that have no answer yet */
    uint64_t election_at_ms;  /* RAFT_NEVER: no campaign */
    uint64_t heartbeat_at_ms; /* leader */
    uint64_t quorum_at_ms;    /* leader: the next check */
    uint64_t contact_ms;      /* when a leader was last heard */
    uint64_t random;
    uint64_t round;    /* of questions asked by this server; never falls */
    raft__set granted; /* campaign: who said yes */
    raft__set refused; /* campaign: who said no */
    raft__set heard;   /* leader: who answered since the last quorum check */

    /* Leases (R50). */
    uint64_t withheld_until_ms; /* after a restart, by nobody's order: not above the next */
    uint64_t promised_until_ms; /* nobody else is helped to lead before this sample, */
    raft_term promise_term;     /* unless an order comes that is at least as new as this round */
    uint64_t promise_round;
    uint64_t credit_round;     /* the newest round of this term that asked for credit */
    uint64_t credit_ms;        /* what was promised for it; 0: nothing yet */
    struct raft__lease *lease; /* leader; null until one is asked for */

    /* Follower: what is owed to the leader. */
    raft_index certified; /* the log up to here is the leader's, in this term (R25) */
    raft_index acked;     /* the largest index acknowledged in this term */
    uint64_t leader_round;
    raft_index refused_index;
    raft_index hint_index;
    raft_term hint_term;

    struct raft__reply *replies; /* room for RAFT__REPLIES while some wait; else null */
    uint32_t reply_count;

    struct raft__transfer transfer;
    struct raft__pull pull;
    struct raft__quiet quiet;
    struct raft__phase1 *phase1; /* candidate in Multi-Paxos: the promises so far; else null */
    uint64_t held_until_ms;      /* who was promised this term is at work on it (P16) */
    raft_index accept_index;     /* accepted_round is due when the log is durable up to here, */
    uint64_t accept_seq;         /* and this write is (P6) */
    uint64_t stop_at_ms;         /* stopping: when at the latest; RAFT_NEVER: not dated yet */

    /* Leader. */
    raft_index own_first; /* index of the no-op of this leadership; Multi-Paxos: L, the last index
                             adopted: whatever was acknowledged before lies at or below */
    raft_index through_from; /* appends that end here or beyond certify all of L (P6) */
    raft_term led_term;      /* the last one led in this run; 0: none */
    struct raft__reads reads;
    struct raft__reads leased;
    uint64_t confirmed_round; /* no newer leader had committed anything when it began */
    struct raft__own *own;    /* RAFT__OWN of them; made before the node leads first */
    uint32_t own_count;

    /* What the leader is asked for (R63). */
    struct raft__reads asked;
    raft_id asked_leader; /* who was to answer them, in this term */
    raft_term asked_term;
    uint64_t asked_request;          /* the request that is outstanding; 0: none */
    uint64_t asked_again_ms;         /* when it is made once more */
    uint64_t requests;               /* made by this run, of either kind */
    struct raft__forwards *forwards; /* null until something is forwarded */

    raft_counters counters;
    int error; /* sticky */

    /* What was last told by an event. */
    raft_term told_term;
    raft_id told_leader;
    uint8_t told_role;
    uint8_t told_error;
    uint8_t untold; /* any of that, or of the membership, may have changed since */

    uint8_t role;
    uint8_t phase;  /* RAFT__STARTED.. */
    uint8_t inside; /* RAFT__OUTSIDE.. */
    uint8_t dirty;  /* something may wait to leave: poll now */
    uint8_t rare;   /* there may be work that most polls have none of, see raft__has_rare */
    uint8_t meta_unwritten;
    uint8_t headless;      /* restoring: what is in front of the log is not known yet */
    uint8_t load_due;      /* the state machine is to be replaced by the snapshot */
    uint8_t renewing;      /* a fresh snapshot is awaited: nothing is applied */
    uint8_t load_in_hand;  /* what apply has in hand is that */
    uint8_t more_due;      /* leader: there is more to send than one poll may */
    uint8_t needs_due;     /* leader: a peer's need is to be told */
    uint8_t snapshot_news; /* an event about snapshots may be due */
    uint8_t contact;       /* a leader was heard since leadership or a host's order to campaign */
    uint8_t contact_fresh; /* heard since the last sample (R59) */
    uint8_t timer_reset;   /* redraw the election timer at the next sample */
    uint8_t attempts;      /* campaigns since a leader was last heard */
    uint8_t request_due;   /* campaign: requests are to be sent */
    uint8_t self_asked;    /* candidate: the own vote is durable and counted */
    uint8_t hold_due;      /* candidate: the requests hold those that have promised (P16) */
    uint8_t accepted_flag; /* follower: RAFT_FLAG_ACCEPTED where accepted_round is the term (P7) */
    uint8_t accept_due;    /* the log is the leader's through L, but not durably so yet (P6) */
    uint8_t settled;       /* leader: a commit quorum holds what makes changes safe (R42, P10) */
    uint8_t ack_due;
    uint8_t refusal_due;
    uint8_t heartbeat_reply_due;
    uint8_t uncertain; /* the leader's commit index is beyond what is certified here */
    uint8_t full;      /* the newest append could not be taken for want of memory */
    uint8_t quorum_ok;
    uint8_t match_moved;         /* leader: the commit index may be due to move */
    uint8_t credit_due;          /* follower: credit was asked for since the last sample */
    uint8_t lease_suspended;     /* leader: why no credit is asked for, and none counts */
    uint8_t clock_is_back;       /* the last sample was below an earlier one */
    uint8_t lease_max_unwritten; /* it goes with the next write */
    uint8_t handing_over;        /* proposals are refused: a transfer, or the end of this node */
    uint8_t stopping;            /* raft_stop was called */
    uint8_t asleep;              /* no timers until something happens (R54) */
    uint8_t delay_levels;        /* priorities above the own one, at most 3 (R55) */
    uint8_t options_lowered;     /* at run time: what is in use may be above its bound */

    raft_term start_term;    /* the term that this run began in */
    raft_index told_version; /* of the membership; and whether it was said to be committed */
    uint8_t told_committed;
    uint8_t regression_due;    /* a peer's loss is to be told */
    uint8_t change_due;        /* leader: the membership may call for another one (R44, R65) */
    raft_index checked_last;   /* leader: the last index at the last quorum check, */
    raft_index checked_before; /* and at the one before */
    raft_index witness_limit;  /* leader: witnesses may hear of entries up to here (R56) */
};

/* ---- configuration.c: the memberships in the log -------------------------------------------- */

static inline raft_index raft__config_index(const raft *node)
{
    return node->configs.count == 0 ? 0 : node->configs.items[node->configs.count - 1].index;
}

static inline int raft__is_joint(const raft *node)
{
    return node->quorums.halves[1].voters != 0;
}

/* The position of a member, or peer_count; the bit of a position, 0 beyond the members. */
static inline uint32_t raft__position_of(const raft *node, raft_id id)
{
    uint32_t position = 0;
    while (position < node->peer_count && node->peers[position].id != id) {
        position++;
    }
    return position;
}

static inline raft__set raft__bit_of(const raft *node, uint32_t position)
{
    return position < node->peer_count ? (raft__set)1 << position : 0;
}

static inline raft__set raft__voters(const raft *node)
{
    return node->quorums.halves[0].voters | node->quorums.halves[1].voters;
}

/* A voter that holds data: it may lead, and be handed leadership. Of itself a node knows it. */
static inline int raft__may_lead_at(const raft *node, uint32_t position)
{
    return (raft__bit_of(node, position) & raft__voters(node) & ~node->witnesses) != 0;
}

/*
 * Whether this server may campaign (R16): a voter with data, or one that was such a voter until an
 * entry that it does not know to be committed: its log may be the only one that can win.
 */
RAFT_INTERNAL int raft__may_lead_unchanged(const raft *node);

static inline int raft__may_campaign(const raft *node)
{
    return !node->is_witness && (node->may_lead || raft__may_lead_unchanged(node));
}

/* The membership that governs, decoded; there is one. */
RAFT_INTERNAL void raft__config_governing(const raft *node, struct raft__config *config);

/* The newest membership at or below index; null: none. */
RAFT_INTERNAL const struct raft__held *raft__config_at(const raft *node, raft_index index);

/* Whether these are the bytes of a membership that this node can take. */
RAFT_INTERNAL int raft__config_acceptable(const raft *node, const void *bytes, size_t size);

/*
 * Makes everything ready to take a membership into force, which then cannot fail: RAFT_OK or
 * RAFT_ENOMEM. raft__config_push takes what was made ready; raft__config_discard gives it up.
 */
RAFT_INTERNAL int raft__config_prepare(raft *node, const void *bytes, size_t size,
                                       struct raft__held *held);
RAFT_INTERNAL void raft__config_push(raft *node, raft_index index, struct raft__held *held);
RAFT_INTERNAL void raft__config_discard(raft *node, struct raft__held *held);

/* Forgets memberships at from and above (R41); those that one at or below index has replaced. */
RAFT_INTERNAL void raft__config_truncate(raft *node, raft_index from);
RAFT_INTERNAL void raft__config_compact(raft *node, raft_index index);

/* Those up to the end of a snapshot, or all, give way to the one that it brings. */
RAFT_INTERNAL void raft__config_rebase(raft *node, raft_index index, raft_index version,
                                       struct raft__held *held);
RAFT_INTERNAL void raft__config_reset(raft *node, raft_index version, struct raft__held *held);
RAFT_INTERNAL void raft__configs_free(raft *node);

/* Leader: what follows from the membership by itself: leaving a joint one, promoting (R44, R65). */
RAFT_INTERNAL void raft__config_step(raft *node);

/* Whether another membership governs, or is committed, than the host was told. */
static inline int raft__config_is_untold(const raft *node)
{
    raft_index version = raft__config_index(node);
    return version != node->told_version ||
           (!node->told_committed && node->commit_index >= version && node->configs.count > 0);
}

/* Takes off what is to be told of memberships: fills the event and returns 1, or returns 0. */
RAFT_INTERNAL int raft__config_next(raft *node, raft_event *event);

/* ---- restore.c, snapshot.c: where the log begins -------------------------------------------- */

/* The next snapshot is asked for when this much more than the newest one covers is applied. */
RAFT_INTERNAL void raft__snapshot_rearm(raft *node);

/* Gives up memory of entries that storage holds as well, where half of the bound is used. */
RAFT_INTERNAL void raft__bound_log(raft *node);
RAFT_INTERNAL void raft__evict(raft *node);

/* Whether a snapshot has come whole and its state is not in use yet (R37). */
static inline int raft__is_installing(const raft *node)
{
    return node->load_due || node->load_in_hand ||
           (node->install != NULL && node->install->phase == RAFT__COMPLETE);
}

/* Whether a piece of a snapshot is one that no correct leader sends. */
RAFT_INTERNAL int raft__snapshot_contradicts(const raft *node, const raft_message *message);
RAFT_INTERNAL int raft__snapshot_receive(raft *node, const raft_message *message);
RAFT_INTERNAL void raft__snapshot_answer(raft *node, raft_id to, uint64_t round);

/* Hands the piece that has arrived to the host; puts a snapshot that is complete into use. */
RAFT_INTERNAL void raft__install_step(raft *node);

/* The leader or its term is gone: what has arrived so far is of no use (R39). */
RAFT_INTERNAL void raft__install_give_up(raft *node, int status);
RAFT_INTERNAL void raft__install_stop(raft *node);
RAFT_INTERNAL void raft__install_free(raft *node);

/* The request for a fresh snapshot is forgotten; asks the leader; when to ask again. */
RAFT_INTERNAL void raft__fresh_end(raft *node);
RAFT_INTERNAL void raft__fresh_send(raft *node);
RAFT_INTERNAL void raft__fresh_timers(raft *node);
RAFT_INTERNAL uint64_t raft__fresh_deadline(const raft *node);

/* Takes off what is to be told: fills the event and returns 1, or returns 0. */
RAFT_INTERNAL int raft__snapshot_next(raft *node, raft_event *event);

/* ---- stream.c: what is read back for a peer ------------------------------------------------- */

/* Entries from peer->next on: RAFT_OK and one range, RAFT_PENDING, or they cannot be had. */
RAFT_INTERNAL int raft__stream_entries(raft *node, const struct raft__peer *peer,
                                       raft_range *range);

/* Storage cannot give the entry at first. */
RAFT_INTERNAL void raft__unreadable(raft *node, struct raft__peer *peer, raft_index first);

/* The log that the peer needs is gone. */
RAFT_INTERNAL void raft__peer_needs_snapshot(raft *node, struct raft__peer *peer);

/* Sends what is due to a peer in the snapshot state. */
RAFT_INTERNAL void raft__feed_snapshot(raft *node, uint32_t position);

/* It answered a piece; it answered anything, in this round; it acknowledged up to index, further
 * than ever where `moved`. */
RAFT_INTERNAL void raft__snapshot_reply(raft *node, struct raft__peer *peer,
                                        const raft_message *message);
RAFT_INTERNAL void raft__snapshot_again(raft *node, struct raft__peer *peer, uint64_t round);
RAFT_INTERNAL void raft__snapshot_acknowledged(raft *node, struct raft__peer *peer,
                                               raft_index index, uint64_t round, int moved);

/* In this round it denied to hold what the log begins behind, or acknowledged too little. */
RAFT_INTERNAL void raft__snapshot_missing(raft *node, struct raft__peer *peer, uint64_t round);

/* A peer asks for a fresh snapshot; sends what is due of those. */
RAFT_INTERNAL void raft__fresh_receive(raft *node, const raft_message *message);
RAFT_INTERNAL void raft__fresh_feed(raft *node);

/* What is under way to a peer is given up. */
RAFT_INTERNAL void raft__stream_end(raft *node, raft_id peer, int status);

/* Frees what has ended; frees all. */
RAFT_INTERNAL void raft__streams_sweep(raft *node);
RAFT_INTERNAL void raft__streams_free(raft *node);

/* Takes off what is to be told: fills the event and returns 1, or returns 0. */
RAFT_INTERNAL int raft__stream_next(raft *node, raft_event *event);

/* ---- raft.c --------------------------------------------------------------------------------- */

/* Moves to a term and vote, in memory; a higher term forgets what was certified in the old one. */
RAFT_INTERNAL void raft__set_state(raft *node, raft_term term, raft_id vote);

/* Whether term and vote, or the whole log, are on stable storage as they are in memory. */
static inline int raft__state_is_durable(const raft *node)
{
    return node->state_durable == node->state_version;
}

RAFT_INTERNAL int raft__log_is_durable(const raft *node);

/* Cuts the log, beyond what is committed or certified. */
RAFT_INTERNAL void raft__truncate(raft *node, raft_index from);

/*
 * Appends what the log does not hold of a range, replacing what contradicts it, memberships in it
 * included. kinds: as raft__range_kinds says, or more. *matched counts the entries that agree
 * now: all of them on RAFT_OK.
 */
RAFT_INTERNAL int raft__take_any_range(raft *node, const raft_range *range, unsigned kinds,
                                       size_t *matched);

static inline int raft__take_range(raft *node, const raft_range *range, unsigned kinds,
                                   size_t *matched)
{
    /* Who is sent payloads need not wait for a membership to apply them (R56). */
    node->has_joined |= kinds >> RAFT_ENTRY_DATA & 1;
    if (kinds > RAFT__PLAIN_KINDS || range->first <= node->log.last_index) {
        return raft__take_any_range(node, range, kinds, matched);
    }
    int status = raft__log_append_range(&node->log, &node->memory, range, 0);
    *matched = status == RAFT_OK ? range->count : 0;
    return status;
}

/* Whether every membership in a range can be taken by this node. */
RAFT_INTERNAL int raft__configs_acceptable(const raft *node, const raft_range *range,
                                           unsigned kinds);

/* Moves the commit index to one beyond it; the other leaves alone what is committed already. */
RAFT_INTERNAL void raft__commit_forward(raft *node, raft_index index);

static inline void raft__commit_to(raft *node, raft_index index)
{
    if (index > node->commit_index) {
        raft__commit_forward(node, index);
    }
}

/* A leader that hands over takes no new work (R53). */
static inline int raft__is_transferring(const raft *node)
{
    return node->transfer.target != 0;
}

/* Whether anything may have to be done for those who asked for it, here or elsewhere. */
static inline int raft__has_clients(const raft *node)
{
    return node->waiting != 0 || node->service != NULL;
}

/*
 * Work that a poll of the steady state has none of. Whatever begins it sets node->rare, so that such
 * a poll asks for one byte; only a poll that finds nothing more of it clears that.
 */
static inline int raft__has_rare(const raft *node)
{
    return node->streams != NULL || node->install != NULL || raft__has_clients(node) ||
           (node->reply_count | node->own_count | node->pull.due | node->request_due |
            node->change_due | node->more_due | node->load_due | node->regression_due |
            node->snapshot_news | node->stopping | node->lease_max_unwritten) != 0 ||
           node->truncated_from != 0 || node->error != RAFT_OK;
}

/* The gate of every input: RAFT_OK where the node may be changed now. Open: apply and notify. */
static inline int raft__enter(const raft *node, int from_open_callbacks)
{
    if (node == NULL) {
        return RAFT_EARG;
    }
    if ((node->inside | node->phase | node->error) == 0) { /* outside, started, sound: mostly so */
        return RAFT_OK;
    }
    if (node->inside == RAFT__IN_CALLBACK ||
        (node->inside == RAFT__IN_OPEN_CALLBACK && !from_open_callbacks)) {
        return RAFT_EREENTRY;
    }
    if (node->phase != RAFT__STARTED) {
        return RAFT_ESTATE;
    }
    return node->error;
}

/* A message of a kind to a peer with the fields that all kinds share. */
static inline void raft__message_begin(const raft *node, raft_message *message, int kind,
                                       raft_id to)
{
    message->cluster = node->options.cluster;
    message->group = node->options.group;
    message->from = node->id;
    message->to = to;
    message->term = node->state.term;
    message->round = 0;
    message->index = 0;
    message->index_term = 0;
    message->asked_term = 0;
    message->commit = 0;
    message->accepted_round = 0;
    message->refused_index = 0;
    message->credit_ms = 0;
    message->tag_term = 0;
    message->tag_round = 0;
    message->offset = 0;
    message->nonce = 0;
    message->request = 0;
    message->kind = kind;
    message->protocol = node->options.protocol;
    message->refused = 0;
    message->flags = 0;
    message->meta.data = NULL;
    message->meta.size = 0;
    message->chunk.data = NULL;
    message->chunk.size = 0;
    message->range_count = 0;
}

static inline void raft__send(raft *node, const raft_message *message)
{
    node->counters.messages_sent++;
    node->inside = RAFT__IN_CALLBACK;
    node->callbacks.send(node->host, message);
    node->inside = RAFT__OUTSIDE;
}

/* Stops for good with a sticky error (R9). */
RAFT_INTERNAL void raft__fail(raft *node, int error);

/* ---- election.c ----------------------------------------------------------------------------- */

RAFT_INTERNAL void raft__draw_timer(raft *node);

/* Another membership governs: who may campaign, and who counts, may have changed. */
RAFT_INTERNAL void raft__membership_changed(raft *node);

/* Follows in a term at or above the own one; leader 0: nobody known. */
RAFT_INTERNAL void raft__become_follower(raft *node, raft_term term, raft_id leader);

static inline void raft__adopt_term(raft *node, raft_term term)
{
    if (term > node->state.term) {
        raft__become_follower(node, term, 0);
    }
}

/*
 * Begins a campaign: of its own accord; because the leader says so, without asking first; or again,
 * with a log that may not be durable yet. RAFT_OK, RAFT_ENOTMEMBER, RAFT_EBUSY, RAFT_ELIMIT.
 */
RAFT_INTERNAL int raft__campaign(raft *node);
RAFT_INTERNAL int raft__campaign_by_order(raft *node, raft_term tag_term, uint64_t tag_round);
RAFT_INTERNAL int raft__campaign_again(raft *node);

/* A candidate leads: its own vote counts, and others enough. The log says what it leads with. */
RAFT_INTERNAL void raft__lead(raft *node);

/* The leader says that it reaches no quorum: it is heard, but binds nobody (N5). */
RAFT_INTERNAL void raft__heard_weak_leader(raft *node);

/* Whether a live leader, or the promise of a lease, keeps this server from helping others. */
RAFT_INTERNAL int raft__is_bound(const raft *node);

RAFT_INTERNAL void raft__pre_vote_receive(raft *node, const raft_message *message);
RAFT_INTERNAL void raft__vote_receive(raft *node, const raft_message *message);
RAFT_INTERNAL void raft__ballot_receive(raft *node, const raft_message *message);

RAFT_INTERNAL uint64_t raft__follower_deadline(const raft *node);
RAFT_INTERNAL void raft__election_timers(raft *node);
RAFT_INTERNAL void raft__election_durable(raft *node);
RAFT_INTERNAL void raft__election_send(raft *node);

/* Queues a reply to anyone; dropped without memory or a free slot, as a network might. */
RAFT_INTERNAL void raft__reply(raft *node, const struct raft__reply *reply);
RAFT_INTERNAL void raft__replies_free(raft *node);

/* ---- paxos.c: what Multi-Paxos has of its own ------------------------------------------------- */

/* Candidate: the pull has ended, RAFT__PULL_..; the promises are forgotten. */
RAFT_INTERNAL void raft__phase1_pulled(raft *node, int outcome);
RAFT_INTERNAL void raft__phase1_end(raft *node);

/* Candidate: holds those that have promised, while a pull goes on (P16). */
RAFT_INTERNAL void raft__phase1_timers(raft *node);
RAFT_INTERNAL uint64_t raft__phase1_deadline(const raft *node);

/* The candidate that was promised the own term asks for patience (P16). */
RAFT_INTERNAL void raft__hold(raft *node);

/* Follower: what is certified reaches through L; a write has completed. Both: the round is (P6). */
RAFT_INTERNAL void raft__reached_adopted(raft *node);
RAFT_INTERNAL void raft__accept_when_durable(raft *node);
RAFT_INTERNAL void raft__accept_round(raft *node);

/* ---- transfer.c: leadership that changes hands ---------------------------------------------- */

/*
 * Leader: gives up what takes too long; begins what has to be, where it is being stopped, left out,
 * or its disk hangs; leaves where nothing else is left.
 */
RAFT_INTERNAL void raft__transfer_timers(raft *node);
RAFT_INTERNAL uint64_t raft__transfer_deadline(const raft *node);

/* Leader, with a transfer under way: tells the target to campaign as soon as it holds all. */
RAFT_INTERNAL void raft__transfer_send(raft *node, int round_due);

/* Leadership ends, with a higher term or in this one; another membership governs. */
RAFT_INTERNAL void raft__transfer_leave(raft *node, int term_rises);
RAFT_INTERNAL void raft__transfer_membership(raft *node);

RAFT_INTERNAL void raft__transfer_receive(raft *node, const raft_message *message);

/* Elsewhere: asks the leader for a transfer. It does as raft_transfer would, for a member. */
RAFT_INTERNAL void raft__transfer_ask_send(raft *node, const struct raft__reply *ask);
RAFT_INTERNAL void raft__transfer_ask_receive(raft *node, const raft_message *message);

/* Takes off a transfer that was given up: fills the event and returns 1, or returns 0. */
RAFT_INTERNAL int raft__transfer_next(raft *node, raft_event *event);

/* Whether the oldest write has been outstanding for the disk timeout. */
RAFT_INTERNAL int raft__disk_is_stalled(const raft *node);

/* Stopping: whether everything that can be answered is, or the time is up. */
RAFT_INTERNAL int raft__has_stopped(raft *node);

/* ---- pull.c: a better log, before leading --------------------------------------------------- */

/* Pre-candidate: a campaign begins; somebody refused for the log only. */
RAFT_INTERNAL void raft__pull_forget(raft *node);
RAFT_INTERNAL void raft__pull_note(raft *node, uint32_t position, const raft_message *message);

/* Whether the campaign fails for the log only, so that to pull and ask again would help. */
RAFT_INTERNAL int raft__pull_would_help(const raft *node);

/* From whoever has told of the best log; where only a witness has, nothing, another may yet (R56). */
RAFT_INTERNAL void raft__pull_begin(raft *node);

/* Candidate: makes the own log the one that ends with that entry; see raft__phase1_pulled. */
RAFT_INTERNAL void raft__pull_log(raft *node, raft_id source, raft_index goal, raft_term goal_term,
                                  int verify);

/* Candidate: whether it pulls from this server; a piece of its snapshot came, or all is in use. */
static inline int raft__pulls_from(const raft *node, raft_id id)
{
    return node->role == RAFT_ROLE_CANDIDATE && node->pull.source == id && id != 0;
}

RAFT_INTERNAL void raft__pull_piece(raft *node, uint64_t round);
RAFT_INTERNAL void raft__pull_on(raft *node);

/* Being pulled from: a piece of a snapshot was answered; it is over. */
RAFT_INTERNAL void raft__pull_piece_reply(raft *node, const raft_message *message);
RAFT_INTERNAL void raft__pull_serve_end(raft *node);

RAFT_INTERNAL void raft__pull_end(raft *node);

RAFT_INTERNAL void raft__pull_receive(raft *node, const raft_message *message);
RAFT_INTERNAL int raft__pull_reply_receive(raft *node, const raft_message *message, unsigned kinds);
RAFT_INTERNAL void raft__pull_send(raft *node);
RAFT_INTERNAL void raft__pull_timers(raft *node);

/* ---- quiesce.c: groups without work --------------------------------------------------------- */

/* Leader: a round begins: whether it says "sleep". A heartbeat was answered. */
RAFT_INTERNAL int raft__quiet_round(raft *node);
RAFT_INTERNAL void raft__quiet_reply(raft *node, uint32_t position, const raft_message *message);

/* Follower: a heartbeat was taken in. */
RAFT_INTERNAL void raft__quiet_heartbeat(raft *node, const raft_message *message);

/* Asleep: whether a message was on its way before. */
RAFT_INTERNAL int raft__is_straggler(const raft *node, const raft_message *message);
RAFT_INTERNAL void raft__wake_up(raft *node);

/* Whatever changes a node, wakes it first. */
static inline void raft__wake(raft *node)
{
    if (node->asleep) {
        raft__wake_up(node);
    }
}

/* ---- replication.c -------------------------------------------------------------------------- */

RAFT_INTERNAL void raft__progress_reset(raft *node);
RAFT_INTERNAL void raft__progress_free(raft *node);
RAFT_INTERNAL int raft__append_receive(raft *node, const raft_message *message, unsigned kinds);
RAFT_INTERNAL int raft__heartbeat_receive(raft *node, const raft_message *message);
RAFT_INTERNAL int raft__progress_receive(raft *node, const raft_message *message);
RAFT_INTERNAL void raft__peer_probe(const raft *node, struct raft__peer *peer);

/* Whether `from` may lead the own term; it is heard then (R15). RAFT_OK or RAFT_EMALFORMED. */
RAFT_INTERNAL int raft__accept_leader(raft *node, raft_id from, uint64_t round);

/* Nothing is known of the peer yet: a new leader begins so, and so does a new member. */
RAFT_INTERNAL void raft__peer_reset(const raft *node, struct raft__peer *peer);
RAFT_INTERNAL void raft__peer_free(raft *node, struct raft__peer *peer);

/* Leader: whether the member at a position answered within the last election timeout. */
RAFT_INTERNAL int raft__peer_is_alive(const raft *node, uint32_t position);

/* Leader: whether it is alive and holds what the leader held a minimum timeout ago (R65). */
RAFT_INTERNAL int raft__peer_has_caught_up(const raft *node, uint32_t position);

/* Takes off the first peer that has lost its log and is not told: fills the event, returns 1. */
RAFT_INTERNAL int raft__regression_next(raft *node, raft_event *event);
RAFT_INTERNAL uint64_t raft__inflight_bytes(const raft *node, const struct raft__peer *peer);
RAFT_INTERNAL void raft__follower_send(raft *node);
RAFT_INTERNAL void raft__leader_send(raft *node);
RAFT_INTERNAL void raft__leader_commit(raft *node);

/* ---- lease.c -------------------------------------------------------------------------------- */

/*
 * Whether a promise keeps this server from granting, adopting the term of a candidate, or
 * campaigning. The tag is that of an order by a leader that hands over (R53); 0 and 0: none.
 */
RAFT_INTERNAL int raft__promise_binds(const raft *node, raft_term tag_term, uint64_t tag_round);

/* At start: what was promised before is not known any more. */
RAFT_INTERNAL void raft__lease_restart(raft *node);

/* Leases of this length were allowed by a membership: written with it, for ever (lease_max). */
RAFT_INTERNAL void raft__lease_remember(raft *node, uint64_t length_ms);

/* Another membership governs, with these. */
RAFT_INTERNAL void raft__lease_lengths(raft *node, uint32_t length_ms, uint32_t drift_permille);

/* Follower: a round asks for credit; the promise is made by the poll that dates the contact. */
RAFT_INTERNAL void raft__lease_asked(raft *node, uint64_t round);
RAFT_INTERNAL void raft__promise(raft *node);

/* What a reply says: the credit belongs to the round that asked, and to no other. */
static inline uint64_t raft__credit(const raft *node)
{
    return node->leader_round == node->credit_round ? node->credit_ms : 0;
}

/*
 * Leader: a new leadership; no round before now counts any more; none until all that suspended the
 * lease is over.
 */
enum { RAFT__HANDOVER = 1, RAFT__DROWSY = 2 };
RAFT_INTERNAL void raft__lease_begin(raft *node);
RAFT_INTERNAL void raft__lease_void(raft *node);
RAFT_INTERNAL void raft__lease_suspend(raft *node, int why, int suspended);

/* A round begins: RAFT_FLAG_CREDIT, or 0 where it is not to ask. */
RAFT_INTERNAL int raft__lease_ask(raft *node);

/* A peer has answered a round with credit. */
RAFT_INTERNAL void raft__lease_credit(raft *node, struct raft__peer *peer, uint64_t round,
                                      uint64_t credit_ms);

/* Reads need no round while now is below this; 0: no lease. */
RAFT_INTERNAL uint64_t raft__lease_end(const raft *node);
RAFT_INTERNAL void raft__lease_free(raft *node);
RAFT_INTERNAL const char *raft__lease_check(const raft *node);

/* ---- proposal.c ----------------------------------------------------------------------------- */

/* Encoded bytes of the entries that are not committed. */
RAFT_INTERNAL uint64_t raft__uncommitted_bytes(const raft *node);

/* RAFT_OK on a leader; elsewhere why this server cannot serve what only a leader can. */
RAFT_INTERNAL int raft__must_lead(const raft *node);

/* Makes room to remember proposals; raft__own_remember needs it. RAFT_OK or RAFT_ENOMEM. */
RAFT_INTERNAL int raft__own_reserve(raft *node);
RAFT_INTERNAL void raft__own_free(raft *node);

/* Remembers the proposals of a leadership that ends, until their fate is known (R62). */
RAFT_INTERNAL void raft__own_remember(raft *node);

/* Judges them by what is applied. */
RAFT_INTERNAL void raft__own_settle(raft *node);

/* Gives up on all of them: the node stops. */
RAFT_INTERNAL void raft__own_give_up(raft *node);

/* A snapshot at (index, term) replaces the log: what it covers unseen stays unknown. */
RAFT_INTERNAL void raft__own_cover(raft *node, raft_index index, raft_term term);
RAFT_INTERNAL void raft__own_adopted(raft *node);

/* Takes off the first run whose fate is known: fills the event and returns 1, or returns 0. */
RAFT_INTERNAL int raft__own_next(raft *node, raft_event *event);

/* Proposals for the leader: sending, giving up, telling. */
RAFT_INTERNAL void raft__forwards_send(raft *node);
RAFT_INTERNAL void raft__forwards_timers(raft *node);
RAFT_INTERNAL uint64_t raft__forwards_deadline(const raft *node);
RAFT_INTERNAL void raft__forwards_give_up(raft *node);
RAFT_INTERNAL int raft__forwards_next(raft *node, raft_event *event);
RAFT_INTERNAL size_t raft__forwards_waiting(const raft *node);
RAFT_INTERNAL void raft__forwards_free(raft *node);
RAFT_INTERNAL const char *raft__forwards_check(const raft *node);

RAFT_INTERNAL int raft__propose_receive(raft *node, const raft_message *message);
RAFT_INTERNAL int raft__propose_reply_receive(raft *node, const raft_message *message);

/* Makes node->service where there is none: whether there is one now. */
RAFT_INTERNAL int raft__service_exists(raft *node);
RAFT_INTERNAL void raft__service_free(raft *node);

/* Queues an answer to another server; needs a service. */
RAFT_INTERNAL void raft__answer(raft *node, const struct raft__answer *answer);
RAFT_INTERNAL void raft__answers_send(raft *node);

/* ---- read.c --------------------------------------------------------------------------------- */

/* Reads of this server that have no answer yet. */
RAFT_INTERNAL uint64_t raft__reads_waiting(const raft *node);

/* Leader: whether the lease answers those that hope for it; those that it does not need a round. */
RAFT_INTERNAL void raft__reads_judge(raft *node);

/* Whether a read waits for a round; gives the round that starts now to all that do. */
RAFT_INTERNAL int raft__reads_need_round(const raft *node);
RAFT_INTERNAL void raft__reads_join_round(raft *node, uint64_t round);

/* Leader: sends other servers what is confirmed for them. */
RAFT_INTERNAL void raft__served_send(raft *node);

/* Elsewhere: asks the leader for what waits. */
RAFT_INTERNAL void raft__asked_send(raft *node);
RAFT_INTERNAL void raft__asked_timers(raft *node);
RAFT_INTERNAL uint64_t raft__asked_deadline(const raft *node);

RAFT_INTERNAL void raft__read_receive(raft *node, const raft_message *message);
RAFT_INTERNAL void raft__read_reply_receive(raft *node, const raft_message *message);

/* Refuses all reads of a leader, those of other servers too: leadership ended. */
RAFT_INTERNAL void raft__reads_fail(raft *node);

/* Refuses those that the leader was asked for: the node stops. */
RAFT_INTERNAL void raft__asked_fail(raft *node);

/* Takes off the first read that has its answer: fills the event and returns 1, or returns 0. */
RAFT_INTERNAL int raft__reads_next(raft *node, raft_event *event);
RAFT_INTERNAL void raft__reads_free(raft *node);
RAFT_INTERNAL const char *raft__reads_check(const raft *node);

#endif
