/*
 * Who is sent what (stations.h): peers that are added, moved, forgotten and added again while the
 * transport runs, servers whose address is not known, and the messages of many groups at once.
 * Everything runs without a secret and with one.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "handshake.h"
#include "stations.h"

#include <errno.h>

static int with_secret;

static void begin_station(struct station *station, struct world *world, raft_id id)
{
    struct secret secret = {.size = 16, .bytes = "0123456789abcdef"};
    struct transport_options options = {.secret = with_secret ? &secret : NULL};
    station_begin_with(station, world, id, &options);
}

static int is_connected_both_ways(const struct station *one, const struct station *two)
{
    return is_sending(one, two->id) && is_sending(two, one->id);
}

static void send_heartbeat(struct station *from, raft_id to, uint64_t round)
{
    raft_message message = heartbeat(from->id, to, round);
    transport_send(from->transport, &message);
}

/* The last message that arrived has this round and sender. */
static int heard(const struct station *station, raft_id from, uint64_t round)
{
    const struct kept *last = station->kept_count ? &station->kept[station->kept_count - 1] : NULL;
    return last && last->message.from == from && last->message.round == round;
}

static struct transport_peer_status status_of(const struct station *station, raft_id id)
{
    struct transport_peer_status status;
    CHECK_EQ(transport_peer_status(station->transport, id, &status), 0);
    return status;
}

/* ---- Servers without an address -------------------------------------------------------------- */

/* One knows two's address; two knows nobody, and answers over the connection that one made. */
static void a_server_that_knows_no_address_answers_who_called(void)
{
    struct world world;
    struct station one, two;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    send_heartbeat(&two, 1, 1); /* nobody has called yet */
    CHECK_EQ(stats_of(&two).messages_dropped, 1);
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    send_heartbeat(&one, 2, 2);
    TURN_UNTIL(&world, heard(&two, 1, 2), &one, &two);
    struct transport_peer_status status = status_of(&two, 1);
    CHECK(status.sending && status.receiving);
    send_heartbeat(&two, 1, 3);
    TURN_UNTIL(&world, heard(&one, 2, 3), &one, &two);
    CHECK_EQ(stats_of(&two).dialled, 0);
    CHECK_EQ(stats_of(&two).messages_dropped, 1);
    end_pair(&world, &one, &two);
}

/* on_message may answer the same way, while the frame is still being taken. */
static void it_may_answer_from_the_callback(void)
{
    struct world world;
    struct station one, two;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    two.answer_to = 1;
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    for (uint64_t round = 1; round <= 20; round++) {
        send_heartbeat(&one, 2, round);
    }
    TURN_UNTIL(&world, one.kept_count == 20, &one, &two);
    for (uint64_t i = 0; i < 20; i++) {
        CHECK_EQ(one.kept[i].message.round, i + 1);
    }
    end_pair(&world, &one, &two);
}

/* More than the socket takes waits its turn there too, and stays within the queue's bound. */
static void answers_wait_for_a_slow_caller(void)
{
    struct world world;
    struct station one, two;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    TURN_UNTIL(
        &world,
        transport_peer_status(two.transport, 1, &(struct transport_peer_status){.sending = 0}) == 0,
        &one, &two);
    struct payload entries = make_entries(1, 1 << 20, 3);
    raft_message message = append_of(2, 1, &entries);
    world.faults.writes_block = 1;
    int sent = 0;
    while (!stats_of(&two).messages_dropped && sent < 100) {
        transport_send(two.transport, &message);
        sent++;
    }
    CHECK(sent > 30 && sent < 40); /* of 34 MiB */
    transport_flush(two.transport);
    CHECK(status_of(&two, 1).queued_bytes <= 34u << 20);
    world.faults.writes_block = 0;
    TURN_UNTIL(&world, one.kept_count == (size_t)sent - 1, &one, &two);
    CHECK_EQ(one.kept[sent - 2].checksum, parts_checksum(&message));
    free(entries.data);
    end_pair(&world, &one, &two);
}

