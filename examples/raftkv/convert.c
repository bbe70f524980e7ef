/*
 * What makes a log of one protocol one of the other.
 *
 *   (1) Raft compares logs by (last term, last index), Multi-Paxos by (accepted round, last index).
 *       Where both are the same pair, both find the same log to be the best of any set, and the
 *       best log of an election quorum has everything that was committed (R12, P4). So on the way
 *       to Multi-Paxos the accepted round becomes the last term, and the way back is open only
 *       where it is that: an entry of the last leader's own term has reached the server (P15).
 *   (2) Memberships name the other protocol, in metadata and in entries: the same change of the
 *       same bytes on every server, so (index, term) still says what an entry is.
 *   (3) No term is led under both protocols, or it could give one (index, term) two contents (I23):
 *       a server that was behind must not begin with a term that another was elected in. Therefore
 *       the term goes up by more than the elections that a server can have missed. Nobody owns
 *       where it begins, and nobody was voted for in it.
 */
#include "convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server_parts.h"

enum { PAGE_BYTES = 256 * 1024 };

/* 2^48 terms: of Multi-Paxos 2^32 rounds. At a hundred elections a second, more than a year. */
#define TERM_SHIFT 48

struct conversion {
    struct past *past;
    int protocol;
    const char *directory;
    char *error;
    wal *log;
    uint64_t seq;
    int stored; /* status of the last write */
};

static int fail(const struct conversion *conversion, const char *what, const char *why)
{
    snprintf(conversion->error, PAST_ERROR_MAX, "%s: %s", what, why);
    return -1;
}

raft_term convert_term(const struct past *past)
{
    return ((past->status.term >> TERM_SHIFT) + 2) << TERM_SHIFT;
}

int convert_check(const struct past *past, int protocol, char error[PAST_ERROR_MAX])
{
    const char *name = options_protocol_name(protocol);
    int size = 0;

    if (past->protocol == protocol) {
        size = snprintf(error, PAST_ERROR_MAX, "%s: it is of %s already", past->path, name);
    } else if (past->status.member_count == 0) {
        size = snprintf(error, PAST_ERROR_MAX,
                        "%s: it holds no membership; begin with an empty directory and --protocol "
                        "%s",
                        past->path, name);
    } else if (convert_term(past) >> 63) {
        size = snprintf(error, PAST_ERROR_MAX, "%s: no terms are left", past->path);
    } else if (protocol == RAFT_PROTOCOL_RAFT && past->state.accepted_round != past->last_term) {
        size = snprintf(error, PAST_ERROR_MAX,
                        "%s: its last entry is of term %llu, but its log was agreed on in term "
                        "%llu: Raft could not tell which log is the best. Start the servers once "
                        "more, write something, wait until all hold it, and stop the leader last",
                        past->path, (unsigned long long)past->last_term,
                        (unsigned long long)past->state.accepted_round);
    }
    return size ? -1 : 0;
}

/* ---- The log -------------------------------------------------------------------------------- */

static void on_stored(void *ctx, uint64_t group, uint64_t seq, int status)
{
    struct conversion *conversion = ctx;

    (void)group;
    (void)seq;
    conversion->stored = status;
}

static int store(struct conversion *conversion, raft_write *write)
{
    int code;

    write->seq = ++conversion->seq;
    conversion->stored = RAFT_PENDING;
    code = wal_append(conversion->log, SERVER_GROUP, write);
    if (code == RAFT_PENDING) {
        wal_commit(conversion->log);
        wal_collect(conversion->log, on_stored, conversion);
        code = conversion->stored;
    }
    return code == RAFT_OK
               ? 0
               : fail(conversion, conversion->directory, "the log could not be written");
}

/* The hard state, and what the log begins with. */
static int store_beginning(struct conversion *conversion)
{
    struct past *past = conversion->past;
    int is_paxos = conversion->protocol == RAFT_PROTOCOL_MULTIPAXOS;
    raft_write write = {.has_state = 1,
                        .state = {.term = convert_term(past),
                                  .accepted_round = is_paxos ? past->last_term : 0,
                                  .lease_max_ms = past->state.lease_max_ms}};

    if (past->meta_size > 0) {
        write.meta = past->meta;
        write.meta_size = past->meta_size;
        write.base_index = past->status.snapshot_index;
        write.base_term = past->status.snapshot_term;
        write.truncate_from = write.base_index > 0 ? write.base_index + 1 : 0;
    }
    return store(conversion, &write);
}

/* Memberships among the entries, where they lie: an encoded entry ends with its payload. */
static int convert_entries(struct conversion *conversion, const raft_range *range)
{
    raft_range rest = *range;
    raft_entry entry;
    int code = RAFT_OK;

    while (code == RAFT_OK && raft_range_next(&rest, &entry)) {
        if (entry.kind == RAFT_ENTRY_CONFIG) {
            void *payload = (uint8_t *)(uintptr_t)entry.data;

            code = raft_membership_convert(payload, entry.size, conversion->protocol);
        }
    }
    return code == RAFT_OK ? 0 : fail(conversion, conversion->past->path, raft_strerror(code));
}

