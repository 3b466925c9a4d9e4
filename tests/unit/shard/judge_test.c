/* Batches that unpack to much: judged a slice in each turn, beside everything else, in order. */
#include "tests/unit/shard/engine_fixture.h"

#include "core/crc32c.h"
#include "shard/codec.h"
#include "shard/shard_internal.h"

#include <lz4frame.h>
#include <setjmp.h>
#include <snappy-c.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

enum { OTHERS = 6, VALUE_BYTES = 900 << 10, PACKED_BYTES = 1 << 20 };

static uint8_t large[PACKED_BYTES], small[1024];
static uint32_t large_bytes, small_bytes;

static uint64_t slices(const struct engine *engine)
{
    return engine->reactor.stats.counters[STAT_APPEND_SLICES];
}

static void seal(uint8_t *at, uint32_t size, int codec)
{
    store_be16(at + 21, (uint16_t)codec);
    store_be32(at + 8, size - BATCH_PREFIX_BYTES);
    store_be32(at + 17, crc32c(0, at + BATCH_CRC_FROM, size - BATCH_CRC_FROM));
}

/* Packs the records of the batch `plain` by gzip into `large`; their size, packed. */
static size_t pack_gzip(uint8_t *plain, uint32_t size)
{
    z_stream stream = {.next_in = plain + BATCH_HEADER_BYTES,
                       .avail_in = size,
                       .next_out = large + BATCH_HEADER_BYTES,
                       .avail_out = PACKED_BYTES - BATCH_HEADER_BYTES};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(deflateEnd(&stream), Z_OK);
    return stream.total_out;
}

/* `large`: some records of 900 KiB of zeros, packed. */
static void make_large(uint32_t records, enum codec codec, int64_t producer)
{
    struct batch_spec spec = {.records = records,
                              .value_bytes = VALUE_BYTES,
                              .timestamp = 5000,
                              .producer_id = producer,
                              .producer_epoch = producer < 0 ? -1 : 0,
                              .sequence = producer < 0 ? -1 : 0};
    uint32_t room = records * (VALUE_BYTES + 100) + 100;
    uint8_t *plain = malloc(room);
    assert_non_null(plain);
    uint32_t size = batch_make(&spec, plain, room) - BATCH_HEADER_BYTES;
    const uint8_t *from = plain + BATCH_HEADER_BYTES;
    memcpy(large, plain, BATCH_HEADER_BYTES);
    size_t packed = PACKED_BYTES - BATCH_HEADER_BYTES;
    if (codec == CODEC_SNAPPY) {
        uint8_t *wide = malloc(2 * (size_t)size);
        assert_non_null(wide);
        packed = 2 * (size_t)size;
        assert_int_equal(snappy_compress((const char *)from, size, (char *)wide, &packed),
                         SNAPPY_OK);
        assert_true(packed < PACKED_BYTES - BATCH_HEADER_BYTES);
        memcpy(large + BATCH_HEADER_BYTES, wide, packed);
        free(wide);
    } else {
        packed = pack_gzip(plain, size);
    }
    free(plain);
    large_bytes = BATCH_HEADER_BYTES + (uint32_t)packed;
    seal(large, large_bytes, (int)codec);
}

static void use_partition(struct engine *engine, uint32_t partition)
{
    engine->id.partition = partition;
}

