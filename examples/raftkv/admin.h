/*
 * Commands that change the cluster: RAFT.ADD, RAFT.REMOVE, RAFT.PROMOTE, RAFT.TRANSFER and
 * RAFT.CHECKPOINT. Each says how things should be, waits until they are so and committed, and is
 * safe to repeat. The client waits meanwhile; its connection takes nothing else.
 */
#ifndef RAFTKV_ADMIN_H
#define RAFTKV_ADMIN_H

#include <stddef.h>
#include <stdint.h>

#include "client.h"

struct server;

/* Begins a command of a trusted client, whose queue is empty. */
void admin_begin(struct server *server, struct client *client, const struct command *command,
                 const struct slice *args, size_t count);

/*
 * Looks at all that wait: does the next step where one can be done, and answers those that are
 * through, or overdue. Returns when to look again at the latest.
 */
uint64_t admin_check(struct server *server, uint64_t now_ms);

/* Forgets what a client waits for, when it goes. What it asked for may be done all the same. */
void admin_forget(struct server *server, struct client *client);

#endif
