/* What both engines promise alike: files, sockets, whole reads, the names of errors. */
#include "tests/unit/core/io_fixture.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void files_keep_their_bytes_and_flushes_are_counted(void **state)
{
    struct reactor *reactor = *state;
    char dir[] = "/tmp/floe-io-XXXXXX", path[128], moved[128], names[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a", dir);
    snprintf(moved, sizeof(moved), "%s/b", dir);
    struct waited waited;
    waited_init(&waited);
    io_open(&waited.io, path, IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE | IO_OPEN_DIRECT);
    int fd = waited_run(reactor, &waited);
    assert_true(fd >= 0);
    io_open(&waited.io, path, IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE);
    assert_int_equal(waited_run(reactor, &waited), ERR_EXISTS);
    io_allocate(&waited.io, fd, 0, 65536);
    assert_int_equal(waited_run(reactor, &waited), OK);
    struct block *block = block_acquire(reactor->memory, MEMORY_APPEND, 8192);
    memset(block->data, 'x', 4096);
    uint64_t flushes = reactor->stats.counters[STAT_FLUSHES];
    io_write(&waited.io, fd, block->data, 4096, 4096, IO_WRITE_DURABLE);
    assert_int_equal(waited_run(reactor, &waited), 4096);
    assert_int_equal(reactor->stats.counters[STAT_FLUSHES], flushes + 1);
    io_read(&waited.io, fd, block->data + 4096, 4096, 4096);
    assert_int_equal(waited_run(reactor, &waited), 4096);
    assert_memory_equal(block->data, block->data + 4096, 4096);
    io_read(&waited.io, fd, block->data, 4096, 65536);
    assert_int_equal(waited_run(reactor, &waited), 0);
    block_unref(block);
    io_open(&waited.io, path, 0);
    int other = waited_run(reactor, &waited);
    assert_true(other >= 0);
    io_lock(&waited.io, fd, IO_LOCK_SHARED);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_lock(&waited.io, other, IO_LOCK_SHARED);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_lock(&waited.io, fd, 0);
    assert_int_equal(waited_run(reactor, &waited), ERR_BUSY);
    io_close(&waited.io, other);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_lock(&waited.io, fd, 0);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_close(&waited.io, fd);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_rename(&waited.io, path, moved);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_stat(&waited.io, path);
    assert_int_equal(waited_run(reactor, &waited), ERR_NOT_FOUND);
    io_stat(&waited.io, moved);
    assert_int_equal(waited_run(reactor, &waited), OK);
    assert_int_equal(waited.io.stat.size, 65536);
    assert_true(waited.io.stat.taken >= 65536);
    io_open(&waited.io, moved, IO_OPEN_WRITE);
    fd = waited_run(reactor, &waited);
    for (uint32_t i = 0; i < 3; i++) { /* Shorter, and never longer again. */
        io_truncate(&waited.io, fd, i == 0 ? 65536 + 4096 : i == 1 ? 8192 : 65536);
        assert_int_equal(waited_run(reactor, &waited), OK);
        io_stat(&waited.io, moved);
        assert_int_equal(waited_run(reactor, &waited), OK);
        assert_int_equal(waited.io.stat.size, i == 0 ? 65536 : 8192);
    }
    io_close(&waited.io, fd);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_sync_dir(&waited.io, dir);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_list(&waited.io, dir, names, sizeof(names), 0);
    assert_int_equal(waited_run(reactor, &waited), 2);
    assert_string_equal(names, "b");
    io_unlink(&waited.io, moved);
    assert_int_equal(waited_run(reactor, &waited), OK);
    assert_int_equal(rmdir(dir), 0);
}

static void a_mapped_file_takes_copies_and_fails_where_it_has_no_bytes(void **state)
{
    struct reactor *reactor = *state;
    char path[] = "/tmp/floe-map-XXXXXX";
    close(mkstemp(path));
    struct waited waited;
    waited_init(&waited);
    io_open(&waited.io, path, IO_OPEN_WRITE | IO_OPEN_MAPPED);
    int fd = waited_run(reactor, &waited);
    assert_true(fd >= 0);
    io_open(&waited.io, path, 0);
    int other = waited_run(reactor, &waited);
    uint8_t data[8192], read[8192];
    for (uint32_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7);
    }
    for (uint32_t round = 0; round < 3; round++) { /* It grows, and is mapped again. */
        uint64_t position = round * UINT64_C(65536);
        io_allocate(&waited.io, fd, position, 65536);
        assert_int_equal(waited_run(reactor, &waited), OK);
        uint32_t flags = round == 1 ? IO_WRITE_DURABLE : 0;
        uint64_t flushes = reactor->stats.counters[STAT_FLUSHES];
        io_write(&waited.io, fd, data, sizeof(data), position + 4096, flags);
        assert_int_equal(waited_run(reactor, &waited), sizeof(data));
        assert_int_equal(reactor->stats.counters[STAT_FLUSHES], flushes + (round == 1));
        io_read(&waited.io, other, read, sizeof(read), position + 4096);
        assert_int_equal(waited_run(reactor, &waited), sizeof(read));
        assert_memory_equal(data, read, sizeof(data));
    }
    io_write(&waited.io, fd, data, 100, 3 * 65536, 0); /* Behind its end. */
    assert_int_equal(waited_run(reactor, &waited), 100);
    assert_int_equal(truncate(path, 4096), 0);
    for (uint32_t durable = 0; durable < 2; durable++) {
        io_write(&waited.io, fd, data, sizeof(data), 65536, durable ? IO_WRITE_DURABLE : 0U);
        assert_int_equal(waited_run(reactor, &waited), ERR_IO);
    }
    io_write(&waited.io, fd, data, 4096, 0, 0);
    assert_int_equal(waited_run(reactor, &waited), 4096);
    io_close(&waited.io, fd);
    assert_int_equal(waited_run(reactor, &waited), OK);
    io_close(&waited.io, other);
    assert_int_equal(waited_run(reactor, &waited), OK);
    assert_int_equal(unlink(path), 0);
}

