/*
 * The one encoding: entries, as they lie in memory, on the wire and on disk, and messages around
 * them. Also their description for people. Knows nothing of the node.
 *
 * An entry: u32 payload size, u8 kind, three zero bytes, the payload, zero bytes up to a multiple
 * of eight.
 *
 * A message is a header of one size for all kinds, then what it carries:
 *
 *      0  u8  format (1)      1  u8  kind       2  u8  flags; 1: refused      3  u8  protocol
 *      4  u32 entries, in a snapshot: bytes of metadata
 *      8  u64 cluster        16  u64 group     24  u64 from                  32  u64 to
 *     40  u64 term           48  u64 round     56  u64 index                 64  u64 index_term
 *     72  u64 and 80 u64: two fields that depend on the kind, see `layouts`
 *     88  u64 bytes behind the header: metadata, chunk, entries back to back
 *
 * Everything is little-endian. What a kind does not use is zero and is checked to be zero, so each
 * message has exactly one encoding.
 */
#include "raft_internal.h"

#include <stddef.h>

#define MESSAGE_FORMAT 1u
#define PAYLOAD_MAX    ((size_t)1 << 30)

/* ---- Entries -------------------------------------------------------------------------------- */

/* A size that does not fit in a size_t is answered with more than any buffer has. */
size_t raft_entry_size(size_t payload_size)
{
    return payload_size > SIZE_MAX - (RAFT_ENTRY_HEADER + 7) ? SIZE_MAX
                                                             : raft__entry_size(payload_size);
}

/* Only proposals have payloads of any size; no-ops and stripped entries have none. */
static int kind_may_have(uint32_t kind, size_t payload_size)
{
    switch (kind) {
    case RAFT_ENTRY_DATA:
        return 1;
    case RAFT_ENTRY_NOOP:
    case RAFT_ENTRY_STRIPPED:
        return payload_size == 0;
    case RAFT_ENTRY_CONFIG:
        return payload_size > 0 && payload_size <= RAFT_META_MAX;
    default:
        return 0;
    }
}

int raft_entry_encode(const raft_entry *entry, void *out, size_t capacity)
{
    if (entry == NULL || out == NULL || (entry->data == NULL && entry->size != 0) ||
        entry->kind < RAFT_ENTRY_DATA || entry->kind > RAFT_ENTRY_STRIPPED ||
        !kind_may_have((uint32_t)entry->kind, entry->size)) {
        return RAFT_EARG;
    }
    if (entry->size >= PAYLOAD_MAX || capacity < raft_entry_size(entry->size)) {
        return RAFT_ESIZE;
    }
    raft__entry_write((uint8_t *)out, entry->kind, entry->data, entry->size);
    return RAFT_OK;
}

/* The zero bytes that round an entry of `whole` bytes up: one content has one encoding. */
static inline int padding_is_zero(const uint8_t *entry, size_t whole, size_t payload_size)
{
    unsigned in_last_eight = payload_size % 8;
    return in_last_eight == 0 || raft__get64(entry + whole - 8) >> 8 * in_last_eight == 0;
}

/* Looks at no more than it must to stay within the range: what is walked has been checked before. */
int raft_range_next(raft_range *range, raft_entry *entry)
{
    if (range == NULL || entry == NULL || range->count == 0 || range->size < RAFT_ENTRY_HEADER) {
        return 0;
    }
    const uint8_t *data = (const uint8_t *)range->data;
    size_t payload_size = raft__get32(data);
    size_t whole = raft__entry_size(payload_size);
    if (payload_size >= PAYLOAD_MAX || whole > range->size) {
        return 0;
    }
    entry->index = range->first++;
    entry->term = range->term;
    entry->data = data + RAFT_ENTRY_HEADER;
    entry->size = payload_size;
    entry->kind = data[4];
    range->count--;
    range->size -= whole;
    range->data = data + whole;
    return 1;
}

