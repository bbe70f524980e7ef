/*
 * The transport over real sockets on loopback (stations.h), without a secret: delivery, peers that
 * come, go and move, queues, and what strangers may try.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "stations.h"

#include <errno.h>

/* ---- Delivery -------------------------------------------------------------------------------- */

static void messages_arrive_both_ways_in_order(void)
{
    struct world world;
    struct station one, two;
    begin_pair(&world, &one, &two);
    connect_pair(&world, &one, &two);
    for (uint64_t round = 1; round <= 300; round++) {
        raft_message there = heartbeat(1, 2, round), back = heartbeat(2, 1, 1000 + round);
        transport_send(one.transport, &there);
        transport_send(two.transport, &back);
    }
    TURN_UNTIL(&world, one.kept_count == 300 && two.kept_count == 300, &one, &two);
    for (size_t i = 0; i < 300; i++) {
        CHECK_EQ(two.kept[i].message.round, i + 1);
        CHECK_EQ(one.kept[i].message.round, 1001 + i);
        CHECK_EQ(one.kept[i].message.from, 2);
    }
    CHECK_EQ(stats_of(&one).messages_sent, 300);
    CHECK_EQ(stats_of(&one).messages_received, 300);
    CHECK(stats_of(&one).frames_sent < 10);
    CHECK_EQ(stats_of(&one).messages_dropped, 0);
    CHECK_EQ(one.ups, 1);
    CHECK_EQ(one.downs, 0);
    end_pair(&world, &one, &two);
}

static void entries_arrive_intact_without_a_copy_on_the_way_out(void)
{
    struct world world;
    struct station one, two;
    begin_pair(&world, &one, &two);
    connect_pair(&world, &one, &two);
    struct payload entries = make_entries(64, 256, 5);
    raft_message message = append_of(1, 2, &entries);
    transport_send(one.transport, &message);
    transport_flush(one.transport);
    uint32_t checksum = parts_checksum(&message);
    memset(entries.data, 0, entries.size); /* lent until the flush only */
    TURN_UNTIL(&world, two.kept_count == 1, &one, &two);
    CHECK_EQ(two.kept[0].checksum, checksum);
    CHECK_EQ(two.kept[0].message.ranges[0].first, 10);
    CHECK_EQ(two.kept[0].message.ranges[0].count, 64);
    CHECK_EQ(stats_of(&one).bytes_copied, 0);
    free(entries.data);
    end_pair(&world, &one, &two);
}

/* As many ranges as the engine may lend at once, several such messages in one flush. */
static void messages_in_many_ranges_arrive_as_one_each(void)
{
    struct world world;
    struct station one, two;
    struct payload payloads[RAFT_RANGES_MAX];
    begin_pair(&world, &one, &two);
    connect_pair(&world, &one, &two);
    for (size_t ranges = 1; ranges <= RAFT_RANGES_MAX; ranges++) {
        size_t count = 0;
        raft_message message;
        for (size_t i = 0; i < ranges; i++) {
            payloads[i] = make_entries((uint32_t)i + 2, 20 + 7 * (uint32_t)i, (uint8_t)(i + 1));
        }
        message = append_of(1, 2, &payloads[0]);
        message.range_count = ranges;
        for (size_t i = 0; i < ranges; i++) {
            message.ranges[i] =
                (raft_range){10 + count, 3, payloads[i].count, payloads[i].size, payloads[i].data};
            count += payloads[i].count;
        }
        uint32_t checksum = parts_checksum(&message);
        size_t before = two.kept_count;
        transport_send(one.transport, &message);
        transport_send(one.transport, &message);
        TURN_UNTIL(&world, two.kept_count == before + 2, &one, &two);
        CHECK_EQ(two.kept[before + 1].message.range_count, 1);
        CHECK_EQ(two.kept[before + 1].message.ranges[0].count, count);
        CHECK_EQ(two.kept[before].checksum, checksum);
        CHECK_EQ(two.kept[before + 1].checksum, checksum);
        for (size_t i = 0; i < ranges; i++) {
            free(payloads[i].data);
        }
    }
    end_pair(&world, &one, &two);
}

/* What is sent while the socket or the hello is not ready yet is kept, and leaves in order. */
static void what_is_sent_while_connecting_is_kept(void)
{
    struct world world;
    struct station one, two;
    begin_pair(&world, &one, &two);
    transport_tick(one.transport, world.now_ms); /* dials */
    struct payload entries = make_entries(10, 100, 7);
    for (uint64_t round = 1; round <= 10; round++) {
        raft_message message = append_of(1, 2, &entries);
        message.commit = round;
        transport_send(one.transport, &message);
    }
    transport_flush(one.transport);
    uint32_t checksum = crc32c(0, entries.data, entries.size);
    memset(entries.data, 0, entries.size);
    TURN_UNTIL(&world, two.kept_count == 10, &one, &two);
    for (size_t i = 0; i < 10; i++) {
        CHECK_EQ(two.kept[i].message.commit, i + 1);
        CHECK_EQ(two.kept[i].checksum, checksum);
    }
    free(entries.data);
    end_pair(&world, &one, &two);
}

