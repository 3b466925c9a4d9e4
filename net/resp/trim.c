/* See the header. */
#include "net/resp/trim.h"

#include "core/assert.h"
#include "net/resp/text.h"

enum {
    NODE_DEFAULT = 100,
    LIMIT_NODES = 100, /* What goes at once with ~, unless LIMIT says otherwise. */
    LIMIT_MAX = 1000000,
};

static bool trim_threshold(struct bytes text, struct resp_trim *trim, const char **error)
{
    int64_t length;
    if (trim->kind == RESP_TRIM_ID) {
        *error = "ERR Invalid stream ID specified as stream command argument";
        return resp_parse_id(text, 0, &trim->id, NULL) && text.data[0] != '-' &&
               text.data[0] != '+';
    }
    if (!resp_parse_i64(text, &length)) {
        *error = "ERR value is not an integer or out of range";
        return false;
    }
    *error = "ERR The MAXLEN argument must be >= 0.";
    trim->length = (uint64_t)length;
    return length >= 0;
}

static bool trim_limit(struct bytes text, struct resp_trim *trim, const char **error)
{
    int64_t limit;
    if (!resp_parse_i64(text, &limit)) {
        *error = "ERR value is not an integer or out of range";
        return false;
    }
    *error = "ERR The LIMIT argument must be >= 0.";
    trim->limit = (uint64_t)limit;
    trim->limited = true;
    return limit >= 0;
}

bool resp_trim_parse(const struct bytes *arguments, uint32_t count, uint32_t *at,
                     struct resp_trim *trim, const char **error)
{
    bool length = resp_is(arguments[*at], "MAXLEN");
    if (*at + 1 >= count) {
        return true;
    }
    if (resp_is(arguments[*at], "LIMIT")) {
        *at += 2;
        return trim_limit(arguments[*at - 1], trim, error);
    }
    if (!length && !resp_is(arguments[*at], "MINID")) {
        return true;
    }
    if (trim->kind != RESP_TRIM_NONE) {
        *error = "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
        return false;
    }
    trim->kind = length ? RESP_TRIM_LENGTH : RESP_TRIM_ID;
    ++*at;
    trim->about = resp_is(arguments[*at], "~");
    if (*at + 1 < count && (trim->about || resp_is(arguments[*at], "="))) {
        ++*at;
    }
    return trim_threshold(arguments[(*at)++], trim, error);
}

bool resp_trim_check(const struct resp_trim *trim, const char **error)
{
    *error = "ERR syntax error, LIMIT cannot be used without the special ~ option";
    return !trim->limited || trim->about;
}

uint64_t resp_trim_target(const struct resp_trim *trim, uint64_t start, uint64_t end,
                          uint64_t offset, uint32_t node)
{
    ASSERT(start <= end);
    uint64_t target = start;
    uint64_t nodes = node == 0 ? NODE_DEFAULT : node;
    if (trim->kind == RESP_TRIM_LENGTH && end - start > trim->length) {
        target = end - trim->length;
    } else if (trim->kind == RESP_TRIM_ID) {
        target = max_u64(start, min_u64(offset, end));
    }
    if (!trim->about) {
        return target;
    }
    uint64_t limit = trim->limited ? trim->limit : min_u64(LIMIT_NODES * nodes, LIMIT_MAX);
    target = target / nodes * nodes;
    if (limit > 0) {
        target = min_u64(target, (start + limit) / nodes * nodes);
    }
    return max_u64(target, start);
}

uint64_t resp_live_from(uint64_t from, uint64_t to, uint64_t count, uint64_t deleted)
{
    ASSERT(from <= to);
    uint64_t room = to - from;
    return count >= room || deleted >= room - count ? from : to - count - deleted;
}