/*
 * 1 << kind for each of the well-formed entries that fill these bytes; 0: they do not, or are not
 * as many as wanted (0: any number will do).
 */
static unsigned entries_kinds(const uint8_t *data, size_t size, size_t wanted)
{
    unsigned kinds = 0;
    size_t found = 0;
    while (size >= RAFT_ENTRY_HEADER) {
        size_t payload_size = raft__get32(data);
        uint32_t kind = raft__get32(data + 4);
        size_t whole = raft__entry_size(payload_size);
        if (payload_size >= PAYLOAD_MAX || whole > size ||
            !padding_is_zero(data, whole, payload_size)) {
            return 0;
        }
        if (kind == RAFT_ENTRY_DATA) { /* mostly, and of any size */
            kinds |= 1u << RAFT_ENTRY_DATA;
        } else if (kind_may_have(kind, payload_size)) {
            kinds |= 1u << kind;
        } else {
            return 0;
        }
        data += whole;
        size -= whole;
        found++;
    }
    return size == 0 && (found == wanted || wanted == 0) ? kinds : 0;
}

unsigned raft__range_kinds(const raft_range *range)
{
    if (range->data == NULL || range->count == 0 || range->term == 0 || range->term > RAFT_LIMIT ||
        range->first == 0 || range->first > RAFT_LIMIT ||
        range->count - 1 > RAFT_LIMIT - range->first) {
        return 0;
    }
    return entries_kinds((const uint8_t *)range->data, range->size, range->count);
}

void raft__range_skip(raft_range *range, size_t count)
{
    RAFT_ASSERT(count < range->count);
    const uint8_t *data = (const uint8_t *)range->data;
    for (size_t i = 0; i < count; i++) {
        size_t whole = raft__entry_size(raft__get32(data));
        data += whole;
        range->size -= whole;
    }
    range->data = data;
    range->first += count;
    range->count -= count;
}

/* ---- Validity ------------------------------------------------------------------------------- */

/* A term belongs to an entry, and every entry has one. */
static int position_valid(const raft_message *message)
{
    return (message->index == 0) == (message->index_term == 0) && message->index <= RAFT_LIMIT &&
           message->index_term <= message->term;
}

/* They continue prev, in one term between prev's and the sender's (R32). */
static inline unsigned ranges_check(const raft_message *message)
{
    raft_index next = message->index + 1;
    raft_term term = message->ranges[0].term;
    unsigned kinds = RAFT__VALID;
    if (term < message->index_term || term > message->term) {
        return 0;
    }
    for (size_t i = 0; i < message->range_count; i++) {
        const raft_range *range = &message->ranges[i];
        unsigned found = range->first == next && range->term == term ? raft__range_kinds(range) : 0;
        if (found == 0) {
            return 0;
        }
        kinds |= found;
        next += range->count;
    }
    return kinds;
}

RAFT_APART static unsigned entries_check(const raft_message *message)
{
    if (message->term == 0 || !position_valid(message) || message->commit > RAFT_LIMIT ||
        message->range_count > RAFT_RANGES_MAX) {
        return 0;
    }
    return message->range_count == 0 ? RAFT__VALID : ranges_check(message);
}

/* A snapshot ends at an entry of a term that the sender has reached (R36). */
RAFT_APART static int snapshot_valid(const raft_message *message)
{
    int begins = message->offset == 0;
    return message->term > 0 && message->index > 0 && position_valid(message) &&
           (message->meta.data != NULL) == begins && (message->meta.size != 0) == begins &&
           message->meta.size <= RAFT_META_MAX &&
           (message->chunk.data != NULL || message->chunk.size == 0) &&
           message->offset <= RAFT_LIMIT && message->chunk.size <= RAFT_LIMIT - message->offset &&
           (message->chunk.size > 0 || (message->flags & RAFT_FLAG_LAST) != 0) &&
           ((message->flags & RAFT_FLAG_BARE) == 0 ||
            (begins && message->chunk.size == 0)); /* metadata is all that there is */
}

