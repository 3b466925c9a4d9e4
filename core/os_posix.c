/* macOS, FreeBSD, and whatever else keeps to POSIX. Only what an option of the system's own does
 * better, or what POSIX leaves open, stands under a condition. */
#include "core/os.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

bool os_file_direct(int fd)
{
#if defined(F_NOCACHE)
    return fcntl(fd, F_NOCACHE, 1) == 0;
#elif defined(O_DIRECT)
    int status = fcntl(fd, F_GETFL);
    return status >= 0 && fcntl(fd, F_SETFL, status | O_DIRECT) == 0;
#else
    (void)fd;
    return false;
#endif
}

uint64_t os_file_flush_domain(int fd)
{
    (void)fd;
    return 0; /* POSIX promises nothing but of one file. */
}

/* On macOS fsync() leaves the bytes in the drive's cache. Where F_FULLFSYNC is refused nothing is
 * durable, and that is an error, not a reason to ask for less. */
int os_file_sync(int fd)
{
#ifdef F_FULLFSYNC
    return fcntl(fd, F_FULLFSYNC) == -1 ? -1 : 0;
#else
    return fdatasync(fd);
#endif
}

int os_directory_sync(int fd)
{
#ifdef F_FULLFSYNC
    return os_file_sync(fd);
#else
    return fsync(fd);
#endif
}

ssize_t os_file_write_durable(int fd, const uint8_t *data, size_t size, uint64_t position)
{
    ssize_t rc;
    do {
        rc = pwrite(fd, data, size, (off_t)position);
    } while (rc < 0 && errno == EINTR);
    return (size_t)rc == size && os_file_sync(fd) != 0 ? -1 : rc;
}

/* What F_PREALLOCATE reserves lies behind the end of the file, which does not move. */
int os_file_reserve(int fd, uint64_t position, uint64_t size)
{
#ifdef F_PREALLOCATE
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0) {
        return -1;
    }
    uint64_t missing = position + size > (uint64_t)end ? position + size - (uint64_t)end : 0;
    fstore_t room = {
        .fst_flags = F_ALLOCATEALL, .fst_posmode = F_PEOFPOSMODE, .fst_length = (off_t)missing};
    int number = missing == 0 || fcntl(fd, F_PREALLOCATE, &room) != -1 ? 0 : errno;
#else
    int number;
    do {
        number = posix_fallocate(fd, (off_t)position, (off_t)size);
    } while (number == EINTR);
#endif
    /* A file system that cannot says EINVAL on FreeBSD; the sizes are right. */
    if (number == 0 || number == EINVAL || number == EOPNOTSUPP || number == ENOTSUP ||
        number == ENOSYS) {
        return 0;
    }
    errno = number;
    return -1;
}

/* accept() may hand on the flags of the listening socket, or not. */
static int os_socket_prepare(int fd)
{
    int status = fcntl(fd, F_GETFL);
    bool ready = status >= 0 && fcntl(fd, F_SETFL, status | O_NONBLOCK) == 0 &&
                 fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
#ifdef SO_NOSIGPIPE
    /* A macOS older than its MSG_NOSIGNAL. A peer that is gone already makes this EINVAL. */
    int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof(one));
#endif
    if (ready) {
        return fd;
    }
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

int os_socket(int family)
{
    int fd = socket(family, SOCK_STREAM, 0);
    return fd < 0 ? -1 : os_socket_prepare(fd);
}

int os_accept(int fd)
{
    int accepted;
    do {
        accepted = accept(fd, NULL, NULL);
    } while (accepted < 0 && errno == EINTR);
    return accepted < 0 ? -1 : os_socket_prepare(accepted);
}

int os_socket_share(int fd)
{
#ifdef SO_REUSEPORT_LB
    const int option = SO_REUSEPORT_LB; /* FreeBSD's other one spreads nothing. */
#else
    const int option = SO_REUSEPORT;
#endif
    int one = 1;
    return setsockopt(fd, SOL_SOCKET, option, &one, sizeof(one));
}

void os_socket_unsent_max(int fd, uint32_t bytes)
{
#ifdef TCP_NOTSENT_LOWAT
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
#else
    (void)fd;
    (void)bytes;
#endif
}

/* On macOS poll() says POLLHUP as soon as the peer sends no more; a shutdown of ours discards what
 * is there. Elsewhere hung up means both ways, and nobody wants the rest. */
bool os_socket_holds_bytes(int fd)
{
#ifdef __APPLE__
    int count = 0;
    return ioctl(fd, FIONREAD, &count) == 0 && count > 0;
#else
    (void)fd;
    return false;
#endif
}

void *os_memory_reserve(size_t bytes)
{
#ifdef MAP_NORESERVE
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
#else
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#endif
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

void os_memory_small_pages(void *at, size_t bytes)
{
    (void)at;
    (void)bytes;
}

void os_memory_huge_pages(void *at, size_t bytes)
{
    (void)at;
    (void)bytes;
}

bool os_memory_populate(void *at, size_t bytes)
{
    (void)at;
    (void)bytes;
    return false;
}
