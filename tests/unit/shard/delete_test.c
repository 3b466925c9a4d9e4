/* Single records that are deleted: what readers get then, and what that survives. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/crc32c.h"
#include "shard/batch.h"
#include "shard/frame.h"
#include "shard/record.h"
#include "shard/segment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MODEL_MAX = 4096 };

/* Which records there are. */
struct model {
    uint64_t start, end;
    bool deleted[MODEL_MAX];
};

/* The records of one batch as a reader gets it; where it ends. */
static uint64_t check_batch(const struct model *model, const uint8_t *data, uint32_t size,
                            uint64_t *next, uint32_t *length)
{
    struct batch batch;
    assert_int_equal(batch_parse(bytes_of(data, size), &batch), OK);
    assert_int_equal(crc32c(0, data + BATCH_CRC_FROM, batch.length - BATCH_CRC_FROM), batch.crc);
    assert_int_equal(batch.attributes & BATCH_CODEC_MASK, 0);
    struct bytes_reader reader =
        bytes_reader(bytes_of(data + BATCH_HEADER_BYTES, batch.length - BATCH_HEADER_BYTES));
    uint64_t end = (uint64_t)batch.base_offset + (uint32_t)batch.last_offset_delta + 1;
    for (int32_t i = 0; i < batch.record_count; i++) {
        struct record record;
        assert_true(record_read(&reader, &record));
        uint64_t offset = (uint64_t)batch.base_offset + (uint32_t)record.offset_delta;
        assert_false(model->deleted[offset]);
        for (; *next < offset; (*next)++) {
            assert_true(*next < model->start || model->deleted[*next]);
        }
        *next = max_u64(*next, offset + 1);
    }
    assert_int_equal(bytes_left(&reader), 0);
    for (; *next < end; (*next)++) {
        assert_true(*next < model->start || model->deleted[*next]);
    }
    *length = batch.length;
    return end;
}

/* Reads the whole log: all that is there, and nothing else. */
static void check_log(struct engine *engine, const struct model *model)
{
    uint64_t next = model->start;
    while (next < model->end) {
        struct call call;
        assert_int_equal(claim_fetch(&call, engine, next), OK);
        const struct request_fetch *fetch = &call.request.fetch;
        assert_true(fetch->piece_count > 0);
        for (uint32_t i = 0; i < fetch->piece_count; i++) {
            const struct fetch_piece *piece = &fetch->pieces[i];
            const uint8_t *rows = piece->rows;
            for (uint32_t at = 0; at < piece->size; rows += FRAME_ROW_BYTES) {
                struct frame_row row;
                uint32_t length;
                frame_row_decode(rows, &row);
                (void)check_batch(model, piece->data + at, piece->size - at, &next, &length);
                assert_int_equal(row.length, length);
                at += length;
            }
        }
        call_release(&call);
    }
    assert_int_equal(next, model->end);
    struct stream_facts facts = {0};
    struct call look;
    call_facts(&look, engine, (struct stream_id){0}, &facts);
    uint64_t deleted = 0;
    for (uint64_t i = model->start; i < model->end; i++) {
        deleted += model->deleted[i];
    }
    assert_int_equal(look.err, OK);
    assert_int_equal(facts.deleted, deleted);
}

static void append(struct engine *engine, struct model *model, uint32_t records)
{
    assert_int_equal(claim_append_plain(engine, records, 50, 1000), OK);
    model->end += records;
}

static void delete (struct engine *engine, struct model *model, uint64_t offset)
{
    struct call call;
    call_delete(&call, engine, offset);
    bool there = offset >= model->start && offset < model->end && !model->deleted[offset];
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.delete.deleted, there);
    if (there) {
        model->deleted[offset] = true;
    }
}

static void check_deletes(struct engine *engine, const struct io_engine *io)
{
    struct model model = {0};
    append(engine, &model, 10);
    append(engine, &model, 1);
    append(engine, &model, 3);
    delete (engine, &model, 4);
    check_log(engine, &model);
    delete (engine, &model, 4);
    delete (engine, &model, 14);
    delete (engine, &model, 10); /* All of its batch. */
    delete (engine, &model, 0);
    delete (engine, &model, 9);
    delete (engine, &model, 13);
    check_log(engine, &model);
    claim_crash(engine, io);
    check_log(engine, &model);
    delete (engine, &model, 4);
    delete (engine, &model, 5);
    check_log(engine, &model);
    claim_restart(engine);
    check_log(engine, &model);
    append(engine, &model, 4);
    delete (engine, &model, 15);
    check_log(engine, &model);
    claim_restart(engine);
    claim_crash(engine, io);
    check_log(engine, &model);
}

static void what_is_deleted_is_not_read(void **state)
{
    (void)state;
    claim_on_wrapped(check_deletes);
}

static void what_is_deleted_is_not_read_behind_a_journal(void **state)
{
    (void)state;
    const struct claim_start start = {.journals = {.cores = 1, .bytes = 1 << 20}};
    claim_on_wrapped_from(&start, check_deletes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_deleted_is_not_read),
        cmocka_unit_test(what_is_deleted_is_not_read_behind_a_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
