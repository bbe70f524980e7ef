/*
 * Snapshots: taken, sent in pieces, received and put into use (rules R35 to R40, the scenarios under
 * [Snapshots]). What must hold of any snapshot the harness watches: see cluster.h.
 */
#include "check.h"
#include "cluster.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t LONGEST = 2000;

/* A group whose hosts have snapshots, with a short trail and small pieces. */
static struct cluster *make_group(size_t count)
{
    struct cluster *c = cluster_create(count);
    c->snapshots = 1;
    for (raft_id id = 1; id <= count; id++) {
        c->nodes[id].options.trailing_bytes = 1;
        c->nodes[id].options.chunk_bytes_max = 700;
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

/* Proposals that commit, many enough for the log to consist of several segments. */
static void work(struct cluster *c, raft_id leader, int count)
{
    for (int i = 0; i < count; i++) {
        CHECK(cluster_propose(c, leader, "some work that is done, and some more") > 0);
        if (i % 10 == 0) {
            cluster_settle(c);
        }
    }
    cluster_run(c, 200);
}

/* The leader's log begins beyond everything that a node left alone can agree with. */
static void leave_behind(struct cluster *c, raft_id leader, raft_id poor)
{
    raft_index known = cluster_status(c, leader).last_index;
    cluster_isolate(c, poor);
    for (int i = 0; i < 40 && cluster_status(c, leader).first_index <= known + 1; i++) {
        work(c, leader, 150);
        CHECK_EQ(cluster_compact(c, leader), RAFT_OK);
    }
    CHECK(cluster_status(c, leader).first_index > known + 1);
}

/* Heals all links, and lets the transfer to node 3 come as far as `chunks` pieces. */
static void transfer_some(struct cluster *c, uint64_t chunks)
{
    c->latency_ms = 3;
    cluster_heal_all(c);
    for (int i = 0; i < 2000 && cluster_status(c, 3).counters.chunks_received < chunks; i++) {
        cluster_run(c, 1);
    }
    c->latency_ms = 0;
    CHECK_EQ(cluster_status(c, 3).counters.chunks_received, chunks);
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 0);
}

static int caught_up(struct cluster *c, raft_id leader, raft_id id)
{
    return cluster_status(c, id).applied_index == cluster_status(c, leader).applied_index &&
           cluster_peer(c, leader, id).state == RAFT_PEER_REPLICATE;
}

/* ---- The usual course ----------------------------------------------------------------------- */

static void leader_that_compacted_past_a_follower_sends_a_snapshot_and_then_the_tail(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    raft_index snapshot = cluster_status(c, 1).snapshot_index;
    work(c, 1, 5);
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    raft_status status = cluster_status(c, 3);
    CHECK_EQ(status.counters.snapshots_installed, 1);
    CHECK_EQ(status.snapshot_index, snapshot);
    CHECK_EQ(status.first_index, snapshot + 1);
    CHECK(status.counters.chunks_received > 5);
    CHECK_EQ(cluster_status(c, 1).counters.snapshots_sent, 1);
    const raft_event *end = cluster_event(c, 1, 0, RAFT_EVENT_SNAPSHOT_END);
    CHECK(end != NULL && end->status == RAFT_OK && end->peer == 3 && end->index == snapshot);
    end = cluster_event(c, 3, 0, RAFT_EVENT_SNAPSHOT_END);
    CHECK(end != NULL && end->status == RAFT_OK && end->peer == 1 && end->index == snapshot);
    CHECK_EQ(cluster_transfers(c, 1) + cluster_transfers(c, 3), 0);
    work(c, 1, 5);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

/* V24: what has been installed is not sent again, whoever leads and however long. */
static void a_snapshot_is_not_sent_twice_to_a_peer_that_keeps_it(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    uint64_t mark = cluster_mark(c);
    for (int round = 0; round < 6; round++) {
        CHECK(cluster_elect(c, 1 + (raft_id)round % 3));
        work(c, cluster_leader(c), 3);
        raft_unreachable(c->nodes[cluster_leader(c)].raft, 3);
        cluster_run(c, LONGEST);
    }
    CHECK_EQ(cluster_sent_count(c, mark, 0, 0, RAFT_MESSAGE_SNAPSHOT), 0);
    CLUSTER_DONE(c);
}

static void snapshot_exactly_at_the_last_index_ends_in_replication(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    CHECK_EQ(cluster_status(c, 1).snapshot_index, cluster_status(c, 1).last_index);
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    CHECK_EQ(cluster_peer(c, 1, 3).match, cluster_status(c, 1).last_index);
    CLUSTER_DONE(c);
}

/* A follower that is behind, but not behind the trail, needs no snapshot (R40). */
static void trail_spares_a_follower_that_is_a_little_behind_the_snapshot(void)
{
    struct cluster *c = make_group(3);
    for (raft_id id = 1; id <= 3; id++) {
        c->nodes[id].options.trailing_bytes = 1 << 20;
    }
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    cluster_isolate(c, 3);
    work(c, 1, 150);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    CHECK_EQ(cluster_status(c, 1).first_index, 1);
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 0);
    CLUSTER_DONE(c);
}

/* The appends on their way may arrive though the log behind them is gone by now. */
static void follower_with_appends_in_flight_is_asked_before_it_gets_a_snapshot(void)
{
    struct cluster *c = start_group(3);
    work(c, 1, 10);
    cluster_hold(c, 1, 3);
    work(c, 1, 150);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    raft_index base = cluster_status(c, 1).first_index - 1;
    CHECK(base > cluster_peer(c, 1, 3).match);
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    CHECK_EQ(cluster_sent_count(c, 0, 1, 3, RAFT_MESSAGE_SNAPSHOT), 0);
    CLUSTER_DONE(c);
}

/* A dead peer pins nothing: memory is given up whoever may still need it (R40). */
static void dead_follower_does_not_pin_the_log(void)
{
    struct cluster *c = start_group(3);
    static const char payload[4000];
    cluster_crash(c, 3);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 100; i++) {
            CHECK_EQ(raft_propose(c->nodes[1].raft, payload, sizeof payload, NULL, NULL), RAFT_OK);
        }
        cluster_run(c, 200);
        CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
        CHECK(cluster_status(c, 1).log_bytes < 600000); /* one and the next are begun */
    }
    CHECK(cluster_status(c, 1).first_index > 800);
    CHECK_EQ(cluster_restart(c, 3), RAFT_OK);
    cluster_run(c, 2 * LONGEST);
    CHECK(caught_up(c, 1, 3));
    CLUSTER_DONE(c);
}

/* ---- What is not needed --------------------------------------------------------------------- */

/* Every piece of a snapshot that is at or below the commit index gets the acknowledgement of it. */
static void snapshot_at_or_below_the_commit_index_is_answered_with_it(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    const struct cluster_message *piece = cluster_sent(c, 0, 1, 3, RAFT_MESSAGE_SNAPSHOT);
    raft_index piece_index = piece->message.index;
    uint64_t mark = cluster_mark(c);
    uint64_t installed = cluster_status(c, 3).counters.snapshots_installed;
    while (piece != NULL && piece->number <= mark) {
        uint64_t before = cluster_mark(c);
        CHECK_EQ(cluster_replay(c, piece->number), RAFT_OK);
        const struct cluster_message *reply = cluster_sent(c, before, 3, 1, 0);
        CHECK(reply != NULL && reply->message.kind == RAFT_MESSAGE_APPEND_REPLY);
        CHECK_EQ(reply->message.index, cluster_commit(c, 3));
        piece = cluster_sent(c, piece->number, 1, 3, RAFT_MESSAGE_SNAPSHOT);
    }
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, installed);
    CHECK_EQ(cluster_transfers(c, 3), 0);
    for (int i = 0; i < 40 && cluster_status(c, 3).first_index <= piece_index + 1; i++) {
        work(c, 1, 150); /* and where the log has let go of its last entry */
        CHECK_EQ(cluster_compact(c, 3), RAFT_OK);
    }
    mark = cluster_mark(c);
    piece = cluster_sent(c, 0, 1, 3, RAFT_MESSAGE_SNAPSHOT);
    CHECK_EQ(cluster_replay(c, piece->number), RAFT_OK);
    const struct cluster_message *reply = cluster_sent(c, mark, 3, 1, 0);
    CHECK(reply != NULL && reply->message.kind == RAFT_MESSAGE_APPEND_REPLY);
    CHECK_EQ(reply->message.index, cluster_commit(c, 3));
    CHECK_EQ(cluster_transfers(c, 3), 0);
    CLUSTER_DONE(c);
}

/* The metadata that a node would take now. */
static size_t meta_of(struct cluster *c, raft_id id, uint8_t *out)
{
    size_t size = 0;
    CHECK_EQ(raft_snapshot_meta(c->nodes[id].raft, out, RAFT_META_MAX, &size), RAFT_OK);
    return size;
}

/* The first piece of a snapshot of `maker`'s, with which `from` turns to another. */
static raft_message first_piece(struct cluster *c, raft_id from, raft_id to, const uint8_t *meta,
                                size_t size)
{
    raft_message m = cluster_forge(c, from, to, cluster_term(c, from), RAFT_MESSAGE_SNAPSHOT);
    raft_meta_read(meta, size, &m.index, &m.index_term);
    m.meta.data = meta;
    m.meta.size = size;
    m.chunk.data = "0123456789abcdef";
    m.chunk.size = 16;
    return m;
}

/* R35: where the log holds the snapshot's last entry, the commit index jumps and the log stays. */
static void snapshot_that_the_log_reaches_moves_the_commit_index_and_keeps_the_log(void)
{
    struct cluster *c = start_group(3);
    uint8_t meta[RAFT_META_MAX];
    cluster_hold(c, 1, 3);
    work(c, 1, 20);
    size_t size = meta_of(c, 1, meta);
    raft_index commit = cluster_commit(c, 1);
    cluster_cut(c, 1, 2); /* what follows is appended, and not committed */
    cluster_propose(c, 1, "behind");
    cluster_settle(c);
    while (cluster_status(c, 3).last_index < commit) { /* entries, not what is said of commits */
        const struct cluster_message *next = cluster_peek(c, 1, 3, 0);
        if (next->message.kind == RAFT_MESSAGE_APPEND && next->message.range_count > 0) {
            cluster_deliver(c, 1, 3);
        } else {
            cluster_drop(c, 1, 3);
        }
    }
    cluster_drop_all(c, 1, 3);
    raft_status before = cluster_status(c, 3);
    CHECK(before.commit_index < commit);
    CHECK(before.last_index >= commit);
    raft_message m = first_piece(c, 1, 3, meta, size);
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_OK);
    CHECK_EQ(cluster_commit(c, 3), commit);
    CHECK_EQ(cluster_status(c, 3).last_index, before.last_index);
    CHECK_EQ(cluster_status(c, 3).first_index, before.first_index);
    CHECK_EQ(cluster_status(c, 3).counters.chunks_received, 0);
    CLUSTER_DONE(c);
}

