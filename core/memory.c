/* Blocks of one core: a buddy scheme over one reserved region.
 *
 *     order 2  [                    16 KiB                     ]    a node per block that could
 *     order 1  [        8 KiB         |         8 KiB          ]    be: it stores its deficit: how
 *     order 0  [  4 KiB   |   4 KiB   |   4 KiB   |   4 KiB    ]    many orders the largest free
 *                                                                   block below falls short of it
 *
 * Zero means wholly free, so the side tables (tree, steps, headers) start as untouched zero pages
 * and cost memory only where blocks are in use. Descending to the left wherever the left half has
 * room finds the lowest free address, so the touched part follows use. Merging is implied: a node
 * whose halves are both wholly free is wholly free.
 *
 * Accounts: with G the guarantee of a class and U its use, the sum over all classes of max(G, U)
 * never exceeds the limit. A request that keeps that true, and its class within its cap if it has
 * one, is granted if a block of its order is free; so a class below its guarantee is never refused
 * for another's use, but for fragmentation, which a waiter outlasts. */
#include "core/memory.h"

#include "core/assert.h"
#include "core/limits.h"
#include "core/os.h"
#include "core/poison.h"

#include <string.h>
#include <sys/mman.h>

enum {
    MEMORY_PAGE_SHIFT = 12,      /* BLOCK_SIZE_MIN */
    MEMORY_BLOCK_MAX_ORDER = 15, /* 128 MiB: a request frame of 100 MiB in one block. */
    MEMORY_WOKEN_MAX = 16,       /* Waiters fired per class and not seen since. */
    MEMORY_RECLAIMS_MAX = 16,    /* Rounds of asking for ever more before giving up. */
};

_Static_assert(1 << MEMORY_PAGE_SHIFT == BLOCK_SIZE_MIN, "a page is the smallest block");

/* A waiter that was fired and has neither acquired nor awaited again yet, as far as one can see. */
struct memory_woken {
    const struct memory_waiter *waiter; /* To compare with only: it may be gone. */
    uint32_t size;
};

struct memory_queue {
    struct completion_list waiters;
    struct memory_woken woken[MEMORY_WOKEN_MAX];
    uint32_t woken_count;
    uint32_t returned; /* So many at the head were fired before and failed again. */
};

struct memory {
    uint8_t *base;       /* Aligned to MEMORY_STEP_BYTES. */
    uint8_t *tree;       /* 2 * leaves bytes: root at 1, the leaves behind the inner nodes. */
    uint8_t *steps;      /* 1 = that step of MEMORY_STEP_BYTES was touched. */
    struct block *heads; /* One per page; used where a block begins. */
    uint64_t limit_bytes, touched_bytes;
    uint64_t leaves; /* Pages rounded up to a power of two. */
    uint32_t order_root, order_max;
    uint64_t guarantee[MEMORY_CLASS_COUNT], cap[MEMORY_CLASS_COUNT];
    uint64_t used[MEMORY_CLASS_COUNT], waits[MEMORY_CLASS_COUNT];
    struct memory_queue queues[MEMORY_CLASS_COUNT];
    uint32_t turn; /* Class whose waiters are looked at first. */
    struct reactor *reactor;
    struct completion recheck; /* Runs behind the waiters that were fired. */
    bool recheck_late;         /* One was fired while it was queued: it runs once more. */
    memory_reclaim_fn *reclaim;
    void *reclaim_context;
    bool reclaiming;
    void *region, *side; /* What was mapped. */
    uint64_t region_bytes, side_bytes;
};

/* What each holder is guaranteed, in sixteenths of the limit; what remains is for whoever comes. */
static const uint8_t memory_guarantee_16ths[MEMORY_CLASS_COUNT] = {
    [MEMORY_APPEND] = 2,      /* Frames of two commits in flight; the tail cache is reclaimable. */
    [MEMORY_RECEIVE] = 2,     /* The oldest requests finish, however slow the readers are. */
    [MEMORY_CALL] = 1,        /* Requests begin and are answered, however large others' replies. */
    [MEMORY_SEND] = 1,        /* A reply for each finished request, so receive blocks come home. */
    [MEMORY_REPLICATION] = 1, /* Frames to and from peers: an ack must not wait for a producer. */
    [MEMORY_RECOVERY] = 1,    /* Scan buffers: a full node still starts and repairs. */
};

