/* Records through the Kafka protocol: what Produce checks, idempotence, ListOffsets and
 * DeleteRecords. */
#include "tests/unit/net/kafka_data_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- Produce. --- */

static void expect_latest(struct node *node, uint32_t partition, uint64_t offset)
{
    char body[256];
    (void)snprintf(body, sizeof(body), "ffffffff 00000001 0001't' 00000001 %08x ffffffffffffffff",
                   partition);
    node_ask(node, 2, 1, body);
    (void)snprintf(body, sizeof(body),
                   "00000001 0001't' 00000001 %08x 0000 ffffffffffffffff %016llx", partition,
                   (unsigned long long)offset);
    node_expect(node, 2, 1, body);
}

/* Overwrites `size` bytes of a good batch and mends its checksum. */
struct damage {
    uint32_t at, size;
    uint64_t value;
    int16_t code;
    bool mend;
};

static void check_damages(struct node *node)
{
    static const struct damage rows[] = {
        {8, 4, 0xffffffff, 87, true},  /* Length: negative, */
        {8, 4, 48, 87, true},          /* below a header, */
        {8, 4, 62, 87, true},          /* one byte more than there is, */
        {8, 4, 60, 87, true},          /* and one less. */
        {16, 1, 1, 87, true},          /* The old magic. */
        {16, 1, 3, 87, true},          /* One of the future. */
        {17, 4, 0x01020304, 2, false}, /* CRC. */
        {70, 1, 'b', 2, false},        /* A record, against the CRC. */
        {21, 2, 0x20, 87, true},       /* A control batch. */
        {21, 2, 0x08, 32, true},       /* Append time on a topic of create time. */
        {21, 2, 0x05, 87, true},       /* A codec that is none. */
        {21, 2, 0x40, 87, true},       /* Delete horizon. */
        {21, 2, 0x8000, 87, true},     /* Reserved. */
        {21, 2, 0x10, 87, true},       /* Transactional without a producer. */
        {57, 4, 0, 87, true},          /* No records, */
        {57, 4, 2, 87, true},          /* more than the last delta says, */
        {57, 4, 0xffffffff, 87, true}, /* less than none. */
        {23, 4, 1, 87, true},          /* The last delta itself. */
        {23, 4, 0xffffffff, 87, true},
        {0, 8, 1, 87, false},                  /* Base offset. */
        {43, 8, 7, 87, true},                  /* A producer without an epoch or a sequence. */
        {35, 8, 0x7fffffff00000000, 32, true}, /* In the far future. */
    };
    uint8_t batch[DATA_BATCH_BYTES];
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct bytes sent = wire_plain_batch(1, 1000, batch, sizeof(batch));
        assert_int_equal(sent.size, 61 + 12);
        uint8_t value[8];
        store_be64(value, rows[i].value);
        memcpy(batch + rows[i].at, value + 8 - rows[i].size, rows[i].size);
        if (rows[i].mend) {
            wire_mend_crc(batch, sent.size);
        }
        data_check_produced(node, sent, rows[i].code, 0);
    }
    expect_latest(node, 0, 0);
    data_check_produced(node, wire_plain_batch(1, 1000, batch, sizeof(batch)), 0, 0);
    expect_latest(node, 0, 1);
}

static void a_batch_that_is_damaged_is_refused_by_its_code(void **state)
{
    (void)state;
    data_on_each_engine(check_damages);
}

