/* What one file says: its index, where it ends, and its producers.
 *
 *     OPEN -> (SYNC -> (RENEW)) -> HEAD -> seal block valid: TRAILER -> done
 *                            -> else: (INDEX -> (PRODUCERS): the last milestone)
 *                                      -> SCAN extent by extent from there -> done
 *                                      -> bad extent: HUNT for what claims to be durable -> done
 *
 * The named cases (storage.md C) that exist without a journal:
 *     torn tail         bad at p, nothing later claims that more was durable: cut, not written over
 *     damage            bad at p, a later extent's durable_end is beyond: refuse, report
 *     trailer, no seal  ignored; the seal runs again
 *
 * Before anything is decided the file is synced: after kill -9 what is read may be in a cache only.
 * If that fails it still may, and a later sync would not say so: the file is made anew
 * (load_renew.c), or the node stops.
 */
#include "core/assert.h"
#include "core/cover.h"
#include "core/crc32c.h"
#include "core/log.h"
#include "shard/journals.h"
#include "shard/shard_internal.h"

#include <inttypes.h>
#include <stdlib.h>

static void load_step(struct completion *done);

/* The segment gets what was read, unless another load of it came first: two readers may scan one
 * file at the same time, each for itself. */
static void load_index(struct load *load)
{
    struct segment *segment = load->segment;
    if (!segment->loaded) {
        segment_index_deinit(&segment->index);
        segment->index = load->index;
        segment->timestamp_max = load->timestamp_max;
        segment_index_init(&load->index);
    }
}

void load_scanned(const struct load *load, uint32_t size)
{
    stats_add(&load->segment->partition->shard->reactor->stats, STAT_SCANNED_BYTES, size);
}

/* Up to where the frames were sound the file stays readable. */
static void load_damaged(struct load *load)
{
    struct segment *segment = load->segment;
    segment->damaged = true;
    segment->valid_end = max_u64(segment->info.base_offset, load->walk.offset);
    if (segment->told == ERR_DAMAGED) {
        return;
    }
    segment->told = ERR_DAMAGED;
    LOG_ERROR("segment is damaged topic=%s partition=%u segment=%016" PRIx64 " valid=%" PRIu64
              " maybe=%" PRIu64,
              segment->partition->name, segment->partition->id.partition, segment->info.id,
              segment->valid_end, load->walk.evidence);
}

void load_finish(struct load *load, enum err err)
{
    struct segment *segment = load->segment;
    struct shard *shard = segment->partition->shard;
    if (load->block != NULL) {
        block_unref(load->block);
        load->block = NULL;
    }
    if (err == ERR_DAMAGED) {
        load_damaged(load);
    }
    if (err == OK || (err == ERR_DAMAGED && load->walk.position >= SEGMENT_DATA_POSITION)) {
        load_index(load);
        segment->loaded = true;
        /* Never back: a writer of this life may have gone on. */
        segment->position_end = max_u64(segment->position_end, load->walk.position);
        if (!load->recover && load->producers == NULL) {
            err = OK;
        }
    }
    segment_index_deinit(&load->index);
    segment_unpin(segment);
    completion_fire(shard->reactor, load->done, err);
}

static void load_memory(struct completion *done);

void load_read(struct load *load, enum load_state state, uint64_t position, uint64_t bytes)
{
    struct segment *segment = load->segment;
    struct reactor *reactor = segment->partition->shard->reactor;
    load->state = state;
    load->read_position = position;
    if (bytes > memory_block_max(reactor->memory)) {
        load_finish(load, ERR_NO_MEMORY);
        return;
    }
    if (load->block != NULL && load->block_bytes < bytes) { /* Of a block no more than asked for. */
        block_unref(load->block);
        load->block = NULL;
    }
    load->buffer_bytes = (uint32_t)bytes;
    if (load->block == NULL) {
        load->block = block_acquire(reactor->memory, MEMORY_RECOVERY, (uint32_t)bytes);
        load->block_bytes = (uint32_t)bytes;
    }
    if (load->block == NULL) {
        COVER("load waits for memory");
        load->memory.size = (uint32_t)bytes;
        load->memory.class = MEMORY_RECOVERY;
        completion_init(&load->memory.done, load_memory);
        memory_await(reactor->memory, reactor, &load->memory);
        return;
    }
    completion_init(&load->io.done, load_step);
    io_read(&load->io, segment->fd, load->block->data, (uint32_t)bytes, position);
    io_submit(reactor, &load->io);
}

