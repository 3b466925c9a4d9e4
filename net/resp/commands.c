/* The table of commands, what COMMAND tells of it, and what is said of commands that are none. */
#include "core/assert.h"
#include "net/resp/resp.h"
#include "net/resp/text.h"

#include <stdio.h>
#include <string.h>

enum {
    R = RESP_READONLY | RESP_DATA,
    W = RESP_WRITE | RESP_DATA,
    F = RESP_FAST,
    C = RESP_FAST | RESP_STALE, /* Of the connection. */
    A = RESP_ADMIN | RESP_STALE,
    T = RESP_FAST | RESP_STALE | RESP_DATA, /* Of transactions. */
};

#define SMALL  RESP_SMALL_BYTES
#define TEXT   RESP_LINE_BYTES
#define CHANGE RESP_CHANGE_BYTES

/* Name, start, state and more of it for each argument, arity, flags, first key, the step to
 * the next, and the last one. */
static const struct resp_command command_table[] = {
    {"auth", resp_auth, 0, 0, -2, C, 0, 0, 0, "connection", "1.0.0",
     "Refused: there are no users."},
    {"client", resp_client_command, TEXT, 0, -2, C, 0, 0, 0, "connection", "2.4.0",
     "Tells of this connection, and sets its name and its replies."},
    {"command", resp_command, 0, 0, -1, C, 0, 0, 0, "server", "2.8.13",
     "Tells what commands there are."},
    {"config", resp_config, RESP_ROUND_BYTES, 0, -2, A, 0, 0, 0, "server", "2.0.0",
     "Tells the few settings that tools of Redis look for."},
    {"dbsize", resp_dbsize, 0, 0, 1, R | F, 0, 0, 0, "server", "1.0.0", "Counts the keys."},
    {"del", resp_del, CHANGE, 0, -2, W, 1, 1, -1, "generic", "1.0.0", "Deletes topics."},
    {"discard", resp_discard, 0, 0, 1, T, 0, 0, 0, "transactions", "2.0.0",
     "Forgets the commands since MULTI."},
    {"echo", resp_echo, 0, 0, 2, C, 0, 0, 0, "connection", "1.0.0", "Returns its argument."},
    {"exec", resp_exec, RESP_EXEC_BYTES, 0, 1, W, 0, 0, 0, "transactions", "1.2.0",
     "Runs the commands since MULTI, all about one topic."},
    {"exists", resp_exists, 0, 0, -2, R | F, 1, 1, -1, "generic", "1.0.0",
     "Counts those of the keys that exist."},
    {"flushall", resp_flush, CHANGE, 0, -1, W, 0, 0, 0, "server", "1.0.0", "Deletes every topic."},
    {"flushdb", resp_flush, CHANGE, 0, -1, W, 0, 0, 0, "server", "1.0.0", "Deletes every topic."},
    {"function", resp_function, 0, 0, -2, A, 0, 0, 0, "scripting", "7.0.0",
     "FUNCTION FLUSH: there are none, so all are gone."},
    {"get", resp_get, RESP_GET_BYTES, 0, 2, W, 1, 1, 1, "walrus", "1.0.0",
     "The next record of a topic, for the group __walrus."},
    {"hello", resp_hello, 0, 0, -1, C, 0, 0, 0, "connection", "6.0.0",
     "Chooses RESP2 or RESP3, and says who serves."},
    {"info", resp_info, RESP_INFO_BYTES, 0, -1, C, 0, 0, 0, "server", "1.0.0",
     "Tells of the server."},
    {"keys", resp_keys_command, 0, 0, 2, R, 0, 0, 0, "generic", "1.0.0",
     "The keys that match a pattern."},
    {"metrics", resp_metrics, 0, 0, 1, C, 0, 0, 0, "walrus", "1.0.0",
     "The counters of the core of this connection."},
    {"multi", resp_multi, 0, 0, 1, T, 0, 0, 0, "transactions", "1.2.0",
     "Puts the commands behind it aside, for EXEC."},
    {"ping", resp_ping, 0, 0, -1, C, 0, 0, 0, "connection", "1.0.0", "Answers PONG."},
    {"pttl", resp_ttl, 0, 0, 2, R | F, 1, 1, 1, "generic", "2.6.0",
     "-1: retention is the topic's, not the key's."},
    {"put", resp_put, RESP_ADD_BYTES, 0, 3, W | RESP_APPEND, 1, 1, 1, "walrus", "1.0.0",
     "Appends a record to a topic; its offset."},
    {"quit", resp_quit, 0, 0, -1, C, 0, 0, 0, "connection", "1.0.0", "Closes the connection."},
    {"register", resp_register, CHANGE, 0, -2, W, 1, 1, 1, "walrus", "1.0.0",
     "Makes a topic, if it is not there: REGISTER topic [PARTITIONS n]."},
    {"reset", resp_reset, 0, 0, 1, T, 0, 0, 0, "connection", "6.2.0",
     "Makes the connection as it was at first."},
    {"scan", resp_scan_command, SMALL, 0, -2, R, 0, 0, 0, "generic", "2.8.0",
     "Goes through the keys."},
    {"select", resp_select, 0, 0, 2, C, 0, 0, 0, "connection", "1.0.0",
     "Chooses the database: there is one, 0."},
    {"state", resp_state, 0, 0, 2, R, 1, 1, 1, "walrus", "1.0.0",
     "Tells of a topic, its segments and leaders."},
    {"time", resp_time, 0, 0, 1, C, 0, 0, 0, "server", "2.6.0", "The server's clock."},
    {"ttl", resp_ttl, 0, 0, 2, R | F, 1, 1, 1, "generic", "1.0.0",
     "-1: retention is the topic's, not the key's."},
    {"type", resp_type, 0, 0, 2, R | F, 1, 1, 1, "generic", "1.0.0", "stream or none."},
    {"unlink", resp_del, CHANGE, 0, -2, W, 1, 1, -1, "generic", "4.0.0", "Deletes topics."},
    {"unwatch", resp_unwatch, 0, 0, 1, T, 0, 0, 0, "transactions", "2.2.0",
     "Forgets what WATCH was told."},
    {"watch", resp_watch, RESP_WATCH_BYTES, 0, -2, T, 1, 1, -1, "transactions", "2.2.0",
     "EXEC does nothing if the topic has changed meanwhile."},
    {"xack", resp_xack, RESP_GROUP_BYTES, 0, -4, W | F, 1, 1, 1, "stream", "5.0.0",
     "Acknowledges entries: they are pending no longer."},
    {"xadd", resp_xadd, RESP_ADD_BYTES, 0, -5, W | F | RESP_APPEND | RESP_DENYOOM, 1, 1, 1,
     "stream", "5.0.0", "Appends an entry to a stream."},
    {"xautoclaim", resp_xautoclaim, RESP_CLAIM_BYTES, 0, -6, W | F, 1, 1, 1, "stream", "6.2.0",
     "Takes over entries that were pending for too long."},
    {"xclaim", resp_xclaim, RESP_CLAIM_BYTES, 0, -6, W | F, 1, 1, 1, "stream", "5.0.0",
     "Takes over pending entries."},
    {"xdel", resp_xdel, RESP_DELETE_BYTES, 0, -3, W | F, 1, 1, 1, "stream", "5.0.0",
     "Deletes single entries of a stream."},
    {"xgroup", resp_xgroup, RESP_GROUP_BYTES, 0, -2, W, 2, 1, 2, "stream", "5.0.0",
     "Makes, changes and destroys groups of readers."},
    {"xinfo", resp_xinfo, RESP_CLAIM_BYTES, 0, -2, R, 2, 1, 2, "stream", "5.0.0",
     "Tells of a stream, its groups, and their consumers."},
    {"xlen", resp_xlen, RESP_ADD_BYTES, 0, 2, R | F, 1, 1, 1, "stream", "5.0.0",
     "Counts the entries of a stream."},
    {"xpending", resp_xpending, RESP_GROUP_BYTES, 0, -3, R, 1, 1, 1, "stream", "5.0.0",
     "What was delivered to a group and not acknowledged."},
    {"xrange", resp_xrange, RESP_READ_BYTES, RESP_READ_KEY_BYTES, -4, R, 1, 1, 1, "stream", "5.0.0",
     "The entries of a stream between two IDs."},
    {"xread", resp_xread, RESP_READ_BYTES, RESP_READ_KEY_BYTES, -4, R | RESP_BLOCKING, 0, 0, 0,
     "stream", "5.0.0", "The entries of streams behind IDs, or waits for one."},
    {"xreadgroup", resp_xreadgroup, RESP_READER_BYTES, RESP_READER_KEY_BYTES, -7, W | RESP_BLOCKING,
     0, 0, 0, "stream", "5.0.0",
     "New entries of streams for one consumer of a group, or those that it has not acknowledged."},
    {"xrevrange", resp_xrange, RESP_READ_BYTES, RESP_READ_KEY_BYTES, -4, R, 1, 1, 1, "stream",
     "5.0.0", "The entries of a stream between two IDs, newest first."},
    {"xsetid", resp_xsetid, RESP_DELETE_BYTES, 0, -3, W | F, 1, 1, 1, "stream", "5.0.0",
     "Sets the last ID of a stream, which never goes back."},
    {"xtrim", resp_xtrim, RESP_ADD_BYTES, 0, -4, W, 1, 1, 1, "stream", "5.0.0",
     "Lets the oldest entries of a stream go."},
};

