/* GET stream: server-sent events. An event is a record, its id the offset; a client that comes back
 * with Last-Event-ID goes on behind it.
 *
 *     SEEK -> READ (parked) -> MEASURE, WRITE (memory) -> part: sent -> RELEASE -> READ ...
 *                 +-- nothing for a while: a comment, so that a peer which is gone is noticed
 *
 * It ends with the connection: at a stop, when the topic is deleted (event: error), or when the
 * peer leaves. Records that retention took while nobody read them are told as event: gap. */
#include "core/assert.h"
#include "net/http/reader.h"

#include <string.h>

enum { STREAM_SILENT_MS = 15000 };

struct stream {
    struct http_reader reader;
    struct completion done;
    struct block *block; /* Of the part that is being sent. */
    struct iovec vector;
    bool begun;    /* The head has left. */
    bool canceled; /* The part to come is the last. */
    bool released; /* What the last read brought is home. */
    enum err err;  /* Why it ends. */
    uint64_t gap;  /* Records up to here are gone; 0: none are. */
};

_Static_assert(sizeof(struct stream) <= HTTP_STREAM_BYTES, "http_routes knows the size");

static void stream_look(struct stream *stream);

static void stream_put(struct http_writer *writer, const struct records_entry *entry)
{
    http_printf(writer, "id: %llu\ndata: ", (unsigned long long)entry->offset);
    http_put_record(writer, entry);
    http_put_text(writer, "\n\n");
}

/* One part: the head if it is the first, then events, or a comment. */
static void stream_encode(const struct stream *stream, struct http_writer *writer)
{
    const struct http_reader *reader = &stream->reader;
    const struct http_op *op = reader->op;
    if (!stream->begun) {
        http_put_head(op, writer,
                      &(struct http_answer){.status = 200, .type = "text/event-stream"});
        http_put_text(writer, "\r\nretry: 1000\n\n");
    }
    if (stream->gap > 0) {
        http_printf(writer, "event: gap\ndata: {\"from\":%llu,\"to\":%llu}\n\n",
                    (unsigned long long)reader->offset, (unsigned long long)stream->gap);
    }
    if (stream->err != OK) {
        http_printf(writer, "event: error\ndata: {\"status\":%u,\"detail\":\"%s\"}\n\n",
                    http_status(stream->err), err_text(stream->err));
    } else if (reader->count > 0) {
        http_reader_put(reader, stream_put, writer);
    } else if (stream->begun) {
        http_put_text(writer, ":\n\n");
    }
}

static void stream_write_again(struct completion *completion);
static void stream_measure(struct stream *stream);

/* Makes the part and hands it over; waits for memory if it must. */
static void stream_write(struct stream *stream)
{
    struct call *call = stream->reader.op->call;
    struct memory *memory = stream->reader.op->net->reactor->memory;
    struct http_writer counted = {0};
    stream_encode(stream, &counted);
    if (counted.position > memory_block_max(memory)) {
        stream->err = ERR_TOO_LARGE;
        counted.position = 0;
        stream_encode(stream, &counted);
    }
    ASSERT(stream->block == NULL && counted.position > 0);
    stream->block =
        block_acquire(memory, call_memory_class(counted.position), (uint32_t)counted.position);
    if (stream->block == NULL) {
        http_reader_end(&stream->reader); /* Who waits holds nothing large. */
        call->memory_wanted = (uint32_t)counted.position;
        call_await_memory(call, stream_write_again);
        return;
    }
    struct http_writer writer = {.data = stream->block->data, .size = counted.position};
    stream_encode(stream, &writer);
    ASSERT(writer.position == counted.position);
    stream->vector =
        (struct iovec){.iov_base = stream->block->data, .iov_len = (size_t)writer.position};
    stream->begun = true;
    call->vectors = &stream->vector;
    call->vector_count = 1;
    call->more = stream->err == OK && !stream->canceled;
    call->last = !call->more;
    call_reply(call);
}

static void stream_write_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    const struct http_op *op = call->state;
    struct stream *stream = op->state;
    if (stream->reader.count > 0 && stream->err == OK) {
        stream_measure(stream);
    } else {
        stream_write(stream);
    }
}

static void stream_measure_again(struct completion *completion);

