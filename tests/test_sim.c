/*
 * The observer of the simulator judged by itself: an honest history has to pass, and for each
 * invariant a history forged to break it, and nothing else, has to be flagged. A checker that never
 * complains proves nothing.
 *
 * Three nodes, positions 0 to 2 with ids 11 to 13. Node 0 leads in term 1 unless a test says
 * otherwise.
 */
#include "check.h"

/* The observer is part of the simulator's program, not of the kit that tests share. */
#include "sim/arena.c"
#include "sim/checker.c"
#include "sim/registry.c"

#define NODES 3

struct world {
    struct checker checker;
    raft_status status[NODES];
    uint64_t seq[NODES];
};

static struct world world; /* the main thread's; begun anew by every test */

/* ---- A small language to write histories in ---------------------------------------------------- */

static raft_id id_of(int node)
{
    return (raft_id)(11 + node);
}

static void observe(int node)
{
    checker_observed(&world.checker, node, &world.status[node]);
}

static void start(int node)
{
    checker_restarting(&world.checker, node);
    checker_started(&world.checker, node);
    memset(&world.status[node], 0, sizeof world.status[node]);
    world.status[node].size = sizeof world.status[node];
    world.seq[node] = 0;
    observe(node);
}

static void begin_with(struct checker_setup setup)
{
    setup.node_count = NODES;
    for (int i = 0; i < NODES; i++) {
        setup.ids[i] = id_of(i);
    }
    checker_begin(&world.checker, &setup);
    for (int i = 0; i < NODES; i++) {
        start(i);
    }
}

static void begin(void)
{
    struct checker_setup setup;
    memset(&setup, 0, sizeof setup);
    setup.append_bytes_max = 64;
    setup.apply_bytes_max = 64;
    setup.inflight_messages_max = 4;
    setup.inflight_bytes_max = 1000;
    setup.reads_max = 8;
    begin_with(setup);
}

static raft_write empty_write(int node)
{
    raft_write write;
    memset(&write, 0, sizeof write);
    write.seq = ++world.seq[node];
    return write;
}

/* A hard state is written; durable: and the node is told that it is. */
static void write_state(int node, raft_term term, raft_id vote, int durable)
{
    raft_write write = empty_write(node);
    write.has_state = 1;
    write.state.term = term;
    write.state.vote = vote;
    checker_wrote(&world.checker, node, &write);
    if (durable) {
        checker_durable(&world.checker, node, write.seq);
    }
    world.status[node].term = term;
    world.status[node].vote = vote;
}

/* An entry that carries a text, or none: a no-op. */
static raft_range make_range(raft_index index, raft_term term, const char *text, uint8_t out[256])
{
    raft_entry entry = {index, term, text, text == NULL ? 0 : strlen(text),
                        text == NULL ? RAFT_ENTRY_NOOP : RAFT_ENTRY_DATA};
    raft_range range = {index, term, 1, raft_entry_size(entry.size), out};
    CHECK_EQ(raft_entry_encode(&entry, out, 256), RAFT_OK);
    return range;
}

static void write_entry(int node, raft_index index, raft_term term, const char *text, int durable)
{
    uint8_t bytes[256];
    raft_range range = make_range(index, term, text, bytes);
    raft_write write = empty_write(node);
    write.ranges = &range;
    write.range_count = 1;
    write.truncate_from = index <= world.checker.nodes[node].issued.count ? index : 0;
    checker_wrote(&world.checker, node, &write);
    if (durable) {
        checker_durable(&world.checker, node, write.seq);
    }
    world.status[node].last_index = index;
}

static void become(int node, int role)
{
    world.status[node].role = role;
    observe(node);
}

/* Votes of a quorum, then the role. */
static void elect(int node, raft_term term)
{
    for (int i = 0; i < NODES; i++) {
        if (i == node || i == (node + 1) % NODES) {
            write_state(i, term, id_of(node), 1);
        } else {
            write_state(i, term, 0, 1);
        }
        world.status[i].role = RAFT_ROLE_FOLLOWER;
        observe(i);
    }
    become(node, RAFT_ROLE_LEADER);
}

static void propose(int node, raft_index index, raft_term term, const char *text)
{
    checker_proposed(&world.checker, node, index, term, text, strlen(text));
    world.status[node].last_index = index;
}

static void commit(int node, raft_index index)
{
    world.status[node].commit_index = index;
    observe(node);
}

static void apply(int node, raft_index index, raft_term term, const char *text)
{
    uint8_t bytes[256];
    raft_range range = make_range(index, term, text, bytes);
    checker_apply(&world.checker, node, &range);
    checker_applied(&world.checker, node, index);
    world.status[node].applied_index = index;
}

static raft_message message(int kind, int from, int to, raft_term term)
{
    raft_message it;
    memset(&it, 0, sizeof it);
    it.kind = kind;
    it.from = id_of(from);
    it.to = id_of(to);
    it.term = term;
    return it;
}

static void send(const raft_message *it, int from)
{
    checker_sent(&world.checker, from, it);
}

/* Node 0 leads in term 1; its no-op and one proposal are durable everywhere and committed. */
static void replicate_one(void)
{
    elect(0, 1);
    propose(0, 2, 1, "x");
    for (int i = 0; i < NODES; i++) {
        write_entry(i, 1, 1, NULL, 1);
        write_entry(i, 2, 1, "x", 1);
        observe(i);
    }
    commit(0, 2);
}

static const char *failure(void)
{
    const char *text = checker_failure(&world.checker);
    return text == NULL ? "" : text;
}

/* The first violation is one of this invariant. */
#define CHECK_FLAGGED(invariant) CHECK(strncmp(failure(), invariant ": ", sizeof(invariant)) == 0)
#define CHECK_CLEAN()            CHECK_STR(failure(), "")

/* ---- Honest histories -------------------------------------------------------------------------- */

static void an_honest_history_passes(void)
{
    begin();
    replicate_one();
    for (int i = 0; i < NODES; i++) {
        commit(i, 2);
        apply(i, 1, 1, NULL);
        apply(i, 2, 1, "x");
        observe(i);
    }
    CHECK_CLEAN();
    CHECK(checker_converged(&world.checker));
    checker_quiet(&world.checker);
    CHECK_CLEAN();
}

static void an_unchosen_entry_may_be_overwritten(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 1, 1, NULL, 1);
    elect(1, 2);
    write_entry(1, 1, 2, NULL, 1);
    write_entry(0, 1, 2, NULL, 1);
    CHECK_CLEAN();
    CHECK_EQ(world.checker.truncations, 1);
    CHECK_EQ(world.checker.chosen.count, 1);
}

static void an_unconfirmed_write_may_be_lost_or_torn(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 1, 1, NULL, 1);
    write_state(0, 2, 0, 0);
    checker_crashed(&world.checker, 0);
    raft_write kept;
    uint8_t bytes[256];
    raft_range range = make_range(1, 1, NULL, bytes);
    memset(&kept, 0, sizeof kept);
    kept.has_state = 1;
    kept.state.term = 1;
    kept.state.vote = id_of(0);
    kept.ranges = &range;
    kept.range_count = 1;
    checker_restarting(&world.checker, 0);
    checker_restored(&world.checker, 0, &kept);
    checker_started(&world.checker, 0);
    CHECK_CLEAN();
}

static void a_leader_elected_late_owes_nothing_to_later_terms(void)
{
    begin();
    write_state(0, 1, id_of(0), 1);
    write_state(1, 1, id_of(0), 1);
    elect(2, 2);
    write_entry(2, 1, 2, NULL, 1);
    write_entry(1, 1, 2, NULL, 1);
    CHECK_EQ(world.checker.chosen.count, 1);
    world.checker.nodes[0].status.term = 1;
    world.status[0].term = 1;
    world.status[0].vote = id_of(0);
    become(0, RAFT_ROLE_LEADER);
    CHECK_CLEAN();
}

/* ---- Terms, votes, leaders --------------------------------------------------------------------- */

static void two_leaders_of_a_term_are_flagged(void)
{
    begin();
    elect(0, 1);
    term_of(&world.checker, 1)->vote_durable[1] = id_of(2);
    term_of(&world.checker, 1)->vote_durable[2] = id_of(2);
    become(2, RAFT_ROLE_LEADER);
    CHECK_FLAGGED("I4");
}

static void leading_a_term_again_is_flagged(void)
{
    begin();
    elect(0, 1);
    become(0, RAFT_ROLE_FOLLOWER);
    become(0, RAFT_ROLE_LEADER);
    CHECK_FLAGGED("I4");
}

static void a_leader_without_votes_is_flagged(void)
{
    begin();
    write_state(0, 1, id_of(0), 1);
    write_state(1, 1, id_of(0), 0);
    become(0, RAFT_ROLE_LEADER);
    CHECK_FLAGGED("I16");
}

static void a_leader_that_lacks_a_chosen_entry_is_flagged(void)
{
    begin();
    replicate_one();
    world.checker.nodes[2].issued.count = 1; /* as if its disk had lost the entry */
    elect(2, 2);
    CHECK_FLAGGED("I13");
}

static void a_second_vote_in_a_term_is_flagged(void)
{
    begin();
    write_state(0, 1, id_of(1), 1);
    write_state(0, 1, id_of(2), 1);
    CHECK_FLAGGED("V2");
}

static void an_erased_vote_is_flagged(void)
{
    begin();
    write_state(0, 1, id_of(1), 1);
    write_state(0, 1, 0, 1);
    CHECK_FLAGGED("V2");
}

static void a_falling_term_on_disk_is_flagged(void)
{
    begin();
    write_state(0, 2, 0, 1);
    write_state(0, 1, 0, 1);
    CHECK_FLAGGED("I2");
}

static void a_falling_term_in_memory_is_flagged(void)
{
    begin();
    write_state(0, 2, 0, 1);
    observe(0);
    world.status[0].term = 1;
    observe(0);
    CHECK_FLAGGED("I2");
}

static void terms_without_end_are_flagged(void)
{
    begin();
    write_state(0, CHECKER_TERM_MAX + 1, 0, 1);
    CHECK_FLAGGED("V24");
}

