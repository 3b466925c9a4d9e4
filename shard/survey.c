/* See the header.
 *
 *     LISTING topics -> LISTING one topic -> LISTING one partition -> OPENING -> READING -> CLOSING
 *       ^                 ^                    ^                                              |
 *       +-- done with it -+--- done with it ---+------------------ next file -----------------+ */
#include "shard/survey.h"

#include "core/assert.h"
#include "core/cover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SURVEY_NAMES_BYTES =
        64 << 10, /* Of one level: a directory that is larger is listed in parts. */
    SURVEY_BLOCK_BYTES = (SURVEY_DEPTH + 1) * SURVEY_NAMES_BYTES,
};

_Static_assert((int)SEGMENT_DATA_POSITION <= (int)SURVEY_NAMES_BYTES, "the head of a file fits");

const char *survey_fault_text(enum survey_fault_kind kind)
{
    switch (kind) {
    case SURVEY_UNREADABLE:
        return "cannot be read";
    case SURVEY_HEADER:
        return "its header is not sound";
    case SURVEY_MISPLACED:
        return "it is another segment's file";
    case SURVEY_OVERLAP:
        return "it begins before the end of the segment before it";
    case SURVEY_GAP:
        return "a segment is missing before it";
    }
    UNREACHABLE();
}

/* Room for one more of `size` bytes each; false: no memory. */
static bool survey_grow(void **rows, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity) {
        return true;
    }
    uint32_t grown = max_u32(8, *capacity * 2);
    void *at = realloc(*rows, grown * size);
    if (at == NULL) {
        return false;
    }
    *rows = at;
    *capacity = grown;
    return true;
}

static enum err survey_add_fault(struct survey *survey, struct survey_partition *partition,
                                 uint64_t segment_id, enum survey_fault_kind kind, enum err err)
{
    void *rows = survey->faults;
    if (!survey_grow(&rows, survey->fault_count, &survey->fault_capacity,
                     sizeof(*survey->faults))) {
        return ERR_NO_MEMORY;
    }
    survey->faults = rows;
    survey->faults[survey->fault_count++] = (struct survey_fault){
        .kind = kind,
        .err = err,
        .partition = partition->id,
        .segment_id = segment_id,
    };
    partition->faults++;
    return OK;
}

static int survey_compare(const void *left, const void *right)
{
    const struct segment_info *a = &((const struct survey_segment *)left)->info;
    const struct segment_info *b = &((const struct survey_segment *)right)->info;
    if (a->base_offset != b->base_offset) {
        return a->base_offset < b->base_offset ? -1 : 1;
    }
    if (a->epoch != b->epoch) {
        return a->epoch < b->epoch ? -1 : 1;
    }
    return a->id < b->id ? -1 : a->id > b->id;
}

/* A segment that has no seal block ends where the next one begins. */
static void survey_end_at(struct survey_segment *segment, const struct survey_segment *next)
{
    if (segment->info.state == SEGMENT_SEALED) {
        return;
    }
    COVER("a survey meets a segment that was not sealed and has a successor");
    segment->info.state = SEGMENT_SEALED;
    segment->info.end_offset = next->info.base_offset;
    segment->digest_known = next->previous_id == segment->info.id;
    segment->info.digest = segment->digest_known ? next->previous_digest : 0;
}

enum err survey_judge(struct survey *survey, struct survey_partition *partition)
{
    struct survey_segment *segments = partition->segments;
    uint32_t count = partition->segment_count;
    enum err err = OK;
    if (count > 1) {
        qsort(segments, count, sizeof(*segments), survey_compare);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count && err == OK; i++) {
        struct survey_segment *segment = &segments[i];
        const struct segment_info *info = &segment->info;
        partition->epoch = max_u32(partition->epoch, info->epoch);
        if (i + 1 < count) {
            survey_end_at(segment, &segments[i + 1]);
        }
        bool empty = info->state == SEGMENT_SEALED && info->end_offset == info->base_offset &&
                     (info->digest == info->salt || info->digest == 0);
        if (empty && count > 1 && (i + 1 < count || kept > 0)) {
            continue;
        }
        if (kept > 0 && segments[kept - 1].info.end_offset < info->base_offset &&
            segments[kept - 1].info.end_offset <= segment->log_start) {
            COVER("the survey passes over files that were removed");
            kept = 0; /* Trimmed, and brought back by a crash: those in between are gone. */
        }
        if (kept > 0) {
            const struct segment_info *before = &segments[kept - 1].info;
            if (before->end_offset > info->base_offset) {
                err = survey_add_fault(survey, partition, info->id, SURVEY_OVERLAP, ERR_DAMAGED);
            } else if (before->end_offset < info->base_offset) {
                err = survey_add_fault(survey, partition, info->id, SURVEY_GAP, ERR_DAMAGED);
            }
        }
        segments[kept++] = *segment;
    }
    partition->segment_count = err == OK ? kept : partition->segment_count;
    return err;
}

