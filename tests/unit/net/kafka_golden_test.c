/* Each version of each key that is advertised, byte by byte: bodies written down from the public
 * protocol guide, not from our encoder. Headers are node.c's; those that are special are here. */
#include "tests/unit/net/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define BROKER_0 "00000001 0006'b.test' 00002384"
#define BROKER_1 BROKER_0 " ffff"
#define CLUSTER  "0016'wcHBwcHBwcHBwcHBwcHBwQ'"

/* Partition 0, led by node 1, with replicas and those in sync. */
#define PARTITION_0 "0000 00000000 00000001 00000001 00000001 00000001 00000001"
#define PARTITION_5 PARTITION_0 " 00000000"
#define PARTITION_7 "0000 00000000 00000001 00000000 00000001 00000001 00000001 00000001 00000000"
#define PARTITION_9 "0000 00000000 00000001 00000000 02 00000001 02 00000001 01 00"
#define HEAD_9                                                                                     \
    "00000000 02 00000001 07'b.test' 00002384 00 00 "                                              \
    "17'wcHBwcHBwcHBwcHBwcHBwQ' 00000001"

/* --- ApiVersions. --- */

#define RANGES_0                                                                                   \
    "0000001b 00000000000d 000100040011 00020001000b 00030000000d 000800020009 000900010009 "      \
    "000a00000006 000b00000009 000c00000004 000d00000005 000e00000005 000f00000006 "               \
    "001000000005 001200000004 001300020007 001400010006 001500000002 001600000005 "               \
    "001700020004 002000010004 002100000002 002300010004 002500000003 002a00000002 "               \
    "002c00000001 002f00000000 003c00000002"
#define RANGES_3                                                                                   \
    "1c 00000000000d00 00010004001100 00020001000b00 00030000000d00 00080002000900 "               \
    "00090001000900 000a0000000600 000b0000000900 000c0000000400 000d0000000500 "                  \
    "000e0000000500 000f0000000600 00100000000500 00120000000400 00130002000700 "                  \
    "00140001000600 00150000000200 00160000000500 00170002000400 00200001000400 "                  \
    "00210000000200 00230001000400 00250000000300 002a0000000200 002c0000000100 "                  \
    "002f0000000000 003c0000000200"

static void check_api_versions(struct node *node)
{
    static const struct golden rows[] = {
        {0, 0, "", "0000" RANGES_0},
        {1, 2, "", "0000" RANGES_0 "00000000"},
        {3, 4, "0a'librdkafk' 06'2.0.2' 00", "0000" RANGES_3 "00000000 00"},
        /* Tagged fields that nobody knows are skipped. */
        {3, 4, "02'x' 02'1' 02 05 03'abc' 07 00", "0000" RANGES_3 "00000000 00"},
        /* Names that are none: 42. */
        {3, 3, "01 02'1' 00", "002a" RANGES_3 "00000000 00"},
        {3, 3, "03'-x' 02'1' 00", "002a" RANGES_3 "00000000 00"},
        {3, 3, "02'x' 03'1.' 00", "002a" RANGES_3 "00000000 00"},
    };
    GOLDEN_CHECK(node, 18, rows);
}

static void api_versions(void **state)
{
    (void)state;
    golden_on_each_engine(check_api_versions);
}

static void check_api_versions_too_new(struct node *node)
{
    /* Error 35 in a body of version 0 with the whole list, whatever follows the correlation id. */
    node_ask_raw(node, "0012 0005 00000063 ffff ff");
    node_expect_raw(node, "00000063 0023" RANGES_0);
    node_ask_raw(node, "0012 7fff 00000064");
    node_expect_raw(node, "00000064 0023" RANGES_0);
    /* And the connection lives. */
    node_check(node, 18, 0, "", "0000" RANGES_0);
    node_ask_raw(node, "0012 ffff 00000065 ffff");
    node_expect_end(node);
}

static void a_too_new_api_versions_is_answered_with_35(void **state)
{
    (void)state;
    golden_on_each_engine(check_api_versions_too_new);
}

