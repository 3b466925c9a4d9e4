/* Rows sorted by producer id: few producers write to one partition, and a sorted array is searched,
 * encoded and expired without any table of its own. What is staged stands in one ring, numbered in
 * order of offsets; each entry names the one before it of the same producer, the row the newest. */
#include "shard/producer.h"

#include "core/assert.h"
#include "core/cover.h"

#include <stdlib.h>
#include <string.h>

struct producer {
    int64_t id;
    int64_t time_ms; /* Of the newest batch, committed or not. */
    uint64_t staged; /* Number of the newest staged batch; below table->first: none. */
    int16_t epoch;   /* Of the window. */
    int16_t fence;   /* The greatest epoch that was seen. */
    uint8_t count;   /* Of the window; oldest first. */
    struct producer_batch window[PRODUCER_WINDOW];
};

struct staged {
    int64_t id;
    int16_t epoch;
    uint64_t before; /* The same producer's; below table->first: none. */
    struct producer_batch batch;
};

struct producer_table {
    struct producer *rows;
    uint32_t count, capacity;
    struct staged *staged; /* Numbers [first, next), modulo staged_capacity, a power of two. */
    uint32_t staged_capacity;
    uint64_t first, next;
};

enum { STAGED_MIN = 8 };

struct producer_table *producer_table_create(void)
{
    struct producer_table *table = calloc(1, sizeof(*table));
    if (table != NULL) {
        table->first = 1;
        table->next = 1;
    }
    return table;
}

static struct staged *staged_at(const struct producer_table *table, uint64_t number)
{
    return &table->staged[number & (table->staged_capacity - 1)];
}

/* NULL: it is committed, or never was. */
static const struct staged *staged_find(const struct producer_table *table, uint64_t number)
{
    ASSERT(number < table->next);
    return number >= table->first ? staged_at(table, number) : NULL;
}

void producer_table_destroy(struct producer_table *table)
{
    if (table != NULL) {
        free(table->rows);
        free(table->staged);
        free(table);
    }
}

void producer_table_clear(struct producer_table *table)
{
    table->count = 0;
    table->first = table->next;
}

