/* What stands in the log, and how it is read again. A record is the last word about its key; an
 * empty value: it is gone. Little-endian:
 *
 *     key    0 version u8 (1)  1 kind u8 (1: group, 2: offset; of streams 3: group, 4: reader,
 *            5: chunk)  2 size u16  4 group's id
 *            of all but a group then: topic id, 16 bytes; partition u32
 *            of a reader or chunk then: its number u32
 *     value  of a group: classic_record.c; of those of streams: stream_record.c
 *            of an offset: 0 version u8 (1)  1 offset i64  9 epoch i32  13 committed u64 (ms)
 *            21 metadata: size u32 (all ones: null), bytes
 *
 * Reading: from the log's start to what was its end when it began. Calls wait; a log that cannot be
 * read answers them that it is loading, never that there is nothing. */
#include "core/assert.h"
#include "core/log.h"
#include "net/group/group_internal.h"
#include "shard/codec.h"

#include <string.h>

enum {
    KEY_VERSION = 1,
    KEY_GROUP = 1,
    KEY_OFFSET = 2,
    KEY_STREAM = 3,
    KEY_READER = 4,
    KEY_CHUNK = 5,
    VALUE_VERSION = 1,
    VALUE_OFFSET_BYTES = 25,
    READ_PAUSE_MS = 20,
    READ_PAUSES_MAX = 500,
};

static uint32_t stream_key_encode(struct group_item *item, struct bytes_writer *writer)
{
    const struct stream_group *group = stream_item_group(item);
    write_u8(writer, KEY_VERSION);
    write_u8(writer, (uint8_t)(KEY_STREAM + (item->kind - GROUP_ITEM_STREAM)));
    write_le16(writer, (uint16_t)group->name.size);
    write_bytes(writer, group->name.data, group->name.size);
    write_bytes(writer, group->key.topic.bytes, sizeof(group->key.topic.bytes));
    write_le32(writer, group->key.partition);
    if (item->kind != GROUP_ITEM_STREAM) {
        write_le32(writer, stream_item_number(item));
    }
    ASSERT(!writer->failed);
    return writer->position;
}

uint32_t group_key_encode(struct group_item *item, uint8_t *data)
{
    struct bytes_writer writer = bytes_writer(data, GROUP_KEY_BYTES_MAX);
    const struct group *group = CONTAINER_OF(item, struct group, item);
    const struct group_offset *offset = NULL;
    if (item->kind > GROUP_ITEM_OFFSET) {
        return stream_key_encode(item, &writer);
    }
    if (item->kind == GROUP_ITEM_OFFSET) {
        offset = CONTAINER_OF(item, struct group_offset, item);
        group = offset->group;
    }
    write_u8(&writer, KEY_VERSION);
    write_u8(&writer, offset != NULL ? KEY_OFFSET : KEY_GROUP);
    write_le16(&writer, (uint16_t)group->id.size);
    write_bytes(&writer, group->id.data, group->id.size);
    if (offset != NULL) {
        write_bytes(&writer, offset->topic.bytes, sizeof(offset->topic.bytes));
        write_le32(&writer, offset->partition);
    }
    ASSERT(!writer.failed);
    return writer.position;
}

uint32_t group_value_size(struct group_item *item)
{
    if (item->deleted) {
        return 0;
    }
    if (item->kind > GROUP_ITEM_OFFSET) {
        return stream_value_size(item);
    }
    if (item->kind == GROUP_ITEM_OFFSET) {
        const struct group_offset *offset = CONTAINER_OF(item, struct group_offset, item);
        return VALUE_OFFSET_BYTES + offset->metadata.size;
    }
    return classic_record_size(&CONTAINER_OF(item, struct group, item)->classic);
}

