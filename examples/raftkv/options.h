/*
 * The command line of raftkv. Parsing touches neither files nor sockets, so that all of it can be
 * tested; options_read_password is the one exception.
 */
#ifndef RAFTKV_OPTIONS_H
#define RAFTKV_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "raft.h"

#define OPTIONS_PASSWORD_MAX 512u

enum { READS_LINEARIZABLE, READS_LEASE, READS_STALE };

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* A founder of the group, as --peers names it. */
struct founder {
    raft_id id;
    const char *blob; /* "peer-addr[/client-addr]", not ended by a zero byte */
    size_t blob_size;
};

/* Texts point into argv or are static. */
struct options {
    raft_id id;
    const char *directory;
    const char *listen;                        /* for clients */
    const char *peer_listen;                   /* for the other servers; null: not given */
    const char *cluster;                       /* name of the cluster */
    const char *password_file;                 /* null: no password */
    const char *secret_file;                   /* null: peers are not authenticated */
    struct founder founders[RAFT_MEMBERS_MAX]; /* by ascending id, the same on every founder */
    size_t founder_count;                      /* 0: --peers was not given */
    uint32_t election_ms;
    uint32_t heartbeat_ms;
    uint64_t log_bytes;
    uint64_t checkpoint_entries; /* 0: by the size of the log alone */
    int protocol;                /* RAFT_PROTOCOL_* */
    int sync_never;
    int reads;   /* READS_* */
    int join;    /* it waits to be added */
    int forward; /* writes are handed to the leader instead of being redirected */
    int insecure;
    int log_level;
};

enum options_result {
    OPTIONS_RUN,     /* everything is there: serve */
    OPTIONS_HELP,    /* --help: print options_usage on stdout, exit 0 */
    OPTIONS_VERSION, /* --version likewise */
    OPTIONS_BAD /* unknown, contradictory, out of range or not yet supported: error says what */
};

/*
 * Reads a command line. argv must outlive *options. error, with room for size bytes, is written on
 * OPTIONS_BAD alone.
 */
enum options_result options_parse(struct options *options, int argc, char *const *argv, char *error,
                                  size_t size);

/* The text of --help. Static. */
const char *options_usage(void);

/* As --protocol takes it. Static. */
const char *options_protocol_name(int protocol);

/* The cluster id of a cluster name: the same on every machine, never 0. */
uint64_t options_cluster_id(const char *name);

struct password {
    char text[OPTIONS_PASSWORD_MAX];
    size_t size; /* 0: there is none */
};

/*
 * Reads a password file: its first line. Refused are files that others than the owner can read,
 * that are no regular files, and that hold no password or more than OPTIONS_PASSWORD_MAX bytes.
 * Returns 0, or -1 and writes the reason to error.
 */
int options_read_password(const char *path, struct password *password, char *error, size_t size);

/* The two halves of a member's blob. An address that is missing or too long becomes "". */
#define MEMBER_ADDRESS_MAX 256u
void options_split_blob(const void *blob, size_t size, char peer[MEMBER_ADDRESS_MAX],
                        char client[MEMBER_ADDRESS_MAX]);

#endif
