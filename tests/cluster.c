/*
 * The scripted cluster: see cluster.h. The file has four floors, from the ground up: memory and
 * copies; the host callbacks with everything that the harness watches; the machinery of time and
 * messages; the script's vocabulary.
 */
#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A node that is polled this often at one sample without a call of any callback is spinning. */
enum { SPIN_LIMIT = 200, SETTLE_LIMIT = 200000 };

/* ---- memory and copies ---------------------------------------------------------------------- */

static void *must(void *block)
{
    if (block == NULL) {
        fputs("cluster: out of memory\n", stderr);
        exit(2);
    }
    return block;
}

/* Through a pointer that the compiler cannot see through: what is freed next is overwritten too. */
static void *(*volatile const scrub)(void *, int, size_t) = memset;

static void *grown(void *items, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity) {
        return items;
    }
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    return must(realloc(items, *capacity * item_size));
}

static void *copied(const void *data, size_t size)
{
    char *copy = must(malloc(size + 1));
    if (size > 0) {
        memcpy(copy, data, size);
    }
    copy[size] = 0;
    return copy;
}

static uint64_t hashed(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
    }
    return hash;
}

static uint64_t hash_of(const void *data, size_t size)
{
    return hashed(14695981039346656037u, data, size);
}

static void log_add(struct cluster_log *log, const raft_entry *entry)
{
    log->entries = grown(log->entries, log->count, &log->capacity, sizeof log->entries[0]);
    struct cluster_entry *added = &log->entries[log->count++];
    added->index = entry->index;
    added->term = entry->term;
    added->kind = entry->kind;
    added->size = entry->size;
    added->data = copied(entry->data, entry->size);
}

static void log_cut(struct cluster_log *log, size_t count)
{
    while (log->count > count) {
        free(log->entries[--log->count].data);
    }
}

static void log_free(struct cluster_log *log)
{
    log_cut(log, 0);
    free(log->entries);
    memset(log, 0, sizeof *log);
}

static raft_index log_last(const struct cluster_log *log)
{
    return log->base + log->count;
}

static const struct cluster_entry *log_at(const struct cluster_log *log, raft_index index)
{
    return index > log->base && index <= log_last(log) ? &log->entries[index - log->base - 1]
                                                       : NULL;
}

/* Forgets everything up to index, which need not be there. */
static void log_forget(struct cluster_log *log, raft_index index)
{
    size_t gone = index > log->base ? (size_t)(index - log->base) : 0;
    gone = gone < log->count ? gone : log->count;
    for (size_t i = 0; i < gone; i++) {
        free(log->entries[i].data);
    }
    log->count -= gone;
    memmove(log->entries, log->entries + gone, log->count * sizeof log->entries[0]);
    log->base = index > log->base ? index : log->base;
}

static raft_entry entry_view(const struct cluster_entry *held)
{
    raft_entry entry = {0};
    entry.index = held->index;
    entry.term = held->term;
    entry.data = held->data;
    entry.size = held->size;
    entry.kind = held->kind;
    return entry;
}

/* ---- what the harness watches --------------------------------------------------------------- */

static void violate(struct cluster *cluster, raft_id id, const char *what)
{
    if (cluster->violation[0] == 0) {
        snprintf(cluster->violation, sizeof cluster->violation, "at %llu ms, node %llu: %s",
                 (unsigned long long)cluster->now_ms, (unsigned long long)id, what);
    }
}

static void watch_range(struct cluster_node *node, const raft_range *range)
{
    raft_range rest = *range;
    raft_entry entry;
    size_t count = 0, size = 0;
    while (raft_range_next(&rest, &entry)) {
        if (entry.index != range->first + count || entry.term != range->term) {
            violate(node->cluster, node->id, "a range gives wrong indexes or terms");
        }
        count++;
        size += raft_entry_size(entry.size);
    }
    if (count == 0 || count != range->count || size != range->size) {
        violate(node->cluster, node->id, "a range does not hold what it says");
    }
}

/* V2: one candidate a term for every voter, over all runs. */
static void watch_vote(struct cluster_node *node, raft_term term, raft_id candidate)
{
    struct cluster *cluster = node->cluster;
    for (size_t i = 0; i < cluster->vote_count; i++) {
        if (cluster->votes[i].voter == node->id && cluster->votes[i].term == term) {
            if (cluster->votes[i].candidate != candidate) {
                violate(cluster, node->id, "voted for two candidates in one term (V2)");
            }
            return;
        }
    }
    cluster->votes = grown(cluster->votes, cluster->vote_count, &cluster->vote_capacity,
                           sizeof cluster->votes[0]);
    cluster->votes[cluster->vote_count].voter = node->id;
    cluster->votes[cluster->vote_count].term = term;
    cluster->votes[cluster->vote_count].candidate = candidate;
    cluster->vote_count++;
}

/* V1, and R60: a term is led once, by one node, in one of its runs. */
static void watch_reign(struct cluster_node *node, raft_term term)
{
    struct cluster *cluster = node->cluster;
    for (size_t i = 0; i < cluster->reign_count; i++) {
        if (cluster->reigns[i].term == term) {
            violate(cluster, node->id, "a term has been led before (V1, R60)");
        }
    }
    cluster->reigns = grown(cluster->reigns, cluster->reign_count, &cluster->reign_capacity,
                            sizeof cluster->reigns[0]);
    cluster->reigns[cluster->reign_count].term = term;
    cluster->reigns[cluster->reign_count].id = node->id;
    cluster->reigns[cluster->reign_count].run = node->run;
    cluster->reign_count++;
}

/* P3, P6: what is said of the accepted round is on the disk. */
static void watch_round(struct cluster_node *node, const raft_message *message)
{
    const raft_hard_state *state = &node->store.state;
    if (node->options.protocol != RAFT_PROTOCOL_MULTIPAXOS || message->refused) {
        return;
    }
    if (message->kind == RAFT_MESSAGE_APPEND_REPLY && (message->flags & RAFT_FLAG_ACCEPTED) != 0 &&
        message->term == state->term && state->accepted_round != message->term) {
        violate(node->cluster, node->id, "accepted a round that is not durable (P6)");
    }
    if (message->kind == RAFT_MESSAGE_VOTE_REPLY &&
        message->accepted_round > state->accepted_round) {
        violate(node->cluster, node->id, "promised with a round that is not durable (P3)");
    }
}

/* V11, V3, R1, R2: what a message depends on is on the disk as it leaves. */
static void watch_durability(struct cluster_node *node, const raft_message *message)
{
    const struct cluster_store *store = &node->store;
    const struct cluster_entry *at = log_at(&store->log, message->index);
    int voted =
        store->state.term > message->term ||
        (store->state.term == message->term &&
         store->state.vote == (message->kind == RAFT_MESSAGE_VOTE ? node->id : message->to));
    if (message->term > store->state.term) {
        violate(node->cluster, node->id, "a message carries a term that is not durable (V3)");
    }
    if (message->kind == RAFT_MESSAGE_VOTE) {
        if (!voted) {
            violate(node->cluster, node->id, "asked for votes before its own was durable (R2)");
        }
        int is_base = message->index == store->log.base;
        if (message->index > 0 && !is_base && (at == NULL || at->term != message->index_term)) {
            violate(node->cluster, node->id, "advertised an entry that is not durable (R2)");
        }
        watch_vote(node, message->term, node->id);
    }
    if (message->kind == RAFT_MESSAGE_VOTE_REPLY && !message->refused) {
        if (!voted) {
            violate(node->cluster, node->id, "granted a vote before it was durable (R1)");
        }
        watch_vote(node, message->term, message->to);
    }
    if (message->kind == RAFT_MESSAGE_APPEND_REPLY && !message->refused &&
        message->index > log_last(&store->log) && message->index > node->snapshots[0].index) {
        violate(node->cluster, node->id, "acknowledged entries that are not durable (V11)");
    }
    watch_round(node, message);
}

static void watch_applied(struct cluster_node *node, const raft_entry *entry)
{
    struct cluster *cluster = node->cluster;
    if (entry->index != node->applied.count + 1) {
        violate(cluster, node->id, "applied an index out of order or twice (V8)");
    }
    if (!node->options.apply_ahead && entry->index > log_last(&node->store.log)) {
        violate(cluster, node->id, "applied an entry that is not durable here (R5)");
    }
    if (entry->index > cluster->committed.count) {
        log_add(&cluster->committed, entry);
        return;
    }
    const struct cluster_entry *known = log_at(&cluster->committed, entry->index);
    if (known->term != entry->term || known->kind != entry->kind || known->size != entry->size ||
        memcmp(known->data, entry->size > 0 ? entry->data : "", entry->size) != 0) {
        violate(cluster, node->id, "applied another entry than was applied elsewhere (V8)");
    }
}

/* R35: what is put into use is durable; it is newer than what it replaces (V10). */
static void watch_meta(struct cluster_node *node, const raft_write *write)
{
    raft_index index = 0;
    raft_term term = 0;
    if (raft_meta_read(write->meta, write->meta_size, &index, &term) != RAFT_OK ||
        index != write->base_index || term != write->base_term) {
        violate(node->cluster, node->id, "a write names another snapshot than its metadata");
    }
    if (node->store.meta != NULL && index < node->snapshots[0].index) {
        violate(node->cluster, node->id, "a snapshot replaces a newer one");
    }
    if (node->store.meta != NULL && node->cluster->snapshots && index > node->snapshots[0].index &&
        (!node->staged.whole || node->staged.index != index || node->staged.term != term)) {
        violate(node->cluster, node->id, "a snapshot is put into use that is not durable (R35)");
    }
}

