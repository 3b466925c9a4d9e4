/* Commands in a row that are one batch: which are, where a run ends, and what it is taken apart
 * into. */
#include "net/resp/run.h"
#include "net/resp/text.h"
#include "net/resp/write.h"
#include "shard/batch.h"

#include "core/assert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TEXT_MAX = 16384, PIECES_MAX = 64 };

/* Commands, a line each, as arrays: into `text`; where each ends into `ends`. */
static uint32_t make(const char *lines, char *text, uint32_t *ends)
{
    uint32_t count = 0;
    uint32_t used = 0;
    for (const char *line = lines; *line != 0; count++) {
        size_t size = strcspn(line, "\n");
        uint32_t words = 1;
        for (size_t i = 0; i < size; i++) {
            words += line[i] == ' ' ? 1 : 0;
        }
        used += (uint32_t)snprintf(text + used, TEXT_MAX - used, "*%u\r\n", words);
        const char *word = line;
        for (uint32_t i = 0; i < words; i++) {
            size_t bytes = strcspn(word, " \n");
            used += (uint32_t)snprintf(text + used, TEXT_MAX - used, "$%zu\r\n%.*s\r\n", bytes,
                                       (int)bytes, word);
            word += bytes + 1;
        }
        assert_true(count < PIECES_MAX);
        ends[count] = used;
        line += size + (line[size] == '\n' ? 1 : 0);
    }
    return count;
}

/* How many commands of the first `size` bytes, in memory of this size, go together. */
static uint32_t measure(const char *text, uint32_t size, uint32_t first, uint32_t bytes_max,
                        uint32_t *bytes)
{
    uint8_t *exact = malloc(size);
    assert_non_null(exact);
    memcpy(exact, text, size);
    struct resp_run run = {0};
    *bytes = first;
    uint32_t commands = 1;
    if (resp_run_begin(bytes_of(exact, size), first, &run)) {
        *bytes = resp_run_measure(bytes_of(exact, size), first, bytes_max, &run);
        commands = run.commands;
    }
    free(exact);
    return commands;
}

/* `wanted` of the commands are the run, wherever what has arrived ends. */
static void check_run(const char *lines, uint32_t wanted)
{
    char text[TEXT_MAX];
    uint32_t ends[PIECES_MAX];
    uint32_t count = make(lines, text, ends);
    assert_true(wanted <= count);
    for (uint32_t size = ends[0]; size <= ends[count - 1]; size++) {
        uint32_t whole = 1;
        while (whole < wanted && ends[whole] <= size) {
            whole++;
        }
        uint32_t bytes;
        assert_int_equal(measure(text, size, ends[0], UINT32_MAX, &bytes), whole);
        assert_int_equal(bytes, ends[whole - 1]);
    }
}

static void commands_of_one_head_go_together(void **state)
{
    (void)state;
    check_run("XADD s * f v\nXADD s * g ww\nXADD s * * *", 3);
    check_run("XADD s * f v\nXADD s * g ww\nPING\nXADD s * f v", 2);
    check_run("xadd s * f v a b\nxadd s * g ww c d", 2);
    check_run("XADD s NOMKSTREAM * f v\nXADD s NOMKSTREAM * f v", 2);
    check_run("XADD s MAXLEN ~ 100 LIMIT 5 * f v\nXADD s MAXLEN ~ 100 LIMIT 5 * g v", 2);
    check_run("XADD s MAXLEN = 1 * f v\nXADD s MAXLEN = 1 * g v", 2);
    check_run("XADD s NOMKSTREAM MINID ~ 5-3 LIMIT 5 * f v\n"
              "XADD s NOMKSTREAM MINID ~ 5-3 LIMIT 5 * f w",
              2);
    check_run("PUT s one\nPUT s two\nPUT s three", 3);
    check_run("XADD s * f 0123456789\nXADD s * f 0", 2); /* Sizes of other lengths. */
}

static void what_differs_goes_alone(void **state)
{
    (void)state;
    check_run("XADD s * f v\nXADD t * f v", 1);
    check_run("XADD s * f v\nxadd s * f v", 1);
    check_run("XADD s * f v\nXADD s * f v g w", 1);
    check_run("XADD s MAXLEN 1 * f v\nXADD s MAXLEN 2 * f v", 1);
    check_run("XADD s MAXLEN 1 * f v\nXADD s MINID 1 * f v", 1);
    check_run("XADD s 5-* f v\nXADD s 5-* f v", 1);
    check_run("XADD s 5-1 f v\nXADD s 5-2 f v", 1);
    check_run("XADD s 5-1 * v\nXADD s 5-1 * v", 1); /* The star is a field. */
    check_run("XADD s NOMKSTREAM 5-1 * v\nXADD s NOMKSTREAM 5-1 * v", 1);
    check_run("XADD s MAXLEN * * f v\nXADD s MAXLEN * * f v", 1); /* What is wrong is told */
    check_run("XADD s * f\nXADD s * f", 1);                       /* to each by itself. */
    check_run("XADD s *\nXADD s *", 1);
    check_run("XADD *\nXADD *", 1);
    check_run("PUT s\nPUT s", 1);
    check_run("PUT s one two\nPUT s one two", 1);
    check_run("XLEN s\nXLEN s", 1);
    check_run("XDEL s * f v\nXDEL s * f v", 1);
}

