/* What core/os.h promises, on whichever of its two files this build stands: the preset `portable`
 * runs the one for other systems. */
#include "core/os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCK_BYTES = 4096 };

static int file_open(void)
{
    char path[] = "os-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    return fd;
}

static void a_durable_write_is_all_in_the_file(void **state)
{
    (void)state;
    int fd = file_open();
    uint8_t out[BLOCK_BYTES], in[BLOCK_BYTES];
    memset(out, 0x5a, sizeof(out));
    assert_int_equal(os_file_write_durable(fd, out, sizeof(out), BLOCK_BYTES), sizeof(out));
    assert_int_equal(pread(fd, in, sizeof(in), BLOCK_BYTES), sizeof(in));
    assert_memory_equal(in, out, sizeof(out));
    assert_int_equal(os_file_sync(fd), 0);
    close(fd);
}

static void a_write_or_a_sync_that_fails_says_so(void **state)
{
    (void)state;
    uint8_t byte = 1;
    errno = 0;
    assert_int_equal(os_file_write_durable(-1, &byte, 1, 0), -1);
    assert_int_equal(errno, EBADF);
    errno = 0;
    assert_int_equal(os_file_sync(-1), -1);
    assert_int_equal(errno, EBADF);
    errno = 0;
    assert_int_equal(os_directory_sync(-1), -1);
    assert_int_equal(errno, EBADF);
    errno = 0;
    assert_int_equal(os_file_reserve(-1, 0, 1), -1);
    assert_int_equal(errno, EBADF);
    assert_false(os_file_direct(-1));
}

static void room_is_taken_without_a_change_to_what_is_there(void **state)
{
    (void)state;
    int fd = file_open();
    assert_int_equal(write(fd, "floe", 4), 4);
    assert_int_equal(os_file_reserve(fd, 0, (uint64_t)16 * BLOCK_BYTES), 0);
    char text[4];
    assert_int_equal(pread(fd, text, sizeof(text), 0), 4);
    assert_memory_equal(text, "floe", 4);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    assert_true(status.st_blocks * 512 >= 16 * BLOCK_BYTES);
    close(fd);
}

static void a_directory_can_be_made_durable(void **state)
{
    (void)state;
    int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(os_directory_sync(fd), 0);
    close(fd);
}

static void is_prepared(int fd)
{
    assert_true(fd >= 0);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
}

static int listener(uint16_t *port)
{
    int fd = os_socket(AF_INET);
    is_prepared(fd);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(*port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    assert_int_equal(os_socket_share(fd), 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void sockets_neither_block_nor_outlive_an_exec(void **state)
{
    (void)state;
    uint16_t port = 0;
    int door = listener(&port);
    errno = 0;
    assert_int_equal(os_accept(door), -1);
    assert_true(errno == EAGAIN || errno == EWOULDBLOCK);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(client, (const struct sockaddr *)&address, sizeof(address)), 0);
    int accepted = os_accept(door);
    is_prepared(accepted);
    close(accepted);
    close(client);
    close(door);
}

static void two_listeners_share_a_port(void **state)
{
    (void)state;
    uint16_t port = 0;
    int first = listener(&port);
    uint16_t same = port;
    int second = listener(&same);
    assert_int_equal(same, port);
    close(first);
    close(second);
}

static void reserved_memory_is_zero_and_takes_every_hint(void **state)
{
    (void)state;
    const size_t bytes = (size_t)4 << 20;
    uint8_t *at = os_memory_reserve(bytes);
    assert_non_null(at);
    os_memory_small_pages(at, bytes);
    (void)os_memory_populate(at, bytes / 2);
    os_memory_huge_pages(at, bytes);
    for (size_t i = 0; i < bytes; i += BLOCK_BYTES) {
        assert_int_equal(at[i], 0);
        at[i] = 1;
    }
    assert_int_equal(munmap(at, bytes), 0);
    assert_null(os_memory_reserve(SIZE_MAX / 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_durable_write_is_all_in_the_file),
        cmocka_unit_test(a_write_or_a_sync_that_fails_says_so),
        cmocka_unit_test(room_is_taken_without_a_change_to_what_is_there),
        cmocka_unit_test(a_directory_can_be_made_durable),
        cmocka_unit_test(sockets_neither_block_nor_outlive_an_exec),
        cmocka_unit_test(two_listeners_share_a_port),
        cmocka_unit_test(reserved_memory_is_zero_and_takes_every_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