void group_value_encode(struct group_item *item, uint8_t *data, uint32_t size)
{
    struct bytes_writer writer = bytes_writer(data, size);
    if (item->kind > GROUP_ITEM_OFFSET) {
        stream_value_encode(item, &writer);
    } else if (item->kind == GROUP_ITEM_OFFSET) {
        const struct group_offset *offset = CONTAINER_OF(item, struct group_offset, item);
        write_u8(&writer, VALUE_VERSION);
        write_le64(&writer, (uint64_t)offset->offset);
        write_le32(&writer, (uint32_t)offset->epoch);
        write_le64(&writer, offset->commit_ms);
        group_write_text(&writer, offset->metadata);
    } else {
        classic_record_encode(&CONTAINER_OF(item, struct group, item)->classic, &writer);
    }
    ASSERT(!writer.failed && writer.position == size);
}

/* --- One record. --- */

void group_item_lives(struct group_log *log, struct group_item *item)
{
    list_remove(&item->node);
    list_push_back(&log->live, &item->node);
    uint32_t bytes = GROUP_KEY_BYTES_MAX + group_value_size(item);
    log->live_bytes += bytes;
    log->live_bytes -= item->bytes;
    item->bytes = bytes;
    item->batch = 0;
    item->stored = true;
}

static void replay_drop_if_bare(struct group *group)
{
    if (!group->item.stored && group->offset_count == 0) {
        group_drop(group);
    }
}

static bool replay_group(struct group_log *log, struct bytes id, struct bytes value)
{
    struct group_memory *memory = &log->core->memory;
    struct group *group = group_find(log->core, id);
    if (group != NULL) {
        classic_deinit(&group->classic, memory);
    }
    if (value.size == 0) {
        if (group != NULL) {
            group_item_forget(log, &group->item);
            group->item.stored = false;
            replay_drop_if_bare(group);
        }
        return true;
    }
    if (group == NULL) {
        group = group_add(log, id);
    }
    if (group == NULL || !classic_record_decode(&group->classic, value, memory)) {
        return false;
    }
    group_item_lives(log, &group->item);
    return true;
}

static void replay_offset_gone(struct group_log *log, struct bytes id, const struct topic_id *topic,
                               uint32_t partition)
{
    struct group *group = group_find(log->core, id);
    struct group_offset *offset = group == NULL ? NULL : group_offset_find(group, topic, partition);
    if (offset != NULL) {
        group_item_forget(log, &offset->item);
        group_offset_free(offset);
        replay_drop_if_bare(group);
    }
}

static bool replay_offset(struct group_log *log, struct bytes id, struct bytes_reader *key,
                          struct bytes value)
{
    struct topic_id topic;
    struct bytes bytes = read_bytes(key, sizeof(topic.bytes));
    uint32_t partition = read_le32(key);
    if (key->failed) {
        return false;
    }
    memcpy(topic.bytes, bytes.data, sizeof(topic.bytes));
    if (value.size == 0) {
        replay_offset_gone(log, id, &topic, partition);
        return true;
    }
    struct bytes_reader reader = bytes_reader(value);
    bool version = read_u8(&reader) == VALUE_VERSION;
    int64_t at = (int64_t)read_le64(&reader);
    int32_t epoch = (int32_t)read_le32(&reader);
    uint64_t commit_ms = read_le64(&reader);
    struct bytes metadata = group_read_text(&reader);
    if (!version || reader.failed) {
        return false;
    }
    struct group *group = group_find(log->core, id);
    if (group == NULL) {
        group = group_add(log, id);
    }
    struct group_offset *offset = group == NULL ? NULL : group_offset_add(group, &topic, partition);
    if (offset == NULL) {
        return false;
    }
    group_free_copy(&log->core->memory, &offset->metadata);
    offset->offset = at;
    offset->epoch = epoch;
    offset->commit_ms = commit_ms;
    group->touched_ms = commit_ms;
    if (!group_copy(&log->core->memory, metadata, &offset->metadata)) {
        return false;
    }
    group_item_lives(log, &offset->item);
    return true;
}

