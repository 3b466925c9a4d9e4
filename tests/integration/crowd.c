/* Thousands of peers on one thread, for test_rude.py: those that do not behave, and producers
 * beside them. What they say is in files, so that this knows of Kafka only where an ack stands.
 *
 *     floe_crowd PORT SECONDS ERROR_AT [KIND COUNT FILE]...
 *
 *     silent     says it as often as it is taken, and never reads
 *     drip       says a byte of it 20 times a second, and reads what is answered
 *     half       says it once, and then nothing
 *     produce    says it, waits for the answer, whose error (BE16) is at ERROR_AT and whose offset
 *                (BE64) is behind it; again
 *
 * A peer that is closed comes again; a producer's answer is then not known. Prints the counts in
 * one line, and each acked offset of the producers before it: "ack SCRIPT OFFSET". */
#include "core/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum kind { SILENT, DRIP, HALF, PRODUCE, KIND_COUNT };

static const char *const kind_names[KIND_COUNT] = {"silent", "drip", "half", "produce"};

enum { SCRIPT_BYTES_MAX = 8 << 20, ANSWER_BYTES_MAX = 1024, EVENTS = 512, TICK_MS = 50 };

struct script {
    enum kind kind;
    uint32_t index, count, size;
    uint8_t *data;
};

struct peer {
    const struct script *script;
    int fd;
    uint32_t said; /* Of the script. */
    uint32_t heard;
    uint8_t answer[ANSWER_BYTES_MAX];
};

struct crowd {
    int epoll;
    uint16_t port;
    uint32_t error_at;
    uint32_t peer_count, count[KIND_COUNT];
    struct peer *peers;
    uint64_t said[KIND_COUNT], closed[KIND_COUNT];
    uint64_t acks, errors;
};