static void watch_write(struct cluster_node *node, const raft_write *write)
{
    const struct cluster_store *store = &node->store;
    raft_hard_state before = store->state;
    raft_index last = log_last(&store->log);
    for (size_t i = 0; i < store->pending_count; i++) {
        const struct cluster_write *pending = &store->pending[i];
        before = pending->has_state ? pending->state : before;
        last = pending->meta != NULL ? pending->base_index : last;
        last = pending->truncate_from > 0 ? pending->truncate_from - 1 : last;
        last += pending->appended.count;
    }
    if (write->seq != node->last_seq + 1) {
        violate(node->cluster, node->id, "writes are not numbered one after the other");
    }
    if (store->pending_count >= RAFT_WRITES_MAX) {
        violate(node->cluster, node->id, "more writes outstanding than RAFT_WRITES_MAX");
    }
    if (write->has_state &&
        (write->state.term < before.term || (write->state.term == before.term && before.vote != 0 &&
                                             write->state.vote != before.vote))) {
        violate(node->cluster, node->id, "a write takes back a term or a vote (V3, R3)");
    }
    if (write->has_state && (write->state.accepted_round < before.accepted_round ||
                             write->state.accepted_round > write->state.term)) {
        violate(node->cluster, node->id, "an accepted round falls or exceeds the term (I8)");
    }
    if (write->truncate_from > 0 && write->truncate_from <= node->applied.count) {
        violate(node->cluster, node->id, "a write truncates what was applied (V10)");
    }
    if (!write->has_state && write->meta == NULL && write->truncate_from == 0 &&
        write->range_count == 0) {
        violate(node->cluster, node->id, "a write stores nothing");
    }
    if (write->meta != NULL) {
        watch_meta(node, write);
        last = write->base_index;
    }
    last = write->truncate_from > 0 ? write->truncate_from - 1 : last;
    for (size_t i = 0; i < write->range_count; i++) {
        watch_range(node, &write->ranges[i]);
        if (write->ranges[i].first != last + 1) {
            violate(node->cluster, node->id, "a range is not joined to what is stored");
        }
        if (write->ranges[i].term > (write->has_state ? write->state.term : before.term)) {
            violate(node->cluster, node->id, "an entry is stored above the stored term (R4)");
        }
        last += write->ranges[i].count;
    }
}

static void watch_node(struct cluster_node *node)
{
    if (node->raft != NULL && node->in_callback == 0) {
        const char *broken = raft_check(node->raft);
        if (broken != NULL) {
            violate(node->cluster, node->id, broken);
        }
    }
}

/* ---- the store ------------------------------------------------------------------------------ */

static struct cluster_write write_copy(const raft_write *write)
{
    struct cluster_write copy = {0};
    copy.seq = write->seq;
    copy.has_state = write->has_state;
    copy.state = write->state;
    copy.meta = write->meta != NULL ? copied(write->meta, write->meta_size) : NULL;
    copy.meta_size = write->meta_size;
    copy.base_index = write->base_index;
    copy.truncate_from = write->truncate_from;
    for (size_t i = 0; i < write->range_count; i++) {
        raft_range rest = write->ranges[i];
        raft_entry entry;
        if (copy.lent_count < sizeof copy.lent / sizeof copy.lent[0]) {
            copy.lent[copy.lent_count] = rest.data;
            copy.lent_sizes[copy.lent_count] = rest.size;
            copy.lent_hashes[copy.lent_count++] = hash_of(rest.data, rest.size);
        }
        while (raft_range_next(&rest, &entry)) {
            log_add(&copy.appended, &entry);
        }
    }
    return copy;
}

static void write_free(struct cluster_write *write)
{
    free(write->meta);
    log_free(&write->appended);
}

static size_t write_steps(const struct cluster_write *write)
{
    size_t heads = (write->has_state ? 1u : 0u) + (write->meta != NULL ? 1u : 0u);
    return heads + (write->truncate_from > 0 ? 1u : 0u) + write->appended.count;
}

/* Takes one step off a budget; false when it is used up. */
static int step(size_t *steps)
{
    if (*steps == 0) {
        return 0;
    }
    (*steps)--;
    return 1;
}

static void snapshot_free(struct cluster_snapshot *snapshot)
{
    free(snapshot->meta);
    free(snapshot->bytes);
    memset(snapshot, 0, sizeof *snapshot);
}

/* A snapshot becomes the newest of the node; the oldest goes. */
static void snapshot_push(struct cluster_node *node, const struct cluster_snapshot *snapshot)
{
    snapshot_free(&node->snapshots[CLUSTER_SNAPSHOTS - 1]);
    memmove(node->snapshots + 1, node->snapshots,
            (CLUSTER_SNAPSHOTS - 1) * sizeof node->snapshots[0]);
    node->snapshots[0] = *snapshot;
}

/* The metadata has reached the disk: with it the snapshot beside becomes the one in use. */
static void store_meta(struct cluster_node *node, const struct cluster_write *write)
{
    struct cluster_store *store = &node->store;
    free(store->meta);
    store->meta = copied(write->meta, write->meta_size);
    store->meta_size = write->meta_size;
    store->any = 1;
    log_cut(&store->log, 0);
    store->log.base = write->base_index;
    if (node->staged.whole && node->staged.index == write->base_index) {
        snapshot_push(node, &node->staged);
        memset(&node->staged, 0, sizeof node->staged);
    }
}

/* Brings the first steps of a write to the disk, in the order that raft.h gives. */
static void store_write(struct cluster_node *node, const struct cluster_write *write, size_t *steps)
{
    struct cluster_store *store = &node->store;
    if (write->has_state && step(steps)) {
        store->state = write->state;
        store->any = 1;
    }
    if (write->meta != NULL && step(steps)) {
        store_meta(node, write);
    }
    if (write->truncate_from > 0 && step(steps) && log_last(&store->log) >= write->truncate_from) {
        log_cut(&store->log, (size_t)(write->truncate_from - 1 - store->log.base));
    }
    for (size_t i = 0; i < write->appended.count && step(steps); i++) {
        raft_entry entry = entry_view(&write->appended.entries[i]);
        log_add(&store->log, &entry);
        store->any = 1;
    }
}

static void pending_pop(struct cluster_store *store)
{
    write_free(&store->pending[0]);
    store->pending_count--;
    memmove(store->pending, store->pending + 1, store->pending_count * sizeof store->pending[0]);
}

static void watch_lent(struct cluster_node *node, const struct cluster_write *write)
{
    for (size_t i = 0; i < write->lent_count; i++) {
        if (hash_of(write->lent[i], write->lent_sizes[i]) != write->lent_hashes[i]) {
            violate(node->cluster, node->id, "bytes lent to persist changed before completion");
        }
    }
}

/* ---- callbacks ------------------------------------------------------------------------------ */

static void enter(struct cluster_node *node, int callback)
{
    if (node->in_callback != 0) {
        violate(node->cluster, node->id, "a callback was called inside a callback");
    }
    node->in_callback = callback;
    node->spin_count = 0;
}

static void leave(struct cluster_node *node, const void *argument)
{
    if (node->cluster->hook != NULL) {
        node->cluster->hook(node->cluster, node->id, node->in_callback, argument);
    }
    node->in_callback = 0;
}

static int on_persist(void *host, const raft_write *write)
{
    struct cluster_node *node = host;
    struct cluster_store *store = &node->store;
    int result = store->fail_next;
    enter(node, CLUSTER_IN_PERSIST);
    watch_write(node, write);
    node->last_seq = write->seq;
    store->writes++;
    store->fail_next = 0;
    if (result == 0) {
        size_t all = SIZE_MAX;
        struct cluster_write copy = write_copy(write);
        if (store->async || store->pending_count > 0) {
            store->pending = must(
                realloc(store->pending, (store->pending_count + 1) * sizeof store->pending[0]));
            store->pending[store->pending_count++] = copy;
            result = RAFT_PENDING;
        } else {
            store_write(node, &copy, &all);
            write_free(&copy);
        }
    }
    leave(node, write);
    return result;
}

/* Keeps the wire form of a message, decoded again so that the codec has no private knowledge. */
static void record(struct cluster_node *node, const raft_message *message)
{
    struct cluster *cluster = node->cluster;
    cluster->sent =
        grown(cluster->sent, cluster->sent_count, &cluster->sent_capacity, sizeof cluster->sent[0]);
    struct cluster_message *kept = &cluster->sent[cluster->sent_count++];
    memset(kept, 0, sizeof *kept);
    kept->number = cluster->sent_count;
    kept->sent_ms = cluster->now_ms;
    kept->sender_run = node->run;
    kept->size = raft_message_size(message);
    kept->bytes = must(malloc(kept->size));
    kept->durable_state = node->store.state;
    kept->durable_last = log_last(&node->store.log);
    kept->durable_last_term =
        node->store.log.count > 0 ? node->store.log.entries[node->store.log.count - 1].term : 0;
    if (raft_encode(message, kept->bytes, kept->size) != kept->size ||
        raft_decode(kept->bytes, kept->size, &kept->message) != RAFT_OK) {
        violate(cluster, node->id, "sent a message that cannot be encoded and decoded");
    }
}

