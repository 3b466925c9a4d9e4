/* Connections when something is short (calls, memory, room to send), and calls that wait to be
 * alone; with a protocol of the tests' own (door.c), on each engine. */
#include "tests/unit/net/door.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- Back-pressure. --- */

static void check_calls_max(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    uint8_t frames[1024];
    uint32_t size = 0;
    for (uint32_t i = 0; i < 100; i++) {
        size += door_put(frames + size, 'h', "h");
    }
    client_send(&client, frames, size);
    door_settle(door);
    assert_int_equal(door->spy.started, CONN_CALLS_MAX);
    assert_false(door_conn(door)->recv_pending);
    /* Not the first: nothing can leave, so nothing more is begun. */
    door_finish(door, 1, 0);
    door_settle(door);
    assert_int_equal(door->spy.started, CONN_CALLS_MAX);
    door_finish(door, 0, 0);
    door_settle(door);
    assert_int_equal(door->spy.started, CONN_CALLS_MAX + 2);
    for (uint32_t i = 2; i < 100; i++) {
        door_finish(door, i, 0);
        door_settle(door);
    }
    for (uint32_t i = 0; i < 100; i++) {
        door_expect(&client, 'h', "h");
    }
    assert_true(door_conn(door)->recv_pending);
    client_close(&client);
}

static void reading_stops_at_so_many_calls(void **state)
{
    (void)state;
    door_each_engine(check_calls_max);
}

static void check_never_reads(struct door *door)
{
    struct client client;
    door_ask_and_never_read(&client, door);
    struct conn *conn = door_conn(door);
    uint32_t started = door->spy.started;
    assert_true(started < 64);
    assert_false(conn->recv_pending);
    assert_true(conn->queued_bytes >= CONN_QUEUED_BYTES_MAX);
    assert_true(conn->queued_bytes < CONN_QUEUED_BYTES_MAX + DOOR_BIG);
    door_settle(door);
    assert_int_equal(door->spy.started, started);
    for (uint32_t i = 0; i < 64; i++) {
        door_expect_pattern(&client, DOOR_BIG);
    }
    assert_int_equal(door->spy.started, 64);
    client_close(&client);
}

static void reading_stops_while_replies_wait(void **state)
{
    (void)state;
    door_each_engine(check_never_reads);
}

static void check_no_receive_memory(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    door_settle(door);
    door_hoard(door, MEMORY_RECEIVE);
    door_ask(&client, 'e', "thirsty");
    door_settle(door);
    assert_int_equal(door->spy.started, 0);
    assert_true(door_conn(door)->lent_held);
    door_unhoard(door);
    door_expect(&client, 'e', "thirsty");
    client_close(&client);
}

static void without_memory_to_receive_a_request_waits(void **state)
{
    (void)state;
    door_each_engine(check_no_receive_memory);
}

static void check_promises(struct door *door)
{
    struct client liars[3];
    struct client honest;
    struct memory_stats stats;
    uint8_t start[64] = {0};
    memory_stats(door->reactor.memory, &stats);
    store_be32(start, (uint32_t)stats.limit_bytes / 16 - 4);
    for (uint32_t i = 0; i < ARRAY_COUNT(liars); i++) {
        door_connect(&liars[i], door);
        client_send(&liars[i], start, sizeof(start));
        door_settle(door);
    }
    memory_stats(door->reactor.memory, &stats);
    /* Two were believed. */
    assert_in_range(stats.used_bytes[MEMORY_RECEIVE], stats.limit_bytes / 8,
                    stats.limit_bytes / 8 + (64 << 10));
    for (uint32_t i = 0; i < ARRAY_COUNT(liars); i++) {
        client_close(&liars[i]);
    }
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 0);
    /* Who sends what it promised is served, piece by piece. */
    for (uint32_t i = 0; i < 2; i++) {
        door_connect(&liars[i], door);
        client_send(&liars[i], start, sizeof(start));
        door_settle(door);
    }
    door_connect(&honest, door);
    uint8_t *frame = calloc(1, DOOR_BIG + 4);
    uint8_t *got = malloc(DOOR_BIG + 4);
    assert_non_null(frame);
    assert_non_null(got);
    store_be32(frame, DOOR_BIG);
    frame[4] = 'e';
    frame[DOOR_BIG + 3] = 'z';
    for (uint32_t sent = 0; sent < DOOR_BIG + 4;) {
        sent += client_try_send(&honest, frame + sent, min_u32(5000, DOOR_BIG + 4 - sent));
        (void)reactor_turn(&door->reactor, 0);
    }
    assert_int_equal(client_receive(&honest, got, DOOR_BIG + 4), DOOR_BIG + 4);
    assert_memory_equal(got, frame, DOOR_BIG + 4);
    free(frame);
    free(got);
    client_close(&honest);
    client_close(&liars[0]);
    client_close(&liars[1]);
}

static void promises_are_believed_while_there_is_memory(void **state)
{
    (void)state;
    door_each_engine(check_promises);
}

static void check_no_send_memory(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    door_settle(door);
    door_hoard(door, MEMORY_SEND);
    door_ask(&client, 'e', "1");
    door_ask(&client, 'e', "2");
    door_settle(door);
    assert_int_equal(door->spy.started, 0);
    assert_true(door->spy.starved >= 1);
    assert_true(door_conn(door)->starting != NULL);
    door_unhoard(door);
    door_expect(&client, 'e', "1");
    door_expect(&client, 'e', "2");
    client_close(&client);
}

