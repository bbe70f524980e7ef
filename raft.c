/*
 * The node: its life, its inputs and the one ordered flush. Start reading here; then election.c,
 * replication.c, proposal.c, read.c, configuration.c for the protocol, and log.c, membership.c,
 * message.c for what they rest on.
 *
 * Inputs change memory only. raft_poll advances the clock, fires timers, and lets everything leave
 * in one order (architecture: "inputs, one state, one ordered flush"):
 *
 *   persist → messages → apply → notify
 *
 *   (1) No message leaves while term or vote are not durable as they are in memory (R1, R3). A
 *       leader's always are, so its appends leave beside its own disk write (R5). Beyond that,
 *       acknowledgements wait for the log (replication.c) and vote requests too (election.c).
 *   (2) durable <= written <= last: durable_index is what storage has confirmed of the log as it
 *       now is. Truncation lowers it, and with it what outstanding writes will confirm (R6).
 *   (3) Writes complete in issue order (R4), so the completion of one completes all before it.
 *   (4) applied <= commit <= last, and nothing at or below commit is ever truncated (I2, I14).
 *   (5) An error of storage or of the state machine is sticky: the node takes part in nothing (R9).
 */
#include "raft_internal.h"

/* ---- Memory --------------------------------------------------------------------------------- */

static void *alloc_from_libc(void *host, void *p, size_t old_size, size_t new_size)
{
    (void)host;
    (void)old_size;
    if (new_size == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, new_size);
}

void *raft__resize(const struct raft__memory *memory, void *p, size_t old_size, size_t new_size)
{
    RAFT_ASSERT(new_size > 0);
    return memory->alloc(memory->host, p, old_size, new_size);
}

void raft__free(const struct raft__memory *memory, void *p, size_t size)
{
    if (p != NULL) {
        (void)memory->alloc(memory->host, p, size, 0);
    }
}

/* ---- Version, errors, options --------------------------------------------------------------- */

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

const char *raft_version(void)
{
    return TEXT(RAFT_VERSION_MAJOR) "." TEXT(RAFT_VERSION_MINOR) "." TEXT(RAFT_VERSION_PATCH);
}

int raft_version_number(void)
{
    return RAFT_VERSION_NUMBER;
}

const char *raft_strerror(int code)
{
    static const struct {
        int code;
        const char *text;
    } sentences[] = {
        {RAFT_OK, "success"},
        {RAFT_PENDING, "will be completed later"},
        {RAFT_EARG, "an argument is null or out of its range"},
        {RAFT_ESTATE, "the call is not legal in this state of the node"},
        {RAFT_EREENTRY, "the call is not legal inside a callback"},
        {RAFT_EVERSION, "made for a newer version of the library or its formats"},
        {RAFT_ESIZE, "the entry is too large, or the buffer too small"},
        {RAFT_EMALFORMED, "no correct server produces this"},
        {RAFT_EFOREIGN, "it is of another cluster, group, protocol or server"},
        {RAFT_ELIMIT, "terms or indexes are exhausted"},
        {RAFT_ECONFLICT, "the membership has another version"},
        {RAFT_ENOTLEADER, "another server leads"},
        {RAFT_ENOLEADER, "no leader is known"},
        {RAFT_ENOTMEMBER, "this server is not a voting member of the group"},
        {RAFT_ENOMEM, "the allocator failed"},
        {RAFT_EFULL, "the log has reached its bound"},
        {RAFT_EBUSY, "a limit is reached, or something has to end first; try again later"},
        {RAFT_ETRANSFER, "leadership is being handed over"},
        {RAFT_EDROPPED, "the proposal was not and will never be applied"},
        {RAFT_EUNKNOWN, "the proposal may or may not be applied"},
        {RAFT_ETIMEOUT, "no answer came in time; ask again"},
        {RAFT_ESTORAGE, "storage failed; the node has stopped"},
        {RAFT_EAPPLY, "the state machine failed; the node has stopped"},
        {RAFT_ECORRUPT, "what was restored contradicts itself"},
        {RAFT_ESTOPPED, "the node was stopped"},
    };
    for (size_t i = 0; i < sizeof(sentences) / sizeof(sentences[0]); i++) {
        if (sentences[i].code == code) {
            return sentences[i].text;
        }
    }
    return "unknown error code";
}

void raft_options_init(raft_options *options)
{
    memset(options, 0, sizeof(*options));
    options->size = sizeof(*options);
}

void raft_membership_init(raft_membership *membership)
{
    memset(membership, 0, sizeof(*membership));
    membership->size = sizeof(*membership);
}

void raft_callbacks_init(raft_callbacks *callbacks)
{
    memset(callbacks, 0, sizeof(*callbacks));
    callbacks->size = sizeof(*callbacks);
}

/*
 * Copies a sized struct of the host into one of our size. A host built with a newer header may hand
 * in more than we know, as long as it is zero.
 */
static int copy_sized(void *to, size_t to_size, const void *from, size_t from_size)
{
    const uint8_t *bytes = (const uint8_t *)from;
    if (from_size < sizeof(size_t)) {
        return RAFT_EARG;
    }
    for (size_t i = to_size; i < from_size; i++) {
        if (bytes[i] != 0) {
            return RAFT_EVERSION;
        }
    }
    memset(to, 0, to_size);
    memcpy(to, from, from_size < to_size ? from_size : to_size);
    return RAFT_OK;
}

static void default32(uint32_t *option, uint32_t value)
{
    *option = *option == 0 ? value : *option;
}

static void default64(uint64_t *option, uint64_t value)
{
    *option = *option == 0 ? value : *option;
}

static uint64_t trailing_default(uint64_t log_bytes_max)
{
    uint64_t usual = (uint64_t)4 << 20;
    return usual < log_bytes_max / 2 ? usual : log_bytes_max / 2;
}

