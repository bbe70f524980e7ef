/*
 * A host for fuzz targets, with everything that a host can have: a disk, a state machine, snapshots
 * that are taken, sent and received, and a log that is asked for what memory has given up. How it
 * behaves is a set of moods that the input changes. It crashes and comes back with what its disk
 * holds.
 *
 * It watches what the engine has promised to its host, and keeps the first breach as a sentence in
 * `fault`:
 *  - raft_check holds after every call;
 *  - no message says more than the disk holds (R1, R2);
 *  - writes join what was written before; at most RAFT_WRITES_MAX are outstanding;
 *  - entries and snapshots reach the state machine in order, and not before they are durable;
 *  - pieces of a snapshot come without a gap; only what was stored is read back;
 *  - a disk that an engine has written is one that an engine can start from.
 */
#ifndef FUZZ_HOST_H
#define FUZZ_HOST_H

#include "fuzz_input.h"

enum {
    MOOD_DISK = 1,       /* writes take time */
    MOOD_APPLY = 2,      /* so do apply and snapshot_load */
    MOOD_CHUNKS = 4,     /* so do pieces of snapshots */
    MOOD_CHUNKS_BAD = 8, /* pieces fail, or are larger than the room for them */
    MOOD_FETCH = 16,     /* entries take time to be read back */
    MOOD_FETCH_BAD = 32, /* they cannot be had, or what is given is none */
    MOOD_MEMORY = 64,    /* some allocations fail */
    MOOD_SNAPSHOTS = 128 /* a snapshot is taken when the engine asks */
};

enum { ASKED_MAX = 8 };

/* An entry as it was stored. */
typedef struct fuzz_entry {
    raft_term term;
    int kind;
    size_t size;
    const uint8_t *data;
} fuzz_entry;

/* What a run of writes adds up to. */
typedef struct fuzz_disk {
    raft_hard_state state;
    raft_index snapshot; /* that the log goes on behind */
    raft_index last;
} fuzz_disk;

typedef struct fuzz_host {
    raft *node;
    raft_options options;
    raft_callbacks callbacks;
    uint64_t now_ms;
    unsigned moods;
    const char *fault;

    lone writes; /* deep copies of every write; nothing else of it is used */
    size_t run_first;
    fuzz_disk durable;
    fuzz_disk issued;
    fuzz_entry *entries; /* issued; the entry of index i is at i - entries_base - 1 */
    raft_index entries_base;
    raft_term entries_base_term;
    size_t entries_room;

    uint8_t taken[RAFT_META_MAX]; /* metadata of the newest snapshot taken here, durable */
    size_t taken_size;
    raft_index taken_index;

    raft_index applied;
    raft_index applying; /* the end of what is outstanding; 0: nothing is */

    raft_chunk reading, writing; /* outstanding; peer 0: none */
    raft_chunk arriving;         /* the last piece that was written; peer 0: none */
    raft_fetch fetching;

    raft_message asked[ASKED_MAX]; /* the last questions sent, without what they point to */
    size_t asked_count;
    raft_message answered; /* the last answer to a piece of a snapshot */

    size_t allocations;
    size_t live_bytes;

    raft_member founders[4]; /* of the group, where this server founds it */
    raft_membership founding;
    raft_index founding_base;
} fuzz_host;

static inline void fuzz_blame(fuzz_host *h, const char *sentence)
{
    if (h->fault == NULL) {
        h->fault = sentence;
    }
}

static inline raft_status fuzz_status(const fuzz_host *h)
{
    raft_status status;
    memset(&status, 0, sizeof status);
    status.size = sizeof status;
    raft_get_status(h->node, &status);
    return status;
}

static inline void fuzz_verify(fuzz_host *h)
{
    const char *broken = raft_check(h->node);
    if (broken != NULL && fuzz_status(h).error == RAFT_OK) {
        fuzz_blame(h, broken);
    }
}

/* ---- The disk -------------------------------------------------------------------------------- */

static inline const fuzz_entry *fuzz_entry_at(const fuzz_host *h, raft_index index)
{
    return index > h->entries_base && index <= h->issued.last
               ? &h->entries[index - h->entries_base - 1]
               : NULL;
}

