/* What files say goes into a map that does not have it: when a server takes over the directory that
 * the library wrote, and when a map was lost. Every topic and segment comes by the ids that the
 * files have. It may be cut off anywhere and is then done again: what
 * the map has already is passed over. */
#pragma once

#include "meta/agent.h"
#include "meta/meta.h"
#include "shard/directory.h"
#include "shard/survey.h"

enum { ADOPTION_MESSAGE_BYTES = 1024 };

/* What all partitions of a topic are proposed with. */
struct adoption_topic {
    struct topic_id id;
    uint32_t partitions; /* 0: nobody looked yet. */
    enum durability durability;
    bool differs;
};

struct adoption {
    struct completion done; /* Set fn before. OK, or an err that `message` explains. */
    char message[ADOPTION_MESSAGE_BYTES];
    uint32_t node_id;  /* Set before: who leads the partitions. */
    uint64_t segments; /* Out: how many. */

    /* Inside. */
    struct reactor *reactor;
    struct meta *meta;
    struct directory *directory;
    const char *data_dir, *what;
    struct completion stored;
    struct survey survey;
    struct survey_walk walk;
    uint32_t partition, segment; /* The next one. */
    uint32_t count;              /* Segments of the command under way. */
    struct adoption_topic topic; /* Of the last one. */
    struct proposal proposal;
    uint8_t *rows, *kept;
};

/* Of the metadata core, behind meta_start() and before any core asks for the map; at its end the
 * directory says that it is adopted. `data_dir` is borrowed until `done` fires. A file that is no
 * sound segment ends it: records would be missing. */
void adoption_start(struct adoption *adoption, struct meta *meta, struct directory *directory,
                    struct reactor *reactor, const char *data_dir);

/* The same of a survey that was made already, for a map that was lost; its faults are the caller's
 * to decide, and its contents are the adoption's from now on. */
void adoption_start_surveyed(struct adoption *adoption, struct meta *meta, struct reactor *reactor,
                             const char *data_dir, struct survey *survey);

/* What a topic of the survey gets: the strongest that the newest segment of any of its partitions
 * has; whether these differ. */
enum durability adoption_durability(const struct survey *survey, const struct topic_id *topic,
                                    bool *differs);
