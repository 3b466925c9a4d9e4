/* Opening a data directory: fresh, again, in use, foreign, damaged, of another node. */
#include "core/limits.h"
#include "shard/directory.h"
#include "shard/superblock.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct reactor *reactor;
    const struct io_engine *engine;
    char root[64], path[128];
    bool done;
    struct completion closed;
};

/* An engine that counts syncs of the directory that the data directory is in. */
static struct io_engine counting;
static const struct io_engine *counted;
static const char *parent;
static uint32_t parent_syncs;

static void count_submit(struct reactor *reactor, struct io *batch)
{
    for (const struct io *io = batch; io != NULL; io = io->next) {
        size_t size = io->op == IO_SYNC_DIR ? strlen(parent) : 0;
        parent_syncs += size > 0 && strncmp(io->path.path, parent, size) == 0 &&
                        (io->path.path[size] == 0 || strcmp(io->path.path + size, "/") == 0);
    }
    counted->submit(reactor, batch);
}

static int setup(void **state, const struct io_engine *engine)
{
    counted = engine;
    counting = *engine;
    counting.submit = count_submit;
    engine = &counting;
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->engine = engine;
    fixture->reactor = aligned_alloc(CACHE_LINE_BYTES, sizeof(struct reactor));
    memset(fixture->reactor, 0, sizeof(struct reactor));
    struct reactor_options options = {
        .engine = engine,
        .io = {.entries = 64, .recv_count = 4, .recv_size = 4096},
        .memory = {.limit_bytes = MEMORY_LIMIT_MIN, .numa_node = -1},
        .seed = {1, 2, 3, 4},
    };
    assert_int_equal(reactor_open(fixture->reactor, &options), OK);
    snprintf(fixture->root, sizeof(fixture->root), "/tmp/floe-directory-XXXXXX");
    assert_non_null(mkdtemp(fixture->root));
    parent = fixture->root;
    parent_syncs = 0;
    snprintf(fixture->path, sizeof(fixture->path), "%s/data", fixture->root);
    *state = fixture;
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
    struct fixture *fixture = *state;
    reactor_close(fixture->reactor);
    free(fixture->reactor);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", fixture->root);
    assert_int_equal(system(command), 0);
    free(fixture);
    return 0;
}

static struct fixture *waiting_fixture;

static void answered(struct completion *completion)
{
    (void)completion;
    waiting_fixture->done = true;
}

static void turn_until_done(struct fixture *fixture)
{
    for (uint32_t i = 0; i < 10000 && !fixture->done; i++) {
        reactor_turn(fixture->reactor, 100 * NS_PER_MS);
    }
    assert_true(fixture->done);
    fixture->done = false;
}

static enum err open_it(struct fixture *fixture, struct directory_open *op, uint32_t node_id)
{
    struct directory_options options = {
        .path = fixture->path, .node_id = node_id, .version = "test"};
    waiting_fixture = fixture;
    completion_init(&op->done, answered);
    directory_open(op, fixture->reactor, &options);
    turn_until_done(fixture);
    return (enum err)op->done.result;
}

static void close_it(struct fixture *fixture, struct directory *directory)
{
    completion_init(&fixture->closed, answered);
    directory_close(directory, &fixture->closed);
    turn_until_done(fixture);
}

static void a_fresh_directory_keeps_its_identity_and_counts_its_boots(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open first, second;
    assert_int_equal(open_it(fixture, &first, 0), OK);
    assert_true(first.identity.fresh);
    assert_int_equal(first.identity.boot, 1);
    assert_int_equal(first.identity.node_id, 1);
    uint8_t cluster[16];
    memset(cluster, 0x77, sizeof(cluster));
    completion_init(&fixture->closed, answered);
    directory_join_cluster(first.directory, cluster, &fixture->closed);
    turn_until_done(fixture);
    assert_int_equal(fixture->closed.result, OK);
    close_it(fixture, first.directory);
    assert_int_equal(open_it(fixture, &second, 0), OK);
    assert_false(second.identity.fresh);
    assert_int_equal(second.identity.boot, 2);
    assert_memory_equal(second.identity.directory_id, first.identity.directory_id, 16);
    assert_memory_equal(second.identity.cluster_id, cluster, 16);
    close_it(fixture, second.directory);
}