static void load_memory(struct completion *done)
{
    struct load *load = CONTAINER_OF(done, struct load, memory.done);
    load_read(load, load->state, load->read_position, load->buffer_bytes);
}

/* The walk from the start of the file; nothing is known yet of what is in it. */
static void load_walk_start(struct load *load)
{
    struct segment *segment = load->segment;
    load->walk = (struct walk){
        .segment_id = segment->info.id,
        .salt = segment->info.salt,
        .epoch = segment->info.epoch,
        .position = SEGMENT_DATA_POSITION,
        .offset = segment->info.base_offset,
        .chain = segment->info.salt,
        .evidence = segment->info.base_offset,
    };
    if (load->recover) {
        uint64_t end;
        bool missing;
        const struct journals *journals = segment->partition->shard->options.journals;
        if (journals_evidence(journals, segment->info.id, &end, &missing)) {
            load->walk.evidence = max_u64(load->walk.evidence, end);
        }
    }
    segment_index_deinit(&load->index);
    segment_index_init(&load->index);
    load->timestamp_max = INT64_MIN;
    if (load->producers != NULL) {
        producer_table_clear(load->producers);
        deleted_clear(load->deleted);
    }
}

void load_scan_start(struct load *load)
{
    load_walk_start(load);
    load_read(load, LOAD_SCAN, load->walk.position, READ_BYTES);
}

/* Of a file that is not sealed: from its last milestone, if it is known that all before that is
 * durable, else from its start. */
static void load_unsealed(struct load *load, const struct segment_header *header)
{
    const struct segment *segment = load->segment;
    const struct journals *journals = segment->partition->shard->options.journals;
    uint64_t position =
        load->recover ? journals_milestone(journals, segment->info.id, header->file_generation) : 0;
    load_walk_start(load);
    load->walk.position = max_u64(position, load->walk.position);
    load_read(load, position > SEGMENT_DATA_POSITION ? LOAD_INDEX : LOAD_SCAN, load->walk.position,
              READ_BYTES);
}

/* The batches of a sound frame: producers and greatest time. */
static enum err load_batches(struct load *load, const struct frame_header *frame,
                             const uint8_t *body, int64_t *timestamp_max)
{
    const uint8_t *at = body + (size_t)frame->batches * FRAME_ROW_BYTES;
    for (uint32_t i = 0; i < frame->batches; i++) {
        struct frame_row row;
        struct batch batch;
        frame_row_decode(body + (size_t)i * FRAME_ROW_BYTES, &row);
        if (batch_parse(bytes_of(at, row.length), &batch) != OK) {
            return ERR_CORRUPT;
        }
        if (batch.max_timestamp > *timestamp_max) {
            *timestamp_max = batch.max_timestamp;
        }
        if (load->producers != NULL && batch.producer_id >= 0) {
            struct producer_batch window = {
                .first_sequence = batch.base_sequence,
                .last_sequence = batch_sequence_last(&batch),
                .first_offset = (uint64_t)batch.base_offset,
                .time_ms = (batch.attributes & BATCH_APPEND_TIME) != 0 ? batch.max_timestamp
                                                                       : (int64_t)row.ms,
            };
            enum err err =
                producer_record(load->producers, batch.producer_id, batch.producer_epoch, &window);
            if (err != OK) {
                return err;
            }
        }
        load->last_ms = row.ms;
        load->last_seq = row.seq + row.records - 1;
        at += row.length;
    }
    return OK;
}

/* What a control frame says. */
static enum err load_note(struct load *load, const struct frame_header *frame, const uint8_t *body)
{
    struct note note;
    if (load->producers == NULL || frame->body_bytes == 0) {
        return OK;
    }
    enum err err = note_decode(bytes_of(body, frame->body_bytes), &note);
    if (err != OK) {
        return err;
    }
    if (note.kind == NOTE_SET_LAST) {
        load->last_ms = note.last.ms;
        load->last_seq = note.last.seq;
    }
    deleted_trim(load->deleted, frame->log_start); /* As it was when there was room for the note. */
    err = deleted_apply(load->deleted, &note, frame->log_start);
    return err == ERR_DELETIONS ? ERR_CORRUPT : err;
}

/* Behind the last record of a segment that is sealed; a note may stand there yet. */
static bool load_ends_at(const struct load *load, const struct frame_header *frame)
{
    bool note = frame->records == 0 && load->producers != NULL;
    return !load->recover &&
           (note ? frame->offset_first > load->target : frame->offset_first >= load->target);
}

