/*
 * Fuzz target: a server of a group that changes all the time, with snapshots, pulls and a log that
 * is given up to storage, fed with messages of peers that lie and run by a host (fuzz_host.h) that
 * is slow, fails, crashes and starts again from what was written. The input:
 *
 *   byte 0   options: 1 no pre-vote, 2 no check-quorum, 4 no stickiness, 8 quiesce, 16 small log,
 *            32 small appends, 64 snapshots wanted often, 128 apply ahead
 *   byte 1   % 4: 0 a joiner, 1 one of three founders, 2 the only founder, 3 one of two and a
 *            witness; 4 leases, 8 no snapshot_read, 16 no snapshot_write, 32 no read_log, 64 founded
 *            on data that was there
 *   steps    a byte that picks the step, see step(), and what it takes
 *
 * Messages are put together relative to the state of the node, and the bytes of memberships, which
 * are in entries and snapshots, relative to the one that governs, so that few bytes lead deep.
 */
#include "fuzz_host.h"
#include "raft_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 600, LOG_MAX = 3000, BATCH_MAX = 7, IDS = 7 };

/* ---- What a forged message is about ---------------------------------------------------------- */

static raft_index near_index(fuzz_input *in, const fuzz_host *h)
{
    raft_status s = fuzz_status(h);
    uint8_t b = fuzz_byte(in);
    const raft_index marks[] = {s.last_index,    s.last_index,      s.commit_index,
                                s.durable_index, s.applied_index,   s.snapshot_index,
                                s.first_index,   s.memory_index,    s.membership_version,
                                h->taken_index,  h->arriving.index, 0};
    raft_index index = marks[b % 12];
    switch (b / 12 % 8) {
    case 5:
        return index + 1;
    case 6:
        return index > 0 ? index - 1 : 0;
    case 7:
        return b >= 250 ? fuzz_number(in) : index + (b >> 5);
    default:
        return index;
    }
}

/* Mostly what the log says, or the term that came last; now and then one near by. */
static raft_term near_term(fuzz_input *in, const fuzz_host *h, raft_index index)
{
    uint8_t b = fuzz_byte(in);
    raft_term stored = fuzz_stored_term(h, index);
    raft_term last = stored != 0 ? stored : fuzz_stored_term(h, h->issued.last);
    if (index == 0) {
        return 0;
    }
    return b < 224 ? last : last + (b & 3) - (last > 0 && (b & 4) != 0);
}

static raft_message forged(fuzz_input *in, const fuzz_host *h, int kind)
{
    raft_status s = fuzz_status(h);
    uint8_t b = fuzz_byte(in);
    raft_id anybody = 2 + (raft_id)b % (IDS - 1);
    raft_message m = lone_message(kind, s.leader > LONE_ID && b < 160 ? s.leader : anybody, s.term);
    uint8_t c = fuzz_byte(in);
    m.round = c & 15;
    if (c >= 240) {
        m.term += c & 3;
    } else if (c >= 228 && m.term > 1) {
        m.term--;
    }
    return m;
}

/* The last questions that the node has asked, the newest most often. */
static const raft_message *question(fuzz_input *in, const fuzz_host *h, int kind)
{
    size_t back = fuzz_byte(in) % 16;
    for (size_t i = 0; i < ASKED_MAX && i < h->asked_count; i++) {
        const raft_message *asked = &h->asked[(h->asked_count - 1 - i) % ASKED_MAX];
        if ((kind == 0 || asked->kind == kind) && (back < 8 || back-- == 8)) {
            return asked;
        }
    }
    return NULL;
}

static void give(fuzz_host *h, const raft_message *m)
{
    raft_receive(h->node, m);
}

/* ---- Memberships ----------------------------------------------------------------------------- */

static const uint8_t blob[RAFT_BLOB_MAX] = {7};

static raft_member *some_member(struct raft__config *c, uint8_t b)
{
    return &c->members[b % c->is.member_count];
}

