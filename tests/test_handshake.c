/*
 * The handshake and the seals as pure functions: two sides that talk through this test, which may
 * change, repeat, cut and mix up whatever they say.
 */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "handshake.h"
#include "secret.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum { CLUSTER = 77, SAID_MAX = 1024, STEPS_MAX = 16 };

/* One side, and all that it has said. */
struct side {
    struct handshake handshake;
    uint8_t said[SAID_MAX];
    size_t said_size;
    uint8_t heard[SAID_MAX];
    size_t heard_size, taken;
    long refused; /* the negated reason */
    int is_over;
};

static struct secret make_secret(const char *text)
{
    struct secret secret = {.size = strlen(text)};
    memcpy(secret.bytes, text, secret.size);
    return secret;
}

static uint64_t nonces_drawn;

static void draw_nonce(uint8_t nonce[HANDSHAKE_NONCE])
{
    struct sha256 hash;
    nonces_drawn++;
    sha256_begin(&hash);
    sha256_add(&hash, &nonces_drawn, sizeof nonces_drawn);
    sha256_end(&hash, nonce);
}

static void begin_as(struct side *side, uint64_t cluster, raft_id self, raft_id callee,
                     const struct secret *secret)
{
    uint8_t nonce[HANDSHAKE_NONCE], out[HANDSHAKE_OUT_MAX];
    memset(side, 0, sizeof *side);
    draw_nonce(nonce);
    struct handshake_side who = {.cluster = cluster,
                                 .self = self,
                                 .callee = callee,
                                 .address = callee ? "127.0.0.1:7001" : "an address told to nobody",
                                 .secret = secret,
                                 .nonce = nonce};
    side->said_size = handshake_begin(&side->handshake, &who, out);
    memcpy(side->said, out, side->said_size);
}

/* Hears bytes and answers, until nothing more can be taken. */
static void hear(struct side *side, const void *data, size_t size)
{
    CHECK(side->heard_size + size <= SAID_MAX);
    memcpy(side->heard + side->heard_size, data, size);
    side->heard_size += size;
    while (!side->is_over && side->handshake.step != HANDSHAKE_DONE) {
        uint8_t out[HANDSHAKE_OUT_MAX];
        size_t out_size;
        long used = handshake_take(&side->handshake, side->heard + side->taken,
                                   side->heard_size - side->taken, out, &out_size);
        CHECK(out_size <= sizeof out && side->said_size + out_size <= SAID_MAX);
        memcpy(side->said + side->said_size, out, out_size);
        side->said_size += out_size;
        if (used <= 0) {
            side->refused = used;
            side->is_over = used < 0;
            break;
        }
        side->taken += (size_t)used;
    }
    /* No reply is longer than the request, whatever was heard and however it ended. */
    CHECK(side->handshake.is_caller || side->said_size <= side->heard_size);
}

/* Where a byte of one direction is changed on its way: at, by the bits of mask; 0: nowhere. */
struct damage {
    size_t at;
    uint8_t mask;
};

/* Carries what was said and not carried yet. Returns whether there was anything. */
static int carry(const struct side *from, size_t *carried, struct side *to, struct damage damage)
{
    uint8_t bytes[SAID_MAX];
    size_t size = from->said_size - *carried;
    memcpy(bytes, from->said + *carried, size);
    if (damage.mask && damage.at >= *carried && damage.at < *carried + size) {
        bytes[damage.at - *carried] ^= damage.mask;
    }
    *carried += size;
    if (size) {
        hear(to, bytes, size);
    }
    return size != 0;
}

static void talk(struct side *caller, struct side *listener, struct damage there,
                 struct damage back)
{
    size_t carried_there = 0, carried_back = 0;
    int is_quiet = 0;
    for (int i = 0; i < STEPS_MAX && !is_quiet; i++) {
        int there_moved = carry(caller, &carried_there, listener, there);
        int back_moved = carry(listener, &carried_back, caller, back);
        is_quiet = !there_moved && !back_moved;
    }
    CHECK(is_quiet);
}

static const struct damage unharmed = {0, 0};

static int is_done(const struct side *side)
{
    return side->handshake.step == HANDSHAKE_DONE;
}

static const char common_text[] = "a secret of the cluster";

