/*
 * Transports that share a secret, over real sockets (stations.h): whom they let in, and what an
 * enemy on the way between them, or at either end without the secret, gets out of it. What the
 * handshake itself promises is tested bit by bit in test_handshake.c.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "handshake.h"
#include "stations.h"

#include <errno.h>

enum { PATIENCE_MS = 30, RECORD_MAX = 1 << 16 };

static struct secret make_secret(const char *text)
{
    struct secret secret = {.size = strlen(text)};
    memcpy(secret.bytes, text, secret.size);
    return secret;
}

static const char common_text[] = "a secret of the cluster";

static void begin_with_secret(struct station *station, struct world *world, raft_id id,
                              const char *text)
{
    struct secret secret = make_secret(text ? text : "");
    struct transport_options options = {.handshake_ms = PATIENCE_MS};
    options.secret = text ? &secret : NULL;
    options.frame_bytes_max = 1 << 20;
    station_begin_with(station, world, id, &options);
    memset(&secret, 0, sizeof secret); /* the transport has its own copy */
}

static void begin_secret_pair(struct world *world, struct station *one, struct station *two)
{
    world_begin(world);
    begin_with_secret(one, world, 1, common_text);
    begin_with_secret(two, world, 2, common_text);
    introduce(one, two);
    introduce(two, one);
}

/* ---- Servers of the cluster ------------------------------------------------------------------ */

static void servers_with_the_same_secret_hear_each_other(void)
{
    struct world world;
    struct station one, two;
    begin_secret_pair(&world, &one, &two);
    connect_pair(&world, &one, &two);
    for (uint64_t round = 1; round <= 300; round++) {
        raft_message there = heartbeat(1, 2, round), back = heartbeat(2, 1, 1000 + round);
        transport_send(one.transport, &there);
        transport_send(two.transport, &back);
        if (round % 50 == 0) {
            transport_flush(one.transport);
        }
    }
    TURN_UNTIL(&world, one.kept_count == 300 && two.kept_count == 300, &one, &two);
    for (size_t i = 0; i < 300; i++) {
        CHECK_EQ(two.kept[i].message.round, i + 1);
        CHECK_EQ(one.kept[i].message.round, 1001 + i);
    }
    CHECK_EQ(stats_of(&one).frames_sent, 6);
    CHECK_EQ(stats_of(&one).last_refusal, TRANSPORT_NONE);
    CHECK_EQ(stats_of(&one).bytes_copied, 0);
    end_pair(&world, &one, &two);
}

/* Sealed when the keys are there, in the order in which they were sent. */
static void what_is_sent_before_the_keys_are_made_is_kept(void)
{
    struct world world;
    struct station one, two;
    begin_secret_pair(&world, &one, &two);
    transport_tick(one.transport, world.now_ms); /* dials */
    struct payload entries = make_entries(10, 100, 7);
    uint32_t checksum = crc32c(0, entries.data, entries.size);
    for (uint64_t round = 1; round <= 10; round++) {
        raft_message message = append_of(1, 2, &entries);
        message.commit = round;
        transport_send(one.transport, &message);
        if (round % 3 == 0) {
            transport_flush(one.transport); /* several frames */
        }
    }
    transport_flush(one.transport);
    memset(entries.data, 0, entries.size);
    TURN_UNTIL(&world, two.kept_count == 10, &one, &two);
    for (size_t i = 0; i < 10; i++) {
        CHECK_EQ(two.kept[i].message.commit, i + 1);
        CHECK_EQ(two.kept[i].checksum, checksum);
    }
    CHECK_EQ(stats_of(&two).frames_received, 4);
    free(entries.data);
    end_pair(&world, &one, &two);
}

