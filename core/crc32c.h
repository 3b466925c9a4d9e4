/* CRC-32C (Castagnoli, reflected, as in RFC 3720): "123456789" gives e3069283. Dispatches at run
 * time: one instruction per word for short buffers, libisal for long ones; a machine that lacks one
 * or both does with what is left. */
#pragma once

#include "core/base.h"

/* Of `size` bytes; `crc` is 0, or the CRC of what stands before them. */
uint32_t crc32c(uint32_t crc, const void *data, size_t size);

/* The CRC of a buffer in which `delta_size` bytes at its front changed by XOR with `delta`,
 * followed by `tail_size` unchanged bytes: CRC is linear, so the tail need not be read again. */
uint32_t crc32c_patch(uint32_t crc, const void *delta, size_t delta_size, uint64_t tail_size);

/* The same without special instructions or libraries: for other machines, and to compare with. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size);
uint32_t crc32c_patch_portable(uint32_t crc, const void *delta, size_t delta_size,
                               uint64_t tail_size);
