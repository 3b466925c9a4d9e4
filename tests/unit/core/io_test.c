/* What both engines promise alike: files, sockets, receives without a buffer, whole reads, the
 * names of errors, and a wake-up that is always armed. */
#include "core/io.h"

#include "core/limits.h"
#include "core/reactor.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { ENTRIES = 64, BUFFERS = 4, BUFFER_BYTES = 4096 };

static int setup(void **state, const struct io_engine *engine)
{
    struct reactor *reactor = aligned_alloc(CACHE_LINE_BYTES, sizeof(*reactor));
    assert_non_null(reactor);
    memset(reactor, 0, sizeof(*reactor));
    struct reactor_options options = {
        .engine = engine,
        .io = {.entries = ENTRIES, .recv_count = BUFFERS, .recv_size = BUFFER_BYTES},
        .memory = {.limit_bytes = MEMORY_LIMIT_MIN, .numa_node = -1},
        .seed = {1, 2, 3, 4},
    };
    assert_int_equal(reactor_open(reactor, &options), OK);
    *state = reactor;
    return 0;
}

static int setup_posix(void **state)
{
    return setup(state, &io_engine_posix);
}

#ifdef FLOE_HAS_URING
static int setup_uring(void **state)
{
    return setup(state, &io_engine_uring);
}
#endif

static int teardown(void **state)
{
    struct reactor *reactor = *state;
    reactor_close(reactor);
    free(reactor);
    return 0;
}

/* One io, and whether it has fired. */
struct waited {
    struct io io;
    bool done;
};

static void waited_done(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    CONTAINER_OF(io, struct waited, io)->done = true;
}

static void waited_init(struct waited *waited)
{
    memset(waited, 0, sizeof(*waited));
    completion_init(&waited->io.done, waited_done);
}

static int32_t waited_finish(struct reactor *reactor, struct waited *waited)
{
    for (uint32_t i = 0; i < 10000 && !waited->done; i++) {
        reactor_turn(reactor, NS_PER_MS);
    }
    assert_true(waited->done);
    waited->done = false;
    return waited->io.done.result;
}

static int32_t waited_run(struct reactor *reactor, struct waited *waited)
{
    io_submit(reactor, &waited->io);
    return waited_finish(reactor, waited);
}

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

/* More receivers than lent buffers: the rest waits for a release, and nothing is lost. */
static void receivers_without_a_buffer_wait_for_one(void **state)
{
    enum { CONNECTIONS = 8 };
    struct reactor *reactor = *state;
    struct io_address address;
    assert_int_equal(io_address_parse("127.0.0.1:0", &address), OK);
    struct waited one, receivers[CONNECTIONS];
    int clients[CONNECTIONS], servers[CONNECTIONS];
    waited_init(&one);
    io_listen(&one.io, &address, false);
    int listener = waited_run(reactor, &one);
    address = one.io.listen.address;
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        io_connect(&one.io, &address);
        clients[i] = waited_run(reactor, &one);
        io_accept(&one.io, listener);
        servers[i] = waited_run(reactor, &one);
        char byte = 'x';
        struct iovec vector = {.iov_base = &byte, .iov_len = 1};
        io_send(&one.io, clients[i], &vector, 1);
        assert_int_equal(waited_run(reactor, &one), 1);
        waited_init(&receivers[i]);
        io_recv(&receivers[i].io, servers[i], NULL, 0);
        io_submit(reactor, &receivers[i].io);
    }
    uint32_t done = 0;
    for (uint32_t turn = 0; turn < 10000 && done < CONNECTIONS; turn++) {
        reactor_turn(reactor, NS_PER_MS);
        for (uint32_t i = 0; i < CONNECTIONS; i++) {
            if (receivers[i].done && receivers[i].io.recv.lent != 0 && turn > 20) {
                assert_int_equal(receivers[i].io.done.result, 1);
                io_recv_release(reactor, &receivers[i].io);
                done++;
            }
        }
    }
    assert_int_equal(done, CONNECTIONS);
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        io_close(&one.io, clients[i]);
        assert_int_equal(waited_run(reactor, &one), OK);
        io_close(&one.io, servers[i]);
        assert_int_equal(waited_run(reactor, &one), OK);
    }
    io_close(&one.io, listener);
    assert_int_equal(waited_run(reactor, &one), OK);
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

/* A pair of sockets and a receive on the first. */
struct talk {
    struct waited waited;
    int near, far;
};

static void talk_open(struct talk *talk)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    talk->near = ends[0];
    talk->far = ends[1];
    waited_init(&talk->waited);
}

static void talk_close(struct talk *talk)
{
    close(talk->near);
    close(talk->far);
}

