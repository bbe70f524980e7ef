/*
 * Checkpoints: what was taken is read back, whatever fails, whenever the power goes, and whatever
 * happens to the bytes; and the three steps of taking one over from a leader.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "check.h"

#include "../examples/checkpoint.h"
#include "../examples/checkpoint_format.h"
#include "sim/disk.h"
#include "sim/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DATA_MAX = 40000, BLOCK = 512 };

static struct {
    struct disk *disk;
    struct checkpoint_options options;
    struct checkpoint_error error;
    checkpoint_store *store;
    struct rng rng;
    struct checkpoint_event events[64];
    size_t event_count;
    char root[256]; /* of a real directory; empty: none */
} t;

/* ---- What is stored: content follows from group and index ----------------------------------- */

static size_t size_of(uint64_t group, raft_index index)
{
    static const size_t sizes[] = {0, 1, 511, 512, 513, 1024, 5000, 20000};
    return sizes[hash_join(group, index) % (sizeof sizes / sizeof sizes[0])];
}

static uint8_t byte_of(uint64_t group, raft_index index, uint64_t offset)
{
    return (uint8_t)hash_join(hash_join(group, index), offset / 3);
}

static void fill(uint64_t group, raft_index index, uint64_t offset, uint8_t *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        out[i] = byte_of(group, index, offset + i);
    }
}

static size_t meta_of(uint64_t group, raft_index index, uint8_t out[64])
{
    size_t size = (size_t)(hash_join(index, group) % 60);
    fill(group, index, 77, out, size);
    return size;
}

static raft_term term_of(raft_index index)
{
    return 1 + index / 10;
}

/* ---- The store under test ------------------------------------------------------------------- */

static void clean_up(void)
{
    checkpoint_close(t.store);
    t.store = NULL;
    disk_free(t.disk);
    t.disk = NULL;
    if (t.root[0] != '\0') {
        char inner[600];
        DIR *directory = opendir(t.root);
        const struct dirent *item;
        while (directory != NULL && (item = readdir(directory)) != NULL) {
            snprintf(inner, sizeof inner, "%s/%s", t.root, item->d_name);
            unlink(inner);
        }
        if (directory != NULL) {
            closedir(directory);
        }
        rmdir(t.root);
    }
    memset(&t, 0, sizeof t);
}

static void begin(uint64_t seed)
{
    struct disk_options disk = {0};
    clean_up();
    disk.seed = seed;
    disk.stale_bytes = 1;
    t.disk = disk_new(&disk);
    t.rng.state = seed ^ 0x636b70;
    t.options.io = disk_io(t.disk);
    t.options.directory = "snap";
    t.options.cluster = 5;
    t.options.node = 3;
    t.options.block_bytes = BLOCK;
}

static void begin_real(int writer_thread)
{
    const char *base = getenv("TMPDIR");
    begin(1);
    snprintf(t.root, sizeof t.root, "%.200s/keelson-ckpt-XXXXXX", base != NULL ? base : "/tmp");
    CHECK(mkdtemp(t.root) != NULL);
    t.options.io = &io_posix;
    t.options.directory = t.root;
    t.options.block_bytes = 4096;
    t.options.writer_thread = writer_thread;
}

static int open_store(void)
{
    return checkpoint_open(&t.options, &t.error, &t.store);
}

static int open_and_recover(const struct checkpoint_base *bases, size_t count)
{
    int result = open_store();
    return result == RAFT_OK ? checkpoint_recover(t.store, bases, count, &t.error) : result;
}

static void close_store(void)
{
    checkpoint_close(t.store);
    t.store = NULL;
}

static void crash(void)
{
    disk_power_off(t.disk);
    close_store();
    disk_restart(t.disk);
    t.event_count = 0;
}

/* The process dies: what it has done is in the kernel's memory, and nothing more is done. */
static void kill_store(void)
{
    struct disk *alive = disk_clone(t.disk, rng_next(&t.rng));
    disk_power_off(t.disk);
    close_store();
    disk_free(t.disk);
    disk_kill(alive);
    t.disk = alive;
    t.options.io = disk_io(alive);
}

static void note_event(void *ctx, const struct checkpoint_event *event)
{
    (void)ctx;
    CHECK(t.event_count < sizeof t.events / sizeof t.events[0]);
    t.events[t.event_count++] = *event;
}

static void collect(void)
{
    checkpoint_collect(t.store, note_event, NULL);
}

/* Waits for that many events since the last were forgotten. */
static void await(size_t count)
{
    collect();
    while (t.event_count < count) {
        struct pollfd ready = {0};
        ready.fd = checkpoint_completion_fd(t.store);
        ready.events = POLLIN;
        CHECK(poll(&ready, 1, 60000) == 1);
        collect();
    }
}

static int add_all(checkpoint_writer *writer, uint64_t group, raft_index index)
{
    uint8_t bytes[3000];
    size_t size = size_of(group, index);
    size_t done = 0;
    while (done < size) {
        size_t piece = 1 + (size_t)rng_below(&t.rng, sizeof bytes - 1);
        piece = piece < size - done ? piece : size - done;
        fill(group, index, done, bytes, piece);
        int result = checkpoint_add(writer, bytes, piece);
        if (result == RAFT_EBUSY) {
            await(1);
            t.event_count = 0;
            continue;
        }
        if (result != RAFT_OK) {
            return result;
        }
        done += piece;
    }
    return RAFT_OK;
}

