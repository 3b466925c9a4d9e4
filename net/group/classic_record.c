/* A group as it is written down, little-endian; a text is le32 size (all ones: null) and bytes:
 *
 *     0 version u8 (1)  1 state u8  2 generation i32  6 empty since u64 (ms)  14 type  protocol
 *     leader's id  members u32, each: id instance client host  session u32 (ms)  rebalance u32
 *     protocols u32  packed protocols  assignment
 *
 * State 3 (STABLE) alone has assignments; of any other one with members a rebalance goes on. Who
 * was not told its id yet is not written down: nobody could come back as that. */
#include "core/assert.h"
#include "net/group/classic_internal.h"

enum { RECORD_VERSION = 1, RECORD_FIXED_BYTES = 14 };

static uint32_t record_text_size(struct bytes text)
{
    return 4 + text.size;
}

static bool record_skips(const struct classic_member *member)
{
    return member->pending || member->anonymous;
}

static struct bytes record_leader(const struct classic *group)
{
    const struct classic_member *leader = group->leader;
    return leader == NULL || record_skips(leader) ? (struct bytes){0} : leader->id;
}

static uint32_t record_count(const struct classic *group)
{
    uint32_t count = 0;
    struct list *entry;
    list_for_each (entry, &group->members) {
        count += record_skips(CONTAINER_OF(entry, struct classic_member, node)) ? 0 : 1;
    }
    return count;
}

uint32_t classic_record_size(const struct classic *group)
{
    uint32_t size = RECORD_FIXED_BYTES + record_text_size(group->type) +
                    record_text_size(group->protocol) + record_text_size(record_leader(group)) + 4;
    struct list *entry;
    list_for_each (entry, &group->members) {
        const struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        if (!record_skips(member)) {
            size += record_text_size(member->id) + record_text_size(member->instance) +
                    record_text_size(member->client) + record_text_size(member->host) +
                    record_text_size(member->protocols) + record_text_size(member->assignment) + 12;
        }
    }
    return size;
}

static void record_write_text(struct bytes_writer *writer, struct bytes text)
{
    write_le32(writer, text.data == NULL ? UINT32_MAX : text.size);
    if (text.size > 0) {
        write_bytes(writer, text.data, text.size);
    }
}

void classic_record_encode(const struct classic *group, struct bytes_writer *writer)
{
    uint32_t count = record_count(group);
    write_u8(writer, RECORD_VERSION);
    write_u8(writer, (uint8_t)(count == 0 ? CLASSIC_EMPTY : group->state));
    write_le32(writer, (uint32_t)group->generation);
    write_le64(writer, group->empty_ms);
    record_write_text(writer, group->type);
    record_write_text(writer, group->protocol);
    record_write_text(writer, record_leader(group));
    write_le32(writer, count);
    struct list *entry;
    list_for_each (entry, &group->members) {
        const struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        if (record_skips(member)) {
            continue;
        }
        record_write_text(writer, member->id);
        record_write_text(writer, member->instance);
        record_write_text(writer, member->client);
        record_write_text(writer, member->host);
        write_le32(writer, member->session_ms);
        write_le32(writer, member->rebalance_ms);
        write_le32(writer, member->protocol_count);
        record_write_text(writer, member->protocols);
        record_write_text(writer, member->assignment);
    }
}

static struct bytes record_read_text(struct bytes_reader *reader)
{
    uint32_t size = read_le32(reader);
    if (size == UINT32_MAX) {
        return (struct bytes){0};
    }
    return read_bytes(reader, size);
}

static bool record_read_member(struct classic *group, struct bytes_reader *reader,
                               struct group_memory *memory)
{
    struct bytes id = record_read_text(reader);
    struct classic_join join = {.instance = record_read_text(reader)};
    join.client = record_read_text(reader);
    join.host = record_read_text(reader);
    join.session_ms = read_le32(reader);
    join.rebalance_ms = read_le32(reader);
    join.protocol_count = read_le32(reader);
    join.protocols = record_read_text(reader);
    struct bytes assignment = record_read_text(reader);
    if (reader->failed || id.size == 0 || id.size > CLASSIC_ID_BYTES_MAX ||
        join.instance.size > CLASSIC_NAME_BYTES_MAX || classic_member_by_id(group, id) != NULL) {
        return false;
    }
    struct classic_member *member = classic_member_add(group, &join, id, memory);
    if (member == NULL || !classic_member_bring(group, member, &join, memory) ||
        !group_copy(memory, assignment, &member->assignment)) {
        return false;
    }
    group->record_bytes += member->assignment.size;
    return true;
}

bool classic_record_decode(struct classic *group, struct bytes record, struct group_memory *memory)
{
    struct bytes_reader reader = bytes_reader(record);
    ASSERT(list_empty(&group->members));
    if (read_u8(&reader) != RECORD_VERSION) {
        return false;
    }
    uint8_t state = read_u8(&reader);
    group->generation = (int32_t)read_le32(&reader);
    group->empty_ms = read_le64(&reader);
    struct bytes type = record_read_text(&reader);
    struct bytes protocol = record_read_text(&reader);
    struct bytes leader = record_read_text(&reader);
    uint32_t count = read_le32(&reader);
    if (reader.failed || state > CLASSIC_STABLE || !group_copy(memory, type, &group->type) ||
        !group_copy(memory, protocol, &group->protocol)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!record_read_member(group, &reader, memory)) {
            return false;
        }
    }
    group->leader = leader.data == NULL ? NULL : classic_member_by_id(group, leader);
    group->state = count == 0                ? CLASSIC_EMPTY
                   : state == CLASSIC_STABLE ? CLASSIC_STABLE
                                             : CLASSIC_PREPARING;
    return bytes_left(&reader) == 0 && !reader.failed;
}

void classic_resume(struct classic *group, uint64_t now_ns)
{
    uint64_t longest_ms = 1;
    struct list *entry;
    list_for_each (entry, &group->members) {
        struct classic_member *member = CONTAINER_OF(entry, struct classic_member, node);
        classic_touch(group, member, now_ns);
        longest_ms = max_u64(longest_ms, member->rebalance_ms);
    }
    if (group->state == CLASSIC_PREPARING) {
        group->initial = false;
        group->deadline_ns = now_ns + longest_ms * NS_PER_MS;
        classic_wake(group, group->deadline_ns);
    }
}