static void deliver_under(struct faults faults, size_t payload)
{
    struct world world;
    struct station one, two;
    begin_secret_pair(&world, &one, &two);
    faults.random = 42;
    world.faults = faults;
    struct payload entries = make_entries(3, payload, 9);
    connect_pair(&world, &one, &two);
    for (uint64_t round = 1; round <= 20; round++) {
        raft_message message = append_of(1, 2, &entries);
        message.commit = round;
        transport_send(one.transport, &message);
        transport_flush(one.transport);
        if (round % 2 == 0) { /* two at a time fit into the queue */
            TURN_UNTIL(&world, two.kept_count == round, &one, &two);
        }
    }
    for (size_t i = 0; i < 20; i++) {
        CHECK_EQ(two.kept[i].message.commit, i + 1);
        CHECK_EQ(two.kept[i].checksum, crc32c(0, entries.data, entries.size));
    }
    free(entries.data);
    end_pair(&world, &one, &two);
}

static void seals_hold_however_bytes_arrive(void)
{
    deliver_under((struct faults){.bytes_max = 7}, 40);
    deliver_under((struct faults){.bytes_max = 5000, .interrupted = 20, .blocked = 20}, 3000);
    deliver_under((struct faults){.bytes_max = 0}, 340 * 1024); /* close to the frame limit */
}

/* The largest frame that the limit allows passes with its seal behind it. */
static void a_frame_of_exactly_the_limit_passes(void)
{
    struct world world;
    struct station one, two;
    begin_secret_pair(&world, &one, &two);
    connect_pair(&world, &one, &two);
    size_t payload = (1 << 20) - FRAME_BYTES_MIN - RAFT_ENTRY_HEADER;
    struct payload entries = make_entries(1, payload, 3);
    raft_message message = append_of(1, 2, &entries);
    CHECK_EQ(FRAME_HEADER + FRAME_PREFIX + raft_message_size(&message), 1 << 20);
    transport_send(one.transport, &message);
    TURN_UNTIL(&world, two.kept_count == 1, &one, &two);
    CHECK_EQ(two.kept[0].checksum, crc32c(0, entries.data, entries.size));
    free(entries.data);
    end_pair(&world, &one, &two);
}

/* ---- Servers of another mind ----------------------------------------------------------------- */

static void refused_on_both_sides(const char *of_one, const char *of_two,
                                  enum transport_reason reason)
{
    struct world world;
    struct station one, two;
    world_begin(&world);
    begin_with_secret(&one, &world, 1, of_one);
    begin_with_secret(&two, &world, 2, of_two);
    introduce(&one, &two);
    introduce(&two, &one);
    TURN_UNTIL(&world, ended(&one, reason) >= 2 && ended(&two, reason) >= 2, &one, &two);
    CHECK_EQ(stats_of(&one).last_refusal, reason);
    CHECK_EQ(stats_of(&two).last_refusal, reason);
    CHECK_EQ(one.ups + two.ups, 0);
    struct transport_peer_status status;
    CHECK_EQ(transport_peer_status(one.transport, 2, &status), 0);
    CHECK(!status.sending && !status.receiving);
    end_pair(&world, &one, &two);
}

static void another_secret_is_refused_on_both_sides(void)
{
    refused_on_both_sides(common_text, "a secret of the clusteR", TRANSPORT_SECRET);
}

static void one_without_a_secret_is_refused_on_both_sides(void)
{
    refused_on_both_sides(common_text, NULL, TRANSPORT_PLAIN);
    refused_on_both_sides(NULL, common_text, TRANSPORT_PLAIN);
}

/* ---- Options --------------------------------------------------------------------------------- */

static int opening_gives(struct world *world, const char *listen, size_t secret_size)
{
    struct station station = {.world = world, .id = 1};
    struct transport_options options = station_options(&station);
    struct secret secret = make_secret("0123456789abcdef and more");
    secret.size = secret_size;
    options.listen = listen;
    options.secret = &secret;
    int status = transport_open(&options, &station.transport);
    if (!status) {
        status = transport_peer(station.transport, 2, "192.0.2.1:7000");
        transport_close(station.transport);
    }
    return status;
}

