/*
 * Transports over real sockets on loopback, all of them in this process on one loop, and strangers
 * who write bytes by hand. Time is the test's own: it moves when nothing else does, or by a jump.
 * Conditions are waited for within a generous number of turns; nothing depends on how long a turn
 * takes.
 */
#ifndef STATIONS_H
#define STATIONS_H

#include "address.h"
#include "crc32c.h"
#include "frame.h"
#include "io.h"
#include "loop.h"
#include "raft.h"
#include "secret.h"
#include "transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { TURNS_MAX = 20000, CLUSTER = 77, KEPT_MAX = 4096 };

/* How the system calls misbehave; all 0 is well. Shares are of 100. */
struct faults {
    size_t bytes_max; /* of one read or write; 0: no bound */
    unsigned interrupted, blocked;
    int writes_block;                /* every write would block */
    unsigned writes_until_broken;    /* not 0: counts down, and the write that reaches 0 fails */
    int connect_fails, accept_fails; /* with this errno */
    uint64_t random;
};

struct world {
    struct io io;
    struct loop *loop;
    uint64_t now_ms;
    struct faults faults;
    uint64_t write_calls;
    int random_fails;
    int (*each_turn)(void *ctx); /* whoever else takes part: has it done anything? */
    void *each_turn_ctx;
};

/* A message as it arrived, its parts by their checksum. */
struct kept {
    raft_message message;
    uint32_t checksum;
    size_t bytes;
};

struct station {
    struct world *world;
    struct transport *transport;
    raft_id id;
    struct kept *kept;
    size_t kept_count;
    int ups, downs;
    raft_id answer_to; /* not 0: on_message sends one message on to it and flushes */
};

/* ---- The system calls, made unreliable ------------------------------------------------------- */

static inline uint64_t next_random(struct faults *faults)
{
    faults->random = faults->random * 6364136223846793005u + 1442695040888963407u;
    return faults->random >> 33;
}

/* A negated errno now and then; else 0 and perhaps a smaller size. */
static inline long disturb(struct faults *faults, size_t *size)
{
    if (faults->interrupted && next_random(faults) % 100 < faults->interrupted) {
        return -EINTR;
    }
    if (faults->blocked && next_random(faults) % 100 < faults->blocked) {
        return -EAGAIN;
    }
    if (faults->bytes_max && *size > faults->bytes_max) {
        *size = 1 + (size_t)(next_random(faults) % faults->bytes_max);
    }
    return 0;
}

static inline long bad_read(void *ctx, int fd, void *data, size_t size)
{
    struct world *world = ctx;
    long status = disturb(&world->faults, &size);
    return status ? status : io_posix.read(NULL, fd, data, size);
}

static inline long bad_write(void *ctx, int fd, const void *data, size_t size)
{
    struct world *world = ctx;
    world->write_calls++;
    long status = world->faults.writes_block ? -EAGAIN : disturb(&world->faults, &size);
    return status ? status : io_posix.write(NULL, fd, data, size);
}

static inline int breaks(struct faults *faults)
{
    return faults->writes_until_broken && --faults->writes_until_broken == 0;
}

/* As short as a write can be: never beyond the first part. */
static inline long bad_writev(void *ctx, int fd, const struct iovec *parts, int count)
{
    struct world *world = ctx;
    size_t size = parts[0].iov_len;
    world->write_calls++;
    if (breaks(&world->faults)) {
        return -EPIPE;
    }
    if (world->faults.writes_block) {
        return -EAGAIN;
    }
    if (!world->faults.bytes_max && !world->faults.interrupted && !world->faults.blocked) {
        return io_posix.writev(NULL, fd, parts, count);
    }
    long status = disturb(&world->faults, &size);
    return status ? status : io_posix.write(NULL, fd, parts[0].iov_base, size);
}

static inline int bad_connect(void *ctx, int fd, const struct sockaddr *address, unsigned length)
{
    struct world *world = ctx;
    if (world->faults.connect_fails) {
        return -world->faults.connect_fails;
    }
    return io_posix.connect(NULL, fd, address, length);
}

static inline int bad_accept(void *ctx, int fd, struct sockaddr *address, unsigned *length)
{
    struct world *world = ctx;
    if (world->faults.accept_fails) {
        return -world->faults.accept_fails;
    }
    return io_posix.accept(NULL, fd, address, length);
}

static inline int bad_random(void *ctx, void *data, size_t size)
{
    struct world *world = ctx;
    return world->random_fails ? -EIO : io_posix.random(NULL, data, size);
}

static inline uint64_t own_time(void *ctx)
{
    struct world *world = ctx;
    return world->now_ms;
}

static int without_epoll; /* nonzero: wait by poll */

