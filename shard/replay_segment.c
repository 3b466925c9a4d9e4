/* One segment after the other: where its file ends, and which frames of the journals follow.
 *
 *     OPEN -> SYNC -> HEAD -> WALK ... -> [HUNT ...] -> WRITE ... -> SYNC_WRITTEN -> CLOSE -> next
 *               ^---- RENEW -> CLOSE_OLD: a sync or a write failed; once
 *
 * A file that failed is made anew (renew.h) and looked at from its start: what is read of the old
 * one may be in a cache alone, and a later sync would not say so. A second failure ends the start.
 *
 * The named cases (storage.md C):
 *     sealed            its frames are not replayed; nothing of it is remembered
 *     no file, or the   missing: what was in it is lost, not empty
 *     file of another
 *     torn tail         nothing says that more was durable than file and journal have: frames that
 *                       follow are appended behind the sound end
 *     milestone bad     extents of frames follow behind it without a gap: it is passed over
 *     gap               extents that are sound follow behind a bad one, and the journals have just
 *                       what is missing between: it is put back in its place, as one extent of
 *                       exactly that size, so that no block of another extent is touched
 *     damage            more was durable. If the file has later extents, nothing is written over
 *                       them, and the journals stay named: they may have what is missing
 *     journal hole      suspect, unless an entry behind the hole says that all of it is here
 *
 * What is remembered goes into the next MANIFEST, so that no later start forgets it: so does where
 * a file ends that was completed here, or what goes bad behind would look torn. */
#include "shard/replay.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/limits.h"
#include "core/log.h"
#include "shard/walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
#ifdef FLOE_SIM
    REPLAY_EXTENT_BYTES = 2 << 10, /* So that a segment takes several. */
#else
    REPLAY_EXTENT_BYTES = 256 << 10,
#endif
    REPLAY_HEALS_MAX = 64,
};

enum segment_step {
    STEP_OPEN,
    STEP_SYNC,
    STEP_HEAD,
    STEP_WALK,
    STEP_HUNT,
    STEP_HEAL,
    STEP_WRITE,
    STEP_SYNC_WRITTEN,
    STEP_CLOSE,
    STEP_CLOSE_OLD,
    STEP_STOP,
};

struct replay_walk {
    struct replay *replay;
    struct walk walk;
    struct replay_later later;
    uint32_t heals;
    int fd;
    uint64_t hunted;    /* Where the last extent behind the sound end begins. */
    uint32_t asked;     /* Bytes of the read under way. */
    uint32_t next, end; /* Entries: the next frame to write, and behind the last one. */
    uint64_t reach;     /* Where the frames that follow end. */
    uint64_t whole;     /* As that, once they are all in the file. */
    uint8_t *out;       /* The extent that is written. */
    bool dirty;         /* Written, and not synced. */
    bool renewed;       /* A file that failed was made anew. */
    struct replay_renew renew;
    struct completion done; /* Of that. */
    char path[REPLAY_PATH_BYTES];
};

static void segment_step(struct completion *done);

static struct replay_segment *segment_now(struct replay *replay)
{
    return &replay->segments[replay->segment_at];
}

static void segment_go(struct replay *replay, enum segment_step state)
{
    replay->state = (int)state;
    completion_init(&replay->io.done, segment_step);
    io_submit(replay->reactor, &replay->io);
}

static void segment_read(struct replay *replay, enum segment_step state, uint64_t position,
                         uint64_t size)
{
    struct replay_walk *walk = replay->walk;
    walk->asked = (uint32_t)min_u64(size, INT32_MAX & ~(DISK_BLOCK_BYTES - 1));
    replay->state = (int)state;
    completion_init(&replay->io.done, segment_step);
    enum err err = replay_read(replay, walk->fd, position, walk->asked);
    if (err != OK) {
        snprintf(replay->message, sizeof(replay->message), "cannot read %.300s: %s", walk->path,
                 err_text(err));
        replay_finish(replay, err);
    }
}

static void segment_next(struct replay *replay)
{
    struct replay_walk *walk = replay->walk;
    free(walk->out);
    free(walk->later.rows);
    *walk = (struct replay_walk){.fd = -1};
    while (replay->segment_at < replay->segment_count && !segment_now(replay)->known) {
        COVER("a journal has frames of a segment without a record");
        replay->segment_at++; /* Its evidence stays; see journals.c. */
    }
    if (replay->segment_at == replay->segment_count) {
        free(replay->walk);
        replay->walk = NULL;
        replay_finish(replay, OK);
        return;
    }
    const struct segment_record *record = &segment_now(replay)->record;
    char topic[TOPIC_ID_TEXT_BYTES];
    (void)snprintf(walk->path, sizeof(walk->path), "%s/topics/%s/%u/%016" PRIx64 ".seg",
                   replay->options.data_dir, topic_id_text(&record->topic, topic),
                   record->partition, record->segment_id);
    io_open(&replay->io, walk->path,
            IO_OPEN_WRITE | (replay->options.direct ? IO_OPEN_DIRECT : 0U));
    segment_go(replay, STEP_OPEN);
}

