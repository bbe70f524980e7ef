/*
 * The log that does not grow for ever: what hosts are asked for and told (raft_snapshot_meta,
 * raft_compact, RAFT_EVENT_SNAPSHOT_WANTED), memory given up where storage can be asked (read_log),
 * and logs that begin somewhere when they are restored (R5, R8, R40, R61).
 */
#include "check.h"
#include "cluster.h"
#include "members.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t LONGEST = 2000;

enum { LOG_BYTES = 64 << 10 };

/* Hosts that read stored entries back, with little memory for the log. */
static struct cluster *make_group(size_t count)
{
    struct cluster *c = cluster_create(count);
    c->snapshots = 1;
    c->read_log = 1;
    for (raft_id id = 1; id <= count; id++) {
        c->nodes[id].options.log_bytes_max = LOG_BYTES;
        c->nodes[id].options.trailing_bytes = 1;
        c->nodes[id].options.append_bytes_max = 2048;
    }
    return c;
}

static struct cluster *start_group(size_t count)
{
    struct cluster *c = make_group(count);
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    return c;
}

static void work(struct cluster *c, raft_id leader, int count, size_t size)
{
    static char payload[20000];
    memset(payload, 'x', sizeof payload);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(raft_propose(c->nodes[leader].raft, payload, size, NULL, NULL), RAFT_OK);
        c->nodes[leader].spin_count = 0;
        if (i % 10 == 9) {
            cluster_settle(c);
        }
    }
    cluster_run(c, 200);
}

static int caught_up(struct cluster *c, raft_id leader, raft_id id)
{
    return cluster_status(c, id).applied_index == cluster_status(c, leader).applied_index &&
           cluster_peer(c, leader, id).state == RAFT_PEER_REPLICATE;
}

/* ---- Memory --------------------------------------------------------------------------------- */

/* Far more than fits in memory goes through it, and nothing is refused nor lost. */
static void log_larger_than_its_memory_goes_on(void)
{
    struct cluster *c = start_group(3);
    for (int i = 0; i < 40; i++) {
        work(c, 1, 20, 700);
        for (raft_id id = 1; id <= 3; id++) {
            raft_status status = cluster_status(c, id);
            CHECK(status.log_bytes <= LOG_BYTES);
            CHECK_EQ(status.first_index, 1);
        }
    }
    CHECK(cluster_status(c, 1).memory_index > 600);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

/* Where nothing binds it, it answers (N7); what it knows of its follower is not touched (V9). */
static void leader_that_is_pulled_from_keeps_what_it_knows_of_its_followers(void)
{
    struct cluster *c = make_group(3);
    c->nodes[1].options.no_check_quorum = 1;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    work(c, 1, 300, 700);
    CHECK(cluster_status(c, 1).memory_index > 3);
    raft_index next = cluster_peer(c, 1, 3).next;
    raft_message pull = cluster_forge(c, 3, 1, cluster_term(c, 1), RAFT_MESSAGE_PULL);
    pull.index = 2;
    pull.index_term = cluster_term(c, 1);
    pull.round = 1;
    uint64_t mark = cluster_mark(c);
    CHECK_EQ(cluster_inject(c, 1, &pull), RAFT_OK);
    CHECK(cluster_sent(c, mark, 1, 3, RAFT_MESSAGE_PULL_REPLY) != NULL);
    CHECK_EQ(cluster_peer(c, 1, 3).next, next);
    CHECK_EQ(cluster_peer(c, 1, 3).state, RAFT_PEER_REPLICATE);
    CLUSTER_DONE(c);
}

static void peer_behind_memory_gets_its_entries_from_storage(void)
{
    for (int async = 0; async < 2; async++) {
        struct cluster *c = start_group(3);
        c->nodes[1].fetch_async = async;
        cluster_isolate(c, 3);
        work(c, 1, 400, 700);
        CHECK(cluster_status(c, 1).memory_index > 300);
        cluster_heal_all(c);
        for (int i = 0; i < 2000 && !caught_up(c, 1, 3); i++) {
            cluster_run(c, 5);
            cluster_complete_fetches(c, 1);
        }
        CHECK(caught_up(c, 1, 3));
        CHECK(c->nodes[1].fetched > 100);
        CHECK(cluster_status(c, 1).counters.entries_fetched >= 300);
        CHECK_EQ(cluster_status(c, 1).counters.snapshots_sent, 0);
        CHECK(cluster_converged(c));
        CLUSTER_DONE(c);
    }
}

static raft_index stored_last(const struct cluster *c, raft_id id)
{
    return c->nodes[id].store.log.base + c->nodes[id].store.log.count;
}

/* Of the voters 1, 2, 3 and the witness 4 so many commit from now on. */
static void change_commit_quorum(struct cluster *c, uint32_t commit_quorum)
{
    struct wish wish;
    wish_for(&wish, "1 2 3 4w");
    wish.membership.commit_quorum = commit_quorum;
    CHECK_EQ(ask(c, 1, &wish), RAFT_OK);
}

/*
 * R56: 1 and 2 hold what two of four have committed; then all four are to commit, so that a witness
 * hears of an entry only when 3 holds it as well. Memory has given all that up: headers come from
 * storage, where much more of it lies than may be told, beginning in the midst of a piece.
 */
static void witness_hears_from_storage_of_nothing_that_too_few_hold(void)
{
    struct cluster *c = make_group(4);
    c->founders = 3;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    change_commit_quorum(c, 2);
    cluster_run(c, LONGEST);
    cluster_isolate(c, 4);
    work(c, 1, 1, 700);
    cluster_isolate(c, 3);
    work(c, 1, 400, 700);
    raft_index before = stored_last(c, 4);
    CHECK_EQ(stored_last(c, 3), before + 1);
    CHECK_EQ(cluster_commit(c, 1), before + 401);
    CHECK(cluster_status(c, 1).memory_index > before + 100);
    change_commit_quorum(c, 4);
    cluster_heal(c, 1, 4);
    cluster_heal(c, 4, 1);
    cluster_run(c, 500);
    CHECK_EQ(stored_last(c, 4), before + 1);
    cluster_heal_all(c);
    cluster_hold(c, 1, 3);
    cluster_hold(c, 3, 1);
    for (int i = 0; i < 200 && stored_last(c, 3) < before + 20; i++) {
        cluster_run(c, 5);
        cluster_deliver(c, 1, 3);
        cluster_deliver_all(c, 3, 1);
        CHECK(stored_last(c, 4) <= stored_last(c, 3));
    }
    CHECK(stored_last(c, 4) > before + 10); /* as far as 3 has come, it follows */
    cluster_heal_all(c);
    cluster_run(c, 4 * LONGEST);
    CHECK(caught_up(c, 1, 3) && caught_up(c, 1, 4));
    CHECK_EQ(cluster_status(c, 4).commit_quorum, 4);
    CHECK(!cluster_status(c, 4).membership_joint);
    CLUSTER_DONE(c);
}

/* Entries of several terms, one larger than a message, are fetched run by run. */
static void stored_entries_of_any_size_and_term_are_fetched(void)
{
    struct cluster *c = start_group(3);
    cluster_isolate(c, 3);
    for (int i = 0; i < 8; i++) {
        CHECK(cluster_elect(c, 1 + (raft_id)i % 2));
        cluster_isolate(c, 3);
        work(c, cluster_leader(c), 3, 10000);
        work(c, cluster_leader(c), 30, 10 * (size_t)i);
    }
    raft_id leader = cluster_leader(c);
    CHECK(cluster_status(c, leader).memory_index > 100);
    cluster_heal_all(c);
    cluster_run(c, 2 * LONGEST);
    CHECK(caught_up(c, cluster_leader(c), 3));
    CHECK(cluster_converged(c));
    CHECK_EQ(cluster_status(c, cluster_leader(c)).counters.snapshots_sent, 0);
    CLUSTER_DONE(c);
}

/* A read that fails builds no message from what there is of it; the peer gets a snapshot. */
static void entries_that_storage_cannot_give_are_replaced_by_a_snapshot(void)
{
    struct cluster *c = start_group(3);
    cluster_isolate(c, 3);
    work(c, 1, 400, 700);
    for (raft_id id = 1; id <= 2; id++) {
        c->nodes[id].options.trailing_bytes = LOG_BYTES / 2;
    }
    CHECK_EQ(raft_set_options(c->nodes[1].raft, &c->nodes[1].options), RAFT_OK);
    c->nodes[1].fetch_fail = -5;
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK(!caught_up(c, 1, 3)); /* no snapshot yet: tried again, at every heartbeat at most */
    CHECK(c->nodes[1].fetched > 3 && c->nodes[1].fetched < 60);
    work(c, 1, 5, 100);
    CHECK_EQ(cluster_commit(c, 1), cluster_status(c, 1).last_index);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    cluster_run(c, 2 * LONGEST);
    CHECK(caught_up(c, 1, 3));
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 1);
    CLUSTER_DONE(c);
}

