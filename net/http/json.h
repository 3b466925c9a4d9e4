/* JSON in, by jansson: bounded, without duplicate names. Its values live in memory that is counted
 * (HTTP_JSON_MEMORY_MAX of each core) and given back in the same turn. */
#pragma once

#include "net/http/http.h"

#include <jansson.h>

/* Once in a process, before the first document: jansson takes its memory from us. */
void http_json_begin(void);

/* The body as one object, or NULL: op->fault. http_json_end() in the same turn. */
json_t *http_json_read(struct http_op *op);
void http_json_end(json_t *document);

/* Every member of `object` has one of `names`; else op->fault names the one that has not. */
NODISCARD bool http_json_known(struct http_op *op, json_t *object, const char *what,
                               const char *const *names, uint32_t count);

/* The string of a member, a view into the document; data NULL: it is not there, or null. */
NODISCARD bool http_json_text(struct http_op *op, json_t *object, const char *name,
                              struct bytes *text);

/* An integer within bounds; `number` stays as it is if it is not there. */
NODISCARD bool http_json_number(struct http_op *op, json_t *object, const char *name, int64_t min,
                                int64_t max, int64_t *number);
