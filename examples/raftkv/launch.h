/*
 * A cluster of raftkv processes on loopback in a scratch directory, for programs that show or test
 * one. Whatever ends such a program, its processes end too, and cluster_remove leaves nothing on
 * disk.
 */
#ifndef RAFTKV_LAUNCH_H
#define RAFTKV_LAUNCH_H

#include <stddef.h>
#include <sys/types.h>

#define CLUSTER_SIZE_MAX 7

struct cluster_node {
    pid_t pid; /* 0: it does not run */
    unsigned port; /* for clients */
    unsigned peer_port;
    int is_paused;
};

struct cluster {
    char directory[256];
    char program[512];
    char peers[1024];
    const char *const *flags; /* more of the command line, ended by null; may be null */
    struct cluster_node nodes[CLUSTER_SIZE_MAX]; /* node i has id i + 1 */
    int size;
};

/* Makes the directory (under $TMPDIR or /tmp) and chooses ports. 0, or -1 with errno set. */
int cluster_make(struct cluster *cluster, const char *program, int size);

/* Starts a node and waits until it says that it is ready. 0, or -1: it ended, or took too long. */
int cluster_start(struct cluster *cluster, int node, int timeout_ms);

/* SIGKILLs a node and waits until it is gone. Not running: nothing happens. */
void cluster_kill(struct cluster *cluster, int node);

/* SIGSTOP and SIGCONT. */
void cluster_pause(struct cluster *cluster, int node);
void cluster_resume(struct cluster *cluster, int node);

/* SIGTERMs a node and waits. Its exit status, or -1 where it had to be killed. */
int cluster_stop(struct cluster *cluster, int node, int timeout_ms);

/* The node that listens on a client port, or -1. */
int cluster_node_of(const struct cluster *cluster, unsigned port);

/* The end of what a node has said on stderr, as text ended by a zero byte. */
void cluster_log_tail(const struct cluster *cluster, int node, char *out, size_t size);

/* Kills everything and removes the directory. May be called twice. */
void cluster_remove(struct cluster *cluster);

#endif