/*
 * R38: the log begins in front of the entry that cannot be read, so a follower that lost in a crash
 * what was shipped denies nothing: asked, it acknowledges what it had. It is shipped to again.
 */
static void snapshot_in_place_of_unreadable_entries_is_asked_for_again_when_it_was_lost(void)
{
    struct cluster *c = make_group(3);
    c->ships = 1;
    c->nodes[1].options.trailing_bytes = LOG_BYTES / 2;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    work(c, 1, 5, 700);
    cluster_isolate(c, 3);
    raft_index held = cluster_status(c, 3).last_index;
    work(c, 1, 10, 700);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    work(c, 1, 400, 700);
    CHECK(cluster_status(c, 1).first_index <= held);
    CHECK(cluster_status(c, 1).memory_index > held + 1);
    c->nodes[1].fetch_fail = -5;
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_NEEDED), 1);
    cluster_store_async(c, 3, 1);
    CHECK_EQ(cluster_ship(c, 1, 3), RAFT_OK);
    cluster_crash(c, 3);
    cluster_store_async(c, 3, 0);
    CHECK_EQ(cluster_restart(c, 3), RAFT_OK);
    CHECK_EQ(cluster_status(c, 3).snapshot_index, 0);
    cluster_run(c, 2 * LONGEST);
    CHECK_EQ(cluster_peer(c, 1, 3).match, held);
    CHECK_EQ(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_NEEDED), 2);
    c->nodes[1].fetch_fail = 0; /* for what lies behind the snapshot */
    CHECK_EQ(cluster_ship(c, 1, 3), RAFT_OK);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    CHECK_EQ(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_NEEDED), 2);
    CLUSTER_DONE(c);
}

/* I24: an entry too large for a message goes alone, and the next message is of the usual size. */
static void entry_larger_than_a_message_comes_from_storage_alone(void)
{
    struct cluster *c = start_group(3);
    cluster_isolate(c, 3);
    work(c, 1, 5, 700);
    work(c, 1, 1, 9000);
    work(c, 1, 400, 100);
    cluster_heal_all(c);
    uint64_t mark = cluster_mark(c);
    cluster_run(c, 3 * LONGEST);
    CHECK(caught_up(c, 1, 3));
    int large = 0;
    const struct cluster_message *sent;
    while ((sent = cluster_sent(c, mark, 1, 3, RAFT_MESSAGE_APPEND)) != NULL) {
        mark = sent->number;
        size_t bytes = sent->message.range_count > 0 ? sent->message.ranges[0].size : 0;
        large += bytes > 2048;
        CHECK(bytes <= 2048 || sent->message.ranges[0].count == 1);
    }
    CHECK(large > 0);
    CLUSTER_DONE(c);
}

