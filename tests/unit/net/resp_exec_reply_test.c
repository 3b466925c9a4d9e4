/* Replies of a transaction: each command has one, whatever memory there is. */
#include "net/resp/exec_reply.h"

#include "core/assert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT_BYTES = 64 << 20, COMMANDS = 2000, HELD_MAX = 64 };

static struct memory *open_memory(void)
{
    struct memory *memory;
    const struct memory_options options = {.limit_bytes = LIMIT_BYTES, .numa_node = -1};
    assert_int_equal(memory_open(&memory, &options), OK);
    return memory;
}

static void add(struct exec_reply *reply, struct memory *memory, uint8_t fill, uint32_t size,
                uint32_t left)
{
    static uint8_t bytes[1 << 20];
    memset(bytes, fill, size);
    struct iovec halves[] = {{.iov_base = bytes, .iov_len = size / 2},
                             {.iov_base = bytes + size / 2, .iov_len = size - size / 2}};
    exec_reply_add(reply, memory, halves, 2, left);
}

/* The next reply in the pieces, of `fill` or the words that there was no room; how many bytes. */
struct cursor {
    const struct exec_reply *reply;
    uint32_t piece;
    uint64_t at;
};

static uint8_t next_byte(struct cursor *cursor)
{
    while (cursor->at == cursor->reply->pieces[cursor->piece].iov_len) {
        cursor->piece++;
        cursor->at = 0;
        assert_true(cursor->piece < cursor->reply->piece_count);
    }
    return ((const uint8_t *)cursor->reply->pieces[cursor->piece].iov_base)[cursor->at++];
}

static bool next_is(struct cursor *cursor, uint8_t fill, uint32_t size)
{
    uint8_t first = next_byte(cursor);
    if (first == '-') {
        while (next_byte(cursor) != '\n') {
        }
        return false;
    }
    assert_int_equal(first, fill);
    for (uint32_t i = 1; i < size; i++) {
        assert_int_equal(next_byte(cursor), fill);
    }
    return true;
}

static uint32_t size_of(uint32_t i)
{
    static const uint32_t sizes[] = {1, 48, 64, 65, 700, 30000, 64, 5};
    return sizes[i * 7 % ARRAY_COUNT(sizes)];
}

/* The room is gone in the middle: what comes then is short. */
static void check(uint32_t hold_from, uint32_t *short_count)
{
    struct memory *memory = open_memory();
    struct exec_reply reply;
    struct block *held[HELD_MAX];
    uint32_t held_count = 0;
    assert_int_equal(exec_reply_open(&reply, memory, COMMANDS), 0);
    exec_reply_begin(&reply, COMMANDS, 2);
    for (uint32_t i = 0; i < COMMANDS; i++) {
        if (i == hold_from) {
            for (uint32_t size = memory_block_max(memory); size >= BLOCK_SIZE_MIN; size /= 2) {
                struct block *block;
                while (held_count < HELD_MAX &&
                       (block = block_acquire(memory, MEMORY_SEND, size)) != NULL) {
                    held[held_count++] = block;
                }
            }
        }
        add(&reply, memory, (uint8_t)('a' + i % 26), size_of(i), COMMANDS - 1 - i);
    }
    struct cursor cursor = {.reply = &reply};
    static const char head[] = "*2000\r\n";
    for (uint32_t i = 0; i < sizeof(head) - 1; i++) {
        assert_int_equal(next_byte(&cursor), head[i]);
    }
    *short_count = 0;
    for (uint32_t i = 0; i < COMMANDS; i++) {
        bool whole = next_is(&cursor, (uint8_t)('a' + i % 26), size_of(i));
        assert_true(whole || size_of(i) > EXEC_ANSWER_BYTES);
        *short_count += whole ? 0 : 1;
    }
    assert_true(reply.bytes <= EXEC_REPLY_BYTES_MAX);
    exec_reply_close(&reply);
    while (held_count > 0) {
        block_unref(held[--held_count]);
    }
    memory_close(memory);
}

static void every_command_has_its_reply(void **state)
{
    (void)state;
    uint32_t all, some, most;
    check(COMMANDS, &all);
    check(COMMANDS / 2, &some);
    check(0, &most);
    assert_int_equal(all, 0);
    assert_true(some > 0);
    assert_true(most > some);
}

static void no_memory_for_the_least_is_told(void **state)
{
    (void)state;
    struct memory *memory = open_memory();
    struct exec_reply reply;
    struct block *held[HELD_MAX];
    uint32_t count = 0;
    while (count < HELD_MAX &&
           (held[count] = block_acquire(memory, MEMORY_SEND, memory_block_max(memory))) != NULL) {
        count++;
    }
    assert_true(exec_reply_open(&reply, memory, memory_block_max(memory) / 80) > 0);
    while (count > 0) {
        block_unref(held[--count]);
    }
    memory_close(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_has_its_reply),
        cmocka_unit_test(no_memory_for_the_least_is_told),
    };
    return cmocka_run_group_tests_name("net/resp_exec_reply", tests, NULL, NULL);
}