/* Caller 1 and listener 2, both with the secret. */
static void begin_both(struct side *caller, struct side *listener)
{
    struct secret secret = make_secret(common_text);
    begin_as(caller, CLUSTER, 1, 2, &secret);
    begin_as(listener, CLUSTER, 2, 0, &secret);
}

/* ---- Meetings -------------------------------------------------------------------------------- */

static void servers_with_the_same_secret_meet(void)
{
    struct side caller, listener;
    begin_both(&caller, &listener);
    talk(&caller, &listener, unharmed, unharmed);
    CHECK(is_done(&caller) && is_done(&listener));
    CHECK_EQ(caller.handshake.other, 2);
    CHECK_EQ(listener.handshake.other, 1);
    CHECK_STR(listener.handshake.address, "127.0.0.1:7001");
    CHECK_STR(caller.handshake.address, "");
}

static void servers_without_a_secret_meet_by_hellos_alone(void)
{
    struct side caller, listener;
    begin_as(&caller, CLUSTER, 1, 2, NULL);
    begin_as(&listener, CLUSTER, 2, 0, NULL);
    talk(&caller, &listener, unharmed, unharmed);
    CHECK(is_done(&caller) && is_done(&listener));
    CHECK_EQ(listener.handshake.other, 1);
    CHECK_EQ(caller.said_size, HELLO_BYTES_MIN + 16);
    CHECK_EQ(listener.said_size, HELLO_BYTES_MIN);
}

/* Byte by byte it is the same conversation. */
static void it_does_not_matter_how_bytes_arrive(void)
{
    struct side caller, listener;
    begin_both(&caller, &listener);
    size_t there = 0, back = 0;
    for (int i = 0; i < SAID_MAX; i++) {
        if (there < caller.said_size) {
            hear(&listener, caller.said + there++, 1);
        } else if (back < listener.said_size) {
            hear(&caller, listener.said + back++, 1);
        }
    }
    CHECK(is_done(&caller) && is_done(&listener));
    CHECK_EQ(there, caller.said_size);
    CHECK_EQ(back, listener.said_size);
}

/* What is missing is waited for: no beginning of a good conversation is refused. */
static void a_cut_conversation_is_neither_refused_nor_done(void)
{
    struct side caller, listener;
    begin_both(&caller, &listener);
    talk(&caller, &listener, unharmed, unharmed);
    size_t whole = caller.said_size;
    for (size_t kept = 0; kept < whole; kept++) {
        struct side again, other;
        begin_both(&other, &again);
        size_t first = kept < other.said_size ? kept : other.said_size;
        hear(&again, other.said, first);
        CHECK_EQ(again.refused, 0);
        if (first == other.said_size) {
            hear(&other, again.said, again.said_size);
            hear(&again, other.said + first, kept - first);
        }
        CHECK_EQ(again.refused, 0);
        CHECK(!is_done(&again));
    }
}

/* ---- Refusals -------------------------------------------------------------------------------- */

static void check_refusal(struct side *caller, struct side *listener, long of_caller,
                          long of_listener)
{
    talk(caller, listener, unharmed, unharmed);
    CHECK(!is_done(caller) && !is_done(listener));
    CHECK_EQ(caller->refused, -of_caller);
    CHECK_EQ(listener->refused, -of_listener);
}

static void another_secret_is_refused_and_both_know(void)
{
    static const char *const others[] = {"another secret at all", "a secret of the cluster ",
                                         "a secret of the cluste", "A secret of the cluster"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct side caller, listener;
        struct secret one = make_secret(common_text), other = make_secret(others[i]);
        begin_as(&caller, CLUSTER, 1, 2, &one);
        begin_as(&listener, CLUSTER, 2, 0, &other);
        check_refusal(&caller, &listener, TRANSPORT_SECRET, TRANSPORT_SECRET);
    }
}

static void a_side_without_a_secret_is_refused_and_both_know(void)
{
    struct side caller, listener;
    struct secret secret = make_secret(common_text);
    begin_as(&caller, CLUSTER, 1, 2, &secret);
    begin_as(&listener, CLUSTER, 2, 0, NULL);
    check_refusal(&caller, &listener, TRANSPORT_PLAIN, TRANSPORT_PLAIN);
    begin_as(&caller, CLUSTER, 1, 2, NULL);
    begin_as(&listener, CLUSTER, 2, 0, &secret);
    check_refusal(&caller, &listener, TRANSPORT_PLAIN, TRANSPORT_PLAIN);
}

