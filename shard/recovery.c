/* What the files say after a start, and what follows for their partition.
 *
 *     LOADING the open segment -> SEALING it -> ASKING the map to seal -> ready
 *     no open segment: ready at once; LOADING the newest file comes before the first append
 *
 * The named cases (storage.md C) that are decided here; load.c has the others:
 *     no file           the map says open: nothing was ever acked in it; sealed at its base
 *     seal block valid  sealed at its L
 */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/journals.h"
#include "shard/shard_internal.h"

#include <inttypes.h>

static void recover_step(struct completion *work);

static void recover_finish(struct partition *partition, enum err err)
{
    struct shard *shard = partition->shard;
    struct recover *recover = &partition->recover;
    struct request *request = recover->request;
    recover->request = NULL;
    shard->recovering--;
    struct completion *next = completion_list_pop(&shard->recoveries);
    if (next != NULL) {
        shard->recovering++;
        completion_fire(shard->reactor, next, OK);
    }
    if (err == OK) {
        partition->ready = true;
        partition->unread = partition->unread && !recover->reading;
        recover->reading = false;
        append_pump(partition);
        deleted_trim(&partition->deleted, partition->log_start);
        reader_pump(partition);
    } else {
        recover->reading = false;
        request_queue_fail(shard, &partition->unread_wait, ERR_NOT_READY);
        append_fail_waiting(partition, ERR_NOT_READY);
    }
    if (request != NULL) {
        request_finish(shard->reactor, request, err);
    }
    shard_leave(shard, partition);
}

static void recover_load(struct partition *partition, uint32_t index)
{
    struct recover *recover = &partition->recover;
    struct segment *segment = partition->segments[index];
    recover->state = RECOVER_LOADING;
    recover->segment = index;
    producer_table_destroy(partition->producers);
    partition->producers = producer_table_create();
    deleted_clear(&partition->deleted);
    if (partition->producers == NULL) { /* The seal would forget what is not read now. */
        COVER("a start has no memory for producers");
        recover_finish(partition, ERR_NO_MEMORY);
        return;
    }
    recover->load = (struct load){
        .producers = partition->producers,
        .deleted = &partition->deleted,
        .recover = segment->info.state == SEGMENT_OPEN,
    };
    completion_init(&recover->work, recover_step);
    load_start(&recover->load, segment, &recover->work);
}

static void recover_asked(struct completion *done)
{
    struct recover *recover = CONTAINER_OF(done, struct recover, ask.done);
    struct partition *partition = CONTAINER_OF(recover, struct partition, recover);
    if (done->result < 0) {
        recover_finish(partition, (enum err)done->result);
        return;
    }
    struct segment *segment = partition_open_segment(partition);
    ASSERT(segment != NULL);
    segment->info.state = SEGMENT_SEALED;
    segment->info.end_offset = recover->end.offset;
    segment->info.digest = recover->end.digest;
    segment->info.timestamp_max = recover->ask.timestamp_max;
    segment->info.bytes = recover->ask.bytes;
    /* What is not flushed may have lost its end, with what was trimmed: see seal_segment() in
     * meta/machine.c, which does the same. */
    partition->log_start = min_u64(partition->log_start, recover->end.offset);
    partition->high_watermark = recover->end.offset;
    partition->offset_next = recover->end.offset;
    LOG_INFO("segment recovered topic=%s partition=%u end=%" PRIu64, partition->name,
             partition->id.partition, recover->end.offset);
    recover_finish(partition, OK);
}

static void recover_ask(struct partition *partition)
{
    struct recover *recover = &partition->recover;
    recover->state = RECOVER_ASKING;
    const struct segment *segment = partition_open_segment(partition);
    recover->ask = (struct shard_roll){
        .partition = partition->id,
        .segment_id = segment->info.id,
        .end_offset = recover->end.offset,
        .digest = recover->end.digest,
        .log_start = partition->log_start,
        .timestamp_max = segment_time_max(partition, segment),
        .bytes = segment->position_end,
        .durability = partition->config.durability,
    };
    completion_init(&recover->ask.done, recover_asked);
    const struct shard_hooks *hooks = &partition->shard->options.hooks;
    hooks->roll(hooks->context, &recover->ask);
}

static void recover_end(struct recover *recover, uint64_t offset, uint64_t digest)
{
    recover->end = (struct seal_end){.offset = offset, .digest = digest};
}

