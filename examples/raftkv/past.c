/*
 * Reading what a stopped server has left.
 *
 * The log is read twice: to verify it and learn whose it is, and to give it to an engine, which
 * judges whether its writes fit each other and says what they come to. That engine is started, for
 * it checks more then, and never polled: nothing leaves it.
 */
#include "past.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "server_parts.h"

enum { PIECE_BYTES = 256 * 1024 };

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static int
fail(struct past *past, int code, const char *format, ...)
{
    va_list arguments;

    past->is_damaged = code == RAFT_ECORRUPT || code == RAFT_EMALFORMED;
    va_start(arguments, format);
    vsnprintf(past->error, sizeof past->error, format, arguments);
    va_end(arguments);
    return -1;
}

/* ---- The log ---- */

static int fail_log(struct past *past, const struct wal_error *why)
{
    const char *text = why->text[0] ? why->text : raft_strerror(why->code);
    const char *system = why->system ? strerror(why->system) : "";
    const char *colon = why->system ? ": " : "";

    past->is_damaged = why->code == RAFT_ECORRUPT || why->code == RAFT_EFOREIGN;
    if (why->code == RAFT_EBUSY) {
        return fail(past, why->code, "%s: a server runs on it; stop that first", past->path);
    }
    if (!why->file[0]) {
        return fail(past, why->code, "%s: %s%s%s", past->path, text, colon, system);
    }
    return fail(past, why->code == RAFT_EFOREIGN ? RAFT_ECORRUPT : why->code,
                "%s/%s at offset %llu: %s%s%s", past->path, why->file,
                (unsigned long long)why->offset, text, colon, system);
}

static int open_log(struct past *past, wal_replay *replay)
{
    struct wal_options options = {.io = past->io, .directory = past->path, .read_only = 1};
    struct wal_error why;

    wal_close(past->log);
    past->log = NULL;
    return wal_open(&options, replay, past, &why, &past->log) == RAFT_OK ? 0 : fail_log(past, &why);
}

/* Verifies the log, and learns whose it is. */
static int identify(struct past *past)
{
    const struct wal_recovery *found;

    if (open_log(past, NULL)) {
        return -1;
    }
    found = wal_recovered(past->log);
    if (found->segments == 0) {
        return fail(past, RAFT_ESTATE, "%s: there is no log", past->path);
    }
    past->cluster = found->cluster;
    past->id = found->node;
    return 0;
}

static int persist_nothing(void *host, const raft_write *write)
{
    (void)host;
    (void)write;
    return RAFT_ESTORAGE; /* never called: the engine is not polled */
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
    return RAFT_EAPPLY;
}

static int make_node(struct past *past)
{
    raft_options options;
    raft_callbacks callbacks;
    int status;

    raft_options_init(&options);
    options.id = past->id;
    options.cluster = past->cluster;
    options.group = SERVER_GROUP;
    options.protocol = past->protocol;
    options.log_bytes_max = (uint64_t)1 << 62; /* all that was ever stored */
    options.apply_ahead = 1;                   /* as the server says: judged as at its start */
    raft_callbacks_init(&callbacks);
    callbacks.persist = persist_nothing;
    callbacks.send = send_nothing;
    callbacks.apply = apply_nothing;
    status = raft_new(&options, &callbacks, past, &past->node);
    return status == RAFT_OK ? 0 : fail(past, status, "the engine: %s", raft_strerror(status));
}

static void keep_meta(struct past *past, const void *meta, size_t size)
{
    if (size <= sizeof past->meta) {
        memcpy(past->meta, meta, size);
        past->meta_size = size;
    }
}

/* base_index and base_term of the last metadata in the log are kept as those of the checkpoint. */
static int replay(void *ctx, uint64_t group, const raft_write *write)
{
    struct past *past = ctx;
    int code;

    if (group != SERVER_GROUP) {
        return RAFT_ECORRUPT;
    }
    if (write->has_state) {
        past->state = write->state;
    }
    if (write->meta) {
        past->checkpoint_index = write->base_index;
        past->checkpoint_term = write->base_term;
        keep_meta(past, write->meta, write->meta_size);
    }
    code = raft_restore(past->node, write);
    past->is_foreign = code == RAFT_EFOREIGN;
    return code;
}

/* Gives the log to an engine of one protocol, and to one of the other where it is not of that. */
static int replay_log(struct past *past)
{
    int status = -1;

    for (int protocol = RAFT_PROTOCOL_RAFT; protocol <= RAFT_PROTOCOL_MULTIPAXOS; protocol++) {
        past->protocol = protocol;
        past->is_foreign = 0;
        raft_free(past->node);
        past->node = NULL;
        status = make_node(past) || open_log(past, replay) ? -1 : 0;
        if (!past->is_foreign) {
            break;
        }
    }
    return status;
}

