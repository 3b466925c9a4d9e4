/* What operating systems do differently, and nothing else: os_linux.c for Linux; os_posix.c for the
 * others, which keeps to POSIX where it can and is tested on Linux by the preset `portable`.
 *
 * Functions that return an int or a size return -1 and set errno, as system calls do; an EINTR is
 * tried again, but of a sync: a sync that failed may have lost what it was for. Only core knows
 * this header. */
#pragma once

#include "core/base.h"

#include <sys/types.h>

/* From here on reads and writes pass the page cache by; false: refused. */
bool os_file_direct(int fd);

/* Of a file for direct access. Not 0: a sync of any such file of the domain flushes the one drive
 * cache that all of them are behind, and a write onto blocks that were durable before needs nothing
 * but that. */
uint64_t os_file_flush_domain(int fd);

/* All completed writes are durable: they have left the drive's cache, too. */
int os_file_sync(int fd);
int os_directory_sync(int fd);

/* One write, durable when it returns all of `size`. Fewer: what stands on the disk is not known. */
ssize_t os_file_write_durable(int fd, const uint8_t *data, size_t size, uint64_t position);

/* Room for [position, position + size), all or nothing. 0 also where the file system cannot tell:
 * then writing the bytes will. */
int os_file_reserve(int fd, uint64_t position, uint64_t size);

/* A stream socket, or an accepted one: non-blocking, closed by exec, silent when its peer is gone
 * (with MSG_NOSIGNAL at each send). */
int os_socket(int family);
int os_accept(int fd);

/* Several sockets of this process may listen on one port, and the kernel spreads connections. */
int os_socket_share(int fd);

/* Bytes of sends that wait in the kernel and are not on the wire yet: no more than about so many.
 * What is on the wire and not acknowledged comes on top, so a fast path is not slowed. */
void os_socket_unsent_max(int fd, uint32_t bytes);

/* Whether a socket that has ended may still hold bytes which its peer sent before. */
bool os_socket_holds_bytes(int fd);

/* Address space without memory behind it, zero when first touched; NULL: there is none. */
void *os_memory_reserve(size_t bytes);

/* Hints: small pages, or huge ones. What the system does not know it does not do. */
void os_memory_small_pages(void *at, size_t bytes);
void os_memory_huge_pages(void *at, size_t bytes);

/* Makes the pages present, in this thread; false: they must be touched. */
bool os_memory_populate(void *at, size_t bytes);