static void enqueue(struct cluster *cluster, uint64_t number)
{
    const raft_message *message = &cluster->sent[number - 1].message;
    struct cluster_queue *queue = &cluster->queues[message->from][message->to];
    if (queue->cut) {
        return;
    }
    queue->numbers =
        grown(queue->numbers, queue->count, &queue->capacity, sizeof queue->numbers[0]);
    queue->numbers[queue->count++] = number;
}

static void on_send(void *host, const raft_message *message)
{
    struct cluster_node *node = host;
    struct cluster *cluster = node->cluster;
    enter(node, CLUSTER_IN_SEND);
    if (message->from != node->id || message->to == node->id || message->to == 0 ||
        message->cluster != node->options.cluster || message->group != node->options.group) {
        violate(cluster, node->id, "sent a message that is wrongly addressed (R66)");
    } else {
        for (size_t i = 0; i < message->range_count; i++) {
            watch_range(node, &message->ranges[i]);
        }
        watch_durability(node, message);
        if (message->to <= cluster->count) { /* an answer to a stranger goes nowhere */
            record(node, message);
            enqueue(cluster, cluster->sent_count);
        }
    }
    leave(node, message);
}

static int on_apply(void *host, const raft_range *range)
{
    struct cluster_node *node = host;
    raft_range rest = *range;
    raft_entry entry;
    int result = node->apply_fail_next;
    enter(node, CLUSTER_IN_APPLY);
    watch_range(node, range);
    if (node->apply_pending != 0) {
        violate(node->cluster, node->id, "apply was called while one is outstanding");
    }
    node->apply_fail_next = 0;
    while (result == 0 && raft_range_next(&rest, &entry)) {
        watch_applied(node, &entry);
        log_add(&node->applied, &entry);
    }
    if (result == 0 && node->apply_async) {
        node->apply_pending = range->first + range->count - 1;
        node->apply_lent = *range;
        node->apply_hash = hash_of(range->data, range->size);
        result = RAFT_PENDING;
    }
    leave(node, range);
    return result;
}

/* A transfer ends once, if it was begun. */
static void watch_end(struct cluster_node *node, const raft_event *event)
{
    raft_id peer = event->peer;
    if (node->receiving != 0 && node->receiving == event->index && !node->chunk_pending) {
        node->receiving = 0;
    } else if (peer != 0 && peer <= CLUSTER_MAX && node->sending[peer] == event->index) {
        node->sending[peer] = 0;
    } else if (node->receiving == event->index && event->status != RAFT_OK) {
        node->receiving = 0; /* the node stops, whatever is outstanding */
    } else {
        violate(node->cluster, node->id, "a transfer ends that was not begun, or ends twice");
    }
}

static void on_notify(void *host, const raft_event *event)
{
    struct cluster_node *node = host;
    enter(node, CLUSTER_IN_NOTIFY);
    node->events =
        grown(node->events, node->event_count, &node->event_capacity, sizeof node->events[0]);
    struct cluster_event *kept = &node->events[node->event_count++];
    kept->at_ms = node->cluster->now_ms;
    kept->run = node->run;
    kept->event = *event;
    if (event->kind == RAFT_EVENT_ROLE && event->role == RAFT_ROLE_LEADER) {
        watch_reign(node, event->term);
    }
    if (event->kind == RAFT_EVENT_SNAPSHOT_END) {
        watch_end(node, event);
    }
    if (event->kind == RAFT_EVENT_READ && event->status == RAFT_OK &&
        event->index > node->applied.count) {
        violate(node->cluster, node->id, "a read was answered before its index was applied");
    }
    leave(node, event);
}

/* ---- snapshots of a state machine ----------------------------------------------------------- */

enum { RECORD_BYTES = 24 };

static void put_number(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(value >> 8 * i);
    }
}

static uint64_t get_number(const uint8_t *in)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value |= (uint64_t)in[i] << 8 * i;
    }
    return value;
}

/* The state machine is what was applied, so a snapshot of it is all of that. */
static void machine_save(const struct cluster_log *applied, struct cluster_snapshot *snapshot)
{
    for (size_t i = 0; i < applied->count; i++) {
        snapshot->size += RECORD_BYTES + applied->entries[i].size;
    }
    uint8_t *out = must(malloc(snapshot->size + 1));
    snapshot->bytes = out;
    for (size_t i = 0; i < applied->count; i++) {
        const struct cluster_entry *entry = &applied->entries[i];
        put_number(out, entry->index);
        put_number(out + 8, entry->term << 8 | (uint64_t)entry->kind);
        put_number(out + 16, entry->size);
        memcpy(out + RECORD_BYTES, entry->data, entry->size);
        out += RECORD_BYTES + entry->size;
    }
}

static void machine_load(struct cluster_log *applied, const struct cluster_snapshot *snapshot)
{
    log_cut(applied, 0);
    for (size_t at = 0; at < snapshot->size;) {
        const uint8_t *in = snapshot->bytes + at;
        raft_entry entry = {0};
        entry.index = get_number(in);
        entry.term = get_number(in + 8) >> 8;
        entry.kind = (int)(get_number(in + 8) & 255);
        entry.size = (size_t)get_number(in + 16);
        entry.data = in + RECORD_BYTES;
        log_add(applied, &entry);
        at += RECORD_BYTES + entry.size;
    }
}

static const struct cluster_snapshot *find_snapshot(const struct cluster_node *node,
                                                    raft_index index, raft_term term)
{
    size_t count = node->forgets_old ? 1 : CLUSTER_SNAPSHOTS;
    for (size_t i = 0; i < count; i++) {
        if (node->snapshots[i].index == index && node->snapshots[i].term == term) {
            return &node->snapshots[i];
        }
    }
    return NULL;
}

/* Fills a piece; not found: negative. */
static int fill_chunk(const struct cluster_node *node, raft_chunk *chunk)
{
    const struct cluster_snapshot *snapshot = find_snapshot(node, chunk->index, chunk->term);
    if (snapshot == NULL || chunk->offset > snapshot->size) {
        return -1;
    }
    size_t left = snapshot->size - (size_t)chunk->offset;
    chunk->size = left < chunk->capacity ? left : chunk->capacity;
    chunk->last = chunk->size == left;
    memcpy(chunk->data, snapshot->bytes + chunk->offset, chunk->size);
    return RAFT_OK;
}

static int on_snapshot_read(void *host, raft_chunk *chunk)
{
    struct cluster_node *node = host;
    int result = node->read_fail;
    enter(node, CLUSTER_IN_READ);
    if (chunk->peer == 0 || chunk->peer > node->cluster->count || chunk->data == NULL ||
        chunk->capacity == 0 || node->reads[chunk->peer].data != NULL) {
        violate(node->cluster, node->id, "a piece of a snapshot is asked for in a wrong way");
    }
    if (node->sending[chunk->peer] != 0 && node->sending[chunk->peer] != chunk->index) {
        violate(node->cluster, node->id, "a transfer begins before the one before has ended");
    }
    if (result == 0 && node->read_async) {
        node->reads[chunk->peer] = *chunk;
        result = RAFT_PENDING;
    } else if (result == 0) {
        result = fill_chunk(node, chunk);
    }
    if (result >= 0) {
        node->sending[chunk->peer] = chunk->index;
    }
    leave(node, chunk);
    return result;
}

/* Puts a piece where it belongs in the snapshot beside. */
static void stage(struct cluster_node *node, const raft_chunk *chunk)
{
    struct cluster_snapshot *staged = &node->staged;
    if (chunk->offset == 0) {
        snapshot_free(staged);
        staged->index = chunk->index;
        staged->term = chunk->term;
        staged->meta = copied(chunk->meta, chunk->meta_size);
        staged->meta_size = chunk->meta_size;
    }
    staged->bytes = must(realloc(staged->bytes, staged->size + chunk->size + 1));
    memcpy(staged->bytes + staged->size, chunk->size > 0 ? chunk->data : "", chunk->size);
    staged->size += chunk->size;
    staged->whole = chunk->last;
}

static int on_snapshot_write(void *host, const raft_chunk *chunk)
{
    struct cluster_node *node = host;
    int result = node->write_fail;
    enter(node, CLUSTER_IN_WRITE);
    if (node->chunk_pending) {
        violate(node->cluster, node->id, "a piece is given while one is outstanding");
    }
    if ((chunk->meta != NULL) != (chunk->offset == 0)) {
        violate(node->cluster, node->id, "metadata comes with the first piece, and with no other");
    }
    if (chunk->offset != 0 &&
        (node->staged.index != chunk->index || node->staged.size != chunk->offset)) {
        violate(node->cluster, node->id, "a piece does not follow the one before");
    }
    node->receiving = chunk->index;
    if (result == 0) {
        stage(node, chunk);
    }
    if (result == 0 && node->write_async) {
        node->chunk_pending = 1;
        node->chunk = *chunk;
        node->staged.whole = 0;
        result = RAFT_PENDING;
    }
    leave(node, chunk);
    return result;
}

