/* What can change the map: one struct command is one entry (or part of one) of the raft log.
 * Commands are compare-and-set, carry {origin, sequence} for deduplication and are applied by
 * machine_apply(), a pure function. Encoded little-endian with a version byte; see command.c for
 * the bytes. */
#pragma once

#include "core/bytes.h"
#include "core/err.h"
#include "core/io.h"
#include "core/limits.h"
#include "shard/request.h"

enum command_kind {
    COMMAND_CLUSTER_INIT = 1,  /* First command ever: the cluster id. */
    COMMAND_NODE_REGISTER = 2, /* A node started: its addresses, cores, boot. */
    COMMAND_TOPIC_CREATE = 3,
    COMMAND_TOPIC_DELETE = 4,
    COMMAND_TOPIC_CONFIGURE = 5,
    COMMAND_SEGMENT_ROLL = 6,
    COMMAND_PRODUCER_IDS = 7, /* Hands out a block of 1000 producer ids. */
    COMMAND_SEGMENT_TRIM = 8, /* The log of a partition starts later; segments below it go. */
    COMMAND_TOPIC_GROW = 9,   /* More partitions, behind those that are there. */
    COMMAND_ADOPT = 16,       /* Segments that are there already, of one partition. */
    COMMAND_RAISE = 17,       /* Ids below these were handed out by a map that was lost. */
};

/* Of one ADOPT; more of them go into further ones. */
enum {
    COMMAND_ADOPT_SEGMENTS_MAX = 1000,
    COMMAND_ADOPT_ROW_BYTES = 48,
    COMMAND_ADOPT_KEPT_BYTES = 16
};

enum { COMMAND_ADDRESSES_MAX = 8, COMMAND_CONFIGS_MAX = 64, COMMAND_BYTES_MAX = 64 << 10 };

struct command_config {
    struct bytes key, value; /* value.data NULL: back to the default. */
};

struct command {
    enum command_kind kind;
    uint32_t origin; /* Node id. */
    uint64_t
        sequence; /* Of that origin, +1 each; the machine remembers recent ones with results. */
    uint64_t
        time_ms; /* The proposer's clock: data, never read by the machine from anywhere else. */

    union {
        struct {
            uint8_t cluster_id[16];
        } cluster_init;

        struct {
            uint32_t node_id;
            uint64_t boot;
            uint32_t core_count;
            uint32_t address_count;
            struct io_address addresses[COMMAND_ADDRESSES_MAX];
        } node_register;

        struct {
            struct topic_id id; /* Drawn by the proposer. */
            struct bytes name;
            uint32_t partition_count;
            uint32_t replication_factor; /* 0 = default. */
            uint32_t config_count;
            struct command_config configs[COMMAND_CONFIGS_MAX];
        } topic_create;

        struct {
            struct topic_id id;
        } topic_delete;

        struct {
            struct topic_id id;
            uint32_t config_count;
            struct command_config configs[COMMAND_CONFIGS_MAX];
        } topic_configure;

        struct {
            struct topic_id id;
            uint32_t partition_count; /* From now on, in all: more than the map's. */
        } topic_grow;

        struct {
            struct partition_id partition;
            uint64_t segment_id; /* The open one to seal, 0 = none: compared with the map's. */
            uint64_t end_offset, digest;
            bool open_next;
            uint64_t salt; /* Of the next one, drawn by the proposer. */
            enum durability durability;
            uint32_t leader_node;
            uint64_t log_start; /* Of the sealed one: what it knows; see struct shard_roll. */
            int64_t timestamp_max;
            uint64_t bytes;
        } segment_roll;

        struct {
            struct partition_id partition;
            uint64_t segment_id; /* The first that stays: compared with the map's. */
            uint64_t log_start;
        } segment_trim;

        struct {
            uint32_t count;
        } producer_ids;

        struct {
            struct partition_id partition;
            struct bytes name; /* Of the topic, which is made if it is not there. */
            uint32_t partition_count;
            uint32_t epoch; /* Of the partition: a greater one than its segments' if one is gone. */
            uint32_t leader_node;
            enum durability durability; /* The topic's, if it is made. */
            struct bytes segments;      /* Rows of COMMAND_ADOPT_ROW_BYTES, by base offset. */
            struct bytes kept;  /* As many of COMMAND_ADOPT_KEPT_BYTES; or none: not known. */
            uint64_t log_start; /* Within these segments; or 0. */
        } adopt;

        struct {
            uint64_t segment_next;  /* Without the bit; nothing falls. */
            uint64_t producer_next; /* Below COMMAND_RAISE_MAX, both. */
        } raise;
    };
};

struct command_result {
    enum err err;
    struct topic_id topic;       /* TOPIC_CREATE */
    struct segment_info segment; /* SEGMENT_ROLL with open_next */
    uint64_t producer_id_first;  /* PRODUCER_IDS */
};

/* A RAISE leaves more ids than anybody will ever hand out. */
#define COMMAND_RAISE_MAX ((uint64_t)1 << 62)

/* One row of an ADOPT, and what retention needs of it. Decoding: ERR_CORRUPT. */
void command_adopt_encode(const struct segment_info *info, uint8_t *row);
NODISCARD enum err command_adopt_decode(const uint8_t *row, struct segment_info *info);
void command_adopt_encode_kept(const struct segment_info *info, uint8_t *row);

/* Into `data` of `size` bytes; the length (a multiple of 8) or 0 if it does not fit. */
uint32_t command_encode(const struct command *command, uint8_t *data, uint32_t size);

/* Views point into `data`. ERR_CORRUPT, ERR_VERSION. */
NODISCARD enum err command_decode(struct bytes data, struct command *command);
