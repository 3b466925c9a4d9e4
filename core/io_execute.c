/* File operations, executed where they are called: in a helper thread, or by whoever may block. */
#include "core/io_engine.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/io_map.h"
#include "core/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* What a system call returned, as the result of `io`. */
static int32_t execute_result(const struct io *io, int rc)
{
    return rc < 0 ? (int32_t)io_op_err(io->op, errno) : rc;
}

/* Direct access is asked for after the open: some file systems create the file and refuse O_DIRECT
 * then, and a second try with O_EXCL would meet the file of the first. */
static int32_t execute_open(struct io *io)
{
    int flags = O_CLOEXEC | ((io->flags & IO_OPEN_WRITE) != 0 ? O_RDWR : O_RDONLY);
    flags |= (io->flags & IO_OPEN_CREATE) != 0 ? O_CREAT : 0;
    flags |= (io->flags & IO_OPEN_EXCLUSIVE) != 0 ? O_EXCL : 0;
    int fd;
    do {
        fd = open(io->open.path, flags, 0644);
    } while (fd < 0 && errno == EINTR);
    io->open.direct = false;
    io->open.flush_domain = 0;
    if (fd >= 0 && (io->flags & IO_OPEN_DIRECT) != 0) {
        io->open.direct = os_file_direct(fd);
    }
    if (io->open.direct && (io->flags & IO_OPEN_WRITE) != 0) {
        io->open.flush_domain = os_file_flush_domain(fd);
    }
    if (fd >= 0 && (io->flags & IO_OPEN_MAPPED) != 0) {
        io_map_opened(fd);
    }
    return execute_result(io, fd);
}

static int32_t execute_read(struct io *io)
{
    uint32_t done = 0;
    while (done < io->read.size) {
        ssize_t rc = pread(io->fd, io->read.data + done, io->read.size - done,
                           (off_t)(io->read.position + done));
        if (rc < 0 && errno == EINTR) {
            continue;
        }
        if (rc < 0 && errno == EINVAL && done > 0) {
            break; /* O_DIRECT, past an end that is not on a block: there is no more. */
        }
        if (rc < 0) {
            return io_op_err(IO_READ, errno);
        }
        if (rc == 0) {
            break;
        }
        done += (uint32_t)rc;
    }
    return (int32_t)done;
}

static int execute_sync(int fd)
{
    return MUTANT("no-dsync") ? 0 : os_file_sync(fd);
}

static ssize_t execute_write_once(const struct io *io)
{
    if ((io->flags & IO_WRITE_DURABLE) != 0) {
        return os_file_write_durable(io->fd, io->write.data, io->write.size, io->write.position);
    }
    ssize_t rc;
    do {
        rc = pwrite(io->fd, io->write.data, io->write.size, (off_t)io->write.position);
    } while (rc < 0 && errno == EINTR);
    return rc;
}

static int32_t execute_write_mapped(const struct io *io)
{
    int32_t result = io_map_write(io->fd, io->write.data, io->write.size, io->write.position);
    if (result >= 0 && (io->flags & IO_WRITE_DURABLE) != 0 && execute_sync(io->fd) != 0) {
        result = io_op_err(IO_WRITE, errno);
    }
    return result;
}

static int32_t execute_write(const struct io *io)
{
    if (io_map_has(io->fd)) {
        return execute_write_mapped(io);
    }
    ssize_t rc = execute_write_once(io);
    if (rc < 0) {
        return io_op_err(IO_WRITE, errno);
    }
    if ((uint64_t)rc != io->write.size) {
        return ERR_IO; /* Never retried: what stands on the disk is not known. */
    }
    return (int32_t)rc;
}

/* Zeros in 2 MiB pieces: a block that was written is twice as fast to write again as one that was
 * only allocated. They are read from memory that was never written: the kernel's one page of
 * zeros, a huge one where it has that, so nothing is filled and little is looked up. */
static int32_t execute_zeros(int fd, uint64_t position, uint64_t size)
{
    const size_t piece = (size_t)MIB(2);
    uint8_t *mapped = os_memory_reserve(2 * piece);
    if (mapped == NULL) {
        return ERR_NO_MEMORY;
    }
    const uint8_t *zeros = mapped + (align_up((uintptr_t)mapped, piece) - (uintptr_t)mapped);
    os_memory_huge_pages(mapped, 2 * piece);
    int32_t result = OK;
    for (uint64_t done = 0; done < size && result == OK;) {
        size_t now = (size_t)min_u64(piece, size - done);
        ssize_t rc = pwrite(fd, zeros, now, (off_t)(position + done));
        if (rc < 0 && errno == EINTR) {
            continue;
        }
        if (rc <= 0) {
            result = rc < 0 ? (int32_t)io_op_err(IO_ALLOCATE, errno) : (int32_t)ERR_IO;
        } else {
            done += (uint64_t)rc;
        }
    }
    (void)munmap(mapped, 2 * piece);
    return result;
}

/* First the room, all or nothing; then the zeros. */
static int32_t execute_allocate(const struct io *io)
{
    uint64_t position = io->allocate.position;
    struct stat before;
    if (fstat(io->fd, &before) != 0) {
        return io_op_err(IO_ALLOCATE, errno);
    }
    int32_t result = execute_result(io, os_file_reserve(io->fd, position, io->allocate.size));
    if (result == OK) {
        result = execute_zeros(io->fd, position, io->allocate.size);
    }
    if (result == OK && execute_sync(io->fd) != 0) {
        result = io_op_err(IO_ALLOCATE, errno);
    }
    if (result != OK && (uint64_t)before.st_size < position + io->allocate.size) {
        /* A file that is large looks written: give back what was not finished, so that a later
         * try begins where this one did. */
        int rc = ftruncate(io->fd, (off_t)min_u64((uint64_t)before.st_size, position));
        MAYBE(rc != 0);
    }
    return result;
}

