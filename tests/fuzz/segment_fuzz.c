/* A segment file that was damaged: whatever is in it, a walk ends, stays inside and tells damage
 * from a torn tail.
 *
 * The input is a list of edits {u16 position / 2, u8 value, u8 what} to a sound file of three
 * frames, with a milestone before the last one; `what` says which checksums are made right again
 * behind it, and where the file is cut. */
#include "core/assert.h"
#include "core/crc32c.h"
#include "core/limits.h"
#include "shard/deleted.h"
#include "shard/inspect.h"
#include "shard/milestone.h"
#include "shard/trailer.h"
#include "shard/walk.h"

#include <stdlib.h>
#include <string.h>

enum {
    FRAMES = 3,
    MILESTONE_AT = 2,     /* Its two extents. */
    EXTENTS = FRAMES + 2, /* Before the trailer. */
    EXTENT_BYTES = DISK_BLOCK_BYTES,
    FILE_BYTES = SEGMENT_DATA_POSITION + (EXTENTS + 2) * EXTENT_BYTES,
    BATCH_BYTES = 100,
    NOTE_AT = 1, /* In the extent of this frame, behind it. */
    NOTE_POSITION =
        EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES + (FRAME_ROW_BYTES + BATCH_BYTES + 7) / 8 * 8,
    EDIT_BYTES = 4,
    EDITS_MAX = 16,
    DELETED_LOOK_MAX = 16,
};

#define SALT 0x4142434445464748U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct file {
    uint8_t bytes[FILE_BYTES];
    uint32_t size;
};

static uint64_t fuzz_bytes;

/* What deleted records take. */
static struct memory *fuzz_memory(void)
{
    static struct memory *memory;
    const struct memory_options options = {.limit_bytes = MEMORY_LIMIT_MIN, .numa_node = -1};
    if (memory == NULL) {
        enum err err = memory_open(&memory, &options);
        ASSERT(err == OK);
    }
    return memory;
}

/* Some, whose state is written; deleted_clear() is next. */
static void fuzz_deleted(struct deleted *deleted)
{
    deleted_init(deleted, fuzz_memory(), &fuzz_bytes);
    enum err err = deleted_add(deleted, 0, 1);
    ASSERT(err == OK);
    deleted->deleted_max.ms = 1000;
}

/* More of them: what touches the first one is one with it, and there is an end to how many. */
static void grow_deleted(struct deleted *deleted)
{
    uint32_t count = deleted->count;
    uint64_t end = 1; /* Of the first one, looked for below. */
    enum err err = deleted_reserve(deleted, DELETED_RANGES_MAX - count + 1);
    ASSERT(err == ERR_DELETIONS);
    ASSERT(deleted_bytes_with(deleted, 1) >= *deleted->bytes);
    if (!deleted_has(deleted, 0)) {
        return;
    }
    while (end < DELETED_LOOK_MAX && deleted_has(deleted, end)) {
        end++;
    }
    if (end < DELETED_LOOK_MAX) {
        ASSERT(deleted_growth(deleted, end, end + 1) == 0);
        err = deleted_add(deleted, end, end + 1);
        ASSERT(err == OK && deleted->count <= count && deleted_has(deleted, end));
    }
    err = deleted_reserve(deleted, DISK_BLOCK_BYTES / DELETED_RANGE_BYTES);
    ASSERT(err == OK && deleted_has(deleted, 0));
}

/* What was read is used, and says the same when it is written again. */
static void use_deleted(struct deleted *deleted)
{
    uint64_t all = deleted_between(deleted, 0, UINT64_MAX);
    ASSERT(all == deleted->records);
    uint8_t *again = malloc(deleted_size(deleted));
    ASSERT(again != NULL);
    deleted_encode(deleted, again);
    struct deleted twin;
    deleted_init(&twin, fuzz_memory(), &fuzz_bytes);
    enum err err = deleted_decode(&twin, bytes_of(again, deleted_size(deleted)));
    ASSERT(err == OK && twin.count == deleted->count && twin.records == deleted->records);
    free(again);
    deleted_clear(&twin);
    grow_deleted(deleted);
    deleted_hold(deleted, true);
    deleted_trim(deleted, FRAMES);
    ASSERT(!deleted_has(deleted, 0));
    deleted_hold(deleted, false);
    deleted_clear(deleted);
}

/* --- A sound file. --- */