/* Takes a checkpoint, up to its commit. */
static int take(uint64_t group, raft_index index)
{
    uint8_t meta[64];
    size_t meta_size = meta_of(group, index, meta);
    checkpoint_writer *writer;
    int result = checkpoint_begin(t.store, group, index, term_of(index), meta, meta_size, &writer);
    if (result != RAFT_OK) {
        return result;
    }
    result = add_all(writer, group, index);
    if (result != RAFT_OK) {
        checkpoint_abort(writer);
        return result;
    }
    return checkpoint_commit(writer);
}

/* And whether it was reported as taken. */
static int take_and_collect(uint64_t group, raft_index index)
{
    t.event_count = 0;
    int result = take(group, index);
    if (result != RAFT_OK) {
        return result;
    }
    await(1);
    CHECK_EQ(t.event_count, 1);
    CHECK_EQ(t.events[0].kind, CHECKPOINT_TAKEN);
    CHECK_EQ(t.events[0].group, group);
    CHECK_EQ(t.events[0].index, index);
    CHECK_EQ(t.events[0].term, term_of(index));
    return t.events[0].status;
}

/* Receives one from a leader, in chunks. What checkpoint_receive said last. */
static int receive(uint64_t group, raft_index index, size_t chunk_bytes)
{
    uint8_t meta[64], bytes[DATA_MAX];
    size_t size = size_of(group, index);
    raft_chunk chunk = {0};
    chunk.peer = 2;
    chunk.index = index;
    chunk.term = term_of(index);
    chunk.data = bytes;
    chunk.meta = meta;
    chunk.meta_size = meta_of(group, index, meta);
    for (;;) {
        size_t left = size - (size_t)chunk.offset;
        chunk.size = left < chunk_bytes ? left : chunk_bytes;
        chunk.last = chunk.size == left;
        fill(group, index, chunk.offset, bytes, chunk.size);
        int result = checkpoint_receive(t.store, group, &chunk);
        if (result == RAFT_PENDING) {
            t.event_count = 0;
            await(1);
            CHECK_EQ(t.events[0].kind, CHECKPOINT_RECEIVED);
            CHECK_EQ(t.events[0].peer, 2);
            result = t.events[0].status;
        }
        if (result != RAFT_OK || chunk.last) {
            return result;
        }
        chunk.offset += chunk.size;
        chunk.meta = NULL;
        chunk.meta_size = 0;
    }
}

/* RAFT_OK where all of it reads back as it was; 1 where it reads as something else. */
static int verify(uint64_t group, raft_index index)
{
    uint8_t meta[64], bytes[700], expected[700];
    checkpoint_reader *reader;
    int result = checkpoint_read_begin(t.store, group, index, index == 0 ? 0 : term_of(index),
                                       &reader, &t.error);
    if (result != RAFT_OK) {
        return result;
    }
    const struct checkpoint_info *info = checkpoint_read_info(reader);
    int same = info->index == index && info->group == group && info->term == term_of(index) &&
               info->size == size_of(group, index) &&
               info->meta_size == meta_of(group, index, meta) &&
               memcmp(info->meta, meta, info->meta_size) == 0;
    uint64_t offset = 0;
    size_t size = 1;
    while (same && result == RAFT_OK && size > 0) {
        result = checkpoint_read(reader, offset, bytes, sizeof bytes, &size);
        fill(group, index, offset, expected, size);
        same = memcmp(bytes, expected, size) == 0;
        offset += size;
    }
    same = same && (result != RAFT_OK || offset == info->size);
    checkpoint_read_end(reader);
    return same ? result : 1;
}

static raft_index newest(uint64_t group)
{
    raft_index index = 0;
    raft_term term = 0;
    if (!checkpoint_newest(t.store, group, &index, &term)) {
        return 0;
    }
    CHECK_EQ(term, term_of(index));
    return index;
}

static void path_of(uint64_t group, raft_index index, enum checkpoint_stage stage, char out[256])
{
    char text[CHECKPOINT_NAME_MAX];
    struct checkpoint_name name = {group, index, term_of(index), stage};
    checkpoint_format_name(&name, text);
    snprintf(out, 256, "%s/%s", t.options.directory, text);
}

static int exists(uint64_t group, raft_index index, enum checkpoint_stage stage)
{
    char path[256];
    path_of(group, index, stage, path);
    return t.root[0] != '\0' ? access(path, F_OK) == 0 : disk_size(t.disk, path) >= 0;
}

static int count_one(void *arg, const char *name)
{
    size_t *count = arg;
    *count += strcmp(name, "lock") != 0;
    return 0;
}

static size_t files(void)
{
    const struct io *io = t.options.io;
    size_t count = 0;
    CHECK_EQ(io->list(io->ctx, t.options.directory, count_one, &count), 0);
    return count;
}

/* ---- Format --------------------------------------------------------------------------------- */

static int constant_random(void *ctx, void *data, size_t size)
{
    (void)ctx;
    memset(data, 0x11, size);
    return 0;
}

/* Computed by another program from the description of the format. */
static const uint8_t golden[736] = {
    0x4b, 0x45, 0x45, 0x4c, 0x53, 0x43, 0x4b, 0x50, 0x01, 0x00, 0x00, 0x00, 0x08, 0x6a, 0x72, 0x77,
    0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x2a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
    0x03, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x61, 0x62, 0x63, 0x00, 0x00, 0x00, 0x00, 0x00, 0x49, 0xfa, 0xab, 0x63, 0x00, 0x02, 0x00, 0x00,
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f,
    0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f,
    0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f,
    0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f,
    0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f,
    0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f,
    0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x7b, 0x7c, 0x7d, 0x7e, 0x7f,
    0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f,
    0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f,
    0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
    0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf,
    0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf,
    0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf,
    0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef,
    0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff,
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f,
    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f,
    0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f,
    0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f,
    0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f,
    0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f,
    0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f,
    0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x7b, 0x7c, 0x7d, 0x7e, 0x7f,
    0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f,
    0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f,
    0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf,
    0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf,
    0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf,
    0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf,
    0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef,
    0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff,
    0x97, 0x19, 0xe0, 0x4d, 0x58, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
    0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17,
    0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27,
    0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47,
    0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57,
    0x63, 0xf3, 0x29, 0x05, 0xab, 0x43, 0x4b, 0x50, 0x58, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xe9, 0x56, 0x2b, 0x4e, 0x00, 0x00, 0x00, 0x00,
};

