/* What the Kafka protocol refuses, and its requests for producer ids. */
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

/* --- Refused requests close the connection without an answer. --- */

static void check_versions(struct node *node)
{
    static const struct {
        int16_t key, version;
    } unknown[] = {{0, 2},  {0, 14}, {0, -1}, {1, 3},   {1, 18}, {2, 0},   {2, 12}, {3, -1},
                   {3, 14}, {4, 0},  {8, 2},  {10, 7},  {11, 0}, {18, -1}, {19, 1}, {19, 8},
                   {20, 0}, {20, 7}, {22, 6}, {23, 1},  {23, 5}, {32, 0},  {32, 5}, {33, 3},
                   {35, 0}, {35, 5}, {37, 4}, {44, -1}, {44, 2}, {60, 3},  {99, 0}, {127, 0}};

    for (uint32_t i = 0; i < ARRAY_COUNT(unknown); i++) {
        node_ask(node, unknown[i].key, unknown[i].version, "ffff 0000ea60 00000000 00000000");
        node_expect_end(node);
    }
    assert_int_equal(node->reactor.stats.counters[STAT_REQUESTS_REFUSED], ARRAY_COUNT(unknown));
}

static void unknown_keys_and_versions_close(void **state)
{
    (void)state;
    on_each_engine(check_versions);
}

static void check_first_frames(struct node *node)
{
    static const char *const foreign[] = {
        "'GET / HTTP/1.1'0d0a", "160301 0200 01 0001fc 0303", "'*1'0d0a'$4'0d0a'PING'0d0a",
        "ffffffff 0012 0000",   "00000007 0012 0000 000000",  "06400001 0012 0000",
        "00000010 0080 0000",   "00000000 0000 0000",
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(foreign); i++) {
        struct wire wire = wire_open(64);
        wire_add(&wire, foreign[i], (struct bytes){0});
        client_send(&node->client, wire.data, wire.size);
        wire_close(&wire);
        node_expect_end(node);
    }
}

static void other_protocols_and_frames_out_of_bounds_close(void **state)
{
    (void)state;
    on_each_engine(check_first_frames);
}

struct request_row {
    int16_t key, version;
    const char *body;
};

/* One request of each kind in both encodings, all correct. */
static const struct request_row correct[] = {
    {0, 3, "ffff 0001 00007530 00000001 0001't' 00000001 00000000 00000003 ababab"},
    {0, 9, "00 0001 00007530 02 02't' 02 00000000 04 ababab 00 00 00"},
    {1, 7,
     "ffffffff 00000000 00000001 03200000 00 00000000 ffffffff 00000001 0001't' 00000001 00000000 "
     "0000000000000000 ffffffffffffffff 00100000 00000001 0001'o' 00000001 00000000"},
    {1, 12,
     "ffffffff 00000000 00000001 03200000 00 00000000 ffffffff 02 02't' 02 00000000 ffffffff "
     "0000000000000000 ffffffff ffffffffffffffff 00100000 00 00 01 01 00"},
    {2, 4, "ffffffff 00 00000001 0001't' 00000001 00000000 ffffffff ffffffffffffffff"},
    {2, 6, "ffffffff 00 02 02't' 02 00000000 ffffffff ffffffffffffffff 00 00 00"},
    {3, 8, "00000001 0001't' 00 00 00"},
    {3, 12, "02 00000000000000000000000000000000 02't' 00 00 00 00"},
    {10, 2, "0001'g' 00"},
    {10, 4, "00 02 02'g' 00"},
    {18, 3, "02'x' 02'1' 00"},
    {19, 4,
     "00000001 0001't' ffffffff ffff 00000001 00000000 00000001 00000001 00000001 0001'k' 0001'v' "
     "00007530 01"},
    {19, 7,
     "02 02't' ffffffff ffff 02 00000000 02 00000001 00 02 02'k' 02'v' 00 00 00007530 01 00"},
    {20, 3, "00000001 0001'x' 00007530"},
    {20, 6, "02 02'x' 00000000000000000000000000000000 00 00007530 00"},
    {22, 1, "0001'x' 0000ea60"},
    {22, 4, "02'x' 0000ea60 ffffffffffffffff ffff 00"},
    {0, 13, "00 0001 00007530 02 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 02 00000000 04 ababab 00 00 00"},
    {1, 13,
     "ffffffff 00000000 00000001 03200000 00 00000000 ffffffff 02 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a "
     "02 00000000 ffffffff 0000000000000000 ffffffff ffffffffffffffff 00100000 00 00 02 "
     "6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f 02 00000000 00 01 00"},
    {1, 17,
     "00000000 00000001 03200000 00 00000000 ffffffff 02 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a 02 "
     "00000000 ffffffff 0000000000000000 ffffffff ffffffffffffffff 00100000 00 00 01 01 00"},
    {2, 10, "ffffffff 00 02 02't' 02 00000000 ffffffff ffffffffffffffff 00 00 00007530 00"},
    {3, 13, "02 00000000000000000000000000000000 02't' 00 00 00 00"},
    {23, 2, "00000001 0001't' 00000001 00000000 ffffffff 00000001"},
    {23, 4, "ffffffff 02 02't' 02 00000000 ffffffff 00000001 00 00 00"},
    {32, 1, "00000001 02 0001't' 00000001 000c'retention.ms' 01"},
    {32, 4, "02 02 02't' 02 0d'retention.ms' 00 01 01 00"},
    {33, 0, "00000001 02 0001't' 00000001 000c'retention.ms' 0001'7' 01"},
    {33, 2, "02 02 02't' 02 0d'retention.ms' 02'7' 00 00 01 00"},
    {35, 1, "00000001 0001't' 00000001 00000000"},
    {35, 2, "02 02't' 02 00000000 00 00"},
    {37, 0, "00000001 0001't' 00000002 00000001 00000001 00000001 00007530 01"},
    {37, 2, "02 02't' 00000002 02 02 00000001 00 00 00007530 01 00"},
    {44, 0, "00000001 02 0001't' 00000001 000c'retention.ms' 00 0001'7' 01"},
    {44, 1, "02 02 02't' 02 0d'retention.ms' 00 02'7' 00 00 01 00"},
    {60, 0, "00 00"},
    {60, 2, "00 01 00 00"},
};

