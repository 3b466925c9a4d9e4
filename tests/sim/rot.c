/* See the header. */
#include "tests/sim/rot.h"

#include "core/assert.h"
#include "core/bytes.h"
#include "core/limits.h"
#include "meta/entry.h"
#include "meta/raft_log_internal.h"
#include "shard/frame.h"
#include "shard/segment.h"

#include <raft.h>
#include <stdlib.h>
#include <string.h>

enum { PLACES_MAX = 256, MILESTONES_MAX = 4, ROT_BYTES_MAX = 3 };

/* An extent of frames in a file. */
struct place {
    uint64_t position, offset, durable_end;
    uint32_t used; /* Bytes, without padding. */
    uint32_t size; /* With it. */
};

struct rot {
    struct disk *disk;
    const struct sim_map *map;
    struct check *check;
    struct prng *prng;
    const struct sim_map_partition *mapped;
    const struct segment_info *info;
    int32_t inode;
    bool sealed; /* In the map, or by its seal block. */
    bool has_seal, unsure;
    struct segment_seal seal;
    uint64_t milestone;                      /* Where the last index stands; 0: there is none. */
    struct place milestones[MILESTONES_MAX]; /* The last ones; index and producers. */
    uint32_t milestone_count;
    struct place places[PLACES_MAX];
    uint32_t count;
    uint64_t position; /* What is rotten. */
};

static uint64_t rot_end(const struct rot *rot)
{
    return !rot->sealed                         ? UINT64_MAX
           : rot->info->state == SEGMENT_SEALED ? rot->info->end_offset
                                                : rot->seal.end_offset;
}

static void rot_read(struct rot *rot)
{
    uint8_t block[DISK_BLOCK_BYTES];
    uint32_t size = disk_read(rot->disk, rot->inode, block, sizeof(block), SEGMENT_SEAL_POSITION);
    rot->has_seal = size == sizeof(block) && segment_seal_decode(block, &rot->seal) == OK;
    /* What a kill left in a cache may still be lost. */
    rot->unsure = rot->has_seal &&
                  !disk_is_durable(rot->disk, rot->inode, SEGMENT_SEAL_POSITION, DISK_BLOCK_BYTES);
    rot->sealed = rot->info->state == SEGMENT_SEALED || rot->has_seal;
    uint64_t position = SEGMENT_DATA_POSITION;
    while (rot->count < PLACES_MAX) {
        uint8_t head[EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES];
        struct extent_header extent;
        struct frame_header frame;
        size = disk_read(rot->disk, rot->inode, head, sizeof(head), position);
        if (size < sizeof(head) ||
            extent_header_at(head, rot->info->salt, position, &extent) != OK ||
            extent.padded_size == 0 || extent.type == EXTENT_TRAILER) {
            break;
        }
        if (extent.type == EXTENT_FRAMES) {
            if (frame_header_decode(head + EXTENT_HEADER_BYTES, &frame) != OK) {
                break;
            }
            rot->places[rot->count++] =
                (struct place){position, extent.offset_first, extent.durable_end,
                               (uint32_t)sizeof(head) + frame.body_bytes, extent.padded_size};
        }
        if (extent.type != EXTENT_FRAMES && position > SEGMENT_DATA_POSITION) {
            rot->milestones[rot->milestone_count++ % MILESTONES_MAX] =
                (struct place){.position = position, .used = 144, .size = extent.padded_size};
        }
        rot->milestone = extent.type == EXTENT_INDEX ? position : rot->milestone;
        position += extent.padded_size;
    }
    /* Of an open file only what a later extent proves: a bad last one looks torn. */
    if (!rot->sealed && rot->count > 0) {
        uint64_t proven = rot->places[--rot->count].durable_end;
        while (rot->count > 0 && rot->places[rot->count - 1].offset >= proven) {
            rot->count--;
        }
    }
    /* Control frames behind the last record of a sealed one: nobody reads them any more. */
    while (rot->sealed && rot->count > 0 && rot->places[rot->count - 1].offset >= rot_end(rot)) {
        rot->count--;
    }
}

