/*
 * The engine and its log, seen from the server.
 *
 * Invariants:
 *   1. What persist is given goes to the log as it is; the log's answers go to the engine in the
 *      order of issue, on this thread.
 *   2. Every proposal that the engine took is in `pending` until it is settled, and room for it was
 *      made before the engine was asked.
 *   3. The clock given to raft_poll is read after everything that was received before (R59).
 *   4. Any error of the fatal tier ends the server. Nothing is retried after a failed sync.
 */
#include "server_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Proposed at once when a batch has grown to this; a turn may see more than one. */
#define BATCH_BYTES_MAX ((size_t)1 << 20)

/* Uncommitted bytes above which requests wait in their buffers, half of what the engine takes. */
#define CONGESTED_BYTES ((uint64_t)32 << 20)

/* Of writes handed to the leader that have no answer yet, two of the longest. */
#define FORWARD_BYTES_MAX ((uint32_t)34 << 20)

/* Of the log in front of a checkpoint, kept for those that are a little behind. */
#define TRAILING_BYTES_MAX ((uint64_t)4 << 20)

enum {
    BATCH_MIN = 64,
    READERS_MIN = 64,
    /* After the lead is lost, writes wait this many longest election timeouts for their fate. */
    GIVE_UP_TIMEOUTS = 2,
    /* The wall clock is looked at this often while keys wait for their end. */
    TICK_WAIT_MS = 1000
};

/* To have been stopped is no failure. */
static int is_fatal(int status)
{
    return status <= RAFT_ESTORAGE && status != RAFT_ESTOPPED;
}

void consensus_check(struct server *server, int status)
{
    int cause;

    if (!is_fatal(status)) {
        return;
    }
    cause = wal_failed(server->log);
    if (status == RAFT_ESTORAGE && cause) {
        server_fail(server, "the log could not be written: %s", strerror(cause));
    } else {
        server_fail(server, "%s", raft_strerror(status));
    }
}

/* ---- Callbacks of the engine ---- */

static int on_persist(void *host, const raft_write *write)
{
    struct server *server = host;

    return wal_append(server->log, SERVER_GROUP, write);
}

static void on_send(void *host, const raft_message *message)
{
    struct server *server = host;

    if (server->transport) {
        transport_send(server->transport, message);
    }
}

static int on_read_log(void *host, raft_fetch *fetch)
{
    struct server *server = host;

    return wal_read(server->log, SERVER_GROUP, fetch);
}

static int on_snapshot_read(void *host, raft_chunk *chunk)
{
    return checkpoints_read(host, chunk);
}

static int on_snapshot_write(void *host, const raft_chunk *chunk)
{
    return checkpoints_write(host, chunk);
}

static int on_snapshot_load(void *host, raft_index index, raft_term term)
{
    return checkpoints_load(host, index, term);
}

/* Settles those that wait for this entry or for one that it replaced. */
static int apply_entry(struct server *server, const raft_entry *entry)
{
    struct waiter waiter;
    enum pending_outcome outcome;

    while ((outcome = pending_settle(&server->pending, entry->index, entry->term, &waiter)) !=
           PENDING_NONE) {
        struct client *client = server_client(server, waiter.slot, waiter.generation);

        if (outcome == PENDING_APPLIED && client && client_request(client, waiter.number)) {
            return requests_apply(server, client, &waiter, entry);
        }
        if (outcome == PENDING_APPLIED) {
            break;
        }
        server->stats.writes_dropped++;
        requests_settle(server, &waiter, ANSWER_REDIRECT);
    }
    return forward_apply(server, entry);
}

static int on_apply(void *host, const raft_range *range)
{
    struct server *server = host;
    raft_range rest = *range;
    raft_entry entry;

    while (raft_range_next(&rest, &entry)) {
        int status = apply_entry(server, &entry);

        if (status != COMMAND_OK) {
            server_fail(server, "entry %llu cannot be applied: %s", (unsigned long long)entry.index,
                        status == COMMAND_ENOMEM ? "out of memory"
                                                 : "it was written by another version");
            return RAFT_EAPPLY;
        }
    }
    return RAFT_OK;
}

