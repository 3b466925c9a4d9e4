/* What the engine costs, in counts: bytes written for a byte of payload, flushes of a round of
 * appends, files opened and bytes read by a start and by readers. Bounds, not figures: they say
 * what must not get worse unseen. */
#include "tests/unit/shard/claim_fixture.h"

#include "shard/segment.h"
#include "shard/shard_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    PARTITIONS = 64,
    ROUNDS = 50,
    SMALL_BYTES = 4000,
    LARGE = 20,
    LARGE_BYTES = 500000,
    SEALED = 40,
    /* Of one file that is sealed: header and seal block, a block of trailer. */
    SEALED_BYTES = SEGMENT_DATA_POSITION + 4096,
};

static const struct claim_start journaled = {.journals = {.cores = 1}};
static const struct claim_start sealing = {.journals = {.cores = 1}, .segment_records = 1};

/* Counters between two moments. */
struct spent {
    uint64_t before[STAT_COUNT];
};

static void spent_begin(struct spent *spent, const struct engine *engine)
{
    memcpy(spent->before, engine->reactor.stats.counters, sizeof(spent->before));
}

static uint64_t spent_of(const struct spent *spent, const struct engine *engine, enum stat_id stat)
{
    return engine->reactor.stats.counters[stat] - spent->before[stat];
}

/* At least something, too: a counter that nobody adds to is within every bound. */
static void assert_some(uint64_t found, uint64_t least, uint64_t most, const char *what)
{
    print_message("%s: %llu, from %llu to %llu\n", what, (unsigned long long)found,
                  (unsigned long long)least, (unsigned long long)most);
    assert_in_range(found, least, most);
}

static void assert_most(uint64_t found, uint64_t most, const char *what)
{
    print_message("%s: %llu, at most %llu\n", what, (unsigned long long)found,
                  (unsigned long long)most);
    assert_true(found <= most);
}

/* An append to each partition in one turn; all are waited for. */
static void append_round(struct engine *engine, uint32_t partitions, uint32_t value_bytes)
{
    static struct call calls[PARTITIONS];
    size_t size = (size_t)value_bytes + 256;
    uint8_t *batches = malloc(partitions * size);
    assert_non_null(batches);
    for (uint32_t i = 0; i < partitions; i++) {
        struct batch_spec spec = {.records = 1,
                                  .value_bytes = value_bytes,
                                  .timestamp = 1,
                                  .producer_id = -1,
                                  .producer_epoch = -1,
                                  .sequence = -1};
        engine->id.partition = i;
        call_append(&calls[i], engine, batches + i * size,
                    batch_make(&spec, batches + i * size, (uint32_t)size));
    }
    for (uint32_t i = 0; i < partitions; i++) {
        call_wait(&calls[i]);
        assert_int_equal(calls[i].err, OK);
    }
    free(batches);
}

/* Their files are made, too. */
static void assign_all(struct engine *engine, uint32_t partitions)
{
    engine->unrecorded = true;
    engine->segment_count = 0;
    for (uint32_t i = 0; i < partitions; i++) {
        engine->id.partition = i;
        assert_int_equal(engine_assign(engine), OK);
    }
    append_round(engine, partitions, 1);
}

