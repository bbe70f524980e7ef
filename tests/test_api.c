/*
 * The contract of raft.h itself: what each call answers when it is wrong, early, late or inside a
 * callback, that such calls change nothing, what a fatal error leaves, what proposals are told, how
 * time is taken, and that the same calls give the same bytes.
 */
#include "check.h"
#include "cluster.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t T = 1000;
static const uint64_t LONGEST = 2000;

static struct cluster *led_cluster(size_t count, raft_id leader)
{
    struct cluster *cluster = cluster_new(count);
    CHECK(cluster_elect(cluster, leader));
    return cluster;
}

/* A node without a harness around it, for what happens before raft_start. */
static int bare_persist(void *host, const raft_write *write)
{
    (void)host;
    (void)write;
    return RAFT_OK;
}

static void bare_send(void *host, const raft_message *message)
{
    (void)host;
    (void)message;
}

static int bare_apply(void *host, const raft_range *range)
{
    (void)host;
    (void)range;
    return RAFT_OK;
}

static raft_callbacks bare_callbacks(void)
{
    raft_callbacks callbacks;
    raft_callbacks_init(&callbacks);
    callbacks.persist = bare_persist;
    callbacks.send = bare_send;
    callbacks.apply = bare_apply;
    return callbacks;
}

static raft_options bare_options(void)
{
    raft_options options;
    raft_options_init(&options);
    options.id = 1;
    options.protocol = cluster_protocol;
    return options;
}

static raft *bare_node(void)
{
    raft_options options = bare_options();
    raft_callbacks callbacks = bare_callbacks();
    raft *node = NULL;
    CHECK_EQ(raft_new(&options, &callbacks, NULL, &node), RAFT_OK);
    return node;
}

static raft_member member(raft_id id)
{
    raft_member made = {0};
    made.id = id;
    return made;
}

static raft *bare_voter(void)
{
    raft *node = bare_node();
    raft_member self = member(1);
    CHECK_EQ(raft_bootstrap(node, &self, 1), RAFT_OK);
    CHECK_EQ(raft_start(node, 0), RAFT_OK);
    return node;
}

static raft *bare_leader(void)
{
    raft *node = bare_voter();
    raft_status status;
    CHECK_EQ(raft_poll(node, 0), RAFT_OK);
    CHECK_EQ(raft_poll(node, raft_deadline(node)), RAFT_OK);
    status.size = sizeof status;
    CHECK_EQ(raft_get_status(node, &status), RAFT_OK);
    CHECK_EQ(status.role, RAFT_ROLE_LEADER);
    return node;
}

/* ---- making a node -------------------------------------------------------------------------- */

static int code_of_new(const raft_options *options, const raft_callbacks *callbacks)
{
    raft *const untouched = (raft *)(void *)&check_tally;
    raft *node = untouched;
    int code = raft_new(options, callbacks, NULL, &node);
    if (code == RAFT_OK) {
        CHECK(node != untouched && node != NULL);
        raft_free(node);
    } else {
        CHECK(node == untouched);
    }
    return code;
}

static void options_out_of_range_are_refused_and_make_no_node(void)
{
    raft_callbacks callbacks = bare_callbacks();
    raft_options options = bare_options();
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_OK);
    options.id = 0;
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_EARG);
    options = bare_options();
    options.protocol = 99;
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_EARG);
    options = bare_options();
    options.election_timeout_ms = 0xffffffffu;
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_EARG);
    options = bare_options();
    options.election_timeout_ms = 100;
    options.heartbeat_ms = 100;
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_EARG);
    options.heartbeat_ms = 99;
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_OK);
    options = bare_options();
    options.election_timeout_ms = 100;
    options.disk_timeout_ms = 401;
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_EARG);
    options.disk_timeout_ms = 400;
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_OK);
    options = bare_options();
    options.entry_bytes_max = 1u << 30;
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_EARG);
    options = bare_options();
    options.inflight_messages_max = 4097;
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_EARG);
}

static void a_missing_mandatory_callback_is_refused(void)
{
    raft_options options = bare_options();
    raft_callbacks callbacks = bare_callbacks();
    callbacks.persist = NULL;
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_EARG);
    callbacks = bare_callbacks();
    callbacks.send = NULL;
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_EARG);
    callbacks = bare_callbacks();
    callbacks.apply = NULL;
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_EARG);
}

static void structs_of_a_newer_header_pass_while_what_is_unknown_is_zero(void)
{
    struct {
        raft_options options;
        uint64_t unknown;
    } newer_options;
    struct {
        raft_callbacks callbacks;
        void *unknown;
    } newer_callbacks;
    memset(&newer_options, 0, sizeof newer_options);
    memset(&newer_callbacks, 0, sizeof newer_callbacks);
    newer_options.options = bare_options();
    newer_callbacks.callbacks = bare_callbacks();
    newer_options.options.size = sizeof newer_options;
    newer_callbacks.callbacks.size = sizeof newer_callbacks;
    CHECK_EQ(code_of_new(&newer_options.options, &newer_callbacks.callbacks), RAFT_OK);
    newer_options.unknown = 1;
    CHECK_EQ(code_of_new(&newer_options.options, &newer_callbacks.callbacks), RAFT_EVERSION);
    newer_options.unknown = 0;
    newer_callbacks.unknown = &newer_options;
    CHECK_EQ(code_of_new(&newer_options.options, &newer_callbacks.callbacks), RAFT_EVERSION);
}

static void structs_of_an_older_header_get_the_defaults_of_what_they_lack(void)
{
    raft_options options = bare_options();
    raft_callbacks callbacks = bare_callbacks();
    options.size = offsetof(raft_options, election_timeout_ms);
    options.election_timeout_ms = 0xffffffffu; /* beyond its size: not read */
    callbacks.size = offsetof(raft_callbacks, notify);
    CHECK_EQ(code_of_new(&options, &callbacks), RAFT_OK);
}

static void founding_is_refused_for_members_that_make_no_group(void)
{
    raft *node = bare_node();
    raft_member members[RAFT_MEMBERS_MAX + 1];
    char blob[RAFT_BLOB_MAX + 1] = {0};
    for (size_t i = 0; i <= RAFT_MEMBERS_MAX; i++) {
        members[i] = member(i + 1);
    }
    CHECK_EQ(raft_bootstrap(node, members, 0), RAFT_EARG);
    CHECK_EQ(raft_bootstrap(node, NULL, 1), RAFT_EARG);
    CHECK_EQ(raft_bootstrap(node, members, RAFT_MEMBERS_MAX + 1), RAFT_EARG);
    members[1].id = 1;
    CHECK_EQ(raft_bootstrap(node, members, 2), RAFT_EARG);
    members[1].id = 0;
    CHECK_EQ(raft_bootstrap(node, members, 2), RAFT_EARG);
    members[1] = member(2);
    members[1].blob = blob;
    members[1].blob_size = RAFT_BLOB_MAX + 1;
    CHECK_EQ(raft_bootstrap(node, members, 2), RAFT_EARG);
    members[1].blob_size = RAFT_BLOB_MAX;
    CHECK_EQ(raft_bootstrap(node, members, RAFT_MEMBERS_MAX), RAFT_OK);
    CHECK_EQ(raft_bootstrap(node, members, RAFT_MEMBERS_MAX), RAFT_ESTATE);
    CHECK_EQ(raft_start(node, 0), RAFT_OK);
    CHECK_EQ(raft_bootstrap(node, members, RAFT_MEMBERS_MAX), RAFT_ESTATE);
    raft_free(node);
}

static void members_are_shown_in_their_order_with_their_blobs(void)
{
    struct cluster *cluster = cluster_new(3);
    raft_member shown;
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(raft_get_member(cluster->nodes[2].raft, i, &shown), RAFT_OK);
        CHECK_EQ(shown.id, i + 1);
        CHECK_EQ(shown.blob_size, 1);
        CHECK_EQ(((const char *)shown.blob)[0], "abc"[i]);
    }
    CHECK_EQ(raft_get_member(cluster->nodes[2].raft, 3, &shown), RAFT_EARG);
    cluster_crash(cluster, 2);
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    CHECK_EQ(raft_get_member(cluster->nodes[2].raft, 2, &shown), RAFT_OK);
    CHECK_EQ(((const char *)shown.blob)[0], 'c');
    CLUSTER_DONE(cluster);
}

