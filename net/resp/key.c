/* See the header. */
#include "net/resp/key.h"

#include "meta/map.h"
#include "net/resp/text.h"
#include "shard/request.h"

#include <string.h>

static const char prefix[] = MAP_HIDDEN_PREFIX;

enum { PREFIX_BYTES = sizeof(prefix) - 1 };

static bool is_prefixed(struct bytes name)
{
    return name.size >= PREFIX_BYTES && memcmp(name.data, prefix, PREFIX_BYTES) == 0;
}

static bool is_hidden(struct bytes name)
{
    return name.size >= 2 && name.data[0] == '_' && name.data[1] == '_';
}

static bool is_plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-';
}

bool resp_key_name(struct bytes key, uint8_t *name, struct bytes *result)
{
    static const char digits[] = "0123456789abcdef";
    if (topic_name_is_allowed(key) && !is_hidden(key)) {
        memcpy(name, key.data, key.size);
        *result = bytes_of(name, key.size);
        return true;
    }
    uint32_t at = PREFIX_BYTES;
    memcpy(name, prefix, PREFIX_BYTES);
    for (uint32_t i = 0; i < key.size; i++) {
        uint8_t c = key.data[i];
        uint32_t size = is_plain(c) ? 1 : 3;
        if (size > TOPIC_NAME_BYTES_MAX - at) {
            return false;
        }
        name[at] = size == 1 ? c : '_';
        if (size == 3) {
            name[at + 1] = (uint8_t)digits[c >> 4];
            name[at + 2] = (uint8_t)digits[c & 15];
        }
        at += size;
    }
    *result = bytes_of(name, at);
    return true;
}

bool resp_name_key(struct bytes name, uint8_t *key, struct bytes *result)
{
    uint32_t size = 0;
    if (!is_hidden(name)) {
        memcpy(key, name.data, name.size);
        *result = bytes_of(key, name.size);
        return true;
    }
    if (!is_prefixed(name)) {
        return false;
    }
    for (uint32_t i = PREFIX_BYTES; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (c == '_') {
            int high = i + 2 < name.size ? resp_hex(name.data[i + 1]) : -1;
            int low = high >= 0 ? resp_hex(name.data[i + 2]) : -1;
            if (low < 0) {
                return false;
            }
            c = (uint8_t)(high * 16 + low);
            i += 2;
        }
        key[size++] = c;
    }
    *result = bytes_of(key, size);
    return true;
}

bool resp_key_partition(struct bytes key, struct bytes *topic, uint32_t *partition)
{
    uint64_t number;
    for (uint32_t i = key.size; i-- > 1;) {
        if (key.data[i] != '/') {
            continue;
        }
        *topic = bytes_of(key.data, i);
        if (!resp_parse_u64(bytes_of(key.data + i + 1, key.size - i - 1), &number) ||
            number >= TOPIC_PARTITIONS_MAX) {
            return false;
        }
        *partition = (uint32_t)number;
        return true;
    }
    return false;
}