/* R38: an acknowledgement below the snapshot, but from where the log can go on, ends the need. */
static void acknowledgement_within_the_log_ends_the_transfer(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    cluster_heal_all(c);
    cluster_hold(c, 1, 3);
    cluster_run(c, 300);
    while (cluster_sent(c, 0, 1, 3, RAFT_MESSAGE_SNAPSHOT) == NULL) {
        cluster_deliver_all(c, 1, 3);
        cluster_run(c, 100);
    }
    CHECK_EQ(cluster_peer(c, 1, 3).state, RAFT_PEER_SNAPSHOT);
    raft_index base = cluster_status(c, 1).first_index - 1;
    raft_index snapshot = cluster_status(c, 1).snapshot_index;
    CHECK(base < snapshot);
    raft_message m = cluster_forge(c, 3, 1, cluster_term(c, 1), RAFT_MESSAGE_APPEND_REPLY);
    m.round = cluster_sent(c, 0, 1, 3, RAFT_MESSAGE_SNAPSHOT)->message.round;
    m.index = base - 1;
    CHECK_EQ(cluster_inject(c, 1, &m), RAFT_OK);
    CHECK_EQ(cluster_peer(c, 1, 3).state, RAFT_PEER_SNAPSHOT);
    m.index = base;
    uint64_t mark = cluster_mark(c);
    CHECK_EQ(cluster_inject(c, 1, &m), RAFT_OK);
    CHECK_EQ(cluster_peer(c, 1, 3).state, RAFT_PEER_REPLICATE);
    const struct cluster_message *next = cluster_sent(c, mark, 1, 3, RAFT_MESSAGE_APPEND);
    CHECK(next != NULL && next->message.index == base);
    CHECK_EQ(cluster_transfers(c, 1), 0);
    CHECK_EQ(cluster_status(c, 1).counters.snapshots_sent, 0);
    cluster_free(c); /* the acknowledgement was a lie */
}

/* A report of the receiver that is no acknowledgement raises nothing (R28, R38). */
static void replies_to_pieces_raise_no_match(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    raft_index match = cluster_peer(c, 1, 3).match;
    c->nodes[3].write_async = 1;
    cluster_heal_all(c);
    for (int i = 0; i < 200 && cluster_status(c, 3).counters.snapshots_installed == 0; i++) {
        cluster_store_async(c, 3, 1);
        cluster_run(c, 20);
        CHECK_EQ(cluster_peer(c, 1, 3).match, match);
        cluster_complete_chunk(c, 3);
    }
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 1);
    cluster_run(c, 300);
    CHECK_EQ(cluster_peer(c, 1, 3).match, match);
    CHECK_EQ(cluster_peer(c, 1, 3).state, RAFT_PEER_SNAPSHOT);
    cluster_complete(c, 3);
    cluster_store_async(c, 3, 0);
    cluster_run(c, 300);
    CHECK(caught_up(c, 1, 3));
    CLUSTER_DONE(c);
}

/* ---- Crashes -------------------------------------------------------------------------------- */

/* Follower 3 has a tail of its own that the group knows nothing of, and is far behind. */
static struct cluster *make_conflict(void)
{
    struct cluster *c = start_group(3);
    work(c, 1, 5);
    CHECK(cluster_elect(c, 3));
    cluster_isolate(c, 3);
    for (int i = 0; i < 30; i++) {
        CHECK(cluster_propose(c, 3, "nobody else will ever see this") > 0);
    }
    cluster_run(c, 50);
    CHECK(cluster_elect(c, 1));
    cluster_isolate(c, 3);
    work(c, 1, 150);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    CHECK(cluster_status(c, 3).last_index > cluster_commit(c, 3) + 20);
    return c;
}

/* All pieces are there, and the write that puts them into use is outstanding at node 3. */
static void stop_before_the_install(struct cluster *c)
{
    c->nodes[3].write_async = 1;
    cluster_heal_all(c);
    for (int i = 0; i < 400 && cluster_status(c, 3).counters.snapshots_installed == 0; i++) {
        cluster_run(c, 5);
        cluster_store_async(c, 3, c->nodes[3].chunk_pending && c->nodes[3].chunk.last);
        cluster_complete_chunk(c, 3);
    }
    c->nodes[3].write_async = 0;
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 1);
    CHECK(cluster_pending_steps(c, 3) >= 1);
}

/* R35: whatever part of the install reached the disk, a restart finds the old state or the new. */
static void crash_at_each_step_of_an_install_leaves_the_old_state_or_the_new(void)
{
    for (size_t step = 0;; step++) {
        for (int stepwise = 0; stepwise < 2; stepwise++) {
            struct cluster *c = make_conflict();
            raft_index old_last = cluster_status(c, 3).last_index;
            raft_index old_commit = cluster_status(c, 3).snapshot_index;
            stop_before_the_install(c);
            raft_index snapshot = cluster_status(c, 3).snapshot_index;
            size_t steps = cluster_pending_steps(c, 3);
            if (step > steps) {
                CLUSTER_DONE(c);
                return;
            }
            cluster_isolate(c, 3);
            cluster_crash_after(c, 3, step);
            cluster_store_async(c, 3, 0);
            CHECK_EQ(stepwise ? cluster_restart_stepwise(c, 3) : cluster_restart(c, 3), RAFT_OK);
            raft_status status = cluster_status(c, 3);
            int is_new = status.snapshot_index == snapshot;
            CHECK(is_new || status.snapshot_index == old_commit);
            CHECK_EQ(status.last_index, is_new ? snapshot : old_last);
            CHECK_EQ(status.commit_index, status.snapshot_index);
            CHECK_EQ(c->nodes[3].applied.count, status.snapshot_index);
            cluster_heal_all(c);
            cluster_run(c, 3 * LONGEST);
            work(c, cluster_leader(c), 3);
            CHECK(cluster_converged(c));
            CLUSTER_DONE(c);
        }
    }
}

static void crash_at_every_moment_of_a_transfer_is_recovered_from(void)
{
    for (uint64_t chunks = 0; chunks < 12; chunks++) {
        for (raft_id victim = 1; victim <= 3; victim += 2) {
            struct cluster *c = make_conflict();
            cluster_heal_all(c);
            for (int i = 0; i < 200 && cluster_status(c, 3).counters.chunks_received < chunks;
                 i++) {
                cluster_run(c, 3);
            }
            cluster_crash(c, victim);
            cluster_run(c, 2 * LONGEST);
            CHECK_EQ(cluster_restart_stepwise(c, victim), RAFT_OK);
            cluster_run(c, 4 * LONGEST);
            CHECK(cluster_stable_leader(c) != 0);
            work(c, cluster_leader(c), 3);
            CHECK(cluster_converged(c));
            CHECK_EQ(cluster_transfers(c, 1) + cluster_transfers(c, 3), 0);
            CLUSTER_DONE(c);
        }
    }
}

/* The leader that installed its snapshot restarts from it alone, and the others from their logs. */
static void everybody_restarts_from_snapshot_and_log(void)
{
    for (int stepwise = 0; stepwise < 2; stepwise++) {
        struct cluster *c = start_group(3);
        leave_behind(c, 1, 3);
        cluster_heal_all(c);
        cluster_run(c, LONGEST);
        work(c, 1, 7);
        CHECK_EQ(cluster_compact(c, 2), RAFT_OK);
        work(c, 1, 4);
        raft_index applied = cluster_status(c, 1).applied_index;
        for (raft_id id = 1; id <= 3; id++) {
            cluster_crash(c, id);
        }
        for (raft_id id = 1; id <= 3; id++) {
            CHECK_EQ(stepwise ? cluster_restart_stepwise(c, id) : cluster_restart(c, id), RAFT_OK);
        }
        CHECK_EQ(cluster_status(c, 3).applied_index, cluster_status(c, 3).snapshot_index);
        cluster_run(c, 3 * LONGEST);
        CHECK(cluster_stable_leader(c) != 0);
        CHECK(cluster_status(c, 1).applied_index >= applied + cluster_noops(c));
        CHECK(cluster_converged(c));
        CLUSTER_DONE(c);
    }
}

/*
 * What a leader sent long ago comes again, to a server that has compacted what is before it, and
 * that has forgotten in a restart how much is committed: it matches, and nothing is cut (R7, R24).
 */
static void append_from_before_the_snapshot_cuts_nothing_after_a_restart(void)
{
    struct cluster *c = start_group(3);
    cluster_isolate(c, 3); /* so that entries of an older term come in messages of this one */
    work(c, 1, 60);
    CHECK(cluster_elect(c, 2));
    CHECK(cluster_elect(c, 1));
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_leader(c), 1);
    for (int i = 0; i < 40 && cluster_status(c, 3).first_index < 100; i++) {
        work(c, 1, 150);
        CHECK_EQ(cluster_compact(c, 3), RAFT_OK);
    }
    CHECK(cluster_status(c, 3).first_index >= 100);
    work(c, 1, 25);
    uint64_t mark = cluster_mark(c);
    cluster_crash(c, 3);
    CHECK_EQ(cluster_restart(c, 3), RAFT_OK);
    raft_index first = cluster_status(c, 3).first_index;
    raft_index last = cluster_status(c, 3).last_index;
    CHECK(cluster_commit(c, 3) < last);
    int below = 0;
    const struct cluster_message *old = NULL;
    uint64_t number = 0;
    while ((old = cluster_sent(c, number, 1, 3, RAFT_MESSAGE_APPEND)) != NULL) {
        number = old->number;
        if (number > mark) {
            break;
        }
        below += old->message.index + 1 < first && old->message.range_count > 0 &&
                 old->message.term == cluster_term(c, 3) &&
                 old->message.index_term < old->message.term;
        uint64_t before = cluster_mark(c);
        CHECK_EQ(cluster_replay(c, number), RAFT_OK);
        CHECK_EQ(cluster_status(c, 3).last_index, last);
        CHECK_EQ(cluster_status(c, 3).first_index, first);
        const struct cluster_message *reply = cluster_sent(c, before, 3, 1, 0);
        CHECK(reply == NULL || !reply->message.refused);
    }
    CHECK(below > 0);
    cluster_run(c, LONGEST);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

/* ---- Pieces that go astray ------------------------------------------------------------------ */

static void pieces_lost_repeated_and_reordered_arrive_all_the_same(void)
{
    for (unsigned seed = 1; seed <= 30; seed++) {
        struct cluster *c = make_conflict();
        uint64_t random = seed * 7919;
        cluster_heal_all(c);
        cluster_hold(c, 1, 3);
        for (int step = 0; step < 4000 && cluster_status(c, 3).counters.snapshots_installed == 0;
             step++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            size_t queued = cluster_queued(c, 1, 3);
            size_t position = queued > 0 ? (size_t)(random >> 33) % queued : 0;
            switch (queued == 0 ? 4 : (random >> 20) % 5) {
            case 0:
                cluster_drop(c, 1, 3);
                break;
            case 1:
                cluster_duplicate(c, 1, 3);
                break;
            case 2:
            case 3:
                cluster_deliver_at(c, 1, 3, position);
                break;
            default:
                cluster_run(c, 20);
                break;
            }
        }
        CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 1);
        cluster_heal_all(c);
        cluster_run(c, LONGEST);
        CHECK(caught_up(c, 1, 3));
        CLUSTER_DONE(c);
    }
}

