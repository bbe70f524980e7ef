/*
 * The Redis protocol: requests whole, in pieces and broken; limits; replies to the byte.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "raftkv/resp.h"

static struct resp_parser parser;

static enum resp_result parse(const char *text)
{
    return resp_parse(&parser, text, strlen(text));
}

/* Parses a text that is a request and nothing else. */
static void take(const char *text)
{
    resp_parser_free(&parser);
    CHECK_EQ(parse(text), RESP_REQUEST);
    CHECK_EQ(parser.used, strlen(text));
}

static void check_arg(size_t position, const char *bytes, size_t size)
{
    struct slice expected = {bytes, size};

    CHECK(position < parser.arg_count);
    CHECK(slice_equal(parser.args[position], expected));
}

static void refuse(const char *text, const char *error)
{
    struct resp_limits limits = parser.limits;

    resp_parser_free(&parser);
    parser.limits = limits;
    CHECK_EQ(parse(text), RESP_ERROR);
    CHECK_STR(parser.error, error);
    resp_parser_free(&parser);
}

/* ---- Requests ---- */

static void an_array_of_bulks_is_a_request(void)
{
    take("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    CHECK_EQ(parser.arg_count, 2);
    check_arg(0, "GET", 3);
    check_arg(1, "k", 1);
}

static void arguments_point_into_the_input(void)
{
    static const char text[] = "*1\r\n$4\r\nPING\r\n";

    resp_parser_free(&parser);
    CHECK_EQ(parse(text), RESP_REQUEST);
    CHECK(parser.args[0].data == text + 8);
}

static void arguments_are_binary_safe_and_may_be_empty(void)
{
    static const char text[] = "*3\r\n$5\r\n\r\n\0*$\r\n$0\r\n\r\n$1\r\n\xff\r\n";

    resp_parser_free(&parser);
    CHECK_EQ(resp_parse(&parser, text, sizeof text - 1), RESP_REQUEST);
    check_arg(0, "\r\n\0*$", 5);
    check_arg(1, "", 0);
    check_arg(2, "\xff", 1);
}

static void pipelined_requests_come_one_by_one(void)
{
    static const char text[] = "*1\r\n$1\r\na\r\nb c\r\n*2\r\n$1\r\nd\r\n$1\r\ne\r\n*1\r\n$1\r\n";
    size_t at = 0;

    resp_parser_free(&parser);
    CHECK_EQ(parse(text), RESP_REQUEST);
    check_arg(0, "a", 1);
    at += parser.used;
    CHECK_EQ(parse(text + at), RESP_REQUEST);
    check_arg(1, "c", 1);
    at += parser.used;
    CHECK_EQ(parse(text + at), RESP_REQUEST);
    CHECK_EQ(parser.arg_count, 2);
    check_arg(1, "e", 1);
    at += parser.used;
    CHECK_EQ(parse(text + at), RESP_MORE);
}

/* Every prefix is incomplete, and each arrives in memory of its own, of the exact size. */
static void feed_bytewise(const char *text, size_t size)
{
    resp_parser_free(&parser);
    for (size_t length = 0; length < size; length++) {
        char *part = malloc(length + 1);
        CHECK(part != NULL);
        memcpy(part, text, length);
        CHECK_EQ(resp_parse(&parser, part, length), RESP_MORE);
        CHECK(parser.wanted > length);
        CHECK(parser.wanted <= size);
        free(part);
    }
    CHECK_EQ(resp_parse(&parser, text, size), RESP_REQUEST);
    CHECK_EQ(parser.used, size);
}

static void a_request_may_arrive_byte_by_byte_and_move(void)
{
    static const char array[] = "*3\r\n$3\r\nSET\r\n$10\r\n0123456789\r\n$0\r\n\r\n";
    static const char line[] = "  set \"a\\x41b\" 'c d' \r\n";

    feed_bytewise(array, sizeof array - 1);
    CHECK_EQ(parser.arg_count, 3);
    check_arg(0, "SET", 3);
    check_arg(1, "0123456789", 10);
    check_arg(2, "", 0);
    feed_bytewise(line, sizeof line - 1);
    CHECK_EQ(parser.arg_count, 3);
    check_arg(1, "aAb", 3);
    check_arg(2, "c d", 3);
}

static void a_large_argument_says_how_much_is_wanted(void)
{
    resp_parser_free(&parser);
    CHECK_EQ(parse("*2\r\n$3\r\nSET\r\n$1000000\r\nabc"), RESP_MORE);
    CHECK_EQ(parser.wanted, strlen("*2\r\n$3\r\nSET\r\n$1000000\r\n") + 1000002);
}

static void an_empty_array_and_an_empty_line_are_requests_of_nothing(void)
{
    static const char *const texts[] = {"*0\r\n", "*-1\r\n", "*-5\r\n", "\r\n", "\n", "   \r\n"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        take(texts[i]);
        CHECK_EQ(parser.arg_count, 0);
    }
}

static void inline_words_are_split_and_unquoted(void)
{
    take("SET key value\r\n");
    CHECK_EQ(parser.arg_count, 3);
    check_arg(2, "value", 5);
    take("\t SET   key\tvalue  \n");
    CHECK_EQ(parser.arg_count, 3);
    take("a \"b c\" 'd e' \"\" ''\r\n");
    CHECK_EQ(parser.arg_count, 5);
    check_arg(1, "b c", 3);
    check_arg(2, "d e", 3);
    check_arg(3, "", 0);
    check_arg(4, "", 0);
    take("\"\\n\\r\\t\\b\\a\\\\\\\"\\q\\x00\\xfF\\xg\"\r\n");
    check_arg(0, "\n\r\t\b\a\\\"q\0\xffxg", 12);
    take("'it\\'s \\n'\r\n");
    check_arg(0, "it's \\n", 7);
    take("pre\"fix ed\"\r\n");
    CHECK_EQ(parser.arg_count, 1);
    check_arg(0, "prefix ed", 9);
    take("a\\nb\r\n"); /* no escapes outside quotes */
    check_arg(0, "a\\nb", 4);
}

static void a_long_lines_memory_is_given_back(void)
{
    static char line[20000];

    memset(line, 'a', sizeof line);
    line[sizeof line - 1] = '\n';
    resp_parser_free(&parser);
    CHECK_EQ(resp_parse(&parser, line, sizeof line), RESP_REQUEST);
    CHECK(parser.unquoted_capacity >= sizeof line - 1);
    CHECK_EQ(parse("PING\r\n"), RESP_REQUEST);
    CHECK(parser.unquoted_capacity <= 4096);
}

static void unbalanced_quotes_are_an_error(void)
{
    static const char *const texts[] = {"\"\n",   "'\n",       "a \"b\n", "\"a\"b\n",
                                        "'a'b\n", "\"a\\\"\n", "'a\\'\n", "a\"b\"c d\n"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        refuse(texts[i], "ERR Protocol error: unbalanced quotes in request");
    }
}

/* ---- Errors and limits ---- */

static void malformed_lengths_are_redis_errors(void)
{
    static const char *const counts[] = {
        "*a\r\n",  "*\r\n",   "*+1\r\n", "* 1\r\n",
        "*1 \r\n", "*01\r\n", "*1\rx\n", "*9999999999999999999\r\n",
        "*-0\r\n"};
    static const char *const sizes[] = {"*1\r\n$a\r\n",
                                        "*1\r\n$\r\n",
                                        "*1\r\n$-1\r\n",
                                        "*1\r\n$+1\r\n",
                                        "*1\r\n$1\rx\n",
                                        "*1\r\n$1 \r\n",
                                        "*1\r\n$99999999999999999999\r\n"};

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        refuse(counts[i], "ERR Protocol error: invalid multibulk length");
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        refuse(sizes[i], "ERR Protocol error: invalid bulk length");
    }
    refuse("*1\r\nPING\r\n", "ERR Protocol error: expected '$', got 'P'");
    refuse("*1\r\n*1\r\n", "ERR Protocol error: expected '$', got '*'");
    refuse("*00000000000000000000000000000000000000",
           "ERR Protocol error: too big mbulk count string");
    refuse("*1\r\n$00000000000000000000000000000000000000",
           "ERR Protocol error: too big bulk count string");
}

