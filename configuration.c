/*
 * The memberships in the log: which one governs, and how a leader changes it (Raft dissertation
 * chapter 4, rules R41 to R48, R56, R65).
 *
 *   (1) The newest membership in the log governs, committed or not, from the moment it is appended
 *       (R41). Truncation restores the one before: `configs` holds all of them, with that of the
 *       snapshot as its base.
 *   (2) At most one change is under way: the next begins when the one before is committed, and
 *       when something of the leader's own term is (R42).
 *   (3) Where one step would not keep every quorum meeting every other, the change goes through a
 *       joint membership, in which both halves decide (R43). While joint only leaving is allowed;
 *       whoever leads does it as soon as the joint membership is committed (R44).
 *   (4) What is known of a peer is kept as long as it is a member (R28). One that is added begins
 *       with nothing known, and replies to rounds before that say nothing (session_round).
 */
#include "raft_internal.h"

/* ---- Who we are ----------------------------------------------------------------------------- */

/* Whether id is a voter with data in that membership, in either half. */
static int holds_vote(const struct raft__held *held, raft_id id)
{
    struct raft__config config;
    int status = raft__config_decode(held->bytes, held->size, &config);
    RAFT_ASSERT(status == RAFT_OK); /* it was decoded when it was taken in */
    for (size_t i = 0; i < config.is.member_count; i++) {
        const raft_member *member = &config.members[i];
        if (member->id == id) {
            return member->role == RAFT_MEMBER_VOTER || member->former_role == RAFT_MEMBER_VOTER;
        }
    }
    return 0;
}

/* By a membership before the one in force, which is not known to be committed (R16). */
int raft__may_lead_unchanged(const raft *node)
{
    const struct raft__configs *configs = &node->configs;
    for (uint32_t i = configs->count; i > 1 && configs->items[i - 1].index > node->commit_index;
         i--) {
        if (holds_vote(&configs->items[i - 2], node->id)) {
            return 1;
        }
    }
    return 0;
}

const struct raft__held *raft__config_at(const raft *node, raft_index index)
{
    uint32_t count = node->configs.count;
    while (count > 0 && node->configs.items[count - 1].index > index) {
        count--;
    }
    return count == 0 ? NULL : &node->configs.items[count - 1];
}

/* ---- Into force ----------------------------------------------------------------------------- */

/* A set over the positions of the old membership, over those of the new one. */
static raft__set set_moved(raft__set set, const uint8_t *moved_to, uint32_t count)
{
    raft__set result = 0;
    for (uint32_t i = 0; i < count; i++) {
        if ((set >> i & 1) != 0 && moved_to[i] < RAFT_MEMBERS_MAX) {
            result |= (raft__set)1 << moved_to[i];
        }
    }
    return result;
}

/* What is known of a member of both memberships is kept, the rest begins anew or is freed (R28). */
static void move_peers(raft *node, const struct raft__config *config, uint8_t *moved_to)
{
    struct raft__peer old[RAFT_MEMBERS_MAX];
    uint32_t old_count = node->peer_count;
    uint32_t count = (uint32_t)config->is.member_count;
    if (old_count > 0) {
        memcpy(old, node->peers, old_count * sizeof(*old));
    }
    memset(moved_to, RAFT_MEMBERS_MAX, RAFT_MEMBERS_MAX);
    node->peer_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct raft__peer *peer = &node->peers[i];
        uint32_t from = 0;
        while (from < old_count && old[from].id != config->members[i].id) {
            from++;
        }
        if (from < old_count) {
            *peer = old[from];
            moved_to[from] = (uint8_t)i;
        } else {
            memset(peer, 0, sizeof(*peer));
            peer->id = config->members[i].id;
            raft__peer_reset(node, peer);
        }
        peer->zone = (uint8_t)config->members[i].zone;
        peer->priority = (uint8_t)config->members[i].priority;
        peer->promote = (uint8_t)config->members[i].promote;
    }
    for (uint32_t i = 0; i < old_count; i++) {
        if (moved_to[i] == RAFT_MEMBERS_MAX) {
            raft__peer_free(node, &old[i]);
        }
    }
}

static raft__set members_with_role(const struct raft__config *config, int role)
{
    raft__set set = 0;
    for (size_t i = 0; i < config->is.member_count; i++) {
        const raft_member *member = &config->members[i];
        set |= member->role == role ? (raft__set)1 << i : 0;
    }
    return set;
}