/* What a host fills in is looked at like anything from outside. */
static void fetches_that_are_malformed_count_as_failed(void)
{
    struct cluster *c = start_group(3);
    c->nodes[1].fetch_async = 1;
    cluster_isolate(c, 3);
    work(c, 1, 400, 700);
    cluster_heal_all(c);
    for (int damage = 0; damage < 6; damage++) {
        uint8_t elsewhere[64] = {0};
        for (int i = 0; i < 500 && c->nodes[1].fetches[3].data == NULL; i++) {
            cluster_run(c, 20);
        }
        raft_fetch fetch = c->nodes[1].fetches[3];
        CHECK(fetch.data != NULL);
        c->nodes[1].fetches[3].data = NULL;
        fetch.count = 1;
        fetch.size = 16;
        memset(fetch.data, 0, 16);
        ((uint8_t *)fetch.data)[0] = 8;
        ((uint8_t *)fetch.data)[4] = RAFT_ENTRY_DATA;
        fetch.count = damage == 0 ? 0 : fetch.count;
        fetch.size = damage == 1 ? fetch.capacity + 8 : damage == 2 ? 8 : fetch.size;
        fetch.data = damage == 3 ? elsewhere : fetch.data;
        fetch.count = damage == 4 ? (size_t)(fetch.last - fetch.first + 2) : fetch.count;
        if (damage == 5) {
            ((uint8_t *)fetch.data)[4] = 77;
        }
        uint64_t mark = cluster_mark(c);
        CHECK_EQ(raft_log_read(c->nodes[1].raft, &fetch, RAFT_OK), RAFT_EARG);
        cluster_poll(c, 1);
        const struct cluster_message *sent = cluster_sent(c, mark, 1, 3, RAFT_MESSAGE_APPEND);
        CHECK(sent == NULL || sent->message.range_count == 0);
    }
    raft_fetch fetch = c->nodes[1].fetches[3];
    CHECK_EQ(raft_log_read(c->nodes[1].raft, NULL, RAFT_OK), RAFT_EARG);
    fetch.peer = 2; /* nobody asked for 2 */
    CHECK_EQ(raft_log_read(c->nodes[1].raft, &fetch, RAFT_OK), RAFT_EARG);
    c->nodes[1].fetch_async = 0;
    cluster_complete_fetches(c, 1);
    cluster_run(c, LONGEST);
    cluster_complete_fetches(c, 1);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    CLUSTER_DONE(c);
}

/* The buffer that the host fills outlives leadership, and what is in it is of no use then. */
static void leader_that_steps_down_amid_reads_keeps_the_buffers(void)
{
    struct cluster *c = start_group(3);
    c->nodes[1].fetch_async = 1;
    cluster_isolate(c, 3);
    work(c, 1, 400, 700);
    cluster_heal_all(c);
    for (int i = 0; i < 500 && c->nodes[1].fetches[3].data == NULL; i++) {
        cluster_run(c, 20);
    }
    CHECK(c->nodes[1].fetches[3].data != NULL);
    CHECK(cluster_elect(c, 2));
    memset(c->nodes[1].fetches[3].data, 7, c->nodes[1].fetches[3].capacity);
    CHECK_EQ(cluster_complete_fetches(c, 1), RAFT_OK);
    cluster_run(c, 2 * LONGEST);
    CHECK(caught_up(c, 2, 3));
    CHECK(cluster_elect(c, 1));
    CLUSTER_DONE(c);
}

