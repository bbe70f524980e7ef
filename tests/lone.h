/*
 * One node under test. Its peers, its disk and its state machine are played by the test, so that
 * every message, write and completion can be chosen, delayed, lost or forged one at a time.
 *
 * The harness watches what no test should have to repeat, and keeps the first breach as a sentence
 * in `fault`, which the test asserts to be null at its end (lone_close returns it):
 *  - raft_check holds after every poll and completion;
 *  - no message says more than the disk holds (R1, R2, V3, V11);
 *  - bytes lent to persist and to apply stay as they were until completed;
 *  - writes have consecutive numbers, join the log that was written before, never exceed
 *    RAFT_WRITES_MAX outstanding; entries are applied in order, without a gap.
 *
 * The disk is the list of writes. A write is durable once `done`; a crash loses those that are not.
 * All functions are static inline so that a test program needs nothing but this header.
 */
#ifndef LONE_H
#define LONE_H

#include "../raft.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONE_ID 1u

/* Of the nodes that are made from now on; see cluster.h. */
extern int cluster_protocol;

/* An entry of a log as seen from outside: what the writes add up to. */
typedef struct lone_entry {
    raft_term term;
    int kind;
    size_t size;
    const uint8_t *data;
} lone_entry;

typedef struct lone_log {
    lone_entry *at; /* at[0] is unused: index 1 is the first */
    raft_index last;
    size_t room;
    raft_hard_state state;
    const void *meta;
    size_t meta_size;
} lone_log;

typedef struct lone_write {
    raft_write write; /* a deep copy: ranges and bytes below are ours */
    raft_range *ranges;
    uint8_t *bytes;
    uint8_t *meta;
    const void **lent; /* the engine's own pointers, one per range */
    int done;
} lone_write;

typedef struct lone_sent {
    raft_message message;
    uint8_t *bytes;
    size_t size;
    size_t ranges_given; /* before the copy joined them */
} lone_sent;

typedef struct lone {
    raft *node;
    int started;
    raft_options options;
    raft_callbacks callbacks;
    uint64_t now_ms;
    size_t members;
    uint32_t lease_ms; /* of the founding membership, with the drift bound; 0: no leases */
    uint32_t lease_drift_permille;
    const char *fault;

    /* The disk. */
    lone_write *writes;
    size_t write_count;
    size_t write_room;
    size_t writes_done;
    size_t run_first;   /* the first write of the present run of the node */
    int persist_result; /* what persist answers */

    /* The network. */
    lone_sent *sent;
    size_t sent_count;
    size_t sent_room;

    /* The state machine. */
    lone_entry *applied; /* of this run; applied[0] unused; data points into the next */
    uint8_t **applied_bytes;
    raft_index applied_high; /* the most ever applied in any run */
    size_t applied_room;
    raft_index applied_last;
    int apply_result;
    raft_index apply_pending; /* last index of the range that is outstanding, or 0 */
    const void *apply_lent;
    size_t apply_lent_size;
    uint64_t apply_sum;
    size_t apply_calls;
    size_t apply_largest; /* most bytes in one call */

    /* Events. */
    raft_event *events;
    size_t event_count;
    size_t event_room;

    /* Memory. */
    long fail_after; /* allocations that still succeed; below 0: all do */
    int fail_once;
    size_t live_bytes;
    size_t allocations;

    /* Called from inside the callbacks, after the harness has done its part. */
    void (*on_send)(struct lone *l, const raft_message *message);
    void (*on_apply)(struct lone *l);
} lone;

/* ---- Small helpers -------------------------------------------------------------------------- */

static inline void *lone_grow(void *p, size_t size)
{
    void *grown = realloc(p, size ? size : 1);
    if (!grown) {
        fprintf(stderr, "out of memory in the test itself\n");
        exit(2);
    }
    return grown;
}

static inline void lone_blame(lone *l, const char *sentence)
{
    if (!l->fault) {
        l->fault = sentence;
    }
}

static inline uint64_t lone_sum(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < size; i++) {
        h = (h ^ p[i]) * 1099511628211u;
    }
    return h;
}

/* The payload that tests give to the entry at index with term: tells one from another. */
static inline size_t lone_payload(raft_term term, raft_index index, char out[48])
{
    int n = snprintf(out, 48, "t%llu.i%llu", (unsigned long long)term, (unsigned long long)index);
    return (size_t)n;
}

/* ---- Batches of encoded entries ------------------------------------------------------------- */

typedef struct lone_batch {
    uint8_t *data;
    size_t size;
    size_t count;
    raft_index first;
    raft_term term;
} lone_batch;

