/* Frames, dispatch, and answers. */
#include "net/resp/resp.h"

#include "core/assert.h"
#include "core/log.h"
#include "net/resp/multi.h"
#include "net/resp/text.h"
#include "net/server.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- Frames. --- */

enum scan_word {
    SCAN_SEARCHED, /* And the arguments in the upper half. */
    SCAN_ARRAY,    /* And the fault, and what was got. */
    SCAN_RUN,      /* The commands of a run, and the bytes of its head in the upper half. */
};

static struct resp_scan scan_load(const struct protocol_scan *from)
{
    uint64_t flags = from->words[SCAN_ARRAY];
    return (struct resp_scan){
        .position = from->position,
        .searched = (uint32_t)from->words[SCAN_SEARCHED],
        .arguments = (uint32_t)(from->words[SCAN_SEARCHED] >> 32),
        .array = (flags & 1) != 0,
        .fault = (enum resp_fault)(flags >> 8 & 0xff),
        .got = (uint8_t)(flags >> 16),
    };
}

static void scan_store(const struct resp_scan *scan, struct protocol_scan *to)
{
    to->position = scan->position;
    to->wanted = scan->position;
    to->words[SCAN_SEARCHED] = (uint64_t)scan->arguments << 32 | scan->searched;
    to->words[SCAN_ARRAY] =
        (scan->array ? 1U : 0U) | (uint64_t)scan->fault << 8 | (uint64_t)scan->got << 16;
}

/* Behind the command of `first` bytes come others that go with it: how long they are with it. */
static int64_t frame_join(const struct conn *conn, struct bytes input, uint32_t first,
                          struct protocol_scan *state)
{
    struct resp_run run;
    state->words[SCAN_RUN] =
        0; /* It may be measured twice, and the topic be another one by then. */
    if (multi_is_open(conn->session) || !resp_run_begin(input, first, &run)) {
        return first;
    }
    uint32_t size = resp_run_measure(input, first, resp_run_bytes(conn->net, run.key), &run);
    if (run.commands > 1) {
        state->words[SCAN_RUN] = (uint64_t)run.head_bytes << 32 | run.commands;
    }
    return size;
}

/* What is malformed is a frame all the same: it is answered, and the last one. */
static int64_t resp_frame(const struct conn *conn, struct bytes input, struct protocol_scan *state)
{
    struct resp_scan scan = scan_load(state);
    if (scan.fault != RESP_SOUND) {
        return input.size;
    }
    int64_t size = resp_scan(&scan, input);
    scan_store(&scan, state);
    if (size > 0 && size < input.size) {
        return frame_join(conn, input, (uint32_t)size, state);
    }
    return size < 0 ? input.size : size;
}

/* --- Sessions. --- */

static void resp_open(struct conn *conn)
{
    struct resp_client *client = conn->session;
    struct net *net = conn->net;
    client->id = net->resp.clients++ * net->options.core_count + net->options.core_index + 1;
    client->protocol = 2;
    client->opened_ns = net->reactor->now_ns;
}

static void resp_close(struct conn *conn)
{
    multi_forget(conn->net, conn->session);
}

/* --- Answers. --- */

void resp_send(struct resp_op *op)
{
    resp_count_end(op);
    if (op->counted_exclusive) {
        ASSERT(op->client->exclusive > 0);
        op->client->exclusive--;
        op->counted_exclusive = false;
    }
    if (op->exec != NULL) {
        exec_answered(op);
        return;
    }
    if (op->silent) {
        op->call->vector_count = 0;
    }
    call_reply(op->call);
}

static void resp_answer_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    struct resp_op *op = call->state;
    resp_answer(op, op->encode);
}

static void encode_error(struct resp_op *op, struct resp_writer *writer)
{
    for (uint32_t i = op->unanswered; i < op->commands; i++) {
        resp_write_error(writer, op->error);
    }
}

