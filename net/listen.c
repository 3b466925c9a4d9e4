/* Listeners of one core. Each accepts one connection at a time, hands it to the core with the
 * fewest and accepts the next, as long as fewer than LISTEN_HANDOVERS are on their way.
 *
 *     LISTENING -> accepting --+--> accepting ...
 *                      |       +--> handing: mail to the core, and home; refused: closed
 *                      +-> paused 100 ms after an error (out of descriptors)
 */
#include "core/assert.h"
#include "core/log.h"
#include "net/server.h"

#include <stdio.h>

#define LISTEN_PAUSE_NS (100 * NS_PER_MS)

static void listen_accept(struct net_listener *listener);

static void listen_closed(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    struct net_listener *listener = CONTAINER_OF(io, struct net_listener, close);
    listener->open = false;
    net_check_stopped(listener->net);
}

/* Closes the listening socket once nothing of it is in flight. */
static void listen_try_close(struct net_listener *listener)
{
    if (!listener->open || listener->closing || listener->accepting || listener->handing > 0) {
        return;
    }
    listener->closing = true;
    timer_stop(listener->net->reactor, &listener->pause);
    completion_init(&listener->close.done, listen_closed);
    io_close(&listener->close, listener->fd);
    io_submit(listener->net->reactor, &listener->close);
}

static void listen_next(struct net_listener *listener)
{
    if (listener->net->stopping) {
        listen_try_close(listener);
        return;
    }
    if (!listener->accepting && listener->handing < LISTEN_HANDOVERS &&
        !timer_running(&listener->pause)) {
        listen_accept(listener);
    }
}

static void listen_release(struct net_handover *handover)
{
    struct net_listener *listener = handover->listener;
    ASSERT(handover->out && listener->handing > 0);
    handover->out = false;
    listener->handing--;
    listen_next(listener);
}

static void listen_fd_closed(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    listen_release(CONTAINER_OF(io, struct net_handover, close));
}

static void listen_drop(struct net_handover *handover)
{
    completion_init(&handover->close.done, listen_fd_closed);
    io_close(&handover->close, handover->fd);
    io_submit(handover->net->reactor, &handover->close);
}

/* Nobody takes the connection: it is told so or closed, then go on. */
static void listen_refuse(struct net_handover *handover, enum err err)
{
    struct net *net = handover->net;
    bool address = err == ERR_BUSY;
    LOG_WARN("connection refused: too many %s limit=%u",
             address ? "of its address on a core" : "on this core",
             address ? net->options.address_connections_max : net->options.connections_max);
    if (refuse_begin(net, handover->fd, handover->protocol)) {
        listen_release(handover);
        return;
    }
    listen_drop(handover);
}

static void listen_handed(struct completion *completion)
{
    struct net_handover *handover = CONTAINER_OF(completion, struct net_handover, home);
    if (completion->result == ERR_LIMIT || completion->result == ERR_BUSY) {
        listen_refuse(handover, (enum err)completion->result);
        return;
    }
    if (completion->result != OK) { /* That core drains, and so will this one. */
        listen_drop(handover);
        return;
    }
    listen_release(handover);
}

static void listen_mail_home(struct reactor *home, const struct mail *mail)
{
    struct net_handover *handover = mail->object;
    completion_fire(home, &handover->home, (int32_t)(int64_t)mail->words[0]);
}

/* On the core that gets the connection. */
static void listen_mail_arrived(struct reactor *receiver, const struct mail *mail)
{
    struct net_handover *handover = mail->object;
    struct net *net = receiver->owner[REACTOR_NET];
    enum err err = net == NULL ? ERR_CLOSED : conn_open(net, handover->fd, handover->protocol);
    struct net_shared *shared = handover->net->options.shared;
    if (err != OK) {
        atomic_fetch_sub_explicit(&shared->cores[mail->words[1]].connections, 1,
                                  memory_order_relaxed);
    }
    handover->mail.fn = listen_mail_home;
    handover->mail.words[0] = (uint64_t)(int64_t)err;
    mail_send(receiver, handover->net->reactor, &handover->mail);
}

/* The core with the fewest connections, this one where it is as good. Counts are advice: relaxed.
 */
static uint32_t listen_choose(const struct net *net)
{
    struct net_shared *shared = net->options.shared;
    uint32_t best = net->options.core_index;
    unsigned fewest = atomic_load_explicit(&shared->cores[best].connections, memory_order_relaxed);
    for (uint32_t i = 0; i < shared->core_count; i++) {
        /* Pairs with the release in listen_start(): an open core has its door. */
        if (!atomic_load_explicit(&shared->cores[i].open, memory_order_acquire)) {
            continue;
        }
        unsigned count = atomic_load_explicit(&shared->cores[i].connections, memory_order_relaxed);
        if (count < fewest) {
            fewest = count;
            best = i;
        }
    }
    return best;
}

static struct net_handover *listen_free_handover(struct net_listener *listener)
{
    for (uint32_t i = 0; i < LISTEN_HANDOVERS; i++) {
        if (!listener->handovers[i].out) {
            return &listener->handovers[i];
        }
    }
    UNREACHABLE();
}

