/* How connections end, over real sockets, on each engine, with a protocol of the test's own
 * (door.c): peers that go, timeouts, limits, drains and stops. */
#include "tests/unit/net/door.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- Ends. --- */

static void check_half_open(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    door_ask(&client, 'h', "parked");
    door_ask(&client, 'e', "2");
    door_ask(&client, 's', "slow");
    door_settle(door);
    client_end(&client);
    door_expect(&client, 'C', "parked");
    door_expect(&client, 'e', "2");
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 1);
    door_finish(door, 1, 0);
    door_expect(&client, 's', "slow");
    assert_true(client_ended(&client));
    client_close(&client);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 0);
    assert_int_equal(door->spy.canceled, 1);
}

static void a_half_open_client_gets_all_its_answers(void **state)
{
    (void)state;
    door_each_engine(check_half_open);
}

static void check_cut_off(struct door *door)
{
    struct client client;
    uint8_t frame[64];
    uint32_t size = door_put(frame, 'e', "whole");
    for (uint32_t part = 0; part < size; part++) {
        door_connect(&client, door);
        client_send(&client, frame, part);
        door_settle(door);
        client_close(&client);
        door_settle(door);
        assert_int_equal(net_connection_count(door->net), 0);
    }
    assert_int_equal(door->spy.started, 0);
    /* And within a frame that has a block of its own. */
    door_connect(&client, door);
    store_be32(frame, DOOR_BIG);
    frame[4] = 'e';
    client_send(&client, frame, 64);
    door_settle(door);
    client_close(&client);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 0);
}

static void a_close_in_the_middle_of_a_request_leaves_nothing(void **state)
{
    (void)state;
    door_each_engine(check_cut_off);
}

static void check_reset(struct door *door)
{
    struct client client;
    door_ask_and_never_read(&client, door);
    assert_true(door_conn(door)->send != NULL);
    client_reset(&client);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 0);
    assert_int_equal(door->spy.sent, door->spy.started);
    /* With a call that does not come home at once. */
    door_connect(&client, door);
    door_ask(&client, 's', "deaf");
    door_ask(&client, 'h', "parked");
    door_settle(door);
    client_reset(&client);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 1);
    assert_int_equal(door->spy.canceled, 1);
    door_finish(door, 0, 0);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 0);
}

static void a_reset_takes_what_is_in_flight_home(void **state)
{
    (void)state;
    door_each_engine(check_reset);
}

/* --- Clocks and limits. --- */

static void check_stall(struct door *door)
{
    struct client client;
    door_ask_and_never_read(&client, door);
    door_pass(door, 29000);
    assert_int_equal(net_connection_count(door->net), 1);
    door_pass(door, 2000);
    assert_int_equal(net_connection_count(door->net), 0);
    client_close(&client);
}

static void a_peer_that_takes_no_bytes_is_closed(void **state)
{
    (void)state;
    door_each_engine(check_stall);
}

static void check_half_stalls(struct door *door)
{
    struct client client;
    uint8_t frame[64] = {0};
    door_connect(&client, door);
    store_be32(frame, DOOR_BIG);
    client_send(&client, frame, sizeof(frame));
    door_settle(door);
    door_pass(door, 29000);
    client_send(&client, frame, sizeof(frame)); /* Slow is not stuck. */
    door_settle(door);
    door_pass(door, 29000);
    assert_int_equal(net_connection_count(door->net), 1);
    door_pass(door, 2000);
    assert_int_equal(net_connection_count(door->net), 0);
    client_close(&client);
}

static void a_peer_that_stops_in_the_middle_of_a_request_is_closed(void **state)
{
    (void)state;
    door_each_engine(check_half_stalls);
}

static void check_idle(struct door *door)
{
    struct client silent;
    struct client waiting;
    door_connect(&silent, door);
    door_connect(&waiting, door);
    door_settle(door);
    door_pass(door, 590000);
    assert_int_equal(net_connection_count(door->net), 2);
    door_ask(&waiting, 's', "not idle");
    door_settle(door);
    door_pass(door, 20000);
    assert_int_equal(net_connection_count(door->net), 1);
    assert_true(client_ended(&silent));
    door_pass(door, 1200000);
    assert_int_equal(net_connection_count(door->net), 1);
    door_finish(door, 0, 0);
    door_expect(&waiting, 's', "not idle");
    door_pass(door, 590000);
    assert_int_equal(net_connection_count(door->net), 1);
    door_pass(door, 610000);
    assert_int_equal(net_connection_count(door->net), 0);
    client_close(&silent);
    client_close(&waiting);
}

