/* See the header. */
#include "net/http/reader.h"

#include "core/assert.h"

/* --- Where. --- */

static bool reader_number(struct bytes text, uint64_t *number)
{
    struct http_fault fault;
    return http_read_number("from", text, 0, INT64_MAX, number, &fault);
}

static bool reader_parse_from(struct http_reader *reader, struct bytes text)
{
    struct bytes rest = text.size > 0 ? bytes_of(text.data + 1, text.size - 1) : text;
    if (bytes_equal(text, bytes_text("start"))) {
        reader->from = HTTP_FROM_START;
        return true;
    }
    if (bytes_equal(text, bytes_text("end"))) {
        reader->from = HTTP_FROM_END;
        return true;
    }
    if (text.size > 0 && text.data[0] == '-') {
        reader->from = HTTP_FROM_LAST;
        return reader_number(rest, &reader->from_number);
    }
    if (text.size > 0 && text.data[0] == '@') {
        reader->from = HTTP_FROM_TIME;
        return reader_number(rest, &reader->from_number);
    }
    reader->from = HTTP_FROM_OFFSET;
    return reader_number(text, &reader->from_number);
}

static bool reader_choose_partition(struct http_reader *reader, const struct map_topic *topic)
{
    struct http_op *op = reader->op;
    struct bytes text = http_param(op, "partition");
    uint64_t partition = 0;
    if (text.data == NULL && topic->partition_count > 1) {
        http_refuse(op, 400, "the topic has %u partitions: say which one, partition=0 to %u",
                    topic->partition_count, topic->partition_count - 1);
        return false;
    }
    if (text.data != NULL && !http_read_number("partition", text, 0, topic->partition_count - 1,
                                               &partition, &op->fault)) {
        http_refuse_fault(op);
        return false;
    }
    enum err err = log_find_partition(op->net, topic, (int32_t)partition, &reader->partition);
    if (err != OK) {
        http_refuse_err(op, err, "the partition cannot be read");
        return false;
    }
    return true;
}

bool http_reader_begin(struct http_reader *reader, struct http_op *op, const char *fallback)
{
    reader->op = op;
    const struct map_topic *topic = http_topic(op);
    if (topic == NULL || !reader_choose_partition(reader, topic)) {
        return false;
    }
    struct bytes from = http_param(op, "from");
    if (!reader_parse_from(reader, from.data != NULL ? from : bytes_text(fallback))) {
        char quoted[HTTP_QUOTE_BYTES];
        http_refuse(op, 400,
                    "from \"%s\" is no place in a log: give start, end, an offset, -N (N records "
                    "before the end) or @MS (a time in ms since 1970)",
                    http_quote(from, quoted));
        return false;
    }
    return true;
}

static void reader_ask(struct http_reader *reader, int64_t timestamp, completion_fn *fn)
{
    log_ask_offset(reader->op->net, &reader->request, &reader->partition, timestamp, fn);
}

static struct http_reader *reader_of(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    return CONTAINER_OF(request, struct http_reader, request);
}

/* Whatever was asked last is the offset; -N counts back from it. */
static void reader_found(struct completion *completion)
{
    struct http_reader *reader = reader_of(completion);
    enum err err = (enum err)completion->result;
    int64_t found = reader->request.offsets.offset;
    if (err == OK && found < 0) {
        reader_ask(reader, OFFSETS_LATEST, reader_found); /* No record is so young. */
        return;
    }
    if (err == OK) {
        reader->offset = (uint64_t)found;
    }
    if (err == OK && reader->from == HTTP_FROM_LAST) {
        uint64_t back = min_u64(reader->from_number, reader->offset);
        reader->offset = max_u64(reader->offset - back, reader->start);
    }
    completion_fire(reader->op->net->reactor, reader->done, err);
}

static void reader_found_start(struct completion *completion)
{
    struct http_reader *reader = reader_of(completion);
    if (completion->result < 0) {
        completion_fire(reader->op->net->reactor, reader->done, completion->result);
        return;
    }
    reader->start = (uint64_t)reader->request.offsets.offset;
    reader_ask(reader, OFFSETS_LATEST, reader_found);
}

void http_reader_seek(struct http_reader *reader, struct completion *done)
{
    reader->done = done;
    switch (reader->from) {
    case HTTP_FROM_OFFSET:
        reader->offset = reader->from_number;
        completion_fire(reader->op->net->reactor, done, OK);
        return;
    case HTTP_FROM_START:
        reader_ask(reader, OFFSETS_EARLIEST, reader_found);
        return;
    case HTTP_FROM_END:
        reader_ask(reader, OFFSETS_LATEST, reader_found);
        return;
    case HTTP_FROM_LAST:
        reader_ask(reader, OFFSETS_EARLIEST, reader_found_start);
        return;
    case HTTP_FROM_TIME:
        reader_ask(reader, (int64_t)reader->from_number, reader_found);
        return;
    }
    UNREACHABLE();
}

/* --- What. --- */

void http_reader_read(struct http_reader *reader, uint64_t wait_ms, completion_fn *fn)
{
    reader->read.partition = reader->partition;
    reader->read.offset = reader->offset;
    reader->read.bytes_max = HTTP_READ_BYTES;
    reader->read.wait_ms = wait_ms;
    reader->reading = true;
    log_read(reader->op->net, &reader->read, fn);
}

