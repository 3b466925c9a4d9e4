/* See the header. */
#include "tests/unit/shard/claim_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

struct engine *claim_begin(const struct io_engine *io, const struct claim_start *start)
{
    static const struct claim_start plain;
    struct engine *engine = malloc(sizeof(*engine));
    assert_non_null(engine);
    start = start != NULL ? start : &plain;
    engine_start_journaled(engine, io, &start->journals);
    if (start->segment_records != 0) {
        engine->config.segment_records = start->segment_records;
    }
    engine->config.durability = start->durability;
    if (!start->unassigned) {
        assert_int_equal(engine_assign(engine), OK);
    }
    engine_append_each(engine, start->appended, 10);
    return engine;
}

void claim_end(struct engine *engine)
{
    engine_let_go(engine, OK);
    engine_end(engine);
    free(engine);
}

void claim_on_engines(void (*claim)(struct engine *engine))
{
    uint32_t count;
    const struct io_engine *const *list = engine_list(&count);
    for (uint32_t i = 0; i < count; i++) {
        struct engine *engine = claim_begin(list[i], NULL);
        claim(engine);
        claim_end(engine);
    }
}

void claim_on_wrapped_from(const struct claim_start *start,
                           void (*claim)(struct engine *engine, const struct io_engine *io))
{
    uint32_t count;
    const struct io_engine *const *list = engine_list(&count);
    for (uint32_t i = 0; i < count; i++) {
        struct io_engine wrapped = engine_wrap(list[i]);
        struct engine *engine = claim_begin(&wrapped, start);
        claim(engine, &wrapped);
        claim_end(engine);
    }
}

void claim_on_wrapped(void (*claim)(struct engine *engine, const struct io_engine *io))
{
    claim_on_wrapped_from(NULL, claim);
}

void claim_restart(struct engine *engine)
{
    engine_stop_shard(engine);
    engine_open_shard(engine);
    assert_int_equal(engine_assign(engine), OK);
}

void claim_crash(struct engine *engine, const struct io_engine *io)
{
    engine_crash(engine, io);
    assert_int_equal(engine_assign(engine), OK);
}

int64_t claim_offset(struct engine *engine, int64_t timestamp)
{
    struct call call;
    call_offsets(&call, engine, timestamp);
    assert_int_equal(call.err, OK);
    return call.request.offsets.offset;
}

uint64_t claim_latest(struct engine *engine)
{
    return (uint64_t)claim_offset(engine, OFFSETS_LATEST);
}

enum err claim_fetch(struct call *call, struct engine *engine, uint64_t offset)
{
    call_fetch(call, engine, offset, false);
    call_wait(call);
    return call->err;
}

enum err claim_read_at(struct engine *engine, uint64_t offset)
{
    struct call call;
    enum err err = claim_fetch(&call, engine, offset);
    call_release(&call);
    return err;
}

void claim_append(struct call *call, struct engine *engine, const struct batch_spec *spec)
{
    static uint8_t batch[4096];
    call_append(call, engine, batch, batch_make(spec, batch, sizeof(batch)));
    call_wait(call);
}

enum err claim_append_plain(struct engine *engine, uint32_t records, uint32_t value_bytes,
                            int64_t timestamp)
{
    struct call call;
    struct batch_spec spec = {.records = records,
                              .value_bytes = value_bytes,
                              .timestamp = timestamp,
                              .producer_id = -1,
                              .producer_epoch = -1,
                              .sequence = -1};
    claim_append(&call, engine, &spec);
    return call.err;
}

void claim_readable(struct engine *engine, uint64_t end)
{
    assert_int_equal(claim_latest(engine), end);
    for (uint64_t offset = 0; offset < end; offset++) {
        struct call call;
        assert_int_equal(claim_fetch(&call, engine, offset), OK);
        assert_true(call.request.fetch.size_bytes > 0);
        call_release(&call);
    }
}
