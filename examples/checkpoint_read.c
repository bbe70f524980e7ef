/*
 * Reading a checkpoint. The file is untrusted: its lengths are checked against its size before
 * anything is made room for, and nothing of a block is given before its checksum has been verified.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "checkpoint_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define NO_BLOCK UINT64_MAX

struct checkpoint_reader {
    const struct io *io;
    int fd;
    uint64_t file_size;
    struct checkpoint_head head;
    struct checkpoint_foot foot;
    uint32_t seed;
    struct checkpoint_info info;
    uint8_t *head_bytes; /* with the metadata */
    uint8_t *block;      /* of block number `loaded`; its head included */
    uint64_t loaded;     /* or NO_BLOCK */
    uint64_t faulty;     /* offset of what is wrong with the head or the foot */
    uint64_t chained;    /* blocks read from the first on, and the checksum of theirs */
    uint32_t chain;
};

/* Which file it has to be, and whose. Where any will do, there is none of these. */
struct expected {
    uint64_t cluster;
    uint64_t node;
    const struct checkpoint_name *name;
};

/* ---- Opening -------------------------------------------------------------------------------- */

static int read_exactly(const checkpoint_reader *reader, void *out, uint64_t size, uint64_t offset,
                        int *system)
{
    long got = io_read_all(reader->io, reader->fd, out, (size_t)size, offset);
    if (got < 0) {
        *system = (int)got;
        return RAFT_ESTORAGE;
    }
    return (uint64_t)got == size ? RAFT_OK : RAFT_ECORRUPT;
}

static int read_head(checkpoint_reader *reader, int *system, const char **text)
{
    uint8_t fixed[CHECKPOINT_HEAD];
    *text = "the file cannot be read, or has been cut short";
    int result = read_exactly(reader, fixed, sizeof fixed, 0, system);
    if (result != RAFT_OK) {
        return result;
    }
    *text = "the head of the file is damaged";
    result = checkpoint_decode_head(fixed, &reader->head);
    if (result != RAFT_OK) {
        *text = result == RAFT_EVERSION ? "the file was written by another version" : *text;
        return result;
    }
    uint64_t size = checkpoint_head_bytes(reader->head.meta_size);
    reader->head_bytes = malloc((size_t)size);
    if (reader->head_bytes == NULL) {
        *text = "no memory";
        return RAFT_ENOMEM;
    }
    result = read_exactly(reader, reader->head_bytes, size, 0, system);
    return result != RAFT_OK
               ? result
               : checkpoint_verify_head(reader->head_bytes, &reader->head, &reader->seed);
}

static const struct checkpoint_name *name_of(const struct expected *expected)
{
    return expected != NULL ? expected->name : NULL;
}

static int check_owner(const checkpoint_reader *reader, const struct expected *expected,
                       const char **text)
{
    const struct checkpoint_name *name = expected->name;
    if (reader->head.cluster != expected->cluster) {
        *text = "the file belongs to another cluster";
        return RAFT_EFOREIGN;
    }
    if (reader->head.node != expected->node) {
        *text = "the file belongs to another node";
        return RAFT_EFOREIGN;
    }
    *text = "the file has the name of another";
    return reader->head.group == name->group && reader->head.index == name->index &&
                   reader->head.term == name->term
               ? RAFT_OK
               : RAFT_ECORRUPT;
}

static int read_foot(checkpoint_reader *reader, int *system, const char **text)
{
    uint8_t bytes[CHECKPOINT_FOOT];
    *text = "the end of the file is missing or damaged";
    reader->faulty = reader->file_size < sizeof bytes ? 0 : reader->file_size - sizeof bytes;
    if (reader->file_size < checkpoint_head_bytes(reader->head.meta_size) + CHECKPOINT_FOOT) {
        return RAFT_ECORRUPT;
    }
    int result =
        read_exactly(reader, bytes, sizeof bytes, reader->file_size - sizeof bytes, system);
    if (result != RAFT_OK) {
        return result;
    }
    if (!checkpoint_decode_foot(bytes, reader->seed, &reader->foot) ||
        checkpoint_file_bytes(&reader->head, reader->foot.size) != reader->file_size) {
        return RAFT_ECORRUPT;
    }
    uint64_t blocks = checkpoint_block_count(&reader->head, reader->foot.size);
    return reader->foot.blocks == blocks ? RAFT_OK : RAFT_ECORRUPT;
}

static int open_file(checkpoint_reader *reader, const char *path, int *system, const char **text)
{
    *text = "the file cannot be opened";
    reader->fd = io_open_file(reader->io, path, O_RDONLY);
    if (reader->fd < 0) {
        *system = reader->fd == -ENOENT ? 0 : reader->fd;
        return reader->fd == -ENOENT ? RAFT_ESTATE : RAFT_ESTORAGE;
    }
    *system = reader->io->file_size(reader->io->ctx, reader->fd, &reader->file_size);
    return *system < 0 ? RAFT_ESTORAGE : RAFT_OK;
}

static int make_block(checkpoint_reader *reader, const char **text)
{
    /* No larger than what is in the file. */
    uint64_t room = reader->head.block_bytes;
    room = reader->foot.size < room ? reader->foot.size : room;
    reader->block = malloc((size_t)room + CHECKPOINT_BLOCK_HEAD);
    *text = "no memory";
    return reader->block != NULL ? RAFT_OK : RAFT_ENOMEM;
}

