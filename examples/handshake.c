/*
 * The handshake. Invariants:
 *   1. The transcript takes the caller's hello and nonce before the listener's, on both sides.
 *   2. Nothing is believed of a hello but what its refusal says, until the proof has come.
 *   3. A listener has received at least as many bytes as it has said (A caller that is refused for
 *      its version has sent what tells the version and hears as much).
 */
#include "handshake.h"
#include "secret.h"

#include <string.h>

/* What keys and proofs are made for: as many names as uses. */
static const char of_transcript[] = "keelson peers 2";
static const char of_caller_proof[] = "the caller's proof";
static const char of_listener_proof[] = "the listener's proof";
static const char of_caller_frames[] = "from caller to listener";
static const char of_listener_frames[] = "from listener to caller";

static size_t write_hello(const struct handshake *h, const char *address, uint8_t *out)
{
    struct hello hello = {.cluster = h->cluster, .from = h->self, .to = h->other};
    hello.has_secret = h->has_secret;
    if (address && strlen(address) < sizeof hello.address) {
        memcpy(hello.address, address, strlen(address));
    }
    return hello_encode(&hello, out);
}

/* Our hello, and our nonce where both have a secret. */
static size_t introduce(struct handshake *h, const char *address, uint8_t *out)
{
    size_t size = write_hello(h, address, out);
    if (h->has_secret) {
        memcpy(out + size, h->nonce, sizeof h->nonce);
        size += sizeof h->nonce;
        hmac_add(&h->transcript, out, size);
    }
    return size;
}

size_t handshake_begin(struct handshake *h, const struct handshake_side *side,
                       uint8_t out[HANDSHAKE_OUT_MAX])
{
    memset(h, 0, sizeof *h);
    h->is_caller = side->callee != 0;
    h->has_secret = side->secret != NULL;
    h->cluster = side->cluster;
    h->self = side->self;
    h->other = side->callee;
    if (h->has_secret) {
        memcpy(h->nonce, side->nonce, sizeof h->nonce);
        hmac_begin(&h->transcript, side->secret->bytes, side->secret->size);
        hmac_add(&h->transcript, of_transcript, sizeof of_transcript);
    }
    return h->is_caller ? introduce(h, side->address, out) : 0;
}

/* ---- The hello ---- */

static enum transport_reason judge_hello(const struct handshake *h, const struct hello *hello)
{
    if (hello->cluster != h->cluster) {
        return TRANSPORT_CLUSTER;
    }
    if (hello->to != h->self || !hello->from || hello->from == h->self ||
        (h->is_caller && hello->from != h->other)) {
        return TRANSPORT_IDENTITY;
    }
    return hello->has_secret == h->has_secret ? TRANSPORT_NONE : TRANSPORT_PLAIN;
}

/* A caller that is refused is answered all the same: its log then says why. */
static size_t refuse_hello(const struct handshake *h, enum transport_reason reason, uint8_t *out)
{
    if (h->is_caller) {
        return 0;
    }
    size_t size = write_hello(h, NULL, out);
    if (reason == TRANSPORT_VERSION) {
        return HELLO_VERSION_BYTES;
    }
    return reason == TRANSPORT_CLUSTER || reason == TRANSPORT_IDENTITY || reason == TRANSPORT_PLAIN
               ? size
               : 0;
}

static long take_hello(struct handshake *h, const uint8_t *data, size_t size, uint8_t *out,
                       size_t *out_size)
{
    struct hello hello = {0};
    long used = hello_decode(data, size, &hello);
    if (!used) {
        return 0;
    }
    enum transport_reason reason =
        used < 0 ? (enum transport_reason) - used : judge_hello(h, &hello);
    if (!h->is_caller) {
        h->other = hello.from;
    }
    if (reason != TRANSPORT_NONE) {
        *out_size = refuse_hello(h, reason, out);
        return -(long)reason;
    }
    memcpy(h->address, hello.address, sizeof h->address);
    if (h->has_secret) {
        hmac_add(&h->transcript, data, (size_t)used);
        h->step = HANDSHAKE_NONCE_AWAITED;
    } else {
        *out_size = h->is_caller ? 0 : introduce(h, NULL, out);
        h->step = HANDSHAKE_DONE;
    }
    return used;
}

