/*
 * Fuzz target: a host that calls whatever it likes whenever it likes. Each step is a byte that
 * picks the call and a few that make its arguments; nulls, wrong numbers, calls too early, too late
 * and twice are all among them. A call that was wrong says so; the node and its promises stay whole
 * (lone.h), and all memory comes back.
 */
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 400, LOG_MAX = 3000 };

static void require(lone *l, int holds, const char *sentence)
{
    if (!holds) {
        lone_blame(l, sentence);
    }
}

/* A code that says that a call was wrong or came at a wrong time. */
static int is_refusal(int code)
{
    return code < 0;
}

/* Another disk: nothing is stored. */
static void wipe(lone *l)
{
    raft_free(l->node);
    l->node = NULL;
    while (l->write_count > 0) {
        lone_write_release(&l->writes[--l->write_count]);
    }
    l->writes_done = 0;
    if (lone_new(l) != RAFT_OK) {
        l->node = NULL;
    }
}

static void call_bootstrap(fuzz_input *in, lone *l)
{
    raft_member members[4];
    uint8_t b = fuzz_byte(in);
    memset(members, 0, sizeof members);
    for (size_t i = 0; i < 4; i++) {
        members[i].id = b & 128 ? fuzz_byte(in) % 4 : i + 1;
    }
    int code = raft_bootstrap(l->node, members, b % 5);
    require(l, code != RAFT_OK || b % 5 > 0, "an empty group was founded");
}

/* A write of the fuzzer's making. What was taken is on the disk from now on. */
static void call_restore(fuzz_input *in, lone *l)
{
    raft_status s = lone_status(l);
    uint8_t b = fuzz_byte(in);
    lone_batch batch = {NULL, 0, 0, 0, 0};
    raft_range range;
    raft_write w;
    memset(&w, 0, sizeof w);
    w.seq = 1;
    w.has_state = b & 1;
    w.state.term = fuzz_term(in, &s) + (b >> 4 & 3);
    w.state.vote = b >> 6;
    w.truncate_from = b & 2 ? fuzz_index(in, &s) : 0;
    batch.first = b & 4 ? fuzz_index(in, &s) : s.last_index + 1;
    batch.term = fuzz_term(in, &s);
    for (int n = b >> 5; n > 0; n--) {
        lone_batch_add(&batch, "payload", fuzz_byte(in) % 8, RAFT_ENTRY_DATA);
    }
    if (batch.count > 0) {
        range = lone_batch_range(&batch);
        w.ranges = &range;
        w.range_count = 1;
    }
    size_t meta_size = 0;
    uint8_t *meta = b & 8 ? fuzz_bytes(in, fuzz_byte(in), &meta_size) : NULL;
    w.meta = meta;
    w.meta_size = meta_size;
    int code = raft_restore(l->node, &w);
    if (code == RAFT_OK) {
        lone_write_copy(l, &w)->done = 1;
        l->writes_done = l->write_count;
        l->run_first = l->write_count;
    }
    free(batch.data);
    free(meta);
    if (code != RAFT_OK && code != RAFT_EARG && code != RAFT_ESTATE) {
        wipe(l);
    }
}

static void call_start(lone *l)
{
    int code = lone_start(l);
    if (code == RAFT_ECORRUPT) {
        wipe(l);
    } else if (code == RAFT_OK) {
        require(l, raft_start(l->node, l->now_ms) == RAFT_ESTATE, "a node starts twice");
        lone_verify(l);
    }
}

static void call_propose(fuzz_input *in, lone *l)
{
    static const uint8_t payload[4096] = {0};
    raft_buf many[8];
    uint8_t b = fuzz_byte(in);
    raft_index last = lone_status(l).last_index;
    raft_index index = 0;
    raft_term term = 0;
    size_t count = b & 7;
    for (size_t i = 0; i < 8; i++) {
        many[i].data = b == 255 ? NULL : payload;
        many[i].size = fuzz_byte(in);
        many[i].size *= b & 64 ? 16 : 1;
    }
    int code = b & 32 ? raft_propose(l->node, many[0].data, many[0].size, &index, &term)
                      : raft_propose_many(l->node, many, count, &index, &term);
    raft_status s = lone_status(l);
    if (code == RAFT_OK) {
        require(l,
                index == last + 1 && s.last_index == last + (b & 32 ? 1 : count) &&
                    term == s.term && s.role == RAFT_ROLE_LEADER,
                "a proposal was taken but is not where it was said to be");
    } else {
        require(l, is_refusal(code) && s.last_index == last && index == 0,
                "a refused proposal changed the log");
    }
}

/* Completions right and wrong. A failure, once told, stays. */
static void call_complete(fuzz_input *in, lone *l)
{
    uint8_t b = fuzz_byte(in);
    if (b < 160 && lone_outstanding(l)) {
        lone_complete(l, 1 + b % lone_outstanding(l));
    } else if (b < 170) {
        require(l, is_refusal(raft_persisted(l->node, fuzz_number(in) | 1u << 20, RAFT_OK)),
                "a write that never was is completed");
    } else if (b < 180) {
        require(l, is_refusal(raft_persisted(l->node, b, 1)), "a positive status is taken");
    } else if (b == 255 && lone_outstanding(l)) {
        uint64_t seq = l->writes[l->writes_done].write.seq;
        require(l, is_refusal(raft_persisted(l->node, seq, -1)), "a failed write is no failure");
    }
}

