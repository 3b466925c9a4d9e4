/* What must hold of every group, whatever is killed: see members.c. */
#include "members.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BAD_LINES_MAX = 20 };

static const char *const ask_names[ASK_COUNT] = {
    "nothing", "find coordinator", "join", "sync", "heartbeat", "commit", "fetch", "leave",
};

void say_bad(struct load *load, const char *format, ...)
{
    load->bad++;
    if (load->told++ >= BAD_LINES_MAX) {
        return;
    }
    va_list words;
    va_start(words, format);
    (void)fputs("bad ", stdout);
    (void)vprintf(format, words);
    (void)fputs("\n", stdout);
    va_end(words);
    (void)fflush(stdout);
}

uint64_t all_partitions(const struct load *load)
{
    return load->partitions == 64 ? UINT64_MAX : ((uint64_t)1 << load->partitions) - 1;
}

bool group_settled(const struct group *group, const struct load *load)
{
    const struct member *members = &load->members[group->index * load->each];
    uint64_t claimed = 0;
    uint32_t here = 0;
    for (uint32_t i = 0; i < load->each; i++) {
        const struct member *member = &members[i];
        if (member->state == MEMBER_AWAY) {
            continue;
        }
        here++;
        if (member->state != MEMBER_HERE || member->leaving || !member->synced ||
            !member->fetched || member->asked == ASK_JOIN || member->asked == ASK_SYNC ||
            member->generation != group->generation) {
            return false;
        }
        claimed |= member->assigned;
    }
    return here == 0 || claimed == all_partitions(load);
}

/* A generation has one leader, and none comes again. (A static one has a new id in each life.) */
void check_joined(struct member *member, const char *leader)
{
    struct group *group = member->group;
    if (member->generation > group->generation) {
        group->generation = member->generation;
        group->claimed = group->claimers = 0;
        (void)snprintf(group->leader, sizeof(group->leader), "%s", leader);
    } else if (member->generation < group->generation) {
        say_bad(member->load, "group %u: member %u hears of generation %d behind %d", group->index,
                member->index, member->generation, group->generation);
    } else if (!group->fixed && strcmp(leader, group->leader) != 0) {
        say_bad(member->load, "group %u: generation %d has leaders %s and %s", group->index,
                member->generation, group->leader, leader);
    }
}

/* Each partition is given to one member of a generation, and the same whenever it asks. */
void check_synced(struct member *member)
{
    struct group *group = member->group;
    uint64_t bit = (uint64_t)1 << member->index;
    if (member->generation != group->generation) {
        return; /* Its generation is over already. */
    }
    bool again = (group->claimers & bit) != 0;
    if (again && group->claims[member->index] != member->assigned) {
        say_bad(member->load, "group %u: member %u of generation %d had %" PRIx64 ", has %" PRIx64,
                group->index, member->index, member->generation, group->claims[member->index],
                member->assigned);
    }
    if (!again && (group->claimed & member->assigned) != 0) {
        say_bad(member->load, "group %u: generation %d gives %" PRIx64 " to two members",
                group->index, member->generation, group->claimed & member->assigned);
    }
    group->claimers |= bit;
    group->claims[member->index] = member->assigned;
    group->claimed |= member->assigned;
}

void check_read(struct member *member, uint32_t partition, int64_t offset)
{
    const struct group *group = member->group;
    uint64_t least = member->least[partition];
    if (least > 0 && (offset < 0 || (uint64_t)offset < least)) {
        say_bad(member->load, "lost: group %u partition %u is at %" PRId64 ", acked was %" PRIu64,
                group->index, partition, offset, least);
    }
    if (offset >= 0 && (uint64_t)offset > group->sent[partition]) {
        say_bad(member->load,
                "group %u partition %u is at %" PRId64 ", nobody wrote above %" PRIu64,
                group->index, partition, offset, group->sent[partition]);
    }
    member->load->read_back++;
}

void check_code(struct member *member, enum ask ask, uint32_t code)
{
    enum { COORDINATOR_LOADING = 14, NOT_AVAILABLE = 15, NOT_COORDINATOR = 16 };
    struct load *load = member->load;
    load->codes[code < CODES ? code : CODES - 1]++;
    bool passing = code == COORDINATOR_LOADING || code == NOT_AVAILABLE || code == NOT_COORDINATOR;
    if (member->group->calm && !passing) {
        load->broken++;
        say_bad(load, "group %u was calm in generation %d: member %u is told %u for its %s",
                member->group->index, member->generation, member->index, code, ask_names[ask]);
    }
}
