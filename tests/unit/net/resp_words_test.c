/* What is pure of RESP: requests taken apart, replies put together, IDs, patterns, keys, fields,
 * trims. */
#include "net/resp/fields.h"
#include "net/resp/key.h"
#include "net/resp/parse.h"
#include "net/resp/text.h"
#include "net/resp/trim.h"
#include "net/resp/write.h"

#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ARGUMENTS_MAX = 16, TEXT_MAX = 4096 };

/* A copy of exact size, so that the sanitizer sees a step beyond. */
static struct bytes exact(const char *text, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(copy);
    memcpy(copy, text, size);
    return bytes_of(copy, (uint32_t)size);
}

static void drop(struct bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

/* All at once, and byte by byte with what was found out so far: both must agree. */
static int64_t scan_text(const char *text, size_t size, struct resp_scan *scan)
{
    struct bytes whole = exact(text, size);
    *scan = (struct resp_scan){0};
    int64_t at_once = resp_scan(scan, whole);
    struct resp_scan slow = {0};
    int64_t slowly = 0;
    for (uint32_t i = 1; i <= size && slowly == 0; i++) {
        struct bytes part = exact(text, i);
        slowly = resp_scan(&slow, part);
        drop(part);
    }
    assert_int_equal(at_once, slowly);
    assert_int_equal(scan->fault, slow.fault);
    drop(whole);
    return at_once;
}

#define SCAN(text, scan) scan_text(text, sizeof(text) - 1, scan)

static void a_command_ends_where_it_ends(void **state)
{
    (void)state;
    struct resp_scan scan;
    assert_int_equal(SCAN("*1\r\n$4\r\nPING\r\n", &scan), 14);
    assert_int_equal(SCAN("*1\r\n$4\r\nPING\r\n*1\r\n", &scan), 14);
    assert_int_equal(SCAN("*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n", &scan), 23);
    assert_int_equal(SCAN("*0\r\n", &scan), 4);
    assert_int_equal(SCAN("*-10\r\n", &scan), 6);
    assert_int_equal(SCAN("PING\r\n", &scan), 6);
    assert_int_equal(SCAN("PING a b\nX", &scan), 9);
    assert_int_equal(SCAN("\r\n", &scan), 2);
    assert_int_equal(SCAN("*1\r\n$4\r\nPIN", &scan), 0);
    assert_int_equal(scan.position, 14); /* So many are wanted. */
    assert_int_equal(SCAN("*1\r\n$4", &scan), 0);
    assert_int_equal(SCAN("PING", &scan), 0);
    assert_int_equal(SCAN("", &scan), 0);
}

static void check_fault(const char *text, size_t size, enum resp_fault fault, const char *sentence)
{
    struct resp_scan scan;
    char told[RESP_ERROR_BYTES];
    assert_int_equal(scan_text(text, size, &scan), ERR_INVALID);
    assert_int_equal(scan.fault, fault);
    resp_fault_text(scan.fault, scan.got, told);
    assert_string_equal(told, sentence);
}

#define FAULT(text, fault, sentence) check_fault(text, sizeof(text) - 1, fault, sentence)

static void what_is_malformed_is_told_in_words_that_clients_know(void **state)
{
    (void)state;
    FAULT("*3000000000\r\n", RESP_FAULT_COUNT, "Protocol error: invalid multibulk length");
    FAULT("*x\r\n", RESP_FAULT_COUNT, "Protocol error: invalid multibulk length");
    FAULT("*\r\n", RESP_FAULT_COUNT, "Protocol error: invalid multibulk length");
    FAULT("*1\r\nfoo\r\n", RESP_FAULT_DOLLAR, "Protocol error: expected '$', got 'f'");
    FAULT("*2\r\n$1\r\nx\r\n\x01", RESP_FAULT_DOLLAR, "Protocol error: expected '$', got '?'");
    FAULT("*1\r\n$-10\r\n", RESP_FAULT_SIZE, "Protocol error: invalid bulk length");
    FAULT("*1\r\n$blabla\r\n", RESP_FAULT_SIZE, "Protocol error: invalid bulk length");
    FAULT("*1\r\n$2000000000\r\n", RESP_FAULT_SIZE, "Protocol error: invalid bulk length");
}

static void lines_without_an_end_are_bounded(void **state)
{
    (void)state;
    uint32_t size = RESP_LINE_BYTES_MAX + 16;
    char *text = malloc(size);
    assert_non_null(text);

    static const struct {
        char first;
        enum resp_fault fault;
    } lines[] = {{'P', RESP_FAULT_INLINE}, {'*', RESP_FAULT_COUNT_LINE}};

    for (uint32_t i = 0; i < 2; i++) {
        struct resp_scan scan = {0};
        memset(text, '1', size);
        text[0] = lines[i].first;
        assert_int_equal(resp_scan(&scan, bytes_of(text, RESP_LINE_BYTES_MAX)), 0);
        assert_int_equal(scan.searched, RESP_LINE_BYTES_MAX); /* Not looked at again. */
        assert_int_equal(resp_scan(&scan, bytes_of(text, size)), ERR_INVALID);
        assert_int_equal(scan.fault, lines[i].fault);
    }
    free(text);
}

/* The arguments of a whole command, joined by '|'; "!": quotes that do not match. */
static void check_split(const char *text, size_t size, const char *wanted)
{
    struct bytes frame = exact(text, size);
    struct bytes arguments[ARGUMENTS_MAX];
    uint8_t *room = malloc(size == 0 ? 1 : size);
    char joined[TEXT_MAX];
    uint32_t used = 0;
    assert_true(resp_arguments_max(frame) <= ARGUMENTS_MAX);
    int64_t count = resp_split(frame, arguments, room);
    if (count < 0) {
        assert_string_equal(wanted, "!");
    } else {
        assert_true(count <= resp_arguments_max(frame));
        for (int64_t i = 0; i < count; i++) {
            memcpy(joined + used, arguments[i].data, arguments[i].size);
            used += arguments[i].size;
            joined[used++] = '|';
        }
        joined[used] = 0;
        assert_string_equal(joined, wanted);
    }
    free(room);
    drop(frame);
}

#define SPLIT(text, wanted) check_split(text, sizeof(text) - 1, wanted)

static void arguments_are_taken_apart(void **state)
{
    (void)state;
    SPLIT("*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n", "ECHO|a\r\n|");
    SPLIT("*1\r\n$0\r\n\r\n", "|");
    SPLIT("  SET  a\tb \r\n", "SET|a|b|");
    SPLIT("a \"b c\" 'd e'\r\n", "a|b c|d e|");
    SPLIT("\"\\x41\\n\\t\\\"\\q\" x\r\n", "A\n\t\"q|x|");
    SPLIT("'it\\'s' \"\"\r\n", "it's||");
    SPLIT("a\"b\"\n", "ab|");
    SPLIT("set \"\"\"k\"\"\" v\r\n", "!");
    SPLIT("a \"b\r\n", "!");
    SPLIT("a 'b\r\n", "!");
    SPLIT("a \"b\"c\r\n", "!");
    SPLIT("\"\\x4\"\n", "x4|");
}

static void numbers_are_strict(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "", "-", "+1", " 1", "1 ", "01", "-0", "1a", "9223372036854775808", "-9223372036854775809"};
    int64_t value;
    uint64_t number;
    for (uint32_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_false(resp_parse_i64(bytes_text(wrong[i]), &value));
    }
    assert_true(resp_parse_i64(bytes_text("-9223372036854775808"), &value));
    assert_true(value == INT64_MIN);
    assert_true(resp_parse_u64(bytes_text("18446744073709551615"), &number));
    assert_true(number == UINT64_MAX);
    assert_false(resp_parse_u64(bytes_text("18446744073709551616"), &number));
}

