/* JSON strings, base64, percent-encoding, queries, and who is let in. */
#include "net/http/guard.h"
#include "net/http/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

typedef void put_fn(struct http_writer *writer, struct bytes bytes);

static void check_put(put_fn *put, struct bytes bytes, const char *wanted)
{
    uint8_t room[256];
    struct http_writer counted = {0};
    struct http_writer writer = {.data = room, .size = sizeof(room)};
    put(&counted, bytes);
    put(&writer, bytes);
    assert_int_equal(counted.position, writer.position);
    assert_int_equal(writer.position, strlen(wanted));
    assert_memory_equal(room, wanted, writer.position);
}

static void json_strings_are_sound_whatever_they_hold(void **state)
{
    (void)state;
    check_put(http_put_json, bytes_text("plain"), "\"plain\"");
    check_put(http_put_json, (struct bytes){0}, "\"\"");
    check_put(http_put_json, bytes_text("a\"b\\c\nd\te\x01\x7f"),
              "\"a\\\"b\\\\c\\nd\\u0009e\\u0001\\u007f\"");
    check_put(http_put_json, bytes_text("gr\xc3\xbc\xc3\x9f \xf0\x9f\x99\x82"),
              "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x99\x82\"");
    check_put(http_put_json, bytes_text("\xff x\xc3"), "\"\\ufffd x\\ufffd\"");
    check_put(http_put_json, bytes_of("a\0b", 3), "\"a\\u0000b\"");
}

static void only_utf_8_is_text(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",
        "\xc0\xaf",
        "\xc3",
        "\xe0\x80\xaf",
        "\xed\xa0\x80",
        "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xff",
        "a\xc3z",
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_false(http_is_text(bytes_text(bad[i])));
    }
    assert_true(http_is_text(bytes_text("\xc2\x80 \xe0\xa0\x80 \xee\x80\x80 \xf4\x8f\xbf\xbf")));
    assert_true(http_is_text((struct bytes){0}));
}

static void base64_goes_both_ways(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xfe\xfd", "//79"},
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        uint8_t out[16];
        uint32_t size = 99;
        check_put(http_put_base64, bytes_text(pairs[i][0]), pairs[i][1]);
        assert_true(http_base64_decode(bytes_text(pairs[i][1]), out, &size));
        assert_int_equal(size, strlen(pairs[i][0]));
        assert_memory_equal(out, pairs[i][0], size);
    }
    static const char *const bad[] = {"Z",    "Zg",   "Zg=",   "Zg= ",         "Z===", "====",
                                      "Zh==", "Zm9=", "Zm9v=", "Zm9vZg==Zm9v", "Zm 9", "Zm-_"};
    for (uint32_t i = 0; i < ARRAY_COUNT(bad); i++) {
        uint8_t out[16];
        uint32_t size;
        assert_false(http_base64_decode(bytes_text(bad[i]), out, &size));
    }
}

static void check_decode(const char *raw, const char *wanted)
{
    uint8_t out[64];
    struct bytes decoded;
    struct http_fault fault = {0};
    bool good = http_percent_decode(bytes_text(raw), out, &decoded, &fault);
    assert_int_equal(good, wanted != NULL);
    if (good) {
        assert_true(bytes_equal(decoded, bytes_text(wanted)));
    } else {
        assert_int_equal(fault.status, 400);
    }
}

static void percent_signs_need_two_hexadecimal_digits(void **state)
{
    (void)state;
    check_decode("a%20b%2Fc%2f", "a b/c/");
    check_decode("+", "+");
    check_decode("%25", "%");
    check_decode("%2541", "%41");
    check_decode("%", NULL);
    check_decode("%4", NULL);
    check_decode("%4g", NULL);
    check_decode("%%41", NULL);
    check_decode("%u0041", NULL);
    check_decode("% 41", NULL);
}

