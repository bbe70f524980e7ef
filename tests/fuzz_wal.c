/*
 * The disk as input: a log of two files is made, damaged as the input says, and opened. Whatever
 * the bytes are, opening either refuses with a documented code or gives a log that can be appended
 * to and reads back the same, and one more.
 *
 * The input is a row of edits of four bytes and more: the kind, the offset in words of eight (two
 * bytes), the number of bytes that follow, and these. Half of the kinds sum up the record or the
 * head of the file that they touch anew, so that what lies behind the checksums is reached.
 */
#include "../examples/crc32c.h"
#include "../examples/wal_format.h"
#include "journal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_BYTES = 16384 };

static const char *const paths[2] = {JOURNAL_FIRST_FILE, "log/0000000000000002.wal"};

struct replay {
    size_t writes;
    uint64_t hash;
};

/* Reads every byte that is lent, for the sanitizers to see. */
static int take(void *ctx, uint64_t group, const raft_write *write)
{
    struct replay *replay = ctx;
    replay->writes++;
    replay->hash = hash_join(replay->hash, journal_fingerprint(group, write));
    return 0;
}

static void read_file(struct journal *journal, int file, uint8_t *bytes)
{
    if (disk_peek(journal->disk, paths[file], 0, bytes, FILE_BYTES) != 0) {
        abort();
    }
}

static void write_file(struct journal *journal, int file, const uint8_t *bytes)
{
    if (disk_poke(journal->disk, paths[file], 0, bytes, FILE_BYTES) != 0) {
        abort();
    }
}

static void put_checksum(uint8_t *out, uint32_t checksum)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(checksum >> 8 * i);
    }
}

static uint32_t checksum_of_head(const uint8_t *bytes)
{
    return crc32c(crc32c(0, bytes, 12), bytes + 16, WAL_SEGMENT_HEAD - 16);
}

static uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word = 0;
    for (int i = 7; i >= 0; i--) {
        word = word << 8 | bytes[i];
    }
    return word;
}

/* Makes the checksums of the record at an offset hold, whatever it says. */
static void sum_record(uint8_t *bytes, size_t offset)
{
    uint8_t place[8] = {(uint8_t)offset, (uint8_t)(offset >> 8)};
    uint64_t record_size = word_at(bytes + offset + 8);
    if (record_size >= WAL_RECORD_MIN && record_size <= FILE_BYTES - offset) {
        put_checksum(bytes + offset + 4, crc32c(0, bytes + offset + WAL_RECORD_HEAD,
                                                (size_t)record_size - WAL_RECORD_HEAD));
    }
    uint32_t seed = checksum_of_head(bytes);
    put_checksum(bytes + offset,
                 crc32c(crc32c(seed, place, 8), bytes + offset + 4, WAL_RECORD_HEAD - 4));
}

/* All records from the first on, as far as their sizes lead. */
static void sum_all_records(uint8_t *bytes)
{
    size_t offset = WAL_DATA_START;
    while (offset + WAL_RECORD_MIN <= FILE_BYTES) {
        uint64_t record_size = word_at(bytes + offset + 8);
        sum_record(bytes, offset);
        if (record_size < WAL_RECORD_MIN || record_size > FILE_BYTES - offset) {
            break;
        }
        offset += (size_t)record_size;
    }
}

/* Returns the bytes of input that the edit took. */
static size_t edit(uint8_t files[2][FILE_BYTES], const uint8_t *data, size_t size)
{
    uint8_t *bytes = files[data[0] & 1];
    size_t offset = ((size_t)data[1] << 8 | data[2]) * 8 % FILE_BYTES;
    size_t count = data[3] & 63;
    count = count < size - 4 ? count : size - 4;
    count = count < FILE_BYTES - offset ? count : FILE_BYTES - offset;
    memcpy(bytes + offset, data + 4, count);
    if ((data[0] & 2) != 0) {
        put_checksum(bytes + 12, checksum_of_head(bytes));
    }
    if ((data[0] & 4) != 0 && offset + WAL_RECORD_MIN <= FILE_BYTES) {
        sum_record(bytes, offset);
    }
    if ((data[0] & 8) != 0) {
        sum_all_records(bytes);
    }
    if ((data[0] & 16) != 0) {
        memset(bytes + offset / 512 * 512, 0, 512);
    }
    return 4 + count;
}

static void damage(struct journal *journal, const uint8_t *data, size_t size)
{
    static uint8_t files[2][FILE_BYTES];
    read_file(journal, 0, files[0]);
    read_file(journal, 1, files[1]);
    while (size >= 4) {
        size_t taken = edit(files, data, size);
        data += taken;
        size -= taken;
    }
    write_file(journal, 0, files[0]);
    write_file(journal, 1, files[1]);
}

static int is_documented(int code)
{
    return code == RAFT_OK || code == RAFT_EFOREIGN || code == RAFT_EVERSION ||
           code == RAFT_ECORRUPT;
}

/* Two files of some records each; the second ends without a mark. */
static void make_log(struct journal *journal)
{
    static const size_t sizes[] = {8, 200, 4000, 6000, 3000, 520, 64};
    journal_init(journal, 1);
    if (journal_open(journal) != RAFT_OK) {
        abort();
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        journal_append_sized(journal, 1 + i % 2, sizes[i]);
        journal_append_sized(journal, 3, 8);
        journal_commit(journal);
    }
    journal_kill(journal);
}

/* Entries that were never such, or of which the record lies, are refused when read back. */
static void read_back(wal *log)
{
    static uint8_t room[4096];
    for (uint64_t group = 1; group <= 3; group++) {
        for (raft_index first = 1; first < 1000; first += 37) {
            raft_fetch fetch = {0};
            fetch.first = first;
            fetch.last = first + 9;
            fetch.term = 1 + first % 10;
            fetch.data = room;
            fetch.capacity = sizeof room;
            int result = wal_read(log, group, &fetch);
            if ((result != RAFT_OK && result != RAFT_ESIZE && result != RAFT_ESTATE &&
                 result != RAFT_ECORRUPT) ||
                (result == RAFT_OK && (fetch.count == 0 || fetch.size > sizeof room))) {
                abort();
            }
        }
    }
}

static void append_one(struct journal *journal, wal *log)
{
    raft_range range = {1, 1, 1, 8, journal->pool};
    raft_write write = {0};
    write.ranges = &range;
    write.range_count = 1;
    if (wal_append(log, 1, &write) != RAFT_PENDING || wal_commit(log) != RAFT_OK ||
        wal_close(log) != RAFT_OK) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct journal journal;
    struct replay first = {0, 0}, second = {0, 0};
    wal *log = NULL;
    make_log(&journal);
    damage(&journal, data, size);
    int result = wal_open(&journal.options, take, &first, &journal.error, &log);
    if (!is_documented(result) || (result != RAFT_OK && log != NULL)) {
        abort();
    }
    if (result == RAFT_OK) {
        read_back(log);
        append_one(&journal, log);
        result = wal_open(&journal.options, take, &second, &journal.error, &log);
        if (result != RAFT_OK || second.writes != first.writes + 1) {
            abort();
        }
        wal_close(log);
    }
    journal_free(&journal);
    return 0;
}
