/* The table of routes; what it says is also what /v1/openapi.json says. */
#include "core/assert.h"
#include "net/group/group.h"
#include "net/http/http.h"

#include <string.h>

const struct http_route http_routes[] = {
    {.method = HTTP_GET,
     .path = "/",
     .summary = "What this is, and where to go on",
     .start = http_index_start},
    {.method = HTTP_GET,
     .path = "/livez",
     .summary = "200 when every core turns, else 503",
     .watch = true,
     .state_bytes = HTTP_HEALTH_BYTES,
     .start = http_livez_start},
    {.method = HTTP_GET,
     .path = "/readyz",
     .summary = "200 when every core serves, 503 before that and while it drains",
     .watch = true,
     .state_bytes = HTTP_HEALTH_BYTES,
     .start = http_readyz_start},
    {.method = HTTP_GET,
     .path = "/metrics",
     .summary = "Prometheus text 0.0.4",
     .watch = true,
     .state_bytes = HTTP_METRICS_BYTES,
     .start = http_metrics_start,
     .sent = http_metrics_sent},
    {.method = HTTP_GET,
     .path = "/v1/openapi.json",
     .summary = "This description",
     .start = http_openapi_start},
    {.method = HTTP_GET,
     .path = "/v1/groups",
     .summary = "All groups of consumers, with their states",
     .state_bytes = HTTP_GROUPS_BYTES,
     .start = http_groups_start,
     .sent = http_groups_sent},
    {.method = HTTP_GET,
     .path = "/v1/groups/{group}",
     .summary = "A group: its members, what it committed, how far it is behind",
     .state_bytes = HTTP_GROUP_BYTES,
     .start = http_group_start,
     .sent = http_group_sent},
    {.method = HTTP_GET, .path = "/v1/topics", .summary = "All topics", .start = http_topics_start},
    {.method = HTTP_POST,
     .path = "/v1/topics",
     .summary = "Make a topic: {\"name\":..,\"partitions\":..,\"replication\":..,\"configs\":{..}}",
     .admin = true,
     .state_bytes = HTTP_ADMIN_BYTES,
     .start = http_create_start},
    {.method = HTTP_GET,
     .path = "/v1/topics/{topic}",
     .summary = "A topic, its settings, where each partition begins and ends",
     .state_bytes = HTTP_TOPIC_BYTES,
     .start = http_topic_start,
     .sent = http_topic_sent},
    {.method = HTTP_DELETE,
     .path = "/v1/topics/{topic}",
     .summary = "Delete a topic and its records",
     .admin = true,
     .state_bytes = HTTP_ADMIN_BYTES,
     .start = http_delete_start},
    {.method = HTTP_GET,
     .path = "/v1/topics/{topic}/records",
     .summary = "Records as JSON; with Accept: application/octet-stream the value of one",
     .params = {"partition", "from", "n", "wait"},
     .state_bytes = HTTP_CONSUME_BYTES,
     .start = http_consume_start,
     .cancel = http_consume_cancel,
     .sent = http_consume_sent},
    {.method = HTTP_POST,
     .path = "/v1/topics/{topic}/records",
     .summary = "Append: {\"records\":[{\"value\":..}]} as application/json, or one record's value",
     .params = {"partition", "key", "timestamp"},
     .state_bytes = HTTP_PRODUCE_BYTES,
     .start = http_produce_start,
     .sent = http_produce_sent},
    {.method = HTTP_GET,
     .path = "/v1/topics/{topic}/stream",
     .summary = "Records as server-sent events, from the end or behind Last-Event-ID",
     .params = {"partition", "from"},
     .state_bytes = HTTP_STREAM_BYTES,
     .start = http_stream_start,
     .cancel = http_stream_cancel,
     .part = http_stream_part,
     .sent = http_stream_sent},
};

const uint32_t http_route_count = ARRAY_COUNT(http_routes);

struct bytes http_param(const struct http_op *op, const char *name)
{
    for (uint32_t i = 0; i < HTTP_PARAMS_MAX && op->params[i].name != NULL; i++) {
        if (strcmp(op->params[i].name, name) == 0) {
            return op->params[i].value;
        }
    }
    UNREACHABLE(); /* The route does not have it. */
}

const struct map *http_map(const struct http_op *op)
{
    return agent_map(op->net->options.agent);
}

const struct map_topic *http_topic(struct http_op *op)
{
    char quoted[HTTP_QUOTE_BYTES];
    const struct map_topic *topic = map_topic_by_name(http_map(op), op->topic);
    if (group_topic_is_internal(op->topic)) {
        http_refuse(op, 403, "\"%s\" is the server's own, of its groups: see GET /v1/groups",
                    http_quote(op->topic, quoted));
        return NULL;
    }
    if (topic == NULL) {
        http_refuse(op, 404, "there is no topic \"%s\": make it by POST /v1/topics",
                    http_quote(op->topic, quoted));
    }
    return topic;
}