static void check_query(const char *query, uint16_t status, const char *key, const char *n)
{
    uint8_t out[128];
    struct http_fault fault = {0};
    struct http_param params[] = {{.name = "key"}, {.name = "n"}};
    bool good = http_query_read(bytes_text(query), params, 2, out, &fault);
    assert_int_equal(good, status == 0);
    assert_int_equal(fault.status, status);
    if (good) {
        assert_int_equal(params[0].value.data != NULL, key != NULL);
        assert_true(key == NULL || bytes_equal(params[0].value, bytes_text(key)));
        assert_int_equal(params[1].value.data != NULL, n != NULL);
        assert_true(n == NULL || bytes_equal(params[1].value, bytes_text(n)));
    }
}

static void a_query_has_each_known_name_once(void **state)
{
    (void)state;
    check_query("", 0, NULL, NULL);
    check_query("key=a", 0, "a", NULL);
    check_query("n=5&key=a%26b", 0, "a&b", "5");
    check_query("&&n=5&", 0, NULL, "5");
    check_query("key", 0, "", NULL);
    check_query("key=&n==", 0, "", "=");
    check_query("%6b%65y=x", 0, "x", NULL);
    check_query("key=a&key=a", 400, NULL, NULL);
    check_query("kez=a", 400, NULL, NULL);
    check_query("key=%zz", 400, NULL, NULL);
}

static void numbers_are_plain_and_within_bounds(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "-1", "+1",  "1 ",
                                      "0x1", "11", "1e1", "99999999999999999999"};
    struct http_fault fault;
    uint64_t number = 0;
    assert_true(http_read_number("n", bytes_text("10"), 1, 10, &number, &fault));
    assert_int_equal(number, 10);
    for (uint32_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_false(http_read_number("n", bytes_text(bad[i]), 1, 10, &number, &fault));
        assert_int_equal(fault.status, 400);
    }
}

/* --- The guard. --- */

struct visit_case {
    const char *host, *origin, *floe, *type;
    bool changes, admin, far;
    uint16_t status;
};

static void check_visit(const struct http_guard *guard, const struct visit_case *c)
{
    struct http_head head = {.method = c->changes ? HTTP_POST : HTTP_GET};
    struct http_fault fault = {0};
    struct io_address near = {.bytes = {127, 0, 0, 1}, .family = 4};
    struct io_address far = {.bytes = {192, 0, 2, 7}, .family = 4};
    const char *const texts[] = {c->host, c->origin, c->floe, c->type};

    static const enum http_field fields[] = {HTTP_FIELD_HOST, HTTP_FIELD_ORIGIN, HTTP_FIELD_X_FLOE,
                                             HTTP_FIELD_CONTENT_TYPE};

    for (uint32_t i = 0; i < ARRAY_COUNT(texts); i++) {
        if (texts[i] != NULL) {
            head.fields[fields[i]] = bytes_text(texts[i]);
        }
    }
    struct http_visit visit = {
        .head = &head, .peer = c->far ? &far : &near, .changes = c->changes, .admin = c->admin};
    bool admitted = http_guard_admits(guard, &visit, &fault);
    if (admitted != (c->status == 0) || (!admitted && fault.status != c->status)) {
        print_error("%s, %s: %u %s\n", c->host, c->origin, fault.status, fault.detail);
        fail();
    }
}

