/* From an engine to a shard and back, and calls in between. Bring-up and bring-down run in the
 * reactor's thread, outside of its turns, one step after the other:
 *
 *     engine -> directory (LOCK, superblock) -> journals -> survey -> map -> shard   and back
 *
 * library_bring_up() is the one place that knows this order. */
#include "shard/library.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/io.h"
#include "core/log.h"
#include "shard/journals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int library_result(enum err err)
{
    static const struct {
        enum err err;
        int result;
    } told[] = {
        {ERR_BATCH_INVALID, FLOE_ERR_CORRUPT},     {ERR_BATCH_CRC, FLOE_ERR_CORRUPT},
        {ERR_BATCH_CODEC, FLOE_ERR_CORRUPT},       {ERR_BATCH_TIMESTAMP, FLOE_ERR_CORRUPT},
        {ERR_BATCH_TOO_LARGE, FLOE_ERR_TOO_LARGE}, {ERR_TRUNCATED, FLOE_ERR_DAMAGED},
        {ERR_SEQUENCE, FLOE_ERR_INVALID},          {ERR_PRODUCER_EPOCH, FLOE_ERR_INVALID},
        {ERR_NOT_READY, FLOE_ERR_STORAGE},         {ERR_CANCELED, FLOE_ERR_STORAGE},
        {ERR_BATCH_KEY, FLOE_ERR_CORRUPT},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(told); i++) {
        if (told[i].err == err) {
            return told[i].result;
        }
    }
    return err;
}

static void library_happened(struct completion *done)
{
    struct library *library = CONTAINER_OF(done, struct library, awaited);
    library->done = true;
    reactor_hurry(library->reactor);
}

/* Turns until `awaited` has fired. */
static enum err library_await(struct library *library)
{
    while (!library->done) {
        (void)reactor_turn(library->reactor, UINT64_MAX);
    }
    library->done = false;
    return library->awaited.result < 0 ? (enum err)library->awaited.result : OK;
}

static enum err library_say(struct library *library, enum err err, const char *what)
{
    if (err != OK && library->message[0] == 0) {
        (void)snprintf(library->message, sizeof(library->message), "%s %s: %s", what, library->path,
                       err_text(err));
    }
    return err;
}

static enum err library_open_engine(struct library *library, const struct io_engine *engine)
{
    struct reactor_options options = {
        .engine = engine,
        .io = {.entries = 256, .recv_count = 4, .recv_size = 4096, .helper = library->helper},
        .memory = {.limit_bytes = library->options.memory_bytes, .numa_node = -1},
    };
    if (!prng_entropy(options.seed)) {
        return ERR_IO;
    }
    memset(library->reactor, 0, sizeof(*library->reactor));
    return reactor_open(library->reactor, &options);
}

/* The engine that was asked for; auto: the first that this system lets us have. */
static enum err library_open_reactor(struct library *library)
{
    enum err err = ERR_UNSUPPORTED;
    library->helper = io_helper_start();
    if (library->helper == NULL) {
        return ERR_NO_MEMORY;
    }
#ifdef FLOE_HAS_URING
    if (library->options.engine != FLOE_ENGINE_POSIX) {
        err = library_open_engine(library, &io_engine_uring);
    }
#endif
    if (err != OK && library->options.engine != FLOE_ENGINE_URING) {
        err = library_open_engine(library, &io_engine_posix);
    }
    if (err != OK) {
        io_helper_stop(library->helper);
        library->helper = NULL;
    }
    return err;
}

/* Once its thread has ended: until then somebody might wake it. */
static void library_close_reactor(struct library *library)
{
    if (library->helper != NULL) {
        io_helper_stop(library->helper);
        library->helper = NULL;
        reactor_close(library->reactor);
    }
    free(library->reactor);
}

static void library_directory_opened(struct completion *done)
{
    struct directory_open *op = CONTAINER_OF(done, struct directory_open, done);
    struct library *library = reactor_self()->owner[REACTOR_USER];
    library->directory = op->directory;
    library->identity = op->identity;
    completion_fire(library->reactor, &library->awaited, done->result);
}

