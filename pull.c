/*
 * Pull before campaigning (rule N7). Where one server alone reaches a quorum and others have longer
 * logs, Raft as it is elects nobody: the one is refused for its log, the others reach too few. So a
 * pre-candidate that would be elected but for its log takes what it lacks from whoever has the best
 * one, and asks again.
 *
 *   pre-candidate ── yes, and no for the log only, make a quorum ──▶ PULL{point of joining}
 *         ▲                                                           │ entries, or a hint where
 *         │                                                           ▼ to look for the point
 *         └────────────────── nothing follows ◀─────────────── replace the tail, ask on
 *
 *   (1) The source is not changed and need not be trusted with more than a candidate: what it gives
 *       is durable there, and its log is better than ours, so it holds all that is committed here.
 *   (2) A chunk is no contact. It certifies nothing and commits nothing: nobody leads here.
 *   (3) Before the first change of the log `certified` is forgotten, and the term is as high as any
 *       entry that comes: an older leader gets no acknowledgement for entries that are gone. Where
 *       what is cut was certified in this very term, the term is left behind for good.
 *   (4) A chunk counts only if it answers the open question, in the term of the pull, and nothing
 *       has been heard of a leader since: any change of role or term ends the pull.
 *
 * A log that was pulled by halves is as good as any other.
 */
#include "raft_internal.h"

/* ---- Who can help --------------------------------------------------------------------------- */

/* A voter that says no for the log alone. Only one that holds data can be pulled from (R56). */
void raft__pull_note(raft *node, uint32_t position, const raft_message *message)
{
    struct raft__pull *pull = &node->pull;
    pull->behind |= raft__bit_of(node, position);
    if (!raft__may_lead_at(node, position)) {
        return;
    }
    if (message->index_term > pull->best_term ||
        (message->index_term == pull->best_term && message->index > pull->best_index)) {
        pull->best = message->from;
        pull->best_index = message->index;
        pull->best_term = message->index_term;
    }
}

void raft__pull_forget(raft *node)
{
    node->pull.behind = 0;
    node->pull.best = 0;
    node->pull.best_index = node->log.last_index; /* only what is above the own log is of use */
    node->pull.best_term = node->log.last_term;
}

/* Whether this campaign fails for the log alone, and somebody has a better one. */
int raft__pull_would_help(const raft *node)
{
    raft__set friendly = node->granted | node->pull.behind;
    return !node->options.no_pull && node->pull.best != 0 &&
           raft__quorum_has(&node->quorums, RAFT__ELECTION, friendly) &&
           raft__quorum_has(&node->quorums, RAFT__COMMIT, friendly);
}

/* ---- Pulling -------------------------------------------------------------------------------- */

/* Asks for what follows index. The same question, asked again, keeps its number. */
static void ask_behind(raft *node, raft_index index)
{
    node->pull.index = index;
    node->pull.index_term = raft__log_term(&node->log, index);
    node->pull.round = ++node->round;
    node->pull.due |= RAFT__PULL_ASK;
    node->dirty = 1;
}

void raft__pull_begin(raft *node)
{
    struct raft__pull *pull = &node->pull;
    pull->source = pull->best;
    pull->source_term = pull->best_term;
    pull->term = node->state.term;
    pull->has_changed = 0;
    node->counters.pulls++;
    ask_behind(node, node->log.last_index);
}

void raft__pull_end(raft *node)
{
    node->pull.source = 0;
    node->pull.due &= (uint8_t)~RAFT__PULL_ASK;
}

/* A pull that brought nothing would only be repeated: the next one waits for the timer. */
static void finish_pull(raft *node)
{
    int has_changed = node->pull.has_changed;
    raft__pull_end(node);
    if (!has_changed || raft__campaign_again(node) != RAFT_OK) {
        raft__become_follower(node, node->state.term, 0);
        raft__draw_timer(node);
    }
}

/* The first index at which the entries differ from the log, or go beyond it; 0: nowhere. */
static raft_index first_change(const raft *node, const raft_message *message)
{
    for (size_t i = 0; i < message->range_count; i++) {
        const raft_range *range = &message->ranges[i];
        raft_index last = range->first + range->count - 1;
        raft_index known = last < node->log.last_index ? last : node->log.last_index;
        raft_index differs = raft__log_mismatch(&node->log, range->first, known, range->term);
        if (differs != 0 || last > known) {
            return differs != 0 ? differs : known + 1;
        }
    }
    return 0;
}

