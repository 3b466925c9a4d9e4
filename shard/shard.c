/* The face of the log of one core: finds the partition of a request, and stops in good order.
 *
 *     stop: refuse new work -> what is under way ends -> seal open files -> empty the pool
 *           -> close files -> done */
#include "shard/shard.h"

#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

#include <stdlib.h>
#include <string.h>

void request_queue_push(struct request_queue *queue, struct request *request)
{
    request->next = NULL;
    if (queue->tail == NULL) {
        queue->head = request;
    } else {
        queue->tail->next = request;
    }
    queue->tail = request;
}

struct request *request_queue_pop(struct request_queue *queue)
{
    struct request *request = queue->head;
    if (request != NULL) {
        queue->head = request->next;
        if (queue->head == NULL) {
            queue->tail = NULL;
        }
        request->next = NULL;
    }
    return request;
}

void request_queue_fail(struct shard *shard, struct request_queue *queue, enum err err)
{
    struct request *request;
    while ((request = request_queue_pop(queue)) != NULL) {
        request->owner_state = NULL;
        request_finish(shard->reactor, request, err);
    }
}

static bool request_queue_remove(struct request_queue *queue, const struct request *request)
{
    struct request *before = NULL;
    struct request *at = queue->head;
    while (at != NULL && at != request) {
        before = at;
        at = at->next;
    }
    if (at == NULL) {
        return false;
    }
    if (before == NULL) {
        queue->head = at->next;
    } else {
        before->next = at->next;
    }
    if (queue->tail == at) {
        queue->tail = before;
    }
    at->next = NULL;
    return true;
}

uint32_t shard_append_flags(const struct shard *shard)
{
    return IO_OPEN_WRITE | (shard->options.mapped   ? IO_OPEN_MAPPED
                            : shard->options.direct ? IO_OPEN_DIRECT
                                                    : 0U);
}

void shard_enter(struct shard *shard, struct partition *partition)
{
    ASSERT(!shard->stopped);
    shard->active++;
    if (partition != NULL) {
        partition->active++;
    }
}

void shard_leave(struct shard *shard, struct partition *partition)
{
    ASSERT(shard->active > 0);
    shard->active--;
    if (partition != NULL) {
        ASSERT(partition->active > 0);
        partition->active--;
        if (partition->active == 0) {
            partition_idle(partition);
        }
    }
    if (shard->stopping && shard->active == 0 && !shard->stop_work.queued) {
        completion_fire(shard->reactor, &shard->stop_work, OK);
    }
}

static uint32_t shard_bucket(const struct partition_id *id)
{
    return (load_le32(id->topic.bytes) + id->partition * 2654435761U) % SHARD_BUCKETS;
}

static struct partition **shard_find(struct shard *shard, const struct partition_id *id)
{
    struct partition **at = &shard->buckets[shard_bucket(id)];
    while (*at != NULL && ((*at)->id.partition != id->partition ||
                           !topic_id_equal(&(*at)->id.topic, &id->topic))) {
        at = &(*at)->next;
    }
    return at;
}

struct partition *shard_partition(struct shard *shard, const struct partition_id *id)
{
    return *shard_find(shard, id);
}

static void shard_stop_sealed(struct completion *done)
{
    struct partition *partition = CONTAINER_OF(done, struct partition, sealed);
    partition->seal_result = done->result < 0 ? (enum err)done->result : OK;
    shard_leave(partition->shard, partition);
}

/* Brings what is pinned into the files; false: not yet. */
static bool shard_flush(struct shard *shard)
{
    bool flushed = true;
    for (uint32_t i = 0; i < SHARD_BUCKETS && shard->journal != NULL; i++) {
        for (struct partition *p = shard->buckets[i]; p != NULL; p = p->next) {
            flushed = writeback_flush(p) && flushed;
        }
    }
    return flushed;
}

/* Is no frame left that only the journal has, and no segment of which only it knows? */
static bool shard_all_written(const struct shard *shard)
{
    if (shard->journal == NULL) {
        return true;
    }
    for (uint32_t i = 0; i < SHARD_BUCKETS; i++) {
        for (const struct partition *p = shard->buckets[i]; p != NULL; p = p->next) {
            const struct segment *open = partition_open_segment(p);
            bool sealed =
                open == NULL || (open->file_made && p->writer.seal_done && p->seal_result == OK);
            if (!sealed) {
                return false;
            }
        }
    }
    return list_empty(&shard->tail_pinned);
}

/* Starts sealing one open file that this life made; false when none is left. One of an earlier life
 * is left as it is: where it ends is recovery's to find, which is not over, or found damage. A file
 * sealed here has not told the map: the next start reads the seal block and does. */
