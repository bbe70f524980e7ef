/*
 * The outbox. Invariants:
 *   1. heads holds, frame by frame: the seal (of a sealed frame), the header, and in their order
 *      the bytes of the pieces that are not lent, of which the header is the first.
 *   2. The first piece of a frame is not lent, and no two pieces that are not lent follow each
 *      other.
 *   3. A frame has at most OUTBOX_PARTS_MAX pieces, its seal counted.
 */
#define _POSIX_C_SOURCE 200809L

#include "outbox.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum {
    LENT_OF_MESSAGE = 2 + RAFT_RANGES_MAX,       /* meta, chunk, entries */
    PIECES_OF_MESSAGE = 1 + LENT_OF_MESSAGE + 1, /* its head before them, its padding behind */
    KEEP_BYTES = 1024 * 1024                     /* more than this is given back when empty */
};

void outbox_begin(struct outbox *o, int is_sealed, size_t frame_bytes_target)
{
    *o = (struct outbox){.is_sealed = is_sealed, .frame_bytes_target = frame_bytes_target};
}

static size_t seal_bytes(const struct outbox *o)
{
    return o->is_sealed ? FRAME_SEAL : 0;
}

size_t outbox_cost(const struct outbox *o, size_t message_bytes)
{
    return seal_bytes(o) + FRAME_HEADER + FRAME_PREFIX + frame_padded(message_bytes);
}

/* ---- Room ---- */

static void *grow(void *array, size_t *capacity, size_t wanted, size_t item_bytes)
{
    size_t larger = *capacity ? *capacity : 16;
    while (larger < wanted) {
        larger *= 2;
    }
    void *grown = realloc(array, larger * item_bytes);
    if (grown) {
        *capacity = larger;
    }
    return grown;
}

/* Room for whatever one message may need, so that nothing fails half way. */
static int make_room(struct outbox *o)
{
    if (o->piece_capacity - o->piece_count < PIECES_OF_MESSAGE) {
        struct outbox_piece *pieces =
            grow(o->pieces, &o->piece_capacity, o->piece_count + PIECES_OF_MESSAGE, sizeof *pieces);
        if (!pieces) {
            return 0;
        }
        o->pieces = pieces;
    }
    if (o->frame_capacity == o->frame_count) {
        struct outbox_frame *frames =
            grow(o->frames, &o->frame_capacity, o->frame_count + 1, sizeof *frames);
        if (!frames) {
            return 0;
        }
        o->frames = frames;
    }
    return bytes_reserve(&o->heads, outbox_cost(o, RAFT_MESSAGE_HEADER) + 8);
}

/* ---- Adding ---- */

static void add_piece(struct outbox *o, const uint8_t *lent, size_t size)
{
    struct outbox_frame *frame = &o->frames[o->frame_count - 1];
    struct outbox_piece *next = &o->pieces[o->piece_count];
    frame->bytes += size;
    o->bytes += size;
    if (frame->piece_count && !next[-1].lent && !lent) {
        next[-1].size += size;
        return;
    }
    *next = (struct outbox_piece){lent, size};
    o->piece_count++;
    frame->piece_count++;
}

/* The next bytes of the heads, which belong to the frame. */
static uint8_t *add_head(struct outbox *o, size_t size)
{
    uint8_t *head = o->heads.data + o->heads.tail;
    o->heads.tail += size;
    add_piece(o, NULL, size);
    return head;
}

static void begin_frame(struct outbox *o)
{
    o->frames[o->frame_count++] = (struct outbox_frame){0};
    o->heads.tail += seal_bytes(o);
    o->bytes += seal_bytes(o);
    memset(add_head(o, FRAME_HEADER), 0, FRAME_HEADER);
}