/* A caller that takes nothing of what it is answered is given up like any other. */
static void a_caller_that_takes_no_answers_is_given_up(void)
{
    struct world world;
    struct station one, two;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    introduce(&one, &two);
    send_heartbeat(&one, 2, 1);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    send_heartbeat(&one, 2, 2);
    TURN_UNTIL(&world, heard(&two, 1, 2), &one, &two);
    world.faults.writes_block = 1;
    send_heartbeat(&two, 1, 3);
    transport_flush(two.transport);
    world.now_ms += 5001;
    transport_tick(two.transport, world.now_ms);
    CHECK_EQ(ended(&two, TRANSPORT_TIMEOUT), 1);
    struct transport_peer_status status;
    CHECK_EQ(transport_peer_status(two.transport, 1, &status), -ENOENT);
    end_pair(&world, &one, &two);
}

/* Once the host gives an address, that one is called and used; the caller is still heard. */
static void an_address_that_becomes_known_is_dialled(void)
{
    struct world world;
    struct station one, two;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    send_heartbeat(&one, 2, 1);
    TURN_UNTIL(&world, heard(&two, 1, 1), &one, &two);
    introduce(&two, &one);
    CHECK(!status_of(&two, 1).sending);
    TURN_UNTIL(&world, is_connected_both_ways(&one, &two), &one, &two);
    CHECK_EQ(stats_of(&two).dialled, 1);
    uint64_t before = stats_of(&one).accepted;
    send_heartbeat(&two, 1, 2);
    TURN_UNTIL(&world, heard(&one, 2, 2), &one, &two);
    CHECK_EQ(before, 1);
    CHECK_EQ(ended(&one, TRANSPORT_REPLACED) + ended(&two, TRANSPORT_REPLACED), 0);
    end_pair(&world, &one, &two);
}

/* What a caller says its address is, is shown and not used: here nobody listens there. */
static void a_claimed_address_is_shown_and_never_dialled(void)
{
    struct world world;
    struct station one, two;
    struct transport_options options;
    struct secret secret = {.size = 16, .bytes = "0123456789abcdef"};
    world_begin(&world);
    begin_station(&two, &world, 2);
    one = (struct station){.world = &world, .id = 1, .kept = calloc(KEPT_MAX, sizeof *one.kept)};
    options = station_options(&one);
    options.advertise = "127.0.0.1:1";
    options.secret = with_secret ? &secret : NULL;
    CHECK_EQ(transport_open(&options, &one.transport), 0);
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    send_heartbeat(&one, 2, 1);
    TURN_UNTIL(&world, heard(&two, 1, 1), &one, &two);
    CHECK_STR(status_of(&two, 1).claimed_address, "127.0.0.1:1");
    CHECK_STR(status_of(&one, 2).claimed_address, "");
    world.now_ms += 10000;
    send_heartbeat(&two, 1, 2);
    TURN_UNTIL(&world, heard(&one, 2, 2), &one, &two);
    CHECK_EQ(stats_of(&two).dialled, 0);
    end_pair(&world, &one, &two);
}

/* The caller is gone: what is said to it is dropped, until it calls again. */
static void answers_find_a_caller_that_calls_again(void)
{
    struct world world;
    struct station one, two;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    send_heartbeat(&one, 2, 1);
    TURN_UNTIL(&world, heard(&two, 1, 1), &one, &two);
    transport_forget(one.transport, 2);
    TURN_UNTIL(&world, ended(&two, TRANSPORT_CLOSED) + ended(&two, TRANSPORT_NETWORK) == 1, &one,
               &two);
    send_heartbeat(&two, 1, 2);
    CHECK_EQ(stats_of(&two).messages_dropped, 1);
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    send_heartbeat(&one, 2, 3);
    TURN_UNTIL(&world, heard(&two, 1, 3), &one, &two);
    send_heartbeat(&two, 1, 4);
    TURN_UNTIL(&world, heard(&one, 2, 4), &one, &two);
    end_pair(&world, &one, &two);
}

/* ---- Peers that come, go and move ------------------------------------------------------------ */