/* Two copies of an answer bring no two copies of every piece after it. */
static void repeated_answers_do_not_breed_pieces(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    cluster_heal_all(c);
    cluster_hold(c, 3, 1);
    size_t pieces = 0;
    for (int i = 0; i < 300 && cluster_status(c, 3).counters.snapshots_installed == 0; i++) {
        cluster_settle(c);
        if (cluster_queued(c, 3, 1) == 0) {
            cluster_run(c, 100);
        }
        cluster_duplicate(c, 3, 1);
        cluster_duplicate(c, 3, 1);
        cluster_deliver_all(c, 3, 1);
    }
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 1);
    size_t needed = c->nodes[1].snapshots[0].size / 700 + 1;
    pieces = cluster_sent_count(c, 0, 1, 3, RAFT_MESSAGE_SNAPSHOT);
    CHECK(pieces <= needed + 5);
    cluster_heal_all(c);
    cluster_run(c, 300);
    CLUSTER_DONE(c);
}

/* R39: a receiver that restarted begins at the beginning; one that lost an answer goes on. */
static void receiver_that_restarts_is_begun_with_anew(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    transfer_some(c, 4);
    cluster_isolate(c, 3);
    cluster_crash(c, 3);
    CHECK_EQ(cluster_restart(c, 3), RAFT_OK);
    cluster_heal_all(c);
    uint64_t mark = cluster_mark(c);
    cluster_run(c, LONGEST);
    const struct cluster_message *piece = cluster_sent(c, mark, 1, 3, RAFT_MESSAGE_SNAPSHOT);
    while (piece != NULL && piece->message.offset != 0) {
        piece = cluster_sent(c, piece->number, 1, 3, RAFT_MESSAGE_SNAPSHOT);
    }
    CHECK(piece != NULL);
    CHECK(caught_up(c, 1, 3));
    CLUSTER_DONE(c);
}

/* After a cut the transfer goes on where it was, as long as it is not given up. */
static void short_cut_is_resumed_from_the_piece_that_was_lost(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    transfer_some(c, 4);
    cluster_isolate(c, 3);
    cluster_run(c, 300);
    uint64_t mark = cluster_mark(c);
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    const struct cluster_message *piece = cluster_sent(c, mark, 1, 3, RAFT_MESSAGE_SNAPSHOT);
    for (; piece != NULL; piece = cluster_sent(c, piece->number, 1, 3, RAFT_MESSAGE_SNAPSHOT)) {
        CHECK(piece->message.offset > 0);
    }
    CLUSTER_DONE(c);
}

static void leader_that_changes_midway_begins_a_transfer_of_its_own(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    CHECK_EQ(cluster_compact(c, 2), RAFT_OK);
    transfer_some(c, 4);
    CHECK_EQ(cluster_transfers(c, 1), 1);
    cluster_hold(c, 1, 3);
    CHECK(cluster_elect(c, 2));
    cluster_heal_all(c);
    CHECK_EQ(cluster_transfers(c, 1), 0);
    const raft_event *end = cluster_event(c, 1, 0, RAFT_EVENT_SNAPSHOT_END);
    CHECK(end != NULL && end->status != RAFT_OK && end->peer == 3);
    end = cluster_event(c, 3, 0, RAFT_EVENT_SNAPSHOT_END);
    CHECK(end != NULL && end->status != RAFT_OK && end->peer == 1);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 2, 3));
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 1);
    CLUSTER_DONE(c);
}

/* Pieces of an earlier term, however late, belong to no transfer of this one (R39). */
static void pieces_of_an_earlier_term_are_not_mixed_in(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    CHECK_EQ(cluster_compact(c, 2), RAFT_OK);
    transfer_some(c, 6);
    uint64_t old = cluster_mark(c);
    CHECK(cluster_elect(c, 2));
    cluster_hold(c, 2, 3);
    for (int i = 0; i < 300 && cluster_status(c, 3).counters.snapshots_installed == 0; i++) {
        cluster_run(c, 20);
        cluster_deliver(c, 2, 3);
        const struct cluster_message *piece = cluster_sent(c, 0, 1, 3, RAFT_MESSAGE_SNAPSHOT);
        while (piece != NULL && piece->number <= old) {
            CHECK_EQ(cluster_replay(c, piece->number), RAFT_OK);
            piece = cluster_sent(c, piece->number, 1, 3, RAFT_MESSAGE_SNAPSHOT);
        }
    }
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 1);
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 2, 3));
    CLUSTER_DONE(c);
}

/* ---- Hosts that are slow, or cannot --------------------------------------------------------- */

static void leader_serves_on_and_retries_while_the_snapshot_cannot_be_read(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    c->nodes[1].read_fail = -1;
    cluster_heal_all(c);
    cluster_run(c, 3 * LONGEST);
    CHECK_EQ(cluster_sent_count(c, 0, 1, 3, RAFT_MESSAGE_SNAPSHOT), 0);
    CHECK_EQ(cluster_leader(c), 1);
    work(c, 1, 5);
    CHECK_EQ(cluster_commit(c, 1), cluster_status(c, 1).last_index);
    c->nodes[1].read_fail = 0;
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    CLUSTER_DONE(c);
}

/* The last answer of node 3 to a piece. */
static raft_message last_piece_answer(struct cluster *c)
{
    const struct cluster_message *next = cluster_sent(c, 0, 3, 1, RAFT_MESSAGE_SNAPSHOT_REPLY);
    raft_message answer;
    memset(&answer, 0, sizeof answer);
    while (next != NULL) {
        answer = next->message;
        next = cluster_sent(c, next->number, 3, 1, RAFT_MESSAGE_SNAPSHOT_REPLY);
    }
    return answer;
}

/* Offset 0 begins a transfer: an answer to the one before says nothing of it (R39). */
static void late_answer_does_not_begin_a_transfer_in_the_midst(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    transfer_some(c, 3);
    cluster_isolate(c, 3);
    cluster_run(c, 2 * LONGEST);
    CHECK_EQ(cluster_transfers(c, 1), 0);
    raft_message late = last_piece_answer(c);
    CHECK(late.offset > 0);
    c->nodes[1].read_fail = -1;
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_leader(c), 1);
    uint64_t mark = cluster_mark(c);
    late.term = cluster_term(c, 1);
    CHECK_EQ(cluster_inject(c, 1, &late), RAFT_OK);
    c->nodes[1].read_fail = 0;
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_sent(c, mark, 1, 3, RAFT_MESSAGE_SNAPSHOT)->message.offset, 0);
    CHECK(caught_up(c, 1, 3));
    CLUSTER_DONE(c);
}

static void silent_peer_is_sent_nothing_and_its_transfer_is_given_up(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_sent_count(c, 0, 1, 3, RAFT_MESSAGE_SNAPSHOT), 0); /* R39 */
    transfer_some(c, 3);
    cluster_isolate(c, 3);
    cluster_run(c, 2 * LONGEST);
    const raft_event *end = cluster_event(c, 1, 0, RAFT_EVENT_SNAPSHOT_END);
    CHECK(end != NULL && end->status == RAFT_ETIMEOUT && end->peer == 3);
    CHECK_EQ(cluster_transfers(c, 1), 0);
    uint64_t mark = cluster_mark(c);
    cluster_run(c, 2 * LONGEST);
    CHECK_EQ(cluster_sent_count(c, mark, 1, 3, RAFT_MESSAGE_SNAPSHOT), 0);
    cluster_heal_all(c);
    cluster_run(c, 3 * LONGEST);
    CHECK(caught_up(c, cluster_leader(c), 3));
    CLUSTER_DONE(c);
}

/* Every callback answers later; nothing is done twice, and the clock goes on. */
static void every_callback_may_answer_later(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    c->nodes[1].read_async = 1;
    c->nodes[3].write_async = 1;
    c->nodes[3].load_async = 1;
    cluster_store_async(c, 3, 1);
    cluster_heal_all(c);
    for (int i = 0; i < 2000 && !caught_up(c, 1, 3); i++) {
        cluster_run(c, 7);
        cluster_complete_reads(c, 1);
        cluster_run(c, 7);
        cluster_complete_chunk(c, 3);
        if (i % 3 == 0) {
            cluster_complete_one(c, 3);
            cluster_complete_apply(c, 3);
        }
    }
    CHECK(caught_up(c, 1, 3));
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 1);
    CLUSTER_DONE(c);
}

static void host_that_fails_to_write_a_piece_gets_the_snapshot_later(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    c->nodes[3].write_fail = -7;
    cluster_heal_all(c);
    uint64_t mark = cluster_mark(c);
    cluster_run(c, 2 * LONGEST);
    const raft_event *end = cluster_event(c, 3, 0, RAFT_EVENT_SNAPSHOT_END);
    CHECK(end != NULL && end->status == -7);
    CHECK(cluster_sent_count(c, mark, 1, 3, RAFT_MESSAGE_SNAPSHOT) <= 8); /* not in a loop */
    CHECK_EQ(cluster_status(c, 3).error, RAFT_OK);
    c->nodes[3].write_fail = 0;
    cluster_run(c, 2 * LONGEST);
    CHECK(caught_up(c, 1, 3));
    CLUSTER_DONE(c);
}

static void load_that_fails_stops_the_node(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    c->nodes[3].load_fail_next = -3;
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_status(c, 3).error, RAFT_EAPPLY);
    CHECK_EQ(cluster_transfers(c, 3), 0);
    cluster_crash(c, 3);
    CHECK_EQ(cluster_restart(c, 3), RAFT_OK);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    CLUSTER_DONE(c);
}

/* A newer snapshot does not end the transfer of the one before, as long as that can be read. */
static void newer_snapshot_lets_the_transfer_go_on(void)
{
    for (int forgets = 0; forgets < 2; forgets++) {
        struct cluster *c = start_group(3);
        leave_behind(c, 1, 3);
        raft_index first = cluster_status(c, 1).snapshot_index;
        c->nodes[1].forgets_old = forgets;
        transfer_some(c, 3);
        cluster_hold(c, 1, 3);
        cluster_propose(c, 1, "a little more");
        cluster_settle(c);
        CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
        cluster_heal_all(c);
        cluster_run(c, 3 * LONGEST);
        CHECK(caught_up(c, 1, 3));
        CHECK_EQ(cluster_status(c, 3).snapshot_index == first, !forgets);
        CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 1);
        CLUSTER_DONE(c);
    }
}

/* What a peer holds already, and the log has left behind meanwhile, is not sent for ever. */
static void snapshot_that_the_log_outruns_is_followed_by_a_newer_one(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    raft_index first = cluster_status(c, 1).snapshot_index;
    c->nodes[3].write_async = 1;
    cluster_heal_all(c);
    for (int i = 0; i < 500 && cluster_status(c, 3).counters.snapshots_installed == 0; i++) {
        cluster_run(c, 5);
        while (cluster_status(c, 1).first_index <= first + 1) { /* while a piece is in hand */
            work(c, 1, 150);
            CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
        }
        cluster_complete_chunk(c, 3);
    }
    c->nodes[3].write_async = 0;
    cluster_run(c, 2 * LONGEST);
    CHECK(caught_up(c, 1, 3));
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 2);
    CHECK(cluster_status(c, 3).snapshot_index > first);
    CLUSTER_DONE(c);
}

/* ---- Mid-install ---------------------------------------------------------------------------- */

