/* POST records: one record as the body is, or many as JSON; answered when they are as safe as the
 * topic's durability says.
 *
 *     TOPIC (made if it may be) -> BUILD (read, place, encode; waits for memory) -> APPEND to each
 *       partition -> answer
 *
 * One request is not one transaction: what one partition refuses another has taken, and the answer
 * says of each record what became of it. */
#include "core/assert.h"
#include "net/http/records_in.h"
#include "net/log.h"

#include <string.h>

enum { PRODUCE_RESULT_BYTES = 56 }; /* {"partition":..,"offset":..}, */

/* The records of one partition. */
struct produce_batch {
    struct request request;
    struct produce *produce;
    uint32_t partition, count, first; /* Its records are first... of the sorted ones. */
    struct bytes data;
    enum err err;
};

/* Where each record went, for the answer. */
struct produce_place {
    uint32_t batch, index;
};

struct produce {
    struct http_op *op;
    struct log_topic topic;
    struct block *scratch; /* Until they are encoded. */
    struct block *block;   /* Batches, places, and the batches' bytes. */
    struct produce_batch *batches;
    struct produce_place *places;
    uint8_t *room; /* For the answer. */
    uint64_t room_bytes;
    uint32_t batch_count, record_count, awaited;
    bool json;
};

_Static_assert(sizeof(struct produce) <= HTTP_PRODUCE_BYTES, "http_routes knows the size");

/* What is worked on between reading and encoding, all in `scratch`. */
struct produce_work {
    struct http_records in;
    uint32_t *batch_of; /* By partition: 1 + its batch, 0 = none yet. */
    struct record_input *sorted;
    struct produce_place *places;
    struct produce_batch *batches;
    uint32_t batch_count;
};

/* --- The answer. --- */

static void produce_put_results(const struct produce *produce, struct http_writer *writer)
{
    http_put_text(writer, "\"offsets\":[");
    for (uint32_t i = 0; i < produce->record_count; i++) {
        const struct produce_place *place = &produce->places[i];
        const struct produce_batch *batch = &produce->batches[place->batch];
        http_put_text(writer, i == 0 ? "{\"partition\":" : ",{\"partition\":");
        http_put_number(writer, batch->partition);
        http_put_text(writer, ",");
        if (batch->err == OK) {
            http_put_text(writer, "\"offset\":");
            http_put_number(writer, (int64_t)(batch->request.produce.base_offset + place->index));
            http_put_text(writer, "}");
        } else {
            http_printf(writer, "\"error\":\"%s\"}", err_text(batch->err));
        }
    }
    http_put_text(writer, "]}\n");
}

static void produce_encode(struct http_op *op, struct http_writer *writer)
{
    const struct produce *produce = op->state;
    http_put_text(writer, "{");
    if (op->fault.status != 0) {
        http_printf(writer, "\"title\":\"%s\",\"status\":%u,\"detail\":\"%s\",",
                    http_reason(op->fault.status), op->fault.status, op->fault.detail);
    }
    http_put_text(writer, "\"topic\":");
    http_put_json(writer, op->topic);
    http_put_text(writer, ",");
    produce_put_results(produce, writer);
}

static void produce_finish(struct produce *produce)
{
    struct http_op *op = produce->op;
    uint32_t failed = 0;
    enum err err = OK;
    for (uint32_t i = 0; i < produce->batch_count; i++) {
        failed += produce->batches[i].err != OK;
        err = err == OK ? produce->batches[i].err : err;
    }
    if (failed == produce->batch_count && failed == 1) {
        http_refuse_err(op, err, "nothing was appended");
        return;
    }
    if (failed > 0) {
        http_fault(&op->fault, http_status(err),
                   "%u of %u partitions took their records, the others did not: see offsets",
                   produce->batch_count - failed, produce->batch_count);
    }
    http_answer(op, &(struct http_answer){
                        .status = failed > 0 ? op->fault.status : 200,
                        .type = failed > 0 ? "application/problem+json" : "application/json",
                        .encode = produce_encode,
                        .room = produce->room,
                        .room_bytes = produce->room_bytes,
                    });
}

