/* The metadata core and its agents: what was answered is in every core's map and survives a
 * restart; shards follow the map; a small log goes round. */
#include "core/log.h"
#include "tests/unit/meta/cluster_fixture.h"
#include "tests/unit/shard/engine_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef void cluster_test(struct cluster *cluster);

static void each_engine(cluster_test *test, uint64_t log_file_bytes)
{
    uint32_t count;
    const struct io_engine *const *engines = cluster_engines(&count);
    for (uint32_t i = 0; i < count; i++) {
        struct cluster cluster;
        cluster_make(&cluster, engines[i], log_file_bytes);
        cluster_start(&cluster);
        test(&cluster);
        cluster_stop(&cluster);
        cluster_remove(&cluster);
    }
}

static void restart(struct cluster *cluster)
{
    cluster_stop(cluster);
    cluster_start(cluster);
}

/* The whole map as bytes; the caller frees them. */
static uint8_t *map_bytes(const struct map *map, uint64_t *size)
{
    *size = machine_encode(map, NULL, 0);
    uint8_t *data = malloc(*size);
    assert_non_null(data);
    assert_int_equal(machine_encode(map, data, *size), *size);
    return data;
}

static void assert_maps_equal(struct cluster *cluster)
{
    uint64_t size;
    uint8_t *wanted = map_bytes(meta_map(cluster->meta), &size);
    for (uint32_t i = 0; i < CLUSTER_CORES; i++) {
        uint64_t found_size;
        uint8_t *found = map_bytes(agent_map(cluster->agents[i]), &found_size);
        assert_int_equal(found_size, size);
        assert_memory_equal(found, wanted, size);
        free(found);
    }
    free(wanted);
}

static uint32_t partitions_served(const struct cluster *cluster)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < CLUSTER_CORES; i++) {
        count += shard_partition_count(cluster->shards[i]);
    }
    return count;
}

static void introduces(struct cluster *cluster)
{
    static const uint8_t none[16];
    uint8_t id[16];
    memcpy(id, map_cluster_id(meta_map(cluster->meta)), 16);
    assert_memory_not_equal(id, none, 16);
    const struct map_node *node = map_node_by_id(meta_map(cluster->meta), cluster->node_id);
    assert_non_null(node);
    assert_int_equal(node->core_count, CLUSTER_CORES);
    assert_maps_equal(cluster);
    restart(cluster);
    assert_memory_equal(map_cluster_id(meta_map(cluster->meta)), id, 16);
    assert_maps_equal(cluster);
}

static void test_a_new_cluster_gets_an_id_that_stays(void **state)
{
    (void)state;
    each_engine(introduces, MIB(1));
}

static void creates(struct cluster *cluster)
{
    struct command_result made = cluster_create_topic(cluster, 0, "orders", 5);
    assert_int_equal(made.err, OK);
    /* The answer came: every core has it, and every partition is served by its owner. */
    for (uint32_t i = 0; i < CLUSTER_CORES; i++) {
        const struct map_topic *topic =
            map_topic_by_name(agent_map(cluster->agents[i]), bytes_text("orders"));
        assert_non_null(topic);
        assert_true(topic_id_equal(&topic->id, &made.topic));
    }
    assert_int_equal(partitions_served(cluster), 5);
    assert_int_equal(cluster_create_topic(cluster, 1, "orders", 1).err, ERR_EXISTS);
    assert_int_equal(cluster_create_topic(cluster, 1, "no good", 1).err, ERR_TOPIC_INVALID);
    assert_maps_equal(cluster);
    restart(cluster);
    assert_int_equal(partitions_served(cluster), 5);
    const struct map_topic *topic =
        map_topic_by_name(agent_map(cluster->agents[1]), bytes_text("orders"));
    assert_non_null(topic);
    assert_true(topic_id_equal(&topic->id, &made.topic));
    struct command command = {.kind = COMMAND_TOPIC_DELETE, .topic_delete = {.id = made.topic}};
    assert_int_equal(cluster_propose(cluster, 1, &command).err, OK);
    assert_int_equal(partitions_served(cluster), 0);
    struct command_result again = cluster_create_topic(cluster, 1, "orders", 2);
    assert_int_equal(again.err, OK);
    assert_false(topic_id_equal(&again.topic, &made.topic));
    assert_int_equal(partitions_served(cluster), 2);
    assert_maps_equal(cluster);
}

static void test_topics_come_and_go_on_every_core(void **state)
{
    (void)state;
    each_engine(creates, MIB(1));
}

