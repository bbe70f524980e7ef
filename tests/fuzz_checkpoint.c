/*
 * A checkpoint as input: one is made, damaged as the input says, and opened, recovered and read.
 * Whatever the bytes are, each call refuses with a documented code, or gives no more and no less
 * data than it says there is.
 *
 * The input is one byte (1: it was received and waits for the log's word; 2: the file gets the
 * length in the next two bytes) and a row of edits of four bytes and more: the kind, the offset in
 * bytes (two bytes), the number of bytes that follow, and these. Some kinds sum up the head, or all
 * blocks and the foot anew, so that what lies behind the checksums is reached.
 */
#include "../examples/checkpoint.h"
#include "../examples/checkpoint_format.h"
#include "../examples/crc32c.h"
#include "sim/disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GROUP = 1, INDEX = 9, TERM = 2, META = 20, DATA = 1300, BLOCK = 512, FILE_MAX = 4096 };

static void must(int holds)
{
    if (!holds) {
        abort();
    }
}

static int is_documented(int code)
{
    return code == RAFT_OK || code == RAFT_ESTATE || code == RAFT_ECORRUPT ||
           code == RAFT_EFOREIGN || code == RAFT_EVERSION;
}

/* ---- The file ------------------------------------------------------------------------------- */

static void make(checkpoint_store *store, int received)
{
    uint8_t bytes[DATA], meta[META];
    checkpoint_writer *writer;
    raft_chunk chunk = {0};
    memset(bytes, 0x5a, sizeof bytes);
    memset(meta, 0x33, sizeof meta);
    if (!received) {
        must(checkpoint_begin(store, GROUP, INDEX, TERM, meta, META, &writer) == RAFT_OK);
        must(checkpoint_add(writer, bytes, DATA) == RAFT_OK);
        must(checkpoint_commit(writer) == RAFT_OK);
        return;
    }
    chunk.index = INDEX;
    chunk.term = TERM;
    chunk.data = bytes;
    chunk.size = DATA;
    chunk.last = 1;
    chunk.meta = meta;
    chunk.meta_size = META;
    must(checkpoint_receive(store, GROUP, &chunk) == RAFT_OK);
}

static void put_32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> 8 * i);
    }
}

