/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a short-input hash that nobody can aim at without the
 * key.
 */
#ifndef RAFTKV_SIPHASH_H
#define RAFTKV_SIPHASH_H

#include "buffer.h"

struct siphash_key {
    uint64_t low;
    uint64_t high;
};

uint64_t siphash(struct siphash_key key, struct slice bytes);

/* Eight bytes as a little-endian number. */
uint64_t load_u64(const uint8_t bytes[8]);

#endif
