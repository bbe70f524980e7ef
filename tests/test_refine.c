/*
 * The executable specification judged by itself (V25): honest steps pass, and for each rule of the
 * papers a step forged to break it is flagged. Three servers, positions 0 to 2, ids 11 to 13.
 */
#include "check.h"

/* The specification is part of the simulator's program, not of the kit that tests share. */
#include "sim/arena.c"
#include "sim/refine.c"
#include "sim/registry.c"

#define SERVERS 3

/* What is durable, and what a leader has begun to write, which is the same here. */
static struct {
    struct refine spec;
    struct checker_config config;
    struct checker_log logs[SERVERS];
    raft_hard_state states[SERVERS];
} world;

/* ---- A small language to write histories in ---------------------------------------------------- */

static raft_id id_of(int server)
{
    return (raft_id)(11 + server);
}

static void begin(int paxos)
{
    struct checker_setup setup;
    memset(&setup, 0, sizeof setup);
    setup.paxos = paxos;
    setup.node_count = SERVERS;
    memset(&world.config, 0, sizeof world.config);
    world.config.voters[0] = 7;
    world.config.elect[0] = 2;
    world.config.commit[0] = 2;
    memset(world.states, 0, sizeof world.states);
    for (int i = 0; i < SERVERS; i++) {
        setup.ids[i] = id_of(i);
        world.logs[i].count = 0;
    }
    refine_begin(&world.spec, &setup);
}

/* The state of the disk is told. */
static void sync_disk(int server)
{
    refine_durable(&world.spec, server, &world.states[server], &world.logs[server]);
}

static void promise(int server, raft_term term, int to)
{
    world.states[server].term = term;
    world.states[server].vote = id_of(to);
    sync_disk(server);
}

/* All entries are alike but for their terms. */
static uint64_t content(void)
{
    raft_entry entry;
    memset(&entry, 0, sizeof entry);
    entry.kind = RAFT_ENTRY_DATA;
    return entry_content(&entry);
}

/* A log of entries of these terms, a digit each; nothing of it is told yet. */
static void write_log(int server, const char *terms)
{
    struct checker_log *log = &world.logs[server];
    log->count = 0;
    for (; *terms != '\0'; terms++) {
        raft_term term = (raft_term)(*terms - '0');
        append_content(log, term, content());
    }
}

static void write_as_leader(int server, const char *terms)
{
    write_log(server, terms);
    refine_wrote(&world.spec, server, &world.logs[server]);
    sync_disk(server);
}

static void accept_log(int server, raft_term round, const char *terms)
{
    write_log(server, terms);
    world.states[server].accepted_round = round;
    sync_disk(server);
}

static void store(int server, const char *terms)
{
    write_log(server, terms);
    sync_disk(server);
}

static void observe(int server, int role, raft_index commit)
{
    raft_status status;
    memset(&status, 0, sizeof status);
    status.term = world.states[server].term;
    status.role = role;
    status.commit_index = commit;
    refine_observed(&world.spec, server, &status, &world.config, &world.logs[server]);
}

static void lead(int server)
{
    observe(server, RAFT_ROLE_LEADER, 0);
}

/* The server and one more promise the term, or vote, and it leads. */
static void elect(int server, int by, raft_term term)
{
    promise(server, term, server);
    promise(by, term, server);
    if (world.spec.paxos) {
        world.states[server].accepted_round = term;
        sync_disk(server);
    }
    lead(server);
}

static void send(int server, int kind, int to, raft_term term, raft_index index, unsigned flags)
{
    raft_message message;
    memset(&message, 0, sizeof message);
    message.kind = kind;
    message.from = id_of(server);
    message.to = id_of(to);
    message.term = term;
    message.index = index;
    message.flags = (uint8_t)flags;
    message.accepted_round = world.states[server].accepted_round;
    refine_sent(&world.spec, server, &message);
}