/* I19: the state that is loaded is what was applied elsewhere. */
static int on_snapshot_load(void *host, raft_index index, raft_term term)
{
    struct cluster_node *node = host;
    struct cluster_log *committed = &node->cluster->committed;
    if (node->staged.whole && node->staged.index == index && node->staged.term == term) {
        snapshot_push(node, &node->staged); /* asked for: no write puts it into use */
        memset(&node->staged, 0, sizeof node->staged);
    }
    const struct cluster_snapshot *snapshot = find_snapshot(node, index, term);
    int result = node->load_fail_next;
    enter(node, CLUSTER_IN_LOAD);
    node->load_fail_next = 0;
    if (node->apply_pending != 0) {
        violate(node->cluster, node->id, "a snapshot is loaded while an apply is outstanding");
    }
    if (snapshot == NULL || node->store.log.base > index) {
        violate(node->cluster, node->id, "a snapshot is loaded that is not in use (R37)");
    } else if (result == 0) {
        machine_load(&node->applied, snapshot);
    }
    for (size_t i = 0; i < node->applied.count && result == 0; i++) {
        const struct cluster_entry *got = &node->applied.entries[i];
        const struct cluster_entry *known = log_at(committed, got->index);
        if (known == NULL || known->term != got->term || strcmp(known->data, got->data) != 0) {
            violate(node->cluster, node->id, "a snapshot is not what was applied elsewhere (I19)");
        }
    }
    if (result == 0 && log_last(&node->applied) != index) {
        violate(node->cluster, node->id, "a snapshot's label is not its content (I19)");
    }
    if (result == 0 && node->load_async) {
        node->apply_pending = index;
        memset(&node->apply_lent, 0, sizeof node->apply_lent);
        node->apply_hash = hash_of(NULL, 0);
        result = RAFT_PENDING;
    }
    leave(node, NULL);
    return result;
}

/* Entries of the store, as many as fit. */
static int fill_fetch(const struct cluster_node *node, raft_fetch *fetch)
{
    uint8_t *out = fetch->data;
    fetch->count = 0;
    fetch->size = 0;
    for (raft_index index = fetch->first; index <= fetch->last; index++) {
        const struct cluster_entry *held = log_at(&node->store.log, index);
        if (held == NULL || held->term != fetch->term) {
            break;
        }
        size_t size = raft_entry_size(held->size);
        if (size > fetch->capacity - fetch->size) {
            fetch->size = fetch->count == 0 ? size : fetch->size;
            return fetch->count == 0 ? RAFT_ESIZE : RAFT_OK;
        }
        raft_entry entry = entry_view(held);
        raft_entry_encode(&entry, out + fetch->size, size);
        fetch->size += size;
        fetch->count++;
    }
    return fetch->count > 0 ? RAFT_OK : -1;
}

static int on_read_log(void *host, raft_fetch *fetch)
{
    struct cluster_node *node = host;
    int result = node->fetch_fail;
    enter(node, CLUSTER_IN_FETCH);
    node->fetched++;
    if (fetch->peer == 0 || fetch->peer > node->cluster->count ||
        node->fetches[fetch->peer].data != NULL || fetch->last < fetch->first) {
        violate(node->cluster, node->id, "entries are asked for in a wrong way");
    }
    if (fetch->first <= node->store.log.base) {
        violate(node->cluster, node->id, "entries are asked for that may be dropped");
    }
    if (result == 0 && node->fetch_async) {
        node->fetches[fetch->peer] = *fetch;
        result = RAFT_PENDING;
    } else if (result == 0) {
        result = fill_fetch(node, fetch);
    }
    leave(node, fetch);
    return result;
}

/* ---- memory --------------------------------------------------------------------------------- */

/* Every block carries its size in front, to catch an engine that forgets what it asked for. */
union block {
    size_t size;
    long double alignment;
    void *also;
};

static int refuses(struct cluster_memory *memory)
{
    memory->calls++;
    if (memory->fail_at == 0 || memory->calls < memory->fail_at ||
        (memory->calls > memory->fail_at && !memory->fail_on)) {
        return 0;
    }
    memory->failed++;
    return 1;
}

static void *on_alloc(void *host, void *p, size_t old_size, size_t new_size)
{
    struct cluster_node *node = host;
    union block *block = p != NULL ? (union block *)p - 1 : NULL;
    if (block != NULL ? block->size != old_size : old_size != 0) {
        violate(node->cluster, node->id, "the allocator was told a wrong old size");
    }
    if (new_size == 0) {
        if (block != NULL) {
            node->memory.live_blocks--;
            node->memory.live_bytes -= block->size;
            scrub(block, 0xdb, sizeof *block + block->size);
            free(block);
        }
        return NULL;
    }
    if (refuses(&node->memory)) {
        return NULL;
    }
    union block *moved = must(malloc(sizeof *moved + new_size));
    memset(moved, 0xa5, sizeof *moved + new_size);
    moved->size = new_size;
    node->memory.live_blocks++;
    node->memory.live_bytes += new_size;
    if (block != NULL) {
        memcpy(moved + 1, block + 1, old_size < new_size ? old_size : new_size);
        node->memory.live_blocks--;
        node->memory.live_bytes -= block->size;
        scrub(block, 0xdb, sizeof *block + block->size);
        free(block);
    }
    return moved + 1;
}

/* ---- making and ending ---------------------------------------------------------------------- */

int cluster_protocol = RAFT_PROTOCOL_RAFT;

struct cluster *cluster_create(size_t count)
{
    struct cluster *cluster = must(calloc(1, sizeof *cluster));
    cluster->count = count;
    cluster->founders = count;
    cluster->now_ms = 10000;
    for (raft_id id = 1; id <= count; id++) {
        struct cluster_node *node = &cluster->nodes[id];
        node->cluster = cluster;
        node->id = id;
        raft_options_init(&node->options);
        node->options.id = id;
        node->options.cluster = 7;
        node->options.protocol = cluster_protocol;
        node->options.group = 1;
        node->options.seed = 1;
        node->options.election_timeout_ms = 1000;
        node->options.heartbeat_ms = 100;
    }
    return cluster;
}

static int in_multipaxos(const struct cluster *cluster)
{
    return cluster->nodes[1].options.protocol == RAFT_PROTOCOL_MULTIPAXOS;
}

raft_term cluster_later(const struct cluster *cluster, raft_term term, uint64_t rounds,
                        raft_id owner)
{
    return in_multipaxos(cluster) ? ((term >> 16) + rounds) << 16 | owner : term + rounds;
}

raft_index cluster_noops(const struct cluster *cluster)
{
    return in_multipaxos(cluster) ? 0 : 1;
}

static int make_node(struct cluster_node *node)
{
    raft_callbacks callbacks;
    raft_callbacks_init(&callbacks);
    callbacks.persist = on_persist;
    callbacks.send = on_send;
    callbacks.apply = on_apply;
    callbacks.notify = on_notify;
    callbacks.alloc = on_alloc;
    if (node->cluster->snapshots) {
        callbacks.snapshot_read = node->cluster->ships ? NULL : on_snapshot_read;
        callbacks.snapshot_write = on_snapshot_write;
        callbacks.snapshot_load = on_snapshot_load;
    }
    if (node->cluster->read_log) {
        callbacks.read_log = on_read_log;
    }
    node->last_seq = 0;
    node->apply_pending = 0;
    node->spin_count = 0;
    node->store.fail_next = 0;
    node->apply_fail_next = 0;
    node->load_fail_next = 0;
    node->store.confirmed_last = log_last(&node->store.log);
    if (!node->durable_machine) {
        machine_load(&node->applied, &node->snapshots[0]);
    }
    node->run++;
    return raft_new(&node->options, &callbacks, node, &node->raft);
}

/* What a group is founded on: the same state on every founder, which is its first snapshot. */
static void invent_past(struct cluster_node *node)
{
    struct cluster *cluster = node->cluster;
    struct cluster_snapshot past = {0};
    char text[32];
    for (raft_index index = log_last(&node->applied) + 1; index <= cluster->base_index; index++) {
        raft_entry entry = {index, 1, text, 0, RAFT_ENTRY_DATA};
        entry.size = (size_t)snprintf(text, sizeof text, "past %llu", (unsigned long long)index);
        log_add(&node->applied, &entry);
        if (index > log_last(&cluster->committed)) {
            log_add(&cluster->committed, &entry);
        }
    }
    if (cluster->base_index > 0 && node->snapshots[0].index == 0) {
        past.index = cluster->base_index;
        past.term = 1;
        past.whole = 1;
        machine_save(&node->applied, &past);
        snapshot_push(node, &past);
    }
}

static int found(struct cluster_node *node)
{
    static const char *const blobs[CLUSTER_MAX + 1] = {"",  "a", "b", "c", "d",
                                                       "e", "f", "g", "h", "i"};
    raft_member members[CLUSTER_MAX] = {{.id = 0}};
    size_t count = node->cluster->founders;
    if (node->id > count) {
        return RAFT_OK;
    }
    invent_past(node);
    for (size_t i = 0; i < count; i++) {
        members[i].id = i + 1;
        members[i].blob = blobs[i + 1];
        members[i].blob_size = strlen(blobs[i + 1]);
    }
    if (node->cluster->lease_ms != 0 || node->cluster->base_index != 0 ||
        node->cluster->commit_quorum != 0) {
        raft_membership membership;
        raft_membership_init(&membership);
        membership.members = members;
        membership.member_count = count;
        membership.commit_quorum = node->cluster->commit_quorum;
        membership.lease_ms = node->cluster->lease_ms;
        membership.lease_drift_permille = node->cluster->lease_drift_permille;
        return raft_bootstrap_at(node->raft, &membership, node->cluster->base_index);
    }
    return raft_bootstrap(node->raft, members, count);
}