static void options_default(raft_options *options)
{
    default64(&options->cluster, 1);
    default64(&options->group, 1);
    default32(&options->election_timeout_ms, 1000);
    default32(&options->heartbeat_ms, options->election_timeout_ms / 5 + 1);
    default32(&options->disk_timeout_ms, options->election_timeout_ms * 2);
    default64(&options->log_bytes_max, (uint64_t)256 << 20);
    default64(&options->uncommitted_bytes_max, (uint64_t)64 << 20);
    default32(&options->entry_bytes_max, (uint32_t)16 << 20);
    default32(&options->append_bytes_max, (uint32_t)256 << 10);
    default32(&options->apply_bytes_max, (uint32_t)1 << 20);
    default32(&options->inflight_messages_max, 64);
    default64(&options->inflight_bytes_max, (uint64_t)8 << 20);
    default32(&options->reads_max, 65536);
    default64(&options->trailing_bytes, trailing_default(options->log_bytes_max));
    default32(&options->chunk_bytes_max, (uint32_t)256 << 10);
}

static int options_check(const raft_options *options)
{
    uint32_t shortest = options->election_timeout_ms;
    int ok = options->id != 0 && options->protocol >= RAFT_PROTOCOL_RAFT &&
             options->protocol <= RAFT_PROTOCOL_MULTIPAXOS;
    ok = ok && shortest >= 2 && shortest <= (uint32_t)1 << 30;
    ok = ok && options->heartbeat_ms < shortest;
    ok = ok && options->disk_timeout_ms <= (uint64_t)shortest * 4;
    ok = ok && options->entry_bytes_max < (uint32_t)1 << 30;
    ok = ok && options->inflight_messages_max <= 4096;
    ok = ok && options->reads_max <= (uint32_t)1 << 30;
    ok = ok && options->trailing_bytes <= options->log_bytes_max / 2;
    ok = ok && options->chunk_bytes_max <= (uint32_t)1 << 26;
    return ok ? RAFT_OK : RAFT_EARG;
}

/* What other servers, the storage or the random numbers rely on stays as it is. */
static int options_fixed_differ(const raft_options *now, const raft_options *then)
{
    return now->id != then->id || now->cluster != then->cluster || now->group != then->group ||
           now->seed != then->seed || now->protocol != then->protocol ||
           now->incarnation != then->incarnation || now->quiesce != then->quiesce ||
           now->apply_ahead != then->apply_ahead;
}

static int limits_fall(const raft_options *now, const raft_options *then)
{
    return then->inflight_messages_max < now->inflight_messages_max ||
           then->reads_max < now->reads_max || then->forward_bytes_max < now->forward_bytes_max;
}

int raft_set_options(raft *node, const raft_options *options)
{
    raft_options wished;
    int status = raft__enter(node, 0);
    if (status != RAFT_OK) {
        return status;
    }
    if (options == NULL) {
        return RAFT_EARG;
    }
    status = copy_sized(&wished, sizeof(wished), options, options->size);
    if (status != RAFT_OK) {
        return status;
    }
    options_default(&wished);
    if (options_check(&wished) != RAFT_OK || options_fixed_differ(&node->options, &wished)) {
        return RAFT_EARG;
    }
    raft__wake(node);
    node->options_lowered |= (uint8_t)limits_fall(&node->options, &wished);
    node->options = wished;
    raft__bound_log(node);
    raft__snapshot_rearm(node);
    node->dirty = 1; /* what waited for a limit or a switch may go on */
    return RAFT_OK;
}

int raft_get_options(const raft *node, raft_options *options)
{
    if (node == NULL || options == NULL || options->size < sizeof(options->size)) {
        return RAFT_EARG;
    }
    raft_options full = node->options;
    full.size = options->size;
    memcpy(options, &full, options->size < sizeof(full) ? options->size : sizeof(full));
    return RAFT_OK;
}

/* ---- Lifecycle ------------------------------------------------------------------------------ */

int raft_new(const raft_options *options, const raft_callbacks *callbacks, void *host, raft **out)
{
    raft_options own_options;
    raft_callbacks own_callbacks;
    if (options == NULL || callbacks == NULL || out == NULL) {
        return RAFT_EARG;
    }
    int status = copy_sized(&own_options, sizeof(own_options), options, options->size);
    if (status == RAFT_OK) {
        status = copy_sized(&own_callbacks, sizeof(own_callbacks), callbacks, callbacks->size);
    }
    if (status != RAFT_OK) {
        return status;
    }
    options_default(&own_options);
    if (options_check(&own_options) != RAFT_OK || own_callbacks.persist == NULL ||
        own_callbacks.send == NULL || own_callbacks.apply == NULL ||
        (own_callbacks.snapshot_write != NULL && own_callbacks.snapshot_load == NULL)) {
        return RAFT_EARG;
    }
    struct raft__memory memory = {own_callbacks.alloc, host};
    if (memory.alloc == NULL) {
        memory.alloc = alloc_from_libc;
    }
    raft *node = (raft *)raft__resize(&memory, NULL, 0, sizeof(*node));
    if (node == NULL) {
        return RAFT_ENOMEM;
    }
    memset(node, 0, sizeof(*node));
    node->memory = memory;
    node->rules =
        own_options.protocol == RAFT_PROTOCOL_RAFT ? raft__raft_rules() : raft__paxos_rules();
    node->callbacks = own_callbacks;
    node->host = host;
    node->options = own_options;
    node->id = own_options.id;
    /* Mixed at each step, or the timeouts of two nodes might be one series, shifted (R15). */
    node->random = raft__mix(raft__mix(own_options.seed + 1) + own_options.id);
    node->random = raft__mix(node->random + own_options.group);
    node->phase = RAFT__FRESH;
    node->election_at_ms = RAFT_NEVER;
    raft__log_init(&node->log, own_options.log_bytes_max);
    if (own_callbacks.read_log != NULL) {
        node->log.bytes_max = UINT64_MAX; /* until the start: it may leave memory again */
    }
    *out = node;
    return RAFT_OK;
}

