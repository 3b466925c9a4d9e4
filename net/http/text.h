/* Text out and text in: the writer of answers, JSON strings, base64, percent-encoding, queries. */
#pragma once

#include "net/http/head.h"

/* Counts when `data` is NULL; else writes, and the room was counted. */
struct http_writer {
    uint8_t *data;
    uint64_t size, position;
};

void http_put(struct http_writer *writer, const void *data, uint64_t size);
void http_put_text(struct http_writer *writer, const char *text);
void http_put_number(struct http_writer *writer, int64_t number);

/* Short: what printf makes of it has fewer than 512 bytes. */
void http_printf(struct http_writer *writer, const char *format, ...) PRINTF_LIKE(2, 3);

/* A JSON string with its quotes. What is not UTF-8 becomes U+FFFD, so ask http_is_text() first. */
void http_put_json(struct http_writer *writer, struct bytes text);
bool http_is_text(struct bytes bytes); /* Valid UTF-8. */

/* RFC 4648 with padding. Decoding is strict; `out` has room for 3/4 of the text, false: broken. */
void http_put_base64(struct http_writer *writer, struct bytes bytes);
bool http_base64_decode(struct bytes text, uint8_t *out, uint32_t *size);

/* %XX -> byte, all else as it stands ('+' too). `out` has room for raw.size; `decoded` views it. */
NODISCARD bool http_percent_decode(struct bytes raw, uint8_t *out, struct bytes *decoded,
                                   struct http_fault *fault);

/* A parameter of a query: name=value. data NULL: not given. */
struct http_param {
    const char *name;
    struct bytes value;
};

/* Fills the values of `params`; `out` has room for query.size. Unknown names and those that come
 * twice are faults. */
NODISCARD bool http_query_read(struct bytes query, struct http_param *params, uint32_t count,
                               uint8_t *out, struct http_fault *fault);

/* Plain decimal digits within bounds; the fault names the parameter. */
NODISCARD bool http_read_number(const char *name, struct bytes text, uint64_t min, uint64_t max,
                                uint64_t *number, struct http_fault *fault);