static raft__set witnesses_of(const struct raft__config *config)
{
    raft__set set = members_with_role(config, RAFT_MEMBER_WITNESS);
    for (size_t i = 0; i < config->is.member_count; i++) {
        set |= config->members[i].former_role == RAFT_MEMBER_WITNESS ? (raft__set)1 << i : 0;
    }
    return set;
}

/*
 * Takes the newest membership into force; room for its peers was made when it was taken in. What
 * was counted so far is counted on for those that stay, and everything that depends on who counts
 * is judged again by the next poll (R47). New voters count as just heard (R22).
 */
static void put_in_force(raft *node)
{
    struct raft__config config;
    uint8_t moved_to[RAFT_MEMBERS_MAX];
    const struct raft__held *held = &node->configs.items[node->configs.count - 1];
    uint32_t old_count = node->peer_count;
    int status = raft__config_decode(held->bytes, held->size, &config);
    RAFT_ASSERT(status == RAFT_OK); /* it was decoded when it was taken in */
    status = raft__config_check(&config, &node->quorums);
    RAFT_ASSERT(status == RAFT_OK);
    node->untold = 1;
    node->round++; /* new peers answer none of the rounds before */
    move_peers(node, &config, moved_to);
    node->granted = set_moved(node->granted, moved_to, old_count);
    node->refused = set_moved(node->refused, moved_to, old_count);
    node->heard = set_moved(node->heard, moved_to, old_count);
    for (uint32_t i = 0; i < node->peer_count; i++) {
        node->heard |= node->peers[i].session_round == node->round ? (raft__set)1 << i : 0;
    }
    node->witnesses = witnesses_of(&config);
    node->learners = members_with_role(&config, RAFT_MEMBER_LEARNER);
    raft__lease_lengths(node, config.is.lease_ms,
                        config.is.lease_drift_permille == 0 ? 100 : config.is.lease_drift_permille);
    node->zones = config.is.zones;
    node->self = raft__position_of(node, node->id);
    node->may_lead = raft__may_lead_at(node, node->self) != 0;
    node->has_joined |= node->self < node->peer_count;
    node->is_witness |= (node->witnesses & raft__bit_of(node, node->self)) != 0;
    node->match_moved = 1;
    node->dirty = 1;
    raft__membership_changed(node);
}

/* ---- The stack ------------------------------------------------------------------------------ */

int raft__config_acceptable(const raft *node, const void *bytes, size_t size)
{
    struct raft__config config;
    return raft__config_decode(bytes, size, &config) == RAFT_OK &&
           config.protocol == node->options.protocol;
}

static int reserve_item(raft *node)
{
    struct raft__configs *configs = &node->configs;
    if (configs->count < configs->capacity) {
        return RAFT_OK;
    }
    uint32_t wanted = configs->capacity == 0 ? 1 : configs->capacity * 2;
    void *grown =
        raft__resize(&node->memory, configs->items, configs->capacity * sizeof(*configs->items),
                     wanted * sizeof(*configs->items));
    if (grown == NULL) {
        return RAFT_ENOMEM;
    }
    configs->items = (struct raft__held *)grown;
    configs->capacity = wanted;
    return RAFT_OK;
}

/* Room for as many peers as any membership in the log has, so that truncation needs no memory. */
static int reserve_peers(raft *node, uint32_t count)
{
    if (count <= node->peer_capacity) {
        return RAFT_OK;
    }
    void *grown =
        raft__resize(&node->memory, node->peers, node->peer_capacity * sizeof(*node->peers),
                     count * sizeof(*node->peers));
    if (grown == NULL) {
        return RAFT_ENOMEM;
    }
    node->peers = (struct raft__peer *)grown;
    node->peer_capacity = count;
    return RAFT_OK;
}

int raft__config_prepare(raft *node, const void *bytes, size_t size, struct raft__held *held)
{
    uint32_t member_count = ((const uint8_t *)bytes)[2];
    held->index = 0;
    held->size = (uint32_t)size;
    if (reserve_item(node) != RAFT_OK || reserve_peers(node, member_count) != RAFT_OK) {
        return RAFT_ENOMEM;
    }
    held->bytes = (uint8_t *)raft__resize(&node->memory, NULL, 0, size);
    if (held->bytes == NULL) {
        return RAFT_ENOMEM;
    }
    memcpy(held->bytes, bytes, size);
    return RAFT_OK;
}

void raft__config_discard(raft *node, struct raft__held *held)
{
    raft__free(&node->memory, held->bytes, held->size);
    held->bytes = NULL;
}

