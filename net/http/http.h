/* HTTP/1.1: the table of routes, one operation for each request, and how it is answered.
 *
 *     frame() -> head, and a body of Content-Length -> start(): guard -> route -> its start()
 *                                      ... -> http_answer() or http_refuse() -> sent()
 *
 * A client that expects 100-continue sends its head alone: that is a call of its own, which either
 * says go on, or refuses for good; its body is the next frame, and the session keeps the head.
 *
 * What is wrong with a head ends its connection: nobody knows where the next one begins. The answer
 * leaves, and for a while what still comes is swallowed, or the peer's system might throw our
 * answer away unread. What is wrong otherwise leaves the connection as it is. */
#pragma once

#include "net/http/census.h"
#include "net/http/guard.h"
#include "net/http/text.h"
#include "net/server.h"

enum {
    HTTP_PARAMS_MAX = 8,
    HTTP_JSON_BYTES_MAX = 1 << 20,   /* A longer document would hold its core up for too long. */
    HTTP_JSON_MEMORY_MAX = 32 << 20, /* Of its values, until they are encoded: in the same turn. */
    HTTP_ANSWER_BYTES = 1024,        /* An arena has room for a short answer. */
    HTTP_SWALLOW_MS = 2000,          /* Behind the answer to what was no request. */
    HTTP_SWALLOW_BYTES_MAX = 32 << 20,
};

/* Of what each operation keeps, as the table of routes must know it. */
enum {
    HTTP_HEALTH_BYTES = 256,
    HTTP_METRICS_BYTES = 512,
    HTTP_TOPIC_BYTES = 128,
    HTTP_GROUPS_BYTES = 64,
    HTTP_GROUP_BYTES = 1024,
    HTTP_ADMIN_BYTES = 16384,
    HTTP_PRODUCE_BYTES = 4096,
    HTTP_CONSUME_BYTES = 2048,
    HTTP_STREAM_BYTES = 2048,
};

struct http_op;

struct http_route {
    enum http_method method;
    const char *path; /* "/v1/topics/{topic}": what stands in braces is http_op.topic. */
    const char *summary;
    const char *params[HTTP_PARAMS_MAX]; /* Of the query, up to NULL. */
    bool admin;
    bool watch;           /* Of those who watch the server: also while it drains. */
    uint32_t state_bytes; /* At op->state, zero. */

    /* As protocol.start(): only before anything was begun may it say ERR_NO_MEMORY. It answers with
     * http_answer() or http_refuse(), sooner or later. */
    enum err (*start)(struct http_op *op);
    void (*cancel)(struct http_op *op); /* As protocol.cancel(), once begun; NULL: cannot wait. */
    void (*part)(struct http_op *op);   /* As protocol.part(); NULL: answers come in one. */
    void (*sent)(struct http_op *op);   /* Gives back, then call_done(); NULL: nothing to give. */
};

extern const struct http_route http_routes[];
extern const uint32_t http_route_count;

/* Writes the body; called twice, to count and to write. */
typedef void http_encode_fn(struct http_op *op, struct http_writer *writer);

/* Who waits for memory to answer with holds no other that is large, or a crowd of such could hold
 * all there is: what is large has its `room` before it begins, or goes out where it stands, as
 * `middle`. */
struct http_answer {
    uint16_t status;
    const char *type;       /* NULL: no body. */
    const char *fields;     /* More lines of the head, or NULL. */
    http_encode_fn *encode; /* The body; NULL: none but what follows. */
    struct bytes middle;    /* Of the body, behind that; borrowed until the reply has left. */
    const char *suffix;     /* Behind `middle`; NULL: nothing. */
    uint8_t *room;          /* For head and body, if they fit; NULL: wherever there is some. */
    uint64_t room_bytes;
};

/* One request; at call->state. */
struct http_op {
    struct call *call;
    struct net *net;
    const struct http_route *route; /* NULL: none fits, or it was refused before. */
    struct http_head head;
    struct block *head_block; /* Of a head that came alone: a reference. */
    struct bytes topic, body;
    struct http_param params[HTTP_PARAMS_MAX];
    void *state;
    struct http_answer answer;
    struct http_fault fault;
    char fields[160];
    struct iovec vectors[3];
};

/* What a core keeps. */
struct http_core {
    struct net *net;
    struct census census;
    struct http_guard guard;
    uint64_t json_used;
    uint32_t spread; /* Records without a key go to the partitions in turn. */
};

/* Replies once; waits for memory if it must. */
void http_answer(struct http_op *op, const struct http_answer *answer);

/* The problem as JSON: status, and in words what failed, which value, what to do. */
void http_refuse(struct http_op *op, uint16_t status, const char *format, ...) PRINTF_LIKE(3, 4);
void http_refuse_fault(struct http_op *op); /* op->fault. */

/* Of something that was asked of the log or the map: `what` is named in the sentence. */
void http_refuse_err(struct http_op *op, enum err err, const char *what);
uint16_t http_status(enum err err);
const char *http_reason(uint16_t status);

/* This answer is the connection's last: what still comes is no request. */
void http_last(struct http_op *op);
bool http_lingers(const struct http_op *op); /* It will end by itself, not behind the answer. */

/* The value of a parameter; data NULL: not given. */
struct bytes http_param(const struct http_op *op, const char *name);

const struct map *http_map(const struct http_op *op);

/* The topic of the path; NULL: refused, it does not exist or is the server's own. */
const struct map_topic *http_topic(struct http_op *op);

/* Writes the line of the status and the head's common fields, up to and without the empty line. */
void http_put_head(const struct http_op *op, struct http_writer *writer,
                   const struct http_answer *answer);

/* Each in a file of its own. */
enum err http_index_start(struct http_op *op);
enum err http_openapi_start(struct http_op *op);
enum err http_livez_start(struct http_op *op);
enum err http_readyz_start(struct http_op *op);
enum err http_metrics_start(struct http_op *op);
void http_metrics_sent(struct http_op *op);
enum err http_groups_start(struct http_op *op);
void http_groups_sent(struct http_op *op);
enum err http_group_start(struct http_op *op);
void http_group_sent(struct http_op *op);
enum err http_topics_start(struct http_op *op);
enum err http_topic_start(struct http_op *op);
void http_topic_sent(struct http_op *op);
enum err http_create_start(struct http_op *op);
enum err http_delete_start(struct http_op *op);
enum err http_produce_start(struct http_op *op);
void http_produce_sent(struct http_op *op);
enum err http_consume_start(struct http_op *op);
void http_consume_cancel(struct http_op *op);
void http_consume_sent(struct http_op *op);
enum err http_stream_start(struct http_op *op);
void http_stream_cancel(struct http_op *op);
void http_stream_part(struct http_op *op);
void http_stream_sent(struct http_op *op);

/* The protocol's part of a core. */
NODISCARD enum err http_core_open(struct http_core **core, struct net *net);
void http_core_close(struct http_core *core);
bool http_core_busy(const struct http_core *core);
