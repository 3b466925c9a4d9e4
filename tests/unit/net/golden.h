/* Tables of what is asked and answered, byte by byte, for the versions of one layout. */
#pragma once

#include "core/base.h"
#include "tests/unit/net/node.h"

/* The id of topic "t", which node.c's fixture has with one partition. */
#define ID_T "5a5a5a5a 5a5a5a5a 5a5a5a5a 5a5a5a5a"

struct golden {
    int16_t version_first, version_last;
    const char *body, *answer;
};

/* Runs the claim on a node of each engine, with topic "t". */
void golden_on_each_engine(void (*claim)(struct node *node));

/* Asks each row in each of its versions; `sent` and `stored` are what "$" inserts. */
void golden_check(struct node *node, int16_t key, const struct golden *rows, uint32_t count,
                  struct bytes sent, struct bytes stored);

#define GOLDEN_CHECK(node, key, rows)                                                              \
    golden_check(node, key, rows, ARRAY_COUNT(rows), (struct bytes){0}, (struct bytes){0})