/* ---- Checkpoints ---- */

struct names {
    struct checkpoint_name *items;
    size_t count, capacity;
};

static int note_name(void *arg, const char *text)
{
    struct names *names = arg;
    struct checkpoint_name name;

    if (!checkpoint_parse_name(text, &name) ||
        (name.stage != CHECKPOINT_FINAL && name.stage != CHECKPOINT_COMPLETE)) {
        return 0; /* what was being written when the server stopped is no checkpoint */
    }
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? 2 * names->capacity : 8;
        struct checkpoint_name *items = realloc(names->items, capacity * sizeof *items);

        if (!items) {
            return 1;
        }
        names->items = items;
        names->capacity = capacity;
    }
    names->items[names->count++] = name;
    return 0;
}

static int fail_checkpoint(struct past *past, const char *path, const struct checkpoint_error *why)
{
    if (why->code == RAFT_ECORRUPT) {
        return fail(past, why->code, "%s at offset %llu: %s", path, (unsigned long long)why->offset,
                    why->text);
    }
    return fail(past, why->code, "%s: %s%s%s", path, why->text, why->system ? ": " : "",
                why->system ? strerror(why->system) : "");
}

/* Every block of a file. */
static int verify(struct past *past, const char *path, checkpoint_reader *reader)
{
    uint64_t offset = 0;
    int code = checkpoint_read_verify(reader, &offset);

    return code == RAFT_OK
               ? 0
               : fail(past, code, "%s at offset %llu: %s", path, (unsigned long long)offset,
                      code == RAFT_ECORRUPT ? "a block of the checkpoint is damaged"
                                            : raft_strerror(code));
}

static int verify_named(struct past *past, const struct checkpoint_options *options,
                        const struct checkpoint_name *name)
{
    char path[CHECKPOINT_PATH_MAX];
    struct checkpoint_error why;
    checkpoint_reader *reader;
    int code = checkpoint_read_file(options, name, &reader, &why);

    checkpoint_path(options->directory, name, path);
    if (code != RAFT_OK) {
        why.code = code == RAFT_EFOREIGN ? RAFT_ECORRUPT : code;
        return fail_checkpoint(past, path, &why);
    }
    code = verify(past, path, reader);
    checkpoint_read_end(reader);
    past->checkpoint_files += code == 0;
    return code;
}

/* Whether a starting server would use this one rather than that one (null: none yet). */
static int is_better(const struct past *past, const struct checkpoint_name *name,
                     const struct checkpoint_name *best)
{
    int is_base = name->index == past->checkpoint_index && name->term == past->checkpoint_term;

    if (name->stage == CHECKPOINT_COMPLETE && !is_base) {
        return 0; /* it was received, but did not get into the log */
    }
    if (!best || name->index != best->index) {
        return !best || name->index > best->index;
    }
    return name->term > best->term;
}

static int choose(struct past *past, const struct checkpoint_options *options,
                  const struct names *names)
{
    const struct checkpoint_name *best = NULL;

    for (size_t i = 0; i < names->count; i++) {
        if (names->items[i].group != SERVER_GROUP) {
            continue;
        }
        if (verify_named(past, options, &names->items[i])) {
            return -1;
        }
        if (is_better(past, &names->items[i], best)) {
            best = &names->items[i];
        }
    }
    if (past->checkpoint_index > 0 && !past->is_witness &&
        (!best || best->index < past->checkpoint_index)) {
        return fail(past, RAFT_ECORRUPT,
                    "%s: the checkpoint at %llu, with which the log begins, is missing",
                    options->directory, (unsigned long long)past->checkpoint_index);
    }
    past->has_checkpoint = best != NULL;
    if (best) {
        checkpoint_path(options->directory, best, past->checkpoint_path);
    }
    return 0;
}

static int find_checkpoint(struct past *past)
{
    char directory[CHECKPOINT_DIRECTORY_MAX];
    struct checkpoint_options options = {
        .io = past->io, .directory = directory, .cluster = past->cluster, .node = past->id};
    struct names names = {0};
    int status;

    snprintf(directory, sizeof directory, "%s/checkpoints", past->path);
    status = past->io->list(past->io->ctx, directory, note_name, &names);
    if (status > 0) {
        status = fail(past, RAFT_ENOMEM, "no memory");
    } else if (status < 0 && status != -ENOENT) { /* without the directory there is none */
        status = fail(past, RAFT_ESTORAGE, "%s: %s", directory, strerror(-status));
    } else {
        status = choose(past, &options, &names);
    }
    free(names.items);
    return status;
}

/* ---- The keyspace ---- */

static struct store_load *begin_load(const struct past *past)
{
    uint8_t secret[16];