static void the_format_is_what_its_description_says(void)
{
    checkpoint_writer *writer;
    uint8_t found[sizeof golden], data[600];
    begin(1);
    struct io io = *disk_io(t.disk);
    io.random = constant_random;
    t.options.io = &io;
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)i;
    }
    CHECK_EQ(checkpoint_begin(t.store, 42, 31, 4, "abc", 3, &writer), RAFT_OK);
    CHECK_EQ(checkpoint_add(writer, data, sizeof data), RAFT_OK);
    CHECK_EQ(checkpoint_commit(writer), RAFT_OK);
    CHECK_EQ(disk_size(t.disk, "snap/000000000000002a-000000000000001f-0000000000000004"
                               ".checkpoint"),
             (int64_t)sizeof golden);
    CHECK_EQ(disk_peek(t.disk, "snap/000000000000002a-000000000000001f-0000000000000004.checkpoint",
                       0, found, sizeof found),
             0);
    CHECK(memcmp(found, golden, sizeof golden) == 0);
    close_store();
}

/* ---- What it keeps -------------------------------------------------------------------------- */

static void what_was_taken_is_read_back(void)
{
    begin(1);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    for (uint64_t group = 1; group <= 40; group++) {
        CHECK_EQ(newest(group), 0);
        CHECK_EQ(take_and_collect(group, 20), RAFT_OK);
        CHECK_EQ(newest(group), 20);
        CHECK_EQ(verify(group, 20), RAFT_OK);
    }
    crash();
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    for (uint64_t group = 1; group <= 40; group++) {
        CHECK_EQ(newest(group), 20);
        CHECK_EQ(verify(group, 20), RAFT_OK);
    }
    CHECK_EQ(files(), 40);
}

static void any_part_can_be_read(void)
{
    uint8_t bytes[2000], expected[2000];
    checkpoint_reader *reader;
    raft_index index = 1;
    size_t size = 0;
    begin(2);
    while (size_of(7, index) != 20000) {
        index++;
    }
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(take_and_collect(7, index), RAFT_OK);
    CHECK_EQ(checkpoint_read_begin(t.store, 7, 0, 0, &reader, &t.error), RAFT_OK);
    for (int i = 0; i < 500; i++) {
        uint64_t offset = rng_below(&t.rng, 20001);
        size_t wanted = (size_t)rng_below(&t.rng, sizeof bytes + 1);
        size_t left = 20000 - (size_t)offset;
        CHECK_EQ(checkpoint_read(reader, offset, bytes, wanted, &size), RAFT_OK);
        CHECK_EQ(size, wanted < left ? wanted : left);
        fill(7, index, offset, expected, size);
        CHECK(memcmp(bytes, expected, size) == 0);
    }
    CHECK_EQ(checkpoint_read(reader, 20001, bytes, 1, &size), RAFT_EARG);
    checkpoint_read_end(reader);
}

static void the_newest_replaces_the_older(void)
{
    begin(3);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(take_and_collect(1, 10), RAFT_OK);
    CHECK_EQ(take_and_collect(1, 25), RAFT_OK);
    CHECK_EQ(newest(1), 25);
    CHECK(!exists(1, 10, CHECKPOINT_FINAL));
    CHECK_EQ(take(1, 25), RAFT_ESTATE);
    CHECK_EQ(take(1, 24), RAFT_ESTATE);
    CHECK_EQ(take_and_collect(2, 24), RAFT_OK);
    CHECK_EQ(files(), 2);
    CHECK_EQ(verify(1, 25), RAFT_OK);
    CHECK_EQ(verify(2, 24), RAFT_OK);
    CHECK_EQ(verify(1, 10), RAFT_ESTATE);
}

/* Row 59: the second begins, and even ends, before the first is done. */
static void two_in_quick_succession_leave_the_newer(void)
{
    for (int threads = 0; threads <= 1; threads++) {
        for (int order = 0; order <= 1; order++) {
            checkpoint_writer *first, *second;
            begin_real(threads);
            CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
            CHECK_EQ(checkpoint_begin(t.store, 1, 10, term_of(10), NULL, 0, &first), RAFT_OK);
            CHECK_EQ(checkpoint_begin(t.store, 1, 11, term_of(11), NULL, 0, &second), RAFT_OK);
            CHECK_EQ(add_all(second, 1, 11), RAFT_OK);
            CHECK_EQ(add_all(first, 1, 10), RAFT_OK);
            if (order == 0) {
                CHECK_EQ(checkpoint_commit(first), RAFT_OK);
                CHECK_EQ(checkpoint_commit(second), RAFT_OK);
            } else {
                CHECK_EQ(checkpoint_commit(second), RAFT_OK);
                CHECK_EQ(checkpoint_commit(first), RAFT_ESTATE);
            }
            await(order == 0 ? 2 : 1);
            CHECK_EQ(newest(1), 11);
            close_store();
            CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
            CHECK_EQ(newest(1), 11);
            CHECK_EQ(files(), 1);
        }
    }
}