static enum err library_open_directory(struct library *library)
{
    struct directory_open op = {0};
    struct directory_options options = {
        .path = library->path,
        .mode = library->options.mode == FLOE_READ_ONLY ? DIRECTORY_READER : DIRECTORY_LIBRARY,
        .segments = LIBRARY_SEGMENTS_RESERVED,
        .existing = library->options.mode == FLOE_WRITE_EXISTING,
        .version = FLOE_VERSION,
    };
    completion_init(&library->awaited, library_happened);
    completion_init(&op.done, library_directory_opened);
    library->reactor->owner[REACTOR_USER] = library;
    directory_open(&op, library->reactor, &options);
    enum err err = library_await(library);
    if (err != OK) {
        (void)snprintf(library->message, sizeof(library->message), "%s", op.message);
    }
    library->segment_next = library->identity.segment_next;
    library->segment_end = library->segment_next + LIBRARY_SEGMENTS_RESERVED;
    return err;
}

static void library_surveyed(struct completion *done)
{
    struct library *library = reactor_self()->owner[REACTOR_USER];
    completion_fire(library->reactor, &library->awaited, done->result);
}

static enum err library_survey(struct library *library)
{
    struct survey_walk *walk = calloc(1, sizeof(*walk));
    if (walk == NULL) {
        return ERR_NO_MEMORY;
    }
    walk->survey = &library->survey;
    completion_init(&walk->done, library_surveyed);
    survey_start(walk, library->reactor, library->path);
    enum err err = library_await(library);
    free(walk);
    return err == OK ? library_map_open(library) : err;
}

static void library_journals_opened(struct completion *done)
{
    struct journals_open *op = CONTAINER_OF(done, struct journals_open, done);
    struct library *library = reactor_self()->owner[REACTOR_USER];
    library->journals = op->journals;
    completion_fire(library->reactor, &library->awaited, done->result);
}

/* What a crash left in the journal goes into the files before anybody looks at these. Who only
 * reads has none, and writes none. */
static enum err library_open_journals(struct library *library)
{
    struct journals_open op = {0};
    struct journals_options options = {
        .data_dir = library->path,
        .boot = (uint32_t)library->identity.boot,
        .core_count = 1,
        .direct = library->options.direct,
    };
    if (library->options.mode == FLOE_READ_ONLY) {
        return library_view(library);
    }
    memcpy(options.directory_id, library->identity.directory_id, sizeof(options.directory_id));
    completion_init(&op.done, library_journals_opened);
    journals_open(&op, library->reactor, &options);
    enum err err = library_await(library);
    if (err != OK) {
        (void)snprintf(library->message, sizeof(library->message), "%.500s", op.message);
    }
    return err;
}

bool library_is_dead(struct library *library)
{
    return atomic_load(&library->dead);
}

static void library_died(void *context, const struct shard_failure *failure)
{
    struct library *library = context;
    (void)failure; /* It was logged. */
    COVER("a handle of the library is dead");
    atomic_store(&library->dead, true);
}

static enum err library_open_shard(struct library *library)
{
    struct shard_options options = {
        .data_dir = library->path,
        .hooks = {.context = library,
                  .roll = library_roll,
                  .trim = library_trim,
                  .fail = library_died},
        .node_id = library->identity.node_id,
        .boot = (uint32_t)library->identity.boot,
        .partitions_max = library->options.partitions_max,
        .appends_max = LIBRARY_APPENDS_MAX,
        .direct = library->options.direct,
        .mapped = library->options.mapped,
    };
    memcpy(options.disk_id, library->identity.disk_id, sizeof(options.disk_id));
    if (library->journals != NULL) {
        journals_assign(library->journals, 0, &options);
    }
    return shard_open(&library->shard, library->reactor, &options);
}

static enum err library_bring_down(struct library *library)
{
    enum err err = OK;
    bool clean = false;
    if (library->shard != NULL) {
        shard_stop(library->shard, &library->awaited);
        err = library_await(library);
        clean = shard_is_clean(library->shard);
        shard_close(library->shard);
        library->shard = NULL;
    }
    if (library->journals != NULL) {
        journals_close(library->journals, clean, &library->awaited);
        enum err closed = library_await(library);
        err = err == OK ? closed : err;
        library->journals = NULL;
    }
    if (library->directory != NULL) {
        directory_close(library->directory, &library->awaited);
        enum err closed = library_await(library);
        err = err == OK ? closed : err;
        library->directory = NULL;
    }
    library_view_close(library);
    library_map_close(library);
    survey_free(&library->survey);
    return library_is_dead(library) ? ERR_IO : err;
}