/* Sends the first `size` bytes of the row's request, or one byte more than all. */
static bool ask_part(struct node *node, const struct request_row *row, uint32_t cut, bool more)
{
    struct wire wire = wire_open(1024);
    wire_add(&wire, row->body, (struct bytes){0});
    uint32_t size = wire.size;
    char text[2048];
    uint32_t at = 0;
    for (uint32_t i = 0; i < size - cut && cut <= size; i++) {
        at += (uint32_t)snprintf(text + at, sizeof(text) - at, "%02x", wire.data[i]);
    }
    (void)snprintf(text + at, sizeof(text) - at, "%s", more ? "7f" : "");
    wire_close(&wire);
    if (cut > size) {
        return false;
    }
    node_ask(node, row->key, row->version, text);
    return true;
}

static void check_cut(struct node *node)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(correct); i++) {
        for (uint32_t cut = 1; ask_part(node, &correct[i], cut, false); cut++) {
            node_expect_end(node);
        }
        (void)ask_part(node, &correct[i], 0, true);
        node_expect_end(node);
        /* As it is, it is answered. */
        (void)ask_part(node, &correct[i], 0, false);
        uint8_t prefix[4];
        assert_int_equal(client_receive(&node->client, prefix, 4), 4);
        node_reconnect(node);
    }
}

static void every_request_that_ends_early_or_late_closes(void **state)
{
    (void)state;
    on_each_engine(check_cut);
}

