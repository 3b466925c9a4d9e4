/* The ring: producer and consumer indices on lines of their own, each side caching the other's. */
#include "core/mailbox.h"

#include "core/assert.h"
#include "core/reactor.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct mailbox {
    /* Written by the receiver. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t head;
    uint64_t tail_seen; /* Its copy of tail. */

    /* Written by the sender. */
    _Alignas(CACHE_LINE_BYTES) _Atomic uint64_t tail;
    uint64_t head_seen; /* Its copy of head. */
    uint64_t tail_next; /* Filled up to here, published up to tail. */
    struct mail *waiting_head, *waiting_tail;

    _Alignas(CACHE_LINE_BYTES) uint64_t mask;
    struct mail slots[];
};

struct mailbox *mailbox_create(uint32_t slots)
{
    ASSERT(is_power_of_two(slots));
    size_t size = align_up(sizeof(struct mailbox) + slots * sizeof(struct mail), CACHE_LINE_BYTES);
    struct mailbox *mailbox = aligned_alloc(CACHE_LINE_BYTES, size);
    if (mailbox == NULL) {
        return NULL;
    }
    memset(mailbox, 0, sizeof(*mailbox));
    atomic_init(&mailbox->head, 0);
    atomic_init(&mailbox->tail, 0);
    mailbox->mask = slots - 1;
    return mailbox;
}

void mailbox_destroy(struct mailbox *mailbox)
{
    free(mailbox);
}

/* A free slot at the sender, looking at the receiver's index only when the copy says full. */
static bool mailbox_has_credit(struct mailbox *mailbox)
{
    if (mailbox->tail_next - mailbox->head_seen <= mailbox->mask) {
        return true;
    }
    /* Pairs with the release in mailbox_drain(): the slot has been read. */
    mailbox->head_seen = atomic_load_explicit(&mailbox->head, memory_order_acquire);
    return mailbox->tail_next - mailbox->head_seen <= mailbox->mask;
}

static void mailbox_fill(struct mailbox *mailbox, const struct mail *mail)
{
    mailbox->slots[mailbox->tail_next & mailbox->mask] = *mail;
    mailbox->tail_next++;
}

void mailbox_push(struct mailbox *mailbox, struct mail *mail)
{
    ASSERT(mail->fn != NULL);
    if (mailbox->waiting_head == NULL && mailbox_has_credit(mailbox)) {
        mailbox_fill(mailbox, mail);
        return;
    }
    mail->next = NULL;
    if (mailbox->waiting_tail == NULL) {
        mailbox->waiting_head = mail;
    } else {
        mailbox->waiting_tail->next = mail;
    }
    mailbox->waiting_tail = mail;
}

bool mailbox_publish(struct mailbox *mailbox)
{
    while (mailbox->waiting_head != NULL && mailbox_has_credit(mailbox)) {
        struct mail *mail = mailbox->waiting_head;
        mailbox->waiting_head = mail->next;
        if (mailbox->waiting_head == NULL) {
            mailbox->waiting_tail = NULL;
        }
        mailbox_fill(mailbox, mail);
    }
    if (mailbox->tail_next == atomic_load_explicit(&mailbox->tail, memory_order_relaxed)) {
        return false;
    }
    /* Pairs with the acquire in mailbox_drain(): slots before index. Sequentially consistent,
     * because the sender's exchange of `sleeping` must not pass it. */
    atomic_store(&mailbox->tail, mailbox->tail_next);
    return true;
}

uint32_t mailbox_drain(struct mailbox *mailbox, struct reactor *receiver, uint32_t budget)
{
    uint64_t head = atomic_load_explicit(&mailbox->head, memory_order_relaxed);
    if (head == mailbox->tail_seen) {
        mailbox->tail_seen = atomic_load_explicit(&mailbox->tail, memory_order_acquire);
    }
    uint32_t count = 0;
    while (head != mailbox->tail_seen && count < budget) {
        const struct mail *mail = &mailbox->slots[head & mailbox->mask];
        mail->fn(receiver, mail);
        head++;
        count++;
    }
    if (count > 0) {
        atomic_store_explicit(&mailbox->head, head, memory_order_release);
    }
    return count;
}

bool mailbox_pending(struct mailbox *mailbox)
{
    return atomic_load(&mailbox->tail) !=
           atomic_load_explicit(&mailbox->head, memory_order_relaxed);
}

bool mailbox_unsent(const struct mailbox *mailbox)
{
    return mailbox->waiting_head != NULL ||
           mailbox->tail_next != atomic_load_explicit(&mailbox->tail, memory_order_relaxed);
}

void mail_send(struct reactor *sender, struct reactor *receiver, struct mail *mail)
{
    ASSERT(receiver->index < sender->peer_count);
    ASSERT(sender->peers[receiver->index] == receiver);
    mailbox_push(sender->outbox[receiver->index], mail);
}