static void a_silent_connection_is_closed_unless_we_owe_it_an_answer(void **state)
{
    (void)state;
    door_each_engine(check_idle);
}

static void check_connections_max(struct door *door)
{
    struct client clients[DOOR_CONNECTIONS];
    for (uint32_t i = 0; i < DOOR_CONNECTIONS; i++) {
        door_connect(&clients[i], door);
        door_ask(&clients[i], 'e', "in");
        door_expect(&clients[i], 'e', "in");
    }
    assert_int_equal(net_connection_count(door->net), DOOR_CONNECTIONS);
    struct client late;
    door_connect(&late, door);
    assert_true(client_ended(&late));
    client_close(&late);
    assert_int_equal(net_connection_count(door->net), DOOR_CONNECTIONS);
    client_close(&clients[0]);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), DOOR_CONNECTIONS - 1);
    door_connect(&clients[0], door);
    door_ask(&clients[0], 'e', "now");
    door_expect(&clients[0], 'e', "now");
    for (uint32_t i = 0; i < DOOR_CONNECTIONS; i++) {
        client_close(&clients[i]);
    }
    door_settle(door);
    assert_int_equal(atomic_load(&door->shared->cores[0].connections), 0);
}

static void check_address_max(struct door *door)
{
    struct client clients[3];
    door->net->options.address_connections_max = 2;
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 2; i++) {
            door_connect(&clients[i], door);
            door_ask(&clients[i], 'e', "in");
            door_expect(&clients[i], 'e', "in");
        }
        door_connect(&clients[2], door);
        assert_true(client_ended(&clients[2]));
        client_close(&clients[2]);
        assert_int_equal(door->reactor.stats.counters[STAT_CONNECTIONS_REFUSED_ADDRESS], round + 1);
        assert_int_equal(door->reactor.stats.counters[STAT_CONNECTIONS_REFUSED], 0);
        client_close(&clients[0]);
        client_close(&clients[1]);
        door_settle(door);
    }
}

static void an_address_has_as_many_connections_as_it_may(void **state)
{
    (void)state;
    door_each_engine(check_address_max);
}

static void one_connection_too_many_is_closed(void **state)
{
    (void)state;
    door_each_engine(check_connections_max);
}

/* --- Stop. --- */

static void check_stop(struct door *door)
{
    struct client idle;
    struct client parked;
    door_connect(&idle, door);
    door_connect(&parked, door);
    door_ask(&parked, 'h', "fetch");
    door_settle(door);
    door_stop(door);
    door_expect(&parked, 'C', "fetch");
    assert_true(client_ended(&parked));
    assert_true(client_ended(&idle));
    door_settle(door);
    assert_true(door->stop_fired);
    client_close(&idle);
    client_close(&parked);
}

static void a_stop_answers_and_closes(void **state)
{
    (void)state;
    door_each_engine(check_stop);
}

/* What is in flight is answered, in order; what comes meanwhile is refused; then it closes. */
static void check_drain(struct door *door)
{
    struct client idle;
    struct client busy;
    struct client half;
    uint8_t frame[64];
    uint32_t size = door_put(frame, 'e', "came in two halves");
    door_connect(&idle, door);
    door_connect(&busy, door);
    door_connect(&half, door);
    door_ask(&busy, 's', "slow");
    client_send(&half, frame, 10);
    door_settle(door);
    door_stop(door);
    assert_true(client_ended(&idle));
    door_ask(&busy, 'e', "late");
    door_ask(&busy, 'h', "later");
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 2);
    assert_int_equal(client_available(&busy), 0);
    assert_int_equal(net_drain_look(door->shared).connections, 2);
    assert_int_equal(net_drain_look(door->shared).requests, 3);
    client_send(&half, frame + 10, size - 10);
    door_expect(&half, 'R', "came in two halves");
    assert_true(client_ended(&half));
    door_finish(door, 0, 0);
    door_expect(&busy, 's', "slow");
    door_expect(&busy, 'R', "late");
    door_expect(&busy, 'R', "later");
    assert_true(client_ended(&busy));
    door_settle(door);
    assert_true(door->stop_fired);
    assert_int_equal(net_drain_look(door->shared).requests, 0);
    assert_int_equal(net_drain_look(door->shared).cut, 0);
    client_close(&idle);
    client_close(&busy);
    client_close(&half);
}

