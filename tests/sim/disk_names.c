/* The directories of a disk: names, and the changes to them that are not durable yet. */
#include "core/assert.h"
#include "tests/sim/disk_internal.h"

#include <stdlib.h>
#include <string.h>

static struct entry *entries_find(const struct entries *entries, const char *name)
{
    for (uint32_t i = 0; i < entries->count; i++) {
        if (strcmp(entries->rows[i].name, name) == 0) {
            return &entries->rows[i];
        }
    }
    return NULL;
}

static void entries_set(struct entries *entries, const char *name, int32_t inode)
{
    struct entry *entry = entries_find(entries, name);
    if (entry == NULL) {
        if (entries->count == entries->capacity) {
            entries->rows = disk_grow(entries->rows, &entries->capacity, sizeof(*entries->rows));
        }
        entry = &entries->rows[entries->count++];
        memset(entry->name, 0, sizeof(entry->name));
        size_t length = strlen(name);
        ASSERT(length < sizeof(entry->name));
        memcpy(entry->name, name, length);
    }
    entry->inode = inode;
}

static void entries_remove(struct entries *entries, const char *name)
{
    struct entry *entry = entries_find(entries, name);
    if (entry != NULL) {
        entries->count--;
        uint32_t behind = entries->count - (uint32_t)(entry - entries->rows);
        memmove(entry, entry + 1, behind * sizeof(*entry)); /* Listings keep their order. */
    }
}

/* Walks to the directory that holds the last name of `path`; ERR_NOT_FOUND. `durable`: by the names
 * that a cut would leave. */
static int32_t disk_walk_names(const struct disk *disk, const char *path, bool durable,
                               char name[DISK_NAME_BYTES])
{
    int32_t at = DISK_ROOT;
    name[0] = 0;
    while (*path != 0) {
        size_t length = strcspn(path, "/");
        if (length == 0 || (length == 1 && path[0] == '.')) {
            path += length + (path[length] == '/');
            continue;
        }
        if (name[0] != 0) {
            const struct inode *inode = inode_of(disk, at);
            const struct entry *entry = entries_find(durable ? &inode->durable : &inode->now, name);
            if (entry == NULL || !inode_of(disk, entry->inode)->directory) {
                return ERR_NOT_FOUND;
            }
            at = entry->inode;
        }
        ASSERT(length < DISK_NAME_BYTES);
        memcpy(name, path, length);
        name[length] = 0;
        path += length + (path[length] == '/');
    }
    return at;
}

static int32_t disk_walk(const struct disk *disk, const char *path, char name[DISK_NAME_BYTES])
{
    return disk_walk_names(disk, path, false, name);
}

static int32_t disk_find_name(const struct disk *disk, const char *path, bool durable)
{
    char name[DISK_NAME_BYTES];
    int32_t directory = disk_walk_names(disk, path, durable, name);
    if (directory < 0 || name[0] == 0) {
        return directory;
    }
    const struct inode *inode = inode_of(disk, directory);
    const struct entry *entry = entries_find(durable ? &inode->durable : &inode->now, name);
    return entry == NULL ? (int32_t)ERR_NOT_FOUND : entry->inode;
}

int32_t disk_find(const struct disk *disk, const char *path)
{
    return disk_find_name(disk, path, false);
}

bool disk_name_is_durable(const struct disk *disk, const char *path)
{
    int32_t inode = disk_find(disk, path);
    return inode >= 0 && disk_find_name(disk, path, true) == inode;
}

static void change_apply(struct disk *disk, const struct change *change, bool durable)
{
    if (change->from >= 0) {
        struct inode *from = inode_of(disk, change->from);
        entries_remove(durable ? &from->durable : &from->now, change->name_from);
    }
    if (change->directory >= 0) {
        struct inode *to = inode_of(disk, change->directory);
        entries_set(durable ? &to->durable : &to->now, change->name, change->inode);
    }
}

static void change_add(struct disk *disk, const struct change *change)
{
    if (disk->change_count == disk->change_capacity) {
        disk->changes = disk_grow(disk->changes, &disk->change_capacity, sizeof(*disk->changes));
    }
    disk->changes[disk->change_count++] = *change;
    change_apply(disk, change, false);
}

static int32_t disk_make(struct disk *disk, const char *path, bool directory)
{
    struct change change = {.from = -1};
    change.directory = disk_walk(disk, path, change.name);
    if (change.directory < 0) {
        return change.directory;
    }
    if (change.name[0] == 0 || disk_find(disk, path) >= 0) {
        return ERR_EXISTS;
    }
    change.inode = inode_new(disk, directory);
    change_add(disk, &change);
    return change.inode;
}

int32_t disk_open(struct disk *disk, const char *path, uint32_t flags)
{
    int32_t inode = disk_find(disk, path);
    if (inode == ERR_NOT_FOUND && (flags & IO_OPEN_CREATE) != 0) {
        return disk_make(disk, path, false);
    }
    if (inode < 0) {
        return inode;
    }
    if ((flags & IO_OPEN_EXCLUSIVE) != 0) {
        return ERR_EXISTS;
    }
    return inode_of(disk, inode)->directory ? (int32_t)ERR_INVALID : inode;
}

