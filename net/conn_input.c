/* Bytes in: what was received is cut into frames, and frames become calls.
 *
 *     recv (lent buffer) -> copied into one block -> frames point into it -> calls, in FIFO order
 *     recv (block of its own) <- a frame longer than what has arrived, or a peer in full flow
 *
 * The first bytes of a connection tell its protocol (door.h), unless its listener did.
 *
 * Reading stops (nothing is received, so TCP slows the peer) while CONN_CALLS_MAX calls are alive
 * (fewer when memory for calls is low: each connection goes on, none by many at once),
 * CONN_QUEUED_BYTES_MAX wait to be sent, memory is out, or a call waits to be alone: a Fetch does,
 * so that a peer which sends many and reads nothing holds the memory of one. Out of memory for a
 * lent buffer is the one case in which it is kept over a wait: the bytes have nowhere else to be.
 * What frees memory (calls that finish, frames received into blocks of their own) needs no lent
 * buffer, so this ends.
 */
#include "core/assert.h"
#include "core/log.h"
#include "net/conn_internal.h"
#include "net/door.h"
#include "net/server.h"

#include <string.h>

static struct stats *conn_stats(struct conn *conn)
{
    return &conn->net->reactor->stats;
}

static bool conn_has_room(const struct conn *conn)
{
    bool low = memory_low(conn->net->reactor->memory, MEMORY_CALL);
    return conn->call_count < (low ? CONN_CALLS_LOW : CONN_CALLS_MAX) &&
           conn->queued_bytes < CONN_QUEUED_BYTES_MAX;
}

void conn_input_drop(struct conn *conn)
{
    if (conn->input != NULL) {
        block_unref(conn->input);
        conn->input = NULL;
    }
}

void conn_refuse(struct conn *conn, const char *why)
{
    char peer[IO_ADDRESS_TEXT_BYTES];
    stats_add(conn_stats(conn), STAT_REQUESTS_REFUSED, 1);
    LOG_WARN("connection refused a request: %s peer=%s", why, io_address_text(&conn->peer, peer));
    conn_input_drop(conn);
    conn->head_size = 0;
    conn_end(conn);
}

static void conn_memory_back(struct completion *completion);

static void conn_await_memory(struct conn *conn, uint32_t size)
{
    ASSERT(!conn->waiting);
    conn->waiting = true;
    completion_init(&conn->waiter.done, conn_memory_back);
    conn->waiter.size = size;
    conn->waiter.class = MEMORY_RECEIVE;
    conn_watch(conn);
    memory_await(conn->net->reactor->memory, conn->net->reactor, &conn->waiter);
}

/* Copies a lent buffer, behind the bytes of a frame's beginning, into a block of ours: at once,
 * also if the connection may not read on or waits for something else. The peers that make us wait
 * would have them all, and nobody could be read. */
static void conn_take_lent(struct conn *conn)
{
    uint32_t size = (uint32_t)conn->recv.done.result;
    uint32_t total = conn->head_size + size;
    ASSERT(conn->input == NULL && size > 0);
    struct block *block = block_acquire(conn->net->reactor->memory, MEMORY_RECEIVE, total);
    conn->lent_held = block == NULL;
    if (block == NULL) {
        if (!conn->waiting) {
            conn_await_memory(conn, total);
        }
        return;
    }
    memcpy(block->data, conn->head, conn->head_size);
    memcpy(block->data + conn->head_size, conn->recv.recv.data, size);
    io_recv_release(conn->net->reactor, &conn->recv);
    conn->head_size = 0;
    conn->input = block;
    conn->input_size = conn->input_filled = total;
    conn->input_position = 0;
}

static bool conn_memory_low(const struct conn *conn)
{
    return memory_low(conn->net->reactor->memory, MEMORY_RECEIVE);
}

/* Room for `least` bytes of the frame that is arriving, in a block of its own of `size` unless it
 * has it. False: closed or waits. */
