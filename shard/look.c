/* Looks into files, for all who read them: see the header.
 *
 *     wanted -> somebody has it, or waits for it: the same
 *            -> else: room (looks at rest go, oldest first) -> read -> those who wait
 *     nobody uses it -> at rest -> used again, or gone when memory is wanted
 *
 * Looks are part of what readers may hold (lend.c): those in use count in full, those at rest are
 * given up for anything else. Few rest, until somebody misses what went. */
#include "shard/look.h"

#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

#include <stdlib.h>

enum { LOOKS_MIN = 256, LOOKS_MAX = 8192 };

enum err looks_open(struct shard *shard)
{
    struct looks *looks = &shard->looks;
    uint32_t bytes = shard->options.look_bytes;
    looks->look_bytes = bytes == 0 ? (uint32_t)READ_BYTES : bytes;
    uint64_t wanted = 4 * shard->lent_bytes_max / READ_BYTES; /* Some are small. */
    looks->count = (uint32_t)min_u64(max_u64(wanted, LOOKS_MIN), LOOKS_MAX);
    looks->all = calloc(looks->count, sizeof(*looks->all));
    if (looks->all == NULL) {
        return ERR_NO_MEMORY;
    }
    looks->kept_max = min_u64(LOOKS_KEPT_BYTES, shard->lent_bytes_max);
    list_init(&looks->free);
    list_init(&looks->idle);
    list_init(&looks->ahead);
    /* Half of what readers may hold is enough for what all streams have ahead. */
    uint64_t streams = shard->lent_bytes_max / 2 / (LOOKS_AHEAD * looks->look_bytes);
    looks->stream_count = (uint32_t)min_u64(max_u64(streams, 1), STREAMS_MAX);
    return OK;
}

uint64_t looks_bytes_used(const struct looks *looks)
{
    return looks->bytes - looks->bytes_resting;
}

static void look_free(struct look *look)
{
    struct looks *looks = &look->shard->looks;
    ASSERT(look->users == 0 && look->segment == NULL && look->waiting.head == NULL);
    ASSERT(look->ahead_of == NULL && !list_linked(&look->at_rest));
    looks->bytes -= look->block->size;
    block_unref(look->block);
    look->block = NULL;
    looks->used--;
    list_push_front(&looks->free, &look->at_rest);
}

/* From now on it is like any other. */
static void look_not_ahead(struct look *look)
{
    struct looks *looks = &look->shard->looks;
    if (look->ahead_of != NULL) {
        looks->bytes_ahead -= look->block->size;
        look->ahead_of = NULL;
    }
}

static void look_wake(struct look *look)
{
    struct looks *looks = &look->shard->looks;
    if (list_linked(&look->at_rest)) {
        list_remove(&look->at_rest);
        looks->resting--;
        looks->bytes_resting -= look->block->size;
        looks->bytes_idle -= look->ahead_of == NULL ? look->block->size : 0;
    }
}

static struct look_gone *look_gone(struct looks *looks, uint64_t segment_id, uint64_t position)
{
    uint64_t hash = (segment_id * 0x9e3779b97f4a7c15U) ^ (position * 0xc2b2ae3d27d4eb4fU);
    return &looks->gone[(hash >> 40) % LOOKS_MISSED];
}

/* Keeps no more at rest than was ever missed. */
static void looks_trim(struct looks *looks)
{
    while (looks->bytes_idle > looks->kept_max) {
        struct look *look = CONTAINER_OF(looks->idle.next, struct look, at_rest);
        uint64_t id = look->segment->info.id;
        looks->gone_bytes += look->block->size;
        *look_gone(looks, id, look->position) = (struct look_gone){
            .segment_id = id, .position = look->position, .gone_bytes = looks->gone_bytes};
        look_drop(look);
    }
}

/* The same is read again: had more been kept, as much as readers may hold, it would be there. */
static void look_missed(const struct look *look)
{
    struct looks *looks = &look->shard->looks;
    uint64_t max = look->shard->lent_bytes_max;
    struct look_gone *gone = look_gone(looks, look->segment->info.id, look->position);
    if (gone->segment_id == look->segment->info.id && gone->position == look->position &&
        looks->kept_max + (looks->gone_bytes - gone->gone_bytes) <= max) {
        COVER("a look went that is wanted again");
        looks->kept_max = min_u64(max, looks->kept_max + 2 * (uint64_t)look->block->size);
        *gone = (struct look_gone){0};
    }
}

struct look *look_ref(struct look *look)
{
    look_wake(look);
    look_not_ahead(look);
    look->users++;
    return look;
}

