/* The parser of HTTP heads: what is read, and what is refused because two readers could understand
 * it in two ways. */
#include "net/http/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TEXT_BYTES_MAX = 32 << 10 };

/* Scans as the connection does, `step` new bytes at a time, then parses. */
static enum http_found look(struct bytes text, uint32_t step, struct http_head *head,
                            struct http_fault *fault)
{
    struct http_scan scan = {0};
    enum http_found found = HTTP_MORE;
    fault->status = 0;
    for (uint32_t have = 0; have < text.size && found == HTTP_MORE;) {
        have = min_u32(have + step, text.size);
        found = http_scan(&scan, bytes_of(text.data, have), fault);
        assert_true(scan.position <= have);
    }
    if (found == HTTP_WHOLE && !http_head_parse(bytes_of(text.data, scan.position), head, fault)) {
        return HTTP_FAULTY;
    }
    return found;
}

static void check_status(const char *name, struct bytes text, uint16_t status)
{
    static const uint32_t steps[] = {1, 7, TEXT_BYTES_MAX};
    for (uint32_t i = 0; i < ARRAY_COUNT(steps); i++) {
        struct http_head head;
        struct http_fault fault = {0};
        enum http_found found = look(text, steps[i], &head, &fault);
        uint16_t got = found == HTTP_FAULTY ? fault.status : 0;
        if (found == HTTP_MORE || got != status) {
            print_error("%s: found %d, status %u, wanted %u: %s\n", name, found, got, status,
                        fault.status != 0 ? fault.detail : "");
            fail();
        }
        if (status != 0) {
            assert_true(strlen(fault.detail) > 10);
        }
    }
}

/* Smuggling and its relatives; "H" in the table is a good request line with a good Host. */
#define H "POST /v1/topics/t/records HTTP/1.1\r\nHost: localhost\r\n"