const struct resp_command *resp_commands(uint32_t *count)
{
    *count = ARRAY_COUNT(command_table);
    return command_table;
}

/* < 0, 0, > 0: as the name, in lower case, comes before the word, is it, comes behind it. */
static int name_compare(struct bytes name, const char *word)
{
    for (uint32_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        c = c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
        if (c != (uint8_t)word[i] || word[i] == 0) {
            return c < (uint8_t)word[i] ? -1 : 1;
        }
    }
    return word[name.size] == 0 ? 0 : -1;
}

const struct resp_command *resp_find_command(struct bytes name)
{
    uint32_t from = 0;
    uint32_t end = ARRAY_COUNT(command_table);
    while (from < end) {
        uint32_t middle = (from + end) / 2;
        int order = name_compare(name, command_table[middle].name);
        if (order == 0) {
            return &command_table[middle];
        }
        from = order > 0 ? middle + 1 : from;
        end = order < 0 ? middle : end;
    }
    return NULL;
}

uint64_t resp_state_bytes(const struct resp_command *command, uint32_t count)
{
    uint32_t others = command->arity < 0 ? (uint32_t)-command->arity - 2 : 0;
    return command->state_bytes +
           (uint64_t)command->argument_bytes * (count > others ? count - others : 0);
}

/* Its keys stand behind STREAMS. */
static bool is_movable(const struct resp_command *command)
{
    return command->start == resp_xread || command->start == resp_xreadgroup;
}

