/* Connections over real sockets, on each engine, with a protocol of the test's own (door.c): order
 * of replies, frames that grow, what is no frame. */
#include "tests/unit/net/door.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- Order. --- */

static void check_order(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    door_ask(&client, 'h', "1");
    door_ask(&client, 'h', "2");
    door_ask(&client, 'e', "3");
    door_ask(&client, 'h', "4");
    door_settle(door);
    assert_int_equal(door->spy.started, 4);
    door_finish(door, 2, 0);
    door_settle(door);
    door_finish(door, 1, 0);
    door_settle(door);
    assert_int_equal(client_available(&client), 0);
    uint64_t submitted = door->reactor.stats.counters[STAT_IO_SUBMITTED];
    door_finish(door, 0, 0);
    door_expect(&client, 'h', "1");
    door_expect(&client, 'h', "2");
    door_expect(&client, 'e', "3");
    door_expect(&client, 'h', "4");
    assert_int_equal(door->spy.sent, 4);
    assert_int_equal(door->reactor.stats.counters[STAT_IO_SUBMITTED] - submitted, 1);
    client_close(&client);
}

static void replies_leave_in_order_in_one_send(void **state)
{
    (void)state;
    door_each_engine(check_order);
}

static void check_bytewise(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    uint8_t frames[64];
    uint32_t size = door_put(frames, 'e', "first");
    size += door_put(frames + size, 'e', "second");
    for (uint32_t i = 0; i < size; i++) {
        client_send(&client, frames + i, 1);
        door_settle(door);
        assert_int_equal(door->spy.started, i + 1 < 10 ? 0 : i + 1 < size ? 1 : 2);
    }
    door_expect(&client, 'e', "first");
    door_expect(&client, 'e', "second");
    client_close(&client);
}

static void a_frame_may_come_byte_by_byte(void **state)
{
    (void)state;
    door_each_engine(check_bytewise);
}

static void check_long(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    uint8_t *frame = malloc(DOOR_BIG + 64);
    uint8_t *got = malloc(DOOR_BIG + 64);
    assert_non_null(frame);
    assert_non_null(got);
    memset(frame, 'z', DOOR_BIG + 64);
    store_be32(frame, DOOR_BIG);
    frame[4] = 'e';
    /* A short one follows at once: it begins in a buffer of its own. */
    uint32_t size = DOOR_BIG + 4 + door_put(frame + DOOR_BIG + 4, 'e', "after");
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
    door_each_engine(check_long);
}

/* Sends a line of `size` bytes in pieces, and gets it back. */
static void line_there_and_back(struct door *door, struct client *client, const char *start,
                                uint32_t size, uint32_t piece)
{
    uint8_t *line = malloc(size);
    uint8_t *got = malloc(size);
    assert_non_null(line);
    assert_non_null(got);
    memset(line, 'z', size);
    memcpy(line, start, 5);
    line[size - 1] = '\n';
    for (uint32_t at = 0; at < size; at += piece) {
        client_send(client, line + at, size - at < piece ? size - at : piece);
        door_settle(door);
        assert_int_equal(client_available(client) > 0, at + piece >= size);
    }
    assert_int_equal(client_receive(client, got, size), size);
    assert_memory_equal(got, line, size);
    free(line);
    free(got);
}

static void check_growing(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    uint64_t total = 0;
    static const uint32_t rows[][2] = {
        {6, 1},         {9, 1},         {300, 7},   {4096, 4095},   {4097, 4096},    {9000, 100},
        {300000, 1000}, {65536, 65535}, {65537, 1}, {500000, 7919}, {900000, 900000}};
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        /* One byte at a time at the end only: the bytes in front come at once. */
        uint32_t piece = rows[i][1] == 1 && rows[i][0] > 1000 ? rows[i][0] - 1 : rows[i][1];
        line_there_and_back(door, &client, ">zzze", rows[i][0], piece);
        total += rows[i][0];
    }
    /* No byte was looked at twice. */
    assert_int_equal(door->spy.scanned, total);
    /* Of known least length: room for all of it at once. */
    line_there_and_back(door, &client, ">wzze", DOOR_BIG, 50000);
    door_ask(&client, 'e', "after");
    door_expect(&client, 'e', "after");
    client_close(&client);
}

static void a_frame_may_tell_its_length_only_by_its_end(void **state)
{
    (void)state;
    door_each_engine(check_growing);
}

static void check_wanted(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    client_send(&client, ">wzzezzzzz", 10);
    door_settle(door);
    assert_int_equal(door_conn(door)->input->size, DOOR_BIG);
    assert_int_equal(door_conn(door)->scan.position, 10);
    client_close(&client);
    door_settle(door);
    door_connect(&client, door);
    client_send(&client, ">zzzezzz", CONN_HEAD_BYTES);
    door_settle(door);
    assert_null(door_conn(door)->input); /* So little is kept without a block. */
    client_send(&client, "z", 1);
    door_settle(door);
    assert_int_equal(door_conn(door)->input->size, BLOCK_SIZE_MIN);
    client_send(&client, "\n>zzze", 6); /* The next one begins anew. */
    door_settle(door);
    assert_int_equal(door_conn(door)->scan.position, 5);
    client_close(&client);
}

static void a_frame_that_grows_has_room_as_it_comes(void **state)
{
    (void)state;
    door_each_engine(check_wanted);
}