static void a_reader_keeps_what_it_has_opened(void)
{
    uint8_t bytes[600], expected[600];
    checkpoint_reader *reader;
    size_t size;
    raft_index index = 1;
    for (int real = 0; real <= 1; real++) {
        begin(4);
        if (real) {
            begin_real(1);
        }
        while (size_of(1, index) < 5000) {
            index++;
        }
        CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
        CHECK_EQ(take_and_collect(1, index), RAFT_OK);
        CHECK_EQ(checkpoint_read_begin(t.store, 1, 0, 0, &reader, &t.error), RAFT_OK);
        CHECK_EQ(checkpoint_read(reader, 0, bytes, sizeof bytes, &size), RAFT_OK);
        CHECK_EQ(take_and_collect(1, index + 9), RAFT_OK);
        CHECK_EQ(newest(1), index + 9);
        for (uint64_t offset = 0; offset < 4000; offset += size) {
            CHECK_EQ(checkpoint_read(reader, offset, bytes, sizeof bytes, &size), RAFT_OK);
            fill(1, index, offset, expected, size);
            CHECK(memcmp(bytes, expected, size) == 0);
        }
        checkpoint_read_end(reader);
    }
}

static void what_was_aborted_leaves_nothing(void)
{
    checkpoint_writer *writer;
    begin(5);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(checkpoint_begin(t.store, 1, 10, 1, "m", 1, &writer), RAFT_OK);
    CHECK_EQ(add_all(writer, 1, 10), RAFT_OK);
    CHECK_EQ(take(1, 10), RAFT_ESTATE); /* the same one is being taken */
    checkpoint_abort(writer);
    CHECK_EQ(files(), 0);
    CHECK_EQ(checkpoint_begin(t.store, 1, 10, 1, "m", 1, &writer), RAFT_OK);
    CHECK_EQ(checkpoint_add(writer, "x", 1), RAFT_OK);
    close_store();
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(files(), 0);
    CHECK_EQ(newest(1), 0);
    checkpoint_abort(NULL);
    checkpoint_read_end(NULL);
    checkpoint_close(NULL);
}

static void bad_arguments_are_refused(void)
{
    uint8_t meta[RAFT_META_MAX + 1] = {0};
    checkpoint_writer *writer;
    checkpoint_store *store;
    raft_chunk chunk = {0};
    begin(6);
    t.options.node = 0;
    CHECK_EQ(open_store(), RAFT_EARG);
    t.options.node = 3;
    t.options.block_bytes = CHECKPOINT_BLOCK_BYTES_MIN - 1;
    CHECK_EQ(open_store(), RAFT_EARG);
    t.options.block_bytes = CHECKPOINT_BLOCK_BYTES_MAX + 1;
    CHECK_EQ(open_store(), RAFT_EARG);
    t.options.block_bytes = BLOCK;
    t.options.writer_thread = 1; /* the simulated disk has no pipes */
    CHECK_EQ(open_store(), RAFT_EARG);
    t.options.writer_thread = 0;
    CHECK_EQ(checkpoint_open(NULL, NULL, &store), RAFT_EARG);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(checkpoint_open(&t.options, &t.error, &store), RAFT_EBUSY);
    CHECK_EQ(checkpoint_begin(t.store, 0, 1, 1, NULL, 0, &writer), RAFT_EARG);
    CHECK_EQ(checkpoint_begin(t.store, 1, 1, 1, NULL, 1, &writer), RAFT_EARG);
    CHECK_EQ(checkpoint_begin(t.store, 1, 1, 1, meta, sizeof meta, &writer), RAFT_EARG);
    CHECK_EQ(checkpoint_begin(t.store, 1, 1, 1, meta, RAFT_META_MAX, &writer), RAFT_OK);
    CHECK_EQ(checkpoint_add(writer, NULL, 1), RAFT_EARG);
    CHECK_EQ(checkpoint_commit(writer), RAFT_OK);
    CHECK_EQ(checkpoint_commit(NULL), RAFT_EARG);
    CHECK_EQ(checkpoint_receive(t.store, 1, NULL), RAFT_EARG);
    CHECK_EQ(checkpoint_receive(t.store, 1, &chunk), RAFT_EARG);
    CHECK_EQ(checkpoint_send(t.store, 1, &chunk), RAFT_EARG);
    CHECK_EQ(checkpoint_install(t.store, 1, 9, 1), RAFT_ESTATE);
    CHECK_EQ(checkpoint_collect(NULL, NULL, NULL), 0);
    CHECK_EQ(checkpoint_completion_fd(t.store), -1);
}

/* ---- Receiving and installing --------------------------------------------------------------- */

static void what_a_leader_sends_is_installed_when_the_log_says_so(void)
{
    begin(7);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(take_and_collect(1, 10), RAFT_OK);
    for (raft_index index = 11; index < 60; index++) {
        CHECK_EQ(receive(1, index, 1 + (size_t)rng_below(&t.rng, 2000)), RAFT_OK);
        CHECK_EQ(newest(1), index - 1);
        CHECK_EQ(checkpoint_install(t.store, 1, index, term_of(index)), RAFT_OK);
        CHECK_EQ(newest(1), index);
        CHECK_EQ(verify(1, index), RAFT_OK);
        CHECK_EQ(files(), 1);
        CHECK_EQ(checkpoint_install(t.store, 1, index, term_of(index)), RAFT_OK);
    }
    crash();
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(newest(1), 59);
}

