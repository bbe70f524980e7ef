/*
 * Looking at a node without changing it: status, description for people, and the check of its
 * invariants.
 */
#include "raft_internal.h"

/* ---- Numbers -------------------------------------------------------------------------------- */

/* Voters of a half that may fail while it still elects and commits. */
static size_t half_tolerates(const struct raft__half *half)
{
    unsigned needed = half->quorum[RAFT__ELECTION] > half->quorum[RAFT__COMMIT]
                          ? half->quorum[RAFT__ELECTION]
                          : half->quorum[RAFT__COMMIT];
    return raft__set_size(half->voters) - needed;
}

static size_t failures_tolerated(const raft *node)
{
    size_t now = half_tolerates(&node->quorums.halves[0]);
    size_t former = half_tolerates(&node->quorums.halves[1]);
    return raft__is_joint(node) && former < now ? former : now;
}

static void fill_status(const raft *node, raft_status *status)
{
    status->id = node->id;
    status->role = node->role;
    status->error = node->error;
    status->term = node->state.term;
    status->vote = node->state.vote;
    status->leader = node->leader;
    status->first_index = node->log.base_index + 1;
    status->last_index = node->log.last_index;
    status->durable_index = node->durable_index;
    status->commit_index = node->commit_index;
    status->applied_index = node->applied_index;
    status->log_bytes = node->log.bytes;
    status->uncommitted_bytes = raft__uncommitted_bytes(node);
    status->last_contact_ms = node->contact_ms;
    status->member_count = node->peer_count;
    status->election_quorum = node->quorums.halves[0].quorum[RAFT__ELECTION];
    status->commit_quorum = node->quorums.halves[0].quorum[RAFT__COMMIT];
    status->quorum_ok = node->role == RAFT_ROLE_LEADER && node->quorum_ok;
    status->writes_pending = node->pending_count;
    status->reads_pending = (size_t)raft__reads_waiting(node);
    status->forwards_pending = raft__forwards_waiting(node);
    status->snapshot_asked = node->renewing ? node->fresh.index : 0;
    status->lease_until_ms = raft__lease_end(node);
    status->promised_until_ms =
        node->now_ms < node->promised_until_ms ? node->promised_until_ms : 0;
    status->counters = node->counters;
    status->memory_index = raft__log_memory(&node->log);
    status->snapshot_index = node->snapshot_index;
    status->snapshot_term = node->snapshot_term;
    status->installing = node->install != NULL || raft__is_installing(node);
    status->membership_version = raft__config_index(node);
    status->membership_joint = raft__is_joint(node);
    status->voter_count = raft__set_size(node->quorums.halves[0].voters);
    status->learner_count = raft__set_size(node->learners);
    status->witness_count = raft__set_size(node->witnesses);
    status->failures_tolerated = failures_tolerated(node);
    status->transfer_target = node->transfer.target;
    status->asleep = node->asleep;
}

int raft_get_status(const raft *node, raft_status *status)
{
    raft_status full;
    if (node == NULL || status == NULL || status->size < sizeof(status->size)) {
        return RAFT_EARG;
    }
    size_t size = status->size < sizeof(full) ? status->size : sizeof(full);
    memset(&full, 0, sizeof(full));
    fill_status(node, &full);
    full.size = status->size;
    memcpy(status, &full, size);
    return RAFT_OK;
}

int raft_get_member(const raft *node, size_t position, raft_member *member)
{
    struct raft__config config;
    if (node == NULL || member == NULL || position >= node->peer_count) {
        return RAFT_EARG;
    }
    raft__config_governing(node, &config);
    *member = config.members[position];
    return RAFT_OK;
}

