/*
 * Fuzz target: a node that is fed messages of peers that lie. The input is a setup, then steps:
 *
 *   byte 0   options and role: 1 no pre-vote, 2 no check-quorum, 4 slow disk, 8 slow state machine,
 *            16 begin as leader, 32 apply ahead, 64 small log, 128 small windows
 *   byte 1   entries in its log to begin with; 64 leases, 128 reads and proposals elsewhere
 *   steps    first byte % 4: 0 raw bytes (u16 length, bytes), 1 a forged message, 2 a poll some
 *            time later, 3 completions
 *
 * After each step raft_check holds; lone.h holds every message sent against the disk. Whatever
 * peers say, the node breaks none of its own promises.
 */
#include "fuzz_input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 400, LOG_MAX = 2000 };

static void set_up(lone *l, uint8_t flags, uint8_t entries)
{
    raft_term terms[64];
    size_t count = entries % 64;
    lone_init(l);
    l->options.no_pre_vote = flags & 1;
    l->options.no_check_quorum = flags >> 1 & 1;
    l->options.apply_ahead = flags >> 5 & 1;
    l->options.log_bytes_max = flags & 64 ? 8192 : 0;
    if (flags & 128) {
        l->options.inflight_messages_max = 3;
        l->options.inflight_bytes_max = 200;
        l->options.append_bytes_max = 100;
        l->options.apply_bytes_max = 100;
    }
    l->lease_ms = entries & 64 ? 700 : 0;
    if (entries & 128) {
        l->options.incarnation = 1;
        l->options.forward_bytes_max = 512;
        l->options.reads_max = 50;
    }
    for (size_t i = 0; i < count; i++) {
        terms[i] = 1 + i / 3;
    }
    lone_seed(l, terms, count, 1 + count / 3, 0);
    if (lone_restart(l) != RAFT_OK) {
        lone_blame(l, "a node does not restart from a sound disk");
    }
    if (flags & 16) {
        lone_wait(l, l->lease_ms == 0 ? 0 : l->lease_ms + 1u); /* it withholds itself so long */
        lone_lead(l);
    }
    l->persist_result = flags & 4 ? RAFT_PENDING : RAFT_OK;
    l->apply_result = flags & 8 ? RAFT_PENDING : RAFT_OK;
}

static void receive_raw(fuzz_input *in, lone *l)
{
    size_t wanted = fuzz_byte(in);
    wanted |= (size_t)fuzz_byte(in) << 8;
    size_t size;
    uint8_t *bytes = fuzz_bytes(in, wanted, &size);
    raft_receive_bytes(l->node, bytes, size);
    memset(bytes, 0xdd, size); /* it was borrowed, not kept */
    free(bytes);
    lone_verify(l);
}

static void complete_some(fuzz_input *in, lone *l)
{
    uint8_t b = fuzz_byte(in);
    if (lone_outstanding(l) && (b & 1)) {
        lone_complete(l, 1 + (b >> 2) % lone_outstanding(l));
    }
    if (l->apply_pending && (b & 2)) {
        lone_complete_apply(l);
    }
}

static void step(fuzz_input *in, lone *l)
{
    uint8_t op = fuzz_byte(in);
    switch (op % 4) {
    case 0:
        receive_raw(in, l);
        break;
    case 1:
        fuzz_receive_forged(in, l);
        break;
    case 2:
        lone_clear(l);
        lone_wait(l, (uint64_t)(op >> 2) * (op >> 2));
        break;
    default:
        complete_some(in, l);
        if (op & 128) {
            lone_propose(l);
        }
        if (op & 64) {
            raft_read(l->node, op);
        }
        if (op & 32) {
            raft_read_lease(l->node, op);
        }
        if (op & 16) {
            raft_forward(l->node, &op, 1, op);
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input in = {data, size};
    lone l;
    uint8_t flags = fuzz_byte(&in);
    set_up(&l, flags, fuzz_byte(&in));
    for (int i = 0; i < STEPS_MAX && in.size > 0 && lone_status(&l).last_index < LOG_MAX; i++) {
        step(&in, &l);
        if (l.fault != NULL) {
            break;
        }
    }
    if (l.fault == NULL && lone_status(&l).error == RAFT_OK) {
        lone_poll(&l);
    }
    fuzz_end(&l);
    return 0;
}
