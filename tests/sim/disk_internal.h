/* What disk.c (bytes) and disk_names.c (directories) share. */
#pragma once

#include "tests/sim/disk.h"

enum { PAGE_SECTORS = DISK_PAGE_BYTES / DISK_SECTOR_BYTES };

struct page {
    uint8_t *now, *before;
    uint64_t dirty[PAGE_SECTORS];
    uint32_t dirty_count;
};

struct entry {
    char name[DISK_NAME_BYTES];
    int32_t inode;
};

struct entries {
    struct entry *rows;
    uint32_t count, capacity;
};

struct inode {
    bool directory;
    struct page *pages;
    uint64_t page_count;
    uint64_t size, size_durable, size_dirty; /* size_dirty: a moment, as a sector's. */
    struct entries now, durable;             /* Of a directory. */
    uint64_t protected_from, protected_end;  /* See disk_protect(). */
};

/* `inode` gets `name` in `directory` (-1: none) and loses `name_from` in `from` (-1: none). Apart,
 * no change has two directories. */
struct change {
    int32_t inode, directory, from;
    char name[DISK_NAME_BYTES], name_from[DISK_NAME_BYTES];
};

struct disk {
    struct prng *prng;
    struct inode **inodes;
    uint32_t inode_count, inode_capacity;
    struct change *changes; /* Visible, not durable; in order. */
    uint32_t change_count, change_capacity;
    bool apart; /* A directory's sync settles its own changes only. */
    uint64_t moment;
    uint64_t capacity, used;
    bool trespassed;
    struct disk_losses losses;
};

/* disk.c */
void *disk_grow(void *rows, uint32_t *capacity, size_t row_bytes);
int32_t inode_new(struct disk *disk, bool directory);
struct inode *inode_of(const struct disk *disk, int32_t index);
void inode_free(struct disk *disk, uint32_t index);

/* disk_names.c */
void disk_settle(struct disk *disk, uint32_t count);
void disk_names_cut(struct inode *inode);
void disk_collect(struct disk *disk);
