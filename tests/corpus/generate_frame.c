/*
 * Makes the corpora of fuzz_frame and fuzz_handshake anew, after a change of a format: hellos,
 * frames with a message of each shape, sealed frames, and what two sides say to each other. From
 * the project's root, after `make`:
 *
 *     cc -I. -Iexamples -o build/generate_frame tests/corpus/generate_frame.c \
 *         build/obj/libhost.a build/libkeelson.a
 *     build/generate_frame tests/corpus
 */
#include "frame.h"
#include "handshake.h"
#include "secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum { REPAIR = 1, SMALL_FRAMES = 2, SEALED = 4, BYTES_MAX = 1 << 16 };
enum { WITH_SECRET = 1, IS_CALLER = 2, BETWEEN_TWO = 4, REPAIR_HELLO = 8 };

struct text {
    uint8_t data[BYTES_MAX];
    size_t size;
};

static const char *root;

static void write_file(const char *kind, const char *name, unsigned mode, const struct text *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", root, kind);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s", root, kind, name);
    FILE *file = fopen(path, "wb");
    if (!file) {
        perror(path);
        exit(1);
    }
    fputc((int)mode, file);
    fwrite(text->data, 1, text->size, file);
    fclose(file);
}

static void add_hello(struct text *text, const char *address, int has_secret)
{
    struct hello hello = {.cluster = 77, .from = 5, .to = 1, .has_secret = has_secret};
    snprintf(hello.address, sizeof hello.address, "%s", address);
    text->size += hello_encode(&hello, text->data + text->size);
}

static raft_message message_of(int kind)
{
    raft_message message;
    memset(&message, 0, sizeof message);
    message.kind = kind;
    message.cluster = 77;
    message.group = 1;
    message.from = 5;
    message.to = 1;
    message.term = 3;
    message.round = 7;
    return message;
}

/* A frame around messages; with a key, sealed. */
static void add_frame(struct text *text, const raft_message *messages, size_t count,
                      struct frame_key *key)
{
    uint8_t *header = text->data + text->size, *at = header + FRAME_HEADER;
    for (size_t i = 0; i < count; i++) {
        size_t size = raft_encode(&messages[i], at + FRAME_PREFIX, 8192);
        frame_prefix(size, at);
        memset(at + FRAME_PREFIX + size, 0, 8);
        at += FRAME_PREFIX + frame_padded(size);
    }
    struct iovec body = {header + FRAME_HEADER, (size_t)(at - header) - FRAME_HEADER};
    if (key) {
        frame_seal(&body, 1, key, header, at);
        at += FRAME_SEAL;
    } else {
        frame_header(&body, 1, header);
    }
    text->size = (size_t)(at - text->data);
}

static uint8_t entry_bytes[4096], chunk_bytes[256];

static raft_message append_message(size_t count)
{
    raft_message message = message_of(RAFT_MESSAGE_APPEND);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        raft_entry entry = {.data = "a payload", .size = 5 + i % 4, .kind = RAFT_ENTRY_DATA};
        raft_entry_encode(&entry, entry_bytes + size, sizeof entry_bytes - size);
        size += raft_entry_size(entry.size);
    }
    message.index = 9;
    message.index_term = 3;
    message.range_count = 1;
    message.ranges[0] = (raft_range){10, 3, count, size, entry_bytes};
    return message;
}

static raft_message snapshot_message(size_t meta_size, size_t chunk_size)
{
    raft_message message = message_of(RAFT_MESSAGE_SNAPSHOT);
    message.index = 50;
    message.index_term = 3;
    message.flags = RAFT_FLAG_LAST;
    message.offset = meta_size ? 0 : 4096;
    message.meta = (raft_buf){meta_size ? chunk_bytes + 100 : NULL, meta_size};
    message.chunk = (raft_buf){chunk_bytes, chunk_size};
    return message;
}

/* Not the key that fuzz_frame seals with: no input has a seal of that. */
static struct frame_key another_key(void)
{
    struct frame_key key = {.number = 0};
    hmac_begin(&key.keyed, "another key", 11);
    return key;
}

static void write_hellos(void)
{
    struct text text = {.size = 0};
    write_file("frame", "empty", 0, &text);
    add_hello(&text, "127.0.0.1:7001", 0);
    write_file("frame", "hello", 0, &text);
    text.data[8]++;
    write_file("frame", "hello-version", 0, &text);
    text.size = 0;
    add_hello(&text, "", 1);
    write_file("frame", "hello-no-address", 0, &text);
    text.size = 0;
    char address[HELLO_ADDRESS_MAX + 1];
    memset(address, 'x', HELLO_ADDRESS_MAX);
    address[HELLO_ADDRESS_MAX] = 0;
    add_hello(&text, address, 1);
    write_file("frame", "hello-long-address", 0, &text);
    text.size -= 5;
    write_file("frame", "hello-cut", 0, &text);
    text.size = (size_t)snprintf((char *)text.data, 64, "GET / HTTP/1.1\r\n\r\n");
    write_file("frame", "http", 0, &text);
}

