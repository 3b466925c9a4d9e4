/* The face of libfloe: partitions. */
#include "core/assert.h"
#include "core/limits.h"
#include "shard/floe_internal.h"

#include <stdlib.h>
#include <string.h>

/* The largest batch that a handle's memory lets through, with room for its frame. */
static uint32_t partition_batch_max(const struct library *library)
{
    return (uint32_t)min_u64(library->options.memory_bytes / 10, BATCH_BYTES_MAX);
}

static int partition_config(const struct library *library,
                            const struct floe_partition_options *given,
                            struct partition_config *config)
{
    struct floe_partition_options read = FLOE_PARTITION_OPTIONS;
    if (given != NULL && given->struct_size != sizeof(read)) {
        return FLOE_ERR_INVALID;
    }
    if (given != NULL) {
        read = *given;
    }
    uint32_t batch_max = partition_batch_max(library);
    if (read.durability > FLOE_DURABILITY_MEMORY || read.existing > 1 ||
        read.batch_bytes_max > batch_max || read.segment_bytes > (uint64_t)1 << 46) {
        return FLOE_ERR_INVALID;
    }
    *config = (struct partition_config){
        .segment_records =
            read.segment_records == 0 ? SEGMENT_RECORDS_DEFAULT : read.segment_records,
        .segment_bytes = read.segment_bytes == 0 ? SEGMENT_BYTES_DEFAULT : read.segment_bytes,
        .batch_bytes_max = read.batch_bytes_max == 0 ? batch_max : read.batch_bytes_max,
        .durability = (enum durability)read.durability,
        .timestamp_before_max_ms = INT64_MAX,
        .timestamp_after_max_ms = INT64_MAX,
        .producer_expiry_ms = 86400000,
    };
    return FLOE_OK;
}

/* Read only: the ends that nobody wrote down, of every partition of that name and number. */
static int partition_find_ends(struct library *library, const char *topic, uint32_t number)
{
    for (uint32_t i = 0; i < library->survey.partition_count; i++) {
        struct survey_partition *found = &library->survey.partitions[i];
        if (found->id.partition == number && strcmp(found->name, topic) == 0) {
            enum err err = library_find_end(library, found);
            if (err != OK) {
                return library_result(err);
            }
        }
    }
    return FLOE_OK;
}

static int partition_open(struct library *library, struct library_open_partition *open)
{
    bool reads = library->options.mode == FLOE_READ_ONLY;
    if (reads) {
        int result = partition_find_ends(library, open->topic, open->number);
        if (result != FLOE_OK) {
            return result;
        }
        open->existing = true;
    }
    open->call.library = library;
    open->call.start = library_open_partition;
    library_call(&open->call);
    return open->call.result;
}

int floe_partition_open(struct floe *handle, const char *topic, uint32_t number,
                        const struct floe_partition_options *options,
                        struct floe_partition **partition)
{
    void *object;
    if (topic == NULL || partition == NULL || number >= TOPIC_PARTITIONS_MAX) {
        return FLOE_ERR_INVALID;
    }
    if (strnlen(topic, TOPIC_NAME_BYTES_MAX + 1) > TOPIC_NAME_BYTES_MAX ||
        !topic_name_is_allowed(bytes_text(topic))) {
        return FLOE_ERR_TOPIC_INVALID;
    }
    int result = face_use(handle, NAME_HANDLE, &object);
    if (result != FLOE_OK) {
        return result;
    }
    struct library *library = object;
    struct library_open_partition open = {
        .topic = topic,
        .number = number,
        .existing = options != NULL && options->existing == 1,
        .configure = options != NULL,
    };
    struct face_partition *made = NULL;
    result = partition_config(library, options, &open.config);
    if (result == FLOE_OK) {
        result = partition_open(library, &open);
    }
    if (result == FLOE_OK) {
        made = calloc(1, sizeof(*made));
        result = made == NULL ? FLOE_ERR_NO_MEMORY : FLOE_OK;
    }
    if (result == FLOE_OK) {
        made->partition = open.partition;
        result = face_add(library, &made->object, NAME_PARTITION);
    }
    if (result == FLOE_OK) {
        *partition = made->object.name;
    } else {
        free(made);
    }
    name_leave(handle);
    return result;
}

void face_close_partition(struct face_partition *partition)
{
    if (face_end(&partition->object)) {
        free(partition);
    }
}

int floe_partition_close(struct floe_partition *partition)
{
    void *object;
    if (partition == NULL) {
        return FLOE_OK;
    }
    int result = face_enter(partition, NAME_PARTITION, &object);
    if (result == FLOE_OK) {
        face_close_partition(object);
    }
    return result;
}

static void partition_ask_offset(struct library_call *call)
{
    library_submit(call, REQUEST_OFFSETS, &call->request.partition, NULL);
}

int face_offset(struct library_partition *partition, int64_t timestamp, uint64_t *offset)
{
    struct library_call call = {.library = partition->library, .start = partition_ask_offset};
    call.request.partition = partition->id;
    call.request.offsets.timestamp = timestamp;
    call.request.offsets.epoch = -1;
    library_call(&call);
    if (call.result == FLOE_OK && call.request.offsets.offset < 0) {
        return FLOE_ERR_NOT_FOUND;
    }
    if (call.result == FLOE_OK) {
        *offset = (uint64_t)call.request.offsets.offset;
    }
    return call.result;
}

int floe_partition_offsets(struct floe_partition *partition, uint64_t *start, uint64_t *end)
{
    void *object;
    int result = face_use(partition, NAME_PARTITION, &object);
    if (result != FLOE_OK) {
        return result;
    }
    struct library_partition *row = ((struct face_partition *)object)->partition;
    uint64_t first = 0, last = 0;
    result = face_offset(row, OFFSETS_EARLIEST, &first);
    if (result == FLOE_OK) {
        result = face_offset(row, OFFSETS_LATEST, &last);
    }
    if (result == FLOE_OK && start != NULL) {
        *start = first;
    }
    if (result == FLOE_OK && end != NULL) {
        *end = last;
    }
    name_leave(partition);
    return result;
}

static void partition_trim(struct library_call *call)
{
    library_submit(call, REQUEST_TRIM, &call->request.partition, NULL);
}

static int face_truncate(struct library_partition *partition, uint64_t offset, uint64_t *start)
{
    struct library_call call = {.library = partition->library, .start = partition_trim};
    if (offset > INT64_MAX) {
        return FLOE_ERR_OFFSET_RANGE;
    }
    call.request.partition = partition->id;
    call.request.trim.offset = (int64_t)offset;
    library_call(&call);
    if (call.result == FLOE_OK && start != NULL) {
        *start = call.request.trim.log_start;
    }
    return call.result;
}

int floe_truncate_front(struct floe_partition *partition, uint64_t offset, uint64_t *start)
{
    void *object;
    int result = face_use(partition, NAME_PARTITION, &object);
    if (result != FLOE_OK) {
        return result;
    }
    struct library_partition *row = ((struct face_partition *)object)->partition;
    const struct library *library = row->library;
    result = library->options.mode == FLOE_READ_ONLY ? FLOE_ERR_READ_ONLY
                                                     : face_truncate(row, offset, start);
    name_leave(partition);
    return result;
}
