/* Connections over real sockets, on each engine, with a protocol of the test's own (door.c): order
 * of replies, back-pressure, limits, timeouts, ends. */
#include "tests/unit/net/door.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CONNECTIONS = 8, BIG = 256 << 10 };

static void on_each_engine(void (*claim)(struct door *door))
{
    uint32_t count;
    const struct io_engine *const *list = door_engines(&count);
    for (uint32_t i = 0; i < count; i++) {
        struct door *door = aligned_alloc(_Alignof(struct door), sizeof(*door));
        assert_non_null(door);
        door_open(door, list[i], CONNECTIONS);
        claim(door);
        door_close(door);
        free(door);
    }
}

static void connect_to(struct client *client, struct door *door)
{
    client_open(client, &door->reactor, door->port, 0);
}

/* The frame {kind, text} at `at`; how long it is. */
static uint32_t put(uint8_t *at, char kind, const char *text)
{
    uint32_t size = (uint32_t)strlen(text) + 1;
    store_be32(at, size);
    at[4] = (uint8_t)kind;
    memcpy(at + 5, text, size - 1);
    return size + 4;
}

static uint32_t put_number(uint8_t *at, char kind, uint32_t number)
{
    store_be32(at, 5);
    at[4] = (uint8_t)kind;
    store_be32(at + 5, number);
    return 9;
}

static void ask(struct client *client, char kind, const char *text)
{
    uint8_t frame[512];
    client_send(client, frame, put(frame, kind, text));
}

static void expect(struct client *client, char kind, const char *text)
{
    uint8_t wanted[512];
    uint8_t got[512] = {0};
    uint32_t size = put(wanted, kind, text);
    assert_int_equal(client_receive(client, got, size), size);
    assert_memory_equal(got, wanted, size);
}

static void expect_pattern(struct client *client, uint32_t size)
{
    uint8_t *got = malloc(size);
    assert_non_null(got);
    assert_int_equal(client_receive(client, got, size), size);
    for (uint32_t i = 0; i < size; i++) {
        assert_int_equal(got[i], i % 251);
    }
    free(got);
}

/* --- Order. --- */

static void check_order(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    ask(&client, 'h', "1");
    ask(&client, 'h', "2");
    ask(&client, 'e', "3");
    ask(&client, 'h', "4");
    door_settle(door);
    assert_int_equal(door->spy.started, 4);
    door_finish(door, 2, 0);
    door_settle(door);
    door_finish(door, 1, 0);
    door_settle(door);
    assert_int_equal(client_available(&client), 0);
    uint64_t submitted = door->reactor.stats.counters[STAT_IO_SUBMITTED];
    door_finish(door, 0, 0);
    expect(&client, 'h', "1");
    expect(&client, 'h', "2");
    expect(&client, 'e', "3");
    expect(&client, 'h', "4");
    assert_int_equal(door->spy.sent, 4);
    assert_int_equal(door->reactor.stats.counters[STAT_IO_SUBMITTED] - submitted, 1);
    client_close(&client);
}

static void replies_leave_in_order_in_one_send(void **state)
{
    (void)state;
    on_each_engine(check_order);
}

static void check_bytewise(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    uint8_t frames[64];
    uint32_t size = put(frames, 'e', "first");
    size += put(frames + size, 'e', "second");
    for (uint32_t i = 0; i < size; i++) {
        client_send(&client, frames + i, 1);
        door_settle(door);
        assert_int_equal(door->spy.started, i + 1 < 10 ? 0 : i + 1 < size ? 1 : 2);
    }
    expect(&client, 'e', "first");
    expect(&client, 'e', "second");
    client_close(&client);
}

static void a_frame_may_come_byte_by_byte(void **state)
{
    (void)state;
    on_each_engine(check_bytewise);
}

static void check_long(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    uint8_t *frame = malloc(BIG + 64);
    uint8_t *got = malloc(BIG + 64);
    assert_non_null(frame);
    assert_non_null(got);
    memset(frame, 'z', BIG + 64);
    store_be32(frame, BIG);
    frame[4] = 'e';
    /* A short one follows at once: it begins in a buffer of its own. */
    uint32_t size = BIG + 4 + put(frame + BIG + 4, 'e', "after");
    for (uint32_t sent = 0; sent < size;) {
        sent += client_try_send(&client, frame + sent, size - sent);
        (void)reactor_turn(&door->reactor, 0);
    }
    assert_int_equal(client_receive(&client, got, size), size);
    assert_memory_equal(got, frame, size);
    free(frame);
    free(got);
    client_close(&client);
}