static void check_id(const char *text, uint64_t ms, uint64_t seq)
{
    struct stream_id id;
    assert_true(resp_parse_id(bytes_text(text), 77, &id, NULL));
    assert_int_equal(id.ms, ms);
    assert_int_equal(id.seq, seq);
}

static void ids_are_read_and_written(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",    "a", "1-", "-1", "1-2-3",
                                        "1-*", "*", "--", "$",  "18446744073709551616-0"};
    struct stream_id id;
    char text[RESP_ID_TEXT_BYTES];
    check_id("5", 5, 77);
    check_id("5-3", 5, 3);
    check_id("007-01", 7, 1);
    check_id("-", 0, 0);
    check_id("+", UINT64_MAX, UINT64_MAX);
    for (uint32_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_false(resp_parse_id(bytes_text(wrong[i]), 0, &id, NULL));
    }
    id = (struct stream_id){UINT64_MAX, UINT64_MAX};
    assert_string_equal(resp_id_text(id, text), "18446744073709551615-18446744073709551615");
    assert_false(resp_id_after(&id));
    id = (struct stream_id){4, UINT64_MAX};
    assert_true(resp_id_after(&id));
    assert_int_equal(id.ms, 5);
    assert_true(resp_id_before(&id));
    assert_int_equal(id.ms, 4);
    assert_true(id.seq == UINT64_MAX);
    id = (struct stream_id){0, 0};
    assert_false(resp_id_before(&id));
}

