/* The few words that every file needs: attributes, arithmetic that shows its intent, units, and the
 * properties of the platform that the rest relies on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODISCARD         __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define NORETURN          __attribute__((noreturn))
#define UNUSED            __attribute__((unused))
#define LIKELY(x)         __builtin_expect(!!(x), 1)
#define UNLIKELY(x)       __builtin_expect(!!(x), 0)

#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

#define NS_PER_US ((uint64_t)1000)
#define NS_PER_MS ((uint64_t)1000000)
#define NS_PER_S  ((uint64_t)1000000000)

/* Two cores that write neighbouring fields must not share this many bytes: x86 prefetches cache
 * lines in pairs. */
enum { CACHE_LINE_BYTES = 128 };

static inline uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline uint64_t div_ceil(uint64_t dividend, uint64_t divisor)
{
    return dividend / divisor + (dividend % divisor != 0);
}

/* `unit` is a power of two. */
static inline uint64_t align_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) & ~(unit - 1);
}

static inline bool is_aligned(uint64_t value, uint64_t unit)
{
    return (value & (unit - 1)) == 0;
}

static inline bool is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

_Static_assert(sizeof(void *) == 8, "floe needs a 64-bit platform");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "disk formats are read in place");
_Static_assert((-1 >> 1) == -1, "signed shifts are arithmetic");