static void check_shapes(struct node *node)
{
    static const char one[] = "00000001 0001't' 00000001 00000000 ";
    uint8_t batch[DATA_BATCH_BYTES];
    char body[128];
    struct bytes sent = wire_plain_batch(1, 1000, batch, sizeof(batch));
    /* Too short for a header; with a byte behind; two at once; null; empty. */
    data_check_produced(node, bytes_of(batch, 60), 87, 0);
    batch[sent.size] = 0;
    data_check_produced(node, bytes_of(batch, sent.size + 1), 87, 0);
    memcpy(batch + sent.size, batch, sent.size);
    data_check_produced(node, bytes_of(batch, 2 * sent.size), 87, 0);
    for (uint32_t i = 0; i < 2; i++) {
        (void)snprintf(body, sizeof(body), "ffff ffff 00007530 %s %s", one,
                       i == 0 ? "ffffffff" : "00000000");
        node_ask(node, 0, 7, body);
        data_expect_produced(node, "t", 0, 87, 0);
    }
    /* acks that are none; a transaction; partitions that are not there. */
    node_ask_with(node, 0, 7, "ffff 0002 00007530 00000001 0001't' 00000001 00000000 $4", sent);
    data_expect_produced(node, "t", 0, 21, 0);
    node_ask_with(node, 0, 7, "ffff fffe 00007530 00000001 0001't' 00000001 00000000 $4", sent);
    data_expect_produced(node, "t", 0, 21, 0);
    node_ask_with(node, 0, 7, "0001'x' ffff 00007530 00000001 0001't' 00000001 00000000 $4", sent);
    data_expect_produced(node, "t", 0, 48, 0);
    data_ask_produce(node, "t", 3, sent);
    data_expect_produced(node, "t", 3, 3, 0);
    data_ask_produce(node, "t", 0xffffffff, sent);
    data_expect_produced(node, "t", 0xffffffff, 3, 0);
    data_ask_produce(node, "u", 0, sent);
    data_expect_produced(node, "u", 0, 3, 0);
    /* zstd before version 7. */
    batch[22] = 4;
    wire_mend_crc(batch, sent.size);
    node_ask_with(node, 0, 6, "ffff ffff 00007530 00000001 0001't' 00000001 00000000 $4", sent);
    node_expect(node, 0, 6, "00000001 0001't' 00000001 00000000 004c *");
    expect_latest(node, 0, 0);
}

static void a_request_of_the_wrong_shape_is_refused_by_its_code(void **state)
{
    (void)state;
    data_on_each_engine(check_shapes);
}

