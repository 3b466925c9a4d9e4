/* Walrus's frames, byte for byte, against a real shard: answers, order, what closes. */
#include "net/walrus/walrus.h"

#include "tests/unit/net/kafka_data_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void ask_bytes(struct client *client, struct bytes text)
{
    uint8_t head[4];
    store_le32(head, text.size);
    client_send(client, head, sizeof(head));
    client_send(client, text.data, text.size);
}

static void ask(struct client *client, const char *text)
{
    ask_bytes(client, bytes_text(text));
}

static void expect_bytes(struct client *client, struct bytes text)
{
    uint8_t head[4];
    assert_int_equal(client_receive(client, head, sizeof(head)), sizeof(head));
    assert_int_equal(load_le32(head), text.size);
    uint8_t *got = malloc(text.size + 1);
    assert_non_null(got);
    assert_int_equal(client_receive(client, got, text.size), text.size);
    got[text.size] = 0;
    assert_memory_equal(got, text.data, text.size);
    free(got);
}

static void expect(struct client *client, const char *text)
{
    expect_bytes(client, bytes_text(text));
}

static void check(struct client *client, const char *text, const char *answer)
{
    ask(client, text);
    expect(client, answer);
}

static struct client open_any(struct node *node)
{
    struct client client;
    client_open(&client, &node->reactor, node->port_any, 0);
    return client;
}

static void a_request_is_split_at_its_first_two_spaces(void **state)
{
    (void)state;

    static const struct {
        const char *text, *verb, *topic, *payload; /* NULL: none. */
    } rows[] = {
        {"PUT a b", "PUT", "a", "b"}, {"PUT a b c ", "PUT", "a", "b c "},
        {"PUT  a", "PUT", "", "a"},   {"PUT a ", "PUT", "a", ""},
        {"GET a", "GET", "a", NULL},  {"METRICS", "METRICS", NULL, NULL},
        {" GET a", "", "GET", "a"},   {"PUT a  b", "PUT", "a", " b"},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct walrus_request request;
        walrus_split(bytes_text(rows[i].text), &request);
        const char *const wanted[] = {rows[i].verb, rows[i].topic, rows[i].payload};
        const struct bytes found[] = {request.verb, request.topic, request.payload};
        for (uint32_t j = 0; j < 3; j++) {
            assert_true((wanted[j] == NULL) == (found[j].data == NULL));
            assert_true(wanted[j] == NULL || bytes_equal(found[j], bytes_text(wanted[j])));
        }
    }
}

static void check_verbs(struct node *node)
{
    struct client client = open_any(node);
    check(&client, "REGISTER logs", "OK");
    check(&client, "REGISTER logs", "OK");
    check(&client, "GET logs", "EMPTY");
    check(&client, "PUT logs one", "OK");
    check(&client, "PUT logs two  words ", "OK");
    check(&client, "GET logs", "OK one");
    check(&client, "STATE logs",
          "{\"current_segment\":1,\"leader_node\":1,\"last_sealed_entry_offset\":0,"
          "\"sealed_segments\":{},\"segment_leaders\":{\"1\":1},\"topic\":\"logs\","
          "\"partition\":0,\"partitions\":1,\"log_start_offset\":0,\"end_offset\":2}");
    check(&client, "GET logs", "OK two  words ");
    check(&client, "GET logs", "EMPTY");
    check(&client, "GET t", "ERR topic 't' has 3 partitions; use 't/0'..'t/2'");
    check(&client, "PUT t/1 here", "OK");
    check(&client, "GET t/0", "EMPTY");
    check(&client, "GET t/1", "OK here");
    check(&client, "GET t/3", "ERR unknown topic t/3");
    check(&client, "GET t/", "ERR unknown topic t/");
    check(&client, "GET t/00001", "EMPTY");
    check(&client, "GET t/99999999999999999999", "ERR unknown topic t/99999999999999999999");
    check(&client, "GET /", "ERR unknown topic /");
    check(&client, "DELETE logs", "ERR unknown command");
    node->agent->fail = ERR_TIMEOUT;
    check(&client, "REGISTER late", "ERR timed out");
    node->agent->fail = OK;
    client_close(&client);
}

static void verbs_answer_as_in_walrus(void **state)
{
    (void)state;
    data_on_each_engine(check_verbs);
}

static void check_order(struct node *node)
{
    struct client client = open_any(node);
    static const char *const texts[] = {"REGISTER logs", "PUT logs a", "PUT logs b", "GET logs",
                                        "GET logs",      "GET logs",   "PUT logs c", "STATE nix",
                                        "GET logs",      "bad",        "METRICS"};
    uint8_t all[512];
    struct bytes_writer out = bytes_writer(all, sizeof(all));
    for (uint32_t i = 0; i < ARRAY_COUNT(texts); i++) {
        write_le32(&out, (uint32_t)strlen(texts[i]));
        write_bytes(&out, texts[i], (uint32_t)strlen(texts[i]));
    }
    client_send(&client, all, out.position); /* At once. */
    static const char *const answers[] = {"OK",   "OK",
                                          "OK",   "OK a",
                                          "OK b", "EMPTY",
                                          "OK",   "ERR unknown topic nix",
                                          "OK c", "ERR unknown command"};
    for (uint32_t i = 0; i < ARRAY_COUNT(answers); i++) {
        expect(&client, answers[i]);
    }
    uint8_t head[6];
    assert_int_equal(client_receive(&client, head, sizeof(head)), sizeof(head));
    assert_memory_equal(head + 4, "{\n", 2);
    client_close(&client);
}

