/* See the header. A file is a table of pages; a page holds what is visible and, while a sector of
 * it is dirty, what the disk would show after a cut.
 *
 *     page   now      NULL: zeros
 *            before   only while dirty: the durable bytes of every sector
 *            dirty[]  moment of the oldest write that is not durable, 0 = clean, UINT64_MAX = lost
 *
 * A sync takes a sector that was dirty when it began as it is now: a disk may always write more. */
#include "core/assert.h"
#include "tests/sim/disk_internal.h"

#include <stdlib.h>
#include <string.h>

/* What a cut leaves of the cache. */
enum cut_mode {
    CUT_NOTHING,
    CUT_ALL,
    CUT_SECTORS,
    CUT_PAGES,
    CUT_FILES,
    CUT_MODES,
};

void *disk_grow(void *rows, uint32_t *capacity, size_t row_bytes)
{
    *capacity = *capacity == 0 ? 8 : *capacity * 2;
    void *grown = realloc(rows, *capacity * row_bytes);
    ASSERT(grown != NULL);
    return grown;
}

int32_t inode_new(struct disk *disk, bool directory)
{
    struct inode *inode = calloc(1, sizeof(*inode));
    ASSERT(inode != NULL);
    inode->directory = directory;
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i] == NULL) {
            disk->inodes[i] = inode;
            return (int32_t)i;
        }
    }
    if (disk->inode_count == disk->inode_capacity) {
        disk->inodes = disk_grow(disk->inodes, &disk->inode_capacity, sizeof(*disk->inodes));
    }
    disk->inodes[disk->inode_count] = inode;
    return (int32_t)disk->inode_count++;
}

struct inode *inode_of(const struct disk *disk, int32_t index)
{
    ASSERT(index >= 0 && (uint32_t)index < disk->inode_count);
    ASSERT(disk->inodes[index] != NULL);
    return disk->inodes[index];
}

static void page_clean(struct page *page)
{
    free(page->before);
    page->before = NULL;
    ASSERT(page->dirty_count == 0);
}

void inode_free(struct disk *disk, uint32_t index)
{
    struct inode *inode = disk->inodes[index];
    for (uint64_t i = 0; i < inode->page_count; i++) {
        free(inode->pages[i].now);
        free(inode->pages[i].before);
    }
    disk->used -= inode->size;
    free(inode->pages);
    free(inode->now.rows);
    free(inode->durable.rows);
    free(inode);
    disk->inodes[index] = NULL;
}

struct disk *disk_create(struct prng *prng)
{
    struct disk *disk = calloc(1, sizeof(*disk));
    ASSERT(disk != NULL);
    disk->prng = prng;
    disk->capacity = UINT64_MAX / 2;
    disk->moment = 1;
    int32_t root = inode_new(disk, true);
    ASSERT(root == DISK_ROOT);
    return disk;
}

void disk_destroy(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i] != NULL) {
            inode_free(disk, i);
        }
    }
    ASSERT(disk->used == 0);
    free(disk->inodes);
    free(disk->changes);
    free(disk);
}

void disk_set_apart(struct disk *disk, bool apart)
{
    disk->apart = apart;
}

void disk_set_capacity(struct disk *disk, uint64_t bytes)
{
    disk->capacity = bytes;
}

void disk_space(const struct disk *disk, uint64_t *free_bytes, uint64_t *total_bytes)
{
    *total_bytes = disk->capacity;
    *free_bytes = disk->capacity > disk->used ? disk->capacity - disk->used : 0;
}

bool disk_is_directory(const struct disk *disk, int32_t inode)
{
    return inode_of(disk, inode)->directory;
}

uint64_t disk_size(const struct disk *disk, int32_t inode)
{
    return inode_of(disk, inode)->size;
}

uint32_t disk_read(const struct disk *disk, int32_t index, uint8_t *data, uint32_t size,
                   uint64_t position)
{
    const struct inode *inode = inode_of(disk, index);
    if (position >= inode->size) {
        return 0;
    }
    size = (uint32_t)min_u64(size, inode->size - position);
    for (uint32_t done = 0; done < size;) {
        uint64_t page = (position + done) / DISK_PAGE_BYTES;
        uint32_t at = (uint32_t)((position + done) % DISK_PAGE_BYTES);
        uint32_t now = min_u32(DISK_PAGE_BYTES - at, size - done);
        if (page < inode->page_count && inode->pages[page].now != NULL) {
            memcpy(data + done, inode->pages[page].now + at, now);
        } else {
            memset(data + done, 0, now);
        }
        done += now;
    }
    return size;
}

