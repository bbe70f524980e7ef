/*
 * The write-ahead log on the real system: files, permissions, locks, and the writer thread.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "check.h"
#include "journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 512

#ifdef __APPLE__
#define MODIFIED(about) ((about).st_mtimespec)
#else
#define MODIFIED(about) ((about).st_mtim)
#endif

/* A directory of one test, and a log in it. */
static struct {
    char root[PATH_BYTES - 64];
    char log[PATH_BYTES - 32];
    struct io io; /* io_posix, for tests that break a call of it */
    struct wal_options options;
    struct wal_error error;
    wal *log_handle;
    uint64_t pool[4096];
    uint64_t issued[5000];
    size_t issued_count;
    size_t replayed_count;
    uint64_t next_reported; /* the seq that must be reported next */
    size_t failed_count;
} t;

static void remove_directory(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *item;
    char inner[PATH_BYTES + 256];
    while (directory != NULL && (item = readdir(directory)) != NULL) {
        snprintf(inner, sizeof inner, "%s/%s", path, item->d_name);
        unlink(inner);
    }
    if (directory != NULL) {
        closedir(directory);
    }
    rmdir(path);
}

static void clean_up(void)
{
    wal_close(t.log_handle);
    t.log_handle = NULL;
    if (t.root[0] != '\0') {
        remove_directory(t.log);
        remove_directory(t.root);
    }
}

static void begin(int writer_thread)
{
    const char *base = getenv("TMPDIR");
    struct rng rng = {42};
    clean_up();
    memset(&t, 0, sizeof t);
    snprintf(t.root, sizeof t.root, "%.400s/keelson-wal-XXXXXX", base != NULL ? base : "/tmp");
    CHECK(mkdtemp(t.root) != NULL);
    snprintf(t.log, sizeof t.log, "%s/log", t.root);
    t.io = io_posix;
    t.options.io = &t.io;
    t.options.directory = t.log;
    t.options.cluster = 1;
    t.options.node = 2;
    t.options.segment_bytes = 256 * 1024;
    t.options.writer_thread = writer_thread;
    t.next_reported = 1;
    for (size_t i = 0; i < sizeof t.pool / sizeof t.pool[0]; i++) {
        t.pool[i] = rng_next(&rng);
    }
}

static int check_replayed(void *ctx, uint64_t group, const raft_write *write)
{
    (void)ctx;
    CHECK(t.replayed_count < t.issued_count);
    CHECK_EQ(journal_fingerprint(group, write), t.issued[t.replayed_count]);
    t.replayed_count++;
    return 0;
}

static int open_log(void)
{
    t.replayed_count = 0;
    t.next_reported = t.issued_count + 1;
    return wal_open(&t.options, check_replayed, NULL, &t.error, &t.log_handle);
}

static int close_log(void)
{
    int result = wal_close(t.log_handle);
    t.log_handle = NULL;
    return result;
}

static int append(uint64_t group, size_t bytes)
{
    size_t n = t.issued_count;
    raft_range range = {n + 1, 1, 1, bytes, t.pool + n % 1024};
    raft_write write = {0};
    write.seq = n + 1;
    write.has_state = n % 3 == 0;
    write.state.term = n;
    write.ranges = &range;
    write.range_count = 1;
    int result = wal_append(t.log_handle, group, &write);
    if (result == RAFT_PENDING) {
        t.issued[t.issued_count++] = journal_fingerprint(group, &write);
    }
    return result;
}

static void check_done_in_order(void *ctx, uint64_t group, uint64_t seq, int status)
{
    (void)ctx;
    CHECK_EQ(group, 1 + (seq - 1) % 4);
    CHECK_EQ(seq, t.next_reported);
    t.next_reported++;
    t.failed_count += status != RAFT_OK;
}

static void wait_for_reports(void)
{
    while (t.next_reported <= t.issued_count) {
        struct pollfd ready = {0};
        ready.fd = wal_completion_fd(t.log_handle);
        ready.events = POLLIN;
        if (ready.fd >= 0) {
            CHECK(poll(&ready, 1, 60000) == 1);
        }
        CHECK(wal_collect(t.log_handle, check_done_in_order, NULL) > 0);
    }
}

