/* A sorted array of ranges: there are few where a consumer deletes what it is done with, one behind
 * the other, and at most as many as fit into a block. */
#include "shard/deleted.h"

#include "core/assert.h"

#include <string.h>

enum { STATE_VERSION = 1, NOTE_VERSION = 1 };

_Static_assert(sizeof(struct deleted_range) == DELETED_RANGE_BYTES,
               "as many in memory as in files");

void deleted_init(struct deleted *deleted, struct memory *memory, uint64_t *bytes)
{
    *deleted = (struct deleted){.memory = memory, .bytes = bytes};
}

static uint32_t block_bytes(const struct deleted *deleted)
{
    return deleted->block == NULL ? 0 : deleted->block->size;
}

/* In the place of the one before; NULL: none. */
static void set_block(struct deleted *deleted, struct block *block)
{
    ASSERT(*deleted->bytes >= block_bytes(deleted));
    *deleted->bytes -= block_bytes(deleted);
    if (deleted->block != NULL) {
        block_unref(deleted->block);
    }
    deleted->block = block;
    *deleted->bytes += block_bytes(deleted);
}

void deleted_clear(struct deleted *deleted)
{
    set_block(deleted, NULL);
    deleted_init(deleted, deleted->memory, deleted->bytes);
}

bool deleted_is_empty(const struct deleted *deleted)
{
    return deleted->count == 0 && deleted->added_bias == 0 && deleted->deleted_max.ms == 0 &&
           deleted->deleted_max.seq == 0;
}

static struct deleted_range *deleted_ranges(const struct deleted *deleted)
{
    return deleted->block == NULL ? NULL : (struct deleted_range *)(void *)deleted->block->data;
}

