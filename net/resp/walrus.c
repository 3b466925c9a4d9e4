/* The verbs of Walrus as commands: GET, STATE, METRICS (PUT and REGISTER are in add.c). */
#include "core/assert.h"
#include "net/resp/resp.h"
#include "net/walrus/next.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { STATE_SEGMENTS_MAX = 1000 };

static const struct map_topic *walrus_topic(struct resp_op *op)
{
    struct partition_id id;
    const struct map_topic *topic = map_topic_by_name(resp_map(op), op->arguments[1]);
    if (topic == NULL && resp_find_key(op, op->arguments[1], &id) == OK) {
        topic = map_topic_by_id(resp_map(op), &id.topic);
    }
    return topic;
}

static void fail_unknown_topic(struct resp_op *op)
{
    resp_fail(op, "ERR unknown topic %.*s", (int)min_u32(op->arguments[1].size, 200),
              op->arguments[1].size == 0 ? "" : (const char *)op->arguments[1].data);
}

/* --- GET: Walrus's cursor of the topic. --- */

struct get_state {
    struct walrus_next next;
    struct resp_op *op;
    uint8_t *reply;
    uint64_t reply_size;
};

_Static_assert(sizeof(struct get_state) <= RESP_GET_BYTES, "the command table's");

static void get_done(struct walrus_next *next, enum err err)
{
    struct get_state *get = CONTAINER_OF(next, struct get_state, next);
    struct resp_op *op = get->op;
    struct call *call = op->call;
    if (err == OK && get->reply != NULL) {
        call->vector_one = (struct iovec){.iov_base = get->reply, .iov_len = get->reply_size};
        call->vectors = &call->vector_one;
        call->vector_count = 1;
        resp_send(op);
        return;
    }
    if (call->reply_block != NULL) {
        block_unref(call->reply_block); /* It holds a record that nobody gets. */
        call->reply_block = NULL;
    }
    if (err == OK) {
        resp_answer_null(op);
    } else if (err == ERR_TOO_LARGE) {
        resp_fail(op,
                  "ERR the record at offset %" PRIu64 " does not fit into memory; read it "
                  "through another protocol",
                  next->position);
    } else {
        resp_fail_err(op, err);
    }
}

static enum err get_take(struct walrus_next *next)
{
    struct get_state *get = CONTAINER_OF(next, struct get_state, next);
    struct resp_writer counted = {.protocol = get->op->protocol};
    resp_write_bulk(&counted, next->entry.record.value);
    if (counted.position > UINT32_MAX) {
        return ERR_TOO_LARGE;
    }
    enum err err = call_reply_room(next->call, counted.position, &get->reply);
    if (err != OK) {
        get->reply = NULL;
        return err;
    }
    get->reply_size = counted.position;
    struct resp_writer writer = {
        .data = get->reply, .size = counted.position, .protocol = get->op->protocol};
    resp_write_bulk(&writer, next->entry.record.value);
    return OK;
}

static void get_memory_back(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    struct resp_op *op = call->state;
    struct get_state *get = op->state;
    walrus_next_look(&get->next);
}

static void get_cancel(struct resp_op *op)
{
    struct get_state *get = op->state;
    walrus_next_cancel(&get->next);
}

void resp_get(struct resp_op *op)
{
    struct get_state *get = op->state;
    struct partition_id id;
    enum err err = resp_find_key(op, op->arguments[1], &id);
    if (err == ERR_TOPIC_UNKNOWN) {
        fail_unknown_topic(op);
        return;
    }
    if (err != OK) {
        resp_fail_told(op);
        return;
    }
    get->op = op;
    get->next.call = op->call;
    get->next.take = get_take;
    get->next.done = get_done;
    get->next.memory_back = get_memory_back;
    op->cancel = get_cancel;
    walrus_next_start(&get->next, &id);
}

/* --- STATE, METRICS. --- */

static void __attribute__((format(printf, 2, 3)))
state_add(struct resp_writer *writer, const char *format, ...)
{
    char text[128];
    va_list list;
    va_start(list, format);
    int size = vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    resp_write_raw(writer, text, min_u32((uint32_t)size, sizeof(text) - 1));
}

