/*
 * Linearizable reads: by a round of messages (Raft dissertation §6.4, rule R49), by a lease
 * (§6.4.1, R50), and on servers that do not lead (R63).
 *
 * A read on the leader remembers the commit index of its arrival, at least that of the leader's own
 * no-op: what an earlier leader acknowledged lies below the no-op, though the commit index may not
 * show it yet. It is answered when no newer leader can have committed anything by then, and when
 * the state machine has reached its index. The former is known when a commit quorum has echoed a
 * round begun after the read arrived, or when the lease lasts at a sample taken after it.
 *
 * Reads wait in order of arrival, and both conditions rise along a queue, so one look at its head
 * releases all that can go. Rounds are the engine's own numbers: a repeated or late answer echoes
 * an old round and confirms nothing new. There are three queues: reads that need a round, reads by
 * lease (which need one where there is none), and reads that another server is asked for.
 *
 * To ask, a server sends the leader one request for all reads that wait by then, under a number of
 * its own. The leader serves it as a read of its own and answers with the index. An answer is used
 * once, by the run of the server that still waits for that number. Where none comes, the same reads
 * are asked for again under a new number: reading twice harms nobody.
 */
#include "raft_internal.h"

/* ---- Queues --------------------------------------------------------------------------------- */

static struct raft__read *read_at(const struct raft__reads *reads, uint32_t position)
{
    return &reads->items[(reads->head + position) & (reads->capacity - 1)];
}