/* The room of a batch is the power of two that holds its size, so that it grows rarely. */
static inline size_t lone_batch_room(size_t size)
{
    size_t room = size ? 64 : 0;
    while (room < size) {
        room *= 2;
    }
    return room;
}

static inline void lone_batch_add(lone_batch *b, const void *payload, size_t size, int kind)
{
    raft_entry entry = {0, 0, payload, size, kind};
    size_t need = raft_entry_size(size);
    if (lone_batch_room(b->size + need) != lone_batch_room(b->size)) {
        b->data = lone_grow(b->data, lone_batch_room(b->size + need));
    }
    if (raft_entry_encode(&entry, b->data + b->size, need) != RAFT_OK) {
        fprintf(stderr, "raft_entry_encode refused a test's entry\n");
        exit(2);
    }
    b->size += need;
    b->count++;
}

/* count entries from first on with the standard payload. */
static inline lone_batch lone_batch_make(raft_term term, raft_index first, size_t count)
{
    lone_batch b = {NULL, 0, 0, first, term};
    for (size_t i = 0; i < count; i++) {
        char text[48];
        size_t n = lone_payload(term, first + i, text);
        lone_batch_add(&b, text, n, RAFT_ENTRY_DATA);
    }
    return b;
}

static inline raft_range lone_batch_range(const lone_batch *b)
{
    raft_range range = {b->first, b->term, b->count, b->size, b->data};
    return range;
}

/* ---- The log that a list of writes adds up to ----------------------------------------------- */

static inline void lone_log_push(lone_log *log, lone_entry entry)
{
    if (log->last + 2 > log->room) {
        log->room = log->room ? log->room * 2 : 64;
        log->at = lone_grow(log->at, log->room * sizeof *log->at);
    }
    log->at[++log->last] = entry;
}

static inline void lone_log_write(lone_log *log, const raft_write *w)
{
    if (w->has_state) {
        log->state = w->state;
    }
    if (w->meta) {
        log->meta = w->meta;
        log->meta_size = w->meta_size;
    }
    if (w->truncate_from && w->truncate_from <= log->last) {
        log->last = w->truncate_from - 1;
    }
    for (size_t i = 0; i < w->range_count; i++) {
        raft_range walk = w->ranges[i];
        raft_entry e;
        while (raft_range_next(&walk, &e)) {
            lone_entry entry = {e.term, e.kind, e.size, e.data};
            lone_log_push(log, entry);
        }
    }
}

/* What the first `count` writes add up to. Free with lone_log_free. */
static inline lone_log lone_log_of(const lone *l, size_t count)
{
    lone_log log;
    memset(&log, 0, sizeof log);
    for (size_t i = 0; i < count; i++) {
        lone_log_write(&log, &l->writes[i].write);
    }
    return log;
}

static inline lone_log lone_durable(const lone *l)
{
    return lone_log_of(l, l->writes_done);
}

static inline lone_log lone_issued(const lone *l)
{
    return lone_log_of(l, l->write_count);
}

static inline void lone_log_free(lone_log *log)
{
    free(log->at);
    log->at = NULL;
}

/* ---- What a script has to know of the protocol ----------------------------------------------- */

static inline int lone_in_multipaxos(void)
{
    return cluster_protocol == RAFT_PROTOCOL_MULTIPAXOS;
}

/*
 * The n-th term of a script, one that this founder may lead or campaign in. Raft counts terms, and
 * anyone may win them; in Multi-Paxos rounds are counted, and the low bits are the slot of the
 * term's owner, which for a founder is its id here (P1).
 */
static inline raft_term lone_term(raft_id owner, raft_term n)
{
    return lone_in_multipaxos() && n != 0 ? n << 16 | owner : n;
}

/* The owner's first term above another, as its next campaign would choose it. */
static inline raft_term lone_next_term(raft_id owner, raft_term term)
{
    return lone_in_multipaxos() ? lone_term(owner, (term >> 16) + 1) : term + 1;
}

/* How many entries a leader begins its term with: the no-op of Raft (R17), in Multi-Paxos none. */
static inline raft_index lone_noops(void)
{
    return lone_in_multipaxos() ? 0 : 1;
}

/* ---- Status --------------------------------------------------------------------------------- */

static inline raft_status lone_status(const lone *l)
{
    raft_status status;
    memset(&status, 0, sizeof status);
    status.size = sizeof status;
    raft_get_status(l->node, &status);
    return status;
}

static inline raft_peer_status lone_peer(const lone *l, raft_id id)
{
    raft_peer_status peer;
    for (size_t i = 0; raft_get_peer(l->node, i, &peer) == RAFT_OK; i++) {
        if (peer.id == id) {
            return peer;
        }
    }
    memset(&peer, 0, sizeof peer);
    return peer;
}

