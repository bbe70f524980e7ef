/* One connection to one server. A connection that failed in any way is closed, not used again. */
#define _POSIX_C_SOURCE 200809L

#include "caller.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ARGS_MAX = 8, READ_BYTES = 16 * 1024 };

void caller_init(struct caller *caller)
{
    memset(caller, 0, sizeof *caller);
    caller->fd = -1;
}

void caller_close(struct caller *caller)
{
    if (caller->fd >= 0) {
        close(caller->fd);
    }
    caller->fd = -1;
    buffer_clear(&caller->in);
    buffer_clear(&caller->out);
}

void caller_free(struct caller *caller)
{
    caller_close(caller);
    buffer_free(&caller->in);
    buffer_free(&caller->out);
}

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for readiness until a moment. 0, or -1 when the time is up. */
static int wait_until(int fd, short events, long long deadline)
{
    struct pollfd place = {.fd = fd, .events = events};

    for (;;) {
        long long left = deadline - now_ms();
        int count = poll(&place, 1, left > 0 ? (int)left : 0);

        if (count > 0) {
            return 0;
        }
        if (count == 0 || errno != EINTR) {
            return -1;
        }
    }
}

static int finish_connect(int fd, int timeout_ms)
{
    int error = 0;
    socklen_t size = sizeof error;

    if (wait_until(fd, POLLOUT, now_ms() + timeout_ms) ||
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size)) {
        return -1;
    }
    return error ? -1 : 0;
}

int caller_connect(struct caller *caller, unsigned port, int timeout_ms)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;

    caller_close(caller);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    caller->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (caller->fd < 0) {
        return -1;
    }
    fcntl(caller->fd, F_SETFL, O_NONBLOCK);
    fcntl(caller->fd, F_SETFD, FD_CLOEXEC);
    setsockopt(caller->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(caller->fd, (struct sockaddr *)&address, sizeof address) &&
        (errno != EINPROGRESS || finish_connect(caller->fd, timeout_ms))) {
        caller_close(caller);
        return -1;
    }
    return 0;
}

void caller_add(struct caller *caller, const struct slice *args, size_t count)
{
    char line[32];
    int size = snprintf(line, sizeof line, "*%zu\r\n", count);

    buffer_add(&caller->out, line, (size_t)size);
    for (size_t i = 0; i < count; i++) {
        size = snprintf(line, sizeof line, "$%zu\r\n", args[i].size);
        buffer_add(&caller->out, line, (size_t)size);
        buffer_add(&caller->out, args[i].data, args[i].size);
        buffer_add(&caller->out, "\r\n", 2);
    }
}

static int fail(struct caller *caller)
{
    caller_close(caller);
    return -1;
}

int caller_send(struct caller *caller, int timeout_ms)
{
    long long deadline = now_ms() + timeout_ms;

    if (caller->fd < 0 || caller->out.failed) {
        return fail(caller);
    }
    while (buffer_size(&caller->out) > 0) {
        ssize_t count =
            send(caller->fd, buffer_bytes(&caller->out), buffer_size(&caller->out), MSG_NOSIGNAL);

        if (count > 0) {
            buffer_consume(&caller->out, (size_t)count);
        } else if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            return fail(caller);
        } else if (wait_until(caller->fd, POLLOUT, deadline)) {
            return fail(caller);
        }
    }
    return 0;
}

/* Reads what is there, waiting for it. 0, or -1. */
static int fill(struct caller *caller, long long deadline)
{
    char *room = buffer_reserve(&caller->in, READ_BYTES);
    ssize_t count;

    if (!room || wait_until(caller->fd, POLLIN, deadline)) {
        return -1;
    }
    count = read(caller->fd, room, READ_BYTES);
    if (count > 0) {
        buffer_commit(&caller->in, (size_t)count);
    }
    return count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR)) ? 0 : -1;
}

/* The bytes of the line that begins at `from`, without its end; -1 while it is not there. */
static long line_size(const struct buffer *in, size_t from)
{
    const char *data = buffer_bytes(in) + from;
    const char *end = buffer_size(in) > from ? memchr(data, '\n', buffer_size(in) - from) : NULL;

    return end && end > data ? (long)(end - data) - 1 : -1;
}

/* Reads a reply off the front, whose bytes stay there: returns their number; 0: more is needed. */
static size_t parse(const struct buffer *in, struct reply *reply)
{
    const char *data = buffer_bytes(in);
    long size = line_size(in, 0);
    size_t used = (size_t)size + 2;

    if (size < 1) {
        return 0;
    }
    reply->text = (struct slice){data + 1, (size_t)size - 1};
    reply->integer = strtoll(data + 1, NULL, 10);
    reply->kind = data[0] == '+' ? REPLY_STATUS : data[0] == '-' ? REPLY_ERROR : REPLY_INTEGER;
    if (data[0] != '$') {
        return used;
    }
    if (reply->integer < 0) {
        reply->kind = REPLY_NULL;
        return used;
    }
    reply->kind = REPLY_BULK;
    reply->text = (struct slice){data + used, (size_t)reply->integer};
    used += reply->text.size + 2;
    return used <= buffer_size(in) ? used : 0;
}

/* The reply's bytes are dropped here, but stay where they are until something is read again. */
int caller_receive(struct caller *caller, struct reply *reply, int timeout_ms)
{
    long long deadline = now_ms() + timeout_ms;
    size_t used;

    if (caller->fd < 0) {
        return -1;
    }
    while ((used = parse(&caller->in, reply)) == 0) {
        if (fill(caller, deadline)) {
            return fail(caller);
        }
    }
    buffer_consume(&caller->in, used);
    return 0;
}

int caller_ask(struct caller *caller, const char *words, struct reply *reply, int timeout_ms)
{
    struct slice args[ARGS_MAX] = {{NULL, 0}};
    size_t count = 0;

    while (*words && count < ARGS_MAX) {
        size_t size = strcspn(words, " ");

        args[count++] = (struct slice){words, size};
        words += size + (words[size] == ' ');
    }
    caller_add(caller, args, count);
    return caller_send(caller, timeout_ms) || caller_receive(caller, reply, timeout_ms) ? -1 : 0;
}

int reply_is_error(const struct reply *reply, const char *word)
{
    size_t size = strlen(word);

    return reply->kind == REPLY_ERROR && reply->text.size > size &&
           !memcmp(reply->text.data, word, size) && reply->text.data[size] == ' ';
}

unsigned reply_moved_to(const struct reply *reply)
{
    size_t at = reply->text.size;

    if (!reply_is_error(reply, "MOVED")) {
        return 0;
    }
    while (at > 0 && reply->text.data[at - 1] != ':') {
        at--;
    }
    return (unsigned)strtoul(reply->text.data + at, NULL, 10);
}