/* Each line is made of the one before: as if it were made alone. */
static void ids_behind_others_are_written_whole(void **state)
{
    static const struct stream_id ids[] = {
        {7, 0},  {7, 1},  {7, 8},   {7, 9}, {7, 10}, {7, 11},         {7, 19},         {7, 20},
        {7, 98}, {7, 99}, {7, 100}, {8, 0}, {8, 1},  {9, 1},          {9, UINT64_MAX}, {9, 0},
        {9, 3},  {9, 2},  {9, 1},   {9, 1}, {10, 2}, {UINT64_MAX, 0}, {UINT64_MAX, 1},
    };
    (void)state;
    uint8_t text[2048];
    uint8_t alone[128];
    struct resp_writer writer = {.data = text, .size = sizeof(text), .protocol = 2};
    struct resp_id_line line = {.size = 0};
    for (uint32_t i = 0; i < ARRAY_COUNT(ids); i++) {
        uint64_t from = writer.position;
        struct resp_writer counted = {.protocol = 2};
        struct resp_writer one = {.data = alone, .size = sizeof(alone), .protocol = 2};
        resp_write_id_behind(&writer, &line, ids[i]);
        resp_write_id(&one, ids[i]);
        resp_write_id(&counted, ids[i]);
        assert_int_equal(writer.position - from, one.position);
        assert_int_equal(counted.position, one.position);
        assert_memory_equal(text + from, alone, one.position);
        char wanted[RESP_ID_TEXT_BYTES];
        (void)resp_id_text(ids[i], wanted);
        assert_true(one.position > strlen(wanted) + 2);
        assert_memory_equal(alone + one.position - 2 - strlen(wanted), wanted, strlen(wanted));
    }
}

static void patterns_match(void **state)
{
    (void)state;

    static const struct {
        const char *pattern, *text;
        bool matches;
    } rows[] = {
        {"*", "", true},        {"", "", true},           {"", "a", false},
        {"a*", "abc", true},    {"*c", "abc", true},      {"a*c", "abdc", true},
        {"a*d", "abc", false},  {"?b?", "abc", true},     {"?", "", false},
        {"[a-c]x", "bx", true}, {"[^a-c]x", "bx", false}, {"[^a-c]x", "dx", true},
        {"a\\*", "a*", true},   {"a\\*", "ab", false},    {"*a*a*a*b", "aaaaaaaaaaaaaac", false},
        {"h[ae", "ha", true},   {"[\\]]", "]", true},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_int_equal(resp_matches(bytes_text(rows[i].pattern), bytes_text(rows[i].text)),
                         rows[i].matches);
    }
}

static void check_key(const char *key, const char *name)
{
    uint8_t room[TOPIC_NAME_BYTES_MAX];
    uint8_t back_room[TOPIC_NAME_BYTES_MAX];
    struct bytes made;
    struct bytes back;
    assert_true(resp_key_name(bytes_text(key), room, &made));
    assert_true(bytes_equal(made, bytes_text(name)));
    assert_true(topic_name_is_allowed(made));
    assert_true(resp_name_key(made, back_room, &back));
    assert_true(bytes_equal(back, bytes_text(key)));
}

static void every_key_has_a_name_of_its_own(void **state)
{
    (void)state;
    char text[TOPIC_NAME_BYTES_MAX + 1];
    uint8_t room[TOPIC_NAME_BYTES_MAX];
    struct bytes made;
    struct bytes topic;
    uint32_t partition;
    check_key("orders", "orders");
    check_key("a_b", "a_b");
    check_key("s{t}", "__resp.s_7bt_7d");
    check_key("", "__resp.");
    check_key("__resp.a_7b", "__resp._5f_5fresp.a_5f7b");
    check_key(".", "__resp..");
    memset(text, '{', sizeof(text));
    assert_false(resp_key_name(bytes_of(text, 81), room, &made));
    assert_true(resp_key_name(bytes_of(text, 80), room, &made));
    assert_false(resp_name_key(bytes_text("__consumer_offsets"), room, &made));
    assert_false(resp_name_key(bytes_text("__resp.a_7"), room, &made));
    assert_true(resp_key_partition(bytes_text("a/b/12"), &topic, &partition));
    assert_true(bytes_equal(topic, bytes_text("a/b")));
    assert_int_equal(partition, 12);
    assert_false(resp_key_partition(bytes_text("a/x"), &topic, &partition));
    assert_false(resp_key_partition(bytes_text("a"), &topic, &partition));
    assert_false(resp_key_partition(bytes_text("a/10000"), &topic, &partition));
}

