/* Putting commands aside, and looking at what a transaction wants unchanged: MULTI, DISCARD, WATCH,
 * UNWATCH. What EXEC does is in exec.c. */
#include "net/resp/multi.h"

#include "core/assert.h"
#include "core/cover.h"
#include "net/resp/text.h"
#include "net/server.h"

#include <string.h>

enum {
    MULTI_CHUNK_BYTES_MIN = 4 << 10,
    MULTI_CHUNK_BYTES_MAX = 256 << 10,
    MULTI_ALIGN = 8,
};

static struct multi_chunk *chunk_of(struct block *block)
{
    return (struct multi_chunk *)(void *)block->data;
}

/* --- Memory. --- */

/* NULL: there is none, or transactions have as much as they may. */
static struct block *multi_block(struct net *net, uint32_t size)
{
    struct memory_stats stats;
    memory_stats(net->reactor->memory, &stats);
    if (net->resp.queued_bytes + size > stats.limit_bytes / MULTI_MEMORY_PART) {
        return NULL;
    }
    struct block *block = block_acquire(net->reactor->memory, MEMORY_RECEIVE, size);
    if (block != NULL) {
        /* Blocks come in sizes of their own, but what was not asked for is nobody's. */
        net->resp.queued_bytes += block->size;
        *chunk_of(block) = (struct multi_chunk){.used = sizeof(struct multi_chunk), .size = size};
    }
    return block;
}

static void multi_block_free(struct net *net, struct block *block)
{
    ASSERT(net->resp.queued_bytes >= block->size);
    net->resp.queued_bytes -= block->size;
    block_unref(block);
}

/* All blocks but the first. */
static void multi_drop(struct net *net, struct resp_transaction *transaction)
{
    struct block *block = transaction->chunk.next;
    while (block != NULL) {
        struct block *next = chunk_of(block)->next;
        multi_block_free(net, block);
        block = next;
    }
    transaction->chunk.next = NULL;
    transaction->chunk.used = sizeof(struct resp_transaction);
    transaction->last = transaction->block;
    transaction->bytes = transaction->chunk.size;
    transaction->commands = 0;
}

void multi_free(struct net *net, struct resp_transaction *transaction)
{
    multi_drop(net, transaction);
    multi_block_free(net, transaction->block);
}

void multi_forget(struct net *net, struct resp_client *client)
{
    client->multi_refused = false;
    client->watch_refused = false;
    if (client->transaction != NULL) {
        multi_free(net, client->transaction);
        client->transaction = NULL;
    }
}

/* The connection's, made if there is none; NULL: no memory. */
static struct resp_transaction *multi_open(struct resp_op *op)
{
    struct resp_client *client = op->client;
    if (client->transaction != NULL) {
        return client->transaction;
    }
    struct block *block = multi_block(op->net, MULTI_CHUNK_BYTES_MIN);
    if (block == NULL) {
        return NULL;
    }
    struct resp_transaction *transaction = (struct resp_transaction *)(void *)block->data;
    *transaction = (struct resp_transaction){
        .chunk = {.used = sizeof(*transaction), .size = MULTI_CHUNK_BYTES_MIN},
        .block = block,
        .last = block,
        .bytes = MULTI_CHUNK_BYTES_MIN,
    };
    client->transaction = transaction;
    return transaction;
}

static void multi_fail_memory(struct resp_op *op)
{
    resp_fail(op, "TRYAGAIN there is no memory for more commands of transactions");
}

/* --- Commands put aside. --- */

bool multi_is_open(const struct resp_client *client)
{
    return client->multi_refused || (client->transaction != NULL && client->transaction->open);
}

bool multi_queues(const struct resp_client *client, const struct resp_command *command)
{
    static resp_start_fn *const at_once[] = {resp_multi, resp_exec, resp_discard,
                                             resp_watch, resp_quit, resp_reset};
    if (!multi_is_open(client)) {
        return false;
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(at_once); i++) {
        if (command->start == at_once[i]) {
            return false;
        }
    }
    return true;
}