/* ---- wrong calls ---------------------------------------------------------------------------- */

static void null_is_answered_everywhere(void)
{
    raft *node = bare_leader();
    raft_options options = bare_options();
    raft_callbacks callbacks = bare_callbacks();
    raft_status status;
    raft_peer_status peer;
    raft_member shown = member(1);
    raft_message message;
    raft_write write;
    raft_buf payload = {NULL, 5};
    char byte = 0;
    memset(&message, 0, sizeof message);
    memset(&write, 0, sizeof write);
    status.size = sizeof status;
    CHECK_EQ(raft_new(NULL, &callbacks, NULL, &node), RAFT_EARG);
    CHECK_EQ(raft_new(&options, NULL, NULL, &node), RAFT_EARG);
    CHECK_EQ(raft_new(&options, &callbacks, NULL, NULL), RAFT_EARG);
    CHECK_EQ(raft_bootstrap(NULL, &shown, 1), RAFT_EARG);
    CHECK_EQ(raft_restore(NULL, &write), RAFT_EARG);
    CHECK_EQ(raft_start(NULL, 0), RAFT_EARG);
    CHECK_EQ(raft_poll(NULL, 0), RAFT_EARG);
    CHECK_EQ(raft_receive(NULL, &message), RAFT_EARG);
    CHECK_EQ(raft_receive(node, NULL), RAFT_EARG);
    CHECK_EQ(raft_receive_bytes(NULL, &byte, 1), RAFT_EARG);
    CHECK_EQ(raft_receive_bytes(node, NULL, 1), RAFT_EARG);
    CHECK_EQ(raft_persisted(NULL, 1, RAFT_OK), RAFT_EARG);
    CHECK_EQ(raft_applied(NULL, 1, RAFT_OK), RAFT_EARG);
    CHECK_EQ(raft_unreachable(NULL, 2), RAFT_EARG);
    CHECK_EQ(raft_propose(NULL, &byte, 1, NULL, NULL), RAFT_EARG);
    CHECK_EQ(raft_propose_many(NULL, &payload, 1, NULL, NULL), RAFT_EARG);
    CHECK_EQ(raft_propose_many(node, NULL, 1, NULL, NULL), RAFT_EARG);
    CHECK_EQ(raft_read(NULL, 1), RAFT_EARG);
    CHECK_EQ(raft_campaign(NULL), RAFT_EARG);
    CHECK_EQ(raft_get_member(NULL, 0, &shown), RAFT_EARG);
    CHECK_EQ(raft_get_member(node, 0, NULL), RAFT_EARG);
    CHECK_EQ(raft_get_status(NULL, &status), RAFT_EARG);
    CHECK_EQ(raft_get_status(node, NULL), RAFT_EARG);
    CHECK_EQ(raft_get_peer(NULL, 0, &peer), RAFT_EARG);
    CHECK_EQ(raft_get_peer(node, 0, NULL), RAFT_EARG);
    CHECK_EQ(raft_decode(NULL, 1, &message), RAFT_EARG);
    CHECK_EQ(raft_decode(&byte, 1, NULL), RAFT_EARG);
    CHECK_EQ(raft_entry_encode(NULL, &byte, 1), RAFT_EARG);
    CHECK_EQ(raft_free(NULL), RAFT_OK);
    CHECK_EQ(raft_deadline(NULL), RAFT_NEVER);
    CHECK_EQ(raft_propose(node, NULL, 5, NULL, NULL), RAFT_EARG);
    CHECK_EQ(raft_propose_many(node, &payload, 1, NULL, NULL), RAFT_EARG);
    CHECK_EQ(raft_propose_many(node, &payload, 0, NULL, NULL), RAFT_EARG);
    CHECK_EQ(raft_propose(node, NULL, 0, NULL, NULL), RAFT_OK);
    raft_free(node);
}

static void before_raft_start_inputs_are_not_legal_and_nothing_is_due(void)
{
    raft *node = bare_node();
    raft_message message;
    memset(&message, 0, sizeof message);
    message.from = 2;
    for (int bootstrapped = 0; bootstrapped <= 1; bootstrapped++) {
        CHECK_EQ(raft_poll(node, 1), RAFT_ESTATE);
        CHECK_EQ(raft_receive(node, &message), RAFT_ESTATE);
        CHECK_EQ(raft_receive_bytes(node, "x", 1), RAFT_ESTATE);
        CHECK_EQ(raft_persisted(node, 1, RAFT_OK), RAFT_ESTATE);
        CHECK_EQ(raft_applied(node, 1, RAFT_OK), RAFT_ESTATE);
        CHECK_EQ(raft_unreachable(node, 2), RAFT_ESTATE);
        CHECK_EQ(raft_propose(node, "x", 1, NULL, NULL), RAFT_ESTATE);
        CHECK_EQ(raft_read(node, 1), RAFT_ESTATE);
        CHECK_EQ(raft_campaign(node), RAFT_ESTATE);
        CHECK_EQ(raft_deadline(node), RAFT_NEVER);
        CHECK(raft_check(node) == NULL);
        CHECK(raft_describe_node(node, NULL, 0) > 0);
        raft_member self = member(1);
        CHECK_EQ(raft_bootstrap(node, &self, 1), bootstrapped ? RAFT_ESTATE : RAFT_OK);
    }
    CHECK_EQ(raft_start(node, 10), RAFT_OK);
    CHECK_EQ(raft_start(node, 10), RAFT_ESTATE);
    raft_free(node);
}

static void a_read_without_notify_is_refused(void)
{
    raft *node = bare_leader();
    CHECK_EQ(raft_read(node, 1), RAFT_ESTATE);
    raft_free(node);
}

static void a_node_without_notify_and_allocator_elects_and_applies(void)
{
    raft *node = bare_leader();
    raft_status status = {0};
    raft_index index = 0;
    CHECK_EQ(raft_propose(node, "x", 1, &index, NULL), RAFT_OK);
    CHECK_EQ(raft_deadline(node), 0);
    CHECK_EQ(raft_poll(node, 5001), RAFT_OK);
    status.size = sizeof status;
    CHECK_EQ(raft_get_status(node, &status), RAFT_OK);
    CHECK_EQ(status.applied_index, index);
    raft_free(node);
}

/* Expects a wrong completion to answer RAFT_EARG and to change nothing. */
static void expect_no_such(struct cluster *cluster, raft_id id, int code, uint64_t before)
{
    CHECK_EQ(code, RAFT_EARG);
    CHECK_EQ(cluster_fingerprint(cluster, id), before);
}

static void completions_of_writes_that_are_not_outstanding_change_nothing(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft *node = cluster->nodes[1].raft;
    uint64_t before = cluster_fingerprint(cluster, 1);
    uint64_t last = cluster->nodes[1].last_seq;
    expect_no_such(cluster, 1, raft_persisted(node, last, RAFT_OK), before);
    expect_no_such(cluster, 1, raft_persisted(node, last + 1, RAFT_OK), before);
    expect_no_such(cluster, 1, raft_persisted(node, 0, RAFT_OK), before);
    expect_no_such(cluster, 1, raft_persisted(node, UINT64_MAX, RAFT_ESTORAGE), before);
    cluster_store_async(cluster, 1, 1);
    for (int i = 0; i < 3; i++) {
        cluster_propose(cluster, 1, "x");
        cluster_poll(cluster, 1);
    }
    CHECK_EQ(cluster_status(cluster, 1).writes_pending, 3);
    before = cluster_fingerprint(cluster, 1);
    expect_no_such(cluster, 1, raft_persisted(node, last, RAFT_OK), before);
    expect_no_such(cluster, 1, raft_persisted(node, last + 4, RAFT_OK), before);
    expect_no_such(cluster, 1, raft_persisted(node, last + 1, RAFT_PENDING), before);
    CHECK_EQ(cluster_complete_one(cluster, 1), RAFT_OK);
    before = cluster_fingerprint(cluster, 1);
    expect_no_such(cluster, 1, raft_persisted(node, last + 1, RAFT_OK), before);
    CHECK_EQ(cluster_complete(cluster, 1), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 1).writes_pending, 0);
    before = cluster_fingerprint(cluster, 1);
    expect_no_such(cluster, 1, raft_persisted(node, last + 3, RAFT_OK), before);
    CLUSTER_DONE(cluster);
}