void look_unref(struct look *look)
{
    struct looks *looks = &look->shard->looks;
    ASSERT(look->users > 0);
    look->users--;
    if (look->users > 0) {
        return;
    }
    if (look->segment == NULL) {
        look_not_ahead(look);
        look_free(look);
        return;
    }
    list_push_back(look->ahead_of != NULL ? &looks->ahead : &looks->idle, &look->at_rest);
    looks->resting++;
    looks->bytes_resting += look->block->size;
    looks->bytes_idle += look->ahead_of == NULL ? look->block->size : 0;
    looks_trim(looks);
}

void look_drop(struct look *look)
{
    if (look->segment == NULL) {
        return;
    }
    if (look->segment->look_recent == look) {
        look->segment->look_recent = NULL;
    }
    look->segment = NULL;
    list_remove(&look->in_segment);
    if (look->users == 0) {
        look_wake(look);
        look_not_ahead(look);
        look_free(look);
    }
}

void looks_forget(struct segment *segment)
{
    while (!list_empty(&segment->looks)) {
        struct look *look = CONTAINER_OF(segment->looks.next, struct look, in_segment);
        ASSERT(look->reading == NULL);
        look_drop(look);
    }
}

void looks_close(struct shard *shard)
{
    struct looks *looks = &shard->looks;
    ASSERT(looks->used == 0 && looks->bytes == 0);
    free(looks->all);
    looks->all = NULL;
}

/* Gives up the one that was used last the longest ago; of those that were read ahead only if it
 * must. Its size; 0: there is none. */
static uint32_t looks_drop_oldest(struct looks *looks, bool unused_too)
{
    struct list *from = !list_empty(&looks->idle) ? &looks->idle : &looks->ahead;
    if (list_empty(from) || (from == &looks->ahead && !unused_too)) {
        return 0;
    }
    struct look *look = CONTAINER_OF(from->next, struct look, at_rest);
    uint32_t size = look->block->size;
    if (look->ahead_of != NULL) {
        COVER("a look that was read ahead goes unused");
    }
    look_drop(look);
    return size;
}

bool looks_reclaim(struct shard *shard, uint64_t bytes)
{
    uint64_t freed = 0;
    uint32_t size;
    while (freed < bytes && (size = looks_drop_oldest(&shard->looks, true)) > 0) {
        COVER("looks at rest go because memory is short");
        freed += size;
    }
    return freed > 0;
}

/* A block of `bytes` takes so much. */
static uint64_t look_block_bytes(uint32_t bytes)
{
    uint64_t size = BLOCK_SIZE_MIN;
    while (size < bytes) {
        size *= 2;
    }
    return size;
}

/* Makes room for one more look; what is read ahead gets none in the half of what readers may hold
 * that is kept for those who ask. */
static bool looks_room(struct shard *shard, uint64_t bytes, bool ahead)
{
    struct looks *looks = &shard->looks;
    uint64_t max = shard->lent_bytes_max;
    if (ahead) {
        uint64_t wanted = max_u64(lend_bytes(shard), looks->bytes_ahead) + bytes;
        if (lend_full(shard) || wanted > max / 2) {
            return false;
        }
    }
    while (shard->lent_bytes + looks->bytes + bytes > max || looks->used == looks->count) {
        if (looks_drop_oldest(looks, !ahead) == 0) {
            return !ahead;
        }
    }
    return true;
}

/* The last look that begins at or before `position`, or the head of the list. */
static struct list *look_before(struct segment *segment, uint64_t position)
{
    struct list *head = &segment->looks;
    struct list *at = segment->look_recent != NULL ? &segment->look_recent->in_segment : head->prev;
    while (at != head && CONTAINER_OF(at, struct look, in_segment)->position > position) {
        at = at->prev;
    }
    while (at->next != head &&
           CONTAINER_OF(at->next, struct look, in_segment)->position <= position) {
        at = at->next;
    }
    return at;
}

struct look *look_find(struct segment *segment, uint64_t position)
{
    struct list *at = look_before(segment, position);
    if (at == &segment->looks) {
        return NULL;
    }
    struct look *look = CONTAINER_OF(at, struct look, in_segment);
    segment->look_recent = look;
    return position < look->position + look->size ? look : NULL;
}

uint32_t look_bytes_at(struct segment *segment, uint64_t position, uint32_t least, bool *cut)
{
    struct shard *shard = segment->partition->shard;
    uint32_t bytes = max_u32(shard->looks.look_bytes, least);
    uint64_t most = min_u64(LOOK_BYTES_MAX, memory_block_max(shard->reactor->memory));
    uint64_t limit = position + bytes;
    const struct segment_index *index = &segment->index;
    uint32_t row = segment_index_until(index, limit);
    uint64_t end = row > 0 ? index->rows[row - 1].position : 0;
    if (segment->position_end <= limit) {
        end = segment->position_end;
    } else if (end <= position) { /* An extent is larger than a look, or there is no row for it. */
        end = row < index->count ? min_u64(index->rows[row].position, segment->position_end)
                                 : segment->position_end;
    }
    struct list *next = look_before(segment, position)->next;
    if (next != &segment->looks) {
        end = min_u64(end, CONTAINER_OF(next, struct look, in_segment)->position);
    }
    *cut = end <= position || end - position > most || end - position < least;
    return *cut ? bytes : (uint32_t)(end - position);
}