static void each_start_makes_sure_of_the_name(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    for (uint32_t i = 1; i < 4; i++) { /* The first may have ended before it synced the parent. */
        assert_int_equal(open_it(fixture, &op, 0), OK);
        assert_int_equal(parent_syncs, i);
        close_it(fixture, op.directory);
    }
}

/* Files that wait have numbers, half made ones the id of their segment. */
static void pool_path(const struct fixture *fixture, uint32_t i, char *path, uint32_t size)
{
    if (i % 3 == 1) {
        snprintf(path, size, "%s/pool/%u", fixture->path, i * 100000);
        return;
    }
    /* Every hundredth is not ours to remove. */
    snprintf(path, size, "%s/pool/8000000000000%03x.%s", fixture->path, i,
             i % 100 == 0 ? "old" : "new");
}

static bool is_kept(uint32_t i)
{
    return i % 3 != 1 && i % 100 == 0;
}

static void what_the_pool_left_is_removed(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    char path[256];
    assert_int_equal(open_it(fixture, &op, 0), OK);
    close_it(fixture, op.directory);
    for (uint32_t i = 0; i < 400; i++) {
        pool_path(fixture, i, path, sizeof(path));
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fclose(file), 0);
    }
    assert_int_equal(open_it(fixture, &op, 0), OK);
    close_it(fixture, op.directory);
    for (uint32_t i = 0; i < 400; i++) {
        pool_path(fixture, i, path, sizeof(path));
        assert_int_equal(access(path, F_OK), is_kept(i) ? 0 : -1);
    }
}

static void a_directory_in_use_names_who_uses_it(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open first, second;
    char pid[32];
    snprintf(pid, sizeof(pid), "pid %ld", (long)getpid());
    assert_int_equal(open_it(fixture, &first, 0), OK);
    assert_int_equal(open_it(fixture, &second, 0), ERR_BUSY);
    assert_non_null(strstr(second.message, pid));
    assert_non_null(strstr(second.message, fixture->path));
    close_it(fixture, first.directory);
    assert_int_equal(open_it(fixture, &second, 0), OK);
    close_it(fixture, second.directory);
}

static void a_foreign_directory_is_refused_and_left_alone(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    char command[512];
    snprintf(command, sizeof(command), "mkdir %s && echo hello > %s/letter", fixture->path,
             fixture->path);
    assert_int_equal(system(command), 0);
    assert_int_equal(open_it(fixture, &op, 0), ERR_FOREIGN);
    assert_non_null(strstr(op.message, fixture->path));
    snprintf(command, sizeof(command), "test \"$(ls %s)\" = letter", fixture->path);
    assert_int_equal(system(command), 0);
}

/* Overwrites one byte of the superblock. */
static void spoil(const struct fixture *fixture, off_t position)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/superblock", fixture->path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "?", 1, position), 1);
    close(fd);
}

static void one_bad_slot_is_survived_and_two_are_not(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    assert_int_equal(open_it(fixture, &op, 0), OK);
    close_it(fixture, op.directory);
    spoil(fixture, 20);
    assert_int_equal(open_it(fixture, &op, 0), OK);
    assert_int_equal(op.identity.boot, 3); /* The lost slot may have been newer. */
    close_it(fixture, op.directory);
    spoil(fixture, 20);
    spoil(fixture, 4096 + 20);
    assert_int_equal(open_it(fixture, &op, 0), ERR_DAMAGED);
    assert_true(strlen(op.message) > 20);
}

