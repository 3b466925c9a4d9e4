/* EXEC: runs the commands of a transaction, one after the other, and collects their replies.
 *
 *     RESERVE room for the least that can be answered -> (LOOK at the watched key) -> STEP:
 *         an XADD like others behind it -> one batch for all of them -> an ID for each
 *             refused for its size -> batches that the topic takes
 *             refused otherwise, or again -> one by one
 *         another -> a call of its own, within this one -> its reply is copied
 *     -> STEP ... no more: an array
 *
 * Until something was appended, such XADDs to a watched key are a batch even one by one: it goes
 * only where the log ends as WATCH has seen it. */
#include "core/assert.h"
#include "core/cover.h"
#include "net/conn.h"
#include "net/resp/exec_reply.h"
#include "net/resp/fields.h"
#include "net/resp/multi.h"
#include "net/server.h"

enum {
    EXEC_RUN_MAX = 4096,          /* XADDs in a batch. */
    EXEC_RUN_BYTES_MAX = 1 << 20, /* Of memory to make it in. */
    EXEC_MEMORY_PART = 8,         /* All EXECs of a core: its memory by this. */
    EXEC_STATE_BYTES = 16 << 10,  /* No EXEC's own memory is more. */
};

#define EXEC_TOO_LARGE "ERR the command is too large"

/* XADDs on their way as one batch. */
struct exec_run {
    struct block *block;
    uint32_t count, arguments_max; /* Commands, and arguments of the longest one. */
    uint64_t bytes;                /* Of all of them. */
    struct block *chunk;           /* Where the first one is. */
    uint32_t at;
};

struct exec_state {
    struct resp_op *op;
    struct resp_transaction *transaction;
    struct block *chunk;     /* Where the next command is. */
    uint32_t at, left;       /* So many are left, it included. */
    uint32_t alone;          /* So many XADDs are not joined. */
    uint32_t batch_max;      /* What the topic takes in a batch, */
    bool batch_told;         /* which is known when it has refused one. */
    struct bytes frame;      /* Of the one that runs, */
    struct call call;        /* its call, */
    struct resp_op *running; /* and that. */
    struct exec_run run;
    struct exec_reply reply;
    struct request request;
    struct stream_facts facts;
    bool watched; /* Nothing was appended yet, and the topic must be as WATCH has seen it. */
    struct completion pass;
    struct resp_proposal proposal; /* Not zeroed at first. */
};

_Static_assert(sizeof(struct exec_state) <= RESP_EXEC_BYTES, "the command table's");

static void exec_step(struct resp_op *op);
static void exec_changed(struct resp_op *op);

static struct resp_op *exec_waiter_op(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    return CONTAINER_OF(waiter, struct call, waiter)->state;
}

/* --- The reply. --- */

/* One command's; state->left are behind it. */
static void exec_reply(struct exec_state *state, const struct iovec *vectors, uint32_t count)
{
    exec_reply_add(&state->reply, state->op->net->reactor->memory, vectors, count, state->left);
}

static void exec_sent(struct resp_op *op)
{
    struct exec_state *state = op->state;
    ASSERT(op->net->resp.execs > 0);
    op->net->resp.execs--;
    exec_reply_close(&state->reply);
    call_done(op->call);
}

static void exec_finish(struct resp_op *op)
{
    struct exec_state *state = op->state;
    multi_free(op->net, state->transaction);
    state->transaction = NULL;
    op->call->vectors = state->reply.pieces;
    op->call->vector_count = state->reply.piece_count;
    resp_send(op);
}

/* --- One command. --- */

static void exec_pass(struct completion *completion)
{
    exec_step(CONTAINER_OF(completion, struct exec_state, pass)->op);
}

/* There are thousands of them: not on one stack. */
static void exec_go_on(struct exec_state *state)
{
    completion_init(&state->pass, exec_pass);
    completion_fire(state->op->net->reactor, &state->pass, OK);
}