bool resp_next_key(const struct resp_command *command, const struct bytes *arguments,
                   uint32_t count, uint32_t *at, uint32_t *index)
{
    if (is_movable(command)) {
        uint32_t streams = 1;
        while (streams < count && !resp_is(arguments[streams], "STREAMS")) {
            streams++;
        }
        uint32_t keys = streams < count ? (count - streams - 1) / 2 : 0;
        *index = streams + 1 + *at;
        return (*at)++ < keys;
    }
    if (command->key_first == 0) {
        return false;
    }
    uint32_t last = command->key_last < 0 ? count - 1 : (uint32_t)command->key_last;
    *index = command->key_first + *at * (uint32_t)command->key_step;
    (*at)++;
    return *index <= last && *index < count;
}

/* --- COMMAND. --- */

static const struct {
    uint16_t flag;
    const char *name;
} flag_names[] = {
    {RESP_WRITE, "write"},       {RESP_READONLY, "readonly"}, {RESP_FAST, "fast"},
    {RESP_BLOCKING, "blocking"}, {RESP_ADMIN, "admin"},       {RESP_STALE, "stale"},
    {RESP_DENYOOM, "denyoom"},
};

static void write_info(struct resp_writer *writer, const struct resp_command *command)
{
    bool movable = is_movable(command);
    uint32_t flags = movable ? 1 : 0;
    for (uint32_t i = 0; i < ARRAY_COUNT(flag_names); i++) {
        flags += (command->flags & flag_names[i].flag) != 0 ? 1 : 0;
    }
    resp_write_array(writer, 10);
    resp_write_text(writer, command->name);
    resp_write_integer(writer, command->arity);
    resp_write_set(writer, flags);
    for (uint32_t i = 0; i < ARRAY_COUNT(flag_names); i++) {
        if ((command->flags & flag_names[i].flag) != 0) {
            resp_write_simple(writer, flag_names[i].name);
        }
    }
    if (movable) {
        resp_write_simple(writer, "movablekeys");
    }
    resp_write_integer(writer, command->key_first);
    resp_write_integer(writer, command->key_last);
    resp_write_integer(writer, command->key_step);
    resp_write_set(writer, 0);   /* Categories of access control, */
    resp_write_array(writer, 0); /* tips, */
    resp_write_array(writer, 0); /* how keys are found, */
    resp_write_array(writer, 0); /* and subcommands are not told. */
}

