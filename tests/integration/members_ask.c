/* What a member says and hears, in the versions of the protocol before it became flexible:
 * FindCoordinator 1, JoinGroup 5, SyncGroup 3, Heartbeat 3, OffsetCommit 7, OffsetFetch 5,
 * LeaveGroup 3. */
#include "members.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    CODE_OK = 0,
    CODE_LOADING = 14,
    CODE_NOT_AVAILABLE = 15,
    CODE_NOT_COORDINATOR = 16,
    CODE_ILLEGAL_GENERATION = 22,
    CODE_UNKNOWN_MEMBER = 25,
    CODE_REBALANCING = 27,
    CODE_ID_NEEDED = 79,
};

static const struct {
    uint16_t key, version;
} apis[ASK_COUNT] = {
    [ASK_COORDINATOR] = {10, 1}, [ASK_JOIN] = {11, 5},  [ASK_SYNC] = {14, 3},
    [ASK_HEARTBEAT] = {12, 3},   [ASK_COMMIT] = {8, 7}, [ASK_FETCH] = {9, 5},
    [ASK_LEAVE] = {13, 3},
};

/* --- Words. --- */

static void say_text(struct bytes_writer *writer, const char *text)
{
    write_be16(writer, (uint16_t)strlen(text));
    write_bytes(writer, text, (uint32_t)strlen(text));
}

static void say_group(struct bytes_writer *writer, const struct member *member)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "group-%u", member->group->index);
    say_text(writer, name);
}

static void say_topic(struct bytes_writer *writer, const struct member *member)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "topic-%u", member->group->index % TOPICS);
    say_text(writer, name);
}

static void say_instance(struct bytes_writer *writer, const struct member *member)
{
    char name[32];
    if (!member->fixed) {
        write_be16(writer, UINT16_MAX);
        return;
    }
    (void)snprintf(name, sizeof(name), "fixed-%u-%u", member->group->index, member->index);
    say_text(writer, name);
}

static void hear_text(struct bytes_reader *reader, char *text)
{
    uint32_t size = read_be16(reader);
    struct bytes bytes = read_bytes(reader, size == UINT16_MAX ? 0 : size);
    uint32_t kept = bytes.size < ID_BYTES_MAX ? bytes.size : ID_BYTES_MAX - 1;
    if (kept > 0) {
        memcpy(text, bytes.data, kept);
    }
    text[kept] = 0;
}

static void hear_text_away(struct bytes_reader *reader)
{
    uint32_t size = read_be16(reader);
    read_skip(reader, size == UINT16_MAX ? 0 : size);
}

/* One topic with its partitions: of a subscription's own, or of an assignment. */
static void say_partitions(struct bytes_writer *writer, const struct member *member, uint64_t set)
{
    write_be32(writer, 1);
    say_topic(writer, member);
    write_be32(writer, (uint32_t)__builtin_popcountll(set));
    for (uint32_t p = 0; p < PARTITIONS_MAX; p++) {
        if ((set >> p & 1) != 0) {
            write_be32(writer, p);
        }
    }
}

static uint64_t hear_partitions(struct bytes_reader *reader)
{
    uint64_t set = 0;
    uint32_t topics = read_be32(reader);
    for (uint32_t t = 0; t < topics && !reader->failed; t++) {
        hear_text_away(reader);
        uint32_t count = read_be32(reader);
        for (uint32_t i = 0; i < count && !reader->failed; i++) {
            set |= (uint64_t)1 << (read_be32(reader) % PARTITIONS_MAX);
        }
    }
    return set;
}

/* A size that is known only behind what it is of. */
static uint32_t size_begin(struct bytes_writer *writer)
{
    write_be32(writer, 0);
    return writer->position;
}

static void size_end(struct bytes_writer *writer, uint32_t begin)
{
    store_be32(writer->data + begin - 4, writer->position - begin);
}

/* --- Requests. --- */

static void say_join(struct bytes_writer *writer, const struct member *member)
{
    say_group(writer, member);
    write_be32(writer, member->load->session_ms);
    write_be32(writer, member->load->rebalance_ms);
    say_text(writer, member->id);
    say_instance(writer, member);
    say_text(writer, "consumer");
    write_be32(writer, 1);
    say_text(writer, member->group->cooperative ? "cooperative" : "range");
    uint32_t begin = size_begin(writer);
    write_be16(writer, 1);
    write_be32(writer, 1);
    say_topic(writer, member);
    write_be32(writer, UINT32_MAX);
    say_partitions(writer, member, member->owned);
    size_end(writer, begin);
}

static int mate_order(const void *a, const void *b)
{
    return strcmp(((const struct mate *)a)->id, ((const struct mate *)b)->id);
}