static void a_pre_vote_that_changes_its_receiver_is_flagged(void)
{
    begin();
    raft_message asked = message(RAFT_MESSAGE_PRE_VOTE, 1, 0, 5);
    raft_status after = world.status[0];
    after.term = 5;
    checker_received(&world.checker, 0, &asked, RAFT_OK, &after);
    CHECK_FLAGGED("I22");
}

static void a_pre_vote_for_another_term_is_flagged(void)
{
    begin();
    raft_message asked = message(RAFT_MESSAGE_PRE_VOTE, 0, 1, 0);
    asked.asked_term = 2;
    send(&asked, 0);
    CHECK_FLAGGED("R18");
}

/* Node 1, which holds an entry, is asked by node 2, which holds none, and grants. */
static void grant_to_a_worse_log(int question, int answer, raft_term term)
{
    begin();
    elect(0, 1);
    write_entry(1, 1, 1, NULL, 1);
    world.status[1].durable_index = 1;
    observe(1);
    raft_message asked = message(question, 2, 1, term);
    asked.round = 7;
    asked.asked_term = question == RAFT_MESSAGE_PRE_VOTE ? term + 1 : 0;
    checker_received(&world.checker, 1, &asked, RAFT_OK, &world.status[1]);
    if (question == RAFT_MESSAGE_VOTE) {
        write_state(1, term, id_of(2), 1);
    }
    raft_message grant = message(answer, 1, 2, term);
    grant.round = 7;
    grant.asked_term = asked.asked_term;
    send(&grant, 1);
}

static void a_vote_for_a_worse_log_is_flagged(void)
{
    grant_to_a_worse_log(RAFT_MESSAGE_VOTE, RAFT_MESSAGE_VOTE_REPLY, 2);
    CHECK_FLAGGED("R12");
}

static void a_pre_vote_for_a_worse_log_is_flagged(void)
{
    grant_to_a_worse_log(RAFT_MESSAGE_PRE_VOTE, RAFT_MESSAGE_PRE_VOTE_REPLY, 1);
    CHECK_FLAGGED("R12");
}

static void an_append_of_an_old_term_that_is_accepted_is_flagged(void)
{
    begin();
    write_state(0, 5, 0, 1);
    observe(0);
    raft_message old = message(RAFT_MESSAGE_APPEND, 1, 0, 4);
    raft_status after = world.status[0];
    after.last_index = 1;
    checker_received(&world.checker, 0, &old, RAFT_OK, &after);
    CHECK_FLAGGED("I7");
}

static void a_refused_message_that_changes_its_receiver_is_flagged(void)
{
    begin();
    raft_message bad = message(RAFT_MESSAGE_VOTE, 1, 0, 4);
    raft_status after = world.status[0];
    after.term = 4;
    checker_received(&world.checker, 0, &bad, RAFT_EMALFORMED, &after);
    CHECK_FLAGGED("E");
}

/* ---- Nothing leaves before it is durable ------------------------------------------------------- */

static void a_term_sent_before_it_is_durable_is_flagged(void)
{
    begin();
    write_state(0, 1, 0, 0);
    raft_message reply = message(RAFT_MESSAGE_HEARTBEAT_REPLY, 0, 1, 1);
    send(&reply, 0);
    CHECK_FLAGGED("I6");
}

static void a_vote_sent_before_it_is_durable_is_flagged(void)
{
    begin();
    write_state(0, 1, 0, 1);
    write_state(0, 1, id_of(1), 0);
    raft_message grant = message(RAFT_MESSAGE_VOTE_REPLY, 0, 1, 1);
    send(&grant, 0);
    CHECK_FLAGGED("I6");
}

static void a_vote_request_before_the_own_vote_is_flagged(void)
{
    begin();
    write_state(0, 1, 0, 1);
    raft_message request = message(RAFT_MESSAGE_VOTE, 0, 1, 1);
    send(&request, 0);
    CHECK_FLAGGED("I6");
}

static void a_vote_request_that_advertises_an_undurable_tail_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 1, 1, NULL, 0);
    world.checker.nodes[0].durable_state.term = 2;
    world.checker.nodes[0].durable_state.vote = id_of(0);
    term_of(&world.checker, 2)->vote_durable[0] = id_of(0);
    raft_message request = message(RAFT_MESSAGE_VOTE, 0, 1, 2);
    request.index = 1;
    request.index_term = 1;
    send(&request, 0);
    CHECK_FLAGGED("I6");
}

static void an_acknowledgement_before_its_entry_is_durable_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 1, 1, NULL, 1);
    write_entry(1, 1, 1, NULL, 0);
    raft_message ack = message(RAFT_MESSAGE_APPEND_REPLY, 1, 0, 1);
    ack.index = 1;
    send(&ack, 1);
    CHECK_FLAGGED("I6");
}

static void an_acknowledgement_of_another_log_is_flagged(void)
{
    begin();
    elect(1, 1);
    write_entry(2, 1, 1, NULL, 1);
    elect(0, 2);
    write_entry(0, 1, 2, NULL, 1);
    raft_message ack = message(RAFT_MESSAGE_APPEND_REPLY, 2, 0, 2);
    ack.index = 1;
    send(&ack, 2);
    CHECK_FLAGGED("I6");
}

static void an_acknowledgement_below_a_promise_is_flagged(void)
{
    begin();
    replicate_one();
    write_state(1, 2, 0, 1);
    raft_message ack = message(RAFT_MESSAGE_APPEND_REPLY, 1, 0, 1);
    ack.index = 2;
    send(&ack, 1);
    CHECK_FLAGGED("I7");
}

static void a_durable_index_beyond_the_disk_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 1, 1, NULL, 0);
    world.status[0].durable_index = 1;
    observe(0);
    CHECK_FLAGGED("V11");
}

static void a_durable_index_over_a_truncation_is_flagged(void)
{
    begin();
    elect(1, 1);
    write_entry(0, 1, 1, NULL, 1);
    elect(2, 2);
    write_entry(0, 1, 2, NULL, 0);
    world.status[0].durable_index = 1;
    observe(0);
    CHECK_FLAGGED("V11");
}

static void a_restart_without_what_was_confirmed_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 1, 1, NULL, 1);
    checker_crashed(&world.checker, 0);
    start(0);
    CHECK_FLAGGED("V21");
}

/* ---- The log ----------------------------------------------------------------------------------- */

static void two_contents_of_an_entry_are_flagged(void)
{
    begin();
    elect(0, 1);
    propose(0, 1, 1, "x");
    write_entry(0, 1, 1, "y", 1);
    CHECK_FLAGGED("I23");
}

static void a_name_proposed_twice_is_flagged(void)
{
    begin();
    elect(0, 1);
    propose(0, 1, 1, "x");
    propose(0, 1, 1, "x");
    CHECK_FLAGGED("I23");
}

static void an_entry_that_nobody_proposed_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 1, 1, "x", 1);
    CHECK_FLAGGED("I3");
}

static void a_proposal_taken_by_a_follower_is_flagged(void)
{
    begin();
    elect(0, 1);
    propose(1, 1, 1, "x");
    CHECK_FLAGGED("I4");
}

static void logs_that_differ_below_an_entry_are_flagged(void)
{
    begin();
    elect(0, 1);
    elect(1, 2);
    elect(2, 3);
    write_entry(0, 1, 1, NULL, 0);
    write_entry(0, 2, 3, NULL, 0);
    write_entry(1, 1, 2, NULL, 0);
    write_entry(1, 2, 3, NULL, 0);
    CHECK_FLAGGED("I12");
}

static void a_gap_in_a_write_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 2, 1, NULL, 1);
    CHECK_FLAGGED("R32");
}

static void an_entry_above_the_written_term_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_entry(1, 1, 2, NULL, 1);
    CHECK_FLAGGED("R4");
}

static void a_leader_that_removes_its_own_entry_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 1, 1, NULL, 1);
    write_entry(0, 1, 1, NULL, 1);
    CHECK_FLAGGED("I15");
}

static void a_chosen_entry_that_is_removed_is_flagged(void)
{
    begin();
    replicate_one();
    raft_write cut = empty_write(1);
    cut.truncate_from = 2;
    checker_wrote(&world.checker, 1, &cut);
    CHECK_FLAGGED("I14");
}

static void a_second_choice_for_an_index_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 1, 1, NULL, 1);
    write_entry(1, 1, 1, NULL, 1);
    CHECK_EQ(world.checker.chosen.count, 1);
    write_state(2, 2, id_of(2), 1);
    write_state(1, 2, id_of(2), 1);
    write_entry(2, 1, 2, NULL, 1);
    term_of(&world.checker, 2)->accepted[0] = 1;
    term_of(&world.checker, 2)->accepted[2] = 0;
    write_state(2, 2, id_of(2), 1);
    CHECK_FLAGGED("I10");
}

static void too_many_writes_outstanding_are_flagged(void)
{
    begin();
    for (raft_term term = 1; term <= RAFT_WRITES_MAX + 1; term++) {
        write_state(0, term, 0, 0);
    }
    CHECK_FLAGGED("I24");
}

/* ---- Messages of leaders ------------------------------------------------------------------------ */

static void a_heartbeat_of_a_pretender_is_flagged(void)
{
    begin();
    elect(0, 1);
    raft_message beat = message(RAFT_MESSAGE_HEARTBEAT, 1, 2, 1);
    send(&beat, 1);
    CHECK_FLAGGED("I4");
}

static void a_commit_index_announced_above_the_own_is_flagged(void)
{
    begin();
    elect(0, 1);
    raft_message beat = message(RAFT_MESSAGE_HEARTBEAT, 0, 2, 1);
    beat.commit = 1;
    send(&beat, 0);
    CHECK_FLAGGED("I11");
}

static void an_append_with_a_gap_is_flagged(void)
{
    begin();
    elect(0, 1);
    uint8_t bytes[256];
    raft_message append = message(RAFT_MESSAGE_APPEND, 0, 1, 1);
    append.ranges[0] = make_range(2, 1, NULL, bytes);
    append.range_count = 1;
    send(&append, 0);
    CHECK_FLAGGED("R32");
}

