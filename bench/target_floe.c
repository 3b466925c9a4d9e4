/* floe's side of the load generator: as little of Kafka's protocol as a benchmark needs, so that
 * the client's share is small. CreateTopics v2, Produce v7 with acks = all, Fetch v4. */
#include "bench/target.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    KEY_PRODUCE = 0,
    KEY_FETCH = 1,
    KEY_CREATE_TOPICS = 19,
    CODE_NONE = 0,
    CODE_EXISTS = 36,
    CORRELATION = 7,
    TRIES_MAX = 500, /* 10 ms apart, until a new topic serves. */
    SMALL_BYTES = 1024,
};

static uint64_t floe_answer_size(struct bytes got)
{
    return got.size < 4 ? 0 : 4 + (uint64_t)load_be32(got.data);
}

static void write_text(struct bytes_writer *writer, const char *text)
{
    struct bytes bytes = bytes_text(text);
    write_be16(writer, (uint16_t)bytes.size);
    write_bytes(writer, bytes.data, bytes.size);
}

/* Without the length, which request_end() puts in. */
static void request_begin(struct bytes_writer *writer, uint16_t key, uint16_t version)
{
    write_be32(writer, 0);
    write_be16(writer, key);
    write_be16(writer, version);
    write_be32(writer, CORRELATION);
    write_text(writer, "bench");
}

static uint32_t request_end(struct bytes_writer *writer)
{
    store_be32(writer->data, writer->position - 4);
    return writer->position;
}

static uint32_t floe_produce(const struct load_options *options, struct bytes batch,
                             uint32_t partition, uint8_t *at)
{
    uint8_t head[SMALL_BYTES];
    struct bytes_writer writer = bytes_writer(head, sizeof(head));
    request_begin(&writer, KEY_PRODUCE, 7);
    write_be16(&writer, UINT16_MAX); /* No transaction. */
    write_be16(&writer, UINT16_MAX); /* acks = all. */
    write_be32(&writer, 30000);
    write_be32(&writer, 1);
    write_text(&writer, options->topic);
    write_be32(&writer, 1);
    write_be32(&writer, partition);
    write_be32(&writer, batch.size);
    uint32_t size = writer.position + batch.size;
    if (at != NULL) {
        memcpy(at, head, writer.position);
        memcpy(at + writer.position, batch.data, batch.size);
        store_be32(at, size - 4);
    }
    return size;
}

static uint32_t floe_fetch(const struct load_options *options, uint32_t partition, uint64_t cursor,
                           uint8_t *at)
{
    uint8_t head[SMALL_BYTES];
    struct bytes_writer writer =
        at == NULL ? bytes_writer(head, sizeof(head)) : bytes_writer(at, SMALL_BYTES);
    request_begin(&writer, KEY_FETCH, 4);
    write_be32(&writer, UINT32_MAX); /* No replica. */
    write_be32(&writer, 0);          /* It does not wait. */
    write_be32(&writer, 1);
    write_be32(&writer, (uint32_t)options->fetch_bytes);
    write_u8(&writer, 0);
    write_be32(&writer, 1);
    write_text(&writer, options->topic);
    write_be32(&writer, 1);
    write_be32(&writer, partition);
    write_be64(&writer, cursor);
    write_be32(&writer, (uint32_t)options->fetch_bytes);
    return request_end(&writer);
}

/* Reads up to the partition's index, and that too; both answers begin alike. */
static void read_partition(struct bytes_reader *reader)
{
    read_skip(reader, 4); /* One topic. */
    read_skip(reader, read_be16(reader));
    read_skip(reader, 4 + 4); /* One partition, its index. */
}

static bool said(struct answer *answer, struct bytes_reader *reader, uint16_t code)
{
    if (reader->failed || code != CODE_NONE) {
        snprintf(answer->message, sizeof(answer->message), "%s, error code %d",
                 reader->failed ? "the answer is malformed" : "refused", (int)(int16_t)code);
        return false;
    }
    return true;
}

static bool floe_produced(const struct load_options *options, struct bytes frame,
                          uint32_t batch_crc, struct answer *answer)
{
    (void)options;
    (void)batch_crc;
    struct bytes_reader reader = bytes_reader(frame);
    read_skip(&reader, 4);
    bool mine = read_be32(&reader) == CORRELATION;
    read_partition(&reader);
    uint16_t code = read_be16(&reader);
    return said(answer, &reader, mine ? code : UINT16_MAX);
}

