/* Lines of logfmt: their form, what cannot break it, and the limit per site. */
#include "core/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINES_MAX = 64, LINE_BYTES_MAX = 4096 };

struct sink {
    uint32_t count;
    uint32_t sizes[LINES_MAX];
    char lines[LINES_MAX][LINE_BYTES_MAX + 1];
};

static struct sink sink;

static void sink_take(void *context, const char *line, uint32_t size)
{
    struct sink *taken = context;
    assert_ptr_equal(taken, &sink);
    assert_true(taken->count < LINES_MAX);
    assert_true(size <= LINE_BYTES_MAX);
    memcpy(taken->lines[taken->count], line, size);
    taken->lines[taken->count][size] = '\0';
    taken->sizes[taken->count++] = size;
}

static int setup(void **state)
{
    (void)state;
    memset(&sink, 0, sizeof(sink));
    log_set_sink(sink_take, &sink);
    log_set_level(LOG_LEVEL_INFO);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_set_sink(NULL, NULL);
    log_set_level(LOG_LEVEL_INFO);
    return 0;
}

static void a_line_is_time_level_sentence_and_values(void **state)
{
    (void)state;
    LOG_INFO("segment sealed topic=%s partition=%d", "orders", 3);
    assert_int_equal(sink.count, 1);
    const char *line = sink.lines[0];
    unsigned year, month, day, hour, minute, second, ms;
    int end = 0;
    assert_int_equal(sscanf(line, "%4u-%2u-%2uT%2u:%2u:%2u.%3uZ%n", &year, &month, &day, &hour,
                            &minute, &second, &ms, &end),
                     7);
    assert_int_equal(end, 24);
    assert_in_range(month, 1, 12);
    assert_true(year >= 2024);
    assert_string_equal(line + end, " info segment sealed topic=orders partition=3\n");
    assert_int_equal(sink.sizes[0], strlen(line));
}

static void only_levels_that_are_on_are_written(void **state)
{
    (void)state;
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (uint32_t level = 0; level < 4; level++) {
        sink.count = 0;
        assert_true(log_set_level_text(names[level]));
        LOG_ERROR("a");
        LOG_WARN("b");
        LOG_INFO("c");
        LOG_DEBUG("d");
        assert_int_equal(sink.count, level + 1);
        for (uint32_t i = 0; i <= level; i++) {
            assert_non_null(strstr(sink.lines[i], names[i]));
            assert_true(log_enabled((enum log_level)i));
        }
    }
    assert_false(log_set_level_text("loud"));
    assert_false(log_set_level_text(""));
    assert_true(log_enabled(LOG_LEVEL_DEBUG)); /* Unchanged. */
}

static void control_characters_cannot_begin_a_line(void **state)
{
    (void)state;
    LOG_WARN("refused name=%s", "x\n2026 error fake\r\t\x01\x7f end");
    assert_int_equal(sink.count, 1);
    assert_non_null(strstr(sink.lines[0], "name=x\\n2026 error fake\\r\\t\\x01\\x7f end\n"));
    assert_ptr_equal(strchr(sink.lines[0], '\n'), sink.lines[0] + sink.sizes[0] - 1);
}

static void utf_8_passes_as_it_is(void **state)
{
    (void)state;
    LOG_WARN("created topic=%s", "caf\xc3\xa9");
    assert_non_null(strstr(sink.lines[0], "topic=caf\xc3\xa9\n"));
}

static void a_long_line_is_cut_and_says_so(void **state)
{
    (void)state;
    static char text[8000];
    for (size_t size = 3900; size < 4200; size++) {
        sink.count = 0;
        memset(text, 'y', size);
        text[size] = '\0';
        struct log_site site = {.dropped = UINT32_MAX}; /* The longest ending there is. */
        log_write(LOG_LEVEL_INFO, &site, "x=%s", text);
        assert_int_equal(sink.count, 1);
        assert_true(sink.sizes[0] <= LINE_BYTES_MAX);
        assert_int_equal(sink.lines[0][sink.sizes[0] - 1], '\n');
        assert_non_null(strstr(sink.lines[0], " dropped=4294967295\n"));
        assert_int_equal(strstr(sink.lines[0], "y...") != NULL, size > 4028);
    }
    memset(text, 1, sizeof(text) - 1); /* Each grows to four. */
    struct log_site site = {0};
    sink.count = 0;
    log_write(LOG_LEVEL_INFO, &site, "%s", text);
    assert_true(sink.sizes[0] <= LINE_BYTES_MAX);
    assert_non_null(strstr(sink.lines[0], "\\x01...\n"));
}

static void say(struct log_site *site, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        log_write(LOG_LEVEL_INFO, site, "again i=%u", i);
    }
}

static void a_site_is_limited_and_says_what_it_left_out(void **state)
{
    (void)state;
    struct log_site site = {0}, other = {0};
    say(&site, 30);
    assert_int_equal(sink.count, 20);
    assert_int_equal(site.dropped, 10);
    say(&other, 1); /* Another site has a limit of its own. */
    assert_int_equal(sink.count, 21);
    site.window_start_ms -= 10000; /* Ten seconds later. */
    say(&site, 2);
    assert_int_equal(sink.count, 23);
    assert_non_null(strstr(sink.lines[21], "again i=0 dropped=10\n"));
    assert_null(strstr(sink.lines[22], "dropped"));
    assert_int_equal(site.dropped, 0);
}

