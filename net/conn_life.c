/* The beginning and the end of a connection, and the clock that ends a silent or a stalled one. */
#include "core/assert.h"
#include "core/crc32c.h"
#include "core/log.h"
#include "net/conn.h"
#include "net/conn_internal.h"
#include "net/door.h"
#include "net/server.h"

static void conn_closed(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    struct conn *conn = CONTAINER_OF(io, struct conn, recv);
    struct net *net = conn->net;
    ASSERT(conn->state == CONN_CLOSING);
    if (conn->protocol != NULL && conn->protocol->close != NULL) {
        conn->protocol->close(conn);
    }
    if (conn->session != NULL) {
        pool_release(&net->pool_session, conn->session);
    }
    list_remove(&conn->node);
    list_remove(&conn->beside);
    net->conn_count--;
    atomic_fetch_sub_explicit(&net->options.shared->cores[net->options.core_index].connections, 1,
                              memory_order_relaxed);
    stats_add(&net->reactor->stats, STAT_CONNECTIONS_CLOSED, 1);
    pool_release(&net->pool_conn, conn);
    net_check_stopped(net);
}

/* Closes the descriptor once nothing of a dead connection is out. */
void conn_check_gone(struct conn *conn)
{
    if (conn->state != CONN_DEAD || conn->recv_pending || conn->send != NULL || conn->waiting ||
        conn->flush_pending || conn->dying || conn->call_count > 0 || conn->pumping) {
        return;
    }
    ASSERT(conn->first == NULL && conn->starting == NULL);
    if (conn->lent_held) {
        conn->lent_held = false;
        io_recv_release(conn->net->reactor, &conn->recv);
    }
    conn_input_drop(conn);
    timer_stop(conn->net->reactor, &conn->timer);
    conn->state = CONN_CLOSING;
    completion_init(&conn->recv.done, conn_closed);
    io_close(&conn->recv, conn->fd);
    io_submit(conn->net->reactor, &conn->recv);
}

static void conn_cancel_calls(struct conn *conn)
{
    for (struct call *call = conn->first; call != NULL; call = call->next) {
        call->canceled = true;
        if (call->started && !call->ready) {
            conn->protocol->cancel(call);
        }
    }
}

/* From the ready list, so that nobody's call ends under its own feet. */
static void conn_die(struct completion *completion)
{
    struct conn *conn = CONTAINER_OF(completion, struct conn, die);
    conn->dying = false;
    if (!conn->recv_pending) {
        conn_input_drop(conn); /* Others may wait for it. */
    }
    conn_cancel_calls(conn);
    conn_drop(conn);
    conn_check_gone(conn);
}

void conn_kill(struct conn *conn)
{
    if (conn->state == CONN_DEAD || conn->state == CONN_CLOSING) {
        return;
    }
    conn->state = CONN_DEAD;
    io_socket_shutdown(conn->net->reactor, conn->fd);
    conn->dying = true;
    completion_init(&conn->die, conn_die);
    completion_fire(conn->net->reactor, &conn->die, OK);
}

/* Of a request that has not come whole. */
static bool conn_awaits(const struct conn *conn)
{
    bool input = conn->input != NULL && conn->input_filled > conn->input_position;
    return input || conn->head_size > 0 || conn->lent_held ||
           (conn->protocol != NULL && conn->protocol->awaits != NULL &&
            conn->protocol->awaits(conn));
}

bool conn_closes_behind(const struct call *call)
{
    const struct conn *conn = call->conn;
    return conn->net->stopping && conn->tail == call && !conn_awaits(conn);
}

/* What has come, and nobody has looked at, is still received, and then the end: no request that was
 * sent in time is cut off by a close. */
void conn_check_quiet(struct conn *conn)
{
    if (!conn->net->stopping || conn->state != CONN_OPEN || conn->quiet || conn->waiting ||
        conn->call_count > 0 || conn->send != NULL || conn_awaits(conn)) {
        return;
    }
    conn->quiet = true;
    io_socket_end_receive(conn->net->reactor, conn->fd);
}

void conn_drain(struct conn *conn)
{
    ASSERT(conn->net->stopping);
    if (conn->state == CONN_OPEN) {
        conn_cancel_calls(conn);
        conn_check_quiet(conn);
    }
}

void conn_end(struct conn *conn)
{
    if (conn->state != CONN_OPEN) {
        return;
    }
    conn->state = CONN_ENDING;
    conn_cancel_calls(conn);
    if (conn->first == NULL && conn->send == NULL) {
        conn_kill(conn);
    }
}

/* Its request has begun, holds memory, and nothing more comes: from the peer, or of the memory that
 * the rest of it needs. */
static bool conn_is_half(const struct conn *conn)
{
    bool starved = conn->waiting && conn->waiter.size > 0;
    return conn->state == CONN_OPEN && (conn->recv_pending || starved) && conn->input != NULL &&
           conn->input_filled > conn->input_position;
}

