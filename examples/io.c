/*
 * io_posix: the table of system calls on a real system, and what is done over it in the same way
 * everywhere: short and interrupted transfers, directories. (The functions are os_*: POSIX keeps posix_* for itself.)
 *
 * Invariants: no function keeps state; every failure is a negated errno; every descriptor is
 * close-on-exec from the call that makes it where the system can do that, else at once after.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "io.h"

#ifdef __has_include
#if defined(__linux__) && __has_include(<sys/random.h>)
#define HAS_GETRANDOM 1
#endif
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#ifdef IO_HAS_EPOLL
#include <sys/epoll.h>
#endif
#include <sys/file.h>
#ifdef HAS_GETRANDOM
#include <sys/random.h>
#endif
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* ---- Loops ---------------------------------------------------------------------------------- */

int io_write_all(const struct io *io, int fd, const void *data, size_t size, uint64_t offset)
{
    const uint8_t *bytes = data;
    size_t written = 0;
    while (written < size) {
        long result = io->pwrite(io->ctx, fd, bytes + written, size - written, offset + written);
        if (result == 0) {
            return -ENOSPC;
        }
        if (result < 0 && result != -EINTR) {
            return (int)result;
        }
        written += result > 0 ? (size_t)result : 0;
    }
    return 0;
}

long io_read_all(const struct io *io, int fd, void *data, size_t size, uint64_t offset)
{
    uint8_t *bytes = data;
    size_t got = 0;
    while (got < size) {
        long result = io->pread(io->ctx, fd, bytes + got, size - got, offset + got);
        if (result == 0) {
            break;
        }
        if (result < 0 && result != -EINTR) {
            return result;
        }
        got += result > 0 ? (size_t)result : 0;
    }
    return (long)got;
}

int io_open_file(const struct io *io, const char *path, int flags)
{
    int fd;
    do {
        fd = io->open(io->ctx, path, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
    } while (fd == -EINTR);
    return fd;
}

int io_sync_directory(const struct io *io, const char *path)
{
    int fd = io_open_file(io, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return fd;
    }
    int result = io->fsync(io->ctx, fd);
    io->close(io->ctx, fd);
    return result;
}

int io_sync_parent(const struct io *io, const char *path)
{
    char parent[IO_PATH_MAX];
    size_t end = strlen(path);
    if (end >= sizeof parent) {
        return -ENAMETOOLONG;
    }
    memcpy(parent, path, end + 1);
    while (end > 1 && parent[end - 1] == '/') {
        end--;
    }
    while (end > 0 && parent[end - 1] != '/') {
        end--;
    }
    while (end > 1 && parent[end - 1] == '/') {
        end--;
    }
    parent[end] = '\0';
    return io_sync_directory(io, end > 0 ? parent : ".");
}

int io_lock_file(const struct io *io, int fd)
{
    int result;
    do {
        result = io->lock(io->ctx, fd);
    } while (result == -EINTR);
    return result;
}

/* ---- Files ---------------------------------------------------------------------------------- */

static int result_of(int result)
{
    return result < 0 ? -errno : result;
}

static long length_of(ssize_t result)
{
    return result < 0 ? -errno : (long)result;
}

static int os_open(void *ctx, const char *path, int flags, int mode)
{
    (void)ctx;
    return result_of(open(path, flags, (mode_t)mode));
}

static int os_close(void *ctx, int fd)
{
    (void)ctx;
    return result_of(close(fd));
}

static long os_pread(void *ctx, int fd, void *data, size_t size, uint64_t offset)
{
    (void)ctx;
    return length_of(pread(fd, data, size, (off_t)offset));
}

static long os_pwrite(void *ctx, int fd, const void *data, size_t size, uint64_t offset)
{
    (void)ctx;
    return length_of(pwrite(fd, data, size, (off_t)offset));
}

static long os_pwritev(void *ctx, int fd, const struct iovec *parts, int count, uint64_t offset)
{
    (void)ctx;
    return length_of(pwritev(fd, parts, count, (off_t)offset));
}

static int os_fdatasync(void *ctx, int fd)
{
    (void)ctx;
    return result_of(fdatasync(fd));
}

static int os_fsync(void *ctx, int fd)
{
    (void)ctx;
    return result_of(fsync(fd));
}

static int os_ftruncate(void *ctx, int fd, uint64_t size)
{
    (void)ctx;
    return result_of(ftruncate(fd, (off_t)size));
}

/* For file systems that cannot reserve space: what is written is reserved. */
static int fill_with_zeros(int fd, uint64_t size)
{
    static const uint8_t zeros[65536];
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    uint64_t offset = (uint64_t)status.st_size;
    while (offset < size) {
        size_t piece = size - offset < sizeof zeros ? (size_t)(size - offset) : sizeof zeros;
        int result = io_write_all(&io_posix, fd, zeros, piece, offset);
        if (result < 0) {
            return result;
        }
        offset += piece;
    }
    return 0;
}

static int os_allocate(void *ctx, int fd, uint64_t size)
{
    (void)ctx;
    int error = posix_fallocate(fd, 0, (off_t)size);
    if (error == EOPNOTSUPP || error == EINVAL || error == ENOSYS) {
        return fill_with_zeros(fd, size);
    }
    return -error;
}

static int os_file_size(void *ctx, int fd, uint64_t *size)
{
    (void)ctx;
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    if (!S_ISREG(status.st_mode)) {
        return -EINVAL;
    }
    *size = (uint64_t)status.st_size;
    return 0;
}

static int os_file_mode(void *ctx, int fd, unsigned *mode)
{
    (void)ctx;
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    *mode = (unsigned)status.st_mode & 07777u;
    return 0;
}

static int os_rename(void *ctx, const char *from, const char *to)
{
    (void)ctx;
    return result_of(rename(from, to));
}

static int os_unlink(void *ctx, const char *path)
{
    (void)ctx;
    return result_of(unlink(path));
}

static int os_mkdir(void *ctx, const char *path, int mode)
{
    (void)ctx;
    return result_of(mkdir(path, (mode_t)mode));
}

/* flock, since a lock of fcntl is lost with any descriptor of the file and not seen in-process. */
static int os_lock(void *ctx, int fd)
{
    (void)ctx;
    return result_of(flock(fd, LOCK_EX | LOCK_NB));
}

static int os_list(void *ctx, const char *path, int (*each)(void *arg, const char *name), void *arg)
{
    (void)ctx;
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return -errno;
    }
    int result = 0;
    while (result == 0) {
        errno = 0;
        const struct dirent *item = readdir(directory);
        if (item == NULL) {
            result = -errno;
            break;
        }
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0) {
            result = each(arg, item->d_name);
        }
    }
    closedir(directory);
    return result;
}

