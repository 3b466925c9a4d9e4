/* The face of libfloe: appends. Records become a batch in the caller's thread; the shard makes of
 * many batches one write. */
#include "core/assert.h"
#include "core/io_engine.h"
#include "core/limits.h"
#include "shard/floe_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    APPEND_RECORDS_SMALL = 16, /* Converted without an allocation. */
};

static struct bytes append_bytes(const void *data, size_t size)
{
    return (struct bytes){.data = data, .size = data == NULL ? 0 : (uint32_t)size};
}

/* No batch holds as much, and no length of ours as well. */
static bool append_is_large(const void *data, size_t size)
{
    return data != NULL && size > BATCH_BYTES_MAX;
}

/* The headers of one record, into `headers`. */
static int append_headers(const struct floe_record *record, struct record_header *headers)
{
    for (size_t i = 0; i < record->header_count; i++) {
        const struct floe_header *header = &record->headers[i];
        if (header->name == NULL) {
            return FLOE_ERR_INVALID;
        }
        if (append_is_large(header->name, header->name_size) ||
            append_is_large(header->value, header->value_size)) {
            return FLOE_ERR_TOO_LARGE;
        }
        headers[i].name = append_bytes(header->name, header->name_size);
        headers[i].value = append_bytes(header->value, header->value_size);
    }
    return FLOE_OK;
}

/* One record, checked. Its headers are to be filled. */
static int append_record(const struct library *library, const struct floe_record *record,
                         struct record_input *input)
{
    if (record->timestamp_ms < FLOE_NOW || (record->headers == NULL && record->header_count > 0)) {
        return FLOE_ERR_INVALID;
    }
    if (append_is_large(record->key, record->key_size) ||
        append_is_large(record->value, record->value_size) ||
        record->header_count > BATCH_BYTES_MAX / 2) {
        return FLOE_ERR_TOO_LARGE;
    }
    *input = (struct record_input){
        .key = append_bytes(record->key, record->key_size),
        .value = append_bytes(record->value, record->value_size),
        .timestamp = record->timestamp_ms,
        .header_count = (uint32_t)record->header_count,
    };
    if (record->timestamp_ms == FLOE_NOW) {
        input->timestamp = (int64_t)library->reactor->engine->wall_ms(library->reactor);
    }
    return FLOE_OK;
}

static int append_encode(const struct library_partition *partition,
                         const struct record_input *inputs, uint32_t count, struct bytes *batch)
{
    uint32_t size = record_batch_size(inputs, count);
    if (size == 0 || size > partition->config.batch_bytes_max) {
        return FLOE_ERR_TOO_LARGE;
    }
    uint8_t *data = malloc(size);
    if (data == NULL) {
        return FLOE_ERR_NO_MEMORY;
    }
    record_batch_encode(inputs, count, data, size);
    *batch = bytes_of(data, size);
    return FLOE_OK;
}

/* A batch of `count` records, to be freed. */
static int append_make(const struct library_partition *partition, const struct floe_record *records,
                       size_t count, struct bytes *batch)
{
    struct record_input small[APPEND_RECORDS_SMALL];
    if (records == NULL || count == 0) {
        return FLOE_ERR_INVALID;
    }
    if (count > BATCH_BYTES_MAX / 7) { /* The smallest record has 7 bytes. */
        return FLOE_ERR_TOO_LARGE;
    }
    uint64_t header_count = 0;
    for (size_t i = 0; i < count; i++) {
        header_count += min_u64(records[i].header_count, BATCH_BYTES_MAX);
    }
    if (header_count > BATCH_BYTES_MAX / 2) {
        return FLOE_ERR_TOO_LARGE;
    }
    struct record_input *inputs =
        count <= APPEND_RECORDS_SMALL ? small : calloc(count, sizeof(*inputs));
    struct record_header *headers =
        header_count == 0 ? NULL : calloc((size_t)header_count, sizeof(*headers));
    int result =
        inputs == NULL || (headers == NULL && header_count > 0) ? FLOE_ERR_NO_MEMORY : FLOE_OK;
    struct record_header *at = headers;
    for (size_t i = 0; i < count && result == FLOE_OK; i++) {
        result = append_record(partition->library, &records[i], &inputs[i]);
        if (result == FLOE_OK && records[i].header_count > 0) {
            result = append_headers(&records[i], at);
            inputs[i].headers = at;
            at += records[i].header_count;
        }
    }
    if (result == FLOE_OK) {
        result = append_encode(partition, inputs, (uint32_t)count, batch);
    }
    free(inputs == small ? NULL : inputs);
    free(headers);
    return result;
}

/* Waits for the appends up to `sequence`, then syncs one partition after the other. */
struct library_sync {
    struct library_call call;
    struct list in_library;
    uint64_t sequence;
    struct library_partition *partition; /* The next one. */
    int result;
};

