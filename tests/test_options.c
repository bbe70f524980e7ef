/* The command line of raftkv: what is taken, and what is refused with which words. */
#define _POSIX_C_SOURCE 200809L

#include "check.h"
#include "raftkv/options.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORDS_MAX = 32 };

static struct options options;
static char error[512];
static char line[1024];
static char *words[WORDS_MAX];

/* Parses a line of words separated by single spaces. */
static enum options_result parse(const char *text)
{
    static char name[] = "raftkv";
    int count = 0;

    snprintf(line, sizeof line, "%s", text);
    error[0] = '\0';
    words[count++] = name;
    for (char *at = line; *at && count < WORDS_MAX - 1;) {
        words[count++] = at;
        at += strcspn(at, " ");
        if (*at) {
            *at++ = '\0';
        }
    }
    words[count] = NULL;
    return options_parse(&options, count, words, error, sizeof error);
}

static int is_refused(const char *text, const char *why)
{
    return parse(text) == OPTIONS_BAD && strstr(error, why) != NULL;
}

static void defaults_are_those_of_the_manual(void)
{
    CHECK_EQ(parse("--id 1 --dir d"), OPTIONS_RUN);
    CHECK_EQ(options.id, 1);
    CHECK_STR(options.directory, "d");
    CHECK_STR(options.listen, "127.0.0.1:6379");
    CHECK_STR(options.cluster, "keelson");
    CHECK_EQ(options.election_ms, 300);
    CHECK_EQ(options.heartbeat_ms, 50);
    CHECK_EQ(options.log_bytes, (uint64_t)1 << 30);
    CHECK_EQ(options.founder_count, 0);
    CHECK(!options.sync_never && options.reads == READS_LINEARIZABLE && !options.insecure);
}

static void every_flag_is_taken(void)
{
    CHECK_EQ(parse("--id 7 --dir /x --listen localhost:1 --peer-listen [::1]:2 "
                   "--peers 7=127.0.0.1:2 --cluster c --protocol raft --election-ms 100 "
                   "--heartbeat-ms=10 --fsync never --log-bytes 2m --reads stale "
                   "--requirepass-file p --insecure --loglevel debug"),
             OPTIONS_RUN);
    CHECK_EQ(options.election_ms, 100);
    CHECK_EQ(options.heartbeat_ms, 10);
    CHECK_EQ(options.log_bytes, 2 << 20);
    CHECK(options.sync_never && options.reads == READS_STALE && options.insecure);
    CHECK_EQ(options.log_level, LOG_DEBUG);
    CHECK_STR(options.password_file, "p");
    CHECK_STR(options.peer_listen, "[::1]:2");
}

static void founders_are_sorted_whatever_was_typed(void)
{
    CHECK_EQ(parse("--id 2 --dir d --peers 3=h:3/c:33,1=h:1,2=h:2"), OPTIONS_RUN);
    CHECK_EQ(options.founder_count, 3);
    CHECK_EQ(options.founders[0].id, 1);
    CHECK_EQ(options.founders[1].id, 2);
    CHECK_EQ(options.founders[2].id, 3);
    CHECK_EQ(options.founders[2].blob_size, 8);
    CHECK(!memcmp(options.founders[2].blob, "h:3/c:33", 8));
}

static void founders_that_make_no_sense_are_refused(void)
{
    CHECK(is_refused("--id 1 --dir d --peers 2=h:1", "does not name this server"));
    CHECK(is_refused("--id 1 --dir d --peers 1=h:1,1=h:2", "twice"));
    CHECK(is_refused("--id 1 --dir d --peers 1=h:1,", "ID="));
    CHECK(is_refused("--id 1 --dir d --peers h:1", "ID="));
    CHECK(is_refused("--id 1 --dir d --peers 0=h:1", "ID="));
    CHECK(is_refused("--id 1 --dir d --peers 1=h", "HOST:PORT"));
    CHECK(is_refused("--id 1 --dir d --peers 1=:1", "HOST:PORT"));
    CHECK(is_refused("--id 1 --dir d --peers 1=h:70000", "HOST:PORT"));
    CHECK(is_refused("--id 1 --dir d --peers 1=h:1/", "HOST:PORT"));
}