void exec_answered(struct resp_op *op)
{
    struct exec_state *state = op->exec->state;
    ASSERT(state->running == op);
    exec_reply(state, op->call->vectors, op->call->vector_count);
    if (op->sent != NULL) {
        op->sent(op);
    } else {
        exec_over(op);
    }
}

void exec_over(struct resp_op *op)
{
    struct exec_state *state = op->exec->state;
    struct block *blocks[] = {state->call.arena, state->call.reply_block};
    state->running = NULL;
    for (uint32_t i = 0; i < ARRAY_COUNT(blocks); i++) {
        if (blocks[i] != NULL) {
            block_unref(blocks[i]);
        }
    }
    exec_go_on(state);
}

static void exec_run_one(struct exec_state *state);

static void exec_run_again(struct completion *completion)
{
    exec_run_one(exec_waiter_op(completion)->state);
}

static void exec_run_one(struct exec_state *state)
{
    struct resp_op *op = state->op;
    struct resp_op *one = NULL;
    state->call = (struct call){
        .conn = op->call->conn, .net = op->net, .frame = state->frame, .started = true};
    enum err err = resp_take_apart(&state->call, &one);
    if (err == ERR_NO_MEMORY) {
        op->call->memory_wanted = state->call.memory_wanted;
        call_await_memory(op->call, exec_run_again);
        return;
    }
    if (err != OK) { /* It is as large as a block, with what it needs to run. */
        static const char words[] = "-" EXEC_TOO_LARGE "\r\n";
        struct iovec vector = {.iov_base = (void *)(uintptr_t)words, .iov_len = sizeof(words) - 1};
        exec_reply(state, &vector, 1);
        exec_go_on(state);
        return;
    }
    ASSERT(one != NULL && one->command != NULL);
    one->exec = op;
    one->protocol = op->protocol;
    state->running = one;
    resp_run(one);
}

/* --- XADDs that are one batch. --- */

/* What they are made a batch in: the arguments of one and their headers, then the batch. */
static uint64_t run_block_bytes(const struct exec_run *run)
{
    return run->arguments_max * sizeof(struct bytes) +
           run->arguments_max / 2 * sizeof(struct record_header) +
           resp_run_room(run->bytes, run->count);
}

/* Those from here on: how many, and what is needed for them. Of a watched key always the first. */
static void run_measure(struct exec_state *state)
{
    struct exec_run *run = &state->run;
    struct block *chunk = state->chunk;
    uint32_t at = state->at;
    struct multi_command command;
    struct bytes frame;
    uint32_t count_max = state->alone > 0 ? 1 : EXEC_RUN_MAX;
    uint64_t bytes_max =
        min_u64(EXEC_RUN_BYTES_MAX, memory_block_max(state->op->net->reactor->memory) / 2);
    *run = (struct exec_run){.chunk = state->chunk, .at = state->at};
    while (run->count < count_max && multi_next(&chunk, &at, &command, &frame) &&
           command.plain > 0) {
        struct exec_run longer = *run;
        longer.count++;
        longer.arguments_max = max_u32(run->arguments_max, command.plain);
        longer.bytes += command.size;
        bool fits =
            run_block_bytes(&longer) <= bytes_max &&
            (!state->batch_told || resp_run_room(longer.bytes, longer.count) <= state->batch_max);
        if (!fits && (run->count > 0 || !state->watched)) {
            return;
        }
        *run = longer;
        state->chunk = chunk;
        state->at = at;
    }
}

static void run_close(struct exec_run *run)
{
    if (run->block != NULL) {
        block_unref(run->block);
        run->block = NULL;
    }
}

