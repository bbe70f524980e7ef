/*
 * raftkv-recover: founds a new cluster on what is left of an old one.
 *
 * For two occasions: the quorum of a cluster is lost for good, and the log of a survivor is all
 * there is (R58); or a checkpoint that was kept as a backup is to be served again. Either way the
 * state becomes the first snapshot of a new group with a new cluster identity, which the servers of
 * the old one refuse and are refused by. Or the cluster is whole, and is to go on under the other
 * protocol: then each of its directories is converted (convert.c). Nothing old is changed. The new directory gets its name
 * when all of it is durable, so no server is ever started on half of one.
 *
 * Exit status: 0 done; 1 not done, with the reason on stderr; 2 for a command line that makes no
 * sense.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "convert.h"
#include "options.h"
#include "past.h"
#include "server_parts.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum { DIRECTORIES_MAX = RAFT_MEMBERS_MAX, PIECE_BYTES = 256 * 1024 };

static const char usage[] =
    "usage: raftkv-recover --dir DIR [--dir DIR ...] --to NEWDIR --id N --peers LIST\n"
    "                      --cluster NEWNAME\n"
    "       raftkv-recover --from-checkpoint FILE --to NEWDIR --id N --peers LIST\n"
    "                      --cluster NEWNAME\n"
    "       raftkv-recover --convert raft|multipaxos --dir DIR --to NEWDIR\n"
    "\n"
    "Founds a new cluster on the state of a stopped server whose cluster has lost its quorum for\n"
    "good, or on a copy of a checkpoint.\n"
    "\n"
    "  --dir DIR               directory of a survivor; of several the longest log is taken\n"
    "  --from-checkpoint FILE  a checkpoint, copied from DIR/checkpoints of a server\n"
    "  --to NEWDIR             where the founding server keeps its log; must not exist\n"
    "  --id N                  its number in the new cluster\n"
    "  --peers LIST            who founds the new cluster, as for raftkv\n"
    "  --cluster NEWNAME       another name than before, so that old servers are refused\n"
    "\n"
    "Run it once for every founder, from the same source, with the same --peers and --cluster,\n"
    "each with its own --id and --to. Or name one founder alone, and let the others join it.\n"
    "With --protocol multipaxos the new cluster agrees by that.\n"
    "\n"
    "With --convert a stopped server goes on under the other protocol, as the same server of the\n"
    "same cluster. All servers of the cluster are to be converted, then started with the new\n"
    "directories and --protocol; the old directories are not to be used again. To raft: write\n"
    "something when the last election is over, wait until all servers have it (INFO raft says\n"
    "the same last_index), stop the leader last; a directory of which this is not so is refused.\n";

struct plan {
    const char *directories[DIRECTORIES_MAX];
    size_t directory_count;
    const char *file;
    const char *to;
    const char *convert;    /* the protocol to convert to; null: a new cluster is founded */
    int protocol;           /* what that is */
    struct options options; /* id, founders, cluster */
};

