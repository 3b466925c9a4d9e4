/* Superblock slots: to bytes and back, and the choice between two. */
#include "shard/superblock.h"

#include "core/bytes.h"
#include "core/crc32c.h"

#include <string.h>

enum { CRC_AT = 4092 };

static const char superblock_magic[8] = {'F', 'L', 'O', 'E', 'S', 'U', 'P', 'R'};

void superblock_encode(const struct superblock *superblock, uint8_t *slot)
{
    memset(slot, 0, SUPERBLOCK_BYTES);
    memcpy(slot, superblock_magic, 8);
    store_le32(slot + 8, SUPERBLOCK_VERSION);
    store_le32(slot + 12, superblock->version_min);
    memcpy(slot + 16, superblock->directory_id, 16);
    memcpy(slot + 32, superblock->disk_id, 16);
    memcpy(slot + 48, superblock->cluster_id, 16);
    store_le32(slot + 64, superblock->owner);
    store_le32(slot + 68, superblock->node_id);
    store_le64(slot + 72, superblock->boot);
    memcpy(slot + 80, superblock->boot_nonce, 16);
    memcpy(slot + 96, superblock->kernel_boot_id, 16);
    store_le64(slot + 112, superblock->time_ms);
    store_le64(slot + 120, superblock->next_segment);
    store_le64(slot + 128, superblock->flags);
    store_le32(slot + CRC_AT, crc32c(0, slot, CRC_AT));
}

enum err superblock_decode(const uint8_t *slot, struct superblock *superblock)
{
    memset(superblock, 0, sizeof(*superblock));
    if (memcmp(slot, superblock_magic, 8) != 0) {
        return ERR_FOREIGN;
    }
    if (load_le32(slot + CRC_AT) != crc32c(0, slot, CRC_AT)) {
        return ERR_CORRUPT;
    }
    superblock->version_min = load_le32(slot + 12);
    if (superblock->version_min > SUPERBLOCK_VERSION) {
        return ERR_VERSION;
    }
    memcpy(superblock->directory_id, slot + 16, 16);
    memcpy(superblock->disk_id, slot + 32, 16);
    memcpy(superblock->cluster_id, slot + 48, 16);
    superblock->owner = load_le32(slot + 64);
    superblock->node_id = load_le32(slot + 68);
    superblock->boot = load_le64(slot + 72);
    memcpy(superblock->boot_nonce, slot + 80, 16);
    memcpy(superblock->kernel_boot_id, slot + 96, 16);
    superblock->time_ms = load_le64(slot + 112);
    superblock->next_segment = load_le64(slot + 120);
    superblock->flags = load_le64(slot + 128);
    return OK;
}

enum err superblock_choose(const uint8_t *slots, struct superblock *chosen, uint64_t *boot)
{
    struct superblock slot[SUPERBLOCK_SLOTS];
    enum err err[SUPERBLOCK_SLOTS];
    uint32_t valid = 0, newest = 0;
    for (uint32_t i = 0; i < SUPERBLOCK_SLOTS; i++) {
        err[i] = superblock_decode(slots + (size_t)i * SUPERBLOCK_BYTES, &slot[i]);
        if (err[i] == ERR_VERSION) {
            return ERR_VERSION;
        }
        if (err[i] == OK && (valid == 0 || slot[i].boot > slot[newest].boot)) {
            newest = i;
        }
        valid += err[i] == OK;
    }
    bool apart = valid == SUPERBLOCK_SLOTS && memcmp(slot[0].directory_id, slot[1].directory_id,
                                                     sizeof(slot[0].directory_id)) != 0;
    if (valid == 0 || apart) {
        return ERR_DAMAGED;
    }
    *chosen = slot[newest];
    *boot = slot[newest].boot + (valid == SUPERBLOCK_SLOTS ? 1 : 2);
    return OK;
}
