/* The group APIs byte by byte in each version, bodies written down from the public protocol guide;
 * and what is kept over a restart of the door. Ids of members end with random letters ("..").
 * Node.c: at most 4 members, sessions of 6 s to 30 min, 2 partitions of the internal topic, the
 * first member waits for nobody. */
#include "core/base.h"
#include "net/server.h"
#include "tests/unit/net/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The client is "test": its members are "test-" and 32 random digits. */
#define DIGITS_8 ".. .. .. .. .. .. .. .. "
#define MEMBER   "0025'test-'" DIGITS_8 DIGITS_8 DIGITS_8 DIGITS_8
#define MEMBER_6 "26'test-'" DIGITS_8 DIGITS_8 DIGITS_8 DIGITS_8
#define STATIC_6 "23'i-'" DIGITS_8 DIGITS_8 DIGITS_8 DIGITS_8

#define SESSION   "00002710"
#define REBALANCE "00007530"
#define CONSUMER  "0008'consumer'"

static void on_each_engine(void (*claim)(struct node *node))
{
    node_on_each_engine(2, claim);
}

/* --- Members. --- */

/* Each version with a group of its own, of one member: generation 1. */
static void check_join(struct node *node)
{
    static const struct golden rows[] = {
        {0, 0, "0002'g0' " SESSION " 0000 " CONSUMER " 00000001 0001'r' 00000002 aabb",
         "0000 00000001 0001'r' " MEMBER MEMBER "00000001 " MEMBER "00000002 aabb"},
        {1, 1, "0002'g1' " SESSION REBALANCE " 0000 " CONSUMER " 00000001 0001'r' 00000002 aabb",
         "0000 00000001 0001'r' " MEMBER MEMBER "00000001 " MEMBER "00000002 aabb"},
        {2, 2, "0002'g2' " SESSION REBALANCE " 0000 " CONSUMER " 00000001 0001'r' 00000002 aabb",
         "00000000 0000 00000001 0001'r' " MEMBER MEMBER "00000001 " MEMBER "00000002 aabb"},
        {3, 3, "0002'g3' " SESSION REBALANCE " 0000 " CONSUMER " 00000001 0001'r' 00000002 aabb",
         "00000000 0000 00000001 0001'r' " MEMBER MEMBER "00000001 " MEMBER "00000002 aabb"},
        /* Without an id: 79, and the id to come back with. */
        {4, 4, "0002'g4' " SESSION REBALANCE " 0000 " CONSUMER " 00000001 0001'r' 00000002 aabb",
         "00000000 004f ffffffff 0000 0000 " MEMBER "00000000"},
        {5, 5,
         "0002'g5' " SESSION REBALANCE " 0000 ffff " CONSUMER " 00000001 0001'r' 00000002 aabb",
         "00000000 004f ffffffff 0000 0000 " MEMBER "00000000"},
        {6, 6, "03'g6' " SESSION REBALANCE " 01 00 09'consumer' 02 02'r' 03 aabb 00 00",
         "00000000 004f ffffffff 01 01 " MEMBER_6 "01 00"},
        {7, 7, "03'g7' " SESSION REBALANCE " 01 00 09'consumer' 02 02'r' 03 aabb 00 00",
         "00000000 004f ffffffff 00 00 01 " MEMBER_6 "01 00"},
        {8, 8, "03'g8' " SESSION REBALANCE " 01 00 09'consumer' 02 02'r' 03 aabb 00 04'why' 00",
         "00000000 004f ffffffff 00 00 01 " MEMBER_6 "01 00"},
        /* A static member needs no id; again, it has a new one in the same generation. */
        {9, 9, "03'g9' " SESSION REBALANCE " 01 02'i' 09'consumer' 02 02'r' 03 aabb 00 00 00",
         "00000000 0000 00000001 09'consumer' 02'r' " STATIC_6 "00 " STATIC_6 "02 " STATIC_6
         "02'i' 03 aabb 00 00"},
        /* Refused: the session, the protocols, the group's name, a member that nobody knows. */
        {2, 2, "0001'x' 0000176f" REBALANCE " 0000 " CONSUMER " 00000001 0001'r' 00000000",
         "00000000 001a ffffffff 0000 0000 0000 00000000"},
        {2, 2, "0001'x' " SESSION REBALANCE " 0000 " CONSUMER " 00000000",
         "00000000 0017 ffffffff 0000 0000 0000 00000000"},
        {2, 2, "0000 " SESSION REBALANCE " 0000 " CONSUMER " 00000001 0001'r' 00000000",
         "00000000 0018 ffffffff 0000 0000 0000 00000000"},
        {2, 2, "0001'x' " SESSION REBALANCE " 0001'm' " CONSUMER " 00000001 0001'r' 00000000",
         "00000000 0019 ffffffff 0000 0000 0001'm' 00000000"},
    };
    GOLDEN_CHECK(node, 11, rows);
}

