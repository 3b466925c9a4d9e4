/* See the header. The rules are those of load.c; here nothing waits, and nothing is decided. */
#include "shard/inspect.h"

#include "core/assert.h"
#include "core/crc32c.h"
#include "shard/milestone.h"
#include "shard/trailer.h"

#include <stdlib.h>
#include <string.h>

enum {
    INSPECT_LOOK_BYTES = 256 << 10,          /* Read at once. */
    INSPECT_EXTENT_BYTES_MAX = INT32_MAX / 8 /* Larger than any: a length that lies. */
};

/* Makes room and reads; how many bytes are there, < 0: an err. */
static int64_t inspect_load(struct inspect *inspect, uint64_t position, uint32_t size)
{
    if (size > inspect->buffer_bytes) {
        uint8_t *grown = realloc(inspect->buffer, size);
        if (grown == NULL) {
            return ERR_NO_MEMORY;
        }
        inspect->buffer = grown;
        inspect->buffer_bytes = size;
    }
    return inspect->read(inspect->context, position, inspect->buffer, size);
}

enum err inspect_open(struct inspect *inspect)
{
    ASSERT(inspect->read != NULL && inspect->buffer == NULL);
    int64_t got = inspect_load(inspect, 0, SEGMENT_DATA_POSITION);
    if (got < 0) {
        return (enum err)got;
    }
    if (got < (int64_t)SEGMENT_DATA_POSITION) {
        return ERR_FOREIGN;
    }
    enum err err = segment_header_decode(inspect->buffer, &inspect->header);
    if (err != OK) {
        return err;
    }
    const struct segment_header *header = &inspect->header;
    err = segment_seal_decode(inspect->buffer + SEGMENT_SEAL_POSITION, &inspect->seal);
    inspect->sealed = err == OK && inspect->seal.segment_id == header->segment_id &&
                      inspect->seal.salt == header->salt;
    if (!inspect->sealed && err != ERR_NOT_FOUND) {
        inspect->problem = "the seal block is damaged";
    }
    inspect->producer_max = -1;
    inspect->timestamp_max = INT64_MIN;
    inspect->next = SEGMENT_DATA_POSITION;
    inspect->offset = header->base_offset;
    inspect->durable_end = header->base_offset;
    inspect->chain = header->salt;
    inspect->log_start = header->log_start;
    if (inspect->sealed) {
        inspect->log_start = max_u64(inspect->log_start, inspect->seal.log_start);
    }
    return OK;
}

static void inspect_note_producer(struct inspect *inspect, int64_t id)
{
    inspect->producer_max = id > inspect->producer_max ? id : inspect->producer_max;
}

/* Who wrote the batches of the current frame, and when. */
static void inspect_note_batches(struct inspect *inspect)
{
    const uint8_t *table = inspect->frame_at + FRAME_HEADER_BYTES;
    const uint8_t *at = table + inspect->frame.batches * (uint32_t)FRAME_ROW_BYTES;
    for (uint32_t i = 0; i < inspect->frame.batches; i++) {
        struct frame_row row;
        struct batch batch;
        frame_row_decode(table + i * FRAME_ROW_BYTES, &row);
        inspect->append_max = max_u64(inspect->append_max, row.ms);
        if (batch_parse(bytes_of(at, row.length), &batch) == OK) {
            inspect_note_producer(inspect, batch.producer_id);
            if (batch.max_timestamp > inspect->timestamp_max) {
                inspect->timestamp_max = batch.max_timestamp;
            }
        }
        at += row.length;
    }
}

/* Rows of producers end where the padding begins. */
static void inspect_note_rows(struct inspect *inspect)
{
    const uint8_t *at = inspect->buffer + EXTENT_HEADER_BYTES;
    uint32_t size = inspect->extent.padded_size - (uint32_t)EXTENT_HEADER_BYTES;
    for (uint32_t used = 0; size - used >= PRODUCER_ROW_BYTES && at[used + 10] != 0;
         used += PRODUCER_ROW_BYTES) {
        inspect_note_producer(inspect, (int64_t)load_le64(at + used));
    }
}

static void inspect_count(struct inspect *inspect)
{
    inspect_note_batches(inspect);
    const struct frame_header *frame = &inspect->frame;
    inspect->records += frame->records;
    inspect->batches += frame->batches;
    inspect->log_start = max_u64(inspect->log_start, frame->log_start);
    if (frame->batches > 0) { /* Else it is a note. */
        inspect->batch_bytes += frame->body_bytes - frame->batches * (uint32_t)FRAME_ROW_BYTES;
    }
}