static void write_frames(void)
{
    raft_message messages[8] = {message_of(RAFT_MESSAGE_HEARTBEAT),
                                append_message(30),
                                snapshot_message(16, 99),
                                snapshot_message(0, 100),
                                message_of(RAFT_MESSAGE_VOTE),
                                message_of(RAFT_MESSAGE_READ),
                                snapshot_message(21, 0),
                                append_message(30)};
    messages[5].nonce = 4;
    messages[5].round = 0;
    struct text text = {.size = 0};
    add_hello(&text, "x:1", 0);
    size_t hello = text.size;
    add_frame(&text, messages, 1, NULL);
    write_file("frame", "heartbeat", 0, &text);
    write_file("frame", "small-frames", SMALL_FRAMES, &text);
    memset(text.data + hello + FRAME_HEADER, 0, 4);
    write_file("frame", "empty-message", REPAIR, &text);
    memset(text.data + hello, 0xff, 4);
    write_file("frame", "huge-size", 0, &text);
    text.size = hello;
    add_frame(&text, &messages[1], 1, NULL);
    write_file("frame", "append", 0, &text);
    text.data[text.size - 3] ^= 1;
    write_file("frame", "append-damaged", 0, &text);
    text.size -= 50;
    write_file("frame", "append-cut", 0, &text);
    text.size = hello;
    add_frame(&text, messages, 8, NULL);
    write_file("frame", "all-kinds", 0, &text);
    memset(text.data + hello + 4, 0, 4);
    add_frame(&text, &messages[2], 3, NULL);
    write_file("frame", "repaired", REPAIR, &text);
}

static void write_sealed(void)
{
    raft_message messages[3] = {message_of(RAFT_MESSAGE_HEARTBEAT), snapshot_message(16, 33),
                                append_message(3)};
    struct frame_key key = another_key();
    struct text text = {.size = 0};
    add_hello(&text, "x:1", 1);
    for (int i = 0; i < 3; i++) {
        add_frame(&text, messages, (size_t)i + 1, &key);
    }
    write_file("frame", "sealed", SEALED | REPAIR, &text);
    write_file("frame", "sealed-by-another", SEALED, &text);
}

/* What a side says when it is called by, or calls, one that has the secret of fuzz_handshake. */
static void write_handshakes(void)
{
    static const struct secret secret = {.size = 24, .bytes = "nobody guesses this here"};
    uint8_t nonce[HANDSHAKE_NONCE], out[HANDSHAKE_OUT_MAX];
    struct handshake handshake;
    struct text text = {.size = 0};
    memset(nonce, 0x33, sizeof nonce);
    for (int is_caller = 0; is_caller < 2; is_caller++) {
        for (int with_secret = 0; with_secret < 2; with_secret++) {
            struct hello hello = {.cluster = 77, .has_secret = with_secret};
            struct handshake_side side = {
                77, 1, 2, "127.0.0.1:7001", with_secret ? &secret : NULL, nonce};
            char name[64];
            hello.from = is_caller ? 2 : 1; /* of the other side */
            hello.to = is_caller ? 1 : 2;
            text.size = 0;
            if (is_caller) {
                text.size = hello_encode(&hello, text.data);
            } else {
                text.size = handshake_begin(&handshake, &side, out);
                memcpy(text.data, out, text.size);
            }
            memset(text.data + text.size, 0x44, 2 * 32);
            text.size += 2 * 32;
            snprintf(name, sizeof name, "%s-%s", is_caller ? "caller" : "listener",
                     with_secret ? "secret" : "plain");
            write_file("handshake", name,
                       (with_secret ? WITH_SECRET : 0) | (is_caller ? IS_CALLER : 0), &text);
            text.data[20] ^= 1;
            strcat(name, "-refused");
            write_file("handshake", name,
                       REPAIR_HELLO | (with_secret ? WITH_SECRET : 0) | (is_caller ? IS_CALLER : 0),
                       &text);
        }
    }
    text.size = 0;
    write_file("handshake", "between", BETWEEN_TWO, &text);
    memset(text.data, 0, 400);
    for (size_t at = 10; at < 240; at += 50) {
        char name[64];
        text.data[at] = 1;
        text.size = at + 1;
        snprintf(name, sizeof name, "between-changed-%u", (unsigned)at);
        write_file("handshake", name, BETWEEN_TWO, &text);
        text.data[at] = 0;
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: generate_frame CORPUS_DIRECTORY\n", stderr);
        return 2;
    }
    root = argv[1];
    memset(chunk_bytes, 0x5a, sizeof chunk_bytes);
    write_hellos();
    write_frames();
    write_sealed();
    write_handshakes();
    return 0;
}
