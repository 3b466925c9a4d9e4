/* Deletes single records, and sets the last stream ID: REQUEST_DELETE and REQUEST_SET_LAST.
 *
 *     waiting -> (the newest file is read; an open segment is made) -> a control frame whose body
 *     is a note (deleted.h), on its way to the file -> acked: known to readers, answered
 *
 * One note is on its way at a time, and takes what has come meanwhile. It uses no offset, so it may
 * overtake what is staged; but a last ID waits until that is in a frame, and appends wait for it.
 * What a note says counts when it is acked: it is as safe as a record of its segment then. Files
 * carry it on as they carry the producers: a segment's trailer, a milestone, the base of the next
 * segment. So no segment that has a note is passed over because it has no record. */
#include "core/assert.h"
#include "core/cover.h"
#include "shard/shard_internal.h"

#include <string.h>

/* Of a core's memory: what is remembered is not given back when others run short of it. */
enum { DELETED_SHARE = 16 };

void delete_init(struct shard *shard)
{
    struct memory_stats stats;
    memory_stats(shard->reactor->memory, &stats);
    shard->deleted_bytes_max = stats.limit_bytes / DELETED_SHARE;
}

/* The next frame of the file can be a note. */
static bool delete_has_writer(const struct partition *partition)
{
    const struct segment *segment = partition_open_segment(partition);
    const struct writer *writer = &partition->writer;
    return segment != NULL && segment->file_made && !writer->failed && !writer->seal_done &&
           !partition->damaged;
}

static void delete_finish(struct partition *partition, struct request *request, enum err err)
{
    request->owner_state = NULL;
    request_finish(partition->shard->reactor, request, err);
}

bool delete_wants_frame(const struct partition *partition)
{
    const struct request *head = partition->deletes.head;
    return head != NULL && !partition->delete_flying && partition->roll.state == ROLL_IDLE &&
           partition->ready && !partition->unread && !partition->dropping &&
           delete_has_writer(partition) &&
           (head->kind == REQUEST_DELETE || partition->staged.head == NULL);
}

bool delete_holds_appends(const struct partition *partition)
{
    const struct request *head = partition->deletes.head;
    return head != NULL && head->kind == REQUEST_SET_LAST;
}

/* Where `offset` stands or would stand among those of the plan. */
static uint32_t plan_place(const struct delete_plan *plan, uint64_t offset)
{
    uint32_t place = plan->count;
    while (place > 0 && plan->offsets[place - 1] >= offset) {
        place--;
    }
    return place;
}

/* Adds the records of the request that are there, and counts them. */
static void plan_add(const struct partition *partition, struct delete_plan *plan,
                     struct request_delete *wish)
{
    for (uint32_t i = 0; i < wish->count; i++) {
        const struct delete_record *record = &wish->records[i];
        uint32_t place = plan_place(plan, record->offset);
        bool here = record->offset >= partition->log_start &&
                    record->offset < partition->high_watermark &&
                    !deleted_has(&partition->deleted, record->offset);
        if (!here || (place < plan->count && plan->offsets[place] == record->offset)) {
            continue;
        }
        memmove(&plan->offsets[place + 1], &plan->offsets[place],
                (plan->count - place) * sizeof(plan->offsets[0]));
        plan->offsets[place] = record->offset;
        plan->count++;
        wish->deleted++;
        if (stream_id_compare(record->id, plan->deleted_max) > 0) {
            plan->deleted_max = record->id;
        }
    }
}

/* The next range of the plan from *at on, which moves behind it; false: there is none. */
static bool plan_range(const struct delete_plan *plan, uint32_t *at, struct deleted_range *range)
{
    if (*at == plan->count) {
        return false;
    }
    range->first = plan->offsets[(*at)++];
    range->end = range->first + 1;
    while (*at < plan->count && plan->offsets[*at] == range->end) {
        range->end++;
        (*at)++;
    }
    return true;
}

/* Room for what the plan adds. What files remember is read whatever the core has already: less room
 * is for new deletions then. */
static enum err plan_reserve(struct partition *partition, struct delete_plan *plan)
{
    struct deleted_range range;
    uint32_t growth = 0;
    plan->ranges = 0;
    for (uint32_t at = 0; plan_range(plan, &at, &range); plan->ranges++) {
        growth += deleted_growth(&partition->deleted, range.first, range.end);
    }
    if (growth > 0 &&
        deleted_bytes_with(&partition->deleted, growth) > partition->shard->deleted_bytes_max) {
        COVER("a core remembers as many deleted records as it may");
        return ERR_DELETIONS;
    }
    return deleted_reserve(&partition->deleted, growth);
}

/* Takes the request into the plan; else why not, and the plan is as it was. */
static enum err plan_take(struct partition *partition, struct delete_plan *plan,
                          struct request *request)
{
    struct delete_plan before = *plan;
    request->delete.deleted = 0;
    plan_add(partition, plan, &request->delete);
    enum err err = plan_reserve(partition, plan);
    if (err != OK) {
        COVER("a partition remembers as many deleted records as it can");
        *plan = before;
        request->delete.deleted = 0;
    }
    return err;
}

static enum err set_last_check(const struct partition *partition,
                               const struct request_set_last *wish)
{
    return stream_id_compare(wish->last, partition->last_id) < 0 ? ERR_STREAM_ID : OK;
}