static void segment_close(struct replay *replay)
{
    struct replay_walk *walk = replay->walk;
    if (walk->fd < 0) {
        replay->segment_at++;
        segment_next(replay);
        return;
    }
    if (walk->dirty && !MUTANT("replayed-cached")) {
        walk->dirty = false;
        replay->segments_written++;
        io_sync(&replay->io, walk->fd);
        segment_go(replay, STEP_SYNC_WRITTEN);
        return;
    }
    /* Its extents do not say so: they were written before they were durable. */
    segment_now(replay)->evidence = max_u64(segment_now(replay)->evidence, walk->whole);
    io_close(&replay->io, walk->fd);
    segment_go(replay, STEP_CLOSE);
}

/* What is known of it is more than its file will say. */
static void segment_mark(struct replay *replay, uint32_t mark, uint64_t maybe_end)
{
    struct replay_segment *segment = segment_now(replay);
    segment->record.marks |= mark;
    segment->evidence = max_u64(segment->evidence, maybe_end);
    LOG_ERROR("records of a segment are lost, or may be segment=%016" PRIx64
              " partition=%u base=%" PRIu64 " maybe=%" PRIu64 " file=%s",
              segment->record.segment_id, segment->record.partition, segment->record.base_offset,
              segment->evidence, replay->walk->path);
}

/* The file can be neither read nor written: the frames stay where they are. */
static void segment_fail(struct replay *replay, enum err err)
{
    struct replay_walk *walk = replay->walk;
    struct replay_segment *segment = segment_now(replay);
    uint64_t end = segment->evidence;
    for (uint32_t i = segment->first; i < segment->first + segment->count; i++) {
        end = max_u64(end, replay->entries[i].offset_end);
    }
    COVER("a file fails while a journal is replayed");
    LOG_ERROR("a file cannot be completed from the journal file=%s err=%s", walk->path,
              err_name(err));
    segment_mark(replay, SEGMENT_MARK_SUSPECT, end);
    replay->retained = replay->retained || segment->count > 0;
    walk->whole = 0;
    walk->dirty = false;
    segment_close(replay);
}

static void segment_end(struct replay *replay, enum err err)
{
    free(replay->walk->out);
    free(replay->walk->later.rows);
    free(replay->walk);
    replay->walk = NULL;
    replay_finish(replay, err);
}

static void segment_renewed(struct completion *done)
{
    struct replay_walk *walk = CONTAINER_OF(done, struct replay_walk, done);
    struct replay *replay = walk->replay;
    if (done->result < 0) {
        replay->err = (enum err)done->result;
        snprintf(replay->message, sizeof(replay->message),
                 "%.300s failed, and then what was to take its place: %s. What was acked is safe. "
                 "Look at the disk (dmesg, smartctl, df), then start floe again",
                 walk->path, err_text(replay->err));
        io_close(&replay->io, walk->fd);
        segment_go(replay, STEP_STOP);
        return;
    }
    int fd = walk->fd;
    walk->fd = done->result;
    segment_now(replay)->record.marks &= ~(uint32_t)SEGMENT_MARK_FAILED;
    io_close(&replay->io, fd);
    segment_go(replay, STEP_CLOSE_OLD);
}

static void segment_make_anew(struct replay *replay)
{
    struct replay_walk *walk = replay->walk;
    walk->renewed = true;
    walk->whole = 0;
    walk->dirty = false;
    walk->replay = replay;
    completion_init(&walk->done, segment_renewed);
    replay_renew_start(&walk->renew, replay, walk->fd, walk->path, &walk->done);
}

/* Does what failed ask for a new file? */
static bool segment_renew(struct replay *replay, enum segment_step step, enum err err)
{
    struct replay_walk *walk = replay->walk;
    bool wrote =
        step == STEP_SYNC || step == STEP_HEAL || step == STEP_WRITE || step == STEP_SYNC_WRITTEN;
    if (!wrote || err == ERR_NO_SPACE) {
        return false;
    }
    if (walk->renewed) {
        completion_init(&walk->done, segment_renewed);
        completion_fire(replay->reactor, &walk->done, err);
        return true;
    }
    segment_make_anew(replay);
    return true;
}