/* Fields, blank between them, through a record and back; `headers` of them in it. */
static void check_fields(const char *text, uint32_t headers)
{
    struct bytes words[ARGUMENTS_MAX];
    struct record_header room[ARGUMENTS_MAX];
    char order[FIELDS_ORDER_BYTES];
    struct record_input input = {0};
    struct bytes line = exact(text, strlen(text));
    uint8_t copy[TEXT_MAX];
    int64_t count = resp_split(line, words, copy);
    assert_true(count > 0 && count % 2 == 0);
    fields_encode(words, (uint32_t)count / 2, &input, room, order);
    assert_int_equal(input.header_count, headers);
    uint32_t size = record_batch_size(&input, 1);
    uint8_t *batch = malloc(size);
    assert_non_null(batch);
    record_batch_encode(&input, 1, batch, size);
    struct bytes_reader reader =
        bytes_reader(bytes_of(batch + BATCH_HEADER_BYTES, size - BATCH_HEADER_BYTES));
    struct record record;
    struct fields fields;
    struct bytes name;
    struct bytes value;
    assert_true(record_read(&reader, &record));
    fields_begin(&fields, &record);
    assert_int_equal(fields.count, count / 2);
    for (int64_t i = 0; i < count; i += 2) {
        assert_true(fields_next(&fields, &name, &value));
        assert_true(bytes_equal(name, words[i]));
        assert_true(bytes_equal(value, words[i + 1]));
    }
    assert_false(fields_next(&fields, &name, &value));
    free(batch);
    drop(line);
}

static void fields_come_back_in_their_order(void **state)
{
    (void)state;
    check_fields("a 1 b 2", 2);
    check_fields("key k a 1 value v", 1);
    check_fields("value v", 0);
    check_fields("key k", 0);
    check_fields("value v key k", 1);
    check_fields("a 1 key k b 2", 3);
    check_fields("value v a 1", 2);
    check_fields("key 1 key 2 value 3 value 4", 3);
    check_fields("__floe.order 0,1 a 2", 3);
    check_fields("\"\" \"\"", 1);
}

static void records_of_others_have_fields(void **state)
{
    (void)state;
    struct fields fields;
    struct bytes name;
    struct bytes value;
    struct record nothing = {0};
    fields_begin(&fields, &nothing);
    assert_int_equal(fields.count, 1);
    assert_true(fields_next(&fields, &name, &value));
    assert_true(bytes_equal(name, bytes_text("value")));
    assert_int_equal(value.size, 0);
    struct record keyed = {.key = bytes_text("k")};
    fields_begin(&fields, &keyed);
    assert_int_equal(fields.count, 1);
    assert_true(fields_next(&fields, &name, &value));
    assert_true(bytes_equal(value, bytes_text("k")));
}

static uint64_t trimmed(const char *text, uint64_t offset)
{
    struct bytes words[ARGUMENTS_MAX];
    uint8_t copy[TEXT_MAX];
    struct resp_trim trim = {0};
    const char *error = NULL;
    uint32_t at = 0;
    int64_t count = resp_split(bytes_text(text), words, copy);
    while (at < count) {
        uint32_t before = at;
        if (!resp_trim_parse(words, (uint32_t)count, &at, &trim, &error) || at == before) {
            return UINT64_MAX;
        }
    }
    if (!resp_trim_check(&trim, &error)) {
        return UINT64_MAX;
    }
    return resp_trim_target(&trim, 250, 1000, offset, 100);
}