/* Without read_log memory shrinks by compaction alone, and the bound refuses. */
static void without_read_log_only_compaction_makes_room(void)
{
    struct cluster *c = make_group(3);
    c->read_log = 0;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    int code = RAFT_OK;
    static const char payload[700];
    for (int i = 0; i < 1000 && code == RAFT_OK; i++) {
        code = raft_propose(c->nodes[1].raft, payload, sizeof payload, NULL, NULL);
        cluster_settle(c);
    }
    CHECK_EQ(code, RAFT_EFULL);
    CHECK_EQ(cluster_status(c, 1).memory_index, 1);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    CHECK(cluster_status(c, 1).log_bytes < LOG_BYTES);
    work(c, 1, 5, 700);
    for (raft_id id = 2; id <= 3; id++) { /* a follower tells when it has no room (R31) */
        CHECK_EQ(cluster_compact(c, id), RAFT_OK);
    }
    cluster_run(c, LONGEST);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

/* What is not applied stays in memory, however much that is. */
static void entries_that_are_not_applied_are_not_evicted(void)
{
    struct cluster *c = start_group(3);
    c->nodes[2].apply_async = 1;
    work(c, 1, 60, 700);
    raft_status status = cluster_status(c, 2);
    CHECK(status.memory_index <= status.applied_index + 1);
    CHECK(status.log_bytes > LOG_BYTES / 2);
    c->nodes[2].apply_async = 0;
    cluster_complete_apply(c, 2);
    cluster_run(c, LONGEST);
    work(c, 1, 5, 700);
    CHECK(cluster_status(c, 2).log_bytes <= LOG_BYTES / 2 + 20000);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

/* After a restart everything behind the snapshot has to be applied again, and is in memory first. */
static void log_larger_than_its_memory_is_restored_where_it_may_leave_again(void)
{
    for (int stepwise = 0; stepwise < 2; stepwise++) {
        struct cluster *c = start_group(3);
        work(c, 1, 400, 700);
        raft_index last = cluster_status(c, 1).last_index;
        cluster_crash(c, 1);
        CHECK_EQ(stepwise ? cluster_restart_stepwise(c, 1) : cluster_restart(c, 1), RAFT_OK);
        CHECK_EQ(cluster_status(c, 1).last_index, last);
        cluster_run(c, 3 * LONGEST);
        work(c, cluster_leader(c), 5, 100);
        CHECK(cluster_converged(c));
        CHECK(cluster_status(c, 1).log_bytes <= LOG_BYTES);
        CLUSTER_DONE(c);
    }
}

/* ---- Paging (the scenarios under [Flow control]) -------------------------------------------- */

static void large_backlog_is_applied_in_pages_after_a_restart(void)
{
    struct cluster *c = start_group(3);
    c->nodes[3].options.apply_bytes_max = 1000;
    cluster_isolate(c, 3);
    work(c, 1, 300, 300);
    work(c, 1, 2, 5000); /* larger than a page: alone */
    cluster_crash(c, 3);
    CHECK_EQ(cluster_restart(c, 3), RAFT_OK);
    cluster_heal_all(c);
    cluster_run(c, 2 * LONGEST);
    CHECK(cluster_converged(c)); /* the harness sees what is skipped, repeated or out of order */
    cluster_crash(c, 3);
    CHECK_EQ(cluster_restart_stepwise(c, 3), RAFT_OK);
    cluster_run(c, 2 * LONGEST);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

/* ---- The host decides, or is asked ---------------------------------------------------------- */

static void snapshot_is_asked_for_by_bytes(void)
{
    struct cluster *c = make_group(3);
    for (raft_id id = 1; id <= 3; id++) {
        c->nodes[id].options.snapshot_log_bytes = 20000;
    }
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    work(c, 1, 15, 1000);
    CHECK_EQ(cluster_event_count(c, 2, 0, RAFT_EVENT_SNAPSHOT_WANTED), 0);
    work(c, 1, 10, 1000);
    for (raft_id id = 1; id <= 3; id++) {
        CHECK_EQ(cluster_event_count(c, id, 0, RAFT_EVENT_SNAPSHOT_WANTED), 1);
    }
    work(c, 1, 15, 1000); /* as much again, and it is asked again */
    CHECK_EQ(cluster_event_count(c, 2, 0, RAFT_EVENT_SNAPSHOT_WANTED), 1);
    work(c, 1, 10, 1000);
    CHECK_EQ(cluster_event_count(c, 2, 0, RAFT_EVENT_SNAPSHOT_WANTED), 2);
    CHECK_EQ(cluster_compact(c, 2), RAFT_OK); /* begins the count anew */
    work(c, 1, 17, 1000);
    CHECK_EQ(cluster_event_count(c, 2, 0, RAFT_EVENT_SNAPSHOT_WANTED), 2);
    work(c, 1, 8, 1000);
    CHECK_EQ(cluster_event_count(c, 2, 0, RAFT_EVENT_SNAPSHOT_WANTED), 3);
    CLUSTER_DONE(c);
}

static void metadata_is_of_the_applied_index_and_is_checked_when_it_comes_back(void)
{
    struct cluster *c = start_group(3);
    raft *node = c->nodes[1].raft;
    uint8_t meta[RAFT_META_MAX];
    uint8_t later[RAFT_META_MAX];
    size_t size = 0;
    size_t later_size = 0;
    raft_index index = 0;
    raft_term term = 0;
    work(c, 1, 20, 100);
    CHECK_EQ(raft_snapshot_meta(NULL, meta, sizeof meta, &size), RAFT_EARG);
    CHECK_EQ(raft_snapshot_meta(node, NULL, sizeof meta, &size), RAFT_EARG);
    CHECK_EQ(raft_snapshot_meta(node, meta, 20, &size), RAFT_ESIZE);
    CHECK_EQ(raft_snapshot_meta(node, meta, size, &size), RAFT_OK);
    CHECK_EQ(raft_meta_read(meta, size, &index, &term), RAFT_OK);
    CHECK_EQ(index, cluster_status(c, 1).applied_index);
    CHECK_EQ(term, cluster_term(c, 1));
    work(c, 1, 20, 100);
    CHECK_EQ(raft_snapshot_meta(node, later, sizeof later, &later_size), RAFT_OK);
    for (size_t i = 0; i < size; i++) { /* what is damaged is of no entry of this log */
        meta[i] ^= 0x80;
        uint64_t before = cluster_fingerprint(c, 1);
        CHECK_EQ(raft_compact(node, meta, size), i >= 24 && i < 32 ? RAFT_OK : RAFT_EARG);
        if (i < 24 || i >= 32) { /* the accepted round is carried, and not looked at */
            CHECK_EQ(cluster_fingerprint(c, 1), before);
        }
        meta[i] ^= 0x80;
        if (i >= 24 && i < 32) {
            break;
        }
    }
    CHECK_EQ(raft_compact(node, NULL, size), RAFT_EARG);
    CHECK_EQ(raft_compact(node, meta, size - 1), RAFT_EARG);
    CHECK_EQ(raft_compact(NULL, meta, size), RAFT_EARG);
    CHECK_EQ(raft_compact(node, later, later_size), RAFT_OK);
    raft_status status = cluster_status(c, 1);
    CHECK_EQ(status.snapshot_index, cluster_status(c, 1).applied_index);
    CHECK_EQ(raft_compact(node, meta, size), RAFT_OK); /* older: nothing */
    CHECK_EQ(cluster_status(c, 1).snapshot_index, status.snapshot_index);
    CHECK_EQ(raft_compact(c->nodes[2].raft, later, later_size), RAFT_OK); /* of the same log */
    cluster_isolate(c, 3);
    work(c, 1, 5, 10);
    CHECK_EQ(raft_snapshot_meta(node, later, sizeof later, &later_size), RAFT_OK);
    CHECK_EQ(raft_compact(c->nodes[3].raft, later, later_size), RAFT_EARG); /* not applied there */
    CLUSTER_DONE(c);
}

/* From inside apply what is in hand is not applied yet, so there is no such metadata. */
static void call_from_inside(struct cluster *c, raft_id id, int callback, const void *argument)
{
    uint8_t meta[RAFT_META_MAX];
    size_t size;
    int code = raft_snapshot_meta(c->nodes[id].raft, meta, sizeof meta, &size);
    (void)argument;
    if (callback == CLUSTER_IN_APPLY) {
        CHECK_EQ(code, RAFT_EBUSY);
    }
    if (callback == CLUSTER_IN_NOTIFY && code == RAFT_OK) {
        CHECK_EQ(raft_compact(c->nodes[id].raft, meta, size), RAFT_OK);
        *(int *)c->hook_data += 1;
    }
    if (callback == CLUSTER_IN_PERSIST && code == RAFT_OK) {
        CHECK_EQ(raft_compact(c->nodes[id].raft, meta, size), RAFT_EREENTRY);
    }
}

static void compaction_from_inside_notify_is_allowed(void)
{
    struct cluster *c = make_group(3);
    int compacted = 0;
    for (raft_id id = 1; id <= 3; id++) {
        c->nodes[id].options.snapshot_log_bytes = 4000;
    }
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    c->hook = call_from_inside;
    c->hook_data = &compacted;
    work(c, 1, 200, 500);
    c->hook = NULL;
    CHECK(compacted > 20);
    CHECK(cluster_converged(c));
    CHECK(cluster_status(c, 2).snapshot_index > 150);
    CLUSTER_DONE(c);
}

/* Snapshots are asked for by the number of bytes that is set now: none, or fewer. */
static void wish_for_snapshots_follows_the_options(void)
{
    struct cluster *c = make_group(3);
    for (raft_id id = 1; id <= 3; id++) {
        c->nodes[id].options.snapshot_log_bytes = 4000;
    }
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    work(c, 1, 40, 500);
    size_t asked = cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_WANTED);
    CHECK(asked > 2);
    c->nodes[1].options.snapshot_log_bytes = 0;
    CHECK_EQ(raft_set_options(c->nodes[1].raft, &c->nodes[1].options), RAFT_OK);
    work(c, 1, 40, 500);
    CHECK_EQ(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_WANTED), asked);
    c->nodes[1].options.snapshot_log_bytes = 2000;
    CHECK_EQ(raft_set_options(c->nodes[1].raft, &c->nodes[1].options), RAFT_OK);
    work(c, 1, 40, 500);
    CHECK(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_WANTED) > asked + 4);
    CLUSTER_DONE(c);
}