static enum err append(struct cluster *cluster, struct topic_id topic, uint64_t *offset)
{
    uint8_t batch[512];
    struct batch_spec spec = {.records = 1,
                              .value_bytes = 100,
                              .timestamp = 1000,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    uint32_t size = batch_make(&spec, batch, sizeof(batch));
    struct request request = {.kind = REQUEST_PRODUCE, .partition = {.topic = topic}};
    request.produce.batch = bytes_of(batch, size);
    enum err err = cluster_request(cluster, &request);
    *offset = request.produce.base_offset;
    return err;
}

static void grows(struct cluster *cluster)
{
    struct command_result made = cluster_create_topic(cluster, 0, "orders", 2);
    assert_int_equal(made.err, OK);
    struct command command = {.kind = COMMAND_TOPIC_GROW};
    command.topic_grow.id = made.topic;
    command.topic_grow.partition_count = 7;
    assert_int_equal(cluster_propose(cluster, 1, &command).err, OK);
    /* As with a new topic: every core has it, and every partition is served by its owner. */
    assert_int_equal(partitions_served(cluster), 7);
    assert_maps_equal(cluster);
    for (uint32_t i = 0; i < 7; i++) {
        struct request request = {.kind = REQUEST_OFFSETS,
                                  .partition = {.topic = made.topic, .partition = i}};
        request.offsets = (struct request_offsets){.timestamp = OFFSETS_LATEST, .epoch = -1};
        assert_int_equal(cluster_request(cluster, &request), OK);
        assert_int_equal(request.offsets.offset, 0);
    }
    assert_int_equal(cluster_propose(cluster, 0, &command).err, ERR_PARTITIONS_INVALID);
    restart(cluster);
    assert_int_equal(partitions_served(cluster), 7);
    command = (struct command){.kind = COMMAND_TOPIC_DELETE, .topic_delete = {.id = made.topic}};
    assert_int_equal(cluster_propose(cluster, 1, &command).err, OK);
    assert_int_equal(partitions_served(cluster), 0);
}

static void test_a_topic_grows_on_every_core(void **state)
{
    (void)state;
    each_engine(grows, MIB(1));
}

static struct topic_id topic_with_limit(struct cluster *cluster, const char *records)
{
    struct command command = {.kind = COMMAND_TOPIC_CREATE};
    memset(command.topic_create.id.bytes, 0x42, 16);
    command.topic_create.name = bytes_text("rolling");
    command.topic_create.partition_count = 1;
    command.topic_create.config_count = 1;
    command.topic_create.configs[0] =
        (struct command_config){bytes_text("segment.records"), bytes_text(records)};
    return cluster_propose(cluster, 0, &command).topic;
}

static void rolls(struct cluster *cluster)
{
    struct topic_id topic = topic_with_limit(cluster, "3");
    uint64_t offset;
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(append(cluster, topic, &offset), OK);
        assert_int_equal(offset, i);
    }
    const struct map_topic *found = map_topic_by_id(agent_map(cluster->agents[1]), &topic);
    assert_int_equal(found->partitions[0].segment_count, 4);
    assert_int_equal(found->partitions[0].segments[1].base_offset, 3);
    assert_int_equal(found->partitions[0].segments[1].state, SEGMENT_SEALED);
    assert_maps_equal(cluster);
    restart(cluster);
    /* Sealed at the stop, and the map has heard of it by now; the next append opens another. */
    assert_int_equal(append(cluster, topic, &offset), OK);
    assert_int_equal(offset, 10);
    found = map_topic_by_id(agent_map(cluster->agents[0]), &topic);
    assert_int_equal(found->partitions[0].segment_count, 5);
    assert_maps_equal(cluster);
}

static void test_segments_roll_through_the_map(void **state)
{
    (void)state;
    each_engine(rolls, MIB(1));
}

/* --- Requests that are ahead of the map. --- */

struct ahead {
    struct request request;
    bool fired;
};

static void ahead_done(struct completion *done)
{
    struct request *request = CONTAINER_OF(done, struct request, done);
    CONTAINER_OF(request, struct ahead, request)->fired = true;
}

/* Hands `ahead` to the owner of its partition, as the door does that found it in core 0's map. */
static void deliver(struct cluster *cluster, struct ahead *ahead, enum request_kind kind)
{
    uint32_t core = partition_core(&ahead->request.partition, CLUSTER_CORES);
    ahead->fired = false;
    ahead->request.kind = kind;
    ahead->request.home = &cluster->reactors[core];
    ahead->request.map_version = map_version(agent_map(cluster->agents[0]));
    completion_init(&ahead->request.done, ahead_done);
    agent_deliver(cluster->agents[core], &ahead->request);
}