static void trims_are_exact_or_by_nodes(void **state)
{
    (void)state;
    assert_int_equal(trimmed("MAXLEN 10", 0), 990);
    assert_int_equal(trimmed("MAXLEN = 0", 0), 1000);
    assert_int_equal(trimmed("MAXLEN 5000", 0), 250);
    assert_int_equal(trimmed("MAXLEN ~ 10", 0), 900);
    assert_int_equal(trimmed("MAXLEN ~ 10 LIMIT 300", 0), 500);
    assert_int_equal(trimmed("MAXLEN ~ 10 LIMIT 0", 0), 900);
    assert_int_equal(trimmed("MAXLEN ~ 10 LIMIT 49", 0), 250);
    assert_int_equal(trimmed("MAXLEN ~ 10 LIMIT 50", 0), 300);
    assert_int_equal(trimmed("MINID 5-0", 700), 700);
    assert_int_equal(trimmed("MINID ~ 5", 799), 700);
    assert_int_equal(trimmed("MINID 5", 3), 250);
    static const char *const wrong[] = {"MAXLEN -1",          "MAXLEN x", "MAXLEN 1 LIMIT 2",
                                        "MAXLEN 1 MINID 5",   "MINID a",  "MINID -",
                                        "MAXLEN ~ 1 LIMIT -1"};
    for (uint32_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_true(trimmed(wrong[i], 0) == UINT64_MAX);
    }
}

/* Asked again until it stays, as its header says, of a log in which some of 0..15 are gone. */
static uint64_t live_from(uint32_t gone, uint64_t from, uint64_t to, uint64_t count)
{
    uint64_t at = count >= to - from ? from : to - count;
    for (;;) {
        uint64_t deleted = 0;
        for (uint64_t i = at; i < to; i++) {
            deleted += gone >> i & 1;
        }
        uint64_t next = resp_live_from(from, to, count, deleted);
        assert_true(next <= at);
        if (next == at) {
            return at;
        }
        at = next;
    }
}

static void the_newest_begin_where_so_many_are_left(void **state)
{
    (void)state;
    for (uint32_t gone = 0; gone < 1 << 12; gone++) {
        for (uint64_t count = 0; count <= 12; count++) {
            uint64_t at = live_from(gone, 2, 12, count);
            uint64_t live = 0;
            for (uint64_t i = at; i < 12; i++) {
                live += (gone >> i & 1) == 0 ? 1 : 0;
            }
            assert_true(at >= 2 && at <= 12);
            assert_true(live == count || (live < count && at == 2));
        }
    }
}

static void each_protocol_has_its_shapes(void **state)
{
    (void)state;
    static const char *const wanted[] = {
        [2] = "*4\r\n*1\r\n$-1\r\n*-1\r\n$1\r\na\r\n-ERR a  b\r\n:-5\r\n$3\r\n5-3\r\n",
        [3] = "%2\r\n~1\r\n_\r\n_\r\n=5\r\ntxt:a\r\n-ERR a  b\r\n:-5\r\n$3\r\n5-3\r\n",
    };
    for (uint8_t protocol = 2; protocol <= 3; protocol++) {
        char text[TEXT_MAX];
        struct resp_writer counted = {.protocol = protocol};
        struct resp_writer writer = {
            .data = (uint8_t *)text, .size = sizeof(text), .protocol = protocol};
        struct resp_writer *writers[] = {&counted, &writer};
        for (uint32_t i = 0; i < 2; i++) {
            resp_write_map(writers[i], 2);
            resp_write_set(writers[i], 1);
            resp_write_null(writers[i]);
            resp_write_null_array(writers[i]);
            resp_write_verbatim(writers[i], bytes_text("a"));
            resp_write_error(writers[i], "ERR a\r\nb");
            resp_write_integer(writers[i], -5);
            resp_write_id(writers[i], (struct stream_id){5, 3});
        }
        text[writer.position] = 0;
        assert_string_equal(text, wanted[protocol]);
        assert_int_equal(counted.position, writer.position);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_ends_where_it_ends),
        cmocka_unit_test(what_is_malformed_is_told_in_words_that_clients_know),
        cmocka_unit_test(lines_without_an_end_are_bounded),
        cmocka_unit_test(arguments_are_taken_apart),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(ids_are_read_and_written),
        cmocka_unit_test(ids_behind_others_are_written_whole),
        cmocka_unit_test(patterns_match),
        cmocka_unit_test(every_key_has_a_name_of_its_own),
        cmocka_unit_test(fields_come_back_in_their_order),
        cmocka_unit_test(records_of_others_have_fields),
        cmocka_unit_test(trims_are_exact_or_by_nodes),
        cmocka_unit_test(the_newest_begin_where_so_many_are_left),
        cmocka_unit_test(each_protocol_has_its_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
