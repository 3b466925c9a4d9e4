/* Makes a data directory of many small sealed segments, as the library would have written it, in
 * the time that it takes to write the files: nothing of it is synced.
 *
 *     floe_segments DIR TOPICS PARTITIONS SEGMENTS RECORDS
 *
 * Topics are named t0, t1, ...; record `offset` of a partition is "t<topic>-<partition>-<offset>".
 * A server that is started on it adopts all of them. */
#include "core/crc32c.h"
#include "shard/frame.h"
#include "shard/record.h"
#include "shard/superblock.h"
#include "shard/trailer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { RECORDS_MAX = 64, VALUE_BYTES_MAX = 64, FILE_BYTES_MAX = 64 << 10 };

static const uint64_t time_ms = 1700000000000;

struct shape {
    const char *dir;
    uint32_t topics, partitions, segments, records;
};

/* Where the next segment stands. */
struct place {
    uint32_t topic, partition, segment;
    uint64_t previous_id, previous_digest;
};

static void stop(const char *what, const char *path)
{
    (void)fprintf(stderr, "floe_segments: cannot %s %s\n", what, path);
    exit(1);
}

static void make_directory(const char *path)
{
    if (mkdir(path, 0755) != 0) {
        stop("make", path);
    }
}

static void write_file(const char *path, const uint8_t *data, uint32_t size)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        stop("write", path);
    }
}

static void topic_id_of(uint32_t topic, struct topic_id *id)
{
    memset(id, 0xab, sizeof(*id));
    store_be32(id->bytes, topic);
}

/* The frame of all records at `at`, padded to 8; its size. */
static uint32_t put_frame(const struct segment_header *header, const struct place *place,
                          uint32_t count, uint8_t *at)
{
    static char values[RECORDS_MAX][VALUE_BYTES_MAX];
    struct record_input records[RECORDS_MAX] = {0};
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(values[i], sizeof(values[i]), "t%u-%u-%" PRIu64, place->topic,
                       place->partition, header->base_offset + i);
        records[i].value = bytes_text(values[i]);
        records[i].timestamp = (int64_t)(time_ms + header->base_offset + i);
    }
    uint32_t length = record_batch_size(records, count);
    uint8_t *body = at + FRAME_HEADER_BYTES;
    record_batch_encode(records, count, body + FRAME_ROW_BYTES, length);
    batch_stamp(body + FRAME_ROW_BYTES, header->base_offset, header->epoch);
    frame_row_encode(&(struct frame_row){.length = length, .records = count, .ms = time_ms}, body);
    struct frame_header frame = {
        .salt = header->salt,
        .segment_id = header->segment_id,
        .epoch = header->epoch,
        .body_bytes = FRAME_ROW_BYTES + length,
        .offset_first = header->base_offset,
        .records = count,
        .batches = 1,
        .high_watermark = header->base_offset,
        .chain = header->salt,
        .append_ms = time_ms,
    };
    frame.body_crc = frame_body_crc(body, frame.body_bytes);
    frame_header_encode(&frame, at);
    return frame_size(&frame);
}

/* The trailer behind the only extent, and the seal block that says where it stands; the end of all.
 */
static uint32_t put_trailer(const struct segment_header *header, uint32_t records,
                            const struct extent_header *frames, uint64_t digest, uint8_t *file)
{
    uint64_t end = header->base_offset + records;
    struct segment_index index;
    segment_index_init(&index);
    int64_t newest = (int64_t)(time_ms + end - 1);
    if (segment_index_add(&index, header->base_offset, SEGMENT_DATA_POSITION, time_ms, 0, newest,
                          frames->padded_size) != OK) {
        stop("index", header->name);
    }
    uint32_t body = trailer_size(&index, NULL, NULL);
    uint64_t position = SEGMENT_DATA_POSITION + frames->padded_size;
    uint8_t *at = file + position;
    trailer_encode(&index, NULL, NULL, at + EXTENT_HEADER_BYTES);
    segment_index_deinit(&index);
    struct extent_header extent = {
        .type = EXTENT_TRAILER,
        .salt = header->salt,
        .position = position,
        .padded_size = (uint32_t)align_up(EXTENT_HEADER_BYTES + body, DISK_BLOCK_BYTES),
        .boot = 1,
        .offset_first = end,
        .durable_end = end,
        .chain = digest,
        .frames_or_crc = crc32c(0, at + EXTENT_HEADER_BYTES, body),
    };
    extent_header_encode(&extent, at);
    struct segment_seal seal = {
        .segment_id = header->segment_id,
        .salt = header->salt,
        .end_offset = end,
        .digest = digest,
        .trailer_position = position,
        .trailer_bytes = body,
        .records = records,
        .last_ms = time_ms,
        .last_seq = records - 1,
        .timestamp_max = newest,
        .sealed_ms = time_ms,
    };
    segment_seal_encode(&seal, file + SEGMENT_SEAL_POSITION);
    return (uint32_t)position + extent.padded_size;
}