static void other_bytes_behind_end_a_run(void **state)
{
    (void)state;
    static const char *const behind[] = {
        "XADD s * f v\r\n", "*-1\r\n", "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\nx",
        "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\nf\r\n$-5\r\n", "\r\n"};
    char text[TEXT_MAX];
    uint32_t ends[PIECES_MAX];
    uint32_t count = make("XADD s * f v\nXADD s * f v", text, ends);
    assert_int_equal(count, 2);
    for (uint32_t i = 0; i < ARRAY_COUNT(behind); i++) {
        uint32_t bytes;
        size_t more = strlen(behind[i]);
        memcpy(text + ends[1], behind[i], more);
        assert_int_equal(measure(text, ends[1] + (uint32_t)more, ends[0], UINT32_MAX, &bytes), 2);
        assert_int_equal(bytes, ends[1]);
        memcpy(text + ends[0], behind[i], more);
        assert_int_equal(measure(text, ends[0] + (uint32_t)more, ends[0], UINT32_MAX, &bytes), 1);
        assert_int_equal(make("XADD s * f v\nXADD s * f v", text, ends), 2);
    }
    /* A line: never. */
    static const char line[] = "XADD s * f v\r\nXADD s * f v\r\n";
    uint32_t bytes;
    assert_int_equal(measure(line, sizeof(line) - 1, 14, UINT32_MAX, &bytes), 1);
}

/* No batch of a run is larger than what it may have, however its entries turn out. */
static void a_run_ends_where_its_batch_would_be_too_large(void **state)
{
    (void)state;
    char text[TEXT_MAX];
    uint32_t ends[PIECES_MAX];
    static const char command[] = "XADD s * field 0123456789\n";
    char lines[20 * sizeof(command)];
    for (uint32_t i = 0; i < 20; i++) {
        memcpy(lines + i * (sizeof(command) - 1), command, sizeof(command));
    }
    assert_int_equal(make(lines, text, ends), 20);
    uint32_t before = 1;
    for (uint32_t bytes_max = 0; bytes_max < 4096; bytes_max++) {
        uint32_t bytes;
        uint32_t commands = measure(text, ends[19], ends[0], bytes_max, &bytes);
        assert_in_range(commands, before, before + 1);
        assert_int_equal(bytes, ends[commands - 1]);
        assert_true(commands == 1 || bytes + BATCH_HEADER_BYTES <= bytes_max);
        before = commands;
    }
    assert_int_equal(before, 20);
}

static void a_run_has_bounds(void **state)
{
    (void)state;
    static const char command[] =
        "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\nf\r\n$1\r\nv\r\n";
    uint32_t each = sizeof(command) - 1;
    uint32_t count = 4 * RESP_RUN_COMMANDS_MAX;
    uint32_t bytes;
    char *text = malloc((size_t)count * each);
    assert_non_null(text);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(text + (size_t)i * each, command, each);
    }
    assert_int_equal(measure(text, count * each, each, UINT32_MAX, &bytes), RESP_RUN_COMMANDS_MAX);
    assert_int_equal(bytes, RESP_RUN_COMMANDS_MAX * each);
    free(text);
}

static void a_run_is_taken_apart(void **state)
{
    (void)state;
    char text[TEXT_MAX];
    uint32_t ends[PIECES_MAX];
    uint32_t count = make("XADD s * f v a b\nXADD s * g ww * \nXADD s * hh w c dd", text, ends);
    static const char *const wanted[3][4] = {
        {"f", "v", "a", "b"}, {"g", "ww", "*", ""}, {"hh", "w", "c", "dd"}};
    struct resp_run run;
    struct bytes input = bytes_of(text, ends[count - 1]);
    assert_true(resp_run_begin(input, ends[0], &run));
    assert_int_equal(resp_run_measure(input, ends[0], UINT32_MAX, &run), ends[2]);
    assert_int_equal(run.commands, 3);
    assert_int_equal(run.behind, 4);
    assert_true(bytes_equal(run.key, bytes_text("s")));
    uint32_t position = 0;
    for (uint32_t i = 0; i < 3; i++) {
        struct bytes arguments[4];
        resp_run_next(input, run.head_bytes, run.behind, &position, arguments);
        assert_int_equal(position, ends[i]);
        for (uint32_t j = 0; j < 4; j++) {
            assert_true(bytes_equal(arguments[j], bytes_text(wanted[i][j])));
        }
    }
}

/* As many answers as one by one, the same bytes. */
static void ids_of_a_run_are_written_each(void **state)
{
    (void)state;
    static const struct stream_id firsts[] = {
        {1, 0}, {1764409826123, 95}, {UINT64_MAX, 9995}, {99, UINT64_MAX - 9}};
    for (uint32_t i = 0; i < ARRAY_COUNT(firsts); i++) {
        uint8_t together[1024];
        uint8_t apart[1024];
        struct resp_writer one = {.data = together, .size = sizeof(together), .protocol = 2};
        struct resp_writer other = {.data = apart, .size = sizeof(apart), .protocol = 2};
        resp_write_ids(&one, firsts[i], 10);
        for (uint32_t j = 0; j < 10; j++) {
            char id[RESP_ID_TEXT_BYTES];
            struct stream_id next = {firsts[i].ms, firsts[i].seq + j};
            resp_write_text(&other, resp_id_text(next, id));
        }
        assert_int_equal(one.position, other.position);
        assert_memory_equal(together, apart, one.position);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_of_one_head_go_together),
        cmocka_unit_test(what_differs_goes_alone),
        cmocka_unit_test(other_bytes_behind_end_a_run),
        cmocka_unit_test(a_run_ends_where_its_batch_would_be_too_large),
        cmocka_unit_test(a_run_has_bounds),
        cmocka_unit_test(a_run_is_taken_apart),
        cmocka_unit_test(ids_of_a_run_are_written_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
