/*
 * Linearizable reads by read-index (Raft dissertation §6.4, rule R49).
 *
 * A read remembers the commit index of its arrival, at least that of the leader's own no-op: what
 * an earlier leader acknowledged lies below the no-op, though the commit index may not show it yet.
 * It is answered when a commit quorum has echoed a round begun after it arrived, which proves that
 * no newer leader had committed anything by then, and when the state machine has reached its index.
 *
 * Reads wait in order of arrival, and both conditions rise along the queue, so one look at its head
 * releases all that can go. Rounds are the engine's own numbers: a repeated or late answer echoes
 * an old round and confirms nothing new.
 */
#include "raft_internal.h"

static struct raft__read *read_at(const struct raft__reads *reads, uint32_t position)
{
    return &reads->items[(reads->head + position) & (reads->capacity - 1)];
}

static int reads_grow(raft *node)
{
    struct raft__reads *reads = &node->reads;
    uint32_t wanted = reads->capacity == 0 ? 8 : reads->capacity * 2;
    struct raft__read *items =
        (struct raft__read *)raft__resize(&node->memory, NULL, 0, wanted * sizeof(*items));
    if (items == NULL) {
        return RAFT_ENOMEM;
    }
    for (uint32_t i = 0; i < reads->count; i++) {
        items[i] = *read_at(reads, i);
    }
    raft__free(&node->memory, reads->items, reads->capacity * sizeof(*items));
    reads->items = items;
    reads->capacity = wanted;
    reads->head = 0;
    return RAFT_OK;
}

static int read_begin(raft *node, uint64_t tag)
{
    struct raft__reads *reads = &node->reads;
    if (reads->count >= node->options.reads_max) {
        return RAFT_EBUSY;
    }
    if (reads->count == reads->capacity && reads_grow(node) != RAFT_OK) {
        return RAFT_ENOMEM;
    }
    raft_index index = node->commit_index > node->own_first ? node->commit_index : node->own_first;
    struct raft__read read = {tag, index, 0};
    *read_at(reads, reads->count) = read;
    reads->count++;
    node->dirty = 1;
    return RAFT_OK;
}

int raft_read(raft *node, uint64_t tag)
{
    int status = raft__enter(node, 1);
    if (status != RAFT_OK) {
        return status;
    }
    if (node->callbacks.notify == NULL) {
        return RAFT_ESTATE;
    }
    status = raft__must_lead(node);
    return status != RAFT_OK ? status : read_begin(node, tag);
}

int raft__reads_need_round(const raft *node)
{
    const struct raft__reads *reads = &node->reads;
    return reads->count > reads->failed && read_at(reads, reads->count - 1)->round == 0;
}

/* Those without a round are at the end of the queue. */
void raft__reads_join_round(raft *node, uint64_t round)
{
    struct raft__reads *reads = &node->reads;
    for (uint32_t i = reads->count; i > reads->failed && read_at(reads, i - 1)->round == 0; i--) {
        read_at(reads, i - 1)->round = round;
    }
}

/* The newest round that a commit quorum has echoed, the leader itself included. */
static uint64_t confirmed_round(const raft *node)
{
    uint64_t rounds[RAFT_MEMBERS_MAX];
    for (uint32_t i = 0; i < node->peer_count; i++) {
        rounds[i] = i == node->self ? node->round : node->peers[i].round_echoed;
    }
    return raft__quorum_value(&node->quorums, rounds);
}

void raft__reads_fail(raft *node)
{
    node->reads.failed = node->reads.count;
    node->dirty = 1;
}

/* Why reads fail that were accepted by a leader: another leads now, or none, or nothing works. */
static int failure_of(const raft *node)
{
    if (node->error != RAFT_OK) {
        return node->error;
    }
    return node->leader != 0 && node->leader != node->id ? RAFT_ENOTLEADER : RAFT_ENOLEADER;
}

int raft__reads_next(raft *node, raft_event *event)
{
    struct raft__reads *reads = &node->reads;
    if (reads->count == 0) {
        return 0;
    }
    const struct raft__read *read = read_at(reads, 0);
    int failed = reads->failed > 0;
    if (!failed && (read->round == 0 || node->applied_index < read->index ||
                    confirmed_round(node) < read->round)) {
        return 0;
    }
    memset(event, 0, sizeof(*event));
    event->kind = RAFT_EVENT_READ;
    event->status = failed ? failure_of(node) : RAFT_OK;
    event->tag = read->tag;
    event->index = failed ? 0 : read->index;
    event->term = node->state.term;
    event->leader = node->leader;
    reads->head = (reads->head + 1) & (reads->capacity - 1);
    reads->count--;
    reads->failed -= (uint32_t)failed;
    return 1;
}

void raft__reads_free(raft *node)
{
    raft__free(&node->memory, node->reads.items, node->reads.capacity * sizeof(struct raft__read));
    memset(&node->reads, 0, sizeof(node->reads));
}