static int store_page(struct conversion *conversion, const raft_fetch *fetch)
{
    raft_range range = {fetch->first, fetch->term, fetch->count, fetch->size, fetch->data};
    raft_write write = {.ranges = &range, .range_count = 1};

    return convert_entries(conversion, &range) || store(conversion, &write) ? -1 : 0;
}

/* What lies behind the checkpoint; those in front of it that were kept for others are not. */
static int store_entries(struct conversion *conversion)
{
    struct past *past = conversion->past;
    raft_index next = past->status.snapshot_index + 1;
    struct past_page page = {0};
    int status = 0;

    while (!status && next <= past->last_index) {
        status = past_read(past, next, &page);
        if (status) {
            snprintf(conversion->error, PAST_ERROR_MAX, "%s", past->error);
        } else {
            status = store_page(conversion, &page.fetch);
            next += page.fetch.count;
        }
    }
    past_page_free(&page);
    return status;
}

static int write_log(struct conversion *conversion)
{
    struct past *past = conversion->past;
    struct wal_options options = {.io = past->io,
                                  .directory = conversion->directory,
                                  .cluster = past->cluster,
                                  .node = past->id};
    struct wal_error why;
    int status;
    int code = wal_open(&options, NULL, NULL, &why, &conversion->log);

    if (code != RAFT_OK) {
        return fail(conversion, conversion->directory,
                    why.system ? strerror(why.system) : raft_strerror(code));
    }
    status = store_beginning(conversion) || store_entries(conversion) ? -1 : 0;
    code = wal_close(conversion->log);
    return status == 0 && code != RAFT_OK
               ? fail(conversion, conversion->directory, raft_strerror(code))
               : status;
}

/* ---- The checkpoint ------------------------------------------------------------------------- */

static int copy_data(checkpoint_reader *reader, checkpoint_writer *writer)
{
    static uint8_t piece[PAGE_BYTES];
    uint64_t offset = 0;
    size_t size = 1;
    int code = RAFT_OK;

    while (code == RAFT_OK && size > 0) {
        code = checkpoint_read(reader, offset, piece, sizeof piece, &size);
        if (code == RAFT_OK && size > 0) {
            code = checkpoint_add(writer, piece, size);
            offset += size;
        }
    }
    return code;
}

static void on_taken(void *ctx, const struct checkpoint_event *event)
{
    int *status = ctx;

    if (event->kind == CHECKPOINT_TAKEN) {
        *status = event->status;
    }
}

static int copy_checkpoint(const struct past *past, checkpoint_reader *reader,
                           checkpoint_store *store)
{
    const struct checkpoint_info *info = checkpoint_read_info(reader);
    checkpoint_writer *writer;
    int taken = RAFT_ESTORAGE;
    int code = checkpoint_begin(store, SERVER_GROUP, info->index, info->term, past->meta,
                                past->meta_size, &writer);

    if (code != RAFT_OK) {
        return code;
    }
    code = copy_data(reader, writer);
    if (code != RAFT_OK) {
        checkpoint_abort(writer);
        return code;
    }
    code = checkpoint_commit(writer);
    checkpoint_collect(store, on_taken, &taken);
    return code == RAFT_OK ? taken : code;
}

static int write_checkpoint(struct conversion *conversion)
{
    struct past *past = conversion->past;
    char directory[CHECKPOINT_DIRECTORY_MAX];
    struct checkpoint_options options = {
        .io = past->io, .directory = directory, .cluster = past->cluster, .node = past->id};
    checkpoint_reader *reader;
    checkpoint_store *store;
    struct checkpoint_error why;
    int code;

    if (!past->has_checkpoint) {
        return 0;
    }
    snprintf(directory, sizeof directory, "%.940s/checkpoints", conversion->directory);
    code = checkpoint_read_path(past->io, past->checkpoint_path, &reader, &why);
    if (code != RAFT_OK) {
        return fail(conversion, past->checkpoint_path, raft_strerror(code));
    }
    code = checkpoint_open(&options, &why, &store);
    if (code == RAFT_OK) {
        code = copy_checkpoint(past, reader, store);
        checkpoint_close(store);
    }
    checkpoint_read_end(reader);
    return code == RAFT_OK ? 0 : fail(conversion, directory, raft_strerror(code));
}

int convert_write(struct past *past, int protocol, const char *directory,
                  char error[PAST_ERROR_MAX])
{
    struct conversion conversion = {
        .past = past, .protocol = protocol, .directory = directory, .error = error};
    int code =
        past->meta_size > 0 ? raft_meta_convert(past->meta, past->meta_size, protocol) : RAFT_OK;

    if (code != RAFT_OK) {
        return fail(&conversion, past->path, raft_strerror(code));
    }
    return write_log(&conversion) || write_checkpoint(&conversion) ? -1 : 0;
}