int raft_get_membership(const raft *node, raft_membership *membership, raft_member *members,
                        size_t capacity)
{
    struct raft__config config;
    if (node == NULL || membership == NULL || membership->size < sizeof(membership->size) ||
        (members == NULL && capacity != 0)) {
        return RAFT_EARG;
    }
    if (node->configs.count == 0) {
        return RAFT_ENOTMEMBER;
    }
    raft__config_governing(node, &config);
    size_t size = membership->size < sizeof(config.is) ? membership->size : sizeof(config.is);
    size_t count = config.is.member_count < capacity ? config.is.member_count : capacity;
    config.is.version = raft__config_index(node);
    config.is.committed = node->commit_index >= config.is.version;
    config.is.members = members;
    config.is.size = membership->size;
    memcpy(membership, &config.is, size);
    if (count > 0) {
        memcpy(members, config.members, count * sizeof(*members));
    }
    return RAFT_OK;
}

static void fill_transfer(const raft *node, raft_peer_status *status)
{
    for (const struct raft__stream *stream = node->streams; stream != NULL; stream = stream->next) {
        if (stream->peer == status->id && !stream->entries && !stream->ended) {
            status->snapshot_index = stream->index;
            status->snapshot_offset = stream->offset;
        }
    }
}

int raft_get_peer(const raft *node, size_t position, raft_peer_status *status)
{
    if (node == NULL || status == NULL || position >= node->peer_count) {
        return RAFT_EARG;
    }
    const struct raft__peer *peer = &node->peers[position];
    memset(status, 0, sizeof(*status));
    status->id = peer->id;
    if (node->role == RAFT_ROLE_LEADER) {
        int is_self = position == node->self;
        status->match = is_self ? node->durable_index : peer->match;
        status->next = is_self ? node->log.last_index + 1 : peer->next;
        status->state = is_self ? RAFT_PEER_REPLICATE : peer->state;
        status->inflight_messages = peer->window.count;
        status->inflight_bytes = is_self ? 0 : raft__inflight_bytes(node, peer);
        status->heard = is_self || (node->heard >> position & 1) != 0;
        status->last_heard_ms = peer->heard_ms;
        fill_transfer(node, status);
    }
    return RAFT_OK;
}

/* ---- For people ----------------------------------------------------------------------------- */

static const char *role_name(int role)
{
    static const char *const names[] = {"follower", "pre-candidate", "candidate", "leader"};
    return names[role];
}

static void describe_self(struct raft__text *text, const raft *node)
{
    raft__text_number(text, "node ", node->id);
    raft__text_add(text, " ");
    raft__text_add(text, role_name(node->role));
    raft__text_number(text, " term=", node->state.term);
    raft__text_number(text, " vote=", node->state.vote);
    raft__text_number(text, " leader=", node->leader);
    if (node->error != RAFT_OK) {
        raft__text_add(text, " stopped: ");
        raft__text_add(text, raft_strerror(node->error));
    }
    raft__text_number(text, "\nlog first=", node->log.base_index + 1);
    raft__text_number(text, " last=", node->log.last_index);
    raft__text_number(text, "/", node->log.last_term);
    raft__text_number(text, " durable=", node->durable_index);
    raft__text_number(text, " commit=", node->commit_index);
    raft__text_number(text, " applied=", node->applied_index);
    raft__text_number(text, " bytes=", node->log.bytes);
    raft__text_number(text, " writes=", node->pending_count);
    raft__text_number(text, " reads=", raft__reads_waiting(node));
    raft__text_add(text, "\n");
}

static const char *member_name(const raft *node, size_t position)
{
    raft__set bit = (raft__set)1 << position;
    if ((node->witnesses & bit) != 0) {
        return " witness";
    }
    int stays = (node->quorums.halves[0].voters & bit) != 0;
    int was = (node->quorums.halves[1].voters & bit) != 0;
    if (raft__is_joint(node) && stays != was) {
        return stays ? " voter-to-be" : " voter-leaving";
    }
    return stays ? " voter" : " learner";
}

