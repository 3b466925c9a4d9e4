/* What the journals have records of, in order of topic and number, so that it is found. */
#include "tools/rebuild_internal.h"

#include <stdlib.h>
#include <string.h>

static int told_order(const struct partition_id *left, const struct partition_id *right)
{
    int order = memcmp(&left->topic, &right->topic, sizeof(left->topic));
    return order != 0 ? order
                      : (left->partition > right->partition) - (left->partition < right->partition);
}

static int told_compare(const void *left, const void *right)
{
    const struct rebuild_told *a = left;
    const struct rebuild_told *b = right;
    if (a->steps != NULL) {
        (*a->steps)++;
    }
    int order = told_order(&a->id, &b->id);
    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

enum err rebuild_listen(struct rebuild *rebuild)
{
    struct journal_view_segment segment;
    uint32_t count = 0;
    while (journal_view_segment(rebuild->list.journals, count, &segment)) {
        count++;
    }
    rebuild->told = calloc((size_t)count + 1, sizeof(*rebuild->told));
    rebuild->missing = calloc((size_t)count + 1, sizeof(*rebuild->missing));
    if (rebuild->told == NULL || rebuild->missing == NULL) {
        return ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; journal_view_segment(rebuild->list.journals, i, &segment); i++) {
        const struct segment_record *record = segment.record;
        if (record != NULL) {
            rebuild->told[rebuild->told_count++] =
                (struct rebuild_told){{record->topic, record->partition}, i, rebuild->steps};
        }
    }
    if (rebuild->told_count > 1) {
        qsort(rebuild->told, rebuild->told_count, sizeof(*rebuild->told), told_compare);
    }
    return OK;
}

uint32_t rebuild_told_first(const struct rebuild *rebuild, const struct rebuild_told *rows,
                            uint32_t count, const struct partition_id *id)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        rebuild_step(rebuild);
        if (told_order(&rows[middle].id, id) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool rebuild_missing(const struct rebuild *rebuild, uint32_t index,
                     struct journal_view_segment *segment)
{
    rebuild_step(rebuild);
    return index < rebuild->missing_count &&
           journal_view_segment(rebuild->list.journals, rebuild->missing[index].index, segment);
}
