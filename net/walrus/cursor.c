/* See the header. A cursor is kept in memory while it is used, and for as long as there is room: of
 * those that nobody uses the one that was used longest ago gives way.
 *
 *     LOADING -> READY (taken or not) <-> saving          a load that failed: gone, loaded again
 */
#include "net/walrus/cursor.h"

#include "core/assert.h"
#include "core/cover.h"
#include "net/walrus/store.h"
#include "net/walrus/walrus.h"

#include <stdlib.h>
#include <string.h>

enum { CURSORS_MAX = 4096, CURSOR_SLOTS = 4096 };

struct cursor_queue {
    struct cursor_op *first, *last;
};

struct cursor {
    struct list age; /* Of core->idle while nobody uses it. */
    struct cursor *next_in_slot;
    struct walrus_core *core;
    struct partition_id partition;
    uint64_t position, durable;
    uint64_t moves, saved_moves; /* How often it was moved; what the save under way covers. */
    bool loading, taken, saving;
    bool behind; /* A save failed while it was taken: the move that comes fails, too. */
    struct cursor_queue waiting; /* TAKE. */
    struct cursor_queue unsaved; /* MOVE, in order. */
    struct store_io io;
};

struct walrus_core {
    struct net *net;
    struct pool pool;
    struct list idle; /* Longest first. */
    uint32_t used;    /* Cursors that are not idle. */
    struct cursor *slots[CURSOR_SLOTS];
};

static void queue_push(struct cursor_queue *queue, struct cursor_op *op)
{
    op->next = NULL;
    if (queue->last == NULL) {
        queue->first = op;
    } else {
        queue->last->next = op;
    }
    queue->last = op;
}

static struct cursor_op *queue_pop(struct cursor_queue *queue)
{
    struct cursor_op *op = queue->first;
    if (op != NULL) {
        queue->first = op->next;
        queue->last = queue->first == NULL ? NULL : queue->last;
    }
    return op;
}

/* --- The way home. --- */

static void cursor_op_home(struct reactor *home, const struct mail *mail)
{
    struct cursor_op *op = mail->object;
    completion_fire(home, &op->done, op->err);
}

static void cursor_op_end(struct reactor *owner, struct cursor_op *op, enum err err)
{
    op->err = err;
    if (op->home == owner) {
        completion_fire(owner, &op->done, err);
        return;
    }
    op->mail.fn = cursor_op_home;
    op->mail.object = op;
    mail_send(owner, op->home, &op->mail);
}

static void queue_end(struct walrus_core *core, struct cursor_queue *queue, enum err err)
{
    struct cursor_op *op;
    while ((op = queue_pop(queue)) != NULL) {
        cursor_op_end(core->net->reactor, op, err);
    }
}

/* --- One cursor. --- */

static struct cursor **cursor_slot(struct walrus_core *core, const struct partition_id *id)
{
    /* Topic ids are random. */
    return &core->slots[(load_le32(id->topic.bytes) + id->partition) % CURSOR_SLOTS];
}

static void cursor_forget(struct cursor *cursor)
{
    struct cursor **at = cursor_slot(cursor->core, &cursor->partition);
    while (*at != cursor) {
        at = &(*at)->next_in_slot;
    }
    *at = cursor->next_in_slot;
    pool_release(&cursor->core->pool, cursor);
}

static bool cursor_is_idle(const struct cursor *cursor)
{
    return !cursor->loading && !cursor->taken && !cursor->saving && cursor->waiting.first == NULL &&
           cursor->unsaved.first == NULL;
}

static void cursor_rest(struct cursor *cursor)
{
    struct walrus_core *core = cursor->core;
    if (cursor_is_idle(cursor)) {
        list_push_back(&core->idle, &cursor->age);
        core->used--;
        net_check_stopped(core->net);
    }
}

static void cursor_grant(struct cursor *cursor)
{
    if (cursor->loading || cursor->taken || cursor->waiting.first == NULL) {
        return;
    }
    struct cursor_op *op = queue_pop(&cursor->waiting);
    cursor->taken = true;
    op->position = cursor->position;
    cursor_op_end(cursor->core->net->reactor, op, OK);
}

static void cursor_saved(struct completion *completion);

static void cursor_save(struct cursor *cursor)
{
    if (cursor->saving || cursor->unsaved.first == NULL) {
        return;
    }
    cursor->saving = true;
    cursor->saved_moves = cursor->moves;
    cursor->io.position = cursor->position;
    completion_init(&cursor->io.done, cursor_saved);
    store_save(cursor->core->net, &cursor->io);
}

static void cursor_saved(struct completion *completion)
{
    struct store_io *io = CONTAINER_OF(completion, struct store_io, done);
    struct cursor *cursor = CONTAINER_OF(io, struct cursor, io);
    struct walrus_core *core = cursor->core;
    cursor->saving = false;
    if (completion->result == OK) {
        cursor->durable = io->position;
        while (cursor->unsaved.first != NULL &&
               cursor->unsaved.first->move <= cursor->saved_moves) {
            cursor_op_end(core->net->reactor, queue_pop(&cursor->unsaved), OK);
        }
    } else {
        COVER("a cursor could not be saved");
        queue_end(core, &cursor->unsaved, (enum err)completion->result);
        cursor->position = cursor->durable;
        cursor->behind = cursor->taken;
    }
    cursor_save(cursor);
    cursor_rest(cursor);
}