/* Takes the next frame of the current extent, if there is one: why it is not sound; NULL: it is. */
static const char *inspect_frame(struct inspect *inspect)
{
    struct frame_header *frame = &inspect->frame;
    bool first = inspect->cursor.offset == inspect->extent.offset_first;
    const uint8_t *at;
    enum err err = frame_cursor_next(&inspect->cursor, frame, &at);
    if (err == ERR_NOT_FOUND) {
        return "an extent of frames has none";
    }
    if (err == ERR_CORRUPT) {
        return "a frame is damaged";
    }
    if (err != OK || frame->epoch != inspect->header.epoch) {
        return "a frame is not of this segment";
    }
    if (frame->offset_first != inspect->offset || frame->chain != inspect->chain ||
        (first && inspect->extent.chain != inspect->chain)) {
        return "a frame does not follow the one before it";
    }
    inspect->frame_at = at;
    inspect->frame_index = first ? 0 : inspect->frame_index + 1;
    inspect->offset += frame->records;
    inspect->chain = frame_chain(at);
    inspect_count(inspect);
    return NULL;
}

/* Why not all frames of the current extent are sound. It was one write: recovery takes all of it or
 * nothing (walk_extent()), since nobody was told of a part. */
static const char *inspect_frames(const struct inspect *inspect)
{
    struct inspect ahead = *inspect;
    const char *why;
    do {
        why = inspect_frame(&ahead);
    } while (why == NULL && ahead.cursor.frames > 0);
    return why;
}

static const char *inspect_trailer(struct inspect *inspect)
{
    struct bytes body =
        bytes_of(inspect->buffer + EXTENT_HEADER_BYTES, (uint32_t)inspect->seal.trailer_bytes);
    if (!inspect->sealed) {
        return NULL; /* A seal that did not come to its end: recovery passes over it. */
    }
    if (inspect->position != inspect->seal.trailer_position ||
        inspect->seal.trailer_bytes > inspect->extent.padded_size - EXTENT_HEADER_BYTES ||
        crc32c(0, body.data, body.size) != inspect->extent.frames_or_crc) {
        return "the trailer is damaged";
    }
    struct segment_index index;
    segment_index_init(&index);
    struct producer_table *producers = producer_table_create();
    enum err err = trailer_decode(body, &index, producers, NULL);
    segment_index_deinit(&index);
    if (producers != NULL && err == OK) {
        inspect_note_producer(inspect, producer_greatest(producers));
    }
    producer_table_destroy(producers);
    return err == ERR_CORRUPT ? "the trailer is damaged" : NULL;
}

/* Why the extent at `position`, of which `got` bytes are in the buffer, is not sound. */
static const char *inspect_extent(struct inspect *inspect, int64_t got)
{
    const struct extent_header *extent = &inspect->extent;
    const char *why;
    if (got < (int64_t)extent->padded_size) {
        return "the file ends inside an extent";
    }
    if (extent->boot < inspect->boot) {
        return "an extent is of an earlier start";
    }
    switch ((enum extent_type)extent->type) {
    case EXTENT_FRAMES:
        frame_cursor_init(&inspect->cursor, inspect->buffer, extent, inspect->header.segment_id);
        why = inspect->every_frame ? NULL : inspect_frames(inspect);
        inspect->cursor.checked = !inspect->every_frame;
        return why != NULL ? why : inspect_frame(inspect);
    case EXTENT_TRAILER:
        return inspect_trailer(inspect);
    case EXTENT_INDEX:
    case EXTENT_PRODUCERS:
        if (extent->offset_first != inspect->offset || extent->chain != inspect->chain ||
            !milestone_is_sound(inspect->buffer, extent)) {
            return "an extent of index or producers is damaged";
        }
        if (extent->type == EXTENT_PRODUCERS) {
            inspect_note_rows(inspect);
        }
        return NULL;
    }
    return "an extent is of an unknown type";
}

static enum err inspect_note_later(struct inspect *inspect, uint64_t position, uint32_t got)
{
    for (uint32_t at = 0; got - at >= DISK_BLOCK_BYTES; at += DISK_BLOCK_BYTES) {
        struct extent_header extent;
        if (extent_header_at(inspect->buffer + at, inspect->header.salt, position + at, &extent) !=
                OK ||
            extent.position == inspect->position || extent.boot < inspect->boot ||
            (extent.type == EXTENT_TRAILER && !inspect->sealed)) {
            continue;
        }
        uint32_t count = inspect->later_count;
        if (count == 0 || (count >= 64 && is_power_of_two(count))) {
            size_t capacity = max_u32(64, count * 2);
            struct inspect_later *grown =
                realloc(inspect->later, capacity * sizeof(*inspect->later));
            if (grown == NULL) {
                return ERR_NO_MEMORY;
            }
            inspect->later = grown;
        }
        inspect->later[inspect->later_count++] = (struct inspect_later){
            extent.position, extent.offset_first, extent.chain, extent.type == EXTENT_FRAMES};
    }
    return OK;
}

