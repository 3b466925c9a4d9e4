/* The end of a log that may not be written to: recovery would seal what it finds, so here the last
 * segment is only walked, by the same rules. It blocks the caller's thread and nobody else. */
#include "core/io.h"
#include "core/io_engine.h"
#include "core/log.h"
#include "shard/inspect.h"
#include "shard/library.h"

#include <inttypes.h>
#include <stdio.h>

static int64_t library_read(void *context, uint64_t position, uint8_t *data, uint32_t size)
{
    const int *fd = context;
    struct io io = {0};
    io_read(&io, *fd, data, size, position);
    return io_execute(&io);
}

/* Walks the file to its sound end. */
static enum err library_walk(struct survey_partition *partition, struct survey_segment *segment,
                             int fd)
{
    struct inspect inspect = {.read = library_read, .context = &fd};
    enum err err = inspect_open(&inspect);
    while (err == OK) {
        err = inspect_next(&inspect);
    }
    if (err == ERR_NOT_FOUND) {
        segment->info.state = SEGMENT_SEALED;
        segment->info.end_offset = inspect.offset;
        segment->info.digest = inspect.chain;
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
        char path[SURVEY_PATH_BYTES], topic[TOPIC_ID_TEXT_BYTES];
        (void)snprintf(path, sizeof(path), "%s/topics/%s/%u/%016" PRIx64 ".seg", library->path,
                       topic_id_text(&partition->id.topic, topic), partition->id.partition,
                       last->info.id);
        struct io io = {0};
        io_open(&io, path, 0);
        int fd = io_execute(&io);
        err = fd < 0 ? (enum err)fd : library_walk(partition, last, fd);
        if (fd >= 0) {
            io_close(&io, fd);
            (void)io_execute(&io);
        }
    }
    pthread_mutex_unlock(&library->lock);
    return err;
}