static void add_member(struct raft__config *c, uint8_t b)
{
    raft_member *member = &c->members[c->is.member_count];
    if (c->is.member_count < RAFT_MEMBERS_MAX) {
        memset(member, 0, sizeof *member);
        member->id = 1 + b % IDS;
        member->role = b >> 4 & 3;
        member->former_role = b & 64 ? RAFT_MEMBER_NONE : RAFT_MEMBER_VOTER;
        member->promote = b >> 7;
        member->owner_slot = ++c->slot_high;
        c->is.member_count++;
    }
}

/* Turns one thing; most of what comes out of it is a membership still. */
static void turn(fuzz_input *in, struct raft__config *c)
{
    uint8_t b = fuzz_byte(in);
    uint8_t v = fuzz_byte(in);
    raft_member *member = some_member(c, v);
    switch (b % 12) {
    case 0:
    case 1:
        add_member(c, v);
        break;
    case 2:
        *member = c->members[--c->is.member_count];
        c->is.member_count += c->is.member_count == 0;
        break;
    case 3:
        member->role = b >> 4 & 3;
        break;
    case 4:
        member->former_role = b >> 4 & 3;
        break;
    case 5: /* the one half is as the other, or there is one only */
        c->is.joint = !c->is.joint;
        for (size_t i = 0; i < c->is.member_count; i++) {
            c->members[i].former_role = c->is.joint ? c->members[i].role : RAFT_MEMBER_NONE;
        }
        c->is.former_commit_quorum = 0;
        break;
    case 6:
        c->is.commit_quorum = v % 5;
        c->is.former_commit_quorum = c->is.joint ? v >> 4 & 3 : 0;
        break;
    case 7:
        c->is.zones = v & 1;
        member->zone = v >> 1 & 3;
        break;
    case 8:
        c->is.lease_ms = (v & 3) * 100u;
        break;
    case 9:
        member->promote = !member->promote;
        break;
    case 10:
        member->blob = blob;
        member->blob_size = v;
        break;
    default:
        member->id = 1 + b % IDS;
        break;
    }
}

/* Encodes a membership that begins as the one that governs, or as a group of three. */
static size_t forge_membership(fuzz_input *in, const fuzz_host *h, uint8_t *out)
{
    struct raft__config c;
    uint8_t b = fuzz_byte(in);
    memset(&c, 0, sizeof c);
    raft_membership_init(&c.is);
    if ((b & 1) != 0 ||
        raft_get_membership(h->node, &c.is, c.members, RAFT_MEMBERS_MAX) != RAFT_OK) {
        for (c.is.member_count = 0; c.is.member_count < 3; c.is.member_count++) {
            c.members[c.is.member_count].id = c.is.member_count + 1;
            c.members[c.is.member_count].owner_slot = (uint32_t)c.is.member_count + 1;
            c.members[c.is.member_count].former_role = RAFT_MEMBER_NONE;
        }
    }
    c.slot_high = 40 + (uint32_t)(fuzz_status(h).membership_version % 1000);
    for (unsigned n = b >> 1 & 3; n > 0; n--) {
        turn(in, &c);
    }
    raft__config_encode(&c, out);
    if (b >= 248) {
        out[fuzz_byte(in) % raft__config_size(&c)] ^= fuzz_byte(in);
    }
    return raft__config_size(&c);
}

static size_t forge_meta(fuzz_input *in, const fuzz_host *h, raft_index index, raft_term term,
                         uint8_t *out)
{
    uint8_t config[RAFT_META_MAX];
    struct raft__meta meta = {index, term, 0, 0, config, 0};
    uint8_t b = fuzz_byte(in);
    meta.config_size = forge_membership(in, h, config);
    meta.version = b < 8 ? fuzz_number(in) : index - (index > 0 ? b % 2 : 0);
    raft__meta_encode(&meta, out);
    return raft__meta_size(meta.config_size);
}

/* ---- Messages -------------------------------------------------------------------------------- */