/* What a class may have at most, in sixteenths; 0: whatever nobody else is guaranteed. A block that
 * a peer pins by not reading must leave room for everything else. */
static const uint8_t memory_cap_16ths[MEMORY_CLASS_COUNT] = {
    [MEMORY_CALL] = 4,
    [MEMORY_SEND] = 4,
};

static void memory_recheck(struct completion *completion);

static uint32_t memory_order(uint32_t size)
{
    ASSERT(size > 0);
    if (size <= BLOCK_SIZE_MIN) {
        return 0;
    }
    return 32 - (uint32_t)__builtin_clz(size - 1) - MEMORY_PAGE_SHIFT;
}

/* The order of the largest free block at or below `node`, plus one; 0 = none. */
static uint32_t tree_room(const struct memory *memory, uint64_t node, uint32_t order)
{
    ASSERT(node >= 1 && node < 2 * memory->leaves);
    ASSERT(memory->tree[node] <= order + 1);
    return order + 1 - memory->tree[node];
}

/* Writes the deficits above `node`, which has `order`, as far up as they change. */
static void tree_update_above(struct memory *memory, uint64_t node, uint32_t order)
{
    while (node > 1) {
        node /= 2;
        order++;
        uint32_t left = tree_room(memory, 2 * node, order - 1);
        uint32_t right = tree_room(memory, 2 * node + 1, order - 1);
        uint32_t room = left == order && right == order ? order + 1 : max_u32(left, right);
        uint8_t deficit = (uint8_t)(order + 1 - room);
        if (memory->tree[node] == deficit) {
            return;
        }
        memory->tree[node] = deficit;
    }
    ASSERT(order == memory->order_root);
}

static uint64_t tree_node(const struct memory *memory, uint64_t page, uint32_t order)
{
    ASSERT(is_aligned(page, (uint64_t)1 << order));
    return (memory->leaves + page) >> order;
}

/* Takes the lowest free block of `order`, which must exist; the page where it begins. Below a
 * wholly free node every deficit is 0 as well, because releases go up from the bottom. */
static uint64_t tree_take(struct memory *memory, uint32_t order)
{
    uint64_t node = 1;
    ASSERT(tree_room(memory, node, memory->order_root) > order);
    for (uint32_t at = memory->order_root; at > order; at--) {
        node *= 2;
        if (tree_room(memory, node, at - 1) <= order) {
            node++;
        }
    }
    ASSERT(memory->tree[node] == 0);
    memory->tree[node] = (uint8_t)(order + 1);
    tree_update_above(memory, node, order);
    return (node << order) - memory->leaves;
}

static void tree_give(struct memory *memory, uint64_t page, uint32_t order)
{
    uint64_t node = tree_node(memory, page, order);
    ASSERT(memory->tree[node] == order + 1);
    memory->tree[node] = 0;
    tree_update_above(memory, node, order);
}

/* Takes what lies behind the last page out of the tree for good, in the largest pieces. */
static void tree_trim(struct memory *memory, uint64_t pages)
{
    while (pages < memory->leaves) {
        uint32_t order = (uint32_t)__builtin_ctzll(pages);
        uint64_t node = tree_node(memory, pages, order);
        memory->tree[node] = (uint8_t)(order + 1);
        tree_update_above(memory, node, order);
        pages += (uint64_t)1 << order;
    }
    ASSERT(pages == memory->leaves);
}

/* Makes the pages of `bytes` from `at` present, in this thread. */
static void memory_populate(uint8_t *at, uint64_t bytes)
{
    if (os_memory_populate(at, (size_t)bytes)) {
        return;
    }
    /* The system cannot: write what is there already, so that a block in use keeps its bytes. */
    for (uint64_t i = 0; i < bytes; i += BLOCK_SIZE_MIN) {
        volatile uint8_t *page = at + i;
        *page = *page;
    }
}

