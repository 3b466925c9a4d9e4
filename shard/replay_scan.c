/* Journals as a crash left them: which blocks are whole, and which of these count.
 *
 *     D     the greatest durable seq that any valid block claims
 *     last  the greatest block, not below D, from whose own tail on every block up to it is valid:
 *           the tail of a block behind a gap names copies that are not replayed
 *     none such: journal damage. What follows D without a gap still counts; a block of [tail, D]
 *           that is not there was durable, and may have held acked frames of any segment */
#include "shard/replay.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/limits.h"
#include "shard/frame.h"

#include <stdlib.h>
#include <string.h>

static int block_order(const void *left, const void *right)
{
    const struct replay_block *a = left;
    const struct replay_block *b = right;
    return (a->seq > b->seq) - (a->seq < b->seq);
}

/* The block with this seq, or NULL; blocks are sorted. */
static const struct replay_block *block_find(const struct replay_journal *journal, uint64_t seq)
{
    struct replay_block key = {.seq = seq};
    return journal->block_count == 0
               ? NULL
               : bsearch(&key, journal->blocks, journal->block_count, sizeof(key), block_order);
}

/* Nothing is complete: what can be had of it. */
static void replay_choose_damaged(struct replay_journal *journal, uint64_t durable)
{
    uint64_t run = durable;
    while (block_find(journal, run + 1) != NULL) {
        run++;
    }
    const struct replay_block *newest = NULL;
    for (uint32_t i = 0; i < journal->block_count && journal->blocks[i].seq <= run; i++) {
        newest = &journal->blocks[i];
    }
    journal->tail = newest == NULL ? 1 : newest->tail_seq;
    journal->last = run;
    uint64_t gone = durable; /* From there up to it all are there. */
    for (uint32_t i = journal->block_count; i > 0 && gone > 0; i--) {
        gone -= journal->blocks[i - 1].seq == gone;
    }
    if (gone >= journal->tail && gone > 0) {
        COVER("a block of the journal that was durable is gone");
        journal->hole = gone;
    }
}

void replay_choose(struct replay_journal *journal)
{
    uint64_t durable = 0;
    if (journal->block_count > 0) {
        qsort(journal->blocks, journal->block_count, sizeof(*journal->blocks), block_order);
    }
    for (uint32_t i = 0; i < journal->block_count; i++) {
        durable = max_u64(durable, journal->blocks[i].durable_seq);
    }
    uint64_t run_from = 0; /* Of the blocks that end at i without a gap. */
    for (uint32_t i = 0; i < journal->block_count; i++) {
        const struct replay_block *block = &journal->blocks[i];
        bool follows = i > 0 && journal->blocks[i - 1].seq + 1 == block->seq;
        run_from = follows ? run_from : block->seq;
        if (block->seq >= durable && (block->tail_seq >= run_from || MUTANT("tail-behind-a-gap"))) {
            journal->last = block->seq;
            journal->tail = block->tail_seq;
        }
    }
    if (MUTANT("last-is-durable")) {
        journal->last = min_u64(journal->last, durable);
    }
    if (journal->last == 0 && (durable > 0 || journal->block_count > 0)) {
        replay_choose_damaged(journal, durable);
    }
}

static enum err replay_grow(void **array, uint32_t *capacity, uint32_t count, size_t size)
{
    if (count < *capacity) {
        return OK;
    }
    uint32_t wanted = max_u32(256, *capacity * 2);
    void *grown = realloc(*array, wanted * size);
    if (grown == NULL) {
        return ERR_NO_MEMORY;
    }
    *array = grown;
    *capacity = wanted;
    return OK;
}

static enum err replay_add_record(struct replay *replay, const struct journal_entry *entry,
                                  struct replay_entry *made)
{
    void *array = replay->records;
    enum err err = replay_grow(&array, &replay->record_capacity, replay->record_count,
                               sizeof(struct segment_record));
    replay->records = array;
    if (err != OK) {
        return err;
    }
    struct segment_record *record = &replay->records[replay->record_count];
    if (entry->body.size != SEGMENT_RECORD_BYTES ||
        segment_record_decode(entry->body.data, record) != OK ||
        record->segment_id != entry->segment_id) {
        return ERR_CORRUPT;
    }
    made->record = replay->record_count++;
    return OK;
}