static void say_role(const struct server *server, const raft_event *event)
{
    if (event->kind == RAFT_EVENT_ROLE) {
        say(server->options->log_level, LOG_INFO, "%s in term %llu",
            topology_role_name(event->role), (unsigned long long)event->term);
    } else if (event->leader && event->leader != server->options->id) {
        say(server->options->log_level, LOG_INFO, "server %llu leads in term %llu",
            (unsigned long long)event->leader, (unsigned long long)event->term);
    }
}

static uint64_t longest_timeout_ms(const struct server *server)
{
    return 2 * (uint64_t)server->options->election_ms;
}

static void on_role(struct server *server, const raft_event *event)
{
    int had_lead = server->role == RAFT_ROLE_LEADER;

    if (event->kind == RAFT_EVENT_ROLE) {
        server->role = event->role;
    }
    server->leader = event->leader;
    server->term = event->term;
    if (had_lead && server->role != RAFT_ROLE_LEADER) {
        server->give_up_ms =
            server->io->now_ms(server->io->ctx) + GIVE_UP_TIMEOUTS * longest_timeout_ms(server);
    }
    say_role(server, event);
}

static void on_read(struct server *server, const raft_event *event)
{
    if (event->status == RAFT_OK) {
        requests_reads_confirmed(server, event->tag);
    } else {
        requests_reads_failed(server, event->tag,
                              event->status == RAFT_ETIMEOUT ? ANSWER_LATE : ANSWER_REDIRECT);
    }
}

/* Who belongs to the cluster has changed, or is certain now. */
static void on_members(struct server *server, const raft_event *event)
{
    raft_id self = server->options->id;
    int was_member = topology_member(server, self) != NULL;

    topology_load(server);
    if (was_member && !topology_member(server, self)) {
        say(server->options->log_level, LOG_INFO, "server %llu is no member any more%s",
            (unsigned long long)self, event->status ? "" : ", once that is committed");
    }
    (void)topology_connect(server, 0); /* an address that is not allowed was said to be so */
}

static void on_dropped(struct server *server, const raft_event *event)
{
    pending_mark(&server->pending, event->first, event->last, event->term,
                 event->status == RAFT_EDROPPED ? PENDING_DROPPED : PENDING_UNKNOWN);
}

static void on_notify(void *host, const raft_event *event)
{
    struct server *server = host;

    switch (event->kind) {
    case RAFT_EVENT_ROLE:
    case RAFT_EVENT_LEADER:
        on_role(server, event);
        break;
    case RAFT_EVENT_READ:
        on_read(server, event);
        break;
    case RAFT_EVENT_DROPPED:
        on_dropped(server, event);
        break;
    case RAFT_EVENT_FORWARDED:
        forward_told(server, event);
        break;
    case RAFT_EVENT_MEMBERS:
        on_members(server, event);
        break;
    case RAFT_EVENT_SNAPSHOT_WANTED:
        checkpoints_want(server);
        break;
    case RAFT_EVENT_SNAPSHOT_END:
        checkpoints_end(server, event->peer);
        break;
    case RAFT_EVENT_TRANSFER:
        server->transfers_given_up++;
        break;
    case RAFT_EVENT_REGRESSION:
        say(server->options->log_level, LOG_ERROR,
            "server %llu has lost what it had acknowledged: RAFT.REMOVE it, and add it under a "
            "new number with an empty directory",
            (unsigned long long)event->peer);
        break;
    case RAFT_EVENT_FATAL:
        server->has_stopped = event->status == RAFT_ESTOPPED;
        consensus_check(server, event->status);
        break;
    default:
        break;
    }
}

/* ---- Opening ---- */