static bool replay_record(struct group_log *log, const struct record *record)
{
    struct bytes_reader key = bytes_reader(record->key);
    uint8_t version = read_u8(&key);
    uint8_t kind = read_u8(&key);
    struct bytes id = read_bytes(&key, read_le16(&key));
    if (key.failed || version != KEY_VERSION || id.size == 0 || id.size > CLASSIC_NAME_BYTES_MAX) {
        return false;
    }
    if (kind == KEY_GROUP) {
        return replay_group(log, id, record->value);
    }
    if (kind >= KEY_STREAM && kind <= KEY_CHUNK) {
        return group_stream_replay(log,
                                   (enum group_item_kind)(GROUP_ITEM_STREAM + kind - KEY_STREAM),
                                   id, &key, record->value);
    }
    return kind == KEY_OFFSET && replay_offset(log, id, &key, record->value);
}

/* --- A batch of them. --- */

static enum err replay_records(struct group_log *log, struct bytes data, const struct batch *batch)
{
    struct codec_output output;
    struct bytes body =
        bytes_of(data.data + BATCH_HEADER_BYTES, batch->length - BATCH_HEADER_BYTES);
    enum err err = codec_open((enum codec)(batch->attributes & BATCH_CODEC_MASK), body, &output);
    if (err != OK) {
        return err;
    }
    struct bytes_reader reader = bytes_reader(output.bytes);
    for (int32_t i = 0; err == OK && i < batch->record_count; i++) {
        struct record record;
        if (!record_read(&reader, &record)) {
            err = ERR_CORRUPT;
        } else if ((uint64_t)batch->base_offset + (uint32_t)record.offset_delta >=
                       log->read_offset &&
                   !replay_record(log, &record)) {
            err = ERR_CORRUPT;
        }
    }
    codec_free(&output);
    return err;
}

static enum err replay_piece(struct group_log *log, struct bytes data)
{
    while (data.size > 0) {
        struct batch batch;
        enum err err = batch_parse(data, &batch);
        if (err == OK && batch.record_count > 0) {
            err = replay_records(log, data, &batch);
        }
        if (err != OK) {
            return err;
        }
        log->read_offset = max_u64(log->read_offset, (uint64_t)batch.base_offset +
                                                         (uint32_t)batch.last_offset_delta + 1);
        log->log_bytes += batch.length;
        data = bytes_of(data.data + batch.length, data.size - batch.length);
    }
    return OK;
}

/* --- The course of it. --- */

static void replay_ask(struct group_log *log);

static void replay_end(struct group_log *log, enum err err)
{
    struct group_core *core = log->core;
    core->memory.replaying = core->stream_memory.replaying = false;
    if (err == OK && !group_streams_replayed(log)) {
        err = ERR_CORRUPT;
    }
    if (err != OK) {
        LOG_WARN("the log of groups cannot be read partition=%u offset=%llu reason=\"%s\"",
                 log->id.partition, (unsigned long long)log->read_offset, err_text(err));
        group_log_clear(log, GROUP_LOADING);
        return;
    }
    log->state = GROUP_LOG_READY;
    uint32_t count = 0;
    struct list *entry;
    list_for_each (entry, &log->groups) {
        struct group *group = CONTAINER_OF(entry, struct group, node);
        classic_resume(&group->classic, core->reactor->now_ns);
        group_timer(group);
        count++;
    }
    if (count > 0) {
        LOG_INFO("groups read partition=%u groups=%u end=%llu", log->id.partition, count,
                 (unsigned long long)log->read_offset);
    }
    struct group_call *call = log->held_first;
    log->held_first = log->held_last = NULL;
    while (call != NULL && log->state == GROUP_LOG_READY) {
        struct group_call *next = call->next;
        call->next = NULL;
        group_serve(log, call);
        call = next;
    }
    group_log_kick(log);
}