/* Partitions 0 to OTHERS - 1, each with an open segment. */
static void begin(struct engine *engine)
{
    engine_start(engine, &io_engine_posix);
    engine->config.deep_validation = true;
    engine->unrecorded = true;
    for (uint32_t i = 0; i < OTHERS; i++) {
        use_partition(engine, i);
        assert_int_equal(engine_assign(engine), OK);
        engine_append_each(engine, 1, 10);
    }
    engine_rest(engine);
    struct batch_spec spec = {.records = 1,
                              .value_bytes = 10,
                              .timestamp = 5000,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    small_bytes = batch_make(&spec, small, sizeof(small));
    use_partition(engine, 0);
}

static void assert_nobody_is_judged(const struct engine *engine)
{
    assert_int_equal(engine->shard->judges.running_count, 0);
    assert_true(list_empty(&engine->shard->judges.line));
    assert_true(list_empty(&engine->shard->judges.running));
}

static void check_over_turns(enum codec codec)
{
    struct engine engine;
    struct call first, second, other;
    begin(&engine);
    make_large(3, codec, -1);
    uint64_t before = slices(&engine);
    call_append(&first, &engine, large, large_bytes);
    call_append(&second, &engine, small, small_bytes);
    /* What cannot be had in slices is not unpacked at once, either. */
    assert_int_equal(slices(&engine) - before, codec == CODEC_SNAPPY ? 1 : JUDGE_SLICES_AT_ONCE);
    use_partition(&engine, 1);
    call_append(&other, &engine, small, small_bytes);
    uint64_t last = slices(&engine);
    for (uint32_t i = 0; engine.shard->judges.running_count > 0; i++) {
        engine_turns(&engine, 1);
        assert_true(slices(&engine) - last <= 2); /* One, and a small batch. */
        last = slices(&engine);
        assert_true(i < 100);
    }
    /* Each has 128 KiB of it, and the first two went at once. */
    assert_true(slices(&engine) - before >= 3 * VALUE_BYTES / JUDGE_SLICE_BYTES);
    assert_true(slices(&engine) - before <= 3 * VALUE_BYTES / JUDGE_SLICE_BYTES + 5);
    call_wait(&other);
    call_wait(&first);
    call_wait(&second);
    assert_int_equal(other.err, OK);
    assert_int_equal(first.err, OK);
    assert_int_equal(second.err, OK);
    assert_true(other.finished < first.finished); /* It is acked meanwhile. */
    assert_int_equal(first.request.produce.base_offset, 1);
    assert_int_equal(second.request.produce.base_offset, 4); /* Nothing overtakes. */
    assert_int_equal(engine.reactor.stats.counters[STAT_APPENDS_SLICED], 1);
    engine_rest(&engine);
    assert_nobody_is_judged(&engine);
    engine_end(&engine);
}

static void large_batches_are_judged_over_many_turns(void **state)
{
    (void)state;
    check_over_turns(CODEC_GZIP);
}

static void so_is_a_block_that_is_unpacked_at_once(void **state)
{
    (void)state;
    check_over_turns(CODEC_SNAPPY);
}

/* More of them than may run, and more in each than may come out. */
static void bombs_hold_up_nobody(void **state)
{
    (void)state;
    struct engine engine;
    struct call bombs[OTHERS - 1], call;
    begin(&engine);
    make_large(5, CODEC_GZIP, -1);
    for (uint32_t i = 0; i + 1 < OTHERS; i++) {
        use_partition(&engine, i);
        call_append(&bombs[i], &engine, large, large_bytes);
    }
    assert_int_equal(engine.shard->judges.running_count, JUDGES_MAX);
    assert_false(list_empty(&engine.shard->judges.line));
    use_partition(&engine, OTHERS - 1);
    for (uint32_t i = 0; i < 3; i++) {
        call_append(&call, &engine, small, small_bytes);
        call_wait(&call);
        assert_int_equal(call.err, OK);
        assert_true(engine.shard->judges.running_count > 0 || bombs[0].finished > 0);
    }
    for (uint32_t i = 0; i + 1 < OTHERS; i++) {
        call_wait(&bombs[i]);
        assert_int_equal(bombs[i].err, ERR_BATCH_TOO_LARGE);
        assert_true(i < JUDGES_MAX || bombs[i].finished > bombs[0].finished);
    }
    engine_rest(&engine);
    assert_nobody_is_judged(&engine);
    for (uint32_t i = 0; i < OTHERS; i++) { /* What was refused left nothing behind. */
        use_partition(&engine, i);
        call_append(&call, &engine, small, small_bytes);
        call_wait(&call);
        assert_int_equal(call.err, OK);
    }
    engine_end(&engine);
}

static void what_is_wrong_at_the_end_is_found(void **state)
{
    (void)state;
    struct engine engine;
    struct call call;
    begin(&engine);
    make_large(4, CODEC_GZIP, -1);
    store_be32(large + 23, 4); /* Says that there are five. */
    store_be32(large + 57, 5);
    seal(large, large_bytes, CODEC_GZIP);
    call_append(&call, &engine, large, large_bytes);
    call_wait(&call);
    assert_int_equal(call.err, ERR_BATCH_INVALID);
    assert_int_equal(engine.reactor.stats.counters[STAT_APPENDS_SLICED], 1);
    engine_end(&engine);
}

static void duplicate_is_not_unpacked(void **state)
{
    (void)state;
    struct engine engine;
    struct call first, again;
    begin(&engine);
    make_large(3, CODEC_GZIP, 7);
    call_append(&first, &engine, large, large_bytes);
    call_append(&again, &engine, large, large_bytes); /* Behind it: staged by then. */
    call_wait(&first);
    call_wait(&again);
    assert_int_equal(first.err, OK);
    assert_int_equal(again.err, OK);
    assert_int_equal(again.request.produce.base_offset, first.request.produce.base_offset);
    uint64_t before = slices(&engine);
    call_append(&again, &engine, large, large_bytes);
    call_wait(&again);
    assert_int_equal(again.err, OK);
    assert_int_equal(slices(&engine), before);
    assert_int_equal(engine.reactor.stats.counters[STAT_APPENDS_SLICED], 1);
    engine_end(&engine);
}

/* Some run, some are in line; one of each goes, and then all. */
static void a_drop_and_a_stop_end_it(void **state)
{
    (void)state;
    struct engine engine;
    struct call calls[OTHERS], dropped[2];
    begin(&engine);
    make_large(4, CODEC_GZIP, -1);
    for (uint32_t i = 0; i < OTHERS; i++) {
        use_partition(&engine, i);
        call_append(&calls[i], &engine, large, large_bytes);
    }
    engine_turns(&engine, 2);
    static const uint32_t drops[] = {0, OTHERS - 1};
    for (uint32_t i = 0; i < ARRAY_COUNT(drops); i++) {
        use_partition(&engine, drops[i]);
        call_drop(&dropped[i], &engine);
    }
    engine_turns(&engine, 2);
    for (uint32_t i = 0; i < ARRAY_COUNT(drops); i++) {
        assert_true(calls[drops[i]].finished > 0);
        assert_int_equal(calls[drops[i]].err, ERR_TOPIC_UNKNOWN);
    }
    assert_int_equal(engine.shard->judges.running_count, JUDGES_MAX);
    engine_stop_shard(&engine);
    assert_int_equal(dropped[0].err, OK);
    assert_int_equal(dropped[1].err, OK);
    for (uint32_t i = 1; i + 1 < OTHERS; i++) {
        assert_true(calls[i].finished > 0);
        assert_int_equal(calls[i].err, ERR_NOT_READY);
    }
    engine_end(&engine);
}

static void a_failure_of_the_shard_ends_it(void **state)
{
    (void)state;
    struct engine engine;
    struct call calls[OTHERS];
    begin(&engine);
    make_large(4, CODEC_GZIP, -1);
    for (uint32_t i = 0; i < OTHERS; i++) {
        use_partition(&engine, i);
        call_append(&calls[i], &engine, large, large_bytes);
    }
    engine_turns(&engine, 2);
    shard_fail(engine.shard, "nothing is wrong", "no file", ERR_IO);
    engine_turns(&engine, 3);
    for (uint32_t i = 0; i < OTHERS; i++) {
        assert_true(calls[i].finished > 0);
        assert_int_equal(calls[i].err, ERR_IO);
    }
    assert_nobody_is_judged(&engine);
    engine_end(&engine);
}

enum { MANY = 12, QUEUED = 100, QUEUED_BYTES = 230 << 10 };

/* Two partitions have a large batch whenever one is done; a third one has its turn all the same. */
static void who_waits_in_line_is_not_overtaken(void **state)
{
    static struct call calls[2][MANY];
    struct engine engine;
    struct call third;
    (void)state;
    begin(&engine);
    make_large(2, CODEC_GZIP, -1);
    for (uint32_t i = 0; i < MANY; i++) {
        for (uint32_t p = 0; p < 2; p++) {
            use_partition(&engine, p);
            call_append(&calls[p][i], &engine, large, large_bytes);
        }
        if (i == 0) {
            use_partition(&engine, 2);
            call_append(&third, &engine, large, large_bytes);
        }
    }
    call_wait(&third);
    uint32_t before = 0;
    for (uint32_t i = 0; i < 2 * MANY; i++) {
        const struct call *call = &calls[i / MANY][i % MANY];
        before += call->finished > 0 && call->finished < third.finished ? 1 : 0;
    }
    assert_in_range(before, 1, 4);
    for (uint32_t i = 0; i < 2 * MANY; i++) {
        call_wait(&calls[i / MANY][i % MANY]);
    }
    engine_rest(&engine);
    engine_end(&engine);
}

/* What comes free when a large batch was judged is no more than a turn's. */
static void a_turn_unpacks_so_much_of_many(void **state)
{
    static struct call calls[QUEUED];
    static uint8_t plain[300 << 10], first[PACKED_BYTES];
    const struct batch_spec spec = {.records = 1,
                                    .value_bytes = QUEUED_BYTES,
                                    .timestamp = 5000,
                                    .producer_id = -1,
                                    .producer_epoch = -1,
                                    .sequence = -1};
    struct engine engine;
    struct call call;
    (void)state;
    begin(&engine);
    make_large(4, CODEC_GZIP, -1);
    memcpy(first, large, large_bytes);
    call_append(&call, &engine, first, large_bytes);
    uint32_t size = batch_make(&spec, plain, sizeof(plain)) - BATCH_HEADER_BYTES;
    memcpy(large, plain, BATCH_HEADER_BYTES);
    large_bytes = BATCH_HEADER_BYTES + (uint32_t)pack_gzip(plain, size);
    seal(large, large_bytes, CODEC_GZIP);
    for (uint32_t i = 0; i < QUEUED; i++) {
        call_append(&calls[i], &engine, large, large_bytes);
    }
    uint64_t most = 0;
    for (uint64_t last = slices(&engine); calls[QUEUED - 1].finished == 0;) {
        engine_turns(&engine, 1);
        most = max_u64(most, slices(&engine) - last);
        last = slices(&engine);
    }
    uint64_t allowed = JUDGE_TURN_BYTES / QUEUED_BYTES * JUDGE_SLICES_AT_ONCE;
    assert_in_range(most, 1, allowed + 2 * JUDGE_SLICES_AT_ONCE + 1);
    call_wait(&call);
    for (uint32_t i = 0; i < QUEUED; i++) {
        call_wait(&calls[i]);
        assert_int_equal(calls[i].err, OK);
    }
    engine_rest(&engine);
    engine_end(&engine);
}

static void make_lz4(bool says_size, uint32_t cut)
{
    static uint8_t plain[4096];
    const struct batch_spec spec = {.records = 1,
                                    .value_bytes = 1000,
                                    .timestamp = 5000,
                                    .producer_id = -1,
                                    .producer_epoch = -1,
                                    .sequence = -1};
    uint32_t size = batch_make(&spec, plain, sizeof(plain)) - BATCH_HEADER_BYTES;
    LZ4F_preferences_t wanted = {.frameInfo.contentSize = says_size ? size : 0};
    memcpy(large, plain, BATCH_HEADER_BYTES);
    size_t packed =
        LZ4F_compressFrame(large + BATCH_HEADER_BYTES, PACKED_BYTES - BATCH_HEADER_BYTES,
                           plain + BATCH_HEADER_BYTES, size, &wanted);
    large_bytes = BATCH_HEADER_BYTES + (uint32_t)packed - cut;
    seal(large, large_bytes, CODEC_LZ4);
}

/* A decoder that is kept keeps nothing of a frame that did not end. */
static void a_batch_that_is_cut_spoils_no_other(void **state)
{
    struct engine engine;
    struct call call;
    (void)state;
    begin(&engine);
    make_lz4(true, 8);
    call_append(&call, &engine, large, large_bytes);
    call_wait(&call);
    assert_int_equal(call.err, ERR_BATCH_INVALID);
    make_lz4(false, 0);
    for (uint32_t p = 0; p < 3; p++) {
        use_partition(&engine, p);
        call_append(&call, &engine, large, large_bytes);
        call_wait(&call);
        assert_int_equal(call.err, OK);
    }
    engine_rest(&engine);
    engine_end(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_batches_are_judged_over_many_turns),
        cmocka_unit_test(so_is_a_block_that_is_unpacked_at_once),
        cmocka_unit_test(bombs_hold_up_nobody),
        cmocka_unit_test(what_is_wrong_at_the_end_is_found),
        cmocka_unit_test(duplicate_is_not_unpacked),
        cmocka_unit_test(a_drop_and_a_stop_end_it),
        cmocka_unit_test(a_failure_of_the_shard_ends_it),
        cmocka_unit_test(who_waits_in_line_is_not_overtaken),
        cmocka_unit_test(a_turn_unpacks_so_much_of_many),
        cmocka_unit_test(a_batch_that_is_cut_spoils_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
