/* floe_load: one load generator for floe's protocols and for the yardstick. One thread, epoll, a
 * closed loop: each connection keeps --in-flight requests on their way; a consumer has one, for the
 * next offset stands in the answer.
 *
 *     window opens -> queued -> written (many requests in one writev) -> answered -> window opens
 *
 * The clock of a request starts when the window opens, not when the socket took it. Prints one line
 * of JSON. */
#include "bench/target.h"
#include "core/assert.h"
#include "core/crc32c.h"
#include "core/prng.h"
#include "core/stats.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 256,
    IN_FLIGHT_MAX = 1024,
    PARTITIONS_MAX = 256,
    VECTORS_MAX = 64,
    FETCH_REQUEST_BYTES = 1024,
    STALL_SECONDS = 20, /* Without any answer: give up. */
    BATCH_HEAD_BYTES = 61,
    BATCH_CRC_FROM = 21,
};

struct connection {
    int fd;
    uint32_t partition;
    bool blocked;             /* The socket took no more. */
    uint32_t queued;          /* Requests that are not written to the end. */
    uint32_t written;         /* Of the first of them. */
    uint32_t answered, ended; /* Requests [answered, ended) have begun and are not answered. */
    uint64_t cursor;
    bool empty; /* The last read brought nothing. */
    uint64_t started_ns[IN_FLIGHT_MAX];
    uint8_t *input;
    uint32_t input_filled;
    uint8_t fetch[FETCH_REQUEST_BYTES];
};

struct load {
    struct load_options options;
    const struct target *target;
    bool consume;
    uint32_t in_flight;
    uint8_t *batch;
    uint32_t batch_size, batch_records, batch_crc;
    uint8_t *requests[PARTITIONS_MAX];
    uint32_t request_size;
    uint32_t input_bytes;
    struct connection *connections;
    int epoll_fd;
    uint64_t now_ns, start_ns, end_ns, last_ns;
    uint64_t begun, begun_max; /* Requests. */
    uint64_t outstanding;
    uint64_t answers, records, bytes;
    struct histogram latency_ns;
};

NORETURN static void fail(const char *what, const char *why)
{
    fprintf(stderr, "floe_load: %s: %s\n", what, why);
    exit(1);
}

static uint64_t clock_now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* --- Batches. --- */

void batches_walk(struct bytes data, struct answer *answer, uint64_t *offset_end)
{
    uint32_t at = 0;
    *offset_end = 0;
    while (data.size - at >= BATCH_HEAD_BYTES) {
        const uint8_t *batch = data.data + at;
        uint32_t length = load_be32(batch + 8);
        if (length > data.size - at - 12) {
            break;
        }
        at += 12 + length;
        answer->records += load_be32(batch + 57);
        *offset_end = load_be64(batch) + load_be32(batch + 23) + 1;
    }
    answer->bytes = at;
}

/* One record after the attributes: no key, no headers. */
static void record_write(struct bytes_writer *writer, uint32_t index, const uint8_t *value,
                         uint32_t size)
{
    uint8_t head[16];
    struct bytes_writer body = bytes_writer(head, sizeof(head));
    write_u8(&body, 0);
    write_varint(&body, 0);
    write_varint(&body, (int32_t)index);
    write_varint(&body, -1);
    write_varint(&body, (int32_t)size);
    write_varint(writer, (int32_t)(body.position + size + 1));
    write_bytes(writer, head, body.position);
    write_bytes(writer, value, size);
    write_varint(writer, 0);
}

uint32_t value_text(const struct load_options *options, struct bytes batch, uint8_t *at)
{
    uint32_t size = (uint32_t)options->record_bytes;
    const uint8_t *value = batch.data + batch.size - 1 - size; /* No headers behind it. */
    for (uint32_t i = 0; at != NULL && i < size; i++) {
        at[i] = (uint8_t)('a' + value[i] % 16);
    }
    return size;
}