int raft_free(raft *node)
{
    if (node == NULL) {
        return RAFT_OK;
    }
    if (node->inside != RAFT__OUTSIDE) {
        return RAFT_EREENTRY;
    }
    struct raft__memory memory = node->memory;
    raft__reads_free(node);
    raft__lease_free(node);
    raft__forwards_free(node);
    raft__service_free(node);
    raft__own_free(node);
    raft__replies_free(node);
    raft__configs_free(node);
    raft__streams_free(node);
    raft__install_free(node);
    raft__phase1_end(node);
    raft__log_free(&node->log, &memory);
    raft__free(&memory, node->meta, node->meta_size);
    raft__free(&memory, node, sizeof(*node));
    return RAFT_OK;
}

/* ---- State that all files change through here ----------------------------------------------- */

void raft__set_state(raft *node, raft_term term, raft_id vote)
{
    RAFT_ASSERT(term >= node->state.term && term <= RAFT_LIMIT);
    RAFT_ASSERT(term > node->state.term || node->state.vote == 0); /* R3 */
    if (term > node->state.term) {
        node->certified = 0; /* R25 */
        node->acked = 0;
        node->leader_round = 0;
        node->credit_round = 0;
        node->credit_ms = 0;
        node->credit_due = 0;
        node->ack_due = 0;
        node->refusal_due = 0;
        node->heartbeat_reply_due = 0;
        node->accept_due = 0;
        node->accepted_flag = 0;
        node->held_until_ms = 0;
        node->leader = 0;
        raft__pull_serve_end(node);
        raft__fresh_end(node);
        raft__install_give_up(node, RAFT_ENOTLEADER); /* R39 */
        for (uint32_t i = 0; i < node->reply_count; i++) {
            if (node->replies[i].kind == RAFT_MESSAGE_VOTE_REPLY) {
                node->replies[i].refused = 1; /* a vote of the old term, not sent yet */
            }
        }
    }
    node->state.term = term;
    node->state.vote = vote;
    node->untold = 1;
    node->state_version++;
    node->dirty = 1;
}

int raft__log_is_durable(const raft *node)
{
    return node->durable_index == node->log.last_index && node->truncated_from == 0 &&
           node->pending_count == 0;
}

/* What is cut can no longer become durable, whatever outstanding writes report (R6). */
static void note_truncation(raft *node, raft_index from)
{
    RAFT_ASSERT(from > node->commit_index && from > node->certified); /* I14 */
    if (from <= node->written_index) {
        node->written_index = from - 1;
        if (node->truncated_from == 0 || from < node->truncated_from) {
            node->truncated_from = from;
            node->rare = 1;
        }
    }
    if (node->durable_index >= from) {
        node->durable_index = from - 1;
    }
    if (raft__config_index(node) >= from) {
        raft__config_truncate(node, from); /* the one before governs again (R41) */
    }
    for (uint32_t i = 0; i < node->pending_count; i++) {
        if (node->pending[i].last_index >= from) {
            node->pending[i].last_index = from - 1;
        }
    }
}

void raft__truncate(raft *node, raft_index from)
{
    uint64_t lent_seq = node->pending_count > 0 ? node->seq : 0;
    raft__log_truncate(&node->log, &node->memory, from, lent_seq);
    note_truncation(node, from);
    node->dirty = 1;
}

/* Entries that are here already stay untouched; the first that differs replaces the rest (R7). */
RAFT_APART static int merge_range(raft *node, const raft_range *range)
{
    raft_index had = node->log.last_index;
    raft_range rest = *range;
    raft_index last = range->first + range->count - 1;
    raft_index from =
        raft__log_mismatch(&node->log, range->first, last < had ? last : had, range->term);
    if (from == 0) {
        if (last <= had) {
            return RAFT_OK;
        }
        from = had + 1;
    }
    if (from > range->first) {
        raft__range_skip(&rest, (size_t)(from - range->first));
    }
    uint64_t lent_seq = node->pending_count > 0 ? node->seq : 0;
    int status = raft__log_append_range(&node->log, &node->memory, &rest, lent_seq);
    if (status == RAFT_OK && from <= had) {
        note_truncation(node, from);
    }
    return status;
}

static int take_plain_range(raft *node, const raft_range *range)
{
    if (range->first <= node->log.last_index) {
        return merge_range(node, range);
    }
    return raft__log_append_range(&node->log, &node->memory, range, 0);
}

/* The first `count` entries of a range, which keeps the rest. */
static raft_range range_head(const raft_range *range, size_t count)
{
    raft_range head = *range;
    raft_range rest = *range;
    raft_entry entry;
    for (size_t i = 0; i < count; i++) {
        (void)raft_range_next(&rest, &entry);
    }
    head.count = count;
    head.size = range->size - rest.size;
    return head;
}

/* How many entries there are before the first membership in a range, and that one. */
static size_t find_config(const raft_range *range, raft_entry *config)
{
    raft_range rest = *range;
    size_t before = 0;
    while (raft_range_next(&rest, config) && config->kind != RAFT_ENTRY_CONFIG) {
        before++;
    }
    return before;
}

int raft__configs_acceptable(const raft *node, const raft_range *range, unsigned kinds)
{
    raft_range rest = *range;
    raft_entry entry;
    if ((kinds & 1u << RAFT_ENTRY_CONFIG) == 0) {
        return 1;
    }
    while (raft_range_next(&rest, &entry)) {
        if (entry.kind == RAFT_ENTRY_CONFIG &&
            !raft__config_acceptable(node, entry.data, entry.size)) {
            return 0;
        }
    }
    return 1;
}

static int has_entry(const raft *node, raft_index index, raft_term term)
{
    return index <= node->log.base_index ||
           (index <= node->log.last_index && raft__log_term(&node->log, index) == term);
}

