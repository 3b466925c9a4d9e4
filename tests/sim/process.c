/* See the header. */
#include "tests/sim/process.h"

#include "core/assert.h"
#include "core/list.h"
#include "core/poison.h"

#include <unistd.h>

enum {
    PIECE_HEAD_BYTES = 48,
    REGION_STEP_BYTES = 1 << 20,
    SPARE_BYTES_MIN = 64 << 10,
    SPARES_MAX = 32,
};

/* Before each piece of memory; `start` is what the real allocator gave. */
struct piece {
    struct list node;
    size_t size;
    void *start;
};

struct region {
    struct list node;
    void *at;
    size_t size;
};

struct process {
    struct list pieces, regions;
    size_t bytes;
};

_Static_assert(sizeof(struct piece) <= PIECE_HEAD_BYTES, "a piece's head fits");

static struct process *process_current;

/* Large pieces of dead processes, for the next one: to map and touch their pages anew would cost
 * more than all else that most lives do. */
static struct piece *spares[SPARES_MAX];
static uint32_t spare_count;

struct process *process_create(void)
{
    struct process *process = calloc(1, sizeof(*process));
    ASSERT(process != NULL);
    list_init(&process->pieces);
    list_init(&process->regions);
    return process;
}

void process_destroy(struct process *process)
{
    (void)process_die(process);
    ASSERT(process_current != process);
    free(process);
}

struct process *process_enter(struct process *process)
{
    struct process *before = process_current;
    process_current = process;
    return before;
}

size_t process_bytes(const struct process *process)
{
    return process->bytes;
}

static struct piece *piece_of(void *at)
{
    return (struct piece *)(void *)((char *)at - PIECE_HEAD_BYTES);
}

static void *piece_add(char *start, size_t offset, size_t size)
{
    struct process *process = process_current;
    ASSERT(process != NULL);
    if (start == NULL) {
        return NULL;
    }
    void *at = start + offset;
    struct piece *piece = piece_of(at);
    piece->size = size;
    piece->start = start;
    list_push_back(&process->pieces, &piece->node);
    process->bytes += size;
    return at;
}

/* Frees a piece that is in no list any more. */
static void piece_free(struct piece *piece)
{
    bool plain = piece->start == (void *)piece; /* Not aligned otherwise. */
    if (plain && piece->size >= SPARE_BYTES_MIN && spare_count < SPARES_MAX) {
        spares[spare_count++] = piece;
        poison((char *)piece + PIECE_HEAD_BYTES, piece->size);
        return;
    }
    free(piece->start);
}

/* Zeros, from the spares; NULL: there is none of that size. */
static void *piece_again(size_t size)
{
    for (uint32_t i = 0; i < spare_count; i++) {
        struct piece *piece = spares[i];
        if (piece->size == size) {
            spares[i] = spares[--spare_count];
            unpoison((char *)piece + PIECE_HEAD_BYTES, size);
            memset((char *)piece + PIECE_HEAD_BYTES, 0, size);
            return piece;
        }
    }
    return NULL;
}

void *process_malloc(size_t size)
{
    void *again = piece_again(size);
    return piece_add(again != NULL ? again : malloc(size + PIECE_HEAD_BYTES), PIECE_HEAD_BYTES,
                     size);
}

void *process_calloc(size_t count, size_t size)
{
    ASSERT(size == 0 || count <= SIZE_MAX / 2 / size);
    size_t bytes = count * size;
    void *again = piece_again(bytes);
    return piece_add(again != NULL ? again : calloc(1, bytes + PIECE_HEAD_BYTES), PIECE_HEAD_BYTES,
                     bytes);
}

void *process_aligned_alloc(size_t alignment, size_t size)
{
    size_t offset = (PIECE_HEAD_BYTES + alignment - 1) / alignment * alignment;
    return piece_add(aligned_alloc(alignment, offset + size), offset, size);
}

void process_free(void *at)
{
    if (at == NULL) {
        return;
    }
    struct piece *piece = piece_of(at);
    ASSERT(process_current != NULL);
    ASSERT(process_current->bytes >= piece->size);
    process_current->bytes -= piece->size;
    list_remove(&piece->node);
    piece_free(piece);
}

void *process_realloc(void *at, size_t size)
{
    void *made = process_malloc(size);
    if (made != NULL && at != NULL) {
        size_t before = piece_of(at)->size;
        memcpy(made, at, before < size ? before : size);
        process_free(at);
    }
    return made;
}

char *process_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = process_malloc(size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

void *process_mmap(void *at, size_t size, int protection, int flags)
{
    struct region *region = process_malloc(sizeof(*region));
    ASSERT(region != NULL);
    region->at = mmap(at, size, protection, flags, -1, 0);
    region->size = size;
    void *mapped = region->at;
    if (mapped == MAP_FAILED) {
        process_free(region);
        return MAP_FAILED;
    }
    list_push_back(&process_current->regions, &region->node);
    return mapped;
}

int process_munmap(void *at, size_t size)
{
    struct list *node;
    list_for_each (node, &process_current->regions) {
        struct region *region = CONTAINER_OF(node, struct region, node);
        if (region->at == at) {
            ASSERT(region->size == size);
            list_remove(&region->node);
            process_free(region);
            return munmap(at, size);
        }
    }
    UNREACHABLE();
}

int process_advise(void *at, size_t size, int advice)
{
    return advice == MADV_POPULATE_WRITE ? 0 : madvise(at, size, advice);
}

/* Whoever gets these addresses next must not find them poisoned. Poison stands only where pages
 * were touched, and to clear the marks of all the rest would cost more than the process's life. */
static void region_unpoison(const struct region *region)
{
    static unsigned char present[1 << 18];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = (region->size + page - 1) / page;
    if (pages > sizeof(present) || mincore(region->at, region->size, present) != 0) {
        unpoison(region->at, region->size);
        return;
    }
    size_t step = REGION_STEP_BYTES / page;
    for (size_t from = 0; from < pages; from += step) {
        size_t end = from + step < pages ? from + step : pages;
        if (memchr(present + from, 1, end - from) != NULL) {
            unpoison((char *)region->at + from * page, (end - from) * page);
        }
    }
}

size_t process_die(struct process *process)
{
    size_t bytes = process->bytes;
    struct list *node;
    list_for_each (node, &process->regions) {
        struct region *region = CONTAINER_OF(node, struct region, node);
        region_unpoison(region);
        int rc = munmap(region->at, region->size);
        ASSERT(rc == 0);
    }
    list_init(&process->regions); /* Its entries are pieces. */
    while ((node = list_pop_front(&process->pieces)) != NULL) {
        piece_free(CONTAINER_OF(node, struct piece, node));
    }
    process->bytes = 0;
    return bytes;
}