static void describe_peer(struct raft__text *text, const raft *node, size_t position)
{
    raft_peer_status peer;
    int known = raft_get_peer(node, position, &peer);
    RAFT_ASSERT(known == RAFT_OK);
    raft__text_number(text, "  ", peer.id);
    raft__text_add(text, member_name(node, position));
    raft__text_add(text, position == node->self ? " self" : "");
    if (node->role == RAFT_ROLE_LEADER) {
        static const char *const states[] = {" probe", " replicate", " snapshot", " lost"};
        raft__text_add(text, states[peer.state]);
        raft__text_number(text, " match=", peer.match);
        raft__text_number(text, " next=", peer.next);
        raft__text_number(text, " inflight=", peer.inflight_messages);
        raft__text_number(text, "/", peer.inflight_bytes);
        raft__text_add(text, peer.heard ? " heard" : " silent");
    }
    raft__text_add(text, "\n");
}

size_t raft_describe_node(const raft *node, char *out, size_t size)
{
    struct raft__text text = {out, out == NULL ? 0 : size, 0};
    if (node == NULL) {
        raft__text_add(&text, "(null)");
        return raft__text_end(&text);
    }
    describe_self(&text, node);
    raft__text_number(&text, "quorum elect=", node->quorums.halves[0].quorum[RAFT__ELECTION]);
    raft__text_number(&text, " commit=", node->quorums.halves[0].quorum[RAFT__COMMIT]);
    raft__text_number(&text, " of ", node->peer_count);
    raft__text_add(&text, "\n");
    for (size_t i = 0; i < node->peer_count; i++) {
        describe_peer(&text, node, i);
    }
    return raft__text_end(&text);
}

/* ---- The check ------------------------------------------------------------------------------ */

static const char *check_indexes(const raft *node)
{
    if (node->applied_index > node->commit_index || node->commit_index > node->log.last_index) {
        return "applied <= commit <= last"; /* I2 */
    }
    if (node->commit_position != raft__log_position(&node->log, node->commit_index + 1)) {
        return "the committed bytes are those up to the commit index";
    }
    if (node->durable_index > node->written_index || node->written_index > node->log.last_index) {
        return "durable <= written <= last";
    }
    if (node->certified > node->log.last_index || node->acked > node->certified) {
        return "acknowledged <= certified <= last"; /* R25 */
    }
    if (node->log.last_term > node->state.term) {
        return "no entry is of a term that the node has not reached";
    }
    if (node->renewing &&
        (node->applied_index > node->fresh.index || node->applying_index > node->fresh.index)) {
        return "nothing is applied beyond what a fresh snapshot is awaited for"; /* I2 */
    }
    if (node->applying_index != 0 &&
        (node->applying_index < node->applied_index + !node->load_in_hand ||
         node->applying_index > node->commit_index)) {
        return "what is being applied is committed and not yet applied"; /* or loaded anew (R35) */
    }
    return NULL;
}

/* V9, I20: nothing is given up that the newest snapshot does not cover. */
static const char *check_snapshot(const raft *node)
{
    if (node->log.base_index > node->snapshot_index) {
        return "the log begins at or in front of the end of the newest snapshot";
    }
    if (node->snapshot_index > node->commit_index) {
        return "what a snapshot covers is committed";
    }
    if (node->snapshot_index > node->applied_index && !raft__is_installing(node)) {
        return "what a snapshot covers is applied, or is being loaded"; /* R37 */
    }
    if (raft__log_memory(&node->log) > node->applied_index + 1 && !raft__is_installing(node)) {
        return "what is not applied is in memory";
    }
    if (node->snapshot_index == node->log.base_index &&
        node->snapshot_term != node->log.base_term) {
        return "the log begins with the term of the snapshot that it begins behind";
    }
    if (node->configs.count > 0 && node->configs.items[0].index > node->snapshot_index &&
        node->meta != NULL) {
        return "the membership of the snapshot is known"; /* R41 */
    }
    if (node->install != NULL && node->install->phase < RAFT__COMPLETE &&
        node->install->sender_term != node->state.term && !node->install->given_up) {
        return "a snapshot arrives from the leader of the own term"; /* R39 */
    }
    return NULL;
}