static inline void lone_verify(lone *l)
{
    const char *broken = l->started ? raft_check(l->node) : NULL;
    if (broken) {
        lone_blame(l, broken);
    }
}

/* ---- Callbacks ------------------------------------------------------------------------------ */

static inline lone_write *lone_write_copy(lone *l, const raft_write *w)
{
    if (l->write_count == l->write_room) {
        l->write_room = l->write_room ? l->write_room * 2 : 64;
        l->writes = lone_grow(l->writes, l->write_room * sizeof *l->writes);
    }
    lone_write *copy = &l->writes[l->write_count++];
    memset(copy, 0, sizeof *copy);
    copy->write = *w;
    size_t total = 0;
    for (size_t i = 0; i < w->range_count; i++) {
        total += w->ranges[i].size;
    }
    copy->bytes = lone_grow(NULL, total);
    copy->ranges = lone_grow(NULL, w->range_count * sizeof *copy->ranges);
    copy->lent = lone_grow(NULL, w->range_count * sizeof *copy->lent);
    size_t at = 0;
    for (size_t i = 0; i < w->range_count; i++) {
        memcpy(copy->bytes + at, w->ranges[i].data, w->ranges[i].size);
        copy->ranges[i] = w->ranges[i];
        copy->ranges[i].data = copy->bytes + at;
        copy->lent[i] = w->ranges[i].data;
        at += w->ranges[i].size;
    }
    copy->write.ranges = copy->ranges;
    if (w->meta) {
        copy->meta = lone_grow(NULL, w->meta_size);
        memcpy(copy->meta, w->meta, w->meta_size);
        copy->write.meta = copy->meta;
    }
    return copy;
}

static inline void lone_write_release(lone_write *w)
{
    free(w->bytes);
    free(w->ranges);
    free(w->lent);
    free(w->meta);
}

/* A range is what it says: first and count agree with the bytes, every byte belongs to an entry. */
static inline int lone_range_sound(const raft_range *range)
{
    raft_range walk = *range;
    raft_entry entry;
    size_t size = 0;
    size_t count = 0;
    while (raft_range_next(&walk, &entry)) {
        if (entry.index != range->first + count || entry.term != range->term) {
            return 0;
        }
        size += raft_entry_size(entry.size);
        count++;
    }
    return count > 0 && count == range->count && size == range->size;
}

static inline void lone_check_write(lone *l, const raft_write *w)
{
    lone_log before = lone_issued(l);
    raft_index last = before.last;
    raft_term term = last ? before.at[last].term : 0;
    if (w->seq != l->write_count - l->run_first + 1) {
        lone_blame(l, "writes are not numbered from 1 without a gap");
    }
    if (w->has_state && w->state.term < before.state.term) {
        lone_blame(l, "a write takes the term back");
    }
    if (w->has_state && w->state.term == before.state.term && before.state.vote &&
        w->state.vote != before.state.vote) {
        lone_blame(l, "a write changes the vote within a term");
    }
    if (w->truncate_from) {
        if (w->truncate_from > last) {
            lone_blame(l, "a write truncates above the log");
        } else {
            last = w->truncate_from - 1;
            term = last ? before.at[last].term : 0;
        }
    }
    for (size_t i = 0; i < w->range_count; i++) {
        if (!lone_range_sound(&w->ranges[i])) {
            lone_blame(l, "a range in a write does not add up");
        }
        if (w->ranges[i].first != last + 1 || w->ranges[i].term < term) {
            lone_blame(l, "a range in a write does not join the log");
        }
        last = w->ranges[i].first + w->ranges[i].count - 1;
        term = w->ranges[i].term;
    }
    raft_term hard = w->has_state ? w->state.term : before.state.term;
    if (term > hard) {
        lone_blame(l, "entries are written under a term that is not (R4)");
    }
    lone_log_free(&before);
}

static inline int lone_on_persist(void *host, const raft_write *w)
{
    lone *l = host;
    lone_check_write(l, w);
    lone_write *copy = lone_write_copy(l, w);
    if (l->write_count - l->writes_done > RAFT_WRITES_MAX) {
        lone_blame(l, "more writes outstanding than RAFT_WRITES_MAX");
    }
    if (l->persist_result == RAFT_OK) {
        if (l->writes_done != l->write_count - 1) {
            lone_blame(l, "the test completed a write before an earlier one");
        }
        copy->done = 1;
        l->writes_done = l->write_count;
    }
    return l->persist_result;
}

