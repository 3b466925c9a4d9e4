/* Wishes meet the group of a stream; see stream_wish.h. */
#include "core/assert.h"
#include "core/cover.h"
#include "net/group/group_internal.h"

/* What a pending entry may cost, so that a reading is refused before it has begun. */
enum { SERVE_ENTRY_BYTES = 64 };

static struct group_call *queue_pop(struct group_stream *stream)
{
    struct group_call *call = stream->first;
    if (call != NULL) {
        stream->first = call->next;
        stream->last = stream->first == NULL ? NULL : stream->last;
        call->next = NULL;
    }
    return call;
}

static bool list_take_out(struct group_call **first, struct group_call **last,
                          struct group_call *call)
{
    struct group_call *before = NULL;
    for (struct group_call *at = *first; at != NULL; before = at, at = at->next) {
        if (at != call) {
            continue;
        }
        if (before == NULL) {
            *first = call->next;
        } else {
            before->next = call->next;
        }
        if (last != NULL && *last == call) {
            *last = before;
        }
        call->next = NULL;
        return true;
    }
    return false;
}

void group_stream_cancel(struct group_core *core, struct group_call *call)
{
    struct group_stream *stream = call->stream->at;
    bool found = list_take_out(&stream->first, &stream->last, call) ||
                 list_take_out(&stream->waiting, NULL, call);
    ASSERT(found);
    group_finish(core, call, GROUP_CANCELED);
}

static void dismiss_waiting(struct group_stream *stream, enum group_code code)
{
    while (stream->waiting != NULL) {
        struct group_call *call = stream->waiting;
        stream->waiting = call->next;
        call->next = NULL;
        group_finish(stream->log->core, call, code);
    }
}

void group_stream_dismiss(struct group_stream *stream, enum group_code code)
{
    struct group_call *call;
    dismiss_waiting(stream, code);
    while ((call = queue_pop(stream)) != NULL) {
        group_finish(stream->log->core, call, code);
    }
}

/* Too much is to be written: on it goes when that is. */
static void stall(struct group_log *log, struct group_call *call)
{
    COVER("a change of a stream's group waits for the log");
    call->stream->begun = true;
    call->place = GROUP_HELD;
    call->next = NULL;
    if (log->stalled_last == NULL) {
        log->stalled_first = call;
    } else {
        log->stalled_last->next = call;
    }
    log->stalled_last = call;
    group_log_kick(log);
}

void group_stream_resume(struct group_log *log)
{
    struct group_call *call = log->stalled_first;
    log->stalled_first = log->stalled_last = NULL;
    while (call != NULL) {
        struct group_call *next = call->next;
        call->next = NULL;
        group_serve(log, call);
        call = next;
    }
}

/* --- Changes. --- */

static enum group_code serve_create(struct group_log *log, struct group_stream *stream,
                                    const struct stream_wish *wish)
{
    if (stream != NULL) {
        return GROUP_EXISTS;
    }
    group_streams_sweep(log);
    stream = group_stream_add(log, &wish->key, wish->group);
    if (stream == NULL) {
        return GROUP_LIMIT;
    }
    stream->state.last = wish->id;
    stream->state.entries_read = wish->entries_read;
    group_stream_mark(stream);
    return GROUP_OK;
}

static struct stream_reader *serve_reader(struct group_stream *stream,
                                          const struct stream_wish *wish)
{
    uint64_t now_ms = stream->log->core->reactor->now_ms;
    struct stream_reader *reader = stream_reader_find(&stream->state, wish->reader);
    if (reader == NULL) {
        reader = stream_reader_add(&stream->state, wish->reader, now_ms);
        if (reader != NULL) {
            group_stream_mark(stream);
        }
        return reader;
    }
    stream_reader_touch(reader, now_ms, false);
    return reader;
}

static enum group_code serve_reader_add(struct group_stream *stream, struct stream_wish *wish)
{
    wish->number = stream_reader_find(&stream->state, wish->reader) == NULL ? 1 : 0;
    if (wish->number == 0) {
        return GROUP_OK;
    }
    return serve_reader(stream, wish) == NULL ? GROUP_LIMIT : GROUP_OK;
}