/* The term of what is stored at an index; 0: nothing is. */
static inline raft_term fuzz_stored_term(const fuzz_host *h, raft_index index)
{
    const fuzz_entry *entry = fuzz_entry_at(h, index);
    if (entry != NULL) {
        return entry->term;
    }
    return index == h->entries_base ? h->entries_base_term : 0;
}

static inline void fuzz_disk_add(fuzz_disk *disk, const raft_write *w)
{
    if (w->has_state) {
        disk->state = w->state;
    }
    if (w->meta != NULL) {
        disk->snapshot = w->base_index;
        disk->last = w->base_index;
    }
    if (w->truncate_from != 0 && w->truncate_from <= disk->last) {
        disk->last = w->truncate_from - 1;
    }
    for (size_t i = 0; i < w->range_count; i++) {
        disk->last += w->ranges[i].count;
    }
}

static inline void fuzz_store_entry(fuzz_host *h, raft_index index, const raft_entry *e)
{
    size_t at = (size_t)(index - h->entries_base - 1);
    if (at >= h->entries_room) {
        h->entries_room = at * 2 + 64;
        h->entries = lone_grow(h->entries, h->entries_room * sizeof *h->entries);
    }
    h->entries[at] = (fuzz_entry){e->term, e->kind, e->size, e->data};
}

/* Takes a write into the table of what is stored; its bytes are those of the deep copy. */
static inline void fuzz_store(fuzz_host *h, const raft_write *w)
{
    fuzz_disk before = h->issued;
    if (w->meta != NULL) {
        h->entries_base = w->base_index;
        h->entries_base_term = w->base_term;
        before.last = w->base_index;
    }
    if (w->truncate_from != 0 && w->truncate_from <= before.last) {
        before.last = w->truncate_from - 1;
    }
    for (size_t i = 0; i < w->range_count; i++) {
        raft_range walk = w->ranges[i];
        raft_entry entry;
        while (raft_range_next(&walk, &entry)) {
            fuzz_store_entry(h, ++before.last, &entry);
        }
    }
    fuzz_disk_add(&h->issued, w);
}

/* R4, R32: what is written joins what was written before. */
static inline void fuzz_check_write(fuzz_host *h, const raft_write *w)
{
    raft_index last = h->issued.last;
    raft_term term = fuzz_stored_term(h, last);
    const raft_hard_state *before = &h->issued.state;
    if (w->has_state &&
        (w->state.term < before->term ||
         (w->state.term == before->term && before->vote != 0 && w->state.vote != before->vote) ||
         w->state.lease_max_ms < before->lease_max_ms)) {
        fuzz_blame(h, "a write takes the term, the vote or the longest lease back (R3, R50)");
    }
    if (w->meta != NULL) {
        last = w->base_index;
        term = w->base_term;
    } else if (w->truncate_from > last) {
        fuzz_blame(h, "a write truncates above the log");
    } else if (w->truncate_from != 0) {
        last = w->truncate_from - 1;
        term = fuzz_stored_term(h, last);
    }
    for (size_t i = 0; i < w->range_count; i++) {
        const raft_range *range = &w->ranges[i];
        if (!lone_range_sound(range) || range->first != last + 1 || range->term < term) {
            fuzz_blame(h, "a range in a write does not join the log (R32)");
        }
        last += range->count;
        term = range->term;
    }
    if (term > (w->has_state ? w->state.term : before->term)) {
        fuzz_blame(h, "entries are written under a term that is not (R4)");
    }
}

static inline size_t fuzz_outstanding(const fuzz_host *h)
{
    return h->writes.write_count - h->writes.writes_done;
}

static inline void fuzz_write_done(fuzz_host *h)
{
    fuzz_disk_add(&h->durable, &h->writes.writes[h->writes.writes_done++].write);
}

static inline int fuzz_on_persist(void *host, const raft_write *w)
{
    fuzz_host *h = host;
    fuzz_check_write(h, w);
    fuzz_store(h, &lone_write_copy(&h->writes, w)->write);
    if (w->seq != h->writes.write_count - h->run_first || fuzz_outstanding(h) > RAFT_WRITES_MAX) {
        fuzz_blame(h, "writes are misnumbered, or there are too many of them");
    }
    if ((h->moods & MOOD_DISK) != 0 || fuzz_outstanding(h) > 1) {
        return RAFT_PENDING;
    }
    fuzz_write_done(h);
    return RAFT_OK;
}