static void ahead_wait(struct cluster *cluster, struct ahead *ahead)
{
    for (uint32_t i = 0; !ahead->fired; i++) {
        assert_true(i < 100000);
        cluster_turns(cluster, 1);
    }
}

struct deletion {
    struct proposal proposal;
    bool fired;
};

static void deletion_done(struct completion *done)
{
    struct proposal *proposal = CONTAINER_OF(done, struct proposal, done);
    CONTAINER_OF(proposal, struct deletion, proposal)->fired = true;
}

static void ahead_nobody(struct completion *done)
{
    (void)done;
}

/* Creates a topic and turns core 0 until its map has it; core 1 sleeps meanwhile. A partition of it
 * that core 1 owns, not below `partition`. */
static struct partition_id create_behind_core_1(struct cluster *cluster, struct proposal *creation,
                                                uint32_t partitions, uint32_t partition)
{
    struct command *command = &creation->command;
    *creation = (struct proposal){.command = {.kind = COMMAND_TOPIC_CREATE, .time_ms = 1}};
    memset(command->topic_create.id.bytes, 0x42, 16);
    command->topic_create.name = bytes_text("ahead");
    command->topic_create.partition_count = partitions;
    completion_init(&creation->done, ahead_nobody);
    agent_propose(cluster->agents[0], creation);
    for (uint32_t i = 0; map_topic_count(agent_map(cluster->agents[0])) == 0; i++) {
        assert_true(i < 100000);
        (void)reactor_turn(&cluster->reactors[CLUSTER_CORES], NS_PER_MS);
        (void)reactor_turn(&cluster->reactors[0], NS_PER_MS);
    }
    struct partition_id id = {.topic = command->topic_create.id, .partition = partition};
    while (partition_core(&id, CLUSTER_CORES) != 1) {
        id.partition++;
    }
    return id;
}

static void delivers(struct cluster *cluster)
{
    struct proposal creation;
    struct partition_id id = create_behind_core_1(cluster, &creation, 2, 0);
    uint8_t batch[512];
    struct batch_spec spec = {
        .records = 1, .timestamp = 1000, .producer_id = 7, .producer_epoch = 0, .sequence = 0};
    struct ahead produce = {0};
    struct ahead fetch = {0};
    produce.request.partition = id;
    fetch.request.partition = id;
    produce.request.produce.batch = bytes_of(batch, batch_make(&spec, batch, sizeof(batch)));
    fetch.request.fetch.epoch = -1;
    fetch.request.fetch.park = true;
    deliver(cluster, &fetch, REQUEST_FETCH);
    deliver(cluster, &produce, REQUEST_PRODUCE);
    agent_cancel(cluster->agents[1], &fetch.request);
    ahead_wait(cluster, &produce);
    assert_int_equal(produce.request.done.result, OK);
    assert_int_equal(produce.request.produce.base_offset, 0);
    ahead_wait(cluster, &fetch);
    assert_int_equal(fetch.request.done.result, OK);
    /* One that no map has is told so at once. */
    cluster_turns(cluster, 10);
    memset(produce.request.partition.topic.bytes, 0x43, 16);
    deliver(cluster, &produce, REQUEST_PRODUCE);
    ahead_wait(cluster, &produce);
    assert_int_equal(produce.request.done.result, ERR_TOPIC_UNKNOWN);
}

static void test_a_request_that_is_ahead_of_the_map_waits_for_it(void **state)
{
    (void)state;
    each_engine(delivers, MIB(1));
}

/* The deletion and the roll reach the metadata core in one turn. The shard drops the partition when
 * its roll is answered; the roll must not wait until the shard has dropped it. */
static void deletes_what_rolls(struct cluster *cluster)
{
    struct topic_id topic = topic_with_limit(cluster, "3");
    struct deletion deletion = {.fired = false};
    struct command *command = &deletion.proposal.command;
    struct ahead produce = {.request = {.partition = {.topic = topic}}};
    uint8_t batch[512];
    struct batch_spec spec = {.records = 1, .timestamp = 1000, .producer_id = -1};
    *command = (struct command){.kind = COMMAND_TOPIC_DELETE, .time_ms = 1};
    command->topic_delete.id = topic;
    produce.request.produce.batch = bytes_of(batch, batch_make(&spec, batch, sizeof(batch)));
    completion_init(&deletion.proposal.done, deletion_done);
    agent_propose(cluster->agents[0], &deletion.proposal);
    deliver(cluster, &produce, REQUEST_PRODUCE);
    for (uint32_t i = 0; i < 20; i++) {
        (void)reactor_turn(&cluster->reactors[0], 0);
        (void)reactor_turn(&cluster->reactors[1], 0);
    }
    assert_int_equal(map_topic_count(meta_map(cluster->meta)), 1);
    for (uint32_t i = 0; !deletion.fired; i++) {
        assert_true(i < 100000);
        cluster_turns(cluster, 1);
    }
    assert_int_equal(deletion.proposal.result.err, OK);
    assert_int_equal(partitions_served(cluster), 0);
    ahead_wait(cluster, &produce);
    assert_int_not_equal(produce.request.done.result, OK);
    assert_int_equal(map_topic_count(meta_map(cluster->meta)), 0);
}

