/* Single records that are deleted while memory is short, or room for what is remembered. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/crc32c.h"
#include "core/limits.h"
#include "shard/batch.h"
#include "shard/shard_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { HOGS_MAX = 32768 };

/* What takes all the memory that appends may have, without pushing anything out. */
struct hog {
    struct block *blocks[HOGS_MAX];
    uint32_t count;
};

static struct hog hog;

static void hog_all(const struct engine *engine)
{
    for (;;) {
        struct memory_stats stats;
        memory_stats(engine->reactor.memory, &stats);
        uint64_t used = stats.used_bytes[MEMORY_APPEND] + BLOCK_SIZE_MIN;
        if (used > stats.limit_bytes / 16 * 10) { /* The rest is promised to others. */
            return;
        }
        assert_true(hog.count < HOGS_MAX);
        struct block *block = block_acquire(engine->reactor.memory, MEMORY_APPEND, BLOCK_SIZE_MIN);
        assert_non_null(block);
        hog.blocks[hog.count++] = block;
    }
}

static void hog_end(void)
{
    while (hog.count > 0) {
        block_unref(hog.blocks[--hog.count]);
    }
}

static struct partition *partition_of(const struct engine *engine)
{
    struct partition *partition = shard_partition(engine->shard, &engine->id);
    assert_non_null(partition);
    return partition;
}

static void append(struct engine *engine, uint32_t records)
{
    assert_int_equal(claim_append_plain(engine, records, 50, 1000), OK);
}

static void remove_one(struct engine *engine, uint64_t offset)
{
    struct call call;
    call_delete(&call, engine, offset);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.delete.deleted, 1);
}

/* The first batch that came is sound, and of so many records. */
static void check_first(const struct call *call, uint64_t base, uint32_t records)
{
    struct batch batch;
    assert_int_equal(call->err, OK);
    assert_true(call->request.fetch.piece_count > 0);
    const struct fetch_piece *piece = &call->pieces[0];
    assert_int_equal(batch_parse(bytes_of(piece->data, piece->size), &batch), OK);
    uint32_t crc = crc32c(0, piece->data + BATCH_CRC_FROM, batch.length - BATCH_CRC_FROM);
    assert_int_equal(crc, batch.crc);
    assert_int_equal(batch.base_offset, base);
    assert_int_equal(batch.record_count, records);
}

static uint64_t count_deleted(struct engine *engine)
{
    struct stream_facts facts = {0};
    struct call call;
    call_facts(&call, engine, (struct stream_id){0}, &facts);
    assert_int_equal(call.err, OK);
    return facts.deleted;
}

/* The memory of a copy is what the frame itself gives up, and the next one. */
static void check_copy(struct engine *engine)
{
    struct call call;
    append(engine, 10);
    append(engine, 10);
    remove_one(engine, 3);
    hog_all(engine);
    assert_int_equal(claim_fetch(&call, engine, 0), OK);
    check_first(&call, 0, 9);
    call_release(&call);
    hog_end();
    assert_int_equal(claim_fetch(&call, engine, 0), OK);
    check_first(&call, 0, 9);
    call_release(&call);
}

static void a_copy_may_push_out_what_it_is_made_of(void **state)
{
    (void)state;
    claim_on_engines(check_copy);
}

/* --- A trim between a note and its ack. --- */

/* Other ranges, above all records, until there is room for none. */
static void fill(struct partition *partition)
{
    uint64_t far = 1 << 20;
    while (deleted_reserve(&partition->deleted, 1) == OK) {
        assert_int_equal(deleted_add(&partition->deleted, far, far + 1), OK);
        far += 2;
    }
    assert_int_equal(partition->deleted.count, DELETED_RANGES_MAX);
}

