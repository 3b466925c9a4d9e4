/* See the header.
 *
 *     name    generation 32 bits | slot 24 bits | kind 4 bits | 1111
 *     slot    in chunks that are made as names are needed, and never freed
 *
 * The low bits make sure that no pointer to an object is ever taken for a name. A slot keeps its
 * generation when it is free, so a name that ended stays ended until 2^32 others had its slot. */
#include "shard/library_name.h"

#include "core/assert.h"
#include "core/thread.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    NAME_CHUNK_SLOTS = 1024,
    NAME_CHUNKS_MAX = 4096, /* Four million names at once. */
    NAME_MARK = 15,
};

_Static_assert(sizeof(uintptr_t) == 8, "a name has 64 bits");

struct name_slot {
    _Atomic uint64_t name;  /* 0: free. */
    _Atomic uint64_t owner; /* Thread number; 0: any. */
    _Atomic uint32_t users; /* Who are in, of a name that any thread may use. */
    uint32_t generation;
    uint32_t index;
    void *object;
    struct name_slot *free;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t left;
    _Atomic(struct name_slot *) chunks[NAME_CHUNKS_MAX];
    uint32_t chunk_count;
    struct name_slot *free;
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .left = PTHREAD_COND_INITIALIZER};

/* Under the lock; false: no memory, or no room. */
static bool names_grow(void)
{
    if (names.chunk_count == NAME_CHUNKS_MAX) {
        return false;
    }
    struct name_slot *chunk = calloc(NAME_CHUNK_SLOTS, sizeof(*chunk));
    if (chunk == NULL) {
        return false;
    }
    for (uint32_t i = NAME_CHUNK_SLOTS; i > 0; i--) {
        chunk[i - 1].index = names.chunk_count * NAME_CHUNK_SLOTS + i - 1;
        chunk[i - 1].free = names.free;
        names.free = &chunk[i - 1];
    }
    atomic_store(&names.chunks[names.chunk_count++], chunk);
    return true;
}

void *name_make(enum name_kind kind, void *object, uint64_t owner)
{
    uint64_t name = 0;
    pthread_mutex_lock(&names.lock);
    if (names.free != NULL || names_grow()) {
        struct name_slot *slot = names.free;
        names.free = slot->free;
        slot->object = object;
        slot->generation++;
        name = (uint64_t)slot->generation << 32 | (uint64_t)slot->index << 8 | (uint64_t)kind << 4 |
               NAME_MARK;
        atomic_store(&slot->owner, owner);
        atomic_store(&slot->name, name); /* Pairs with name_enter(): the object comes first. */
    }
    pthread_mutex_unlock(&names.lock);
    return (void *)(uintptr_t)name; /* NOLINT: never followed. */
}

static struct name_slot *name_slot(const void *name, enum name_kind kind)
{
    uint64_t bits = (uintptr_t)name;
    uint32_t index = (uint32_t)(bits >> 8) & 0xffffff;
    if ((bits & NAME_MARK) != NAME_MARK || (bits >> 4 & 15) != (uint64_t)kind ||
        index / NAME_CHUNK_SLOTS >= NAME_CHUNKS_MAX) {
        return NULL;
    }
    struct name_slot *chunk = atomic_load(&names.chunks[index / NAME_CHUNK_SLOTS]);
    return chunk == NULL ? NULL : &chunk[index % NAME_CHUNK_SLOTS];
}

enum name_result name_enter(const void *name, enum name_kind kind, void **object)
{
    struct name_slot *slot = name_slot(name, kind);
    if (slot == NULL) {
        return NAME_WRONG;
    }
    /* Of users++, then look at the name, here, and name = 0, then look at users, in name_end(), one
     * sees the other. */
    uint32_t others = atomic_fetch_add(&slot->users, 1);
    if (atomic_load(&slot->name) != (uintptr_t)name) {
        name_leave(name);
        return NAME_GONE;
    }
    uint64_t owner = atomic_load(&slot->owner);
    bool alone = kind == NAME_READER || kind == NAME_APPEND;
    if ((owner != 0 && owner != thread_number()) || (alone && others > 0)) {
        name_leave(name);
        return NAME_ALIEN;
    }
    *object = slot->object;
    return NAME_FOUND;
}

void name_leave(const void *name)
{
    uint64_t bits = (uintptr_t)name;
    struct name_slot *slot = name_slot(name, (enum name_kind)(bits >> 4 & 15));
    ASSERT(slot != NULL);
    uint32_t before = atomic_fetch_sub(&slot->users, 1);
    ASSERT(before > 0);
    if (atomic_load(&slot->name) != bits) {
        pthread_mutex_lock(&names.lock);
        pthread_cond_broadcast(&names.left);
        pthread_mutex_unlock(&names.lock);
    }
}

bool name_end(const void *name)
{
    uint64_t bits = (uintptr_t)name;
    struct name_slot *slot = name_slot(name, (enum name_kind)(bits >> 4 & 15));
    ASSERT(slot != NULL);
    pthread_mutex_lock(&names.lock);
    if (atomic_load(&slot->name) != bits) {
        pthread_mutex_unlock(&names.lock);
        return false;
    }
    atomic_store(&slot->name, 0);
    while (atomic_load(&slot->users) > 1) {
        pthread_cond_wait(&names.left, &names.lock);
    }
    slot->free = names.free;
    names.free = slot;
    pthread_mutex_unlock(&names.lock);
    return true;
}
