/* See the header. */
#include "net/resp/run.h"

#include "core/assert.h"
#include "core/err.h"
#include "net/resp/text.h"
#include "net/resp/trim.h"
#include "shard/batch.h"

#include <string.h>

enum { LOOKED_AT_MAX = 12 }; /* Arguments in which the ID is looked for: options are six words. */

/* Where the ID stands if it is `*`; 0: it does not. */
static uint32_t run_id_at(const struct bytes *arguments, uint32_t count)
{
    struct resp_trim trim = {0};
    const char *error;
    uint32_t at = 2;
    for (uint32_t before = 0; at + 2 < count && at != before;) {
        before = at;
        if (arguments[at].size == 1 && arguments[at].data[0] == '*') {
            return at;
        }
        if (resp_is(arguments[at], "NOMKSTREAM")) {
            at++;
        } else if (!resp_trim_parse(arguments, count, &at, &trim, &error)) {
            return 0;
        }
    }
    return 0;
}

bool resp_run_begin(struct bytes input, uint32_t first, struct resp_run *run)
{
    struct bytes frame = bytes_of(input.data, first);
    struct bytes arguments[LOOKED_AT_MAX];
    if (input.size == first || frame.data[0] != '*') {
        return false;
    }
    uint32_t count = resp_arguments_max(frame);
    uint32_t seen = min_u32(count, LOOKED_AT_MAX);
    if (count < 3) {
        return false;
    }
    (void)resp_split_some(frame, resp_head_bytes(frame), arguments, seen);
    uint32_t id_at = 0;
    if (resp_is(arguments[0], "XADD")) {
        id_at = run_id_at(arguments, seen);
        if (id_at == 0 || (count - id_at) % 2 == 0) { /* Fields come in pairs. */
            return false;
        }
    } else if (count == 3 && resp_is(arguments[0], "PUT")) {
        id_at = 1;
    } else {
        return false;
    }
    struct bytes last = arguments[id_at];
    *run = (struct resp_run){
        .head_bytes = (uint32_t)(last.data + last.size - frame.data) + 2,
        .behind = count - id_at - 1,
        .key = arguments[1],
    };
    ASSERT(run->behind > 0 && run->head_bytes < first);
    return input.size - first > run->head_bytes &&
           memcmp(input.data + first, input.data, run->head_bytes) == 0;
}

/* The size of the command at the beginning of `input`, if it is one of the run and whole; 0. */
static uint32_t run_command(struct bytes input, const uint8_t *head, const struct resp_run *run)
{
    if (input.size <= run->head_bytes || memcmp(input.data, head, run->head_bytes) != 0) {
        return 0;
    }
    struct resp_scan scan = {
        .position = run->head_bytes,
        .searched = run->head_bytes,
        .arguments = run->behind,
        .array = true,
    };
    int64_t size = resp_scan(&scan, input);
    return size < 0 ? 0 : (uint32_t)size; /* What is malformed is told when it is its turn. */
}

uint64_t resp_run_room(uint64_t bytes, uint32_t commands)
{
    return bytes + (uint64_t)commands * RESP_RUN_SPARE_BYTES + BATCH_HEADER_BYTES;
}

uint32_t resp_run_measure(struct bytes input, uint32_t first, uint32_t bytes_max,
                          struct resp_run *run)
{
    bytes_max = min_u32(bytes_max, RESP_RUN_BYTES_MAX);
    uint32_t size = first;
    for (run->commands = 1; run->commands < RESP_RUN_COMMANDS_MAX; run->commands++) {
        struct bytes rest = bytes_of(input.data + size, input.size - size);
        uint32_t next = run_command(rest, input.data, run);
        if (next == 0 || resp_run_room((uint64_t)size + next, run->commands + 1) > bytes_max) {
            break;
        }
        size += next;
    }
    return size;
}

void resp_run_next(struct bytes frame, uint32_t head_bytes, uint32_t behind, uint32_t *position,
                   struct bytes *arguments)
{
    ASSERT(*position < frame.size);
    *position = resp_split_some(frame, *position + head_bytes, arguments, behind);
}
