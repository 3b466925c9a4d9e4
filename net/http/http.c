/* Frames, sessions, and the way of a request to its route. */
#include "net/http/http.h"

#include "core/assert.h"
#include "core/log.h"
#include "net/http/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a connection keeps. */
struct http_session {
    struct conn *conn;
    struct block *head_block; /* Of a head that waits for its body. */
    struct bytes head;
    uint32_t body_bytes; /* The next frame; 0: it is a head. */
    bool ended;          /* What comes is swallowed, */
    bool lingers;        /* and the connection stays for a while, for the last answer's sake. */
    uint64_t swallowed;
    struct timer timer;
};

/* Of protocol_scan.words. */
enum http_word {
    HTTP_WORD_LINE,  /* http_scan.line */
    HTTP_WORD_TOTAL, /* The whole frame, once it is known. */
};

/* --- Frames. --- */

static int64_t http_frame(const struct conn *conn, struct bytes input, struct protocol_scan *scan)
{
    const struct http_session *session = conn->session;
    if (input.size == 0) {
        return 0;
    }
    if (session->ended) {
        return input.size;
    }
    if (session->body_bytes > 0) {
        return session->body_bytes;
    }
    if (scan->words[HTTP_WORD_TOTAL] > 0) {
        return (int64_t)scan->words[HTTP_WORD_TOTAL];
    }
    struct http_fault fault;
    struct http_head head;
    struct http_scan state = {.position = scan->position,
                              .line = (uint32_t)scan->words[HTTP_WORD_LINE]};
    enum http_found found = http_scan(&state, input, &fault);
    scan->position = state.position;
    scan->words[HTTP_WORD_LINE] = state.line;
    if (found == HTTP_MORE) {
        return 0;
    }
    uint32_t total = found == HTTP_FAULTY ? input.size : state.position;
    if (found == HTTP_WHOLE &&
        http_head_parse(bytes_of(input.data, state.position), &head, &fault)) {
        /* Or the head alone: its body will not come before it is answered. */
        bool alone = head.expects && input.size - state.position < head.body_bytes;
        total += alone ? 0 : head.body_bytes;
    }
    scan->words[HTTP_WORD_TOTAL] = total;
    return total;
}

static void http_swallowed_long(struct completion *completion)
{
    struct timer *timer = CONTAINER_OF(completion, struct timer, done);
    struct http_session *session = CONTAINER_OF(timer, struct http_session, timer);
    conn_end(session->conn);
}

static void http_open(struct conn *conn)
{
    struct http_session *session = conn->session;
    session->conn = conn;
    timer_init(&session->timer, http_swallowed_long);
}

/* The body of a head that came alone, and was told to go on; or what is swallowed, for a while. */
static bool http_awaits(const struct conn *conn)
{
    const struct http_session *session = conn->session;
    return session->body_bytes > 0 || session->lingers;
}

static void http_close(struct conn *conn)
{
    struct http_session *session = conn->session;
    timer_stop(conn->net->reactor, &session->timer);
    if (session->head_block != NULL) {
        block_unref(session->head_block);
    }
}

bool http_lingers(const struct http_op *op)
{
    const struct http_session *session = op->call->conn->session;
    return session->lingers;
}

void http_last(struct http_op *op)
{
    struct http_session *session = op->call->conn->session;
    session->ended = true;
    op->head.keep_alive = false;
}

/* Nothing that comes from here on is a request, but something may come. */
static void http_end_session(struct http_op *op)
{
    struct http_session *session = op->call->conn->session;
    http_last(op);
    session->lingers = true;
    if (!timer_running(&session->timer) && !session->timer.done.queued) {
        timer_start(op->net->reactor, &session->timer, HTTP_SWALLOW_MS * NS_PER_MS);
    }
}

/* --- Routes. --- */

/* Does `path` fit the pattern? Then `topic` is what stands for its braces, as sent. */
static bool http_path_fits(const char *pattern, struct bytes path, struct bytes *topic)
{
    const uint8_t *at = path.data;
    const uint8_t *end = path.data + path.size;
    for (; *pattern != 0; pattern++) {
        if (*pattern == '{') {
            const uint8_t *begin = at;
            while (at < end && *at != '/') {
                at++;
            }
            *topic = bytes_of(begin, (uint32_t)(at - begin));
            pattern = strchr(pattern, '}');
            ASSERT(pattern != NULL);
            if (topic->size == 0) {
                return false;
            }
        } else if (at == end || *at++ != (uint8_t)*pattern) {
            return false;
        }
    }
    return at == end;
}