/* Encodes entries first..last of a store, which share a term, into a range; the caller frees. */
static raft_range stored_range(const struct cluster_log *log, size_t first, size_t last)
{
    raft_range range = {0};
    size_t used = 0;
    for (size_t i = first; i <= last; i++) {
        range.size += raft_entry_size(log->entries[i].size);
    }
    char *bytes = must(malloc(range.size));
    for (size_t i = first; i <= last; i++) {
        raft_entry entry = entry_view(&log->entries[i]);
        raft_entry_encode(&entry, bytes + used, range.size - used);
        used += raft_entry_size(entry.size);
    }
    range.first = log->entries[first].index;
    range.term = log->entries[first].term;
    range.count = last - first + 1;
    range.data = bytes;
    return range;
}

static size_t term_end(const struct cluster_log *log, size_t first)
{
    size_t last = first;
    while (last + 1 < log->count && log->entries[last + 1].term == log->entries[first].term) {
        last++;
    }
    return last;
}

/* The newest metadata: of the snapshot that persist put into use, or of one taken since. */
static void name_snapshot(const struct cluster_node *node, raft_write *write)
{
    const struct cluster_snapshot *newest = &node->snapshots[0];
    write->meta = node->store.meta;
    write->meta_size = node->store.meta_size;
    if (newest->meta != NULL && newest->index > 0) {
        write->meta = newest->meta;
        write->meta_size = newest->meta_size;
        write->base_index = newest->index;
        write->base_term = newest->term;
    }
}

/* As tables are given back: one write with everything. */
static int restore_at_once(struct cluster_node *node)
{
    const struct cluster_store *store = &node->store;
    raft_write write = {0};
    raft_range *ranges = must(calloc(store->log.count + 1, sizeof *ranges));
    for (size_t first = 0; first < store->log.count;) {
        size_t last = term_end(&store->log, first);
        ranges[write.range_count++] = stored_range(&store->log, first, last);
        first = last + 1;
    }
    write.has_state = 1;
    write.state = store->state;
    name_snapshot(node, &write);
    write.ranges = ranges;
    int code = raft_restore(node->raft, &write);
    for (size_t i = 0; i < write.range_count; i++) {
        free((void *)(uintptr_t)ranges[i].data);
    }
    free(ranges);
    return code;
}

/* As a journal is: what persist was given, then the newest metadata as a write of its own. */
static int restore_stepwise(struct cluster_node *node)
{
    const struct cluster_store *store = &node->store;
    raft_write head = {0};
    head.has_state = 1;
    head.state = store->state;
    head.meta = store->meta;
    head.meta_size = store->meta_size;
    int code = raft_restore(node->raft, &head);
    for (size_t i = 0; i < store->log.count && code == RAFT_OK; i++) {
        raft_write write = {0};
        raft_range range = stored_range(&store->log, i, i);
        write.ranges = &range;
        write.range_count = 1;
        code = raft_restore(node->raft, &write);
        free((void *)(uintptr_t)range.data);
    }
    raft_write last = {0};
    name_snapshot(node, &last);
    if (code == RAFT_OK && last.base_index > 0) {
        code = raft_restore(node->raft, &last);
    }
    return code;
}

static void bring_down(struct cluster_node *node)
{
    raft_free(node->raft);
    node->raft = NULL;
    node->apply_pending = 0;
    node->chunk_pending = 0;
    node->receiving = 0;
    memset(node->reads, 0, sizeof node->reads);
    memset(node->fetches, 0, sizeof node->fetches);
    memset(node->sending, 0, sizeof node->sending);
    snapshot_free(&node->staged);
    while (node->store.pending_count > 0) {
        pending_pop(&node->store);
    }
    if (node->memory.live_blocks != 0 || node->memory.live_bytes != 0) {
        violate(node->cluster, node->id, "memory was not given back (leak)");
        node->memory.live_blocks = 0;
        node->memory.live_bytes = 0;
    }
}

static int start_node(struct cluster_node *node, int (*restore)(struct cluster_node *))
{
    int code = make_node(node);
    if (code == RAFT_OK) {
        code = node->store.any ? restore(node) : found(node);
    }
    if (code == RAFT_OK && node->durable_machine && node->store.any) {
        code = raft_restore_applied(node->raft, log_last(&node->applied));
    }
    if (code == RAFT_OK) {
        code = raft_start(node->raft, cluster_clock(node->cluster, node->id));
    }
    if (code != RAFT_OK) {
        bring_down(node);
    }
    watch_node(node);
    return code;
}

int cluster_start(struct cluster *cluster)
{
    int code = RAFT_OK;
    for (raft_id id = 1; id <= cluster->count && code == RAFT_OK; id++) {
        code = start_node(&cluster->nodes[id], restore_at_once);
    }
    for (raft_id id = 1; id <= cluster->count && code == RAFT_OK; id++) {
        cluster_poll(cluster, id);
    }
    return code;
}

struct cluster *cluster_new(size_t count)
{
    struct cluster *cluster = cluster_create(count);
    if (cluster_start(cluster) != RAFT_OK) {
        violate(cluster, 0, "the cluster did not start");
    }
    return cluster;
}

static void free_node(struct cluster_node *node)
{
    bring_down(node);
    log_free(&node->applied);
    log_free(&node->store.log);
    for (size_t i = 0; i < CLUSTER_SNAPSHOTS; i++) {
        snapshot_free(&node->snapshots[i]);
    }
    free(node->store.meta);
    free(node->store.pending);
    free(node->events);
}

void cluster_free(struct cluster *cluster)
{
    int clean_before = cluster->violation[0] == 0;
    for (raft_id id = 1; id <= cluster->count; id++) {
        free_node(&cluster->nodes[id]);
    }
    if (clean_before && cluster->violation[0] != 0) {
        fprintf(stderr, "cluster: %s\n", cluster->violation);
        exit(1);
    }
    for (size_t from = 0; from <= CLUSTER_MAX; from++) {
        for (size_t to = 0; to <= CLUSTER_MAX; to++) {
            free(cluster->queues[from][to].numbers);
        }
    }
    for (size_t i = 0; i < cluster->sent_count; i++) {
        free(cluster->sent[i].bytes);
    }
    free(cluster->sent);
    log_free(&cluster->committed);
    free(cluster->reigns);
    free(cluster->votes);
    free(cluster);
}

const char *cluster_violation(const struct cluster *cluster)
{
    return cluster->violation[0] != 0 ? cluster->violation : NULL;
}

/* ---- crashes and restarts ------------------------------------------------------------------- */

size_t cluster_pending_steps(const struct cluster *cluster, raft_id id)
{
    const struct cluster_store *store = &cluster->nodes[id].store;
    size_t steps = 0;
    for (size_t i = 0; i < store->pending_count; i++) {
        steps += write_steps(&store->pending[i]);
    }
    return steps;
}

void cluster_crash_after(struct cluster *cluster, raft_id id, size_t steps)
{
    struct cluster_node *node = &cluster->nodes[id];
    for (size_t i = 0; i < node->store.pending_count; i++) {
        store_write(node, &node->store.pending[i], &steps);
    }
    bring_down(node);
}

void cluster_crash(struct cluster *cluster, raft_id id)
{
    cluster_crash_after(cluster, id, 0);
}

int cluster_restart(struct cluster *cluster, raft_id id)
{
    return start_node(&cluster->nodes[id], restore_at_once);
}

int cluster_restart_stepwise(struct cluster *cluster, raft_id id)
{
    return start_node(&cluster->nodes[id], restore_stepwise);
}

/* ---- storage -------------------------------------------------------------------------------- */

void cluster_store_async(struct cluster *cluster, raft_id id, int async)
{
    for (raft_id each = 1; each <= cluster->count; each++) {
        if (id == 0 || id == each) {
            cluster->nodes[each].store.async = async;
        }
    }
}

/* Completes pending writes up to a count; one raft_persisted for all of them. */
static int complete(struct cluster *cluster, raft_id id, size_t count)
{
    struct cluster_node *node = &cluster->nodes[id];
    struct cluster_store *store = &node->store;
    uint64_t seq = 0;
    for (; count > 0 && store->pending_count > 0; count--) {
        size_t all = SIZE_MAX;
        watch_lent(node, &store->pending[0]);
        seq = store->pending[0].seq;
        store_write(node, &store->pending[0], &all);
        pending_pop(store);
    }
    if (seq == 0 || node->raft == NULL) {
        return RAFT_OK;
    }
    store->confirmed_last = log_last(&store->log);
    int code = raft_persisted(node->raft, seq, RAFT_OK);
    cluster_poll(cluster, id);
    return code;
}

int cluster_complete_one(struct cluster *cluster, raft_id id)
{
    return complete(cluster, id, 1);
}

int cluster_complete(struct cluster *cluster, raft_id id)
{
    return complete(cluster, id, SIZE_MAX);
}