static void add_entry(fuzz_input *in, const fuzz_host *h, lone_batch *batch, uint8_t b)
{
    static const uint8_t payload[64] = {3};
    uint8_t config[RAFT_META_MAX];
    switch (b & 7) {
    case 0:
    case 1:
        lone_batch_add(batch, config, forge_membership(in, h, config), RAFT_ENTRY_CONFIG);
        break;
    case 2:
        lone_batch_add(batch, payload, 0, RAFT_ENTRY_STRIPPED);
        break;
    case 3:
        lone_batch_add(batch, payload, 0, RAFT_ENTRY_NOOP);
        break;
    default:
        lone_batch_add(batch, payload, b >> 3, RAFT_ENTRY_DATA);
        break;
    }
}

/* Hands over a message with entries behind its index. What it borrows is gone afterwards. */
static void give_entries(fuzz_input *in, fuzz_host *h, raft_message *m)
{
    lone_batch batch = {NULL, 0, 0, m->index + 1, m->index_term};
    uint8_t b = fuzz_byte(in);
    raft_term stored = fuzz_stored_term(h, m->index + 1);
    for (unsigned n = b % (BATCH_MAX + 1); n > 0; n--) {
        add_entry(in, h, &batch, fuzz_byte(in));
    }
    if (b < 128 || (stored != 0 && b < 192)) {
        batch.term = stored != 0 && b >= 128 ? stored : m->term;
    } else {
        batch.term += b & 3;
    }
    if (batch.count > 0) {
        batch.data = lone_grow(batch.data, batch.size); /* no byte more */
        m->ranges[0] = lone_batch_range(&batch);
        m->range_count = 1;
    }
    give(h, m);
    if (batch.data != NULL) {
        lone_scrub(batch.data, 0xee, batch.size);
    }
    free(batch.data);
}

static void give_append(fuzz_input *in, fuzz_host *h)
{
    raft_message m = forged(in, h, RAFT_MESSAGE_APPEND);
    m.index = near_index(in, h);
    m.index_term = near_term(in, h, m.index);
    m.commit = near_index(in, h);
    give_entries(in, h, &m);
}

static void give_heartbeat(fuzz_input *in, fuzz_host *h)
{
    raft_message m = forged(in, h, RAFT_MESSAGE_HEARTBEAT);
    m.flags = fuzz_byte(in) & (RAFT_FLAG_CREDIT | RAFT_FLAG_NO_QUORUM | RAFT_FLAG_SLEEP);
    m.commit = near_index(in, h);
    give(h, &m);
}

/* A piece of a snapshot: the one that the node has asked for, or a new one. */
static void give_snapshot(fuzz_input *in, fuzz_host *h)
{
    uint8_t meta[RAFT_META_MAX];
    uint8_t data[64] = {5};
    raft_message m = forged(in, h, RAFT_MESSAGE_SNAPSHOT);
    uint8_t b = fuzz_byte(in);
    if ((b & 3) != 0 && h->answered.index != 0) {
        m.index = h->answered.index;
        m.index_term = h->answered.index_term;
        m.offset = (b & 3) == 3 ? h->answered.offset : fuzz_byte(in) & 63;
    } else {
        m.index = near_index(in, h) + (b >> 2 & 3);
        m.index_term = near_term(in, h, m.index);
    }
    m.flags = (b & 16 ? RAFT_FLAG_LAST : 0) | (b >= 224 ? RAFT_FLAG_BARE | RAFT_FLAG_LAST : 0);
    if (m.offset == 0) {
        m.meta.size = forge_meta(in, h, m.index, m.index_term, meta);
        m.meta.data = meta;
    }
    if (b < 224) {
        m.chunk.data = data;
        m.chunk.size = fuzz_byte(in) % 64;
    }
    give(h, &m);
    lone_scrub(meta, 0xee, sizeof meta);
}