/* R37: a server whose state is being replaced does not campaign and applies nothing; it votes. */
static void server_amid_an_install_does_not_campaign_nor_apply_but_votes(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    c->nodes[3].load_async = 1;
    cluster_heal_all(c);
    for (int i = 0; i < 500 && c->nodes[3].apply_pending == 0; i++) {
        cluster_run(c, 5);
    }
    CHECK(c->nodes[3].apply_pending != 0);
    CHECK(cluster_status(c, 3).installing);
    work(c, 1, 5);
    raft_status status = cluster_status(c, 3);
    CHECK_EQ(status.last_index, cluster_status(c, 1).last_index); /* it takes entries */
    CHECK(status.applied_index < status.snapshot_index);
    CHECK_EQ(raft_campaign(c->nodes[3].raft), RAFT_EBUSY);
    uint8_t meta[RAFT_META_MAX];
    size_t size;
    CHECK_EQ(raft_snapshot_meta(c->nodes[3].raft, meta, sizeof meta, &size), RAFT_EBUSY);
    raft_term term = cluster_term(c, 3);
    cluster_isolate(c, 3);
    cluster_run(c, 5 * LONGEST);
    CHECK_EQ(cluster_term(c, 3), term);
    CHECK_EQ(cluster_role(c, 3), RAFT_ROLE_FOLLOWER);
    cluster_heal_all(c);
    cluster_crash(c, 1);
    cluster_run(c, 3 * LONGEST);
    CHECK_EQ(cluster_leader(c), 2); /* by the vote of 3 */
    cluster_complete_apply(c, 3);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 2, 3));
    CHECK(!cluster_status(c, 3).installing);
    CLUSTER_DONE(c);
}

/* What apply has in hand keeps its bytes though the log they were in is gone. */
static void apply_in_hand_ends_before_the_snapshot_is_loaded(void)
{
    struct cluster *c = start_group(3);
    c->nodes[3].apply_async = 1;
    work(c, 1, 20); /* some are handed out, and the rest is committed */
    CHECK(c->nodes[3].apply_pending != 0);
    CHECK(c->nodes[3].apply_pending < cluster_commit(c, 3));
    leave_behind(c, 1, 3);
    stop_before_the_install(c);
    CHECK(cluster_status(c, 3).applied_index < cluster_status(c, 3).snapshot_index);
    c->nodes[3].apply_async = 0;
    cluster_complete_apply(c, 3); /* the harness looks at the bytes */
    cluster_run(c, 200);
    CHECK(cluster_status(c, 3).applied_index < cluster_status(c, 3).snapshot_index);
    cluster_store_async(c, 3, 0);
    cluster_complete(c, 3);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    CLUSTER_DONE(c);
}

/* R6: completions of writes that were issued before the install say nothing of the log. */
static void late_completions_do_not_acknowledge_a_snapshot_that_is_not_durable(void)
{
    struct cluster *c = make_conflict();
    cluster_store_async(c, 3, 1);
    cluster_heal_all(c);
    raft_index base = cluster_status(c, 1).first_index - 1;
    for (int i = 0; i < 600 && cluster_status(c, 3).counters.snapshots_installed == 0; i++) {
        cluster_run(c, 5);
        if (i % 50 == 49) {
            cluster_complete_one(c, 3);
        }
    }
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 1);
    while (c->nodes[3].store.pending_count > 1) {
        CHECK(cluster_peer(c, 1, 3).match < base);
        cluster_complete_one(c, 3); /* the harness looks at every acknowledgement */
        cluster_run(c, 110);
    }
    cluster_store_async(c, 3, 0);
    cluster_complete(c, 3);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    CLUSTER_DONE(c);
}

/* I29: what a former leader proposed and a snapshot swallows is told to be unknown, once. */
static void proposals_that_a_snapshot_covers_get_their_answer(void)
{
    struct cluster *c = start_group(3);
    CHECK(cluster_elect(c, 3));
    raft_term term = cluster_term(c, 3);
    cluster_isolate(c, 3);
    raft_index first = cluster_propose(c, 3, "lost");
    for (int i = 0; i < 300; i++) {
        cluster_propose(c, 3, "lost");
    }
    raft_index last = cluster_status(c, 3).last_index;
    cluster_run(c, LONGEST);
    CHECK(cluster_elect(c, 1));
    leave_behind(c, 1, 2 + 1);
    raft_index snapshot = cluster_status(c, 1).snapshot_index;
    CHECK(first <= snapshot && snapshot < last);
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    for (raft_index i = first; i <= last; i++) {
        CHECK_EQ(cluster_outcome(c, 3, i, term), i <= snapshot ? RAFT_EUNKNOWN : RAFT_EDROPPED);
    }
    CHECK_EQ(cluster_event_count(c, 3, 0, RAFT_EVENT_DROPPED), 2);
    CLUSTER_DONE(c);
}

/* ---- Memberships ---------------------------------------------------------------------------- */

/* Gives the group another membership: these roles, by id; RAFT_MEMBER_NONE leaves one out. */
static int change(struct cluster *c, raft_id leader, const int roles[CLUSTER_MAX + 1])
{
    raft_membership membership;
    raft_member members[CLUSTER_MAX];
    raft_membership_init(&membership);
    int code = raft_get_membership(c->nodes[leader].raft, &membership, members, CLUSTER_MAX);
    if (code != RAFT_OK) {
        return code;
    }
    raft_index version = membership.version;
    memset(members, 0, sizeof members);
    membership.member_count = 0;
    for (raft_id id = 1; id <= c->count; id++) {
        if (roles[id] != RAFT_MEMBER_NONE) {
            members[membership.member_count].id = id;
            members[membership.member_count++].role = roles[id];
        }
    }
    membership.members = members;
    return raft_set_membership(c->nodes[leader].raft, &membership, version, NULL, NULL);
}

static void change_and_settle(struct cluster *c, raft_id leader, const int roles[CLUSTER_MAX + 1])
{
    int code = RAFT_EBUSY;
    for (int i = 0; i < 50 && code == RAFT_EBUSY; i++) {
        code = change(c, leader, roles);
        cluster_run(c, 100);
    }
    CHECK_EQ(code, RAFT_OK);
    cluster_run(c, 300);
}

enum { V = RAFT_MEMBER_VOTER, L = RAFT_MEMBER_LEARNER, W = RAFT_MEMBER_WITNESS, N = 3 };

/* R36: the snapshot of a group names everybody as of its index, and a later one copies it. */
static void joiner_learns_the_membership_from_a_snapshot(void)
{
    struct cluster *c = make_group(4);
    c->founders = 3;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    static const int roles[CLUSTER_MAX + 1] = {0, V, V, V, L};
    work(c, 1, 150);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    change_and_settle(c, 1, roles);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 4));
    CHECK_EQ(cluster_status(c, 4).counters.snapshots_installed, 1);
    CHECK_EQ(cluster_status(c, 4).learner_count, 1);
    work(c, 1, 150);
    CHECK_EQ(cluster_compact(c, 4), RAFT_OK); /* the second, with no membership in between */
    work(c, 1, 150);
    CHECK_EQ(cluster_compact(c, 4), RAFT_OK);
    raft_index version = cluster_status(c, 1).membership_version;
    CHECK_EQ(cluster_status(c, 4).membership_version, version);
    cluster_crash(c, 4);
    CHECK_EQ(cluster_restart_stepwise(c, 4), RAFT_OK);
    CHECK_EQ(cluster_status(c, 4).membership_version, version);
    CHECK_EQ(cluster_status(c, 4).member_count, 4);
    CHECK_EQ(cluster_status(c, 4).learner_count, 1);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 4));
    CLUSTER_DONE(c);
}

/* The entries that held the membership are gone from the log; each snapshot carries it on (R36). */
static void membership_outlives_every_compaction(void)
{
    static const int demoted[CLUSTER_MAX + 1] = {0, V, V, L};
    struct cluster *c = start_group(3);
    change_and_settle(c, 1, demoted);
    raft_index version = cluster_status(c, 1).membership_version;
    CHECK(version > 0);
    for (int round = 0; round < 3; round++) {
        raft_index first = cluster_status(c, 1).first_index;
        for (int i = 0; i < 40 && cluster_status(c, 1).first_index <= first; i++) {
            work(c, 1, 150);
            CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
        }
        CHECK(cluster_status(c, 1).first_index > version);
        CHECK(cluster_status(c, 1).first_index > first);
        cluster_crash(c, 1);
        CHECK_EQ(cluster_restart(c, 1), RAFT_OK);
        CHECK_EQ(cluster_status(c, 1).membership_version, version);
        CHECK_EQ(cluster_status(c, 1).learner_count, 1);
        CHECK(cluster_elect(c, 1));
        cluster_run(c, 200);
    }
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

/* The role follows the snapshot, in either direction. */
static void role_follows_the_snapshot(void)
{
    static const int second[CLUSTER_MAX + 1] = {0, V, V, L};
    static const int first[CLUSTER_MAX + 1] = {0, V, V, V};
    struct cluster *c = start_group(3);
    cluster_isolate(c, 3);
    change_and_settle(c, 1, second);
    leave_behind(c, 1, 3);
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    CHECK_EQ(cluster_status(c, 3).learner_count, 1);
    CHECK_EQ(raft_campaign(c->nodes[3].raft), RAFT_ENOTMEMBER);
    change_and_settle(c, 1, first);
    cluster_isolate(c, 3);
    change_and_settle(c, 1, second);
    leave_behind(c, 1, 3);
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    change_and_settle(c, 1, first);
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_status(c, 3).voter_count, 3);
    CHECK(cluster_elect(c, 3));
    CLUSTER_DONE(c);
}

/* A snapshot taken while joint brings both halves; the next leader leaves the joint membership. */
static int persist_nothing(void *host, const raft_write *write)
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

/* A node that has nothing but this metadata has this membership. */
static void check_restored_alike(const raft_membership *one, const uint8_t *meta, size_t size)
{
    raft_options options;
    raft_callbacks callbacks;
    raft *node;
    raft_write write = {.meta = meta, .meta_size = size};
    raft_membership other;
    raft_member others[RAFT_MEMBERS_MAX];
    raft_options_init(&options);
    options.id = 2;
    options.protocol = cluster_protocol;
    raft_callbacks_init(&callbacks);
    callbacks.persist = persist_nothing;
    callbacks.send = send_nothing;
    callbacks.apply = apply_nothing;
    CHECK_EQ(raft_new(&options, &callbacks, NULL, &node), RAFT_OK);
    CHECK_EQ(raft_restore(node, &write), RAFT_OK);
    raft_membership_init(&other);
    CHECK_EQ(raft_get_membership(node, &other, others, RAFT_MEMBERS_MAX), RAFT_OK);
    CHECK_EQ(other.member_count, one->member_count);
    CHECK_EQ(other.version, one->version);
    CHECK_EQ(other.joint, one->joint);
    CHECK_EQ(other.commit_quorum, one->commit_quorum);
    CHECK_EQ(other.former_commit_quorum, one->former_commit_quorum);
    for (size_t i = 0; i < one->member_count && i < other.member_count; i++) {
        CHECK_EQ(others[i].id, one->members[i].id);
        CHECK_EQ(others[i].role, one->members[i].role);
        CHECK_EQ(others[i].former_role, one->members[i].former_role);
        CHECK_EQ(others[i].owner_slot, one->members[i].owner_slot);
        CHECK_EQ(others[i].session, one->members[i].session);
    }
    raft_free(node);
}

