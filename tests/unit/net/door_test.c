/* Who speaks, told by the first bytes: of each protocol, of what looks like another one, and with
 * no more bytes than it takes. */
#include "net/door.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* `decided`: with fewer bytes it cannot be told, with as many it is. */
struct row {
    const char *bytes;
    uint32_t size, decided;
    enum door_guess guess;
};

#define ROW(text, decided, guess)                                                                  \
    {                                                                                              \
        text, sizeof(text) - 1, decided, guess                                                     \
    }

static const struct row rows[] = {
    /* Walrus: lengths of a GET, of 'A' and 'z' bytes, of "*0" bytes, of 65,535. */
    ROW("\x08\0\0\0GET logs", 5, DOOR_WALRUS),
    ROW("A\0\0\0PUT logs", 5, DOOR_WALRUS),
    ROW("z\0\0\0PUT logs", 5, DOOR_WALRUS),
    ROW("*0\0\0PUT logs", 5, DOOR_WALRUS),
    ROW("GE\0\0PUT logs", 5, DOOR_WALRUS),
    ROW("\x16\x03\0\0PUT logs", 5, DOOR_WALRUS),
    ROW("\xff\xff\0\0REGISTER", 5, DOOR_WALRUS),
    ROW("\x08\0\0\0get logs", 5, DOOR_WALRUS),
    ROW("\0\0\0\0GET logs", 5, DOOR_WALRUS),
    /* Kafka: ApiVersions; the longest frame; one of 64 KiB, whose low bytes are zero. */
    ROW("\0\0\0\x23\0\x12\0\3", 5, DOOR_KAFKA),
    ROW("\x06\x40\0\0\0\0\0\7", 5, DOOR_KAFKA),
    ROW("\0\1\0\0\0\0\0\7", 5, DOOR_KAFKA),
    ROW("\0\0\0\0\0\0\0\0", 5, DOOR_KAFKA),
    /* One byte longer than the longest; a key of 256 and more. */
    ROW("\x06\x40\0\1\0\0\0\7", 4, DOOR_NONE),
    ROW("\0\0\0\x23\1\x12\0\3", 5, DOOR_NONE),
    ROW("\0\0\0\x23G\x12\0\3", 5, DOOR_NONE),
    ROW("\xff\xff\xff\xff\0\x12", 3, DOOR_NONE),
    /* TLS: a hello of 512 bytes, one of 300; an alert; SSL 2. */
    ROW("\x16\3\1\2\0\1\0\1\xfc", 6, DOOR_TLS),
    ROW("\x16\3\3\1\x2c\1\0\1", 6, DOOR_TLS),
    ROW("\x15\3\1\0\2\2\0", 3, DOOR_NONE),
    ROW("\x16\3\1\2\0\2\0\1", 6, DOOR_NONE),
    ROW("\x16\2\1\2\0\1\0\1", 3, DOOR_NONE),
    /* RESP. */
    ROW("*1\r\n$4\r\nPING\r\n", 3, DOOR_RESP),
    ROW("*0\r\n", 3, DOOR_RESP),
    ROW("PING\r\n", 6, DOOR_RESP),
    ROW("PING\n", 5, DOOR_RESP),
    ROW("\r\n", 2, DOOR_MORE),
    ROW("\r\nPING", 3, DOOR_RESP),
    ROW("a\r\n", 3, DOOR_RESP),
    ROW("*\r\n", 3, DOOR_RESP),
    ROW("*-1\r\n", 5, DOOR_RESP),
    ROW("get 'a b' HTTP/1.1x\r\n", 21, DOOR_RESP),
    ROW("PRI * HTTP/2.0\r\n", 16, DOOR_RESP),
    ROW(" HTTP/1.1\r\n", 11, DOOR_RESP),
    ROW("HTTP/1.1 200 OK\r\n", 17, DOOR_RESP),
    /* HTTP. */
    ROW("GET / HTTP/1.1\r\n", 16, DOOR_HTTP),
    ROW("GET / HTTP/1.0\n", 15, DOOR_HTTP),
    ROW("POST /topics/orders HTTP/1.1\r\nHost: a\r\n", 30, DOOR_HTTP),
    /* Neither. */
    ROW("\x80zz", 3, DOOR_NONE),
    ROW("\x7fzz", 3, DOOR_NONE),
};