/* An append with entries of the term behind `index`. */
static void send_entries(int server, int to, raft_term term, raft_index index, size_t count)
{
    uint8_t bytes[256];
    raft_message message;
    raft_entry entry;
    size_t size = 0;
    memset(&message, 0, sizeof message);
    memset(&entry, 0, sizeof entry);
    entry.kind = RAFT_ENTRY_DATA;
    for (size_t i = 0; i < count; i++) {
        CHECK_EQ(raft_entry_encode(&entry, bytes + size, sizeof bytes - size), RAFT_OK);
        size += raft_entry_size(0);
    }
    message.kind = RAFT_MESSAGE_APPEND;
    message.from = id_of(server);
    message.to = id_of(to);
    message.term = term;
    message.index = index;
    message.index_term = index == 0 ? 0 : term;
    message.range_count = 1;
    message.ranges[0] = (raft_range){index + 1, term, count, size, bytes};
    refine_sent(&world.spec, server, &message);
}

static const char *failure(void)
{
    const char *text = refine_failure(&world.spec);
    return text == NULL ? "" : text;
}

#define CHECK_FORBIDDEN(action) CHECK(strncmp(failure(), action ": ", sizeof(action) + 1) == 0)
#define CHECK_ALLOWED()         CHECK_STR(failure(), "")

/* ---- Honest histories -------------------------------------------------------------------------- */

static void raft_by_its_rules_passes(void)
{
    begin(0);
    elect(0, 1, 1);
    write_as_leader(0, "111");
    send(0, RAFT_MESSAGE_HEARTBEAT, 1, 1, 0, 0);
    store(1, "11");
    send(1, RAFT_MESSAGE_APPEND_REPLY, 0, 1, 2, 0);
    observe(0, RAFT_ROLE_LEADER, 2);
    elect(1, 2, 2);
    write_as_leader(1, "112");
    world.states[0].term = 2;
    world.states[0].vote = 0;
    store(0, "112");
    observe(1, RAFT_ROLE_LEADER, 3);
    CHECK_ALLOWED();
    CHECK_EQ(world.spec.chosen, 3);
}

static void paxos_by_its_rules_passes(void)
{
    begin(1);
    elect(0, 1, 1);
    write_as_leader(0, "111");
    accept_log(1, 1, "11");
    send(1, RAFT_MESSAGE_APPEND_REPLY, 0, 1, 2, RAFT_FLAG_ACCEPTED);
    observe(0, RAFT_ROLE_LEADER, 2);
    promise(2, 2, 2);
    promise(1, 2, 2);
    send(1, RAFT_MESSAGE_VOTE_REPLY, 2, 2, 2, 0);
    store(2, "11"); /* adopted */
    accept_log(2, 2, "11");
    lead(2);
    write_as_leader(2, "112");
    accept_log(1, 2, "112");
    observe(2, RAFT_ROLE_LEADER, 3);
    CHECK_ALLOWED();
    CHECK_EQ(world.spec.chosen, 3);
}

/* Round 2 has found nothing in slot 1, so what round 1 left there with one acceptor is not chosen. */
static void what_a_newer_round_ended_before_is_not_owed(void)
{
    begin(1);
    elect(0, 2, 1);
    write_as_leader(0, "11");
    elect(1, 2, 2);
    accept_log(2, 2, "");
    promise(0, 3, 0);
    promise(2, 3, 0);
    accept_log(0, 3, "");
    lead(0);
    CHECK_ALLOWED();
}

/* What was pulled of a newer round before its source fell silent may be proposed (P4). */
static void a_half_pulled_log_may_be_proposed(void)
{
    begin(1);
    elect(0, 1, 1);
    write_as_leader(0, "11");
    elect(1, 2, 2);
    write_as_leader(1, "222");
    promise(0, 3, 0);
    promise(2, 3, 0);
    promise(1, 3, 0);
    accept_log(0, 3, "22");
    lead(0);
    CHECK_ALLOWED();
}

/* ---- Phase 1 ----------------------------------------------------------------------------------- */

static void a_promise_that_is_taken_back_is_forbidden(void)
{
    begin(1);
    promise(0, 2, 1);
    promise(0, 1, 0);
    CHECK_FORBIDDEN("Phase1b");
}

static void a_second_vote_in_a_term_is_forbidden(void)
{
    begin(0);
    promise(0, 1, 1);
    promise(0, 1, 2);
    CHECK_FORBIDDEN("Phase1b");
}

static void a_second_proposer_of_a_round_is_forbidden(void)
{
    begin(1);
    promise(0, 1, 1);
    promise(2, 1, 2);
    CHECK_FORBIDDEN("Phase1b");
}