static void with_a_secret_addresses_outside_loopback_are_allowed(void)
{
    struct world world;
    world_begin(&world);
    CHECK_EQ(opening_gives(&world, "0.0.0.0:0", SECRET_BYTES_MIN), 0);
    CHECK_EQ(opening_gives(&world, "127.0.0.1:0", SECRET_BYTES_MIN), 0);
    world_end(&world);
}

/* An empty secret is not "no secret". */
static void a_secret_out_of_range_is_refused(void)
{
    struct world world;
    world_begin(&world);
    CHECK_EQ(opening_gives(&world, "127.0.0.1:0", 0), -EINVAL);
    CHECK_EQ(opening_gives(&world, "127.0.0.1:0", SECRET_BYTES_MIN - 1), -EINVAL);
    CHECK_EQ(opening_gives(&world, "127.0.0.1:0", SECRET_BYTES_MAX + 1), -EINVAL);
    world_end(&world);
}

/* ---- An enemy on the way --------------------------------------------------------------------- */

/* Carries every connection made to it on to a station, and keeps what was said on the first. */
struct relay {
    struct world *world;
    const struct station *target;
    int listener, near, far; /* near: the caller's side; far: the station's */
    unsigned port;
    size_t carried[2]; /* there, back: on the present connection */
    int direction;     /* of the damage */
    size_t at;
    uint8_t mask;
    uint8_t record[2][RECORD_MAX];
    size_t recorded[2];
    int connections;
};

static void relay_hang_up(struct relay *relay)
{
    if (relay->near >= 0) {
        io_posix.close(NULL, relay->near);
        io_posix.close(NULL, relay->far);
    }
    relay->near = relay->far = -1;
}

static int relay_accept(struct relay *relay)
{
    int fd = io_posix.accept(NULL, relay->listener, NULL, NULL);
    if (fd < 0) {
        return 0;
    }
    relay_hang_up(relay);
    relay->near = fd;
    relay->far = call(relay->world, relay->target).fd;
    relay->carried[0] = relay->carried[1] = 0;
    relay->connections++;
    return 1;
}

/* Returns whether there was anything to carry. */
static int relay_carry(struct relay *relay, int direction)
{
    int from = direction ? relay->far : relay->near, to = direction ? relay->near : relay->far;
    uint8_t bytes[4096];
    if (from < 0) {
        return 0;
    }
    long got = io_posix.read(NULL, from, bytes, sizeof bytes);
    if (got == 0 || (got < 0 && got != -EAGAIN)) {
        relay_hang_up(relay);
    }
    if (got <= 0) {
        return 0;
    }
    for (size_t i = 0; i < (size_t)got; i++) {
        if (relay->connections == 1 && relay->recorded[direction] < RECORD_MAX) {
            relay->record[direction][relay->recorded[direction]++] = bytes[i];
        }
        if (direction == relay->direction && relay->carried[direction]++ == relay->at) {
            bytes[i] ^= relay->mask;
        }
    }
    if (io_posix.write(NULL, to, bytes, (size_t)got) != got) {
        relay_hang_up(relay);
    }
    return 1;
}

static int relay_turn(void *ctx)
{
    struct relay *relay = ctx;
    int busy = relay_accept(relay);
    busy |= relay_carry(relay, 0);
    busy |= relay_carry(relay, 1);
    return busy;
}

static void relay_begin(struct relay *relay, struct world *world, const struct station *target)
{
    struct address address;
    *relay = (struct relay){.world = world, .target = target, .near = -1, .far = -1};
    CHECK_EQ(address_parse("127.0.0.1:0", &address), 0);
    relay->listener = address_listen(&io_posix, &address, 8);
    CHECK(relay->listener >= 0);
    relay->port = address_port(&address);
    world->each_turn = relay_turn;
    world->each_turn_ctx = relay;
}

static void relay_end(struct relay *relay)
{
    relay_hang_up(relay);
    io_posix.close(NULL, relay->listener);
}

/* Station one, which finds two only by way of the relay; two calls nobody. */
struct ambush {
    struct world world;
    struct station one, two;
    struct relay relay;
};

