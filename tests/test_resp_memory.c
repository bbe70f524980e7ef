/*
 * What happens when memory runs out under the request parser: it says so, and nothing leaks. The
 * source is compiled in with an allocator of our own.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "check.h"

static long allocations_left; /* until one fails; negative: none does */

static void *fallible_realloc(void *memory, size_t size)
{
    return allocations_left >= 0 && allocations_left-- == 0 ? NULL : realloc(memory, size);
}

#define realloc fallible_realloc
#include "raftkv/resp.c"
#undef realloc

static enum resp_result parse_with(long allocations, const char *text)
{
    struct resp_parser parser;
    enum resp_result result;

    resp_parser_init(&parser);
    allocations_left = allocations;
    result = resp_parse(&parser, text, strlen(text));
    allocations_left = -1;
    resp_parser_free(&parser);
    return result;
}

static void every_allocation_of_an_array_may_fail(void)
{
    static const char text[] =
        "*9\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n"
        "$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n";

    for (long allocations = 0; allocations < 4; allocations++) { /* two arrays, grown once */
        CHECK_EQ(parse_with(allocations, text), RESP_NOMEM);
    }
    CHECK_EQ(parse_with(4, text), RESP_REQUEST);
}

static void every_allocation_of_a_line_may_fail(void)
{
    for (long allocations = 0; allocations < 3; allocations++) { /* the words, two arrays */
        CHECK_EQ(parse_with(allocations, "SET \"k\" v\r\n"), RESP_NOMEM);
    }
    CHECK_EQ(parse_with(3, "SET \"k\" v\r\n"), RESP_REQUEST);
}

static void what_needs_no_argument_needs_no_memory(void)
{
    CHECK_EQ(parse_with(0, "*0\r\n"), RESP_REQUEST);
    CHECK_EQ(parse_with(0, "*1000000\r\n$16777216\r\n"), RESP_MORE);
}

int main(void)
{
    RUN(every_allocation_of_an_array_may_fail);
    RUN(every_allocation_of_a_line_may_fail);
    RUN(what_needs_no_argument_needs_no_memory);
    return check_done();
}