static void an_accepted_round_that_falls_is_forbidden(void)
{
    begin(1);
    elect(0, 1, 1);
    promise(0, 2, 1);
    world.states[0].accepted_round = 0;
    sync_disk(0);
    CHECK_FORBIDDEN("Phase1b");
}

static void an_accepted_round_above_the_promise_is_forbidden(void)
{
    begin(1);
    elect(0, 1, 1);
    accept_log(0, 2, "");
    CHECK_FORBIDDEN("Phase1b");
}

static void a_promise_sent_before_it_is_durable_is_forbidden(void)
{
    begin(1);
    send(1, RAFT_MESSAGE_VOTE_REPLY, 0, 1, 0, 0);
    CHECK_FORBIDDEN("Phase1b");
    begin(0);
    promise(0, 1, 1);
    send(0, RAFT_MESSAGE_VOTE, 1, 1, 0, 0);
    CHECK_FORBIDDEN("Phase1b");
}

static void a_promise_that_hides_what_was_accepted_is_forbidden(void)
{
    begin(1);
    elect(0, 1, 1);
    promise(0, 2, 1);
    world.states[0].accepted_round = 0;
    send(0, RAFT_MESSAGE_VOTE_REPLY, 1, 2, 0, 0);
    CHECK_FORBIDDEN("Phase1b");
}

static void a_vote_for_a_log_that_is_behind_is_forbidden(void)
{
    begin(0);
    elect(0, 1, 1);
    write_as_leader(0, "1");
    store(1, "1");
    promise(2, 2, 2);
    promise(1, 2, 2);
    lead(2);
    CHECK_FORBIDDEN("RequestVote");
}

static void a_leader_without_a_quorum_of_votes_is_forbidden(void)
{
    begin(0);
    promise(0, 1, 0);
    lead(0);
    CHECK_FORBIDDEN("BecomeLeader");
}

/* ---- Phase 2a ---------------------------------------------------------------------------------- */

static void a_proposal_without_a_quorum_of_promises_is_forbidden(void)
{
    begin(1);
    promise(0, 1, 0);
    accept_log(0, 1, "");
    lead(0);
    CHECK_FORBIDDEN("Phase2a");
}

static void a_promise_from_outside_the_membership_is_no_promise(void)
{
    begin(1);
    world.config.voters[0] = 3;
    promise(2, 1, 0);
    promise(0, 1, 0);
    accept_log(0, 1, "");
    lead(0);
    CHECK_FORBIDDEN("Phase2a");
}

static void a_second_half_without_its_quorum_is_forbidden(void)
{
    begin(1);
    world.config.voters[1] = 4;
    world.config.elect[1] = 1;
    elect(0, 1, 1);
    CHECK_FORBIDDEN("Phase2a");
}

static void a_proposal_that_leaves_out_what_was_accepted_is_forbidden(void)
{
    begin(1);
    elect(0, 1, 1);
    write_as_leader(0, "1");
    promise(0, 2, 1);
    promise(1, 2, 1);
    accept_log(1, 2, "");
    lead(1);
    CHECK_FORBIDDEN("Phase2a");
}

static void a_proposal_of_a_lower_round_than_the_highest_accepted_is_forbidden(void)
{
    begin(1);
    elect(0, 1, 1);
    write_as_leader(0, "11");
    elect(1, 2, 2);
    write_as_leader(1, "2");
    promise(0, 3, 0);
    promise(1, 3, 0);
    accept_log(0, 3, "11");
    lead(0);
    CHECK_FORBIDDEN("Phase2a");
}

static void a_leader_of_a_round_that_is_not_its_own_is_forbidden(void)
{
    begin(1);
    promise(0, 1, 1);
    lead(0);
    CHECK_FORBIDDEN("Phase2a");
}

static void a_second_leader_of_a_term_is_forbidden(void)
{
    begin(0);
    elect(0, 1, 1);
    promise(2, 1, 2);
    lead(2);
    CHECK_FORBIDDEN("Phase2a");
}

static void what_was_not_proposed_is_not_sent(void)
{
    begin(0);
    elect(0, 1, 1);
    send(2, RAFT_MESSAGE_APPEND, 1, 1, 0, 0);
    CHECK_FORBIDDEN("Phase2a");
    begin(0);
    elect(0, 1, 1);
    write_as_leader(0, "1");
    send(0, RAFT_MESSAGE_APPEND, 1, 1, 1, 0); /* names entry 1 as one of term 0 */
    CHECK_FORBIDDEN("Phase2a");
}

