/*
 * The Redis protocol, version 2: a parser of requests and a writer of replies.
 *
 * The parser is incremental and copies no argument: it looks at the connection's input buffer and
 * answers with slices into it. What a client declares is checked against the limits before anything
 * is reserved for it; the parser's own memory grows with the arguments that have arrived, never
 * with a number that a client has sent.
 */
#ifndef RAFTKV_RESP_H
#define RAFTKV_RESP_H

#include "buffer.h"

/* What one request may take. Each may be changed between requests (before and after AUTH). */
struct resp_limits {
    size_t args_max;          /* arguments, the command word included */
    size_t bulk_bytes_max;    /* one argument */
    size_t request_bytes_max; /* the whole request, as it stands on the wire */
    size_t inline_bytes_max;  /* an inline request */
    int before_auth;          /* nonzero: errors say that AUTH would allow more */
};

/* 1 Mi arguments, 16 MiB an argument, 17 MiB a request, 64 KiB a line. */
extern const struct resp_limits resp_limits_default;

/* 10 arguments, 16 KiB an argument, 64 KiB a request, 16 KiB a line: before AUTH. */
extern const struct resp_limits resp_limits_unauthenticated;

enum resp_result {
    RESP_MORE = 0,    /* the request is not complete; nothing was consumed */
    RESP_REQUEST = 1, /* a request: args, arg_count and used are set */
    RESP_ERROR = -1,  /* answer with `error` and close the connection */
    RESP_HTTP = -2,   /* a web browser was made to talk to us: close without an answer */
    RESP_NOMEM = -3   /* close the connection */
};

struct resp_parser {
    /* The result of RESP_REQUEST. args is valid while the input buffer is and until the next call.
     */
    struct slice *args;
    size_t arg_count; /* 0 for an empty line or an empty array: nothing to answer, go on */
    size_t used;      /* bytes of the request: consume them once it has been dealt with */

    /* The result of RESP_ERROR: a complete error for reply_error. Static text or in this struct. */
    const char *error;

    /*
     * After RESP_MORE: the request takes at least this many bytes in all (from the first byte that
     * was given), so that a reader can make room for a large argument at once.
     */
    size_t wanted;

    struct resp_limits limits;

    /* Internal, see resp.c. */
    int answered;         /* the last call ended a request: the next one begins afresh */
    size_t scanned;       /* of an array: bytes understood; of a line: bytes without its end */
    size_t args_expected; /* of an array; 0: its header has not been read */
    size_t args_capacity;
    size_t *offsets;    /* of the arguments, from the first byte of their memory */
    int64_t bulk_bytes; /* of the argument being read; -1: its header comes next */
    char *unquoted;     /* memory of the arguments of an inline request */
    size_t unquoted_capacity;
    char error_text[64];
};

/* Makes an empty parser with resp_limits_default. Allocates nothing. */
void resp_parser_init(struct resp_parser *parser);
void resp_parser_free(struct resp_parser *parser);

/*
 * Looks for one request at the start of data. After RESP_MORE, call again with the same bytes and
 * more behind them (they may have moved): what was scanned is not scanned again. After
 * RESP_REQUEST, the next call starts a new request. After a negative result the parser is of no
 * more use.
 */
enum resp_result resp_parse(struct resp_parser *parser, const char *data, size_t size);

/* ---- Replies. A null buffer is allowed everywhere and means: nobody to answer. ---- */

/* Simple string: text is ours, without line ends. */
void reply_simple(struct buffer *out, const char *text);

/*
 * Error: text begins with its code ("ERR ...") and has no dash. The second form is printf's.
 * Line ends and other control bytes in it become spaces, and it is cut at 512 bytes.
 */
void reply_error(struct buffer *out, const char *text);
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void reply_errorf(struct buffer *out, const char *format, ...);

void reply_integer(struct buffer *out, int64_t value);
void reply_bulk(struct buffer *out, struct slice value);
void reply_bulk_text(struct buffer *out, const char *text); /* zero-terminated */
void reply_null(struct buffer *out);                        /* the null bulk: $-1 */
void reply_null_array(struct buffer *out);                  /* *-1 */
void reply_array(struct buffer *out, size_t count);         /* count replies follow */

/* A bulk of the number with 17 significant digits, "inf", "-inf" or "nan". */
void reply_double(struct buffer *out, double value);

#endif