static void on_message_may_send_and_flush(void)
{
    struct world world;
    struct station one, two;
    begin_pair(&world, &one, &two);
    connect_pair(&world, &one, &two);
    two.answer_to = 1;
    raft_message message = heartbeat(1, 2, 5);
    transport_send(one.transport, &message);
    TURN_UNTIL(&world, one.kept_count == 1, &one, &two);
    CHECK_EQ(one.kept[0].message.round, 5);
    end_pair(&world, &one, &two);
}

/* Sends messages from tiny to megabytes through calls that do as little as they may. */
static void deliver_under(struct faults faults, size_t largest)
{
    struct world world;
    struct station one, two;
    begin_pair(&world, &one, &two);
    world.faults = faults;
    world.faults.random = 7;
    connect_pair(&world, &one, &two);
    size_t sent = 0;
    uint32_t checksums[64];
    for (size_t bytes = 1; bytes <= largest; bytes = bytes * 3 + 1) {
        struct payload entries = make_entries(2, bytes, (unsigned)bytes);
        raft_message message = append_of(1, 2, &entries);
        checksums[sent++] = parts_checksum(&message);
        transport_send(one.transport, &message);
        transport_flush(one.transport);
        free(entries.data);
    }
    TURN_UNTIL(&world, two.kept_count == sent, &one, &two);
    for (size_t i = 0; i < sent; i++) {
        CHECK_EQ(two.kept[i].checksum, checksums[i]);
    }
    CHECK_EQ(one.downs, 0);
    end_pair(&world, &one, &two);
}

static void every_call_moves_at_most_a_byte(void)
{
    deliver_under((struct faults){.bytes_max = 1}, 500);
}

static void every_call_is_short(void)
{
    deliver_under((struct faults){.bytes_max = 7}, 2000);
    deliver_under((struct faults){.bytes_max = 1000}, 200000);
}

static void calls_are_interrupted_and_would_block(void)
{
    deliver_under((struct faults){.interrupted = 40, .blocked = 30}, 100000);
    deliver_under((struct faults){.interrupted = 20, .blocked = 20, .bytes_max = 50}, 5000);
}

static void megabytes_pass_through_many_reads(void)
{
    deliver_under((struct faults){0}, 7000000);
}

/* ---- Losing and finding again ---------------------------------------------------------------- */

static void a_peer_that_comes_back_is_found_again(void)
{
    struct world world;
    struct station one, two;
    char address[32];
    begin_pair(&world, &one, &two);
    connect_pair(&world, &one, &two);
    snprintf(address, sizeof address, "127.0.0.1:%u", transport_port(two.transport));
    station_end(&two);
    TURN_UNTIL(&world, one.downs == 1 && ended(&one, TRANSPORT_NETWORK) >= 3, &one);
    CHECK(!is_sending(&one, 2));
    raft_message message = heartbeat(1, 2, 1);
    transport_send(one.transport, &message);
    station_begin_with(&two, &world, 2, &(struct transport_options){.listen = address});
    introduce(&two, &one);
    connect_pair(&world, &one, &two);
    message.round = 2;
    transport_send(one.transport, &message);
    TURN_UNTIL(&world, two.kept_count >= 1, &one, &two);
    CHECK_EQ(two.kept[two.kept_count - 1].message.round, 2);
    CHECK_EQ(one.ups, 2);
    end_pair(&world, &one, &two);
}

static void pauses_between_dials_grow_up_to_their_bound(void)
{
    struct world world;
    struct station one;
    world_begin(&world);
    station_begin(&one, &world, 1);
    world.faults.connect_fails = ECONNREFUSED;
    CHECK_EQ(transport_peer(one.transport, 2, "127.0.0.1:9"), 0);
    uint64_t last = 0;
    for (uint64_t dials = 1; dials <= 20; dials++) {
        transport_tick(one.transport, world.now_ms);
        CHECK_EQ(stats_of(&one).dialled, dials);
        uint64_t pause = transport_deadline(one.transport) - world.now_ms;
        CHECK(pause >= 10 && pause <= 1000);
        CHECK(dials < 8 || pause >= 500);
        transport_tick(one.transport, world.now_ms + pause - 1);
        CHECK_EQ(stats_of(&one).dialled, dials);
        world.now_ms += pause;
        last = pause;
    }
    CHECK(last >= 500);
    CHECK_EQ(ended(&one, TRANSPORT_NETWORK), 20);
    struct transport_peer_status status;
    CHECK_EQ(transport_peer_status(one.transport, 2, &status), 0);
    CHECK_EQ(status.reason, TRANSPORT_NETWORK);
    CHECK(strlen(transport_reason_text(status.reason)) > 0);
    station_end(&one);
    world_end(&world);
}

static void a_peer_that_takes_nothing_is_given_up(void)
{
    struct world world;
    struct station one, two;
    begin_pair(&world, &one, &two);
    connect_pair(&world, &one, &two);
    world.faults.writes_block = 1;
    raft_message message = heartbeat(1, 2, 1);
    transport_send(one.transport, &message);
    transport_flush(one.transport);
    CHECK_EQ(transport_deadline(one.transport), world.now_ms + 5000);
    transport_tick(one.transport, world.now_ms + 4999);
    CHECK_EQ(ended(&one, TRANSPORT_TIMEOUT), 0);
    transport_tick(one.transport, world.now_ms + 5000);
    CHECK_EQ(ended(&one, TRANSPORT_TIMEOUT), 1);
    CHECK_EQ(one.downs, 1);
    end_pair(&world, &one, &two);
}

