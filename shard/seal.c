/* The end of a file: the frames, durable; trailer, durable; then the seal block, durable. Frames of
 * an `os` or `memory` segment were written and no more: without a sync of their own a trailer could
 * survive what it stands for. A crash before the seal block leaves an open file whose trailer the
 * next scan ignores. A failure here costs a later scan and nothing else: what is sealed, and where,
 * is the map's to say.
 *
 *     (SYNC) -> TRAILER -> BLOCK -> (REST) -> done
 *
 * REST gives back what the file has behind the trailer: the writer's steps ahead, or the rest of a
 * recycled file. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/crc32c.h"
#include "shard/shard_internal.h"

#include <string.h>

enum { REST_SHARE = 8 }; /* Of the file: less is left as it is. */

static void seal_finish(struct seal *seal, int32_t result)
{
    struct shard *shard = seal->segment->partition->shard;
    if (seal->block != NULL) {
        block_unref(seal->block);
        seal->block = NULL;
    }
    if (result < 0 && seal->state == SEAL_SYNC &&
        seal->segment->info.durability != DURABILITY_DISK) {
        seal->segment->partition->sync_failed = true;
    }
    completion_fire(shard->reactor, seal->done, result < 0 ? result : OK);
}

/* Behind the trailer; false: there is nothing to speak of. A little stays, for the next segment
 * that is made of the file; nothing at a start or a stop, which may need the space itself. */
static bool seal_give_back(struct seal *seal)
{
    uint64_t used = seal->row.trailer_position + seal->trailer_bytes;
    uint64_t most = min_u64(used / REST_SHARE, ALLOCATE_BYTES_MAX);
    bool much = seal->file_bytes > used + max_u64(most, ALLOCATE_BYTES_MIN);
    if (seal->file_bytes != 0 && !much) {
        return false;
    }
    seal->state = SEAL_REST;
    uint64_t stays =
        seal->file_bytes == 0 ? 0 : min_u64(used / (2 * REST_SHARE), (uint64_t)ALLOCATE_BYTES_MIN);
    io_truncate(&seal->io, seal->segment->fd, used + align_up(stays, DISK_BLOCK_BYTES));
    return true;
}

static void seal_step(struct completion *done)
{
    struct seal *seal = CONTAINER_OF(done, struct seal, io.done);
    struct segment *segment = seal->segment;
    if (seal->state == SEAL_REST) {
        MAYBE(done->result < 0); /* It takes space, and nothing else. */
        seal_finish(seal, OK);
        return;
    }
    if (done->result < 0) {
        seal_finish(seal, done->result);
        return;
    }
    completion_init(&seal->io.done, seal_step);
    if (seal->state == SEAL_BLOCK && !seal_give_back(seal)) {
        seal_finish(seal, OK);
        return;
    }
    if (seal->state == SEAL_SYNC) {
        seal->state = SEAL_TRAILER;
        io_write(&seal->io, segment->fd, seal->block->data, seal->trailer_bytes,
                 seal->row.trailer_position,
                 MUTANT("trailer-cached") ? 0U : (uint32_t)IO_WRITE_DURABLE);
    } else if (seal->state == SEAL_TRAILER) {
        seal->state = SEAL_BLOCK;
        segment_seal_encode(&seal->row, seal->block->data);
        io_write(&seal->io, segment->fd, seal->block->data, DISK_BLOCK_BYTES, SEGMENT_SEAL_POSITION,
                 IO_WRITE_DURABLE);
    }
    struct reactor *reactor = segment->partition->shard->reactor;
    if (seal->state != SEAL_REST) {
        stats_add(&reactor->stats, STAT_SEGMENT_BYTES, seal->io.write.size);
    }
    io_submit(reactor, &seal->io);
}

void seal_start(struct seal *seal, struct segment *segment, const struct seal_end *end,
                struct completion *done)
{
    struct partition *partition = segment->partition;
    struct shard *shard = partition->shard;
    struct reactor *reactor = shard->reactor;
    ASSERT(segment->fd >= 0);
    ASSERT(segment->position_end >= SEGMENT_DATA_POSITION);
    *seal = (struct seal){.segment = segment, .done = done};
    uint32_t body = trailer_size(&segment->index, partition->producers, &partition->deleted);
    uint32_t size = (uint32_t)align_up((uint64_t)EXTENT_HEADER_BYTES + body, DISK_BLOCK_BYTES);
    if (size <= memory_block_max(reactor->memory)) {
        seal->block = block_acquire(reactor->memory, MEMORY_RECOVERY, size);
    }
    if (seal->block == NULL) {
        seal_finish(seal, ERR_NO_MEMORY);
        return;
    }
    uint8_t *at = seal->block->data;
    memset(at, 0, size);
    trailer_encode(&segment->index, partition->producers, &partition->deleted,
                   at + EXTENT_HEADER_BYTES);
    struct extent_header extent = {
        .type = EXTENT_TRAILER,
        .salt = segment->info.salt,
        .position = segment->position_end,
        .padded_size = size,
        .boot = shard->options.boot,
        .offset_first = end->offset,
        .durable_end = end->offset,
        .chain = end->digest,
        .frames_or_crc = crc32c(0, at + EXTENT_HEADER_BYTES, body),
    };
    extent_header_encode(&extent, at);
    /* What failed before a rebuild was counted, and is not there. */
    const struct writer *writer = &partition->writer;
    struct stream_id last = writer->rebuilt ? partition->acked_id : partition->last_id;
    seal->row = (struct segment_seal){
        .segment_id = segment->info.id,
        .salt = segment->info.salt,
        .end_offset = end->offset,
        .digest = end->digest,
        .trailer_position = segment->position_end,
        .trailer_bytes = body,
        .log_start = partition->log_start,
        .records = end->offset - segment->info.base_offset,
        .last_ms = last.ms,
        .last_seq = last.seq,
        .timestamp_max = segment->timestamp_max,
        .sealed_ms = reactor->now_ms,
    };
    seal->trailer_bytes = size;
    seal->file_bytes = end->file_bytes;
    seal->state = SEAL_SYNC;
    completion_init(&seal->io.done, seal_step);
    if (segment->info.durability == DURABILITY_DISK || MUTANT("seal-without-sync")) {
        completion_fire(reactor, &seal->io.done, OK);
        return;
    }
    io_sync(&seal->io, segment->fd);
    io_submit(reactor, &seal->io);
}