static struct survey_partition *survey_current(struct survey_walk *walk)
{
    ASSERT(walk->survey->partition_count > 0);
    return &walk->survey->partitions[walk->survey->partition_count - 1];
}

/* What retention goes by; see segment_time_max(). */
static int64_t survey_time(const struct segment_seal *seal)
{
    if (seal == NULL) {
        return INT64_MAX; /* Not known. */
    }
    return seal->timestamp_max >= 0 ? seal->timestamp_max : (int64_t)seal->last_ms;
}

void survey_segment_of(const struct segment_header *header, const struct segment_seal *seal,
                       struct survey_segment *segment)
{
    *segment = (struct survey_segment){
        .info =
            {
                .id = header->segment_id,
                .epoch = header->epoch,
                .state = seal != NULL ? SEGMENT_SEALED : SEGMENT_OPEN,
                .base_offset = header->base_offset,
                .salt = header->salt,
                .end_offset = seal != NULL ? seal->end_offset : 0,
                .digest = seal != NULL ? seal->digest : 0,
                .leader_node = header->leader_node,
                .replication_factor = header->replication_factor,
                .ack_quorum = header->ack_quorum,
                .durability = (enum durability)header->durability,
                .timestamp_max = survey_time(seal),
                .bytes = seal != NULL ? seal->trailer_position : 0,
            },
        .previous_id = header->previous_id,
        .previous_digest = header->previous_digest,
        .created_ms = header->created_ms,
        .log_start = seal != NULL ? max_u64(seal->log_start, header->log_start) : header->log_start,
        .file_generation = header->file_generation,
        .seal_sound = seal != NULL,
        .digest_known = seal != NULL,
    };
}

enum err survey_add_segment(struct survey_partition *partition,
                            const struct survey_segment *segment)
{
    void *rows = partition->segments;
    if (!survey_grow(&rows, partition->segment_count, &partition->segment_capacity,
                     sizeof(*partition->segments))) {
        return ERR_NO_MEMORY;
    }
    partition->segments = rows;
    partition->segments[partition->segment_count++] = *segment;
    return OK;
}

static enum err survey_add_file(struct survey_partition *partition,
                                const struct segment_header *header,
                                const struct segment_seal *seal)
{
    struct survey_segment segment;
    survey_segment_of(header, seal, &segment);
    if (partition->name[0] == 0) {
        memcpy(partition->name, header->name, sizeof(partition->name));
    }
    return survey_add_segment(partition, &segment);
}

/* The head of a file is in the block. */
static enum err survey_take(struct survey_walk *walk, uint32_t size)
{
    struct survey_partition *partition = survey_current(walk);
    const uint8_t *at = walk->block->data;
    struct segment_header header;
    enum err err = size < SEGMENT_DATA_POSITION ? ERR_TRUNCATED : OK;
    err = err == OK ? segment_header_decode(at, &header) : err;
    if (err == OK && header.durability > DURABILITY_MEMORY) {
        err = ERR_VERSION;
    }
    if (err != OK) {
        return survey_add_fault(walk->survey, partition, walk->segment_id, SURVEY_HEADER, err);
    }
    if (header.segment_id != walk->segment_id || header.partition != partition->id.partition ||
        !topic_id_equal(&header.topic, &partition->id.topic)) {
        return survey_add_fault(walk->survey, partition, walk->segment_id, SURVEY_MISPLACED,
                                ERR_FOREIGN);
    }
    struct segment_seal seal;
    bool sealed = segment_seal_decode(at + SEGMENT_SEAL_POSITION, &seal) == OK &&
                  seal.segment_id == header.segment_id && seal.salt == header.salt &&
                  seal.end_offset >= header.base_offset;
    return survey_add_file(partition, &header, sealed ? &seal : NULL);
}