/* A caller that is refused for its hello has learnt nothing that a guess can be compared with. */
static void a_mere_caller_is_told_no_proof(void)
{
    struct secret secret = make_secret(common_text);
    for (raft_id self = 1; self <= 3; self++) {
        struct side caller, listener;
        begin_as(&caller, CLUSTER + (self == 3), self, 2, &secret);
        begin_as(&listener, CLUSTER, 2, 0, &secret);
        hear(&listener, caller.said, caller.said_size);
        hear(&caller, listener.said, listener.said_size);
        CHECK_EQ(listener.said_size, HELLO_BYTES_MIN + (self == 1 ? HANDSHAKE_NONCE : 0));
    }
}

static void refused_for_identity(uint64_t cluster, raft_id self, raft_id callee, long reason)
{
    struct secret secret = make_secret(common_text);
    for (int with = 0; with < 2; with++) {
        struct side caller, listener;
        begin_as(&caller, cluster, self, callee, with ? &secret : NULL);
        begin_as(&listener, CLUSTER, 2, 0, with ? &secret : NULL);
        check_refusal(&caller, &listener, reason, reason);
    }
}

static void another_cluster_or_server_is_refused(void)
{
    refused_for_identity(CLUSTER + 1, 1, 2, TRANSPORT_CLUSTER);
    refused_for_identity(CLUSTER, 1, 3, TRANSPORT_IDENTITY);
    refused_for_identity(CLUSTER, 2, 2, TRANSPORT_IDENTITY);
}

/* Its hello is told as far as it takes to see the version, and no further. */
static void another_version_is_refused_in_a_few_bytes(void)
{
    struct side caller, listener;
    begin_both(&caller, &listener);
    talk(&caller, &listener, (struct damage){8, 4}, unharmed);
    CHECK_EQ(listener.refused, -TRANSPORT_VERSION);
    CHECK_EQ(listener.said_size, HELLO_VERSION_BYTES);
    begin_both(&caller, &listener);
    talk(&caller, &listener, unharmed, (struct damage){9, 1});
    CHECK_EQ(caller.refused, -TRANSPORT_VERSION);
}

static int is_plausible_refusal(long status)
{
    return status < 0 && status > -TRANSPORT_REASONS;
}

/* With every bit of every byte of the conversation changed, one after the other. */
static void every_changed_bit_is_detected(void)
{
    struct side caller, listener;
    begin_both(&caller, &listener);
    talk(&caller, &listener, unharmed, unharmed);
    size_t sizes[2] = {caller.said_size, listener.said_size};
    CHECK_EQ(sizes[0], HELLO_BYTES_MIN + 16 + 32 + 32);
    CHECK_EQ(sizes[1], HELLO_BYTES_MIN + 32 + 32);
    for (int direction = 0; direction < 2; direction++) {
        for (size_t bit = 0; bit < 8 * sizes[direction]; bit++) {
            struct damage damage = {bit / 8, (uint8_t)(1 << bit % 8)};
            begin_both(&caller, &listener);
            talk(&caller, &listener, direction ? unharmed : damage, direction ? damage : unharmed);
            /* The listener's last word may be damaged after it has let the caller in. */
            CHECK(!is_done(&caller));
            CHECK(direction || !is_done(&listener));
            CHECK(direction || is_plausible_refusal(listener.refused) || !listener.refused);
            CHECK(is_plausible_refusal(caller.refused) || is_plausible_refusal(listener.refused) ||
                  (!caller.refused && !listener.refused)); /* more is waited for, until the end */
        }
    }
}

/* Rewrites the hello that a side has said, checksum and all, with another address in it. */
static void forge_address(struct side *side)
{
    struct hello hello;
    uint8_t forged[HELLO_BYTES_MAX];
    long used = hello_decode(side->said, side->said_size, &hello);
    CHECK(used > 0);
    snprintf(hello.address, sizeof hello.address, "10.0.0.1:9999");
    size_t size = hello_encode(&hello, forged);
    memmove(side->said + size, side->said + used, side->said_size - (size_t)used);
    memcpy(side->said, forged, size);
    side->said_size = side->said_size - (size_t)used + size;
}

