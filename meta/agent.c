/* This core's copy of the map, and its way to the metadata core. */
#include "meta/agent.h"

#include "core/assert.h"
#include "core/log.h"
#include "meta/agent_internal.h"
#include "meta/entry.h"
#include "meta/machine.h"

#include <stdlib.h>

/* A roll that a segment of this core waits for. */
struct agent_roll_op {
    struct proposal proposal;
    struct reactor *reactor; /* A stopped agent may be closed before it hears its refusal. */
    struct shard_roll *roll;
};

struct agent_trim_op {
    struct proposal proposal;
    struct reactor *reactor; /* As in a roll. */
    struct shard_trim *trim;
};

enum err agent_open(struct agent **agent, struct reactor *reactor,
                    const struct agent_options *options)
{
    ASSERT(options->core_index == reactor->index && options->core_index < options->core_count);
    struct agent *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return ERR_NO_MEMORY;
    }
    made->reactor = reactor;
    made->options = *options;
    made->map = map_create();
    if (made->map == NULL) {
        free(made);
        return ERR_NO_MEMORY;
    }
    agent_work_init(made);
    reactor->owner[REACTOR_META] = made;
    *agent = made;
    return OK;
}

void agent_start(struct agent *agent, struct completion *done)
{
    ASSERT(agent->start_done == NULL && !agent->subscribed);
    agent->start_done = done;
    agent->subscribed = true;
    agent->subscription = (struct map_subscription){
        .mail = {.fn = meta_on_subscribe, .object = &agent->subscription},
        .reactor = agent->reactor,
    };
    mail_send(agent->reactor, agent->options.meta_reactor, &agent->subscription.mail);
}

const struct map *agent_map(const struct agent *agent)
{
    return agent->map;
}

const struct partition_config *agent_config_default(const struct agent *agent)
{
    return &agent->options.config_default;
}

static void agent_changed(void *context, enum machine_change change, const struct map_topic *topic,
                          uint32_t partition)
{
    struct map_update *update = context;
    struct agent *agent = reactor_self()->owner[REACTOR_META];
    switch (change) {
    case MACHINE_TOPIC_CREATED:
        agent_work_add(agent, update, REQUEST_ASSIGN, topic, 0);
        return;
    case MACHINE_TOPIC_DELETED:
        agent_work_add(agent, update, REQUEST_DROP, topic, 0);
        return;
    case MACHINE_TOPIC_CONFIGURED:
        agent_work_add(agent, update, REQUEST_CONFIGURE, topic, 0);
        return;
    case MACHINE_TOPIC_GROWN:
        agent_work_add(agent, update, REQUEST_ASSIGN, topic, partition);
        return;
    case MACHINE_SEGMENT_ROLLED:
    case MACHINE_SEGMENTS_TRIMMED:
        return; /* The shard that asked for it is answered. */
    }
    UNREACHABLE();
}

static void agent_apply(struct agent *agent, struct map_update *update)
{
    ASSERT(update->version == map_version(agent->map));
    struct entry_reader entry;
    enum err err = entry_open(&entry, bytes_of(update->data, (uint32_t)update->size));
    struct machine_watch watch = {.context = update, .changed = agent_changed};
    while (err == OK && entry.left > 0) {
        struct command command;
        struct command_result result;
        err = entry_next(&entry, &command);
        if (err == OK) {
            machine_apply(agent->map, map_version(agent->map) + 1, &command, &result, &watch);
        }
    }
    ASSERT(err == OK); /* The metadata core has read the same bytes. */
}

/* The whole map: all that this core owns is assigned. */
static void agent_take(struct agent *agent, struct map_update *update)
{
    enum err err = machine_decode(agent->map, update->data, update->size);
    ASSERT(err == OK || err == ERR_NO_MEMORY);
    if (err != OK) {
        agent->start_err = err;
        return;
    }
    for (uint32_t i = 0; i < map_topic_count(agent->map); i++) {
        agent_work_add(agent, NULL, REQUEST_ASSIGN, map_topic_at(agent->map, i), 0);
    }
}

void agent_update_done(struct agent *agent, struct map_update *update)
{
    ASSERT(update->work > 0);
    update->work--;
    if (update->work == 0) {
        update->mail = (struct mail){.fn = meta_on_update_home, .object = update};
        mail_send(agent->reactor, agent->options.meta_reactor, &update->mail);
    }
}

void agent_on_update(struct reactor *receiver, const struct mail *mail)
{
    struct agent *agent = receiver->owner[REACTOR_META];
    struct map_update *update = mail->object;
    ASSERT(agent != NULL);
    bool whole = update->whole;
    update->work = 1; /* Ours, until it is applied. */
    if (whole) {
        agent_take(agent, update);
    } else {
        agent_apply(agent, update);
    }
    agent_update_done(agent, update);
    agent_work_issue(agent);
    agent_deliver_waiting(agent);
    if (whole && agent->works_head == NULL) {
        agent_idle(agent);
    }
}

/* Stops in steps: own proposals and works end -> the metadata core sends nothing more -> what it
 * still sent is done. */