/* Apart, a rename from one directory to another is two changes: first there, then not here. */
enum err disk_rename(struct disk *disk, const char *from, const char *to)
{
    struct change change = {0};
    change.from = disk_walk(disk, from, change.name_from);
    change.directory = disk_walk(disk, to, change.name);
    change.inode = disk_find(disk, from);
    if (change.from < 0 || change.directory < 0 || change.inode < 0) {
        return ERR_NOT_FOUND;
    }
    int32_t old = disk_find(disk, to);
    if (old >= 0 && inode_of(disk, old)->directory) {
        return ERR_EXISTS;
    }
    if (old == change.inode) {
        return OK;
    }
    disk_protect(disk, change.inode, 0, 0); /* What it had is of no use under the new name. */
    if (disk->apart && change.from != change.directory) {
        struct change gone = change;
        change.from = -1;
        gone.directory = -1;
        change_add(disk, &change);
        change_add(disk, &gone);
    } else {
        change_add(disk, &change);
    }
    return OK;
}

enum err disk_unlink(struct disk *disk, const char *path)
{
    struct change change = {.directory = -1};
    change.from = disk_walk(disk, path, change.name_from);
    change.inode = disk_find(disk, path);
    if (change.from < 0 || change.inode < 0) {
        return ERR_NOT_FOUND;
    }
    const struct inode *inode = inode_of(disk, change.inode);
    if (inode->directory && inode->now.count > 0) {
        return ERR_EXISTS;
    }
    change_add(disk, &change);
    return OK;
}

enum err disk_mkdir(struct disk *disk, const char *path)
{
    int32_t inode = disk_make(disk, path, true);
    return inode < 0 ? (enum err)inode : OK;
}

/* Makes the first `count` changes durable. */
void disk_settle(struct disk *disk, uint32_t count)
{
    ASSERT(count <= disk->change_count);
    for (uint32_t i = 0; i < count; i++) {
        change_apply(disk, &disk->changes[i], true);
    }
    disk->change_count -= count;
    if (disk->change_count > 0) {
        memmove(disk->changes, disk->changes + count, disk->change_count * sizeof(*disk->changes));
    }
}

static bool change_is_in(const struct change *change, int32_t directory)
{
    return change->directory == directory || change->from == directory;
}

static void disk_settle_apart(struct disk *disk, int32_t directory)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < disk->change_count; i++) {
        if (change_is_in(&disk->changes[i], directory)) {
            change_apply(disk, &disk->changes[i], true);
        } else {
            disk->changes[left++] = disk->changes[i];
        }
    }
    disk->change_count = left;
}

enum err disk_sync_dir(struct disk *disk, const char *path)
{
    int32_t directory = disk_find(disk, path);
    if (directory < 0 || !inode_of(disk, directory)->directory) {
        return ERR_NOT_FOUND;
    }
    if (disk->apart) {
        disk_settle_apart(disk, directory);
        return OK;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < disk->change_count; i++) {
        if (change_is_in(&disk->changes[i], directory)) {
            count = i + 1;
        }
    }
    disk_settle(disk, count);
    return OK;
}

int32_t disk_list(const struct disk *disk, struct io *io)
{
    int32_t directory = disk_find(disk, io->list.path);
    if (directory < 0 || !inode_of(disk, directory)->directory) {
        return ERR_NOT_FOUND;
    }
    const struct entries *entries = &inode_of(disk, directory)->now;
    uint32_t used = 0;
    for (uint32_t i = io->list.skip; i < entries->count; i++) {
        const struct entry *entry = &entries->rows[i];
        uint32_t length = (uint32_t)strlen(entry->name);
        if (used + length + 2 > io->list.size) {
            io->list.more = true;
            break;
        }
        memcpy(io->list.names + used, entry->name, length);
        used += length;
        if (inode_of(disk, entry->inode)->directory) {
            io->list.names[used++] = '/';
        }
        io->list.names[used++] = 0;
        io->list.count++;
    }
    return (int32_t)used;
}

/* Frees what has no name any more. */
void disk_collect(struct disk *disk)
{
    bool *named = calloc(disk->inode_count, sizeof(*named));
    ASSERT(named != NULL);
    named[DISK_ROOT] = true;
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < disk->inode_count; i++) {
            if (disk->inodes[i] == NULL || !named[i]) {
                continue;
            }
            const struct entries *entries = &disk->inodes[i]->now;
            for (uint32_t e = 0; e < entries->count; e++) {
                more |= !named[entries->rows[e].inode];
                named[entries->rows[e].inode] = true;
            }
        }
    }
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        if (disk->inodes[i] != NULL && !named[i]) {
            inode_free(disk, i);
        }
    }
    free(named);
}

/* What is visible is what was durable. */
void disk_names_cut(struct inode *inode)
{
    inode->now.count = 0;
    for (uint32_t i = 0; i < inode->durable.count; i++) {
        entries_set(&inode->now, inode->durable.rows[i].name, inode->durable.rows[i].inode);
    }
}
