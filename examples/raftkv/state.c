/*
 * The stream of a whole snapshot.
 *
 * Invariant of both directions: sections lie in ascending order of type, so each is there at most
 * once, and the keyspace is the first.
 */
#include "state.h"

#include <stdlib.h>
#include <string.h>

#define STATE_MAGIC      UINT32_C(0x43564b52)
#define STATE_FORMAT     UINT32_C(1)
#define STATE_END        UINT32_C(0xffffffff)
#define STATE_HEAD_BYTES ((size_t)8)
#define SECTION_BYTES    ((size_t)16)

/* ---- Writing ---- */

struct state_view {
    struct store_view *keys;
    struct state_part parts[STATE_PARTS_MAX];
    size_t part_count;
    uint64_t size;
    int is_begun;
    int keys_are_given;
    size_t part_at;     /* the part that is being given */
    int part_is_headed; /* its head was given */
    int is_ended;
};

static void add_section_head(struct buffer *out, uint32_t type, uint64_t size)
{
    char head[SECTION_BYTES];

    bytes_put_u32(head, type);
    bytes_put_u32(head + 4, 0);
    bytes_put_u64(head + 8, size);
    buffer_add(out, head, sizeof head);
}

struct state_view *state_view_begin(struct store *store, uint64_t applied_index,
                                    struct state_part *parts, size_t count)
{
    struct state_view *view = count <= STATE_PARTS_MAX ? calloc(1, sizeof *view) : NULL;

    if (view == NULL) {
        return NULL;
    }
    view->keys = store_snapshot_begin(store, applied_index);
    if (view->keys == NULL) {
        free(view);
        return NULL;
    }
    view->size = STATE_HEAD_BYTES + SECTION_BYTES + store_snapshot_size(view->keys) + SECTION_BYTES;
    for (size_t i = 0; i < count; i++) {
        view->size += SECTION_BYTES + buffer_size(&parts[i].bytes);
        view->parts[i] = parts[i];
        parts[i].bytes = (struct buffer){.bytes_max = parts[i].bytes.bytes_max};
    }
    view->part_count = count;
    return view;
}

uint64_t state_view_size(const struct state_view *view)
{
    return view->size;
}

uint64_t state_view_digest(const struct state_view *view)
{
    return store_snapshot_digest(view->keys);
}

static void add_state_head(struct state_view *view, struct buffer *out)
{
    char head[STATE_HEAD_BYTES];

    bytes_put_u32(head, STATE_MAGIC);
    bytes_put_u32(head + 4, STATE_FORMAT);
    buffer_add(out, head, sizeof head);
    add_section_head(out, STATE_KEYSPACE, store_snapshot_size(view->keys));
    view->is_begun = 1;
}

/* Gives up to `budget` bytes of the current part. */
static void give_part(struct state_view *view, struct buffer *out, size_t budget)
{
    struct state_part *part = &view->parts[view->part_at];
    size_t piece = buffer_size(&part->bytes);

    if (!view->part_is_headed) {
        add_section_head(out, part->type, piece);
        view->part_is_headed = 1;
    }
    if (piece > budget) {
        piece = budget;
    }
    buffer_add(out, buffer_bytes(&part->bytes), piece);
    buffer_consume(&part->bytes, piece);
    if (buffer_size(&part->bytes) == 0) {
        buffer_free(&part->bytes);
        view->part_at++;
        view->part_is_headed = 0;
    }
}

/* One step behind the keyspace. */
static void give_rest(struct state_view *view, struct buffer *out, size_t budget)
{
    if (view->part_at < view->part_count) {
        give_part(view, out, budget > 0 ? budget : 1);
    } else {
        add_section_head(out, STATE_END, 0);
        view->is_ended = 1;
    }
}

int state_view_next(struct state_view *view, struct buffer *out, size_t budget)
{
    if (view->is_ended) {
        return 0;
    }
    if (!view->is_begun) {
        add_state_head(view, out);
    }
    if (!view->keys_are_given) {
        int more = store_snapshot_next(view->keys, out, budget);

        view->keys_are_given = more == 0;
        return more < 0 ? more : 1;
    }
    give_rest(view, out, budget);
    return out->failed ? STORE_NOMEM : !view->is_ended;
}

void state_view_end(struct state_view *view)
{
    if (view == NULL) {
        return;
    }
    store_snapshot_end(view->keys);
    for (size_t i = 0; i < view->part_count; i++) {
        buffer_free(&view->parts[i].bytes);
    }
    free(view);
}

/* ---- Reading ---- */

enum { READ_HEAD, READ_SECTION_HEAD, READ_KEYSPACE, READ_PART, READ_DONE };

struct state_load {
    struct store_load *keys; /* null once it has ended */
    struct state state;
    const uint32_t *known;
    size_t known_count;
    size_t part_bytes_max;
    int phase;
    int status;
    uint32_t last_type;
    uint64_t left; /* bytes of the section that is being read */
    char head[SECTION_BYTES];
    size_t head_size;
};

struct state_load *state_load_begin(const uint8_t secret[16], const uint32_t *known, size_t count,
                                    size_t part_bytes_max)
{
    struct state_load *load = calloc(1, sizeof *load);

    if (load == NULL) {
        return NULL;
    }
    load->keys = store_load_begin(secret);
    if (load->keys == NULL) {
        free(load);
        return NULL;
    }
    load->known = known;
    load->known_count = count;
    load->part_bytes_max = part_bytes_max;
    return load;
}

