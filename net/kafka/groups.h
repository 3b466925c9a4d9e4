/* What the group APIs share: wishes to the engine of net/group/, their way home, and the answer.
 *
 *     start -> group_submit() of each call -> all are home -> finish, kafka_answer() -> sent
 *           -> what large answers stand in goes back -> call_done() */
#pragma once

#include "net/group/group.h"
#include "net/kafka/kafka.h"

/* First in an API's state. */
struct kafka_group_op {
    struct kafka_request request;
    struct group_call *calls;
    uint32_t call_count, awaited;
    void (*finish)(struct kafka_group_op *op);
    bool out; /* Its calls are. */
    bool cancel_sent, returning;
};

int16_t kafka_code_group(enum group_code code);

/* The code that a call came home with. */
enum group_code kafka_group_code(const struct group_call *call);

/* Submits all calls; `finish` runs when they are home, never before return. There may be none. */
void kafka_group_submit(struct kafka_group_op *op, struct group_call *calls, uint32_t count,
                        void (*finish)(struct kafka_group_op *op));

/* As protocol.cancel and protocol.sent, of calls whose key is a group's. */
bool kafka_is_group_key(int16_t key);
void kafka_group_cancel(struct call *call);
void kafka_group_sent(struct call *call);

enum err kafka_join_group_start(const struct kafka_request *request);
enum err kafka_sync_group_start(const struct kafka_request *request);
enum err kafka_heartbeat_start(const struct kafka_request *request);
enum err kafka_leave_group_start(const struct kafka_request *request);
enum err kafka_offset_commit_start(const struct kafka_request *request);
enum err kafka_offset_fetch_start(const struct kafka_request *request);
enum err kafka_offset_delete_start(const struct kafka_request *request);
enum err kafka_describe_groups_start(const struct kafka_request *request);
enum err kafka_list_groups_start(const struct kafka_request *request);
enum err kafka_delete_groups_start(const struct kafka_request *request);