static const struct {
    const char *name, *text;
    uint32_t size; /* 0: strlen. */
    uint16_t status;
} cases[] = {
    {"plain", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 0},
    {"old", "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", 0, 0},
    {"options of all", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 0},
    {"length", H "Content-Length: 5\r\n\r\n", 0, 0},
    {"length with blanks around", H "Content-Length: \t 5 \t\r\n\r\n", 0, 0},
    {"no length", H "\r\n", 0, 0},
    {"empty value", H "X-Empty:\r\n\r\n", 0, 0},
    {"bytes above ASCII in a value", H "X-Text: gr\xc3\xbc\xc3\x9f\r\n\r\n", 0, 0},
    /* Lengths. */
    {"two lengths", H "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 0, 400},
    {"the same length twice", H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 0, 400},
    {"a list of lengths", H "Content-Length: 5, 5\r\n\r\n", 0, 400},
    {"length with a sign", H "Content-Length: +5\r\n\r\n", 0, 400},
    {"negative length", H "Content-Length: -5\r\n\r\n", 0, 400},
    {"length in hexadecimal", H "Content-Length: 0x5\r\n\r\n", 0, 400},
    {"octal length", H "Content-Length: 010\r\n\r\n", 0, 400},
    {"length with a fraction", H "Content-Length: 5.0\r\n\r\n", 0, 400},
    {"empty length", H "Content-Length: \r\n\r\n", 0, 400},
    {"blank in a length", H "Content-Length: 1 2\r\n\r\n", 0, 400},
    {"length beyond 64 bits", H "Content-Length: 18446744073709551621\r\n\r\n", 0, 400},
    {"length above the limit", H "Content-Length: 8388609\r\n\r\n", 0, 413},
    {"length at the limit", H "Content-Length: 8388608\r\n\r\n", 0, 0},
    /* Codings. */
    {"chunked", H "Transfer-Encoding: chunked\r\n\r\n", 0, 411},
    {"chunked and length", H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 400},
    {"length and chunked", H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 0, 400},
    {"hidden chunked", H "Transfer-Encoding: xchunked\r\n\r\n", 0, 411},
    {"chunked after a tab", H "Transfer-Encoding:\tchunked\r\n\r\n", 0, 411},
    {"chunked twice", H "Transfer-Encoding: chunked\r\nTransfer-encoding: identity\r\n\r\n", 0,
     400},
    {"chunked in capitals", H "TRANSFER-ENCODING: CHUNKED\r\n\r\n", 0, 411},
    {"empty coding", H "Transfer-Encoding:\r\n\r\n", 0, 411},
    {"packed body", H "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n", 0, 415},
    /* Lines. */
    {"blank before the colon", H "Content-Length : 5\r\n\r\n", 0, 400},
    {"tab before the colon", H "Transfer-Encoding\t: chunked\r\n\r\n", 0, 400},
    {"folded", H "X-Long: a\r\n b\r\n\r\n", 0, 400},
    {"folded by a tab", H "Transfer-Encoding:\r\n\tchunked\r\n\r\n", 0, 400},
    {"blank line of blanks", H " \r\n\r\n", 0, 400},
    {"no colon", H "Nonsense\r\n\r\n", 0, 400},
    {"no name", H ": 5\r\n\r\n", 0, 400},
    {"name in quotes", H "\"Content-Length\": 5\r\n\r\n", 0, 400},
    {"name with a byte above ASCII", H "Content\xe2\x80\x91Length: 5\r\n\r\n", 0, 400},
    {"bare LF", H "Content-Length: 5\n\r\n", 0, 400},
    {"all ends bare", "GET / HTTP/1.1\nHost: localhost\n\n", 0, 400},
    {"bare CR", H "X-A: b\rContent-Length: 5\r\n\r\n", 0, 400},
    {"CR CR LF", H "X-A: b\r\r\n\r\n", 0, 400},
    {"bare LF in the end", H "\n", 0, 400},
    {"NUL in a value", H "X-A: a\0b\r\n\r\n", sizeof(H "X-A: a\0b\r\n\r\n") - 1, 400},
    {"NUL in a name", H "X\0A: b\r\n\r\n", sizeof(H "X\0A: b\r\n\r\n") - 1, 400},
    {"escape in a value", H "X-A: \x1b[2J\r\n\r\n", 0, 400},
    {"DEL", H "X-A: \x7f\r\n\r\n", 0, 400},
    {"vertical tab in a length", H "Content-Length:\v5\r\n\r\n", 0, 400},
    {"empty line first", "\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    /* Request lines. */
    {"absolute form", "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"authority form", "GET localhost:9092 HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"two slashes", "GET //evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"at sign", "GET @evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"connect", "CONNECT localhost:22 HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 501},
    {"backslash", "GET /\\evil.example HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"fragment", "GET /#x HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"star of GET", "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"two blanks", "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"four words", "GET / x HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"tab instead of a blank", "GET\t/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"blank behind", "GET / HTTP/1.1 \r\nHost: localhost\r\n\r\n", 0, 400},
    {"blank ahead", " GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"no version", "GET /\r\nHost: localhost\r\n\r\n", 0, 400},
    {"no method", " / HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"small letters", "get / HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 501},
    {"unknown method", "BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 501},
    {"method with a colon", "GET: / HTTP/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"version 2", "PRI * HTTP/2.0\r\nHost: localhost\r\n\r\n", 0, 505},
    {"version 1.2", "GET / HTTP/1.2\r\nHost: localhost\r\n\r\n", 0, 505},
    {"version in small letters", "GET / http/1.1\r\nHost: localhost\r\n\r\n", 0, 400},
    {"version with more digits", "GET / HTTP/1.10\r\nHost: localhost\r\n\r\n", 0, 400},
    {"byte above ASCII in the target", "GET /\xc3\xbc HTTP/1.1\r\nHost: l\r\n\r\n", 0, 400},
    /* Hosts, and what else may come once. */
    {"no host", "GET / HTTP/1.1\r\n\r\n", 0, 400},
    {"empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0, 400},
    {"two hosts", "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 0, 400},
    {"two origins", H "Origin: http://a\r\norigin: http://b\r\n\r\n", 0, 400},
    {"other expectation", H "Expect: 200-ok\r\n\r\n", 0, 417},
};

static void what_could_be_understood_in_two_ways_is_refused(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint32_t size = cases[i].size != 0 ? cases[i].size : (uint32_t)strlen(cases[i].text);
        check_status(cases[i].name, bytes_of(cases[i].text, size), cases[i].status);
    }
}

static void a_head_is_read_field_by_field(void **state)
{
    (void)state;
    static const char text[] = "POST /v1/topics/a%20b/records?key=k&n=5 HTTP/1.1\r\n"
                               "host: localhost:9092\r\nX-FLOE:  1\r\nexpect: 100-Continue\r\n"
                               "Content-length: 12\r\nConnection: x, Keep-Alive\r\n"
                               "Last-Event-ID: 7\r\n\r\nbody that follows";
    struct http_head head;
    struct http_fault fault;
    assert_int_equal(look(bytes_of(text, sizeof(text) - 1), 1, &head, &fault), HTTP_WHOLE);
    assert_int_equal(head.method, HTTP_POST);
    assert_true(bytes_equal(head.path, bytes_text("/v1/topics/a%20b/records")));
    assert_true(bytes_equal(head.query, bytes_text("key=k&n=5")));
    assert_true(bytes_equal(head.fields[HTTP_FIELD_HOST], bytes_text("localhost:9092")));
    assert_true(bytes_equal(head.fields[HTTP_FIELD_X_FLOE], bytes_text("1")));
    assert_true(bytes_equal(head.fields[HTTP_FIELD_LAST_EVENT_ID], bytes_text("7")));
    assert_null(head.fields[HTTP_FIELD_ORIGIN].data);
    assert_int_equal(head.body_bytes, 12);
    assert_true(head.expects);
    assert_true(head.keep_alive);
    assert_int_equal(head.size, strstr(text, "\r\n\r\n") + 4 - text);
}

static void check_keep_alive(const char *version, const char *lines, bool wanted)
{
    char text[256];
    struct http_head head;
    struct http_fault fault;
    int size = snprintf(text, sizeof(text), "GET / HTTP/%s\r\nHost: h\r\n%s\r\n", version, lines);
    assert_int_equal(look(bytes_of(text, (uint32_t)size), 5, &head, &fault), HTTP_WHOLE);
    assert_int_equal(head.keep_alive, wanted);
}

static void a_connection_stays_unless_either_side_says_close(void **state)
{
    (void)state;
    check_keep_alive("1.1", "", true);
    check_keep_alive("1.0", "", false);
    check_keep_alive("1.0", "Connection: keep-alive\r\n", true);
    check_keep_alive("1.1", "Connection: close\r\n", false);
    check_keep_alive("1.1", "Connection: keep-alive, CLOSE\r\n", false);
    check_keep_alive("1.1", "Connection: close\r\nConnection: keep-alive\r\n", false);
}

static void check_padded(const char *begin, char fill, uint32_t count, const char *end,
                         uint16_t status)
{
    char *text = malloc(TEXT_BYTES_MAX);
    assert_non_null(text);
    uint32_t size = (uint32_t)strlen(begin);
    memcpy(text, begin, size);
    memset(text + size, fill, count);
    size += count;
    memcpy(text + size, end, strlen(end));
    size += (uint32_t)strlen(end);
    check_status(begin, bytes_of(text, size), status);
    free(text);
}

static void what_is_long_is_refused_by_name(void **state)
{
    (void)state;
    check_padded("GET /", 'a', HTTP_TARGET_BYTES_MAX - 1, " HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    check_padded("GET /", 'a', HTTP_TARGET_BYTES_MAX, " HTTP/1.1\r\nHost: h\r\n\r\n", 414);
    check_padded("GET /", 'a', HTTP_HEAD_BYTES_MAX, "", 414);
    check_padded("GET / HTTP/1.1\r\nHost: h\r\nX: ", 'a', HTTP_HEAD_BYTES_MAX / 2, "\r\n\r\n", 0);
    check_padded("GET / HTTP/1.1\r\nHost: h\r\nX: ", 'a', HTTP_HEAD_BYTES_MAX, "", 431);
    char text[TEXT_BYTES_MAX / 8];
    uint32_t size = (uint32_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n");
    for (uint32_t i = 1; i < HTTP_HEADERS_MAX; i++) {
        size += (uint32_t)snprintf(text + size, sizeof(text) - size, "X-%u: y\r\n", i);
    }
    memcpy(text + size, "\r\n", 2);
    check_status("as many headers as may be", bytes_of(text, size + 2), 0);
    memcpy(text + size, "X: y\r\n\r\n", 8);
    check_status("one more", bytes_of(text, size + 8), 431);
}

static void half_a_head_is_no_head(void **state)
{
    (void)state;
    static const char text[] = H "Content-Length: 5\r\n\r\n";
    for (uint32_t size = 1; size < sizeof(text) - 1; size++) {
        struct http_head head;
        struct http_fault fault;
        assert_int_equal(look(bytes_of(text, size), 1, &head, &fault), HTTP_MORE);
    }
}

static void each_byte_of_a_head_is_looked_at_once(void **state)
{
    (void)state;
    static const char text[] = H "X-Long: abcdefghijklmnop\r\n\r\n";
    char copy[sizeof(text)];
    struct http_scan scan = {0};
    struct http_fault fault;
    memcpy(copy, text, sizeof(text));
    for (uint32_t size = 1; size < sizeof(text) - 1; size++) {
        assert_int_equal(http_scan(&scan, bytes_of(copy, size), &fault), HTTP_MORE);
        assert_int_equal(scan.position, size);
        if (size > 1) {
            copy[size - 2] = '\0'; /* Who looks back further than a byte finds a control byte. */
        }
    }
}

static void media_types_are_told_without_parameters(void **state)
{
    (void)state;
    assert_true(http_media_is(bytes_text("application/json"), "application/json"));
    assert_true(http_media_is(bytes_text("Application/JSON ; charset=utf-8"), "application/json"));
    assert_false(http_media_is(bytes_text("application/jsonx"), "application/json"));
    assert_false(http_media_is(bytes_text("text/plain; x=application/json"), "application/json"));
    assert_false(http_media_is((struct bytes){0}, "application/json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_could_be_understood_in_two_ways_is_refused),
        cmocka_unit_test(a_head_is_read_field_by_field),
        cmocka_unit_test(a_connection_stays_unless_either_side_says_close),
        cmocka_unit_test(what_is_long_is_refused_by_name),
        cmocka_unit_test(half_a_head_is_no_head),
        cmocka_unit_test(each_byte_of_a_head_is_looked_at_once),
        cmocka_unit_test(media_types_are_told_without_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
