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

static bool agent_has_followed(const struct agent *agent, uint64_t version)
{
    return map_version(agent->map) >= version && agent->works_head == NULL;
}

static void agent_deliver_again(struct completion *work)
{
    struct request *request = CONTAINER_OF(work, struct request, work);
    agent_deliver(request->owner_state, request);
}

void agent_deliver(struct agent *agent, struct request *request)
{
    if (request->kind != REQUEST_RELEASE &&
        !shard_serves(agent->options.shard, &request->partition) &&
        !agent_has_followed(agent, request->map_version)) {
        COVER("a request is ahead of the map");
        request->owner_state = agent;
        completion_init(&request->work, agent_deliver_again);
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

void agent_deliver_waiting(struct agent *agent)
{
    struct completion *work;
    while ((work = completion_list_pop(&agent->waiting)) != NULL) {
        completion_fire(agent->reactor, work, OK);
    }
}