/* What a message of this kind promises must be on the disk already (R1, R2, V3, V11). */
static inline void lone_check_durable(lone *l, const raft_message *m)
{
    lone_log disk = lone_durable(l);
    if (m->term > disk.state.term && m->kind != RAFT_MESSAGE_PRE_VOTE) {
        lone_blame(l, "a message carries a term that is not durable (V3)");
    }
    if (m->kind == RAFT_MESSAGE_VOTE) {
        if (disk.state.vote != LONE_ID || disk.state.term != m->term) {
            lone_blame(l, "a vote request left before the own vote was durable (R2)");
        }
        if (m->index > disk.last || (m->index && disk.at[m->index].term != m->index_term)) {
            lone_blame(l, "a vote request advertises entries that are not durable (R2)");
        }
    }
    if (m->kind == RAFT_MESSAGE_VOTE_REPLY && !m->refused) {
        if (disk.state.vote != m->to || disk.state.term != m->term) {
            lone_blame(l, "a vote was granted before it was durable (R1)");
        }
    }
    if (m->kind == RAFT_MESSAGE_APPEND_REPLY && !m->refused) {
        if (m->index > disk.last) {
            lone_blame(l, "entries were acknowledged before they were durable (R1)");
        }
        if ((m->flags & RAFT_FLAG_ACCEPTED) != 0 && disk.state.accepted_round != m->term) {
            lone_blame(l, "a round was called accepted before that was durable (P6)");
        }
    }
    lone_log_free(&disk);
}

static inline void lone_on_send(void *host, const raft_message *m)
{
    lone *l = host;
    size_t size = raft_message_size(m);
    if (l->sent_count == l->sent_room) {
        l->sent_room = l->sent_room ? l->sent_room * 2 : 64;
        l->sent = lone_grow(l->sent, l->sent_room * sizeof *l->sent);
    }
    lone_sent *sent = &l->sent[l->sent_count++];
    memset(sent, 0, sizeof *sent);
    sent->bytes = lone_grow(NULL, size);
    sent->size = size;
    sent->ranges_given = m->range_count;
    if (raft_encode(m, sent->bytes, size) != size ||
        raft_decode(sent->bytes, size, &sent->message) != RAFT_OK) {
        lone_blame(l, "a message that was sent does not survive its own encoding");
    }
    if (m->from != LONE_ID || m->to == LONE_ID || m->to == 0) {
        lone_blame(l, "a message is wrongly addressed");
    }
    lone_check_durable(l, m);
    if (l->on_send) {
        l->on_send(l, m);
    }
}

static inline int lone_on_apply(void *host, const raft_range *range)
{
    lone *l = host;
    raft_range walk = *range;
    raft_entry entry;
    if (l->apply_pending) {
        lone_blame(l, "apply was called while another was outstanding");
    }
    if (!lone_range_sound(range)) {
        lone_blame(l, "a range to apply does not add up");
    }
    l->apply_calls++;
    l->apply_largest = range->size > l->apply_largest ? range->size : l->apply_largest;
    if (l->apply_result < 0) {
        return l->apply_result;
    }
    while (raft_range_next(&walk, &entry)) {
        if (entry.index != l->applied_last + 1) {
            lone_blame(l, "entries are applied out of order");
        }
        l->applied_last = entry.index;
        if (l->applied_last + 1 > l->applied_room) {
            l->applied_room = (size_t)l->applied_last * 2 + 64;
            l->applied = lone_grow(l->applied, l->applied_room * sizeof *l->applied);
            l->applied_bytes =
                lone_grow(l->applied_bytes, l->applied_room * sizeof *l->applied_bytes);
        }
        uint8_t *copy = lone_grow(
            entry.index > l->applied_high ? NULL : l->applied_bytes[entry.index], entry.size);
        if (entry.size) {
            memcpy(copy, entry.data, entry.size);
        }
        l->applied_bytes[entry.index] = copy;
        l->applied_high = entry.index > l->applied_high ? entry.index : l->applied_high;
        lone_entry kept = {entry.term, entry.kind, entry.size, copy};
        l->applied[l->applied_last] = kept;
    }
    if (l->apply_result == RAFT_PENDING) {
        l->apply_pending = l->applied_last;
        l->apply_lent = range->data;
        l->apply_lent_size = range->size;
        l->apply_sum = lone_sum(range->data, range->size);
    }
    if (l->on_apply) {
        l->on_apply(l);
    }
    return l->apply_result;
}

static inline void lone_on_notify(void *host, const raft_event *event)
{
    lone *l = host;
    if (l->event_count == l->event_room) {
        l->event_room = l->event_room ? l->event_room * 2 : 16;
        l->events = lone_grow(l->events, l->event_room * sizeof *l->events);
    }
    l->events[l->event_count++] = *event;
}