/* Five servers; each knows the others from some moment on. Everybody hears everybody in the end. */
static void peers_are_added_while_others_talk(void)
{
    enum { SERVERS = 5 };
    struct world world;
    struct station all[SERVERS];
    world_begin(&world);
    for (int i = 0; i < SERVERS; i++) {
        begin_station(&all[i], &world, (raft_id)i + 1);
    }
    for (int newest = 1; newest < SERVERS; newest++) {
        for (int i = 0; i < newest; i++) {
            introduce(&all[i], &all[newest]);
            introduce(&all[newest], &all[i]);
        }
        for (int i = 0; i < newest; i++) {
            TURN_UNTIL(&world, is_connected_both_ways(&all[i], &all[newest]), &all[0], &all[1],
                       &all[2], &all[3], &all[4]);
        }
        size_t before = all[newest].kept_count;
        for (int i = 0; i < newest; i++) {
            send_heartbeat(&all[i], (raft_id)newest + 1, 10);
            send_heartbeat(&all[newest], (raft_id)i + 1, 20 + (uint64_t)newest);
        }
        TURN_UNTIL(&world, all[newest].kept_count == before + (size_t)newest, &all[0], &all[1],
                   &all[2], &all[3], &all[4]);
        for (int i = 0; i < newest; i++) {
            TURN_UNTIL(&world, heard(&all[i], (raft_id)newest + 1, 20 + (uint64_t)newest), &all[0],
                       &all[1], &all[2], &all[3], &all[4]);
        }
    }
    for (int i = 0; i < SERVERS; i++) {
        CHECK_EQ(all[i].downs, 0);
        station_end(&all[i]);
    }
    world_end(&world);
}

/* Both connections are closed; the other side notices, calls again and is heard, unanswered. */
static void a_forgotten_peer_is_cut_both_ways(void)
{
    struct world world;
    struct station one, two;
    struct transport_peer_status status;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    introduce(&one, &two);
    introduce(&two, &one);
    TURN_UNTIL(&world, is_connected_both_ways(&one, &two), &one, &two);
    TURN_UNTIL(&world, status_of(&one, 2).receiving && status_of(&two, 1).receiving, &one, &two);
    send_heartbeat(&one, 2, 1); /* gathered, and never sent */
    transport_forget(one.transport, 2);
    CHECK_EQ(transport_peer_status(one.transport, 2, &status), -ENOENT);
    CHECK_EQ(ended(&one, TRANSPORT_REPLACED), 2);
    CHECK_EQ(stats_of(&one).messages_dropped, 1);
    TURN_UNTIL(&world, two.downs == 1 && !status_of(&two, 1).receiving, &one, &two);
    CHECK_EQ(two.kept_count, 0);
    TURN_UNTIL(&world, is_sending(&two, 1), &one, &two);
    send_heartbeat(&two, 1, 2);
    TURN_UNTIL(&world, heard(&one, 2, 2), &one, &two);
    CHECK_EQ(stats_of(&one).dialled, 1);
    end_pair(&world, &one, &two);
}

static void a_forgotten_peer_can_be_added_again(void)
{
    struct world world;
    struct station one, two;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    introduce(&two, &one);
    for (uint64_t round = 1; round <= 5; round++) {
        introduce(&one, &two);
        TURN_UNTIL(&world, is_connected_both_ways(&one, &two), &one, &two);
        send_heartbeat(&one, 2, round);
        send_heartbeat(&two, 1, round);
        TURN_UNTIL(&world, heard(&one, 2, round) && heard(&two, 1, round), &one, &two);
        CHECK_EQ(status_of(&one, 2).reason, TRANSPORT_NONE);
        transport_forget(one.transport, 2);
        transport_forget(one.transport, 2); /* forgotten already */
    }
    CHECK_EQ(one.ups, 5);
    end_pair(&world, &one, &two);
}

/* What was queued for the old address is lost; the new one is dialled at once, without a pause. */
static void a_peer_that_moves_is_found_at_once(void)
{
    struct world world;
    struct station one, two, moved;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    begin_station(&moved, &world, 2);
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two, &moved);
    send_heartbeat(&one, 2, 1);
    introduce(&one, &moved);
    CHECK_EQ(stats_of(&one).messages_dropped, 1);
    CHECK_EQ(status_of(&one, 2).reason, TRANSPORT_REPLACED);
    CHECK_EQ(transport_deadline(one.transport), 0);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two, &moved);
    CHECK_EQ(one.downs, 1);
    CHECK_EQ(one.ups, 2);
    send_heartbeat(&one, 2, 2);
    TURN_UNTIL(&world, heard(&moved, 1, 2), &one, &two, &moved);
    CHECK_EQ(two.kept_count, 0);
    station_end(&moved);
    end_pair(&world, &one, &two);
}

