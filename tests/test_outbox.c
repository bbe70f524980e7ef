/*
 * The outbox against the plain way: the same messages, encoded one by one behind each other, are
 * what its frames hold, whatever their sizes and however little room there is for parts.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "outbox.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum { CLUSTER = 77, MESSAGES_MAX = 700, WIRE_MAX = 1 << 20, TARGET = 20000 };

static uint32_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % bound;
}

static uint8_t lent[4096];
static uint8_t entries[RAFT_RANGES_MAX][64];

static raft_message heartbeat_of(uint64_t group)
{
    raft_message message;
    memset(&message, 0, sizeof message);
    message.kind = RAFT_MESSAGE_HEARTBEAT;
    message.cluster = CLUSTER;
    message.group = group;
    message.from = 1;
    message.to = 2;
    message.term = 3;
    message.round = 5;
    return message;
}

static raft_message append_of(uint64_t group, size_t ranges)
{
    raft_message message = heartbeat_of(group);
    message.kind = RAFT_MESSAGE_APPEND;
    message.round = 0;
    message.index = 9;
    message.index_term = 3;
    message.range_count = ranges;
    for (size_t i = 0; i < ranges; i++) {
        raft_entry entry = {.data = lent, .size = 10 + 7 * i, .kind = RAFT_ENTRY_DATA};
        size_t size = raft_entry_size(entry.size);
        CHECK_EQ(raft_entry_encode(&entry, entries[i], sizeof entries[i]), RAFT_OK);
        message.ranges[i] = (raft_range){10 + i, 3, 1, size, entries[i]};
    }
    return message;
}

static raft_message snapshot_of(uint64_t group, size_t meta_size, size_t chunk_size)
{
    raft_message message = heartbeat_of(group);
    message.kind = RAFT_MESSAGE_SNAPSHOT;
    message.round = 0;
    message.index = 50;
    message.index_term = 3;
    message.offset = meta_size ? 0 : 4096;
    message.flags = RAFT_FLAG_LAST;
    message.meta = (raft_buf){meta_size ? lent + 100 : NULL, meta_size};
    message.chunk = (raft_buf){lent, chunk_size};
    return message;
}

static raft_message any_message(uint64_t group)
{
    switch (random_below(4)) {
    case 0:
        return heartbeat_of(group);
    case 1:
        return append_of(group, random_below(RAFT_RANGES_MAX + 1));
    case 2:
        return snapshot_of(group, 1 + random_below(40), random_below(3000));
    default:
        return snapshot_of(group, 0, random_below(20));
    }
}

static struct frame_key make_key(void)
{
    struct frame_key key = {.number = 0};
    hmac_begin(&key.keyed, "a key", 5);
    return key;
}

struct run {
    struct outbox outbox;
    struct frame_key key;
    uint8_t *wire;
    size_t wire_size, frames, messages;
};

/* Takes all frames with so much room at a time, and puts their bytes behind each other. */
static void gather_all(struct run *run, size_t room)
{
    struct iovec parts[3 * OUTBOX_PARTS_MAX + 1];
    size_t count;
    static const uint8_t guard = 0;
    do {
        parts[room] = (struct iovec){(void *)(uintptr_t)&guard, 12345};
        count = outbox_gather(&run->outbox, run->outbox.is_sealed ? &run->key : NULL, parts, room,
                              &run->frames, &run->messages);
        CHECK(count <= room);
        CHECK_EQ(parts[room].iov_len, 12345);
        for (size_t i = 0; i < count; i++) {
            CHECK(parts[i].iov_len > 0 && run->wire_size + parts[i].iov_len <= WIRE_MAX);
            memcpy(run->wire + run->wire_size, parts[i].iov_base, parts[i].iov_len);
            run->wire_size += parts[i].iov_len;
        }
    } while (count);
}

/* What the frames hold are these messages, in their order, encoded as raft_encode does it. */
static void check_wire(const struct run *run, const raft_message *messages, size_t count)
{
    struct frame_key key = make_key();
    static uint8_t decoded[8192], expected[8192];
    size_t next = 0;
    for (size_t at = 0; at < run->wire_size;) {
        struct frame frame;
        raft_message message;
        long used = frame_next(run->wire + at, run->wire_size - at, 1 << 20,
                               run->outbox.is_sealed ? &key : NULL, &frame);
        CHECK(used > 0);
        at += (size_t)used;
        int status;
        while ((status = frame_message(&frame, &message)) > 0) {
            CHECK(next < count);
            size_t size = raft_encode(&messages[next++], expected, sizeof expected);
            CHECK_EQ(raft_encode(&message, decoded, sizeof decoded), size);
            CHECK(!memcmp(decoded, expected, size));
        }
        CHECK_EQ(status, 0);
    }
    CHECK_EQ(next, count);
}