static void a_new_address_is_dialled_and_the_old_connection_closed(void)
{
    struct world world;
    struct station one, two, other;
    begin_pair(&world, &one, &two);
    station_begin(&other, &world, 2);
    connect_pair(&world, &one, &two);
    introduce(&one, &two);
    CHECK(is_sending(&one, 2)); /* the same address: nothing changes */
    introduce(&one, &other);
    CHECK(!is_sending(&one, 2));
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two, &other);
    raft_message message = heartbeat(1, 2, 4);
    transport_send(one.transport, &message);
    TURN_UNTIL(&world, other.kept_count == 1, &one, &two, &other);
    CHECK_EQ(two.kept_count, 0);
    station_end(&other);
    end_pair(&world, &one, &two);
}

static void a_forgotten_peer_is_sent_nothing(void)
{
    struct world world;
    struct station one, two;
    struct transport_peer_status status;
    begin_pair(&world, &one, &two);
    connect_pair(&world, &one, &two);
    transport_forget(one.transport, 2);
    transport_forget(one.transport, 3);
    CHECK_EQ(transport_peer_status(one.transport, 2, &status), -ENOENT);
    raft_message message = heartbeat(1, 2, 4);
    transport_send(one.transport, &message);
    CHECK_EQ(stats_of(&one).messages_dropped, 1);
    end_pair(&world, &one, &two);
}

/* ---- Bounds ---------------------------------------------------------------------------------- */

static void a_full_queue_drops_whole_messages(void)
{
    struct world world;
    struct station one, two;
    struct transport_options bounds = {.frame_bytes_max = 4096, .queue_bytes_max = 10000};
    world_begin(&world);
    station_begin_with(&one, &world, 1, &bounds);
    station_begin_with(&two, &world, 2, &bounds);
    introduce(&one, &two);
    introduce(&two, &one);
    connect_pair(&world, &one, &two);
    world.faults.writes_block = 1;
    struct payload entries = make_entries(4, 200, 3);
    uint64_t sent = 0;
    for (uint64_t round = 1; round <= 100; round++) {
        raft_message message = append_of(1, 2, &entries);
        message.commit = round;
        transport_send(one.transport, &message);
        if (round % 3 == 0) {
            transport_flush(one.transport);
        }
        struct transport_peer_status status;
        CHECK_EQ(transport_peer_status(one.transport, 2, &status), 0);
        CHECK(status.queued_bytes <= 10000);
    }
    transport_flush(one.transport);
    sent = stats_of(&one).messages_sent;
    CHECK(sent >= 8 && sent < 20);
    CHECK_EQ(stats_of(&one).messages_dropped, 100 - sent);
    world.faults.writes_block = 0;
    TURN_UNTIL(&world, two.kept_count == sent, &one, &two);
    for (size_t i = 0; i < sent; i++) {
        CHECK_EQ(two.kept[i].message.commit, i + 1);
        CHECK_EQ(two.kept[i].checksum, crc32c(0, entries.data, entries.size));
    }
    raft_message message = append_of(1, 2, &entries);
    transport_send(one.transport, &message);
    TURN_UNTIL(&world, two.kept_count == sent + 1, &one, &two);
    free(entries.data);
    end_pair(&world, &one, &two);
}

static void a_message_above_the_frame_limit_is_not_sent(void)
{
    struct world world;
    struct station one, two;
    struct transport_options bounds = {.frame_bytes_max = 4096};
    world_begin(&world);
    station_begin_with(&one, &world, 1, &bounds);
    station_begin_with(&two, &world, 2, &bounds);
    introduce(&one, &two);
    introduce(&two, &one);
    connect_pair(&world, &one, &two);
    /* 16 bytes of frame and prefix, 96 of header, 8 of entry header: 3976 are left. */
    struct payload fits = make_entries(1, 3976, 1), exceeds = make_entries(1, 3977, 1);
    raft_message small = append_of(1, 2, &fits), large = append_of(1, 2, &exceeds);
    transport_send(one.transport, &large);
    transport_send(one.transport, &small);
    TURN_UNTIL(&world, two.kept_count == 1, &one, &two);
    CHECK_EQ(two.kept[0].bytes, fits.size);
    CHECK_EQ(stats_of(&one).messages_dropped, 1);
    CHECK_EQ(ended(&two, TRANSPORT_LENGTH), 0);
    free(fits.data);
    free(exceeds.data);
    end_pair(&world, &one, &two);
}

/* Together above the limit, one by one below: they go in several frames. */
static void gathered_messages_keep_the_frame_limit(void)
{
    struct world world;
    struct station one, two;
    struct transport_options bounds = {.frame_bytes_max = 4096, .queue_bytes_max = 100000};
    world_begin(&world);
    station_begin_with(&one, &world, 1, &bounds);
    station_begin_with(&two, &world, 2, &bounds);
    introduce(&one, &two);
    introduce(&two, &one);
    connect_pair(&world, &one, &two);
    struct payload entries = make_entries(3, 400, 3);
    for (int i = 0; i < 20; i++) {
        raft_message message = append_of(1, 2, &entries);
        transport_send(one.transport, &message);
    }
    TURN_UNTIL(&world, two.kept_count == 20, &one, &two);
    /* A message takes 8 + 96 + 3 * 408 bytes: three fit beside the frame's header, four do not. */
    CHECK_EQ(stats_of(&one).frames_sent, 7);
    CHECK_EQ(ended(&two, TRANSPORT_LENGTH), 0);
    free(entries.data);
    end_pair(&world, &one, &two);
}

