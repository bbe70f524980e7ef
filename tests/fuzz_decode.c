/*
 * Fuzz target: the decoder. Besides not crashing: a message that is taken has exactly one encoding,
 * its entries walk to their end within the input, and it can be described.
 */
#include "../raft.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void check_range(const uint8_t *data, size_t size, const raft_range *range)
{
    const uint8_t *start = range->data;
    raft_range walk = *range;
    raft_entry entry;
    size_t count = 0;
    size_t bytes = 0;
    require(start >= data && range->size <= size - (size_t)(start - data));
    while (raft_range_next(&walk, &entry)) {
        const uint8_t *payload = entry.data;
        require(entry.index == range->first + count && entry.term == range->term);
        require(payload >= start && entry.size <= range->size - (size_t)(payload - start));
        count++;
        bytes += raft_entry_size(entry.size);
    }
    require(count == range->count && bytes == range->size);
}

static void check_same_bytes(const uint8_t *data, size_t size, const raft_message *message)
{
    uint8_t header[RAFT_MESSAGE_HEADER];
    uint8_t *again = malloc(size);
    require(again != NULL);
    require(raft_message_size(message) == size);
    require(raft_encode(message, again, size - 1) == 0);
    require(raft_encode(message, again, size) == size);
    require(memcmp(again, data, size) == 0);
    raft_encode_header(message, header);
    require(memcmp(header, data, sizeof header) == 0);
    free(again);
}

static void check_description(const raft_message *message)
{
    char text[512];
    size_t length = raft_describe_message(message, text, sizeof text);
    require(length < sizeof text && strlen(text) == length);
    require(raft_describe_message(message, NULL, 0) == length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    raft_message message;
    int code = raft_decode(data, size, &message);
    require(code == RAFT_OK || code == RAFT_EMALFORMED || code == RAFT_EVERSION ||
            (code == RAFT_EARG && data == NULL));
    if (code != RAFT_OK) {
        return 0;
    }
    require(message.range_count <= 1);
    if (message.range_count == 1) {
        check_range(data, size, &message.ranges[0]);
    }
    check_same_bytes(data, size, &message);
    check_description(&message);
    return 0;
}