static void call_applied(fuzz_input *in, lone *l)
{
    uint8_t b = fuzz_byte(in);
    if (l->apply_pending && b < 200) {
        lone_complete_apply(l);
    } else if (b < 230) {
        require(l, is_refusal(raft_applied(l->node, fuzz_number(in) | (uint64_t)1 << 40, RAFT_OK)),
                "an apply that never was is completed");
    } else if (b == 255 && l->apply_pending) {
        require(l, is_refusal(raft_applied(l->node, l->apply_pending, -1)),
                "a failed apply is no failure");
        l->apply_pending = 0;
    }
}

static void look_at_everything(fuzz_input *in, lone *l)
{
    static char text[16384];
    raft_member member;
    raft_peer_status peer;
    uint8_t b = fuzz_byte(in);
    raft_get_member(l->node, b, &member);
    raft_get_peer(l->node, b % 5, &peer);
    raft_deadline(l->node);
    size_t length = raft_describe_node(l->node, text, b & 1 ? sizeof text : b);
    require(l, length == raft_describe_node(l->node, NULL, 0), "a description changes its length");
    raft_status s = lone_status(l);
    require(l,
            s.applied_index <= s.commit_index && s.commit_index <= s.last_index &&
                s.durable_index <= s.last_index,
            "indexes are out of order");
}

static void change_the_host(fuzz_input *in, lone *l)
{
    static const int results[] = {RAFT_OK, RAFT_PENDING, RAFT_OK, RAFT_PENDING};
    uint8_t b = fuzz_byte(in);
    if (lone_outstanding(l) == 0) { /* completion stays in order */
        l->persist_result = b >= 250 ? -1 : results[b & 3];
    }
    l->apply_result = b >= 254 ? -1 : results[b >> 2 & 3];
    l->fail_after = b & 64 ? b >> 4 & 3 : -1;
    l->fail_once = 1;
}

static void restart(lone *l)
{
    int was_started = l->started;
    lone_crash(l);
    l->persist_result = RAFT_OK;
    l->apply_result = RAFT_OK;
    l->fail_after = -1;
    if (lone_restart(l) != RAFT_OK) {
        if (was_started) {
            lone_blame(l, "a node does not restart from what it stored itself");
        }
        wipe(l);
    }
}

static void call_with_null(lone *l)
{
    require(l,
            raft_poll(NULL, 0) == RAFT_EARG && raft_receive(NULL, NULL) == RAFT_EARG &&
                raft_propose(NULL, "", 0, NULL, NULL) == RAFT_EARG &&
                raft_read(NULL, 0) == RAFT_EARG && raft_campaign(NULL) == RAFT_EARG &&
                raft_start(NULL, 0) == RAFT_EARG && raft_bootstrap(NULL, NULL, 1) == RAFT_EARG &&
                raft_restore(NULL, NULL) == RAFT_EARG && raft_free(NULL) == RAFT_OK &&
                raft_get_status(NULL, NULL) == RAFT_EARG,
            "a null node is taken for one");
    require(l,
            is_refusal(raft_receive(l->node, NULL)) &&
                is_refusal(raft_receive_bytes(l->node, NULL, 200)),
            "a null message is taken for one");
}

static void step(fuzz_input *in, lone *l)
{
    uint8_t op = fuzz_byte(in);
    switch (op % 16) {
    case 0:
        call_bootstrap(in, l);
        break;
    case 1:
        call_restore(in, l);
        break;
    case 2:
        call_start(l);
        break;
    case 3:
        call_propose(in, l);
        break;
    case 4:
        raft_read(l->node, op);
        break;
    case 5:
        raft_campaign(l->node);
        break;
    case 6:
        raft_unreachable(l->node, op >> 4);
        break;
    case 7:
        call_complete(in, l);
        break;
    case 8:
        call_applied(in, l);
        break;
    case 9:
        look_at_everything(in, l);
        break;
    case 10:
        change_the_host(in, l);
        break;
    case 11:
        if (op >> 4 == 15) {
            restart(l);
        } else {
            call_with_null(l);
        }
        break;
    case 12: {
        size_t seen = 0; /* the peers say yes */
        lone_grant_all(l, &seen);
        break;
    }
    case 13:
        fuzz_receive_forged(in, l);
        break;
    default:
        if (op == 255) {
            raft_poll(l->node, fuzz_number(in)); /* a clock gone mad */
        }
        lone_clear(l);
        lone_wait(l, (uint64_t)(op >> 4) * (op >> 4) * 8);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    lone l;
    lone_init(&l);
    uint8_t flags = fuzz_byte(&in);
    l.options.no_pre_vote = flags & 1;
    l.options.log_bytes_max = flags & 2 ? 8192 : 0;
    l.options.uncommitted_bytes_max = flags & 4 ? 300 : 0;
    l.options.append_bytes_max = flags & 8 ? 64 : 0;
    l.options.entry_bytes_max = 2000;
    l.options.reads_max = flags & 16 ? 3 : 0;
    if (lone_new(&l) != RAFT_OK) {
        return 0;
    }
    if (flags & 32) { /* most of what is interesting comes after a good start */
        lone_bootstrap(&l);
        call_start(&l);
    }
    for (int i = 0; i < STEPS_MAX && in.size > 0 && l.fault == NULL; i++) {
        step(&in, &l);
        if (l.node == NULL || lone_status(&l).last_index > LOG_MAX) {
            break;
        }
    }
    fuzz_end(&l);
    return 0;
}
