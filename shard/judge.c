/* See the header. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"
#include "shard/unpack.h"

#include <stdlib.h>

struct judge {
    struct list node; /* Among those at rest, or those that run. */
    struct partition *partition;
    struct batch_rules rules;
    struct unpack unpack;
};

static void judge_work(struct completion *work);

enum err judges_open(struct shard *shard)
{
    struct judges *judges = &shard->judges;
    list_init(&judges->resting);
    list_init(&judges->running);
    list_init(&judges->line);
    completion_init(&judges->work, judge_work);
    judges->slice_bytes = shard->options.slice_bytes;
    if (judges->slice_bytes == 0) {
        judges->slice_bytes = JUDGE_SLICE_BYTES;
    }
    judges->all = calloc(JUDGES_MAX + 1, sizeof(*judges->all));
    judges->room = malloc(judges->slice_bytes);
    if (judges->all == NULL || judges->room == NULL) {
        judges_close(shard);
        return ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i <= JUDGES_MAX; i++) {
        list_push_back(&judges->resting, &judges->all[i].node);
    }
    return OK;
}

void judges_close(struct shard *shard)
{
    struct judges *judges = &shard->judges;
    ASSERT(judges->running_count == 0);
    ASSERT(!judges->work.queued);
    for (uint32_t i = 0; judges->all != NULL && i <= JUDGES_MAX; i++) {
        unpack_free(&judges->all[i].unpack);
    }
    free(judges->all);
    free(judges->room);
    judges->all = NULL;
    judges->room = NULL;
}

static void judge_kick(struct shard *shard)
{
    struct judges *judges = &shard->judges;
    bool wanted = !list_empty(&judges->running) || !list_empty(&judges->line);
    if (wanted && !judges->work.queued) {
        shard_enter(shard, NULL);
        reactor_defer(shard->reactor, TURN_COMMIT, &judges->work);
    }
}

/* Whether this turn may look into one more batch that is packed. */
static bool judge_has_time(struct shard *shard)
{
    struct judges *judges = &shard->judges;
    uint64_t turn = shard->reactor->stats.counters[STAT_TURNS];
    if (judges->turn != turn) {
        judges->turn = turn;
        judges->turn_bytes = 0;
    }
    return judges->turn_bytes < JUDGE_TURN_BYTES;
}

static enum err judge_slice(struct shard *shard, struct judge *judge)
{
    struct judges *judges = &shard->judges;
    stats_add(&shard->reactor->stats, STAT_APPEND_SLICES, 1);
    const struct codec_stream *stream = &judge->unpack.stream;
    uint32_t used = stream->used;
    uint32_t left = stream->left;
    enum err err = unpack_step(&judge->unpack, judges->room, judges->slice_bytes);
    judges->turn_bytes += (stream->used - used) + (left - stream->left); /* In, and out. */
    return err;
}

/* It is looked at when those before it were, from its start. */
static void judge_line_up(struct partition *partition)
{
    COVER("a batch waits until others are judged");
    partition->head.state = HEAD_LINE;
    list_push_back(&partition->shard->judges.line, &partition->head.node);
    judge_kick(partition->shard);
}

/* It has its verdict, or is not needed any more. */
static void judge_rest(struct shard *shard, struct judge *judge)
{
    struct judges *judges = &shard->judges;
    if (judge->partition != NULL) {
        ASSERT(judges->running_count > 0);
        judges->running_count--;
        judge->partition->head.judge = NULL;
        judge->partition = NULL;
    }
    unpack_end(&judge->unpack);
    list_remove(&judge->node);
    list_push_front(&judges->resting, &judge->node); /* Its memory is warm. */
}

/* There is more to it than may be done at once. Nobody overtakes those in line, but who was called
 * out of it. */
static void judge_later(struct partition *partition, struct judge *judge, bool called)
{
    struct shard *shard = partition->shard;
    struct judges *judges = &shard->judges;
    stats_add(&shard->reactor->stats, STAT_APPENDS_SLICED, 1);
    if (judges->running_count < JUDGES_MAX && (called || list_empty(&judges->line))) {
        COVER("a batch is judged a slice in each turn");
        judges->running_count++;
        judge->partition = partition;
        partition->head.judge = judge;
        partition->head.state = HEAD_RUNNING;
        list_remove(&judge->node);
        list_push_back(&judges->running, &judge->node);
        judge_kick(shard);
    } else {
        judge_rest(shard, judge);
        judge_line_up(partition);
    }
}

enum err judge_head(struct partition *partition, const struct batch_rules *rules,
                    const struct batch *batch)
{
    struct shard *shard = partition->shard;
    struct head *head = &partition->head;
    ASSERT(head->state == HEAD_NEW || head->state == HEAD_JUDGED);
    if (head->state == HEAD_JUDGED) {
        return head->verdict;
    }
    bool called = shard->judges.called;
    shard->judges.called = false;
    bool packed = (batch->attributes & BATCH_CODEC_MASK) != CODEC_NONE;
    if (packed && !called && !judge_has_time(shard)) {
        judge_line_up(partition);
        return ERR_BUSY;
    }
    ASSERT(!list_empty(&shard->judges.resting)); /* One more than may run. */
    struct judge *judge = CONTAINER_OF(shard->judges.resting.next, struct judge, node);
    struct bytes data = partition->waiting.head->produce.batch;
    judge->rules = *rules;
    enum err err = batch_check_content_begin(&judge->unpack, data, &judge->rules, batch);
    for (uint32_t i = 0; i < JUDGE_SLICES_AT_ONCE && err == OK && !judge->unpack.over &&
                         !unpack_is_wide(&judge->unpack);
         i++) {
        err = judge_slice(shard, judge);
    }
    if (err == OK && !judge->unpack.over) {
        judge_later(partition, judge, called);
        return ERR_BUSY;
    }
    judge_rest(shard, judge);
    head->state = HEAD_JUDGED;
    head->verdict = err;
    return err;
}

bool judge_waits(const struct partition *partition)
{
    return partition->head.state == HEAD_LINE || partition->head.state == HEAD_RUNNING;
}

void judge_forget(struct partition *partition)
{
    struct head *head = &partition->head;
    list_remove(&head->node);
    if (head->state == HEAD_RUNNING) {
        judge_rest(partition->shard, head->judge);
    }
    ASSERT(head->judge == NULL);
    head->state = HEAD_NEW;
}

/* The next ones in line, while others may run and the turn has time; and one slice of one batch. */
static void judge_work(struct completion *work)
{
    struct shard *shard = CONTAINER_OF(work, struct shard, judges.work);
    struct judges *judges = &shard->judges;
    bool first = true;
    while (!list_empty(&judges->line) && judges->running_count < JUDGES_MAX &&
           (first || judge_has_time(shard))) {
        struct list *node = list_pop_front(&judges->line);
        struct partition *partition = CONTAINER_OF(node, struct partition, head.node);
        partition->head.state = HEAD_NEW;
        judges->called = true;
        append_pump(partition);
        judges->called = false;
        first = false;
    }
    if (!list_empty(&judges->running)) {
        struct judge *judge = CONTAINER_OF(judges->running.next, struct judge, node);
        struct partition *partition = judge->partition;
        enum err err = judge_slice(shard, judge);
        list_remove(&judge->node);
        list_push_back(&judges->running, &judge->node);
        if (err != OK || judge->unpack.over) {
            judge_rest(shard, judge);
            partition->head.state = HEAD_JUDGED;
            partition->head.verdict = err;
            append_pump(partition);
        }
    }
    judge_kick(shard);
    shard_leave(shard, NULL);
}