static void an_append_of_entries_of_another_log_is_flagged(void)
{
    begin();
    elect(1, 1);
    write_entry(1, 1, 1, NULL, 1);
    elect(0, 2);
    write_entry(0, 1, 2, NULL, 1);
    uint8_t bytes[256];
    raft_message append = message(RAFT_MESSAGE_APPEND, 0, 2, 2);
    append.ranges[0] = make_range(1, 1, NULL, bytes);
    append.range_count = 1;
    send(&append, 0);
    CHECK_FLAGGED("R32");
}

static void an_append_above_its_bound_is_flagged(void)
{
    begin();
    elect(0, 1);
    static const char text[] = "thirty-two bytes are in this text";
    uint8_t first[256];
    uint8_t second[256];
    propose(0, 1, 1, text);
    propose(0, 2, 1, text);
    raft_message append = message(RAFT_MESSAGE_APPEND, 0, 1, 1);
    append.ranges[0] = make_range(1, 1, text, first);
    append.ranges[1] = make_range(2, 1, text, second);
    append.range_count = 2;
    send(&append, 0);
    CHECK_FLAGGED("I24");
}

static void a_message_to_oneself_is_flagged(void)
{
    begin();
    raft_message self = message(RAFT_MESSAGE_HEARTBEAT_REPLY, 0, 0, 0);
    send(&self, 0);
    CHECK_FLAGGED("R66");
}

static raft_peer_status peer_status(int node, raft_index match, raft_index next)
{
    raft_peer_status peer;
    memset(&peer, 0, sizeof peer);
    peer.id = id_of(node);
    peer.match = match;
    peer.next = next;
    return peer;
}

static void a_match_beyond_the_peers_disk_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 1, 1, NULL, 1);
    raft_peer_status peer = peer_status(1, 1, 2);
    checker_peer(&world.checker, 0, &peer);
    CHECK_FLAGGED("R28");
}

static void a_match_that_falls_is_flagged(void)
{
    begin();
    replicate_one();
    raft_peer_status peer = peer_status(1, 2, 3);
    checker_peer(&world.checker, 0, &peer);
    peer.match = 1;
    checker_peer(&world.checker, 0, &peer);
    CHECK_FLAGGED("V9");
}

static void a_match_that_reaches_next_is_flagged(void)
{
    begin();
    replicate_one();
    raft_peer_status peer = peer_status(1, 2, 2);
    checker_peer(&world.checker, 0, &peer);
    CHECK_FLAGGED("V9");
}

static void a_window_above_its_bound_is_flagged(void)
{
    begin();
    replicate_one();
    raft_peer_status peer = peer_status(1, 2, 3);
    peer.inflight_messages = 5;
    checker_peer(&world.checker, 0, &peer);
    CHECK_FLAGGED("I24");
}

/* ---- Disks that are lost ----------------------------------------------------------------------- */

/* Nodes 0 and 1 found the group; node 2 is a learner when a leader has said so. */
static void begin_with_a_learner(void)
{
    struct checker_setup setup;
    memset(&setup, 0, sizeof setup);
    setup.founders = 2;
    setup.inflight_messages_max = 4;
    setup.inflight_bytes_max = 1000;
    begin_with(setup);
}

static void lose_the_learner(void)
{
    begin_with_a_learner();
    replicate_one();
    checker_crashed(&world.checker, 2);
    checker_wiped(&world.checker, 2);
    start(2);
}

static void a_learner_that_comes_back_empty_passes(void)
{
    lose_the_learner();
    raft_peer_status peer = peer_status(2, 2, 3);
    checker_peer(&world.checker, 0, &peer); /* the leader has not noticed it yet */
    peer.state = RAFT_PEER_LOST;
    peer.match = 0;
    peer.next = 1;
    checker_peer(&world.checker, 0, &peer);
    raft_event event;
    memset(&event, 0, sizeof event);
    event.kind = RAFT_EVENT_REGRESSION;
    event.peer = id_of(2);
    event.term = 1;
    checker_event(&world.checker, 0, &event);
    CHECK_CLEAN();
}

static void a_voter_that_comes_back_empty_is_flagged(void)
{
    begin();
    replicate_one();
    checker_crashed(&world.checker, 2);
    checker_wiped(&world.checker, 2);
    CHECK_FLAGGED("R48");
}

static void a_server_that_was_switched_off_and_starts_is_flagged(void)
{
    begin();
    replicate_one();
    checker_crashed(&world.checker, 2);
    checker_lost(&world.checker, 2);
    CHECK_CLEAN();
    checker_restarting(&world.checker, 2);
    checker_started(&world.checker, 2);
    CHECK_FLAGGED("R48");
}

static void a_server_that_goes_on_without_its_disk_is_flagged(void)
{
    begin();
    checker_lost(&world.checker, 2);
    CHECK_FLAGGED("R48");
}

static void a_whole_log_taken_for_lost_is_flagged(void)
{
    begin();
    replicate_one();
    raft_peer_status peer = peer_status(1, 0, 1);
    peer.state = RAFT_PEER_LOST;
    checker_peer(&world.checker, 0, &peer);
    CHECK_FLAGGED("R48");
}

static void a_loss_told_of_a_whole_log_is_flagged(void)
{
    begin();
    replicate_one();
    raft_event event;
    memset(&event, 0, sizeof event);
    event.kind = RAFT_EVENT_REGRESSION;
    event.peer = id_of(1);
    event.term = 1;
    checker_event(&world.checker, 0, &event);
    CHECK_FLAGGED("R48");
}

static void an_acknowledgement_of_what_was_lost_is_flagged(void)
{
    lose_the_learner();
    write_state(2, 1, 0, 1);
    raft_message ack = message(RAFT_MESSAGE_APPEND_REPLY, 2, 0, 1);
    ack.index = 2;
    send(&ack, 2);
    CHECK_FLAGGED("I6");
}

/* ---- Commit and apply --------------------------------------------------------------------------- */

static void a_commit_that_no_quorum_holds_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 1, 1, NULL, 1);
    commit(0, 1);
    CHECK_FLAGGED("I11");
}

static void an_old_entry_committed_by_counting_is_flagged(void)
{
    begin();
    replicate_one();
    commit(1, 1);
    elect(1, 2);
    commit(1, 2);
    CHECK_FLAGGED("I13");
}

static void a_commit_index_that_falls_is_flagged(void)
{
    begin();
    replicate_one();
    commit(0, 1);
    CHECK_FLAGGED("I2");
}

static void a_commit_index_above_the_log_is_flagged(void)
{
    begin();
    elect(0, 1);
    commit(0, 1);
    CHECK_FLAGGED("I2");
}

static void another_entry_applied_is_flagged(void)
{
    begin();
    replicate_one();
    apply(1, 1, 2, NULL);
    CHECK_FLAGGED("I1");
}

static void another_content_applied_is_flagged(void)
{
    begin();
    replicate_one();
    apply(1, 1, 1, NULL);
    apply(1, 2, 1, "y");
    CHECK_FLAGGED("I3");
}

static void an_index_left_out_is_flagged(void)
{
    begin();
    replicate_one();
    apply(1, 2, 1, "x");
    CHECK_FLAGGED("I3");
}

static void an_index_applied_twice_is_flagged(void)
{
    begin();
    replicate_one();
    apply(1, 1, 1, NULL);
    apply(1, 1, 1, NULL);
    CHECK_FLAGGED("I3");
}

static void an_apply_before_the_own_disk_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_entry(0, 1, 1, NULL, 1);
    write_entry(1, 1, 1, NULL, 1);
    write_entry(2, 1, 1, NULL, 0);
    apply(2, 1, 1, NULL);
    CHECK_FLAGGED("R5");
}

static void an_apply_ahead_of_the_disk_passes_where_it_is_allowed(void)
{
    struct checker_setup setup;
    memset(&setup, 0, sizeof setup);
    setup.apply_ahead = 1;
    begin_with(setup);
    elect(0, 1);
    write_entry(0, 1, 1, NULL, 1);
    write_entry(1, 1, 1, NULL, 1);
    apply(2, 1, 1, NULL);
    CHECK_CLEAN();
}

static void a_second_apply_outstanding_is_flagged(void)
{
    begin();
    replicate_one();
    uint8_t bytes[256];
    raft_range range = make_range(1, 1, NULL, bytes);
    checker_apply(&world.checker, 0, &range);
    range = make_range(2, 1, "x", bytes);
    checker_apply(&world.checker, 0, &range);
    CHECK_FLAGGED("I3");
}

/* ---- Clients ------------------------------------------------------------------------------------ */

static raft_event dropped(raft_index first, raft_index last, raft_term term, int status)
{
    raft_event event;
    memset(&event, 0, sizeof event);
    event.kind = RAFT_EVENT_DROPPED;
    event.first = first;
    event.last = last;
    event.term = term;
    event.status = status;
    return event;
}

static void a_proposal_called_dropped_too_early_is_flagged(void)
{
    begin();
    elect(0, 1);
    propose(0, 1, 1, "x");
    raft_event event = dropped(1, 1, 1, RAFT_EDROPPED);
    checker_event(&world.checker, 0, &event);
    CHECK_FLAGGED("V18");
}

static void a_proposal_dropped_for_good_passes(void)
{
    begin();
    elect(0, 1);
    propose(0, 1, 1, "x");
    propose(0, 2, 1, "z");
    elect(1, 2);
    write_entry(1, 1, 2, NULL, 1);
    write_entry(2, 1, 2, NULL, 1);
    raft_event event = dropped(1, 2, 1, RAFT_EDROPPED);
    checker_event(&world.checker, 0, &event);
    CHECK_CLEAN();
    CHECK_EQ(world.checker.outcomes[OUTCOME_DROPPED], 2);
}