static void conn_tick(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
    struct reactor *reactor = conn->net->reactor;
    uint64_t stall_ns = conn->net->options.stall_timeout_ms * NS_PER_MS;
    uint64_t idle_ns = conn->net->options.idle_timeout_ms * NS_PER_MS;
    uint64_t next_ns = idle_ns == 0 ? stall_ns : idle_ns;
    if (conn->send != NULL && stall_ns > 0) {
        uint64_t since_ns = reactor->now_ns - conn->send_begun_ns;
        if (since_ns >= stall_ns) {
            LOG_WARN("connection closed: the peer takes no reply bytes");
            stats_add(&reactor->stats, STAT_CONNECTIONS_STALLED, 1);
            conn_kill(conn);
            return;
        }
        next_ns = stall_ns - since_ns;
    } else if (conn_is_half(conn) && stall_ns > 0) {
        uint64_t since_ns = reactor->now_ns - conn->active_ns;
        if (since_ns >= stall_ns) {
            LOG_WARN("connection closed in the middle of a request: %s",
                     conn->waiting ? "there is no memory for the rest of it"
                                   : "the peer sends no more of it");
            stats_add(&reactor->stats, STAT_CONNECTIONS_STALLED, 1);
            conn_kill(conn);
            return;
        }
        next_ns = stall_ns - since_ns;
    } else if (conn->call_count == 0 && idle_ns > 0) {
        uint64_t since_ns = reactor->now_ns - conn->active_ns;
        if (since_ns >= idle_ns) {
            conn_kill(conn);
            return;
        }
        next_ns = idle_ns - since_ns;
    }
    if (next_ns > 0 && conn->state != CONN_CLOSING) {
        timer_start(reactor, timer, next_ns);
    }
}

void conn_speak(struct conn *conn, const struct protocol *protocol)
{
    ASSERT(conn->protocol == NULL && conn->call_count == 0);
    conn->protocol = protocol;
    if (protocol->session_bytes > 0) {
        conn->session = pool_acquire(&conn->net->pool_session);
        ASSERT(conn->session != NULL); /* As many as there are connections. */
    }
    if (protocol->open != NULL) {
        protocol->open(conn);
    }
}

/* What the kernel holds for a peer that does not read, or that we do not read, is a share of a
 * quarter of this core's memory. Without it a crowd of such peers fills what the kernel has for all
 * sockets of the machine; then it drops what others send, and they go on by retransmissions. */
static void conn_limit_kernel(const struct conn *conn)
{
    struct net *net = conn->net;
    struct memory_stats stats;
    memory_stats(net->reactor->memory, &stats);
    uint64_t share = stats.limit_bytes / 4 / max_u32(net->conn_count, 1);
    uint64_t unsent = max_u64(min_u64(share / 4, CONN_UNSENT_MAX), CONN_UNSENT_MIN);
    io_socket_limit(net->reactor, conn->fd, (uint32_t)unsent,
                    share < CONN_KERNEL_AMPLE ? CONN_RECEIVED_LOW : 0);
}

/* The bytes of an address that tell one peer from another: who has IPv6 has a /64 of it. */
static struct bytes conn_address_key(const struct io_address *address)
{
    return bytes_of(address->bytes, address->family == 6 ? 8 : 4);
}

static struct list *conn_address_bucket(struct net *net, const struct io_address *address)
{
    struct bytes key = conn_address_key(address);
    return &net->addresses[crc32c(0, key.data, key.size) % NET_ADDRESS_BUCKETS];
}

/* Whether the address has as many connections on this core as one may have. */
static bool conn_address_full(struct net *net, const struct io_address *address)
{
    uint32_t count = 0;
    struct list *entry;
    struct list *bucket = conn_address_bucket(net, address);
    list_for_each (entry, bucket) {
        const struct conn *conn = CONTAINER_OF(entry, struct conn, beside);
        count += conn->peer.family == address->family &&
                 bytes_equal(conn_address_key(&conn->peer), conn_address_key(address));
    }
    return count >= net->options.address_connections_max;
}

enum err conn_open(struct net *net, int fd, enum net_protocol protocol)
{
    ASSERT(fd >= 0);
    if (net->stopping) {
        return ERR_CLOSED;
    }
    struct io_address local;
    struct io_address peer;
    bool gone = io_socket_local(net->reactor, fd, &local) != OK ||
                io_socket_peer(net->reactor, fd, &peer) != OK;
    bool counted = !gone && net->options.address_connections_max > 0;
    if (counted && conn_address_full(net, &peer)) {
        stats_add(&net->reactor->stats, STAT_CONNECTIONS_REFUSED_ADDRESS, 1);
        return ERR_BUSY;
    }
    struct conn *conn = pool_acquire(&net->pool_conn);
    if (conn == NULL) {
        stats_add(&net->reactor->stats, STAT_CONNECTIONS_REFUSED, 1);
        return ERR_LIMIT;
    }
    conn->net = net;
    conn->fd = fd;
    conn->state = CONN_OPEN;
    conn->active_ns = net->reactor->now_ns;
    completion_init(&conn->flush, conn_flush);
    list_init(&conn->node);
    list_push_back(&net->conns, &conn->node);
    net->conn_count++;
    timer_init(&conn->timer, conn_tick);
    list_init(&conn->beside);
    if (gone) {
        conn_kill(conn); /* The peer has left already. */
        return OK;
    }
    conn->local = local;
    conn->peer = peer;
    conn_limit_kernel(conn);
    if (counted) {
        list_push_back(conn_address_bucket(net, &peer), &conn->beside);
    }
    if (protocol != NET_ANY) {
        conn_speak(conn, door_protocol(protocol));
    }
    if (net->options.idle_timeout_ms > 0) {
        timer_start(net->reactor, &conn->timer, net->options.idle_timeout_ms * NS_PER_MS);
    }
    conn_read(conn);
    return OK;
}