#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
static int
complain(const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fputs("raftkv-recover: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return -1;
}

/* ---- The command line ---- */

static int take(const char **where, const char *flag, const char *value)
{
    if (*where) {
        return complain("%s is given twice", flag);
    }
    *where = value;
    return 0;
}

/* What raftkv knows, too, is read by its own rules. */
static int read_founding(struct plan *plan, const char *id, const char *peers, const char *cluster,
                         const char *protocol)
{
    const char *words[] = {"raftkv-recover",
                           "--id",
                           id,
                           "--dir",
                           plan->to,
                           "--peers",
                           peers,
                           "--cluster",
                           cluster,
                           "--protocol",
                           protocol ? protocol : "raft"};
    char error[512];

    if (!plan->to || !id || !peers || !cluster) {
        return complain("%s is missing", !plan->to ? "--to"
                                         : !id     ? "--id"
                                         : !peers  ? "--peers"
                                                   : "--cluster");
    }
    if (options_parse(&plan->options, sizeof words / sizeof words[0],
                      (char *const *)(uintptr_t)words, error, sizeof error) != OPTIONS_RUN) {
        return complain("%s", error);
    }
    return 0;
}

static int add_directory(struct plan *plan, const char *value)
{
    if (plan->directory_count == DIRECTORIES_MAX) {
        return complain("more than %d times --dir", (int)DIRECTORIES_MAX);
    }
    plan->directories[plan->directory_count++] = value;
    return 0;
}

/* The server stays what it is; nothing else is said of it. */
static int read_conversion(struct plan *plan, int is_founding)
{
    while (plan->protocol <= RAFT_PROTOCOL_MULTIPAXOS &&
           strcmp(plan->convert, options_protocol_name(plan->protocol)) != 0) {
        plan->protocol++;
    }
    if (plan->protocol > RAFT_PROTOCOL_MULTIPAXOS) {
        return complain("--convert: '%s' is neither raft nor multipaxos", plan->convert);
    }
    if (is_founding || plan->file || plan->directory_count != 1 || !plan->to) {
        return complain("--convert goes with one --dir and --to alone");
    }
    return 0;
}

static int parse(struct plan *plan, int argc, char **argv)
{
    const char *id = NULL;
    const char *peers = NULL;
    const char *cluster = NULL;
    const char *protocol = NULL;
    struct {
        const char *flag;
        const char **where;
    } flags[] = {{"--to", &plan->to},
                 {"--id", &id},
                 {"--peers", &peers},
                 {"--cluster", &cluster},
                 {"--protocol", &protocol},
                 {"--convert", &plan->convert},
                 {"--from-checkpoint", &plan->file}};

    for (int at = 1; at < argc; at += 2) {
        int status = -2;

        if (at + 1 == argc) {
            return complain("%s needs a value", argv[at]);
        }
        for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
            if (!strcmp(argv[at], flags[i].flag)) {
                status = take(flags[i].where, argv[at], argv[at + 1]);
            }
        }
        if (!strcmp(argv[at], "--dir")) {
            status = add_directory(plan, argv[at + 1]);
        }
        if (status) {
            return status == -2 ? complain("unknown argument '%s'", argv[at]) : -1;
        }
    }
    if (plan->convert) {
        return read_conversion(plan, id || peers || cluster || protocol);
    }
    if ((plan->file != NULL) == (plan->directory_count > 0)) {
        return complain("give --dir, or --from-checkpoint");
    }
    return read_founding(plan, id, peers, cluster, protocol);
}

/* ---- The source ---- */

/* What one of several directories holds. */
struct candidate {
    uint64_t cluster;
    raft_term last_term; /* Multi-Paxos: the accepted round */
    raft_index last_index;
    int protocol;
    int is_witness;
};

static int look_at(const char *directory, struct candidate *candidate)
{
    static struct past past;
    int status = past_open(&past, directory);

    if (status) {
        complain("%s%s", past.is_damaged ? "damaged: " : "", past.error);
        complain("a directory that cannot be read cannot be compared; leave it out to do without");
    } else {
        int is_paxos = past.protocol == RAFT_PROTOCOL_MULTIPAXOS;

        *candidate =
            (struct candidate){past.cluster, is_paxos ? past.state.accepted_round : past.last_term,
                               past.last_index, past.protocol, past.is_witness};
        printf("%s: server %" PRIu64 ", last entry %" PRIu64 " of term %" PRIu64 "%s\n", directory,
               past.id, past.last_index, past.last_term,
               past.is_witness ? ", a witness, which keeps no content" : "");
    }
    past_close(&past);
    return status;
}

/* As an election compares logs (R12, P4): the later term, then the higher last index. */
static int is_longer(const struct candidate *a, const struct candidate *b)
{
    return a->last_term != b->last_term ? a->last_term > b->last_term
                                        : a->last_index > b->last_index;
}