static void look_read(struct completion *done)
{
    struct look *look = CONTAINER_OF(done, struct look, io.done);
    struct shard *shard = look->shard;
    struct segment *segment = look->reading;
    struct partition *partition = segment->partition;
    uint32_t bytes = done->result < 0 ? 0 : (uint32_t)done->result;
    stats_add(&shard->reactor->stats, STAT_FETCH_READ_BYTES, bytes);
    look->reading = NULL;
    if (bytes < look->size) {
        COVER("a look into a file fails or is short");
        look->err = done->result < 0 ? (enum err)done->result : ERR_TRUNCATED;
        look->size = bytes;
        look_drop(look); /* Who comes next tries again. */
    }
    completion_list_fire(shard->reactor, &look->waiting, OK);
    look_unref(look);
    segment_unpin(segment);
    lend_wake(shard);
    shard_leave(shard, partition);
}

/* As long as nobody has it but its read. */
static struct look *look_take(struct shard *shard, uint32_t bytes, bool ahead)
{
    struct looks *looks = &shard->looks;
    if (!looks_room(shard, look_block_bytes(bytes), ahead)) {
        return NULL;
    }
    looks->starting_ahead = ahead;
    struct block *block = block_acquire(shard->reactor->memory, MEMORY_APPEND, bytes);
    looks->starting_ahead = false;
    if (block == NULL) {
        return NULL;
    }
    struct look *look;
    if (!list_empty(&looks->free)) {
        look = CONTAINER_OF(list_pop_front(&looks->free), struct look, at_rest);
    } else {
        ASSERT(looks->made < looks->count); /* lend_full() counts them. */
        look = &looks->all[looks->made++];
    }
    *look = (struct look){.shard = shard, .block = block, .size = bytes, .users = 1};
    list_init(&look->at_rest);
    list_init(&look->in_segment);
    looks->used++;
    looks->bytes += block->size;
    return look;
}

struct look *look_start(struct segment *segment, uint64_t position, uint32_t least,
                        struct stream *ahead_of)
{
    struct shard *shard = segment->partition->shard;
    bool cut;
    uint32_t bytes = look_bytes_at(segment, position, least, &cut);
    if (cut && ahead_of != NULL) {
        return NULL;
    }
    struct look *look = look_take(shard, bytes, ahead_of != NULL);
    if (look == NULL) {
        return NULL;
    }
    look->position = position;
    look->reading = segment;
    look->cut = cut;
    if (!cut) {
        struct list *before = look_before(segment, position);
        list_push_front(before, &look->in_segment);
        look->segment = segment;
        look_missed(look);
    }
    if (ahead_of != NULL) {
        look->ahead_of = ahead_of;
        shard->looks.bytes_ahead += look->block->size;
        stats_add(&shard->reactor->stats, STAT_READS_AHEAD, 1);
    }
    segment_pin(segment);
    shard_enter(shard, segment->partition);
    completion_init(&look->io.done, look_read);
    io_read(&look->io, segment->fd, look->block->data, bytes, position);
    io_submit(shard->reactor, &look->io);
    return look;
}

void look_enter(struct look *look, const uint8_t *extent)
{
    uint32_t at = (uint32_t)(extent - look->block->data);
    if (look->sound_end == at) { /* The frames go on behind the extent's header. */
        look->sound_end = at + (uint32_t)EXTENT_HEADER_BYTES;
    }
}

void look_leave(struct look *look, const uint8_t *extent, uint32_t frames_end, uint32_t size)
{
    uint32_t at = (uint32_t)(extent - look->block->data);
    if (look->sound_end == frames_end) {
        look->sound_end = at + size;
    }
}

enum err look_check(struct look *look, const struct frame_header *frame, const uint8_t *header)
{
    uint32_t at = (uint32_t)(header - look->block->data);
    uint32_t end = at + frame_size(frame);
    if (at >= look->sound_first && end <= look->sound_end) {
        return OK;
    }
    stats_add(&look->shard->reactor->stats, STAT_FRAMES_CHECKED, 1);
    if (!MUTANT("no-body-check")) {
        enum err err = frame_check_body(frame, header + FRAME_HEADER_BYTES);
        if (err != OK) {
            return err;
        }
    }
    if (at != look->sound_end) {
        look->sound_first = at;
    }
    look->sound_end = end;
    return OK;
}
