/* No safe way on: something failed while another failure was mended, or the disk did what it cannot
 * be asked to do again. In a server the process ends with a line for the operator; in a host that
 * must not end the shard is dead:
 *
 *     shard_fail() -> nothing is acked any more -> who waits is told -> every request: ERR_IO
 *
 * What was acked is where recovery looks for it: the next start puts it in order. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/shard_internal.h"

/* Nothing more is written to its file, nothing waits: in a turn of its own, because the failure may
 * have been met deep inside the work of the same partition. */
static void fail_partition(struct partition *partition)
{
    struct shard *shard = partition->shard;
    const struct segment *segment = partition_open_segment(partition);
    partition->sync_failed = true;
    if (segment != NULL && segment->file_made) {
        partition->writer.failed = true;
        partition->writer.broken = true;
    }
    request_queue_fail(shard, &partition->parked, ERR_IO);
    append_fail_waiting(partition, ERR_IO);
    append_fail_staged(partition, ERR_IO);
    list_remove(&partition->journal_wait_node);
    trim_fail(partition, ERR_IO);
    commit_give_up(partition);
}

static void fail_sweep(struct completion *work)
{
    struct shard *shard = CONTAINER_OF(work, struct shard, fail_work);
    ASSERT(shard->dead);
    retention_end(shard);
    request_queue_fail(shard, &shard->pressed, ERR_IO);
    for (uint32_t i = 0; i < SHARD_BUCKETS; i++) {
        struct partition *next;
        for (struct partition *p = shard->buckets[i]; p != NULL; p = next) {
            next = p->next;
            fail_partition(p);
        }
    }
    shard_leave(shard, NULL);
}

void shard_fail(struct shard *shard, const char *what, const char *file, enum err err)
{
    const struct shard_hooks *hooks = &shard->options.hooks;
    ASSERT(err != OK);
    if (shard->dead) {
        return;
    }
    COVER("no safe way on for a shard");
    shard->dead = true;
    if (hooks->fail == NULL) {
        PANIC("%s (core %u): %.200s: %s. What was acked is safe, nothing else was acked. Look at "
              "the disk (dmesg, smartctl, df), then start floe again: it puts its files in order",
              what, shard->reactor->index, file, err_text(err));
    }
    LOG_ERROR("nothing is written any more, close and open again once the disk is sound "
              "what=\"%s\" file=%s err=%s",
              what, file, err_name(err));
    hooks->fail(hooks->context, &(struct shard_failure){.what = what, .file = file, .err = err});
    shard_enter(shard, NULL);
    completion_init(&shard->fail_work, fail_sweep);
    completion_fire(shard->reactor, &shard->fail_work, OK);
}