/* False: it goes on later. */
static bool serve_reader_drop(struct group_stream *stream, struct stream_wish *wish)
{
    struct stream_reader *reader = stream_reader_find(&stream->state, wish->reader);
    if (reader == NULL) {
        return true;
    }
    if (!wish->begun) {
        wish->number = reader->pending;
    }
    bool done = stream_reader_drop(reader);
    group_stream_mark(stream);
    return done;
}

static bool serve_ack(struct group_stream *stream, struct stream_wish *wish)
{
    bool changed = false;
    while (wish->next < wish->id_count && !stream_is_full(&stream->state)) {
        if (pending_drop(&stream->state, wish->ids[wish->next])) {
            wish->number++;
            changed = true;
        }
        wish->next++;
    }
    if (changed) {
        group_stream_mark(stream);
    }
    return wish->next == wish->id_count;
}

/* --- Taking. --- */

static bool is_idle(const struct stream_entry *entry, const struct stream_wish *wish,
                    uint64_t now_ms)
{
    return wish->idle_ms == 0 || entry->delivered_ms + wish->idle_ms <= now_ms;
}

static void take_own(const struct stream_group *group, const struct stream_reader *reader,
                     struct stream_wish *wish)
{
    struct pending_place place = pending_seek(group, wish->id);
    const struct stream_entry *entry;
    uint32_t left = reader->pending; /* Or nobody would see when there is no more. */
    wish->id_count = 0;
    while (left > 0 && wish->id_count < wish->capacity &&
           (entry = pending_at(group, place)) != NULL) {
        if (entry->reader == reader) {
            wish->ids[wish->id_count++] = entry->id;
            left--;
        }
        pending_step(group, &place);
    }
}

static void take_named(const struct stream_group *group, struct stream_wish *wish, uint64_t now_ms)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < wish->id_count; i++) {
        const struct stream_entry *entry = pending_find(group, wish->ids[i]);
        if (entry == NULL ? wish->force : is_idle(entry, wish, now_ms)) {
            wish->ids[count++] = wish->ids[i];
        }
    }
    wish->id_count = count;
}

/* Ten times as many are looked at as are wanted, as Redis does. */
static void take_idle(const struct stream_group *group, struct stream_wish *wish, uint64_t now_ms)
{
    struct pending_place place = pending_seek(group, wish->id);
    const struct stream_entry *entry;
    uint64_t count = min_u64(wish->count, wish->capacity);
    uint64_t attempts = count * 10;
    wish->id_count = 0;
    while ((entry = pending_at(group, place)) != NULL && wish->id_count < count && attempts-- > 0) {
        if (is_idle(entry, wish, now_ms)) {
            wish->ids[wish->id_count++] = entry->id;
        }
        pending_step(group, &place);
    }
    wish->id = entry == NULL ? (struct stream_id){0, 0} : entry->id;
}

static enum group_code serve_take(struct group_stream *stream, struct stream_wish *wish)
{
    struct stream_group *group = &stream->state;
    uint64_t now_ms = stream->log->core->reactor->now_ms;
    struct stream_reader *reader = serve_reader(stream, wish);
    uint64_t room =
        group->memory->max_bytes - min_u64(group->memory->max_bytes, group->memory->used_bytes);
    bool adds = wish->force || (wish->kind == STREAM_TAKE_NEW && !wish->no_ack);
    if (reader == NULL || (adds && room < (uint64_t)wish->capacity * SERVE_ENTRY_BYTES)) {
        return GROUP_LIMIT;
    }
    if (wish->kind == STREAM_TAKE_NEW) {
        wish->id = group->last;
        wish->entries_read = group->entries_read;
    } else if (wish->kind == STREAM_TAKE_OWN) {
        take_own(group, reader, wish);
    } else if (wish->kind == STREAM_TAKE_NAMED) {
        take_named(group, wish, now_ms);
    } else {
        take_idle(group, wish, now_ms);
    }
    stream->token = wish->token = ++stream->log->core->stream_token;
    return GROUP_OK;
}

/* --- What ends it. --- */