static void check_lies(struct node *node)
{
    static const struct request_row lies[] = {
        /* Counts and lengths beyond the frame; negative ones; nulls where none may be. */
        {3, 1, "7fffffff 0001't'"},
        {3, 1, "00000002 0001't'"},
        {3, 1, "fffffffe 0001't'"},
        {3, 0, "ffffffff"},
        {3, 1, "00000001 0002't'"},
        {3, 1, "00000001 7fff't'"},
        {3, 1, "00000001 fffe't'"},
        {3, 1, "00000001 ffff"},
        {3, 9, "ffffffff0f 02't' 00 00 00 00 00"},
        {3, 9, "ffffffffff7f 02't' 00 00 00 00 00"},
        {3, 9, "02 03't' 00 00 00 00 00"},
        {3, 9, "02 818004 't' 00 00 00 00 00"},
        {3, 9, "02 00 00 00 00 00 00"},
        {3, 9, "02 02't' 00 00 00 00 7f"},
        {3, 9, "02 02't' 00 00 00 00 01 00 7f"},
        {0, 3, "ffff 0001 00007530 00000001 0001't' 00000001 00000000 00000004 ababab"},
        {0, 3, "ffff 0001 00007530 00000001 0001't' 00000001 00000000 fffffffe ababab"},
        {0, 3, "ffff 0001 00007530 00000001 0001't' 10000000 00000000 00000003 ababab"},
        {0, 3, "ffff 0001 00007530 ffffffff"},
        {0, 9, "00 0001 00007530 02 02't' 02 00000000 7f ababab 00 00 00"},
        {1, 7,
         "ffffffff 00000000 00000001 03200000 00 00000000 ffffffff 00000000 00000001 0001'o' "
         "3fffffff 00000000"},
        {2, 1, "ffffffff 00000001 0001't' 00000002 00000000 ffffffffffffffff"},
        {19, 4,
         "00000001 0001't' ffffffff ffff 00000002 00000000 00000001 00000001 00000000 00007530 01"},
        {19, 4,
         "00000001 0001't' ffffffff ffff 00000001 00000000 0fffffff 00000001 00000000 00007530 01"},
        {20, 1, "0000ffff 0001'x' 00007530"},
        {22, 0, "0100'x' 0000ea60"},
        {32, 1, "00000001 02 0001't' 0fffffff 0001'k' 00"},
        {32, 1, "0fffffff 02 0001't' ffffffff 00"},
        {33, 0, "00000001 02 0001't' 00000002 0001'k' 0001'v' 00"},
        {35, 1, "fffffffe"},
        {35, 1, "00000001 0001't' 3fffffff 00000000"},
        {37, 0, "00000001 0001't' 00000002 00000002 00000001 00000001 00007530 01"},
        {37, 2, "00 00007530 01 00"},
        {44, 1, "02 02 02't' ff ff ff 7f 00"},
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(lies); i++) {
        node_ask(node, lies[i].key, lies[i].version, lies[i].body);
        node_expect_end(node);
    }
    node_ask_raw(node, "0012 0000 00000001 0005'test'");
    node_expect_end(node);
    node_ask_raw(node, "0012 0000 00000001 8000'test'");
    node_expect_end(node);
    assert_int_equal(node->reactor.stats.counters[STAT_REQUESTS_REFUSED], ARRAY_COUNT(lies) + 2);
}

static void lengths_that_lie_close(void **state)
{
    (void)state;
    on_each_engine(check_lies);
}

static void check_pipeline(struct node *node)
{
    node->agent->hold = true;
    node_ask(node, 22, 0, "ffff 0000ea60");
    node_ask(node, 18, 0, "");
    node_ask(node, 3, 14, "");
    node_settle(node);
    /* The refused one waits for its elders; they for the agent. */
    assert_int_equal(client_available(&node->client), 0);
    stub_release(node->agent);
    node_expect(node, 22, 0, "00000000 0000 ........ ........ 0000");
    node_expect(node, 18, 0, "0000 *");
    node_expect_end(node);
}

static void a_refusal_leaves_behind_the_answers_before_it(void **state)
{
    (void)state;
    on_each_engine(check_pipeline);
}

/* On a port for all: what speaks TLS, or nothing that is known, is closed; Kafka is served, also if
 * its first bytes come one by one. */
static void check_any(struct node *node)
{
    static const struct {
        const char *bytes;
        uint32_t size;
    } rows[] = {
        {"\x16\3\1\2\0\1\0\1\xfc\3\3", 11},
        {"\xff\xff\xff\xff\0", 5},
        {"\0\0\0\x10\1\0\0\0", 8},
    };

    static const char versions[] = "\0\0\0\x0e\0\x12\0\0\0\0\0\1\0\4test";

    struct client client;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        client_open(&client, &node->reactor, node->port_any, 0);
        client_send(&client, rows[i].bytes, rows[i].size);
        assert_true(client_ended(&client));
        client_close(&client);
    }
    client_open(&client, &node->reactor, node->port_any, 0);
    for (uint32_t i = 0; i < sizeof(versions) - 1; i++) {
        client_send(&client, versions + i, 1);
        node_settle(node);
    }
    uint8_t answer[10];
    assert_int_equal(client_receive(&client, answer, sizeof(answer)), sizeof(answer));
    assert_memory_equal(answer + 4, "\0\0\0\1\0\0", 6);
    client_close(&client);
}

