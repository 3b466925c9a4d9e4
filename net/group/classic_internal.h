/* The parts of the state machine: classic.c (rebalances), classic_join.c (who comes),
 * classic_member.c (members and what they bring), classic_record.c. */
#pragma once

#include "net/group/classic.h"

/* A walk over packed protocols or assignments. */
struct classic_pair {
    struct bytes name, value;
};

bool classic_read_pair(struct bytes_reader *reader, struct classic_pair *pair);

/* NULL: there is no memory for it, and nothing has changed. It is in the group, without protocols.
 */
struct classic_member *classic_member_add(struct classic *group, const struct classic_join *join,
                                          struct bytes id, struct group_memory *memory);

/* Out of all lists; freed. Its calls have been answered. */
void classic_member_drop(struct classic *group, struct classic_member *member,
                         struct group_memory *memory);

struct classic_member *classic_member_by_instance(const struct classic *group,
                                                  struct bytes instance);

/* By id and, for static members, instance; never a pending one. */
enum group_code classic_find(const struct classic *group, struct bytes id, struct bytes instance,
                             struct classic_member **member);

/* False: no memory, or more than fits into a record; nothing has changed. */
NODISCARD bool classic_member_bring(struct classic *group, struct classic_member *member,
                                    const struct classic_join *join, struct group_memory *memory);
void classic_member_unassign(struct classic *group, struct classic_member *member,
                             struct group_memory *memory);

bool classic_supports(struct bytes protocols, struct bytes name);

/* Whether members without `except` and somebody with `protocols` have one in common. */
bool classic_agrees(const struct classic *group, struct bytes protocols,
                    const struct classic_member *except);

/* The protocol that most members prefer among those that all know; null: there is none. */
struct bytes classic_choose(const struct classic *group);

void classic_answer(struct classic_event *event, struct classic_wait *wait, enum group_code code);
void classic_touch(struct classic *group, struct classic_member *member, uint64_t now_ns);
void classic_wake(struct classic *group, uint64_t at_ns);

/* Parks `wait` as the member's join; one that is parked already is told to join again. */
void classic_park_join(struct classic *group, struct classic_member *member,
                       struct classic_wait *wait, struct classic_event *event);

/* A rebalance begins, or goes on. */
void classic_rebalance(struct classic *group, struct classic_event *event);

/* It ends if nobody is missing. */
void classic_try_complete(struct classic *group, struct classic_event *event);

/* Answers what is parked with `code`, drops it, and does not rebalance yet. */
void classic_remove(struct classic *group, struct classic_member *member, enum group_code code,
                    struct classic_event *event);
