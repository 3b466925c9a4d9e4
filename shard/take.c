/* See the header. */
#include "shard/take.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/crc32c.h"
#include "core/limits.h"
#include "core/log.h"
#include "shard/codec.h"
#include "shard/record.h"

#include <inttypes.h>
#include <string.h>

enum { REWRITE_ROOM_MIN = 16 << 10 };

/* Batches that go as they are. */
struct fetch_run {
    const uint8_t *data, *rows;
    uint32_t size;
};

static void fetch_lend(struct request_fetch *fetch, const struct fetch_source *source,
                       struct fetch_run *run)
{
    struct bytes data = bytes_of(run->data, run->size);
    if (run->size > 0 && source->look != NULL) {
        lend_look(fetch, data, run->rows, source->look);
    } else if (run->size > 0) {
        lend_block(source->partition->shard, fetch, data, run->rows, source->block);
    }
    *run = (struct fetch_run){0};
}

/* Does the request take `more` bytes, besides the run? */
static bool fetch_fits(const struct request_fetch *fetch, const struct fetch_run *run,
                       uint32_t more)
{
    uint64_t total = (uint64_t)fetch->size_bytes + run->size;
    return total + more <= fetch->bytes_max || (total == 0 && fetch->whole_first);
}

/* The operator hears of it once. */
static void fetch_tell_large(struct partition *partition, uint64_t offset)
{
    COVER("a batch is too large to leave out deleted records");
    if (!partition->told_large) {
        partition->told_large = true;
        LOG_WARN("records are read that were deleted, their batch is too large to unpack topic=%s "
                 "partition=%u offset=%" PRIu64,
                 partition->name, partition->id.partition, offset);
    }
}

/* Adds a copy of a batch without those of its records that are deleted. False: not now. *as_is:
 * nor ever, it can only be had as it is. */
static bool fetch_rewrite(struct request_fetch *fetch, struct fetch_source *source,
                          struct bytes batch, const uint8_t *row, bool *as_is)
{
    struct shard *shard = source->partition->shard;
    bool first = fetch->piece_count == 0;
    if (fetch->piece_count == fetch->piece_capacity) {
        return false;
    }
    bool alone = first && source->look != NULL; /* The look goes, the copy stays. */
    if (alone ? lend_full_beside(shard, source->look) : lend_full(shard)) {
        source->starved = first ? batch.size : 0;
        return false;
    }
    struct rewritten copy;
    enum err err =
        rewrite_batch(&source->partition->deleted, shard->reactor->memory, batch, row, &copy);
    if (err == ERR_BATCH_TOO_LARGE) {
        fetch_tell_large(source->partition, load_be64(batch.data));
        *as_is = true;
        return true;
    }
    if (err != OK) {
        source->starved = first ? copy.wanted : 0;
        return false;
    }
    struct fetch_run none = {0};
    bool fits = fetch_fits(fetch, &none, copy.batch.size);
    if (fits) {
        lend_block(shard, fetch, copy.batch, copy.row, copy.block);
    }
    block_unref(copy.block);
    return fits;
}

bool take_batches(struct request_fetch *fetch, struct fetch_source *source, struct bytes data,
                  uint64_t *offset)
{
    const struct deleted *deleted = &source->partition->deleted;
    const uint8_t *row = source->rows;
    struct fetch_run run = {0};
    bool room = fetch->piece_count < fetch->piece_capacity;
    for (uint32_t at = 0; room && at < data.size; row += FRAME_ROW_BYTES) {
        struct batch batch;
        struct bytes here = bytes_of(data.data + at, data.size - at);
        if (batch_parse(here, &batch) != OK) {
            room = false;
            break;
        }
        uint64_t base = (uint64_t)batch.base_offset;
        uint64_t end = base + (uint64_t)(uint32_t)batch.last_offset_delta + 1;
        at += batch.length;
        if (end <= *offset) {
            continue;
        }
        bool as_is = deleted->count == 0 || deleted_between(deleted, base, end) == 0;
        if (!as_is) {
            fetch_lend(fetch, source, &run);
            room = fetch_rewrite(fetch, source, bytes_of(here.data, batch.length), row, &as_is);
        }
        if (as_is) {
            room =
                fetch_fits(fetch, &run, batch.length) && fetch->piece_count < fetch->piece_capacity;
            if (room && run.size == 0) {
                run = (struct fetch_run){.data = here.data, .rows = row};
            }
            run.size += room ? batch.length : 0;
        }
        *offset = room ? end : *offset;
    }
    fetch_lend(fetch, source, &run);
    return room;
}

/* Moves the records that stay to the front; how many they are, and their bytes. False: they cannot
 * be read. */
