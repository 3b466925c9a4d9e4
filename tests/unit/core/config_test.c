/* Settings: values of every type, their bounds, precedence, and messages that say what to do. */
#include "core/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct config_option options[] = {
    {"data.dir", CONFIG_TEXT, "data", 1, 32, NULL, "where the log is"},
    {"advertise", CONFIG_TEXT, "", 0, 0, NULL, "what clients are told"},
    {"topic.auto.create", CONFIG_BOOL, "false", 0, 0, NULL, "make topics on first use"},
    {"segment.records", CONFIG_COUNT, "1000000", 1, 100000000, NULL, "records per segment"},
    {"node.id", CONFIG_COUNT, "-1", -1, INT32_MAX, NULL, "who we are"},
    {"segment.bytes", CONFIG_BYTES, "1GiB", 1 << 20, (int64_t)4 << 30, NULL, "bytes per segment"},
    {"memory.limit", CONFIG_BYTES, "auto", 0, INT64_MAX, NULL, "memory of all cores"},
    {"retention.bytes", CONFIG_BYTES, "-1", -1, INT64_MAX, NULL, "kept at most"},
    {"retention.ms", CONFIG_DURATION, "7d", -1, INT64_MAX, NULL, "kept for"},
    {"drain.timeout", CONFIG_DURATION, "10s", 100, 3600000, NULL, "wait at the end"},
    {"log.level", CONFIG_CHOICE, "info", 0, 0, "error|warn|info|debug", "what is logged"},
};

static const struct config_option *option_of(const char *key)
{
    for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
        if (strcmp(options[i].key, key) == 0) {
            return &options[i];
        }
    }
    fail();
    return NULL;
}

static struct config *create(void)
{
    struct config *config = config_create(options, (uint32_t)ARRAY_COUNT(options));
    assert_non_null(config);
    return config;
}