/* R41: the newest membership in the log says who counts, and the one before it is kept. */
static const char *check_members(const raft *node)
{
    const struct raft__configs *configs = &node->configs;
    for (uint32_t i = 1; i < configs->count; i++) {
        if (configs->items[i - 1].index >= configs->items[i].index) {
            return "memberships are kept in the order of the log";
        }
    }
    if (raft__config_index(node) > node->log.last_index) {
        return "the membership in force is in the log";
    }
    if ((configs->count == 0) != (node->peer_count == 0)) {
        return "who counts is said by a membership";
    }
    if (node->self != raft__position_of(node, node->id)) {
        return "a node knows its own position";
    }
    if (node->may_lead != raft__may_lead_at(node, node->self)) {
        return "a node knows whether it may lead";
    }
    return NULL;
}

static const char *check_streams(const raft *node)
{
    for (const struct raft__stream *stream = node->streams; stream != NULL; stream = stream->next) {
        for (const struct raft__stream *other = stream->next; other != NULL; other = other->next) {
            if (other->peer == stream->peer) {
                return "a peer has one buffer"; /* I24 */
            }
        }
        if (stream->size > stream->capacity) {
            return "a buffer holds no more than fits";
        }
        if (!stream->ended && node->role != RAFT_ROLE_LEADER &&
            node->pull.asked_by != stream->peer) {
            return "only a leader reads for peers, and who is pulled from";
        }
    }
    return NULL;
}

static const char *check_writes(const raft *node)
{
    raft_index covered = node->durable_index;
    raft_index last_index = 0;
    uint64_t seq = 0;
    if (node->pending_count > RAFT_WRITES_MAX) {
        return "no more writes are outstanding than allowed";
    }
    for (uint32_t i = 0; i < node->pending_count; i++) {
        const struct raft__pending *write = &node->pending[i];
        if (write->seq <= seq || write->seq > node->seq) {
            return "writes are outstanding in issue order";
        }
        if (write->last_index > node->written_index) {
            return "no write covers what was truncated"; /* R6 */
        }
        if (write->last_index < last_index) {
            return "a write covers no less than those before it";
        }
        last_index = write->last_index;
        covered = last_index > covered ? last_index : covered;
        seq = write->seq;
    }
    return node->phase != RAFT__STARTED || node->error != RAFT_OK || node->meta_unwritten ||
                   covered == node->written_index
               ? NULL
               : "what is written is durable or outstanding";
}

/* With an entry of its own term, or in Multi-Paxos as the one that has accepted it first. */
static int begins_rightly(const raft *node)
{
    raft_index first = node->own_first;
    raft_term term = first > node->log.base_index ? raft__log_term(&node->log, first) : 0;
    if (first > node->log.last_index) {
        return 0;
    }
    return node->rules->by_log
               ? first > 0 && (term == node->state.term || first <= node->log.base_index)
               : term < node->state.term && node->state.accepted_round == node->state.term;
}

static const char *check_leader(const raft *node)
{
    if (node->state.vote != node->id || node->leader != node->id) {
        return "a leader voted for itself and knows itself as leader";
    }
    if (!begins_rightly(node)) {
        return "a leader's log holds its no-op, or all that it adopted"; /* R17, P5 */
    }
    for (uint32_t i = 0; i < node->peer_count; i++) {
        const struct raft__peer *peer = &node->peers[i];
        if (i != node->self && (peer->match >= peer->next || peer->match > node->log.last_index ||
                                peer->next > node->log.last_index + 1)) {
            return "match < next <= last + 1"; /* R28 */
        }
        if (peer->window.count > node->options.inflight_messages_max && !node->options_lowered) {
            return "no more appends are in flight than allowed"; /* I24 */
        }
    }
    return NULL;
}

static const char *check_role(const raft *node)
{
    if (node->role == RAFT_ROLE_LEADER) {
        return check_leader(node);
    }
    if (node->leader == node->id && node->id != 0) {
        return "only a leader knows itself as leader";
    }
    if (node->role == RAFT_ROLE_CANDIDATE && node->state.vote != node->id) {
        return "a candidate voted for itself";
    }
    if (node->role != RAFT_ROLE_FOLLOWER && node->leader != 0) {
        return "a campaign knows no leader"; /* R20 */
    }
    return NULL;
}