static void give_ask(fuzz_input *in, fuzz_host *h)
{
    static const int kinds[] = {RAFT_MESSAGE_PULL, RAFT_MESSAGE_VOTE, RAFT_MESSAGE_PRE_VOTE,
                                RAFT_MESSAGE_TRANSFER};
    uint8_t b = fuzz_byte(in);
    if (b >> 4 == 15) {
        raft_message ask =
            forged(in, h, (b & 8) != 0 ? RAFT_MESSAGE_SNAPSHOT_ASK : RAFT_MESSAGE_TRANSFER_ASK);
        if ((b & 8) != 0) {
            ask.commit = near_index(in, h);
        } else {
            ask.request = b & 7;
        }
        give(h, &ask);
        return;
    }
    raft_message m = forged(in, h, kinds[b & 3]);
    m.asked_term = m.kind == RAFT_MESSAGE_PRE_VOTE ? m.term + 1 : 0;
    if (m.kind != RAFT_MESSAGE_TRANSFER) {
        m.index = near_index(in, h);
        m.index_term = near_term(in, h, m.index);
    }
    if (m.kind == RAFT_MESSAGE_TRANSFER || (m.kind == RAFT_MESSAGE_VOTE && (b & 4) != 0)) {
        m.tag_term = m.term - (m.term > 1 && m.kind == RAFT_MESSAGE_VOTE);
        m.tag_round = b >> 3;
    }
    give(h, &m);
}

/* ---- Answers to what the node has asked ------------------------------------------------------- */

static raft_message reply_to(const raft_message *asked, int kind)
{
    raft_message m = lone_message(kind, asked->to, asked->term);
    m.round = asked->round;
    return m;
}

static void answer_pre_vote(fuzz_input *in, fuzz_host *h, const raft_message *asked)
{
    raft_message m = reply_to(asked, RAFT_MESSAGE_PRE_VOTE_REPLY);
    uint8_t b = fuzz_byte(in);
    m.asked_term = asked->asked_term;
    m.refused = b >= 96;
    if (m.refused) {
        m.flags = b < 224 ? RAFT_FLAG_LOG : 0;
        m.index = asked->index + (b & 7);
        m.index_term = m.index == 0 ? 0 : m.term;
    }
    give(h, &m);
}

static void answer_pull(fuzz_input *in, fuzz_host *h, const raft_message *asked)
{
    raft_message m = reply_to(asked, RAFT_MESSAGE_PULL_REPLY);
    uint8_t b = fuzz_byte(in);
    m.term += (b & 7) == 7;
    m.refused = b >= 192;
    if (m.refused) {
        m.refused_index = asked->index;
        m.index = near_index(in, h);
        m.index_term = near_term(in, h, m.index);
        give(h, &m);
        return;
    }
    m.flags = b & 8 ? RAFT_FLAG_LAST : 0;
    m.index = asked->index;
    m.index_term = asked->index_term != 0 ? asked->index_term : near_term(in, h, m.index);
    m.commit = near_index(in, h);
    give_entries(in, h, &m);
}

static void answer_append(fuzz_input *in, fuzz_host *h, const raft_message *asked)
{
    raft_message m = reply_to(asked, RAFT_MESSAGE_APPEND_REPLY);
    uint8_t b = fuzz_byte(in);
    m.index = asked->index + (asked->range_count > 0 ? asked->ranges[0].count : 0);
    m.credit_ms = b & 1 ? 100 : 0;
    m.flags = b >= 248 ? RAFT_FLAG_FULL : 0;
    if (b >= 208) {
        m.refused = 1;
        m.refused_index = asked->index;
        m.index = near_index(in, h);
        m.index_term = near_term(in, h, m.index);
    } else if (b >= 192) {
        m.index = near_index(in, h);
    }
    give(h, &m);
}

static void answer_snapshot(fuzz_input *in, fuzz_host *h, const raft_message *asked)
{
    raft_message m = reply_to(asked, RAFT_MESSAGE_SNAPSHOT_REPLY);
    uint8_t b = fuzz_byte(in);
    m.index = asked->index;
    m.index_term = asked->index_term;
    m.offset = b < 200 ? asked->offset + asked->chunk.size : b;
    m.refused = b >= 248;
    give(h, &m);
}

