/*
 * A binary heap of deadlines, and a list of what was touched.
 *
 * Invariants:
 *   1. heap[i]->place is i + 1, and no deadline is before that of heap[(i - 1) / 2].
 *   2. A group is in the heap if and only if it had a deadline when it was polled last. What was
 *      touched since may have another one: it is polled before the heap is asked.
 *   3. The list from `first` to `last` holds every group that is touched, once.
 */
#include "groups.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS_CAPACITY_MIN = 16 };

/* ---- The heap ------------------------------------------------------------------------------- */

static void place_group(struct groups *groups, size_t position, struct group *group)
{
    groups->heap[position] = group;
    group->place = position + 1;
}

/* Towards the root, past all that are later. Returns where it came to lie. */
static size_t sift_up(struct groups *groups, size_t position, struct group *group)
{
    while (position > 0) {
        size_t parent = (position - 1) / 2;
        if (groups->heap[parent]->deadline_ms <= group->deadline_ms) {
            break;
        }
        place_group(groups, position, groups->heap[parent]);
        position = parent;
    }
    place_group(groups, position, group);
    return position;
}

static void sift_down(struct groups *groups, size_t position, struct group *group)
{
    for (;;) {
        size_t child = 2 * position + 1;
        if (child >= groups->heap_count) {
            break;
        }
        if (child + 1 < groups->heap_count &&
            groups->heap[child + 1]->deadline_ms < groups->heap[child]->deadline_ms) {
            child++;
        }
        if (group->deadline_ms <= groups->heap[child]->deadline_ms) {
            break;
        }
        place_group(groups, position, groups->heap[child]);
        position = child;
    }
    place_group(groups, position, group);
}

static void heap_remove(struct groups *groups, struct group *group)
{
    size_t position = group->place - 1;
    assert(groups->heap[position] == group); /* 1 */
    struct group *moved = groups->heap[--groups->heap_count];
    group->place = 0;
    if (moved != group) {
        sift_down(groups, sift_up(groups, position, moved), moved);
    }
}

/* Into the heap, to another place in it, or out of it. */
static void set_deadline(struct groups *groups, struct group *group, uint64_t deadline_ms)
{
    uint64_t former_ms = group->deadline_ms;
    if (group->place != 0 && deadline_ms == former_ms) {
        return;
    }
    group->deadline_ms = deadline_ms;
    if (deadline_ms == RAFT_NEVER) {
        if (group->place != 0) {
            heap_remove(groups, group);
        }
    } else if (group->place == 0) {
        assert(groups->heap_count < groups->capacity);
        sift_up(groups, groups->heap_count++, group);
    } else if (deadline_ms < former_ms) {
        sift_up(groups, group->place - 1, group);
    } else {
        sift_down(groups, group->place - 1, group);
    }
}

/* ---- The list ------------------------------------------------------------------------------- */

void groups_touch(struct groups *groups, struct group *group)
{
    if (group->touched) {
        return;
    }
    group->touched = 1;
    group->next = NULL;
    if (groups->last) {
        groups->last->next = group;
    } else {
        groups->first = group;
    }
    groups->last = group;
}

static void list_remove(struct groups *groups, struct group *group)
{
    struct group *before = NULL;
    for (struct group *other = groups->first; other != group; other = other->next) {
        before = other;
    }
    if (before) {
        before->next = group->next;
    } else {
        groups->first = group->next;
    }
    if (groups->last == group) {
        groups->last = before;
    }
    group->touched = 0;
}

/* ---- Adding and removing -------------------------------------------------------------------- */

void groups_init(struct groups *groups)
{
    memset(groups, 0, sizeof *groups);
}

void groups_free(struct groups *groups)
{
    free(groups->heap);
    groups_init(groups);
}

static int reserve_place(struct groups *groups)
{
    if (groups->count < groups->capacity) {
        return 0;
    }
    size_t capacity = groups->capacity ? 2 * groups->capacity : GROUPS_CAPACITY_MIN;
    if (capacity > SIZE_MAX / sizeof *groups->heap) {
        return -1;
    }
    struct group **heap = realloc(groups->heap, capacity * sizeof *heap);
    if (!heap) {
        return -1;
    }
    groups->heap = heap;
    groups->capacity = capacity;
    return 0;
}

int groups_add(struct groups *groups, struct group *group, raft *node)
{
    if (reserve_place(groups)) {
        return -1;
    }
    *group = (struct group){.node = node, .deadline_ms = RAFT_NEVER};
    groups->count++;
    groups_touch(groups, group);
    return 0;
}

void groups_remove(struct groups *groups, struct group *group)
{
    if (group->touched) {
        list_remove(groups, group);
    }
    if (group->place != 0) {
        heap_remove(groups, group);
    }
    groups->count--;
}

/* ---- Polling -------------------------------------------------------------------------------- */

/*
 * What is due joins what was touched. It leaves the heap for the time, so that the next one can be
 * seen; polling puts it back.
 */
static void touch_due(struct groups *groups, uint64_t now_ms)
{
    while (groups->heap_count > 0 && groups->heap[0]->deadline_ms <= now_ms) {
        struct group *group = groups->heap[0];
        heap_remove(groups, group);
        groups_touch(groups, group);
    }
}

size_t groups_poll(struct groups *groups, uint64_t now_ms)
{
    size_t polled = 0;
    touch_due(groups, now_ms);
    struct group *next = groups->first;
    groups->first = NULL; /* callbacks begin another list */
    groups->last = NULL;
    while (next) {
        struct group *group = next;
        next = group->next;
        group->touched = 0;
        (void)raft_poll(group->node, now_ms); /* the host is told by an event */
        set_deadline(groups, group, raft_deadline(group->node));
        polled++;
    }
    groups->polls += polled;
    return polled;
}

uint64_t groups_deadline(const struct groups *groups)
{
    if (groups->first) {
        return 0;
    }
    return groups->heap_count > 0 ? groups->heap[0]->deadline_ms : RAFT_NEVER;
}
