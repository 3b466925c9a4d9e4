/* The raft log: reading both files when they are opened.
 *
 * The file whose first frame has the lower generation is replayed first, then the other. Ends:
 *
 *     the last frame does not check   it was never acknowledged: cut, and written over
 *     a file was being begun anew     its old frames do not lead to the other file's first one;
 *                                     they are not needed if the rest reaches the snapshot
 *     anything else                   a later frame says that what is missing was durable: damage
 *
 * Then the rest of both files is searched for such a later frame. */
#include "core/assert.h"
#include "core/bytes.h"
#include "core/cover.h"
#include "meta/raft_log_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RAFT_LOG_WINDOW_BYTES = 2 << 20 };

_Static_assert((int)RAFT_LOG_WINDOW_BYTES >= 2 * (int)RAFT_LOG_FRAME_BYTES_MAX,
               "a frame fits the window");

/* A header as read; `sound` says that the whole frame checks. */
struct raft_log_frame {
    bool sound;
    uint64_t generation, sequence, durable_end, index;
    uint32_t size, count;   /* Of the records. */
    const uint8_t *records; /* In the window. */
};

struct raft_log_replay {
    struct raft_log_store *store;
    char *message;
    uint8_t *window; /* Of `file`, [window_from, window_from + window_bytes). */
    uint32_t file, window_bytes;
    uint64_t window_from;
    uint64_t first, next;   /* Entries in the log: [first, next). */
    uint64_t sequence;      /* The next one. */
    uint64_t term_snapshot; /* Of the entry that the snapshot ends with; 0 = not seen. */
};

bool raft_log_found_add(struct raft_log_found *found, const struct raft_log_entry *entry)
{
    if (found->count == found->capacity) {
        uint32_t capacity = found->capacity == 0 ? 64 : found->capacity * 2;
        struct raft_log_entry *entries = realloc(found->entries, capacity * sizeof(*entries));
        if (entries == NULL) {
            return false;
        }
        found->entries = entries;
        found->capacity = capacity;
    }
    uint8_t *data = malloc(entry->size > 0 ? entry->size : 1);
    if (data == NULL) {
        return false;
    }
    if (entry->size > 0) {
        memcpy(data, entry->data, entry->size);
    }
    struct raft_log_entry *added = &found->entries[found->count++];
    *added = *entry;
    added->data = data;
    return true;
}

void raft_log_found_cut(struct raft_log_found *found, uint32_t count)
{
    while (found->count > count) {
        free(found->entries[--found->count].data);
    }
}

void raft_log_found_clear(struct raft_log_found *found)
{
    raft_log_found_cut(found, 0);
    free(found->entries);
    free(found->snapshot);
    *found = (struct raft_log_found){0};
}

static const char *raft_log_file_name(uint32_t file)
{
    return file == 0 ? "log-0" : "log-1";
}

static enum err raft_log_read_failed(const struct raft_log_replay *replay, enum err err)
{
    return raft_log_fail(replay->store, replay->message, err, "cannot read",
                         raft_log_file_name(replay->file));
}

/* Frames from `position` of `file` on are needed and do not check. */
static enum err raft_log_lost(const struct raft_log_replay *replay, uint32_t file,
                              uint64_t position)
{
    char what[96];
    (void)snprintf(what, sizeof(what),
                   "damaged at byte %" PRIu64 ", and it was durable:", position);
    return raft_log_fail(replay->store, replay->message, ERR_DAMAGED, what,
                         raft_log_file_name(file));
}

static void raft_log_look_into(struct raft_log_replay *replay, uint32_t file)
{
    replay->file = file;
    replay->window_bytes = 0;
}

