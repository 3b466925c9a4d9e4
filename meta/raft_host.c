/* raft_io: raft's wishes become operations of the log, and their completions raft's callbacks. */
#include "meta/raft_host.h"

#include "core/assert.h"
#include "core/bytes.h"

#include <stdlib.h>
#include <string.h>

enum { HOST_SNAPSHOT_VERSION = 1, HOST_SNAPSHOT_HEADER_BYTES = 16 };

/* One append under way. */
struct host_append {
    struct raft_log_append append;
    struct raft_io_append *request;
    raft_io_append_cb done;
    struct raft_log_entry entries[];
};

static struct raft_host *host_of(const struct raft_io *io)
{
    return io->impl;
}

static int host_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

static void host_log_stopped(struct completion *done)
{
    struct raft_host *host = CONTAINER_OF(done, struct raft_host, close_done);
    raft_log_close(host->log);
    host->log = NULL;
    host->closed(&host->io);
}

static void host_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct raft_host *host = host_of(io);
    host->closed = cb;
    timer_stop(host->reactor, &host->timer);
    completion_init(&host->close_done, host_log_stopped);
    raft_log_stop(host->log, &host->close_done);
}

/* The servers out of raft's own encoding: version u8, n u64, {id u64, address with NUL, role u8}.
 */
static int host_decode_servers(struct bytes data, struct raft_configuration *configuration)
{
    raft_configuration_init(configuration);
    struct bytes_reader reader = bytes_reader(data);
    uint8_t version = read_u8(&reader);
    uint64_t count = (uint64_t)read_le32(&reader) | (uint64_t)read_le32(&reader) << 32;
    if (reader.failed || version != 1) {
        return RAFT_MALFORMED;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = (uint64_t)read_le32(&reader) | (uint64_t)read_le32(&reader) << 32;
        const char *address = (const char *)reader.data + reader.position;
        uint32_t left = bytes_left(&reader);
        uint32_t length = (uint32_t)strnlen(address, left);
        read_skip(&reader, length == left ? left + 1 : length + 1);
        uint8_t role = read_u8(&reader);
        int rv = reader.failed ? RAFT_MALFORMED
                               : raft_configuration_add(configuration, id, address, role);
        if (rv != 0) {
            raft_configuration_close(configuration);
            return rv;
        }
    }
    return 0;
}

/* `data` holds what host_snapshot_put() made; the snapshot gets a copy of its part. */
static int host_decode_snapshot(const uint8_t *data, uint64_t size, struct raft_snapshot *snapshot)
{
    if (size < HOST_SNAPSHOT_HEADER_BYTES || load_le32(data) != HOST_SNAPSHOT_VERSION) {
        return RAFT_MALFORMED;
    }
    uint32_t servers_bytes = load_le32(data + 4);
    uint64_t at = HOST_SNAPSHOT_HEADER_BYTES + align_up(servers_bytes, 8);
    if (at > size) {
        return RAFT_MALFORMED;
    }
    struct bytes servers = bytes_of(data + HOST_SNAPSHOT_HEADER_BYTES, servers_bytes);
    int rv = host_decode_servers(servers, &snapshot->configuration);
    if (rv != 0) {
        return rv;
    }
    snapshot->configuration_index = load_le64(data + 8);
    snapshot->n_bufs = 1;
    snapshot->bufs = raft_malloc(sizeof(*snapshot->bufs));
    void *copy = raft_malloc(max_u64(size - at, 1));
    if (snapshot->bufs == NULL || copy == NULL) {
        raft_free(copy);
        raft_free(snapshot->bufs);
        raft_configuration_close(&snapshot->configuration);
        return RAFT_NOMEM;
    }
    memcpy(copy, data + at, size - at);
    snapshot->bufs[0] = (struct raft_buffer){.base = copy, .len = size - at};
    return 0;
}

/* Raft's snapshot out of `found`, which keeps its bytes; NULL in *snapshot when there is none. */
static int host_take_snapshot(struct raft_log_found *found, struct raft_snapshot **snapshot)
{
    *snapshot = NULL;
    if (found->snapshot_index == 0) {
        return 0;
    }
    struct raft_snapshot *made = raft_calloc(1, sizeof(*made));
    if (made == NULL) {
        return RAFT_NOMEM;
    }
    int rv = host_decode_snapshot(found->snapshot, found->snapshot_size, made);
    if (rv != 0) {
        raft_free(made);
        return rv;
    }
    made->index = found->snapshot_index;
    made->term = found->snapshot_term;
    free(found->snapshot);
    found->snapshot = NULL;
    *snapshot = made;
    return 0;
}

