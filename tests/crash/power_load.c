/* floe_power load: appends, and writes down what it was promised.
 *
 *     for ever: open -> threads, each with partitions of its own -> close
 *     a thread: one append | some at a time, over its partitions | a sync | a trim
 *
 * A line goes to the ledger before an append or a trim begins and after it returns. The ledger is
 * not on the disk that loses power, so it has every promise that this process heard. */
#include "power.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LOAD_THREADS_MAX = 8,
    LOAD_UNDER_WAY_MAX = 12,
    LOAD_ROUNDS = 50, /* Of one handle, about: then it is closed and opened again. */
    LOAD_IDLE_US = 1000,
};

struct load_partition {
    uint32_t number;
    bool durable;  /* durability=disk */
    bool appended; /* Since the handle was opened: only then it can be trimmed. */
    struct floe_partition *handle;
    struct content_place next;   /* The next batch to append. */
    uint64_t start, end, synced; /* The log; what is below `synced` is on the disk. */
};

struct load {
    const struct power_options *options;
    struct power_ledger ledger;
    struct floe *log;
    struct load_partition *partitions;
    uint32_t partition_count;
    uint64_t prng;
    atomic_bool reopen;
};

struct load_thread {
    struct load *load;
    pthread_t thread;
    uint32_t index;
    uint64_t prng;
    uint64_t rounds;
    struct content_batch *batch;
};

/* An append under way. */
struct load_append {
    struct load_partition *partition;
    struct floe_pending *pending;
    struct content_place place;
    uint32_t count;
    uint64_t sum;
};

static atomic_bool load_stopping, load_pausing;

static void load_on_signal(int number)
{
    if (number == SIGTERM) {
        atomic_store(&load_stopping, true);
    } else {
        atomic_store(&load_pausing, !atomic_load(&load_pausing));
    }
}

/* One of the thread's own. */
static struct load_partition *load_pick(struct load_thread *thread)
{
    uint32_t threads = thread->load->options->threads;
    uint32_t own = (thread->load->partition_count - thread->index + threads - 1) / threads;
    uint64_t pick = content_below(&thread->prng, own);
    return &thread->load->partitions[thread->index + (uint32_t)pick * threads];
}

/* Makes the next batch of a partition in the thread's buffer. */
static struct load_append load_begin(struct load_thread *thread, struct load_partition *partition)
{
    const struct load *load = thread->load;
    struct load_append append = {.partition = partition, .place = partition->next};
    content_make(&load->options->content, partition->number, append.place.number, thread->batch);
    append.count = thread->batch->count;
    append.sum = content_sum(thread->batch);
    partition->next.number++;
    partition->next.offset += append.count;
    power_write(&load->ledger, "batch %" PRIu32 " %" PRIu64, partition->number,
                append.place.number);
    return append;
}

static void load_end(const struct load *load, struct load_append *append, int result,
                     uint64_t offset)
{
    struct load_partition *partition = append->partition;
    if (result != FLOE_OK) {
        power_fail("append", result, floe_error_text(result));
    }
    if (offset != append->place.offset) {
        power_wrong("%" PRIu32 ": batch %" PRIu64 " was acked at offset %" PRIu64
                    ", its place is %" PRIu64,
                    partition->number, append->place.number, offset, append->place.offset);
    }
    power_write(&load->ledger, "ack %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu64,
                partition->number, append->place.number, offset, append->count, append->sum);
    partition->end = offset + append->count;
    partition->synced = partition->durable ? partition->end : partition->synced;
    partition->appended = true;
}

static void load_one(struct load_thread *thread)
{
    struct load_append append = load_begin(thread, load_pick(thread));
    struct floe_partition *handle = append.partition->handle;
    const struct floe_record *records = thread->batch->records;
    uint64_t offset = 0;
    int result = append.count == 1 ? floe_append(handle, records, &offset)
                                   : floe_append_batch(handle, records, append.count, &offset);
    load_end(thread->load, &append, result, offset);
}

static void load_some(struct load_thread *thread)
{
    struct load_append appends[LOAD_UNDER_WAY_MAX];
    uint64_t count = 1 + content_below(&thread->prng, LOAD_UNDER_WAY_MAX);
    for (uint64_t i = 0; i < count; i++) {
        appends[i] = load_begin(thread, load_pick(thread));
        int result = floe_append_submit(appends[i].partition->handle, thread->batch->records,
                                        appends[i].count, &appends[i].pending);
        if (result != FLOE_OK) {
            power_fail("submit", result, floe_error_text(result));
        }
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t offset = 0;
        int result = floe_append_wait(appends[i].pending, &offset);
        load_end(thread->load, &appends[i], result, offset);
    }
}

/* What the thread's partitions have is on the disk. */
static void load_synced(struct load_thread *thread)
{
    const struct load *load = thread->load;
    for (uint32_t i = thread->index; i < load->partition_count; i += load->options->threads) {
        struct load_partition *partition = &load->partitions[i];
        if (partition->synced < partition->end) {
            partition->synced = partition->end;
            power_write(&load->ledger, "sync %" PRIu32 " %" PRIu64, i, partition->end);
        }
    }
}

static void load_sync(struct load_thread *thread)
{
    int result = floe_sync(thread->load->log);
    if (result != FLOE_OK) {
        power_fail("sync", result, floe_error_text(result));
    }
    load_synced(thread);
}

/* Takes away up to a third of a log, at any record; with durability=os whole batches of what is on
 * the disk. */
