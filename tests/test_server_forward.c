/*
 * raftkv --forward: what reaches a server that does not lead is handed to the leader once, and
 * always answered. First the bookkeeping, with the orders of events that processes show rarely;
 * then three processes.
 */
#define _POSIX_C_SOURCE 200809L

#include "servers.h"

#include "raftkv/server_parts.h"

/* ---- Bookkeeping ---- */

static const uint8_t secret[16] = {7};

static int persist(void *host, const raft_write *write)
{
    (void)host;
    (void)write;
    return RAFT_OK;
}

static void send_nothing(void *host, const raft_message *message)
{
    (void)host;
    (void)message;
}

static int apply_nothing(void *host, const raft_range *range)
{
    (void)host;
    (void)range;
    return RAFT_OK;
}

static struct options options = {.id = 1, .election_ms = 100, .forward = 1};
static struct server server;
static struct client_place place;
static struct client client;
static struct forward items[8];
static struct kept_reply kept[8192];

/*
 * A server with a client whose request, the first, is under way to the leader with tag 7. Its node
 * has applied entry 1 and nothing else; the store is given what the tests say.
 */
static void begin_waiting(void)
{
    raft_options given;
    raft_callbacks callbacks;
    struct request request = {.kind = REQUEST_WRITE};

    server = (struct server){.options = &options, .io = &io_posix, .places = &place};
    server.place_count = 1;
    server.store = store_new(secret);
    raft_options_init(&given);
    given.id = 1;
    raft_callbacks_init(&callbacks);
    callbacks.persist = persist;
    callbacks.send = send_nothing;
    callbacks.apply = apply_nothing;
    CHECK_EQ(raft_new(&given, &callbacks, &server, &server.node), RAFT_OK);
    CHECK_EQ(raft_bootstrap(server.node, &(raft_member){.id = 1}, 1), RAFT_OK);
    CHECK_EQ(raft_start(server.node, 1), RAFT_OK);
    raft_poll(server.node, 1);
    CHECK_EQ(raft_campaign(server.node), RAFT_OK);
    while (raft_deadline(server.node) == 0) {
        CHECK_EQ(raft_poll(server.node, 1), RAFT_OK);
    }
    client = (struct client){.fd = -1};
    CHECK_EQ(client_enqueue(&client, &request), 0);
    place.client = &client;
    server.forwards = (struct forwards){.items = items, .count = 1, .open_count = 1, .kept = kept};
    server.forwards.replies.bytes_max = 64;
    items[0] = (struct forward){.tag = 7, .deadline_ms = UINT64_MAX};
}

static void end_waiting(void)
{
    server.forwards.items = NULL;
    server.forwards.kept = NULL;
    forward_free(&server.forwards);
    raft_free(server.node);
    store_free(server.store);
    buffer_free(&client.in);
    buffer_free(&client.out);
    free(client.requests);
    free(server.outbox.items);
    free(server.backlog.items);
}

/* Applies "INCR n" at an index. */
static void apply_increment(raft_index index, raft_term term)
{
    struct slice args[2] = {slice_of("INCR"), slice_of("n")};
    const struct command *command = commands_check(args, 2, NULL);
    struct buffer payload = {0};
    raft_entry entry = {.index = index, .term = term, .kind = RAFT_ENTRY_DATA};

    CHECK_EQ(command_encode(command, args, 2, 1, &payload), COMMAND_OK);
    entry.data = buffer_bytes(&payload);
    entry.size = buffer_size(&payload);
    CHECK_EQ(forward_apply(&server, &entry), COMMAND_OK);
    buffer_free(&payload);
}

static void tell(int status, raft_index index, raft_term term)
{
    raft_event event = {.kind = RAFT_EVENT_FORWARDED, .tag = 7};

    event.status = status;
    event.index = index;
    event.term = term;
    forward_told(&server, &event);
}

static int answer_begins(const char *text)
{
    return buffer_size(&client.out) >= strlen(text) &&
           !memcmp(buffer_bytes(&client.out), text, strlen(text));
}

static void what_is_applied_after_the_leaders_word_is_the_answer(void)
{
    begin_waiting();
    tell(RAFT_OK, 12, 3);
    apply_increment(11, 3);
    CHECK_EQ(client.request_count, 1);
    apply_increment(12, 3);
    CHECK_EQ(client.request_count, 0);
    CHECK(answer_begins(":2\r\n"));
    CHECK_EQ(server.forwards.count, 0);
    end_waiting();
}