static int replay(void *ctx, uint64_t group, const raft_write *write)
{
    struct server *server = ctx;
    int status = group == SERVER_GROUP ? RAFT_OK : RAFT_ECORRUPT;

    checkpoints_note_base(server, write);
    if (status == RAFT_OK) {
        status = raft_restore(server->node, write);
        server->is_other_protocol = status == RAFT_EFOREIGN;
    }
    return status;
}

static void explain_log(const struct server *server, const struct wal_error *why,
                        char error[SERVER_ERROR_MAX])
{
    const char *directory = server->options->directory;
    const char *text = why->text[0] ? why->text : raft_strerror(why->code);

    if (server->is_other_protocol) {
        snprintf(error, SERVER_ERROR_MAX,
                 "%s belongs to a cluster that does not agree by %s: give its --protocol, or "
                 "convert all of its directories with raftkv-recover",
                 directory, options_protocol_name(server->options->protocol));
    } else if (why->code == RAFT_EFULL) {
        snprintf(error, SERVER_ERROR_MAX, "%s: the log is larger than --log-bytes", directory);
    } else if (why->file[0]) {
        snprintf(error, SERVER_ERROR_MAX, "%s/%s at offset %llu: %s%s%s", directory, why->file,
                 (unsigned long long)why->offset, text, why->system ? ": " : "",
                 why->system ? strerror(why->system) : "");
    } else {
        snprintf(error, SERVER_ERROR_MAX, "%s: %s%s%s", directory, text, why->system ? ": " : "",
                 why->system ? strerror(why->system) : "");
    }
}

static int open_node(struct server *server, char error[SERVER_ERROR_MAX])
{
    const struct options *given = server->options;
    raft_options options;
    raft_callbacks callbacks;
    int status;

    raft_options_init(&options);
    options.id = given->id;
    options.cluster = server->cluster;
    options.group = SERVER_GROUP;
    options.protocol = given->protocol;
    options.election_timeout_ms = given->election_ms;
    options.heartbeat_ms = given->heartbeat_ms;
    options.log_bytes_max = given->log_bytes;
    options.snapshot_log_bytes = given->log_bytes / 4;
    options.trailing_bytes =
        given->log_bytes / 16 < TRAILING_BYTES_MAX ? given->log_bytes / 16 : TRAILING_BYTES_MAX;
    options.forward_bytes_max = given->forward ? FORWARD_BYTES_MAX : 0;
    options.apply_ahead = 1; /* the keyspace is rebuilt from the log */
    if (server->io->random(server->io->ctx, &options.seed, sizeof options.seed) ||
        server->io->random(server->io->ctx, &options.incarnation, sizeof options.incarnation)) {
        snprintf(error, SERVER_ERROR_MAX, "no random bytes"); /* no two runs may be alike (R63) */
        return -1;
    }
    options.incarnation |= 1; /* not 0: reads may be asked of the leader from here */
    raft_callbacks_init(&callbacks);
    callbacks.persist = on_persist;
    callbacks.send = on_send;
    callbacks.apply = on_apply;
    callbacks.read_log = on_read_log;
    callbacks.snapshot_read = on_snapshot_read;
    callbacks.snapshot_write = on_snapshot_write;
    callbacks.snapshot_load = on_snapshot_load;
    callbacks.notify = on_notify;
    status = raft_new(&options, &callbacks, server, &server->node);
    if (status != RAFT_OK) {
        snprintf(error, SERVER_ERROR_MAX, "the engine: %s", raft_strerror(status));
        return -1;
    }
    return 0;
}

static int open_log(struct server *server, char error[SERVER_ERROR_MAX])
{
    struct wal_options options = {.io = server->io,
                                  .directory = server->options->directory,
                                  .cluster = server->cluster,
                                  .node = server->options->id,
                                  .sync_never = server->options->sync_never,
                                  .writer_thread = 1};
    const struct wal_recovery *found;
    struct wal_error why;

    if (wal_open(&options, replay, server, &why, &server->log) != RAFT_OK) {
        explain_log(server, &why, error);
        return -1;
    }
    found = wal_recovered(server->log);
    if (found->torn) {
        say(server->options->log_level, LOG_WARN,
            "%s/%s: the last write was cut short by a crash; the log ends at offset %llu",
            server->options->directory, found->torn_file, (unsigned long long)found->torn_offset);
    }
    say(server->options->log_level, LOG_INFO, "recovered %llu writes from %llu files in %s",
        (unsigned long long)found->writes, (unsigned long long)found->segments,
        server->options->directory);
    return 0;
}

