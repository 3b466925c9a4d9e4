/* ListOffsets (2): latest, earliest, the newest timestamp, or the first record at a time. Nothing
 * is ever kept elsewhere: the earliest that is local is the earliest, the last one that is tiered
 * and the first that waits for that are not there. */
#include "core/limits.h"
#include "net/kafka/topics.h"

enum { OFFSETS_WORDS = TOPIC_PARTITIONS_MAX / 64 + 1 };

/* Times that are none, besides those of enum in request.h, and the versions that have them. */
enum {
    OFFSETS_EARLIEST_LOCAL = -4,   /* 8 */
    OFFSETS_LATEST_TIERED = -5,    /* 9 */
    OFFSETS_EARLIEST_PENDING = -6, /* 11 */
};

struct offsets {
    struct topics_op op;
    /* A bit for each partition of the topic that is being looked at; zero between topics. */
    uint64_t named[OFFSETS_WORDS], twice[OFFSETS_WORDS];
};

static void offsets_read_item(struct topics_item *item, struct kafka_reader *body)
{
    struct request_offsets *offsets = &item->request.offsets;
    offsets->epoch = item->op->request.version >= 4 ? kafka_read_i32(body) : -1;
    offsets->timestamp = kafka_read_i64(body);
}

static void offsets_read(struct topics_op *op, struct kafka_reader *body)
{
    (void)kafka_read_i32(body); /* Replica: all read up to the high watermark. */
    if (op->request.version >= 2) {
        (void)read_u8(&body->bytes); /* Isolation: without transactions both are the same. */
    }
    topics_read(op, body, 12, offsets_read_item);
    if (op->request.version >= 10) {
        (void)kafka_read_i32(body); /* How long another store may be asked. */
    }
}

static void offsets_write_item(const struct topics_item *item, struct kafka_writer *writer)
{
    const struct request_offsets *offsets = &item->request.offsets;
    bool ok = item->code == KAFKA_NONE && !item->elsewhere;
    kafka_write_i32(writer, item->partition);
    kafka_write_i16(writer, item->code);
    kafka_write_i64(writer, ok ? offsets->timestamp_found : -1);
    kafka_write_i64(writer, ok ? offsets->offset : -1);
    if (item->op->request.version >= 4) {
        kafka_write_i32(writer, ok ? offsets->epoch_found : -1);
    }
}

static void offsets_encode(void *state, struct kafka_writer *writer)
{
    const struct topics_op *op = state;
    if (op->request.version >= 2) {
        kafka_write_i32(writer, 0);
    }
    topics_write(op, writer, offsets_write_item);
    kafka_write_tags(writer);
}

/* Which partitions a topic's items name, once and more often. Those that cannot exist are refused
 * for that alone. */
static void offsets_mark(struct offsets *offsets, const struct topics_item *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t partition = (uint32_t)items[i].partition;
        if (partition < TOPIC_PARTITIONS_MAX) {
            uint64_t bit = (uint64_t)1 << partition % 64;
            offsets->twice[partition / 64] |= offsets->named[partition / 64] & bit;
            offsets->named[partition / 64] |= bit;
        }
    }
}

static void offsets_unmark(struct offsets *offsets, const struct topics_item *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t partition = (uint32_t)items[i].partition;
        if (partition < TOPIC_PARTITIONS_MAX) {
            offsets->named[partition / 64] = 0;
            offsets->twice[partition / 64] = 0;
        }
    }
}

static bool offsets_named_twice(const struct offsets *offsets, const struct topics_item *item)
{
    uint32_t partition = (uint32_t)item->partition;
    return partition < TOPIC_PARTITIONS_MAX &&
           (offsets->twice[partition / 64] >> partition % 64 & 1) != 0;
}

static int64_t offsets_least(int16_t version)
{
    return version >= 11  ? OFFSETS_EARLIEST_PENDING
           : version >= 9 ? OFFSETS_LATEST_TIERED
           : version >= 8 ? OFFSETS_EARLIEST_LOCAL
           : version >= 7 ? OFFSETS_MAX_TIMESTAMP
                          : OFFSETS_EARLIEST;
}

static int16_t offsets_check_item(const struct offsets *offsets, const struct map_topic *topic,
                                  struct topics_item *item)
{
    const struct kafka_request *request = &offsets->op.request;
    if (offsets_named_twice(offsets, item)) {
        return KAFKA_INVALID_REQUEST;
    }
    struct request_offsets *asked = &item->request.offsets;
    if (asked->timestamp < offsets_least(request->version)) {
        return KAFKA_UNSUPPORTED_VERSION;
    }
    if (asked->timestamp == OFFSETS_EARLIEST_LOCAL) {
        asked->timestamp = OFFSETS_EARLIEST;
    }
    item->elsewhere = asked->timestamp < OFFSETS_MAX_TIMESTAMP;
    if (item->elsewhere) {
        asked->timestamp = OFFSETS_LATEST; /* Its owner still judges epoch and partition. */
    }
    return kafka_code(
        kafka_find_partition(request->net, topic, item->partition, &item->request.partition));
}

static void offsets_check(struct topics_op *op, const struct map_topic *topic,
                          struct topics_item *items, uint32_t count)
{
    struct offsets *offsets = CONTAINER_OF(op, struct offsets, op);
    offsets_mark(offsets, items, count);
    for (uint32_t i = 0; i < count; i++) {
        items[i].code = offsets_check_item(offsets, topic, &items[i]);
    }
    offsets_unmark(offsets, items, count);
}

static const struct topics_api offsets_api = {
    .kind = REQUEST_OFFSETS,
    .read = offsets_read,
    .check = offsets_check,
    .finish = topics_answer,
    .encode = offsets_encode,
};

enum err kafka_offsets_start(const struct kafka_request *request)
{
    struct offsets counted = {.op = {.request = *request, .api = &offsets_api}};
    return topics_start(&counted.op, sizeof(counted));
}
