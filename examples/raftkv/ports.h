/*
 * Ports of loopback for servers that programs start, stop and start again, while other programs
 * beside them do the same. A port whose server is down is free to whoever looks; so each program
 * has a block of ports of its own, as long as it runs.
 *
 * They are below the range from which systems choose ports for outgoing connections: otherwise such
 * a connection could hold the port of a server that is to be started again.
 */
#ifndef RAFTKV_PORTS_H
#define RAFTKV_PORTS_H

#define PORTS_PER_PROGRAM 49

/*
 * A port on which nobody listens. It is given to no other program while this one runs, and again to
 * this one after all others of its block. 0, with errno set: there is none.
 */
unsigned ports_next(void);

#endif