/* The blob of a cluster of one. An address that is not the same at the next start is left out. */
static size_t sole_blob(const struct server *server, char out[RAFT_BLOB_MAX + 1])
{
    const struct options *options = server->options;
    const char *peer = options->peer_listen ? options->peer_listen : "";
    struct address listen;
    int is_fixed = address_parse(options->listen, &listen) == 0 && address_port(&listen) != 0;
    int size = snprintf(out, RAFT_BLOB_MAX + 1, "%s%s%s", peer, is_fixed ? "/" : "",
                        is_fixed ? options->listen : "");

    return size < 0 || (size_t)size > RAFT_BLOB_MAX ? 0 : (size_t)size;
}

static int found_group(struct server *server, char error[SERVER_ERROR_MAX])
{
    const struct options *options = server->options;
    raft_member members[RAFT_MEMBERS_MAX];
    char blob[RAFT_BLOB_MAX + 1];
    size_t count = options->founder_count;
    int status;

    for (size_t i = 0; i < count; i++) {
        members[i] = (raft_member){.id = options->founders[i].id,
                                   .blob = options->founders[i].blob,
                                   .blob_size = options->founders[i].blob_size};
    }
    if (count == 0) {
        members[count++] =
            (raft_member){.id = options->id, .blob = blob, .blob_size = sole_blob(server, blob)};
    }
    status = raft_bootstrap(server->node, members, count);
    if (status != RAFT_OK) {
        snprintf(error, SERVER_ERROR_MAX, "founding: %s", raft_strerror(status));
        return -1;
    }
    say(options->log_level, LOG_INFO, "founding cluster %s of %zu", options->cluster, count);
    return 0;
}

/* Says so where the command line names other members than the directory holds. */
static void compare_founders(const struct server *server)
{
    const struct options *options = server->options;
    raft_member member;
    int differs = 0;
    size_t count = 0;

    for (; raft_get_member(server->node, count, &member) == RAFT_OK; count++) {
        const struct founder *named = &options->founders[count];

        differs |= count >= options->founder_count || named->id != member.id ||
                   named->blob_size != member.blob_size ||
                   memcmp(named->blob, member.blob, member.blob_size) != 0;
        if (differs) {
            break;
        }
    }
    if (options->founder_count > 0 && (differs || count != options->founder_count)) {
        say(options->log_level, LOG_WARN,
            "--peers differs from the membership in %s, which governs", options->directory);
    }
}

int consensus_open(struct server *server, char error[SERVER_ERROR_MAX])
{
    server->cluster = options_cluster_id(server->options->cluster);
    server->give_up_ms = UINT64_MAX;
    pending_init(&server->pending, sizeof(struct waiter));
    if (open_node(server, error) || open_log(server, error) || checkpoints_open(server, error)) {
        return -1;
    }
    if (wal_recovered(server->log)->writes == 0) {
        return server->options->join ? 0 : found_group(server, error);
    }
    compare_founders(server);
    return 0;
}

/*
 * A server that does not lead has an answer for everything, so its clients need not wait; but the
 * only one of its cluster will lead in a moment.
 */
static void measure_congestion(struct server *server)
{
    raft_status status = {.size = sizeof status};

    raft_get_status(server->node, &status);
    if (server->role == RAFT_ROLE_LEADER) {
        server->is_congested = status.uncommitted_bytes > CONGESTED_BYTES;
    } else {
        server->is_congested = server->member_count == 1;
    }
}

