/* err -> wire code, once for each family of APIs (kafka.md A5, A7). A client takes what it does not
 * know, and -1, as final: inner failures become codes that it retries. */
#include "core/assert.h"
#include "net/kafka/kafka.h"

#define X(name, number, text) +1
_Static_assert(0 ERR_TABLE(X) == 45, "a new err needs its Kafka code below");
#undef X

int16_t kafka_code(enum err err)
{
    switch (err) {
    case OK:
        return KAFKA_NONE;
    case ERR_IO:
    case ERR_NO_SPACE:
    case ERR_READ_ONLY:
    case ERR_ADDRESS_IN_USE:
    case ERR_ADDRESS_INVALID:
    case ERR_DAMAGED:
    case ERR_FOREIGN:
    case ERR_STORAGE:
        return KAFKA_STORAGE_ERROR;
    case ERR_NO_MEMORY:
    case ERR_BUSY:
    case ERR_TIMEOUT:
    case ERR_CANCELED:
    case ERR_LIMIT:
        return KAFKA_REQUEST_TIMED_OUT;
    case ERR_CLOSED:
    case ERR_CONNECTION:
    case ERR_NOT_LEADER:
    case ERR_NOT_READY:
        return KAFKA_NOT_LEADER;
    case ERR_EXISTS:
        return KAFKA_TOPIC_EXISTS;
    case ERR_NOT_FOUND:
    case ERR_TOPIC_UNKNOWN:
        return KAFKA_UNKNOWN_TOPIC;
    case ERR_DENIED:
        return KAFKA_TOPIC_DENIED;
    case ERR_UNSUPPORTED:
    case ERR_VERSION:
        return KAFKA_UNSUPPORTED_VERSION;
    case ERR_INVALID:
    case ERR_DELETIONS: /* No request of Kafka's deletes single records. */
        return KAFKA_INVALID_REQUEST;
    case ERR_TRUNCATED:
    case ERR_CORRUPT:
    case ERR_BATCH_CRC:
        return KAFKA_CORRUPT_MESSAGE;
    case ERR_TOO_LARGE:
    case ERR_BATCH_TOO_LARGE:
        return KAFKA_MESSAGE_TOO_LARGE;
    case ERR_BATCH_INVALID:
    case ERR_BATCH_KEY:
    case ERR_STREAM_ID: /* Of what a client appends none is left. */
        return KAFKA_INVALID_RECORD;
    case ERR_BATCH_TIMESTAMP:
        return KAFKA_INVALID_TIMESTAMP;
    case ERR_BATCH_CODEC:
        return KAFKA_UNSUPPORTED_COMPRESSION;
    case ERR_SEQUENCE:
    case ERR_PRODUCER_EPOCH:
        return err == ERR_SEQUENCE ? KAFKA_OUT_OF_ORDER_SEQUENCE : KAFKA_INVALID_PRODUCER_EPOCH;
    case ERR_OFFSET_RANGE:
        return KAFKA_OFFSET_OUT_OF_RANGE;
    case ERR_TOPIC_ID_UNKNOWN:
        return KAFKA_UNKNOWN_TOPIC_ID;
    case ERR_TOPIC_INVALID:
        return KAFKA_INVALID_TOPIC;
    case ERR_PARTITIONS_INVALID:
    case ERR_REPLICATION_INVALID:
        return err == ERR_PARTITIONS_INVALID ? KAFKA_INVALID_PARTITIONS : KAFKA_INVALID_REPLICATION;
    case ERR_CONFIG_INVALID:
        return KAFKA_INVALID_CONFIG;
    case ERR_EPOCH_UNKNOWN:
    case ERR_EPOCH_FENCED:
        return err == ERR_EPOCH_UNKNOWN ? KAFKA_UNKNOWN_EPOCH : KAFKA_FENCED_EPOCH;
    }
    UNREACHABLE();
}

int16_t kafka_code_fetch(enum err err)
{
    int16_t code = kafka_code(err);
    static const int16_t legal[] = {
        KAFKA_NONE,
        KAFKA_OFFSET_OUT_OF_RANGE,
        KAFKA_CORRUPT_MESSAGE,
        KAFKA_UNKNOWN_TOPIC,
        KAFKA_NOT_LEADER,
        KAFKA_TOPIC_DENIED,
        KAFKA_STORAGE_ERROR,
        KAFKA_FENCED_EPOCH,
        KAFKA_UNKNOWN_EPOCH,
        KAFKA_OFFSET_NOT_AVAILABLE,
        KAFKA_UNKNOWN_TOPIC_ID,
    };
    for (uint32_t i = 0; i < ARRAY_COUNT(legal); i++) {
        if (legal[i] == code) {
            return code;
        }
    }
    /* Clients take 78 as: refresh and retry. Java throws at anything that is not in the list. */
    return KAFKA_OFFSET_NOT_AVAILABLE;
}

int16_t kafka_code_admin(enum err err)
{
    int16_t code = kafka_code(err);
    return code == KAFKA_NOT_LEADER ? (int16_t)KAFKA_REQUEST_TIMED_OUT : code;
}