/* The position of the best directory, or -1. */
static int choose(const struct plan *plan)
{
    struct candidate candidates[DIRECTORIES_MAX];
    int best = -1;

    for (size_t i = 0; i < plan->directory_count; i++) {
        if (look_at(plan->directories[i], &candidates[i])) {
            return -1;
        }
        if (candidates[i].cluster != candidates[0].cluster) {
            return complain("%s and %s are of different clusters", plan->directories[0],
                            plan->directories[i]);
        }
        if (candidates[i].protocol != candidates[0].protocol) {
            return complain("%s and %s are of different protocols", plan->directories[0],
                            plan->directories[i]);
        }
        if (!candidates[i].is_witness &&
            (best < 0 || is_longer(&candidates[i], &candidates[best]))) {
            best = (int)i;
        }
    }
    if (best < 0) {
        return complain("only witnesses are left, and they keep no content");
    }
    for (size_t i = 0; i < plan->directory_count; i++) {
        if (is_longer(&candidates[i], &candidates[best])) {
            printf("WARNING: the witness in %s knows of later entries than any directory with "
                   "content; they are lost\n",
                   plan->directories[i]);
        }
    }
    if (plan->directory_count > 1) {
        printf("taking %s: its last entry has the %s\n", plan->directories[best],
               "latest term, and the highest index of that term");
    }
    return best;
}

/* Everything in the log becomes committed (R58): the store is brought to its end. */
static int open_source(const struct plan *plan, struct past *past)
{
    int best = plan->file ? 0 : choose(plan);
    int status;

    if (best < 0) {
        return -1;
    }
    status =
        plan->file ? past_open_file(past, plan->file) : past_open(past, plan->directories[best]);
    if (!status && !plan->file) {
        status = past_apply(past);
    }
    if (status) {
        return complain("%s%s", past->is_damaged ? "damaged: " : "", past->error);
    }
    if (past->applied_index == 0) {
        return complain("%s: there is nothing in it yet; found a cluster with raftkv --peers",
                        past->path);
    }
    if (past->cluster == options_cluster_id(plan->options.cluster)) {
        return complain("the old cluster has the name %s, too: without a new one its servers would "
                        "be let in",
                        plan->options.cluster);
    }
    return 0;
}

/* ---- The new directory ---- */

struct founding {
    const struct plan *plan;
    struct past *past;
    char directory[PAST_PATH_MAX + 8]; /* where it is built */
    raft *node;
    wal *log;
    uint8_t meta[RAFT_META_MAX];
    size_t meta_size;
    raft_term base_term;
    int stored; /* status of the last write */
};

static int on_persist(void *host, const raft_write *write)
{
    struct founding *founding = host;

    if (write->meta) {
        memcpy(founding->meta, write->meta, write->meta_size);
        founding->meta_size = write->meta_size;
        founding->base_term = write->base_term;
    }
    return wal_append(founding->log, SERVER_GROUP, write);
}

static void on_send(void *host, const raft_message *message)
{
    (void)host;
    (void)message;
}

static int on_apply(void *host, const raft_range *range)
{
    (void)host;
    (void)range;
    return RAFT_EAPPLY; /* there is nothing behind the base */
}

static void on_stored(void *ctx, uint64_t group, uint64_t seq, int status)
{
    struct founding *founding = ctx;

    (void)group;
    founding->stored = status;
    raft_persisted(founding->node, seq, status);
}

static int make_node(struct founding *founding)
{
    const struct options *given = &founding->plan->options;
    raft_member members[RAFT_MEMBERS_MAX];
    raft_membership membership;
    raft_callbacks callbacks;
    raft_options options;
    int code;

    raft_options_init(&options);
    options.id = given->id;
    options.cluster = options_cluster_id(given->cluster);
    options.group = SERVER_GROUP;
    options.protocol = given->protocol;
    raft_callbacks_init(&callbacks);
    callbacks.persist = on_persist;
    callbacks.send = on_send;
    callbacks.apply = on_apply;
    for (size_t i = 0; i < given->founder_count; i++) {
        members[i] = (raft_member){.id = given->founders[i].id,
                                   .blob = given->founders[i].blob,
                                   .blob_size = given->founders[i].blob_size};
    }
    raft_membership_init(&membership);
    membership.members = members;
    membership.member_count = given->founder_count;
    code = raft_new(&options, &callbacks, founding, &founding->node);
    if (code == RAFT_OK) {
        code = raft_bootstrap_at(founding->node, &membership, founding->past->applied_index);
    }
    return code == RAFT_OK ? 0 : complain("founding: %s", raft_strerror(code));
}

