/* See the header. */
#include "tests/unit/shard/claim_fixture.h"

#include "core/crc32c.h"
#include "shard/batch.h"
#include "shard/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <snappy-c.h>

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

void claim_append_packed(struct engine *engine, uint32_t records, uint32_t value_bytes)
{
    const struct batch_spec spec = {.records = records,
                                    .value_bytes = value_bytes,
                                    .timestamp = 1000,
                                    .producer_id = -1,
                                    .producer_epoch = -1,
                                    .sequence = -1};
    uint32_t room = records * (value_bytes + 64) + BATCH_HEADER_BYTES;
    uint8_t *plain = malloc(room);
    size_t body = snappy_max_compressed_length(room);
    uint8_t *packed = malloc(BATCH_HEADER_BYTES + body);
    assert_non_null(plain);
    assert_non_null(packed);
    uint32_t size = batch_make(&spec, plain, room);
    memcpy(packed, plain, BATCH_HEADER_BYTES);
    snappy_status status =
        snappy_compress((const char *)plain + BATCH_HEADER_BYTES, size - BATCH_HEADER_BYTES,
                        (char *)packed + BATCH_HEADER_BYTES, &body);
    assert_int_equal(status, SNAPPY_OK);
    size = BATCH_HEADER_BYTES + (uint32_t)body;
    store_be32(packed + 8, size - BATCH_PREFIX_BYTES);
    store_be16(packed + 21, CODEC_SNAPPY);
    store_be32(packed + 17, crc32c(0, packed + BATCH_CRC_FROM, size - BATCH_CRC_FROM));
    struct call call;
    call_append(&call, engine, packed, size);
    call_wait(&call);
    assert_int_equal(call.err, OK);
    free(plain);
    free(packed);
}

/* --- The MANIFEST. --- */

enum { MANIFEST_ROOM = 1 << 16 };

static FILE *manifest_open(const struct engine *engine, const char *mode)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/MANIFEST", engine->dir);
    FILE *file = fopen(path, mode);
    assert_non_null(file);
    return file;
}

void claim_manifest_read(const struct engine *engine, struct manifest *manifest)
{
    static uint8_t image[MANIFEST_ROOM];
    FILE *file = manifest_open(engine, "rb");
    size_t size = fread(image, 1, sizeof(image), file);
    assert_int_equal(fclose(file), 0);
    *manifest = (struct manifest){0};
    assert_int_equal(manifest_decode(bytes_of(image, (uint32_t)size), image + 16, manifest), OK);
}

void claim_manifest_write(const struct engine *engine, const struct manifest *manifest)
{
    static uint8_t image[MANIFEST_ROOM];
    size_t size = manifest_size(manifest);
    FILE *file = manifest_open(engine, "r+b");
    assert_true(size <= sizeof(image));
    memset(image, 0, sizeof(image));
    manifest_encode(manifest, image);
    assert_int_equal(fwrite(image, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}
