/*
 * How two servers find out that they may talk, as a machine without sockets: bytes in, bytes out.
 *
 *     caller     hello · nonce 32
 *     listener   hello · nonce 32
 *     caller     proof 32
 *     listener   proof 32
 *
 * Without a secret the hellos are all, and no nonces follow them. A side with a secret talks to
 * nobody without one, and the other way round.
 *
 * Both sides make the connection's key from the secret and from every byte of both hellos and
 * nonces: HMAC-SHA-256, so that version, cluster, both ids and who called whom are part of it. From
 * that key come the two proofs and the keys that seal the frames of each direction (frame.h), each
 * under a name of its own:
 *
 *   - a recorded conversation is worth nothing, because one nonce is always fresh;
 *   - a proof or frame sent back to where it came from is not the one that is expected there;
 *   - a proof or frame of one connection is worth nothing in another.
 *
 * The caller proves first, so that whoever merely calls learns nothing that a guessed secret could
 * be compared with. A caller that is refused learns why: from the hello, or from a proof of zeros,
 * which says "not with that secret". What a listener says is never longer than what it was told.
 *
 * Whoever has the secret may be any server: it keeps strangers out, not members honest.
 */
#ifndef KEELSON_HANDSHAKE_H
#define KEELSON_HANDSHAKE_H

#include "frame.h"

struct secret;

#define HANDSHAKE_NONCE   32u
#define HANDSHAKE_PROOF   SHA256_BYTES
#define HANDSHAKE_OUT_MAX (HELLO_BYTES_MAX + HANDSHAKE_NONCE)

enum handshake_step {
    HANDSHAKE_HELLO, /* the other side's hello is awaited */
    HANDSHAKE_NONCE_AWAITED,
    HANDSHAKE_PROOF_AWAITED,
    HANDSHAKE_DONE
};

struct handshake {
    enum handshake_step step;
    int is_caller, has_secret;
    uint64_t cluster;
    raft_id self;
    raft_id other; /* who is called; called: known with the hello, proven when done */
    uint8_t nonce[HANDSHAKE_NONCE];
    struct hmac transcript; /* with a secret: of all that was said before the proofs */
    uint8_t own_proof[HANDSHAKE_PROOF], other_proof[HANDSHAKE_PROOF];
    struct frame_key sent, received;     /* when done, with a secret */
    char address[HELLO_ADDRESS_MAX + 1]; /* as the caller told it: claimed, not checked */
};

/* Who begins. */
struct handshake_side {
    uint64_t cluster;
    raft_id self;
    raft_id callee;              /* whom it calls; 0: it was called */
    const char *address;         /* told by a caller; null: none */
    const struct secret *secret; /* null: none */
    const uint8_t *nonce;        /* with a secret: random bytes, never used before */
};

/* Begins. Returns the bytes to be sent first: none where it was called. */
size_t handshake_begin(struct handshake *handshake, const struct handshake_side *side,
                       uint8_t out[HANDSHAKE_OUT_MAX]);

/*
 * Takes the next part of what the other side said. The bytes taken; 0: more are needed; or the
 * negated reason to end the connection. Whatever it returns, *out_size bytes of out are to be sent.
 * Not to be called when done.
 */
long handshake_take(struct handshake *handshake, const uint8_t *data, size_t size,
                    uint8_t out[HANDSHAKE_OUT_MAX], size_t *out_size);

#endif