/* No descriptor is left: that says nothing about the file, and the next start may have one. */
static void segment_refused(struct replay *replay)
{
    COVER("no descriptor is left for a file of which a journal speaks");
    snprintf(replay->message, sizeof(replay->message),
             "cannot open %.300s: no descriptor is left. Raise the limit of open files (ulimit -n, "
             "LimitNOFILE=, fs.file-max)",
             replay->walk->path);
    segment_end(replay, ERR_LIMIT);
}

/* Which frames follow the sound end of the file. */
static void segment_find_frames(struct replay *replay)
{
    struct replay_walk *walk = replay->walk;
    const struct replay_segment *segment = segment_now(replay);
    uint64_t chain = walk->walk.chain;
    uint32_t at = segment->first;
    struct replay_entry *entry;
    walk->reach = walk->walk.offset;
    walk->next = segment->first;
    walk->end = segment->first;
    while ((entry = replay_frame_next(replay, segment, &at, walk->reach, chain)) != NULL) {
        struct replay_entry taken = *entry;
        walk->reach = taken.offset_end;
        chain = taken.chain_end;
        /* Those that were passed are not needed, or are on their way to the front. */
        *entry = replay->entries[walk->end];
        replay->entries[walk->end++] = taken;
    }
}

/* Room for an extent of `bytes`. */
static bool segment_make_out(struct replay_walk *walk, uint64_t bytes)
{
    free(walk->out);
    walk->out = bytes > INT32_MAX ? NULL : aligned_alloc(DISK_BLOCK_BYTES, bytes);
    return walk->out != NULL;
}

/* Writes entries [next, end) as one extent of `size` bytes, at the sound end. */
static void segment_put(struct replay *replay, enum segment_step step, uint32_t end, uint32_t size,
                        uint32_t boot)
{
    struct replay_walk *walk = replay->walk;
    const struct replay_entry *first = &replay->entries[walk->next];
    uint32_t used = EXTENT_HEADER_BYTES;
    struct extent_header extent = {
        .type = EXTENT_FRAMES,
        .salt = walk->walk.salt,
        .position = walk->walk.position,
        .padded_size = size,
        .boot = boot,
        .offset_first = first->offset_first,
        .durable_end = min_u64(segment_now(replay)->evidence, first->offset_first),
        .chain = first->chain,
        .frames_or_crc = end - walk->next,
    };
    for (; walk->next < end; walk->next++) {
        const struct replay_entry *entry = &replay->entries[walk->next];
        memcpy(walk->out + used, entry->frame, entry->size);
        used += entry->size;
    }
    memset(walk->out + used, 0, size - used);
    extent_header_encode(&extent, walk->out);
    walk->dirty = true;
    replay->frames_written += extent.frames_or_crc;
    replay->bytes_written += size;
    io_write(&replay->io, walk->fd, walk->out, size, extent.position, 0);
    segment_go(replay, step);
}

/* Puts back what is missing between two sound extents; false: that is not what it is. */
static bool segment_heal(struct replay *replay)
{
    struct replay_walk *walk = replay->walk;
    uint32_t end;
    const struct later_extent *later =
        replay_later_find(&walk->later, &replay->entries[walk->next], walk->end - walk->next,
                          walk->walk.position, &end);
    end += walk->next;
    if (later == NULL || walk->heals == REPLAY_HEALS_MAX) {
        return false;
    }
    uint64_t size = later->position - walk->walk.position;
    if (!segment_make_out(walk, size)) {
        return false;
    }
    COVER("a gap in a file is healed from the journal");
    walk->heals++;
    segment_put(replay, STEP_HEAL, end, (uint32_t)size, later->boot);
    return true;
}

static void segment_write(struct replay *replay);

/* The walk is over: what is the segment, and what is to be written? */
static void segment_decide(struct replay *replay)
{
    struct replay_walk *walk = replay->walk;
    struct replay_segment *segment = segment_now(replay);
    segment->evidence = max_u64(segment->evidence, walk->walk.evidence);
    segment_find_frames(replay);
    if (walk->later.count > 0 && segment_heal(replay)) {
        return;
    }
    uint64_t acked = replay_later_acked(&walk->later, replay, segment, walk->reach);
    segment->evidence = max_u64(segment->evidence, acked);
    enum replay_verdict verdict = replay_judge(segment, walk->reach);
    if (verdict == REPLAY_DAMAGED && max_u64(walk->walk.evidence, acked) > walk->walk.offset) {
        COVER("a file is damaged before what was durable");
        replay->retained = replay->retained || walk->reach > walk->walk.offset;
        segment_mark(replay, SEGMENT_MARK_DAMAGED, max_u64(segment->evidence, walk->reach));
        segment_close(replay);
        return;
    }
    if (verdict == REPLAY_DAMAGED) {
        COVER("more was durable than file and journal have");
        segment_mark(replay, SEGMENT_MARK_DAMAGED, segment->evidence);
    } else if (verdict == REPLAY_SUSPECT && !MUTANT("hole-marks-nobody")) {
        COVER("a hole of the journal makes a segment suspect");
        segment_mark(replay, SEGMENT_MARK_SUSPECT, walk->reach + 1);
    }
    segment_write(replay);
}