    return past->io->random(past->io->ctx, secret, sizeof secret) == 0 ? store_load_begin(secret)
                                                                       : NULL;
}

static int feed(struct store_load *load, checkpoint_reader *reader)
{
    static uint8_t piece[PIECE_BYTES];
    uint64_t offset = 0;
    size_t size = 1;
    int status = STORE_OK;

    while (status == STORE_OK && size > 0) {
        if (checkpoint_read(reader, offset, piece, sizeof piece, &size) != RAFT_OK) {
            return STORE_ECORRUPT;
        }
        offset += size;
        status = size > 0 ? store_load_feed(load, piece, size) : STORE_OK;
    }
    return status;
}

static const char *load_text(int status)
{
    return status == STORE_NOMEM      ? "no memory"
           : status == STORE_EVERSION ? "its content was written by another version"
                                      : "its content is no snapshot of a keyspace";
}

static int load_code(int status)
{
    return status == STORE_NOMEM      ? RAFT_ENOMEM
           : status == STORE_EVERSION ? RAFT_EVERSION
                                      : RAFT_ECORRUPT;
}

static int load(struct past *past, checkpoint_reader *reader)
{
    const struct checkpoint_info *info = checkpoint_read_info(reader);
    struct store_load *loading = begin_load(past);
    uint64_t applied = 0;
    int status = loading ? feed(loading, reader) : STORE_NOMEM;
    int end = loading ? store_load_end(loading, &past->store, &applied) : STORE_NOMEM;

    status = status == STORE_OK ? end : status;
    if (status == STORE_OK && applied != info->index) {
        status = STORE_ECORRUPT;
    }
    if (status != STORE_OK) {
        return fail(past, load_code(status), "%s: %s", past->checkpoint_path, load_text(status));
    }
    past->checkpoint_index = info->index;
    past->checkpoint_term = info->term;
    past->checkpoint_bytes = info->size;
    past->applied_index = info->index;
    return 0;
}

/* The engine is told of the checkpoint last, as at a start. */
static int restore(struct past *past, const struct checkpoint_info *info)
{
    raft_write write = {.meta = info->meta,
                        .meta_size = info->meta_size,
                        .base_index = info->index,
                        .base_term = info->term};
    int code = raft_restore(past->node, &write);

    keep_meta(past, info->meta, info->meta_size);
    return code == RAFT_OK ? 0
                           : fail(past, code, "%s: it does not fit the log: %s",
                                  past->checkpoint_path, raft_strerror(code));
}

static int open_checkpoint(struct past *past)
{
    struct checkpoint_error why;
    checkpoint_reader *reader;
    int status;

    if (checkpoint_read_path(past->io, past->checkpoint_path, &reader, &why) != RAFT_OK) {
        return fail_checkpoint(past, past->checkpoint_path, &why);
    }
    status = load(past, reader);
    if (!status && past->node) {
        status = restore(past, checkpoint_read_info(reader));
    }
    checkpoint_read_end(reader);
    return status;
}

static int make_empty_store(struct past *past)
{
    uint8_t secret[16];

    if (past->io->random(past->io->ctx, secret, sizeof secret) == 0) {
        past->store = store_new(secret);
    }
    return past->store ? 0 : fail(past, RAFT_ENOMEM, "no memory, or no random bytes");
}

/* ---- The end of the log ---- */

/* The page grows where one entry is larger. */
static int fill_page(struct past *past, raft_index first, struct past_page *page)
{
    raft_fetch *fetch = &page->fetch;
    int code = RAFT_ESIZE;

    fetch->size = fetch->data ? page->capacity : PIECE_BYTES;
    while (code == RAFT_ESIZE) {
        if (fetch->size > page->capacity) {
            past_page_free(page);
            fetch->data = malloc(fetch->size);
            page->capacity = fetch->data ? fetch->size : 0;
        }
        if (!fetch->data) {
            return RAFT_ENOMEM;
        }
        fetch->first = first;
        fetch->last = past->last_index;
        fetch->term = 0;
        fetch->capacity = page->capacity;
        code = wal_read(past->log, SERVER_GROUP, fetch);
    }
    return code;
}

int past_read(struct past *past, raft_index first, struct past_page *page)
{
    int code = fill_page(past, first, page);

    return code == RAFT_OK ? 0
                           : fail(past, code, "%s: entry %llu: %s", past->path,
                                  (unsigned long long)first, raft_strerror(code));
}

void past_page_free(struct past_page *page)
{
    free(page->fetch.data);
    page->fetch.data = NULL;
    page->capacity = 0;
}