static bool sync_waits(const struct library *library, const struct library_sync *sync)
{
    if (list_empty(&library->appends)) {
        return false;
    }
    const struct face_append *oldest =
        CONTAINER_OF(library->appends.next, struct face_append, under_way);
    return oldest->sequence <= sync->sequence;
}

static void sync_next(struct library_sync *sync);

static void sync_synced(struct completion *done)
{
    struct request *request = CONTAINER_OF(done, struct request, done);
    struct library_call *call = CONTAINER_OF(request, struct library_call, request);
    struct library_sync *sync = CONTAINER_OF(call, struct library_sync, call);
    if (done->result < 0 && sync->result == FLOE_OK) {
        sync->result = library_result((enum err)done->result);
    }
    sync_next(sync);
}

static void sync_next(struct library_sync *sync)
{
    while (sync->partition != NULL && sync->partition->state != LIBRARY_PARTITION_READY) {
        sync->partition = sync->partition->next;
    }
    if (sync->partition == NULL) {
        library_answer(&sync->call, sync->result);
        return;
    }
    const struct partition_id *id = &sync->partition->id;
    sync->partition = sync->partition->next;
    library_submit(&sync->call, REQUEST_SYNC, id, sync_synced);
}

static void sync_go(struct library_sync *sync)
{
    sync->partition = sync->call.library->partitions;
    sync_next(sync);
}

static void append_done(struct completion *done)
{
    struct request *request = CONTAINER_OF(done, struct request, done);
    struct library_call *call = CONTAINER_OF(request, struct library_call, request);
    struct face_append *append = CONTAINER_OF(call, struct face_append, call);
    struct library *library = call->library;
    list_remove(&append->under_way);
    library_answer(call, done->result < 0 ? library_result((enum err)done->result) : FLOE_OK);
    while (!list_empty(&library->syncs)) {
        struct library_sync *sync =
            CONTAINER_OF(library->syncs.next, struct library_sync, in_library);
        if (sync_waits(library, sync)) {
            return;
        }
        list_remove(&sync->in_library);
        sync_go(sync);
    }
}

static void append_start(struct library_call *call)
{
    struct face_append *append = CONTAINER_OF(call, struct face_append, call);
    struct library *library = call->library;
    append->sequence = ++library->append_sequence;
    list_push_back(&library->appends, &append->under_way);
    library_submit(call, REQUEST_PRODUCE, &append->partition->id, append_done);
}

static void append_begin(struct face_append *append, struct library_partition *partition,
                         struct bytes batch)
{
    append->partition = partition;
    append->call = (struct library_call){.library = partition->library, .start = append_start};
    append->call.request.produce.batch = batch;
    append->call.request.produce.zstd_allowed = true;
    append->call.request.produce.made_here = true;
    library_call_start(&append->call);
}

static int append_wait(struct face_append *append, uint64_t *offset)
{
    library_call_wait(&append->call);
    if (append->call.result == FLOE_OK && offset != NULL) {
        *offset = append->call.request.produce.base_offset;
    }
    return append->call.result;
}

/* The row of a partition that takes appends; name_leave() it with FLOE_OK. */
static int append_enter(const struct floe_partition *name, struct library_partition **partition)
{
    void *object;
    int result = face_use(name, NAME_PARTITION, &object);
    if (result != FLOE_OK) {
        return result;
    }
    *partition = ((struct face_partition *)object)->partition;
    if ((*partition)->library->options.mode == FLOE_READ_ONLY) {
        name_leave(name);
        return FLOE_ERR_READ_ONLY;
    }
    return FLOE_OK;
}

/* The same, and a batch of the records, to be freed. */
static int append_enter_records(const struct floe_partition *name,
                                const struct floe_record *records, size_t count,
                                struct library_partition **partition, struct bytes *batch)
{
    int result = append_enter(name, partition);
    if (result != FLOE_OK) {
        return result;
    }
    *batch = (struct bytes){0};
    result = append_make(*partition, records, count, batch);
    if (result != FLOE_OK) {
        name_leave(name);
    }
    return result;
}

int floe_append(struct floe_partition *partition, const struct floe_record *record,
                uint64_t *offset)
{
    return floe_append_batch(partition, record, 1, offset);
}

int floe_append_batch(struct floe_partition *partition, const struct floe_record *records,
                      size_t count, uint64_t *offset)
{
    struct library_partition *row;
    struct bytes batch;
    int result = append_enter_records(partition, records, count, &row, &batch);
    if (result != FLOE_OK) {
        return result;
    }
    struct face_append append = {0};
    append_begin(&append, row, batch);
    result = append_wait(&append, offset);
    free((void *)(uintptr_t)batch.data);
    name_leave(partition);
    return result;
}

