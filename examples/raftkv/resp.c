/*
 * The Redis protocol: requests in, replies out.
 *
 * Invariants of an array request that is being scanned
 *  - scanned is the offset of the first byte not yet understood; it only grows.
 *  - arg_count arguments are understood. bulk_bytes is -1 when the header of the next one comes at
 *    scanned, else its length, with its bytes beginning at scanned.
 *  - Arguments are kept as offsets, since the input buffer may move between two calls; they become
 *    slices when the request is complete.
 *  - args_capacity is less than twice the arguments that have arrived, or ARGS_FIRST.
 *
 * Stricter than Redis where it is lenient with broken clients: a line ends with CR LF, not with CR
 * and any byte, and so does an argument. Nothing else would be noticed sooner.
 */
#include "resp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS_FIRST      ((size_t)8)
#define ARGS_KEPT       ((size_t)1024) /* a larger array is given back after its request */
#define UNQUOTED_KEPT   ((size_t)4096)
#define LENGTH_LINE_MAX ((size_t)32) /* no number is longer */
#define ERROR_BYTES_MAX 512

const struct resp_limits resp_limits_default = {
    .args_max = (size_t)1 << 20,
    .bulk_bytes_max = (size_t)16 << 20,
    .request_bytes_max = (size_t)17 << 20,
    .inline_bytes_max = (size_t)64 << 10,
    .before_auth = 0,
};

const struct resp_limits resp_limits_unauthenticated = {
    .args_max = 10,
    .bulk_bytes_max = (size_t)16 << 10,
    .request_bytes_max = (size_t)64 << 10,
    .inline_bytes_max = (size_t)16 << 10,
    .before_auth = 1,
};

void resp_parser_init(struct resp_parser *parser)
{
    memset(parser, 0, sizeof *parser);
    parser->limits = resp_limits_default;
    parser->bulk_bytes = -1;
}

void resp_parser_free(struct resp_parser *parser)
{
    free(parser->args);
    free(parser->offsets);
    free(parser->unquoted);
    resp_parser_init(parser);
}

static void release_large_memory(struct resp_parser *parser)
{
    if (parser->args_capacity > ARGS_KEPT) {
        free(parser->args);
        free(parser->offsets);
        parser->args = NULL;
        parser->offsets = NULL;
        parser->args_capacity = 0;
    }
    if (parser->unquoted_capacity > UNQUOTED_KEPT) {
        free(parser->unquoted);
        parser->unquoted = NULL;
        parser->unquoted_capacity = 0;
    }
}

static void begin_request(struct resp_parser *parser)
{
    release_large_memory(parser);
    parser->answered = 0;
    parser->arg_count = 0;
    parser->used = 0;
    parser->wanted = 0;
    parser->scanned = 0;
    parser->args_expected = 0;
    parser->bulk_bytes = -1;
}

static enum resp_result protocol_error(struct resp_parser *parser, const char *error)
{
    parser->error = error;
    return RESP_ERROR;
}

static enum resp_result too_many_arguments(struct resp_parser *parser)
{
    return protocol_error(parser, parser->limits.before_auth
                                      ? "ERR Protocol error: unauthenticated multibulk length"
                                      : "ERR Protocol error: invalid multibulk length");
}

static enum resp_result wait_for(struct resp_parser *parser, size_t wanted)
{
    parser->wanted = wanted;
    return RESP_MORE;
}

static int grow_args(struct resp_parser *parser)
{
    size_t capacity = parser->args_capacity > 0 ? parser->args_capacity * 2 : ARGS_FIRST;
    struct slice *args = realloc(parser->args, capacity * sizeof *args);

    if (args == NULL) {
        return 0;
    }
    parser->args = args;
    size_t *offsets = realloc(parser->offsets, capacity * sizeof *offsets);
    if (offsets == NULL) {
        return 0;
    }
    parser->offsets = offsets;
    parser->args_capacity = capacity;
    return 1;
}

static enum resp_result add_argument(struct resp_parser *parser, size_t offset, size_t size)
{
    if (parser->arg_count == parser->args_capacity && !grow_args(parser)) {
        return RESP_NOMEM;
    }
    parser->offsets[parser->arg_count] = offset;
    parser->args[parser->arg_count].size = size;
    parser->arg_count++;
    return RESP_REQUEST;
}

