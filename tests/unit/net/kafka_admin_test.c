/* What the keys of administration refuse, and why; and that what they change holds. */
#include "tests/unit/net/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct map_topic *topic_t(const struct node *node)
{
    return map_topic_by_name(node->agent->map, bytes_text("t"));
}

struct refusal {
    const char *change; /* Of topic "t", with its operation. */
    const char *answer; /* Code and message. */
};

/* Of one topic, by IncrementalAlterConfigs 0; only looked at or not, it is the same. */
static void check_refusals(struct node *node, const struct refusal *rows, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char body[1024], answer[1024];
        (void)snprintf(body, sizeof(body), "00000001 02 0001't' %s %s", rows[i].change,
                       i % 2 == 0 ? "00" : "01");
        (void)snprintf(answer, sizeof(answer), "00000000 00000001 %s 02 0001't'", rows[i].answer);
        node_check(node, 44, 0, body, answer);
    }
    assert_int_equal(topic_t(node)->config_count, 0);
}

static void check_alter_refusals(struct node *node)
{
    static const struct refusal rows[] = {
        /* The key, the value and what is allowed. */
        {"00000001 000c'retention.ms' 00 0003'abc'",
         "0028 .... 'topic config retention.ms = abc is not a number: give digits only, such as "
         "1000'"},
        {"00000001 000d'segment.bytes' 00 0001'1'",
         "0028 .... 'topic config segment.bytes = 1 is out of range: give 16KiB to 1GiB'"},
        {"00000001 000c'segment.byte' 00 0001'1'",
         "0028 .... 'unknown topic config \"segment.byte\"; did you mean \"segment.bytes\"?'"},
        {"00000001 000c'segment.byte' 01 ffff",
         "0028 .... 'unknown topic config \"segment.byte\"; did you mean \"segment.bytes\"?'"},
        {"00000001 0019'min.cleanable.dirty.ratio' 00 0003'1.5'",
         "0028 .... 'topic config min.cleanable.dirty.ratio = \"1.5\" is not a ratio: give 0 to 1, "
         "such as 0.5'"},
        /* A list without what it must have; what is no list. */
        {"00000001 000e'cleanup.policy' 03 0006'delete'",
         "0028 .... 'topic config cleanup.policy = \"\" is not one of the choices: give delete "
         "or compact or compact,delete or delete,compact'"},
        {"00000001 000c'retention.ms' 02 0001'1'",
         "0028 .... 'only lists take append and subtract, not topic config: retention.ms'"},
        {"00000001 000a'durability' 03 0004'disk'",
         "0028 .... 'only lists take append and subtract, not topic config: durability'"},
        /* Null, twice, an operation that is none. */
        {"00000001 000c'retention.ms' 00 ffff", "002a .... 'null is no value of: retention.ms'"},
        {"00000002 000c'retention.ms' 00 0001'1' 000c'retention.ms' 01 ffff",
         "002a .... 'this key is named twice: retention.ms'"},
        {"00000001 000c'retention.ms' 04 0001'1'",
         "002a .... 'no such operation (0 sets, 1 deletes, 2 appends, 3 subtracts) on: "
         "retention.ms'"},
    };
    check_refusals(node, rows, ARRAY_COUNT(rows));
    /* One bad change, and none of the resource is done; others are. */
    node_topic(node, "u", 1, 0x75, NULL);
    node_check(node, 44, 0,
               "00000004 02 0001't' 00000002 000c'retention.ms' 00 0001'1' 000c'segment.byte' 00 "
               "0001'1' 02 0001'u' 00000001 000c'retention.ms' 00 0001'1' 02 0001'x' 00000000 04 "
               "0001'1' 00000001 000e'num.partitions' 00 0001'2' 00",
               "00000000 00000004 0028 .... 'unknown topic config \"segment.byte\"; did you mean "
               "\"segment.bytes\"?' 02 0001't' 0000 ffff 02 0001'u' 0003 0018'the topic does not "
               "exist' 02 0001'x' 002a *");
    assert_int_equal(topic_t(node)->config_count, 0);
    node_check(node, 33, 0,
               "00000002 02 0001't' 00000000 02 0001't' 00000001 000c'retention.ms' 0001'1' 00",
               "00000000 00000002 002a 0028'the topic is named twice in this request' 02 0001't' "
               "002a *");
    /* A bad value of the older request; null. */
    node_check(node, 33, 0, "00000001 02 0001't' 00000001 000c'retention.ms' 0002'-2' 00",
               "00000000 00000001 0028 .... 'topic config retention.ms = -2 is out of range: "
               "give at least -1' 02 0001't'");
    node_check(node, 33, 0, "00000001 02 0001't' 00000001 000c'retention.ms' ffff 00",
               "00000000 00000001 002a *");
    /* The agent's own refusals. */
    node->agent->fail = ERR_TIMEOUT;
    node_check(node, 44, 0, "00000001 02 0001't' 00000001 000c'retention.ms' 00 0001'1' 00",
               "00000000 00000001 0007 *");
    node->agent->fail = ERR_TOPIC_ID_UNKNOWN;
    node_check(node, 44, 0, "00000001 02 0001't' 00000001 000c'retention.ms' 00 0001'1' 00",
               "00000000 00000001 0003 *");
}

