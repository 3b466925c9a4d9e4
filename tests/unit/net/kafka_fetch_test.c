/* Records through the Kafka protocol: Fetch with its limits and waits. */
#include "shard/shard_internal.h"
#include "tests/unit/net/kafka_data_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Of version 4: the limits, then each partition's offset and limit. */
static void ask_fetch(struct node *node, uint32_t wait_ms, uint32_t bytes_min, uint32_t bytes_max,
                      const char *partitions)
{
    char body[512];
    (void)snprintf(body, sizeof(body), "ffffffff %08x %08x %08x 00 00000001 0001't' %s", wait_ms,
                   bytes_min, bytes_max, partitions);
    node_ask(node, 1, 4, body);
}

static void expect_fetched(struct node *node, const char *partitions, struct bytes stored)
{
    char body[512];
    (void)snprintf(body, sizeof(body), "00000000 00000001 0001't' %s", partitions);
    node_expect_with(node, 1, 4, body, stored);
}

#define NO_RECORDS "00000000 00000000"
#define HIGH(n)    "000000000000000" #n " 000000000000000" #n " "

static void check_fetch_errors(struct node *node)
{
    uint8_t batch[DATA_BATCH_BYTES];
    data_check_produced(node, wire_plain_batch(2, 1000, batch, sizeof(batch)), 0, 0);
    /* Beyond the end and before the beginning; partitions that are not there. Nobody waits then. */
    ask_fetch(node, 100000000, 1, 1 << 20,
              "00000002 00000000 0000000000000003 00100000 00000001 0000000000000000 00100000");
    expect_fetched(node,
                   "00000002 00000000 0001" HIGH(2) NO_RECORDS "00000001 0000" HIGH(0) NO_RECORDS,
                   (struct bytes){0});
    ask_fetch(node, 100000000, 1, 1 << 20, "00000001 00000000 ffffffffffffffff 00100000");
    expect_fetched(node, "00000001 00000000 0001 ffffffffffffffff ffffffffffffffff" NO_RECORDS,
                   (struct bytes){0});
    ask_fetch(node, 100000000, 1, 1 << 20, "00000001 00000007 0000000000000000 00100000");
    expect_fetched(node, "00000001 00000007 0003 ffffffffffffffff ffffffffffffffff" NO_RECORDS,
                   (struct bytes){0});
    /* Nothing asked, nothing waited for. */
    node_check(node, 1, 4, "ffffffff 05f5e100 00000001 00100000 00 00000000", "00000000 00000000");
    /* An epoch of the future; a session that we never gave, and a new one, which we decline. */
    node_check(node, 1, 9,
               "ffffffff 05f5e100 00000001 00100000 00 00000000 ffffffff 00000001 0001't' 00000001 "
               "00000000 00000002 0000000000000000 ffffffffffffffff 00100000 00000000",
               "00000000 0000 00000000 00000001 0001't' 00000001 00000000 004b *");
    node_check(node, 1, 7,
               "ffffffff 05f5e100 00000001 00100000 00 00000005 00000001 00000001 0001't' 00000001 "
               "00000000 0000000000000000 ffffffffffffffff 00100000 00000000",
               "00000000 0046 00000000 00000000");
    node_check(node, 1, 7,
               "ffffffff 05f5e100 00000001 00100000 00 00000000 00000000 00000000 "
               "00000000",
               "00000000 0000 00000000 00000000");
}

static void fetch_tells_errors_at_once(void **state)
{
    (void)state;
    data_on_each_engine(check_fetch_errors);
}

static void check_fetch_waits(struct node *node)
{
    uint8_t first[DATA_BATCH_BYTES];
    uint8_t second[DATA_BATCH_BYTES];
    struct bytes one = wire_plain_batch(1, 1000, first, sizeof(first));
    struct bytes two = wire_plain_batch(2, 2000, second, sizeof(second));
    struct node writer = *node;
    client_open(&writer.client, &node->reactor, node->port, 0);
    ask_fetch(node, 100000000, 1, 1 << 20,
              "00000002 00000000 0000000000000000 00100000 00000001 0000000000000000 00100000");
    node_ask(node, 18, 0, "");
    node_settle(node);
    /* What was asked behind it waits as well: answers keep their order. */
    assert_int_equal(client_available(&node->client), 0);
    assert_int_equal(node->reactor.stats.counters[STAT_FETCH_PARKED], 2);
    data_ask_produce(&writer, "t", 1, one);
    data_expect_produced(&writer, "t", 1, 0, 0);
    wire_stamp(first, 0, 1);
    expect_fetched(
        node, "00000002 00000000 0000" HIGH(0) NO_RECORDS "00000001 0000" HIGH(1) "00000000 $4",
        one);
    node_expect(node, 18, 0, "0000 *");
    /* Too little to satisfy: it waits for more, and then gets all. */
    ask_fetch(node, 100000000, one.size + two.size, 1 << 20,
              "00000001 00000001 0000000000000000 00100000");
    node_settle(node);
    assert_int_equal(client_available(&node->client), 0);
    data_ask_produce(&writer, "t", 1, two);
    data_expect_produced(&writer, "t", 1, 0, 1);
    wire_stamp(second, 1, 1);
    memcpy(first + one.size, second, two.size);
    expect_fetched(node, "00000001 00000001 0000" HIGH(3) "00000000 $4",
                   bytes_of(first, one.size + two.size));
    /* The time is over: what there is, be it nothing. */
    ask_fetch(node, 1, 1 << 20, 1 << 20, "00000001 00000001 0000000000000001 00100000");
    expect_fetched(node, "00000001 00000001 0000" HIGH(3) "00000000 $4", two);
    ask_fetch(node, 1, 1, 1 << 20, "00000001 00000001 0000000000000003 00100000");
    expect_fetched(node, "00000001 00000001 0000" HIGH(3) NO_RECORDS, two);
    client_close(&writer.client);
}

