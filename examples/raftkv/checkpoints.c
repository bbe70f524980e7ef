/*
 * Checkpoints of the keyspace: taken beside the running service, sent to servers that are far
 * behind, received from a leader, loaded at start. The files are the business of checkpoint.h.
 *
 * Taking one: a view of the keyspace is opened at the applied index, and its bytes go to the writer
 * a piece a turn, while writes go on. When the file is durable the engine gives up the log in front
 * of it, and the log its files.
 *
 * Receiving one: pieces go to a file of their own; the log makes it the one in use, which then gets
 * its name; then it is loaded, a piece a turn, beside the keyspace that it will replace. So clients
 * and timers never wait longer than for a piece.
 */
#include "server_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECE_BYTES = 256 * 1024, /* of a view, or of a file, in one turn */
    DIRECTORY_MAX = 4096
};

/* ---- Taking ---- */

static int is_taking(const struct server *server)
{
    return server->checkpoints.view != NULL;
}

/* Forgets what was written of one. */
static void give_up(struct server *server)
{
    struct checkpoints *mine = &server->checkpoints;

    store_snapshot_end(mine->view);
    checkpoint_abort(mine->writer);
    buffer_free(&mine->piece);
    mine->view = NULL;
    mine->writer = NULL;
}

static void say_failure(const struct server *server, const char *what, int status, int system)
{
    say(server->options->log_level, LOG_ERROR, "%s failed: %s", what,
        system ? strerror(system) : raft_strerror(status));
}

static void begin(struct server *server, const raft_status *status)
{
    struct checkpoints *mine = &server->checkpoints;
    raft_term term;
    int code = raft_snapshot_meta(server->node, mine->meta, sizeof mine->meta, &mine->meta_size);

    mine->is_wanted = 0;
    if (code == RAFT_OK) {
        code = raft_meta_read(mine->meta, mine->meta_size, &mine->index, &term);
    }
    if (code == RAFT_OK) {
        code = checkpoint_begin(mine->store, SERVER_GROUP, mine->index, term, mine->meta,
                                mine->meta_size, &mine->writer);
    }
    if (code != RAFT_OK) {
        if (code != RAFT_ESTATE && code != RAFT_ENOTMEMBER) { /* there is one as new already */
            say_failure(server, "beginning a checkpoint", code, 0);
        }
        return;
    }
    mine->view = store_snapshot_begin(server->store, status->applied_index);
    if (!mine->view) {
        say_failure(server, "beginning a checkpoint", RAFT_ENOMEM, 0);
        give_up(server);
        return;
    }
    mine->waits_for_room = 0;
    mine->has_all = 0;
    say(server->options->log_level, LOG_INFO, "taking a checkpoint at %llu",
        (unsigned long long)mine->index);
}

/* The next piece goes to the writer; the one that found no room before goes first. */
static void go_on(struct server *server)
{
    struct checkpoints *mine = &server->checkpoints;
    int code;

    if (buffer_size(&mine->piece) == 0 && !mine->has_all) {
        int more = store_snapshot_next(mine->view, &mine->piece, PIECE_BYTES);

        if (more < 0) {
            say_failure(server, "taking a checkpoint", RAFT_ENOMEM, 0);
            give_up(server);
            return;
        }
        mine->has_all = more == 0;
    }
    code = checkpoint_add(mine->writer, buffer_bytes(&mine->piece), buffer_size(&mine->piece));
    if (code == RAFT_EBUSY) {
        mine->waits_for_room = 1;
        return;
    }
    if (code != RAFT_OK) {
        say_failure(server, "writing a checkpoint", code, 0);
        give_up(server);
        return;
    }
    buffer_clear(&mine->piece);
    if (mine->has_all) {
        struct checkpoint_writer *writer = mine->writer;

        mine->writer = NULL;
        give_up(server); /* the view; the writer ends by itself */
        mine->is_committing = checkpoint_commit(writer) == RAFT_OK;
    }
}

