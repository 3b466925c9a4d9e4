/* Groups of readers of streams in the log of groups: it is cut while they live, what was cut away
 * is said again elsewhere, and those whose stream is gone go, too. Through group_submit(), on a
 * node whose internal topic has one partition and whose log is looked at from 4 KiB on. */
#include "net/group/group_internal.h"
#include "tests/unit/net/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { TURNS_MAX = 100000, ANSWER_BYTES_MAX = 65536, ORPHAN_MS = 60000 };

/* One call, from the test's own completion. */
struct asked {
    struct group_call call;
    bool fired;
};

struct answer {
    uint8_t data[ANSWER_BYTES_MAX];
    uint32_t size;
};

static void asked_done(struct completion *done)
{
    struct group_call *call = CONTAINER_OF(done, struct group_call, done);
    CONTAINER_OF(call, struct asked, call)->fired = true;
}

static struct stream_key key_of(uint8_t topic)
{
    struct stream_key key = {.partition = 0};
    memset(key.topic.bytes, topic, sizeof(key.topic.bytes));
    return key;
}

static enum group_code ask(struct node *node, struct stream_wish *wish, struct answer *answer)
{
    struct asked asked = {.call = {.kind = GROUP_STREAM, .stream = wish}};
    completion_init(&asked.call.done, asked_done);
    group_submit(node->net, &asked.call);
    for (uint32_t i = 0; !asked.fired; i++) {
        assert_true(i < TURNS_MAX);
        (void)reactor_turn(&node->reactor, NS_PER_MS);
    }
    if (answer != NULL) {
        answer->size = asked.call.result.size;
        assert_true(answer->size <= sizeof(answer->data));
        memcpy(answer->data, asked.call.result.data, answer->size);
    }
    assert_false(group_release(node->net, &asked.call)); /* It is this core's own. */
    return asked.call.code;
}

static enum group_code ask_short(struct node *node, enum stream_wish_kind kind, uint8_t topic,
                                 const char *group)
{
    struct stream_wish wish = {.kind = kind, .key = key_of(topic), .group = bytes_text(group)};
    return ask(node, &wish, NULL);
}

static uint64_t count_of(struct node *node, uint8_t topic)
{
    struct stream_wish wish = {.kind = STREAM_COUNT, .key = key_of(topic)};
    assert_int_equal(ask(node, &wish, NULL), GROUP_OK);
    return wish.number;
}

/* `reader` gets the entry whose ID is so many milliseconds. */
static void give(struct node *node, const char *group, const char *reader, uint64_t ms)
{
    struct stream_id id = {ms, 0};
    struct stream_wish wish = {
        .kind = STREAM_TAKE_NEW,
        .key = key_of(0x5a),
        .group = bytes_text(group),
        .reader = bytes_text(reader),
        .entries_read = -1,
        .capacity = 1,
    };
    assert_int_equal(ask(node, &wish, NULL), GROUP_OK);
    wish.kind = STREAM_GIVE;
    wish.ids = &id;
    wish.id_count = 1;
    assert_int_equal(ask(node, &wish, NULL), GROUP_OK);
}

static void ack(struct node *node, const char *group, uint64_t ms)
{
    struct stream_id id = {ms, 0};
    struct stream_wish wish = {
        .kind = STREAM_ACK,
        .key = key_of(0x5a),
        .group = bytes_text(group),
        .ids = &id,
        .id_count = 1,
    };
    assert_int_equal(ask(node, &wish, NULL), GROUP_OK);
    assert_int_equal(wish.number, 1);
}

/* When a reader was seen last is not always written down at once: its times go. */
static void forget_seen(struct answer *answer)
{
    struct bytes_reader at = bytes_reader(bytes_of(answer->data, answer->size));
    uint32_t groups = read_le32(&at);
    for (uint32_t g = 0; g < groups; g++) {
        (void)group_read_text(&at);
        uint32_t readers = read_le32(&at);
        read_skip(&at, 8 + 16 + 8);
        uint32_t entries = read_le32(&at);
        for (uint32_t i = 0; i < entries; i++) {
            read_skip(&at, 16);
            (void)group_read_text(&at);
            read_skip(&at, 8 + 4);
        }
        for (uint32_t i = 0; i < readers; i++) {
            (void)group_read_text(&at);
            memset(answer->data + at.position, 0, 16);
            read_skip(&at, 16 + 8);
            uint32_t own = read_le32(&at);
            read_skip(&at, own * (16 + 8 + 4));
        }
    }
    assert_false(at.failed);
    assert_int_equal(bytes_left(&at), 0);
}

