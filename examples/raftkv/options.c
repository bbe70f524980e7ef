/*
 * The command line of raftkv.
 *
 * Every flag is one row of a table: its name and the function that takes its value. What belongs to
 * a later version has a row too, so that it is refused by name and never ignored. A flag given
 * twice is refused: which of the two was meant cannot be known.
 */
#define _POSIX_C_SOURCE 200809L

#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../address.h"

enum {
    ELECTION_MS_DEFAULT = 300,
    HEARTBEAT_MS_DEFAULT = 50,
    ELECTION_MS_MIN = 10,
    ELECTION_MS_MAX = 600000,
    CLUSTER_NAME_MAX = 128
};

#define LOG_BYTES_DEFAULT ((uint64_t)1 << 30)
#define LOG_BYTES_MIN     ((uint64_t)1 << 20)
#define LISTEN_DEFAULT    "127.0.0.1:6379"

struct complaint {
    char *text;
    size_t size;
};

/* Takes a flag's value (null for those without one). 0, or -1 with the complaint written. */
typedef int flag_function(struct options *options, const char *value, struct complaint *complaint);

struct flag {
    const char *name;
    flag_function *take; /* null: not in this version */
    int has_value;
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static int
complain(struct complaint *complaint, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(complaint->text, complaint->size, format, arguments);
    va_end(arguments);
    return -1;
}

/* ---- Values ---- */

/* Reads decimal digits, at least one, up to `end`. 0, or -1 where there is anything else. */
static int read_number(const char *text, const char *end, uint64_t *number)
{
    uint64_t value = 0;

    if (text == end) {
        return -1;
    }
    for (; text < end; text++) {
        unsigned digit = (unsigned)(*text - '0');

        if (*text < '0' || *text > '9' || value > (UINT64_MAX - digit) / 10) {
            return -1;
        }
        value = value * 10 + digit;
    }
    *number = value;
    return 0;
}

/* Bytes, or with the suffix k, m or g their multiples by 1024. */
static int read_bytes(const char *text, uint64_t *bytes)
{
    const char *end = text + strlen(text);
    unsigned shift = 0;

    if (end > text) {
        char suffix = end[-1];

        shift = suffix == 'k' ? 10 : suffix == 'm' ? 20 : suffix == 'g' ? 30 : 0;
    }
    if (read_number(text, end - (shift != 0), bytes) || *bytes > UINT64_MAX >> shift) {
        return -1;
    }
    *bytes <<= shift;
    return 0;
}

static int read_milliseconds(const char *value, uint32_t *ms)
{
    uint64_t number;

    if (read_number(value, value + strlen(value), &number) || number > ELECTION_MS_MAX) {
        return -1;
    }
    *ms = (uint32_t)number;
    return 0;
}

/* HOST:PORT by its looks alone: names are resolved when they are used. */
static int looks_like_address(const char *text, size_t size)
{
    uint64_t port;
    size_t colon = size;

    while (colon > 0 && text[colon - 1] != ':') {
        colon--;
    }
    return colon > 1 && size < MEMBER_ADDRESS_MAX &&
           !read_number(text + colon, text + size, &port) && port <= 65535;
}

static int take_address(const char **where, const char *flag, const char *value,
                        struct complaint *complaint)
{
    if (!looks_like_address(value, strlen(value))) {
        return complain(complaint, "%s: '%s' is not HOST:PORT", flag, value);
    }
    *where = value;
    return 0;
}

/* ---- Flags ---- */

static int take_id(struct options *options, const char *value, struct complaint *complaint)
{
    if (read_number(value, value + strlen(value), &options->id) || options->id == 0) {
        return complain(complaint, "--id: '%s' is not a number above 0", value);
    }
    return 0;
}

static int take_directory(struct options *options, const char *value, struct complaint *complaint)
{
    if (!*value) {
        return complain(complaint, "--dir: the path is empty");
    }
    options->directory = value;
    return 0;
}

static int take_listen(struct options *options, const char *value, struct complaint *complaint)
{
    return take_address(&options->listen, "--listen", value, complaint);
}

static int take_peer_listen(struct options *options, const char *value, struct complaint *complaint)
{
    return take_address(&options->peer_listen, "--peer-listen", value, complaint);
}

/* Puts a founder at its place by id: founders must agree on the order, whatever was typed. */
static int insert_founder(struct options *options, const struct founder *founder)
{
    size_t at = options->founder_count;

    while (at > 0 && options->founders[at - 1].id >= founder->id) {
        if (options->founders[at - 1].id == founder->id) {
            return -1;
        }
        at--;
    }
    memmove(&options->founders[at + 1], &options->founders[at],
            (options->founder_count - at) * sizeof *founder);
    options->founders[at] = *founder;
    options->founder_count++;
    return 0;
}

/* One entry: ID=HOST:PORT[/HOST:PORT]. */
static int take_founder(struct options *options, const char *text, size_t size,
                        struct complaint *complaint)
{
    const char *equals = memchr(text, '=', size);
    const char *end = text + size;
    const char *slash;
    struct founder founder;