/* Behind what is not sound: does anything say that more was durable? */
static enum err inspect_hunt(struct inspect *inspect, uint64_t position)
{
    for (;;) {
        int64_t got = inspect_load(inspect, position, INSPECT_LOOK_BYTES);
        if (got < 0) {
            return (enum err)got;
        }
        inspect->durable_end =
            extent_evidence(bytes_of(inspect->buffer, (uint32_t)got), inspect->header.salt,
                            position, inspect->durable_end);
        enum err err = inspect_note_later(inspect, position, (uint32_t)got);
        if (err != OK) {
            return err;
        }
        if (got < (int64_t)INSPECT_LOOK_BYTES) {
            return OK;
        }
        position += (uint64_t)got;
    }
}

/* Does the seal say the same? NULL: it does. */
static const char *inspect_judge_seal(const struct inspect *inspect)
{
    const struct segment_seal *seal = &inspect->seal;
    if (inspect->offset < seal->end_offset) {
        return inspect->why != NULL ? inspect->why : "records that were durable are not there";
    }
    if (inspect->offset > seal->end_offset) {
        return "there is more than the seal says";
    }
    return inspect->chain != seal->digest ? "the digest of the seal is not that of the records"
                                          : inspect->why;
}

/* Is all there that was durable? NULL: it is. */
static const char *inspect_judge_open(const struct inspect *inspect)
{
    if (inspect->offset < inspect->durable_end) {
        return inspect->why != NULL ? inspect->why : "records that were durable are not there";
    }
    if (!inspect->spoken_of) {
        return NULL;
    }
    const struct segment_record *record = inspect->journal.record;
    if (record != NULL && record->salt != inspect->header.salt) {
        return "the file is not the one that the journal speaks of";
    }
    return journal_view_judge(inspect->journals, &inspect->journal, inspect->durable_end,
                              inspect->offset);
}

/* The journals gave what was missing before one of the later extents: the file goes on there. */
static bool inspect_resume(struct inspect *inspect)
{
    for (uint32_t i = 0; inspect->frame_at != NULL && i < inspect->later_count; i++) {
        const struct inspect_later *later = &inspect->later[i];
        if (later->frames && later->offset_first == inspect->offset &&
            later->chain == inspect->chain) {
            inspect->in_journal = false;
            inspect->next = later->position;
            inspect->extent.type = 0;
            return true;
        }
    }
    return false;
}

/* The next frame of the journals, or the end of everything. */
static enum err inspect_journal(struct inspect *inspect)
{
    const uint8_t *at =
        !inspect->spoken_of
            ? NULL
            : journal_view_next(inspect->journals, &inspect->journal, &inspect->journal_cursor);
    if (at != NULL) {
        enum err err = frame_header_decode(at, &inspect->frame);
        ASSERT(err == OK); /* As it was a moment ago. */
        inspect->frame_index = inspect->frame_at == NULL ? 0 : inspect->frame_index + 1;
        inspect->frame_at = at;
        inspect->offset = inspect->journal_cursor.offset;
        inspect->chain = inspect->journal_cursor.chain;
        inspect->journal_records += inspect->frame.records;
        inspect_count(inspect);
        return OK;
    }
    const char *problem =
        inspect->sealed ? inspect_judge_seal(inspect) : inspect_judge_open(inspect);
    inspect->frame_at = NULL;
    inspect->end = inspect->why != NULL ? INSPECT_END_TORN : INSPECT_END_CLEAN;
    if (problem != NULL) {
        inspect->end = INSPECT_END_DAMAGED;
        inspect->problem = problem;
    }
    return ERR_NOT_FOUND;
}

/* What is not sound was a milestone, if the extent behind it follows what was before: it is passed
 * over. Not so at the beginning: those producers stand nowhere else in the file. */
static bool inspect_pass(struct inspect *inspect)
{
    if (inspect->position == SEGMENT_DATA_POSITION) {
        return false;
    }
    for (uint32_t i = 0; i < inspect->later_count; i++) {
        const struct inspect_later *later = &inspect->later[i];
        if (later->offset_first == inspect->offset && later->chain == inspect->chain) {
            inspect->passed++;
            inspect->next = later->position;
            inspect->extent.type = 0;
            return true;
        }
    }
    return false;
}

