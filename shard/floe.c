/* The face of libfloe: handles and partitions. What the host gives is looked at here, in its own
 * thread; nothing behind this file trusts less than the rest of floe does. */
#include "core/assert.h"
#include "core/io_engine.h"
#include "core/limits.h"
#include "core/log.h"
#include "shard/floe_internal.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAME(name) _Static_assert((int)FLOE_##name == (int)name, #name)
SAME(ERR_IO);
SAME(ERR_NO_SPACE);
SAME(ERR_NO_MEMORY);
SAME(ERR_NOT_FOUND);
SAME(ERR_DENIED);
SAME(ERR_BUSY);
SAME(ERR_READ_ONLY);
SAME(ERR_UNSUPPORTED);
SAME(ERR_TIMEOUT);
SAME(ERR_CLOSED);
SAME(ERR_LIMIT);
SAME(ERR_INVALID);
SAME(ERR_TOO_LARGE);
SAME(ERR_VERSION);
SAME(ERR_CORRUPT);
SAME(ERR_DAMAGED);
SAME(ERR_FOREIGN);
SAME(ERR_OFFSET_RANGE);
SAME(ERR_TOPIC_UNKNOWN);
SAME(ERR_TOPIC_INVALID);
SAME(ERR_STORAGE);
#undef SAME

const char *floe_error_name(int result)
{
    switch (result) {
    case FLOE_OK:
        return "FLOE_OK";
    case FLOE_END:
        return "FLOE_END";
    case FLOE_ERR_THREAD:
        return "FLOE_ERR_THREAD";

#define X(name, code, text)                                                                        \
    case code:                                                                                     \
        return "FLOE_" #name;
        ERR_TABLE(X)
#undef X
    default:
        return "FLOE_ERR_?";
    }
}

const char *floe_error_text(int result)
{
    switch (result) {
    case FLOE_OK:
        return "success";
    case FLOE_END:
        return "the end of the log";
    case FLOE_ERR_THREAD:
        return "the handle is used by another thread";

#define X(name, code, text)                                                                        \
    case code:                                                                                     \
        return text;
        ERR_TABLE(X)
#undef X
    default:
        return "unknown error";
    }
}

const char *floe_version(void)
{
    return FLOE_VERSION;
}

/* What log lines go to; none until the host wants them. */
static struct {
    pthread_once_t once;
    void (*sink)(void *context, const char *line, size_t size);
    void *context;
} face_log = {.once = PTHREAD_ONCE_INIT};

static void face_log_line(void *context, const char *line, uint32_t size)
{
    (void)context;
    if (face_log.sink != NULL) {
        face_log.sink(face_log.context, line, size);
    }
}

static void face_log_begin(void)
{
    log_set_sink(face_log_line, NULL);
}

void floe_set_log(void (*sink)(void *context, const char *line, size_t size), void *context)
{
    face_log.sink = sink;
    face_log.context = context;
}

int face_enter(const void *name, enum name_kind kind, void **object)
{
    switch (name_enter(name, kind, object)) {
    case NAME_FOUND:
        return FLOE_OK;
    case NAME_WRONG:
        return FLOE_ERR_INVALID;
    case NAME_GONE:
        return FLOE_ERR_CLOSED;
    case NAME_ALIEN:
        return FLOE_ERR_THREAD;
    }
    UNREACHABLE();
}

int face_use(const void *name, enum name_kind kind, void **object)
{
    int result = face_enter(name, kind, object);
    if (result != FLOE_OK) {
        return result;
    }
    struct library *library =
        kind == NAME_HANDLE ? *object : ((struct library_object *)*object)->library;
    if (library_is_dead(library)) {
        name_leave(name);
        return FLOE_ERR_IO;
    }
    return FLOE_OK;
}

int face_add(struct library *library, struct library_object *object, enum name_kind kind)
{
    object->library = library;
    object->kind = kind;
    list_init(&object->in_library);
    object->name = name_make(kind, object, library->options.shared ? 0 : thread_number());
    if (object->name == NULL) {
        return FLOE_ERR_LIMIT;
    }
    pthread_mutex_lock(&library->lock);
    list_push_back(&library->objects, &object->in_library);
    pthread_mutex_unlock(&library->lock);
    return FLOE_OK;
}