static void another_nodes_directory_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    assert_int_equal(open_it(fixture, &op, 5), OK);
    close_it(fixture, op.directory);
    assert_int_equal(open_it(fixture, &op, 6), ERR_INVALID);
    assert_non_null(strstr(op.message, "node 5"));
    assert_int_equal(open_it(fixture, &op, 0), OK);
    assert_int_equal(op.identity.node_id, 5);
    close_it(fixture, op.directory);
}

static void a_parent_that_does_not_exist_is_said(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    snprintf(fixture->path, sizeof(fixture->path), "%s/no/data", fixture->root);
    assert_int_equal(open_it(fixture, &op, 0), ERR_NOT_FOUND);
    assert_non_null(strstr(op.message, "no/data"));
}

/* LOCK is a common name: other stores have such a file. */
static void a_lock_of_another_program_does_not_make_a_directory_ours(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    char command[512];
    snprintf(command, sizeof(command), "mkdir %s && touch %s/LOCK %s/CURRENT", fixture->path,
             fixture->path, fixture->path);
    assert_int_equal(system(command), 0);
    assert_int_equal(open_it(fixture, &op, 0), ERR_FOREIGN);
}

static void a_first_start_that_was_interrupted_is_begun_again(void **state)
{
    static const char *const left[] = {"touch %s/LOCK", "touch %s/LOCK %s/superblock",
                                       "touch %s/LOCK; head -c 4096 /dev/zero >%s/superblock",
                                       "touch %s/LOCK; head -c 8192 /dev/zero >%s/superblock"};

    struct fixture *fixture = *state;
    for (uint32_t i = 0; i < ARRAY_COUNT(left); i++) {
        struct directory_open op;
        char command[512];
        int size = snprintf(command, sizeof(command), "rm -rf %s && mkdir %s && ", fixture->path,
                            fixture->path);
        const char *from = left[i];
        while (*from != 0 && (size_t)size < sizeof(command) - sizeof(fixture->path)) {
            if (strncmp(from, "%s", 2) == 0) {
                memcpy(command + size, fixture->path, strlen(fixture->path));
                size += (int)strlen(fixture->path);
                from += 2;
            } else {
                command[size++] = *from++;
            }
        }
        command[size] = 0;
        assert_int_equal(system(command), 0);
        assert_int_equal(open_it(fixture, &op, 0), OK);
        assert_true(op.identity.fresh);
        assert_int_equal(op.identity.boot, 1);
        close_it(fixture, op.directory);
        assert_int_equal(open_it(fixture, &op, 0), OK);
        assert_false(op.identity.fresh);
        close_it(fixture, op.directory);
    }
}

/* Writes `super` into both slots. */
static void replace(const struct fixture *fixture, const struct superblock *super)
{
    char path[256];
    uint8_t slot[SUPERBLOCK_BYTES];
    snprintf(path, sizeof(path), "%s/superblock", fixture->path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    superblock_encode(super, slot);
    assert_int_equal(pwrite(fd, slot, sizeof(slot), 0), sizeof(slot));
    assert_int_equal(pwrite(fd, slot, sizeof(slot), sizeof(slot)), sizeof(slot));
    close(fd);
}

static void a_newer_directory_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    struct superblock super = {
        .version_min = SUPERBLOCK_VERSION + 1, .owner = SUPERBLOCK_SERVER, .node_id = 1, .boot = 4};
    assert_int_equal(open_it(fixture, &op, 0), OK);
    close_it(fixture, op.directory);
    replace(fixture, &super);
    assert_int_equal(open_it(fixture, &op, 0), ERR_VERSION);
    assert_non_null(strstr(op.message, "newer"));
}