/* One entry of a block that counts. */
static enum err replay_add_entry(struct replay *replay, const struct journal_entry *entry,
                                 uint64_t seq)
{
    void *array = replay->entries;
    enum err err = replay_grow(&array, &replay->entry_capacity, replay->entry_count,
                               sizeof(struct replay_entry));
    replay->entries = array;
    if (err != OK) {
        return err;
    }
    struct replay_entry made = {
        .segment_id = entry->segment_id,
        .seq = seq,
        .durable_end = entry->durable_end,
        .staged_end = entry->staged_end,
        .journal = replay->journal_at,
    };
    if (entry->type == JOURNAL_SEGMENT) {
        err = replay_add_record(replay, entry, &made);
    } else if (entry->type == JOURNAL_FRAME) {
        struct frame_header frame;
        const uint8_t *at = entry->body.data;
        bool sound =
            entry->body.size >= FRAME_HEADER_BYTES && frame_header_decode(at, &frame) == OK &&
            frame.segment_id == entry->segment_id && frame_size(&frame) == entry->body.size;
        err = sound ? frame_check_body(&frame, at + FRAME_HEADER_BYTES) : ERR_CORRUPT;
        if (err == OK) {
            made.offset_first = frame.offset_first;
            made.offset_end = frame.offset_first + frame.records;
            made.frame = at;
            made.size = entry->body.size;
            made.chain = frame.chain;
            made.chain_end = frame_chain(at);
        }
    } else {
        return OK; /* Of a later floe. */
    }
    if (err == OK) {
        replay->entries[replay->entry_count++] = made;
    }
    return err;
}

static enum err replay_add_block(struct replay_journal *journal,
                                 const struct journal_block_header *header)
{
    uint32_t count = journal->block_count;
    if (count == 0 || (count >= 64 && is_power_of_two(count))) {
        size_t capacity = max_u32(64, count * 2);
        struct replay_block *grown = realloc(journal->blocks, capacity * sizeof(*journal->blocks));
        if (grown == NULL) {
            return ERR_NO_MEMORY;
        }
        journal->blocks = grown;
    }
    journal->blocks[journal->block_count++] = (struct replay_block){
        .seq = header->seq,
        .durable_seq = header->durable_seq,
        .tail_seq = header->tail_seq,
        .position = header->position,
        .length = header->length,
    };
    return OK;
}

enum err replay_scan(struct replay *replay, bool *more)
{
    struct replay_journal *journal = &replay->journals[replay->journal_at];
    uint64_t end = replay->window_position + replay->window_size;
    *more = true;
    while (replay->position + DISK_BLOCK_BYTES <= end) {
        const uint8_t *at = replay->window + (replay->position - replay->window_position);
        struct journal_block_header header;
        uint64_t step = DISK_BLOCK_BYTES;
        if (journal_block_peek(at, journal->info.id, replay->position, &header) == OK) {
            bool fits = header.length <= journal->size - replay->position;
            if (fits && header.length > end - replay->position) {
                return OK;
            }
            if (fits && journal_block_check(at, &header) == OK) {
                enum err err = replay_add_block(journal, &header);
                if (err != OK) {
                    return err;
                }
                step = header.length;
            }
        }
        replay->position += step;
    }
    *more = replay->position + DISK_BLOCK_BYTES <= journal->size;
    return OK;
}

enum err replay_plan_run(struct replay *replay, uint64_t *position, uint32_t *size)
{
    const struct replay_journal *journal = &replay->journals[replay->journal_at];
    uint32_t at = replay->block_at;
    *size = 0;
    while (at < journal->block_count &&
           (journal->blocks[at].seq < journal->tail || journal->blocks[at].seq > journal->last)) {
        at++;
    }
    replay->block_at = at;
    if (at == journal->block_count) {
        replay->block_end = at;
        return OK;
    }
    *position = journal->blocks[at].position;
    do {
        *size += journal->blocks[at].length;
        at++;
    } while (at < journal->block_count && journal->blocks[at].seq <= journal->last &&
             journal->blocks[at].position == *position + *size &&
             *size + journal->blocks[at].length <= REPLAY_WINDOW_BYTES);
    replay->block_end = at;
    struct replay_run *run = calloc(1, sizeof(*run));
    if (run == NULL) {
        return ERR_NO_MEMORY;
    }
    run->next = replay->runs;
    replay->runs = run;
    run->bytes = aligned_alloc(DISK_BLOCK_BYTES, *size);
    return run->bytes == NULL ? ERR_NO_MEMORY : OK;
}

enum err replay_take_run(struct replay *replay, uint32_t size)
{
    const struct replay_journal *journal = &replay->journals[replay->journal_at];
    const uint8_t *at = replay->runs->bytes;
    enum err err = OK;
    for (; replay->block_at < replay->block_end && err == OK; replay->block_at++) {
        const struct replay_block *block = &journal->blocks[replay->block_at];
        struct journal_block_header header;
        struct journal_cursor cursor;
        struct journal_entry entry;
        if (size < block->length ||
            journal_block_peek(at, journal->info.id, block->position, &header) != OK ||
            journal_block_check(at, &header) != OK) {
            return ERR_IO; /* It was there a moment ago. */
        }
        journal_cursor_init(&cursor, at, &header);
        while (err == OK && journal_cursor_next(&cursor, &entry)) {
            err = replay_add_entry(replay, &entry, block->seq);
        }
        at += block->length;
        size -= block->length;
    }
    return err;
}