/* A file with this content; its path is static. */
static const char *file_with(const char *content, size_t size)
{
    static char path[64];
    (void)snprintf(path, sizeof(path), "/tmp/floe-config-test-%d.ini", (int)getpid());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Reads `content` as a file; on an error `message` begins behind the path. */
static enum err read_text(struct config *config, const char *content, char *message)
{
    char text[CONFIG_MESSAGE_BYTES] = "";
    const char *path = file_with(content, strlen(content));
    enum err err = config_read_file(config, path, text);
    (void)unlink(path);
    if (err != OK) {
        assert_int_equal(strncmp(text, path, strlen(path)), 0);
        (void)snprintf(message, CONFIG_MESSAGE_BYTES, "%s", text + strlen(path));
    }
    return err;
}

static void defaults_are_parsed_and_known_as_such(void **state)
{
    (void)state;
    struct config *config = create();
    assert_string_equal(config_text(config, "data.dir"), "data");
    assert_false(config_bool(config, "topic.auto.create"));
    assert_int_equal(config_number(config, "segment.records"), 1000000);
    assert_int_equal(config_number(config, "segment.bytes"), 1 << 30);
    assert_int_equal(config_number(config, "memory.limit"), 0);
    assert_int_equal(config_number(config, "retention.bytes"), -1);
    assert_int_equal(config_number(config, "retention.ms"), 604800000);
    assert_string_equal(config_text(config, "log.level"), "info");
    assert_int_equal(config_source(config, "data.dir"), CONFIG_FROM_DEFAULT);
    assert_string_equal(config_place(config, "data.dir"), "default");
    assert_int_equal(config_count(config), ARRAY_COUNT(options));
    assert_string_equal(config_option(config, 5)->key, "segment.bytes");
    assert_string_equal(config_value_text(config, 5), "1GiB");
    config_destroy(config);
    config_destroy(NULL);
}

static void values_of_every_type_are_understood(void **state)
{
    (void)state;

    static const struct {
        const char *key, *text;
        int64_t number;
    } cases[] = {
        {"segment.bytes", "1MiB", 1 << 20},
        {"segment.bytes", "64mib", 64 << 20},
        {"segment.bytes", "4GiB", (int64_t)4 << 30},
        {"segment.bytes", "1GB", 1000000000},
        {"segment.bytes", "2048KiB", 2 << 20},
        {"segment.bytes", "2000KB", 2000000},
        {"segment.bytes", "5MB", 5000000},
        {"segment.bytes", "1048576B", 1 << 20},
        {"segment.bytes", "1048576", 1 << 20},
        {"memory.limit", "auto", 0},
        {"memory.limit", "0", 0},
        {"memory.limit", "1TiB", (int64_t)1 << 40},
        {"memory.limit", "1TB", (int64_t)1000000000000},
        {"memory.limit", "9223372036854775807", INT64_MAX},
        {"retention.bytes", "-1", -1},
        {"retention.ms", "-1", -1},
        {"retention.ms", "250", 250},
        {"retention.ms", "250ms", 250},
        {"retention.ms", "7d", 604800000},
        {"drain.timeout", "100ms", 100},
        {"drain.timeout", "10s", 10000},
        {"drain.timeout", "5m", 300000},
        {"drain.timeout", "1h", 3600000},
        {"segment.records", "1", 1},
        {"segment.records", "100000000", 100000000},
        {"node.id", "-1", -1},
        {"topic.auto.create", "true", 1},
        {"topic.auto.create", "yes", 1},
        {"topic.auto.create", "on", 1},
        {"topic.auto.create", "1", 1},
        {"topic.auto.create", "false", 0},
        {"topic.auto.create", "no", 0},
        {"topic.auto.create", "off", 0},
        {"topic.auto.create", "0", 0},
        {"log.level", "error", 0},
        {"log.level", "debug", 3},
        {"data.dir", "/var/lib/floe", 0},
        {"advertise", "", 0},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char message[CONFIG_MESSAGE_BYTES] = "";
        int64_t number = -77;
        assert_int_equal(
            config_parse_value(option_of(cases[i].key), cases[i].text, &number, message), OK);
        assert_true(number == cases[i].number);
        assert_string_equal(message, "");
    }
}

static void wrong_values_are_refused_with_advice(void **state)
{
    (void)state;

    static const struct {
        const char *key, *text, *message;
    } cases[] = {
        {"segment.bytes", "64XB",
         "segment.bytes = 64XB is not a size: give a number and a unit, "
         "such as 64MiB or 1GB"},
        {"segment.bytes", "64M", "is not a size"},
        {"segment.bytes", "1.5GiB", "is not a size"},
        {"segment.bytes", "", "segment.bytes = \"\" is not a size"},
        {"segment.bytes", "auto", "is not a size"}, /* Its minimum is not 0. */
        {"segment.bytes", "1 MiB", "segment.bytes = \"1 MiB\" is not a size"},
        {"segment.bytes", "1023KiB", "segment.bytes = 1023KiB is out of range: give 1MiB to 4GiB"},
        {"segment.bytes", "5GiB", "give 1MiB to 4GiB"},
        {"segment.bytes", "-1", "give 1MiB to 4GiB"},
        {"segment.bytes", "99999999999999999999", "is out of range"},
        {"segment.bytes", "-9223372036854775808", "is out of range"},
        {"memory.limit", "9999999TiB", "is out of range"},
        {"memory.limit", "-5MiB", "is out of range"},
        {"retention.bytes", "-2", "is out of range: give -1 to"},
        {"retention.bytes", "-1MiB", "is out of range"},
        {"drain.timeout", "250",
         "drain.timeout = 250 is not a duration: give a number and a unit, "
         "such as 250ms, 10s, 5m, 1h or 7d"},
        {"drain.timeout", "10S", "is not a duration"},
        {"drain.timeout", "10sec", "is not a duration"},
        {"drain.timeout", "ms", "is not a duration"},
        {"drain.timeout", "99ms", "drain.timeout = 99ms is out of range: give 100ms to 1h"},
        {"drain.timeout", "2h", "give 100ms to 1h"},
        {"drain.timeout", "0", "give 100ms to 1h"},
        {"retention.ms", "106751991168d", "is out of range"},
        {"segment.records", "0", "segment.records = 0 is out of range: give 1 to 100000000"},
        {"segment.records", "10k", "segment.records = 10k is not a number: give digits only"},
        {"segment.records", "0x10", "is not a number"},
        {"segment.records", "+5", "is not a number"},
        {"segment.records", " 5", "is not a number"},
        {"segment.records", "-", "is not a number"},
        {"segment.records", "18446744073709551617", "is out of range"},
        {"topic.auto.create", "TRUE", "is neither true nor false: give true or false"},
        {"topic.auto.create", "2", "is neither true nor false"},
        {"log.level", "loud",
         "log.level = loud is not one of the choices: give error or warn or "
         "info or debug"},
        {"log.level", "warn|info", "is not one of the choices"},
        {"log.level", "inf", "is not one of the choices"},
        {"log.level", "", "is not one of the choices"},
        {"data.dir", "", "data.dir = \"\" is too short: give it a value"},
        {"data.dir", "123456789012345678901234567890123", "is too long: give at most 32 bytes"},
        {"data.dir", "a\tb", "data.dir = \"a\\tb\" has control characters in it"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char message[CONFIG_MESSAGE_BYTES] = "";
        int64_t number = -77;
        assert_int_equal(
            config_parse_value(option_of(cases[i].key), cases[i].text, &number, message),
            ERR_INVALID);
        assert_true(number == -77);
        if (strstr(message, cases[i].message) == NULL) {
            fail_msg("\"%s\" lacks \"%s\"", message, cases[i].message);
        }
    }
}

static void a_higher_source_wins_in_any_order(void **state)
{
    (void)state;

    static const enum config_source sources[] = {CONFIG_FROM_FILE, CONFIG_FROM_ENVIRONMENT,
                                                 CONFIG_FROM_FLAG};

    static const char *const values[] = {"1", "2", "3"};
    char message[CONFIG_MESSAGE_BYTES];
    for (uint32_t order = 0; order < 6; order++) {
        struct config *config = create();
        uint32_t first = order % 3, second = (first + 1 + order / 3) % 3;
        uint32_t turns[3] = {first, second, 3 - first - second};
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(config_set(config, "segment.records", values[turns[i]],
                                        sources[turns[i]], "here", message),
                             OK);
        }
        assert_int_equal(config_number(config, "segment.records"), 3);
        assert_int_equal(config_source(config, "segment.records"), CONFIG_FROM_FLAG);
        config_destroy(config);
    }
}

static void of_one_source_the_last_wins(void **state)
{
    (void)state;
    char message[CONFIG_MESSAGE_BYTES];
    struct config *config = create();
    assert_int_equal(config_set(config, "data.dir", "a", CONFIG_FROM_FLAG, "--data", message), OK);
    assert_int_equal(config_set(config, "data.dir", "b", CONFIG_FROM_FLAG, "--set", message), OK);
    assert_string_equal(config_text(config, "data.dir"), "b");
    assert_string_equal(config_place(config, "data.dir"), "--set");
    config_destroy(config);
}

static void a_refused_value_leaves_the_old_one(void **state)
{
    (void)state;
    char message[CONFIG_MESSAGE_BYTES] = "";
    struct config *config = create();
    assert_int_equal(
        config_set(config, "segment.bytes", "2GiB", CONFIG_FROM_FILE, "a.ini:1", message), OK);
    assert_int_equal(
        config_set(config, "segment.bytes", "2KiB", CONFIG_FROM_FLAG, "--set", message),
        ERR_INVALID);
    assert_string_equal(message, "--set: segment.bytes = 2KiB is out of range: give 1MiB to 4GiB");
    assert_true(config_number(config, "segment.bytes") == (int64_t)2 << 30);
    assert_string_equal(config_value_text(config, 5), "2GiB");
    assert_string_equal(config_place(config, "segment.bytes"), "a.ini:1");
    assert_int_equal(config_check(config, "segment.bytes", "3GiB", "--set", message), OK);
    assert_true(config_number(config, "segment.bytes") == (int64_t)2 << 30); /* Only checked. */
    config_destroy(config);
}

static void an_unknown_key_names_the_nearest(void **state)
{
    (void)state;
    char message[CONFIG_MESSAGE_BYTES] = "";
    struct config *config = create();
    assert_int_equal(
        config_set(config, "segmnet.bytes", "1GiB", CONFIG_FROM_FLAG, "--set", message),
        ERR_INVALID);
    assert_string_equal(message,
                        "--set: unknown setting segmnet.bytes: did you mean segment.bytes?");
    assert_int_equal(config_set(config, "colour", "red", CONFIG_FROM_FLAG, "--set", message),
                     ERR_INVALID);
    assert_string_equal(message, "--set: unknown setting colour: remove it, or see floe config "
                                 "show for all that exist");
    config_destroy(config);
}

static void a_suggestion_is_within_three_edits(void **state)
{
    (void)state;
    static const char *const words[] = {"produce", "consume", "topic", "log"};
    assert_string_equal(config_suggest("prodcue", words, 4), "produce"); /* Swapped. */
    assert_string_equal(config_suggest("pruduse", words, 4), "produce"); /* Changed twice. */
    assert_string_equal(config_suggest("topics", words, 4), "topic");
    assert_string_equal(config_suggest("tpc", words, 4), "topic");
    assert_string_equal(config_suggest("log", words, 4), "log");
    assert_null(config_suggest("xyz", words, 4)); /* Three edits, but nothing of it is left. */
    assert_null(config_suggest("replicate", words, 4));
    assert_null(config_suggest("", words, 4));
    assert_null(config_suggest("log", words, 0));
    char long_word[300];
    memset(long_word, 'a', sizeof(long_word) - 1);
    long_word[sizeof(long_word) - 1] = '\0';
    assert_null(config_suggest(long_word, words, 4));
}

static void a_file_sets_values_by_section_or_whole_key(void **state)
{
    (void)state;
    char message[CONFIG_MESSAGE_BYTES] = "";
    struct config *config = create();
    assert_int_equal(read_text(config,
                               "; comment\n# another\n   ; indented comment\n\n   \n"
                               "data.dir = /var/lib/floe\n"
                               "[segment]\r\n"
                               "bytes = 512MiB\r\n"
                               "records=5\n"
                               "[topic.auto]\n"
                               "create = yes",
                               message),
                     OK);
    assert_string_equal(config_text(config, "data.dir"), "/var/lib/floe");
    assert_int_equal(config_number(config, "segment.bytes"), 512 << 20);
    assert_int_equal(config_number(config, "segment.records"), 5);
    assert_true(config_bool(config, "topic.auto.create"));
    assert_int_equal(config_source(config, "segment.bytes"), CONFIG_FROM_FILE);
    const char *place = config_place(config, "segment.bytes");
    assert_string_equal(place + strlen(place) - 2, ":8");
    assert_int_equal(read_text(config, "", message), OK);
    assert_int_equal(read_text(config,
                               "\xef\xbb\xbf"
                               "data.dir = bom\n",
                               message),
                     OK);
    assert_string_equal(config_text(config, "data.dir"), "bom");
    /* The mark counts for nothing: a first line as long as one may be goes through behind it. */
    char longest[256];
    int size = snprintf(longest, sizeof(longest), "\xef\xbb\xbf;%0197d\ndata.dir = long\n", 0);
    assert_in_range(size, 3 + 198, sizeof(longest) - 1);
    assert_int_equal(read_text(config, longest, message), OK);
    assert_string_equal(config_text(config, "data.dir"), "long");
    config_destroy(config);
}

static void a_file_with_a_mistake_changes_nothing(void **state)
{
    (void)state;

    static const struct {
        const char *content, *message;
    } cases[] = {
        {"data.dir = x\nsegment.byte = 1GiB\n",
         ":2: unknown setting segment.byte: did you mean segment.bytes?"},
        {"data.dir = x\n[segment]\nbytes = 1\n",
         ":3: segment.bytes = 1 is out of range: give 1MiB to 4GiB"},
        {"data.dir = x\ndata.dir = y\n",
         ":2: data.dir is set a second time, first in line 1: remove one of them"},
        {"[segment]\nbytes = 1GiB\n[]\nsegment.bytes = 1GiB\n",
         ":4: segment.bytes is set a second time, first in line 2: remove one of them"},
        {"data.dir = x\n  log.level = debug\n",
         ":2: the line begins with a blank: remove the blanks"},
        {"data.dir = x\n\tmore\n", ":2: the line begins with a blank"},
        {"data.dir = x\njust words\n", ":2: the line is no setting: write key = value"},
        {"data.dir = x\n[segment\nbytes = 1GiB\n", ":2: the line is no setting"},
        {"data.dir = x\n= 5\n", ":2: unknown setting \"\""},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char message[CONFIG_MESSAGE_BYTES] = "";
        struct config *config = create();
        assert_int_equal(read_text(config, cases[i].content, message), ERR_INVALID);
        if (strncmp(message, cases[i].message, strlen(cases[i].message)) != 0) {
            fail_msg("\"%s\" is not \"%s\"", message, cases[i].message);
        }
        assert_string_equal(config_text(config, "data.dir"), "data");
        assert_int_equal(config_source(config, "data.dir"), CONFIG_FROM_DEFAULT);
        config_destroy(config);
    }
}

/* What libinih would cut is refused; what it would not is read to the last byte. */
static void long_lines_are_read_whole_or_refused(void **state)
{
    (void)state;
    static const char *const ends[] = {"", "\n", "\n\n"};
    for (size_t size = 190; size < 210; size++) {
        for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
            char message[CONFIG_MESSAGE_BYTES] = "", content[256] = "advertise=";
            memset(content + 10, 'v', size - 10);
            (void)snprintf(content + size, sizeof(content) - size, "%s", ends[i]);
            struct config *config = create();
            enum err err = read_text(config, content, message);
            if (size <= 198) {
                assert_int_equal(err, OK);
                assert_int_equal(strlen(config_text(config, "advertise")), size - 10);
            } else {
                assert_int_equal(err, ERR_INVALID);
                assert_non_null(strstr(message, ":1: the line is longer than 198 bytes"));
            }
            config_destroy(config);
        }
    }
}