static void ambush_begin(struct ambush *ambush)
{
    char address[32];
    world_begin(&ambush->world);
    begin_with_secret(&ambush->one, &ambush->world, 1, common_text);
    begin_with_secret(&ambush->two, &ambush->world, 2, common_text);
    relay_begin(&ambush->relay, &ambush->world, &ambush->two);
    snprintf(address, sizeof address, "127.0.0.1:%u", ambush->relay.port);
    CHECK_EQ(transport_peer(ambush->one.transport, 2, address), 0);
}

static void ambush_end(struct ambush *ambush)
{
    relay_end(&ambush->relay);
    end_pair(&ambush->world, &ambush->one, &ambush->two);
}

static uint64_t refusals(const struct station *station)
{
    uint64_t sum = ended(station, TRANSPORT_TIMEOUT);
    for (int reason = TRANSPORT_MAGIC; reason < TRANSPORT_LIMIT; reason++) {
        sum += ended(station, (enum transport_reason)reason);
    }
    return sum;
}

/* Goes on sending, so that whoever waits for more of a frame gets more. */
static int send_on(struct station *station, raft_id to)
{
    raft_message message = heartbeat(station->id, to, 100);
    transport_send(station->transport, &message);
    return 1;
}

/* One byte of every connection is changed on its way: no message passes that byte. */
static void no_message_passes(int direction, size_t at, uint8_t mask)
{
    static struct ambush ambush;
    ambush_begin(&ambush);
    ambush.relay.direction = direction;
    ambush.relay.at = at;
    ambush.relay.mask = mask;
    TURN_UNTIL(&ambush.world,
               send_on(&ambush.one, 2) && refusals(&ambush.one) + refusals(&ambush.two) >= 1,
               &ambush.one, &ambush.two);
    CHECK_EQ(ambush.two.kept_count, 0);
    ambush_end(&ambush);
}

enum {
    CALLER_GREETING = HELLO_BYTES_MIN + 16 + HANDSHAKE_NONCE + HANDSHAKE_PROOF,
    LISTENER_GREETING = HELLO_BYTES_MIN + HANDSHAKE_NONCE + HANDSHAKE_PROOF
};

static void a_changed_byte_on_the_way_there_is_found(void)
{
    for (size_t at = 0; at < CALLER_GREETING + FRAME_BYTES_MIN + FRAME_SEAL; at++) {
        no_message_passes(0, at, (uint8_t)(1 << at % 8));
    }
}

static void a_changed_byte_on_the_way_back_is_found(void)
{
    for (size_t at = 0; at < LISTENER_GREETING; at++) {
        no_message_passes(1, at, (uint8_t)(1 << at % 8));
    }
}

/* Later frames are found as well: what came before was heard, nothing behind. */
static void what_follows_a_changed_frame_is_not_heard(void)
{
    static struct ambush ambush;
    ambush_begin(&ambush);
    TURN_UNTIL(&ambush.world, is_sending(&ambush.one, 2), &ambush.one, &ambush.two);
    ambush.relay.at = CALLER_GREETING + 3 * (FRAME_BYTES_MIN + FRAME_SEAL) + 50;
    ambush.relay.mask = 0x10;
    for (uint64_t round = 1; round <= 6; round++) {
        raft_message message = heartbeat(1, 2, round);
        transport_send(ambush.one.transport, &message);
        transport_flush(ambush.one.transport);
    }
    TURN_UNTIL(&ambush.world, ended(&ambush.two, TRANSPORT_SEAL) == 1, &ambush.one, &ambush.two);
    CHECK_EQ(ambush.two.kept_count, 3);
    CHECK_EQ(ambush.two.kept[2].message.round, 3);
    CHECK_EQ(stats_of(&ambush.two).last_refusal, TRANSPORT_SEAL);
    ambush_end(&ambush);
}