static void a_failed_join_is_not_tried_again_and_the_directory_still_closes(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    struct rlimit old, none;
    uint8_t cluster[16] = {1};
    assert_int_equal(open_it(fixture, &op, 0), OK);
    /* No file may grow or be written: every write fails. */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    completion_init(&fixture->closed, answered);
    directory_join_cluster(op.directory, cluster, &fixture->closed);
    turn_until_done(fixture);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    int32_t result = fixture->closed.result;
    assert_true(result < 0);
    completion_init(&fixture->closed, answered);
    directory_join_cluster(op.directory, cluster, &fixture->closed);
    turn_until_done(fixture);
    assert_int_equal(fixture->closed.result, result);
    close_it(fixture, op.directory);
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    static char path[5000];
    memset(path, 'x', sizeof(path) - 1);
    struct directory_options options = {.path = path, .version = "test"};
    waiting_fixture = fixture;
    completion_init(&op.done, answered);
    directory_open(&op, fixture->reactor, &options);
    turn_until_done(fixture);
    assert_int_equal(op.done.result, ERR_INVALID);
}

/* What is in the superblock's first slot. */
static struct superblock read_super(const struct fixture *fixture)
{
    uint8_t slot[SUPERBLOCK_BYTES];
    char path[256];
    struct superblock super;
    snprintf(path, sizeof(path), "%s/superblock", fixture->path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(slot, 1, sizeof(slot), file), sizeof(slot));
    fclose(file);
    assert_int_equal(superblock_decode(slot, &super), OK);
    return super;
}

static enum err open_as(struct fixture *fixture, struct directory_open *op,
                        const struct directory_options *options)
{
    struct directory_options made = *options;
    made.path = fixture->path;
    made.version = "test";
    waiting_fixture = fixture;
    completion_init(&op->done, answered);
    directory_open(op, fixture->reactor, &made);
    turn_until_done(fixture);
    return (enum err)op->done.result;
}

static void a_library_reserves_numbers_before_it_uses_them(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    struct directory_options options = {.mode = DIRECTORY_LIBRARY, .segments = 100};
    assert_int_equal(open_as(fixture, &op, &options), OK);
    assert_int_equal(op.identity.segment_next, 1);
    assert_int_equal(read_super(fixture).owner, SUPERBLOCK_LIBRARY);
    assert_int_equal(read_super(fixture).next_segment, 101);
    uint64_t first = 0;
    completion_init(&fixture->closed, answered);
    directory_reserve(op.directory, 50, &first, &fixture->closed);
    turn_until_done(fixture);
    assert_int_equal(fixture->closed.result, OK);
    assert_int_equal(first, 101);
    assert_int_equal(read_super(fixture).next_segment, 151);
    close_it(fixture, op.directory);
    assert_int_equal(open_as(fixture, &op, &options), OK);
    assert_int_equal(op.identity.segment_next, 151);
    close_it(fixture, op.directory);
}

static void a_server_adopts_a_librarys_directory_once(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    struct directory_options library = {.mode = DIRECTORY_LIBRARY};
    struct directory_options server = {.mode = DIRECTORY_SERVER, .node_id = 7};
    assert_int_equal(open_as(fixture, &op, &library), OK);
    uint8_t id[16];
    memcpy(id, op.identity.directory_id, 16);
    close_it(fixture, op.directory);
    for (uint32_t i = 0; i < 2; i++) { /* The first ends before its map has the segments. */
        assert_int_equal(open_as(fixture, &op, &server), OK);
        assert_true(op.identity.adopting);
        assert_false(op.identity.fresh);
        assert_int_equal(op.identity.node_id, 7);
        assert_memory_equal(op.identity.directory_id, id, 16);
        if (i == 1) {
            completion_init(&fixture->closed, answered);
            directory_adopted(op.directory, &fixture->closed);
            turn_until_done(fixture);
            assert_int_equal(fixture->closed.result, OK);
        }
        close_it(fixture, op.directory);
    }
    assert_int_equal(open_as(fixture, &op, &server), OK);
    assert_false(op.identity.adopting);
    close_it(fixture, op.directory);
    assert_int_equal(open_as(fixture, &op, &library), ERR_FOREIGN);
    assert_non_null(strstr(op.message, "server"));
    assert_int_equal(read_super(fixture).owner, SUPERBLOCK_SERVER);
}

