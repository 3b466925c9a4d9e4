/* The Walrus protocol: text in frames, a verb and a topic each.
 *
 *     frame    u32 length (LE, 1..65,536) | VERB topic [payload], split at the first two spaces
 *     answers  u32 length | OK, OK <payload>, EMPTY, ERR <text>, or bare JSON (STATE, METRICS)
 *
 * Payloads are any bytes. A frame whose length is none is answered and closes the connection: what
 * follows it cannot be told from it. */
#pragma once

#include "core/limits.h"
#include "net/log.h"
#include "net/walrus/cursor.h"

enum {
    WALRUS_PREFIX_BYTES = 4,
    WALRUS_FRAME_BYTES_MAX = 64 << 10, /* Without the prefix; of answers, too. */
    WALRUS_TEXT_BYTES_MAX = 512,       /* Of an answer that quotes a name. */
};

/* A frame, split. */
struct walrus_request {
    struct bytes verb, topic, payload; /* data NULL: it has none. */
};

void walrus_split(struct bytes text, struct walrus_request *request);

/* Answers with `text`, behind its length. ERR_NO_MEMORY: not yet; from start(), pass it on. */
NODISCARD enum err walrus_answer(struct call *call, struct bytes text);

/* "ERR " and the text, of which WALRUS_TEXT_BYTES_MAX bytes are shown. */
NODISCARD enum err walrus_answer_error(struct call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same once something has begun: the room for it is in the arena, which must have been asked
 * for with WALRUS_TEXT_BYTES_MAX more. */
void walrus_fail(struct call *call, enum err err);

/* The partition that is named: "orders", or "orders/3" where there are more than one. Else an error
 * that says what to do: answered if *answered is OK, to be tried again if it is ERR_NO_MEMORY. */
bool walrus_find(struct call *call, struct bytes name, struct partition_id *id, enum err *answered);

/* The verbs; as protocol.start. */
enum err walrus_put(struct call *call, const struct walrus_request *request);
/* The topic of groups, named alone or with a partition: nobody writes or reads it here. */
bool walrus_is_internal(struct bytes name);

enum err walrus_get(struct call *call, const struct walrus_request *request);
enum err walrus_register(struct call *call, const struct walrus_request *request);
enum err walrus_state(struct call *call, const struct walrus_request *request);
enum err walrus_metrics(struct call *call);

/* What a GET waits for ends soon. */
void walrus_get_cancel(struct call *call);

/* The protocol's part of a core: the cursors of its partitions. */
struct walrus_core;
NODISCARD enum err walrus_core_open(struct walrus_core **core, struct net *net);
void walrus_core_close(struct walrus_core *core);
bool walrus_core_busy(const struct walrus_core *core);
