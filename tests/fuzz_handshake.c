/*
 * Fuzz target: the handshake. The first byte of the input says who is tried; the rest is what it
 * hears, in pieces whose sizes are in the input too.
 *
 * Alone, one side hears the bytes as they are, checksums of hellos made good. Whatever they are:
 * what is taken fits into what was given, what a listener says is never longer than what it has
 * heard, an end says why, and with a secret nobody is let in who does not have it.
 *
 * Between two sides with the same secret, the bytes change what passes. If any byte was changed,
 * the one that had to hear it does not let the other in.
 */
#include "crc32c.h"
#include "handshake.h"
#include "secret.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WITH_SECRET = 1, IS_CALLER = 2, BETWEEN_TWO = 4, REPAIR = 8, HEARD_MAX = 2048 };

struct side {
    struct handshake handshake;
    uint8_t said[HEARD_MAX], heard[HEARD_MAX];
    size_t said_size, heard_size, taken, carried;
    int is_over;
    int was_deceived; /* a byte that it heard, and took, was changed */
};

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void begin(struct side *side, int is_caller, int with_secret)
{
    static const struct secret secret = {.size = 24, .bytes = "nobody guesses this here"};
    uint8_t nonce[HANDSHAKE_NONCE], out[HANDSHAKE_OUT_MAX];
    memset(side, 0, sizeof *side);
    memset(nonce, is_caller ? 0x11 : 0x22, sizeof nonce);
    struct handshake_side who = {.cluster = 77,
                                 .self = is_caller ? 1 : 2,
                                 .callee = is_caller ? 2 : 0,
                                 .address = "127.0.0.1:7001",
                                 .secret = with_secret ? &secret : NULL,
                                 .nonce = nonce};
    side->said_size = handshake_begin(&side->handshake, &who, out);
    memcpy(side->said, out, side->said_size);
}

static void check_address(const struct handshake *handshake)
{
    require(memchr(handshake->address, 0, sizeof handshake->address) != NULL);
}

/* In a buffer of the exact size, so that overreading is seen. */
static long take(struct side *side, uint8_t out[HANDSHAKE_OUT_MAX], size_t *out_size)
{
    size_t left = side->heard_size - side->taken;
    uint8_t *exact = malloc(left + !left);
    require(exact != NULL);
    memcpy(exact, side->heard + side->taken, left);
    long used = handshake_take(&side->handshake, exact, left, out, out_size);
    free(exact);
    require(used <= (long)left && used > -TRANSPORT_REASONS && *out_size <= HANDSHAKE_OUT_MAX);
    return used;
}

static void hear(struct side *side, const uint8_t *data, size_t size)
{
    size = size < HEARD_MAX - side->heard_size ? size : HEARD_MAX - side->heard_size;
    memcpy(side->heard + side->heard_size, data, size);
    side->heard_size += size;
    while (!side->is_over && side->handshake.step != HANDSHAKE_DONE) {
        uint8_t out[HANDSHAKE_OUT_MAX];
        size_t out_size = 0;
        long used = take(side, out, &out_size);
        require(side->said_size + out_size <= HEARD_MAX);
        memcpy(side->said + side->said_size, out, out_size);
        side->said_size += out_size;
        require(side->handshake.is_caller || side->said_size <= side->heard_size);
        side->is_over = used < 0;
        if (used <= 0) {
            return;
        }
        side->taken += (size_t)used;
        check_address(&side->handshake);
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

/* Each piece is a size and as many bytes. */
static void try_alone(int mode, const uint8_t *data, size_t size)
{
    struct side side;
    uint8_t stream[HEARD_MAX];
    size_t length = size < HEARD_MAX ? size : HEARD_MAX;
    begin(&side, mode & IS_CALLER, mode & WITH_SECRET);
    memcpy(stream, data, length);
    if (mode & REPAIR) {
        repair_hello(stream, length);
    }
    for (size_t at = 0, piece; at < length; at += piece) {
        piece = 1 + (stream[at] & 127u) * 2u;
        piece = piece < length - at ? piece : length - at;
        hear(&side, stream + at, piece);
    }
    require(!(mode & WITH_SECRET) || side.handshake.step != HANDSHAKE_DONE);
}

/* Carries what was said, each byte changed by the next byte of the input where that says so. */
static int carry(struct side *from, struct side *to, const uint8_t **data, size_t *size)
{
    uint8_t bytes[HEARD_MAX];
    size_t count = from->said_size - from->carried;
    memcpy(bytes, from->said + from->carried, count);
    from->carried += count;
    for (size_t i = 0; i < count && *size; i++) {
        uint8_t change = **data;
        (*data)++;
        (*size)--;
        bytes[i] ^= change;
        to->was_deceived |= change != 0;
    }
    if (count) {
        hear(to, bytes, count);
    }
    return count != 0;
}

static void try_between_two(const uint8_t *data, size_t size)
{
    struct side caller, listener;
    begin(&caller, 1, 1);
    begin(&listener, 0, 1);
    for (int moved = 1; moved;) {
        moved = carry(&caller, &listener, &data, &size);
        moved |= carry(&listener, &caller, &data, &size);
    }
    int caller_in = caller.handshake.step == HANDSHAKE_DONE;
    int listener_in = listener.handshake.step == HANDSHAKE_DONE;
    require(!caller_in || (!caller.was_deceived && !listener.was_deceived));
    require(!listener_in || !listener.was_deceived);
    require(caller.was_deceived || listener.was_deceived || (caller_in && listener_in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    if (data[0] & BETWEEN_TWO) {
        try_between_two(data + 1, size - 1);
    } else {
        try_alone(data[0], data + 1, size - 1);
    }
    return 0;
}
