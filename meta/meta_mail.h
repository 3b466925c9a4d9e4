/* What the metadata core and its agents mail each other. Only meta.c and the agent include it.
 *
 *     agent                                   metadata core
 *     subscription ------------------------> meta_on_subscribe(): the map, then every entry
 *     agent_on_update() <--- update -------- each applied entry, in order
 *                       ---- update -------> meta_on_update_home(): that core has it
 *     proposal ----------------------------> meta_on_proposal()
 *     agent_on_answer() <--- proposal ------ once all cores have it
 *     subscription ------------------------> meta_on_unsubscribe(): after earlier updates
 *     agent_on_unsubscribed() <------------- nothing follows */
#pragma once

#include "core/mailbox.h"
#include "meta/agent.h"

struct meta_delta;

/* What one core is sent: an entry of the log, or the whole map. The metadata core's memory. */
struct map_update {
    struct mail mail;
    struct meta_delta *delta;
    const uint8_t *data;
    uint64_t size;
    uint64_t version; /* Of the map before it. */
    bool whole;
    uint32_t work;           /* The agent's: what its shard still has to do before it goes home. */
    struct map_update *next; /* The agent's. */
};

struct map_subscription {
    struct mail mail;
    struct reactor *reactor; /* The agent's. */
};

void meta_on_subscribe(struct reactor *receiver, const struct mail *mail);
void meta_on_unsubscribe(struct reactor *receiver, const struct mail *mail);
void meta_on_proposal(struct reactor *receiver, const struct mail *mail);
void meta_on_update_home(struct reactor *receiver, const struct mail *mail);

void agent_on_update(struct reactor *receiver, const struct mail *mail);
void agent_on_answer(struct reactor *receiver, const struct mail *mail);
void agent_on_unsubscribed(struct reactor *receiver, const struct mail *mail);