static void completions_of_applies_that_are_not_outstanding_change_nothing(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft *node = cluster->nodes[1].raft;
    raft_index applied = cluster_status(cluster, 1).applied_index;
    uint64_t before = cluster_fingerprint(cluster, 1);
    expect_no_such(cluster, 1, raft_applied(node, applied, RAFT_OK), before);
    expect_no_such(cluster, 1, raft_applied(node, applied + 1, RAFT_OK), before);
    cluster->nodes[1].apply_async = 1;
    cluster_propose(cluster, 1, "x");
    cluster_propose(cluster, 1, "y");
    cluster_settle(cluster);
    raft_index pending = cluster->nodes[1].apply_pending;
    CHECK(pending > applied);
    before = cluster_fingerprint(cluster, 1);
    expect_no_such(cluster, 1, raft_applied(node, pending - 1, RAFT_OK), before);
    expect_no_such(cluster, 1, raft_applied(node, pending + 1, RAFT_OK), before);
    expect_no_such(cluster, 1, raft_applied(node, 0, RAFT_OK), before);
    expect_no_such(cluster, 1, raft_applied(node, pending, RAFT_PENDING), before);
    CHECK_EQ(cluster_complete_apply(cluster, 1), RAFT_OK);
    before = cluster_fingerprint(cluster, 1);
    expect_no_such(cluster, 1, raft_applied(node, pending, RAFT_OK), before);
    cluster->nodes[1].apply_async = 0;
    CLUSTER_DONE(cluster);
}

/* Thousands of wrong calls in every phase of a running group: none of them leaves a trace. */
static void random_wrong_calls_never_leave_a_trace(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    uint64_t random = 12345;
    cluster->latency_ms = 2;
    for (int i = 0; i < 3000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        raft_id id = 1 + (random >> 33) % 3;
        raft *node = cluster->nodes[id].raft;
        raft_status status = cluster_status(cluster, id);
        uint64_t before = cluster_fingerprint(cluster, id);
        raft_message message =
            cluster_forge(cluster, 1 + id % 3, id, status.term, RAFT_MESSAGE_APPEND_REPLY);
        int code = RAFT_OK;
        switch ((random >> 40) % 10) {
        case 0:
            code = raft_persisted(node, random >> 32, RAFT_OK);
            break;
        case 1:
            code = raft_applied(node, random >> 32, RAFT_OK);
            break;
        case 2:
            code = raft_start(node, random);
            break;
        case 3:
            code = raft_bootstrap(node, NULL, 3);
            break;
        case 4:
            code = raft_propose(node, NULL, 9, NULL, NULL);
            break;
        case 5:
            message.cluster = random;
            code = raft_receive(node, &message);
            break;
        case 6:
            message.kind = (int)(random >> 50) + 9;
            code = raft_receive(node, &message);
            break;
        case 7:
            message.index = UINT64_MAX - (random & 7);
            code = raft_receive(node, &message);
            break;
        case 8:
            code = raft_receive_bytes(node, &random, sizeof random);
            break;
        default:
            code = raft_propose_many(node, NULL, 2, NULL, NULL);
            break;
        }
        CHECK(code < 0);
        CHECK_EQ(cluster_fingerprint(cluster, id), before);
        if (i % 7 == 0) {
            cluster_propose(cluster, 1, "between");
        }
        cluster_run(cluster, i % 3 == 0 ? 1 : 0);
    }
    CHECK_EQ(cluster_leader(cluster), 1);
    cluster_run(cluster, T);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

/* ---- messages of others --------------------------------------------------------------------- */

static void foreign_messages_are_refused_and_counted_before_anything_else(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term later = cluster_later(cluster, cluster_term(cluster, 2), 5, 1);
    for (int fault = 0; fault < 7; fault++) {
        raft_message message = cluster_forge(cluster, 1, 2, later, RAFT_MESSAGE_HEARTBEAT);
        message.round = 1;
        message.cluster += fault == 0;
        message.group += fault == 1;
        message.to = fault == 2 ? 3 : message.to;
        message.from = fault == 3 ? 2 : message.from;
        message.from = fault == 4 ? 0 : message.from;
        if (fault == 5) { /* the other one (P8) */
            message.protocol = RAFT_PROTOCOL_RAFT + RAFT_PROTOCOL_MULTIPAXOS - cluster_protocol;
        }
        if (fault == 6) {
            message.cluster++;
            message.term = UINT64_MAX; /* malformed as well: foreign comes first */
        }
        uint64_t refused = cluster_status(cluster, 2).counters.messages_refused;
        uint64_t before = cluster_fingerprint(cluster, 2);
        CHECK_EQ(raft_receive(cluster->nodes[2].raft, &message), RAFT_EFOREIGN);
        CHECK_EQ(cluster_fingerprint(cluster, 2), before);
        CHECK_EQ(cluster_status(cluster, 2).counters.messages_refused, refused + 1);
    }
    CLUSTER_DONE(cluster);
}

static void messages_for_another_server_are_foreign_in_their_wire_form_too(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    uint8_t bytes[RAFT_MESSAGE_HEADER];
    raft_message message =
        cluster_forge(cluster, 1, 2, cluster_later(cluster, 0, 99, 1), RAFT_MESSAGE_HEARTBEAT);
    message.round = 1;
    message.to = 3;
    CHECK_EQ(raft_encode(&message, bytes, sizeof bytes), sizeof bytes);
    CHECK_EQ(raft_receive_bytes(cluster->nodes[2].raft, bytes, sizeof bytes), RAFT_EFOREIGN);
    CHECK_EQ(raft_receive_bytes(cluster->nodes[2].raft, bytes, sizeof bytes - 1), RAFT_EMALFORMED);
    CHECK_EQ(raft_receive_bytes(cluster->nodes[2].raft, bytes, 0), RAFT_EMALFORMED);
    CHECK_EQ(cluster_status(cluster, 2).counters.messages_refused, 3);
    CLUSTER_DONE(cluster);
}

static void a_second_leader_of_one_term_is_refused_and_counted(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_message beat =
        cluster_forge(cluster, 3, 2, cluster_term(cluster, 2), RAFT_MESSAGE_HEARTBEAT);
    beat.round = 1;
    uint64_t refused = cluster_status(cluster, 2).counters.messages_refused;
    CHECK(cluster_inject(cluster, 2, &beat) != RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 2).counters.messages_refused, refused + 1);
    CHECK_EQ(cluster_status(cluster, 2).leader, 1);
    beat = cluster_forge(cluster, 3, 1, cluster_term(cluster, 1), RAFT_MESSAGE_HEARTBEAT);
    beat.round = 1;
    CHECK(cluster_inject(cluster, 1, &beat) != RAFT_OK);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    CLUSTER_DONE(cluster);
}

/* ---- re-entrancy ---------------------------------------------------------------------------- */

struct reentry {
    unsigned seen[5];
    const char *wrong;
};

static void expect_code(struct reentry *found, int code, int expected, const char *what)
{
    if (code != expected && found->wrong == NULL) {
        found->wrong = what;
    }
}

