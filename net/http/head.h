/* The head of a request: a strict subset of HTTP/1.1 (RFC 9112), pure. What two readers could
 * understand in two ways is refused, because smuggling lives on that.
 *
 *     method SP target SP HTTP/1.x CRLF (name ":" OWS value OWS CRLF)* CRLF body of Content-Length
 *
 * A head is looked at twice: http_scan() finds its end in what has arrived, each byte once however
 * it comes; http_head_parse() then reads the whole of it. A fault found by either is the answer, in
 * words, and the last one of its connection. */
#pragma once

#include "core/bytes.h"

enum {
    HTTP_HEAD_BYTES_MAX = 16 << 10,
    HTTP_TARGET_BYTES_MAX = 4 << 10,
    HTTP_HEADERS_MAX = 64,
    HTTP_BODY_BYTES_MAX = 8 << 20,
    HTTP_DETAIL_BYTES = 320,
};

/* What is wrong and what to do, for the client. */
struct http_fault {
    uint16_t status; /* 0: nothing is. */
    char detail[HTTP_DETAIL_BYTES];
};

/* Fills `fault`; printf's arguments. */
void http_fault(struct http_fault *fault, uint16_t status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* `bytes` as they may stand in a sentence: printable, shortened; into `text`, which is returned. */
enum { HTTP_QUOTE_BYTES = 72 };

char *http_quote(struct bytes bytes, char text[HTTP_QUOTE_BYTES]);

enum http_method {
    HTTP_GET = 1 << 0,
    HTTP_HEAD = 1 << 1,
    HTTP_POST = 1 << 2,
    HTTP_PUT = 1 << 3,
    HTTP_DELETE = 1 << 4,
    HTTP_OPTIONS = 1 << 5,
};

const char *http_method_text(enum http_method method);

/* Those that are looked at; each may come once. Connection alone may come more often. */
enum http_field {
    HTTP_FIELD_HOST,
    HTTP_FIELD_CONTENT_LENGTH,
    HTTP_FIELD_TRANSFER_ENCODING,
    HTTP_FIELD_CONTENT_TYPE,
    HTTP_FIELD_CONTENT_ENCODING,
    HTTP_FIELD_ACCEPT,
    HTTP_FIELD_EXPECT,
    HTTP_FIELD_ORIGIN,
    HTTP_FIELD_LAST_EVENT_ID,
    HTTP_FIELD_X_FLOE,
    HTTP_FIELD_COUNT,
};

struct http_head {
    enum http_method method;
    struct bytes target, path, query;      /* As sent; the query without its '?'. */
    struct bytes fields[HTTP_FIELD_COUNT]; /* data NULL: not there. */
    uint32_t size;                         /* Its last empty line included. */
    uint32_t body_bytes;
    bool keep_alive;
    bool old;     /* HTTP/1.0: a connection stays only if both say so. */
    bool expects; /* 100-continue. */
};

/* How far a head has been looked at. All zero: nothing of it yet. */
struct http_scan {
    uint32_t position;
    uint32_t line; /* Where the current one begins. */
};

enum http_found {
    HTTP_MORE,
    HTTP_WHOLE,
    HTTP_FAULTY,
};

/* Looks on from where it was; `input` begins with the head, and has what it had before. WHOLE:
 * scan->position is the head's size. */
enum http_found http_scan(struct http_scan *scan, struct bytes input, struct http_fault *fault);

/* A head as http_scan() found it; views into it. False: `fault` says why. */
NODISCARD bool http_head_parse(struct bytes bytes, struct http_head *head,
                               struct http_fault *fault);

/* Are they equal but for the case of letters? */
bool http_equal(struct bytes bytes, const char *text);

/* `type` without parameters ("application/json; charset=utf-8") is `text`. */
bool http_media_is(struct bytes type, const char *text);
