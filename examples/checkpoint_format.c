/*
 * Encoding and decoding of checkpoints. Byte by byte and little-endian, so that a directory can be
 * carried to another machine.
 *
 *     head                                 block                        foot
 *      0  8  "KEELSCKP"                    0  4  checksum of number,    0  4  checksum of the rest
 *      8  4  format version                      size and data          4  4  "\xab" "CKP"
 *     12  4  checksum of all else          4  4  bytes of data          8  8  bytes of data
 *     16  8  cluster                       8     data                  16  8  blocks
 *     24  8  node                                                      24  4  checksum of the
 *     32  8  group                                                            blocks' checksums
 *     40  8  index                                                     28  4  zeros
 *     48  8  term
 *     56  8  salt
 *     64  4  bytes of metadata
 *     68  4  bytes of data in a block, the last one apart
 *     72  8  zeros
 *     80     metadata, padded to eight bytes
 *
 * The checksums of blocks and foot begin with that of the head, which has a salt in it: what
 * belongs to another file, or to another place of this one, does not pass for what belongs here.
 * All blocks but the last are full, so that the place of every byte is known, and so is the size of
 * the file.
 */
#include "checkpoint_format.h"

#include "crc32c.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const uint8_t head_magic[8] = {'K', 'E', 'E', 'L', 'S', 'C', 'K', 'P'};
static const uint8_t foot_magic[4] = {0xab, 'C', 'K', 'P'};
static const char *const suffixes[] = {"local", "incoming", "received", "checkpoint"};

static void put_32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
    out[2] = (uint8_t)(value >> 16);
    out[3] = (uint8_t)(value >> 24);
}

static void put_64(uint8_t *out, uint64_t value)
{
    put_32(out, (uint32_t)value);
    put_32(out + 4, (uint32_t)(value >> 32));
}

static uint32_t get_32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static uint64_t get_64(const uint8_t *in)
{
    return (uint64_t)get_32(in) | (uint64_t)get_32(in + 4) << 32;
}

/* ---- Names ---------------------------------------------------------------------------------- */

void checkpoint_format_name(const struct checkpoint_name *name, char out[CHECKPOINT_NAME_MAX])
{
    snprintf(out, CHECKPOINT_NAME_MAX, "%016" PRIx64 "-%016" PRIx64 "-%016" PRIx64 ".%s",
             name->group, name->index, name->term, suffixes[name->stage]);
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int parse_number(const char *text, char behind, uint64_t *number)
{
    *number = 0;
    for (int i = 0; i < 16; i++) {
        if (digit_of(text[i]) < 0) {
            return 0;
        }
        *number = *number << 4 | (uint64_t)digit_of(text[i]);
    }
    return text[16] == behind;
}

int checkpoint_parse_name(const char *text, struct checkpoint_name *name)
{
    if (strlen(text) < 51 || !parse_number(text, '-', &name->group) ||
        !parse_number(text + 17, '-', &name->index) || !parse_number(text + 34, '.', &name->term)) {
        return 0;
    }
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        if (strcmp(text + 51, suffixes[i]) == 0) {
            name->stage = (enum checkpoint_stage)i;
            return 1;
        }
    }
    return 0;
}

void checkpoint_path(const char *directory, const struct checkpoint_name *name,
                     char out[CHECKPOINT_PATH_MAX])
{
    char text[CHECKPOINT_NAME_MAX];
    checkpoint_format_name(name, text);
    snprintf(out, CHECKPOINT_PATH_MAX, "%s/%s", directory, text);
}

int checkpoint_explain(struct checkpoint_error *error, int code, int system,
                       const struct checkpoint_name *name, const char *text)
{
    if (error != NULL) {
        memset(error, 0, sizeof *error);
        error->code = code;
        error->system = system < 0 ? -system : system;
        if (name != NULL) {
            checkpoint_format_name(name, error->file);
        }
        snprintf(error->text, sizeof error->text, "%s", text);
    }
    return code;
}

/* ---- Sizes ---------------------------------------------------------------------------------- */

uint64_t checkpoint_head_bytes(uint32_t meta_size)
{
    return CHECKPOINT_HEAD + ((uint64_t)meta_size + 7) / 8 * 8;
}

uint64_t checkpoint_block_count(const struct checkpoint_head *head, uint64_t data_size)
{
    return data_size / head->block_bytes + (data_size % head->block_bytes != 0);
}

uint64_t checkpoint_file_bytes(const struct checkpoint_head *head, uint64_t data_size)
{
    if (data_size > INT64_MAX / 2) {
        return 0;
    }
    return checkpoint_head_bytes(head->meta_size) + data_size +
           checkpoint_block_count(head, data_size) * CHECKPOINT_BLOCK_HEAD + CHECKPOINT_FOOT;
}