static void call_everything(struct cluster *cluster, raft_id id, int callback, const void *argument)
{
    struct reentry *found = cluster->hook_data;
    raft *node = cluster->nodes[id].raft;
    int open = callback == CLUSTER_IN_APPLY || callback == CLUSTER_IN_NOTIFY;
    raft_message message = cluster_forge(cluster, 1 + id % 3, id, 1, RAFT_MESSAGE_HEARTBEAT);
    raft_member self = member(id);
    raft_buf payload = {"in", 2};
    raft_write write;
    raft_status status = {0};
    (void)argument;
    memset(&write, 0, sizeof write);
    found->seen[callback]++;
    uint64_t before = cluster_fingerprint(cluster, id);
    expect_code(found, raft_free(node), RAFT_EREENTRY, "free");
    expect_code(found, raft_poll(node, 99999999), RAFT_EREENTRY, "poll");
    expect_code(found, raft_start(node, 0), RAFT_EREENTRY, "start");
    expect_code(found, raft_bootstrap(node, &self, 1), RAFT_EREENTRY, "bootstrap");
    expect_code(found, raft_restore(node, &write), RAFT_EREENTRY, "restore");
    expect_code(found, raft_receive(node, &message), RAFT_EREENTRY, "receive");
    expect_code(found, raft_receive_bytes(node, "x", 1), RAFT_EREENTRY, "receive_bytes");
    expect_code(found, raft_persisted(node, 1, RAFT_OK), RAFT_EREENTRY, "persisted");
    expect_code(found, raft_applied(node, 1, RAFT_OK), RAFT_EREENTRY, "applied");
    expect_code(found, raft_unreachable(node, 2), RAFT_EREENTRY, "unreachable");
    expect_code(found, raft_campaign(node), RAFT_EREENTRY, "campaign");
    if (!open) {
        expect_code(found, raft_propose(node, "in", 2, NULL, NULL), RAFT_EREENTRY, "propose");
        expect_code(found, raft_propose_many(node, &payload, 1, NULL, NULL), RAFT_EREENTRY,
                    "propose_many");
        expect_code(found, raft_read(node, 1), RAFT_EREENTRY, "read");
    }
    status.size = sizeof status;
    expect_code(found, raft_get_status(node, &status), RAFT_OK, "get_status");
    expect_code(found, raft_get_member(node, 0, &self), RAFT_OK, "get_member");
    expect_code(found, raft_check(node) == NULL, 1, "check");
    expect_code(found, cluster_fingerprint(cluster, id) == before, 1, "something changed");
    if (open && found->seen[callback] < 3) {
        int code = raft_propose(node, "in", 2, NULL, NULL);
        int may = status.role == RAFT_ROLE_LEADER ? RAFT_OK
                  : status.leader != 0            ? RAFT_ENOTLEADER
                                                  : RAFT_ENOLEADER;
        expect_code(found, code, may, "propose when open");
        expect_code(found, raft_propose_many(node, &payload, 1, NULL, NULL), may, "many");
        expect_code(found, raft_read(node, 77), may, "read when open");
    }
}

static void inside_callbacks_only_what_the_header_allows_is_accepted(void)
{
    struct reentry found = {{0}, NULL};
    struct cluster *cluster = cluster_new(3);
    cluster->hook = call_everything;
    cluster->hook_data = &found;
    CHECK(cluster_elect(cluster, 1));
    cluster_propose(cluster, 1, "x");
    cluster_run(cluster, T);
    if (found.wrong != NULL) {
        CHECK_STR(found.wrong, "answered as the header says");
    }
    for (int callback = CLUSTER_IN_PERSIST; callback <= CLUSTER_IN_NOTIFY; callback++) {
        CHECK(found.seen[callback] > 0);
    }
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

/* A network without queues: send hands the message straight to the other node's raft_receive. */
static void hand_over(struct cluster *cluster, raft_id id, int callback, const void *argument)
{
    const raft_message *message = argument;
    (void)id;
    if (callback == CLUSTER_IN_SEND) {
        raft *receiver = cluster->nodes[message->to].raft;
        CHECK_EQ(raft_receive(receiver, message), RAFT_OK);
    }
}

static void other_nodes_may_be_used_inside_a_callback(void)
{
    struct cluster *cluster = cluster_new(3);
    cluster->hook = hand_over;
    cluster_cut(cluster, 0, 0);
    CHECK_EQ(raft_campaign(cluster->nodes[2].raft), RAFT_OK);
    cluster_settle(cluster);
    CHECK_EQ(cluster_leader(cluster), 2);
    for (int i = 0; i < 100; i++) {
        cluster_propose(cluster, 2, "straight");
    }
    cluster_settle(cluster);
    CHECK_EQ(cluster_status(cluster, 1).applied_index, 100 + cluster_noops(cluster));
    CHECK_EQ(cluster_status(cluster, 3).applied_index, 100 + cluster_noops(cluster));
    cluster->hook = NULL;
    CLUSTER_DONE(cluster);
}

/* ---- storage and state machine that fail ---------------------------------------------------- */

static void expect_stopped(struct cluster *cluster, raft_id id, int error)
{
    raft *node = cluster->nodes[id].raft;
    raft_message message = cluster_forge(cluster, 1 + id % 3, id, 99, RAFT_MESSAGE_HEARTBEAT);
    raft_buf payload = {"x", 1};
    message.round = 1;
    uint64_t mark = cluster_mark(cluster);
    uint64_t writes = cluster->nodes[id].store.writes;
    CHECK_EQ(raft_poll(node, cluster_clock(cluster, id) + 100 * T), error);
    CHECK_EQ(raft_receive(node, &message), error);
    CHECK_EQ(raft_receive_bytes(node, "x", 1), error);
    CHECK_EQ(raft_persisted(node, cluster->nodes[id].last_seq, RAFT_OK), error);
    CHECK_EQ(raft_applied(node, 1, RAFT_OK), error);
    CHECK_EQ(raft_unreachable(node, 2), error);
    CHECK_EQ(raft_propose(node, "x", 1, NULL, NULL), error);
    CHECK_EQ(raft_propose_many(node, &payload, 1, NULL, NULL), error);
    CHECK_EQ(raft_read(node, 1), error);
    CHECK_EQ(raft_campaign(node), error);
    CHECK_EQ(raft_poll(node, cluster_clock(cluster, id) + 200 * T), error);
    CHECK_EQ(raft_deadline(node), RAFT_NEVER);
    CHECK_EQ(cluster_status(cluster, id).error, error);
    CHECK(cluster_role(cluster, id) != RAFT_ROLE_LEADER);
    CHECK(raft_check(node) == NULL);
    CHECK_EQ(cluster_sent_count(cluster, mark, id, 0, 0), 0);
    CHECK_EQ(cluster->nodes[id].store.writes, writes);
    CHECK_EQ(cluster_event_count(cluster, id, 0, RAFT_EVENT_FATAL), 1);
    const struct cluster_node *stopped = &cluster->nodes[id];
    CHECK_EQ(stopped->events[stopped->event_count - 1].event.kind, RAFT_EVENT_FATAL);
    CHECK_EQ(stopped->events[stopped->event_count - 1].event.status, error);
}

static void a_write_that_fails_at_once_stops_the_node_for_good(void)
{
    static const int codes[] = {-1, RAFT_ESTORAGE, RAFT_ENOMEM, RAFT_EBUSY, -100000};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct cluster *cluster = led_cluster(3, 1);
        raft_index index = cluster_propose(cluster, 1, "never known");
        raft_term term = cluster_term(cluster, 1);
        CHECK_EQ(raft_read(cluster->nodes[1].raft, 3), RAFT_OK);
        cluster->nodes[1].store.fail_next = codes[i];
        CHECK_EQ(cluster_poll(cluster, 1), RAFT_ESTORAGE);
        expect_stopped(cluster, 1, RAFT_ESTORAGE);
        CHECK_EQ(cluster_outcome(cluster, 1, index, term), RAFT_EUNKNOWN);
        CHECK_EQ(cluster_read_answers(cluster, 1, 3), 1);
        CHECK(cluster_read_answer(cluster, 1, 3)->status < 0);
        cluster_run(cluster, 4 * LONGEST);
        CHECK(cluster_leader(cluster) != 1 && cluster_leader(cluster) != 0);
        CLUSTER_DONE(cluster);
    }
}

static void a_write_that_fails_later_stops_the_node_for_good(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_store_async(cluster, 1, 1);
    raft_index index = cluster_propose(cluster, 1, "never known");
    raft_term term = cluster_term(cluster, 1);
    cluster_settle(cluster);
    CHECK_EQ(cluster_fail_write(cluster, 1, -5), RAFT_ESTORAGE);
    expect_stopped(cluster, 1, RAFT_ESTORAGE);
    CHECK_EQ(cluster_outcome(cluster, 1, index, term), RAFT_EUNKNOWN);
    CLUSTER_DONE(cluster);
}