/* Ends a request whose arguments lie at their offsets in memory. */
static enum resp_result complete_request(struct resp_parser *parser, const char *memory,
                                         size_t used)
{
    for (size_t i = 0; i < parser->arg_count; i++) {
        parser->args[i].data = memory + parser->offsets[i];
    }
    parser->used = used;
    return RESP_REQUEST;
}

/*
 * Reads the line "<mark><integer>\r\n" at scanned and moves scanned behind it. RESP_REQUEST, or
 * RESP_MORE, or RESP_ERROR with one of the two errors given.
 */
static enum resp_result take_length(struct resp_parser *parser, const char *data, size_t size,
                                    int64_t *length, const char *invalid, const char *too_long)
{
    const char *line = data + parser->scanned;
    size_t available = size - parser->scanned;
    size_t searched = available < LENGTH_LINE_MAX ? available : LENGTH_LINE_MAX;
    const char *end = memchr(line, '\r', searched);

    if (end == NULL && available >= LENGTH_LINE_MAX) {
        return protocol_error(parser, too_long);
    }
    if (end == NULL || (size_t)(end - line) + 2 > available) {
        return wait_for(parser, size + 1);
    }
    struct slice digits = {line + 1, (size_t)(end - line) - 1};
    if (end[1] != '\n' || !slice_to_integer(digits, length)) {
        return protocol_error(parser, invalid);
    }
    parser->scanned += (size_t)(end - line) + 2;
    return RESP_REQUEST;
}

static enum resp_result take_array_header(struct resp_parser *parser, const char *data, size_t size)
{
    int64_t count;
    enum resp_result result =
        take_length(parser, data, size, &count, "ERR Protocol error: invalid multibulk length",
                    "ERR Protocol error: too big mbulk count string");

    if (result != RESP_REQUEST) {
        return result;
    }
    if (count > 0 && (uint64_t)count > parser->limits.args_max) {
        return too_many_arguments(parser);
    }
    parser->args_expected = count > 0 ? (size_t)count : 0;
    return RESP_REQUEST;
}

static enum resp_result check_bulk_mark(struct resp_parser *parser, char mark)
{
    if (mark == '$') {
        return RESP_REQUEST;
    }
    snprintf(parser->error_text, sizeof parser->error_text,
             "ERR Protocol error: expected '$', got '%c'", mark == '\0' ? ' ' : mark);
    return protocol_error(parser, parser->error_text);
}

static enum resp_result check_bulk_length(struct resp_parser *parser, int64_t length)
{
    const struct resp_limits *limits = &parser->limits;

    if (length < 0) {
        return protocol_error(parser, "ERR Protocol error: invalid bulk length");
    }
    if ((uint64_t)length > limits->bulk_bytes_max) {
        return protocol_error(parser, limits->before_auth
                                          ? "ERR Protocol error: unauthenticated bulk length"
                                          : "ERR Protocol error: invalid bulk length");
    }
    if (parser->scanned > limits->request_bytes_max ||
        (uint64_t)length > limits->request_bytes_max - parser->scanned) {
        return protocol_error(parser, "ERR Protocol error: too big request");
    }
    return RESP_REQUEST;
}

static enum resp_result take_bulk_header(struct resp_parser *parser, const char *data, size_t size)
{
    int64_t length;
    enum resp_result result;

    if (parser->scanned == size) {
        return wait_for(parser, size + 1);
    }
    result = check_bulk_mark(parser, data[parser->scanned]);
    if (result == RESP_REQUEST) {
        result = take_length(parser, data, size, &length, "ERR Protocol error: invalid bulk length",
                             "ERR Protocol error: too big bulk count string");
    }
    if (result == RESP_REQUEST) {
        result = check_bulk_length(parser, length);
    }
    if (result == RESP_REQUEST) {
        parser->bulk_bytes = length;
    }
    return result;
}

static enum resp_result take_bulk(struct resp_parser *parser, const char *data, size_t size)
{
    size_t offset = parser->scanned;
    size_t length = (size_t)parser->bulk_bytes;

    if (size - offset < length + 2) {
        return wait_for(parser, offset + length + 2);
    }
    if (data[offset + length] != '\r' || data[offset + length + 1] != '\n') {
        return protocol_error(parser, "ERR Protocol error: invalid bulk length");
    }
    parser->scanned += length + 2;
    parser->bulk_bytes = -1;
    return add_argument(parser, offset, length);
}