/* The engine writes down what the group begins with, as its first write. */
static int write_log(struct founding *founding)
{
    struct wal_options options = {.io = founding->past->io,
                                  .directory = founding->directory,
                                  .cluster = options_cluster_id(founding->plan->options.cluster),
                                  .node = founding->plan->options.id};
    struct wal_error why;
    int code = wal_open(&options, NULL, NULL, &why, &founding->log);

    if (code != RAFT_OK) {
        return complain("%s: %s%s%s", founding->directory, why.text, why.system ? ": " : "",
                        why.system ? strerror(why.system) : "");
    }
    founding->stored = RAFT_PENDING;
    code = raft_start(founding->node, 0);
    code = code == RAFT_OK ? raft_poll(founding->node, 0) : code;
    wal_commit(founding->log);
    wal_collect(founding->log, on_stored, founding);
    if (code != RAFT_OK || founding->stored != RAFT_OK || founding->meta_size == 0) {
        return complain("%s: the log could not be written: %s", founding->directory,
                        raft_strerror(code != RAFT_OK ? code : RAFT_ESTORAGE));
    }
    code = wal_close(founding->log);
    founding->log = NULL;
    return code == RAFT_OK ? 0 : complain("%s: the log could not be stored", founding->directory);
}

static int add_pieces(struct store_view *view, checkpoint_writer *writer)
{
    struct buffer piece = {0};
    int more = 1;
    int code = RAFT_OK;

    while (more > 0 && code == RAFT_OK) {
        more = store_snapshot_next(view, &piece, PIECE_BYTES);
        code = more < 0 ? RAFT_ENOMEM
                        : checkpoint_add(writer, buffer_bytes(&piece), buffer_size(&piece));
        buffer_clear(&piece);
    }
    buffer_free(&piece);
    return code;
}

static void on_taken(void *ctx, const struct checkpoint_event *event)
{
    int *status = ctx;

    if (event->kind == CHECKPOINT_TAKEN) {
        *status = event->status;
    }
}

static int take_checkpoint(struct founding *founding, checkpoint_store *store)
{
    struct past *past = founding->past;
    checkpoint_writer *writer;
    struct store_view *view;
    int taken = RAFT_ESTORAGE;
    int code = checkpoint_begin(store, SERVER_GROUP, past->applied_index, founding->base_term,
                                founding->meta, founding->meta_size, &writer);

    if (code != RAFT_OK) {
        return code;
    }
    view = store_snapshot_begin(past->store, past->applied_index);
    code = view ? add_pieces(view, writer) : RAFT_ENOMEM;
    store_snapshot_end(view);
    if (code != RAFT_OK) {
        checkpoint_abort(writer);
        return code;
    }
    code = checkpoint_commit(writer);
    checkpoint_collect(store, on_taken, &taken);
    return code == RAFT_OK ? taken : code;
}

/* What the log begins with. */
static int write_checkpoint(struct founding *founding)
{
    char directory[CHECKPOINT_DIRECTORY_MAX];
    struct checkpoint_options options = {.io = founding->past->io,
                                         .directory = directory,
                                         .cluster =
                                             options_cluster_id(founding->plan->options.cluster),
                                         .node = founding->plan->options.id};
    checkpoint_store *store;
    struct checkpoint_error why;
    int code;

    snprintf(directory, sizeof directory, "%.940s/checkpoints", founding->directory);
    code = checkpoint_open(&options, &why, &store);
    if (code == RAFT_OK) {
        code = take_checkpoint(founding, store);
        checkpoint_close(store);
    }
    return code == RAFT_OK ? 0 : complain("%s: %s", directory, raft_strerror(code));
}

/* 0 where there is nothing of that name. */
static int check_absent(const struct io *io, const char *path)
{
    int fd = io->open(io->ctx, path, O_RDONLY, 0);

    if (fd >= 0) {
        io->close(io->ctx, fd);
    }
    return fd == -ENOENT ? 0 : complain("%s: it is there already", path);
}