/* One to three bytes somewhere in [position, position + size). */
static void rot_bytes(struct rot *rot, uint64_t position, uint64_t size)
{
    for (uint64_t i = 1 + prng_below(rot->prng, ROT_BYTES_MAX); i > 0; i--) {
        disk_rot(rot->disk, rot->inode, position + prng_below(rot->prng, size), 1);
    }
}

/* The frame is whole and the bytes of its batches are right, but it is not the one written. */
static void rot_forge(struct rot *rot, const struct place *place)
{
    uint8_t header[FRAME_HEADER_BYTES];
    struct frame_header frame;
    uint64_t position = place->position + EXTENT_HEADER_BYTES;
    uint32_t size = disk_read(rot->disk, rot->inode, header, sizeof(header), position);
    enum err err = frame_header_decode(header, &frame);
    ASSERT(size == sizeof(header) && err == OK);
    frame.append_ms++;
    frame_header_encode(&frame, header);
    struct disk_write write = {rot->inode, header, sizeof(header), position, true};
    err = disk_write(rot->disk, &write);
    ASSERT(err == OK);
}

/* Puts the first bytes of `data` where a frame was; as much as it had blocks. */
static void rot_put(struct rot *rot, const struct place *place, const uint8_t *data, uint32_t size)
{
    struct disk_write write = {rot->inode, data, min_u32(size, place->size), place->position, true};
    enum err err = disk_write(rot->disk, &write);
    ASSERT(err == OK);
}

/* A write meant for this place went elsewhere: what was there before is still there. */
static void rot_miss(struct rot *rot, const struct place *place)
{
    uint8_t *zeros = calloc(1, place->size);
    ASSERT(zeros != NULL);
    rot_put(rot, place, zeros, place->size);
    free(zeros);
}

/* A write meant for elsewhere landed here: whole frames of another segment, of this one at another
 * place if there is no other. False: there is none to be found. */
static bool rot_stray(struct rot *rot, const struct place *place)
{
    uint32_t number = (uint32_t)prng_below(rot->prng, sim_map_partition_count(rot->map));
    const struct sim_map_partition *mapped = sim_map_partition(rot->map, number);
    uint64_t position = rot->places[prng_below(rot->prng, rot->count)].position;
    int32_t inode = rot->inode;
    if (!mapped->deleted && mapped->segment_count > 0 && prng_chance(rot->prng, 60)) {
        uint64_t at = prng_below(rot->prng, mapped->segment_count);
        inode = check_file_find(rot->disk, mapped, &mapped->segments[at].info);
        position = prng_chance(rot->prng, 50) ? place->position : SEGMENT_DATA_POSITION;
    }
    if (inode < 0 || (inode == rot->inode && position == place->position)) {
        return false;
    }
    uint8_t *data = calloc(1, place->size);
    ASSERT(data != NULL);
    uint32_t size = disk_read(rot->disk, inode, data, place->size, position);
    struct extent_header extent;
    bool frames = size >= EXTENT_HEADER_BYTES && extent_header_decode(data, &extent) == OK;
    if (frames) {
        rot_put(rot, place, data, place->size);
    }
    free(data);
    return frames;
}

/* So much was durable, as the extents of the file say, but for the one at `position`; as far as
 * their headers go, where a start looks for it. */
static uint64_t rot_proven(const struct disk *disk, int32_t inode, uint64_t salt, uint64_t position)
{
    uint64_t proven = 0;
    uint64_t size = disk_size(disk, inode);
    for (uint64_t at = SEGMENT_DATA_POSITION; at < size; at += DISK_BLOCK_BYTES) {
        uint8_t head[EXTENT_HEADER_BYTES];
        struct extent_header extent;
        uint32_t got = disk_read(disk, inode, head, sizeof(head), at);
        if (at != position && got == sizeof(head) &&
            extent_header_at(head, salt, at, &extent) == OK) {
            proven = max_u64(proven, extent.durable_end);
        }
    }
    return proven;
}