/* What the frames of a sound extent say, which begins at `before`. */
static enum err load_frames(struct load *load, const struct extent_header *extent,
                            const uint8_t *at, const struct walk *before)
{
    struct frame_cursor cursor;
    struct frame_header frame;
    const uint8_t *header_at;
    struct frame_row first = {0};
    int64_t timestamp_max = INT64_MIN;
    uint32_t batches = 0;
    enum err err = OK;
    frame_cursor_init(&cursor, at, extent, load->segment->info.id);
    cursor.checked = true;
    while (err == OK && frame_cursor_next(&cursor, &frame, &header_at) == OK) {
        const uint8_t *body = header_at + FRAME_HEADER_BYTES;
        if (load_ends_at(load, &frame)) {
            COVER("a file goes on behind the end of its segment");
            load->walk.offset = frame.offset_first;
            break; /* Their commits failed, and the segment ended before them. */
        }
        if (batches == 0 && frame.batches > 0) {
            frame_row_decode(body, &first);
        }
        batches += frame.batches;
        load->log_start = max_u64(load->log_start, frame.log_start);
        err = (frame.flags & FRAME_CONTROL) != 0 ? load_note(load, &frame, body)
                                                 : load_batches(load, &frame, body, &timestamp_max);
    }
    if (err != OK) {
        return err;
    }
    if (timestamp_max > load->timestamp_max) {
        load->timestamp_max = timestamp_max;
    }
    if (batches == 0) { /* A control frame, which has no rows. */
        return OK;
    }
    return segment_index_add(&load->index, before->offset, before->position, first.ms, first.seq,
                             timestamp_max, extent->padded_size);
}

/* And deleted records: those that stand before the first frame. Later ones are in the frames. */
static enum err load_producers(struct load *load, const struct extent_header *extent,
                               const uint8_t *at)
{
    struct bytes body =
        bytes_of(at + EXTENT_HEADER_BYTES, extent->padded_size - (uint32_t)EXTENT_HEADER_BYTES);
    if (load->producers == NULL || extent->position != SEGMENT_DATA_POSITION) {
        return OK;
    }
    enum err err = producer_decode(load->producers, milestone_producers(body));
    return err == OK ? milestone_deleted(body, load->deleted) : err;
}

/* One extent at `at`, of which `left` bytes were read. ERR_TRUNCATED: read more of it. */
static enum err load_extent(struct load *load, const uint8_t *at, uint32_t left,
                            struct extent_header *extent)
{
    struct walk before = load->walk;
    enum err err = walk_extent(&load->walk, at, left, extent);
    if (err == OK && extent->type == EXTENT_FRAMES) {
        err = load_frames(load, extent, at, &before);
    } else if (err == OK && extent->type == EXTENT_PRODUCERS) {
        err = load_producers(load, extent, at);
    } else if (err == OK && extent->type == EXTENT_INDEX) {
        segment_index_break(&load->index);
    }
    if (err != OK) {
        load->walk = before;
    }
    return err;
}

static void load_end(struct load *load)
{
    bool whole = load->recover ? load->walk.evidence <= load->walk.offset || MUTANT("cut-damage")
                               : load->walk.offset == load->target;
    load_finish(load, whole ? OK : ERR_DAMAGED);
}

/* Behind the sound prefix: is it only a milestone that is bad? Does a later extent say that more
 * was durable? A trailer without a seal block says it, too. */
static void load_hunt(struct load *load, uint32_t size)
{
    struct bytes data = bytes_of(load->block->data, size);
    const struct segment_info *info = &load->segment->info;
    load_scanned(load, size);
    if (walk_resume(&load->walk, data, load->read_position)) {
        segment_index_break(&load->index);
        load_read(load, LOAD_SCAN, load->walk.position, READ_BYTES);
        return;
    }
    load->hunted = extent_last(data, info->salt, load->read_position, load->hunted);
    bool over =
        size < load->buffer_bytes || load->read_position - load->hunted >= EXTENT_HUNT_BYTES;
    if (!load->recover) { /* The map says where it ends. */
        load->walk.evidence = load->target;
        if (over) {
            load_finish(load, ERR_DAMAGED);
        } else {
            load_read(load, LOAD_HUNT, load->read_position + size, READ_BYTES);
        }
        return;
    }
    load->walk.evidence =
        extent_evidence(data, info->salt, load->read_position, load->walk.evidence);
    load->log_start = frame_log_start(data, info, load->read_position, load->log_start);
    if (load->walk.evidence > load->walk.offset || over) {
        load_end(load);
        return;
    }
    load_read(load, LOAD_HUNT, load->read_position + size, READ_BYTES);
}

