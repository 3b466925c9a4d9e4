/* Frames, the split of a request, answers, and the two verbs of one step: REGISTER, PUT. */
#include "net/walrus/walrus.h"

#include "core/assert.h"
#include "net/group/group.h"
#include "shard/record.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- Frames. --- */

static bool walrus_length_is_good(uint32_t length)
{
    return length > 0 && length <= WALRUS_FRAME_BYTES_MAX;
}

/* A length that is none is a frame of its own: start() answers it. */
static int64_t walrus_frame(const struct conn *conn, struct bytes input, struct protocol_scan *scan)
{
    (void)conn;
    (void)scan;
    if (input.size < WALRUS_PREFIX_BYTES) {
        return 0;
    }
    uint32_t length = load_le32(input.data);
    return walrus_length_is_good(length) ? (int64_t)length + WALRUS_PREFIX_BYTES
                                         : WALRUS_PREFIX_BYTES;
}

/* The word in front of the next space, which is passed over; NULL: there is nothing more. */
static struct bytes walrus_word(struct bytes *rest)
{
    if (rest->data == NULL) {
        return (struct bytes){0};
    }
    const uint8_t *space = memchr(rest->data, ' ', rest->size);
    struct bytes word = *rest;
    *rest = (struct bytes){0};
    if (space != NULL) {
        uint32_t size = (uint32_t)(space - word.data);
        *rest = bytes_of(space + 1, word.size - size - 1);
        word.size = size;
    }
    return word;
}

void walrus_split(struct bytes text, struct walrus_request *request)
{
    request->verb = walrus_word(&text);
    request->topic = walrus_word(&text);
    request->payload = text;
}

/* White space at the end, as a line typed by hand has it: not part of a verb or a name. */
static struct bytes walrus_trim(struct bytes text)
{
    while (text.size > 0 && memchr(" \t\r\n", text.data[text.size - 1], 4) != NULL) {
        text.size--;
    }
    return text;
}

/* --- Answers. --- */

enum err walrus_answer(struct call *call, struct bytes text)
{
    uint8_t *data;
    uint32_t size = WALRUS_PREFIX_BYTES + text.size;
    ASSERT(text.size > 0 && text.size <= WALRUS_FRAME_BYTES_MAX);
    enum err err = call_reply_room(call, size, &data);
    if (err == OK) {
        store_le32(data, text.size);
        memcpy(data + WALRUS_PREFIX_BYTES, text.data, text.size);
        call_reply_bytes(call, data, size);
    }
    return err;
}

enum err walrus_answer_error(struct call *call, const char *format, ...)
{
    char text[WALRUS_TEXT_BYTES_MAX] = "ERR ";
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text + 4, sizeof(text) - 4, format, list);
    va_end(list);
    return walrus_answer(call, bytes_text(text));
}

void walrus_fail(struct call *call, enum err err)
{
    err = walrus_answer_error(call, "%s", err_text(err));
    ASSERT(err == OK); /* The arena has room for it. */
}

/* --- Topics. --- */

/* "orders/3" -> 3, and the name in front; -1: none is given. */
static int32_t walrus_take_partition(struct bytes *name)
{
    const uint8_t *slash = memchr(name->data, '/', name->size);
    const uint8_t *end = name->data + name->size;
    int32_t partition = 0;
    if (slash == NULL || slash + 1 == end) {
        return -1;
    }
    for (const uint8_t *at = slash + 1; at < end; at++) {
        if (*at < '0' || *at > '9' || partition > TOPIC_PARTITIONS_MAX) {
            return -1;
        }
        partition = partition * 10 + (*at - '0');
    }
    name->size = (uint32_t)(slash - name->data);
    return partition;
}

bool walrus_is_internal(struct bytes name)
{
    (void)walrus_take_partition(&name);
    return group_topic_is_internal(name);
}

bool walrus_find(struct call *call, struct bytes name, struct partition_id *id, enum err *answered)
{
    name = walrus_trim(name);
    struct bytes topic_name = name;
    int32_t partition = walrus_take_partition(&topic_name);
    const struct map_topic *topic = map_topic_by_name(log_map(call->net), topic_name);
    int shown = (int)min_u32(name.size, TOPIC_NAME_BYTES_MAX);
    if (topic != NULL && partition < 0 && topic->partition_count > 1) {
        *answered = walrus_answer_error(call, "topic '%s' has %u partitions; use '%s/0'..'%s/%u'",
                                        topic->name, topic->partition_count, topic->name,
                                        topic->name, topic->partition_count - 1);
        return false;
    }
    enum err err = log_find_partition(call->net, topic, partition < 0 ? 0 : partition, id);
    if (err == ERR_TOPIC_UNKNOWN) {
        /* What is pipelined in front of it may be about to make it. */
        *answered = call->conn->first != call
                        ? ERR_BUSY
                        : walrus_answer_error(call, "unknown topic %.*s", shown, name.data);
        return false;
    }
    if (err != OK) {
        *answered = walrus_answer_error(call, "%s", err_text(err));
        return false;
    }
    return true;
}

/* --- REGISTER. --- */

struct walrus_register {
    struct call *call;
    struct log_topic topic;
};