/* Counts the steps under a block that were never touched. A small block's step is made present at
 * once, all 2 MiB, by this thread; the pages of a larger block come as it is filled, by the same
 * thread, because to fault 64 MiB here would stop the loop for tens of milliseconds. */
static void memory_touch(struct memory *memory, uint64_t position, uint64_t size)
{
    ASSERT(position + size <= memory->limit_bytes);
    uint64_t end = div_ceil(position + size, MEMORY_STEP_BYTES);
    for (uint64_t step = position / MEMORY_STEP_BYTES; step < end; step++) {
        if (memory->steps[step] != 0) {
            continue;
        }
        uint64_t from = step * MEMORY_STEP_BYTES;
        uint64_t bytes = min_u64(MEMORY_STEP_BYTES, memory->limit_bytes - from);
        memory->steps[step] = 1;
        memory->touched_bytes += bytes;
        if (size <= MEMORY_STEP_BYTES) {
            memory_populate(memory->base + from, bytes);
        }
    }
}

/* Maps the region and the side tables; false: no address space. */
static bool memory_reserve(struct memory *memory, uint64_t pages)
{
    uint64_t steps = div_ceil(memory->limit_bytes, MEMORY_STEP_BYTES);
    uint64_t tree_bytes = align_up(2 * memory->leaves, BLOCK_SIZE_MIN);
    uint64_t step_bytes = align_up(steps, BLOCK_SIZE_MIN);
    memory->side_bytes = tree_bytes + step_bytes + pages * sizeof(struct block);
    memory->region_bytes = memory->limit_bytes + MEMORY_STEP_BYTES;
    memory->side = os_memory_reserve((size_t)memory->side_bytes);
    if (memory->side == NULL) {
        return false;
    }
    memory->region = os_memory_reserve((size_t)memory->region_bytes);
    if (memory->region == NULL) {
        (void)munmap(memory->side, (size_t)memory->side_bytes);
        return false;
    }
    uint8_t *region = memory->region;
    memory->base = region + (align_up((uintptr_t)region, MEMORY_STEP_BYTES) - (uintptr_t)region);
    memory->tree = memory->side;
    memory->steps = memory->tree + tree_bytes;
    memory->heads = (void *)(memory->steps + step_bytes);
    /* First touch through huge pages measured six times as dear, and RSS would not follow use. */
    os_memory_small_pages(memory->region, (size_t)memory->region_bytes);
    os_memory_small_pages(memory->side, (size_t)memory->side_bytes);
    return true;
}

enum err memory_open(struct memory **memory_out, const struct memory_options *options)
{
    *memory_out = NULL;
    if (options->limit_bytes < MEMORY_LIMIT_MIN || options->limit_bytes > (uint64_t)1 << 46) {
        return ERR_INVALID;
    }
    struct memory *memory = os_memory_reserve(align_up(sizeof(struct memory), BLOCK_SIZE_MIN));
    if (memory == NULL) {
        return ERR_NO_MEMORY;
    }
    uint64_t pages = options->limit_bytes >> MEMORY_PAGE_SHIFT;
    memory->limit_bytes = pages << MEMORY_PAGE_SHIFT;
    memory->order_root = 64 - (uint32_t)__builtin_clzll(pages - 1);
    memory->leaves = (uint64_t)1 << memory->order_root;
    uint32_t order_eighth = 63 - (uint32_t)__builtin_clzll(pages / 8);
    memory->order_max = min_u32(order_eighth, MEMORY_BLOCK_MAX_ORDER);
    if (!memory_reserve(memory, pages)) {
        (void)munmap(memory, (size_t)align_up(sizeof(struct memory), BLOCK_SIZE_MIN));
        return ERR_NO_MEMORY;
    }
    completion_init(&memory->recheck, memory_recheck);
    if (options->bind != NULL) {
        options->bind(memory->region, memory->region_bytes, options->numa_node);
        options->bind(memory->side, memory->side_bytes, options->numa_node);
    }
    uint64_t guaranteed = 0;
    for (uint32_t i = 0; i < MEMORY_CLASS_COUNT; i++) {
        memory->guarantee[i] = memory->limit_bytes / 16 * memory_guarantee_16ths[i];
        guaranteed += memory->guarantee[i];
        memory->cap[i] = memory_cap_16ths[i] == 0 ? memory->limit_bytes
                                                  : memory->limit_bytes / 16 * memory_cap_16ths[i];
        ASSERT(memory->cap[i] >= (uint64_t)BLOCK_SIZE_MIN << memory->order_max);
    }
    ASSERT(guaranteed <= memory->limit_bytes / 2);
    tree_trim(memory, pages);
    if (options->prefault) {
        for (uint64_t at = 0; at < memory->limit_bytes; at += MEMORY_STEP_BYTES) {
            memory_touch(memory, at, min_u64(MEMORY_STEP_BYTES, memory->limit_bytes - at));
        }
    }
    *memory_out = memory;
    return OK;
}