static void produce_appended(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct produce_batch *batch = CONTAINER_OF(request, struct produce_batch, request);
    struct produce *produce = batch->produce;
    batch->err = (enum err)completion->result;
    ASSERT(produce->awaited > 0);
    produce->awaited--;
    if (produce->awaited == 0) {
        produce_finish(produce);
    }
}

/* --- Reading. --- */

/* The one record of a body that is not JSON. */
static bool produce_read_raw(struct http_op *op, struct http_record *record)
{
    uint64_t timestamp = op->net->reactor->now_ms;
    struct bytes text = http_param(op, "timestamp");
    if (text.data != NULL &&
        !http_read_number("timestamp", text, 0, INT64_MAX, &timestamp, &op->fault)) {
        return false;
    }
    struct bytes body = op->body;
    *record = (struct http_record){
        .input = {.key = http_param(op, "key"),
                  .value = body.data != NULL ? body : bytes_text(""),
                  .timestamp = (int64_t)timestamp},
        .partition = -1,
    };
    return true;
}

/* By the request, by the record, by its key, or in turn. */
static bool produce_choose(struct http_op *op, const struct map_topic *topic,
                           const struct http_record *record, uint32_t index, uint32_t *partition)
{
    struct bytes text = http_param(op, "partition");
    uint64_t chosen = 0;
    if (text.data != NULL) {
        if (!http_read_number("partition", text, 0, topic->partition_count - 1, &chosen,
                              &op->fault)) {
            return false;
        }
    } else if (record->partition >= (int64_t)topic->partition_count) {
        http_fault(&op->fault, 400, "records[%u]: partition %lld is not there: the topic has %u",
                   index, (long long)record->partition, topic->partition_count);
        return false;
    } else if (record->partition >= 0) {
        chosen = (uint64_t)record->partition;
    } else if (record->input.key.data != NULL) {
        chosen = (http_murmur2(record->input.key) & INT32_MAX) % topic->partition_count;
    } else {
        chosen = op->net->http->spread % topic->partition_count;
    }
    *partition = (uint32_t)chosen;
    return true;
}

/* Gives each record its batch; batches in the order in which they are first named. */
static bool produce_place(struct http_op *op, const struct map_topic *topic,
                          struct produce_work *work)
{
    for (uint32_t i = 0; i < work->in.count; i++) {
        uint32_t partition = 0;
        if (!produce_choose(op, topic, &work->in.records[i], i, &partition)) {
            return false;
        }
        if (work->batch_of[partition] == 0) {
            work->batches[work->batch_count] = (struct produce_batch){.partition = partition};
            work->batch_of[partition] = ++work->batch_count;
        }
        uint32_t batch = work->batch_of[partition] - 1;
        work->places[i] =
            (struct produce_place){.batch = batch, .index = work->batches[batch].count++};
    }
    uint32_t first = 0;
    for (uint32_t i = 0; i < work->batch_count; i++) {
        work->batches[i].first = first;
        first += work->batches[i].count;
    }
    for (uint32_t i = 0; i < work->in.count; i++) {
        const struct produce_place *place = &work->places[i];
        work->sorted[work->batches[place->batch].first + place->index] = work->in.records[i].input;
    }
    return true;
}

/* --- Building. --- */

/* Cuts `size` bytes from a block that has room for them. */
static void *produce_cut(struct block *block, uint64_t *used, uint64_t size)
{
    uint8_t *at = block->data + *used;
    *used += align_up(size, 16);
    ASSERT(*used <= block->size);
    return at;
}

/* A block, or an err: ERR_NO_MEMORY with call->memory_wanted. */
static enum err produce_block(struct http_op *op, uint64_t size, struct block **block)
{
    struct memory *memory = op->net->reactor->memory;
    if (size > memory_block_max(memory)) {
        return ERR_TOO_LARGE;
    }
    *block = block_acquire(memory, call_memory_class(size), (uint32_t)size);
    op->call->memory_wanted = (uint32_t)size;
    return *block == NULL ? ERR_NO_MEMORY : OK;
}