static void stream_measure(struct stream *stream)
{
    struct call *call = stream->reader.op->call;
    enum err err = http_reader_measure(&stream->reader, HTTP_COUNT_MAX, stream_put);
    if (err == ERR_NO_MEMORY) {
        call_await_memory(call, stream_measure_again);
        return;
    }
    stream->err = err == ERR_NOT_FOUND ? OK : err;
    stream_write(stream);
}

static void stream_measure_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    const struct http_op *op = call->state;
    stream_measure(op->state);
}

static void stream_read(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    struct http_reader *reader = CONTAINER_OF(read, struct http_reader, read);
    struct stream *stream = CONTAINER_OF(reader, struct stream, reader);
    enum err err = (enum err)completion->result;
    reader->reading = false;
    reader->count = 0;
    reader->next = reader->offset;
    if (err == ERR_OFFSET_RANGE && reader->offset < read->log_start) {
        stream->gap = reader->next = read->log_start;
        stream_write(stream);
    } else if (err == OK) {
        stream_measure(stream);
    } else {
        stream->err = err == ERR_CANCELED || err == ERR_TIMEOUT ? OK : err;
        stream_write(stream);
    }
}

static void stream_look(struct stream *stream)
{
    /* The first part is the head, which does not wait for a record. */
    uint64_t wait_ms = stream->begun && !stream->canceled ? STREAM_SILENT_MS : 0;
    stream->gap = 0;
    http_reader_read(&stream->reader, wait_ms, stream_read);
}

static void stream_sought(struct completion *completion)
{
    struct stream *stream = CONTAINER_OF(completion, struct stream, done);
    if (completion->result < 0) {
        http_refuse_err(stream->reader.op, (enum err)completion->result,
                        "the partition cannot be read");
        return;
    }
    stream_look(stream);
}

/* What was read and sent is given back. */
static void stream_give_back(struct stream *stream, completion_fn *fn)
{
    if (stream->block != NULL) {
        block_unref(stream->block);
        stream->block = NULL;
    }
    http_reader_end(&stream->reader);
    log_release(&stream->reader.read, fn);
}

static void stream_released(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    struct http_reader *reader = CONTAINER_OF(read, struct http_reader, read);
    struct stream *stream = CONTAINER_OF(reader, struct stream, reader);
    stream->released = true;
    reader->offset = reader->next;
    if (stream->canceled) {
        reader->op->call->last = true;
        call_reply(reader->op->call); /* Empty: nothing is owed any more. */
        return;
    }
    stream->released = false;
    stream_look(stream);
}

void http_stream_part(struct http_op *op)
{
    struct stream *stream = op->state;
    stream->canceled = stream->canceled || op->call->canceled;
    stream_give_back(stream, stream_released);
}

enum err http_stream_start(struct http_op *op)
{
    struct stream *stream = op->state;
    struct bytes last = op->head.fields[HTTP_FIELD_LAST_EVENT_ID];
    uint64_t offset = 0;
    if (op->call->conn->first != op->call) {
        return ERR_BUSY; /* It has no end. */
    }
    if (last.size > 0 &&
        !http_read_number("Last-Event-ID", last, 0, INT64_MAX - 1, &offset, &op->fault)) {
        http_refuse_fault(op);
        return OK;
    }
    if (!http_reader_begin(&stream->reader, op, "end")) {
        return OK;
    }
    if (op->head.method == HTTP_HEAD) {
        http_answer(op, &(struct http_answer){.status = 200, .type = "text/event-stream"});
        return OK;
    }
    if (last.size > 0) {
        stream->reader.from = HTTP_FROM_OFFSET;
        stream->reader.from_number = offset + 1;
    }
    http_last(op);
    completion_init(&stream->done, stream_sought);
    http_reader_seek(&stream->reader, &stream->done);
    return OK;
}

void http_stream_cancel(struct http_op *op)
{
    struct stream *stream = op->state;
    stream->canceled = true;
    http_reader_cancel(&stream->reader);
}

static void stream_ended(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    struct http_reader *reader = CONTAINER_OF(read, struct http_reader, read);
    call_done(reader->op->call);
}

void http_stream_sent(struct http_op *op)
{
    struct stream *stream = op->state;
    if (stream->reader.read.net == NULL || stream->released) {
        http_reader_end(&stream->reader);
        call_done(op->call);
        return;
    }
    stream_give_back(stream, stream_ended);
}