static void join_group(void **state)
{
    (void)state;
    on_each_engine(check_join);
}

/* Joins "h" as the static member "i", in version 5; its id goes into `id`, of 35 letters. */
static void join_static(struct node *node, char *id)
{
    uint8_t answer[4 + 4 + 4 + 2 + 4 + 3 + 2 * (2 + 34) + 4 + 2 + 34 + 3 + 4];
    node_ask(node, 11, 5,
             "0001'h' " SESSION REBALANCE " 0000 0001'i' " CONSUMER " 00000001 0001'r' 00000000");
    node->answered++;
    assert_int_equal(client_receive(&node->client, answer, sizeof(answer)), sizeof(answer));
    assert_int_equal(load_be16(answer + 12), 0);
    memcpy(id, answer + 4 + 4 + 4 + 2 + 4 + 3 + 2, 34);
    id[34] = 0;
}

/* Replaces "$m" by the member's id with its length, in both encodings. */
static void check_with(struct node *node, int16_t key, int16_t version, const char *id,
                       const char *format, const char *answer)
{
    char body[512];
    char place[64];
    const char *at = strstr(format, "$m");
    assert_non_null(at);
    bool flexible = version >= 4;
    (void)snprintf(place, sizeof(place), flexible ? "23'%s'" : "0022'%s'", id);
    (void)snprintf(body, sizeof(body), "%.*s%s%s", (int)(at - format), format, place, at + 2);
    node_check(node, key, version, body, answer);
}

static void check_sync_and_heartbeat(struct node *node)
{
    char id[40];
    join_static(node, id);
    for (int16_t v = 0; v <= 5; v++) {
        /* The leader's own; in a stable group it may ask again. */
        static const char *const bodies[] = {
            "0001'h' 00000001 $m 00000000",  "0001'h' 00000001 $m 00000000",
            "0001'h' 00000001 $m 00000000",  "0001'h' 00000001 $m 0001'i' 00000000",
            "02'h' 00000001 $m 02'i' 01 00", "02'h' 00000001 $m 02'i' 09'consumer' 02'r' 01 00",
        };
        static const char *const answers[] = {
            "0000 00000000",          "00000000 0000 00000000",
            "00000000 0000 00000000", "00000000 0000 00000000",
            "00000000 0000 01 00",    "00000000 0000 09'consumer' 02'r' 01 00",
        };
        check_with(node, 14, v, id, bodies[v], answers[v]);
    }
    check_with(node, 14, 5, id, "02'h' 00000001 $m 02'i' 09'consumer' 02'x' 01 00",
               "00000000 0017 00 00 01 00");
    check_with(node, 14, 3, id, "0001'h' 00000002 $m 0001'i' 00000000", "00000000 0016 00000000");
    node_check(node, 14, 0, "0001'h' 00000001 0001'm' 00000000", "0019 00000000");
    node_check(node, 14, 3, "0001'h' 00000001 0001'm' 0001'i' 00000000", "00000000 0052 00000000");
    check_with(node, 12, 0, id, "0001'h' 00000001 $m", "0000");
    check_with(node, 12, 1, id, "0001'h' 00000001 $m", "00000000 0000");
    check_with(node, 12, 3, id, "0001'h' 00000001 $m 0001'i'", "00000000 0000");
    check_with(node, 12, 4, id, "02'h' 00000001 $m 02'i' 00", "00000000 0000 00");
    check_with(node, 12, 4, id, "02'h' 00000002 $m 02'i' 00", "00000000 0016 00");
    node_check(node, 12, 2, "0001'h' 00000001 0001'm'", "00000000 0019");
    node_check(node, 12, 3, "0001'h' 00000001 0001'm' 0001'i'", "00000000 0052");
    node_check(node, 12, 0, "0001'?' 00000001 0001'm'", "0019");
}