    if (!equals || read_number(text, equals, &founder.id) || founder.id == 0) {
        return complain(complaint, "--peers: '%.*s' does not begin with ID=", (int)size, text);
    }
    founder.blob = equals + 1;
    founder.blob_size = (size_t)(end - founder.blob);
    slash = memchr(founder.blob, '/', founder.blob_size);
    if (founder.blob_size > RAFT_BLOB_MAX ||
        !looks_like_address(founder.blob, (size_t)((slash ? slash : end) - founder.blob)) ||
        (slash && !looks_like_address(slash + 1, (size_t)(end - slash - 1)))) {
        return complain(complaint, "--peers: '%.*s' is not ID=HOST:PORT or ID=HOST:PORT/HOST:PORT",
                        (int)size, text);
    }
    if (options->founder_count == RAFT_MEMBERS_MAX) {
        return complain(complaint, "--peers: more than %u members", RAFT_MEMBERS_MAX);
    }
    if (insert_founder(options, &founder)) {
        return complain(complaint, "--peers: id %llu is there twice",
                        (unsigned long long)founder.id);
    }
    return 0;
}

static int take_peers(struct options *options, const char *value, struct complaint *complaint)
{
    for (;;) {
        size_t size = strcspn(value, ",");

        if (take_founder(options, value, size, complaint)) {
            return -1;
        }
        if (!value[size]) {
            return 0;
        }
        value += size + 1;
    }
}

static int take_cluster(struct options *options, const char *value, struct complaint *complaint)
{
    size_t size = strlen(value);

    if (size == 0 || size > CLUSTER_NAME_MAX) {
        return complain(complaint, "--cluster: a name has 1 to %d bytes", CLUSTER_NAME_MAX);
    }
    options->cluster = value;
    return 0;
}

const char *options_protocol_name(int protocol)
{
    return protocol == RAFT_PROTOCOL_MULTIPAXOS ? "multipaxos" : "raft";
}

static int take_protocol(struct options *options, const char *value, struct complaint *complaint)
{
    for (int protocol = RAFT_PROTOCOL_RAFT; protocol <= RAFT_PROTOCOL_MULTIPAXOS; protocol++) {
        if (!strcmp(value, options_protocol_name(protocol))) {
            options->protocol = protocol;
            return 0;
        }
    }
    return complain(complaint, "--protocol: '%s' is neither raft nor multipaxos", value);
}

static int take_election(struct options *options, const char *value, struct complaint *complaint)
{
    if (read_milliseconds(value, &options->election_ms) || options->election_ms < ELECTION_MS_MIN) {
        return complain(complaint, "--election-ms: '%s' is not a number from %d to %d", value,
                        ELECTION_MS_MIN, ELECTION_MS_MAX);
    }
    return 0;
}

static int take_heartbeat(struct options *options, const char *value, struct complaint *complaint)
{
    if (read_milliseconds(value, &options->heartbeat_ms) || options->heartbeat_ms == 0) {
        return complain(complaint, "--heartbeat-ms: '%s' is not a number from 1 to %d", value,
                        ELECTION_MS_MAX);
    }
    return 0;
}

static int take_fsync(struct options *options, const char *value, struct complaint *complaint)
{
    if (strcmp(value, "always") && strcmp(value, "never")) {
        return complain(complaint, "--fsync: '%s' is neither always nor never", value);
    }
    options->sync_never = !strcmp(value, "never");
    return 0;
}

static int take_log_bytes(struct options *options, const char *value, struct complaint *complaint)
{
    if (read_bytes(value, &options->log_bytes) || options->log_bytes < LOG_BYTES_MIN) {
        return complain(complaint, "--log-bytes: '%s' is not a number of bytes from 1m up", value);
    }
    return 0;
}

static int take_checkpoint_entries(struct options *options, const char *value,
                                   struct complaint *complaint)
{
    if (read_number(value, value + strlen(value), &options->checkpoint_entries) ||
        options->checkpoint_entries == 0) {
        return complain(complaint, "--checkpoint-entries: '%s' is not a number above 0", value);
    }
    return 0;
}

static int take_reads(struct options *options, const char *value, struct complaint *complaint)
{
    static const char *const names[] = {"linearizable", "lease", "stale"};

    for (int reads = READS_LINEARIZABLE; reads <= READS_STALE; reads++) {
        if (!strcmp(value, names[reads])) {
            options->reads = reads;
            return 0;
        }
    }
    return complain(complaint, "--reads: '%s' is none of linearizable, lease, stale", value);
}

static int take_join(struct options *options, const char *value, struct complaint *complaint)
{
    (void)value;
    (void)complaint;
    options->join = 1;
    return 0;
}

static int take_forward(struct options *options, const char *value, struct complaint *complaint)
{
    (void)value;
    (void)complaint;
    options->forward = 1;
    return 0;
}

static int take_password_file(struct options *options, const char *value,
                              struct complaint *complaint)
{
    (void)complaint;
    options->password_file = value;
    return 0;
}

static int take_secret_file(struct options *options, const char *value, struct complaint *complaint)
{
    (void)complaint;
    options->secret_file = value;
    return 0;
}

static int take_insecure(struct options *options, const char *value, struct complaint *complaint)
{
    (void)value;
    (void)complaint;
    options->insecure = 1;
    return 0;
}

static int take_log_level(struct options *options, const char *value, struct complaint *complaint)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};

    for (int level = LOG_ERROR; level <= LOG_DEBUG; level++) {
        if (!strcmp(value, names[level])) {
            options->log_level = level;
            return 0;
        }
    }
    return complain(complaint, "--loglevel: '%s' is none of error, warn, info, debug", value);
}