static void answer(fuzz_input *in, fuzz_host *h, const raft_message *asked)
{
    raft_message m;
    uint8_t b;
    switch (asked->kind) {
    case RAFT_MESSAGE_PRE_VOTE:
        answer_pre_vote(in, h, asked);
        break;
    case RAFT_MESSAGE_VOTE:
        m = reply_to(asked, RAFT_MESSAGE_VOTE_REPLY);
        m.refused = fuzz_byte(in) >= 224;
        give(h, &m);
        break;
    case RAFT_MESSAGE_APPEND:
        answer_append(in, h, asked);
        break;
    case RAFT_MESSAGE_HEARTBEAT:
        m = reply_to(asked, RAFT_MESSAGE_HEARTBEAT_REPLY);
        b = fuzz_byte(in);
        m.refused = b >= 224;
        m.credit_ms = b & 1 ? 100 : 0;
        m.flags = b & 2 ? RAFT_FLAG_IDLE : 0;
        give(h, &m);
        break;
    case RAFT_MESSAGE_SNAPSHOT:
        answer_snapshot(in, h, asked);
        break;
    default:
        answer_pull(in, h, asked);
        break;
    }
}

static void answer_one(fuzz_input *in, fuzz_host *h)
{
    const raft_message *asked = question(in, h, 0);
    if (asked != NULL) {
        raft_message copy = *asked; /* the answer may ask anew, and take its place */
        answer(in, h, &copy);
    }
}

/* Everybody says yes to everything, and again to what is asked then. */
static void consent(fuzz_host *h)
{
    fuzz_input yes = {NULL, 0};
    size_t from = h->asked_count > ASKED_MAX ? h->asked_count - ASKED_MAX : 0;
    for (int n = 0; n < 4 * ASKED_MAX; n++) {
        if (from == h->asked_count) {
            fuzz_complete(h, RAFT_WRITES_MAX);
            raft_poll(h->node, h->now_ms);
        }
        if (from == h->asked_count) {
            return;
        }
        from = h->asked_count - from > ASKED_MAX ? h->asked_count - ASKED_MAX : from;
        raft_message copy = h->asked[from++ % ASKED_MAX];
        answer(&yes, h, &copy);
    }
}

/* ---- The host -------------------------------------------------------------------------------- */

static void change_membership(fuzz_input *in, fuzz_host *h)
{
    struct raft__config c;
    memset(&c, 0, sizeof c);
    raft_membership_init(&c.is);
    if (raft_get_membership(h->node, &c.is, c.members, RAFT_MEMBERS_MAX) == RAFT_OK) {
        raft_index version = c.is.version;
        for (unsigned n = 1 + fuzz_byte(in) % 3; n > 0; n--) {
            turn(in, &c);
        }
        raft_set_membership(h->node, &c.is, version, NULL, NULL);
    }
}

/* The host has got a snapshot by ways of its own. */
static void receive_snapshot(fuzz_input *in, fuzz_host *h)
{
    uint8_t meta[RAFT_META_MAX];
    raft_index index = near_index(in, h) + fuzz_byte(in) % 4;
    size_t size = forge_meta(in, h, index, near_term(in, h, index), meta);
    raft_snapshot_received(h->node, meta, size);
}

static void complete(fuzz_input *in, fuzz_host *h)
{
    uint8_t b = fuzz_byte(in);
    if (b & 1) {
        fuzz_complete(h, 1 + (b >> 6));
    }
    if (b & 2) {
        fuzz_complete_apply(h);
    }
    if (b & 4) {
        fuzz_complete_write(h);
    }
    if (b & 8) {
        fuzz_complete_read(h);
    }
    if (b & 16) {
        fuzz_complete_fetch(h);
    }
}

static void propose(fuzz_input *in, fuzz_host *h)
{
    static const uint8_t payload[256] = {4};
    uint8_t b = fuzz_byte(in);
    for (unsigned n = 1 + (b & 3); n > 0; n--) {
        raft_propose(h->node, payload, b, NULL, NULL);
    }
}

static void order(fuzz_input *in, fuzz_host *h)
{
    uint8_t b = fuzz_byte(in);
    raft_id peer = 1 + (b >> 4) % IDS;
    switch (b % 8) {
    case 0:
        raft_transfer(h->node, b & 128 ? 0 : peer);
        break;
    case 1:
        raft_snapshot_sent(h->node, peer, b & 128 ? RAFT_EBUSY : RAFT_OK);
        break;
    case 2:
        raft_unreachable(h->node, peer);
        break;
    case 3:
        raft_read(h->node, b);
        raft_read_lease(h->node, b);
        break;
    case 4:
        raft_forget_leader(h->node);
        break;
    case 5:
        raft_step_down(h->node);
        break;
    case 6:
        raft_stop(h->node);
        break;
    default:
        if (b >> 4 == 15) {
            raft_request_snapshot(h->node);
        } else {
            raft_campaign(h->node);
        }
        break;
    }
}