static void an_argument_longer_than_announced_is_noticed(void)
{
    refuse("*1\r\n$3\r\nabcdef\r\n", "ERR Protocol error: invalid bulk length");
    refuse("*1\r\n$3\r\nabc\rx", "ERR Protocol error: invalid bulk length");
}

static void a_broken_mark_cannot_break_the_error_line(void)
{
    struct buffer out = {0};

    resp_parser_free(&parser);
    CHECK_EQ(parse("*1\r\n\r\n"), RESP_ERROR);
    reply_error(&out, parser.error);
    buffer_add(&out, "", 1);
    CHECK_STR(buffer_bytes(&out), "-ERR Protocol error: expected '$', got ' '\r\n");
    buffer_free(&out);
}

static void limits_hold_before_anything_is_reserved(void)
{
    resp_parser_free(&parser);
    CHECK_EQ(parse("*1048576\r\n"), RESP_MORE);
    CHECK_EQ(parser.args_capacity, 0);
    refuse("*1048577\r\n", "ERR Protocol error: invalid multibulk length");
    resp_parser_free(&parser);
    CHECK_EQ(parse("*1\r\n$16777216\r\n"), RESP_MORE);
    refuse("*1\r\n$16777217\r\n", "ERR Protocol error: invalid bulk length");
    parser.limits.request_bytes_max = 40;
    refuse("*2\r\n$20\r\n01234567890123456789\r\n$10\r\n", "ERR Protocol error: too big request");
}

