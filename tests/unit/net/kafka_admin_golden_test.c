/* Each version of each key of administration, byte by byte; kafka_golden_test.c has the others. */
#include "tests/unit/net/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* --- CreateTopics and DeleteTopics. --- */

/* All that a topic can set, in the order of keys, with source 5: default. */
#define CONFIGS_BEFORE                                                                             \
    "1a 0f'cleanup.policy' 07'delete' 00 05 00 00 11'compression.type' 09'producer' 00 05 00 00 "  \
    "14'delete.retention.ms' 09'86400000' 00 05 00 00 0b'durability' 05'disk' 00 05 00 00 "        \
    "15'file.delete.delay.ms' 06'60000' 00 05 00 00 0f'flush.messages' 02'1' 00 05 00 00 "         \
    "09'flush.ms' 02'0' 00 05 00 00 15'index.interval.bytes' 05'4096' 00 05 00 00 "                \
    "16'max.compaction.lag.ms' 14'9223372036854775807' 00 05 00 00 "                               \
    "12'max.message.bytes' 08'1048588' 00 05 00 00 "                                               \
    "1f'message.timestamp.after.max.ms' 08'3600000' 00 05 00 00 "                                  \
    "20'message.timestamp.before.max.ms' 14'9223372036854775807' 00 05 00 00 "                     \
    "17'message.timestamp.type' 0b'CreateTime' 00 05 00 00 "                                       \
    "1a'min.cleanable.dirty.ratio' 04'0.5' 00 05 00 00 "                                           \
    "16'min.compaction.lag.ms' 02'0' 00 05 00 00 14'min.insync.replicas' 02'1' 00 05 00 00 "       \
    "0c'preallocate' 06'false' 00 05 00 00 10'retention.bytes' 03'-1' 00 05 00 00 "
#define CONFIGS_AFTER                                                                              \
    "0e'segment.bytes' 0b'1073741824' 00 05 00 00 14'segment.index.bytes' 09'10485760' 00 05 00 "  \
    "00 12'segment.jitter.ms' 02'0' 00 05 00 00 0b'segment.ms' 0a'604800000' 00 05 00 00 "         \
    "10'segment.records' 08'1000000' 00 05 00 00 1f'unclean.leader.election.enable' 06'false' "    \
    "00 05 00 00 "
#define CONFIGS CONFIGS_BEFORE "0d'retention.ms' 0a'604800000' 00 05 00 00 " CONFIGS_AFTER
/* With what the request sets: source 1. */
#define CONFIGS_1000 CONFIGS_BEFORE "0d'retention.ms' 05'1000' 00 01 00 00 " CONFIGS_AFTER

/* Two partitions, one replica, one config; only looked at. */
static void check_create_topics(struct node *node)
{
    static const char old[] = "00000001 0001'n' 00000002 0001 00000000 00000001 "
                              "000c'retention.ms' 0004'1000' 00007530 01";
    static const char new[] = "02 02'n' 00000002 0001 01 02 0d'retention.ms' 05'1000' 00 00 "
                              "00007530 01 00";
    static const struct golden rows[] = {
        {2, 4, old, "00000000 00000001 0001'n' 0000 ffff"},
        {5, 6, new, "00000000 02 02'n' 0000 00 00000002 0001 " CONFIGS_1000 "00 00"},
        {7, 7, new,
         "00000000 02 02'n' 00000000 00000000 00000000 00000000 0000 00 00000002 0001 " CONFIGS_1000
         "00 00"},
        /* By hand: partition 0 on node 1. */
        {4, 4,
         "00000001 0001'n' ffffffff ffff 00000001 00000000 00000001 00000001 00000000 00007530 01",
         "00000000 00000001 0001'n' 0000 ffff"},
        {5, 5, "02 02'n' ffffffff ffff 02 00000000 02 00000001 00 01 00 00007530 01 00",
         "00000000 02 02'n' 0000 00 00000001 0001 " CONFIGS "00 00"},
    };
    GOLDEN_CHECK(node, 19, rows);
    assert_int_equal(node->agent->proposed, 1);
    node_check(
        node, 19, 7, "02 02'n' ffffffff ffff 01 01 00 00007530 00 00",
        "00000000 02 02'n' ........ ........ ........ ........ 0000 00 00000002 0001 " CONFIGS
        "00 00");
    assert_int_equal(map_topic_by_name(node->agent->map, bytes_text("n"))->partition_count, 2);
}