static void sockets_carry_bytes_and_a_shutdown_ends_a_receive(void **state)
{
    struct reactor *reactor = *state;
    struct io_address address;
    assert_int_equal(io_address_parse("127.0.0.1:0", &address), OK);
    struct waited listening, accepted, connected, sent, received;
    waited_init(&listening);
    waited_init(&accepted);
    waited_init(&connected);
    waited_init(&sent);
    waited_init(&received);
    io_listen(&listening.io, &address, false);
    int listener = waited_run(reactor, &listening);
    assert_true(listener >= 0);
    address = listening.io.listen.address;
    assert_int_not_equal(address.port, 0);
    io_accept(&accepted.io, listener);
    io_submit(reactor, &accepted.io);
    io_connect(&connected.io, &address);
    int client = waited_run(reactor, &connected);
    int server = waited_finish(reactor, &accepted);
    assert_true(client >= 0 && server >= 0);
    io_recv(&received.io, server, NULL, 0);
    io_submit(reactor, &received.io);
    char hello[] = "hello ", name[] = "reactor";
    struct iovec vectors[2] = {{.iov_base = hello, .iov_len = 6}, {.iov_base = name, .iov_len = 7}};
    io_send(&sent.io, client, vectors, 2);
    assert_int_equal(waited_run(reactor, &sent), 13);
    assert_int_equal(waited_finish(reactor, &received), 13);
    assert_memory_equal(received.io.recv.data, "hello reactor", 13);
    io_recv_release(reactor, &received.io);
    io_recv(&received.io, server, NULL, 0);
    io_submit(reactor, &received.io);
    reactor_turn(reactor, 0);
    io_socket_shutdown(reactor, server);
    assert_true(waited_finish(reactor, &received) <= 0);
    int fds[3] = {client, server, listener};
    for (uint32_t i = 0; i < 3; i++) {
        io_close(&sent.io, fds[i]);
        assert_int_equal(waited_run(reactor, &sent), OK);
    }
    io_connect(&connected.io, &address);
    assert_int_equal(waited_run(reactor, &connected), ERR_CONNECTION);
}

