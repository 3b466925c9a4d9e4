/* What floe doctor finds below data.dir: it opens to read, and never to write. */
#include "tools/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { DISK_PATH_BYTES = 4096, DISK_FREE_FAIL = 3, DISK_FREE_WARN = 10 };

/* Of file systems, what matters of them here. */
struct disk_kind {
    unsigned long magic;
    const char *name, *remedy; /* NULL: it is well. */
};

static const struct disk_kind *disk_kind(unsigned long magic)
{
    static const struct disk_kind kinds[] = {
        {0xef53, "ext4", NULL},
        {0x58465342, "xfs", NULL},
        {0x9123683e, "btrfs",
         "chattr +C on the empty data directory: copy-on-write spreads a log over the disk"},
        {0x2fc12fc1, "zfs", NULL},
        {0xf2f52010, "f2fs", NULL},
        {0x01021994, "tmpfs", "take a disk: nothing here survives a restart of the machine"},
        {0x858458f6, "ramfs", "take a disk: nothing here survives a restart of the machine"},
        {0x794c7630, "overlayfs", "mount a volume: nothing here survives the container"},
        {0x6969, "nfs", "take a local disk: a flush over a network may be lost, locks too"},
        {0xff534d42, "cifs", "take a local disk: a flush over a network may be lost, locks too"},
        {0xfe534d42, "smb2", "take a local disk: a flush over a network may be lost, locks too"},
        {0x65735546, "fuse", "find out what a flush is worth there: the file system is a program"},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        if (kinds[i].magic == magic) {
            return &kinds[i];
        }
    }
    return NULL;
}

/* The directory itself, or what is nearest to it above. */
static void disk_existing(const char *dir, char path[DISK_PATH_BYTES])
{
    struct stat stat_of;
    (void)snprintf(path, DISK_PATH_BYTES, "%s", dir);
    while (stat(path, &stat_of) != 0) {
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            (void)snprintf(path, DISK_PATH_BYTES, ".");
            return;
        }
        slash[slash == path] = '\0';
        if (slash == path && stat(path, &stat_of) != 0) {
            return;
        }
    }
}

/* Whether a server has it; as a reader would ask, and let go at once. */
static bool disk_in_use(const char *dir)
{
    char path[DISK_PATH_BYTES];
    int size = snprintf(path, sizeof(path), "%s/LOCK", dir);
    int fd = size < 0 || (size_t)size >= sizeof(path) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    bool used = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (fd >= 0) {
        close(fd);
    }
    return used;
}

/* True: the directory is there. */
static bool disk_directory(struct doctor *doctor, const char *dir, const char *existing)
{
    struct stat stat_of;
    if (stat(dir, &stat_of) == 0 && !S_ISDIR(stat_of.st_mode)) {
        doctor_say(doctor, "data directory", DOCTOR_FAIL, "give a directory with --data",
                   "%s is a file", dir);
        return false;
    }
    if (stat(dir, &stat_of) != 0) {
        char parent[DISK_PATH_BYTES];
        (void)snprintf(parent, sizeof(parent), "%s", dir);
        char *slash = strrchr(parent, '/');
        if (slash != NULL) {
            slash[slash == parent] = '\0';
        }
        bool made = access(slash != NULL ? parent : ".", W_OK | X_OK) == 0;
        doctor_say(doctor, "data directory", made ? DOCTOR_OK : DOCTOR_FAIL,
                   made ? NULL : "make it, owned by the user that floe runs as", "%s: %s", dir,
                   made ? "the first start makes it" : strerror(errno));
        return false;
    }
    if (access(dir, R_OK | W_OK | X_OK) != 0) {
        doctor_say(doctor, "data directory", DOCTOR_FAIL,
                   "run as the user that owns it, or chown it", "%s: %s", dir, strerror(errno));
        return false;
    }
    doctor_say(doctor, "data directory", DOCTOR_OK, NULL, "%s%s", existing,
               disk_in_use(dir) ? ": in use by a running process" : "");
    return true;
}

/* By a file that floe has there: another one would have to be made. */
static void disk_direct(struct doctor *doctor, const char *dir, bool there)
{
    char path[DISK_PATH_BYTES];
    const char *engine = config_text(doctor->settings.config, "storage.engine");
    int size = snprintf(path, sizeof(path), "%s/superblock", dir);
    if (strcmp(engine, "direct") != 0) {
        doctor_say(doctor, "O_DIRECT", DOCTOR_OK, NULL, "not used: storage.engine is %s", engine);
        return;
    }
    if (!there || size < 0 || (size_t)size >= sizeof(path) || access(path, R_OK) != 0) {
        doctor_say(doctor, "O_DIRECT", DOCTOR_OK, NULL, "the first start will tell: no file yet");
        return;
    }
    int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    bool good = fd >= 0;
    doctor_say(doctor, "O_DIRECT", good ? DOCTOR_OK : DOCTOR_FAIL,
               good ? NULL : "set storage.engine=buffered, or take another file system", "%s",
               good ? "allowed" : strerror(errno));
    if (good) {
        close(fd);
    }
}

static void disk_space(struct doctor *doctor, const char *existing)
{
    struct statvfs space;
    if (statvfs(existing, &space) != 0) {
        doctor_say(doctor, "free space", DOCTOR_FAIL, "check the disk", "%s: %s", existing,
                   strerror(errno));
        return;
    }
    uint64_t total = (uint64_t)space.f_blocks * space.f_frsize;
    uint64_t free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    uint64_t percent = total == 0 ? 0 : free_bytes * 100 / total;
    enum doctor_result result = percent < DISK_FREE_FAIL   ? DOCTOR_FAIL
                                : percent < DISK_FREE_WARN ? DOCTOR_WARN
                                                           : DOCTOR_OK;
    doctor_say(doctor, "free space", result,
               result == DOCTOR_OK ? NULL
                                   : "free some: lower retention.bytes or retention.ms, trim "
                                     "topics, or take a larger disk",
               "%" PRIu64 " MiB of %" PRIu64 " MiB, %" PRIu64 " %%", free_bytes >> 20, total >> 20,
               percent);
}

void doctor_check_disk(struct doctor *doctor)
{
    char existing[DISK_PATH_BYTES];
    struct statfs system;
    const char *dir = config_text(doctor->settings.config, "data.dir");
    disk_existing(dir, existing);
    bool there = disk_directory(doctor, dir, existing);
    if (statfs(existing, &system) != 0) {
        doctor_say(doctor, "file system", DOCTOR_FAIL, "check the path and the mount", "%s: %s",
                   existing, strerror(errno));
        return;
    }
    const struct disk_kind *kind = disk_kind((unsigned long)system.f_type);
    if (kind == NULL) {
        doctor_say(doctor, "file system", DOCTOR_WARN,
                   "ext4 and xfs are what floe is tested on; find out what a flush is worth there",
                   "of a kind that is not known here (%#lx)", (unsigned long)system.f_type);
    } else {
        doctor_say(doctor, "file system", kind->remedy != NULL ? DOCTOR_WARN : DOCTOR_OK,
                   kind->remedy, "%s", kind->name);
    }
    disk_direct(doctor, dir, there);
    disk_space(doctor, existing);
}