static void append_and_wait(int count, size_t bytes)
{
    for (int i = 0; i < count; i++) {
        CHECK_EQ(append(1 + t.issued_count % 4, bytes), RAFT_PENDING);
        CHECK_EQ(wal_commit(t.log_handle), RAFT_OK);
        wait_for_reports();
    }
}

static void a_log_on_real_files_is_replayed(void)
{
    begin(0);
    for (int session = 0; session < 3; session++) {
        CHECK_EQ(open_log(), RAFT_OK);
        CHECK_EQ(t.replayed_count, t.issued_count);
        append_and_wait(40, 8000);
        CHECK_EQ(close_log(), RAFT_OK);
    }
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(t.replayed_count, 120);
    CHECK(wal_recovered(t.log_handle)->segments > 3);
}

static void files_are_private(void)
{
    struct stat status;
    char path[PATH_BYTES];
    begin(0);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(stat(t.log, &status), 0);
    CHECK_EQ(status.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s/%016x.wal", t.log, 1u);
    CHECK_EQ(stat(path, &status), 0);
    CHECK_EQ(status.st_mode & 0777, 0600);
    CHECK_EQ(status.st_size, 256 * 1024);
    snprintf(path, sizeof path, "%s/lock", t.log);
    CHECK_EQ(stat(path, &status), 0);
    CHECK_EQ(status.st_mode & 0777, 0600);
}

static void symbolic_links_are_not_followed(void)
{
    char path[PATH_BYTES], other[PATH_BYTES];
    begin(0);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(close_log(), RAFT_OK);
    snprintf(path, sizeof path, "%s/%016x.wal", t.log, 1u);
    snprintf(other, sizeof other, "%s/elsewhere", t.log);
    CHECK_EQ(rename(path, other), 0);
    CHECK_EQ(symlink(other, path), 0);
    CHECK_EQ(open_log(), RAFT_ESTORAGE);
    CHECK_EQ(t.error.system, ELOOP);
}

static void no_descriptor_is_left_open(void)
{
    begin(1);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(close_log(), RAFT_OK);
    int before = dup(0);
    close(before);
    CHECK_EQ(open_log(), RAFT_OK);
    append_and_wait(60, 8000);
    CHECK_EQ(close_log(), RAFT_OK);
    t.options.node = 9;
    CHECK_EQ(open_log(), RAFT_EFOREIGN);
    int after = dup(0);
    close(after);
    CHECK_EQ(after, before);
}

static void a_locked_directory_is_refused_until_it_is_closed(void)
{
    wal *second = NULL;
    begin(0);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(wal_open(&t.options, NULL, NULL, &t.error, &second), RAFT_EBUSY);
    CHECK_EQ(close_log(), RAFT_OK);
    CHECK_EQ(open_log(), RAFT_OK);
}

/* ---- Only looked at ---- */

static int open_read_only(void)
{
    t.options.read_only = 1;
    t.options.writer_thread = 0;
    return open_log();
}

/* Leaves 60 writes in the directory, of which the last is cut short. */
static void leave_torn_log(void)
{
    struct stat status;
    char path[PATH_BYTES];
    uint8_t rest = 1;
    begin(0);
    CHECK_EQ(open_log(), RAFT_OK);
    append_and_wait(60, 8000);
    struct wal_stats stats;
    wal_get_stats(t.log_handle, &stats);
    CHECK_EQ(close_log(), RAFT_OK);
    snprintf(path, sizeof path, "%s/%016x.wal", t.log, (unsigned)stats.segments);
    CHECK_EQ(stat(path, &status), 0);
    int fd = open(path, O_RDWR);
    CHECK_EQ(pwrite(fd, &rest, 1, status.st_size - 100), 1); /* of a batch whose rest is lost */
    close(fd);
}

/* Names, sizes and times; what has a name more or less, or was written to, gives another sum. */
static uint64_t directory_sum(void)
{
    DIR *directory = opendir(t.log);
    const struct dirent *item;
    uint64_t sum = 0;
    CHECK(directory != NULL);
    while ((item = readdir(directory)) != NULL) {
        char path[PATH_BYTES + 256];
        struct stat status;
        snprintf(path, sizeof path, "%s/%s", t.log, item->d_name);
        CHECK_EQ(stat(path, &status), 0);
        sum += (uint64_t)status.st_ino * 31 + (uint64_t)status.st_size +
               (uint64_t)MODIFIED(status).tv_sec * 7 + (uint64_t)MODIFIED(status).tv_nsec;
    }
    closedir(directory);
    return sum;
}

static void a_log_that_is_only_looked_at_is_not_changed(void)
{
    raft_range range = {1, 1, 1, 8, t.pool};
    raft_write write = {.seq = 1, .ranges = &range, .range_count = 1};
    leave_torn_log();
    uint64_t before = directory_sum();
    t.options.cluster = 0;
    t.options.node = 0;
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(open_read_only(), RAFT_OK);
        CHECK_EQ(t.replayed_count, 60);
        CHECK(wal_recovered(t.log_handle)->torn);
        CHECK_EQ(wal_recovered(t.log_handle)->cluster, 1);
        CHECK_EQ(wal_recovered(t.log_handle)->node, 2);
        CHECK_EQ(wal_append(t.log_handle, 1, &write), RAFT_ESTORAGE);
        CHECK_EQ(wal_trim(t.log_handle, 1, 50, 50), RAFT_OK);
        CHECK_EQ(wal_failed(t.log_handle), EROFS);
        CHECK_EQ(close_log(), RAFT_OK);
    }
    CHECK_EQ(directory_sum(), before);
    t.options.node = 3;
    CHECK_EQ(open_read_only(), RAFT_EFOREIGN);
}

