/*
 * The bytes between two transports, as pure functions: nothing here knows of sockets.
 *
 *     hello   magic 8 · version 4 · address size 4 · cluster 8 · from 8 · to 8 · CRC32C 4 · 0 4 ·
 *             address, zero-padded to a multiple of 8
 *     frame   body size 4 · CRC32C 4 · body: one or more of (message size 4 · 0 4 · message)
 *
 * Numbers are little-endian. The checksum of a hello covers all but itself, that of a frame covers
 * its size and body. Every part is a multiple of eight bytes long, so that messages in a buffer
 * that begins aligned stay aligned. Checksums are against accidents only.
 */
#ifndef KEELSON_FRAME_H
#define KEELSON_FRAME_H

#include "transport.h"

struct iovec;

#define HELLO_VERSION     1u
#define HELLO_ADDRESS_MAX 255u
#define HELLO_BYTES_MIN   48u
#define HELLO_BYTES_MAX   (HELLO_BYTES_MIN + 256u)
#define FRAME_HEADER      8u /* before a frame's body */
#define FRAME_PREFIX      8u /* before each message in it */
#define FRAME_BYTES_MIN   (FRAME_HEADER + FRAME_PREFIX + RAFT_MESSAGE_HEADER)

struct hello {
    uint64_t cluster;
    raft_id from;
    raft_id to;                          /* whom the sender believes to talk to */
    char address[HELLO_ADDRESS_MAX + 1]; /* where the sender listens, as text */
};

/* Returns the bytes written. An address that is too long is told as none. */
size_t hello_encode(const struct hello *hello, uint8_t out[HELLO_BYTES_MAX]);

/*
 * Reads the hello that a stream begins with. The bytes taken; 0: more are needed; or the negated
 * reason: TRANSPORT_MAGIC (as soon as one byte differs), TRANSPORT_VERSION, TRANSPORT_LENGTH,
 * TRANSPORT_CHECKSUM.
 */
long hello_decode(const uint8_t *data, size_t size, struct hello *hello);

/* Writes the header of a frame whose body is the parts together: below 2^32 bytes. */
void frame_header(const struct iovec *body, size_t part_count, uint8_t out[FRAME_HEADER]);

/* Writes what stands before a message of this size. */
void frame_prefix(size_t message_bytes, uint8_t out[FRAME_PREFIX]);

/* The messages of a frame that were not taken yet. */
struct frame {
    const uint8_t *data;
    size_t size;
};

/*
 * Takes the frame that data begins with. The bytes taken; 0: more are needed; or the negated
 * reason: TRANSPORT_LENGTH (as soon as the size is there, so that nobody waits or makes room for a
 * frame above the limit), TRANSPORT_CHECKSUM.
 */
long frame_next(const uint8_t *data, size_t size, size_t frame_bytes_max, struct frame *frame);

/*
 * Takes the next message; its ranges point into the frame. 1; 0: nothing is left; or the negated
 * reason: TRANSPORT_LENGTH, TRANSPORT_MESSAGE.
 */
int frame_message(struct frame *frame, raft_message *message);

#endif
