/* A program that uses libfloe, for tests that need a process of its own: it appends, reads, and
 * ends without a farewell if it is told to.
 *
 *     floe_tool append DIR TOPIC PARTITION FROM COUNT [option]...    values "TOPIC-PARTITION-n"
 *     floe_tool read DIR TOPIC PARTITION [option]...                 a line "offset value" each
 *     floe_tool list DIR | hold DIR [option]...                      hold: until stdin ends
 *     options: posix shared crash os memory sync write records=N batch=N
 *              large=BYTES, trim=OFFSET: after the appends one more record, then a trim */
#include "shard/floe.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct words {
    struct floe_options open;
    struct floe_partition_options partition;
    uint64_t batch, large, trim;
    bool crash, sync, write;
};

static int fail(const char *what, int result, const char *message)
{
    fprintf(stderr, "%s: %s: %s\n", what, floe_error_name(result), message);
    return 1;
}

static bool read_words(int count, char **words, struct words *out)
{
    *out = (struct words){.open = FLOE_OPTIONS, .partition = FLOE_PARTITION_OPTIONS, .batch = 1};
    for (int i = 0; i < count; i++) {
        const char *word = words[i];
        if (strcmp(word, "posix") == 0) {
            out->open.engine = FLOE_ENGINE_POSIX;
        } else if (strcmp(word, "shared") == 0) {
            out->open.shared = 1;
        } else if (strcmp(word, "crash") == 0) {
            out->crash = true;
        } else if (strcmp(word, "sync") == 0) {
            out->sync = true;
        } else if (strcmp(word, "write") == 0) {
            out->write = true;
        } else if (strcmp(word, "os") == 0) {
            out->partition.durability = FLOE_DURABILITY_OS;
        } else if (strcmp(word, "memory") == 0) {
            out->partition.durability = FLOE_DURABILITY_MEMORY;
        } else if (strncmp(word, "records=", 8) == 0) {
            out->partition.segment_records = strtoull(word + 8, NULL, 10);
        } else if (strncmp(word, "batch=", 6) == 0) {
            out->batch = strtoull(word + 6, NULL, 10);
        } else if (strncmp(word, "large=", 6) == 0) {
            out->large = strtoull(word + 6, NULL, 10);
        } else if (strncmp(word, "trim=", 5) == 0) {
            out->trim = strtoull(word + 5, NULL, 10);
        } else {
            fprintf(stderr, "unknown option %s\n", word);
            return false;
        }
    }
    return true;
}

static int append(struct floe_partition *partition, const char *prefix, uint64_t from,
                  uint64_t count, uint64_t batch)
{
    char values[64][96];
    struct floe_record records[64];
    for (uint64_t at = from; at < from + count;) {
        uint64_t some = 0;
        for (; some < batch && some < 64 && at + some < from + count; some++) {
            int size =
                snprintf(values[some], sizeof(values[some]), "%s-%" PRIu64, prefix, at + some);
            records[some] = (struct floe_record){
                .value = values[some], .value_size = (size_t)size, .timestamp_ms = FLOE_NOW};
        }
        uint64_t offset;
        int result = floe_append_batch(partition, records, (size_t)some, &offset);
        if (result != FLOE_OK) {
            return fail("append", result, floe_error_text(result));
        }
        printf("%" PRIu64 "\n", offset);
        fflush(stdout);
        at += some;
    }
    return 0;
}

/* One record of zeros. */
static int append_large(struct floe_partition *partition, uint64_t size)
{
    void *value = calloc(1, (size_t)size);
    struct floe_record record = {
        .value = value, .value_size = (size_t)size, .timestamp_ms = FLOE_NOW};
    int result = value == NULL ? FLOE_ERR_NO_MEMORY : floe_append(partition, &record, NULL);
    free(value);
    return result == FLOE_OK ? 0 : fail("append", result, floe_error_text(result));
}

static int read_all(struct floe_partition *partition)
{
    struct floe_reader *reader;
    struct floe_view view;
    int result = floe_reader_open(partition, FLOE_START, &reader);
    while (result == FLOE_OK && (result = floe_reader_next(reader, &view)) == FLOE_OK) {
        printf("%" PRIu64 " %.*s\n", view.offset, (int)view.value_size, (const char *)view.value);
    }
    return result == FLOE_END ? 0 : fail("read", result, floe_error_text(result));
}

static int print_partition(void *context, const char *topic, uint32_t partition)
{
    (void)context;
    printf("%s %u\n", topic, partition);
    return 0;
}

static int with_partition(struct floe *log, char **argv, const struct words *words, bool appends)
{
    char prefix[80];
    struct floe_partition *partition;
    uint32_t number = (uint32_t)strtoul(argv[4], NULL, 10);
    snprintf(prefix, sizeof(prefix), "%.60s-%u", argv[3], number);
    int result = floe_partition_open(log, argv[3], number, &words->partition, &partition);
    if (result != FLOE_OK) {
        return fail("open partition", result, floe_error_text(result));
    }
    int code = appends ? append(partition, prefix, strtoull(argv[5], NULL, 10),
                                strtoull(argv[6], NULL, 10), words->batch)
                       : read_all(partition);
    if (code == 0 && words->large > 0) {
        code = append_large(partition, words->large);
    }
    if (code == 0 && words->trim > 0) {
        result = floe_truncate_front(partition, words->trim, NULL);
        code = result == FLOE_OK ? 0 : fail("trim", result, floe_error_text(result));
    }
    if (code == 0 && words->sync) {
        result = floe_sync(log);
        code = result == FLOE_OK ? 0 : fail("sync", result, floe_error_text(result));
    }
    return code;
}

int main(int argc, char **argv)
{
    struct words words;
    const char *verb = argc > 2 ? argv[1] : "";
    bool appends = strcmp(verb, "append") == 0;
    bool reads = strcmp(verb, "read") == 0;
    int first = appends ? 7 : reads ? 5 : 3;
    if (argc < first || !read_words(argc - first, argv + first, &words)) {
        return 2;
    }
    bool writes = appends || strcmp(verb, "hold") == 0 || words.write;
    words.open.mode = writes ? FLOE_WRITE : FLOE_READ_ONLY;
    char message[FLOE_MESSAGE_BYTES];
    struct floe *log;
    int result = floe_open(argv[2], &words.open, &log, message, sizeof(message));
    if (result != FLOE_OK) {
        return fail("open", result, message);
    }
    int code = 0;
    if (appends || reads) {
        code = with_partition(log, argv, &words, appends);
    } else if (strcmp(verb, "hold") == 0) {
        puts("held");
        fflush(stdout);
        while (getchar() != EOF) {
        }
    } else {
        code = floe_list(log, print_partition, NULL) == FLOE_OK ? 0 : 1;
    }
    fflush(stdout);
    if (words.crash) {
        _exit(code);
    }
    result = floe_close(log);
    return result == FLOE_OK ? code : fail("close", result, floe_error_text(result));
}
