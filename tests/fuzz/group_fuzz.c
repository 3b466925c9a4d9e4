/* Whatever stands in the log of groups: a record is taken, or it is told that it does not parse;
 * what was taken is written again as it can be read.
 *
 * Records, each: kind u8 (mod 4: a group of a stream, a reader, a chunk, a classic group), number
 * u8 (mod 8), size u8, value. */
#include "core/assert.h"
#include "net/group/classic.h"
#include "net/group/stream.h"

#include <stdlib.h>
#include <string.h>

enum { FUZZ_INPUT_BYTES_MAX = 4096, FUZZ_CLASSIC = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_classic(struct group_memory *memory, struct bytes value)
{
    struct classic group;
    classic_init(&group);
    if (classic_record_decode(&group, value, memory)) {
        uint32_t size = classic_record_size(&group);
        uint8_t *copy = malloc(size);
        ASSERT(copy != NULL);
        struct bytes_writer writer = bytes_writer(copy, size);
        classic_record_encode(&group, &writer);
        ASSERT(!writer.failed && writer.position == size);
        free(copy);
    }
    classic_deinit(&group, memory);
}

static void fuzz_write(struct group_item *item, struct stream_group *group,
                       enum group_item_kind kind, uint32_t number)
{
    uint32_t size = stream_value_size(item);
    uint8_t *copy = malloc(size);
    bool sound;
    ASSERT(copy != NULL);
    struct bytes_writer writer = bytes_writer(copy, size);
    stream_value_encode(item, &writer);
    ASSERT(!writer.failed && writer.position == size);
    (void)stream_load(group, kind, number, bytes_of(copy, size), &sound);
    ASSERT(sound);
    free(copy);
}

static void fuzz_check(const struct stream_group *group)
{
    uint64_t counted = 0;
    struct stream_id before = {0, 0};
    const struct stream_entry *entry;
    for (struct pending_place place = {0, 0}; (entry = pending_at(group, place)) != NULL;
         pending_step(group, &place)) {
        ASSERT(counted++ == 0 || stream_id_compare(before, entry->id) < 0);
        ASSERT(pending_find(group, entry->id) == entry);
        before = entry->id;
    }
    ASSERT(counted == group->pending);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct group_memory memory = {.max_bytes = MIB(4)};
    struct stream_group group = {0};
    struct bytes_reader reader;
    if (size > FUZZ_INPUT_BYTES_MAX) {
        return 0;
    }
    stream_init(&group, &memory);
    reader = bytes_reader(bytes_of(data, (uint32_t)size));
    while (bytes_left(&reader) >= 3) {
        uint32_t kind = read_u8(&reader) % 4;
        uint32_t number = read_u8(&reader) % 8;
        uint32_t wanted = read_u8(&reader);
        uint32_t length = min_u32(wanted, bytes_left(&reader));
        struct bytes view = read_bytes(&reader, length);
        uint8_t *copy = malloc(length + (length == 0)); /* Of exact size, for the sanitizer. */
        ASSERT(copy != NULL);
        if (length > 0) {
            memcpy(copy, view.data, length);
        }
        struct bytes value = bytes_of(copy, length);
        enum group_item_kind item_kind = (enum group_item_kind)(GROUP_ITEM_STREAM + kind);
        bool sound = true;
        struct group_item *item = NULL;
        if (kind == FUZZ_CLASSIC) {
            fuzz_classic(&memory, value);
        } else if (kind > 0 || length > 0) {
            item = stream_load(&group, item_kind, number, value, &sound);
        }
        free(copy);
        if (item != NULL) {
            fuzz_write(item, &group, item_kind, number);
        }
        if (!sound) {
            break; /* A log like this is read no further. */
        }
    }
    if (stream_loaded(&group)) {
        fuzz_check(&group);
    }
    stream_deinit(&group);
    ASSERT(memory.used_bytes == 0);
    return 0;
}