static void limits_are_stricter_before_authentication(void)
{
    resp_parser_free(&parser);
    parser.limits = resp_limits_unauthenticated;
    CHECK_EQ(parse("*10\r\n$16384\r\n"), RESP_MORE);
    refuse("*11\r\n", "ERR Protocol error: unauthenticated multibulk length");
    parser.limits = resp_limits_unauthenticated;
    refuse("*1\r\n$16385\r\n", "ERR Protocol error: unauthenticated bulk length");
    parser.limits = resp_limits_unauthenticated;
    refuse("1 2 3 4 5 6 7 8 9 10 11\r\n", "ERR Protocol error: unauthenticated multibulk length");
}

static void limits_may_change_between_requests(void)
{
    static const char text[] = "*1\r\n$1\r\na\r\n*11\r\n";

    resp_parser_free(&parser);
    parser.limits = resp_limits_unauthenticated;
    CHECK_EQ(parse(text), RESP_REQUEST);
    parser.limits = resp_limits_default;
    CHECK_EQ(parse(text + parser.used), RESP_MORE);
}

static void an_endless_line_is_cut_off(void)
{
    size_t size = resp_limits_default.inline_bytes_max;
    char *line = malloc(size + 2);

    CHECK(line != NULL);
    memset(line, 'a', size + 2);
    resp_parser_free(&parser);
    CHECK_EQ(resp_parse(&parser, line, size), RESP_MORE);
    CHECK_EQ(resp_parse(&parser, line, size + 1), RESP_ERROR);
    CHECK_STR(parser.error, "ERR Protocol error: too big inline request");
    line[size] = '\n';
    resp_parser_free(&parser);
    CHECK_EQ(resp_parse(&parser, line, size + 1), RESP_REQUEST);
    CHECK_EQ(parser.args[0].size, size);
    free(line);
}

static void http_is_cut_off(void)
{
    static const char *const texts[] = {
        "POST / HTTP/1.1\r\n",      "GET / HTTP/1.1\r\n",
        "host: 127.0.0.1:6379\r\n", "Host: x\r\n",
        "OPTIONS * HTTP/1.0\r\n",   "post\r\n",
        "*1\r\n$4\r\nPOST\r\n",     "*2\r\n$5\r\nHost:\r\n$1\r\nx\r\n",
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        resp_parser_free(&parser);
        CHECK_EQ(parse(texts[i]), RESP_HTTP);
    }
    take("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$8\r\nHTTP/1.1\r\n"); /* a value is only a value */
    take("GET HTTP/1.1\r\n");
}

