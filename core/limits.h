/* Every bound that more than one module relies on: its unit and its reason. */
#pragma once

#include "core/base.h"
#include "core/memory.h"

/* The unit of every disk write: O_DIRECT needs 512 or 4096, and a torn 4 KiB is one torn block. */
enum { DISK_BLOCK_BYTES = 4096 };

/* Kafka's socket.request.max.bytes: no request frame is larger. */
#define REQUEST_FRAME_BYTES_MAX ((uint32_t)MIB(100))

/* Kafka's default max.message.bytes, the 12 bytes of the prefix included (KIP-74, kafka.md 5.14).
 */
#define BATCH_BYTES_MAX_DEFAULT ((uint32_t)1048588)

/* No topic may raise it further: a frame of one batch stays below 2^27 bytes. */
#define BATCH_BYTES_MAX ((uint32_t)MIB(64))

/* What one group commit gathers before the next one begins: above 1 MiB the disk gains nothing. */
#define COMMIT_BYTES_TARGET ((uint32_t)MIB(1))

/* Segments (design.md, section 2). */
#define SEGMENT_RECORDS_DEFAULT ((uint64_t)1000000)
#define SEGMENT_BYTES_DEFAULT   GIB(1)

/* Kafka's rule for names: [a-zA-Z0-9._-]{1,249}, not "." or "..". */
enum { TOPIC_NAME_BYTES_MAX = 249 };

/* librdkafka refuses more than 100 k partitions of a topic. */
enum { TOPIC_PARTITIONS_MAX = 10000 };

/* Where groups of consumers are kept; one record of it may be as large as all that the members of a
 * group bring and get. */
#define TOPIC_OF_OFFSETS             "__consumer_offsets"
#define TOPIC_OF_OFFSETS_BATCH_BYTES ((uint32_t)MIB(2))

/* Of all topics together: what one core can serve, so that any number of cores can. */
enum { PARTITIONS_MAX = 100000 };

/* Smallest memory of one core: one block of each class of the largest default batch, with room. */
#define MEMORY_LIMIT_MIN MIB(64)

_Static_assert(BATCH_BYTES_MAX < REQUEST_FRAME_BYTES_MAX, "a batch fits into a request");
_Static_assert((int)BLOCK_SIZE_MIN == (int)DISK_BLOCK_BYTES, "a memory block can be a disk block");
