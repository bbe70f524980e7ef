/*
 * A cluster of raftkv processes on loopback in a scratch directory, for programs that show or test
 * one. Whatever ends such a program, its processes end too, and fleet_remove leaves nothing on
 * disk.
 */
#ifndef RAFTKV_LAUNCH_H
#define RAFTKV_LAUNCH_H

#include <stddef.h>
#include <sys/types.h>

#define FLEET_SIZE_MAX 7

struct fleet_node {
    pid_t pid;     /* 0: it does not run */
    unsigned id;   /* of the server at this place: the place, counted from 1, if it is a founder */
    unsigned port; /* for clients */
    unsigned peer_port;
    int is_paused;
};

struct fleet {
    char directory[256];
    char program[512];
    char peers[1024];         /* who founds; "": each founder by itself, without a network */
    const char *const *flags; /* more of the command line, ended by null; may be null */
    const char *protocol;     /* as --protocol takes it; null: its default */
    struct fleet_node nodes[FLEET_SIZE_MAX];
    int size;
    int founders; /* servers with ids up to this found the cluster, others wait to be added */
};

/* Makes the directory (under $TMPDIR or /tmp) and chooses ports. 0, or -1 with errno set. */
int fleet_make(struct fleet *fleet, const char *program, int size);

/*
 * The same, but only the first servers found the cluster: the others start empty and wait to be
 * added, each with fleet_start and then RAFT.ADD of its id and address.
 */
int fleet_make_with_spares(struct fleet *fleet, const char *program, int founders, int spares);

/* "HOST:PORT/HOST:PORT" of a place: for servers and for clients, as RAFT.ADD takes it. */
void fleet_address(const struct fleet *fleet, int node, char out[64]);

/* Gives a place, where nothing runs, to another server: a new id, and nothing on its disk. */
void fleet_renew(struct fleet *fleet, int node, unsigned id);

/* Starts a node and waits until it says that it is ready. 0, or -1: it ended, or took too long. */
int fleet_start(struct fleet *fleet, int node, int timeout_ms);

/* SIGKILLs a node and waits until it is gone. Not running: nothing happens. */
void fleet_kill(struct fleet *fleet, int node);

/* SIGSTOP and SIGCONT. */
void fleet_pause(struct fleet *fleet, int node);
void fleet_resume(struct fleet *fleet, int node);

/* SIGTERMs a node and waits. Its exit status, or -1 where it had to be killed. */
int fleet_stop(struct fleet *fleet, int node, int timeout_ms);

/* The node that listens on a client port, or -1. */
int fleet_node_of(const struct fleet *fleet, unsigned port);

/* The end of what a node has said on stderr, as text ended by a zero byte. */
void fleet_log_tail(const struct fleet *fleet, int node, char *out, size_t size);

/* Kills everything and removes the directory. May be called twice. */
void fleet_remove(struct fleet *fleet);

#endif