static void create_topics(void **state)
{
    (void)state;
    golden_on_each_engine(check_create_topics);
}

static void check_delete_topics(struct node *node)
{
    static const struct golden rows[] = {
        {1, 3, "00000002 0001'a' 0001'x' 00007530", "00000000 00000002 0001'a' 0000 0001'x' 0003"},
        {4, 4, "03 02'a' 02'x' 00007530 00", "00000000 03 02'a' 0000 00 02'x' 0003 00 00"},
        {5, 5, "03 02'a' 02'x' 00007530 00", "00000000 03 02'a' 0000 00 00 02'x' 0003 00 00 00"},
        {6, 6,
         "03 02'a' 00000000 00000000 00000000 00000000 00 02'x' 00000000 00000000 00000000 "
         "00000000 00 00007530 00",
         "00000000 03 02'a' a1a1a1a1 a1a1a1a1 a1a1a1a1 a1a1a1a1 0000 00 00 02'x' 00000000 00000000 "
         "00000000 00000000 0003 00 00 00"},
        /* By id; one that is unknown; and both at once. */
        {6, 6,
         "04 00 a1a1a1a1 a1a1a1a1 a1a1a1a1 a1a1a1a1 00 00 77777777 77777777 77777777 77777777 00 "
         "02't'" ID_T "00 00007530 00",
         "00000000 04 02'a' a1a1a1a1 a1a1a1a1 a1a1a1a1 a1a1a1a1 0000 00 00 00 77777777 77777777 "
         "77777777 77777777 0064 00 00 02't'" ID_T "002a 00 00 00"},
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        for (int16_t v = rows[i].version_first; v <= rows[i].version_last; v++) {
            node_topic(node, "a", 1, 0xa1, NULL);
            node_check(node, 20, v, rows[i].body, rows[i].answer);
            assert_null(map_topic_by_name(node->agent->map, bytes_text("a")));
        }
    }
    assert_non_null(map_topic_by_name(node->agent->map, bytes_text("t")));
}

static void delete_topics(void **state)
{
    (void)state;
    golden_on_each_engine(check_delete_topics);
}

/* --- DeleteRecords. --- */

/* All of an empty partition, an offset that is not there, a partition and a topic that are not. */
static void check_delete_records(struct node *node)
{
    static const char old[] = "00000002 0001't' 00000003 00000000 ffffffffffffffff "
                              "00000000 0000000000000001 00000007 0000000000000000 "
                              "0001'x' 00000001 00000000 0000000000000000 00007530";
    static const struct golden rows[] = {
        {0, 1, old,
         "00000000 00000002 0001't' 00000003 00000000 0000000000000000 0000 "
         "00000000 ffffffffffffffff 0001 00000007 ffffffffffffffff 0003 "
         "0001'x' 00000001 00000000 ffffffffffffffff 0003"},
        {2, 2,
         "03 02't' 03 00000000 ffffffffffffffff 00 00000000 0000000000000001 00 00 "
         "02'x' 02 00000000 0000000000000000 00 00 00007530 00",
         "00000000 03 02't' 03 00000000 0000000000000000 0000 00 "
         "00000000 ffffffffffffffff 0001 00 00 02'x' 02 00000000 ffffffffffffffff 0003 00 00 00"},
        {0, 1, "00000000 00007530", "00000000 00000000"},
    };
    GOLDEN_CHECK(node, 21, rows);
}

static void delete_records(void **state)
{
    (void)state;
    golden_on_each_engine(check_delete_records);
}

/* --- CreatePartitions. --- */