/* ---- Sockets and pipes ---------------------------------------------------------------------- */

#ifndef SOCK_NONBLOCK
/* For systems that cannot give these properties at birth. */
static int prepare_descriptor(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
#ifdef SO_NOSIGPIPE
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
    return fd;
}
#endif

static int os_socket(void *ctx, int domain, int type)
{
    (void)ctx;
#ifdef SOCK_NONBLOCK
    return result_of(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
#else
    int fd = socket(domain, type, 0);
    return fd < 0 ? -errno : prepare_descriptor(fd);
#endif
}

/* A server that restarts must get its port back at once: connections in TIME_WAIT do not matter. */
static int os_bind(void *ctx, int fd, const struct sockaddr *address, unsigned length)
{
    (void)ctx;
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) {
        return -errno;
    }
    return result_of(bind(fd, address, (socklen_t)length));
}

static int os_listen(void *ctx, int fd, int backlog)
{
    (void)ctx;
    return result_of(listen(fd, backlog));
}

static int os_accept(void *ctx, int fd, struct sockaddr *address, unsigned *length)
{
    (void)ctx;
    socklen_t size = length == NULL ? 0 : (socklen_t)*length;
    socklen_t *size_pointer = length == NULL ? NULL : &size;
#ifdef SOCK_NONBLOCK
    int accepted = accept4(fd, address, size_pointer, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int result = accepted < 0 ? -errno : accepted;
#else
    int accepted = accept(fd, address, size_pointer);
    int result = accepted < 0 ? -errno : prepare_descriptor(accepted);
#endif
    if (length != NULL) {
        *length = (unsigned)size;
    }
    return result;
}

static int os_connect(void *ctx, int fd, const struct sockaddr *address, unsigned length)
{
    (void)ctx;
    return result_of(connect(fd, address, (socklen_t)length));
}

static int os_socket_error(void *ctx, int fd)
{
    (void)ctx;
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) {
        return -errno;
    }
    return -error;
}

static int os_socket_name(void *ctx, int fd, struct sockaddr *address, unsigned *length)
{
    (void)ctx;
    socklen_t size = (socklen_t)*length;
    int result = result_of(getsockname(fd, address, &size));
    *length = (unsigned)size;
    return result;
}

static int os_no_delay(void *ctx, int fd)
{
    (void)ctx;
    int on = 1;
    return result_of(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}

static int os_give_up_after(void *ctx, int fd, unsigned timeout_ms)
{
    (void)ctx;
#ifdef TCP_USER_TIMEOUT
    return result_of(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms));
#else
    (void)fd;
    (void)timeout_ms;
    return 0;
#endif
}

static long os_read(void *ctx, int fd, void *data, size_t size)
{
    (void)ctx;
    return length_of(read(fd, data, size));
}

/* Sockets first; the one pipe of a program, which cannot be sent to, keeps both its ends open. */
static long os_write(void *ctx, int fd, const void *data, size_t size)
{
    (void)ctx;
    ssize_t result = send(fd, data, size, MSG_NOSIGNAL);
    if (result < 0 && errno == ENOTSOCK) {
        result = write(fd, data, size);
    }
    return length_of(result);
}

