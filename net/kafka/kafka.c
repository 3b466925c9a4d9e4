/* Frames, headers, the table of keys, and answers. */
#include "net/kafka/kafka.h"

#include "core/assert.h"
#include "core/limits.h"
#include "core/log.h"
#include "net/kafka/groups.h"

enum {
    KAFKA_PREFIX_BYTES = 4,
    KAFKA_HEADER_BYTES_MIN = 8, /* Key, version, correlation; a v0 header has no client id. */
    KAFKA_KEY_MAX = 127,        /* Nobody's keys reach 100 yet. */
};

static const struct kafka_api kafka_table[] = {
    {KAFKA_PRODUCE, 0, 3, 13, 9, kafka_produce_start},
    {KAFKA_FETCH, 4, 4, 17, 12, kafka_fetch_start},
    {KAFKA_LIST_OFFSETS, 1, 1, 11, 6, kafka_offsets_start},
    {KAFKA_METADATA, 0, 0, 13, 9, kafka_metadata_start},
    {KAFKA_OFFSET_COMMIT, 2, 2, 9, 8, kafka_offset_commit_start},
    {KAFKA_OFFSET_FETCH, 1, 1, 9, 6, kafka_offset_fetch_start},
    {KAFKA_FIND_COORDINATOR, 0, 0, 6, 3, kafka_coordinator_start},
    {KAFKA_JOIN_GROUP, 0, 0, 9, 6, kafka_join_group_start},
    {KAFKA_HEARTBEAT, 0, 0, 4, 4, kafka_heartbeat_start},
    {KAFKA_LEAVE_GROUP, 0, 0, 5, 4, kafka_leave_group_start},
    {KAFKA_SYNC_GROUP, 0, 0, 5, 4, kafka_sync_group_start},
    {KAFKA_DESCRIBE_GROUPS, 0, 0, 6, 5, kafka_describe_groups_start},
    {KAFKA_LIST_GROUPS, 0, 0, 5, 3, kafka_list_groups_start},
    {KAFKA_API_VERSIONS, 0, 0, 4, 3, kafka_versions_start},
    {KAFKA_CREATE_TOPICS, 2, 2, 7, 5, kafka_create_topics_start},
    {KAFKA_DELETE_TOPICS, 1, 1, 6, 4, kafka_delete_topics_start},
    {KAFKA_DELETE_RECORDS, 0, 0, 2, 2, kafka_delete_records_start},
    {KAFKA_INIT_PRODUCER_ID, 0, 0, 5, 2, kafka_producer_id_start},
    {KAFKA_EPOCHS, 2, 2, 4, 4, kafka_epochs_start},
    {KAFKA_DESCRIBE_CONFIGS, 1, 1, 4, 4, kafka_describe_configs_start},
    {KAFKA_ALTER_CONFIGS, 0, 0, 2, 2, kafka_alter_configs_start},
    {KAFKA_LOG_DIRS, 1, 1, 4, 2, kafka_log_dirs_start},
    {KAFKA_CREATE_PARTITIONS, 0, 0, 3, 2, kafka_create_partitions_start},
    {KAFKA_DELETE_GROUPS, 0, 0, 2, 2, kafka_delete_groups_start},
    {KAFKA_INCREMENTAL_ALTER_CONFIGS, 0, 0, 1, 1, kafka_alter_configs_start},
    {KAFKA_OFFSET_DELETE, 0, 0, 0, INT16_MAX, kafka_offset_delete_start},
    {KAFKA_DESCRIBE_CLUSTER, 0, 0, 2, 0, kafka_describe_cluster_start},
};

const struct kafka_api *kafka_apis(uint32_t *count)
{
    *count = ARRAY_COUNT(kafka_table);
    return kafka_table;
}

/* A first frame of another protocol (TLS, HTTP, RESP) reads as a length above the limit, or as a
 * key that nobody has. */
static int64_t kafka_frame(const struct conn *conn, struct bytes input, struct protocol_scan *scan)
{
    (void)conn;
    (void)scan;
    if (input.size < KAFKA_PREFIX_BYTES) {
        return 0;
    }
    uint32_t size = load_be32(input.data);
    if (size < KAFKA_HEADER_BYTES_MIN || size > REQUEST_FRAME_BYTES_MAX) {
        return ERR_TOO_LARGE;
    }
    if (input.size < KAFKA_PREFIX_BYTES + 2) {
        return 0;
    }
    if (load_be16(input.data + KAFKA_PREFIX_BYTES) > KAFKA_KEY_MAX) {
        return ERR_INVALID;
    }
    return (int64_t)size + KAFKA_PREFIX_BYTES;
}

static void kafka_log_refused(const struct kafka_request *request, const char *why)
{
    char peer[IO_ADDRESS_TEXT_BYTES];
    LOG_WARN("kafka request refused: %s key=%d version=%d peer=%s", why, request->key,
             request->version, io_address_text(&request->call->conn->peer, peer));
}

static const struct kafka_api *kafka_find_api(int16_t key)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(kafka_table); i++) {
        if (kafka_table[i].key == key) {
            return &kafka_table[i];
        }
    }
    return NULL;
}

/* Reads what follows the correlation id. The client id keeps its int16 length in flexible headers.
 */
static void kafka_read_client(struct kafka_request *request)
{
    struct kafka_reader *body = &request->body;
    body->flexible = false;
    request->client = kafka_read_string_or_null(body);
    body->flexible = request->flexible;
    kafka_read_tags(body);
}