static void check_create_partitions(struct node *node)
{
    /* "t" has one: two is more, one is not; a topic that is not there. */
    static const char old[] = "00000003 0001't' 00000002 ffffffff 0001'x' 00000002 ffffffff "
                              "0001'u' 00000001 ffffffff 00007530 01";
    static const char new[] = "04 02't' 00000002 00 00 02'x' 00000002 00 00 02'u' 00000001 00 00 "
                              "00007530 01 00";
    static const struct golden rows[] = {
        {0, 1, old,
         "00000000 00000003 0001't' 0000 ffff 0001'x' 0003 0018'the topic does not exist' 0001'u' "
         "0025 0049'the topic has 1 partitions, and 1 is not more: the count is the new total'"},
        {2, 3, new,
         "00000000 04 02't' 0000 00 00 02'x' 0003 19'the topic does not exist' 00 02'u' 0025 "
         "4a'the topic has 1 partitions, and 1 is not more: the count is the new total' 00 00"},
        /* By hand: the two new ones on node 1. */
        {0, 1, "00000001 0001't' 00000003 00000002 00000001 00000001 00000001 00000001 00007530 01",
         "00000000 00000001 0001't' 0000 ffff"},
        {2, 3, "02 02't' 00000003 03 02 00000001 00 02 00000001 00 00 00007530 01 00",
         "00000000 02 02't' 0000 00 00 00"},
    };
    node_topic(node, "u", 1, 0x75, NULL);
    GOLDEN_CHECK(node, 37, rows);
    assert_int_equal(node->agent->proposed, 2); /* The fixture's topics: nothing was changed. */
    const struct map_topic *topic = map_topic_by_name(node->agent->map, bytes_text("t"));
    for (int16_t v = 0; v <= 3; v++) {
        char body[128];
        (void)snprintf(body, sizeof(body),
                       v < 2 ? "00000001 0001't' %08x ffffffff 00007530 00"
                             : "02 02't' %08x 00 00 00007530 00 00",
                       v + 2);
        node_check(node, 37, v, body,
                   v < 2 ? "00000000 00000001 0001't' 0000 ffff"
                         : "00000000 02 02't' 0000 00 00 00");
        assert_int_equal(topic->partition_count, v + 2);
    }
}

static void create_partitions(void **state)
{
    (void)state;
    golden_on_each_engine(check_create_partitions);
}

/* --- DescribeConfigs. --- */

#define NAMED   "00000001 02 0001't' 00000002 000c'retention.ms' 000e'cleanup.policy'"
#define NAMED_4 "02 02 02't' 03 0d'retention.ms' 0f'cleanup.policy' 00"

static void check_describe_configs(struct node *node)
{
    static const struct golden rows[] = {
        /* Where each value comes from, and no synonyms unless asked. */
        {1, 2, NAMED "00",
         "00000000 00000001 0000 ffff 02 0001't' 00000002 000e'cleanup.policy' 0006'delete' 00 05 "
         "00 00000000 000c'retention.ms' 0004'1000' 00 01 00 00000000"},
        {1, 2, NAMED "01",
         "00000000 00000001 0000 ffff 02 0001't' 00000002 000e'cleanup.policy' 0006'delete' 00 05 "
         "00 00000001 0012'log.cleanup.policy' 0006'delete' 05 000c'retention.ms' 0004'1000' 00 01 "
         "00 00000002 000c'retention.ms' 0004'1000' 01 0010'log.retention.ms' 0009'604800000' 05"},
        /* Types, and sentences if asked. */
        {3, 3, NAMED "00 00",
         "00000000 00000001 0000 ffff 02 0001't' 00000002 000e'cleanup.policy' 0006'delete' 00 05 "
         "00 00000000 07 ffff 000c'retention.ms' 0004'1000' 00 01 00 00000000 05 ffff"},
        {3, 3, NAMED "00 01",
         "00000000 00000001 0000 ffff 02 0001't' 00000002 000e'cleanup.policy' 0006'delete' 00 05 "
         "00 00000000 07 001a'compact: records need keys' 000c'retention.ms' 0004'1000' 00 01 00 "
         "00000000 05 0019'how long records are kept'"},
        {4, 4, NAMED_4 "01 01 00",
         "00000000 02 0000 00 02 02't' 03 0f'cleanup.policy' 07'delete' 00 05 00 02 "
         "13'log.cleanup.policy' 07'delete' 05 00 07 1b'compact: records need keys' 00 "
         "0d'retention.ms' 05'1000' 00 01 00 03 0d'retention.ms' 05'1000' 01 00 "
         "11'log.retention.ms' 0a'604800000' 05 00 05 1a'how long records are kept' 00 00 00"},
        /* Of keys that are none, nothing; of nodes, what they were started with, read-only. */
        {1, 2, "00000001 02 0001't' 00000001 0001'k' 00",
         "00000000 00000001 0000 ffff 02 0001't' 00000000"},
        {1, 2,
         "00000001 04 0001'1' 00000002 000e'num.partitions' 0019'auto.create.topics.enable' 00",
         "00000000 00000001 0000 ffff 04 0001'1' 00000002 000e'num.partitions' 0001'2' 01 04 00 "
         "00000000 0019'auto.create.topics.enable' 0004'true' 01 04 00 00000000"},
        {4, 4,
         "02 04 02'1' 04 0f'num.partitions' 12'message.max.bytes' 14'delete.topic.enable' 00 00 "
         "00 00",
         "00000000 02 0000 00 04 02'1' 04 0f'num.partitions' 02'2' 01 04 00 01 03 00 00 "
         "14'delete.topic.enable' 05'true' 01 05 00 01 01 00 00 12'message.max.bytes' 08'1048588' "
         "01 05 00 01 03 00 00 00 00"},
        /* Without a name: what all nodes are given, which is nothing. */
        {4, 4, "02 04 01 00 00 00 00 00", "00000000 02 0000 00 04 01 01 00 00"},
        /* A topic that is not there, a name that is none, another node, another type. */
        {1, 2, "00000001 02 0001'x' ffffffff 00",
         "00000000 00000001 0003 0018'the topic does not exist' 02 0001'x' 00000000"},
        {4, 4, "02 02 04'a b' 00 00 00 00 00",
         "00000000 02 0011 .. 'topic names are 1 to 249 of [a-zA-Z0-9._-], not '*"},
        {1, 2, "00000001 04 0001'7' ffffffff 00",
         "00000000 00000001 002a 0029'this is node 1: ask the one that is meant' 04 0001'7' "
         "00000000"},
        {1, 2, "00000001 08 0001'1' ffffffff 00", "00000000 00000001 002a *"},
    };
    struct command_result result;
    struct command command = {.kind = COMMAND_TOPIC_CONFIGURE};
    memset(command.topic_configure.id.bytes, 0x5a, 16);
    command.topic_configure.config_count = 1;
    command.topic_configure.configs[0] =
        (struct command_config){bytes_text("retention.ms"), bytes_text("1000")};
    assert_int_equal(stub_apply(node->agent, &command, &result), OK);
    GOLDEN_CHECK(node, 32, rows);
}

