/* A program that uses libfloe, whose disk loses power (powercut.py).
 *
 *     floe_power load DIR LEDGER [option]...    appends until it is told to stop, or its disk is
 *                                               gone; what it was told stands in the ledger
 *     floe_power check DIR LEDGER [option]...   compares the directory with the ledger
 *     options: seed=N session=N disk=N os=N large=PERCENT segment_records=N segment_bytes=N
 *              threads=N (a shared handle) posix buffered mmap shared read
 *
 * load: SIGTERM is an orderly stop, SIGUSR1 a pause; a second one ends it. */
#include "power.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Noreturn void power_fail(const char *what, int result, const char *message)
{
    fprintf(stderr, "%s: %s: %s\n", what, floe_error_name(result), message);
    _exit(POWER_FAILED);
}

_Noreturn void power_wrong(const char *format, ...)
{
    va_list words;
    va_start(words, format);
    fputs("wrong: ", stderr);
    vfprintf(stderr, format, words);
    fputc('\n', stderr);
    va_end(words);
    _exit(POWER_WRONG);
}

struct power_ledger power_ledger_open(const char *path)
{
    struct power_ledger ledger = {.file =
                                      open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644)};
    /* Whoever wrote last may have been killed in the middle of a line. */
    if (ledger.file < 0 || write(ledger.file, "\n", 1) != 1) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        _exit(POWER_USAGE);
    }
    return ledger;
}

void power_write(const struct power_ledger *ledger, const char *format, ...)
{
    char line[160];
    va_list words;
    va_start(words, format);
    int size = vsnprintf(line, sizeof(line) - 3, format, words);
    va_end(words);
    memcpy(line + size, " .\n", 3);
    if (write(ledger->file, line, (size_t)size + 3) != (ssize_t)size + 3) {
        fprintf(stderr, "the ledger: %s\n", strerror(errno));
        _exit(POWER_USAGE);
    }
}

struct floe *power_open(const struct power_options *options, uint32_t mode)
{
    char message[FLOE_MESSAGE_BYTES];
    struct floe *log;
    struct floe_options open = FLOE_OPTIONS;
    open.mode = mode;
    open.engine = options->posix ? FLOE_ENGINE_POSIX : FLOE_ENGINE_AUTO;
    open.shared = options->shared;
    open.buffered = options->mapped ? 2 : options->buffered;
    int result = floe_open(options->directory, &open, &log, message, sizeof(message));
    if (result != FLOE_OK) {
        power_fail("open", result, message);
    }
    return log;
}

struct floe_partition *power_open_partition(const struct power_options *options, struct floe *log,
                                            uint32_t number, bool existing)
{
    struct floe_partition *partition;
    struct floe_partition_options open = FLOE_PARTITION_OPTIONS;
    bool durable = number < options->disk_partitions;
    open.durability = durable ? FLOE_DURABILITY_DISK : FLOE_DURABILITY_OS;
    open.existing = existing;
    open.segment_records = options->segment_records;
    open.segment_bytes = options->segment_bytes;
    int result = floe_partition_open(log, durable ? POWER_TOPIC_DISK : POWER_TOPIC_OS,
                                     durable ? number : number - options->disk_partitions, &open,
                                     &partition);
    if (result == FLOE_ERR_TOPIC_UNKNOWN && existing) {
        return NULL;
    }
    if (result != FLOE_OK) {
        power_fail("open partition", result, floe_error_text(result));
    }
    return partition;
}

static bool power_flag(struct power_options *options, const char *word)
{
    struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"posix", &options->posix},   {"buffered", &options->buffered}, {"mmap", &options->mapped},
        {"shared", &options->shared}, {"read", &options->read_only},
    };

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (strcmp(word, flags[i].name) == 0) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

static bool power_number(struct power_options *options, const char *word)
{
    struct {
        const char *name;
        uint32_t *narrow;
        uint64_t *wide;
    } numbers[] = {
        {"seed", NULL, &options->content.seed},
        {"session", NULL, &options->session},
        {"disk", &options->disk_partitions, NULL},
        {"os", &options->os_partitions, NULL},
        {"large", &options->content.large_percent, NULL},
        {"segment_records", NULL, &options->segment_records},
        {"segment_bytes", NULL, &options->segment_bytes},
        {"threads", &options->threads, NULL},
    };

    const char *equals = strchr(word, '=');
    for (size_t i = 0; equals != NULL && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        size_t size = (size_t)(equals - word);
        if (strlen(numbers[i].name) == size && memcmp(word, numbers[i].name, size) == 0) {
            uint64_t value = strtoull(equals + 1, NULL, 10);
            if (numbers[i].wide != NULL) {
                *numbers[i].wide = value;
            } else {
                *numbers[i].narrow = (uint32_t)value;
            }
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    struct power_options options = {.threads = 1, .disk_partitions = 1};
    bool load = argc > 1 && strcmp(argv[1], "load") == 0;
    if (argc < 4 || (!load && strcmp(argv[1], "check") != 0)) {
        fputs("floe_power load|check DIR LEDGER [option]...\n", stderr);
        return POWER_USAGE;
    }
    options.directory = argv[2];
    options.ledger = argv[3];
    for (int i = 4; i < argc; i++) {
        if (!power_flag(&options, argv[i]) && !power_number(&options, argv[i])) {
            fprintf(stderr, "unknown option %s\n", argv[i]);
            return POWER_USAGE;
        }
    }
    if (options.threads == 0 || (options.threads > 1 && !options.shared)) {
        fputs("several threads need a shared handle\n", stderr);
        return POWER_USAGE;
    }
    return load ? power_load(&options) : power_check(&options);
}
