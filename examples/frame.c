/*
 * Hello and frames. What is read here comes from anybody who can connect: every size is compared
 * with a limit and with the bytes present before it is used, and everything that should be zero is
 * looked at, so that there is one way of writing each thing.
 */
#include "frame.h"
#include "crc32c.h"
#include "secret.h"

#include <string.h>
#include <sys/uio.h>

/* No text protocol begins like this, and the last byte finds 7-bit and line-end conversions. */
static const uint8_t hello_magic[8] = {'K', 'E', 'E', 'L', 'S', 'O', 'N', 0x8d};

enum {
    HELLO_AT_VERSION = 8,
    HELLO_AT_ADDRESS_SIZE = 12,
    HELLO_AT_CLUSTER = 16,
    HELLO_AT_FROM = 24,
    HELLO_AT_TO = 32,
    HELLO_AT_CHECKSUM = 40,
    HELLO_AT_SECRET = 44
};

static void put_u32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> 8 * i);
    }
}

static void put_u64(uint8_t *out, uint64_t value)
{
    put_u32(out, (uint32_t)value);
    put_u32(out + 4, (uint32_t)(value >> 32));
}

static uint32_t get_u32(const uint8_t *data)
{
    return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
           (uint32_t)data[3] << 24;
}

static uint64_t get_u64(const uint8_t *data)
{
    return get_u32(data) | (uint64_t)get_u32(data + 4) << 32;
}

static size_t round_up(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static int is_zero(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (data[i]) {
            return 0;
        }
    }
    return 1;
}

/* ---- hello ---- */

static uint32_t hello_checksum(const uint8_t *data, size_t size)
{
    uint32_t crc = crc32c(0, data, HELLO_AT_CHECKSUM);

    return crc32c(crc, data + HELLO_AT_SECRET, size - HELLO_AT_SECRET);
}

size_t hello_encode(const struct hello *hello, uint8_t out[HELLO_BYTES_MAX])
{
    const char *end = memchr(hello->address, 0, sizeof hello->address);
    size_t address_size = end ? (size_t)(end - hello->address) : 0;
    size_t size = HELLO_BYTES_MIN + round_up(address_size);

    memset(out, 0, size);
    memcpy(out, hello_magic, sizeof hello_magic);
    put_u32(out + HELLO_AT_VERSION, HELLO_VERSION);
    put_u32(out + HELLO_AT_ADDRESS_SIZE, (uint32_t)address_size);
    put_u64(out + HELLO_AT_CLUSTER, hello->cluster);
    put_u64(out + HELLO_AT_FROM, hello->from);
    put_u64(out + HELLO_AT_TO, hello->to);
    put_u32(out + HELLO_AT_SECRET, hello->has_secret ? 1 : 0);
    memcpy(out + HELLO_BYTES_MIN, hello->address, address_size);
    put_u32(out + HELLO_AT_CHECKSUM, hello_checksum(out, size));
    return size;
}

/* The size of the hello that data begins with, 0 where that is not there yet, or a reason. */
static long hello_size(const uint8_t *data, size_t size)
{
    uint32_t address_size;

    if (memcmp(data, hello_magic, size < sizeof hello_magic ? size : sizeof hello_magic)) {
        return -TRANSPORT_MAGIC;
    }
    if (size < HELLO_VERSION_BYTES) {
        return 0;
    }
    if (get_u32(data + HELLO_AT_VERSION) != HELLO_VERSION) {
        return -TRANSPORT_VERSION;
    }
    address_size = get_u32(data + HELLO_AT_ADDRESS_SIZE);
    if (address_size > HELLO_ADDRESS_MAX) {
        return -TRANSPORT_LENGTH;
    }
    return (long)(HELLO_BYTES_MIN + round_up(address_size));
}

long hello_decode(const uint8_t *data, size_t size, struct hello *hello)
{
    long total = hello_size(data, size);
    const uint8_t *address = data + HELLO_BYTES_MIN;
    uint32_t address_size;

    if (total <= 0) {
        return total;
    }
    if (size < (size_t)total) {
        return 0;
    }
    if (get_u32(data + HELLO_AT_CHECKSUM) != hello_checksum(data, (size_t)total)) {
        return -TRANSPORT_CHECKSUM;
    }
    address_size = get_u32(data + HELLO_AT_ADDRESS_SIZE);
    if (get_u32(data + HELLO_AT_SECRET) > 1 ||
        !is_zero(address + address_size, round_up(address_size) - address_size) ||
        memchr(address, 0, address_size)) {
        return -TRANSPORT_LENGTH;
    }
    memset(hello, 0, sizeof *hello);
    hello->cluster = get_u64(data + HELLO_AT_CLUSTER);
    hello->from = get_u64(data + HELLO_AT_FROM);
    hello->to = get_u64(data + HELLO_AT_TO);
    hello->has_secret = get_u32(data + HELLO_AT_SECRET) == 1;
    memcpy(hello->address, address, address_size);
    return total;
}