static void a_frame_may_be_longer_than_a_receive_buffer(void **state)
{
    (void)state;
    on_each_engine(check_long);
}

static void check_vectors(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    uint8_t frame[16];
    client_send(&client, frame, put_number(frame, 'v', 3 * CONN_SEND_VECTORS_MAX + 7));
    client_send(&client, frame, put_number(frame, 'b', 3 * CONN_SEND_BYTES_MAX + 7));
    expect_pattern(&client, 3 * CONN_SEND_VECTORS_MAX + 7);
    expect_pattern(&client, 3 * CONN_SEND_BYTES_MAX + 7);
    client_close(&client);
}

static void a_reply_may_need_many_sends(void **state)
{
    (void)state;
    on_each_engine(check_vectors);
}

static void check_no_reply(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    for (uint32_t i = 0; i < 2 * CONN_CALLS_MAX; i++) {
        ask(&client, 'n', "");
    }
    ask(&client, 'e', "seen");
    expect(&client, 'e', "seen");
    assert_int_equal(door->spy.sent, 2 * CONN_CALLS_MAX + 1);
    client_close(&client);
}

static void calls_without_a_reply_hold_nothing_up(void **state)
{
    (void)state;
    on_each_engine(check_no_reply);
}

/* --- Refusals. --- */

/* `calls` of what is sent are answered, or end unanswered. */
static void check_refused(struct door *door, const void *bytes, uint32_t size, uint32_t calls)
{
    struct client client;
    uint64_t refused = door->reactor.stats.counters[STAT_REQUESTS_REFUSED];
    uint32_t sent = door->spy.sent;
    connect_to(&client, door);
    uint8_t frames[128];
    uint32_t at = put(frames, 'h', "before");
    memcpy(frames + at, bytes, size);
    client_send(&client, frames, at + size);
    door_settle(door);
    /* What is held is canceled, answered, and only then the door closes. */
    expect(&client, 'C', "before");
    assert_true(client_ended(&client));
    client_close(&client);
    door_settle(door);
    assert_int_equal(door->reactor.stats.counters[STAT_REQUESTS_REFUSED], refused + 1);
    assert_int_equal(door->spy.sent - sent, calls);
    assert_int_equal(net_connection_count(door->net), 0);
}

static void check_refusals(struct door *door)
{
    check_refused(door, "\xff\xff\xff\xff", 4, 1);
    check_refused(door, "\x80\x00\x00\x00", 4, 1);
    check_refused(door, "\x00\x00\x00\x00zzz", 7, 1);
    /* Within the protocol's limit, but no block is so large. */
    check_refused(door, "\x3f\xff\xff\xffz", 5, 1);
    uint8_t malformed[16];
    check_refused(door, malformed, put(malformed, 'x', "mal"), 2);
}

static void what_is_no_frame_closes_behind_the_replies(void **state)
{
    (void)state;
    on_each_engine(check_refusals);
}

static void check_last(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    uint8_t frames[64];
    uint32_t size = put(frames, 'l', "bye");
    size += put(frames + size, 'e', "never");
    client_send(&client, frames, size);
    expect(&client, 'l', "bye");
    assert_true(client_ended(&client));
    client_close(&client);
}

static void nothing_follows_the_last_reply(void **state)
{
    (void)state;
    on_each_engine(check_last);
}

/* --- Back-pressure. --- */

static void check_calls_max(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    uint8_t frames[1024];
    uint32_t size = 0;
    for (uint32_t i = 0; i < 100; i++) {
        size += put(frames + size, 'h', "h");
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
        expect(&client, 'h', "h");
    }
    assert_true(door_conn(door)->recv_pending);
    client_close(&client);
}

static void reading_stops_at_so_many_calls(void **state)
{
    (void)state;
    on_each_engine(check_calls_max);
}

