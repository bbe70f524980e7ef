/*
 * Taking a better log from another server before leading: in Raft where an election fails for the
 * log alone (rule N7), in Multi-Paxos whenever the best promise is another server's (P4).
 *
 * Raft. Where one server alone reaches a quorum and others have longer logs, Raft as it is elects
 * nobody: the one is refused for its log, the others reach too few. So a pre-candidate that would be
 * elected but for its log takes what it lacks from whoever has the best one, and asks again.
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
 * Multi-Paxos. A candidate that a Q1 has promised its term makes its log the best one. (1), (2) and
 * (4) hold as well; the term is its own, so (3) has nothing to raise. The source has promised this
 * very term, so its log stays as it is. What is committed there is chosen, and may be applied here
 * as it comes. Where the source has compacted what is wanted, its snapshot comes first (P12).
 *
 * A log that was pulled by halves is as good as any other.
 */
#include "raft_internal.h"

/* ---- Who can help --------------------------------------------------------------------------- */

/* Who says no for the log alone. Only a server that holds data can be pulled from (R56). */
void raft__pull_note(raft *node, uint32_t position, const raft_message *message)
{
    struct raft__pull *pull = &node->pull;
    raft__set refuser = raft__bit_of(node, position);
    pull->behind |= refuser;
    if ((refuser & node->witnesses) != 0) {
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

/* Whether this campaign fails for the log alone. */
int raft__pull_would_help(const raft *node)
{
    raft__set friendly = node->granted | node->pull.behind;
    return !node->options.no_pull && raft__quorum_has(&node->quorums, RAFT__ELECTION, friendly) &&
           raft__quorum_has(&node->quorums, RAFT__COMMIT, friendly);
}

/* ---- Pulling -------------------------------------------------------------------------------- */

/* Asks for what follows an entry. The same question, asked again, keeps its number. */
static void ask(raft *node, raft_index index, raft_term term)
{
    node->pull.index = index;
    node->pull.index_term = term;
    node->pull.round = ++node->round;
    node->pull.unanswered = 0;
    node->pull.due |= RAFT__PULL_ASK;
    node->rare = 1;
    node->dirty = 1;
}

static void ask_behind(raft *node, raft_index index)
{
    ask(node, index, raft__log_term(&node->log, index));
}

static void begin_pull(raft *node, raft_id source, raft_term source_term)
{
    struct raft__pull *pull = &node->pull;
    pull->source = source;
    pull->source_term = source_term;
    pull->term = node->state.term;
    pull->has_changed = 0;
    pull->verifies = 0;
    node->counters.pulls++;
}

void raft__pull_begin(raft *node)
{
    if (node->pull.best == 0) {
        return; /* only a witness has told of a better log so far */
    }
    begin_pull(node, node->pull.best, node->pull.best_term);
    ask_behind(node, node->log.last_index);
}

static void ask_from_the_end(raft *node)
{
    raft_index last = node->log.last_index;
    ask_behind(node, last < node->pull.goal ? last : node->pull.goal);
}

void raft__pull_log(raft *node, raft_id source, raft_index goal, raft_term goal_term, int verify)
{
    begin_pull(node, source, goal_term);
    node->pull.goal = goal;
    node->pull.goal_term = goal_term;
    node->pull.verifies = verify != 0;
    if (verify) {
        ask(node, goal, goal_term);
    } else {
        ask_from_the_end(node);
    }
}

void raft__pull_end(raft *node)
{
    if (node->pull.source != 0 && node->install != NULL &&
        node->install->from == node->pull.source) {
        raft__install_give_up(node, RAFT_EDROPPED);
    }
    node->pull.source = 0;
    node->pull.due &= (uint8_t) ~(RAFT__PULL_ASK | RAFT__PULL_PIECE);
}

static int is_candidate(const raft *node)
{
    return node->role == RAFT_ROLE_CANDIDATE;
}

/* A pull that brought nothing would only be repeated: the next one waits for the timer. */
static void finish_pull(raft *node, int outcome)
{
    int has_changed = node->pull.has_changed;
    if (is_candidate(node)) {
        raft__phase1_pulled(node, outcome);
        return;
    }
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
    int agrees = message->index == node->pull.index &&
                 message->index_term == node->pull.index_term; /* but cannot give what follows */
    if (node->pull.verifies || agrees || node->pull.index <= floor) {
        finish_pull(node, RAFT__PULL_LACKS);
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

static int holds_goal(const raft *node)
{
    return raft__log_holds(&node->log, node->pull.goal, node->pull.goal_term);
}

/* The log is the source's up to `end`. A candidate needs its goal, a pre-candidate what there is. */
static void go_on(raft *node, const raft_message *message, raft_index end)
{
    int is_all = (message->flags & RAFT_FLAG_LAST) != 0 || end == message->index;
    if (is_candidate(node) ? holds_goal(node) : is_all) {
        finish_pull(node, RAFT__PULL_DONE);
    } else if (is_all) {
        finish_pull(node, RAFT__PULL_LACKS); /* it is not what it said that it was */
    } else {
        ask_behind(node, end);
    }
}

static int take_answer(raft *node, const raft_message *message, unsigned kinds)
{
    raft_index end;
    int status = take_pulled(node, message, kinds, &end);
    if (is_candidate(node) && status != RAFT_EMALFORMED) {
        /* So far it is the source's log, and what is committed there is so here (I11): applied, it
         * makes room for the rest. */
        raft__commit_to(node, message->commit < end ? message->commit : end);
    }
    if (node->pull.source == 0) {
        return status; /* a membership that came with it left this server out (R16) */
    }
    if (status == RAFT_EMALFORMED || status == RAFT_ELIMIT) {
        raft__become_follower(node, node->state.term, 0);
    } else if (status == RAFT_OK) {
        go_on(node, message, end);
    } else if (end > message->index) {
        ask_behind(node, end);
    }
    return status; /* without memory the question stays open, and is asked again in a while */
}

int raft__pull_reply_receive(raft *node, const raft_message *message, unsigned kinds)
{
    if (!answers_question(node, message)) {
        return RAFT_OK;
    }
    node->pull.progress++;
    node->pull.unanswered = 0;
    if (message->refused) {
        look_further_back(node, message);
        return RAFT_OK;
    }
    if (message->index_term != node->pull.index_term) {
        return RAFT_EMALFORMED; /* it agrees to another point than it was asked about */
    }
    if (node->pull.verifies) {
        node->pull.verifies = 0;
        ask_from_the_end(node);
        return RAFT_OK;
    }
    return take_answer(node, message, kinds);
}

/* ---- Being pulled from ---------------------------------------------------------------------- */

/*
 * Raft: a server that follows a live leader helps nobody against it, nor does it take over a term
 * for that (R19). Multi-Paxos: it helps whom it has promised the term, and nobody else (P4). A newer
 * term is told, as to any candidate (R18).
 */
static int may_serve(const raft *node, const raft_message *message)
{
    if (node->is_witness) {
        return 0;
    }
    if (node->rules->by_log) {
        return !raft__is_bound(node);
    }
    return message->term < node->state.term ||
           (message->term == node->state.term && node->state.vote == message->from);
}

void raft__pull_receive(raft *node, const raft_message *message)
{
    struct raft__pull *pull = &node->pull;
    if (!may_serve(node, message)) {
        return;
    }
    if (message->term > node->state.term) {
        raft__become_follower(node, message->term, 0);
    }
    if (pull->asked_by != message->from) {
        raft__pull_serve_end(node);
    }
    pull->due |= RAFT__PULL_ANSWER;
    node->rare = 1;
    pull->asked_by = message->from;
    pull->asked_in = message->term;
    pull->asked_round = message->round;
    pull->asked_index = message->index;
    pull->asked_index_term = message->index_term;
    node->dirty = 1;
}

/* Whether the log holds that entry durably. */
static int can_serve(const raft *node, raft_index index, raft_term term)
{
    return index <= node->durable_index && raft__log_holds(&node->log, index, term);
}

/* The server that asks, if it is a member: where what is read back for it is kept. */
static struct raft__peer *asking_peer(raft *node)
{
    uint32_t position = raft__position_of(node, node->pull.asked_by);
    return position < node->peer_count ? &node->peers[position] : NULL;
}

/* Entries that have left memory are read back, as for a follower (stream.c). */
static int fetch_chunk(raft *node, raft_index first, raft_range *range)
{
    struct raft__peer asker; /* a member or not: it may be the only one that was not told */
    if (node->role == RAFT_ROLE_LEADER) {
        return RAFT_EBUSY; /* it reads for its followers */
    }
    memset(&asker, 0, sizeof(asker));
    asker.id = node->pull.asked_by;
    asker.next = first;
    return raft__stream_entries(node, &asker, range);
}

/*
 * The entries behind the point of joining, one run of one term, as far as they are durable. RAFT_OK
 * or why there is none.
 */
static int fill_chunk(raft *node, raft_message *message)
{
    raft_index first = message->index + 1;
    raft_range *range = &message->ranges[0];
    int status = RAFT_OK;
    if (first <= node->durable_index) {
        if (first >= raft__log_memory(&node->log)) {
            raft__log_range(&node->log, first, node->durable_index, node->options.append_bytes_max,
                            range);
        } else {
            status = fetch_chunk(node, first, range);
        }
        message->range_count = status == RAFT_OK;
    }
    raft_index end = message->index + (message->range_count > 0 ? range->count : 0);
    message->commit = node->commit_index;
    message->flags = end == node->durable_index ? RAFT_FLAG_LAST : 0;
    return status;
}

static void fill_refusal(const raft *node, raft_message *message, raft_term term)
{
    raft_index index = message->index;
    raft_index from = index < node->durable_index ? index : node->durable_index;
    message->refused = 1;
    message->refused_index = index;
    message->index = 0;
    message->index_term = 0;
    message->commit = 0;
    message->flags = 0;
    message->range_count = 0;
    if (from >= node->log.base_index) {
        message->index = raft__log_floor(&node->log, from, term);
        message->index_term = raft__log_term(&node->log, message->index);
    }
}

/*
 * What is wanted lies in front of the log: whom the term was promised gets the snapshot first. It
 * asks on behind that when it is in use there.
 */
static int serve_snapshot(raft *node)
{
    struct raft__pull *pull = &node->pull;
    struct raft__peer *peer = asking_peer(node);
    if (node->rules->by_log || peer == NULL || node->callbacks.snapshot_read == NULL ||
        pull->asked_index >= node->log.base_index) {
        return 0;
    }
    if (peer->state != RAFT_PEER_SNAPSHOT) {
        raft__peer_needs_snapshot(node, peer);
    }
    peer->heard_ms = node->now_ms;
    raft__snapshot_again(node, peer, UINT64_MAX);
    pull->due |= RAFT__PULL_SERVE;
    node->rare = 1;
    return 1;
}

static void send_answer(raft *node)
{
    struct raft__pull *pull = &node->pull;
    raft_message message;
    int status = RAFT_EARG;
    raft__message_begin(node, &message, RAFT_MESSAGE_PULL_REPLY, pull->asked_by);
    message.round = pull->asked_round;
    message.index = pull->asked_index;
    int is_promised = node->rules->by_log ||
                      (pull->asked_in == node->state.term && node->state.vote == pull->asked_by);
    if (is_promised && can_serve(node, pull->asked_index, pull->asked_index_term)) {
        message.index_term = pull->asked_index_term;
        status = fill_chunk(node, &message);
    }
    if (status == RAFT_PENDING) {
        return; /* the host reads */
    }
    pull->due &= (uint8_t)~RAFT__PULL_ANSWER;
    if (status == RAFT_ENOMEM) {
        return; /* it asks again */
    }
    if (status != RAFT_OK && is_promised && serve_snapshot(node)) {
        return;
    }
    if (status != RAFT_OK) {
        fill_refusal(node, &message, pull->asked_index_term);
    } else if ((pull->due & RAFT__PULL_SERVE) != 0) {
        pull->due &= (uint8_t)~RAFT__PULL_SERVE; /* it has arrived */
        raft__stream_end(node, pull->asked_by, RAFT_OK);
    }
    raft__send(node, &message);
}

void raft__pull_piece_reply(raft *node, const raft_message *message)
{
    struct raft__peer *peer = asking_peer(node);
    if (message->kind == RAFT_MESSAGE_SNAPSHOT_REPLY && peer != NULL &&
        (node->pull.due & RAFT__PULL_SERVE) != 0 && message->from == peer->id) {
        peer->heard_ms = node->now_ms;
        raft__snapshot_reply(node, peer, message);
        node->dirty = 1;
    }
}

void raft__pull_serve_end(raft *node)
{
    struct raft__pull *pull = &node->pull;
    if (pull->asked_by != 0 && node->role != RAFT_ROLE_LEADER) {
        raft__stream_end(node, pull->asked_by, RAFT_ENOTLEADER);
    }
    pull->due &= (uint8_t)~RAFT__PULL_SERVE;
}

/* A question is asked four times in a minimum timeout; then a candidate gives the source up. */
#define QUESTIONS_MAX 4u

static uint64_t question_ms(const raft *node)
{
    return node->options.election_timeout_ms / 4 + 1;
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
    pull->again_ms = node->now_ms + question_ms(node);
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
    if ((node->pull.due & RAFT__PULL_SERVE) != 0 && asking_peer(node) != NULL) {
        raft__feed_snapshot(node, raft__position_of(node, node->pull.asked_by));
    }
    if ((node->pull.due & RAFT__PULL_PIECE) != 0) {
        node->pull.due &= (uint8_t)~RAFT__PULL_PIECE;
        raft__snapshot_answer(node, node->pull.source, node->pull.piece_round);
    }
}

void raft__pull_piece(raft *node, uint64_t round)
{
    struct raft__pull *pull = &node->pull;
    if (round > pull->piece_round) {
        pull->piece_round = round;
    }
    pull->progress++;
    pull->unanswered = 0;
    pull->again_ms = node->now_ms + question_ms(node);
}

/* What is committed has moved beyond the open question: Raft has no use for the rest. */
void raft__pull_on(raft *node)
{
    if (!is_candidate(node)) {
        raft__pull_end(node);
    } else if (holds_goal(node)) {
        finish_pull(node, RAFT__PULL_DONE);
    } else {
        ask_behind(node, node->commit_index);
    }
}

/* The question of a pull, or its answer, was lost; or there is nobody to answer (P4). */
void raft__pull_timers(raft *node)
{
    struct raft__pull *pull = &node->pull;
    if ((pull->due & RAFT__PULL_ASK) != 0 || node->now_ms < pull->again_ms) {
        return;
    }
    if (is_candidate(node) && ++pull->unanswered > QUESTIONS_MAX) {
        finish_pull(node, RAFT__PULL_SILENT);
    } else {
        pull->due |= RAFT__PULL_ASK;
        node->rare = 1;
    }
}
