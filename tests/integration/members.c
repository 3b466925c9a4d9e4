/* Thousands of members of consumer groups on one thread, for test_members.py: each is a connection
 * that speaks the classic protocol, commits offsets that only grow, and comes again when it is
 * closed. A quarter of the groups have static members, another quarter rebalances cooperatively:
 * who must let go of a partition joins a second time.
 *
 *     floe_members PORT GROUPS MEMBERS PARTITIONS SESSION_MS HEARTBEAT_MS COMMIT_MS
 *
 * Nobody is here at first. Commands, a line each on the standard input:
 *
 *     return              all who are away come, as new members or under their static names
 *     vanish PERMILLE     so many of the members close without a word
 *     shake COUNT         a member leaves its group, so often
 *     leave FIRST COUNT   all members of these groups leave, and are away
 *     forget FIRST COUNT  these groups are new: no offset of theirs must be there
 *     pace HEARTBEAT_MS COMMIT_MS   how often; COMMIT_MS 0: never
 *     mark                groups that are settled now must stay in their generation, with all their
 *                         members, whatever happens to the server, until one is told to change
 *     killed              nobody is well, until the server says so again
 *     status              prints a line of counts; "bad" are facts that must not be, each told in
 *                         a line of its own before
 */
#include "members.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 512, TICK_MS = 10, LINE_BYTES_MAX = 256 };

static void stop(const char *what)
{
    (void)fprintf(stderr, "floe_members: cannot %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t clock_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* --- Connections. --- */

static void member_back_off(struct member *member)
{
    struct load *load = member->load;
    uint32_t wait = member->backoff_ms;
    member->state = MEMBER_BACKING;
    member->next_ms = load->now_ms + wait / 2 + prng_below(&load->prng, wait);
    member->backoff_ms = wait * 2 < BACKOFF_MS_MAX ? wait * 2 : BACKOFF_MS_MAX;
}

static void member_close(struct member *member)
{
    (void)close(member->fd);
    member->fd = -1;
    member->asked = ASK_NOTHING;
    member->heard = member->beat = 0;
    member->found = member->well = false;
}

/* What it knows of its group it keeps; but nobody assigns twice, so it asks for its offsets. */
static void member_lost(struct member *member)
{
    member->load->closes++;
    member_close(member);
    if (member->joined && !member->synced) {
        member->joined = false; /* Who was the leader's mate may be another one by now. */
    }
    member->fetched = member->assigned == 0;
    member_back_off(member);
}

static void member_go(struct member *member)
{
    if (member->fd >= 0) {
        member_close(member);
    }
    member->state = MEMBER_AWAY;
    member->leaving = false;
    member_forget(member);
}

static void member_connect(struct member *member)
{
    struct load *load = member->load;
    int one = 1;
    member->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (member->fd < 0) {
        stop("make a socket");
    }
    (void)setsockopt(member->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(load->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    load->connects++;
    member->state = MEMBER_CONNECTING;
    if (connect(member->fd, (struct sockaddr *)&address, sizeof(address)) != 0 &&
        errno != EINPROGRESS) {
        member_lost(member);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.ptr = member};
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, member->fd, &event) != 0) {
        stop("watch a socket");
    }
}

/* What is there; false: it was closed. */
static bool member_read(struct member *member)
{
    ssize_t got =
        recv(member->fd, member->answer + member->heard, FRAME_BYTES_MAX - member->heard, 0);
    if (got <= 0) {
        return got < 0 && errno == EAGAIN;
    }
    member->heard += (uint32_t)got;
    while (member->heard >= 4) {
        uint32_t size = load_be32(member->answer);
        if (size > FRAME_BYTES_MAX - 4) {
            say_bad(member->load, "an answer of %u bytes", size);
            return false;
        }
        if (member->heard < 4 + size) {
            break;
        }
        if (!member_hear(member, bytes_of(member->answer + 4, size))) {
            member_go(member);
            return true;
        }
        member->heard -= 4 + size;
        memmove(member->answer, member->answer + 4 + size, member->heard);
    }
    return member_ask(member);
}

static void member_happened(struct member *member, uint32_t events)
{
    struct load *load = member->load;
    if (member->state == MEMBER_CONNECTING && (events & EPOLLOUT) != 0 &&
        (events & (EPOLLERR | EPOLLHUP)) == 0) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = member};
        (void)epoll_ctl(load->epoll, EPOLL_CTL_MOD, member->fd, &event);
        member->state = MEMBER_HERE;
        member->backoff_ms = BACKOFF_MS_MIN;
        if (!member_ask(member)) {
            member_lost(member);
        }
        return;
    }
    bool well = (events & EPOLLIN) != 0 && member->state == MEMBER_HERE
                    ? member_read(member)
                    : (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) == 0;
    if (!well) {
        member_lost(member);
    }
}