static enum resp_result parse_array(struct resp_parser *parser, const char *data, size_t size)
{
    enum resp_result result;

    if (parser->args_expected == 0) {
        result = take_array_header(parser, data, size);
        if (result != RESP_REQUEST) {
            return result;
        }
    }
    while (parser->arg_count < parser->args_expected) {
        if (parser->bulk_bytes < 0) {
            result = take_bulk_header(parser, data, size);
            if (result != RESP_REQUEST) {
                return result;
            }
        }
        result = take_bulk(parser, data, size);
        if (result != RESP_REQUEST) {
            return result;
        }
    }
    return complete_request(parser, data, parser->scanned);
}

/* ---- Inline requests: words as a person types them, with quotes ---- */

static int is_blank(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    if (byte >= 'a' && byte <= 'f') {
        return byte - 'a' + 10;
    }
    return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

static char unescape(char letter)
{
    switch (letter) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return letter;
    }
}

/* What is left of the line, and where the bytes of its words go. */
struct unquoting {
    const char *at;
    const char *end;
    char *out;
};

static void take_byte(struct unquoting *word, char byte, size_t spelled)
{
    *word->out++ = byte;
    word->at += spelled;
}

static void take_escape(struct unquoting *word)
{
    size_t left = (size_t)(word->end - word->at);

    if (left >= 4 && word->at[1] == 'x' && hex_digit(word->at[2]) >= 0 &&
        hex_digit(word->at[3]) >= 0) {
        take_byte(word, (char)(hex_digit(word->at[2]) * 16 + hex_digit(word->at[3])), 4);
    } else {
        take_byte(word, unescape(word->at[1]), 2);
    }
}

/* Takes a quoted stretch, at its opening quote. 0: it is not closed, or something sticks to it. */
static int take_quoted(struct unquoting *word)
{
    char quote = *word->at++;

    while (word->at < word->end && *word->at != quote) {
        int escape = *word->at == '\\' && word->end - word->at > 1;
        if (escape && quote == '"') {
            take_escape(word);
        } else if (escape && word->at[1] == '\'') {
            take_byte(word, '\'', 2);
        } else {
            take_byte(word, *word->at, 1);
        }
    }
    if (word->at == word->end) {
        return 0;
    }
    word->at++;
    return word->at == word->end || is_blank(*word->at);
}

static int take_word(struct unquoting *word)
{
    while (word->at < word->end && !is_blank(*word->at)) {
        if (*word->at == '"' || *word->at == '\'') {
            return take_quoted(word); /* a closing quote ends the word */
        }
        take_byte(word, *word->at, 1);
    }
    return 1;
}

static enum resp_result split_words(struct resp_parser *parser, struct slice line)
{
    struct unquoting word = {line.data, line.data + line.size, parser->unquoted};

    for (;;) {
        while (word.at < word.end && is_blank(*word.at)) {
            word.at++;
        }
        if (word.at == word.end) {
            return RESP_REQUEST;
        }
        char *begin = word.out;
        if (!take_word(&word)) {
            return protocol_error(parser, "ERR Protocol error: unbalanced quotes in request");
        }
        if (parser->arg_count == parser->limits.args_max) {
            return too_many_arguments(parser);
        }
        size_t offset = (size_t)(begin - parser->unquoted);
        if (add_argument(parser, offset, (size_t)(word.out - begin)) != RESP_REQUEST) {
            return RESP_NOMEM;
        }
    }
}

/* A word is never longer than its spelling: room for the line is room for all its words. */
static int reserve_unquoted(struct resp_parser *parser, size_t size)
{
    if (parser->unquoted == NULL || parser->unquoted_capacity < size) {
        char *unquoted = realloc(parser->unquoted, size + 1);
        if (unquoted == NULL) {
            return 0;
        }
        parser->unquoted = unquoted;
        parser->unquoted_capacity = size + 1;
    }
    return 1;
}

static enum resp_result parse_inline(struct resp_parser *parser, const char *data, size_t size)
{
    const char *end = memchr(data + parser->scanned, '\n', size - parser->scanned);
    size_t length = end == NULL ? size : (size_t)(end - data);