/* What a server said once, said again to the one it was said to: not let in, nothing heard. */
static void a_replayed_conversation_is_refused(void)
{
    static struct ambush ambush;
    ambush_begin(&ambush);
    send_on(&ambush.one, 2);
    TURN_UNTIL(&ambush.world, send_on(&ambush.one, 2) && ambush.two.kept_count >= 1, &ambush.one,
               &ambush.two);
    size_t heard = ambush.two.kept_count;
    transport_forget(ambush.one.transport, 2); /* the true one is silent from here on */
    TURN_UNTIL(&ambush.world, ambush.relay.near < 0, &ambush.one, &ambush.two);
    heard = ambush.two.kept_count;
    CHECK(ambush.relay.recorded[0] > CALLER_GREETING + FRAME_BYTES_MIN);
    struct stranger stranger = call(&ambush.world, &ambush.two);
    TURN_UNTIL(&ambush.world, stats_of(&ambush.two).accepted == 2, &ambush.one, &ambush.two);
    say(&stranger, ambush.relay.record[0], ambush.relay.recorded[0]);
    TURN_UNTIL(&ambush.world, ended(&ambush.two, TRANSPORT_SECRET) == 1, &ambush.one, &ambush.two);
    TURN_UNTIL(&ambush.world, is_cut(&stranger), &ambush.one, &ambush.two);
    CHECK_EQ(ambush.two.kept_count, heard);
    hang_up(&stranger);
    ambush_end(&ambush);
}

/* A frame recorded on a connection and slipped into it a second time. */
static void a_frame_slipped_in_again_is_refused(void)
{
    static struct ambush ambush;
    ambush_begin(&ambush);
    TURN_UNTIL(&ambush.world, send_on(&ambush.one, 2) && ambush.two.kept_count >= 1, &ambush.one,
               &ambush.two);
    TURN_UNTIL(&ambush.world, ambush.two.kept_count == stats_of(&ambush.one).messages_sent,
               &ambush.one, &ambush.two);
    size_t heard = ambush.two.kept_count;
    struct stranger on_the_way = {&ambush.world, ambush.relay.far};
    say(&on_the_way, ambush.relay.record[0] + CALLER_GREETING, FRAME_BYTES_MIN + FRAME_SEAL);
    TURN_UNTIL(&ambush.world, ended(&ambush.two, TRANSPORT_SEAL) == 1, &ambush.one, &ambush.two);
    CHECK_EQ(ambush.two.kept_count, heard);
    ambush_end(&ambush);
}

/* Its own frames, sent back to a server, are not those of the other side. */
static void a_frame_sent_back_is_refused(void)
{
    static struct ambush ambush;
    ambush_begin(&ambush);
    TURN_UNTIL(&ambush.world, send_on(&ambush.one, 2) && ambush.two.kept_count >= 1, &ambush.one,
               &ambush.two);
    struct stranger on_the_way = {&ambush.world, ambush.relay.near};
    say(&on_the_way, ambush.relay.record[0] + CALLER_GREETING, FRAME_BYTES_MIN + FRAME_SEAL);
    TURN_UNTIL(&ambush.world, ended(&ambush.one, TRANSPORT_SEAL) == 1, &ambush.one, &ambush.two);
    CHECK_EQ(ambush.one.kept_count, 0);
    ambush_end(&ambush);
}

/* ---- An enemy at the other end --------------------------------------------------------------- */

/* Says the beginning of a good greeting, then nothing: gone when the time for it is over. */
static void a_greeting_that_stops_is_given_up(void)
{
    static struct ambush ambush;
    ambush_begin(&ambush);
    TURN_UNTIL(&ambush.world, is_sending(&ambush.one, 2), &ambush.one, &ambush.two);
    for (size_t size = 0; size < HELLO_BYTES_MIN + 16 + HANDSHAKE_NONCE + HANDSHAKE_PROOF;
         size += 9) {
        uint64_t before = ended(&ambush.two, TRANSPORT_TIMEOUT);
        struct stranger stranger = call(&ambush.world, &ambush.two);
        if (size) {
            say(&stranger, ambush.relay.record[0], size);
        }
        TURN_UNTIL(&ambush.world, ended(&ambush.two, TRANSPORT_TIMEOUT) == before + 1, &ambush.one,
                   &ambush.two);
        hang_up(&stranger);
    }
    CHECK(is_sending(&ambush.one, 2)); /* nobody else was disturbed */
    CHECK_EQ(ambush.relay.connections, 1);
    ambush_end(&ambush);
}