static void test_a_topic_is_deleted_while_it_rolls(void **state)
{
    (void)state;
    each_engine(deletes_what_rolls, MIB(1));
}

/* Sends the second batch as soon as the partition is served. */
struct chaser {
    struct completion look;
    struct cluster *cluster;
    struct ahead *second;
    bool sent;
};

static void chaser_look(struct completion *done)
{
    struct chaser *chaser = CONTAINER_OF(done, struct chaser, look);
    if (shard_serves(chaser->cluster->shards[1], &chaser->second->request.partition)) {
        chaser->sent = true;
        deliver(chaser->cluster, chaser->second, REQUEST_PRODUCE);
    }
}

static void keeps_order(struct cluster *cluster)
{
    enum { PARTITIONS = 2000 };
    struct proposal creation;
    struct ahead first = {0};
    struct ahead second = {0};
    uint8_t batches[2][512];
    struct batch_spec spec = {.records = 1, .timestamp = 1000, .producer_id = 7};
    first.request.partition = create_behind_core_1(cluster, &creation, PARTITIONS, PARTITIONS / 2);
    second.request.partition = first.request.partition;
    first.request.produce.batch =
        bytes_of(batches[0], batch_make(&spec, batches[0], sizeof(batches[0])));
    spec.sequence = 1;
    second.request.produce.batch =
        bytes_of(batches[1], batch_make(&spec, batches[1], sizeof(batches[1])));
    deliver(cluster, &first, REQUEST_PRODUCE);
    struct chaser chaser = {.cluster = cluster, .second = &second};
    completion_init(&chaser.look, chaser_look);
    for (uint32_t i = 0; !chaser.sent; i++) {
        assert_true(i < 100000);
        if (!chaser.look.queued) {
            completion_fire(&cluster->reactors[1], &chaser.look, OK);
        }
        cluster_turns(cluster, 1);
    }
    ahead_wait(cluster, &first);
    ahead_wait(cluster, &second);
    assert_int_equal(first.request.done.result, OK);
    assert_int_equal(first.request.produce.base_offset, 0);
    assert_int_equal(second.request.done.result, OK);
    assert_int_equal(second.request.produce.base_offset, 1);
}

static void test_nobody_passes_a_request_that_waits_for_the_map(void **state)
{
    (void)state;
    each_engine(keeps_order, MIB(1));
}

enum { MANY = 600 };

struct many {
    struct proposal proposal;
    bool fired;
};

static uint32_t many_fired;

static void many_done(struct completion *done)
{
    (void)done;
    many_fired++;
}

/* Proposals of one turn share entries; each gets its own answer. */
static void proposes_many(struct cluster *cluster)
{
    struct many *all = calloc(MANY, sizeof(*all));
    many_fired = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        all[i].proposal.command.kind = COMMAND_PRODUCER_IDS;
        all[i].proposal.command.producer_ids.count = 10;
        completion_init(&all[i].proposal.done, many_done);
        agent_propose(cluster->agents[i % CLUSTER_CORES], &all[i].proposal);
    }
    for (uint32_t i = 0; many_fired < MANY; i++) {
        assert_true(i < 100000);
        cluster_turns(cluster, 1);
    }
    static bool taken[MANY * 10];
    memset(taken, 0, sizeof(taken));
    uint64_t base = UINT64_MAX;
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(all[i].proposal.result.err, OK);
        base = min_u64(base, all[i].proposal.result.producer_id_first);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        uint64_t first = all[i].proposal.result.producer_id_first - base;
        assert_true(first < MANY * 10 && first % 10 == 0);
        assert_false(taken[first]);
        taken[first] = true;
    }
    /* CLUSTER_INIT and NODE_REGISTER came before. */
    assert_int_equal(map_version(meta_map(cluster->meta)), MANY + 2);
    assert_maps_equal(cluster);
    free(all);
}

static void test_proposals_share_entries(void **state)
{
    (void)state;
    each_engine(proposes_many, MIB(1));
}