/* No sound extent follows; `why` says what is wrong with what is there, NULL: nothing is there. */
static enum err inspect_finish(struct inspect *inspect, const char *why)
{
    inspect->later_count = 0;
    enum err err = inspect_hunt(inspect, inspect->position);
    if (err != OK) {
        return err;
    }
    inspect->again = inspect_pass(inspect);
    if (inspect->again) {
        return OK;
    }
    inspect->why = why;
    inspect->in_journal = true;
    inspect->frame_at = NULL;
    /* What a sealed file lacks is in no journal: it was complete. */
    inspect->spoken_of =
        !inspect->sealed && inspect->journals != NULL &&
        journal_view_find(inspect->journals, inspect->header.segment_id, &inspect->journal);
    inspect->journal_cursor.at = 0;
    inspect->journal_cursor.offset = inspect->offset;
    inspect->journal_cursor.chain = inspect->chain;
    return inspect_journal(inspect);
}

/* The next frame or extent; inspect->again: there is none yet. */
static enum err inspect_step(struct inspect *inspect)
{
    if (inspect->in_journal && !inspect_resume(inspect)) {
        return inspect_journal(inspect);
    }
    if (inspect->extent.type == EXTENT_FRAMES && inspect->cursor.frames > 0) {
        const char *wrong = inspect_frame(inspect);
        return wrong == NULL ? OK : inspect_finish(inspect, wrong);
    }
    inspect->position = inspect->next;
    if (inspect->extent.type == EXTENT_TRAILER && inspect->sealed) {
        return inspect_finish(inspect, NULL);
    }
    int64_t got = inspect_load(inspect, inspect->position, INSPECT_LOOK_BYTES);
    if (got < 0) {
        return (enum err)got;
    }
    if (got < (int64_t)DISK_BLOCK_BYTES) {
        return inspect_finish(inspect, got == 0 ? NULL : "the file ends inside a block");
    }
    if (extent_header_at(inspect->buffer, inspect->header.salt, inspect->position,
                         &inspect->extent) != OK) {
        bool damaged =
            extent_header_was_here(inspect->buffer, inspect->header.salt, inspect->position);
        return inspect_finish(inspect, damaged ? "the header of an extent is damaged" : NULL);
    }
    if (inspect->extent.padded_size > (uint64_t)got) {
        if (inspect->extent.padded_size > INSPECT_EXTENT_BYTES_MAX) {
            return inspect_finish(inspect, "the length of an extent is impossible");
        }
        got = inspect_load(inspect, inspect->position, inspect->extent.padded_size);
        if (got < 0) {
            return (enum err)got;
        }
    }
    const char *why = inspect_extent(inspect, got);
    if (why != NULL) {
        return inspect_finish(inspect, why);
    }
    inspect->boot = inspect->extent.boot;
    inspect->durable_end = max_u64(inspect->durable_end, inspect->extent.durable_end);
    inspect->next = inspect->position + inspect->extent.padded_size;
    return OK;
}

enum err inspect_next(struct inspect *inspect)
{
    enum err err;
    do {
        inspect->again = false;
        err = inspect_step(inspect);
    } while (err == OK && inspect->again);
    return err;
}

bool inspect_batch(const struct inspect *inspect, uint32_t index, struct inspect_batch *batch)
{
    bool frames =
        inspect->in_journal ? inspect->frame_at != NULL : inspect->extent.type == EXTENT_FRAMES;
    if (!frames || index >= inspect->frame.batches) {
        return false;
    }
    const uint8_t *table = inspect->frame_at + FRAME_HEADER_BYTES;
    const uint8_t *at = table + inspect->frame.batches * (uint32_t)FRAME_ROW_BYTES;
    batch->offset = inspect->frame.offset_first;
    for (uint32_t i = 0; i <= index; i++) {
        frame_row_decode(table + i * FRAME_ROW_BYTES, &batch->row);
        if (i < index) {
            at += batch->row.length;
            batch->offset += batch->row.records;
        }
    }
    enum err err = batch_parse(bytes_of(at, batch->row.length), &batch->batch);
    batch->records =
        err != OK ? (struct bytes){0}
                  : bytes_of(at + BATCH_HEADER_BYTES, batch->batch.length - BATCH_HEADER_BYTES);
    batch->crc_sound = err == OK && crc32c(0, at + BATCH_CRC_FROM,
                                           batch->row.length - BATCH_CRC_FROM) == batch->batch.crc;
    return true;
}

void inspect_close(struct inspect *inspect)
{
    free(inspect->buffer);
    free(inspect->later);
    inspect->buffer = NULL;
    inspect->later = NULL;
}