/* [position, position + size) in the window; NULL in *at: the file is shorter than it was. */
static enum err raft_log_look(struct raft_log_replay *replay, uint64_t position, uint32_t size,
                              const uint8_t **at)
{
    uint64_t end = position + size;
    ASSERT(end <= replay->store->file_bytes);
    if (position < replay->window_from || end > replay->window_from + replay->window_bytes) {
        uint64_t left = replay->store->file_bytes - position;
        struct io io = {0};
        io_read(&io, replay->store->files[replay->file].fd, replay->window,
                (uint32_t)min_u64(left, RAFT_LOG_WINDOW_BYTES), position);
        replay->window_bytes = 0;
        int32_t result = raft_log_run(replay->store, &io);
        if (result < 0) {
            return raft_log_read_failed(replay, (enum err)result);
        }
        replay->window_from = position;
        replay->window_bytes = (uint32_t)result;
    }
    bool there = end <= replay->window_from + replay->window_bytes;
    *at = there ? replay->window + (position - replay->window_from) : NULL;
    return there ? OK : raft_log_read_failed(replay, ERR_IO);
}

/* The frame at `position`: what does not check is not sound, and no error. */
static enum err raft_log_read_frame(struct raft_log_replay *replay, uint64_t position,
                                    struct raft_log_frame *frame)
{
    const struct raft_log_store *store = replay->store;
    const uint8_t *at = NULL;
    *frame = (struct raft_log_frame){0};
    enum err err = raft_log_look(replay, position, RAFT_LOG_BLOCK_BYTES, &at);
    if (err != OK || memcmp(at, RAFT_LOG_MAGIC, 8) != 0) {
        return err;
    }
    uint32_t size = load_le32(at + 48);
    uint64_t bytes = (uint64_t)RAFT_LOG_FRAME_BYTES + size;
    if (bytes > RAFT_LOG_FRAME_BYTES_MAX || position + bytes > store->file_bytes) {
        return OK;
    }
    err = raft_log_look(replay, position, (uint32_t)align_up(bytes, RAFT_LOG_BLOCK_BYTES), &at);
    if (err != OK || load_le32(at + 12) != raft_log_crc(at, bytes)) {
        COVER("a frame of the raft log does not check");
        return err;
    }
    if (load_le32(at + 8) != RAFT_LOG_VERSION) {
        return raft_log_read_failed(replay, ERR_VERSION);
    }
    if (load_le64(at + 16) != store->identity) {
        return raft_log_read_failed(replay, ERR_FOREIGN);
    }
    *frame = (struct raft_log_frame){
        .sound = true,
        .generation = load_le64(at + 24),
        .sequence = load_le64(at + 32),
        .durable_end = load_le64(at + 40),
        .size = size,
        .count = load_le32(at + 52),
        .index = load_le64(at + 56),
        .records = at + RAFT_LOG_FRAME_BYTES,
    };
    return OK;
}

/* Entries from `index` on are void. */
static void raft_log_replay_truncate(struct raft_log_replay *replay, uint64_t index)
{
    struct raft_log_store *store = replay->store;
    uint64_t kept_from = max_u64(replay->first, store->found.snapshot_index + 1);
    raft_log_found_cut(&store->found, index > kept_from ? (uint32_t)(index - kept_from) : 0);
    if (index <= store->found.snapshot_index) {
        replay->term_snapshot = 0;
    }
    replay->first = min_u64(replay->first, index);
    replay->next = index;
    raft_log_note_truncate(store, index);
}

static enum err raft_log_replay_entry(struct raft_log_replay *replay,
                                      const struct raft_log_entry *entry)
{
    struct raft_log_store *store = replay->store;
    uint64_t index = replay->next++;
    raft_log_note_entry(store, replay->file, index);
    if (index == store->found.snapshot_index) {
        replay->term_snapshot = entry->term;
    }
    if (index > store->found.snapshot_index && !raft_log_found_add(&store->found, entry)) {
        return ERR_NO_MEMORY;
    }
    return OK;
}

