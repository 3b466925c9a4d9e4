/* What a test says to the door and hears from it; see door.h. */
#include "tests/unit/net/door.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void door_each_engine(void (*claim)(struct door *door))
{
    uint32_t count;
    const struct io_engine *const *list = door_engines(&count);
    for (uint32_t i = 0; i < count; i++) {
        struct door *door = aligned_alloc(_Alignof(struct door), sizeof(*door));
        assert_non_null(door);
        door_open(door, list[i], DOOR_CONNECTIONS);
        claim(door);
        door_close(door);
        free(door);
    }
}

void door_connect(struct client *client, struct door *door)
{
    client_open(client, &door->reactor, door->port, 0);
}

/* The frame {kind, text} at `at`; how long it is. */
uint32_t door_put(uint8_t *at, char kind, const char *text)
{
    uint32_t size = (uint32_t)strlen(text) + 1;
    store_be32(at, size);
    at[4] = (uint8_t)kind;
    memcpy(at + 5, text, size - 1);
    return size + 4;
}

uint32_t door_put_number(uint8_t *at, char kind, uint32_t number)
{
    store_be32(at, 5);
    at[4] = (uint8_t)kind;
    store_be32(at + 5, number);
    return 9;
}

void door_ask(struct client *client, char kind, const char *text)
{
    uint8_t frame[512];
    client_send(client, frame, door_put(frame, kind, text));
}

void door_expect(struct client *client, char kind, const char *text)
{
    uint8_t wanted[512];
    uint8_t got[512] = {0};
    uint32_t size = door_put(wanted, kind, text);
    assert_int_equal(client_receive(client, got, size), size);
    assert_memory_equal(got, wanted, size);
}

void door_expect_pattern(struct client *client, uint32_t size)
{
    uint8_t *got = malloc(size);
    assert_non_null(got);
    assert_int_equal(client_receive(client, got, size), size);
    for (uint32_t i = 0; i < size; i++) {
        assert_int_equal(got[i], i % 251);
    }
    free(got);
}

/* A client that asks for 16 MiB and reads nothing. */
void door_ask_and_never_read(struct client *client, struct door *door)
{
    client_open(client, &door->reactor, door->port, 4096);
    uint8_t frames[1024];
    uint32_t size = 0;
    for (uint32_t i = 0; i < 64; i++) {
        size += door_put_number(frames + size, 'b', DOOR_BIG);
    }
    client_send(client, frames, size);
    door_settle(door);
}