/* What a server forwards is entries of the host, one or more, whose term the leader will decide. */
RAFT_APART static int propose_valid(const raft_message *message)
{
    return message->term > 0 && message->nonce != 0 && message->chunk.data != NULL &&
           entries_kinds((const uint8_t *)message->chunk.data, message->chunk.size, 0) ==
               1u << RAFT_ENTRY_DATA;
}

static int refusal_or(const raft_message *message, int valid)
{
    return message->refused
               ? message->index <= RAFT_LIMIT && message->index_term <= message->term &&
                     message->refused_index <= RAFT_LIMIT
               : valid;
}

/* Of the kinds without entries. */
static int fields_valid(const raft_message *message)
{
    switch (message->kind) {
    case RAFT_MESSAGE_PRE_VOTE:
        return position_valid(message) && message->asked_term > message->term &&
               message->asked_term <= RAFT_LIMIT;
    case RAFT_MESSAGE_PRE_VOTE_REPLY:
        return position_valid(message) && message->asked_term > 0 &&
               message->asked_term <= RAFT_LIMIT && message->commit <= message->index;
    case RAFT_MESSAGE_VOTE:
        return message->term > 0 && position_valid(message) && message->tag_term <= message->term &&
               (message->tag_term > 0 || !message->tag_round);
    case RAFT_MESSAGE_VOTE_REPLY:
        return message->term > 0 && position_valid(message) && message->commit <= message->index &&
               message->accepted_round <= message->term;
    case RAFT_MESSAGE_HEARTBEAT_REPLY:
        return message->term > 0 && message->credit_ms <= RAFT__LEASE_MAX;
    case RAFT_MESSAGE_APPEND_REPLY:
        return message->term > 0 && refusal_or(message, message->index <= RAFT_LIMIT &&
                                                            message->credit_ms <= RAFT__LEASE_MAX);
    case RAFT_MESSAGE_HEARTBEAT:
        return message->term > 0 && message->commit <= RAFT_LIMIT;
    case RAFT_MESSAGE_SNAPSHOT_ASK:
        return message->term > 0 && message->commit > 0 && message->commit <= RAFT_LIMIT;
    case RAFT_MESSAGE_SNAPSHOT:
        return snapshot_valid(message);
    case RAFT_MESSAGE_SNAPSHOT_REPLY:
        return message->term > 0 && message->index > 0 && position_valid(message) &&
               message->offset <= RAFT_LIMIT;
    case RAFT_MESSAGE_TRANSFER:
        return message->term > 0 && message->tag_term > 0 && message->tag_term <= message->term;
    case RAFT_MESSAGE_READ:
        return message->term > 0 && message->nonce != 0;
    case RAFT_MESSAGE_READ_REPLY:
    case RAFT_MESSAGE_PROPOSE_REPLY:
        return message->term > 0 && position_valid(message);
    case RAFT_MESSAGE_PROPOSE:
        return propose_valid(message);
    case RAFT_MESSAGE_PULL:
        return message->term > 0 && position_valid(message);
    case RAFT_MESSAGE_PULL_REPLY:
        return refusal_or(message, 0);
    case RAFT_MESSAGE_TRANSFER_ASK:
        return message->term > 0;
    default:
        return 0;
    }
}

unsigned raft__message_check(const raft_message *message)
{
    if (message->term > RAFT_LIMIT) {
        return 0;
    }
    if (message->kind == RAFT_MESSAGE_APPEND ||
        (message->kind == RAFT_MESSAGE_PULL_REPLY && !message->refused)) {
        return entries_check(message);
    }
    return message->range_count == 0 && fields_valid(message) ? RAFT__VALID : 0;
}

/* ---- The wire ------------------------------------------------------------------------------- */