int consensus_start(struct server *server, char error[SERVER_ERROR_MAX])
{
    int status = raft_start(server->node, server->io->now_ms(server->io->ctx));

    if (status != RAFT_OK) {
        snprintf(error, SERVER_ERROR_MAX, "%s: %s", server->options->directory,
                 raft_strerror(status));
        return -1;
    }
    if (server->member_count == 1 && server->members[0].id == server->options->id) {
        raft_campaign(server->node); /* nobody else can lead: why wait for a timeout? */
    }
    checkpoints_start(server);
    measure_congestion(server);
    return 0;
}

static void free_batch(struct batch *batch)
{
    buffer_free(&batch->payloads);
    free(batch->sizes);
    free(batch->waiters);
    free(batch->parts);
}

int consensus_close(struct server *server)
{
    int status = wal_close(server->log); /* before the node: it was lent the node's bytes */

    checkpoints_close(server);
    raft_free(server->node);
    pending_free(&server->pending);
    free_batch(&server->batch);
    forward_free(&server->forwards);
    free(server->readers.items);
    return status == RAFT_OK ? 0 : -1;
}

/* ---- Proposing ---- */

static int grow_batch(struct batch *batch)
{
    size_t capacity = batch->capacity ? 2 * batch->capacity : BATCH_MIN;
    size_t *sizes = realloc(batch->sizes, capacity * sizeof *sizes);
    struct waiter *waiters;
    raft_buf *parts;

    if (sizes) {
        batch->sizes = sizes;
    }
    waiters = realloc(batch->waiters, capacity * sizeof *waiters);
    if (waiters) {
        batch->waiters = waiters;
    }
    parts = realloc(batch->parts, capacity * sizeof *parts);
    if (parts) {
        batch->parts = parts;
    }
    if (!sizes || !waiters || !parts) {
        return -1;
    }
    batch->capacity = capacity;
    return 0;
}

static enum request_answer answer_of(int status)
{
    switch (status) {
    case RAFT_ENOTLEADER:
    case RAFT_ENOLEADER:
    case RAFT_ENOTMEMBER:
        return ANSWER_REDIRECT;
    case RAFT_EFULL:
        return ANSWER_FULL;
    case RAFT_ESIZE:
        return ANSWER_TOO_LARGE;
    default:
        return ANSWER_BUSY;
    }
}

static void refuse_batch(struct server *server, int status)
{
    struct batch *batch = &server->batch;

    consensus_check(server, status);
    server->tick_ms = 0; /* there may have been one */
    for (size_t i = 0; i < batch->count; i++) {
        requests_settle(server, &batch->waiters[i], answer_of(status));
    }
}

static int propose_parts(struct server *server, raft_index *first, raft_term *term)
{
    struct batch *batch = &server->batch;
    const char *payload = buffer_bytes(&batch->payloads);

    if (pending_reserve(&server->pending, batch->count)) {
        return RAFT_ENOMEM;
    }
    for (size_t i = 0; i < batch->count; i++) {
        batch->parts[i] = (raft_buf){payload, batch->sizes[i]};
        payload += batch->sizes[i];
    }
    return raft_propose_many(server->node, batch->parts, batch->count, first, term);
}

static void propose_batch(struct server *server)
{
    struct batch *batch = &server->batch;
    raft_index first;
    raft_term term;
    int status;

    if (batch->count == 0) {
        return;
    }
    status = propose_parts(server, &first, &term);
    if (status == RAFT_OK) {
        for (size_t i = 0; i < batch->count; i++) {
            pending_add(&server->pending, first + i, term, &batch->waiters[i]);
        }
    } else {
        refuse_batch(server, status);
    }
    batch->count = 0;
    buffer_clear(&batch->payloads);
    measure_congestion(server);
}

/* Makes room for one more in the batch. 0, or -1 where memory fails. */
static int open_item(struct server *server)
{
    struct batch *batch = &server->batch;

    if (buffer_size(&batch->payloads) >= BATCH_BYTES_MAX) {
        propose_batch(server);
    }
    return batch->count == batch->capacity && grow_batch(batch) ? -1 : 0;
}