/* One entry that holds a membership: with it in the log, the membership governs (R41). */
static int take_config(raft *node, const raft_range *one, const raft_entry *entry)
{
    struct raft__held held;
    if (has_entry(node, entry->index, entry->term)) {
        return RAFT_OK;
    }
    int status = raft__config_prepare(node, entry->data, entry->size, &held);
    if (status != RAFT_OK) {
        return status;
    }
    status = take_plain_range(node, one);
    if (status != RAFT_OK) {
        raft__config_discard(node, &held);
        return status;
    }
    raft__config_push(node, entry->index, &held);
    return RAFT_OK;
}

/* Entry by entry where a membership is; all of them were found acceptable before. */
RAFT_APART static int take_range_with_configs(raft *node, const raft_range *range, size_t *matched)
{
    raft_range rest = *range;
    *matched = 0;
    while (rest.count > 0) {
        raft_entry config;
        size_t plain = find_config(&rest, &config);
        int is_config = plain == 0;
        raft_range head = range_head(&rest, is_config ? 1 : plain);
        int status = is_config ? take_config(node, &head, &config) : take_plain_range(node, &head);
        if (status != RAFT_OK) {
            return status;
        }
        *matched += head.count;
        rest.first += head.count;
        rest.count -= head.count;
        rest.size -= head.size;
        rest.data = (const uint8_t *)rest.data + head.size;
    }
    return RAFT_OK;
}

/* Where a witness, or a membership, is concerned; or entries are here already. */
int raft__take_any_range(raft *node, const raft_range *range, unsigned kinds, size_t *matched)
{
    if ((kinds & 1u << RAFT_ENTRY_STRIPPED) != 0) {
        node->is_witness = 1; /* known before the membership that says so has come */
    }
    if ((kinds & 1u << RAFT_ENTRY_CONFIG) != 0) {
        return take_range_with_configs(node, range, matched);
    }
    int status = take_plain_range(node, range);
    *matched = status == RAFT_OK ? range->count : 0;
    return status;
}

/* ---- Committing --------------------------------------------------------------------------- */

void raft__commit_forward(raft *node, raft_index index)
{
    RAFT_ASSERT(index <= node->log.last_index); /* I2 */
    node->commit_index = index;
    node->commit_position = index == node->log.last_index
                                ? node->log.end_position
                                : raft__log_position(&node->log, index + 1);
    if (!node->told_committed) {
        node->untold = 1;
    }
    node->dirty = 1;
}

/* ---- Stopping for good ---------------------------------------------------------------------- */

/* Memory and disk, or state machine and log, may disagree from here on (R9). */
RAFT_APART void raft__fail(raft *node, int error)
{
    if (node->error != RAFT_OK) {
        return;
    }
    raft__become_follower(node, node->state.term, 0);
    raft__own_give_up(node);
    raft__asked_fail(node);
    raft__forwards_give_up(node);
    raft__fresh_end(node);
    node->election_at_ms = RAFT_NEVER;
    node->error = error;
    node->rare = 1;
    node->untold = 1;
    raft__install_stop(node);
    node->dirty = 1;
}

/* ---- Receiving ------------------------------------------------------------------------------ */

static int is_foreign(const raft *node, const raft_message *message)
{
    return message->cluster != node->options.cluster || message->group != node->options.group ||
           message->to != node->id || message->from == 0 || message->from == node->id ||
           message->protocol != node->options.protocol;
}

/* What servers ask each other for their hosts; terms are judged where it is received (R63). */
RAFT_APART static int dispatch_forwarded(raft *node, const raft_message *message)
{
    switch (message->kind) {
    case RAFT_MESSAGE_READ:
        raft__read_receive(node, message);
        return RAFT_OK;
    case RAFT_MESSAGE_READ_REPLY:
        raft__read_reply_receive(node, message);
        return RAFT_OK;
    case RAFT_MESSAGE_PROPOSE:
        return raft__propose_receive(node, message);
    case RAFT_MESSAGE_PROPOSE_REPLY:
        return raft__propose_reply_receive(node, message);
    default:
        return RAFT_EMALFORMED;
    }
}

static int is_forwarded(const raft_message *message)
{
    return message->kind >= RAFT_MESSAGE_READ && message->kind <= RAFT_MESSAGE_PROPOSE_REPLY;
}

RAFT_APART static void dispatch_election(raft *node, const raft_message *message)
{
    switch (message->kind) {
    case RAFT_MESSAGE_PRE_VOTE:
        raft__pre_vote_receive(node, message);
        break;
    case RAFT_MESSAGE_VOTE:
        raft__vote_receive(node, message);
        break;
    case RAFT_MESSAGE_PULL:
        raft__pull_receive(node, message);
        break;
    default:
        raft__ballot_receive(node, message);
        break;
    }
}

/* Elections judge terms by themselves (R11). */
static int is_of_election(const raft_message *message)
{
    return message->kind <= RAFT_MESSAGE_VOTE_REPLY || message->kind == RAFT_MESSAGE_PULL;
}

/* Of an older term: a leader that was deposed, or cut off, learns the newer term (R21). */
RAFT_APART static int receive_stale(raft *node, const raft_message *message)
{
    if (is_of_election(message)) {
        dispatch_election(node, message);
        return RAFT_OK;
    }
    if (message->kind == RAFT_MESSAGE_APPEND || message->kind == RAFT_MESSAGE_HEARTBEAT ||
        message->kind == RAFT_MESSAGE_SNAPSHOT) {
        struct raft__reply reply;
        memset(&reply, 0, sizeof(reply));
        reply.to = message->from;
        reply.kind = RAFT_MESSAGE_HEARTBEAT_REPLY;
        raft__reply(node, &reply);
    }
    return is_forwarded(message) ? dispatch_forwarded(node, message) : RAFT_OK;
}