/* The next extent of frames that follow, or the end of it. */
static void segment_write(struct replay *replay)
{
    struct replay_walk *walk = replay->walk;
    if (walk->next == walk->end) {
        walk->whole = walk->reach;
        segment_close(replay);
        return;
    }
    uint64_t used = EXTENT_HEADER_BYTES;
    uint32_t end = walk->next;
    do {
        used += replay->entries[end++].size;
    } while (end < walk->end && used + replay->entries[end].size <= REPLAY_EXTENT_BYTES);
    uint32_t size = (uint32_t)align_up(used, DISK_BLOCK_BYTES);
    if (!segment_make_out(walk, size)) {
        segment_fail(replay, ERR_NO_MEMORY);
        return;
    }
    /* They do not fall, also when an old superblock was put back. */
    segment_put(replay, STEP_WRITE, end, size, max_u32(replay->options.boot, walk->walk.boot));
    if (!MUTANT("replay-over-itself")) {
        walk->walk.position += size; /* The next one goes behind it. */
    }
}

/* Behind the sound end: does the walk go on behind a milestone? Does an extent say that more was
 * durable? */
static void segment_hunt(struct replay *replay, uint32_t size)
{
    struct replay_walk *walk = replay->walk;
    struct bytes data = bytes_of(replay->window, size);
    uint64_t position = replay->window_position;
    if (walk_resume(&walk->walk, data, position)) {
        segment_read(replay, STEP_WALK, walk->walk.position, REPLAY_WINDOW_BYTES);
        return;
    }
    walk->walk.evidence = extent_evidence(data, walk->walk.salt, position, walk->walk.evidence);
    walk->hunted = extent_last(data, walk->walk.salt, position, walk->hunted);
    enum err err = replay_later_note(&walk->later, replay, &walk->walk, size);
    if (err != OK) {
        segment_fail(replay, err);
        return;
    }
    if (size < walk->asked || position - walk->hunted >= EXTENT_HUNT_BYTES) {
        segment_decide(replay);
        return;
    }
    segment_read(replay, STEP_HUNT, replay->window_position + size, REPLAY_WINDOW_BYTES);
}

static void segment_walk(struct replay *replay, uint32_t size)
{
    struct replay_walk *walk = replay->walk;
    uint32_t at = 0;
    while (size - at >= DISK_BLOCK_BYTES) {
        struct extent_header extent;
        enum err err = walk_extent(&walk->walk, replay->window + at, size - at, &extent);
        bool ends = size < walk->asked; /* The file does, inside the extent. */
        if (err == ERR_TRUNCATED && !ends) {
            segment_read(replay, STEP_WALK, walk->walk.position,
                         max_u64(REPLAY_WINDOW_BYTES, extent.padded_size));
            return;
        }
        if (err != OK) {
            walk->later.count = 0;
            walk->hunted = walk->walk.position;
            segment_read(replay, STEP_HUNT, walk->walk.position + DISK_BLOCK_BYTES,
                         REPLAY_WINDOW_BYTES);
            return;
        }
        at += extent.padded_size;
    }
    if (size < walk->asked) {
        segment_decide(replay);
        return;
    }
    segment_read(replay, STEP_WALK, walk->walk.position, REPLAY_WINDOW_BYTES);
}

