/* Names of the objects that libfloe hands out. A host holds a name where it thinks it holds a
 * pointer; the library looks it up, so that a stale or a wrong one is told and never followed. */
#pragma once

#include "core/err.h"

enum name_kind {
    NAME_HANDLE = 1,
    NAME_PARTITION,
    NAME_READER,
    NAME_APPEND,
};

/* A new name for `object`, used by the thread `owner` (0: by any). NULL: there are too many, or no
 * memory. From any thread. */
NODISCARD void *name_make(enum name_kind kind, void *object, uint64_t owner);

enum name_result {
    NAME_FOUND, /* name_leave() it. */
    NAME_WRONG, /* NULL, or no name of that kind. */
    NAME_GONE,  /* It was one. */
    NAME_ALIEN, /* It is another thread's. */
};

/* Looks up `name`. While a caller is in, the object stays. A reader and an append let in one caller
 * at a time; the next one is an alien. From any thread. */
NODISCARD enum name_result name_enter(const void *name, enum name_kind kind, void **object);
void name_leave(const void *name);

/* The caller is in. Takes the name away, and waits until all others have left. False: another one
 * was quicker, and the object is his. */
NODISCARD bool name_end(const void *name);