static void what_cannot_be_sent_is_counted(void)
{
    struct world world;
    struct station one;
    world_begin(&world);
    station_begin(&one, &world, 1);
    raft_message stranger = heartbeat(1, 9, 1);
    transport_send(one.transport, &stranger);
    CHECK_EQ(transport_peer(one.transport, 2, "127.0.0.1:9"), 0);
    raft_message unconnected = heartbeat(1, 2, 1);
    transport_send(one.transport, &unconnected);
    transport_flush(one.transport);
    CHECK_EQ(stats_of(&one).messages_dropped, 2);
    CHECK_EQ(stats_of(&one).messages_sent, 0);
    station_end(&one);
    world_end(&world);
}

/* ---- Strangers: bytes written by hand -------------------------------------------------------- */

/* Whether one caller is gone. With our answer still unread, its leaving arrives as a reset. */
static int has_left(const struct station *station)
{
    return ended(station, TRANSPORT_CLOSED) + ended(station, TRANSPORT_NETWORK) == 1;
}

static void put_size(uint8_t *out, uint32_t size)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(size >> 8 * i);
    }
}

static void sum_again(uint8_t *frame, size_t size)
{
    struct iovec body = {frame + FRAME_HEADER, size - FRAME_HEADER};
    frame_header(&body, 1, frame);
}

/* Station one is connected with station two all the while; a stranger calls one. */
struct scene {
    struct world world;
    struct station one, two;
    struct stranger stranger;
};

static void scene_begin(struct scene *scene)
{
    begin_pair(&scene->world, &scene->one, &scene->two);
    connect_pair(&scene->world, &scene->one, &scene->two);
    scene->stranger = call(&scene->world, &scene->one);
}

/* The stranger is cut for that reason, and the good connection goes on. */
static void scene_end_cut(struct scene *scene, enum transport_reason reason)
{
    TURN_UNTIL(&scene->world, ended(&scene->one, reason) == 1, &scene->one, &scene->two);
    TURN_UNTIL(&scene->world, is_cut(&scene->stranger), &scene->one, &scene->two);
    CHECK_EQ(stats_of(&scene->one).last_refusal, reason);
    size_t kept = scene->one.kept_count;
    raft_message message = heartbeat(2, 1, 99);
    transport_send(scene->two.transport, &message);
    TURN_UNTIL(&scene->world, scene->one.kept_count == kept + 1, &scene->one, &scene->two);
    CHECK_EQ(scene->two.downs, 0);
    hang_up(&scene->stranger);
    end_pair(&scene->world, &scene->one, &scene->two);
}

static void a_well_behaved_stranger_of_the_cluster_is_heard(void)
{
    struct scene scene;
    uint8_t frame[4096];
    scene_begin(&scene);
    struct hello hello = good_hello();
    say_hello(&scene.stranger, &hello);
    raft_message message = heartbeat(5, 1, 31);
    say(&scene.stranger, frame, make_frame(frame, &message));
    TURN_UNTIL(&scene.world, scene.one.kept_count == 1, &scene.one, &scene.two);
    CHECK_EQ(scene.one.kept[0].message.from, 5);
    CHECK_EQ(scene.one.kept[0].message.round, 31);
    hang_up(&scene.stranger);
    TURN_UNTIL(&scene.world, has_left(&scene.one), &scene.one, &scene.two);
    end_pair(&scene.world, &scene.one, &scene.two);
}

static void an_http_client_is_cut_at_its_first_byte(void)
{
    struct scene scene;
    scene_begin(&scene);
    say(&scene.stranger, "G", 1);
    scene_end_cut(&scene, TRANSPORT_MAGIC);
}

static void a_hello_of_another_cluster_is_cut(void)
{
    struct scene scene;
    scene_begin(&scene);
    struct hello hello = good_hello();
    hello.cluster++;
    say_hello(&scene.stranger, &hello);
    scene_end_cut(&scene, TRANSPORT_CLUSTER);
}

static void cut_for_identity(raft_id from, raft_id to)
{
    struct scene scene;
    scene_begin(&scene);
    struct hello hello = good_hello();
    hello.from = from;
    hello.to = to;
    say_hello(&scene.stranger, &hello);
    scene_end_cut(&scene, TRANSPORT_IDENTITY);
}

static void a_hello_from_or_to_the_wrong_server_is_cut(void)
{
    cut_for_identity(5, 3); /* looks for another */
    cut_for_identity(5, 0);
    cut_for_identity(0, 1); /* is nobody */
    cut_for_identity(1, 1); /* pretends to be the one it calls */
}

static void a_hello_of_another_version_is_cut(void)
{
    struct scene scene;
    uint8_t bytes[HELLO_BYTES_MAX];
    scene_begin(&scene);
    struct hello hello = good_hello();
    size_t size = hello_encode(&hello, bytes);
    bytes[8]++;
    say(&scene.stranger, bytes, size);
    scene_end_cut(&scene, TRANSPORT_VERSION);
}