/* What a broker would check, every record included: nobody opens the batch before it is read. */
static int append_check_raw(const struct library_partition *partition, struct bytes data)
{
    struct batch_rules rules = {
        .bytes_max = partition->config.batch_bytes_max,
        .before_max_ms = INT64_MAX,
        .after_max_ms = INT64_MAX,
        .zstd_allowed = true,
        .deep = true,
    };
    struct batch batch;
    return library_result(batch_check(data, &rules, &batch));
}

int floe_append_raw(struct floe_partition *partition, const void *batch, size_t size,
                    uint64_t *offset)
{
    struct library_partition *row;
    if (batch == NULL || size == 0) {
        return FLOE_ERR_INVALID;
    }
    int result = append_enter(partition, &row);
    if (result != FLOE_OK) {
        return result;
    }
    struct bytes data = {0};
    uint8_t *copy = NULL;
    result = size > BATCH_BYTES_MAX ? FLOE_ERR_TOO_LARGE : FLOE_OK;
    if (result == FLOE_OK) {
        data = bytes_of(batch, (uint32_t)size);
        result = append_check_raw(row, data);
    }
    if (result == FLOE_OK && load_be64(data.data) != 0) { /* As it lay in another log. */
        copy = malloc(size);
        result = copy == NULL ? FLOE_ERR_NO_MEMORY : FLOE_OK;
    }
    if (result == FLOE_OK) {
        if (copy != NULL) {
            memcpy(copy, batch, size);
            batch_stamp(copy, 0, 0);
            data.data = copy;
        }
        struct face_append append = {0};
        append_begin(&append, row, data);
        result = append_wait(&append, offset);
    }
    free(copy);
    name_leave(partition);
    return result;
}

/* One more append under way; LIMIT. */
static int append_count(struct library *library)
{
    pthread_mutex_lock(&library->lock);
    bool room = library->append_count < LIBRARY_APPENDS_MAX;
    library->append_count += room;
    pthread_mutex_unlock(&library->lock);
    return room ? FLOE_OK : FLOE_ERR_LIMIT;
}

static void append_uncount(struct library *library)
{
    pthread_mutex_lock(&library->lock);
    ASSERT(library->append_count > 0);
    library->append_count--;
    pthread_mutex_unlock(&library->lock);
}

static int append_submit(struct library_partition *row, struct bytes batch,
                         struct floe_pending **append)
{
    struct library *library = row->library;
    int result = append_count(library);
    if (result != FLOE_OK) {
        return result;
    }
    struct face_append *made = calloc(1, sizeof(*made));
    result = made == NULL ? FLOE_ERR_NO_MEMORY : face_add(library, &made->object, NAME_APPEND);
    if (result != FLOE_OK) {
        free(made);
        append_uncount(library);
        return result;
    }
    made->batch = (uint8_t *)(uintptr_t)batch.data;
    *append = made->object.name;
    append_begin(made, row, batch);
    return FLOE_OK;
}

int floe_append_submit(struct floe_partition *partition, const struct floe_record *records,
                       size_t count, struct floe_pending **append)
{
    struct library_partition *row;
    struct bytes batch;
    if (append == NULL) {
        return FLOE_ERR_INVALID;
    }
    int result = append_enter_records(partition, records, count, &row, &batch);
    if (result != FLOE_OK) {
        return result;
    }
    result = append_submit(row, batch, append);
    if (result != FLOE_OK) {
        free((void *)(uintptr_t)batch.data);
    }
    name_leave(partition);
    return result;
}

int face_end_append(struct face_append *append, uint64_t *offset)
{
    struct library *library = append->object.library;
    int result = append_wait(append, offset);
    bool mine = face_end(&append->object);
    ASSERT(mine); /* A name that lets in one caller at a time. */
    free(append->batch);
    free(append);
    append_uncount(library);
    return result;
}

int floe_append_wait(struct floe_pending *append, uint64_t *offset)
{
    void *object;
    int result = face_enter(append, NAME_APPEND, &object);
    return result == FLOE_OK ? face_end_append(object, offset) : result;
}

static void sync_start(struct library_call *call)
{
    struct library_sync *sync = CONTAINER_OF(call, struct library_sync, call);
    struct library *library = call->library;
    sync->sequence = library->append_sequence;
    if (sync_waits(library, sync)) {
        list_push_back(&library->syncs, &sync->in_library);
    } else {
        sync_go(sync);
    }
}

int floe_sync(struct floe *handle)
{
    void *object;
    int result = face_use(handle, NAME_HANDLE, &object);
    if (result != FLOE_OK) {
        return result;
    }
    struct library_sync sync = {.call = {.library = object, .start = sync_start}};
    if (sync.call.library->options.mode == FLOE_READ_ONLY) {
        name_leave(handle);
        return FLOE_ERR_READ_ONLY;
    }
    library_call(&sync.call);
    name_leave(handle);
    return sync.call.result;
}
