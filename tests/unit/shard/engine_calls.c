/* The requests of the fixture's header, and the batches for them. */
#include "core/assert.h"
#include "core/crc32c.h"
#include "shard/batch.h"
#include "tests/unit/shard/engine_fixture.h"

#include <stdlib.h>
#include <string.h>

static uint32_t finished_count(void)
{
    static uint32_t count;
    return ++count;
}

uint32_t batch_make(const struct batch_spec *spec, uint8_t *at, uint32_t size)
{
    static uint8_t value[1 << 20];
    struct bytes_writer out = bytes_writer(at, size);
    write_be64(&out, 0);
    write_be32(&out, 0);
    write_be32(&out, UINT32_MAX);
    write_u8(&out, 2);
    write_be32(&out, 0);
    write_be16(&out, 0);
    write_be32(&out, spec->records - 1);
    write_be64(&out, (uint64_t)spec->timestamp);
    write_be64(&out, (uint64_t)spec->timestamp + spec->records - 1);
    write_be64(&out, (uint64_t)spec->producer_id);
    write_be16(&out, (uint16_t)spec->producer_epoch);
    write_be32(&out, (uint32_t)spec->sequence);
    write_be32(&out, spec->records);
    for (uint32_t i = 0; i < spec->records; i++) {
        uint8_t body[32];
        struct bytes_writer record = bytes_writer(body, sizeof(body));
        write_u8(&record, 0);
        write_varlong(&record, i);
        write_varint(&record, (int32_t)i);
        write_varint(&record, -1);
        write_varint(&record, (int32_t)spec->value_bytes);
        write_varint(&out, (int32_t)(record.position + spec->value_bytes + 1));
        write_bytes(&out, body, record.position);
        write_bytes(&out, value, spec->value_bytes);
        write_varint(&out, 0);
    }
    ASSERT(!out.failed);
    store_be32(at + 8, out.position - BATCH_PREFIX_BYTES);
    store_be32(at + 17, crc32c(0, at + BATCH_CRC_FROM, out.position - BATCH_CRC_FROM));
    return out.position;
}

static void call_done(struct completion *done)
{
    struct call *call = CONTAINER_OF(done, struct call, request.done);
    ASSERT(call->finished == 0);
    call->err = (enum err)done->result;
    call->finished = finished_count();
}

static void call_start(struct call *call, struct engine *engine, enum request_kind kind)
{
    call->request.kind = kind;
    call->request.partition = engine->id;
    call->request.home = &engine->reactor;
    call->engine = engine;
    call->finished = 0;
    completion_init(&call->request.done, call_done);
    shard_submit(engine->shard, &call->request);
}

void call_wait(struct call *call)
{
    for (uint32_t i = 0; call->finished == 0; i++) {
        ASSERT(i < 100000);
        (void)reactor_turn(&call->engine->reactor, NS_PER_MS);
    }
}

void call_assign(struct call *call, struct engine *engine)
{
    *call = (struct call){0};
    call->request.assign.topic_name = "orders";
    call->request.assign.config = &engine->config;
    call->request.assign.segments = engine->segments;
    call->request.assign.segment_count = engine->segment_count;
    call->request.assign.epoch = engine->epoch;
    call->request.assign.log_start = engine->log_start;
    call_start(call, engine, REQUEST_ASSIGN);
}

void call_append(struct call *call, struct engine *engine, const uint8_t *batch, uint32_t size)
{
    *call = (struct call){0};
    call->request.produce.batch = bytes_of(batch, size);
    call_start(call, engine, REQUEST_PRODUCE);
}

void call_append_as(struct call *call, struct engine *engine, struct bytes batch,
                    enum produce_id kind, struct stream_id id)
{
    *call = (struct call){0};
    call->request.produce.batch = batch;
    call->request.produce.id_kind = kind;
    call->request.produce.id = id;
    call_start(call, engine, REQUEST_PRODUCE);
}

void call_append_at(struct call *call, struct engine *engine, struct bytes batch, uint64_t end)
{
    *call = (struct call){0};
    call->request.produce.batch = batch;
    call->request.produce.end_known = true;
    call->request.produce.end = end;
    call_start(call, engine, REQUEST_PRODUCE);
}

void call_identify(struct call *call, struct engine *engine, struct stream_id id)
{
    call_facts(call, engine, id, NULL);
}