static void check_clipped(struct engine *engine, const struct io_engine *io)
{
    const struct delete_record record = {.offset = 9};
    struct call trim, call;
    append(engine, 30);
    for (uint64_t i = 10; i < 20; i++) {
        remove_one(engine, i);
    }
    fill(partition_of(engine));
    engine_fail(IO_WRITE, 0, UINT32_MAX, OK);
    call_trim_start(&trim, engine, 15);
    engine_turns(engine, 2);
    call_delete_start(&call, engine, &record, 1); /* It touches a range, now. */
    engine_turns(engine, 2);
    assert_true(partition_of(engine)->delete_flying);
    assert_int_equal(partition_of(engine)->log_start, 0);
    engine_let_go(engine, OK);
    call_wait(&trim);
    call_wait(&call);
    assert_int_equal(trim.err, OK);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.delete.deleted, 1);
    assert_int_equal(deleted_between(&partition_of(engine)->deleted, 0, 1 << 20), 5);
    claim_crash(engine, io);
    assert_int_equal(claim_read_at(engine, 15), OK);
    assert_int_equal(count_deleted(engine), 5);
    remove_one(engine, 20);
}

static void a_trim_takes_no_room_from_a_note(void **state)
{
    (void)state;
    claim_on_wrapped(check_clipped);
}

/* What is trimmed was all that there is: the room stays nevertheless. */
static void check_held(struct engine *engine, const struct io_engine *io)
{
    const struct delete_record record = {.offset = 20};
    struct call trim, call;
    append(engine, 30);
    remove_one(engine, 3);
    engine_fail(IO_WRITE, 0, UINT32_MAX, OK);
    call_trim_start(&trim, engine, 10);
    engine_turns(engine, 2);
    call_delete_start(&call, engine, &record, 1);
    engine_turns(engine, 2);
    struct partition *partition = partition_of(engine);
    assert_true(partition->delete_flying);
    (void)tail_reclaim(engine->shard, UINT64_MAX);
    hog_all(engine);
    deleted_trim(&partition->deleted, 10); /* As the ack of the trim does, */
    hog_all(engine);                       /* and somebody takes what is free. */
    assert_non_null(partition->deleted.block);
    engine_let_go(engine, OK);
    call_wait(&trim);
    call_wait(&call);
    assert_int_equal(trim.err, OK);
    assert_int_equal(call.err, OK);
    hog_end();
    assert_int_equal(count_deleted(engine), 1);
    call_trim(&trim, engine, 25);
    assert_int_equal(trim.err, OK);
    assert_null(partition->deleted.block); /* Nor does it stay longer. */
    claim_crash(engine, io);
    assert_int_equal(count_deleted(engine), 0);
}

/* As many writes as may be are on their way: their end looks for the note's frame, no turn does. */
static void check_waiting_note(struct engine *engine, const struct io_engine *io)
{
    enum { APPENDS = 3, TURNS = 5 };

    (void)io;
    const struct delete_record record = {.offset = 3};
    const struct batch_spec spec = {
        .records = 1, .value_bytes = 50, .timestamp = 1000, .producer_id = -1};
    struct call appends[APPENDS], call;
    uint8_t batch[256];
    uint32_t size = batch_make(&spec, batch, sizeof(batch));
    append(engine, 30);
    struct partition *partition = partition_of(engine);
    engine_fail(IO_WRITE, 0, UINT32_MAX, OK);
    for (uint32_t i = 0; i < APPENDS; i++) {
        call_append(&appends[i], engine, batch, size);
        engine_turns(engine, 2);
    }
    call_delete_start(&call, engine, &record, 1);
    engine_turns(engine, TURNS);
    assert_false(partition->delete_flying);
    assert_false(partition->commit_work.queued);
    engine_let_go(engine, OK);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    for (uint32_t i = 0; i < APPENDS; i++) {
        call_wait(&appends[i]);
        assert_int_equal(appends[i].err, OK);
    }
    assert_int_equal(count_deleted(engine), 1);
}

static void a_note_that_waits_keeps_nobody_busy(void **state)
{
    (void)state;
    claim_on_wrapped(check_waiting_note);
}

static void the_room_of_a_note_stays(void **state)
{
    (void)state;
    claim_on_wrapped(check_held);
}

/* --- All partitions of a core. --- */

