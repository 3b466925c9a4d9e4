/* Memory that is ours but in nobody's use: poisoned under AddressSanitizer, so that a read after a
 * release or past what was asked for is found there although no malloc is involved. */
#pragma once

#include "core/base.h"

#if defined(__SANITIZE_ADDRESS__)
#define POISON_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_ASAN 1
#endif
#endif

#ifdef POISON_ASAN
#include <sanitizer/asan_interface.h>
#endif

static inline void poison(const void *at, size_t size)
{
#ifdef POISON_ASAN
    ASAN_POISON_MEMORY_REGION(at, size);
#else
    (void)at;
    (void)size;
#endif
}

static inline void unpoison(const void *at, size_t size)
{
#ifdef POISON_ASAN
    ASAN_UNPOISON_MEMORY_REGION(at, size);
#else
    (void)at;
    (void)size;
#endif
}