static void what_is_pipelined_sees_what_came_before(void **state)
{
    (void)state;
    data_on_each_engine(check_order);
}

static void check_lengths(struct node *node)
{
    static uint8_t frame[WALRUS_FRAME_BYTES_MAX];
    static uint8_t answer[WALRUS_FRAME_BYTES_MAX];
    struct client client = open_any(node);
    check(&client, "REGISTER logs", "OK");
    memset(frame, 'x', sizeof(frame));
    memcpy(frame, "PUT logs ", 9);
    ask_bytes(&client, bytes_of(frame, sizeof(frame)));
    expect(&client, "OK");
    ask(&client, "GET logs");
    memcpy(answer, "OK ", 3);
    memset(answer + 3, 'x', sizeof(frame) - 9);
    expect_bytes(&client, bytes_of(answer, sizeof(frame) - 9 + 3));
    static const uint32_t lengths[] = {0, WALRUS_FRAME_BYTES_MAX + 1, UINT32_MAX};
    for (uint32_t i = 0; i < ARRAY_COUNT(lengths); i++) {
        uint8_t head[4];
        store_le32(head, lengths[i]);
        ask(&client, "PUT logs before");
        client_send(&client, head, sizeof(head));
        expect(&client, "OK");
        expect(&client, "ERR invalid frame length");
        assert_true(client_ended(&client));
        client_close(&client);
        client = open_any(node);
        check(&client, "GET logs", "OK before");
    }
    client_close(&client);
}

static void a_length_that_is_none_is_answered_and_closes(void **state)
{
    (void)state;
    data_on_each_engine(check_lengths);
}

/* Records of another protocol: larger than a frame, below the start of the log. */
static void check_foreign_records(struct node *node)
{
    enum { LARGE = 70000 };

    static uint8_t batch[LARGE + 256];
    struct client client = open_any(node);
    struct wire_batch spec = {.records = 1,
                              .value_bytes = LARGE,
                              .timestamp = 1000,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    data_ask_produce(node, "t", 0, wire_batch(&spec, batch, sizeof(batch)));
    data_expect_produced(node, "t", 0, 0, 0);
    data_check_produced(node, wire_plain_batch(3, 1000, batch, sizeof(batch)), 0, 1);
    for (uint32_t i = 0; i < 2; i++) {
        check(&client, "GET t/0",
              "ERR record of 70000 bytes at offset 0 is larger than a frame; read it through "
              "another protocol");
    }
    node_check(node, 21, 1, "00000001 0001't' 00000001 00000000 0000000000000002 00007530",
               "00000000 00000001 0001't' 00000001 00000000 0000000000000002 0000");
    check(&client, "GET t/0", "OK bbbbb");
    check(&client, "GET t/0", "OK ccccc");
    check(&client, "GET t/0", "EMPTY");
    client_close(&client);
}

static void records_of_others_are_read_if_they_fit(void **state)
{
    (void)state;
    data_on_each_engine(check_foreign_records);
}

static void check_gone(struct node *node)
{
    for (uint32_t i = 0; i < 20; i++) {
        struct client client = open_any(node);
        ask(&client, "REGISTER logs");
        ask(&client, "PUT logs x");
        ask(&client, "GET logs");
        ask(&client, "GET logs");
        for (uint32_t turns = 0; turns < i; turns++) {
            (void)reactor_turn(&node->reactor, 0);
        }
        if (i % 2 == 0) {
            client_reset(&client);
        } else {
            client_close(&client);
        }
        node_settle(node);
        /* A flush may still be under way; the fixture's client for Kafka stays. */
        for (uint32_t turns = 0; net_connection_count(node->net) > 1; turns++) {
            assert_true(turns < CLIENT_TURNS_MAX);
            (void)reactor_turn(&node->reactor, NS_PER_MS);
        }
        assert_false(walrus_core_busy(node->net->walrus));
    }
}

static void a_client_that_leaves_at_any_time_leaves_nothing(void **state)
{
    (void)state;
    data_on_each_engine(check_gone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_split_at_its_first_two_spaces),
        cmocka_unit_test(verbs_answer_as_in_walrus),
        cmocka_unit_test(what_is_pipelined_sees_what_came_before),
        cmocka_unit_test(a_length_that_is_none_is_answered_and_closes),
        cmocka_unit_test(records_of_others_are_read_if_they_fit),
        cmocka_unit_test(a_client_that_leaves_at_any_time_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
