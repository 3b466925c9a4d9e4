/* Core to core. One single-producer single-consumer ring per ordered pair of reactors, 64-byte
 * slots.
 *
 * The sender embeds a struct mail in the object that travels by reference; the whole mail is copied
 * into the slot, and the object comes home by a mail of its own, so nobody frees another core's
 * memory. Sending never fails and never waits: without a free slot (the sender's credits) the mail
 * waits in a FIFO at the sender, linked through `next`. Hence draining needs no outbound slot, and
 * two cores cannot wait for each other. Order between two cores is the order of sending.
 *
 * Mails are published once per turn. A wake-up follows only if something was published and the
 * receiver sleeps: it stores sleeping = 1, looks at its rings again and sleeps; the sender
 * publishes, then exchanges sleeping for 0 (no fence: the exchange is one, and TSan understands
 * it). */
#pragma once

#include "core/base.h"

struct mail;
struct reactor;

/* Runs at the receiver. `mail` is the slot: valid until return. */
typedef void mail_fn(struct reactor *receiver, const struct mail *mail);

struct mail {
    struct mail *next; /* Used at the sender only, while it waits for a slot. */
    mail_fn *fn;
    void *object;
    uint64_t words[5];
};

_Static_assert(sizeof(struct mail) == 64, "a mail is one slot");

struct mailbox;

/* A ring of `slots`, a power of two. NULL without memory. */
NODISCARD struct mailbox *mailbox_create(uint32_t slots);
void mailbox_destroy(struct mailbox *mailbox); /* NULL is fine. */

/* Sends `mail` from the running reactor to `receiver` (its own self included: then it arrives in
 * the next turn). `mail` must stay in place until its object comes home, or, for one-way mails,
 * until the receiver says so by other means. */
void mail_send(struct reactor *sender, struct reactor *receiver, struct mail *mail);

/* For the reactor: moves waiting mails into slots and publishes; true if anything was published. */
bool mailbox_publish(struct mailbox *mailbox);

/* For the reactor: runs at most `budget` mails; how many it ran. */
uint32_t mailbox_drain(struct mailbox *mailbox, struct reactor *receiver, uint32_t budget);

/* For the reactor, at the receiver: something waits in the ring. */
bool mailbox_pending(struct mailbox *mailbox);

/* For the reactor, at the sender: something waits for a slot or for publication. */
bool mailbox_unsent(const struct mailbox *mailbox);

void mailbox_push(struct mailbox *mailbox, struct mail *mail);