/* ---- Nonce and proof ---- */

static void derive(const struct hmac *keyed, const char *use, size_t use_size,
                   uint8_t out[SHA256_BYTES])
{
    struct hmac hmac = *keyed;
    hmac_add(&hmac, use, use_size);
    hmac_end(&hmac, out);
}

static void derive_frame_key(const struct hmac *keyed, const char *use, size_t use_size,
                             struct frame_key *out)
{
    uint8_t key[SHA256_BYTES];
    derive(keyed, use, use_size, key);
    hmac_begin(&out->keyed, key, sizeof key);
    out->number = 0;
    secret_wipe(key, sizeof key);
}

/* Everything that comes from the connection's key, which is then forgotten. */
static void derive_all(struct handshake *h)
{
    struct hmac keyed;
    uint8_t key[SHA256_BYTES];
    hmac_end(&h->transcript, key);
    hmac_begin(&keyed, key, sizeof key);
    derive(&keyed, of_caller_proof, sizeof of_caller_proof,
           h->is_caller ? h->own_proof : h->other_proof);
    derive(&keyed, of_listener_proof, sizeof of_listener_proof,
           h->is_caller ? h->other_proof : h->own_proof);
    derive_frame_key(&keyed, of_caller_frames, sizeof of_caller_frames,
                     h->is_caller ? &h->sent : &h->received);
    derive_frame_key(&keyed, of_listener_frames, sizeof of_listener_frames,
                     h->is_caller ? &h->received : &h->sent);
    secret_wipe(key, sizeof key);
    secret_wipe(&keyed, sizeof keyed);
    secret_wipe(&h->transcript, sizeof h->transcript);
}

static size_t say_proof(const struct handshake *h, uint8_t *out)
{
    memcpy(out, h->own_proof, sizeof h->own_proof);
    return sizeof h->own_proof;
}

static long take_nonce(struct handshake *h, const uint8_t *data, size_t size, uint8_t *out,
                       size_t *out_size)
{
    if (size < HANDSHAKE_NONCE) {
        return 0;
    }
    hmac_add(&h->transcript, data, HANDSHAKE_NONCE);
    if (!h->is_caller) {
        *out_size = introduce(h, NULL, out);
    }
    derive_all(h);
    if (h->is_caller) {
        *out_size = say_proof(h, out);
    }
    h->step = HANDSHAKE_PROOF_AWAITED;
    return HANDSHAKE_NONCE;
}

static long take_proof(struct handshake *h, const uint8_t *data, size_t size, uint8_t *out,
                       size_t *out_size)
{
    if (size < HANDSHAKE_PROOF) {
        return 0;
    }
    if (!secret_equal(data, h->other_proof, HANDSHAKE_PROOF)) {
        if (!h->is_caller) {
            memset(out, 0, HANDSHAKE_PROOF);
            *out_size = HANDSHAKE_PROOF;
        }
        return -TRANSPORT_SECRET;
    }
    *out_size = h->is_caller ? 0 : say_proof(h, out);
    h->step = HANDSHAKE_DONE;
    return HANDSHAKE_PROOF;
}

long handshake_take(struct handshake *h, const uint8_t *data, size_t size,
                    uint8_t out[HANDSHAKE_OUT_MAX], size_t *out_size)
{
    *out_size = 0;
    switch (h->step) {
    case HANDSHAKE_HELLO:
        return take_hello(h, data, size, out, out_size);
    case HANDSHAKE_NONCE_AWAITED:
        return take_nonce(h, data, size, out, out_size);
    case HANDSHAKE_PROOF_AWAITED:
        return take_proof(h, data, size, out, out_size);
    case HANDSHAKE_DONE:
        break;
    }
    return 0;
}
