/*
 * The one encoding: entries, as they lie in memory, on the wire and on disk, and messages around
 * them. Also their description for people. Knows nothing of the node.
 *
 * An entry: u32 payload size, u8 kind, three zero bytes, the payload, zero bytes up to a multiple
 * of eight.
 *
 * A message is a header of one size for all kinds, then the entries back to back:
 *
 *      0  u8  format (1)      1  u8  kind       2  u8  refused    3  u8  protocol
 *      4  u32 entry count     8  u64 cluster   16  u64 group     24  u64 from
 *     32  u64 to             40  u64 term      48  u64 round     56  u64 index
 *     64  u64 index_term     72  u64 commit, in an append reply: refused_index
 *     80  u64 term of the entries, in pre-votes: asked_term
 *     88  u64 bytes of entries
 *
 * Everything is little-endian. What a kind does not use is zero and is checked to be zero, so each
 * message has exactly one encoding.
 */
#include "raft_internal.h"

#define MESSAGE_FORMAT 1u
#define PAYLOAD_MAX    ((size_t)1 << 30)

/* ---- Entries -------------------------------------------------------------------------------- */

/* A size that does not fit in a size_t is answered with more than any buffer has. */
size_t raft_entry_size(size_t payload_size)
{
    return payload_size > SIZE_MAX - (RAFT_ENTRY_HEADER + 7) ? SIZE_MAX
                                                             : raft__entry_size(payload_size);
}

int raft_entry_encode(const raft_entry *entry, void *out, size_t capacity)
{
    if (entry == NULL || out == NULL || (entry->data == NULL && entry->size != 0) ||
        entry->kind < RAFT_ENTRY_DATA || entry->kind > RAFT_ENTRY_NOOP ||
        (entry->kind == RAFT_ENTRY_NOOP && entry->size != 0)) {
        return RAFT_EARG;
    }
    if (entry->size >= PAYLOAD_MAX || capacity < raft_entry_size(entry->size)) {
        return RAFT_ESIZE;
    }
    raft__entry_write((uint8_t *)out, entry->kind, entry->data, entry->size);
    return RAFT_OK;
}