/* The first range that ends behind `offset`. */
static uint32_t deleted_place(const struct deleted *deleted, uint64_t offset)
{
    const struct deleted_range *ranges = deleted_ranges(deleted);
    uint32_t low = 0;
    uint32_t high = deleted->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ranges[middle].end <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool deleted_has(const struct deleted *deleted, uint64_t offset)
{
    uint32_t place = deleted_place(deleted, offset);
    return place < deleted->count && deleted_ranges(deleted)[place].first <= offset;
}

uint64_t deleted_between(const struct deleted *deleted, uint64_t from, uint64_t to)
{
    const struct deleted_range *ranges = deleted_ranges(deleted);
    uint64_t sum = 0;
    for (uint32_t i = deleted_place(deleted, from); i < deleted->count && ranges[i].first < to;
         i++) {
        sum += min_u64(ranges[i].end, to) - max_u64(ranges[i].first, from);
    }
    return sum;
}

/* How large its block is then. */
static uint32_t block_bytes_with(const struct deleted *deleted, uint32_t more)
{
    uint32_t wanted = (deleted->count + more) * DELETED_RANGE_BYTES;
    uint32_t has = block_bytes(deleted);
    if (wanted <= has) {
        return has;
    }
    uint32_t size = max_u32(max_u32(BLOCK_SIZE_MIN, 2 * has), wanted);
    return min_u32(size, DELETED_RANGES_MAX * DELETED_RANGE_BYTES);
}

uint64_t deleted_bytes_with(const struct deleted *deleted, uint32_t more)
{
    uint32_t room = min_u32(more, DELETED_RANGES_MAX - deleted->count);
    return *deleted->bytes - block_bytes(deleted) + block_bytes_with(deleted, room);
}

enum err deleted_reserve(struct deleted *deleted, uint32_t more)
{
    if (more > DELETED_RANGES_MAX - deleted->count) {
        return ERR_DELETIONS;
    }
    uint32_t size = block_bytes_with(deleted, more);
    if (size == block_bytes(deleted)) {
        return OK;
    }
    if (size > memory_block_max(deleted->memory)) {
        return ERR_NO_MEMORY;
    }
    struct block *block = block_acquire(deleted->memory, MEMORY_APPEND, size);
    if (block == NULL) {
        return ERR_NO_MEMORY;
    }
    if (deleted->block != NULL) {
        memcpy(block->data, deleted->block->data, (size_t)deleted->count * DELETED_RANGE_BYTES);
    }
    set_block(deleted, block);
    return OK;
}

/* The ranges [*from, *to) touch this one, or overlap it. */
static void deleted_touched(const struct deleted *deleted, uint64_t first, uint64_t end,
                            uint32_t *from, uint32_t *to)
{
    const struct deleted_range *ranges = deleted_ranges(deleted);
    *from = deleted_place(deleted, first);
    if (*from > 0 && ranges[*from - 1].end == first) {
        (*from)--;
    }
    *to = *from;
    while (*to < deleted->count && ranges[*to].first <= end) {
        (*to)++;
    }
}

uint32_t deleted_growth(const struct deleted *deleted, uint64_t first, uint64_t end)
{
    uint32_t from, to;
    deleted_touched(deleted, first, end, &from, &to);
    return from == to ? 1 : 0;
}

enum err deleted_add(struct deleted *deleted, uint64_t first, uint64_t end)
{
    uint32_t from, to;
    ASSERT(first < end);
    deleted_touched(deleted, first, end, &from, &to);
    if (from == to) {
        enum err err = deleted_reserve(deleted, 1);
        if (err != OK) {
            return err;
        }
    }
    struct deleted_range *ranges = deleted_ranges(deleted);
    struct deleted_range joined = {first, end};
    uint64_t before = 0;
    for (uint32_t i = from; i < to; i++) {
        before += ranges[i].end - ranges[i].first;
        joined.first = min_u64(joined.first, ranges[i].first);
        joined.end = max_u64(joined.end, ranges[i].end);
    }
    if (to != from + 1) { /* Else it takes the place of one. */
        memmove(&ranges[from + 1], &ranges[to], (deleted->count - to) * sizeof(*ranges));
    }
    ranges[from] = joined;
    deleted->count = deleted->count - (to - from) + 1;
    deleted->records += joined.end - joined.first - before;
    return OK;
}

void deleted_trim(struct deleted *deleted, uint64_t offset)
{
    struct deleted_range *ranges = deleted_ranges(deleted);
    if (ranges == NULL || deleted->count == 0 || ranges[0].first >= offset) {
        return;
    }
    uint32_t gone = deleted_place(deleted, offset);
    deleted->records -= deleted_between(deleted, 0, offset);
    memmove(ranges, &ranges[gone], (deleted->count - gone) * sizeof(*ranges));
    deleted->count -= gone;
    if (deleted->count > 0) {
        ranges[0].first = max_u64(ranges[0].first, offset);
    } else if (!deleted->held) {
        set_block(deleted, NULL);
    }
}

void deleted_hold(struct deleted *deleted, bool held)
{
    deleted->held = held;
    if (!held && deleted->count == 0) {
        set_block(deleted, NULL);
    }
}

uint32_t deleted_size(const struct deleted *deleted)
{
    return DELETED_STATE_BYTES + deleted->count * DELETED_RANGE_BYTES;
}

void note_range_encode(const struct deleted_range *range, uint8_t *at)
{
    store_le64(at, range->first);
    store_le64(at + 8, range->end - range->first);
}

static struct deleted_range range_decode(const uint8_t *at)
{
    uint64_t first = load_le64(at);
    return (struct deleted_range){first, first + load_le64(at + 8)};
}

/* Rising, not touching, none is empty. */
static bool ranges_are_sound(const uint8_t *at, uint32_t count)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < count; i++, at += DELETED_RANGE_BYTES) {
        struct deleted_range range = range_decode(at);
        if (range.end <= range.first || (i > 0 && range.first <= end)) {
            return false;
        }
        end = range.end;
    }
    return true;
}

static void store_id(struct stream_id id, uint8_t *at)
{
    store_le64(at, id.ms);
    store_le64(at + 8, id.seq);
}

static struct stream_id load_id(const uint8_t *at)
{
    return (struct stream_id){load_le64(at), load_le64(at + 8)};
}

void deleted_encode(const struct deleted *deleted, uint8_t *at)
{
    store_le32(at, STATE_VERSION);
    store_le32(at + 4, deleted->count);
    store_le64(at + 8, deleted->added_bias);
    store_id(deleted->deleted_max, at + 16);
    at += DELETED_STATE_BYTES;
    for (uint32_t i = 0; i < deleted->count; i++, at += DELETED_RANGE_BYTES) {
        note_range_encode(&deleted_ranges(deleted)[i], at);
    }
}