void memory_close(struct memory *memory)
{
    if (memory == NULL) {
        return;
    }
    for (uint32_t i = 0; i < MEMORY_CLASS_COUNT; i++) {
        VERIFY(memory->used[i] == 0);
        VERIFY(memory->queues[i].waiters.head == NULL);
    }
    for (uint64_t at = 0; at < memory->limit_bytes; at += MEMORY_STEP_BYTES) {
        if (memory->steps[at / MEMORY_STEP_BYTES] != 0) { /* The rest was never poisoned. */
            unpoison(memory->base + at, MEMORY_STEP_BYTES);
        }
    }
    int failed = munmap(memory->region, (size_t)memory->region_bytes);
    ASSERT(failed == 0);
    failed = munmap(memory->side, (size_t)memory->side_bytes);
    ASSERT(failed == 0);
    failed = munmap(memory, (size_t)align_up(sizeof(struct memory), BLOCK_SIZE_MIN));
    ASSERT(failed == 0);
}

/* Whether a block of `order` is more than `class` may have, whatever else is free. */
static bool memory_capped(const struct memory *memory, enum memory_class class, uint32_t order,
                          uint64_t promised)
{
    uint64_t use = memory->used[class] + promised + ((uint64_t)BLOCK_SIZE_MIN << order);
    return use > memory->cap[class];
}

/* Whether a block of `order` for `class` would be granted now, after `promised` bytes per class. */
static bool memory_fits(const struct memory *memory, enum memory_class class, uint32_t order,
                        const uint64_t promised[MEMORY_CLASS_COUNT])
{
    const uint64_t size = (uint64_t)BLOCK_SIZE_MIN << order;
    uint64_t claimed = 0;
    for (uint32_t i = 0; i < MEMORY_CLASS_COUNT; i++) {
        uint64_t use = memory->used[i] + (promised == NULL ? 0 : promised[i]);
        use += i == (uint32_t) class ? size : 0;
        claimed += max_u64(use, memory->guarantee[i]);
    }
    return claimed <= memory->limit_bytes && tree_room(memory, 1, memory->order_root) > order &&
           !memory_capped(memory, class, order, promised == NULL ? 0 : promised[class]);
}

static void queue_forget(struct memory_queue *queue, uint32_t index)
{
    ASSERT(index < queue->woken_count);
    queue->woken_count--;
    memmove(&queue->woken[index], &queue->woken[index + 1],
            (queue->woken_count - index) * sizeof(queue->woken[0]));
}

/* An acquire of `size` succeeded: most likely the oldest fired waiter of that size. */
static void queue_served(struct memory_queue *queue, uint32_t size)
{
    for (uint32_t i = 0; i < queue->woken_count; i++) {
        if (queue->woken[i].size == size) {
            queue_forget(queue, i);
            return;
        }
    }
}

static void queue_fire_head(struct memory *memory, struct memory_queue *queue)
{
    struct completion *head = completion_list_pop(&queue->waiters);
    const struct memory_waiter *waiter = CONTAINER_OF(head, struct memory_waiter, done);
    if (queue->woken_count == MEMORY_WOKEN_MAX) {
        queue_forget(queue, 0);
    }
    queue->woken[queue->woken_count++] =
        (struct memory_woken){.waiter = waiter, .size = waiter->size};
    if (queue->returned > 0) {
        queue->returned--;
    }
    completion_fire(memory->reactor, head, OK);
    memory->recheck_late = memory->recheck.queued;
    if (!memory->recheck.queued) {
        completion_fire(memory->reactor, &memory->recheck, OK);
    }
}

