/* A stream's group as it is written down, little-endian; numbers without a size are varints
 * (LEB128; signed ones zigzag):
 *
 *     group   0 version u8 (1)  1 last ID u64 u64 (ms, seq)  17 entries read i64 (-1: not known)
 *             25 made u64 (ms)
 *     reader  0 version u8 (1)  1 seen u64 (ms)  9 active u64 (ms; 0: never)  17 size u32, name
 *     chunk   0 version u8 (1)  1 entries; then runs until there are as many:
 *             entries of the run, reader's number, delivered (ms, signed, after that of the run
 *             before), deliveries; then for each: ms (signed, after that of the one before), seq
 *             (signed; after that of the one before if ms is the same)
 *
 * A chunk may come before the readers that it names: those have no name until their record came. */
#include "core/assert.h"
#include "net/group/stream.h"

enum {
    RECORD_VERSION = 1,
    GROUP_RECORD_BYTES = 33,
    READER_RECORD_BYTES = 21,
};

struct stream_group *stream_item_group(struct group_item *item)
{
    switch (item->kind) {
    case GROUP_ITEM_STREAM:
        return CONTAINER_OF(item, struct stream_group, item);
    case GROUP_ITEM_READER:
        return CONTAINER_OF(item, struct stream_reader, item)->group;
    case GROUP_ITEM_CHUNK:
        return CONTAINER_OF(item, struct stream_chunk, item)->group;
    case GROUP_ITEM_GROUP:
    case GROUP_ITEM_OFFSET:
        break;
    }
    UNREACHABLE();
}

uint32_t stream_item_number(struct group_item *item)
{
    return item->kind == GROUP_ITEM_READER ? CONTAINER_OF(item, struct stream_reader, item)->number
                                           : CONTAINER_OF(item, struct stream_chunk, item)->number;
}

/* --- Writing. --- */

static uint32_t uvarint_size(uint32_t value)
{
    uint32_t size = 1;
    for (; value >= 0x80; value >>= 7) {
        size++;
    }
    return size;
}

static uint32_t varlong_size(int64_t value)
{
    uint64_t zigzag = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
    uint32_t size = 1;
    for (; zigzag >= 0x80; zigzag >>= 7) {
        size++;
    }
    return size;
}

/* Counts while `writer` is NULL. */
struct record_sink {
    struct bytes_writer *writer;
    uint32_t size;
};

static void sink_uvarint(struct record_sink *sink, uint32_t value)
{
    sink->size += uvarint_size(value);
    if (sink->writer != NULL) {
        write_uvarint(sink->writer, value);
    }
}

static void sink_varlong(struct record_sink *sink, int64_t value)
{
    sink->size += varlong_size(value);
    if (sink->writer != NULL) {
        write_varlong(sink->writer, value);
    }
}

/* How many entries from `at` on differ in their IDs only. */
static uint32_t run_length(const struct stream_chunk *chunk, uint32_t at)
{
    const struct stream_entry *first = &chunk->entries[at];
    uint32_t end = at + 1;
    while (end < chunk->count && chunk->entries[end].reader == first->reader &&
           chunk->entries[end].delivered_ms == first->delivered_ms &&
           chunk->entries[end].deliveries == first->deliveries) {
        end++;
    }
    return end - at;
}

static void sink_chunk(struct record_sink *sink, const struct stream_chunk *chunk)
{
    struct stream_id before = {0, 0};
    uint64_t delivered_ms = 0;
    sink_uvarint(sink, chunk->count);
    for (uint32_t at = 0; at < chunk->count;) {
        const struct stream_entry *entry = &chunk->entries[at];
        uint32_t end = at + run_length(chunk, at);
        sink_uvarint(sink, end - at);
        sink_uvarint(sink, entry->reader->number);
        sink_varlong(sink, (int64_t)(entry->delivered_ms - delivered_ms));
        sink_uvarint(sink, entry->deliveries);
        delivered_ms = entry->delivered_ms;
        for (; at < end; at++) {
            struct stream_id id = chunk->entries[at].id;
            bool same = id.ms == before.ms;
            sink_varlong(sink, (int64_t)(id.ms - before.ms));
            sink_varlong(sink, (int64_t)(same ? id.seq - before.seq : id.seq));
            before = id;
        }
    }
}

uint32_t stream_value_size(struct group_item *item)
{
    if (item->deleted) {
        return 0;
    }
    if (item->kind == GROUP_ITEM_STREAM) {
        return GROUP_RECORD_BYTES;
    }
    if (item->kind == GROUP_ITEM_READER) {
        return READER_RECORD_BYTES + CONTAINER_OF(item, struct stream_reader, item)->name.size;
    }
    struct record_sink sink = {NULL, 1};
    sink_chunk(&sink, CONTAINER_OF(item, struct stream_chunk, item));
    return sink.size;
}