/* A stranger to whom what it hears counts as the other end of a handshake. */
struct insider {
    struct stranger stranger;
    struct handshake handshake;
    uint8_t heard[1024];
    size_t heard_size, taken;
};

static void insider_begin(struct insider *insider, struct world *world, const struct station *to,
                          raft_id self)
{
    struct secret secret = make_secret(common_text);
    uint8_t nonce[HANDSHAKE_NONCE], out[HANDSHAKE_OUT_MAX];
    *insider = (struct insider){.stranger = call(world, to)};
    CHECK_EQ(io_posix.random(NULL, nonce, sizeof nonce), 0);
    struct handshake_side side = {.cluster = CLUSTER,
                                  .self = self,
                                  .callee = to->id,
                                  .address = "192.0.2.7:7001",
                                  .secret = &secret,
                                  .nonce = nonce};
    size_t size = handshake_begin(&insider->handshake, &side, out);
    say(&insider->stranger, out, size);
}

static int insider_is_in(struct insider *insider)
{
    while (insider->handshake.step != HANDSHAKE_DONE) {
        uint8_t out[HANDSHAKE_OUT_MAX];
        size_t out_size;
        long got = io_posix.read(NULL, insider->stranger.fd, insider->heard + insider->heard_size,
                                 sizeof insider->heard - insider->heard_size);
        insider->heard_size += got > 0 ? (size_t)got : 0;
        long used = handshake_take(&insider->handshake, insider->heard + insider->taken,
                                   insider->heard_size - insider->taken, out, &out_size);
        if (out_size) {
            say(&insider->stranger, out, out_size);
        }
        if (used <= 0) {
            return 0;
        }
        insider->taken += (size_t)used;
    }
    return 1;
}

static void insider_says(struct insider *insider, const raft_message *message)
{
    uint8_t frame[1024];
    size_t size = make_frame(frame, message);
    struct iovec body = {frame + FRAME_HEADER, size - FRAME_HEADER};
    frame_seal(&body, 1, &insider->handshake.sent, frame, frame + size);
    say(&insider->stranger, frame, size + FRAME_SEAL);
}

/* Whoever has the secret is heard as the server it says it is, and as no other. */
static void who_authenticated_as_one_server_speaks_for_no_other(void)
{
    struct world world;
    struct station one;
    struct insider insider;
    struct transport_peer_status status;
    world_begin(&world);
    begin_with_secret(&one, &world, 1, common_text);
    insider_begin(&insider, &world, &one, 5);
    TURN_UNTIL(&world, insider_is_in(&insider), &one);
    CHECK_EQ(transport_peer_status(one.transport, 5, &status), 0);
    CHECK_STR(status.claimed_address, "192.0.2.7:7001");
    raft_message message = heartbeat(5, 1, 8);
    insider_says(&insider, &message);
    TURN_UNTIL(&world, one.kept_count == 1, &one);
    message = heartbeat(6, 1, 9);
    insider_says(&insider, &message);
    TURN_UNTIL(&world, ended(&one, TRANSPORT_FOREIGN) == 1, &one);
    TURN_UNTIL(&world, is_cut(&insider.stranger), &one);
    CHECK_EQ(one.kept_count, 1);
    CHECK_EQ(stats_of(&one).dialled, 0); /* the address it claimed was not called */
    hang_up(&insider.stranger);
    station_end(&one);
    world_end(&world);
}