static void check_headers(struct node *node)
{
    /* Header v1: a null client id, an empty one. */
    node_ask_raw(node, "0003 0000 11223344 ffff 00000000");
    node_expect_raw(node,
                    "11223344 00000001" BROKER_0 "00000001 0000 0001't' 00000001" PARTITION_0);
    node_ask_raw(node, "0012 0000 ffffffff 0000");
    node_expect_raw(node, "ffffffff 0000" RANGES_0);
    /* Header v2: the client id keeps its int16 length; tags follow, and are skipped. */
    node_ask_raw(node, "0016 0002 00000007 0004'test' 01 63 02'zz' 00 0000ea60 00");
    node_expect_raw(node, "00000007 00 00000000 0000 ........ ........ 0000 00");
    node_ask_raw(node, "0016 0002 00000008 ffff 00 00 0000ea60 00");
    node_expect_raw(node, "00000008 00 00000000 0000 ........ ........ 0000 00");
    /* A request of ApiVersions v3 has header v2, its answer header v0: no tags. */
    node_ask_raw(node, "0012 0003 00000009 0004'test' 00 02'x' 02'1' 00");
    node_expect_raw(node, "00000009 0000" RANGES_3 "00000000 00");
}

static void headers(void **state)
{
    (void)state;
    golden_on_each_engine(check_headers);
}

/* --- Metadata. --- */

static void check_metadata(struct node *node)
{
    static const struct golden rows[] = {
        {0, 0, "00000001 0001't'",
         "00000001" BROKER_0 "00000001 0000 0001't' 00000001" PARTITION_0},
        /* Version 0 asks for all with an empty list. */
        {0, 0, "00000000", "00000001" BROKER_0 "00000001 0000 0001't' 00000001" PARTITION_0},
        {1, 1, "00000001 0001't'",
         "00000001" BROKER_1 "00000001 00000001 0000 0001't' 00 00000001" PARTITION_0},
        /* Later ones with a null; an empty list is none. */
        {1, 1, "ffffffff",
         "00000001" BROKER_1 "00000001 00000001 0000 0001't' 00 00000001" PARTITION_0},
        {1, 1, "00000000", "00000001" BROKER_1 "00000001 00000000"},
        {2, 2, "00000001 0001't'",
         "00000001" BROKER_1 CLUSTER "00000001 00000001 0000 0001't' 00 00000001" PARTITION_0},
        {3, 3, "00000001 0001't'",
         "00000000 00000001" BROKER_1 CLUSTER
         "00000001 00000001 0000 0001't' 00 00000001" PARTITION_0},
        {4, 4, "00000001 0001't' 00",
         "00000000 00000001" BROKER_1 CLUSTER
         "00000001 00000001 0000 0001't' 00 00000001" PARTITION_0},
        {5, 6, "00000001 0001't' 00",
         "00000000 00000001" BROKER_1 CLUSTER
         "00000001 00000001 0000 0001't' 00 00000001" PARTITION_5},
        {7, 7, "00000001 0001't' 00",
         "00000000 00000001" BROKER_1 CLUSTER
         "00000001 00000001 0000 0001't' 00 00000001" PARTITION_7},
        {8, 8, "00000001 0001't' 00 01 01",
         "00000000 00000001" BROKER_1 CLUSTER
         "00000001 00000001 0000 0001't' 00 00000001" PARTITION_7 "80000000 80000000"},
        {9, 9, "02 02't' 00 00 00 00 00",
         HEAD_9 "02 0000 02't' 00 02" PARTITION_9 "80000000 00 80000000 00"},
        {9, 9, "01 00 00 00 00", HEAD_9 "01 80000000 00"},
        {9, 9, "00 00 00 00 00",
         HEAD_9 "02 0000 02't' 00 02" PARTITION_9 "80000000 00 80000000 00"},
        {10, 10, "02 00000000 00000000 00000000 00000000 02't' 00 00 00 00 00",
         HEAD_9 "02 0000 02't'" ID_T "00 02" PARTITION_9 "80000000 00 80000000 00"},
        {11, 12, "02 00000000 00000000 00000000 00000000 02't' 00 00 00 00",
         HEAD_9 "02 0000 02't'" ID_T "00 02" PARTITION_9 "80000000 00 00"},
        /* By id: since version 12; before that it is invalid. */
        {12, 12, "02" ID_T "00 00 00 00 00",
         HEAD_9 "02 0000 02't'" ID_T "00 02" PARTITION_9 "80000000 00 00"},
        {11, 11, "02" ID_T "00 00 00 00 00", HEAD_9 "02 002a 01" ID_T "00 01 80000000 00 00"},
        /* All topics, as librdkafka asks: the null is three bytes too long. */
        {12, 12, "00 000000 01 00 00",
         HEAD_9 "02 0000 02't'" ID_T "00 02" PARTITION_9 "80000000 00 00"},
        /* The whole answer's own error: none. */
        {13, 13, "02 00000000 00000000 00000000 00000000 02't' 00 00 00 00",
         HEAD_9 "02 0000 02't'" ID_T "00 02" PARTITION_9 "80000000 00 0000 00"},
        {13, 13, "02" ID_T "00 00 00 00 00",
         HEAD_9 "02 0000 02't'" ID_T "00 02" PARTITION_9 "80000000 00 0000 00"},
        {12, 12, "02 77777777 77777777 77777777 77777777 00 00 00 00 00",
         HEAD_9 "02 0064 00 77777777 77777777 77777777 77777777 00 01 80000000 00 00"},
    };
    GOLDEN_CHECK(node, 3, rows);
}

