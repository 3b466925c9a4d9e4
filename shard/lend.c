/* What readers hold: blocks that fetches lent to connections, until the bytes have been sent, and
 * looks into files that are in use.
 *
 * A peer that reads slowly, or never, keeps them; so all together may hold a quarter of the core's
 * memory, and appends go on in the rest. A fetch that would need another block then comes home
 * empty and `pressed`, or waits, if it may wait at all, until something is given back. A block that
 * somebody has already costs nothing more: many readers of one tail are not limited. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

void lend_init(struct shard *shard)
{
    struct memory_stats stats;
    memory_stats(shard->reactor->memory, &stats);
    uint64_t max = shard->options.readers_bytes_max;
    shard->lent_bytes_max = max == 0 ? stats.limit_bytes / 4 : max;
    _Static_assert(READ_BYTES <= MEMORY_LIMIT_MIN / 4, "one read is always allowed");
}

uint64_t lend_bytes(const struct shard *shard)
{
    const struct looks *looks = &shard->looks;
    return shard->lent_bytes + looks_bytes_used(looks) +
           (uint64_t)shard->lend_reads * looks->look_bytes;
}

bool lend_full(const struct shard *shard)
{
    const struct looks *looks = &shard->looks;
    return (lend_bytes(shard) >= shard->lent_bytes_max ||
            looks->used - looks->resting + shard->lend_reads >= looks->count) &&
           !MUTANT("no-lend-limit");
}

bool lend_full_beside(const struct shard *shard, const struct look *look)
{
    uint64_t goes = look->users == 1 ? look->block->size : 0;
    return lend_bytes(shard) - goes >= shard->lent_bytes_max && !MUTANT("no-lend-limit");
}

void lend_block(struct shard *shard, struct request_fetch *fetch, struct bytes data,
                const uint8_t *rows, struct block *block)
{
    ASSERT(fetch->piece_count < fetch->piece_capacity);
    if (block->lent++ == 0) {
        shard->lent_bytes += block->size;
    }
    fetch->pieces[fetch->piece_count++] = (struct fetch_piece){
        .data = data.data, .size = data.size, .rows = rows, .block = block_ref(block)};
    fetch->size_bytes += data.size;
}

void lend_look(struct request_fetch *fetch, struct bytes data, const uint8_t *rows,
               struct look *look)
{
    ASSERT(fetch->piece_count < fetch->piece_capacity);
    fetch->pieces[fetch->piece_count++] = (struct fetch_piece){.data = data.data,
                                                               .size = data.size,
                                                               .rows = rows,
                                                               .block = look->block,
                                                               .look = look_ref(look)};
    fetch->size_bytes += data.size;
}

void lend_return(struct shard *shard, struct request_fetch *fetch)
{
    for (uint32_t i = 0; i < fetch->piece_count; i++) {
        struct block *block = fetch->pieces[i].block;
        if (fetch->pieces[i].look != NULL) {
            look_unref(fetch->pieces[i].look);
            continue;
        }
        ASSERT(block->lent > 0);
        if (--block->lent == 0) {
            ASSERT(shard->lent_bytes >= block->size);
            shard->lent_bytes -= block->size;
        }
        block_unref(block);
    }
    fetch->piece_count = 0;
    fetch->size_bytes = 0;
    lend_wake(shard);
}

void lend_wake(struct shard *shard)
{
    while (shard->pressed.head != NULL && !lend_full(shard) && !MUTANT("no-lend-wake")) {
        COVER("a fetch goes on when a reader gave memory back");
        struct request *request = request_queue_pop(&shard->pressed);
        struct partition *partition = shard_partition(shard, &request->partition);
        ASSERT(partition != NULL && !partition->dropping);
        fetch_submit(partition, request);
    }
}
