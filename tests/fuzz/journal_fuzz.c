/* The journal of a crashed life, whatever is in it: each block and entry is taken whole or not at
 * all, and what is taken stays inside what was read.
 *
 * The input is a list of edits {u16 position, u8 value, u8 what} to a sound journal of four blocks;
 * `what` says which checksums are made right again behind it, and where the file is cut. */
#include "core/assert.h"
#include "core/crc32c.h"
#include "core/limits.h"
#include "shard/frame.h"
#include "shard/replay.h"

#include <stdlib.h>
#include <string.h>

enum {
    BLOCKS = 4,
    BLOCK_BYTES = DISK_BLOCK_BYTES,
    JOURNAL_BYTES = (BLOCKS + 1) * BLOCK_BYTES, /* The last block has two. */
    BATCH_BYTES = 101,
    EDIT_BYTES = 4,
    EDITS_MAX = 8,
    SEGMENTS = 2,
};

#define JOURNAL_ID 0x4142434445464748U
#define SALT       0x5152535455565758U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- A sound journal. --- */

static uint32_t put_frame(uint8_t *at, uint64_t segment_id, uint64_t offset, uint64_t *chain)
{
    uint8_t frame_bytes[FRAME_HEADER_BYTES + FRAME_ROW_BYTES + BATCH_BYTES + 8] = {0};
    struct frame_row row = {.length = BATCH_BYTES, .records = 1, .ms = 1000};
    struct frame_header frame = {.salt = SALT,
                                 .segment_id = segment_id,
                                 .epoch = 1,
                                 .body_bytes = FRAME_ROW_BYTES + BATCH_BYTES,
                                 .offset_first = offset,
                                 .records = 1,
                                 .batches = 1,
                                 .chain = *chain};
    frame_row_encode(&row, frame_bytes + FRAME_HEADER_BYTES);
    frame.body_crc = frame_body_crc(frame_bytes + FRAME_HEADER_BYTES, frame.body_bytes);
    frame_header_encode(&frame, frame_bytes);
    *chain = frame_chain(frame_bytes);
    struct journal_entry entry = {.type = JOURNAL_FRAME,
                                  .segment_id = segment_id,
                                  .durable_end = offset,
                                  .staged_end = offset + 1,
                                  .body = {frame_bytes, frame_size(&frame)}};
    return journal_entry_encode(&entry, at);
}

static uint32_t put_record(uint8_t *at, uint64_t segment_id)
{
    uint8_t body[SEGMENT_RECORD_BYTES];
    struct segment_record record = {
        .segment_id = segment_id, .epoch = 1, .salt = SALT, .state = SEGMENT_OPEN, .boot = 3};
    segment_record_encode(&record, body);
    struct journal_entry entry = {
        .type = JOURNAL_SEGMENT, .segment_id = segment_id, .body = {body, SEGMENT_RECORD_BYTES}};
    return journal_entry_encode(&entry, at);
}

static void make_journal(uint8_t *at)
{
    uint64_t chains[SEGMENTS] = {SALT, SALT};
    memset(at, 0, JOURNAL_BYTES);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        uint8_t *block = at + (size_t)i * BLOCK_BYTES;
        struct journal_block_header header = {
            .flags = JOURNAL_WAITS,
            .journal_id = JOURNAL_ID,
            .seq = i + 1,
            .position = (uint64_t)i * BLOCK_BYTES,
            .length = i + 1 == BLOCKS ? 2 * BLOCK_BYTES : BLOCK_BYTES,
            .durable_seq = i,
            .tail_seq = 1,
            .boot = 3,
        };
        uint32_t used = JOURNAL_BLOCK_HEADER_BYTES;
        for (uint32_t j = 0; j < SEGMENTS; j++) {
            if (i == 0) {
                used += put_record(block + used, 7 + j);
                header.entries++;
            }
            used += put_frame(block + used, 7 + j, i, &chains[j]);
            header.entries++;
        }
        journal_block_encode(&header, block);
    }
}

/* --- Edits. --- */

/* Makes the checksums right of the entries and of the block that begins at `at`. */
static void mend(uint8_t *at, uint32_t room)
{
    uint32_t length = load_le32(at + 32);
    length = length > JOURNAL_BLOCK_HEADER_BYTES && length <= room ? length : BLOCK_BYTES;
    struct journal_block_header header = {.length = length, .entries = load_le32(at + 36)};
    struct journal_cursor cursor;
    struct journal_entry entry;
    journal_cursor_init(&cursor, at, &header);
    while (journal_cursor_next(&cursor, &entry)) {
        uint8_t *body = at + (entry.body.data - at);
        if (entry.type == JOURNAL_SEGMENT && entry.body.size == SEGMENT_RECORD_BYTES) {
            store_le32(body + SEGMENT_RECORD_BYTES - 4, crc32c(0, body, SEGMENT_RECORD_BYTES - 4));
        } else if (entry.type == JOURNAL_FRAME && entry.body.size >= FRAME_HEADER_BYTES) {
            uint32_t bytes = min_u32(load_le32(body + 28), entry.body.size - FRAME_HEADER_BYTES);
            store_le32(body + 88, frame_body_crc(body + FRAME_HEADER_BYTES, bytes));
            store_le32(body + 92, crc32c(0, body, 92));
        }
    }
    store_le32(at + 88,
               crc32c(0, at + JOURNAL_BLOCK_HEADER_BYTES, length - JOURNAL_BLOCK_HEADER_BYTES));
    store_le32(at + 92, crc32c(0, at, 92));
}

