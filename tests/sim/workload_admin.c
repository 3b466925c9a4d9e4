/* The admin, on core 0.
 *
 * With the stand-in: deletes a topic now and then and makes another, at once, at an I/O event.
 *
 * With the real map: proposes, one command at a time. Once it is answered, the map of every core
 * shows it; what a crash met may have been done or not, as the next life's map says. The first
 * topic is made before there are clients, and the last one is never deleted. */
#include "core/assert.h"
#include "tests/sim/workload_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ADMIN_MS = 20,
    ADMIN_REAL_MS_MAX = 4,
    TOPICS_MAX = 4,
    CONFIGS_MAX = 6,
    CONFIG_TEXT_BYTES = 32,
    FAT_CONFIGS = 50,
    FAT_BYTES = 250,
    NUMBERS_MAX = 256, /* Partitions of which a deletion can tell. */
    TOPIC_PARTITIONS_GROWN = 5,
    GROW_CHANCE = 30,
    DURABILITY_CHANCE = 30,
};

struct admin_op {
    struct proposal proposal;
    struct workload *workload;
    bool away, again; /* Under the name of a topic that was deleted. */
    char name[TOPIC_NAME_BYTES_MAX + 1];
    uint32_t partition; /* Of the topic that is deleted, configured or grown. */
    char keys[CONFIGS_MAX][CONFIG_TEXT_BYTES], values[CONFIGS_MAX][CONFIG_TEXT_BYTES];
    char fat[FAT_BYTES];
};

/* The stand-in. */

static void admin_add_topic(struct workload *workload)
{
    struct partition_config config;
    workload_draw_config(workload, &config);
    (void)sim_map_topic_create(workload->map, &config, 1 + (uint32_t)prng_below(workload->prng, 3));
}

static void admin_replace(struct workload *workload)
{
    struct sim_life *life = workload->life;
    if (!prng_chance(workload->prng, workload->delete_chance) || !sim_node_event(life->node)) {
        return;
    }
    uint32_t before = sim_map_partition_count(workload->map);
    bool deleted[NUMBERS_MAX] = {0};
    for (uint32_t i = 0; i < before && i < NUMBERS_MAX; i++) {
        deleted[i] = sim_map_partition(workload->map, i)->deleted;
    }
    sim_map_topic_delete(workload->map, workload_pick(workload));
    admin_add_topic(workload);
    workload->counts.deletes++;
    if (!sim_node_event(life->node)) {
        return;
    }
    for (uint32_t i = 0; i < before && i < NUMBERS_MAX; i++) {
        if (!deleted[i] && sim_map_partition(workload->map, i)->deleted) {
            auditor_drop(workload, i);
        }
    }
    for (uint32_t i = before; i < sim_map_partition_count(workload->map); i++) {
        auditor_start(workload, i);
    }
}

/* The real map. */

static void admin_add_config(struct admin_op *op, uint32_t at, const char *key, uint64_t value)
{
    (void)snprintf(op->keys[at], CONFIG_TEXT_BYTES, "%s", key);
    (void)snprintf(op->values[at], CONFIG_TEXT_BYTES, "%llu", (unsigned long long)value);
}