static void metadata(void **state)
{
    (void)state;
    golden_on_each_engine(check_metadata);
}

/* --- FindCoordinator: this node for every group; 15 for transactions. --- */

static void check_coordinator(struct node *node)
{
    static const struct golden rows[] = {
        {0, 0, "0001'g'", "0000 00000001 0006'b.test' 00002384"},
        {0, 0, "0000", "0018 ffffffff 0000 ffffffff"},
        {1, 2, "0001'g' 00", "00000000 0000 ffff 00000001 0006'b.test' 00002384"},
        {1, 2, "0001'x' 01", "00000000 000f ffff ffffffff 0000 ffffffff"},
        {3, 3, "02'g' 00 00", "00000000 0000 00 00000001 07'b.test' 00002384 00"},
        {4, 6, "00 03 02'g' 02'h' 00",
         "00000000 03 02'g' 00000001 07'b.test' 00002384 0000 00 00 "
         "02'h' 00000001 07'b.test' 00002384 0000 00 00 00"},
        {4, 6, "01 02 02'x' 00", "00000000 02 02'x' ffffffff 01 ffffffff 000f 00 00 00"},
    };
    GOLDEN_CHECK(node, 10, rows);
}

static void find_coordinator(void **state)
{
    (void)state;
    golden_on_each_engine(check_coordinator);
}

/* --- InitProducerId. --- */

static void check_producer_id(struct node *node)
{
    static const char *const body[] = {"ffff 0000ea60", "00 0000ea60 00",
                                       "00 0000ea60 ffffffff ffffffff ffff 00"};
    for (uint32_t v = 0; v <= 5; v++) {
        char answer[64];
        (void)snprintf(answer, sizeof(answer), "00000000 0000 00000000 0000%04x 0000 %s", v + 1,
                       v < 2 ? "" : "00");
        node_check(node, 22, (int16_t)v, body[v < 2 ? 0 : v < 3 ? 1 : 2], answer);
    }
    /* One proposal serves a thousand. */
    assert_int_equal(node->agent->proposed, 2);
}

static void init_producer_id(void **state)
{
    (void)state;
    golden_on_each_engine(check_producer_id);
}

/* --- Produce, ListOffsets, Fetch: the same batch of two records at 1000 and 1001 ms. --- */

