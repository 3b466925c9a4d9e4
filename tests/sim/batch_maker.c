/* See the header; the layout is in shard/batch.h. */
#include "tests/sim/batch_maker.h"

#include "core/assert.h"
#include "core/crc32c.h"
#include "shard/batch.h"

enum { KEY_BYTES = 8, RECORD_OVERHEAD_BYTES = 48, BODY_BYTES = 40 };

uint32_t batch_maker_bound(uint32_t records, uint32_t value_bytes)
{
    return BATCH_HEADER_BYTES + records * (value_bytes + RECORD_OVERHEAD_BYTES);
}

/* Value bytes follow from the number, so that two batches never look alike. */
static void make_value(struct bytes_writer *out, uint64_t seed, uint32_t size)
{
    while (size > 0) {
        uint8_t word[8];
        uint32_t now = min_u32(size, sizeof(word));
        seed = seed * 6364136223846793005 + 1442695040888963407;
        store_le64(word, seed);
        write_bytes(out, word, now);
        size -= now;
    }
}

static void make_record(const struct batch_plan *plan, struct bytes_writer *out, uint32_t index)
{
    uint8_t body[BODY_BYTES];
    struct bytes_writer record = bytes_writer(body, sizeof(body));
    write_u8(&record, 0);
    write_varlong(&record, index);
    write_varint(&record, (int32_t)index);
    write_varint(&record, KEY_BYTES);
    write_be64(&record, plan->number);
    write_varint(&record, (int32_t)plan->value_bytes);
    ASSERT(!record.failed);
    write_varint(out, (int32_t)(record.position + plan->value_bytes + 1));
    write_bytes(out, body, record.position);
    make_value(out, plan->number * 31 + index, plan->value_bytes);
    write_varint(out, 0); /* Headers. */
}

uint32_t batch_maker_make(const struct batch_plan *plan, uint8_t *at, uint32_t size)
{
    ASSERT(plan->records > 0);
    struct bytes_writer out = bytes_writer(at, size);
    write_be64(&out, 0); /* Base offset: the broker's. */
    write_be32(&out, 0); /* Length, set below. */
    write_be32(&out, UINT32_MAX);
    write_u8(&out, 2);
    write_be32(&out, 0); /* CRC, set below. */
    write_be16(&out, 0);
    write_be32(&out, plan->records - 1);
    write_be64(&out, (uint64_t)plan->timestamp);
    write_be64(&out, (uint64_t)plan->timestamp + plan->records - 1);
    write_be64(&out, (uint64_t)plan->producer_id);
    write_be16(&out, (uint16_t)plan->producer_epoch);
    write_be32(&out, (uint32_t)plan->sequence);
    write_be32(&out, plan->records);
    for (uint32_t i = 0; i < plan->records; i++) {
        make_record(plan, &out, i);
    }
    ASSERT(!out.failed);
    store_be32(at + 8, out.position - BATCH_PREFIX_BYTES);
    store_be32(at + 17, crc32c(0, at + BATCH_CRC_FROM, out.position - BATCH_CRC_FROM));
    return out.position;
}

bool batch_maker_number(struct bytes batch, uint64_t *number)
{
    struct bytes_reader reader = bytes_reader(batch);
    read_skip(&reader, BATCH_HEADER_BYTES);
    (void)read_varint(&reader);
    (void)read_u8(&reader);
    (void)read_varlong(&reader);
    (void)read_varint(&reader);
    bool ours = read_varint(&reader) == KEY_BYTES;
    *number = read_be64(&reader);
    return ours && !reader.failed;
}