void resp_answer(struct resp_op *op, resp_encode_fn *encode)
{
    struct call *call = op->call;
    struct resp_writer counted = {.protocol = op->protocol};
    uint8_t *data;
    op->encode = encode;
    encode(op, &counted);
    enum err err = counted.position > UINT32_MAX ? ERR_TOO_LARGE
                                                 : call_reply_room(call, counted.position, &data);
    if (err == ERR_NO_MEMORY) {
        call_await_memory(call, resp_answer_again);
        return;
    }
    if (err != OK) {
        ASSERT(encode != encode_error);
        resp_fail(op, "ERR the reply is larger than a block of memory; ask for less of it");
        return;
    }
    struct resp_writer writer = {.data = data, .size = counted.position, .protocol = op->protocol};
    encode(op, &writer);
    ASSERT(writer.position == writer.size);
    call->vector_one = (struct iovec){.iov_base = data, .iov_len = (size_t)writer.size};
    call->vectors = &call->vector_one;
    call->vector_count = 1;
    resp_send(op);
}

static void encode_ok(struct resp_op *op, struct resp_writer *writer)
{
    (void)op;
    resp_write_simple(writer, "OK");
}

static void encode_integer(struct resp_op *op, struct resp_writer *writer)
{
    resp_write_integer(writer, op->integer);
}

static void encode_text(struct resp_op *op, struct resp_writer *writer)
{
    resp_write_text(writer, op->text);
}

static void encode_null(struct resp_op *op, struct resp_writer *writer)
{
    for (uint32_t i = op->unanswered; i < op->commands; i++) {
        resp_write_null(writer);
    }
}

static void encode_null_array(struct resp_op *op, struct resp_writer *writer)
{
    (void)op;
    resp_write_null_array(writer);
}

void resp_answer_ok(struct resp_op *op)
{
    resp_answer(op, encode_ok);
}

void resp_answer_integer(struct resp_op *op, int64_t value)
{
    op->integer = value;
    resp_answer(op, encode_integer);
}

void resp_answer_text(struct resp_op *op, const char *text)
{
    op->text = text;
    resp_answer(op, encode_text);
}

void resp_answer_null(struct resp_op *op)
{
    resp_answer(op, encode_null);
}

void resp_answer_null_array(struct resp_op *op)
{
    resp_answer(op, encode_null_array);
}

static void fail_now(struct resp_op *op)
{
    op->failed = true;
    resp_count_error(&op->net->resp.stats, op->error, op->commands);
    resp_answer(op, encode_error);
}

void resp_fail(struct resp_op *op, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    (void)vsnprintf(op->error, sizeof(op->error), format, list);
    va_end(list);
    fail_now(op);
}

void resp_explain(struct resp_op *op, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    (void)vsnprintf(op->error, sizeof(op->error), format, list);
    va_end(list);
}

void resp_fail_told(struct resp_op *op)
{
    ASSERT(op->error[0] != 0);
    fail_now(op);
}

/* A prefix after which clients try again stands only where nothing was changed. */
void resp_explain_err(struct resp_op *op, enum err err)
{
    bool writes = (op->command->flags & RESP_WRITE) != 0;
    const char *text = err_text(err);
    if (err == ERR_NOT_READY) {
        resp_explain(op, "LOADING the log is being read, retry");
    } else if (err == ERR_STOPPING) {
        resp_explain(op, "LOADING %s", text);
    } else if (err == ERR_NOT_LEADER || err == ERR_NO_MEMORY || err == ERR_BUSY) {
        resp_explain(op, "TRYAGAIN %s", text);
    } else if (err == ERR_NO_SPACE) {
        resp_explain(op, "MISCONF %s", text);
    } else if (writes && (err == ERR_STORAGE || err == ERR_IO || err == ERR_TIMEOUT)) {
        resp_explain(op, "ERR outcome unknown, %s: read before you send it again", text);
    } else if (err == ERR_BATCH_TOO_LARGE || err == ERR_TOO_LARGE) {
        resp_explain(op, "ERR the entry is larger than max.message.bytes of its topic; raise it: "
                         "floe topic alter TOPIC --config max.message.bytes=N");
    } else {
        resp_explain(op, "ERR %s", text);
    }
}