static void a_fetch_waits_for_records_and_no_longer_than_asked(void **state)
{
    (void)state;
    data_on_each_engine(check_fetch_waits);
}

static void check_fetch_left(struct node *node)
{
    /* Parked at two partitions, and its client gone; parked, and its client half gone. */
    const char *both =
        "00000002 00000000 0000000000000000 00100000 00000001 0000000000000000 00100000";
    ask_fetch(node, 100000000, 1, 1 << 20, both);
    node_settle(node);
    client_reset(&node->client);
    node_settle(node);
    assert_int_equal(net_connection_count(node->net), 0);
    client_open(&node->client, &node->reactor, node->port, 0);
    node->answered = node->asked;
    ask_fetch(node, 100000000, 1, 1 << 20, both);
    ask_fetch(node, 100000000, 1, 1 << 20, both);
    client_end(&node->client);
    for (uint32_t i = 0; i < 2; i++) {
        expect_fetched(
            node, "00000002 00000000 0000" HIGH(0) NO_RECORDS "00000001 0000" HIGH(0) NO_RECORDS,
            (struct bytes){0});
    }
    node_expect_end(node);
    /* Its topic is deleted. */
    struct node other = *node;
    client_open(&other.client, &node->reactor, node->port, 0);
    ask_fetch(node, 100000000, 1, 1 << 20, both);
    node_settle(node);
    node_check(&other, 20, 1, "00000001 0001't' 00007530", "00000000 00000001 0001't' 0000");
    node_expect(node, 1, 4, "00000000 00000001 0001't' 00000002 00000000 0003 *");
    client_close(&other.client);
    node_topic(node, "t", 1, 0x5b, NULL);
    /* Parked when the node stops: node_close(). */
    ask_fetch(node, 100000000, 1, 1 << 20, "00000001 00000000 0000000000000000 00100000");
    node_settle(node);
}

static void a_parked_fetch_comes_home_when_nobody_waits_for_it(void **state)
{
    (void)state;
    data_on_each_engine(check_fetch_left);
}

