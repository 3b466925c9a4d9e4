/* GET records: as JSON, or one record's value as it is. If there is none, the reader waits.
 *
 *     SEEK -> READ (the first: parked, at most `wait` ms) -> MEASURE -> GATHER (both: memory)
 *              ^                                                          |
 *              +-- more are wanted, and are there -- RELEASE <------------+-- enough: answer
 *
 * A look shows a few batches; what it shows is copied and given back at once, so that a slow client
 * holds an answer, not the log. */
#include "core/assert.h"
#include "net/http/reader.h"

#include <string.h>

enum { CONSUME_BLOCK_BYTES = 64 << 10 };

struct consume {
    struct http_reader reader;
    struct completion done;
    uint64_t wait_ms;
    uint32_t count, gathered; /* Wanted, and in `block`. */
    bool raw, canceled;
    bool full; /* No further look: memory is short, or what comes cannot be read. */
    struct block *block;
    uint32_t block_used;
    uint64_t log_start, log_end;
    struct records_entry entry; /* The one of a raw answer; its views are not used. */
    bool entry_null;
};

_Static_assert(sizeof(struct consume) <= HTTP_CONSUME_BYTES, "http_routes knows the size");

/* --- The answer. --- */

static void consume_put(struct http_writer *writer, const struct records_entry *entry)
{
    http_put_record(writer, entry);
    http_put_text(writer, ",\n");
}

static void consume_put_raw(struct http_writer *writer, const struct records_entry *entry)
{
    http_put(writer, entry->record.value.data, entry->record.value.size);
}

/* All ahead of the records. */
static void consume_encode(struct http_op *op, struct http_writer *writer)
{
    const struct consume *state = op->state;
    const struct http_reader *reader = &state->reader;
    http_put_text(writer, "{\"topic\":");
    http_put_json(writer, op->topic);
    http_printf(writer,
                ",\"partition\":%u,\"start\":%llu,\"end\":%llu,\"next\":%llu,\"records\":[\n",
                reader->partition.partition, (unsigned long long)state->log_start,
                (unsigned long long)state->log_end, (unsigned long long)reader->offset);
}

static void consume_answer_raw(struct consume *state)
{
    struct http_op *op = state->reader.op;
    if (state->gathered == 0) {
        http_answer(op, &(struct http_answer){.status = 204});
        return;
    }
    struct http_writer writer = {.data = (uint8_t *)op->fields, .size = sizeof(op->fields) - 1};
    http_printf(&writer,
                "X-Floe-Partition: %u\r\nX-Floe-Offset: %llu\r\nX-Floe-Timestamp: %lld\r\n%s",
                state->reader.partition.partition, (unsigned long long)state->entry.offset,
                (long long)state->entry.timestamp, state->entry_null ? "X-Floe-Null: 1\r\n" : "");
    op->fields[writer.position] = 0;
    http_answer(op, &(struct http_answer){
                        .status = 200,
                        .type = "application/octet-stream",
                        .fields = op->fields,
                        .middle = {.data = state->block->data, .size = state->block_used}});
}

static void consume_answer(struct consume *state)
{
    if (state->raw) {
        consume_answer_raw(state);
        return;
    }
    struct http_answer answer = {
        .status = 200, .type = "application/json", .encode = consume_encode, .suffix = "\n]}\n"};
    if (state->gathered > 0) { /* Without the last comma. */
        answer.middle = bytes_of(state->block->data, state->block_used - 2);
    }
    http_answer(state->reader.op, &answer);
}

/* --- What was looked at. --- */

static void consume_read(struct completion *completion);

static struct consume *consume_of(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    struct http_reader *reader = CONTAINER_OF(read, struct http_reader, read);
    return CONTAINER_OF(reader, struct consume, reader);
}

/* What the last look showed is home: there is an answer, or another look. */
static void consume_released(struct completion *completion)
{
    struct consume *state = consume_of(completion);
    struct http_reader *reader = &state->reader;
    bool moved = reader->next > reader->offset;
    reader->offset = reader->next;
    if (reader->op->fault.status != 0) {
        http_refuse_fault(reader->op);
    } else if (moved && state->gathered < state->count && state->block_used < HTTP_EVENTS_BYTES &&
               reader->offset < state->log_end && !state->canceled && !state->full) {
        http_reader_read(reader, 0, consume_read);
    } else {
        consume_answer(state);
    }
}

/* Room for `bytes` more; ERR_NO_MEMORY: op->call->memory_wanted, what there was stays. */
static enum err consume_room(struct consume *state, uint64_t bytes)
{
    struct memory *memory = state->reader.op->net->reactor->memory;
    uint64_t size = state->block != NULL ? state->block->size : CONSUME_BLOCK_BYTES;
    while (size < state->block_used + bytes) {
        size *= 2;
    }
    if (state->block != NULL && size == state->block->size) {
        return OK;
    }
    if (state->block_used + bytes > memory_block_max(memory)) {
        return ERR_TOO_LARGE;
    }
    uint32_t wanted = (uint32_t)min_u64(size, memory_block_max(memory));
    struct block *block = block_acquire(memory, call_memory_class(wanted), wanted);
    if (block == NULL) {
        state->reader.op->call->memory_wanted = wanted;
        return ERR_NO_MEMORY;
    }
    if (state->block != NULL) {
        memcpy(block->data, state->block->data, state->block_used);
        block_unref(state->block);
    }
    state->block = block;
    return OK;
}

