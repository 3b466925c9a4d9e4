/* The Kafka protocol: headers, the table of keys, error codes, and what its APIs share.
 *
 *     request   int32 size | int16 key | int16 version | int32 correlation | string client id
 *               | tags (header v2, flexible versions) | body
 *     response  int32 size | int32 correlation | tags (header v1, not ApiVersions) | body
 */
#pragma once

#include "net/kafka/schema.h"
#include "net/log.h"

enum kafka_key {
    KAFKA_PRODUCE = 0,
    KAFKA_FETCH = 1,
    KAFKA_LIST_OFFSETS = 2,
    KAFKA_METADATA = 3,
    KAFKA_OFFSET_COMMIT = 8,
    KAFKA_OFFSET_FETCH = 9,
    KAFKA_FIND_COORDINATOR = 10,
    KAFKA_JOIN_GROUP = 11,
    KAFKA_HEARTBEAT = 12,
    KAFKA_LEAVE_GROUP = 13,
    KAFKA_SYNC_GROUP = 14,
    KAFKA_DESCRIBE_GROUPS = 15,
    KAFKA_LIST_GROUPS = 16,
    KAFKA_API_VERSIONS = 18,
    KAFKA_CREATE_TOPICS = 19,
    KAFKA_DELETE_TOPICS = 20,
    KAFKA_DELETE_RECORDS = 21,
    KAFKA_INIT_PRODUCER_ID = 22,
    KAFKA_EPOCHS = 23,
    KAFKA_DESCRIBE_CONFIGS = 32,
    KAFKA_ALTER_CONFIGS = 33,
    KAFKA_LOG_DIRS = 35,
    KAFKA_CREATE_PARTITIONS = 37,
    KAFKA_INCREMENTAL_ALTER_CONFIGS = 44,
    KAFKA_DESCRIBE_CLUSTER = 60,
    KAFKA_DELETE_GROUPS = 42,
    KAFKA_OFFSET_DELETE = 47,
};

/* Codes that are answered without an err behind them, and those that tests look for. */
enum kafka_code {
    KAFKA_NONE = 0,
    KAFKA_OFFSET_OUT_OF_RANGE = 1,
    KAFKA_CORRUPT_MESSAGE = 2,
    KAFKA_UNKNOWN_TOPIC = 3,
    KAFKA_LEADER_NOT_AVAILABLE = 5,
    KAFKA_NOT_LEADER = 6,
    KAFKA_REQUEST_TIMED_OUT = 7,
    KAFKA_MESSAGE_TOO_LARGE = 10,
    KAFKA_OFFSET_METADATA_TOO_LARGE = 12,
    KAFKA_COORDINATOR_LOADING = 14,
    KAFKA_COORDINATOR_NOT_AVAILABLE = 15,
    KAFKA_NOT_COORDINATOR = 16,
    KAFKA_INVALID_TOPIC = 17,
    KAFKA_INVALID_ACKS = 21,
    KAFKA_ILLEGAL_GENERATION = 22,
    KAFKA_INCONSISTENT_PROTOCOL = 23,
    KAFKA_INVALID_GROUP_ID = 24,
    KAFKA_UNKNOWN_MEMBER = 25,
    KAFKA_INVALID_SESSION_TIMEOUT = 26,
    KAFKA_REBALANCE_IN_PROGRESS = 27,
    KAFKA_TOPIC_DENIED = 29,
    KAFKA_INVALID_TIMESTAMP = 32,
    KAFKA_UNSUPPORTED_VERSION = 35,
    KAFKA_TOPIC_EXISTS = 36,
    KAFKA_INVALID_PARTITIONS = 37,
    KAFKA_INVALID_REPLICATION = 38,
    KAFKA_INVALID_ASSIGNMENT = 39,
    KAFKA_INVALID_CONFIG = 40,
    KAFKA_NOT_CONTROLLER = 41,
    KAFKA_INVALID_REQUEST = 42,
    KAFKA_POLICY_VIOLATION = 44,
    KAFKA_OUT_OF_ORDER_SEQUENCE = 45,
    KAFKA_INVALID_PRODUCER_EPOCH = 47,
    KAFKA_INVALID_TXN_STATE = 48,
    KAFKA_STORAGE_ERROR = 56,
    KAFKA_NON_EMPTY_GROUP = 68,
    KAFKA_GROUP_NOT_FOUND = 69,
    KAFKA_SESSION_NOT_FOUND = 70,
    KAFKA_FENCED_EPOCH = 74,
    KAFKA_UNKNOWN_EPOCH = 75,
    KAFKA_UNSUPPORTED_COMPRESSION = 76,
    KAFKA_OFFSET_NOT_AVAILABLE = 78,
    KAFKA_MEMBER_ID_REQUIRED = 79,
    KAFKA_GROUP_MAX_SIZE = 81,
    KAFKA_FENCED_INSTANCE = 82,
    KAFKA_GROUP_SUBSCRIBED = 86,
    KAFKA_INVALID_RECORD = 87,
    KAFKA_UNKNOWN_TOPIC_ID = 100,
    KAFKA_MISMATCHED_ENDPOINT = 114,
    KAFKA_UNSUPPORTED_ENDPOINT = 115,
};

