/*
 * Makes the corpora of fuzz_decode, fuzz_receive and fuzz_api anew, after a change of a format: one
 * life of three servers with elections, losses and restarts, as the messages that were sent, as
 * what one server received, and as calls. From the project's root:
 *
 *     cc -I. -o build/generate tests/corpus/generate.c tests/cluster.c *.c
 *     build/generate tests/corpus
 */
#define CHECK_HELPER
#include "../cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct output {
    FILE *file;
    size_t size;
};

static struct output begin(const char *root, const char *kind, const char *name, unsigned number)
{
    char path[1024];
    struct output out = {NULL, 0};
    snprintf(path, sizeof path, "%s/%s", root, kind);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s-%02u", root, kind, name, number);
    out.file = fopen(path, "wb");
    if (out.file == NULL) {
        perror(path);
        exit(1);
    }
    return out;
}

static void put(struct output *out, const void *data, size_t size)
{
    fwrite(data, 1, size, out->file);
    out->size += size;
}

static void put_byte(struct output *out, unsigned value)
{
    unsigned char byte = (unsigned char)value;
    put(out, &byte, 1);
}

/* A life in which every kind of message occurs. */
static struct cluster *live(void)
{
    struct cluster *c = cluster_create(3);
    for (raft_id id = 1; id <= 3; id++) {
        c->nodes[id].options.append_bytes_max = 120;
    }
    cluster_start(c);
    for (unsigned round = 0; round < 6; round++) {
        raft_id lead = 1 + round % 3;
        cluster_elect(c, lead);
        for (int i = 0; i < 6; i++) {
            cluster_propose(c, lead, i % 2 ? "a payload of some length" : "x");
        }
        cluster_propose(c, lead, "");
        cluster_settle(c);
        cluster_isolate(c, lead);
        cluster_propose(c, lead, "will be overwritten");
        cluster_run(c, 2500);
        cluster_heal_all(c);
        if (round % 2) {
            cluster_crash(c, lead);
            cluster_run(c, 500);
            cluster_restart(c, lead);
        }
        cluster_run(c, 3000);
    }
    return c;
}

/* A few messages of each kind, the longest and the shortest among them. */
static void write_messages(const struct cluster *c, const char *root)
{
    unsigned written = 0;
    for (int kind = RAFT_MESSAGE_PRE_VOTE; kind <= RAFT_MESSAGE_HEARTBEAT_REPLY; kind++) {
        unsigned of_kind = 0;
        size_t last_size = 0;
        int last_refused = -1;
        for (size_t i = 0; i < c->sent_count && of_kind < 4; i++) {
            const struct cluster_message *m = &c->sent[i];
            if (m->message.kind != kind ||
                (of_kind > 1 && m->size == last_size && m->message.refused == last_refused)) {
                continue;
            }
            struct output out = begin(root, "decode", "message", written++);
            put(&out, m->bytes, m->size);
            fclose(out.file);
            last_size = m->size;
            last_refused = m->message.refused;
            of_kind++;
        }
    }
}

/* What server 1 received, cut into pieces, in the form that fuzz_receive reads. */
static void write_conversations(const struct cluster *c, const char *root)
{
    static const unsigned setups[] = {0, 16, 4, 1 + 8, 128, 16 + 128, 64 + 4, 2 + 32};
    size_t from = 0;
    for (unsigned piece = 0; piece < 24; piece++) {
        struct output out = begin(root, "receive", "conversation", piece);
        put_byte(&out, setups[piece % 8]);
        put_byte(&out, piece % 5 * 3);
        for (; from < c->sent_count && out.size < 1500; from++) {
            const struct cluster_message *m = &c->sent[from];
            if (m->message.to == 1) {
                put_byte(&out, 0);
                put_byte(&out, (unsigned)m->size & 255);
                put_byte(&out, (unsigned)m->size >> 8);
                put(&out, m->bytes, m->size);
                put_byte(&out, 2 + 4 * (unsigned)(m->number % 6)); /* a poll, a while later */
                if (m->number % 3 == 0) {
                    put_byte(&out, 3 + 128); /* completions and a proposal */
                    put_byte(&out, 3);
                }
            }
        }
        fclose(out.file);
    }
}

/* Short lives of one host in the form that fuzz_api reads: elected, served, restarted. */
static void write_hosts(const char *root)
{
    for (unsigned piece = 0; piece < 16; piece++) {
        struct output out = begin(root, "api", "host", piece);
        put_byte(&out, 32 + piece);
        put_byte(&out, 5); /* campaign, poll, be granted what was asked, twice */
        for (int i = 0; i < 3; i++) {
            put_byte(&out, 16 + 14);
            put_byte(&out, 12);
        }
        put_byte(&out, 14);
        for (unsigned i = 0; i < 6 + piece; i++) {
            static const unsigned char proposal[] = {3, 32, 10, 0, 0, 0, 0, 0, 0, 0};
            static const unsigned char ack[] = {13, 5, 0, 0, 1, 0, 1, 0, 0};
            put(&out, proposal, sizeof proposal);
            put_byte(&out, 4); /* a read */
            put_byte(&out, 14 + 16 * (i % 3));
            put(&out, ack, sizeof ack);
            put_byte(&out, 14);
            if (piece % 2) {
                put_byte(&out, 10); /* slow disk, slow state machine */
                put_byte(&out, piece * 5);
                put_byte(&out, 7);
                put_byte(&out, i);
                put_byte(&out, 8);
                put_byte(&out, i);
            }
            put_byte(&out, 9);
            put_byte(&out, i);
        }
        put_byte(&out, 11 + 15 * 16); /* restart */
        put_byte(&out, 14 + 16 * 15);
        put_byte(&out, 9);
        put_byte(&out, 1);
        fclose(out.file);
    }
}

int main(int argc, char **argv)
{
    const char *root = argc > 1 ? argv[1] : "tests/corpus";
    mkdir(root, 0777);
    struct cluster *c = live();
    write_messages(c, root);
    write_conversations(c, root);
    write_hosts(root);
    cluster_free(c);
    return 0;
}
