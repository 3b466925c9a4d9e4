/* Whatever stands in fetched batches: their records are read or it is told that they cannot be, in
 * the room that was lent, and to an end.
 *
 * The first byte: 1 - the first batch's length is made right, or few inputs would come past it; the
 * rest of it times 256 is how much room is lent at first. The second: from which offset. */
#include "core/assert.h"
#include "net/records.h"

#include <stdlib.h>
#include <string.h>

enum { FUZZ_INPUT_BYTES_MAX = 4096, FUZZ_ROOM_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_look(struct bytes bytes)
{
    static volatile uint8_t seen;
    for (uint32_t i = 0; i < bytes.size; i++) {
        seen = bytes.data[i];
    }
    (void)seen;
}

static void fuzz_read(const struct fetch_piece *piece, uint32_t room_size, uint64_t from)
{
    struct records records;
    struct records_entry entry;
    uint8_t *room = NULL;
    enum err err = OK;
    records_begin(&records, piece, 1, from);
    for (uint32_t i = 0; err == OK; i++) {
        ASSERT(i < 64 << 20);
        err = records_next(&records, &entry);
        if (err == OK) {
            ASSERT(entry.offset >= from);
            fuzz_look(entry.record.key);
            fuzz_look(entry.record.value);
            fuzz_look(entry.record.headers);
        } else if (err == ERR_NO_MEMORY && records.room_wanted <= FUZZ_ROOM_MAX) {
            ASSERT(room == NULL || records.room_wanted > records.room_size);
            free(room);
            uint32_t wanted = room_size > 0 ? room_size : records.room_wanted;
            room_size = 0;
            room = malloc(wanted);
            ASSERT(room != NULL);
            records_lend(&records, room, wanted);
            err = OK;
        }
    }
    ASSERT(err == ERR_NOT_FOUND || err == ERR_DAMAGED || err == ERR_NO_MEMORY || err == ERR_LIMIT);
    free(room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > FUZZ_INPUT_BYTES_MAX) {
        return 0;
    }
    uint32_t rest = (uint32_t)size - 2;
    uint8_t *copy = malloc(rest + (rest == 0)); /* Of exact size, for the sanitizer. */
    ASSERT(copy != NULL);
    memcpy(copy, data + 2, rest);
    if ((data[0] & 1) != 0 && rest >= BATCH_HEADER_BYTES) {
        store_be64(copy, load_be64(copy) % 8);
        store_be32(copy + 8, rest - BATCH_PREFIX_BYTES);
        copy[16] = 2;
    }
    struct fetch_piece piece = {.data = copy, .size = rest};
    fuzz_read(&piece, (uint32_t)(data[0] >> 1) * 512, data[1]);
    free(copy);
    return 0;
}