/* Limits and durability, which may change any time; of a new topic, also what stays. */
static uint32_t admin_draw_configs(struct admin_op *op, struct command_config *configs, bool fresh)
{
    struct partition_config drawn;
    workload_draw_config(op->workload, &drawn);
    uint32_t count = 2;
    admin_add_config(op, 0, "segment.records", drawn.segment_records);
    admin_add_config(op, 1, "segment.bytes", max_u64(drawn.segment_bytes, KIB(16)));
    if (drawn.retention_ms >= 0) {
        admin_add_config(op, count++, "retention.ms", (uint64_t)drawn.retention_ms);
    }
    if (drawn.retention_bytes >= 0) {
        admin_add_config(op, count++, "retention.bytes", (uint64_t)drawn.retention_bytes);
    }
    if (fresh && drawn.timestamp_type == TIMESTAMP_APPEND) {
        (void)snprintf(op->keys[count], CONFIG_TEXT_BYTES, "message.timestamp.type");
        (void)snprintf(op->values[count], CONFIG_TEXT_BYTES, "LogAppendTime");
        count++;
    }
    bool changes = !fresh && op->workload->lossy_chance > 0 &&
                   prng_chance(op->workload->prng, DURABILITY_CHANCE);
    if (changes || (fresh && drawn.durability != DURABILITY_DISK)) {
        static const char *const words[] = {"disk", "os", "memory"};
        (void)snprintf(op->keys[count], CONFIG_TEXT_BYTES, "durability");
        (void)snprintf(op->values[count], CONFIG_TEXT_BYTES, "%s", words[drawn.durability]);
        count++;
    }
    for (uint32_t i = 0; i < count; i++) {
        configs[i] = (struct command_config){
            .key = bytes_of(op->keys[i], (uint32_t)strlen(op->keys[i])),
            .value = bytes_of(op->values[i], (uint32_t)strlen(op->values[i])),
        };
    }
    return count;
}

/* A name that is free: a new one, or that of a topic that was deleted. */
static void admin_draw_name(struct admin_op *op)
{
    struct workload *workload = op->workload;
    uint32_t count = sim_map_partition_count(workload->map);
    const struct map *map = agent_map(server_agent(workload->life->server, 0));
    op->again = false;
    if (count > 0 && prng_chance(workload->prng, 50)) {
        const struct sim_map_partition *old =
            sim_map_partition(workload->map, (uint32_t)prng_below(workload->prng, count));
        struct bytes name = bytes_of(old->topic_name, (uint32_t)strlen(old->topic_name));
        op->again = old->deleted && map_topic_by_name(map, name) == NULL;
        (void)snprintf(op->name, sizeof(op->name), "%s", old->topic_name);
    }
    if (!op->again) {
        (void)snprintf(op->name, sizeof(op->name), "topic-%u", (unsigned)workload->topic_next++);
    }
}

static void admin_create(struct admin_op *op, struct command *command)
{
    struct prng *prng = op->workload->prng;
    admin_draw_name(op);
    command->kind = COMMAND_TOPIC_CREATE;
    prng_fill(prng, command->topic_create.id.bytes, sizeof(command->topic_create.id.bytes));
    command->topic_create.name = bytes_of(op->name, (uint32_t)strlen(op->name));
    command->topic_create.partition_count = 1 + (uint32_t)prng_below(prng, 3);
    command->topic_create.config_count =
        admin_draw_configs(op, command->topic_create.configs, true);
}

static void admin_delete(struct admin_op *op, struct command *command)
{
    op->partition = workload_pick(op->workload);
    command->kind = COMMAND_TOPIC_DELETE;
    command->topic_delete.id = sim_map_partition(op->workload->map, op->partition)->id.topic;
    sim_map_doom(op->workload->map, op->partition);
}

/* Settings without meaning, so many that the log's files are soon full. */
static uint32_t admin_fatten(struct admin_op *op, struct command_config *configs, uint32_t count)
{
    static const char key[] = "without.meaning";
    memset(op->fat, 'x', sizeof(op->fat));
    for (uint32_t i = 0; i < FAT_CONFIGS; i++) {
        configs[count++] = (struct command_config){
            .key = bytes_of(key, sizeof(key) - 1),
            .value = bytes_of(op->fat, sizeof(op->fat)),
        };
    }
    return count;
}

static void admin_configure(struct admin_op *op, struct command *command)
{
    op->partition = workload_pick(op->workload);
    command->kind = COMMAND_TOPIC_CONFIGURE;
    command->topic_configure.id = sim_map_partition(op->workload->map, op->partition)->id.topic;
    command->topic_configure.config_count =
        admin_draw_configs(op, command->topic_configure.configs, false);
    if (op->workload->fat) {
        command->topic_configure.config_count = admin_fatten(op, command->topic_configure.configs,
                                                             command->topic_configure.config_count);
    }
}