/* Completes the oldest so many writes. Bytes lent are still those that were lent. */
static inline void fuzz_complete(fuzz_host *h, size_t count)
{
    const lone_write *last = NULL;
    if (!lone_lent_intact(&h->writes)) {
        fuzz_blame(h, "bytes lent to persist changed before completion");
    }
    for (; count > 0 && fuzz_outstanding(h) > 0; count--) {
        last = &h->writes.writes[h->writes.writes_done];
        fuzz_write_done(h);
    }
    if (last != NULL) {
        raft_persisted(h->node, last->write.seq, RAFT_OK);
    }
}

/* ---- The state machine ----------------------------------------------------------------------- */

static inline int fuzz_on_apply(void *host, const raft_range *range)
{
    fuzz_host *h = host;
    raft_index last = range->first + range->count - 1;
    lone_sum(range->data, range->size);
    if (!lone_range_sound(range) || range->first != h->applied + 1 || h->applying != 0) {
        fuzz_blame(h, "entries are not applied one after the other");
    }
    if (last > h->durable.last && !h->options.apply_ahead) {
        fuzz_blame(h, "entries are applied before they are durable (R5)");
    }
    h->applied = last;
    h->applying = (h->moods & MOOD_APPLY) != 0 ? last : 0;
    return h->applying != 0 ? RAFT_PENDING : RAFT_OK;
}

static inline int fuzz_on_load(void *host, raft_index index, raft_term term)
{
    fuzz_host *h = host;
    if (index <= h->applied || index != h->durable.snapshot || term == 0 || h->applying != 0) {
        fuzz_blame(h, "a snapshot is loaded that is not in use, or is older than the state (R35)");
    }
    h->applied = index;
    h->applying = (h->moods & MOOD_APPLY) != 0 ? index : 0;
    return h->applying != 0 ? RAFT_PENDING : RAFT_OK;
}

static inline void fuzz_complete_apply(fuzz_host *h)
{
    raft_index index = h->applying;
    h->applying = 0;
    if (index != 0) {
        raft_applied(h->node, index, RAFT_OK);
    }
}

/* ---- Snapshots, and a log that is read back --------------------------------------------------- */

static inline void fuzz_take_snapshot(fuzz_host *h)
{
    raft_status s = fuzz_status(h);
    size_t size;
    uint8_t meta[RAFT_META_MAX];
    if (s.applied_index <= h->taken_index || s.applied_index <= s.snapshot_index ||
        raft_snapshot_meta(h->node, meta, sizeof meta, &size) != RAFT_OK) {
        return;
    }
    memcpy(h->taken, meta, size); /* it is durable: the node is told, and a crash keeps it */
    h->taken_size = size;
    h->taken_index = s.applied_index;
    raft_compact(h->node, meta, size);
}

/* The data of a snapshot is as long as its index says, so it stays the same for every peer. */
static inline void fuzz_fill_chunk(const fuzz_host *h, raft_chunk *chunk)
{
    size_t whole = (size_t)(chunk->index * 37 % 200);
    size_t left = chunk->offset < whole ? whole - (size_t)chunk->offset : 0;
    chunk->size = left < chunk->capacity ? left : chunk->capacity;
    chunk->last = chunk->size == left;
    memset(chunk->data, 7, chunk->size);
    if ((h->moods & MOOD_CHUNKS_BAD) != 0 && chunk->offset % 3 == 0) {
        chunk->size = chunk->capacity + 1;
    }
}

static inline int fuzz_on_read(void *host, raft_chunk *chunk)
{
    fuzz_host *h = host;
    if ((h->moods & MOOD_CHUNKS) != 0 && h->reading.peer == 0) {
        h->reading = *chunk;
        return RAFT_PENDING;
    }
    if ((h->moods & (MOOD_CHUNKS | MOOD_CHUNKS_BAD)) != 0 && chunk->index % 2 == 0) {
        return RAFT_EBUSY;
    }
    fuzz_fill_chunk(h, chunk);
    return RAFT_OK;
}

