/* See the header. Each phase hands its items to the slots; when all are home the next begins. */
#include "net/group/lag.h"

#include "core/assert.h"
#include "core/cover.h"
#include "net/records.h"

#include <string.h>

static void lag_step(struct group_lag *lag);

static int64_t lag_or_none(int64_t difference)
{
    return difference > 0 ? difference : 0;
}

struct group_lag *group_lag_open(struct net *net)
{
    struct memory *memory = net->reactor->memory;
    struct block *block = NULL;
    if (sizeof(struct group_lag) <= memory_block_max(memory)) {
        block = block_acquire(memory, call_memory_class(sizeof(struct group_lag)),
                              sizeof(struct group_lag));
    }
    if (block == NULL) {
        COVER("group lag without memory");
        return NULL;
    }
    void *data = block->data;
    struct group_lag *lag = data;
    *lag = (struct group_lag){.net = net, .block = block};
    for (uint32_t i = 0; i < GROUP_LAG_SLOTS; i++) {
        lag->slots[i].lag = lag;
    }
    return lag;
}

void group_lag_close(struct group_lag *lag)
{
    ASSERT(!lag->out && lag->away == 0);
    block_unref(lag->block);
}

int64_t group_lag_ms(const struct group_lag_row *row, uint64_t now_ms)
{
    if (row->lag <= 0) {
        return row->lag;
    }
    return row->time_ms < 0 ? -1 : lag_or_none((int64_t)now_ms - row->time_ms);
}

static void lag_add_group(struct group_lag *lag, struct bytes name)
{
    if (lag->group_count == GROUP_LAG_GROUPS || name.size > GROUP_LAG_TEXT_BYTES - lag->text_used) {
        lag->left_out++;
        return;
    }
    uint8_t *at = lag->text + lag->text_used;
    memcpy(at, name.data, name.size);
    lag->text_used += name.size;
    lag->groups[lag->group_count++] = bytes_of(at, name.size);
}

/* A topic that is deleted has no lag. */
static void lag_add_row(struct group_lag *lag, const struct group_lag_row *row)
{
    const struct map_topic *topic = map_topic_by_id(log_map(lag->net), &row->topic);
    if (topic == NULL || row->partition >= topic->partition_count) {
        return;
    }
    if (lag->row_count == GROUP_LAG_ROWS) {
        lag->left_out++;
        return;
    }
    lag->rows[lag->row_count++] = *row;
}

/* --- Groups and their offsets. --- */

static void lag_slot_home(struct group_lag_slot *slot)
{
    ASSERT(slot->busy && slot->lag->away > 0);
    slot->busy = false;
    slot->lag->away--;
    lag_step(slot->lag);
}

static void lag_call_released(struct completion *completion)
{
    lag_slot_home(CONTAINER_OF(completion, struct group_lag_slot, call.released));
}

static void lag_read_answer(struct group_lag *lag, const struct group_lag_slot *slot)
{
    struct bytes_reader answer = bytes_reader(slot->call.result);
    uint32_t count = read_le32(&answer);
    for (uint32_t i = 0; i < count && !answer.failed; i++) {
        if (lag->phase == GROUP_LAG_LIST) {
            lag_add_group(lag, group_read_text(&answer));
            (void)group_read_text(&answer); /* Type and state. */
            (void)group_read_text(&answer);
            continue;
        }
        struct group_lag_row row = {.group = slot->row, .end = -1, .lag = -1, .time_ms = -1};
        struct bytes id = read_bytes(&answer, sizeof(row.topic.bytes));
        if (id.size == sizeof(row.topic.bytes)) {
            memcpy(row.topic.bytes, id.data, id.size);
        }
        row.partition = read_le32(&answer);
        row.committed = (int64_t)read_le64(&answer);
        (void)read_le32(&answer); /* The epoch, and metadata. */
        (void)group_read_text(&answer);
        if (row.committed >= 0) {
            lag_add_row(lag, &row);
        }
    }
    ASSERT(!answer.failed);
}

static void lag_call_done(struct completion *completion)
{
    struct group_lag_slot *slot = CONTAINER_OF(completion, struct group_lag_slot, call.done);
    struct group_lag *lag = slot->lag;
    enum group_code code = (enum group_code)completion->result;
    if (code == GROUP_OK) {
        lag_read_answer(lag, slot);
    } else if (lag->code == GROUP_OK) {
        lag->code = code;
    }
    completion_init(&slot->call.released, lag_call_released);
    if (!group_release(lag->net, &slot->call)) {
        lag_slot_home(slot);
    }
}

static void lag_call(struct group_lag_slot *slot, uint32_t index)
{
    struct group_lag *lag = slot->lag;
    bool list = lag->phase == GROUP_LAG_LIST;
    slot->row = index;
    slot->call = (struct group_call){.kind = list ? GROUP_LIST : GROUP_FETCH,
                                     .partition = list ? index : 0,
                                     .group = list ? (struct bytes){0} : lag->groups[index],
                                     .all = !list};
    completion_init(&slot->call.done, lag_call_done);
    group_submit(lag->net, &slot->call);
}

/* --- Where logs end. --- */

static struct partition_id lag_partition(const struct group_lag_row *row)
{
    return (struct partition_id){.topic = row->topic, .partition = row->partition};
}