/* Of the first partition; its sealed segments by number from 1, and how many records each has. */
static void state_json(struct resp_writer *writer, const struct map_topic *topic)
{
    const struct map_partition *partition = &topic->partitions[0];
    uint32_t first = partition->segment_count > STATE_SEGMENTS_MAX
                         ? partition->segment_count - STATE_SEGMENTS_MAX
                         : 0;
    state_add(writer, "{\"current_segment\":%u,\"leader_node\":%u,\"partitions\":%u,",
              max_u32(partition->segment_count, 1), partition->leader_node, topic->partition_count);
    state_add(writer, "\"last_sealed_entry_offset\":%" PRIu64 ",\"sealed_segments\":{",
              partition->end_offset);
    const char *comma = "";
    for (uint32_t i = first; i < partition->segment_count; i++) {
        const struct segment_info *info = &partition->segments[i];
        if (info->state == SEGMENT_SEALED) {
            state_add(writer, "%s\"%u\":%" PRIu64, comma, i + 1,
                      info->end_offset - info->base_offset);
            comma = ",";
        }
    }
    state_add(writer, "},\"segment_leaders\":{");
    comma = "";
    for (uint32_t i = first; i < partition->segment_count; i++) {
        state_add(writer, "%s\"%u\":%u", comma, i + 1, partition->segments[i].leader_node);
        comma = ",";
    }
    state_add(writer, "}}");
}

static void encode_state(struct resp_op *op, struct resp_writer *writer)
{
    const struct map_topic *topic = walrus_topic(op);
    if (topic == NULL) { /* Deleted while the answer waited for memory. */
        resp_write_error(writer, "ERR unknown topic");
        return;
    }
    const struct map_partition *partition = &topic->partitions[0];
    struct resp_writer counted = {0};
    if (writer->protocol == 3) {
        resp_write_map(writer, 5);
        resp_write_text(writer, "current_segment");
        resp_write_integer(writer, max_u32(partition->segment_count, 1));
        resp_write_text(writer, "leader_node");
        resp_write_integer(writer, partition->leader_node);
        resp_write_text(writer, "partitions");
        resp_write_integer(writer, topic->partition_count);
        resp_write_text(writer, "last_sealed_entry_offset");
        resp_write_integer(writer, (int64_t)partition->end_offset);
        resp_write_text(writer, "log_start");
        resp_write_integer(writer, (int64_t)partition->log_start);
        return;
    }
    state_json(&counted, topic);
    state_add(writer, "$%" PRIu64 "\r\n", counted.position);
    state_json(writer, topic);
    resp_write_raw(writer, "\r\n", 2);
}

void resp_state(struct resp_op *op)
{
    if (walrus_topic(op) == NULL) {
        fail_unknown_topic(op);
        return;
    }
    resp_answer(op, encode_state);
}

static void metrics_text(struct resp_op *op, struct resp_writer *writer)
{
    static const char *const names[] = {
#define X(name, help) #name,
        STATS_TABLE(X)
#undef X
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(names); i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "%s", names[i]);
        for (char *at = name; *at != 0; at++) {
            *at = (char)(*at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at);
        }
        state_add(writer, "floe_%s{core=\"%u\"} %" PRIu64 "\n", name, op->net->options.core_index,
                  op->net->reactor->stats.counters[i]);
    }
}

static void encode_metrics(struct resp_op *op, struct resp_writer *writer)
{
    struct resp_writer counted = {0};
    bool verbatim = writer->protocol == 3;
    metrics_text(op, &counted);
    state_add(writer, verbatim ? "=%" PRIu64 "\r\ntxt:" : "$%" PRIu64 "\r\n",
              counted.position + (verbatim ? 4 : 0));
    metrics_text(op, writer);
    resp_write_raw(writer, "\r\n", 2);
}

void resp_metrics(struct resp_op *op)
{
    resp_answer(op, encode_metrics);
}