static void describe_configs(void **state)
{
    (void)state;
    golden_on_each_engine(check_describe_configs);
}

/* --- AlterConfigs and IncrementalAlterConfigs. --- */

static const char *config_of_t(const struct node *node, const char *key)
{
    return map_topic_config(map_topic_by_name(node->agent->map, bytes_text("t")), key);
}

static void check_alter_configs(struct node *node)
{
    static const struct golden looks[] = {
        {0, 1, "00000001 02 0001't' 00000001 000c'retention.ms' 0002'77' 01",
         "00000000 00000001 0000 ffff 02 0001't'"},
        {2, 2, "02 02 02't' 02 0d'retention.ms' 03'77' 00 00 01 00",
         "00000000 02 0000 00 02 02't' 00 00"},
    };
    static const struct golden sets[] = {
        {0, 1, "00000001 02 0001't' 00000001 000c'retention.ms' 0002'77' 00",
         "00000000 00000001 0000 ffff 02 0001't'"},
        {2, 2, "02 02 02't' 02 0e'segment.bytes' 06'1 MiB' 00 00 00 00",
         "00000000 02 0028 .. 'topic config segment.bytes = '*"},
        {2, 2, "02 02 02't' 02 0d'retention.ms' 03'78' 00 00 00 00",
         "00000000 02 0000 00 02 02't' 00 00"},
        /* All that is set: what is not named goes back to its default. */
        {2, 2, "02 02 02't' 02 0e'segment.bytes' 05'1MiB' 00 00 00 00",
         "00000000 02 0000 00 02 02't' 00 00"},
    };
    GOLDEN_CHECK(node, 33, looks);
    assert_int_equal(node->agent->proposed, 1);
    assert_null(config_of_t(node, "retention.ms"));
    GOLDEN_CHECK(node, 33, sets);
    assert_null(config_of_t(node, "retention.ms"));
    assert_string_equal(config_of_t(node, "segment.bytes"), "1MiB");
    /* Told as a number, which tools expect. */
    node_check(node, 32, 1, "00000001 02 0001't' 00000001 000d'segment.bytes' 00",
               "00000000 00000001 0000 ffff 02 0001't' 00000001 000d'segment.bytes' 0007'1048576' "
               "00 01 00 00000000");
    node_check(node, 33, 0, "00000001 02 0001't' 00000000 00",
               "00000000 00000001 0000 ffff 02 0001't'");
    assert_null(config_of_t(node, "segment.bytes"));
}

