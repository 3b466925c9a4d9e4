/* The inside of libfloe: a reactor, a directory and a shard behind the calls of floe.h.
 *
 *     own     the caller's thread turns the reactor until the answer is there
 *     shared  a thread of the library turns it; calls are posted to it, callers wait at their gate
 *
 *     floe.c floe_append.c floe_read.c    the face: names, arguments, the caller's side of a call
 *     library.c                           from an engine to a shard and back; calls
 *     library_map.c                       what a map would say: segments, topics, partitions
 *
 * What is not said to be the caller's is touched by the reactor's thread only. */
#pragma once

#include "core/list.h"
#include "core/thread.h"
#include "shard/directory.h"
#include "shard/floe.h"
#include "shard/library_name.h"
#include "shard/shard.h"
#include "shard/survey.h"

#include <stdatomic.h>

enum {
    LIBRARY_APPENDS_MAX = 65536,
    LIBRARY_SEGMENTS_RESERVED = 1024, /* Numbers per update of the superblock. */
    LIBRARY_PATH_BYTES = SURVEY_PATH_BYTES - 160,
    LIBRARY_PIECES = 16,
    LIBRARY_READ_BYTES = 256 << 10,
};

struct library;

/* One wish of a caller. `start` runs on the reactor and sees to it that an answer follows. */
struct library_call {
    struct library *library;
    void (*start)(struct library_call *call);
    struct completion order;
    struct request request;
    struct gate gate; /* Shared. */
    bool done;        /* Own. */
    int result;       /* enum floe_result */
};

/* What has a name: first member of what a host holds. In library->objects until it goes. */
struct library_object {
    struct list in_library;
    struct library *library;
    void *name;
    enum name_kind kind;
};

enum library_partition_state {
    LIBRARY_PARTITION_NEW,
    LIBRARY_PARTITION_ASSIGNING,
    LIBRARY_PARTITION_READY,
    LIBRARY_PARTITION_FAILED, /* The next open tries again. */
};

struct library_topic {
    struct library_topic *next;
    char name[TOPIC_NAME_BYTES_MAX + 1];
    struct topic_id id;
    uint64_t created_ms; /* Of two that share a name the later one has it. */
};

struct library_partition {
    struct library_partition *next;
    struct library *library;
    struct library_topic *topic;
    struct partition_id id;
    struct partition_config config;
    enum library_partition_state state;
    uint32_t epoch;                 /* Greatest of its segments. */
    struct segment_info *segments;  /* For the assignment. */
    struct completion_list waiting; /* Orders of calls that wait for it. */
    struct request request;         /* The assignment. */
    bool end_damaged;               /* Read only: behind its end records are lost. */
};

/* A frame that only the journal of a server has, on its way into memory. */
struct library_held {
    struct library_held *next;
    struct partition_id partition;
    uint32_t size;
    uint8_t bytes[];
};

struct library_options {
    uint32_t mode, engine, partitions_max;
    bool shared, direct, mapped;
    uint64_t memory_bytes;
};

struct library {
    struct library_options options;
    char path[LIBRARY_PATH_BYTES];
    void *name;
    struct thread *thread; /* Shared. */
    struct gate opened;    /* Shared: the thread has come up, or failed. */

    /* The callers': under the lock. */
    pthread_mutex_t lock;
    struct list objects;
    uint32_t append_count; /* Under way. */
    struct library_held *held, **held_last;

    /* The reactor's. */
    struct reactor *reactor;
    struct io_helper *helper;
    struct directory *directory;
    struct journals *journals; /* NULL: read only. */
    struct journal_view *view; /* Read only; NULL: else. */
    struct directory_identity identity;
    struct shard *shard;
    struct survey survey;
    struct library_topic *topics;
    struct library_partition *partitions;
    uint32_t partition_count;
    uint64_t segment_next, segment_end; /* Numbers that are ours. */
    struct completion_list rolls;       /* That wait for more of them. */
    struct completion reserved;
    bool reserving;
    uint64_t append_sequence; /* Of the last one that began. */
    struct list appends;      /* Under way, by sequence. */
    struct list syncs;        /* Wait for some of them. */
    struct list parked;       /* Readers that wait for records. */
    bool closing;             /* No reader waits any more. */
    atomic_bool dead;         /* Anybody's to read: the shard found no safe way on. */
    bool done;                /* What the bring-up awaits. */
    struct completion awaited;
    char message[FLOE_MESSAGE_BYTES];
};

/* library_end.c */
NODISCARD enum err library_view(struct library *library); /* Reads the journals. */
void library_view_close(struct library *library);
/* In the reactor's thread: gives the shard what the partition has in the journals alone. */
NODISCARD enum err library_hold(struct library *library, const struct partition_id *id);

/* library.c */
NODISCARD enum err library_open(struct library *library); /* `message` says what failed. */
enum err library_close(struct library *library);
void library_call(struct library_call *call); /* Starts it and waits for its answer. */
void library_call_start(struct library_call *call);
void library_call_wait(struct library_call *call);
void library_answer(struct library_call *call, int result);

/* Submits the call's request to the shard; it fires `done`, or NULL: the call is answered with its
 * result. */
void library_submit(struct library_call *call, enum request_kind kind,
                    const struct partition_id *id, completion_fn *done);
int library_result(enum err err); /* As the host is told. */

/* Nothing is promised any more: what fails from here on is ERR_IO. */
bool library_is_dead(struct library *library);

/* library_map.c */
NODISCARD enum err library_map_open(struct library *library); /* After the survey. */
void library_map_close(struct library *library);
void library_roll(void *context, struct shard_roll *roll);
void library_trim(void *context, struct shard_trim *trim);

/* Opens a partition: see floe_partition_open(). */
struct library_open_partition {
    struct library_call call;
    const char *topic;
    uint32_t number;
    bool existing, configure;
    struct partition_config config;
    struct library_partition *partition; /* Out. */
};

void library_open_partition(struct library_call *call);

/* Read only: finds the end of a segment that nobody sealed, which recovery would seal. In the
 * caller's thread; once per partition. */
NODISCARD enum err library_find_end(struct library *library, struct survey_partition *partition);