static inline void world_begin(struct world *world)
{
    *world = (struct world){.now_ms = 1000, .faults = {.random = 42}};
    world->io = io_posix;
    world->io.ctx = world;
    world->io.read = bad_read;
    world->io.write = bad_write;
    world->io.writev = bad_writev;
    world->io.connect = bad_connect;
    world->io.accept = bad_accept;
    world->io.now_ms = own_time;
    world->io.random = bad_random;
    if (without_epoll) {
        world->io.epoll_create = NULL;
    }
    world->loop = loop_new(&world->io);
    CHECK(world->loop);
}

static inline void world_end(struct world *world)
{
    loop_free(world->loop);
}

/* ---- Stations -------------------------------------------------------------------------------- */

static inline raft_message heartbeat(raft_id from, raft_id to, uint64_t round)
{
    raft_message message;
    memset(&message, 0, sizeof message);
    message.kind = RAFT_MESSAGE_HEARTBEAT;
    message.cluster = CLUSTER;
    message.group = 1;
    message.from = from;
    message.to = to;
    message.term = 3;
    message.round = round;
    return message;
}

static inline uint32_t parts_checksum(const raft_message *message)
{
    uint32_t crc = crc32c(0, message->meta.data, message->meta.size);
    crc = crc32c(crc, message->chunk.data, message->chunk.size);
    for (size_t i = 0; i < message->range_count; i++) {
        crc = crc32c(crc, message->ranges[i].data, message->ranges[i].size);
    }
    return crc;
}

static inline void keep(void *host, const raft_message *message)
{
    struct station *station = host;
    CHECK(station->kept_count < KEPT_MAX);
    struct kept *kept = &station->kept[station->kept_count++];
    kept->message = *message;
    kept->checksum = parts_checksum(message);
    kept->bytes = message->range_count ? message->ranges[0].size : 0;
    CHECK(message->range_count == 0 || (uintptr_t)message->ranges[0].data % 8 == 0);
    if (station->answer_to) {
        raft_message answer = heartbeat(station->id, station->answer_to, message->round);
        transport_send(station->transport, &answer);
        transport_flush(station->transport);
    }
}

static inline void count_connection(void *host, raft_id peer, int up)
{
    struct station *station = host;
    (void)peer;
    if (up) {
        station->ups++;
    } else {
        station->downs++;
    }
}

static inline struct transport_options station_options(struct station *station)
{
    return (struct transport_options){
        .io = &station->world->io,
        .loop = station->world->loop,
        .cluster = CLUSTER,
        .id = station->id,
        .listen = "127.0.0.1:0",
        .host = station,
        .on_message = keep,
        .on_connection = count_connection,
    };
}

static inline void station_begin_with(struct station *station, struct world *world, raft_id id,
                                      const struct transport_options *options)
{
    struct kept *kept = calloc(KEPT_MAX, sizeof *kept);
    CHECK(kept);
    *station = (struct station){.world = world, .id = id, .kept = kept};
    struct transport_options own = station_options(station);
    if (options) {
        own.cluster = options->cluster ? options->cluster : own.cluster;
        own.listen = options->listen ? options->listen : own.listen;
        own.frame_bytes_max = options->frame_bytes_max;
        own.queue_bytes_max = options->queue_bytes_max;
        own.connections_max = options->connections_max;
        own.handshake_ms = options->handshake_ms;
        own.secret = options->secret;
    }
    CHECK_EQ(transport_open(&own, &station->transport), 0);
}

static inline void station_begin(struct station *station, struct world *world, raft_id id)
{
    station_begin_with(station, world, id, NULL);
}

static inline void station_end(struct station *station)
{
    transport_close(station->transport);
    free(station->kept);
}

static inline void introduce(struct station *who, const struct station *to)
{
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", transport_port(to->transport));
    CHECK_EQ(transport_peer(who->transport, to->id, address), 0);
}

static inline void begin_pair(struct world *world, struct station *one, struct station *two)
{
    world_begin(world);
    station_begin(one, world, 1);
    station_begin(two, world, 2);
    introduce(one, two);
    introduce(two, one);
}

static inline void end_pair(struct world *world, struct station *one, struct station *two)
{
    station_end(one);
    station_end(two);
    world_end(world);
}

/* One turn of everybody; when nothing happens, a millisecond passes. */
static inline void turn(struct world *world, struct station *const *stations, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        transport_tick(stations[i]->transport, world->now_ms);
        transport_flush(stations[i]->transport);
    }
    int others_called = world->each_turn && world->each_turn(world->each_turn_ctx);
    int called = loop_wait(world->loop, 0);
    CHECK(called >= 0);
    if (!called && !others_called) {
        CHECK(loop_wait(world->loop, 1) >= 0);
        world->now_ms++;
    }
}

