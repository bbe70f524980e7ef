/*
 * What the engine's files share: the node, the log, and the prototypes that cross files. Never
 * installed.
 *
 * Calls run one way: raft.c → election, replication, proposal, read → membership, log, message.
 * membership.c and log.c know nothing of roles or messages; message.c knows nothing of the node.
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
    uint32_t count;    /* entries */
    uint32_t used;     /* bytes of entries */
    uint32_t capacity; /* bytes for entries and offsets together; a multiple of eight */
    uint32_t sealed;   /* nonzero: bytes beyond `used` are lent, append elsewhere */
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
    struct raft__segment *limbo;     /* truncated, but still lent to a write */
    raft_index base_index;           /* the entry before the first, and its term */
    raft_term base_term;
    raft_index last_index;
    raft_term last_term;
    uint64_t end_position; /* bytes of all entries ever up to the last */
    uint64_t bytes;        /* memory of all segments */
    uint64_t bytes_max;
    uint32_t segment_count;
    uint32_t segment_capacity;
    uint32_t run_count;
    uint32_t run_capacity;
};

RAFT_INTERNAL void raft__log_init(struct raft__log *log, uint64_t bytes_max);
RAFT_INTERNAL void raft__log_free(struct raft__log *log, const struct raft__memory *memory);

/* The term of the entry at index; base_index <= index <= last_index. */
RAFT_INTERNAL raft_term raft__log_term(const struct raft__log *log, raft_index index);

/* The largest index <= index whose term is <= term; base_index if there is none (R30). */
RAFT_INTERNAL raft_index raft__log_floor(const struct raft__log *log, raft_index index,
                                         raft_term term);

/* The first index in [first, last] whose term is not term; 0 if all match. */
RAFT_INTERNAL raft_index raft__log_mismatch(const struct raft__log *log, raft_index first,
                                            raft_index last, raft_term term);

/* Encoded bytes of all entries below index; differences of it are sizes. index <= last + 1. */
RAFT_INTERNAL uint64_t raft__log_position(const struct raft__log *log, raft_index index);

/*
 * The longest contiguous run of entries of one term from first on, up to last and to bytes_max
 * bytes, though always at least one entry.
 */
RAFT_INTERNAL void raft__log_range(const struct raft__log *log, raft_index first, raft_index last,
                                   uint64_t bytes_max, raft_range *range);

/*
 * Appends payloads as entries of a kind, `bytes` in all when encoded; or encoded entries that
 * raft__range_valid has passed: these replace what the log holds at range->first and above, as
 * raft__log_truncate would. The latter may overstep bytes_max by the slack that raft.h states,
 * empty entries by anything. All or nothing: RAFT_OK, RAFT_ENOMEM, RAFT_EFULL, RAFT_ELIMIT.
 */
RAFT_INTERNAL int raft__log_append(struct raft__log *log, const struct raft__memory *memory,
                                   raft_term term, int kind, const raft_buf *payloads, size_t count,
                                   size_t bytes);
RAFT_INTERNAL int raft__log_append_range(struct raft__log *log, const struct raft__memory *memory,
                                         const raft_range *range, uint64_t lent_seq);

/* Removes from and all above. Bytes that writes up to lent_seq may still lend stay unchanged. */
RAFT_INTERNAL void raft__log_truncate(struct raft__log *log, const struct raft__memory *memory,
                                      raft_index from, uint64_t lent_seq);

/* Writes up to seq lend nothing any more. */
RAFT_INTERNAL void raft__log_release(struct raft__log *log, const struct raft__memory *memory,
                                     uint64_t seq);

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

/* Whether data holds exactly count well-formed entries in size bytes. */
RAFT_INTERNAL int raft__range_valid(const raft_range *range);

/* Drops the first count entries of a range; fewer than it has. */
RAFT_INTERNAL void raft__range_skip(raft_range *range, size_t count);