static void what_was_applied_before_the_leaders_word_is_remembered(void)
{
    begin_waiting();
    apply_increment(1, 2);
    apply_increment(1, 3);
    tell(RAFT_OK, 1, 3);
    CHECK_EQ(client.request_count, 0);
    CHECK(answer_begins(":2\r\n"));
    CHECK_EQ(server.forwards.count, 0);
    CHECK_EQ(server.forwards.kept_count, 0);
    end_waiting();
}

static void a_reply_that_found_no_room_makes_the_outcome_unknown(void)
{
    begin_waiting();
    for (raft_index index = 100; index < 200; index++) {
        apply_increment(index, 3);
    }
    CHECK(buffer_size(&server.forwards.replies) <= 64);
    apply_increment(1, 3);
    tell(RAFT_OK, 1, 3);
    CHECK(answer_begins("-UNKNOWN "));
    end_waiting();
}

static void another_entry_in_its_place_means_not_executed(void)
{
    begin_waiting();
    tell(RAFT_OK, 12, 3);
    apply_increment(12, 4);
    CHECK(answer_begins("-TRYAGAIN not executed"));
    CHECK_EQ(server.forwards.count, 0);
    end_waiting();
}

static void a_refusal_and_silence_are_told_apart(void)
{
    begin_waiting();
    tell(RAFT_EDROPPED, 0, 0);
    CHECK(answer_begins("-TRYAGAIN not executed"));
    end_waiting();
    begin_waiting();
    tell(RAFT_EUNKNOWN, 0, 0);
    CHECK(answer_begins("-UNKNOWN "));
    end_waiting();
    begin_waiting();
    tell(RAFT_OK, 12, 3);
    items[0].deadline_ms = 5;
    forward_check(&server, 4);
    CHECK_EQ(client.request_count, 1);
    forward_check(&server, 5);
    CHECK(answer_begins("-UNKNOWN "));
    tell(RAFT_OK, 12, 3); /* nobody waits any more */
    end_waiting();
}

/* Row 69: the leader's clock decides, not that of the server that was asked. */
static void the_leader_gives_what_it_is_handed_its_own_time(void)
{
    struct slice args[5] = {slice_of("SET"), slice_of("k"), slice_of("v"), slice_of("PX"),
                            slice_of("1000")};
    struct buffer payload = {0}, chunk = {0}, stamped = {0};
    raft_message message = {.kind = RAFT_MESSAGE_PROPOSE};
    raft_range range;
    raft_entry entry = {.kind = RAFT_ENTRY_DATA};
    struct store *store = store_new(secret);
    size_t size;

    CHECK_EQ(command_encode(commands_check(args, 5, NULL), args, 5, 1, &payload), COMMAND_OK);
    entry.data = buffer_bytes(&payload);
    entry.size = buffer_size(&payload);
    size = raft_entry_size(entry.size);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(raft_entry_encode(&entry, buffer_reserve(&chunk, size), size), RAFT_OK);
        buffer_commit(&chunk, size);
    }
    message.chunk = (raft_buf){buffer_bytes(&chunk), buffer_size(&chunk)};
    CHECK_EQ(forward_stamp(&message, 5000000, &stamped), 0);
    range = (raft_range){1, 1, 2, buffer_size(&stamped), buffer_bytes(&stamped)};
    for (int i = 0; i < 2; i++) {
        CHECK(raft_range_next(&range, &entry));
        CHECK_EQ(command_apply(store, entry.data, entry.size, NULL), COMMAND_OK);
    }
    CHECK_EQ(store_clock(store), 5000000);
    CHECK_EQ(store_next_expiry(store), 5001000);

    message.chunk.size -= 8;
    CHECK_EQ(forward_stamp(&message, 1, &stamped), -1);
    message.chunk.size = 0;
    CHECK_EQ(forward_stamp(&message, 1, &stamped), -1);
    chunk.data[chunk.start + RAFT_ENTRY_HEADER] ^= 0x55; /* of no version */
    message.chunk.size = buffer_size(&chunk);
    CHECK_EQ(forward_stamp(&message, 1, &stamped), -1);
    buffer_free(&payload);
    buffer_free(&chunk);
    buffer_free(&stamped);
    store_free(store);
}

/* ---- Processes ---- */

static const char *const forwarding[] = {QUICK, "--forward", NULL};

/* With --forward every server answers, so the one that leads is asked for by name. */
static int await_leader(void)
{
    for (uint64_t deadline = now_ms() + WAIT_MS; now_ms() < deadline; sleep_ms(10)) {
        for (int i = 0; i < fleet.size; i++) {
            connect_to(i);
            if (info_has("raft", "\r\nrole:leader\r\n")) {
                expect_text("SET leader found", "OK");
                return i;
            }
        }
    }
    CHECK(0); /* nobody was elected in time */
    return 0;
}