/* What is rare, of the own term or a higher one. */
RAFT_APART static int dispatch_rest(raft *node, const raft_message *message, unsigned kinds)
{
    if (is_of_election(message)) {
        dispatch_election(node, message);
        return RAFT_OK;
    }
    if (message->kind == RAFT_MESSAGE_SNAPSHOT && raft__snapshot_contradicts(node, message)) {
        return RAFT_EMALFORMED;
    }
    raft__adopt_term(node, message->term);
    switch (message->kind) {
    case RAFT_MESSAGE_SNAPSHOT:
        return raft__snapshot_receive(node, message);
    case RAFT_MESSAGE_TRANSFER:
        raft__transfer_receive(node, message);
        return RAFT_OK;
    case RAFT_MESSAGE_TRANSFER_ASK:
        raft__transfer_ask_receive(node, message);
        return RAFT_OK;
    case RAFT_MESSAGE_SNAPSHOT_ASK:
        raft__fresh_receive(node, message);
        return RAFT_OK;
    case RAFT_MESSAGE_PULL_REPLY:
        return raft__pull_reply_receive(node, message, kinds);
    default:
        return dispatch_forwarded(node, message);
    }
}

/* The one dispatcher. What no correct leader sends does not even change the term: an append is judged
 * before that is adopted. */
static inline int dispatch(raft *node, const raft_message *message, unsigned kinds)
{
    if (message->term < node->state.term) {
        return receive_stale(node, message);
    }
    switch (message->kind) {
    case RAFT_MESSAGE_APPEND:
        return raft__append_receive(node, message, kinds);
    case RAFT_MESSAGE_HEARTBEAT:
        raft__adopt_term(node, message->term);
        return raft__heartbeat_receive(node, message);
    case RAFT_MESSAGE_APPEND_REPLY:
    case RAFT_MESSAGE_HEARTBEAT_REPLY:
    case RAFT_MESSAGE_SNAPSHOT_REPLY:
        raft__adopt_term(node, message->term);
        return raft__progress_receive(node, message);
    default:
        return dispatch_rest(node, message, kinds);
    }
}

RAFT_APART static int refuse(raft *node, int status)
{
    node->counters.messages_refused++;
    return status;
}

/* kinds: of its entries, as raft__message_check says; 0 where that was not asked yet. */
static int receive(raft *node, const raft_message *message, unsigned kinds)
{
    if (is_foreign(node, message)) {
        return refuse(node, RAFT_EFOREIGN); /* R66: before anything else is looked at */
    }
    if (kinds == 0) {
        kinds = raft__message_check(message);
        if (kinds == 0) {
            return refuse(node, RAFT_EMALFORMED);
        }
    }
    if (node->asleep) {
        if (raft__is_straggler(node, message)) {
            node->counters.messages_received++;
            return RAFT_OK;
        }
        raft__wake_up(node);
    }
    int status = dispatch(node, message, kinds);
    if (status == RAFT_EMALFORMED) {
        return refuse(node, status);
    }
    node->counters.messages_received++;
    return status;
}

int raft_receive(raft *node, const raft_message *message)
{
    int status = message == NULL ? RAFT_EARG : raft__enter(node, 0);
    return status == RAFT_OK ? receive(node, message, 0) : status;
}

int raft_receive_bytes(raft *node, const void *data, size_t size)
{
    raft_message message;
    unsigned kinds;
    int status = raft__enter(node, 0);
    if (status != RAFT_OK) {
        return status;
    }
    status = raft__decode(data, size, &message, &kinds);
    if (status != RAFT_OK) {
        return status == RAFT_EARG ? status : refuse(node, status);
    }
    return receive(node, &message, kinds); /* decoding has walked the entries already */
}

int raft_unreachable(raft *node, raft_id peer)
{
    int status = raft__enter(node, 0);
    if (status != RAFT_OK) {
        return status;
    }
    if (node->asleep && peer == node->leader) { /* R54: nobody would notice for want of timers */
        raft__wake_up(node);
        node->timer_reset = 0;
        node->election_at_ms = node->now_ms;
    }
    uint32_t position = raft__position_of(node, peer);
    if (node->role == RAFT_ROLE_LEADER && position < node->peer_count &&
        node->peers[position].state == RAFT_PEER_REPLICATE) {
        raft__peer_probe(node, &node->peers[position]);
        node->peers[position].paused = 1; /* until it is heard again */
    }
    return RAFT_OK;
}

/* ---- Campaigning -------------------------------------------------------------------------- */

int raft_campaign(raft *node)
{
    int status = raft__enter(node, 0);
    if (status != RAFT_OK || node->role == RAFT_ROLE_LEADER) {
        return status;
    }
    status = raft__campaign(node);
    if (status == RAFT_OK) {
        raft__wake(node);
        node->contact = 0; /* the host's order overrules the own stickiness, not that of others */
    }
    return status;
}

/* ---- The flush: persist --------------------------------------------------------------------- */

/* The log up to last_index, and this hard state, with the writes up to seq. */
static inline void note_durable(raft *node, raft_index last_index, uint32_t state_version,
                                uint64_t seq)
{
    if (last_index > node->durable_index) {
        node->durable_index = last_index;
        node->match_moved = 1;
    }
    node->state_durable = state_version;
    if (node->log.limbo != NULL) {
        raft__log_release(&node->log, &node->memory, seq);
    }
    node->dirty = 1;
    if (node->role == RAFT_ROLE_CANDIDATE) {
        raft__election_durable(node);
    }
    if (node->accept_due) {
        raft__accept_when_durable(node);
    }
}

/* The first `count` of those outstanding; the last of these says what is durable now. */
static void complete_writes(raft *node, uint32_t count)
{
    struct raft__pending last = node->pending[count - 1];
    node->pending_count -= count;
    for (uint32_t i = 0; i < node->pending_count; i++) {
        node->pending[i] = node->pending[i + count];
    }
    note_durable(node, last.last_index, last.state_version, last.seq);
}

/* One write holds this many ranges; what is more goes with the next. */
#define WRITE_RANGES 8u