/* Two learners are to vote, and one voter is to become a learner when the joint state is left. */
static void snapshot_in_a_joint_state_restores_both_halves(void)
{
    static const int other[CLUSTER_MAX + 1] = {0, V, V, L, V, V};
    struct cluster *c = make_group(5);
    c->founders = 3;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    static const int learning[CLUSTER_MAX + 1] = {0, V, V, V, L, L};
    change_and_settle(c, 1, learning);
    cluster_run(c, LONGEST);
    cluster_isolate(c, 2);
    work(c, 1, 150);
    cluster_hold(c, 1, 0); /* the joint membership is committed by nobody's doing but ours */
    CHECK_EQ(change(c, 1, other), RAFT_OK);
    cluster_poll(c, 1);
    raft_index joint = cluster_status(c, 1).last_index;
    raft_membership governed;
    raft_member members[RAFT_MEMBERS_MAX];
    raft_membership_init(&governed);
    CHECK_EQ(raft_get_membership(c->nodes[1].raft, &governed, members, RAFT_MEMBERS_MAX), RAFT_OK);
    CHECK(governed.joint);
    for (int i = 0; i < 200 && cluster_commit(c, 1) < joint; i++) {
        cluster_deliver_all(c, 1, 3);
        cluster_deliver_all(c, 1, 4);
        cluster_deliver_all(c, 1, 5);
        cluster_settle(c);
    }
    CHECK(cluster_commit(c, 1) >= joint);
    CHECK(cluster_status(c, 1).applied_index >= joint);
    uint8_t meta[RAFT_META_MAX];
    size_t size = meta_of(c, 1, meta);
    raft_index index;
    raft_term term;
    CHECK_EQ(raft_meta_read(meta, size, &index, &term), RAFT_OK);
    CHECK_EQ(index, joint); /* though the one to come is in the log by now (R36) */
    check_restored_alike(&governed, meta, size);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    raft_index snapshot = cluster_status(c, 1).snapshot_index;
    cluster_heal_all(c);
    cluster_run(c, 2 * LONGEST);
    CHECK(caught_up(c, 1, 2));
    CHECK_EQ(cluster_status(c, 2).counters.snapshots_installed, 1);
    CHECK_EQ(cluster_status(c, 2).snapshot_index, snapshot);
    CHECK(!cluster_status(c, 1).membership_joint);
    CHECK_EQ(cluster_status(c, 2).membership_version, cluster_status(c, 1).membership_version);
    CHECK_EQ(cluster_status(c, 2).voter_count, 4);
    CHECK_EQ(cluster_status(c, 2).learner_count, 1);
    CLUSTER_DONE(c);
}

/* R67: a group founded on a past; who is added later gets that past first. */
static void group_founded_on_existing_data_gives_it_to_joiners(void)
{
    struct cluster *c = make_group(4);
    c->founders = 3;
    c->base_index = 40;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK_EQ(cluster_status(c, 1).first_index, 41);
    CHECK_EQ(cluster_status(c, 1).snapshot_index, 40);
    CHECK_EQ(cluster_status(c, 1).applied_index, 40);
    CHECK(cluster_elect(c, 1));
    CHECK(cluster_term(c, 1) > 1);
    work(c, 1, 5);
    static const int roles[CLUSTER_MAX + 1] = {0, V, V, V, L};
    change_and_settle(c, 1, roles);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 4));
    CHECK_EQ(cluster_status(c, 4).snapshot_index, 40);
    CHECK_STR(cluster_applied_text(c, 4, 40), "past 40");
    cluster_crash(c, 2);
    CHECK_EQ(cluster_restart(c, 2), RAFT_OK);
    cluster_crash(c, 4);
    CHECK_EQ(cluster_restart_stepwise(c, 4), RAFT_OK);
    cluster_run(c, LONGEST);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

/* R56: to a witness go the metadata alone; its host is asked for nothing. */
static void witness_gets_metadata_alone(void)
{
    struct cluster *c = make_group(4);
    c->founders = 3;
    c->nodes[4].write_fail = -1;
    c->nodes[4].load_fail_next = -1;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    static const int roles[CLUSTER_MAX + 1] = {0, V, V, V, W};
    work(c, 1, 150);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    change_and_settle(c, 1, roles);
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_status(c, 4).counters.snapshots_installed, 1);
    CHECK_EQ(cluster_status(c, 4).counters.chunks_received, 0);
    CHECK_EQ(cluster_status(c, 4).error, RAFT_OK);
    CHECK(caught_up(c, 1, 4));
    CHECK_EQ(c->nodes[4].applied.count, 0);
    cluster_crash(c, 4);
    CHECK_EQ(cluster_restart(c, 4), RAFT_OK);
    work(c, 1, 5);
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_status(c, 4).commit_index, cluster_commit(c, 1));
    CLUSTER_DONE(c);
}

/* A witness that asks for data gets metadata again: nothing else could be decoded. */
static void witness_that_asks_for_data_gets_metadata_again(void)
{
    struct cluster *c = make_group(4);
    c->founders = 3;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    static const int roles[CLUSTER_MAX + 1] = {0, V, V, V, W};
    work(c, 1, 150);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    uint64_t mark = cluster_mark(c);
    cluster_hold(c, 1, 4);
    change_and_settle(c, 1, roles);
    while (cluster_sent_count(c, mark, 1, 4, RAFT_MESSAGE_SNAPSHOT) == 0) {
        cluster_deliver_all(c, 1, 4);
        cluster_run(c, 20);
    }
    raft_message asked = cluster_sent(c, mark, 1, 4, RAFT_MESSAGE_SNAPSHOT)->message;
    cluster_drop_all(c, 1, 4);
    raft_message m = cluster_forge(c, 4, 1, asked.term, RAFT_MESSAGE_SNAPSHOT_REPLY);
    m.round = asked.round;
    m.index = asked.index;
    m.index_term = asked.index_term;
    m.offset = 217;
    CHECK_EQ(cluster_inject(c, 1, &m), RAFT_OK);
    cluster_heal(c, 1, 4);
    cluster_run(c, LONGEST);
    const struct cluster_message *sent;
    while ((sent = cluster_sent(c, mark, 1, 4, RAFT_MESSAGE_SNAPSHOT)) != NULL) {
        CHECK_EQ(sent->message.offset, 0);
        mark = sent->number;
    }
    CHECK(caught_up(c, 1, 4));
    CLUSTER_DONE(c);
}

/* ---- What no correct leader sends ----------------------------------------------------------- */

static void snapshots_that_contradict_are_refused_and_change_nothing(void)
{
    struct cluster *c = start_group(3);
    uint8_t meta[RAFT_META_MAX];
    leave_behind(c, 1, 3);
    work(c, 1, 5);
    size_t size = meta_of(c, 1, meta);
    raft_message good = first_piece(c, 1, 3, meta, size);
    good.term = cluster_term(c, 3);
    raft_message m = good;
    uint64_t before = cluster_fingerprint(c, 3);
    m.index_term = m.term + 1; /* a last term above the sender's (R36) */
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_EMALFORMED);
    m = good;
    m.index++; /* another snapshot than the metadata says */
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_EMALFORMED);
    m = good;
    m.meta.size--;
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_EMALFORMED);
    for (size_t i = 0; i < size; i++) { /* what is damaged is refused, or says the same of itself */
        uint8_t bad[RAFT_META_MAX];
        memcpy(bad, meta, size);
        bad[i] ^= 0x81;
        raft_index index = 0;
        raft_term term = 0;
        int code = raft_meta_read(bad, size, &index, &term);
        if (code != RAFT_OK || index != good.index || term != good.index_term) {
            m = good;
            m.meta.data = bad;
            CHECK_EQ(cluster_inject(c, 3, &m), RAFT_EMALFORMED);
        }
    }
    m = good;
    m.offset = 5; /* metadata in the midst */
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_EMALFORMED);
    m = good;
    m.chunk.size = 0; /* nothing, and not the last */
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_EMALFORMED);
    m = good;
    m.flags = RAFT_FLAG_BARE | RAFT_FLAG_LAST; /* data is this server's due */
    m.chunk.data = NULL;
    m.chunk.size = 0;
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_EMALFORMED);
    m = good;
    m.from = 2; /* another than the leader of the term, which is known */
    CHECK_EQ(cluster_fingerprint(c, 3), before);
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_EMALFORMED);
    CHECK_EQ(cluster_status(c, 3).counters.chunks_received, 0);
    CLUSTER_DONE(c);
}

/* What is committed cannot be denied by a snapshot (V10). */
static void snapshot_of_another_history_is_refused(void)
{
    struct cluster *c = start_group(3);
    struct cluster *other = start_group(3);
    uint8_t meta[RAFT_META_MAX];
    CHECK(cluster_elect(other, 2));
    CHECK(cluster_elect(other, 1));
    work(other, 1, 5);
    work(c, 1, 40);
    CHECK(cluster_elect(c, 1));
    size_t size = meta_of(other, 1, meta);
    raft_message m = first_piece(c, 1, 3, meta, size);
    m.term = cluster_term(c, 3) + 3;
    CHECK(m.index <= cluster_commit(c, 3));
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_EMALFORMED);
    CHECK_EQ(raft_compact(c->nodes[1].raft, meta, size), RAFT_EARG);
    CLUSTER_DONE(other);
    CLUSTER_DONE(c);
}

/* R35: terms never fall; a restart would not accept what this would leave behind. */
static void snapshot_of_a_lower_term_than_what_is_committed_is_refused(void)
{
    struct cluster *c = start_group(3);
    struct cluster *other = start_group(3);
    uint8_t meta[RAFT_META_MAX];
    work(other, 1, 60);
    CHECK(cluster_elect(c, 2));
    CHECK(cluster_elect(c, 1));
    work(c, 1, 5);
    size_t size = meta_of(other, 1, meta);
    raft_message m = first_piece(c, 1, 3, meta, size);
    CHECK(m.index > cluster_commit(c, 3) && m.index_term < cluster_term(c, 3));
    uint64_t before = cluster_fingerprint(c, 3);
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_EMALFORMED);
    CHECK_EQ(cluster_fingerprint(c, 3), before);
    CHECK_EQ(raft_snapshot_received(c->nodes[3].raft, meta, size), RAFT_EMALFORMED);
    CLUSTER_DONE(other);
    CLUSTER_DONE(c);
}

/* R24: what joins in front of the log may differ in nothing that is known, its beginning included. */
static void append_across_the_beginning_of_the_log_denies_no_term(void)
{
    struct cluster *c = start_group(3);
    CHECK(cluster_elect(c, 2));
    CHECK(cluster_elect(c, 1));
    leave_behind(c, 1, 3);
    CHECK_EQ(cluster_ship(c, 1, 3), RAFT_OK);
    cluster_run(c, 50);
    raft_status status = cluster_status(c, 3);
    CHECK_EQ(status.last_index, status.snapshot_index);
    size_t count = (size_t)status.last_index + 1;
    uint8_t *noops = calloc(count, 8);
    for (size_t i = 0; i < count; i++) {
        noops[8 * i + 4] = RAFT_ENTRY_NOOP;
    }
    raft_message m = cluster_forge(c, 1, 3, status.term, RAFT_MESSAGE_APPEND);
    m.range_count = 1;
    m.ranges[0] = (raft_range){1, 1, count, 8 * count, noops};
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_EMALFORMED);
    CHECK_EQ(cluster_status(c, 3).last_index, status.last_index);
    free(noops);
    CLUSTER_DONE(c);
}