void raft__config_push(raft *node, raft_index index, struct raft__held *held)
{
    RAFT_ASSERT(node->configs.count < node->configs.capacity);
    RAFT_ASSERT(node->configs.count == 0 || index > raft__config_index(node));
    held->index = index;
    node->configs.items[node->configs.count++] = *held;
    node->counters.memberships++;
    put_in_force(node);
}

static void pop_item(raft *node)
{
    raft__config_discard(node, &node->configs.items[--node->configs.count]);
}

/*
 * Nobody is known any more. What was made ready stays: the entry that cuts the log may hold the
 * next membership.
 */
static void forget_all(raft *node)
{
    node->untold = 1;
    while (node->configs.count > 0) {
        pop_item(node);
    }
    for (uint32_t i = 0; i < node->peer_count; i++) {
        raft__peer_free(node, &node->peers[i]);
    }
    memset(&node->quorums, 0, sizeof(node->quorums));
    node->peer_count = 0;
    node->self = 0;
    node->may_lead = 0;
    node->witnesses = 0;
    node->learners = 0;
    node->zones = 0;
    raft__lease_lengths(node, 0, 0);
    raft__membership_changed(node);
}

void raft__config_truncate(raft *node, raft_index from)
{
    uint32_t count = node->configs.count;
    while (node->configs.count > 1 && raft__config_index(node) >= from) {
        pop_item(node);
    }
    if (node->configs.count == 1 && from > 0 && raft__config_index(node) >= from) {
        forget_all(node); /* a joiner: the only one it ever heard of is gone again */
    } else if (node->configs.count < count) {
        put_in_force(node);
    }
}

void raft__config_compact(raft *node, raft_index index)
{
    struct raft__configs *configs = &node->configs;
    uint32_t gone = 0;
    while (gone + 1 < configs->count && configs->items[gone + 1].index <= index) {
        raft__config_discard(node, &configs->items[gone++]);
    }
    configs->count -= gone;
    for (uint32_t i = 0; i < configs->count; i++) {
        configs->items[i] = configs->items[i + gone];
    }
}

/* Those at or below index are replaced by the one that a snapshot at index brings. */
void raft__config_rebase(raft *node, raft_index index, raft_index version, struct raft__held *held)
{
    struct raft__configs *configs = &node->configs;
    uint32_t gone = 0;
    while (gone < configs->count && configs->items[gone].index <= index) {
        raft__config_discard(node, &configs->items[gone++]);
    }
    uint32_t kept = configs->count - gone;
    RAFT_ASSERT(kept < configs->capacity);
    memmove(configs->items + 1, configs->items + gone, kept * sizeof(*configs->items));
    held->index = version;
    configs->items[0] = *held;
    configs->count = kept + 1;
    put_in_force(node);
}

void raft__config_reset(raft *node, raft_index version, struct raft__held *held)
{
    while (node->configs.count > 0) {
        pop_item(node);
    }
    raft__config_push(node, version, held);
}

void raft__configs_free(raft *node)
{
    forget_all(node);
    raft__free(&node->memory, node->configs.items,
               node->configs.capacity * sizeof(*node->configs.items));
    raft__free(&node->memory, node->peers, node->peer_capacity * sizeof(*node->peers));
    memset(&node->configs, 0, sizeof(node->configs));
    node->peers = NULL;
    node->peer_capacity = 0;
}

/* ---- Changing ------------------------------------------------------------------------------- */

void raft__config_governing(const raft *node, struct raft__config *config)
{
    const struct raft__held *held = &node->configs.items[node->configs.count - 1];
    int status = raft__config_decode(held->bytes, held->size, config);
    RAFT_ASSERT(status == RAFT_OK); /* it was decoded when it was taken in */
}

/* Appends a membership to the leader's log, where it governs at once. */
static int propose_config(raft *node, const struct raft__config *config)
{
    uint8_t bytes[RAFT_META_MAX];
    struct raft__held held;
    size_t size = raft__config_size(config);
    raft__config_encode(config, bytes);
    int status = raft__config_prepare(node, bytes, size, &held);
    if (status != RAFT_OK) {
        return status;
    }
    status = raft__log_append_one(&node->log, &node->memory, node->state.term, RAFT_ENTRY_CONFIG,
                                  bytes, size);
    if (status != RAFT_OK) {
        raft__config_discard(node, &held);
        return status;
    }
    raft__config_push(node, node->log.last_index, &held);
    return RAFT_OK;
}

