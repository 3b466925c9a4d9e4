/* Single records that are deleted: what readers get then, and what that survives. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/crc32c.h"
#include "shard/batch.h"
#include "shard/frame.h"
#include "shard/record.h"
#include "shard/segment.h"
#include "shard/shard_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

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
        assert_true(offset < model->start || !model->deleted[offset]);
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

static void remove_one(struct engine *engine, struct model *model, uint64_t offset)
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
    remove_one(engine, &model, 4);
    check_log(engine, &model);
    remove_one(engine, &model, 4);
    remove_one(engine, &model, 14);
    remove_one(engine, &model, 10); /* All of its batch. */
    remove_one(engine, &model, 0);
    remove_one(engine, &model, 9);
    remove_one(engine, &model, 13);
    check_log(engine, &model);
    claim_crash(engine, io);
    check_log(engine, &model);
    remove_one(engine, &model, 4);
    remove_one(engine, &model, 5);
    check_log(engine, &model);
    claim_restart(engine);
    check_log(engine, &model);
    append(engine, &model, 4);
    remove_one(engine, &model, 15);
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

/* --- What it survives. --- */

/* Segments of ten records; deletions in each, also of a segment that is sealed. */
static void check_rolls(struct engine *engine, const struct io_engine *io)
{
    struct model model = {0};
    engine->config.segment_records = 10;
    assert_int_equal(engine_assign(engine), OK);
    for (uint32_t round = 0; round < 12; round++) {
        append(engine, &model, 4);
        append(engine, &model, 1);
        remove_one(engine, &model, model.end - 2);
        remove_one(engine, &model, model.end / 3);
        if (round % 4 == 2) {
            claim_restart(engine);
        } else if (round % 4 == 3) {
            claim_crash(engine, io);
        }
        check_log(engine, &model);
    }
    remove_one(engine, &model, 1);
    claim_crash(engine, io); /* The note alone is in its segment, which has no record. */
    check_log(engine, &model);
    claim_restart(engine);
    claim_restart(engine);
    check_log(engine, &model);
    remove_one(engine, &model, 1);
}

static void what_is_deleted_stays_so_over_rolls_and_restarts(void **state)
{
    (void)state;
    claim_on_wrapped(check_rolls);
    const struct claim_start start = {.journals = {.cores = 1, .bytes = 1 << 20}};
    claim_on_wrapped_from(&start, check_rolls);
}

/* The trailer is bad: the file is read, to its last note. */
static void check_bad_trailer(struct engine *engine)
{
    struct model model = {0};
    append(engine, &model, 10);
    remove_one(engine, &model, 2);
    append(engine, &model, 1);
    remove_one(engine, &model, 3);
    remove_one(engine, &model, 10); /* Behind the last record. */
    remove_one(engine, &model, 0);
    engine_stop_shard(engine);
    struct segment_seal seal;
    uint8_t block[DISK_BLOCK_BYTES];
    engine_peek(engine, 0, SEGMENT_SEAL_POSITION, block, sizeof(block));
    assert_int_equal(segment_seal_decode(block, &seal), OK);
    engine_spoil(engine, 0, (long)seal.trailer_position + EXTENT_HEADER_BYTES + 5);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
    check_log(engine, &model);
    claim_restart(engine);
    check_log(engine, &model);
}

static void without_a_trailer_the_notes_are_read(void **state)
{
    (void)state;
    claim_on_engines(check_bad_trailer);
}