/* ---- frames ---- */

size_t frame_padded(size_t message_bytes)
{
    return round_up(message_bytes);
}

void frame_prefix(size_t message_bytes, uint8_t out[FRAME_PREFIX])
{
    put_u32(out, (uint32_t)message_bytes);
    put_u32(out + 4, 0);
}

static uint32_t parts_size(const struct iovec *parts, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    return (uint32_t)size;
}

void frame_header(const struct iovec *body, size_t part_count, uint8_t out[FRAME_HEADER])
{
    put_u32(out, parts_size(body, part_count));
    uint32_t crc = crc32c(0, out, 4);
    for (size_t i = 0; i < part_count; i++) {
        crc = crc32c(crc, body[i].iov_base, body[i].iov_len);
    }
    put_u32(out + 4, crc);
}

/* The number is never sent: both sides count, so it cannot be pretended. */
static void compute_seal(struct frame_key *key, const uint8_t header[FRAME_HEADER],
                         const struct iovec *body, size_t part_count, uint8_t seal[FRAME_SEAL])
{
    struct hmac hmac = key->keyed;
    uint8_t number[8];
    put_u64(number, key->number++);
    hmac_add(&hmac, number, sizeof number);
    hmac_add(&hmac, header, FRAME_HEADER);
    for (size_t i = 0; i < part_count; i++) {
        hmac_add(&hmac, body[i].iov_base, body[i].iov_len);
    }
    hmac_end(&hmac, seal);
}

void frame_seal(const struct iovec *body, size_t part_count, struct frame_key *key,
                uint8_t header[FRAME_HEADER], uint8_t seal[FRAME_SEAL])
{
    put_u32(header, parts_size(body, part_count));
    put_u32(header + 4, 0);
    if (key) {
        compute_seal(key, header, body, part_count, seal);
    } else {
        memset(seal, 0, FRAME_SEAL);
    }
}

size_t frame_seal_next(uint8_t *data, struct frame_key *key)
{
    size_t size = FRAME_HEADER + get_u32(data);
    struct iovec body = {data + FRAME_HEADER, size - FRAME_HEADER};
    compute_seal(key, data, &body, 1, data + size);
    return size + FRAME_SEAL;
}

static int is_sealed_by(struct frame_key *key, const uint8_t *data, size_t body_bytes)
{
    const uint8_t *body = data + FRAME_HEADER;
    struct iovec part = {(void *)(uintptr_t)body, body_bytes};
    uint8_t seal[FRAME_SEAL];
    compute_seal(key, data, &part, 1, seal);
    return secret_equal(seal, body + body_bytes, sizeof seal);
}

long frame_next(const uint8_t *data, size_t size, size_t frame_bytes_max, struct frame_key *key,
                struct frame *frame)
{
    size_t body, whole;

    if (size < 4) {
        return 0;
    }
    body = get_u32(data);
    if (body % 8 || body < FRAME_BYTES_MIN - FRAME_HEADER ||
        body > frame_bytes_max - FRAME_HEADER) {
        return -TRANSPORT_LENGTH;
    }
    whole = FRAME_HEADER + body + (key ? FRAME_SEAL : 0);
    if (size < whole) {
        return 0;
    }
    if (key && !is_sealed_by(key, data, body)) {
        return -TRANSPORT_SEAL;
    }
    if (!key && get_u32(data + 4) != crc32c(crc32c(0, data, 4), data + FRAME_HEADER, body)) {
        return -TRANSPORT_CHECKSUM;
    }
    *frame = (struct frame){data + FRAME_HEADER, body};
    return (long)whole;
}

int frame_message(struct frame *frame, raft_message *message)
{
    const uint8_t *data = frame->data;
    size_t size, padded;

    if (!frame->size) {
        return 0;
    }
    if (frame->size < FRAME_PREFIX || !is_zero(data + 4, 4)) {
        return -TRANSPORT_LENGTH;
    }
    size = get_u32(data);
    data += FRAME_PREFIX;
    if (size > frame->size - FRAME_PREFIX) {
        return -TRANSPORT_LENGTH; /* before it is rounded up, which could pass the 32 bits */
    }
    padded = round_up(size);
    if (padded > frame->size - FRAME_PREFIX || !is_zero(data + size, padded - size)) {
        return -TRANSPORT_LENGTH;
    }
    if (raft_decode(data, size, message)) {
        return -TRANSPORT_MESSAGE;
    }
    frame->data += FRAME_PREFIX + padded;
    frame->size -= FRAME_PREFIX + padded;
    return 1;
}