void disk_protect(struct disk *disk, int32_t index, uint64_t from, uint64_t end)
{
    struct inode *inode = inode_of(disk, index);
    inode->protected_from = from;
    inode->protected_end = end;
}

bool disk_trespassed(const struct disk *disk)
{
    return disk->trespassed;
}

void disk_unprotect_all(struct disk *disk)
{
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i] != NULL) {
            disk_protect(disk, (int32_t)i, 0, 0);
        }
    }
}

bool disk_is_durable(const struct disk *disk, int32_t index, uint64_t position, uint32_t size)
{
    const struct inode *inode = inode_of(disk, index);
    bool durable = position + size <= inode->size_durable;
    for (uint64_t at = position; durable && at < position + size;
         at = align_up(at + 1, DISK_SECTOR_BYTES)) {
        uint64_t page = at / DISK_PAGE_BYTES;
        durable = page >= inode->page_count ||
                  inode->pages[page].dirty[at % DISK_PAGE_BYTES / DISK_SECTOR_BYTES] == 0;
    }
    return durable;
}

static struct page *inode_page(struct inode *inode, uint64_t index)
{
    if (index >= inode->page_count) {
        uint64_t count = max_u64(index + 1, inode->page_count * 2);
        inode->pages = realloc(inode->pages, count * sizeof(*inode->pages));
        ASSERT(inode->pages != NULL);
        memset(inode->pages + inode->page_count, 0,
               (count - inode->page_count) * sizeof(*inode->pages));
        inode->page_count = count;
    }
    struct page *page = &inode->pages[index];
    if (page->now == NULL) {
        page->now = calloc(1, DISK_PAGE_BYTES);
        ASSERT(page->now != NULL);
    }
    return page;
}

static void sector_set_clean(struct page *page, uint32_t sector)
{
    if (page->dirty[sector] != 0) {
        page->dirty[sector] = 0;
        page->dirty_count--;
        uint32_t at = sector * DISK_SECTOR_BYTES;
        memcpy(page->before + at, page->now + at, DISK_SECTOR_BYTES);
    }
}

/* Part of one sector. */
static void sector_write(struct disk *disk, struct page *page, uint32_t at, const uint8_t *data,
                         uint32_t size, bool durable)
{
    uint32_t sector = at / DISK_SECTOR_BYTES;
    if (!durable && page->dirty[sector] == 0) {
        if (page->before == NULL) {
            page->before = malloc(DISK_PAGE_BYTES);
            ASSERT(page->before != NULL);
            memcpy(page->before, page->now, DISK_PAGE_BYTES);
        }
        page->dirty[sector] = disk->moment;
        page->dirty_count++;
    }
    if (page->dirty[sector] == UINT64_MAX) {
        page->dirty[sector] = disk->moment;
    }
    memcpy(page->now + at, data, size);
    if (durable) {
        sector_set_clean(page, sector);
        if (page->before != NULL) {
            memcpy(page->before + at, data, size);
        }
    }
}

static enum err inode_extend(struct disk *disk, struct inode *inode, uint64_t end, bool durable)
{
    if (end > inode->size) {
        if (end - inode->size > disk->capacity - min_u64(disk->used, disk->capacity)) {
            return ERR_NO_SPACE;
        }
        disk->used += end - inode->size;
        inode->size = end;
        inode->size_dirty = inode->size_dirty == 0 ? disk->moment : inode->size_dirty;
    }
    if (durable && end > inode->size_durable) {
        inode->size_durable = end;
    }
    if (inode->size_durable == inode->size) {
        inode->size_dirty = 0;
    }
    return OK;
}

/* `chosen`: NULL, or which sectors of the write land. */
static enum err disk_write_sectors(struct disk *disk, const struct disk_write *write,
                                   const bool *chosen)
{
    struct inode *inode = inode_of(disk, write->inode);
    ASSERT(!inode->directory);
    disk->moment++;
    disk->trespassed = disk->trespassed || (write->position < inode->protected_end &&
                                            write->position + write->size > inode->protected_from);
    uint32_t sector = 0;
    for (uint32_t done = 0; done < write->size; sector++) {
        uint64_t position = write->position + done;
        uint32_t at = (uint32_t)(position % DISK_PAGE_BYTES);
        uint32_t size = min_u32(DISK_SECTOR_BYTES - at % DISK_SECTOR_BYTES, write->size - done);
        if (chosen == NULL || chosen[sector]) {
            enum err err = inode_extend(disk, inode, position + size, write->durable);
            if (err != OK) {
                return err;
            }
            struct page *page = inode_page(inode, position / DISK_PAGE_BYTES);
            sector_write(disk, page, at, write->data + done, size, write->durable);
            if (page->dirty_count == 0) {
                page_clean(page);
            }
        }
        done += size;
    }
    return OK;
}

