/* Metadata (3): brokers, topics, partitions and who leads them. Topics that are missing are created
 * first, one after the other, where the request and the broker allow it; then the answer shows a
 * live leader, which spares the client a round of retries.
 *
 *     NEXT topic -> known: next -> unknown: propose -> answered -> NEXT ... -> answer
 */
#include "core/assert.h"
#include "core/limits.h"
#include "net/group/group.h"
#include "net/kafka/kafka.h"

#include <xxhash.h>

/* There cannot be more topics than partitions: nobody who is well asks for more. */
enum { METADATA_TOPICS_MAX = PARTITIONS_MAX };

struct metadata_topic {
    struct bytes name; /* .data NULL: asked by id. */
    struct topic_id id;
    int16_t code;  /* Of a creation that failed, or of the request. */
    bool repeated; /* Asked before: answered once, as Kafka does, so no answer exceeds the map. */
};

struct metadata {
    struct kafka_request request;
    struct metadata_topic *topics;
    uint32_t topic_count, topic_next, repeated_count;
    bool all, create;
    struct proposal proposal;
};

static void metadata_read_topic(struct kafka_reader *body, int16_t version,
                                struct metadata_topic *topic)
{
    *topic = (struct metadata_topic){0};
    if (version < 10) {
        topic->name = kafka_read_string(body);
        kafka_read_tags(body);
        return;
    }
    kafka_read_id(body, &topic->id);
    topic->name = kafka_read_string_or_null(body);
    kafka_read_tags(body);
    if (version < 12 && (!topic_id_is_zero(&topic->id) || topic->name.data == NULL)) {
        topic->code = KAFKA_INVALID_REQUEST;
    }
}

/* Reads the body; fills topics if there are any yet, else only counts them. */
static bool metadata_read(struct metadata *op)
{
    struct kafka_reader body = op->request.body;
    int16_t version = op->request.version;
    bool null = kafka_read_count_or_null(&body, 2, &op->topic_count);
    if (null && version < 1) {
        return false;
    }
    op->all = null || (version == 0 && op->topic_count == 0);
    for (uint32_t i = 0; i < op->topic_count && !body.bytes.failed; i++) {
        struct metadata_topic topic;
        metadata_read_topic(&body, version, &topic);
        if (op->topics != NULL) {
            op->topics[i] = topic;
        }
    }
    op->create = version < 4 || kafka_read_bool(&body);
    if (version >= 8 && version <= 10) {
        (void)kafka_read_bool(&body); /* Authorized operations of the cluster. */
    }
    if (version >= 8) {
        (void)kafka_read_bool(&body); /* And of the topics: not told. */
    }
    kafka_read_tags(&body);
    /* librdkafka writes the null of all topics into four bytes where one is due (seen in 2.15, from
     * version 9 on); Kafka does not look at what is left then. */
    return kafka_read_done(&body) || (null && body.flexible && !body.bytes.failed);
}

/* --- The answer. --- */

static void metadata_write_partition(const struct map_topic *topic, uint32_t index, int16_t version,
                                     struct kafka_writer *writer)
{
    const struct map_partition *partition = &topic->partitions[index];
    int32_t leader = (int32_t)partition->leader_node;
    kafka_write_i16(writer, KAFKA_NONE);
    kafka_write_i32(writer, (int32_t)index);
    kafka_write_i32(writer, leader);
    if (version >= 7) {
        kafka_write_i32(writer, (int32_t)partition->epoch);
    }
    for (uint32_t i = 0; i < 2; i++) { /* Replicas, in sync. */
        kafka_write_count(writer, 1);
        kafka_write_i32(writer, leader);
    }
    if (version >= 5) {
        kafka_write_count(writer, 0); /* Offline. */
    }
    kafka_write_tags(writer);
}

static void metadata_write_topic(const struct metadata *op, const struct metadata_topic *asked,
                                 const struct map_topic *topic, struct kafka_writer *writer)
{
    int16_t version = op->request.version;
    struct bytes name = topic != NULL ? bytes_text(topic->name) : asked->name;
    if (name.data == NULL && version < 12) {
        name = bytes_text("");
    }
    kafka_write_i16(writer, topic != NULL ? (int16_t)KAFKA_NONE : asked->code);
    kafka_write_string(writer, name);
    if (version >= 10) {
        kafka_write_id(writer, topic != NULL ? &topic->id : &asked->id);
    }
    if (version >= 1) {
        kafka_write_bool(writer, topic != NULL && group_topic_is_internal(name));
    }
    uint32_t partitions = topic != NULL ? topic->partition_count : 0;
    kafka_write_count(writer, partitions);
    for (uint32_t i = 0; i < partitions; i++) {
        metadata_write_partition(topic, i, version, writer);
    }
    if (version >= 8) {
        kafka_write_i32(writer, INT32_MIN);
    }
    kafka_write_tags(writer);
}

static const struct map_topic *metadata_find(const struct map *map,
                                             const struct metadata_topic *asked)
{
    if (asked->code == KAFKA_INVALID_REQUEST) {
        return NULL;
    }
    return asked->name.data != NULL ? map_topic_by_name(map, asked->name)
                                    : map_topic_by_id(map, &asked->id);
}