/* Connects to a server that does not lead, once it knows who does. */
static void connect_to_follower(int node)
{
    connect_to(node);
    for (uint64_t deadline = now_ms() + WAIT_MS; now_ms() < deadline; sleep_ms(10)) {
        if (!info_has("raft", "\r\nleader_id:0\r\n")) {
            break;
        }
    }
    CHECK(info_has("raft", "\r\nrole:follower\r\n"));
}

static void any_server_executes_writes_and_reads_what_was_written(void)
{
    int leader;

    begin(3, forwarding);
    leader = await_leader();
    connect_to_follower((leader + 1) % 3);
    expect_text("SET n 41", "OK");
    expect_integer("INCR n", 42);
    expect_text("GET n", "42");
    connect_to_follower((leader + 2) % 3);
    expect_text("GET n", "42");
    expect_text("MULTI", "OK");
    expect_text("INCRBY n 8", "QUEUED");
    expect_integer("EXEC", 1); /* the length of the array; then what is in it */
    CHECK_EQ(caller_receive(&caller, &reply, WAIT_MS), 0);
    CHECK_EQ(reply.integer, 50);
    expect_text("GET n", "50");
    expect_text("SET gone 1 PX 1", "OK");
    for (uint64_t deadline = now_ms() + WAIT_MS; now_ms() < deadline; sleep_ms(5)) {
        ask("EXISTS gone");
        if (reply.integer == 0) {
            break;
        }
    }
    expect_integer("EXISTS gone", 0);
    CHECK(!info_has("stats", "writes_forwarded:0\r\n"));
    end();
}

/* One connection's writes keep their order, though each goes to the leader by itself. */
static void a_pipeline_through_a_follower_keeps_its_order(void)
{
    enum { COUNT = 200 };

    struct slice args[2] = {slice_of("INCR"), slice_of("n")};
    int leader;

    begin(3, forwarding);
    leader = await_leader();
    connect_to_follower((leader + 1) % 3);
    for (int i = 0; i < COUNT; i++) {
        caller_add(&caller, args, 2);
    }
    CHECK_EQ(caller_send(&caller, WAIT_MS), 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(caller_receive(&caller, &reply, WAIT_MS), 0);
        CHECK_EQ(reply.integer, i + 1);
    }
    end();
}

/* The leader is stopped in its tracks: what was handed to it has an outcome that nobody knows. */
static void a_write_that_a_silent_leader_has_is_unknown(void)
{
    int leader;

    begin(3, forwarding);
    leader = await_leader();
    connect_to_follower((leader + 1) % 3);
    fleet_pause(&fleet, leader);
    ask("SET maybe 1");
    CHECK(reply.kind == REPLY_STATUS || reply_is_error(&reply, "UNKNOWN") ||
          reply_is_error(&reply, "CLUSTERDOWN") || reply_is_error(&reply, "TRYAGAIN"));
    fleet_resume(&fleet, leader);
    await_leader();
    expect_text("SET sure 1", "OK");
    end();
}

static void without_a_leader_it_says_so(void)
{
    int leader;

    begin(3, forwarding);
    leader = await_leader();
    connect_to_follower((leader + 1) % 3);
    fleet_kill(&fleet, leader);
    fleet_kill(&fleet, (leader + 2) % 3);
    for (uint64_t deadline = now_ms() + WAIT_MS; now_ms() < deadline; sleep_ms(10)) {
        if (info_has("raft", "\r\nleader_id:0\r\n")) {
            break;
        }
    }
    expect_error("SET a 1", "CLUSTERDOWN");
    expect_error("GET a", "CLUSTERDOWN");
    end();
}

int main(int argc, char **argv)
{
    (void)argc;
    RUN(what_is_applied_after_the_leaders_word_is_the_answer);
    RUN(what_was_applied_before_the_leaders_word_is_remembered);
    RUN(a_reply_that_found_no_room_makes_the_outcome_unknown);
    RUN(another_entry_in_its_place_means_not_executed);
    RUN(a_refusal_and_silence_are_told_apart);
    RUN(the_leader_gives_what_it_is_handed_its_own_time);
    if (find_program(argv[0])) {
        printf("skip: %s is not built\n", program);
        return check_done();
    }
    caller_init(&caller);
    RUN_BOTH(any_server_executes_writes_and_reads_what_was_written);
    RUN_BOTH(a_pipeline_through_a_follower_keeps_its_order);
    RUN_BOTH(a_write_that_a_silent_leader_has_is_unknown);
    RUN_BOTH(without_a_leader_it_says_so);
    end();
    caller_free(&caller);
    fleet_remove(&fleet);
    return check_done();
}
