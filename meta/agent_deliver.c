/* From the map to the shard: a partition that some core's map shows is served by its owner.
 *
 * A map changes on all cores at about the same time, but not in the same turn, and the owner's
 * shard follows its map a few turns later. A client that was told of a topic by one core may send
 * it records through another at once; were the first batch of a producer refused as unknown and
 * the second accepted, its sequence would have a hole for ever. So a request for a partition that
 * the shard does not serve waits until the shard has followed the map that its sender saw. */
#include "core/assert.h"
#include "core/cover.h"
#include "meta/agent_internal.h"

/* The shard has done what maps up to `version` asked of it. */
static bool agent_has_followed(const struct agent *agent, uint64_t version)
{
    return map_version(agent->map) >= version &&
           (agent->works_head == NULL || agent->works_head->version > version);
}

/* The map first: it nearly always says enough, and spares a look-up that shard_submit() repeats. */
static bool agent_may_deliver(const struct agent *agent, const struct request *request)
{
    return agent_has_followed(agent, request->map_version) ||
           shard_serves(agent->options.shard, &request->partition);
}

/* A request of the same partition waits: a partition may be served before they have gone on. */
static bool agent_waits_for(const struct agent *agent, const struct partition_id *id)
{
    for (struct completion *at = agent->waiting.head; at != NULL; at = at->next) {
        const struct request *other = CONTAINER_OF(at, struct request, work);
        if (other->partition.partition == id->partition &&
            topic_id_equal(&other->partition.topic, &id->topic)) {
            return true;
        }
    }
    return false;
}

void agent_deliver(struct agent *agent, struct request *request)
{
    if (request->kind != REQUEST_RELEASE &&
        (!agent_may_deliver(agent, request) || agent_waits_for(agent, &request->partition))) {
        COVER("a request is ahead of the map");
        request->owner_state = agent;
        completion_list_push(&agent->waiting, &request->work);
        return;
    }
    shard_submit(agent->options.shard, request);
}

void agent_cancel(struct agent *agent, struct request *fetch)
{
    ASSERT(fetch->kind == REQUEST_FETCH);
    if (fetch->owner_state == agent) {
        fetch->fetch.park = false; /* It still looks once. */
        return;
    }
    shard_cancel(agent->options.shard, fetch);
}

/* In their order: whoever cannot go on yet keeps those of its partition behind it, because nothing
 * changes between the first and the last of this loop. */
void agent_deliver_waiting(struct agent *agent)
{
    struct completion_list waiting = agent->waiting;
    struct completion *work;
    agent->waiting = (struct completion_list){0};
    while ((work = completion_list_pop(&waiting)) != NULL) {
        struct request *request = CONTAINER_OF(work, struct request, work);
        if (agent_may_deliver(agent, request)) {
            shard_submit(agent->options.shard, request);
        } else {
            completion_list_push(&agent->waiting, work);
        }
    }
}
