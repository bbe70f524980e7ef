/*
 * Proposals: taken by a leader, and each of them answered (R62).
 *
 * An accepted proposal has an index and a term, and one of three ends. It is applied, which the
 * host sees by itself. It is dropped: an entry of a later term was committed at its index. Or it is
 * unknown, when this server stops or has lost track. To be truncated is no end: another server may
 * still hold the entry and lead.
 *
 * While a server leads, nothing has to be remembered: what it proposed stays in its log. When it
 * stops leading, the open proposals are one run of indexes in one term. Such runs wait until what
 * is applied has judged them.
 */
#include "raft_internal.h"

/* ---- Taking --------------------------------------------------------------------------------- */

int raft__must_lead(const raft *node)
{
    if (node->role == RAFT_ROLE_LEADER) {
        return RAFT_OK;
    }
    if (!raft__is_voter(node)) {
        return RAFT_ENOTMEMBER;
    }
    return node->leader != 0 ? RAFT_ENOTLEADER : RAFT_ENOLEADER;
}

uint64_t raft__uncommitted_bytes(const raft *node)
{
    return node->log.end_position - node->commit_position;
}

/* Whether entries of this sum may join the uncommitted tail; empty ones always may (R34). */
static int quota_allows(const raft *node, size_t count, uint64_t bytes)
{
    uint64_t tail = raft__uncommitted_bytes(node);
    return bytes == count * RAFT_ENTRY_HEADER || tail == 0 ||
           tail + bytes <= node->options.uncommitted_bytes_max;
}

/* Whether each payload may be proposed; *bytes is their sum when encoded. */
static inline int payloads_check(const raft *node, const raft_buf *payloads, size_t count,
                                 size_t *bytes)
{
    size_t encoded_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (payloads[i].data == NULL && payloads[i].size != 0) {
            return RAFT_EARG;
        }
        if (payloads[i].size > node->options.entry_bytes_max) {
            return RAFT_ESIZE;
        }
        encoded_bytes += raft__entry_size(payloads[i].size);
    }
    *bytes = encoded_bytes;
    return RAFT_OK;
}

/* Inline: one payload is the usual number, and costs no loops then. */
static inline int take_proposals(raft *node, const raft_buf *payloads, size_t count,
                                 raft_index *first, raft_term *term)
{
    size_t bytes = 0;
    int status = payloads_check(node, payloads, count, &bytes);
    if (status == RAFT_OK) {
        status = raft__must_lead(node);
    }
    if (status == RAFT_OK && !quota_allows(node, count, bytes)) {
        status = RAFT_EBUSY;
    }
    if (status == RAFT_OK) {
        status = raft__log_append(&node->log, &node->memory, node->state.term, RAFT_ENTRY_DATA,
                                  payloads, count, bytes);
    }
    if (status != RAFT_OK) {
        return status;
    }
    if (first != NULL) {
        *first = node->log.last_index - count + 1;
    }
    if (term != NULL) {
        *term = node->state.term;
    }
    node->counters.entries_proposed += count;
    node->dirty = 1;
    return RAFT_OK;
}

int raft_propose_many(raft *node, const raft_buf *payloads, size_t count, raft_index *first,
                      raft_term *term)
{
    int status = raft__enter(node, 1);
    if (status != RAFT_OK) {
        return status;
    }
    return payloads == NULL || count == 0 ? RAFT_EARG
                                          : take_proposals(node, payloads, count, first, term);
}

int raft_propose(raft *node, const void *data, size_t size, raft_index *index, raft_term *term)
{
    raft_buf payload = {data, size};
    int status = raft__enter(node, 1);
    return status != RAFT_OK ? status : take_proposals(node, &payload, 1, index, term);
}

/* ---- Their fate ----------------------------------------------------------------------------- */

static void own_forget(raft *node, uint32_t position)
{
    node->own_count--;
    for (uint32_t i = position; i < node->own_count; i++) {
        node->own[i] = node->own[i + 1];
    }
}

/* When the last place is taken, the oldest run is given up: there is one again in the next poll. */
void raft__own_remember(raft *node)
{
    raft_index first =
        node->own_first > node->applied_index ? node->own_first : node->applied_index;
    struct raft__own run = {node->state.term, first + 1, node->log.last_index, 0};
    if (run.first > run.last) {
        return;
    }
    RAFT_ASSERT(node->own_count < RAFT__OWN); /* to lead once more takes a poll */
    node->own[node->own_count++] = run;
    if (node->own_count == RAFT__OWN && node->own[0].status == 0) {
        node->own[0].status = RAFT_EUNKNOWN;
    }
    node->dirty = 1;
}

/*
 * What was applied of the run, the host has seen. The rest is settled as soon as anything of a
 * later term is applied, even below the run: terms only rise along the log, so no entry of the run
 * can follow any more.
 */
static void own_judge(raft *node, struct raft__own *run)
{
    raft_index last = run->last < node->applied_index ? run->last : node->applied_index;
    if (run->first <= last) {
        raft_index foreign = raft__log_mismatch(&node->log, run->first, last, run->term);
        run->first = foreign != 0 ? foreign : last + 1;
    }
    if (raft__log_term(&node->log, node->applied_index) > run->term) {
        run->status = RAFT_EDROPPED;
    }
}

void raft__own_settle(raft *node)
{
    for (uint32_t i = node->own_count; i > 0; i--) {
        struct raft__own *run = &node->own[i - 1];
        own_judge(node, run);
        if (run->first > run->last) {
            own_forget(node, i - 1);
        }
    }
}

void raft__own_give_up(raft *node)
{
    for (uint32_t i = 0; i < node->own_count; i++) {
        if (node->own[i].status == 0) {
            node->own[i].status = RAFT_EUNKNOWN;
        }
    }
}

int raft__own_next(raft *node, raft_event *event)
{
    for (uint32_t i = 0; i < node->own_count; i++) {
        const struct raft__own *run = &node->own[i];
        if (run->status == 0) {
            continue;
        }
        memset(event, 0, sizeof(*event));
        event->kind = RAFT_EVENT_DROPPED;
        event->status = run->status;
        event->term = run->term;
        event->first = run->first;
        event->last = run->last;
        own_forget(node, i);
        return 1;
    }
    return 0;
}