/* As many records as fit into --batch-bytes, at least one; of bytes that do not compress. */
static void batch_build(struct load *load)
{
    uint32_t value_size = (uint32_t)load->options.record_bytes;
    uint64_t wanted = load->target->single ? 0 : load->options.batch_bytes;
    uint32_t room = (uint32_t)max_u64(wanted, value_size + 128);
    struct prng prng;
    prng_seed_one(&prng, 1);
    uint8_t *value = malloc(value_size);
    load->batch = malloc(room);
    if (value == NULL || load->batch == NULL) {
        fail("batch", "out of memory");
    }
    struct bytes_writer writer = bytes_writer(load->batch, room);
    writer.position = BATCH_HEAD_BYTES;
    uint32_t count = 0;
    while (room - writer.position >= value_size + 20 && (count == 0 || !load->target->single)) {
        prng_fill(&prng, value, value_size);
        record_write(&writer, count++, value, value_size);
    }
    free(value);
    load->batch_size = writer.position;
    load->batch_records = count;
    uint64_t now_ms = clock_now_ns(CLOCK_REALTIME) / NS_PER_MS;
    writer = bytes_writer(load->batch, room);
    write_be64(&writer, 0);
    write_be32(&writer, load->batch_size - 12);
    write_be32(&writer, UINT32_MAX);
    write_u8(&writer, 2);
    write_be32(&writer, 0);
    write_be16(&writer, 0);
    write_be32(&writer, count - 1);
    write_be64(&writer, now_ms);
    write_be64(&writer, now_ms);
    write_be64(&writer, UINT64_MAX);
    write_be16(&writer, UINT16_MAX);
    write_be32(&writer, UINT32_MAX);
    write_be32(&writer, count);
    ASSERT(writer.position == BATCH_HEAD_BYTES);
    uint32_t crc =
        crc32c(0, load->batch + BATCH_CRC_FROM, load->batch_size - (uint32_t)BATCH_CRC_FROM);
    store_be32(load->batch + 17, crc);
    load->batch_crc = crc32c(0, load->batch, load->batch_size);
}

static void requests_build(struct load *load)
{
    struct bytes batch = bytes_of(load->batch, load->batch_size);
    for (uint32_t i = 0; i < load->options.partitions; i++) {
        load->request_size = load->target->produce(&load->options, batch, i, NULL);
        load->requests[i] = malloc(load->request_size);
        if (load->requests[i] == NULL) {
            fail("requests", "out of memory");
        }
        (void)load->target->produce(&load->options, batch, i, load->requests[i]);
    }
}

/* --- One connection. --- */

/* False when a bound of the run is reached. */
static bool may_begin(const struct load *load)
{
    return load->begun < load->begun_max && load->now_ns < load->end_ns;
}

static void window_fill(struct load *load, struct connection *connection)
{
    while (connection->ended - connection->answered < load->in_flight && may_begin(load)) {
        connection->started_ns[connection->ended++ % IN_FLIGHT_MAX] = load->now_ns;
        connection->queued++;
        load->begun++;
        load->outstanding++;
        if (load->consume) {
            load->request_size = load->target->fetch(&load->options, connection->partition,
                                                     connection->cursor, connection->fetch);
        }
    }
}

static void connection_watch(const struct load *load, struct connection *connection, int op)
{
    struct epoll_event event = {.events = EPOLLIN | (connection->blocked ? EPOLLOUT : 0U)};
    event.data.ptr = connection;
    if (epoll_ctl(load->epoll_fd, op, connection->fd, &event) != 0) {
        fail("epoll_ctl", strerror(errno));
    }
}

static void connection_write(struct load *load, struct connection *connection)
{
    bool blocked = false;
    uint8_t *request = load->consume ? connection->fetch : load->requests[connection->partition];
    while (connection->queued > 0 && !blocked) {
        struct iovec vectors[VECTORS_MAX];
        uint32_t count = min_u32(connection->queued, VECTORS_MAX);
        for (uint32_t i = 0; i < count; i++) {
            vectors[i] = (struct iovec){.iov_base = request, .iov_len = load->request_size};
        }
        vectors[0].iov_base = request + connection->written;
        vectors[0].iov_len = load->request_size - connection->written;
        struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};
        ssize_t rc = sendmsg(connection->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (rc < 0 && errno != EAGAIN && errno != EINTR) {
            fail("send", strerror(errno));
        }
        blocked = rc < 0 && errno == EAGAIN;
        uint64_t written = connection->written + (rc < 0 ? 0 : (uint64_t)rc);
        connection->queued -= (uint32_t)(written / load->request_size);
        connection->written = (uint32_t)(written % load->request_size);
    }
    if (blocked != connection->blocked) {
        connection->blocked = blocked;
        connection_watch(load, connection, EPOLL_CTL_MOD);
    }
}

static void answer_take(struct load *load, struct connection *connection, struct bytes frame)
{
    struct answer answer = {0};
    if (connection->answered == connection->ended) {
        fail("answer", "nobody asked");
    }
    bool ok = load->consume
                  ? load->target->fetched(&load->options, frame, &answer)
                  : load->target->produced(&load->options, frame, load->batch_crc, &answer);
    if (!ok) {
        fail("answer", answer.message);
    }
    uint64_t started_ns = connection->started_ns[connection->answered++ % IN_FLIGHT_MAX];
    load->outstanding--;
    load->answers++;
    load->last_ns = load->now_ns;
    histogram_record(&load->latency_ns, load->now_ns - started_ns);
    if (!load->consume) {
        load->records += load->batch_records;
        load->bytes += load->batch_size;
        return;
    }
    load->records += answer.records;
    load->bytes += answer.bytes;
    if (answer.records == 0 && connection->empty) {
        fail("fetch", "there is nothing to read");
    }
    /* At the end: from the start again. */
    connection->empty = answer.records == 0;
    connection->cursor = connection->empty ? 0 : answer.cursor;
}