static void a_dropped_proposal_that_is_applied_is_flagged(void)
{
    begin();
    replicate_one();
    registry_find(&world.checker.registry, 2, 1)->outcome = OUTCOME_DROPPED;
    apply(1, 1, 1, NULL);
    apply(1, 2, 1, "x");
    CHECK_FLAGGED("V18");
}

static void an_outcome_told_twice_is_flagged(void)
{
    begin();
    elect(0, 1);
    propose(0, 1, 1, "x");
    raft_event event = dropped(1, 1, 1, RAFT_EUNKNOWN);
    checker_event(&world.checker, 0, &event);
    CHECK_CLEAN();
    checker_event(&world.checker, 0, &event);
    CHECK_FLAGGED("I29");
}

static void an_outcome_of_a_proposal_never_taken_is_flagged(void)
{
    begin();
    elect(0, 1);
    raft_event event = dropped(1, 1, 1, RAFT_EUNKNOWN);
    checker_event(&world.checker, 0, &event);
    CHECK_FLAGGED("I29");
}

static void a_proposal_without_an_answer_is_flagged(void)
{
    begin();
    elect(0, 1);
    propose(0, 1, 1, "x");
    checker_quiet(&world.checker);
    CHECK_FLAGGED("I29");
}

static void a_write_placed_before_an_acknowledged_one_is_flagged(void)
{
    begin();
    elect(0, 1);
    propose(0, 1, 1, "x");
    world.checker.acknowledged = 2;
    propose(0, 2, 1, "y"); /* began when position 2 had been shown to a client */
    for (int i = 0; i < NODES; i++) {
        write_entry(i, 1, 1, "x", 1);
        write_entry(i, 2, 1, "y", 1);
    }
    apply(0, 1, 1, "x");
    CHECK_CLEAN();
    apply(0, 2, 1, "y");
    CHECK_FLAGGED("I26");
}

static raft_event served(uint64_t tag, raft_index index)
{
    raft_event event;
    memset(&event, 0, sizeof event);
    event.kind = RAFT_EVENT_READ;
    event.tag = tag;
    event.index = index;
    return event;
}

static void a_stale_read_is_flagged(void)
{
    begin();
    replicate_one();
    apply(0, 1, 1, NULL);
    uint64_t tag = checker_read_tag(&world.checker, 0);
    checker_read_begun(&world.checker, tag);
    raft_event event = served(tag, 1);
    checker_event(&world.checker, 0, &event);
    CHECK_FLAGGED("I21");
}

static void a_read_before_its_index_is_applied_is_flagged(void)
{
    begin();
    replicate_one();
    uint64_t tag = checker_read_tag(&world.checker, 0);
    checker_read_begun(&world.checker, tag);
    raft_event event = served(tag, 2);
    checker_event(&world.checker, 0, &event);
    CHECK_FLAGGED("I21");
}

static void a_fresh_read_passes(void)
{
    begin();
    replicate_one();
    apply(0, 1, 1, NULL);
    apply(0, 2, 1, "x");
    uint64_t tag = checker_read_tag(&world.checker, 0);
    checker_read_begun(&world.checker, tag);
    raft_event event = served(tag, 2);
    checker_event(&world.checker, 0, &event);
    CHECK_CLEAN();
    CHECK_EQ(world.checker.reads_answered, 1);
}

static void a_read_answered_twice_is_flagged(void)
{
    begin();
    elect(0, 1);
    uint64_t tag = checker_read_tag(&world.checker, 0);
    checker_read_begun(&world.checker, tag);
    raft_event event = served(tag, 0);
    event.status = RAFT_ENOLEADER;
    checker_event(&world.checker, 0, &event);
    CHECK_CLEAN();
    checker_event(&world.checker, 0, &event);
    CHECK_FLAGGED("I29");
}

static void a_read_without_an_answer_is_flagged(void)
{
    begin();
    elect(0, 1);
    checker_read_begun(&world.checker, checker_read_tag(&world.checker, 0));
    checker_quiet(&world.checker);
    CHECK_FLAGGED("I29");
}

static void too_many_reads_are_flagged(void)
{
    begin();
    world.status[0].reads_pending = 9;
    observe(0);
    CHECK_FLAGGED("I24");
}

static void a_server_left_behind_is_flagged(void)
{
    begin();
    replicate_one();
    for (int i = 0; i < 2; i++) {
        apply(i, 1, 1, NULL);
        apply(i, 2, 1, "x");
    }
    CHECK(!checker_converged(&world.checker));
    checker_quiet(&world.checker);
    CHECK_FLAGGED("V24");
}

static void the_first_violation_is_kept(void)
{
    begin();
    checker_fail(&world.checker, "I99", "number %d", 1);
    checker_fail(&world.checker, "I98", "number %d", 2);
    CHECK_STR(failure(), "I99: number 1");
}

/* ---- Who is bound, and what a lease rests on ---------------------------------------------------- */

/* At this time of its clock node 1 is asked by node 2 for term 2, and grants. */
static void grant_at(uint64_t now_ms, int question, raft_term tag_term, uint64_t tag_round)
{
    int is_vote = question == RAFT_MESSAGE_VOTE;
    raft_message asked = message(question, 2, 1, is_vote ? 2 : 1);
    asked.round = 7;
    asked.asked_term = is_vote ? 0 : 2;
    asked.tag_term = tag_term;
    asked.tag_round = tag_round;
    checker_time(&world.checker, 1, now_ms);
    checker_received(&world.checker, 1, &asked, RAFT_OK, &world.status[1]);
    if (is_vote) {
        write_state(1, 2, id_of(2), 1);
    }
    raft_message grant =
        message(is_vote ? RAFT_MESSAGE_VOTE_REPLY : RAFT_MESSAGE_PRE_VOTE_REPLY, 1, 2, asked.term);
    grant.round = 7;
    grant.asked_term = asked.asked_term;
    send(&grant, 1);
}

/* Node 0 leads; at 1000 ms of its clock node 1 hears a heartbeat. */
static void hear_leader(int flags)
{
    struct checker_setup setup;
    memset(&setup, 0, sizeof setup);
    setup.sticky_ms = 100;
    begin_with(setup);
    elect(0, 1);
    world.status[1].leader = id_of(0);
    observe(1);
    raft_message beat = message(RAFT_MESSAGE_HEARTBEAT, 0, 1, 1);
    beat.flags = flags;
    checker_time(&world.checker, 1, 1000);
    checker_received(&world.checker, 1, &beat, RAFT_OK, &world.status[1]);
}

static void a_grant_by_who_hears_a_leader_is_flagged(void)
{
    static const int questions[] = {RAFT_MESSAGE_PRE_VOTE, RAFT_MESSAGE_VOTE};
    for (int i = 0; i < 2; i++) {
        hear_leader(0);
        grant_at(1099, questions[i], 0, 0);
        CHECK_FLAGGED("R19");
        hear_leader(0);
        grant_at(1100, questions[i], 0, 0);
        CHECK_CLEAN();
        hear_leader(RAFT_FLAG_NO_QUORUM); /* N5 */
        grant_at(1001, questions[i], 0, 0);
        CHECK_CLEAN();
        hear_leader(0);
        checker_contact_ends(&world.checker, 1);
        grant_at(1001, questions[i], 0, 0);
        CHECK_CLEAN();
    }
    hear_leader(0);
    grant_at(1001, RAFT_MESSAGE_VOTE, 1, 1); /* a leader has ordered it */
    CHECK_CLEAN();
}

/* Node 1 has answered round 3 of the leader with a promise until 1050 ms of its clock. */
static void promise(void)
{
    begin();
    elect(0, 1);
    raft_message reply = message(RAFT_MESSAGE_HEARTBEAT_REPLY, 1, 0, 1);
    reply.round = 3;
    reply.credit_ms = 50;
    send(&reply, 1);
    world.status[1].promised_until_ms = 1050;
    observe(1);
}

static void a_grant_against_a_promise_is_flagged(void)
{
    promise();
    grant_at(1049, RAFT_MESSAGE_VOTE, 0, 0);
    CHECK_FLAGGED("R50");
    promise();
    grant_at(1049, RAFT_MESSAGE_PRE_VOTE, 0, 0);
    CHECK_FLAGGED("R50");
    promise();
    grant_at(1050, RAFT_MESSAGE_VOTE, 0, 0);
    CHECK_CLEAN();
}

static void an_order_older_than_a_promise_is_flagged(void)
{
    promise();
    grant_at(1049, RAFT_MESSAGE_VOTE, 1, 2);
    CHECK_FLAGGED("R50");
    promise();
    grant_at(1049, RAFT_MESSAGE_VOTE, 1, 3);
    CHECK_CLEAN();
}

static void a_lease_before_the_first_choice_is_flagged(void)
{
    begin();
    elect(0, 1);
    checker_lease(&world.checker, 0, 0);
    CHECK_FLAGGED("R50");
}

static void a_lease_that_no_quorum_has_promised_is_flagged(void)
{
    for (int promised = 0; promised < 2; promised++) {
        begin();
        replicate_one();
        world.status[1].promised_until_ms = promised ? 1001 : 1000;
        for (int i = 0; i < NODES; i++) {
            checker_time(&world.checker, i, 1000);
            observe(i);
        }
        checker_lease(&world.checker, 0, 0);
        CHECK_CLEAN();
        checker_lease(&world.checker, 0, 1);
        if (promised) {
            CHECK_CLEAN();
        } else {
            CHECK_FLAGGED("R50");
        }
    }
}

/* ---- Memberships ------------------------------------------------------------------------------- */

static void a_commit_within_one_failure_zone_is_flagged(void)
{
    for (int other = 1; other < NODES; other++) { /* 0 and 2 are in one zone, 1 in another */
        struct checker_setup setup;
        memset(&setup, 0, sizeof setup);
        setup.zones = 1;
        begin_with(setup);
        elect(0, 1);
        write_entry(0, 1, 1, NULL, 1);
        write_entry(other, 1, 1, NULL, 1);
        observe(0);
        commit(0, 1);
        if (other == 2) {
            CHECK_FLAGGED("R57");
        } else {
            CHECK_CLEAN();
        }
    }
}