static int host_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                     struct raft_snapshot **snapshot, raft_index *start_index,
                     struct raft_entry *entries[], size_t *n_entries)
{
    struct raft_host *host = host_of(io);
    struct raft_log_found *found = raft_log_found(host->log);
    *term = found->term;
    *voted_for = found->vote;
    *start_index = found->first_index;
    *n_entries = found->count;
    *entries = NULL;
    host->term = found->term;
    int rv = host_take_snapshot(found, snapshot);
    if (rv != 0 || found->count == 0) {
        return rv;
    }
    struct raft_entry *made = raft_calloc(found->count, sizeof(*made));
    if (made == NULL) {
        return RAFT_NOMEM; /* The process ends: what was taken needs no way back. */
    }
    for (uint32_t i = 0; i < found->count; i++) {
        struct raft_log_entry *entry = &found->entries[i];
        made[i] = (struct raft_entry){.term = entry->term,
                                      .type = entry->type,
                                      .buf = {.base = entry->data, .len = entry->size},
                                      .batch = entry->data};
        entry->data = NULL;
    }
    *entries = made;
    return 0;
}

static void host_ticked(struct completion *done)
{
    struct raft_host *host =
        CONTAINER_OF(CONTAINER_OF(done, struct timer, done), struct raft_host, timer);
    timer_start(host->reactor, &host->timer, host->tick_ns);
    host->tick(&host->io);
}

static int host_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick,
                      raft_io_recv_cb recv)
{
    struct raft_host *host = host_of(io);
    host->tick = tick;
    host->recv = recv;
    host->tick_ns = msecs * NS_PER_MS;
    timer_start(host->reactor, &host->timer, host->tick_ns);
    return 0;
}

static int host_bootstrap(struct raft_io *io, const struct raft_configuration *conf)
{
    struct raft_host *host = host_of(io);
    if (!raft_log_is_fresh(host->log)) {
        return RAFT_CANTBOOTSTRAP;
    }
    struct raft_buffer buffer;
    int rv = raft_configuration_encode(conf, &buffer);
    if (rv != 0) {
        return rv;
    }
    struct raft_log_entry entry = {
        .term = 1, .type = RAFT_CHANGE, .size = (uint32_t)buffer.len, .data = buffer.base};
    enum err err = raft_log_bootstrap(host->log, &entry);
    raft_free(buffer.base);
    return err == OK ? 0 : RAFT_IOERR;
}

/* A lost majority is rebuilt from the segments, never by rewriting this log. */
static int host_recover(struct raft_io *io, const struct raft_configuration *conf)
{
    (void)io;
    (void)conf;
    return RAFT_INVALID;
}

static int host_set_term(struct raft_io *io, raft_term term)
{
    struct raft_host *host = host_of(io);
    host->term = term;
    return raft_log_set_term(host->log, term, 0) == OK ? 0 : RAFT_IOERR;
}

static int host_set_vote(struct raft_io *io, raft_id server_id)
{
    struct raft_host *host = host_of(io);
    return raft_log_set_term(host->log, host->term, server_id) == OK ? 0 : RAFT_IOERR;
}

static int host_send(struct raft_io *io, struct raft_io_send *req,
                     const struct raft_message *message, raft_io_send_cb cb)
{
    (void)io;
    (void)req;
    (void)message;
    (void)cb;
    return RAFT_NOCONNECTION;
}

static void host_appended(struct completion *done)
{
    struct raft_log_append *append = CONTAINER_OF(done, struct raft_log_append, done);
    struct host_append *op = CONTAINER_OF(append, struct host_append, append);
    struct raft_io_append *request = op->request;
    raft_io_append_cb cb = op->done;
    int status = done->result == OK ? 0 : RAFT_CANCELED;
    free(op);
    cb(request, status);
}

static int host_append(struct raft_io *io, struct raft_io_append *req,
                       const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct raft_host *host = host_of(io);
    struct host_append *op = calloc(1, sizeof(*op) + n * sizeof(op->entries[0]));
    if (op == NULL) {
        return RAFT_NOMEM;
    }
    for (unsigned i = 0; i < n; i++) {
        op->entries[i] = (struct raft_log_entry){
            .term = entries[i].term,
            .type = (uint8_t)entries[i].type,
            .size = (uint32_t)entries[i].buf.len,
            .data = entries[i].buf.base,
        };
    }
    op->request = req;
    op->done = cb;
    op->append = (struct raft_log_append){.entries = op->entries, .count = n};
    completion_init(&op->append.done, host_appended);
    raft_log_append(host->log, &op->append);
    return 0;
}