static void alter_configs(void **state)
{
    (void)state;
    golden_on_each_engine(check_alter_configs);
}

static void check_incremental_alter_configs(struct node *node)
{
    static const struct golden rows[] = {
        /* Only looked at. */
        {0, 0, "00000001 02 0001't' 00000001 000c'retention.ms' 00 0002'77' 01",
         "00000000 00000001 0000 ffff 02 0001't'"},
        {1, 1, "02 02 02't' 02 0d'retention.ms' 00 03'77' 00 00 01 00",
         "00000000 02 0000 00 02 02't' 00 00"},
        /* Set, one beside the other; deleted, twice. */
        {0, 0, "00000001 02 0001't' 00000001 000c'retention.ms' 00 0002'77' 00",
         "00000000 00000001 0000 ffff 02 0001't'"},
        {1, 1, "02 02 02't' 02 12'max.message.bytes' 00 05'2048' 00 00 00 00",
         "00000000 02 0000 00 02 02't' 00 00"},
    };
    static const struct golden deletes[] = {
        {0, 0, "00000001 02 0001't' 00000001 000c'retention.ms' 01 ffff 00",
         "00000000 00000001 0000 ffff 02 0001't'"},
        {1, 1, "02 02 02't' 02 0d'retention.ms' 01 03'77' 00 00 00 00",
         "00000000 02 0000 00 02 02't' 00 00"},
    };
    static const struct golden lists[] = {
        /* delete + compact, once more, - delete. */
        {1, 1, "02 02 02't' 02 0f'cleanup.policy' 02 08'compact' 00 00 00 00",
         "00000000 02 0000 00 02 02't' 00 00"},
        {1, 1, "02 02 02't' 02 0f'cleanup.policy' 02 08'compact' 00 00 00 00",
         "00000000 02 0000 00 02 02't' 00 00"},
    };
    GOLDEN_CHECK(node, 44, rows);
    assert_string_equal(config_of_t(node, "retention.ms"), "77");
    assert_string_equal(config_of_t(node, "max.message.bytes"), "2048");
    GOLDEN_CHECK(node, 44, deletes);
    assert_null(config_of_t(node, "retention.ms"));
    assert_string_equal(config_of_t(node, "max.message.bytes"), "2048");
    GOLDEN_CHECK(node, 44, lists);
    assert_string_equal(config_of_t(node, "cleanup.policy"), "delete,compact");
    node_check(node, 44, 0, "00000001 02 0001't' 00000001 000e'cleanup.policy' 03 0006'delete' 00",
               "00000000 00000001 0000 ffff 02 0001't'");
    assert_string_equal(config_of_t(node, "cleanup.policy"), "compact");
}

static void incremental_alter_configs(void **state)
{
    (void)state;
    golden_on_each_engine(check_incremental_alter_configs);
}

/* --- DescribeCluster, DescribeLogDirs, OffsetForLeaderEpoch. --- */

#define CLUSTER_60 "17'wcHBwcHBwcHBwcHBwcHBwQ' 00000001 02 00000001 07'b.test' 00002384 00 "

static void check_describe_cluster(struct node *node)
{
    static const struct golden rows[] = {
        {0, 0, "00 00", "00000000 0000 00" CLUSTER_60 "00 80000000 00"},
        {1, 1, "01 01 00", "00000000 0000 00 01" CLUSTER_60 "00 80000000 00"},
        {2, 2, "00 01 01 00", "00000000 0000 00 01" CLUSTER_60 "00 00 80000000 00"},
        /* Controllers, and what nobody is. */
        {1, 1, "00 02 00", "00000000 0072 32'this is the endpoint of a broker: ask for brokers'*"},
        {2, 2, "00 09 00 00", "00000000 0073 *"},
    };
    GOLDEN_CHECK(node, 60, rows);
}

static void describe_cluster(void **state)
{
    (void)state;
    golden_on_each_engine(check_describe_cluster);
}