/* A leader's disk may hang: entries are proposed as they are sent, in any order (R5). */
static void a_tail_that_is_sent_before_its_front_is_proposed(void)
{
    begin(0);
    elect(0, 1, 1);
    send_entries(0, 1, 1, 2, 2);
    send_entries(0, 2, 1, 0, 2);
    store(1, "1111");
    CHECK_ALLOWED();
    begin(0);
    elect(0, 1, 1);
    send_entries(0, 1, 1, 2, 2);
    store(1, "1111"); /* who has sent it the first two? */
    CHECK_FORBIDDEN("Phase2b");
}

static void a_leader_that_changes_its_log_is_forbidden(void)
{
    begin(0);
    elect(0, 1, 1);
    write_as_leader(0, "11");
    write_log(0, "01");
    refine_wrote(&world.spec, 0, &world.logs[0]);
    CHECK_FORBIDDEN("LeaderAppendOnly");
}

/* ---- Phase 2b, chosen, learnt ------------------------------------------------------------------ */

static void values_accepted_otherwise_than_proposed_are_forbidden(void)
{
    begin(1);
    elect(0, 1, 1);
    write_as_leader(0, "1");
    accept_log(1, 1, "0");
    CHECK_FORBIDDEN("Phase2b");
}

/*
 * What is chosen may be held in any round: a snapshot of what was applied can outlive a log, and a
 * promise, that were not durable. What is only proposed may not.
 */
static void what_is_chosen_may_be_learnt_whatever_was_accepted(void)
{
    for (int is_chosen_by_two = 0; is_chosen_by_two < 2; is_chosen_by_two++) {
        begin(1);
        elect(0, 1, 1);
        elect(1, 2, 2);
        write_as_leader(1, "2");
        if (is_chosen_by_two) {
            accept_log(2, 2, "2");
            observe(1, RAFT_ROLE_LEADER, 1);
        }
        store(0, "2"); /* in round 1 still, which proposed nothing */
        if (is_chosen_by_two) {
            CHECK_ALLOWED();
        } else {
            CHECK_FORBIDDEN("Phase2b");
        }
    }
}

static void a_round_accepted_over_a_longer_tail_is_forbidden(void)
{
    begin(1);
    elect(0, 1, 1);
    accept_log(1, 1, "1");
    CHECK_FORBIDDEN("Phase2b");
}

static void a_round_accepted_before_all_that_was_adopted_is_forbidden(void)
{
    begin(1);
    elect(0, 1, 1);
    write_as_leader(0, "11");
    elect(0, 1, 2);
    CHECK_ALLOWED();
    accept_log(1, 2, "1");
    CHECK_FORBIDDEN("Phase2b");
}

static void a_round_accepted_of_nobody_is_forbidden(void)
{
    begin(1);
    promise(1, 1, 0);
    accept_log(1, 1, "");
    CHECK_FORBIDDEN("Phase2b");
}

static void an_acceptance_that_is_not_durable_is_not_told(void)
{
    begin(1);
    elect(0, 1, 1);
    write_as_leader(0, "1");
    send(1, RAFT_MESSAGE_APPEND_REPLY, 0, 1, 1, 0);
    CHECK_FORBIDDEN("Phase2b");
    begin(1);
    elect(0, 1, 1);
    write_as_leader(0, "1");
    store(1, "1");
    send(1, RAFT_MESSAGE_APPEND_REPLY, 0, 1, 1, RAFT_FLAG_ACCEPTED);
    CHECK_FORBIDDEN("Phase2b");
}

static void an_acceptance_below_a_promise_is_not_told(void)
{
    begin(0);
    elect(0, 1, 1);
    write_as_leader(0, "1");
    store(1, "1");
    promise(1, 2, 2);
    send(1, RAFT_MESSAGE_APPEND_REPLY, 0, 1, 1, 0);
    CHECK_FORBIDDEN("Phase2b");
}

static void logs_that_differ_below_an_entry_are_forbidden(void)
{
    begin(0);
    elect(0, 1, 1);
    write_as_leader(0, "11");
    promise(2, 2, 2);
    store(2, "01");
    CHECK_FORBIDDEN("LogMatching");
}