static void load_trim(struct load_thread *thread)
{
    const struct load *load = thread->load;
    struct load_partition *partition = load_pick(thread);
    if (!partition->appended || partition->start >= partition->synced) {
        return;
    }
    uint64_t room = (partition->synced - partition->start) / 3 + 1;
    uint64_t offset = partition->start + content_below(&thread->prng, room);
    if (!partition->durable) {
        struct content_place place = {0};
        content_seek(&load->options->content, partition->number, offset, &place);
        offset = place.offset;
    }
    if (offset <= partition->start) {
        return;
    }
    power_write(&load->ledger, "trim %" PRIu32 " %" PRIu64, partition->number, offset);
    uint64_t start = 0;
    int result = floe_truncate_front(partition->handle, offset, &start);
    if (result != FLOE_OK) {
        power_fail("trim", result, floe_error_text(result));
    }
    if (start != offset) {
        power_wrong("%" PRIu32 ": trimmed to %" PRIu64 ", it starts at %" PRIu64, partition->number,
                    offset, start);
    }
    power_write(&load->ledger, "trimmed %" PRIu32 " %" PRIu64, partition->number, start);
    partition->start = start;
}

static bool load_goes_on(struct load *load)
{
    return !atomic_load(&load_stopping) && !atomic_load(&load->reopen);
}

/* Until the pause is over, or all threads are to meet: each begins with it again then. */
static void load_pause(struct load_thread *thread)
{
    load_sync(thread);
    power_write(&thread->load->ledger, "idle");
    while (atomic_load(&load_pausing) && load_goes_on(thread->load)) {
        (void)usleep(LOAD_IDLE_US);
    }
}

static void *load_run(void *context)
{
    struct load_thread *thread = context;
    struct load *load = thread->load;
    for (uint64_t round = 0; load_goes_on(load); round++) {
        uint64_t draw = content_below(&thread->prng, 100);
        if (atomic_load(&load_pausing)) {
            load_pause(thread);
        } else if (draw < 2) {
            load_trim(thread);
        } else if (draw < 8) {
            load_sync(thread);
        } else if (draw < 40) {
            load_one(thread);
        } else {
            load_some(thread);
        }
        if (thread->index == 0 && round == thread->rounds) {
            atomic_store(&load->reopen, true);
        }
    }
    return NULL;
}

/* What was closed in order is as it was; the first time, what a check has found goes on. */
static void load_open_partition(const struct load *load, struct load_partition *partition)
{
    uint64_t start, end;
    partition->handle = power_open_partition(load->options, load->log, partition->number, false);
    int result = floe_partition_offsets(partition->handle, &start, &end);
    if (result != FLOE_OK) {
        power_fail("offsets", result, floe_error_text(result));
    }
    bool first = partition->end == UINT64_MAX;
    if (!first && (start != partition->start || end != partition->end)) {
        power_wrong("%" PRIu32 ": closed with %" PRIu64 " to %" PRIu64 ", opened with %" PRIu64
                    " to %" PRIu64,
                    partition->number, partition->start, partition->end, start, end);
    }
    content_seek(&load->options->content, partition->number, end, &partition->next);
    if (partition->next.offset != end) {
        power_wrong("%" PRIu32 ": the log ends at %" PRIu64 ", within batch %" PRIu64,
                    partition->number, end, partition->next.number);
    }
    partition->appended = false;
    partition->start = start;
    partition->end = end;
    /* Only a kill leaves more than was synced; the next sync says so. */
    partition->synced = partition->durable ? end : partition->synced;
}

/* From open to close. */
static void load_handle(struct load *load)
{
    struct load_thread threads[LOAD_THREADS_MAX] = {0};
    uint32_t count = load->options->threads;
    load->log = power_open(load->options, FLOE_WRITE);
    for (uint32_t i = 0; i < load->partition_count; i++) {
        load_open_partition(load, &load->partitions[i]);
    }
    power_write(&load->ledger, "open");
    atomic_store(&load->reopen, false);
    for (uint32_t i = 0; i < count; i++) {
        threads[i] = (struct load_thread){.load = load,
                                          .index = i,
                                          .prng = content_next(&load->prng),
                                          .batch = malloc(sizeof(*threads[i].batch))};
        threads[i].rounds = LOAD_ROUNDS / 10 + content_below(&load->prng, LOAD_ROUNDS);
        if (threads[i].batch == NULL ||
            (i > 0 && pthread_create(&threads[i].thread, NULL, load_run, &threads[i]) != 0)) {
            power_fail("thread", FLOE_ERR_NO_MEMORY, "no thread");
        }
    }
    (void)load_run(&threads[0]);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            (void)pthread_join(threads[i].thread, NULL);
        }
    }
    int result = floe_close(load->log);
    if (result != FLOE_OK) {
        power_fail("close", result, floe_error_text(result));
    }
    for (uint32_t i = 0; i < count; i++) {
        load_synced(&threads[i]); /* Closing flushes. */
        free(threads[i].batch);
    }
    power_write(&load->ledger, "closed");
}

int power_load(const struct power_options *options)
{
    struct load load = {
        .options = options,
        .ledger = power_ledger_open(options->ledger),
        .partition_count = options->disk_partitions + options->os_partitions,
        .prng = options->session,
    };
    if (options->threads > LOAD_THREADS_MAX || options->threads > load.partition_count) {
        fputs("more threads than partitions\n", stderr);
        return POWER_USAGE;
    }
    struct sigaction action = {.sa_handler = load_on_signal};
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGUSR1, &action, NULL);
    load.partitions = calloc(load.partition_count, sizeof(*load.partitions));
    if (load.partitions == NULL) {
        power_fail("load", FLOE_ERR_NO_MEMORY, "no memory");
    }
    for (uint32_t i = 0; i < load.partition_count; i++) {
        load.partitions[i].number = i;
        load.partitions[i].durable = i < options->disk_partitions;
        load.partitions[i].end = UINT64_MAX;
    }
    while (!atomic_load(&load_stopping)) {
        load_handle(&load);
    }
    free(load.partitions);
    return POWER_OK;
}