/* ERR_CORRUPT: it checks, and cannot be. */
static enum err raft_log_replay_record(struct raft_log_replay *replay, struct bytes_reader *reader)
{
    uint64_t index = read_le64(reader);
    struct raft_log_entry entry = {.term = read_le64(reader), .size = read_le32(reader)};
    uint8_t kind = read_u8(reader);
    entry.type = read_u8(reader);
    (void)read_le16(reader);
    if (entry.size > RAFT_LOG_FRAME_BYTES_MAX) {
        return ERR_CORRUPT;
    }
    struct bytes data = read_bytes(reader, entry.size);
    read_skip(reader, (uint32_t)align_up(entry.size, 8) - entry.size);
    bool known = kind == RAFT_LOG_RESTART || (kind == RAFT_LOG_ENTRY && index == replay->next) ||
                 (kind == RAFT_LOG_TRUNCATE && index <= replay->next);
    if (reader->failed || !known || index == 0) {
        return ERR_CORRUPT;
    }
    if (kind == RAFT_LOG_ENTRY) {
        uint8_t *borrowed;
        memcpy(&borrowed, &data.data, sizeof(borrowed)); /* It is copied, not changed. */
        entry.data = borrowed;
        return raft_log_replay_entry(replay, &entry);
    }
    if (kind == RAFT_LOG_RESTART) {
        replay->first = 1;
        raft_log_replay_truncate(replay, 1);
        replay->first = index;
        replay->next = index;
    } else {
        raft_log_replay_truncate(replay, index);
    }
    return OK;
}

static enum err raft_log_replay_frame(struct raft_log_replay *replay,
                                      const struct raft_log_frame *frame)
{
    struct raft_log_store *store = replay->store;
    if (replay->next == 0) {
        replay->first = frame->index;
        replay->next = frame->index;
    }
    enum err err = frame->index == replay->next ? OK : ERR_CORRUPT;
    struct bytes_reader reader = bytes_reader(bytes_of(frame->records, frame->size));
    for (uint32_t i = 0; err == OK && i < frame->count; i++) {
        err = raft_log_replay_record(replay, &reader);
    }
    if (err == OK && bytes_left(&reader) != 0) {
        err = ERR_CORRUPT;
    }
    if (err != OK) {
        return raft_log_read_failed(replay, err == ERR_CORRUPT ? ERR_DAMAGED : err);
    }
    if (replay->next > store->found.snapshot_index + 1) {
        store->bytes_since_snapshot +=
            align_up(RAFT_LOG_FRAME_BYTES + (uint64_t)frame->size, RAFT_LOG_BLOCK_BYTES);
    }
    return OK;
}

/* The frames of one file, from its first to the last that continues them. */
static enum err raft_log_replay_file(struct raft_log_replay *replay, uint32_t file)
{
    struct raft_log_store *store = replay->store;
    uint64_t position = 0;
    raft_log_look_into(replay, file);
    while (position < store->file_bytes) {
        struct raft_log_frame frame;
        enum err err = raft_log_read_frame(replay, position, &frame);
        if (err != OK) {
            return err;
        }
        if (!frame.sound || frame.sequence != replay->sequence ||
            frame.generation != store->files[file].generation) {
            break;
        }
        err = raft_log_replay_frame(replay, &frame);
        if (err != OK) {
            return err;
        }
        position += align_up(RAFT_LOG_FRAME_BYTES + (uint64_t)frame.size, RAFT_LOG_BLOCK_BYTES);
        replay->sequence++;
    }
    store->files[file].position = position;
    return OK;
}

/* What the older file held does not lead to the newer: only the newer counts. */
static void raft_log_forget_older(struct raft_log_replay *replay, uint32_t older)
{
    struct raft_log_store *store = replay->store;
    COVER("a raft log file was being begun anew");
    raft_log_found_cut(&store->found, 0);
    store->files[older].last_index = 0;
    store->bytes_since_snapshot = 0;
    replay->first = 0;
    replay->next = 0;
    replay->term_snapshot = 0;
}

