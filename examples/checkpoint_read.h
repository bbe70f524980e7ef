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

#endif
