#define _POSIX_C_SOURCE 200809L

#include "secret.h"
#include "io.h"

#include <errno.h>
#include <fcntl.h>

enum { OTHERS_MAY = 077 }; /* any right of the group or of others */

/* The file is judged as it was opened: a name may mean another one a moment later. */
static int judge(const struct io *io, int fd, size_t bytes_min, uint64_t *size)
{
    unsigned mode = 0;
    int status = io->file_mode(io->ctx, fd, &mode);
    if (!status) {
        status = io->file_size(io->ctx, fd, size);
    }
    if (status) {
        return status;
    }
    if (mode & OTHERS_MAY) {
        return -EACCES;
    }
    /* One more for each byte of a line end; without them the size is judged again. */
    return *size < bytes_min || !*size || *size > SECRET_BYTES_MAX + 2 ? -EINVAL : 0;
}

static size_t without_line_end(const uint8_t *bytes, size_t size)
{
    if (size && bytes[size - 1] == '\n') {
        size--;
        if (size && bytes[size - 1] == '\r') {
            size--;
        }
    }
    return size;
}

static int read_secret(const struct io *io, int fd, size_t bytes_min, struct secret *out)
{
    uint8_t bytes[SECRET_BYTES_MAX + 2];
    uint64_t size = 0;
    int status = judge(io, fd, bytes_min, &size);
    if (status) {
        return status;
    }
    long got = io_read_all(io, fd, bytes, (size_t)size, 0);
    if (got >= 0) {
        size_t kept = without_line_end(bytes, (size_t)got);
        if (!kept || kept < bytes_min || kept > SECRET_BYTES_MAX) {
            status = -EINVAL;
        } else {
            out->size = kept;
            for (size_t i = 0; i < kept; i++) {
                out->bytes[i] = bytes[i];
            }
        }
    }
    secret_wipe(bytes, sizeof bytes);
    return got < 0 ? (int)got : status;
}

int secret_read(const struct io *io, const char *path, size_t bytes_min, struct secret *out)
{
    /* Not to wait for somebody to open the other end of a pipe. */
    int fd = io->open(io->ctx, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0) {
        return fd;
    }
    *out = (struct secret){0};
    int status = read_secret(io, fd, bytes_min, out);
    io->close(io->ctx, fd);
    return status;
}

int secret_equal(const void *one, const void *other, size_t size)
{
    const volatile uint8_t *a = one, *b = other;
    unsigned difference = 0;
    for (size_t i = 0; i < size; i++) {
        difference |= (unsigned)(a[i] ^ b[i]);
    }
    return difference == 0;
}

void secret_wipe(void *data, size_t size)
{
    volatile uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = 0;
    }
}