/* Whether every field is in its bounds and the entries are well formed (R32, R64). */
RAFT_INTERNAL int raft__message_valid(const raft_message *message);

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
RAFT_INTERNAL int raft__half_init(struct raft__half *half, raft__set voters, unsigned wish);

/* Whether the set has a quorum of every half. */
RAFT_INTERNAL int raft__quorum_has(const struct raft__quorums *quorums, int purpose, raft__set set);

/* The largest value that a commit quorum of every half has reached; values by position. */
RAFT_INTERNAL uint64_t raft__quorum_value(const struct raft__quorums *quorums,
                                          const uint64_t *values);

/* The founding metadata: a snapshot's before the first entry, so index and term are 0. */
struct raft__meta {
    raft_index index;
    raft_term term;
    raft_term accepted_round;
    int protocol;
    unsigned commit_quorum; /* the wish; 0: majority */
    size_t member_count;
    raft_member members[RAFT_MEMBERS_MAX]; /* blobs point into the encoded bytes */
};

RAFT_INTERNAL size_t raft__meta_size(const struct raft__meta *meta);
RAFT_INTERNAL void raft__meta_encode(const struct raft__meta *meta, uint8_t *out);
RAFT_INTERNAL int raft__meta_decode(const void *data, size_t size, struct raft__meta *meta);

/* RAFT_OK, or RAFT_EARG: an id 0 or twice, a blob too long, none or too many. */
RAFT_INTERNAL int raft__members_check(const raft_member *members, size_t count);

/* ---- The node ------------------------------------------------------------------------------- */

/* The unacknowledged appends to one peer: the last index of each, in a ring. */
struct raft__window {
    raft_index *last;
    uint16_t capacity; /* a power of two, or 0 */
    uint16_t head;
    uint16_t count;
};

/* A member, and what a leader knows of it. The leader's own `match` is its durable index. */
struct raft__peer {
    raft_id id;
    raft_index match;       /* durable there; rises only on acknowledgements (R28) */
    raft_index next;        /* probing: the cursor; replicating: the next to send */
    raft_index commit_told; /* the commit index it was sent last (R33) */
    uint64_t round_echoed;  /* the newest round it answered (R49) */
    uint64_t since_round;   /* replies to older rounds say nothing of the present probe or window */
    struct raft__window window;
    uint8_t state;  /* RAFT_PEER_* */
    uint8_t paused; /* probing: an append is outstanding (R31) */
    uint8_t nudge;  /* an empty append is due, to learn what was lost (R31) */
};

/* A write that the host has not completed. */
struct raft__pending {
    uint64_t seq;
    uint64_t issued_ms;
    raft_index last_index;  /* the log it makes durable; lowered when truncated meanwhile (R6) */
    uint32_t state_version; /* the hard state it makes durable */
};

/* A reply to anyone but the own leader. One for a (receiver, kind): a newer one replaces it. */
struct raft__reply {
    raft_id to;
    raft_term asked_term;
    uint64_t round;
    uint8_t kind;
    uint8_t refused;
};

struct raft__read {
    uint64_t tag;
    raft_index index; /* to be applied first */
    uint64_t round;   /* to be answered first; 0: not begun */
};

/* Reads in order of arrival, in a ring. The first `failed` of them are to be refused. */
struct raft__reads {
    struct raft__read *items;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t head;
    uint32_t count;
    uint32_t failed;
};

/* Proposals of an earlier leadership of this server whose fate is open (R62). */
struct raft__own {
    raft_term term;
    raft_index first;
    raft_index last;
    int status; /* 0: open; RAFT_EDROPPED or RAFT_EUNKNOWN: to be told */
};

#define RAFT__REPLIES 4u
#define RAFT__OWN     4u

enum { RAFT__STARTED, RAFT__FRESH, RAFT__BOOTSTRAPPED, RAFT__RESTORED, RAFT__BROKEN };
enum { RAFT__OUTSIDE, RAFT__IN_CALLBACK, RAFT__IN_OPEN_CALLBACK }; /* open: apply, notify */

