/*
 * SHA-256 as FIPS 180-4 writes it: sixteen words of a block are stretched to sixty-four, one for
 * each round that stirs them into eight words of state.
 *
 * Invariant: block holds the last size % 64 bytes taken; all before them are in the state.
 */
#include "sha256.h"

#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__)) && !defined(__TINYC__)
#define HAS_X86_INSTRUCTIONS 1
#include <cpuid.h>
#include <immintrin.h>
#endif

/* The first words of the fractions of the cube roots of the first sixty-four primes. */
static const uint32_t round_constants[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u,
    0xab1c5ed5u, 0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu,
    0x9bdc06a7u, 0xc19bf174u, 0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu,
    0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau, 0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u,
    0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u, 0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu,
    0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u, 0xa2bfe8a1u, 0xa81a664bu,
    0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u, 0x19a4c116u,
    0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u,
    0xc67178f2u,
};

/* The same of the square roots of the first eight. */
static const uint32_t initial_state[8] = {
    0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
    0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
};

static uint32_t rotate(uint32_t word, int bits)
{
    return word >> bits | word << (32 - bits);
}

static uint32_t get_big_endian(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 |
           (uint32_t)data[3];
}

static void put_big_endian(uint8_t *out, uint32_t word)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(word >> (24 - 8 * i));
    }
}

static void stretch(const uint8_t *block, uint32_t words[64])
{
    for (int i = 0; i < 16; i++) {
        words[i] = get_big_endian(block + 4 * i);
    }
    for (int i = 16; i < 64; i++) {
        uint32_t near = words[i - 15], far = words[i - 2];
        words[i] = words[i - 16] + (rotate(near, 7) ^ rotate(near, 18) ^ near >> 3) + words[i - 7] +
                   (rotate(far, 17) ^ rotate(far, 19) ^ far >> 10);
    }
}

static void stir_portable(uint32_t state[8], const uint8_t *block)
{
    uint32_t words[64];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    stretch(block, words);
    for (int i = 0; i < 64; i++) {
        uint32_t first = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) +
                         round_constants[i] + words[i];
        uint32_t second =
            (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));
        h = g;
        g = f;
        f = e;
        e = d + first;
        d = c;
        c = b;
        b = a;
        a = first + second;
    }
    const uint32_t mixed[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) {
        state[i] += mixed[i];
    }
}

/* ---- With the instructions of x86 ------------------------------------------------------------ */

#ifdef HAS_X86_INSTRUCTIONS

static int processor_has_instructions(void)
{
    unsigned a, b, c, d;
    int has_bytes = __get_cpuid(1, &a, &b, &c, &d) && c >> 9 & 1; /* SSSE3: bytes are shuffled */
    return has_bytes && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1;
}

/* Four words that were written big-endian. */
__attribute__((target("sha,sse4.1"))) static __m128i load_words(const uint8_t *data)
{
    const __m128i order = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    __m128i bytes;
    memcpy(&bytes, data, sizeof bytes);
    return _mm_shuffle_epi8(bytes, order);
}

/* The next four words of the stretched block, which take the place of those sixteen before. */
__attribute__((target("sha,sse4.1"))) static __m128i next_words(const __m128i words[4], int oldest)
{
    const __m128i *last = &words[(oldest + 3) % 4];
    __m128i seven_before = _mm_alignr_epi8(*last, words[(oldest + 2) % 4], 4);
    __m128i sum = _mm_sha256msg1_epu32(words[oldest], words[(oldest + 1) % 4]);
    return _mm_sha256msg2_epu32(_mm_add_epi32(sum, seven_before), *last);
}

/*
 * The instruction does two rounds: it wants the state as (a b e f) and (c d g h), highest word
 * first, and gives back the new (a b e f); what those were before is the new (c d g h).
 */
