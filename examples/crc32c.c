/*
 * CRC-32C two ways: by the instruction of SSE 4.2 where the compiler can make it and the processor
 * has it, else eight bytes at a step through tables.
 *
 * Row k of the table holds, for every value of a byte, what that byte adds to the checksum when k
 * more bytes follow it. A checksum is linear, so a row is the sums of eight numbers, one for each
 * bit of the byte: they stand below and the preprocessor does the adding.
 */
#include "crc32c.h"

#include <string.h>

#define PICK(value, bit, number) (((value) >> (bit)&1u) != 0 ? (number) : 0u)
#define BYTE(v, a, b, c, d, e, f, g, h)                                                            \
    (PICK(v, 0, a) ^ PICK(v, 1, b) ^ PICK(v, 2, c) ^ PICK(v, 3, d) ^ PICK(v, 4, e) ^               \
     PICK(v, 5, f) ^ PICK(v, 6, g) ^ PICK(v, 7, h))
#define BYTES_4(v, ...)                                                                            \
    BYTE((v), __VA_ARGS__), BYTE((v) + 1u, __VA_ARGS__), BYTE((v) + 2u, __VA_ARGS__),              \
        BYTE((v) + 3u, __VA_ARGS__)
#define BYTES_16(v, ...)                                                                           \
    BYTES_4((v), __VA_ARGS__), BYTES_4((v) + 4u, __VA_ARGS__), BYTES_4((v) + 8u, __VA_ARGS__),     \
        BYTES_4((v) + 12u, __VA_ARGS__)
#define BYTES_64(v, ...)                                                                           \
    BYTES_16((v), __VA_ARGS__), BYTES_16((v) + 16u, __VA_ARGS__),                                  \
        BYTES_16((v) + 32u, __VA_ARGS__), BYTES_16((v) + 48u, __VA_ARGS__)
#define BYTES(...)                                                                                 \
    BYTES_64(0u, __VA_ARGS__), BYTES_64(64u, __VA_ARGS__), BYTES_64(128u, __VA_ARGS__),            \
        BYTES_64(192u, __VA_ARGS__)

/* clang-format off */
static const uint32_t table[8][256] = {
    {BYTES(0xf26b8303u, 0xe13b70f7u, 0xc79a971fu, 0x8ad958cfu,
           0x105ec76fu, 0x20bd8edeu, 0x417b1dbcu, 0x82f63b78u)},
    {BYTES(0x13a29877u, 0x274530eeu, 0x4e8a61dcu, 0x9d14c3b8u,
           0x3fc5f181u, 0x7f8be302u, 0xff17c604u, 0xfbc3faf9u)},
    {BYTES(0xa541927eu, 0x4f6f520du, 0x9edea41au, 0x38513ec5u,
           0x70a27d8au, 0xe144fb14u, 0xc76580d9u, 0x8b277743u)},
    {BYTES(0xdd45aab8u, 0xbf672381u, 0x7b2231f3u, 0xf64463e6u,
           0xe964b13du, 0xd725148bu, 0xaba65fe7u, 0x52a0c93fu)},
    {BYTES(0x38116facu, 0x7022df58u, 0xe045beb0u, 0xc5670b91u,
           0x8f2261d3u, 0x1ba8b557u, 0x37516aaeu, 0x6ea2d55cu)},
    {BYTES(0xef306b19u, 0xdb8ca0c3u, 0xb2f53777u, 0x6006181fu,
           0xc00c303eu, 0x85f4168du, 0x0e045bebu, 0x1c08b7d6u)},
    {BYTES(0x68032cc8u, 0xd0065990u, 0xa5e0c5d1u, 0x4e2dfd53u,
           0x9c5bfaa6u, 0x3d5b83bdu, 0x7ab7077au, 0xf56e0ef4u)},
    {BYTES(0x493c7d27u, 0x9278fa4eu, 0x211d826du, 0x423b04dau,
           0x847609b4u, 0x0d006599u, 0x1a00cb32u, 0x34019664u)},
};
/* clang-format on */

static uint32_t one_byte(uint32_t state, uint8_t byte)
{
    return table[0][(state ^ byte) & 0xffu] ^ state >> 8;
}

static uint32_t eight_bytes(uint32_t state, const uint8_t *bytes)
{
    state ^= (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
             (uint32_t)bytes[3] << 24;
    return table[7][state & 0xffu] ^ table[6][state >> 8 & 0xffu] ^ table[5][state >> 16 & 0xffu] ^
           table[4][state >> 24] ^ table[3][bytes[4]] ^ table[2][bytes[5]] ^ table[1][bytes[6]] ^
           table[0][bytes[7]];
}

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint32_t state = ~crc;
    for (; size >= 8; bytes += 8, size -= 8) {
        state = eight_bytes(state, bytes);
    }
    for (; size > 0; bytes++, size--) {
        state = one_byte(state, *bytes);
    }
    return ~state;
}

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__)) && !defined(__TINYC__)

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *data,
                                                               size_t size)
{
    const uint8_t *bytes = data;
    uint64_t state = ~crc;
    for (; size >= 8; bytes += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, bytes, sizeof word);
        state = __builtin_ia32_crc32di(state, word);
    }
    uint32_t narrow = (uint32_t)state;
    for (; size > 0; bytes++, size--) {
        narrow = __builtin_ia32_crc32qi(narrow, *bytes);
    }
    return ~narrow;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    if (__builtin_cpu_supports("sse4.2")) {
        return crc32c_sse42(crc, data, size);
    }
    return crc32c_portable(crc, data, size);
}

#else

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    return crc32c_portable(crc, data, size);
}

#endif