/* A hello whose checksum was made good again is still not the one that the proofs are about. */
static void a_forged_hello_is_detected(void)
{
    struct side caller, listener;
    begin_both(&caller, &listener);
    forge_address(&caller);
    talk(&caller, &listener, unharmed, unharmed);
    CHECK_STR(listener.handshake.address, "10.0.0.1:9999"); /* heard, and not believed */
    CHECK(!is_done(&caller) && !is_done(&listener));
    CHECK_EQ(listener.refused, -TRANSPORT_SECRET);

    begin_both(&caller, &listener);
    size_t carried = caller.said_size;
    hear(&listener, caller.said, carried);
    forge_address(&listener);
    hear(&caller, listener.said, listener.said_size);
    hear(&listener, caller.said + carried, caller.said_size - carried);
    CHECK(!is_done(&caller) && !is_done(&listener));
    CHECK_EQ(listener.refused, -TRANSPORT_SECRET);
}

/* ---- Conversations used again ---------------------------------------------------------------- */

static void a_recorded_conversation_is_worth_nothing(void)
{
    struct side caller, listener, later;
    begin_both(&caller, &listener);
    talk(&caller, &listener, unharmed, unharmed);
    CHECK(is_done(&listener));
    struct secret secret = make_secret(common_text);
    begin_as(&later, CLUSTER, 2, 0, &secret);
    hear(&later, caller.said, caller.said_size);
    CHECK(!is_done(&later));
    CHECK_EQ(later.refused, -TRANSPORT_SECRET);
    begin_as(&later, CLUSTER, 1, 2, &secret);
    hear(&later, listener.said, listener.said_size);
    CHECK(!is_done(&later));
    CHECK_EQ(later.refused, -TRANSPORT_SECRET);
}

/* What a caller says is sent back to it: as it is, and dressed as the one it called. */
static void a_mirror_is_refused(void)
{
    struct side caller, listener;
    begin_both(&caller, &listener);
    hear(&caller, caller.said, caller.said_size);
    CHECK_EQ(caller.refused, -TRANSPORT_IDENTITY);

    begin_both(&caller, &listener);
    size_t greeting = caller.said_size;
    struct hello hello = {.cluster = CLUSTER, .from = 2, .to = 1, .has_secret = 1};
    uint8_t bytes[HELLO_BYTES_MAX];
    hear(&caller, bytes, hello_encode(&hello, bytes));
    hear(&caller, caller.said + greeting - HANDSHAKE_NONCE, HANDSHAKE_NONCE);
    CHECK_EQ(caller.said_size, greeting + HANDSHAKE_PROOF);
    hear(&caller, caller.said + greeting, HANDSHAKE_PROOF);
    CHECK_EQ(caller.refused, -TRANSPORT_SECRET);
}

/*
 * A server that is called by 1 as 2 calls 1 itself as 2, hands the nonce of each conversation to
 * the other, and the proof that 1 gives in the one as its own in the other.
 */
static void a_challenge_passed_on_to_its_maker_is_refused(void)
{
    struct side calling, called;
    struct secret secret = make_secret(common_text);
    struct hello hello = {.cluster = CLUSTER, .from = 2, .to = 1, .has_secret = 1};
    uint8_t bytes[HELLO_BYTES_MAX];
    size_t size = hello_encode(&hello, bytes);
    begin_as(&calling, CLUSTER, 1, 2, &secret);
    begin_as(&called, CLUSTER, 1, 0, &secret);
    size_t greeting = calling.said_size;
    hear(&called, bytes, size);
    hear(&called, calling.said + greeting - HANDSHAKE_NONCE, HANDSHAKE_NONCE);
    hear(&calling, bytes, size);
    hear(&calling, called.said + called.said_size - HANDSHAKE_NONCE, HANDSHAKE_NONCE);
    CHECK_EQ(calling.said_size, greeting + HANDSHAKE_PROOF);
    hear(&called, calling.said + greeting, HANDSHAKE_PROOF);
    CHECK_EQ(called.refused, -TRANSPORT_SECRET);
    CHECK(!is_done(&called));
}

/* The word for "no" is no proof, from neither side. */
static void zeros_are_no_proof(void)
{
    static const uint8_t zeros[HANDSHAKE_PROOF];
    struct side caller, listener;
    begin_both(&caller, &listener);
    hear(&listener, caller.said, caller.said_size);
    hear(&caller, listener.said, listener.said_size);
    hear(&caller, zeros, sizeof zeros);
    CHECK_EQ(caller.refused, -TRANSPORT_SECRET);
    hear(&listener, zeros, sizeof zeros);
    CHECK_EQ(listener.refused, -TRANSPORT_SECRET);
}