static void run_with(struct run *run, size_t count, size_t room)
{
    static raft_message messages[MESSAGES_MAX];
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        messages[i] = any_message(i + 1);
        size_t size = raft_message_size(&messages[i]), before = run->outbox.bytes;
        size_t cost = outbox_cost(&run->outbox, size);
        CHECK(outbox_add(&run->outbox, &messages[i], size));
        CHECK(run->outbox.bytes > before && run->outbox.bytes - before <= cost);
    }
    CHECK_EQ(run->outbox.message_count, count);
    bytes = run->outbox.bytes;
    run->wire_size = run->frames = run->messages = 0;
    gather_all(run, room);
    CHECK_EQ(run->wire_size, bytes);
    CHECK_EQ(run->messages, count);
    CHECK_EQ(run->outbox.message_count, 0);
    run->key = make_key();
    check_wire(run, messages, count);
    outbox_clear(&run->outbox);
    CHECK_EQ(run->outbox.bytes, 0);
}

static void run_begin(struct run *run, int is_sealed)
{
    *run = (struct run){.wire = malloc(WIRE_MAX), .key = make_key()};
    CHECK(run->wire != NULL);
    outbox_begin(&run->outbox, is_sealed, TARGET);
}

static void run_end(struct run *run)
{
    outbox_free(&run->outbox);
    free(run->wire);
}

static void frames_hold_what_was_added(void)
{
    for (size_t i = 0; i < sizeof lent; i++) {
        lent[i] = (uint8_t)(11 * i + 1);
    }
    for (int is_sealed = 0; is_sealed < 2; is_sealed++) {
        struct run run;
        run_begin(&run, is_sealed);
        random_state = 1;
        for (int round = 0; round < 60; round++) {
            run_with(&run, random_below(300), OUTBOX_PARTS_MAX + random_below(512));
        }
        run_end(&run);
    }
}

/* Every amount of room, so that the last frame that fits leaves anything from none to many. */
static void parts_stay_within_their_room(void)
{
    struct run run;
    run_begin(&run, 1);
    run.outbox.frame_bytes_target = 700; /* a few messages each */
    random_state = 7;
    for (size_t room = OUTBOX_PARTS_MAX; room < OUTBOX_PARTS_MAX + 120; room++) {
        run_with(&run, 150, room);
    }
    run_end(&run);
}

/* A frame ends where the next message would make it longer than it should be, or of more parts
 * than a call takes. */
static void frames_end_at_their_limits(void)
{
    struct run run;
    raft_message message = heartbeat_of(1);
    size_t each = FRAME_PREFIX + RAFT_MESSAGE_HEADER;
    run_begin(&run, 0);
    run.outbox.frame_bytes_target = FRAME_HEADER + 10 * each;
    for (int i = 0; i < 31; i++) {
        CHECK(outbox_add(&run.outbox, &message, RAFT_MESSAGE_HEADER));
    }
    CHECK_EQ(run.outbox.frame_count, 4);
    CHECK_EQ(run.outbox.frames[0].bytes, run.outbox.frame_bytes_target);
    CHECK_EQ(run.outbox.frames[3].message_count, 1);
    CHECK_EQ(run.outbox.frames[0].piece_count, 1);
    outbox_clear(&run.outbox);
    run.outbox.frame_bytes_target = 1 << 20;
    message = append_of(1, RAFT_RANGES_MAX);
    for (int i = 0; i < 200; i++) {
        CHECK(outbox_add(&run.outbox, &message, raft_message_size(&message)));
    }
    for (size_t i = 0; i < run.outbox.frame_count; i++) {
        CHECK(run.outbox.frames[i].piece_count < OUTBOX_PARTS_MAX);
        CHECK(i + 1 == run.outbox.frame_count || run.outbox.frames[i].piece_count > 200);
    }
    run_end(&run);
}

/* What stands behind a message up to the next multiple of eight is zero, or the frame is not
 * good. */
static void padding_is_zero_or_refused(void)
{
    struct run run;
    raft_message message = snapshot_of(1, 0, 3), taken;
    struct frame frame;
    run_begin(&run, 0);
    CHECK(outbox_add(&run.outbox, &message, raft_message_size(&message)));
    gather_all(&run, OUTBOX_PARTS_MAX);
    CHECK_EQ(run.wire_size, FRAME_BYTES_MIN + 8);
    for (size_t at = 3; at < 8; at++) {
        uint8_t *body = run.wire + FRAME_HEADER;
        struct iovec part = {body, run.wire_size - FRAME_HEADER};
        run.wire[FRAME_BYTES_MIN + at] = 1;
        frame_header(&part, 1, run.wire);
        CHECK_EQ(frame_next(run.wire, run.wire_size, 4096, NULL, &frame), run.wire_size);
        CHECK_EQ(frame_message(&frame, &taken), -TRANSPORT_LENGTH);
        run.wire[FRAME_BYTES_MIN + at] = 0;
        frame_header(&part, 1, run.wire);
        CHECK_EQ(frame_next(run.wire, run.wire_size, 4096, NULL, &frame), run.wire_size);
        CHECK_EQ(frame_message(&frame, &taken), 1);
    }
    run_end(&run);
}

int main(void)
{
    RUN(frames_hold_what_was_added);
    RUN(parts_stay_within_their_room);
    RUN(frames_end_at_their_limits);
    RUN(padding_is_zero_or_refused);
    return check_done();
}