static void readers_share_a_directory_and_write_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op, first, second;
    struct directory_options server = {.mode = DIRECTORY_SERVER};
    struct directory_options reader = {.mode = DIRECTORY_READER};
    assert_int_equal(open_as(fixture, &op, &reader), ERR_NOT_FOUND);
    assert_int_not_equal(access(fixture->path, F_OK), 0);
    assert_int_equal(open_as(fixture, &op, &server), OK);
    assert_int_equal(open_as(fixture, &first, &reader), ERR_BUSY);
    assert_non_null(strstr(first.message, "pid "));
    close_it(fixture, op.directory);
    struct superblock before = read_super(fixture);
    assert_int_equal(open_as(fixture, &first, &reader), OK);
    assert_int_equal(open_as(fixture, &second, &reader), OK);
    assert_memory_equal(first.identity.directory_id, before.directory_id, 16);
    assert_int_equal(open_as(fixture, &op, &server), ERR_BUSY);
    close_it(fixture, first.directory);
    close_it(fixture, second.directory);
    assert_int_equal(read_super(fixture).boot, before.boot);
}

static void a_reader_takes_damage_for_damage(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    struct directory_options server = {.mode = DIRECTORY_SERVER};
    struct directory_options reader = {.mode = DIRECTORY_READER};
    assert_int_equal(open_as(fixture, &op, &server), OK);
    close_it(fixture, op.directory);
    char path[256];
    snprintf(path, sizeof(path), "%s/superblock", fixture->path);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(open_as(fixture, &op, &reader), ERR_DAMAGED);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_as(fixture, &op, &reader), ERR_NOT_FOUND);
}

static void what_must_exist_is_not_made(void **state)
{
    struct fixture *fixture = *state;
    struct directory_open op;
    struct directory_options library = {.mode = DIRECTORY_LIBRARY, .existing = true};
    assert_int_equal(open_as(fixture, &op, &library), ERR_NOT_FOUND);
    assert_int_not_equal(access(fixture->path, F_OK), 0);
    assert_int_equal(mkdir(fixture->path, 0755), 0);
    assert_int_equal(open_as(fixture, &op, &library), ERR_NOT_FOUND);
    library.existing = false;
    assert_int_equal(open_as(fixture, &op, &library), OK);
    close_it(fixture, op.directory);
    library.existing = true;
    assert_int_equal(open_as(fixture, &op, &library), OK);
    close_it(fixture, op.directory);
}

#define ON(name, engine) cmocka_unit_test_setup_teardown(name, setup_##engine, teardown)
#define ALL(engine)                                                                                \
    ON(a_fresh_directory_keeps_its_identity_and_counts_its_boots, engine),                         \
        ON(each_start_makes_sure_of_the_name, engine), ON(what_the_pool_left_is_removed, engine),  \
        ON(a_directory_in_use_names_who_uses_it, engine),                                          \
        ON(a_foreign_directory_is_refused_and_left_alone, engine),                                 \
        ON(one_bad_slot_is_survived_and_two_are_not, engine),                                      \
        ON(another_nodes_directory_is_refused, engine),                                            \
        ON(a_parent_that_does_not_exist_is_said, engine),                                          \
        ON(a_lock_of_another_program_does_not_make_a_directory_ours, engine),                      \
        ON(a_first_start_that_was_interrupted_is_begun_again, engine),                             \
        ON(a_newer_directory_is_refused, engine),                                                  \
        ON(a_failed_join_is_not_tried_again_and_the_directory_still_closes, engine),               \
        ON(a_path_that_is_too_long_is_refused, engine),                                            \
        ON(a_library_reserves_numbers_before_it_uses_them, engine),                                \
        ON(a_server_adopts_a_librarys_directory_once, engine),                                     \
        ON(readers_share_a_directory_and_write_nothing, engine),                                   \
        ON(a_reader_takes_damage_for_damage, engine), ON(what_must_exist_is_not_made, engine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALL(posix),
#ifdef FLOE_HAS_URING
        ALL(uring),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