/* ---- Seals ----------------------------------------------------------------------------------- */

enum { FRAME_BYTES = FRAME_BYTES_MIN + FRAME_SEAL };

static void make_sealed(uint8_t out[FRAME_BYTES], struct frame_key *key, uint64_t round)
{
    raft_message message;
    memset(&message, 0, sizeof message);
    message.kind = RAFT_MESSAGE_HEARTBEAT;
    message.cluster = CLUSTER;
    message.group = 1;
    message.from = 1;
    message.to = 2;
    message.term = 3;
    message.round = round;
    CHECK_EQ(raft_encode(&message, out + FRAME_HEADER + FRAME_PREFIX, RAFT_MESSAGE_HEADER),
             RAFT_MESSAGE_HEADER);
    frame_prefix(RAFT_MESSAGE_HEADER, out + FRAME_HEADER);
    /* In parts, as the transport has them. */
    struct iovec body[3] = {{out + FRAME_HEADER, FRAME_PREFIX},
                            {out + FRAME_HEADER + FRAME_PREFIX, 33},
                            {out + FRAME_HEADER + FRAME_PREFIX + 33, RAFT_MESSAGE_HEADER - 33}};
    frame_seal(body, 3, key, out, out + FRAME_BYTES - FRAME_SEAL);
}

static long read_sealed(const uint8_t *data, struct frame_key *key)
{
    struct frame frame;
    return frame_next(data, FRAME_BYTES, 4096, key, &frame);
}

static void meet(struct side *caller, struct side *listener)
{
    begin_both(caller, listener);
    talk(caller, listener, unharmed, unharmed);
    CHECK(is_done(caller) && is_done(listener));
}

static void sealed_frames_pass_in_their_order_both_ways(void)
{
    struct side caller, listener;
    uint8_t frame[FRAME_BYTES];
    meet(&caller, &listener);
    for (uint64_t i = 0; i < 5; i++) {
        make_sealed(frame, &caller.handshake.sent, i);
        CHECK_EQ(read_sealed(frame, &listener.handshake.received), FRAME_BYTES);
        make_sealed(frame, &listener.handshake.sent, i);
        CHECK_EQ(read_sealed(frame, &caller.handshake.received), FRAME_BYTES);
    }
}