enum err disk_write(struct disk *disk, const struct disk_write *write)
{
    return disk_write_sectors(disk, write, NULL);
}

void disk_write_torn(struct disk *disk, const struct disk_write *write)
{
    uint32_t count = write->size / DISK_SECTOR_BYTES + 2;
    bool *chosen = calloc(count, sizeof(*chosen));
    ASSERT(chosen != NULL);
    enum cut_mode mode = (enum cut_mode)prng_below(disk->prng, CUT_MODES);
    uint64_t prefix = prng_below(disk->prng, count);
    bool page = false;
    for (uint32_t i = 0; i < count; i++) {
        page = i % PAGE_SECTORS == 0 ? prng_chance(disk->prng, 50) : page;
        chosen[i] = mode == CUT_ALL || (mode == CUT_SECTORS && prng_chance(disk->prng, 50)) ||
                    (mode == CUT_PAGES && page) || (mode == CUT_FILES && i < prefix);
    }
    struct disk_write torn = *write;
    torn.durable = false;
    enum err err = disk_write_sectors(disk, &torn, chosen);
    MAYBE(err != OK); /* The disk is full: as much as fits. */
    free(chosen);
}

uint64_t disk_moment(const struct disk *disk)
{
    return disk->moment;
}

/* Sectors up to `limit` that were dirty at that moment. */
static void inode_sync(struct inode *inode, uint64_t moment, uint64_t limit)
{
    for (uint64_t i = 0; i < inode->page_count; i++) {
        struct page *page = &inode->pages[i];
        for (uint32_t s = 0; s < PAGE_SECTORS && page->dirty_count > 0; s++) {
            uint64_t end = i * DISK_PAGE_BYTES + (s + 1) * (uint64_t)DISK_SECTOR_BYTES;
            if (page->dirty[s] != 0 && page->dirty[s] <= moment && end <= limit) {
                sector_set_clean(page, s);
                inode->size_durable = max_u64(inode->size_durable, min_u64(end, inode->size));
            }
        }
        if (page->dirty_count == 0) {
            page_clean(page);
        }
    }
}

void disk_flush(struct disk *disk, uint64_t moment)
{
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        struct inode *inode = disk->inodes[i];
        if (inode != NULL && !inode->directory) {
            inode_sync(inode, moment, inode->size_durable);
        }
    }
}

void disk_sync(struct disk *disk, int32_t index, uint64_t moment)
{
    struct inode *inode = inode_of(disk, index);
    if (inode->size_dirty != 0 && inode->size_dirty <= moment) {
        inode->size_durable = inode->size;
        inode->size_dirty = 0;
    }
    inode_sync(inode, moment, UINT64_MAX);
    /* A file is never longer on the disk than it is, nor shorter than a durable sector. */
    ASSERT(inode->size_durable <= inode->size);
}

void disk_lose(struct disk *disk, int32_t index)
{
    struct inode *inode = inode_of(disk, index);
    for (uint64_t i = 0; i < inode->page_count; i++) {
        struct page *page = &inode->pages[i];
        for (uint32_t s = 0; s < PAGE_SECTORS && page->dirty_count > 0; s++) {
            disk->losses.unwritten += page->dirty[s] != 0;
            page->dirty[s] = page->dirty[s] != 0 ? UINT64_MAX : 0;
        }
    }
}

enum err disk_allocate(struct disk *disk, int32_t index, uint64_t position, uint64_t size)
{
    struct inode *inode = inode_of(disk, index);
    disk->moment++;
    uint64_t end = position + size;
    enum err err = inode_extend(disk, inode, end, true);
    if (err != OK) {
        return err;
    }
    /* Pages that were never written are zeros already. */
    for (uint64_t at = position; at < end;) {
        uint64_t page = at / DISK_PAGE_BYTES;
        uint64_t next = min_u64((page + 1) * DISK_PAGE_BYTES, end);
        if (page < inode->page_count && inode->pages[page].now != NULL) {
            static const uint8_t zeros[DISK_PAGE_BYTES];
            struct disk_write write = {index, zeros, (uint32_t)(next - at), at, true};
            err = disk_write_sectors(disk, &write, NULL);
            ASSERT(err == OK);
        }
        at = next;
    }
    return OK;
}

