/* Members, what they bring, and how they are found. */
#include "core/assert.h"
#include "net/group/classic_internal.h"

#include <string.h>
#include <xxhash.h>

enum {
    CLASSIC_BUCKETS_MIN = 8,
    CLASSIC_MEMBER_RECORD_BYTES = 48, /* Of a member's record, beside its texts. */
};

bool classic_read_pair(struct bytes_reader *reader, struct classic_pair *pair)
{
    uint32_t size = read_le32(reader);
    pair->name = read_bytes(reader, size);
    size = read_le32(reader);
    pair->value = read_bytes(reader, size);
    return !reader->failed;
}

static struct classic_member **classic_bucket(const struct classic *group, struct bytes id)
{
    uint64_t hash = id.size == 0 ? 0 : XXH3_64bits(id.data, id.size);
    return &group->buckets[hash & (group->bucket_count - 1)];
}

struct classic_member *classic_member_by_id(const struct classic *group, struct bytes id)
{
    struct classic_member *member = group->bucket_count == 0 ? NULL : *classic_bucket(group, id);
    while (member != NULL && !bytes_equal(member->id, id)) {
        member = member->hash_next;
    }
    return member;
}

struct classic_member *classic_member_by_instance(const struct classic *group,
                                                  struct bytes instance)
{
    struct list *entry;
    list_for_each (entry, &group->members) {
        struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        if (member->instance.data != NULL && bytes_equal(member->instance, instance)) {
            return member;
        }
    }
    return NULL;
}

enum group_code classic_find(const struct classic *group, struct bytes id, struct bytes instance,
                             struct classic_member **found)
{
    struct classic_member *member = classic_member_by_id(group, id);
    *found = NULL;
    if (member != NULL && member->pending) {
        member = NULL;
    }
    if (instance.data != NULL) {
        bool same = member != NULL && member->instance.data != NULL &&
                    bytes_equal(member->instance, instance);
        if (!same) {
            return classic_member_by_instance(group, instance) != NULL ? GROUP_FENCED_INSTANCE
                                                                       : GROUP_UNKNOWN_MEMBER;
        }
    }
    *found = member;
    return member == NULL ? GROUP_UNKNOWN_MEMBER : GROUP_OK;
}

/* Room for one more in the table. */
static bool classic_grow(struct classic *group, struct group_memory *memory)
{
    uint32_t count = group->member_count + group->pending_count;
    if (count < group->bucket_count) {
        return true;
    }
    uint32_t wanted = max_u32(group->bucket_count * 2, CLASSIC_BUCKETS_MIN);
    struct classic_member **buckets = group_alloc(memory, wanted * sizeof(struct classic_member *));
    if (buckets == NULL) {
        return false;
    }
    group_free(memory, group->buckets);
    group->buckets = buckets;
    group->bucket_count = wanted;
    struct list *entry;
    list_for_each (entry, &group->members) {
        struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        struct classic_member **bucket = classic_bucket(group, member->id);
        member->hash_next = *bucket;
        *bucket = member;
    }
    return true;
}

static struct bytes classic_place(uint8_t **at, struct bytes text)
{
    if (text.data == NULL) {
        return text;
    }
    struct bytes placed = bytes_of(*at, text.size);
    if (text.size > 0) {
        memcpy(*at, text.data, text.size);
    }
    *at += text.size;
    return placed;
}

static uint32_t classic_member_record(const struct classic_member *member)
{
    return CLASSIC_MEMBER_RECORD_BYTES + member->id.size + member->instance.size +
           member->client.size + member->host.size + member->protocols.size +
           member->assignment.size;
}

static struct bytes classic_short(struct bytes text)
{
    return bytes_of(text.data, min_u32(text.size, CLASSIC_NAME_BYTES_MAX));
}

struct classic_member *classic_member_add(struct classic *group, const struct classic_join *join,
                                          struct bytes id, struct group_memory *memory)
{
    struct bytes client = classic_short(join->client);
    struct bytes host = classic_short(join->host);
    uint64_t texts = (uint64_t)id.size + join->instance.size + client.size + host.size;
    ASSERT(id.size > 0 && id.size <= CLASSIC_ID_BYTES_MAX);
    ASSERT(join->instance.size <= CLASSIC_NAME_BYTES_MAX);
    struct classic_member *member = group_alloc(memory, sizeof(*member) + texts + 1);
    if (member == NULL || !classic_grow(group, memory)) {
        group_free(memory, member);
        return NULL;
    }
    uint8_t *at = (uint8_t *)(member + 1);
    member->id = classic_place(&at, id);
    member->instance = classic_place(&at, join->instance);
    member->client = classic_place(&at, client);
    member->host = classic_place(&at, host);
    member->session_ms = join->session_ms;
    member->rebalance_ms = join->rebalance_ms;
    list_init(&member->node);
    list_push_back(&group->members, &member->node);
    struct classic_member **bucket = classic_bucket(group, id);
    member->hash_next = *bucket;
    *bucket = member;
    group->member_count++;
    group->record_bytes += classic_member_record(member);
    return member;
}

void classic_member_drop(struct classic *group, struct classic_member *member,
                         struct group_memory *memory)
{
    ASSERT(member->join == NULL && member->sync == NULL);
    struct classic_member **at = classic_bucket(group, member->id);
    while (*at != member) {
        at = &(*at)->hash_next;
    }
    *at = member->hash_next;
    list_remove(&member->node);
    group->record_bytes -= classic_member_record(member);
    if (member->pending) {
        group->pending_count--;
    } else {
        group->member_count--;
    }
    if (group->leader == member) {
        group->leader = NULL;
    }
    group_free_copy(memory, &member->protocols);
    group_free_copy(memory, &member->assignment);
    group_free(memory, member);
}