static void who_only_looks_makes_nothing_and_minds_the_lock(void)
{
    wal *second = NULL;
    char path[PATH_BYTES];
    begin(0);
    CHECK_EQ(open_read_only(), RAFT_ESTORAGE); /* there is no directory, and there will be none */
    CHECK_EQ(t.error.system, ENOENT);
    t.options.read_only = 0;
    CHECK_EQ(open_log(), RAFT_OK);
    struct wal_options looking = t.options;
    looking.read_only = 1;
    CHECK_EQ(wal_open(&looking, NULL, NULL, &t.error, &second), RAFT_EBUSY);
    CHECK_EQ(close_log(), RAFT_OK);
    snprintf(path, sizeof path, "%s/lock", t.log);
    CHECK_EQ(unlink(path), 0);
    CHECK_EQ(open_read_only(), RAFT_OK);
    CHECK_EQ(access(path, F_OK), -1);
    CHECK_EQ(close_log(), RAFT_OK);
    t.options.writer_thread = 1;
    CHECK_EQ(open_log(), RAFT_EARG);
}

static void expect_stored(void *ctx, uint64_t group, uint64_t seq, int status)
{
    (void)ctx;
    (void)group;
    (void)seq;
    CHECK_EQ(status, RAFT_OK);
}

/* Entries of terms 1, 1, 2, 2: whoever does not know that is told, and gets those of one term. */
static void entries_are_read_by_who_does_not_know_their_term(void)
{
    raft_entry entry = {.data = "payload", .size = 7, .kind = RAFT_ENTRY_DATA};
    uint8_t bytes[16];
    uint8_t room[64];
    begin(0);
    CHECK_EQ(raft_entry_encode(&entry, bytes, sizeof bytes), RAFT_OK);
    CHECK_EQ(open_log(), RAFT_OK);
    for (raft_index index = 1; index <= 4; index++) {
        raft_range range = {index, 1 + (index > 2), 1, 16, bytes};
        raft_write write = {.seq = index, .ranges = &range, .range_count = 1};
        CHECK_EQ(wal_append(t.log_handle, 1, &write), RAFT_PENDING);
    }
    CHECK_EQ(wal_commit(t.log_handle), RAFT_OK);
    CHECK_EQ(wal_collect(t.log_handle, expect_stored, NULL), 4);
    for (raft_index first = 1; first <= 4; first++) {
        raft_fetch fetch = {1, first, 4, 0, room, sizeof room, 0, 0};
        CHECK_EQ(wal_read(t.log_handle, 1, &fetch), RAFT_OK);
        CHECK_EQ(fetch.term, 1 + (first > 2));
        CHECK_EQ(fetch.count, first % 2 == 1 ? 2 : 1);
    }
    raft_fetch wrong = {1, 2, 3, 1, room, sizeof room, 0, 0};
    CHECK_EQ(wal_read(t.log_handle, 1, &wrong), RAFT_ECORRUPT); /* who thinks to know is told so */
    raft_fetch narrow = {1, 3, 4, 0, room, 8, 0, 0};
    CHECK_EQ(wal_read(t.log_handle, 1, &narrow), RAFT_ESIZE);
    CHECK_EQ(narrow.size, 16);
    CHECK_EQ(narrow.term, 2);
}