/* False: the drawn topic has partitions enough. */
static bool admin_grow(struct admin_op *op, struct command *command)
{
    const struct map *map = agent_map(server_agent(op->workload->life->server, 0));
    op->partition = workload_pick(op->workload);
    const struct topic_id *id = &sim_map_partition(op->workload->map, op->partition)->id.topic;
    const struct map_topic *topic = map_topic_by_id(map, id);
    if (topic == NULL || topic->partition_count >= TOPIC_PARTITIONS_GROWN) {
        return false;
    }
    command->kind = COMMAND_TOPIC_GROW;
    command->topic_grow.id = *id;
    command->topic_grow.partition_count =
        topic->partition_count + 1 + (uint32_t)prng_below(op->workload->prng, 2);
    return true;
}

/* The answer is only given once every core's map has what the command did. */
static void admin_check_cores(const struct admin_op *op)
{
    struct workload *workload = op->workload;
    const struct command *command = &op->proposal.command;
    for (uint32_t i = 0; i < workload->life->core_count; i++) {
        const struct map *map = agent_map(server_agent(workload->life->server, i));
        bool good = true;
        if (command->kind == COMMAND_TOPIC_CREATE) {
            good = map_topic_by_id(map, &command->topic_create.id) != NULL;
        } else if (command->kind == COMMAND_TOPIC_DELETE) {
            good = map_topic_by_id(map, &command->topic_delete.id) == NULL;
        } else if (command->kind == COMMAND_TOPIC_CONFIGURE) {
            const struct map_topic *topic = map_topic_by_id(map, &command->topic_configure.id);
            const char *value = topic == NULL ? "" : map_topic_config(topic, op->keys[0]);
            good = value != NULL && strcmp(value, op->values[0]) == 0;
        } else if (command->kind == COMMAND_TOPIC_GROW) {
            const struct map_topic *topic = map_topic_by_id(map, &command->topic_grow.id);
            good = topic != NULL && topic->partition_count == command->topic_grow.partition_count;
        }
        if (!good) {
            check_fail(workload->check, "command %d is answered, and core %u does not show it",
                       (int)command->kind, i);
        }
    }
}

/* What is new is looked at as it is after a start. */
static void admin_audit_new(struct workload *workload)
{
    for (uint32_t i = workload->auditor_count; i < sim_map_partition_count(workload->map); i++) {
        auditor_start(workload, i);
    }
}

static void admin_done_well(struct admin_op *op)
{
    struct workload *workload = op->workload;
    const struct command_result *result = &op->proposal.result;
    const struct command *command = &op->proposal.command;
    admin_check_cores(op);
    if (command->kind == COMMAND_TOPIC_CREATE) {
        workload->counts.again += op->again;
        admin_audit_new(workload);
        if (!workload->clients) {
            workload_start_clients(workload);
        }
    } else if (command->kind == COMMAND_TOPIC_DELETE) {
        workload->counts.deletes++;
        if (!sim_map_partition(workload->map, op->partition)->deleted) {
            check_fail(workload->check, "a topic was deleted, and is in the map");
        }
    } else if (command->kind == COMMAND_TOPIC_CONFIGURE) {
        workload->counts.configured++;
    } else if (command->kind == COMMAND_TOPIC_GROW) {
        workload->counts.grown++;
        admin_audit_new(workload);
    } else {
        workload->counts.blocks++;
        if (result->producer_id_first < workload->id_end) {
            check_fail(workload->check, "producer ids from %llu were handed out before",
                       (unsigned long long)result->producer_id_first);
        }
        workload->id_end = result->producer_id_first + command->producer_ids.count;
    }
}

