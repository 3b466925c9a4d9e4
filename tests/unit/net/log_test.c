/* What protocols wish of the log (net/log.h), against a real shard: topics made, batches appended,
 * records read, waited for, canceled, and given back. */
#include "net/log.h"

#include "net/records.h"
#include "shard/shard_internal.h"
#include "tests/unit/net/kafka_data_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Operations whose end is counted. */
struct wish {
    uint32_t fired;
    enum err err;
    struct log_read read;
    struct log_topic topic;
    struct request request;
};

static void read_done(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    struct wish *wish = CONTAINER_OF(read, struct wish, read);
    wish->fired++;
    wish->err = (enum err)completion->result;
}

static void topic_done(struct completion *completion)
{
    struct log_topic *topic = CONTAINER_OF(completion, struct log_topic, done);
    struct wish *wish = CONTAINER_OF(topic, struct wish, topic);
    wish->fired++;
    wish->err = (enum err)completion->result;
}

static void request_done(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct wish *wish = CONTAINER_OF(request, struct wish, request);
    wish->fired++;
    wish->err = (enum err)completion->result;
}

/* It fires once. */
static enum err ended(struct node *node, struct wish *wish)
{
    for (uint32_t i = 0; wish->fired == 0; i++) {
        assert_true(i < CLIENT_TURNS_MAX);
        (void)reactor_turn(&node->reactor, NS_PER_MS);
    }
    assert_int_equal(wish->fired, 1);
    wish->fired = 0;
    return wish->err;
}

static enum err make_topic(struct node *node, struct wish *wish, const char *name,
                           uint32_t partitions)
{
    log_make_topic(node->net, &wish->topic, bytes_text(name), partitions, topic_done);
    return ended(node, wish);
}

static struct partition_id partition_of(const struct node *node, const char *topic)
{
    struct partition_id id;
    const struct map_topic *found = map_topic_by_name(log_map(node->net), bytes_text(topic));
    assert_int_equal(log_find_partition(node->net, found, 0, &id), OK);
    return id;
}

/* A batch of one record of `size` bytes to partition 0 of "t". */
static enum err append(struct node *node, struct wish *wish, uint32_t size)
{
    static uint8_t value[64 << 10];
    static uint8_t batch[sizeof(value) + 256];
    struct record_input input = {.value = bytes_of(value, size), .timestamp = 1000};
    struct partition_id id = partition_of(node, "t");
    uint32_t total = record_batch_size(&input, 1);
    record_batch_encode(&input, 1, batch, total);
    log_append(node->net, &wish->request, &id, bytes_of(batch, total), request_done);
    return ended(node, wish);
}

static void begin_read(struct node *node, struct wish *wish, uint64_t offset, uint64_t wait_ms)
{
    wish->read.partition = partition_of(node, "t");
    wish->read.offset = offset;
    wish->read.bytes_max = 1 << 20;
    wish->read.wait_ms = wait_ms;
    log_read(node->net, &wish->read, read_done);
    assert_int_equal(wish->fired, 0); /* Never before return. */
}

static void give_back(struct node *node, struct wish *wish)
{
    log_release(&wish->read, read_done);
    assert_int_equal(ended(node, wish), OK);
    assert_int_equal(wish->read.piece_count, 0);
}

static struct wish *wish_open(void)
{
    struct wish *wish = calloc(1, sizeof(*wish));
    assert_non_null(wish);
    return wish;
}

/* --- Topics. --- */