/* All of all groups of "t", readers and pending entries. */
static void look(struct node *node, struct answer *answer)
{
    struct stream_wish wish = {
        .kind = STREAM_GROUPS, .key = key_of(0x5a), .count = UINT64_MAX, .full = true};
    assert_int_equal(ask(node, &wish, answer), GROUP_OK);
    assert_true(answer->size > 4);
    forget_seen(answer);
}

static void reopen(struct node *node)
{
    struct group_options options = node->net->options.groups;
    options.compact_bytes = 4096;
    options.partitions = 1;
    group_core_stop(node->net->groups);
    node_settle(node);
    group_core_close(node->net->groups);
    assert_int_equal(group_core_open(&node->net->groups, node->net, &options), OK);
}

/* Where the log of groups starts. */
static uint64_t log_start(struct node *node)
{
    uint8_t answer[4 + 4 + 4 + 20 + 4 + 4 + 2 + 8 + 8];
    node_settle(node);
    node_ask(node, 2, 1,
             "ffffffff 00000001 0012'__consumer_offsets' 00000001 00000000 fffffffffffffffe");
    node->answered++;
    assert_int_equal(client_receive(&node->client, answer, sizeof(answer)), sizeof(answer));
    return load_be64(answer + sizeof(answer) - 8);
}

static void on_each_engine(void (*claim)(struct node *node))
{
    node_on_each_engine(1, claim);
}

/* One group is busy, with hundreds of pending entries in several chunks; others are silent, so that
 * nothing but compaction says again what there is of them. */
static void check_compaction(struct node *node)
{
    static struct answer before, after;
    static const char *const readers[] = {"anna", "bert", "cleo"};
    reopen(node);
    assert_int_equal(ask_short(node, STREAM_CREATE, 0x5a, "silent"), GROUP_OK);
    assert_int_equal(ask_short(node, STREAM_CREATE, 0x5a, "bare"), GROUP_OK);
    assert_int_equal(ask_short(node, STREAM_CREATE, 0x5a, "busy"), GROUP_OK);
    for (uint32_t i = 1; i <= 140; i++) {
        give(node, "silent", readers[i % 3], i);
    }
    uint64_t started = log_start(node);
    for (uint32_t i = 1; i <= 320; i++) {
        give(node, "busy", readers[i % 3], i);
        if (i > 140) {
            ack(node, "busy", i - 140);
        }
        if (i % 100 == 0) {
            struct stream_wish drop = {
                .kind = STREAM_READER_DROP,
                .key = key_of(0x5a),
                .group = bytes_text("busy"),
                .reader = bytes_text("nobody"),
            };
            give(node, "busy", "nobody", 10000 + i);
            assert_int_equal(ask(node, &drop, NULL), GROUP_OK);
            assert_int_equal(drop.number, 1);
        }
    }
    /* All of the silent ones' first records are behind the start by now. */
    assert_true(log_start(node) > started + 200);
    look(node, &before);
    for (uint32_t i = 0; i < 2; i++) {
        reopen(node);
        look(node, &after);
        assert_int_equal(after.size, before.size);
        assert_memory_equal(after.data, before.data, before.size);
    }
    ack(node, "silent", 140);
    ack(node, "busy", 320);
}

static void groups_of_streams_outlive_the_cut_of_their_log(void **state)
{
    (void)state;
    on_each_engine(check_compaction);
}

