/*
 * One active server, the others standing by: leadership alone, without a state machine.
 *
 *     standby ID DIRECTORY 1=127.0.0.1:7001,2=127.0.0.1:7002,3=127.0.0.1:7003 [multipaxos]
 *
 * The term of the leader is its fencing token: no two servers lead in the same term, and each
 * takeover has a higher one. Who was paused may believe for a little longer that it is active, so
 * whatever it acts on is told the token with every act, and refuses a lower one than it has seen.
 */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct service {
    int id;
    raft_term token; /* 0: standing by */
};

static void notify(void *ctx, const raft_event *event)
{
    struct service *service = ctx;
    if (event->kind != RAFT_EVENT_ROLE) {
        return;
    }
    raft_term token = event->role == RAFT_ROLE_LEADER ? event->term : 0;
    if (service->token != 0 && token != service->token) {
        printf("server %d: token %llu is void\n", service->id, (unsigned long long)service->token);
    }
    if (token != 0 && token != service->token) {
        printf("server %d: active, token %llu\n", service->id, (unsigned long long)token);
    }
    service->token = token;
}

int main(int argc, char **argv)
{
    int is_paxos = argc == 5 && strcmp(argv[4], "multipaxos") == 0;
    int is_sound = argc == 4 || is_paxos;
    struct service service = {.id = is_sound ? atoi(argv[1]) : 0};
    struct host_options options = {
        .id = (raft_id)service.id, .ctx = &service, .notify = notify, .election_timeout_ms = 300};
    options.protocol = is_paxos ? RAFT_PROTOCOL_MULTIPAXOS : RAFT_PROTOCOL_RAFT;
    struct host *host = NULL;
    char error[HOST_ERROR_MAX] = "usage: standby ID DIRECTORY ID=HOST:PORT,... [multipaxos]";
    setvbuf(stdout, NULL, _IOLBF, 0); /* whoever reads along shall see each line at once */
    options.directory = is_sound ? argv[2] : NULL;
    options.members = is_sound ? argv[3] : NULL;
    int status = is_sound ? host_open(&options, error, &host) : RAFT_EARG;
    while (status == RAFT_OK) { /* the work is done here, while service.token is not 0 */
        status = host_turn(host, 1000);
    }
    fprintf(stderr, "standby: %s\n", host ? raft_strerror(status) : error);
    host_close(host);
    return EXIT_FAILURE;
}