/* What the leader of a newer term has certified meanwhile is not replaced by what denies it. */
static void snapshot_that_the_log_denies_by_now_is_not_put_into_use(void)
{
    struct cluster *c = start_group(3);
    uint8_t meta[RAFT_META_MAX];
    leave_behind(c, 1, 3);
    raft_index known = cluster_status(c, 3).last_index;
    size_t size = meta_of(c, 1, meta);
    raft_index index = 0;
    raft_term term = 0;
    CHECK_EQ(raft_meta_read(meta, size, &index, &term), RAFT_OK);
    size_t count = (size_t)(index - known) + 2;
    uint8_t *noops = calloc(count, 8);
    for (size_t i = 0; i < count; i++) {
        noops[8 * i + 4] = RAFT_ENTRY_NOOP;
    }
    CHECK_EQ(raft_snapshot_received(c->nodes[3].raft, meta, size), RAFT_OK);
    raft_term next = cluster_later(c, term, 1, 2);
    raft_message m = cluster_forge(c, 2, 3, next, RAFT_MESSAGE_APPEND);
    m.index = known;
    m.index_term = known > 0 ? term : 0;
    m.range_count = 1;
    m.ranges[0] = (raft_range){known + 1, next, count, 8 * count, noops};
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_OK);
    cluster_run(c, 50);
    CHECK(raft_check(c->nodes[3].raft) == NULL);
    CHECK_EQ(cluster_status(c, 3).last_index, index + 2);
    CHECK_EQ(cluster_status(c, 3).snapshot_index, 0);
    free(noops);
    CLUSTER_DONE(c);
}

static void server_without_the_callbacks_refuses_and_stays_behind(void)
{
    struct cluster *c = make_group(3);
    c->snapshots = 0;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    cluster_isolate(c, 3);
    work(c, 1, 150);
    uint8_t meta[RAFT_META_MAX];
    size_t size = meta_of(c, 1, meta);
    CHECK_EQ(raft_compact(c->nodes[1].raft, meta, size), RAFT_OK);
    cluster_heal_all(c);
    cluster_run(c, 3 * LONGEST);
    CHECK_EQ(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_NEEDED), 1); /* once per need */
    CHECK_EQ(cluster_event(c, 1, 0, RAFT_EVENT_SNAPSHOT_NEEDED)->peer, 3);
    raft_message m = first_piece(c, 1, 3, meta, size);
    uint64_t mark = cluster_mark(c);
    CHECK_EQ(cluster_inject(c, 3, &m), RAFT_OK);
    const struct cluster_message *reply = cluster_sent(c, mark, 3, 1, RAFT_MESSAGE_SNAPSHOT_REPLY);
    CHECK(reply != NULL && reply->message.refused);
    CHECK_EQ(raft_snapshot_received(c->nodes[3].raft, meta, size), RAFT_ESTATE);
    CHECK_EQ(cluster_status(c, 3).snapshot_index, 0);
    CHECK_EQ(cluster_leader(c), 1);
    CLUSTER_DONE(c);
}

/* ---- Shipped by the host -------------------------------------------------------------------- */

static void snapshot_that_the_host_ships_goes_into_use_like_any(void)
{
    struct cluster *c = start_group(3);
    leave_behind(c, 1, 3);
    raft_index snapshot = cluster_status(c, 1).snapshot_index;
    CHECK_EQ(cluster_ship(c, 1, 3), RAFT_OK);
    cluster_run(c, 50);
    raft_status status = cluster_status(c, 3);
    CHECK_EQ(status.snapshot_index, snapshot);
    CHECK_EQ(status.applied_index, snapshot);
    CHECK_EQ(status.first_index, snapshot + 1);
    CHECK_EQ(cluster_event_count(c, 3, 0, RAFT_EVENT_SNAPSHOT_END), 0); /* nothing was begun */
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_sent_count(c, 0, 1, 3, RAFT_MESSAGE_SNAPSHOT), 0);
    CHECK(caught_up(c, 1, 3));
    CHECK_EQ(cluster_ship(c, 1, 3), RAFT_OK); /* not newer: nothing */
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_installed, 1);
    CLUSTER_DONE(c);
}

/*
 * What was shipped is older than what the leader's log begins with by now, and the acknowledgement
 * is lost: asked where it stands, the follower says so again, after a restart too, and a newer one is asked for (R38).
 */
static void outrun_what_is_shipped(int restarts)
{
    struct cluster *c = make_group(3);
    c->ships = 1;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    leave_behind(c, 1, 3);
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_compact(c, 2), RAFT_OK);
    raft_index shipped = cluster_status(c, 2).snapshot_index;
    cluster_cut(c, 3, 1);
    while (cluster_status(c, 1).first_index <= shipped + 1) {
        work(c, 1, 150);
        CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    }
    CHECK_EQ(cluster_ship(c, 2, 3), RAFT_OK);
    CHECK_EQ(raft_snapshot_sent(c->nodes[1].raft, 3, RAFT_OK), RAFT_OK);
    cluster_run(c, 50);
    CHECK_EQ(cluster_status(c, 3).snapshot_index, shipped);
    CHECK(cluster_peer(c, 1, 3).match < shipped);
    CHECK_EQ(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_NEEDED), 1);
    if (restarts) {
        cluster_crash(c, 3);
        CHECK_EQ(cluster_restart(c, 3), RAFT_OK);
    }
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_peer(c, 1, 3).match, shipped);
    CHECK_EQ(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_NEEDED), 2);
    CHECK_EQ(cluster_ship(c, 1, 3), RAFT_OK);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    CLUSTER_DONE(c);
}

static void shipped_snapshot_that_the_log_has_outrun_is_asked_for_anew(void)
{
    outrun_what_is_shipped(0);
    outrun_what_is_shipped(1);
}

/* The report says that it was sent; the peer, asked, says that nothing has come (R38). */
static void shipped_snapshot_that_was_lost_is_asked_for_again(void)
{
    struct cluster *c = make_group(3);
    c->ships = 1;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    leave_behind(c, 1, 3);
    cluster_heal_all(c);
    cluster_run(c, 3 * LONGEST);
    CHECK_EQ(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_NEEDED), 1); /* it may take long */
    CHECK_EQ(raft_snapshot_sent(c->nodes[1].raft, 3, RAFT_OK), RAFT_OK);
    cluster_run(c, LONGEST / 2);
    CHECK_EQ(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_NEEDED), 1);
    cluster_run(c, LONGEST);
    CHECK_EQ(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_NEEDED), 2);
    CHECK_EQ(cluster_ship(c, 1, 3), RAFT_OK);
    cluster_run(c, LONGEST);
    CHECK(caught_up(c, 1, 3));
    CHECK_EQ(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_NEEDED), 2);
    CLUSTER_DONE(c);
}

static void shipped_metadata_is_checked(void)
{
    struct cluster *c = start_group(3);
    uint8_t meta[RAFT_META_MAX];
    leave_behind(c, 1, 3);
    CHECK(cluster_elect(c, 2));
    work(c, 2, 3);
    size_t size = meta_of(c, 2, meta);
    raft *node = c->nodes[3].raft;
    CHECK_EQ(raft_snapshot_received(node, NULL, 0), RAFT_EARG);
    CHECK_EQ(raft_snapshot_received(node, meta, size - 1), RAFT_ECORRUPT);
    CHECK_EQ(raft_snapshot_received(node, meta, size), RAFT_EMALFORMED); /* of a newer term */
    CHECK_EQ(raft_snapshot_sent(node, 1, RAFT_PENDING), RAFT_EARG);
    CHECK_EQ(raft_snapshot_sent(node, 99, RAFT_OK), RAFT_OK);
    CLUSTER_DONE(c);
}

/* ---- Memory that fails ---------------------------------------------------------------------- */

/* A transfer, an install and compaction, while the k-th allocation of one server fails. */
static int live_with_failure(raft_id victim, uint64_t fail_at, int fail_on)
{
    struct cluster *c = make_group(3);
    c->read_log = 1;
    struct cluster_memory *memory = &c->nodes[victim].memory;
    for (raft_id id = 1; id <= 3; id++) {
        c->nodes[id].options.log_bytes_max = 16 << 10;
        c->nodes[id].options.trailing_bytes = 512;
    }
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    cluster_isolate(c, 3);
    for (int i = 0; i < 300; i++) {
        CHECK(cluster_propose(c, 1, "what the third one does not get in time") > 0);
        cluster_settle(c);
    }
    memory->fail_at = memory->calls + fail_at;
    memory->fail_on = fail_on;
    int code = cluster_compact(c, 1);
    CHECK(code == RAFT_OK || code == RAFT_ENOMEM);
    if (code != RAFT_OK) {
        memory->fail_at = 0;
        raft_compact(c->nodes[1].raft, c->nodes[1].snapshots[0].meta,
                     c->nodes[1].snapshots[0].meta_size);
    }
    cluster_heal_all(c);
    for (int i = 0; i < 60; i++) {
        cluster_run(c, 50);
        raft_id leader = cluster_leader(c);
        if (leader != 0) {
            cluster_propose(c, leader,
                            "and so on, so that the log goes on growing meanwhile: it "
                            "needs memory of its own, beside what the transfer needs");
        }
    }
    int failed = memory->failed > 0;
    memory->fail_at = 0;
    cluster_run(c, 4 * LONGEST);
    CHECK(cluster_stable_leader(c) != 0);
    CHECK(cluster_propose(c, cluster_leader(c), "all is well") > 0);
    cluster_run(c, LONGEST);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
    return failed;
}

static void transfer_survives_each_allocation_failing(void)
{
    for (raft_id victim = 1; victim <= 3; victim += 2) {
        for (int fail_on = 0; fail_on < 2; fail_on++) {
            uint64_t fail_at = 1;
            while (live_with_failure(victim, fail_at, fail_on)) {
                fail_at++;
            }
            CHECK(fail_at > 5);
        }
    }
}

static void everything_is_given_back_at_every_moment_of_a_transfer(void)
{
    for (int moment = 0; moment < 40; moment++) {
        struct cluster *c = start_group(3);
        leave_behind(c, 1, 3);
        c->nodes[1].read_async = moment % 2;
        c->nodes[3].write_async = moment % 3 == 0;
        c->nodes[3].load_async = moment % 5 == 0;
        cluster_heal_all(c);
        c->latency_ms = 2;
        for (int i = 0; i < moment * 3; i++) {
            cluster_run(c, 3);
            if (i % 2 == 0) {
                cluster_complete_reads(c, 1);
                cluster_complete_chunk(c, 3);
            }
        }
        CLUSTER_DONE(c);
    }
}

/* ---- Long random lives ---------------------------------------------------------------------- */

static uint64_t draw(uint64_t *random, uint64_t limit)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (*random >> 33) % limit;
}

static void complete_all(struct cluster *c, raft_id id)
{
    cluster_complete_reads(c, id);
    cluster_complete_chunk(c, id);
    cluster_complete_fetches(c, id);
    cluster_complete(c, id);
    cluster_complete_apply(c, id);
}