/* A note that is damaged, before a record that was acked: so is the file. */
static void check_bad_note(struct engine *engine, const struct io_engine *io)
{
    struct model model = {0};
    struct call call;
    append(engine, &model, 5);
    append(engine, &model, 5);
    remove_one(engine, &model, 7);
    append(engine, &model, 5);
    append(engine, &model, 5); /* Says that the one before it is durable. */
    long note = SEGMENT_DATA_POSITION + 2 * DISK_BLOCK_BYTES;
    uint8_t frame[EXTENT_HEADER_BYTES + FRAME_HEADER_BYTES];
    struct frame_header header;
    engine_peek(engine, 0, note, frame, sizeof(frame));
    assert_int_equal(frame_header_decode(frame + EXTENT_HEADER_BYTES, &header), OK);
    assert_int_equal(header.flags, FRAME_CONTROL);
    assert_int_equal(header.body_bytes, NOTE_DELETE_BYTES + DELETED_RANGE_BYTES);
    engine_spoil(engine, 0, note + (long)sizeof(frame) + NOTE_DELETE_BYTES + 1);
    claim_crash(engine, io);
    assert_int_equal(claim_fetch(&call, engine, 10), ERR_DAMAGED);
    assert_int_equal(claim_read_at(engine, 4), OK);
    assert_int_equal(claim_append_plain(engine, 1, 10, 1), ERR_DAMAGED);
    call_delete(&call, engine, 1);
    assert_int_equal(call.err, ERR_DAMAGED);
}

static void a_bad_note_is_damage(void **state)
{
    (void)state;
    claim_on_wrapped(check_bad_note);
}

/* Milestones every few appends, which go straight to the file. */
static void check_milestones(struct engine *engine, const struct io_engine *io)
{
    enum { LARGE_BYTES = 100000 };

    struct model model = {0};
    struct call call;
    for (uint32_t i = 0; i < 8; i++) {
        engine_append_each(engine, 2, LARGE_BYTES);
        model.end += 2;
        remove_one(engine, &model, model.end - 1 - i % 2);
    }
    struct request_set_last wish = {
        .last = {UINT64_MAX / 2, 3}, .sets_added = true, .entries_added = 100};
    call_set_last(&call, engine, &wish);
    assert_int_equal(call.err, OK);
    engine_append_each(engine, 3, LARGE_BYTES);
    model.end += 3;
    claim_crash(engine, io);
    check_log(engine, &model);
    struct stream_facts facts = {0};
    call_facts(&call, engine, (struct stream_id){0}, &facts);
    assert_int_equal(facts.entries_added, 103);
    assert_int_equal(call.request.identify.last.ms, UINT64_MAX / 2);
    assert_int_equal(call.request.identify.last.seq, 6);
}

static void a_milestone_says_what_is_deleted(void **state)
{
    (void)state;
    const struct claim_start start = {
        .journals = {.cores = 1, .bytes = 4 << 20, .milestone_bytes = 256 << 10}};
    claim_on_wrapped_from(&start, check_milestones);
}

/* --- What goes along. --- */

static void check_trims(struct engine *engine, const struct io_engine *io)
{
    struct model model = {0};
    struct call call;
    append(engine, &model, 20);
    for (uint64_t i = 2; i < 12; i++) {
        remove_one(engine, &model, i);
    }
    remove_one(engine, &model, 15);
    call_trim(&call, engine, 8);
    assert_int_equal(call.err, OK);
    model.start = 8;
    check_log(engine, &model);
    remove_one(engine, &model, 3);
    claim_crash(engine, io);
    check_log(engine, &model);
    call_trim(&call, engine, TRIM_ALL);
    model.start = 20;
    check_log(engine, &model);
    append(engine, &model, 2);
    remove_one(engine, &model, 20);
    claim_restart(engine);
    check_log(engine, &model);
}

static void what_is_trimmed_is_not_remembered(void **state)
{
    (void)state;
    claim_on_wrapped(check_trims);
}

static void check_packed(struct engine *engine, const struct io_engine *io)
{
    struct model model = {0};
    claim_append_packed(engine, 30, 100);
    claim_append_packed(engine, 30, 100);
    model.end = 60;
    for (uint64_t i = 0; i < 60; i += 7) {
        remove_one(engine, &model, i);
    }
    check_log(engine, &model);
    claim_crash(engine, io);
    check_log(engine, &model);
    for (uint64_t i = 0; i < 30; i++) {
        remove_one(engine, &model, i);
    }
    check_log(engine, &model);
}

static void a_packed_batch_is_unpacked_where_records_of_it_are_deleted(void **state)
{
    (void)state;
    claim_on_wrapped(check_packed);
}