static int frame_takes(const struct outbox *o, size_t bytes)
{
    if (o->frame_count == o->next_frame) {
        return 0;
    }
    const struct outbox_frame *frame = &o->frames[o->frame_count - 1];
    return frame->bytes + bytes <= o->frame_bytes_target &&
           frame->piece_count + PIECES_OF_MESSAGE + 1 <= OUTBOX_PARTS_MAX;
}

/* Returns the bytes lent. */
static size_t add_lent(struct outbox *o, const void *data, size_t size)
{
    if (size) {
        add_piece(o, data, size);
    }
    return size;
}

int outbox_add(struct outbox *o, const raft_message *message, size_t message_bytes)
{
    size_t padding = frame_padded(message_bytes) - message_bytes;
    if (!make_room(o)) {
        return 0;
    }
    if (!frame_takes(o, FRAME_PREFIX + message_bytes + padding)) {
        begin_frame(o);
    }
    uint8_t *head = add_head(o, FRAME_PREFIX + RAFT_MESSAGE_HEADER);
    frame_prefix(message_bytes, head);
    raft_encode_header(message, head + FRAME_PREFIX);
    add_lent(o, message->meta.data, message->meta.size);
    add_lent(o, message->chunk.data, message->chunk.size);
    for (size_t i = 0; i < message->range_count; i++) {
        add_lent(o, message->ranges[i].data, message->ranges[i].size);
    }
    if (padding) {
        memset(add_head(o, padding), 0, padding);
    }
    o->frames[o->frame_count - 1].message_count++;
    o->message_count++;
    return 1;
}

/* ---- Taking ---- */

/* iovec serves reading too and has no const. */
static struct iovec part_of(const void *data, size_t size)
{
    return (struct iovec){(void *)(uintptr_t)data, size};
}

/* One frame's parts, header first; its seal last. Returns how many. */
static size_t gather_frame(struct outbox *o, struct frame_key *key, struct iovec *parts)
{
    const struct outbox_frame *frame = &o->frames[o->next_frame++];
    uint8_t *seal = o->heads.data + o->next_head;
    uint8_t *header = seal + seal_bytes(o);
    size_t count = 0;
    o->next_head += seal_bytes(o);
    for (; count < frame->piece_count; count++) {
        const struct outbox_piece *piece = &o->pieces[o->next_piece++];
        if (piece->lent) {
            parts[count] = part_of(piece->lent, piece->size);
        } else {
            parts[count] = part_of(o->heads.data + o->next_head, piece->size);
            o->next_head += piece->size;
        }
    }
    size_t first_bytes = parts[0].iov_len;
    parts[0] = part_of(header + FRAME_HEADER, first_bytes - FRAME_HEADER);
    if (o->is_sealed) {
        frame_seal(parts, count, key, header, seal);
        parts[count++] = part_of(seal, FRAME_SEAL);
    } else {
        frame_header(parts, count, header);
    }
    parts[0] = part_of(header, first_bytes);
    return count;
}

size_t outbox_gather(struct outbox *o, struct frame_key *key, struct iovec *parts, size_t room,
                     size_t *frames, size_t *messages)
{
    size_t count = 0;
    while (o->next_frame < o->frame_count && room - count > o->frames[o->next_frame].piece_count) {
        *messages += o->frames[o->next_frame].message_count;
        o->message_count -= o->frames[o->next_frame].message_count;
        (*frames)++;
        count += gather_frame(o, key, parts + count);
    }
    return count;
}

void outbox_clear(struct outbox *o)
{
    o->heads.head = o->heads.tail = 0;
    o->piece_count = o->frame_count = o->bytes = o->message_count = 0;
    o->next_frame = o->next_piece = o->next_head = 0;
    if (o->heads.capacity + o->piece_capacity * sizeof *o->pieces > KEEP_BYTES) {
        outbox_free(o);
    }
}

void outbox_free(struct outbox *o)
{
    bytes_free(&o->heads);
    free(o->pieces);
    free(o->frames);
    outbox_begin(o, o->is_sealed, o->frame_bytes_target);
}
