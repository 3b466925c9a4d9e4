/* floe_power check: behind a cut, whether the directory has what the ledger says.
 *
 * Of each partition: it starts where the last acked trim said, or one that was asked for since; it
 * ends at the end of a batch, not before what is promised to be on the disk and not behind what
 * was begun; between stand the batches of power_content.h, byte for byte, each once. Prints
 * `PARTITION START END BATCHES SENT ACKED LOST` of each: SENT and ACKED are numbers of batches,
 * LOST is how many acked ones of durability=os are gone, and may be. */
#include "power.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHECK_ASKED_MAX = 8, /* Each needs a process that was killed; a life has less of them. */
};

struct check_partition {
    uint32_t number;
    uint64_t sent;                   /* Batches below were begun. */
    uint64_t acked;                  /* Batches below are acked, ... */
    uint64_t promised;               /* ... and offsets below on the disk. */
    uint64_t *sums, sum_count;       /* Of the acked batches. */
    uint64_t trimmed;                /* Where it starts, as acked. */
    uint64_t asked[CHECK_ASKED_MAX]; /* Where else it may start: asked for since, and not acked. */
    uint32_t asked_count;
    uint64_t found; /* Where it started behind the cut before. */
};

struct check {
    const struct power_options *options;
    struct check_partition *partitions;
    uint32_t partition_count;
    struct content_batch *batch;
};

static uint64_t max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void check_ack(const struct check *check, struct check_partition *partition,
                      const uint64_t numbers[5])
{
    uint64_t number = numbers[1], end = numbers[2] + numbers[3];
    if (number >= partition->sum_count) {
        uint64_t count = number * 2 + 64;
        partition->sums = realloc(partition->sums, count * sizeof(*partition->sums));
        if (partition->sums == NULL) {
            power_fail("check", FLOE_ERR_NO_MEMORY, "no memory");
        }
        memset(partition->sums + partition->sum_count, 0,
               (count - partition->sum_count) * sizeof(*partition->sums));
        partition->sum_count = count;
    }
    partition->sums[number] = numbers[4];
    partition->acked = number + 1;
    if (partition->number < check->options->disk_partitions) {
        partition->promised = max_of(partition->promised, end);
    }
}

static void check_line(struct check *check, const char *line)
{
    char verb[16];
    uint64_t numbers[5] = {0};
    int count = sscanf(line, "%15s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, verb,
                       &numbers[0], &numbers[1], &numbers[2], &numbers[3], &numbers[4]);
    if (count < 3 || numbers[0] >= check->partition_count) {
        return;
    }
    struct check_partition *partition = &check->partitions[numbers[0]];
    if (strcmp(verb, "batch") == 0) {
        partition->sent = max_of(partition->sent, numbers[1] + 1);
    } else if (strcmp(verb, "ack") == 0) {
        check_ack(check, partition, numbers);
    } else if (strcmp(verb, "sync") == 0) {
        partition->promised = max_of(partition->promised, numbers[1]);
    } else if (strcmp(verb, "trim") == 0) {
        if (partition->asked_count == CHECK_ASKED_MAX) {
            power_fail("the ledger", FLOE_ERR_LIMIT, "trims without end");
        }
        partition->asked[partition->asked_count++] = numbers[1];
    } else if (strcmp(verb, "trimmed") == 0) {
        partition->trimmed = numbers[1];
        partition->asked_count = 0;
    } else if (strcmp(verb, "found") == 0) {
        partition->trimmed = partition->found = numbers[1];
        partition->asked_count = 0;
        if (partition->number < check->options->disk_partitions) {
            partition->promised = max_of(partition->promised, numbers[2]);
        }
    }
}

static void check_read_ledger(struct check *check)
{
    char line[256];
    FILE *file = fopen(check->options->ledger, "r");
    if (file == NULL) {
        power_fail("the ledger", FLOE_ERR_NOT_FOUND, check->options->ledger);
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        size_t size = strlen(line);
        if (size > 3 && strcmp(line + size - 3, " .\n") == 0) {
            check_line(check, line);
        }
    }
    (void)fclose(file);
}

/* The records from `start` to `end`; how many batches. */
static uint64_t check_records(struct check *check, const struct check_partition *partition,
                              struct floe_reader *reader, uint64_t start, uint64_t end)
{
    const struct content *content = &check->options->content;
    struct content_batch *batch = check->batch;
    struct content_place place = {0}, made = {.number = UINT64_MAX};
    uint64_t batches = 0;
    for (uint64_t offset = start; offset < end; offset++) {
        content_seek(content, partition->number, offset, &place);
        if (place.number != made.number) {
            content_make(content, partition->number, place.number, batch);
            made = place;
            batches++;
            if (place.number < partition->acked && partition->sums[place.number] != 0 &&
                partition->sums[place.number] != content_sum(batch)) {
                power_wrong("%" PRIu32 ": batch %" PRIu64 " has not the sum of its ack",
                            partition->number, place.number);
            }
        }
        struct floe_view view;
        int result = floe_reader_next(reader, &view);
        if (result != FLOE_OK) {
            power_wrong("%" PRIu32 ": %" PRIu64 " cannot be read, the log is to end at %" PRIu64
                        ": %s",
                        partition->number, offset, end, floe_error_text(result));
        }
        if (view.offset != offset ||
            !content_equal(&batch->records[offset - place.offset], reader, &view)) {
            power_wrong("%" PRIu32 ": at %" PRIu64 " stands %" PRIu64
                        " of %zu bytes, not record %" PRIu64 " of batch %" PRIu64,
                        partition->number, offset, view.offset, view.value_size,
                        offset - place.offset, place.number);
        }
    }
    struct floe_view view;
    int result = floe_reader_next(reader, &view);
    if (result != FLOE_END) {
        power_wrong("%" PRIu32 ": there is something at the end, %" PRIu64 ": %s",
                    partition->number, end, floe_error_text(result));
    }
    return batches;
}

