/* See the header. */
#include "tests/unit/net/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

void golden_on_each_engine(void (*claim)(struct node *node))
{
    node_on_each_engine(1, claim);
}

void golden_check(struct node *node, int16_t key, const struct golden *rows, uint32_t count,
                  struct bytes sent, struct bytes stored)
{
    for (uint32_t i = 0; i < count; i++) {
        for (int16_t v = rows[i].version_first; v <= rows[i].version_last; v++) {
            node_ask_with(node, key, v, rows[i].body, sent);
            node_expect_with(node, key, v, rows[i].answer, stored);
        }
    }
}
