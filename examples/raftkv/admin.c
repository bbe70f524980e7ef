/*
 * Changing the cluster.
 *
 * A task is looked at in every turn: if what it asks for is so and committed, it is answered; else
 * the next step towards it is taken, if one can be taken now. So it does not matter who changed
 * what meanwhile, and the same command given twice does its work once.
 *
 * A new voter is added as a learner that is to be promoted: the log gives it a vote when it has
 * caught up, whoever leads then, and until then it cannot cost the others their quorum.
 */
#include "admin.h"

#include "server_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TASK_MS = 30000,  /* until a client is told that it has not happened yet */
    TASK_STEP_MS = 50 /* how often a step is tried that could not be taken */
};

struct task {
    int id; /* COMMAND_RAFT_ADD.. */
    raft_id server;
    int role; /* of an added server: RAFT_MEMBER_* */
    char blob[RAFT_BLOB_MAX + 1];
    size_t blob_size;
    uint64_t deadline_ms;
    uint64_t given_up; /* transfers given up when it began */
    raft_index index;  /* the checkpoint has to cover it */
    int has_changed;   /* something was proposed for it */
};

enum outcome { OUTCOME_DONE, OUTCOME_WAIT, OUTCOME_ANSWERED };

/* ---- The membership ---- */

struct wish {
    raft_membership membership;
    raft_member members[RAFT_MEMBERS_MAX + 1];
};

/* The membership as it is, to be altered. 0, or -1 where none is known. */
static int get_membership(const struct server *server, struct wish *wish)
{
    raft_membership_init(&wish->membership);
    return raft_get_membership(server->node, &wish->membership, wish->members, RAFT_MEMBERS_MAX) ==
                   RAFT_OK
               ? 0
               : -1;
}

static raft_member *find_member(struct wish *wish, raft_id id)
{
    for (size_t i = 0; i < wish->membership.member_count; i++) {
        if (wish->members[i].id == id) {
            return &wish->members[i];
        }
    }
    return NULL;
}

static int blob_is(const raft_member *member, const struct task *task)
{
    return member->blob_size == task->blob_size &&
           memcmp(member->blob, task->blob, task->blob_size) == 0;
}

/* Whether the membership is what the task asks for. */
static int is_fulfilled(struct wish *wish, const struct task *task)
{
    const raft_member *member = find_member(wish, task->server);

    switch (task->id) {
    case COMMAND_RAFT_REMOVE:
        return member == NULL;
    case COMMAND_RAFT_PROMOTE:
        return member && member->role == RAFT_MEMBER_VOTER;
    default:
        return member && member->role == task->role && !member->promote && blob_is(member, task);
    }
}

/* Alters the membership towards what the task asks for. Returns 0 where nothing is to be done now:
 * a learner has to catch up first. */
static int alter(struct wish *wish, const struct task *task)
{
    raft_member *member = find_member(wish, task->server);
    int is_waiting = member && member->promote;

    if (!member && task->id != COMMAND_RAFT_ADD) {
        return 0;
    }
    if (task->id == COMMAND_RAFT_REMOVE) {
        *member = wish->members[--wish->membership.member_count];
        return 1;
    }
    if (task->id == COMMAND_RAFT_PROMOTE) {
        member->promote = 1;
        return !is_waiting;
    }
    if (!member) {
        member = &wish->members[wish->membership.member_count++];
        *member = (raft_member){.id = task->server, .role = task->role};
        if (task->role == RAFT_MEMBER_VOTER) {
            member->role = RAFT_MEMBER_LEARNER;
        }
    } else if (is_waiting && blob_is(member, task)) {
        return 0;
    }
    member->promote = task->role == RAFT_MEMBER_VOTER && member->role == RAFT_MEMBER_LEARNER;
    member->blob = task->blob;
    member->blob_size = task->blob_size;
    return 1;
}

static void reply_not_leader(struct server *server, const struct task *task, struct buffer *out)
{
    if (task->has_changed) {
        reply_error(out,
                    "UNKNOWN leadership was lost, the change may or may not be made; ask again");
    } else {
        topology_redirect(server, 0, out);
    }
}

static enum outcome answer_status(struct server *server, const struct task *task, int status,
                                  struct buffer *out)
{
    switch (status) {
    case RAFT_OK:
    case RAFT_EBUSY:
    case RAFT_ETRANSFER:
    case RAFT_EFULL:
    case RAFT_ENOMEM:
    case RAFT_ECONFLICT:
        return OUTCOME_WAIT;
    case RAFT_EARG:
        reply_error(out, "ERR there can be no such membership: it needs a voter that keeps data, "
                         "fewer witnesses than a commit quorum, at most 32 members, and a witness "
                         "stays one");
        return OUTCOME_ANSWERED;
    default:
        reply_not_leader(server, task, out);
        return OUTCOME_ANSWERED;
    }
}