/* Notes what was encoded behind `before` bytes, or takes it back where that failed. */
static int close_item(struct server *server, const struct waiter *waiter, size_t before, int status)
{
    struct batch *batch = &server->batch;

    if (status != COMMAND_OK) {
        batch->payloads.end = batch->payloads.start + before;
        batch->payloads.failed = 0;
        return -1;
    }
    batch->sizes[batch->count] = buffer_size(&batch->payloads) - before;
    batch->waiters[batch->count++] = *waiter;
    return 0;
}

int consensus_add(struct server *server, const struct waiter *waiter, const struct command *command,
                  const struct slice *args, size_t count)
{
    struct buffer *payloads = &server->batch.payloads;
    size_t before;

    if (open_item(server)) {
        return -1;
    }
    before = buffer_size(payloads);
    return close_item(server, waiter, before,
                      command_encode(command, args, count, server_wall_ms(server), payloads));
}

int consensus_add_transaction(struct server *server, const struct waiter *waiter,
                              const struct transaction *transaction)
{
    struct buffer *payloads = &server->batch.payloads;
    size_t before;

    if (open_item(server)) {
        return -1;
    }
    before = buffer_size(payloads);
    return close_item(server, waiter, before,
                      transaction_encode(transaction, server_wall_ms(server), payloads));
}

/* ---- Expiry ---- */

/* Is one on its way? It moves the store's clock when it is applied; with its term it is lost. */
static int tick_is_under_way(const struct server *server)
{
    return server->tick_term == server->term && store_clock(server->store) < server->tick_ms;
}

/* Without writes time stands still, so the leader lets it pass when the first key is overdue. */
static void add_tick(struct server *server)
{
    static const struct waiter nobody = {PLACE_NONE, 0, 0};
    struct buffer *payloads = &server->batch.payloads;
    uint64_t now_ms;
    size_t before;

    if (server->role != RAFT_ROLE_LEADER || store_next_expiry(server->store) == STORE_FOREVER) {
        return;
    }
    now_ms = server_wall_ms(server);
    if (store_next_expiry(server->store) >= now_ms || tick_is_under_way(server) ||
        open_item(server)) {
        return;
    }
    before = buffer_size(payloads);
    if (close_item(server, &nobody, before, command_encode_tick(now_ms, payloads)) == 0) {
        server->tick_ms = now_ms;
        server->tick_term = server->term;
    }
}

/* When add_tick has something to do, on the loop's clock. The wall clock may jump meanwhile. */
static uint64_t tick_deadline(const struct server *server)
{
    uint64_t at_ms = store_next_expiry(server->store);
    uint64_t wall_ms;
    uint64_t wait_ms;

    if (server->role != RAFT_ROLE_LEADER || at_ms == STORE_FOREVER || tick_is_under_way(server)) {
        return UINT64_MAX;
    }
    wall_ms = server_wall_ms(server);
    wait_ms = at_ms < wall_ms ? 0 : at_ms - wall_ms + 1;
    return server->io->now_ms(server->io->ctx) + (wait_ms < TICK_WAIT_MS ? wait_ms : TICK_WAIT_MS);
}

/* ---- Reading ---- */

static int grow_readers(struct readers *readers)
{
    size_t capacity = readers->capacity ? 2 * readers->capacity : READERS_MIN;
    struct reader *items = malloc(capacity * sizeof *items);

    if (!items) {
        return -1;
    }
    for (size_t i = 0; i < readers->count; i++) {
        items[i] = readers->items[(readers->first + i) & (readers->capacity - 1)];
    }
    free(readers->items);
    readers->items = items;
    readers->capacity = capacity;
    readers->first = 0;
    return 0;
}

int consensus_want_read(struct server *server, struct client *client)
{
    struct readers *readers = &server->readers;

    if (!server->read_wanted) {
        server->read_wanted = 1;
        server->read_tag++;
    }
    if (client->reader_tag == server->read_tag) {
        return 0;
    }
    if (readers->count == readers->capacity && grow_readers(readers)) {
        return -1;
    }
    readers->items[(readers->first + readers->count++) & (readers->capacity - 1)] =
        (struct reader){server->read_tag, client->slot, client->generation};
    client->reader_tag = server->read_tag;
    return 0;
}