/* Chooses what the next note says; those that need none, or cannot be, go home. 0: nothing. */
uint32_t delete_measure(struct partition *partition)
{
    struct delete_plan *plan = &partition->shard->delete_plan;
    plan->count = 0;
    plan->requests = 0;
    plan->ranges = 0;
    plan->deleted_max = (struct stream_id){0};
    struct request_queue left = {0};
    struct request *request;
    while (delete_wants_frame(partition)) {
        request = partition->deletes.head;
        bool sets = request->kind == REQUEST_SET_LAST;
        if (plan->requests > 0 && (sets || plan->count + request->delete.count > DELETE_PLAN_MAX)) {
            break;
        }
        uint32_t count = plan->count;
        enum err err = sets ? set_last_check(partition, &request->set_last)
                            : plan_take(partition, plan, request);
        (void)request_queue_pop(&partition->deletes);
        if (err != OK || (!sets && plan->count == count && plan->requests == 0)) {
            delete_finish(partition, request, err);
            continue;
        }
        request_queue_push(&left, request);
        plan->requests++;
        if (sets) {
            break;
        }
    }
    plan->sets = left.head != NULL && left.head->kind == REQUEST_SET_LAST;
    while ((request = request_queue_pop(&partition->deletes)) != NULL) {
        request_queue_push(&left, request);
    }
    partition->deletes = left;
    return plan->requests == 0 ? 0
           : plan->sets        ? (uint32_t)NOTE_SET_LAST_BYTES
                               : NOTE_DELETE_BYTES + plan->ranges * (uint32_t)DELETED_RANGE_BYTES;
}

void delete_fill(struct partition *partition, struct commit *commit, uint8_t *body)
{
    const struct delete_plan *plan = &partition->shard->delete_plan;
    struct note note = {
        .kind = NOTE_DELETE, .deleted_max = plan->deleted_max, .range_count = plan->ranges};
    for (uint32_t i = 0; i < plan->requests; i++) {
        struct request *request = request_queue_pop(&partition->deletes);
        request_queue_push(&commit->requests, request);
    }
    if (plan->sets) {
        const struct request_set_last *wish = &commit->requests.head->set_last;
        bool greatest = wish->deleted_max.ms != 0 || wish->deleted_max.seq != 0;
        note = (struct note){
            .kind = NOTE_SET_LAST,
            .sets = (uint16_t)((wish->sets_added ? NOTE_SETS_ADDED : 0) |
                               (greatest ? NOTE_SETS_DELETED_MAX : 0)),
            .last = wish->last,
            .deleted_max = wish->deleted_max,
            .added_bias = wish->entries_added - commit->offset_first,
        };
        partition->last_id = wish->last;
    }
    uint8_t *at = body + note_encode(&note, body);
    struct deleted_range range;
    for (uint32_t i = 0; plan_range(plan, &i, &range); at += DELETED_RANGE_BYTES) {
        note_range_encode(&range, at);
    }
    partition->delete_flying = true;
    deleted_hold(&partition->deleted, true);
    COVER("single records are deleted");
}

void delete_acked(struct partition *partition, const struct commit *commit)
{
    struct note note;
    if (commit->note.size == 0) {
        return;
    }
    enum err err = note_decode(commit->note, &note);
    ASSERT(err == OK);
    err = deleted_apply(&partition->deleted, &note, partition->log_start);
    ASSERT(err == OK); /* delete_measure() made room. */
}

void delete_ended(struct partition *partition, struct commit *commit)
{
    if (commit->note_block != NULL) {
        partition->delete_flying = false;
        deleted_hold(&partition->deleted, false);
        block_unref(commit->note_block);
        commit->note_block = NULL;
    }
}

void delete_fail(struct partition *partition, enum err err)
{
    request_queue_fail(partition->shard, &partition->deletes, err);
}

/* The file has had its share of notes, as a file has its share of records. */
static bool delete_must_roll(const struct partition *partition)
{
    const struct writer *writer = &partition->writer;
    return !delete_has_writer(partition) ||
           (writer->bytes > partition->config.segment_bytes && writer->head == writer->tail);
}

/* Something is on its way whose end looks for the next frame. */
static bool delete_is_woken(const struct partition *partition)
{
    const struct writer *writer = &partition->writer;
    return writer->head != writer->tail || writer->allocating || partition->commit_waits ||
           !extent_idle(partition) || list_linked(&partition->journal_wait_node);
}

void delete_pump(struct partition *partition)
{
    if (partition->deletes.head == NULL || !partition->ready || partition->dropping ||
        partition->roll.state != ROLL_IDLE || partition->delete_flying ||
        (partition->writer.failed && !commit_idle(partition))) {
        return;
    }
    if (partition->damaged) {
        delete_fail(partition, ERR_DAMAGED);
        return;
    }
    if (partition->unread) {
        recover_read(partition);
        return;
    }
    if (delete_must_roll(partition)) {
        roll_start(partition);
        return;
    }
    /* Each end of a commit looks here: a note that waits for the file keeps nobody busy. */
    if (!delete_is_woken(partition)) {
        commit_kick(partition);
    }
}

void delete_submit(struct partition *partition, struct request *request)
{
    enum err err = OK;
    if (!partition->ready) {
        err = ERR_NOT_READY;
    } else if (request->kind == REQUEST_DELETE && request->delete.count > DELETE_RECORDS_MAX) {
        err = ERR_INVALID;
    }
    if (err != OK) {
        delete_finish(partition, request, err);
        return;
    }
    request_queue_push(&partition->deletes, request);
    delete_pump(partition);
    commit_kick(partition);
}