static void sync_group_and_heartbeat(void **state)
{
    (void)state;
    on_each_engine(check_sync_and_heartbeat);
}

static void check_leave(struct node *node)
{
    static const struct golden rows[] = {
        {0, 0, "0001'h' 0001'm'", "0019"},
        {1, 2, "0001'h' 0001'm'", "00000000 0019"},
        {3, 3, "0001'h' 00000001 0001'm' ffff", "00000000 0000 00000001 0001'm' ffff 0019"},
        {4, 4, "02'h' 02 02'm' 02'i' 00 00", "00000000 0000 02 02'm' 02'i' 0052 00 00"},
        /* By its name alone, as an administrator does; and it is gone. */
        {5, 5, "02'h' 02 01 02'i' 04'why' 00 00", "00000000 0000 02 01 02'i' 0000 00 00"},
        {5, 5, "02'h' 02 01 02'i' 00 00 00", "00000000 0000 02 01 02'i' 0019 00 00"},
    };
    char id[40];
    join_static(node, id);
    GOLDEN_CHECK(node, 13, rows);
}

static void leave_group(void **state)
{
    (void)state;
    on_each_engine(check_leave);
}

/* --- Offsets. --- */

#define NOBODY   "ffffffff 0000 "
#define NOBODY_8 "ffffffff 01 "

static void check_commit(struct node *node)
{
    static const struct golden rows[] = {
        {2, 2,
         "0001'c' " NOBODY "ffffffffffffffff 00000001 0001't' 00000001 00000000 "
         "0000000000000007 0001'x'",
         "00000001 0001't' 00000001 00000000 0000"},
        {3, 4,
         "0001'c' " NOBODY "ffffffffffffffff 00000001 0001't' 00000001 00000000 "
         "0000000000000007 ffff",
         "00000000 00000001 0001't' 00000001 00000000 0000"},
        {5, 5, "0001'c' " NOBODY "00000001 0001't' 00000001 00000000 0000000000000007 ffff",
         "00000000 00000001 0001't' 00000001 00000000 0000"},
        {6, 6,
         "0001'c' " NOBODY "00000001 0001't' 00000001 00000000 0000000000000007 00000003 ffff",
         "00000000 00000001 0001't' 00000001 00000000 0000"},
        {7, 7,
         "0001'c' " NOBODY "ffff 00000001 0001't' 00000001 00000000 0000000000000007 00000003 ffff",
         "00000000 00000001 0001't' 00000001 00000000 0000"},
        {8, 9,
         "02'c' " NOBODY_8 "00 02 02't' 02 00000001 0000000000000009 00000004 03'md' 00 00 00",
         "00000000 02 02't' 02 00000001 0000 00 00 00"},
        /* Topics and partitions that are not there; a member that is not; a name that is none. */
        {5, 5,
         "0001'c' " NOBODY "00000002 0001't' 00000001 00000002 0000000000000007 ffff "
         "0001'u' 00000001 00000000 0000000000000007 ffff",
         "00000000 00000002 0001't' 00000001 00000002 0003 0001'u' 00000001 00000000 0003"},
        {5, 5, "0001'c' 00000001 0001'm' 00000001 0001't' 00000001 00000000 0000000000000007 ffff",
         "00000000 00000001 0001't' 00000001 00000000 0019"},
        {5, 5, "0001'd' 00000001 0001'm' 00000001 0001't' 00000001 00000000 0000000000000007 ffff",
         "00000000 00000001 0001't' 00000001 00000000 0016"},
        {5, 5, "0000 " NOBODY "00000001 0001't' 00000001 00000000 0000000000000007 ffff",
         "00000000 00000001 0001't' 00000001 00000000 0018"},
    };
    GOLDEN_CHECK(node, 8, rows);
}

