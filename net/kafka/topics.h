/* What Produce, ListOffsets, OffsetForLeaderEpoch and DeleteRecords share: a body of topics with
 * partitions, one request for each partition to its owner core, and the answer once all of them are
 * home.
 *
 *     body, answer   ... | array of (name | array of (partition ... | tags) | tags) ... | tags
 *
 * In some versions a topic has an id instead of its name. */
#pragma once

#include "net/kafka/kafka.h"

struct topics_op;

/* A partition of the body. */
struct topics_item {
    struct request request;
    struct topics_op *op;
    int32_t partition;
    int16_t code;
    bool elsewhere; /* ListOffsets: asked for what is kept elsewhere: nothing is. */
    int32_t epoch;  /* OffsetForLeaderEpoch: asked for, then found. */
};

struct topics_topic {
    struct bytes name;  /* Or, where topics are asked by id, */
    struct topic_id id; /* this. */
    uint32_t count;
};

/* What each API does its own way. */
struct topics_api {
    enum request_kind kind;

    /* Reads the body up to its tags; called twice, see topics_read(). */
    void (*read)(struct topics_op *op, struct kafka_reader *body);

    /* Gives the items of one topic (NULL: unknown) their codes. Those with KAFKA_NONE are sent, and
     * must have their partition. Of a topic whose id is unknown it is not asked. */
    void (*check)(struct topics_op *op, const struct map_topic *topic, struct topics_item *items,
                  uint32_t count);

    void (*finish)(struct topics_op *op); /* All are home: topics_answer(), mostly. */
    kafka_encode_fn *encode;              /* Its state is the op. */
};

/* First in an API's state. */
struct topics_op {
    struct kafka_request request;
    const struct topics_api *api;
    struct topics_topic *topics;
    struct topics_item *items; /* Of all topics, in the order of the body. */
    uint32_t topic_count, item_count, awaited;
    bool by_id; /* Topics have no name in this version. */
};

/* An API's own part of an item: of the body behind its partition, of the answer with it; before its
 * tags. topics_read() and topics_write() are inline so that it costs no call. */
typedef void topics_read_fn(struct topics_item *item, struct kafka_reader *body);
typedef void topics_write_fn(const struct topics_item *item, struct kafka_writer *writer);

/* Reads the array of topics; fills topics and items if there are any yet, else only counts them.
 *
 * item_bytes   the least that an item takes, see kafka_read_count()
 * read_item    sets the arguments of item->request
 */
static inline void topics_read(struct topics_op *op, struct kafka_reader *body, uint32_t item_bytes,
                               topics_read_fn *read_item)
{
    struct topics_item counted; /* Where items go that are only counted. */
    uint32_t topics = kafka_read_count(body, 2);
    uint32_t items = 0;
    for (uint32_t i = 0; i < topics && !body->bytes.failed; i++) {
        struct topics_topic topic = {0};
        kafka_read_topic(body, op->by_id, &topic.name, &topic.id);
        topic.count = kafka_read_count(body, item_bytes);
        if (op->topics != NULL) {
            op->topics[i] = topic;
        }
        for (uint32_t j = 0; j < topic.count && !body->bytes.failed; j++) {
            struct topics_item *item = op->items != NULL ? &op->items[items] : &counted;
            item->op = op;
            item->partition = kafka_read_i32(body);
            read_item(item, body);
            kafka_read_tags(body);
            items++;
        }
        kafka_read_tags(body);
    }
    op->topic_count = topics;
    op->item_count = items;
}

/* Writes the array of topics. */
static inline void topics_write(const struct topics_op *op, struct kafka_writer *writer,
                                topics_write_fn *write_item)
{
    const struct topics_item *item = op->items;
    kafka_write_count(writer, op->topic_count);
    for (uint32_t i = 0; i < op->topic_count; i++) {
        kafka_write_topic(writer, op->by_id, op->topics[i].name, &op->topics[i].id);
        kafka_write_count(writer, op->topics[i].count);
        for (uint32_t j = 0; j < op->topics[i].count; j++, item++) {
            write_item(item, writer);
            kafka_write_tags(writer);
        }
        kafka_write_tags(writer);
    }
}

/* Encodes and replies, as kafka_answer(). */
void topics_answer(struct topics_op *op);

/* Starts an API's state of `size` bytes; as kafka_api.start.
 *
 * counted   the front of such a state, its request and api set; borrowed until return
 */
NODISCARD enum err topics_start(struct topics_op *counted, uint64_t size);