/* Many at once, some twice, and how many there were. */
static void check_many(struct engine *engine, const struct io_engine *io)
{
    struct model model = {0};
    struct delete_record records[DELETE_RECORDS_MAX + 1];
    struct call calls[20];
    (void)io;
    for (uint32_t i = 0; i < 20; i++) {
        append(engine, &model, 50);
    }
    for (uint64_t i = 0; i <= DELETE_RECORDS_MAX; i++) {
        records[i] = (struct delete_record){.offset = 3 * i, .id = {i, 1}};
    }
    for (uint32_t i = 0; i < 20; i++) {
        call_delete_start(&calls[i], engine, records + 3 * (i % 10), DELETE_RECORDS_MAX - 30);
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 20; i++) {
        call_wait(&calls[i]);
        assert_int_equal(calls[i].err, OK);
        sum += calls[i].request.delete.deleted;
    }
    for (uint64_t i = 0; i < 27 + DELETE_RECORDS_MAX - 30; i++) {
        model.deleted[3 * i] = true;
    }
    assert_int_equal(sum, 27 + DELETE_RECORDS_MAX - 30);
    check_log(engine, &model);
    struct stream_facts facts = {.from = 4, .to = 10};
    struct call call;
    call_facts(&call, engine, (struct stream_id){0}, &facts);
    assert_int_equal(facts.deleted_between, 2);
    assert_int_equal(facts.entries_added, 1000);
    assert_int_equal(facts.deleted_max.ms, 27 + DELETE_RECORDS_MAX - 31);
    call_delete_start(&call, engine, records, DELETE_RECORDS_MAX + 1);
    call_wait(&call);
    assert_int_equal(call.err, ERR_INVALID);
    /* Times: what is deleted is not found. */
    int64_t first = claim_offset(engine, 1000);
    assert_int_equal(first, 1);
    /* As many as there may be. */
    struct partition *partition = shard_partition(engine->shard, &engine->id);
    struct deleted *deleted = &partition->deleted;
    uint64_t far = 1 << 20;
    while (deleted_reserve(deleted, 1) == OK) {
        assert_int_equal(deleted_add(deleted, far, far + 1), OK);
        far += 2;
    }
    call_delete(&call, engine, 500);
    assert_int_equal(call.err, ERR_DELETIONS);
    assert_int_equal(call.request.delete.deleted, 0);
    call_delete(&call, engine, 4); /* It touches another: there is room. */
    assert_int_equal(call.err, OK);
    assert_int_equal(call.request.delete.deleted, 1);
    assert_int_equal(claim_read_at(engine, 500), OK);
}

static void many_are_deleted_at_once_up_to_a_bound(void **state)
{
    (void)state;
    claim_on_wrapped(check_many);
}

/* Its bytes are chosen so that, read as a batch, it has a time: what is searched. */
static void check_note_times(struct engine *engine)
{
    const struct stream_id id = {60 << 24, 2 | UINT64_C(1) << 48};
    const struct delete_record records[] = {{4, id}, {6, id}, {8, id}};
    struct call call;
    assert_int_equal(claim_append_plain(engine, 10, 50, 1000), OK);
    call_delete_start(&call, engine, records, 3);
    call_wait(&call);
    assert_int_equal(call.request.delete.deleted, 3);
    assert_int_equal(claim_append_plain(engine, 1, 50, 300000), OK);
    assert_int_equal(claim_offset(engine, 2000), 10);
    claim_restart(engine);
    assert_int_equal(claim_offset(engine, 2000), 10);
}

static void a_note_is_no_batch_to_a_look_up(void **state)
{
    (void)state;
    claim_on_engines(check_note_times);
}