/* Each step needs the one before it. */
static enum err library_bring_up(struct library *library)
{
    enum err err = library_say(library, library_open_reactor(library),
                               "cannot open an I/O engine and its memory for");
    if (err != OK) {
        return err;
    }
    err = library_say(library, library_open_directory(library), "cannot open");
    if (err == OK) {
        err = library_say(library, library_open_journals(library), "cannot open the journal of");
    }
    if (err == OK) {
        err = library_say(library, library_survey(library), "cannot look at the segments of");
    }
    if (err == OK) {
        err = library_say(library, library_open_shard(library), "cannot open the log of");
    }
    if (err != OK) {
        (void)library_bring_down(library);
    }
    return err;
}

/* Shared: from the opening of the handle to its end. */
static void library_main(void *context)
{
    struct library *library = context;
    enum err err = library_bring_up(library);
    library->awaited.result = err;
    gate_open(&library->opened);
    if (err == OK) {
        reactor_run(library->reactor);
        library->awaited.result = library_bring_down(library);
    }
}

enum err library_open(struct library *library)
{
    list_init(&library->objects);
    list_init(&library->appends);
    list_init(&library->syncs);
    list_init(&library->parked);
    library->reactor = aligned_alloc(CACHE_LINE_BYTES, sizeof(struct reactor));
    if (library->reactor == NULL) {
        return library_say(library, ERR_NO_MEMORY, "cannot open");
    }
    enum err err = OK;
    if (!library->options.shared) {
        err = library_bring_up(library);
    } else {
        gate_init(&library->opened);
        library->thread = thread_start(library_main, library);
        if (library->thread == NULL) {
            err = library_say(library, ERR_LIMIT, "cannot make a thread for");
        } else {
            gate_wait(&library->opened);
            err = (enum err)library->awaited.result;
        }
        if (err != OK && library->thread != NULL) {
            thread_join(library->thread);
        }
        gate_deinit(&library->opened);
    }
    if (err != OK) {
        library_close_reactor(library);
    }
    return err;
}

enum err library_close(struct library *library)
{
    enum err err;
    if (library->options.shared) {
        reactor_stop(library->reactor);
        thread_join(library->thread);
        err = (enum err)library->awaited.result;
    } else {
        err = library_bring_down(library);
    }
    library_close_reactor(library);
    return err;
}

static void library_ordered(struct completion *order)
{
    struct library_call *call = CONTAINER_OF(order, struct library_call, order);
    call->start(call);
}

void library_call_start(struct library_call *call)
{
    ASSERT(call->start != NULL);
    call->done = false;
    if (call->library->options.shared) {
        gate_init(&call->gate);
        completion_init(&call->order, library_ordered);
        reactor_post(call->library->reactor, &call->order, OK);
    } else {
        call->start(call);
    }
}

void library_call_wait(struct library_call *call)
{
    if (call->library->options.shared) {
        gate_wait(&call->gate);
        gate_deinit(&call->gate);
        return;
    }
    while (!call->done) {
        (void)reactor_turn(call->library->reactor, UINT64_MAX);
    }
}

void library_call(struct library_call *call)
{
    library_call_start(call);
    library_call_wait(call);
}

void library_answer(struct library_call *call, int result)
{
    ASSERT(!call->done);
    bool dead = result < 0 && library_is_dead(call->library);
    call->result = dead ? FLOE_ERR_IO : result;
    call->done = true;
    if (call->library->options.shared) {
        gate_open(&call->gate); /* From here on it is the caller's. */
    } else {
        reactor_hurry(call->library->reactor);
    }
}

static void library_submitted(struct completion *done)
{
    struct request *request = CONTAINER_OF(done, struct request, done);
    struct library_call *call = CONTAINER_OF(request, struct library_call, request);
    library_answer(call, done->result < 0 ? library_result((enum err)done->result) : FLOE_OK);
}

void library_submit(struct library_call *call, enum request_kind kind,
                    const struct partition_id *id, completion_fn *done)
{
    struct request *request = &call->request;
    request->kind = kind;
    request->home = call->library->reactor;
    request->partition = *id;
    completion_init(&request->done, done != NULL ? done : library_submitted);
    shard_submit(call->library->shard, request);
}