struct raft {
    /* Given once. */
    raft_id id;
    struct raft__memory memory;
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

    /* The membership in force, in the order of its bits. */
    struct raft__quorums quorums;
    struct raft__peer *peers;
    uint8_t *meta; /* encoded; blobs are read from it */
    size_t meta_size;
    uint32_t peer_count;
    uint32_t self; /* own position; peer_count: not a member */

    /* Role and time. */
    raft_id leader; /* known in this term; 0: none */
    uint64_t now_ms;
    uint64_t election_at_ms;  /* RAFT_NEVER: no campaign */
    uint64_t heartbeat_at_ms; /* leader */
    uint64_t quorum_at_ms;    /* leader: the next check */
    uint64_t contact_ms;      /* when a leader was last heard */
    uint64_t random;
    uint64_t round;    /* of questions asked by this server; never falls */
    raft__set granted; /* campaign: who said yes */
    raft__set refused; /* campaign: who said no */
    raft__set heard;   /* leader: who answered since the last quorum check */

    /* Follower: what is owed to the leader. */
    raft_index certified; /* the log up to here is the leader's, in this term (R25) */
    raft_index acked;     /* the largest index acknowledged in this term */
    uint64_t leader_round;
    raft_index refused_index;
    raft_index hint_index;
    raft_term hint_term;

    struct raft__reply replies[RAFT__REPLIES];
    uint32_t reply_count;

    /* Leader. */
    raft_index own_first; /* index of the no-op of this leadership */
    struct raft__reads reads;
    struct raft__own own[RAFT__OWN];
    uint32_t own_count;

    raft_counters counters;
    int error; /* sticky */

    /* What was last told by an event. */
    raft_term told_term;
    raft_id told_leader;
    uint8_t told_role;
    uint8_t told_error;

    uint8_t role;
    uint8_t phase;  /* RAFT__STARTED.. */
    uint8_t inside; /* RAFT__OUTSIDE.. */
    uint8_t dirty;  /* something may wait to leave: poll now */
    uint8_t meta_unwritten;
    uint8_t contact;       /* a leader was heard since leadership or a host's order to campaign */
    uint8_t contact_fresh; /* heard since the last sample (R59) */
    uint8_t timer_reset;   /* redraw the election timer at the next sample */
    uint8_t request_due;   /* campaign: requests are to be sent */
    uint8_t ack_due;
    uint8_t refusal_due;
    uint8_t heartbeat_reply_due;
    uint8_t uncertain; /* the leader's commit index is beyond what is certified here */
    uint8_t quorum_ok;
    uint8_t match_moved; /* leader: the commit index may be due to move */
};

/* ---- raft.c --------------------------------------------------------------------------------- */

/* Moves to a term and vote, in memory; a higher term forgets what was certified in the old one. */
RAFT_INTERNAL void raft__set_state(raft *node, raft_term term, raft_id vote);

/* Whether term and vote, or the whole log, are on stable storage as they are in memory. */
static inline int raft__state_is_durable(const raft *node)
{
    return node->state_durable == node->state_version;
}

RAFT_INTERNAL int raft__log_is_durable(const raft *node);

/* Appends what the log does not hold of a range, replacing what contradicts it. */
RAFT_INTERNAL int raft__take_range(raft *node, const raft_range *range);

/* Moves the commit index to one beyond it; the other leaves alone what is committed already. */
RAFT_INTERNAL void raft__commit_forward(raft *node, raft_index index);

static inline void raft__commit_to(raft *node, raft_index index)
{
    if (index > node->commit_index) {
        raft__commit_forward(node, index);
    }
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
    message->refused_index = 0;
    message->kind = kind;
    message->protocol = node->options.protocol;
    message->refused = 0;
    message->range_count = 0;
}

RAFT_INTERNAL void raft__send(raft *node, const raft_message *message);

/* ---- election.c ----------------------------------------------------------------------------- */

RAFT_INTERNAL int raft__is_voter(const raft *node);

