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

/* It was received before memory was low: the lent buffer is another's next all the same. */
static void check_calls_low(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    for (uint32_t i = 0; i < CONN_CALLS_LOW; i++) {
        door_ask(&client, 'h', "h");
    }
    door_settle(door);
    assert_true(door_conn(door)->recv_pending);
    door_hoard(door, MEMORY_CALL);
    door_ask(&client, 'e', "e");
    door_settle(door);
    assert_int_equal(door->spy.started, CONN_CALLS_LOW);
    assert_false(door_conn(door)->recv_pending);
    assert_false(door_conn(door)->lent_held);
    assert_non_null(door_conn(door)->input);
    door_unhoard(door);
    for (uint32_t i = 0; i < CONN_CALLS_LOW; i++) {
        door_finish(door, i, 0);
        door_expect(&client, 'h', "h");
    }
    door_expect(&client, 'e', "e");
    assert_true(door_conn(door)->recv_pending);
    client_close(&client);
}

static void where_memory_for_calls_is_low_each_connection_has_few(void **state)
{
    (void)state;
    door_each_engine(check_calls_low);
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
    struct client liars[DOOR_CONNECTIONS - 1];
    struct client honest;
    struct memory_stats stats;
    uint8_t start[64] = {0};
    memory_stats(door->reactor.memory, &stats);
    store_be32(start, (uint32_t)stats.limit_bytes / 8 - 4);
    for (uint32_t i = 0; i < ARRAY_COUNT(liars); i++) {
        door_connect(&liars[i], door);
        client_send(&liars[i], start, sizeof(start));
        door_settle(door);
    }
    door_connect(&honest, door);
    uint8_t *frame = calloc(1, 4 * DOOR_BIG + 4);
    assert_non_null(frame);
    store_be32(frame, 4 * DOOR_BIG);
    frame[4] = 'n';
    uint32_t sent = 0;
    for (uint32_t ms = 0; ms < 29000; ms += 1000) { /* Slow, and not stuck. */
        sent += client_try_send(&honest, frame + sent, 5000);
        door_settle(door);
        door_pass(door, 1000);
    }
    assert_int_equal(net_connection_count(door->net), DOOR_CONNECTIONS);
    /* They are closed in the middle of their requests, and what they held serves others. */
    door_pass(door, 2000);
    assert_int_equal(net_connection_count(door->net), 1);
    while (sent < 4 * DOOR_BIG + 4) {
        sent += client_try_send(&honest, frame + sent, 4 * DOOR_BIG + 4 - sent);
        (void)reactor_turn(&door->reactor, 0);
    }
    door_settle(door);
    assert_int_equal(door->spy.started, 1);
    free(frame);
    client_close(&honest);
    for (uint32_t i = 0; i < ARRAY_COUNT(liars); i++) {
        client_close(&liars[i]);
    }
}

static void who_promises_much_and_sends_little_is_closed(void **state)
{
    (void)state;
    door_each_engine(check_promises);
}

