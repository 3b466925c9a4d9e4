/* GET /v1/topics and GET /v1/topics/{topic}. Where each partition begins and ends its core
 * says. */
#include "core/assert.h"
#include "net/group/group.h"
#include "net/http/http.h"
#include "net/route.h"

#include <string.h>

/* --- The list. --- */

static void topics_put_common(const struct map_topic *topic, struct http_writer *writer)
{
    char id[TOPIC_ID_TEXT_BYTES];
    http_put_text(writer, "\"name\":");
    http_put_json(writer, bytes_text(topic->name));
    http_printf(writer, ",\"id\":\"%s\",\"replication\":%u", topic_id_text(&topic->id, id),
                max_u32(topic->replication_factor, 1));
}

static void topics_encode(struct http_op *op, struct http_writer *writer)
{
    const struct map *map = http_map(op);
    const char *comma = "";
    http_put_text(writer, "{\"topics\":[");
    for (uint32_t i = 0; i < map_topic_count(map); i++) {
        const struct map_topic *topic = map_topic_at(map, i);
        if (group_topic_is_internal(bytes_text(topic->name))) {
            continue;
        }
        http_printf(writer, "%s\n{", comma);
        comma = ",";
        topics_put_common(topic, writer);
        http_printf(writer, ",\"partitions\":%u}", topic->partition_count);
    }
    http_put_text(writer, "]}\n");
}

enum err http_topics_start(struct http_op *op)
{
    http_answer(op, &(struct http_answer){
                        .status = 200, .type = "application/json", .encode = topics_encode});
    return OK;
}

/* --- One topic. --- */

struct topic_item {
    struct request request;
    struct topic_op *topic;
    enum err err;
    int64_t start, end; /* -1: not known. */
    uint32_t leader, epoch;
};

struct topic_op {
    struct http_op *op;
    struct block *block; /* Of the items. */
    struct topic_item *items;
    uint32_t count, awaited;
    bool ends; /* The round asks for the ends, not for the starts. */
    struct topic_id id;
};

_Static_assert(sizeof(struct topic_op) <= HTTP_TOPIC_BYTES, "http_routes knows the size");

static void topic_put_configs(const struct map_topic *topic, struct http_writer *writer)
{
    http_put_text(writer, ",\"configs\":{");
    for (uint32_t i = 0; i < topic->config_count; i++) {
        http_put_text(writer, i == 0 ? "" : ",");
        http_put_json(writer, bytes_text(topic->configs[i].key));
        http_put_text(writer, ":");
        http_put_json(writer, bytes_text(topic->configs[i].value));
    }
    http_put_text(writer, "}");
}

static void topic_encode(struct http_op *op, struct http_writer *writer)
{
    const struct topic_op *state = op->state;
    const struct map_topic *topic = map_topic_by_id(http_map(op), &state->id);
    http_put_text(writer, "{");
    if (topic != NULL) {
        topics_put_common(topic, writer);
        http_printf(writer, ",\"created_ms\":%llu", (unsigned long long)topic->created_ms);
        topic_put_configs(topic, writer);
        http_put_text(writer, ",");
    }
    http_put_text(writer, "\"partitions\":[");
    for (uint32_t i = 0; i < state->count; i++) {
        const struct topic_item *item = &state->items[i];
        http_printf(writer, "%s\n{\"partition\":%u,\"leader\":%u,\"epoch\":%u,", i == 0 ? "" : ",",
                    i, item->leader, item->epoch);
        if (item->err == OK) {
            http_printf(writer, "\"start\":%lld,\"end\":%lld}", (long long)item->start,
                        (long long)item->end);
        } else {
            http_printf(writer, "\"error\":\"%s\"}", err_text(item->err));
        }
    }
    http_put_text(writer, "]}\n");
}

static void topic_ask(struct topic_op *state);

static void topic_home(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct topic_item *item = CONTAINER_OF(request, struct topic_item, request);
    struct topic_op *state = item->topic;
    if (completion->result < 0) {
        item->err = (enum err)completion->result;
    } else if (state->ends) {
        item->end = request->offsets.offset;
    } else {
        item->start = request->offsets.offset;
    }
    state->awaited--;
    if (state->awaited > 0) {
        return;
    }
    if (!state->ends) {
        state->ends = true;
        topic_ask(state);
        return;
    }
    http_answer(state->op, &(struct http_answer){
                               .status = 200, .type = "application/json", .encode = topic_encode});
}

static void topic_ask(struct topic_op *state)
{
    state->awaited = state->count;
    for (uint32_t i = 0; i < state->count; i++) {
        struct topic_item *item = &state->items[i];
        item->request = (struct request){
            .kind = REQUEST_OFFSETS,
            .partition = {.topic = state->id, .partition = i},
            .offsets = {.timestamp = state->ends ? OFFSETS_LATEST : OFFSETS_EARLIEST, .epoch = -1},
        };
        completion_init(&item->request.done, topic_home);
        route_submit(state->op->net, &item->request);
    }
}

enum err http_topic_start(struct http_op *op)
{
    struct topic_op *state = op->state;
    struct memory *memory = op->net->reactor->memory;
    const struct map_topic *topic = http_topic(op);
    if (topic == NULL) {
        return OK;
    }
    uint32_t bytes = topic->partition_count * (uint32_t)sizeof(struct topic_item);
    if (bytes > memory_block_max(memory)) {
        http_refuse(op, 503,
                    "%u partitions are more than fit into the memory of a core: raise "
                    "memory.limit",
                    topic->partition_count);
        return OK;
    }
    state->block = block_acquire(memory, call_memory_class(bytes), bytes);
    if (state->block == NULL) {
        op->call->memory_wanted = bytes;
        return ERR_NO_MEMORY;
    }
    void *items = state->block->data;
    memset(items, 0, bytes);
    state->op = op;
    state->items = items;
    state->count = topic->partition_count;
    state->id = topic->id;
    for (uint32_t i = 0; i < state->count; i++) {
        state->items[i] = (struct topic_item){.topic = state,
                                              .start = -1,
                                              .end = -1,
                                              .leader = topic->partitions[i].leader_node,
                                              .epoch = topic->partitions[i].epoch};
    }
    topic_ask(state);
    return OK;
}

void http_topic_sent(struct http_op *op)
{
    struct topic_op *state = op->state;
    if (state->block != NULL) {
        block_unref(state->block);
        state->block = NULL;
    }
    call_done(op->call);
}
