/*
 * Three raftkv processes for the benchmark, on free ports of loopback, in a scratch directory. All
 * of it goes away when the program ends, by whatever way but SIGKILL.
 */
#ifndef BENCH_SERVERS_H
#define BENCH_SERVERS_H

#include <stdint.h>
#include <sys/types.h>

enum { SERVERS = 3 };

struct servers {
    const char *binary;
    const char *protocol; /* as raftkv --protocol has it */
    char directory[256];
    unsigned client_port[SERVERS], peer_port[SERVERS];
    pid_t pid[SERVERS]; /* 0: not running */
    unsigned election_ms;
};

/* Starts all three and waits until each has said that it is ready. One cluster at a time. */
void servers_begin(struct servers *servers, const char *binary, const char *protocol,
                   unsigned election_ms);
void servers_end(struct servers *servers);

void servers_start_one(struct servers *servers, int which);
void servers_kill_one(struct servers *servers, int which); /* SIGKILL, and waits for its end */

/* The server that acknowledges a write; waits until there is one. */
int servers_leader(struct servers *servers);

/* Processor time of all three so far, in microseconds; 0 where it cannot be read. */
double servers_cpu_us(const struct servers *servers);

/* A connection to a server, non-blocking, once it is made. */
int servers_connect(const struct servers *servers, int which);

/* Ends the program if a signal has asked for it. */
void servers_check_signal(void);

/*
 * Microseconds to write and fdatasync 512 bytes of a file beside the servers' that was written
 * before: the tenth percentile, since on a busy machine the median is that of the scheduler.
 */
double servers_sync_us(const struct servers *servers);

#endif
