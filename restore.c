/*
 * Where a node comes from: a founding, or what an earlier run stored.
 *
 * Both end in the same state: a snapshot, which everything up to its index is applied by, and a log
 * that holds its last entry as base or as one of its entries.
 *
 *   (1) What is restored contradicts itself nowhere, or the node does not start: no gap, no falling
 *       term, no vote changed (R3, R4, R8, R61).
 *   (2) A journal may have lost its front to compaction. Its first entries then have no known
 *       predecessor, and the log is `headless` until metadata of a snapshot that reaches into it
 *       says what was before.
 */
#include "raft_internal.h"

/* ---- Founding ------------------------------------------------------------------------------- */

/* The state up to index is that of a snapshot, or of a state machine that is durable by itself. */
static void count_as_applied(raft *node, raft_index index)
{
    node->commit_index = index;
    node->applied_index = index;
    node->commit_position = raft__log_position(&node->log, index + 1);
}

/*
 * The founding membership as metadata of a snapshot of nothing, or of the state that every founder
 * holds already (R67). It reaches storage with the first write.
 */
static int found(raft *node, const struct raft__config *config, raft_index base_index)
{
    uint8_t bytes[RAFT_META_MAX];
    struct raft__held held;
    size_t config_size = raft__config_size(config);
    raft_term base_term = base_index > 0 ? 1 : 0;
    struct raft__meta meta = {base_index, base_term, 0, base_index, bytes, config_size};
    raft__config_encode(config, bytes);
    size_t size = raft__meta_size(config_size);
    uint8_t *encoded = (uint8_t *)raft__resize(&node->memory, NULL, 0, size);
    if (encoded == NULL) {
        return RAFT_ENOMEM;
    }
    if (raft__config_prepare(node, bytes, config_size, &held) != RAFT_OK) {
        raft__free(&node->memory, encoded, size);
        return RAFT_ENOMEM;
    }
    raft__meta_encode(&meta, encoded);
    node->meta = encoded;
    node->meta_size = size;
    node->meta_unwritten = 1;
    node->snapshot_index = base_index;
    node->snapshot_term = base_term;
    raft__config_push(node, base_index, &held);
    raft__log_begin(&node->log, base_index, base_term);
    count_as_applied(node, base_index);
    node->state.term = base_term;
    node->state_version++; /* nothing is said before the founding is durable */
    node->phase = RAFT__BOOTSTRAPPED;
    return RAFT_OK;
}

/* The membership as given, with owner slots in its order: the same on every founder. */
static int founding_config(const raft *node, const raft_membership *membership,
                           struct raft__config *config)
{
    struct raft__quorums quorums;
    if (membership->size < sizeof(*membership) || membership->members == NULL ||
        membership->member_count > RAFT_MEMBERS_MAX) {
        return RAFT_EARG;
    }
    config->is = *membership;
    config->is.joint = 0;
    config->is.former_commit_quorum = 0;
    config->protocol = node->options.protocol;
    config->slot_high = (uint32_t)membership->member_count;
    for (size_t i = 0; i < membership->member_count; i++) {
        config->members[i] = membership->members[i];
        config->members[i].promote = membership->members[i].promote != 0;
        config->members[i].former_role = RAFT_MEMBER_NONE;
        config->members[i].owner_slot = (uint32_t)i + 1;
        config->members[i].session = 0;
    }
    return raft__config_check(config, &quorums);
}

int raft_bootstrap_at(raft *node, const raft_membership *membership, raft_index base_index)
{
    struct raft__config config;
    if (node == NULL || membership == NULL || base_index > RAFT_LIMIT) {
        return RAFT_EARG;
    }
    if (node->inside != RAFT__OUTSIDE) {
        return RAFT_EREENTRY;
    }
    if (founding_config(node, membership, &config) != RAFT_OK) {
        return RAFT_EARG;
    }
    if (node->phase != RAFT__FRESH) {
        return RAFT_ESTATE;
    }
    return found(node, &config, base_index);
}