/* What a kind says beyond the fields that all have. A field at offset 0 is none. */
struct layout {
    uint8_t has_index; /* index and index_term */
    uint8_t refusable; /* a reply that may say no */
    uint8_t flags;     /* RAFT_FLAG_* that it may carry */
    uint8_t first;     /* the field in bytes 72 to 79 */
    uint8_t first_no;  /* and where it is refused */
    uint8_t second;    /* the field in bytes 80 to 87; of entries: their term */
};

#define AT(field) ((uint8_t)offsetof(raft_message, field))

enum { TO_LEADER = RAFT_FLAG_FULL | RAFT_FLAG_IDLE };

static const struct layout layouts[] = {
    [RAFT_MESSAGE_PRE_VOTE] = {1, 0, 0, 0, 0, AT(asked_term)},
    [RAFT_MESSAGE_PRE_VOTE_REPLY] = {1, 1, RAFT_FLAG_LOG, 0, AT(commit), AT(asked_term)},
    [RAFT_MESSAGE_VOTE] = {1, 0, RAFT_FLAG_HOLD, AT(tag_round), 0, AT(tag_term)},
    [RAFT_MESSAGE_VOTE_REPLY] = {1, 1, 0, AT(commit), AT(commit), AT(accepted_round)},
    [RAFT_MESSAGE_APPEND] = {1, 0, RAFT_FLAG_THROUGH, AT(commit), 0, 0},
    [RAFT_MESSAGE_APPEND_REPLY] = {1, 1, TO_LEADER | RAFT_FLAG_ACCEPTED, AT(credit_ms),
                                   AT(refused_index), 0},
    [RAFT_MESSAGE_HEARTBEAT] = {0, 0, RAFT_FLAG_CREDIT | RAFT_FLAG_NO_QUORUM | RAFT_FLAG_SLEEP,
                                AT(commit), 0, 0},
    [RAFT_MESSAGE_HEARTBEAT_REPLY] = {0, 1, TO_LEADER, AT(credit_ms), AT(credit_ms), 0},
    [RAFT_MESSAGE_SNAPSHOT] = {1, 0, RAFT_FLAG_LAST | RAFT_FLAG_BARE, AT(offset), 0, 0},
    [RAFT_MESSAGE_SNAPSHOT_REPLY] = {1, 1, TO_LEADER, AT(offset), AT(offset), 0},
    [RAFT_MESSAGE_TRANSFER] = {0, 0, 0, AT(tag_round), 0, AT(tag_term)},
    [RAFT_MESSAGE_READ] = {0, 0, 0, AT(nonce), 0, AT(request)},
    [RAFT_MESSAGE_READ_REPLY] = {1, 1, 0, AT(nonce), AT(nonce), AT(request)},
    [RAFT_MESSAGE_PROPOSE] = {0, 0, 0, AT(nonce), 0, AT(request)},
    [RAFT_MESSAGE_PROPOSE_REPLY] = {1, 1, 0, AT(nonce), AT(nonce), AT(request)},
    [RAFT_MESSAGE_PULL] = {1, 0, 0, 0, 0, 0},
    [RAFT_MESSAGE_PULL_REPLY] = {1, 1, RAFT_FLAG_LAST, AT(commit), AT(refused_index), 0},
    [RAFT_MESSAGE_TRANSFER_ASK] = {0, 0, 0, 0, 0, AT(request)},
    [RAFT_MESSAGE_SNAPSHOT_ASK] = {0, 0, 0, AT(commit), 0, 0},
};

enum { KIND_LAST = RAFT_MESSAGE_SNAPSHOT_ASK };

static int carries_entries(int kind)
{
    return kind == RAFT_MESSAGE_APPEND || kind == RAFT_MESSAGE_PULL_REPLY;
}

static uint8_t first_field(const struct layout *layout, const raft_message *message)
{
    return message->refused ? layout->first_no : layout->first;
}

/* The value of the field at an offset that a layout gives; 0 where it gives none. */
static uint64_t field_get(const raft_message *message, uint8_t offset)
{
    uint64_t value = 0;
    if (offset != 0) {
        memcpy(&value, (const uint8_t *)message + offset, sizeof(value));
    }
    return value;
}