/* What the newest checkpoint covers is needed neither in memory nor in the log. */
static void trim(struct server *server, raft_index checkpoint)
{
    raft_status status = {.size = sizeof status};

    raft_get_status(server->node, &status);
    wal_trim(server->log, SERVER_GROUP, checkpoint, status.first_index);
}

static void on_taken(struct server *server, const struct checkpoint_event *event)
{
    struct checkpoints *mine = &server->checkpoints;

    mine->is_committing = 0;
    if (event->status != RAFT_OK) {
        say_failure(server, "storing a checkpoint", event->status, event->system);
        return;
    }
    mine->taken_index = event->index;
    mine->taken_count++;
    consensus_check(server, raft_compact(server->node, mine->meta, mine->meta_size));
    trim(server, event->index);
    say(server->options->log_level, LOG_INFO, "checkpoint at %llu is stored",
        (unsigned long long)event->index);
}

/* ---- Receiving and loading ---- */

static void end_load(struct checkpoints *mine)
{
    checkpoint_read_end(mine->reader);
    if (mine->load) {
        store_load_end(mine->load, NULL, NULL);
    }
    mine->reader = NULL;
    mine->load = NULL;
}

static int begin_load(struct server *server, raft_index index, raft_term term,
                      struct checkpoint_error *why)
{
    struct checkpoints *mine = &server->checkpoints;
    uint8_t secret[16];
    int code = checkpoint_read_begin(mine->store, SERVER_GROUP, index, term, &mine->reader, why);

    if (code != RAFT_OK) {
        return code;
    }
    if (server->io->random(server->io->ctx, secret, sizeof secret) == 0) {
        mine->load = store_load_begin(secret);
    }
    mine->load_offset = 0;
    if (!mine->load) {
        *why = (struct checkpoint_error){.code = RAFT_ENOMEM};
        end_load(mine);
        return RAFT_ENOMEM;
    }
    return RAFT_OK;
}

static int load_code(int status)
{
    return status == STORE_NOMEM      ? RAFT_ENOMEM
           : status == STORE_EVERSION ? RAFT_EVERSION
                                      : RAFT_ECORRUPT;
}

/* Takes the fresh keyspace in place of the old one. */
static int finish_load(struct server *server)
{
    struct checkpoints *mine = &server->checkpoints;
    struct store *fresh;
    uint64_t applied;
    int status = store_load_end(mine->load, &fresh, &applied);

    mine->load = NULL;
    if (status != STORE_OK || applied != checkpoint_read_info(mine->reader)->index) {
        store_free(status == STORE_OK ? fresh : NULL);
        end_load(mine);
        return status == STORE_OK ? RAFT_ECORRUPT : load_code(status);
    }
    end_load(mine);
    store_replace(server->store, fresh);
    return RAFT_OK;
}

/* The next piece of the file. RAFT_OK: all of it is loaded; RAFT_PENDING: there is more. */
static int load_piece(struct server *server)
{
    struct checkpoints *mine = &server->checkpoints;
    static uint8_t piece[PIECE_BYTES]; /* of the one thread of the server */
    size_t size;
    int code = checkpoint_read(mine->reader, mine->load_offset, piece, sizeof piece, &size);
    int status;

    if (code != RAFT_OK) {
        end_load(mine);
        return code;
    }
    if (size == 0) {
        return finish_load(server);
    }
    mine->load_offset += size;
    status = store_load_feed(mine->load, piece, size);
    if (status != STORE_OK) {
        end_load(mine);
        return load_code(status);
    }
    return RAFT_PENDING;
}

static void end_loading(struct server *server, int code)
{
    struct checkpoints *mine = &server->checkpoints;

    mine->is_loading = 0;
    if (code == RAFT_OK) {
        mine->taken_index = mine->load_index; /* as good as one of its own */
        trim(server, mine->load_index);
        say(server->options->log_level, LOG_INFO, "checkpoint at %llu from the leader is loaded",
            (unsigned long long)mine->load_index);
    } else {
        server_fail(server, "the checkpoint at %llu cannot be loaded: %s",
                    (unsigned long long)mine->load_index, raft_strerror(code));
    }
    consensus_check(server, raft_applied(server->node, mine->load_index, code));
}