/* R39: a piece that does not come next is refused, offset 0 begins anew. */
static void a_wrong_offset_is_refused_and_offset_0_begins_anew(void)
{
    uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    raft_chunk chunk = {0};
    begin(8);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    chunk.index = 30;
    chunk.term = term_of(30);
    chunk.data = bytes;
    chunk.size = 8;
    chunk.offset = 8;
    CHECK_EQ(checkpoint_receive(t.store, 1, &chunk), RAFT_ESTATE);
    chunk.offset = 0;
    CHECK_EQ(checkpoint_receive(t.store, 1, &chunk), RAFT_OK);
    static const uint64_t wrong[] = {7, 9, 16, UINT64_MAX};
    for (size_t i = 0; i < 4; i++) {
        chunk.offset = wrong[i];
        CHECK_EQ(checkpoint_receive(t.store, 1, &chunk), RAFT_ESTATE);
    }
    chunk.offset = 8;
    chunk.term++;
    CHECK_EQ(checkpoint_receive(t.store, 1, &chunk), RAFT_ESTATE);
    chunk.term--;
    CHECK_EQ(checkpoint_receive(t.store, 2, &chunk), RAFT_ESTATE);
    CHECK_EQ(checkpoint_receive(t.store, 1, &chunk), RAFT_OK);
    CHECK_EQ(receive(1, 30, 300), RAFT_OK);
    CHECK_EQ(checkpoint_install(t.store, 1, 30, term_of(30)), RAFT_OK);
    CHECK_EQ(verify(1, 30), RAFT_OK);
    chunk.offset = 0;
    CHECK_EQ(checkpoint_receive(t.store, 1, &chunk), RAFT_ESTATE);
    chunk.index = 31;
    chunk.term = term_of(31);
    CHECK_EQ(checkpoint_receive(t.store, 1, &chunk), RAFT_OK);
    checkpoint_receive_end(t.store, 1);
    CHECK_EQ(files(), 1);
    chunk.offset = 8;
    CHECK_EQ(checkpoint_receive(t.store, 1, &chunk), RAFT_ESTATE);
}

static void after_a_crash_the_log_decides_what_is_in_use(void)
{
    static const struct checkpoint_base none = {1, 0, 0};
    struct checkpoint_base base = {1, 30, 0};
    base.term = term_of(30);
    for (int logged = 0; logged <= 1; logged++) {
        begin(9);
        CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
        CHECK_EQ(take_and_collect(1, 10), RAFT_OK);
        CHECK_EQ(receive(1, 30, 300), RAFT_OK);
        crash();
        CHECK(exists(1, 30, CHECKPOINT_COMPLETE));
        CHECK_EQ(open_and_recover(logged ? &base : &none, 1), RAFT_OK);
        CHECK_EQ(newest(1), logged ? 30 : 10);
        CHECK_EQ(verify(1, logged ? 30 : 10), RAFT_OK);
        CHECK_EQ(files(), 1);
    }
}

static void a_log_whose_checkpoint_is_missing_is_refused(void)
{
    struct checkpoint_base base = {1, 30, 4};
    begin(10);
    CHECK_EQ(open_and_recover(&base, 1), RAFT_ECORRUPT);
    close_store();
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(take_and_collect(1, 29), RAFT_OK);
    close_store();
    CHECK_EQ(open_and_recover(&base, 1), RAFT_ECORRUPT);
    close_store();
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(take_and_collect(1, 31), RAFT_OK);
    close_store();
    CHECK_EQ(open_and_recover(&base, 1), RAFT_OK);
}

/* ---- Sending -------------------------------------------------------------------------------- */

static void several_peers_are_sent_different_ones(void)
{
    uint8_t bytes[3][333], expected[333];
    raft_chunk chunks[3];
    raft_index index = 1;
    begin(11);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    while (size_of(1, index) < 5000 || size_of(1, index + 1) < 5000) {
        index++;
    }
    memset(chunks, 0, sizeof chunks);
    for (int turn = 0; turn < 10; turn++) {
        for (size_t i = 0; i < 3; i++) {
            raft_chunk *chunk = &chunks[i];
            if (turn == 0 && i < 2) {
                CHECK(take_and_collect(1, index + i) == RAFT_OK);
            }
            chunk->peer = i + 1;
            chunk->index = index + (i > 0);
            chunk->term = term_of(chunk->index);
            chunk->data = bytes[i];
            chunk->capacity = sizeof bytes[i];
            CHECK_EQ(checkpoint_send(t.store, 1, chunk), RAFT_OK);
            fill(1, chunk->index, chunk->offset, expected, chunk->size);
            CHECK(memcmp(chunk->data, expected, chunk->size) == 0);
            CHECK_EQ(chunk->last, chunk->offset + chunk->size == size_of(1, chunk->index));
            chunk->offset += chunk->size;
        }
    }
    CHECK(!exists(1, index, CHECKPOINT_FINAL));
    checkpoint_send_end(t.store, 1, 1);
    checkpoint_send_end(t.store, 1, 9);
    CHECK_EQ(checkpoint_send(t.store, 1, &chunks[0]), RAFT_ESTATE);
    chunks[1].offset = size_of(1, index + 1) + 1;
    CHECK_EQ(checkpoint_send(t.store, 1, &chunks[1]), RAFT_EARG);
}

static void what_is_sent_arrives(void)
{
    uint8_t bytes[1000];
    begin(12);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    for (raft_index index = 1; index < 30; index++) {
        CHECK_EQ(take_and_collect(1, index), RAFT_OK);
        raft_chunk chunk = {0};
        chunk.peer = 4;
        chunk.index = index;
        chunk.term = term_of(index);
        chunk.capacity = sizeof bytes;
        uint64_t sum = 0;
        do {
            chunk.offset = sum;
            chunk.data = bytes;
            CHECK_EQ(checkpoint_send(t.store, 1, &chunk), RAFT_OK);
            sum += chunk.size;
        } while (!chunk.last);
        CHECK_EQ(sum, size_of(1, index));
    }
}