enum err deleted_decode(struct deleted *deleted, struct bytes state)
{
    ASSERT(deleted_is_empty(deleted));
    if (state.size < DELETED_STATE_BYTES || load_le32(state.data) != STATE_VERSION) {
        return ERR_CORRUPT;
    }
    uint32_t count = load_le32(state.data + 4);
    const uint8_t *at = state.data + DELETED_STATE_BYTES;
    if (count > DELETED_RANGES_MAX ||
        count > (state.size - DELETED_STATE_BYTES) / DELETED_RANGE_BYTES ||
        !ranges_are_sound(at, count)) {
        return ERR_CORRUPT;
    }
    enum err err = deleted_reserve(deleted, count);
    for (uint32_t i = 0; i < count && err == OK; i++, at += DELETED_RANGE_BYTES) {
        struct deleted_range range = range_decode(at);
        err = deleted_add(deleted, range.first, range.end);
    }
    deleted->added_bias = load_le64(state.data + 8);
    deleted->deleted_max = load_id(state.data + 16);
    return err;
}

struct deleted_range note_range(const struct note *note, uint32_t index)
{
    ASSERT(index < note->range_count);
    return range_decode(note->ranges + (size_t)index * DELETED_RANGE_BYTES);
}

uint32_t note_encode(const struct note *note, uint8_t *at)
{
    bool deletes = note->kind == NOTE_DELETE;
    at[0] = NOTE_VERSION;
    at[1] = (uint8_t)note->kind;
    store_le16(at + 2, note->sets);
    store_le32(at + 4, note->range_count);
    if (deletes) {
        store_id(note->deleted_max, at + 8);
        return NOTE_DELETE_BYTES;
    }
    ASSERT(note->range_count == 0);
    store_id(note->last, at + 8);
    store_id(note->deleted_max, at + 24);
    store_le64(at + 40, note->added_bias);
    return NOTE_SET_LAST_BYTES;
}

enum err note_decode(struct bytes body, struct note *note)
{
    *note = (struct note){0};
    if (body.size < NOTE_DELETE_BYTES || body.data[0] != NOTE_VERSION) {
        return ERR_CORRUPT;
    }
    note->kind = (enum note_kind)body.data[1];
    note->sets = load_le16(body.data + 2);
    note->range_count = load_le32(body.data + 4);
    if ((note->sets & ~(NOTE_SETS_ADDED | NOTE_SETS_DELETED_MAX)) != 0) {
        return ERR_CORRUPT;
    }
    if (note->kind == NOTE_DELETE) {
        note->deleted_max = load_id(body.data + 8);
        note->ranges = body.data + NOTE_DELETE_BYTES;
        bool fits =
            (uint64_t)note->range_count * DELETED_RANGE_BYTES + NOTE_DELETE_BYTES == body.size;
        return fits && note->range_count > 0 && ranges_are_sound(note->ranges, note->range_count)
                   ? OK
                   : ERR_CORRUPT;
    }
    if (note->kind != NOTE_SET_LAST || body.size != NOTE_SET_LAST_BYTES || note->range_count != 0) {
        return ERR_CORRUPT;
    }
    note->last = load_id(body.data + 8);
    note->deleted_max = load_id(body.data + 24);
    note->added_bias = load_le64(body.data + 40);
    return OK;
}

enum err deleted_apply(struct deleted *deleted, const struct note *note, uint64_t log_start)
{
    enum err err = OK;
    for (uint32_t i = 0; i < note->range_count && err == OK; i++) {
        struct deleted_range range = note_range(note, i);
        range.first = max_u64(range.first, log_start);
        if (range.first < range.end) {
            err = deleted_add(deleted, range.first, range.end);
        }
    }
    bool greater = stream_id_compare(note->deleted_max, deleted->deleted_max) > 0;
    if ((note->sets & NOTE_SETS_DELETED_MAX) != 0 || greater) {
        deleted->deleted_max = note->deleted_max;
    }
    if ((note->sets & NOTE_SETS_ADDED) != 0) {
        deleted->added_bias = note->added_bias;
    }
    return err;
}