/* Only members of the set; the next version. */
static void change_members(int leader, unsigned set)
{
    raft_member members[NODES];
    raft_membership membership;
    memset(members, 0, sizeof members);
    memset(&membership, 0, sizeof membership);
    membership.members = members;
    for (int i = 0; i < NODES; i++) {
        if ((set >> i & 1) != 0) {
            members[membership.member_count++].id = id_of(i);
        }
    }
    membership.version = ++world.status[leader].membership_version;
    checker_membership(&world.checker, leader, &world.status[leader], &membership);
}

static void an_answer_from_before_a_membership_is_flagged(void)
{
    for (uint64_t round = 5; round < 7; round++) {
        begin();
        replicate_one();
        raft_message beat = message(RAFT_MESSAGE_HEARTBEAT, 0, 1, 1);
        beat.round = 5;
        send(&beat, 0);
        change_members(0, 5);
        change_members(0, 7);
        raft_message reply = message(RAFT_MESSAGE_APPEND_REPLY, 1, 0, 1);
        reply.round = round;
        reply.index = 2;
        checker_received(&world.checker, 0, &reply, RAFT_OK, &world.status[0]);
        raft_peer_status peer;
        memset(&peer, 0, sizeof peer);
        peer.id = id_of(1);
        peer.match = 2;
        peer.next = 3;
        checker_peer(&world.checker, 0, &peer);
        if (round == 5) {
            CHECK_FLAGGED("R28");
        } else {
            CHECK_CLEAN();
        }
    }
}

static void an_order_to_who_lacks_entries_is_flagged(void)
{
    begin();
    replicate_one();
    observe(0);
    raft_message order = message(RAFT_MESSAGE_TRANSFER, 0, 1, 1);
    order.tag_term = 1;
    order.tag_round = 1;
    send(&order, 0);
    CHECK_FLAGGED("R53");
}

/* ---- Entries that are pulled ------------------------------------------------------------------- */

static void an_acknowledged_entry_removed_in_its_term_is_flagged(void)
{
    for (raft_term term = 1; term < 3; term++) {
        begin();
        elect(0, 1);
        write_entry(0, 1, 1, NULL, 0);
        write_entry(1, 1, 1, NULL, 1);
        raft_message reply = message(RAFT_MESSAGE_APPEND_REPLY, 1, 0, 1);
        reply.index = 1;
        send(&reply, 1);
        if (term > 1) {
            write_state(1, term, 0, 1);
        }
        raft_write cut = empty_write(1);
        cut.truncate_from = 1;
        checker_wrote(&world.checker, 1, &cut);
        if (term == 1) {
            CHECK_FLAGGED("N7");
        } else {
            CHECK_CLEAN();
        }
    }
}

/* ---- Memberships ------------------------------------------------------------------------------- */

static raft_range make_config(raft_index index, raft_term term, uint8_t out[256])
{
    raft_entry entry = {index, term, "members", 7, RAFT_ENTRY_CONFIG};
    raft_range range = {index, term, 1, raft_entry_size(7), out};
    CHECK_EQ(raft_entry_encode(&entry, out, 256), RAFT_OK);
    return range;
}

static void write_config(int node, raft_index index, raft_term term)
{
    uint8_t bytes[256];
    raft_range range = make_config(index, term, bytes);
    raft_write write = empty_write(node);
    write.ranges = &range;
    write.range_count = 1;
    checker_wrote(&world.checker, node, &write);
    checker_durable(&world.checker, node, write.seq);
}

static void a_second_change_before_the_first_is_chosen_is_flagged(void)
{
    begin();
    replicate_one();
    write_config(0, 3, 1);
    CHECK_CLEAN();
    write_config(0, 4, 1);
    CHECK_FLAGGED("I17");
}

static void a_change_before_an_own_entry_is_chosen_is_flagged(void)
{
    begin();
    elect(0, 1);
    write_config(0, 1, 1);
    CHECK_FLAGGED("R42");
}

static void another_membership_than_the_newest_that_governs_is_flagged(void)
{
    begin();
    replicate_one();
    world.status[0].durable_index = 2;
    world.status[0].membership_version = 1;
    observe(0);
    CHECK_FLAGGED("I17");
}

static void a_member_that_nobody_asked_for_is_flagged(void)
{
    raft_member stranger;
    raft_membership membership;
    memset(&stranger, 0, sizeof stranger);
    stranger.id = 99;
    raft_membership_init(&membership);
    membership.members = &stranger;
    membership.member_count = 1;
    begin();
    checker_membership(&world.checker, 0, &world.status[0], &membership);
    CHECK_FLAGGED("R45");
}

/* ---- Witnesses --------------------------------------------------------------------------------- */

static void begin_with_witness(int node)
{
    struct checker_setup setup;
    memset(&setup, 0, sizeof setup);
    setup.witnesses = (uint32_t)1 << node;
    begin_with(setup);
}

static void send_append(int to, raft_range range)
{
    raft_message append = message(RAFT_MESSAGE_APPEND, 0, to, 1);
    append.ranges[0] = range;
    append.range_count = 1;
    send(&append, 0);
}

/* The header of the entry at index 1. */
static raft_range make_header(uint8_t out[256])
{
    raft_entry entry = {1, 1, NULL, 0, RAFT_ENTRY_STRIPPED};
    raft_range range = {1, 1, 1, raft_entry_size(0), out};
    CHECK_EQ(raft_entry_encode(&entry, out, 256), RAFT_OK);
    return range;
}

static void a_witness_that_leads_is_flagged(void)
{
    begin_with_witness(0);
    elect(0, 1);
    CHECK_FLAGGED("I18");
}

static void a_payload_for_a_witness_is_flagged(void)
{
    uint8_t bytes[256];
    begin_with_witness(2);
    elect(0, 1);
    propose(0, 1, 1, "x");
    write_entry(0, 1, 1, "x", 1);
    send_append(2, make_range(1, 1, "x", bytes));
    CHECK_FLAGGED("R56");
}

static void a_header_for_who_keeps_payloads_is_flagged(void)
{
    uint8_t bytes[256];
    begin_with_witness(2);
    elect(0, 1);
    propose(0, 1, 1, "x");
    write_entry(0, 1, 1, "x", 1);
    send_append(1, make_header(bytes));
    CHECK_FLAGGED("R56");
}

static void a_header_of_what_a_quorum_holds_passes(void)
{
    uint8_t bytes[256];
    begin_with_witness(2);
    elect(0, 1);
    propose(0, 1, 1, "x");
    write_entry(0, 1, 1, "x", 1);
    send_append(2, make_header(bytes));
    CHECK_CLEAN();
}

static void a_header_of_what_could_be_lost_is_flagged(void)
{
    uint8_t bytes[256];
    begin_with_witness(2);
    elect(0, 1);
    propose(0, 1, 1, "x");
    write_entry(0, 1, 1, "x", 0);
    send_append(2, make_header(bytes));
    CHECK_FLAGGED("R56");
}

/* ---- Snapshots --------------------------------------------------------------------------------- */

static int persist_nothing(void *host, const raft_write *write)
{
    (void)host;
    (void)write;
    return RAFT_OK;
}

static void send_nothing(void *host, const raft_message *it)
{
    (void)host;
    (void)it;
}

static int apply_nothing(void *host, const raft_range *range)
{
    (void)host;
    (void)range;
    return RAFT_OK;
}

/* Metadata as an engine makes it, of a snapshot at 2/1. Its size. */
static size_t make_meta(uint8_t meta[RAFT_META_MAX])
{
    raft *node = NULL;
    size_t size = 0;
    raft_member member;
    raft_membership membership;
    raft_options options;
    raft_callbacks callbacks;
    memset(&member, 0, sizeof member);
    member.id = id_of(0);
    raft_membership_init(&membership);
    membership.members = &member;
    membership.member_count = 1;
    raft_options_init(&options);
    options.id = id_of(0);
    raft_callbacks_init(&callbacks);
    callbacks.persist = persist_nothing;
    callbacks.send = send_nothing;
    callbacks.apply = apply_nothing;
    CHECK_EQ(raft_new(&options, &callbacks, NULL, &node), RAFT_OK);
    CHECK_EQ(raft_bootstrap_at(node, &membership, 0), RAFT_OK);
    CHECK_EQ(raft_start(node, 0), RAFT_OK);
    CHECK_EQ(raft_poll(node, 1), RAFT_OK);
    CHECK_EQ(raft_campaign(node), RAFT_OK);
    CHECK_EQ(raft_poll(node, 2), RAFT_OK);
    CHECK_EQ(raft_poll(node, 3), RAFT_OK);
    CHECK_EQ(raft_propose(node, "x", 1, NULL, NULL), RAFT_OK);
    CHECK_EQ(raft_poll(node, 4), RAFT_OK);
    CHECK_EQ(raft_snapshot_meta(node, meta, RAFT_META_MAX, &size), RAFT_OK);
    raft_free(node);
    return size;
}

static void install(int node, raft_index base_index)
{
    uint8_t meta[RAFT_META_MAX];
    raft_write write = empty_write(node);
    write.meta_size = make_meta(meta);
    write.meta = meta;
    write.base_index = base_index;
    write.base_term = 1;
    checker_wrote(&world.checker, node, &write);
}

static void a_snapshot_that_takes_the_place_of_a_shorter_log_passes(void)
{
    begin();
    elect(0, 1);
    propose(0, 2, 1, "x");
    for (int i = 0; i < 2; i++) {
        write_entry(i, 1, 1, NULL, 1);
        write_entry(i, 2, 1, "x", 1);
    }
    install(2, 2);
    CHECK_CLEAN();
}

static void a_snapshot_of_what_is_not_chosen_is_flagged(void)
{
    begin();
    elect(0, 1);
    install(1, 2);
    CHECK_FLAGGED("I19");
}

static void a_snapshot_installed_under_another_index_is_flagged(void)
{
    begin();
    replicate_one();
    install(1, 1);
    CHECK_FLAGGED("I19");
}

