/* Whatever members of groups ask, in all versions of their requests, and whatever stands in the log
 * of groups then: each request is answered or refused, answers are whole frames, a log that cannot
 * be read says so, and everything that was lent is home at the end.
 *
 * The door is fuzz_net.h's. The first byte chooses how:
 *
 *     1  records come first, and stand in the log: u8 mod 8 of them, see fuzz_record()
 *     2  the log is changed where it is read again: u8 mod 8 times {batch u8, position u8,
 *        value u8} in its records
 *    64  the client waits for each answer before it sends the next request
 *  4-128 see there
 *
 * Then {which u8, version u8, changes u8, fields}...: requests, whose fields are written as the
 * version has them, of values that a byte chooses; `changes % 4` bytes {position u8, value u8} are
 * changed then. Two more `which` are a whole life of a member, in that version, and a restart: the
 * connection ends, groups are read again from their log, and another connection begins. */
#include "core/assert.h"
#include "shard/record.h"
#include "tests/fuzz/fuzz_net.h"
#include "tests/fuzz/fuzz_requests.h"

#include <string.h>

enum {
    FUZZ_INPUT_BYTES_MAX = 512,
    FUZZ_RESTARTS_MAX = 3,
    FUZZ_SENT_MAX = 48, /* Requests: more of them in an input cost more than they find. */
    FUZZ_RECORDS_MAX = 8,
    FUZZ_RECORD_BYTES_MAX = 512,
};

enum fuzz_flag {
    FUZZ_RECORDS_FIRST = 1,
    FUZZ_CHANGE_LOG = 2,
    FUZZ_PATIENT = 64,
};

/* What stands in an input besides requests. */
enum fuzz_step {
    FUZZ_LIFE = FUZZ_REQUESTS,
    FUZZ_RESTART,
    FUZZ_STEPS,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    uint32_t made; /* Requests, of this input. */
    uint32_t sent; /* Of this connection. */
    uint32_t end;  /* Of the last one, in the stream. */
} fuzz;

/* One request behind what is in the stream already. */
static void fuzz_request(enum fuzz_request which, uint32_t version, uint32_t changes,
                         struct bytes_reader *in)
{
    uint8_t room[FUZZ_BODY_BYTES_MAX];
    const struct kafka_api *api = fuzz_request_api(which);
    version = max_u32(version % (uint32_t)(api->max + 1), (uint32_t)api->min);
    uint32_t size = fuzz_request_make(which, (int16_t)version, in, room);
    for (uint32_t i = 0; size > 0 && i < changes && bytes_left(in) >= 2; i++) {
        uint32_t place = read_u8(in) % size;
        room[place] = read_u8(in);
    }
    struct bytes_writer out = bytes_writer(fuzz_net.stream, FUZZ_STREAM_BYTES_MAX);
    out.position = fuzz_net.stream_size;
    fuzz_kafka_frame(&out, api, version, bytes_of(room, size));
    ASSERT(!out.failed);
    fuzz_net.stream_size = out.position;
    fuzz.made++;
}

/* A member comes, is told what to read, reads, and goes; each request in a version near this. */
static void fuzz_life(uint32_t version)
{
    /* How fields are chosen where it is not the first choice: those of a
     * member without an id, and of all offsets. */
    static const uint8_t join[] = {0, 0, 0, 1}, join_0[] = {0, 0, 1};
    static const uint8_t all[] = {0, 3}, all_8[] = {0, 0, 3}, all_9[] = {0, 0, 0, 0, 3};

    static const enum fuzz_request steps[] = {
        FUZZ_COORDINATOR, FUZZ_JOIN,          FUZZ_JOIN,   FUZZ_SYNC,     FUZZ_HEARTBEAT,
        FUZZ_COMMIT,      FUZZ_FETCH,         FUZZ_FETCH,  FUZZ_DESCRIBE, FUZZ_LIST,
        FUZZ_LEAVE,       FUZZ_OFFSET_DELETE, FUZZ_DELETE,
    };

    enum { STEP_JOIN = 1, STEP_ALL = 7 };

    fuzz_ids_next();

    for (uint32_t i = 0; i < ARRAY_COUNT(steps); i++) {
        int16_t max = fuzz_request_api(steps[i])->max;
        uint32_t at = min_u32(version % 10, (uint32_t)max);
        struct bytes_reader choices = bytes_reader(bytes_of(NULL, 0));
        if (i == STEP_JOIN) {
            choices = bytes_reader(at == 0 ? bytes_of(join_0, 3) : bytes_of(join, 4));
        } else if (i == STEP_ALL) {
            choices = bytes_reader(at >= 9   ? bytes_of(all_9, 5)
                                   : at == 8 ? bytes_of(all_8, 3)
                                             : bytes_of(all, 2));
        }
        fuzz_request(steps[i], at, 0, &choices);
    }
}