static void check_topic_settings(struct node *node)
{
    uint8_t plain[DATA_BATCH_BYTES];
    uint8_t batch[DATA_BATCH_BYTES];
    node_topic(node, "small", 1, 0x51, "max.message.bytes=100");
    node_topic(node, "compact", 1, 0x52, "cleanup.policy=compact");
    node_topic(node, "append", 1, 0x53, "message.timestamp.type=LogAppendTime");
    struct wire_batch spec = {.records = 1,
                              .value_bytes = 32,
                              .timestamp = 1000,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    struct bytes sent = wire_batch(&spec, plain, sizeof(plain));
    assert_int_equal(sent.size, 100);
    data_ask_produce(node, "small", 0, sent);
    data_expect_produced(node, "small", 0, 0, 0);
    spec.value_bytes++;
    data_ask_produce(node, "small", 0, wire_batch(&spec, batch, sizeof(batch)));
    data_expect_produced(node, "small", 0, 10, 0);
    data_ask_produce(node, "compact", 0, sent);
    data_expect_produced(node, "compact", 0, 87, 0);
    /* From version 8 on the records are named: librdkafka sends the others again. */
    spec.records = 2;
    node_ask_with(node, 0, 8, "ffff ffff 00007530 00000001 0007'compact' 00000001 00000000 $4",
                  wire_batch(&spec, batch, sizeof(batch)));
    node_expect(node, 0, 8,
                "00000001 0007'compact' 00000001 00000000 0057 ffffffffffffffff ffffffffffffffff "
                "ffffffffffffffff 00000002 00000000 ffff 00000001 ffff "
                "003b'a record without a key, in a topic that is compacted by key' 00000000");
    spec.records = 1;
    spec.keys = true;
    data_ask_produce(node, "compact", 0, wire_batch(&spec, batch, sizeof(batch)));
    data_expect_produced(node, "compact", 0, 0, 0);
    /* The time of the append is told, and is what consumers get. */
    data_ask_produce(node, "append", 0, sent);
    node_expect(node, 0, 7,
                "00000001 0006'append' 00000001 00000000 0000 0000000000000000 000001.......... "
                "0000000000000000 00000000");
}

static void a_topics_settings_decide_what_it_takes(void **state)
{
    (void)state;
    data_on_each_engine(check_topic_settings);
}

static void check_acks(struct node *node)
{
    static const char *const acks[] = {"ffff", "0001", "0000"};
    uint8_t batch[DATA_BATCH_BYTES];
    char body[128];
    struct bytes sent = wire_plain_batch(1, 1000, batch, sizeof(batch));
    for (uint32_t i = 0; i < 6; i++) {
        (void)snprintf(body, sizeof(body), "ffff %s 00007530 00000001 0001't' 00000001 00000000 $4",
                       acks[i % 3]);
        node_ask_with(node, 0, 7, body, sent);
        if (i % 3 == 2) {
            node->answered++; /* Nothing is said; the next answer is that of the next request. */
            (void)snprintf(body, sizeof(body), /* However slow the disk is. */
                           "ffffffff 0000ea60 00000001 00100000 00 00000001 0001't' 00000001 "
                           "00000000 %016x 00100000",
                           i);
            node_check(node, 1, 4, body, "00000000 00000001 0001't' 00000001 00000000 0000 *");
            expect_latest(node, 0, i + 1);
        } else {
            data_expect_produced(node, "t", 0, 0, i);
        }
    }
    /* Its errors close the connection, behind what was asked before. */
    node_ask(node, 18, 0, "");
    node_ask_with(node, 0, 7, "ffff 0000 00007530 00000001 0001't' 00000001 00000009 $4", sent);
    node_ask(node, 18, 0, "");
    node_expect(node, 18, 0, "0000 *");
    node_expect_end(node);
    expect_latest(node, 0, 6);
}

static void acks_say_who_is_answered(void **state)
{
    (void)state;
    data_on_each_engine(check_acks);
}

static struct bytes sequenced(uint8_t *batch, int16_t epoch, int32_t sequence, uint32_t records)
{
    struct wire_batch spec = {.records = records,
                              .value_bytes = 5,
                              .timestamp = 1000,
                              .producer_id = 77,
                              .producer_epoch = epoch,
                              .sequence = sequence};
    return wire_batch(&spec, batch, DATA_BATCH_BYTES);
}

static void check_idempotence(struct node *node)
{
    uint8_t batch[DATA_BATCH_BYTES];
    /* Five in flight, then each of them again, in flight too: the offsets of the first time. */
    for (uint32_t round = 0; round < 2; round++) {
        for (int32_t i = 0; i < 5; i++) {
            data_ask_produce(node, "t", 0, sequenced(batch, 0, 2 * i, 2));
        }
        for (uint32_t i = 0; i < 5; i++) {
            data_expect_produced(node, "t", 0, 0, 2 * i);
        }
    }
    expect_latest(node, 0, 10);
    assert_int_equal(node->reactor.stats.counters[STAT_APPEND_DUPLICATES], 5);
    /* A gap; part of a batch; what fell out of the window of five. */
    data_check_produced(node, sequenced(batch, 0, 11, 1), 45, 0);
    data_check_produced(node, sequenced(batch, 0, 8, 1), 45, 0);
    data_check_produced(node, sequenced(batch, 0, 10, 1), 0, 10);
    data_check_produced(node, sequenced(batch, 0, 0, 2), 45, 0);
    data_check_produced(node, sequenced(batch, 0, 2, 2), 0, 2);
    /* Another partition has a window of its own, and takes any first sequence. */
    data_ask_produce(node, "t", 1, sequenced(batch, 0, 500, 1));
    data_expect_produced(node, "t", 1, 0, 0);
    /* A newer epoch begins at 0 and fences the older one. */
    data_check_produced(node, sequenced(batch, 1, 11, 1), 45, 0);
    data_check_produced(node, sequenced(batch, 1, 0, 1), 0, 11);
    data_check_produced(node, sequenced(batch, 0, 11, 1), 47, 0);
    expect_latest(node, 0, 12);
    /* After 2^31-1 comes 0. */
    data_ask_produce(node, "t", 2, sequenced(batch, 0, INT32_MAX - 1, 2));
    data_expect_produced(node, "t", 2, 0, 0);
    data_ask_produce(node, "t", 2, sequenced(batch, 0, 0, 1));
    data_expect_produced(node, "t", 2, 0, 2);
}

static void sequences_are_appended_once_and_in_order(void **state)
{
    (void)state;
    data_on_each_engine(check_idempotence);
}

/* --- ListOffsets. --- */

static void ask_offset(struct node *node, int16_t version, uint32_t partition, int32_t epoch,
                       int64_t timestamp)
{
    char body[256];
    if (version < 6) {
        (void)snprintf(body, sizeof(body),
                       "ffffffff 00 00000001 0001't' 00000001 %08x %08x %016llx", partition,
                       (unsigned)epoch, (unsigned long long)timestamp);
    } else {
        (void)snprintf(body, sizeof(body), "ffffffff 00 02 02't' 02 %08x %08x %016llx 00 00 00",
                       partition, (unsigned)epoch, (unsigned long long)timestamp);
    }
    node_ask(node, 2, version, body);
}

static void check_offset(struct node *node, int16_t version, int64_t timestamp, const char *found)
{
    char body[256];
    ask_offset(node, version, 0, -1, timestamp);
    if (version < 6) {
        (void)snprintf(body, sizeof(body), "00000000 00000001 0001't' 00000001 00000000 %s", found);
    } else {
        (void)snprintf(body, sizeof(body), "00000000 02 02't' 02 00000000 %s 00 00 00", found);
    }
    node_expect(node, 2, version, body);
}

static void check_list_offsets(struct node *node)
{
    static const char none[] = "0000 ffffffffffffffff ffffffffffffffff ffffffff";
    static const char refused[] = "0023 ffffffffffffffff ffffffffffffffff ffffffff";
    uint8_t batch[DATA_BATCH_BYTES];
    /* Offsets 0 to 2 at 1000 to 1002, then 3 and 4 at 500 and 501. */
    data_check_produced(node, wire_plain_batch(3, 1000, batch, sizeof(batch)), 0, 0);
    data_check_produced(node, wire_plain_batch(2, 500, batch, sizeof(batch)), 0, 3);
    check_offset(node, 4, -1, "0000 ffffffffffffffff 0000000000000005 00000001");
    check_offset(node, 4, -2, "0000 ffffffffffffffff 0000000000000000 00000001");
    check_offset(node, 7, -3, "0000 00000000000003ea 0000000000000002 00000001");
    check_offset(node, 4, -3, refused);
    check_offset(node, 6, -3, refused);
    check_offset(node, 7, -4, refused);
    check_offset(node, 4, 0, "0000 00000000000003e8 0000000000000000 00000001");
    check_offset(node, 4, 1000, "0000 00000000000003e8 0000000000000000 00000001");
    check_offset(node, 4, 1001, "0000 00000000000003e9 0000000000000001 00000001");
    check_offset(node, 4, 1002, "0000 00000000000003ea 0000000000000002 00000001");
    check_offset(node, 4, 1003, none);
    check_offset(node, 4, INT64_MAX, none);
    /* A leader epoch that is newer than ours; partitions and topics that are not there. */
    ask_offset(node, 4, 0, 2, -1);
    node_expect(node, 2, 4, "00000000 00000001 0001't' 00000001 00000000 004b *");
    ask_offset(node, 4, 3, -1, -1);
    node_expect(node, 2, 4, "00000000 00000001 0001't' 00000001 00000003 0003 *");
    ask_offset(node, 4, 0xffffffff, -1, -1);
    node_expect(node, 2, 4, "00000000 00000001 0001't' 00000001 ffffffff 0003 *");
    /* An empty partition. */
    ask_offset(node, 7, 1, -1, -3);
    node_expect(node, 2, 7,
                "00000000 02 02't' 02 00000001 0000 ffffffffffffffff ffffffffffffffff ........ 00 "
                "00 00");
}

/* Partition 0 of `topic` from `offset` on; what it answers: where the log starts, and the code. */
static void check_deleted(struct node *node, const char *topic, int64_t offset, const char *answer)
{
    char text[128];
    (void)snprintf(text, sizeof(text), "00000001 0001'%s' 00000001 00000000 %016llx 00007530",
                   topic, (unsigned long long)offset);
    node_ask(node, 21, 1, text);
    (void)snprintf(text, sizeof(text), "00000000 00000001 0001'%s' 00000001 00000000 %s", topic,
                   answer);
    node_expect(node, 21, 1, text);
}

static void check_delete_records(struct node *node)
{
    uint8_t batch[DATA_BATCH_BYTES];
    data_check_produced(node, wire_plain_batch(3, 1000, batch, sizeof(batch)), 0, 0);
    data_check_produced(node, wire_plain_batch(2, 500, batch, sizeof(batch)), 0, 3);
    check_deleted(node, "t", 4, "0000000000000004 0000");
    check_deleted(node, "t", 1, "0000000000000004 0000"); /* It never falls. */
    check_deleted(node, "t", 6, "ffffffffffffffff 0001");
    check_deleted(node, "t", -2, "ffffffffffffffff 0001");
    check_offset(node, 4, -2, "0000 ffffffffffffffff 0000000000000004 00000001");
    check_offset(node, 4, 0, "0000 00000000000001f5 0000000000000004 00000001");
    node_ask(node, 1, 5,
             "ffffffff 00000000 00000001 03200000 00 00000001 0001't' 00000001 00000000 "
             "0000000000000003 ffffffffffffffff 00100000");
    node_expect(node, 1, 5, "00000000 00000001 0001't' 00000001 00000000 0001 *");
    check_deleted(node, "t", -1, "0000000000000005 0000");
    check_offset(node, 4, -1, "0000 ffffffffffffffff 0000000000000005 00000001");
    /* What is only compacted is not cut. */
    node_topic(node, "c", 1, 0xc1, "cleanup.policy=compact");
    check_deleted(node, "c", 0, "ffffffffffffffff 002c");
}

static void deleted_records_are_gone(void **state)
{
    (void)state;
    data_on_each_engine(check_delete_records);
}

static void list_offsets_finds_ends_and_times(void **state)
{
    (void)state;
    data_on_each_engine(check_list_offsets);
}

/* Two items of one number are two, however many others lie between: both are refused. */
static void check_duplicates(struct node *node)
{
    enum { BETWEEN = 3000, ITEM_HEX = 25, CODE_HEX = 44 };

    char *body = malloc((BETWEEN + 8) * ITEM_HEX);
    char *answer = malloc((BETWEEN + 8) * CODE_HEX);
    assert_non_null(body);
    assert_non_null(answer);
    int at = snprintf(body, 64, "ffffffff 00000001 0001't' %08x", BETWEEN + 3);
    int to = snprintf(answer, 64, "00000001 0001't' %08x", BETWEEN + 3);
    for (uint32_t i = 0; i < BETWEEN + 3; i++) {
        bool twice = i == 0 || i == BETWEEN + 1;
        uint32_t partition = twice ? 1 : i == BETWEEN + 2 ? 2 : 100 + i;
        const char *code = twice ? "002a" : partition == 2 ? "0000" : "0003";
        at += snprintf(body + at, 32, "%08xffffffffffffffff", partition);
        to += snprintf(answer + to, 64, "%08x%sffffffffffffffff%s", partition, code,
                       partition == 2 ? "0000000000000000" : "ffffffffffffffff");
    }
    node_check(node, 2, 1, body, answer);
    free(body);
    free(answer);
    /* Marks do not outlive their topic. */
    node_check(node, 2, 1,
               "ffffffff 00000002 0001't' 00000001 00000001 ffffffffffffffff 0001't' 00000001 "
               "00000001 ffffffffffffffff",
               "00000002 0001't' 00000001 00000001 0000 ffffffffffffffff 0000000000000000 0001't' "
               "00000001 00000001 0000 ffffffffffffffff 0000000000000000");
}

static void a_partition_named_twice_is_refused(void **state)
{
    (void)state;
    data_on_each_engine(check_duplicates);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_that_is_damaged_is_refused_by_its_code),
        cmocka_unit_test(a_request_of_the_wrong_shape_is_refused_by_its_code),
        cmocka_unit_test(a_topics_settings_decide_what_it_takes),
        cmocka_unit_test(acks_say_who_is_answered),
        cmocka_unit_test(sequences_are_appended_once_and_in_order),
        cmocka_unit_test(list_offsets_finds_ends_and_times),
        cmocka_unit_test(deleted_records_are_gone),
        cmocka_unit_test(a_partition_named_twice_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