__attribute__((target("sha,sse4.1"))) static void stir_by_instruction(uint32_t state[8],
                                                                      const uint8_t *block)
{
    __m128i abef = _mm_set_epi32((int)state[0], (int)state[1], (int)state[4], (int)state[5]);
    __m128i cdgh = _mm_set_epi32((int)state[2], (int)state[3], (int)state[6], (int)state[7]);
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i words[4];
    for (int i = 0; i < 4; i++) {
        words[i] = load_words(block + 16 * i);
    }
    for (int i = 0; i < 16; i++) {
        __m128i constants;
        memcpy(&constants, &round_constants[4 * i], sizeof constants);
        __m128i sum = _mm_add_epi32(words[i % 4], constants);
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
        if (i < 12) {
            words[i % 4] = next_words(words, i % 4);
        }
    }
    uint32_t out[8]; /* f e b a h g d c */
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
    memcpy(out, &abef, sizeof abef);
    memcpy(out + 4, &cdgh, sizeof cdgh);
    static const uint8_t places[8] = {3, 2, 7, 6, 1, 0, 5, 4};
    for (int i = 0; i < 8; i++) {
        state[i] = out[places[i]];
    }
}

#else

static int processor_has_instructions(void)
{
    return 0;
}

#define stir_by_instruction stir_portable

#endif

/* ---- Hashing --------------------------------------------------------------------------------- */

static void stir(struct sha256 *hash, const uint8_t *block)
{
    if (hash->has_instructions) {
        stir_by_instruction(hash->state, block);
    } else {
        stir_portable(hash->state, block);
    }
}

void sha256_begin_portable(struct sha256 *hash)
{
    memset(hash, 0, sizeof *hash);
    memcpy(hash->state, initial_state, sizeof initial_state);
}

/* The processor is asked here and not for every block: where machines are virtual that is slow. */
void sha256_begin(struct sha256 *hash)
{
    sha256_begin_portable(hash);
    hash->has_instructions = processor_has_instructions();
}

void sha256_add(struct sha256 *hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    size_t held = (size_t)(hash->size % SHA256_BLOCK);
    hash->size += size;
    if (held && size >= SHA256_BLOCK - held) {
        size_t missing = SHA256_BLOCK - held;
        memcpy(hash->block + held, bytes, missing);
        stir(hash, hash->block);
        bytes += missing;
        size -= missing;
        held = 0;
    }
    while (size >= SHA256_BLOCK) {
        stir(hash, bytes);
        bytes += SHA256_BLOCK;
        size -= SHA256_BLOCK;
    }
    if (size) {
        memcpy(hash->block + held, bytes, size);
    }
}

/* Behind the message: a bit, zeros, and its length in bits at the end of a block. */
void sha256_end(struct sha256 *hash, uint8_t out[SHA256_BYTES])
{
    uint8_t padding[2 * SHA256_BLOCK] = {0x80};
    uint64_t bits = 8 * hash->size;
    size_t held = (size_t)(hash->size % SHA256_BLOCK);
    size_t size = (held < SHA256_BLOCK - 8 ? SHA256_BLOCK : 2 * SHA256_BLOCK) - held;
    put_big_endian(padding + size - 8, (uint32_t)(bits >> 32));
    put_big_endian(padding + size - 4, (uint32_t)bits);
    sha256_add(hash, padding, size);
    for (int i = 0; i < 8; i++) {
        put_big_endian(out + 4 * i, hash->state[i]);
    }
}

/* ---- HMAC ------------------------------------------------------------------------------------ */

static void add_masked(struct sha256 *hash, const uint8_t key[SHA256_BLOCK], uint8_t mask)
{
    uint8_t block[SHA256_BLOCK];
    for (size_t i = 0; i < SHA256_BLOCK; i++) {
        block[i] = key[i] ^ mask;
    }
    sha256_add(hash, block, sizeof block);
}

void hmac_begin(struct hmac *hmac, const void *key, size_t key_size)
{
    uint8_t block[SHA256_BLOCK] = {0};
    sha256_begin(&hmac->inner);
    if (key_size > SHA256_BLOCK) {
        struct sha256 hash = hmac->inner;
        sha256_add(&hash, key, key_size);
        sha256_end(&hash, block);
    } else if (key_size) {
        memcpy(block, key, key_size);
    }
    hmac->outer = hmac->inner;
    add_masked(&hmac->inner, block, 0x36);
    add_masked(&hmac->outer, block, 0x5c);
}

void hmac_add(struct hmac *hmac, const void *data, size_t size)
{
    sha256_add(&hmac->inner, data, size);
}

void hmac_end(struct hmac *hmac, uint8_t out[SHA256_BYTES])
{
    uint8_t inner[SHA256_BYTES];
    sha256_end(&hmac->inner, inner);
    sha256_add(&hmac->outer, inner, sizeof inner);
    sha256_end(&hmac->outer, out);
}