static void a_snapshot_installed_below_the_commit_index_is_flagged(void)
{
    begin();
    replicate_one();
    commit(1, 2);
    install(1, 2);
    CHECK_FLAGGED("R35");
}

static void a_snapshot_installed_over_a_log_that_holds_it_is_flagged(void)
{
    begin();
    replicate_one();
    propose(0, 3, 1, "y");
    write_entry(1, 3, 1, "y", 1);
    install(1, 2);
    CHECK_FLAGGED("V20");
}

static void a_log_restored_from_nowhere_is_flagged(void)
{
    uint8_t bytes[256];
    begin();
    replicate_one();
    raft_range range = make_range(5, 1, NULL, bytes);
    raft_write write;
    memset(&write, 0, sizeof write);
    write.ranges = &range;
    write.range_count = 1;
    checker_crashed(&world.checker, 1);
    checker_restarting(&world.checker, 1);
    checker_restored(&world.checker, 1, &write);
    CHECK_FLAGGED("V21");
}

static raft_message piece(void)
{
    raft_message it = message(RAFT_MESSAGE_SNAPSHOT, 0, 1, 1);
    it.index = 2;
    it.index_term = 1;
    return it;
}

static uint64_t chosen_chain(raft_index index)
{
    return chain_at(&world.checker.chosen, index);
}

static void a_snapshot_sent_that_was_never_taken_is_flagged(void)
{
    begin();
    replicate_one();
    raft_message it = piece();
    send(&it, 0);
    CHECK_FLAGGED("I20");
}

static void a_snapshot_sent_below_a_promise_is_flagged(void)
{
    begin();
    replicate_one();
    checker_snapshot(&world.checker, 0, 2, chosen_chain(2));
    raft_message it = piece();
    send(&it, 0);
    CHECK_CLEAN();
    write_state(0, 2, 0, 1);
    send(&it, 0);
    CHECK_FLAGGED("I7");
}

static void a_snapshot_of_another_state_is_flagged(void)
{
    begin();
    replicate_one();
    checker_snapshot(&world.checker, 0, 2, chosen_chain(1));
    CHECK_FLAGGED("I19");
}

static void a_snapshot_beyond_the_commit_index_is_flagged(void)
{
    begin();
    replicate_one();
    world.status[1].snapshot_index = 2;
    observe(1);
    CHECK_FLAGGED("I20");
}

static void a_snapshot_index_that_falls_is_flagged(void)
{
    begin();
    replicate_one();
    world.status[1].snapshot_index = 2;
    commit(1, 2);
    CHECK_CLEAN();
    world.status[1].snapshot_index = 1;
    observe(1);
    CHECK_FLAGGED("I20");
}

static void a_snapshot_loaded_that_is_not_in_use_is_flagged(void)
{
    begin();
    replicate_one();
    checker_load(&world.checker, 1, 2, 1);
    CHECK_FLAGGED("I19");
}

static void a_snapshot_loaded_before_it_is_durable_is_flagged(void)
{
    begin();
    replicate_one();
    world.status[1].snapshot_index = 2;
    commit(1, 2);
    checker_load(&world.checker, 1, 2, 1);
    CHECK_FLAGGED("R35");
}

static void a_load_while_an_apply_is_outstanding_is_flagged(void)
{
    uint8_t bytes[256];
    begin();
    replicate_one();
    raft_range range = make_range(1, 1, NULL, bytes);
    checker_apply(&world.checker, 1, &range);
    checker_load(&world.checker, 1, 2, 1);
    CHECK_FLAGGED("I3");
}

static void another_state_loaded_is_flagged(void)
{
    begin();
    replicate_one();
    checker_loaded(&world.checker, 1, 2, chosen_chain(1));
    CHECK_FLAGGED("I19");
}

/* ---- Proposals of others ----------------------------------------------------------------------- */

#define FORWARDED       "abcdefgh"
#define FORWARDED_VALUE UINT64_C(0x6867666564636261)

/* Node 1 hands a proposal to node 0, which leads. Its tag. */
static uint64_t hand_on(void)
{
    begin();
    elect(0, 1);
    uint64_t tag = checker_forward_tag(&world.checker, 1, FORWARDED_VALUE);
    checker_forward_begun(&world.checker, tag);
    return tag;
}

static void answer_forwarded(uint64_t tag, int status, raft_index index)
{
    raft_event event;
    memset(&event, 0, sizeof event);
    event.kind = RAFT_EVENT_FORWARDED;
    event.tag = tag;
    event.status = status;
    event.index = index;
    event.term = 1;
    checker_event(&world.checker, 1, &event);
}

static void a_forwarded_proposal_with_a_true_answer_passes(void)
{
    uint64_t tag = hand_on();
    write_entry(0, 1, 1, FORWARDED, 1);
    answer_forwarded(tag, RAFT_OK, 1);
    CHECK_CLEAN();
}

static void a_forwarded_proposal_appended_twice_is_flagged(void)
{
    hand_on();
    write_entry(0, 1, 1, FORWARDED, 1);
    CHECK_CLEAN();
    write_entry(0, 2, 1, FORWARDED, 1);
    CHECK_FLAGGED("V18");
}

static void a_forwarded_proposal_told_under_another_index_is_flagged(void)
{
    uint64_t tag = hand_on();
    write_entry(0, 1, 1, FORWARDED, 1);
    answer_forwarded(tag, RAFT_OK, 2);
    CHECK_FLAGGED("V18");
}

static void a_forwarded_proposal_told_dropped_that_was_appended_is_flagged(void)
{
    uint64_t tag = hand_on();
    write_entry(0, 1, 1, FORWARDED, 1);
    answer_forwarded(tag, RAFT_EDROPPED, 0);
    CHECK_FLAGGED("V18");
}

static void a_forwarded_proposal_appended_after_it_was_told_dropped_is_flagged(void)
{
    uint64_t tag = hand_on();
    answer_forwarded(tag, RAFT_EDROPPED, 0);
    CHECK_CLEAN();
    write_entry(0, 1, 1, FORWARDED, 1);
    CHECK_FLAGGED("V18");
}

static void a_forwarded_proposal_answered_twice_is_flagged(void)
{
    uint64_t tag = hand_on();
    answer_forwarded(tag, RAFT_EUNKNOWN, 0);
    CHECK_CLEAN();
    answer_forwarded(tag, RAFT_EUNKNOWN, 0);
    CHECK_FLAGGED("I29");
}

static void a_forwarded_proposal_without_an_answer_is_flagged(void)
{
    hand_on();
    checker_quiet(&world.checker);
    CHECK_FLAGGED("I29");
}

/* What was forwarded to a leader and never written is not known by any entry. */
static void forwarded_proposals_dropped_before_they_are_written_pass(void)
{
    raft_event event;
    begin();
    elect(0, 1);
    for (uint64_t value = 1; value <= 3; value++) {
        checker_forward_begun(&world.checker, checker_forward_tag(&world.checker, 0, value));
    }
    memset(&event, 0, sizeof event);
    event.kind = RAFT_EVENT_DROPPED;
    event.status = RAFT_EUNKNOWN;
    event.term = 1;
    event.first = 1;
    event.last = 3;
    checker_event(&world.checker, 0, &event);
    CHECK_CLEAN();
}

/* ---- Shapes and bounds ------------------------------------------------------------------------- */

static void a_range_that_says_more_than_it_holds_is_flagged(void)
{
    uint8_t bytes[256];
    begin();
    elect(0, 1);
    raft_range range = make_range(1, 1, NULL, bytes);
    raft_write write = empty_write(0);
    range.count = 2;
    write.ranges = &range;
    write.range_count = 1;
    checker_wrote(&world.checker, 0, &write);
    CHECK_FLAGGED("R32");
}

static void an_applied_range_that_says_more_than_it_holds_is_flagged(void)
{
    uint8_t bytes[256];
    begin();
    replicate_one();
    raft_range range = make_range(1, 1, NULL, bytes);
    range.count = 2;
    checker_apply(&world.checker, 0, &range);
    CHECK_FLAGGED("I3");
}

static void too_much_applied_at_once_is_flagged(void)
{
    static const char text[] = "thirty-two bytes are in this text";
    uint8_t bytes[256];
    uint8_t second[256];
    begin();
    elect(0, 1);
    for (raft_index index = 1; index <= 2; index++) {
        propose(0, index, 1, text);
        for (int i = 0; i < NODES; i++) {
            write_entry(i, index, 1, text, 1);
        }
    }
    commit(0, 2);
    raft_range range = make_range(1, 1, text, bytes);
    raft_range next = make_range(2, 1, text, second);
    memcpy(bytes + range.size, second, next.size);
    range.size += next.size;
    range.count = 2;
    checker_apply(&world.checker, 0, &range);
    CHECK_FLAGGED("I24");
}

static void a_log_in_memory_above_its_bound_is_flagged(void)
{
    struct checker_setup setup;
    memset(&setup, 0, sizeof setup);
    setup.log_bytes_max = 1000;
    begin_with(setup);
    world.status[0].log_bytes = 10000000;
    observe(0);
    CHECK_FLAGGED("I24");
}

static void a_message_of_no_kind_is_flagged(void)
{
    begin();
    elect(0, 1);
    raft_message it = message(99, 0, 1, 1);
    send(&it, 0);
    CHECK_FLAGGED("R66");
}

static void an_order_with_another_tag_is_flagged(void)
{
    begin();
    elect(0, 1);
    raft_message order = message(RAFT_MESSAGE_TRANSFER, 0, 1, 1);
    order.tag_term = 2;
    send(&order, 0);
    CHECK_FLAGGED("R53");
}

static void what_is_pulled_before_it_is_durable_is_flagged(void)
{
    uint8_t bytes[256];
    begin();
    elect(0, 1);
    write_entry(1, 1, 1, NULL, 0);
    raft_message reply = message(RAFT_MESSAGE_PULL_REPLY, 1, 0, 1);
    reply.ranges[0] = make_range(1, 1, NULL, bytes);
    reply.range_count = 1;
    send(&reply, 1);
    CHECK_FLAGGED("I6");
}