static bool rewrite_records(const struct deleted *deleted, const struct batch *batch,
                            struct bytes plain, uint8_t *to, uint32_t *count, uint32_t *size)
{
    struct bytes_reader reader = bytes_reader(plain);
    *count = 0;
    *size = 0;
    for (int32_t i = 0; i < batch->record_count; i++) {
        struct record record;
        uint32_t from = reader.position;
        if (!record_read(&reader, &record) || record.offset_delta < 0 ||
            record.offset_delta > batch->last_offset_delta) {
            return false;
        }
        if (deleted_has(deleted, (uint64_t)batch->base_offset + (uint32_t)record.offset_delta)) {
            continue;
        }
        memmove(to + *size, plain.data + from, reader.position - from);
        *size += reader.position - from;
        (*count)++;
    }
    return true;
}

/* A block with row, header and `room` bytes. */
static enum err rewrite_block(struct rewritten *out, struct memory *memory, uint32_t room)
{
    out->wanted = FRAME_ROW_BYTES + BATCH_HEADER_BYTES + room;
    out->block = block_acquire(memory, MEMORY_APPEND, out->wanted);
    return out->block == NULL ? ERR_NO_MEMORY : OK;
}

/* The records of the batch, unpacked, in a block that has room for what stays. ERR_BATCH_INVALID:
 * they cannot be. ERR_BATCH_TOO_LARGE: no block has so much room. */
static enum err rewrite_open(struct rewritten *out, struct memory *memory,
                             const struct batch *batch, struct bytes packed, struct bytes *plain)
{
    uint32_t codec = batch->attributes & BATCH_CODEC_MASK;
    uint32_t most = memory_block_max(memory) - (uint32_t)(FRAME_ROW_BYTES + BATCH_HEADER_BYTES);
    uint32_t room = packed.size;
    if (codec != CODEC_NONE) {
        most = min_u32(most, codec_output_max(packed.size, BATCH_BYTES_MAX) + 1);
        room = min_u32(most, max_u32(4 * packed.size, REWRITE_ROOM_MIN));
    }
    if (room > most) {
        return ERR_BATCH_TOO_LARGE;
    }
    for (;;) {
        enum err err = rewrite_block(out, memory, room);
        if (err != OK) {
            return err;
        }
        uint8_t *at = out->block->data + FRAME_ROW_BYTES + BATCH_HEADER_BYTES;
        err = codec > CODEC_ZSTD ? ERR_BATCH_INVALID
                                 : codec_open_into((enum codec)codec, packed, at, room, plain);
        if (err != ERR_BATCH_TOO_LARGE || room == most) {
            bool known = err == OK || err == ERR_NO_MEMORY || err == ERR_BATCH_TOO_LARGE;
            return known ? err : ERR_BATCH_INVALID;
        }
        block_unref(out->block);
        room = (uint32_t)min_u64(most, 2 * (uint64_t)room);
    }
}

enum err rewrite_batch(const struct deleted *deleted, struct memory *memory, struct bytes data,
                       const uint8_t *row, struct rewritten *out)
{
    struct batch batch;
    struct bytes plain;
    uint32_t count = 0;
    uint32_t size = 0;
    *out = (struct rewritten){0};
    enum err err = batch_parse(data, &batch);
    ASSERT(err == OK);
    uint64_t base = (uint64_t)batch.base_offset;
    uint64_t span = (uint64_t)(uint32_t)batch.last_offset_delta + 1;
    if (deleted_between(deleted, base, base + span) == span) {
        COVER("all records of a batch are deleted");
        err = rewrite_block(out, memory, 0);
    } else {
        struct bytes packed =
            bytes_of(data.data + BATCH_HEADER_BYTES, data.size - BATCH_HEADER_BYTES);
        err = rewrite_open(out, memory, &batch, packed, &plain);
        uint8_t *to =
            out->block == NULL ? NULL : out->block->data + FRAME_ROW_BYTES + BATCH_HEADER_BYTES;
        if (err == ERR_BATCH_INVALID ||
            (err == OK && !rewrite_records(deleted, &batch, plain, to, &count, &size))) {
            COVER("a record is deleted of a batch that does not open");
            count = 0; /* As a client wrote it: nobody reads the others either. */
            size = 0;
            err = OK;
        }
    }
    if (err != OK) {
        if (out->block != NULL) {
            block_unref(out->block);
            out->block = NULL;
        }
        return err;
    }
    uint8_t *at = out->block->data + FRAME_ROW_BYTES;
    out->row = out->block->data;
    out->batch = bytes_of(at, BATCH_HEADER_BYTES + size);
    memcpy(out->block->data, row, FRAME_ROW_BYTES);
    store_le32(out->block->data, out->batch.size);
    memcpy(at, data.data, BATCH_HEADER_BYTES);
    store_be32(at + 8, out->batch.size - BATCH_PREFIX_BYTES);
    store_be16(at + 21, (uint16_t)(batch.attributes & ~BATCH_CODEC_MASK));
    store_be32(at + 57, count);
    store_be32(at + 17, crc32c(0, at + BATCH_CRC_FROM, out->batch.size - BATCH_CRC_FROM));
    return OK;
}