static void put_batch(uint8_t *at, uint64_t offset)
{
    memset(at, 0x77, BATCH_BYTES);
    store_be64(at, offset);
    store_be32(at + 8, BATCH_BYTES - BATCH_PREFIX_BYTES);
    store_be32(at + 12, 1);
    at[16] = 2;
    store_be16(at + 21, 0);
    store_be32(at + 23, 0);
    store_be32(at + 57, 1);
    store_be32(at + 17, crc32c(0, at + BATCH_CRC_FROM, BATCH_BYTES - BATCH_CRC_FROM));
}

static uint64_t extent_position(uint32_t index)
{
    return SEGMENT_DATA_POSITION + index * (uint64_t)EXTENT_BYTES;
}

/* A control frame behind the one of the extent, with a note; the chain behind it. */
static uint64_t put_note(uint8_t *at, uint64_t chain, bool sets)
{
    struct note note = {.kind = sets ? NOTE_SET_LAST : NOTE_DELETE,
                        .sets = sets ? NOTE_SETS_ADDED : 0,
                        .deleted_max = {1000, 0},
                        .range_count = sets ? 0 : 1};
    struct deleted_range range = {0, 1};
    struct frame_header frame = {.flags = FRAME_CONTROL,
                                 .salt = SALT,
                                 .segment_id = 7,
                                 .epoch = 1,
                                 .body_bytes = sets ? (uint32_t)NOTE_SET_LAST_BYTES
                                                    : NOTE_DELETE_BYTES + DELETED_RANGE_BYTES,
                                 .offset_first = NOTE_AT + 1,
                                 .chain = chain};
    store_le32(at + 56, 2);
    store_le32(at + 60, crc32c(0, at, 60));
    at += NOTE_POSITION;
    uint8_t *behind = at + FRAME_HEADER_BYTES + note_encode(&note, at + FRAME_HEADER_BYTES);
    if (!sets) {
        note_range_encode(&range, behind);
    }
    frame.body_crc = frame_body_crc(at + FRAME_HEADER_BYTES, frame.body_bytes);
    frame_header_encode(&frame, at);
    return frame_chain(at);
}

/* One record of its own; the chain behind it. */
static uint64_t put_frame(uint8_t *file, uint32_t index, uint64_t chain, bool sets)
{
    uint64_t position = extent_position(index < MILESTONE_AT ? index : index + 2);
    uint8_t *at = file + position;
    uint8_t *body = at + EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES;
    struct extent_header extent = {.type = EXTENT_FRAMES,
                                   .salt = SALT,
                                   .position = position,
                                   .padded_size = EXTENT_BYTES,
                                   .boot = 3,
                                   .offset_first = index,
                                   .durable_end = index == 0 ? 0 : index - 1,
                                   .chain = chain,
                                   .frames_or_crc = 1};
    struct frame_row row = {.length = BATCH_BYTES, .records = 1, .ms = 1000 + index};
    struct frame_header frame = {.salt = SALT,
                                 .segment_id = 7,
                                 .epoch = 1,
                                 .body_bytes = FRAME_ROW_BYTES + BATCH_BYTES,
                                 .offset_first = index,
                                 .records = 1,
                                 .batches = 1,
                                 .chain = chain};
    frame_row_encode(&row, body);
    put_batch(body + FRAME_ROW_BYTES, index);
    frame.body_crc = frame_body_crc(body, frame.body_bytes);
    extent_header_encode(&extent, at);
    frame_header_encode(&frame, at + EXTENT_HEADER_BYTES);
    chain = frame_chain(at + EXTENT_HEADER_BYTES);
    return index == NOTE_AT ? put_note(at, chain, sets) : chain;
}

