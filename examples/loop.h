/*
 * An event loop: waits for file descriptors to become ready and calls back. On Linux it uses epoll,
 * elsewhere (or where epoll is refused) poll. Readiness is level-triggered: a callback that leaves
 * bytes unread is called again in the next turn.
 *
 * One thread, one loop. It keeps no timers: the host asks each part for its deadline and waits no
 * longer than the earliest.
 */
#ifndef KEELSON_LOOP_H
#define KEELSON_LOOP_H

#include <stdint.h>

struct io;
struct loop;

enum {
    LOOP_READ = 1, /* bytes, a connection, or the end of the stream */
    LOOP_WRITE = 2 /* room, or the outcome of connect */
};

/*
 * ready is a set of LOOP_*. An error or a hang-up shows as both, whatever the interest: the next
 * read or write tells what happened.
 */
typedef void loop_callback(void *ctx, int fd, unsigned ready);

/* Null where memory or descriptors are lacking. The io table outlives the loop. */
struct loop *loop_new(const struct io *io);

/* Frees the loop, not the descriptors in it. Null is allowed; not from inside a callback. */
void loop_free(struct loop *loop);

/*
 * Watches fd, which is not watched yet, for a set of LOOP_* (0: for errors only). Legal anywhere,
 * callbacks included; the first call back comes in a later turn. 0, or a negated errno.
 */
int loop_add(struct loop *loop, int fd, unsigned interest, loop_callback *callback, void *ctx);

/* Changes what fd is watched for. Costs nothing where it stays as it is. 0, or a negated errno. */
int loop_set(struct loop *loop, int fd, unsigned interest);

/*
 * Forgets fd; to be called before it is closed. Legal anywhere, callbacks included, also for
 * descriptors that are ready in the same turn: they are not called back any more, and a new
 * descriptor of the same number is not mistaken for the old one. Not watched: nothing happens.
 */
void loop_remove(struct loop *loop, int fd);

/*
 * One turn: waits until something is ready, at most timeout_ms (0: does not wait, -1: without
 * bound), and runs each ready callback once. Returns the number of callbacks run; 0 also where a
 * signal interrupted the wait. A negated errno is a broken loop. Not from inside a callback.
 */
int loop_wait(struct loop *loop, int timeout_ms);

/* The timeout for loop_wait that ends at deadline_ms; UINT64_MAX is never. */
int loop_timeout(uint64_t deadline_ms, uint64_t now_ms);

#endif