static const char *check_handover(const raft *node)
{
    const struct raft__transfer *transfer = &node->transfer;
    uint32_t target = raft__position_of(node, transfer->target);
    if (transfer->target != 0 && (node->role != RAFT_ROLE_LEADER || target == node->self ||
                                  !raft__may_lead_at(node, target))) {
        return "a leader hands over to another voter with data"; /* R53 */
    }
    if (node->handing_over != (transfer->target != 0 || node->stopping)) {
        return "proposals are refused while leadership is handed over, or the node stopped";
    }
    if (transfer->tag_term != 0 &&
        (node->role != RAFT_ROLE_CANDIDATE || transfer->tag_term >= node->state.term)) {
        return "an order to campaign belongs to one candidacy"; /* R23 */
    }
    return NULL;
}

static const char *check_pull(const raft *node)
{
    const struct raft__pull *pull = &node->pull;
    if (pull->source == 0) {
        return (pull->due & RAFT__PULL_ASK) != 0 ? "only a pull asks for entries" : NULL;
    }
    int puller = node->rules->by_log ? RAFT_ROLE_PRE_CANDIDATE : RAFT_ROLE_CANDIDATE;
    if (node->role != puller || pull->term != node->state.term) {
        return "only a pre-candidate, or a candidate of Multi-Paxos, pulls, in one term";
    }
    if (!pull->verifies &&
        (pull->index < node->commit_index || pull->index > node->log.last_index)) {
        return "a pull joins between the commit index and the end"; /* I14 */
    }
    return pull->has_changed && node->certified != 0 ? "what is pulled certifies nothing" : NULL;
}

static const char *check_sleep(const raft *node)
{
    if (!node->asleep) {
        return NULL;
    }
    if (node->role != RAFT_ROLE_LEADER && (node->role != RAFT_ROLE_FOLLOWER || node->contact)) {
        return "who is asleep leads, or follows without being bound"; /* R54 */
    }
    if (node->log.last_index != node->applied_index || node->pending_count != 0) {
        return "a group with work does not sleep";
    }
    return node->dirty || raft_deadline(node) == RAFT_NEVER ? NULL : "sleep has no deadline";
}

/* Events are looked for only where something is marked as untold. */
static const char *check_told(const raft *node)
{
    int differs = node->role != node->told_role || node->leader != node->told_leader ||
                  node->state.term != node->told_term || raft__config_is_untold(node) ||
                  node->transfer.told_peer != 0 || (node->error != RAFT_OK && !node->told_error);
    return node->phase == RAFT__STARTED && differs && !node->untold
               ? "what has changed since the last events is marked"
               : NULL;
}

/* What is rare is looked for only where it is marked. */
static const char *check_rare(const raft *node)
{
    return raft__has_rare(node) && !node->rare ? "what most polls have none of is marked" : NULL;
}

const char *raft_check(const raft *node)
{
    if (node == NULL) {
        return "a node is not null";
    }
    const char *broken = raft__log_check(&node->log);
    broken = broken != NULL ? broken : check_indexes(node);
    broken = broken != NULL ? broken : check_snapshot(node);
    broken = broken != NULL ? broken : check_members(node);
    broken = broken != NULL ? broken : check_streams(node);
    broken = broken != NULL ? broken : check_writes(node);
    broken = broken != NULL ? broken : check_role(node);
    broken = broken != NULL ? broken : check_told(node);
    broken = broken != NULL ? broken : check_rare(node);
    broken = broken != NULL ? broken : check_handover(node);
    broken = broken != NULL ? broken : check_pull(node);
    broken = broken != NULL ? broken : check_sleep(node);
    broken = broken != NULL ? broken : raft__lease_check(node);
    broken = broken != NULL ? broken : raft__reads_check(node);
    broken = broken != NULL ? broken : raft__forwards_check(node);
    return broken;
}
