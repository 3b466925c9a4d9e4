/* Rows sorted by producer id: few producers write to one partition, and a sorted array is searched,
 * encoded and expired without any table of its own. */
#include "shard/producer.h"

#include "core/assert.h"

#include <stdlib.h>
#include <string.h>

struct producer {
    int64_t id;
    int16_t epoch;
    uint8_t count; /* Of the window; oldest first. */
    struct producer_batch window[PRODUCER_WINDOW];
};

struct producer_table {
    struct producer *rows;
    uint32_t count, capacity;
};

struct producer_table *producer_table_create(void)
{
    return calloc(1, sizeof(struct producer_table));
}

void producer_table_destroy(struct producer_table *table)
{
    if (table != NULL) {
        free(table->rows);
        free(table);
    }
}

/* Where `id` stands or would stand. */
static uint32_t producer_place(const struct producer_table *table, int64_t id)
{
    uint32_t low = 0, high = table->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table->rows[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct producer *producer_find(const struct producer_table *table, int64_t id)
{
    uint32_t place = producer_place(table, id);
    bool found = place < table->count && table->rows[place].id == id;
    return found ? &table->rows[place] : NULL;
}

enum err producer_check(const struct producer_table *table, int64_t id, int16_t epoch,
                        int32_t first_sequence, int32_t last_sequence,
                        struct producer_batch *duplicate, bool *is_duplicate)
{
    ASSERT(id >= 0);
    const struct producer *row = producer_find(table, id);
    *is_duplicate = false;
    if (row == NULL || row->count == 0) {
        return OK;
    }
    if (epoch < row->epoch) {
        return ERR_PRODUCER_EPOCH;
    }
    if (epoch > row->epoch) {
        return first_sequence == 0 ? OK : ERR_SEQUENCE;
    }
    for (uint32_t i = 0; i < row->count; i++) {
        if (row->window[i].first_sequence == first_sequence &&
            row->window[i].last_sequence == last_sequence) {
            *duplicate = row->window[i];
            *is_duplicate = true;
            return OK;
        }
    }
    int32_t newest = row->window[row->count - 1].last_sequence;
    int32_t expected = newest == INT32_MAX ? 0 : newest + 1;
    return first_sequence == expected ? OK : ERR_SEQUENCE;
}

static enum err producer_insert(struct producer_table *table, int64_t id, struct producer **row)
{
    uint32_t place = producer_place(table, id);
    if (table->count == table->capacity) {
        uint32_t capacity = max_u32(4, table->capacity * 2);
        struct producer *rows = realloc(table->rows, capacity * sizeof(*rows));
        if (rows == NULL) {
            return ERR_NO_MEMORY;
        }
        table->rows = rows;
        table->capacity = capacity;
    }
    memmove(&table->rows[place + 1], &table->rows[place],
            (table->count - place) * sizeof(*table->rows));
    table->count++;
    table->rows[place] = (struct producer){.id = id};
    *row = &table->rows[place];
    return OK;
}

enum err producer_record(struct producer_table *table, int64_t id, int16_t epoch,
                         const struct producer_batch *batch)
{
    struct producer *row = producer_find(table, id);
    if (row == NULL) {
        enum err err = producer_insert(table, id, &row);
        if (err != OK) {
            return err;
        }
    }
    if (row->epoch != epoch) {
        row->epoch = epoch;
        row->count = 0;
    }
    if (row->count == PRODUCER_WINDOW) {
        memmove(&row->window[0], &row->window[1], (PRODUCER_WINDOW - 1) * sizeof(*batch));
        row->count--;
    }
    row->window[row->count++] = *batch;
    return OK;
}

void producer_expire(struct producer_table *table, int64_t ms)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct producer *row = &table->rows[i];
        if (row->count > 0 && row->window[row->count - 1].time_ms >= ms) {
            table->rows[kept++] = *row;
        }
    }
    table->count = kept;
}

bool producer_rewind(struct producer_table *table, uint64_t offset_end)
{
    bool forgot = false;
    for (uint32_t i = 0; i < table->count; i++) {
        struct producer *row = &table->rows[i];
        while (row->count > 0 && row->window[row->count - 1].first_offset >= offset_end) {
            row->count--;
            forgot = true;
        }
    }
    return forgot;
}

uint32_t producer_count(const struct producer_table *table)
{
    return table->count;
}

uint32_t producer_encode(const struct producer_table *table, uint8_t *rows, uint32_t size)
{
    uint64_t wanted = (uint64_t)table->count * PRODUCER_ROW_BYTES;
    if (wanted > size) {
        return 0;
    }
    memset(rows, 0, wanted);
    for (uint32_t i = 0; i < table->count; i++) {
        const struct producer *row = &table->rows[i];
        uint8_t *at = rows + (size_t)i * PRODUCER_ROW_BYTES;
        store_le64(at, (uint64_t)row->id);
        store_le16(at + 8, (uint16_t)row->epoch);
        at[10] = row->count;
        for (uint32_t j = 0; j < row->count; j++) {
            uint8_t *batch = at + 16 + (size_t)j * 24;
            store_le32(batch, (uint32_t)row->window[j].first_sequence);
            store_le32(batch + 4, (uint32_t)row->window[j].last_sequence);
            store_le64(batch + 8, row->window[j].first_offset);
            store_le64(batch + 16, (uint64_t)row->window[j].time_ms);
        }
    }
    return (uint32_t)wanted;
}

enum err producer_decode(struct producer_table *table, struct bytes rows)
{
    if (rows.size % PRODUCER_ROW_BYTES != 0) {
        return ERR_CORRUPT;
    }
    for (uint32_t at = 0; at < rows.size; at += PRODUCER_ROW_BYTES) {
        const uint8_t *row = rows.data + at;
        int64_t id = (int64_t)load_le64(row);
        if (id < 0 || row[10] > PRODUCER_WINDOW) {
            return ERR_CORRUPT;
        }
        for (uint32_t i = 0; i < row[10]; i++) {
            const uint8_t *from = row + 16 + (size_t)i * 24;
            struct producer_batch batch = {.first_sequence = (int32_t)load_le32(from),
                                           .last_sequence = (int32_t)load_le32(from + 4),
                                           .first_offset = load_le64(from + 8),
                                           .time_ms = (int64_t)load_le64(from + 16)};
            enum err err = producer_record(table, id, (int16_t)load_le16(row + 8), &batch);
            if (err != OK) {
                return err;
            }
        }
    }
    return OK;
}
