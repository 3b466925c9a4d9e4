/* Commands about keys: what there is, and its end. */
#include "core/assert.h"
#include "net/resp/key.h"
#include "net/resp/resp.h"
#include "net/resp/text.h"

#include <stdio.h>
#include <string.h>

enum { SCAN_COUNT_MAX = 100000 };

void resp_dbsize(struct resp_op *op)
{
    struct resp_keys keys = {0};
    int64_t count = 0;
    while (resp_keys_next(resp_map(op), &keys)) {
        count++;
    }
    resp_answer_integer(op, count);
}

void resp_exists(struct resp_op *op)
{
    int64_t count = 0;
    for (uint32_t i = 1; i < op->count; i++) {
        struct partition_id id;
        count += resp_find_key(op, op->arguments[i], &id) == OK ? 1 : 0;
    }
    resp_answer_integer(op, count);
}

static void encode_type(struct resp_op *op, struct resp_writer *writer)
{
    resp_write_simple(writer, op->text);
}

void resp_type(struct resp_op *op)
{
    struct partition_id id;
    enum err err = resp_find_key(op, op->arguments[1], &id);
    op->text = err == OK ? "stream" : "none";
    resp_answer(op, encode_type);
}

/* TTL, PTTL: a stream has none of its own. */
void resp_ttl(struct resp_op *op)
{
    struct partition_id id;
    resp_answer_integer(op, resp_find_key(op, op->arguments[1], &id) == OK ? -1 : -2);
}

/* --- KEYS, SCAN. --- */

static void encode_keys(struct resp_op *op, struct resp_writer *writer)
{
    const struct map *map = resp_map(op);
    uint64_t count = 0;
    struct resp_keys keys = {0};
    while (resp_keys_next(map, &keys)) {
        count += resp_matches(op->arguments[1], keys.key) ? 1 : 0;
    }
    resp_write_array(writer, count);
    keys = (struct resp_keys){0};
    while (resp_keys_next(map, &keys)) {
        if (resp_matches(op->arguments[1], keys.key)) {
            resp_write_bulk(writer, keys.key);
        }
    }
}

void resp_keys_command(struct resp_op *op)
{
    resp_answer(op, encode_keys);
}

struct scan_state {
    uint32_t topic;
    uint64_t count;
    struct bytes match;
    bool streams;
};

/* A cursor is the place in the list of topics: one made or deleted meanwhile may let another be
 * missed or come twice. */
static bool scan_parse(struct resp_op *op, struct scan_state *scan)
{
    uint64_t cursor;
    *scan = (struct scan_state){.count = RESP_SCAN_COUNT, .streams = true};
    if (!resp_parse_u64(op->arguments[1], &cursor)) {
        resp_fail(op, "ERR invalid cursor");
        return false;
    }
    scan->topic = (uint32_t)min_u64(cursor, UINT32_MAX);
    for (uint32_t i = 2; i < op->count; i += 2) {
        bool more = i + 1 < op->count;
        if (more && resp_argument_is(op, i, "MATCH")) {
            scan->match = op->arguments[i + 1];
        } else if (more && resp_argument_is(op, i, "COUNT")) {
            if (!resp_parse_u64(op->arguments[i + 1], &scan->count)) {
                resp_fail_integer(op);
                return false;
            }
        } else if (more && resp_argument_is(op, i, "TYPE")) {
            scan->streams = resp_argument_is(op, i + 1, "stream");
        } else {
            resp_fail_syntax(op);
            return false;
        }
    }
    if (scan->count == 0) {
        resp_fail_syntax(op);
        return false;
    }
    scan->count = min_u64(scan->count, SCAN_COUNT_MAX);
    return true;
}

/* Goes through `count` topics; how many keys match, which are written if `writes`. */
static uint64_t scan_topics(struct resp_op *op, struct resp_writer *writer, bool writes,
                            uint32_t *end)
{
    const struct scan_state *scan = op->state;
    const struct map *map = resp_map(op);
    uint64_t last = min_u64((uint64_t)scan->topic + scan->count, map_topic_count(map));
    struct resp_keys keys = {.topic = scan->topic};
    uint64_t found = 0;
    while (keys.topic < last && resp_keys_next(map, &keys) && keys.topic < last) {
        if (scan->streams && (scan->match.data == NULL || resp_matches(scan->match, keys.key))) {
            found++;
            if (writes) {
                resp_write_bulk(writer, keys.key);
            }
        }
    }
    *end = last == map_topic_count(map) ? 0 : (uint32_t)last;
    return found;
}