static void a_damaged_hello_is_cut(void)
{
    struct scene scene;
    uint8_t bytes[HELLO_BYTES_MAX];
    scene_begin(&scene);
    struct hello hello = good_hello();
    size_t size = hello_encode(&hello, bytes);
    bytes[17] ^= 1;
    say(&scene.stranger, bytes, size);
    scene_end_cut(&scene, TRANSPORT_CHECKSUM);
}

static void a_hello_with_an_endless_address_is_cut(void)
{
    struct scene scene;
    uint8_t bytes[HELLO_BYTES_MAX];
    scene_begin(&scene);
    struct hello hello = good_hello();
    hello_encode(&hello, bytes);
    put_size(bytes + 12, 256);
    say(&scene.stranger, bytes, 16);
    scene_end_cut(&scene, TRANSPORT_LENGTH);
}

static void a_silent_caller_is_cut_after_a_while(void)
{
    struct scene scene;
    scene_begin(&scene);
    TURN_UNTIL(&scene.world, stats_of(&scene.one).accepted == 2, &scene.one, &scene.two);
    scene.world.now_ms += 1990;
    transport_tick(scene.one.transport, scene.world.now_ms);
    CHECK_EQ(ended(&scene.one, TRANSPORT_TIMEOUT), 0);
    TURN_UNTIL(&scene.world, is_cut(&scene.stranger), &scene.one, &scene.two);
    CHECK_EQ(ended(&scene.one, TRANSPORT_TIMEOUT), 1);
    CHECK_EQ(scene.two.downs, 0);
    hang_up(&scene.stranger);
    end_pair(&scene.world, &scene.one, &scene.two);
}

/* Greets, says the bytes, and is cut for that reason. */
static void cut_for_bytes(const uint8_t *bytes, size_t size, enum transport_reason reason)
{
    struct scene scene;
    scene_begin(&scene);
    struct hello hello = good_hello();
    say_hello(&scene.stranger, &hello);
    say(&scene.stranger, bytes, size);
    scene_end_cut(&scene, reason);
}

static void impossible_frame_sizes_are_cut_before_any_body(void)
{
    static const uint32_t sizes[] = {0, 1, 8, 96, 105, 0x7fffffff, 0xfffffff8, 0xffffffff};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t bytes[4];
        put_size(bytes, sizes[i]);
        cut_for_bytes(bytes, 4, TRANSPORT_LENGTH);
    }
}

static void a_damaged_frame_is_cut(void)
{
    uint8_t frame[4096];
    raft_message message = heartbeat(5, 1, 31);
    size_t size = make_frame(frame, &message);
    frame[size - 1] ^= 0x40;
    cut_for_bytes(frame, size, TRANSPORT_CHECKSUM);
    frame[size - 1] ^= 0x40;
    frame[5] ^= 1;
    cut_for_bytes(frame, size, TRANSPORT_CHECKSUM);
}

static void message_sizes_that_do_not_add_up_are_cut(void)
{
    static const uint32_t sizes[] = {97, 104, 1 << 20, 0xfffffff8, 0xffffffff};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t frame[4096];
        raft_message message = heartbeat(5, 1, 31);
        size_t size = make_frame(frame, &message);
        put_size(frame + FRAME_HEADER, sizes[i]);
        sum_again(frame, size);
        cut_for_bytes(frame, size, TRANSPORT_LENGTH);
    }
}

static void an_undecodable_message_is_cut(void)
{
    uint8_t frame[4096];
    raft_message message = heartbeat(5, 1, 31);
    size_t size = make_frame(frame, &message);
    frame[FRAME_HEADER + FRAME_PREFIX + 1] = 200; /* the kind */
    sum_again(frame, size);
    cut_for_bytes(frame, size, TRANSPORT_MESSAGE);
    put_size(frame + FRAME_HEADER, 0); /* the first message is empty */
    sum_again(frame, size);
    cut_for_bytes(frame, size, TRANSPORT_MESSAGE);
}

static void cut_for_message(const raft_message *message)
{
    uint8_t frame[4096];
    cut_for_bytes(frame, make_frame(frame, message), TRANSPORT_FOREIGN);
}

static void a_message_that_contradicts_the_hello_is_cut(void)
{
    raft_message message = heartbeat(2, 1, 31);
    cut_for_message(&message); /* another sender */
    message = heartbeat(5, 2, 31);
    cut_for_message(&message); /* another receiver */
    message = heartbeat(5, 1, 31);
    message.cluster++;
    cut_for_message(&message);
}

static void random_bytes_after_a_hello_are_cut(void)
{
    struct faults dice = {.random = 99};
    for (int round = 0; round < 40; round++) {
        struct scene scene;
        uint8_t bytes[600];
        scene_begin(&scene);
        struct hello hello = good_hello();
        say_hello(&scene.stranger, &hello);
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = (uint8_t)next_random(&dice);
        }
        bytes[2] = bytes[3] = 0; /* sizes that may be true */
        bytes[1] &= 1;
        say(&scene.stranger, bytes, sizeof bytes);
        TURN_UNTIL(&scene.world, is_cut(&scene.stranger), &scene.one, &scene.two);
        CHECK_EQ(scene.one.kept_count, 0);
        hang_up(&scene.stranger);
        end_pair(&scene.world, &scene.one, &scene.two);
    }
}