struct producer_table *producer_table_copy(const struct producer_table *table)
{
    struct producer_table *copy = producer_table_create();
    if (copy == NULL) {
        return NULL;
    }
    copy->rows = malloc(max_u32(1, table->count) * sizeof(*copy->rows));
    copy->staged = malloc(max_u32(1, table->staged_capacity) * sizeof(*copy->staged));
    if (copy->rows == NULL || copy->staged == NULL) {
        producer_table_destroy(copy);
        return NULL;
    }
    if (table->count > 0) {
        memcpy(copy->rows, table->rows, table->count * sizeof(*copy->rows));
    }
    if (table->staged_capacity > 0) {
        memcpy(copy->staged, table->staged, table->staged_capacity * sizeof(*copy->staged));
    }
    copy->count = table->count;
    copy->capacity = table->count;
    copy->staged_capacity = table->staged_capacity;
    copy->first = table->first;
    copy->next = table->next;
    return copy;
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

static bool batch_is(const struct producer_batch *batch, int32_t first, int32_t last)
{
    return batch->first_sequence == first && batch->last_sequence == last;
}

/* Looks among what is staged and in the window, newest first. */
static const struct producer_batch *producer_known(const struct producer_table *table,
                                                   const struct producer *row, int16_t epoch,
                                                   int32_t first, int32_t last)
{
    const struct staged *at = staged_find(table, row->staged);
    for (; at != NULL; at = staged_find(table, at->before)) {
        if (at->epoch == epoch && batch_is(&at->batch, first, last)) {
            return &at->batch;
        }
    }
    for (uint32_t i = row->count; row->epoch == epoch && i-- > 0;) {
        if (batch_is(&row->window[i], first, last)) {
            return &row->window[i];
        }
    }
    return NULL;
}

enum err producer_check(const struct producer_table *table, int64_t id, int16_t epoch,
                        int32_t first_sequence, int32_t last_sequence,
                        struct producer_batch *duplicate, bool *is_duplicate)
{
    ASSERT(id >= 0);
    const struct producer *row = producer_find(table, id);
    *is_duplicate = false;
    if (row == NULL) {
        return OK;
    }
    if (epoch < row->fence && !MUTANT("no-epoch-check")) {
        return ERR_PRODUCER_EPOCH;
    }
    const struct staged *staged = staged_find(table, row->staged);
    bool none = staged == NULL && row->count == 0;
    int16_t newest_epoch = none ? row->fence : staged != NULL ? staged->epoch : row->epoch;
    if (epoch != newest_epoch) {
        return first_sequence == 0 ? OK : ERR_SEQUENCE;
    }
    if (none) {
        return OK;
    }
    const struct producer_batch *known =
        producer_known(table, row, epoch, first_sequence, last_sequence);
    if (known != NULL) {
        *duplicate = *known;
        *is_duplicate = true;
        return OK;
    }
    int32_t newest =
        staged != NULL ? staged->batch.last_sequence : row->window[row->count - 1].last_sequence;
    int32_t expected = newest == INT32_MAX ? 0 : newest + 1;
    return first_sequence == expected || MUTANT("no-sequence-check") ? OK : ERR_SEQUENCE;
}

static int time_order(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Makes room in a full table: an eighth goes at once, so that a new producer each time does not
 * search the table each time. */
static enum err producer_evict(struct producer_table *table)
{
    uint32_t going = table->count / 8;
    int64_t *times = malloc(table->count * sizeof(*times));
    if (times == NULL) {
        return ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < table->count; i++) {
        times[i] = table->rows[i].time_ms;
    }
    qsort(times, table->count, sizeof(*times), time_order);
    int64_t latest = times[going];
    free(times);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct producer *row = &table->rows[i];
        if (going > 0 && row->time_ms <= latest && staged_find(table, row->staged) == NULL) {
            going--;
        } else {
            table->rows[kept++] = *row;
        }
    }
    table->count = kept;
    return kept < PRODUCERS_MAX ? OK : ERR_LIMIT; /* All in flight at once. */
}

static enum err producer_insert(struct producer_table *table, int64_t id, struct producer **row)
{
    if (table->count >= PRODUCERS_MAX) {
        enum err err = producer_evict(table);
        if (err != OK) {
            return err;
        }
    }
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

/* The row of `id`, which has now used `epoch`. */
static enum err producer_seen(struct producer_table *table, int64_t id, int16_t epoch,
                              int64_t time_ms, struct producer **row)
{
    *row = producer_find(table, id);
    if (*row == NULL) {
        enum err err = producer_insert(table, id, row);
        if (err != OK) {
            return err;
        }
        (*row)->fence = epoch;
        (*row)->time_ms = time_ms;
    }
    (*row)->fence = epoch > (*row)->fence ? epoch : (*row)->fence;
    (*row)->time_ms = time_ms > (*row)->time_ms ? time_ms : (*row)->time_ms;
    return OK;
}

static void producer_push(struct producer *row, int16_t epoch, const struct producer_batch *batch)
{
    if (row->epoch != epoch) {
        row->epoch = epoch;
        row->count = 0;
    }
    if (row->count == PRODUCER_WINDOW) {
        memmove(&row->window[0], &row->window[1], (PRODUCER_WINDOW - 1) * sizeof(*batch));
        row->count--;
    }
    row->window[row->count++] = *batch;
}

enum err producer_record(struct producer_table *table, int64_t id, int16_t epoch,
                         const struct producer_batch *batch)
{
    struct producer *row;
    enum err err = producer_seen(table, id, epoch, batch->time_ms, &row);
    if (err == OK) {
        producer_push(row, epoch, batch);
    }
    return err;
}

static enum err staged_grow(struct producer_table *table)
{
    uint32_t capacity = max_u32(STAGED_MIN, table->staged_capacity * 2);
    struct staged *staged = calloc(capacity, sizeof(*staged));
    if (staged == NULL) {
        return ERR_NO_MEMORY;
    }
    for (uint64_t number = table->first; number < table->next; number++) {
        staged[number & (capacity - 1)] = *staged_at(table, number);
    }
    free(table->staged);
    table->staged = staged;
    table->staged_capacity = capacity;
    return OK;
}

enum err producer_stage(struct producer_table *table, int64_t id, int16_t epoch,
                        const struct producer_batch *batch)
{
    struct producer *row;
    if (table->next - table->first == table->staged_capacity) {
        enum err err = staged_grow(table);
        if (err != OK) {
            return err;
        }
    }
    enum err err = producer_seen(table, id, epoch, batch->time_ms, &row);
    if (err != OK) {
        return err;
    }
    uint64_t number = table->next++;
    ASSERT(number == table->first ||
           staged_at(table, number - 1)->batch.first_offset < batch->first_offset);
    *staged_at(table, number) =
        (struct staged){.id = id, .epoch = epoch, .before = row->staged, .batch = *batch};
    row->staged = number;
    return OK;
}

void producer_commit(struct producer_table *table, uint64_t offset_end)
{
    while (table->first < table->next) {
        const struct staged *staged = staged_at(table, table->first);
        if (staged->batch.first_offset >= offset_end) {
            return;
        }
        struct producer *row = producer_find(table, staged->id);
        ASSERT(row != NULL);
        producer_push(row, staged->epoch, &staged->batch);
        table->first++;
    }
}

bool producer_rewind(struct producer_table *table, uint64_t offset_end)
{
    bool forgot = false;
    while (table->first < table->next) {
        const struct staged *staged = staged_at(table, table->next - 1);
        if (staged->batch.first_offset < offset_end) {
            break;
        }
        struct producer *row = producer_find(table, staged->id);
        ASSERT(row != NULL);
        ASSERT(row->staged == table->next - 1);
        row->staged = staged->before;
        table->next--;
        forgot = true;
    }
    return forgot;
}

void producer_expire(struct producer_table *table, int64_t ms)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct producer *row = &table->rows[i];
        if (row->time_ms >= ms || staged_find(table, row->staged) != NULL) {
            table->rows[kept++] = *row;
        }
    }
    table->count = kept;
}

uint32_t producer_count(const struct producer_table *table)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        count += table->rows[i].count > 0;
    }
    return count;
}

int64_t producer_greatest(const struct producer_table *table)
{
    return table->count > 0 ? table->rows[table->count - 1].id : -1;
}

uint32_t producer_encode(const struct producer_table *table, uint8_t *rows, uint32_t size)
{
    uint64_t wanted = (uint64_t)producer_count(table) * PRODUCER_ROW_BYTES;
    if (wanted > size) {
        return 0;
    }
    memset(rows, 0, wanted);
    uint8_t *at = rows;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct producer *row = &table->rows[i];
        if (row->count == 0) { /* A reader takes a row without a batch for the end. */
            continue;
        }
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
        at += PRODUCER_ROW_BYTES;
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
