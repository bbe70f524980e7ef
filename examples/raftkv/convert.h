/*
 * The offline conversion of a stopped server to the other protocol (P15): the same server of the
 * same cluster, with the same log, in a new directory.
 */
#ifndef RAFTKV_CONVERT_H
#define RAFTKV_CONVERT_H

#include "past.h"

/* Why the server cannot be converted to that protocol, in error; 0: it can. */
int convert_check(const struct past *past, int protocol, char error[PAST_ERROR_MAX]);

/* Writes the directory, which must not exist. 0, or -1 with the reason in error. */
int convert_write(struct past *past, int protocol, const char *directory,
                  char error[PAST_ERROR_MAX]);

/* The term that the converted server begins in. */
raft_term convert_term(const struct past *past);

#endif