static int is_known(const struct state_load *load, uint32_t type)
{
    for (size_t i = 0; i < load->known_count; i++) {
        if (load->known[i] == type) {
            return 1;
        }
    }
    return type == STATE_KEYSPACE;
}

static void end_keyspace(struct state_load *load)
{
    load->status = store_load_end(load->keys, &load->state.store, &load->state.applied_index);
    load->keys = NULL;
}

/* A section has come to its end. */
static void end_section(struct state_load *load)
{
    if (load->phase == READ_KEYSPACE) {
        end_keyspace(load);
    }
    load->phase = READ_SECTION_HEAD;
}

static int begin_part(struct state_load *load, uint32_t type)
{
    if (load->left > load->part_bytes_max || load->state.part_count == STATE_PARTS_MAX) {
        return STORE_ECORRUPT;
    }
    load->state.parts[load->state.part_count++].type = type;
    load->phase = READ_PART;
    return STORE_OK;
}

static int take_section_head(struct state_load *load)
{
    uint32_t type = bytes_u32(load->head);

    load->left = bytes_u64(load->head + 8);
    if (type <= load->last_type || (load->last_type == 0) != (type == STATE_KEYSPACE) ||
        bytes_u32(load->head + 4) != 0 || (type == STATE_END && load->left > 0)) {
        return STORE_ECORRUPT;
    }
    load->last_type = type;
    if (type == STATE_END) {
        load->phase = READ_DONE;
        return STORE_OK;
    }
    if (!is_known(load, type)) {
        return STORE_EVERSION;
    }
    load->phase = READ_KEYSPACE;
    return type == STATE_KEYSPACE ? STORE_OK : begin_part(load, type);
}

static int take_stream_head(struct state_load *load)
{
    if (bytes_u32(load->head) != STATE_MAGIC) {
        return STORE_ECORRUPT;
    }
    load->phase = READ_SECTION_HEAD;
    return bytes_u32(load->head + 4) == STATE_FORMAT ? STORE_OK : STORE_EVERSION;
}

/* Collects a head. Returns the bytes used. */
static size_t feed_head(struct state_load *load, struct slice rest)
{
    size_t whole = load->phase == READ_HEAD ? STATE_HEAD_BYTES : SECTION_BYTES;
    size_t piece = whole - load->head_size < rest.size ? whole - load->head_size : rest.size;

    memcpy(load->head + load->head_size, rest.data, piece);
    load->head_size += piece;
    if (load->head_size == whole) {
        load->head_size = 0;
        load->status = load->phase == READ_HEAD ? take_stream_head(load) : take_section_head(load);
    }
    return piece;
}

/* Passes bytes of a section on. Returns the bytes used. */
static size_t feed_section(struct state_load *load, struct slice rest)
{
    size_t piece = load->left < rest.size ? (size_t)load->left : rest.size;

    if (load->phase == READ_KEYSPACE) {
        load->status = store_load_feed(load->keys, rest.data, piece);
    } else {
        struct buffer *bytes = &load->state.parts[load->state.part_count - 1].bytes;

        buffer_add(bytes, rest.data, piece);
        load->status = bytes->failed ? STORE_NOMEM : STORE_OK;
    }
    load->left -= piece;
    return piece;
}

static size_t feed_some(struct state_load *load, struct slice rest)
{
    switch (load->phase) {
    case READ_HEAD:
    case READ_SECTION_HEAD:
        return feed_head(load, rest);
    case READ_DONE:
        load->status = STORE_ECORRUPT; /* nothing comes behind the end */
        return rest.size;
    default:
        return feed_section(load, rest);
    }
}

int state_load_feed(struct state_load *load, const void *data, size_t size)
{
    struct slice rest = {data, size};

    while (load->status == STORE_OK && rest.size > 0) {
        size_t used = feed_some(load, rest);

        rest.data += used;
        rest.size -= used;
        if (load->status == STORE_OK && load->left == 0 &&
            (load->phase == READ_KEYSPACE || load->phase == READ_PART)) {
            end_section(load);
        }
    }
    return load->status;
}

int state_load_end(struct state_load *load, struct state *state)
{
    int status = load->status;

    if (status == STORE_OK && load->phase != READ_DONE) {
        status = STORE_ECORRUPT;
    }
    if (load->keys != NULL) {
        store_load_end(load->keys, NULL, NULL);
    }
    if (state == NULL || status != STORE_OK) {
        state_clear(&load->state);
    }
    if (state != NULL) {
        *state = load->state;
    }
    free(load);
    return status;
}

struct buffer *state_part_of(struct state *state, uint32_t type)
{
    for (size_t i = 0; i < state->part_count; i++) {
        if (state->parts[i].type == type) {
            return &state->parts[i].bytes;
        }
    }
    return NULL;
}

void state_clear(struct state *state)
{
    store_free(state->store);
    for (size_t i = 0; i < state->part_count; i++) {
        buffer_free(&state->parts[i].bytes);
    }
    memset(state, 0, sizeof *state);
}
