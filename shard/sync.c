/* Makes durable what a partition acked without waiting for the disk: the file of its open segment.
 * Sealed segments are synced by their seal; a `disk` segment has nothing to do.
 *
 *     a `memory` segment acks before it writes, and the journal may have what the file has not:
 *     WAIT until all is written, to the file -> sync -> home */
#include "core/assert.h"
#include "shard/shard_internal.h"

#include <stdlib.h>

struct sync {
    struct request *request;
    struct partition *partition;
    struct segment *segment; /* Pinned. */
    uint64_t offset_end;     /* Up to here the file must have it. */
    struct timer timer;
    struct io io;
};

static void sync_finish(struct sync *sync, enum err err)
{
    struct partition *partition = sync->partition;
    struct request *request = sync->request;
    segment_unpin(sync->segment);
    free(sync);
    request_finish(partition->shard->reactor, request, err);
    shard_leave(partition->shard, partition);
}

static void sync_done(struct completion *done)
{
    struct sync *sync = CONTAINER_OF(done, struct sync, io.done);
    if (done->result < 0) { /* The next one would succeed, and say nothing of these bytes. */
        sync->partition->sync_failed = true;
    }
    sync_finish(sync, done->result < 0 ? ERR_STORAGE : OK);
}

static void sync_look(struct completion *done)
{
    struct sync *sync = CONTAINER_OF(done, struct sync, timer.done);
    struct partition *partition = sync->partition;
    struct reactor *reactor = partition->shard->reactor;
    const struct writer *writer = &partition->writer;
    bool ours = partition_open_segment(partition) == sync->segment;
    if (partition->sync_failed || partition->dropping || (ours && writer->failed)) {
        sync_finish(sync, ERR_STORAGE);
    } else if (ours && sync->segment->file_end < sync->offset_end) {
        (void)writeback_flush(partition);
        timer_start(reactor, &sync->timer, NS_PER_MS); /* Rare: nobody calls back for these. */
    } else {
        completion_init(&sync->io.done, sync_done);
        io_sync(&sync->io, sync->segment->fd);
        io_submit(reactor, &sync->io);
    }
}

void sync_submit(struct partition *partition, struct request *request)
{
    struct reactor *reactor = partition->shard->reactor;
    struct segment *segment = partition_open_segment(partition);
    enum err err = !partition->ready ? ERR_NOT_READY : partition->sync_failed ? ERR_STORAGE : OK;
    bool nothing =
        segment == NULL || !segment->file_made || segment->info.durability == DURABILITY_DISK;
    struct sync *sync = err != OK || nothing ? NULL : calloc(1, sizeof(*sync));
    if (sync == NULL) {
        request_finish(reactor, request, err == OK && !nothing ? ERR_NO_MEMORY : err);
        return;
    }
    *sync = (struct sync){
        .request = request,
        .partition = partition,
        .segment = segment,
        .offset_end = partition->writer.submitted_end,
    };
    shard_enter(partition->shard, partition);
    segment_pin(segment);
    timer_init(&sync->timer, sync_look);
    completion_fire(reactor, &sync->timer.done, OK);
}