static bool conn_take_room(struct conn *conn, uint64_t least, uint64_t size)
{
    struct memory *memory = conn->net->reactor->memory;
    uint32_t have = conn->input_filled - conn->input_position;
    if (least > memory_block_max(memory)) {
        conn_refuse(conn, "the frame is larger than the largest block of memory");
        return false;
    }
    if (conn->input_position + least <= conn->input_size) {
        return true;
    }
    bool burst = conn->burst && !conn_memory_low(conn);
    size = min_u64(burst ? max_u64(size, CONN_BURST_BYTES) : size, memory_block_max(memory));
    struct block *block = block_acquire(memory, MEMORY_RECEIVE, (uint32_t)size);
    if (block == NULL) {
        conn_await_memory(conn, (uint32_t)size);
        return false;
    }
    memcpy(block->data, conn->input->data + conn->input_position, have);
    block_unref(conn->input);
    conn->input = block;
    conn->input_size = (uint32_t)size;
    conn->input_filled = have;
    conn->input_position = 0;
    return true;
}

/* A frame whose length is known gets a block at once as large as it will be: were it to grow, a
 * crowd of half frames could hold all memory and each wait for more. Who waits holds what one
 * receive brought. */
static void conn_take_long(struct conn *conn, uint64_t total)
{
    (void)conn_take_room(conn, total, total);
}

/* One whose length is not known must grow, in doublings, so that all its copies together are no
 * longer than twice what came; a peer that makes no progress with it is closed as stalled. Its
 * first bytes need no block. */
static void conn_take_more(struct conn *conn, struct bytes rest)
{
    if (rest.size <= CONN_HEAD_BYTES) {
        memcpy(conn->head, rest.data, rest.size);
        conn->head_size = rest.size;
        conn_input_drop(conn);
        return;
    }
    uint64_t least = max_u64(conn->scan.wanted, (uint64_t)rest.size + 1);
    uint64_t size = BLOCK_SIZE_MIN;
    while (size < least) {
        size *= 2;
    }
    (void)conn_take_room(conn, least, size);
}

/* What the connection itself waited for may be there. */
static void conn_waited(struct conn *conn)
{
    conn->waiting = false;
    conn->waiter.size = 0;
    if (conn->state == CONN_DEAD) {
        conn_schedule_flush(conn);
        return;
    }
    conn_start_held(conn);
    conn_pump(conn);
}

static void conn_pool_back(struct completion *completion)
{
    struct conn *conn = CONTAINER_OF(completion, struct conn, pool_wait);
    conn_waited(conn);
}

/* Makes the next `size` bytes of input a call; false: it must wait. */
static bool conn_make_call(struct conn *conn, uint32_t size)
{
    struct call *call = pool_acquire(&conn->net->pool_call);
    if (call == NULL) {
        conn->waiting = true;
        completion_init(&conn->pool_wait, conn_pool_back);
        pool_await(&conn->net->pool_call, &conn->pool_wait);
        return false;
    }
    call->conn = conn;
    call->net = conn->net;
    call->frame = bytes_of(conn->input->data + conn->input_position, size);
    call->frame_block = block_ref(conn->input);
    call->late = conn->net->stopping;
    call->scan = conn->scan;
    conn->scan = (struct protocol_scan){0};
    conn->input_position += size;
    if (conn->tail == NULL) {
        conn->first = call;
    } else {
        conn->tail->next = call;
    }
    conn->tail = call;
    conn->call_count++;
    net_count_request(conn->net);
    stats_add(conn_stats(conn), STAT_REQUESTS, 1);
    return conn_start_call(conn, call);
}

/* The first bytes tell the protocol. False: more are needed, or it is none that we serve. */
static bool conn_recognise(struct conn *conn, struct bytes first)
{
    enum door_guess guess = door_guess(first, &conn->scan.position);
    if (guess == DOOR_MORE) {
        conn_take_more(conn, first);
        return false;
    }
    const char *why = door_refusal(guess);
    if (why != NULL) {
        conn_refuse(conn, why);
        return false;
    }
    conn->scan = (struct protocol_scan){0};
    conn_speak(conn, door_protocol((enum net_protocol)guess));
    return true;
}