static void listen_hand_over(struct net_listener *listener, int fd)
{
    struct net *net = listener->net;
    ASSERT(listener->handing < LISTEN_HANDOVERS);
    struct net_handover *handover = listen_free_handover(listener);
    uint32_t core = listen_choose(net);
    listener->handing++;
    handover->out = true;
    handover->listener = listener;
    handover->net = net;
    handover->fd = fd;
    handover->protocol = listener->listen.protocol;
    completion_init(&handover->home, listen_handed);
    atomic_fetch_add_explicit(&net->options.shared->cores[core].connections, 1,
                              memory_order_relaxed);
    handover->mail = (struct mail){
        .fn = listen_mail_arrived,
        .object = handover,
        .words = {0, core},
    };
    mail_send(net->reactor, net->reactor->peers[core], &handover->mail);
}

static void listen_resume(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    struct net_listener *listener = CONTAINER_OF(timer, struct net_listener, pause);
    listen_next(listener);
}

static void listen_accepted(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    struct net_listener *listener = CONTAINER_OF(io, struct net_listener, io);
    struct net *net = listener->net;
    listener->accepting = false;
    if (completion->result >= 0) {
        stats_add(&net->reactor->stats, STAT_CONNECTIONS_ACCEPTED, 1);
        listen_hand_over(listener, completion->result);
        listen_next(listener);
        return;
    }
    if (net->stopping) {
        listen_try_close(listener);
        return;
    }
    enum err err = (enum err)completion->result;
    LOG_WARN("accept failed, pausing error=%s", err_name(err));
    timer_start(net->reactor, &listener->pause, LISTEN_PAUSE_NS);
}

static void listen_accept(struct net_listener *listener)
{
    ASSERT(!listener->accepting && listener->handing < LISTEN_HANDOVERS);
    listener->accepting = true;
    completion_init(&listener->io.done, listen_accepted);
    io_accept(&listener->io, listener->fd);
    io_submit(listener->net->reactor, &listener->io);
}

/* All listeners stand, or one failed. */
static void listen_finish_start(struct net *net)
{
    struct net_start *start = net->start;
    net->start = NULL;
    if (net->start_err == OK) {
        /* Pairs with the acquire in listen_choose(). */
        atomic_store_explicit(&net->options.shared->cores[net->options.core_index].open, true,
                              memory_order_release);
        for (uint32_t i = 0; i < net->listening; i++) {
            listen_accept(&net->listeners[i]);
        }
    }
    completion_fire(net->reactor, &start->done, net->start_err);
}

static void listen_step(struct net *net);

/* What to do about it. */
static const char *listen_remedy(enum err err)
{
    return err == ERR_ADDRESS_IN_USE
               ? "; another server holds this port: stop it, or listen on another one"
           : err == ERR_ADDRESS_INVALID
               ? "; give an address of this machine, or 0.0.0.0 or [::] for all of them"
           : err == ERR_DENIED ? "; ports below 1024 need root or CAP_NET_BIND_SERVICE"
                               : "";
}

static void listen_stands(struct completion *completion)
{
    struct io *io = CONTAINER_OF(completion, struct io, done);
    struct net_listener *listener = CONTAINER_OF(io, struct net_listener, io);
    struct net *net = listener->net;
    if (completion->result < 0) {
        enum err err = (enum err)completion->result;
        char text[IO_ADDRESS_TEXT_BYTES];
        snprintf(net->start->message, sizeof(net->start->message), "listen: %s: %s%s",
                 io_address_text(&listener->listen.address, text), err_text(err),
                 listen_remedy(err));
        net->start_err = err;
        listen_finish_start(net);
        return;
    }
    listener->fd = completion->result;
    listener->listen.address = io->listen.address;
    listener->open = true;
    net->listening++;
    listen_step(net);
}

/* One listener after the other: the first that fails is named. */
static void listen_step(struct net *net)
{
    if (net->listening == net->options.listen_count) {
        listen_finish_start(net);
        return;
    }
    struct net_listener *listener = &net->listeners[net->listening];
    listener->net = net;
    listener->listen = net->options.listen[net->listening];
    timer_init(&listener->pause, listen_resume);
    completion_init(&listener->io.done, listen_stands);
    io_listen(&listener->io, &listener->listen.address, net->options.core_count > 1);
    listener->io.listen.first = net->options.core_index == 0;
    listener->io.listen.six_only = listener->listen.six_only;
    io_submit(net->reactor, &listener->io);
}

void listen_start(struct net *net)
{
    ASSERT(net->start != NULL);
    ASSERT(net->listening == 0);
    net->start_err = OK;
    listen_step(net);
}

void listen_stop(struct net *net)
{
    ASSERT(net->stopping);
    atomic_store_explicit(&net->options.shared->cores[net->options.core_index].open, false,
                          memory_order_release);
    for (uint32_t i = 0; i < net->listening; i++) {
        struct net_listener *listener = &net->listeners[i];
        if (listener->accepting) {
            io_socket_shutdown(net->reactor, listener->fd);
        }
        listen_try_close(listener);
    }
}

bool listen_stopped(const struct net *net)
{
    for (uint32_t i = 0; i < net->listening; i++) {
        if (net->listeners[i].open) {
            return false;
        }
    }
    return true;
}
