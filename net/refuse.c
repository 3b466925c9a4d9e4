/* A connection too many is told so in its own protocol, where that has words for it, so that its
 * client tries again instead of guessing; then it is closed.
 *
 *     a port for one protocol:  -> SEND -> CLOSE
 *     a port for all:  RECEIVE its first bytes, for at most a second -> SEND or CLOSE
 *
 * Only a few at once are told; the others, and those whose protocol has no words, are just closed.
 */
#include "core/assert.h"
#include "net/door.h"
#include "net/server.h"

#define REFUSE_WAIT_NS NS_PER_S

static void refuse_closed(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    struct net_refusal *refusal = CONTAINER_OF(io, struct net_refusal, io);
    struct net *net = refusal->net;
    list_remove(&refusal->node);
    pool_release(&net->pool_refusal, refusal);
    net_check_stopped(net);
}

static void refuse_close(struct net_refusal *refusal)
{
    timer_stop(refusal->net->reactor, &refusal->timer);
    completion_init(&refusal->io.done, refuse_closed);
    io_close(&refusal->io, refusal->fd);
    io_submit(refusal->net->reactor, &refusal->io);
}

static void refuse_sent(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    refuse_close(CONTAINER_OF(io, struct net_refusal, io));
}

static void refuse_send(struct net_refusal *refusal, const struct protocol *protocol)
{
    if (protocol == NULL || protocol->refusal == NULL) {
        refuse_close(refusal);
        return;
    }
    /* An iovec of a send is only read; its type does not say so. */
    void *data = (void *)(uintptr_t)protocol->refusal;
    refusal->vector = (struct iovec){.iov_base = data, .iov_len = protocol->refusal_bytes};
    completion_init(&refusal->io.done, refuse_sent);
    io_send(&refusal->io, refusal->fd, &refusal->vector, 1);
    io_submit(refusal->net->reactor, &refusal->io);
}

static void refuse_received(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    struct net_refusal *refusal = CONTAINER_OF(io, struct net_refusal, io);
    enum door_guess guess = DOOR_NONE;
    if (completion->result > 0) {
        uint32_t position = 0;
        guess = door_guess(bytes_of(io->recv.data, (uint32_t)completion->result), &position);
    }
    io_recv_release(refusal->net->reactor, io);
    bool known = guess != DOOR_MORE && door_refusal(guess) == NULL;
    refuse_send(refusal, known ? door_protocol((enum net_protocol)guess) : NULL);
}

/* It says nothing, or does not take what it is told. */
static void refuse_late(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    struct net_refusal *refusal = CONTAINER_OF(timer, struct net_refusal, timer);
    io_socket_shutdown(refusal->net->reactor, refusal->fd);
}

bool refuse_begin(struct net *net, int fd, enum net_protocol protocol)
{
    if (net->stopping || (protocol != NET_ANY && door_protocol(protocol)->refusal == NULL)) {
        return false;
    }
    struct net_refusal *refusal = pool_acquire(&net->pool_refusal);
    if (refusal == NULL) {
        return false;
    }
    refusal->net = net;
    refusal->fd = fd;
    list_init(&refusal->node);
    list_push_back(&net->refusals, &refusal->node);
    timer_init(&refusal->timer, refuse_late);
    timer_start(net->reactor, &refusal->timer, REFUSE_WAIT_NS);
    if (protocol != NET_ANY) {
        refuse_send(refusal, door_protocol(protocol));
        return true;
    }
    completion_init(&refusal->io.done, refuse_received);
    io_recv(&refusal->io, fd, NULL, 0);
    io_submit(net->reactor, &refusal->io);
    return true;
}

void refuse_stop(struct net *net)
{
    struct list *entry;
    list_for_each (entry, &net->refusals) {
        io_socket_shutdown(net->reactor, CONTAINER_OF(entry, struct net_refusal, node)->fd);
    }
}
