/* The table of errors is consistent, and the three ways of ending are what they say. */
#include "core/assert.h"
#include "core/err.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const enum err errors[] = {

#define X(name, code, text) name,
    ERR_TABLE(X)
#undef X
};

static void every_error_has_a_number_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(errors); i++) {
        assert_true((int)errors[i] < 0);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal((int)errors[i], (int)errors[j]);
            assert_string_not_equal(err_name(errors[i]), err_name(errors[j]));
            assert_string_not_equal(err_text(errors[i]), err_text(errors[j]));
        }
    }
}

static void names_and_sentences_come_from_the_table(void **state)
{
    (void)state;
    assert_string_equal(err_name(OK), "OK");
    assert_string_equal(err_name(ERR_IO), "ERR_IO");
    assert_string_equal(err_text(ERR_NO_SPACE), "no space left on the disk");
    assert_string_equal(err_name(ERR_NOT_READY), "ERR_NOT_READY");
    for (size_t i = 0; i < ARRAY_COUNT(errors); i++) {
        const char *text = err_text(errors[i]);
        assert_true(strlen(text) > 0);
        assert_true(text[strlen(text) - 1] != '.');
    }
}

static void a_number_that_is_no_error_has_a_name_too(void **state)
{
    (void)state;
    int stranger = -127;
    assert_string_equal(err_name((enum err)stranger), "ERR_?");
    assert_string_equal(err_text((enum err)stranger), "unknown error");
}

/* Runs `body` in a child whose stderr is a pipe; how it ended, and what it said. */
static int run_child(void (*body)(void), char *said, size_t size)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(ends[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(ends[1]);
    size_t used = 0;
    ssize_t count;
    while ((count = read(ends[0], said + used, size - 1 - used)) > 0) {
        used += (size_t)count;
    }
    said[used] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void body_assert(void)
{
    ASSERT(1 + 1 == 3);
}

static void body_panic(void)
{
    PANIC("the journal %d is gone", 7);
}

static void body_fine(void)
{
    ASSERT(1 + 1 == 2);
    MAYBE(false);
}

static void a_failed_assertion_says_where_and_aborts(void **state)
{
    (void)state;
    char said[16384];
    int status = run_child(body_assert, said, sizeof(said));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(said, "assertion failed: 1 + 1 == 3"));
    assert_non_null(strstr(said, "err_test.c:"));
}

static void a_panic_is_one_line_and_exit_1(void **state)
{
    (void)state;
    char said[16384];
    int status = run_child(body_panic, said, sizeof(said));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(strstr(said, "floe: cannot go on: the journal 7 is gone ("));
    assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
}

static void what_holds_goes_on(void **state)
{
    (void)state;
    char said[64];
    int status = run_child(body_fine, said, sizeof(said));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_string_equal(said, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_a_number_of_its_own),
        cmocka_unit_test(names_and_sentences_come_from_the_table),
        cmocka_unit_test(a_number_that_is_no_error_has_a_name_too),
        cmocka_unit_test(a_failed_assertion_says_where_and_aborts),
        cmocka_unit_test(a_panic_is_one_line_and_exit_1),
        cmocka_unit_test(what_holds_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