static void encode_all(struct resp_op *op, struct resp_writer *writer)
{
    (void)op;
    resp_write_array(writer, ARRAY_COUNT(command_table));
    for (uint32_t i = 0; i < ARRAY_COUNT(command_table); i++) {
        write_info(writer, &command_table[i]);
    }
}

static void encode_some(struct resp_op *op, struct resp_writer *writer)
{
    resp_write_array(writer, op->count - 2);
    for (uint32_t i = 2; i < op->count; i++) {
        const struct resp_command *command = resp_find_command(op->arguments[i]);
        if (command == NULL) {
            resp_write_null_array(writer);
        } else {
            write_info(writer, command);
        }
    }
}

static void encode_list(struct resp_op *op, struct resp_writer *writer)
{
    (void)op;
    resp_write_array(writer, ARRAY_COUNT(command_table));
    for (uint32_t i = 0; i < ARRAY_COUNT(command_table); i++) {
        resp_write_text(writer, command_table[i].name);
    }
}

static void write_docs(struct resp_writer *writer, const struct resp_command *command)
{
    resp_write_text(writer, command->name);
    resp_write_map(writer, 3);
    resp_write_text(writer, "summary");
    resp_write_text(writer, command->summary);
    resp_write_text(writer, "since");
    resp_write_text(writer, command->since);
    resp_write_text(writer, "group");
    resp_write_text(writer, command->group);
}

static bool docs_wanted(const struct resp_op *op, const struct resp_command *command)
{
    for (uint32_t i = 2; i < op->count; i++) {
        if (resp_is(op->arguments[i], command->name)) {
            return true;
        }
    }
    return op->count == 2;
}

static void encode_docs(struct resp_op *op, struct resp_writer *writer)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ARRAY_COUNT(command_table); i++) {
        count += docs_wanted(op, &command_table[i]) ? 1 : 0;
    }
    resp_write_map(writer, count);
    for (uint32_t i = 0; i < ARRAY_COUNT(command_table); i++) {
        if (docs_wanted(op, &command_table[i])) {
            write_docs(writer, &command_table[i]);
        }
    }
}

static void encode_get_keys(struct resp_op *op, struct resp_writer *writer)
{
    const struct resp_command *command = resp_find_command(op->arguments[2]);
    uint32_t at = 0;
    uint32_t index;
    uint64_t keys = 0;
    while (resp_next_key(command, op->arguments + 2, op->count - 2, &at, &index)) {
        keys++;
    }
    resp_write_array(writer, keys);
    at = 0;
    while (resp_next_key(command, op->arguments + 2, op->count - 2, &at, &index)) {
        resp_write_bulk(writer, op->arguments[2 + index]);
    }
}

static void command_get_keys(struct resp_op *op)
{
    const struct resp_command *command = resp_find_command(op->arguments[2]);
    uint32_t count = op->count - 2;
    uint32_t at = 0;
    uint32_t index;
    if (command == NULL) {
        resp_fail(op, "ERR Invalid command specified");
        return;
    }
    bool arity = command->arity >= 0 ? count == (uint32_t)command->arity
                                     : count >= (uint32_t)-command->arity;
    if (!arity) {
        resp_fail(op, "ERR Invalid number of arguments specified for command");
    } else if (!resp_next_key(command, op->arguments + 2, count, &at, &index)) {
        resp_fail(op, "ERR The command has no key arguments");
    } else {
        resp_answer(op, encode_get_keys);
    }
}