static void put_milestone(uint8_t *file, uint64_t chain)
{
    struct segment_index index;
    struct milestone milestone = {.producers_position = extent_position(MILESTONE_AT),
                                  .last_ms = 1001};
    uint8_t *at = file + extent_position(MILESTONE_AT);
    struct extent_header extent = {.type = EXTENT_PRODUCERS,
                                   .salt = SALT,
                                   .position = extent_position(MILESTONE_AT),
                                   .padded_size = EXTENT_BYTES,
                                   .boot = 3,
                                   .offset_first = MILESTONE_AT,
                                   .chain = chain};
    at[EXTENT_HEADER_BYTES + 10] = 1; /* A row. */
    struct deleted deleted;
    fuzz_deleted(&deleted);
    ASSERT(milestone_state_size(PRODUCER_ROW_BYTES, &deleted) <=
           EXTENT_BYTES - EXTENT_HEADER_BYTES);
    milestone_deleted_encode(&deleted, at + EXTENT_HEADER_BYTES + PRODUCER_ROW_BYTES);
    deleted_clear(&deleted);
    milestone_seal(&extent, at);
    segment_index_init(&index);
    enum err err = segment_index_add(&index, 0, SEGMENT_DATA_POSITION, 1000, 0, 0, EXTENT_BYTES);
    ASSERT(err == OK);
    at += EXTENT_BYTES;
    ASSERT(milestone_size(index.count) <= EXTENT_BYTES - EXTENT_HEADER_BYTES);
    milestone_encode(&milestone, &index, at + EXTENT_HEADER_BYTES);
    extent.type = EXTENT_INDEX;
    extent.position += EXTENT_BYTES;
    milestone_seal(&extent, at);
    segment_index_deinit(&index);
}

/* What is said in it, whatever it is, is read without harm. */
static void read_milestone(const struct inspect *inspect, const struct file *file)
{
    struct segment_index index;
    struct milestone milestone;
    struct producer_table *producers = producer_table_create();
    ASSERT(producers != NULL);
    const struct extent_header *extent = &inspect->extent;
    struct bytes body = bytes_of(file->bytes + inspect->position + EXTENT_HEADER_BYTES,
                                 extent->padded_size - (uint32_t)EXTENT_HEADER_BYTES);
    segment_index_init(&index);
    enum err err = extent->type == EXTENT_INDEX
                       ? milestone_decode(body, &milestone, &index)
                       : producer_decode(producers, milestone_producers(body));
    ASSERT(err == OK || err == ERR_CORRUPT);
    struct deleted deleted;
    deleted_init(&deleted, fuzz_memory(), &fuzz_bytes);
    err = milestone_deleted(body, &deleted);
    ASSERT(err == OK || err == ERR_CORRUPT);
    use_deleted(&deleted);
    segment_index_deinit(&index);
    producer_table_destroy(producers);
}

/* A control frame that is sound says what can be remembered. */
static void read_note(const struct inspect *inspect)
{
    const uint8_t *body = inspect->frame_at + FRAME_HEADER_BYTES;
    struct note note;
    struct deleted deleted;
    if ((inspect->frame.flags & FRAME_CONTROL) == 0 || inspect->frame.body_bytes == 0) {
        return;
    }
    fuzz_deleted(&deleted);
    enum err err = note_decode(bytes_of(body, inspect->frame.body_bytes), &note);
    ASSERT(err == OK);
    uint32_t growth = deleted_growth(&deleted, 5, 6);
    ASSERT(growth == 1);
    err = deleted_apply(&deleted, &note, 0);
    ASSERT(err == OK);
    for (uint32_t i = 0; i < note.range_count; i++) {
        ASSERT(deleted_has(&deleted, note_range(&note, i).first));
    }
    use_deleted(&deleted);
}

/* The sections of a trailer, whatever they are. */
static void read_trailer(const struct file *file)
{
    struct segment_index index;
    struct producer_table *producers = producer_table_create();
    ASSERT(producers != NULL);
    segment_index_init(&index);
    struct bytes body = bytes_of(file->bytes + extent_position(EXTENTS) + EXTENT_HEADER_BYTES,
                                 EXTENT_BYTES - EXTENT_HEADER_BYTES);
    struct deleted deleted;
    deleted_init(&deleted, fuzz_memory(), &fuzz_bytes);
    enum err err = trailer_decode(body, &index, producers, &deleted);
    ASSERT(err == OK || err == ERR_CORRUPT);
    use_deleted(&deleted);
    segment_index_deinit(&index);
    producer_table_destroy(producers);
}

static uint32_t put_sections(uint8_t *body)
{
    struct segment_index index;
    struct producer_table *producers = producer_table_create();
    ASSERT(producers != NULL);
    segment_index_init(&index);
    enum err err = segment_index_add(&index, 0, SEGMENT_DATA_POSITION, 1000, 0, 0, EXTENT_BYTES);
    ASSERT(err == OK);
    struct deleted deleted;
    fuzz_deleted(&deleted);
    trailer_encode(&index, producers, &deleted, body);
    uint32_t bytes = trailer_size(&index, producers, &deleted);
    deleted_clear(&deleted);
    segment_index_deinit(&index);
    producer_table_destroy(producers);
    return bytes;
}