/* By segment, and there by offset; of the same frame the later block first. */
static int entry_order(const void *left, const void *right)
{
    const struct replay_entry *a = left;
    const struct replay_entry *b = right;
    if (a->segment_id != b->segment_id) {
        return a->segment_id < b->segment_id ? -1 : 1;
    }
    if ((a->size == 0) != (b->size == 0)) {
        return a->size == 0 ? -1 : 1; /* Records, then frames. */
    }
    if (a->offset_first != b->offset_first) {
        return a->offset_first < b->offset_first ? -1 : 1;
    }
    return (a->seq < b->seq) - (a->seq > b->seq);
}

static void segment_take_record(struct replay_segment *segment, const struct segment_record *record)
{
    bool newer = !segment->known || record->checkpoint_offset > segment->record.checkpoint_offset ||
                 record->boot > segment->record.boot;
    segment->evidence = max_u64(segment->evidence, record->checkpoint_offset);
    segment->evidence = max_u64(segment->evidence, record->maybe_end);
    uint32_t marks = segment->record.marks | record->marks;
    uint64_t index_position = max_u64(segment->record.index_position, record->index_position);
    if (newer) {
        segment->record = *record;
    }
    segment->record.marks = marks;
    segment->record.index_position = index_position; /* It may be all that a later one adds. */
    segment->known = true;
}

static void segment_take_entry(struct replay *replay, struct replay_segment *segment,
                               const struct replay_entry *entry)
{
    const struct replay_journal *journal = &replay->journals[entry->journal];
    segment->evidence = max_u64(segment->evidence, entry->durable_end);
    if (journal->hole != 0) {
        segment->holed = true;
        if (entry->seq > journal->hole) {
            segment->behind_hole = min_u64(segment->behind_hole, entry->staged_end);
        }
    }
    if (entry->size == 0) {
        segment_take_record(segment, &replay->records[entry->record]);
    }
}

/* Those of the entries stand by id. NULL: none of them is it. */
static struct replay_segment *merge_find(struct replay *replay, uint32_t found, uint64_t segment_id)
{
    uint32_t low = 0, high = found;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (replay->segments[middle].record.segment_id < segment_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool same = low < found && replay->segments[low].record.segment_id == segment_id;
    return same ? &replay->segments[low] : NULL;
}

/* The segments of the entries and of the MANIFEST. */
enum err replay_merge(struct replay *replay)
{
    const struct manifest *manifest = replay->manifest;
    if (replay->entry_count > 0) {
        qsort(replay->entries, replay->entry_count, sizeof(*replay->entries), entry_order);
    }
    size_t count = (size_t)replay->entry_count + manifest->record_count;
    replay->segments = calloc(max_u64(1, count), sizeof(*replay->segments));
    if (replay->segments == NULL) {
        return ERR_NO_MEMORY;
    }
    struct replay_segment *segment = NULL;
    for (uint32_t i = 0; i < replay->entry_count; i++) {
        const struct replay_entry *entry = &replay->entries[i];
        if (segment == NULL || segment->record.segment_id != entry->segment_id) {
            segment = &replay->segments[replay->segment_count++];
            segment->record.segment_id = entry->segment_id;
            segment->behind_hole = UINT64_MAX;
        }
        segment_take_entry(replay, segment, entry);
        if (entry->size > 0) {
            segment->first = segment->count == 0 ? i : segment->first;
            segment->count++;
        }
    }
    uint32_t found = replay->segment_count;
    for (uint32_t i = 0; i < manifest->record_count; i++) {
        const struct segment_record *record = &manifest->records[i];
        segment = merge_find(replay, found, record->segment_id);
        if (segment == NULL) {
            segment = &replay->segments[replay->segment_count++];
            segment->behind_hole = UINT64_MAX;
        }
        segment_take_record(segment, record);
    }
    return OK;
}

struct replay_entry *replay_frame_next(const struct replay *replay,
                                       const struct replay_segment *segment, uint32_t *at,
                                       uint64_t offset, uint64_t chain)
{
    while (*at < segment->first + segment->count) {
        struct replay_entry *entry = &replay->entries[(*at)++];
        if (entry->offset_first == offset && entry->chain == chain &&
            entry->offset_end > entry->offset_first) {
            return entry;
        }
    }
    return NULL;
}

enum replay_verdict replay_judge(const struct replay_segment *segment, uint64_t reach)
{
    if (reach < segment->evidence && !MUTANT("cut-damage")) {
        return REPLAY_DAMAGED;
    }
    return segment->holed && segment->behind_hole > reach ? REPLAY_SUSPECT : REPLAY_WHOLE;
}