/* --- The log. --- */

static struct memory_log *fuzz_log(void)
{
    for (uint32_t i = 0; i < MEMORY_LOGS_MAX; i++) {
        struct memory_log *log = &fuzz_net.shard.logs[i];
        if (log->used && log->batch_count > 0) { /* Nobody writes to another. */
            return log;
        }
    }
    return NULL;
}

/* A sound value of a record of this kind. */
static void fuzz_sound_value(struct bytes_writer *out, uint32_t kind)
{
    static const uint8_t rest[41] = {0}; /* Of a group: no texts, no members. */
    write_u8(out, 1);
    switch (kind) {
    case 1: /* A group: empty, generation, since when. */
        write_bytes(out, rest, 29);
        break;
    case 2: /* An offset, of epoch 0, of long ago, without metadata. */
        write_bytes(out, rest, 24);
        break;
    case 3: /* A stream's group. */
        write_bytes(out, rest, 32);
        break;
    case 4: /* A reader: its name is "r". */
        write_bytes(out, rest, 16);
        write_le32(out, 1);
        write_u8(out, 'r');
        break;
    default: /* A chunk: of one entry, in one run of reader 0. */
        write_bytes(out, "\1\1\0\2\1\2\2", 7);
        break;
    }
}

static uint32_t fuzz_value(struct bytes_reader *in, uint8_t kind, uint8_t *room)
{
    struct bytes_writer out = bytes_writer(room, FUZZ_RECORD_BYTES_MAX);
    uint32_t size = read_u8(in);
    if ((kind & 64) != 0) {
        fuzz_sound_value(&out, kind & 7);
        size %= 32;
    }
    size = min_u32(size, bytes_left(in));
    struct bytes view = read_bytes(in, size);
    if (size > 0) {
        write_bytes(&out, view.data, size);
    }
    ASSERT(!out.failed);
    return out.position;
}

/* {kind u8, place u8, size u8, value}: of `kind` the lowest 3 bits are that of the key, 8: a key
 * that is cut, 16: no value, 64: a sound one in front; of `place` the lowest bit is the group, then
 * two of a partition, then two of a number, then three of the version. */
static void fuzz_record(struct bytes_reader *in, struct record_input *record, uint8_t *room)
{
    struct bytes_writer key = bytes_writer(room, FUZZ_RECORD_BYTES_MAX);
    uint8_t kind = read_u8(in);
    uint8_t place = read_u8(in);
    write_u8(&key, (place >> 5) == 7 ? 2 : 1);
    write_u8(&key, kind & 7);
    write_le16(&key, 1);
    write_u8(&key, (place & 1) != 0 ? 'h' : 'g');
    if ((kind & 7) != 1) {
        uint8_t topic[16];
        memset(topic, 't', sizeof(topic));
        write_bytes(&key, topic, sizeof(topic));
        write_le32(&key, (place >> 1) & 3);
        if ((kind & 7) > 2) {
            write_le32(&key, (place >> 3) & 3);
        }
    }
    uint32_t size = key.position - min_u32((kind & 8) != 0 ? 3 : 0, key.position);
    uint32_t value = fuzz_value(in, kind, room + FUZZ_RECORD_BYTES_MAX);
    record->key = bytes_of(room, size);
    record->value =
        (kind & 16) != 0 ? (struct bytes){0} : bytes_of(room + FUZZ_RECORD_BYTES_MAX, value);
}