/* Through a pointer that the compiler cannot see through: what is freed next is overwritten too. */
static void *(*volatile const lone_scrub)(void *, int, size_t) = memset;

/* An allocator that counts, checks the sizes it is told, and fails where the test wants. */
static inline void *lone_on_alloc(void *host, void *p, size_t old_size, size_t new_size)
{
    lone *l = host;
    uint8_t *block = p ? (uint8_t *)p - 16 : NULL;
    if (block) {
        size_t kept;
        memcpy(&kept, block, sizeof kept);
        if (kept != old_size) {
            lone_blame(l, "the allocator is told a wrong old size");
        }
    } else if (old_size) {
        lone_blame(l, "the allocator is told a wrong old size");
    }
    if (new_size == 0) {
        l->live_bytes -= old_size;
        if (block) {
            lone_scrub(block, 0x5a, old_size + 16);
        }
        free(block);
        return NULL;
    }
    l->allocations++;
    if (l->fail_after == 0) {
        if (l->fail_once) {
            l->fail_after = -1;
        }
        return NULL;
    }
    if (l->fail_after > 0) {
        l->fail_after--;
    }
    uint8_t *fresh = lone_grow(NULL, new_size + 16);
    memset(fresh + 16, 0xa5, new_size);
    if (block) {
        memcpy(fresh + 16, p, old_size < new_size ? old_size : new_size);
        lone_scrub(block, 0x5a, old_size + 16);
        free(block);
    }
    memcpy(fresh, &new_size, sizeof new_size);
    l->live_bytes += new_size - old_size;
    return fresh + 16;
}

/* ---- Life ----------------------------------------------------------------------------------- */

/* Defaults: id 1 of three members, T = 1000 ms. The test may change options before lone_boot. */
static inline void lone_init(lone *l)
{
    memset(l, 0, sizeof *l);
    raft_options_init(&l->options);
    l->options.protocol = cluster_protocol;
    l->options.id = LONE_ID;
    l->options.seed = 7;
    l->options.election_timeout_ms = 1000;
    l->options.heartbeat_ms = 100;
    l->options.disk_timeout_ms = 4000;
    raft_callbacks_init(&l->callbacks);
    l->callbacks.persist = lone_on_persist;
    l->callbacks.send = lone_on_send;
    l->callbacks.apply = lone_on_apply;
    l->callbacks.notify = lone_on_notify;
    l->callbacks.alloc = lone_on_alloc;
    l->members = 3;
    l->now_ms = 1000;
    l->fail_after = -1;
}

static inline int lone_poll(lone *l)
{
    int rc = raft_poll(l->node, l->now_ms);
    lone_verify(l);
    return rc;
}

static inline int lone_wait(lone *l, uint64_t ms)
{
    l->now_ms += ms;
    return lone_poll(l);
}

static inline int lone_new(lone *l)
{
    l->run_first = l->write_count;
    l->applied_last = 0;
    l->apply_pending = 0;
    l->started = 0;
    return raft_new(&l->options, &l->callbacks, l, &l->node);
}

static inline int lone_start(lone *l)
{
    int rc = raft_start(l->node, l->now_ms);
    l->started |= rc == RAFT_OK;
    return rc;
}

static inline int lone_bootstrap(lone *l)
{
    raft_member members[RAFT_MEMBERS_MAX];
    memset(members, 0, sizeof members);
    for (size_t i = 0; i < l->members; i++) {
        members[i].id = i + 1;
    }
    if (l->lease_ms != 0) {
        raft_membership membership;
        raft_membership_init(&membership);
        membership.members = members;
        membership.member_count = l->members;
        membership.lease_ms = l->lease_ms;
        membership.lease_drift_permille = l->lease_drift_permille;
        return raft_bootstrap_at(l->node, &membership, 0);
    }
    return raft_bootstrap(l->node, members, l->members);
}

/* A fresh founder, started. */
static inline void lone_boot(lone *l)
{
    if (lone_new(l) != RAFT_OK || lone_bootstrap(l) != RAFT_OK || lone_start(l) != RAFT_OK ||
        lone_poll(l) != RAFT_OK) {
        lone_blame(l, "a fresh node does not start");
    }
}

/*
 * Gives the disk a founding record and a log with these terms, one entry each, as an earlier run
 * would have left it; hard.term is at least the last of them, which in Multi-Paxos is the round that
 * was accepted last. Follow with lone_restart.
 */