static void a_follower_whose_write_fails_acknowledges_nothing_and_grants_nothing(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_propose(cluster, 1, "x");
    cluster_poll(cluster, 1);
    cluster->nodes[2].store.fail_next = -1;
    uint64_t mark = cluster_mark(cluster);
    cluster_receive(cluster, 1, 2);
    CHECK_EQ(cluster_poll(cluster, 2), RAFT_ESTORAGE);
    CHECK_EQ(cluster_sent_count(cluster, mark, 2, 0, 0), 0);
    expect_stopped(cluster, 2, RAFT_ESTORAGE);
    CLUSTER_DONE(cluster);
}

static void a_restart_from_storage_continues_after_a_failed_write(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_index index = cluster_propose(cluster, 1, "before");
    cluster_settle(cluster);
    cluster->nodes[2].store.fail_next = -1;
    cluster_propose(cluster, 1, "during");
    cluster_settle(cluster);
    CHECK_EQ(cluster_status(cluster, 2).error, RAFT_ESTORAGE);
    cluster_crash(cluster, 2);
    CHECK_EQ(cluster_restart(cluster, 2), RAFT_OK);
    cluster_run(cluster, LONGEST);
    CHECK(cluster_converged(cluster));
    CHECK_STR(cluster_applied_text(cluster, 2, index), "before");
    CHECK_STR(cluster_applied_text(cluster, 2, index + 1), "during");
    CLUSTER_DONE(cluster);
}

static void an_apply_that_fails_stops_the_node_for_good(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster->nodes[1].apply_fail_next = -3;
    cluster_propose(cluster, 1, "x");
    cluster_settle(cluster);
    expect_stopped(cluster, 1, RAFT_EAPPLY);
    CLUSTER_DONE(cluster);
}

static void an_apply_that_fails_later_stops_the_node_for_good(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster->nodes[1].apply_async = 1;
    cluster_propose(cluster, 1, "x");
    cluster_settle(cluster);
    raft_index pending = cluster->nodes[1].apply_pending;
    CHECK(pending > 0);
    CHECK_EQ(raft_applied(cluster->nodes[1].raft, pending, -9), RAFT_EAPPLY);
    cluster_poll(cluster, 1);
    expect_stopped(cluster, 1, RAFT_EAPPLY);
    CLUSTER_DONE(cluster);
}

static void the_first_cause_of_stopping_is_kept(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster->nodes[1].apply_async = 1;
    cluster_propose(cluster, 1, "x");
    cluster_settle(cluster);
    cluster_store_async(cluster, 1, 1);
    cluster_propose(cluster, 1, "y");
    cluster_poll(cluster, 1);
    CHECK_EQ(raft_persisted(cluster->nodes[1].raft, cluster->nodes[1].last_seq, -1), RAFT_ESTORAGE);
    CHECK_EQ(raft_applied(cluster->nodes[1].raft, cluster->nodes[1].apply_pending, -1),
             RAFT_ESTORAGE);
    CHECK_EQ(cluster_status(cluster, 1).error, RAFT_ESTORAGE);
    CLUSTER_DONE(cluster);
}

/* I29: a proposal that was committed here but not applied yet is answered when the node stops. */
static void proposals_committed_but_not_applied_are_answered_when_the_node_stops(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    cluster->nodes[1].apply_async = 1;
    raft_index first = cluster_propose(cluster, 1, "handed out");
    cluster_settle(cluster);
    raft_index second = cluster_propose(cluster, 1, "committed");
    cluster_settle(cluster);
    CHECK_EQ(cluster_commit(cluster, 1), second);
    CHECK(cluster_applied(cluster, 1, first) != NULL);
    CHECK(cluster_applied(cluster, 1, second) == NULL);
    cluster->nodes[1].store.fail_next = -1;
    raft_index third = cluster_propose(cluster, 1, "only here");
    cluster_poll(cluster, 1);
    CHECK_EQ(cluster_outcome(cluster, 1, second, term), RAFT_EUNKNOWN);
    CHECK_EQ(cluster_outcome(cluster, 1, third, term), RAFT_EUNKNOWN);
    CLUSTER_DONE(cluster);
}

/* ---- a disk that hangs ---------------------------------------------------------------------- */

static void a_leader_whose_disk_hangs_leads_no_longer_within_two_timeouts(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_store_async(cluster, 1, 1);
    uint64_t since = cluster->now_ms;
    cluster_propose(cluster, 1, "stuck");
    while (cluster_role(cluster, 1) == RAFT_ROLE_LEADER && cluster->now_ms < since + 10 * T) {
        cluster_run(cluster, 10);
    }
    CHECK(cluster->now_ms <= since + 2 * LONGEST);
    uint64_t mark = cluster_mark(cluster);
    cluster_run(cluster, 2 * LONGEST);
    CHECK(cluster_leader(cluster) == 2 || cluster_leader(cluster) == 3);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_APPEND), 0);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_HEARTBEAT), 0);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_APPEND_REPLY), 0);
    CHECK_EQ(cluster_sent_count(cluster, mark, 1, 0, RAFT_MESSAGE_VOTE_REPLY), 0);
    cluster_store_async(cluster, 1, 0);
    cluster_complete(cluster, 1);
    cluster_run(cluster, 2 * LONGEST);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

static void the_bound_on_a_hanging_disk_is_an_option(void)
{
    struct cluster *cluster = cluster_create(3);
    cluster->nodes[1].options.disk_timeout_ms = 300;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_store_async(cluster, 1, 1);
    cluster_propose(cluster, 1, "stuck");
    cluster_run(cluster, 299);
    CHECK_EQ(cluster_role(cluster, 1), RAFT_ROLE_LEADER);
    cluster_run(cluster, 1);
    CHECK(cluster_role(cluster, 1) != RAFT_ROLE_LEADER);
    CLUSTER_DONE(cluster);
}

static void a_slow_disk_that_completes_in_time_costs_no_leadership(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_store_async(cluster, 1, 1);
    for (int i = 0; i < 50; i++) {
        CHECK(cluster_propose(cluster, 1, "slow") > 0);
        cluster_run(cluster, 400);
        cluster_propose(cluster, 1, "and on");
        cluster_run(cluster, 400);
        cluster_complete(cluster, 1);
    }
    CHECK_EQ(cluster_leader(cluster), 1);
    CHECK_EQ(cluster->reign_count, 1);
    cluster_store_async(cluster, 1, 0);
    cluster_complete(cluster, 1);
    CLUSTER_DONE(cluster);
}

/* ---- proposals ------------------------------------------------------------------------------ */

static int proposing(struct cluster *cluster, raft_id id, const void *data, size_t size)
{
    uint64_t before = cluster_fingerprint(cluster, id);
    raft_index index = 4711;
    raft_term term = 4711;
    int code = raft_propose(cluster->nodes[id].raft, data, size, &index, &term);
    if (code != RAFT_OK) {
        CHECK_EQ(cluster_fingerprint(cluster, id), before);
        CHECK_EQ(index, 4711);
        CHECK_EQ(term, 4711);
    } else {
        CHECK_EQ(index, cluster_status(cluster, id).last_index);
        CHECK_EQ(term, cluster_term(cluster, id));
    }
    return code;
}