/* The topic of groups, with these records. */
static void fuzz_records_first(struct bytes_reader *in)
{
    static uint8_t room[FUZZ_RECORDS_MAX][2 * FUZZ_RECORD_BYTES_MAX];
    static uint8_t batch[2 * sizeof(room)];
    struct record_input records[FUZZ_RECORDS_MAX] = {0};
    uint32_t count = 1 + read_u8(in) % FUZZ_RECORDS_MAX;
    for (uint32_t i = 0; i < count; i++) {
        fuzz_record(in, &records[i], room[i]);
    }
    struct topic_id id;
    memset(id.bytes, 'o', sizeof(id.bytes));
    fuzz_net_topic(TOPIC_OF_OFFSETS, 'o', 1);
    uint32_t size = record_batch_size(records, count);
    ASSERT(size > 0 && size <= sizeof(batch));
    record_batch_encode(records, count, batch, size);
    struct request produce = {.kind = REQUEST_PRODUCE, .partition = {.topic = id}};
    produce.produce.batch = bytes_of(batch, size);
    fuzz_net_submit(&produce);
}

/* Changes in the records of what is in the log. */
static void fuzz_change_log(struct bytes_reader *in)
{
    const struct memory_log *log = fuzz_log();
    uint32_t changes = read_u8(in) % 8;
    for (uint32_t i = 0; log != NULL && i < changes && bytes_left(in) >= 3; i++) {
        uint32_t batch = read_u8(in) % log->batch_count;
        uint32_t from = log->positions[batch] + BATCH_HEADER_BYTES;
        uint32_t end = batch + 1 < log->batch_count ? log->positions[batch + 1] : log->size;
        uint32_t place = read_u8(in);
        uint8_t value = read_u8(in);
        if (end > from) {
            log->data[from + place % (end - from)] = value;
        }
    }
}

/* --- One input. --- */

static uint32_t fuzz_next_piece(uint32_t position)
{
    if (position == fuzz.end) {
        if (fuzz_net.frames.count < fuzz.sent) {
            return 0;
        }
        fuzz.sent++;
        fuzz.end += 4 + load_be32(fuzz_net.stream + position);
    }
    return fuzz.end - position;
}

static void fuzz_connection(void)
{
    fuzz.sent = fuzz.end = 0;
    fuzz_net_run(NET_KAFKA);
    fuzz_net.stream_size = 0;
}

static void fuzz_play(struct bytes_reader *in, uint8_t flags)
{
    uint32_t restarts = 0;
    fuzz_net.stream_size = fuzz.made = 0;
    while (bytes_left(in) > 0 && fuzz.made < FUZZ_SENT_MAX) {
        uint32_t which = read_u8(in) % FUZZ_STEPS;
        uint32_t version = bytes_left(in) > 0 ? read_u8(in) : 0;
        if (which == FUZZ_LIFE) {
            fuzz_life(version);
        } else if (which == FUZZ_RESTART && restarts++ < FUZZ_RESTARTS_MAX) {
            fuzz_connection();
            fuzz_net_forget();
            if ((flags & FUZZ_CHANGE_LOG) != 0) {
                fuzz_change_log(in);
            }
        } else if (which < FUZZ_REQUESTS) {
            uint32_t changes = bytes_left(in) > 0 ? read_u8(in) % 4 : 0;
            fuzz_request((enum fuzz_request)which, version, changes, in);
        }
    }
    fuzz_connection();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > FUZZ_INPUT_BYTES_MAX) {
        return 0;
    }
    static bool open;
    if (!open) {
        open = true;
        fuzz_kafka_begin();
        fuzz_net_reset();
        fuzz_draw_ids(fuzz_net.reactor.prng);
    }
    fuzz_net_reset();
    fuzz_net_flags(data[0]);
    fuzz_net.next_piece = (data[0] & FUZZ_PATIENT) != 0 ? fuzz_next_piece : NULL;
    struct bytes_reader in = bytes_reader(bytes_of(data + 1, (uint32_t)size - 1));
    fuzz_ids_begin((data[0] & FUZZ_RECORDS_FIRST) != 0);
    if ((data[0] & FUZZ_RECORDS_FIRST) != 0) {
        fuzz_records_first(&in);
    }
    fuzz_play(&in, data[0]);
    return 0;
}