static inline void fuzz_complete_read(fuzz_host *h)
{
    raft_chunk chunk = h->reading;
    if (chunk.peer != 0) {
        h->reading.peer = 0;
        fuzz_fill_chunk(h, &chunk);
        raft_chunk_read(h->node, &chunk, chunk.index % 5 == 0 ? RAFT_EBUSY : RAFT_OK);
    }
}

static inline int fuzz_on_write(void *host, const raft_chunk *chunk)
{
    fuzz_host *h = host;
    const raft_chunk *before = &h->arriving;
    raft_index index;
    raft_term term;
    if (chunk->offset == 0 && (raft_meta_read(chunk->meta, chunk->meta_size, &index, &term) < 0 ||
                               index != chunk->index || term != chunk->term)) {
        fuzz_blame(h, "a snapshot arrives whose metadata is not its own (R36)");
    }
    if (chunk->offset != 0 &&
        (before->peer == 0 || before->index != chunk->index || before->term != chunk->term ||
         before->offset + before->size != chunk->offset)) {
        fuzz_blame(h, "pieces of a snapshot arrive with a gap (R39)");
    }
    if (h->writing.peer != 0) {
        fuzz_blame(h, "a piece arrives while another is outstanding");
    }
    lone_sum(chunk->data, chunk->size);
    h->arriving = *chunk;
    if ((h->moods & MOOD_CHUNKS_BAD) != 0 && chunk->size % 2 != 0) {
        return RAFT_EBUSY;
    }
    if ((h->moods & MOOD_CHUNKS) != 0) {
        h->writing = *chunk;
        return RAFT_PENDING;
    }
    return RAFT_OK;
}

static inline void fuzz_complete_write(fuzz_host *h)
{
    raft_chunk chunk = h->writing;
    if (chunk.peer != 0) {
        lone_sum(chunk.data, chunk.size); /* lent until now */
        h->writing.peer = 0;
        raft_chunk_written(h->node, chunk.index % 7 == 0 ? RAFT_EBUSY : RAFT_OK);
    }
}

/* Entries of one term from the first on, as many as fit. */
static inline int fuzz_fill_fetch(const fuzz_host *h, raft_fetch *fetch)
{
    uint8_t *out = fetch->data;
    memset(out, 0xa5, fetch->capacity); /* what is claimed beyond what was written is something */
    fetch->count = 0;
    fetch->size = 0;
    for (raft_index i = fetch->first; i <= fetch->last; i++) {
        const fuzz_entry *stored = fuzz_entry_at(h, i);
        if (stored == NULL || stored->term != fetch->term) {
            return RAFT_EBUSY;
        }
        raft_entry entry = {i, stored->term, stored->data, stored->size, stored->kind};
        size_t size = raft_entry_size(entry.size);
        if (size > fetch->capacity - fetch->size) {
            fetch->size = fetch->count == 0 ? size : fetch->size;
            return fetch->count == 0 ? RAFT_ESIZE : RAFT_OK;
        }
        raft_entry_encode(&entry, out + fetch->size, size);
        fetch->size += size;
        fetch->count++;
    }
    return RAFT_OK;
}

/* What no host should give: too many, too large, or cut. */
static inline int fuzz_spoil_fetch(raft_fetch *fetch)
{
    switch (fetch->first % 5) {
    case 0:
        fetch->count++;
        return RAFT_OK;
    case 1:
        fetch->size += 8;
        return RAFT_OK;
    case 2:
        fetch->size = fetch->capacity + 64; /* and so on, but not for ever */
        return fetch->size < 4096 ? RAFT_ESIZE : RAFT_EBUSY;
    case 3:
        if (fetch->size >= RAFT_ENTRY_HEADER && fetch->size <= fetch->capacity) {
            ((uint8_t *)fetch->data)[4] = 9; /* a kind that is none */
        }
        return RAFT_OK;
    default:
        return RAFT_EBUSY;
    }
}

