/* See the header. */
#include "tests/fuzz/fuzz_requests.h"

#include <stdio.h>

enum {
    FUZZ_IDS = 64,
    FUZZ_ID_BYTES = 34, /* 'i', '-', and 32 digits; a member without an instance has no 'i'. */
};

static const int16_t fuzz_keys[FUZZ_REQUESTS] = {
    [FUZZ_JOIN] = KAFKA_JOIN_GROUP,
    [FUZZ_SYNC] = KAFKA_SYNC_GROUP,
    [FUZZ_HEARTBEAT] = KAFKA_HEARTBEAT,
    [FUZZ_LEAVE] = KAFKA_LEAVE_GROUP,
    [FUZZ_COMMIT] = KAFKA_OFFSET_COMMIT,
    [FUZZ_FETCH] = KAFKA_OFFSET_FETCH,
    [FUZZ_DESCRIBE] = KAFKA_DESCRIBE_GROUPS,
    [FUZZ_LIST] = KAFKA_LIST_GROUPS,
    [FUZZ_DELETE] = KAFKA_DELETE_GROUPS,
    [FUZZ_OFFSET_DELETE] = KAFKA_OFFSET_DELETE,
    [FUZZ_COORDINATOR] = KAFKA_FIND_COORDINATOR,
};

static char fuzz_ids[FUZZ_IDS][FUZZ_ID_BYTES + 1];
static uint32_t fuzz_drawn, fuzz_from; /* So many; members are looked for from this one on. */
static bool fuzz_topic;                /* It is there: it has an id, too. */

void fuzz_draw_ids(struct prng prng)
{
    for (uint32_t i = 0; i < FUZZ_IDS; i++) {
        uint8_t random[16];
        prng_fill(&prng, random, sizeof(random));
        (void)snprintf(fuzz_ids[i], sizeof(fuzz_ids[i]), "i-");
        for (uint32_t j = 0; j < sizeof(random); j++) {
            (void)snprintf(fuzz_ids[i] + 2 + (size_t)2 * j, 3, "%02x", random[j]);
        }
    }
}

/* One request as it is made. */
struct fuzz_body {
    struct bytes_reader *in;
    struct kafka_writer out;
    int16_t version;
};

/* A choice; the first one when nothing is left of the input. */
static uint32_t fuzz_choose(struct fuzz_body *body, uint32_t count)
{
    return bytes_left(body->in) == 0 ? 0 : read_u8(body->in) % count;
}

static void fuzz_put_text(struct fuzz_body *body, const char *const *texts, uint32_t count)
{
    kafka_write_text(&body->out, texts[fuzz_choose(body, count)]);
}

static void fuzz_put_group(struct fuzz_body *body)
{
    static const char *const groups[] = {"g", "h", "", "__w"};
    fuzz_put_text(body, groups, ARRAY_COUNT(groups));
}

static void fuzz_put_member(struct fuzz_body *body)
{
    uint32_t which = fuzz_choose(body, 8);
    const char *id = fuzz_ids[(fuzz_from + which / 2) % FUZZ_IDS];
    const char *text = which == 1 ? "" : which == 3 ? "m" : which == 5 ? id : id + 1;
    kafka_write_text(&body->out, text);
}

static void fuzz_put_instance(struct fuzz_body *body)
{
    static const char *const instances[] = {NULL, "i", "j", ""};
    fuzz_put_text(body, instances, ARRAY_COUNT(instances));
}

static void fuzz_put_type(struct fuzz_body *body)
{
    static const char *const types[] = {"consumer", "connect", ""};
    fuzz_put_text(body, types, ARRAY_COUNT(types));
}

static void fuzz_put_protocol(struct fuzz_body *body)
{
    static const char *const protocols[] = {"r", "s", ""};
    fuzz_put_text(body, protocols, ARRAY_COUNT(protocols));
}

static void fuzz_put_topic(struct fuzz_body *body)
{
    static const char *const topics[] = {"t", "n", "", "__consumer_offsets"};
    fuzz_put_text(body, topics, ARRAY_COUNT(topics));
}

static void fuzz_put_i32(struct fuzz_body *body)
{
    static const int32_t numbers[] = {0, 1, -1, 2, 3, INT32_MAX, INT32_MIN};
    kafka_write_i32(&body->out, numbers[fuzz_choose(body, ARRAY_COUNT(numbers))]);
}

static void fuzz_put_generation(struct fuzz_body *body)
{
    static const int32_t generations[] = {1, -1, 2, 3, 0, INT32_MAX};
    kafka_write_i32(&body->out, generations[fuzz_choose(body, ARRAY_COUNT(generations))]);
}

