/* Topics by the Kafka protocol: made and deleted. */
#include "tests/unit/net/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void on_each_engine(void (*claim)(struct node *node))
{
    node_on_each_engine(1, claim);
}

/* --- Auto-creation. --- */

#define METADATA_1 "00000001 00000001 0006'b.test' 00002384 ffff 00000001 00000001 "
#define METADATA_4                                                                                 \
    "00000000 00000001 00000001 0006'b.test' 00002384 ffff 0016'wcHBwcHBwcHBwcHBwcHBwQ' 00000001 " \
    "00000001 "

static void check_auto_create(struct node *node)
{
    /* Told with live leaders in the same answer. */
    node_check(node, 3, 1, "00000001 0003'new'",
               METADATA_1 "0000 0003'new' 00 00000002 0000 00000000 00000001 00000001 00000001 "
                          "00000001 00000001 0000 00000001 00000001 00000001 00000001 00000001 "
                          "00000001");
    assert_int_equal(node->agent->proposed, 2);
    uint8_t batch[128];
    node_ask_with(node, 0, 3, "ffff 0001 00007530 00000001 0003'new' 00000001 00000001 $4",
                  wire_plain_batch(1, 5, batch, sizeof(batch)));
    node_expect(node, 0, 3,
                "00000001 0003'new' 00000001 00000001 0000 0000000000000000 ffffffffffffffff "
                "00000000");
    node_check(node, 3, 4, "00000001 0005'again' 01", METADATA_4 "0000 0005'again' 00 00000002 *");
    assert_int_equal(node->agent->proposed, 3);
    /* Named again and again, told once. */
    node_check(node, 3, 4, "00000004 0005'again' 0005'other' 0005'again' 0005'other' 00",
               "00000000 00000001 00000001 0006'b.test' 00002384 ffff "
               "0016'wcHBwcHBwcHBwcHBwcHBwQ' 00000001 00000002 0000 0005'again' 00 00000002 "
               "0000 00000000 00000001 00000001 00000001 00000001 00000001 "
               "0000 00000001 00000001 00000001 00000001 00000001 00000001 "
               "0003 0005'other' 00 00000000");
    /* The client or the setting says no; a name that is none. */
    node_check(node, 3, 4, "00000001 0002'no' 00", METADATA_4 "0003 0002'no' 00 00000000");
    node_check(node, 3, 1, "00000001 0002'..'", METADATA_1 "0011 0002'..' 00 00000000");
    node_check(node, 3, 1, "00000001 0003'a b'", METADATA_1 "0011 0003'a b' 00 00000000");
    node->net->options.topic_auto_create = false;
    node_check(node, 3, 1, "00000001 0002'no'", METADATA_1 "0003 0002'no' 00 00000000");
    assert_int_equal(node->agent->proposed, 3);
    /* What fails and may pass is 5, for which a client tries again; what lasts is told. */
    node->net->options.topic_auto_create = true;
    node->agent->fail = ERR_TIMEOUT;
    node_check(node, 3, 1, "00000001 0002'no'", METADATA_1 "0005 0002'no' 00 00000000");
    node->agent->fail = ERR_PARTITIONS_INVALID;
    node_check(node, 3, 1, "00000001 0002'no'", METADATA_1 "0025 0002'no' 00 00000000");
}

static void metadata_creates_topics_where_both_sides_allow_it(void **state)
{
    (void)state;
    on_each_engine(check_auto_create);
}

/* --- CreateTopics and DeleteTopics. --- */

/* One topic in version 4; its code. */
static void check_creation(struct node *node, const char *topic, bool validate_only,
                           const char *answer)
{
    char body[1024];
    (void)snprintf(body, sizeof(body), "00000001 %s 00007530 %s", topic,
                   validate_only ? "01" : "00");
    node_ask(node, 19, 4, body);
    (void)snprintf(body, sizeof(body), "00000000 00000001 %s *", answer);
    node_expect(node, 19, 4, body);
}