static void check_fetch(struct node *node)
{
    static const struct golden rows[] = {
        {1, 1, "0001'c' 00000001 0001't' 00000002 00000000 00000001",
         "00000001 0001't' 00000002 00000000 0000000000000007 0000 0000 "
         "00000001 0000000000000009 0002'md' 0000"},
        {2, 2, "0001'c' 00000001 0001't' 00000001 00000000",
         "00000001 0001't' 00000001 00000000 0000000000000007 0000 0000 0000"},
        {2, 2, "0001'c' ffffffff",
         "00000001 0001't' 00000002 00000000 0000000000000007 0000 0000 "
         "00000001 0000000000000009 0002'md' 0000 0000"},
        {3, 4, "0001'c' 00000001 0001't' 00000001 00000000",
         "00000000 00000001 0001't' 00000001 00000000 0000000000000007 0000 0000 0000"},
        {5, 5, "0001'c' 00000001 0001't' 00000001 00000000",
         "00000000 00000001 0001't' 00000001 00000000 0000000000000007 00000003 0000 0000 0000"},
        {6, 6, "02'c' 02 02't' 02 00000001 00 00",
         "00000000 02 02't' 02 00000001 0000000000000009 00000004 03'md' 0000 00 00 0000 00"},
        {7, 7, "02'c' 00 01 00",
         "00000000 02 02't' 03 00000000 0000000000000007 00000003 01 0000 00 "
         "00000001 0000000000000009 00000004 03'md' 0000 00 00 0000 00"},
        {8, 8, "03 02'c' 02 02't' 02 00000001 00 00 02'e' 02 02't' 02 00000001 00 00 00 00",
         "00000000 03 02'c' 02 02't' 02 00000001 0000000000000009 00000004 03'md' 0000 00 00 0000 "
         "00 02'e' 02 02't' 02 00000001 ffffffffffffffff ffffffff 01 0000 00 00 0000 00 00"},
        {9, 9, "02 02'c' 00 ffffffff 02 02't' 02 00000001 00 00 00 00",
         "00000000 02 02'c' 02 02't' 02 00000001 0000000000000009 00000004 03'md' 0000 00 00 0000 "
         "00 00"},
        /* A member that is not one; nothing where nothing was committed, or can be. */
        {9, 9, "02 02'c' 02'm' 00000001 00 00 00 00", "00000000 02 02'c' 01 0019 00 00"},
        {2, 2, "0001'e' ffffffff", "00000000 0000"},
        {2, 2, "0001'c' 00000001 0001'u' 00000001 00000005",
         "00000001 0001'u' 00000001 00000005 ffffffffffffffff 0000 0000 0000"},
    };
    /* Before anybody committed: no topic is made for a question. */
    node_check(node, 9, 2, "0001'c' 00000001 0001't' 00000001 00000000",
               "00000001 0001't' 00000001 00000000 ffffffffffffffff 0000 0000 0000");
    assert_int_equal(group_partition_count(node->net), 0);
    check_commit(node);
    GOLDEN_CHECK(node, 9, rows);
}

