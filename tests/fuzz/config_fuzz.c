/* Settings from a file, the environment or the command line, whatever is in them: taken whole and
 * within their bounds, or refused with a sentence and nothing changed. */
#include "core/assert.h"
#include "core/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FUZZ_INPUT_BYTES_MAX = 400, VARIABLES_MAX = 8, LARGE_BYTES = (1 << 20) + 1 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct config_option options[] = {
    {"data.dir", CONFIG_TEXT, "/var/lib/floe", 1, 64, NULL, "a text"},
    {"node.id", CONFIG_COUNT, "0", 0, 1000, NULL, "a count"},
    {"memory.limit", CONFIG_BYTES, "auto", 0, INT64_MAX, NULL, "bytes or auto"},
    {"retention.ms", CONFIG_DURATION, "7d", -1, INT64_MAX, NULL, "a duration or none"},
    {"topic.auto.create", CONFIG_BOOL, "false", 0, 1, NULL, "yes or no"},
    {"io.engine", CONFIG_CHOICE, "auto", 0, 0, "auto|uring|posix", "a choice"},
};

/* All values in one text, to compare. */
static void describe(const struct config *config, char *text, size_t size)
{
    size_t at = 0;
    for (uint32_t i = 0; i < config_count(config); i++) {
        const char *key = config_option(config, i)->key;
        ASSERT(config_source(config, key) != CONFIG_FROM_DEFAULT ||
               strcmp(config_place(config, key), "default") == 0);
        int rc = snprintf(text + at, size - at, "%s\n", config_value_text(config, i));
        ASSERT(rc >= 0 && (size_t)rc < size - at);
        at += (size_t)rc;
    }
}

static void check_bounds(const struct config *config)
{
    for (uint32_t i = 0; i < config_count(config); i++) {
        const struct config_option *option = config_option(config, i);
        if (option->type == CONFIG_COUNT || option->type == CONFIG_BYTES ||
            option->type == CONFIG_DURATION) {
            int64_t number = config_number(config, option->key);
            ASSERT(number >= option->min);
            ASSERT(option->max == 0 || number <= option->max);
        }
    }
    ASSERT(strlen(config_text(config, "data.dir")) <= 64);
    MAYBE(config_bool(config, "topic.auto.create"));
}

static enum err read_file(struct config *config, const char *text, size_t size, char *message)
{
    static int fd = -1;
    char path[64];
    if (fd < 0) {
        fd = memfd_create("config", MFD_CLOEXEC);
        ASSERT(fd >= 0);
    }
    int rc = ftruncate(fd, 0);
    ssize_t wrote = pwrite(fd, text, size, 0);
    ASSERT(rc == 0 && wrote == (ssize_t)size);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return config_read_file(config, path, message);
}

static enum err read_environment(struct config *config, char *text, size_t size, char *message)
{
    char *variables[VARIABLES_MAX + 1] = {NULL};
    uint32_t count = 0;
    for (size_t at = 0; at < size && count < VARIABLES_MAX; at += strlen(text + at) + 1) {
        variables[count++] = text + at;
    }
    return config_read_environment(config, variables, message);
}

static enum err set(struct config *config, const char *text, size_t size, char *message)
{
    size_t key = strlen(text);
    const char *value = key < size ? text + key + 1 : "";
    char checked[CONFIG_MESSAGE_BYTES];
    enum err judged = config_check(config, text, value, "--set", checked);
    enum err err = config_set(config, text, value, CONFIG_FROM_FLAG, "--set", message);
    ASSERT(judged == err && (err == OK || strcmp(checked, message) == 0));
    if (err == OK) { /* What is set is stronger than the environment, whatever it says. */
        err = config_set(config, text, value, CONFIG_FROM_ENVIRONMENT, "FLOE", message);
        ASSERT(err == OK && config_source(config, text) == CONFIG_FROM_FLAG);
    }
    const char *const words[] = {"data.dir", "node.id"};
    MAYBE(config_suggest(text, words, ARRAY_COUNT(words)) != NULL);
    return err;
}

/* What can be opened and is no file of settings, and what cannot. */
static void check_no_files(void)
{
    static bool done;
    char message[CONFIG_MESSAGE_BYTES];
    struct config *config = done ? NULL : config_create(options, ARRAY_COUNT(options));
    char *large = done ? NULL : calloc(1, LARGE_BYTES);
    if (!done) {
        ASSERT(config != NULL && large != NULL);
        memset(large, ';', LARGE_BYTES);
        ASSERT(config_read_file(config, "/", message) != OK);
        ASSERT(config_read_file(config, "/no/such/file", message) == ERR_NOT_FOUND);
        ASSERT(read_file(config, large, LARGE_BYTES, message) == ERR_INVALID);
        config_destroy(config);
    }
    free(large);
    done = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_no_files();
    if (size < 1 || size > FUZZ_INPUT_BYTES_MAX) {
        return 0;
    }
    struct config *config = config_create(options, ARRAY_COUNT(options));
    char *text = calloc(1, size + 1);
    char message[CONFIG_MESSAGE_BYTES] = "";
    static char before[8 * FUZZ_INPUT_BYTES_MAX];
    static char after[8 * FUZZ_INPUT_BYTES_MAX];
    ASSERT(config != NULL && text != NULL);
    memcpy(text, data + 1, size - 1);
    describe(config, before, sizeof(before));
    enum err err = data[0] % 3 == 0   ? read_file(config, text, size - 1, message)
                   : data[0] % 3 == 1 ? read_environment(config, text, size - 1, message)
                                      : set(config, text, size - 1, message);
    if (err != OK) {
        describe(config, after, sizeof(after));
        ASSERT(strcmp(before, after) == 0);
        ASSERT(message[0] != 0 && memchr(message, 0, sizeof(message)) != NULL);
    }
    check_bounds(config);
    config_destroy(config);
    free(text);
    return 0;
}