void disk_truncate(struct disk *disk, int32_t index, uint64_t size)
{
    struct inode *inode = inode_of(disk, index);
    ASSERT(is_aligned(size, DISK_PAGE_BYTES));
    if (size >= inode->size) {
        return;
    }
    disk->moment++;
    for (uint64_t i = size / DISK_PAGE_BYTES; i < inode->page_count; i++) {
        struct page *page = &inode->pages[i];
        free(page->now);
        free(page->before);
        *page = (struct page){0};
    }
    disk->used -= inode->size - size;
    inode->size = size;
    inode->size_durable = min_u64(inode->size_durable, size);
    inode->size_dirty = inode->size_durable == size ? 0 : inode->size_dirty;
}

/* Reverts the dirty sectors of a page that did not land; returns the end of the last that did. */
static uint64_t page_cut(struct disk *disk, struct page *page, enum cut_mode mode, bool file)
{
    uint64_t end = 0;
    bool whole = mode == CUT_ALL || (mode == CUT_FILES && file) ||
                 (mode == CUT_PAGES && prng_chance(disk->prng, 50));
    for (uint32_t s = 0; s < PAGE_SECTORS; s++) {
        uint32_t at = s * DISK_SECTOR_BYTES;
        if (page->dirty[s] == 0) {
            continue;
        }
        if (page->dirty[s] != UINT64_MAX &&
            (whole || (mode == CUT_SECTORS && prng_chance(disk->prng, 50)))) {
            end = at + DISK_SECTOR_BYTES;
        } else {
            memcpy(page->now + at, page->before + at, DISK_SECTOR_BYTES);
            disk->losses.sectors++;
        }
        page->dirty[s] = 0;
    }
    page->dirty_count = 0;
    page_clean(page);
    return end;
}

static void inode_cut(struct disk *disk, struct inode *inode, enum cut_mode mode)
{
    bool file = prng_chance(disk->prng, 50);
    uint64_t size = inode->size_durable;
    for (uint64_t i = 0; i < inode->page_count; i++) {
        struct page *page = &inode->pages[i];
        if (page->dirty_count > 0) {
            uint64_t end = page_cut(disk, page, mode, file);
            size = max_u64(size, end == 0 ? 0 : i * DISK_PAGE_BYTES + end);
        }
    }
    if (mode == CUT_ALL || (mode == CUT_FILES && file)) {
        size = inode->size;
    }
    size = min_u64(size, inode->size);
    disk->used -= inode->size - size;
    inode->size = size;
    inode->size_durable = size;
    inode->size_dirty = 0;
    for (uint64_t i = div_ceil(size, DISK_PAGE_BYTES); i < inode->page_count; i++) {
        free(inode->pages[i].now);
        inode->pages[i].now = NULL;
    }
}

void disk_cut(struct disk *disk)
{
    enum cut_mode mode = (enum cut_mode)prng_below(disk->prng, CUT_MODES);
    uint32_t keep = mode == CUT_NOTHING ? 0
                    : mode == CUT_ALL   ? disk->change_count
                                        : (uint32_t)prng_below(disk->prng, disk->change_count + 1);
    disk_settle(disk, keep);
    disk->losses.names += disk->change_count;
    disk->change_count = 0;
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        struct inode *inode = disk->inodes[i];
        if (inode == NULL) {
            continue;
        }
        inode_cut(disk, inode, mode);
        disk_names_cut(inode);
    }
    disk_collect(disk);
}

struct disk_losses disk_losses(const struct disk *disk)
{
    return disk->losses;
}

void disk_rot(struct disk *disk, int32_t index, uint64_t position, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        uint8_t byte;
        if (disk_read(disk, index, &byte, 1, position + i) == 0) {
            return;
        }
        byte ^= (uint8_t)(1 + prng_below(disk->prng, UINT8_MAX));
        struct disk_write write = {index, &byte, 1, position + i, true};
        enum err err = disk_write(disk, &write);
        ASSERT(err == OK);
    }
}