static uint32_t edit_all(uint8_t *journal, const uint8_t *data, size_t size)
{
    uint32_t bytes = JOURNAL_BYTES;
    for (size_t i = 0; (i + 1) * EDIT_BYTES <= size; i++) {
        const uint8_t *edit = data + i * EDIT_BYTES;
        uint32_t position = load_le16(edit) % JOURNAL_BYTES;
        uint32_t block = min_u32(position / BLOCK_BYTES, BLOCKS - 1) * BLOCK_BYTES;
        if ((edit[3] & 4) != 0) { /* Near the start of a block is what matters most. */
            position = block + position % 640;
        }
        journal[position] = edit[2];
        if ((edit[3] & 2) != 0) {
            mend(journal + block, JOURNAL_BYTES - block);
        }
        if ((edit[3] & 0xf0) == 0xf0) {
            bytes = position;
        }
    }
    return bytes;
}

/* --- What a start does with it. --- */

static bool inside(const struct replay *replay, const uint8_t *at, uint32_t size)
{
    for (const struct replay_run *run = replay->runs; run != NULL; run = run->next) {
        if (at >= run->bytes && at + size <= run->bytes + JOURNAL_BYTES) {
            return true;
        }
    }
    return false;
}

static enum err scan(struct replay *replay, uint8_t *journal, uint32_t step)
{
    struct replay_journal *info = &replay->journals[0];
    bool more = info->size > 0;
    while (more) {
        uint32_t left = (uint32_t)(info->size - replay->position);
        uint64_t before = replay->position;
        replay->window = journal + replay->position;
        replay->window_position = replay->position;
        replay->window_size = min_u32(left, step);
        enum err err = replay_scan(replay, &more);
        replay->window = NULL;
        if (err != OK) {
            return err;
        }
        if (more && replay->position == before) {
            ASSERT(step < left); /* A block that is longer than what was read. */
            step = left;
        }
    }
    return OK;
}

static enum err load(struct replay *replay, const uint8_t *journal)
{
    enum err err;
    uint64_t position;
    uint32_t size;
    while ((err = replay_plan_run(replay, &position, &size)) == OK && size > 0) {
        ASSERT(position + size <= replay->journals[0].size);
        memcpy(replay->runs->bytes, journal + position, size);
        err = replay_take_run(replay, size);
        ASSERT(err == OK || err == ERR_CORRUPT);
        if (err != OK) {
            return err;
        }
    }
    return err == OK ? replay_merge(replay) : err;
}

static void check(const struct replay *replay, bool untouched)
{
    uint32_t frames = 0;
    for (uint32_t i = 0; i < replay->segment_count; i++) {
        const struct replay_segment *segment = &replay->segments[i];
        ASSERT(segment->first + segment->count <= replay->entry_count);
        frames += segment->count;
        for (uint32_t j = segment->first; j < segment->first + segment->count; j++) {
            const struct replay_entry *entry = &replay->entries[j];
            ASSERT(entry->segment_id == segment->record.segment_id || !segment->known);
            ASSERT(inside(replay, entry->frame, entry->size));
        }
    }
    if (untouched) {
        ASSERT(replay->segment_count == SEGMENTS && frames == BLOCKS * SEGMENTS);
        ASSERT(replay->journals[0].tail == 1 && replay->journals[0].last == BLOCKS);
        ASSERT(replay->journals[0].hole == 0 && replay->record_count == SEGMENTS);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t sound[JOURNAL_BYTES];
    static struct segment_record known = {.segment_id = 8, .state = SEGMENT_OPEN, .maybe_end = 2};
    static struct manifest manifest = {.record_count = 1, .records = &known};
    if (size > 1 + EDITS_MAX * EDIT_BYTES) {
        return 0;
    }
    if (sound[0] == 0) {
        make_journal(sound);
    }
    uint8_t *journal = malloc(JOURNAL_BYTES);
    struct replay replay = {.manifest = &manifest, .journal_count = 1};
    replay.journals = calloc(1, sizeof(*replay.journals));
    ASSERT(journal != NULL && replay.journals != NULL);
    memcpy(journal, sound, JOURNAL_BYTES);
    bool touched = size > EDIT_BYTES;
    uint32_t bytes = touched ? edit_all(journal, data + 1, size - 1) : JOURNAL_BYTES;
    replay.journals[0].info.id = JOURNAL_ID;
    replay.journals[0].size = bytes & ~(uint32_t)(BLOCK_BYTES - 1);
    uint32_t step = size > 0 && (data[0] & 1) != 0 ? 3 * BLOCK_BYTES : JOURNAL_BYTES;
    enum err err = scan(&replay, journal, step);
    ASSERT(err == OK);
    replay_choose(&replay.journals[0]);
    err = load(&replay, journal);
    ASSERT(err == OK || touched);
    if (err == OK) {
        check(&replay, !touched);
    }
    replay_deinit(&replay);
    free(journal);
    return 0;
}