static void put_trailer(uint8_t *file, uint64_t chain)
{
    uint64_t position = extent_position(EXTENTS);
    uint8_t *at = file + position;
    uint32_t bytes = put_sections(at + EXTENT_HEADER_BYTES);
    struct extent_header extent = {.type = EXTENT_TRAILER,
                                   .salt = SALT,
                                   .position = position,
                                   .padded_size = EXTENT_BYTES,
                                   .boot = 3,
                                   .offset_first = FRAMES,
                                   .durable_end = FRAMES,
                                   .chain = chain};
    struct segment_seal seal = {.segment_id = 7,
                                .salt = SALT,
                                .end_offset = FRAMES,
                                .digest = chain,
                                .trailer_position = position,
                                .trailer_bytes = bytes};
    extent.frames_or_crc = crc32c(0, at + EXTENT_HEADER_BYTES, bytes);
    extent_header_encode(&extent, at);
    segment_seal_encode(&seal, file + SEGMENT_SEAL_POSITION);
}

static void make_file(uint8_t *file, bool sealed)
{
    struct segment_header header = {.segment_id = 7, .epoch = 1, .salt = SALT, .name = "fuzz"};
    uint64_t chain = SALT;
    memset(file, 0, FILE_BYTES);
    segment_header_encode(&header, file);
    for (uint32_t i = 0; i < FRAMES; i++) {
        if (i == MILESTONE_AT) {
            put_milestone(file, chain);
        }
        chain = put_frame(file, i, chain, sealed);
    }
    if (sealed) {
        put_trailer(file, chain);
    }
}

/* --- Edits. --- */

/* Makes the checksums right of what `position` lies in. */
static void mend(uint8_t *file, uint32_t position)
{
    uint32_t block = position / DISK_BLOCK_BYTES * DISK_BLOCK_BYTES;
    uint8_t *at = file + block;
    if (block < SEGMENT_DATA_POSITION) {
        store_le32(at + 4092, crc32c(0, at, 4092));
        return;
    }
    if (at[5] == EXTENT_INDEX || at[5] == EXTENT_PRODUCERS) {
        uint8_t *from = at + EXTENT_HEADER_BYTES;
        store_le32(at + 56, crc32c(0, from, EXTENT_BYTES - EXTENT_HEADER_BYTES));
        store_le32(at + 60, crc32c(0, at, 60));
        return;
    }
    if (at[5] == EXTENT_TRAILER) {
        uint32_t bytes = load_le32(file + SEGMENT_SEAL_POSITION + 56);
        bytes = min_u32(bytes, EXTENT_BYTES - EXTENT_HEADER_BYTES);
        store_le32(at + 56, crc32c(0, at + EXTENT_HEADER_BYTES, bytes));
        store_le32(at + 60, crc32c(0, at, 60));
        return;
    }
    bool note = block == extent_position(NOTE_AT) && position - block >= NOTE_POSITION;
    uint8_t *frame = at + (note ? (uint32_t)NOTE_POSITION : EXTENT_HEADER_BYTES);
    uint32_t room = EXTENT_BYTES - (uint32_t)(frame - at) - FRAME_HEADER_BYTES;
    uint32_t body = min_u32(load_le32(frame + 28), room);
    store_le32(frame + 88, frame_body_crc(frame + FRAME_HEADER_BYTES, body));
    store_le32(frame + 92, crc32c(0, frame, 92));
    store_le32(at + 60, crc32c(0, at, 60));
}

static int64_t file_read(void *context, uint64_t position, uint8_t *data, uint32_t size)
{
    const struct file *file = context;
    if (position >= file->size) {
        return 0;
    }
    uint32_t got = (uint32_t)min_u64(size, file->size - position);
    memcpy(data, file->bytes + position, got);
    return got;
}