static void check_topics(struct node *node)
{
    struct wish *wish = wish_open();
    assert_int_equal(make_topic(node, wish, "new", 0), OK);
    assert_true(wish->topic.made);
    const struct map_topic *topic = map_topic_by_name(log_map(node->net), bytes_text("new"));
    assert_non_null(topic);
    assert_int_equal(topic->partition_count, 2); /* The node's default. */
    assert_int_equal(make_topic(node, wish, "new", 5), OK);
    assert_false(wish->topic.made);
    assert_int_equal(make_topic(node, wish, "one", 1), OK);
    topic = map_topic_by_name(log_map(node->net), bytes_text("one"));
    assert_int_equal(topic->partition_count, 1);
    assert_int_equal(make_topic(node, wish, "no/name", 1), ERR_TOPIC_INVALID);
    node->agent->fail = ERR_TIMEOUT;
    assert_int_equal(make_topic(node, wish, "late", 1), ERR_TIMEOUT);
    node->agent->fail = OK;
    struct partition_id id;
    assert_int_equal(log_find_partition(node->net, NULL, 0, &id), ERR_TOPIC_UNKNOWN);
    assert_int_equal(log_find_partition(node->net, topic, 1, &id), ERR_TOPIC_UNKNOWN);
    assert_int_equal(log_find_partition(node->net, topic, -1, &id), ERR_TOPIC_UNKNOWN);
    assert_int_equal(log_find_partition(node->net, topic, 0, &id), OK);
    free(wish);
}

static void a_topic_is_made_once(void **state)
{
    (void)state;
    data_on_each_engine(check_topics);
}

/* --- Records. --- */

static void check_there_and_back(struct node *node)
{
    struct wish *wish = wish_open();
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(append(node, wish, 100 + i), OK);
        assert_int_equal(wish->request.produce.base_offset, i);
    }
    for (uint64_t offset = 0; offset <= 5; offset++) {
        begin_read(node, wish, offset, 0);
        assert_int_equal(ended(node, wish), OK);
        assert_int_equal(wish->read.high_watermark, 5);
        struct records records;
        struct records_entry entry;
        records_begin(&records, wish->read.pieces, wish->read.piece_count, offset);
        for (uint64_t i = offset; i < 5; i++) {
            assert_int_equal(records_next(&records, &entry), OK);
            assert_int_equal(entry.offset, i);
            assert_int_equal(entry.record.value.size, 100 + i);
        }
        assert_int_equal(records_next(&records, &entry), ERR_NOT_FOUND);
        give_back(node, wish);
    }
    begin_read(node, wish, 6, 0);
    assert_int_equal(ended(node, wish), ERR_OFFSET_RANGE);
    give_back(node, wish);
    /* A batch is whole, whatever was asked for. */
    wish->read.bytes_max = 1;
    wish->read.offset = 3;
    log_read(node->net, &wish->read, read_done);
    assert_int_equal(ended(node, wish), OK);
    assert_int_equal(wish->read.piece_count, 1);
    give_back(node, wish);
    free(wish);
}

static void what_is_appended_is_read_back(void **state)
{
    (void)state;
    data_on_each_engine(check_there_and_back);
}

static void check_offsets(struct node *node)
{
    struct wish *wish = wish_open();
    struct partition_id id = partition_of(node, "t");
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(append(node, wish, 10), OK);
    }
    log_ask_offset(node->net, &wish->request, &id, OFFSETS_LATEST, request_done);
    assert_int_equal(ended(node, wish), OK);
    assert_int_equal(wish->request.offsets.offset, 3);
    log_trim(node->net, &wish->request, &id, 2, request_done);
    assert_int_equal(ended(node, wish), OK);
    assert_int_equal(wish->request.trim.log_start, 2);
    log_ask_offset(node->net, &wish->request, &id, OFFSETS_EARLIEST, request_done);
    assert_int_equal(ended(node, wish), OK);
    assert_int_equal(wish->request.offsets.offset, 2);
    log_ask_offset(node->net, &wish->request, &id, 1000, request_done);
    assert_int_equal(ended(node, wish), OK);
    assert_int_equal(wish->request.offsets.offset, 2);
    log_ask_offset(node->net, &wish->request, &id, 1001, request_done);
    assert_int_equal(ended(node, wish), OK);
    assert_int_equal(wish->request.offsets.offset, -1);
    begin_read(node, wish, 1, 0);
    assert_int_equal(ended(node, wish), ERR_OFFSET_RANGE);
    assert_int_equal(wish->read.log_start, 2);
    give_back(node, wish);
    free(wish);
}

static void the_ends_of_the_log_are_told(void **state)
{
    (void)state;
    data_on_each_engine(check_offsets);
}

/* --- Waits. --- */