/*
 * A record may cut the log and append nothing, as Multi-Paxos does (P6). What is appended next
 * stands behind the record of what was cut, and is what is read.
 */
static void what_was_cut_by_a_record_of_its_own_is_not_read_again(void)
{
    static const raft_term terms[] = {1, 1, 1, 0, 2};
    static const raft_index firsts[] = {1, 2, 3, 0, 3};
    raft_entry entry = {.data = "payload", .size = 7, .kind = RAFT_ENTRY_DATA};
    uint8_t bytes[16];
    uint8_t room[64];
    begin(0);
    CHECK_EQ(raft_entry_encode(&entry, bytes, sizeof bytes), RAFT_OK);
    CHECK_EQ(open_log(), RAFT_OK);
    for (uint64_t i = 0; i < 5; i++) {
        raft_range range = {firsts[i], terms[i], 1, 16, bytes};
        raft_write write = {.seq = i + 1, .ranges = &range, .range_count = terms[i] != 0};
        write.truncate_from = terms[i] == 0 ? 3 : 0;
        CHECK_EQ(wal_append(t.log_handle, 1, &write), RAFT_PENDING);
    }
    CHECK_EQ(wal_commit(t.log_handle), RAFT_OK);
    CHECK_EQ(wal_collect(t.log_handle, expect_stored, NULL), 5);
    raft_fetch kept = {1, 2, 3, 0, room, sizeof room, 0, 0};
    CHECK_EQ(wal_read(t.log_handle, 1, &kept), RAFT_OK);
    CHECK_EQ(kept.term, 1);
    CHECK_EQ(kept.count, 1);
    raft_fetch new = {1, 3, 3, 2, room, sizeof room, 0, 0};
    CHECK_EQ(wal_read(t.log_handle, 1, &new), RAFT_OK);
    CHECK_EQ(new.count, 1);
}

static void a_directory_that_cannot_be_made_is_an_error(void)
{
    begin(0);
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/missing/log", t.root);
    t.options.directory = path;
    CHECK_EQ(open_log(), RAFT_ESTORAGE);
    CHECK_EQ(t.error.system, ENOENT);
    CHECK(t.log_handle == NULL);
}

static void the_writer_thread_reports_in_order(void)
{
    begin(1);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK(wal_completion_fd(t.log_handle) >= 0);
    for (int i = 0; i < 2000; i++) {
        CHECK_EQ(append(1 + t.issued_count % 4, 8 + 8 * (size_t)(i % 200)), RAFT_PENDING);
        if (i % 3 == 0) {
            CHECK_EQ(wal_commit(t.log_handle), RAFT_OK);
        }
        if (i % 7 == 0) {
            wal_collect(t.log_handle, check_done_in_order, NULL);
        }
    }
    CHECK_EQ(wal_commit(t.log_handle), RAFT_OK);
    wait_for_reports();
    CHECK_EQ(t.failed_count, 0);
    struct wal_stats stats;
    wal_get_stats(t.log_handle, &stats);
    CHECK_EQ(stats.writes, 2000);
    CHECK(stats.syncs < 2000);
    CHECK_EQ(close_log(), RAFT_OK);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(t.replayed_count, 2000);
}

static void closing_finishes_what_the_thread_has_not_begun(void)
{
    begin(1);
    CHECK_EQ(open_log(), RAFT_OK);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(append(1 + t.issued_count % 4, 4000), RAFT_PENDING);
    }
    CHECK_EQ(close_log(), RAFT_OK);
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(t.replayed_count, 100);
}

/* ---- Trimming and reading while the thread writes -------------------------------------------- */

enum { TRIM_GROUPS = 20, TRIM_WRITES = 6000, TRIM_LAST_WRITES = 1000, TRIM_PAYLOAD = 800 };

static struct {
    uint8_t entries[TRIM_WRITES][8 + TRIM_PAYLOAD]; /* of one write each, lent */
    raft_index last[TRIM_GROUPS + 1];
    raft_index stored[TRIM_GROUPS + 1];
    raft_index replayed[TRIM_GROUPS + 1];
    raft_index trimmed[TRIM_GROUPS + 1];
} trim;