/* Takes turns until the condition holds; where it never does, the test fails. */
#define TURN_UNTIL(world, condition, ...)                                                          \
    do {                                                                                           \
        struct station *const stations_[] = {__VA_ARGS__};                                         \
        int turns_ = 0;                                                                            \
        while (!(condition) && turns_++ < TURNS_MAX) {                                             \
            turn((world), stations_, sizeof stations_ / sizeof stations_[0]);                      \
        }                                                                                          \
        CHECK(condition);                                                                          \
    } while (0)

static inline int is_sending(const struct station *station, raft_id to)
{
    struct transport_peer_status status;
    CHECK_EQ(transport_peer_status(station->transport, to, &status), 0);
    return status.sending;
}

static inline struct transport_stats stats_of(const struct station *station)
{
    struct transport_stats stats;
    transport_stats(station->transport, &stats);
    return stats;
}

static inline uint64_t ended(const struct station *station, enum transport_reason reason)
{
    return stats_of(station).ended[reason];
}

static inline void connect_pair(struct world *world, struct station *one, struct station *two)
{
    TURN_UNTIL(world, is_sending(one, 2) && is_sending(two, 1), one, two);
}

/* ---- Messages with entries ------------------------------------------------------------------- */

struct payload {
    uint8_t *data;
    size_t size;
    size_t count;
};

static inline struct payload make_entries(size_t count, size_t payload_bytes, unsigned seed)
{
    struct payload made = {malloc(count * raft_entry_size(payload_bytes)), 0, count};
    uint8_t *bytes = malloc(payload_bytes + 1);
    CHECK(made.data && bytes);
    for (size_t i = 0; i < count; i++) {
        memset(bytes, (int)((seed + i) % 251), payload_bytes);
        raft_entry entry = {.data = bytes, .size = payload_bytes, .kind = RAFT_ENTRY_DATA};
        size_t size = raft_entry_size(payload_bytes);
        CHECK_EQ(raft_entry_encode(&entry, made.data + made.size, size), RAFT_OK);
        made.size += size;
    }
    free(bytes);
    return made;
}

static inline raft_message append_of(raft_id from, raft_id to, const struct payload *entries)
{
    raft_message message = heartbeat(from, to, 0);
    message.kind = RAFT_MESSAGE_APPEND;
    message.index = 9;
    message.index_term = 3;
    message.range_count = 1;
    message.ranges[0] = (raft_range){10, 3, entries->count, entries->size, entries->data};
    return message;
}

/* ---- Strangers: bytes written by hand -------------------------------------------------------- */

struct stranger {
    struct world *world;
    int fd;
};

static inline struct stranger call(struct world *world, const struct station *station)
{
    struct address address;
    char text[32];
    snprintf(text, sizeof text, "127.0.0.1:%u", transport_port(station->transport));
    CHECK_EQ(address_parse(text, &address), 0);
    struct stranger stranger = {world, io_posix.socket(NULL, AF_INET, SOCK_STREAM)};
    CHECK(stranger.fd >= 0);
    int status = io_posix.connect(NULL, stranger.fd, (struct sockaddr *)&address.storage,
                                  (unsigned)address.length);
    CHECK(status == 0 || status == -EINPROGRESS);
    return stranger;
}

static inline void hang_up(struct stranger *stranger)
{
    io_posix.close(NULL, stranger->fd);
}

static inline void say(const struct stranger *stranger, const void *data, size_t size)
{
    CHECK_EQ(io_posix.write(NULL, stranger->fd, data, size), (long)size);
}

static inline struct hello good_hello(void)
{
    return (struct hello){.cluster = CLUSTER, .from = 5, .to = 1, .address = "127.0.0.1:1"};
}

static inline void say_hello(const struct stranger *stranger, const struct hello *hello)
{
    uint8_t bytes[HELLO_BYTES_MAX];
    say(stranger, bytes, hello_encode(hello, bytes));
}

/* Whether the other side has closed; what it says meanwhile is left aside. */
static inline int is_cut(const struct stranger *stranger)
{
    char bytes[512];
    long got = io_posix.read(NULL, stranger->fd, bytes, sizeof bytes);
    return got == 0 || got == -ECONNRESET;
}

/* A frame around one message, as the stranger wants it. */
static inline size_t make_frame(uint8_t *out, const raft_message *message)
{
    size_t size = raft_encode(message, out + FRAME_HEADER + FRAME_PREFIX, 4096);
    CHECK(size > 0);
    frame_prefix(size, out + FRAME_HEADER);
    struct iovec body = {out + FRAME_HEADER, FRAME_PREFIX + size};
    frame_header(&body, 1, out);
    return FRAME_HEADER + FRAME_PREFIX + size;
}

#endif
