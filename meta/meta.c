/* The metadata core's loop around raft.
 *
 *     proposals: waiting -> one entry per turn -> raft_apply() -> applied to the map, here
 *                -> sent to every agent -> all have it -> answered at home
 *
 * At most META_ENTRIES_MAX entries are in flight (raft.md, rule R1), fewer while the log waits for
 * a snapshot. Raft's own failures end the process: there is no safe way on. */
#include "meta/meta.h"

#include "core/assert.h"
#include "core/cover.h"
#include "core/log.h"
#include "meta/entry.h"
#include "meta/machine.h"
#include "meta/map_internal.h"
#include "meta/meta_mail.h"
#include "meta/raft_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    META_ENTRIES_MAX = 16,
    META_ENTRY_COMMANDS_MAX = 256,
    META_ENTRY_BYTES = COMMAND_BYTES_MAX + 64,
    META_TICK_MS = 200, /* Of a lone voter: it elects itself at once and has nobody to hear. */
    META_ELECTION_MS = 1000,
    META_SNAPSHOT_ENTRIES = 8192,
    META_TRAILING_ENTRIES = 1024,
};

/* One entry on its way to the agents. */
struct meta_delta {
    struct meta *meta;
    uint8_t *data;
    uint32_t awaited;
    struct proposal *answered; /* Who hears of it when all agents have it. */
    struct map_update updates[];
};

/* One entry that was proposed here. */
struct meta_entry {
    struct raft_apply request;
    struct meta *meta;
    struct proposal *head; /* In the order of the commands. */
};

struct meta {
    struct reactor *reactor;
    struct meta_options options;
    struct map *map;
    struct raft raft;
    struct raft_host host;
    struct raft_fsm fsm;
    bool started;      /* raft_init() was called. */
    uint64_t sequence; /* Of this node's last command. */
    struct proposal *waiting_head, *waiting_tail;
    uint32_t in_flight; /* Entries. */
    struct completion kick;
    struct reactor **agents; /* NULL: not subscribed. */
    uint32_t agent_count;

    /* What the last fsm->apply() did, for the callback of its proposer that follows at once. */
    struct command_result results[META_ENTRY_COMMANDS_MAX];
    uint32_t result_count;
    struct meta_delta *delta;

    struct meta_start *start;
    struct proposal own; /* What the node says of itself. */
    struct completion *stop_done;
};

static void meta_queue(struct meta *meta, struct proposal *proposal)
{
    proposal->next = NULL;
    if (meta->waiting_tail == NULL) {
        meta->waiting_head = proposal;
    } else {
        meta->waiting_tail->next = proposal;
    }
    meta->waiting_tail = proposal;
    if (!meta->kick.queued) {
        completion_fire(meta->reactor, &meta->kick, OK);
    }
}

static void meta_answer(struct meta *meta, struct proposal *proposal)
{
    while (proposal != NULL) {
        struct proposal *next = proposal->next;
        proposal->next = NULL;
        if (proposal->home == meta->reactor) {
            completion_fire(meta->reactor, &proposal->done, proposal->result.err);
        } else {
            proposal->mail = (struct mail){.fn = agent_on_answer, .object = proposal};
            mail_send(meta->reactor, proposal->home, &proposal->mail);
        }
        proposal = next;
    }
}

static void meta_refuse(struct meta *meta, struct proposal *proposal, enum err err)
{
    for (struct proposal *p = proposal; p != NULL; p = p->next) {
        p->result = (struct command_result){.err = err};
    }
    meta_answer(meta, proposal);
}

/* Sends `data` (taken over) to all agents. */
static struct meta_delta *meta_publish(struct meta *meta, uint8_t *data, uint64_t size,
                                       uint64_t version)
{
    struct meta_delta *delta =
        calloc(1, sizeof(*delta) + meta->agent_count * sizeof(delta->updates[0]));
    if (delta == NULL) {
        PANIC("out of memory while publishing the map; the node must be restarted");
    }
    delta->meta = meta;
    delta->data = data;
    uint32_t used = 0;
    for (uint32_t i = 0; i < meta->options.data_core_count; i++) {
        if (meta->agents[i] == NULL) {
            continue;
        }
        struct map_update *update = &delta->updates[used++];
        *update = (struct map_update){
            .mail = {.fn = agent_on_update, .object = update},
            .delta = delta,
            .data = data,
            .size = size,
            .version = version,
        };
        mail_send(meta->reactor, meta->agents[i], &update->mail);
    }
    ASSERT(used == meta->agent_count);
    delta->awaited = used;
    return delta;
}

