/* OffsetForLeaderEpoch (23): where a leader epoch ended, for consumers that check whether the log
 * they read is still the one they know. Epochs are the map's: each segment has its own, none is
 * used again, and what was acked under one is never taken back, so every position that a client
 * could have had is confirmed. The end of the newest is asked of its owner.
 *
 *     segments  | 3      | 5      | 6 ...       asked for 3 -> 3 and the base of 5
 *                                               4 -> 3 and the base of 5;  6 -> 6 and the end
 *               ^ log start                     2 -> 2 and the log start;  7 -> not known: -1 */
#include "net/kafka/topics.h"

static void epochs_read_item(struct topics_item *item, struct kafka_reader *body)
{
    item->request.offsets.epoch = kafka_read_i32(body); /* The leader's, as the client knows it. */
    item->request.offsets.timestamp = OFFSETS_LATEST;
    item->epoch = kafka_read_i32(body);
}

static void epochs_read(struct topics_op *op, struct kafka_reader *body)
{
    if (op->request.version >= 3) {
        (void)kafka_read_i32(body); /* Replica: consumers all. */
    }
    topics_read(op, body, 12, epochs_read_item);
}

static void epochs_write_item(const struct topics_item *item, struct kafka_writer *writer)
{
    bool ok = item->code == KAFKA_NONE;
    kafka_write_i16(writer, item->code);
    kafka_write_i32(writer, item->partition);
    kafka_write_i32(writer, ok ? item->epoch : -1);
    kafka_write_i64(writer, ok ? item->request.offsets.offset : -1);
}

static void epochs_encode(void *state, struct kafka_writer *writer)
{
    kafka_write_i32(writer, 0);
    topics_write(state, writer, epochs_write_item);
    kafka_write_tags(writer);
}

/* The first segment of a later epoch than the one asked for; the count: there is none. */
static uint32_t epochs_later(const struct map_partition *partition, uint32_t epoch)
{
    uint32_t low = 0;
    uint32_t high = partition->segment_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (partition->segments[middle].epoch <= epoch) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* `end` is the log's; the map may know more by now. */
static void epochs_find(struct topics_item *item, const struct map_partition *partition)
{
    int64_t *end = &item->request.offsets.offset;
    uint32_t later = epochs_later(partition, (uint32_t)item->epoch);
    bool known = item->epoch >= 0 && (uint32_t)item->epoch <= partition->epoch;
    if (!known) {
        item->epoch = -1;
        *end = -1;
        return;
    }
    if (later < partition->segment_count) {
        uint64_t base = partition->segments[later].base_offset;
        *end = (int64_t)(later > 0 ? base : max_u64(base, partition->log_start));
    }
    if (later > 0) {
        item->epoch = (int32_t)partition->segments[later - 1].epoch;
    }
}

static void epochs_finish(struct topics_op *op)
{
    const struct map *map = kafka_map(&op->request);
    struct topics_item *item = op->items;
    for (uint32_t i = 0; i < op->topic_count; i++) {
        const struct map_topic *topic = map_topic_by_name(map, op->topics[i].name);
        for (uint32_t j = 0; j < op->topics[i].count; j++, item++) {
            if (item->code != KAFKA_NONE) {
                continue;
            }
            if (topic == NULL || (uint32_t)item->partition >= topic->partition_count) {
                item->code = KAFKA_UNKNOWN_TOPIC; /* Deleted meanwhile. */
            } else {
                epochs_find(item, &topic->partitions[item->partition]);
            }
        }
    }
    topics_answer(op);
}

static void epochs_check(struct topics_op *op, const struct map_topic *topic,
                         struct topics_item *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        items[i].code = kafka_code(kafka_find_partition(op->request.net, topic, items[i].partition,
                                                        &items[i].request.partition));
    }
}

static const struct topics_api epochs_api = {
    .kind = REQUEST_OFFSETS,
    .read = epochs_read,
    .check = epochs_check,
    .finish = epochs_finish,
    .encode = epochs_encode,
};

enum err kafka_epochs_start(const struct kafka_request *request)
{
    struct topics_op counted = {.request = *request, .api = &epochs_api};
    return topics_start(&counted, sizeof(counted));
}
