/*
 * SHA-256 (FIPS 180-4) and HMAC over it (RFC 2104), piece by piece. The transport authenticates its
 * peers with them. They depend on nothing but libc, and use the processor's instructions for it
 * where it has them.
 */
#ifndef KEELSON_SHA256_H
#define KEELSON_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32u
#define SHA256_BLOCK 64u

struct sha256 {
    uint32_t state[8];
    int has_instructions; /* the processor does */
    uint64_t size;        /* bytes taken so far */
    uint8_t block[SHA256_BLOCK];
};

void sha256_begin(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *data, size_t size);
/* Ends it: begin again before anything is added. */
void sha256_end(struct sha256 *hash, uint8_t out[SHA256_BYTES]);

/* Begins one that does without the instructions; for tests. */
void sha256_begin_portable(struct sha256 *hash);

/*
 * A keyed hash. Two hashes begun with the key in them: a copy made right after hmac_begin begins
 * the next message under the same key without hashing the key again.
 */
struct hmac {
    struct sha256 inner, outer;
};

void hmac_begin(struct hmac *hmac, const void *key, size_t key_size);
void hmac_add(struct hmac *hmac, const void *data, size_t size);
/* Ends it: begin again, or copy again, before anything is added. */
void hmac_end(struct hmac *hmac, uint8_t out[SHA256_BYTES]);

#endif