/* struct msghdr has no const: the cast goes through a copy of the pointer's bytes. */
static long os_writev(void *ctx, int fd, const struct iovec *parts, int count)
{
    (void)ctx;
    struct msghdr message;
    memset(&message, 0, sizeof message);
    memcpy(&message.msg_iov, &parts, sizeof parts);
    /* Counted up, since its type differs between systems. */
    for (int i = 0; i < count; i++) {
        message.msg_iovlen++;
    }
    ssize_t result = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (result < 0 && errno == ENOTSOCK) {
        result = writev(fd, parts, count);
    }
    return length_of(result);
}

static int os_poll(void *ctx, struct pollfd *fds, unsigned count, int timeout_ms)
{
    (void)ctx;
    return result_of(poll(fds, (nfds_t)count, timeout_ms));
}

#ifdef IO_HAS_EPOLL
static int os_epoll_create(void *ctx)
{
    (void)ctx;
    return result_of(epoll_create1(EPOLL_CLOEXEC));
}

static int os_epoll_change(void *ctx, int epoll_fd, int operation, int fd,
                           struct epoll_event *event)
{
    (void)ctx;
    return result_of(epoll_ctl(epoll_fd, operation, fd, event));
}

static int os_epoll_wait(void *ctx, int epoll_fd, struct epoll_event *events, int count,
                         int timeout_ms)
{
    (void)ctx;
    return result_of(epoll_wait(epoll_fd, events, count, timeout_ms));
}
#endif

static int os_pipe(void *ctx, int fds[2])
{
    (void)ctx;
#ifdef SOCK_NONBLOCK
    return result_of(pipe2(fds, O_NONBLOCK | O_CLOEXEC));
#else
    if (pipe(fds) < 0) {
        return -errno;
    }
    int result = prepare_descriptor(fds[0]);
    if (result < 0) {
        close(fds[1]);
        return result;
    }
    result = prepare_descriptor(fds[1]);
    if (result < 0) {
        close(fds[0]);
        return result;
    }
    return 0;
#endif
}

/* ---- Clocks and randomness ------------------------------------------------------------------ */

static uint64_t os_now_us(void *ctx)
{
    (void)ctx;
    struct timespec now = {0, 0};
#ifdef CLOCK_BOOTTIME
    if (clock_gettime(CLOCK_BOOTTIME, &now) < 0)
#endif
    {
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    }
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static uint64_t os_wall_ms(void *ctx)
{
    struct timespec now;

    (void)ctx;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static uint64_t os_now_ms(void *ctx)
{
    return os_now_us(ctx) / 1000u;
}

static int random_from_file(uint8_t *bytes, size_t size)
{
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    size_t got = 0;
    int error = 0;
    while (got < size && error == 0) {
        ssize_t result = read(fd, bytes + got, size - got);
        if (result > 0) {
            got += (size_t)result;
        } else if (result == 0) {
            error = EIO;
        } else if (errno != EINTR) {
            error = errno;
        }
    }
    close(fd);
    return -error;
}

/* Asks the kernel itself where that is possible: that needs no descriptor, which a server that is
 * called too often has not left. */
static int os_random(void *ctx, void *data, size_t size)
{
    (void)ctx;
    uint8_t *bytes = data;
    size_t got = 0;
#ifdef HAS_GETRANDOM
    while (got < size) {
        ssize_t result = getrandom(bytes + got, size - got, 0);
        if (result > 0) {
            got += (size_t)result;
        } else if (result == 0 || errno != EINTR) {
            break;
        }
    }
#endif
    return got < size ? random_from_file(bytes + got, size - got) : 0;
}

const struct io io_posix = {
    .ctx = NULL,
    .open = os_open,
    .close = os_close,
    .pread = os_pread,
    .pwrite = os_pwrite,
    .pwritev = os_pwritev,
    .fdatasync = os_fdatasync,
    .fsync = os_fsync,
    .ftruncate = os_ftruncate,
    .allocate = os_allocate,
    .file_size = os_file_size,
    .file_mode = os_file_mode,
    .rename = os_rename,
    .unlink = os_unlink,
    .mkdir = os_mkdir,
    .lock = os_lock,
    .list = os_list,
    .socket = os_socket,
    .bind = os_bind,
    .listen = os_listen,
    .accept = os_accept,
    .connect = os_connect,
    .socket_error = os_socket_error,
    .socket_name = os_socket_name,
    .no_delay = os_no_delay,
    .give_up_after = os_give_up_after,
    .read = os_read,
    .write = os_write,
    .writev = os_writev,
    .poll = os_poll,
#ifdef IO_HAS_EPOLL
    .epoll_create = os_epoll_create,
    .epoll_change = os_epoll_change,
    .epoll_wait = os_epoll_wait,
#endif
    .pipe = os_pipe,
    .now_ms = os_now_ms,
    .now_us = os_now_us,
    .wall_ms = os_wall_ms,
    .random = os_random,
};
