/* OffsetFetch (9): of one group, since version 8 of several; of named partitions or of all that
 * have an offset. No offset is -1 without an error. */
#include "core/assert.h"
#include "net/kafka/groups.h"

struct fetch_offsets_topic {
    struct bytes name;
    uint32_t count;
};

/* One group of the request, beside its call. */
struct fetch_offsets_group {
    struct fetch_offsets_topic *topics;
    int32_t *partitions;
    uint32_t topic_count;
};

struct offset_fetch {
    struct kafka_group_op op;
    struct fetch_offsets_group *groups;
    struct group_call *calls;
    struct fetch_offsets_topic *topics;
    struct group_offset_item *items;
    int32_t *partitions;
    uint32_t group_count, topic_count, item_count;
};

/* Where the group's topics are read to; they begin at `topic_count` and `item_count`. */
static void fetch_offsets_read_topics(struct offset_fetch *op, struct kafka_reader *body,
                                      struct group_call *call, struct fetch_offsets_group *group)
{
    uint32_t topics;
    bool null = kafka_read_count_or_null(body, 2, &topics);
    if (null && op->op.request.version < 2) {
        body->bytes.failed = true;
    }
    group->topic_count = topics;
    call->all = null;
    if (op->topics != NULL) {
        group->topics = op->topics + op->topic_count;
        group->partitions = op->partitions + op->item_count;
        call->items = op->items + op->item_count;
    }
    for (uint32_t i = 0; i < topics && !body->bytes.failed; i++, op->topic_count++) {
        struct bytes name = kafka_read_string(body);
        uint32_t count = kafka_read_count(body, 4);
        if (op->topics != NULL) {
            op->topics[op->topic_count] = (struct fetch_offsets_topic){name, count};
        }
        for (uint32_t j = 0; j < count && !body->bytes.failed; j++, op->item_count++) {
            int32_t partition = kafka_read_i32(body);
            call->item_count++;
            if (op->topics != NULL) {
                op->partitions[op->item_count] = partition;
                op->items[op->item_count] = (struct group_offset_item){.topic_name = name};
            }
        }
        kafka_read_tags(body);
    }
}

static void fetch_offsets_read_group(struct offset_fetch *op, struct kafka_reader *body,
                                     uint32_t index)
{
    int16_t version = op->op.request.version;
    struct group_call counted_call = {0};
    struct fetch_offsets_group counted_group = {0};
    struct group_call *call = op->calls == NULL ? &counted_call : &op->calls[index];
    struct fetch_offsets_group *group = op->groups == NULL ? &counted_group : &op->groups[index];
    call->kind = GROUP_FETCH;
    call->group = kafka_read_string(body);
    if (version >= 9) {
        call->member = kafka_read_string_or_null(body);
        call->generation = kafka_read_i32(body);
        call->strict = call->member.size > 0 && call->generation >= 0;
    }
    fetch_offsets_read_topics(op, body, call, group);
    if (version >= 8) {
        kafka_read_tags(body);
    }
}

static bool fetch_offsets_read(struct offset_fetch *op)
{
    int16_t version = op->op.request.version;
    struct kafka_reader body = op->op.request.body;
    op->topic_count = op->item_count = 0;
    op->group_count = version >= 8 ? kafka_read_count(&body, 2) : 1;
    for (uint32_t i = 0; i < op->group_count && !body.bytes.failed; i++) {
        fetch_offsets_read_group(op, &body, i);
    }
    if (version >= 7) {
        (void)kafka_read_bool(&body); /* Stable ones only: without transactions all are. */
    }
    kafka_read_tags(&body);
    return kafka_read_done(&body);
}

static void fetch_offsets_resolve(struct offset_fetch *op)
{
    const struct map *map = kafka_map(&op->op.request);
    struct group_offset_item *item = op->items;
    const int32_t *partition = op->partitions;
    for (uint32_t i = 0; i < op->topic_count; i++) {
        const struct map_topic *topic = map_topic_by_name(map, op->topics[i].name);
        for (uint32_t j = 0; j < op->topics[i].count; j++, item++, partition++) {
            /* An unknown topic keeps the id of none: nothing is found. */
            item->topic = topic == NULL ? (struct topic_id){0} : topic->id;
            item->partition = (uint32_t)*partition;
        }
    }
}

/* --- The answer. --- */

static void fetch_offsets_write(const struct offset_fetch *op, int32_t partition, int64_t offset,
                                int32_t epoch, struct bytes metadata, struct kafka_writer *writer)
{
    kafka_write_i32(writer, partition);
    kafka_write_i64(writer, offset);
    if (op->op.request.version >= 5) {
        kafka_write_i32(writer, epoch);
    }
    kafka_write_string(writer, metadata.data == NULL ? bytes_text("") : metadata);
}

static void fetch_offsets_write_named(const struct offset_fetch *op, const struct group_call *call,
                                      const struct fetch_offsets_group *group, enum group_code code,
                                      struct kafka_writer *writer)
{
    const struct group_offset_item *item = call->items;
    const int32_t *partition = group->partitions;
    kafka_write_count(writer, group->topic_count);
    for (uint32_t i = 0; i < group->topic_count; i++) {
        kafka_write_string(writer, group->topics[i].name);
        kafka_write_count(writer, group->topics[i].count);
        for (uint32_t j = 0; j < group->topics[i].count; j++, item++, partition++) {
            bool ok = code == GROUP_OK;
            fetch_offsets_write(op, *partition, ok ? item->offset : -1, ok ? item->epoch : -1,
                                ok ? item->metadata : (struct bytes){0}, writer);
            kafka_write_i16(writer, kafka_code_group(code));
            kafka_write_tags(writer);
        }
        kafka_write_tags(writer);
    }
}