/* What an extent of an open segment needs to be damaged for good. `forged`: it is read, and the
 * next one meets what is wrong. */
static void rot_prove(const struct rot *rot, const struct place *place, bool forged)
{
    const struct segment_info *info = rot->info;
    if (rot->sealed) {
        return;
    }
    const struct check_proof proof = {
        .segment_id = info->id,
        .position = place->position,
        .wanted = place[1].offset + forged, /* A later one stands there: see rot_read(). */
        .proven = rot_proven(rot->disk, rot->inode, info->salt, place->position),
    };
    check_proven(rot->check, rot->mapped->number, &proof);
}

void rot_again(const struct disk *disk, const struct sim_map *map, struct check *check)
{
    for (uint32_t i = 0; i < sim_map_partition_count(map); i++) {
        const struct sim_map_partition *mapped = sim_map_partition(map, i);
        struct check_proof *proof = check_proof(check, i);
        if (proof == NULL || mapped->segment_count == 0) {
            continue;
        }
        const struct segment_info *info = &mapped->segments[mapped->segment_count - 1].info;
        int32_t inode = check_file_find(disk, mapped, info);
        if (info->id == proof->segment_id && inode >= 0) {
            proof->proven =
                min_u64(proof->proven, rot_proven(disk, inode, info->salt, proof->position));
        }
    }
}

static const char *rot_frame(struct rot *rot)
{
    uint32_t at = (uint32_t)prng_below(rot->prng, rot->count);
    const struct place *place = &rot->places[at];
    bool followed = rot->sealed || at + 1 < rot->count; /* The next one would look torn. */
    uint32_t blocks = (uint32_t)div_ceil(place->used, DISK_BLOCK_BYTES);
    rot->position = place->position;
    check_rotted(rot->check, rot->mapped->number, place->offset, rot_end(rot), !rot->sealed);
    if (place->position < rot->milestone) {
        check_covered(rot->check, rot->mapped->number);
    }
    if (!rot->sealed && followed && prng_chance(rot->prng, 50)) {
        rot_forge(rot, place); /* Only the next one's chain can tell. */
        rot_prove(rot, place, true);
        return "another frame";
    }
    rot_prove(rot, place, false);
    switch (prng_below(rot->prng, followed ? 6 : 5)) {
    case 3:
        if (rot_stray(rot, place)) {
            check_strayed(rot->check);
            return "a write of elsewhere";
        }
        rot_miss(rot, place);
        return "a write that went elsewhere, none came here";
    case 4:
        rot_miss(rot, place);
        return "a write that went elsewhere";
    case 5:
        rot_forge(rot, place);
        rot_prove(rot, place, true);
        return "another frame";
    case 2:
        disk_rot(rot->disk, rot->inode,
                 place->position + prng_below(rot->prng, blocks) * DISK_BLOCK_BYTES,
                 DISK_BLOCK_BYTES);
        return "a block of a frame";
    default:
        rot_bytes(rot, place->position, place->used);
        return "bytes of a frame";
    }
}

/* Nothing depends on it. */
static const char *rot_milestone(struct rot *rot)
{
    uint32_t count = min_u32(rot->milestone_count, MILESTONES_MAX);
    const struct place *place = &rot->milestones[prng_below(rot->prng, count)];
    rot->position = place->position;
    check_milestone_rotted(rot->check, rot->mapped->number);
    switch (prng_below(rot->prng, 6)) {
    case 0:
        rot_miss(rot, place);
        return "a milestone that went elsewhere";
    case 1:
        disk_rot(rot->disk, rot->inode, place->position, DISK_BLOCK_BYTES);
        return "a block of a milestone";
    case 2:
        rot_bytes(rot, place->position, EXTENT_HEADER_BYTES);
        return "the header of a milestone";
    default:
        rot_bytes(rot, place->position + EXTENT_HEADER_BYTES, place->used);
        return "bytes of a milestone";
    }
}

