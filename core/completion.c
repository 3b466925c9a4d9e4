/* The ready list and lists like it. */
#include "core/completion.h"

#include "core/assert.h"
#include "core/reactor.h"

void completion_init(struct completion *completion, completion_fn *fn)
{
    *completion = (struct completion){.fn = fn};
}

void completion_fire(struct reactor *reactor, struct completion *completion, int32_t result)
{
    ASSERT(completion->fn != NULL);
    ASSERT(!completion->queued);
    completion->result = result;
    completion->queued = true;
    completion_list_push(&reactor->ready, completion);
}

void completion_list_push(struct completion_list *list, struct completion *completion)
{
    completion->next = NULL;
    if (list->tail == NULL) {
        ASSERT(list->head == NULL);
        list->head = completion;
    } else {
        list->tail->next = completion;
    }
    list->tail = completion;
    list->count++;
}

struct completion *completion_list_pop(struct completion_list *list)
{
    struct completion *completion = list->head;
    if (completion == NULL) {
        ASSERT(list->count == 0);
        return NULL;
    }
    list->head = completion->next;
    if (list->head == NULL) {
        list->tail = NULL;
    }
    completion->next = NULL;
    list->count--;
    return completion;
}

void completion_list_fire(struct reactor *reactor, struct completion_list *list, int32_t result)
{
    struct completion *completion;
    while ((completion = completion_list_pop(list)) != NULL) {
        completion_fire(reactor, completion, result);
    }
}
