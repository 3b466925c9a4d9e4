/* What the clients share: operations on their way, and who is there. */
#pragma once

#include "net/route.h"
#include "tests/sim/batch_maker.h"
#include "tests/sim/workload.h"

enum {
    OP_PIECES = 8,
    PRODUCER_DEPTH = 5, /* What brokers remember of an idempotent producer. */
    CLIENTS_MAX = 24,
    ERASE_RECORDS_MAX = 12,
};

struct workload;

/* A request, at most once on its way. */
struct op {
    struct request request;
    struct workload *workload;
    void (*home)(struct op *op, enum err err); /* It came home. */
    bool away;
    bool early;       /* Sent before all partitions were recovered. */
    bool epoch_wrong; /* FETCH, OFFSETS: with an epoch that nobody has. */
    uint32_t partition;
    uint64_t start, end;           /* Known to be there when it was sent, */
    uint64_t mark;                 /* and what was known to be deleted. */
    const struct sim_batch *batch; /* PRODUCE. */
    uint32_t arrival;              /* PRODUCE: UINT32_MAX until it arrived. */
    uint64_t behind_ns;            /* FETCH: see op_watch(). */
    bool waited;                   /* FETCH: it was seen to be parked. */
    struct fetch_piece pieces[OP_PIECES];
    struct route_cancel cancel;
    bool canceling; /* A cancel is away, too: it ends with the later of the two. */
    bool came;      /* The request did. */
};

struct producer_client {
    struct workload *workload;
    struct timer timer;
    uint32_t partition, home, depth;
    bool idempotent;
    int64_t id;
    int16_t epoch, epoch_acked; /* -1: the broker need not know the producer. */
    int32_t sequence;
    bool rewinding; /* Something failed: when all are home, from the oldest again. */
    bool tainted;   /* Something failed before: the broker may refuse the order. */
    const struct sim_batch *queue[PRODUCER_DEPTH]; /* Not acked, oldest first. */
    uint32_t queued, sent;
    struct op ops[PRODUCER_DEPTH + 1];
    struct op wrong; /* A batch that must be refused. */
};

struct reader_client {
    struct workload *workload;
    struct timer timer;
    uint32_t partition, home;
    uint64_t offset;
    bool at_tail; /* The operation moves `offset`. */
    struct op op;
};

enum auditor_state {
    AUDITOR_ASSIGNING,
    AUDITOR_ASKING,
    AUDITOR_ASKING_START,
    AUDITOR_READING,
    AUDITOR_DONE,
};

struct auditor {
    enum auditor_state state;
    struct segment_info *segments; /* Lent with ASSIGN. */
    uint64_t start, offset, end;
    struct op op;
    struct op drop;
};

struct trimmer {
    struct timer timer;
    uint32_t home;
    int64_t offset; /* Asked for. */
    bool beyond;    /* There is no such offset. */
    struct op op;
};

struct eraser {
    struct timer timer;
    uint32_t home, count;
    struct delete_record records[ERASE_RECORDS_MAX];
    struct op op;
};

struct hoarder;

struct workload {
    struct sim_map *map;
    struct check *check;
    struct prng *prng;
    struct sim_life *life;
    struct workload_counts counts;
    struct producer_client *producers;
    struct reader_client *readers;
    uint32_t producer_count, reader_count;
    struct hoarder *hoarders;  /* NULL: there never were any. */
    bool hoarding;             /* In this life. */
    struct auditor **auditors; /* By partition. */
    uint32_t auditor_count, auditor_capacity;
    bool real;                  /* The map. */
    bool fat;                   /* Some of its commands are large. */
    bool clients_made, clients; /* They are there; they were started in this life. */
    struct timer admin;
    struct trimmer trimmer;
    bool trims;
    struct eraser eraser;
    bool erases;
    struct admin_op *admin_op;
    uint32_t topic_next;
    uint64_t id_end; /* Of the producer ids that were handed out. */
    uint64_t batch_next;
    int64_t producer_next;
    uint32_t made, failures; /* Batches in this life. */
    uint32_t value_bytes_max, delete_chance, create_chance, idle_chance, lossy_chance;
    bool stopping;
};

/* workload.c */
void op_reset(struct workload *workload, struct op *op, void (*home)(struct op *op, enum err err));
/* Sends from core `home` to the owner; kind and the fields of its kind are set. */
void op_send(struct op *op, uint32_t home, uint32_t partition);
/* Reads, and what changes the map, may fail in this life. */
bool workload_expects_errors(const struct workload *workload);
bool op_partition_deleted(const struct op *op);
/* True if the core `home` has heard of the partition; a client learns of it there. */
bool op_is_known(struct workload *workload, uint32_t home, uint32_t partition);
/* If it is a fetch that is away, it comes home soon. */
void op_cancel(struct op *op, uint32_t home);
uint32_t workload_pick(struct workload *workload); /* A partition that is not deleted. */
uint32_t workload_live_topics(const struct workload *workload);
void workload_start_clients(struct workload *workload);
/* Limits and manners of a new topic. */
void workload_draw_config(struct workload *workload, struct partition_config *config);
/* A client's next moment: some milliseconds, or none, from now. */
void workload_think(struct workload *workload, struct timer *timer, uint32_t home);

/* workload_produce.c */
void producer_client_init(struct workload *workload, struct producer_client *client);
void producer_client_start(struct workload *workload, struct producer_client *client);
bool producer_client_idle(const struct producer_client *client);

/* workload_read.c */
void reader_client_init(struct workload *workload, struct reader_client *client);
void reader_client_start(struct workload *workload, struct reader_client *client);
/* A fetch that is away: true while it sleeps over what is known to be there; fails when that has
 * lasted too long. */
bool op_watch(struct op *op, uint64_t now_ns);
/* ERR_DAMAGED, where something is rotten. */
bool op_met_damage(const struct op *op, enum err err);
/* What a fetch brought; *offset moves behind it. */
void fetch_check(struct op *op, uint64_t *offset);
/* A fetch below the start of the log, which moved. */
bool op_is_below(struct op *op, enum err err);
/* The same. True: releases the pieces; the op is away again. */
bool fetch_take(struct op *op, uint32_t home, uint64_t *offset);
void fetch_prepare(struct op *op, uint64_t offset, uint32_t bytes_max);

/* workload_hoard.c */
void hoarders_start(struct workload *workload);
void hoarders_cancel(struct workload *workload);
bool hoarders_home(const struct workload *workload);
bool hoarders_resting(const struct workload *workload);

/* workload_trim.c */
void trimmer_start(struct workload *workload);

/* workload_erase.c */
void eraser_start(struct workload *workload);

/* workload_audit.c */
void auditor_start(struct workload *workload, uint32_t partition);
void auditors_cancel(struct workload *workload);
void auditor_drop(struct workload *workload, uint32_t partition);

/* workload_admin.c */
void admin_init(struct workload *workload);
void admin_free(struct workload *workload);
void admin_start(struct workload *workload);
bool admin_home(const struct workload *workload);