static void offset_commit_and_fetch(void **state)
{
    (void)state;
    on_each_engine(check_fetch);
}

static void check_offset_delete(struct node *node)
{
    static const struct golden rows[] = {
        {0, 0, "0001'c' 00000001 0001't' 00000001 00000000",
         "0000 00000000 00000001 0001't' 00000001 00000000 0000"},
        {0, 0, "0001'c' 00000001 0001'u' 00000001 00000000",
         "0000 00000000 00000001 0001'u' 00000001 00000000 0003"},
        {0, 0, "0001'e' 00000001 0001't' 00000001 00000000", "0045 00000000 00000000"},
    };
    check_commit(node);
    GOLDEN_CHECK(node, 47, rows);
    node_check(node, 9, 2, "0001'c' ffffffff",
               "00000001 0001't' 00000001 00000001 0000000000000009 0002'md' 0000 0000");
}

static void offset_delete(void **state)
{
    (void)state;
    on_each_engine(check_offset_delete);
}

/* --- What administrators ask. --- */

static void check_admin(struct node *node)
{
    static const struct golden describe[] = {
        {0, 0, "00000001 0001'c'", "00000001 0000 0001'c' 0005'Empty' 0000 0000 00000000"},
        {1, 2, "00000001 0001'c'", "00000000 00000001 0000 0001'c' 0005'Empty' 0000 0000 00000000"},
        {3, 3, "00000001 0001'e' 00",
         "00000000 00000001 0000 0001'e' 0004'Dead' 0000 0000 00000000 80000000"},
        {4, 4, "00000001 0001'h' 00",
         "00000000 00000001 0000 0001'h' 0006'Stable' 0008'consumer' 0001'r' 00000001 "
         "0022'i-'" DIGITS_8 DIGITS_8 DIGITS_8 DIGITS_8
         "0001'i' 0004'test' 000a'/127.0.0.1' 00000000 00000000 80000000"},
        {5, 5, "02 02'e' 00 00", "00000000 02 0000 02'e' 05'Dead' 01 01 01 80000000 00 00"},
        {6, 6, "02 02'e' 00 00",
         "00000000 02 0045 17'there is no such group' 02'e' 05'Dead' 01 01 01 80000000 00 00"},
    };
    static const struct golden list[] = {
        {4, 4, "02 06'empty' 00", "00000000 0000 02 02'c' 01 06'Empty' 00 00"},
        {4, 4, "02 07'Stable' 00", "00000000 0000 02 02'h' 09'consumer' 07'Stable' 00 00"},
        {5, 5, "02 06'Empty' 02 08'Classic' 00",
         "00000000 0000 02 02'c' 01 06'Empty' 08'classic' 00 00"},
        {5, 5, "01 02 09'consumer' 00", "00000000 0000 01 00"},
    };
    static const struct golden remove[] = {
        {0, 0, "00000001 0001'h'", "00000000 00000001 0001'h' 0044"},
        {1, 1, "00000001 0001'e'", "00000000 00000001 0001'e' 0045"},
        {2, 2, "03 02'c' 02'c' 00", "00000000 03 02'c' 0000 00 02'c' 0045 00 00"},
    };
    char id[40];
    node_check(node, 16, 0, "", "0000 00000000");
    node_check(node, 42, 0, "00000001 0001'c'", "00000000 00000001 0001'c' 0045");
    check_commit(node);
    join_static(node, id);
    check_with(node, 14, 0, id, "0001'h' 00000001 $m 00000000", "0000 00000000");
    GOLDEN_CHECK(node, 15, describe);
    GOLDEN_CHECK(node, 16, list);
    GOLDEN_CHECK(node, 42, remove);
    node_check(node, 16, 0, "", "0000 00000001 0001'h' 0008'consumer'");
    node_check(node, 16, 1, "", "00000000 0000 00000001 0001'h' 0008'consumer'");
    node_check(node, 16, 3, "00", "00000000 0000 02 02'h' 09'consumer' 00 00");
}

