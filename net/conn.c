/* Calls and the bytes that leave: finished calls, in the order of their arrival, become one send
 * per turn. conn_input.c makes calls of what arrives; conn_life.c begins and ends it all.
 *
 *     OPEN --- the peer's end, a malformed frame ---------> ENDING --- all answered ---> DEAD
 *       +----- the net drains: late calls are refused, nothing is in flight: as the peer's end
 *       +----- send failed, stalled, silent --------------------------------------------> DEAD
 *     DEAD --- recv, send, waits and all calls are home ---> CLOSING ---> gone
 */
#include "net/conn.h"

#include "core/assert.h"
#include "net/conn_internal.h"
#include "net/server.h"

/* --- Sending. --- */

static struct call *conn_pop(struct conn *conn)
{
    struct call *call = conn->first;
    ASSERT(call != NULL);
    conn->first = call->next;
    if (conn->first == NULL) {
        conn->tail = NULL;
    }
    call->next = NULL;
    return call;
}

/* The first call has been answered, or never will be. */
static void conn_finish_first(struct conn *conn)
{
    struct call *call = conn_pop(conn);
    ASSERT(call->ready || !call->started);
    if (conn->starting == call) {
        ASSERT(conn->held && conn->state == CONN_DEAD);
        conn->starting = NULL;
        conn->held = false;
    }
    conn->queued_bytes -= call->reply_bytes;
    if (call->started) {
        conn->protocol->sent(call);
    } else {
        call_done(call);
    }
}

static bool conn_flush_wanted(const struct conn *conn)
{
    return conn->first != NULL && conn->first->ready;
}

void conn_schedule_flush(struct conn *conn)
{
    if (!conn->flush_pending) {
        conn->flush_pending = true;
        reactor_defer(conn->net->reactor, TURN_SEND, &conn->flush);
    }
}

/* Moves what fits of one call's vectors into the send; false: the send is full. */
static bool conn_gather(struct conn_send *send, struct call *call)
{
    while (call->vector_next < call->vector_count) {
        struct iovec *from = &call->vectors[call->vector_next];
        uint64_t room = CONN_SEND_BYTES_MAX - send->bytes;
        if (room == 0 || send->count == CONN_SEND_VECTORS_MAX) {
            return false;
        }
        uint64_t size = min_u64(room, from->iov_len);
        if (size > 0) {
            send->vectors[send->count++] =
                (struct iovec){.iov_base = from->iov_base, .iov_len = (size_t)size};
        }
        send->bytes += size;
        if (size < from->iov_len) {
            from->iov_base = (uint8_t *)from->iov_base + size;
            from->iov_len -= (size_t)size;
            return false;
        }
        call->vector_next++;
    }
    return true;
}

/* Every reply before the call that wants to be alone has left. */
void conn_start_held(struct conn *conn)
{
    struct call *call = conn->starting;
    if (conn->held && !conn->waiting && conn->first == call) {
        conn->held = false;
        conn->starting = NULL;
        (void)conn_start_call(conn, call);
    }
}

/* A part of the first call's reply has left: it is as if the call were not answered yet. */
static void conn_ask_part(struct conn *conn)
{
    struct call *call = conn->first;
    ASSERT(call->more && conn->protocol->part != NULL);
    conn->queued_bytes -= call->reply_bytes;
    call->reply_bytes = 0;
    call->vectors = NULL;
    call->vector_count = call->vector_next = 0;
    call->ready = call->more = false;
    conn->protocol->part(call);
}

/* Pops the calls whose every byte has left. */
static void conn_retire(struct conn *conn)
{
    while (conn_flush_wanted(conn) && conn->first->vector_next == conn->first->vector_count) {
        if (conn->first->more) {
            conn_ask_part(conn);
            return;
        }
        bool last = conn->first->last;
        conn_finish_first(conn);
        if (last) {
            conn_kill(conn);
            return;
        }
    }
    if (conn->state == CONN_ENDING && conn->first == NULL) {
        conn_kill(conn);
    }
    conn_start_held(conn);
}

static void conn_sent(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    struct conn_send *send = CONTAINER_OF(io, struct conn_send, io);
    struct conn *conn = send->conn;
    bool failed = completion->result < 0;
    conn->send = NULL;
    conn->active_ns = conn->net->reactor->now_ns;
    pool_release(&conn->net->pool_send, send);
    if (failed) {
        conn_kill(conn);
    }
    if (conn->state == CONN_DEAD) {
        conn_schedule_flush(conn);
        return;
    }
    conn_retire(conn);
    if (conn_flush_wanted(conn)) {
        conn_schedule_flush(conn);
    }
    conn_pump(conn);
}

/* A peer that takes nothing is told by a send that does not end, one that stopped in the middle of
 * a request by its silence. */