/*
 * Whether somebody is to be added who is a member of another kind. To make a learner of a voter so
 * would not be safe to repeat: it may have been promoted since.
 */
static int contradicts(struct wish *wish, const struct task *task)
{
    const raft_member *member = find_member(wish, task->server);

    return task->id == COMMAND_RAFT_ADD && member &&
           ((member->role == RAFT_MEMBER_WITNESS) != (task->role == RAFT_MEMBER_WITNESS) ||
            (member->role == RAFT_MEMBER_VOTER && task->role == RAFT_MEMBER_LEARNER));
}

/* Alone, and without an address for others: nobody could be reached, nor answer. */
static int has_no_network(const struct server *server, const struct task *task)
{
    return task->id == COMMAND_RAFT_ADD && !server->transport;
}

static enum outcome step_membership(struct server *server, struct task *task, struct buffer *out)
{
    struct wish wish;
    raft_term term = 0;
    int status;

    if (get_membership(server, &wish)) {
        reply_not_leader(server, task, out);
        return OUTCOME_ANSWERED;
    }
    if (wish.membership.committed && !wish.membership.joint && is_fulfilled(&wish, task)) {
        return OUTCOME_DONE;
    }
    if (server->role != RAFT_ROLE_LEADER) {
        reply_not_leader(server, task, out);
        return OUTCOME_ANSWERED;
    }
    if (task->id == COMMAND_RAFT_PROMOTE && !find_member(&wish, task->server)) {
        reply_errorf(out, "ERR server %llu is not a member", (unsigned long long)task->server);
        return OUTCOME_ANSWERED;
    }
    if (!wish.membership.committed || wish.membership.joint) {
        return OUTCOME_WAIT;
    }
    if (contradicts(&wish, task)) {
        reply_errorf(out, "ERR server %llu is a %s: remove it, and add one with another id",
                     (unsigned long long)task->server,
                     topology_kind_name(find_member(&wish, task->server)->role));
        return OUTCOME_ANSWERED;
    }
    if (has_no_network(server, task)) {
        reply_error(out,
                    "ERR this server listens for no others: start it with --peer-listen first");
        return OUTCOME_ANSWERED;
    }
    if (!alter(&wish, task)) {
        return OUTCOME_WAIT;
    }
    status =
        raft_set_membership(server->node, &wish.membership, wish.membership.version, NULL, &term);
    task->has_changed |= status == RAFT_OK;
    return answer_status(server, task, status, out);
}

/* ---- Leadership ---- */

static enum outcome step_transfer(struct server *server, struct task *task, struct buffer *out)
{
    int wants_this = task->server == server->options->id;
    int is_led_as_asked =
        task->server ? server->leader == task->server
                     : task->has_changed && server->leader && server->role != RAFT_ROLE_LEADER;
    int status;

    if (is_led_as_asked) {
        return OUTCOME_DONE;
    }
    if (server->role != RAFT_ROLE_LEADER) {
        if (task->has_changed && !server->leader) {
            return OUTCOME_WAIT; /* the election is under way */
        }
        reply_not_leader(server, task, out);
        return OUTCOME_ANSWERED;
    }
    if (wants_this) {
        return OUTCOME_DONE;
    }
    if (server->transfers_given_up != task->given_up) {
        reply_error(out, "ERR the transfer was given up: the server did not take over in time");
        return OUTCOME_ANSWERED;
    }
    if (task->has_changed) {
        return OUTCOME_WAIT;
    }
    status = raft_transfer(server->node, task->server);
    task->has_changed = status == RAFT_OK;
    if (status == RAFT_EARG) {
        reply_error(out, "ERR leadership can only go to another voter that keeps data");
        return OUTCOME_ANSWERED;
    }
    return answer_status(server, task, status, out);
}

/* ---- Checkpoints ---- */

/* Of this server, whoever leads. */
static enum outcome step_checkpoint(struct server *server, struct task *task, struct buffer *out)
{
    if (server->checkpoints.taken_index >= task->index) {
        return OUTCOME_DONE;
    }
    if (!task->has_changed) {
        task->has_changed = 1;
        checkpoints_want(server);
    } else if (!checkpoints_is_under_way(server)) {
        reply_error(out, "ERR the checkpoint could not be taken; the server's log says why");
        return OUTCOME_ANSWERED;
    }
    return OUTCOME_WAIT;
}

/* ---- Tasks ---- */

static enum outcome step(struct server *server, struct task *task, struct buffer *out)
{
    switch (task->id) {
    case COMMAND_RAFT_TRANSFER:
        return step_transfer(server, task, out);
    case COMMAND_RAFT_CHECKPOINT:
        return step_checkpoint(server, task, out);
    default:
        return step_membership(server, task, out);
    }
}

