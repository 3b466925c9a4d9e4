/* The superblock: who owns a data directory, in two slots that are written one after the other at
 * every start, before anything else. Little-endian.
 *
 *     0 "FLOESUPR"  8 version u32  12 least version that may open u32  16 directory id 16
 *     32 disk id 16  48 cluster id 16  64 owner u32 (1 library, 2 server)  68 node id u32
 *     72 boot number u64  80 boot nonce 16  96 kernel boot id 16  112 time ms u64
 *     120 next segment number u64  128 flags u64 (1: adopting)  4092 CRC-32C of 0..4091 */
#pragma once

#include "core/err.h"

enum { SUPERBLOCK_BYTES = 4096, SUPERBLOCK_VERSION = 1, SUPERBLOCK_SLOTS = 2 };

enum superblock_owner {
    SUPERBLOCK_LIBRARY = 1,
    SUPERBLOCK_SERVER = 2,
};

/* A server took the directory over and its map does not have all of the segments yet. */
#define SUPERBLOCK_ADOPTING ((uint64_t)1)

struct superblock {
    uint32_t version_min;
    uint8_t directory_id[16], disk_id[16], cluster_id[16];
    uint32_t owner, node_id;
    uint64_t boot;
    uint8_t boot_nonce[16], kernel_boot_id[16];
    uint64_t time_ms, next_segment, flags;
};

void superblock_encode(const struct superblock *superblock, uint8_t *slot);

/* ERR_FOREIGN: not a superblock. ERR_CORRUPT. ERR_VERSION: a newer floe wrote it. */
NODISCARD enum err superblock_decode(const uint8_t *slot, struct superblock *superblock);

/* Which of two slots speaks, and the boot number of the start that reads them: the greatest valid
 * plus 1, or plus 2 when only one slot is valid, because the lost one may have been newer.
 * ERR_DAMAGED: none is valid; ERR_VERSION if one is newer. */
NODISCARD enum err superblock_choose(const uint8_t *slots, struct superblock *chosen,
                                     uint64_t *boot);