static enum err consume_gather(struct consume *state)
{
    struct http_reader *reader = &state->reader;
    http_record_fn *put = state->raw ? consume_put_raw : consume_put;
    enum err err = http_reader_measure(reader, state->count - state->gathered, put);
    if (err == ERR_NOT_FOUND) {
        return OK;
    }
    if (err == OK) {
        err = consume_room(state, reader->bytes);
    }
    if (err != OK) {
        return err;
    }
    struct http_writer writer = {.data = state->block->data + state->block_used,
                                 .size = reader->bytes};
    http_reader_put(reader, put, &writer);
    ASSERT(writer.position == reader->bytes);
    if (state->raw) {
        http_reader_first(reader, &state->entry);
        state->entry_null = state->entry.record.value.data == NULL;
    }
    state->block_used += (uint32_t)reader->bytes;
    state->gathered += reader->count;
    return OK;
}

static void consume_again(struct completion *completion);

static void consume_take(struct consume *state)
{
    struct http_op *op = state->reader.op;
    enum err err = consume_gather(state);
    if (err == ERR_NO_MEMORY && state->gathered == 0) {
        http_reader_end(&state->reader); /* Who waits holds nothing large. */
        call_await_memory(op->call, consume_again);
        return;
    }
    state->full = err != OK;
    if (err != OK && state->gathered == 0) {
        http_fault(&op->fault, http_status(err), "record %llu cannot be read: %s",
                   (unsigned long long)state->reader.offset, err_text(err));
    }
    log_release(&state->reader.read, consume_released);
}

static void consume_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    const struct http_op *op = call->state;
    consume_take(op->state);
}

static void consume_read(struct completion *completion)
{
    struct consume *state = consume_of(completion);
    struct http_reader *reader = &state->reader;
    struct http_op *op = reader->op;
    enum err err = (enum err)completion->result;
    reader->reading = false;
    reader->next = reader->offset;
    state->log_start = reader->read.log_start;
    state->log_end = reader->read.high_watermark;
    if (err == OK) {
        consume_take(state);
        return;
    }
    if (err == ERR_OFFSET_RANGE && state->gathered == 0) {
        http_fault(&op->fault, 416,
                   "offset %llu is outside the log, which has %llu to %llu: use from=start or "
                   "from=end",
                   (unsigned long long)reader->offset, (unsigned long long)state->log_start,
                   (unsigned long long)state->log_end);
    } else if (err != ERR_CANCELED && state->gathered == 0) {
        http_fault(&op->fault, http_status(err), "the partition cannot be read: %s", err_text(err));
    }
    log_release(&reader->read, consume_released);
}

/* --- The request. --- */

static void consume_sought(struct completion *completion)
{
    struct consume *state = CONTAINER_OF(completion, struct consume, done);
    if (completion->result < 0) {
        http_refuse_err(state->reader.op, (enum err)completion->result,
                        "the partition cannot be read");
        return;
    }
    http_reader_read(&state->reader, state->canceled ? 0 : state->wait_ms, consume_read);
}

static bool consume_number(struct http_op *op, const char *name, uint64_t min, uint64_t max,
                           uint64_t *number)
{
    struct bytes text = http_param(op, name);
    return text.data == NULL || http_read_number(name, text, min, max, number, &op->fault);
}

enum err http_consume_start(struct http_op *op)
{
    struct consume *state = op->state;
    uint64_t count = HTTP_COUNT_DEFAULT;
    if (op->call->conn->first != op->call) {
        return ERR_BUSY; /* One connection holds the records of one. */
    }
    if (!consume_number(op, "n", 1, HTTP_COUNT_MAX, &count) ||
        !consume_number(op, "wait", 0, HTTP_WAIT_MS_MAX, &state->wait_ms)) {
        http_refuse_fault(op);
        return OK;
    }
    state->raw = http_media_is(op->head.fields[HTTP_FIELD_ACCEPT], "application/octet-stream");
    state->count = state->raw ? 1 : (uint32_t)count;
    if (!http_reader_begin(&state->reader, op, "start")) {
        return OK;
    }
    completion_init(&state->done, consume_sought);
    http_reader_seek(&state->reader, &state->done);
    return OK;
}

void http_consume_cancel(struct http_op *op)
{
    struct consume *state = op->state;
    state->canceled = true;
    http_reader_cancel(&state->reader);
}

void http_consume_sent(struct http_op *op)
{
    struct consume *state = op->state;
    http_reader_end(&state->reader);
    if (state->block != NULL) {
        block_unref(state->block);
        state->block = NULL;
    }
    call_done(op->call);
}
