/*
 * Redis's patterns: * ? [abc] [^a] [a-z] and backslash. Iterative, in time proportional to the
 * product of the lengths at worst: no pattern makes it explode, none makes it recurse.
 */
#ifndef RAFTKV_GLOB_H
#define RAFTKV_GLOB_H

#include "buffer.h"

/* 1 when the whole text matches the whole pattern; fold: ASCII letters match either case. */
int glob_match(struct slice pattern, struct slice text, int fold);

#endif