static inline int fuzz_answer_fetch(const fuzz_host *h, raft_fetch *fetch)
{
    int result = fuzz_fill_fetch(h, fetch);
    return (h->moods & MOOD_FETCH_BAD) != 0 ? fuzz_spoil_fetch(fetch) : result;
}

static inline int fuzz_on_fetch(void *host, raft_fetch *fetch)
{
    fuzz_host *h = host;
    const fuzz_entry *first = fuzz_entry_at(h, fetch->first);
    if (first == NULL || first->term != fetch->term || fetch->last < fetch->first) {
        fuzz_blame(h, "the log is asked for what was never stored so");
    }
    if ((h->moods & MOOD_FETCH) != 0 && h->fetching.peer == 0) {
        h->fetching = *fetch;
        return RAFT_PENDING;
    }
    return fuzz_answer_fetch(h, fetch);
}

static inline void fuzz_complete_fetch(fuzz_host *h)
{
    raft_fetch fetch = h->fetching;
    if (fetch.peer != 0) {
        h->fetching.peer = 0;
        int result = fuzz_answer_fetch(h, &fetch);
        raft_log_read(h->node, &fetch, result);
    }
}

/* ---- The network, events, memory ------------------------------------------------------------- */

/* What a message promises is on the disk already (R1, R2, V3, V11). */
static inline void fuzz_check_sent(fuzz_host *h, const raft_message *m)
{
    const fuzz_disk *disk = &h->durable;
    int yes = m->kind == RAFT_MESSAGE_VOTE || (m->kind == RAFT_MESSAGE_VOTE_REPLY && !m->refused);
    raft_id vote = m->kind == RAFT_MESSAGE_VOTE ? m->from : m->to;
    if (m->term > disk->state.term) {
        fuzz_blame(h, "a message carries a term that is not durable (V3)");
    }
    if (yes && (disk->state.term != m->term || disk->state.vote != vote)) {
        fuzz_blame(h, "a vote leaves before it is durable (R1, R2)");
    }
    if (m->kind == RAFT_MESSAGE_APPEND_REPLY && !m->refused && m->index > disk->last &&
        m->index > h->taken_index) {
        fuzz_blame(h, "entries are acknowledged before they are durable (R1)");
    }
}

static inline void fuzz_on_send(void *host, const raft_message *m)
{
    fuzz_host *h = host;
    raft_message decoded;
    size_t size = raft_message_size(m);
    uint8_t *bytes = lone_grow(NULL, size);
    if (raft_encode(m, bytes, size) != size || raft_decode(bytes, size, &decoded) != RAFT_OK) {
        fuzz_blame(h, "a message that was sent does not survive its own encoding");
    }
    free(bytes);
    fuzz_check_sent(h, m);
    if (m->kind == RAFT_MESSAGE_SNAPSHOT_REPLY) {
        h->answered = *m;
    } else if (m->kind == RAFT_MESSAGE_PRE_VOTE || m->kind == RAFT_MESSAGE_VOTE ||
               m->kind == RAFT_MESSAGE_APPEND || m->kind == RAFT_MESSAGE_HEARTBEAT ||
               m->kind == RAFT_MESSAGE_SNAPSHOT || m->kind == RAFT_MESSAGE_PULL) {
        h->asked[h->asked_count++ % ASKED_MAX] = *m;
    }
}

static inline void fuzz_on_notify(void *host, const raft_event *event)
{
    fuzz_host *h = host;
    if (event->kind == RAFT_EVENT_SNAPSHOT_WANTED && (h->moods & MOOD_SNAPSHOTS) != 0) {
        fuzz_take_snapshot(h);
    } else if (event->kind == RAFT_EVENT_SNAPSHOT_END && event->peer == h->arriving.peer) {
        h->arriving.peer = 0;
    }
}