static void cursor_loaded(struct completion *completion)
{
    struct store_io *io = CONTAINER_OF(completion, struct store_io, done);
    struct cursor *cursor = CONTAINER_OF(io, struct cursor, io);
    struct walrus_core *core = cursor->core;
    cursor->loading = false;
    if (completion->result != OK) {
        queue_end(core, &cursor->waiting, (enum err)completion->result);
        cursor_forget(cursor);
        core->used--;
        net_check_stopped(core->net);
        return;
    }
    cursor->position = cursor->durable = io->position;
    cursor_grant(cursor);
}

/* The cursor, which somebody is about to use; NULL: there are too many in use. */
static struct cursor *cursor_of(struct walrus_core *core, const struct partition_id *id)
{
    struct cursor **slot = cursor_slot(core, id);
    struct cursor *cursor = *slot;
    while (cursor != NULL && !(cursor->partition.partition == id->partition &&
                               topic_id_equal(&cursor->partition.topic, &id->topic))) {
        cursor = cursor->next_in_slot;
    }
    if (cursor != NULL) {
        if (cursor_is_idle(cursor)) {
            list_remove(&cursor->age);
            core->used++;
        }
        return cursor;
    }
    cursor = pool_acquire(&core->pool);
    if (cursor == NULL && !list_empty(&core->idle)) {
        struct cursor *oldest = CONTAINER_OF(core->idle.next, struct cursor, age);
        list_remove(&oldest->age);
        cursor_forget(oldest);
        cursor = pool_acquire(&core->pool);
    }
    if (cursor == NULL) {
        return NULL;
    }
    cursor->core = core;
    cursor->partition = *id;
    list_init(&cursor->age);
    cursor->next_in_slot = *slot;
    *slot = cursor;
    core->used++;
    cursor->loading = true;
    cursor->io.partition = *id;
    completion_init(&cursor->io.done, cursor_loaded);
    store_load(core->net, &cursor->io);
    return cursor;
}

static void cursor_serve(struct walrus_core *core, struct cursor_op *op)
{
    struct reactor *reactor = core->net->reactor;
    struct cursor *cursor = cursor_of(core, &op->partition);
    if (cursor == NULL) {
        cursor_op_end(reactor, op, ERR_LIMIT);
        return;
    }
    switch (op->wish) {
    case CURSOR_TAKE:
        queue_push(&cursor->waiting, op);
        break;
    case CURSOR_MOVE:
        ASSERT(cursor->taken);
        cursor->taken = false;
        if (cursor->behind) {
            cursor_op_end(reactor, op, ERR_STORAGE);
        } else {
            cursor->position = op->position;
            op->move = ++cursor->moves;
            queue_push(&cursor->unsaved, op);
            cursor_save(cursor);
        }
        cursor->behind = false;
        break;
    case CURSOR_LEAVE:
        ASSERT(cursor->taken);
        cursor->taken = false;
        cursor->behind = false;
        cursor_op_end(reactor, op, OK);
        break;
    }
    cursor_grant(cursor);
    cursor_rest(cursor);
}

/* --- The way there. --- */

static void cursor_op_arrived(struct reactor *owner, const struct mail *mail)
{
    struct cursor_op *op = mail->object;
    struct net *net = owner->owner[REACTOR_NET];
    if (net == NULL) {
        cursor_op_end(owner, op, ERR_NOT_READY);
        return;
    }
    cursor_serve(net->walrus, op);
}

static void cursor_submit(struct net *net, struct cursor_op *op, enum cursor_wish wish,
                          completion_fn *fn)
{
    uint32_t core = partition_core(&op->partition, net->options.core_count);
    op->wish = wish;
    op->home = net->reactor;
    completion_init(&op->done, fn);
    if (core == net->options.core_index) {
        cursor_serve(net->walrus, op);
        return;
    }
    op->mail.fn = cursor_op_arrived;
    op->mail.object = op;
    mail_send(net->reactor, net->reactor->peers[core], &op->mail);
}

void cursor_take(struct net *net, struct cursor_op *op, const struct partition_id *partition,
                 completion_fn *fn)
{
    op->partition = *partition;
    cursor_submit(net, op, CURSOR_TAKE, fn);
}

void cursor_move(struct net *net, struct cursor_op *op, uint64_t position, completion_fn *fn)
{
    op->position = position;
    cursor_submit(net, op, CURSOR_MOVE, fn);
}

void cursor_leave(struct net *net, struct cursor_op *op, completion_fn *fn)
{
    cursor_submit(net, op, CURSOR_LEAVE, fn);
}

/* --- A core's part. --- */

enum err walrus_core_open(struct walrus_core **core, struct net *net)
{
    struct walrus_core *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return ERR_NO_MEMORY;
    }
    made->net = net;
    list_init(&made->idle);
    enum err err = pool_open(&made->pool, net->reactor, sizeof(struct cursor), CURSORS_MAX);
    if (err != OK) {
        free(made);
        return err;
    }
    *core = made;
    return OK;
}

bool walrus_core_busy(const struct walrus_core *core)
{
    return core->used > 0;
}

void walrus_core_close(struct walrus_core *core)
{
    for (uint32_t i = 0; i < CURSOR_SLOTS; i++) {
        while (core->slots[i] != NULL) {
            cursor_forget(core->slots[i]);
        }
    }
    pool_close(&core->pool);
    free(core);
}
