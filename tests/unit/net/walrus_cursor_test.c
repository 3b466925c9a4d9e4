/* The cursors of Walrus over a store of the test's own, which may be slow or fail: one reader at a
 * time, moves that are saved together, and none that is lost or counted twice. */
#include "net/walrus/cursor.h"

#include "net/walrus/store.h"
#include "tests/unit/net/kafka_data_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEPT_MAX = 8192, OPS = 8 };

/* --- The store. --- */

static struct {
    uint64_t positions[KEPT_MAX]; /* By partition: the tests use one topic. */
    uint32_t loads, saves;
    enum err fail_load, fail_save;
    bool hold, hold_load;
    struct store_io *held;
} kept;

void store_load(struct net *net, struct store_io *io)
{
    kept.loads++;
    io->position = kept.positions[io->partition.partition];
    if (kept.hold_load) {
        kept.held = io;
        return;
    }
    completion_fire(net->reactor, &io->done, kept.fail_load);
}

static void kept_end_save(struct net *net, struct store_io *io)
{
    if (kept.fail_save == OK) {
        kept.positions[io->partition.partition] = io->position;
    }
    completion_fire(net->reactor, &io->done, kept.fail_save);
}

void store_save(struct net *net, struct store_io *io)
{
    kept.saves++;
    if (kept.hold) {
        assert_null(kept.held); /* One at a time. */
        kept.held = io;
        return;
    }
    kept_end_save(net, io);
}

static void kept_release(struct node *node)
{
    struct store_io *io = kept.held;
    assert_non_null(io);
    kept.held = NULL;
    kept_end_save(node->net, io);
    node_settle(node);
}

/* --- Wishes. --- */

struct wish {
    struct cursor_op op;
    bool fired;
    enum err err;
};

static struct wish wishes[OPS];

static void wish_done(struct completion *completion)
{
    struct cursor_op *op = CONTAINER_OF(completion, struct cursor_op, done);
    struct wish *wish = CONTAINER_OF(op, struct wish, op);
    assert_false(wish->fired);
    wish->fired = true;
    wish->err = (enum err)completion->result;
}

static void take(struct node *node, uint32_t index, uint32_t partition)
{
    struct partition_id id = {.topic = {{'t'}}, .partition = partition};
    wishes[index].fired = false;
    cursor_take(node->net, &wishes[index].op, &id, wish_done);
    assert_false(wishes[index].fired); /* Never before return. */
}

static void move(struct node *node, uint32_t index, uint64_t position)
{
    wishes[index].fired = false;
    cursor_move(node->net, &wishes[index].op, position, wish_done);
    node_settle(node);
}

static void leave(struct node *node, uint32_t index)
{
    wishes[index].fired = false;
    cursor_leave(node->net, &wishes[index].op, wish_done);
    node_settle(node);
}

static void expect_taken(struct node *node, uint32_t index, uint64_t position)
{
    node_settle(node);
    assert_true(wishes[index].fired);
    assert_int_equal(wishes[index].err, OK);
    assert_int_equal(wishes[index].op.position, position);
}

static void expect_ended(uint32_t index, enum err err)
{
    assert_true(wishes[index].fired);
    assert_int_equal(wishes[index].err, err);
}

static void on_a_node(void (*claim)(struct node *node))
{
    memset(&kept, 0, sizeof(kept));
    data_on_each_engine(claim);
}

/* --- The claims. --- */

static void check_one_reader(struct node *node)
{
    memset(&kept, 0, sizeof(kept));
    kept.positions[3] = 40;
    take(node, 0, 3);
    take(node, 1, 3);
    take(node, 2, 3);
    take(node, 3, 4); /* Another partition is another cursor. */
    expect_taken(node, 0, 40);
    expect_taken(node, 3, 0);
    assert_false(wishes[1].fired);
    move(node, 0, 41);
    expect_ended(0, OK);
    assert_int_equal(kept.positions[3], 41);
    expect_taken(node, 1, 41);
    assert_false(wishes[2].fired);
    leave(node, 1);
    expect_ended(1, OK);
    expect_taken(node, 2, 41);
    leave(node, 2);
    leave(node, 3);
    assert_int_equal(kept.loads, 2);
    assert_int_equal(kept.saves, 1); /* Who leaves it as it was saves nothing. */
}

static void a_cursor_has_one_reader_at_a_time(void **state)
{
    (void)state;
    on_a_node(check_one_reader);
}

static void check_together(struct node *node)
{
    memset(&kept, 0, sizeof(kept));
    kept.hold = true;
    for (uint32_t i = 0; i < OPS; i++) {
        take(node, i, 0);
        expect_taken(node, i, i); /* The next reader waits for no save. */
        move(node, i, i + 1);
        assert_false(wishes[i].fired); /* But its answer does. */
    }
    assert_int_equal(kept.saves, 1);
    kept_release(node);
    expect_ended(0, OK);
    assert_false(wishes[1].fired);
    assert_int_equal(kept.saves, 2); /* All others are in the second one. */
    kept_release(node);
    for (uint32_t i = 1; i < OPS; i++) {
        expect_ended(i, OK);
    }
    assert_int_equal(kept.positions[0], OPS);
    assert_int_equal(kept.saves, 2);
}

static void moves_during_a_save_are_saved_together(void **state)
{
    (void)state;
    on_a_node(check_together);
}