static void pass_time(fuzz_host *h, uint64_t ms)
{
    h->now_ms += ms;
    raft_poll(h->node, h->now_ms);
}

/* Returns 0 where the server cannot go on. */
static int step(fuzz_input *in, fuzz_host *h)
{
    uint8_t op = fuzz_byte(in);
    switch (op % 20) {
    case 0:
    case 1:
    case 2:
        give_append(in, h);
        break;
    case 3:
        give_heartbeat(in, h);
        break;
    case 4:
    case 5:
        give_snapshot(in, h);
        break;
    case 6:
        give_ask(in, h);
        break;
    case 7:
    case 8:
    case 9:
        answer_one(in, h);
        break;
    case 10:
        consent(h);
        break;
    case 11:
        change_membership(in, h);
        break;
    case 12:
        receive_snapshot(in, h);
        break;
    case 13:
        fuzz_take_snapshot(h);
        break;
    case 14:
        complete(in, h);
        break;
    case 15:
        h->moods = fuzz_byte(in);
        break;
    case 16:
        propose(in, h);
        break;
    case 17:
        order(in, h);
        break;
    case 18:
        return op < 200 || fuzz_host_restart(h, op % 3);
    default:
        pass_time(h, (uint64_t)(op / 20) * (op / 20) * 2);
        break;
    }
    return 1;
}

/* ---- A life ---------------------------------------------------------------------------------- */

static void found(fuzz_host *h, uint8_t who)
{
    static const size_t counts[] = {0, 3, 1, 3};
    raft_membership_init(&h->founding);
    h->founding.members = h->founders;
    h->founding.member_count = counts[who % 4];
    h->founding.lease_ms = who & 4 ? 100 : 0;
    h->founding_base = who & 64 ? 5 : 0;
    for (size_t i = 0; i < 3; i++) {
        h->founders[i].id = i + 1;
    }
    h->founders[2].role = who % 4 == 3 ? RAFT_MEMBER_WITNESS : RAFT_MEMBER_VOTER;
}

static void set_up(fuzz_host *h, uint8_t flags, uint8_t who)
{
    fuzz_host_begin(h);
    h->options.no_pre_vote = flags & 1;
    h->options.no_check_quorum = flags >> 1 & 1;
    h->options.no_stickiness = flags >> 2 & 1;
    h->options.quiesce = flags >> 3 & 1;
    h->options.log_bytes_max = flags & 16 ? 4000 : 0;
    h->options.append_bytes_max = flags & 32 ? 60 : 0;
    h->options.snapshot_log_bytes = flags & 64 ? 200 : 0;
    h->options.apply_ahead = flags >> 7;
    h->options.trailing_bytes = 1;
    h->options.chunk_bytes_max = 50;
    h->callbacks.snapshot_read = who & 8 ? NULL : h->callbacks.snapshot_read;
    h->callbacks.snapshot_write = who & 16 ? NULL : h->callbacks.snapshot_write;
    h->callbacks.read_log = who & 32 ? NULL : h->callbacks.read_log;
    found(h, who);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    fuzz_host h;
    uint8_t flags = fuzz_byte(&in);
    set_up(&h, flags, fuzz_byte(&in));
    int alive = fuzz_host_new(&h) == RAFT_OK && fuzz_host_restore(&h) == RAFT_OK;
    if (!alive) {
        fuzz_blame(&h, "a new server does not start");
    }
    for (int i = 0; i < STEPS_MAX && in.size > 0 && alive && h.fault == NULL; i++) {
        alive = step(&in, &h) && fuzz_status(&h).last_index < LOG_MAX;
        fuzz_verify(&h);
    }
    fuzz_host_end(&h);
    return 0;
}