void meta_on_update_home(struct reactor *receiver, const struct mail *mail)
{
    struct map_update *update = mail->object;
    struct meta_delta *delta = update->delta;
    struct meta *meta = delta->meta;
    ASSERT(receiver == meta->reactor && delta->awaited > 0);
    delta->awaited--;
    if (delta->awaited == 0) {
        meta_answer(meta, delta->answered);
        free(delta->data);
        free(delta);
    }
}

void meta_submit(struct meta *meta, struct proposal *proposal)
{
    proposal->home = meta->reactor;
    meta_queue(meta, proposal);
}

static int meta_fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct meta *meta = fsm->data;
    struct entry_reader entry;
    enum err err = entry_open(&entry, bytes_of(buf->base, (uint32_t)buf->len));
    if (err == OK && entry.left > META_ENTRY_COMMANDS_MAX) {
        err = ERR_CORRUPT;
    }
    uint64_t version = map_version(meta->map);
    meta->result_count = 0;
    meta->delta = NULL;
    while (err == OK && entry.left > 0) {
        struct command command;
        err = entry_next(&entry, &command);
        if (err == OK) {
            machine_apply(meta->map, map_version(meta->map) + 1, &command,
                          &meta->results[meta->result_count++], NULL);
        }
    }
    if (err != OK) {
        PANIC("the metadata log holds an entry that cannot be read (%s): was it written by a newer "
              "version of floe?",
              err_text(err));
    }
    if (meta->agent_count > 0) {
        uint8_t *copy = malloc(buf->len);
        if (copy == NULL) {
            PANIC("out of memory while publishing the map; the node must be restarted");
        }
        memcpy(copy, buf->base, buf->len);
        meta->delta = meta_publish(meta, copy, buf->len, version);
    }
    *result = meta;
    return 0;
}

static int meta_fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct meta *meta = fsm->data;
    uint64_t size = machine_encode(meta->map, NULL, 0);
    struct raft_buffer *made = raft_malloc(sizeof(*made));
    void *data = raft_malloc(size);
    if (made == NULL || data == NULL) {
        raft_free(made);
        raft_free(data);
        return RAFT_NOMEM;
    }
    (void)machine_encode(meta->map, data, size);
    *made = (struct raft_buffer){.base = data, .len = size};
    *bufs = made;
    *n_bufs = 1;
    return 0;
}

static int meta_fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    struct meta *meta = fsm->data;
    if (machine_decode(meta->map, buf->base, buf->len) != OK) {
        return RAFT_CORRUPT;
    }
    raft_free(buf->base);
    return 0;
}

/* Runs right after meta_fsm_apply() of the same entry, or with an error. */
static void meta_applied(struct raft_apply *request, int status, void *result)
{
    struct meta_entry *entry = CONTAINER_OF(request, struct meta_entry, request);
    struct meta *meta = entry->meta;
    struct proposal *head = entry->head;
    free(entry);
    ASSERT(meta->in_flight > 0);
    meta->in_flight--;
    if (!meta->kick.queued) {
        completion_fire(meta->reactor, &meta->kick, OK);
    }
    if (status != 0) {
        meta_refuse(meta, head, ERR_TIMEOUT); /* It may still be committed by another leader. */
        return;
    }
    ASSERT(result == meta);
    uint32_t at = 0;
    for (struct proposal *p = head; p != NULL; p = p->next) {
        ASSERT(at < meta->result_count);
        p->result = meta->results[at++];
    }
    ASSERT(at == meta->result_count);
    if (meta->delta != NULL && !MUTANT("answer-before-cores")) {
        meta->delta->answered = head;
    } else {
        meta_answer(meta, head);
    }
}

/* Shards have to follow it. An entry is answered as a whole: one with such a command holds no other
 * kind. A roll or a trim that waited for them could wait for ever: a DROP waits for those of its
 * partition. */
