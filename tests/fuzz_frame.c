/*
 * Fuzz target: what the transport reads from whoever connects. The first byte of the input decides
 * whether checksums and seals are repaired first (so that what lies behind them is reached), how
 * small the frame limit is, and whether frames have to be sealed; the rest is a stream: a hello,
 * then frames.
 *
 * Besides not crashing: a beginning of good input is never refused, what is taken fits into what
 * was given, a hello that was read is written the same way again, a message that was taken stays
 * within its frame, and no frame passes that was not sealed with the key.
 */
#include "crc32c.h"
#include "frame.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REPAIR = 1, SMALL_FRAMES = 2, SEALED = 4 };

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static uint32_t get_u32(const uint8_t *data)
{
    return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
           (uint32_t)data[3] << 24;
}

static void repair_hello(uint8_t *stream, size_t size)
{
    size_t total =
        size < HELLO_BYTES_MIN ? 0 : HELLO_BYTES_MIN + (get_u32(stream + 12) + 7) / 8 * 8;
    if (total >= HELLO_BYTES_MIN && total <= HELLO_BYTES_MAX && total <= size) {
        uint32_t crc = crc32c(crc32c(0, stream, 40), stream + 44, total - 44);
        for (int i = 0; i < 4; i++) {
            stream[40 + i] = (uint8_t)(crc >> 8 * i);
        }
    }
}

/* With a copy of the key: the one that reads has its own count. */
static void repair_frame(uint8_t *stream, size_t size, const struct frame_key *key)
{
    size_t around = FRAME_HEADER + (key ? FRAME_SEAL : 0);
    if (size >= around && get_u32(stream) <= size - around) {
        struct iovec body = {stream + FRAME_HEADER, get_u32(stream)};
        if (key) {
            struct frame_key copy = *key;
            frame_seal(&body, 1, &copy, stream, stream + FRAME_HEADER + body.iov_len);
        } else {
            frame_header(&body, 1, stream);
        }
    }
}

static void walk_message(const raft_message *message, const struct frame *frame, const uint8_t *end)
{
    for (size_t i = 0; i < message->range_count; i++) {
        raft_range range = message->ranges[i];
        const uint8_t *bytes = range.data;
        raft_entry entry;
        size_t count = 0;
        require(bytes + range.size <= frame->data && frame->data + frame->size == end);
        while (raft_range_next(&range, &entry)) {
            count++;
        }
        require(count == message->ranges[i].count);
    }
}

static void walk_frame(struct frame frame)
{
    const uint8_t *end = frame.data + frame.size;
    raft_message message;
    int status;
    while ((status = frame_message(&frame, &message)) > 0) {
        walk_message(&message, &frame, end);
    }
    require(status < 0 || frame.size == 0);
}

static size_t read_hello(const uint8_t *stream, size_t size)
{
    struct hello hello;
    uint8_t again[HELLO_BYTES_MAX];
    long used = hello_decode(stream, size, &hello);
    if (used <= 0) {
        require(used > -TRANSPORT_REASONS);
        return 0;
    }
    require((size_t)used <= size && used % 8 == 0);
    require(hello_encode(&hello, again) == (size_t)used && !memcmp(again, stream, (size_t)used));
    for (size_t part = 0; part < (size_t)used; part++) {
        require(hello_decode(stream, part, &hello) == 0);
    }
    return (size_t)used;
}

static size_t read_frame(const uint8_t *stream, size_t size, size_t frame_bytes_max,
                         struct frame_key *key)
{
    struct frame frame;
    struct frame_key before = {0};
    if (key) {
        before = *key;
    }
    long used = frame_next(stream, size, frame_bytes_max, key, &frame);
    if (used <= 0) {
        require(used > -TRANSPORT_REASONS);
        return 0;
    }
    require((size_t)used <= size && used % 8 == 0);
    require((size_t)used <= frame_bytes_max + (key ? FRAME_SEAL : 0));
    struct frame part;
    require(frame_next(stream, (size_t)used - 1, frame_bytes_max, key ? &before : NULL, &part) ==
            0);
    walk_frame(frame);
    return (size_t)used;
}

static void read_frames(uint8_t *stream, size_t size, int mode)
{
    size_t frame_bytes_max = mode & SMALL_FRAMES ? FRAME_BYTES_MIN : 1 << 20;
    struct frame_key sealing = {.number = 0}, *key = mode & SEALED ? &sealing : NULL;
    size_t at = 0;
    hmac_begin(&sealing.keyed, "a key that nobody guesses", 25);
    for (size_t used = 1; used; at += used) {
        if (mode & REPAIR) {
            repair_frame(stream + at, size - at, key);
        }
        used = read_frame(stream + at, size - at, frame_bytes_max, key);
        require(!used || !key || mode & REPAIR);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    int mode = data[0];
    uint8_t *stream = malloc(size); /* of the exact size, so that overreading is seen */
    require(stream != NULL);
    memcpy(stream, data + 1, --size);
    if (mode & REPAIR) {
        repair_hello(stream, size);
    }
    size_t at = read_hello(stream, size);
    read_frames(stream + at, size - at, mode);
    free(stream);
    return 0;
}