/* Bytes of the entry at the start of data, or 0 where no well-formed entry starts there. */
static size_t entry_measure(const uint8_t *data, size_t size)
{
    if (size < RAFT_ENTRY_HEADER) {
        return 0;
    }
    size_t payload_size = raft__get32(data);
    uint32_t kind = raft__get32(data + 4);
    size_t whole = raft__entry_size(payload_size);
    if (payload_size >= PAYLOAD_MAX || whole > size) {
        return 0;
    }
    if (kind != RAFT_ENTRY_DATA && (kind != RAFT_ENTRY_NOOP || payload_size != 0)) {
        return 0;
    }
    unsigned padding = (unsigned)(whole - RAFT_ENTRY_HEADER - payload_size);
    if (padding != 0 && raft__get64(data + whole - 8) >> (64 - 8 * padding) != 0) {
        return 0; /* one content, one encoding */
    }
    return whole;
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

int raft__range_valid(const raft_range *range)
{
    if (range->data == NULL || range->count == 0 ||
        range->size / RAFT_ENTRY_HEADER < range->count) {
        return 0;
    }
    if (range->term == 0 || range->term > RAFT_LIMIT || range->first == 0 ||
        range->first > RAFT_LIMIT || range->count - 1 > RAFT_LIMIT - range->first) {
        return 0;
    }
    const uint8_t *data = (const uint8_t *)range->data;
    size_t left = range->size;
    for (size_t i = 0; i < range->count; i++) {
        size_t whole = entry_measure(data, left);
        if (whole == 0) {
            return 0;
        }
        data += whole;
        left -= whole;
    }
    return left == 0;
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

/* The ranges of an append continue prev, in one term between prev's and the sender's (R32). */
RAFT_APART static int append_valid(const raft_message *message)
{
    raft_index next = message->index + 1;
    if (message->term == 0 || !position_valid(message) || message->commit > RAFT_LIMIT ||
        message->range_count > RAFT_RANGES_MAX) {
        return 0;
    }
    for (size_t i = 0; i < message->range_count; i++) {
        const raft_range *range = &message->ranges[i];
        if (range->first != next || range->term != message->ranges[0].term ||
            range->term < message->index_term || range->term > message->term ||
            !raft__range_valid(range)) {
            return 0;
        }
        next += range->count;
    }
    return 1;
}

int raft__message_valid(const raft_message *message)
{
    if (message->term > RAFT_LIMIT) {
        return 0;
    }
    if (message->kind == RAFT_MESSAGE_APPEND) {
        return append_valid(message);
    }
    if (message->range_count != 0) {
        return 0;
    }
    switch (message->kind) {
    case RAFT_MESSAGE_PRE_VOTE:
        return position_valid(message) && message->asked_term > message->term &&
               message->asked_term <= RAFT_LIMIT;
    case RAFT_MESSAGE_PRE_VOTE_REPLY:
        return message->asked_term > 0 && message->asked_term <= RAFT_LIMIT;
    case RAFT_MESSAGE_VOTE:
        return message->term > 0 && position_valid(message);
    case RAFT_MESSAGE_VOTE_REPLY:
    case RAFT_MESSAGE_HEARTBEAT_REPLY:
        return message->term > 0;
    case RAFT_MESSAGE_APPEND_REPLY:
        return message->term > 0 && message->index <= RAFT_LIMIT &&
               message->index_term <= message->term && message->refused_index <= RAFT_LIMIT;
    case RAFT_MESSAGE_HEARTBEAT:
        return message->term > 0 && message->commit <= RAFT_LIMIT;
    default:
        return 0;
    }
}

/* ---- The wire ------------------------------------------------------------------------------- */

static int is_pre_vote(int kind)
{
    return kind == RAFT_MESSAGE_PRE_VOTE || kind == RAFT_MESSAGE_PRE_VOTE_REPLY;
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
    return RAFT_MESSAGE_HEADER + entries_size(message);
}

void raft_encode_header(const raft_message *message, uint8_t out[RAFT_MESSAGE_HEADER])
{
    raft_term entries_term = message->range_count > 0 ? message->ranges[0].term : 0;
    out[0] = MESSAGE_FORMAT;
    out[1] = (uint8_t)message->kind;
    out[2] = message->refused != 0;
    out[3] = (uint8_t)message->protocol;
    raft__put32(out + 4, (uint32_t)entries_count(message));
    raft__put64(out + 8, message->cluster);
    raft__put64(out + 16, message->group);
    raft__put64(out + 24, message->from);
    raft__put64(out + 32, message->to);
    raft__put64(out + 40, message->term);
    raft__put64(out + 48, message->round);
    raft__put64(out + 56, message->index);
    raft__put64(out + 64, message->index_term);
    raft__put64(out + 72, message->kind == RAFT_MESSAGE_APPEND_REPLY ? message->refused_index
                                                                     : message->commit);
    raft__put64(out + 80, is_pre_vote(message->kind) ? message->asked_term : entries_term);
    raft__put64(out + 88, entries_size(message));
}

size_t raft_encode(const raft_message *message, void *out, size_t capacity)
{
    if (message == NULL || out == NULL || capacity < raft_message_size(message)) {
        return 0;
    }
    uint8_t *at = (uint8_t *)out;
    raft_encode_header(message, at);
    at += RAFT_MESSAGE_HEADER;
    for (size_t i = 0; i < message->range_count; i++) {
        memcpy(at, message->ranges[i].data, message->ranges[i].size);
        at += message->ranges[i].size;
    }
    return (size_t)(at - (uint8_t *)out);
}

/* Whether each field that the kind does not use is zero. */
static int unused_is_zero(const raft_message *message)
{
    enum { USES_INDEX = 1, USES_COMMIT = 2, USES_REFUSED = 4, USES_ASKED = 8 };
    static const uint8_t uses[] = {
        [RAFT_MESSAGE_PRE_VOTE] = USES_INDEX | USES_ASKED,
        [RAFT_MESSAGE_PRE_VOTE_REPLY] = USES_REFUSED | USES_ASKED,
        [RAFT_MESSAGE_VOTE] = USES_INDEX,
        [RAFT_MESSAGE_VOTE_REPLY] = USES_REFUSED,
        [RAFT_MESSAGE_APPEND] = USES_INDEX | USES_COMMIT,
        [RAFT_MESSAGE_APPEND_REPLY] = USES_INDEX | USES_COMMIT | USES_REFUSED,
        [RAFT_MESSAGE_HEARTBEAT] = USES_COMMIT,
        [RAFT_MESSAGE_HEARTBEAT_REPLY] = USES_REFUSED,
    };
    unsigned mask = uses[message->kind];
    int ok = message->refused == 0 || (mask & USES_REFUSED) != 0;
    ok = ok && ((mask & USES_INDEX) != 0 || (message->index == 0 && message->index_term == 0));
    ok = ok && ((mask & USES_COMMIT) != 0 || (message->commit == 0 && message->refused_index == 0));
    return ok && ((mask & USES_ASKED) != 0 || message->asked_term == 0);
}

/* An accepted append reply has neither a hint's term nor a refused index. */
static int reply_is_canonical(const raft_message *message)
{
    return message->kind != RAFT_MESSAGE_APPEND_REPLY || message->refused != 0 ||
           (message->index_term == 0 && message->refused_index == 0);
}

/* The entries behind the header, as the one range of an append. */
static int decode_entries(const uint8_t *in, size_t size, raft_message *message)
{
    uint32_t count = raft__get32(in + 4);
    if (raft__get64(in + 88) != size - RAFT_MESSAGE_HEADER) {
        return RAFT_EMALFORMED;
    }
    if (message->kind != RAFT_MESSAGE_APPEND || count == 0) {
        int empty = count == 0 && size == RAFT_MESSAGE_HEADER;
        int term_is_zero = message->kind != RAFT_MESSAGE_APPEND || raft__get64(in + 80) == 0;
        return empty && term_is_zero ? RAFT_OK : RAFT_EMALFORMED;
    }
    raft_range *range = &message->ranges[0];
    range->first = message->index + 1;
    range->term = raft__get64(in + 80);
    range->count = count;
    range->size = size - RAFT_MESSAGE_HEADER;
    range->data = in + RAFT_MESSAGE_HEADER;
    message->range_count = 1;
    return RAFT_OK;
}

static void decode_header(const uint8_t *in, raft_message *message)
{
    memset(message, 0, sizeof(*message));
    message->kind = in[1];
    message->refused = in[2];
    message->protocol = in[3];
    message->cluster = raft__get64(in + 8);
    message->group = raft__get64(in + 16);
    message->from = raft__get64(in + 24);
    message->to = raft__get64(in + 32);
    message->term = raft__get64(in + 40);
    message->round = raft__get64(in + 48);
    message->index = raft__get64(in + 56);
    message->index_term = raft__get64(in + 64);
    if (message->kind == RAFT_MESSAGE_APPEND_REPLY) {
        message->refused_index = raft__get64(in + 72);
    } else {
        message->commit = raft__get64(in + 72);
    }
    if (message->kind != RAFT_MESSAGE_APPEND) {
        message->asked_term = raft__get64(in + 80);
    }
}

int raft_decode(const void *data, size_t size, raft_message *message)
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
    if (in[1] < RAFT_MESSAGE_PRE_VOTE || in[1] > RAFT_MESSAGE_HEARTBEAT_REPLY || in[2] > 1) {
        return RAFT_EMALFORMED;
    }
    decode_header(in, message);
    if (!unused_is_zero(message) || !reply_is_canonical(message) ||
        decode_entries(in, size, message) != RAFT_OK || !raft__message_valid(message)) {
        return RAFT_EMALFORMED;
    }
    return RAFT_OK;
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
    };
    int known = kind >= RAFT_MESSAGE_PRE_VOTE && kind <= RAFT_MESSAGE_HEARTBEAT_REPLY;
    return names[known ? kind : 0];
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

static void describe_body(struct raft__text *text, const raft_message *message)
{
    switch (message->kind) {
    case RAFT_MESSAGE_PRE_VOTE:
        raft__text_number(text, " asked=", message->asked_term);
        describe_position(text, " last=", message);
        break;
    case RAFT_MESSAGE_PRE_VOTE_REPLY:
        raft__text_number(text, " asked=", message->asked_term);
        raft__text_add(text, message->refused != 0 ? " no" : " yes");
        break;
    case RAFT_MESSAGE_VOTE:
        describe_position(text, " last=", message);
        break;
    case RAFT_MESSAGE_VOTE_REPLY:
        raft__text_add(text, message->refused != 0 ? " no" : " yes");
        break;
    case RAFT_MESSAGE_APPEND:
        describe_position(text, " prev=", message);
        raft__text_number(text, " n=", entries_count(message));
        raft__text_number(text, " bytes=", entries_size(message));
        raft__text_number(text, " commit=", message->commit);
        break;
    case RAFT_MESSAGE_APPEND_REPLY:
        describe_append_reply(text, message);
        break;
    case RAFT_MESSAGE_HEARTBEAT:
        raft__text_number(text, " commit=", message->commit);
        break;
    case RAFT_MESSAGE_HEARTBEAT_REPLY:
        raft__text_add(text, message->refused != 0 ? " uncertain" : "");
        break;
    default:
        break;
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