static void connection_read(struct load *load, struct connection *connection)
{
    ssize_t rc = recv(connection->fd, connection->input + connection->input_filled,
                      load->input_bytes - connection->input_filled, MSG_DONTWAIT);
    if (rc < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (rc <= 0) {
        fail("recv", rc == 0 ? "the server closed the connection" : strerror(errno));
    }
    load->now_ns = clock_now_ns(CLOCK_MONOTONIC);
    connection->input_filled += (uint32_t)rc;
    uint32_t at = 0;
    while (connection->input_filled > at) {
        uint32_t rest = connection->input_filled - at;
        uint64_t size = load->target->answer_size(bytes_of(connection->input + at, rest));
        if (size > load->input_bytes || (size == 0 && rest == load->input_bytes)) {
            fail("answer", "too large");
        }
        if (size == 0 || size > rest) {
            break;
        }
        answer_take(load, connection, bytes_of(connection->input + at, (uint32_t)size));
        at += (uint32_t)size;
    }
    connection->input_filled -= at;
    if (at > 0) {
        memmove(connection->input, connection->input + at, connection->input_filled);
    }
}

static int connection_open(const struct load *load)
{
    char host[64];
    const char *colon = strrchr(load->options.address, ':');
    struct sockaddr_in address = {.sin_family = AF_INET};
    size_t host_size = colon == NULL ? sizeof(host) : (size_t)(colon - load->options.address);
    if (host_size >= sizeof(host)) {
        fail("--address", "expected HOST:PORT");
    }
    memcpy(host, load->options.address, host_size);
    host[host_size] = 0;
    address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fail("--address", "expected an IPv4 address");
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0) {
        fail(load->options.address, strerror(errno));
    }
    return fd;
}

/* --- The run. --- */

static void load_open(struct load *load)
{
    struct load_options *options = &load->options;
    char message[TARGET_MESSAGE_BYTES];
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    load->connections = calloc(options->connections, sizeof(*load->connections));
    if (load->epoll_fd < 0 || load->connections == NULL) {
        fail("start", strerror(errno));
    }
    load->input_bytes =
        load->consume ? (uint32_t)(2 * max_u64(options->fetch_bytes, MIB(1))) : (uint32_t)KIB(64);
    for (uint32_t i = 0; i < options->connections; i++) {
        struct connection *connection = &load->connections[i];
        connection->fd = connection_open(load);
        connection->partition = i % (uint32_t)options->partitions;
        connection->input = malloc(load->input_bytes);
        if (connection->input == NULL) {
            fail("input", "out of memory");
        }
        if (i == 0 && load->target->prepare != NULL &&
            !load->target->prepare(options, connection->fd, message)) {
            fail("prepare", message);
        }
        connection_watch(load, connection, EPOLL_CTL_ADD);
    }
}

static void load_run(struct load *load)
{
    const struct load_options *options = &load->options;
    struct epoll_event events[CONNECTIONS_MAX];
    load->now_ns = clock_now_ns(CLOCK_MONOTONIC);
    load->start_ns = load->now_ns;
    load->last_ns = load->now_ns;
    load->end_ns = options->seconds == 0 ? UINT64_MAX : load->now_ns + options->seconds * NS_PER_S;
    load->begun_max =
        options->records == 0 ? UINT64_MAX : div_ceil(options->records, load->batch_records);
    for (uint32_t i = 0; i < options->connections; i++) {
        window_fill(load, &load->connections[i]);
        connection_write(load, &load->connections[i]);
    }
    while (load->outstanding > 0) {
        int count = epoll_wait(load->epoll_fd, events, CONNECTIONS_MAX, 1000);
        if (count < 0 && errno != EINTR) {
            fail("epoll_wait", strerror(errno));
        }
        load->now_ns = clock_now_ns(CLOCK_MONOTONIC);
        if (load->now_ns - load->last_ns > STALL_SECONDS * NS_PER_S) {
            fail("run", "no answer for too long");
        }
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
                connection_read(load, connection);
            }
            window_fill(load, connection);
            connection_write(load, connection);
        }
    }
}

static double cpu_seconds(void)
{
    return (double)clock_now_ns(CLOCK_PROCESS_CPUTIME_ID) / (double)NS_PER_S;
}