/* A wrong address is worth a new one at any time, in the middle of a connect or a pause too. */
static void an_address_may_be_corrected_at_any_time(void)
{
    struct world world;
    struct station one, two;
    struct station *const both[] = {&one, &two};
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    for (int turns = 0; turns < 12; turns++) {
        transport_forget(one.transport, 2);
        CHECK_EQ(transport_peer(one.transport, 2, "127.0.0.1:1"), 0); /* nobody is there */
        for (int i = 0; i < turns; i++) {
            turn(&world, both, 2);
        }
        introduce(&one, &two);
        TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
        send_heartbeat(&one, 2, (uint64_t)turns + 1);
        TURN_UNTIL(&world, heard(&two, 1, (uint64_t)turns + 1), &one, &two);
    }
    end_pair(&world, &one, &two);
}

/* ---- Many groups, and large parts ------------------------------------------------------------ */

/* A thousand groups that have a heartbeat each for the same peer: one frame, one call, no copy. */
static void heartbeats_of_many_groups_leave_together(void)
{
    enum { GROUPS = 1000 };
    struct world world;
    struct station one, two;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    uint64_t calls = world.write_calls, frames = stats_of(&one).frames_sent;
    for (uint64_t group = 1; group <= GROUPS; group++) {
        raft_message message = heartbeat(1, 2, group);
        message.group = group;
        transport_send(one.transport, &message);
    }
    transport_flush(one.transport);
    CHECK_EQ(world.write_calls - calls, 1);
    CHECK_EQ(stats_of(&one).frames_sent - frames, 1);
    TURN_UNTIL(&world, two.kept_count == GROUPS, &one, &two);
    for (uint64_t i = 0; i < GROUPS; i++) {
        CHECK_EQ(two.kept[i].message.group, i + 1);
        CHECK_EQ(two.kept[i].message.round, i + 1);
    }
    CHECK_EQ(stats_of(&two).frames_received, 1);
    end_pair(&world, &one, &two);
}

/* Entries of a hundred groups, each lent from where it lies: still few calls, in their order. */
static void entries_of_many_groups_leave_in_few_calls(void)
{
    enum { GROUPS = 300 };
    static struct payload entries[GROUPS];
    struct world world;
    struct station one, two;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    uint64_t calls = world.write_calls, frames = stats_of(&one).frames_sent;
    for (uint64_t group = 1; group <= GROUPS; group++) {
        entries[group - 1] =
            make_entries(1 + (size_t)group % 3, 50 + (size_t)group, (unsigned)group);
        raft_message message = append_of(1, 2, &entries[group - 1]);
        message.group = group;
        transport_send(one.transport, &message);
    }
    transport_flush(one.transport);
    CHECK(world.write_calls - calls <= 3);
    CHECK(stats_of(&one).frames_sent - frames <= 3);
    TURN_UNTIL(&world, two.kept_count == GROUPS, &one, &two);
    for (size_t i = 0; i < GROUPS; i++) {
        CHECK_EQ(two.kept[i].message.group, i + 1);
        CHECK_EQ(two.kept[i].checksum, crc32c(0, entries[i].data, entries[i].size));
        free(entries[i].data);
    }
    end_pair(&world, &one, &two);
}

/* The connection breaks in the middle of a flush: every message was either sent or dropped. */
static void a_connection_that_breaks_in_a_flush_loses_the_rest(void)
{
    enum { GROUPS = 600 };
    struct world world;
    struct station one, two;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    struct payload entries = make_entries(2, 40, 1);
    for (uint64_t group = 1; group <= GROUPS; group++) {
        raft_message message = append_of(1, 2, &entries);
        message.group = group;
        transport_send(one.transport, &message);
    }
    uint64_t calls = world.write_calls;
    world.faults.writes_until_broken = 2;
    transport_flush(one.transport);
    CHECK_EQ(world.write_calls - calls, 2);
    CHECK_EQ(ended(&one, TRANSPORT_NETWORK), 1);
    CHECK_EQ(one.downs, 1);
    struct transport_stats stats = stats_of(&one);
    CHECK(stats.messages_sent > 0 && stats.messages_dropped > 0);
    CHECK_EQ(stats.messages_sent + stats.messages_dropped, GROUPS);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    send_heartbeat(&one, 2, 7);
    TURN_UNTIL(&world, heard(&two, 1, 7), &one, &two);
    CHECK(two.kept_count <= stats.messages_sent + 1);
    free(entries.data);
    end_pair(&world, &one, &two);
}