void group_log_read_on(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    struct group_log *log = CONTAINER_OF(timer, struct group_log, pause);
    replay_ask(log);
}

/* This core may be later than the one that asks: it does not know the new topic yet. */
static bool replay_may_pass(enum err err)
{
    return err == ERR_NOT_READY || err == ERR_NO_MEMORY || err == ERR_TOPIC_UNKNOWN ||
           err == ERR_NOT_LEADER;
}

/* The core has no memory to lend, or does not serve the partition yet. */
static void replay_again(struct group_log *log, enum err err)
{
    if (log->pauses++ == READ_PAUSES_MAX) {
        replay_end(log, err);
        return;
    }
    timer_start(log->core->reactor, &log->pause, READ_PAUSE_MS * NS_PER_MS);
}

static void replay_released(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct group_log *log = CONTAINER_OF(request, struct group_log, fetch);
    log->core->busy--;
    request->fetch.piece_count = 0;
    if (log->state == GROUP_LOG_READING) {
        replay_ask(log);
    }
    net_check_stopped(log->core->net);
}

static void replay_fetched(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct group_log *log = CONTAINER_OF(request, struct group_log, fetch);
    struct request_fetch *fetch = &request->fetch;
    enum err err = (enum err)completion->result;
    bool reading = log->state == GROUP_LOG_READING;
    log->core->busy--;
    if (reading && err == OK && log->read_end == UINT64_MAX) {
        log->read_end = fetch->high_watermark;
    }
    uint64_t before = log->read_offset;
    uint32_t count = fetch->piece_count; /* Of this answer: the request may go out again below. */
    log->core->memory.replaying = log->core->stream_memory.replaying = true;
    for (uint32_t i = 0; reading && err == OK && i < count; i++) {
        err = replay_piece(log, bytes_of(fetch->pieces[i].data, fetch->pieces[i].size));
    }
    log->core->memory.replaying = log->core->stream_memory.replaying = false;
    if (reading && err == ERR_OFFSET_RANGE && fetch->log_start > before) {
        log->read_offset = fetch->log_start;
        replay_ask(log);
    } else if (reading && err != OK && !replay_may_pass(err)) {
        replay_end(log, err);
    } else if (reading && err == OK && log->read_offset >= log->read_end) {
        replay_end(log, OK);
    } else if (reading && count == 0) {
        replay_again(log, err == OK ? ERR_NO_MEMORY : err);
    }
    if (count > 0) {
        request->kind = REQUEST_RELEASE;
        completion_init(&request->done, replay_released);
        log->core->busy++;
        route_submit(log->core->net, request);
    }
    net_check_stopped(log->core->net);
}

static void replay_ask(struct group_log *log)
{
    struct group_core *core = log->core;
    ASSERT(log->state == GROUP_LOG_READING);
    log->fetch = (struct request){.kind = REQUEST_FETCH, .partition = log->id};
    log->fetch.fetch.offset = log->read_offset;
    log->fetch.fetch.bytes_max = GROUP_LOAD_BYTES;
    log->fetch.fetch.epoch = -1;
    log->fetch.fetch.whole_first = true;
    log->fetch.fetch.piece_capacity = GROUP_LOAD_PIECES;
    log->fetch.fetch.pieces = log->pieces;
    completion_init(&log->fetch.done, replay_fetched);
    core->busy++;
    route_submit(core->net, &log->fetch);
}

void group_log_read(struct group_log *log)
{
    ASSERT(log->state == GROUP_LOG_NEW);
    if (log->fetch.fetch.piece_count > 0) {
        /* The pieces of a reading that was given up are on their way back. */
        group_log_clear(log, GROUP_LOADING);
        return;
    }
    log->state = GROUP_LOG_READING;
    log->read_offset = 0;
    log->read_end = UINT64_MAX;
    log->pauses = 0;
    log->log_bytes = 0;
    replay_ask(log);
}
