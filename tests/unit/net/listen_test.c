/* `listen`: what is an address to listen on, and what is said of what is none. */
#include "net/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What is parsed, as `protocol://address`, separated by blanks; "!" behind [::] without IPv4. */
static void addresses_are_read(void **state)
{
    static const struct {
        const char *text, *wanted;
    } rows[] = {
        {"any://0.0.0.0:9092", "any://0.0.0.0:9092"},
        {"0.0.0.0:9092", "any://0.0.0.0:9092"},
        {":9092", "any://0.0.0.0:9092"},
        {"kafka://localhost:1", "kafka://127.0.0.1:1"},
        {"[::]:9092", "any://[::]:9092"},
        {"resp://[::1]:0", "resp://[::1]:0"},
        {"any://[::ffff:10.0.0.1]:80", "any://10.0.0.1:80"},
        {"http://[fe80::1]:65535", "http://[fe80::1]:65535"},
        {" kafka://127.0.0.1:1 , resp://127.0.0.1:2 ", "kafka://127.0.0.1:1 resp://127.0.0.1:2"},
        {"127.0.0.1:1,127.0.0.2:1", "any://127.0.0.1:1 any://127.0.0.2:1"},
        {"127.0.0.1:0,127.0.0.1:0", "any://127.0.0.1:0 any://127.0.0.1:0"},
        {"0.0.0.0:1,[::]:1", "any://0.0.0.0:1 any://[::]:1!"},
        {"[::]:1,127.0.0.1:1", "any://[::]:1! any://127.0.0.1:1"},
        {"[::]:1,127.0.0.1:2", "any://[::]:1 any://127.0.0.1:2"},
        {"[::]:1,[::1]:2", "any://[::]:1 any://[::1]:2"},
        {":1,:2,:3,:4,:5,:6,:7,:8",
         "any://0.0.0.0:1 any://0.0.0.0:2 any://0.0.0.0:3 any://0.0.0.0:4 "
         "any://0.0.0.0:5 any://0.0.0.0:6 any://0.0.0.0:7 any://0.0.0.0:8"},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct net_listen listen[NET_LISTEN_MAX];
        char message[NET_MESSAGE_BYTES], found[1024] = "", text[IO_ADDRESS_TEXT_BYTES];
        uint32_t count;
        assert_int_equal(net_parse_listen(rows[i].text, listen, &count, message), OK);
        assert_string_equal(message, "");
        for (uint32_t j = 0; j < count; j++) {
            size_t used = strlen(found);
            snprintf(found + used, sizeof(found) - used, "%s%s://%s%s", j > 0 ? " " : "",
                     net_protocol_name(listen[j].protocol),
                     io_address_text(&listen[j].address, text), listen[j].six_only ? "!" : "");
        }
        assert_string_equal(found, rows[i].wanted);
    }
}

static void what_is_no_address_is_told_what_is(void **state)
{
    static const struct {
        const char *text, *said;
    } rows[] = {
        {"", "an address is empty or too long"},
        {"127.0.0.1:1,", "an address is empty or too long"},
        {"redis://127.0.0.1:1", "unknown protocol; use any://, kafka://, resp://"},
        {"any://", "the port is missing"},
        {"0.0.0.0", "the port is missing"},
        {"any://broker.example:9092", "no numeric host:port, as in any://0.0.0.0:9092"},
        {"any://0.0.0.0:", "no numeric host:port"},
        {"any://0.0.0.0:65536", "no numeric host:port"},
        {"any://0.0.0.0:-1", "no numeric host:port"},
        {"any://0.0.0.0:9092/", "no numeric host:port"},
        {"any://::1:9092", "an IPv6 address stands in brackets"},
        {"any://:::9092", "an IPv6 address stands in brackets"},
        {"any://[::1]", "no numeric host:port"},
        {":1,:2,:3,:4,:5,:6,:7,:8,:9", "more than 8 addresses"},
        {"127.0.0.1:1,127.0.0.1:1", "127.0.0.1:1 is given twice: give it once, or another port"},
        {"127.0.0.1:1,0.0.0.0:1", "127.0.0.1:1 is part of 0.0.0.0:1: give one of them, or"},
        {"kafka://0.0.0.0:1,http://127.0.0.1:1", "127.0.0.1:1 is part of 0.0.0.0:1"},
        {"[::1]:1,[::]:1", "[::1]:1 is part of [::]:1"},
        {"[::]:1,0.0.0.0:1,[::]:1", "[::]:1 is given twice"},
    };

    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct net_listen listen[NET_LISTEN_MAX];
        char message[NET_MESSAGE_BYTES];
        uint32_t count;
        assert_int_equal(net_parse_listen(rows[i].text, listen, &count, message), ERR_INVALID);
        assert_ptr_equal(strstr(message, "listen: "), message);
        if (strstr(message, rows[i].said) == NULL) {
            assert_string_equal(message, rows[i].said);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read),
        cmocka_unit_test(what_is_no_address_is_told_what_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