static void survey_step(struct completion *done);

static void survey_go(struct survey_walk *walk, enum survey_state state)
{
    walk->state = state;
    completion_init(&walk->io.done, survey_step);
    io_submit(walk->reactor, &walk->io);
}

static void survey_finish(struct survey_walk *walk, enum err err)
{
    block_unref(walk->block);
    walk->block = NULL;
    completion_fire(walk->reactor, &walk->done, err);
}

static char *survey_names(const struct survey_walk *walk, uint32_t depth)
{
    return (char *)walk->block->data + (size_t)(depth + 1) * SURVEY_NAMES_BYTES;
}

/* data_dir/topics and the names on the way down to `depth`; then `name`, unless NULL. */
static const char *survey_path(struct survey_walk *walk, const char *name)
{
    int used = snprintf(walk->path, sizeof(walk->path), "%s/topics", walk->data_dir);
    for (uint32_t i = 1; i <= walk->depth; i++) {
        used += snprintf(walk->path + used, sizeof(walk->path) - (size_t)used, "/%s",
                         walk->levels[i].name);
    }
    if (name != NULL) {
        (void)snprintf(walk->path + used, sizeof(walk->path) - (size_t)used, "/%s", name);
    }
    return walk->path;
}

static void survey_list(struct survey_walk *walk)
{
    const struct survey_level *level = &walk->levels[walk->depth];
    io_list(&walk->io, survey_path(walk, NULL), survey_names(walk, walk->depth), SURVEY_NAMES_BYTES,
            level->skip);
    survey_go(walk, SURVEY_LISTING);
}

static bool survey_hex(const char *text, uint32_t digits, uint8_t *bytes)
{
    for (uint32_t i = 0; i < digits; i++) {
        char c = text[i];
        bool number = c >= '0' && c <= '9';
        if (!number && (c < 'a' || c > 'f')) {
            return false;
        }
        uint32_t value = (uint32_t)(number ? c - '0' : c - 'a' + 10);
        bytes[i / 2] = (uint8_t)(i % 2 == 0 ? value << 4 : bytes[i / 2] | value);
    }
    return true;
}

/* "17/": the number; false for anything else. */
static bool survey_is_partition(const char *name, uint32_t *partition)
{
    uint64_t value = 0;
    size_t digits = strspn(name, "0123456789");
    if (digits == 0 || digits > 10 || strcmp(name + digits, "/") != 0 ||
        (name[0] == '0' && digits > 1)) {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        value = value * 10 + (uint64_t)(name[i] - '0');
    }
    *partition = (uint32_t)value;
    return value <= UINT32_MAX;
}

/* Adds a row for the partition whose directory comes next. */
static enum err survey_enter_partition(struct survey_walk *walk, uint32_t number)
{
    struct partition_id id = {.partition = number};
    bool is_hex = survey_hex(walk->levels[1].name, 32, id.topic.bytes);
    ASSERT(is_hex);
    return survey_add_partition(walk->survey, &id) != NULL ? OK : ERR_NO_MEMORY;
}

/* Goes down into `name`, a directory on the current level, or opens the file of that name. True:
 * something is under way; false: it is nothing of ours. */
static bool survey_enter(struct survey_walk *walk, const char *name, enum err *err)
{
    uint8_t id[16];
    uint32_t number = 0;
    if (walk->depth + 1 == SURVEY_DEPTH) {
        if (!segment_is_name(name, ".seg") || !survey_hex(name, 16, id)) {
            return false;
        }
        walk->segment_id = load_be64(id);
        walk->survey->files++;
        io_open(&walk->io, survey_path(walk, name), 0);
        survey_go(walk, SURVEY_OPENING);
        return true;
    }
    bool ours = walk->depth == 0 ? strlen(name) == 33 && name[32] == '/' && survey_hex(name, 32, id)
                                 : survey_is_partition(name, &number);
    if (!ours) {
        return false;
    }
    struct survey_level *below = &walk->levels[walk->depth + 1];
    *below = (struct survey_level){0};
    (void)snprintf(below->name, sizeof(below->name), "%.*s", (int)strlen(name) - 1, name);
    if (walk->depth == 1) {
        *err = survey_enter_partition(walk, number);
        if (*err != OK) {
            return false;
        }
    }
    walk->depth++;
    survey_list(walk);
    return true;
}