static void check_create_refusals(struct node *node)
{
    static const char *const rows[][2] = {
        {"0000 00000001 0001 00000000 00000000", "0000 0011 00"},
        {"0001'.' 00000001 0001 00000000 00000000", "0001'.' 0011 00"},
        {"0002'..' 00000001 0001 00000000 00000000", "0002'..' 0011 00"},
        {"0003'a/b' 00000001 0001 00000000 00000000", "0003'a/b' 0011 00"},
        {"0002 c3a4 00000001 0001 00000000 00000000", "0002 c3a4 0011 00"},
        {"0001't' 00000001 0001 00000000 00000000", "0001't' 0024 00"},
        {"0001'n' 00000000 0001 00000000 00000000", "0001'n' 0025 00"},
        {"0001'n' fffffffe 0001 00000000 00000000", "0001'n' 0025 00"},
        {"0001'n' 00002711 0001 00000000 00000000", "0001'n' 0025 00"},
        {"0001'n' 00000001 0000 00000000 00000000", "0001'n' 0026 00"},
        {"0001'n' 00000001 0002 00000000 00000000", "0001'n' 0026 00"},
        {"0001'n' 00000001 0001 00000000 00000001 0003'bad' 0001'1'", "0001'n' 0028 00"},
        {"0001'n' 00000001 0001 00000000 00000001 000c'retention.ms' 0000", "0001'n' 0028 00"},
        /* By hand: not from 0 on, not on this node, and together with numbers. */
        {"0001'n' ffffffff ffff 00000001 00000001 00000001 00000001 00000000", "0001'n' 0027 00"},
        {"0001'n' ffffffff ffff 00000001 00000000 00000001 00000002 00000000", "0001'n' 0027 00"},
        {"0001'n' ffffffff ffff 00000001 00000000 00000000 00000000", "0001'n' 0027 00"},
        {"0001'n' 00000001 ffff 00000001 00000000 00000001 00000001 00000000", "0001'n' 002a 00"},
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        check_creation(node, rows[i][0], i % 2 == 0, rows[i][1]);
    }
    /* Each name once in a request. */
    node_check(node, 19, 2,
               "00000003 0001'n' 00000001 0001 00000000 00000000 0001'm' 00000001 0001 00000000 "
               "00000000 0001'n' 00000001 0001 00000000 00000000 00007530 01",
               "00000000 00000003 0001'n' 002a 0028'the topic is named twice in this request' "
               "0001'm' 0000 ffff 0001'n' 002a *");
    assert_int_equal(node->agent->proposed, 1);
    assert_int_equal(map_topic_count(node->agent->map), 1);
    /* The agent's own refusals. */
    node->agent->fail = ERR_TIMEOUT;
    check_creation(node, "0001'n' 00000001 0001 00000000 00000000", false, "0001'n' 0007 00");
    node->agent->fail = ERR_EXISTS;
    check_creation(node, "0001'n' 00000001 0001 00000000 00000000", false, "0001'n' 0024 00");
    node_check(node, 20, 1, "00000001 0001't' 00007530", "00000000 00000001 0001't' 0024");
    node->agent->fail = ERR_NOT_READY;
    node_check(node, 20, 1, "00000001 0001't' 00007530", "00000000 00000001 0001't' 0007");
}

static void create_topics_refuses_with_reasons(void **state)
{
    (void)state;
    on_each_engine(check_create_refusals);
}

static void check_create_and_use(struct node *node)
{
    char name[TOPIC_NAME_BYTES_MAX + 1] = {0};
    char body[1024];
    memset(name, 'x', TOPIC_NAME_BYTES_MAX);
    (void)snprintf(body, sizeof(body),
                   "00f9'%s' 00000003 0001 00000000 00000002 000c'retention.ms' 0001'7' "
                   "000e'cleanup.policy' ffff",
                   name);
    check_creation(node, body, true, "");
    assert_int_equal(map_topic_count(node->agent->map), 1);
    check_creation(node, body, false, "");
    const struct map_topic *topic = map_topic_by_name(node->agent->map, bytes_text(name));
    assert_non_null(topic);
    assert_string_equal(map_topic_config(topic, "retention.ms"), "7");
    assert_null(map_topic_config(topic, "cleanup.policy"));
    assert_int_equal(topic->id.bytes[6] >> 4, 4);
    uint8_t batch[128];
    struct bytes sent = wire_plain_batch(1, 5, batch, sizeof(batch));
    for (uint32_t i = 0; i < 3; i++) {
        (void)snprintf(body, sizeof(body), "ffff 0001 00007530 00000001 00f9'%s' 00000001 %08x $4",
                       name, i);
        node_ask_with(node, 0, 3, body, sent);
        (void)snprintf(body, sizeof(body), "00000001 00f9'%s' 00000001 %08x 0000 *", name, i);
        node_expect(node, 0, 3, body);
    }
    (void)snprintf(body, sizeof(body), "00000001 00f9'%s' 00007530", name);
    node_ask(node, 20, 3, body);
    (void)snprintf(body, sizeof(body), "00000000 00000001 00f9'%s' 0000", name);
    node_expect(node, 20, 3, body);
    assert_int_equal(map_topic_count(node->agent->map), 1);
}