static void files_that_are_none_are_refused(void **state)
{
    (void)state;
    char message[CONFIG_MESSAGE_BYTES] = "";
    struct config *config = create();
    assert_int_equal(config_read_file(config, "/nowhere/floe.ini", message), ERR_NOT_FOUND);
    assert_non_null(strstr(message, "/nowhere/floe.ini: cannot open the settings file: No such"));
    assert_int_equal(config_read_file(config, "/tmp", message), ERR_IO);
    assert_non_null(strstr(message, "Is it a directory?"));
    const char *path = file_with("a\0b", 3);
    assert_int_equal(config_read_file(config, path, message), ERR_INVALID);
    assert_non_null(strstr(message, ":1: the line has a zero byte in it"));
    char *large = calloc(1, (1 << 20) + 1);
    assert_non_null(large);
    memset(large, '\n', (1 << 20) + 1);
    path = file_with(large, (1 << 20) + 1);
    assert_int_equal(config_read_file(config, path, message), ERR_INVALID);
    assert_non_null(strstr(message, "larger than 1MiB"));
    path = file_with(large, 1 << 20);
    assert_int_equal(config_read_file(config, path, message), OK);
    (void)unlink(path);
    free(large);
    config_destroy(config);
}

static void the_environment_sets_values_by_upper_case_names(void **state)
{
    (void)state;
    char message[CONFIG_MESSAGE_BYTES] = "";
    char path[] = "PATH=/bin", bytes[] = "FLOE_SEGMENT_BYTES=2GiB";
    char create_topics[] = "FLOE_TOPIC_AUTO_CREATE=on", odd[] = "FLOE_NO_EQUALS";
    char *const variables[] = {path, bytes, create_topics, odd, NULL};
    struct config *config = create();
    assert_int_equal(config_read_environment(config, variables, message), OK);
    assert_true(config_number(config, "segment.bytes") == (int64_t)2 << 30);
    assert_true(config_bool(config, "topic.auto.create"));
    assert_int_equal(config_source(config, "segment.bytes"), CONFIG_FROM_ENVIRONMENT);
    assert_string_equal(config_place(config, "segment.bytes"), "FLOE_SEGMENT_BYTES");
    config_destroy(config);
}