int cluster_fail_write(struct cluster *cluster, raft_id id, int status)
{
    struct cluster_node *node = &cluster->nodes[id];
    if (node->store.pending_count == 0 || node->raft == NULL) {
        return RAFT_OK;
    }
    uint64_t seq = node->store.pending[0].seq;
    pending_pop(&node->store);
    int code = raft_persisted(node->raft, seq, status);
    cluster_poll(cluster, id);
    return code;
}

int cluster_complete_apply(struct cluster *cluster, raft_id id)
{
    struct cluster_node *node = &cluster->nodes[id];
    raft_index last = node->apply_pending;
    if (last == 0 || node->raft == NULL) {
        return RAFT_OK;
    }
    if (hash_of(node->apply_lent.data, node->apply_lent.size) != node->apply_hash) {
        violate(cluster, id, "bytes lent to apply changed before completion");
    }
    node->apply_pending = 0;
    int code = raft_applied(node->raft, last, RAFT_OK);
    cluster_poll(cluster, id);
    return code;
}

const struct cluster_entry *cluster_stored(const struct cluster *cluster, raft_id id,
                                           raft_index index)
{
    return log_at(&cluster->nodes[id].store.log, index);
}

/* ---- snapshots ------------------------------------------------------------------------------ */

int cluster_compact(struct cluster *cluster, raft_id id)
{
    struct cluster_node *node = &cluster->nodes[id];
    uint8_t meta[RAFT_META_MAX];
    struct cluster_snapshot snapshot = {0};
    int code = raft_snapshot_meta(node->raft, meta, sizeof meta, &snapshot.meta_size);
    if (code != RAFT_OK) {
        return code;
    }
    raft_meta_read(meta, snapshot.meta_size, &snapshot.index, &snapshot.term);
    if (snapshot.index != log_last(&node->applied)) {
        violate(cluster, id, "metadata is not of what is applied (I19)");
    }
    if (snapshot.index <= node->snapshots[0].index) {
        return raft_compact(node->raft, meta, snapshot.meta_size);
    }
    snapshot.meta = copied(meta, snapshot.meta_size);
    snapshot.whole = 1;
    machine_save(&node->applied, &snapshot);
    snapshot_push(node, &snapshot);
    code = raft_compact(node->raft, meta, snapshot.meta_size);
    node->spin_count = 0;
    watch_node(node);
    log_forget(&node->store.log, cluster_status(cluster, id).first_index - 1);
    return code;
}

int cluster_ship(struct cluster *cluster, raft_id from, raft_id to)
{
    const struct cluster_snapshot *snapshot = &cluster->nodes[from].snapshots[0];
    struct cluster_node *node = &cluster->nodes[to];
    snapshot_free(&node->staged);
    node->staged = *snapshot;
    node->staged.meta = copied(snapshot->meta, snapshot->meta_size);
    node->staged.bytes = copied(snapshot->bytes, snapshot->size);
    int code = raft_snapshot_received(node->raft, snapshot->meta, snapshot->meta_size);
    node->spin_count = 0;
    watch_node(node);
    cluster_poll(cluster, to);
    if (cluster->nodes[from].raft != NULL) {
        raft_snapshot_sent(cluster->nodes[from].raft, to, code);
        cluster_poll(cluster, from);
    }
    return code;
}

int cluster_complete_reads(struct cluster *cluster, raft_id id)
{
    struct cluster_node *node = &cluster->nodes[id];
    int code = RAFT_OK;
    for (raft_id peer = 1; peer <= cluster->count && code == RAFT_OK; peer++) {
        raft_chunk chunk = node->reads[peer];
        if (chunk.data != NULL && node->raft != NULL) {
            node->reads[peer].data = NULL;
            int status = node->read_fail != 0 ? node->read_fail : fill_chunk(node, &chunk);
            code = raft_chunk_read(node->raft, &chunk, status);
        }
    }
    cluster_poll(cluster, id);
    return code;
}

int cluster_complete_chunk(struct cluster *cluster, raft_id id)
{
    struct cluster_node *node = &cluster->nodes[id];
    if (!node->chunk_pending || node->raft == NULL) {
        return RAFT_OK;
    }
    const uint8_t *bytes = node->staged.bytes + node->staged.size - node->chunk.size;
    if (node->chunk.size > 0 && memcmp(node->chunk.data, bytes, node->chunk.size) != 0) {
        violate(cluster, id, "bytes lent to snapshot_write changed before completion");
    }
    node->chunk_pending = 0;
    node->staged.whole = node->chunk.last && node->write_fail == 0;
    int code = raft_chunk_written(node->raft, node->write_fail);
    cluster_poll(cluster, id);
    return code;
}

int cluster_complete_fetches(struct cluster *cluster, raft_id id)
{
    struct cluster_node *node = &cluster->nodes[id];
    int code = RAFT_OK;
    for (raft_id peer = 1; peer <= cluster->count && code == RAFT_OK; peer++) {
        raft_fetch fetch = node->fetches[peer];
        if (fetch.data != NULL && node->raft != NULL) {
            node->fetches[peer].data = NULL;
            int status = node->fetch_fail != 0 ? node->fetch_fail : fill_fetch(node, &fetch);
            code = raft_log_read(node->raft, &fetch, status);
        }
    }
    cluster_poll(cluster, id);
    return code;
}

int cluster_transfers(const struct cluster *cluster, raft_id id)
{
    const struct cluster_node *node = &cluster->nodes[id];
    int count = node->receiving != 0;
    for (raft_id peer = 1; peer <= cluster->count; peer++) {
        count += node->sending[peer] != 0;
    }
    return count;
}

/* ---- time ----------------------------------------------------------------------------------- */

uint64_t cluster_clock(const struct cluster *cluster, raft_id id)
{
    return cluster->now_ms + (uint64_t)cluster->nodes[id].skew_ms;
}

int cluster_poll_at(struct cluster *cluster, raft_id id, uint64_t now_ms)
{
    struct cluster_node *node = &cluster->nodes[id];
    if (node->raft == NULL) {
        return RAFT_OK;
    }
    if (node->spin_ms != now_ms) {
        node->spin_ms = now_ms;
        node->spin_count = 0;
    }
    if (++node->spin_count > SPIN_LIMIT) {
        violate(cluster, id, "the deadline stays due although nothing happens (busy loop)");
    }
    int code = raft_poll(node->raft, now_ms);
    watch_node(node);
    return code;
}

int cluster_poll(struct cluster *cluster, raft_id id)
{
    return cluster_poll_at(cluster, id, cluster_clock(cluster, id));
}

static int is_due(const struct cluster *cluster, raft_id id)
{
    const struct cluster_node *node = &cluster->nodes[id];
    return node->raft != NULL && raft_deadline(node->raft) <= cluster_clock(cluster, id);
}

/* When a node wants to be polled, on the cluster's clock. */
static uint64_t due_ms(const struct cluster *cluster, raft_id id)
{
    const struct cluster_node *node = &cluster->nodes[id];
    uint64_t deadline = node->raft != NULL ? raft_deadline(node->raft) : RAFT_NEVER;
    uint64_t clock = cluster_clock(cluster, id);
    if (deadline == RAFT_NEVER) {
        return RAFT_NEVER;
    }
    return deadline <= clock ? cluster->now_ms : cluster->now_ms + (deadline - clock);
}

/* Polls a node as often as it asks for at this instant. Whether it did. */
static int poll_while_due(struct cluster *cluster, raft_id id)
{
    int polled = 0;
    while (is_due(cluster, id) && cluster->violation[0] == 0) {
        cluster_poll(cluster, id);
        polled = 1;
    }
    return polled;
}

static int poll_all_due(struct cluster *cluster)
{
    int polled = 0;
    for (raft_id id = 1; id <= cluster->count; id++) {
        polled |= poll_while_due(cluster, id);
    }
    return polled;
}

static uint64_t next_due_ms(const struct cluster *cluster)
{
    uint64_t next = RAFT_NEVER;
    for (raft_id id = 1; id <= cluster->count; id++) {
        uint64_t due = due_ms(cluster, id);
        next = due < next ? due : next;
    }
    return next;
}

void cluster_advance(struct cluster *cluster, uint64_t ms)
{
    uint64_t end = cluster->now_ms + ms;
    poll_all_due(cluster);
    while (cluster->violation[0] == 0) {
        uint64_t next = next_due_ms(cluster);
        if (next > end) {
            break;
        }
        cluster->now_ms = next;
        poll_all_due(cluster);
    }
    cluster->now_ms = end;
}

void cluster_advance_node(struct cluster *cluster, raft_id id, uint64_t ms)
{
    struct cluster_node *node = &cluster->nodes[id];
    poll_while_due(cluster, id);
    while (cluster->violation[0] == 0) {
        uint64_t due = due_ms(cluster, id);
        if (due == RAFT_NEVER || due - cluster->now_ms > ms) {
            break;
        }
        ms -= due - cluster->now_ms;
        node->skew_ms += (int64_t)(due - cluster->now_ms);
        poll_while_due(cluster, id);
    }
    node->skew_ms += (int64_t)ms;
}