bool face_end(struct library_object *object)
{
    struct library *library = object->library;
    const void *name = object->name;
    bool mine = name_end(name);
    if (mine) {
        pthread_mutex_lock(&library->lock);
        list_remove(&object->in_library);
        pthread_mutex_unlock(&library->lock);
    }
    name_leave(name);
    return mine;
}

static void face_say(char *message, size_t size, const char *text)
{
    if (message != NULL && size > 0) {
        (void)snprintf(message, size, "%s", text);
    }
}

/* Takes the host's options, as far as its version of them goes; NULL: they are good. */
static const char *face_options(const struct floe_options *given, struct library_options *options)
{
    struct floe_options read = FLOE_OPTIONS;
    if (given != NULL && given->struct_size != sizeof(read)) {
        return "struct_size is not that of struct floe_options: begin with FLOE_OPTIONS";
    }
    if (given != NULL) {
        read = *given;
    }
    if (read.mode > FLOE_READ_ONLY || read.engine > FLOE_ENGINE_POSIX || read.shared > 1 ||
        read.buffered > 2) {
        return "mode, engine, shared or buffered is none of the values that it may have";
    }
    if (read.memory_bytes != 0 &&
        (read.memory_bytes < MEMORY_LIMIT_MIN || read.memory_bytes > (uint64_t)1 << 46)) {
        return "memory_bytes is less than 64 MiB or more than 64 TiB";
    }
    if (read.partitions_max > PARTITIONS_MAX) {
        return "partitions_max is more than 100,000";
    }
    *options = (struct library_options){
        .mode = read.mode,
        .engine = read.engine,
        .shared = read.shared == 1,
        .direct = read.buffered == 0,
        .mapped = read.buffered == 2,
        .memory_bytes = read.memory_bytes == 0 ? MIB(256) : read.memory_bytes,
        .partitions_max = read.partitions_max == 0 ? 10000 : read.partitions_max,
    };
    return NULL;
}

int floe_open(const char *directory, const struct floe_options *options, struct floe **handle,
              char *message, size_t message_size)
{
    struct library_options read;
    const char *wrong = directory == NULL || handle == NULL ? "directory or handle is NULL"
                                                            : face_options(options, &read);
    if (wrong == NULL && (directory[0] == 0 || strlen(directory) >= LIBRARY_PATH_BYTES)) {
        wrong = "the path of the directory is empty or longer than 350 bytes";
    }
    face_say(message, message_size, wrong == NULL ? "" : wrong);
    if (wrong != NULL) {
        return FLOE_ERR_INVALID;
    }
    pthread_once(&face_log.once, face_log_begin);
    struct library *library = calloc(1, sizeof(*library));
    if (library == NULL) {
        return FLOE_ERR_NO_MEMORY;
    }
    library->options = read;
    (void)snprintf(library->path, sizeof(library->path), "%s", directory);
    pthread_mutex_init(&library->lock, NULL);
    enum err err = library_open(library);
    if (err == OK) {
        library->name = name_make(NAME_HANDLE, library, read.shared ? 0 : thread_number());
        if (library->name == NULL) {
            err = library_close(library);
            err = err == OK ? ERR_LIMIT : err;
        }
    }
    if (err != OK) {
        face_say(message, message_size, library->message);
        pthread_mutex_destroy(&library->lock);
        free(library);
        return library_result(err);
    }
    *handle = library->name;
    return FLOE_OK;
}

/* Closes what the host left open. An object that another thread closes just now is left to it. */
static void face_close_objects(struct library *library)
{
    for (;;) {
        pthread_mutex_lock(&library->lock);
        struct list *first = library->objects.next;
        bool none = first == &library->objects;
        const void *name =
            none ? NULL : CONTAINER_OF(first, struct library_object, in_library)->name;
        enum name_kind kind =
            none ? NAME_HANDLE : CONTAINER_OF(first, struct library_object, in_library)->kind;
        pthread_mutex_unlock(&library->lock);
        if (none) {
            return;
        }
        void *object;
        if (name_enter(name, kind, &object) != NAME_FOUND) {
            (void)sched_yield();
        } else if (kind == NAME_PARTITION) {
            face_close_partition(object);
        } else if (kind == NAME_READER) {
            face_close_reader(object);
        } else {
            (void)face_end_append(object, NULL);
        }
    }
}

