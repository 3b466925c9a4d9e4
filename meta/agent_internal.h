/* The agent as its parts see it: agent.c (the map, proposals), agent_work.c (the shard). */
#pragma once

#include "meta/meta_mail.h"

enum { AGENT_REQUESTS_MAX = 16 };

/* One command to the shard for partitions of a topic, those that this core owns. */
struct agent_work {
    struct agent_work *next;
    struct map_update *update; /* Goes home when its last work is done; NULL: agent_start(). */
    enum request_kind kind;    /* ASSIGN, CONFIGURE or DROP. */
    struct topic_id topic;
    char name[TOPIC_NAME_BYTES_MAX + 1];
    uint64_t version; /* Of the map that asked for it. */
    uint32_t partition_count, partition_next, in_flight;
    struct partition_config config;
};

/* A request to the shard, and the copy of the segments that it borrows. */
struct agent_request {
    struct agent_request *next; /* Free. */
    struct agent *agent;
    struct agent_work *work;
    struct request request;
    struct segment_info *segments;
};

struct agent {
    struct reactor *reactor;
    struct agent_options options;
    struct map *map;
    bool subscribed; /* From agent_start() until the metadata core has said that nothing follows. */
    bool leaving, stopping;
    struct map_subscription subscription;
    struct completion *start_done, *stop_done;
    enum err start_err;
    uint32_t pending; /* Proposals under way. */

    /* Works in order. Those before `issue` have sent all their requests; they end in any order, but
     * only ASSIGNs run side by side. */
    struct agent_work *works_head, *works_tail, *issue;
    struct agent_request requests[AGENT_REQUESTS_MAX];
    struct agent_request *requests_free;
    uint32_t requests_used;
    struct completion_list waiting; /* Requests that are ahead of the map: agent_deliver.c. */
};

/* The map or the shard has changed: those that wait look again. */
void agent_deliver_waiting(struct agent *agent);

void agent_work_init(struct agent *agent);

/* Queues `kind` for partitions `first` and up of `topic`; counted in `update`, if there is one. */
void agent_work_add(struct agent *agent, struct map_update *update, enum request_kind kind,
                    const struct map_topic *topic, uint32_t first);

/* Sends what may be sent now. */
void agent_work_issue(struct agent *agent);

/* The last work of `update` is done. */
void agent_update_done(struct agent *agent, struct map_update *update);

/* No work is left. */
void agent_idle(struct agent *agent);