static void the_first_bytes_tell_who_speaks(void **state)
{
    (void)state;
    on_each_engine(check_any);
}

/* --- InitProducerId. --- */

static void check_producer_ids(struct node *node)
{
    node->agent->hold = true;
    for (uint32_t i = 0; i < 3; i++) {
        node_ask(node, 22, 0, "ffff 0000ea60");
    }
    node_settle(node);
    stub_release(node->agent);
    for (uint32_t i = 0; i < 3; i++) {
        char answer[64];
        (void)snprintf(answer, sizeof(answer), "00000000 0000 %016x 0000", i + 1);
        node_expect(node, 22, 0, answer);
    }
    assert_int_equal(node->agent->proposed, 2);
    /* Transactions: 15. Half of a pair: 42. A pair: a fresh one. */
    node_check(node, 22, 0, "0001'x' 0000ea60", "00000000 000f ffffffffffffffff ffff");
    node_check(node, 22, 3, "00 0000ea60 0000000000000001 ffff 00",
               "00000000 002a ffffffffffffffff ffff 00");
    node_check(node, 22, 3, "00 0000ea60 ffffffffffffffff 0001 00",
               "00000000 002a ffffffffffffffff ffff 00");
    node_check(node, 22, 3, "00 0000ea60 0000000000000001 0004 00",
               "00000000 0000 0000000000000004 0000 00");
}

static void producer_ids_are_handed_out_in_blocks(void **state)
{
    (void)state;
    on_each_engine(check_producer_ids);
}

static void check_producer_ids_fail(struct node *node)
{
    node->agent->fail = ERR_TIMEOUT;
    node_check(node, 22, 0, "ffff 0000ea60", "00000000 000e ffffffffffffffff ffff");
    node->agent->fail = OK;
    node_check(node, 22, 0, "ffff 0000ea60", "00000000 0000 0000000000000001 0000");
    /* The block ends: the next one follows. */
    for (uint32_t i = 2; i <= 1001; i++) {
        char answer[64];
        (void)snprintf(answer, sizeof(answer), "00000000 0000 %016x 0000", i);
        node_check(node, 22, 0, "ffff 0000ea60", answer);
    }
    assert_int_equal(node->agent->proposed, 4);
}

static void a_block_of_producer_ids_that_failed_is_asked_for_again(void **state)
{
    (void)state;
    on_each_engine(check_producer_ids_fail);
}

static void check_more_than_a_block(struct node *node)
{
    enum { CLIENTS = 16 }; /* Times 64: a block has 1000. */

    struct node clients[CLIENTS];
    bool seen[CLIENTS * CONN_CALLS_MAX + 1] = {false};
    node->agent->hold = true;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = *node;
        client_open(&clients[i].client, &node->reactor, node->port, 0);
        for (uint32_t j = 0; j < CONN_CALLS_MAX; j++) {
            node_ask(&clients[i], 22, 0, "ffff 0000ea60");
        }
    }
    node_settle(node);
    assert_int_equal(node->agent->proposed, 2);
    stub_release(node->agent);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        for (uint32_t j = 0; j < CONN_CALLS_MAX; j++) {
            uint8_t answer[24];
            assert_int_equal(client_receive(&clients[i].client, answer, 24), 24);
            uint64_t id = load_be64(answer + 14);
            assert_true(id > 0 && id < ARRAY_COUNT(seen) && !seen[id]);
            seen[id] = true;
        }
        client_close(&clients[i].client);
    }
    assert_int_equal(node->agent->proposed, 3);
}

static void more_may_wait_than_a_block_of_producer_ids_serves(void **state)
{
    (void)state;
    on_each_engine(check_more_than_a_block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_keys_and_versions_close),
        cmocka_unit_test(other_protocols_and_frames_out_of_bounds_close),
        cmocka_unit_test(the_first_bytes_tell_who_speaks),
        cmocka_unit_test(every_request_that_ends_early_or_late_closes),
        cmocka_unit_test(lengths_that_lie_close),
        cmocka_unit_test(a_refusal_leaves_behind_the_answers_before_it),
        cmocka_unit_test(producer_ids_are_handed_out_in_blocks),
        cmocka_unit_test(a_block_of_producer_ids_that_failed_is_asked_for_again),
        cmocka_unit_test(more_may_wait_than_a_block_of_producer_ids_serves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