/* ---- The head ------------------------------------------------------------------------------- */

static uint32_t head_checksum(const uint8_t *head, uint64_t size)
{
    return crc32c(crc32c(0, head, 12), head + 16, (size_t)size - 16);
}

uint32_t checkpoint_encode_head(const struct checkpoint_head *head, const void *meta, uint8_t *out)
{
    uint64_t size = checkpoint_head_bytes(head->meta_size);
    memset(out, 0, (size_t)size);
    memcpy(out, head_magic, sizeof head_magic);
    put_32(out + 8, CHECKPOINT_FORMAT_VERSION);
    put_64(out + 16, head->cluster);
    put_64(out + 24, head->node);
    put_64(out + 32, head->group);
    put_64(out + 40, head->index);
    put_64(out + 48, head->term);
    put_64(out + 56, head->salt);
    put_32(out + 64, head->meta_size);
    put_32(out + 68, head->block_bytes);
    if (head->meta_size > 0) {
        memcpy(out + CHECKPOINT_HEAD, meta, head->meta_size);
    }
    uint32_t checksum = head_checksum(out, size);
    put_32(out + 12, checksum);
    return checksum;
}

/* The version is looked at first: others may have other fields. */
int checkpoint_decode_head(const uint8_t in[CHECKPOINT_HEAD], struct checkpoint_head *head)
{
    if (memcmp(in, head_magic, sizeof head_magic) != 0) {
        return RAFT_ECORRUPT;
    }
    if (get_32(in + 8) != CHECKPOINT_FORMAT_VERSION) {
        return RAFT_EVERSION;
    }
    head->cluster = get_64(in + 16);
    head->node = get_64(in + 24);
    head->group = get_64(in + 32);
    head->index = get_64(in + 40);
    head->term = get_64(in + 48);
    head->salt = get_64(in + 56);
    head->meta_size = get_32(in + 64);
    head->block_bytes = get_32(in + 68);
    if (head->meta_size > RAFT_META_MAX || head->block_bytes < CHECKPOINT_BLOCK_BYTES_MIN ||
        head->block_bytes > CHECKPOINT_BLOCK_BYTES_MAX) {
        return RAFT_ECORRUPT;
    }
    return RAFT_OK;
}

int checkpoint_verify_head(const uint8_t *in, const struct checkpoint_head *head, uint32_t *seed)
{
    *seed = head_checksum(in, checkpoint_head_bytes(head->meta_size));
    return get_32(in + 12) == *seed ? RAFT_OK : RAFT_ECORRUPT;
}

/* ---- Blocks --------------------------------------------------------------------------------- */

static uint32_t block_checksum(const uint8_t *block, uint32_t size, uint64_t number, uint32_t seed)
{
    uint8_t place[8];
    put_64(place, number);
    return crc32c(crc32c(seed, place, sizeof place), block + 4, (size_t)size + 4);
}

uint32_t checkpoint_encode_block(uint8_t *block, uint32_t size, uint64_t number, uint32_t seed)
{
    put_32(block + 4, size);
    uint32_t checksum = block_checksum(block, size, number, seed);
    put_32(block, checksum);
    return checksum;
}

int checkpoint_verify_block(const uint8_t *block, uint32_t size, uint64_t number, uint32_t seed,
                            uint32_t *checksum)
{
    *checksum = get_32(block);
    return get_32(block + 4) == size && block_checksum(block, size, number, seed) == *checksum;
}

uint32_t checkpoint_chain(uint32_t chain, uint32_t checksum)
{
    uint8_t bytes[4];
    put_32(bytes, checksum);
    return crc32c(chain, bytes, sizeof bytes);
}

/* ---- The foot ------------------------------------------------------------------------------- */

void checkpoint_encode_foot(const struct checkpoint_foot *foot, uint32_t seed,
                            uint8_t out[CHECKPOINT_FOOT])
{
    memset(out, 0, CHECKPOINT_FOOT);
    memcpy(out + 4, foot_magic, sizeof foot_magic);
    put_64(out + 8, foot->size);
    put_64(out + 16, foot->blocks);
    put_32(out + 24, foot->blocks_crc);
    put_32(out, crc32c(seed, out + 4, CHECKPOINT_FOOT - 4));
}

int checkpoint_decode_foot(const uint8_t in[CHECKPOINT_FOOT], uint32_t seed,
                           struct checkpoint_foot *foot)
{
    if (memcmp(in + 4, foot_magic, sizeof foot_magic) != 0 ||
        get_32(in) != crc32c(seed, in + 4, CHECKPOINT_FOOT - 4)) {
        return 0;
    }
    foot->size = get_64(in + 8);
    foot->blocks = get_64(in + 16);
    foot->blocks_crc = get_32(in + 24);
    return 1;
}
