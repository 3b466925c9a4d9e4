/* See the header.
 *
 *     {"records": [{"key": "k", "value": "v" or null or "value_base64": "...", "partition": 0,
 *                   "timestamp": 1700000000000, "headers": {"name": "text"} or
 *                   [{"name": "n", "value": "v" or "value_base64": "..."}]}]}
 */
#include "net/http/records_in.h"

#include "core/assert.h"

#include <stdio.h>
#include <string.h>

static json_t *records_array(struct http_op *op, json_t *document)
{
    static const char *const names[] = {"records"};
    if (!http_json_known(op, document, "the document", names, ARRAY_COUNT(names))) {
        return NULL;
    }
    json_t *array = json_object_get(document, "records");
    if (!json_is_array(array) || json_array_size(array) == 0) {
        http_fault(&op->fault, 400,
                   "the document has no array \"records\" with a record in it: write "
                   "{\"records\":[{\"value\":\"...\"}]}");
        return NULL;
    }
    if (json_array_size(array) > HTTP_RECORDS_MAX) {
        http_fault(&op->fault, 413, "there are %zu records, more than %d: send fewer at a time",
                   json_array_size(array), HTTP_RECORDS_MAX);
        return NULL;
    }
    return array;
}

/* Says which record an op->fault is about. */
static bool records_blame(struct http_op *op, size_t index)
{
    char detail[HTTP_DETAIL_BYTES];
    memcpy(detail, op->fault.detail, sizeof(detail));
    http_fault(&op->fault, op->fault.status, "records[%zu]: %.*s", index, HTTP_DETAIL_BYTES - 40,
               detail);
    return false;
}

/* A member as text or, named so, as base64: both together say nothing. `text` and `base64` are what
 * stands there; at most one has data. */
static bool records_member(struct http_op *op, json_t *object, const char *name, struct bytes *text,
                           struct bytes *base64)
{
    char name_base64[32];
    (void)snprintf(name_base64, sizeof(name_base64), "%s_base64", name);
    if (json_object_get(object, name) != NULL && json_object_get(object, name_base64) != NULL) {
        http_fault(&op->fault, 400, "there are both \"%s\" and \"%s\": give one", name,
                   name_base64);
        return false;
    }
    return http_json_text(op, object, name, text) &&
           http_json_text(op, object, name_base64, base64);
}

/* One value: counted, or decoded into its place. */
static bool records_value(struct http_op *op, json_t *object, const char *name,
                          struct http_records *records, struct bytes *value)
{
    struct bytes text, base64;
    if (!records_member(op, object, name, &text, &base64)) {
        return false;
    }
    *value = text;
    if (base64.data == NULL) {
        return true;
    }
    if (records->decoded != NULL) {
        uint32_t size = 0;
        uint8_t *at = records->decoded + records->decoded_bytes;
        if (!http_base64_decode(base64, at, &size)) {
            http_fault(&op->fault, 400,
                       "\"%s_base64\" is no base64 (A-Z a-z 0-9 + / and = at the end)", name);
            return false;
        }
        *value = bytes_of(at, size);
    }
    records->decoded_bytes += (uint64_t)base64.size / 4 * 3 + 3;
    return true;
}

static bool records_header(struct http_op *op, struct http_records *records,
                           struct record_header header)
{
    if (header.name.data == NULL) {
        http_fault(&op->fault, 400, "a header has no \"name\"");
        return false;
    }
    if (records->headers != NULL) {
        records->headers[records->header_count] = header;
    }
    records->header_count++;
    return true;
}

static bool records_header_list(struct http_op *op, json_t *list, struct http_records *records)
{
    static const char *const names[] = {"name", "name_base64", "value", "value_base64"};
    size_t index;
    json_t *item;
    json_array_foreach(list, index, item)
    {
        struct record_header header;
        if (!json_is_object(item)) {
            http_fault(&op->fault, 400, "headers[%zu] is no object with name and value", index);
            return false;
        }
        if (!http_json_known(op, item, "a header", names, ARRAY_COUNT(names)) ||
            !records_value(op, item, "name", records, &header.name) ||
            !records_value(op, item, "value", records, &header.value)) {
            return false;
        }
        if (json_object_get(item, "name_base64") != NULL && records->headers == NULL) {
            header.name = bytes_text("");
        }
        if (!records_header(op, records, header)) {
            return false;
        }
    }
    return true;
}