static inline void lone_seed(lone *l, const raft_term *terms, size_t count, raft_term term,
                             raft_id vote)
{
    lone scratch;
    lone_init(&scratch);
    scratch.members = l->members;
    scratch.lease_ms = l->lease_ms;
    scratch.lease_drift_permille = l->lease_drift_permille;
    scratch.persist_result = RAFT_OK;
    lone_boot(&scratch);
    raft_campaign(scratch.node);
    scratch.now_ms += 1;
    lone_poll(&scratch);
    for (uint64_t i = 0; i < 100 && scratch.write_count == 0; i++) {
        lone_wait(&scratch, 1000);
    }
    raft_free(scratch.node);
    raft_range ranges[256];
    lone_batch batches[256];
    size_t runs = 0;
    for (size_t i = 0; i < count && runs < 256;) {
        size_t n = 1;
        while (i + n < count && terms[i + n] == terms[i]) {
            n++;
        }
        batches[runs] = lone_batch_make(terms[i], i + 1, n);
        ranges[runs] = lone_batch_range(&batches[runs]);
        runs++;
        i += n;
    }
    lone_log founded = lone_issued(&scratch);
    raft_write w;
    memset(&w, 0, sizeof w);
    w.seq = 1;
    w.has_state = 1;
    w.state.term = term;
    w.state.vote = vote;
    w.state.lease_max_ms = founded.state.lease_max_ms;
    w.state.accepted_round = lone_in_multipaxos() && count ? terms[count - 1] : 0; /* P6 */
    w.meta = founded.meta;
    w.meta_size = founded.meta_size;
    w.ranges = ranges;
    w.range_count = runs;
    if (!w.meta) {
        lone_blame(l, "the first write of a founder carries no meta");
    }
    lone_write_copy(l, &w)->done = 1;
    l->writes_done = l->write_count;
    for (size_t i = 0; i < runs; i++) {
        free(batches[i].data);
    }
    lone_log_free(&founded);
    for (size_t i = 0; i < scratch.write_count; i++) {
        lone_write_release(&scratch.writes[i]);
    }
    for (size_t i = 0; i < scratch.sent_count; i++) {
        free(scratch.sent[i].bytes);
    }
    free(scratch.writes);
    free(scratch.sent);
    free(scratch.events);
}

/* The same with terms that are counted, and all led by one server; see lone_term. */
static inline void lone_seed_by(lone *l, raft_id leader, const raft_term *numbers, size_t count,
                                raft_term term, raft_id vote)
{
    raft_term *terms = lone_grow(NULL, count * sizeof *terms);
    for (size_t i = 0; i < count; i++) {
        terms[i] = lone_term(leader, numbers[i]);
    }
    lone_seed(l, terms, count, lone_term(leader, term), vote);
    free(terms);
}

/* A list of terms, for what takes one. */
#define TERMS(...) ((const raft_term[]){__VA_ARGS__})

/* Restores every durable write, one by one, and starts. */
static inline int lone_restart(lone *l)
{
    int rc = lone_new(l);
    for (size_t i = 0; rc == RAFT_OK && i < l->writes_done; i++) {
        rc = raft_restore(l->node, &l->writes[i].write);
    }
    if (rc == RAFT_OK) {
        rc = lone_start(l);
    }
    return rc == RAFT_OK ? lone_poll(l) : rc;
}

/* Power off: what was not done is lost. lone_restart brings the node back. */
static inline void lone_crash(lone *l)
{
    raft_free(l->node);
    l->node = NULL;
    while (l->write_count > l->writes_done) {
        lone_write_release(&l->writes[--l->write_count]);
    }
}

static inline void lone_clear(lone *l)
{
    for (size_t i = 0; i < l->sent_count; i++) {
        free(l->sent[i].bytes);
    }
    l->sent_count = 0;
    l->event_count = 0;
}

/* A restarted follower, server 1 of three, whose log has these of 2's terms. */
static inline void lone_follower(lone *l, const raft_term *terms, size_t count, raft_term term)
{
    lone_init(l);
    lone_seed_by(l, 2, terms, count, term, 0);
    if (lone_restart(l) != RAFT_OK) {
        lone_blame(l, "a follower does not start from what was stored");
    }
    lone_clear(l);
}

/* Frees everything; returns the first breach that the harness saw, or "sound". */
static inline const char *lone_close(lone *l)
{
    raft_free(l->node);
    if (l->live_bytes) {
        lone_blame(l, "memory was not given back");
    }
    lone_clear(l);
    for (size_t i = 0; i < l->write_count; i++) {
        lone_write_release(&l->writes[i]);
    }
    free(l->writes);
    free(l->sent);
    free(l->events);
    for (raft_index i = 1; i <= l->applied_high; i++) {
        free(l->applied_bytes[i]);
    }
    free(l->applied_bytes);
    free(l->applied);
    return l->fault ? l->fault : "sound";
}

/* ---- Completions ---------------------------------------------------------------------------- */