static void lag_end_known(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct group_lag_slot *slot = CONTAINER_OF(request, struct group_lag_slot, request);
    struct group_lag_row *row = &slot->lag->rows[slot->row];
    if (completion->result >= 0) {
        row->end = request->offsets.offset;
        row->lag = lag_or_none(row->end - row->committed);
    }
    lag_slot_home(slot);
}

static void lag_ask_end(struct group_lag_slot *slot, uint32_t index)
{
    struct partition_id partition = lag_partition(&slot->lag->rows[index]);
    slot->row = index;
    log_ask_offset(slot->lag->net, &slot->request, &partition, OFFSETS_LATEST, lag_end_known);
}

/* --- When the next record was written. --- */

static void lag_ask_time(struct group_lag_slot *slot, uint64_t offset);

static void lag_read_released(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    struct group_lag_slot *slot = CONTAINER_OF(read, struct group_lag_slot, read);
    struct group_lag_row *row = &slot->lag->rows[slot->row];
    if (slot->again && row->lag > 0 && row->time_ms < 0) {
        lag_ask_time(slot, read->log_start);
        return;
    }
    lag_slot_home(slot);
}

/* Without taking a compressed batch apart, or where all of it is deleted: then it is the time of
 * the batch's first record. */
static int64_t lag_time_of(const struct log_read *read)
{
    struct records records;
    struct records_entry entry;
    if (read->piece_count == 0) {
        return -1;
    }
    records_begin(&records, read->pieces, read->piece_count, read->offset);
    enum err err = records_next(&records, &entry);
    if (err == OK) {
        return entry.timestamp;
    }
    bool batch = err == ERR_NO_MEMORY || err == ERR_NOT_FOUND;
    return batch ? records.batch.base_timestamp : -1;
}

static void lag_time_read(struct completion *completion)
{
    struct log_read *read = CONTAINER_OF(completion, struct log_read, done);
    struct group_lag_slot *slot = CONTAINER_OF(read, struct group_lag_slot, read);
    struct group_lag_row *row = &slot->lag->rows[slot->row];
    bool below = completion->result == ERR_OFFSET_RANGE && read->offset < read->log_start;
    if (completion->result >= 0) {
        row->time_ms = lag_time_of(read);
        slot->again = false;
    } else if (below && !slot->again) {
        row->lag = lag_or_none(row->end - (int64_t)read->log_start);
        slot->again = true;
    } else {
        slot->again = false;
    }
    log_release(read, lag_read_released);
}

static void lag_ask_time(struct group_lag_slot *slot, uint64_t offset)
{
    const struct group_lag_row *row = &slot->lag->rows[slot->row];
    slot->read = (struct log_read){
        .partition = lag_partition(row), .offset = offset, .bytes_max = 1, .wait_ms = 0};
    log_read(slot->lag->net, &slot->read, lag_time_read);
}

/* --- The course. --- */

/* Gives the item to the slot; false: there is nothing to ask about it. */
static bool lag_begin(struct group_lag_slot *slot, uint32_t index)
{
    struct group_lag *lag = slot->lag;
    switch (lag->phase) {
    case GROUP_LAG_LIST:
    case GROUP_LAG_FETCH:
        lag_call(slot, index);
        return true;
    case GROUP_LAG_END:
        lag_ask_end(slot, index);
        return true;
    case GROUP_LAG_TIME:
        break;
    }
    if (lag->rows[index].lag <= 0) {
        return false;
    }
    slot->row = index;
    slot->again = false;
    lag_ask_time(slot, (uint64_t)lag->rows[index].committed);
    return true;
}

static void lag_phase(struct group_lag *lag)
{
    lag->next = 0;
    switch (lag->phase) {
    case GROUP_LAG_LIST:
        lag->count = group_partition_count(lag->net);
        return;
    case GROUP_LAG_FETCH:
        lag->count = lag->group_count;
        return;
    case GROUP_LAG_END:
    case GROUP_LAG_TIME:
        lag->count = lag->row_count;
        return;
    }
    UNREACHABLE();
}

/* Slots that are free take the next items; when all are home the next phase begins. */
static void lag_step(struct group_lag *lag)
{
    for (;;) {
        for (uint32_t i = 0; i < GROUP_LAG_SLOTS; i++) {
            struct group_lag_slot *slot = &lag->slots[i];
            while (!slot->busy && lag->next < lag->count) {
                slot->busy = lag_begin(slot, lag->next++);
                lag->away += slot->busy ? 1 : 0;
            }
        }
        if (lag->away > 0) {
            return;
        }
        if (lag->phase == GROUP_LAG_TIME) {
            break;
        }
        lag->phase++;
        lag_phase(lag);
    }
    lag->out = false;
    completion_fire(lag->net->reactor, &lag->done, OK);
}

void group_lag_start(struct group_lag *lag, struct bytes group)
{
    ASSERT(!lag->out && lag->done.fn != NULL);
    lag->out = true;
    lag->phase = group.data == NULL ? GROUP_LAG_LIST : GROUP_LAG_FETCH;
    if (group.data != NULL) {
        lag_add_group(lag, group);
    }
    lag_phase(lag);
    lag_step(lag);
}