static uint32_t get_32(const uint8_t *in)
{
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

static size_t head_size(const uint8_t *file, size_t size)
{
    uint64_t head = checkpoint_head_bytes(get_32(file + 64));
    return head < size ? (size_t)head : size;
}

static void sum_head(uint8_t *file, size_t size)
{
    put_32(file + 12, crc32c(crc32c(0, file, 12), file + 16, head_size(file, size) - 16));
}

/* As the head and the blocks say, as far as they lead. */
static void sum_rest(uint8_t *file, size_t size)
{
    uint32_t seed = get_32(file + 12);
    size_t at = head_size(file, size);
    for (uint8_t number = 0; at + 8 <= size - CHECKPOINT_FOOT; number++) {
        uint8_t place[8] = {number};
        size_t left = size - CHECKPOINT_FOOT - at - 8;
        size_t bytes = left < BLOCK ? left : BLOCK;
        put_32(file + at, crc32c(crc32c(seed, place, 8), file + at + 4, bytes + 4));
        at += 8 + bytes;
    }
    uint8_t *foot = file + size - CHECKPOINT_FOOT;
    put_32(foot, crc32c(seed, foot + 4, CHECKPOINT_FOOT - 4));
}

/* Returns the bytes of input that the edit took. */
static size_t edit(uint8_t *file, size_t file_size, const uint8_t *data, size_t size)
{
    size_t offset = ((size_t)data[1] << 8 | data[2]) % file_size;
    size_t count = data[3] & 63;
    count = count < size - 4 ? count : size - 4;
    count = count < file_size - offset ? count : file_size - offset;
    memcpy(file + offset, data + 4, count);
    if ((data[0] & 1) != 0) {
        sum_head(file, file_size);
    }
    if ((data[0] & 2) != 0) {
        sum_rest(file, file_size);
    }
    return 4 + count;
}

static size_t resize(struct disk *disk, const char *path, size_t size)
{
    const struct io *io = disk_io(disk);
    int fd = io->open(io->ctx, path, O_RDWR, 0);
    must(io->ftruncate(io->ctx, fd, size) == 0);
    io->close(io->ctx, fd);
    return size;
}

static void damage(struct disk *disk, const char *path, const uint8_t *data, size_t size)
{
    static uint8_t file[FILE_MAX];
    size_t file_size = (size_t)disk_size(disk, path);
    must(file_size <= FILE_MAX);
    if (size >= 3 && (data[0] & 2) != 0) {
        file_size = resize(disk, path, ((size_t)data[1] << 8 | data[2]) % FILE_MAX);
        data += 2;
        size -= 2;
    }
    must(disk_peek(disk, path, 0, file, file_size) == 0);
    data++;
    size--;
    while (size >= 4 && file_size >= CHECKPOINT_HEAD + CHECKPOINT_FOOT) {
        size_t taken = edit(file, file_size, data, size);
        data += taken;
        size -= taken;
    }
    must(disk_poke(disk, path, 0, file, file_size) == 0);
}

/* ---- Reading it ----------------------------------------------------------------------------- */

static uint64_t sum(const void *bytes, size_t size)
{
    uint64_t total = 0;
    for (size_t i = 0; i < size; i++) {
        total += ((const uint8_t *)bytes)[i];
    }
    return total;
}

/* Every byte that is lent or filled is looked at, for the sanitizers to see. */
static uint64_t read_all(checkpoint_reader *reader)
{
    const struct checkpoint_info *info = checkpoint_read_info(reader);
    uint8_t bytes[300];
    size_t got = 1;
    uint64_t offset = 0;
    uint64_t total = sum(info->meta, info->meta_size);
    int result = RAFT_OK;
    must(info->index == INDEX && info->term == TERM && info->size <= FILE_MAX);
    while (result == RAFT_OK && got > 0) {
        result = checkpoint_read(reader, offset, bytes, sizeof bytes, &got);
        must(is_documented(result) && got <= sizeof bytes && (result == RAFT_OK || got == 0));
        total += sum(bytes, got);
        offset += got;
    }
    must(result != RAFT_OK || offset == info->size);
    for (offset = info->size; offset > 0; offset -= offset < 97 ? offset : 97) {
        result = checkpoint_read(reader, offset - 1, bytes, sizeof bytes, &got);
        must(is_documented(result) && (result != RAFT_OK || got > 0));
        total += sum(bytes, got);
    }
    return total;
}

static void look(const struct checkpoint_options *options, int received)
{
    struct checkpoint_base base = {GROUP, INDEX, TERM};
    struct checkpoint_error error;
    checkpoint_store *store;
    checkpoint_reader *reader;
    volatile uint64_t seen = 0; /* so that what is read is read */
    must(checkpoint_open(options, &error, &store) == RAFT_OK);
    int result = checkpoint_recover(store, &base, received ? 1 : 0, &error);
    must(is_documented(result));
    if (result == RAFT_OK) {
        result = checkpoint_read_begin(store, GROUP, 0, 0, &reader, &error);
        must(is_documented(result) && (result == RAFT_OK) == (reader != NULL));
        seen += result == RAFT_OK ? read_all(reader) : 0;
        checkpoint_read_end(reader);
    }
    (void)seen;
    checkpoint_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct checkpoint_name name = {GROUP, INDEX, TERM, CHECKPOINT_FINAL};
    struct disk_options disk_options = {0};
    struct checkpoint_options options = {0};
    struct checkpoint_error error;
    checkpoint_store *store;
    char path[CHECKPOINT_PATH_MAX];
    int received = size > 0 && (data[0] & 1) != 0;
    struct disk *disk = disk_new(&disk_options);
    must(disk != NULL);
    options.io = disk_io(disk);
    options.directory = "snap";
    options.node = 3;
    options.block_bytes = BLOCK;
    must(checkpoint_open(&options, &error, &store) == RAFT_OK);
    make(store, received);
    checkpoint_close(store);
    name.stage = received ? CHECKPOINT_COMPLETE : CHECKPOINT_FINAL;
    checkpoint_path(options.directory, &name, path);
    if (size > 0) {
        damage(disk, path, data, size);
    }
    look(&options, received);
    look(&options, received);
    disk_free(disk);
    return 0;
}