static void what_is_missing_or_out_of_range_is_named(void)
{
    CHECK(is_refused("--dir d", "--id is missing"));
    CHECK(is_refused("--id 1", "--dir is missing"));
    CHECK(is_refused("--id 0 --dir d", "--id"));
    CHECK(is_refused("--id -1 --dir d", "--id"));
    CHECK(is_refused("--id 18446744073709551616 --dir d", "--id"));
    CHECK(is_refused("--id 1 --dir", "needs a value"));
    CHECK(is_refused("--id 1 --dir d --log-bytes 1k", "--log-bytes"));
    CHECK(is_refused("--id 1 --dir d --log-bytes 99999999999g", "--log-bytes"));
    CHECK(is_refused("--id 1 --dir d --election-ms 9", "--election-ms"));
    CHECK(is_refused("--id 1 --dir d --heartbeat-ms 0", "--heartbeat-ms"));
    CHECK(is_refused("--id 1 --dir d --fsync sometimes", "--fsync"));
    CHECK(is_refused("--id 1 --dir d --loglevel loud", "--loglevel"));
    CHECK(is_refused("--id 1 --dir d --listen 6379", "--listen"));
}

static void what_contradicts_is_refused(void)
{
    CHECK(is_refused("--id 1 --dir d --heartbeat-ms 300", "not below"));
    CHECK(is_refused("--id 1 --id 2 --dir d", "given twice"));
    CHECK(is_refused("--id 1 --dir d --insecure=yes", "takes no value"));
    CHECK(is_refused("--id 1 --dir d extra", "unknown argument"));
    CHECK(is_refused("--id 1 --dir d --lisen h:1", "unknown argument"));
}

static void flags_of_later_versions_are_refused_by_name(void)
{
    static const char *const later[] = {"--shards 2", "--replicas 3"};

    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        char text[128];

        snprintf(text, sizeof text, "--id 1 --dir d %s", later[i]);
        CHECK(is_refused(text, "not supported by this version"));
    }
}

static void the_protocol_is_one_of_two(void)
{
    CHECK_EQ(parse("--id 1 --dir d"), OPTIONS_RUN);
    CHECK_EQ(options.protocol, RAFT_PROTOCOL_RAFT);
    CHECK_EQ(parse("--id 1 --dir d --protocol multipaxos"), OPTIONS_RUN);
    CHECK_EQ(options.protocol, RAFT_PROTOCOL_MULTIPAXOS);
    CHECK_STR(options_protocol_name(options.protocol), "multipaxos");
    CHECK(is_refused("--id 1 --dir d --protocol paxos", "neither raft nor multipaxos"));
}

static void joining_needs_an_address_and_founds_nothing(void)
{
    CHECK(is_refused("--id 4 --dir d --join", "--peer-listen"));
    CHECK(is_refused("--id 4 --dir d --join --peer-listen 127.0.0.1:1 --peers 4=127.0.0.1:1",
                     "--peers"));
    CHECK_EQ(parse("--id 4 --dir d --join --peer-listen 127.0.0.1:1"), OPTIONS_RUN);
    CHECK(options.join);
}

static void checkpoints_are_asked_for_by_entries(void)
{
    CHECK_EQ(parse("--id 1 --dir d"), OPTIONS_RUN);
    CHECK_EQ(options.checkpoint_entries, 0);
    CHECK_EQ(parse("--id 1 --dir d --checkpoint-entries 5"), OPTIONS_RUN);
    CHECK_EQ(options.checkpoint_entries, 5);
    CHECK(is_refused("--id 1 --dir d --checkpoint-entries 0", "--checkpoint-entries"));
    CHECK(is_refused("--id 1 --dir d --checkpoint-entries many", "--checkpoint-entries"));
}