static int host_truncate(struct raft_io *io, raft_index index)
{
    raft_log_truncate(host_of(io)->log, index);
    return 0;
}

static void host_put_done(struct completion *done)
{
    struct raft_log_put *put = CONTAINER_OF(done, struct raft_log_put, done);
    struct raft_host *host = CONTAINER_OF(put, struct raft_host, put);
    int status = done->result == OK             ? 0
                 : done->result == ERR_NO_SPACE ? RAFT_NOSPACE
                                                : RAFT_CANCELED;
    struct raft_io_snapshot_put *request = host->put_request;
    free(put->data);
    put->data = NULL;
    host->put_request = NULL;
    host->put_done(request, status);
    if (host->relieved != NULL && !host->relieved->queued) {
        completion_fire(host->reactor, host->relieved, OK);
    }
}

static int host_snapshot_put(struct raft_io *io, unsigned trailing,
                             struct raft_io_snapshot_put *req, const struct raft_snapshot *snapshot,
                             raft_io_snapshot_put_cb cb)
{
    struct raft_host *host = host_of(io);
    ASSERT(host->put_request == NULL);
    struct raft_buffer servers;
    int rv = raft_configuration_encode(&snapshot->configuration, &servers);
    if (rv != 0) {
        return rv;
    }
    uint64_t room = RAFT_LOG_SNAPSHOT_HEADER_BYTES;
    uint64_t size = room + HOST_SNAPSHOT_HEADER_BYTES + align_up(servers.len, 8);
    for (unsigned i = 0; i < snapshot->n_bufs; i++) {
        size += snapshot->bufs[i].len;
    }
    uint8_t *data = calloc(1, size);
    if (data == NULL) {
        raft_free(servers.base);
        return RAFT_NOMEM;
    }
    store_le32(data + room, HOST_SNAPSHOT_VERSION);
    store_le32(data + room + 4, (uint32_t)servers.len);
    store_le64(data + room + 8, snapshot->configuration_index);
    memcpy(data + room + HOST_SNAPSHOT_HEADER_BYTES, servers.base, servers.len);
    uint64_t at = room + HOST_SNAPSHOT_HEADER_BYTES + align_up(servers.len, 8);
    raft_free(servers.base);
    for (unsigned i = 0; i < snapshot->n_bufs; i++) {
        memcpy(data + at, snapshot->bufs[i].base, snapshot->bufs[i].len);
        at += snapshot->bufs[i].len;
    }
    host->put = (struct raft_log_put){.index = snapshot->index,
                                      .term = snapshot->term,
                                      .data = data,
                                      .size = size,
                                      .drop_all = trailing == 0};
    host->put_request = req;
    host->put_done = cb;
    completion_init(&host->put.done, host_put_done);
    raft_log_put(host->log, &host->put);
    return 0;
}

/* Only a leader with followers asks for it. */
static int host_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *req,
                             raft_io_snapshot_get_cb cb)
{
    (void)io;
    (void)req;
    (void)cb;
    return RAFT_INVALID;
}

static raft_time host_time(struct raft_io *io)
{
    return host_of(io)->reactor->now_ns / NS_PER_MS;
}

static int host_random(struct raft_io *io, int min, int max)
{
    uint64_t range = (uint64_t)(max - min) + 1;
    return min + (int)prng_below(&host_of(io)->reactor->prng, range);
}

/* Only snapshot_async would ask for it. */
static int host_async_work(struct raft_io *io, struct raft_io_async_work *req,
                           raft_io_async_work_cb cb)
{
    (void)io;
    (void)req;
    (void)cb;
    return RAFT_INVALID;
}

enum err raft_host_open(struct raft_host *host, struct reactor *reactor,
                        const struct raft_log_options *options, char *message)
{
    *host = (struct raft_host){.reactor = reactor};
    timer_init(&host->timer, host_ticked);
    host->io = (struct raft_io){
        .version = 2,
        .impl = host,
        .init = host_init,
        .close = host_close,
        .load = host_load,
        .start = host_start,
        .bootstrap = host_bootstrap,
        .recover = host_recover,
        .set_term = host_set_term,
        .set_vote = host_set_vote,
        .send = host_send,
        .append = host_append,
        .truncate = host_truncate,
        .snapshot_put = host_snapshot_put,
        .snapshot_get = host_snapshot_get,
        .time = host_time,
        .random = host_random,
        .async_work = host_async_work,
    };
    return raft_log_open(&host->log, reactor, options, message);
}

bool raft_host_is_pressed(const struct raft_host *host)
{
    return host->put_request != NULL && raft_log_wants_snapshot(host->log);
}