static enum err produce_make_work(struct produce *produce, const struct map_topic *topic,
                                  struct produce_work *work)
{
    uint64_t count = work->in.count;
    uint64_t used = 0;
    uint64_t batches = min_u64(count, topic->partition_count);
    const uint64_t sizes[] = {
        count * sizeof(struct http_record),
        (uint64_t)work->in.header_count * sizeof(struct record_header) + 1,
        work->in.decoded_bytes + 1,
        topic->partition_count * sizeof(uint32_t),
        count * sizeof(struct record_input),
        count * sizeof(struct produce_place),
        batches * sizeof(struct produce_batch),
    };
    uint64_t total = 0;
    for (uint32_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        total += align_up(sizes[i], 16);
    }
    enum err err = produce_block(produce->op, total, &produce->scratch);
    if (err != OK) {
        return err;
    }
    work->in.records = produce_cut(produce->scratch, &used, sizes[0]);
    work->in.headers = produce_cut(produce->scratch, &used, sizes[1]);
    work->in.decoded = produce_cut(produce->scratch, &used, sizes[2]);
    work->batch_of = produce_cut(produce->scratch, &used, sizes[3]);
    memset(work->batch_of, 0, (size_t)sizes[3]);
    work->sorted = produce_cut(produce->scratch, &used, sizes[4]);
    work->places = produce_cut(produce->scratch, &used, sizes[5]);
    work->batches = produce_cut(produce->scratch, &used, sizes[6]);
    return OK;
}

/* Encodes what was placed into a block of its own. */
static enum err produce_encode_batches(struct produce *produce, const struct produce_work *work)
{
    uint64_t places = work->in.count * sizeof(struct produce_place);
    uint64_t batches = work->batch_count * sizeof(struct produce_batch);
    uint64_t room = HTTP_ANSWER_BYTES + work->in.count * PRODUCE_RESULT_BYTES;
    uint64_t total = align_up(places, 16) + align_up(batches, 16) + align_up(room, 16);
    uint64_t used = 0;
    for (uint32_t i = 0; i < work->batch_count; i++) {
        struct produce_batch *batch = &work->batches[i];
        batch->data.size = record_batch_size(work->sorted + batch->first, batch->count);
        if (batch->data.size == 0) {
            return ERR_BATCH_TOO_LARGE;
        }
        total += align_up(batch->data.size, 16);
    }
    enum err err = produce_block(produce->op, total, &produce->block);
    if (err != OK) {
        return err;
    }
    produce->places = produce_cut(produce->block, &used, places);
    produce->batches = produce_cut(produce->block, &used, batches);
    produce->room = produce_cut(produce->block, &used, room);
    produce->room_bytes = room;
    memcpy(produce->places, work->places, (size_t)places);
    memcpy(produce->batches, work->batches, (size_t)batches);
    produce->record_count = work->in.count;
    produce->batch_count = work->batch_count;
    for (uint32_t i = 0; i < work->batch_count; i++) {
        struct produce_batch *batch = &produce->batches[i];
        uint8_t *data = produce_cut(produce->block, &used, batch->data.size);
        record_batch_encode(work->sorted + batch->first, batch->count, data, batch->data.size);
        batch->produce = produce;
        batch->data.data = data;
    }
    return OK;
}

/* With the document at hand. False: op->fault, or *err. */
static bool produce_try(struct produce *produce, json_t *document, const struct map_topic *topic,
                        enum err *err)
{
    struct http_op *op = produce->op;
    struct produce_work work = {.in = {.count = 1}};
    if (produce->json && !http_records_count(op, document, &work.in)) {
        return false;
    }
    *err = produce_make_work(produce, topic, &work);
    if (*err != OK) {
        return false;
    }
    bool good = produce->json ? http_records_read(op, document, &work.in)
                              : produce_read_raw(op, work.in.records);
    if (!good || !produce_place(op, topic, &work)) {
        return false;
    }
    *err = produce_encode_batches(produce, &work);
    return *err == OK;
}

