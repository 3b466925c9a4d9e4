/* Linux. */
#include "core/os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

bool os_file_direct(int fd)
{
    int status = fcntl(fd, F_GETFL);
    return status >= 0 && fcntl(fd, F_SETFL, status | O_DIRECT) == 0;
}

/* ext4 alone. Its fdatasync() flushes the drive even if nothing of that file is dirty (Linux,
 * fs/ext4/fsync.c), and a direct write onto written blocks changes nothing but them. Where it goes
 * through the page cache after all (data=journal, encryption) statx() knows of no alignment. On XFS
 * a block may be shared with a copy of the file, and then moves: only a sync of that file tells. */
uint64_t os_file_flush_domain(int fd)
{
    struct statfs system;
    struct statx file = {0};
    if (fstatfs(fd, &system) != 0 || system.f_type != EXT4_SUPER_MAGIC ||
        statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_DIOALIGN, &file) != 0 ||
        (file.stx_mask & STATX_DIOALIGN) == 0 || file.stx_dio_mem_align == 0) {
        return 0;
    }
    return (uint64_t)file.stx_dev_major << 32 | file.stx_dev_minor | (uint64_t)1 << 63;
}

int os_file_sync(int fd)
{
    return fdatasync(fd);
}

int os_directory_sync(int fd)
{
    return fsync(fd);
}

/* RWF_DSYNC: one system call, and a drive with FUA flushes nothing else. */
ssize_t os_file_write_durable(int fd, const uint8_t *data, size_t size, uint64_t position)
{
    struct iovec vector = {.iov_len = size};
    memcpy(&vector.iov_base, &data, sizeof(vector.iov_base));
    ssize_t rc;
    do {
        rc = pwritev2(fd, &vector, 1, (off_t)position, RWF_DSYNC);
    } while (rc < 0 && errno == EINTR);
    if (rc >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS)) {
        return rc;
    }
    do {
        rc = pwrite(fd, data, size, (off_t)position);
    } while (rc < 0 && errno == EINTR);
    return (size_t)rc == size && os_file_sync(fd) != 0 ? -1 : rc;
}

int os_file_reserve(int fd, uint64_t position, uint64_t size)
{
    int rc;
    do {
        rc = fallocate(fd, 0, (off_t)position, (off_t)size);
    } while (rc != 0 && errno == EINTR);
    return rc != 0 && (errno == EOPNOTSUPP || errno == ENOSYS) ? 0 : rc;
}

int os_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int os_accept(int fd)
{
    int accepted;
    do {
        accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (accepted < 0 && errno == EINTR);
    return accepted;
}

int os_socket_share(int fd)
{
    int one = 1;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
}

void os_socket_unsent_max(int fd, uint32_t bytes)
{
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

/* Hung up means both ways: by a shutdown of ours, or a reset, and nobody wants the rest. */
bool os_socket_holds_bytes(int fd)
{
    (void)fd;
    return false;
}

void *os_memory_reserve(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

void os_memory_small_pages(void *at, size_t bytes)
{
    (void)madvise(at, bytes, MADV_NOHUGEPAGE);
}

void os_memory_huge_pages(void *at, size_t bytes)
{
    (void)madvise(at, bytes, MADV_HUGEPAGE);
}

/* Linux 5.14; an older one refuses. */
bool os_memory_populate(void *at, size_t bytes)
{
#ifdef MADV_POPULATE_WRITE
    return madvise(at, bytes, MADV_POPULATE_WRITE) == 0;
#else
    (void)at;
    (void)bytes;
    return false;
#endif
}