static void an_environment_with_a_mistake_changes_nothing(void **state)
{
    (void)state;
    char message[CONFIG_MESSAGE_BYTES] = "";
    char good[] = "FLOE_DATA_DIR=/x", typo[] = "FLOE_SEGMENT_BYTE=2GiB", odd[] = "FLOE_COLOUR=red";
    char wrong[] = "FLOE_LOG_LEVEL=loud";
    char *const with_typo[] = {good, typo, NULL};
    char *const with_odd[] = {good, odd, NULL};
    char *const with_wrong[] = {good, wrong, NULL};
    struct config *config = create();
    assert_int_equal(config_read_environment(config, with_typo, message), ERR_INVALID);
    assert_string_equal(message, "environment: unknown variable FLOE_SEGMENT_BYTE: did you mean "
                                 "FLOE_SEGMENT_BYTES?");
    assert_int_equal(config_read_environment(config, with_odd, message), ERR_INVALID);
    assert_string_equal(message, "environment: unknown variable FLOE_COLOUR: unset it, names that "
                                 "begin with FLOE_ are settings");
    assert_int_equal(config_read_environment(config, with_wrong, message), ERR_INVALID);
    assert_string_equal(message, "FLOE_LOG_LEVEL: log.level = loud is not one of the choices: give "
                                 "error or warn or info or debug");
    assert_string_equal(config_text(config, "data.dir"), "data");
    config_destroy(config);
}