/* The membership that a joint one leads to: former roles fall away, and who has no new one goes. */
static void leave_joint(struct raft__config *config)
{
    size_t kept = 0;
    for (size_t i = 0; i < config->is.member_count; i++) {
        if (config->members[i].role != RAFT_MEMBER_NONE) {
            config->members[kept] = config->members[i];
            config->members[kept++].former_role = RAFT_MEMBER_NONE;
        }
    }
    config->is.member_count = kept;
    config->is.joint = 0;
    config->is.former_commit_quorum = 0;
}

static raft_member *find_member(struct raft__config *config, raft_id id)
{
    for (size_t i = 0; i < config->is.member_count; i++) {
        if (config->members[i].id == id) {
            return &config->members[i];
        }
    }
    return NULL;
}

/* A member as wished for: a new one at the end, with an owner slot that nobody ever had (P18). */
static int wish_member(raft *node, struct raft__config *config, const raft_member *wished)
{
    raft_member *member = find_member(config, wished->id);
    if (member != NULL && member->role != RAFT_MEMBER_NONE) {
        return RAFT_EARG; /* named twice */
    }
    if (member == NULL) {
        if (config->is.member_count == RAFT_MEMBERS_MAX || config->slot_high == 65535) {
            return RAFT_EARG;
        }
        member = &config->members[config->is.member_count++];
        memset(member, 0, sizeof(*member));
        member->id = wished->id;
        member->former_role = RAFT_MEMBER_NONE;
        member->owner_slot = ++config->slot_high;
        member->session = node->log.last_index + 1;
    }
    member->role = wished->role;
    member->promote = wished->promote != 0;
    member->priority = wished->priority;
    member->zone = wished->zone;
    member->blob = wished->blob;
    member->blob_size = wished->blob_size;
    return wished->role == RAFT_MEMBER_NONE ? RAFT_EARG : RAFT_OK;
}

/*
 * The joint membership between the present one and the one wished for: every member of either, with
 * its role in both.
 */
static int join_configs(raft *node, const raft_membership *wished, struct raft__config *config)
{
    raft__config_governing(node, config);
    config->is.joint = 1;
    config->is.former_commit_quorum = config->is.commit_quorum;
    config->is.commit_quorum = wished->commit_quorum;
    config->is.allow_single_commit = wished->allow_single_commit != 0;
    config->is.zones = wished->zones != 0;
    config->is.lease_ms = wished->lease_ms;
    config->is.lease_drift_permille = wished->lease_drift_permille;
    for (size_t i = 0; i < config->is.member_count; i++) {
        config->members[i].former_role = config->members[i].role;
        config->members[i].role = RAFT_MEMBER_NONE;
        config->members[i].promote = 0;
    }
    int status = RAFT_OK;
    for (size_t i = 0; i < wished->member_count && status == RAFT_OK; i++) {
        status = wish_member(node, config, &wished->members[i]);
    }
    return status;
}

/* Whether the change asks for nothing that is not so already. */
static int is_governing(const raft *node, const struct raft__config *joint)
{
    uint8_t bytes[RAFT_META_MAX];
    struct raft__config config = *joint;
    const struct raft__held *held = &node->configs.items[node->configs.count - 1];
    config.is.members = config.members;
    leave_joint(&config);
    size_t size = raft__config_size(&config);
    if (size != held->size) {
        return 0;
    }
    raft__config_encode(&config, bytes);
    return memcmp(bytes, held->bytes, size) == 0;
}

/*
 * Whether the new membership could commit something by those who were heard lately: if not, it
 * would govern as soon as it is appended and the group would be stuck in it (R45). A learner that
 * becomes a voter must have caught up.
 */
static int new_half_is_alive(const raft *node, const struct raft__config *joint,
                             const struct raft__half *half)
{
    raft__set alive = 0;
    for (uint32_t i = 0; i < joint->is.member_count; i++) {
        const raft_member *member = &joint->members[i];
        uint32_t position = raft__position_of(node, member->id);
        int is_new_voter =
            (half->voters >> i & 1) != 0 && member->former_role == RAFT_MEMBER_LEARNER;
        int heard = position == node->self || raft__peer_is_alive(node, position);
        if (is_new_voter && !raft__peer_has_caught_up(node, position)) {
            return 0;
        }
        alive |= position < node->peer_count && heard ? (raft__set)1 << i : 0;
    }
    return raft__set_size(alive & half->voters) >= half->quorum[RAFT__COMMIT];
}