/* Sets it; false where the layout gives none and the value is not 0. */
static int field_set(raft_message *message, uint8_t offset, uint64_t value)
{
    if (offset == 0) {
        return value == 0;
    }
    memcpy((uint8_t *)message + offset, &value, sizeof(value));
    return 1;
}

static size_t entries_size(const raft_message *message)
{
    size_t size = 0;
    for (size_t i = 0; i < message->range_count; i++) {
        size += message->ranges[i].size;
    }
    return size;
}

static size_t entries_count(const raft_message *message)
{
    size_t count = 0;
    for (size_t i = 0; i < message->range_count; i++) {
        count += message->ranges[i].count;
    }
    return count;
}

size_t raft_message_size(const raft_message *message)
{
    return RAFT_MESSAGE_HEADER + message->meta.size + message->chunk.size + entries_size(message);
}

/* The header of a message of `size` bytes. */
static void encode_header(const raft_message *message, size_t size, uint8_t *out)
{
    int known = message->kind >= RAFT_MESSAGE_PRE_VOTE && message->kind <= KIND_LAST;
    const struct layout *layout = &layouts[known ? message->kind : 0];
    raft_term entries_term = message->range_count > 0 ? message->ranges[0].term : 0;
    uint64_t second = layout->second ? field_get(message, layout->second) : entries_term;
    out[0] = MESSAGE_FORMAT;
    out[1] = (uint8_t)message->kind;
    out[2] = (uint8_t)(message->flags | (message->refused != 0));
    out[3] = (uint8_t)message->protocol;
    raft__put32(out + 4, (uint32_t)(entries_count(message) + message->meta.size));
    raft__put64(out + 8, message->cluster);
    raft__put64(out + 16, message->group);
    raft__put64(out + 24, message->from);
    raft__put64(out + 32, message->to);
    raft__put64(out + 40, message->term);
    raft__put64(out + 48, message->round);
    raft__put64(out + 56, message->index);
    raft__put64(out + 64, message->index_term);
    raft__put64(out + 72, field_get(message, first_field(layout, message)));
    raft__put64(out + 80, second);
    raft__put64(out + 88, size - RAFT_MESSAGE_HEADER);
}

void raft_encode_header(const raft_message *message, uint8_t out[RAFT_MESSAGE_HEADER])
{
    encode_header(message, raft_message_size(message), out);
}

static uint8_t *put_bytes(uint8_t *at, const void *data, size_t size)
{
    if (size > 0) {
        memcpy(at, data, size);
    }
    return at + size;
}

size_t raft_encode(const raft_message *message, void *out, size_t capacity)
{
    if (message == NULL || out == NULL || message->kind < RAFT_MESSAGE_PRE_VOTE ||
        message->kind > KIND_LAST) {
        return 0;
    }
    size_t size = raft_message_size(message);
    if (capacity < size) {
        return 0;
    }
    uint8_t *at = (uint8_t *)out;
    encode_header(message, size, at);
    at = put_bytes(at + RAFT_MESSAGE_HEADER, message->meta.data, message->meta.size);
    at = put_bytes(at, message->chunk.data, message->chunk.size);
    for (size_t i = 0; i < message->range_count; i++) {
        at = put_bytes(at, message->ranges[i].data, message->ranges[i].size);
    }
    return size;
}

/* The entries behind the header, as the one range of the message. */
static int decode_entries(const uint8_t *body, size_t size, uint32_t count, uint64_t term,
                          raft_message *message)
{
    if (count == 0) {
        return size == 0 && term == 0;
    }
    raft_range *range = &message->ranges[0];
    range->first = message->index + 1;
    range->term = term;
    range->count = count;
    range->size = size;
    range->data = body;
    message->range_count = 1;
    return 1;
}