static void produce_build_again(struct completion *completion);

static void produce_append(struct produce *produce, const struct map_topic *topic)
{
    struct http_op *op = produce->op;
    produce->awaited = produce->batch_count;
    op->net->http->spread++;
    for (uint32_t i = 0; i < produce->batch_count; i++) {
        struct produce_batch *batch = &produce->batches[i];
        struct partition_id id = {.topic = topic->id, .partition = batch->partition};
        log_append(op->net, &batch->request, &id, batch->data, produce_appended);
    }
}

/* Reads, places and encodes in one turn: the document's memory does not outlive it. */
static void produce_build(struct produce *produce)
{
    struct http_op *op = produce->op;
    enum err err = OK;
    const struct map_topic *topic = http_topic(op);
    if (topic == NULL) {
        return;
    }
    json_t *document = produce->json ? http_json_read(op) : NULL;
    if (produce->json && document == NULL) {
        http_refuse_fault(op);
        return;
    }
    bool built = produce_try(produce, document, topic, &err);
    if (document != NULL) {
        http_json_end(document);
    }
    if (produce->scratch != NULL) {
        block_unref(produce->scratch);
        produce->scratch = NULL;
    }
    if (built) {
        produce_append(produce, topic);
    } else if (err == ERR_NO_MEMORY) {
        call_await_memory(op->call, produce_build_again);
    } else if (err != OK) {
        http_refuse_err(op, err, "nothing was appended");
    } else {
        http_refuse_fault(op);
    }
}

static void produce_build_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    const struct http_op *op = call->state;
    produce_build(op->state);
}

static void produce_topic_made(struct completion *completion)
{
    struct log_topic *topic = CONTAINER_OF(completion, struct log_topic, done);
    struct produce *produce = CONTAINER_OF(topic, struct produce, topic);
    if (completion->result < 0) {
        http_refuse_err(produce->op, (enum err)completion->result, "the topic could not be made");
        return;
    }
    produce_build(produce);
}

enum err http_produce_start(struct http_op *op)
{
    struct produce *produce = op->state;
    char quoted[HTTP_QUOTE_BYTES];
    produce->op = op;
    produce->json = http_media_is(op->head.fields[HTTP_FIELD_CONTENT_TYPE], "application/json");
    if (op->head.fields[HTTP_FIELD_CONTENT_LENGTH].data == NULL) {
        http_refuse(op, 411,
                    "there is no Content-Length: send the size of the body, 0 for an "
                    "empty record");
        return OK;
    }
    if (produce->json &&
        (http_param(op, "key").data != NULL || http_param(op, "timestamp").data != NULL)) {
        http_refuse(op, 400,
                    "key and timestamp are of one record that is the body: write those of "
                    "JSON records into each of them");
        return OK;
    }
    if (map_topic_by_name(http_map(op), op->topic) != NULL) {
        produce_build(produce);
    } else if (!topic_name_is_allowed(op->topic)) {
        http_refuse(op, 422, "\"%s\" is no name of a topic: 1 to 249 of a-z A-Z 0-9 . _ -",
                    http_quote(op->topic, quoted));
    } else if (!op->net->options.topic_auto_create) {
        http_refuse(op, 404,
                    "there is no topic \"%s\": make it by POST /v1/topics, or set "
                    "topic.auto.create=true",
                    http_quote(op->topic, quoted));
    } else {
        log_make_topic(op->net, &produce->topic, op->topic, 0, produce_topic_made);
    }
    return OK;
}

void http_produce_sent(struct http_op *op)
{
    struct produce *produce = op->state;
    if (produce->block != NULL) {
        block_unref(produce->block);
        produce->block = NULL;
    }
    call_done(op->call);
}