static void each_reason_to_refuse_a_proposal_has_its_own_code(void)
{
    static char payload[70000];
    struct cluster *cluster = cluster_create(4);
    cluster->founders = 3;
    for (raft_id id = 1; id <= 4; id++) {
        cluster->nodes[id].options.entry_bytes_max = 60000;
        cluster->nodes[id].options.uncommitted_bytes_max = 100000;
        cluster->nodes[id].options.log_bytes_max = 400000;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK_EQ(proposing(cluster, 1, "x", 1), RAFT_ENOLEADER);
    CHECK_EQ(proposing(cluster, 4, "x", 1), RAFT_ENOTMEMBER);
    CHECK(cluster_elect(cluster, 1));
    CHECK_EQ(proposing(cluster, 2, "x", 1), RAFT_ENOTLEADER);
    CHECK_EQ(cluster_status(cluster, 2).leader, 1);
    CHECK_EQ(proposing(cluster, 1, payload, 60001), RAFT_ESIZE);
    CHECK_EQ(proposing(cluster, 1, NULL, 1), RAFT_EARG);
    cluster_isolate(cluster, 1);
    CHECK_EQ(proposing(cluster, 1, payload, 60000), RAFT_OK);
    CHECK_EQ(proposing(cluster, 1, payload, 60000), RAFT_EBUSY);
    cluster_heal_all(cluster);
    cluster_settle(cluster);
    int code = RAFT_OK;
    for (int i = 0; i < 100 && code == RAFT_OK; i++) {
        code = proposing(cluster, 1, payload, 10000);
        cluster_run(cluster, 100);
    }
    CHECK_EQ(code, RAFT_EFULL);
    CLUSTER_DONE(cluster);
}

static void the_quota_lets_empty_payloads_pass_and_anything_where_nothing_waits(void)
{
    static char payload[5000];
    struct cluster *cluster = cluster_create(3);
    cluster->nodes[1].options.uncommitted_bytes_max = 1000;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    cluster_isolate(cluster, 1);
    CHECK_EQ(cluster_status(cluster, 1).uncommitted_bytes, 0);
    CHECK_EQ(proposing(cluster, 1, payload, sizeof payload), RAFT_OK);
    CHECK(cluster_status(cluster, 1).uncommitted_bytes >= sizeof payload);
    CHECK_EQ(proposing(cluster, 1, payload, 1), RAFT_EBUSY);
    CHECK_EQ(proposing(cluster, 1, NULL, 0), RAFT_OK);
    CHECK_EQ(proposing(cluster, 1, payload, 0), RAFT_OK);
    cluster_heal_all(cluster);
    cluster_run(cluster, T);
    CHECK_EQ(cluster_status(cluster, 1).uncommitted_bytes, 0);
    CHECK_EQ(proposing(cluster, 1, payload, 1), RAFT_OK);
    CLUSTER_DONE(cluster);
}

static void a_vector_of_proposals_is_taken_whole_or_not_at_all(void)
{
    static char payload[2000];
    struct cluster *cluster = cluster_create(3);
    cluster->nodes[1].options.entry_bytes_max = 1000;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK(cluster_elect(cluster, 1));
    raft_buf buffers[3] = {{"one", 3}, {payload, 1001}, {"three", 5}};
    raft_index first = 0;
    raft_term term = 0;
    uint64_t before = cluster_fingerprint(cluster, 1);
    CHECK_EQ(raft_propose_many(cluster->nodes[1].raft, buffers, 3, &first, &term), RAFT_ESIZE);
    CHECK_EQ(cluster_fingerprint(cluster, 1), before);
    buffers[1].data = "two";
    buffers[1].size = 3;
    raft_index last = cluster_status(cluster, 1).last_index;
    CHECK_EQ(raft_propose_many(cluster->nodes[1].raft, buffers, 3, &first, &term), RAFT_OK);
    CHECK_EQ(first, last + 1);
    CHECK_EQ(term, cluster_term(cluster, 1));
    cluster_settle(cluster);
    CHECK_STR(cluster_applied_text(cluster, 1, first), "one");
    CHECK_STR(cluster_applied_text(cluster, 2, first + 1), "two");
    CHECK_STR(cluster_applied_text(cluster, 3, first + 2), "three");
    CLUSTER_DONE(cluster);
}

static void an_applied_proposal_gets_no_other_answer(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    raft_index index = cluster_propose(cluster, 1, "kept by the next leader");
    cluster_poll(cluster, 1);
    cluster_deliver_all(cluster, 1, 2);
    cluster_isolate(cluster, 1);
    cluster_run(cluster, T);
    CHECK(cluster_elect(cluster, 2));
    cluster_heal_all(cluster);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_EQ(cluster_applied(cluster, 1, index)->term, term);
    CHECK_STR(cluster_applied_text(cluster, 1, index), "kept by the next leader");
    CHECK_EQ(cluster_event_count(cluster, 1, 0, RAFT_EVENT_DROPPED), 0);
    CLUSTER_DONE(cluster);
}

/* Cut at once, dropped only when the other is committed: until then it may come back (R62). */
static void a_proposal_is_dropped_only_when_another_entry_is_committed_in_its_place(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_term term = cluster_term(cluster, 1);
    cluster_isolate(cluster, 1);
    raft_index first = cluster_propose(cluster, 1, "lost");
    raft_index second = cluster_propose(cluster, 1, "lost too");
    cluster_run(cluster, T);
    CHECK(cluster_elect(cluster, 2));
    cluster_isolate(cluster, 1);
    CHECK_EQ(cluster_event_count(cluster, 1, 0, RAFT_EVENT_DROPPED), 0);
    cluster_run(cluster, LONGEST);
    if (cluster_noops(cluster) == 0) { /* in Raft it is the no-op of 2 that takes the place */
        CHECK_EQ(cluster_propose(cluster, 2, "instead"), first);
        cluster_settle(cluster);
    }
    const struct cluster_entry *instead = cluster_stored(cluster, 2, first);
    raft_term next = cluster_term(cluster, 2);
    CHECK_EQ(instead->term, next);
    raft_message append = cluster_forge(cluster, 2, 1, next, RAFT_MESSAGE_APPEND);
    uint8_t bytes[64];
    raft_entry entry = {0, 0, instead->data, instead->size, instead->kind};
    CHECK_EQ(raft_entry_encode(&entry, bytes, sizeof bytes), RAFT_OK);
    append.index = first - 1;
    append.index_term = first > 1 ? term : 0;
    append.range_count = 1;
    append.ranges[0].first = first;
    append.ranges[0].term = next;
    append.ranges[0].count = 1;
    append.ranges[0].size = raft_entry_size(instead->size);
    append.ranges[0].data = bytes;
    CHECK_EQ(cluster_inject(cluster, 1, &append), RAFT_OK);
    CHECK_EQ(cluster_status(cluster, 1).last_index, first);
    CHECK_EQ(cluster_event_count(cluster, 1, 0, RAFT_EVENT_DROPPED), 0);
    cluster_heal_all(cluster);
    cluster_run(cluster, 2 * LONGEST);
    CHECK_EQ(cluster_outcome(cluster, 1, first, term), RAFT_EDROPPED);
    CHECK_EQ(cluster_outcome(cluster, 1, second, term), RAFT_EDROPPED);
    CHECK_EQ(cluster_event_count(cluster, 1, 0, RAFT_EVENT_DROPPED), 1);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

/*
 * A server that leads and is cut off again and again: every proposal of every leadership has one
 * answer in the end, applied or told, never both and never none.
 */
static void every_proposal_of_many_leaderships_has_exactly_one_answer(void)
{
    enum { REIGNS = 12 };
    raft_index indexes[REIGNS];
    raft_term terms[REIGNS];
    struct cluster *cluster = led_cluster(3, 1);
    for (int i = 0; i < REIGNS; i++) {
        CHECK(cluster_elect(cluster, 1));
        cluster_isolate(cluster, 1);
        terms[i] = cluster_term(cluster, 1);
        indexes[i] = cluster_propose(cluster, 1, "mine");
        cluster_settle(cluster);
        cluster_run(cluster, 2 * LONGEST);
        CHECK(cluster_role(cluster, 1) != RAFT_ROLE_LEADER);
        if (i % 3 == 0) {
            cluster_heal_all(cluster);
            cluster_run(cluster, LONGEST);
        } else {
            cluster_heal(cluster, 1, 0);
            cluster_heal(cluster, 0, 1);
        }
    }
    cluster_heal_all(cluster);
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_converged(cluster));
    for (int i = 0; i < REIGNS; i++) {
        const struct cluster_entry *entry = cluster_applied(cluster, 1, indexes[i]);
        int applied = entry != NULL && entry->term == terms[i];
        int told = cluster_outcome(cluster, 1, indexes[i], terms[i]);
        /* In Multi-Paxos no leader writes anything by itself in the place of what was cut (R62). */
        int unknown = cluster_noops(cluster) == 0 && told == RAFT_EUNKNOWN;
        CHECK_EQ(applied + (told == RAFT_EDROPPED) + unknown, 1);
    }
    CLUSTER_DONE(cluster);
}

/* ---- time ----------------------------------------------------------------------------------- */

static void contact_between_polls_is_dated_by_the_next_sample(void)
{
    struct cluster *cluster = cluster_create(3);
    cluster->now_ms = 0;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    raft_term led = cluster_later(cluster, 0, 1, 1);
    raft_term asked = cluster_later(cluster, 0, 9, 3);
    raft_message beat = cluster_forge(cluster, 1, 2, led, RAFT_MESSAGE_HEARTBEAT);
    beat.round = 1;
    CHECK_EQ(raft_receive(cluster->nodes[2].raft, &beat), RAFT_OK);
    cluster_poll_at(cluster, 2, 290);
    CHECK_EQ(cluster_status(cluster, 2).last_contact_ms, 290);
    cluster_poll_at(cluster, 2, 290 + T - 1);
    raft_message vote = cluster_forge(cluster, 3, 2, asked, RAFT_MESSAGE_VOTE);
    vote.round = 1;
    CHECK_EQ(raft_receive(cluster->nodes[2].raft, &vote), RAFT_OK);
    CHECK_EQ(cluster_term(cluster, 2), led);
    CHECK(raft_deadline(cluster->nodes[2].raft) == 0);
    cluster->now_ms = 290 + T;
    cluster_poll(cluster, 2);
    CHECK_EQ(raft_receive(cluster->nodes[2].raft, &vote), RAFT_OK);
    cluster_poll(cluster, 2);
    CHECK_EQ(cluster_term(cluster, 2), asked);
    CLUSTER_DONE(cluster);
}

static void a_sample_below_an_earlier_one_counts_as_equal_to_it(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    for (raft_id id = 1; id <= 2; id++) {
        cluster_settle(cluster);
        uint64_t clock = cluster_clock(cluster, id);
        uint64_t mark = cluster_mark(cluster);
        uint64_t before = cluster_fingerprint(cluster, id);
        cluster_poll_at(cluster, id, clock - 5000);
        cluster_poll_at(cluster, id, 0);
        CHECK_EQ(cluster_fingerprint(cluster, id), before);
        CHECK_EQ(cluster_mark(cluster), mark);
        cluster_poll_at(cluster, id, clock);
        CHECK_EQ(cluster_fingerprint(cluster, id), before);
    }
    uint64_t clock = cluster_clock(cluster, 2);
    raft_message beat =
        cluster_forge(cluster, 1, 2, cluster_term(cluster, 2), RAFT_MESSAGE_HEARTBEAT);
    CHECK_EQ(raft_receive(cluster->nodes[2].raft, &beat), RAFT_OK);
    cluster_poll_at(cluster, 2, clock - 5000);
    CHECK_EQ(cluster_status(cluster, 2).last_contact_ms, clock);
    CHECK(raft_deadline(cluster->nodes[2].raft) >= clock + T);
    cluster_run(cluster, 10 * T);
    CHECK_EQ(cluster_leader(cluster), 1);
    CLUSTER_DONE(cluster);
}

static void a_clock_that_jumps_far_ahead_costs_an_election_at_most(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster->nodes[1].skew_ms += 1000000000000;
    cluster_poll(cluster, 1);
    cluster_run(cluster, 4 * LONGEST);
    cluster->nodes[2].skew_ms += 1000000000000;
    cluster_run(cluster, 4 * LONGEST);
    CHECK(cluster_stable_leader(cluster) != 0);
    CHECK(cluster_propose(cluster, cluster_leader(cluster), "on") > 0);
    cluster_run(cluster, LONGEST);
    CHECK(cluster_converged(cluster));
    CLUSTER_DONE(cluster);
}

static void a_sample_at_the_end_of_the_clock_breaks_nothing(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_EQ(cluster_poll_at(cluster, id, UINT64_MAX), RAFT_OK);
        CHECK_EQ(cluster_poll_at(cluster, id, UINT64_MAX - 1), RAFT_OK);
        CHECK_EQ(cluster_poll_at(cluster, id, 5), RAFT_OK);
    }
    CLUSTER_DONE(cluster);
}