/* Metadata and chunk of a snapshot; or the chunk of proposals that are forwarded. */
static int decode_bytes(const uint8_t *body, size_t size, uint32_t meta_size, raft_message *message)
{
    int is_snapshot = message->kind == RAFT_MESSAGE_SNAPSHOT;
    if (meta_size > size || (!is_snapshot && meta_size > 0) ||
        (!is_snapshot && message->kind != RAFT_MESSAGE_PROPOSE && size > 0)) {
        return 0;
    }
    if (meta_size > 0) {
        message->meta.data = body;
        message->meta.size = meta_size;
    }
    if (size > meta_size) {
        message->chunk.data = body + meta_size;
        message->chunk.size = size - meta_size;
    }
    return 1;
}

/* Fills *message; false where a field that the kind does not use is not zero. */
static int decode_header(const uint8_t *in, raft_message *message)
{
    const struct layout *layout = &layouts[in[1]];
    memset(message, 0, offsetof(raft_message, ranges));
    message->kind = in[1];
    message->refused = in[2] & 1;
    message->flags = in[2] & ~1;
    message->protocol = in[3];
    message->cluster = raft__get64(in + 8);
    message->group = raft__get64(in + 16);
    message->from = raft__get64(in + 24);
    message->to = raft__get64(in + 32);
    message->term = raft__get64(in + 40);
    message->round = raft__get64(in + 48);
    message->index = raft__get64(in + 56);
    message->index_term = raft__get64(in + 64);
    return (message->flags & ~layout->flags) == 0 && (!message->refused || layout->refusable) &&
           (layout->has_index || (message->index == 0 && message->index_term == 0)) &&
           field_set(message, first_field(layout, message), raft__get64(in + 72)) &&
           (carries_entries(message->kind) ||
            field_set(message, layout->second, raft__get64(in + 80)));
}

/* An accepted append reply has no hint's term. */
static int reply_is_canonical(const raft_message *message)
{
    return message->kind != RAFT_MESSAGE_APPEND_REPLY || message->refused ||
           message->index_term == 0;
}

int raft__decode(const void *data, size_t size, raft_message *message, unsigned *kinds)
{
    const uint8_t *in = (const uint8_t *)data;
    if (in == NULL || message == NULL) {
        return RAFT_EARG;
    }
    if (size < RAFT_MESSAGE_HEADER) {
        return RAFT_EMALFORMED;
    }
    if (in[0] != MESSAGE_FORMAT) {
        return in[0] > MESSAGE_FORMAT ? RAFT_EVERSION : RAFT_EMALFORMED;
    }
    const uint8_t *body = in + RAFT_MESSAGE_HEADER;
    size_t body_size = size - RAFT_MESSAGE_HEADER;
    if (in[1] < RAFT_MESSAGE_PRE_VOTE || in[1] > KIND_LAST || !decode_header(in, message) ||
        raft__get64(in + 88) != body_size || !reply_is_canonical(message)) {
        return RAFT_EMALFORMED;
    }
    uint32_t count = raft__get32(in + 4);
    int whole = carries_entries(message->kind)
                    ? decode_entries(body, body_size, count, raft__get64(in + 80), message)
                    : decode_bytes(body, body_size, count, message);
    *kinds = whole ? raft__message_check(message) : 0;
    return *kinds != 0 ? RAFT_OK : RAFT_EMALFORMED;
}

int raft_decode(const void *data, size_t size, raft_message *message)
{
    unsigned kinds;
    return raft__decode(data, size, message, &kinds);
}

/* ---- For people ----------------------------------------------------------------------------- */

void raft__text_add(struct raft__text *text, const char *words)
{
    for (; *words != '\0'; words++) {
        if (text->length + 1 < text->size) {
            text->out[text->length] = *words;
        }
        text->length++;
    }
}

void raft__text_number(struct raft__text *text, const char *label, uint64_t value)
{
    char digits[21];
    size_t at = sizeof(digits) - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    raft__text_add(text, label);
    raft__text_add(text, digits + at);
}

