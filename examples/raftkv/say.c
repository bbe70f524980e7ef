/* One line, one write: lines of several processes on the same terminal do not mix. */
#define _POSIX_C_SOURCE 200809L

#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { LINE_MAX_BYTES = 1024 };

static size_t write_date(char *out, size_t size)
{
    struct timespec now;
    struct tm date;
    size_t length;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &date);
    length = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &date);
    return length +
           (size_t)snprintf(out + length, size - length, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

void say(int most, int level, const char *format, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char line[LINE_MAX_BYTES];
    va_list arguments;
    size_t length;

    if (level > most) {
        return;
    }
    length = write_date(line, sizeof line);
    length += (size_t)snprintf(line + length, sizeof line - length, " %s ", names[level]);
    va_start(arguments, format);
    vsnprintf(line + length, sizeof line - length, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s\n", line);
}
