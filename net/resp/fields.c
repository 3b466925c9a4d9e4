/* See the header. */
#include "net/resp/fields.h"

#include "core/assert.h"
#include "net/resp/text.h"

#include <stdio.h>
#include <string.h>

#define FIELDS_NONE UINT32_MAX

/* Of a literal, without asking how long it is. */
#define WORD(word) bytes_of(word, sizeof(word) - 1)
#define IS_WORD(text, word)                                                                        \
    ((text).size == sizeof(word) - 1 && memcmp((text).data, word, sizeof(word) - 1) == 0)

void fields_encode(const struct bytes *fields, uint32_t count, struct record_input *record,
                   struct record_header *headers, char *order)
{
    uint32_t key_at = FIELDS_NONE;
    uint32_t value_at = FIELDS_NONE;
    uint32_t used = 0;
    bool ours = false; /* A field of the client has our name. */
    for (uint32_t i = 0; i < count; i++) {
        struct bytes name = fields[2 * (size_t)i];
        struct bytes value = fields[2 * (size_t)i + 1];
        if (key_at == FIELDS_NONE && IS_WORD(name, "key")) {
            key_at = i;
            record->key = value;
        } else if (value_at == FIELDS_NONE && IS_WORD(name, "value")) {
            value_at = i;
            record->value = value;
        } else {
            ours = ours || IS_WORD(name, FIELDS_ORDER_NAME);
            headers[used++] = (struct record_header){.name = name, .value = value};
        }
    }
    bool key_first = key_at == FIELDS_NONE || key_at == 0;
    bool value_last = value_at == FIELDS_NONE || value_at == count - 1;
    if (!key_first || !value_last || ours) {
        (void)snprintf(order, FIELDS_ORDER_BYTES, "%u,%u", key_at == FIELDS_NONE ? 0 : key_at,
                       value_at == FIELDS_NONE ? count : value_at);
        headers[used++] = (struct record_header){.name = bytes_text(FIELDS_ORDER_NAME),
                                                 .value = bytes_text(order)};
    }
    record->headers = headers;
    record->header_count = used;
}

/* "2,0": places of key and value. */
static bool fields_parse_order(struct bytes text, uint64_t *key_at, uint64_t *value_at)
{
    const uint8_t *comma = text.size == 0 ? NULL : memchr(text.data, ',', text.size);
    if (comma == NULL) {
        return false;
    }
    uint32_t size = (uint32_t)(comma - text.data);
    return resp_parse_u64(bytes_of(text.data, size), key_at) &&
           resp_parse_u64(bytes_of(comma + 1, text.size - size - 1), value_at);
}

/* What the last header says of the order; false: it is a header like others. */
static bool fields_order(const struct record *record, uint64_t *key_at, uint64_t *value_at)
{
    struct bytes_reader reader = bytes_reader(record->headers);
    struct record_header header = {0};
    for (uint32_t i = 0; i < record->header_count; i++) {
        if (!record_read_header(&reader, &header)) {
            return false;
        }
    }
    if (record->header_count == 0 || !IS_WORD(header.name, FIELDS_ORDER_NAME) ||
        !fields_parse_order(header.value, key_at, value_at)) {
        return false;
    }
    bool key = record->key.data != NULL;
    bool value = record->value.data != NULL;
    uint64_t count = record->header_count - 1 + (key ? 1 : 0) + (value ? 1 : 0);
    bool fits = (!key || *key_at < count) && (!value || *value_at < count);
    return fits && !(key && value && *key_at == *value_at);
}

void fields_begin(struct fields *entry, const struct record *record)
{
    *entry = (struct fields){
        .record = record,
        .headers = bytes_reader(record->headers),
        .key_at = FIELDS_NONE,
        .value_at = FIELDS_NONE,
    };
    uint64_t key_at;
    uint64_t value_at;
    bool ordered = fields_order(record, &key_at, &value_at);
    bool key = record->key.data != NULL;
    bool value = record->value.data != NULL;
    entry->count = record->header_count - (ordered ? 1 : 0) + (key ? 1 : 0) + (value ? 1 : 0);
    if (entry->count == 0) { /* Of nothing but nulls: clients expect a field. */
        value = true;
        entry->count = 1;
    }
    if (key) {
        entry->key_at = ordered ? (uint32_t)key_at : 0;
    }
    if (value) {
        entry->value_at =
            ordered && record->value.data != NULL ? (uint32_t)value_at : entry->count - 1;
    }
}

bool fields_next(struct fields *entry, struct bytes *name, struct bytes *value)
{
    if (entry->next == entry->count) {
        return false;
    }
    uint32_t at = entry->next++;
    struct record_header header = {0};
    if (at == entry->key_at) {
        header = (struct record_header){.name = WORD("key"), .value = entry->record->key};
    } else if (at == entry->value_at) {
        header = (struct record_header){.name = WORD("value"), .value = entry->record->value};
    } else {
        bool sound = record_read_header(&entry->headers, &header);
        ASSERT(sound);
    }
    *name = header.name;
    *value = header.value.data == NULL ? bytes_of(NULL, 0) : header.value;
    return true;
}