static bool floe_fetched(const struct load_options *options, struct bytes frame,
                         struct answer *answer)
{
    (void)options;
    struct bytes_reader reader = bytes_reader(frame);
    read_skip(&reader, 4);
    bool mine = read_be32(&reader) == CORRELATION;
    read_skip(&reader, 4); /* Throttle. */
    read_partition(&reader);
    uint16_t code = read_be16(&reader);
    read_skip(&reader, 8 + 8);
    uint32_t aborted = read_be32(&reader);
    struct bytes records = read_bytes(&reader, read_be32(&reader));
    if (!said(answer, &reader, mine && aborted == 0 ? code : UINT16_MAX)) {
        return false;
    }
    batches_walk(records, answer, &answer->cursor);
    return true;
}

/* --- The topic. --- */

static bool exchange(int fd, const uint8_t *request, uint32_t size, uint8_t *answer,
                     uint32_t *answer_size)
{
    if (send(fd, request, size, MSG_NOSIGNAL) != (ssize_t)size ||
        recv(fd, answer, 4, MSG_WAITALL) != 4) {
        return false;
    }
    uint64_t total = floe_answer_size(bytes_of(answer, 4));
    if (total > *answer_size) {
        errno = EMSGSIZE;
        return false;
    }
    *answer_size = (uint32_t)total;
    return recv(fd, answer + 4, total - 4, MSG_WAITALL) == (ssize_t)(total - 4);
}

static bool topic_create(const struct load_options *options, int fd, char *message)
{
    uint8_t request[SMALL_BYTES];
    uint8_t answer[SMALL_BYTES];
    uint32_t size = sizeof(answer);
    struct bytes_writer writer = bytes_writer(request, sizeof(request));
    request_begin(&writer, KEY_CREATE_TOPICS, 2);
    write_be32(&writer, 1);
    write_text(&writer, options->topic);
    write_be32(&writer, (uint32_t)options->partitions);
    write_be16(&writer, 1);
    write_be32(&writer, 0); /* No assignment, */
    write_be32(&writer, 0); /* no configs. */
    write_be32(&writer, 30000);
    write_u8(&writer, 0);
    if (!exchange(fd, request, request_end(&writer), answer, &size)) {
        snprintf(message, TARGET_MESSAGE_BYTES, "create topic: %s", strerror(errno));
        return false;
    }
    struct bytes_reader reader = bytes_reader(bytes_of(answer, size));
    read_skip(&reader, 4 + 4 + 4 + 4);
    read_skip(&reader, read_be16(&reader));
    uint16_t code = read_be16(&reader);
    if (reader.failed || (code != CODE_NONE && code != CODE_EXISTS)) {
        snprintf(message, TARGET_MESSAGE_BYTES, "create topic: error code %d", (int)code);
        return false;
    }
    return true;
}

static bool floe_prepare(const struct load_options *options, int fd, char *message)
{
    if (!topic_create(options, fd, message)) {
        return false;
    }
    struct load_options small = *options;
    small.fetch_bytes = 1; /* One batch comes all the same. */
    static uint8_t data[MIB(2)];
    uint32_t tries = 0;
    for (uint32_t i = 0; i < options->partitions;) {
        uint8_t request[SMALL_BYTES];
        uint32_t size = sizeof(data);
        struct answer answer = {0};
        if (!exchange(fd, request, floe_fetch(&small, i, 0, request), data, &size)) {
            snprintf(message, TARGET_MESSAGE_BYTES, "fetch: %s", strerror(errno));
            return false;
        }
        if (floe_fetched(&small, bytes_of(data, size), &answer)) {
            i++;
        } else if (++tries == TRIES_MAX) {
            snprintf(message, TARGET_MESSAGE_BYTES, "partition %u does not serve", i);
            return false;
        } else {
            struct timespec pause = {.tv_nsec = 10000000};
            nanosleep(&pause, NULL);
        }
    }
    return true;
}

const struct target target_floe = {
    .name = "floe",
    .answer_size = floe_answer_size,
    .prepare = floe_prepare,
    .produce = floe_produce,
    .fetch = floe_fetch,
    .produced = floe_produced,
    .fetched = floe_fetched,
};