static void many_arguments_are_taken_and_their_memory_given_back(void)
{
    enum { COUNT = 5000 };
    struct buffer request = {0};

    reply_array(&request, COUNT);
    for (int i = 0; i < COUNT; i++) {
        reply_bulk_text(&request, "x");
    }
    resp_parser_free(&parser);
    CHECK_EQ(resp_parse(&parser, buffer_bytes(&request), buffer_size(&request)), RESP_REQUEST);
    CHECK_EQ(parser.arg_count, COUNT);
    CHECK(parser.args_capacity < 2 * COUNT);
    CHECK_EQ(parse("PING\r\n"), RESP_REQUEST);
    CHECK(parser.args_capacity <= 1024);
    buffer_free(&request);
}

/* ---- Replies ---- */

static struct buffer out;

static void check_reply(const char *expected)
{
    struct slice actual = {buffer_bytes(&out), buffer_size(&out)};

    CHECK(slice_equal(actual, slice_of(expected)));
    buffer_clear(&out);
}

static void replies_have_their_wire_form(void)
{
    reply_simple(&out, "OK");
    check_reply("+OK\r\n");
    reply_error(&out, "ERR no");
    check_reply("-ERR no\r\n");
    reply_integer(&out, INT64_MIN);
    check_reply(":-9223372036854775808\r\n");
    reply_integer(&out, INT64_MAX);
    check_reply(":9223372036854775807\r\n");
    reply_bulk_text(&out, "abc");
    check_reply("$3\r\nabc\r\n");
    reply_bulk_text(&out, "");
    check_reply("$0\r\n\r\n");
    reply_null(&out);
    check_reply("$-1\r\n");
    reply_null_array(&out);
    check_reply("*-1\r\n");
    reply_array(&out, 0);
    check_reply("*0\r\n");
    reply_array(&out, 12);
    check_reply("*12\r\n");
}

static void doubles_have_seventeen_digits(void)
{
    reply_double(&out, 0.1);
    check_reply("$19\r\n0.10000000000000001\r\n");
    reply_double(&out, 3);
    check_reply("$1\r\n3\r\n");
    reply_double(&out, -1e300);
    check_reply("$24\r\n-1.0000000000000001e+300\r\n");
    reply_double(&out, (double)INFINITY);
    check_reply("$3\r\ninf\r\n");
    reply_double(&out, -(double)INFINITY);
    check_reply("$4\r\n-inf\r\n");
    reply_double(&out, (double)NAN);
    check_reply("$3\r\nnan\r\n");
}

static void an_error_is_one_line_of_bounded_length(void)
{
    char text[2000];

    reply_errorf(&out, "ERR '%s' %d", "a\r\n+b", 7);
    check_reply("-ERR 'a  +b' 7\r\n");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    reply_error(&out, text);
    CHECK_EQ(buffer_size(&out), 1 + 512 + 2);
    buffer_clear(&out);
    reply_errorf(&out, "%s", text);
    CHECK_EQ(buffer_size(&out), 1 + 512 + 2);
    buffer_clear(&out);
}

static void a_null_buffer_takes_everything_and_does_nothing(void)
{
    reply_simple(NULL, "OK");
    reply_error(NULL, "ERR");
    reply_errorf(NULL, "ERR %d", 1);
    reply_integer(NULL, 1);
    reply_bulk_text(NULL, "x");
    reply_null(NULL);
    reply_null_array(NULL);
    reply_array(NULL, 3);
    reply_double(NULL, 1);
    CHECK(buffer_reserve(NULL, 1) == NULL);
}

/* ---- The buffer and integers ---- */

static void a_buffer_is_a_queue_of_bytes(void)
{
    struct buffer queue = {0};
    unsigned put = 0;
    unsigned got = 0;

    CHECK_EQ(buffer_size(&queue), 0);
    for (unsigned round = 0; round < 2000; round++) {
        for (unsigned i = 0; i < round % 37; i++) {
            unsigned char byte = (unsigned char)(put++ % 251);
            buffer_add(&queue, &byte, 1);
        }
        size_t taken = round % 29 < buffer_size(&queue) ? round % 29 : buffer_size(&queue);
        for (size_t i = 0; i < taken; i++) {
            CHECK_EQ((unsigned char)buffer_bytes(&queue)[i], got++ % 251);
        }
        buffer_consume(&queue, taken);
        CHECK_EQ(buffer_size(&queue), put - got);
    }
    CHECK(queue.capacity < 4 * (size_t)(put - got) + 1024);
    buffer_consume(&queue, SIZE_MAX);
    CHECK_EQ(buffer_size(&queue), 0);
    buffer_free(&queue);
}