/* Batches of about 1000 bytes; `stored` is how partition and offset hold one. */
static struct bytes large(uint8_t *batch)
{
    struct wire_batch spec = {.records = 1,
                              .value_bytes = 1000,
                              .timestamp = 1000,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    return wire_batch(&spec, batch, DATA_BATCH_BYTES);
}

static void check_fetch_limits(struct node *node)
{
    uint8_t batch[DATA_BATCH_BYTES];
    for (uint32_t i = 0; i < 4; i++) {
        data_ask_produce(node, "t", 1 + i % 2, large(batch));
        data_expect_produced(node, "t", 1 + i % 2, 0, i / 2);
    }
    struct bytes stored = large(batch);
    wire_stamp(batch, 0, 1);
    const char *empty_first =
        "00000003 00000000 0000000000000000 00000064 00000001 0000000000000000 00000064 00000002 "
        "0000000000000000 00000064";
    /* No limit would let a batch through: the first with data brings one whole (KIP-74). */
    for (uint32_t i = 0; i < 2; i++) {
        ask_fetch(node, i == 0 ? 0 : 100000000, 1, i == 0 ? 1 : 1 << 20, empty_first);
        expect_fetched(node,
                       "00000003 00000000 0000" HIGH(0) NO_RECORDS
                       "00000001 0000" HIGH(2) "00000000 $4 00000002 0000" HIGH(2) NO_RECORDS,
                       stored);
    }
    /* The total lets one batch of each through, then one of the first alone. */
    const char *both =
        "00000002 00000001 0000000000000000 00100000 00000002 0000000000000000 00100000";
    ask_fetch(node, 0, 1, 2 * stored.size + 10, both);
    expect_fetched(
        node, "00000002 00000001 0000" HIGH(2) "00000000 $4 00000002 0000" HIGH(2) "00000000 $4",
        stored);
    ask_fetch(node, 0, 1, stored.size + 10, both);
    expect_fetched(node,
                   "00000002 00000001 0000" HIGH(2) "00000000 $4 00000002 0000" HIGH(2) NO_RECORDS,
                   stored);
    /* A later partition is never above its own limit, whatever the total. */
    ask_fetch(node, 0, 1, 1 << 20,
              "00000002 00000001 0000000000000000 00000064 00000002 0000000000000000 00000064");
    expect_fetched(node,
                   "00000002 00000001 0000" HIGH(2) "00000000 $4 00000002 0000" HIGH(2) NO_RECORDS,
                   stored);
    /* Behind one that fits, one that does not stays behind, and holds nobody up. */
    ask_fetch(node, 100000000, 1 << 19, 1 << 20,
              "00000002 00000001 0000000000000001 00100000 00000002 0000000000000000 00000064");
    wire_stamp(batch, 1, 1);
    expect_fetched(node,
                   "00000002 00000001 0000" HIGH(2) "00000000 $4 00000002 0000" HIGH(2) NO_RECORDS,
                   stored);
    /* What came within its share gives way, if the first whole batch takes all of the total. */
    uint8_t small[DATA_BATCH_BYTES];
    data_check_produced(node, wire_plain_batch(1, 1000, small, sizeof(small)), 0, 0);
    ask_fetch(node, 0, 1, 1000,
              "00000002 00000001 0000000000000001 00100000 00000000 0000000000000000 00100000");
    expect_fetched(node,
                   "00000002 00000001 0000" HIGH(2) "00000000 $4 00000000 0000" HIGH(1) NO_RECORDS,
                   stored);
}

static void only_the_first_batch_of_an_answer_may_be_above_the_limits(void **state)
{
    (void)state;
    data_on_each_engine(check_fetch_limits);
}

static void check_parked_large(struct node *node)
{
    uint8_t batch[DATA_BATCH_BYTES];
    struct node writer = *node;
    client_open(&writer.client, &node->reactor, node->port, 0);
    ask_fetch(node, 100000000, 1, 100, "00000001 00000000 0000000000000000 00000064");
    node_settle(node);
    data_ask_produce(&writer, "t", 0, large(batch));
    data_expect_produced(&writer, "t", 0, 0, 0);
    struct bytes stored = large(batch);
    wire_stamp(batch, 0, 1);
    expect_fetched(node, "00000001 00000000 0000" HIGH(1) "00000000 $4", stored);
    client_close(&writer.client);
}

static void a_parked_fetch_wakes_for_a_batch_above_its_limit(void **state)
{
    (void)state;
    data_on_each_engine(check_parked_large);
}

enum { FILE_BATCHES = 60 };

static struct bytes half_full(uint8_t *batch)
{
    struct wire_batch spec = {.records = 1,
                              .value_bytes = DATA_BATCH_BYTES / 2,
                              .timestamp = 1000,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    return wire_batch(&spec, batch, DATA_BATCH_BYTES);
}

/* More than one look into a file holds. */
static void check_from_files(struct node *node)
{
    static uint8_t all[FILE_BATCHES * DATA_BATCH_BYTES];
    uint8_t batch[DATA_BATCH_BYTES];
    struct bytes stored = bytes_of(all, 0);
    for (uint32_t i = 0; i < FILE_BATCHES; i++) {
        data_ask_produce(node, "t", 0, half_full(batch));
        data_expect_produced(node, "t", 0, 0, i);
        struct bytes one = half_full(batch);
        wire_stamp(batch, i, 1);
        memcpy(all + stored.size, one.data, one.size);
        stored.size += one.size;
    }
    while (!list_empty(&node->shard->tail)) {
        tail_drop(CONTAINER_OF(node->shard->tail.next, struct tail_frame, in_shard));
    }
    ask_fetch(node, 0, 1, 1 << 21, "00000001 00000000 0000000000000000 00200000");
    node_expect_with(node, 1, 4,
                     "00000000 00000001 0001't' 00000001 00000000 0000 000000000000003c "
                     "000000000000003c 00000000 $4",
                     stored);
    assert_int_equal(node->reactor.stats.counters[STAT_FETCH_FROM_FILE], FILE_BATCHES);
    assert_true(node->reactor.stats.counters[STAT_FILE_READS] >= 2);
    node_settle(node);
}

static void a_fetch_from_files_brings_all_that_it_asks_for(void **state)
{
    (void)state;
    data_on_each_engine(check_from_files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetch_tells_errors_at_once),
        cmocka_unit_test(a_fetch_waits_for_records_and_no_longer_than_asked),
        cmocka_unit_test(a_parked_fetch_comes_home_when_nobody_waits_for_it),
        cmocka_unit_test(only_the_first_batch_of_an_answer_may_be_above_the_limits),
        cmocka_unit_test(a_parked_fetch_wakes_for_a_batch_above_its_limit),
        cmocka_unit_test(a_fetch_from_files_brings_all_that_it_asks_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
