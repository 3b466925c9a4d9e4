/* The storage engine's ground on a machine that has no test framework: one file by the posix
 * engine, made, allocated, written durably, read back, checksummed. Prints `ok` and ends with 0.
 *
 *     smoke DIRECTORY */
#include "core/crc32c.h"
#include "core/io.h"
#include "core/limits.h"
#include "core/reactor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMOKE_BYTES = 1 << 20, SMOKE_TURNS_MAX = 1000000, SMOKE_PATH_BYTES = 4096 };

struct smoke {
    struct reactor *reactor;
    struct io io;
    bool done;
};

static void smoke_done(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    CONTAINER_OF(io, struct smoke, io)->done = true;
}

/* Runs the io that is prepared and returns its result; ends the program if that is an error. */
static int32_t smoke_run(struct smoke *smoke, const char *what)
{
    smoke->done = false;
    io_submit(smoke->reactor, &smoke->io);
    for (uint32_t i = 0; i < SMOKE_TURNS_MAX && !smoke->done; i++) {
        reactor_turn(smoke->reactor, NS_PER_MS);
    }
    int32_t result = smoke->done ? smoke->io.done.result : (int32_t)ERR_TIMEOUT;
    if (result < 0) {
        printf("%s: %s\n", what, err_name((enum err)result));
        exit(EXIT_FAILURE);
    }
    return result;
}

static void smoke_file(struct smoke *smoke, const char *path)
{
    uint8_t *out = aligned_alloc(BLOCK_SIZE_MIN, SMOKE_BYTES);
    uint8_t *in = aligned_alloc(BLOCK_SIZE_MIN, SMOKE_BYTES);
    if (out == NULL || in == NULL) {
        printf("no memory\n");
        exit(EXIT_FAILURE);
    }
    prng_fill(&smoke->reactor->prng, out, SMOKE_BYTES);
    io_open(&smoke->io, path, IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_DIRECT);
    int fd = smoke_run(smoke, "open");
    bool direct = smoke->io.open.direct;
    io_allocate(&smoke->io, fd, 0, SMOKE_BYTES);
    smoke_run(smoke, "allocate");
    io_write(&smoke->io, fd, out, SMOKE_BYTES, 0, IO_WRITE_DURABLE);
    smoke_run(smoke, "write");
    io_read(&smoke->io, fd, in, SMOKE_BYTES, 0);
    int32_t bytes = smoke_run(smoke, "read");
    io_close(&smoke->io, fd);
    smoke_run(smoke, "close");
    io_unlink(&smoke->io, path);
    smoke_run(smoke, "unlink");
    uint32_t crc = crc32c(0, in, SMOKE_BYTES);
    if (bytes != SMOKE_BYTES || crc != crc32c_portable(0, out, SMOKE_BYTES)) {
        printf("what was read is not what was written\n");
        exit(EXIT_FAILURE);
    }
    printf("ok direct=%d bytes=%d crc32c=%08x\n", direct, bytes, crc);
    free(out);
    free(in);
}

int main(int argc, char **argv)
{
    char path[SMOKE_PATH_BYTES];
    if (argc != 2 || strlen(argv[1]) + sizeof("/smoke") > sizeof(path)) {
        printf("usage: smoke DIRECTORY\n");
        return 2;
    }
    snprintf(path, sizeof(path), "%s/smoke", argv[1]);
    struct smoke smoke = {.reactor = aligned_alloc(CACHE_LINE_BYTES, sizeof(struct reactor))};
    if (smoke.reactor == NULL) {
        printf("no memory\n");
        return EXIT_FAILURE;
    }
    memset(smoke.reactor, 0, sizeof(*smoke.reactor));
    struct reactor_options options = {
        .engine = &io_engine_posix,
        .io = {.entries = 64, .recv_count = 4, .recv_size = BLOCK_SIZE_MIN},
        .memory = {.limit_bytes = MEMORY_LIMIT_MIN, .numa_node = -1},
        .seed = {1, 2, 3, 4},
    };
    if (reactor_open(smoke.reactor, &options) != OK) {
        printf("the reactor does not open\n");
        return EXIT_FAILURE;
    }
    completion_init(&smoke.io.done, smoke_done);
    smoke_file(&smoke, path);
    reactor_close(smoke.reactor);
    free(smoke.reactor);
    return EXIT_SUCCESS;
}