/* One server is taken for a commit quorum: the next leader owes its values, and knows nothing. */
static void a_leader_that_lacks_what_was_chosen_is_forbidden(void)
{
    for (int paxos = 0; paxos < 2; paxos++) {
        begin(paxos);
        world.config.commit[0] = 1;
        elect(0, 1, 1);
        write_as_leader(0, "1");
        observe(0, RAFT_ROLE_LEADER, 1);
        CHECK_ALLOWED();
        elect(2, 1, 2);
        CHECK_FORBIDDEN("LeaderCompleteness");
    }
}

static void what_no_quorum_has_accepted_is_not_learnt(void)
{
    begin(1);
    elect(0, 1, 1);
    write_as_leader(0, "1");
    store(1, "1"); /* holds it, but has not accepted the round */
    observe(0, RAFT_ROLE_LEADER, 1);
    CHECK_FORBIDDEN("Learn");
}

static void an_old_entry_is_not_learnt_by_counting_in_raft(void)
{
    begin(0);
    elect(0, 1, 1);
    write_as_leader(0, "1");
    elect(0, 1, 2);
    store(1, "1");
    observe(0, RAFT_ROLE_LEADER, 1);
    CHECK_FORBIDDEN("Learn");
}

static void a_disk_that_is_lost_takes_its_acceptances_along(void)
{
    begin(0);
    elect(0, 1, 1);
    write_log(0, "1");
    refine_wrote(&world.spec, 0, &world.logs[0]);
    store(1, "1");
    refine_forgotten(&world.spec, 1);
    sync_disk(0);
    observe(0, RAFT_ROLE_LEADER, 1);
    CHECK_FORBIDDEN("Learn");
}

int main(void)
{
    RUN(raft_by_its_rules_passes);
    RUN(paxos_by_its_rules_passes);
    RUN(what_a_newer_round_ended_before_is_not_owed);
    RUN(a_half_pulled_log_may_be_proposed);
    RUN(a_promise_that_is_taken_back_is_forbidden);
    RUN(a_second_vote_in_a_term_is_forbidden);
    RUN(a_second_proposer_of_a_round_is_forbidden);
    RUN(an_accepted_round_that_falls_is_forbidden);
    RUN(an_accepted_round_above_the_promise_is_forbidden);
    RUN(a_promise_sent_before_it_is_durable_is_forbidden);
    RUN(a_promise_that_hides_what_was_accepted_is_forbidden);
    RUN(a_vote_for_a_log_that_is_behind_is_forbidden);
    RUN(a_leader_without_a_quorum_of_votes_is_forbidden);
    RUN(a_proposal_without_a_quorum_of_promises_is_forbidden);
    RUN(a_promise_from_outside_the_membership_is_no_promise);
    RUN(a_second_half_without_its_quorum_is_forbidden);
    RUN(a_proposal_that_leaves_out_what_was_accepted_is_forbidden);
    RUN(a_proposal_of_a_lower_round_than_the_highest_accepted_is_forbidden);
    RUN(a_leader_of_a_round_that_is_not_its_own_is_forbidden);
    RUN(a_second_leader_of_a_term_is_forbidden);
    RUN(what_was_not_proposed_is_not_sent);
    RUN(a_tail_that_is_sent_before_its_front_is_proposed);
    RUN(a_leader_that_changes_its_log_is_forbidden);
    RUN(values_accepted_otherwise_than_proposed_are_forbidden);
    RUN(what_is_chosen_may_be_learnt_whatever_was_accepted);
    RUN(a_round_accepted_over_a_longer_tail_is_forbidden);
    RUN(a_round_accepted_before_all_that_was_adopted_is_forbidden);
    RUN(a_round_accepted_of_nobody_is_forbidden);
    RUN(an_acceptance_that_is_not_durable_is_not_told);
    RUN(an_acceptance_below_a_promise_is_not_told);
    RUN(logs_that_differ_below_an_entry_are_forbidden);
    RUN(a_leader_that_lacks_what_was_chosen_is_forbidden);
    RUN(what_no_quorum_has_accepted_is_not_learnt);
    RUN(an_old_entry_is_not_learnt_by_counting_in_raft);
    RUN(a_disk_that_is_lost_takes_its_acceptances_along);
    refine_free(&world.spec);
    for (int i = 0; i < SERVERS; i++) {
        free(world.logs[i].links);
    }
    return check_done();
}