/* ---- deadlines ------------------------------------------------------------------------------ */

static void every_input_that_has_something_to_say_is_due_at_once(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft *leader = cluster->nodes[1].raft;
    raft *follower = cluster->nodes[2].raft;
    cluster_settle(cluster);
    CHECK(raft_deadline(leader) > cluster->now_ms);
    cluster_propose(cluster, 1, "x");
    CHECK_EQ(raft_deadline(leader), 0);
    cluster_settle(cluster);
    CHECK_EQ(raft_read(leader, 1), RAFT_OK);
    CHECK_EQ(raft_deadline(leader), 0);
    cluster_poll(cluster, 1);
    cluster_receive(cluster, 1, 2);
    CHECK_EQ(raft_deadline(follower), 0);
    cluster_settle(cluster);
    CHECK_EQ(raft_campaign(follower), RAFT_OK);
    CHECK_EQ(raft_deadline(follower), 0);
    cluster_run(cluster, 3 * LONGEST);
    CLUSTER_DONE(cluster);
}

static void a_poll_leaves_nothing_due_at_once(void)
{
    struct cluster *cluster = cluster_new(3);
    for (raft_id id = 1; id <= 3; id++) {
        CHECK(raft_deadline(cluster->nodes[id].raft) > cluster->now_ms);
    }
    CHECK(cluster_elect(cluster, 1));
    for (int i = 0; i < 20; i++) {
        cluster_propose(cluster, 1, "x");
        cluster_poll(cluster, 1);
        CHECK(raft_deadline(cluster->nodes[1].raft) > cluster->now_ms);
        cluster_receive(cluster, 1, 2);
        cluster_poll(cluster, 2);
        CHECK(raft_deadline(cluster->nodes[2].raft) > cluster->now_ms);
        cluster_settle(cluster);
        cluster_advance(cluster, 30);
    }
    cluster_isolate(cluster, 2);
    cluster->now_ms += LONGEST;
    cluster_poll(cluster, 2);
    CHECK_EQ(cluster_role(cluster, 2), RAFT_ROLE_PRE_CANDIDATE);
    CHECK(raft_deadline(cluster->nodes[2].raft) > cluster->now_ms);
    CLUSTER_DONE(cluster);
}

static void while_a_write_hangs_no_node_asks_to_be_polled_in_a_loop(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    cluster_store_async(cluster, 0, 1);
    for (int i = 0; i < 10; i++) {
        cluster_propose(cluster, 1, "x");
        cluster_run(cluster, 1);
    }
    for (raft_id id = 1; id <= 3; id++) {
        CHECK(cluster->nodes[id].store.pending_count > 0);
        cluster_poll(cluster, id);
        CHECK(raft_deadline(cluster->nodes[id].raft) > cluster->now_ms);
    }
    cluster_run(cluster, 20 * T);
    CLUSTER_DONE(cluster);
}

static void a_joiner_is_never_due(void)
{
    struct cluster *cluster = cluster_create(1);
    cluster->founders = 0;
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    CHECK_EQ(raft_deadline(cluster->nodes[1].raft), RAFT_NEVER);
    cluster_advance(cluster, 100 * T);
    CHECK_EQ(raft_deadline(cluster->nodes[1].raft), RAFT_NEVER);
    CHECK_EQ(cluster->nodes[1].store.writes, 0);
    CLUSTER_DONE(cluster);
}

/* ---- determinism ---------------------------------------------------------------------------- */

static uint64_t eventful_run(uint64_t seed)
{
    struct cluster *cluster = cluster_create(5);
    for (raft_id id = 1; id <= 5; id++) {
        cluster->nodes[id].options.seed = seed;
    }
    CHECK_EQ(cluster_start(cluster), RAFT_OK);
    cluster->latency_ms = 7;
    cluster_store_async(cluster, 3, 1);
    for (int i = 0; i < 40; i++) {
        raft_id leader = cluster_leader(cluster);
        if (leader != 0) {
            cluster_propose(cluster, leader, "some work");
            raft_read(cluster->nodes[leader].raft, (uint64_t)i);
        }
        if (i % 10 == 9 && leader != 0) {
            cluster_isolate(cluster, leader);
        }
        cluster_run(cluster, 333);
        cluster_complete(cluster, 3);
        if (i % 10 == 4) {
            cluster_heal_all(cluster);
        }
    }
    uint64_t hash = cluster_traffic_hash(cluster);
    CLUSTER_DONE(cluster);
    return hash;
}

static void the_same_seed_and_calls_give_the_same_bytes(void)
{
    uint64_t first = eventful_run(1);
    CHECK_EQ(eventful_run(1), first);
    CHECK(eventful_run(2) != first);
}