void resp_command(struct resp_op *op)
{
    if (op->count == 1 || (op->count == 2 && resp_argument_is(op, 1, "INFO"))) {
        resp_answer(op, encode_all);
    } else if (resp_argument_is(op, 1, "INFO")) {
        resp_answer(op, encode_some);
    } else if (resp_argument_is(op, 1, "DOCS")) {
        resp_answer(op, encode_docs);
    } else if (resp_argument_is(op, 1, "COUNT") && op->count == 2) {
        resp_answer_integer(op, ARRAY_COUNT(command_table));
    } else if (resp_argument_is(op, 1, "LIST") && op->count == 2) {
        resp_answer(op, encode_list);
    } else if (resp_argument_is(op, 1, "GETKEYS") && op->count > 2) {
        command_get_keys(op);
    } else {
        resp_fail_subcommand(op);
    }
}

/* --- What there is not. --- */

static const struct {
    const char *names; /* A blank before and behind each. */
    const char *text;  /* %s: the command. */
} refusals[] = {
    {" SET SETEX SETNX PSETEX GETSET GETDEL GETEX MGET MSET MSETNX APPEND INCR INCRBY INCRBYFLOAT "
     "DECR DECRBY STRLEN SETRANGE GETRANGE SUBSTR GETBIT SETBIT BITCOUNT BITOP BITPOS BITFIELD LCS "
     "LPUSH RPUSH LPUSHX RPUSHX LPOP RPOP LLEN LINDEX LINSERT LRANGE LREM LSET LTRIM LMOVE LMPOP "
     "RPOPLPUSH BLPOP BRPOP BLMOVE BLMPOP BRPOPLPUSH LPOS SADD SREM SCARD SDIFF SINTER SUNION "
     "SISMEMBER SMEMBERS SMOVE SPOP SRANDMEMBER SSCAN HSET HGET HDEL HGETALL HEXISTS HINCRBY HKEYS "
     "HLEN HMGET HMSET HSETNX HVALS HSCAN ZADD ZREM ZCARD ZRANGE ZSCORE ZRANK ZINCRBY ZPOPMIN "
     "ZPOPMAX BZPOPMIN BZPOPMAX ZCOUNT ZSCAN GEOADD GEOSEARCH PFADD PFCOUNT PFMERGE ",
     "ERR '%s' is not supported: floe stores streams only, use XADD"},
    {" EXPIRE PEXPIRE EXPIREAT PEXPIREAT PERSIST ",
     "ERR '%s' is not supported: use topic retention: floe topic alter TOPIC --config "
     "retention.ms=N"},
    {" RENAME RENAMENX COPY MOVE ",
     "ERR a topic cannot be renamed or copied; read it and write to another one"},
    {" SUBSCRIBE PSUBSCRIBE SSUBSCRIBE PUBLISH SPUBLISH UNSUBSCRIBE PUNSUBSCRIBE PUBSUB ",
     "ERR '%s' is not supported: use XREAD BLOCK 0 STREAMS topic $"},
    {" EVAL EVALSHA EVAL_RO EVALSHA_RO FCALL FCALL_RO SCRIPT ", "ERR scripting is not supported"},
    {" CLUSTER READONLY READWRITE ASKING ", "ERR This instance has cluster support disabled"},
    {" REPLICAOF SLAVEOF PSYNC SYNC REPLCONF FAILOVER DUMP RESTORE MIGRATE SORT SORT_RO SWAPDB "
     "DEBUG "
     "MONITOR BGSAVE SAVE BGREWRITEAOF SHUTDOWN ACL MODULE ",
     "ERR '%s' is not supported by floe"},
};

bool resp_refusal(struct bytes name, char *text)
{
    char wanted[RESP_NAME_BYTES + 2];
    if (name.size == 0 || name.size >= RESP_NAME_BYTES) {
        return false;
    }
    wanted[0] = ' ';
    for (uint32_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (c <= ' ') {
            return false;
        }
        wanted[i + 1] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
    wanted[name.size + 1] = ' ';
    wanted[name.size + 2] = 0;
    for (uint32_t i = 0; i < ARRAY_COUNT(refusals); i++) {
        if (strstr(refusals[i].names, wanted) == NULL) {
            continue;
        }
        wanted[name.size + 1] = 0;
        const char *mark = strstr(refusals[i].text, "%s");
        int head = mark == NULL ? (int)strlen(refusals[i].text) : (int)(mark - refusals[i].text);
        (void)snprintf(text, RESP_ERROR_BYTES, "%.*s%s%s", head, refusals[i].text,
                       mark == NULL ? "" : wanted + 1, mark == NULL ? "" : mark + 2);
        return true;
    }
    return false;
}