/* One request, its header read and its body ahead. First in each API's state. */
struct kafka_request {
    struct call *call;
    struct net *net;
    int16_t key, version;
    int32_t correlation;
    bool flexible;
    struct bytes client; /* Who asks, by its own word. */
    struct kafka_reader body;
};

struct kafka_api {
    int16_t key;
    int16_t advertised_min, min, max;
    int16_t flexible_from;
    enum err (*start)(const struct kafka_request *request); /* As protocol.start. */
};

/* In order of key. */
const struct kafka_api *kafka_apis(uint32_t *count);

/* Encodes the body; called twice, see struct kafka_writer. */
typedef void kafka_encode_fn(void *state, struct kafka_writer *writer);

/* Encodes and replies; waits for memory if it must. `request` and `state` are in the arena. */
void kafka_answer(struct kafka_request *request, kafka_encode_fn *encode, void *state);

/* For an answer that waited: what is called again. Kept in the arena beside the state. */
struct kafka_answer {
    struct kafka_request *request;
    kafka_encode_fn *encode;
    void *state;
};

enum { KAFKA_ANSWER_BYTES = 64 }; /* Of the spare room of every arena. */

/* Counts (data NULL) or writes the header of a response of `total` bytes, prefix included. */
void kafka_write_header(const struct kafka_request *request, struct kafka_writer *writer,
                        uint32_t total);

int16_t kafka_code(enum err err);       /* Of everything but Fetch. */
int16_t kafka_code_fetch(enum err err); /* Only what may stand in a Fetch answer. */
int16_t kafka_code_admin(enum err err); /* Of commands to the map. */

/* What an array of brokers says besides id, host and port. */
struct kafka_brokers {
    bool rack, fenced;
};

void kafka_write_brokers(const struct kafka_request *request, const struct kafka_brokers *shape,
                         struct kafka_writer *writer);

enum { KAFKA_CLUSTER_TEXT_BYTES = 23 };

/* 16 bytes as Kafka shows ids: base64url without padding; returns `text`. */
char *kafka_cluster_text(const uint8_t id[16], char text[KAFKA_CLUSTER_TEXT_BYTES]);

/* [a-zA-Z0-9._-]{1,249}, not "." or "..". */
bool kafka_topic_name_valid(struct bytes name);

/* Reads the replicas of a partition placed by hand; right is this cluster's only node, once. */
bool kafka_read_own_replica(const struct kafka_request *request, struct kafka_reader *body);

/* The address of this node as this connection's client knows it: host and port. */
void kafka_write_own_address(const struct kafka_request *request, struct kafka_writer *writer);

/* Finds the partition for data: OK, ERR_TOPIC_UNKNOWN or ERR_NOT_LEADER. */
NODISCARD enum err kafka_find_partition(const struct net *net, const struct map_topic *topic,
                                        int32_t partition, struct partition_id *id);
const struct map *kafka_map(const struct kafka_request *request);

/* The protocol's part of a core: the cache of producer ids. */
NODISCARD enum err kafka_core_open(struct kafka_core **core, struct net *net);
void kafka_core_close(struct kafka_core *core);
bool kafka_core_busy(const struct kafka_core *core); /* A proposal of its own is out. */

enum err kafka_produce_start(const struct kafka_request *request);
enum err kafka_fetch_start(const struct kafka_request *request);
enum err kafka_offsets_start(const struct kafka_request *request);
enum err kafka_metadata_start(const struct kafka_request *request);
enum err kafka_coordinator_start(const struct kafka_request *request);
enum err kafka_versions_start(const struct kafka_request *request);
enum err kafka_create_topics_start(const struct kafka_request *request);
enum err kafka_delete_topics_start(const struct kafka_request *request);
enum err kafka_delete_records_start(const struct kafka_request *request);
enum err kafka_producer_id_start(const struct kafka_request *request);
enum err kafka_epochs_start(const struct kafka_request *request);
enum err kafka_describe_configs_start(const struct kafka_request *request);
enum err kafka_alter_configs_start(const struct kafka_request *request); /* Both of them. */
enum err kafka_log_dirs_start(const struct kafka_request *request);
enum err kafka_create_partitions_start(const struct kafka_request *request);
enum err kafka_describe_cluster_start(const struct kafka_request *request);

/* Fetch alone can be parked, and lends memory until its answer has left. */
void kafka_fetch_cancel(struct call *call);
void kafka_fetch_sent(struct call *call);