static void check_failed_save(struct node *node)
{
    memset(&kept, 0, sizeof(kept));
    take(node, 0, 0);
    expect_taken(node, 0, 0);
    move(node, 0, 5);
    kept.hold = true;
    for (uint32_t i = 0; i < 3; i++) {
        take(node, i, 0);
        expect_taken(node, i, 5 + i);
        if (i < 2) {
            move(node, i, 6 + i);
        }
    }
    kept.fail_save = ERR_STORAGE;
    kept_release(node);
    expect_ended(0, ERR_STORAGE);
    expect_ended(1, ERR_STORAGE); /* Behind it: its record comes again, too. */
    kept.fail_save = OK;
    move(node, 2, 8); /* It read behind records that nobody got. */
    expect_ended(2, ERR_STORAGE);
    kept.hold = false;
    take(node, 0, 0);
    expect_taken(node, 0, 5);
    move(node, 0, 6);
    expect_ended(0, OK);
    assert_int_equal(kept.positions[0], 6);
}

static void what_could_not_be_saved_comes_again(void **state)
{
    (void)state;
    on_a_node(check_failed_save);
}

static void check_failed_load(struct node *node)
{
    memset(&kept, 0, sizeof(kept));
    kept.positions[0] = 9;
    kept.fail_load = ERR_NOT_READY;
    take(node, 0, 0);
    take(node, 1, 0);
    node_settle(node);
    expect_ended(0, ERR_NOT_READY); /* Not position 0. */
    expect_ended(1, ERR_NOT_READY);
    kept.fail_load = OK;
    take(node, 0, 0);
    expect_taken(node, 0, 9);
    leave(node, 0);
}

static void a_cursor_that_cannot_be_loaded_is_not_at_the_start(void **state)
{
    (void)state;
    on_a_node(check_failed_load);
}

static void check_backwards(struct node *node)
{
    memset(&kept, 0, sizeof(kept));
    kept.positions[0] = 100; /* Of a log that has lost its end since. */
    take(node, 0, 0);
    expect_taken(node, 0, 100);
    move(node, 0, 7);
    expect_ended(0, OK);
    take(node, 0, 0);
    expect_taken(node, 0, 7);
    leave(node, 0);
}

static void a_cursor_may_move_back(void **state)
{
    (void)state;
    on_a_node(check_backwards);
}

static void check_many(struct node *node)
{
    memset(&kept, 0, sizeof(kept));
    for (uint32_t i = 0; i < KEPT_MAX; i++) {
        kept.positions[i] = i;
    }
    take(node, 1, 1); /* In use: it stays, however many come. */
    expect_taken(node, 1, 1);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 2; i < KEPT_MAX; i++) {
            take(node, 0, i);
            while (!wishes[0].fired) {
                (void)reactor_turn(&node->reactor, 0);
            }
            assert_int_equal(wishes[0].op.position, i);
            wishes[0].fired = false;
            cursor_leave(node->net, &wishes[0].op, wish_done);
            while (!wishes[0].fired) {
                (void)reactor_turn(&node->reactor, 0);
            }
        }
    }
    assert_int_equal(kept.loads, 1 + 2 * (KEPT_MAX - 2));
    move(node, 1, 2);
    expect_ended(1, OK);
    take(node, 1, 1);
    expect_taken(node, 1, 2);
    leave(node, 1);
    assert_int_equal(kept.loads, 1 + 2 * (KEPT_MAX - 2));
}

static void of_too_many_cursors_the_oldest_idle_one_gives_way(void **state)
{
    (void)state;
    on_a_node(check_many);
}

static void ask(struct client *client, const char *text)
{
    uint8_t head[4];
    store_le32(head, (uint32_t)strlen(text));
    client_send(client, head, sizeof(head));
    client_send(client, text, (uint32_t)strlen(text));
}

static void expect(struct client *client, const char *text)
{
    uint8_t got[64];
    uint32_t size = (uint32_t)strlen(text);
    assert_int_equal(client_receive(client, got, 4 + size), 4 + size);
    assert_int_equal(load_le32(got), size);
    assert_memory_equal(got + 4, text, size);
}

static void check_gone_reader(struct node *node)
{
    memset(&kept, 0, sizeof(kept));
    struct client gone, half, next;
    client_open(&gone, &node->reactor, node->port_any, 0);
    client_open(&half, &node->reactor, node->port_any, 0);
    client_open(&next, &node->reactor, node->port_any, 0);
    ask(&next, "PUT t/0 first");
    expect(&next, "OK");
    ask(&next, "PUT t/0 second");
    expect(&next, "OK");
    kept.hold_load = true;
    ask(&gone, "GET t/0");
    node_settle(node);
    ask(&half, "GET t/0");
    node_settle(node);
    client_reset(&gone);
    client_end(&half); /* It sends no more, and still reads. */
    node_settle(node);
    kept.hold_load = false;
    completion_fire(&node->reactor, &kept.held->done, OK);
    expect(&half, "OK first");
    assert_true(client_ended(&half));
    client_close(&half);
    ask(&next, "GET t/0");
    expect(&next, "OK second");
    client_close(&next);
}

static void a_reader_that_is_gone_takes_no_record_with_it(void **state)
{
    (void)state;
    on_a_node(check_gone_reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_has_one_reader_at_a_time),
        cmocka_unit_test(moves_during_a_save_are_saved_together),
        cmocka_unit_test(what_could_not_be_saved_comes_again),
        cmocka_unit_test(a_cursor_that_cannot_be_loaded_is_not_at_the_start),
        cmocka_unit_test(a_cursor_may_move_back),
        cmocka_unit_test(a_reader_that_is_gone_takes_no_record_with_it),
        cmocka_unit_test(of_too_many_cursors_the_oldest_idle_one_gives_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
