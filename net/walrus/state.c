/* STATE and METRICS: bare JSON of what the map knows, in the words of Walrus. A segment's number is
 * its epoch: each of a partition has a greater one. */
#include "core/assert.h"
#include "net/walrus/walrus.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    STATE_ROWS_MAX = 1000, /* The newest segments: an answer stays within a frame. */
    STATE_ROW_BYTES =
        60, /* Of both lists together: two numbers of 10 digits, one of 20, one of 10. */
    STATE_REST_BYTES = 1024,
    METRICS_NODE_BYTES = 256,
    METRICS_REST_BYTES = 1024,
};

/* An answer that grows within its room, which is large enough. */
struct text {
    char *data;
    uint32_t size, used;
};

static struct text text_take(struct call *call, uint32_t size)
{
    return (struct text){.data = call_take(call, size), .size = size, .used = WALRUS_PREFIX_BYTES};
}

static void text_answer(struct call *call, struct text *text)
{
    uint8_t *data = (uint8_t *)text->data;
    ASSERT(text->used - WALRUS_PREFIX_BYTES <= WALRUS_FRAME_BYTES_MAX);
    store_le32(data, text->used - WALRUS_PREFIX_BYTES);
    call_reply_bytes(call, data, text->used);
}

static void text_add(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void text_add(struct text *text, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int added = vsnprintf(text->data + text->used, text->size - text->used, format, list);
    va_end(list);
    ASSERT(added >= 0 && (uint32_t)added < text->size - text->used);
    text->used += (uint32_t)added;
}

/* --- STATE. --- */

struct walrus_state {
    struct call *call;
    struct partition_id partition;
    struct request request;
    uint32_t rows_max;
    struct text text;
};

static void state_write(struct walrus_state *op, const struct map_topic *topic)
{
    const struct map_partition *partition = &topic->partitions[op->partition.partition];
    uint32_t end = partition->segment_count;
    uint32_t first = end - min_u32(end, op->rows_max);
    struct text *text = &op->text;
    text_add(text,
             "{\"current_segment\":%u,\"leader_node\":%u,\"last_sealed_entry_offset\":%llu,"
             "\"sealed_segments\":{",
             max_u32(partition->epoch, 1), partition->leader_node,
             (unsigned long long)partition->end_offset);
    const char *link = "";
    for (uint32_t i = first; i < end; i++) {
        const struct segment_info *segment = &partition->segments[i];
        if (segment->state == SEGMENT_SEALED) {
            text_add(text, "%s\"%u\":%llu", link, segment->epoch,
                     (unsigned long long)(segment->end_offset - segment->base_offset));
            link = ",";
        }
    }
    text_add(text, "},\"segment_leaders\":{");
    for (uint32_t i = first; i < end; i++) {
        const struct segment_info *segment = &partition->segments[i];
        text_add(text, "%s\"%u\":%u", i == first ? "" : ",", segment->epoch, segment->leader_node);
    }
    if (end == 0) {
        text_add(text, "\"1\":%u", partition->leader_node); /* Whoever will lead the first. */
    }
    text_add(text,
             "},\"topic\":\"%s\",\"partition\":%u,\"partitions\":%u,\"log_start_offset\":%llu,"
             "\"end_offset\":%lld}",
             topic->name, op->partition.partition, topic->partition_count,
             (unsigned long long)partition->log_start, (long long)op->request.offsets.offset);
}

static void state_asked(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct walrus_state *op = CONTAINER_OF(request, struct walrus_state, request);
    const struct map *map = log_map(op->call->net);
    const struct map_topic *topic = map_topic_by_id(map, &op->partition.topic);
    enum err err = topic == NULL ? ERR_TOPIC_UNKNOWN : (enum err)completion->result;
    if (err != OK) {
        walrus_fail(op->call, err);
        return;
    }
    state_write(op, topic);
    text_answer(op->call, &op->text);
}

enum err walrus_state(struct call *call, const struct walrus_request *request)
{
    struct partition_id id;
    enum err err = OK;
    if (call->conn->first != call) {
        return ERR_BUSY; /* It tells what came before. */
    }
    if (!walrus_find(call, request->topic, &id, &err)) {
        return err;
    }
    const struct map_topic *topic = map_topic_by_id(log_map(call->net), &id.topic);
    uint32_t rows = min_u32(topic->partitions[id.partition].segment_count + 1, STATE_ROWS_MAX);
    uint32_t size = rows * STATE_ROW_BYTES + STATE_REST_BYTES;
    err = call_arena(call, sizeof(struct walrus_state) + size + WALRUS_TEXT_BYTES_MAX);
    if (err != OK) {
        return err;
    }
    struct walrus_state *op = call_take(call, sizeof(*op));
    op->call = call;
    op->partition = id;
    op->rows_max = rows;
    op->text = text_take(call, size);
    log_ask_offset(call->net, &op->request, &id, OFFSETS_LATEST, state_asked);
    return OK;
}

/* --- METRICS. --- */

/* What a Raft library tells of itself. Terms and votes are not known here, and left out. */
static void metrics_write(const struct net *net, struct text *text)
{
    const struct map *map = log_map(net);
    uint32_t own = net->options.node_id;
    uint32_t nodes = map_node_count(map);
    unsigned long long index = map_version(map);
    text_add(text,
             "{\n  \"running_state\": {\n    \"Ok\": null\n  },\n  \"id\": %u,\n"
             "  \"last_log_index\": %llu,\n  \"last_applied\": {\n    \"index\": %llu\n  },\n"
             "  \"snapshot\": null,\n  \"purged\": null,\n  \"state\": \"Leader\",\n"
             "  \"current_leader\": %u,\n  \"millis_since_quorum_ack\": 0,\n",
             own, index, index, own);
    text_add(text, "  \"membership_config\": {\n    \"membership\": {\n      \"configs\": [\n"
                   "        [");
    for (uint32_t i = 0; i < nodes; i++) {
        text_add(text, "%s\n          %u", i == 0 ? "" : ",", map_node_at(map, i)->id);
    }
    text_add(text, "\n        ]\n      ],\n      \"nodes\": {");
    for (uint32_t i = 0; i < nodes; i++) {
        const struct map_node *node = map_node_at(map, i);
        char address[IO_ADDRESS_TEXT_BYTES] = "";
        if (node->address_count > 0) {
            (void)io_address_text(&node->addresses[0], address);
        }
        text_add(text, "%s\n        \"%u\": {\n          \"addr\": \"%s\"\n        }",
                 i == 0 ? "" : ",", node->id, address);
    }
    text_add(text, "\n      }\n    }\n  },\n  \"replication\": {");
    for (uint32_t i = 0; i < nodes; i++) {
        text_add(text, "%s\n    \"%u\": {\n      \"index\": %llu\n    }", i == 0 ? "" : ",",
                 map_node_at(map, i)->id, index);
    }
    text_add(text, "\n  }\n}");
}

enum err walrus_metrics(struct call *call)
{
    uint32_t size = METRICS_REST_BYTES + map_node_count(log_map(call->net)) * METRICS_NODE_BYTES;
    if (call->conn->first != call) {
        return ERR_BUSY;
    }
    enum err err = call_arena(call, size);
    if (err != OK) {
        return err;
    }
    struct text text = text_take(call, size);
    metrics_write(call->net, &text);
    text_answer(call, &text);
    return OK;
}