void http_reader_cancel(struct http_reader *reader)
{
    if (reader->reading) {
        log_cancel(&reader->read);
    }
}

static void reader_open(const struct http_reader *reader, struct records *records)
{
    records_begin(records, reader->read.pieces, reader->read.piece_count, reader->offset);
    if (reader->room != NULL) {
        records_lend(records, reader->room->data, reader->room->size);
    }
}

/* A larger room for compressed batches; what was in it is read again. */
static enum err reader_enlarge(struct http_reader *reader, uint32_t wanted)
{
    struct memory *memory = reader->op->net->reactor->memory;
    if (reader->room != NULL) {
        block_unref(reader->room);
        reader->room = NULL;
    }
    if (wanted > memory_block_max(memory)) {
        return ERR_BATCH_TOO_LARGE;
    }
    reader->room = block_acquire(memory, call_memory_class(wanted), wanted);
    if (reader->room == NULL) {
        reader->op->call->memory_wanted = wanted;
        return ERR_NO_MEMORY;
    }
    return OK;
}

static enum err reader_measure_once(struct http_reader *reader, uint32_t count, http_record_fn *put,
                                    uint32_t *wanted)
{
    struct records records;
    struct records_entry entry;
    struct http_writer writer = {0};
    enum err err = OK;
    reader_open(reader, &records);
    reader->count = 0;
    reader->bytes = 0;
    reader->next = reader->offset;
    while (reader->count < count && (err = records_next(&records, &entry)) == OK) {
        put(&writer, &entry);
        if (reader->count > 0 && writer.position > HTTP_EVENTS_BYTES) {
            return OK;
        }
        reader->count++;
        reader->bytes = writer.position;
        reader->next = entry.offset + 1;
    }
    if (err == ERR_NOT_FOUND && reader->read.piece_count > 0) {
        /* The last ones may be none that readers get, as those that were deleted. */
        const struct batch *last = &records.batch;
        reader->next = max_u64(reader->next,
                               (uint64_t)last->base_offset + (uint32_t)last->last_offset_delta + 1);
    }
    *wanted = records.room_wanted;
    return err;
}

enum err http_reader_measure(struct http_reader *reader, uint32_t count, http_record_fn *put)
{
    uint32_t wanted = 0;
    enum err err;
    while ((err = reader_measure_once(reader, count, put, &wanted)) == ERR_NO_MEMORY) {
        err = reader_enlarge(reader, wanted);
        if (err != OK) {
            return err;
        }
    }
    /* What is sound goes out; what is behind it is told when it is the first. */
    return reader->count > 0 ? OK : err;
}

void http_reader_put(const struct http_reader *reader, http_record_fn *put,
                     struct http_writer *writer)
{
    struct records records;
    struct records_entry entry;
    if (writer->data == NULL) {
        writer->position += reader->bytes;
        return;
    }
    reader_open(reader, &records);
    for (uint32_t i = 0; i < reader->count; i++) {
        enum err err = records_next(&records, &entry);
        ASSERT(err == OK);
        put(writer, &entry);
    }
}

void http_reader_first(const struct http_reader *reader, struct records_entry *entry)
{
    struct records records;
    reader_open(reader, &records);
    enum err err = records_next(&records, entry);
    ASSERT(err == OK);
}

void http_reader_end(struct http_reader *reader)
{
    if (reader->room != NULL) {
        block_unref(reader->room);
        reader->room = NULL;
    }
}

/* --- A record as JSON. --- */

/* "name":"text", "name_base64":"...", or "name":null. */
static void reader_put_bytes(struct http_writer *writer, const char *name, struct bytes bytes)
{
    if (bytes.data == NULL) {
        http_printf(writer, "\"%s\":null", name);
    } else if (http_is_text(bytes)) {
        http_printf(writer, "\"%s\":", name);
        http_put_json(writer, bytes);
    } else {
        http_printf(writer, "\"%s_base64\":\"", name);
        http_put_base64(writer, bytes);
        http_put(writer, "\"", 1);
    }
}

void http_put_record(struct http_writer *writer, const struct records_entry *entry)
{
    http_printf(writer, "{\"offset\":%llu,\"timestamp\":%lld,", (unsigned long long)entry->offset,
                (long long)entry->timestamp);
    reader_put_bytes(writer, "key", entry->record.key);
    http_put(writer, ",", 1);
    reader_put_bytes(writer, "value", entry->record.value);
    struct bytes_reader headers = bytes_reader(entry->record.headers);
    http_put_text(writer, ",\"headers\":[");
    for (uint32_t i = 0; i < entry->record.header_count; i++) {
        struct record_header header;
        if (!record_read_header(&headers, &header)) {
            break; /* Not in a batch that was judged when it came. */
        }
        http_put_text(writer, i == 0 ? "{" : ",{");
        reader_put_bytes(writer, "name", header.name);
        http_put(writer, ",", 1);
        reader_put_bytes(writer, "value", header.value);
        http_put(writer, "}", 1);
    }
    http_put_text(writer, "]}");
}