static int append_entry(uint64_t group, size_t number)
{
    uint64_t payload[TRIM_PAYLOAD / 8];
    raft_index index = ++trim.last[group];
    for (size_t i = 0; i < TRIM_PAYLOAD / 8; i++) {
        payload[i] = group << 32 | index;
    }
    raft_entry entry = {index, 1, payload, sizeof payload, RAFT_ENTRY_DATA};
    CHECK_EQ(raft_entry_encode(&entry, trim.entries[number], sizeof trim.entries[number]), RAFT_OK);
    raft_range range = {index, 1, 1, sizeof trim.entries[number], trim.entries[number]};
    raft_write write = {0};
    write.seq = index;
    write.has_state = index == 1;
    write.state.term = 1;
    write.ranges = &range;
    write.range_count = 1;
    return wal_append(t.log_handle, group, &write);
}

static void note_stored(void *ctx, uint64_t group, uint64_t seq, int status)
{
    (void)ctx;
    CHECK_EQ(status, RAFT_OK);
    CHECK_EQ(seq, trim.stored[group] + 1);
    trim.stored[group] = seq;
}

static int check_joined(void *ctx, uint64_t group, const raft_write *write)
{
    (void)ctx;
    raft_index *last = &trim.replayed[group];
    if (write->truncate_from > 0 && write->truncate_from <= *last) {
        *last = write->truncate_from - 1;
    }
    for (size_t i = 0; i < write->range_count; i++) {
        CHECK(*last == 0 || write->ranges[i].first == *last + 1 ||
              write->ranges[i].first <= write->truncate_from);
        *last = write->ranges[i].first + write->ranges[i].count - 1;
    }
    return 0;
}

static void read_one(uint64_t group, raft_index index)
{
    uint8_t room[8 + TRIM_PAYLOAD];
    uint64_t word;
    raft_fetch fetch = {1, index, trim.stored[group], 1, room, sizeof room, 0, 0};
    CHECK_EQ(wal_read(t.log_handle, group, &fetch), RAFT_OK);
    CHECK_EQ(fetch.count, 1);
    memcpy(&word, room + 8, sizeof word);
    CHECK_EQ(word, group << 32 | index);
}

static void await_all(void)
{
    CHECK_EQ(wal_commit(t.log_handle), RAFT_OK);
    for (uint64_t group = 1; group <= TRIM_GROUPS; group++) {
        while (trim.stored[group] < trim.last[group]) {
            struct pollfd ready = {0};
            ready.fd = wal_completion_fd(t.log_handle);
            ready.events = POLLIN;
            CHECK(poll(&ready, 1, 60000) == 1);
            wal_collect(t.log_handle, note_stored, NULL);
        }
    }
}

static void trim_group(uint64_t group)
{
    trim.trimmed[group] = trim.stored[group] - (trim.stored[group] > 5 ? 5 : 1);
    CHECK_EQ(wal_trim(t.log_handle, group, trim.stored[group], trim.trimmed[group]), RAFT_OK);
}

/* How far the thread has come decides what can be read, so these draw from numbers of their own. */
static void read_any(struct rng *rng, uint64_t group)
{
    if (trim.stored[group] > trim.trimmed[group]) {
        raft_index lowest = trim.trimmed[group] > 0 ? trim.trimmed[group] : 1;
        read_one(group, lowest + rng_below(rng, trim.stored[group] - lowest + 1));
    }
}

/* Three quarters of the groups write once and never again. */
static void write_trim_and_read(size_t from, size_t to)
{
    struct rng writes = {7};
    struct rng reads = {8};
    for (size_t i = from; i < to; i++) {
        uint64_t group = 1 + (i < TRIM_GROUPS ? i : rng_below(&writes, TRIM_GROUPS / 4));
        CHECK_EQ(append_entry(group, i), RAFT_PENDING);
        if (i % 3 == 0) {
            CHECK_EQ(wal_commit(t.log_handle), RAFT_OK);
        }
        if (i % 5 == 0) {
            wal_collect(t.log_handle, note_stored, NULL);
        }
        if (i % 100 == 99) {
            await_all();
            trim_group(group);
        }
        read_any(&reads, group);
    }
}

/* With all groups trimmed again and again, beside writes of two files and more. */
static void write_and_trim_all(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        CHECK_EQ(append_entry(1, i), RAFT_PENDING);
        if (i % 50 == 49) {
            await_all();
            for (uint64_t group = 1; group <= TRIM_GROUPS; group++) {
                trim_group(group);
            }
        }
    }
}