int multi_count(const struct resp_client *client)
{
    bool none = client->transaction == NULL; /* MULTI was refused. */
    return !multi_is_open(client) ? -1 : none ? 0 : (int)client->transaction->commands;
}

void multi_spoil(struct resp_op *op)
{
    struct resp_transaction *transaction = op->client->transaction;
    if (transaction != NULL && transaction->open) {
        transaction->spoiled = true;
        multi_drop(op->net, transaction);
    }
}

static bool multi_key_is(struct resp_transaction *transaction, struct bytes key)
{
    if (transaction->key_size == 0) {
        transaction->key_size = min_u32(key.size, RESP_KEY_BYTES);
        if (key.size > 0) {
            memcpy(transaction->key, key.data, transaction->key_size);
        }
    }
    return bytes_equal(bytes_of(transaction->key, transaction->key_size), key);
}

static void multi_note_keys(struct resp_op *op)
{
    uint32_t at = 0;
    uint32_t index;
    while (resp_next_key(op->command, op->arguments, op->count, &at, &index)) {
        if (!multi_key_is(op->client->transaction, op->arguments[index])) {
            op->client->transaction->differs = true;
        }
    }
}

/* Room for `size` bytes more, in a block of their own if it must be. NULL: there is none. */
static uint8_t *multi_room(struct resp_op *op, uint64_t size)
{
    struct resp_transaction *transaction = op->client->transaction;
    struct multi_chunk *chunk = chunk_of(transaction->last);
    if (chunk->size - chunk->used < size) {
        uint64_t bytes = min_u64(chunk->size * 4ULL, MULTI_CHUNK_BYTES_MAX);
        bytes = max_u64(bytes, align_up(size + sizeof(*chunk), BLOCK_SIZE_MIN));
        if (transaction->bytes + bytes > MULTI_BYTES_MAX ||
            bytes > memory_block_max(op->net->reactor->memory)) {
            resp_fail(op, "ERR a transaction has at most %d commands and %d MiB",
                      MULTI_COMMANDS_MAX, MULTI_BYTES_MAX >> 20);
            return NULL;
        }
        struct block *block = multi_block(op->net, (uint32_t)bytes);
        if (block == NULL) {
            multi_fail_memory(op);
            return NULL;
        }
        chunk->next = block;
        transaction->last = block;
        transaction->bytes += bytes;
        chunk = chunk_of(block);
    }
    uint8_t *at = transaction->last->data + chunk->used;
    chunk->used += (uint32_t)size;
    return at;
}

static uint32_t plain_arguments(const struct resp_op *op)
{
    bool plain = op->command->start == resp_xadd && op->count >= 5 && op->count % 2 == 1 &&
                 op->call->frame.data[0] == '*' && bytes_equal(op->arguments[2], bytes_text("*"));
    return plain ? op->count : 0;
}

static void encode_queued(struct resp_op *op, struct resp_writer *writer)
{
    (void)op;
    resp_write_simple(writer, "QUEUED");
}

void multi_queue(struct resp_op *op)
{
    struct resp_transaction *transaction = op->client->transaction;
    struct bytes frame = op->call->frame;
    uint64_t size = align_up(sizeof(struct multi_command) + frame.size, MULTI_ALIGN);
    ASSERT(op->commands == 1); /* Each is told that it was put aside. */
    if (op->client->multi_refused || transaction->spoiled) { /* Nothing of it will run. */
        resp_answer(op, encode_queued);
        return;
    }
    uint32_t commands_max =
        min_u32(MULTI_COMMANDS_MAX, memory_block_max(op->net->reactor->memory) / 128);
    if (transaction->commands == commands_max) {
        multi_spoil(op);
        resp_fail(op, "ERR a transaction has at most %u commands and %d MiB", commands_max,
                  MULTI_BYTES_MAX >> 20);
        return;
    }
    uint8_t *at = multi_room(op, size);
    if (at == NULL) {
        multi_spoil(op);
        return;
    }
    struct multi_command command = {.size = frame.size, .plain = plain_arguments(op)};
    memcpy(at, &command, sizeof(command));
    memcpy(at + sizeof(command), frame.data, frame.size);
    transaction->commands++;
    multi_note_keys(op);
    resp_answer(op, encode_queued);
}

