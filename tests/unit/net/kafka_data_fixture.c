/* See the header. */
#include "tests/unit/net/kafka_data_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void data_on_each_engine(void (*claim)(struct node *node))
{
    node_on_each_engine(3, claim);
}

void data_ask_produce(struct node *node, const char *topic, uint32_t partition, struct bytes batch)
{
    char body[256];
    (void)snprintf(body, sizeof(body), "ffff ffff 00007530 00000001 %04zx'%s' 00000001 %08x $4",
                   strlen(topic), topic, partition);
    node_ask_with(node, 0, 7, body, batch);
}

void data_expect_produced(struct node *node, const char *topic, uint32_t partition, int16_t code,
                          uint64_t offset)
{
    char body[256];
    if (code == 0) {
        (void)snprintf(body, sizeof(body),
                       "00000001 %04zx'%s' 00000001 %08x 0000 %016llx ffffffffffffffff "
                       "0000000000000000 00000000",
                       strlen(topic), topic, partition, (unsigned long long)offset);
    } else {
        (void)snprintf(body, sizeof(body),
                       "00000001 %04zx'%s' 00000001 %08x %04x ffffffffffffffff ffffffffffffffff "
                       "ffffffffffffffff 00000000",
                       strlen(topic), topic, partition, (unsigned)code);
    }
    node_expect(node, 0, 7, body);
}

void data_check_produced(struct node *node, struct bytes batch, int16_t code, uint64_t offset)
{
    data_ask_produce(node, "t", 0, batch);
    data_expect_produced(node, "t", 0, code, offset);
}