static inline void *fuzz_on_alloc(void *host, void *p, size_t old_size, size_t new_size)
{
    fuzz_host *h = host;
    if (new_size != 0 && (h->moods & MOOD_MEMORY) != 0 && ++h->allocations % 5 == 0) {
        return NULL;
    }
    h->live_bytes += new_size - old_size;
    uint8_t *fresh = new_size != 0 ? lone_grow(NULL, new_size) : NULL;
    if (fresh != NULL && p != NULL) {
        memcpy(fresh, p, old_size < new_size ? old_size : new_size);
    }
    if (p != NULL) {
        lone_scrub(p, 0x5a, old_size);
    }
    free(p);
    return fresh;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static inline void fuzz_host_begin(fuzz_host *h)
{
    memset(h, 0, sizeof *h);
    raft_options_init(&h->options);
    h->options.id = LONE_ID;
    h->options.election_timeout_ms = 100;
    raft_callbacks_init(&h->callbacks);
    h->callbacks.persist = fuzz_on_persist;
    h->callbacks.send = fuzz_on_send;
    h->callbacks.apply = fuzz_on_apply;
    h->callbacks.notify = fuzz_on_notify;
    h->callbacks.alloc = fuzz_on_alloc;
    h->callbacks.read_log = fuzz_on_fetch;
    h->callbacks.snapshot_read = fuzz_on_read;
    h->callbacks.snapshot_write = fuzz_on_write;
    h->callbacks.snapshot_load = fuzz_on_load;
    h->now_ms = 1000;
}

static inline int fuzz_host_new(fuzz_host *h)
{
    h->run_first = h->writes.write_count;
    h->applied = 0;
    h->applying = 0;
    h->reading.peer = 0;
    h->writing.peer = 0;
    h->arriving.peer = 0;
    h->fetching.peer = 0;
    return raft_new(&h->options, &h->callbacks, h, &h->node);
}

static inline int fuzz_host_found(fuzz_host *h)
{
    h->applied = h->founding_base;
    return raft_bootstrap_at(h->node, &h->founding, h->founding_base);
}

/* The disk as it was left, write by write, then the newest snapshot, if one was taken since. */
static inline int fuzz_host_restore(fuzz_host *h)
{
    int result = RAFT_OK;
    memset(&h->issued, 0, sizeof h->issued);
    h->entries_base = 0;
    h->entries_base_term = 0;
    for (size_t i = 0; i < h->writes.write_count && result == RAFT_OK; i++) {
        fuzz_store(h, &h->writes.writes[i].write);
        result = raft_restore(h->node, &h->writes.writes[i].write);
    }
    h->applied = h->durable.snapshot;
    if (result == RAFT_OK && h->taken_index > h->durable.snapshot) {
        raft_write newest;
        memset(&newest, 0, sizeof newest);
        newest.meta = h->taken;
        newest.meta_size = h->taken_size;
        h->applied = h->taken_index;
        result = raft_restore(h->node, &newest);
    }
    if (h->writes.write_count == 0 && h->founding.member_count > 0) {
        result = fuzz_host_found(h);
    }
    return result == RAFT_OK ? raft_start(h->node, h->now_ms) : result;
}

/*
 * The process ends, and another one starts. Of the writes that were outstanding so many reached the
 * disk. A node that had stopped itself may find that it cannot go on; then this one ends as well.
 */
static inline int fuzz_host_restart(fuzz_host *h, size_t reached)
{
    int was_sound = fuzz_status(h).error == RAFT_OK;
    raft_free(h->node);
    h->node = NULL;
    while (reached-- > 0 && fuzz_outstanding(h) > 0) {
        fuzz_write_done(h);
    }
    while (fuzz_outstanding(h) > 0) {
        lone_write_release(&h->writes.writes[--h->writes.write_count]);
    }
    h->moods &= ~(unsigned)MOOD_MEMORY;
    if (fuzz_host_new(h) != RAFT_OK || fuzz_host_restore(h) != RAFT_OK) {
        if (was_sound) {
            fuzz_blame(h, "a node does not start from what it stored itself");
        }
        return 0;
    }
    return 1;
}

/* By a breach of what the engine promises the target fails. */
static inline void fuzz_host_end(fuzz_host *h)
{
    raft_free(h->node);
    if (h->live_bytes != 0) {
        fuzz_blame(h, "memory was not given back");
    }
    for (size_t i = 0; i < h->writes.write_count; i++) {
        lone_write_release(&h->writes.writes[i]);
    }
    free(h->writes.writes);
    free(h->entries);
    if (h->fault != NULL) {
        fprintf(stderr, "%s\n", h->fault);
        abort();
    }
}

#endif