/* The number of the oldest message that may be delivered by itself; 0: none. *at: when. */
static uint64_t oldest_flowing(const struct cluster *cluster, uint64_t *at)
{
    uint64_t oldest = 0;
    for (size_t from = 1; from <= cluster->count; from++) {
        for (size_t to = 1; to <= cluster->count; to++) {
            const struct cluster_queue *queue = &cluster->queues[from][to];
            if (!queue->hold && queue->count > 0 && (oldest == 0 || queue->numbers[0] < oldest)) {
                oldest = queue->numbers[0];
            }
        }
    }
    if (oldest != 0) {
        *at = cluster->sent[oldest - 1].sent_ms + cluster->latency_ms;
    }
    return oldest;
}

static int deliver_oldest_due(struct cluster *cluster)
{
    uint64_t at = 0, number = oldest_flowing(cluster, &at);
    if (number == 0 || at > cluster->now_ms) {
        return 0;
    }
    const raft_message *message = &cluster->sent[number - 1].message;
    cluster_deliver(cluster, message->from, message->to);
    return 1;
}

void cluster_settle(struct cluster *cluster)
{
    int moved = 1;
    for (int i = 0; moved && cluster->violation[0] == 0; i++) {
        if (i == SETTLE_LIMIT) {
            violate(cluster, 0, "messages go round for ever without time passing");
        }
        moved = poll_all_due(cluster);
        moved |= deliver_oldest_due(cluster);
    }
}

/* The next instant at which a node or a message is due. */
static uint64_t next_instant(const struct cluster *cluster)
{
    uint64_t next = next_due_ms(cluster);
    uint64_t at = 0;
    if (oldest_flowing(cluster, &at) != 0 && at < next) {
        next = at;
    }
    return next < cluster->now_ms ? cluster->now_ms : next;
}

int cluster_run_until(struct cluster *cluster, int (*done)(struct cluster *), uint64_t ms)
{
    uint64_t end = cluster->now_ms + ms;
    cluster_settle(cluster);
    while (cluster->violation[0] == 0 && !done(cluster)) {
        uint64_t next = next_instant(cluster);
        if (next > end) {
            cluster->now_ms = end;
            return 0;
        }
        cluster->now_ms = next;
        cluster_settle(cluster);
    }
    return cluster->violation[0] == 0;
}

static int never(struct cluster *cluster)
{
    (void)cluster;
    return 0;
}

void cluster_run(struct cluster *cluster, uint64_t ms)
{
    cluster_run_until(cluster, never, ms);
}

/* ---- network -------------------------------------------------------------------------------- */

enum { LINK_CUT, LINK_HOLD, LINK_HEAL, LINK_DROP };

static void change_link(struct cluster_queue *queue, int what)
{
    switch (what) {
    case LINK_CUT:
        queue->cut = 1;
        queue->count = 0;
        break;
    case LINK_HOLD:
        queue->hold = 1;
        break;
    case LINK_DROP:
        queue->count = 0;
        break;
    default:
        queue->cut = 0;
        queue->hold = 0;
        break;
    }
}

static void change_links(struct cluster *cluster, raft_id from, raft_id to, int what)
{
    for (raft_id i = 1; i <= cluster->count; i++) {
        for (raft_id j = 1; j <= cluster->count; j++) {
            if ((from == 0 || from == i) && (to == 0 || to == j)) {
                change_link(&cluster->queues[i][j], what);
            }
        }
    }
}

void cluster_cut(struct cluster *cluster, raft_id from, raft_id to)
{
    change_links(cluster, from, to, LINK_CUT);
}

void cluster_hold(struct cluster *cluster, raft_id from, raft_id to)
{
    change_links(cluster, from, to, LINK_HOLD);
}

void cluster_heal(struct cluster *cluster, raft_id from, raft_id to)
{
    change_links(cluster, from, to, LINK_HEAL);
}

void cluster_isolate(struct cluster *cluster, raft_id id)
{
    cluster_cut(cluster, id, 0);
    cluster_cut(cluster, 0, id);
}

void cluster_split(struct cluster *cluster, raft_id one, raft_id other)
{
    cluster_cut(cluster, one, other);
    cluster_cut(cluster, other, one);
}

void cluster_heal_all(struct cluster *cluster)
{
    cluster_heal(cluster, 0, 0);
}

size_t cluster_queued(const struct cluster *cluster, raft_id from, raft_id to)
{
    return cluster->queues[from][to].count;
}

const struct cluster_message *cluster_peek(const struct cluster *cluster, raft_id from, raft_id to,
                                           size_t position)
{
    const struct cluster_queue *queue = &cluster->queues[from][to];
    return position < queue->count ? &cluster->sent[queue->numbers[position] - 1] : NULL;
}

static uint64_t take(struct cluster_queue *queue, size_t position)
{
    uint64_t number = queue->numbers[position];
    queue->count--;
    memmove(queue->numbers + position, queue->numbers + position + 1,
            (queue->count - position) * sizeof queue->numbers[0]);
    return number;
}

/* Hands the wire form in as a block of its own, so that a read past its end is seen. */
static int receive_number(struct cluster *cluster, uint64_t number)
{
    const struct cluster_message *kept = &cluster->sent[number - 1];
    struct cluster_node *node = &cluster->nodes[kept->message.to];
    if (node->raft == NULL) {
        return RAFT_OK;
    }
    uint8_t *bytes = must(malloc(kept->size));
    memcpy(bytes, kept->bytes, kept->size);
    int code = raft_receive_bytes(node->raft, bytes, kept->size);
    scrub(bytes, 0xdb, kept->size);
    free(bytes);
    node->spin_count = 0;
    watch_node(node);
    if (code < 0 && code > RAFT_ENOTLEADER && cluster->forged == 0) {
        violate(cluster, node->id, "refused what a correct server sent");
    }
    return code;
}

int cluster_receive(struct cluster *cluster, raft_id from, raft_id to)
{
    struct cluster_queue *queue = &cluster->queues[from][to];
    return queue->count > 0 ? receive_number(cluster, take(queue, 0)) : RAFT_OK;
}

int cluster_deliver_at(struct cluster *cluster, raft_id from, raft_id to, size_t position)
{
    struct cluster_queue *queue = &cluster->queues[from][to];
    if (position >= queue->count) {
        return RAFT_OK;
    }
    int code = receive_number(cluster, take(queue, position));
    cluster_poll(cluster, to);
    return code;
}

int cluster_deliver(struct cluster *cluster, raft_id from, raft_id to)
{
    return cluster_deliver_at(cluster, from, to, 0);
}

size_t cluster_deliver_all(struct cluster *cluster, raft_id from, raft_id to)
{
    size_t count = cluster_queued(cluster, from, to);
    for (size_t i = 0; i < count; i++) {
        cluster_deliver(cluster, from, to);
    }
    return count;
}

void cluster_drop(struct cluster *cluster, raft_id from, raft_id to)
{
    struct cluster_queue *queue = &cluster->queues[from][to];
    if (queue->count > 0) {
        take(queue, 0);
    }
}

void cluster_drop_all(struct cluster *cluster, raft_id from, raft_id to)
{
    change_links(cluster, from, to, LINK_DROP);
}

void cluster_duplicate(struct cluster *cluster, raft_id from, raft_id to)
{
    struct cluster_queue *queue = &cluster->queues[from][to];
    if (queue->count > 0) {
        enqueue(cluster, queue->numbers[0]);
    }
}

int cluster_replay(struct cluster *cluster, uint64_t number)
{
    int code = receive_number(cluster, number);
    cluster_poll(cluster, cluster->sent[number - 1].message.to);
    return code;
}

raft_message cluster_forge(const struct cluster *cluster, raft_id from, raft_id to, raft_term term,
                           int kind)
{
    raft_message message;
    memset(&message, 0, sizeof message);
    message.cluster = cluster->nodes[to].options.cluster;
    message.group = cluster->nodes[to].options.group;
    message.from = from;
    message.to = to;
    message.term = term;
    message.kind = kind;
    message.protocol = cluster->nodes[to].options.protocol;
    return message;
}

int cluster_inject(struct cluster *cluster, raft_id to, const raft_message *message)
{
    struct cluster_node *node = &cluster->nodes[to];
    cluster->forged++;
    int code = raft_receive(node->raft, message);
    node->spin_count = 0;
    watch_node(node);
    cluster_poll(cluster, to);
    return code;
}

/* ---- what was sent -------------------------------------------------------------------------- */

uint64_t cluster_mark(const struct cluster *cluster)
{
    return cluster->sent_count;
}

const struct cluster_message *cluster_sent(const struct cluster *cluster, uint64_t mark,
                                           raft_id from, raft_id to, int kind)
{
    for (uint64_t i = mark; i < cluster->sent_count; i++) {
        const raft_message *message = &cluster->sent[i].message;
        if ((from == 0 || message->from == from) && (to == 0 || message->to == to) &&
            (kind == 0 || message->kind == kind)) {
            return &cluster->sent[i];
        }
    }
    return NULL;
}

size_t cluster_sent_count(const struct cluster *cluster, uint64_t mark, raft_id from, raft_id to,
                          int kind)
{
    size_t count = 0;
    const struct cluster_message *found_one;
    while ((found_one = cluster_sent(cluster, mark, from, to, kind)) != NULL) {
        mark = found_one->number;
        count++;
    }
    return count;
}