static void check_produce(struct node *node)
{
    static const char *const body[] = {"ffff ffff 00007530 00000001 0001't' 00000001 00000000 $4",
                                       "00 ffff 00007530 02 02't' 02 00000000 $v 00 00 00",
                                       "00 ffff 00007530 02" ID_T "02 00000000 $v 00 00 00"};
    static const char *const answer[] = {
        "00000001 0001't' 00000001 00000000 0000 ........ ........ ffffffffffffffff 00000000",
        "00000001 0001't' 00000001 00000000 0000 ........ ........ ffffffffffffffff "
        "0000000000000000 00000000",
        "00000001 0001't' 00000001 00000000 0000 ........ ........ ffffffffffffffff "
        "0000000000000000 00000000 ffff 00000000",
        "02 02't' 02 00000000 0000 ........ ........ ffffffffffffffff 0000000000000000 01 00 00 00 "
        "00000000 00",
        "02" ID_T "02 00000000 0000 ........ ........ ffffffffffffffff 0000000000000000 01 00 00 "
        "00 00000000 00",
    };
    const struct golden rows[] = {
        {3, 4, body[0], answer[0]},  {5, 7, body[0], answer[1]},   {8, 8, body[0], answer[2]},
        {9, 12, body[1], answer[3]}, {13, 13, body[2], answer[4]},
    };
    uint8_t batch[256];
    struct bytes sent = wire_plain_batch(2, 1000, batch, sizeof(batch));
    golden_check(node, 0, rows, ARRAY_COUNT(rows), sent, sent);
    /* Eleven versions, twenty-two records; the last base offset in full. */
    node_ask_with(node, 0, 3, body[0], sent);
    node_expect(node, 0, 3,
                "00000001 0001't' 00000001 00000000 0000 0000000000000016 ffffffffffffffff "
                "00000000");
    /* Two topics, one of them unknown, and two partitions of one, of which one is. */
    node_ask_with(node, 0, 3,
                  "ffff 0001 00007530 00000002 0001'u' 00000001 00000000 $4 0001't' 00000002 "
                  "00000001 $4 00000000 $4",
                  sent);
    node_expect(node, 0, 3,
                "00000002 0001'u' 00000001 00000000 0003 ffffffffffffffff ffffffffffffffff 0001't' "
                "00000002 00000001 0003 ffffffffffffffff ffffffffffffffff 00000000 0000 "
                "0000000000000018 ffffffffffffffff 00000000");
    /* By an id that nobody has, with an id that somebody has: 100 and not a partition's code. */
    node_ask_with(
        node, 0, 13,
        "00 ffff 00007530 03 77777777 77777777 77777777 77777777 02 00000000 $v 00 00" ID_T
        "02 00000007 $v 00 00 00",
        sent);
    node_expect(node, 0, 13,
                "03 77777777 77777777 77777777 77777777 02 00000000 0064 ffffffffffffffff "
                "ffffffffffffffff ffffffffffffffff 01 00 00 00" ID_T
                "02 00000007 0003 ffffffffffffffff ffffffffffffffff ffffffffffffffff 01 00 00 00 "
                "00000000 00");
}

static void produce(void **state)
{
    (void)state;
    golden_on_each_engine(check_produce);
}

static void append_two(struct node *node)
{
    uint8_t batch[256];
    struct bytes sent = wire_plain_batch(2, 1000, batch, sizeof(batch));
    node_ask_with(node, 0, 3, "ffff ffff 00007530 00000001 0001't' 00000001 00000000 $4", sent);
    node_expect(node, 0, 3,
                "00000001 0001't' 00000001 00000000 0000 0000000000000000 ffffffffffffffff "
                "00000000");
}