static enum group_code serve_give(struct group_stream *stream, struct stream_wish *wish, bool *done)
{
    struct stream_group *group = &stream->state;
    uint64_t now_ms = stream->log->core->reactor->now_ms;
    enum group_code code = GROUP_OK;
    struct stream_reader *reader = serve_reader(stream, wish);
    if (reader == NULL) {
        return GROUP_LIMIT; /* It was deleted, and there is no room for it any more. */
    }
    while (wish->next < wish->id_count && code == GROUP_OK && !stream_is_full(group)) {
        struct stream_id id = wish->ids[wish->next];
        if (!wish->no_ack && !pending_put(group, reader, id, now_ms, 1)) {
            code = GROUP_LIMIT;
            break;
        }
        group->last = id;
        wish->next++;
    }
    *done = code != GROUP_OK || wish->next == wish->id_count;
    group->entries_read = *done && code == GROUP_OK ? wish->entries_read : -1;
    stream_reader_touch(reader, now_ms, true);
    group_stream_mark(stream);
    return code;
}

static bool claim_one(struct group_stream *stream, struct stream_wish *wish,
                      struct stream_reader *reader, uint64_t now_ms)
{
    struct stream_group *group = &stream->state;
    struct stream_id id = wish->ids[wish->next];
    const struct stream_entry *entry = pending_find(group, id);
    if (!wish->found[wish->next]) {
        if (!wish->keep_missing) {
            (void)pending_drop(group, id);
        }
        return true;
    }
    if (entry == NULL && !wish->force) {
        return true; /* Acknowledged meanwhile: as if that came behind this. */
    }
    uint32_t deliveries = entry == NULL ? 0 : entry->deliveries;
    if (wish->deliveries >= 0) {
        deliveries = (uint32_t)min_u64((uint64_t)wish->deliveries, UINT32_MAX);
    } else if (!wish->just_id && deliveries < UINT32_MAX) {
        deliveries++;
    }
    uint64_t delivered_ms = wish->delivered_ms == 0 ? now_ms : wish->delivered_ms;
    if (!pending_put(group, reader, id, delivered_ms, 1)) {
        return false;
    }
    pending_find(group, id)->deliveries = deliveries;
    return true;
}

static enum group_code serve_claim(struct group_stream *stream, struct stream_wish *wish,
                                   bool *done)
{
    struct stream_group *group = &stream->state;
    uint64_t now_ms = stream->log->core->reactor->now_ms;
    enum group_code code = GROUP_OK;
    bool got = false;
    struct stream_reader *reader = serve_reader(stream, wish);
    if (reader == NULL) {
        return GROUP_LIMIT;
    }
    if (stream_id_compare(wish->last, group->last) > 0) {
        group->last = wish->last;
        group->entries_read = -1;
    }
    while (wish->next < wish->id_count && code == GROUP_OK && !stream_is_full(group)) {
        got = got || wish->found[wish->next] != 0;
        code = claim_one(stream, wish, reader, now_ms) ? GROUP_OK : GROUP_LIMIT;
        wish->next += code == GROUP_OK ? 1 : 0;
    }
    *done = code != GROUP_OK || wish->next == wish->id_count;
    stream_reader_touch(reader, now_ms, got && !wish->passive);
    group_stream_mark(stream);
    return code;
}

/* --- All of them. --- */

/* Those that read wait until whoever has taken the group gives it back; false: it is gone. */
static bool serve_turn(struct group_stream *stream, struct group_call *call)
{
    struct group_log *log = stream->log;
    struct stream_wish *wish = call->stream;
    if (wish->kind == STREAM_DESTROY) {
        group_stream_delete(stream);
        group_finish_durable(log, call, GROUP_OK);
        return false;
    }
    if (wish->kind == STREAM_READER_DROP && !serve_reader_drop(stream, wish)) {
        stall(log, call);
    } else if (wish->kind == STREAM_READER_DROP) {
        group_finish_durable(log, call, GROUP_OK);
    } else if (wish->kind == STREAM_SETID) {
        stream->state.last = wish->id;
        stream->state.entries_read = wish->entries_read;
        group_stream_mark(stream);
        dismiss_waiting(stream, GROUP_OK);
        group_finish_durable(log, call, GROUP_OK);
    } else { /* What it takes is durable when it is given back. */
        group_finish(log->core, call, serve_take(stream, wish));
    }
    return true;
}