static const char *rot_segment(struct rot *rot)
{
    if (rot->count == 0 || rot->unsure) {
        return NULL; /* Perhaps nothing of it was ever durable, not even its name. */
    }
    if (rot->milestone > 0 && prng_chance(rot->prng, 40)) {
        return rot_milestone(rot);
    }
    switch (prng_below(rot->prng, 8)) {
    case 0:
        rot_bytes(rot, 0, SEGMENT_HEADER_BYTES);
        rot->sealed = rot->info->state == SEGMENT_SEALED; /* Its seal block is not asked. */
        check_rotted(rot->check, rot->mapped->number, rot->info->base_offset, rot_end(rot),
                     !rot->sealed);
        return "the header";
    case 1: /* Then the file is read from start to end, and nothing is lost. */
    case 2:
        if (!rot->has_seal) {
            return NULL;
        }
        check_rotted(rot->check, rot->mapped->number, 0, 0, false);
        rot->position = SEGMENT_SEAL_POSITION;
        if (prng_chance(rot->prng, 50)) {
            rot_bytes(rot, SEGMENT_SEAL_POSITION, 112);
            return "the seal block";
        }
        rot->position = rot->seal.trailer_position;
        rot_bytes(rot, rot->seal.trailer_position, EXTENT_HEADER_BYTES + rot->seal.trailer_bytes);
        return "the trailer";
    default:
        return rot_frame(rot);
    }
}

/* The last frame of the real map's log: where it is, and the commands in it. */
struct last_frame {
    int32_t inode;
    uint64_t sequence, position, bytes;
    uint32_t commands;
};

static uint32_t frame_commands(const uint8_t *frame, uint64_t bytes)
{
    uint32_t commands = 0;
    const uint8_t *records = frame + RAFT_LOG_FRAME_BYTES;
    struct bytes_reader reader =
        bytes_reader(bytes_of(records, (uint32_t)(bytes - RAFT_LOG_FRAME_BYTES)));
    while (bytes_left(&reader) > 0 && !reader.failed) {
        struct entry_reader entry;
        read_skip(&reader, 16);
        uint32_t size = read_le32(&reader);
        bool adds = read_u8(&reader) == RAFT_LOG_ENTRY;
        bool carries = read_u8(&reader) == RAFT_COMMAND;
        read_skip(&reader, 2);
        struct bytes data = read_bytes(&reader, size);
        read_skip(&reader, (uint32_t)align_up(size, 8) - size);
        if (adds && carries && entry_open(&entry, data) == OK) {
            commands += entry.left;
        }
    }
    ASSERT(!reader.failed);
    return commands;
}

/* Frames of a file that check; what a file held before it was begun anew has smaller sequences. */
static void last_frame_find(const struct disk *disk, const char *name, struct last_frame *last)
{
    int32_t inode = disk_find(disk, name);
    uint64_t size = inode < 0 ? 0 : disk_size(disk, inode);
    uint8_t *data = malloc(max_u64(1, size));
    ASSERT(data != NULL);
    for (uint64_t at = 0; at < size; at += disk_read(disk, inode, data + at, DISK_PAGE_BYTES, at)) {
    }
    for (uint64_t at = 0; at + DISK_BLOCK_BYTES <= size; at += DISK_BLOCK_BYTES) {
        const uint8_t *frame = data + at;
        uint64_t bytes = RAFT_LOG_FRAME_BYTES + (uint64_t)load_le32(frame + 48);
        if (memcmp(frame, RAFT_LOG_MAGIC, 8) == 0 && at + bytes <= size &&
            load_le64(frame + 32) > last->sequence &&
            load_le32(frame + 12) == raft_log_crc(frame, bytes)) {
            *last = (struct last_frame){inode, load_le64(frame + 32), at, bytes,
                                        frame_commands(frame, bytes)};
        }
    }
    free(data);
}