static int32_t execute_truncate(const struct io *io)
{
    struct stat now;
    if (fstat(io->fd, &now) != 0) {
        return io_op_err(IO_TRUNCATE, errno);
    }
    if ((uint64_t)now.st_size <= io->truncate.size) {
        return OK;
    }
    return execute_result(io, ftruncate(io->fd, (off_t)io->truncate.size));
}

static int32_t execute_sync_dir(const struct io *io)
{
    int fd = open(io->path.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return io_op_err(IO_SYNC_DIR, errno);
    }
    int32_t result = execute_result(io, os_directory_sync(fd));
    close(fd);
    return result;
}

static bool execute_is_directory(DIR *dir, const struct dirent *entry)
{
    if (entry->d_type != DT_UNKNOWN) {
        return entry->d_type == DT_DIR;
    }
    struct stat status; /* Some file systems do not say. */
    return fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(status.st_mode);
}

/* Adds one name; false: it does not fit. */
static bool execute_list_add(struct io *io, uint32_t *used, const char *name, bool directory)
{
    uint32_t length = (uint32_t)strlen(name);
    if (*used + length + directory + 1 > io->list.size) {
        return false;
    }
    memcpy(io->list.names + *used, name, length);
    *used += length;
    if (directory) {
        io->list.names[(*used)++] = '/';
    }
    io->list.names[(*used)++] = 0;
    io->list.count++;
    return true;
}

static int32_t execute_list(struct io *io)
{
    DIR *dir = opendir(io->list.path);
    if (dir == NULL) {
        return io_op_err(IO_LIST, errno);
    }
    uint32_t seen = 0, used = 0;
    const struct dirent *entry;
    while ((errno = 0, entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (seen++ < io->list.skip) {
            continue;
        }
        if (!execute_list_add(io, &used, entry->d_name, execute_is_directory(dir, entry))) {
            io->list.more = true;
            break;
        }
    }
    int32_t result = (int32_t)used;
    if (entry == NULL && errno != 0) {
        result = io_op_err(IO_LIST, errno);
    } else if (io->list.more && used == 0) {
        result = ERR_TOO_LARGE; /* No call would get past this name. */
    }
    closedir(dir);
    return result;
}

static int32_t execute_stat(struct io *io)
{
    struct stat stat_buffer;
    if (stat(io->stat.path, &stat_buffer) != 0) {
        return io_op_err(IO_STAT, errno);
    }
    io->stat.size = (uint64_t)stat_buffer.st_size;
    io->stat.taken = (uint64_t)stat_buffer.st_blocks * 512;
    io->stat.device = (uint64_t)stat_buffer.st_dev;
    io->stat.directory = S_ISDIR(stat_buffer.st_mode);
    return OK;
}

static int32_t execute_space(struct io *io)
{
    struct statvfs space;
    if (statvfs(io->space.path, &space) != 0) {
        return io_op_err(IO_SPACE, errno);
    }
    io->space.free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    io->space.total_bytes = (uint64_t)space.f_blocks * space.f_frsize;
    return OK;
}

/* Linux says EISDIR for a directory, POSIX says EPERM, which may mean a file as well. */
static int32_t execute_unlink(const struct io *io)
{
    if (unlink(io->path.path) == 0) {
        return OK;
    }
    int number = errno;
    if (number == EISDIR || number == EPERM) {
        if (rmdir(io->path.path) == 0) {
            return OK;
        }
        number = errno == ENOTDIR ? number : errno;
    }
    return io_op_err(IO_UNLINK, number);
}

int32_t io_execute(struct io *io)
{
    switch (io->op) {
    case IO_OPEN:
        return execute_open(io);
    case IO_CLOSE:
        io_map_closed(io->fd);
        (void)close(io->fd);
        return OK;
    case IO_READ:
        return execute_read(io);
    case IO_WRITE:
        return execute_write(io);
    case IO_SYNC:
        return execute_result(io, execute_sync(io->fd));
    case IO_ALLOCATE:
        return execute_allocate(io);
    case IO_TRUNCATE:
        return execute_truncate(io);
    case IO_RENAME:
        return execute_result(io, rename(io->rename.from, io->rename.to));
    case IO_UNLINK:
        return execute_unlink(io);
    case IO_MKDIR:
        return execute_result(io, mkdir(io->path.path, 0755));
    case IO_SYNC_DIR:
        return execute_sync_dir(io);
    case IO_LIST:
        return execute_list(io);
    case IO_STAT:
        return execute_stat(io);
    case IO_SPACE:
        return execute_space(io);
    case IO_LOCK:
        return execute_result(
            io, flock(io->fd, ((io->flags & IO_LOCK_SHARED) != 0 ? LOCK_SH : LOCK_EX) | LOCK_NB));
    case IO_NONE:
    case IO_LISTEN:
    case IO_ACCEPT:
    case IO_CONNECT:
    case IO_RECV:
    case IO_SEND:
        break;
    }
    UNREACHABLE();
}