static void end_task(struct server *server, struct client *client)
{
    free(client->task);
    client->task = NULL;
    server->task_count--;
    server_look_at(server, client);
    server_write_to(server, client);
}

static void check_client(struct server *server, struct client *client, uint64_t now_ms)
{
    struct task *task = client->task;
    enum outcome outcome = step(server, task, &client->out);

    if (outcome == OUTCOME_DONE) {
        reply_simple(&client->out, "OK");
    } else if (outcome == OUTCOME_WAIT) {
        if (now_ms < task->deadline_ms && !server_is_stopping(server)) {
            return;
        }
        reply_error(&client->out, "UNKNOWN not done yet; it may still happen: ask again");
    }
    end_task(server, client);
}

/* A leader that was told to read by leases sees to it that the membership allows them. */
static void want_leases(struct server *server)
{
    struct wish wish;

    if (server->options->reads != READS_LEASE || server->role != RAFT_ROLE_LEADER ||
        server->has_leases || get_membership(server, &wish)) {
        return;
    }
    server->has_leases = wish.membership.lease_ms > 0;
    if (!server->has_leases && wish.membership.committed && !wish.membership.joint) {
        wish.membership.lease_ms = server->options->election_ms;
        raft_set_membership(server->node, &wish.membership, wish.membership.version, NULL, NULL);
    }
}

uint64_t admin_check(struct server *server, uint64_t now_ms)
{
    want_leases(server);
    for (size_t i = 0; server->task_count > 0 && i < server->place_count; i++) {
        struct client *client = server->places[i].client;

        if (client && client->task) {
            check_client(server, client, now_ms);
        }
    }
    return server->task_count > 0 ? now_ms + TASK_STEP_MS : UINT64_MAX;
}

void admin_forget(struct server *server, struct client *client)
{
    if (client->task) {
        free(client->task);
        client->task = NULL;
        server->task_count--;
    }
}

/* ---- Beginning ---- */

static int take_id(const struct slice *arg, raft_id *id)
{
    int64_t value;

    if (!slice_to_integer(*arg, &value) || value <= 0) {
        return -1;
    }
    *id = (raft_id)value;
    return 0;
}

/* RAFT.ADD id peer-addr[/client-addr] [learner|witness] */
static int take_add(struct task *task, const struct slice *args, size_t count, struct buffer *out)
{
    char peer[MEMBER_ADDRESS_MAX], client[MEMBER_ADDRESS_MAX];

    task->role = RAFT_MEMBER_VOTER;
    if (count == 4 && slice_is(args[3], "learner")) {
        task->role = RAFT_MEMBER_LEARNER;
    } else if (count == 4 && slice_is(args[3], "witness")) {
        task->role = RAFT_MEMBER_WITNESS;
    } else if (count != 3) {
        reply_error(out, "ERR syntax error, try RAFT.ADD id peer-addr[/client-addr] "
                         "[learner|witness]");
        return -1;
    }
    if (args[2].size > RAFT_BLOB_MAX) {
        reply_error(out, "ERR the addresses are too long");
        return -1;
    }
    options_split_blob(args[2].data, args[2].size, peer, client);
    /* Names are looked up beside the loop when they are used: that may take longer than a lead. */
    if (!address_is_well_formed(peer) || (client[0] && !address_is_well_formed(client))) {
        reply_error(out, "ERR an address is HOST:PORT");
        return -1;
    }
    memcpy(task->blob, args[2].data, args[2].size);
    task->blob_size = args[2].size;
    return 0;
}

static int take_arguments(struct task *task, const struct slice *args, size_t count,
                          struct buffer *out)
{
    size_t ids_max = task->id == COMMAND_RAFT_ADD ? 4 : 2;

    if (count > ids_max) {
        reply_error(out, "ERR syntax error");
        return -1;
    }
    if (count >= 2 && take_id(&args[1], &task->server)) {
        reply_error(out, "ERR a server's id is a number above 0");
        return -1;
    }
    return task->id == COMMAND_RAFT_ADD ? take_add(task, args, count, out) : 0;
}

void admin_begin(struct server *server, struct client *client, const struct command *command,
                 const struct slice *args, size_t count)
{
    uint64_t now_ms = server->io->now_ms(server->io->ctx);
    struct task *task = calloc(1, sizeof *task);
    raft_status status = {.size = sizeof status};

    if (!task) {
        reply_error(&client->out, "ERR out of memory");
        return;
    }
    task->id = command->id;
    task->deadline_ms = now_ms + TASK_MS;
    task->given_up = server->transfers_given_up;
    raft_get_status(server->node, &status);
    task->index = status.applied_index;
    if (take_arguments(task, args, count, &client->out)) {
        free(task);
        return;
    }
    client->task = task;
    server->task_count++;
    check_client(server, client, now_ms);
}