static void fuzz_put_time(struct fuzz_body *body)
{
    static const int32_t times[] = {10000, 6000, 1, -1, INT32_MAX};
    kafka_write_i32(&body->out, times[fuzz_choose(body, ARRAY_COUNT(times))]);
}

static void fuzz_put_metadata(struct fuzz_body *body)
{
    static const char *const texts[] = {"m", NULL, ""};
    fuzz_put_text(body, texts, ARRAY_COUNT(texts));
}

static void fuzz_put_bytes(struct fuzz_body *body)
{
    uint8_t bytes[8];
    uint32_t size = fuzz_choose(body, sizeof(bytes));
    memset(bytes, 'b', sizeof(bytes));
    kafka_write_bytes_length(&body->out, size);
    kafka_write_raw(&body->out, bytes, size);
}

/* Tagged fields, of flexible versions: mostly none. */
static void fuzz_put_tags(struct fuzz_body *body)
{
    uint32_t count = body->out.flexible ? fuzz_choose(body, 8) : 0;
    if (count != 7) {
        kafka_write_tags(&body->out);
        return;
    }
    kafka_write_uvarint(&body->out, 1);
    kafka_write_uvarint(&body->out, 0);
    kafka_write_uvarint(&body->out, 1);
    kafka_write_i8(&body->out, 'x');
}

/* How many follow: one, if the input says nothing. */
static uint32_t fuzz_put_count(struct fuzz_body *body)
{
    static const uint8_t counts[] = {1, 2, 0, 3};
    uint32_t count = counts[fuzz_choose(body, ARRAY_COUNT(counts))];
    kafka_write_count(&body->out, count);
    return count;
}

/* As that, or null. */
static uint32_t fuzz_put_count_or_null(struct fuzz_body *body)
{
    if (fuzz_choose(body, 4) == 3) {
        kafka_write_null_array(&body->out);
        return 0;
    }
    return fuzz_put_count(body);
}

/* --- The requests. --- */

static void fuzz_join(struct fuzz_body *body)
{
    fuzz_put_group(body);
    fuzz_put_time(body);
    if (body->version >= 1) {
        fuzz_put_time(body);
    }
    fuzz_put_member(body);
    if (body->version >= 5) {
        fuzz_put_instance(body);
    }
    fuzz_put_type(body);
    for (uint32_t count = fuzz_put_count(body); count > 0; count--) {
        fuzz_put_protocol(body);
        fuzz_put_bytes(body);
        fuzz_put_tags(body);
    }
    if (body->version >= 8) {
        fuzz_put_metadata(body);
    }
    fuzz_put_tags(body);
}

static void fuzz_sync(struct fuzz_body *body)
{
    fuzz_put_group(body);
    fuzz_put_generation(body);
    fuzz_put_member(body);
    if (body->version >= 3) {
        fuzz_put_instance(body);
    }
    if (body->version >= 5) {
        fuzz_put_type(body);
        fuzz_put_protocol(body);
    }
    for (uint32_t count = fuzz_put_count(body); count > 0; count--) {
        fuzz_put_member(body);
        fuzz_put_bytes(body);
        fuzz_put_tags(body);
    }
    fuzz_put_tags(body);
}

static void fuzz_heartbeat(struct fuzz_body *body)
{
    fuzz_put_group(body);
    fuzz_put_generation(body);
    fuzz_put_member(body);
    if (body->version >= 3) {
        fuzz_put_instance(body);
    }
    fuzz_put_tags(body);
}

static void fuzz_leave(struct fuzz_body *body)
{
    fuzz_put_group(body);
    if (body->version < 3) {
        fuzz_put_member(body);
        return;
    }
    for (uint32_t count = fuzz_put_count(body); count > 0; count--) {
        fuzz_put_member(body);
        fuzz_put_instance(body);
        if (body->version >= 5) {
            fuzz_put_metadata(body);
        }
        fuzz_put_tags(body);
    }
    fuzz_put_tags(body);
}

/* Topics with partitions, of a commit with what is committed. */
static void fuzz_put_topics(struct fuzz_body *body, uint32_t count, bool commit)
{
    for (; count > 0; count--) {
        fuzz_put_topic(body);
        for (uint32_t parts = fuzz_put_count(body); parts > 0; parts--) {
            fuzz_put_i32(body);
            if (commit) {
                kafka_write_i64(&body->out, 7 - (int64_t)fuzz_choose(body, 9));
                if (body->version >= 6) {
                    fuzz_put_i32(body);
                }
                fuzz_put_metadata(body);
                fuzz_put_tags(body);
            }
        }
        fuzz_put_tags(body);
    }
}