static void check_waits(struct node *node)
{
    struct wish *wish = wish_open();
    struct wish *writer = wish_open();
    begin_read(node, wish, 0, LOG_WAIT_FOREVER);
    node_settle(node);
    assert_int_equal(wish->fired, 0);
    assert_int_equal(node->reactor.timers.count, 0);
    assert_int_equal(append(node, writer, 10), OK);
    assert_int_equal(ended(node, wish), OK);
    assert_int_equal(wish->read.piece_count, 1);
    give_back(node, wish);
    begin_read(node, wish, 0, 60000); /* What is there is not waited for. */
    assert_int_equal(ended(node, wish), OK);
    assert_int_equal(wish->read.piece_count, 1);
    assert_int_equal(node->reactor.timers.count, 0);
    give_back(node, wish);
    begin_read(node, wish, 1, 5);
    assert_int_equal(ended(node, wish), OK); /* Nothing came in its time. */
    assert_int_equal(wish->read.piece_count, 0);
    give_back(node, wish);
    free(writer);
    free(wish);
}

static void a_read_waits_for_records_or_its_time(void **state)
{
    (void)state;
    data_on_each_engine(check_waits);
}

static void check_cancels(struct node *node)
{
    struct wish *wish = wish_open();
    struct wish *writer = wish_open();
    for (uint32_t i = 0; i < 2; i++) {
        begin_read(node, wish, 0, i == 0 ? LOG_WAIT_FOREVER : 60000);
        node_settle(node);
        log_cancel(&wish->read);
        log_cancel(&wish->read);
        assert_int_equal(ended(node, wish), ERR_CANCELED);
        assert_int_equal(node->reactor.timers.count, 0);
        give_back(node, wish);
    }
    /* Before the owner has seen it; and one that would not have waited. */
    begin_read(node, wish, 0, LOG_WAIT_FOREVER);
    log_cancel(&wish->read);
    assert_int_equal(ended(node, wish), ERR_CANCELED);
    give_back(node, wish);
    begin_read(node, wish, 0, 0);
    log_cancel(&wish->read);
    assert_int_equal(ended(node, wish), OK);
    give_back(node, wish);
    /* In the turn in which records come: either, and what came is home. */
    begin_read(node, wish, 0, LOG_WAIT_FOREVER);
    node_settle(node);
    assert_int_equal(append(node, writer, 10), OK);
    log_cancel(&wish->read);
    enum err err = ended(node, wish);
    assert_true(err == OK || err == ERR_CANCELED);
    node_settle(node);
    give_back(node, wish);
    free(writer);
    free(wish);
}

static void a_wait_may_be_canceled_at_any_time(void **state)
{
    (void)state;
    data_on_each_engine(check_cancels);
}

static void check_pressed(struct node *node)
{
    struct wish *holder = wish_open();
    struct wish *wish = wish_open();
    uint64_t most = node->shard->lent_bytes_max;
    assert_int_equal(append(node, wish, 10), OK);
    begin_read(node, holder, 0, 0);
    assert_int_equal(ended(node, holder), OK);
    node->shard->lent_bytes_max = 1;
    while (!list_empty(&node->shard->tail)) {
        tail_drop(CONTAINER_OF(node->shard->tail.next, struct tail_frame, in_shard));
    }
    /* There is a record, and no memory to show it: "there is none" would be a lie. */
    begin_read(node, wish, 0, 0);
    node_settle(node);
    assert_int_equal(wish->fired, 0);
    give_back(node, holder);
    assert_int_equal(ended(node, wish), OK);
    assert_int_equal(wish->read.piece_count, 1);
    give_back(node, wish);
    node->shard->lent_bytes_max = most;
    free(wish);
    free(holder);
}

static void a_read_waits_for_the_memory_of_records_that_are_there(void **state)
{
    (void)state;
    data_on_each_engine(check_pressed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_is_made_once),
        cmocka_unit_test(what_is_appended_is_read_back),
        cmocka_unit_test(the_ends_of_the_log_are_told),
        cmocka_unit_test(a_read_waits_for_records_or_its_time),
        cmocka_unit_test(a_wait_may_be_canceled_at_any_time),
        cmocka_unit_test(a_read_waits_for_the_memory_of_records_that_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
