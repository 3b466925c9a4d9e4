/* What one record of the internal log says the last word about. */
#pragma once

#include "core/list.h"

enum group_item_kind {
    GROUP_ITEM_GROUP,  /* A classic group, */
    GROUP_ITEM_OFFSET, /* one offset of it. */
    GROUP_ITEM_STREAM, /* A group of readers of a stream, */
    GROUP_ITEM_READER, /* one reader of it, */
    GROUP_ITEM_CHUNK,  /* a run of its pending entries. */
};

struct group_item {
    struct list node; /* Of log->dirty, or of log->live in the order of their records; of a part of
                       * a stream's group: group->dirty. */
    uint64_t batch;   /* The number of the batch that has its record; 0: before this start. */
    uint32_t bytes;   /* Of the record, about. */
    enum group_item_kind kind;
    bool dirty, deleted;
    bool stored; /* There is, or will be, a record. */
};
