/*
 * Reading a checkpoint: the part that needs no store. For checkpoint.c, and for tools that look at
 * a file by itself.
 */
#ifndef KEELSON_CHECKPOINT_READ_H
#define KEELSON_CHECKPOINT_READ_H

#include "checkpoint_format.h"

/*
 * Opens one file and verifies its head and foot, the name and the owner. As checkpoint_read_begin;
 * RAFT_ESTATE: there is no such file.
 */
int checkpoint_read_file(const struct checkpoint_options *options,
                         const struct checkpoint_name *name, checkpoint_reader **out,
                         struct checkpoint_error *error);

/*
 * The same with a file that lies anywhere and may have any name and owner, such as a copy that was
 * kept. checkpoint_read_info says what it is. The path stays the caller's to name in messages.
 */
int checkpoint_read_path(const struct io *io, const char *path, checkpoint_reader **out,
                         struct checkpoint_error *error);

/*
 * Reads all blocks, and verifies that they are those that were written. RAFT_OK; RAFT_ECORRUPT,
 * RAFT_ESTORAGE: *offset says where in the file.
 */
int checkpoint_read_verify(checkpoint_reader *reader, uint64_t *offset);

#endif