static void a_lease_beside_a_newer_leader_is_flagged(void)
{
    begin();
    replicate_one();
    for (int i = 1; i < NODES; i++) {
        write_state(i, 2, id_of(1), 1);
        observe(i);
    }
    become(1, RAFT_ROLE_LEADER);
    CHECK_CLEAN();
    checker_lease(&world.checker, 0, 1);
    CHECK_FLAGGED("V16");
}

static void a_dropped_range_that_cannot_be_is_flagged(void)
{
    begin();
    replicate_one();
    raft_event event;
    memset(&event, 0, sizeof event);
    event.kind = RAFT_EVENT_DROPPED;
    event.term = 1;
    event.first = 3;
    event.last = 2;
    checker_event(&world.checker, 0, &event);
    CHECK_FLAGGED("I29");
}

/* ---- Multi-Paxos ------------------------------------------------------------------------------- */

/* A term of the founder at that position (P1). */
static raft_term ballot(uint64_t round, int owner)
{
    return (raft_term)(round << 16) | (raft_term)(owner + 1);
}

static void begin_paxos(void)
{
    struct checker_setup setup;
    memset(&setup, 0, sizeof setup);
    setup.paxos = 1;
    begin_with(setup);
}

static void write_round(int node, raft_term term, int owner, raft_term accepted)
{
    raft_write write = empty_write(node);
    write.has_state = 1;
    write.state.term = term;
    write.state.vote = id_of(owner);
    write.state.accepted_round = accepted;
    checker_wrote(&world.checker, node, &write);
    checker_durable(&world.checker, node, write.seq);
    world.status[node].term = term;
    world.status[node].vote = id_of(owner);
}

static raft_term accepted_by_node(int node)
{
    return world.checker.nodes[node].issued_state.accepted_round;
}

/* All promise the term to its owner. */
static void prepare(raft_term term, int owner)
{
    for (int i = 0; i < NODES; i++) {
        world.status[i].role = i == owner ? RAFT_ROLE_CANDIDATE : RAFT_ROLE_FOLLOWER;
        write_round(i, term, owner, accepted_by_node(i));
        observe(i);
    }
}

static void lead_by_promises(raft_term term, int owner)
{
    prepare(term, owner);
    write_round(owner, term, owner, term);
    become(owner, RAFT_ROLE_LEADER);
}

/* Node 0 has led, and one entry is chosen by it and by node 1. */
static void choose_one(void)
{
    raft_term term = ballot(1, 0);
    begin_paxos();
    lead_by_promises(term, 0);
    write_round(1, term, 0, term);
    propose(0, 1, term, "x");
    write_entry(0, 1, term, "x", 1);
    write_entry(1, 1, term, "x", 1);
}

static void an_honest_history_of_multipaxos_passes(void)
{
    choose_one();
    CHECK_EQ(world.checker.chosen.count, 1);
    commit(0, 1);
    lead_by_promises(ballot(2, 1), 1); /* its log is the best one */
    write_entry(2, 1, ballot(1, 0), "x", 1);
    write_round(2, ballot(2, 1), 1, ballot(2, 1));
    commit(1, 1);
    CHECK_CLEAN();
}

/* Both hold the entry, but only one of them has accepted the term (P7). */
static void a_commit_of_what_was_not_accepted_is_flagged(void)
{
    raft_term term = ballot(1, 0);
    begin_paxos();
    lead_by_promises(term, 0);
    propose(0, 1, term, "x");
    write_entry(0, 1, term, "x", 1);
    write_entry(1, 1, term, "x", 1);
    commit(0, 1);
    CHECK_FLAGGED("I11");
}

static void a_term_led_by_another_than_its_owner_is_flagged(void)
{
    begin_paxos();
    lead_by_promises(ballot(1, 0), 1);
    CHECK_FLAGGED("I5");
}

static void a_slot_that_two_servers_use_is_flagged(void)
{
    begin_paxos();
    for (int i = 0; i < 2; i++) {
        raft_term term = (raft_term)(i + 1) << 16 | 9;
        write_round(i, term, i, 0);
        raft_message request = message(RAFT_MESSAGE_VOTE, i, 2, term);
        send(&request, i);
    }
    CHECK_FLAGGED("I5");
}

/* The third server comes by a membership that is not chosen yet (P10, P18). */
static void a_slot_of_a_membership_that_may_be_dropped_is_flagged(void)
{
    struct checker_setup setup;
    memset(&setup, 0, sizeof setup);
    setup.paxos = 1;
    setup.founders = 2;
    begin_with(setup);
    write_round(2, ballot(1, 2), 2, 0);
    raft_message request = message(RAFT_MESSAGE_VOTE, 2, 0, ballot(1, 2));
    send(&request, 2);
    CHECK_FLAGGED("P18");
}

static void an_accepted_round_that_falls_is_flagged(void)
{
    begin_paxos();
    lead_by_promises(ballot(1, 0), 0);
    write_round(0, ballot(2, 0), 0, 0);
    CHECK_FLAGGED("I8");
}

static void an_accepted_round_above_the_term_is_flagged(void)
{
    begin_paxos();
    write_round(0, ballot(1, 0), 0, ballot(2, 0));
    CHECK_FLAGGED("I8");
}

static void an_accepted_round_in_raft_is_flagged(void)
{
    begin();
    write_round(0, 1, 0, 1);
    CHECK_FLAGGED("I8");
}

static void a_term_accepted_before_anybody_leads_it_is_flagged(void)
{
    begin_paxos();
    prepare(ballot(1, 0), 0);
    write_round(1, ballot(1, 0), 0, ballot(1, 0));
    CHECK_FLAGGED("I9");
}

static void a_term_accepted_without_what_its_leader_adopted_is_flagged(void)
{
    choose_one();
    lead_by_promises(ballot(2, 1), 1);
    write_round(2, ballot(2, 1), 1, ballot(2, 1));
    CHECK_FLAGGED("I9");
}

/* Node 2 has an entry of a leader that nobody else heard, and keeps it. */
static void a_term_accepted_over_a_stale_tail_is_flagged(void)
{
    raft_term stale = ballot(1, 2);
    begin_paxos();
    lead_by_promises(stale, 2);
    propose(2, 1, stale, "stale");
    write_entry(2, 1, stale, "stale", 1);
    lead_by_promises(ballot(2, 1), 1);
    CHECK_CLEAN();
    write_round(2, ballot(2, 1), 1, ballot(2, 1));
    CHECK_FLAGGED("I9");
}

static void a_leader_that_has_not_accepted_its_own_term_is_flagged(void)
{
    begin_paxos();
    prepare(ballot(1, 0), 0);
    become(0, RAFT_ROLE_LEADER);
    CHECK_FLAGGED("P5");
}

static void a_leader_that_did_not_adopt_what_is_chosen_is_flagged(void)
{
    choose_one();
    lead_by_promises(ballot(2, 2), 2);
    CHECK_FLAGGED("I10");
}

/* Node 1 promises the term to node 2. */
static raft_message promise_of_one(raft_index index, raft_term accepted)
{
    raft_term term = ballot(2, 2);
    choose_one();
    write_round(1, term, 2, accepted_by_node(1));
    raft_message promise = message(RAFT_MESSAGE_VOTE_REPLY, 1, 2, term);
    promise.index = index;
    promise.index_term = index == 0 ? 0 : ballot(1, 0);
    promise.accepted_round = accepted;
    return promise;
}

static void an_honest_promise_passes(void)
{
    raft_message promise = promise_of_one(1, ballot(1, 0));
    send(&promise, 1);
    CHECK_CLEAN();
}

static void a_promise_that_hides_what_was_accepted_is_flagged(void)
{
    raft_message promise = promise_of_one(1, 0);
    send(&promise, 1);
    CHECK_FLAGGED("I6");
}

static void a_promise_with_an_undurable_entry_is_flagged(void)
{
    raft_message promise = promise_of_one(2, ballot(1, 0));
    send(&promise, 1);
    CHECK_FLAGGED("I6");
}

static void a_promise_with_a_commit_that_is_not_chosen_is_flagged(void)
{
    raft_message promise = promise_of_one(1, ballot(1, 0));
    promise.commit = 2;
    send(&promise, 1);
    CHECK_FLAGGED("I11");
}

static void an_acknowledgement_that_counts_before_the_round_is_durable_is_flagged(void)
{
    raft_term term = ballot(1, 0);
    begin_paxos();
    lead_by_promises(term, 0);
    raft_message ack = message(RAFT_MESSAGE_APPEND_REPLY, 1, 0, term);
    ack.flags = RAFT_FLAG_ACCEPTED;
    send(&ack, 1);
    CHECK_FLAGGED("I6");
}

/* By the leader alone, P10: it was elected, but nobody else has accepted its term yet. */
static void a_membership_changed_before_the_term_is_accepted_is_flagged(void)
{
    raft_member members[2];
    raft_membership membership;
    begin_paxos();
    lead_by_promises(ballot(1, 0), 0);
    memset(members, 0, sizeof members);
    members[0].id = id_of(0);
    members[1].id = id_of(1);
    raft_membership_init(&membership);
    membership.members = members;
    membership.member_count = 2;
    membership.version = 1;
    checker_membership(&world.checker, 0, &world.status[0], &membership);
    CHECK_FLAGGED("P10");
}

static void a_leaders_snapshot_from_one_that_promised_nobody_is_flagged(void)
{
    choose_one();
    checker_snapshot(&world.checker, 1, 1, world.checker.chosen.links[0].chain);
    raft_message piece = message(RAFT_MESSAGE_SNAPSHOT, 1, 2, ballot(1, 0));
    piece.index = 1;
    piece.index_term = ballot(1, 0);
    send(&piece, 1);
    CHECK_FLAGGED("I4");
}