static void a_foreign_page_changes_nothing(void **state)
{
    (void)state;
    static const struct http_guard guard = {.hosts = "queue.example, other.example",
                                            .host_name = "Box",
                                            .advertise = "pub.example:9092"};
    static const struct visit_case cases[] = {
        /* Names of ours, and addresses. */
        {"localhost:9092", NULL, NULL, NULL, false, false, false, 0},
        {"LOCALHOST", NULL, NULL, NULL, false, false, false, 0},
        {"a.localhost", NULL, NULL, NULL, false, false, false, 0},
        {"127.0.0.1:9092", NULL, NULL, NULL, false, false, false, 0},
        {"192.0.2.1", NULL, NULL, NULL, false, false, true, 0},
        {"[::1]:9092", NULL, NULL, NULL, false, false, false, 0},
        {"box:9092", NULL, NULL, NULL, false, false, true, 0},
        {"pub.example", NULL, NULL, NULL, false, false, true, 0},
        {"queue.example:1", NULL, NULL, NULL, false, false, true, 0},
        {"other.example", NULL, NULL, NULL, false, false, true, 0},
        /* A page whose name was bent to our address. */
        {"evil.example:9092", NULL, NULL, NULL, false, false, false, 421},
        {"evil.example", "http://evil.example", "1", NULL, true, false, false, 421},
        {"localhost.evil.example", NULL, NULL, NULL, false, false, false, 421},
        {"evillocalhost", NULL, NULL, NULL, false, false, false, 421},
        {"127.0.0.1.evil.example", NULL, NULL, NULL, false, false, false, 421},
        {"2130706433", NULL, NULL, NULL, false, false, false, 421},
        {"pub.example.evil", NULL, NULL, NULL, false, false, false, 421},
        {"queue", NULL, NULL, NULL, false, false, false, 421},
        {"localhost:", NULL, NULL, NULL, false, false, false, 400},
        {"localhost:99999999", NULL, NULL, NULL, false, false, false, 400},
        {":9092", NULL, NULL, NULL, false, false, false, 400},
        {"[::1", NULL, NULL, NULL, false, false, false, 400},
        {"user@localhost", NULL, NULL, NULL, false, false, false, 421},
        /* Changes need what a page cannot send. */
        {"localhost", NULL, NULL, NULL, true, false, false, 403},
        {"localhost", NULL, NULL, "text/plain", true, false, false, 403},
        {"localhost", NULL, NULL, "application/x-www-form-urlencoded", true, false, false, 403},
        {"localhost", NULL, NULL, "text/plain; application/json", true, false, false, 403},
        {"localhost", NULL, "1", NULL, true, false, false, 0},
        {"localhost", NULL, NULL, "application/json", true, false, false, 0},
        {"localhost", NULL, "", NULL, true, false, false, 403},
        /* Origins. */
        {"localhost:9092", "http://localhost:9092", "1", NULL, true, false, false, 0},
        {"localhost:9092", "http://localhost:8080", "1", NULL, true, false, false, 403},
        {"localhost:9092", "http://evil.example", "1", NULL, true, false, false, 403},
        {"localhost:9092", "http://evil.example", NULL, NULL, false, false, false, 403},
        {"localhost:9092", "null", NULL, "application/json", true, false, false, 403},
        {"localhost:9092", "http://localhost:9092.evil", "1", NULL, true, false, false, 403},
        {"localhost:9092", "localhost:9092", "1", NULL, true, false, false, 403},
        /* Administration. */
        {"localhost", NULL, "1", NULL, true, true, false, 0},
        {"192.0.2.1", NULL, "1", NULL, true, true, true, 403},
        {"192.0.2.1", NULL, "1", NULL, true, false, true, 0},
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(cases); i++) {
        check_visit(&guard, &cases[i]);
    }
    static const struct http_guard open = {.hosts = "*", .admin_any = true};
    static const struct visit_case let[] = {
        {"any.example", NULL, NULL, NULL, false, false, true, 0},
        {"any.example", NULL, "1", NULL, true, true, true, 0},
        {"any.example", NULL, NULL, NULL, true, true, true, 403},
        {"any.example", "http://evil.example", "1", NULL, true, true, true, 403},
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(let); i++) {
        check_visit(&open, &let[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_strings_are_sound_whatever_they_hold),
        cmocka_unit_test(only_utf_8_is_text),
        cmocka_unit_test(base64_goes_both_ways),
        cmocka_unit_test(percent_signs_need_two_hexadecimal_digits),
        cmocka_unit_test(a_query_has_each_known_name_once),
        cmocka_unit_test(numbers_are_plain_and_within_bounds),
        cmocka_unit_test(a_foreign_page_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
