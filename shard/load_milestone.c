/* The last milestone of a file that is not sealed, on behalf of load.c: what is before it need not
 * be read. */
#include "core/cover.h"
#include "core/log.h"
#include "shard/milestone.h"
#include "shard/shard_internal.h"

#include <inttypes.h>

static bool load_fits(const struct load *load, uint64_t bytes)
{
    return bytes <= memory_block_max(load->segment->partition->shard->reactor->memory);
}

/* An extent of a milestone, as read from `position`: sound, and as long as was read. */
static bool load_milestone_extent(const struct load *load, uint32_t size, enum extent_type type,
                                  struct extent_header *extent)
{
    const uint8_t *at = load->block->data;
    return size >= DISK_BLOCK_BYTES &&
           extent_header_at(at, load->segment->info.salt, load->read_position, extent) == OK &&
           extent->type == type && extent->padded_size <= size &&
           (milestone_is_sound(at, extent) || MUTANT("milestone-unchecked"));
}

/* The milestone is no good: as if there was none. */
static void load_milestone_bad(struct load *load)
{
    COVER("a milestone is bad, the file is scanned");
    LOG_WARN("an index extent is bad, the whole file is read topic=%s partition=%u "
             "segment=%016" PRIx64 " position=%" PRIu64,
             load->segment->partition->name, load->segment->partition->id.partition,
             load->segment->info.id, load->walk.position);
    load_scan_start(load);
}

/* All that is before the milestone is known; goes on behind it. */
static void load_milestone_done(struct load *load)
{
    COVER("a file is read from a milestone on");
    load->log_start = max_u64(load->log_start, load->milestone.log_start);
    load->last_ms = load->milestone.last_ms;
    load->last_seq = load->milestone.last_seq;
    load->timestamp_max = load->milestone.timestamp_max;
    segment_index_break(&load->index);
    load->walk.position += load->index_extent.padded_size;
    load->walk.offset = load->index_extent.offset_first;
    load->walk.chain = load->index_extent.chain;
    load->walk.boot = load->index_extent.boot;
    load->walk.evidence = max_u64(load->walk.evidence, load->index_extent.durable_end);
    load_read(load, LOAD_SCAN, load->walk.position, READ_BYTES);
}

/* The index extent of the last milestone, or the beginning of it. */
void load_milestone_index(struct load *load, uint32_t size)
{
    struct extent_header *extent = &load->index_extent;
    const struct milestone *milestone = &load->milestone;
    uint64_t position = load->read_position;
    load_scanned(load, size);
    if (size >= DISK_BLOCK_BYTES && size == load->buffer_bytes &&
        extent_header_at(load->block->data, load->segment->info.salt, position, extent) == OK &&
        extent->padded_size > size && load_fits(load, extent->padded_size)) {
        load_read(load, LOAD_INDEX, position, extent->padded_size);
        return;
    }
    bool sound = load_milestone_extent(load, size, EXTENT_INDEX, extent);
    struct bytes body = bytes_of(load->block->data + EXTENT_HEADER_BYTES,
                                 sound ? extent->padded_size - (uint32_t)EXTENT_HEADER_BYTES : 0);
    if (!sound || extent->offset_first < load->segment->info.base_offset ||
        milestone_decode(body, &load->milestone, &load->index) != OK) {
        load_milestone_bad(load);
        return;
    }
    uint64_t from = milestone->producers_position;
    if (from == 0 || load->producers == NULL) {
        load_milestone_done(load);
    } else if (from <= SEGMENT_DATA_POSITION || from >= position ||
               !is_aligned(from, DISK_BLOCK_BYTES) || !load_fits(load, position - from)) {
        load_milestone_bad(load);
    } else {
        load_read(load, LOAD_PRODUCERS, from, position - from);
    }
}

void load_milestone_producers(struct load *load, uint32_t size)
{
    struct extent_header extent;
    bool sound = load_milestone_extent(load, size, EXTENT_PRODUCERS, &extent) &&
                 extent.offset_first == load->index_extent.offset_first &&
                 extent.chain == load->index_extent.chain;
    struct bytes body = bytes_of(load->block->data + EXTENT_HEADER_BYTES,
                                 sound ? extent.padded_size - (uint32_t)EXTENT_HEADER_BYTES : 0);
    load_scanned(load, size);
    if (!sound || producer_decode(load->producers, milestone_producers(body)) != OK ||
        milestone_deleted(body, load->deleted) != OK) {
        load_milestone_bad(load);
        return;
    }
    load_milestone_done(load);
}