bool multi_next(struct block **chunk, uint32_t *at, struct multi_command *command,
                struct bytes *frame)
{
    while (*chunk != NULL && *at == chunk_of(*chunk)->used) {
        *chunk = chunk_of(*chunk)->next;
        *at = sizeof(struct multi_chunk);
    }
    if (*chunk == NULL) {
        return false;
    }
    memcpy(command, (*chunk)->data + *at, sizeof(*command));
    *frame = bytes_of((*chunk)->data + *at + sizeof(*command), command->size);
    *at += (uint32_t)align_up(sizeof(*command) + command->size, MULTI_ALIGN);
    return true;
}

/* --- MULTI, DISCARD. --- */

void resp_multi(struct resp_op *op)
{
    if (multi_is_open(op->client)) {
        resp_fail(op, "ERR MULTI calls can not be nested");
        return;
    }
    struct resp_transaction *transaction = multi_open(op);
    if (transaction == NULL) {
        COVER("there is no memory for a transaction");
        op->client->multi_refused = true;
        multi_fail_memory(op);
    } else {
        transaction->open = true;
        resp_answer_ok(op);
    }
}

void resp_discard(struct resp_op *op)
{
    if (!multi_is_open(op->client)) {
        resp_fail(op, "ERR DISCARD without MULTI");
        return;
    }
    multi_forget(op->net, op->client);
    resp_answer_ok(op);
}

/* --- WATCH. --- */

struct watch_state {
    struct resp_op *op;
    struct request request;
    struct stream_facts facts;
};

_Static_assert(sizeof(struct watch_state) <= RESP_WATCH_BYTES, "the command table's");

/* EXEC would go on unguarded. */
static void watch_refuse(struct resp_op *op)
{
    multi_forget(op->net, op->client);
    op->client->watch_refused = true;
}

static void watch_looked(struct completion *completion)
{
    struct request *request = CONTAINER_OF(completion, struct request, done);
    struct watch_state *state = CONTAINER_OF(request, struct watch_state, request);
    struct resp_op *op = state->op;
    struct multi_watch *watch = &op->client->transaction->watch;
    if (completion->result < 0 && completion->result != ERR_TOPIC_UNKNOWN) {
        watch_refuse(op);
        resp_fail_err(op, (enum err)completion->result);
        return;
    }
    *watch = (struct multi_watch){
        .set = true,
        .known = completion->result == OK,
        .partition = request->partition,
        .last = request->identify.last,
        .facts = state->facts,
        .log_start = request->identify.log_start,
        .high_watermark = request->identify.high_watermark,
    };
    resp_answer_ok(op);
}

void resp_watch(struct resp_op *op)
{
    struct watch_state *state = op->state;
    if (multi_is_open(op->client)) {
        resp_fail(op, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    struct resp_transaction *transaction = multi_open(op);
    if (transaction == NULL) {
        watch_refuse(op);
        multi_fail_memory(op);
        return;
    }
    for (uint32_t i = 1; i < op->count; i++) {
        if (!multi_key_is(transaction, op->arguments[i])) {
            watch_refuse(op);
            resp_fail(op, MULTI_SHARDS, "WATCH");
            return;
        }
    }
    if (transaction->watch.set) {
        resp_answer_ok(op);
        return;
    }
    state->op = op;
    enum err err = resp_find_key(op, op->arguments[1], &state->request.partition);
    if (err == ERR_TOPIC_UNKNOWN) {
        transaction->watch = (struct multi_watch){.set = true};
        resp_answer_ok(op);
    } else if (err != OK) {
        watch_refuse(op);
        resp_fail_told(op);
    } else {
        state->request.identify =
            (struct request_identify){.ends_only = true, .facts = &state->facts};
        resp_submit(op, &state->request, REQUEST_IDENTIFY, watch_looked);
    }
}

void resp_unwatch(struct resp_op *op)
{
    multi_forget(op->net, op->client);
    resp_answer_ok(op);
}