static const struct flag flags[] = {
    {"--id", take_id, 1},
    {"--dir", take_directory, 1},
    {"--listen", take_listen, 1},
    {"--peer-listen", take_peer_listen, 1},
    {"--peers", take_peers, 1},
    {"--cluster", take_cluster, 1},
    {"--protocol", take_protocol, 1},
    {"--election-ms", take_election, 1},
    {"--heartbeat-ms", take_heartbeat, 1},
    {"--fsync", take_fsync, 1},
    {"--log-bytes", take_log_bytes, 1},
    {"--reads", take_reads, 1},
    {"--requirepass-file", take_password_file, 1},
    {"--insecure", take_insecure, 0},
    {"--loglevel", take_log_level, 1},
    {"--join", take_join, 0},
    {"--checkpoint-entries", take_checkpoint_entries, 1},
    {"--forward", take_forward, 0},
    {"--shards", NULL, 1},
    {"--replicas", NULL, 1},
    {"--secret-file", take_secret_file, 1},
};

enum { FLAG_COUNT = sizeof flags / sizeof flags[0] };

const char *options_usage(void)
{
    return "usage: raftkv --id N --dir PATH [flags]\n"
           "\n"
           "A replicated key-value server that speaks the Redis protocol.\n"
           "\n"
           "  --id N                   this server's number in the cluster, above 0\n"
           "  --dir PATH               where it keeps its log; made where it is missing\n"
           "  --listen HOST:PORT       for clients (127.0.0.1:6379)\n"
           "  --peer-listen HOST:PORT  for the other servers (the address in --peers)\n"
           "  --peers LIST             who founds the cluster: 1=HOST:PORT,2=HOST:PORT,...\n"
           "                           each entry may go on with /HOST:PORT, the address told to\n"
           "                           clients; without --peers it is a cluster of one. Once the\n"
           "                           directory holds a membership, that governs\n"
           "  --cluster NAME           servers of another cluster are refused (keelson)\n"
           "  --protocol raft|multipaxos\n"
           "                           how the servers agree, the same on all of them (raft); what "
           "a\n"
           "                           directory was founded with stays, but see raftkv-recover\n"
           "  --election-ms N          shortest silence before an election (300)\n"
           "  --heartbeat-ms N         how often an idle leader says that it lives (50)\n"
           "  --fsync always|never     never: acknowledged writes can be lost in a power cut\n"
           "  --log-bytes N[k|m|g]     memory for the log; beyond it writes are refused (1g)\n"
           "  --join                   wait to be added to a cluster (RAFT.ADD)\n"
           "  --checkpoint-entries N   write a checkpoint after so many entries; in any case when "
           "the\n"
           "                           log has grown by a quarter of --log-bytes\n"
           "  --reads linearizable|lease|stale\n"
           "                           lease: without a round of messages while clocks allow it;\n"
           "                           stale: any server answers from what it has\n"
           "  --forward                where it does not lead, hand writes to the leader and "
           "answer\n"
           "                           them and reads here, instead of redirecting clients\n"
           "  --requirepass-file PATH  first line is the password that clients must give\n"
           "  --secret-file PATH       what the servers of the cluster share, to know each other "
           "by\n"
           "  --insecure               allow unprotected addresses outside loopback\n"
           "  --loglevel LEVEL         error, warn, info or debug (info)\n"
           "  --version, --help\n";
}

