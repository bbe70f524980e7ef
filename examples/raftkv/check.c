/*
 * raftkv-check: looks at what a stopped server has left, and says what it holds and whether it is
 * sound. It changes nothing.
 *
 * Exit status: 0 sound; 1 damaged, in use, or not to be read, with the reason on stderr; 2 for a
 * command line that makes no sense.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "options.h"
#include "past.h"

enum { EXIT_SOUND = 0, EXIT_DAMAGED = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "usage: raftkv-check DIR\n"
    "       raftkv-check FILE\n"
    "\n"
    "Reads the directory of a stopped server, or a copy of a checkpoint, verifies every checksum\n"
    "and prints what it holds. Changes nothing. Exit status: 0 sound, 1 damaged (the message "
    "names\n"
    "file and offset) or not to be read, 2 usage.\n";

static int is_directory(const char *path)
{
    DIR *directory = opendir(path);

    if (!directory) {
        return 0;
    }
    closedir(directory);
    return 1;
}

/* ---- What there is ---- */

static void print_log(const struct past *past)
{
    const struct wal_recovery *found = wal_recovered(past->log);

    printf("log files: %" PRIu64 ", %" PRIu64 " writes, %" PRIu64 " bytes\n", found->segments,
           found->writes, found->bytes);
    if (found->torn) {
        printf("log tail: torn in %s at offset %" PRIu64 ", which is harmless: a crash cut a "
               "write short that nobody was told of\n",
               found->torn_file, found->torn_offset);
    } else {
        printf("log tail: clean\n");
    }
}

static void print_state(const struct past *past)
{
    printf("term: %" PRIu64 "\n", past->state.term);
    printf("vote: %" PRIu64 "\n", past->state.vote);
    if (past->protocol == RAFT_PROTOCOL_MULTIPAXOS) {
        printf("accepted round: %" PRIu64 "\n", past->state.accepted_round);
    }
    printf("lease_max_ms: %" PRIu64 "\n", past->state.lease_max_ms);
}

static const char *role_name(const raft_member *member)
{
    switch (member->role) {
    case RAFT_MEMBER_VOTER:
        return "voter";
    case RAFT_MEMBER_LEARNER:
        return member->promote ? "learner, to be a voter" : "learner";
    case RAFT_MEMBER_WITNESS:
        return "witness";
    default:
        return "leaving";
    }
}

static void print_member(const raft_member *member)
{
    char peer[MEMBER_ADDRESS_MAX];
    char client[MEMBER_ADDRESS_MAX];

    options_split_blob(member->blob, member->blob_size, peer, client);
    printf("member %" PRIu64 ": %s, peer=%s, client=%s\n", member->id, role_name(member), peer,
           client);
}

static void print_members(const struct past *past)
{
    const raft_status *status = &past->status;
    raft_member member;

    if (status->member_count == 0) {
        printf("membership: none; the server waits to be added\n");
        return;
    }
    printf("membership: version %" PRIu64 ", %zu members%s\n", status->membership_version,
           status->member_count,
           status->membership_joint ? ", on the way from one membership to another" : "");
    for (size_t i = 0; raft_get_member(past->node, i, &member) == RAFT_OK; i++) {
        print_member(&member);
    }
}

static void print_checkpoint(const struct past *past)
{
    if (!past->has_checkpoint) {
        printf("checkpoint: none\n");
        return;
    }
    printf("checkpoint: %s\n", past->checkpoint_path);
    printf("checkpoint at: index %" PRIu64 ", term %" PRIu64 ", %" PRIu64 " bytes, %zu keys, "
           "digest %016" PRIx64 "\n",
           past->checkpoint_index, past->checkpoint_term, past->checkpoint_bytes,
           store_count(past->store), store_digest(past->store));
}

static void print_entries(const struct past *past)
{
    if (past->status.first_index > past->last_index) {
        printf("log entries: none, after index %" PRIu64 ", term %" PRIu64 "\n", past->last_index,
               past->last_term);
    } else {
        printf("log entries: first %" PRIu64 ", last %" PRIu64 ", last term %" PRIu64 "\n",
               past->status.first_index, past->last_index, past->last_term);
    }
}

/* What the keyspace is where all of the log is committed. */
static int print_keyspace(struct past *past)
{
    if (past->is_witness) {
        printf("keyspace: none, this is a witness\n");
        return 0;
    }
    if (past_apply(past)) {
        return -1;
    }
    printf("keyspace at: index %" PRIu64 ", %zu keys, digest %016" PRIx64 "\n", past->applied_index,
           store_count(past->store), store_digest(past->store));
    return 0;
}

static void print_directory(const struct past *past)
{
    printf("node: %" PRIu64 "\n", past->id);
    printf("protocol: %s\n", options_protocol_name(past->protocol));
    print_state(past);
    print_members(past);
    print_log(past);
    print_entries(past);
    printf("checkpoint files: %zu\n", past->checkpoint_files);
}

/* ---- The program ---- */

static int check(struct past *past, const char *path)
{
    int is_whole = is_directory(path);

    if (is_whole ? past_open(past, path) : past_open_file(past, path)) {
        return -1;
    }
    printf("%s: %s\ncluster: %016" PRIx64 "\n", is_whole ? "directory" : "checkpoint file", path,
           past->cluster);
    if (is_whole) {
        print_directory(past);
    } else {
        printf("taken by node: %" PRIu64 "\n", past->id);
    }
    print_checkpoint(past);
    return is_whole ? print_keyspace(past) : 0;
}

int main(int argc, char **argv)
{
    static struct past past;
    int status;

    if (argc == 2 && !strcmp(argv[1], "--help")) {
        fputs(usage, stdout);
        return EXIT_SOUND;
    }
    if (argc != 2 || argv[1][0] == '-' || argv[1][0] == '\0') {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    status = check(&past, argv[1]);
    if (status) {
        fflush(stdout);
        fprintf(stderr, "raftkv-check: %s%s\n", past.is_damaged ? "damaged: " : "", past.error);
    } else {
        printf("sound\n");
    }
    past_close(&past);
    return status ? EXIT_DAMAGED : EXIT_SOUND;
}