static void describe_list_and_delete_groups(void **state)
{
    (void)state;
    on_each_engine(check_admin);
}

/* --- The internal topic. --- */

static void check_internal(struct node *node)
{
    check_commit(node);
    /* It is told as internal, and nobody writes to it, makes it, cuts it or deletes it. */
    node_check(node, 3, 1, "00000001 0012'__consumer_offsets'",
               "00000001 00000001 0006'b.test' 00002384 ffff 00000001 00000001 0000 "
               "0012'__consumer_offsets' 01 00000002 *");
    uint8_t batch[128];
    struct bytes insert = wire_plain_batch(1, 1000, batch, sizeof(batch));
    node_ask_with(node, 0, 7,
                  "ffff ffff 00007530 00000001 0012'__consumer_offsets' 00000001 00000000 $4",
                  insert);
    node_expect(node, 0, 7,
                "00000001 0012'__consumer_offsets' 00000001 00000000 0011 ffffffffffffffff "
                "ffffffffffffffff ffffffffffffffff 00000000");
    node_check(node, 20, 1, "00000001 0012'__consumer_offsets' 00007530",
               "00000000 00000001 0012'__consumer_offsets' 0011");
    node_check(
        node, 21, 0,
        "00000001 0012'__consumer_offsets' 00000001 00000000 ffffffffffffffff 00007530",
        "00000000 00000001 0012'__consumer_offsets' 00000001 00000000 ffffffffffffffff 0011");
    node_ask(node, 19, 2,
             "00000001 0012'__consumer_offsets' 00000001 0001 00000000 00000000 00007530 00");
    node_expect(node, 19, 2, "00000000 00000001 0012'__consumer_offsets' 0011 *");
}

static void the_internal_topic_is_the_engines_own(void **state)
{
    (void)state;
    on_each_engine(check_internal);
}

/* All is forgotten, and read from the log again: members, generation, offsets. */
static void check_replay(struct node *node)
{
    char id[40];
    check_commit(node);
    join_static(node, id);
    check_with(node, 14, 0, id, "0001'h' 00000001 $m 00000000", "0000 00000000");
    node_check(node, 42, 0, "00000001 0001'e'", "00000000 00000001 0001'e' 0045");
    for (uint32_t i = 0; i < 3; i++) {
        group_core_stop(node->net->groups);
        node_settle(node);
        group_core_close(node->net->groups);
        enum err err = group_core_open(&node->net->groups, node->net, &node->net->options.groups);
        assert_int_equal(err, OK);
        check_with(node, 12, 0, id, "0001'h' 00000001 $m", "0000");
        check_with(node, 14, 0, id, "0001'h' 00000001 $m 00000000", "0000 00000000");
        node_check(node, 9, 2, "0001'c' ffffffff",
                   "00000001 0001't' 00000002 00000000 0000000000000007 0000 0000 "
                   "00000001 0000000000000009 0002'md' 0000 0000");
    }
    node_check(node, 42, 0, "00000001 0001'c'", "00000000 00000001 0001'c' 0000");
    group_core_stop(node->net->groups);
    node_settle(node);
    group_core_close(node->net->groups);
    enum err err = group_core_open(&node->net->groups, node->net, &node->net->options.groups);
    assert_int_equal(err, OK);
    node_check(node, 9, 2, "0001'c' ffffffff", "00000000 0000");
}

static void what_was_acked_is_read_again(void **state)
{
    (void)state;
    on_each_engine(check_replay);
}

