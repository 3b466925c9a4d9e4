/* Every error that the world can cause, once: name and sentence. OK is 0, codes are negative and
 * never change their number within a release. errno becomes an err in core/io.c only; each protocol
 * has one table from err to its wire code. */
#pragma once

#include "core/base.h"

#define ERR_TABLE(X)                                                                               \
    /* The machine. */                                                                             \
    X(ERR_IO, -1, "input/output error")                                                            \
    X(ERR_NO_SPACE, -2, "no space left on the disk")                                               \
    X(ERR_NO_MEMORY, -3, "out of memory")                                                          \
    X(ERR_EXISTS, -4, "already exists")                                                            \
    X(ERR_NOT_FOUND, -5, "not found")                                                              \
    X(ERR_DENIED, -6, "permission denied")                                                         \
    X(ERR_BUSY, -7, "in use by another process")                                                   \
    X(ERR_READ_ONLY, -8, "read-only")                                                              \
    X(ERR_UNSUPPORTED, -9, "not supported here")                                                   \
    X(ERR_TIMEOUT, -10, "timed out")                                                               \
    X(ERR_CANCELED, -11, "canceled")                                                               \
    X(ERR_CLOSED, -12, "closed")                                                                   \
    X(ERR_CONNECTION, -13, "connection lost")                                                      \
    X(ERR_ADDRESS_IN_USE, -14, "address in use")                                                   \
    X(ERR_ADDRESS_INVALID, -15, "address not available on this machine")                           \
    X(ERR_LIMIT, -16, "limit reached")                                                             \
    /* Input. */                                                                                   \
    X(ERR_INVALID, -20, "invalid argument")                                                        \
    X(ERR_TRUNCATED, -21, "input ends too early")                                                  \
    X(ERR_TOO_LARGE, -22, "too large")                                                             \
    X(ERR_VERSION, -23, "unknown version")                                                         \
    X(ERR_CORRUPT, -24, "checksum or structure is wrong")                                          \
    X(ERR_DAMAGED, -25, "stored data is damaged")                                                  \
    X(ERR_FOREIGN, -26, "belongs to something else")                                               \
    /* Record batches (kafka.md B). */                                                             \
    X(ERR_BATCH_INVALID, -40, "record batch is malformed")                                         \
    X(ERR_BATCH_TOO_LARGE, -41, "record batch exceeds max.message.bytes")                          \
    X(ERR_BATCH_CRC, -42, "record batch checksum is wrong")                                        \
    X(ERR_BATCH_TIMESTAMP, -43, "record timestamp is out of bounds or of the wrong type")          \
    X(ERR_BATCH_CODEC, -44, "compression type is not allowed in this request")                     \
    X(ERR_SEQUENCE, -45, "producer sequence is out of order")                                      \
    X(ERR_PRODUCER_EPOCH, -46, "producer epoch is older than the newest")                          \
    X(ERR_BATCH_KEY, -47, "a record without a key, in a topic that is compacted by key")           \
    /* The log. */                                                                                 \
    X(ERR_OFFSET_RANGE, -60, "offset is outside the log")                                          \
    X(ERR_NOT_LEADER, -61, "this node does not lead the partition")                                \
    X(ERR_TOPIC_UNKNOWN, -62, "unknown topic or partition")                                        \
    X(ERR_TOPIC_ID_UNKNOWN, -63, "unknown topic id")                                               \
    X(ERR_TOPIC_INVALID, -64, "topic name is not allowed")                                         \
    X(ERR_PARTITIONS_INVALID, -65, "number of partitions is not allowed")                          \
    X(ERR_REPLICATION_INVALID, -66, "replication factor is not possible on this cluster")          \
    X(ERR_CONFIG_INVALID, -67, "configuration value is not allowed")                               \
    X(ERR_STORAGE, -68, "the log cannot be written now")                                           \
    X(ERR_EPOCH_UNKNOWN, -69, "leader epoch is newer than this node knows")                        \
    X(ERR_EPOCH_FENCED, -70, "leader epoch is too old")                                            \
    X(ERR_NOT_READY, -71, "not ready yet, retry")                                                  \
    X(ERR_STREAM_ID, -72, "stream ID is not above the last one")                                   \
    X(ERR_STOPPING, -73, "the server is stopping: retry when it is back")                          \
    X(ERR_DELETIONS, -74, "too many single records of the log are deleted, trim it first")

enum err {
    OK = 0,

#define X(name, code, text) name = code,
    ERR_TABLE(X)
#undef X
};

/* "ERR_IO"; "OK" for OK; "ERR_?" for a number that is none. Static storage. */
const char *err_name(enum err err);

/* The sentence, without a full stop. Static storage. */
const char *err_text(enum err err);
