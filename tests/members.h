/*
 * Memberships in short, for scripts on a cluster: "1 2 3l 4p 5w" are the voters 1 and 2, 3 a learner,
 * 4 a learner that is to become a voter, 5 a witness.
 */
#ifndef KEELSON_TESTS_MEMBERS_H
#define KEELSON_TESTS_MEMBERS_H

#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wish {
    raft_member members[RAFT_MEMBERS_MAX];
    raft_membership membership;
};

static inline void wish_for(struct wish *wish, const char *text)
{
    memset(wish, 0, sizeof *wish);
    raft_membership_init(&wish->membership);
    wish->membership.members = wish->members;
    for (char *end; *text != '\0'; text = *end == '\0' ? end : end + 1) {
        raft_member *member = &wish->members[wish->membership.member_count++];
        member->id = strtoull(text, &end, 10);
        member->role = *end == 'w'                  ? RAFT_MEMBER_WITNESS
                       : *end == 'l' || *end == 'p' ? RAFT_MEMBER_LEARNER
                                                    : RAFT_MEMBER_VOTER;
        member->promote = *end == 'p';
        end += *end != ' ' && *end != '\0';
    }
}

static inline raft_index version_at(const struct cluster *cluster, raft_id id)
{
    return cluster_status(cluster, id).membership_version;
}

static inline int ask(struct cluster *cluster, raft_id leader, const struct wish *wish)
{
    return raft_set_membership(cluster->nodes[leader].raft, &wish->membership,
                               version_at(cluster, leader), NULL, NULL);
}

static inline int change(struct cluster *cluster, raft_id leader, const char *text)
{
    struct wish wish;
    wish_for(&wish, text);
    return ask(cluster, leader, &wish);
}

/* The membership in force at a node, as wish_for reads it; while joint "former > next". */
static inline const char *members_at(const struct cluster *cluster, raft_id id)
{
    static char text[512];
    raft_member members[RAFT_MEMBERS_MAX];
    raft_membership is;
    size_t at = 0;
    raft_membership_init(&is);
    if (raft_get_membership(cluster->nodes[id].raft, &is, members, RAFT_MEMBERS_MAX) != RAFT_OK) {
        return "none";
    }
    text[0] = '\0';
    for (int former = is.joint; former >= 0; former--) {
        for (size_t i = 0; i < is.member_count; i++) {
            int role = former ? members[i].former_role : members[i].role;
            if (role != RAFT_MEMBER_NONE) {
                const char *mark = role == RAFT_MEMBER_WITNESS                         ? "w"
                                   : role == RAFT_MEMBER_LEARNER && members[i].promote ? "p"
                                   : role == RAFT_MEMBER_LEARNER                       ? "l"
                                                                                       : "";
                at += (size_t)snprintf(text + at, sizeof text - at, "%s%llu%s", at > 0 ? " " : "",
                                       (unsigned long long)members[i].id, mark);
            }
        }
        at += (size_t)snprintf(text + at, sizeof text - at, "%s", former ? " >" : "");
    }
    return text;
}

/* The owner slot that a node's membership gives a member; 0: it is none. */
static inline uint32_t slot_at(const struct cluster *cluster, raft_id id, raft_id member)
{
    raft_member members[RAFT_MEMBERS_MAX];
    raft_membership is;
    uint32_t slot = 0;
    raft_membership_init(&is);
    if (raft_get_membership(cluster->nodes[id].raft, &is, members, RAFT_MEMBERS_MAX) == RAFT_OK) {
        for (size_t i = 0; i < is.member_count; i++) {
            slot = members[i].id == member ? members[i].owner_slot : slot;
        }
    }
    return slot;
}

static inline size_t configs_stored(const struct cluster *cluster, raft_id id)
{
    size_t count = 0;
    for (raft_index index = 1; cluster_stored(cluster, id, index) != NULL; index++) {
        count += cluster_stored(cluster, id, index)->kind == RAFT_ENTRY_CONFIG;
    }
    return count;
}

#endif