static bool meta_is_work(const struct proposal *proposal)
{
    switch (proposal->command.kind) {
    case COMMAND_TOPIC_CREATE:
    case COMMAND_TOPIC_DELETE:
    case COMMAND_TOPIC_CONFIGURE:
    case COMMAND_TOPIC_GROW:
        return true;
    case COMMAND_CLUSTER_INIT:
    case COMMAND_NODE_REGISTER:
    case COMMAND_SEGMENT_ROLL:
    case COMMAND_SEGMENT_TRIM:
    case COMMAND_PRODUCER_IDS:
    case COMMAND_ADOPT: /* Before there are shards. */
    case COMMAND_RAISE:
        return false;
    }
    UNREACHABLE();
}

/* Takes proposals off the queue into one entry; NULL: the first one does not fit, it is refused. */
static struct proposal *meta_fill(struct meta *meta, struct bytes_writer *writer)
{
    struct proposal *head = NULL;
    struct proposal **end = &head;
    uint32_t count = 0;
    entry_begin(writer);
    while (meta->waiting_head != NULL && count < META_ENTRY_COMMANDS_MAX) {
        struct proposal *proposal = meta->waiting_head;
        if (head != NULL && meta_is_work(head) != meta_is_work(proposal) &&
            !MUTANT("roll-in-work")) {
            break;
        }
        proposal->command.origin = meta->options.node_id;
        proposal->command.sequence = meta->sequence + 1;
        bool added = entry_add(writer, &proposal->command);
        if (!added && head != NULL) {
            break;
        }
        meta->waiting_head = proposal->next;
        if (meta->waiting_head == NULL) {
            meta->waiting_tail = NULL;
        }
        proposal->next = NULL;
        if (!added) {
            meta_refuse(meta, proposal, ERR_TOO_LARGE);
            return NULL;
        }
        meta->sequence++;
        count++;
        *end = proposal;
        end = &proposal->next;
    }
    return head;
}

static void meta_propose(struct meta *meta)
{
    struct meta_entry *entry = calloc(1, sizeof(*entry));
    uint8_t *data = raft_malloc(META_ENTRY_BYTES);
    if (entry == NULL || data == NULL) {
        PANIC("out of memory for an entry of the metadata log; the node must be restarted");
    }
    struct bytes_writer writer = bytes_writer(data, META_ENTRY_BYTES);
    entry->meta = meta;
    entry->head = meta_fill(meta, &writer);
    if (entry->head == NULL) {
        raft_free(data);
        free(entry);
        return;
    }
    uint8_t *fitted = raft_realloc(data, writer.position);
    struct raft_buffer buffer = {.base = fitted != NULL ? fitted : data, .len = writer.position};
    struct proposal *head = entry->head;
    int rv = raft_apply(&meta->raft, &entry->request, &buffer, 1, meta_applied);
    if (rv != 0) {
        raft_free(buffer.base);
        free(entry);
        meta_refuse(meta, head, ERR_NOT_READY);
        return;
    }
    meta->in_flight++;
}

static void meta_kicked(struct completion *kick)
{
    struct meta *meta = CONTAINER_OF(kick, struct meta, kick);
    if (raft_state(&meta->raft) == RAFT_UNAVAILABLE && meta->stop_done == NULL) {
        PANIC("raft has stopped: %s", raft_errmsg(&meta->raft));
    }
    bool full = raft_log_wants_snapshot(meta->host.log);
    raft_set_snapshot_threshold(&meta->raft, full ? 1 : META_SNAPSHOT_ENTRIES);
    uint32_t limit = full ? 1 : META_ENTRIES_MAX;
    while (meta->waiting_head != NULL && meta->in_flight < limit &&
           !raft_host_is_pressed(&meta->host)) {
        meta_propose(meta);
    }
}

void meta_on_proposal(struct reactor *receiver, const struct mail *mail)
{
    struct meta *meta = receiver->owner[REACTOR_META];
    ASSERT(meta != NULL);
    meta_queue(meta, mail->object);
}

