/*
 * The bytes between two transports, as pure functions: nothing here knows of sockets.
 *
 *     hello   magic 8 · version 4 · address size 4 · cluster 8 · from 8 · to 8 · CRC32C 4 ·
 *             secret 4 · address, zero-padded to a multiple of 8
 *     frame   body size 4 · CRC32C 4 · body
 *     sealed  body size 4 · 0 4 · body · seal 32
 *     body    one or more of (message size 4 · 0 4 · message, zero-padded to a multiple of 8)
 *
 * Numbers are little-endian. secret is 1 where the sender has a secret to authenticate with
 * (handshake.h), else 0. The checksum of a hello covers all but itself, that of a frame covers its
 * size and body. Every part is a multiple of eight bytes long, so that messages in a buffer that
 * begins aligned stay aligned.
 *
 * Checksums are against accidents only. Frames between servers that share a secret are sealed
 * instead: HMAC-SHA-256, under a key of this connection and direction, of the frame's number in it
 * (8 bytes, from 0), its header and its body. Whoever does not have the key can neither change a
 * frame nor leave one out, add one, or send one again.
 */
#ifndef KEELSON_FRAME_H
#define KEELSON_FRAME_H

#include "sha256.h"
#include "transport.h"

struct iovec;

#define HELLO_VERSION       2u
#define HELLO_VERSION_BYTES 16u /* enough of a hello to tell its version */
#define HELLO_ADDRESS_MAX   255u
#define HELLO_BYTES_MIN     48u
#define HELLO_BYTES_MAX     (HELLO_BYTES_MIN + 256u)
#define FRAME_HEADER        8u /* before a frame's body */
#define FRAME_PREFIX        8u /* before each message in it */
#define FRAME_BYTES_MIN     (FRAME_HEADER + FRAME_PREFIX + RAFT_MESSAGE_HEADER)
#define FRAME_SEAL          SHA256_BYTES /* behind the body of a sealed frame */

struct hello {
    uint64_t cluster;
    raft_id from;
    raft_id to;                          /* whom the sender believes to talk to */
    char address[HELLO_ADDRESS_MAX + 1]; /* where the sender listens, as text */
    int has_secret;
};

/* Returns the bytes written. An address that is too long is told as none. */
size_t hello_encode(const struct hello *hello, uint8_t out[HELLO_BYTES_MAX]);

/*
 * Reads the hello that a stream begins with. The bytes taken; 0: more are needed; or the negated
 * reason: TRANSPORT_MAGIC (as soon as one byte differs), TRANSPORT_VERSION (as soon as it is
 * there), TRANSPORT_LENGTH, TRANSPORT_CHECKSUM.
 */
long hello_decode(const uint8_t *data, size_t size, struct hello *hello);

/* ---- Frames as they are written -------------------------------------------------------------- */

/* What seals the frames of one direction of one connection. */
struct frame_key {
    struct hmac keyed;
    uint64_t number; /* of the next frame */
};

/* A message's bytes and the zeros behind it. */
size_t frame_padded(size_t message_bytes);

/* Writes what stands before a message of this size. */
void frame_prefix(size_t message_bytes, uint8_t out[FRAME_PREFIX]);

/* Writes the header of a frame whose body is the parts together: below 2^32 bytes. */
void frame_header(const struct iovec *body, size_t part_count, uint8_t out[FRAME_HEADER]);

/*
 * Writes the header and the seal of a sealed frame. Null key: there is none yet; the frame is made
 * good by frame_seal_next when there is.
 */
void frame_seal(const struct iovec *body, size_t part_count, struct frame_key *key,
                uint8_t header[FRAME_HEADER], uint8_t seal[FRAME_SEAL]);

/* Seals in place the frame that data begins with, which frame_seal made. Returns its bytes. */
size_t frame_seal_next(uint8_t *data, struct frame_key *key);

/* ---- Frames as they are read ----------------------------------------------------------------- */

/* The messages of a frame that were not taken yet. */
struct frame {
    const uint8_t *data;
    size_t size;
};

/*
 * Takes the frame that data begins with; with a key it has to be sealed. The limit is for header
 * and body. The bytes taken; 0: more are needed; or the negated reason: TRANSPORT_LENGTH (as soon
 * as the size is there, so that nobody waits or makes room for a frame above the limit),
 * TRANSPORT_CHECKSUM, TRANSPORT_SEAL.
 */
long frame_next(const uint8_t *data, size_t size, size_t frame_bytes_max, struct frame_key *key,
                struct frame *frame);

/*
 * Takes the next message; its parts point into the frame. 1; 0: nothing is left; or the negated
 * reason: TRANSPORT_LENGTH, TRANSPORT_MESSAGE.
 */
int frame_message(struct frame *frame, raft_message *message);

#endif