size_t raft__text_end(struct raft__text *text)
{
    if (text->size > 0) {
        text->out[text->length < text->size ? text->length : text->size - 1] = '\0';
    }
    return text->length;
}

static const char *kind_name(int kind)
{
    static const char *const names[] = {
        "?",
        "pre-vote",
        "pre-vote-reply",
        "vote",
        "vote-reply",
        "append",
        "append-reply",
        "heartbeat",
        "heartbeat-reply",
        "snapshot",
        "snapshot-reply",
        "transfer",
        "read",
        "read-reply",
        "propose",
        "propose-reply",
        "pull",
        "pull-reply",
        "transfer-ask",
        "snapshot-ask",
    };
    int known = kind >= RAFT_MESSAGE_PRE_VOTE && kind <= KIND_LAST;
    return names[known ? kind : 0];
}

static void describe_flags(struct raft__text *text, const raft_message *message)
{
    static const char *const second[] = {
        [RAFT_MESSAGE_PRE_VOTE_REPLY] = " log", [RAFT_MESSAGE_VOTE] = " hold",
        [RAFT_MESSAGE_APPEND] = " through",     [RAFT_MESSAGE_APPEND_REPLY] = " accepted",
        [RAFT_MESSAGE_SNAPSHOT] = " bare",      [KIND_LAST] = NULL,
    };
    static const struct {
        int flag;
        const char *name;
    } flags[] = {
        {RAFT_FLAG_CREDIT, " credit"}, {RAFT_FLAG_NO_QUORUM, " no-quorum"},
        {RAFT_FLAG_SLEEP, " sleep"},   {RAFT_FLAG_FULL, " full"},
        {RAFT_FLAG_IDLE, " idle"},     {RAFT_FLAG_LAST, " last"},
    };
    int known = message->kind >= 0 && message->kind <= KIND_LAST;
    if ((message->flags & 2) != 0 && known && second[message->kind] != NULL) {
        raft__text_add(text, second[message->kind]);
    }
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if ((message->flags & flags[i].flag) != 0) {
            raft__text_add(text, flags[i].name);
        }
    }
}

static void describe_position(struct raft__text *text, const char *label,
                              const raft_message *message)
{
    raft__text_number(text, label, message->index);
    raft__text_number(text, "/", message->index_term);
}

static void describe_append_reply(struct raft__text *text, const raft_message *message)
{
    if (message->refused != 0) {
        raft__text_number(text, " refused=", message->refused_index);
        describe_position(text, " hint=", message);
    } else {
        raft__text_number(text, " match=", message->index);
    }
}

static void describe_entries(struct raft__text *text, const raft_message *message)
{
    describe_position(text, " prev=", message);
    raft__text_number(text, " n=", entries_count(message));
    raft__text_number(text, " bytes=", entries_size(message));
    raft__text_number(text, " commit=", message->commit);
}

static void describe_yes_or_no(struct raft__text *text, const raft_message *message)
{
    raft__text_add(text, message->refused != 0 ? " no" : " yes");
}

/* What Multi-Paxos promises with. */
static void describe_promise(struct raft__text *text, const raft_message *message)
{
    if (message->protocol == RAFT_PROTOCOL_MULTIPAXOS && message->refused == 0) {
        describe_position(text, " last=", message);
        raft__text_number(text, " accepted=", message->accepted_round);
        raft__text_number(text, " commit=", message->commit);
    }
}

/* What Raft says of commits in its place. */
static void describe_hint(struct raft__text *text, const raft_message *message)
{
    if (message->protocol == RAFT_PROTOCOL_RAFT && message->commit != 0) {
        raft__text_number(text, " commit=", message->commit);
    }
}

static void describe_tag(struct raft__text *text, const raft_message *message)
{
    if (message->tag_term != 0) {
        raft__text_number(text, " tag=", message->tag_term);
        raft__text_number(text, "/", message->tag_round);
    }
}

