/* See the header. */
#include "net/http/json.h"

#include "core/assert.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_HEAD_BYTES = 16 };

/* Who parses on this thread; NULL in tests of functions alone. */
static struct http_core *json_core(void)
{
    struct reactor *reactor = reactor_self();
    const struct net *net = reactor != NULL ? reactor->owner[REACTOR_NET] : NULL;
    return net != NULL ? net->http : NULL;
}

/* The size stands ahead of what jansson gets. */
static void *json_take(size_t size)
{
    struct http_core *core = json_core();
    if (core != NULL && (size > HTTP_JSON_MEMORY_MAX ||
                         core->json_used + size + JSON_HEAD_BYTES > HTTP_JSON_MEMORY_MAX)) {
        return NULL;
    }
    uint8_t *at = malloc(size + JSON_HEAD_BYTES);
    if (at == NULL) {
        return NULL;
    }
    store_le64(at, size + JSON_HEAD_BYTES);
    if (core != NULL) {
        core->json_used += size + JSON_HEAD_BYTES;
    }
    return at + JSON_HEAD_BYTES;
}

static void json_give(void *taken)
{
    if (taken == NULL) {
        return;
    }
    uint8_t *at = (uint8_t *)taken - JSON_HEAD_BYTES;
    struct http_core *core = json_core();
    if (core != NULL) {
        ASSERT(core->json_used >= load_le64(at));
        core->json_used -= load_le64(at);
    }
    free(at);
}

static void json_begin_once(void)
{
    json_set_alloc_funcs(json_take, json_give);
}

void http_json_begin(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int failed = pthread_once(&once, json_begin_once);
    ASSERT(failed == 0);
}

json_t *http_json_read(struct http_op *op)
{
    struct bytes body = op->body;
    json_error_t error;
    if (body.size > HTTP_JSON_BYTES_MAX) {
        http_fault(&op->fault, 413,
                   "the JSON document has %u bytes, more than %d: send fewer records at a time, or "
                   "one record as a body of another type",
                   body.size, HTTP_JSON_BYTES_MAX);
        return NULL;
    }
    json_t *document =
        json_loadb((const char *)body.data, body.size, JSON_REJECT_DUPLICATES, &error);
    /* Of a want of memory the parser says nothing. */
    if (document == NULL && error.text[0] == 0) {
        http_fault(&op->fault, 413, "the JSON document has too many values: send fewer at a time");
        return NULL;
    }
    if (document == NULL) {
        char quoted[HTTP_QUOTE_BYTES];
        http_fault(&op->fault, 400, "the body is no JSON document: line %d, column %d: %s",
                   error.line, error.column, http_quote(bytes_text(error.text), quoted));
        return NULL;
    }
    if (!json_is_object(document)) {
        http_fault(&op->fault, 400, "the JSON document is no object: begin it with '{'");
        json_decref(document);
        return NULL;
    }
    return document;
}

void http_json_end(json_t *document)
{
    const struct http_core *core = json_core();
    json_decref(document);
    ASSERT(core == NULL || core->json_used == 0);
}

bool http_json_known(struct http_op *op, json_t *object, const char *what, const char *const *names,
                     uint32_t count)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        uint32_t i = 0;
        while (i < count && strcmp(name, names[i]) != 0) {
            i++;
        }
        if (i == count) {
            char quoted[HTTP_QUOTE_BYTES];
            char known[160] = "";
            for (i = 0; i < count; i++) {
                size_t used = strlen(known);
                (void)snprintf(known + used, sizeof(known) - used, "%s%s", i == 0 ? "" : ", ",
                               names[i]);
            }
            http_fault(&op->fault, 400, "%s has a member \"%s\" that is not known: use %s", what,
                       http_quote(bytes_text(name), quoted), known);
            return false;
        }
    }
    return true;
}

bool http_json_text(struct http_op *op, json_t *object, const char *name, struct bytes *text)
{
    json_t *value = json_object_get(object, name);
    *text = (struct bytes){0};
    if (value == NULL || json_is_null(value)) {
        return true;
    }
    if (!json_is_string(value)) {
        http_fault(&op->fault, 400, "\"%s\" is no string and not null: write it in quotes", name);
        return false;
    }
    *text = bytes_of(json_string_value(value), (uint32_t)json_string_length(value));
    return true;
}

bool http_json_number(struct http_op *op, json_t *object, const char *name, int64_t min,
                      int64_t max, int64_t *number)
{
    json_t *value = json_object_get(object, name);
    if (value == NULL) {
        return true;
    }
    int64_t found = (int64_t)json_integer_value(value);
    if (!json_is_integer(value) || found < min || found > max) {
        http_fault(&op->fault, 400, "\"%s\" is no integer from %" PRId64 " to %" PRId64, name, min,
                   max);
        return false;
    }
    *number = found;
    return true;
}