static bool shard_seal_one(struct shard *shard)
{
    for (uint32_t i = 0; i < SHARD_BUCKETS; i++) {
        for (struct partition *p = shard->buckets[i]; p != NULL; p = p->next) {
            struct segment *segment = partition_open_segment(p);
            if (segment == NULL || !segment->file_made || p->writer.failed || p->writer.seal_done) {
                continue;
            }
            p->writer.seal_done = true;
            completion_init(&p->sealed, shard_stop_sealed);
            shard_enter(shard, p);
            struct seal_end end = {.offset = p->high_watermark, .digest = p->writer.durable_chain};
            seal_start(&p->seal, segment, &end, &p->sealed);
            return true;
        }
    }
    return false;
}

static void shard_stop_step(struct completion *work)
{
    struct shard *shard = CONTAINER_OF(work, struct shard, stop_work);
    if (shard->active > 0 || shard->stopped) {
        return;
    }
    if (!shard->closing) {
        bool open = !shard->dead && (!shard_flush(shard) || shard_seal_one(shard));
        if (open || !pool_stop(shard)) {
            return;
        }
        shard->closing = true;
        shard->clean = !shard->dead && shard_all_written(shard);
        journal_stop(shard);
        for (uint32_t i = 0; i < SHARD_BUCKETS; i++) {
            for (struct partition *p = shard->buckets[i]; p != NULL; p = p->next) {
                for (uint32_t s = 0; s < p->segment_count; s++) {
                    segment_close(p->segments[s]);
                }
            }
        }
        if (shard->active > 0) {
            return;
        }
    }
    shard->stopped = true;
    completion_fire(shard->reactor, shard->stop_done, OK);
}

/* What was read ahead, or is kept for the next reader, goes before what was just appended. */
static bool shard_reclaim(void *context, uint64_t bytes)
{
    struct shard *shard = context;
    if (shard->looks.starting_ahead) {
        return false;
    }
    return looks_reclaim(shard, bytes) || tail_reclaim(shard, bytes);
}

enum err shard_open(struct shard **shard, struct reactor *reactor,
                    const struct shard_options *options)
{
    ASSERT(options->hooks.roll != NULL);
    ASSERT(options->hooks.trim != NULL);
    struct shard *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return ERR_NO_MEMORY;
    }
    made->reactor = reactor;
    made->options = *options;
    files_init(made);
    made->tail_frames = calloc(TAIL_FRAMES_MAX, sizeof(*made->tail_frames));
    made->readers = calloc(SHARD_READERS, sizeof(*made->readers));
    if (made->tail_frames == NULL || made->readers == NULL) {
        free(made->tail_frames);
        free(made->readers);
        free(made);
        return ERR_NO_MEMORY;
    }
    list_init(&made->files);
    tail_init(made);
    lend_init(made);
    delete_init(made);
    pool_init(made);
    flush_group_init(made);
    for (uint32_t i = 0; i < SHARD_READERS; i++) {
        made->readers[i].next = made->readers_free;
        made->readers_free = &made->readers[i];
    }
    enum err err = looks_open(made);
    err = err == OK ? judges_open(made) : err;
    err = err == OK ? journal_open(made) : err;
    if (err != OK) {
        judges_close(made);
        free(made->looks.all);
        free(made->tail_frames);
        free(made->readers);
        free(made);
        return err;
    }
    completion_init(&made->stop_work, shard_stop_step);
    retention_begin(made);
    memory_set_reclaim(reactor->memory, shard_reclaim, made);
    reactor->owner[REACTOR_SHARD] = made;
    *shard = made;
    return OK;
}

static void shard_assign(struct shard *shard, struct partition **at, struct request *request)
{
    if (*at != NULL) {
        (*at)->epoch = max_u32((*at)->epoch, request->assign.epoch);
    }
    if (*at != NULL && !(*at)->ready && !(*at)->dropping && (*at)->active == 0) {
        COVER("assign after a recovery that failed");
        recover_start(*at, request);
        return;
    }
    if (*at != NULL) {
        COVER("assign of a partition that is here");
        (*at)->config = *request->assign.config;
        request_finish(shard->reactor, request, (*at)->dropping ? ERR_BUSY : OK);
        return;
    }
    if (shard->partition_count >= shard->options.partitions_max) {
        request_finish(shard->reactor, request, ERR_LIMIT);
        return;
    }
    enum err err = partition_create(shard, request, at);
    if (err != OK) {
        request_finish(shard->reactor, request, err);
        return;
    }
    shard->partition_count++;
    recover_start(*at, request);
}