/* ---- Damage --------------------------------------------------------------------------------- */

static raft_index make_one(uint64_t seed, char path[256])
{
    raft_index index = 1;
    while (size_of(1, index) != 1024 && size_of(1, index) != 5000) {
        index++;
    }
    begin(seed);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(take_and_collect(1, index), RAFT_OK);
    path_of(1, index, CHECKPOINT_FINAL, path);
    return index;
}

static void a_flipped_bit_anywhere_is_found(void)
{
    char path[256];
    raft_index index = make_one(13, path);
    struct disk *whole = disk_clone(t.disk, 1);
    int64_t size = disk_size(whole, path);
    for (uint64_t byte = 0; byte < (uint64_t)size; byte++) {
        disk_power_off(t.disk);
        close_store();
        disk_free(t.disk);
        t.disk = disk_clone(whole, byte);
        disk_kill(t.disk);
        t.options.io = disk_io(t.disk);
        CHECK_EQ(disk_rot(t.disk, path, byte, 1), 0);
        CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
        int result = verify(1, index);
        CHECK(result == RAFT_ECORRUPT || (result == RAFT_EVERSION && byte / 4 == 2));
    }
    disk_free(whole);
}

static void a_file_of_another_length_is_found(void)
{
    char path[256];
    raft_index index = make_one(14, path);
    uint64_t size = (uint64_t)disk_size(t.disk, path);
    const struct io *io = t.options.io;
    int fd = io->open(io->ctx, path, O_RDWR, 0);
    CHECK_EQ(io->ftruncate(io->ctx, fd, size + 1), 0);
    CHECK_EQ(verify(1, index), RAFT_ECORRUPT);
    for (uint64_t cut = size - 1; cut > 0; cut -= cut > 61 ? 61 : 1) {
        CHECK_EQ(io->ftruncate(io->ctx, fd, cut), 0);
        CHECK_EQ(verify(1, index), RAFT_ECORRUPT);
    }
    CHECK_EQ(io->ftruncate(io->ctx, fd, 0), 0);
    CHECK_EQ(verify(1, index), RAFT_ECORRUPT);
    io->close(io->ctx, fd);
}

/* Row 57: never an older one in its place. */
static void a_damaged_checkpoint_is_not_replaced_by_an_older_one(void)
{
    char path[256];
    uint8_t whole[64 * 1024];
    const struct io *io;
    raft_index index = make_one(15, path);
    io = t.options.io;
    uint64_t size = (uint64_t)disk_size(t.disk, path);
    CHECK(size <= sizeof whole);
    CHECK_EQ(disk_peek(t.disk, path, 0, whole, (size_t)size), 0);
    CHECK_EQ(take_and_collect(1, index + 1), RAFT_OK);
    CHECK(!exists(1, index, CHECKPOINT_FINAL));
    int fd = io->open(io->ctx, path, O_RDWR | O_CREAT, 0600);
    CHECK_EQ(io_write_all(io, fd, whole, (size_t)size, 0), 0);
    io->close(io->ctx, fd);
    path_of(1, index + 1, CHECKPOINT_FINAL, path);
    CHECK_EQ(disk_rot(t.disk, path, 20, 1), 0);
    close_store();
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_ECORRUPT);
    CHECK(exists(1, index, CHECKPOINT_FINAL));
    CHECK_EQ(newest(1), index + 1);
}

static void files_of_others_are_refused(void)
{
    char path[256], other[256];
    raft_index index = make_one(16, path);
    const struct io *io = t.options.io;
    close_store();
    t.options.cluster = 6;
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(verify(1, index), RAFT_EFOREIGN);
    close_store();
    t.options.cluster = 5;
    t.options.node = 4;
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(verify(1, index), RAFT_EFOREIGN);
    close_store();
    t.options.node = 3;
    path_of(2, index, CHECKPOINT_FINAL, other);
    CHECK_EQ(io->rename(io->ctx, path, other), 0);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(newest(2), index);
    checkpoint_reader *reader;
    CHECK_EQ(checkpoint_read_begin(t.store, 2, 0, 0, &reader, &t.error), RAFT_ECORRUPT);
    CHECK(reader == NULL);
    CHECK_STR(t.error.text, "the file has the name of another");
}

static void a_sector_that_cannot_be_read_is_an_error_of_its_own(void)
{
    char path[256];
    raft_index index = make_one(17, path);
    CHECK_EQ(disk_unreadable(t.disk, path, 600, 10), 0);
    CHECK_EQ(verify(1, index), RAFT_ESTORAGE);
}

/* ---- Crashes and failures ------------------------------------------------------------------- */

/* What is durable in the world of the tests below, outside the store. */
static struct {
    raft_index taken;  /* reported */
    raft_index tried;  /* committed, reported or not */
    raft_index logged; /* the log's record names it */
} known;

/* Taking twice and installing once; the log's record is durable in one step. */
static int a_life(void)
{
    struct checkpoint_base base = {1, known.logged, term_of(known.logged)};
    int result = open_and_recover(&base, 1);
    for (raft_index index = 10; result == RAFT_OK && index <= 20; index += 10) {
        known.tried = index;
        result = take_and_collect(1, index);
        known.taken = result == RAFT_OK ? index : known.taken;
    }
    result = result == RAFT_OK ? receive(1, 35, 400) : result;
    if (result == RAFT_OK) {
        known.logged = 35;
        result = checkpoint_install(t.store, 1, 35, term_of(35));
    }
    if (result == RAFT_OK) {
        known.tried = 36;
        result = take_and_collect(1, 36);
        known.taken = result == RAFT_OK ? 36 : known.taken;
    }
    return result;
}