/* 256 KiB files and some MB of entries: snapshots must make room, and the state survive. */
static void goes_round(struct cluster *cluster)
{
    assert_int_equal(cluster_create_topic(cluster, 0, "kept", 3).err, OK);
    char value[240];
    memset(value, 'x', sizeof(value));
    for (uint32_t i = 0; i < 150; i++) {
        struct command command = {.kind = COMMAND_TOPIC_CREATE};
        char name[32];
        (void)snprintf(name, sizeof(name), "topic-%u", i);
        prng_fill(&cluster->reactors[0].prng, command.topic_create.id.bytes, 16);
        command.topic_create.name = bytes_text(name);
        command.topic_create.partition_count = 1;
        command.topic_create.config_count = 60;
        for (uint32_t k = 0; k < 60; k++) {
            command.topic_create.configs[k] =
                (struct command_config){bytes_text("retention.ms"), bytes_of(value, sizeof(value))};
        }
        struct command_result made = cluster_propose(cluster, i % CLUSTER_CORES, &command);
        assert_int_equal(made.err, OK);
        struct command drop = {.kind = COMMAND_TOPIC_DELETE, .topic_delete = {.id = made.topic}};
        assert_int_equal(cluster_propose(cluster, 0, &drop).err, OK);
        if (i % 40 == 39) {
            uint64_t version = map_version(meta_map(cluster->meta));
            restart(cluster);
            assert_int_equal(map_version(meta_map(cluster->meta)), version + 1);
        }
    }
    assert_int_equal(map_topic_count(meta_map(cluster->meta)), 1);
    assert_int_equal(partitions_served(cluster), 3);
    assert_maps_equal(cluster);
}

static void test_a_small_log_goes_round(void **state)
{
    (void)state;
    each_engine(goes_round, KIB(256));
}

static void test_after_the_stop_nothing_is_proposed(void **state)
{
    (void)state;
    struct cluster cluster;
    uint32_t count;
    cluster_make(&cluster, cluster_engines(&count)[0], MIB(1));
    cluster_start(&cluster);
    struct outcome stopped;
    outcome_init(&stopped);
    agent_stop(cluster.agents[0], &stopped.done);
    assert_int_equal(cluster_create_topic(&cluster, 0, "late", 1).err, ERR_NOT_READY);
    outcome_wait(&cluster, &stopped);
    /* The others go on, and nobody waits for the one that has left. */
    assert_int_equal(cluster_create_topic(&cluster, 1, "orders", 1).err, OK);
    agent_close(cluster.agents[0]);
    outcome_init(&stopped);
    shard_stop(cluster.shards[0], &stopped.done);
    outcome_wait(&cluster, &stopped);
    shard_close(cluster.shards[0]);
    cluster.agents[0] = NULL;
    cluster_stop(&cluster);
    cluster_remove(&cluster);
}

static void test_another_nodes_metadata_is_refused(void **state)
{
    (void)state;
    struct cluster cluster;
    uint32_t count;
    cluster_make(&cluster, cluster_engines(&count)[0], MIB(1));
    assert_int_equal(cluster_start_meta(&cluster), OK);
    cluster_stop(&cluster);
    cluster.node_id = 8;
    assert_int_equal(cluster_start_meta(&cluster), ERR_FOREIGN);
    assert_non_null(strstr(cluster.meta_start.message, "node 8"));
    cluster_stop(&cluster);
    cluster_remove(&cluster);
}

static void test_a_directory_that_is_missing_is_an_error(void **state)
{
    (void)state;
    struct cluster cluster;
    uint32_t count;
    cluster_make(&cluster, cluster_engines(&count)[0], MIB(1));
    cluster_remove(&cluster);
    assert_int_not_equal(cluster_start_meta(&cluster), OK);
    assert_non_null(strstr(cluster.meta_start.message, cluster.meta_dir));
    cluster_stop(&cluster);
}

int main(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_cluster_gets_an_id_that_stays),
        cmocka_unit_test(test_topics_come_and_go_on_every_core),
        cmocka_unit_test(test_a_topic_grows_on_every_core),
        cmocka_unit_test(test_segments_roll_through_the_map),
        cmocka_unit_test(test_a_request_that_is_ahead_of_the_map_waits_for_it),
        cmocka_unit_test(test_a_topic_is_deleted_while_it_rolls),
        cmocka_unit_test(test_nobody_passes_a_request_that_waits_for_the_map),
        cmocka_unit_test(test_proposals_share_entries),
        cmocka_unit_test(test_a_small_log_goes_round),
        cmocka_unit_test(test_after_the_stop_nothing_is_proposed),
        cmocka_unit_test(test_another_nodes_metadata_is_refused),
        cmocka_unit_test(test_a_directory_that_is_missing_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
