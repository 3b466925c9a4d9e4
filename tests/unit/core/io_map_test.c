/* SIGBUS of mapped files: in a copy it is an error of that write; any other goes to who handled it
 * before, who may leave as he likes. */
#include "core/io_map.h"

#include "core/err.h"
#include "core/limits.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGES = 4 };

#ifdef __SANITIZE_THREAD__
enum { UNDER_TSAN = true };
#else
enum { UNDER_TSAN = false };
#endif

static uint32_t page_bytes(void)
{
    return (uint32_t)sysconf(_SC_PAGESIZE);
}

/* A file of some pages that has no name. */
static int make_file(void)
{
    char path[] = "io-map-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ftruncate(fd, (off_t)PAGES * page_bytes()), 0);
    return fd;
}

/* --- The host: its mapping of a file that was cut, and its handler. --- */

static volatile const uint8_t *host_page; /* Cannot be read. */
static sigjmp_buf host_escape;
static volatile sig_atomic_t host_faults;

static void host_map(void)
{
    int fd = make_file();
    void *at = mmap(NULL, page_bytes(), PROT_READ, MAP_SHARED, fd, 0);
    assert_true(at != MAP_FAILED);
    assert_int_equal(ftruncate(fd, 0), 0);
    host_page = at;
    assert_int_equal(close(fd), 0);
}

static void host_leaves(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (info->si_addr != host_page) {
        _exit(3);
    }
    host_faults++;
    siglongjmp(host_escape, 1);
}

static void host_mends(int number)
{
    (void)number;
    host_faults++;
    void *at = mmap((void *)(uintptr_t)host_page, page_bytes(), PROT_READ,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (at == MAP_FAILED) {
        _exit(4);
    }
}

static struct sigaction host_before;

static void host_passes_back(int number, siginfo_t *info, void *context)
{
    host_faults++;
    host_before.sa_sigaction(number, info, context);
}

static void host_handles(void (*handler)(int, siginfo_t *, void *), int flags,
                         struct sigaction *before)
{
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    assert_int_equal(sigaction(SIGBUS, &action, before), 0);
}

/* Reads its page, and is back here; from somewhere deeper in the stack each time. */
static void host_reads(uint32_t depth)
{
    volatile uint8_t room[512];
    room[0] = 1;
    if (depth > 0) {
        host_reads(depth - 1);
    } else {
        (void)*host_page;
    }
    room[1] = room[0];
}

static void host_stumbles(uint32_t depth, bool with_mask)
{
    sig_atomic_t before = host_faults;
    if (sigsetjmp(host_escape, with_mask) == 0) {
        host_reads(depth);
        fail();
    }
    assert_int_equal(host_faults, before + 1);
}

/* --- Copies. --- */

struct copied {
    int fd;
    uint8_t *data;
};

static void copied_open(struct copied *copied)
{
    copied->fd = make_file();
    copied->data = calloc(1, page_bytes());
    assert_non_null(copied->data);
    io_map_opened(copied->fd);
    assert_true(io_map_has(copied->fd));
}

static int32_t copy_to(const struct copied *copied, uint32_t page)
{
    return io_map_write(copied->fd, copied->data, page_bytes(), (uint64_t)page * page_bytes());
}

/* A page that is mapped, and not in the file any more. */
static void copy_fails(const struct copied *copied)
{
    assert_int_equal(ftruncate(copied->fd, (off_t)PAGES * page_bytes()), 0);
    assert_int_equal(copy_to(copied, PAGES - 1), page_bytes());
    assert_int_equal(ftruncate(copied->fd, (off_t)page_bytes()), 0);
    assert_int_equal(copy_to(copied, PAGES - 1), ERR_IO);
    assert_int_equal(copy_to(copied, 0), page_bytes());
}

static void copied_close(struct copied *copied)
{
    io_map_closed(copied->fd);
    assert_int_equal(close(copied->fd), 0);
    free(copied->data);
}

static void assert_not_blocked(void)
{
    sigset_t mask;
    assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    assert_false(sigismember(&mask, SIGBUS));
}

static void copies_fail_and_hosts_leave_in_turn(int flags, bool with_mask)
{
    struct copied copied;
    struct sigaction before;
    host_map();
    host_handles(host_leaves, flags, &before);
    copied_open(&copied);
    for (uint32_t i = 0; i < 6; i++) {
        copy_fails(&copied);
        host_stumbles(i * 7 % 5, with_mask);
        host_stumbles(3, with_mask);
        assert_not_blocked();
    }
    copy_fails(&copied);
    copied_close(&copied);
    assert_int_equal(sigaction(SIGBUS, &before, NULL), 0);
}

static void a_host_may_leave_its_handler_as_often_as_it_likes(void **state)
{
    (void)state;
    copies_fail_and_hosts_leave_in_turn(0, true);
    copies_fail_and_hosts_leave_in_turn(0, false);
    copies_fail_and_hosts_leave_in_turn(SA_NODEFER, false);
}

static void so_it_is_on_a_stack_for_signals(void **state)
{
    (void)state;
    stack_t stack = {.ss_size = 256 << 10}, before;
    stack.ss_sp = malloc(stack.ss_size);
    assert_non_null(stack.ss_sp);
    assert_int_equal(sigaltstack(&stack, &before), 0);
    copies_fail_and_hosts_leave_in_turn(SA_ONSTACK, true);
    assert_int_equal(sigaltstack(&before, NULL), 0);
    free(stack.ss_sp);
}

static void a_host_that_returns_goes_on(void **state)
{
    (void)state;
    struct copied copied;
    struct sigaction before, action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = host_mends;
    assert_int_equal(sigaction(SIGBUS, &action, &before), 0);
    copied_open(&copied);
    for (uint32_t i = 0; i < 3; i++) {
        sig_atomic_t faults = host_faults;
        host_map();
        host_reads(0);
        assert_int_equal(host_faults, faults + 1);
        copy_fails(&copied);
        assert_not_blocked();
    }
    copied_close(&copied);
    assert_int_equal(sigaction(SIGBUS, &before, NULL), 0);
}

/* A handler that passes on to ours, and that ours passes on to: nobody wants it. */
static void a_signal_that_comes_back_ends_the_process(void **state)
{
    (void)state;
    struct copied first, second;
    host_map();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        copied_open(&first);
        host_handles(host_passes_back, 0, &host_before);
        copied_open(&second);
        host_reads(2);
        _exit(5);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
}

int main(void)
{
    if (UNDER_TSAN) {
        (void)puts("TSan calls handlers itself, with a siginfo_t that is always at one place");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_may_leave_its_handler_as_often_as_it_likes),
        cmocka_unit_test(so_it_is_on_a_stack_for_signals),
        cmocka_unit_test(a_host_that_returns_goes_on),
        cmocka_unit_test(a_signal_that_comes_back_ends_the_process),
    };
    return cmocka_run_group_tests_name("core/io_map", tests, NULL, NULL);
}