/* `failed`: all of them with op->error. */
static void run_reply(struct exec_state *state, bool failed)
{
    struct exec_run *run = &state->run;
    struct resp_op *op = state->op;
    uint8_t text[RESP_ERROR_BYTES + 8];
    for (uint32_t i = 0; i < run->count; i++) {
        struct resp_writer writer = {.data = text, .size = sizeof(text), .protocol = op->protocol};
        struct stream_id id = state->request.produce.id;
        id.seq += i;
        if (failed) {
            resp_write_error(&writer, op->error);
        } else {
            resp_write_id(&writer, id);
        }
        struct iovec vector = {.iov_base = text, .iov_len = (size_t)writer.position};
        state->left--;
        exec_reply(state, &vector, 1);
    }
    resp_count_run(op, "xadd", run->count, failed);
    if (failed) {
        resp_count_error(&op->net->resp.stats, op->error, run->count);
    }
    run_close(run);
    exec_go_on(state);
}

static void run_answer(struct exec_state *state, enum err err)
{
    if (err != OK) {
        resp_explain_append(state->op, err);
    }
    run_reply(state, err != OK);
}

/* They are refused together, and nothing was appended. */
static void run_part(struct exec_state *state, enum err err)
{
    struct exec_run *run = &state->run;
    const struct resp_transaction *transaction = state->transaction;
    if (err == ERR_BATCH_TOO_LARGE && !state->batch_told) {
        COVER("exec's batch is larger than its topic takes");
        state->batch_told = true;
        state->batch_max =
            resp_run_bytes(state->op->net, bytes_of(transaction->key, transaction->key_size));
    } else {
        COVER("exec sends its entries one by one");
        state->alone = run->count;
    }
    state->chunk = run->chunk;
    state->at = run->at;
    run_close(run);
    exec_go_on(state);
}

static void run_appended(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct exec_state *state = CONTAINER_OF(request, struct exec_state, request);
    struct exec_run *run = &state->run;
    enum err err = (enum err)completion->result;
    if (err == ERR_OFFSET_RANGE && state->watched) {
        COVER("somebody appends between exec's look and its first batch");
        run_close(run);
        exec_changed(state->op);
        return;
    }
    /* Where the outcome is unknown, the log has ended as it must. */
    bool begun = err == OK || err == ERR_STORAGE || err == ERR_IO || err == ERR_TIMEOUT;
    state->watched = state->watched && !begun;
    /* One of them, or all together: the others shall not be refused for its sake. */
    bool refused = err == ERR_BATCH_TOO_LARGE || err == ERR_TOO_LARGE || err == ERR_BATCH_KEY;
    if (refused && run->count > 1) {
        run_part(state, err);
    } else {
        run_answer(state, err);
    }
}

/* The batch of all of them, in run->block. */
static struct bytes run_encode(const struct exec_state *state)
{
    const struct exec_run *run = &state->run;
    struct bytes *arguments = (struct bytes *)(void *)run->block->data;
    struct record_header *headers =
        (struct record_header *)(void *)(arguments + run->arguments_max);
    uint8_t *room = (uint8_t *)(headers + run->arguments_max / 2);
    struct block *chunk = run->chunk;
    uint32_t at = run->at;
    struct record_batch batch;
    char order[FIELDS_ORDER_BYTES];
    record_batch_begin(&batch, room, (uint32_t)resp_run_room(run->bytes, run->count));
    for (uint32_t i = 0; i < run->count; i++) {
        struct multi_command command;
        struct bytes frame;
        bool there = multi_next(&chunk, &at, &command, &frame);
        ASSERT(there && command.plain > 0);
        int64_t count = resp_split(frame, arguments, NULL);
        ASSERT(count == command.plain);
        struct record_input record = {.timestamp = (int64_t)state->op->net->reactor->now_ms};
        fields_encode(arguments + 3, (command.plain - 3) / 2, &record, headers, order);
        bool added = record_batch_add(&batch, &record);
        ASSERT(added);
    }
    return record_batch_end(&batch);
}

static void run_begin(struct exec_state *state);

static void run_again(struct completion *completion)
{
    run_begin(exec_waiter_op(completion)->state);
}