/* A size is believed only as its bytes arrive: 16 MB announced, 100 bytes sent, nobody harmed. */
static void an_announced_size_takes_no_memory(void)
{
    struct scene scene;
    uint8_t bytes[108] = {0};
    scene_begin(&scene);
    struct hello hello = good_hello();
    say_hello(&scene.stranger, &hello);
    put_size(bytes, 16u << 20);
    say(&scene.stranger, bytes, sizeof bytes);
    uint64_t before = stats_of(&scene.one).bytes_received;
    TURN_UNTIL(&scene.world, stats_of(&scene.one).bytes_received > before, &scene.one, &scene.two);
    hang_up(&scene.stranger);
    TURN_UNTIL(&scene.world, has_left(&scene.one), &scene.one, &scene.two);
    end_pair(&scene.world, &scene.one, &scene.two);
}

/* Callers who say nothing take no place for long: the oldest of them makes room for the next. */
static void the_oldest_stranger_makes_room_for_the_next(void)
{
    struct world world;
    struct station one;
    struct stranger callers[6];
    world_begin(&world);
    station_begin_with(&one, &world, 1, &(struct transport_options){.connections_max = 3});
    for (uint64_t i = 0; i < 6; i++) {
        callers[i] = call(&world, &one);
        TURN_UNTIL(&world, stats_of(&one).accepted == i + 1, &one);
        CHECK_EQ(ended(&one, TRANSPORT_LIMIT), i < 3 ? 0 : i - 2);
        CHECK_EQ(stats_of(&one).last_refusal, i < 3 ? TRANSPORT_NONE : TRANSPORT_LIMIT);
        if (i >= 3) {
            TURN_UNTIL(&world, is_cut(&callers[i - 3]), &one);
        }
    }
    for (int i = 3; i < 6; i++) {
        CHECK(!is_cut(&callers[i]));
    }
    for (int i = 0; i < 6; i++) {
        hang_up(&callers[i]);
    }
    station_end(&one);
    world_end(&world);
}

/* Whoever was let in stays, and where only such are left, the next caller is turned away. */
static void who_was_let_in_is_not_pushed_out(void)
{
    struct world world;
    struct station one;
    struct stranger callers[4];
    world_begin(&world);
    station_begin_with(&one, &world, 1, &(struct transport_options){.connections_max = 3});
    for (uint64_t i = 0; i < 3; i++) {
        struct hello hello = good_hello();
        struct transport_peer_status status;
        hello.from = 5 + i;
        callers[i] = call(&world, &one);
        say_hello(&callers[i], &hello);
        TURN_UNTIL(&world, transport_peer_status(one.transport, 5 + i, &status) == 0, &one);
    }
    callers[3] = call(&world, &one);
    TURN_UNTIL(&world, ended(&one, TRANSPORT_LIMIT) == 1, &one);
    TURN_UNTIL(&world, is_cut(&callers[3]), &one);
    CHECK_EQ(stats_of(&one).accepted, 3);
    hang_up(&callers[0]);
    hang_up(&callers[3]);
    TURN_UNTIL(&world, has_left(&one), &one);
    callers[3] = call(&world, &one);
    TURN_UNTIL(&world, stats_of(&one).accepted == 4, &one);
    for (int i = 1; i < 4; i++) {
        hang_up(&callers[i]);
    }
    station_end(&one);
    world_end(&world);
}

static void without_descriptors_accepting_rests_and_resumes(void)
{
    struct world world;
    struct station one, two;
    begin_pair(&world, &one, &two);
    world.faults.accept_fails = EMFILE;
    struct stranger caller = call(&world, &one);
    uint64_t before = world.now_ms;
    TURN_UNTIL(&world, world.now_ms > before + 50, &one, &two);
    CHECK_EQ(stats_of(&one).accepted, 0);
    world.faults.accept_fails = 0;
    TURN_UNTIL(&world, stats_of(&one).accepted >= 1, &one, &two);
    hang_up(&caller);
    end_pair(&world, &one, &two);
}

static void a_peer_that_calls_twice_is_heard_on_the_newer_connection(void)
{
    struct scene scene;
    uint8_t frame[4096];
    scene_begin(&scene);
    struct hello hello = good_hello();
    say_hello(&scene.stranger, &hello);
    struct stranger again = call(&scene.world, &scene.one);
    TURN_UNTIL(&scene.world, stats_of(&scene.one).accepted == 3, &scene.one, &scene.two);
    say_hello(&again, &hello);
    TURN_UNTIL(&scene.world, is_cut(&scene.stranger), &scene.one, &scene.two);
    CHECK_EQ(ended(&scene.one, TRANSPORT_REPLACED), 1);
    raft_message message = heartbeat(5, 1, 8);
    say(&again, frame, make_frame(frame, &message));
    TURN_UNTIL(&scene.world, scene.one.kept_count == 1, &scene.one, &scene.two);
    hang_up(&again);
    hang_up(&scene.stranger);
    end_pair(&scene.world, &scene.one, &scene.two);
}

/* ---- The caller's view of a refusal ---------------------------------------------------------- */