/* The bytes lent with an outstanding write are still those that were lent. */
static inline int lone_lent_intact(const lone *l)
{
    for (size_t i = l->writes_done; i < l->write_count; i++) {
        const lone_write *w = &l->writes[i];
        for (size_t r = 0; r < w->write.range_count; r++) {
            if (memcmp(w->lent[r], w->ranges[r].data, w->ranges[r].size) != 0) {
                return 0;
            }
        }
    }
    return 1;
}

/* Completes the oldest `count` outstanding writes in one go, as raft_persisted allows. */
static inline int lone_complete(lone *l, size_t count)
{
    if (!lone_lent_intact(l)) {
        lone_blame(l, "bytes lent to persist changed before completion");
    }
    for (size_t i = 0; i < count && l->writes_done < l->write_count; i++) {
        l->writes[l->writes_done++].done = 1;
    }
    uint64_t seq = l->writes[l->writes_done - 1].write.seq;
    int rc = raft_persisted(l->node, seq, RAFT_OK);
    lone_verify(l);
    return rc;
}

static inline size_t lone_outstanding(const lone *l)
{
    return l->write_count - l->writes_done;
}

/* Completes and polls until no write is outstanding. */
static inline void lone_settle(lone *l)
{
    lone_poll(l);
    for (int i = 0; i < 100 && lone_outstanding(l); i++) {
        lone_complete(l, 1);
        lone_poll(l);
    }
}

static inline int lone_complete_apply(lone *l)
{
    if (lone_sum(l->apply_lent, l->apply_lent_size) != l->apply_sum) {
        lone_blame(l, "bytes lent to apply changed before completion");
    }
    raft_index index = l->apply_pending;
    l->apply_pending = 0;
    int rc = raft_applied(l->node, index, RAFT_OK);
    lone_verify(l);
    return rc;
}

/* ---- Messages from the peers ---------------------------------------------------------------- */

static inline raft_message lone_message(int kind, raft_id from, raft_term term)
{
    raft_message m;
    memset(&m, 0, sizeof m);
    m.cluster = 1;
    m.group = 1;
    m.from = from;
    m.to = LONE_ID;
    m.term = term;
    m.kind = kind;
    m.protocol = cluster_protocol;
    return m;
}

static inline int lone_receive(lone *l, const raft_message *m)
{
    int rc = raft_receive(l->node, m);
    lone_verify(l);
    return rc;
}

/*
 * A candidate's question: a vote in `term`, or, ahead of it, a pre-vote. Where the log decides, its
 * last entry is (index, index_term) (R12); a prepare tells nothing of it (P2).
 */
static inline raft_message lone_question(int kind, raft_id from, raft_term term, raft_index index,
                                         raft_term index_term)
{
    raft_message m = lone_message(kind, from, term);
    m.round = 1;
    if (kind == RAFT_MESSAGE_PRE_VOTE) {
        m.asked_term = term;
        m.term = lone_term(from, (lone_in_multipaxos() ? term >> 16 : term) - 1);
    }
    if (!lone_in_multipaxos()) {
        m.index = index;
        m.index_term = index_term;
    }
    return m;
}

/* An append from leader `from` of `count` standard entries of entry_term after prev. */
static inline int lone_append(lone *l, raft_id from, raft_term term, raft_index prev,
                              raft_term prev_term, raft_term entry_term, size_t count,
                              raft_index commit)
{
    lone_batch b = lone_batch_make(entry_term, prev + 1, count);
    raft_message m = lone_message(RAFT_MESSAGE_APPEND, from, term);
    m.index = prev;
    m.index_term = prev_term;
    m.commit = commit;
    if (count) {
        m.ranges[0] = lone_batch_range(&b);
        m.range_count = 1;
    }
    int rc = lone_receive(l, &m);
    free(b.data);
    return rc;
}

static inline int lone_heartbeat(lone *l, raft_id from, raft_term term, raft_index commit,
                                 uint64_t round)
{
    raft_message m = lone_message(RAFT_MESSAGE_HEARTBEAT, from, term);
    m.commit = commit;
    m.round = round;
    return lone_receive(l, &m);
}

/* Sent messages, newest last: the n-th of a kind (from 0) to a peer (0: any), or null. */
static inline const raft_message *lone_find(const lone *l, int kind, raft_id to, size_t n)
{
    for (size_t i = 0; i < l->sent_count; i++) {
        const raft_message *m = &l->sent[i].message;
        if ((kind == 0 || m->kind == kind) && (to == 0 || m->to == to) && n-- == 0) {
            return m;
        }
    }
    return NULL;
}

