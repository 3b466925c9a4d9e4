/* See the header. */
#include "net/walrus/store.h"

/* What a group without members may answer. */
static enum err store_err(enum group_code code)
{
    if (code == GROUP_NOT_AVAILABLE || code == GROUP_LOADING || code == GROUP_CANCELED) {
        return ERR_NOT_READY;
    }
    return code == GROUP_OK ? OK : code == GROUP_LIMIT ? ERR_LIMIT : ERR_STORAGE;
}

static struct store_io *store_io_of(struct completion *completion)
{
    struct group_call *call = CONTAINER_OF(completion, struct group_call, done);
    return CONTAINER_OF(call, struct store_io, call);
}

/* The answer's own room goes back before the call may be used again. */
static void store_released(struct completion *completion)
{
    struct group_call *call = CONTAINER_OF(completion, struct group_call, released);
    struct store_io *io = CONTAINER_OF(call, struct store_io, call);
    completion_fire(io->net->reactor, &io->done, io->done.result);
}

static void store_finish(struct store_io *io, enum err err)
{
    completion_init(&io->call.released, store_released);
    io->done.result = err;
    if (!group_release(io->net, &io->call)) {
        completion_fire(io->net->reactor, &io->done, err);
    }
}

static void store_loaded(struct completion *completion)
{
    struct store_io *io = store_io_of(completion);
    io->position = io->item.offset < 0 ? 0 : (uint64_t)io->item.offset;
    store_finish(io, store_err((enum group_code)completion->result));
}

static void store_saved(struct completion *completion)
{
    struct store_io *io = store_io_of(completion);
    enum group_code code = (enum group_code)completion->result;
    store_finish(io, store_err(code == GROUP_OK ? io->item.code : code));
}

static void store_submit(struct net *net, struct store_io *io, enum group_kind kind,
                         completion_fn *fn)
{
    io->net = net;
    io->item = (struct group_offset_item){
        .topic = io->partition.topic,
        .partition = io->partition.partition,
        .offset = kind == GROUP_COMMIT ? (int64_t)io->position : -1,
        .epoch = -1,
    };
    io->call = (struct group_call){
        .kind = kind,
        .group = bytes_text(WALRUS_GROUP),
        .generation = -1, /* No member: its own offsets are anybody's. */
        .item_count = 1,
        .items = &io->item,
    };
    completion_init(&io->call.done, fn);
    group_submit(net, &io->call);
}

void store_load(struct net *net, struct store_io *io)
{
    store_submit(net, io, GROUP_FETCH, store_loaded);
}

void store_save(struct net *net, struct store_io *io)
{
    store_submit(net, io, GROUP_COMMIT, store_saved);
}