/* The longest of everything: the message is cut, never overrun. */
static void messages_stay_within_their_buffer(void **state)
{
    (void)state;
    char guarded[CONFIG_MESSAGE_BYTES + 1], word[3000], variable[3100];
    memset(word, '"', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    (void)snprintf(variable, sizeof(variable), "FLOE_%s=1", word);
    char *const variables[] = {variable, NULL};
    guarded[CONFIG_MESSAGE_BYTES] = '#';
    struct config *config = create();
    assert_int_equal(config_set(config, word, word, CONFIG_FROM_FLAG, word, guarded), ERR_INVALID);
    assert_true(strlen(guarded) < CONFIG_MESSAGE_BYTES);
    assert_int_equal(config_set(config, "log.level", word, CONFIG_FROM_FLAG, word, guarded),
                     ERR_INVALID);
    assert_int_equal(config_read_environment(config, variables, guarded), ERR_INVALID);
    assert_int_equal(config_read_file(config, word, guarded), ERR_IO);
    assert_int_equal(guarded[CONFIG_MESSAGE_BYTES], '#');
    config_destroy(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_parsed_and_known_as_such),
        cmocka_unit_test(values_of_every_type_are_understood),
        cmocka_unit_test(wrong_values_are_refused_with_advice),
        cmocka_unit_test(a_higher_source_wins_in_any_order),
        cmocka_unit_test(of_one_source_the_last_wins),
        cmocka_unit_test(a_refused_value_leaves_the_old_one),
        cmocka_unit_test(an_unknown_key_names_the_nearest),
        cmocka_unit_test(a_suggestion_is_within_three_edits),
        cmocka_unit_test(a_file_sets_values_by_section_or_whole_key),
        cmocka_unit_test(a_file_with_a_mistake_changes_nothing),
        cmocka_unit_test(long_lines_are_read_whole_or_refused),
        cmocka_unit_test(files_that_are_none_are_refused),
        cmocka_unit_test(the_environment_sets_values_by_upper_case_names),
        cmocka_unit_test(an_environment_with_a_mistake_changes_nothing),
        cmocka_unit_test(messages_stay_within_their_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