/* A frame behind the end that was written when more than the end was durable. */
static enum err raft_log_search(struct raft_log_replay *replay, uint32_t file, uint64_t end)
{
    const struct raft_log_store *store = replay->store;
    raft_log_look_into(replay, file);
    for (uint64_t position = end; position < store->file_bytes; position += RAFT_LOG_BLOCK_BYTES) {
        struct raft_log_frame frame;
        enum err err = raft_log_read_frame(replay, position, &frame);
        if (err != OK) {
            return err;
        }
        if (frame.sound && frame.durable_end > replay->sequence && !MUTANT("raft-no-hunt")) {
            return raft_log_lost(replay, file, end);
        }
    }
    return OK;
}

/* Whether the log goes on where the snapshot ends, or was overtaken by it. */
static enum err raft_log_connect(struct raft_log_replay *replay, uint32_t other, bool *restart)
{
    struct raft_log_store *store = replay->store;
    struct raft_log_found *found = &store->found;
    uint64_t covered = found->snapshot_index;
    if (replay->first > covered + 1 && store->snapshot_bad != 0) {
        return raft_log_fail(store, replay->message, ERR_DAMAGED,
                             "the newest snapshot does not check, and the one before it is too old "
                             "for",
                             raft_log_file_name(store->active));
    }
    if (replay->first > covered + 1) {
        return raft_log_lost(replay, other, store->files[other].position);
    }
    *restart = replay->next <= covered ||
               (replay->term_snapshot != 0 && replay->term_snapshot != found->snapshot_term);
    if (*restart) {
        COVER("a snapshot voids the log");
        raft_log_found_cut(found, 0);
    }
    found->first_index = covered + 1;
    store->sequence = replay->sequence;
    store->index_written = replay->next;
    store->index_next = replay->next;
    return OK;
}

/* Generation and sequence of each file's first frame; sequence 0: none that checks. */
static enum err raft_log_read_heads(struct raft_log_replay *replay, uint64_t *sequences)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(replay->store->files); i++) {
        struct raft_log_frame frame;
        raft_log_look_into(replay, i);
        enum err err = raft_log_read_frame(replay, 0, &frame);
        if (err != OK) {
            return err;
        }
        replay->store->files[i].generation = frame.generation;
        sequences[i] = frame.sequence;
    }
    return OK;
}

static enum err raft_log_replay_all(struct raft_log_replay *replay, bool *restart)
{
    struct raft_log_store *store = replay->store;
    struct raft_log_file *files = store->files;
    uint64_t sequences[2];
    enum err err = raft_log_read_heads(replay, sequences);
    if (err != OK) {
        return err;
    }
    uint32_t newer = files[1].generation > files[0].generation ? 1 : 0;
    uint32_t older = 1 - newer;
    bool both = sequences[older] != 0;
    store->active = newer;
    replay->sequence = sequences[both ? older : newer];
    if (sequences[newer] == 0) {
        files[newer].generation = 1;
        replay->first = replay->next = replay->sequence = 1;
    }
    if (both) {
        err = raft_log_replay_file(replay, older);
        bool leads = replay->sequence == sequences[newer] &&
                     files[older].generation + 1 == files[newer].generation;
        if (err == OK && !leads) {
            raft_log_forget_older(replay, older);
            replay->sequence = sequences[newer];
        }
    }
    if (err == OK && sequences[newer] != 0) {
        err = raft_log_replay_file(replay, newer);
    }
    err = err == OK ? raft_log_search(replay, newer, files[newer].position) : err;
    err = err == OK ? raft_log_search(replay, older, files[older].position) : err;
    return err == OK ? raft_log_connect(replay, older, restart) : err;
}

enum err raft_log_load(struct raft_log_store *store, bool *restart, char *message)
{
    struct raft_log_replay replay = {.store = store, .message = message};
    replay.window = aligned_alloc(RAFT_LOG_BLOCK_BYTES, RAFT_LOG_WINDOW_BYTES);
    if (replay.window == NULL) {
        return raft_log_read_failed(&replay, ERR_NO_MEMORY);
    }
    enum err err = raft_log_replay_all(&replay, restart);
    free(replay.window);
    return err;
}