static void describe_snapshot(struct raft__text *text, const raft_message *message)
{
    describe_position(text, " at=", message);
    raft__text_number(text, " offset=", message->offset);
    if (message->kind == RAFT_MESSAGE_SNAPSHOT) {
        raft__text_number(text, " meta=", message->meta.size);
        raft__text_number(text, " bytes=", message->chunk.size);
    } else if (message->refused != 0) {
        raft__text_add(text, " no");
    }
}

/* A request to the leader, or its answer. The nonce means nothing to people. */
static void describe_request(struct raft__text *text, const raft_message *message)
{
    raft__text_number(text, " request=", message->request);
    if (message->kind == RAFT_MESSAGE_PROPOSE) {
        raft__text_number(text, " bytes=", message->chunk.size);
    } else if (message->kind != RAFT_MESSAGE_READ) {
        describe_position(text, " at=", message);
        describe_yes_or_no(text, message);
    }
}

static void describe_body(struct raft__text *text, const raft_message *message)
{
    switch (message->kind) {
    case RAFT_MESSAGE_PRE_VOTE:
        raft__text_number(text, " asked=", message->asked_term);
        describe_position(text, " last=", message);
        break;
    case RAFT_MESSAGE_PRE_VOTE_REPLY:
        raft__text_number(text, " asked=", message->asked_term);
        describe_position(text, " last=", message);
        describe_yes_or_no(text, message);
        describe_hint(text, message);
        break;
    case RAFT_MESSAGE_VOTE:
        describe_position(text, " last=", message);
        describe_tag(text, message);
        break;
    case RAFT_MESSAGE_VOTE_REPLY:
        describe_yes_or_no(text, message);
        describe_promise(text, message);
        describe_hint(text, message);
        break;
    case RAFT_MESSAGE_APPEND:
        describe_entries(text, message);
        break;
    case RAFT_MESSAGE_APPEND_REPLY:
        describe_append_reply(text, message);
        break;
    case RAFT_MESSAGE_HEARTBEAT:
    case RAFT_MESSAGE_SNAPSHOT_ASK:
        raft__text_number(text, " commit=", message->commit);
        break;
    case RAFT_MESSAGE_HEARTBEAT_REPLY:
        raft__text_add(text, message->refused != 0 ? " uncertain" : "");
        break;
    case RAFT_MESSAGE_SNAPSHOT:
    case RAFT_MESSAGE_SNAPSHOT_REPLY:
        describe_snapshot(text, message);
        break;
    case RAFT_MESSAGE_TRANSFER:
        describe_tag(text, message);
        break;
    case RAFT_MESSAGE_TRANSFER_ASK:
        raft__text_number(text, " target=", message->request);
        break;
    case RAFT_MESSAGE_READ:
    case RAFT_MESSAGE_READ_REPLY:
    case RAFT_MESSAGE_PROPOSE:
    case RAFT_MESSAGE_PROPOSE_REPLY:
        describe_request(text, message);
        break;
    case RAFT_MESSAGE_PULL:
        describe_position(text, " behind=", message);
        break;
    case RAFT_MESSAGE_PULL_REPLY:
        if (message->refused != 0) {
            describe_append_reply(text, message);
        } else {
            describe_entries(text, message);
        }
        break;
    default:
        break;
    }
    describe_flags(text, message);
    if (message->credit_ms != 0) {
        raft__text_number(text, " promised=", message->credit_ms);
    }
}

size_t raft_describe_message(const raft_message *message, char *out, size_t size)
{
    struct raft__text text = {out, out == NULL ? 0 : size, 0};
    if (message == NULL) {
        raft__text_add(&text, "(null)");
        return raft__text_end(&text);
    }
    raft__text_number(&text, "", message->from);
    raft__text_number(&text, "->", message->to);
    raft__text_add(&text, " ");
    raft__text_add(&text, kind_name(message->kind));
    raft__text_number(&text, " term=", message->term);
    describe_body(&text, message);
    raft__text_number(&text, " round=", message->round);
    return raft__text_end(&text);
}