static void both_sides_know_why_they_do_not_talk(void)
{
    struct world world;
    struct station one, two;
    world_begin(&world);
    station_begin(&one, &world, 1);
    station_begin_with(&two, &world, 2, &(struct transport_options){.cluster = CLUSTER + 1});
    introduce(&one, &two);
    TURN_UNTIL(&world, ended(&one, TRANSPORT_CLUSTER) >= 1 && ended(&two, TRANSPORT_CLUSTER) >= 1,
               &one, &two);
    CHECK_EQ(one.ups, 0);
    CHECK_EQ(one.downs, 0);
    end_pair(&world, &one, &two);
}

/* Whoever listens at the address learns the hello, and no message until it has answered well. */
static void nothing_but_the_hello_leaves_before_it_is_answered(void)
{
    struct world world;
    struct station one;
    struct address address;
    char text[ADDRESS_TEXT_MAX];
    uint8_t bytes[1024];
    size_t got = 0;
    world_begin(&world);
    station_begin(&one, &world, 1);
    CHECK_EQ(address_parse("127.0.0.1:0", &address), 0);
    int listener = address_listen(&io_posix, &address, 1);
    CHECK(listener >= 0);
    address_format(&address, text);
    CHECK_EQ(transport_peer(one.transport, 2, text), 0);
    transport_tick(one.transport, world.now_ms);
    raft_message message = heartbeat(1, 2, 1);
    transport_send(one.transport, &message);
    int fd = -1;
    TURN_UNTIL(&world, fd >= 0 || (fd = io_posix.accept(NULL, listener, NULL, NULL)) >= 0, &one);
    for (int i = 0; i < 100; i++) {
        struct station *const only[] = {&one};
        turn(&world, only, 1);
        long part = io_posix.read(NULL, fd, bytes + got, sizeof bytes - got);
        got += part > 0 ? (size_t)part : 0;
    }
    struct hello hello;
    CHECK(got > 0);
    CHECK_EQ(hello_decode(bytes, got, &hello), (long)got);
    CHECK_EQ(hello.from, 1);
    CHECK_EQ(hello.to, 2);
    CHECK_EQ(hello.cluster, CLUSTER);
    hello = (struct hello){.cluster = CLUSTER, .from = 2, .to = 1};
    say(&(struct stranger){&world, fd}, bytes, hello_encode(&hello, bytes));
    long more = 0;
    TURN_UNTIL(&world, more > 0 || (more = io_posix.read(NULL, fd, bytes, sizeof bytes)) > 0, &one);
    CHECK_EQ(more, FRAME_BYTES_MIN);
    io_posix.close(NULL, fd);
    io_posix.close(NULL, listener);
    station_end(&one);
    world_end(&world);
}

static void a_server_with_another_id_at_the_address_is_refused(void)
{
    struct world world;
    struct station one, two;
    char address[32];
    world_begin(&world);
    station_begin(&one, &world, 1);
    station_begin(&two, &world, 2);
    snprintf(address, sizeof address, "127.0.0.1:%u", transport_port(two.transport));
    CHECK_EQ(transport_peer(one.transport, 3, address), 0);
    TURN_UNTIL(&world, ended(&one, TRANSPORT_IDENTITY) >= 1, &one, &two);
    CHECK_EQ(one.ups, 0);
    end_pair(&world, &one, &two);
}

/* ---- Options and addresses ------------------------------------------------------------------- */

static int opening_gives(struct world *world, const char *listen, int allow_insecure)
{
    struct station station = {.world = world, .id = 1};
    struct transport_options options = station_options(&station);
    options.listen = listen;
    options.allow_insecure = allow_insecure;
    int status = transport_open(&options, &station.transport);
    if (!status) {
        transport_close(station.transport);
    }
    return status;
}

static void addresses_outside_loopback_need_a_word(void)
{
    struct world world;
    struct station one;
    world_begin(&world);
    CHECK_EQ(opening_gives(&world, "0.0.0.0:0", 0), -EACCES);
    CHECK_EQ(opening_gives(&world, "[::]:0", 0), -EACCES);
    CHECK_EQ(opening_gives(&world, "192.0.2.1:0", 0), -EACCES);
    CHECK_EQ(opening_gives(&world, "0.0.0.0:0", 1), 0);
    CHECK_EQ(opening_gives(&world, "127.0.0.1:0", 0), 0);
    CHECK_EQ(opening_gives(&world, "127.0.0.1", 0), -EINVAL);
    CHECK_EQ(opening_gives(&world, NULL, 0), -EINVAL);
    station_begin(&one, &world, 1);
    CHECK_EQ(transport_peer(one.transport, 2, "192.0.2.1:7000"), -EACCES);
    CHECK_EQ(transport_peer(one.transport, 1, "127.0.0.1:7000"), -EINVAL);
    CHECK_EQ(transport_peer(one.transport, 0, "127.0.0.1:7000"), -EINVAL);
    CHECK_EQ(transport_peer(one.transport, 2, "127.0.0.1:70000"), -EINVAL);
    station_end(&one);
    transport_close(NULL);
    world_end(&world);
}

static void options_out_of_range_are_refused(void)
{
    struct world world;
    world_begin(&world);
    struct station station = {.world = &world, .id = 1};
    struct transport_options good = station_options(&station), bad = good;
    bad.id = 0;
    CHECK_EQ(transport_open(&bad, &station.transport), -EINVAL);
    bad = good;
    bad.on_message = NULL;
    CHECK_EQ(transport_open(&bad, &station.transport), -EINVAL);
    bad = good;
    bad.frame_bytes_max = FRAME_BYTES_MIN - 1;
    CHECK_EQ(transport_open(&bad, &station.transport), -EINVAL);
    bad = good;
    bad.frame_bytes_max = 5000;
    bad.queue_bytes_max = 4999;
    CHECK_EQ(transport_open(&bad, &station.transport), -EINVAL);
    bad = good;
    bad.backoff_min_ms = 2000;
    CHECK_EQ(transport_open(&bad, &station.transport), -EINVAL);
    world_end(&world);
}

