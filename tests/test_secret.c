/*
 * Secrets are read from files that are their owner's alone, and from nothing else.
 */
#define _XOPEN_SOURCE 700

#include "check.h"
#include "io.h"
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[512], path[600];

static void scratch_begin(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%.400s/keelson-secret-XXXXXX", base ? base : "/tmp");
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/secret", directory);
}

static void scratch_end(void)
{
    unlink(path);
    CHECK_EQ(rmdir(directory), 0);
}

static void write_file(const void *data, size_t size, unsigned mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, data, size), (ssize_t)size);
    CHECK_EQ(fchmod(fd, (mode_t)mode), 0);
    CHECK_EQ(close(fd), 0);
}

static int reading_gives(const void *data, size_t size, unsigned mode, struct secret *out)
{
    write_file(data, size, mode);
    return secret_read(&io_posix, path, SECRET_BYTES_MIN, out);
}

static void check_secret(const char *data, size_t size, size_t kept)
{
    struct secret secret;
    CHECK_EQ(reading_gives(data, size, 0600, &secret), 0);
    CHECK_EQ(secret.size, kept);
    CHECK(!memcmp(secret.bytes, data, kept));
}

static void one_line_end_is_left_out(void)
{
    scratch_begin();
    check_secret("0123456789abcdef", 16, 16);
    check_secret("0123456789abcdef\n", 17, 16);
    check_secret("0123456789abcdef\r\n", 18, 16);
    check_secret("0123456789abcdef\n\n", 18, 17);
    check_secret("\n 23456789abcde\0f ", 18, 18); /* whatever is inside belongs to it */
    scratch_end();
}

static void sizes_out_of_range_are_refused(void)
{
    struct secret secret;
    char bytes[SECRET_BYTES_MAX + 3];
    scratch_begin();
    memset(bytes, 's', sizeof bytes);
    CHECK_EQ(reading_gives("", 0, 0600, &secret), -EINVAL);
    CHECK_EQ(reading_gives("\n", 1, 0600, &secret), -EINVAL);
    CHECK_EQ(reading_gives(bytes, 15, 0600, &secret), -EINVAL);
    CHECK_EQ(reading_gives("0123456789abcde\n", 16, 0600, &secret), -EINVAL);
    CHECK_EQ(secret.size, 0);
    CHECK_EQ(reading_gives(bytes, SECRET_BYTES_MAX, 0600, &secret), 0);
    CHECK_EQ(secret.size, SECRET_BYTES_MAX);
    for (size_t more = 1; more <= 3; more++) {
        CHECK_EQ(reading_gives(bytes, SECRET_BYTES_MAX + more, 0600, &secret), -EINVAL);
    }
    bytes[SECRET_BYTES_MAX] = '\n';
    CHECK_EQ(reading_gives(bytes, SECRET_BYTES_MAX + 1, 0600, &secret), 0);
    write_file("", 0, 0600);
    CHECK_EQ(secret_read(&io_posix, path, 0, &secret), -EINVAL); /* nothing is never a secret */
    write_file("x\n", 2, 0600);
    CHECK_EQ(secret_read(&io_posix, path, 1, &secret), 0);
    CHECK_EQ(secret.size, 1);
    scratch_end();
}

/* Every right of the group or of others, alone, and those of the owner in any mix. */
static void files_open_to_others_are_refused(void)
{
    struct secret secret;
    scratch_begin();
    for (unsigned mode = 0400; mode <= 0777; mode++) {
        if (mode & 0400) {
            int expected = mode & 077 ? -EACCES : 0;
            CHECK_EQ(reading_gives("0123456789abcdef", 16, mode, &secret), expected);
            CHECK_EQ(secret.size, expected ? 0 : 16);
        }
    }
    scratch_end();
}

/* A directory, and a pipe that nobody writes to: refused at once, not waited for. */
static void what_is_no_file_is_refused(void)
{
    struct secret secret;
    scratch_begin();
    CHECK_EQ(secret_read(&io_posix, path, SECRET_BYTES_MIN, &secret), -ENOENT);
    CHECK(secret_read(&io_posix, directory, SECRET_BYTES_MIN, &secret) < 0);
    CHECK_EQ(mkfifo(path, 0600), 0);
    CHECK_EQ(secret_read(&io_posix, path, SECRET_BYTES_MIN, &secret), -EINVAL);
    scratch_end();
}

static int failing_mode(void *ctx, int fd, unsigned *mode)
{
    (void)ctx, (void)fd, (void)mode;
    return -EIO;
}

static long failing_read(void *ctx, int fd, void *data, size_t size, uint64_t offset)
{
    (void)ctx, (void)fd, (void)data, (void)size, (void)offset;
    return -EIO;
}

/* The file shrinks between the look at its size and the reading. */
static long short_read(void *ctx, int fd, void *data, size_t size, uint64_t offset)
{
    return offset >= 10 ? 0 : io_posix.pread(ctx, fd, data, size < 10 ? size : 10, offset);
}

static void a_call_that_fails_gives_no_secret(void)
{
    struct secret secret;
    struct io io = io_posix;
    scratch_begin();
    write_file("0123456789abcdef", 16, 0600);
    io.file_mode = failing_mode;
    CHECK_EQ(secret_read(&io, path, SECRET_BYTES_MIN, &secret), -EIO);
    io = io_posix;
    io.pread = failing_read;
    CHECK_EQ(secret_read(&io, path, SECRET_BYTES_MIN, &secret), -EIO);
    io.pread = short_read;
    CHECK_EQ(secret_read(&io, path, SECRET_BYTES_MIN, &secret), -EINVAL);
    CHECK_EQ(secret.size, 0);
    scratch_end();
}

static void bytes_are_compared_and_wiped_whole(void)
{
    uint8_t one[40], other[40];
    for (size_t i = 0; i < sizeof one; i++) {
        one[i] = other[i] = (uint8_t)(3 * i);
    }
    CHECK(secret_equal(one, other, sizeof one));
    CHECK(secret_equal(one, other, 0));
    for (size_t i = 0; i < 8 * sizeof one; i++) {
        other[i / 8] ^= (uint8_t)(1 << i % 8);
        CHECK(!secret_equal(one, other, sizeof one));
        CHECK(secret_equal(one, other, i / 8));
        other[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    secret_wipe(one, 39);
    for (size_t i = 0; i < 39; i++) {
        CHECK_EQ(one[i], 0);
    }
    CHECK_EQ(one[39], 117);
}

/* Nonces come from here: never the same twice, also where no descriptor is left. */
static void random_bytes_differ_and_fill_what_is_asked(void)
{
    uint8_t drawn[64][33];
    memset(drawn, 0, sizeof drawn);
    for (size_t i = 0; i < 64; i++) {
        CHECK_EQ(io_posix.random(NULL, drawn[i], 32), 0);
        CHECK_EQ(drawn[i][32], 0);
        for (size_t before = 0; before < i; before++) {
            CHECK(memcmp(drawn[i], drawn[before], 32) != 0);
        }
    }
}

int main(void)
{
    RUN(one_line_end_is_left_out);
    RUN(sizes_out_of_range_are_refused);
    RUN(files_open_to_others_are_refused);
    RUN(what_is_no_file_is_refused);
    RUN(a_call_that_fails_gives_no_secret);
    RUN(bytes_are_compared_and_wiped_whole);
    RUN(random_bytes_differ_and_fill_what_is_asked);
    return check_done();
}
