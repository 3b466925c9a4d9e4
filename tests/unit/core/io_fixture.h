/* An open reactor of each engine, and operations that are waited for. */
#pragma once

#include "core/io.h"
#include "core/reactor.h"

enum { IO_ENTRIES = 64, IO_BUFFERS = 4, IO_BUFFER_BYTES = 4096 };

/* A test's setup and teardown; its state is the reactor. */
int io_setup_posix(void **state);
#ifdef FLOE_HAS_URING
int io_setup_uring(void **state);
#endif
int io_teardown(void **state);

#define IO_ON(name, engine) cmocka_unit_test_setup_teardown(name, io_setup_##engine, io_teardown)

/* One io, and whether it has fired. */
struct waited {
    struct io io;
    bool done;
};

void waited_init(struct waited *waited);

/* Turns until what was submitted has fired; its result. */
int32_t waited_finish(struct reactor *reactor, struct waited *waited);

/* The same, and submits it first. */
int32_t waited_run(struct reactor *reactor, struct waited *waited);