/* A group that was destroyed does not come back when the record of that is cut away. */
static void check_destroyed(struct node *node)
{
    reopen(node);
    assert_int_equal(ask_short(node, STREAM_CREATE, 0x5a, "gone"), GROUP_OK);
    give(node, "gone", "anna", 1);
    assert_int_equal(ask_short(node, STREAM_CREATE, 0x5a, "busy"), GROUP_OK);
    assert_int_equal(ask_short(node, STREAM_DESTROY, 0x5a, "gone"), GROUP_OK);
    uint64_t started = log_start(node);
    for (uint32_t i = 1; log_start(node) == started; i++) {
        assert_true(i < 1000);
        give(node, "busy", "bert", i);
        ack(node, "busy", i);
        if (i % 10 == 0) {
            reopen(node); /* Anywhere in the course of it. */
            assert_int_equal(count_of(node, 0x5a), 1);
        }
    }
    reopen(node);
    assert_int_equal(count_of(node, 0x5a), 1);
    assert_int_equal(ask_short(node, STREAM_DESTROY, 0x5a, "gone"), GROUP_NOT_FOUND);
}

static void a_destroyed_group_stays_away(void **state)
{
    (void)state;
    on_each_engine(check_destroyed);
}

/* The group seems so old. */
static void age(struct node *node, uint8_t topic, const char *group, uint64_t ms)
{
    struct stream_key key = key_of(topic);
    struct group_stream *stream = group_stream_find(node->net->groups, &key, bytes_text(group));
    assert_non_null(stream);
    stream->state.created_ms -= ms;
}

static void make_orphans(struct node *node)
{
    node_topic(node, "lost", 1, 0x77, NULL);
    reopen(node);
    assert_int_equal(ask_short(node, STREAM_CREATE, 0x77, "old"), GROUP_OK);
    assert_int_equal(ask_short(node, STREAM_CREATE, 0x77, "young"), GROUP_OK);
    assert_int_equal(ask_short(node, STREAM_CREATE, 0x5a, "busy"), GROUP_OK);
    age(node, 0x77, "old", ORPHAN_MS + 1000);
    age(node, 0x5a, "busy", ORPHAN_MS + 1000);
    node_check(node, 20, 1, "00000001 0004'lost' 00007530", "00000000 00000001 0004'lost' 0000");
    assert_int_equal(count_of(node, 0x77), 2);
}

/* Another group is made: groups whose stream is gone go; but one that is so young that a map may
 * not know its stream yet. */
static void check_sweep_by_create(struct node *node)
{
    make_orphans(node);
    uint64_t used = node->net->groups->stream_memory.used_bytes;
    assert_int_equal(ask_short(node, STREAM_CREATE, 0x5a, "another"), GROUP_OK);
    assert_int_equal(count_of(node, 0x77), 1);
    assert_int_equal(ask_short(node, STREAM_DESTROY, 0x5a, "another"), GROUP_OK);
    assert_true(node->net->groups->stream_memory.used_bytes < used);
    reopen(node);
    assert_int_equal(count_of(node, 0x77), 1);
    assert_int_equal(count_of(node, 0x5a), 1);
    assert_int_equal(ask_short(node, STREAM_DESTROY, 0x77, "old"), GROUP_NOT_FOUND);
    assert_int_equal(ask_short(node, STREAM_DESTROY, 0x77, "young"), GROUP_OK);
}

static void groups_go_with_their_stream_when_another_is_made(void **state)
{
    (void)state;
    on_each_engine(check_sweep_by_create);
}

static void check_sweep_by_compaction(struct node *node)
{
    make_orphans(node);
    uint64_t started = log_start(node);
    for (uint32_t i = 1; log_start(node) == started; i++) {
        assert_true(i < 1000);
        give(node, "busy", "anna", i);
        ack(node, "busy", i);
    }
    assert_int_equal(count_of(node, 0x77), 1);
    assert_int_equal(count_of(node, 0x5a), 1);
    reopen(node);
    assert_int_equal(count_of(node, 0x77), 1);
    assert_int_equal(count_of(node, 0x5a), 1);
}

static void groups_go_with_their_stream_when_the_log_is_cut(void **state)
{
    (void)state;
    on_each_engine(check_sweep_by_compaction);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_of_streams_outlive_the_cut_of_their_log),
        cmocka_unit_test(a_destroyed_group_stays_away),
        cmocka_unit_test(groups_go_with_their_stream_when_another_is_made),
        cmocka_unit_test(groups_go_with_their_stream_when_the_log_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
