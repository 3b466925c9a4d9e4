/* See the header. */
#include "tools/cmd_log_dirs.h"

#include "net/kafka/schema.h"
#include "tools/cmd_socket.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIRS_KEY = 35, DIRS_VERSION = 1, DIRS_BYTES_MAX = 256 << 20 };

static bool dirs_add(struct log_dirs_answer *answer, const struct log_dirs_row *row)
{
    if (answer->count == answer->room) {
        size_t room = answer->room == 0 ? 256 : answer->room * 2;
        struct log_dirs_row *rows = realloc(answer->rows, room * sizeof(*rows));
        if (rows == NULL) {
            return false;
        }
        answer->rows = rows;
        answer->room = room;
    }
    answer->rows[answer->count++] = *row;
    return true;
}

/* Behind the head of the answer. */
static bool dirs_read(struct log_dirs_answer *answer, struct kafka_reader *reader)
{
    (void)kafka_read_i32(reader); /* Throttled for. */
    uint32_t dirs = kafka_read_count(reader, 4);
    for (uint32_t i = 0; i < dirs && !reader->bytes.failed; i++) {
        (void)kafka_read_i16(reader); /* An error has no topics. */
        (void)kafka_read_string(reader);
        uint32_t topics = kafka_read_count(reader, 6);
        for (uint32_t j = 0; j < topics && !reader->bytes.failed; j++) {
            struct bytes name = kafka_read_string(reader);
            uint32_t partitions = kafka_read_count(reader, 21);
            for (uint32_t k = 0; k < partitions && !reader->bytes.failed; k++) {
                struct log_dirs_row row = {.topic = (const char *)name.data,
                                           .name_size = name.size};
                row.partition = kafka_read_i32(reader);
                row.bytes = kafka_read_i64(reader);
                (void)kafka_read_i64(reader); /* How far it is behind, and whether it will be. */
                (void)kafka_read_bool(reader);
                if (!dirs_add(answer, &row)) {
                    return false;
                }
            }
        }
    }
    return !reader->bytes.failed;
}

static bool dirs_exchange(struct log_dirs_answer *answer, int fd)
{
    uint8_t request[64], prefix[4];
    struct kafka_writer writer = {.data = request, .size = sizeof(request)};
    kafka_write_i32(&writer, 0); /* The size, below. */
    kafka_write_i16(&writer, DIRS_KEY);
    kafka_write_i16(&writer, DIRS_VERSION);
    kafka_write_i32(&writer, 1);
    kafka_write_text(&writer, "floe");
    kafka_write_null_array(&writer);
    struct kafka_writer size = {.data = request, .size = sizeof(request)};
    kafka_write_i32(&size, (int32_t)writer.position - 4);
    if (!socket_send(fd, request, writer.position) || !socket_receive(fd, prefix, sizeof(prefix))) {
        return false;
    }
    struct kafka_reader head = kafka_reader(bytes_of(prefix, sizeof(prefix)), false);
    int32_t bytes = kafka_read_i32(&head);
    if (bytes < 8 || bytes > DIRS_BYTES_MAX) {
        return false;
    }
    answer->data = malloc((size_t)bytes);
    if (answer->data == NULL || !socket_receive(fd, answer->data, (size_t)bytes)) {
        return false;
    }
    struct kafka_reader reader = kafka_reader(bytes_of(answer->data, (uint32_t)bytes), false);
    return kafka_read_i32(&reader) == 1 && dirs_read(answer, &reader);
}

bool log_dirs_ask(struct log_dirs_answer *answer, const struct cmd *cmd, const char *brokers)
{
    int fd;
    *answer = (struct log_dirs_answer){0};
    if (socket_open(cmd, brokers, &fd) != CMD_OK) {
        return false;
    }
    bool good = dirs_exchange(answer, fd);
    (void)close(fd);
    if (!good) {
        log_dirs_free(answer);
    }
    return good;
}

void log_dirs_free(struct log_dirs_answer *answer)
{
    free(answer->data);
    free(answer->rows);
    *answer = (struct log_dirs_answer){0};
}

int64_t log_dirs_bytes(struct log_dirs_answer *answer, const char *topic, int32_t partition)
{
    size_t size = strlen(topic);
    for (size_t i = 0; i < answer->count; i++) {
        size_t at = (answer->last + i) % answer->count;
        const struct log_dirs_row *row = &answer->rows[at];
        if (row->partition == partition && row->name_size == size &&
            memcmp(row->topic, topic, size) == 0) {
            answer->last = at + 1;
            return row->bytes;
        }
    }
    return -1;
}