/* Fills ranges with what persist was not given yet, which counts as written then. */
static size_t gather_ranges(raft *node, raft_range *ranges)
{
    size_t count = 0;
    raft_index last = node->log.last_index;
    while (count < WRITE_RANGES && node->written_index < last) {
        raft_range *range = &ranges[count++];
        raft__log_range(&node->log, node->written_index + 1, last, UINT64_MAX, range);
        node->written_index += range->count;
    }
    return count;
}

/* A snapshot has taken the place of the log up to its end. */
RAFT_APART static void write_meta(const raft *node, raft_write *write)
{
    write->meta = node->meta;
    write->meta_size = node->meta_size;
    write->base_index = node->snapshot_index;
    write->base_term = node->snapshot_term;
}

/* The batch of what is new, in the order R4 asks for; remembered until it completes. */
static void begin_write(raft *node, raft_write *write, raft_range *ranges)
{
    if (node->log.end_position >= node->wanted_position) {
        node->snapshot_news = 1;
        node->rare = 1;
    }
    write->seq = ++node->seq;
    write->has_state = node->state_written != node->state_version || node->lease_max_unwritten;
    write->state = node->state;
    write->meta = NULL;
    write->meta_size = 0;
    write->base_index = 0;
    write->base_term = 0;
    if (node->meta_unwritten) {
        write_meta(node, write);
    }
    write->truncate_from = node->truncated_from;
    write->ranges = ranges;
    write->range_count = gather_ranges(node, ranges);
    node->state_written = node->state_version;
    node->lease_max_unwritten = 0;
    node->truncated_from = 0;
    struct raft__pending *pending = &node->pending[node->pending_count++];
    pending->seq = node->seq;
    pending->issued_ms = node->now_ms;
    pending->last_index = node->written_index;
    pending->state_version = node->state_version;
}

static int has_unwritten(const raft *node)
{
    return node->written_index < node->log.last_index ||
           node->state_written != node->state_version ||
           (node->rare && (node->lease_max_unwritten || node->truncated_from != 0));
}

static int has_place_to_write(const raft *node)
{
    return node->pending_count < RAFT_WRITES_MAX;
}

/* Over again where a completed write caused another: a vote of one's own may have won. */
static void flush_persist(raft *node)
{
    do {
        raft_range ranges[WRITE_RANGES];
        raft_write write;
        begin_write(node, &write, ranges);
        node->counters.writes++;
        node->inside = RAFT__IN_CALLBACK;
        int status = node->callbacks.persist(node->host, &write);
        node->inside = RAFT__OUTSIDE;
        node->meta_unwritten = 0;
        if (status == RAFT_OK) {
            node->pending_count = 0; /* those before it are durable with it */
            note_durable(node, node->written_index, node->state_version, node->seq);
        } else if (status != RAFT_PENDING) {
            raft__fail(node, RAFT_ESTORAGE);
            return;
        }
    } while (has_unwritten(node) && has_place_to_write(node));
}

/*
 * Once more where a snapshot is put into use: its metadata is to be written. Returns whether the
 * node is sound still.
 */
RAFT_APART static int flush_install(raft *node)
{
    if (node->error == RAFT_OK && node->install != NULL) {
        raft__install_step(node);
        if (node->error == RAFT_OK && has_unwritten(node) && has_place_to_write(node)) {
            flush_persist(node);
        }
    }
    return node->error == RAFT_OK;
}

int raft_persisted(raft *node, uint64_t seq, int status)
{
    int entered = raft__enter(node, 0);
    if (entered != RAFT_OK) {
        return entered;
    }
    if (status > 0 || node->pending_count == 0 || seq < node->pending[0].seq ||
        seq > node->pending[node->pending_count - 1].seq) {
        return RAFT_EARG;
    }
    if (status < 0) {
        raft__fail(node, RAFT_ESTORAGE);
        return node->error;
    }
    uint32_t count = 0;
    while (count < node->pending_count && node->pending[count].seq <= seq) {
        count++;
    }
    complete_writes(node, count);
    return RAFT_OK;
}

/* ---- The flush: messages -------------------------------------------------------------------- */

/* A vote that cannot say yet what is durable here waits until it is. */
RAFT_APART static void send_replies(raft *node)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < node->reply_count; i++) {
        const struct raft__reply *reply = &node->replies[i];
        raft_message message;
        if (reply->kind == RAFT_MESSAGE_TRANSFER_ASK) {
            raft__transfer_ask_send(node, reply);
            continue;
        }
        raft__message_begin(node, &message, reply->kind, reply->to);
        message.asked_term = reply->asked_term;
        message.round = reply->round;
        message.index = reply->index;
        message.index_term = reply->index_term;
        message.commit = reply->commit;
        message.refused = reply->refused;
        message.flags = reply->flags;
        if (reply->kind == RAFT_MESSAGE_VOTE_REPLY && !reply->refused &&
            !node->rules->describe(node, &message)) {
            node->replies[kept++] = *reply;
            continue;
        }
        if (message.term > 0 || message.kind == RAFT_MESSAGE_PRE_VOTE_REPLY) {
            raft__send(node, &message);
        }
    }
    node->reply_count = kept;
    if (kept == 0) {
        raft__replies_free(node);
    }
}

RAFT_APART static void send_of_election(raft *node)
{
    if (node->reply_count > 0) {
        send_replies(node);
    }
    if (node->request_due && node->role != RAFT_ROLE_LEADER) {
        raft__election_send(node);
    }
}

/* What others asked this server for, and what it asks others for. */
RAFT_APART static void send_for_others(raft *node)
{
    if (node->pull.due != 0) {
        raft__pull_send(node);
    }
    if (raft__has_clients(node)) {
        raft__answers_send(node);
        raft__served_send(node);
        raft__asked_send(node);
        raft__forwards_send(node);
        raft__fresh_send(node);
        raft__fresh_feed(node);
    }
}