void meta_on_subscribe(struct reactor *receiver, const struct mail *mail)
{
    struct meta *meta = receiver->owner[REACTOR_META];
    struct map_subscription *subscription = mail->object;
    uint32_t core = subscription->reactor->index;
    ASSERT(core < meta->options.data_core_count && meta->agents[core] == NULL);
    meta->agents[core] = subscription->reactor;
    meta->agent_count++;
    uint64_t size = machine_encode(meta->map, NULL, 0);
    struct meta_delta *delta = calloc(1, sizeof(*delta) + sizeof(delta->updates[0]));
    uint8_t *data = malloc(size);
    if (delta == NULL || data == NULL) {
        PANIC("out of memory while publishing the map; the node must be restarted");
    }
    (void)machine_encode(meta->map, data, size);
    *delta = (struct meta_delta){.meta = meta, .data = data, .awaited = 1};
    struct map_update *update = &delta->updates[0];
    *update = (struct map_update){
        .mail = {.fn = agent_on_update, .object = update},
        .delta = delta,
        .data = data,
        .size = size,
        .whole = true,
    };
    mail_send(meta->reactor, subscription->reactor, &update->mail);
}

void meta_on_unsubscribe(struct reactor *receiver, const struct mail *mail)
{
    struct meta *meta = receiver->owner[REACTOR_META];
    struct map_subscription *subscription = mail->object;
    uint32_t core = subscription->reactor->index;
    ASSERT(meta->agents[core] == subscription->reactor);
    meta->agents[core] = NULL;
    meta->agent_count--;
    subscription->mail = (struct mail){.fn = agent_on_unsubscribed, .object = subscription};
    mail_send(meta->reactor, subscription->reactor, &subscription->mail);
}

enum err meta_open(struct meta **meta, struct reactor *reactor, const struct meta_options *options)
{
    ASSERT(options->node_id > 0 && options->data_core_count > 0);
    struct meta *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return ERR_NO_MEMORY;
    }
    made->reactor = reactor;
    made->options = *options;
    made->map = map_create();
    made->agents = calloc(options->data_core_count, sizeof(struct reactor *));
    if (made->map == NULL || made->agents == NULL) {
        meta_close(made);
        return ERR_NO_MEMORY;
    }
    made->fsm = (struct raft_fsm){
        .version = 1,
        .data = made,
        .apply = meta_fsm_apply,
        .snapshot = meta_fsm_snapshot,
        .restore = meta_fsm_restore,
    };
    completion_init(&made->kick, meta_kicked);
    reactor->owner[REACTOR_META] = made;
    *meta = made;
    return OK;
}

static void meta_start_finish(struct meta *meta, enum err err)
{
    struct meta_start *start = meta->start;
    meta->start = NULL;
    completion_fire(meta->reactor, &start->done, err);
}

static void meta_registered(struct completion *done)
{
    struct meta *meta = CONTAINER_OF(done, struct meta, own.done);
    if (done->result != OK) {
        (void)snprintf(meta->start->message, META_MESSAGE_BYTES,
                       "the metadata core could not register node %u: %s", meta->options.node_id,
                       err_text((enum err)done->result));
    }
    meta_start_finish(meta, (enum err)done->result);
}

static void meta_register(struct meta *meta)
{
    meta->own = (struct proposal){.home = meta->reactor};
    meta->own.command = (struct command){
        .kind = COMMAND_NODE_REGISTER,
        .time_ms = meta->reactor->now_ms,
        .node_register = {.node_id = meta->options.node_id,
                          .boot = meta->options.boot,
                          .core_count = meta->options.data_core_count},
    };
    completion_init(&meta->own.done, meta_registered);
    meta_queue(meta, &meta->own);
}

/* Whoever was first has named the cluster; this node is one of it either way. */
static void meta_named(struct completion *done)
{
    struct meta *meta = CONTAINER_OF(done, struct meta, own.done);
    if (done->result != OK && done->result != ERR_EXISTS) {
        meta_registered(done);
        return;
    }
    meta_register(meta);
}

static void meta_introduce(struct meta *meta)
{
    static const uint8_t none[16];
    if (memcmp(map_cluster_id(meta->map), none, sizeof(none)) != 0) {
        meta_register(meta);
        return;
    }
    meta->own = (struct proposal){.home = meta->reactor};
    struct command *command = &meta->own.command;
    command->kind = COMMAND_CLUSTER_INIT;
    command->time_ms = meta->reactor->now_ms;
    uint8_t *id = command->cluster_init.cluster_id;
    prng_fill(&meta->reactor->prng, id, 16);
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40); /* RFC 9562, version 4. */
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    completion_init(&meta->own.done, meta_named);
    meta_queue(meta, &meta->own);
}