static void load_print(const struct load *load, double cpu_s)
{
    double seconds = (double)max_u64(load->last_ns - load->start_ns, 1) / (double)NS_PER_S;

    static const struct {
        const char *name;
        double quantile;
    } rows[] = {{"p50_us", 0.5}, {"p99_us", 0.99}, {"p999_us", 0.999}};

    printf("{\"target\": \"%s\", \"mode\": \"%s\", \"records\": %llu, \"bytes\": %llu, "
           "\"requests\": %llu, \"batch_records\": %u, \"batch_bytes\": %u, \"seconds\": %.6f, "
           "\"records_per_s\": %.0f, \"mb_per_s\": %.1f, ",
           load->target->name, load->options.mode, (unsigned long long)load->records,
           (unsigned long long)load->bytes, (unsigned long long)load->answers, load->batch_records,
           load->batch_size, seconds, (double)load->records / seconds,
           (double)load->bytes / seconds / 1e6);
    for (uint32_t i = 0; i < ARRAY_COUNT(rows); i++) {
        printf("\"%s\": %.1f, ", rows[i].name,
               (double)histogram_quantile(&load->latency_ns, rows[i].quantile) / NS_PER_US);
    }
    printf("\"max_us\": %.1f, \"cpu_s\": %.4f}\n", (double)load->latency_ns.max / NS_PER_US, cpu_s);
}

/* --- The words. --- */

static const char usage[] =
    "floe_load --target floe|yardstick|resp|walrus|http --address HOST:PORT\n"
    "          --mode produce|consume\n"
    "          --seconds S | --records R   [--connections N] [--in-flight M] [--batch-bytes B]\n"
    "          [--record-bytes B] [--fetch-bytes B] [--topic T] [--partitions P]\n";

static bool load_read_words(struct load_options *options, int argc, char **argv)
{
    const struct {
        const char *flag;
        const char **text;
        uint64_t *number;
    } flags[] = {
        {"--target", &options->target, NULL},
        {"--address", &options->address, NULL},
        {"--mode", &options->mode, NULL},
        {"--topic", &options->topic, NULL},
        {"--connections", NULL, &options->connections},
        {"--in-flight", NULL, &options->in_flight},
        {"--partitions", NULL, &options->partitions},
        {"--batch-bytes", NULL, &options->batch_bytes},
        {"--record-bytes", NULL, &options->record_bytes},
        {"--fetch-bytes", NULL, &options->fetch_bytes},
        {"--seconds", NULL, &options->seconds},
        {"--records", NULL, &options->records},
    };

    for (int i = 1; i < argc; i += 2) {
        bool known = false;
        for (uint32_t j = 0; j < ARRAY_COUNT(flags) && i + 1 < argc; j++) {
            if (strcmp(argv[i], flags[j].flag) != 0) {
                continue;
            }
            known = true;
            if (flags[j].text != NULL) {
                *flags[j].text = argv[i + 1];
            } else {
                *flags[j].number = strtoull(argv[i + 1], NULL, 10);
            }
        }
        if (!known) {
            return false;
        }
    }
    return options->target != NULL && options->address != NULL && options->mode != NULL;
}

/* Within what the buffers hold. */
static bool load_check(const struct load_options *options)
{
    bool bounded = options->seconds > 0 || options->records > 0;
    bool counts = options->connections > 0 && options->connections <= CONNECTIONS_MAX &&
                  options->in_flight > 0 && options->in_flight <= IN_FLIGHT_MAX &&
                  options->partitions > 0 && options->partitions <= PARTITIONS_MAX;
    bool sizes = options->record_bytes > 0 && options->record_bytes <= MIB(1) &&
                 options->batch_bytes <= MIB(16) && options->fetch_bytes > 0 &&
                 options->fetch_bytes <= MIB(64) && strlen(options->topic) <= 249;
    return bounded && counts && sizes;
}

int main(int argc, char **argv)
{
    static struct load load = {
        .options = {.topic = "bench",
                    .connections = 8,
                    .in_flight = 8,
                    .partitions = 1,
                    .batch_bytes = 16384,
                    .record_bytes = 1000,
                    .fetch_bytes = MIB(1)},
    };
    static const struct target *const targets[] = {&target_floe, &target_yardstick, &target_resp,
                                                   &target_walrus, &target_http};
    if (!load_read_words(&load.options, argc, argv) || !load_check(&load.options)) {
        fputs(usage, stderr);
        return 2;
    }
    for (uint32_t i = 0; i < ARRAY_COUNT(targets); i++) {
        if (strcmp(load.options.target, targets[i]->name) == 0) {
            load.target = targets[i];
        }
    }
    load.consume = strcmp(load.options.mode, "consume") == 0;
    if (load.target == NULL || (!load.consume && strcmp(load.options.mode, "produce") != 0)) {
        fputs(usage, stderr);
        return 2;
    }
    load.in_flight = load.consume ? 1 : (uint32_t)load.options.in_flight;
    batch_build(&load);
    if (!load.consume) {
        requests_build(&load);
    }
    load_open(&load);
    double cpu_s = cpu_seconds();
    load_run(&load);
    load_print(&load, cpu_seconds() - cpu_s);
    return 0;
}