void stream_value_encode(struct group_item *item, struct bytes_writer *writer)
{
    write_u8(writer, RECORD_VERSION);
    if (item->kind == GROUP_ITEM_STREAM) {
        const struct stream_group *group = CONTAINER_OF(item, struct stream_group, item);
        write_le64(writer, group->last.ms);
        write_le64(writer, group->last.seq);
        write_le64(writer, (uint64_t)group->entries_read);
        write_le64(writer, group->created_ms);
    } else if (item->kind == GROUP_ITEM_READER) {
        const struct stream_reader *reader = CONTAINER_OF(item, struct stream_reader, item);
        write_le64(writer, reader->seen_ms);
        write_le64(writer, reader->active_ms);
        write_le32(writer, reader->name.size);
        if (reader->name.size > 0) {
            write_bytes(writer, reader->name.data, reader->name.size);
        }
    } else {
        struct record_sink sink = {writer, 1};
        sink_chunk(&sink, CONTAINER_OF(item, struct stream_chunk, item));
    }
}

/* --- Reading. --- */

static struct group_item *load_group(struct stream_group *group, struct bytes value, bool *sound)
{
    struct bytes_reader reader = bytes_reader(value);
    *sound = read_u8(&reader) == RECORD_VERSION;
    group->last.ms = read_le64(&reader);
    group->last.seq = read_le64(&reader);
    group->entries_read = (int64_t)read_le64(&reader);
    group->created_ms = read_le64(&reader);
    *sound = *sound && !reader.failed && bytes_left(&reader) == 0 && group->entries_read >= -1;
    group->loaded = *sound;
    return *sound ? &group->item : NULL;
}

/* --- Readers. --- */

static struct stream_reader *reader_by_number(const struct stream_group *group, uint32_t number)
{
    for (uint32_t i = 0; i < group->reader_count; i++) {
        if (group->readers[i]->number == number) {
            return group->readers[i];
        }
    }
    return NULL;
}

static void reader_take_out(struct stream_group *group, struct stream_reader *reader)
{
    uint32_t at = 0;
    while (group->readers[at] != reader) {
        at++;
    }
    group->reader_count--;
    for (; at < group->reader_count; at++) {
        group->readers[at] = group->readers[at + 1];
    }
}

/* It moves to the place of its name. */
static void reader_rename(struct stream_group *group, struct stream_reader *reader,
                          struct bytes name)
{
    reader_take_out(group, reader);
    group_free_copy(group->memory, &reader->name);
    reader->name = name;
    bool room = stream_reader_insert(group, reader); /* It was there before. */
    ASSERT(room);
}

/* One without a name, whose record is yet to come. */
static struct stream_reader *reader_expect(struct stream_group *group, uint32_t number)
{
    struct stream_reader *reader = reader_by_number(group, number);
    if (reader == NULL && number < UINT32_MAX && group->reader_count < 2 * STREAM_READERS_MAX) {
        reader = stream_reader_make(group, (struct bytes){0}, number);
        if (reader != NULL && !stream_reader_insert(group, reader)) {
            stream_part_free(&reader->item);
            reader = NULL;
        }
    }
    return reader;
}

static struct group_item *load_reader(struct stream_group *group, uint32_t number,
                                      struct bytes value, bool *sound)
{
    struct bytes_reader input = bytes_reader(value);
    bool version = read_u8(&input) == RECORD_VERSION;
    uint64_t seen_ms = read_le64(&input);
    uint64_t active_ms = read_le64(&input);
    struct bytes name = read_bytes(&input, read_le32(&input));
    *sound = false;
    if (!version || input.failed || bytes_left(&input) > 0 || name.size == 0 ||
        name.size > STREAM_NAME_BYTES_MAX) {
        return NULL;
    }
    struct stream_reader *reader = reader_expect(group, number);
    if (reader == NULL) {
        return NULL;
    }
    struct bytes copy;
    if (!group_copy(group->memory, name, &copy)) {
        return NULL;
    }
    reader_rename(group, reader, copy);
    reader->seen_ms = reader->told_ms = seen_ms;
    reader->active_ms = active_ms;
    *sound = true;
    return &reader->item;
}

/* A chunk behind this in the same batch may still name it: until all is read it has no name. */
static void load_reader_gone(struct stream_group *group, uint32_t number)
{
    struct stream_reader *reader = reader_by_number(group, number);
    if (reader != NULL) {
        reader_rename(group, reader, (struct bytes){0});
        list_remove(&reader->item.node);
    }
}

/* --- Chunks. --- */

static struct stream_chunk *chunk_by_number(const struct stream_group *group, uint32_t number,
                                            uint32_t *at)
{
    /* Mostly the newest one. */
    for (*at = group->chunk_count; *at > 0;) {
        --*at;
        if (group->chunks[*at]->number == number) {
            return group->chunks[*at];
        }
    }
    return NULL;
}

static void chunk_take_out(struct stream_group *group, uint32_t at)
{
    struct stream_chunk *chunk = group->chunks[at];
    for (uint32_t i = 0; i < chunk->count; i++) {
        chunk->entries[i].reader->pending--;
    }
    group->pending -= chunk->count;
    chunk->count = 0;
    group->chunk_count--;
    for (; at < group->chunk_count; at++) {
        group->chunks[at] = group->chunks[at + 1];
    }
}