int raft_bootstrap(raft *node, const raft_member *members, size_t count)
{
    raft_membership membership;
    raft_membership_init(&membership);
    membership.members = members;
    membership.member_count = count;
    return raft_bootstrap_at(node, &membership, 0);
}

/* ---- Restoring ------------------------------------------------------------------------------ */

/* A term falls, or a vote is changed, in no correct storage (R3). */
static int restore_state(raft *node, const raft_hard_state *state)
{
    if (state->term < node->state.term || state->term > RAFT_LIMIT ||
        (state->term == node->state.term && node->state.vote != 0 &&
         state->vote != node->state.vote)) {
        return RAFT_ECORRUPT;
    }
    if (!node->rules->by_log && (state->accepted_round < node->state.accepted_round ||
                                 state->accepted_round > state->term)) {
        return RAFT_ECORRUPT; /* I8 */
    }
    uint64_t lease_max_ms = node->state.lease_max_ms;
    node->state = *state;
    raft__lease_remember(node, lease_max_ms); /* it is never lowered (R50) */
    return RAFT_OK;
}

/* The whole log is gone: it begins behind the snapshot. */
static void drop_log(raft *node)
{
    raft__log_reset(&node->log, &node->memory, node->snapshot_index, node->snapshot_term, 0, 0);
    node->headless = 0;
}

/*
 * Whether the log, its front missing, holds the last entry of the snapshot; then what is in front
 * of it is forgotten, and its terms are known all along.
 */
static int settle_head(raft *node, const struct raft__meta *meta)
{
    struct raft__log *log = &node->log;
    raft_index first = log->base_index + 1;
    if (meta->index == log->base_index && meta->term <= raft__log_term(log, first)) {
        log->base_term = meta->term;
    } else if (meta->index > log->base_index && meta->index <= log->last_index &&
               raft__log_term(log, meta->index) == meta->term) {
        raft__log_compact(log, &node->memory, first, 0);
    } else {
        return 0;
    }
    node->headless = 0;
    return 1;
}

static int log_reaches(raft *node, const struct raft__meta *meta)
{
    struct raft__log *log = &node->log;
    if (node->headless) {
        return settle_head(node, meta);
    }
    return meta->index >= log->base_index && meta->index <= log->last_index &&
           raft__log_term(log, meta->index) == meta->term;
}

/*
 * A snapshot behind the end of the log, or beside it, leaves nothing of it (R35). Where storage
 * does not know that yet, the first write tells it, or what is appended next would not join what is
 * stored.
 */
static int settle_snapshot(raft *node, const struct raft__meta *meta, int replaces)
{
    struct raft__held held;
    int gap = node->headless && meta->index < node->log.base_index;
    if (gap) {
        return RAFT_ECORRUPT; /* what lies between the snapshot and the log is lost */
    }
    int status = raft__config_prepare(node, meta->config, meta->config_size, &held);
    if (status != RAFT_OK) {
        return status;
    }
    node->snapshot_index = meta->index;
    node->snapshot_term = meta->term;
    if (replaces || !log_reaches(node, meta)) {
        node->meta_unwritten = !replaces && node->log.run_count > 0;
        node->truncated_from = node->meta_unwritten ? meta->index + 1 : 0;
        node->rare = 1;
        drop_log(node);
        raft__config_reset(node, meta->version, &held);
    } else {
        raft__config_rebase(node, meta->index, meta->version, &held);
    }
    count_as_applied(node, meta->index);
    return RAFT_OK;
}

/* Snapshots only advance; the same one may be named again. */
static int check_order(const raft *node, const raft_write *write, const struct raft__meta *meta)
{
    int named = write->base_index != 0 || write->base_term != 0;
    if (named && (write->base_index != meta->index || write->base_term != meta->term)) {
        return RAFT_ECORRUPT;
    }
    if (node->meta == NULL) {
        return RAFT_OK;
    }
    if (meta->index == node->snapshot_index) {
        int same = write->meta_size == node->meta_size &&
                   memcmp(write->meta, node->meta, node->meta_size) == 0;
        return same ? RAFT_OK : RAFT_ECORRUPT;
    }
    return meta->index > node->snapshot_index && meta->term >= node->snapshot_term ? RAFT_OK
                                                                                   : RAFT_ECORRUPT;
}

