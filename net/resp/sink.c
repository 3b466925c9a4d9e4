/* See the header. */
#include "net/resp/sink.h"

#include "core/assert.h"
#include "net/resp/fields.h"
#include "shard/codec.h"
#include "shard/frame.h"

static void write_entry(struct resp_writer *writer, struct resp_id_line *line, struct stream_id id,
                        const struct record *record)
{
    struct fields entry;
    struct bytes name;
    struct bytes value;
    fields_begin(&entry, record);
    resp_write_array(writer, 2);
    resp_write_id_behind(writer, line, id);
    resp_write_array(writer, 2ULL * entry.count);
    while (fields_next(&entry, &name, &value)) {
        resp_write_bulk(writer, name);
        resp_write_bulk(writer, value);
    }
}

static void sink_entry(struct sink *sink, struct stream_id id, const struct record *record)
{
    if (sink->entries++ == 0) {
        sink->first_id = id;
    }
    if (sink->block == NULL || !sink->reverse) {
        write_entry(&sink->writer, &sink->line, id, record);
        return;
    }
    struct resp_writer counted = {.protocol = sink->writer.protocol};
    write_entry(&counted, &sink->line, id, record);
    ASSERT(counted.position <= sink->end);
    sink->end -= (uint32_t)counted.position;
    struct resp_writer writer = {.data = sink->block + sink->end,
                                 .size = counted.position,
                                 .protocol = sink->writer.protocol};
    write_entry(&writer, &sink->line, id, record);
}

/* The next of the IDs that are wanted is gone from the log. */
static void sink_missing(struct sink *sink, const struct read_ids *ids)
{
    ids->found[sink->pick] = 0;
    if (ids->nulls && !ids->silent) {
        resp_write_array(&sink->writer, 2);
        resp_write_id(&sink->writer, ids->at[sink->pick]);
        resp_write_null_array(&sink->writer);
        sink->entries++;
    }
    sink->pick++;
}

/* `ids`: NULL, or those that are kept, or the only ones that are wanted. */
static void sink_picked(struct sink *sink, struct read_ids *ids, uint64_t offset,
                        struct stream_id id, const struct record *record)
{
    if (ids == NULL || !ids->wanted) {
        if (ids != NULL && sink->writer.data != NULL) {
            ids->at[ids->count++] = id;
            ids->behind = offset + 1;
        }
        sink_entry(sink, id, record);
        return;
    }
    while (sink->pick < ids->run_end && stream_id_compare(ids->at[sink->pick], id) < 0) {
        sink_missing(sink, ids);
    }
    if (sink->pick < ids->run_end && stream_id_compare(ids->at[sink->pick], id) == 0) {
        ids->found[sink->pick++] = 1;
        if (!ids->silent) {
            sink_entry(sink, id, record);
        }
    }
}

/* Everything up to `id` was looked at: what is wanted of it and was not there is gone. */
static void sink_passed(struct sink *sink, const struct read_ids *ids, struct stream_id id)
{
    while (sink->pick < ids->run_end && stream_id_compare(ids->at[sink->pick], id) <= 0) {
        sink_missing(sink, ids);
    }
}

/* The records of one batch that lie within the item. */
static enum err sink_batch(struct sink *sink, const struct read_item *item, struct bytes data,
                           const struct batch *batch, const struct frame_row *row)
{
    struct codec_output output;
    if (batch->record_count == 0) { /* All of it was deleted. */
        return OK;
    }
    enum err err = codec_open(
        (enum codec)(batch->attributes & BATCH_CODEC_MASK),
        bytes_of(data.data + BATCH_HEADER_BYTES, batch->length - BATCH_HEADER_BYTES), &output);
    if (err != OK) {
        return err;
    }
    struct bytes_reader reader = bytes_reader(output.bytes);
    for (int32_t i = 0; i < batch->record_count && err == OK; i++) {
        struct record record;
        if (!record_read(&reader, &record) || record.offset_delta < 0) {
            err = ERR_DAMAGED;
            break;
        }
        uint64_t offset = (uint64_t)batch->base_offset + (uint32_t)record.offset_delta;
        if (sink->entries == sink->limit) {
            sink->full = true;
            sink->next = offset;
            break;
        }
        if (offset >= item->offset && offset < item->offset_end) {
            struct stream_id id = {row->ms, row->seq + (uint32_t)record.offset_delta};
            sink_picked(sink, item->ids, offset, id, &record);
        }
    }
    codec_free(&output);
    return err;
}

enum err sink_pieces(struct sink *sink, const struct read_item *item)
{
    const struct request_fetch *fetch = &item->request.fetch;
    enum err err = OK;
    bool wants = item->ids != NULL && item->ids->wanted;
    sink->next = item->offset;
    sink->limit = wants ? UINT64_MAX : item->count - item->entries;
    sink->pick = item->ids == NULL ? 0 : item->ids->next;
    while (item->ids != NULL && item->ids->none && sink->pick < item->ids->run_end) {
        sink_missing(sink, item->ids);
    }
    for (uint32_t i = 0; i < fetch->piece_count; i++) {
        const struct fetch_piece *piece = &fetch->pieces[i];
        const uint8_t *row_at = piece->rows;
        for (uint32_t at = 0; at < piece->size && err == OK && !sink->full;
             row_at += FRAME_ROW_BYTES) {
            struct bytes rest = bytes_of(piece->data + at, piece->size - at);
            struct batch batch;
            struct frame_row row = {0};
            err = batch_parse(rest, &batch);
            if (err == OK && (batch.attributes & BATCH_CONTROL) == 0) {
                frame_row_decode(row_at, &row);
                err = sink_batch(sink, item, rest, &batch, &row);
            }
            if (err == OK && wants) {
                uint32_t last = (uint32_t)batch.last_offset_delta;
                sink_passed(sink, item->ids, (struct stream_id){row.ms, row.seq + last});
            }
            at += batch.length;
            if (!sink->full) {
                sink->next = (uint64_t)batch.base_offset + (uint32_t)batch.last_offset_delta + 1;
            }
        }
    }
    return err;
}