/* Once from start to end, once from somewhere on. */
static uint64_t check_content(struct check *check, const struct check_partition *partition,
                              struct floe_partition *handle, uint64_t start, uint64_t end)
{
    struct floe_reader *reader;
    int result = floe_reader_open(handle, FLOE_START, &reader);
    if (result != FLOE_OK) {
        power_wrong("%" PRIu32 ": no reader: %s", partition->number, floe_error_text(result));
    }
    uint64_t batches = check_records(check, partition, reader, start, end);
    uint64_t prng = check->options->session ^ partition->number;
    uint64_t middle = start + content_below(&prng, end - start + 1);
    result = floe_reader_seek(reader, middle);
    if (result != FLOE_OK) {
        power_wrong("%" PRIu32 ": no way to %" PRIu64 ": %s", partition->number, middle,
                    floe_error_text(result));
    }
    (void)check_records(check, partition, reader, middle, end);
    (void)floe_reader_close(reader);
    return batches;
}

/* With durability=os a cut may take back trims as it takes records. */
static bool check_start(const struct check *check, const struct check_partition *partition,
                        uint64_t start)
{
    bool known = start == partition->trimmed;
    for (uint32_t i = 0; i < partition->asked_count; i++) {
        known = known || start == partition->asked[i];
    }
    return known || (partition->number >= check->options->disk_partitions &&
                     start >= partition->found && start <= partition->trimmed);
}

static void check_ends(const struct check *check, const struct check_partition *partition,
                       uint64_t start, uint64_t end)
{
    if (!check_start(check, partition, start)) {
        power_wrong("%" PRIu32 ": starts at %" PRIu64 ", the last trim was to %" PRIu64,
                    partition->number, start, partition->trimmed);
    }
    if (end < partition->promised || end < start) {
        power_wrong("%" PRIu32 ": offsets up to %" PRIu64
                    " were promised; the log starts at %" PRIu64 " and ends at %" PRIu64,
                    partition->number, partition->promised, start, end);
    }
    struct content_place place = {0};
    content_seek(&check->options->content, partition->number, end, &place);
    if (place.offset != end || place.number > partition->sent) {
        power_wrong("%" PRIu32 ": ends at %" PRIu64 ", batch %" PRIu64 " is there at %" PRIu64
                    "; begun were %" PRIu64,
                    partition->number, end, place.number, place.offset, partition->sent);
    }
    printf("%" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64, partition->number, start, end,
           place.number);
    printf(" %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", partition->sent, partition->acked,
           partition->acked > place.number ? partition->acked - place.number : 0);
}

static void check_partition(struct check *check, struct check_partition *partition,
                            struct floe *log, const struct power_ledger *ledger)
{
    uint64_t start = 0, end = 0;
    struct floe_partition *handle =
        power_open_partition(check->options, log, partition->number, true);
    if (handle != NULL) {
        int result = floe_partition_offsets(handle, &start, &end);
        if (result != FLOE_OK) {
            power_fail("offsets", result, floe_error_text(result));
        }
    }
    check_ends(check, partition, start, end);
    if (handle != NULL) {
        (void)check_content(check, partition, handle, start, end);
    }
    if (ledger != NULL) {
        power_write(ledger, "found %" PRIu32 " %" PRIu64 " %" PRIu64, partition->number, start,
                    end);
    }
}

int power_check(const struct power_options *options)
{
    struct check check = {
        .options = options,
        .partition_count = options->disk_partitions + options->os_partitions,
    };
    check.partitions = calloc(check.partition_count, sizeof(*check.partitions));
    check.batch = malloc(sizeof(*check.batch));
    if (check.partitions == NULL || check.batch == NULL) {
        power_fail("check", FLOE_ERR_NO_MEMORY, "no memory");
    }
    for (uint32_t i = 0; i < check.partition_count; i++) {
        check.partitions[i].number = i;
    }
    check_read_ledger(&check);
    struct floe *log =
        power_open(options, options->read_only ? FLOE_READ_ONLY : FLOE_WRITE_EXISTING);
    struct power_ledger ledger = {.file = -1};
    if (!options->read_only) {
        ledger = power_ledger_open(options->ledger);
    }
    for (uint32_t i = 0; i < check.partition_count; i++) {
        check_partition(&check, &check.partitions[i], log, options->read_only ? NULL : &ledger);
    }
    int result = floe_close(log);
    if (result != FLOE_OK) {
        power_fail("close", result, floe_error_text(result));
    }
    for (uint32_t i = 0; i < check.partition_count; i++) {
        free(check.partitions[i].sums);
    }
    free(check.partitions);
    free(check.batch);
    return POWER_OK;
}