static void check_no_send_memory(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    door_settle(door);
    door_hoard(door, MEMORY_CALL);
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

static void check_small_and_large(struct door *door)
{
    struct client large;
    struct client small;
    door_connect(&large, door);
    door_connect(&small, door);
    door_settle(door);
    door_hoard(door, MEMORY_SEND);
    uint8_t frame[64];
    client_send(&large, frame, door_put_number(frame, 'b', DOOR_BIG));
    door_settle(door);
    assert_true(door->spy.starved >= 1);
    door_ask(&small, 'e', "beside it");
    door_expect(&small, 'e', "beside it");
    door_unhoard(door);
    door_expect_pattern(&large, DOOR_BIG);
    client_close(&small);
    client_close(&large);
}

static void a_small_call_does_not_wait_behind_a_large_reply(void **state)
{
    (void)state;
    door_each_engine(check_small_and_large);
}

static void check_stop_without_memory(struct door *door)
{
    struct client hungry;
    struct client thirsty;
    door_connect(&hungry, door);
    door_settle(door);
    door_hoard(door, MEMORY_CALL);
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
    door_expect(&thirsty, 'R', "never begun"); /* Received before, cut later. */
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

/* --- Two things at once. --- */

static void check_held_and_dead(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    door_ask(&client, 'h', "1");
    door_ask(&client, 'a', "2");
    door_settle(door);
    door_hoard(door, MEMORY_RECEIVE);
    door_ask(&client, 'e', "3");
    door_settle(door);
    assert_true(door_conn(door)->held && door_conn(door)->lent_held);
    conn_kill(door_conn(door));
    door_settle(door);
    door_unhoard(door);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 0);
    client_close(&client);
}

static void a_dead_connection_goes_whatever_it_waits_for(void **state)
{
    (void)state;
    door_each_engine(check_held_and_dead);
}

static void check_two_wants(struct door *door)
{
    static uint8_t big[6004];
    static uint8_t got[6004];
    struct client client;
    door_connect(&client, door);
    door_ask(&client, 's', "1");
    store_be32(big, 6000);
    big[4] = 'a';
    client_send(&client, big, sizeof(big));
    door_settle(door);
    door_hoard(door, MEMORY_CALL);
    door_hoard(door, MEMORY_RECEIVE);
    door_ask(&client, 'a', "3");
    door_settle(door);
    assert_true(door_conn(door)->held && door_conn(door)->lent_held);
    /* The held call's turn comes, while what was received waits for memory, too. */
    door_finish(door, 0, 0);
    door_settle(door);
    door_unhoard(door);
    door_settle(door);
    door_finish(door, 1, 0);
    door_settle(door);
    door_finish(door, 2, 0);
    door_expect(&client, 's', "1");
    assert_int_equal(client_receive(&client, got, sizeof(got)), sizeof(got));
    door_expect(&client, 'a', "3");
    client_close(&client);
}

static void a_call_and_its_connection_may_both_want_memory(void **state)
{
    (void)state;
    door_each_engine(check_two_wants);
}

enum { CROWD = 30, CROWD_BYTES = 4000000 };

/* One piece of each client's frame; how many are not sent whole. */
static uint32_t crowd_send(struct client *clients, const uint8_t *frame, uint32_t *sent)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < CROWD; i++) {
        uint32_t rest = CROWD_BYTES + 4 - sent[i];
        sent[i] +=
            rest > 0 ? client_try_send(&clients[i], frame + sent[i], min_u32(16384, rest)) : 0;
        left += sent[i] < CROWD_BYTES + 4;
    }
    return left;
}

/* Their frames together are twice the memory, and arrive side by side, piece by piece. */
static void large_frames_side_by_side_are_all_served(void **state)
{
    (void)state;
    uint32_t count;
    const struct io_engine *const *list = door_engines(&count);
    for (uint32_t e = 0; e < count; e++) {
        struct door *door = aligned_alloc(_Alignof(struct door), sizeof(*door));
        struct client *clients = calloc(CROWD, sizeof(*clients));
        uint8_t *frame = calloc(1, CROWD_BYTES + 4);
        uint32_t sent[CROWD] = {0};
        assert_true(door != NULL && clients != NULL && frame != NULL);
        door_open(door, list[e], CROWD);
        store_be32(frame, CROWD_BYTES);
        frame[4] = 'n';
        for (uint32_t i = 0; i < CROWD; i++) {
            door_connect(&clients[i], door);
        }
        for (uint32_t round = 0; door->spy.started < CROWD; round++) {
            assert_true(round < 100000);
            (void)crowd_send(clients, frame, sent);
            (void)reactor_turn(&door->reactor, 0);
        }
        for (uint32_t i = 0; i < CROWD; i++) {
            client_close(&clients[i]);
        }
        door_close(door);
        free(frame);
        free(clients);
        free(door);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_stops_at_so_many_calls),
        cmocka_unit_test(where_memory_for_calls_is_low_each_connection_has_few),
        cmocka_unit_test(reading_stops_while_replies_wait),
        cmocka_unit_test(without_memory_to_receive_a_request_waits),
        cmocka_unit_test(who_promises_much_and_sends_little_is_closed),
        cmocka_unit_test(without_memory_to_answer_a_call_waits),
        cmocka_unit_test(a_small_call_does_not_wait_behind_a_large_reply),
        cmocka_unit_test(a_stop_waits_for_those_that_wait_for_memory),
        cmocka_unit_test(who_dies_waiting_for_memory_gives_its_buffer_back),
        cmocka_unit_test(a_call_may_wait_until_it_is_the_first),
        cmocka_unit_test(a_call_that_waits_to_be_the_first_ends_with_its_connection),
        cmocka_unit_test(a_dead_connection_goes_whatever_it_waits_for),
        cmocka_unit_test(a_call_and_its_connection_may_both_want_memory),
        cmocka_unit_test(large_frames_side_by_side_are_all_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
