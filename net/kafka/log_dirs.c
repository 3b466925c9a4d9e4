/* DescribeLogDirs (35): the one directory of data, and how many bytes each partition has in it, as
 * its owner says. A few are asked at a time, so that a node with many partitions answers, too.
 *
 *     rows: partitions that are asked for -> slots: requests to their owners -> answer
 *
 * What is unknown, or went away meanwhile, is left out. */
#include "core/assert.h"
#include "net/kafka/kafka.h"

enum { DIRS_SLOTS = 32 };

struct dirs_row {
    struct topic_id topic;
    uint32_t partition;
    bool there;
    uint64_t bytes;
};

struct log_dirs;

struct dirs_slot {
    struct request request;
    struct log_dirs *op;
    uint32_t row;
};

struct log_dirs {
    struct kafka_request request;
    struct dirs_row *rows; /* Those of a topic stand together. */
    uint32_t row_count, next, awaited;
    struct dirs_slot slots[DIRS_SLOTS];
};

static void dirs_add(struct log_dirs *op, const struct map_topic *topic, uint32_t partition)
{
    if (op->rows != NULL) {
        op->rows[op->row_count] = (struct dirs_row){.topic = topic->id, .partition = partition};
    }
    op->row_count++;
}

static void dirs_add_all(struct log_dirs *op)
{
    const struct map *map = kafka_map(&op->request);
    for (uint32_t i = 0; i < map_topic_count(map); i++) {
        const struct map_topic *topic = map_topic_at(map, i);
        for (uint32_t j = 0; j < topic->partition_count; j++) {
            dirs_add(op, topic, j);
        }
    }
}

/* Reads the body; fills rows if there are any yet, else only counts them. */
static bool dirs_read(struct log_dirs *op)
{
    const struct map *map = kafka_map(&op->request);
    struct kafka_reader body = op->request.body;
    uint32_t topics;
    bool all = kafka_read_count_or_null(&body, 2, &topics);
    op->row_count = 0;
    for (uint32_t i = 0; i < topics && !body.bytes.failed; i++) {
        const struct map_topic *topic = map_topic_by_name(map, kafka_read_string(&body));
        uint32_t partitions = kafka_read_count(&body, 4);
        for (uint32_t j = 0; j < partitions && !body.bytes.failed; j++) {
            uint32_t partition = (uint32_t)kafka_read_i32(&body);
            if (topic != NULL && partition < topic->partition_count) {
                dirs_add(op, topic, partition);
            }
        }
        kafka_read_tags(&body);
    }
    kafka_read_tags(&body);
    if (all) {
        dirs_add_all(op);
    }
    return kafka_read_done(&body);
}

/* The rows from `first` on that are one topic's: where they end, and how many of them are there. */
static uint32_t dirs_topic(const struct log_dirs *op, uint32_t first, uint32_t *there)
{
    uint32_t at = first;
    *there = 0;
    while (at < op->row_count && topic_id_equal(&op->rows[at].topic, &op->rows[first].topic)) {
        *there += op->rows[at].there;
        at++;
    }
    if (map_topic_by_id(kafka_map(&op->request), &op->rows[first].topic) == NULL) {
        *there = 0;
    }
    return at;
}

static void dirs_write_topic(const struct log_dirs *op, uint32_t first, uint32_t end,
                             uint32_t there, struct kafka_writer *writer)
{
    const struct map_topic *topic =
        map_topic_by_id(kafka_map(&op->request), &op->rows[first].topic);
    kafka_write_text(writer, topic->name);
    kafka_write_count(writer, there);
    for (uint32_t i = first; i < end; i++) {
        if (op->rows[i].there) {
            kafka_write_i32(writer, (int32_t)op->rows[i].partition);
            kafka_write_i64(writer, (int64_t)op->rows[i].bytes);
            kafka_write_i64(writer, 0);      /* Behind the high watermark: nothing. */
            kafka_write_bool(writer, false); /* Nothing moves to another directory. */
            kafka_write_tags(writer);
        }
    }
    kafka_write_tags(writer);
}

static void dirs_write_topics(const struct log_dirs *op, struct kafka_writer *writer)
{
    uint32_t topics = 0;
    uint32_t there;
    for (uint32_t at = 0; at < op->row_count;) {
        at = dirs_topic(op, at, &there);
        topics += there > 0;
    }
    kafka_write_count(writer, topics);
    for (uint32_t at = 0; at < op->row_count;) {
        uint32_t end = dirs_topic(op, at, &there);
        if (there > 0) {
            dirs_write_topic(op, at, end, there, writer);
        }
        at = end;
    }
}

static void dirs_encode(void *state, struct kafka_writer *writer)
{
    const struct log_dirs *op = state;
    int16_t version = op->request.version;
    const char *dir = op->request.net->options.data_dir;
    kafka_write_i32(writer, 0);
    if (version >= 3) {
        kafka_write_i16(writer, KAFKA_NONE);
    }
    kafka_write_count(writer, 1);
    kafka_write_i16(writer, KAFKA_NONE);
    kafka_write_text(writer, dir == NULL ? "" : dir);
    dirs_write_topics(op, writer);
    if (version >= 4) {
        kafka_write_i64(writer, -1); /* What the volume has in all, and free: not told. */
        kafka_write_i64(writer, -1);
    }
    kafka_write_tags(writer);
    kafka_write_tags(writer);
}

static void dirs_pump(struct log_dirs *op, struct dirs_slot *slot);

static void dirs_done(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct dirs_slot *slot = CONTAINER_OF(request, struct dirs_slot, request);
    struct log_dirs *op = slot->op;
    struct dirs_row *row = &op->rows[slot->row];
    row->there = completion->result == OK;
    row->bytes = row->there ? request->size_bytes : 0;
    ASSERT(op->awaited > 0);
    op->awaited--;
    dirs_pump(op, slot);
    if (op->awaited == 0) {
        kafka_answer(&op->request, dirs_encode, op);
    }
}

/* Asks for the next row, if there is one. */
static void dirs_pump(struct log_dirs *op, struct dirs_slot *slot)
{
    if (op->next == op->row_count) {
        return;
    }
    slot->row = op->next++;
    slot->op = op;
    const struct dirs_row *row = &op->rows[slot->row];
    slot->request = (struct request){
        .kind = REQUEST_SIZE,
        .partition = {.topic = row->topic, .partition = row->partition},
    };
    completion_init(&slot->request.done, dirs_done);
    op->awaited++;
    route_submit(op->request.net, &slot->request);
}

enum err kafka_log_dirs_start(const struct kafka_request *request)
{
    struct log_dirs counted = {.request = *request};
    if (!dirs_read(&counted)) {
        return ERR_CORRUPT;
    }
    struct call *call = request->call;
    uint64_t rows = counted.row_count * (uint64_t)sizeof(struct dirs_row);
    enum err err = call_arena(call, sizeof(struct log_dirs) + rows);
    if (err != OK) {
        return err;
    }
    struct log_dirs *op = call_take(call, sizeof(*op));
    op->request = *request;
    op->rows = call_take(call, rows);
    bool read = dirs_read(op);
    ASSERT(read && op->row_count == counted.row_count);
    call->state = op;
    for (uint32_t i = 0; i < DIRS_SLOTS; i++) {
        dirs_pump(op, &op->slots[i]);
    }
    if (op->awaited == 0) {
        kafka_answer(&op->request, dirs_encode, op);
    }
    return OK;
}