/* The next file, or directory; done with a directory, the one above it; at last the end. */
static void survey_next(struct survey_walk *walk)
{
    enum err err = OK;
    for (;;) {
        struct survey_level *level = &walk->levels[walk->depth];
        const char *names = survey_names(walk, walk->depth);
        while (level->at < level->end && err == OK) {
            const char *name = names + level->at;
            level->at += (uint32_t)strlen(name) + 1;
            if (survey_enter(walk, name, &err)) {
                return;
            }
        }
        if (err == OK && level->more) {
            COVER("a survey lists a directory in parts");
            level->skip += level->count;
            survey_list(walk);
            return;
        }
        if (err == OK && walk->depth + 1 == SURVEY_DEPTH) {
            err = survey_judge(walk->survey, survey_current(walk));
        }
        if (err != OK || walk->depth == 0) {
            survey_finish(walk, err);
            return;
        }
        walk->depth--;
    }
}

static void survey_listed(struct survey_walk *walk, int32_t result)
{
    struct survey_level *level = &walk->levels[walk->depth];
    if (result < 0 && result != ERR_NOT_FOUND) {
        survey_finish(walk, (enum err)result);
        return;
    }
    level->at = 0;
    level->end = result > 0 ? (uint32_t)result : 0;
    level->count = walk->io.list.count;
    level->more = result > 0 && walk->io.list.more && level->count > 0;
    survey_next(walk);
}

static void survey_failed(struct survey_walk *walk, enum err err)
{
    struct survey_partition *partition = survey_current(walk);
    if (err == ERR_LIMIT) { /* No descriptor is left: that is no fault of the file. */
        COVER("no descriptor is left for a file that is surveyed");
        survey_finish(walk, err);
        return;
    }
    err = survey_add_fault(walk->survey, partition, walk->segment_id, SURVEY_UNREADABLE, err);
    if (err != OK) {
        survey_finish(walk, err);
        return;
    }
    survey_next(walk);
}

static void survey_read(struct survey_walk *walk, int32_t result)
{
    struct survey *survey = walk->survey;
    enum err err = result < 0 ? survey_add_fault(survey, survey_current(walk), walk->segment_id,
                                                 SURVEY_UNREADABLE, (enum err)result)
                              : survey_take(walk, (uint32_t)result);
    walk->err = err; /* The file is closed first. */
    io_close(&walk->io, walk->fd);
    survey_go(walk, SURVEY_CLOSING);
}

static void survey_step(struct completion *done)
{
    struct io *io = CONTAINER_OF(done, struct io, done);
    struct survey_walk *walk = CONTAINER_OF(io, struct survey_walk, io);
    switch (walk->state) {
    case SURVEY_LISTING:
        survey_listed(walk, done->result);
        return;
    case SURVEY_OPENING:
        if (done->result < 0) {
            survey_failed(walk, (enum err)done->result);
            return;
        }
        walk->fd = done->result;
        io_read(&walk->io, walk->fd, walk->block->data, SEGMENT_DATA_POSITION, 0);
        survey_go(walk, SURVEY_READING);
        return;
    case SURVEY_READING:
        survey_read(walk, done->result);
        return;
    case SURVEY_CLOSING:
        if (walk->err != OK) {
            survey_finish(walk, walk->err);
        } else {
            survey_next(walk);
        }
        return;
    }
    UNREACHABLE();
}

void survey_start(struct survey_walk *walk, struct reactor *reactor, const char *data_dir)
{
    ASSERT(walk->survey->partition_count == 0);
    walk->reactor = reactor;
    walk->data_dir = data_dir;
    walk->depth = 0;
    walk->err = OK;
    walk->levels[0] = (struct survey_level){0};
    if (strlen(data_dir) + SURVEY_DEPTH * SURVEY_NAME_BYTES + sizeof("/topics/") >
        SURVEY_PATH_BYTES) {
        completion_fire(reactor, &walk->done, ERR_INVALID);
        return;
    }
    walk->block = block_acquire(reactor->memory, MEMORY_RECOVERY, SURVEY_BLOCK_BYTES);
    if (walk->block == NULL) {
        completion_fire(reactor, &walk->done, ERR_NO_MEMORY);
        return;
    }
    survey_list(walk);
}
