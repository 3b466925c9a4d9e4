/* Single records that are deleted while memory is short, or room for what is remembered. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/crc32c.h"
#include "core/limits.h"
#include "shard/batch.h"
#include "shard/record.h"
#include "shard/shard_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_may_push_out_what_it_is_made_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
