/* What the files of the face share: names and what they stand for. */
#pragma once

#include "shard/codec.h"
#include "shard/library.h"
#include "shard/record.h"

struct face_partition {
    struct library_object object;
    struct library_partition *partition;
};

struct face_append {
    struct library_object object;
    struct library_call call;
    struct library_partition *partition;
    struct list under_way; /* library->appends */
    uint64_t sequence;
    uint8_t *batch; /* To be freed; NULL: somebody else's. */
};

struct face_reader {
    struct library_object object;
    struct library_call call;
    struct library_partition *partition;
    uint64_t offset; /* Of the next record. */
    struct fetch_piece pieces[LIBRARY_PIECES];
    uint32_t piece, at; /* Where the next batch begins. */
    bool holding;       /* The call's request has pieces that are not given back. */
    struct list parked; /* library->parked */
    struct timer timer; /* Of a wait. */
    int64_t wait_ms;    /* < 0: for ever. */
    bool timed_out;

    /* The batch that is being read. */
    bool in_batch;
    struct batch batch;
    struct codec_output output;
    struct bytes_reader records;
    int32_t index;
    struct record record; /* The last one that was given. */
};

/* The object behind a name; FLOE_OK: name_leave() it. */
NODISCARD int face_enter(const void *name, enum name_kind kind, void **object);

/* The same of a handle that is not dead, or what belongs to it; FLOE_ERR_IO. Whoever gives
 * something back enters the other way. */
NODISCARD int face_use(const void *name, enum name_kind kind, void **object);

/* Gives `object` a name and a place in the library's list. LIMIT. */
NODISCARD int face_add(struct library *library, struct library_object *object, enum name_kind kind);

/* The caller is in, and out afterwards. False: another thread takes it away. */
NODISCARD bool face_end(struct library_object *object);

/* The caller is in; the object is gone then, whoever took it away. */
void face_close_partition(struct face_partition *partition);
void face_close_reader(struct face_reader *reader);
int face_end_append(struct face_append *append, uint64_t *offset);

/* The first offset at or after `timestamp`, or OFFSETS_*: see request.h. */
NODISCARD int face_offset(struct library_partition *partition, int64_t timestamp, uint64_t *offset);

/* On the reactor: readers that wait come home, and none waits from now on. */
void face_cancel_waits(struct library_call *call);
