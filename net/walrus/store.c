/* See the header. Until there are groups, nothing survives. */
#include "net/walrus/store.h"

void store_load(struct net *net, struct store_io *io)
{
    io->position = 0;
    completion_fire(net->reactor, &io->done, OK);
}

void store_save(struct net *net, struct store_io *io)
{
    completion_fire(net->reactor, &io->done, OK);
}