/* What may happen to a host: it becomes slow or quick, is cut off, crashes, returns, compacts. */
static void happen(struct cluster *c, uint64_t *random)
{
    raft_id id = 1 + draw(random, 3);
    struct cluster_node *node = &c->nodes[id];
    uint64_t what = draw(random, 12);
    if (node->raft == NULL) {
        CHECK_EQ(draw(random, 2) ? cluster_restart(c, id) : cluster_restart_stepwise(c, id),
                 RAFT_OK);
        return;
    }
    switch (what) {
    case 0:
        cluster_crash_after(c, id, (size_t)draw(random, cluster_pending_steps(c, id) + 1));
        break;
    case 1:
        cluster_isolate(c, id);
        break;
    case 2:
    case 3:
        cluster_heal_all(c);
        break;
    case 4:
        cluster_store_async(c, id, (int)draw(random, 2));
        break;
    case 5:
        node->read_async = (int)draw(random, 2);
        node->write_async = (int)draw(random, 2);
        node->load_async = (int)draw(random, 2);
        node->fetch_async = (int)draw(random, 2);
        node->apply_async = (int)draw(random, 2);
        break;
    case 6:
        node->read_fail = draw(random, 3) == 0 ? -1 : 0;
        node->fetch_fail = draw(random, 3) == 0 ? -1 : 0;
        node->write_fail = draw(random, 6) == 0 ? -1 : 0;
        break;
    default:
        if (cluster_compact(c, id) != RAFT_OK) {
            CHECK(cluster_status(c, id).error != RAFT_OK || node->apply_pending != 0 ||
                  cluster_status(c, id).installing);
        }
        break;
    }
}

static void quiet_down(struct cluster *c)
{
    cluster_heal_all(c);
    for (raft_id id = 1; id <= 3; id++) {
        struct cluster_node *node = &c->nodes[id];
        node->read_async = node->write_async = node->load_async = node->fetch_async = 0;
        node->apply_async = node->read_fail = node->fetch_fail = node->write_fail = 0;
        cluster_store_async(c, id, 0);
        if (node->raft == NULL) {
            CHECK_EQ(cluster_restart(c, id), RAFT_OK);
        }
        complete_all(c, id);
    }
    for (int i = 0; i < 20; i++) {
        cluster_run(c, LONGEST / 4);
        for (raft_id id = 1; id <= 3; id++) {
            complete_all(c, id);
        }
    }
}

static void random_lives_with_snapshots_keep_every_promise(void)
{
    uint64_t installed = 0;
    uint64_t fetched = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct cluster *c = make_group(3);
        uint64_t random = seed * 977;
        c->read_log = seed % 3 != 0;
        for (raft_id id = 1; id <= 3; id++) {
            c->nodes[id].options.seed = seed;
            c->nodes[id].options.log_bytes_max = c->read_log ? 16 << 10 : 0;
            c->nodes[id].options.apply_bytes_max = 3000;
            c->nodes[id].options.apply_ahead = seed % 4 == 0;
        }
        CHECK_EQ(cluster_start(c), RAFT_OK);
        for (int step = 0; step < 250; step++) {
            raft_id leader = cluster_leader(c);
            for (uint64_t i = draw(&random, 30); leader != 0 && i > 0; i--) {
                cluster_propose(c, leader, "one of many entries, long enough to fill a log");
            }
            if (draw(&random, 3) == 0) {
                happen(c, &random);
            }
            c->latency_ms = draw(&random, 4);
            cluster_run(c, 1 + draw(&random, 120));
            complete_all(c, 1 + draw(&random, 3));
        }
        c->latency_ms = 0;
        quiet_down(c);
        CHECK_STR(cluster_violation(c) != NULL ? cluster_violation(c) : "none", "none");
        CHECK(cluster_stable_leader(c) != 0);
        CHECK(cluster_propose(c, cluster_leader(c), "all is well") > 0);
        cluster_run(c, LONGEST);
        CHECK(cluster_converged(c));
        for (raft_id id = 1; id <= 3; id++) {
            installed += cluster_status(c, id).counters.snapshots_installed;
            fetched += c->nodes[id].fetched;
            CHECK_EQ(cluster_transfers(c, id), 0);
        }
        CLUSTER_DONE(c);
    }
    CHECK(installed > 10);
    CHECK(fetched > 100);
}

/* ---- Asked for ------------------------------------------------------------------------------ */

static int request(struct cluster *c, raft_id id)
{
    int code = raft_request_snapshot(c->nodes[id].raft);
    c->nodes[id].spin_count = 0;
    return code;
}

static void damage(struct cluster *c, raft_id id)
{
    c->nodes[id].applied.entries[3].data[0] ^= 1;
}

static int is_whole(const struct cluster *c, raft_id id)
{
    const char *text = cluster_applied_text(c, id, 4);
    return text != NULL && strcmp(text, cluster_applied_text(c, 1, 4)) == 0;
}

static raft_index asked(const struct cluster *c, raft_id id)
{
    return cluster_status(c, id).snapshot_asked;
}

/* R35: at what is applied already, and nothing but the state machine changes. */
static void fresh_snapshot_that_the_leader_has_is_loaded_at_the_applied_index(void)
{
    struct cluster *c = start_group(3);
    work(c, 1, 30);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    cluster_run(c, 300);
    damage(c, 3);
    raft_status before = cluster_status(c, 3);
    CHECK_EQ(request(c, 3), RAFT_OK);
    CHECK_EQ(asked(c, 3), before.commit_index);
    cluster_run(c, 300);
    raft_status after = cluster_status(c, 3);
    CHECK_EQ(after.counters.snapshots_fresh, 1);
    CHECK_EQ(asked(c, 3), 0);
    CHECK(is_whole(c, 3));
    CHECK_EQ(after.applied_index, before.applied_index);
    CHECK_EQ(after.commit_index, before.commit_index);
    CHECK_EQ(after.first_index, before.first_index);
    CHECK_EQ(after.last_index, before.last_index);
    CHECK_EQ(after.term, before.term);
    CHECK_EQ(after.counters.snapshots_installed, 0); /* the log stayed */
    CHECK_EQ(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_WANTED), 0);
    CHECK_EQ(cluster_peer(c, 1, 3).state, RAFT_PEER_REPLICATE);
    CHECK_EQ(cluster_transfers(c, 1), 0);
    work(c, 1, 5);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

static void fresh_snapshot_reaches_what_was_committed_when_it_was_asked_for(void)
{
    struct cluster *c = start_group(3);
    work(c, 1, 30);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    raft_index old = cluster_status(c, 1).snapshot_index;
    work(c, 1, 30); /* so that the one there is would be too old */
    damage(c, 3);
    uint64_t mark = cluster_mark(c);
    CHECK_EQ(request(c, 3), RAFT_OK);
    raft_index wanted = asked(c, 3);
    CHECK(wanted > old);
    cluster_run(c, 2 * LONGEST);
    CHECK_EQ(cluster_sent_count(c, mark, 1, 3, RAFT_MESSAGE_SNAPSHOT), 0);
    CHECK(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_WANTED) >= 1);
    CHECK(cluster_event_count(c, 1, 0, RAFT_EVENT_SNAPSHOT_WANTED) <= 3); /* not with every ask */
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    cluster_run(c, 300);
    CHECK(cluster_sent(c, mark, 1, 3, RAFT_MESSAGE_SNAPSHOT)->message.index >= wanted);
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_fresh, 1);
    CHECK(is_whole(c, 3));
    CLUSTER_DONE(c);
}

/* Whoever waits for it is a voter as before; its state machine stands still. */
static void while_a_fresh_snapshot_is_awaited_entries_commit_and_are_not_applied(void)
{
    struct cluster *c = start_group(3);
    work(c, 1, 30);
    raft_index applied = cluster_status(c, 3).applied_index;
    damage(c, 3);
    CHECK_EQ(request(c, 3), RAFT_OK);
    cluster_isolate(c, 2);
    work(c, 1, 30); /* by the leader and this one alone */
    CHECK(cluster_commit(c, 1) >= applied + 30);
    CHECK_EQ(cluster_commit(c, 3), cluster_commit(c, 1));
    CHECK_EQ(cluster_status(c, 3).applied_index, applied);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    c->latency_ms = 3;
    for (int i = 0; i < 20; i++) { /* and while it comes */
        CHECK(cluster_propose(c, 1, "beside the pieces") > 0);
        cluster_run(c, 20);
        CHECK(cluster_status(c, 3).applied_index >= applied);
    }
    c->latency_ms = 0;
    cluster_run(c, 300);
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_fresh, 1);
    CHECK_EQ(cluster_status(c, 3).applied_index, cluster_commit(c, 1));
    CHECK(is_whole(c, 3));
    cluster_heal_all(c);
    cluster_run(c, LONGEST);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

/* R35: what nobody has asked for, or is older than what was, is not installed. */
static void older_snapshots_are_no_answer(void)
{
    struct cluster *c = start_group(3);
    work(c, 1, 30);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    cluster_run(c, 300);
    CHECK_EQ(request(c, 3), RAFT_OK);
    cluster_run(c, 300);
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_fresh, 1);
    uint64_t piece = cluster_sent(c, 0, 1, 3, RAFT_MESSAGE_SNAPSHOT)->number;
    uint64_t chunks = cluster_status(c, 3).counters.chunks_received;
    CHECK_EQ(cluster_replay(c, piece), RAFT_OK); /* it was answered: nobody asks any more */
    work(c, 1, 30);
    CHECK_EQ(request(c, 3), RAFT_OK);
    CHECK_EQ(cluster_replay(c, piece), RAFT_OK); /* it would take the state machine back */
    cluster_settle(c);
    CHECK_EQ(cluster_status(c, 3).counters.chunks_received, chunks);
    CHECK(asked(c, 3) > 0);
    CHECK_EQ(cluster_ship(c, 1, 3), RAFT_OK); /* so would this */
    CHECK(asked(c, 3) > 0);
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_fresh, 1);
    CLUSTER_DONE(c);
}

static void request_for_a_fresh_snapshot_ends_with_the_term_or_the_role(void)
{
    for (int how = 0; how < 3; how++) {
        struct cluster *c = start_group(3);
        work(c, 1, 30);
        CHECK_EQ(request(c, 3), RAFT_OK);
        work(c, 1, 10);
        raft_term term = cluster_term(c, 3);
        CHECK(asked(c, 3) > 0);
        CHECK(cluster_status(c, 3).applied_index < cluster_commit(c, 3));
        uint64_t mark = cluster_mark(c);
        if (how == 0) { /* another leads */
            CHECK(cluster_elect(c, 2));
        } else if (how == 1) { /* a candidate, or before: nobody answers */
            cluster_isolate(c, 3);
            CHECK_EQ(raft_campaign(c->nodes[3].raft), RAFT_OK);
            CHECK_EQ(cluster_term(c, 3), term);
        } else {
            cluster_crash(c, 3);
            CHECK_EQ(cluster_restart(c, 3), RAFT_OK);
        }
        CHECK_EQ(asked(c, 3), 0);
        cluster_heal_all(c);
        cluster_run(c, 2 * LONGEST);
        mark = how == 0 ? cluster_mark(c) : mark;
        cluster_run(c, LONGEST);
        CHECK_EQ(cluster_sent_count(c, mark, 3, 0, RAFT_MESSAGE_SNAPSHOT_ASK), 0);
        raft_id leader = cluster_leader(c);
        CHECK_EQ(cluster_compact(c, leader), RAFT_OK);
        cluster_run(c, LONGEST);
        CHECK_EQ(cluster_status(c, 3).counters.snapshots_fresh, 0);
        CHECK(cluster_converged(c)); /* apply has gone on */
        CLUSTER_DONE(c);
    }
}

