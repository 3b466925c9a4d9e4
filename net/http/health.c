/* /livez: every core turns. /readyz: every core serves what it owns. Both ask each core, and do not
 * wait for ever: a core that is stuck does not answer. */
#include "core/assert.h"
#include "net/http/http.h"

struct health {
    struct http_op *op;
    struct census_waiter waiter;
    bool ready; /* /readyz, else /livez. */
    bool late;
};

/* NULL: nothing is wrong with this core. */
static const char *health_fault(const struct health *health, uint32_t core)
{
    const struct census *census = &health->op->net->http->census;
    const struct census_probe *probe = &census->probes[core];
    if (health->late && probe->away) {
        return "does not turn";
    }
    if (!health->ready || core >= health->op->net->options.core_count) {
        return NULL;
    }
    return probe->view.draining ? "is draining" : !probe->view.serves ? "does not serve yet" : NULL;
}

static uint32_t health_fault_count(const struct health *health)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < health->op->net->http->census.count; i++) {
        count += health_fault(health, i) != NULL;
    }
    return count;
}

static void health_encode(struct http_op *op, struct http_writer *writer)
{
    const struct health *health = op->state;
    uint32_t said = 0;
    http_printf(writer, "{\"status\":\"%s\",\"cores\":%u,\"failing\":[",
                op->answer.status == 200 ? "ok" : "failing", op->net->options.core_count);
    for (uint32_t i = 0; i < op->net->http->census.count; i++) {
        const char *fault = health_fault(health, i);
        if (fault != NULL) {
            http_printf(writer, "%s\"core %u %s\"", said == 0 ? "" : ",", i, fault);
            said++;
        }
    }
    http_put_text(writer, "]}\n");
}

static void health_finish(struct health *health)
{
    struct http_op *op = health->op;
    http_answer(op, &(struct http_answer){
                        .status = health_fault_count(health) == 0 ? 200 : 503,
                        .type = "application/json",
                        .encode = health_encode,
                    });
}

static void health_answered(struct completion *completion)
{
    struct census_waiter *waiter = CONTAINER_OF(completion, struct census_waiter, done);
    struct health *health = CONTAINER_OF(waiter, struct health, waiter);
    health->late = completion->result == ERR_TIMEOUT;
    health_finish(health);
}

static enum err health_start(struct http_op *op, bool ready)
{
    struct health *health = op->state;
    health->op = op;
    health->ready = ready;
    completion_init(&health->waiter.done, health_answered);
    census_await(&op->net->http->census, &health->waiter);
    return OK;
}

_Static_assert(sizeof(struct health) <= HTTP_HEALTH_BYTES, "http_routes knows the size");

enum err http_livez_start(struct http_op *op)
{
    return health_start(op, false);
}

enum err http_readyz_start(struct http_op *op)
{
    return health_start(op, true);
}