    if (length > parser->limits.inline_bytes_max) {
        return protocol_error(parser, "ERR Protocol error: too big inline request");
    }
    if (end == NULL) {
        parser->scanned = size;
        return wait_for(parser, size + 1);
    }
    struct slice line = {data, length};
    if (length > 0 && data[length - 1] == '\r') {
        line.size--;
    }
    if (!reserve_unquoted(parser, line.size)) {
        return RESP_NOMEM;
    }
    enum resp_result result = split_words(parser, line);
    return result == RESP_REQUEST ? complete_request(parser, parser->unquoted, length + 1) : result;
}

/* Does the request look like the start, or a header, of an HTTP request? (cross-protocol attacks)
 */
static int is_http(const struct resp_parser *parser)
{
    if (parser->arg_count == 0) {
        return 0;
    }
    if (slice_is(parser->args[0], "post") || slice_is(parser->args[0], "host:")) {
        return 1;
    }
    struct slice last = parser->args[parser->arg_count - 1];
    return parser->args_expected == 0 && parser->arg_count == 3 && last.size > 7 &&
           memcmp(last.data, "HTTP/1.", 7) == 0;
}

enum resp_result resp_parse(struct resp_parser *parser, const char *data, size_t size)
{
    enum resp_result result;

    if (parser->answered) {
        begin_request(parser);
    }
    if (size == 0) {
        return wait_for(parser, 1);
    }
    result = data[0] == '*' ? parse_array(parser, data, size) : parse_inline(parser, data, size);
    if (result == RESP_REQUEST) {
        parser->answered = 1;
        if (is_http(parser)) {
            return RESP_HTTP;
        }
    }
    return result;
}

/* ---- Replies ---- */

/* "<mark><number>\r\n", the head of most replies. */
static size_t number_line(char mark, int64_t number, char out[INTEGER_TEXT_MAX + 3])
{
    size_t length;

    out[0] = mark;
    length = 1 + integer_to_text(number, out + 1);
    out[length++] = '\r';
    out[length++] = '\n';
    return length;
}

static void add_number_line(struct buffer *out, char mark, int64_t number)
{
    char line[INTEGER_TEXT_MAX + 3];

    buffer_add(out, line, number_line(mark, number, line));
}

void reply_simple(struct buffer *out, const char *text)
{
    buffer_add(out, "+", 1);
    buffer_add(out, text, strlen(text));
    buffer_add(out, "\r\n", 2);
}

void reply_error(struct buffer *out, const char *text)
{
    char line[ERROR_BYTES_MAX + 3];
    size_t length = 0;

    line[length++] = '-';
    for (; *text != '\0' && length <= ERROR_BYTES_MAX; text++) {
        line[length++] = (unsigned char)*text < ' ' ? ' ' : *text;
    }
    line[length++] = '\r';
    line[length++] = '\n';
    buffer_add(out, line, length);
}

void reply_errorf(struct buffer *out, const char *format, ...)
{
    char text[ERROR_BYTES_MAX + 1];
    va_list arguments;

    if (out == NULL) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    reply_error(out, text);
}

void reply_integer(struct buffer *out, int64_t value)
{
    add_number_line(out, ':', value);
}

void reply_bulk(struct buffer *out, struct slice value)
{
    char head[INTEGER_TEXT_MAX + 3];
    size_t head_size = number_line('$', (int64_t)value.size, head);
    char *room = buffer_reserve(out, head_size + value.size + 2);

    if (room == NULL) {
        return;
    }
    memcpy(room, head, head_size);
    if (value.size > 0) {
        memcpy(room + head_size, value.data, value.size);
    }
    room[head_size + value.size] = '\r';
    room[head_size + value.size + 1] = '\n';
    buffer_commit(out, head_size + value.size + 2);
}

void reply_bulk_text(struct buffer *out, const char *text)
{
    reply_bulk(out, slice_of(text));
}

void reply_null(struct buffer *out)
{
    buffer_add(out, "$-1\r\n", 5);
}

void reply_null_array(struct buffer *out)
{
    buffer_add(out, "*-1\r\n", 5);
}

void reply_array(struct buffer *out, size_t count)
{
    add_number_line(out, '*', (int64_t)count);
}

void reply_double(struct buffer *out, double value)
{
    char text[40];

    if (value != value) {
        reply_bulk_text(out, "nan");
    } else if (value - value != 0) {
        reply_bulk_text(out, value > 0 ? "inf" : "-inf");
    } else {
        snprintf(text, sizeof text, "%.17g", value);
        reply_bulk_text(out, text);
    }
}
