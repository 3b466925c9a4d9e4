/* Settings of topics: which are good, and what they mean for a shard. */
#include "meta/agent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static enum err check_config(const char *key, const char *value)
{
    char message[256];
    return agent_check_topic_config(bytes_text(key),
                                    value != NULL ? bytes_text(value) : (struct bytes){0}, message);
}

static void test_topic_configs_are_checked(void **state)
{
    (void)state;
    assert_int_equal(check_config("segment.bytes", "65536"), OK);
    assert_int_equal(check_config("segment.bytes", "1MiB"), OK);
    assert_int_equal(check_config("segment.bytes", "1"), ERR_CONFIG_INVALID);
    assert_int_equal(check_config("segment.bytes", NULL), OK);
    assert_int_equal(check_config("retention.ms", "-1"), OK);
    assert_int_equal(check_config("retention.ms", "-2"), ERR_CONFIG_INVALID);
    assert_int_equal(check_config("cleanup.policy", "compact,delete"), OK);
    assert_int_equal(check_config("cleanup.policy", "keep"), ERR_CONFIG_INVALID);
    assert_int_equal(check_config("durability", "os"), OK);
    assert_int_equal(check_config("min.insync.replicas", "1"), OK);
    assert_int_equal(check_config("compression.type", "gzip"), ERR_CONFIG_INVALID);
    char message[256];
    assert_int_equal(agent_check_topic_config(bytes_text("segment.byte"), bytes_text("1"), message),
                     ERR_CONFIG_INVALID);
    assert_non_null(strstr(message, "did you mean \"segment.bytes\"?"));
    char huge[400];
    memset(huge, 'k', sizeof(huge));
    assert_int_equal(
        agent_check_topic_config(bytes_of(huge, sizeof(huge)), bytes_text("1"), message),
        ERR_CONFIG_INVALID);
    assert_int_equal(agent_check_topic_config(bytes_of("a\0b", 3), bytes_text("1"), message),
                     ERR_CONFIG_INVALID);
}

static void test_topic_configs_become_the_shards(void **state)
{
    (void)state;
    struct partition_config fallback = {
        .segment_records = 10, .segment_bytes = 20, .batch_bytes_max = 30};
    struct map_config_entry configs[] = {
        {(char[]){"cleanup.policy"}, (char[]){"compact"}},
        {(char[]){"durability"}, (char[]){"memory"}},
        {(char[]){"max.message.bytes"}, (char[]){"2048"}},
        {(char[]){"message.timestamp.type"}, (char[]){"LogAppendTime"}},
        {(char[]){"segment.records"}, (char[]){"77"}},
    };
    struct map_topic topic = {.config_count = ARRAY_COUNT(configs), .configs = configs};
    struct partition_config config;
    agent_partition_config(&fallback, &topic, &config);
    assert_true(config.compacted);
    assert_int_equal(config.durability, DURABILITY_MEMORY);
    assert_int_equal(config.batch_bytes_max, 2048);
    assert_int_equal(config.timestamp_type, TIMESTAMP_APPEND);
    assert_int_equal(config.segment_records, 77);
    assert_int_equal(config.segment_bytes, 20);
    /* Where groups are kept nothing goes because it is old, whatever others get. */
    fallback.retention_ms = fallback.retention_bytes = 1000;
    struct map_topic offsets = {.name = "__consumer_offsets"};
    agent_partition_config(&fallback, &offsets, &config);
    assert_int_equal(config.retention_ms, -1);
    assert_int_equal(config.retention_bytes, -1);
    assert_int_equal(config.batch_bytes_max, 2 << 20);
    struct map_topic other = {.name = "__other"};
    agent_partition_config(&fallback, &other, &config);
    assert_int_equal(config.retention_ms, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topic_configs_are_checked),
        cmocka_unit_test(test_topic_configs_become_the_shards),
    };
    return cmocka_run_group_tests_name("meta/agent_config", tests, NULL, NULL);
}