/* A client that asks for 16 MiB and reads nothing. */
static void ask_and_never_read(struct client *client, struct door *door)
{
    client_open(client, &door->reactor, door->port, 4096);
    uint8_t frames[1024];
    uint32_t size = 0;
    for (uint32_t i = 0; i < 64; i++) {
        size += put_number(frames + size, 'b', BIG);
    }
    client_send(client, frames, size);
    door_settle(door);
}

static void check_never_reads(struct door *door)
{
    struct client client;
    ask_and_never_read(&client, door);
    struct conn *conn = door_conn(door);
    uint32_t started = door->spy.started;
    assert_true(started < 64);
    assert_false(conn->recv_pending);
    assert_true(conn->queued_bytes >= CONN_QUEUED_BYTES_MAX);
    assert_true(conn->queued_bytes < CONN_QUEUED_BYTES_MAX + BIG);
    door_settle(door);
    assert_int_equal(door->spy.started, started);
    for (uint32_t i = 0; i < 64; i++) {
        expect_pattern(&client, BIG);
    }
    assert_int_equal(door->spy.started, 64);
    client_close(&client);
}

static void reading_stops_while_replies_wait(void **state)
{
    (void)state;
    on_each_engine(check_never_reads);
}

static void check_no_receive_memory(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    door_settle(door);
    door_hoard(door, MEMORY_RECEIVE);
    ask(&client, 'e', "thirsty");
    door_settle(door);
    assert_int_equal(door->spy.started, 0);
    assert_true(door_conn(door)->lent_held);
    door_unhoard(door);
    expect(&client, 'e', "thirsty");
    client_close(&client);
}

static void without_memory_to_receive_a_request_waits(void **state)
{
    (void)state;
    on_each_engine(check_no_receive_memory);
}

static void check_no_send_memory(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    door_settle(door);
    door_hoard(door, MEMORY_SEND);
    ask(&client, 'e', "1");
    ask(&client, 'e', "2");
    door_settle(door);
    assert_int_equal(door->spy.started, 0);
    assert_true(door->spy.starved >= 1);
    assert_true(door_conn(door)->starting != NULL);
    door_unhoard(door);
    expect(&client, 'e', "1");
    expect(&client, 'e', "2");
    client_close(&client);
}

static void without_memory_to_answer_a_call_waits(void **state)
{
    (void)state;
    on_each_engine(check_no_send_memory);
}

static void check_stop_without_memory(struct door *door)
{
    struct client hungry;
    struct client thirsty;
    connect_to(&hungry, door);
    door_settle(door);
    door_hoard(door, MEMORY_SEND);
    ask(&hungry, 'h', "answered yet");
    door_settle(door);
    door_hoard(door, MEMORY_RECEIVE);
    connect_to(&thirsty, door);
    ask(&thirsty, 'e', "never begun");
    door_settle(door);
    door_stop(door);
    door_settle(door);
    assert_false(door->stop_fired);
    door_unhoard(door);
    /* Canceled before it began. */
    expect(&hungry, 'C', "answered yet");
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
    on_each_engine(check_stop_without_memory);
}

