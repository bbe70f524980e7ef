/*
 * The simulator's only source of chance (splitmix64) and its hash. Integers only, so that a seed
 * means the same run on every machine.
 */
#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rng {
    uint64_t state;
};

/* A bijection of 64 bits that leaves no visible pattern. */
static inline uint64_t mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return x;
}

/* Joins a word to a hash; the order of joining matters. */
static inline uint64_t hash_join(uint64_t hash, uint64_t word)
{
    return mix64((hash ^ word) + UINT64_C(0x9e3779b97f4a7c15) + (hash << 6));
}

static inline uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)data;
    uint64_t word;
    hash = hash_join(hash, size);
    for (; size >= 8; bytes += 8, size -= 8) {
        memcpy(&word, bytes, 8);
        hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
        hash ^= hash >> 29;
    }
    for (word = 0; size > 0; size--) {
        word = word << 8 | bytes[size - 1];
    }
    return hash_join(hash, word);
}

static inline uint64_t rng_next(struct rng *rng)
{
    rng->state += UINT64_C(0x9e3779b97f4a7c15);
    return mix64(rng->state);
}

/* A generator of its own for one purpose, so that purposes do not disturb each other. */
static inline struct rng rng_fork(struct rng *rng, uint64_t purpose)
{
    struct rng fork = {hash_join(rng_next(rng), purpose)};
    return fork;
}

/* Below bound; 0 where bound is 0. */
static inline uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    return bound == 0 ? 0 : rng_next(rng) % bound;
}

/* From low to high, both included. */
static inline uint64_t rng_between(struct rng *rng, uint64_t low, uint64_t high)
{
    return low + rng_below(rng, high - low + 1);
}

/* True with a probability in parts of a million. */
static inline int rng_chance(struct rng *rng, uint32_t ppm)
{
    return ppm != 0 && rng_below(rng, 1000000) < ppm;
}

/*
 * Exponentially distributed with this mean, near enough: the number of halvings (coin tosses until
 * heads) plus a linear part between two of them. At most about 40 times the mean.
 */
static inline uint64_t rng_exponential(struct rng *rng, uint64_t mean)
{
    uint64_t draw = rng_next(rng);
    uint64_t fraction = draw & 0x3ff;
    uint64_t halvings = 0;
    for (draw >>= 10; halvings < 54 && (draw & 1) == 0; draw >>= 1) {
        halvings++;
    }
    return mean * (halvings * 1024 + fraction) * 683 / (1024 * 1024);
}

#endif