/* Whatever is said rests on term and vote; until they are durable nothing is said (R1). */
static void flush_messages(raft *node)
{
    if (!raft__state_is_durable(node)) {
        return;
    }
    if (node->rare) {
        send_of_election(node);
    }
    if (node->role == RAFT_ROLE_LEADER) {
        raft__leader_send(node);
    } else {
        raft__follower_send(node);
    }
    if (node->rare) {
        send_for_others(node);
    }
}

/* ---- The flush: apply ----------------------------------------------------------------------- */

/* Applied entries must survive a crash here, unless they are rebuilt from the log (R5). */
static raft_index apply_limit(const raft *node)
{
    if (!node->has_joined) {
        return node->applied_index; /* it may be a witness, and not know it yet */
    }
    if (node->options.apply_ahead || node->commit_index < node->durable_index) {
        return node->commit_index;
    }
    return node->durable_index;
}

/* What was cut from the log while apply had it in hand. */
RAFT_APART static void return_applied(raft *node)
{
    uint64_t done = node->pending_count > 0 ? node->pending[0].seq - 1 : node->seq;
    raft__log_return_applied(&node->log);
    raft__log_release(&node->log, &node->memory, done);
}

static inline void complete_apply(raft *node)
{
    node->counters.entries_applied += node->applying_index - node->applied_index;
    node->applied_index = node->applying_index;
    node->applying_index = 0;
    if (node->log.limbo != NULL) {
        return_applied(node);
    }
    if (node->own_count > 0) {
        raft__own_settle(node);
    }
}

/*
 * A witness has no state: what is committed counts as applied (R56). One that is to be a server with
 * data now lacks the payloads of what it holds: its id was used for two things (R45).
 */
static void skip_apply(raft *node, raft_index limit)
{
    if (node->self < node->peer_count && (raft__bit_of(node, node->self) & node->witnesses) == 0) {
        raft__fail(node, RAFT_ECORRUPT);
        return;
    }
    node->applying_index = limit;
    complete_apply(node);
}

static void complete_load(raft *node)
{
    node->load_in_hand = 0;
    node->applied_index = node->applying_index; /* in a leap, which counts as no entry applied */
    node->dirty |= node->phase1 != NULL;        /* it may be all that a candidate waited for */
    complete_apply(node);
}

/*
 * The state machine becomes that of the snapshot when persist has put that into use, and when apply
 * has given back what it had in hand. Until then nothing behind it is applied (R37).
 */
RAFT_APART static void load_snapshot(raft *node)
{
    if (!node->load_due || node->applying_index != 0 || node->durable_index < node->load_index) {
        return;
    }
    node->load_due = 0;
    node->load_in_hand = 1;
    node->applying_index = node->load_index;
    if (node->is_witness) {
        complete_load(node);
        return;
    }
    node->inside = RAFT__IN_OPEN_CALLBACK;
    int status = node->callbacks.snapshot_load(node->host, node->load_index, node->load_term);
    node->inside = RAFT__OUTSIDE;
    if (status == RAFT_OK) {
        complete_load(node);
    } else if (status != RAFT_PENDING) {
        raft__fail(node, RAFT_EAPPLY);
    }
}

/* Whether entries may be applied: the state machine is, or becomes, one that they follow. */
RAFT_APART static int flush_load(raft *node)
{
    if (!node->load_due && !node->renewing) {
        return 1;
    }
    load_snapshot(node);
    return !node->load_due && !node->renewing && node->error == RAFT_OK;
}

/* Hands out one page, and marks the rest as waiting for the next poll. */
RAFT_APART static void flush_apply(raft *node)
{
    if (node->rare && !flush_load(node)) {
        return; /* what is in hand, a load too, is seen below */
    }
    raft_index limit = apply_limit(node);
    if (node->is_witness && node->applying_index == 0 && node->applied_index < limit) {
        skip_apply(node, limit);
        return;
    }
    uint64_t budget = node->options.apply_bytes_max;
    while (node->applying_index == 0 && node->applied_index < limit) {
        raft_range range;
        raft__log_range(&node->log, node->applied_index + 1, limit, budget, &range);
        if (budget == 0 || (range.size > budget && budget < node->options.apply_bytes_max)) {
            node->dirty = 1; /* an entry larger than a page has one to itself */
            return;
        }
        budget -= range.size < budget ? range.size : budget;
        node->applying_index = range.first + range.count - 1;
        node->inside = RAFT__IN_OPEN_CALLBACK;
        int status = node->callbacks.apply(node->host, &range);
        node->inside = RAFT__OUTSIDE;
        if (status == RAFT_OK) {
            complete_apply(node);
        } else if (status != RAFT_PENDING) {
            raft__fail(node, RAFT_EAPPLY);
            return;
        }
    }
}

int raft_applied(raft *node, raft_index index, int status)
{
    int entered = raft__enter(node, 0);
    if (entered != RAFT_OK) {
        return entered;
    }
    if (status > 0 || node->applying_index == 0 || index != node->applying_index) {
        return RAFT_EARG;
    }
    if (status < 0) {
        raft__fail(node, RAFT_EAPPLY);
        return node->error;
    }
    if (node->load_in_hand) {
        complete_load(node);
    } else {
        complete_apply(node);
    }
    node->dirty = 1;
    return RAFT_OK;
}

/* ---- The flush: notify ---------------------------------------------------------------------- */

static int next_role_event(raft *node, raft_event *event)
{
    int role_changed = node->role != node->told_role || node->state.term != node->told_term;
    if (!role_changed && node->leader == node->told_leader) {
        return 0;
    }
    memset(event, 0, sizeof(*event));
    event->kind = role_changed ? RAFT_EVENT_ROLE : RAFT_EVENT_LEADER;
    event->role = node->role;
    event->term = node->state.term;
    event->leader = node->leader;
    node->told_role = node->role;
    node->told_term = node->state.term;
    node->told_leader = node->leader;
    return 1;
}

static int next_fatal_event(raft *node, raft_event *event)
{
    if (node->error == RAFT_OK || node->told_error) {
        return 0;
    }
    memset(event, 0, sizeof(*event));
    event->kind = RAFT_EVENT_FATAL;
    event->status = node->error;
    event->term = node->state.term;
    node->told_error = 1;
    return 1;
}