/* By range, in the order of ids. A cooperative leader gives nothing away that somebody else still
 * has: who must let go does so, and joins again. */
static void say_plan(struct bytes_writer *writer, struct member *member)
{
    uint32_t count = member->mate_count, partitions = member->load->partitions;
    write_be32(writer, count);
    if (count == 0) {
        return;
    }
    qsort(member->mates, count, sizeof(*member->mates), mate_order);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t from = partitions * i / count, to = partitions * (i + 1) / count;
        uint64_t set = 0;
        for (uint32_t p = from; p < to; p++) {
            set |= (uint64_t)1 << p;
        }
        for (uint32_t k = 0; k < count && member->group->cooperative; k++) {
            set &= k == i ? UINT64_MAX : ~member->mates[k].owned;
        }
        say_text(writer, member->mates[i].id);
        uint32_t begin = size_begin(writer);
        write_be16(writer, 1);
        say_partitions(writer, member, set);
        write_be32(writer, UINT32_MAX);
        size_end(writer, begin);
    }
}

static void say_sync(struct bytes_writer *writer, struct member *member)
{
    say_group(writer, member);
    write_be32(writer, (uint32_t)member->generation);
    say_text(writer, member->id);
    say_instance(writer, member);
    say_plan(writer, member);
}

static void say_commit(struct bytes_writer *writer, struct member *member)
{
    struct group *group = member->group;
    write_be32(writer, 1);
    say_topic(writer, member);
    write_be32(writer, (uint32_t)__builtin_popcountll(member->assigned));
    for (uint32_t p = 0; p < PARTITIONS_MAX; p++) {
        if ((member->assigned >> p & 1) == 0) {
            continue;
        }
        member->committing[p] = ++group->sent[p];
        write_be32(writer, p);
        write_be64(writer, member->committing[p]);
        write_be32(writer, UINT32_MAX);
        say_text(writer, "");
    }
    member->commit_ms = member->load->now_ms + member->load->commit_ms;
}

static void say_fetch(struct bytes_writer *writer, struct member *member)
{
    say_group(writer, member);
    say_partitions(writer, member, member->assigned);
    memcpy(member->least, member->group->acked, sizeof(member->least));
}

static void say_leave(struct bytes_writer *writer, const struct member *member)
{
    say_group(writer, member);
    write_be32(writer, 1);
    say_text(writer, member->id);
    say_instance(writer, member);
}

static void say(struct bytes_writer *writer, struct member *member, enum ask ask)
{
    switch (ask) {
    case ASK_COORDINATOR:
        say_group(writer, member);
        write_u8(writer, 0);
        return;
    case ASK_JOIN:
        say_join(writer, member);
        return;
    case ASK_SYNC:
        say_sync(writer, member);
        return;
    case ASK_HEARTBEAT:
    case ASK_COMMIT:
        say_group(writer, member);
        write_be32(writer, (uint32_t)member->generation);
        say_text(writer, member->id);
        say_instance(writer, member);
        if (ask == ASK_COMMIT) {
            say_commit(writer, member);
        } else { /* A commit is a sign of life, but tells of no rebalance before it is over. */
            member->heartbeat_ms = member->load->now_ms + member->load->heartbeat_ms;
        }
        return;
    case ASK_FETCH:
        say_fetch(writer, member);
        return;
    case ASK_LEAVE:
        say_leave(writer, member);
        return;
    case ASK_NOTHING:
    case ASK_COUNT:
        break;
    }
    abort();
}

static enum ask member_next(const struct member *member)
{
    const struct load *load = member->load;
    if (!member->found) {
        return ASK_COORDINATOR;
    }
    if (member->leaving) {
        return ASK_LEAVE;
    }
    if (!member->joined) {
        return ASK_JOIN;
    }
    if (!member->synced) {
        return ASK_SYNC;
    }
    if (!member->fetched) {
        return ASK_FETCH;
    }
    bool due = load->commit_ms > 0 && load->now_ms >= member->commit_ms && member->assigned != 0;
    return due ? ASK_COMMIT : ASK_NOTHING;
}

/* A heartbeat goes beside what takes long, if that is not about the member's place itself. */
static bool member_beats(const struct member *member)
{
    bool placed = member->found && member->joined && member->synced && !member->leaving;
    bool beside =
        member->asked == ASK_NOTHING || member->asked == ASK_COMMIT || member->asked == ASK_FETCH;
    return placed && beside && member->beat == 0 && member->load->now_ms >= member->heartbeat_ms;
}