static void check_small(struct engine *engine, const struct io_engine *io)
{
    struct spent spent;
    (void)io;
    assign_all(engine, PARTITIONS);
    spent_begin(&spent, engine);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        append_round(engine, PARTITIONS, SMALL_BYTES);
    }
    uint64_t payload = spent_of(&spent, engine, STAT_APPEND_BYTES);
    uint64_t flushes = spent_of(&spent, engine, STAT_FLUSHES);
    assert_true(payload > (uint64_t)PARTITIONS * ROUNDS * SMALL_BYTES);
    assert_int_equal(spent_of(&spent, engine, STAT_APPENDS), PARTITIONS * ROUNDS);
    assert_most(spent_of(&spent, engine, STAT_COMMITS), PARTITIONS * ROUNDS, "frames");
    /* A file that is behind takes one itself, with all that it has not got yet. */
    uint64_t direct =
        spent_of(&spent, engine, STAT_COMMITS) - spent_of(&spent, engine, STAT_JOURNAL_FRAMES);
    assert_most(direct, PARTITIONS * ROUNDS / 4, "frames past the journal");
    /* Each is of a block of the journal, which a round shares; or of a file, which is written
     * behind, with blocks made ahead. How far behind is the clock's to say. */
    uint64_t blocks = spent_of(&spent, engine, STAT_JOURNAL_BLOCKS);
    uint64_t behind = spent_of(&spent, engine, STAT_WRITEBACK_CHUNKS) + direct;
    uint64_t ahead = spent_of(&spent, engine, STAT_ZERO_BYTES) / ALLOCATE_BYTES_MIN;
    uint64_t spared = spent_of(&spent, engine, STAT_FLUSHES_SPARED);
    if (engine->shard->flush_group.domain != 0) { /* Files share a sync. */
        assert_some(spared, behind / 4, behind, "flushes spared");
        behind -= spared;
    }
    assert_most(blocks, 8 * ROUNDS, "blocks");
    assert_most(flushes, 2 * blocks + ahead + behind, "flushes of the rounds");
    assert_most(flushes, PARTITIONS * ROUNDS / 2, "of these, too");
    assert_some(spent_of(&spent, engine, STAT_JOURNAL_BYTES), payload / 2, payload + payload / 4,
                "journal");
    engine_stop_shard(engine); /* Everything is in the files, which are sealed. */
    /* Besides, what went past the journal was padded by itself, as the disk was slow or fast. */
    uint64_t ends = (uint64_t)PARTITIONS * SEALED_BYTES + direct * DISK_BLOCK_BYTES;
    assert_some(spent_of(&spent, engine, STAT_SEGMENT_BYTES), payload, payload + payload / 2 + ends,
                "segments");
    assert_some(spent_of(&spent, engine, STAT_FILE_WRITE_BYTES), payload + payload / 2,
                payload * 5 / 2 + ends, "all files");
    /* The MANIFEST of the stop. */
    assert_most(spent_of(&spent, engine, STAT_FILES_OPENED), 1, "opened");
}

static void small_appends_are_written_twice_and_flushed_together(void **state)
{
    (void)state;
    claim_on_wrapped_from(&journaled, check_small);
}

static void check_large(struct engine *engine, const struct io_engine *io)
{
    struct spent spent;
    (void)io;
    assign_all(engine, 1);
    spent_begin(&spent, engine);
    for (uint32_t i = 0; i < LARGE; i++) {
        append_round(engine, 1, LARGE_BYTES);
    }
    uint64_t payload = spent_of(&spent, engine, STAT_APPEND_BYTES);
    assert_int_equal(spent_of(&spent, engine, STAT_JOURNAL_FRAMES), 0);
    assert_some(spent_of(&spent, engine, STAT_FILE_WRITE_BYTES), payload, payload + payload / 50,
                "files");
    assert_int_equal(spent_of(&spent, engine, STAT_FILE_WRITE_BYTES),
                     spent_of(&spent, engine, STAT_SEGMENT_BYTES));
    assert_some(spent_of(&spent, engine, STAT_ZERO_BYTES), payload,
                payload + 2 * ALLOCATE_BYTES_MAX, "zeros");
    assert_some(spent_of(&spent, engine, STAT_FLUSHES), LARGE, 2 * LARGE, "flushes");
}

static void large_appends_are_written_once(void **state)
{
    (void)state;
    claim_on_wrapped_from(&journaled, check_large);
}

