/*
 * The bytes of a checkpoint, to and from structs, and the names of its files. Nothing here does
 * I/O. The layout is told in checkpoint_format.c.
 */
#ifndef KEELSON_CHECKPOINT_FORMAT_H
#define KEELSON_CHECKPOINT_FORMAT_H

#include "checkpoint.h"

enum {
    CHECKPOINT_HEAD = 80,      /* bytes of the head before the metadata */
    CHECKPOINT_BLOCK_HEAD = 8, /* bytes before the data of a block */
    CHECKPOINT_FOOT = 32       /* bytes behind the last block */
};

#define CHECKPOINT_DIRECTORY_MAX 960u /* bytes of the directory's path, its end included */
#define CHECKPOINT_PATH_MAX      (CHECKPOINT_DIRECTORY_MAX + CHECKPOINT_NAME_MAX)

struct checkpoint_head {
    uint64_t cluster;
    uint64_t node;
    uint64_t group;
    raft_index index;
    raft_term term;
    uint64_t salt; /* random: no block of another file fits this one */
    uint32_t meta_size;
    uint32_t block_bytes;
};

struct checkpoint_foot {
    uint64_t size;       /* bytes of data */
    uint64_t blocks;     /* number of blocks */
    uint32_t blocks_crc; /* checksum of the blocks' checksums, in order */
};

/* What a file is, as its name says. */
enum checkpoint_stage {
    CHECKPOINT_LOCAL,    /* being written */
    CHECKPOINT_INCOMING, /* being received */
    CHECKPOINT_COMPLETE, /* received whole; in use if the log says so */
    CHECKPOINT_FINAL
};

struct checkpoint_name {
    uint64_t group;
    raft_index index;
    raft_term term;
    enum checkpoint_stage stage;
};

void checkpoint_format_name(const struct checkpoint_name *name, char out[CHECKPOINT_NAME_MAX]);

/* Nonzero and *name where this is the name of a checkpoint. */
int checkpoint_parse_name(const char *text, struct checkpoint_name *name);

/* directory/name; the directory is shorter than CHECKPOINT_DIRECTORY_MAX. */
void checkpoint_path(const char *directory, const struct checkpoint_name *name,
                     char out[CHECKPOINT_PATH_MAX]);

/* Bytes of head and metadata: where the blocks begin. */
uint64_t checkpoint_head_bytes(uint32_t meta_size);

/* How many blocks so much data takes. */
uint64_t checkpoint_block_count(const struct checkpoint_head *head, uint64_t data_size);

/* The bytes of a whole file with that much data; 0: more than there can be. */
uint64_t checkpoint_file_bytes(const struct checkpoint_head *head, uint64_t data_size);

/*
 * Writes the head and the metadata, which out has room for. Returns the seed of the checksums in
 * that file.
 */
uint32_t checkpoint_encode_head(const struct checkpoint_head *head, const void *meta, uint8_t *out);

/*
 * The first CHECKPOINT_HEAD bytes of a file. RAFT_OK: *head can be trusted as far as sizes go, its
 * checksum is still to be verified; RAFT_EVERSION; RAFT_ECORRUPT.
 */
int checkpoint_decode_head(const uint8_t in[CHECKPOINT_HEAD], struct checkpoint_head *head);

/* The whole head with its metadata: RAFT_OK and *seed, or RAFT_ECORRUPT. */
int checkpoint_verify_head(const uint8_t *in, const struct checkpoint_head *head, uint32_t *seed);

/* Writes the head of a block, in front of its data. Returns its checksum. */
uint32_t checkpoint_encode_block(uint8_t *block, uint32_t size, uint64_t number, uint32_t seed);

/* Nonzero and *checksum where this is that block of that file, undamaged and of that size. */
int checkpoint_verify_block(const uint8_t *block, uint32_t size, uint64_t number, uint32_t seed,
                            uint32_t *checksum);

void checkpoint_encode_foot(const struct checkpoint_foot *foot, uint32_t seed,
                            uint8_t out[CHECKPOINT_FOOT]);

/* Nonzero and *foot where this is the foot of that file, undamaged. */
int checkpoint_decode_foot(const uint8_t in[CHECKPOINT_FOOT], uint32_t seed,
                           struct checkpoint_foot *foot);

/* The running checksum of checksums; 0 before the first. */
uint32_t checkpoint_chain(uint32_t chain, uint32_t checksum);

/* Fills *error, which may be null, and returns code. name may be null. */
int checkpoint_explain(struct checkpoint_error *error, int code, int system,
                       const struct checkpoint_name *name, const char *text);

#endif