static void run_begin(struct exec_state *state)
{
    struct exec_run *run = &state->run;
    struct call *call = state->op->call;
    struct memory *memory = state->op->net->reactor->memory;
    uint64_t size = run_block_bytes(run);
    if (size > memory_block_max(memory)) {
        COVER("exec's first entry is larger than a block, and its key is watched");
        resp_explain(state->op, EXEC_TOO_LARGE);
        run_reply(state, true);
        return;
    }
    run->block = block_acquire(memory, call_memory_class(size), (uint32_t)size);
    if (run->block == NULL) {
        call->memory_wanted = (uint32_t)size;
        call_await_memory(call, run_again);
        return;
    }
    state->request.produce = (struct request_produce){
        .batch = run_encode(state),
        .made_here = true,
        .id_kind = PRODUCE_ID_AUTO,
        .end_known = state->watched,
        .end = state->transaction->watch.high_watermark,
    };
    resp_submit(state->op, &state->request, REQUEST_PRODUCE, run_appended);
}

static void run_find(struct resp_op *op);

static void run_made(struct resp_op *op, enum err err)
{
    if (err == OK) {
        run_find(op);
    } else {
        run_answer(op->state, err);
    }
}

static void run_find(struct resp_op *op)
{
    struct exec_state *state = op->state;
    const struct resp_transaction *transaction = state->transaction;
    struct bytes key = bytes_of(transaction->key, transaction->key_size);
    op->error[0] = 0;
    enum err err = resp_find_key(op, key, &state->request.partition);
    if (err == ERR_TOPIC_UNKNOWN) {
        state->proposal = (struct resp_proposal){.op = op};
        op->proposal = &state->proposal;
        err = resp_create(op, key, 1, false, run_made);
        if (err == OK) {
            return;
        }
    }
    if (err != OK) { /* It is said why. */
        run_reply(state, true);
        return;
    }
    run_begin(state);
}

/* --- Steps. --- */

static void exec_step(struct resp_op *op)
{
    struct exec_state *state = op->state;
    struct multi_command command;
    bool cut = op->net->stopping && op->call->conn->state == CONN_DEAD;
    if (state->left == 0 || cut) { /* The drain is over: nobody waits for the rest. */
        exec_finish(op);
        return;
    }
    run_measure(state);
    state->alone -= min_u32(state->alone, 1);
    if (state->run.count > (state->watched ? 0 : 1)) {
        run_find(op);
        return;
    }
    state->chunk = state->run.chunk;
    state->at = state->run.at;
    bool there = multi_next(&state->chunk, &state->at, &command, &state->frame);
    ASSERT(there);
    state->left--;
    state->watched = false;
    exec_run_one(state);
}

static void exec_begin(struct resp_op *op)
{
    struct exec_state *state = op->state;
    exec_reply_begin(&state->reply, state->left, op->protocol);
    exec_step(op);
}

/* The key is not as it was. */
static void exec_changed(struct resp_op *op)
{
    struct exec_state *state = op->state;
    multi_free(op->net, state->transaction);
    state->transaction = NULL;
    resp_answer_null_array(op);
}

static void exec_looked(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct exec_state *state = CONTAINER_OF(request, struct exec_state, request);
    const struct multi_watch *watch = &state->transaction->watch;
    const struct request_identify *now = &request->identify;
    if (completion->result < 0 && completion->result != ERR_TOPIC_UNKNOWN) {
        multi_free(state->op->net, state->transaction);
        state->transaction = NULL;
        resp_fail_err(state->op, (enum err)completion->result);
        return;
    }
    const struct stream_facts *facts = &state->facts;
    bool same = completion->result == OK && now->log_start == watch->log_start &&
                now->high_watermark == watch->high_watermark &&
                stream_id_compare(now->last, watch->last) == 0 &&
                facts->deleted == watch->facts.deleted &&
                facts->entries_added == watch->facts.entries_added;
    if (same) {
        exec_begin(state->op);
    } else {
        exec_changed(state->op);
    }
}