/* After a restart thousands of clients come at once: the queue is as long as the kernel allows. */
static void a_listener_has_the_longest_queue_there_is(void **state)
{
    struct reactor *reactor = *state;
    struct io_address address;
    struct waited one;
    struct tcp_info info;
    socklen_t size = sizeof(info);
    unsigned most = 0;
    FILE *file = fopen("/proc/sys/net/core/somaxconn", "r");
    if (file == NULL || fscanf(file, "%u", &most) != 1) {
        skip();
    }
    (void)fclose(file);
    assert_int_equal(io_address_parse("127.0.0.1:0", &address), OK);
    waited_init(&one);
    io_listen(&one.io, &address, false);
    int listener = waited_run(reactor, &one);
    assert_int_equal(getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    io_close(&one.io, listener);
    assert_int_equal(waited_run(reactor, &one), OK);
    if (size <= offsetof(struct tcp_info, tcpi_sacked)) {
        skip(); /* QEMU takes it for a number. */
    }
    assert_int_equal(info.tcpi_sacked, most < 65535 ? most : 65535); /* So it is told of one. */
}

static void an_error_has_the_name_that_its_operation_gives(void **state)
{
    struct reactor *reactor = *state;
    struct waited waited;
    waited_init(&waited);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    io_accept(&waited.io, fd); /* EINVAL: it does not listen. */
    assert_int_equal(waited_run(reactor, &waited), ERR_CLOSED);
    uint8_t byte;
    io_read(&waited.io, fd, &byte, 1, 0); /* ENOTCONN, or ESPIPE: a file that fails. */
    assert_int_equal(waited_run(reactor, &waited), ERR_IO);
    io_close(&waited.io, fd);
    assert_int_equal(waited_run(reactor, &waited), OK);
}

#ifdef FLOE_HAS_URING
/* A pipe gives what it has. The posix engine reads with pread(2), which a pipe refuses. */
static void a_short_read_goes_on_to_the_end(void **state)
{
    struct reactor *reactor = *state;
    uint8_t data[16] = {0};
    int ends[2];
    struct waited waited;
    waited_init(&waited);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "short ", 6), 6);
    io_read(&waited.io, ends[0], data, 10, 0);
    io_submit(reactor, &waited.io);
    for (uint32_t i = 0; i < 10; i++) {
        reactor_turn(reactor, 0);
    }
    assert_false(waited.done);
    assert_int_equal(write(ends[1], "reading", 7), 7);
    assert_int_equal(waited_finish(reactor, &waited), 10);
    assert_memory_equal(data, "short read\0", 11);
    close(ends[1]);
    io_read(&waited.io, ends[0], data, sizeof(data), 0);
    assert_int_equal(waited_run(reactor, &waited), 3);
    assert_memory_equal(data, "ing", 3);
    close(ends[0]);
}
#endif

#define ALL(engine)                                                                                \
    IO_ON(files_keep_their_bytes_and_flushes_are_counted, engine),                                 \
        IO_ON(a_mapped_file_takes_copies_and_fails_where_it_has_no_bytes, engine),                 \
        IO_ON(sockets_carry_bytes_and_a_shutdown_ends_a_receive, engine),                          \
        IO_ON(a_listener_has_the_longest_queue_there_is, engine),                                  \
        IO_ON(an_error_has_the_name_that_its_operation_gives, engine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(posix),
#ifdef FLOE_HAS_URING
        ALL(uring),
        IO_ON(a_short_read_goes_on_to_the_end, uring),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