uint64_t cluster_traffic_hash(const struct cluster *cluster)
{
    uint64_t hash = hash_of("", 0);
    for (size_t i = 0; i < cluster->sent_count; i++) {
        const struct cluster_message *kept = &cluster->sent[i];
        hash = hashed(hash, &kept->sent_ms, sizeof kept->sent_ms);
        hash = hashed(hash, kept->bytes, kept->size);
    }
    return hash;
}

/* ---- leading and proposing ------------------------------------------------------------------ */

/* Lets the voters forget a leader: it is cut off for the shortest election timeout. */
static void outwait(struct cluster *cluster, raft_id leader, raft_id next)
{
    if (leader == 0 || leader == next) {
        return;
    }
    cluster_isolate(cluster, leader);
    cluster_run(cluster, cluster->nodes[next].options.election_timeout_ms);
}

static void campaign(struct cluster *cluster, raft_id id)
{
    if (cluster->nodes[id].raft != NULL) {
        raft_campaign(cluster->nodes[id].raft);
    }
    cluster_settle(cluster);
}

/* Heals what outwait cut, leaving alone what the script had cut before. */
static void rejoin(struct cluster *cluster, raft_id id, int cuts[CLUSTER_MAX + 1][2])
{
    for (raft_id other = 1; id != 0 && other <= cluster->count; other++) {
        cluster->queues[id][other].cut = cuts[other][0];
        cluster->queues[other][id].cut = cuts[other][1];
    }
}

int cluster_elect(struct cluster *cluster, raft_id id)
{
    int asyncs[CLUSTER_MAX + 1];
    for (raft_id each = 1; each <= cluster->count; each++) {
        asyncs[each] = cluster->nodes[each].store.async;
        cluster->nodes[each].store.async = 0;
        cluster_complete(cluster, each);
    }
    cluster_settle(cluster);
    for (int tries = 0; tries < 20 && cluster_role(cluster, id) != RAFT_ROLE_LEADER; tries++) {
        int cuts[CLUSTER_MAX + 1][2] = {{0, 0}};
        raft_id leader = cluster_leader(cluster);
        for (raft_id other = 1; leader != 0 && other <= cluster->count; other++) {
            cuts[other][0] = cluster->queues[leader][other].cut;
            cuts[other][1] = cluster->queues[other][leader].cut;
        }
        outwait(cluster, leader, id);
        campaign(cluster, id);
        rejoin(cluster, leader, cuts);
        cluster_settle(cluster);
        if (cluster_leader(cluster) != id) {
            cluster_run(cluster, cluster->nodes[id].options.heartbeat_ms);
        }
    }
    for (raft_id each = 1; each <= cluster->count; each++) {
        cluster->nodes[each].store.async = asyncs[each];
    }
    cluster_run(cluster, cluster->nodes[id].options.heartbeat_ms);
    return cluster_leader(cluster) == id;
}

raft_id cluster_leader(const struct cluster *cluster)
{
    raft_id leader = 0;
    raft_term term = 0;
    for (raft_id id = 1; id <= cluster->count; id++) {
        if (cluster->nodes[id].raft != NULL && cluster_role(cluster, id) == RAFT_ROLE_LEADER &&
            cluster_term(cluster, id) > term) {
            leader = id;
            term = cluster_term(cluster, id);
        }
    }
    return leader;
}

raft_id cluster_stable_leader(const struct cluster *cluster)
{
    raft_id leader = cluster_leader(cluster);
    size_t followers = 0;
    for (raft_id id = 1; id <= cluster->count && leader != 0; id++) {
        if (cluster->nodes[id].raft != NULL) {
            raft_status status = cluster_status(cluster, id);
            followers += status.leader == leader && status.term == cluster_term(cluster, leader);
        }
    }
    return followers > cluster->founders / 2 ? leader : 0;
}

raft_index cluster_propose_code(struct cluster *cluster, raft_id id, const char *text, int *code)
{
    raft_index index = 0;
    int result = raft_propose(cluster->nodes[id].raft, text, strlen(text), &index, NULL);
    cluster->nodes[id].spin_count = 0;
    if (code != NULL) {
        *code = result;
    }
    return result == RAFT_OK ? index : 0;
}

raft_index cluster_propose(struct cluster *cluster, raft_id id, const char *text)
{
    return cluster_propose_code(cluster, id, text, NULL);
}

/* ---- inspecting ----------------------------------------------------------------------------- */

raft_status cluster_status(const struct cluster *cluster, raft_id id)
{
    raft_status status;
    memset(&status, 0, sizeof status);
    status.size = sizeof status;
    if (cluster->nodes[id].raft != NULL) {
        raft_get_status(cluster->nodes[id].raft, &status);
    }
    return status;
}

int cluster_role(const struct cluster *cluster, raft_id id)
{
    return cluster_status(cluster, id).role;
}

raft_term cluster_term(const struct cluster *cluster, raft_id id)
{
    return cluster_status(cluster, id).term;
}

raft_index cluster_commit(const struct cluster *cluster, raft_id id)
{
    return cluster_status(cluster, id).commit_index;
}

raft_peer_status cluster_peer(const struct cluster *cluster, raft_id leader, raft_id peer)
{
    raft_peer_status status;
    for (size_t position = 0;; position++) {
        memset(&status, 0, sizeof status);
        if (raft_get_peer(cluster->nodes[leader].raft, position, &status) != RAFT_OK ||
            status.id == peer) {
            return status;
        }
    }
}

const struct cluster_entry *cluster_applied(const struct cluster *cluster, raft_id id,
                                            raft_index index)
{
    return log_at(&cluster->nodes[id].applied, index);
}

const char *cluster_applied_text(const struct cluster *cluster, raft_id id, raft_index index)
{
    const struct cluster_entry *entry = cluster_applied(cluster, id, index);
    return entry != NULL ? entry->data : NULL;
}

int cluster_converged(const struct cluster *cluster)
{
    raft_status first = {0};
    int any = 0;
    for (raft_id id = 1; id <= cluster->count; id++) {
        raft_status status = cluster_status(cluster, id);
        if (cluster->nodes[id].raft == NULL) {
            continue;
        }
        if (any && (status.term != first.term || status.last_index != first.last_index ||
                    status.commit_index != first.commit_index ||
                    status.applied_index != first.applied_index)) {
            return 0;
        }
        first = status;
        any = 1;
    }
    return any && first.applied_index == first.last_index;
}

const raft_event *cluster_event(const struct cluster *cluster, raft_id id, size_t since, int kind)
{
    const struct cluster_node *node = &cluster->nodes[id];
    for (size_t i = since; i < node->event_count; i++) {
        if (kind == 0 || node->events[i].event.kind == kind) {
            return &node->events[i].event;
        }
    }
    return NULL;
}

size_t cluster_event_count(const struct cluster *cluster, raft_id id, size_t since, int kind)
{
    const struct cluster_node *node = &cluster->nodes[id];
    size_t count = 0;
    for (size_t i = since; i < node->event_count; i++) {
        count += kind == 0 || node->events[i].event.kind == kind;
    }
    return count;
}

const raft_event *cluster_read_answer(const struct cluster *cluster, raft_id id, uint64_t tag)
{
    const struct cluster_node *node = &cluster->nodes[id];
    for (size_t i = 0; i < node->event_count; i++) {
        if (node->events[i].event.kind == RAFT_EVENT_READ && node->events[i].event.tag == tag) {
            return &node->events[i].event;
        }
    }
    return NULL;
}

size_t cluster_read_answers(const struct cluster *cluster, raft_id id, uint64_t tag)
{
    const struct cluster_node *node = &cluster->nodes[id];
    size_t count = 0;
    for (size_t i = 0; i < node->event_count; i++) {
        count += node->events[i].event.kind == RAFT_EVENT_READ && node->events[i].event.tag == tag;
    }
    return count;
}

int cluster_outcome(const struct cluster *cluster, raft_id id, raft_index index, raft_term term)
{
    const struct cluster_node *node = &cluster->nodes[id];
    for (size_t i = 0; i < node->event_count; i++) {
        const raft_event *event = &node->events[i].event;
        if (event->kind == RAFT_EVENT_DROPPED && event->term == term && event->first <= index &&
            index <= event->last) {
            return event->status;
        }
    }
    return 0;
}

uint64_t cluster_fingerprint(const struct cluster *cluster, raft_id id)
{
    char text[8192];
    raft_status status = cluster_status(cluster, id);
    const raft *node = cluster->nodes[id].raft;
    const uint64_t values[] = {(uint64_t)status.role,
                               (uint64_t)status.error,
                               status.term,
                               status.vote,
                               status.leader,
                               status.first_index,
                               status.last_index,
                               status.durable_index,
                               status.commit_index,
                               status.applied_index,
                               status.log_bytes,
                               status.uncommitted_bytes,
                               status.last_contact_ms,
                               status.member_count,
                               (uint64_t)status.quorum_ok,
                               status.writes_pending,
                               status.reads_pending,
                               status.counters.messages_sent,
                               status.counters.writes,
                               status.counters.elections_started,
                               status.counters.elections_won,
                               status.counters.entries_proposed,
                               raft_deadline(node)};
    size_t length = raft_describe_node(node, text, sizeof text);
    uint64_t hash = hash_of(text, length < sizeof text ? length : sizeof text - 1);
    return hashed(hash, values, sizeof values);
}
