/* See the header. */
#include "net/kafka/groups.h"

#include "core/assert.h"

int16_t kafka_code_group(enum group_code code)
{
    static const int16_t codes[] = {
        [GROUP_OK] = KAFKA_NONE,
        [GROUP_CANCELED] = KAFKA_COORDINATOR_NOT_AVAILABLE,
        [GROUP_NOT_AVAILABLE] = KAFKA_COORDINATOR_NOT_AVAILABLE,
        [GROUP_LOADING] = KAFKA_COORDINATOR_LOADING,
        [GROUP_INVALID_ID] = KAFKA_INVALID_GROUP_ID,
        [GROUP_UNKNOWN_MEMBER] = KAFKA_UNKNOWN_MEMBER,
        [GROUP_FENCED_INSTANCE] = KAFKA_FENCED_INSTANCE,
        [GROUP_ILLEGAL_GENERATION] = KAFKA_ILLEGAL_GENERATION,
        [GROUP_REBALANCING] = KAFKA_REBALANCE_IN_PROGRESS,
        [GROUP_MEMBER_ID_NEEDED] = KAFKA_MEMBER_ID_REQUIRED,
        [GROUP_INCONSISTENT] = KAFKA_INCONSISTENT_PROTOCOL,
        [GROUP_INVALID_SESSION] = KAFKA_INVALID_SESSION_TIMEOUT,
        [GROUP_FULL] = KAFKA_GROUP_MAX_SIZE,
        [GROUP_NOT_FOUND] = KAFKA_GROUP_NOT_FOUND,
        [GROUP_EXISTS] = KAFKA_INVALID_GROUP_ID, /* Of streams' groups only. */
        [GROUP_NOT_EMPTY] = KAFKA_NON_EMPTY_GROUP,
        [GROUP_SUBSCRIBED] = KAFKA_GROUP_SUBSCRIBED,
        [GROUP_METADATA_LARGE] = KAFKA_OFFSET_METADATA_TOO_LARGE,
        [GROUP_TOO_LARGE] = KAFKA_MESSAGE_TOO_LARGE,
        [GROUP_LIMIT] = KAFKA_POLICY_VIOLATION,
        [GROUP_TOPIC_UNKNOWN] = KAFKA_UNKNOWN_TOPIC,
        [GROUP_STOPPING] = KAFKA_NOT_COORDINATOR, /* Who hears it looks for the coordinator. */
    };
    _Static_assert(ARRAY_COUNT(codes) == GROUP_CODE_COUNT, "a new code needs its Kafka code");
    return codes[code];
}

enum group_code kafka_group_code(const struct group_call *call)
{
    return (enum group_code)call->done.result;
}

static void kafka_group_home(struct kafka_group_op *op)
{
    ASSERT(op->awaited > 0);
    if (--op->awaited > 0) {
        return;
    }
    op->out = false;
    if (op->returning) {
        call_done(op->request.call);
        return;
    }
    op->finish(op);
}

static struct kafka_group_op *kafka_group_op(const struct group_call *call)
{
    return call->user;
}

static void kafka_group_answered(struct completion *completion)
{
    kafka_group_home(kafka_group_op(CONTAINER_OF(completion, struct group_call, done)));
}

static void kafka_group_canceled(struct completion *completion)
{
    kafka_group_home(kafka_group_op(CONTAINER_OF(completion, struct group_call, canceled)));
}

static void kafka_group_released(struct completion *completion)
{
    kafka_group_home(kafka_group_op(CONTAINER_OF(completion, struct group_call, released)));
}

void kafka_group_submit(struct kafka_group_op *op, struct group_call *calls, uint32_t count,
                        void (*finish)(struct kafka_group_op *op))
{
    op->calls = calls;
    op->call_count = count;
    op->finish = finish;
    op->out = true;
    op->awaited = 1; /* This function. */
    for (uint32_t i = 0; i < count; i++) {
        calls[i].user = op;
        completion_init(&calls[i].done, kafka_group_answered);
        if (op->request.call->late) {
            calls[i].done.result = GROUP_STOPPING;
            continue;
        }
        op->awaited++;
        group_submit(op->request.net, &calls[i]);
    }
    kafka_group_home(op);
}

bool kafka_is_group_key(int16_t key)
{
    return key == KAFKA_OFFSET_COMMIT || key == KAFKA_OFFSET_FETCH ||
           (key >= KAFKA_JOIN_GROUP && key <= KAFKA_LIST_GROUPS) || key == KAFKA_DELETE_GROUPS ||
           key == KAFKA_OFFSET_DELETE;
}

void kafka_group_cancel(struct call *call)
{
    struct kafka_group_op *op = call->state;
    bool parks = op->request.key == KAFKA_JOIN_GROUP || op->request.key == KAFKA_SYNC_GROUP;
    if (!parks || !op->out || op->cancel_sent) {
        return;
    }
    op->cancel_sent = true;
    for (uint32_t i = 0; i < op->call_count; i++) {
        completion_init(&op->calls[i].canceled, kafka_group_canceled);
        op->awaited += group_cancel(op->request.net, &op->calls[i]) ? 1 : 0;
    }
}

void kafka_group_sent(struct call *call)
{
    struct kafka_group_op *op = call->state;
    ASSERT(op->awaited == 0 && !op->returning);
    op->returning = true;
    op->awaited = 1; /* This function. */
    for (uint32_t i = 0; i < op->call_count; i++) {
        completion_init(&op->calls[i].released, kafka_group_released);
        op->awaited += group_release(op->request.net, &op->calls[i]) ? 1 : 0;
    }
    kafka_group_home(op);
}
