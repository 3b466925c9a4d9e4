/* The pure state machine: (map, command) -> map, result. No clock, no I/O, no randomness: what it
 * needs of these is in the command. The same commands give the same bytes of machine_encode()
 * everywhere. */
#pragma once

#include "meta/command.h"
#include "meta/map.h"

/* Called for each topic that an applied command touched, after the change. */
enum machine_change {
    MACHINE_TOPIC_CREATED,
    MACHINE_TOPIC_DELETED, /* `topic` is as it was; gone after the call. */
    MACHINE_TOPIC_CONFIGURED,
    MACHINE_TOPIC_GROWN, /* `partition` is the first new one. */
    MACHINE_SEGMENT_ROLLED,
    MACHINE_SEGMENTS_TRIMMED,
};

struct machine_watch {
    void *context;
    void (*changed)(void *context, enum machine_change change, const struct map_topic *topic,
                    uint32_t partition);
};

/* Applies a command; `version` is the map's afterwards, greater than before. A duplicate {origin,
 * sequence} changes nothing and gets the result of its first time. Errors are results, never
 * failures: the map is then unchanged. */
void machine_apply(struct map *map, uint64_t version, const struct command *command,
                   struct command_result *result, const struct machine_watch *watch);

/* The whole map as bytes (versioned, with CRC), for snapshots and for cores that start. The size
 * needed; writes only if `size` suffices. */
uint64_t machine_encode(const struct map *map, uint8_t *data, uint64_t size);
NODISCARD enum err machine_decode(struct map *map, const uint8_t *data, uint64_t size);