static void check_list_offsets(struct node *node)
{
    /* By time 1001: the second record. */
    static const char *const body[] = {
        "ffffffff 00000001 0001't' 00000001 00000000 00000000000003e9",
        "ffffffff 00 00000001 0001't' 00000001 00000000 00000000000003e9",
        "ffffffff 00 00000001 0001't' 00000001 00000000 ffffffff 00000000000003e9",
        "ffffffff 00 02 02't' 02 00000000 ffffffff 00000000000003e9 00 00 00",
        "ffffffff 00 02 02't' 02 00000000 ffffffff 00000000000003e9 00 00 00007530 00",
    };
    static const char found[] =
        "00000001 0001't' 00000001 00000000 0000 00000000000003e9 0000000000000001";
    const struct golden rows[] = {
        {1, 1, body[0], found},
        {2, 3, body[1],
         "00000000 00000001 0001't' 00000001 00000000 0000 00000000000003e9 0000000000000001"},
        {4, 5, body[2],
         "00000000 00000001 0001't' 00000001 00000000 0000 00000000000003e9 0000000000000001 "
         "00000001"},
        {6, 9, body[3],
         "00000000 02 02't' 02 00000000 0000 00000000000003e9 0000000000000001 00000001 00 00 00"},
        {10, 11, body[4],
         "00000000 02 02't' 02 00000000 0000 00000000000003e9 0000000000000001 00000001 00 00 00"},
        /* The earliest that is local; what is kept elsewhere, and what waits for that. */
        {8, 9, "ffffffff 00 02 02't' 02 00000000 ffffffff fffffffffffffffc 00 00 00",
         "00000000 02 02't' 02 00000000 0000 ffffffffffffffff 0000000000000000 00000001 00 00 00"},
        {9, 9, "ffffffff 00 02 02't' 02 00000000 ffffffff fffffffffffffffb 00 00 00",
         "00000000 02 02't' 02 00000000 0000 ffffffffffffffff ffffffffffffffff ffffffff 00 00 00"},
        {11, 11, "ffffffff 00 02 02't' 02 00000000 ffffffff fffffffffffffffa 00 00 00007530 00",
         "00000000 02 02't' 02 00000000 0000 ffffffffffffffff ffffffffffffffff ffffffff 00 00 00"},
        /* Before their versions: 35. */
        {7, 7, "ffffffff 00 02 02't' 02 00000000 ffffffff fffffffffffffffc 00 00 00",
         "00000000 02 02't' 02 00000000 0023 ffffffffffffffff ffffffffffffffff ffffffff 00 00 00"},
        {8, 8, "ffffffff 00 02 02't' 02 00000000 ffffffff fffffffffffffffb 00 00 00",
         "00000000 02 02't' 02 00000000 0023 ffffffffffffffff ffffffffffffffff ffffffff 00 00 00"},
        {10, 10, "ffffffff 00 02 02't' 02 00000000 ffffffff fffffffffffffffa 00 00 00007530 00",
         "00000000 02 02't' 02 00000000 0023 ffffffffffffffff ffffffffffffffff ffffffff 00 00 00"},
        {11, 11, "ffffffff 00 02 02't' 02 00000000 ffffffff fffffffffffffff9 00 00 00007530 00",
         "00000000 02 02't' 02 00000000 0023 ffffffffffffffff ffffffffffffffff ffffffff 00 00 00"},
    };
    append_two(node);
    GOLDEN_CHECK(node, 2, rows);
}

static void list_offsets(void **state)
{
    (void)state;
    golden_on_each_engine(check_list_offsets);
}

#define FETCH_4  "ffffffff 000001f4 00000001 03200000 00 "
#define FETCH_7  FETCH_4 "00000000 ffffffff "
#define FETCH_15 "000001f4 00000001 03200000 00 00000000 ffffffff "
#define HIGH     "0000000000000002 0000000000000002 "
#define START    "0000000000000000 "