int floe_close(struct floe *handle)
{
    void *object;
    if (handle == NULL) {
        return FLOE_OK;
    }
    int result = face_enter(handle, NAME_HANDLE, &object);
    if (result != FLOE_OK) {
        return result;
    }
    struct library *library = object;
    bool mine = name_end(handle);
    name_leave(handle);
    if (!mine) {
        return FLOE_ERR_CLOSED;
    }
    struct library_call call = {.library = library, .start = face_cancel_waits};
    library_call(&call);
    face_close_objects(library);
    result = library_result(library_close(library));
    pthread_mutex_destroy(&library->lock);
    free(library);
    return result;
}

int floe_poll(struct floe *handle)
{
    void *object;
    int result = face_use(handle, NAME_HANDLE, &object);
    if (result != FLOE_OK) {
        return result;
    }
    struct library *library = object;
    if (!library->options.shared) {
        (void)reactor_turn(library->reactor, 0);
    }
    name_leave(handle);
    return FLOE_OK;
}

int floe_list(struct floe *handle,
              int (*visit)(void *context, const char *topic, uint32_t partition), void *context)
{
    void *object;
    int result = visit == NULL ? FLOE_ERR_INVALID : face_use(handle, NAME_HANDLE, &object);
    if (result != FLOE_OK) {
        return result;
    }
    const struct library *library = object;
    /* The survey is what it was when the handle was opened. */
    for (uint32_t i = 0; i < library->survey.partition_count; i++) {
        const struct survey_partition *found = &library->survey.partitions[i];
        if (found->name[0] != 0 && visit(context, found->name, found->id.partition) != 0) {
            break;
        }
    }
    name_leave(handle);
    return FLOE_OK;
}

struct face_stats {
    struct library_call call;
    struct stats stats;
    struct memory_stats memory;
    uint32_t partitions;
};

static void face_read_stats(struct library_call *call)
{
    struct face_stats *read = CONTAINER_OF(call, struct face_stats, call);
    read->stats = call->library->reactor->stats;
    read->partitions = call->library->partition_count;
    memory_stats(call->library->reactor->memory, &read->memory);
    library_answer(call, FLOE_OK);
}

int floe_get_stats(struct floe *handle, struct floe_stats *stats)
{
    void *object;
    if (stats == NULL || stats->struct_size != sizeof(*stats)) {
        return FLOE_ERR_INVALID;
    }
    int result = face_use(handle, NAME_HANDLE, &object);
    if (result != FLOE_OK) {
        return result;
    }
    struct face_stats *read = calloc(1, sizeof(*read));
    if (read == NULL) {
        name_leave(handle);
        return FLOE_ERR_NO_MEMORY;
    }
    read->call = (struct library_call){.library = object, .start = face_read_stats};
    library_call(&read->call);
    const uint64_t *counters = read->stats.counters;
    uint64_t used = 0;
    for (uint32_t i = 0; i < MEMORY_CLASS_COUNT; i++) {
        used += read->memory.used_bytes[i];
    }
    *stats = (struct floe_stats){
        .struct_size = sizeof(*stats),
        .partitions = read->partitions,
        .batches_appended = counters[STAT_APPENDS],
        .records_appended = counters[STAT_APPEND_RECORDS],
        .bytes_appended = counters[STAT_APPEND_BYTES],
        .commits = counters[STAT_COMMITS],
        .flushes = counters[STAT_FLUSHES],
        .file_reads = counters[STAT_FILE_READS],
        .file_read_bytes = counters[STAT_FILE_READ_BYTES],
        .file_writes = counters[STAT_FILE_WRITES],
        .file_write_bytes = counters[STAT_FILE_WRITE_BYTES],
        .reads = counters[STAT_FETCHES],
        .read_bytes = counters[STAT_FETCH_BYTES],
        .segments_rolled = counters[STAT_SEGMENT_ROLLS],
        .memory_bytes = read->memory.touched_bytes,
        .memory_used_bytes = used,
    };
    free(read);
    name_leave(handle);
    return FLOE_OK;
}