/* Either the old or the new, whole; never older than what was promised. */
static int is_sound(void)
{
    struct checkpoint_base base = {1, known.logged, term_of(known.logged)};
    int result = open_and_recover(&base, 1);
    if (result != RAFT_OK) {
        return 0;
    }
    raft_index least = known.taken > known.logged ? known.taken : known.logged;
    raft_index most = known.tried > known.logged ? known.tried : known.logged;
    raft_index index = newest(1);
    if (index < least || index > most || (index > 0 && verify(1, index) != RAFT_OK)) {
        return 0;
    }
    return files() == (index > 0);
}

static int recovers(void)
{
    if (!is_sound()) {
        return 0;
    }
    raft_index index = newest(1);
    crash();
    if (!is_sound() || newest(1) != index) {
        return 0;
    }
    return take_and_collect(1, 100) == RAFT_OK && newest(1) == 100;
}

static uint64_t calls_of_a_life(uint64_t seed)
{
    begin(seed);
    memset(&known, 0, sizeof known);
    CHECK_EQ(a_life(), RAFT_OK);
    return disk_calls(t.disk);
}

static void say(const char *what, uint64_t call, uint64_t seed)
{
    printf("    %s at call %" PRIu64 ", seed %" PRIu64 ": %s %s\n", what, call, seed, t.error.text,
           t.error.file);
}

static void a_crash_at_any_call_leaves_the_old_or_the_new(void)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t calls = calls_of_a_life(seed);
        for (uint64_t call = 1; call <= calls; call++) {
            begin(seed);
            memset(&known, 0, sizeof known);
            disk_fail_at(t.disk, call, DISK_FAULT_CRASH, 1);
            a_life();
            crash();
            if (!recovers()) {
                say("power failure", call, seed);
                CHECK(0);
            }
        }
    }
}

static void a_failure(enum disk_fault fault, int lasting, uint64_t call, uint64_t seed)
{
    begin(seed);
    memset(&known, 0, sizeof known);
    disk_fail_at(t.disk, call, fault, lasting);
    int result = a_life();
    if (result != RAFT_OK && result != RAFT_ESTORAGE) {
        say("fault", call, seed);
    }
    CHECK(result == RAFT_OK || result == RAFT_ESTORAGE);
    disk_fail_at(t.disk, 0, DISK_FAULT_NONE, 0);
    if (t.store != NULL && newest(1) != 0) {
        CHECK_EQ(verify(1, newest(1)), RAFT_OK); /* service goes on with what there was */
    }
    crash();
    if (!recovers()) {
        say("fault", call, seed);
        CHECK(0);
    }
}

static void every_call_fails_in_turn(enum disk_fault fault, int lasting)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        uint64_t calls = calls_of_a_life(seed);
        for (uint64_t call = 1; call <= calls; call++) {
            a_failure(fault, lasting, call, seed);
        }
    }
}

static void any_call_may_fail_once_or_for_good(void)
{
    every_call_fails_in_turn(DISK_FAULT_EIO, 0);
    every_call_fails_in_turn(DISK_FAULT_EIO, 1);
    every_call_fails_in_turn(DISK_FAULT_ENOSPC, 0);
    every_call_fails_in_turn(DISK_FAULT_ENOSPC, 1);
    every_call_fails_in_turn(DISK_FAULT_PARTIAL, 0);
    every_call_fails_in_turn(DISK_FAULT_EINTR, 0);
}

static void short_transfers_are_no_failures(void)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        begin(seed);
        memset(&known, 0, sizeof known);
        disk_fail_at(t.disk, 1, DISK_FAULT_SHORT, 1);
        CHECK_EQ(a_life(), RAFT_OK);
        CHECK_EQ(verify(1, 36), RAFT_OK);
    }
}

/* The process died between a rename and the sync behind it; the next one relies on what it sees. */
static void what_was_seen_once_stays(void)
{
    int seen_new = 0;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        uint64_t call = 1 + seed % 40;
        begin(seed);
        CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
        CHECK_EQ(take_and_collect(1, 10), RAFT_OK);
        disk_fail_at(t.disk, disk_calls(t.disk) + call, DISK_FAULT_EIO, 1);
        (void)take_and_collect(1, 20);
        kill_store();
        disk_fail_at(t.disk, 0, DISK_FAULT_NONE, 0);
        CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
        raft_index index = newest(1);
        CHECK(index == 10 || index == 20);
        seen_new += index == 20;
        crash();
        CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
        CHECK_EQ(newest(1), index);
        CHECK_EQ(verify(1, index), RAFT_OK);
    }
    CHECK(seen_new > 0);
}

/* A failed attempt is as if it had not been made: the same can be tried again. */
static void after_a_failure_the_same_can_be_taken_again(void)
{
    begin(18);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(take_and_collect(1, 10), RAFT_OK);
    uint64_t calls = disk_calls(t.disk);
    CHECK_EQ(take_and_collect(2, 20), RAFT_OK);
    calls = disk_calls(t.disk) - calls;
    for (uint64_t call = 1; call <= calls; call++) {
        disk_fail_at(t.disk, disk_calls(t.disk) + call, DISK_FAULT_ENOSPC, 0);
        if (take_and_collect(1, 10 + call) != RAFT_OK) {
            disk_fail_at(t.disk, 0, DISK_FAULT_NONE, 0);
            CHECK_EQ(verify(1, newest(1)), RAFT_OK);
            CHECK_EQ(take_and_collect(1, 10 + call), RAFT_OK);
        }
        disk_fail_at(t.disk, 0, DISK_FAULT_NONE, 0);
        CHECK_EQ(newest(1), 10 + call);
    }
}