static void load_bad_extent(struct load *load)
{
    if (!load->recover) {
        COVER("a reader meets a bad extent");
    } else {
        COVER("recovery meets a bad extent");
    }
    if (load->recover && MUTANT("no-hunt")) {
        load_end(load);
        return;
    }
    load->hunted = load->walk.position;
    load_read(load, LOAD_HUNT, load->walk.position + DISK_BLOCK_BYTES, READ_BYTES);
}

/* A reader is at its end, and no producers follow: those of an empty file stand behind it. Nor do
 * notes, for whom they matter: the chain says how far the segment goes. */
static bool load_is_over(const struct load *load, const uint8_t *at)
{
    struct extent_header extent;
    struct frame_header frame;
    const struct segment *segment = load->segment;
    if (load->recover || load->walk.offset != load->target) {
        return false;
    }
    if (frame_at(segment, at, load->walk.position, &extent, &frame) != OK) {
        return true;
    }
    bool notes = load->producers != NULL && load->walk.chain != segment->info.digest &&
                 extent.offset_first == load->walk.offset && extent.chain == load->walk.chain;
    return !notes && (extent.type != EXTENT_PRODUCERS || extent.position != SEGMENT_DATA_POSITION);
}

static void load_scan(struct load *load, uint32_t size)
{
    uint32_t at = 0;
    enum err err = OK;
    load_scanned(load, size);
    while (size - at >= DISK_BLOCK_BYTES) {
        struct extent_header extent;
        if (load_is_over(load, load->block->data + at)) {
            load_end(load);
            return;
        }
        err = load_extent(load, load->block->data + at, size - at, &extent);
        if (err == ERR_NO_MEMORY) {
            load_finish(load, err);
            return;
        }
        if (err == ERR_TRUNCATED && at == 0 && extent.padded_size <= load->buffer_bytes) {
            err = ERR_CORRUPT; /* The file ends inside. */
        }
        if (err == ERR_TRUNCATED) {
            load_read(load, LOAD_SCAN, load->walk.position,
                      max_u32(READ_BYTES, extent.padded_size));
            return;
        }
        if (err != OK) {
            load_bad_extent(load);
            return;
        }
        at += extent.padded_size;
    }
    if (at == 0) {
        load_end(load);
        return;
    }
    load_read(load, LOAD_SCAN, load->walk.position, READ_BYTES);
}

static void load_trailer(struct load *load, uint32_t size)
{
    struct segment *segment = load->segment;
    struct extent_header extent;
    uint32_t body = (uint32_t)load->seal.trailer_bytes;
    const uint8_t *at = load->block->data;
    segment_index_deinit(&load->index);
    segment_index_init(&load->index);
    bool sound =
        size >= EXTENT_HEADER_BYTES + body &&
        extent_header_at(at, segment->info.salt, load->seal.trailer_position, &extent) == OK &&
        extent.type == EXTENT_TRAILER &&
        crc32c(0, at + EXTENT_HEADER_BYTES, body) == extent.frames_or_crc &&
        trailer_decode(bytes_of(at + EXTENT_HEADER_BYTES, body), &load->index, load->producers,
                       load->deleted) == OK;
    if (!sound) {
        COVER("trailer is bad, the file is scanned");
        load_scan_start(load);
        return;
    }
    load->timestamp_max = load->seal.timestamp_max;
    load->walk.offset = load->seal.end_offset;
    load->walk.chain = load->seal.digest;
    load->walk.position = load->seal.trailer_position;
    load->last_ms = load->seal.last_ms;
    load->last_seq = load->seal.last_seq;
    load_finish(load, OK);
}