static raft_message snapshot_of(raft_id from, raft_id to, raft_buf meta, raft_buf chunk)
{
    raft_message message = heartbeat(from, to, 0);
    message.kind = RAFT_MESSAGE_SNAPSHOT;
    message.index = 50;
    message.index_term = 3;
    message.offset = meta.size ? 0 : 4096;
    message.flags = RAFT_FLAG_LAST;
    message.meta = meta;
    message.chunk = chunk;
    return message;
}

/* Of every length modulo eight, metadata and chunk: gathered, padded, and taken apart again. */
static void metadata_and_chunks_arrive_intact_without_a_copy(void)
{
    uint8_t meta[32], chunk[2000];
    uint32_t checksums[128];
    struct world world;
    struct station one, two;
    size_t sent = 0;
    world_begin(&world);
    begin_station(&one, &world, 1);
    begin_station(&two, &world, 2);
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    for (size_t i = 0; i < sizeof chunk; i++) {
        chunk[i] = (uint8_t)(i * 7 + 1);
        meta[i % sizeof meta] = (uint8_t)(i * 5 + 3);
    }
    for (size_t meta_bytes = 0; meta_bytes <= 8; meta_bytes++) {
        for (size_t chunk_bytes = 0; chunk_bytes <= 8; chunk_bytes++) {
            raft_buf no_meta = {NULL, 0};
            raft_buf with_meta = {meta, 16 + meta_bytes};
            raft_message message = snapshot_of(1, 2, meta_bytes ? with_meta : no_meta,
                                               (raft_buf){chunk, 1990 + chunk_bytes});
            checksums[sent++] = parts_checksum(&message);
            transport_send(one.transport, &message);
            send_heartbeat(&one, 2, sent); /* and something behind the padding */
        }
    }
    transport_flush(one.transport);
    memset(chunk, 0, sizeof chunk); /* lent until the flush only */
    TURN_UNTIL(&world, two.kept_count == 2 * sent, &one, &two);
    for (size_t i = 0; i < sent; i++) {
        CHECK_EQ(two.kept[2 * i].checksum, checksums[i]);
        CHECK_EQ(two.kept[2 * i + 1].message.round, i + 1);
    }
    CHECK_EQ(stats_of(&one).bytes_copied, 0);
    end_pair(&world, &one, &two);
}

/* A message above the frame limit is dropped by its whole size, metadata and chunk included. */
static void a_chunk_above_the_frame_limit_is_not_sent(void)
{
    struct world world;
    struct station one, two;
    uint8_t chunk[4096] = {0};
    world_begin(&world);
    station_begin_with(&one, &world, 1, &(struct transport_options){.frame_bytes_max = 4096});
    station_begin(&two, &world, 2);
    introduce(&one, &two);
    TURN_UNTIL(&world, is_sending(&one, 2), &one, &two);
    size_t fits = 4096 - FRAME_BYTES_MIN;
    raft_message message = snapshot_of(1, 2, (raft_buf){NULL, 0}, (raft_buf){chunk, fits + 1});
    transport_send(one.transport, &message);
    CHECK_EQ(stats_of(&one).messages_dropped, 1);
    message.chunk.size = fits;
    transport_send(one.transport, &message);
    CHECK_EQ(stats_of(&one).messages_dropped, 1);
    TURN_UNTIL(&world, two.kept_count == 1, &one, &two);
    end_pair(&world, &one, &two);
}

static void run_all(void)
{
    RUN(a_server_that_knows_no_address_answers_who_called);
    RUN(it_may_answer_from_the_callback);
    RUN(answers_wait_for_a_slow_caller);
    RUN(a_caller_that_takes_no_answers_is_given_up);
    RUN(an_address_that_becomes_known_is_dialled);
    RUN(a_claimed_address_is_shown_and_never_dialled);
    RUN(answers_find_a_caller_that_calls_again);
    RUN(peers_are_added_while_others_talk);
    RUN(a_forgotten_peer_is_cut_both_ways);
    RUN(a_forgotten_peer_can_be_added_again);
    RUN(a_peer_that_moves_is_found_at_once);
    RUN(an_address_may_be_corrected_at_any_time);
    RUN(heartbeats_of_many_groups_leave_together);
    RUN(entries_of_many_groups_leave_in_few_calls);
    RUN(a_connection_that_breaks_in_a_flush_loses_the_rest);
    RUN(metadata_and_chunks_arrive_intact_without_a_copy);
    RUN(a_chunk_above_the_frame_limit_is_not_sent);
}

int main(void)
{
    run_all();
    with_secret = 1;
    run_all();
    return check_done();
}