static void check_lent_buffers(struct door *door)
{
    struct client client;
    /* More often than there are buffers to lend. */
    for (uint32_t i = 0; i <= DOOR_LENT_MAX; i++) {
        connect_to(&client, door);
        door_settle(door);
        door_hoard(door, MEMORY_RECEIVE);
        ask(&client, 'e', "never begun");
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
    connect_to(&client, door);
    ask(&client, 'e', "buffers are left");
    expect(&client, 'e', "buffers are left");
    client_close(&client);
}

static void who_dies_waiting_for_memory_gives_its_buffer_back(void **state)
{
    (void)state;
    on_each_engine(check_lent_buffers);
}

/* --- Calls that want to be alone. --- */

static void check_alone(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    ask(&client, 'h', "1");
    ask(&client, 'a', "2");
    ask(&client, 'a', "3");
    ask(&client, 'e', "4");
    door_settle(door);
    assert_int_equal(door->spy.started, 1);
    assert_false(door_conn(door)->recv_pending);
    door_finish(door, 0, 0);
    expect(&client, 'h', "1");
    door_settle(door);
    assert_int_equal(door->spy.started, 2);
    door_finish(door, 1, 0);
    expect(&client, 'a', "2");
    door_settle(door);
    assert_int_equal(door->spy.started, 4); /* What follows needs nobody's end to begin. */
    assert_int_equal(client_available(&client), 0);
    door_finish(door, 2, 0);
    expect(&client, 'a', "3");
    expect(&client, 'e', "4");
    assert_true(door_conn(door)->recv_pending);
    client_close(&client);
}

static void a_call_may_wait_until_it_is_the_first(void **state)
{
    (void)state;
    on_each_engine(check_alone);
}

static void check_alone_ends(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    ask(&client, 'h', "1");
    ask(&client, 'a', "2");
    door_settle(door);
    client_end(&client); /* Seen, and both are still answered. */
    expect(&client, 'C', "1");
    expect(&client, 'C', "2");
    assert_true(client_ended(&client));
    client_close(&client);
    door_settle(door);
    /* One that dies before it has begun; and one that a stop finds waiting. */
    connect_to(&client, door);
    ask(&client, 's', "3");
    ask(&client, 'a', "4");
    door_settle(door);
    conn_kill(door_conn(door));
    door_settle(door);
    door_finish(door, 2, 0);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 0);
    client_close(&client);
    uint32_t started = door->spy.started;
    connect_to(&client, door);
    ask(&client, 'h', "5");
    ask(&client, 'a', "6");
    door_settle(door);
    door_stop(door);
    expect(&client, 'C', "5");
    expect(&client, 'C', "6");
    assert_true(client_ended(&client));
    door_settle(door);
    assert_true(door->stop_fired);
    assert_int_equal(door->spy.started, started + 2);
    client_close(&client);
}

static void a_call_that_waits_to_be_the_first_ends_with_its_connection(void **state)
{
    (void)state;
    on_each_engine(check_alone_ends);
}

/* --- Ends. --- */

static void check_half_open(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    ask(&client, 'h', "parked");
    ask(&client, 'e', "2");
    ask(&client, 's', "slow");
    door_settle(door);
    client_end(&client);
    expect(&client, 'C', "parked");
    expect(&client, 'e', "2");
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 1);
    door_finish(door, 1, 0);
    expect(&client, 's', "slow");
    assert_true(client_ended(&client));
    client_close(&client);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 0);
    assert_int_equal(door->spy.canceled, 1);
}

static void a_half_open_client_gets_all_its_answers(void **state)
{
    (void)state;
    on_each_engine(check_half_open);
}

static void check_cut_off(struct door *door)
{
    struct client client;
    uint8_t frame[64];
    uint32_t size = put(frame, 'e', "whole");
    for (uint32_t part = 0; part < size; part++) {
        connect_to(&client, door);
        client_send(&client, frame, part);
        door_settle(door);
        client_close(&client);
        door_settle(door);
        assert_int_equal(net_connection_count(door->net), 0);
    }
    assert_int_equal(door->spy.started, 0);
    /* And within a frame that has a block of its own. */
    connect_to(&client, door);
    store_be32(frame, BIG);
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
    on_each_engine(check_cut_off);
}

static void check_reset(struct door *door)
{
    struct client client;
    ask_and_never_read(&client, door);
    assert_true(door_conn(door)->send != NULL);
    client_reset(&client);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), 0);
    assert_int_equal(door->spy.sent, door->spy.started);
    /* With a call that does not come home at once. */
    connect_to(&client, door);
    ask(&client, 's', "deaf");
    ask(&client, 'h', "parked");
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
    on_each_engine(check_reset);
}

/* --- Clocks and limits. --- */

static void check_stall(struct door *door)
{
    struct client client;
    ask_and_never_read(&client, door);
    door_pass(door, 29000);
    assert_int_equal(net_connection_count(door->net), 1);
    door_pass(door, 2000);
    assert_int_equal(net_connection_count(door->net), 0);
    client_close(&client);
}

static void a_peer_that_takes_no_bytes_is_closed(void **state)
{
    (void)state;
    on_each_engine(check_stall);
}

