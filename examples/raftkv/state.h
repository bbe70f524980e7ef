/*
 * A snapshot of all that a server replicates, as one stream of bytes: the keyspace, and what other
 * parts of the server keep beside it, each in a section of its own.
 *
 *     view = state_view_begin(store, applied_index, parts, count)
 *     each turn of the loop:  state_view_next(view, buffer, budget), and the bytes go to the file
 *     state_view_end(view)
 *
 *     load = state_load_begin(secret, known, count, limit)
 *     state_load_feed(load, bytes, size) ...
 *     if (state_load_end(load, &state) == STORE_OK)
 *         store_replace(store, state.store), and the parts to whom they belong
 *
 * The parts are bytes that their owner has saved when the view is opened, all at one applied index;
 * only the keyspace, which is large, is read while the server goes on. The stream, numbers being
 * little-endian:
 *
 *     u32 "RKVC", u32 format
 *     sections: u32 type, u32 zero, u64 size, bytes; types ascending, the keyspace (1) always there
 *     the end: a section of type 0xffffffff and size 0
 *
 * A section of a type that the reader does not know refuses the whole (STORE_EVERSION): a state
 * that is not understood whole cannot be gone on from.
 */
#ifndef RAFTKV_STATE_H
#define RAFTKV_STATE_H

#include "store.h"

#define STATE_PARTS_MAX ((size_t)8)

enum {
    STATE_KEYSPACE = 1,
    STATE_SESSIONS = 2 /* sessions_save of session.h */
};

struct state_part {
    uint32_t type; /* above STATE_KEYSPACE */
    struct buffer bytes;
};

struct state_view;

/*
 * Opens a view of the store (store_snapshot_begin) with `count` parts by ascending type, at most
 * STATE_PARTS_MAX, whose buffers it takes and leaves empty. Null where memory fails, and then it
 * has taken nothing.
 */
struct state_view *state_view_begin(struct store *store, uint64_t applied_index,
                                    struct state_part *parts, size_t count);

/* All bytes that it will give. */
uint64_t state_view_size(const struct state_view *view);

/* As store_snapshot_next. */
int state_view_next(struct state_view *view, struct buffer *out, size_t budget);

/* The store's digest when the view was opened, once all bytes were given. */
uint64_t state_view_digest(const struct state_view *view);

/* Null is allowed. */
void state_view_end(struct state_view *view);

/* What was loaded. */
struct state {
    struct store *store;
    uint64_t applied_index;
    struct state_part parts[STATE_PARTS_MAX];
    size_t part_count;
};

struct state_load;

/*
 * Begins to load; of parts it takes those whose types are in `known`, which it borrows until the
 * end, each up to part_bytes_max. Null where memory fails.
 */
struct state_load *state_load_begin(const uint8_t secret[16], const uint32_t *known, size_t count,
                                    size_t part_bytes_max);

/* As store_load_feed. */
int state_load_feed(struct state_load *load, const void *data, size_t size);

/*
 * Ends the load in any case. STORE_OK: *state holds everything, and is the caller's: its store to
 * store_replace or store_free, its parts' buffers to buffer_free. Else what was wrong, and *state is
 * empty. state may be null: the load is only given up.
 */
int state_load_end(struct state_load *load, struct state *state);

/* The bytes of a part that was loaded; null: there was none. */
struct buffer *state_part_of(struct state *state, uint32_t type);

/* Frees what is left in it. */
void state_clear(struct state *state);

#endif
