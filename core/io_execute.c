/* File operations, executed where they are called: in the helper thread, or by whoever must block.
 */
#include "core/io_engine.h"

#include "core/assert.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int32_t io_result(int rc)
{
    return rc < 0 ? (int32_t)io_err_from_errno(errno) : rc;
}

static int32_t execute_open(struct io *io)
{
    int flags = O_CLOEXEC | ((io->flags & IO_OPEN_WRITE) != 0 ? O_RDWR : O_RDONLY);
    flags |= (io->flags & IO_OPEN_CREATE) != 0 ? O_CREAT : 0;
    flags |= (io->flags & IO_OPEN_EXCLUSIVE) != 0 ? O_EXCL : 0;
    int direct = 0;
#ifdef O_DIRECT
    direct = (io->flags & IO_OPEN_DIRECT) != 0 ? O_DIRECT : 0;
#endif
    int fd = open(io->open.path, flags | direct, 0644);
    if (fd < 0 && direct != 0 && errno == EINVAL) {
        /* The file system refuses O_DIRECT; it may have made the file before it did. */
        fd = open(io->open.path, flags & ~O_EXCL, 0644);
        direct = 0;
    }
    io->open.direct = fd >= 0 && direct != 0;
    return io_result(fd);
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
        if (rc < 0) {
            return io_err_from_errno(errno);
        }
        if (rc == 0) {
            break;
        }
        done += (uint32_t)rc;
    }
    return (int32_t)done;
}

static int execute_datasync(int fd)
{
#ifdef __APPLE__
    return fcntl(fd, F_FULLFSYNC);
#else
    return fdatasync(fd);
#endif
}

static int32_t execute_write(struct io *io)
{
    ssize_t rc;
    do {
        rc = pwrite(io->fd, io->write.data, io->write.size, (off_t)io->write.position);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        return io_err_from_errno(errno);
    }
    if ((uint32_t)rc != io->write.size) {
        return ERR_IO;
    }
    if ((io->flags & IO_WRITE_DURABLE) != 0 && execute_datasync(io->fd) != 0) {
        return io_err_from_errno(errno);
    }
    return (int32_t)rc;
}

/* Zeros in 1 MiB pieces: a block that was written is twice as fast to write again as one that was
 * only allocated. */
static int32_t execute_zeros(int fd, uint64_t position, uint64_t size)
{
    const size_t piece = (size_t)MIB(1);
    void *zeros = NULL;
    if (posix_memalign(&zeros, 4096, piece) != 0) {
        return ERR_NO_MEMORY;
    }
    memset(zeros, 0, piece);
    int32_t result = OK;
    for (uint64_t done = 0; done < size && result == OK;) {
        size_t now = (size_t)min_u64(piece, size - done);
        ssize_t rc = pwrite(fd, zeros, now, (off_t)(position + done));
        if (rc < 0 && errno == EINTR) {
            continue;
        }
        if (rc <= 0) {
            result = rc < 0 ? (int32_t)io_err_from_errno(errno) : (int32_t)ERR_IO;
        } else {
            done += (uint64_t)rc;
        }
    }
    free(zeros);
    return result;
}

static int32_t execute_allocate(const struct io *io)
{
    struct stat before;
    if (fstat(io->fd, &before) != 0) {
        return io_err_from_errno(errno);
    }
    int32_t result = OK;
#ifdef __linux__
    int rc = fallocate(io->fd, 0, (off_t)io->allocate.position, (off_t)io->allocate.size);
    if (rc != 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
        result = io_err_from_errno(errno);
    }
#endif
    if (result == OK) {
        result = execute_zeros(io->fd, io->allocate.position, io->allocate.size);
    }
    if (result == OK && execute_datasync(io->fd) != 0) {
        result = io_err_from_errno(errno);
    }
    if (result != OK && (uint64_t)before.st_size <= io->allocate.position) {
        /* What was not there before must not look as if it were. */
        (void)ftruncate(io->fd, before.st_size);
    }
    return result;
}

static int32_t execute_sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return io_err_from_errno(errno);
    }
    int32_t result = io_result(fsync(fd));
    close(fd);
    return result;
}

static int32_t execute_list(struct io *io)
{
    DIR *dir = opendir(io->list.path);
    if (dir == NULL) {
        return io_err_from_errno(errno);
    }
    uint32_t seen = 0, used = 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (seen++ < io->list.skip) {
            continue;
        }
        bool directory = entry->d_type == DT_DIR;
        uint32_t length = (uint32_t)strlen(entry->d_name);
        if (used + length + 2 > io->list.size) {
            io->list.more = true;
            break;
        }
        memcpy(io->list.names + used, entry->d_name, length);
        used += length;
        if (directory) {
            io->list.names[used++] = '/';
        }
        io->list.names[used++] = 0;
        io->list.count++;
    }
    closedir(dir);
    return (int32_t)used;
}

static int32_t execute_stat(struct io *io)
{
    struct stat stat_buffer;
    if (stat(io->stat.path, &stat_buffer) != 0) {
        return io_err_from_errno(errno);
    }
    io->stat.size = (uint64_t)stat_buffer.st_size;
    io->stat.device = (uint64_t)stat_buffer.st_dev;
    io->stat.directory = S_ISDIR(stat_buffer.st_mode);
    return OK;
}

static int32_t execute_space(struct io *io)
{
    struct statvfs space;
    if (statvfs(io->space.path, &space) != 0) {
        return io_err_from_errno(errno);
    }
    io->space.free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    io->space.total_bytes = (uint64_t)space.f_blocks * space.f_frsize;
    return OK;
}

static int32_t execute_unlink(const char *path)
{
    int rc = unlink(path);
    if (rc != 0 && (errno == EISDIR || errno == EPERM)) {
        rc = rmdir(path);
    }
    return io_result(rc);
}

int32_t io_execute(struct io *io)
{
    switch (io->op) {
    case IO_OPEN:
        return execute_open(io);
    case IO_CLOSE:
        (void)close(io->fd);
        return OK;
    case IO_READ:
        return execute_read(io);
    case IO_WRITE:
        return execute_write(io);
    case IO_SYNC:
        return io_result(execute_datasync(io->fd));
    case IO_ALLOCATE:
        return execute_allocate(io);
    case IO_RENAME:
        return io_result(rename(io->rename.from, io->rename.to));
    case IO_UNLINK:
        return execute_unlink(io->path.path);
    case IO_MKDIR:
        return io_result(mkdir(io->path.path, 0755));
    case IO_SYNC_DIR:
        return execute_sync_dir(io->path.path);
    case IO_LIST:
        return execute_list(io);
    case IO_STAT:
        return execute_stat(io);
    case IO_SPACE:
        return execute_space(io);
    case IO_LOCK:
        return io_result(flock(io->fd, LOCK_EX | LOCK_NB));
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
