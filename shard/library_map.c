/* What a server asks its map, the library answers from its directory: which topics there are, which
 * segments a partition has, and what comes after a full one.
 *
 * A topic is known by the names in the headers of its segments, so one without records leaves no
 * trace. Segment ids: 23 bits of the directory's id, then a number that is reserved in the
 * superblock before it is used; a server's have the highest bit set. */
#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "shard/library.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct library_topic *library_topic(struct library *library, const char *name)
{
    struct library_topic *topic = library->topics;
    while (topic != NULL && strcmp(topic->name, name) != 0) {
        topic = topic->next;
    }
    return topic;
}

static struct library_topic *library_add_topic(struct library *library, const char *name)
{
    struct library_topic *topic = calloc(1, sizeof(*topic));
    if (topic != NULL) {
        (void)snprintf(topic->name, sizeof(topic->name), "%s", name);
        topic->next = library->topics;
        library->topics = topic;
    }
    return topic;
}

enum err library_map_open(struct library *library)
{
    for (uint32_t i = 0; i < library->survey.partition_count; i++) {
        const struct survey_partition *found = &library->survey.partitions[i];
        if (found->segment_count == 0) {
            continue;
        }
        struct library_topic *topic = library_topic(library, found->name);
        if (topic == NULL) {
            topic = library_add_topic(library, found->name);
        }
        if (topic == NULL) {
            return ERR_NO_MEMORY;
        }
        uint64_t created_ms = found->segments[0].created_ms;
        if (topic_id_is_zero(&topic->id) || created_ms > topic->created_ms) {
            topic->id = found->id.topic;
            topic->created_ms = created_ms;
        }
    }
    return OK;
}

void library_map_close(struct library *library)
{
    while (library->topics != NULL) {
        struct library_topic *topic = library->topics;
        library->topics = topic->next;
        free(topic);
    }
    while (library->partitions != NULL) {
        struct library_partition *partition = library->partitions;
        library->partitions = partition->next;
        free(partition->segments);
        free(partition);
    }
}

static struct library_partition *library_partition(struct library *library,
                                                   const struct partition_id *id)
{
    struct library_partition *partition = library->partitions;
    while (partition != NULL && (partition->id.partition != id->partition ||
                                 !topic_id_equal(&partition->id.topic, &id->topic))) {
        partition = partition->next;
    }
    return partition;
}

static void library_roll_now(struct library *library, struct shard_roll *roll)
{
    struct library_partition *partition = library_partition(library, &roll->partition);
    ASSERT(partition != NULL && library->segment_next < library->segment_end);
    partition->epoch++;
    uint64_t directory = load_le32(library->identity.directory_id) & 0x7fffff;
    roll->next = (struct segment_info){
        .id = directory << 40 | library->segment_next++,
        .epoch = partition->epoch,
        .state = SEGMENT_OPEN,
        .base_offset = roll->end_offset,
        .salt = prng_next(&library->reactor->prng),
        .leader_node = library->identity.node_id,
        .replication_factor = 1,
        .ack_quorum = 1,
        .durability = roll->durability,
    };
    completion_fire(library->reactor, &roll->done, OK);
}

static void library_reserved(struct completion *done)
{
    struct library *library = CONTAINER_OF(done, struct library, reserved);
    library->reserving = false;
    if (done->result == OK) {
        library->segment_end = library->segment_next + LIBRARY_SEGMENTS_RESERVED;
    }
    struct completion_list rolls = library->rolls; /* Some may have to wait again. */
    library->rolls = (struct completion_list){0};
    struct completion *waiting;
    while ((waiting = completion_list_pop(&rolls)) != NULL) {
        struct shard_roll *roll = CONTAINER_OF(waiting, struct shard_roll, done);
        if (done->result == OK) {
            library_roll(library, roll);
        } else {
            completion_fire(library->reactor, &roll->done, ERR_STORAGE);
        }
    }
}

void library_roll(void *context, struct shard_roll *roll)
{
    struct library *library = context;
    if (!roll->open_next) {
        completion_fire(library->reactor, &roll->done, OK); /* The seal block says it. */
    } else if (library->segment_next < library->segment_end) {
        library_roll_now(library, roll);
    } else {
        COVER("a roll waits for numbers of segments");
        completion_list_push(&library->rolls, &roll->done);
        if (!library->reserving) {
            library->reserving = true;
            completion_init(&library->reserved, library_reserved);
            directory_reserve(library->directory, LIBRARY_SEGMENTS_RESERVED, &library->segment_next,
                              &library->reserved);
        }
    }
}

void library_trim(void *context, struct shard_trim *trim)
{
    struct library *library = context;
    /* The files are the map: a frame has said it, and those below may go. Without one nobody would
     * know the next time. */
    completion_fire(library->reactor, &trim->done, trim->raises ? ERR_UNSUPPORTED : OK);
}

static void library_tell_waiting(struct library_partition *partition, int result)
{
    struct completion *order;
    while ((order = completion_list_pop(&partition->waiting)) != NULL) {
        struct library_call *call = CONTAINER_OF(order, struct library_call, order);
        library_answer(call, result);
    }
}