static void agent_settle(struct agent *agent)
{
    if (!agent->stopping || agent->pending > 0 || agent->works_head != NULL) {
        return;
    }
    if (!agent->subscribed) {
        struct completion *done = agent->stop_done;
        agent->stop_done = NULL;
        if (done != NULL) {
            completion_fire(agent->reactor, done, OK);
        }
    } else if (!agent->leaving) {
        agent->leaving = true;
        agent->subscription.mail =
            (struct mail){.fn = meta_on_unsubscribe, .object = &agent->subscription};
        mail_send(agent->reactor, agent->options.meta_reactor, &agent->subscription.mail);
    }
}

void agent_idle(struct agent *agent)
{
    struct completion *done = agent->start_done;
    if (done != NULL) {
        agent->start_done = NULL;
        completion_fire(agent->reactor, done, agent->start_err);
    }
    agent_settle(agent);
}

void agent_on_unsubscribed(struct reactor *receiver, const struct mail *mail)
{
    (void)mail;
    struct agent *agent = receiver->owner[REACTOR_META];
    ASSERT(agent->leaving);
    agent->subscribed = false;
    agent_settle(agent);
}

void agent_propose(struct agent *agent, struct proposal *proposal)
{
    ASSERT(proposal->done.fn != NULL);
    proposal->home = agent->reactor;
    if (agent->stopping || !agent->subscribed) {
        proposal->result = (struct command_result){.err = ERR_NOT_READY};
        completion_fire(agent->reactor, &proposal->done, ERR_NOT_READY);
        return;
    }
    agent->pending++;
    proposal->mail = (struct mail){.fn = meta_on_proposal, .object = proposal};
    mail_send(agent->reactor, agent->options.meta_reactor, &proposal->mail);
}

void agent_on_answer(struct reactor *receiver, const struct mail *mail)
{
    struct agent *agent = receiver->owner[REACTOR_META];
    struct proposal *proposal = mail->object;
    ASSERT(agent->pending > 0);
    agent->pending--;
    completion_fire(agent->reactor, &proposal->done, proposal->result.err);
    agent_settle(agent);
}

static void agent_rolled(struct completion *done)
{
    struct proposal *proposal = CONTAINER_OF(done, struct proposal, done);
    struct agent_roll_op *op = CONTAINER_OF(proposal, struct agent_roll_op, proposal);
    struct shard_roll *roll = op->roll;
    if (done->result == OK && roll->open_next) {
        roll->next = proposal->result.segment;
    }
    completion_fire(op->reactor, &roll->done, done->result);
    free(op);
}

void agent_roll(void *context, struct shard_roll *roll)
{
    struct agent *agent = context;
    struct agent_roll_op *op = calloc(1, sizeof(*op));
    if (op == NULL) {
        completion_fire(agent->reactor, &roll->done, ERR_NO_MEMORY);
        return;
    }
    op->reactor = agent->reactor;
    op->roll = roll;
    op->proposal.command = (struct command){
        .kind = COMMAND_SEGMENT_ROLL,
        .time_ms = agent->reactor->now_ms,
        .segment_roll = {.partition = roll->partition,
                         .segment_id = roll->segment_id,
                         .end_offset = roll->end_offset,
                         .digest = roll->digest,
                         .open_next = roll->open_next,
                         .salt = prng_next(&agent->reactor->prng),
                         .durability = roll->durability,
                         .leader_node = agent->options.node_id,
                         .log_start = roll->log_start,
                         .timestamp_max = roll->timestamp_max,
                         .bytes = roll->bytes},
    };
    completion_init(&op->proposal.done, agent_rolled);
    agent_propose(agent, &op->proposal);
}

static void agent_trimmed(struct completion *done)
{
    struct proposal *proposal = CONTAINER_OF(done, struct proposal, done);
    struct agent_trim_op *op = CONTAINER_OF(proposal, struct agent_trim_op, proposal);
    completion_fire(op->reactor, &op->trim->done, done->result);
    free(op);
}

void agent_trim(void *context, struct shard_trim *trim)
{
    struct agent *agent = context;
    struct agent_trim_op *op = calloc(1, sizeof(*op));
    if (op == NULL) {
        completion_fire(agent->reactor, &trim->done, ERR_NO_MEMORY);
        return;
    }
    op->reactor = agent->reactor;
    op->trim = trim;
    op->proposal.command = (struct command){
        .kind = COMMAND_SEGMENT_TRIM,
        .time_ms = agent->reactor->now_ms,
        .segment_trim = {.partition = trim->partition,
                         .segment_id = trim->segment_id,
                         .log_start = trim->log_start},
    };
    completion_init(&op->proposal.done, agent_trimmed);
    agent_propose(agent, &op->proposal);
}

void agent_stop(struct agent *agent, struct completion *done)
{
    ASSERT(!agent->stopping && agent->start_done == NULL);
    agent->stopping = true;
    agent->stop_done = done;
    agent_settle(agent);
}

void agent_close(struct agent *agent)
{
    ASSERT(agent->pending == 0 && agent->works_head == NULL);
    ASSERT(agent->waiting.head == NULL);
    if (agent->reactor->owner[REACTOR_META] == agent) {
        agent->reactor->owner[REACTOR_META] = NULL;
    }
    map_destroy(agent->map);
    free(agent);
}
