/* Where the log starts, which only rises: for a client (REQUEST_TRIM) or for retention.
 *
 *     IDLE -> FRAME:  the next frame of the open segment carries it, a control frame if no batch is
 *                     staged; known and answered when that is acked
 *          -> ASKING: the map is told, without an open segment; or which segments it may forget
 *     every end -> IDLE, and again while something is left to do
 *
 * It is durable before anybody hears of it. The map forgets a segment before its file goes: a
 * crash in between leaves a file that nobody names, which a later life sweeps away (removal.c). The
 * newest segment always stays: its file alone knows the producers. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/shard_internal.h"

#include <inttypes.h>

/* The next frame of its file can carry a log start. */
static bool trim_has_writer(const struct partition *partition)
{
    const struct segment *segment = partition_open_segment(partition);
    const struct writer *writer = &partition->writer;
    return segment != NULL && segment->file_made && !writer->failed && !writer->seal_done &&
           !partition->damaged;
}

uint32_t trim_first_kept(const struct partition *partition, uint64_t log_start)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < partition->segment_count; i++) {
        const struct segment *segment = partition->segments[i];
        bool open = segment->info.state == SEGMENT_OPEN;
        if (!open && segment->info.end_offset == segment->info.base_offset) {
            continue; /* The map may have dropped it when it was sealed. */
        }
        if (open && !segment->file_made && !partition->damaged) {
            break; /* Without a file it does not know the producers. */
        }
        kept = i;
        if (segment_end(segment) > log_start) {
            break;
        }
    }
    return kept;
}

static void trim_end(struct partition *partition)
{
    partition->trim.state = TRIM_IDLE;
    trim_pump(partition);
    shard_leave(partition->shard, partition);
}

/* Answers those whose wish is true. */
static void trim_answer(struct partition *partition)
{
    struct trim *trim = &partition->trim;
    struct request_queue requests = trim->requests;
    trim->requests = (struct request_queue){0};
    struct request *request;
    while ((request = request_queue_pop(&requests)) != NULL) {
        request->trim.log_start = partition->log_start;
        if ((uint64_t)request->trim.offset <= partition->log_start) {
            request_finish(partition->shard->reactor, request, OK);
        } else {
            request_queue_push(&trim->requests, request);
        }
    }
}

static void trim_raise(struct partition *partition, uint64_t log_start)
{
    ASSERT(log_start <= partition->high_watermark);
    if (log_start > partition->log_start) {
        partition->log_start = log_start;
        deleted_trim(&partition->deleted, log_start);
        LOG_DEBUG("log starts later topic=%s partition=%u start=%" PRIu64, partition->name,
                  partition->id.partition, log_start);
    }
    trim_answer(partition);
}

/* Nobody knows what became of it: a greater log start may be found after a restart. */
static void trim_give_up(struct partition *partition, enum err err)
{
    partition->trim.wanted = partition->log_start;
    request_queue_fail(partition->shard, &partition->trim.requests, err);
}

static void trim_told(struct completion *done)
{
    struct trim *trim = CONTAINER_OF(done, struct trim, ask.done);
    struct partition *partition = CONTAINER_OF(trim, struct partition, trim);
    ASSERT(trim->state == TRIM_ASKING);
    if (done->result < 0) {
        COVER("the map refuses a trim");
        trim_give_up(partition, (enum err)done->result);
        trim->state = TRIM_IDLE; /* And not again at once. */
        shard_leave(partition->shard, partition);
        return;
    }
    trim_raise(partition, trim->ask.log_start);
    removal_take(partition, trim->ask.segment_id);
    trim_end(partition);
}

/* Tells the map where the log starts, and with it what may be forgotten. */
static void trim_ask(struct partition *partition, uint64_t log_start)
{
    struct trim *trim = &partition->trim;
    const struct shard_hooks *hooks = &partition->shard->options.hooks;
    uint32_t kept = trim_first_kept(partition, log_start);
    if (MUTANT("trim-too-much") && kept + 1 < partition->segment_count && kept > 0) {
        kept++;
    }
    const struct segment_info *info = &partition->segments[kept]->info;
    trim->state = TRIM_ASKING;
    trim->ask = (struct shard_trim){
        .partition = partition->id,
        .segment_id = info->id,
        .raises = log_start > partition->log_start,
        .log_start = MUTANT("trim-too-much") ? max_u64(log_start, info->base_offset) : log_start,
    };
    if (MUTANT("recycle-early")) {
        removal_take(partition, info->id);
    }
    completion_init(&trim->ask.done, trim_told);
    hooks->trim(hooks->context, &trim->ask);
}