static void ask_read(struct server *server)
{
    int status;

    if (!server->read_wanted) {
        return;
    }
    server->read_wanted = 0;
    status = server->options->reads == READS_LEASE && server->role == RAFT_ROLE_LEADER
                 ? raft_read_lease(server->node, server->read_tag)
                 : raft_read(server->node, server->read_tag);
    if (status != RAFT_OK) {
        consensus_check(server, status);
        requests_reads_failed(server, server->read_tag, answer_of(status));
    }
}

void consensus_submit(struct server *server)
{
    add_tick(server);
    propose_batch(server);
    ask_read(server);
}

/* ---- The flush ---- */

static void on_stored(void *ctx, uint64_t group, uint64_t seq, int status)
{
    struct server *server = ctx;

    (void)group;
    consensus_check(server, raft_persisted(server->node, seq, status));
}

/* Answers what events have decided, and what has waited long enough. */
static void settle_marked(struct server *server)
{
    enum pending_outcome outcome;
    struct waiter waiter;

    if (server->io->now_ms(server->io->ctx) >= server->give_up_ms) {
        server->give_up_ms = UINT64_MAX;
        pending_give_up(&server->pending,
                        server->role == RAFT_ROLE_LEADER ? server->term : RAFT_NEVER);
    }
    while ((outcome = pending_take_marked(&server->pending, &waiter)) != PENDING_NONE) {
        server->stats.writes_dropped += outcome == PENDING_DROPPED;
        requests_settle(server, &waiter,
                        outcome == PENDING_DROPPED ? ANSWER_REDIRECT : ANSWER_UNKNOWN);
    }
}

void consensus_flush(struct server *server)
{
    size_t stored;

    wal_collect(server->log, on_stored, server);
    checkpoints_turn(server);
    do {
        consensus_check(server, raft_poll(server->node, server->io->now_ms(server->io->ctx)));
        if (server->transport) {
            transport_flush(server->transport);
        }
        wal_commit(server->log);
        stored = wal_collect(server->log, on_stored, server);
    } while (stored > 0 && !server->failure[0]);
    settle_marked(server);
    forward_check(server, server->io->now_ms(server->io->ctx));
    measure_congestion(server);
}

void consensus_stop(struct server *server)
{
    consensus_check(server, raft_stop(server->node));
}

uint64_t consensus_deadline(const struct server *server)
{
    uint64_t deadline = checkpoints_are_busy(server) ? 0 : raft_deadline(server->node);

    if (server->transport && transport_deadline(server->transport) < deadline) {
        deadline = transport_deadline(server->transport);
    }
    if (tick_deadline(server) < deadline) {
        deadline = tick_deadline(server);
    }
    if (forward_deadline(server) < deadline) {
        deadline = forward_deadline(server);
    }
    return server->give_up_ms < deadline ? server->give_up_ms : deadline;
}

/* What cannot be taken is as good as lost: the engine counts it, and its sender sends it again. */
void consensus_receive(void *host, const raft_message *message)
{
    struct server *server = host;
    struct buffer *scratch = &server->forwards.scratch;
    raft_message stamped = *message;

    if (message->kind == RAFT_MESSAGE_PROPOSE) {
        if (forward_stamp(message, server_wall_ms(server), scratch)) {
            return;
        }
        stamped.chunk.data = buffer_bytes(scratch);
        message = &stamped;
    }
    consensus_check(server, raft_receive(server->node, message));
}

void consensus_connection(void *host, raft_id peer, int up)
{
    struct server *server = host;

    say(server->options->log_level, LOG_DEBUG, "connection to server %llu %s",
        (unsigned long long)peer, up ? "made" : "lost");
    if (!up) {
        consensus_check(server, raft_unreachable(server->node, peer));
    }
}