/* The entries of one run; false: it does not parse, or they do not rise. */
static bool load_run(struct stream_group *group, struct stream_chunk *chunk,
                     struct bytes_reader *input, uint32_t count, uint64_t *delivered_ms)
{
    uint32_t length = read_uvarint(input);
    uint32_t number = read_uvarint(input);
    *delivered_ms += (uint64_t)read_varlong(input);
    uint32_t deliveries = read_uvarint(input);
    if (input->failed || length == 0 || length > count - chunk->count) {
        return false;
    }
    struct stream_reader *reader = reader_expect(group, number);
    for (uint32_t i = 0; reader != NULL && i < length; i++) {
        struct stream_id before = {0, 0};
        if (chunk->count > 0) {
            before = chunk->entries[chunk->count - 1].id;
        }
        struct stream_id id = {.ms = before.ms + (uint64_t)read_varlong(input)};
        id.seq = (uint64_t)read_varlong(input) + (id.ms == before.ms ? before.seq : 0);
        if (input->failed || (chunk->count > 0 && stream_id_compare(id, before) <= 0)) {
            return false;
        }
        chunk->entries[chunk->count++] = (struct stream_entry){
            .id = id, .reader = reader, .delivered_ms = *delivered_ms, .deliveries = deliveries};
        reader->pending++;
        group->pending++;
    }
    return reader != NULL;
}

/* Where a chunk belongs by its first ID. Whether it overlaps its neighbours is looked at when all
 * are there. */
static uint32_t chunk_place(const struct stream_group *group, struct stream_id id)
{
    uint32_t at = group->chunk_count;
    while (at > 0 && stream_id_compare(group->chunks[at - 1]->entries[0].id, id) > 0) {
        at--;
    }
    return at;
}

static struct group_item *load_chunk(struct stream_group *group, struct stream_chunk *chunk,
                                     struct bytes value, bool *sound)
{
    struct bytes_reader input = bytes_reader(value);
    uint64_t delivered_ms = 0;
    *sound = read_u8(&input) == RECORD_VERSION;
    uint32_t count = read_uvarint(&input);
    *sound = *sound && !input.failed && count > 0 && count <= STREAM_CHUNK_ENTRIES &&
             stream_chunk_fit(group, chunk, count);
    while (*sound && chunk->count < count) {
        *sound = load_run(group, chunk, &input, count, &delivered_ms);
    }
    *sound = *sound && bytes_left(&input) == 0 &&
             stream_chunk_insert(group, chunk_place(group, chunk->entries[0].id), chunk);
    if (!*sound) {
        for (uint32_t i = 0; i < chunk->count; i++) {
            chunk->entries[i].reader->pending--;
        }
        group->pending -= chunk->count;
    }
    return *sound ? &chunk->item : NULL;
}

struct group_item *stream_load(struct stream_group *group, enum group_item_kind kind,
                               uint32_t number, struct bytes value, bool *sound)
{
    *sound = true;
    if (kind == GROUP_ITEM_STREAM) {
        return load_group(group, value, sound);
    }
    if (kind == GROUP_ITEM_READER && value.size > 0) {
        return load_reader(group, number, value, sound);
    }
    if (kind == GROUP_ITEM_READER) {
        load_reader_gone(group, number);
        return NULL;
    }
    uint32_t at;
    struct stream_chunk *chunk = chunk_by_number(group, number, &at);
    if (chunk != NULL) {
        chunk_take_out(group, at);
    } else if (value.size > 0 && number < UINT32_MAX) {
        chunk = stream_chunk_make(group, number, 1);
    }
    if (chunk == NULL) {
        *sound = value.size == 0;
        return NULL;
    }
    list_remove(&chunk->item.node);
    struct group_item *item = value.size == 0 ? NULL : load_chunk(group, chunk, value, sound);
    if (item == NULL) {
        group->freed_bytes += chunk->item.bytes;
        stream_part_free(&chunk->item);
    }
    return item;
}

/* Those that are gone, and whom nobody names, have no name: they come first. */
static bool loaded_readers(struct stream_group *group)
{
    while (group->reader_count > 0 && group->readers[0]->name.size == 0) {
        struct stream_reader *reader = group->readers[0];
        if (reader->pending > 0) {
            return false;
        }
        reader_take_out(group, reader);
        group->freed_bytes += reader->item.bytes;
        stream_part_free(&reader->item);
    }
    for (uint32_t i = 1; i < group->reader_count; i++) {
        if (bytes_equal(group->readers[i]->name, group->readers[i - 1]->name)) {
            return false;
        }
    }
    return true;
}

bool stream_loaded(struct stream_group *group)
{
    if (!loaded_readers(group)) {
        return false;
    }
    for (uint32_t i = 1; i < group->chunk_count; i++) {
        const struct stream_chunk *before = group->chunks[i - 1];
        if (stream_id_compare(before->entries[before->count - 1].id,
                              group->chunks[i]->entries[0].id) >= 0) {
            return false;
        }
    }
    return group->loaded;
}