void conn_watch(struct conn *conn)
{
    struct reactor *reactor = conn->net->reactor;
    uint64_t stall_ns = conn->net->options.stall_timeout_ms * NS_PER_MS;
    if (stall_ns == 0 || conn->timer.done.queued) {
        return;
    }
    if (!timer_running(&conn->timer) || conn->timer.expires_ns > reactor->now_ns + stall_ns) {
        timer_stop(reactor, &conn->timer);
        timer_start(reactor, &conn->timer, stall_ns);
    }
}

static void conn_send_ready(struct conn *conn)
{
    struct conn_send *send = pool_acquire(&conn->net->pool_send);
    ASSERT(send != NULL); /* One per connection, and as many as there are connections. */
    send->conn = conn;
    for (struct call *call = conn->first; call != NULL && call->ready; call = call->next) {
        if (!conn_gather(send, call) || call->last || call->more) {
            break;
        }
    }
    if (send->count == 0) {
        pool_release(&conn->net->pool_send, send);
        conn_retire(conn);
        conn_pump(conn);
        if (conn_flush_wanted(conn)) { /* Room for more was made: it was answered behind these. */
            conn_schedule_flush(conn);
        }
        return;
    }
    conn->send = send;
    conn->send_begun_ns = conn->net->reactor->now_ns;
    conn_watch(conn);
    completion_init(&send->io.done, conn_sent);
    io_send(&send->io, conn->fd, send->vectors, send->count);
    io_submit(conn->net->reactor, &send->io);
}

/* A dead connection's calls come home: those that are ready or never began. */
void conn_drop(struct conn *conn)
{
    ASSERT(conn->state == CONN_DEAD);
    if (conn->send != NULL) {
        return;
    }
    while (conn->first != NULL) {
        struct call *call = conn->first;
        if (!call->ready && (call->started || (conn->starting == call && !conn->held))) {
            break;
        }
        conn_finish_first(conn);
    }
}

/* The end of the turn: all that is ready leaves in one send. */
void conn_flush(struct completion *completion)
{
    struct conn *conn = CONTAINER_OF(completion, struct conn, flush);
    conn->flush_pending = false;
    if (conn->state == CONN_DEAD) {
        conn_drop(conn);
        conn_check_gone(conn);
        return;
    }
    if (conn->send == NULL && conn_flush_wanted(conn)) {
        conn_send_ready(conn);
    }
}

void call_reply(struct call *call)
{
    struct conn *conn = call->conn;
    ASSERT(call->started && !call->ready);
    call->ready = true;
    for (uint32_t i = 0; i < call->vector_count; i++) {
        call->reply_bytes += call->vectors[i].iov_len;
    }
    conn->queued_bytes += call->reply_bytes;
    if (conn->state == CONN_DEAD || conn->first == call) {
        conn_schedule_flush(conn);
    }
}

void call_done(struct call *call)
{
    struct conn *conn = call->conn;
    struct block *blocks[] = {call->frame_block, call->arena, call->reply_block};
    for (uint32_t i = 0; i < ARRAY_COUNT(blocks); i++) {
        if (blocks[i] != NULL) {
            block_unref(blocks[i]);
        }
    }
    ASSERT(conn->call_count > 0);
    conn->call_count--;
    pool_release(&conn->net->pool_call, call);
    net_count_request(conn->net);
    if (conn->state == CONN_DEAD) {
        conn_check_gone(conn);
        return;
    }
    conn_pump(conn);
}

/* --- Beginning. --- */

static void conn_call_again(struct completion *completion);

/* Begins the call; false: it waits for memory or to be alone, or was malformed. */
bool conn_start_call(struct conn *conn, struct call *call)
{
    call->started = true;
    enum err err = conn->protocol->start(call);
    if (err == OK) {
        if (call->canceled) {
            conn->protocol->cancel(call);
        }
        return true;
    }
    if (call->arena != NULL) {
        block_unref(call->arena);
        call->arena = NULL;
    }
    if (err == ERR_BUSY) {
        ASSERT(conn->first != call);
        conn->starting = call;
        conn->held = true;
        call->started = false;
        return false;
    }
    if (err == ERR_NO_MEMORY) {
        conn->starting = call;
        conn->waiting = true;
        call->started = false;
        call_await_memory(call, conn_call_again);
        return false;
    }
    /* It is the newest one; it leaves as a call without a reply that closes behind the others. */
    call->last = true;
    call->state = NULL;
    call_reply(call);
    conn_refuse(conn, err_text(err));
    return false;
}

static void conn_call_again(struct completion *completion)
{
    struct memory_waiter *waiter = CONTAINER_OF(completion, struct memory_waiter, done);
    struct call *call = CONTAINER_OF(waiter, struct call, waiter);
    struct conn *conn = call->conn;
    ASSERT(conn->starting == call);
    conn->waiting = false;
    conn->starting = NULL;
    if (conn->state == CONN_DEAD) {
        conn_schedule_flush(conn);
        return;
    }
    if (conn_start_call(conn, call)) {
        conn_pump(conn);
    }
}