static bool member_say(struct member *member, enum ask ask)
{
    static uint8_t data[FRAME_BYTES_MAX];
    struct bytes_writer writer = bytes_writer(data, sizeof(data));
    uint32_t begin = size_begin(&writer);
    write_be16(&writer, apis[ask].key);
    write_be16(&writer, apis[ask].version);
    write_be32(&writer, ++member->correlations);
    say_text(&writer, "floe-members");
    say(&writer, member, ask);
    size_end(&writer, begin);
    if (writer.failed) {
        abort();
    }
    member->load->asks[ask]++;
    return send(member->fd, data, writer.position, MSG_NOSIGNAL) == (ssize_t)writer.position;
}

bool member_ask(struct member *member)
{
    struct load *load = member->load;
    if (load->now_ms < member->next_ms) {
        return true;
    }
    if (member_beats(member)) {
        bool well = member_say(member, ASK_HEARTBEAT);
        member->beat = member->correlations;
        member->beat_ms = load->now_ms;
        if (!well) {
            return false;
        }
    }
    enum ask ask = member_next(member);
    bool beside = member->beat == 0 || ask == ASK_COMMIT || ask == ASK_FETCH;
    if (member->asked != ASK_NOTHING || ask == ASK_NOTHING || !beside) {
        return true;
    }
    bool well = member_say(member, ask);
    member->asked = ask;
    member->asked_ms = load->now_ms;
    member->correlation = member->correlations;
    return well;
}

/* --- Answers. --- */

void member_forget(struct member *member)
{
    member->id[0] = 0;
    member->owned = member->assigned = 0;
    member->joined = member->synced = false;
}

static void member_rejoin(struct member *member)
{
    if (!member->group->cooperative) {
        member->owned = 0; /* An eager member lets go of all before it joins. */
    }
    member->joined = member->synced = false;
}

/* What follows from a code that is not 0. */
static void hear_code(struct member *member, enum ask ask, uint32_t code)
{
    struct load *load = member->load;
    if (code == CODE_ID_NEEDED) {
        load->codes[code]++;
        return;
    }
    check_code(member, ask, code);
    switch (code) {
    case CODE_NOT_AVAILABLE:
    case CODE_NOT_COORDINATOR:
        member->found = false;
        member->next_ms = load->now_ms + RETRY_MS;
        return;
    case CODE_LOADING:
        member->next_ms = load->now_ms + RETRY_MS;
        return;
    case CODE_UNKNOWN_MEMBER:
        load->restarts++;
        member_forget(member);
        return;
    case CODE_ILLEGAL_GENERATION:
    case CODE_REBALANCING:
        member_rejoin(member);
        return;
    default:
        say_bad(load, "group %u member %u: request %d is answered %u", member->group->index,
                member->index, (int)apis[ask].key, code);
        member->next_ms = load->now_ms + RETRY_MS;
        member_rejoin(member);
    }
}

static uint64_t hear_owned(struct bytes metadata)
{
    struct bytes_reader reader = bytes_reader(metadata);
    (void)read_be16(&reader);
    uint32_t topics = read_be32(&reader);
    for (uint32_t i = 0; i < topics && !reader.failed; i++) {
        hear_text_away(&reader);
    }
    (void)read_be32(&reader); /* No user data: -1. */
    return hear_partitions(&reader);
}

static void hear_join(struct member *member, struct bytes_reader *reader)
{
    uint32_t code = read_be16(reader);
    int32_t generation = (int32_t)read_be32(reader);
    char leader[ID_BYTES_MAX], id[ID_BYTES_MAX];
    hear_text_away(reader);
    hear_text(reader, leader);
    hear_text(reader, id);
    if (code == CODE_OK || code == CODE_ID_NEEDED) {
        memcpy(member->id, id, sizeof(id));
    }
    if (code != CODE_OK) {
        hear_code(member, ASK_JOIN, code);
        return;
    }
    member->mate_count = read_be32(reader);
    free(member->mates);
    member->mates = calloc(member->mate_count + 1, sizeof(*member->mates));
    if (member->mates == NULL || member->mate_count > MEMBERS_MAX) {
        abort();
    }
    for (uint32_t i = 0; i < member->mate_count; i++) {
        struct mate *mate = &member->mates[i];
        hear_text(reader, mate->id);
        hear_text_away(reader);
        uint32_t size = read_be32(reader);
        mate->owned = hear_owned(read_bytes(reader, size));
    }
    member->generation = generation;
    member->joined = true;
    member->synced = false;
    check_joined(member, leader);
}

