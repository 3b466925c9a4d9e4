/* What the yardstick's server and its client say to each other: a header, little-endian, and then
 * what it announces.
 *
 *     0 size u32   4 word u32   8 offset u64   16 ...
 *
 *     append   -> size of the payload, YARDSTICK_APPEND, 0; the payload
 *              <- 0, CRC-32C of the payload, its offset: in order, once it is durable
 *     read     -> most bytes wanted, YARDSTICK_READ, cursor (0: the oldest)
 *              <- size of the payloads that follow, 0, the next cursor; size 0 at the end
 */
#pragma once

#include "core/base.h"

enum { YARDSTICK_APPEND = 1, YARDSTICK_READ = 2 };

/* Of a payload, and of one commit. */
#define YARDSTICK_PAYLOAD_BYTES_MAX ((uint32_t)MIB(1))

struct yardstick_header {
    uint32_t size;
    uint32_t word;
    uint64_t offset;
};

_Static_assert(sizeof(struct yardstick_header) == 16, "no padding on the wire");