/* The position of a member, or peer_count. */
RAFT_INTERNAL uint32_t raft__position_of(const raft *node, raft_id id);

RAFT_INTERNAL void raft__draw_timer(raft *node);

/* Follows in a term at or above the own one; leader 0: nobody known. */
RAFT_INTERNAL void raft__become_follower(raft *node, raft_term term, raft_id leader);

/* Begins a campaign. RAFT_OK, RAFT_ENOTMEMBER, RAFT_EBUSY, RAFT_ELIMIT. */
RAFT_INTERNAL int raft__campaign(raft *node);

/* Contact: a valid append or heartbeat of the own term's leader. */
RAFT_INTERNAL void raft__heard_leader(raft *node, raft_id leader);

RAFT_INTERNAL void raft__pre_vote_receive(raft *node, const raft_message *message);
RAFT_INTERNAL void raft__vote_receive(raft *node, const raft_message *message);
RAFT_INTERNAL void raft__ballot_receive(raft *node, const raft_message *message);

RAFT_INTERNAL uint64_t raft__follower_deadline(const raft *node);
RAFT_INTERNAL void raft__election_timers(raft *node);
RAFT_INTERNAL void raft__election_durable(raft *node);
RAFT_INTERNAL void raft__election_send(raft *node);

/* Queues a reply to anyone; dropped where all slots are taken, as a network might. */
RAFT_INTERNAL void raft__reply(raft *node, const struct raft__reply *reply);

/* ---- replication.c -------------------------------------------------------------------------- */

RAFT_INTERNAL void raft__progress_reset(raft *node);
RAFT_INTERNAL void raft__progress_free(raft *node);
RAFT_INTERNAL int raft__append_contradicts(const raft *node, const raft_message *message);
RAFT_INTERNAL int raft__append_receive(raft *node, const raft_message *message);
RAFT_INTERNAL int raft__heartbeat_receive(raft *node, const raft_message *message);
RAFT_INTERNAL int raft__progress_receive(raft *node, const raft_message *message);
RAFT_INTERNAL void raft__peer_probe(struct raft__peer *peer);
RAFT_INTERNAL uint64_t raft__inflight_bytes(const raft *node, const struct raft__peer *peer);
RAFT_INTERNAL void raft__follower_send(raft *node);
RAFT_INTERNAL void raft__leader_send(raft *node);
RAFT_INTERNAL void raft__leader_commit(raft *node);

/* ---- proposal.c ----------------------------------------------------------------------------- */

/* Encoded bytes of the entries that are not committed. */
RAFT_INTERNAL uint64_t raft__uncommitted_bytes(const raft *node);

/* RAFT_OK on a leader; elsewhere why this server cannot serve what only a leader can. */
RAFT_INTERNAL int raft__must_lead(const raft *node);

/* Remembers the proposals of a leadership that ends, until their fate is known (R62). */
RAFT_INTERNAL void raft__own_remember(raft *node);

/* Judges them by what is applied. */
RAFT_INTERNAL void raft__own_settle(raft *node);

/* Gives up on all of them: the node stops. */
RAFT_INTERNAL void raft__own_give_up(raft *node);

/* Takes off the first run whose fate is known: fills the event and returns 1, or returns 0. */
RAFT_INTERNAL int raft__own_next(raft *node, raft_event *event);

/* ---- read.c --------------------------------------------------------------------------------- */

/* Whether a read waits for a round; gives the round that starts now to all that do. */
RAFT_INTERNAL int raft__reads_need_round(const raft *node);
RAFT_INTERNAL void raft__reads_join_round(raft *node, uint64_t round);

/* Refuses all reads: leadership ended. */
RAFT_INTERNAL void raft__reads_fail(raft *node);

/* Takes off the first read that has its answer: fills the event and returns 1, or returns 0. */
RAFT_INTERNAL int raft__reads_next(raft *node, raft_event *event);
RAFT_INTERNAL void raft__reads_free(raft *node);

#endif