static void fuzz_commit(struct fuzz_body *body)
{
    fuzz_put_group(body);
    fuzz_put_generation(body);
    fuzz_put_member(body);
    if (body->version >= 7) {
        fuzz_put_instance(body);
    }
    if (body->version <= 4) {
        kafka_write_i64(&body->out, -1);
    }
    fuzz_put_topics(body, fuzz_put_count(body), true);
    fuzz_put_tags(body);
}

static void fuzz_fetch(struct fuzz_body *body)
{
    uint32_t groups = body->version >= 8 ? fuzz_put_count(body) : 1;
    for (; groups > 0; groups--) {
        fuzz_put_group(body);
        if (body->version >= 9) {
            fuzz_put_member(body);
            fuzz_put_generation(body);
        }
        fuzz_put_topics(body, fuzz_put_count_or_null(body), false);
        if (body->version >= 8) {
            fuzz_put_tags(body);
        }
    }
    if (body->version >= 7) {
        kafka_write_bool(&body->out, false);
    }
    fuzz_put_tags(body);
}

static void fuzz_describe(struct fuzz_body *body)
{
    for (uint32_t count = fuzz_put_count(body); count > 0; count--) {
        fuzz_put_group(body);
    }
    if (body->version >= 3) {
        kafka_write_bool(&body->out, false);
    }
    fuzz_put_tags(body);
}

static void fuzz_list(struct fuzz_body *body)
{
    static const char *const states[] = {"stable", "Empty", "PreparingRebalance", ""};
    static const char *const types[] = {"Classic", "consumer", ""};
    if (body->version >= 4) {
        for (uint32_t count = fuzz_put_count(body); count > 0; count--) {
            fuzz_put_text(body, states, ARRAY_COUNT(states));
        }
    }
    if (body->version >= 5) {
        for (uint32_t count = fuzz_put_count(body); count > 0; count--) {
            fuzz_put_text(body, types, ARRAY_COUNT(types));
        }
    }
    fuzz_put_tags(body);
}

static void fuzz_delete(struct fuzz_body *body)
{
    for (uint32_t count = fuzz_put_count(body); count > 0; count--) {
        fuzz_put_group(body);
    }
    fuzz_put_tags(body);
}

static void fuzz_offset_delete(struct fuzz_body *body)
{
    fuzz_put_group(body);
    fuzz_put_topics(body, fuzz_put_count(body), false);
}

static void fuzz_coordinator(struct fuzz_body *body)
{
    if (body->version < 4) {
        fuzz_put_group(body);
    }
    if (body->version >= 1) {
        kafka_write_i8(&body->out, (int8_t)fuzz_choose(body, 3));
    }
    if (body->version >= 4) {
        for (uint32_t count = fuzz_put_count(body); count > 0; count--) {
            fuzz_put_group(body);
        }
    }
    fuzz_put_tags(body);
}

static void (*const fuzz_makers[FUZZ_REQUESTS])(struct fuzz_body *body) = {
    [FUZZ_JOIN] = fuzz_join,
    [FUZZ_SYNC] = fuzz_sync,
    [FUZZ_HEARTBEAT] = fuzz_heartbeat,
    [FUZZ_LEAVE] = fuzz_leave,
    [FUZZ_COMMIT] = fuzz_commit,
    [FUZZ_FETCH] = fuzz_fetch,
    [FUZZ_DESCRIBE] = fuzz_describe,
    [FUZZ_LIST] = fuzz_list,
    [FUZZ_DELETE] = fuzz_delete,
    [FUZZ_OFFSET_DELETE] = fuzz_offset_delete,
    [FUZZ_COORDINATOR] = fuzz_coordinator,
};

void fuzz_ids_begin(bool topic)
{
    fuzz_drawn = fuzz_from = 0;
    fuzz_topic = topic;
}

void fuzz_ids_next(void)
{
    fuzz_from = fuzz_drawn;
}

const struct kafka_api *fuzz_request_api(enum fuzz_request which)
{
    return fuzz_kafka_api(fuzz_keys[which]);
}

uint32_t fuzz_request_make(enum fuzz_request which, int16_t version, struct bytes_reader *in,
                           uint8_t *room)
{
    struct fuzz_body body = {.in = in, .version = version};
    body.out = (struct kafka_writer){.data = room, .size = FUZZ_BODY_BYTES_MAX};
    body.out.flexible = version >= fuzz_request_api(which)->flexible_from;
    fuzz_makers[which](&body);
    if (which == FUZZ_JOIN) {
        fuzz_drawn += fuzz_topic ? 1 : 2;
        fuzz_topic = true;
    }
    return (uint32_t)body.out.position;
}
