/* CRC-32C: the processor's instruction below 512 bytes (29 GB/s where libisal makes 13), libisal
 * above. Where only one of them exists it does both; where none does, constants.
 *
 * In this reflected form bit 31 of a register is the coefficient of x^0. A CRC is linear: what a
 * change of bytes does to it depends on the change alone, and `n` unchanged bytes behind it
 * multiply that by x^(8n) modulo the polynomial; with the powers x^(8 * 2^k) in a table that is one
 * multiplication per bit of n. */
#include "core/crc32c.h"

#include "core/assert.h"
#include "core/bytes.h"

#ifdef FLOE_HAS_ISAL
#include <isa-l/crc.h>
#endif

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

enum { CRC32C_LONG_BYTES = 512 };

#define CRC32C_POLYNOMIAL ((uint32_t)0x82f63b78)

/* x^(8 * 2^k) modulo the polynomial; `shifted` is the same divided by x^33, which the instructions
 * multiply back in. The powers repeat from k = 31 on, where 2^31 bytes act as one byte does. */
static const struct {
    uint32_t power, shifted;
} crc32c_powers[31] = {
    {0x00800000, 0xbf818109}, {0x00008000, 0x780d5a4d}, {0x82f63b78, 0x05ec76f1},
    {0x6ea2d55c, 0x00000001}, {0x18b8ea18, 0x493c7d27}, {0x510ac59a, 0xba4fc28e},
    {0xb82be955, 0x9e4addf8}, {0xb8fdb1e7, 0x0d3b6092}, {0x88e56f72, 0xb9e02b86},
    {0x74c360a4, 0xdd7e3b0c}, {0xe4172b16, 0x170076fa}, {0x0d65762a, 0xa51b6135},
    {0x35d73a62, 0x82f89c77}, {0x28461564, 0x54a86326}, {0xbf455269, 0x1dc403cc},
    {0xe2ea32dc, 0x5ae703ab}, {0xfe7740e6, 0xc5013a36}, {0xf946610b, 0xac2ac6dd},
    {0x3c204f8f, 0x9b4615a9}, {0x538586e3, 0x688d1c61}, {0x59726915, 0xf6af14e6},
    {0x734d5309, 0xb6ffe386}, {0xbc1ac763, 0xb717425b}, {0x7d0722cc, 0x478b0d30},
    {0xd289cabe, 0x54cc62e5}, {0xe94ca9bc, 0x7b2102ee}, {0x05b74f3f, 0x8a99adef},
    {0xa51e1f42, 0xa7568c8f}, {0x40000000, 0xd610d67e}, {0x20000000, 0x6b086b3f},
    {0x08000000, 0xd94f3c0b},
};

/* a * b modulo the polynomial. */
static uint32_t crc32c_times(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (; a != 0; a <<= 1) {
        if ((a & 0x80000000) != 0) {
            product ^= b;
        }
        b = (b >> 1) ^ ((b & 1) != 0 ? CRC32C_POLYNOMIAL : 0);
    }
    return product;
}

static uint32_t crc32c_shift(uint32_t state, uint64_t zeros)
{
    for (uint32_t k = 0; zeros != 0; zeros >>= 1) {
        if ((zeros & 1) != 0) {
            state = crc32c_times(crc32c_powers[k].power, state);
        }
        k = k + 1 == ARRAY_COUNT(crc32c_powers) ? 0 : k + 1;
    }
    return state;
}