static int give_name(const struct founding *founding)
{
    const struct io *io = founding->past->io;
    const char *to = founding->plan->to;
    int result = io->rename(io->ctx, founding->directory, to);

    result = result == 0 ? io_sync_parent(io, to) : result;
    return result == 0 ? 0 : complain("%s: %s", to, strerror(-result));
}

static int build(struct founding *founding)
{
    int status = make_node(founding) || write_log(founding) || write_checkpoint(founding) ? -1 : 0;

    wal_close(founding->log);
    raft_free(founding->node);
    return status;
}

/* ---- The conversion ---- */

static int convert(const struct plan *plan, struct past *past, const char *directory)
{
    char error[PAST_ERROR_MAX];

    return convert_write(past, plan->protocol, directory, error) ? complain("%s", error) : 0;
}

static int open_converted(const struct plan *plan, struct past *past)
{
    char error[PAST_ERROR_MAX];

    if (past_open(past, plan->directories[0])) {
        return complain("%s%s", past->is_damaged ? "damaged: " : "", past->error);
    }
    return convert_check(past, plan->protocol, error) ? complain("%s", error) : 0;
}

static void say_converted(const struct plan *plan, const struct past *past)
{
    printf("converted server %" PRIu64 " in %s to %s, with its log up to entry %" PRIu64 "\n",
           past->id, plan->to, plan->convert, past->last_index);
    printf("WARNING: do the same with every other server of the cluster; one that cannot be has to "
           "be removed from it before.\n");
    printf("WARNING: see to it that no server is started on %s again: the old cluster and the new "
           "one would both serve clients.\n",
           past->path);
}

/* ---- The program ---- */

static void say_done(const struct plan *plan, const struct past *past)
{
    const struct options *options = &plan->options;

    printf("founded cluster %s in %s on the state at index %" PRIu64 ": %zu keys, digest "
           "%016" PRIx64 "\n",
           options->cluster, plan->to, past->applied_index, store_count(past->store),
           store_digest(past->store));
    printf("WARNING: every write that the old cluster acknowledged and that is not in %s is "
           "LOST.\n",
           past->path);
    if (!plan->file) {
        printf("WARNING: writes at the end of its log that were never acknowledged count as done "
               "from now on.\n");
    }
    printf("WARNING: see to it that no server of the old cluster serves clients again. The new "
           "ones refuse them, clients do not.\n");
    printf("start it with: raftkv --id %" PRIu64 " --dir %s --cluster %s --protocol %s, and the "
           "addresses in --peers\n",
           options->id, plan->to, options->cluster, options_protocol_name(options->protocol));
}

static int recover(const struct plan *plan)
{
    static struct past past;
    static struct founding founding;
    size_t length = strlen(plan->to);
    int status;

    while (length > 1 && plan->to[length - 1] == '/') {
        length--;
    }
    if (length >= PAST_PATH_MAX - 16) {
        return complain("--to: the path is too long");
    }
    status = plan->convert ? open_converted(plan, &past) : open_source(plan, &past);
    founding = (struct founding){.plan = plan, .past = &past};
    snprintf(founding.directory, sizeof founding.directory, "%.*s.part", (int)length, plan->to);
    if (status || check_absent(past.io, plan->to) || check_absent(past.io, founding.directory) ||
        (plan->convert ? convert(plan, &past, founding.directory) : build(&founding)) ||
        give_name(&founding)) {
        status = -1;
    } else if (plan->convert) {
        say_converted(plan, &past);
    } else {
        say_done(plan, &past);
    }
    past_close(&past);
    return status;
}

int main(int argc, char **argv)
{
    static struct plan plan;

    if (argc == 2 && !strcmp(argv[1], "--help")) {
        fputs(usage, stdout);
        return EXIT_DONE;
    }
    if (parse(&plan, argc, argv)) {
        fprintf(stderr, "\n%s", usage);
        return EXIT_USAGE;
    }
    return recover(&plan) ? EXIT_FAILED : EXIT_DONE;
}
