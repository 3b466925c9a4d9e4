/* A disk of the simulator: files and directories in memory, behind a volatile cache.
 *
 *     write          visible; its sectors are dirty
 *     write durable  visible and durable, that write alone
 *     sync           what was dirty in that file when the sync was submitted is durable
 *     directories    changes are visible at once and durable in order; syncing a directory makes
 *                    durable all changes up to the last one in it, as a file system with a log
 *                    does, or, apart, its own alone, as POSIX has it
 *     power cut      of the dirty sectors any subset is on the disk, of the directory changes a
 *                    prefix; what was durable is there
 *
 * A file's size is durable with its sectors. A new file's name needs its directory synced, even if
 * the file was: real file systems are kinder, POSIX is not. Everything here happens at once; delays
 * are the engine's. */
#pragma once

#include "core/err.h"
#include "core/io.h"
#include "core/prng.h"

enum {
    DISK_SECTOR_BYTES = 512,
    DISK_PAGE_BYTES = 4096,
    DISK_NAME_BYTES = 96, /* Longest name of a file, the NUL included. */
    DISK_ROOT = 0,
};

struct disk;

/* Draws from `prng` at a cut only; both are borrowed for the disk's life. */
struct disk *disk_create(struct prng *prng);
void disk_destroy(struct disk *disk);

/* Syncing a directory makes its own changes durable, and no others. */
void disk_set_apart(struct disk *disk, bool apart);

/* New bytes of files are refused beyond this with ERR_NO_SPACE. Default: no limit. */
void disk_set_capacity(struct disk *disk, uint64_t bytes);
void disk_space(const struct disk *disk, uint64_t *free_bytes, uint64_t *total_bytes);

/* The inode of a path; ERR_NOT_FOUND. "." and "" are the root, a leading '/' means nothing. */
int32_t disk_find(const struct disk *disk, const char *path);

/* As IO_OPEN with these flags, but for O_DIRECT: the inode of a file. */
int32_t disk_open(struct disk *disk, const char *path, uint32_t flags);

bool disk_is_directory(const struct disk *disk, int32_t inode);
uint64_t disk_size(const struct disk *disk, int32_t inode);

/* How many bytes were there. */
uint32_t disk_read(const struct disk *disk, int32_t inode, uint8_t *data, uint32_t size,
                   uint64_t position);

/* True if a cut would leave this name, and all above it, as they are. */
bool disk_name_is_durable(const struct disk *disk, const char *path);

/* From here on nobody may write there, until the process is over; whether somebody did. */
void disk_protect(struct disk *disk, int32_t inode, uint64_t from, uint64_t end);
bool disk_trespassed(const struct disk *disk);
void disk_unprotect_all(struct disk *disk);

/* True if a cut would leave these bytes as they are. */
bool disk_is_durable(const struct disk *disk, int32_t inode, uint64_t position, uint32_t size);

struct disk_write {
    int32_t inode;
    const uint8_t *data;
    uint32_t size;
    uint64_t position;
    bool durable;
};

NODISCARD enum err disk_write(struct disk *disk, const struct disk_write *write);

/* A crash met this write in flight: any subset of its sectors lands, not durable. */
void disk_write_torn(struct disk *disk, const struct disk_write *write);

/* The moment at which a sync is submitted; disk_sync() covers the writes before it. */
uint64_t disk_moment(const struct disk *disk);
void disk_sync(struct disk *disk, int32_t inode, uint64_t moment);

/* The drive flushes its cache: as disk_sync() of all files, but for what made one larger. */
void disk_flush(struct disk *disk, uint64_t moment);

/* A sync failed as it does on Linux: what is dirty in that file stays visible, and no later sync
 * writes it; only a new write does. A cut takes it. */
void disk_lose(struct disk *disk, int32_t inode);

/* As IO_ALLOCATE: zeros, durable. */
NODISCARD enum err disk_allocate(struct disk *disk, int32_t inode, uint64_t position,
                                 uint64_t size);

/* As IO_TRUNCATE. Of what it takes nothing comes back, as a file system with a log has it. */
void disk_truncate(struct disk *disk, int32_t inode, uint64_t size);

NODISCARD enum err disk_rename(struct disk *disk, const char *from, const char *to);
NODISCARD enum err disk_unlink(struct disk *disk, const char *path);
NODISCARD enum err disk_mkdir(struct disk *disk, const char *path);
NODISCARD enum err disk_sync_dir(struct disk *disk, const char *path);

/* Fills io->list; the result as IO_LIST gives it. */
int32_t disk_list(const struct disk *disk, struct io *io);

/* The power fails: the cache is lost in part. Nobody has a file open any more. */
void disk_cut(struct disk *disk);

/* What all cuts took so far: changes of names, and sectors. */
struct disk_losses {
    uint64_t names, sectors, unwritten; /* The last: by disk_lose(). */
};

struct disk_losses disk_losses(const struct disk *disk);

/* Each byte there becomes another one, durable: bit rot. */
void disk_rot(struct disk *disk, int32_t inode, uint64_t position, uint32_t size);
