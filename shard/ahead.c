/* Who reads in order, and what is read before they ask for it.
 *
 *     a fetch begins where another one ended, or comes to a second look -> 2 looks ahead, then 4
 *     a fetch from anywhere else -> a new stream, which has nothing ahead; the one that was longest
 *                                   idle goes, and what was read for it
 *
 * There are as many streams as have room for their looks in half of what readers may hold, so no
 * stream's looks push out another's before they are used: with more readers than that, in as many
 * places, each reads for itself. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

enum { STREAM_IDLE_FETCHES = 16 }; /* Of each stream; who was not heard of since has left. */

static void stream_end(struct looks *looks, struct stream *stream)
{
    struct list *at = looks->ahead.next;
    while (at != &looks->ahead) {
        struct look *look = CONTAINER_OF(at, struct look, at_rest);
        at = at->next;
        if (look->ahead_of == stream) {
            COVER("a stream is gone, and what was read ahead of it");
            look_drop(look);
        }
    }
    stream->partition = NULL;
}

void stream_forget(struct looks *looks, const struct partition *partition)
{
    for (uint32_t i = 0; i < looks->stream_count; i++) {
        if (looks->streams[i].partition == partition) {
            stream_end(looks, &looks->streams[i]);
        }
    }
}

/* Which makes room first: it is free; has left; never went on; was touched last. */
static bool stream_goes_before(const struct looks *looks, const struct stream *a,
                               const struct stream *b)
{
    uint64_t idle = (uint64_t)STREAM_IDLE_FETCHES * looks->stream_count;
    const struct stream *const both[] = {a, b};
    uint32_t rank[2];
    for (uint32_t i = 0; i < 2; i++) {
        rank[i] = both[i]->partition == NULL                ? 0
                  : both[i]->touched + idle <= looks->clock ? 1
                  : both[i]->depth == 0                     ? 2
                                                            : 3;
    }
    return rank[0] != rank[1] ? rank[0] < rank[1] : a->touched < b->touched;
}

struct stream *stream_find(struct partition *partition, uint64_t offset)
{
    struct looks *looks = &partition->shard->looks;
    struct stream *stream = &looks->streams[0];
    looks->clock++;
    for (uint32_t i = 0; i < looks->stream_count; i++) {
        struct stream *at = &looks->streams[i];
        bool goes_on = at->partition == partition && at->offset == offset;
        if (goes_on || (at->partition == partition && at->offset_first == offset)) {
            at->touched = looks->clock;
            if (goes_on && at->offset_first != offset) {
                stream_step(at);
            }
            return at;
        }
        stream = stream_goes_before(looks, at, stream) ? at : stream;
    }
    stream_end(looks, stream);
    *stream = (struct stream){
        .partition = partition,
        .serial = ++looks->serial,
        .touched = looks->clock,
        .offset_first = offset,
        .offset = offset,
    };
    return stream;
}

void stream_step(struct stream *stream)
{
    stream->depth = stream->depth == 0 ? 2 : LOOKS_AHEAD;
}

void stream_ahead(struct stream *stream, struct segment *segment, uint64_t position)
{
    struct shard *shard = segment->partition->shard;
    if (shard->stopping || segment->partition->dropping || segment->doomed) {
        return;
    }
    for (uint32_t i = 0; i < stream->depth && position < segment->position_end; i++) {
        struct look *look = look_find(segment, position);
        if (look == NULL) {
            look = look_start(segment, position, 0, stream);
            if (look == NULL) {
                COVER("no memory to read ahead");
                break;
            }
            COVER("a look is read ahead");
        }
        position = look->position + look->size;
    }
}