/* Nothing that is not durable leaves, though a volatile state is ahead of the disk. */
static void snapshot_ahead_of_the_own_disk_gives_up_only_what_is_durable(void)
{
    struct cluster *c = make_group(3);
    for (raft_id id = 1; id <= 3; id++) {
        c->nodes[id].options.apply_ahead = 1;
    }
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    work(c, 1, 20, 500);
    cluster_store_async(c, 1, 1);
    raft_index durable = cluster_status(c, 1).durable_index;
    work(c, 1, 40, 500);
    CHECK(cluster_status(c, 1).applied_index > durable);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    CHECK(cluster_status(c, 1).first_index <= durable + 1);
    cluster_crash(c, 1); /* the log ends in front of the snapshot then, and begins behind it */
    raft_index snapshot = c->nodes[1].snapshots[0].index;
    CHECK_EQ(cluster_restart_stepwise(c, 1), RAFT_OK);
    CHECK_EQ(cluster_status(c, 1).last_index, snapshot);
    CHECK_EQ(cluster_status(c, 1).first_index, snapshot + 1);
    cluster_store_async(c, 1, 0);
    cluster_run(c, 3 * LONGEST);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

/* A joiner applies what it is sent: memory that holds no more would end its way to its own entry. */
static void joiner_with_little_memory_reaches_the_entry_that_adds_it(void)
{
    struct cluster *c = make_group(4);
    raft_member members[4];
    raft_membership membership;
    c->founders = 3;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    work(c, 1, 900, 700);
    raft_membership_init(&membership);
    CHECK_EQ(raft_get_membership(c->nodes[1].raft, &membership, members, 4), RAFT_OK);
    memset(&members[3], 0, sizeof members[3]);
    members[3].id = 4;
    members[3].role = RAFT_MEMBER_LEARNER;
    membership.members = members;
    membership.member_count = 4;
    CHECK_EQ(raft_set_membership(c->nodes[1].raft, &membership, membership.version, NULL, NULL),
             RAFT_OK);
    cluster_run(c, 5 * LONGEST);
    CHECK(caught_up(c, 1, 4));
    CHECK_EQ(cluster_status(c, 4).counters.snapshots_installed, 0);
    CLUSTER_DONE(c);
}

/* ---- A state machine that is durable by itself ---------------------------------------------- */

/* R8: what it has applied is committed, and is not applied again. */
static void durable_state_machine_is_given_no_entry_twice(void)
{
    struct cluster *c = make_group(3);
    for (raft_id id = 1; id <= 3; id++) {
        c->nodes[id].durable_machine = 1;
    }
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    work(c, 1, 50, 100);
    for (raft_id id = 1; id <= 3; id++) {
        raft_index applied = cluster_status(c, id).applied_index;
        cluster_crash(c, id);
        CHECK_EQ(cluster_restart(c, id), RAFT_OK);
        CHECK_EQ(cluster_status(c, id).applied_index, applied);
        CHECK_EQ(cluster_status(c, id).commit_index, applied);
        cluster_run(c, 2 * LONGEST);
    }
    work(c, cluster_leader(c), 5, 100);
    CHECK_EQ(cluster_compact(c, 2), RAFT_OK);
    cluster_crash(c, 2);
    CHECK_EQ(cluster_restart_stepwise(c, 2), RAFT_OK);
    cluster_run(c, LONGEST);
    CHECK(cluster_converged(c)); /* the harness sees what is applied twice or out of order */
    CLUSTER_DONE(c);
}

/* ---- Logs that begin somewhere -------------------------------------------------------------- */

/* What a server stored, to be given back in pieces: terms 1 (entries 1 to 20) and 2 (21 to 30). */
struct stored {
    uint8_t founding[RAFT_META_MAX];
    size_t founding_size;
    uint8_t meta[31][RAFT_META_MAX]; /* of a snapshot at that index */
    size_t meta_size[31];
    uint8_t bytes[31][32]; /* entry by entry */
    size_t size[31];
    raft_term term[31];
};

static int ignore_write(void *host, const raft_write *write)
{
    (void)host;
    (void)write;
    return RAFT_OK;
}

static void ignore_message(void *host, const raft_message *message)
{
    (void)host;
    (void)message;
}

static int ignore_range(void *host, const raft_range *range)
{
    (void)host;
    (void)range;
    return RAFT_OK;
}

static raft *open_node_with(int apply_ahead)
{
    raft_options options;
    raft_callbacks callbacks;
    raft *node = NULL;
    raft_options_init(&options);
    options.id = 1;
    options.cluster = 7;
    options.apply_ahead = (uint8_t)apply_ahead;
    options.protocol = cluster_protocol;
    raft_callbacks_init(&callbacks);
    callbacks.persist = ignore_write;
    callbacks.send = ignore_message;
    callbacks.apply = ignore_range;
    CHECK_EQ(raft_new(&options, &callbacks, NULL, &node), RAFT_OK);
    return node;
}

static raft *open_node(void)
{
    return open_node_with(0);
}

/* Lives a life to have its metadata; the entries are of the test's own making. */
static void make_stored(struct stored *stored)
{
    struct cluster *c = make_group(3);
    CHECK_EQ(cluster_start(c), RAFT_OK);
    stored->founding_size = c->nodes[1].store.meta_size;
    memcpy(stored->founding, c->nodes[1].store.meta, stored->founding_size);
    CHECK(cluster_elect(c, 1));
    while (cluster_status(c, 1).applied_index < 20) {
        work(c, 1, 1, 8);
    }
    cluster_crash(c, 1);
    CHECK_EQ(cluster_restart(c, 1), RAFT_OK);
    while (cluster_leader(c) == 0 || cluster_term(c, cluster_leader(c)) < 2) {
        cluster_run(c, 500);
    }
    CHECK_EQ(cluster_leader(c) != 0, 1);
    raft_id leader = cluster_leader(c);
    uint8_t plain[RAFT_META_MAX];
    size_t size = 0;
    CHECK_EQ(raft_snapshot_meta(c->nodes[leader].raft, plain, sizeof plain, &size), RAFT_OK);
    for (raft_index i = 1; i <= 30; i++) {
        raft_entry entry = {i, 0, "payload", 7, RAFT_ENTRY_DATA};
        stored->term[i] = i <= 20 ? 1 : 2;
        stored->size[i] = raft_entry_size(7);
        CHECK_EQ(raft_entry_encode(&entry, stored->bytes[i], sizeof stored->bytes[i]), RAFT_OK);
        memcpy(stored->meta[i], plain, size); /* index and term are where membership.c says */
        stored->meta_size[i] = size;
        stored->meta[i][8] = (uint8_t)i;
        memset(stored->meta[i] + 16, 0, 8);
        stored->meta[i][16] = (uint8_t)stored->term[i];
        raft_index index = 0;
        raft_term term = 0;
        CHECK_EQ(raft_meta_read(stored->meta[i], size, &index, &term), RAFT_OK);
        CHECK(index == i && term == stored->term[i]);
    }
    CLUSTER_DONE(c);
}

static int give_state(raft *node, raft_term term)
{
    raft_write write;
    memset(&write, 0, sizeof write);
    write.has_state = 1;
    write.state.term = term;
    return raft_restore(node, &write);
}

static int give_entries(raft *node, const struct stored *s, raft_index first, raft_index last,
                        raft_index truncate_from)
{
    raft_write write;
    raft_range ranges[31];
    memset(&write, 0, sizeof write);
    write.truncate_from = truncate_from;
    write.ranges = ranges;
    for (raft_index i = first; i <= last; i++) {
        raft_range range = {i, s->term[i], 1, s->size[i], s->bytes[i]};
        ranges[write.range_count++] = range;
    }
    return raft_restore(node, &write);
}

static int give_meta(raft *node, const struct stored *s, raft_index index)
{
    raft_write write;
    memset(&write, 0, sizeof write);
    write.meta = index == 0 ? s->founding : s->meta[index];
    write.meta_size = index == 0 ? s->founding_size : s->meta_size[index];
    return raft_restore(node, &write);
}

static raft_status status_of(const raft *node)
{
    raft_status status;
    memset(&status, 0, sizeof status);
    status.size = sizeof status;
    raft_get_status(node, &status);
    return status;
}

/* Starts the node, and what it is then; frees it. */
static void check_started(raft *node, raft_index first, raft_index last, raft_index snapshot)
{
    CHECK_EQ(raft_start(node, 1000), RAFT_OK);
    CHECK_STR(raft_check(node) != NULL ? raft_check(node) : "sound", "sound");
    raft_status status = status_of(node);
    CHECK_EQ(status.first_index, first);
    CHECK_EQ(status.last_index, last);
    CHECK_EQ(status.snapshot_index, snapshot);
    CHECK_EQ(status.commit_index, snapshot);
    CHECK_EQ(status.applied_index, snapshot);
    CHECK_EQ(raft_poll(node, 1001), RAFT_OK);
    CHECK_STR(raft_check(node) != NULL ? raft_check(node) : "sound", "sound");
    raft_free(node);
}

static void journal_may_begin_anywhere_that_the_newest_snapshot_covers(void)
{
    static struct stored s;
    make_stored(&s);
    for (raft_index first = 1; first <= 30; first++) {
        for (raft_index snapshot = 1; snapshot <= 30; snapshot++) {
            for (int founded = 0; founded < 2; founded++) {
                raft *node = open_node();
                CHECK_EQ(give_state(node, 2), RAFT_OK);
                CHECK_EQ(founded ? give_meta(node, &s, 0) : RAFT_OK, RAFT_OK);
                CHECK_EQ(give_entries(node, &s, first, 30, 0), RAFT_OK);
                int code = give_meta(node, &s, snapshot);
                if (snapshot + 1 < first) { /* a gap (R8) */
                    CHECK_EQ(code, RAFT_ECORRUPT);
                    CHECK(raft_start(node, 1000) != RAFT_OK);
                    raft_free(node);
                    continue;
                }
                CHECK_EQ(code, RAFT_OK);
                raft_index base = first - 1;
                if (first > 1) { /* the term in front of the first entry is not known */
                    base = snapshot == first - 1 ? snapshot : first;
                }
                check_started(node, base + 1, 30, snapshot);
            }
        }
    }
}

static void table_is_one_write_with_what_trails_the_snapshot(void)
{
    static struct stored s;
    make_stored(&s);
    for (raft_index first = 1; first <= 26; first += 5) {
        raft *node = open_node();
        raft_write write;
        raft_range ranges[31];
        memset(&write, 0, sizeof write);
        write.has_state = 1;
        write.state.term = 5;
        write.meta = s.meta[25];
        write.meta_size = s.meta_size[25];
        write.base_index = 25;
        write.base_term = 2;
        write.ranges = ranges;
        for (raft_index i = first; i <= 30; i++) {
            raft_range range = {i, s.term[i], 1, s.size[i], s.bytes[i]};
            ranges[write.range_count++] = range;
        }
        CHECK_EQ(raft_restore(node, &write), RAFT_OK);
        raft_index base = first == 1 ? 0 : first == 26 ? 25 : first;
        check_started(node, base + 1, 30, 25);
        node = open_node();
        write.base_term = 1; /* and says of itself what the metadata does not */
        CHECK_EQ(raft_restore(node, &write), RAFT_ECORRUPT);
        raft_free(node);
    }
}

/* R35: a log that ends in front of the snapshot, or is another one at its end, is dropped. */
static void log_that_does_not_hold_the_snapshot_is_dropped(void)
{
    static struct stored s;
    make_stored(&s);
    raft *node = open_node();
    CHECK_EQ(give_meta(node, &s, 0), RAFT_OK);
    CHECK_EQ(give_state(node, 2), RAFT_OK);
    CHECK_EQ(give_entries(node, &s, 1, 15, 0), RAFT_OK);
    CHECK_EQ(give_meta(node, &s, 25), RAFT_OK);
    check_started(node, 26, 25, 25);
    node = open_node();
    CHECK_EQ(give_state(node, 2), RAFT_OK);
    CHECK_EQ(give_entries(node, &s, 21, 30, 0), RAFT_OK);
    s.meta[25][16] = 1; /* the same index in another term */
    CHECK_EQ(give_meta(node, &s, 25), RAFT_OK);
    check_started(node, 26, 25, 25);
}

/* What persist was given when a snapshot was installed replaces the log, though that holds it. */
static void installed_snapshot_in_a_journal_replaces_what_came_before(void)
{
    static struct stored s;
    make_stored(&s);
    raft *node = open_node();
    raft_write write;
    memset(&write, 0, sizeof write);
    CHECK_EQ(give_meta(node, &s, 0), RAFT_OK);
    CHECK_EQ(give_state(node, 2), RAFT_OK);
    CHECK_EQ(give_entries(node, &s, 1, 24, 0), RAFT_OK);
    write.meta = s.meta[20];
    write.meta_size = s.meta_size[20];
    write.base_index = 20;
    write.base_term = 1;
    write.truncate_from = 21;
    CHECK_EQ(raft_restore(node, &write), RAFT_OK);
    CHECK_EQ(give_entries(node, &s, 21, 26, 0), RAFT_OK); /* joins the snapshot, not entry 24 */
    CHECK_EQ(give_meta(node, &s, 20), RAFT_OK);           /* named again: the same */
    CHECK_EQ(give_meta(node, &s, 23), RAFT_OK);
    check_started(node, 21, 26, 23);
}

/*
 * R4: the snapshot of a volatile state may have outlived the term that it was made in; elsewhere
 * what is applied is durable, and so is its term.
 */
static void snapshot_of_a_term_that_a_crash_took_is_started_from(void)
{
    static struct stored s;
    make_stored(&s);
    for (int apply_ahead = 0; apply_ahead < 2; apply_ahead++) {
        raft *node = open_node_with(apply_ahead);
        CHECK_EQ(give_state(node, 1), RAFT_OK);
        CHECK_EQ(give_meta(node, &s, 0), RAFT_OK);
        CHECK_EQ(give_entries(node, &s, 1, 18, 0), RAFT_OK);
        CHECK_EQ(give_meta(node, &s, 25), RAFT_OK);
        CHECK_EQ(raft_start(node, 1000), apply_ahead ? RAFT_OK : RAFT_ECORRUPT);
        if (apply_ahead) {
            CHECK_EQ(status_of(node).term, 2);
            CHECK_EQ(status_of(node).vote, 0);
            CHECK_EQ(status_of(node).last_index, 25);
            CHECK_EQ(raft_deadline(node), 0); /* the term is to be stored */
        }
        CHECK_EQ(raft_free(node), RAFT_OK);
    }
}

static void truncations_reach_into_the_missing_front(void)
{
    static struct stored s;
    make_stored(&s);
    raft *node = open_node();
    CHECK_EQ(give_state(node, 2), RAFT_OK);
    CHECK_EQ(give_entries(node, &s, 1, 0, 12), RAFT_OK); /* of what is purged */
    CHECK_EQ(give_entries(node, &s, 15, 18, 0), RAFT_OK);
    CHECK_EQ(give_entries(node, &s, 13, 24, 13), RAFT_OK);
    CHECK_EQ(give_entries(node, &s, 22, 30, 22), RAFT_OK);
    CHECK_EQ(give_meta(node, &s, 14), RAFT_OK);
    check_started(node, 14, 30, 14);
    node = open_node();
    CHECK_EQ(give_entries(node, &s, 5, 10, 0), RAFT_OK);
    CHECK_EQ(give_entries(node, &s, 12, 20, 12), RAFT_ECORRUPT); /* a gap in the midst */
    raft_free(node);
    node = open_node();
    CHECK_EQ(give_meta(node, &s, 20), RAFT_OK);
    CHECK_EQ(give_entries(node, &s, 21, 25, 0), RAFT_OK);
    CHECK_EQ(give_entries(node, &s, 20, 21, 20), RAFT_ECORRUPT); /* below the snapshot (I14) */
    raft_free(node);
}

static void stores_that_contradict_their_snapshot_do_not_start(void)
{
    static struct stored s;
    make_stored(&s);
    raft *node = open_node(); /* no snapshot covers the missing front */
    CHECK_EQ(give_state(node, 2), RAFT_OK);
    CHECK_EQ(give_entries(node, &s, 15, 30, 0), RAFT_OK);
    CHECK_EQ(raft_start(node, 1), RAFT_ECORRUPT);
    raft_free(node);
    node = open_node(); /* the snapshot's term is above the hard state's (R36) */
    CHECK_EQ(give_state(node, 1), RAFT_OK);
    CHECK_EQ(give_meta(node, &s, 25), RAFT_OK);
    CHECK_EQ(raft_start(node, 1), RAFT_ECORRUPT);
    raft_free(node);
    node = open_node(); /* an older one after a newer one */
    CHECK_EQ(give_meta(node, &s, 25), RAFT_OK);
    CHECK_EQ(give_meta(node, &s, 24), RAFT_ECORRUPT);
    raft_free(node);
    node = open_node(); /* a later one of a lower term: inverted */
    s.meta[28][16] = 1;
    CHECK_EQ(give_meta(node, &s, 25), RAFT_OK);
    CHECK_EQ(give_meta(node, &s, 28), RAFT_ECORRUPT);
    raft_free(node);
    node = open_node(); /* entries of a lower term behind it */
    s.term[26] = 1;
    CHECK_EQ(give_meta(node, &s, 25), RAFT_OK);
    CHECK_EQ(give_entries(node, &s, 26, 26, 0), RAFT_ECORRUPT);
    raft_free(node);
}

/* R8: an applied index beyond what is stored means that something is lost. */
static void applied_index_that_nothing_stored_reaches_is_refused(void)
{
    static struct stored s;
    make_stored(&s);
    static const struct {
        raft_index applied;
        int code;
    } cases[] = {
        {19, RAFT_ECORRUPT}, {20, RAFT_OK}, {25, RAFT_OK}, {30, RAFT_OK}, {31, RAFT_ECORRUPT}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        raft *node = open_node();
        CHECK_EQ(raft_restore_applied(node, 0), RAFT_ESTATE);
        CHECK_EQ(give_state(node, 2), RAFT_OK);
        CHECK_EQ(give_entries(node, &s, 10, 30, 0), RAFT_OK);
        CHECK_EQ(give_meta(node, &s, 20), RAFT_OK);
        CHECK_EQ(raft_restore_applied(node, cases[i].applied), cases[i].code);
        CHECK_EQ(raft_start(node, 1) == RAFT_OK, cases[i].code == RAFT_OK);
        if (cases[i].code == RAFT_OK) {
            CHECK_EQ(status_of(node).applied_index, cases[i].applied);
            CHECK_EQ(status_of(node).commit_index, cases[i].applied);
            CHECK_EQ(raft_restore_applied(node, 25), RAFT_ESTATE);
        }
        raft_free(node);
    }
}

int main(void)
{
    RUN_BOTH(log_larger_than_its_memory_goes_on);
    RUN(leader_that_is_pulled_from_keeps_what_it_knows_of_its_followers);
    RUN_BOTH(peer_behind_memory_gets_its_entries_from_storage);
    RUN_BOTH(witness_hears_from_storage_of_nothing_that_too_few_hold);
    RUN_BOTH(stored_entries_of_any_size_and_term_are_fetched);
    RUN_BOTH(entries_that_storage_cannot_give_are_replaced_by_a_snapshot);
    RUN_BOTH(snapshot_in_place_of_unreadable_entries_is_asked_for_again_when_it_was_lost);
    RUN_BOTH(entry_larger_than_a_message_comes_from_storage_alone);
    RUN_BOTH(fetches_that_are_malformed_count_as_failed);
    RUN_BOTH(leader_that_steps_down_amid_reads_keeps_the_buffers);
    RUN_BOTH(without_read_log_only_compaction_makes_room);
    RUN_BOTH(entries_that_are_not_applied_are_not_evicted);
    RUN_BOTH(log_larger_than_its_memory_is_restored_where_it_may_leave_again);
    RUN_BOTH(large_backlog_is_applied_in_pages_after_a_restart);
    RUN_BOTH(snapshot_is_asked_for_by_bytes);
    RUN_BOTH(metadata_is_of_the_applied_index_and_is_checked_when_it_comes_back);
    RUN_BOTH(compaction_from_inside_notify_is_allowed);
    RUN_BOTH(wish_for_snapshots_follows_the_options);
    RUN_BOTH(snapshot_ahead_of_the_own_disk_gives_up_only_what_is_durable);
    RUN_BOTH(joiner_with_little_memory_reaches_the_entry_that_adds_it);
    RUN_BOTH(durable_state_machine_is_given_no_entry_twice);
    RUN_BOTH(journal_may_begin_anywhere_that_the_newest_snapshot_covers);
    RUN_BOTH(table_is_one_write_with_what_trails_the_snapshot);
    RUN_BOTH(log_that_does_not_hold_the_snapshot_is_dropped);
    RUN_BOTH(installed_snapshot_in_a_journal_replaces_what_came_before);
    RUN_BOTH(snapshot_of_a_term_that_a_crash_took_is_started_from);
    RUN_BOTH(truncations_reach_into_the_missing_front);
    RUN_BOTH(stores_that_contradict_their_snapshot_do_not_start);
    RUN_BOTH(applied_index_that_nothing_stored_reaches_is_refused);
    return check_done();
}