/* Four bits at a time from 16 constants: where there is neither instruction nor library. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size)
{
    static const uint32_t nibbles[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    ASSERT(data != NULL || size == 0);
    const uint8_t *at = data;
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= at[i];
        crc = (crc >> 4) ^ nibbles[crc & 15];
        crc = (crc >> 4) ^ nibbles[crc & 15];
    }
    return ~crc;
}

#if defined(__x86_64__)
static bool crc32c_has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2,crc32"))) static uint32_t crc32c_short(uint32_t crc,
                                                                     const uint8_t *at, size_t size)
{
    uint64_t state = (uint32_t)~crc;
    for (; size >= 8; size -= 8) {
        state = _mm_crc32_u64(state, load_le64(at));
        at += 8;
    }
    uint32_t rest = (uint32_t)state;
    if (size >= 4) {
        rest = _mm_crc32_u32(rest, load_le32(at));
        at += 4;
        size -= 4;
    }
    for (; size > 0; size--) {
        rest = _mm_crc32_u8(rest, *at);
        at++;
    }
    return ~rest;
}

/* A carry-less product of two reflected registers stands one bit too low in 64, and the crc32
 * instruction multiplies by x^32 while it reduces: hence `shifted`. */
__attribute__((target("sse4.2,crc32,pclmul"))) static uint32_t crc32c_shift_fast(uint32_t state,
                                                                                 uint64_t zeros)
{
    for (uint32_t k = 0; zeros != 0; zeros >>= 1) {
        if ((zeros & 1) != 0) {
            __m128i product =
                _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)state),
                                     _mm_cvtsi64_si128((int64_t)crc32c_powers[k].shifted), 0);
            state = (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
        }
        k = k + 1 == ARRAY_COUNT(crc32c_powers) ? 0 : k + 1;
    }
    return state;
}
#elif defined(__ARM_FEATURE_CRC32)
static bool crc32c_has_instruction(void)
{
    return true;
}

static uint32_t crc32c_short(uint32_t crc, const uint8_t *at, size_t size)
{
    crc = ~crc;
    for (; size >= 8; size -= 8) {
        crc = __crc32cd(crc, load_le64(at));
        at += 8;
    }
    for (; size > 0; size--) {
        crc = __crc32cb(crc, *at);
        at++;
    }
    return ~crc;
}
#else
static bool crc32c_has_instruction(void)
{
    return false;
}

static uint32_t crc32c_short(uint32_t crc, const uint8_t *at, size_t size)
{
    return crc32c_portable(crc, at, size);
}
#endif

#ifdef FLOE_HAS_ISAL
enum { CRC32C_HAS_ISAL = 1 };

static uint32_t crc32c_long(uint32_t crc, const uint8_t *at, size_t size)
{
    while (size > 0) {
        size_t part = size < GIB(1) ? size : (size_t)GIB(1); /* libisal takes an int. */
        /* It only reads; its prototype lacks the const. */
        unsigned char *bytes = (unsigned char *)(uintptr_t)at;
        crc = ~crc32_iscsi(bytes, (int)part, ~crc);
        at += part;
        size -= part;
    }
    return crc;
}
#else
enum { CRC32C_HAS_ISAL = 0 };

static uint32_t crc32c_long(uint32_t crc, const uint8_t *at, size_t size)
{
    return crc32c_portable(crc, at, size);
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    ASSERT(data != NULL || size == 0);
    if ((size < CRC32C_LONG_BYTES || !CRC32C_HAS_ISAL) && crc32c_has_instruction()) {
        return crc32c_short(crc, data, size);
    }
    return crc32c_long(crc, data, size);
}

uint32_t crc32c_patch_portable(uint32_t crc, const void *delta, size_t delta_size,
                               uint64_t tail_size)
{
    /* From a register of 0, without the inversions: the linear part only. */
    uint32_t change = ~crc32c_portable(UINT32_MAX, delta, delta_size);
    return crc ^ crc32c_shift(change, tail_size);
}

uint32_t crc32c_patch(uint32_t crc, const void *delta, size_t delta_size, uint64_t tail_size)
{
#if defined(__x86_64__)
    if (crc32c_has_instruction() && __builtin_cpu_supports("pclmul")) {
        uint32_t change = ~crc32c(UINT32_MAX, delta, delta_size);
        return crc ^ crc32c_shift_fast(change, tail_size);
    }
#endif
    return crc32c_patch_portable(crc, delta, delta_size, tail_size);
}
