/* What the map's changes mean for this core's shard: partitions are assigned, configured and
 * dropped, a bounded number at a time. Topics come and go in the order of the log. */
#include "core/assert.h"
#include "core/log.h"
#include "meta/agent_internal.h"

#include <stdlib.h>
#include <string.h>

void agent_work_init(struct agent *agent)
{
    for (uint32_t i = 0; i < AGENT_REQUESTS_MAX; i++) {
        agent->requests[i] = (struct agent_request){.agent = agent, .next = agent->requests_free};
        agent->requests_free = &agent->requests[i];
    }
}

void agent_work_add(struct agent *agent, struct map_update *update, enum request_kind kind,
                    const struct map_topic *topic, uint32_t first)
{
    struct agent_work *work = calloc(1, sizeof(*work));
    if (work == NULL) {
        PANIC("out of memory while following the map; the node must be restarted");
    }
    work->update = update;
    work->kind = kind;
    work->version = map_version(agent->map);
    work->topic = topic->id;
    memcpy(work->name, topic->name, sizeof(work->name));
    work->partition_next = first;
    work->partition_count = topic->partition_count;
    agent_partition_config(&agent->options.config_default, topic, &work->config);
    if (update != NULL) {
        update->work++;
    }
    if (agent->works_tail == NULL) {
        agent->works_head = work;
    } else {
        agent->works_tail->next = work;
    }
    agent->works_tail = work;
    if (agent->issue == NULL) {
        agent->issue = work;
    }
}

static void work_finish(struct agent *agent, struct agent_work *work)
{
    struct agent_work **at = &agent->works_head;
    struct agent_work *before = NULL;
    while (*at != work) {
        before = *at;
        at = &(*at)->next;
    }
    *at = work->next;
    if (agent->works_tail == work) {
        agent->works_tail = before;
    }
    struct map_update *update = work->update;
    free(work);
    agent_deliver_waiting(agent);
    if (update != NULL) {
        agent_update_done(agent, update);
    }
    if (agent->works_head == NULL) {
        agent_idle(agent);
    }
}

static void work_answered(struct completion *done)
{
    struct request *request = CONTAINER_OF(done, struct request, done);
    struct agent_request *slot = CONTAINER_OF(request, struct agent_request, request);
    struct agent *agent = slot->agent;
    struct agent_work *work = slot->work;
    if (done->result != OK) {
        enum err err = (enum err)done->result;
        LOG_ERROR("partition is not served topic=%s partition=%u reason=\"%s\"", work->name,
                  request->partition.partition, err_text(err));
        /* A damaged partition, or one too many, keeps nobody else from starting. */
        if (agent->start_err == OK && err != ERR_DAMAGED && err != ERR_CORRUPT &&
            err != ERR_LIMIT) {
            agent->start_err = err;
        }
    }
    free(slot->segments);
    slot->segments = NULL;
    slot->work = NULL;
    slot->next = agent->requests_free;
    agent->requests_free = slot;
    agent->requests_used--;
    work->in_flight--;
    if (work->in_flight == 0 && work->partition_next == work->partition_count) {
        work_finish(agent, work);
    }
    agent_work_issue(agent);
}

/* The segments as the map has them now, copied: the map may change while the shard reads. */
static void work_copy_segments(struct agent *agent, struct agent_request *slot)
{
    struct request *request = &slot->request;
    const struct map_topic *topic = map_topic_by_id(agent->map, &request->partition.topic);
    if (topic == NULL || request->partition.partition >= topic->partition_count) {
        return; /* Deleted meanwhile: the DROP follows. */
    }
    const struct map_partition *partition = &topic->partitions[request->partition.partition];
    request->assign.epoch = partition->epoch;
    request->assign.log_start = partition->log_start;
    if (partition->segment_count == 0) {
        return;
    }
    size_t bytes = partition->segment_count * sizeof(*partition->segments);
    slot->segments = malloc(bytes);
    if (slot->segments == NULL) {
        PANIC("out of memory while following the map; the node must be restarted");
    }
    memcpy(slot->segments, partition->segments, bytes);
    request->assign.segments = slot->segments;
    request->assign.segment_count = partition->segment_count;
}

static void work_submit(struct agent *agent, struct agent_work *work, uint32_t partition)
{
    struct agent_request *slot = agent->requests_free;
    agent->requests_free = slot->next;
    agent->requests_used++;
    work->in_flight++;
    slot->work = work;
    slot->request = (struct request){
        .kind = work->kind,
        .partition = {.topic = work->topic, .partition = partition},
        .home = agent->reactor,
    };
    completion_init(&slot->request.done, work_answered);
    if (work->kind == REQUEST_ASSIGN) {
        slot->request.assign.topic_name = work->name;
        slot->request.assign.config = &work->config;
        work_copy_segments(agent, slot);
    } else if (work->kind == REQUEST_CONFIGURE) {
        slot->request.configure = &work->config;
    }
    shard_submit(agent->options.shard, &slot->request);
}

/* Sends requests of `work` while slots last; true when all are sent. */
static bool work_send(struct agent *agent, struct agent_work *work)
{
    while (work->partition_next < work->partition_count) {
        struct partition_id id = {.topic = work->topic, .partition = work->partition_next};
        if (partition_core(&id, agent->options.core_count) != agent->options.core_index) {
            work->partition_next++;
            continue;
        }
        if (agent->requests_free == NULL) {
            return false;
        }
        work->partition_next++;
        work_submit(agent, work, id.partition);
    }
    return true;
}

void agent_work_issue(struct agent *agent)
{
    while (agent->issue != NULL) {
        struct agent_work *work = agent->issue;
        bool alone = work->kind != REQUEST_ASSIGN || agent->works_head->kind != REQUEST_ASSIGN;
        if (alone && work != agent->works_head) {
            return;
        }
        if (!work_send(agent, work)) {
            return;
        }
        agent->issue = work->next;
        if (work->in_flight == 0) {
            work_finish(agent, work);
        }
    }
}