static int may_have_events(const raft *node)
{
    return (node->untold | node->waiting | node->own_count | node->regression_due |
            node->snapshot_news) != 0;
}

static int next_event(raft *node, raft_event *event)
{
    return next_role_event(node, event) || raft__config_next(node, event) ||
           raft__transfer_next(node, event) || raft__own_next(node, event) ||
           raft__forwards_next(node, event) || raft__reads_next(node, event) ||
           raft__snapshot_next(node, event) || raft__regression_next(node, event) ||
           next_fatal_event(node, event);
}

RAFT_APART static void flush_events(raft *node)
{
    raft_event event;
    if (node->load_due && node->error == RAFT_OK) {
        flush_apply(node); /* a snapshot at the applied index, with nothing more to apply (R35) */
    }
    node->untold = node->load_due;
    while (next_event(node, &event)) {
        if (node->callbacks.notify != NULL) {
            node->inside = RAFT__IN_OPEN_CALLBACK;
            node->callbacks.notify(node->host, &event);
            node->inside = RAFT__OUTSIDE;
        }
    }
}

/* ---- The flush ------------------------------------------------------------------------------ */

/* When to give up what this server asks others for, where that comes first. */
RAFT_APART static uint64_t clients_deadline(const raft *node, uint64_t due)
{
    uint64_t asked = raft__asked_deadline(node);
    uint64_t forwards = raft__forwards_deadline(node);
    uint64_t fresh = raft__fresh_deadline(node);
    due = asked < due ? asked : due;
    due = fresh < due ? fresh : due;
    return forwards < due ? forwards : due;
}

RAFT_APART static void flush_timers(raft *node)
{
    if (node->waiting != 0) {
        raft__asked_timers(node);
        raft__forwards_timers(node);
        raft__fresh_timers(node);
    }
    if (node->change_due) {
        raft__config_step(node);
    }
}

/* Lets everything leave that may, in the one order. Of what most polls have none, one byte tells. */
static void flush(raft *node)
{
    raft__election_timers(node);
    if (node->rare) {
        flush_timers(node);
    }
    if (has_unwritten(node) && has_place_to_write(node)) {
        flush_persist(node);
    }
    if (node->rare && !flush_install(node)) {
        return; /* R9: nothing is said or applied any more */
    }
    if (node->role == RAFT_ROLE_LEADER && node->match_moved) {
        raft__leader_commit(node);
    }
    flush_messages(node);
    node->dirty = 0; /* what still waits, waits for storage */
    if (node->rare) {
        node->dirty = node->change_due | node->more_due;
        node->more_due = 0;
    }
    if (node->applied_index < node->commit_index) {
        flush_apply(node);
    }
}

/* A node that has failed does nothing any more, and one that is being stopped may have to. */
RAFT_APART static int poll_rare(raft *node)
{
    if (may_have_events(node)) {
        flush_events(node);
    }
    if (node->stopping && node->error == RAFT_OK && raft__has_stopped(node)) {
        raft__fail(node, RAFT_ESTOPPED);
        flush_events(node);
    }
    if (node->error != RAFT_OK) {
        node->dirty = 0;
    }
    node->rare = (uint8_t)raft__has_rare(node);
    return node->error;
}

/* Apart, so that a poll with nothing to do saves no registers. */
RAFT_APART static int poll_due(raft *node)
{
    if (node->rare) {
        raft__streams_sweep(node);
    }
    if (node->callbacks.read_log != NULL && node->log.bytes > node->options.log_bytes_max / 2) {
        raft__evict(node);
    }
    if (node->error == RAFT_OK) {
        flush(node);
    }
    return (node->untold | node->rare) != 0 ? poll_rare(node) : RAFT_OK;
}

/* Of a node that is sound and has nothing that may leave now. */
static inline uint64_t next_deadline(const raft *node)
{
    if (node->role != RAFT_ROLE_LEADER) {
        uint64_t follower_due = raft__follower_deadline(node);
        return node->waiting == 0 ? follower_due : clients_deadline(node, follower_due);
    }
    uint64_t due =
        node->heartbeat_at_ms < node->quorum_at_ms ? node->heartbeat_at_ms : node->quorum_at_ms;
    if (node->handing_over || node->pending_count > 0) {
        uint64_t other = raft__transfer_deadline(node);
        due = other < due ? other : due;
    }
    return node->waiting == 0 ? due : clients_deadline(node, due);
}

/* Where nothing has happened since the last poll, it may be time for something. */
RAFT_APART static int poll_timers(raft *node)
{
    return node->error == RAFT_OK && node->now_ms >= next_deadline(node) ? poll_due(node)
                                                                         : node->error;
}

static inline int poll_now(raft *node)
{
    return node->dirty || node->contact_fresh ? poll_due(node) : poll_timers(node);
}

/* The clock went back: leases that rest on it are void (R59). */
RAFT_APART static int poll_back(raft *node)
{
    node->clock_is_back = 1;
    raft__lease_void(node);
    return poll_now(node);
}

int raft_poll(raft *node, uint64_t now_ms)
{
    int status = raft__enter(node, 0);
    if (status != RAFT_OK && (node == NULL || status != node->error)) {
        return status;
    }
    now_ms = now_ms < RAFT_LIMIT ? now_ms : RAFT_LIMIT; /* so that no deadline overflows */
    if (now_ms < node->now_ms) {
        return poll_back(node);
    }
    node->clock_is_back = 0;
    node->now_ms = now_ms;
    return poll_now(node);
}

uint64_t raft_deadline(const raft *node)
{
    if (node == NULL || node->phase != RAFT__STARTED) {
        return RAFT_NEVER;
    }
    if (node->dirty) {
        return 0;
    }
    return node->error != RAFT_OK ? RAFT_NEVER : next_deadline(node);
}