static void segment_head(struct replay *replay, uint32_t size)
{
    struct replay_walk *walk = replay->walk;
    struct replay_segment *segment = segment_now(replay);
    const struct segment_record *record = &segment->record;
    struct segment_header header;
    struct segment_seal seal;
    if (size < SEGMENT_DATA_POSITION || segment_header_decode(replay->window, &header) != OK ||
        header.segment_id != record->segment_id || header.salt != record->salt) {
        COVER("the file of a segment is another one");
        segment_mark(replay, SEGMENT_MARK_MISSING, segment->evidence);
        segment_close(replay);
        return;
    }
    bool sealed = segment_seal_decode(replay->window + SEGMENT_SEAL_POSITION, &seal) == OK &&
                  seal.segment_id == record->segment_id && seal.salt == record->salt;
    if (sealed && !MUTANT("replay-over-seal")) {
        COVER("a segment with frames in the journal is sealed");
        segment->known = false;
        segment->evidence = 0;
        segment_close(replay);
        return;
    }
    if (segment->count == 0 && !segment->holed) {
        segment_close(replay); /* Its shard will look. */
        return;
    }
    walk->later.count = 0;
    walk->walk = (struct walk){
        .segment_id = record->segment_id,
        .salt = record->salt,
        .epoch = record->epoch,
        .position = SEGMENT_DATA_POSITION,
        .offset = record->base_offset,
        .chain = record->salt,
        .evidence = record->base_offset,
    };
    if (record->checkpoint_position >= SEGMENT_DATA_POSITION &&
        record->file_generation == header.file_generation) {
        walk->walk.position = record->checkpoint_position;
        walk->walk.offset = record->checkpoint_offset;
        walk->walk.chain = record->checkpoint_chain;
        walk->walk.boot = record->boot;
    }
    segment_read(replay, STEP_WALK, walk->walk.position, REPLAY_WINDOW_BYTES);
}

static void segment_opened(struct replay *replay, int32_t result)
{
    if (result == ERR_NOT_FOUND) {
        /* Its topic was deleted; or it is lost, and its shard will ask. */
        COVER("a segment with a record has no file");
        segment_now(replay)->record.marks &= ~(uint32_t)SEGMENT_MARK_FAILED;
        segment_now(replay)->record.marks |= SEGMENT_MARK_MISSING;
        segment_close(replay);
        return;
    }
    replay->walk->fd = result;
    if (MUTANT("trust-the-cache")) {
        segment_read(replay, STEP_HEAD, 0, SEGMENT_DATA_POSITION);
        return;
    }
    if ((segment_now(replay)->record.marks & SEGMENT_MARK_FAILED) != 0) {
        segment_make_anew(replay);
        return;
    }
    io_sync(&replay->io, replay->walk->fd);
    segment_go(replay, STEP_SYNC);
}

static void walk_on(struct replay *replay)
{
    replay->walk->later.count = 0;
    segment_read(replay, STEP_WALK, replay->walk->walk.position, REPLAY_WINDOW_BYTES);
}

static void segment_step(struct completion *done)
{
    struct io *io = CONTAINER_OF(done, struct io, done);
    struct replay *replay = CONTAINER_OF(io, struct replay, io);
    enum segment_step step = (enum segment_step)replay->state;
    int32_t result = done->result;
    if (step == STEP_OPEN && result == ERR_LIMIT) {
        segment_refused(replay);
        return;
    }
    if (result < 0 && segment_renew(replay, step, (enum err)result)) {
        return;
    }
    if (result < 0 && result != ERR_NOT_FOUND) {
        segment_fail(replay, (enum err)result);
        return;
    }
    replay->window_size = (uint32_t)max_u64(0, (uint64_t)(int64_t)result);
    if (step == STEP_HEAD || step == STEP_WALK || step == STEP_HUNT) {
        replay_count(replay, result);
    }
    switch (step) {
    case STEP_OPEN:
        segment_opened(replay, result);
        return;
    case STEP_SYNC:
    case STEP_CLOSE_OLD:
        segment_read(replay, STEP_HEAD, 0, SEGMENT_DATA_POSITION);
        return;
    case STEP_HEAD:
        segment_head(replay, (uint32_t)result);
        return;
    case STEP_WALK:
        segment_walk(replay, (uint32_t)result);
        return;
    case STEP_HUNT:
        segment_hunt(replay, (uint32_t)result);
        return;
    case STEP_HEAL: /* And on from there, as if nothing had been. */
        walk_on(replay);
        return;
    case STEP_WRITE:
        segment_write(replay);
        return;
    case STEP_SYNC_WRITTEN:
        segment_close(replay);
        return;
    case STEP_CLOSE:
        replay->segment_at++;
        segment_next(replay);
        return;
    case STEP_STOP:
        segment_end(replay, replay->err);
        return;
    }
    UNREACHABLE();
}

void replay_segments(struct replay *replay)
{
    replay->walk = calloc(1, sizeof(*replay->walk));
    if (replay->walk == NULL) {
        snprintf(replay->message, sizeof(replay->message), "the journals: out of memory");
        replay_finish(replay, ERR_NO_MEMORY);
        return;
    }
    segment_next(replay);
}