/* A server that was let in is not put out by a stranger who uses its name. */
static void a_stranger_cannot_take_the_place_of_a_server(void)
{
    struct world world;
    struct station one;
    struct insider insider;
    world_begin(&world);
    begin_with_secret(&one, &world, 1, common_text);
    insider_begin(&insider, &world, &one, 5);
    TURN_UNTIL(&world, insider_is_in(&insider), &one);
    struct stranger stranger = call(&world, &one);
    struct hello hello = good_hello();
    uint8_t zeros[HANDSHAKE_NONCE + HANDSHAKE_PROOF] = {0};
    hello.has_secret = 1;
    say_hello(&stranger, &hello);
    say(&stranger, zeros, sizeof zeros);
    TURN_UNTIL(&world, ended(&one, TRANSPORT_SECRET) == 1, &one);
    CHECK_EQ(ended(&one, TRANSPORT_REPLACED), 0);
    raft_message message = heartbeat(5, 1, 8);
    insider_says(&insider, &message);
    TURN_UNTIL(&world, one.kept_count == 1, &one);
    hang_up(&stranger);
    hang_up(&insider.stranger);
    station_end(&one);
    world_end(&world);
}

/* No nonce, no connection: what cannot be fresh is not tried. */
static void without_random_bytes_nobody_is_let_in(void)
{
    struct world world;
    struct station one, two;
    begin_secret_pair(&world, &one, &two);
    world.random_fails = 1;
    struct stranger stranger = call(&world, &one);
    TURN_UNTIL(&world, ended(&one, TRANSPORT_MEMORY) >= 3, &one, &two);
    TURN_UNTIL(&world, is_cut(&stranger), &one, &two);
    CHECK_EQ(stats_of(&one).bytes_sent + stats_of(&two).bytes_sent, 0);
    world.random_fails = 0;
    connect_pair(&world, &one, &two);
    hang_up(&stranger);
    end_pair(&world, &one, &two);
}

/* While a crowd of strangers fills every place, the servers still find each other. */
static void servers_get_through_a_crowd_of_strangers(void)
{
    enum { CROWD = 40 };
    struct world world;
    struct station one, two;
    struct stranger crowd[CROWD];
    struct secret secret = make_secret(common_text);
    world_begin(&world);
    station_begin_with(
        &one, &world, 1,
        &(struct transport_options){.connections_max = 4, .secret = &secret, .handshake_ms = 5000});
    begin_with_secret(&two, &world, 2, common_text);
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = call(&world, &one);
        if (i == CROWD / 2) {
            introduce(&two, &one);
        }
        struct station *const both[] = {&one, &two};
        turn(&world, both, 2);
    }
    TURN_UNTIL(&world, is_sending(&two, 1), &one, &two);
    send_on(&two, 1);
    TURN_UNTIL(&world, one.kept_count == 1, &one, &two);
    CHECK_EQ(two.downs, 0);
    for (int i = 0; i < CROWD; i++) {
        hang_up(&crowd[i]);
    }
    end_pair(&world, &one, &two);
}

static void run_all(void)
{
    RUN(servers_with_the_same_secret_hear_each_other);
    RUN(what_is_sent_before_the_keys_are_made_is_kept);
    RUN(seals_hold_however_bytes_arrive);
    RUN(a_frame_of_exactly_the_limit_passes);
    RUN(another_secret_is_refused_on_both_sides);
    RUN(one_without_a_secret_is_refused_on_both_sides);
    RUN(with_a_secret_addresses_outside_loopback_are_allowed);
    RUN(a_secret_out_of_range_is_refused);
    RUN(a_changed_byte_on_the_way_there_is_found);
    RUN(a_changed_byte_on_the_way_back_is_found);
    RUN(what_follows_a_changed_frame_is_not_heard);
    RUN(a_replayed_conversation_is_refused);
    RUN(a_frame_slipped_in_again_is_refused);
    RUN(a_frame_sent_back_is_refused);
    RUN(a_greeting_that_stops_is_given_up);
    RUN(who_authenticated_as_one_server_speaks_for_no_other);
    RUN(a_stranger_cannot_take_the_place_of_a_server);
    RUN(without_random_bytes_nobody_is_let_in);
    RUN(servers_get_through_a_crowd_of_strangers);
}

int main(void)
{
    run_all();
    without_epoll = 1;
    run_all();
    return check_done();
}