static int reads_grow(raft *node, struct raft__reads *reads)
{
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

static void queue_free(raft *node, struct raft__reads *reads)
{
    raft__free(&node->memory, reads->items, reads->capacity * sizeof(struct raft__read));
    memset(reads, 0, sizeof(*reads));
}

uint64_t raft__reads_waiting(const raft *node)
{
    return (uint64_t)node->reads.count + node->leased.count + node->asked.count;
}

/* Of a read that another server was asked for: it has not said yet which index it has to reach. */
#define UNSAID UINT64_MAX

static int read_begin(raft *node, struct raft__reads *reads, uint64_t tag, raft_index index)
{
    if (raft__reads_waiting(node) >= node->options.reads_max) {
        return RAFT_EBUSY;
    }
    if (reads->count == reads->capacity && reads_grow(node, reads) != RAFT_OK) {
        return RAFT_ENOMEM;
    }
    raft__wake(node);
    struct raft__read read = {tag, index, 0, 0, 0, 0};
    *read_at(reads, reads->count) = read;
    reads->count++;
    node->waiting++;
    node->rare = 1;
    node->dirty = 1;
    return RAFT_OK;
}

/* What all reads of a queue get that have no answer yet. */
static void queue_fail(struct raft__reads *reads, int status)
{
    for (uint32_t i = 0; i < reads->count; i++) {
        struct raft__read *read = read_at(reads, i);
        read->status = read->status == 0 ? status : read->status;
    }
}

/* ---- Asking --------------------------------------------------------------------------------- */

/* What a read on the leader must see: all that was acknowledged by now (R49). */
static raft_index index_to_read(const raft *node)
{
    return node->commit_index > node->own_first ? node->commit_index : node->own_first;
}

/* From the first one on that has no index yet: they are the end of the queue. */
static uint32_t first_unanswered(const struct raft__reads *asked)
{
    uint32_t at = asked->count;
    while (at > 0 && read_at(asked, at - 1)->index == UNSAID) {
        at--;
    }
    return at;
}

/* What the leader of an earlier term, or another one, was to answer, will have no answer. */
static void meet_leader(raft *node)
{
    struct raft__reads *asked = &node->asked;
    if (node->leader == node->asked_leader && node->state.term == node->asked_term) {
        return;
    }
    for (uint32_t i = first_unanswered(asked); i < asked->count; i++) {
        struct raft__read *read = read_at(asked, i);
        read->status = read->status == 0 ? RAFT_ENOLEADER : read->status;
    }
    node->asked_request = 0;
    node->asked_leader = node->leader;
    node->asked_term = node->state.term;
}

/* Only who holds data can answer, once the leader has said from which index on (R63). */
static int read_elsewhere(raft *node, uint64_t tag)
{
    if (node->self >= node->peer_count || node->is_witness) {
        return RAFT_ENOTMEMBER;
    }
    if (node->leader == 0) {
        return RAFT_ENOLEADER;
    }
    if (node->options.incarnation == 0) {
        return RAFT_ENOTLEADER;
    }
    meet_leader(node);
    return read_begin(node, &node->asked, tag, UNSAID);
}

static int read_by(raft *node, uint64_t tag, int by_lease)
{
    int status = raft__enter(node, 1);
    if (status != RAFT_OK) {
        return status;
    }
    if (node->callbacks.notify == NULL) {
        return RAFT_ESTATE;
    }
    if (node->stopping) {
        return RAFT_ETRANSFER;
    }
    if (node->role != RAFT_ROLE_LEADER) {
        return read_elsewhere(node, tag);
    }
    struct raft__reads *reads = by_lease && node->lease_ms != 0 ? &node->leased : &node->reads;
    return read_begin(node, reads, tag, index_to_read(node));
}

int raft_read(raft *node, uint64_t tag)
{
    return read_by(node, tag, 0);
}

int raft_read_lease(raft *node, uint64_t tag)
{
    return read_by(node, tag, 1);
}

/* ---- Leader: confirming --------------------------------------------------------------------- */

/* The last of a queue waits for a round to begin if any does. */
static int awaits_round(const struct raft__reads *reads)
{
    if (reads->count == 0) {
        return 0;
    }
    const struct raft__read *last = read_at(reads, reads->count - 1);
    return last->round == 0 && !last->by_lease;
}

static int served_awaits_round(const raft *node)
{
    const struct raft__service *service = node->service;
    return service != NULL && service->served_count > 0 &&
           service->served[service->served_count - 1].round == 0;
}

int raft__reads_need_round(const raft *node)
{
    return awaits_round(&node->reads) || awaits_round(&node->leased) || served_awaits_round(node);
}

/* Those without a round are at the end of the queue. */
static void queue_join(struct raft__reads *reads, uint64_t round)
{
    for (uint32_t i = reads->count; i > 0; i--) {
        struct raft__read *read = read_at(reads, i - 1);
        if (read->round != 0 || read->by_lease) {
            return;
        }
        read->round = round;
    }
}

void raft__reads_join_round(raft *node, uint64_t round)
{
    queue_join(&node->reads, round);
    queue_join(&node->leased, round);
    for (uint32_t i = 0; node->service != NULL && i < node->service->served_count; i++) {
        struct raft__served *served = &node->service->served[i];
        served->round = served->round == 0 ? round : served->round;
    }
}

/*
 * By the sample of this poll, which was taken after they were accepted (R59). Those for which there
 * was no lease wait for a round, but need not when there is one again.
 */
void raft__reads_judge(raft *node)
{
    struct raft__reads *leased = &node->leased;
    if (leased->count == 0 || read_at(leased, leased->count - 1)->by_lease ||
        node->now_ms >= raft__lease_end(node)) {
        return;
    }
    for (uint32_t i = leased->count; i > 0 && !read_at(leased, i - 1)->by_lease; i--) {
        read_at(leased, i - 1)->by_lease = 1;
    }
}

/* The newest round that a commit quorum has echoed, the leader itself included if it votes. */
static uint64_t confirmed_round(const raft *node)
{
    uint64_t rounds[RAFT_MEMBERS_MAX];
    for (uint32_t i = 0; i < node->peer_count; i++) {
        rounds[i] = i == node->self ? node->round : node->peers[i].round_echoed;
    }
    return raft__quorum_value(&node->quorums, rounds);
}

/* What was confirmed once stays so, whatever the membership becomes. */
static int round_is_confirmed(raft *node, uint64_t round)
{
    if (round > node->confirmed_round && round != 0) {
        uint64_t confirmed = confirmed_round(node);
        if (confirmed > node->confirmed_round) {
            node->confirmed_round = confirmed;
        }
    }
    return round != 0 && round <= node->confirmed_round;
}

/* ---- Leader: for other servers -------------------------------------------------------------- */

static void refuse_read(raft *node, raft_id from, uint64_t nonce, uint64_t request)
{
    struct raft__answer answer = {from, nonce, request, 0, 0, RAFT_MESSAGE_READ_REPLY};
    raft__answer(node, &answer);
}

/* A request of a server replaces an earlier one of its: that one is given up there (R63). */
static void serve(raft *node, const raft_message *message)
{
    struct raft__service *service = node->service;
    uint32_t at = 0;
    while (at < service->served_count && service->served[at].from != message->from) {
        at++;
    }
    if (at < service->served_count) {
        if (service->served[at].nonce == message->nonce &&
            service->served[at].request >= message->request) {
            return;
        }
        service->served_count--;
        for (; at < service->served_count; at++) {
            service->served[at] = service->served[at + 1];
        }
    }
    RAFT_ASSERT(service->served_count < RAFT_MEMBERS_MAX);
    struct raft__served *served = &service->served[service->served_count++];
    served->from = message->from;
    served->nonce = message->nonce;
    served->request = message->request;
    served->index = index_to_read(node);
    served->index_term = raft__log_term(&node->log, served->index);
    served->round = 0;
    node->dirty = 1;
}

/* A read that another server asks for: as one of our own, begun now (R63). */
void raft__read_receive(raft *node, const raft_message *message)
{
    uint32_t position = raft__position_of(node, message->from);
    if (position >= node->peer_count || !raft__service_exists(node)) {
        return;
    }
    if (node->role == RAFT_ROLE_LEADER && message->term == node->state.term &&
        (raft__bit_of(node, position) & node->witnesses) == 0 &&
        node->service->served_count < RAFT_MEMBERS_MAX) {
        serve(node, message);
    } else {
        refuse_read(node, message->from, message->nonce, message->request);
    }
}

/* Answers what is confirmed. The state machine here need not have got so far. */
void raft__served_send(raft *node)
{
    struct raft__service *service = node->service;
    uint32_t done = 0;
    if (service == NULL) {
        return;
    }
    while (done < service->served_count && round_is_confirmed(node, service->served[done].round)) {
        const struct raft__served *served = &service->served[done++];
        raft_message message;
        raft__message_begin(node, &message, RAFT_MESSAGE_READ_REPLY, served->from);
        message.nonce = served->nonce;
        message.request = served->request;
        message.index = served->index;
        message.index_term = served->index_term;
        node->counters.reads_forwarded++;
        raft__send(node, &message);
    }
    service->served_count -= done;
    for (uint32_t i = 0; i < service->served_count; i++) {
        service->served[i] = service->served[i + done];
    }
}

/* Who asked is told at once that nothing will come of it (R63). */
static void served_refuse(raft *node)
{
    struct raft__service *service = node->service;
    for (uint32_t i = 0; i < service->served_count; i++) {
        const struct raft__served *served = &service->served[i];
        refuse_read(node, served->from, served->nonce, served->request);
    }
    service->served_count = 0;
}

/* ---- Elsewhere: asking the leader ----------------------------------------------------------- */

static int asked_awaits_request(const raft *node)
{
    const struct raft__reads *asked = &node->asked;
    return asked->count > 0 && node->asked_request == 0 && node->leader != 0 &&
           node->role == RAFT_ROLE_FOLLOWER && read_at(asked, asked->count - 1)->index == UNSAID;
}

/* One request for all that wait for an index. */
void raft__asked_send(raft *node)
{
    struct raft__reads *asked = &node->asked;
    if (!asked_awaits_request(node)) {
        return;
    }
    node->asked_request = ++node->requests;
    node->asked_again_ms = node->now_ms + node->options.election_timeout_ms;
    for (uint32_t i = first_unanswered(asked); i < asked->count; i++) {
        read_at(asked, i)->round = node->asked_request;
    }
    raft_message message;
    raft__message_begin(node, &message, RAFT_MESSAGE_READ, node->leader);
    message.round = node->leader_round;
    message.nonce = node->options.incarnation;
    message.request = node->asked_request;
    raft__send(node, &message);
}

/* The reads that the outstanding request carries have their index, or are refused. */
void raft__read_reply_receive(raft *node, const raft_message *message)
{
    struct raft__reads *asked = &node->asked;
    if (message->nonce != node->options.incarnation || node->asked_request == 0 ||
        message->request != node->asked_request || message->from != node->asked_leader ||
        message->term != node->asked_term) {
        return;
    }
    for (uint32_t i = first_unanswered(asked); i < asked->count; i++) {
        struct raft__read *read = read_at(asked, i);
        if (read->round != message->request || read->status != 0) {
            continue;
        }
        if (message->refused) {
            read->status = RAFT_ENOLEADER;
        } else {
            read->index = message->index;
        }
    }
    node->asked_request = 0;
    node->dirty = 1;
}

/* Each is given up one election timeout after the first sample that it saw. */
void raft__asked_timers(raft *node)
{
    struct raft__reads *asked = &node->asked;
    uint64_t until_ms = node->now_ms + 2 * (uint64_t)node->options.election_timeout_ms;
    meet_leader(node);
    for (uint32_t i = asked->count; i > 0 && read_at(asked, i - 1)->until_ms == 0; i--) {
        read_at(asked, i - 1)->until_ms = until_ms;
    }
    for (uint32_t i = 0; i < asked->count && read_at(asked, i)->until_ms <= node->now_ms; i++) {
        struct raft__read *read = read_at(asked, i);
        read->status = read->status == 0 ? RAFT_ETIMEOUT : read->status;
    }
    if (node->asked_request != 0 && node->now_ms >= node->asked_again_ms) {
        node->asked_request = 0; /* lost, or its answer was: asked for again by this poll */
    }
}

uint64_t raft__asked_deadline(const raft *node)
{
    if (node->asked.count == 0) {
        return RAFT_NEVER;
    }
    uint64_t due = read_at(&node->asked, 0)->until_ms;
    return node->asked_request != 0 && node->asked_again_ms < due ? node->asked_again_ms : due;
}

/* ---- Answers -------------------------------------------------------------------------------- */

void raft__reads_fail(raft *node)
{
    queue_fail(&node->reads, RAFT_ENOLEADER);
    queue_fail(&node->leased, RAFT_ENOLEADER);
    if (node->service != NULL) {
        served_refuse(node);
    }
    node->dirty = 1;
}

void raft__asked_fail(raft *node)
{
    queue_fail(&node->asked, RAFT_ENOLEADER);
    node->dirty = 1;
}

/* Why it failed: nothing works any more, another leads now, or none. */
static int failure_of(const raft *node, int status)
{
    if (node->error != RAFT_OK) {
        return node->error;
    }
    int other_leads = node->leader != 0 && node->leader != node->id;
    return status == RAFT_ENOLEADER && other_leads ? RAFT_ENOTLEADER : status;
}

static int read_is_confirmed(raft *node, const struct raft__reads *reads,
                             const struct raft__read *read)
{
    if (reads == &node->asked) {
        return read->index != UNSAID;
    }
    return read->by_lease || round_is_confirmed(node, read->round);
}

static int queue_next(raft *node, struct raft__reads *reads, raft_event *event)
{
    if (reads->count == 0) {
        return 0;
    }
    const struct raft__read *read = read_at(reads, 0);
    if (read->status == 0 &&
        (!read_is_confirmed(node, reads, read) || node->applied_index < read->index)) {
        return 0;
    }
    memset(event, 0, sizeof(*event));
    event->kind = RAFT_EVENT_READ;
    event->status = read->status == 0 ? RAFT_OK : failure_of(node, read->status);
    event->tag = read->tag;
    event->index = read->status == 0 ? read->index : 0;
    event->term = node->state.term;
    event->leader = node->leader;
    node->counters.reads_by_lease += read->status == 0 && read->by_lease;
    node->counters.reads_by_round += read->status == 0 && !read->by_lease;
    reads->head = (reads->head + 1) & (reads->capacity - 1);
    reads->count--;
    node->waiting--;
    return 1;
}

int raft__reads_next(raft *node, raft_event *event)
{
    return queue_next(node, &node->leased, event) || queue_next(node, &node->reads, event) ||
           queue_next(node, &node->asked, event);
}

void raft__reads_free(raft *node)
{
    queue_free(node, &node->reads);
    queue_free(node, &node->leased);
    queue_free(node, &node->asked);
}

/* ---- Checking ------------------------------------------------------------------------------- */

static const char *check_asked(const raft *node)
{
    const struct raft__reads *asked = &node->asked;
    uint64_t until_ms = 0;
    for (uint32_t i = 0; i < asked->count; i++) {
        const struct raft__read *read = read_at(asked, i);
        if (read->until_ms != 0 && read->until_ms < until_ms) {
            return "reads are given up in order of arrival";
        }
        if (read->round > node->requests) {
            return "reads were asked for by requests that were made";
        }
        until_ms = read->until_ms;
    }
    return NULL;
}

const char *raft__reads_check(const raft *node)
{
    if (raft__reads_waiting(node) > node->options.reads_max && !node->options_lowered) {
        return "reads stay within their bound"; /* I24 */
    }
    if (node->waiting !=
        raft__reads_waiting(node) + raft__forwards_waiting(node) + node->renewing) {
        return "what waits for an answer is counted";
    }
    if (node->confirmed_round > node->round) {
        return "what is confirmed was begun";
    }
    return check_asked(node);
}