static void exec_look(struct resp_op *op)
{
    struct exec_state *state = op->state;
    const struct resp_transaction *transaction = state->transaction;
    const struct multi_watch *watch = &transaction->watch;
    struct partition_id *id = &state->request.partition;
    state->watched = watch->set;
    if (!watch->set) {
        exec_begin(op);
        return;
    }
    enum err err = resp_find_key(op, bytes_of(transaction->key, transaction->key_size), id);
    bool known = err == OK;
    if (known != watch->known || (known && !topic_id_equal(&id->topic, &watch->partition.topic))) {
        exec_changed(op);
    } else if (!known) {
        exec_begin(op);
    } else {
        state->request.identify =
            (struct request_identify){.ends_only = true, .facts = &state->facts};
        resp_submit(op, &state->request, REQUEST_IDENTIFY, exec_looked);
    }
}

/* An EXEC keeps what it has while its commands wait for memory: all of them together have half of
 * what either pool gives, or they might wait for each other for ever. */
static uint64_t exec_bytes_max(const struct net *net)
{
    struct memory_stats stats;
    memory_stats(net->reactor->memory, &stats);
    return stats.limit_bytes / EXEC_MEMORY_PART;
}

static bool exec_may_begin(const struct net *net, uint32_t commands)
{
    uint64_t bytes_max = exec_bytes_max(net);
    uint64_t bytes = net->resp.exec_bytes + exec_reply_reserve_bytes(commands);
    return bytes <= bytes_max && net->resp.execs < bytes_max / EXEC_STATE_BYTES;
}

static void exec_reserve(struct resp_op *op);

static void exec_reserve_again(struct completion *completion)
{
    exec_reserve(exec_waiter_op(completion));
}

static void exec_reserve(struct resp_op *op)
{
    struct exec_state *state = op->state;
    uint32_t size = exec_reply_open(&state->reply, op->net->reactor->memory, state->left);
    if (size > 0) {
        op->call->memory_wanted = size;
        call_await_memory(op->call, exec_reserve_again);
        return;
    }
    exec_reply_share(&state->reply, &op->net->resp.exec_bytes, exec_bytes_max(op->net));
    exec_look(op);
}

/* Nobody waits for the answer any more: what was begun is done all the same. */
static void exec_cancel(struct resp_op *op)
{
    struct exec_state *state = op->state;
    if (state->running != NULL && state->running->cancel != NULL) {
        state->running->cancel(state->running);
    }
}

void resp_exec(struct resp_op *op)
{
    struct exec_state *state = op->state;
    struct resp_client *client = op->client;
    struct resp_transaction *transaction = client->transaction;
    if (!multi_is_open(client)) {
        resp_fail(op, "ERR EXEC without MULTI");
        return;
    }
    bool refused = client->multi_refused || client->watch_refused;
    if (refused || transaction->spoiled || transaction->differs) {
        bool spoiled = refused || transaction->spoiled;
        multi_forget(op->net, client);
        if (spoiled) {
            resp_fail(op, "EXECABORT Transaction discarded because of previous errors.");
        } else {
            resp_fail(op, MULTI_SHARDS, "EXEC");
        }
        return;
    }
    if (!exec_may_begin(op->net, transaction->commands)) {
        COVER("too many transactions are under way");
        multi_forget(op->net, client);
        resp_fail(op, "TRYAGAIN too many transactions are under way, none of this one was done");
        return;
    }
    client->transaction = NULL;
    op->net->resp.execs++;
    state->op = op;
    state->transaction = transaction;
    state->chunk = transaction->block;
    state->at = sizeof(*transaction);
    state->left = transaction->commands;
    op->cancel = exec_cancel;
    op->sent = exec_sent;
    exec_reserve(op);
}