static void metadata_write_topics(const struct metadata *op, const struct map *map,
                                  struct kafka_writer *writer)
{
    if (op->all) {
        uint32_t count = map_topic_count(map);
        uint32_t hidden = 0;
        for (uint32_t i = 0; i < count; i++) {
            hidden += map_topic_is_hidden(map_topic_at(map, i)) ? 1 : 0;
        }
        kafka_write_count(writer, count - hidden);
        for (uint32_t i = 0; i < count; i++) {
            if (!map_topic_is_hidden(map_topic_at(map, i))) {
                metadata_write_topic(op, NULL, map_topic_at(map, i), writer);
            }
        }
        return;
    }
    kafka_write_count(writer, op->topic_count - op->repeated_count);
    for (uint32_t i = 0; i < op->topic_count; i++) {
        struct metadata_topic asked = op->topics[i];
        if (asked.repeated) {
            continue;
        }
        const struct map_topic *topic = metadata_find(map, &asked);
        if (asked.code == KAFKA_NONE) {
            asked.code = asked.name.data == NULL ? KAFKA_UNKNOWN_TOPIC_ID : KAFKA_UNKNOWN_TOPIC;
        }
        metadata_write_topic(op, &asked, topic, writer);
    }
}

static void metadata_encode(void *state, struct kafka_writer *writer)
{
    const struct metadata *op = state;
    const struct map *map = kafka_map(&op->request);
    int16_t version = op->request.version;
    if (version >= 3) {
        kafka_write_i32(writer, 0);
    }
    kafka_write_brokers(&op->request, &(struct kafka_brokers){.rack = version >= 1}, writer);
    if (version >= 2) {
        char cluster[KAFKA_CLUSTER_TEXT_BYTES];
        kafka_write_text(writer, kafka_cluster_text(map_cluster_id(map), cluster));
    }
    if (version >= 1) {
        kafka_write_i32(writer, (int32_t)op->request.net->options.node_id);
    }
    metadata_write_topics(op, map, writer);
    if (version >= 8 && version <= 10) {
        kafka_write_i32(writer, INT32_MIN);
    }
    if (version >= 13) {
        kafka_write_i16(writer, KAFKA_NONE);
    }
    kafka_write_tags(writer);
}

/* --- Creation. --- */

static void metadata_next(struct metadata *op);

static void metadata_created(struct completion *completion)
{
    struct proposal *proposal = CONTAINER_OF(completion, struct proposal, done);
    struct metadata *op = CONTAINER_OF(proposal, struct metadata, proposal);
    struct metadata_topic *topic = &op->topics[op->topic_next];
    enum err err = (enum err)completion->result;
    if (err != OK && err != ERR_EXISTS) {
        /* What may pass is told as such; what will not, as it is. */
        int16_t code = kafka_code_admin(err);
        bool passes = code == KAFKA_REQUEST_TIMED_OUT || err == ERR_STOPPING;
        topic->code = passes ? (int16_t)KAFKA_LEADER_NOT_AVAILABLE : code;
    }
    op->topic_next++;
    metadata_next(op);
}

static void metadata_create(struct metadata *op, struct bytes name)
{
    log_propose_topic(op->request.net, &op->proposal, name,
                      op->request.net->options.partitions_default);
    completion_init(&op->proposal.done, metadata_created);
    log_propose(op->request.call, &op->proposal);
}

/* Creates the next missing topic, or answers. */
static void metadata_next(struct metadata *op)
{
    bool create = op->create && op->request.net->options.topic_auto_create;
    for (; op->topic_next < op->topic_count; op->topic_next++) {
        struct metadata_topic *topic = &op->topics[op->topic_next];
        if (topic->code != KAFKA_NONE || topic->name.data == NULL || topic->repeated) {
            continue;
        }
        if (!kafka_topic_name_valid(topic->name)) {
            topic->code = KAFKA_INVALID_TOPIC;
            continue;
        }
        bool known = metadata_find(kafka_map(&op->request), topic) != NULL ||
                     group_topic_is_internal(topic->name);
        if (!known && create && !op->request.call->canceled) {
            metadata_create(op, topic->name);
            return;
        }
    }
    kafka_answer(&op->request, metadata_encode, op);
}

static struct bytes metadata_key(const struct metadata_topic *topic)
{
    return topic->name.data != NULL ? topic->name
                                    : bytes_of(topic->id.bytes, sizeof(topic->id.bytes));
}

/* Marks what was asked before. `table` is zeroed and has room for twice as many topics. */
static void metadata_mark_repeated(struct metadata *op, uint32_t *table, uint32_t table_size)
{
    uint64_t seed = prng_next(&op->request.net->reactor->prng);
    for (uint32_t i = 0; i < op->topic_count; i++) {
        struct metadata_topic *topic = &op->topics[i];
        struct bytes key = metadata_key(topic);
        uint64_t at = XXH3_64bits_withSeed(key.data, key.size, seed) & (table_size - 1);
        while (table[at] != 0 && !topic->repeated) {
            topic->repeated = bytes_equal(metadata_key(&op->topics[table[at] - 1]), key);
            at = (at + 1) & (table_size - 1);
        }
        if (topic->repeated) {
            op->repeated_count++;
        } else {
            table[at] = i + 1;
        }
    }
}

enum err kafka_metadata_start(const struct kafka_request *request)
{
    struct metadata counted = {.request = *request};
    if (!metadata_read(&counted) || counted.topic_count > METADATA_TOPICS_MAX) {
        return ERR_CORRUPT;
    }
    struct call *call = request->call;
    uint64_t topics = counted.topic_count * (uint64_t)sizeof(struct metadata_topic);
    uint32_t table_size = 1;
    while (table_size < 2 * counted.topic_count) {
        table_size *= 2;
    }
    enum err err = call_arena(call, sizeof(struct metadata) + topics +
                                        table_size * (uint64_t)sizeof(uint32_t));
    if (err != OK) {
        return err;
    }
    struct metadata *op = call_take(call, sizeof(*op));
    op->request = *request;
    op->topics = call_take(call, topics);
    bool read = metadata_read(op);
    ASSERT(read && op->topic_count == counted.topic_count);
    metadata_mark_repeated(op, call_take(call, table_size * sizeof(uint32_t)), table_size);
    call->state = op;
    metadata_next(op);
    return OK;
}
