/* Stream IDs: who says them, that they rise, and where in the log they stand. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/prng.h"
#include "shard/batch.h"
#include "shard/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BATCH_BYTES = 8192, RECORDS = 200, VALUE_BYTES = 3000, SEGMENT_RECORDS = 60, STEP = 10 };

static void start_append(struct call *call, struct engine *engine, uint8_t *at, uint32_t records,
                         enum produce_id kind, struct stream_id id)
{
    struct batch_spec spec = {.records = records,
                              .value_bytes = 10,
                              .timestamp = 5000,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    uint32_t size = batch_make(&spec, at, BATCH_BYTES);
    call_append_as(call, engine, bytes_of(at, size), kind, id);
}

static enum err append_as(struct engine *engine, enum produce_id kind, struct stream_id *id)
{
    static uint8_t batch[BATCH_BYTES];
    struct call call;
    start_append(&call, engine, batch, 1, kind, *id);
    call_wait(&call);
    *id = call.request.produce.id;
    return call.err;
}

static void assert_id(struct stream_id id, uint64_t ms, uint64_t seq)
{
    assert_int_equal(id.ms, ms);
    assert_int_equal(id.seq, seq);
}

static void check_said_ids(struct engine *engine)
{
    struct stream_id id = {0, 0};
    assert_int_equal(append_as(engine, PRODUCE_ID_MS, &id), OK);
    assert_id(id, 0, 1);
    id = (struct stream_id){5, 3};
    assert_int_equal(append_as(engine, PRODUCE_ID_EXACT, &id), OK);
    assert_id(id, 5, 3);
    assert_int_equal(append_as(engine, PRODUCE_ID_EXACT, &id), ERR_STREAM_ID);
    id = (struct stream_id){5, 0};
    assert_int_equal(append_as(engine, PRODUCE_ID_MS, &id), OK);
    assert_id(id, 5, 4);
    id = (struct stream_id){4, 9};
    assert_int_equal(append_as(engine, PRODUCE_ID_MS, &id), ERR_STREAM_ID);
    id = (struct stream_id){0, 0};
    assert_int_equal(append_as(engine, PRODUCE_ID_AUTO, &id), OK);
    assert_true(id.ms > 5);
    assert_int_equal(id.seq, 0);
    struct stream_id far = {UINT64_MAX - 1, UINT64_MAX};
    assert_int_equal(append_as(engine, PRODUCE_ID_EXACT, &far), OK);
    assert_int_equal(append_as(engine, PRODUCE_ID_MS, &far), ERR_STREAM_ID);
    id = (struct stream_id){0, 0};
    assert_int_equal(append_as(engine, PRODUCE_ID_AUTO, &id), OK);
    assert_id(id, UINT64_MAX, 0); /* That millisecond was full. */
    id = (struct stream_id){UINT64_MAX, UINT64_MAX};
    assert_int_equal(append_as(engine, PRODUCE_ID_EXACT, &id), OK);
    assert_int_equal(append_as(engine, PRODUCE_ID_AUTO, &id), ERR_STREAM_ID);
}

static void a_client_may_say_ids_that_rise(void **state)
{
    (void)state;
    claim_on_engines(check_said_ids);
}

static void check_pipelined_ids(struct engine *engine)
{
    static uint8_t batches[4][BATCH_BYTES];
    struct call calls[4];
    start_append(&calls[0], engine, batches[0], 2, PRODUCE_ID_AUTO, (struct stream_id){0});
    start_append(&calls[1], engine, batches[1], 1, PRODUCE_ID_EXACT,
                 (struct stream_id){UINT64_MAX / 2, 7});
    start_append(&calls[2], engine, batches[2], 1, PRODUCE_ID_MS,
                 (struct stream_id){UINT64_MAX / 2, 0});
    start_append(&calls[3], engine, batches[3], 3, PRODUCE_ID_AUTO, (struct stream_id){0});
    for (uint32_t i = 0; i < 4; i++) {
        call_wait(&calls[i]);
        assert_int_equal(calls[i].err, OK);
    }
    assert_int_equal(calls[0].request.produce.id.seq, 0);
    assert_id(calls[1].request.produce.id, UINT64_MAX / 2, 7);
    assert_id(calls[2].request.produce.id, UINT64_MAX / 2, 8);
    assert_id(calls[3].request.produce.id, UINT64_MAX / 2, 9);
    assert_int_equal(calls[3].request.produce.base_offset, 4);
    struct call look;
    call_identify(&look, engine, (struct stream_id){UINT64_MAX / 2, 10});
    assert_int_equal(look.request.identify.offset, 5);
    assert_id(look.request.identify.last, UINT64_MAX / 2, 11);
}