static void check_last(struct engine *engine, const struct io_engine *io)
{
    struct model model = {0};
    struct call call;
    append(engine, &model, 3);
    call_identify(&call, engine, (struct stream_id){0});
    struct stream_id last = call.request.identify.last;
    struct request_set_last wish = {.last = {last.ms, last.seq - 1}};
    call_set_last(&call, engine, &wish);
    assert_int_equal(call.err, ERR_STREAM_ID);
    wish = (struct request_set_last){.last = {UINT64_MAX / 2, 7}, .deleted_max = {5, 6}};
    call_set_last(&call, engine, &wish);
    assert_int_equal(call.err, OK);
    for (uint32_t i = 0; i < 3; i++) {
        struct stream_facts facts = {0};
        call_facts(&call, engine, wish.last, &facts);
        assert_int_equal(call.request.identify.last.ms, UINT64_MAX / 2);
        assert_int_equal(call.request.identify.last.seq, 7);
        assert_int_equal(call.request.identify.offset, 3);
        assert_false(call.request.identify.exact);
        assert_int_equal(facts.deleted_max.seq, 6);
        assert_int_equal(facts.entries_added, 3);
        call_identify(&call, engine, last);
        assert_int_equal(call.request.identify.offset, 2);
        assert_true(call.request.identify.exact);
        if (i == 0) {
            claim_crash(engine, io);
        } else {
            claim_restart(engine);
        }
    }
    append(engine, &model, 1);
    call_identify(&call, engine, (struct stream_id){UINT64_MAX / 2, 8});
    assert_int_equal(call.request.identify.offset, 3);
    assert_true(call.request.identify.exact);
}

static void the_last_id_can_be_set(void **state)
{
    (void)state;
    claim_on_wrapped(check_last);
}

/* Appends, deletions and a last ID, all at once. */
static void check_mixed(struct engine *engine, const struct io_engine *io)
{
    static uint8_t batches[30][512];
    static struct call appends[30], deletes[30];
    struct model model = {0};
    struct delete_record records[30];
    append(engine, &model, 30);
    for (uint32_t i = 0; i < 30; i++) {
        const struct batch_spec spec = {.records = 1,
                                        .value_bytes = 10,
                                        .timestamp = 1,
                                        .producer_id = -1,
                                        .producer_epoch = -1,
                                        .sequence = -1};
        call_append(&appends[i], engine, batches[i], batch_make(&spec, batches[i], 512));
        records[i] = (struct delete_record){.offset = i};
        call_delete_start(&deletes[i], engine, &records[i], 1);
        if (i == 10) {
            struct call call;
            struct request_set_last wish = {.last = {UINT64_MAX / 2, 0}};
            call_set_last(&call, engine, &wish);
            assert_int_equal(call.err, OK);
        }
    }
    for (uint32_t i = 0; i < 30; i++) {
        call_wait(&appends[i]);
        call_wait(&deletes[i]);
        assert_int_equal(appends[i].err, OK);
        assert_int_equal(appends[i].request.produce.id.ms > UINT64_MAX / 4, i > 10);
        assert_int_equal(deletes[i].err, OK);
        assert_int_equal(deletes[i].request.delete.deleted, 1);
        model.deleted[i] = true;
    }
    model.end += 30;
    check_log(engine, &model);
    if (engine->config.durability == DURABILITY_MEMORY) {
        claim_restart(engine);
    } else {
        claim_crash(engine, io);
    }
    check_log(engine, &model);
}

static void deletions_ride_with_appends(void **state)
{
    (void)state;
    claim_on_wrapped(check_mixed);
    const struct claim_start start = {.durability = DURABILITY_MEMORY, .journals = {.cores = 1}};
    claim_on_wrapped_from(&start, check_mixed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_deleted_is_not_read),
        cmocka_unit_test(what_is_deleted_is_not_read_behind_a_journal),
        cmocka_unit_test(what_is_deleted_stays_so_over_rolls_and_restarts),
        cmocka_unit_test(without_a_trailer_the_notes_are_read),
        cmocka_unit_test(a_bad_note_is_damage),
        cmocka_unit_test(a_milestone_says_what_is_deleted),
        cmocka_unit_test(what_is_trimmed_is_not_remembered),
        cmocka_unit_test(a_packed_batch_is_unpacked_where_records_of_it_are_deleted),
        cmocka_unit_test(many_are_deleted_at_once_up_to_a_bound),
        cmocka_unit_test(a_note_is_no_batch_to_a_look_up),
        cmocka_unit_test(the_last_id_can_be_set),
        cmocka_unit_test(deletions_ride_with_appends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