/* How many files the first part leaves depends on the thread's pace; after the second it does not. */
static void trimming_and_reading_go_on_beside_the_thread(void)
{
    struct wal_stats stats;
    begin(1);
    memset(&trim, 0, sizeof trim);
    CHECK_EQ(open_log(), RAFT_OK);
    write_trim_and_read(0, TRIM_WRITES - TRIM_LAST_WRITES);
    write_and_trim_all(TRIM_WRITES - TRIM_LAST_WRITES, TRIM_WRITES);
    wal_get_stats(t.log_handle, &stats);
    CHECK(stats.bytes > (uint64_t)TRIM_WRITES * TRIM_PAYLOAD / 2);
    CHECK(stats.segments <= 3);
    CHECK(stats.moves > 0);
    CHECK_EQ(stats.moves_failed, 0);
    CHECK_EQ(close_log(), RAFT_OK);
    CHECK_EQ(wal_open(&t.options, check_joined, NULL, &t.error, &t.log_handle), RAFT_OK);
    for (uint64_t group = 1; group <= TRIM_GROUPS; group++) {
        CHECK_EQ(trim.replayed[group], trim.last[group]);
    }
    CHECK_EQ(close_log(), RAFT_OK);
}

static int same_random(void *ctx, void *data, size_t size)
{
    (void)ctx;
    memset(data, 0x5a, size);
    return 0;
}

/* The bytes of the first files of a log written one write a batch. */
static void write_fixed_log(int writer_thread, uint8_t *out, size_t size)
{
    char path[PATH_BYTES];
    begin(writer_thread);
    t.io.random = same_random;
    CHECK_EQ(open_log(), RAFT_OK);
    append_and_wait(30, 6000);
    CHECK_EQ(close_log(), RAFT_OK);
    snprintf(path, sizeof path, "%s/%016x.wal", t.log, 1u);
    int fd = open(path, O_RDONLY);
    CHECK_EQ(read(fd, out, size), (ssize_t)size);
    CHECK_EQ(close(fd), 0);
}

static void with_and_without_the_thread_the_files_are_the_same(void)
{
    static uint8_t inline_bytes[256 * 1024], thread_bytes[256 * 1024];
    write_fixed_log(0, inline_bytes, sizeof inline_bytes);
    write_fixed_log(1, thread_bytes, sizeof thread_bytes);
    CHECK(memcmp(inline_bytes, thread_bytes, sizeof inline_bytes) == 0);
}

static int failing_sync(void *ctx, int fd)
{
    (void)ctx;
    (void)fd;
    return -EIO;
}

static void a_sync_that_fails_in_the_thread_fails_all_that_follows(void)
{
    begin(1);
    CHECK_EQ(open_log(), RAFT_OK);
    append_and_wait(3, 100 * 8);
    CHECK_EQ(t.failed_count, 0);
    /* The thread sleeps: nothing is queued, and what is set now it sees through the lock. */
    t.io.fdatasync = failing_sync;
    CHECK_EQ(append(1 + t.issued_count % 4, 64), RAFT_PENDING);
    CHECK_EQ(wal_commit(t.log_handle), RAFT_OK);
    wait_for_reports();
    CHECK_EQ(t.failed_count, 1);
    t.io.fdatasync = io_posix.fdatasync;
    CHECK_EQ(wal_failed(t.log_handle), EIO);
    CHECK_EQ(append(1, 64), RAFT_ESTORAGE);
    CHECK_EQ(wal_commit(t.log_handle), RAFT_ESTORAGE);
    CHECK_EQ(close_log(), RAFT_ESTORAGE);
}

static volatile sig_atomic_t signals_taken;

static void count_signal(int number)
{
    (void)number;
    signals_taken++;
}

/* A host that blocks a signal, or waits for it to interrupt its poll, must not miss it. */
static void the_writer_thread_takes_no_signals(void)
{
    struct sigaction action, before;
    sigset_t one, pending;
    begin(1);
    CHECK_EQ(open_log(), RAFT_OK);
    memset(&action, 0, sizeof action);
    action.sa_handler = count_signal;
    sigaction(SIGUSR1, &action, &before);
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    kill(getpid(), SIGUSR1);
    append_and_wait(5, 800);
    sigpending(&pending);
    int is_pending = sigismember(&pending, SIGUSR1);
    int taken_early = signals_taken;
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    sigaction(SIGUSR1, &before, NULL);
    CHECK(is_pending);
    CHECK_EQ(taken_early, 0);
    CHECK_EQ(signals_taken, 1);
}