/* Fires, class by class and in order, the waiters whose try would now succeed one after the other.
 * Which class comes first goes round, so that none takes all that is released. */
static void memory_wake(struct memory *memory)
{
    uint64_t promised[MEMORY_CLASS_COUNT] = {0};
    memory->turn = (memory->turn + 1) % MEMORY_CLASS_COUNT;
    for (uint32_t i = 0; i < MEMORY_CLASS_COUNT; i++) {
        enum memory_class class = (enum memory_class)((memory->turn + i) % MEMORY_CLASS_COUNT);
        struct memory_queue *queue = &memory->queues[class];
        for (uint32_t fired = 0; fired < MEMORY_WOKEN_MAX; fired++) {
            if (queue->waiters.head == NULL) {
                break;
            }
            uint32_t size = CONTAINER_OF(queue->waiters.head, struct memory_waiter, done)->size;
            uint32_t order = memory_order(size);
            if (!memory_fits(memory, class, order, promised)) {
                break;
            }
            promised[class] += (uint64_t)BLOCK_SIZE_MIN << order;
            queue_fire_head(memory, queue);
        }
    }
}

/* A fired waiter may want nothing any more, and nobody tells: what it leaves is for those behind
 * it, once all that were fired have run. */
static void memory_recheck(struct completion *completion)
{
    struct memory *memory = CONTAINER_OF(completion, struct memory, recheck);
    if (memory->recheck_late) {
        memory->recheck_late = false;
        completion_fire(memory->reactor, &memory->recheck, OK);
        return;
    }
    memory_wake(memory);
}

/* Asks the cache to give back until the block fits or nothing more comes; doubles what it asks for,
 * since freed pieces need not lie side by side. */
static bool memory_reclaim(struct memory *memory, enum memory_class class, uint32_t order)
{
    ASSERT(!memory->reclaiming);
    if (memory->reclaim == NULL || memory_capped(memory, class, order, 0)) {
        return false;
    }
    uint64_t bytes = (uint64_t)BLOCK_SIZE_MIN << order;
    bool fits = false;
    memory->reclaiming = true;
    for (uint32_t round = 0; round < MEMORY_RECLAIMS_MAX && !fits; round++) {
        bool freed = memory->reclaim(memory->reclaim_context, min_u64(bytes, memory->limit_bytes));
        fits = memory_fits(memory, class, order, NULL);
        if (!freed) {
            break;
        }
        bytes *= 2;
    }
    memory->reclaiming = false;
    return fits;
}

struct block *block_acquire(struct memory *memory, enum memory_class class, uint32_t size)
{
    ASSERT(memory != NULL);
    ASSERT(class < MEMORY_CLASS_COUNT);
    ASSERT(size > 0 && size <= memory_block_max(memory));
    ASSERT(!memory->reclaiming);
    uint32_t order = memory_order(size);
    bool reclaimed = false;
    if (!memory_fits(memory, class, order, NULL)) {
        reclaimed = memory_reclaim(memory, class, order);
        if (!reclaimed) {
            memory->waits[class]++;
            memory_wake(memory); /* What was reclaimed in vain may do for a smaller waiter. */
            return NULL;
        }
    }
    uint64_t page = tree_take(memory, order);
    uint64_t position = page << MEMORY_PAGE_SHIFT;
    struct block *block = &memory->heads[page];
    ASSERT(block->refs == 0);
    *block = (struct block){
        .data = memory->base + position,
        .size = (uint32_t)BLOCK_SIZE_MIN << order,
        .refs = 1,
        .memory = memory,
        .class = (uint8_t) class,
    };
    memory->used[class] += block->size;
    memory_touch(memory, position, block->size);
    unpoison(block->data, size);
#ifdef FLOE_VERIFY
    poison(block->data + align_up(size, 8), block->size - (size_t)align_up(size, 8));
#endif
    queue_served(&memory->queues[class], size);
    if (reclaimed) {
        memory_wake(memory);
    }
    return block;
}