static void ids_that_are_said_wait_for_those_that_are_drawn(void **state)
{
    (void)state;
    claim_on_engines(check_pipelined_ids);
}

/* Record i has the ID {STEP * (i + 1), i % 3}. */
static void append_many(struct engine *engine)
{
    static uint8_t batch[BATCH_BYTES];
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct batch_spec spec = {.records = 1,
                                  .value_bytes = VALUE_BYTES,
                                  .timestamp = 5000,
                                  .producer_id = -1,
                                  .producer_epoch = -1,
                                  .sequence = -1};
        struct call call;
        uint32_t size = batch_make(&spec, batch, sizeof(batch));
        call_append_as(&call, engine, bytes_of(batch, size), PRODUCE_ID_EXACT,
                       (struct stream_id){STEP * (i + 1ULL), i % 3});
        call_wait(&call);
        assert_int_equal(call.err, OK);
        assert_int_equal(call.request.produce.base_offset, i);
    }
}

static void assert_place(struct engine *engine, struct stream_id id, uint64_t offset)
{
    struct call call;
    call_identify(&call, engine, id);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.identify.offset, offset);
    assert_id(call.request.identify.last, STEP * RECORDS, (RECORDS - 1) % 3);
    assert_int_equal(call.request.identify.high_watermark, RECORDS);
}

static void check_places(struct engine *engine, uint64_t start)
{
    assert_place(engine, (struct stream_id){0, 0}, start);
    assert_place(engine, (struct stream_id){UINT64_MAX, UINT64_MAX}, RECORDS);
    for (uint32_t i = 0; i<RECORDS; i += i % 60> 56 || i % 60 < 2 ? 1 : 7) {
        uint64_t ms = STEP * (i + 1ULL);
        assert_place(engine, (struct stream_id){ms, i % 3}, max_u64(start, i));
        assert_place(engine, (struct stream_id){ms - 1, 5}, max_u64(start, i));
        assert_place(engine, (struct stream_id){ms, i % 3 + 1}, max_u64(start, i + 1));
    }
}

static void check_found(struct engine *engine)
{
    append_many(engine);
    assert_int_equal(engine->segment_count, 4);
    check_places(engine, 0);
    claim_restart(engine); /* From the files. */
    check_places(engine, 0);
    struct call trim;
    call_trim(&trim, engine, 70);
    assert_int_equal(trim.err, OK);
    check_places(engine, 70);
    struct stream_id id = {STEP * RECORDS, 0};
    assert_int_equal(append_as(engine, PRODUCE_ID_EXACT, &id), ERR_STREAM_ID);
}

static void an_id_is_found_in_memory_and_in_files(void **state)
{
    (void)state;
    uint32_t count;
    const struct io_engine *const *list = engine_list(&count);
    for (uint32_t i = 0; i < count; i++) {
        struct claim_start start = {.segment_records = SEGMENT_RECORDS};
        struct engine *engine = claim_begin(list[i], &start);
        check_found(engine);
        claim_end(engine);
    }
}

static void check_trimmed_log(struct engine *engine)
{
    append_many(engine);
    struct call call;
    call_trim(&call, engine, TRIM_ALL);
    assert_int_equal(call.err, OK);
    claim_restart(engine);
    call_identify(&call, engine, (struct stream_id){3, 0});
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.identify.offset, RECORDS);
    assert_int_equal(call.request.identify.log_start, RECORDS);
    assert_id(call.request.identify.last, STEP * RECORDS, (RECORDS - 1) % 3);
}

static void an_empty_log_knows_its_last_id_after_a_start(void **state)
{
    (void)state;
    claim_on_engines(check_trimmed_log);
}

/* --- Anything, beside a model. --- */

enum { MODEL_RECORDS = 600, MODEL_STEPS = 260 };

static struct model {
    struct stream_id ids[MODEL_RECORDS];
    uint32_t count, start;
    struct prng prng;
} model;