static int failing_pipe(void *ctx, int fds[2])
{
    (void)ctx;
    (void)fds;
    return -EMFILE;
}

static void a_thread_that_cannot_be_made_is_an_error(void)
{
    begin(1);
    t.io.pipe = failing_pipe;
    CHECK_EQ(open_log(), RAFT_ESTORAGE);
    CHECK_EQ(t.error.system, EMFILE);
    t.io.pipe = io_posix.pipe;
    CHECK_EQ(open_log(), RAFT_OK);
    CHECK_EQ(close_log(), RAFT_OK);
}

static void the_clocks_go_on_and_random_bytes_differ(void)
{
    uint8_t first[32] = {0}, second[32] = {0};
    uint64_t before_us = io_posix.now_us(NULL);
    uint64_t before_ms = io_posix.now_ms(NULL);
    CHECK(before_us > 0);
    CHECK(io_posix.now_us(NULL) >= before_us);
    CHECK(io_posix.now_ms(NULL) >= before_ms);
    CHECK_EQ(io_posix.random(NULL, first, sizeof first), 0);
    CHECK_EQ(io_posix.random(NULL, second, sizeof second), 0);
    CHECK(memcmp(first, second, sizeof first) != 0);
}

static void failures_are_negated_errnos(void)
{
    uint64_t size;
    int fds[2];
    CHECK_EQ(io_posix.open(NULL, "/nonexistent/file", O_RDONLY, 0), -ENOENT);
    CHECK_EQ(io_posix.close(NULL, -1), -EBADF);
    CHECK_EQ(io_posix.pread(NULL, -1, &size, 1, 0), -EBADF);
    CHECK_EQ(io_posix.fdatasync(NULL, -1), -EBADF);
    CHECK_EQ(io_posix.allocate(NULL, -1, 10), -EBADF);
    CHECK_EQ(io_posix.file_size(NULL, -1, &size), -EBADF);
    CHECK_EQ(io_posix.rename(NULL, "/nonexistent/a", "/nonexistent/b"), -ENOENT);
    CHECK_EQ(io_posix.unlink(NULL, "/nonexistent/a"), -ENOENT);
    CHECK_EQ(io_posix.list(NULL, "/nonexistent", NULL, NULL), -ENOENT);
    CHECK_EQ(io_posix.pipe(NULL, fds), 0);
    CHECK_EQ(io_posix.read(NULL, fds[0], &size, 1), -EAGAIN);
    CHECK_EQ(io_posix.write(NULL, fds[1], "x", 1), 1);
    CHECK_EQ(io_posix.read(NULL, fds[0], &size, 8), 1);
    CHECK_EQ(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    CHECK_EQ(io_posix.close(NULL, fds[0]), 0);
    CHECK_EQ(io_posix.close(NULL, fds[1]), 0);
}

int main(void)
{
    RUN(a_log_on_real_files_is_replayed);
    RUN(files_are_private);
    RUN(symbolic_links_are_not_followed);
    RUN(no_descriptor_is_left_open);
    RUN(a_locked_directory_is_refused_until_it_is_closed);
    RUN(a_log_that_is_only_looked_at_is_not_changed);
    RUN(who_only_looks_makes_nothing_and_minds_the_lock);
    RUN(entries_are_read_by_who_does_not_know_their_term);
    RUN(what_was_cut_by_a_record_of_its_own_is_not_read_again);
    RUN(a_directory_that_cannot_be_made_is_an_error);
    RUN(the_writer_thread_reports_in_order);
    RUN(closing_finishes_what_the_thread_has_not_begun);
    RUN(trimming_and_reading_go_on_beside_the_thread);
    RUN(with_and_without_the_thread_the_files_are_the_same);
    RUN(a_sync_that_fails_in_the_thread_fails_all_that_follows);
    RUN(the_writer_thread_takes_no_signals);
    RUN(a_thread_that_cannot_be_made_is_an_error);
    RUN(the_clocks_go_on_and_random_bytes_differ);
    RUN(failures_are_negated_errnos);
    clean_up();
    return check_done();
}