/* The log is cut, and stays short, however often one offset is committed. */
static void check_compaction(struct node *node)
{
    struct group_options options = node->net->options.groups;
    options.compact_bytes = 4096;
    options.partitions = 1;
    group_core_close(node->net->groups);
    enum err err = group_core_open(&node->net->groups, node->net, &options);
    assert_int_equal(err, OK);
    check_commit(node);
    for (uint32_t i = 0; i < 200; i++) {
        node_check(node, 8, 5,
                   "0001'c' " NOBODY "00000001 0001't' 00000001 00000000 0000000000000008 ffff",
                   "00000000 00000001 0001't' 00000001 00000000 0000");
    }
    node_settle(node);
    /* Where its log starts; each commit was a record. */
    node_ask(node, 2, 1,
             "ffffffff 00000001 0012'__consumer_offsets' 00000001 00000000 fffffffffffffffe");
    node->answered++;
    uint8_t answer[4 + 4 + 4 + 20 + 4 + 4 + 2 + 8 + 8];
    assert_int_equal(client_receive(&node->client, answer, sizeof(answer)), sizeof(answer));
    assert_true(load_be64(answer + sizeof(answer) - 8) > 100);
    group_core_stop(node->net->groups);
    node_settle(node);
    group_core_close(node->net->groups);
    err = group_core_open(&node->net->groups, node->net, &options);
    assert_int_equal(err, OK);
    node_check(node, 9, 2, "0001'c' ffffffff",
               "00000001 0001't' 00000002 00000000 0000000000000008 0000 0000 "
               "00000001 0000000000000009 0002'md' 0000 0000");
}

static void the_log_is_cut_where_nothing_lives(void **state)
{
    (void)state;
    on_each_engine(check_compaction);
}

/* A join that is parked comes home when its connection goes, and nobody waits for its member. */
static void check_parked(struct node *node)
{
    char id[40];
    join_static(node, id);
    node_ask(node, 11, 3,
             "0001'h' " SESSION REBALANCE " 0000 " CONSUMER " 00000001 0001'r' 00000000");
    node_settle(node);
    assert_int_equal(client_available(&node->client), 0);
    node_reconnect(node);
    node_settle(node);
    node_check(node, 15, 0, "00000001 0001'h'",
               "00000001 0000 0001'h' 0012'PreparingRebalance' 0008'consumer' 0000 00000001 *");
}

static void a_parked_join_goes_with_its_connection(void **state)
{
    (void)state;
    on_each_engine(check_parked);
}

/* Version 0 has no rebalance timeout, others may say -1: then it is the session's. Another one that
 * joins waits so long for the first; with none, that would be gone at once. */
static void check_patience(struct node *node)
{
    static const struct golden rows[] = {
        {0, 0, "0002'p0' " SESSION " 0000 " CONSUMER " 00000001 0001'r' 00000000",
         "0000 00000001 0001'r' " MEMBER MEMBER "00000001 " MEMBER "00000000"},
        {1, 1, "0002'p1' " SESSION " ffffffff 0000 " CONSUMER " 00000001 0001'r' 00000000",
         "0000 00000001 0001'r' " MEMBER MEMBER "00000001 " MEMBER "00000000"},
    };
    GOLDEN_CHECK(node, 11, rows);
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        node_ask(node, 11, rows[i].version_first, rows[i].body);
        node_settle(node);
        assert_int_equal(client_available(&node->client), 0);
        node_reconnect(node);
    }
}

static void a_member_without_a_rebalance_timeout_is_waited_for(void **state)
{
    (void)state;
    on_each_engine(check_patience);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(join_group),
        cmocka_unit_test(sync_group_and_heartbeat),
        cmocka_unit_test(leave_group),
        cmocka_unit_test(offset_commit_and_fetch),
        cmocka_unit_test(offset_delete),
        cmocka_unit_test(describe_list_and_delete_groups),
        cmocka_unit_test(the_internal_topic_is_the_engines_own),
        cmocka_unit_test(what_was_acked_is_read_again),
        cmocka_unit_test(the_log_is_cut_where_nothing_lives),
        cmocka_unit_test(a_parked_join_goes_with_its_connection),
        cmocka_unit_test(a_member_without_a_rebalance_timeout_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