void call_facts(struct call *call, struct engine *engine, struct stream_id id,
                struct stream_facts *facts)
{
    *call = (struct call){0};
    call->request.identify.id = id;
    call->request.identify.facts = facts;
    call_start(call, engine, REQUEST_IDENTIFY);
    call_wait(call);
}

static int32_t client_epoch(const struct engine *engine)
{
    return engine->client_epoch == 0 ? -1 : (int32_t)engine->client_epoch;
}

void call_fetch(struct call *call, struct engine *engine, uint64_t offset, bool park)
{
    *call = (struct call){0};
    call->request.fetch.offset = offset;
    uint32_t limit = engine->fetch_bytes_max;
    call->request.fetch.bytes_max = limit == 0 ? 1 << 20 : limit;
    call->request.fetch.epoch = client_epoch(engine);
    call->request.fetch.whole_first = limit == 0;
    call->request.fetch.park = park;
    call->request.fetch.pieces = call->pieces;
    call->request.fetch.piece_capacity = ENGINE_PIECES_MAX;
    call_start(call, engine, REQUEST_FETCH);
}

void call_offsets(struct call *call, struct engine *engine, int64_t timestamp)
{
    *call = (struct call){0};
    call->request.offsets.timestamp = timestamp;
    call->request.offsets.epoch = client_epoch(engine);
    call_start(call, engine, REQUEST_OFFSETS);
    call_wait(call);
}

void call_release(struct call *call)
{
    call_start(call, call->engine, REQUEST_RELEASE);
    call_wait(call);
}

void call_drop(struct call *call, struct engine *engine)
{
    *call = (struct call){0};
    call_start(call, engine, REQUEST_DROP);
}

void call_trim_start(struct call *call, struct engine *engine, int64_t offset)
{
    *call = (struct call){0};
    call->request.trim.offset = offset;
    call_start(call, engine, REQUEST_TRIM);
}

void call_trim(struct call *call, struct engine *engine, int64_t offset)
{
    call_trim_start(call, engine, offset);
    call_wait(call);
}

void call_delete_start(struct call *call, struct engine *engine,
                       const struct delete_record *records, uint32_t count)
{
    *call = (struct call){0};
    call->request.delete.records = records;
    call->request.delete.count = count;
    call_start(call, engine, REQUEST_DELETE);
}

void call_delete(struct call *call, struct engine *engine, uint64_t offset)
{
    struct delete_record record = {.offset = offset};
    call_delete_start(call, engine, &record, 1);
    call_wait(call);
}

void call_set_last(struct call *call, struct engine *engine, const struct request_set_last *wish)
{
    *call = (struct call){0};
    call->request.set_last = *wish;
    call_start(call, engine, REQUEST_SET_LAST);
    call_wait(call);
}

void call_sync(struct call *call, struct engine *engine)
{
    *call = (struct call){0};
    call_start(call, engine, REQUEST_SYNC);
}

enum err engine_assign(struct engine *engine)
{
    struct segment_info borrowed[ENGINE_SEGMENTS_MAX];
    memcpy(borrowed, engine->segments, sizeof(borrowed));
    struct call call = {0};
    call.request.assign.topic_name = "orders";
    call.request.assign.config = &engine->config;
    call.request.assign.segments = borrowed;
    call.request.assign.segment_count = engine->segment_count;
    call.request.assign.epoch = engine->epoch;
    call.request.assign.log_start = engine->log_start;
    call_start(&call, engine, REQUEST_ASSIGN);
    call_wait(&call);
    return call.err;
}

void engine_append_each(struct engine *engine, uint32_t count, uint32_t value_bytes)
{
    uint32_t size = value_bytes + 256;
    uint8_t *batch = malloc(size);
    ASSERT(batch != NULL);
    for (uint32_t i = 0; i < count; i++) {
        struct call call;
        struct batch_spec spec = {.records = 1,
                                  .value_bytes = value_bytes,
                                  .timestamp = 1000 + i,
                                  .producer_id = -1,
                                  .producer_epoch = -1,
                                  .sequence = -1};
        call_append(&call, engine, batch, batch_make(&spec, batch, size));
        call_wait(&call);
        ASSERT(call.err == OK);
    }
    free(batch);
}