static inline size_t lone_count(const lone *l, int kind, raft_id to)
{
    size_t n = 0;
    while (lone_find(l, kind, to, n)) {
        n++;
    }
    return n;
}

static inline const raft_message *lone_newest(const lone *l, int kind, raft_id to)
{
    size_t n = lone_count(l, kind, to);
    return n ? lone_find(l, kind, to, n - 1) : NULL;
}

static inline raft_index lone_last(const raft_message *append)
{
    return append->index + (append->range_count ? append->ranges[0].count : 0);
}

/* The round that an honest peer echoes: that of the newest append sent to it. */
static inline uint64_t lone_round(const lone *l, raft_id from)
{
    const raft_message *append = lone_newest(l, RAFT_MESSAGE_APPEND, from);
    return append ? append->round : 0;
}

/* Peer `from` answers the append in full: everything up to its end is durable there. */
static inline int lone_ack(lone *l, raft_id from, raft_index index)
{
    raft_message m = lone_message(RAFT_MESSAGE_APPEND_REPLY, from, lone_status(l).term);
    m.round = lone_round(l, from);
    m.index = index;
    m.flags = lone_in_multipaxos() ? RAFT_FLAG_ACCEPTED : 0; /* P7 */
    return lone_receive(l, &m);
}

/* Peer `from` refuses an append at `refused`, with the hint (index, term). */
static inline int lone_refuse(lone *l, raft_id from, raft_index refused, raft_index hint,
                              raft_term hint_term)
{
    raft_message m = lone_message(RAFT_MESSAGE_APPEND_REPLY, from, lone_status(l).term);
    m.round = lone_round(l, from);
    m.refused = 1;
    m.refused_index = refused;
    m.index = hint;
    m.index_term = hint_term;
    return lone_receive(l, &m);
}

/* Peer `from` answers the newest heartbeat sent to it. */
static inline int lone_beat_back(lone *l, raft_id from)
{
    const raft_message *beat = lone_newest(l, RAFT_MESSAGE_HEARTBEAT, from);
    raft_message m = lone_message(RAFT_MESSAGE_HEARTBEAT_REPLY, from, lone_status(l).term);
    m.round = beat ? beat->round : 0;
    return lone_receive(l, &m);
}

/* Every peer answers every question of the election so far with yes. */
static inline void lone_grant_all(lone *l, size_t *seen)
{
    for (; *seen < l->sent_count; (*seen)++) {
        raft_message asked = l->sent[*seen].message;
        if (asked.kind != RAFT_MESSAGE_PRE_VOTE && asked.kind != RAFT_MESSAGE_VOTE) {
            continue;
        }
        int pre = asked.kind == RAFT_MESSAGE_PRE_VOTE;
        raft_message m = lone_message(pre ? RAFT_MESSAGE_PRE_VOTE_REPLY : RAFT_MESSAGE_VOTE_REPLY,
                                      asked.to, asked.term);
        m.round = asked.round;
        m.asked_term = asked.asked_term;
        lone_receive(l, &m);
    }
}

/* Makes the node leader with every peer's consent. Completes writes on the way. Clears `sent`. */
static inline int lone_lead(lone *l)
{
    lone_clear(l);
    size_t seen = 0;
    raft_campaign(l->node);
    for (int i = 0; i < 20 && lone_status(l).role != RAFT_ROLE_LEADER; i++) {
        lone_settle(l);
        lone_grant_all(l, &seen);
    }
    if (lone_status(l).role != RAFT_ROLE_LEADER) {
        lone_blame(l, "the node does not become leader although all consent");
        return 0;
    }
    return 1;
}

/*
 * Leader: every peer of `mask` (bit = id) acknowledges what it was sent, what it was sent before
 * this call included, until all is quiet. Completes writes on the way. Clears `sent`.
 */
static inline void lone_serve(lone *l, unsigned mask)
{
    size_t answered;
    do {
        answered = 0;
        lone_settle(l);
        for (size_t s = 0; s < l->sent_count; s++) {
            raft_message m = l->sent[s].message;
            if (m.kind == RAFT_MESSAGE_APPEND && (mask >> m.to & 1u)) {
                lone_ack(l, m.to, lone_last(&m));
                answered++;
            }
        }
        lone_clear(l);
    } while (answered > 0 || raft_deadline(l->node) <= l->now_ms);
}

/* Proposes the standard payload of the index it will get. Returns that index, or 0 if refused. */
static inline raft_index lone_propose(lone *l)
{
    char text[48];
    raft_status status = lone_status(l);
    raft_index index = 0;
    size_t n = lone_payload(status.term, status.last_index + 1, text);
    return raft_propose(l->node, text, n, &index, NULL) == RAFT_OK ? index : 0;
}

#endif
