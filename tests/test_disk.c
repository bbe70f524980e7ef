/*
 * The simulated disk keeps its word: what is synced stays, what is not may go in every way that
 * disk.h tells, and planted faults come where they were planted.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "check.h"
#include "sim/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define SECTOR 512

static struct disk *disk;
static const struct io *io;

static void begin(uint64_t seed)
{
    struct disk_options options = {0};
    options.seed = seed;
    disk_free(disk);
    disk = disk_new(&options);
    io = disk_io(disk);
}

static int make_file(const char *path)
{
    int fd = io->open(io->ctx, path, O_RDWR | O_CREAT, 0600);
    int directory = io->open(io->ctx, ".", O_RDONLY | O_DIRECTORY, 0);
    CHECK(fd >= 0);
    CHECK_EQ(io->fsync(io->ctx, fd), 0);
    CHECK_EQ(io->fsync(io->ctx, directory), 0);
    CHECK_EQ(io->close(io->ctx, directory), 0);
    return fd;
}

static void write_sectors(int fd, int first, int count, uint8_t value)
{
    uint8_t data[16 * SECTOR];
    memset(data, value, sizeof data);
    CHECK_EQ(io->pwrite(io->ctx, fd, data, (size_t)count * SECTOR, (uint64_t)first * SECTOR),
             count * SECTOR);
}

static uint8_t peek(const char *path, uint64_t offset)
{
    uint8_t byte = 0;
    CHECK_EQ(disk_peek(disk, path, offset, &byte, 1), 0);
    return byte;
}

static void what_is_written_is_read(void)
{
    begin(1);
    uint8_t data[100] = "hello";
    uint8_t back[200];
    int fd = make_file("file");
    CHECK_EQ(io->pwrite(io->ctx, fd, data, sizeof data, 4090), 100);
    CHECK_EQ(io->pread(io->ctx, fd, back, sizeof back, 4090), 100);
    CHECK(memcmp(data, back, sizeof data) == 0);
    CHECK_EQ(io->pread(io->ctx, fd, back, sizeof back, 5000), 0);
    CHECK_EQ(disk_size(disk, "file"), 4190);
    CHECK_EQ(io->ftruncate(io->ctx, fd, 4092), 0);
    CHECK_EQ(io->ftruncate(io->ctx, fd, 4190), 0);
    CHECK_EQ(peek("file", 4091), 'e');
    CHECK_EQ(peek("file", 4092), 0);
}

static void synced_bytes_survive_every_crash(void)
{
    for (uint64_t seed = 0; seed < 100; seed++) {
        begin(seed);
        int fd = make_file("file");
        write_sectors(fd, 0, 16, 7);
        CHECK_EQ(io->fdatasync(io->ctx, fd), 0);
        CHECK_EQ(disk_unsynced(disk, "file"), 0);
        disk_crash(disk);
        CHECK_EQ(disk_size(disk, "file"), 16 * SECTOR);
        for (uint64_t i = 0; i < 16 * SECTOR; i += SECTOR) {
            CHECK_EQ(peek("file", i), 7);
        }
    }
}

static void sectors_not_synced_go_in_any_combination_but_whole(void)
{
    int seen[4] = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        begin(seed);
        int fd = make_file("file");
        write_sectors(fd, 0, 2, 1);
        CHECK_EQ(io->fdatasync(io->ctx, fd), 0);
        write_sectors(fd, 0, 2, 2);
        disk_crash(disk);
        for (uint64_t s = 0; s < 2; s++) {
            CHECK(peek("file", s * SECTOR) == peek("file", s * SECTOR + SECTOR - 1));
        }
        seen[(peek("file", 0) - 1) * 2 + peek("file", SECTOR) - 1]++;
    }
    for (int i = 0; i < 4; i++) {
        CHECK(seen[i] > 0);
    }
}

static void the_write_in_flight_is_torn_at_any_byte(void)
{
    int torn = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        uint8_t data[SECTOR];
        begin(seed);
        int fd = make_file("file");
        write_sectors(fd, 0, 1, 1);
        CHECK_EQ(io->fdatasync(io->ctx, fd), 0);
        memset(data, 2, sizeof data);
        disk_fail_at(disk, disk_calls(disk) + 1, DISK_FAULT_CRASH, 0);
        CHECK_EQ(io->pwrite(io->ctx, fd, data, sizeof data, 0), -EIO);
        CHECK(disk_is_off(disk));
        CHECK_EQ(io->fdatasync(io->ctx, fd), -EIO);
        disk_restart(disk);
        torn += peek("file", 0) == 2 && peek("file", SECTOR - 1) == 1;
    }
    CHECK(torn > 0);
}

static void names_not_synced_may_go(void)
{
    int kept = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        begin(seed);
        int fd = io->open(io->ctx, "file", O_RDWR | O_CREAT, 0600);
        write_sectors(fd, 0, 1, 1);
        CHECK_EQ(io->fsync(io->ctx, fd), 0);
        disk_crash(disk);
        kept += disk_size(disk, "file") == SECTOR;
    }
    CHECK(kept > 0);
    CHECK(kept < 100);
}

static void a_rename_happens_whole_or_not_at_all(void)
{
    int renamed = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        begin(seed);
        make_file("old");
        CHECK_EQ(io->rename(io->ctx, "old", "new"), 0);
        CHECK_EQ(disk_size(disk, "old"), -1);
        disk_crash(disk);
        CHECK((disk_size(disk, "old") >= 0) != (disk_size(disk, "new") >= 0));
        renamed += disk_size(disk, "new") >= 0;
    }
    CHECK(renamed > 0);
    CHECK(renamed < 100);
}

static void a_synced_directory_keeps_its_names(void)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        begin(seed);
        make_file("old");
        CHECK_EQ(io->rename(io->ctx, "old", "new"), 0);
        int directory = io->open(io->ctx, ".", O_RDONLY | O_DIRECTORY, 0);
        CHECK_EQ(io->fsync(io->ctx, directory), 0);
        disk_crash(disk);
        CHECK(disk_size(disk, "new") >= 0);
    }
}

static void files_go_with_a_directory_that_was_not_synced(void)
{
    int kept = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        begin(seed);
        CHECK_EQ(io->mkdir(io->ctx, "dir", 0700), 0);
        CHECK_EQ(io->mkdir(io->ctx, "dir", 0700), -EEXIST);
        CHECK(io->open(io->ctx, "dir/file", O_RDWR | O_CREAT, 0600) >= 0);
        int directory = io->open(io->ctx, "dir", O_RDONLY | O_DIRECTORY, 0);
        CHECK_EQ(io->fsync(io->ctx, directory), 0);
        disk_crash(disk);
        kept += disk_size(disk, "dir/file") >= 0;
    }
    CHECK(kept > 0);
    CHECK(kept < 100);
}

static void a_failed_sync_drops_what_it_was_to_store(void)
{
    begin(3);
    int fd = make_file("file");
    write_sectors(fd, 0, 1, 1);
    CHECK_EQ(io->fdatasync(io->ctx, fd), 0);
    write_sectors(fd, 0, 1, 2);
    disk_fail_at(disk, disk_calls(disk) + 1, DISK_FAULT_EIO, 0);
    CHECK_EQ(io->fdatasync(io->ctx, fd), -EIO);
    CHECK_EQ(io->fdatasync(io->ctx, fd), 0);
    CHECK_EQ(peek("file", 0), 2);
    disk_crash(disk);
    CHECK_EQ(peek("file", 0), 1);
}

static void a_gained_size_may_show_what_was_there_before(void)
{
    int stale = 0, short_file = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        begin(seed);
        struct disk_options options = {0};
        options.seed = seed;
        options.stale_bytes = 1;
        disk_free(disk);
        disk = disk_new(&options);
        io = disk_io(disk);
        int fd = make_file("file");
        CHECK_EQ(io->allocate(io->ctx, fd, 4 * SECTOR), 0);
        disk_crash(disk);
        short_file += disk_size(disk, "file") == 0;
        stale += disk_size(disk, "file") == 4 * SECTOR && peek("file", 0) != 0;
    }
    CHECK(stale > 0);
    CHECK(short_file > 0);
}

static void a_killed_process_loses_its_locks_and_nothing_else(void)
{
    begin(5);
    int fd = make_file("file");
    int other = io->open(io->ctx, "file", O_RDWR, 0);
    write_sectors(fd, 0, 4, 9);
    CHECK_EQ(io->lock(io->ctx, fd), 0);
    CHECK_EQ(io->lock(io->ctx, other), -EWOULDBLOCK);
    disk_kill(disk);
    CHECK_EQ(io->lock(io->ctx, fd), -EBADF);
    other = io->open(io->ctx, "file", O_RDWR, 0);
    CHECK_EQ(io->lock(io->ctx, other), 0);
    CHECK_EQ(peek("file", 3 * SECTOR), 9);
}

static void faults_come_at_their_call(void)
{
    uint8_t data[64] = {0};
    begin(6);
    int fd = make_file("file");
    uint64_t now = disk_calls(disk);
    disk_fail_at(disk, now + 2, DISK_FAULT_ENOSPC, 0);
    CHECK_EQ(io->pwrite(io->ctx, fd, data, 64, 0), 64);
    CHECK(!disk_fault_met(disk));
    CHECK_EQ(io->pwrite(io->ctx, fd, data, 64, 0), -ENOSPC);
    CHECK(disk_fault_met(disk));
    CHECK_EQ(io->pwrite(io->ctx, fd, data, 64, 0), 64);
    CHECK_EQ(disk_calls(disk), now + 3);
    disk_fail_at(disk, now + 4, DISK_FAULT_SHORT, 0);
    long written = io->pwrite(io->ctx, fd, data, 64, 0);
    CHECK(written > 0);
    CHECK(written < 64);
    disk_fail_at(disk, now + 5, DISK_FAULT_EIO, 1);
    CHECK_EQ(io->pread(io->ctx, fd, data, 64, 0), -EIO);
    CHECK_EQ(io->pread(io->ctx, fd, data, 64, 0), -EIO);
}

static void a_full_disk_has_no_room(void)
{
    struct disk_options options = {0};
    options.capacity_bytes = 4096;
    begin(0);
    disk_free(disk);
    disk = disk_new(&options);
    io = disk_io(disk);
    int fd = make_file("file");
    CHECK_EQ(io->allocate(io->ctx, fd, 4096), 0);
    CHECK_EQ(io->allocate(io->ctx, fd, 4097), -ENOSPC);
    CHECK_EQ(io->pwrite(io->ctx, fd, "x", 1, 4095), 1);
    CHECK_EQ(io->pwrite(io->ctx, fd, "x", 1, 4096), -ENOSPC);
}

static void damage_shows_at_once_and_after_crashes(void)
{
    uint8_t byte;
    begin(7);
    int fd = make_file("file");
    write_sectors(fd, 0, 2, 5);
    CHECK_EQ(io->fsync(io->ctx, fd), 0);
    CHECK_EQ(disk_rot(disk, "file", 10, 1), 0);
    CHECK(peek("file", 10) != 5);
    CHECK_EQ(disk_zero(disk, "file", 100, 700), 0);
    disk_crash(disk);
    CHECK(peek("file", 10) != 5);
    CHECK_EQ(peek("file", 100), 0);
    CHECK_EQ(peek("file", 799), 0);
    CHECK_EQ(peek("file", 800), 5);
    CHECK_EQ(disk_zero(disk, "file", 1000, 100), -1);
    fd = io->open(io->ctx, "file", O_RDWR, 0);
    CHECK_EQ(disk_unreadable(disk, "file", 512, 1), 0);
    CHECK_EQ(io->pread(io->ctx, fd, &byte, 1, 512), -EIO);
    CHECK_EQ(io->pread(io->ctx, fd, &byte, 1, 511), 1);
}

static int count_name(void *arg, const char *name)
{
    CHECK(strcmp(name, "a") == 0 || strcmp(name, "b") == 0);
    ++*(int *)arg;
    return 0;
}

static void a_directory_lists_its_own_names(void)
{
    int count = 0;
    begin(8);
    CHECK_EQ(io->mkdir(io->ctx, "dir", 0700), 0);
    CHECK(io->open(io->ctx, "dir/a", O_RDWR | O_CREAT, 0600) >= 0);
    CHECK(io->open(io->ctx, "dir/b", O_RDWR | O_CREAT, 0600) >= 0);
    CHECK(io->open(io->ctx, "c", O_RDWR | O_CREAT, 0600) >= 0);
    CHECK_EQ(io->list(io->ctx, "dir", count_name, &count), 0);
    CHECK_EQ(count, 2);
    CHECK_EQ(io->unlink(io->ctx, "dir/a"), 0);
    CHECK_EQ(io->unlink(io->ctx, "dir/a"), -ENOENT);
    CHECK_EQ(io->list(io->ctx, "nowhere", count_name, &count), -ENOENT);
}

static void a_clone_goes_its_own_way(void)
{
    begin(9);
    int fd = make_file("file");
    write_sectors(fd, 0, 8, 3);
    struct disk *first = disk_clone(disk, 1);
    struct disk *second = disk_clone(disk, 1);
    const struct io *first_io = disk_io(first);
    CHECK_EQ(first_io->pwrite(first_io->ctx, fd, "x", 1, 0), 1);
    CHECK_EQ(peek("file", 0), 3);
    disk_crash(disk);
    uint8_t a[8 * SECTOR], b[8 * SECTOR];
    CHECK_EQ(disk_peek(second, "file", 0, a, sizeof a), 0);
    CHECK_EQ(a[0], 3);
    CHECK_EQ(disk_peek(first, "file", 0, b, sizeof b), 0);
    CHECK_EQ(b[0], 'x');
    disk_free(first);
    disk_free(second);
}

static uint64_t fingerprint(uint64_t seed)
{
    uint8_t data[16 * SECTOR] = {0};
    uint64_t sum = 0;
    begin(seed);
    int fd = make_file("file");
    CHECK_EQ(io->allocate(io->ctx, fd, sizeof data), 0);
    CHECK_EQ(io->fsync(io->ctx, fd), 0);
    write_sectors(fd, 0, 16, 1);
    disk_crash(disk);
    CHECK_EQ(disk_peek(disk, "file", 0, data, sizeof data), 0);
    for (size_t i = 0; i < sizeof data; i += SECTOR) {
        sum = sum * 2 + data[i];
    }
    return sum;
}

static void the_same_seed_crashes_the_same_way(void)
{
    int differ = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        CHECK_EQ(fingerprint(seed), fingerprint(seed));
        differ += fingerprint(seed) != fingerprint(seed + 1);
    }
    CHECK(differ > 0);
}

int main(void)
{
    RUN(what_is_written_is_read);
    RUN(synced_bytes_survive_every_crash);
    RUN(sectors_not_synced_go_in_any_combination_but_whole);
    RUN(the_write_in_flight_is_torn_at_any_byte);
    RUN(names_not_synced_may_go);
    RUN(a_rename_happens_whole_or_not_at_all);
    RUN(a_synced_directory_keeps_its_names);
    RUN(files_go_with_a_directory_that_was_not_synced);
    RUN(a_failed_sync_drops_what_it_was_to_store);
    RUN(a_gained_size_may_show_what_was_there_before);
    RUN(a_killed_process_loses_its_locks_and_nothing_else);
    RUN(faults_come_at_their_call);
    RUN(a_full_disk_has_no_room);
    RUN(damage_shows_at_once_and_after_crashes);
    RUN(a_directory_lists_its_own_names);
    RUN(a_clone_goes_its_own_way);
    RUN(the_same_seed_crashes_the_same_way);
    disk_free(disk);
    return check_done();
}