void trim_pump(struct partition *partition)
{
    struct trim *trim = &partition->trim;
    trim_answer(partition);
    if (trim->state != TRIM_IDLE || partition->roll.state != ROLL_IDLE || !partition->ready ||
        partition->dropping || partition->stopped || partition->segment_count == 0) {
        return;
    }
    uint64_t log_start = max_u64(trim->wanted, partition->log_start);
    bool higher = log_start > partition->log_start;
    if (higher && trim_has_writer(partition)) {
        if (MUTANT("trim-not-durable")) {
            trim_raise(partition, log_start);
            return;
        }
        shard_enter(partition->shard, partition);
        trim->state = TRIM_FRAME;
        trim->target = log_start;
        trim->framed = false;
        commit_kick(partition);
    } else if (higher || trim_first_kept(partition, log_start) > 0) {
        shard_enter(partition->shard, partition);
        trim_ask(partition, log_start);
    }
}

void trim_submit(struct partition *partition, struct request *request)
{
    struct request_trim *wish = &request->trim;
    struct trim *trim = &partition->trim;
    enum err err = OK;
    wish->log_start = partition->log_start;
    if (wish->offset == TRIM_ALL) {
        wish->offset = (int64_t)partition->high_watermark;
    }
    if (!partition->ready) {
        err = ERR_NOT_READY;
    } else if (wish->offset < 0 || (uint64_t)wish->offset > partition->high_watermark) {
        err = ERR_OFFSET_RANGE;
    }
    if (err != OK) {
        request_finish(partition->shard->reactor, request, err);
        return;
    }
    trim->wanted = max_u64(trim->wanted, (uint64_t)wish->offset);
    request_queue_push(&trim->requests, request);
    trim_pump(partition);
}

void trim_retain(struct partition *partition, uint64_t log_start)
{
    struct trim *trim = &partition->trim;
    ASSERT(log_start <= partition->high_watermark);
    if (trim->state == TRIM_IDLE && partition->roll.state == ROLL_IDLE &&
        log_start > partition->log_start) {
        trim->wanted = max_u64(trim->wanted, log_start);
        shard_enter(partition->shard, partition);
        trim_ask(partition, trim->wanted);
        return;
    }
    trim_pump(partition); /* Segments that the map did not forget at the first try. */
}

void trim_fail(struct partition *partition, enum err err)
{
    trim_give_up(partition, err);
}

/* A frame that is not begun never comes: nothing is written any more that it would stand behind. */
void trim_drop(struct partition *partition)
{
    trim_give_up(partition, ERR_TOPIC_UNKNOWN);
    if (trim_wants_frame(partition)) {
        COVER("a topic is deleted while a trim waits for its frame");
        partition->trim.state = TRIM_IDLE;
        shard_leave(partition->shard, partition);
    }
}

bool trim_wants_frame(const struct partition *partition)
{
    return partition->trim.state == TRIM_FRAME && !partition->trim.framed;
}

uint64_t trim_frame_log_start(struct partition *partition)
{
    struct trim *trim = &partition->trim;
    if (trim->state != TRIM_FRAME) {
        return partition->log_start;
    }
    trim->framed = true;
    return trim->target;
}

void trim_frame_acked(struct partition *partition, uint64_t log_start)
{
    if (partition->trim.state == TRIM_FRAME && log_start == partition->trim.target) {
        trim_raise(partition, log_start);
        trim_end(partition);
    }
}

void trim_frame_failed(struct partition *partition)
{
    if (partition->trim.state == TRIM_FRAME) {
        COVER("a trim finds no file");
        trim_ask(partition, partition->trim.target);
    }
}