/* Ends the sleep of the turn that it rings in. */
static void alarm_ring(struct completion *completion)
{
    assert_int_equal(completion->result, OK);
    reactor_self()->engine->wake(NULL, reactor_self());
}

/* The wake-up is taken, and the same turn submits as much as there is room for. */
static void a_wake_is_armed_before_a_sleep_however_full_the_turn(void **state)
{
    struct reactor *reactor = *state;
    static struct talk talks[ENTRIES];
    static uint8_t bytes[ENTRIES];
    struct timer alarm;
    reactor_turn(reactor, 0);
    reactor->engine->wake(NULL, reactor);
    reactor_turn(reactor, NS_PER_S);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        talk_open(&talks[i]);
        io_recv(&talks[i].waited.io, talks[i].near, &bytes[i], 1);
        io_submit(reactor, &talks[i].waited.io);
    }
    timer_init(&alarm, alarm_ring);
    timer_start(reactor, &alarm, 5 * NS_PER_S);
    for (uint32_t i = 0; i < 2; i++) {
        reactor->engine->wake(NULL, reactor);
        reactor_turn(reactor, UINT64_MAX);
    }
    reactor_turn(reactor, 0);
    assert_true(timer_running(&alarm)); /* It was a wake that ended each sleep. */
    timer_stop(reactor, &alarm);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        io_socket_shutdown(reactor, talks[i].near);
        assert_int_equal(waited_finish(reactor, &talks[i].waited), 0);
        talk_close(&talks[i]);
    }
}

/* Receives into lent buffers; `size` bytes are there already. */
static void talk_start(struct reactor *reactor, struct talk *talk, uint32_t size)
{
    static const char bytes[] = "xy";
    talk_open(talk);
    assert_int_equal(write(talk->far, bytes, size), size);
    io_recv(&talk->waited.io, talk->near, NULL, 0);
    io_submit(reactor, &talk->waited.io);
}

static void talk_end(struct reactor *reactor, struct talk *talk, int32_t result)
{
    assert_int_equal(waited_finish(reactor, &talk->waited), result);
    io_recv_release(reactor, &talk->waited.io);
    talk_close(talk);
}

/* What had come is received, then the end, also by who waits; the other way is open. */
static void what_has_come_is_received_behind_an_end_of_ours(void **state)
{
    struct reactor *reactor = *state;
    struct talk told, silent;
    talk_open(&told);
    talk_open(&silent);
    assert_int_equal(write(told.far, "xy", 2), 2);
    io_recv(&silent.waited.io, silent.near, NULL, 0);
    io_submit(reactor, &silent.waited.io);
    reactor_turn(reactor, 0);
    io_socket_end_receive(reactor, silent.near);
    io_socket_end_receive(reactor, told.near);
    for (int32_t wanted = 2; wanted >= 0; wanted -= 2) {
        io_recv(&told.waited.io, told.near, NULL, 0);
        assert_int_equal(waited_run(reactor, &told.waited), wanted);
        io_recv_release(reactor, &told.waited.io);
    }
    char bytes[] = "still";
    struct iovec vector = {.iov_base = bytes, .iov_len = 5};
    io_send(&told.waited.io, told.near, &vector, 1);
    assert_int_equal(waited_run(reactor, &told.waited), 5);
    talk_close(&told);
    talk_end(reactor, &silent, 0);
}

/* Takes every lent buffer. */
static void hold_all(struct reactor *reactor, struct talk holders[BUFFERS])
{
    for (uint32_t i = 0; i < BUFFERS; i++) {
        talk_start(reactor, &holders[i], 1);
    }
    for (uint32_t i = 0; i < BUFFERS; i++) {
        assert_int_equal(waited_finish(reactor, &holders[i].waited), 1);
        assert_true(holders[i].waited.io.recv.lent != 0);
    }
}

static void let_go(struct reactor *reactor, struct talk *holder)
{
    io_recv_release(reactor, &holder->waited.io);
    talk_close(holder);
}