static void load_tick(struct load *load)
{
    uint32_t count = load->group_count * load->each;
    for (uint32_t i = 0; i < count; i++) {
        struct member *member = &load->members[i];
        if (member->state == MEMBER_BACKING && load->now_ms >= member->next_ms) {
            member_connect(member);
        } else if (member->state == MEMBER_HERE && !member_ask(member)) {
            member_lost(member);
        }
    }
}

/* --- Commands. --- */

/* It comes within a second, as processes do that are started together. */
static void member_return(struct member *member)
{
    struct load *load = member->load;
    if (member->state == MEMBER_AWAY) {
        member->group->calm = false;
        member->state = MEMBER_BACKING;
        member->backoff_ms = BACKOFF_MS_MIN;
        member->next_ms = load->now_ms + prng_below(&load->prng, 1000);
        member->commit_ms = load->now_ms + prng_below(&load->prng, load->commit_ms + 1);
    }
}

static void load_vanish(struct load *load, uint32_t permille)
{
    for (uint32_t i = 0; i < load->group_count * load->each; i++) {
        struct member *member = &load->members[i];
        if (member->state != MEMBER_AWAY && prng_below(&load->prng, 1000) < permille) {
            member->group->calm = false;
            member_go(member);
        }
    }
}

/* A member of the group leaves; whoever stays may hear of it. */
static void member_leave(struct member *member)
{
    member->group->calm = false;
    if (member->joined && member->state == MEMBER_HERE) {
        member->leaving = true;
    }
}

static void load_shake(struct load *load, uint32_t times)
{
    for (uint32_t i = 0; i < times; i++) {
        struct group *group = &load->groups[prng_below(&load->prng, load->group_count)];
        struct member *member =
            &load->members[group->index * load->each + prng_below(&load->prng, load->each)];
        member_leave(member);
    }
}

static void load_leave(struct load *load, uint32_t first, uint32_t count)
{
    for (uint32_t i = first * load->each; i < (first + count) * load->each; i++) {
        struct member *member = &load->members[i];
        member_leave(member);
        if (!member->leaving) {
            member_go(member);
        }
    }
}

static void load_forget(struct load *load, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        struct group *group = &load->groups[i];
        memset(group->sent, 0, sizeof(group->sent));
        memset(group->acked, 0, sizeof(group->acked));
        group->generation = -1;
        group->claimed = group->claimers = 0;
    }
}

static void load_status(struct load *load)
{
    uint32_t here = 0, well = 0, joined = 0, settled = 0, calm = 0;
    for (uint32_t i = 0; i < load->group_count * load->each; i++) {
        here += load->members[i].state != MEMBER_AWAY;
        well += load->members[i].well;
        joined += load->members[i].joined && load->members[i].synced;
    }
    for (uint32_t i = 0; i < load->group_count; i++) {
        settled += group_settled(&load->groups[i], load);
        calm += load->groups[i].calm;
    }
    printf("status here=%u well=%u joined=%u settled=%u calm=%u heartbeats=%" PRIu64
           " commits=%" PRIu64 " offsets=%" PRIu64 " read_back=%" PRIu64 " joins=%" PRIu64
           " syncs=%" PRIu64 " leaves=%" PRIu64 " connects=%" PRIu64 " closes=%" PRIu64
           " restarts=%" PRIu64 " broken=%" PRIu64 " bad=%" PRIu64,
           here, well, joined, settled, calm, load->well_answers[ASK_HEARTBEAT],
           load->well_answers[ASK_COMMIT], load->committed, load->read_back, load->asks[ASK_JOIN],
           load->asks[ASK_SYNC], load->asks[ASK_LEAVE], load->connects, load->closes,
           load->restarts, load->broken, load->bad);
    printf(" heartbeat_ms=%" PRIu64 " commit_ms=%" PRIu64 " fetch_ms=%" PRIu64 " round_ms=%" PRIu64,
           load->longest_ms[ASK_HEARTBEAT], load->longest_ms[ASK_COMMIT],
           load->longest_ms[ASK_FETCH], load->round_ms);
    for (uint32_t code = 0; code < CODES; code++) {
        if (load->codes[code] > 0) {
            printf(" code%u=%" PRIu64, code, load->codes[code]);
        }
    }
    printf("\n");
    (void)fflush(stdout);
}

static void load_mark(struct load *load)
{
    for (uint32_t i = 0; i < load->group_count; i++) {
        load->groups[i].calm = group_settled(&load->groups[i], load);
    }
}

static void load_pace(struct load *load, uint32_t heartbeat_ms, uint32_t commit_ms)
{
    load->heartbeat_ms = heartbeat_ms;
    load->commit_ms = commit_ms;
    for (uint32_t i = 0; i < load->group_count * load->each; i++) {
        struct member *member = &load->members[i];
        member->heartbeat_ms = load->now_ms + prng_below(&load->prng, heartbeat_ms + 1);
        member->commit_ms = load->now_ms + prng_below(&load->prng, commit_ms + 1);
    }
}