static void begin_loading(struct server *server)
{
    struct checkpoints *mine = &server->checkpoints;
    struct checkpoint_error why;
    int code;

    if (is_taking(server)) {
        give_up(server); /* its keyspace goes */
    }
    code = begin_load(server, mine->load_index, mine->load_term, &why);
    if (code != RAFT_OK) {
        end_loading(server, code);
    }
}

int checkpoints_load(struct server *server, raft_index index, raft_term term)
{
    struct checkpoints *mine = &server->checkpoints;

    mine->is_loading = 1;
    mine->load_index = index;
    mine->load_term = term;
    mine->waits_for_name =
        checkpoint_install(mine->store, SERVER_GROUP, index, term) == RAFT_PENDING;
    if (!mine->waits_for_name) {
        mine->load_is_due = 1; /* not from inside the callback: it may fail and complete at once */
    }
    return RAFT_PENDING;
}

int checkpoints_read(struct server *server, raft_chunk *chunk)
{
    return checkpoint_send(server->checkpoints.store, SERVER_GROUP, chunk);
}

int checkpoints_write(struct server *server, const raft_chunk *chunk)
{
    return checkpoint_receive(server->checkpoints.store, SERVER_GROUP, chunk);
}

void checkpoints_end(struct server *server, raft_id peer)
{
    checkpoint_send_end(server->checkpoints.store, SERVER_GROUP, peer);
    if (server->role != RAFT_ROLE_LEADER) {
        checkpoint_receive_end(server->checkpoints.store, SERVER_GROUP);
    }
}

/* ---- The turn ---- */

static void on_event(void *ctx, const struct checkpoint_event *event)
{
    struct server *server = ctx;
    struct checkpoints *mine = &server->checkpoints;

    switch (event->kind) {
    case CHECKPOINT_TAKEN:
        on_taken(server, event);
        break;
    case CHECKPOINT_RECEIVED:
        consensus_check(server, raft_chunk_written(server->node, event->status));
        break;
    case CHECKPOINT_INSTALLED:
        mine->waits_for_name = 0;
        mine->load_is_due = mine->is_loading;
        if (event->status != RAFT_OK) {
            server_fail(server, "a checkpoint from the leader could not be stored: %s",
                        event->system ? strerror(event->system) : raft_strerror(event->status));
        }
        break;
    default:
        mine->waits_for_room = 0;
        break;
    }
}

void checkpoints_want(struct server *server)
{
    server->checkpoints.is_wanted = 1;
}

int checkpoints_is_under_way(const struct server *server)
{
    const struct checkpoints *mine = &server->checkpoints;

    return mine->is_wanted || is_taking(server) || mine->is_committing || mine->is_loading;
}

static int is_due(const struct server *server, const raft_status *status)
{
    uint64_t entries = server->options->checkpoint_entries;

    return server->checkpoints.is_wanted ||
           (entries > 0 && status->applied_index - status->snapshot_index >= entries);
}

static void load_on(struct server *server)
{
    struct checkpoints *mine = &server->checkpoints;
    int code;

    if (mine->load_is_due) {
        mine->load_is_due = 0;
        begin_loading(server);
    }
    if (mine->load) {
        code = load_piece(server);
        if (code != RAFT_PENDING) {
            end_loading(server, code);
        }
    }
}

void checkpoints_turn(struct server *server)
{
    struct checkpoints *mine = &server->checkpoints;
    raft_status status = {.size = sizeof status};

    checkpoint_collect(mine->store, on_event, server);
    load_on(server);
    if (is_taking(server)) {
        if (!mine->waits_for_room) {
            go_on(server);
        }
        return;
    }
    if (mine->is_committing || mine->is_loading) {
        return;
    }
    raft_get_status(server->node, &status);
    if (status.applied_index > status.snapshot_index && is_due(server, &status)) {
        begin(server, &status);
    }
    mine->is_wanted = 0;
}