static void every_changed_bit_of_a_frame_is_detected(void)
{
    struct side caller, listener;
    uint8_t frame[FRAME_BYTES];
    meet(&caller, &listener);
    make_sealed(frame, &caller.handshake.sent, 1);
    for (size_t bit = 0; bit < 8 * sizeof frame; bit++) {
        struct frame_key key = listener.handshake.received;
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        long status = read_sealed(frame, &key);
        CHECK(status == -TRANSPORT_SEAL || (bit < 32 && status <= 0)); /* a size: more, or never */
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CHECK_EQ(read_sealed(frame, &listener.handshake.received), FRAME_BYTES);
}

/* A frame repeated, left out, or overtaken by the next. */
static void frames_out_of_turn_are_refused(void)
{
    struct side caller, listener;
    uint8_t frames[3][FRAME_BYTES];
    struct frame_key key;
    meet(&caller, &listener);
    for (uint64_t i = 0; i < 3; i++) {
        make_sealed(frames[i], &caller.handshake.sent, 7); /* all of the same content */
    }
    key = listener.handshake.received;
    CHECK_EQ(read_sealed(frames[1], &key), -TRANSPORT_SEAL);
    key = listener.handshake.received;
    CHECK_EQ(read_sealed(frames[0], &key), FRAME_BYTES);
    struct frame_key after_one = key;
    CHECK_EQ(read_sealed(frames[0], &key), -TRANSPORT_SEAL);
    key = after_one;
    CHECK_EQ(read_sealed(frames[2], &key), -TRANSPORT_SEAL);
    CHECK_EQ(read_sealed(frames[1], &after_one), FRAME_BYTES);
    CHECK_EQ(read_sealed(frames[2], &after_one), FRAME_BYTES);
}

static void frames_of_another_direction_or_connection_are_refused(void)
{
    struct side caller, listener, caller_again, listener_again;
    uint8_t frame[FRAME_BYTES];
    meet(&caller, &listener);
    meet(&caller_again, &listener_again);
    make_sealed(frame, &caller.handshake.sent, 1);
    CHECK_EQ(read_sealed(frame, &caller.handshake.received), -TRANSPORT_SEAL);
    CHECK_EQ(read_sealed(frame, &listener_again.handshake.received), -TRANSPORT_SEAL);
    CHECK_EQ(read_sealed(frame, &listener.handshake.received), FRAME_BYTES);
}

/* Neither a frame with a checksum nor one whose seal was never made passes. */
static void frames_without_a_seal_are_refused(void)
{
    struct side caller, listener;
    uint8_t frame[FRAME_BYTES];
    struct frame_key key;
    meet(&caller, &listener);
    make_sealed(frame, NULL, 1);
    key = listener.handshake.received;
    CHECK_EQ(read_sealed(frame, &key), -TRANSPORT_SEAL);
    struct iovec body = {frame + FRAME_HEADER, FRAME_BYTES_MIN - FRAME_HEADER};
    frame_header(&body, 1, frame);
    key = listener.handshake.received;
    CHECK_EQ(read_sealed(frame, &key), -TRANSPORT_SEAL);
}

/* Sealed in place once there is a key, it is the frame that would have been sealed at once. */
static void a_frame_sealed_late_is_sealed_the_same(void)
{
    struct side caller, listener;
    uint8_t frame[FRAME_BYTES], late[FRAME_BYTES];
    meet(&caller, &listener);
    struct frame_key copy = caller.handshake.sent;
    make_sealed(frame, &caller.handshake.sent, 1);
    make_sealed(late, NULL, 1);
    CHECK(memcmp(frame, late, sizeof frame) != 0);
    CHECK_EQ(frame_seal_next(late, &copy), FRAME_BYTES);
    CHECK(!memcmp(frame, late, sizeof frame));
    CHECK_EQ(copy.number, caller.handshake.sent.number);
}

/* Proofs and keys, of both sides and of any two connections, are all different. */
static void no_two_uses_share_a_key(void)
{
    enum { MEETINGS = 8, KEYS = 4 };
    uint8_t keys[MEETINGS * KEYS][SHA256_BYTES];
    for (size_t i = 0; i < MEETINGS; i++) {
        struct side caller, listener;
        uint8_t(*mine)[SHA256_BYTES] = &keys[i * KEYS];
        meet(&caller, &listener);
        memcpy(mine[0], caller.handshake.own_proof, SHA256_BYTES);
        memcpy(mine[1], listener.handshake.own_proof, SHA256_BYTES);
        hmac_end(&caller.handshake.sent.keyed, mine[2]);
        hmac_end(&listener.handshake.sent.keyed, mine[3]);
    }
    for (size_t i = 0; i < MEETINGS * KEYS; i++) {
        for (size_t before = 0; before < i; before++) {
            CHECK(memcmp(keys[i], keys[before], SHA256_BYTES) != 0);
        }
    }
}

int main(void)
{
    RUN(servers_with_the_same_secret_meet);
    RUN(servers_without_a_secret_meet_by_hellos_alone);
    RUN(it_does_not_matter_how_bytes_arrive);
    RUN(a_cut_conversation_is_neither_refused_nor_done);
    RUN(another_secret_is_refused_and_both_know);
    RUN(a_side_without_a_secret_is_refused_and_both_know);
    RUN(a_mere_caller_is_told_no_proof);
    RUN(another_cluster_or_server_is_refused);
    RUN(another_version_is_refused_in_a_few_bytes);
    RUN(every_changed_bit_is_detected);
    RUN(a_forged_hello_is_detected);
    RUN(a_recorded_conversation_is_worth_nothing);
    RUN(a_mirror_is_refused);
    RUN(a_challenge_passed_on_to_its_maker_is_refused);
    RUN(zeros_are_no_proof);
    RUN(sealed_frames_pass_in_their_order_both_ways);
    RUN(every_changed_bit_of_a_frame_is_detected);
    RUN(frames_out_of_turn_are_refused);
    RUN(frames_of_another_direction_or_connection_are_refused);
    RUN(frames_without_a_seal_are_refused);
    RUN(a_frame_sealed_late_is_sealed_the_same);
    RUN(no_two_uses_share_a_key);
    return check_done();
}
