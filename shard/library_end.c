/* The end of a log that may not be written to: recovery would seal what it finds, so here the last
 * segment is only walked, by the same rules. It blocks the caller's thread and nobody else. What a
 * crash left in the journals alone is kept, and handed to the shard when the partition is there. */
#include "core/io.h"
#include "core/io_engine.h"
#include "core/log.h"
#include "shard/inspect.h"
#include "shard/library.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t library_read(void *context, uint64_t position, uint8_t *data, uint32_t size)
{
    const int *fd = context;
    struct io io = {0};
    io_read(&io, *fd, data, size, position);
    return io_execute(&io);
}

/* The descriptor of a file of the directory. */
static int library_open_file(const struct library *library, const char *name)
{
    char path[LIBRARY_PATH_BYTES + SURVEY_PATH_BYTES];
    struct io io = {0};
    (void)snprintf(path, sizeof(path), "%s/%s", library->path, name);
    io_open(&io, path, 0);
    return io_execute(&io);
}

static void library_close_file(int fd)
{
    struct io io = {0};
    io_close(&io, fd);
    (void)io_execute(&io);
}

static int64_t view_size(void *context, const char *name)
{
    const struct library *library = context;
    char path[LIBRARY_PATH_BYTES + SURVEY_PATH_BYTES];
    struct io io = {0};
    (void)snprintf(path, sizeof(path), "%s/%s", library->path, name);
    io_stat(&io, path);
    int32_t result = io_execute(&io);
    return result < 0 ? result : (int64_t)io.stat.size;
}

static int64_t view_read(void *context, const char *name, uint64_t position, uint8_t *data,
                         uint32_t size)
{
    int fd = library_open_file(context, name);
    if (fd < 0) {
        return fd;
    }
    int64_t got = library_read(&fd, position, data, size);
    library_close_file(fd);
    return got;
}

enum err library_view(struct library *library)
{
    struct journal_view_io io = {.context = library, .size = view_size, .read = view_read};
    library->held_last = &library->held;
    enum err err = journal_view_open(&library->view, &io);
    const struct journal_view_problem *problem =
        err == OK ? journal_view_problem(library->view, 0) : NULL;
    if (problem != NULL) { /* What nobody can say is worse than no answer. */
        (void)snprintf(library->message, sizeof(library->message), "%.200s/%s: %s. %s",
                       library->path, problem->name, problem->problem, problem->advice);
        return ERR_DAMAGED;
    }
    return err;
}

void library_view_close(struct library *library)
{
    journal_view_close(library->view);
    library->view = NULL;
    while (library->held != NULL) {
        struct library_held *held = library->held;
        library->held = held->next;
        free(held);
    }
}

static enum err library_keep(struct library *library, const struct partition_id *id,
                             struct bytes frame)
{
    struct library_held *held = malloc(sizeof(*held) + frame.size);
    if (held == NULL) {
        return ERR_NO_MEMORY;
    }
    held->next = NULL;
    held->partition = *id;
    held->size = frame.size;
    memcpy(held->bytes, frame.data, frame.size);
    *library->held_last = held;
    library->held_last = &held->next;
    return OK;
}

enum err library_hold(struct library *library, const struct partition_id *id)
{
    enum err err = OK;
    pthread_mutex_lock(&library->lock);
    struct library_held **at = &library->held;
    while (*at != NULL && err == OK) {
        struct library_held *held = *at;
        if (held->partition.partition != id->partition ||
            !topic_id_equal(&held->partition.topic, &id->topic)) {
            at = &held->next;
            continue;
        }
        err = shard_hold(library->shard, id, bytes_of(held->bytes, held->size));
        if (err == OK) {
            *at = held->next;
            free(held);
        }
    }
    library->held_last = at;
    while (*library->held_last != NULL) {
        library->held_last = &(*library->held_last)->next;
    }
    pthread_mutex_unlock(&library->lock);
    return err;
}

/* Walks file and journal to their sound end. From the first frame that the journal alone has on,
 * all are kept: the file may go on behind a gap. */
static enum err library_walk(struct library *library, struct survey_partition *partition,
                             struct survey_segment *segment, int fd)
{
    struct inspect inspect = {.read = library_read, .context = &fd, .journals = library->view};
    enum err err = inspect_open(&inspect);
    bool keep = false;
    while (err == OK) {
        uint64_t before = inspect.offset;
        err = inspect_next(&inspect);
        keep = keep || (err == OK && inspect.in_journal);
        if (err == OK && keep && inspect.offset > before) {
            struct bytes frame = bytes_of(inspect.frame_at, frame_size(&inspect.frame));
            err = library_keep(library, &partition->id, frame);
        }
    }
    if (err == ERR_NOT_FOUND) {
        segment->info.state = SEGMENT_SEALED;
        segment->info.end_offset = inspect.offset;
        segment->info.digest = inspect.chain;
        /* The last trim stands in a frame; see recover_asked() for one that outlived its end. */
        segment->log_start = max_u64(segment->log_start, inspect.log_start);
        segment->log_start = min_u64(segment->log_start, inspect.offset);
        partition->end_damaged = inspect.end == INSPECT_END_DAMAGED;
        err = OK;
    }
    inspect_close(&inspect);
    return err;
}

enum err library_find_end(struct library *library, struct survey_partition *partition)
{
    enum err err = OK;
    pthread_mutex_lock(&library->lock);
    struct survey_segment *last =
        partition->segment_count > 0 ? &partition->segments[partition->segment_count - 1] : NULL;
    if (last != NULL && last->info.state == SEGMENT_OPEN) {
        char name[SURVEY_PATH_BYTES], topic[TOPIC_ID_TEXT_BYTES];
        (void)snprintf(name, sizeof(name), "topics/%s/%u/%016" PRIx64 ".seg",
                       topic_id_text(&partition->id.topic, topic), partition->id.partition,
                       last->info.id);
        int fd = library_open_file(library, name);
        err = fd < 0 ? (enum err)fd : library_walk(library, partition, last, fd);
        if (fd >= 0) {
            library_close_file(fd);
        }
    }
    pthread_mutex_unlock(&library->lock);
    return err;
}