static void load_command(struct load *load, const char *line)
{
    unsigned first = 0, second = 0;
    if (sscanf(line, "vanish %u", &first) == 1) {
        load_vanish(load, first);
    } else if (sscanf(line, "shake %u", &first) == 1) {
        load_shake(load, first);
    } else if (sscanf(line, "leave %u %u", &first, &second) == 2) {
        load_leave(load, first, second);
    } else if (sscanf(line, "forget %u %u", &first, &second) == 2) {
        load_forget(load, first, second);
    } else if (sscanf(line, "pace %u %u", &first, &second) == 2) {
        load_pace(load, first, second);
    } else if (strcmp(line, "mark") == 0) {
        load_mark(load);
    } else if (strcmp(line, "status") == 0) {
        load_status(load);
    } else {
        for (uint32_t i = 0; i < load->group_count * load->each; i++) {
            if (strcmp(line, "return") == 0) {
                member_return(&load->members[i]);
            } else if (strcmp(line, "killed") == 0) {
                load->members[i].well = false;
            } else {
                stop("understand a command");
            }
        }
    }
}

/* The lines that are there; false: there will be no more. */
static bool load_listen(struct load *load)
{
    static char line[LINE_BYTES_MAX];
    static uint32_t size;
    char byte;
    ssize_t got;
    while ((got = read(STDIN_FILENO, &byte, 1)) == 1) {
        if (byte == '\n') {
            line[size] = 0;
            size = 0;
            load_command(load, line);
        } else if (size + 1 < sizeof(line)) {
            line[size++] = byte;
        }
    }
    return got < 0 && errno == EAGAIN;
}

/* --- All of it. --- */

static void load_run(struct load *load)
{
    static struct epoll_event events[EVENTS];
    uint64_t tick_ms = 0;
    for (;;) {
        int count = epoll_wait(load->epoll, events, EVENTS, TICK_MS);
        uint64_t now_ms = clock_ms();
        load->round_ms =
            now_ms - load->now_ms > load->round_ms ? now_ms - load->now_ms : load->round_ms;
        load->now_ms = now_ms;
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) {
                if (!load_listen(load)) {
                    return;
                }
                break; /* It may have closed some of the others: they are told again. */
            }
            member_happened(events[i].data.ptr, events[i].events);
        }
        if (load->now_ms >= tick_ms + TICK_MS) {
            tick_ms = load->now_ms;
            load_tick(load);
        }
    }
}

static void load_make(struct load *load)
{
    uint32_t count = load->group_count * load->each;
    load->groups = calloc(load->group_count, sizeof(*load->groups));
    load->members = calloc(count, sizeof(*load->members));
    uint8_t *answers = calloc(count, FRAME_BYTES_MAX);
    if (load->groups == NULL || load->members == NULL || answers == NULL) {
        stop("get memory");
    }
    for (uint32_t i = 0; i < load->group_count; i++) {
        struct group *group = &load->groups[i];
        group->index = i;
        group->generation = -1;
        group->fixed = i % 4 == 1;
        group->cooperative = i % 4 == 2;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct member *member = &load->members[i];
        member->load = load;
        member->group = &load->groups[i / load->each];
        member->index = i % load->each;
        member->fixed = member->group->fixed && member->index % 2 == 0;
        member->fd = -1;
        member->answer = answers + (size_t)i * FRAME_BYTES_MAX;
    }
}

int main(int argc, char **argv)
{
    static struct load load;
    uint32_t numbers[7] = {0};
    for (int i = 1; i < argc && i <= 7; i++) {
        numbers[i - 1] = (uint32_t)strtoul(argv[i], NULL, 10);
    }
    if (argc != 8 || numbers[1] == 0 || numbers[2] == 0 || numbers[2] > MEMBERS_MAX ||
        numbers[3] == 0 || numbers[3] > PARTITIONS_MAX) {
        (void)fprintf(stderr, "floe_members PORT GROUPS MEMBERS PARTITIONS SESSION_MS HEARTBEAT_MS"
                              " COMMIT_MS\n");
        return 2;
    }
    load.port = (uint16_t)numbers[0];
    load.group_count = numbers[1];
    load.each = numbers[2];
    load.partitions = numbers[3];
    load.session_ms = numbers[4];
    load.rebalance_ms = 60000;
    load.heartbeat_ms = numbers[5];
    load.commit_ms = numbers[6];
    load.now_ms = clock_ms();
    prng_seed_one(&load.prng, 1);
    load_make(&load);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (load.epoll < 0 || fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(load.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0) {
        stop("begin");
    }
    load_run(&load);
    return 0;
}