static void a_buffers_bound_is_sticky_until_cleared(void)
{
    struct buffer bounded = {0};

    bounded.bytes_max = 10;
    buffer_add(&bounded, "0123456789", 10);
    CHECK(!bounded.failed);
    buffer_add(&bounded, "x", 1);
    CHECK(bounded.failed);
    buffer_consume(&bounded, 5);
    buffer_add(&bounded, "y", 1);
    CHECK_EQ(buffer_size(&bounded), 5);
    buffer_clear(&bounded);
    buffer_add(&bounded, "z", 1);
    CHECK_EQ(buffer_size(&bounded), 1);
    buffer_reserve(&bounded, SIZE_MAX);
    CHECK(bounded.failed);
    buffer_free(&bounded);
    CHECK_EQ(bounded.bytes_max, 10);
}

static void only_the_canonical_spelling_is_an_integer(void)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "01",
                                      "-0",
                                      "-01",
                                      "00",
                                      "1a",
                                      "0x1",
                                      "1.0",
                                      "--1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999"};
    static const int64_t good[] = {0, 1, -1, 10, 1234567890123, INT64_MAX, INT64_MIN};
    char text[INTEGER_TEXT_MAX];
    int64_t value;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(!slice_to_integer(slice_of(bad[i]), &value));
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t length = integer_to_text(good[i], text);
        CHECK_EQ(strlen(text), length);
        CHECK(slice_to_integer(slice_of(text), &value));
        CHECK_EQ(value, good[i]);
    }
}

static void words_compare_in_either_case(void)
{
    struct slice with_zero = {"se\0", 3};

    CHECK(slice_is(slice_of("SeT"), "set"));
    CHECK(!slice_is(slice_of("sett"), "set"));
    CHECK(!slice_is(slice_of("se"), "set"));
    CHECK(!slice_is(with_zero, "se"));
    CHECK(!slice_is(with_zero, "set"));
    CHECK(slice_is(slice_of(""), ""));
}

int main(void)
{
    resp_parser_init(&parser);
    RUN(an_array_of_bulks_is_a_request);
    RUN(arguments_point_into_the_input);
    RUN(arguments_are_binary_safe_and_may_be_empty);
    RUN(pipelined_requests_come_one_by_one);
    RUN(a_request_may_arrive_byte_by_byte_and_move);
    RUN(a_large_argument_says_how_much_is_wanted);
    RUN(an_empty_array_and_an_empty_line_are_requests_of_nothing);
    RUN(inline_words_are_split_and_unquoted);
    RUN(a_long_lines_memory_is_given_back);
    RUN(unbalanced_quotes_are_an_error);
    RUN(malformed_lengths_are_redis_errors);
    RUN(an_argument_longer_than_announced_is_noticed);
    RUN(a_broken_mark_cannot_break_the_error_line);
    RUN(limits_hold_before_anything_is_reserved);
    RUN(limits_are_stricter_before_authentication);
    RUN(limits_may_change_between_requests);
    RUN(an_endless_line_is_cut_off);
    RUN(http_is_cut_off);
    RUN(many_arguments_are_taken_and_their_memory_given_back);
    RUN(replies_have_their_wire_form);
    RUN(doubles_have_seventeen_digits);
    RUN(an_error_is_one_line_of_bounded_length);
    RUN(a_null_buffer_takes_everything_and_does_nothing);
    RUN(a_buffer_is_a_queue_of_bytes);
    RUN(a_buffers_bound_is_sticky_until_cleared);
    RUN(only_the_canonical_spelling_is_an_integer);
    RUN(words_compare_in_either_case);
    resp_parser_free(&parser);
    buffer_free(&out);
    return check_done();
}