static void model_append(struct engine *engine)
{
    static uint8_t batch[64 << 10];
    uint32_t records = 1 + (uint32_t)prng_below(&model.prng, 5);
    bool said = prng_chance(&model.prng, 60);
    if (model.count + records > MODEL_RECORDS) {
        return;
    }
    records = said ? 1 : records;
    struct batch_spec spec = {.records = records,
                              .value_bytes = 1 + (uint32_t)prng_below(&model.prng, 6000),
                              .timestamp = 5000,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    struct stream_id last =
        model.count == 0 ? (struct stream_id){0, 0} : model.ids[model.count - 1];
    struct stream_id id = {last.ms + prng_below(&model.prng, 3), prng_below(&model.prng, 9)};
    enum err wanted = said && stream_id_compare(id, last) <= 0 ? ERR_STREAM_ID : OK;
    struct call call;
    uint32_t size = batch_make(&spec, batch, sizeof(batch));
    call_append_as(&call, engine, bytes_of(batch, size), said ? PRODUCE_ID_EXACT : PRODUCE_ID_AUTO,
                   id);
    call_wait(&call);
    assert_int_equal(call.err, wanted);
    if (wanted != OK) {
        return;
    }
    assert_int_equal(call.request.produce.base_offset, model.count);
    id = call.request.produce.id;
    assert_true(stream_id_compare(id, last) > 0);
    for (uint32_t i = 0; i < records; i++) {
        model.ids[model.count++] = (struct stream_id){id.ms, id.seq + i};
    }
}

static void model_look(struct engine *engine)
{
    struct stream_id id = {prng_below(&model.prng, 40), prng_below(&model.prng, 9)};
    if (model.count > 0 && prng_chance(&model.prng, 90)) {
        id = model.ids[prng_below(&model.prng, model.count)];
        id.seq += prng_below(&model.prng, 3);
    }
    uint64_t wanted = model.start;
    while (wanted < model.count && stream_id_compare(model.ids[wanted], id) < 0) {
        wanted++;
    }
    struct call call;
    call_identify(&call, engine, id);
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.identify.offset, wanted);
    assert_int_equal(call.request.identify.log_start, model.start);
    assert_int_equal(call.request.identify.high_watermark, model.count);
    struct stream_id last =
        model.count == 0 ? (struct stream_id){0, 0} : model.ids[model.count - 1];
    assert_id(call.request.identify.last, last.ms, last.seq);
}

static void model_step(struct engine *engine, const struct io_engine *io)
{
    uint64_t what = prng_below(&model.prng, 100);
    if (what < 60) {
        model_append(engine);
    } else if (what < 64) {
        struct call call;
        uint64_t room = model.count - model.start;
        model.start += (uint32_t)prng_below(&model.prng, room / 3 + 1);
        call_trim(&call, engine, model.start);
        assert_int_equal(call.err, OK);
    } else if (what < 66) {
        claim_restart(engine);
    } else if (what < 68) {
        claim_crash(engine, io);
    } else {
        model_look(engine);
    }
}

static void ids_are_found_where_a_model_has_them(void **state)
{
    (void)state;
    uint32_t count;
    const struct io_engine *const *list = engine_list(&count);
    for (uint64_t seed = 1; seed <= 4; seed++) {
        const struct io_engine *io = list[seed % count];
        struct claim_start start = {.segment_records = 100};
        struct engine *engine = claim_begin(io, &start);
        model = (struct model){0};
        prng_seed_one(&model.prng, seed);
        for (uint32_t i = 0; i < MODEL_STEPS; i++) {
            model_step(engine, io);
        }
        claim_end(engine);
    }
}

static void check_rows(struct engine *engine, uint64_t offset)
{
    struct call call;
    assert_int_equal(claim_fetch(&call, engine, offset), OK);
    assert_true(call.request.fetch.piece_count > 0);
    for (uint32_t i = 0; i < call.request.fetch.piece_count; i++) {
        const struct fetch_piece *piece = &call.pieces[i];
        const uint8_t *row_at = piece->rows;
        for (uint32_t at = 0; at < piece->size; row_at += FRAME_ROW_BYTES) {
            struct batch batch;
            struct frame_row row;
            enum err err = batch_parse(bytes_of(piece->data + at, piece->size - at), &batch);
            assert_int_equal(err, OK);
            frame_row_decode(row_at, &row);
            assert_int_equal(row.length, batch.length);
            assert_int_equal(row.ms, STEP * ((uint64_t)batch.base_offset + 1));
            at += batch.length;
        }
    }
    call_release(&call);
}

static void check_fetched_rows(struct engine *engine)
{
    append_many(engine);
    check_rows(engine, 0);
    check_rows(engine, 33);
    claim_restart(engine);
    check_rows(engine, 0);
    check_rows(engine, RECORDS - 5);
}

static void what_is_fetched_brings_its_ids(void **state)
{
    (void)state;
    claim_on_engines(check_fetched_rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_may_say_ids_that_rise),
        cmocka_unit_test(ids_that_are_said_wait_for_those_that_are_drawn),
        cmocka_unit_test(an_id_is_found_in_memory_and_in_files),
        cmocka_unit_test(ids_are_found_where_a_model_has_them),
        cmocka_unit_test(an_empty_log_knows_its_last_id_after_a_start),
        cmocka_unit_test(what_is_fetched_brings_its_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