static void check_fetch(struct node *node)
{
    static const struct golden rows[] = {
        {4, 4, FETCH_4 "00000001 0001't' 00000001 00000000 0000000000000000 00100000",
         "00000000 00000001 0001't' 00000001 00000000 0000" HIGH "00000000 $4"},
        {5, 6,
         FETCH_4 "00000001 0001't' 00000001 00000000 0000000000000000 ffffffffffffffff 00100000",
         "00000000 00000001 0001't' 00000001 00000000 0000" HIGH START "00000000 $4"},
        {7, 8,
         FETCH_7 "00000001 0001't' 00000001 00000000 0000000000000000 ffffffffffffffff 00100000 "
                 "00000001 0001'o' 00000001 00000000",
         "00000000 0000 00000000 00000001 0001't' 00000001 00000000 0000" HIGH START "00000000 $4"},
        {9, 10,
         FETCH_7 "00000001 0001't' 00000001 00000000 00000001 0000000000000000 ffffffffffffffff "
                 "00100000 00000000",
         "00000000 0000 00000000 00000001 0001't' 00000001 00000000 0000" HIGH START "00000000 $4"},
        {11, 11,
         FETCH_7 "00000001 0001't' 00000001 00000000 ffffffff 0000000000000000 ffffffffffffffff "
                 "00100000 00000000 0000",
         "00000000 0000 00000000 00000001 0001't' 00000001 00000000 0000" HIGH START
         "00000000 ffffffff $4"},
        {12, 12,
         FETCH_7 "02 02't' 02 00000000 ffffffff 0000000000000000 ffffffff ffffffffffffffff "
                 "00100000 00 00 01 01 00",
         "00000000 0000 00000000 02 02't' 02 00000000 0000" HIGH START "01 ffffffff $v 00 00 00"},
        /* Topics by id, also those that a session forgets. */
        {13, 14,
         FETCH_7 "02" ID_T "02 00000000 ffffffff 0000000000000000 ffffffff ffffffffffffffff "
                 "00100000 00 00 02" ID_T "02 00000000 00 01 00",
         "00000000 0000 00000000 02" ID_T "02 00000000 0000" HIGH START "01 ffffffff $v 00 00 00"},
        /* Without a replica; a follower's own state, and the cluster's id, are tagged. */
        {15, 16,
         FETCH_15 "02" ID_T "02 00000000 ffffffff 0000000000000000 ffffffff ffffffffffffffff "
                  "00100000 00 00 01 01 02 00 02 02'c' 01 0d 00000002 0000000000000003 00",
         "00000000 0000 00000000 02" ID_T "02 00000000 0000" HIGH START "01 ffffffff $v 00 00 00"},
        /* And its directory's, per partition. */
        {17, 17,
         FETCH_15 "02" ID_T "02 00000000 ffffffff 0000000000000000 ffffffff ffffffffffffffff "
                  "00100000 01 00 10" ID_T "00 01 01 00",
         "00000000 0000 00000000 02" ID_T "02 00000000 0000" HIGH START "01 ffffffff $v 00 00 00"},
    };
    uint8_t batch[256];
    append_two(node);
    struct bytes stored = wire_plain_batch(2, 1000, batch, sizeof(batch));
    wire_stamp(batch, 0, 1);
    golden_check(node, 1, rows, ARRAY_COUNT(rows), stored, stored);
    /* At the end: empty records, never null. */
    node_check(node, 1, 4,
               "ffffffff 00000000 00000001 03200000 00 00000001 0001't' 00000001 00000000 "
               "0000000000000002 00100000",
               "00000000 00000001 0001't' 00000001 00000000 0000" HIGH "00000000 00000000");
    node_check(node, 1, 12,
               "ffffffff 00000000 00000001 03200000 00 00000000 ffffffff 02 02't' 02 00000000 "
               "ffffffff 0000000000000002 ffffffff ffffffffffffffff 00100000 00 00 01 01 00",
               "00000000 0000 00000000 02 02't' 02 00000000 0000" HIGH START
               "01 ffffffff 01 00 00 00");
    /* An id that nobody has: 100 for its partitions, and the others are served. */
    node_check(node, 1, 13,
               FETCH_7 "03 77777777 77777777 77777777 77777777 02 00000000 ffffffff "
                       "0000000000000000 ffffffff ffffffffffffffff 00100000 00 00" ID_T
                       "02 00000000 ffffffff 0000000000000002 ffffffff ffffffffffffffff 00100000 "
                       "00 00 01 01 00",
               "00000000 0000 00000000 03 77777777 77777777 77777777 77777777 02 00000000 0064 "
               "ffffffffffffffff ffffffffffffffff ffffffffffffffff 01 ffffffff 01 00 00" ID_T
               "02 00000000 0000" HIGH START "01 ffffffff 01 00 00 00");
}

static void fetch(void **state)
{
    (void)state;
    golden_on_each_engine(check_fetch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(api_versions),
        cmocka_unit_test(a_too_new_api_versions_is_answered_with_35),
        cmocka_unit_test(headers),
        cmocka_unit_test(metadata),
        cmocka_unit_test(find_coordinator),
        cmocka_unit_test(init_producer_id),
        cmocka_unit_test(produce),
        cmocka_unit_test(list_offsets),
        cmocka_unit_test(fetch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