/* Half of it has come: the rest is of no use, and its host is told so. */
static void fresh_snapshot_that_is_under_way_ends_with_the_request(void)
{
    struct cluster *c = start_group(3);
    work(c, 1, 60);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    cluster_run(c, 300);
    CHECK_EQ(request(c, 3), RAFT_OK);
    transfer_some(c, 2);
    CHECK(cluster_transfers(c, 3));
    cluster_isolate(c, 1);
    CHECK(cluster_elect(c, 2));
    cluster_heal_all(c);
    cluster_run(c, 2 * LONGEST);
    CHECK_EQ(asked(c, 3), 0);
    CHECK_EQ(cluster_transfers(c, 1), 0);
    CHECK_EQ(cluster_transfers(c, 3), 0);
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_fresh, 0);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

static void fresh_snapshot_comes_through_losses_and_slow_hosts(void)
{
    for (int slow = 0; slow <= 1; slow++) {
        struct cluster *c = start_group(3);
        work(c, 1, 60);
        CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
        cluster_run(c, 300);
        damage(c, 3);
        c->nodes[3].apply_async = slow;
        c->nodes[3].load_async = slow;
        CHECK(cluster_propose(c, 1, "in hand when it is asked for") > 0);
        cluster_run(c, 200);
        CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
        CHECK_EQ(request(c, 3), RAFT_OK);
        for (int i = 0; i < 100 && cluster_status(c, 3).counters.snapshots_fresh == 0; i++) {
            cluster_run(c, 50);
            if (i % 3 == 0) {
                cluster_drop_all(c, 1, 3);
                cluster_cut(c, i % 2 == 0 ? 1 : 3, i % 2 == 0 ? 3 : 1);
            } else {
                cluster_heal_all(c);
            }
        }
        cluster_heal_all(c);
        CHECK_EQ(cluster_status(c, 3).counters.snapshots_fresh, 1);
        for (int i = 0; i < 10 && slow; i++) {
            cluster_run(c, 10);
            if (c->nodes[3].apply_pending != 0) {
                CHECK_EQ(cluster_complete_apply(c, 3), RAFT_OK);
            }
        }
        cluster_run(c, LONGEST);
        CHECK(is_whole(c, 3));
        CHECK(cluster_converged(c));
        CLUSTER_DONE(c);
    }
}

static void fresh_snapshot_that_the_host_ships_is_loaded(void)
{
    struct cluster *c = make_group(3);
    c->ships = 1;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    work(c, 1, 30);
    damage(c, 3);
    CHECK_EQ(request(c, 3), RAFT_OK);
    work(c, 1, 10);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    CHECK_EQ(cluster_ship(c, 1, 3), RAFT_OK);
    cluster_run(c, 300);
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_fresh, 1);
    CHECK(is_whole(c, 3));
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

/* The store was told nothing: what it had, and the log, still make the whole state. */
static void crash_after_a_fresh_snapshot_loses_nothing(void)
{
    struct cluster *c = start_group(3);
    work(c, 1, 30);
    CHECK_EQ(cluster_compact(c, 1), RAFT_OK);
    cluster_run(c, 300);
    CHECK_EQ(request(c, 3), RAFT_OK);
    cluster_run(c, 300);
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_fresh, 1);
    CHECK_EQ(cluster_compact(c, 3), RAFT_OK); /* its own by now */
    work(c, 1, 5);
    cluster_crash(c, 3);
    CHECK_EQ(cluster_restart(c, 3), RAFT_OK);
    cluster_run(c, LONGEST);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

/* Or a leader that cannot send any would keep this server from applying for ever. */
static void request_for_a_fresh_snapshot_ends_when_nothing_comes(void)
{
    struct cluster *c = make_group(3);
    c->ships = 1; /* and this host does not */
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    work(c, 1, 10);
    CHECK_EQ(request(c, 3), RAFT_OK);
    work(c, 1, 10);
    cluster_run(c, 9 * LONGEST);
    CHECK(asked(c, 3) > 0);
    cluster_run(c, LONGEST);
    CHECK_EQ(asked(c, 3), 0);
    CHECK(cluster_converged(c));
    CLUSTER_DONE(c);
}

static void who_cannot_be_sent_a_fresh_snapshot_is_told_why(void)
{
    struct cluster *c = make_group(4);
    c->founders = 3;
    CHECK_EQ(cluster_start(c), RAFT_OK);
    CHECK(cluster_elect(c, 1));
    CHECK_EQ(raft_request_snapshot(NULL), RAFT_EARG);
    CHECK_EQ(request(c, 1), RAFT_ENOLEADER);
    CHECK_EQ(request(c, 4), RAFT_ENOTMEMBER);
    CHECK_EQ(request(c, 3), RAFT_OK);
    CHECK_EQ(request(c, 3), RAFT_OK); /* one is under way */
    CHECK_EQ(cluster_status(c, 3).counters.snapshots_asked, 1);
    CHECK_EQ(raft_forget_leader(c->nodes[2].raft), RAFT_OK);
    CHECK_EQ(request(c, 2), RAFT_ENOLEADER);
    CLUSTER_DONE(c);
    c = cluster_new(3); /* hosts without snapshots */
    CHECK(cluster_elect(c, 1));
    CHECK_EQ(request(c, 3), RAFT_ESTATE);
    CLUSTER_DONE(c);
}

int main(void)
{
    RUN_BOTH(leader_that_compacted_past_a_follower_sends_a_snapshot_and_then_the_tail);
    RUN_BOTH(a_snapshot_is_not_sent_twice_to_a_peer_that_keeps_it);
    RUN_BOTH(snapshot_exactly_at_the_last_index_ends_in_replication);
    RUN_BOTH(trail_spares_a_follower_that_is_a_little_behind_the_snapshot);
    RUN_BOTH(follower_with_appends_in_flight_is_asked_before_it_gets_a_snapshot);
    RUN_BOTH(dead_follower_does_not_pin_the_log);
    RUN_BOTH(snapshot_at_or_below_the_commit_index_is_answered_with_it);
    RUN_BOTH(snapshot_that_the_log_reaches_moves_the_commit_index_and_keeps_the_log);
    RUN_BOTH(acknowledgement_within_the_log_ends_the_transfer);
    RUN_BOTH(replies_to_pieces_raise_no_match);
    RUN_BOTH(crash_at_each_step_of_an_install_leaves_the_old_state_or_the_new);
    RUN_BOTH(crash_at_every_moment_of_a_transfer_is_recovered_from);
    RUN_BOTH(everybody_restarts_from_snapshot_and_log);
    RUN_BOTH(membership_outlives_every_compaction);
    RUN_BOTH(append_from_before_the_snapshot_cuts_nothing_after_a_restart);
    RUN_BOTH(pieces_lost_repeated_and_reordered_arrive_all_the_same);
    RUN_BOTH(repeated_answers_do_not_breed_pieces);
    RUN_BOTH(receiver_that_restarts_is_begun_with_anew);
    RUN_BOTH(short_cut_is_resumed_from_the_piece_that_was_lost);
    RUN_BOTH(leader_that_changes_midway_begins_a_transfer_of_its_own);
    RUN_BOTH(pieces_of_an_earlier_term_are_not_mixed_in);
    RUN_BOTH(leader_serves_on_and_retries_while_the_snapshot_cannot_be_read);
    RUN_BOTH(late_answer_does_not_begin_a_transfer_in_the_midst);
    RUN_BOTH(silent_peer_is_sent_nothing_and_its_transfer_is_given_up);
    RUN_BOTH(every_callback_may_answer_later);
    RUN_BOTH(host_that_fails_to_write_a_piece_gets_the_snapshot_later);
    RUN_BOTH(load_that_fails_stops_the_node);
    RUN_BOTH(newer_snapshot_lets_the_transfer_go_on);
    RUN_BOTH(snapshot_that_the_log_outruns_is_followed_by_a_newer_one);
    RUN_BOTH(server_amid_an_install_does_not_campaign_nor_apply_but_votes);
    RUN_BOTH(apply_in_hand_ends_before_the_snapshot_is_loaded);
    RUN_BOTH(late_completions_do_not_acknowledge_a_snapshot_that_is_not_durable);
    RUN_BOTH(proposals_that_a_snapshot_covers_get_their_answer);
    RUN_BOTH(joiner_learns_the_membership_from_a_snapshot);
    RUN_BOTH(role_follows_the_snapshot);
    RUN_BOTH(snapshot_in_a_joint_state_restores_both_halves);
    RUN_BOTH(group_founded_on_existing_data_gives_it_to_joiners);
    RUN_BOTH(witness_gets_metadata_alone);
    RUN_BOTH(witness_that_asks_for_data_gets_metadata_again);
    RUN_BOTH(snapshots_that_contradict_are_refused_and_change_nothing);
    RUN_BOTH(snapshot_of_another_history_is_refused);
    RUN_BOTH(snapshot_of_a_lower_term_than_what_is_committed_is_refused);
    RUN_BOTH(append_across_the_beginning_of_the_log_denies_no_term);
    RUN_BOTH(snapshot_that_the_log_denies_by_now_is_not_put_into_use);
    RUN_BOTH(server_without_the_callbacks_refuses_and_stays_behind);
    RUN_BOTH(snapshot_that_the_host_ships_goes_into_use_like_any);
    RUN_BOTH(shipped_snapshot_that_the_log_has_outrun_is_asked_for_anew);
    RUN_BOTH(shipped_snapshot_that_was_lost_is_asked_for_again);
    RUN_BOTH(shipped_metadata_is_checked);
    RUN_BOTH(transfer_survives_each_allocation_failing);
    RUN_BOTH(everything_is_given_back_at_every_moment_of_a_transfer);
    RUN_BOTH(random_lives_with_snapshots_keep_every_promise);
    RUN_BOTH(fresh_snapshot_that_the_leader_has_is_loaded_at_the_applied_index);
    RUN_BOTH(fresh_snapshot_reaches_what_was_committed_when_it_was_asked_for);
    RUN_BOTH(while_a_fresh_snapshot_is_awaited_entries_commit_and_are_not_applied);
    RUN_BOTH(older_snapshots_are_no_answer);
    RUN_BOTH(request_for_a_fresh_snapshot_ends_with_the_term_or_the_role);
    RUN_BOTH(fresh_snapshot_that_is_under_way_ends_with_the_request);
    RUN_BOTH(fresh_snapshot_comes_through_losses_and_slow_hosts);
    RUN_BOTH(fresh_snapshot_that_the_host_ships_is_loaded);
    RUN_BOTH(crash_after_a_fresh_snapshot_loses_nothing);
    RUN_BOTH(request_for_a_fresh_snapshot_ends_when_nothing_comes);
    RUN_BOTH(who_cannot_be_sent_a_fresh_snapshot_is_told_why);
    return check_done();
}