static void append_two(struct node *node)
{
    uint8_t batch[256];
    struct bytes sent = wire_plain_batch(2, 1000, batch, sizeof(batch));
    node_ask_with(node, 0, 3, "ffff ffff 00007530 00000001 0001't' 00000001 00000000 $4", sent);
    node_expect(node, 0, 3, "00000001 0001't' 00000001 00000000 0000 *");
}

static void check_log_dirs(struct node *node)
{
    /* One frame behind the two blocks that a file begins with. */
    static const struct golden rows[] = {
        {1, 1, "ffffffff",
         "00000000 00000001 0000 0005'/data' 00000002 0001't' 00000001 00000000 00000000 00003000 "
         "0000000000000000 00 0001'u' 00000002 00000000 0000000000000000 0000000000000000 00 "
         "00000001 0000000000000000 0000000000000000 00"},
        {2, 2, "02 02't' 02 00000000 00 00",
         "00000000 02 0000 06'/data' 02 02't' 02 00000000 00000000 00003000 0000000000000000 00 00 "
         "00 00 00"},
        {3, 3, "02 02't' 02 00000000 00 00",
         "00000000 0000 02 0000 06'/data' 02 02't' 02 00000000 00000000 00003000 0000000000000000 "
         "00 00 00 00 00"},
        /* What the volume has: not told. What is not there: left out. */
        {4, 4, "04 02'x' 02 00000000 00 02'u' 03 00000001 00000009 00 02't' 01 00 00",
         "00000000 0000 02 0000 06'/data' 02 02'u' 02 00000001 0000000000000000 0000000000000000 "
         "00 00 00 ffffffffffffffff ffffffffffffffff 00 00"},
    };
    node->net->options.data_dir = "/data";
    node_topic(node, "u", 2, 0x75, NULL);
    append_two(node);
    GOLDEN_CHECK(node, 35, rows);
}

static void describe_log_dirs(void **state)
{
    (void)state;
    golden_on_each_engine(check_log_dirs);
}

static void check_epochs(struct node *node)
{
    /* Two records under epoch 1; epoch 2 is not known. */
    static const struct golden rows[] = {
        {2, 2, "00000001 0001't' 00000002 00000000 ffffffff 00000001 00000000 00000001 00000002",
         "00000000 00000001 0001't' 00000002 0000 00000000 00000001 0000000000000002 0000 00000000 "
         "ffffffff ffffffffffffffff"},
        {3, 3, "ffffffff 00000001 0001't' 00000001 00000000 ffffffff 00000001",
         "00000000 00000001 0001't' 00000001 0000 00000000 00000001 0000000000000002"},
        {4, 4, "ffffffff 02 02't' 02 00000000 ffffffff 00000001 00 00 00",
         "00000000 02 02't' 02 0000 00000000 00000001 0000000000000002 00 00 00"},
        /* Before the first one: where the log starts. */
        {3, 3, "ffffffff 00000001 0001't' 00000001 00000000 ffffffff 00000000",
         "00000000 00000001 0001't' 00000001 0000 00000000 00000000 0000000000000000"},
        /* A leader of tomorrow; a partition and a topic that are not there. */
        {3, 3, "ffffffff 00000001 0001't' 00000001 00000000 00000002 00000001",
         "00000000 00000001 0001't' 00000001 004b 00000000 ffffffff ffffffffffffffff"},
        {4, 4,
         "ffffffff 03 02't' 02 00000007 ffffffff 00000001 00 00 02'x' 02 00000000 ffffffff "
         "00000001 00 00 00",
         "00000000 03 02't' 02 0003 00000007 ffffffff ffffffffffffffff 00 00 02'x' 02 0003 "
         "00000000 "
         "ffffffff ffffffffffffffff 00 00 00"},
    };
    append_two(node);
    GOLDEN_CHECK(node, 23, rows);
}

static void offset_for_leader_epoch(void **state)
{
    (void)state;
    golden_on_each_engine(check_epochs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_topics),
        cmocka_unit_test(delete_topics),
        cmocka_unit_test(delete_records),
        cmocka_unit_test(create_partitions),
        cmocka_unit_test(describe_configs),
        cmocka_unit_test(alter_configs),
        cmocka_unit_test(incremental_alter_configs),
        cmocka_unit_test(describe_cluster),
        cmocka_unit_test(describe_log_dirs),
        cmocka_unit_test(offset_for_leader_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