static void walrus_registered(struct completion *completion)
{
    struct log_topic *topic = CONTAINER_OF(completion, struct log_topic, done);
    struct walrus_register *op = CONTAINER_OF(topic, struct walrus_register, topic);
    if (completion->result != OK) {
        walrus_fail(op->call, (enum err)completion->result);
        return;
    }
    enum err err = walrus_answer(op->call, bytes_text("OK"));
    ASSERT(err == OK); /* In the arena. */
}

enum err walrus_register(struct call *call, const struct walrus_request *request)
{
    struct bytes name = walrus_trim(request->topic);
    if (walrus_is_internal(name)) {
        return walrus_answer_error(call, GROUP_TOPIC " is the server's own; it makes it itself");
    }
    if (map_topic_by_name(log_map(call->net), name) != NULL) {
        return walrus_answer(call, bytes_text("OK"));
    }
    if (!topic_name_is_allowed(name)) {
        return walrus_answer_error(
            call, "a topic cannot be named so: names are 1 to 249 of [a-zA-Z0-9._-]");
    }
    enum err err = call_arena(call, sizeof(struct walrus_register) + WALRUS_TEXT_BYTES_MAX);
    if (err != OK) {
        return err;
    }
    struct walrus_register *op = call_take(call, sizeof(*op));
    op->call = call;
    log_make_topic(call->net, &op->topic, name, 1, walrus_registered);
    return OK;
}

/* --- PUT. --- */

struct walrus_put {
    struct call *call;
    struct request request;
};

static void walrus_appended(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct walrus_put *op = CONTAINER_OF(request, struct walrus_put, request);
    if (completion->result != OK) {
        walrus_fail(op->call, (enum err)completion->result);
        return;
    }
    enum err err = walrus_answer(op->call, bytes_text("OK"));
    ASSERT(err == OK); /* In the arena. */
}

enum err walrus_put(struct call *call, const struct walrus_request *request)
{
    struct partition_id id;
    enum err err = OK;
    struct record_input input = {
        .value = request->payload,
        .timestamp = (int64_t)call->net->reactor->now_ms,
    };
    if (request->payload.size == 0) {
        return walrus_answer_error(call, "PUT requires a payload");
    }
    if (walrus_is_internal(request->topic)) {
        return walrus_answer_error(call, GROUP_TOPIC " is the server's own; nobody writes to it");
    }
    if (!walrus_find(call, request->topic, &id, &err)) {
        return err;
    }
    uint32_t size = record_batch_size(&input, 1);
    ASSERT(size > 0); /* A frame is smaller than the largest batch. */
    err = call_arena(call, sizeof(struct walrus_put) + size + WALRUS_TEXT_BYTES_MAX);
    if (err != OK) {
        return err;
    }
    struct walrus_put *op = call_take(call, sizeof(*op));
    uint8_t *batch = call_take(call, size);
    op->call = call;
    record_batch_encode(&input, 1, batch, size);
    log_append(call->net, &op->request, &id, bytes_of(batch, size), walrus_appended);
    return OK;
}

/* --- The protocol. --- */

static enum err walrus_start(struct call *call)
{
    static const struct {
        const char *verb;
        enum err (*start)(struct call *call, const struct walrus_request *request);
    } verbs[] = {
        {"PUT", walrus_put},
        {"GET", walrus_get},
        {"REGISTER", walrus_register},
        {"STATE", walrus_state},
    };
    struct walrus_request request;
    struct bytes text =
        bytes_of(call->frame.data + WALRUS_PREFIX_BYTES, call->frame.size - WALRUS_PREFIX_BYTES);
    if (!walrus_length_is_good(load_le32(call->frame.data))) {
        call->last = true;
        return walrus_answer_error(call, "invalid frame length");
    }
    walrus_split(text, &request);
    for (uint32_t i = 0; i < ARRAY_COUNT(verbs); i++) {
        if (bytes_equal(walrus_trim(request.verb), bytes_text(verbs[i].verb))) {
            if (walrus_trim(request.topic).size == 0) {
                return walrus_answer_error(call, "%s requires a topic", verbs[i].verb);
            }
            if (call->late) {
                return walrus_answer_error(call, "%s", err_text(ERR_STOPPING));
            }
            return verbs[i].start(call, &request);
        }
    }
    if (bytes_equal(walrus_trim(request.verb), bytes_text("METRICS"))) {
        return walrus_metrics(call);
    }
    return walrus_answer_error(call, "unknown command");
}

static void walrus_cancel(struct call *call)
{
    if (call->state != NULL) {
        walrus_get_cancel(call); /* It alone has a state. */
    }
}

static const char walrus_refusal[] = "\x29\0\0\0ERR too many connections, try again later";

_Static_assert(sizeof(walrus_refusal) - 1 == WALRUS_PREFIX_BYTES + 0x29, "its length is right");

const struct protocol protocol_walrus = {
    .name = "walrus",
    .refusal = walrus_refusal,
    .refusal_bytes = sizeof(walrus_refusal) - 1,
    .frame = walrus_frame,
    .start = walrus_start,
    .cancel = walrus_cancel,
    .sent = call_done,
};