static void shard_dispatch(struct shard *shard, struct partition *partition,
                           struct request *request)
{
    switch (request->kind) {
    case REQUEST_PRODUCE:
        append_submit(partition, request);
        return;
    case REQUEST_FETCH:
        fetch_submit(partition, request);
        return;
    case REQUEST_OFFSETS:
        offsets_submit(partition, request);
        return;
    case REQUEST_IDENTIFY:
        identify_submit(partition, request);
        return;
    case REQUEST_CONFIGURE:
        partition->config = *request->configure;
        request_finish(shard->reactor, request, OK);
        return;
    case REQUEST_SIZE:
        request->size_bytes = partition->ready ? partition_bytes(partition) : 0;
        request_finish(shard->reactor, request, partition->ready ? OK : ERR_NOT_READY);
        return;
    case REQUEST_SYNC:
        sync_submit(partition, request);
        return;
    case REQUEST_DROP:
        partition_drop(partition, request);
        return;
    case REQUEST_TRIM:
        trim_submit(partition, request);
        return;
    case REQUEST_DELETE:
    case REQUEST_SET_LAST:
        delete_submit(partition, request);
        return;
    case REQUEST_ASSIGN:
    case REQUEST_RELEASE:
        break;
    }
    UNREACHABLE();
}

void shard_submit(struct shard *shard, struct request *request)
{
    ASSERT(!request->done.queued);
    request->owner_state = NULL;
    request->next = NULL;
    if (request->kind == REQUEST_RELEASE) {
        fetch_release(shard, request);
        return;
    }
    if (request->kind == REQUEST_FETCH) {
        request->fetch.piece_count = 0;
        request->fetch.size_bytes = 0;
        request->fetch.parked = false;
        request->fetch.pressed = false;
    }
    if (shard->stopping || shard->dead) {
        request_finish(shard->reactor, request, shard->dead ? ERR_IO : ERR_NOT_READY);
        return;
    }
    struct partition **at = shard_find(shard, &request->partition);
    if (request->kind == REQUEST_ASSIGN) {
        shard_assign(shard, at, request);
        return;
    }
    if (*at == NULL || (*at)->dropping) {
        request_finish(shard->reactor, request,
                       request->kind == REQUEST_DROP && *at == NULL ? OK : ERR_TOPIC_UNKNOWN);
        return;
    }
    shard_dispatch(shard, *at, request);
}

bool shard_serves(struct shard *shard, const struct partition_id *id)
{
    const struct partition *partition = *shard_find(shard, id);
    return partition != NULL && partition->ready;
}

void shard_cancel(struct shard *shard, struct request *fetch)
{
    ASSERT(fetch->kind == REQUEST_FETCH);
    struct partition *partition = *shard_find(shard, &fetch->partition);
    if (partition == NULL || !fetch->fetch.parked) {
        return;
    }
    if (!request_queue_remove(&partition->parked, fetch) &&
        !request_queue_remove(&shard->pressed, fetch)) {
        return; /* A stop or a drop was first. */
    }
    fetch->fetch.parked = false;
    fetch->fetch.high_watermark = partition->high_watermark;
    fetch->fetch.log_start = partition->log_start;
    request_finish(shard->reactor, fetch, ERR_CANCELED);
}

void shard_stop(struct shard *shard, struct completion *done)
{
    ASSERT(!shard->stopping);
    shard->stopping = true;
    shard->stop_done = done;
    retention_end(shard);
    request_queue_fail(shard, &shard->pressed, ERR_CANCELED);
    for (uint32_t i = 0; i < SHARD_BUCKETS; i++) {
        for (struct partition *p = shard->buckets[i]; p != NULL; p = p->next) {
            p->stopped = true;
            request_queue_fail(shard, &p->parked, ERR_CANCELED);
            append_fail_waiting(p, ERR_NOT_READY);
            request_queue_fail(shard, &p->unread_wait, ERR_NOT_READY);
            trim_fail(p, ERR_NOT_READY);
        }
    }
    if (shard->active == 0) {
        completion_fire(shard->reactor, &shard->stop_work, OK);
    }
}

void shard_close(struct shard *shard)
{
    ASSERT(shard->active == 0);
    ASSERT(shard->stopped || shard->partition_count == 0);
    retention_end(shard);
    memory_set_reclaim(shard->reactor->memory, NULL, NULL);
    for (uint32_t i = 0; i < SHARD_BUCKETS; i++) {
        while (shard->buckets[i] != NULL) {
            struct partition *partition = shard->buckets[i];
            shard->buckets[i] = partition->next;
            partition_destroy(partition);
        }
    }
    if (shard->reactor->owner[REACTOR_SHARD] == shard) {
        shard->reactor->owner[REACTOR_SHARD] = NULL;
    }
    journal_close(shard);
    judges_close(shard);
    looks_close(shard);
    free(shard->tail_frames);
    free(shard->readers);
    free(shard);
}

bool shard_is_clean(const struct shard *shard)
{
    ASSERT(shard->stopped);
    return shard->clean;
}

uint32_t shard_partition_count(const struct shard *shard)
{
    return shard->partition_count;
}
