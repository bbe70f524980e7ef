/*
 * Messages that wait to be written to one peer, gathered where they lie: the outbox keeps their
 * heads, one behind the other, and remembers where the bytes are that were lent. Many small
 * messages, the heartbeats of a thousand groups for example, are one run of bytes in one frame.
 */
#ifndef KEELSON_OUTBOX_H
#define KEELSON_OUTBOX_H

#include "bytes.h"
#include "frame.h"

struct iovec;

enum { OUTBOX_PARTS_MAX = 256 }; /* byte ranges of one frame, thus the least for outbox_gather */

/* The next size bytes of a frame: lent, or where null, of the heads. */
struct outbox_piece {
    const uint8_t *lent;
    size_t size;
};

struct outbox_frame {
    size_t bytes; /* header and body */
    size_t piece_count;
    size_t message_count;
};

struct outbox {
    int is_sealed;             /* frames get seals */
    size_t frame_bytes_target; /* a frame takes no more messages that would make it longer */
    struct bytes heads;        /* of each frame: its seal, its header, then heads and padding */
    struct outbox_piece *pieces;
    size_t piece_count, piece_capacity;
    struct outbox_frame *frames;
    size_t frame_count, frame_capacity;
    size_t bytes;         /* of all frames, seals included */
    size_t message_count; /* not gathered yet */
    /* How far outbox_gather has come. */
    size_t next_frame, next_piece, next_head;
};

void outbox_begin(struct outbox *outbox, int is_sealed, size_t frame_bytes_target);

/* The most that this message adds to outbox->bytes. */
size_t outbox_cost(const struct outbox *outbox, size_t message_bytes);

/* Adds a message of that size; 0 where there is no memory for it, and then nothing is added. */
int outbox_add(struct outbox *outbox, const raft_message *message, size_t message_bytes);

/*
 * Finishes the next frames, as many as fit into room, which is OUTBOX_PARTS_MAX at least, and tells
 * where their bytes are. Sealed frames need the key; null: see frame_seal. Returns how many parts;
 * 0: no frame is left. Adds to *frames.
 */
size_t outbox_gather(struct outbox *outbox, struct frame_key *key, struct iovec *parts, size_t room,
                     size_t *frames, size_t *messages);

/* Forgets what was added; keeps the memory unless it is much. */
void outbox_clear(struct outbox *outbox);

void outbox_free(struct outbox *outbox);

#endif
