/* Formats of records: read into pieces, refused with the place that is wrong; input taken apart. */
#include "tools/cmd_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* "[k]=text[v]" */
static const char *spell(const struct cmd_format *format, char text[256])
{
    size_t used = 0;
    for (uint32_t i = 0; i < format->count; i++) {
        const struct cmd_format_piece *piece = &format->pieces[i];
        int size = piece->field != '\0'
                       ? snprintf(text + used, 256 - used, "[%c]", piece->field)
                       : snprintf(text + used, 256 - used, "%.*s", (int)piece->size, piece->text);
        used += (size_t)size;
    }
    text[used] = '\0';
    return text;
}

static void a_format_is_read_into_pieces(void **state)
{
    (void)state;

    static const char *const rows[][2] = {
        {"", ""},
        {"%v", "[v]"},
        {"%v\\n", "[v]\n"},
        {"%t %p %o %k %v %h %T %d %D %K %V %H", "[t] [p] [o] [k] [v] [h] [T] [d] [D] [K] [V] [H]"},
        {"100%% %k%v", "100% [k][v]"},
        {"\\t\\r\\n\\\\\\x41\\x7e", "\t\r\n\\A~"},
        {"a\\x0ab", "a\nb"},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cmd_format format;
        char text[256];
        assert_true(cmd_format_parse(&format, rows[i][0], CMD_FORMAT_PRINT_FIELDS));
        assert_string_equal(spell(&format, text), rows[i][1]);
        assert_null(format.reason);
        cmd_format_free(&format);
    }
    struct cmd_format format;
    assert_true(cmd_format_parse(&format, "a\\0b", CMD_FORMAT_PRINT_FIELDS));
    assert_int_equal(format.pieces[0].size, 3);
    assert_memory_equal(format.pieces[0].text, "a\0b", 3);
    cmd_format_free(&format);
}

static void what_is_wrong_is_pointed_at(void **state)
{
    (void)state;

    static const struct {
        const char *text;
        size_t wrong;
    } rows[] = {{"%", 0},     {"%q", 0},   {"abc%", 3},    {"%v %z", 3}, {"\\", 0},
                {"ab\\q", 2}, {"\\x4", 0}, {"\\xg0", 0},   {"%k\\x", 2}, {"%%%", 2},
                {"% v", 0},   {"%T%", 2},  {"%v\\n\\", 4}, {"%o", 0},    {"%K %\xc3\xa4", 0}};

    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct cmd_format format;
        assert_false(cmd_format_parse(&format, rows[i].text, CMD_FORMAT_READ_FIELDS));
        assert_int_equal(format.wrong, rows[i].wrong);
        assert_non_null(format.reason);
        cmd_format_free(&format);
    }
}

static void a_format_has_a_bounded_number_of_pieces(void **state)
{
    (void)state;
    char text[2 * CMD_FORMAT_PIECES_MAX + 3] = "";
    struct cmd_format format;
    for (uint32_t i = 0; i < CMD_FORMAT_PIECES_MAX; i++) {
        memcpy(text + 2 * (size_t)i, "%v", 3);
    }
    assert_true(cmd_format_parse(&format, text, CMD_FORMAT_READ_FIELDS));
    assert_false(cmd_format_parts(&format));
    cmd_format_free(&format);
    memcpy(text + 2 * (size_t)CMD_FORMAT_PIECES_MAX, "%v", 3);
    assert_false(cmd_format_parse(&format, text, CMD_FORMAT_READ_FIELDS));
    assert_int_equal(format.wrong, 2 * CMD_FORMAT_PIECES_MAX);
    cmd_format_free(&format);
}

/* "[v]|[v]!": the records of `input`, values parted by '|'; '+' = more is wanted, '!' = wrong. */
static const char *take(const char *format_text, const char *input, bool end, char out[256])
{
    struct cmd_format format;
    struct cmd_format_value values[CMD_FORMAT_PIECES_MAX];
    size_t at = 0, used = 0, size = strlen(input), written = 0;
    assert_true(cmd_format_parse(&format, format_text, CMD_FORMAT_READ_FIELDS));
    assert_true(cmd_format_parts(&format));
    out[0] = '\0';
    while (at < size) {
        enum cmd_format_found found =
            cmd_format_split(&format, input + at, size - at, end, values, &used);
        if (found != CMD_FORMAT_RECORD) {
            (void)snprintf(out + written, 256 - written, found == CMD_FORMAT_MORE ? "+" : "!");
            break;
        }
        for (uint32_t i = 0; i < format.count; i++) {
            if (format.pieces[i].field != '\0') {
                written += (size_t)snprintf(out + written, 256 - written, "(%.*s)",
                                            (int)values[i].size, values[i].data);
            }
        }
        written += (size_t)snprintf(out + written, 256 - written, ";");
        at += used;
    }
    cmd_format_free(&format);
    return out;
}

static void input_is_taken_apart(void **state)
{
    (void)state;

    static const struct {
        const char *format, *input;
        bool end;
        const char *found;
    } rows[] = {
        {"%v\\n", "a\nb\n", false, "(a);(b);"},
        {"%v\\n", "a\nb", false, "(a);+"},
        {"%v\\n", "a\nb", true, "(a);(b);"},
        {"%v", "a\n\nb", true, "(a);();(b);"},
        {"%k\\t%v\\n", "k\tv\nl\tw\tx\n", false, "(k)(v);(l)(w\tx);"},
        {"%k\\t%v\\n", "k\tv\nno tab\nl\tw\n", false, "(k)(v);(no tab\nl)(w);"},
        {"%k\\t%v\\n", "k\tv\nno tab", true, "(k)(v);!"},
        {"%k\\t%v\\n", "k", false, "+"},
        {"%k\\t%v\\n", "\t\n", false, "()();"},
        {"<%v>", "<a><b>", true, "(a);(b);"},
        {"<%v>", "<a> <b>", true, "(a);!"},
        {"<%v>", "<a", true, "(a);"},
        {"<%v>", "<a", false, "+"},
        {"<<%v>>", "<", false, "+"},
        {"<<%v>>", "<", true, "!"},
        {"%k::%v;;", "a::b;;c::d;", false, "(a)(b);+"},
        {"%k::%v;;", "a::b;;c::d;", true, "(a)(b);(c)(d;);"},
        {"%k %p %v\\n", "a 1 b c\n", true, "(a)(1)(b c);"},
    };

    char out[256];
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_string_equal(take(rows[i].format, rows[i].input, rows[i].end, out), rows[i].found);
    }
}

static void two_fields_need_something_between_them(void **state)
{
    (void)state;
    struct cmd_format format;
    assert_true(cmd_format_parse(&format, "%k%v\\n", CMD_FORMAT_READ_FIELDS));
    assert_false(cmd_format_parts(&format));
    assert_non_null(format.reason);
    cmd_format_free(&format);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_format_is_read_into_pieces),
        cmocka_unit_test(what_is_wrong_is_pointed_at),
        cmocka_unit_test(a_format_has_a_bounded_number_of_pieces),
        cmocka_unit_test(input_is_taken_apart),
        cmocka_unit_test(two_fields_need_something_between_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