static enum err kafka_start(struct call *call)
{
    struct bytes frame = call->frame;
    ASSERT(frame.size >= KAFKA_PREFIX_BYTES + KAFKA_HEADER_BYTES_MIN);
    struct kafka_request request = {
        .call = call,
        .net = call->net,
        .body = kafka_reader(
            bytes_of(frame.data + KAFKA_PREFIX_BYTES, frame.size - KAFKA_PREFIX_BYTES), false),
    };
    request.key = kafka_read_i16(&request.body);
    request.version = kafka_read_i16(&request.body);
    request.correlation = kafka_read_i32(&request.body);
    const struct kafka_api *api = kafka_find_api(request.key);
    if (api == NULL) {
        kafka_log_refused(&request, "unknown key");
        return ERR_VERSION;
    }
    if (request.version < api->min || request.version > api->max) {
        if (request.key == KAFKA_API_VERSIONS && request.version > api->max) {
            /* Of a version that is not known only these bytes are; see A3.2. */
            return kafka_versions_start(&request);
        }
        kafka_log_refused(&request, "unsupported version");
        return ERR_VERSION;
    }
    if (request.key == KAFKA_FETCH && call->conn->first != call) {
        return ERR_BUSY;
    }
    request.flexible = request.version >= api->flexible_from;
    kafka_read_client(&request);
    enum err err = request.body.bytes.failed ? ERR_CORRUPT : api->start(&request);
    if (err != OK && err != ERR_NO_MEMORY) {
        kafka_log_refused(&request, err_text(err));
    }
    return err;
}

static void kafka_cancel(struct call *call)
{
    const struct kafka_request *request = call->state;
    if (request != NULL && request->key == KAFKA_FETCH) {
        kafka_fetch_cancel(call);
    } else if (request != NULL && kafka_is_group_key(request->key)) {
        kafka_group_cancel(call);
    }
}

static void kafka_sent(struct call *call)
{
    const struct kafka_request *request = call->state;
    if (request != NULL && request->key == KAFKA_FETCH) {
        kafka_fetch_sent(call);
        return;
    }
    if (request != NULL && kafka_is_group_key(request->key)) {
        kafka_group_sent(call);
        return;
    }
    call_done(call);
}

const struct protocol protocol_kafka = {
    .name = "kafka",
    .frame = kafka_frame,
    .start = kafka_start,
    .cancel = kafka_cancel,
    .sent = kafka_sent,
};

void kafka_write_header(const struct kafka_request *request, struct kafka_writer *writer,
                        uint32_t total)
{
    kafka_write_i32(writer, (int32_t)(total - KAFKA_PREFIX_BYTES));
    kafka_write_i32(writer, request->correlation);
    writer->flexible = request->flexible;
    if (request->key != KAFKA_API_VERSIONS) {
        kafka_write_tags(writer);
    }
}

/* Measures, finds room, encodes. */
static enum err kafka_answer_try(struct kafka_request *request, kafka_encode_fn *encode,
                                 void *state)
{
    struct kafka_writer writer = {0};
    kafka_write_header(request, &writer, KAFKA_PREFIX_BYTES);
    encode(state, &writer);
    uint8_t *data;
    enum err err = call_reply_room(request->call, writer.position, &data);
    if (err != OK) {
        return err;
    }
    uint64_t size = writer.position;
    writer = (struct kafka_writer){.data = data, .size = size};
    kafka_write_header(request, &writer, (uint32_t)size);
    encode(state, &writer);
    ASSERT(writer.position == size);
    call_reply_bytes(request->call, data, (uint32_t)size);
    return OK;
}

static void kafka_answer_again(struct completion *completion);

/* What becomes of a try: an answer that can never be given closes the connection. The map may have
 * grown since an earlier try, and the answer with it. */
static void kafka_answer_or_wait(const struct kafka_request *request, enum err err)
{
    struct call *call = request->call;
    if (err == ERR_NO_MEMORY) {
        call_await_memory(call, kafka_answer_again);
    } else if (err != OK) {
        kafka_log_refused(request, "the answer is larger than the largest block of memory");
        call->last = true;
        call_reply(call);
    }
}

static void kafka_answer_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    /* The arena's last bytes; see kafka_answer(). */
    void *at = call->arena->data + call->arena_used - KAFKA_ANSWER_BYTES;
    const struct kafka_answer *answer = at;
    kafka_answer_or_wait(answer->request,
                         kafka_answer_try(answer->request, answer->encode, answer->state));
}

void kafka_answer(struct kafka_request *request, kafka_encode_fn *encode, void *state)
{
    struct call *call = request->call;
    enum err err = kafka_answer_try(request, encode, state);
    if (err == ERR_NO_MEMORY) {
        _Static_assert(sizeof(struct kafka_answer) <= KAFKA_ANSWER_BYTES, "room of an answer");
        struct kafka_answer *answer = call_take(call, KAFKA_ANSWER_BYTES);
        *answer = (struct kafka_answer){.request = request, .encode = encode, .state = state};
    }
    kafka_answer_or_wait(request, err);
}

bool kafka_topic_name_valid(struct bytes name)
{
    if (name.size == 0 || name.size > TOPIC_NAME_BYTES_MAX) {
        return false;
    }
    if (name.data[0] == '.' && (name.size == 1 || (name.size == 2 && name.data[1] == '.'))) {
        return false;
    }
    for (uint32_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return true;
}

const struct map *kafka_map(const struct kafka_request *request)
{
    return agent_map(request->net->options.agent);
}

enum err kafka_find_partition(const struct net *net, const struct map_topic *topic,
                              int32_t partition, struct partition_id *id)
{
    return log_find_partition(net, topic, partition, id);
}