/* 0, or raft's error; its text is in raft_errmsg(). */
static int meta_start_raft(struct meta *meta)
{
    char address[32];
    (void)snprintf(address, sizeof(address), "node-%u", meta->options.node_id);
    if (raft_init(&meta->raft, &meta->host.io, &meta->fsm, meta->options.node_id, address) != 0) {
        PANIC("raft could not be initialized: %s", raft_errmsg(&meta->raft));
    }
    meta->started = true;
    raft_set_heartbeat_timeout(&meta->raft, META_TICK_MS);
    raft_set_election_timeout(&meta->raft, META_ELECTION_MS);
    raft_set_pre_vote(&meta->raft, true);
    raft_set_snapshot_threshold(
        &meta->raft, raft_log_wants_snapshot(meta->host.log) ? 1 : META_SNAPSHOT_ENTRIES);
    raft_set_snapshot_trailing(&meta->raft, META_TRAILING_ENTRIES);
    if (raft_log_is_fresh(meta->host.log)) {
        struct raft_configuration configuration;
        raft_configuration_init(&configuration);
        int rv = raft_configuration_add(&configuration, meta->options.node_id, address, RAFT_VOTER);
        rv = rv != 0 ? rv : raft_bootstrap(&meta->raft, &configuration);
        raft_configuration_close(&configuration);
        if (rv != 0) {
            return rv;
        }
    }
    return raft_start(&meta->raft);
}

void meta_start(struct meta *meta, struct meta_start *start)
{
    ASSERT(meta->start == NULL);
    meta->start = start;
    start->message[0] = 0;
    struct raft_log_options options = {.dir = meta->options.dir,
                                       .file_bytes = meta->options.log_file_bytes,
                                       .execute = meta->options.execute};
    enum err err = raft_host_open(&meta->host, meta->reactor, &options, start->message);
    if (err != OK) {
        meta_start_finish(meta, err);
        return;
    }
    int rv = meta_start_raft(meta);
    if (rv != 0) {
        (void)snprintf(start->message, META_MESSAGE_BYTES,
                       "raft cannot start from \"%s\": %s. Restore the directory from a copy, or "
                       "make a new map from the segments: floe cluster rebuild-map --write",
                       meta->options.dir, raft_strerror(rv));
        meta_start_finish(meta, rv == RAFT_IOERR ? ERR_IO : ERR_DAMAGED);
        return;
    }
    if (raft_state(&meta->raft) != RAFT_LEADER) {
        (void)snprintf(start->message, META_MESSAGE_BYTES,
                       "the metadata in \"%s\" does not belong to node %u", meta->options.dir,
                       meta->options.node_id);
        meta_start_finish(meta, ERR_FOREIGN);
        return;
    }
    for (uint32_t i = 0; i < meta->map->origin_count; i++) {
        if (meta->map->origins[i].node_id == meta->options.node_id) {
            meta->sequence = meta->map->origins[i].newest;
        }
    }
    meta->host.relieved = &meta->kick;
    meta_introduce(meta);
}

const struct map *meta_map(const struct meta *meta)
{
    return meta->map;
}

static void meta_raft_closed(struct raft *raft)
{
    struct meta *meta = CONTAINER_OF(raft, struct meta, raft);
    completion_fire(meta->reactor, meta->stop_done, OK);
}

void meta_stop(struct meta *meta, struct completion *done)
{
    ASSERT(meta->agent_count == 0 && meta->stop_done == NULL);
    meta->stop_done = done;
    if (!meta->started) {
        completion_fire(meta->reactor, done, OK);
        return;
    }
    raft_close(&meta->raft, meta_raft_closed);
}

void meta_close(struct meta *meta)
{
    if (meta->map != NULL) {
        map_destroy(meta->map);
    }
    if (meta->reactor->owner[REACTOR_META] == meta) {
        meta->reactor->owner[REACTOR_META] = NULL;
    }
    free(meta->agents);
    free(meta);
}