static void check_share(struct engine *engine)
{
    const struct delete_record record = {.offset = 5};
    struct shard *shard = engine->shard;
    struct call call;
    assert_int_equal(shard->deleted_bytes_max, MIB(128) / 16);
    append(engine, 30);
    shard->deleted_bytes = shard->deleted_bytes_max - BLOCK_SIZE_MIN; /* Of others. */
    uint64_t others = shard->deleted_bytes;
    remove_one(engine, 2);
    assert_int_equal(shard->deleted_bytes, others + BLOCK_SIZE_MIN);
    struct deleted *deleted = &partition_of(engine)->deleted;
    for (uint64_t far = 1000; deleted->count < BLOCK_SIZE_MIN / DELETED_RANGE_BYTES; far += 2) {
        assert_int_equal(deleted_add(deleted, far, far + 1), OK);
    }
    call_delete_start(&call, engine, &record, 1);
    call_wait(&call);
    assert_int_equal(call.err, ERR_DELETIONS);
    assert_int_equal(shard->deleted_bytes, shard->deleted_bytes_max);
    remove_one(engine, 3); /* A neighbour: it takes nothing. */
    others -= BLOCK_SIZE_MIN;
    shard->deleted_bytes -= BLOCK_SIZE_MIN; /* Somebody gives some back. */
    remove_one(engine, 5);
    assert_int_equal(shard->deleted_bytes, shard->deleted_bytes_max);
    deleted_trim(deleted, UINT64_MAX);
    assert_int_equal(shard->deleted_bytes, others);
    shard->deleted_bytes = 0;
}

static void a_core_remembers_up_to_its_share(void **state)
{
    (void)state;
    claim_on_engines(check_share);
}

/* --- Batches that are large when they are unpacked. --- */

static void check_large_reads(struct engine *engine, uint32_t second)
{
    struct call call;
    assert_int_equal(claim_fetch(&call, engine, 0), OK);
    check_first(&call, 0, 24);
    call_release(&call);
    assert_int_equal(claim_fetch(&call, engine, 25), OK);
    check_first(&call, 25, second);
    call_release(&call);
    assert_int_equal(claim_fetch(&call, engine, 55), OK);
    check_first(&call, 55, 1);
    call_release(&call);
}

static void check_large(struct engine *engine)
{
    enum { VALUE_BYTES = 600000 }; /* 25 fit into the largest block, 30 do not. */

    assert_in_range(memory_block_max(engine->reactor.memory), 25 * VALUE_BYTES, 30 * VALUE_BYTES);
    claim_append_packed(engine, 25, VALUE_BYTES);
    claim_append_packed(engine, 30, VALUE_BYTES);
    append(engine, 1);
    remove_one(engine, 3);
    remove_one(engine, 30);
    check_large_reads(engine, 30); /* From the tail cache, */
    assert_true(partition_of(engine)->told_large);
    claim_restart(engine);
    check_large_reads(engine, 30); /* and from the file. */
    for (uint64_t i = 25; i < 55; i++) {
        if (i != 30) {
            remove_one(engine, i);
        }
    }
    check_large_reads(engine, 0);
}

static void a_batch_too_large_to_unpack_is_read_as_it_is(void **state)
{
    (void)state;
    claim_on_engines(check_large);
}

/* --- A start. --- */

static bool no_table;

struct producer_table *__real_producer_table_create(void);
struct producer_table *__wrap_producer_table_create(void);

struct producer_table *__wrap_producer_table_create(void)
{
    return no_table ? NULL : __real_producer_table_create();
}

/* What is read of a file goes on into its trailer: so all of it is read, or nothing. */
static void check_start(struct engine *engine, const struct io_engine *io)
{
    append(engine, 10);
    remove_one(engine, 3);
    engine_crash(engine, io);
    no_table = true;
    assert_int_equal(engine_assign(engine), ERR_NO_MEMORY);
    no_table = false;
    assert_int_equal(engine_assign(engine), OK);
    assert_int_equal(count_deleted(engine), 1);
    claim_restart(engine);
    assert_int_equal(claim_read_at(engine, 0), OK);
    assert_int_equal(count_deleted(engine), 1);
}

static void without_memory_for_producers_nothing_is_sealed(void **state)
{
    (void)state;
    claim_on_wrapped(check_start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_may_push_out_what_it_is_made_of),
        cmocka_unit_test(a_trim_takes_no_room_from_a_note),
        cmocka_unit_test(a_note_that_waits_keeps_nobody_busy),
        cmocka_unit_test(the_room_of_a_note_stays),
        cmocka_unit_test(a_core_remembers_up_to_its_share),
        cmocka_unit_test(a_batch_too_large_to_unpack_is_read_as_it_is),
        cmocka_unit_test(without_memory_for_producers_nothing_is_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
