/* The memory of a simulated process, so that it can die at any instruction.
 *
 * Included by force (-include) before every product source of the simulator's build: what that code
 * takes from malloc() or mmap() belongs to the process whose code runs, and process_die() gives it
 * all back, as the kernel does at kill -9. Each piece is a real allocation of its own, so
 * AddressSanitizer sees what it always sees. */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct process;

struct process *process_create(void);
void process_destroy(struct process *process);

/* Whose code runs from now on; NULL: nobody's. Returns who it was. */
struct process *process_enter(struct process *process);

size_t process_bytes(const struct process *process); /* Not freed yet. */

/* Frees all that is left; how many bytes that were not freed. */
size_t process_die(struct process *process);

void *process_malloc(size_t size);
void *process_calloc(size_t count, size_t size);
void *process_realloc(void *at, size_t size);
void *process_aligned_alloc(size_t alignment, size_t size);
void process_free(void *at);
char *process_strdup(const char *text);
void *process_mmap(void *at, size_t size, int protection, int flags);
int process_munmap(void *at, size_t size);
int process_advise(void *at, size_t size, int advice); /* Pages come when they are touched. */

#ifdef FLOE_SIM
#define malloc(size)                   process_malloc(size)
#define calloc(count, size)            process_calloc(count, size)
#define realloc(at, size)              process_realloc(at, size)
#define aligned_alloc(alignment, size) process_aligned_alloc(alignment, size)
#define free(at)                       process_free(at)
#undef strdup
#define strdup(text)                      process_strdup(text)
#define mmap(at, size, prot, flags, f, o) process_mmap(at, size, prot, flags)
#define munmap(at, size)                  process_munmap(at, size)
#define madvise(at, size, advice)         process_advise(at, size, advice)
#endif