/* ---- The whole line ---- */

/* The value of argv[*at] behind '=' or in the next argument, which is then used up. */
static const char *flag_value(int argc, char *const *argv, int *at, const char *equals)
{
    if (equals) {
        return equals + 1;
    }
    return *at + 1 < argc ? argv[++*at] : NULL;
}

static int find_flag(const char *argument, size_t name_size)
{
    for (int i = 0; i < FLAG_COUNT; i++) {
        if (strlen(flags[i].name) == name_size && !memcmp(flags[i].name, argument, name_size)) {
            return i;
        }
    }
    return -1;
}

static int take_flag(struct options *options, int argc, char *const *argv, int *at, uint32_t *given,
                     struct complaint *complaint)
{
    const char *argument = argv[*at];
    const char *equals = strchr(argument, '=');
    size_t name_size = equals ? (size_t)(equals - argument) : strlen(argument);
    const char *value = NULL;
    int found = find_flag(argument, name_size);

    if (found < 0) {
        return complain(complaint, "unknown argument '%s'", argument);
    }
    if (!flags[found].take) {
        return complain(complaint, "%s is not supported by this version", flags[found].name);
    }
    if (*given & (uint32_t)1 << found) {
        return complain(complaint, "%s is given twice", flags[found].name);
    }
    *given |= (uint32_t)1 << found;
    if (flags[found].has_value) {
        value = flag_value(argc, argv, at, equals);
        if (!value) {
            return complain(complaint, "%s needs a value", flags[found].name);
        }
    } else if (equals) {
        return complain(complaint, "%s takes no value", flags[found].name);
    }
    return flags[found].take(options, value, complaint);
}

static const struct founder *own_founder(const struct options *options)
{
    for (size_t i = 0; i < options->founder_count; i++) {
        if (options->founders[i].id == options->id) {
            return &options->founders[i];
        }
    }
    return NULL;
}

/* Nonzero where the address is reachable from outside. A name that cannot be looked up counts. */
static int is_exposed(const char *text)
{
    struct address address;

    return address_parse(text, &address) != 0 || !address_is_loopback(&address);
}

static int check_exposure(const struct options *options, struct complaint *complaint)
{
    if (options->insecure) {
        return 0;
    }
    if (is_exposed(options->listen) && !options->password_file) {
        return complain(complaint,
                        "--listen %s is not a loopback address: give --requirepass-file, or "
                        "--insecure to serve anyone who can reach it",
                        options->listen);
    }
    if (options->peer_listen && is_exposed(options->peer_listen) && !options->secret_file) {
        return complain(complaint,
                        "--peer-listen %s is not a loopback address: give --secret-file, or "
                        "--insecure if its network is trusted",
                        options->peer_listen);
    }
    return 0;
}