/* The route, or NULL; and which methods the path has. HEAD goes where GET goes. */
static const struct http_route *http_find_route(const struct http_head *head, uint32_t *methods,
                                                struct bytes *topic)
{
    enum http_method method = head->method == HTTP_HEAD ? HTTP_GET : head->method;
    const struct http_route *found = NULL;
    *methods = 0;
    for (uint32_t i = 0; i < http_route_count; i++) {
        struct bytes name = {0};
        if (http_path_fits(http_routes[i].path, head->path, &name)) {
            *topic = name;
            *methods |= (uint32_t)http_routes[i].method;
            *methods |= http_routes[i].method == HTTP_GET ? (uint32_t)HTTP_HEAD : 0;
            found = http_routes[i].method == method ? &http_routes[i] : found;
        }
    }
    return found;
}

static void http_allow(struct http_op *op, uint32_t methods)
{
    struct http_writer writer = {.data = (uint8_t *)op->fields, .size = sizeof(op->fields) - 1};
    http_put_text(&writer, "Allow: OPTIONS");
    for (uint32_t method = HTTP_GET; method < HTTP_OPTIONS; method <<= 1) {
        if ((methods & method) != 0) {
            http_printf(&writer, ", %s", http_method_text((enum http_method)method));
        }
    }
    http_put_text(&writer, "\r\n");
    op->fields[writer.position] = 0;
}

/* No route: it is not there, or not by this method, or the question is which methods there are. */
static void http_no_route(struct http_op *op, uint32_t methods)
{
    char quoted[HTTP_QUOTE_BYTES];
    bool all = op->head.path.data[0] == '*';
    if (methods == 0 && !all) {
        http_refuse(op, 404, "there is no %s: see /v1/openapi.json for what there is",
                    http_quote(op->head.path, quoted));
        return;
    }
    http_allow(op, all ? (uint32_t)(HTTP_OPTIONS - 1) : methods);
    if (op->head.method == HTTP_OPTIONS) {
        http_answer(op, &(struct http_answer){.status = 204, .fields = op->fields});
        return;
    }
    http_refuse(op, 405, "%s has no method %s; %s", http_quote(op->head.path, quoted),
                http_method_text(op->head.method), "see the header Allow for what it has");
}

/* Reads path and query into the arena. False: op->fault. */
static bool http_read_target(struct http_op *op, struct bytes topic)
{
    uint8_t *room = call_take(op->call, (uint64_t)topic.size + op->head.query.size + 1);
    uint32_t count = 0;
    while (count < HTTP_PARAMS_MAX && op->route->params[count] != NULL) {
        op->params[count].name = op->route->params[count];
        count++;
    }
    return http_percent_decode(topic, room, &op->topic, &op->fault) &&
           http_query_read(op->head.query, op->params, count, room + topic.size, &op->fault);
}

/* What no foreign page may ask is refused before anything is read. */
static bool http_admit(struct http_op *op)
{
    struct http_visit visit = {
        .head = &op->head,
        .peer = &op->call->conn->peer,
        .changes = (op->head.method & (HTTP_POST | HTTP_PUT | HTTP_DELETE)) != 0,
        .admin = op->route != NULL && op->route->admin,
    };
    return http_guard_admits(&op->net->http->guard, &visit, &op->fault);
}

/* --- Calls. --- */

/* Of a head that came alone: the session keeps it, and its body may come. */
static void http_continue(struct http_op *op)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http_session *session = op->call->conn->session;
    ASSERT(session->head_block == NULL && session->body_bytes == 0);
    session->head_block = block_ref(op->call->frame_block);
    session->head = op->call->frame;
    session->body_bytes = op->head.body_bytes;
    uint8_t *text = call_take(op->call, sizeof(go_on));
    memcpy(text, go_on, sizeof(go_on));
    call_reply_bytes(op->call, text, sizeof(go_on) - 1);
}

static void http_start_swallowed(struct call *call)
{
    struct http_session *session = call->conn->session;
    session->swallowed += call->frame.size;
    call->state = NULL;
    call_reply(call);
    /* Behind a last request nobody is waited for; and a stream would hold up what is behind it. */
    if (!session->lingers || session->swallowed > HTTP_SWALLOW_BYTES_MAX) {
        conn_end(call->conn);
    }
}

/* The head of this call; false: it is none, op->fault says why. */
static bool http_read_head(struct http_op *op, struct bytes frame)
{
    struct http_scan scan = {0};
    if (http_scan(&scan, frame, &op->fault) != HTTP_WHOLE) {
        ASSERT(op->fault.status != 0);
        return false;
    }
    return http_head_parse(bytes_of(frame.data, scan.position), &op->head, &op->fault);
}

