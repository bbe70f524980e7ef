/*
 * Proposals: taken by a leader, sent to it by the others, and each of them answered (R62, R63).
 *
 * An accepted proposal has an index and a term, and one of three ends. It is applied, which the
 * host sees by itself. It is dropped: an entry of a later term was committed at its index. Or it is
 * unknown, when this server stops or has lost track. To be truncated is no end: another server may
 * still hold the entry and lead. But where nothing may ever follow that would judge it, as under a
 * leader in Multi-Paxos that has not adopted it, it is told as unknown.
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
    if (node->self >= node->peer_count) {
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

static inline int payload_check(const raft *node, const void *data, size_t size)
{
    if (data == NULL && size != 0) {
        return RAFT_EARG;
    }
    return size > node->options.entry_bytes_max ? RAFT_ESIZE : RAFT_OK;
}

/* Whether each payload may be proposed; *bytes is their sum when encoded. */
static int payloads_check(const raft *node, const raft_buf *payloads, size_t count, size_t *bytes)
{
    *bytes = 0;
    for (size_t i = 0; i < count; i++) {
        int status = payload_check(node, payloads[i].data, payloads[i].size);
        if (status != RAFT_OK) {
            return status;
        }
        *bytes += raft__entry_size(payloads[i].size);
    }
    return RAFT_OK;
}

/* Whether this server takes so many proposals at present, of this sum when encoded. */
static inline int may_take(const raft *node, size_t count, size_t bytes)
{
    int status = node->handing_over ? RAFT_ETRANSFER : raft__must_lead(node);
    if (status != RAFT_OK) {
        return status;
    }
    return quota_allows(node, count, bytes) ? RAFT_OK : RAFT_EBUSY;
}

/* The last `count` entries of the log are new. */
static inline int taken(raft *node, size_t count, raft_index *first, raft_term *term)
{
    if (first != NULL) {
        *first = node->log.last_index - count + 1;
    }
    if (term != NULL) {
        *term = node->state.term;
    }
    raft__wake(node);
    node->counters.entries_proposed += count;
    node->dirty = 1;
    return RAFT_OK;
}