void resp_fail_err(struct resp_op *op, enum err err)
{
    resp_explain_err(op, err);
    fail_now(op);
}

void resp_fail_syntax(struct resp_op *op)
{
    resp_fail(op, "ERR syntax error");
}

void resp_fail_integer(struct resp_op *op)
{
    resp_fail(op, "ERR value is not an integer or out of range");
}

void resp_fail_arity(struct resp_op *op)
{
    resp_fail(op, "ERR wrong number of arguments for '%s' command", op->command->name);
}

void resp_fail_subcommand_arity(struct resp_op *op)
{
    char name[RESP_NAME_BYTES];
    resp_copy_word(name, op->arguments[1]);
    resp_fail(op, "ERR wrong number of arguments for '%s|%s' command", op->command->name, name);
}

void resp_fail_subcommand(struct resp_op *op)
{
    char name[RESP_NAME_BYTES];
    char upper[RESP_NAME_BYTES];
    resp_copy_word(name, op->arguments[1]);
    resp_copy_word(upper, bytes_text(op->command->name));
    for (char *at = upper; *at != 0; at++) {
        *at = (char)(*at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at);
    }
    resp_fail(op, "ERR unknown subcommand '%.*s'. Try %s HELP.", (int)op->arguments[1].size,
              op->arguments[1].size == 0 ? "" : (const char *)op->arguments[1].data, upper);
}

bool resp_argument_is(const struct resp_op *op, uint32_t index, const char *word)
{
    return index < op->count && resp_is(op->arguments[index], word);
}

void resp_copy_word(char *to, struct bytes from)
{
    uint32_t size = min_u32(from.size, RESP_NAME_BYTES - 1);
    if (size > 0) {
        memcpy(to, from.data, size);
    }
    to[size] = 0;
}

/* --- Dispatch. --- */

static void fail_unknown(struct resp_op *op)
{
    char arguments[128];
    uint32_t at = 0;
    arguments[0] = 0;
    if (resp_refusal(op->arguments[0], op->error)) {
        fail_now(op);
        return;
    }
    for (uint32_t i = 1; i < op->count && at < sizeof(arguments) - 1; i++) {
        struct bytes argument = op->arguments[i];
        int size = snprintf(arguments + at, sizeof(arguments) - at, "'%.*s' ",
                            (int)min_u32(argument.size, 40),
                            argument.size == 0 ? "" : (const char *)argument.data);
        at += min_u32((uint32_t)size, (uint32_t)(sizeof(arguments) - at));
    }
    struct bytes name = op->arguments[0];
    resp_fail(op, "ERR unknown command '%.*s', with args beginning with: %s",
              (int)min_u32(name.size, 64), name.size == 0 ? "" : (const char *)name.data,
              arguments);
}

void resp_run(struct resp_op *op)
{
    op->net->resp.stats.commands += op->commands;
    resp_count_begin(op);
    op->command->start(op);
}

static void op_begin(struct resp_op *op)
{
    const struct resp_command *command = op->command;
    struct resp_client *client = op->client;
    client->commands += op->commands;
    stats_add(&op->net->reactor->stats, STAT_REQUESTS, op->commands - 1);
    op->silent = client->silent;
    if (client->skip > 0) {
        client->skip--;
        op->unanswered = op->commands > 1 ? 1 : 0;
        op->silent = op->silent || op->commands == 1;
    }
    resp_copy_word(client->last, op->arguments[0]);
    if (command == NULL) {
        multi_spoil(op);
        fail_unknown(op);
        return;
    }
    bool few = command->arity >= 0 ? op->count != (uint32_t)command->arity
                                   : op->count < (uint32_t)-command->arity;
    if (few) {
        multi_spoil(op);
        resp_count_rejected(op);
        resp_fail_arity(op);
    } else if (op->call->late && (command->flags & RESP_STALE) == 0) {
        multi_spoil(op);
        resp_count_rejected(op);
        resp_fail_err(op, ERR_STOPPING);
    } else if (multi_queues(client, command)) {
        multi_queue(op);
    } else {
        resp_run(op);
    }
}