static void admin_answered(struct completion *done)
{
    struct proposal *proposal = CONTAINER_OF(done, struct proposal, done);
    struct admin_op *op = CONTAINER_OF(proposal, struct admin_op, proposal);
    struct workload *workload = op->workload;
    struct sim_life *life = workload->life;
    if (sim_node_crashed(life->node)) {
        return;
    }
    ASSERT(op->away);
    op->away = false;
    sim_map_look(workload->map);
    if (done->result == OK) {
        admin_done_well(op);
        return;
    }
    workload->failures++;
    if (!workload_expects_errors(workload)) {
        check_fail(workload->check, "command %d fails: %s", (int)proposal->command.kind,
                   err_name((enum err)done->result));
    }
}

static void admin_propose(struct workload *workload)
{
    struct admin_op *op = workload->admin_op;
    struct prng *prng = workload->prng;
    uint32_t topics = workload_live_topics(workload);
    if (op->away || (topics > 0 && prng_chance(prng, workload->idle_chance))) {
        return;
    }
    memset(op, 0, sizeof(*op));
    op->workload = workload;
    struct command *command = &op->proposal.command;
    command->time_ms = workload->life->reactors[0]->now_ms;
    uint64_t dice = prng_below(prng, 100);
    if (topics == 0 || (topics < TOPICS_MAX && dice < workload->create_chance)) {
        admin_create(op, command);
    } else if (topics > 1 && dice < workload->create_chance + workload->delete_chance) {
        admin_delete(op, command);
    } else if (prng_chance(prng, 50)) {
        admin_configure(op, command);
    } else if (topics == 0 || !prng_chance(prng, GROW_CHANCE) || !admin_grow(op, command)) {
        command->kind = COMMAND_PRODUCER_IDS;
        command->producer_ids.count = 1 + (uint32_t)prng_below(prng, 1000);
    }
    op->away = true;
    completion_init(&op->proposal.done, admin_answered);
    agent_propose(server_agent(workload->life->server, 0), &op->proposal);
}

static void admin_tick(struct completion *done)
{
    struct timer *timer = CONTAINER_OF(done, struct timer, done);
    struct workload *workload = CONTAINER_OF(timer, struct workload, admin);
    struct sim_life *life = workload->life;
    if (sim_node_crashed(life->node) || workload->stopping) {
        return;
    }
    uint64_t ms = workload->real ? prng_below(workload->prng, ADMIN_REAL_MS_MAX) : ADMIN_MS;
    timer_start(life->reactors[0], &workload->admin, ms * NS_PER_MS);
    if (!workload->real) {
        admin_replace(workload);
    } else if (!life->quiet) {
        admin_propose(workload);
    }
}

void admin_init(struct workload *workload)
{
    struct prng *prng = workload->prng;
    if (!workload->real) {
        for (uint32_t i = 1 + (uint32_t)prng_below(prng, 2); i > 0; i--) {
            admin_add_topic(workload);
        }
        return;
    }
    workload->fat = prng_chance(prng, 40);
    workload->idle_chance = prng_chance(prng, 30) ? 0 : 90;
    workload->create_chance = 5 + (uint32_t)prng_below(prng, 30);
    workload->admin_op = calloc(1, sizeof(*workload->admin_op));
    ASSERT(workload->admin_op != NULL);
}

void admin_free(struct workload *workload)
{
    free(workload->admin_op);
}

/* The first topic is asked for at once. */
void admin_start(struct workload *workload)
{
    uint64_t ms = workload->real ? 0 : ADMIN_MS;
    if (workload->real) {
        workload->admin_op->away = false;
    }
    timer_init(&workload->admin, admin_tick);
    timer_start(workload->life->reactors[0], &workload->admin, ms * NS_PER_MS);
}

bool admin_home(const struct workload *workload)
{
    return workload->admin_op == NULL || !workload->admin_op->away;
}