const char *rot_map(struct disk *disk, struct prng *prng, uint32_t *lost)
{
    static const char *const names[] = {"data/meta/log-0", "data/meta/log-1", "data/meta/term"};
    const char *name = names[prng_below(prng, ARRAY_COUNT(names))];
    int32_t inode = disk_find(disk, name);
    if (inode < 0 || disk_size(disk, inode) == 0) {
        return NULL;
    }
    struct last_frame last = {0};
    last_frame_find(disk, names[0], &last);
    last_frame_find(disk, names[1], &last);
    /* Half of the files are rarely full: rather at their beginning. */
    uint64_t size = disk_size(disk, inode) >> prng_below(prng, 5);
    uint64_t at = prng_below(prng, max_u64(size, 1));
    uint32_t bytes;
    if (prng_chance(prng, 50)) {
        at = at / DISK_BLOCK_BYTES * DISK_BLOCK_BYTES;
        bytes = DISK_BLOCK_BYTES;
    } else {
        bytes = 1 + (uint32_t)prng_below(prng, ROT_BYTES_MAX);
    }
    disk_rot(disk, inode, at, bytes);
    bool hit = inode == last.inode && at < last.position + last.bytes && at + bytes > last.position;
    *lost = hit ? last.commands : 0;
    return name;
}

/* The file of the segment is there, and read; false: it is not to be touched. */
static bool rot_look(struct rot *rot, uint32_t number, uint32_t at)
{
    const struct sim_map_partition *mapped = sim_map_partition(rot->map, number);
    rot->mapped = mapped;
    rot->info = &mapped->segments[at].info;
    rot->inode = check_file_find(rot->disk, mapped, rot->info);
    if (rot->inode < 0 || mapped->segments[at].gone ||
        disk_size(rot->disk, rot->inode) <= SEGMENT_DATA_POSITION) {
        return false;
    }
    rot_read(rot);
    return true;
}

static bool rot_may(const struct rot *rot, uint32_t number)
{
    const struct sim_map_partition *mapped = sim_map_partition(rot->map, number);
    return !mapped->deleted && mapped->segment_count > 0 && !check_is_touched(rot->check, number);
}

/* An open segment whose file has a milestone: there are few. */
static bool rot_find_milestone(struct rot *rot)
{
    const struct rot blank = *rot;
    for (uint32_t i = 0; i < sim_map_partition_count(rot->map); i++) {
        const struct sim_map_partition *mapped = sim_map_partition(rot->map, i);
        *rot = blank;
        if (rot_may(rot, i) && rot_look(rot, i, mapped->segment_count - 1) && !rot->sealed &&
            rot->milestone > 0) {
            return true;
        }
    }
    *rot = blank;
    return false;
}

static const char *rot_any(struct rot *rot)
{
    uint32_t number = (uint32_t)prng_below(rot->prng, sim_map_partition_count(rot->map));
    if (!rot_may(rot, number)) {
        return NULL;
    }
    uint32_t count = sim_map_partition(rot->map, number)->segment_count;
    uint32_t at = prng_chance(rot->prng, 60) ? count - 1 : (uint32_t)prng_below(rot->prng, count);
    return rot_look(rot, number, at) ? rot_segment(rot) : NULL;
}

const char *rot_some(struct disk *disk, const struct sim_map *map, struct check *check,
                     struct prng *prng, struct rot_place *where)
{
    if (sim_map_partition_count(map) == 0) {
        return NULL;
    }
    struct rot *rot = calloc(1, sizeof(*rot));
    ASSERT(rot != NULL);
    *rot = (struct rot){.disk = disk, .map = map, .check = check, .prng = prng};
    const char *what = NULL;
    if (prng_chance(prng, 40) || !rot_find_milestone(rot)) {
        what = rot_any(rot);
    } else if (rot->count > 0 && prng_chance(prng, 50)) {
        what = rot_frame(rot);
    } else {
        what = rot_milestone(rot);
    }
    if (what != NULL) {
        *where = (struct rot_place){rot->mapped->number, rot->info->id, rot->position};
    }
    free(rot);
    return what;
}