static void a_clock_that_went_back_does_not_silence_a_site(void **state)
{
    (void)state;
    struct log_site site = {0};
    say(&site, 25);
    site.window_start_ms += 3600000;
    say(&site, 1);
    assert_int_equal(sink.count, 21);
    assert_non_null(strstr(sink.lines[20], "dropped=5"));
}

static void without_a_sink_lines_go_to_stderr(void **state)
{
    (void)state;
    int ends[2];
    char text[256] = "";
    log_set_sink(NULL, NULL);
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    (void)dup2(ends[1], STDERR_FILENO);
    LOG_ERROR("a human must act");
    (void)dup2(saved, STDERR_FILENO);
    close(ends[1]);
    close(saved);
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    close(ends[0]);
    assert_non_null(strstr(text, "Z error a human must act\n"));
    assert_int_equal(sink.count, 0);
}

/* It would wait for ever: the pipe is full, and this thread is the one that reads it. */
static void a_line_that_nobody_reads_is_dropped_and_counted(void **state)
{
    (void)state;
    static char bytes[4096];
    int ends[2];
    struct log_site site = {0};
    log_set_sink(NULL, NULL);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    while (write(ends[1], bytes, sizeof(bytes)) > 0) {
    }
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
    int saved = dup(STDERR_FILENO);
    (void)dup2(ends[1], STDERR_FILENO);
    (void)alarm(10);
    say(&site, 3);
    (void)alarm(0);
    uint32_t dropped = site.dropped;
    bool drained = read(ends[0], bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes);
    say(&site, 1);
    (void)dup2(saved, STDERR_FILENO);
    close(ends[1]);
    close(saved);
    assert_true(drained);
    assert_int_equal(dropped, 3);
    assert_int_equal(site.dropped, 0);
    char text[256] = "";
    ssize_t size;
    while ((size = read(ends[0], bytes, sizeof(bytes))) == (ssize_t)sizeof(bytes)) {
    }
    assert_in_range(size, 1, sizeof(text) - 1);
    memcpy(text, bytes, (size_t)size);
    assert_non_null(strstr(text, "again i=0 dropped=3\n"));
    close(ends[0]);
}

/* Its reader has gone: no signal, no error, no line. */
static void a_line_that_nobody_can_read_is_dropped(void **state)
{
    (void)state;
    int ends[2];
    struct log_site site = {0};
    log_set_sink(NULL, NULL);
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    int saved = dup(STDERR_FILENO);
    (void)dup2(ends[1], STDERR_FILENO);
    say(&site, 2);
    (void)dup2(saved, STDERR_FILENO);
    close(ends[1]);
    close(saved);
    assert_int_equal(site.dropped, 2);
}

static void values_are_quoted_when_they_must_be(void **state)
{
    (void)state;

    static const struct {
        const char *text, *quoted;
    } cases[] = {
        {"plain", "plain"},
        {"", "\"\""},
        {"two words", "\"two words\""},
        {"a=b", "\"a=b\""},
        {"say \"hi\"", "\"say \\\"hi\\\"\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"line\nbreak", "\"line\\nbreak\""},
        {"\x01", "\"\\x01\""},
        {"caf\xc3\xa9", "caf\xc3\xa9"},
    };

    char out[64];
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_ptr_equal(log_quote(cases[i].text, out, sizeof(out)), out);
        assert_string_equal(out, cases[i].quoted);
    }
}

/* Cut anywhere: within the buffer, ended, and with as many quotes as it began with. */
static void a_quoted_value_is_cut_whole(void **state)
{
    (void)state;
    for (uint32_t size = 3; size < 24; size++) {
        char out[25];
        memset(out, '#', sizeof(out));
        (void)log_quote("a \"b\" \n\x02 cdefgh", out, size);
        assert_true(strlen(out) < size);
        assert_int_equal(out[size], '#');
        assert_int_equal(out[0], '"');
        assert_int_equal(out[strlen(out) - 1], '"');
        assert_true(strlen(out) < 3 || out[strlen(out) - 2] != '\\');
        (void)log_quote("abcdefghijklmnopqrstuvwxyz", out, size);
        assert_int_equal(strlen(out), size - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_is_time_level_sentence_and_values, setup, teardown),
        cmocka_unit_test_setup_teardown(only_levels_that_are_on_are_written, setup, teardown),
        cmocka_unit_test_setup_teardown(control_characters_cannot_begin_a_line, setup, teardown),
        cmocka_unit_test_setup_teardown(utf_8_passes_as_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_line_is_cut_and_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(a_site_is_limited_and_says_what_it_left_out, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_clock_that_went_back_does_not_silence_a_site, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(without_a_sink_lines_go_to_stderr, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_that_nobody_reads_is_dropped_and_counted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_line_that_nobody_can_read_is_dropped, setup, teardown),
        cmocka_unit_test(values_are_quoted_when_they_must_be),
        cmocka_unit_test(a_quoted_value_is_cut_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
