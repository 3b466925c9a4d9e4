/* An intrusive doubly linked list with a sentinel. An entry that is in no list points at itself, so
 * list_remove() is safe to call twice and list_linked() answers in one load. */
#pragma once

#include "core/base.h"

struct list {
    struct list *next, *prev;
};

#define list_for_each(entry, head)                                                                 \
    for ((entry) = (head)->next; (entry) != (head); (entry) = (entry)->next)

static inline void list_init(struct list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_linked(const struct list *entry)
{
    return entry->next != entry;
}

static inline void list_push_back(struct list *head, struct list *entry)
{
    entry->prev = head->prev;
    entry->next = head;
    head->prev->next = entry;
    head->prev = entry;
}

static inline void list_push_front(struct list *head, struct list *entry)
{
    entry->next = head->next;
    entry->prev = head;
    head->next->prev = entry;
    head->next = entry;
}

static inline void list_remove(struct list *entry)
{
    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;
    list_init(entry);
}

/* NULL when empty. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *entry = head->next;
    if (entry == head) {
        return NULL;
    }
    list_remove(entry);
    return entry;
}