static int learn_end(struct past *past)
{
    raft_fetch fetch = {.first = past->last_index, .last = past->last_index};
    uint8_t none[8];
    int code;

    past->last_index = past->status.last_index;
    past->last_term = past->status.snapshot_term;
    if (past->last_index == past->status.snapshot_index) {
        return 0;
    }
    fetch.first = past->last_index;
    fetch.last = past->last_index;
    fetch.data = none;
    fetch.capacity = sizeof none;
    code = wal_read(past->log, SERVER_GROUP, &fetch); /* the term is told even without room */
    if (code != RAFT_OK && code != RAFT_ESIZE) {
        return fail(past, code, "%s: the last entry, %llu: %s", past->path,
                    (unsigned long long)past->last_index, raft_strerror(code));
    }
    past->last_term = fetch.term;
    return 0;
}

static int apply_page(struct past *past, const raft_fetch *fetch)
{
    raft_range rest = {fetch->first, fetch->term, fetch->count, fetch->size, fetch->data};
    raft_entry entry;

    while (raft_range_next(&rest, &entry)) {
        int status = COMMAND_OK;

        if (entry.kind == RAFT_ENTRY_STRIPPED) {
            return fail(past, RAFT_ESTATE, "%s: entry %llu has no content: a witness kept it",
                        past->path, (unsigned long long)entry.index);
        }
        if (entry.kind == RAFT_ENTRY_DATA) {
            status = command_apply(past->store, entry.data, entry.size, NULL);
        }
        if (status != COMMAND_OK) {
            return fail(
                past, status == COMMAND_ENOMEM ? RAFT_ENOMEM : RAFT_EVERSION,
                "%s: entry %llu cannot be applied: %s", past->path, (unsigned long long)entry.index,
                status == COMMAND_ENOMEM ? "no memory" : "it was written by another version");
        }
        past->applied_index = entry.index;
    }
    return 0;
}

int past_apply(struct past *past)
{
    struct past_page page = {0};
    int status = 0;

    while (!status && past->applied_index < past->last_index) {
        status = past_read(past, past->applied_index + 1, &page) || apply_page(past, &page.fetch)
                     ? -1
                     : 0;
    }
    past_page_free(&page);
    return status;
}

/* ---- The whole ---- */

static int begin(struct past *past, const char *path)
{
    memset(past, 0, sizeof *past);
    past->io = &io_posix;
    if (strlen(path) >= sizeof past->path) {
        return fail(past, RAFT_EARG, "the path is too long");
    }
    snprintf(past->path, sizeof past->path, "%s", path);
    return 0;
}

static void note_role(struct past *past)
{
    raft_member member;

    for (size_t i = 0; raft_get_member(past->node, i, &member) == RAFT_OK; i++) {
        if (member.id == past->id) {
            past->is_witness = member.role == RAFT_MEMBER_WITNESS;
        }
    }
}

/* The engine's judgement about the whole. */
static int judge(struct past *past)
{
    int code = raft_start(past->node, 0);

    if (code != RAFT_OK) {
        return fail(past, code, "%s: %s", past->path,
                    code == RAFT_ECORRUPT ? "log, checkpoint and hard state do not fit each other"
                                          : raft_strerror(code));
    }
    past->status.size = sizeof past->status;
    raft_get_status(past->node, &past->status);
    return learn_end(past);
}

int past_open(struct past *past, const char *directory)
{
    if (begin(past, directory) || identify(past) || replay_log(past)) {
        return -1;
    }
    note_role(past);
    if (find_checkpoint(past) ||
        (past->has_checkpoint ? open_checkpoint(past) : make_empty_store(past))) {
        return -1;
    }
    return judge(past);
}

int past_open_file(struct past *past, const char *path)
{
    struct checkpoint_error why;
    checkpoint_reader *reader;
    int status;

    if (begin(past, path)) {
        return -1;
    }
    memcpy(past->checkpoint_path, past->path, strlen(past->path) + 1);
    if (checkpoint_read_path(past->io, path, &reader, &why) != RAFT_OK) {
        if (why.code == RAFT_ESTATE) {
            return fail(past, RAFT_ESTATE, "%s: there is no such file", path);
        }
        return fail_checkpoint(past, path, &why);
    }
    past->cluster = checkpoint_read_info(reader)->cluster;
    past->id = checkpoint_read_info(reader)->node;
    past->has_checkpoint = 1;
    past->checkpoint_files = 1;
    status = verify(past, path, reader) || load(past, reader) ? -1 : 0;
    checkpoint_read_end(reader);
    past->last_index = past->checkpoint_index;
    past->last_term = past->checkpoint_term;
    return status;
}

void past_close(struct past *past)
{
    wal_close(past->log);
    raft_free(past->node);
    store_free(past->store);
    past->log = NULL;
    past->node = NULL;
    past->store = NULL;
}