static void library_assigned(struct completion *done)
{
    struct request *request = CONTAINER_OF(done, struct request, done);
    struct library_partition *partition = CONTAINER_OF(request, struct library_partition, request);
    enum err err = done->result < 0 ? (enum err)done->result : OK;
    if (err == OK && partition->library->view != NULL) {
        err = library_hold(partition->library, &partition->id);
    }
    bool failed = err != OK;
    partition->state = failed ? LIBRARY_PARTITION_FAILED : LIBRARY_PARTITION_READY;
    free(partition->segments);
    partition->segments = NULL;
    library_tell_waiting(partition, failed ? library_result(err) : FLOE_OK);
}

/* Hands the partition to the shard, which recovers it. */
static enum err library_assign(struct library_partition *partition)
{
    struct library *library = partition->library;
    const struct survey_partition *found = survey_find(&library->survey, &partition->id);
    uint32_t count = found != NULL ? found->segment_count : 0;
    uint64_t log_start = 0;
    if (found != NULL && found->faults > 0) {
        LOG_ERROR("partition has files that are missing or no segments topic=%s partition=%u "
                  "files=%u",
                  partition->topic->name, partition->id.partition, found->faults);
        return ERR_DAMAGED;
    }
    if (count > 0) {
        partition->segments = calloc(count, sizeof(*partition->segments));
        if (partition->segments == NULL) {
            return ERR_NO_MEMORY;
        }
        for (uint32_t i = 0; i < count; i++) {
            partition->segments[i] = found->segments[i].info;
            log_start = max_u64(log_start, found->segments[i].log_start);
        }
        partition->epoch = max_u32(partition->epoch, found->epoch);
        partition->end_damaged = found->end_damaged;
    }
    struct request *request = &partition->request;
    *request = (struct request){.kind = REQUEST_ASSIGN,
                                .partition = partition->id,
                                .home = library->reactor,
                                .assign = {.topic_name = partition->topic->name,
                                           .config = &partition->config,
                                           .segments = partition->segments,
                                           .segment_count = count,
                                           .log_start = log_start,
                                           .epoch = partition->epoch}};
    completion_init(&request->done, library_assigned);
    partition->state = LIBRARY_PARTITION_ASSIGNING;
    shard_submit(library->shard, request);
    return OK;
}

/* The partition's row, made if there is none. */
static enum err library_row(struct library_open_partition *open)
{
    struct library *library = open->call.library;
    struct library_topic *topic = library_topic(library, open->topic);
    struct partition_id id = {.partition = open->number};
    if (topic != NULL) {
        id.topic = topic->id;
        open->partition = library_partition(library, &id);
    }
    if (open->partition != NULL) {
        return OK;
    }
    if (open->existing && (topic == NULL || survey_find(&library->survey, &id) == NULL)) {
        return ERR_TOPIC_UNKNOWN;
    }
    if (library->partition_count >= library->options.partitions_max) {
        return ERR_LIMIT;
    }
    struct library_partition *partition = calloc(1, sizeof(*partition));
    if (partition != NULL && topic == NULL) {
        topic = library_add_topic(library, open->topic);
    }
    if (partition == NULL || topic == NULL) {
        free(partition);
        return ERR_NO_MEMORY;
    }
    while (topic_id_is_zero(&topic->id)) {
        prng_fill(&library->reactor->prng, topic->id.bytes, sizeof(topic->id.bytes));
        topic->id.bytes[6] = (uint8_t)((topic->id.bytes[6] & 0x0f) | 0x40); /* Version 4. */
        topic->id.bytes[8] = (uint8_t)((topic->id.bytes[8] & 0x3f) | 0x80);
    }
    partition->library = library;
    partition->topic = topic;
    partition->id = (struct partition_id){.topic = topic->id, .partition = open->number};
    partition->config = open->config;
    partition->next = library->partitions;
    library->partitions = partition;
    library->partition_count++;
    open->partition = partition;
    return OK;
}

void library_open_partition(struct library_call *call)
{
    struct library_open_partition *open = CONTAINER_OF(call, struct library_open_partition, call);
    enum err err = library_row(open);
    struct library_partition *partition = open->partition;
    if (err != OK) {
        library_answer(call, library_result(err));
        return;
    }
    if (open->configure) {
        partition->config = open->config;
    }
    if (partition->state == LIBRARY_PARTITION_READY) {
        if (open->configure) {
            call->request.configure = &partition->config;
            library_submit(call, REQUEST_CONFIGURE, &partition->id, NULL);
        } else {
            library_answer(call, FLOE_OK);
        }
        return;
    }
    completion_list_push(&partition->waiting, &call->order);
    if (partition->state != LIBRARY_PARTITION_ASSIGNING) {
        err = library_assign(partition);
        if (err != OK) {
            partition->state = LIBRARY_PARTITION_FAILED;
            library_tell_waiting(partition, library_result(err));
        }
    }
}