static void addresses_outside_loopback_need_protection_or_insistence(void)
{
    CHECK(is_refused("--id 1 --dir d --listen 0.0.0.0:1", "--listen"));
    CHECK(is_refused("--id 1 --dir d --peer-listen 192.0.2.1:1", "--peer-listen"));
    CHECK_EQ(parse("--id 1 --dir d --listen 0.0.0.0:1 --requirepass-file p"), OPTIONS_RUN);
    CHECK_EQ(parse("--id 1 --dir d --listen 0.0.0.0:1 --insecure"), OPTIONS_RUN);
    CHECK_EQ(parse("--id 1 --dir d --peer-listen 0.0.0.0:1 --insecure"), OPTIONS_RUN);
    CHECK_EQ(parse("--id 1 --dir d --peer-listen 0.0.0.0:1 --secret-file s"), OPTIONS_RUN);
}

static void help_and_version_come_first(void)
{
    CHECK_EQ(parse("--help"), OPTIONS_HELP);
    CHECK_EQ(parse("--version --nonsense"), OPTIONS_VERSION);
}

static void a_cluster_name_is_its_id_everywhere(void)
{
    CHECK_EQ(options_cluster_id("keelson"), options_cluster_id("keelson"));
    CHECK(options_cluster_id("keelson") != options_cluster_id("keelsom"));
    CHECK(options_cluster_id("") != 0);
}

static void a_blob_is_split_into_its_two_addresses(void)
{
    char peer[MEMBER_ADDRESS_MAX], client[MEMBER_ADDRESS_MAX];

    options_split_blob("h:1/c:2", 7, peer, client);
    CHECK_STR(peer, "h:1");
    CHECK_STR(client, "c:2");
    options_split_blob("h:1", 3, peer, client);
    CHECK_STR(peer, "h:1");
    CHECK_STR(client, "");
    options_split_blob(NULL, 0, peer, client);
    CHECK_STR(peer, "");
}

/* ---- Password files ---- */

static int read_password_of(const char *content, mode_t mode, struct password *password)
{
    char path[] = "/tmp/options-XXXXXX";
    int fd = mkstemp(path);
    int status;

    CHECK(fd >= 0);
    CHECK_EQ(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    fchmod(fd, mode);
    close(fd);
    status = options_read_password(path, password, error, sizeof error);
    unlink(path);
    return status;
}

static void the_password_is_the_first_line(void)
{
    struct password password;

    CHECK_EQ(read_password_of("secret word\r\nmore\n", 0600, &password), 0);
    CHECK_EQ(password.size, 11);
    CHECK(!memcmp(password.text, "secret word", 11));
}

static void a_password_file_that_others_can_use_is_refused(void)
{
    struct password password;

    CHECK_EQ(read_password_of("secret\n", 0640, &password), -1);
    CHECK(strstr(error, "others"));
    CHECK_EQ(read_password_of("secret\n", 0604, &password), -1);
}

static void a_password_file_without_a_password_is_refused(void)
{
    struct password password;

    CHECK_EQ(read_password_of("\nsecret\n", 0600, &password), -1);
    CHECK_EQ(read_password_of("", 0600, &password), -1);
    CHECK_EQ(options_read_password("/tmp", &password, error, sizeof error), -1);
    CHECK_EQ(options_read_password("/nowhere/at/all", &password, error, sizeof error), -1);
}

int main(void)
{
    RUN(defaults_are_those_of_the_manual);
    RUN(every_flag_is_taken);
    RUN(founders_are_sorted_whatever_was_typed);
    RUN(founders_that_make_no_sense_are_refused);
    RUN(what_is_missing_or_out_of_range_is_named);
    RUN(what_contradicts_is_refused);
    RUN(flags_of_later_versions_are_refused_by_name);
    RUN(the_protocol_is_one_of_two);
    RUN(joining_needs_an_address_and_founds_nothing);
    RUN(checkpoints_are_asked_for_by_entries);
    RUN(addresses_outside_loopback_need_protection_or_insistence);
    RUN(help_and_version_come_first);
    RUN(a_cluster_name_is_its_id_everywhere);
    RUN(a_blob_is_split_into_its_two_addresses);
    RUN(the_password_is_the_first_line);
    RUN(a_password_file_that_others_can_use_is_refused);
    RUN(a_password_file_without_a_password_is_refused);
    return check_done();
}