static bool records_headers(struct http_op *op, json_t *record, struct http_records *records)
{
    json_t *headers = json_object_get(record, "headers");
    if (headers == NULL || json_is_null(headers)) {
        return true;
    }
    if (json_is_array(headers)) {
        return records_header_list(op, headers, records);
    }
    if (!json_is_object(headers)) {
        http_fault(&op->fault, 400, "\"headers\" is no object of names and texts, nor an array");
        return false;
    }
    const char *name;
    json_t *value;
    json_object_foreach(headers, name, value)
    {
        struct record_header header = {.name = bytes_text(name)};
        if (!http_json_text(op, headers, name, &header.value) ||
            !records_header(op, records, header)) {
            return false;
        }
    }
    return true;
}

static bool records_one(struct http_op *op, json_t *record, struct http_records *records,
                        struct http_record *out)
{
    static const char *const names[] = {"key",       "key_base64", "value",  "value_base64",
                                        "partition", "timestamp",  "headers"};
    *out = (struct http_record){.partition = -1};
    out->input.timestamp = (int64_t)op->net->reactor->now_ms;
    if (!json_is_object(record)) {
        http_fault(&op->fault, 400, "it is no object: write {\"value\":\"...\"}");
        return false;
    }
    uint32_t first = records->header_count;
    bool good = http_json_known(op, record, "it", names, ARRAY_COUNT(names)) &&
                records_value(op, record, "key", records, &out->input.key) &&
                records_value(op, record, "value", records, &out->input.value) &&
                http_json_number(op, record, "partition", 0, INT32_MAX, &out->partition) &&
                http_json_number(op, record, "timestamp", 0, INT64_MAX, &out->input.timestamp) &&
                records_headers(op, record, records);
    out->input.header_count = records->header_count - first;
    out->input.headers = records->headers != NULL ? records->headers + first : NULL;
    return good;
}

/* Both passes: without arrays it counts. */
static bool records_walk(struct http_op *op, json_t *document, struct http_records *records)
{
    json_t *array = records_array(op, document);
    if (array == NULL) {
        return false;
    }
    records->count = 0;
    records->header_count = 0;
    records->decoded_bytes = 0;
    size_t index;
    json_t *record;
    json_array_foreach(array, index, record)
    {
        struct http_record counted;
        struct http_record *out = records->records != NULL ? &records->records[index] : &counted;
        if (!records_one(op, record, records, out)) {
            return records_blame(op, index);
        }
        records->count++;
    }
    return true;
}

bool http_records_count(struct http_op *op, json_t *document, struct http_records *records)
{
    *records = (struct http_records){0};
    return records_walk(op, document, records);
}

bool http_records_read(struct http_op *op, json_t *document, struct http_records *records)
{
    ASSERT(records->records != NULL && records->headers != NULL && records->decoded != NULL);
    return records_walk(op, document, records);
}

uint32_t http_murmur2(struct bytes key)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t hash = 0x9747b28c ^ key.size;
    uint32_t i = 0;
    for (; key.size - i >= 4; i += 4) {
        uint32_t word = load_le32(key.data + i) * m;
        word = (word ^ word >> 24) * m;
        hash = hash * m ^ word;
    }
    uint32_t left = key.size - i;
    if (left > 2) {
        hash ^= (uint32_t)key.data[i + 2] << 16;
    }
    if (left > 1) {
        hash ^= (uint32_t)key.data[i + 1] << 8;
    }
    if (left > 0) {
        hash = (hash ^ key.data[i]) * m;
    }
    hash = (hash ^ hash >> 13) * m;
    return hash ^ hash >> 15;
}