/* Whether the command may begin while others of its connection are under way. */
static bool op_may_begin(struct resp_op *op)
{
    const struct resp_command *command = op->command;
    if (command == NULL || (command->flags & RESP_DATA) == 0 || multi_queues(op->client, command)) {
        return true;
    }
    bool beside =
        op->client->exclusive == 0 && (command->flags & RESP_APPEND) != 0 && resp_add_is_plain(op);
    if (!beside && op->call->conn->first != op->call) {
        return false;
    }
    if (!beside) {
        op->client->exclusive++;
        op->counted_exclusive = true;
    }
    return true;
}

/* The first word of a line, as it stands there; null if it has quotes. */
static struct bytes inline_name(struct bytes frame)
{
    uint32_t from = 0;
    while (from < frame.size && frame.data[from] <= ' ') {
        from++;
    }
    uint32_t end = from;
    while (end < frame.size && frame.data[end] > ' ') {
        if (frame.data[end] == '"' || frame.data[end] == '\'') {
            return (struct bytes){0};
        }
        end++;
    }
    return bytes_of(frame.data + from, end - from);
}

/* Of a command's state; of a line whose name is in quotes, whatever it may be. */
static uint64_t op_state_bytes(struct bytes frame, uint32_t count,
                               const struct resp_command *command)
{
    struct bytes name = {0};
    if (frame.data[0] != '*') {
        name = inline_name(frame);
        command = name.data == NULL ? NULL : resp_find_command(name);
    }
    if (frame.data[0] == '*' || name.data != NULL) {
        return command == NULL ? 0 : resp_state_bytes(command, count);
    }
    uint32_t commands;
    const struct resp_command *all = resp_commands(&commands);
    uint64_t state = 0;
    for (uint32_t i = 0; i < commands; i++) {
        state = max_u64(state, resp_state_bytes(&all[i], count));
    }
    return state;
}

/* The memory that so many commands want; `command` is an array's, that of a line is looked for. */
static uint64_t op_bytes(struct bytes frame, uint32_t count, const struct resp_command *command,
                         uint32_t commands)
{
    uint64_t size = sizeof(struct resp_op) + count * sizeof(struct bytes);
    bool is_inline = frame.data[0] != '*';
    uint64_t state = op_state_bytes(frame, count, command);
    bool adds = is_inline || (command != NULL && (command->flags & RESP_APPEND) != 0);
    size += adds ? resp_add_room(frame, count, commands) : 0;
    return size + state + (is_inline ? frame.size : 0) + 128;
}

/* The command of an array, whose name can be seen before anything is taken apart. */
static const struct resp_command *op_command(struct bytes frame)
{
    struct bytes name;
    return frame.data[0] == '*' && resp_first_argument(frame, &name) ? resp_find_command(name)
                                                                     : NULL;
}

static enum err resp_refuse(struct call *call, enum resp_fault fault, uint8_t got)
{
    char text[RESP_ERROR_BYTES];
    uint8_t *data;
    enum err err = call_reply_room(call, RESP_ERROR_BYTES + 16, &data);
    if (err != OK) {
        return err;
    }
    resp_fault_text(fault, got, text);
    int size = snprintf((char *)data, RESP_ERROR_BYTES + 16, "-ERR %s\r\n", text);
    call->last = true;
    resp_count_error(&call->net->resp.stats, (const char *)data + 1, 1);
    stats_add(&call->net->reactor->stats, STAT_REQUESTS_REFUSED, 1);
    call_reply_bytes(call, data, (uint32_t)size);
    return OK;
}