static void check_endless(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    door_settle(door);
    static uint8_t bytes[64 << 10];
    memset(bytes, '>', sizeof(bytes));
    uint64_t sent = 0;
    while (net_connection_count(door->net) > 0) {
        assert_true(sent < 4 * DOOR_LINE_MAX);
        sent += client_try_send(&client, bytes, sizeof(bytes));
        (void)reactor_turn(&door->reactor, 0);
    }
    assert_true(door->spy.scanned >= DOOR_LINE_MAX && door->spy.started == 0);
    client_reset(&client);
}

static void a_frame_that_never_ends_is_refused_at_its_bound(void **state)
{
    (void)state;
    door_each_engine(check_endless);
}

static void check_vectors(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    uint8_t frame[16];
    client_send(&client, frame, door_put_number(frame, 'v', 3 * CONN_SEND_VECTORS_MAX + 7));
    client_send(&client, frame, door_put_number(frame, 'b', 3 * CONN_SEND_BYTES_MAX + 7));
    door_expect_pattern(&client, 3 * CONN_SEND_VECTORS_MAX + 7);
    door_expect_pattern(&client, 3 * CONN_SEND_BYTES_MAX + 7);
    client_close(&client);
}

static void a_reply_may_need_many_sends(void **state)
{
    (void)state;
    door_each_engine(check_vectors);
}

static void check_no_reply(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    for (uint32_t i = 0; i < 2 * CONN_CALLS_MAX; i++) {
        door_ask(&client, 'n', "");
    }
    door_ask(&client, 'e', "seen");
    door_expect(&client, 'e', "seen");
    assert_int_equal(door->spy.sent, 2 * CONN_CALLS_MAX + 1);
    client_close(&client);
}

static void check_parts(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    uint8_t frames[64];
    uint32_t size = door_put_number(frames, 'p', 600);
    size += door_put(frames + size, 'e', "behind");
    client_send(&client, frames, size);
    door_expect_pattern(&client, 600);
    door_expect(&client, 'e', "behind");
    assert_int_equal(door->spy.parts, 600);
    assert_int_equal(door->spy.sent, 2);
    /* One without an end ends with its connection, wherever it is. */
    for (uint32_t i = 0; i < 3; i++) {
        struct client other;
        door_connect(&other, door);
        client_send(&other, frames, door_put_number(frames, 'p', UINT32_MAX));
        door_expect_pattern(&other, 100 * i + 1);
        if (i == 0) {
            client_end(&other);
            door_settle(door);
        }
        client_close(&other);
        door_settle(door);
    }
    assert_int_equal(net_connection_count(door->net), 1);
    assert_int_equal(door->spy.sent, 5);
    client_close(&client);
}

static void a_reply_may_come_in_parts(void **state)
{
    (void)state;
    door_each_engine(check_parts);
}

/* All in one piece: more than there may be at once, and what has a reply comes in with the rest. */
static void check_no_reply_at_once(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    static uint8_t frames[16 * CONN_CALLS_MAX];
    uint32_t size = 0;
    for (uint32_t i = 0; i < CONN_CALLS_MAX + CONN_CALLS_MAX / 2; i++) {
        size += door_put(frames + size, 'n', "");
    }
    size += door_put(frames + size, 'e', "seen");
    client_send(&client, frames, size);
    door_expect(&client, 'e', "seen");
    client_close(&client);
}

static void calls_without_a_reply_hold_nothing_up(void **state)
{
    (void)state;
    door_each_engine(check_no_reply);
    door_each_engine(check_no_reply_at_once);
}

/* --- Refusals. --- */

/* `calls` of what is sent are answered, or end unanswered. */
static void check_refused(struct door *door, const void *bytes, uint32_t size, uint32_t calls)
{
    struct client client;
    uint64_t refused = door->reactor.stats.counters[STAT_REQUESTS_REFUSED];
    uint32_t sent = door->spy.sent;
    door_connect(&client, door);
    uint8_t frames[128];
    uint32_t at = door_put(frames, 'h', "before");
    memcpy(frames + at, bytes, size);
    client_send(&client, frames, at + size);
    door_settle(door);
    /* What is held is canceled, answered, and only then the door closes. */
    door_expect(&client, 'C', "before");
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
    check_refused(door, malformed, door_put(malformed, 'x', "mal"), 2);
}

static void what_is_no_frame_closes_behind_the_replies(void **state)
{
    (void)state;
    door_each_engine(check_refusals);
}

static void check_last(struct door *door)
{
    struct client client;
    door_connect(&client, door);
    uint8_t frames[64];
    uint32_t size = door_put(frames, 'l', "bye");
    size += door_put(frames + size, 'e', "never");
    client_send(&client, frames, size);
    door_expect(&client, 'l', "bye");
    assert_true(client_ended(&client));
    client_close(&client);
}

static void nothing_follows_the_last_reply(void **state)
{
    (void)state;
    door_each_engine(check_last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_leave_in_order_in_one_send),
        cmocka_unit_test(a_frame_may_come_byte_by_byte),
        cmocka_unit_test(a_frame_may_be_longer_than_a_receive_buffer),
        cmocka_unit_test(a_frame_may_tell_its_length_only_by_its_end),
        cmocka_unit_test(a_frame_that_grows_has_room_as_it_comes),
        cmocka_unit_test(a_frame_that_never_ends_is_refused_at_its_bound),
        cmocka_unit_test(a_reply_may_need_many_sends),
        cmocka_unit_test(a_reply_may_come_in_parts),
        cmocka_unit_test(calls_without_a_reply_hold_nothing_up),
        cmocka_unit_test(what_is_no_frame_closes_behind_the_replies),
        cmocka_unit_test(nothing_follows_the_last_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
