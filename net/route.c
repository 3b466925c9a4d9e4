/* Zero or one mailbox hop to the owner, and the same way back (shard/request.c). */
#include "net/route.h"

#include "core/assert.h"

static void route_arrived(struct reactor *owner, const struct mail *mail)
{
    struct request *request = mail->object;
    struct agent *agent = owner->owner[REACTOR_META];
    if (agent == NULL) {
        request_finish(owner, request, ERR_NOT_READY);
        return;
    }
    agent_deliver(agent, request);
}

void route_submit(struct net *net, struct request *request)
{
    ASSERT(request->done.fn != NULL);
    ASSERT(!request->done.queued);
    request->home = net->reactor;
    request->map_version = map_version(agent_map(net->options.agent));
    request->owner_state = NULL;
    request->next = NULL;
    uint32_t core = partition_core(&request->partition, net->options.core_count);
    if (core == net->options.core_index) {
        agent_deliver(net->options.agent, request);
        return;
    }
    request->mail.fn = route_arrived;
    request->mail.object = request;
    mail_send(net->reactor, net->reactor->peers[core], &request->mail);
}

static void route_cancel_home(struct reactor *home, const struct mail *mail)
{
    struct route_cancel *cancel = mail->object;
    ASSERT(cancel->home == home);
    completion_fire(home, &cancel->done, OK);
}

static void route_cancel_arrived(struct reactor *owner, const struct mail *mail)
{
    struct route_cancel *cancel = mail->object;
    struct agent *agent = owner->owner[REACTOR_META];
    if (agent != NULL) {
        agent_cancel(agent, cancel->request);
    }
    cancel->mail.fn = route_cancel_home;
    mail_send(owner, cancel->home, &cancel->mail);
}

void route_cancel(struct net *net, struct route_cancel *cancel, struct request *fetch)
{
    ASSERT(fetch->kind == REQUEST_FETCH);
    ASSERT(cancel->done.fn != NULL);
    cancel->home = net->reactor;
    cancel->request = fetch;
    uint32_t core = partition_core(&fetch->partition, net->options.core_count);
    if (core == net->options.core_index) {
        agent_cancel(net->options.agent, fetch);
        completion_fire(net->reactor, &cancel->done, OK);
        return;
    }
    cancel->mail.fn = route_cancel_arrived;
    cancel->mail.object = cancel;
    mail_send(net->reactor, net->reactor->peers[core], &cancel->mail);
}