/* The head is sound; `methods` and `topic` are of its path. */
static enum err http_start_routed(struct http_op *op, uint32_t methods, struct bytes topic)
{
    bool alone = op->body.size < op->head.body_bytes;
    bool admitted = http_admit(op);
    bool late = op->call->late && admitted && (op->route == NULL || !op->route->watch);
    bool read = admitted && !late && op->route != NULL && http_read_target(op, topic);
    if (!read) {
        if (alone) {
            http_end_session(op); /* The body may come all the same. */
        } else if (!op->head.keep_alive || late) {
            http_last(op);
        }
        if (late) {
            (void)snprintf(op->fields, sizeof(op->fields), "Retry-After: 1\r\n");
            http_refuse(op, 503, "%s", err_text(ERR_STOPPING));
        } else if (admitted && op->route == NULL) {
            http_no_route(op, methods);
        } else {
            http_refuse_fault(op);
        }
        return OK;
    }
    if (alone) {
        http_continue(op);
        return OK;
    }
    op->state = call_take(op->call, op->route->state_bytes);
    enum err err = op->route->start(op);
    if (err == OK && !op->head.keep_alive) {
        http_last(op); /* Not before: it may have to be started again. */
    }
    return err;
}

static enum err http_start(struct call *call)
{
    struct http_session *session = call->conn->session;
    if (session->ended) {
        http_start_swallowed(call);
        return OK;
    }
    bool body_alone = session->body_bytes > 0;
    struct bytes frame = body_alone ? session->head : call->frame;
    struct http_op read = {.call = call, .net = call->net};
    bool sound = http_read_head(&read, frame);
    uint32_t methods = 0;
    struct bytes topic = {0};
    read.route = sound ? http_find_route(&read.head, &methods, &topic) : NULL;
    uint64_t size =
        sizeof(struct http_op) + min_u32(frame.size, HTTP_HEAD_BYTES_MAX) + HTTP_ANSWER_BYTES;
    size += read.route != NULL ? read.route->state_bytes : 0;
    enum err err = call_arena(call, size);
    if (err != OK) {
        return err;
    }
    struct http_op *op = call_take(call, sizeof(*op));
    *op = read;
    call->state = op;
    if (!sound) {
        http_end_session(op);
        http_refuse_fault(op);
        return OK;
    }
    if (body_alone) {
        op->body = call->frame;
    } else {
        op->body = bytes_of(frame.data + op->head.size, frame.size - op->head.size);
    }
    err = http_start_routed(op, methods, topic);
    if (err == OK && body_alone) {
        op->head_block = session->head_block;
        session->head_block = NULL;
        session->body_bytes = 0;
    }
    return err;
}

static void http_cancel(struct call *call)
{
    struct http_op *op = call->state;
    if (call->started && op != NULL && op->state != NULL && op->route->cancel != NULL) {
        op->route->cancel(op);
    }
}

static void http_part(struct call *call)
{
    struct http_op *op = call->state;
    ASSERT(op->route->part != NULL);
    op->route->part(op);
}

static void http_sent(struct call *call)
{
    struct http_op *op = call->state;
    if (op == NULL) {
        call_done(call);
        return;
    }
    if (op->head_block != NULL) {
        block_unref(op->head_block);
        op->head_block = NULL;
    }
    if (op->state != NULL && op->route->sent != NULL) {
        op->route->sent(op);
        return;
    }
    call_done(call);
}

static const char http_too_many[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
    "Connection: close\r\nRetry-After: 1\r\nContent-Length: 141\r\n\r\n"
    "{\"title\":\"Service Unavailable\",\"status\":503,"
    "\"detail\":\"too many connections: retry, or raise connections.max or "
    "connections.max.per.address\"}\n";

const struct protocol protocol_http = {
    .name = "http",
    .refusal = http_too_many,
    .refusal_bytes = sizeof(http_too_many) - 1,
    .session_bytes = sizeof(struct http_session),
    .open = http_open,
    .close = http_close,
    .awaits = http_awaits,
    .frame = http_frame,
    .start = http_start,
    .cancel = http_cancel,
    .part = http_part,
    .sent = http_sent,
};

/* --- The core. --- */

enum err http_core_open(struct http_core **core, struct net *net)
{
    struct http_core *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return ERR_NO_MEMORY;
    }
    made->net = net;
    made->guard = (struct http_guard){
        .hosts = net->options.http.hosts,
        .host_name = net->options.http.host_name,
        .advertise = net->options.advertise,
        .admin_any = net->options.http.admin_any,
    };
    enum err err = census_open(&made->census, net->reactor);
    if (err != OK) {
        free(made);
        return err;
    }
    http_json_begin();
    *core = made;
    return OK;
}

void http_core_close(struct http_core *core)
{
    census_close(&core->census);
    free(core);
}

bool http_core_busy(const struct http_core *core)
{
    return census_busy(&core->census);
}
