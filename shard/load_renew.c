/* The file of an open segment whose sync failed when its partition was assigned, on behalf of
 * load.c: it is made anew (renew.h). The MANIFEST, where there is one, says so first, or a start
 * behind a crash would believe what only a cache has, because its own sync succeeds.
 *
 *     MARK -> MAKE -> UNMARK -> its head is read
 *       any error of the first two, or a second time: there is no safe way on
 */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/journals.h"
#include "shard/renew.h"
#include "shard/shard_internal.h"

#include <stdlib.h>

struct load_renew {
    struct load *load;
    struct completion done; /* Of the renewal. */
    struct renew renew;
    struct journals_change change;
    struct segment_record record;
};

static void load_renew_end(struct load_renew *renew, enum err err)
{
    struct load *load = renew->load;
    struct segment *segment = load->segment;
    free(renew);
    if (err == OK) {
        load_read(load, LOAD_HEAD, 0, SEGMENT_DATA_POSITION);
        return;
    }
    segment_path(segment, load->path);
    shard_fail(segment->partition->shard,
               "a segment's file failed at a start, and then what was to take its place",
               load->path, err);
    load_finish(load, err);
}

/* If not, the next start makes the file anew once more. */
static void load_renew_unmarked(struct completion *done)
{
    struct load_renew *renew = CONTAINER_OF(done, struct load_renew, change.done);
    MAYBE(done->result < 0);
    load_renew_end(renew, OK);
}

static void load_renew_made(struct completion *done)
{
    struct load_renew *renew = CONTAINER_OF(done, struct load_renew, done);
    struct segment *segment = renew->load->segment;
    const struct shard *shard = segment->partition->shard;
    if (done->result < 0) {
        load_renew_end(renew, (enum err)done->result);
        return;
    }
    ASSERT(segment->fd_before < 0);
    segment->fd_before = segment->fd;
    segment->fd = done->result;
    if (shard->options.journals == NULL) {
        load_renew_end(renew, OK);
        return;
    }
    completion_init(&renew->change.done, load_renew_unmarked);
    journals_mark(&renew->change, shard->options.journals, shard->reactor, JOURNALS_MENDED,
                  &renew->record);
}

static void load_renew_make(struct load_renew *renew)
{
    struct load *load = renew->load;
    const struct shard *shard = load->segment->partition->shard;
    segment_path(load->segment, load->path);
    completion_init(&renew->done, load_renew_made);
    renew->renew = (struct renew){
        .done = &renew->done,
        .reactor = shard->reactor,
        .data_dir = shard->options.data_dir,
        .path = load->path,
        .segment_id = load->segment->info.id,
        .flags = IO_OPEN_WRITE | (shard->options.direct ? IO_OPEN_DIRECT : 0U),
        .fd = load->segment->fd,
    };
    renew_start(&renew->renew);
}

static void load_renew_marked(struct completion *done)
{
    struct load_renew *renew = CONTAINER_OF(done, struct load_renew, change.done);
    if (done->result < 0) {
        COVER("the MANIFEST cannot say that an assigned file failed");
        load_renew_end(renew, (enum err)done->result);
        return;
    }
    load_renew_make(renew);
}

void load_renew_start(struct load *load)
{
    struct segment *segment = load->segment;
    const struct segment_info *info = &segment->info;
    struct shard *shard = segment->partition->shard;
    if (segment->fd_before >= 0) {
        segment_path(segment, load->path);
        shard_fail(shard, "a segment's file was made anew at a start, and failed again", load->path,
                   ERR_IO);
        load_finish(load, ERR_IO);
        return;
    }
    struct load_renew *renew = calloc(1, sizeof(*renew));
    if (renew == NULL) {
        segment_path(segment, load->path);
        shard_fail(shard, "a segment's file failed at a start, and there is no memory to mend it",
                   load->path, ERR_NO_MEMORY);
        load_finish(load, ERR_NO_MEMORY);
        return;
    }
    renew->load = load;
    renew->record = (struct segment_record){
        .segment_id = info->id,
        .topic = segment->partition->id.topic,
        .partition = segment->partition->id.partition,
        .epoch = info->epoch,
        .base_offset = info->base_offset,
        .salt = info->salt,
        .state = SEGMENT_OPEN,
        .durability = (uint8_t)info->durability,
        .replication_factor = (uint8_t)info->replication_factor,
        .ack_quorum = (uint8_t)info->ack_quorum,
        .timestamp_max = INT64_MIN,
    };
    if (shard->options.journals == NULL) {
        load_renew_make(renew);
        return;
    }
    completion_init(&renew->change.done, load_renew_marked);
    journals_mark(&renew->change, shard->options.journals, shard->reactor, JOURNALS_FAILED,
                  &renew->record);
}