static void first_bytes_tell_the_protocol(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        const struct row *row = &rows[i];
        uint32_t position = 0;
        assert_int_equal(door_guess(bytes_of(row->bytes, row->size), &position), row->guess);
        position = 0;
        for (uint32_t size = 0; size <= row->size && row->guess != DOOR_MORE; size++) {
            /* Of exact size: the sanitizer sees each byte that is read beyond. */
            uint8_t *copy = malloc(size + (size == 0));
            assert_non_null(copy);
            memcpy(copy, row->bytes, size);
            enum door_guess guess = door_guess(bytes_of(copy, size), &position);
            free(copy);
            if (guess != DOOR_MORE) {
                assert_int_equal(guess, row->guess);
                assert_int_equal(size, row->decided);
                break;
            }
            assert_true(size < row->size);
        }
    }
}

/* All lengths that a first frame of Walrus can have, with each verb: none is taken for another
 * protocol. And no length that Kafka allows, with each key, is taken for Walrus. */
static void a_length_never_looks_like_another_protocol(void **state)
{
    (void)state;
    static const char *const verbs[] = {"REGISTER", "PUT", "GET", "STATE", "METRICS"};
    uint8_t bytes[8] = {0};
    for (uint32_t length = 1; length <= UINT16_MAX; length++) {
        store_le32(bytes, length);
        for (uint32_t i = 0; i < 5; i++) {
            uint32_t position = 0;
            bytes[4] = (uint8_t)verbs[i][0];
            assert_int_equal(door_guess(bytes_of(bytes, 5), &position), DOOR_WALRUS);
        }
    }
    for (uint32_t length = 8; length <= 100 << 20; length += length < 1 << 20 ? 1 : 4093) {
        uint32_t position = 0;
        store_be32(bytes, length);
        bytes[4] = 0;
        assert_int_equal(door_guess(bytes_of(bytes, 5), &position), DOOR_KAFKA);
    }
}

static void a_first_line_is_looked_at_once_and_no_further_than_its_bound(void **state)
{
    (void)state;
    static uint8_t line[DOOR_LINE_BYTES_MAX + 64];
    memset(line, 'a', sizeof(line));
    memcpy(line, "GET /", 5);
    uint32_t position = 0;
    for (uint32_t size = 1; size <= DOOR_LINE_BYTES_MAX; size++) {
        assert_int_equal(door_guess(bytes_of(line, size), &position), DOOR_MORE);
        assert_int_equal(position, size < 3 ? 0 : size);
        line[size - 1] = 0; /* Whoever looks again finds something else, but for the first bytes. */
        memcpy(line, "GET /", 5);
    }
    assert_int_equal(door_guess(bytes_of(line, DOOR_LINE_BYTES_MAX + 1), &position), DOOR_RESP);
    position = 0;
    memcpy(line + DOOR_LINE_BYTES_MAX - 11, " HTTP/1.1\r\n", 11);
    assert_int_equal(door_guess(bytes_of(line, DOOR_LINE_BYTES_MAX), &position), DOOR_HTTP);
}

static void what_is_not_served_has_a_reason(void **state)
{
    (void)state;
    for (uint32_t i = DOOR_KAFKA; i <= DOOR_NONE; i++) {
        bool served = i < NET_PROTOCOL_COUNT && door_protocol((enum net_protocol)i) != NULL;
        assert_true(served == (door_refusal((enum door_guess)i) == NULL));
    }
    assert_null(door_refusal(DOOR_KAFKA));
    assert_non_null(strstr(door_refusal(DOOR_TLS), "TLS"));
    assert_non_null(door_refusal(DOOR_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_bytes_tell_the_protocol),
        cmocka_unit_test(a_length_never_looks_like_another_protocol),
        cmocka_unit_test(a_first_line_is_looked_at_once_and_no_further_than_its_bound),
        cmocka_unit_test(what_is_not_served_has_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