static void check_idle(struct door *door)
{
    struct client silent;
    struct client waiting;
    connect_to(&silent, door);
    connect_to(&waiting, door);
    door_settle(door);
    door_pass(door, 590000);
    assert_int_equal(net_connection_count(door->net), 2);
    ask(&waiting, 's', "not idle");
    door_settle(door);
    door_pass(door, 20000);
    assert_int_equal(net_connection_count(door->net), 1);
    assert_true(client_ended(&silent));
    door_pass(door, 1200000);
    assert_int_equal(net_connection_count(door->net), 1);
    door_finish(door, 0, 0);
    expect(&waiting, 's', "not idle");
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
    on_each_engine(check_idle);
}

static void check_connections_max(struct door *door)
{
    struct client clients[CONNECTIONS];
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        connect_to(&clients[i], door);
        ask(&clients[i], 'e', "in");
        expect(&clients[i], 'e', "in");
    }
    assert_int_equal(net_connection_count(door->net), CONNECTIONS);
    struct client late;
    connect_to(&late, door);
    assert_true(client_ended(&late));
    client_close(&late);
    assert_int_equal(net_connection_count(door->net), CONNECTIONS);
    client_close(&clients[0]);
    door_settle(door);
    assert_int_equal(net_connection_count(door->net), CONNECTIONS - 1);
    connect_to(&clients[0], door);
    ask(&clients[0], 'e', "now");
    expect(&clients[0], 'e', "now");
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        client_close(&clients[i]);
    }
    door_settle(door);
    assert_int_equal(atomic_load(&door->shared->cores[0].connections), 0);
}

static void one_connection_too_many_is_closed(void **state)
{
    (void)state;
    on_each_engine(check_connections_max);
}

/* --- Stop. --- */

static void check_stop(struct door *door)
{
    struct client idle;
    struct client parked;
    connect_to(&idle, door);
    connect_to(&parked, door);
    ask(&parked, 'h', "fetch");
    door_settle(door);
    door_stop(door);
    expect(&parked, 'C', "fetch");
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
    on_each_engine(check_stop);
}

static void check_grace(struct door *door)
{
    struct client client;
    connect_to(&client, door);
    ask(&client, 's', "deaf");
    door_settle(door);
    door->spy.busy = true;
    door_stop(door);
    door_settle(door);
    assert_int_equal(door_conn(door)->state, CONN_ENDING);
    door_pass(door, 6000);
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
    on_each_engine(check_grace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_leave_in_order_in_one_send),
        cmocka_unit_test(a_frame_may_come_byte_by_byte),
        cmocka_unit_test(a_frame_may_be_longer_than_a_receive_buffer),
        cmocka_unit_test(a_reply_may_need_many_sends),
        cmocka_unit_test(calls_without_a_reply_hold_nothing_up),
        cmocka_unit_test(what_is_no_frame_closes_behind_the_replies),
        cmocka_unit_test(nothing_follows_the_last_reply),
        cmocka_unit_test(reading_stops_at_so_many_calls),
        cmocka_unit_test(reading_stops_while_replies_wait),
        cmocka_unit_test(without_memory_to_receive_a_request_waits),
        cmocka_unit_test(without_memory_to_answer_a_call_waits),
        cmocka_unit_test(a_stop_waits_for_those_that_wait_for_memory),
        cmocka_unit_test(who_dies_waiting_for_memory_gives_its_buffer_back),
        cmocka_unit_test(a_call_may_wait_until_it_is_the_first),
        cmocka_unit_test(a_call_that_waits_to_be_the_first_ends_with_its_connection),
        cmocka_unit_test(a_half_open_client_gets_all_its_answers),
        cmocka_unit_test(a_close_in_the_middle_of_a_request_leaves_nothing),
        cmocka_unit_test(a_reset_takes_what_is_in_flight_home),
        cmocka_unit_test(a_peer_that_takes_no_bytes_is_closed),
        cmocka_unit_test(a_silent_connection_is_closed_unless_we_owe_it_an_answer),
        cmocka_unit_test(one_connection_too_many_is_closed),
        cmocka_unit_test(a_stop_answers_and_closes),
        cmocka_unit_test(a_stop_kills_after_its_grace_and_waits_for_what_is_lent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