static void check_sealed(struct engine *engine, const struct io_engine *io)
{
    struct spent spent;
    struct call call;
    (void)io;
    engine_append_each(engine, SEALED + 1, 100);
    engine_stop_shard(engine);
    spent_begin(&spent, engine);
    engine_open_shard(engine);
    assert_int_equal(engine->journals_opened.bytes_read, 0);
    uint64_t opened = spent_of(&spent, engine, STAT_FILES_OPENED);
    assert_int_equal(engine_assign(engine), OK);
    /* The journal, twice at most; the one that the map has as open, and nothing of it but its
     * ends. */
    assert_most(spent_of(&spent, engine, STAT_FILES_OPENED) - opened, 3, "opened");
    assert_some(spent_of(&spent, engine, STAT_RECOVERY_READ_BYTES), SEALED_BYTES, SEALED_BYTES,
                "first start");
    assert_int_equal(spent_of(&spent, engine, STAT_SCANNED_BYTES), 0);
    engine_stop_shard(engine);
    spent_begin(&spent, engine);
    engine_open_shard(engine);
    opened = spent_of(&spent, engine, STAT_FILES_OPENED);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(claim_latest(engine), SEALED + 1);
    /* All are sealed: the journal alone, which is opened twice at most. */
    engine_turns(engine, 50); /* The journal is opened meanwhile. */
    assert_most(spent_of(&spent, engine, STAT_FILES_OPENED) - opened, 2, "opened");
    assert_int_equal(spent_of(&spent, engine, STAT_RECOVERY_READ_BYTES), 0);
    spent_begin(&spent, engine);
    assert_int_equal(claim_fetch(&call, engine, SEALED / 2), OK);
    assert_int_equal(call.request.fetch.piece_count, 1);
    call_release(&call);
    assert_int_equal(spent_of(&spent, engine, STAT_FILES_OPENED), 2);
    assert_some(spent_of(&spent, engine, STAT_RECOVERY_READ_BYTES), SEALED_BYTES, SEALED_BYTES,
                "what is deleted");
    assert_some(spent_of(&spent, engine, STAT_INDEX_READ_BYTES), SEALED_BYTES, SEALED_BYTES,
                "its index");
    assert_some(spent_of(&spent, engine, STAT_FETCH_READ_BYTES), 1, READ_BYTES, "its records");
    spent_begin(&spent, engine);
    engine_append_each(engine, 1, 100);
    assert_int_equal(spent_of(&spent, engine, STAT_RECOVERY_READ_BYTES), 0);
    assert_int_equal(spent_of(&spent, engine, STAT_SCANNED_BYTES), 0);
    assert_int_equal(claim_latest(engine), SEALED + 2);
}

static void sealed_segments_are_opened_by_who_needs_them(void **state)
{
    (void)state;
    claim_on_wrapped_from(&sealing, check_sealed);
}

static void check_killed(struct engine *engine, const struct io_engine *io)
{
    engine_append_each(engine, SEALED, 100);
    engine->config.segment_records = 1000;
    engine_append_each(engine, 20, 5000);
    uint64_t journal = engine->shard->journal->size;
    uint64_t payload = engine->reactor.stats.counters[STAT_APPEND_BYTES];
    engine_crash(engine, io); /* From here on the counters are of the new life. */
    assert_true(engine->journals_opened.frames > 0);
    assert_int_equal(engine->journals_opened.bytes_read,
                     engine->reactor.stats.counters[STAT_RECOVERY_READ_BYTES]);
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(claim_latest(engine), SEALED + 20);
    /* The journal once to look for blocks and once for what counts of it; of each segment that was
     * open its head and its records, first by whom completes it, then by whom seals it. Those that
     * the map has as sealed cost nothing. */
    uint64_t opened = engine->reactor.stats.counters[STAT_FILES_OPENED];
    assert_some(engine->reactor.stats.counters[STAT_RECOVERY_READ_BYTES], journal,
                2 * journal + 2 * (SEGMENT_DATA_POSITION + 2 * payload) + MIB(1), "after kill -9");
    assert_most(opened, SEALED / 2, "files opened");
}

static void a_start_after_a_kill_reads_journal_and_open_segments(void **state)
{
    (void)state;
    claim_on_wrapped_from(&sealing, check_killed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_appends_are_written_twice_and_flushed_together),
        cmocka_unit_test(large_appends_are_written_once),
        cmocka_unit_test(sealed_segments_are_opened_by_who_needs_them),
        cmocka_unit_test(a_start_after_a_kill_reads_journal_and_open_segments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