static int check_together(const struct options *options, struct complaint *complaint)
{
    if (options->id == 0 || !options->directory) {
        return complain(complaint, "%s is missing", options->id == 0 ? "--id" : "--dir");
    }
    if (options->heartbeat_ms >= options->election_ms) {
        return complain(complaint, "--heartbeat-ms %u is not below --election-ms %u",
                        (unsigned)options->heartbeat_ms, (unsigned)options->election_ms);
    }
    if (options->join && options->founder_count > 0) {
        return complain(complaint, "--peers founds a cluster, --join waits to be added to one");
    }
    if (options->join && !options->peer_listen) {
        return complain(complaint, "--join needs --peer-listen, where the others will call");
    }
    if (options->founder_count > 0 && !own_founder(options)) {
        return complain(complaint, "--peers does not name this server, id %llu",
                        (unsigned long long)options->id);
    }
    return check_exposure(options, complaint);
}

static void set_defaults(struct options *options)
{
    memset(options, 0, sizeof *options);
    options->listen = LISTEN_DEFAULT;
    options->cluster = "keelson";
    options->election_ms = ELECTION_MS_DEFAULT;
    options->heartbeat_ms = HEARTBEAT_MS_DEFAULT;
    options->log_bytes = LOG_BYTES_DEFAULT;
    options->log_level = LOG_INFO;
}

enum options_result options_parse(struct options *options, int argc, char *const *argv, char *error,
                                  size_t size)
{
    struct complaint complaint = {error, size};
    uint32_t given = 0;

    set_defaults(options);
    for (int at = 1; at < argc; at++) {
        if (!strcmp(argv[at], "--help") || !strcmp(argv[at], "-h")) {
            return OPTIONS_HELP;
        }
        if (!strcmp(argv[at], "--version")) {
            return OPTIONS_VERSION;
        }
        if (take_flag(options, argc, argv, &at, &given, &complaint)) {
            return OPTIONS_BAD;
        }
    }
    return check_together(options, &complaint) ? OPTIONS_BAD : OPTIONS_RUN;
}

/* FNV-1a, 64 bits. */
uint64_t options_cluster_id(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *name; name++) {
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    }
    return hash ? hash : 1;
}

static void copy_text(const char *from, size_t size, char out[MEMBER_ADDRESS_MAX])
{
    if (size >= MEMBER_ADDRESS_MAX) {
        size = 0;
    }
    memcpy(out, from, size);
    out[size] = '\0';
}

void options_split_blob(const void *blob, size_t size, char peer[MEMBER_ADDRESS_MAX],
                        char client[MEMBER_ADDRESS_MAX])
{
    const char *text = size ? blob : "";
    const char *slash = memchr(text, '/', size);
    size_t peer_size = slash ? (size_t)(slash - text) : size;

    copy_text(text, peer_size, peer);
    copy_text(slash ? slash + 1 : "", slash ? size - peer_size - 1 : 0, client);
}

/* ---- The password file ---- */

/* Reads up to size bytes of fd. Returns how many, or -1. */
static long read_all(int fd, char *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t count = read(fd, data + done, size - done);

        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return -1;
        }
        if (count == 0) {
            break;
        }
        done += (size_t)count;
    }
    return (long)done;
}

static int read_password(int fd, const char *path, struct password *password,
                         struct complaint *complaint)
{
    struct stat about;
    char line[OPTIONS_PASSWORD_MAX + 2];
    long count;
    size_t size;

    if (fstat(fd, &about) || !S_ISREG(about.st_mode)) {
        return complain(complaint, "%s is not a regular file", path);
    }
    if (about.st_mode & 077) {
        return complain(complaint, "%s can be used by others than its owner (mode %03o): chmod 600",
                        path, (unsigned)(about.st_mode & 0777));
    }
    count = read_all(fd, line, sizeof line - 1);
    if (count < 0) {
        return complain(complaint, "%s: %s", path, strerror(errno));
    }
    line[count] = '\0';
    size = strcspn(line, "\r\n");
    if (size == 0 || size > OPTIONS_PASSWORD_MAX) {
        return complain(complaint, "%s: the first line has %s", path,
                        size == 0 ? "no password" : "more than 512 bytes");
    }
    memcpy(password->text, line, size);
    password->size = size;
    return 0;
}

int options_read_password(const char *path, struct password *password, char *error, size_t size)
{
    struct complaint complaint = {error, size};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int status;

    if (fd < 0) {
        return complain(&complaint, "%s: %s", path, strerror(errno));
    }
    status = read_password(fd, path, password, &complaint);
    close(fd);
    return status;
}