/* Idle peers and dead ones stand before those that have something to say. */
static void a_buffer_goes_past_those_that_do_not_take_it(void **state)
{
    enum { IDLE = 6, DEAD = 6, READY = 6, FIRST_DEAD = IDLE, FIRST = IDLE + DEAD };
    struct reactor *reactor = *state;
    struct talk holders[BUFFERS], talks[IDLE + DEAD + READY];
    hold_all(reactor, holders);
    for (uint32_t i = 0; i < ARRAY_COUNT(talks); i++) {
        talk_start(reactor, &talks[i], i >= FIRST ? 2 : 0);
        reactor_turn(reactor, 0);
    }
    for (uint32_t i = FIRST_DEAD; i < FIRST; i++) {
        assert_int_equal(shutdown(talks[i].far, SHUT_WR), 0);
    }
    reactor_turn(reactor, 0);
    for (uint32_t i = FIRST; i < ARRAY_COUNT(talks); i++) {
        assert_false(talks[i].waited.done);
    }
    let_go(reactor, &holders[0]); /* One buffer is enough for all. */
    for (uint32_t i = FIRST; i < ARRAY_COUNT(talks); i++) {
        talk_end(reactor, &talks[i], 2);
    }
    for (uint32_t i = FIRST_DEAD; i < FIRST; i++) {
        talk_end(reactor, &talks[i], 0);
    }
    for (uint32_t i = 0; i < IDLE; i++) {
        assert_false(talks[i].waited.done);
        assert_int_equal(write(talks[i].far, "late", 4), 4);
        talk_end(reactor, &talks[i], 4);
    }
    for (uint32_t i = 1; i < BUFFERS; i++) {
        let_go(reactor, &holders[i]);
    }
}

/* However it came to wait: submitted while buffers were free or while none was, heard of its peer
 * or not, shut down before the engine has seen it. */
static void a_shutdown_ends_a_receive_without_a_buffer(void **state)
{
    enum { EARLY = 2, LATE = 6, ALL = 8 };
    struct reactor *reactor = *state;
    struct talk holders[BUFFERS], talks[ALL], unseen;
    for (uint32_t i = 0; i < EARLY; i++) {
        talk_start(reactor, &talks[i], 0);
    }
    hold_all(reactor, holders);
    for (uint32_t i = EARLY; i < ALL; i++) {
        talk_start(reactor, &talks[i], i % 3);
    }
    for (uint32_t i = 0; i < 10; i++) {
        reactor_turn(reactor, 0);
    }
    for (uint32_t i = 0; i < ALL; i++) {
        assert_false(talks[i].waited.done);
        io_socket_shutdown(reactor, talks[i].near);
        assert_false(talks[i].waited.done); /* Not before return. */
        assert_int_equal(waited_finish(reactor, &talks[i].waited), 0);
        talk_close(&talks[i]);
    }
    talk_start(reactor, &unseen, 2);
    io_socket_shutdown(reactor, unseen.near);
    talk_end(reactor, &unseen, 0);
    for (uint32_t i = 0; i < BUFFERS; i++) {
        let_go(reactor, &holders[i]);
    }
}

/* Turns that may sleep until the timer rings: few, although many have something to say. */
static void receives_without_a_buffer_let_the_core_sleep(void **state)
{
    struct reactor *reactor = *state;
    struct talk holders[BUFFERS], talks[8];
    struct timer alarm;
    uint32_t turns = 0;
    hold_all(reactor, holders);
    for (uint32_t i = 0; i < ARRAY_COUNT(talks); i++) {
        talk_start(reactor, &talks[i], 1);
    }
    timer_init(&alarm, alarm_ring);
    timer_start(reactor, &alarm, 50 * NS_PER_MS);
    while (timer_running(&alarm)) {
        reactor_turn(reactor, UINT64_MAX);
        turns++;
    }
    assert_true(turns < 20);
    for (uint32_t i = 0; i < BUFFERS; i++) {
        let_go(reactor, &holders[i]);
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(talks); i++) {
        talk_end(reactor, &talks[i], 1);
    }
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

#define ON(name, engine) cmocka_unit_test_setup_teardown(name, setup_##engine, teardown)
#define ALL(engine)                                                                                \
    ON(files_keep_their_bytes_and_flushes_are_counted, engine),                                    \
        ON(a_mapped_file_takes_copies_and_fails_where_it_has_no_bytes, engine),                    \
        ON(sockets_carry_bytes_and_a_shutdown_ends_a_receive, engine),                             \
        ON(a_listener_has_the_longest_queue_there_is, engine),                                     \
        ON(receivers_without_a_buffer_wait_for_one, engine),                                       \
        ON(an_error_has_the_name_that_its_operation_gives, engine),                                \
        ON(a_wake_is_armed_before_a_sleep_however_full_the_turn, engine),                          \
        ON(what_has_come_is_received_behind_an_end_of_ours, engine),                               \
        ON(a_buffer_goes_past_those_that_do_not_take_it, engine),                                  \
        ON(a_shutdown_ends_a_receive_without_a_buffer, engine),                                    \
        ON(receives_without_a_buffer_let_the_core_sleep, engine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(posix),
#ifdef FLOE_HAS_URING
        ALL(uring),
        ON(a_short_read_goes_on_to_the_end, uring),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