/*
 * As persist was given it when a snapshot was installed, it replaces the log, and says so by a
 * truncation right behind the snapshot. Otherwise it is the newest of the host's, and the log stays
 * if it holds its last entry.
 */
static int restore_meta(raft *node, const raft_write *write)
{
    struct raft__meta meta;
    int status = raft__meta_decode(write->meta, write->meta_size, &meta);
    if (status == RAFT_OK && !raft__config_acceptable(node, meta.config, meta.config_size)) {
        status = RAFT_EFOREIGN; /* sound, but of the other protocol (P8) */
    }
    if (status == RAFT_OK) {
        status = check_order(node, write, &meta);
    }
    if (status != RAFT_OK || (node->meta != NULL && meta.index == node->snapshot_index)) {
        return status;
    }
    uint8_t *copy = (uint8_t *)raft__resize(&node->memory, NULL, 0, write->meta_size);
    if (copy == NULL) {
        return RAFT_ENOMEM;
    }
    memcpy(copy, write->meta, write->meta_size);
    raft__free(&node->memory, node->meta, node->meta_size);
    node->meta = copy;
    node->meta_size = write->meta_size;
    return settle_snapshot(node, &meta, write->truncate_from != 0);
}

/* What is cut lies in the log, above the snapshot, unless the front that held it is missing. */
static int restore_truncation(raft *node, raft_index from)
{
    struct raft__log *log = &node->log;
    int empty = log->run_count == 0;
    if (from > log->last_index) {
        return from == log->last_index + 1 || empty ? RAFT_OK : RAFT_ECORRUPT;
    }
    if (from <= node->snapshot_index || (from <= log->base_index && !node->headless)) {
        return RAFT_ECORRUPT; /* what a snapshot covers is committed (I14) */
    }
    if (node->headless && from <= log->base_index + 1) {
        drop_log(node);
    } else {
        raft__log_truncate(log, &node->memory, from, 0);
    }
    raft__config_truncate(node, from);
    return RAFT_OK;
}

/* A joiner may have got its first membership as an entry (R67). */
static int judge_configs(const raft *node, const raft_range *range)
{
    raft_range rest = *range;
    raft_entry entry;
    struct raft__config config;
    while (raft_range_next(&rest, &entry)) {
        if (entry.kind == RAFT_ENTRY_CONFIG) {
            if (raft__config_decode(entry.data, entry.size, &config) != RAFT_OK) {
                return RAFT_ECORRUPT;
            }
            if (!raft__config_acceptable(node, entry.data, entry.size)) {
                return RAFT_EFOREIGN; /* sound, but of the other protocol (P8) */
            }
        }
    }
    return RAFT_OK;
}

static int restore_range(raft *node, const raft_range *range)
{
    size_t matched;
    unsigned kinds = raft__range_kinds(range);
    if (kinds == 0) {
        return RAFT_ECORRUPT;
    }
    int status = (kinds & 1u << RAFT_ENTRY_CONFIG) != 0 ? judge_configs(node, range) : RAFT_OK;
    if (status != RAFT_OK) {
        return status;
    }
    if (node->meta_unwritten && range->first == node->log.last_index + 1) {
        node->meta_unwritten = 0; /* storage has it that way already */
        node->truncated_from = 0;
    }
    if (node->log.run_count == 0 && range->first > node->log.last_index + 1) {
        raft__log_begin(&node->log, range->first - 1, 0);
        node->headless = 1;
    }
    if (range->first != node->log.last_index + 1 || range->term < node->log.last_term) {
        return RAFT_ECORRUPT;
    }
    return raft__take_range(node, range, kinds, &matched);
}

static int restore_ranges(raft *node, const raft_write *write)
{
    int status = RAFT_OK;
    for (size_t i = 0; i < write->range_count && status == RAFT_OK; i++) {
        status = restore_range(node, &write->ranges[i]);
    }
    return status;
}

