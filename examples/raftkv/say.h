/* What raftkv tells the person who runs it: dated lines on stderr, up to a level. */
#ifndef RAFTKV_SAY_H
#define RAFTKV_SAY_H

/* level is one of enum log_level; nothing is written where it is above `most`. A printf. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
void say(int most, int level, const char *format, ...);

#endif