static int prepare(checkpoint_reader *reader, const char *path, const struct expected *expected,
                   struct checkpoint_error *error)
{
    int system = 0;
    const char *text = "";
    int result = open_file(reader, path, &system, &text);
    result = result == RAFT_OK ? read_head(reader, &system, &text) : result;
    if (result == RAFT_OK && expected != NULL) {
        result = check_owner(reader, expected, &text);
    }
    result = result == RAFT_OK ? read_foot(reader, &system, &text) : result;
    result = result == RAFT_OK ? make_block(reader, &text) : result;
    if (result != RAFT_OK) {
        checkpoint_explain(error, result, system, name_of(expected), text);
    }
    if (result == RAFT_ECORRUPT && error != NULL) {
        error->offset = reader->faulty;
    }
    return result;
}

static void fill_info(checkpoint_reader *reader)
{
    struct checkpoint_info *info = &reader->info;
    info->group = reader->head.group;
    info->index = reader->head.index;
    info->term = reader->head.term;
    info->meta = reader->head_bytes + CHECKPOINT_HEAD;
    info->meta_size = reader->head.meta_size;
    info->size = reader->foot.size;
    info->cluster = reader->head.cluster;
    info->node = reader->head.node;
}

static int read_path(const struct io *io, const char *path, const struct expected *expected,
                     checkpoint_reader **out, struct checkpoint_error *error)
{
    *out = NULL;
    checkpoint_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return checkpoint_explain(error, RAFT_ENOMEM, 0, name_of(expected), "no memory");
    }
    reader->io = io;
    reader->fd = -1;
    reader->loaded = NO_BLOCK;
    int result = prepare(reader, path, expected, error);
    if (result != RAFT_OK) {
        checkpoint_read_end(reader);
        return result;
    }
    fill_info(reader);
    *out = reader;
    return RAFT_OK;
}

int checkpoint_read_file(const struct checkpoint_options *options,
                         const struct checkpoint_name *name, checkpoint_reader **out,
                         struct checkpoint_error *error)
{
    char path[CHECKPOINT_PATH_MAX];
    checkpoint_path(options->directory, name, path);
    struct expected expected = {options->cluster, options->node, name};
    return read_path(options->io, path, &expected, out, error);
}

int checkpoint_read_path(const struct io *io, const char *path, checkpoint_reader **out,
                         struct checkpoint_error *error)
{
    return read_path(io, path, NULL, out, error);
}

void checkpoint_read_end(checkpoint_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    if (reader->fd >= 0) {
        reader->io->close(reader->io->ctx, reader->fd);
    }
    free(reader->head_bytes);
    free(reader->block);
    free(reader);
}

const struct checkpoint_info *checkpoint_read_info(const checkpoint_reader *reader)
{
    return reader != NULL ? &reader->info : NULL;
}

/* ---- Reading -------------------------------------------------------------------------------- */

/* Who reads all blocks in order learns at the end whether they are the ones that were written. */
static int chain_block(checkpoint_reader *reader, uint64_t number, uint32_t checksum)
{
    if (number != reader->chained) {
        return RAFT_OK;
    }
    reader->chain = checkpoint_chain(reader->chain, checksum);
    reader->chained++;
    return reader->chained < reader->foot.blocks || reader->chain == reader->foot.blocks_crc
               ? RAFT_OK
               : RAFT_ECORRUPT;
}

static int load_block(checkpoint_reader *reader, uint64_t number)
{
    uint64_t block_bytes = reader->head.block_bytes;
    uint64_t left = reader->foot.size - number * block_bytes;
    uint32_t size = (uint32_t)(left < block_bytes ? left : block_bytes);
    uint64_t offset = checkpoint_head_bytes(reader->head.meta_size) +
                      number * (block_bytes + CHECKPOINT_BLOCK_HEAD);
    uint32_t checksum = 0;
    int system;
    if (reader->loaded == number) {
        return RAFT_OK;
    }
    reader->loaded = NO_BLOCK;
    int result = read_exactly(reader, reader->block, CHECKPOINT_BLOCK_HEAD + (uint64_t)size, offset,
                              &system);
    if (result != RAFT_OK) {
        return result;
    }
    if (!checkpoint_verify_block(reader->block, size, number, reader->seed, &checksum)) {
        return RAFT_ECORRUPT;
    }
    result = chain_block(reader, number, checksum);
    reader->loaded = result == RAFT_OK ? number : NO_BLOCK;
    return result;
}

int checkpoint_read_verify(checkpoint_reader *reader, uint64_t *offset)
{
    uint64_t block_bytes = (uint64_t)reader->head.block_bytes + CHECKPOINT_BLOCK_HEAD;
    uint64_t first = checkpoint_head_bytes(reader->head.meta_size);
    reader->loaded = NO_BLOCK;
    reader->chained = 0;
    reader->chain = 0;
    for (uint64_t number = 0; number < reader->foot.blocks; number++) {
        int result = load_block(reader, number);
        if (result != RAFT_OK) {
            *offset = first + number * block_bytes;
            return result;
        }
    }
    return RAFT_OK;
}

int checkpoint_read(checkpoint_reader *reader, uint64_t offset, void *data, size_t capacity,
                    size_t *size)
{
    uint8_t *out = data;
    if (reader == NULL || size == NULL || (data == NULL && capacity > 0) ||
        offset > reader->foot.size) {
        return RAFT_EARG;
    }
    *size = 0;
    while (*size < capacity && offset < reader->foot.size) {
        uint64_t within = offset % reader->head.block_bytes;
        int result = load_block(reader, offset / reader->head.block_bytes);
        if (result != RAFT_OK) {
            *size = 0;
            return result;
        }
        uint64_t piece = reader->head.block_bytes - within;
        piece = piece < reader->foot.size - offset ? piece : reader->foot.size - offset;
        piece = piece < capacity - *size ? piece : capacity - *size;
        memcpy(out + *size, reader->block + CHECKPOINT_BLOCK_HEAD + within, (size_t)piece);
        *size += (size_t)piece;
        offset += piece;
    }
    return RAFT_OK;
}
