/* Produce (0): each partition's batch goes to its owner core as it stands in the frame; the answer
 * is in the client's order. acks = 0 has no answer; there an error closes the connection. Versions
 * from 13 on name topics by id; 12 is as 11, as transactions are refused in either.
 *
 * The request's timeout bounds how long a leader waits for its followers: there are none, and an
 * append that is under way is never given up, because "timed out" would leave open what is stored.
 */
#include "net/group/group.h"
#include "net/kafka/topics.h"
#include "shard/batch.h"

struct produce {
    struct topics_op op;
    int16_t acks;
    bool transactional;
};

static void produce_read_item(struct topics_item *item, struct kafka_reader *body)
{
    item->request.produce.batch = kafka_read_bytes_or_null(body);
    item->request.produce.zstd_allowed = item->op->request.version >= 7;
}

static void produce_read(struct topics_op *op, struct kafka_reader *body)
{
    struct produce *produce = CONTAINER_OF(op, struct produce, op);
    produce->transactional = kafka_read_string_or_null(body).data != NULL;
    produce->acks = kafka_read_i16(body);
    (void)kafka_read_i32(body); /* The timeout. */
    topics_read(op, body, 5, produce_read_item);
}

/* From version 8 on: which records are to blame. Those that are not named were refused for their
 * company, and a client may send them again; so a client is told of so many at once. */
static void produce_write_blame(const struct topics_item *item, struct kafka_writer *writer)
{
    enum { BLAMED_MAX = 1000 };

    uint32_t blamed[BLAMED_MAX], count = 0;
    const char *why = NULL;
    if (item->request.done.result == ERR_BATCH_KEY) {
        why = err_text(ERR_BATCH_KEY);
        count = batch_keyless(item->request.produce.batch, blamed, BLAMED_MAX);
    }
    kafka_write_count(writer, count); /* Never null: librdkafka allocates by it. */
    for (uint32_t i = 0; i < count; i++) {
        kafka_write_i32(writer, (int32_t)blamed[i]);
        kafka_write_text(writer, NULL);
        kafka_write_tags(writer);
    }
    kafka_write_text(writer, why);
}

static void produce_write_item(const struct topics_item *item, struct kafka_writer *writer)
{
    int16_t version = item->op->request.version;
    const struct request_produce *produce = &item->request.produce;
    bool ok = item->code == KAFKA_NONE;
    kafka_write_i32(writer, item->partition);
    kafka_write_i16(writer, item->code);
    kafka_write_i64(writer, ok ? (int64_t)produce->base_offset : -1);
    kafka_write_i64(writer, ok ? produce->append_time_ms : -1);
    if (version >= 5) {
        kafka_write_i64(writer, ok ? (int64_t)produce->log_start : -1);
    }
    if (version >= 8) {
        produce_write_blame(item, writer);
    }
}

static void produce_encode(void *state, struct kafka_writer *writer)
{
    topics_write(state, writer, produce_write_item);
    kafka_write_i32(writer, 0);
    kafka_write_tags(writer);
}

static void produce_finish(struct topics_op *op)
{
    const struct produce *produce = CONTAINER_OF(op, struct produce, op);
    if (produce->acks != 0) {
        topics_answer(op);
        return;
    }
    for (uint32_t i = 0; i < op->item_count; i++) {
        if (op->items[i].code != KAFKA_NONE) {
            /* The only way to tell a client that asked for no answer. */
            op->request.call->last = true;
        }
    }
    call_reply(op->request.call);
}

/* What can be told without the log. */
static int16_t produce_check_item(const struct produce *produce, const struct map_topic *topic,
                                  struct topics_item *item)
{
    if (produce->acks < -1 || produce->acks > 1) {
        return KAFKA_INVALID_ACKS;
    }
    if (produce->transactional) {
        return KAFKA_INVALID_TXN_STATE;
    }
    if (topic != NULL && group_topic_is_internal(bytes_text(topic->name))) {
        return KAFKA_INVALID_TOPIC;
    }
    enum err err = kafka_find_partition(produce->op.request.net, topic, item->partition,
                                        &item->request.partition);
    if (err != OK) {
        return kafka_code(err);
    }
    return item->request.produce.batch.size == 0 ? KAFKA_INVALID_RECORD : KAFKA_NONE;
}

static void produce_check(struct topics_op *op, const struct map_topic *topic,
                          struct topics_item *items, uint32_t count)
{
    const struct produce *produce = CONTAINER_OF(op, struct produce, op);
    for (uint32_t i = 0; i < count; i++) {
        items[i].code = produce_check_item(produce, topic, &items[i]);
    }
}

static const struct topics_api produce_api = {
    .kind = REQUEST_PRODUCE,
    .read = produce_read,
    .check = produce_check,
    .finish = produce_finish,
    .encode = produce_encode,
};

enum err kafka_produce_start(const struct kafka_request *request)
{
    struct produce counted = {
        .op = {.request = *request, .api = &produce_api, .by_id = request->version >= 13}};
    return topics_start(&counted.op, sizeof(counted));
}