static void what_cannot_be_altered_is_refused_with_its_reason(void **state)
{
    (void)state;
    golden_on_each_engine(check_alter_refusals);
}

static void check_growth_refusals(struct node *node)
{
    static const char *const rows[][2] = {
        {"0001't' 00000001 ffffffff", "0001't' 0025"},
        {"0001't' 00000000 ffffffff", "0001't' 0025"},
        {"0001't' ffffffff ffffffff", "0001't' 0025"},
        {"0001't' 00002711 ffffffff", "0001't' 0025"},
        {"0001'x' 00000002 ffffffff", "0001'x' 0003"},
        /* By hand: too few, too many, none, on another node, on two. */
        {"0001't' 00000003 00000001 00000001 00000001", "0001't' 0027"},
        {"0001't' 00000002 00000002 00000001 00000001 00000001 00000001", "0001't' 0027"},
        {"0001't' 00000002 00000000", "0001't' 0027"},
        {"0001't' 00000002 00000001 00000001 00000002", "0001't' 0027"},
        {"0001't' 00000002 00000001 00000002 00000001 00000001", "0001't' 0027"},
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        char body[512], answer[512];
        (void)snprintf(body, sizeof(body), "00000001 %s 00007530 %s", rows[i][0],
                       i % 2 == 0 ? "00" : "01");
        (void)snprintf(answer, sizeof(answer), "00000000 00000001 %s *", rows[i][1]);
        node_check(node, 37, 0, body, answer);
    }
    node_check(node, 37, 0,
               "00000002 0001't' 00000002 ffffffff 0001't' 00000003 ffffffff 00007530 00",
               "00000000 00000002 0001't' 002a 0028'the topic is named twice in this request' "
               "0001't' 002a *");
    assert_int_equal(topic_t(node)->partition_count, 1);
    node->agent->fail = ERR_NOT_READY;
    node_check(node, 37, 0, "00000001 0001't' 00000002 ffffffff 00007530 00",
               "00000000 00000001 0001't' 0007 *");
    node->agent->fail = ERR_PARTITIONS_INVALID;
    node_check(node, 37, 0, "00000001 0001't' 00000002 ffffffff 00007530 00",
               "00000000 00000001 0001't' 0025 *");
}

static void what_cannot_grow_is_refused_with_its_reason(void **state)
{
    (void)state;
    golden_on_each_engine(check_growth_refusals);
}