static void a_drain_answers_what_was_begun_and_refuses_what_comes(void **state)
{
    (void)state;
    door_each_engine(check_drain);
}

/* What had come when the drain began, and nobody had looked at, is refused in words. */
static void check_unseen(struct door *door)
{
    struct client client;
    uint8_t frames[64];
    uint32_t size = door_put(frames, 'e', "1");
    size += door_put(frames + size, 'h', "2");
    door_connect(&client, door);
    door_settle(door);
    assert_int_equal(client_try_send(&client, frames, size), size);
    door_stop(door);
    door_expect(&client, 'R', "1");
    door_expect(&client, 'R', "2");
    assert_true(client_ended(&client));
    client_close(&client);
}

static void a_request_that_was_sent_in_time_is_never_just_closed(void **state)
{
    (void)state;
    door_each_engine(check_unseen);
}

static void check_begun(struct completion *done)
{
    done->fn = NULL;
}

/* Others may need its groups until they have drained as well: it ends in two steps. */
static void check_two_steps(struct door *door)
{
    struct client client;
    struct completion drained;
    completion_init(&drained, check_begun);
    door_connect(&client, door);
    door_ask(&client, 's', "slow");
    door_settle(door);
    net_drain(door->net, &drained);
    door_settle(door);
    assert_non_null(drained.fn);
    net_cut(door->net);
    assert_true(client_ended(&client));
    assert_non_null(drained.fn); /* Its call is lent still. */
    door_finish(door, 0, 0);
    door_settle(door);
    assert_null(drained.fn);
    assert_int_equal(net_drain_look(door->shared).cut, 1);
    assert_false(door->stop_fired);
    door_stop(door);
    door_settle(door);
    assert_true(door->stop_fired);
    client_close(&client);
}

static void a_drain_may_be_cut_and_a_stop_follows_it(void **state)
{
    (void)state;
    door_each_engine(check_two_steps);
}

static void check_grace(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    door_ask(&client, 's', "deaf");
    door_settle(door);
    door->spy.busy = true;
    door_stop(door);
    door_settle(door);
    door_pass(door, 4000);
    assert_int_equal(door_conn(door)->state, CONN_OPEN);
    door_pass(door, 2000);
    assert_int_equal(door_conn(door)->state, CONN_DEAD);
    assert_true(client_ended(&client));
    door_finish(door, 0, 0);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 0);
    assert_false(door->stop_fired);
    door->spy.busy = false;
    net_check_stopped(door->net);
    door_settle(door);
    assert_true(door->stop_fired);
    client_close(&client);
}

static void a_stop_kills_after_its_grace_and_waits_for_what_is_lent(void **state)
{
    (void)state;
    door_each_engine(check_grace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_half_open_client_gets_all_its_answers),
        cmocka_unit_test(a_close_in_the_middle_of_a_request_leaves_nothing),
        cmocka_unit_test(a_reset_takes_what_is_in_flight_home),
        cmocka_unit_test(a_peer_that_takes_no_bytes_is_closed),
        cmocka_unit_test(a_peer_that_stops_in_the_middle_of_a_request_is_closed),
        cmocka_unit_test(a_silent_connection_is_closed_unless_we_owe_it_an_answer),
        cmocka_unit_test(an_address_has_as_many_connections_as_it_may),
        cmocka_unit_test(one_connection_too_many_is_closed),
        cmocka_unit_test(a_stop_answers_and_closes),
        cmocka_unit_test(a_drain_answers_what_was_begun_and_refuses_what_comes),
        cmocka_unit_test(a_request_that_was_sent_in_time_is_never_just_closed),
        cmocka_unit_test(a_drain_may_be_cut_and_a_stop_follows_it),
        cmocka_unit_test(a_stop_kills_after_its_grace_and_waits_for_what_is_lent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