static void check_address(const char *text, int status, const char *formatted, int is_loopback)
{
    struct address address;
    char out[ADDRESS_TEXT_MAX];
    CHECK_EQ(address_parse(text, &address), status);
    if (!status) {
        address_format(&address, out);
        CHECK_STR(out, formatted);
        CHECK_EQ(address_is_loopback(&address), is_loopback);
    }
}

static void addresses_are_read_as_people_write_them(void)
{
    check_address("127.0.0.1:7001", 0, "127.0.0.1:7001", 1);
    check_address("127.255.0.9:0", 0, "127.255.0.9:0", 1);
    check_address("10.0.0.1:65535", 0, "10.0.0.1:65535", 0);
    check_address("[::1]:80", 0, "[::1]:80", 1);
    check_address("[2001:db8::1]:80", 0, "[2001:db8::1]:80", 0);
    check_address("[::ffff:127.0.0.1]:80", 0, "[::ffff:127.0.0.1]:80", 0);
    static const char *const nonsense[] = {"",
                                           ":",
                                           ":80",
                                           "127.0.0.1",
                                           "1.2.3.4:",
                                           "1.2.3.4:x",
                                           "1.2.3.4:65536",
                                           "1.2.3.4:-1",
                                           "1.2.3.4:99999999999",
                                           "::1:80",
                                           "[::1]80",
                                           "[]:80",
                                           "[1.2.3.4]:80",
                                           "[::1:80",
                                           "1.2.3.4: 80"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        check_address(nonsense[i], -EINVAL, "", 0);
    }
    CHECK_EQ(address_parse(NULL, &(struct address){.length = 0}), -EINVAL);
}

static void every_reason_has_a_sentence(void)
{
    for (int reason = 0; reason < TRANSPORT_REASONS; reason++) {
        CHECK(strcmp(transport_reason_name((enum transport_reason)reason), "unknown") != 0);
        CHECK(strcmp(transport_reason_text((enum transport_reason)reason), "unknown reason") != 0);
    }
}

static void run_all(void)
{
    RUN(messages_arrive_both_ways_in_order);
    RUN(entries_arrive_intact_without_a_copy_on_the_way_out);
    RUN(messages_in_many_ranges_arrive_as_one_each);
    RUN(what_is_sent_while_connecting_is_kept);
    RUN(on_message_may_send_and_flush);
    RUN(every_call_moves_at_most_a_byte);
    RUN(every_call_is_short);
    RUN(calls_are_interrupted_and_would_block);
    RUN(megabytes_pass_through_many_reads);
    RUN(a_peer_that_comes_back_is_found_again);
    RUN(pauses_between_dials_grow_up_to_their_bound);
    RUN(a_peer_that_takes_nothing_is_given_up);
    RUN(a_new_address_is_dialled_and_the_old_connection_closed);
    RUN(a_forgotten_peer_is_sent_nothing);
    RUN(a_full_queue_drops_whole_messages);
    RUN(a_message_above_the_frame_limit_is_not_sent);
    RUN(gathered_messages_keep_the_frame_limit);
    RUN(what_cannot_be_sent_is_counted);
    RUN(a_well_behaved_stranger_of_the_cluster_is_heard);
    RUN(an_http_client_is_cut_at_its_first_byte);
    RUN(a_hello_of_another_cluster_is_cut);
    RUN(a_hello_from_or_to_the_wrong_server_is_cut);
    RUN(a_hello_of_another_version_is_cut);
    RUN(a_damaged_hello_is_cut);
    RUN(a_hello_with_an_endless_address_is_cut);
    RUN(a_silent_caller_is_cut_after_a_while);
    RUN(impossible_frame_sizes_are_cut_before_any_body);
    RUN(a_damaged_frame_is_cut);
    RUN(message_sizes_that_do_not_add_up_are_cut);
    RUN(an_undecodable_message_is_cut);
    RUN(a_message_that_contradicts_the_hello_is_cut);
    RUN(random_bytes_after_a_hello_are_cut);
    RUN(an_announced_size_takes_no_memory);
    RUN(the_oldest_stranger_makes_room_for_the_next);
    RUN(who_was_let_in_is_not_pushed_out);
    RUN(without_descriptors_accepting_rests_and_resumes);
    RUN(a_peer_that_calls_twice_is_heard_on_the_newer_connection);
    RUN(both_sides_know_why_they_do_not_talk);
    RUN(nothing_but_the_hello_leaves_before_it_is_answered);
    RUN(a_server_with_another_id_at_the_address_is_refused);
    RUN(addresses_outside_loopback_need_a_word);
    RUN(options_out_of_range_are_refused);
    RUN(addresses_are_read_as_people_write_them);
    RUN(every_reason_has_a_sentence);
}

int main(void)
{
    run_all();
    without_epoll = 1;
    run_all();
    return check_done();
}