/* An entry of an answer about all partitions. */
struct fetch_offsets_entry {
    struct topic_id topic;
    uint32_t partition;
    int64_t offset;
    int32_t epoch;
    struct bytes metadata;
};

static void fetch_offsets_next(struct bytes_reader *answer, struct fetch_offsets_entry *entry)
{
    struct bytes id = read_bytes(answer, sizeof(entry->topic.bytes));
    ASSERT(!answer->failed);
    memcpy(entry->topic.bytes, id.data, sizeof(entry->topic.bytes));
    entry->partition = read_le32(answer);
    entry->offset = (int64_t)read_le64(answer);
    entry->epoch = (int32_t)read_le32(answer);
    entry->metadata = group_read_text(answer);
}

/* How many of the `left` entries, from the next on, are of one topic. */
static uint32_t fetch_offsets_run(struct bytes_reader answer, uint32_t left, struct topic_id *topic)
{
    struct fetch_offsets_entry entry;
    uint32_t run = 0;
    while (run < left) {
        fetch_offsets_next(&answer, &entry);
        if (run > 0 && !topic_id_equal(&entry.topic, topic)) {
            break;
        }
        *topic = entry.topic;
        run++;
    }
    return run;
}

/* The topics of an answer about all that are still there: counted, or written. */
static uint32_t fetch_offsets_walk(const struct offset_fetch *op, const struct group_call *call,
                                   struct kafka_writer *writer)
{
    const struct map *map = kafka_map(&op->op.request);
    struct bytes_reader answer = bytes_reader(call->result);
    uint32_t left = read_le32(&answer);
    uint32_t topics = 0;
    while (left > 0) {
        struct topic_id id = {0};
        uint32_t run = fetch_offsets_run(answer, left, &id);
        const struct map_topic *topic = map_topic_by_id(map, &id);
        bool write = writer != NULL && topic != NULL;
        topics += topic != NULL ? 1 : 0;
        left -= run;
        if (write) {
            kafka_write_text(writer, topic->name);
            kafka_write_count(writer, run);
        }
        for (uint32_t i = 0; i < run; i++) {
            struct fetch_offsets_entry entry;
            fetch_offsets_next(&answer, &entry);
            if (write) {
                fetch_offsets_write(op, (int32_t)entry.partition, entry.offset, entry.epoch,
                                    entry.metadata, writer);
                kafka_write_i16(writer, KAFKA_NONE);
                kafka_write_tags(writer);
            }
        }
        if (write) {
            kafka_write_tags(writer);
        }
    }
    return topics;
}

static void fetch_offsets_write_topics(const struct offset_fetch *op, uint32_t index,
                                       struct kafka_writer *writer)
{
    const struct group_call *call = &op->calls[index];
    enum group_code code = kafka_group_code(call);
    if (!call->all) {
        fetch_offsets_write_named(op, call, &op->groups[index], code, writer);
    } else if (code != GROUP_OK) {
        kafka_write_count(writer, 0);
    } else {
        kafka_write_count(writer, fetch_offsets_walk(op, call, NULL));
        (void)fetch_offsets_walk(op, call, writer);
    }
}

static void fetch_offsets_encode(void *state, struct kafka_writer *writer)
{
    const struct offset_fetch *op = state;
    int16_t version = op->op.request.version;
    if (version >= 3) {
        kafka_write_i32(writer, 0);
    }
    if (version < 8) {
        fetch_offsets_write_topics(op, 0, writer);
        if (version >= 2) {
            kafka_write_i16(writer, kafka_code_group(kafka_group_code(&op->calls[0])));
        }
        kafka_write_tags(writer);
        return;
    }
    kafka_write_count(writer, op->group_count);
    for (uint32_t i = 0; i < op->group_count; i++) {
        kafka_write_string(writer, op->calls[i].group);
        fetch_offsets_write_topics(op, i, writer);
        kafka_write_i16(writer, kafka_code_group(kafka_group_code(&op->calls[i])));
        kafka_write_tags(writer);
    }
    kafka_write_tags(writer);
}

static void fetch_offsets_finish(struct kafka_group_op *op)
{
    kafka_answer(&op->request, fetch_offsets_encode, op);
}

enum err kafka_offset_fetch_start(const struct kafka_request *request)
{
    struct offset_fetch counted = {.op.request = *request};
    if (!fetch_offsets_read(&counted)) {
        return ERR_CORRUPT;
    }
    struct call *call = request->call;
    uint64_t groups = counted.group_count * (uint64_t)sizeof(struct fetch_offsets_group);
    uint64_t calls = counted.group_count * (uint64_t)sizeof(struct group_call);
    uint64_t topics = counted.topic_count * (uint64_t)sizeof(struct fetch_offsets_topic);
    uint64_t items = counted.item_count * (uint64_t)sizeof(struct group_offset_item);
    uint64_t partitions = counted.item_count * (uint64_t)sizeof(int32_t);
    enum err err = call_arena(call, sizeof(struct offset_fetch) + groups + calls + topics + items +
                                        partitions + 64);
    if (err != OK) {
        return err;
    }
    struct offset_fetch *op = call_take(call, sizeof(*op));
    op->op.request = *request;
    op->groups = call_take(call, groups);
    op->calls = call_take(call, calls);
    op->topics = call_take(call, topics);
    op->items = call_take(call, items);
    op->partitions = call_take(call, partitions);
    bool read = fetch_offsets_read(op);
    ASSERT(read && op->item_count == counted.item_count);
    fetch_offsets_resolve(op);
    call->state = op;
    kafka_group_submit(&op->op, op->calls, op->group_count, fetch_offsets_finish);
    return OK;
}