static int take_proposals(raft *node, const raft_buf *payloads, size_t count, raft_index *first,
                          raft_term *term)
{
    size_t bytes;
    int status = payloads_check(node, payloads, count, &bytes);
    if (status == RAFT_OK) {
        status = may_take(node, count, bytes);
    }
    if (status == RAFT_OK) {
        status = raft__log_append(&node->log, &node->memory, node->state.term, RAFT_ENTRY_DATA,
                                  payloads, count, bytes);
    }
    return status == RAFT_OK ? taken(node, count, first, term) : status;
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
    int status = raft__enter(node, 1);
    if (status == RAFT_OK) {
        status = payload_check(node, data, size);
    }
    if (status == RAFT_OK) {
        status = may_take(node, 1, raft__entry_size(size));
    }
    if (status == RAFT_OK) {
        status = raft__log_append_one(&node->log, &node->memory, node->state.term, RAFT_ENTRY_DATA,
                                      data, size);
    }
    return status == RAFT_OK ? taken(node, 1, index, term) : status;
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
int raft__own_reserve(raft *node)
{
    if (node->own == NULL) {
        node->own = (struct raft__own *)raft__resize(&node->memory, NULL, 0,
                                                     RAFT__OWN * sizeof(*node->own));
    }
    return node->own != NULL ? RAFT_OK : RAFT_ENOMEM;
}

void raft__own_free(raft *node)
{
    raft__free(&node->memory, node->own, RAFT__OWN * sizeof(*node->own));
}

void raft__own_remember(raft *node)
{
    raft_index first =
        node->own_first > node->applied_index ? node->own_first : node->applied_index;
    struct raft__own run = {node->state.term, first + 1, node->log.last_index, 0, 0, 0};
    if (run.first > run.last) {
        return;
    }
    RAFT_ASSERT(node->own_count < RAFT__OWN); /* to lead once more takes a poll */
    node->own[node->own_count++] = run;
    if (node->own_count == RAFT__OWN && node->own[0].status == 0) {
        node->own[0].status = RAFT_EUNKNOWN;
    }
    node->rare = 1;
    node->dirty = 1;
}

/*
 * What was applied of the run, up to this index, the host has seen. The rest is settled as soon as
 * anything of a later term is applied, even below the run: terms only rise along the log, so no
 * entry of the run can follow any more.
 */
static void own_judge(raft *node, struct raft__own *run, raft_index applied)
{
    raft_index last = run->last < applied ? run->last : applied;
    if (run->first <= last) {
        raft_index foreign = raft__log_mismatch(&node->log, run->first, last, run->term);
        run->first = foreign != 0 ? foreign : last + 1;
    }
    if (raft__log_term(&node->log, applied) > run->term) {
        run->status = RAFT_EDROPPED;
    }
}

void raft__own_settle(raft *node)
{
    if (node->applied_index < node->log.base_index) {
        return; /* the log is a snapshot's, which is loaded next; it has judged already */
    }
    for (uint32_t i = node->own_count; i > 0; i--) {
        struct raft__own *run = &node->own[i - 1];
        own_judge(node, run, node->applied_index);
        if (run->first > run->last && run->unknown_last == 0) {
            own_forget(node, i - 1);
        }
    }
}

/*
 * Takes a stretch at one end out of a run: it is unknown. One range is told, so where another one
 * waits to be told yet, what lies between goes with the two.
 */
static void own_lose(struct raft__own *run, raft_index first, raft_index last)
{
    if (run->unknown_last != 0) {
        first = run->unknown_first < first ? run->unknown_first : first;
        last = run->unknown_last > last ? run->unknown_last : last;
    }
    run->unknown_first = first;
    run->unknown_last = last;
    if (first <= run->first) {
        run->first = last + 1;
    } else {
        run->last = first - 1;
    }
}

/* What apply has in hand, the host sees still; of the others up to index it may hold any. */
void raft__own_cover(raft *node, raft_index index, raft_term term)
{
    raft_index seen =
        node->applying_index > node->applied_index ? node->applying_index : node->applied_index;
    for (uint32_t i = node->own_count; i > 0; i--) {
        struct raft__own *run = &node->own[i - 1];
        if (seen >= node->log.base_index) {
            own_judge(node, run, seen);
        }
        if (run->first <= run->last && run->first <= index && run->status == 0) {
            own_lose(run, run->first, run->last < index ? run->last : index);
        }
        if (run->status == 0 && term > run->term) {
            run->status = RAFT_EDROPPED; /* nothing of the run can follow any more */
        }
        if (run->first > run->last && run->unknown_last == 0) {
            own_forget(node, i - 1);
        }
    }
    node->dirty = 1;
}

/*
 * Multi-Paxos: a later leader has adopted what of the runs is in the log now, and writes nothing
 * by itself in the place of the rest, which another server may still hold: it is unknown.
 */
void raft__own_adopted(raft *node)
{
    const struct raft__log *log = &node->log;
    for (uint32_t i = 0; i < node->own_count; i++) {
        struct raft__own *run = &node->own[i];
        raft_index known = run->last < log->last_index ? run->last : log->last_index;
        raft_index first = run->first > log->base_index ? run->first : log->base_index + 1;
        raft_index foreign = first <= known ? raft__log_mismatch(log, first, known, run->term) : 0;
        raft_index from = foreign != 0 ? foreign : known < first ? first : known + 1;
        if (run->status == 0 && from <= run->last) {
            own_lose(run, from, run->last);
            node->dirty = 1;
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
        struct raft__own *run = &node->own[i];
        int covered = run->unknown_last != 0;
        if (!covered && (run->status == 0 || run->first > run->last)) {
            continue;
        }
        memset(event, 0, sizeof(*event));
        event->kind = RAFT_EVENT_DROPPED;
        event->status = covered ? RAFT_EUNKNOWN : run->status;
        event->term = run->term;
        event->first = covered ? run->unknown_first : run->first;
        event->last = covered ? run->unknown_last : run->last;
        run->unknown_last = 0;
        if (!covered || run->first > run->last) {
            own_forget(node, i);
        }
        return 1;
    }
    return 0;
}

/* ---- Forwarding: the server that asks ------------------------------------------------------- */

enum { FORWARD_OPEN, FORWARD_DECIDED, FORWARD_TOLD };

/* A proposal handed on. */
struct forward {
    uint64_t tag;
    uint64_t request;  /* the message that it went in; 0: not sent */
    uint64_t until_ms; /* given up then; 0: no sample was seen yet */
    raft_index index;  /* decided, with RAFT_OK: where the leader appended it */
    raft_term term;
    uint32_t bytes;
    uint32_t place; /* in its request: those before it there may be told and forgotten by now */
    int16_t status;
    uint8_t state; /* FORWARD_* */
};

/* Proposals handed on, in order, in a ring, and the bytes of those at its end that are not sent. */
struct raft__forwards {
    struct forward *items;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t head;
    uint32_t count;
    uint32_t decided; /* are to be told */
    uint32_t scanned; /* none of the first ones is */
    uint64_t bytes;   /* of all of them */
    uint8_t *buffer;
    size_t buffer_size;
    size_t unsent_bytes;
    uint32_t unsent;
    raft_id leader; /* for whom they were taken, and in which term */
    raft_term term;
};

static struct forward *forward_at(const struct raft__forwards *forwards, uint32_t position)
{
    return &forwards->items[(forwards->head + position) & (forwards->capacity - 1)];
}

static int forwards_exist(raft *node)
{
    if (node->forwards == NULL) {
        node->forwards =
            (struct raft__forwards *)raft__resize(&node->memory, NULL, 0, sizeof(*node->forwards));
        if (node->forwards == NULL) {
            return 0;
        }
        memset(node->forwards, 0, sizeof(*node->forwards));
    }
    return 1;
}

static int forwards_grow(raft *node)
{
    struct raft__forwards *forwards = node->forwards;
    uint32_t wanted = forwards->capacity == 0 ? 8 : forwards->capacity * 2;
    struct forward *items =
        (struct forward *)raft__resize(&node->memory, NULL, 0, wanted * sizeof(*items));
    if (items == NULL) {
        return RAFT_ENOMEM;
    }
    for (uint32_t i = 0; i < forwards->count; i++) {
        items[i] = *forward_at(forwards, i);
    }
    raft__free(&node->memory, forwards->items, forwards->capacity * sizeof(*items));
    forwards->items = items;
    forwards->capacity = wanted;
    forwards->head = 0;
    return RAFT_OK;
}

/* Room for one more in the ring, and for bytes of it behind those that are not sent. */
static int forwards_reserve(raft *node, size_t bytes)
{
    if (!forwards_exist(node)) {
        return RAFT_ENOMEM;
    }
    struct raft__forwards *forwards = node->forwards;
    if (forwards->count == forwards->capacity && forwards_grow(node) != RAFT_OK) {
        return RAFT_ENOMEM;
    }
    size_t wanted = forwards->buffer_size < 256 ? 256 : forwards->buffer_size;
    while (wanted - forwards->unsent_bytes < bytes) {
        wanted *= 2;
    }
    if (wanted > forwards->buffer_size) {
        void *grown = raft__resize(&node->memory, forwards->buffer, forwards->buffer_size, wanted);
        if (grown == NULL) {
            return RAFT_ENOMEM;
        }
        forwards->buffer = (uint8_t *)grown;
        forwards->buffer_size = wanted;
    }
    return RAFT_OK;
}

static struct forward *forwards_push(raft *node, uint64_t tag, size_t bytes)
{
    static const struct forward none = {0, 0, 0, 0, 0, 0, 0, 0, FORWARD_OPEN};
    struct raft__forwards *forwards = node->forwards;
    struct forward *forward = forward_at(forwards, forwards->count++);
    *forward = none;
    forward->tag = tag;
    forward->bytes = (uint32_t)bytes;
    forwards->bytes += bytes;
    node->waiting++;
    node->rare = 1;
    node->dirty = 1;
    return forward;
}

static void decide(raft *node, struct forward *forward, int status)
{
    if (forward->state == FORWARD_OPEN) {
        forward->state = FORWARD_DECIDED;
        forward->status = (int16_t)status;
        node->forwards->decided++;
        node->forwards->scanned = 0;
        node->dirty = 1;
    }
}

/* What was never sent can be in no log (R62). */
static void drop_unsent(raft *node)
{
    struct raft__forwards *forwards = node->forwards;
    for (uint32_t i = forwards->count - forwards->unsent; i < forwards->count; i++) {
        decide(node, forward_at(forwards, i), RAFT_EDROPPED);
    }
    forwards->unsent = 0;
    forwards->unsent_bytes = 0;
}

/* It was taken for a leader, in a term: another is not sent it. */
static void forwards_meet_leader(raft *node)
{
    struct raft__forwards *forwards = node->forwards;
    if (node->leader != forwards->leader || node->state.term != forwards->term) {
        drop_unsent(node);
        forwards->leader = node->leader;
        forwards->term = node->state.term;
    }
}

static int forward_to_leader(raft *node, const raft_buf *payload, size_t bytes, uint64_t tag)
{
    if (node->self >= node->peer_count) {
        return RAFT_ENOTMEMBER;
    }
    if (node->leader == 0) {
        return RAFT_ENOLEADER;
    }
    if (forwards_reserve(node, bytes) != RAFT_OK) {
        return RAFT_ENOMEM;
    }
    struct raft__forwards *forwards = node->forwards;
    forwards_meet_leader(node);
    raft__entry_write(forwards->buffer + forwards->unsent_bytes, RAFT_ENTRY_DATA, payload->data,
                      payload->size);
    forwards->unsent_bytes += bytes;
    forwards->unsent++;
    forwards_push(node, tag, bytes);
    return RAFT_OK;
}

/* A leader has nobody to hand it to: its own append is the answer. */
static int forward_to_self(raft *node, const raft_buf *payload, size_t bytes, uint64_t tag)
{
    raft_index index;
    if (forwards_reserve(node, 0) != RAFT_OK) {
        return RAFT_ENOMEM;
    }
    int status = take_proposals(node, payload, 1, &index, NULL);
    if (status == RAFT_OK) {
        struct forward *forward = forwards_push(node, tag, bytes);
        forward->index = index;
        forward->term = node->state.term;
        decide(node, forward, RAFT_OK);
    }
    return status;
}

int raft_forward(raft *node, const void *data, size_t size, uint64_t tag)
{
    raft_buf payload = {data, size};
    size_t bytes = 0;
    int status = raft__enter(node, 1);
    if (status == RAFT_OK) {
        status = payloads_check(node, &payload, 1, &bytes);
    }
    if (status != RAFT_OK) {
        return status;
    }
    if (node->options.incarnation == 0 || node->options.forward_bytes_max == 0 ||
        node->callbacks.notify == NULL) {
        return RAFT_ESTATE;
    }
    if (bytes > node->options.forward_bytes_max) {
        return RAFT_ESIZE;
    }
    if (node->forwards != NULL && node->forwards->bytes + bytes > node->options.forward_bytes_max) {
        return RAFT_EBUSY;
    }
    if (node->stopping) {
        return RAFT_ETRANSFER;
    }
    status = node->role == RAFT_ROLE_LEADER ? forward_to_self(node, &payload, bytes, tag)
                                            : forward_to_leader(node, &payload, bytes, tag);
    if (status == RAFT_OK) {
        raft__wake(node);
    }
    return status;
}

/* Sends one message with the next unsent entries, as many as fit, and at least one. */
static void send_forwards(raft *node, const uint8_t *data, uint32_t *sent, size_t *sent_bytes)
{
    struct raft__forwards *forwards = node->forwards;
    uint32_t first = forwards->count - forwards->unsent;
    uint32_t place = 0;
    size_t bytes = 0;
    raft_message message;
    node->requests++;
    while (*sent < forwards->unsent) {
        struct forward *forward = forward_at(forwards, first + *sent);
        if (bytes > 0 && bytes + forward->bytes > node->options.append_bytes_max) {
            break;
        }
        forward->request = node->requests;
        forward->place = place++;
        bytes += forward->bytes;
        ++*sent;
    }
    raft__message_begin(node, &message, RAFT_MESSAGE_PROPOSE, node->leader);
    message.round = node->leader_round;
    message.nonce = node->options.incarnation;
    message.request = node->requests;
    message.chunk.data = data + *sent_bytes;
    message.chunk.size = bytes;
    *sent_bytes += bytes;
    raft__send(node, &message);
}

/* The bytes are lent by the messages, so they stay where they are until more is handed in. */
void raft__forwards_send(raft *node)
{
    struct raft__forwards *forwards = node->forwards;
    uint32_t sent = 0;
    size_t sent_bytes = 0;
    if (forwards == NULL || forwards->unsent == 0 || node->role != RAFT_ROLE_FOLLOWER ||
        node->leader == 0 || node->leader != forwards->leader ||
        node->state.term != forwards->term) {
        return;
    }
    while (sent < forwards->unsent) {
        send_forwards(node, forwards->buffer, &sent, &sent_bytes);
    }
    forwards->unsent = 0;
    forwards->unsent_bytes = 0;
}

/*
 * The leader's word on a request, whatever its term is by now. Returns RAFT_OK, or RAFT_EMALFORMED
 * where the indexes would not exist.
 */
int raft__propose_reply_receive(raft *node, const raft_message *message)
{
    struct raft__forwards *forwards = node->forwards;
    int found = 0;
    if (forwards == NULL || message->nonce != node->options.incarnation || message->request == 0) {
        return RAFT_OK;
    }
    if (!message->refused &&
        (message->index == 0 || message->index > RAFT_LIMIT - forwards->capacity)) {
        return RAFT_EMALFORMED;
    }
    for (uint32_t i = 0; i < forwards->count - forwards->unsent; i++) {
        struct forward *forward = forward_at(forwards, i);
        if (forward->request != message->request) {
            if (found) {
                break;
            }
            continue;
        }
        if (forward->state == FORWARD_OPEN && !message->refused) {
            forward->index = message->index + forward->place;
            forward->term = message->index_term;
        }
        found = 1;
        decide(node, forward, message->refused ? RAFT_EDROPPED : RAFT_OK);
    }
    return RAFT_OK;
}

void raft__forwards_timers(raft *node)
{
    struct raft__forwards *forwards = node->forwards;
    if (forwards == NULL) {
        return;
    }
    uint64_t until_ms = node->now_ms + 2 * (uint64_t)node->options.election_timeout_ms;
    if (forwards->unsent > 0) {
        forwards_meet_leader(node);
    }
    for (uint32_t i = forwards->count; i > 0 && forward_at(forwards, i - 1)->until_ms == 0; i--) {
        forward_at(forwards, i - 1)->until_ms = until_ms;
    }
    for (uint32_t i = 0; i < forwards->count; i++) {
        struct forward *forward = forward_at(forwards, i);
        if (forward->until_ms > node->now_ms) {
            return;
        }
        if (i >= forwards->count - forwards->unsent) {
            drop_unsent(node);
            return;
        }
        decide(node, forward, RAFT_EUNKNOWN);
    }
}

uint64_t raft__forwards_deadline(const raft *node)
{
    const struct raft__forwards *forwards = node->forwards;
    return forwards != NULL && forwards->count > 0 ? forward_at(forwards, 0)->until_ms : RAFT_NEVER;
}

/* The node stops: what was sent may yet be appended. */
void raft__forwards_give_up(raft *node)
{
    struct raft__forwards *forwards = node->forwards;
    if (forwards != NULL) {
        drop_unsent(node);
        for (uint32_t i = 0; i < forwards->count; i++) {
            decide(node, forward_at(forwards, i), RAFT_EUNKNOWN);
        }
    }
}

/* Those told leave the ring when all before them are. */
static void forwards_pop(raft *node)
{
    struct raft__forwards *forwards = node->forwards;
    while (forwards->count > 0 && forward_at(forwards, 0)->state == FORWARD_TOLD) {
        forwards->bytes -= forward_at(forwards, 0)->bytes;
        forwards->head = (forwards->head + 1) & (forwards->capacity - 1);
        forwards->count--;
        forwards->scanned -= forwards->scanned > 0;
        node->waiting--;
    }
}

/*
 * What apply was given at its index is the last word: the answer may have been slower than the
 * entry, and the host no longer knows what was there.
 */
static int status_now(const raft *node, const struct forward *forward)
{
    raft_index shown =
        node->applying_index > node->applied_index ? node->applying_index : node->applied_index;
    if (forward->status != RAFT_OK || forward->index > shown) {
        return forward->status;
    }
    if (forward->index < node->log.base_index) {
        return RAFT_EUNKNOWN; /* in a snapshot, with all that could tell */
    }
    return raft__log_term(&node->log, forward->index) == forward->term ? RAFT_OK : RAFT_EDROPPED;
}

int raft__forwards_next(raft *node, raft_event *event)
{
    struct raft__forwards *forwards = node->forwards;
    if (forwards == NULL || forwards->decided == 0) {
        return 0;
    }
    struct forward *forward = forward_at(forwards, forwards->scanned);
    while (forward->state != FORWARD_DECIDED) {
        forward = forward_at(forwards, ++forwards->scanned);
    }
    memset(event, 0, sizeof(*event));
    event->kind = RAFT_EVENT_FORWARDED;
    event->tag = forward->tag;
    event->status = status_now(node, forward);
    event->index = forward->index;
    event->term = forward->term;
    forward->state = FORWARD_TOLD;
    forwards->decided--;
    forwards_pop(node);
    return 1;
}

size_t raft__forwards_waiting(const raft *node)
{
    return node->forwards == NULL ? 0 : node->forwards->count;
}

void raft__forwards_free(raft *node)
{
    struct raft__forwards *forwards = node->forwards;
    if (forwards != NULL) {
        raft__free(&node->memory, forwards->items, forwards->capacity * sizeof(*forwards->items));
        raft__free(&node->memory, forwards->buffer, forwards->buffer_size);
        raft__free(&node->memory, forwards, sizeof(*forwards));
        node->forwards = NULL;
    }
}

const char *raft__forwards_check(const raft *node)
{
    const struct raft__forwards *forwards = node->forwards;
    uint64_t bytes = 0;
    uint64_t unsent_bytes = 0;
    uint32_t decided = 0;
    if (forwards == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < forwards->count; i++) {
        const struct forward *forward = forward_at(forwards, i);
        bytes += forward->bytes;
        decided += forward->state == FORWARD_DECIDED;
        unsent_bytes += i + forwards->unsent >= forwards->count ? forward->bytes : 0;
        if (forward->request > node->requests) {
            return "proposals were handed on by requests that were made";
        }
    }
    if (bytes != forwards->bytes ||
        (bytes > node->options.forward_bytes_max && !node->options_lowered)) {
        return "proposals handed on stay within their bound"; /* I24 */
    }
    return decided == forwards->decided && unsent_bytes == forwards->unsent_bytes
               ? NULL
               : "proposals handed on are counted";
}

/* ---- Forwarding: the leader ----------------------------------------------------------------- */

#define WINDOW 64u /* requests of a server that are remembered; an older one counts as seen */

int raft__service_exists(raft *node)
{
    if (node->service == NULL) {
        node->service =
            (struct raft__service *)raft__resize(&node->memory, NULL, 0, sizeof(*node->service));
        if (node->service == NULL) {
            return 0;
        }
        memset(node->service, 0, sizeof(*node->service));
        node->rare = 1;
    }
    return 1;
}

void raft__service_free(raft *node)
{
    if (node->service != NULL) {
        raft__free(&node->memory, node->service->answers,
                   node->service->answer_capacity * sizeof(struct raft__answer));
        raft__free(&node->memory, node->service, sizeof(*node->service));
        node->service = NULL;
    }
}

/* An answer that finds no room is lost, as on the network. */
void raft__answer(raft *node, const struct raft__answer *answer)
{
    struct raft__service *service = node->service;
    if (service->answer_count == service->answer_capacity) {
        uint32_t wanted = service->answer_capacity == 0 ? 4 : service->answer_capacity * 2;
        void *grown = wanted > RAFT__ANSWERS
                          ? NULL
                          : raft__resize(&node->memory, service->answers,
                                         service->answer_capacity * sizeof(*answer),
                                         wanted * sizeof(*answer));
        if (grown == NULL) {
            return;
        }
        service->answers = (struct raft__answer *)grown;
        service->answer_capacity = wanted;
    }
    service->answers[service->answer_count++] = *answer;
    node->dirty = 1;
}

void raft__answers_send(raft *node)
{
    struct raft__service *service = node->service;
    for (uint32_t i = 0; service != NULL && i < service->answer_count; i++) {
        const struct raft__answer *answer = &service->answers[i];
        raft_message message;
        raft__message_begin(node, &message, answer->kind, answer->to);
        message.nonce = answer->nonce;
        message.request = answer->request;
        message.index = answer->index;
        message.index_term = answer->term;
        message.refused = answer->index == 0;
        raft__send(node, &message);
    }
    if (service != NULL) {
        service->answer_count = 0;
    }
}

/* The memory of who asked begins anew with each term that this server leads. */
static void askers_begin(raft *node)
{
    struct raft__service *service = node->service;
    if (service->asked_term != node->led_term) {
        service->asked_term = node->led_term;
        service->asker_count = 0;
        service->since_round = 0;
    }
}

/*
 * A place in the memory of who asked: there are as many as members, so where none is free, one is
 * of a former member. What that one sent before it left is known by its round should it come back.
 */
static struct raft__asker *asker_place(raft *node, raft_id id)
{
    struct raft__service *service = node->service;
    uint32_t at = 0;
    while (at < service->asker_count && service->askers[at].id != id) {
        at++;
    }
    if (at < service->asker_count) {
        return &service->askers[at];
    }
    if (at == RAFT_MEMBERS_MAX) {
        at = 0;
        while (raft__position_of(node, service->askers[at].id) < node->peer_count) {
            at++;
        }
        RAFT_ASSERT(at < RAFT_MEMBERS_MAX); /* who asks is a member, and is not among them */
        service->since_round = node->round;
    } else {
        service->asker_count++;
    }
    struct raft__asker *asker = &service->askers[at];
    memset(asker, 0, sizeof(*asker));
    asker->id = id;
    asker->since_round = service->since_round;
    return asker;
}

/* Whether this request was seen before, or cannot be told from one that was; it is seen now. */
static int request_is_new(raft *node, const raft_message *message)
{
    struct raft__asker *asker = asker_place(node, message->from);
    if (asker->nonce != message->nonce) {
        if (asker->since_round != 0 && message->round <= asker->since_round) {
            return 0; /* of an earlier run */
        }
        asker->nonce = message->nonce;
        asker->since_round = node->round;
        asker->newest = message->request;
        asker->seen = 1;
        return 1;
    }
    if (message->request > asker->newest) {
        uint64_t step = message->request - asker->newest;
        asker->seen = (step < WINDOW ? asker->seen << step : 0) | 1;
        asker->newest = message->request;
        return 1;
    }
    uint64_t age = asker->newest - message->request;
    if (age >= WINDOW || (asker->seen >> age & 1) != 0) {
        return 0;
    }
    asker->seen |= (uint64_t)1 << age;
    return 1;
}

/* How many entries these bytes hold; they have been checked. */
static size_t count_entries(const raft_buf *chunk)
{
    const uint8_t *data = (const uint8_t *)chunk->data;
    size_t count = 0;
    for (size_t at = 0; at < chunk->size; count++) {
        at += raft__entry_size(raft__get32(data + at));
    }
    return count;
}

/* Appends all entries or none, under the same conditions as proposals made here. */
static int take_chunk(raft *node, const raft_buf *chunk, raft_index *first)
{
    size_t count = count_entries(chunk);
    raft_range range = {1, 1, count, chunk->size, chunk->data};
    raft_entry entry;
    raft_buf *payloads =
        (raft_buf *)raft__resize(&node->memory, NULL, 0, count * sizeof(*payloads));
    if (payloads == NULL) {
        return RAFT_ENOMEM;
    }
    for (size_t i = 0; raft_range_next(&range, &entry); i++) {
        payloads[i].data = entry.data;
        payloads[i].size = entry.size;
    }
    int status = take_proposals(node, payloads, count, first, NULL);
    raft__free(&node->memory, payloads, count * sizeof(*payloads));
    return status;
}

/*
 * Proposals of another server. Who has never led in the term they were sent in cannot know their
 * fate and is silent; so is everybody about requests seen before.
 */
int raft__propose_receive(raft *node, const raft_message *message)
{
    raft_index first = 0;
    if (message->term != node->led_term ||
        raft__position_of(node, message->from) >= node->peer_count || !raft__service_exists(node)) {
        return RAFT_OK;
    }
    if (message->round > node->round) {
        return RAFT_EMALFORMED;
    }
    askers_begin(node);
    if (!request_is_new(node, message)) {
        return RAFT_OK;
    }
    if (node->role != RAFT_ROLE_LEADER || node->state.term != message->term ||
        take_chunk(node, &message->chunk, &first) != RAFT_OK) {
        first = 0;
    }
    struct raft__answer answer = {message->from,
                                  message->nonce,
                                  message->request,
                                  first,
                                  first == 0 ? 0 : node->state.term,
                                  RAFT_MESSAGE_PROPOSE_REPLY};
    raft__answer(node, &answer);
    return RAFT_OK;
}