/*
 * Whether what is about to go may have been acknowledged in this term: `certified` knows, but it
 * knows nothing of the time before a restart.
 */
static int may_be_acknowledged(const raft *node, raft_index from)
{
    return from <= node->certified ||
           (node->state.term == node->start_term && from <= node->log.last_index);
}

/*
 * N7: what was acknowledged in this term may be about to go. The term rises above it then, and is
 * stored with the change or before it (R4). Else it is enough that it is as high as what comes, and
 * that nothing counts as certified.
 */
static int leave_certified(raft *node, raft_index from)
{
    struct raft__pull *pull = &node->pull;
    raft_term term = node->state.term + (raft_term)may_be_acknowledged(node, from);
    term = pull->source_term > term ? pull->source_term : term;
    if (term > RAFT_LIMIT) {
        return RAFT_ELIMIT;
    }
    if (term > node->state.term) {
        raft__set_state(node, term, 0);
        pull->term = term;
    }
    node->certified = 0;
    node->acked = 0;
    node->ack_due = 0;
    node->refusal_due = 0;
    pull->has_changed = 1;
    return RAFT_OK;
}

/* Data servers have whole entries (R56), and memberships that this one understands. */
static int pulled_kinds_acceptable(const raft *node, const raft_message *message, unsigned kinds)
{
    int acceptable = (kinds & 1u << RAFT_ENTRY_STRIPPED) == 0;
    for (size_t i = 0; i < message->range_count && acceptable; i++) {
        acceptable = raft__configs_acceptable(node, &message->ranges[i], kinds);
    }
    return acceptable;
}

/* Takes the entries in; *end is the last index up to which the log is now the source's. */
static int take_pulled(raft *node, const raft_message *message, unsigned kinds, raft_index *end)
{
    raft_index from = first_change(node, message);
    int status = RAFT_OK;
    *end = message->index;
    if ((from != 0 && from <= node->commit_index) ||
        !pulled_kinds_acceptable(node, message, kinds)) {
        return RAFT_EMALFORMED; /* what is committed is in every log that is better (I14) */
    }
    if (from != 0) {
        status = leave_certified(node, from);
    }
    for (size_t i = 0; i < message->range_count && status == RAFT_OK; i++) {
        size_t matched = 0;
        status = raft__take_range(node, &message->ranges[i], kinds, &matched);
        *end += matched;
    }
    return status;
}

/*
 * The source does not know the point of joining. Its hint is used as a leader uses that of a
 * follower (R30), but never below the commit index: what cannot be had from there on is compacted,
 * or has left memory, and only a leader could help.
 */
static void look_further_back(raft *node, const raft_message *message)
{
    raft_index floor = node->commit_index;
    if (node->pull.index <= floor) {
        finish_pull(node);
        return;
    }
    raft_index from = message->index < node->pull.index ? message->index : node->pull.index - 1;
    if (from > floor) {
        from = raft__log_floor(&node->log, from, message->index_term);
    }
    ask_behind(node, from > floor ? from : floor);
}

/* A reply counts only from whom it was asked, and to the question that is open (R47). */
static int answers_question(const raft *node, const raft_message *message)
{
    const struct raft__pull *pull = &node->pull;
    return pull->source == message->from && pull->round == message->round &&
           pull->term == node->state.term &&
           (message->refused ? message->refused_index == pull->index
                             : message->index == pull->index);
}

int raft__pull_reply_receive(raft *node, const raft_message *message, unsigned kinds)
{
    raft_index end;
    if (!answers_question(node, message)) {
        return RAFT_OK;
    }
    if (message->refused) {
        look_further_back(node, message);
        return RAFT_OK;
    }
    if (message->index_term != node->pull.index_term) {
        return RAFT_EMALFORMED; /* it agrees to another point than it was asked about */
    }
    int status = take_pulled(node, message, kinds, &end);
    if (node->pull.source == 0) {
        return status; /* a membership that came with it left this server out (R16) */
    }
    if (status == RAFT_EMALFORMED || status == RAFT_ELIMIT) {
        raft__become_follower(node, node->state.term, 0);
    } else if (status == RAFT_OK &&
               ((message->flags & RAFT_FLAG_LAST) != 0 || end == message->index)) {
        finish_pull(node);
    } else if (end > message->index) {
        ask_behind(node, end);
    }
    return status; /* without memory the question stays open, and is asked again in a while */
}