/* Nonzero while the next turn has something to do without anything having happened. */
int checkpoints_are_busy(const struct server *server)
{
    const struct checkpoints *mine = &server->checkpoints;

    return mine->load_is_due || mine->load || (is_taking(server) && !mine->waits_for_room) ||
           (mine->is_wanted && !mine->is_committing && !mine->is_loading);
}

/* ---- Opening ---- */

static void explain(const struct server *server, const struct checkpoint_error *why,
                    char error[SERVER_ERROR_MAX])
{
    snprintf(error, SERVER_ERROR_MAX, "%s/checkpoints%s%s: %s%s%s", server->options->directory,
             why->file[0] ? "/" : "", why->file,
             why->text[0] ? why->text : raft_strerror(why->code), why->system ? ": " : "",
             why->system ? strerror(why->system) : "");
}

/* Loads the newest one, and tells the engine what it covers. 0, or -1 with the reason. */
static int load_newest(struct server *server, char error[SERVER_ERROR_MAX])
{
    struct checkpoints *mine = &server->checkpoints;
    const struct checkpoint_info *info;
    struct checkpoint_error why;
    raft_write write = {0};
    int code = begin_load(server, 0, 0, &why);

    if (code != RAFT_OK) {
        explain(server, &why, error);
        return -1;
    }
    info = checkpoint_read_info(mine->reader);
    write.meta = info->meta;
    write.meta_size = info->meta_size;
    write.base_index = info->index;
    write.base_term = info->term;
    mine->taken_index = info->index;
    code = raft_restore(server->node, &write);
    if (code == RAFT_OK) {
        do {
            code = load_piece(server);
        } while (code == RAFT_PENDING);
    }
    if (code != RAFT_OK) {
        end_load(mine);
        snprintf(error, SERVER_ERROR_MAX, "%s/checkpoints: the one at %llu: %s",
                 server->options->directory, (unsigned long long)mine->taken_index,
                 raft_strerror(code));
        return -1;
    }
    say(server->options->log_level, LOG_INFO, "loaded the checkpoint at %llu: %zu keys",
        (unsigned long long)mine->taken_index, store_count(server->store));
    return 0;
}

/* A witness keeps no state: of a checkpoint from the leader the log holds all that it needs. */
static int is_witness(const struct server *server)
{
    raft_member member;

    for (size_t i = 0; raft_get_member(server->node, i, &member) == RAFT_OK; i++) {
        if (member.id == server->options->id) {
            return member.role == RAFT_MEMBER_WITNESS;
        }
    }
    return 0;
}

int checkpoints_open(struct server *server, char error[SERVER_ERROR_MAX])
{
    struct checkpoints *mine = &server->checkpoints;
    char directory[DIRECTORY_MAX];
    struct checkpoint_options options = {.io = server->io,
                                         .directory = directory,
                                         .cluster = server->cluster,
                                         .node = server->options->id,
                                         .writer_thread = 1};
    struct checkpoint_error why;
    raft_index index;
    raft_term term;

    snprintf(directory, sizeof directory, "%s/checkpoints", server->options->directory);
    if (checkpoint_open(&options, &why, &mine->store) != RAFT_OK ||
        checkpoint_recover(mine->store, &mine->base, is_witness(server) ? 0 : 1, &why) != RAFT_OK) {
        explain(server, &why, error);
        return -1;
    }
    return checkpoint_newest(mine->store, SERVER_GROUP, &index, &term) ? load_newest(server, error)
                                                                       : 0;
}

void checkpoints_note_base(struct server *server, const raft_write *write)
{
    if (write->meta) {
        server->checkpoints.base =
            (struct checkpoint_base){SERVER_GROUP, write->base_index, write->base_term};
    }
}

void checkpoints_start(struct server *server)
{
    trim(server, server->checkpoints.taken_index);
}

void checkpoints_close(struct server *server)
{
    struct checkpoints *mine = &server->checkpoints;

    give_up(server);
    end_load(mine);
    checkpoint_close(mine->store);
    mine->store = NULL;
}