/* One after the other until one has taken it, or the group is gone with all who wait. */
static void serve_next(struct group_stream *stream)
{
    while (stream->token == 0 && stream->first != NULL) {
        if (!serve_turn(stream, queue_pop(stream))) {
            return;
        }
    }
}

static void serve_take_turn(struct group_stream *stream, struct group_call *call)
{
    struct stream_wish *wish = call->stream;
    if (stream->token == 0 && (stream->first == NULL || wish->begun)) {
        if (serve_turn(stream, call)) {
            serve_next(stream);
        }
        return;
    }
    call->place = GROUP_PARKED;
    wish->at = stream;
    call->next = NULL;
    if (stream->last == NULL) {
        stream->first = call;
    } else {
        stream->last->next = call;
    }
    stream->last = call;
}

/* GIVE, CLAIM, RELEASE: of whoever has taken it. */
static void serve_end(struct group_stream *stream, struct group_call *call)
{
    struct stream_wish *wish = call->stream;
    bool done = true;
    enum group_code code = GROUP_OK;
    if (stream->token != wish->token) {
        /* Another one has it: the log was read again meanwhile. */
        group_finish(stream->log->core, call, GROUP_NOT_AVAILABLE);
        return;
    }
    if (wish->kind == STREAM_GIVE) {
        code = serve_give(stream, wish, &done);
    } else if (wish->kind == STREAM_CLAIM) {
        code = serve_claim(stream, wish, &done);
    }
    if (!done) {
        stall(stream->log, call);
        return;
    }
    stream->token = 0;
    group_finish_durable(stream->log, call, code);
    serve_next(stream);
}

/* Until there is something else to be seen than the caller has seen. */
static void serve_wait(struct group_stream *stream, struct group_call *call)
{
    if (stream_id_compare(stream->state.last, call->stream->id) != 0) {
        group_finish(stream->log->core, call, GROUP_OK);
        return;
    }
    call->place = GROUP_PARKED;
    call->stream->at = stream;
    call->next = stream->waiting;
    stream->waiting = call;
}

static void serve_here(struct group_stream *stream, struct group_call *call)
{
    struct group_log *log = stream->log;
    struct stream_wish *wish = call->stream;
    switch (wish->kind) {
    case STREAM_SETID:
    case STREAM_DESTROY:
    case STREAM_READER_DROP:
    case STREAM_TAKE_NEW:
    case STREAM_TAKE_OWN:
    case STREAM_TAKE_NAMED:
    case STREAM_TAKE_IDLE:
        serve_take_turn(stream, call);
        return;
    case STREAM_GIVE:
    case STREAM_CLAIM:
    case STREAM_RELEASE:
        serve_end(stream, call);
        return;
    case STREAM_READER_ADD:
        group_finish_durable(log, call, serve_reader_add(stream, wish));
        return;
    case STREAM_LOOK:
        group_finish(log->core, call, serve_reader(stream, wish) == NULL ? GROUP_LIMIT : GROUP_OK);
        return;
    case STREAM_WAIT:
        serve_wait(stream, call);
        return;
    case STREAM_ACK:
        if (serve_ack(stream, wish)) {
            group_finish_durable(log, call, GROUP_OK);
        } else {
            stall(log, call);
        }
        return;
    case STREAM_SUMMARY:
    case STREAM_PENDING:
    case STREAM_READERS:
        group_finish_durable(log, call, group_stream_answer(log, stream, call));
        return;
    case STREAM_CREATE:
    case STREAM_GROUPS:
    case STREAM_COUNT:
        break; /* These need no group that is there. */
    }
    UNREACHABLE();
}

void group_stream_serve(struct group_log *log, struct group_call *call)
{
    struct stream_wish *wish = call->stream;
    struct group_stream *stream = group_stream_find(log->core, &wish->key, wish->group);
    if (!wish->begun) {
        wish->number = 0;
    }
    if (wish->kind == STREAM_CREATE) {
        group_finish_durable(log, call, serve_create(log, stream, wish));
    } else if (wish->kind == STREAM_GROUPS || wish->kind == STREAM_COUNT) {
        group_finish_durable(log, call, group_stream_answer(log, NULL, call));
    } else if (stream == NULL) {
        group_finish_durable(log, call, GROUP_NOT_FOUND);
    } else {
        serve_here(stream, call);
    }
}