struct block *block_ref(struct block *block)
{
    ASSERT(block->refs > 0 && block->refs < UINT32_MAX);
    block->refs++;
    return block;
}

void block_unref(struct block *block)
{
    ASSERT(block != NULL);
    ASSERT(block->refs > 0);
    block->refs--;
    if (block->refs > 0) {
        return;
    }
    struct memory *memory = block->memory;
    ASSERT(memory->used[block->class] >= block->size);
    memory->used[block->class] -= block->size;
    poison(block->data, block->size);
    uint64_t position = (uint64_t)(block->data - memory->base);
    tree_give(memory, position >> MEMORY_PAGE_SHIFT, memory_order(block->size));
    if (!memory->reclaiming) {
        memory_wake(memory);
    }
}

/* Puts `waiter` behind the `at` first of the list. */
static void queue_insert(struct memory_queue *queue, uint32_t at, struct completion *waiter)
{
    ASSERT(at <= queue->waiters.count);
    if (at == queue->waiters.count) {
        completion_list_push(&queue->waiters, waiter);
        return;
    }
    struct completion **link = &queue->waiters.head;
    for (; at > 0; at--) {
        link = &(*link)->next;
    }
    waiter->next = *link;
    *link = waiter;
    queue->waiters.count++;
}

/* A waiter that was fired and failed again goes back to the head, behind others of that kind: FIFO
 * order holds although somebody who never waited was quicker. */
void memory_await(struct memory *memory, struct reactor *reactor, struct memory_waiter *waiter)
{
    ASSERT(waiter->class < MEMORY_CLASS_COUNT);
    ASSERT(waiter->size > 0 && waiter->size <= memory_block_max(memory));
    ASSERT(!waiter->done.queued);
    ASSERT(waiter->done.fn != NULL);
    ASSERT(memory->reactor == NULL || memory->reactor == reactor);
    memory->reactor = reactor;
    struct memory_queue *queue = &memory->queues[waiter->class];
    uint32_t at = queue->waiters.count;
    for (uint32_t i = 0; i < queue->woken_count; i++) {
        if (queue->woken[i].waiter == waiter) {
            queue_forget(queue, i);
            at = queue->returned;
            queue->returned++;
            break;
        }
    }
    queue_insert(queue, at, &waiter->done);
    if (queue->waiters.head == &waiter->done &&
        memory_fits(memory, waiter->class, memory_order(waiter->size), NULL)) {
        queue_fire_head(memory, queue); /* Room came between the try and the wait. */
    }
}

static uint64_t memory_most(const struct memory *memory, enum memory_class class)
{
    ASSERT(class < MEMORY_CLASS_COUNT);
    bool capped = memory->cap[class] < memory->limit_bytes;
    return capped ? memory->cap[class] : 2 * memory->guarantee[class];
}

bool memory_low(const struct memory *memory, enum memory_class class)
{
    return memory->used[class] >= memory_most(memory, class) / 2;
}

bool memory_scarce(const struct memory *memory, enum memory_class class)
{
    return memory->used[class] >= memory_most(memory, class) / 8 * 7;
}

uint64_t memory_cap(const struct memory *memory, enum memory_class class)
{
    return memory->cap[class];
}

uint32_t memory_block_max(const struct memory *memory)
{
    return (uint32_t)BLOCK_SIZE_MIN << memory->order_max;
}

void memory_set_reclaim(struct memory *memory, memory_reclaim_fn *fn, void *context)
{
    ASSERT(fn == NULL || memory->reclaim == NULL);
    memory->reclaim = fn;
    memory->reclaim_context = context;
}

void memory_stats(const struct memory *memory, struct memory_stats *stats)
{
    *stats = (struct memory_stats){
        .limit_bytes = memory->limit_bytes,
        .touched_bytes = memory->touched_bytes,
    };
    memcpy(stats->used_bytes, memory->used, sizeof(stats->used_bytes));
    memcpy(stats->waits, memory->waits, sizeof(stats->waits));
}