/* Whether the entries belong in front of the metadata: a table, with what trails the snapshot. */
static int is_table(const raft_write *write)
{
    raft_index index;
    raft_term term;
    return write->meta != NULL && write->truncate_from == 0 && write->range_count > 0 &&
           raft_meta_read(write->meta, write->meta_size, &index, &term) == RAFT_OK &&
           write->ranges[0].first <= index;
}

/* In the order of storing: state, meta, truncation, ranges (R4). */
static int restore_write(raft *node, const raft_write *write)
{
    int status = write->has_state ? restore_state(node, &write->state) : RAFT_OK;
    if (status == RAFT_OK && is_table(write)) {
        status = restore_ranges(node, write);
        return status == RAFT_OK ? restore_meta(node, write) : status;
    }
    if (status == RAFT_OK && write->meta != NULL) {
        status = restore_meta(node, write);
    }
    if (status == RAFT_OK && write->truncate_from != 0) {
        status = restore_truncation(node, write->truncate_from);
    }
    return status == RAFT_OK ? restore_ranges(node, write) : status;
}

int raft_restore(raft *node, const raft_write *write)
{
    if (node == NULL || write == NULL || (write->ranges == NULL && write->range_count != 0)) {
        return RAFT_EARG;
    }
    if (node->inside != RAFT__OUTSIDE) {
        return RAFT_EREENTRY;
    }
    if (node->phase != RAFT__FRESH && node->phase != RAFT__RESTORED) {
        return RAFT_ESTATE;
    }
    int status = restore_write(node, write);
    node->phase = status == RAFT_OK ? RAFT__RESTORED : RAFT__BROKEN; /* it must not vote (R61) */
    return status;
}

int raft_restore_applied(raft *node, raft_index index)
{
    if (node == NULL) {
        return RAFT_EARG;
    }
    if (node->inside != RAFT__OUTSIDE) {
        return RAFT_EREENTRY;
    }
    if (node->phase != RAFT__RESTORED) {
        return RAFT_ESTATE;
    }
    if (node->headless || index < node->snapshot_index || index > node->log.last_index) {
        node->phase = RAFT__BROKEN; /* never clamped: entries must have been lost (R8) */
        return RAFT_ECORRUPT;
    }
    count_as_applied(node, index);
    return RAFT_OK;
}

/* ---- Starting ------------------------------------------------------------------------------- */

/*
 * Where entries are applied before they are durable, a snapshot may have outlived a crash that took
 * the log and the term with it. Nothing was said in that term, so it is taken up without a vote.
 */
static int take_up_term(raft *node)
{
    if (!node->options.apply_ahead || node->log.last_index != node->snapshot_index) {
        return 0;
    }
    node->state.term = node->snapshot_term;
    node->state.vote = 0;
    node->state_version++;
    return 1;
}

int raft_start(raft *node, uint64_t now_ms)
{
    if (node == NULL) {
        return RAFT_EARG;
    }
    if (node->inside != RAFT__OUTSIDE) {
        return RAFT_EREENTRY;
    }
    if (node->phase == RAFT__STARTED || node->phase == RAFT__BROKEN) {
        return RAFT_ESTATE;
    }
    if (node->headless || (node->log.last_term > node->state.term && !take_up_term(node))) {
        return RAFT_ECORRUPT; /* R4: a term is durable before any entry accepted under it */
    }
    node->phase = RAFT__STARTED;
    node->now_ms = now_ms < RAFT_LIMIT ? now_ms : RAFT_LIMIT;
    node->written_index = node->log.last_index;
    node->durable_index = node->log.last_index;
    node->told_term = node->state.term;
    node->start_term = node->state.term;
    if (!node->rules->by_log && node->state.accepted_round == node->state.term) {
        node->accepted_flag = RAFT_FLAG_ACCEPTED;
    }
    node->untold = 1;
    node->told_version = raft__config_index(node);
    node->told_committed = node->configs.count > 0 && node->commit_index >= node->told_version;
    node->dirty = node->meta_unwritten || node->state_version != node->state_written;
    raft__bound_log(node);
    raft__snapshot_rearm(node);
    raft__lease_restart(node);
    raft__draw_timer(node);
    return RAFT_OK;
}