static void hear_sync(struct member *member, struct bytes_reader *reader)
{
    uint32_t code = read_be16(reader);
    if (code != CODE_OK) {
        hear_code(member, ASK_SYNC, code);
        return;
    }
    uint32_t size = read_be32(reader);
    struct bytes_reader inside = bytes_reader(read_bytes(reader, size));
    (void)read_be16(&inside);
    member->assigned = size == 0 ? 0 : hear_partitions(&inside);
    member->synced = true;
    member->fetched = member->assigned == 0;
    check_synced(member);
    if (member->group->cooperative) {
        bool lets_go = (member->owned & ~member->assigned) != 0;
        member->owned = member->assigned;
        if (lets_go) {
            member_rejoin(member);
        }
    }
}

static void hear_commit(struct member *member, struct bytes_reader *reader)
{
    struct load *load = member->load;
    uint32_t first = CODE_OK;
    uint32_t topics = read_be32(reader);
    for (uint32_t t = 0; t < topics && !reader->failed; t++) {
        hear_text_away(reader);
        uint32_t count = read_be32(reader);
        for (uint32_t i = 0; i < count && !reader->failed; i++) {
            uint32_t partition = read_be32(reader) % PARTITIONS_MAX;
            uint32_t code = read_be16(reader);
            uint64_t *acked = &member->group->acked[partition];
            if (code != CODE_OK) {
                first = code;
            } else if (member->committing[partition] > *acked) {
                *acked = member->committing[partition];
                load->committed++;
            }
        }
    }
    if (first != CODE_OK) {
        hear_code(member, ASK_COMMIT, first);
    } else {
        load->well_answers[ASK_COMMIT]++;
        member->well = true;
    }
}

static void hear_fetch(struct member *member, struct bytes_reader *reader)
{
    struct bytes_reader ahead = *reader;
    uint32_t first = CODE_OK;
    for (uint32_t pass = 0; pass < 2; pass++) { /* The code of all stands behind the offsets. */
        uint32_t topics = read_be32(&ahead);
        for (uint32_t t = 0; t < topics && !ahead.failed; t++) {
            hear_text_away(&ahead);
            uint32_t count = read_be32(&ahead);
            for (uint32_t i = 0; i < count && !ahead.failed; i++) {
                uint32_t partition = read_be32(&ahead) % PARTITIONS_MAX;
                int64_t offset = (int64_t)read_be64(&ahead);
                (void)read_be32(&ahead);
                hear_text_away(&ahead);
                uint32_t code = read_be16(&ahead);
                first = code != CODE_OK ? code : first;
                if (pass == 1 && first == CODE_OK) {
                    check_read(member, partition, offset);
                }
            }
        }
        uint32_t code = read_be16(&ahead);
        first = code != CODE_OK ? code : first;
        ahead.failed = reader->failed || ahead.failed;
        if (pass == 0 && !ahead.failed) {
            ahead = *reader;
        }
    }
    *reader = ahead;
    if (first != CODE_OK) {
        hear_code(member, ASK_FETCH, first);
        return;
    }
    member->fetched = true;
}

bool member_hear(struct member *member, struct bytes frame)
{
    struct load *load = member->load;
    struct bytes_reader reader = bytes_reader(frame);
    uint32_t correlation = read_be32(&reader);
    enum ask ask = ASK_NOTHING;
    uint64_t since_ms = load->now_ms;
    if (member->beat != 0 && correlation == member->beat) {
        ask = ASK_HEARTBEAT;
        since_ms = member->beat_ms;
        member->beat = 0;
    } else if (correlation == member->correlation) {
        ask = member->asked;
        since_ms = member->asked_ms;
        member->asked = ASK_NOTHING;
    }
    if (load->now_ms - since_ms > load->longest_ms[ask]) {
        load->longest_ms[ask] = load->now_ms - since_ms;
    }
    if (ask == ASK_NOTHING) {
        say_bad(load, "group %u member %u: an answer to nothing", member->group->index,
                member->index);
        return true;
    }
    (void)read_be32(&reader); /* Throttled: never. */
    if (ask == ASK_JOIN) {
        hear_join(member, &reader);
    } else if (ask == ASK_SYNC) {
        hear_sync(member, &reader);
    } else if (ask == ASK_COMMIT) {
        hear_commit(member, &reader);
    } else if (ask == ASK_FETCH) {
        hear_fetch(member, &reader);
    } else {
        uint32_t code = read_be16(&reader);
        member->found = member->found || code == CODE_OK;
        if (ask == ASK_LEAVE && code == CODE_OK) {
            return false; /* Whether it went now, or had gone before a kill. */
        }
        if (code != CODE_OK) {
            hear_code(member, ask, code);
        } else if (ask == ASK_HEARTBEAT) {
            load->well_answers[ask]++;
            member->well = true;
        }
    }
    if (reader.failed) {
        say_bad(load, "an answer to request %d does not parse", (int)apis[ask].key);
    }
    return true;
}