static void a_created_topic_is_ready_when_it_is_answered(void **state)
{
    (void)state;
    on_each_engine(check_create_and_use);
}

static void check_many_topics(struct node *node)
{
    node->agent->hold = true;
    node_ask(node, 19, 4,
             "00000003 0001'a' 00000001 0001 00000000 00000000 0001't' 00000001 0001 00000000 "
             "00000000 0001'b' 00000002 0001 00000000 00000000 00007530 00");
    node_ask(node, 20, 3, "00000002 0001'a' 0001'b' 00007530");
    node_settle(node);
    assert_int_equal(client_available(&node->client), 0);
    /* Both are under way at once: what is not there yet is unknown. */
    stub_release(node->agent);
    node_expect(node, 19, 4,
                "00000000 00000003 0001'a' 0000 ffff 0001't' 0024 0023'a topic of this name exists "
                "already' 0001'b' 0000 ffff");
    node_expect(node, 20, 3, "00000000 00000002 0001'a' 0003 0001'b' 0003");
    assert_int_equal(map_topic_count(node->agent->map), 3);
}

static void topics_of_a_request_are_created_in_order(void **state)
{
    (void)state;
    on_each_engine(check_many_topics);
}

static void check_deleted_twice(struct node *node)
{
    struct node other = *node;
    client_open(&other.client, &node->reactor, node->port, 0);
    node->agent->hold = true;
    node_ask(node, 20, 1, "00000001 0001't' 00007530");
    node_ask(&other, 20, 1, "00000001 0001't' 00007530");
    node_settle(node);
    stub_release(node->agent);
    node_expect(node, 20, 1, "00000000 00000001 0001't' 0000");
    node_expect(&other, 20, 1, "00000000 00000001 0001't' 0003");
    client_close(&other.client);
}

static void who_deletes_a_topic_second_is_told_that_it_is_unknown(void **state)
{
    (void)state;
    on_each_engine(check_deleted_twice);
}

static void check_gone_client(struct node *node)
{
    node->agent->hold = true;
    node_ask(node, 19, 4, "00000001 0001'a' 00000001 0001 00000000 00000000 00007530 00");
    node_ask(node, 22, 0, "ffff 0000ea60");
    node_ask(node, 3, 1, "00000002 0001'b' 0001'c'");
    node_settle(node);
    client_reset(&node->client);
    node_settle(node);
    /* The proposals are out: the calls live until they are back. */
    assert_int_equal(net_connection_count(node->net), 1);
    stub_release(node->agent);
    node_settle(node);
    assert_int_equal(net_connection_count(node->net), 0);
    assert_non_null(map_topic_by_name(node->agent->map, bytes_text("a")));
    /* Nothing new is begun for a client that has left. */
    assert_null(map_topic_by_name(node->agent->map, bytes_text("c")));
    client_open(&node->client, &node->reactor, node->port, 0);
}

static void a_client_that_left_is_kept_until_its_proposals_are_home(void **state)
{
    (void)state;
    on_each_engine(check_gone_client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_creates_topics_where_both_sides_allow_it),
        cmocka_unit_test(create_topics_refuses_with_reasons),
        cmocka_unit_test(a_created_topic_is_ready_when_it_is_answered),
        cmocka_unit_test(topics_of_a_request_are_created_in_order),
        cmocka_unit_test(who_deletes_a_topic_second_is_told_that_it_is_unknown),
        cmocka_unit_test(a_client_that_left_is_kept_until_its_proposals_are_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