static void load_head(struct load *load, uint32_t size)
{
    struct segment *segment = load->segment;
    const struct segment_info *info = &segment->info;
    struct segment_header header;
    if (size < SEGMENT_DATA_POSITION || segment_header_decode(load->block->data, &header) != OK ||
        header.segment_id != info->id || header.salt != info->salt ||
        header.base_offset != info->base_offset) {
        load_finish(load, ERR_DAMAGED);
        return;
    }
    load->log_start = header.log_start;
    load->last_ms = header.last_ms;
    load->last_seq = header.last_seq;
    struct segment_seal *seal = &load->seal;
    enum err err = segment_seal_decode(load->block->data + SEGMENT_SEAL_POSITION, seal);
    bool ours = err == OK && seal->segment_id == info->id && seal->salt == info->salt &&
                (info->state == SEGMENT_OPEN || seal->end_offset == info->end_offset);
    load->sealed = ours && load->recover;
    load->log_start = ours ? max_u64(load->log_start, seal->log_start) : load->log_start;
    if (!ours) {
        load_unsealed(load, &header);
        return;
    }
    load_read(load, LOAD_TRAILER, seal->trailer_position,
              align_up(EXTENT_HEADER_BYTES + seal->trailer_bytes, DISK_BLOCK_BYTES));
}

static void load_open(struct load *load)
{
    struct shard *shard = load->segment->partition->shard;
    uint32_t flags =
        (load->recover ? IO_OPEN_WRITE : 0U) | (shard->options.direct ? IO_OPEN_DIRECT : 0U);
    completion_init(&load->io.done, load_step);
    io_open(&load->io, load->path, flags);
    io_submit(shard->reactor, &load->io);
}

/* Who looks at a start, and for the producers, is recovery; everybody else reads. */
static void load_count(const struct load *load, uint64_t bytes)
{
    bool recovers = load->recover || load->producers != NULL;
    stats_add(&load->segment->partition->shard->reactor->stats,
              recovers ? STAT_RECOVERY_READ_BYTES : STAT_INDEX_READ_BYTES, bytes);
}

static void load_step(struct completion *done)
{
    struct load *load = CONTAINER_OF(done, struct load, io.done);
    struct segment *segment = load->segment;
    if (done->result < 0) {
        struct shard *shard = segment->partition->shard;
        if (load->state == LOAD_OPEN &&
            files_make_room(shard, (enum err)done->result, load->path)) {
            load_open(load);
        } else if (load->state == LOAD_SYNC) {
            load->state = LOAD_RENEW;
            load_renew_start(load);
        } else {
            load_finish(load, (enum err)done->result);
        }
        return;
    }
    if (load->state != LOAD_OPEN && load->state != LOAD_SYNC) {
        load_count(load, (uint64_t)done->result);
    }
    switch (load->state) {
    case LOAD_OPEN:
        if (!load->had_file) {
            segment_opened(segment, done->result);
        }
        if (segment->loaded && !load->recover && load->producers == NULL) {
            load->walk.position = segment->position_end;
            load_finish(load, OK);
        } else if (load->recover && !MUTANT("trust-the-cache")) {
            load->state = LOAD_SYNC;
            completion_init(&load->io.done, load_step);
            io_sync(&load->io, segment->fd);
            io_submit(segment->partition->shard->reactor, &load->io);
        } else {
            load_read(load, LOAD_HEAD, 0, SEGMENT_DATA_POSITION);
        }
        return;
    case LOAD_SYNC:
    case LOAD_RENEW:
        load_read(load, LOAD_HEAD, 0, SEGMENT_DATA_POSITION);
        return;
    case LOAD_HEAD:
        load_head(load, (uint32_t)done->result);
        return;
    case LOAD_TRAILER:
        load_trailer(load, (uint32_t)done->result);
        return;
    case LOAD_INDEX:
        load_milestone_index(load, (uint32_t)done->result);
        return;
    case LOAD_PRODUCERS:
        load_milestone_producers(load, (uint32_t)done->result);
        return;
    case LOAD_SCAN:
        load_scan(load, (uint32_t)done->result);
        return;
    case LOAD_HUNT:
        load_hunt(load, (uint32_t)done->result);
        return;
    }
    UNREACHABLE();
}

void load_start(struct load *load, struct segment *segment, struct completion *done)
{
    struct shard *shard = segment->partition->shard;
    load->segment = segment;
    load->done = done;
    load->state = LOAD_OPEN;
    load->had_file = segment->fd >= 0;
    load->target = segment_file_end(segment);
    segment_pin(segment); /* Before it is open: else the newest descriptor might go at once. */
    completion_init(&load->io.done, load_step);
    if (load->had_file) {
        completion_fire(shard->reactor, &load->io.done, OK);
        return;
    }
    segment_path(segment, load->path);
    load_open(load);
}