static void stop(const char *what)
{
    (void)fprintf(stderr, "floe_crowd: cannot %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void script_read(struct script *script, const char *path)
{
    FILE *file = fopen(path, "rb");
    script->data = malloc(SCRIPT_BYTES_MAX);
    if (file == NULL || script->data == NULL) {
        stop("read a script");
    }
    script->size = (uint32_t)fread(script->data, 1, SCRIPT_BYTES_MAX, file);
    (void)fclose(file);
}

/* Connects without waiting: a crowd at the door is part of it. */
static void peer_connect(struct crowd *crowd, struct peer *peer)
{
    peer->said = peer->heard = 0;
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (peer->fd < 0) {
        stop("make a socket");
    }
    if (peer->script->kind == SILENT) {
        /* Its own part of the kernel's memory is not what the server is blamed for. */
        int small = 4096;
        (void)setsockopt(peer->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        (void)setsockopt(peer->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    }
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(crowd->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (connect(peer->fd, (struct sockaddr *)&address, sizeof(address)) != 0 &&
        errno != EINPROGRESS) {
        stop("connect");
    }
    bool reads = peer->script->kind != SILENT;
    bool writes = peer->script->kind != DRIP;
    struct epoll_event event = {
        .events = EPOLLRDHUP | (reads ? EPOLLIN : 0) | (writes ? EPOLLOUT : 0),
        .data.ptr = peer,
    };
    if (epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, peer->fd, &event) != 0) {
        stop("watch a socket");
    }
}

static void peer_again(struct crowd *crowd, struct peer *peer)
{
    crowd->closed[peer->script->kind]++;
    (void)close(peer->fd);
    peer_connect(crowd, peer);
}

static void peer_watch(struct crowd *crowd, struct peer *peer, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLRDHUP, .data.ptr = peer};
    (void)epoll_ctl(crowd->epoll, EPOLL_CTL_MOD, peer->fd, &event);
}

/* At most `most` bytes; false: it was closed. */
static bool peer_say(struct crowd *crowd, struct peer *peer, uint32_t most)
{
    uint32_t left = peer->script->size - peer->said;
    uint32_t size = left < most ? left : most;
    ssize_t sent = send(peer->fd, peer->script->data + peer->said, size, MSG_NOSIGNAL);
    if (sent < 0) {
        return errno == EAGAIN;
    }
    peer->said += (uint32_t)sent;
    crowd->said[peer->script->kind] += (uint64_t)sent;
    return true;
}

/* There is room: all kinds but those that drip. */
static bool peer_writes(struct crowd *crowd, struct peer *peer)
{
    if (!peer_say(crowd, peer, UINT32_MAX)) {
        return false;
    }
    if (peer->said < peer->script->size) {
        return true;
    }
    if (peer->script->kind == SILENT) {
        peer->said = 0;
    } else {
        peer_watch(crowd, peer, EPOLLIN);
    }
    return true;
}

/* A producer's answer, as far as it is there; false: it was closed. */
static bool producer_hears(struct crowd *crowd, struct peer *peer)
{
    ssize_t got = recv(peer->fd, peer->answer + peer->heard, sizeof(peer->answer) - peer->heard, 0);
    if (got <= 0) {
        return got < 0 && errno == EAGAIN;
    }
    peer->heard += (uint32_t)got;
    if (peer->heard < 4 || peer->heard < 4 + load_be32(peer->answer)) {
        return true;
    }
    const uint8_t *error = peer->answer + crowd->error_at;
    if (load_be16(error) == 0) {
        crowd->acks++;
        printf("ack %u %" PRIu64 "\n", peer->script->index, load_be64(error + 2));
    } else {
        crowd->errors++;
    }
    peer->said = peer->heard = 0;
    peer_watch(crowd, peer, EPOLLOUT | EPOLLIN);
    return true;
}

static bool peer_reads(struct crowd *crowd, struct peer *peer)
{
    if (peer->script->kind == PRODUCE) {
        return producer_hears(crowd, peer);
    }
    static uint8_t nothing[65536];
    ssize_t got = recv(peer->fd, nothing, sizeof(nothing), 0);
    return got > 0 || (got < 0 && errno == EAGAIN);
}

static void peer_happened(struct crowd *crowd, struct peer *peer, uint32_t events)
{
    bool well = true;
    if ((events & EPOLLIN) != 0) {
        well = peer_reads(crowd, peer);
    } else if ((events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0) {
        well = false;
    }
    if (well && (events & EPOLLOUT) != 0) {
        well = peer_writes(crowd, peer);
    }
    if (!well) {
        peer_again(crowd, peer);
    }
}

static void crowd_drip(struct crowd *crowd)
{
    for (uint32_t i = 0; i < crowd->peer_count; i++) {
        struct peer *peer = &crowd->peers[i];
        if (peer->script->kind != DRIP) {
            continue;
        }
        if (!peer_say(crowd, peer, 1)) {
            peer_again(crowd, peer);
        } else if (peer->said == peer->script->size) {
            peer->said = 0;
        }
    }
}

static void crowd_run(struct crowd *crowd, uint64_t until_ms)
{
    struct epoll_event events[EVENTS];
    uint64_t drip_ms = now_ms();
    while (now_ms() < until_ms) {
        int count = epoll_wait(crowd->epoll, events, EVENTS, TICK_MS / 5);
        for (int i = 0; i < count; i++) {
            peer_happened(crowd, events[i].data.ptr, events[i].events);
        }
        if (now_ms() >= drip_ms + TICK_MS) {
            drip_ms = now_ms();
            crowd_drip(crowd);
        }
    }
}

int main(int argc, char **argv)
{
    static struct script scripts[64];
    static struct crowd crowd;
    uint32_t script_count = 0;
    for (int i = 4; i + 2 < argc && script_count < 64; i += 3) {
        struct script *script = &scripts[script_count];
        while (script->kind < PRODUCE && strcmp(argv[i], kind_names[script->kind]) != 0) {
            script->kind++;
        }
        script->index = script_count++;
        script->count = (uint32_t)strtoul(argv[i + 1], NULL, 10);
        script_read(script, argv[i + 2]);
        crowd.peer_count += script->count;
        crowd.count[script->kind] += script->count;
    }
    if (script_count == 0) {
        (void)fprintf(stderr, "floe_crowd PORT SECONDS ERROR_AT [KIND COUNT FILE]...\n");
        return 2;
    }
    crowd.port = (uint16_t)strtoul(argv[1], NULL, 10);
    crowd.error_at = (uint32_t)strtoul(argv[3], NULL, 10);
    crowd.epoll = epoll_create1(EPOLL_CLOEXEC);
    crowd.peers = calloc(crowd.peer_count, sizeof(*crowd.peers));
    if (crowd.epoll < 0 || crowd.peers == NULL) {
        stop("begin");
    }
    uint32_t next = 0;
    for (uint32_t i = 0; i < script_count; i++) {
        for (uint32_t n = 0; n < scripts[i].count; n++) {
            crowd.peers[next].script = &scripts[i];
            peer_connect(&crowd, &crowd.peers[next++]);
        }
    }
    crowd_run(&crowd, now_ms() + strtoul(argv[2], NULL, 10) * 1000);
    printf("peers=%u acks=%" PRIu64 " errors=%" PRIu64, crowd.peer_count, crowd.acks, crowd.errors);
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        printf(" %s_peers=%u %s_bytes=%" PRIu64 " %s_closed=%" PRIu64, kind_names[kind],
               crowd.count[kind], kind_names[kind], crowd.said[kind], kind_names[kind],
               crowd.closed[kind]);
    }
    printf("\n");
    return 0;
}