/* ---- looking -------------------------------------------------------------------------------- */

static void status_writes_no_further_than_its_caller_knows(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_status status;
    memset(&status, 0x5a, sizeof status);
    status.size = offsetof(raft_status, term);
    CHECK_EQ(raft_get_status(cluster->nodes[1].raft, &status), RAFT_OK);
    CHECK_EQ(status.role, RAFT_ROLE_LEADER);
    CHECK_EQ(status.size, offsetof(raft_status, term));
    CHECK_EQ(status.term, 0x5a5a5a5a5a5a5a5au);
    status.size = 0;
    CHECK_EQ(raft_get_status(cluster->nodes[1].raft, &status), RAFT_EARG);
    CLUSTER_DONE(cluster);
}

static void descriptions_behave_like_snprintf(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    char full[4096], part[10];
    size_t length = raft_describe_node(cluster->nodes[1].raft, full, sizeof full);
    CHECK(length > 20 && length < sizeof full);
    CHECK_EQ(strlen(full), length);
    memset(part, 'x', sizeof part);
    CHECK_EQ(raft_describe_node(cluster->nodes[1].raft, part, sizeof part), length);
    CHECK_EQ(strlen(part), sizeof part - 1);
    CHECK_EQ(memcmp(part, full, sizeof part - 1), 0);
    CHECK_EQ(raft_describe_node(cluster->nodes[1].raft, NULL, 0), length);
    CLUSTER_DONE(cluster);
}

static void every_code_has_a_sentence(void)
{
    for (int code = -300; code <= 300; code++) {
        CHECK(raft_strerror(code) != NULL && strlen(raft_strerror(code)) > 0);
    }
    CHECK(strcmp(raft_strerror(RAFT_EDROPPED), raft_strerror(RAFT_EUNKNOWN)) != 0);
    CHECK_STR(raft_version(), "0.1.0");
    CHECK_EQ(raft_version_number(), RAFT_VERSION_NUMBER);
}

static void a_leader_tells_what_it_knows_of_its_peers_and_others_tell_nothing(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    raft_index index = cluster_propose(cluster, 1, "x");
    cluster_run(cluster, 100);
    for (size_t i = 1; i < 3; i++) {
        raft_peer_status peer;
        CHECK_EQ(raft_get_peer(cluster->nodes[1].raft, i, &peer), RAFT_OK);
        CHECK_EQ(peer.id, i + 1);
        CHECK_EQ(peer.match, index);
        CHECK_EQ(peer.next, index + 1);
        CHECK_EQ(peer.state, RAFT_PEER_REPLICATE);
        CHECK_EQ(peer.inflight_messages, 0);
        CHECK_EQ(peer.heard, 1);
        CHECK_EQ(raft_get_peer(cluster->nodes[2].raft, i, &peer), RAFT_OK);
        CHECK_EQ(peer.id, i + 1);
        CHECK_EQ(peer.match + peer.next + peer.inflight_bytes, 0);
    }
    raft_peer_status none;
    CHECK_EQ(raft_get_peer(cluster->nodes[1].raft, 3, &none), RAFT_EARG);
    CLUSTER_DONE(cluster);
}

static void roles_and_leaders_are_told_as_they_change(void)
{
    struct cluster *cluster = led_cluster(3, 1);
    const raft_event *role = cluster_event(cluster, 1, 0, RAFT_EVENT_ROLE);
    CHECK(role != NULL);
    const struct cluster_node *node = &cluster->nodes[1];
    const raft_event *last = NULL;
    for (size_t i = 0; i < node->event_count; i++) {
        last = node->events[i].event.kind == RAFT_EVENT_ROLE ? &node->events[i].event : last;
    }
    CHECK_EQ(last->role, RAFT_ROLE_LEADER);
    CHECK_EQ(last->term, cluster_term(cluster, 1));
    CHECK_EQ(last->leader, 1);
    const struct cluster_node *other = &cluster->nodes[2];
    CHECK(other->event_count > 0);
    CHECK_EQ(other->events[other->event_count - 1].event.leader, 1);
    CLUSTER_DONE(cluster);
}

int main(void)
{
    RUN_BOTH(options_out_of_range_are_refused_and_make_no_node);
    RUN_BOTH(a_missing_mandatory_callback_is_refused);
    RUN_BOTH(structs_of_a_newer_header_pass_while_what_is_unknown_is_zero);
    RUN_BOTH(structs_of_an_older_header_get_the_defaults_of_what_they_lack);
    RUN_BOTH(founding_is_refused_for_members_that_make_no_group);
    RUN_BOTH(members_are_shown_in_their_order_with_their_blobs);
    RUN_BOTH(null_is_answered_everywhere);
    RUN_BOTH(before_raft_start_inputs_are_not_legal_and_nothing_is_due);
    RUN_BOTH(a_read_without_notify_is_refused);
    RUN_BOTH(a_node_without_notify_and_allocator_elects_and_applies);
    RUN_BOTH(completions_of_writes_that_are_not_outstanding_change_nothing);
    RUN_BOTH(completions_of_applies_that_are_not_outstanding_change_nothing);
    RUN_BOTH(random_wrong_calls_never_leave_a_trace);
    RUN_BOTH(foreign_messages_are_refused_and_counted_before_anything_else);
    RUN_BOTH(messages_for_another_server_are_foreign_in_their_wire_form_too);
    RUN_BOTH(a_second_leader_of_one_term_is_refused_and_counted);
    RUN_BOTH(inside_callbacks_only_what_the_header_allows_is_accepted);
    RUN_BOTH(other_nodes_may_be_used_inside_a_callback);
    RUN_BOTH(a_write_that_fails_at_once_stops_the_node_for_good);
    RUN_BOTH(a_write_that_fails_later_stops_the_node_for_good);
    RUN_BOTH(a_follower_whose_write_fails_acknowledges_nothing_and_grants_nothing);
    RUN_BOTH(a_restart_from_storage_continues_after_a_failed_write);
    RUN_BOTH(an_apply_that_fails_stops_the_node_for_good);
    RUN_BOTH(an_apply_that_fails_later_stops_the_node_for_good);
    RUN_BOTH(the_first_cause_of_stopping_is_kept);
    RUN_BOTH(proposals_committed_but_not_applied_are_answered_when_the_node_stops);
    RUN_BOTH(a_leader_whose_disk_hangs_leads_no_longer_within_two_timeouts);
    RUN_BOTH(the_bound_on_a_hanging_disk_is_an_option);
    RUN_BOTH(a_slow_disk_that_completes_in_time_costs_no_leadership);
    RUN_BOTH(each_reason_to_refuse_a_proposal_has_its_own_code);
    RUN_BOTH(the_quota_lets_empty_payloads_pass_and_anything_where_nothing_waits);
    RUN_BOTH(a_vector_of_proposals_is_taken_whole_or_not_at_all);
    RUN_BOTH(an_applied_proposal_gets_no_other_answer);
    RUN_BOTH(a_proposal_is_dropped_only_when_another_entry_is_committed_in_its_place);
    RUN_BOTH(every_proposal_of_many_leaderships_has_exactly_one_answer);
    RUN_BOTH(contact_between_polls_is_dated_by_the_next_sample);
    RUN_BOTH(a_sample_below_an_earlier_one_counts_as_equal_to_it);
    RUN_BOTH(a_clock_that_jumps_far_ahead_costs_an_election_at_most);
    RUN_BOTH(a_sample_at_the_end_of_the_clock_breaks_nothing);
    RUN_BOTH(every_input_that_has_something_to_say_is_due_at_once);
    RUN_BOTH(a_poll_leaves_nothing_due_at_once);
    RUN_BOTH(while_a_write_hangs_no_node_asks_to_be_polled_in_a_loop);
    RUN_BOTH(a_joiner_is_never_due);
    RUN_BOTH(the_same_seed_and_calls_give_the_same_bytes);
    RUN_BOTH(status_writes_no_further_than_its_caller_knows);
    RUN_BOTH(descriptions_behave_like_snprintf);
    RUN(every_code_has_a_sentence);
    RUN_BOTH(a_leader_tells_what_it_knows_of_its_peers_and_others_tell_nothing);
    RUN_BOTH(roles_and_leaders_are_told_as_they_change);
    return check_done();
}