/* A web page that makes a browser send this believes it speaks HTTP. */
static bool is_cross_protocol(struct bytes name)
{
    return resp_is(name, "POST") || resp_is(name, "Host:");
}

enum err resp_take_apart(struct call *call, struct resp_op **taken)
{
    struct bytes frame = call->frame;
    struct resp_client *client = call->conn->session;
    uint32_t count_max = resp_arguments_max(frame);
    const struct resp_command *command = op_command(frame);
    bool queued = command != NULL && multi_queues(client, command);
    uint32_t commands = max_u32((uint32_t)call->scan.words[SCAN_RUN], 1);
    enum err err = call_arena(call, op_bytes(frame, count_max, queued ? NULL : command, commands));
    if (err != OK) {
        return err;
    }
    struct resp_op *op = call_take(call, sizeof(*op));
    struct bytes *arguments = call_take(call, count_max * sizeof(struct bytes));
    uint8_t *text = frame.data[0] == '*' ? NULL : call_take(call, frame.size);
    int64_t count = resp_split(frame, arguments, text);
    *taken = NULL;
    if (count < 0) {
        return OK;
    }
    ASSERT(count > 0 && count <= count_max);
    *op = (struct resp_op){
        .call = call,
        .net = call->net,
        .client = client,
        .command = frame.data[0] == '*' ? command : resp_find_command(arguments[0]),
        .arguments = arguments,
        .count = (uint32_t)count,
        .commands = commands,
        .run_head = (uint32_t)(call->scan.words[SCAN_RUN] >> 32),
        .protocol = client->protocol,
    };
    queued = op->command != NULL && multi_queues(client, op->command);
    if (op->command != NULL && !queued) {
        uint64_t size = resp_state_bytes(op->command, op->count);
        bool append = (op->command->flags & RESP_APPEND) != 0;
        op->state = call_take_part(call, size, append ? RESP_ADD_ZEROED_BYTES : size);
    }
    call->state = op;
    *taken = op;
    return OK;
}

static enum err resp_start(struct call *call)
{
    struct resp_scan scan = scan_load(&call->scan);
    struct resp_op *op;
    if (scan.fault != RESP_SOUND) {
        return resp_refuse(call, scan.fault, scan.got);
    }
    if (resp_arguments_max(call->frame) == 0) { /* An empty line. */
        call_reply(call);
        return OK;
    }
    enum err err = resp_take_apart(call, &op);
    if (err != OK) {
        return err;
    }
    if (op == NULL) {
        return resp_refuse(call, RESP_FAULT_QUOTES, 0);
    }
    if (is_cross_protocol(op->arguments[0])) {
        return ERR_INVALID;
    }
    if (!op_may_begin(op)) {
        call->state = NULL;
        return ERR_BUSY;
    }
    op_begin(op);
    return OK;
}

static void resp_cancel(struct call *call)
{
    struct resp_op *op = call->state;
    if (op != NULL && op->cancel != NULL) {
        op->cancel(op);
    }
}

void resp_over(struct resp_op *op)
{
    if (op->exec != NULL) {
        exec_over(op);
        return;
    }
    call_done(op->call);
}

static void resp_sent(struct call *call)
{
    struct resp_op *op = call->state;
    if (op != NULL && op->sent != NULL) {
        op->sent(op);
        return;
    }
    call_done(call);
}

/* The words after which clients try again. */
static const char resp_too_many[] = "-ERR max number of clients reached\r\n";

const struct protocol protocol_resp = {
    .name = "resp",
    .refusal = resp_too_many,
    .refusal_bytes = sizeof(resp_too_many) - 1,
    .session_bytes = sizeof(struct resp_client),
    .open = resp_open,
    .close = resp_close,
    .frame = resp_frame,
    .start = resp_start,
    .cancel = resp_cancel,
    .sent = resp_sent,
};