static void encode_scan(struct resp_op *op, struct resp_writer *writer)
{
    uint32_t end;
    char text[16];
    uint64_t found = scan_topics(op, writer, false, &end);
    (void)snprintf(text, sizeof(text), "%u", end);
    resp_write_array(writer, 2);
    resp_write_text(writer, text);
    resp_write_array(writer, found);
    (void)scan_topics(op, writer, true, &end);
}

void resp_scan_command(struct resp_op *op)
{
    struct scan_state *scan = op->state;
    if (scan_parse(op, scan)) {
        resp_answer(op, encode_scan);
    }
}

/* --- DEL, UNLINK, FLUSHALL, FLUSHDB. --- */

struct del_state {
    struct resp_proposal proposal;
    uint32_t next;
};

_Static_assert(sizeof(struct del_state) <= RESP_CHANGE_BYTES, "the command table's");
_Static_assert(sizeof(struct scan_state) <= RESP_SMALL_BYTES, "the command table's");

static void del_next(struct resp_op *op);

static void del_done(struct resp_op *op, enum err err)
{
    struct del_state *del = op->state;
    if (err != OK && err != ERR_TOPIC_ID_UNKNOWN) {
        resp_fail_err(op, err);
        return;
    }
    op->integer += err == OK ? 1 : 0;
    del->next++;
    del_next(op);
}

/* A key that is one of several partitions is not deleted alone. */
static bool del_is_whole(struct resp_op *op, const struct partition_id *id)
{
    const struct map_topic *topic = map_topic_by_id(resp_map(op), &id->topic);
    if (topic == NULL || topic->partition_count == 1) {
        return true;
    }
    resp_fail(op, "ERR a partition cannot be deleted; empty it: XTRIM %s/%u MAXLEN 0", topic->name,
              id->partition);
    return false;
}

static void del_next(struct resp_op *op)
{
    struct del_state *del = op->state;
    for (; del->next < op->count; del->next++) {
        struct partition_id id;
        enum err err = resp_find_key(op, op->arguments[del->next], &id);
        if (err == ERR_INVALID) {
            resp_fail_told(op);
            return;
        }
        if (err == OK) {
            if (del_is_whole(op, &id)) {
                resp_delete(op, &id.topic, del_done);
            }
            return;
        }
    }
    resp_answer_integer(op, op->integer);
}

void resp_del(struct resp_op *op)
{
    struct del_state *del = op->state;
    if (!op->net->options.resp_allow_delete) {
        resp_fail(op,
                  "ERR deleting topics is not allowed; set resp.allow.delete=true, or: floe topic "
                  "delete");
        return;
    }
    op->proposal = &del->proposal;
    del->next = 1;
    del_next(op);
}

static void flush_next(struct resp_op *op);

static void flush_done(struct resp_op *op, enum err err)
{
    if (err != OK && err != ERR_TOPIC_ID_UNKNOWN) {
        resp_fail_err(op, err);
        return;
    }
    flush_next(op);
}

/* All topics that are anybody's keys go. */
static void flush_next(struct resp_op *op)
{
    const struct map *map = resp_map(op);
    for (uint32_t i = 0; i < map_topic_count(map); i++) {
        uint8_t room[RESP_KEY_BYTES];
        struct bytes key;
        const struct map_topic *topic = map_topic_at(map, i);
        if (resp_name_key(bytes_text(topic->name), room, &key)) {
            struct topic_id id = topic->id;
            resp_delete(op, &id, flush_done);
            return;
        }
    }
    resp_answer_ok(op);
}

void resp_flush(struct resp_op *op)
{
    struct del_state *del = op->state;
    bool sound =
        op->count == 1 ||
        (op->count == 2 && (resp_argument_is(op, 1, "SYNC") || resp_argument_is(op, 1, "ASYNC")));
    if (!sound) {
        resp_fail_syntax(op);
        return;
    }
    if (!op->net->options.resp_allow_flush) {
        resp_fail(op,
                  "ERR %s is not allowed: it would delete every topic; set resp.allow.flush=true",
                  op->command->name);
        return;
    }
    op->proposal = &del->proposal;
    flush_next(op);
}
