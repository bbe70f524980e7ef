/*
 * The system calls of the host parts, as a table: the WAL, the transport and the event loop reach
 * the operating system through it alone, so that tests can break any call and the simulator can put
 * a disk of its own underneath.
 *
 * Every function behaves as the POSIX call of its name, with one difference: failures return the
 * negated errno instead of setting it (the simulator has no errno). io_posix is the real thing.
 * Calls may be short or interrupted (-EINTR); io_write_all and io_read_all deal with that.
 */
#ifndef KEELSON_IO_H
#define KEELSON_IO_H

#include <stddef.h>
#include <stdint.h>

/* tcc with glibc drops the packing of struct epoll_event, which the kernel insists on. */
#if defined(__linux__) && !defined(__TINYC__)
#define IO_HAS_EPOLL 1
#endif

#define IO_PATH_MAX 1024u /* bytes of a path in io_sync_parent, its end included */

struct sockaddr;
struct iovec;
struct pollfd;
struct epoll_event;

struct io {
    void *ctx; /* first argument of every call */

    /* Files. Paths are relative to nothing: absolute, or to the process's directory. */
    int (*open)(void *ctx, const char *path, int flags, int mode);
    int (*close)(void *ctx, int fd);
    long (*pread)(void *ctx, int fd, void *data, size_t size, uint64_t offset);
    long (*pwrite)(void *ctx, int fd, const void *data, size_t size, uint64_t offset);
    long (*pwritev)(void *ctx, int fd, const struct iovec *parts, int count, uint64_t offset);
    int (*fdatasync)(void *ctx, int fd);
    int (*fsync)(void *ctx, int fd); /* files and directories */
    int (*ftruncate)(void *ctx, int fd, uint64_t size);
    int (*allocate)(void *ctx, int fd, uint64_t size); /* reserve and zero up to size */
    int (*file_size)(void *ctx, int fd, uint64_t *size);
    int (*file_mode)(void *ctx, int fd, unsigned *mode); /* who may do what, as chmod numbers it */
    int (*rename)(void *ctx, const char *from, const char *to);
    int (*unlink)(void *ctx, const char *path);
    int (*mkdir)(void *ctx, const char *path, int mode);
    int (*lock)(void *ctx, int fd); /* exclusive, never waits: -EWOULDBLOCK where held */
    /*
     * Calls each(arg, name) for every name in a directory but . and .. until it returns nonzero.
     * Returns what the last call of each returned, 0 where there was none.
     */
    int (*list)(void *ctx, const char *path, int (*each)(void *arg, const char *name), void *arg);

    /* Sockets: non-blocking and close-on-exec from birth. */
    int (*socket)(void *ctx, int domain, int type);
    /* With SO_REUSEADDR, so that a restarted server gets its port back at once. */
    int (*bind)(void *ctx, int fd, const struct sockaddr *address, unsigned length);
    int (*listen)(void *ctx, int fd, int backlog);
    int (*accept)(void *ctx, int fd, struct sockaddr *address, unsigned *length);
    int (*connect)(void *ctx, int fd, const struct sockaddr *address, unsigned length);
    int (*socket_error)(void *ctx, int fd); /* SO_ERROR, negated */
    int (*socket_name)(void *ctx, int fd, struct sockaddr *address, unsigned *length);
    int (*no_delay)(void *ctx, int fd); /* TCP_NODELAY */
    /* Break a connection whose bytes stay unacknowledged this long (TCP_USER_TIMEOUT). 0 where the
     * system has no such thing. */
    int (*give_up_after)(void *ctx, int fd, unsigned timeout_ms);
    long (*read)(void *ctx, int fd, void *data, size_t size);
    long (*write)(void *ctx, int fd, const void *data, size_t size); /* never raises SIGPIPE */
    long (*writev)(void *ctx, int fd, const struct iovec *parts, int count); /* likewise */
    int (*poll)(void *ctx, struct pollfd *fds, unsigned count, int timeout_ms);
    /* Linux only, null elsewhere: without them the event loop uses poll. */
    int (*epoll_create)(void *ctx);
    int (*epoll_change)(void *ctx, int epoll_fd, int operation, int fd, struct epoll_event *event);
    int (*epoll_wait)(void *ctx, int epoll_fd, struct epoll_event *events, int count,
                      int timeout_ms);
    int (*pipe)(void *ctx, int fds[2]);

    /* Clocks: milliseconds and microseconds of one clock that counts suspended time. */
    uint64_t (*now_ms)(void *ctx);
    uint64_t (*now_us)(void *ctx);
    uint64_t (*wall_ms)(void *ctx); /* since 1970, as people count: it may jump */
    int (*random)(void *ctx, void *data, size_t size); /* secret-grade */
};

extern const struct io io_posix;

/*
 * Opens a file with those flags, never through a symbolic link, close-on-exec, 0600 where it is
 * made; again where it was interrupted. A descriptor or a negated errno.
 */
int io_open_file(const struct io *io, const char *path, int flags);

/* Makes the names in a directory durable, or the name of a directory in its parent. */
int io_sync_directory(const struct io *io, const char *path);
int io_sync_parent(const struct io *io, const char *path);

/* lock, again where it was interrupted. */
int io_lock_file(const struct io *io, int fd);

/* The whole size, or a negated errno; a pwrite that makes no progress is -ENOSPC. */
int io_write_all(const struct io *io, int fd, const void *data, size_t size, uint64_t offset);

/* Bytes read: fewer than size only at the end of the file. Or a negated errno. */
long io_read_all(const struct io *io, int fd, void *data, size_t size, uint64_t offset);

#endif
