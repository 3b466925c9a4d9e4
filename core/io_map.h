/* Files written as memory (storage.engine = mmap): a write is a copy into the page cache, which the
 * kernel keeps when the process dies. Reads and syncs go the usual way and see the same bytes.
 *
 * A descriptor opened with IO_OPEN_MAPPED is noted here until it is closed, which nobody does in
 * the middle of a write. Where the kernel cannot find a page's bytes or a block for it, it raises
 * SIGBUS: in a copy that is ERR_IO, at any other time it goes to whoever handled it before. He may
 * return, or leave by siglongjmp() to where his own thread was before the fault, though not out of
 * a copy; SIGBUS is not blocked meanwhile. A thread that copies must not block it. */
#pragma once

#include "core/base.h"

/* The descriptor was opened for writing. Too many descriptors, or no memory: it is written as any
 * other file. */
void io_map_opened(int fd);

/* Before the descriptor is closed; a no-op for one that is not mapped. */
void io_map_closed(int fd);

bool io_map_has(int fd);

/* Copies `size` bytes to `position`; the result of a write: `size`, or ERR_IO. What lies behind the
 * end of the file is written by a system call. */
int32_t io_map_write(int fd, const uint8_t *data, uint32_t size, uint64_t position);