/* Where it ends. */
static uint64_t walk(struct file *file, bool untouched, bool sealed, bool every_frame)
{
    struct inspect inspect = {.read = file_read, .context = file, .every_frame = every_frame};
    enum err err = inspect_open(&inspect);
    uint64_t before = 0;
    while (err == OK) {
        err = inspect_next(&inspect);
        bool same = inspect.frame_index > 0 && inspect.position + 1 == before;
        ASSERT(err != OK || inspect.position >= before || same);
        ASSERT(err != OK || inspect.position + inspect.extent.padded_size <= file->size);
        before = inspect.position + 1;
        if (err == OK && !inspect.in_journal &&
            (inspect.extent.type == EXTENT_INDEX || inspect.extent.type == EXTENT_PRODUCERS)) {
            read_milestone(&inspect, file);
        } else if (err == OK && inspect.extent.type == EXTENT_FRAMES) {
            read_note(&inspect);
        }
        struct inspect_batch batch;
        for (uint32_t i = 0; err == OK && inspect_batch(&inspect, i, &batch); i++) {
            ASSERT(batch.offset < inspect.offset);
        }
    }
    if (err == ERR_NOT_FOUND) {
        ASSERT((inspect.end == INSPECT_END_DAMAGED) <= (inspect.problem != NULL));
    }
    if (untouched) {
        ASSERT(err == ERR_NOT_FOUND && inspect.problem == NULL);
        ASSERT(inspect.end == INSPECT_END_CLEAN && inspect.sealed == sealed);
        ASSERT(inspect.offset == FRAMES && inspect.batches == FRAMES);
        ASSERT(inspect.passed == 0);
    }
    inspect_close(&inspect);
    return inspect.offset;
}

/* As a start does: along the extents that are sound, past a torn one, and what those behind say. */
static void recover(struct file *file, bool untouched)
{
    struct walk walk = {.segment_id = 7,
                        .salt = SALT,
                        .epoch = 1,
                        .position = SEGMENT_DATA_POSITION,
                        .chain = SALT};
    struct segment_info segment = {.id = 7, .epoch = 1, .salt = SALT};
    struct bytes rest;
    uint64_t before;
    do {
        struct extent_header extent;
        before = walk.position;
        while (walk.position + DISK_BLOCK_BYTES <= file->size &&
               walk_extent(&walk, file->bytes + walk.position,
                           (uint32_t)(file->size - walk.position), &extent) == OK) {
            ASSERT(walk.position <= file->size);
            struct frame_header frame;
            const uint8_t *at = file->bytes + extent.position + EXTENT_HEADER_BYTES;
            bool frames = extent.type == EXTENT_FRAMES;
            ASSERT(!frames || frame_header_in(at, &extent, 7, &frame) == OK);
        }
        uint64_t left = file->size > walk.position ? file->size - walk.position : 0;
        rest = bytes_of(file->bytes + walk.position, (uint32_t)left & ~(DISK_BLOCK_BYTES - 1U));
    } while (walk.position > before && walk_resume(&walk, rest, walk.position));
    ASSERT(walk.offset <= FRAMES || !untouched);
    ASSERT(!untouched || (walk.offset == FRAMES && walk.evidence == 1));
    uint64_t evidence = extent_evidence(rest, SALT, walk.position, walk.evidence);
    ASSERT(evidence >= walk.evidence);
    uint64_t last = extent_last(rest, SALT, walk.position, walk.position);
    ASSERT(last >= walk.position);
    (void)frame_log_start(bytes_of(file->bytes + SEGMENT_DATA_POSITION,
                                   (file->size - SEGMENT_DATA_POSITION) & ~(DISK_BLOCK_BYTES - 1U)),
                          &segment, SEGMENT_DATA_POSITION, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t sound[2][FILE_BYTES];
    if (sound[0][0] == 0) {
        make_file(sound[0], false);
        make_file(sound[1], true);
    }
    struct file *file = malloc(sizeof(*file));
    ASSERT(file != NULL);
    bool sealed = size > 0 && (data[0] & 1) != 0;
    memcpy(file->bytes, sound[sealed], FILE_BYTES);
    file->size = FILE_BYTES;
    size_t edits = size < 1 ? 0 : (size - 1) / EDIT_BYTES;
    for (size_t i = 0; i < edits && i < EDITS_MAX; i++) {
        const uint8_t *edit = data + 1 + i * EDIT_BYTES;
        uint32_t position = load_le16(edit) * 2U % FILE_BYTES + (edit[3] & 1);
        file->bytes[position] = edit[2];
        if ((edit[3] & 2) != 0) {
            mend(file->bytes, position);
        }
        if ((edit[3] & 0xf0) == 0xf0) {
            file->size = position;
        }
    }
    if (file->size >= SEGMENT_DATA_POSITION) {
        recover(file, edits == 0);
    }
    read_trailer(file);
    uint64_t whole = walk(file, edits == 0, sealed, false);
    ASSERT(whole <= walk(file, edits == 0, sealed, true));
    free(file);
    return 0;
}