bool classic_member_bring(struct classic *group, struct classic_member *member,
                          const struct classic_join *join, struct group_memory *memory)
{
    uint64_t record = (uint64_t)group->record_bytes - member->protocols.size + join->protocols.size;
    struct bytes protocols;
    if (record > CLASSIC_RECORD_BYTES_MAX || !group_copy(memory, join->protocols, &protocols)) {
        return false;
    }
    group->record_bytes = (uint32_t)record;
    group_free_copy(memory, &member->protocols);
    member->protocols = protocols;
    member->protocol_count = join->protocol_count;
    member->session_ms = join->session_ms;
    member->rebalance_ms = join->rebalance_ms;
    return true;
}

void classic_member_unassign(struct classic *group, struct classic_member *member,
                             struct group_memory *memory)
{
    group->record_bytes -= member->assignment.size;
    group_free_copy(memory, &member->assignment);
}

/* --- Protocols. --- */

static bool classic_find_protocol(struct bytes protocols, struct bytes name, struct bytes *metadata)
{
    struct bytes_reader reader = bytes_reader(protocols);
    struct classic_pair pair;
    while (bytes_left(&reader) > 0 && classic_read_pair(&reader, &pair)) {
        if (bytes_equal(pair.name, name)) {
            *metadata = pair.value;
            return true;
        }
    }
    return false;
}

bool classic_supports(struct bytes protocols, struct bytes name)
{
    struct bytes metadata;
    return classic_find_protocol(protocols, name, &metadata);
}

static bool classic_all_support(const struct classic *group, struct bytes name,
                                const struct classic_member *except)
{
    struct list *entry;
    list_for_each (entry, &group->members) {
        const struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        if (member != except && !member->pending && !classic_supports(member->protocols, name)) {
            return false;
        }
    }
    return true;
}

bool classic_agrees(const struct classic *group, struct bytes protocols,
                    const struct classic_member *except)
{
    struct bytes_reader reader = bytes_reader(protocols);
    struct classic_pair pair;
    while (bytes_left(&reader) > 0 && classic_read_pair(&reader, &pair)) {
        if (classic_all_support(group, pair.name, except)) {
            return true;
        }
    }
    return false;
}

/* The member's vote: the first of its own that is a candidate. */
static void classic_vote(const struct classic_member *member, const struct bytes *candidates,
                         uint32_t *votes, uint32_t count)
{
    struct bytes_reader reader = bytes_reader(member->protocols);
    struct classic_pair pair;
    while (bytes_left(&reader) > 0 && classic_read_pair(&reader, &pair)) {
        for (uint32_t i = 0; i < count; i++) {
            if (bytes_equal(candidates[i], pair.name)) {
                votes[i]++;
                return;
            }
        }
    }
}

/* What all know stands in anybody's list: the leader's will do. */
struct bytes classic_choose(const struct classic *group)
{
    struct bytes candidates[CLASSIC_PROTOCOLS_MAX];
    uint32_t votes[CLASSIC_PROTOCOLS_MAX] = {0};
    uint32_t count = 0;
    ASSERT(group->leader != NULL);
    struct bytes_reader reader = bytes_reader(group->leader->protocols);
    struct classic_pair pair;
    while (bytes_left(&reader) > 0 && classic_read_pair(&reader, &pair)) {
        if (count < CLASSIC_PROTOCOLS_MAX && classic_all_support(group, pair.name, NULL)) {
            candidates[count++] = pair.name;
        }
    }
    struct list *entry;
    list_for_each (entry, &group->members) {
        const struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        if (!member->pending) {
            classic_vote(member, candidates, votes, count);
        }
    }
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++) {
        best = votes[i] > votes[best] ? i : best;
    }
    return count == 0 ? (struct bytes){0} : candidates[best];
}

struct bytes classic_metadata(const struct classic *group, const struct classic_member *member)
{
    struct bytes metadata = {0};
    if (group->protocol.data != NULL) {
        (void)classic_find_protocol(member->protocols, group->protocol, &metadata);
    }
    return metadata;
}

/* Consumers say: be16 version, be32 count, topics of be16 size. */
static bool classic_reads_topic(struct bytes metadata, struct bytes topic)
{
    struct bytes_reader reader = bytes_reader(metadata);
    (void)read_be16(&reader);
    uint32_t count = read_be32(&reader);
    for (uint32_t i = 0; i < count && !reader.failed; i++) {
        uint32_t size = read_be16(&reader);
        struct bytes name = read_bytes(&reader, size);
        if (!reader.failed && bytes_equal(name, topic)) {
            return true;
        }
    }
    return false;
}

bool classic_subscribed(const struct classic *group, struct bytes topic)
{
    if (group->member_count == 0) {
        return false;
    }
    if (group->type.data == NULL || !bytes_equal(group->type, bytes_text("consumer"))) {
        return true;
    }
    struct list *entry;
    list_for_each (entry, &group->members) {
        const struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        struct bytes_reader reader = bytes_reader(member->protocols);
        struct classic_pair pair;
        while (bytes_left(&reader) > 0 && classic_read_pair(&reader, &pair)) {
            if (classic_reads_topic(pair.value, topic)) {
                return true;
            }
        }
    }
    return false;
}