/* Cuts one frame from the input; false: there is nothing more to do now. */
static bool conn_cut(struct conn *conn)
{
    uint32_t left = conn->input_filled - conn->input_position;
    struct bytes rest = bytes_of(conn->input->data + conn->input_position, left);
    if (conn->protocol == NULL && !conn_recognise(conn, rest)) {
        return false;
    }
    int64_t total = left == 0 ? 0 : conn->protocol->frame(conn, rest, &conn->scan);
    if (total < 0) {
        conn_refuse(conn, "not a request of this protocol, or too large");
        return false;
    }
    if (total == 0) {
        conn_take_more(conn, rest);
        return false;
    }
    if (total > left) {
        conn_take_long(conn, (uint64_t)total);
        return false;
    }
    return conn_make_call(conn, (uint32_t)total);
}

static void conn_received(struct completion *completion);

/* A peer in full flow is received into a block in which its frames stay, without a copy. */
static void conn_begin_burst(struct conn *conn)
{
    struct memory *memory = conn->net->reactor->memory;
    if (!conn->burst || conn_memory_low(conn)) {
        return;
    }
    struct block *block = block_acquire(memory, MEMORY_RECEIVE, CONN_BURST_BYTES);
    if (block == NULL) {
        return; /* A lent buffer does as well. */
    }
    memcpy(block->data, conn->head, conn->head_size);
    conn->input = block;
    conn->input_size = CONN_BURST_BYTES;
    conn->input_filled = conn->head_size;
    conn->input_position = 0;
    conn->head_size = 0;
}

void conn_read(struct conn *conn)
{
    ASSERT(!conn->recv_pending && !conn->lent_held);
    if (conn->input == NULL) {
        conn_begin_burst(conn);
    }
    conn->recv_pending = true;
    completion_init(&conn->recv.done, conn_received);
    if (conn->input == NULL) {
        io_recv(&conn->recv, conn->fd, NULL, 0);
    } else {
        io_recv(&conn->recv, conn->fd, conn->input->data + conn->input_filled,
                conn->input_size - conn->input_filled);
        conn_watch(conn);
    }
    io_submit(conn->net->reactor, &conn->recv);
}

static bool conn_may_read(const struct conn *conn)
{
    return conn->state == CONN_OPEN && !conn->waiting && conn_has_room(conn);
}

/* Nothing more is begun behind a call that waits to be alone. One buffer is read all the same: the
 * peer's end is seen, and ends the wait. */
static bool conn_may_cut(const struct conn *conn)
{
    return conn->input != NULL && !conn->held;
}

/* Makes calls of what has arrived while there is room, then reads on. */
static void conn_pump_input(struct conn *conn)
{
    conn->pumping = true;
    bool more = true;
    if (conn->lent_held && conn->state == CONN_OPEN) {
        conn_take_lent(conn);
    }
    while (more && conn_may_read(conn)) {
        more = conn_may_cut(conn) && conn_cut(conn);
    }
    conn->pumping = false;
    if (conn->held && conn->input != NULL && conn->input_position == conn->input_filled) {
        conn_input_drop(conn);
    }
    if (!more && conn_may_read(conn) && (!conn->held || conn->input == NULL)) {
        conn_read(conn);
    }
}

void conn_pump(struct conn *conn)
{
    if (!conn->pumping && !conn->recv_pending) {
        conn_pump_input(conn);
    }
    conn_check_quiet(conn);
}

static void conn_memory_back(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    conn_waited(CONTAINER_OF(waiter, struct conn, waiter));
}

static void conn_received(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    struct conn *conn = CONTAINER_OF(io, struct conn, recv);
    int32_t result = completion->result;
    conn->recv_pending = false;
    conn->burst = io->recv.more;
    conn->active_ns = conn->net->reactor->now_ns;
    if (result <= 0 || conn->state != CONN_OPEN) {
        io_recv_release(conn->net->reactor, io);
        conn_input_drop(conn); /* The beginning of a request without its end. */
        if (result < 0) {
            conn_kill(conn);
        }
        conn_end(conn);
        conn_check_gone(conn);
        return;
    }
    if (conn->input == NULL) {
        conn->lent_held = true;
    } else {
        conn->input_filled += (uint32_t)result;
        ASSERT(conn->input_filled <= conn->input_size);
    }
    conn_pump(conn);
}