/* Why no change can begin now (R42); RAFT_OK: one can. */
static int may_change(const raft *node)
{
    int status = raft__must_lead(node);
    if (status == RAFT_OK && node->handing_over) {
        status = RAFT_ETRANSFER;
    }
    if (status == RAFT_OK &&
        (raft__is_joint(node) || !node->settled || node->commit_index < node->own_first ||
         node->commit_index < raft__config_index(node))) {
        status = RAFT_EBUSY;
    }
    return status;
}

/* Proposes what joins the present membership with another, as one step where that is safe. */
static int propose_change(raft *node, struct raft__config *joint)
{
    struct raft__quorums quorums;
    if (raft__config_check(joint, &quorums) != RAFT_OK) {
        return RAFT_EARG;
    }
    if (is_governing(node, joint)) {
        return RAFT_OK;
    }
    if (!new_half_is_alive(node, joint, &quorums.halves[0])) {
        return RAFT_EBUSY;
    }
    if (raft__one_step_is_safe(joint->protocol, &quorums.halves[1], &quorums.halves[0])) {
        leave_joint(joint);
    }
    return propose_config(node, joint);
}

int raft_set_membership(raft *node, const raft_membership *membership, raft_index version,
                        raft_index *index, raft_term *term)
{
    struct raft__config joint;
    int status = raft__enter(node, 0);
    if (status != RAFT_OK) {
        return status;
    }
    if (membership == NULL || membership->size < sizeof(*membership) ||
        membership->members == NULL || membership->member_count == 0 ||
        membership->member_count > RAFT_MEMBERS_MAX) {
        return RAFT_EARG;
    }
    status = raft__must_lead(node);
    if (status != RAFT_OK) {
        return status;
    }
    if (version != raft__config_index(node)) {
        return RAFT_ECONFLICT;
    }
    status = may_change(node);
    if (status == RAFT_OK) {
        status = join_configs(node, membership, &joint);
    }
    if (status == RAFT_OK) {
        status = propose_change(node, &joint);
    }
    if (status != RAFT_OK) {
        return status;
    }
    raft__wake(node);
    int is_new = raft__config_index(node) != version;
    if (index != NULL) {
        *index = raft__config_index(node);
    }
    if (term != NULL) {
        *term = is_new ? node->state.term : 0;
    }
    return RAFT_OK;
}

/* ---- What follows by itself ----------------------------------------------------------------- */

/* Fulfils the wish of one learner that has caught up; the change clears the wish (R65). */
static void promote_learner(raft *node)
{
    struct raft__config joint;
    for (uint32_t i = 0; i < node->peer_count; i++) {
        if (!node->peers[i].promote || !raft__peer_has_caught_up(node, i)) {
            continue;
        }
        raft__config_governing(node, &joint);
        for (size_t j = 0; j < joint.is.member_count; j++) {
            joint.members[j].former_role = joint.members[j].role;
        }
        joint.is.joint = 1;
        joint.is.former_commit_quorum = joint.is.commit_quorum;
        joint.members[i].role = RAFT_MEMBER_VOTER;
        joint.members[i].promote = 0;
        if (propose_change(node, &joint) == RAFT_OK) {
            return;
        }
    }
}

/*
 * Level-triggered: whoever leads, whenever it looks, does what the committed membership asks for,
 * so that nothing is lost with a leader and nothing is done twice (R44).
 */
void raft__config_step(raft *node)
{
    struct raft__config config;
    node->change_due = 0;
    if (node->role != RAFT_ROLE_LEADER || !node->settled || node->commit_index < node->own_first ||
        node->commit_index < raft__config_index(node) || raft__is_transferring(node)) {
        return;
    }
    if (raft__is_joint(node)) {
        raft__config_governing(node, &config);
        leave_joint(&config);
        (void)propose_config(node, &config); /* without memory: again at the next quorum check */
    } else {
        promote_learner(node);
    }
}

int raft__config_next(raft *node, raft_event *event)
{
    raft_index version = raft__config_index(node);
    uint8_t committed = node->configs.count > 0 && node->commit_index >= version;
    if (!raft__config_is_untold(node)) {
        return 0;
    }
    memset(event, 0, sizeof(*event));
    event->kind = RAFT_EVENT_MEMBERS;
    event->index = version;
    event->status = committed;
    event->term = node->state.term;
    node->told_version = version;
    node->told_committed = committed;
    return 1;
}