int main(void)
{
    RUN(an_honest_history_passes);
    RUN(an_unchosen_entry_may_be_overwritten);
    RUN(an_unconfirmed_write_may_be_lost_or_torn);
    RUN(a_leader_elected_late_owes_nothing_to_later_terms);
    RUN(two_leaders_of_a_term_are_flagged);
    RUN(leading_a_term_again_is_flagged);
    RUN(a_leader_without_votes_is_flagged);
    RUN(a_leader_that_lacks_a_chosen_entry_is_flagged);
    RUN(a_second_vote_in_a_term_is_flagged);
    RUN(an_erased_vote_is_flagged);
    RUN(a_falling_term_on_disk_is_flagged);
    RUN(a_falling_term_in_memory_is_flagged);
    RUN(terms_without_end_are_flagged);
    RUN(a_pre_vote_that_changes_its_receiver_is_flagged);
    RUN(a_pre_vote_for_another_term_is_flagged);
    RUN(a_vote_for_a_worse_log_is_flagged);
    RUN(a_pre_vote_for_a_worse_log_is_flagged);
    RUN(an_append_of_an_old_term_that_is_accepted_is_flagged);
    RUN(a_refused_message_that_changes_its_receiver_is_flagged);
    RUN(a_term_sent_before_it_is_durable_is_flagged);
    RUN(a_vote_sent_before_it_is_durable_is_flagged);
    RUN(a_vote_request_before_the_own_vote_is_flagged);
    RUN(a_vote_request_that_advertises_an_undurable_tail_is_flagged);
    RUN(an_acknowledgement_before_its_entry_is_durable_is_flagged);
    RUN(an_acknowledgement_of_another_log_is_flagged);
    RUN(an_acknowledgement_below_a_promise_is_flagged);
    RUN(a_durable_index_beyond_the_disk_is_flagged);
    RUN(a_durable_index_over_a_truncation_is_flagged);
    RUN(a_restart_without_what_was_confirmed_is_flagged);
    RUN(two_contents_of_an_entry_are_flagged);
    RUN(a_name_proposed_twice_is_flagged);
    RUN(an_entry_that_nobody_proposed_is_flagged);
    RUN(a_proposal_taken_by_a_follower_is_flagged);
    RUN(logs_that_differ_below_an_entry_are_flagged);
    RUN(a_gap_in_a_write_is_flagged);
    RUN(an_entry_above_the_written_term_is_flagged);
    RUN(a_leader_that_removes_its_own_entry_is_flagged);
    RUN(a_chosen_entry_that_is_removed_is_flagged);
    RUN(a_second_choice_for_an_index_is_flagged);
    RUN(too_many_writes_outstanding_are_flagged);
    RUN(a_heartbeat_of_a_pretender_is_flagged);
    RUN(a_commit_index_announced_above_the_own_is_flagged);
    RUN(an_append_with_a_gap_is_flagged);
    RUN(an_append_of_entries_of_another_log_is_flagged);
    RUN(an_append_above_its_bound_is_flagged);
    RUN(a_message_to_oneself_is_flagged);
    RUN(a_match_beyond_the_peers_disk_is_flagged);
    RUN(a_match_that_falls_is_flagged);
    RUN(a_match_that_reaches_next_is_flagged);
    RUN(a_window_above_its_bound_is_flagged);
    RUN(a_learner_that_comes_back_empty_passes);
    RUN(a_voter_that_comes_back_empty_is_flagged);
    RUN(a_server_that_was_switched_off_and_starts_is_flagged);
    RUN(a_server_that_goes_on_without_its_disk_is_flagged);
    RUN(a_whole_log_taken_for_lost_is_flagged);
    RUN(a_loss_told_of_a_whole_log_is_flagged);
    RUN(an_acknowledgement_of_what_was_lost_is_flagged);
    RUN(a_commit_that_no_quorum_holds_is_flagged);
    RUN(an_old_entry_committed_by_counting_is_flagged);
    RUN(a_commit_index_that_falls_is_flagged);
    RUN(a_commit_index_above_the_log_is_flagged);
    RUN(another_entry_applied_is_flagged);
    RUN(another_content_applied_is_flagged);
    RUN(an_index_left_out_is_flagged);
    RUN(an_index_applied_twice_is_flagged);
    RUN(an_apply_before_the_own_disk_is_flagged);
    RUN(an_apply_ahead_of_the_disk_passes_where_it_is_allowed);
    RUN(a_second_apply_outstanding_is_flagged);
    RUN(a_proposal_called_dropped_too_early_is_flagged);
    RUN(a_proposal_dropped_for_good_passes);
    RUN(a_dropped_proposal_that_is_applied_is_flagged);
    RUN(an_outcome_told_twice_is_flagged);
    RUN(an_outcome_of_a_proposal_never_taken_is_flagged);
    RUN(a_proposal_without_an_answer_is_flagged);
    RUN(a_write_placed_before_an_acknowledged_one_is_flagged);
    RUN(a_stale_read_is_flagged);
    RUN(a_read_before_its_index_is_applied_is_flagged);
    RUN(a_fresh_read_passes);
    RUN(a_read_answered_twice_is_flagged);
    RUN(a_read_without_an_answer_is_flagged);
    RUN(too_many_reads_are_flagged);
    RUN(a_server_left_behind_is_flagged);
    RUN(a_grant_by_who_hears_a_leader_is_flagged);
    RUN(a_grant_against_a_promise_is_flagged);
    RUN(an_order_older_than_a_promise_is_flagged);
    RUN(a_lease_before_the_first_choice_is_flagged);
    RUN(a_lease_that_no_quorum_has_promised_is_flagged);
    RUN(an_order_to_who_lacks_entries_is_flagged);
    RUN(a_commit_within_one_failure_zone_is_flagged);
    RUN(an_answer_from_before_a_membership_is_flagged);
    RUN(an_acknowledged_entry_removed_in_its_term_is_flagged);
    RUN(a_second_change_before_the_first_is_chosen_is_flagged);
    RUN(a_change_before_an_own_entry_is_chosen_is_flagged);
    RUN(another_membership_than_the_newest_that_governs_is_flagged);
    RUN(a_member_that_nobody_asked_for_is_flagged);
    RUN(a_witness_that_leads_is_flagged);
    RUN(a_payload_for_a_witness_is_flagged);
    RUN(a_header_for_who_keeps_payloads_is_flagged);
    RUN(a_header_of_what_a_quorum_holds_passes);
    RUN(a_header_of_what_could_be_lost_is_flagged);
    RUN(a_snapshot_that_takes_the_place_of_a_shorter_log_passes);
    RUN(a_snapshot_of_what_is_not_chosen_is_flagged);
    RUN(a_snapshot_installed_under_another_index_is_flagged);
    RUN(a_snapshot_installed_below_the_commit_index_is_flagged);
    RUN(a_snapshot_installed_over_a_log_that_holds_it_is_flagged);
    RUN(a_log_restored_from_nowhere_is_flagged);
    RUN(a_snapshot_sent_that_was_never_taken_is_flagged);
    RUN(a_snapshot_sent_below_a_promise_is_flagged);
    RUN(a_snapshot_of_another_state_is_flagged);
    RUN(a_snapshot_beyond_the_commit_index_is_flagged);
    RUN(a_snapshot_index_that_falls_is_flagged);
    RUN(a_snapshot_loaded_that_is_not_in_use_is_flagged);
    RUN(a_snapshot_loaded_before_it_is_durable_is_flagged);
    RUN(a_load_while_an_apply_is_outstanding_is_flagged);
    RUN(another_state_loaded_is_flagged);
    RUN(a_forwarded_proposal_with_a_true_answer_passes);
    RUN(a_forwarded_proposal_appended_twice_is_flagged);
    RUN(a_forwarded_proposal_told_under_another_index_is_flagged);
    RUN(a_forwarded_proposal_told_dropped_that_was_appended_is_flagged);
    RUN(a_forwarded_proposal_appended_after_it_was_told_dropped_is_flagged);
    RUN(a_forwarded_proposal_answered_twice_is_flagged);
    RUN(a_forwarded_proposal_without_an_answer_is_flagged);
    RUN(forwarded_proposals_dropped_before_they_are_written_pass);
    RUN(a_range_that_says_more_than_it_holds_is_flagged);
    RUN(an_applied_range_that_says_more_than_it_holds_is_flagged);
    RUN(too_much_applied_at_once_is_flagged);
    RUN(a_log_in_memory_above_its_bound_is_flagged);
    RUN(a_message_of_no_kind_is_flagged);
    RUN(an_order_with_another_tag_is_flagged);
    RUN(what_is_pulled_before_it_is_durable_is_flagged);
    RUN(a_lease_beside_a_newer_leader_is_flagged);
    RUN(a_dropped_range_that_cannot_be_is_flagged);
    RUN(an_honest_history_of_multipaxos_passes);
    RUN(a_commit_of_what_was_not_accepted_is_flagged);
    RUN(a_term_led_by_another_than_its_owner_is_flagged);
    RUN(a_slot_that_two_servers_use_is_flagged);
    RUN(a_slot_of_a_membership_that_may_be_dropped_is_flagged);
    RUN(an_accepted_round_that_falls_is_flagged);
    RUN(an_accepted_round_above_the_term_is_flagged);
    RUN(an_accepted_round_in_raft_is_flagged);
    RUN(a_term_accepted_before_anybody_leads_it_is_flagged);
    RUN(a_term_accepted_without_what_its_leader_adopted_is_flagged);
    RUN(a_term_accepted_over_a_stale_tail_is_flagged);
    RUN(a_leader_that_has_not_accepted_its_own_term_is_flagged);
    RUN(a_leader_that_did_not_adopt_what_is_chosen_is_flagged);
    RUN(an_honest_promise_passes);
    RUN(a_promise_that_hides_what_was_accepted_is_flagged);
    RUN(a_promise_with_an_undurable_entry_is_flagged);
    RUN(a_promise_with_a_commit_that_is_not_chosen_is_flagged);
    RUN(an_acknowledgement_that_counts_before_the_round_is_durable_is_flagged);
    RUN(a_membership_changed_before_the_term_is_accepted_is_flagged);
    RUN(a_leaders_snapshot_from_one_that_promised_nobody_is_flagged);
    RUN(the_first_violation_is_kept);
    checker_free(&world.checker);
    return check_done();
}