static void check_growth(struct node *node)
{
    uint8_t batch[128];
    struct bytes sent = wire_plain_batch(1, 5, batch, sizeof(batch));
    static const char to_2[] = "ffff 0001 00007530 00000001 0001't' 00000001 00000002 $4";
    node_ask_with(node, 0, 3, to_2, sent);
    node_expect(node, 0, 3, "00000001 0001't' 00000001 00000002 0003 *");
    node->agent->hold = true;
    node_ask(node, 37, 0, "00000001 0001't' 00000003 ffffffff 00007530 00");
    node_settle(node);
    assert_int_equal(client_available(&node->client), 0);
    stub_release(node->agent);
    node_expect(node, 37, 0, "00000000 00000001 0001't' 0000 ffff");
    /* It can be written at once, and has a size. */
    node_ask_with(node, 0, 3, to_2, sent);
    node_expect(node, 0, 3, "00000001 0001't' 00000001 00000002 0000 0000000000000000 *");
    node_check(node, 35, 1, "00000001 0001't' 00000002 00000001 00000002",
               "00000000 00000001 0000 0000 00000001 0001't' 00000002 00000001 0000000000000000 "
               "0000000000000000 00 00000002 00000000 00003000 0000000000000000 00");
    node_check(node, 23, 2, "00000001 0001't' 00000001 00000001 ffffffff 00000000",
               "00000000 00000001 0001't' 00000001 0000 00000001 00000000 0000000000000000");
}

static void a_topic_that_grew_is_ready_when_it_is_answered(void **state)
{
    (void)state;
    golden_on_each_engine(check_growth);
}

/* An append of one record to "t"; the base offset. */
static uint64_t append(struct node *node)
{
    uint8_t batch[256];
    char answer[128];
    uint64_t base = node->asked; /* Any number that grows. */
    node_ask_with(node, 0, 3, "ffff ffff 00007530 00000001 0001't' 00000001 00000000 $4",
                  wire_plain_batch(1, 1000, batch, sizeof(batch)));
    (void)snprintf(answer, sizeof(answer), "00000001 0001't' 00000001 00000000 0000 *");
    node_expect(node, 0, 3, answer);
    return base;
}

static void check_epochs_of_segments(struct node *node)
{
    /* A segment each three records: epochs 1, 2 and 3 from 0, 3 and 6 on. */
    node_check(node, 44, 0, "00000001 02 0001't' 00000001 000f'segment.records' 00 0001'3' 00",
               "00000000 00000001 0000 ffff 02 0001't'");
    for (uint32_t i = 0; i < 8; i++) {
        (void)append(node);
    }
    const struct map_partition *partition = &topic_t(node)->partitions[0];
    assert_int_equal(partition->segment_count, 3);
    node_check(node, 23, 3,
               "ffffffff 00000001 0001't' 00000006 00000000 ffffffff 00000000 00000000 ffffffff "
               "00000001 00000000 00000003 00000002 00000000 00000001 00000003 00000000 ffffffff "
               "00000004 00000000 ffffffff ffffffff",
               "00000000 00000001 0001't' 00000006 0000 00000000 00000000 0000000000000000 0000 "
               "00000000 00000001 0000000000000003 0000 00000000 00000002 0000000000000006 0000 "
               "00000000 00000003 0000000000000008 0000 00000000 ffffffff ffffffffffffffff 0000 "
               "00000000 ffffffff ffffffffffffffff");
    /* The first segment goes: before its epoch is where the log starts. */
    node_check(node, 21, 0, "00000001 0001't' 00000001 00000000 0000000000000004 00007530",
               "00000000 00000001 0001't' 00000001 00000000 0000000000000004 0000");
    node_settle(node);
    node_check(node, 23, 3,
               "ffffffff 00000001 0001't' 00000002 00000000 ffffffff 00000001 00000000 ffffffff "
               "00000002",
               "00000000 00000001 0001't' 00000002 0000 00000000 00000001 0000000000000004 0000 "
               "00000000 00000002 0000000000000006");
}

static void epochs_end_where_the_next_segment_begins(void **state)
{
    (void)state;
    golden_on_each_engine(check_epochs_of_segments);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_altered_is_refused_with_its_reason),
        cmocka_unit_test(what_cannot_grow_is_refused_with_its_reason),
        cmocka_unit_test(a_topic_that_grew_is_ready_when_it_is_answered),
        cmocka_unit_test(epochs_end_where_the_next_segment_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