/* ---- On the real system --------------------------------------------------------------------- */

static void the_thread_does_the_same(void)
{
    begin_real(1);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    for (raft_index index = 1; index < 40; index += 2) {
        CHECK_EQ(take_and_collect(1, index), RAFT_OK);
        CHECK_EQ(verify(1, index), RAFT_OK);
        CHECK_EQ(receive(2, index, 1000), RAFT_OK);
        t.event_count = 0;
        CHECK_EQ(checkpoint_install(t.store, 2, index, term_of(index)), RAFT_PENDING);
        CHECK_EQ(verify(2, index), RAFT_OK);
        await(1);
        CHECK_EQ(t.events[0].kind, CHECKPOINT_INSTALLED);
        CHECK_EQ(t.events[0].status, RAFT_OK);
        CHECK_EQ(newest(2), index);
        CHECK_EQ(verify(2, index), RAFT_OK);
    }
    close_store();
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(newest(1), 39);
    CHECK_EQ(newest(2), 39);
    CHECK_EQ(files(), 2);
}

static void a_full_queue_pushes_back(void)
{
    checkpoint_writer *writer;
    uint8_t *bytes = calloc(1, 100000);
    int refused = 0;
    begin_real(1);
    t.options.queue_bytes = 50000;
    CHECK(bytes != NULL);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(checkpoint_begin(t.store, 1, 5, 1, NULL, 0, &writer), RAFT_OK);
    for (int i = 0; i < 300;) {
        int result = checkpoint_add(writer, bytes, 40000);
        CHECK(result == RAFT_OK || result == RAFT_EBUSY);
        i += result == RAFT_OK;
        if (result == RAFT_EBUSY) {
            refused++;
            t.event_count = 0;
            await(1);
            CHECK_EQ(t.events[0].kind, CHECKPOINT_ROOM);
        }
    }
    free(bytes);
    CHECK(refused > 0);
    t.event_count = 0;
    CHECK_EQ(checkpoint_commit(writer), RAFT_OK);
    await(1);
    CHECK_EQ(t.events[t.event_count - 1].status, RAFT_OK);
    checkpoint_reader *reader;
    CHECK_EQ(checkpoint_read_begin(t.store, 1, 0, 0, &reader, NULL), RAFT_OK);
    CHECK_EQ(checkpoint_read_info(reader)->size, 300 * 40000);
    checkpoint_read_end(reader);
}

static void closing_in_the_midst_keeps_what_was_committed(void)
{
    checkpoint_writer *writer;
    begin_real(1);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(take(1, 10), RAFT_OK);
    CHECK_EQ(take(2, 11), RAFT_OK);
    CHECK_EQ(checkpoint_begin(t.store, 3, 5, 1, NULL, 0, &writer), RAFT_OK);
    CHECK_EQ(add_all(writer, 3, 5), RAFT_OK);
    close_store();
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(verify(1, 10), RAFT_OK);
    CHECK_EQ(verify(2, 11), RAFT_OK);
    CHECK_EQ(newest(3), 0);
    CHECK_EQ(files(), 2);
}

static void files_are_private_and_links_are_not_followed(void)
{
    char path[256], target[300];
    struct stat status;
    begin_real(0);
    CHECK_EQ(open_and_recover(NULL, 0), RAFT_OK);
    CHECK_EQ(take_and_collect(1, 10), RAFT_OK);
    path_of(1, 10, CHECKPOINT_FINAL, path);
    CHECK_EQ(stat(path, &status), 0);
    CHECK_EQ(status.st_mode & 0777, 0600);
    snprintf(target, sizeof target, "%s/target", t.root);
    CHECK_EQ(rename(path, target), 0);
    CHECK_EQ(symlink(target, path), 0);
    CHECK_EQ(verify(1, 10), RAFT_ESTORAGE);
    CHECK_EQ(t.error.system, ELOOP);
}

int main(void)
{
    RUN(the_format_is_what_its_description_says);
    RUN(what_was_taken_is_read_back);
    RUN(any_part_can_be_read);
    RUN(the_newest_replaces_the_older);
    RUN(two_in_quick_succession_leave_the_newer);
    RUN(a_reader_keeps_what_it_has_opened);
    RUN(what_was_aborted_leaves_nothing);
    RUN(bad_arguments_are_refused);
    RUN(what_a_leader_sends_is_installed_when_the_log_says_so);
    RUN(a_wrong_offset_is_refused_and_offset_0_begins_anew);
    RUN(after_a_crash_the_log_decides_what_is_in_use);
    RUN(a_log_whose_checkpoint_is_missing_is_refused);
    RUN(several_peers_are_sent_different_ones);
    RUN(what_is_sent_arrives);
    RUN(a_flipped_bit_anywhere_is_found);
    RUN(a_file_of_another_length_is_found);
    RUN(a_damaged_checkpoint_is_not_replaced_by_an_older_one);
    RUN(files_of_others_are_refused);
    RUN(a_sector_that_cannot_be_read_is_an_error_of_its_own);
    RUN(a_crash_at_any_call_leaves_the_old_or_the_new);
    RUN(any_call_may_fail_once_or_for_good);
    RUN(short_transfers_are_no_failures);
    RUN(what_was_seen_once_stays);
    RUN(after_a_failure_the_same_can_be_taken_again);
    RUN(the_thread_does_the_same);
    RUN(a_full_queue_pushes_back);
    RUN(closing_in_the_midst_keeps_what_was_committed);
    RUN(files_are_private_and_links_are_not_followed);
    clean_up();
    return check_done();
}