/* Header, seal block, an extent of one frame, trailer; the size of all. */
static uint32_t put_segment(const struct shape *shape, struct place *place, uint8_t *file)
{
    uint64_t number =
        ((uint64_t)place->topic * shape->partitions + place->partition) * shape->segments +
        place->segment;
    struct segment_header header = {
        .segment_id = number + 1,
        .partition = place->partition,
        .epoch = place->segment + 1,
        .base_offset = (uint64_t)place->segment * shape->records,
        .salt = 0x5a17000000000000ULL + number,
        .replication_factor = 1,
        .ack_quorum = 1,
        .durability = DURABILITY_DISK,
        .created_ms = time_ms,
        .leader_node = 1,
        .member_count = 1,
        .previous_id = place->previous_id,
        .previous_digest = place->previous_digest,
    };
    topic_id_of(place->topic, &header.topic);
    (void)snprintf(header.name, sizeof(header.name), "t%u", place->topic);
    segment_header_encode(&header, file);
    uint8_t *at = file + SEGMENT_DATA_POSITION;
    uint32_t used = put_frame(&header, place, shape->records, at + EXTENT_HEADER_BYTES);
    uint64_t digest = frame_chain(at + EXTENT_HEADER_BYTES);
    struct extent_header extent = {
        .type = EXTENT_FRAMES,
        .salt = header.salt,
        .position = SEGMENT_DATA_POSITION,
        .padded_size = (uint32_t)align_up(EXTENT_HEADER_BYTES + used, DISK_BLOCK_BYTES),
        .boot = 1,
        .offset_first = header.base_offset,
        .durable_end = header.base_offset,
        .chain = header.salt,
        .frames_or_crc = 1,
    };
    extent_header_encode(&extent, at);
    uint32_t size = put_trailer(&header, shape->records, &extent, digest, file);
    place->previous_id = header.segment_id;
    place->previous_digest = digest;
    return size;
}

static void make_partition(const struct shape *shape, const char *topic, struct place *place)
{
    static uint8_t file[FILE_BYTES_MAX];
    char path[512];
    (void)snprintf(path, sizeof(path), "%.400s/%u", topic, place->partition);
    make_directory(path);
    for (place->segment = 0; place->segment < shape->segments; place->segment++) {
        memset(file, 0, sizeof(file));
        uint32_t size = put_segment(shape, place, file);
        (void)snprintf(path, sizeof(path), "%.400s/%u/%016" PRIx64 ".seg", topic, place->partition,
                       place->previous_id);
        write_file(path, file, size);
    }
}

/* Owned by a library whose process died. */
static void make_rooms(const struct shape *shape)
{
    static const char *const rooms[] = {"topics", "pool", "quarantine", "meta", "journal"};
    static uint8_t slots[SUPERBLOCK_SLOTS * SUPERBLOCK_BYTES];
    char path[512];
    make_directory(shape->dir);
    for (uint32_t i = 0; i < ARRAY_COUNT(rooms); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", shape->dir, rooms[i]);
        make_directory(path);
    }
    struct superblock super = {
        .version_min = SUPERBLOCK_VERSION,
        .directory_id = "many segments",
        .disk_id = "on one disk",
        .owner = SUPERBLOCK_LIBRARY,
        .node_id = 1,
        .boot = 1,
        .time_ms = time_ms,
        .next_segment = (uint64_t)shape->topics * shape->partitions * shape->segments + 1,
    };
    superblock_encode(&super, slots);
    superblock_encode(&super, slots + SUPERBLOCK_BYTES);
    (void)snprintf(path, sizeof(path), "%s/superblock", shape->dir);
    write_file(path, slots, sizeof(slots));
    (void)snprintf(path, sizeof(path), "%s/LOCK", shape->dir);
    write_file(path, slots, 0);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        (void)fprintf(stderr, "floe_segments DIR TOPICS PARTITIONS SEGMENTS RECORDS\n");
        return 2;
    }
    uint32_t numbers[4];
    for (uint32_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        numbers[i] = (uint32_t)strtoul(argv[i + 2], NULL, 10);
    }
    struct shape shape = {argv[1], numbers[0], numbers[1], numbers[2], numbers[3]};
    if (shape.records == 0 || shape.records > RECORDS_MAX || shape.segments == 0) {
        stop("make segments of so many records:", argv[5]);
    }
    make_rooms(&shape);
    for (uint32_t topic = 0; topic < shape.topics; topic++) {
        char text[TOPIC_ID_TEXT_BYTES], path[512];
        struct topic_id id;
        topic_id_of(topic, &id);
        (void)snprintf(path, sizeof(path), "%s/topics/%s", shape.dir, topic_id_text(&id, text));
        make_directory(path);
        for (uint32_t partition = 0; partition < shape.partitions; partition++) {
            struct place place = {.topic = topic, .partition = partition};
            make_partition(&shape, path, &place);
        }
    }
    return 0;
}