static void without_memory_to_answer_a_call_waits(void **state)
{
    (void)state;
    door_each_engine(check_no_send_memory);
}

static void check_stop_without_memory(struct door *door)
{
    struct client hungry;
    struct client thirsty;
    door_connect(&hungry, door);
    door_settle(door);
    door_hoard(door, MEMORY_SEND);
    door_ask(&hungry, 'h', "answered yet");
    door_settle(door);
    door_hoard(door, MEMORY_RECEIVE);
    door_connect(&thirsty, door);
    door_ask(&thirsty, 'e', "never begun");
    door_settle(door);
    door_stop(door);
    door_settle(door);
    assert_false(door->stop_fired);
    door_unhoard(door);
    /* Canceled before it began. */
    door_expect(&hungry, 'C', "answered yet");
    assert_true(client_ended(&hungry));
    assert_true(client_ended(&thirsty));
    door_settle(door);
    assert_true(door->stop_fired);
    client_close(&hungry);
    client_close(&thirsty);
}

static void a_stop_waits_for_those_that_wait_for_memory(void **state)
{
    (void)state;
    door_each_engine(check_stop_without_memory);
}

static void check_lent_buffers(struct door *door)
{
    struct client client;
    /* More often than there are buffers to lend. */
    for (uint32_t i = 0; i <= DOOR_LENT_MAX; i++) {
        door_connect(&client, door);
        door_settle(door);
        door_hoard(door, MEMORY_RECEIVE);
        door_ask(&client, 'e', "never begun");
        door_settle(door);
        assert_true(door_conn(door)->lent_held);
        door_pass(door, 700000);
        assert_int_equal(door_conn(door)->state, CONN_DEAD);
        door_unhoard(door);
        door_settle(door);
        assert_int_equal(net_connection_count(door->net), 0);
        client_close(&client);
    }
    assert_int_equal(door->spy.started, 0);
    door_connect(&client, door);
    door_ask(&client, 'e', "buffers are left");
    door_expect(&client, 'e', "buffers are left");
    client_close(&client);
}

static void who_dies_waiting_for_memory_gives_its_buffer_back(void **state)
{
    (void)state;
    door_each_engine(check_lent_buffers);
}

/* --- Calls that want to be alone. --- */

static void check_alone(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    door_ask(&client, 'h', "1");
    door_ask(&client, 'a', "2");
    door_ask(&client, 'a', "3");
    door_ask(&client, 'e', "4");
    door_settle(door);
    assert_int_equal(door->spy.started, 1);
    assert_false(door_conn(door)->recv_pending);
    door_finish(door, 0, 0);
    door_expect(&client, 'h', "1");
    door_settle(door);
    assert_int_equal(door->spy.started, 2);
    door_finish(door, 1, 0);
    door_expect(&client, 'a', "2");
    door_settle(door);
    assert_int_equal(door->spy.started, 4); /* What follows needs nobody's end to begin. */
    assert_int_equal(client_available(&client), 0);
    door_finish(door, 2, 0);
    door_expect(&client, 'a', "3");
    door_expect(&client, 'e', "4");
    assert_true(door_conn(door)->recv_pending);
    client_close(&client);
}

static void a_call_may_wait_until_it_is_the_first(void **state)
{
    (void)state;
    door_each_engine(check_alone);
}

static void check_alone_ends(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    door_ask(&client, 'h', "1");
    door_ask(&client, 'a', "2");
    door_settle(door);
    client_end(&client); /* Seen, and both are still answered. */
    door_expect(&client, 'C', "1");
    door_expect(&client, 'C', "2");
    assert_true(client_ended(&client));
    client_close(&client);
    door_settle(door);
    /* One that dies before it has begun; and one that a stop finds waiting. */
    door_connect(&client, door);
    door_ask(&client, 's', "3");
    door_ask(&client, 'a', "4");
    door_settle(door);
    conn_kill(door_conn(door));
    door_settle(door);
    door_finish(door, 2, 0);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 0);
    client_close(&client);
    uint32_t started = door->spy.started;
    door_connect(&client, door);
    door_ask(&client, 'h', "5");
    door_ask(&client, 'a', "6");
    door_settle(door);
    door_stop(door);
    door_expect(&client, 'C', "5");
    door_expect(&client, 'C', "6");
    assert_true(client_ended(&client));
    door_settle(door);
    assert_true(door->stop_fired);
    assert_int_equal(door->spy.started, started + 2);
    client_close(&client);
}

static void a_call_that_waits_to_be_the_first_ends_with_its_connection(void **state)
{
    (void)state;
    door_each_engine(check_alone_ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_stops_at_so_many_calls),
        cmocka_unit_test(reading_stops_while_replies_wait),
        cmocka_unit_test(without_memory_to_receive_a_request_waits),
        cmocka_unit_test(promises_are_believed_while_there_is_memory),
        cmocka_unit_test(without_memory_to_answer_a_call_waits),
        cmocka_unit_test(a_stop_waits_for_those_that_wait_for_memory),
        cmocka_unit_test(who_dies_waiting_for_memory_gives_its_buffer_back),
        cmocka_unit_test(a_call_may_wait_until_it_is_the_first),
        cmocka_unit_test(a_call_that_waits_to_be_the_first_ends_with_its_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