/* ---- Being pulled from ---------------------------------------------------------------------- */

/*
 * A server that follows a live leader helps nobody against it, nor does it take over a term for
 * that (R19). A newer term is told, as to any candidate (R18).
 */
void raft__pull_receive(raft *node, const raft_message *message)
{
    struct raft__pull *pull = &node->pull;
    if (raft__is_bound(node) || node->is_witness) {
        return;
    }
    if (message->term > node->state.term) {
        raft__become_follower(node, message->term, 0);
    }
    pull->due |= RAFT__PULL_ANSWER;
    pull->asked_by = message->from;
    pull->asked_round = message->round;
    pull->asked_index = message->index;
    pull->asked_index_term = message->index_term;
    node->dirty = 1;
}

/*
 * Whether the log holds that entry durably, and what follows it in memory. What has left memory is
 * not fetched for this: a server that is so far behind is no hope for the group, others are nearer.
 */
static int can_serve(const raft *node, raft_index index, raft_term term)
{
    return index >= node->log.base_index && index <= node->durable_index &&
           index + 1 >= raft__log_memory(&node->log) && raft__log_term(&node->log, index) == term;
}

/* The entries behind the point of joining, one run of one term, as far as they are durable. */
static void fill_chunk(const raft *node, raft_message *message)
{
    raft_index end = message->index;
    message->commit = node->commit_index;
    if (end < node->durable_index) {
        raft__log_range(&node->log, end + 1, node->durable_index, node->options.append_bytes_max,
                        &message->ranges[0]);
        message->range_count = 1;
        end += message->ranges[0].count;
    }
    message->flags = end == node->durable_index ? RAFT_FLAG_LAST : 0;
}

static void fill_refusal(const raft *node, raft_message *message, raft_term term)
{
    raft_index index = message->index;
    raft_index from = index < node->durable_index ? index : node->durable_index;
    message->refused = 1;
    message->refused_index = index;
    message->index = 0;
    if (from >= node->log.base_index) {
        message->index = raft__log_floor(&node->log, from, term);
        message->index_term = raft__log_term(&node->log, message->index);
    }
}

static void send_answer(raft *node)
{
    struct raft__pull *pull = &node->pull;
    raft_message message;
    raft__message_begin(node, &message, RAFT_MESSAGE_PULL_REPLY, pull->asked_by);
    message.round = pull->asked_round;
    message.index = pull->asked_index;
    if (can_serve(node, pull->asked_index, pull->asked_index_term)) {
        message.index_term = pull->asked_index_term;
        fill_chunk(node, &message);
    } else {
        fill_refusal(node, &message, pull->asked_index_term);
    }
    pull->due &= (uint8_t)~RAFT__PULL_ANSWER;
    raft__send(node, &message);
}

static void send_request(raft *node)
{
    struct raft__pull *pull = &node->pull;
    raft_message message;
    raft__message_begin(node, &message, RAFT_MESSAGE_PULL, pull->source);
    message.round = pull->round;
    message.index = pull->index;
    message.index_term = pull->index_term;
    pull->due &= (uint8_t)~RAFT__PULL_ASK;
    pull->again_ms = node->now_ms + node->options.election_timeout_ms / 4 + 1;
    raft__send(node, &message);
}

void raft__pull_send(raft *node)
{
    if ((node->pull.due & RAFT__PULL_ASK) != 0) {
        send_request(node);
    }
    if ((node->pull.due & RAFT__PULL_ANSWER) != 0) {
        send_answer(node);
    }
}

/* The question of a pull, or its answer, was lost. */
void raft__pull_timers(raft *node)
{
    if ((node->pull.due & RAFT__PULL_ASK) == 0 && node->now_ms >= node->pull.again_ms) {
        node->pull.due |= RAFT__PULL_ASK;
    }
}