/* A file was read, or is not there. */
static void recover_loaded(struct partition *partition, enum err err)
{
    struct recover *recover = &partition->recover;
    struct segment *segment = recover->load.segment; /* Older ones may have been removed. */
    bool is_last = segment == partition->segments[partition->segment_count - 1];
    bool is_open = segment->info.state == SEGMENT_OPEN;
    uint64_t evidence;
    bool missing = false;
    if (is_open && err == ERR_NOT_FOUND &&
        journals_evidence(partition->shard->options.journals, segment->info.id, &evidence,
                          &missing)) {
        COVER("an open segment lost its file");
        err = ERR_DAMAGED;
    }
    if (is_open && err == ERR_NOT_FOUND) {
        COVER("an open segment without a file");
        recover_end(recover, segment->info.base_offset, segment->info.salt);
        segment->loaded = true;
        if (recover->segment > 0) {
            recover_load(partition, recover->segment - 1);
        } else {
            recover_ask(partition);
        }
        return;
    }
    bool passes = err == ERR_LIMIT || err == ERR_NO_MEMORY;
    if (err != OK && err != ERR_DAMAGED && (is_open || passes)) {
        /* Where it ends, or who wrote to it, is not known: no answer is better than a wrong one. */
        LOG_ERROR("segment cannot be recovered topic=%s partition=%u err=%s", partition->name,
                  partition->id.partition, err_name(err));
        recover_finish(partition, err);
        return;
    }
    if (is_open) { /* Of a sealed one the map knows. */
        partition->log_start = max_u64(partition->log_start, recover->load.log_start);
    }
    if (err != OK) {
        LOG_ERROR("segment cannot be read, no more appends topic=%s partition=%u err=%s",
                  partition->name, partition->id.partition, err_name(err));
        partition->damaged = true;
        if (is_open) {
            partition->high_watermark =
                max_u64(segment->info.base_offset, recover->load.walk.offset);
            partition->high_watermark = max_u64(partition->high_watermark, partition->log_start);
            partition->end_lost = true;
        }
        partition->offset_next = partition->high_watermark;
        recover_finish(partition, OK);
        return;
    }
    partition->last_id = (struct stream_id){recover->load.last_ms, recover->load.last_seq};
    partition->acked_id = partition->last_id;
    if (!is_open) {
        if (is_last) {
            recover_finish(partition, OK);
        } else {
            recover_ask(partition);
        }
        return;
    }
    recover_end(recover, recover->load.walk.offset, recover->load.walk.chain);
    if (recover->load.sealed) {
        recover_end(recover, recover->load.seal.end_offset, recover->load.seal.digest);
        recover_ask(partition);
        return;
    }
    /* See recover_asked(): the seal block must not say that the log starts behind its end. */
    partition->log_start = min_u64(partition->log_start, recover->end.offset);
    recover->state = RECOVER_SEALING;
    segment_pin(segment);
    completion_init(&recover->work, recover_step);
    seal_start(&recover->seal, segment, &recover->end, &recover->work);
}

static void recover_step(struct completion *work)
{
    struct recover *recover = CONTAINER_OF(work, struct recover, work);
    struct partition *partition = CONTAINER_OF(recover, struct partition, recover);
    enum err err = work->result < 0 ? (enum err)work->result : OK;
    switch (recover->state) {
    case RECOVER_WAITING:
        if (partition->segment_count == 0) {
            recover_finish(partition, OK);
        } else if (!recover->reading && partition_open_segment(partition) == NULL) {
            partition->unread = true;
            recover_finish(partition, OK);
        } else {
            recover_load(partition, partition->segment_count - 1);
        }
        return;
    case RECOVER_LOADING:
        recover_loaded(partition, err);
        return;
    case RECOVER_SEALING:
        segment_unpin(partition_open_segment(partition));
        if (err != OK) {
            LOG_WARN("segment sealed without a trailer topic=%s partition=%u err=%s",
                     partition->name, partition->id.partition, err_name(err));
        }
        recover_ask(partition);
        return;
    case RECOVER_ASKING:
        break;
    }
    UNREACHABLE();
}

static void recover_begin(struct partition *partition)
{
    struct shard *shard = partition->shard;
    struct recover *recover = &partition->recover;
    recover->state = RECOVER_WAITING;
    shard_enter(shard, partition);
    completion_init(&recover->work, recover_step);
    if (shard->recovering >= SHARD_RECOVERIES_MAX) {
        completion_list_push(&shard->recoveries, &recover->work);
        return;
    }
    shard->recovering++;
    completion_fire(shard->reactor, &recover->work, OK);
}

void recover_start(struct partition *partition, struct request *request)
{
    ASSERT(partition->recover.request == NULL);
    ASSERT(!partition->recover.reading);
    partition->recover.request = request;
    recover_begin(partition);
}

void recover_read(struct partition *partition)
{
    struct recover *recover = &partition->recover;
    ASSERT(partition->unread);
    ASSERT(partition_open_segment(partition) == NULL);
    if (!recover->reading) {
        recover->reading = true;
        recover_begin(partition);
    }
}
