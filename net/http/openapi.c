/* GET / and GET /v1/openapi.json: the table of routes in words and in OpenAPI 3.0. */
#include "core/assert.h"
#include "net/http/http.h"

#include <string.h>

/* What a parameter is, wherever it stands. */
static const struct {
    const char *name, *type, *help;
} openapi_params[] = {
    {"partition", "integer", "partition, from 0; produce: chosen by key, or in turn"},
    {"key", "string", "key of the record, percent-encoded bytes"},
    {"timestamp", "integer", "time of the record, ms since 1970; else now"},
    {"from", "string", "start, end, an offset, -N (N records before the end), or @MS (a time)"},
    {"n", "integer", "records at most"},
    {"wait", "integer", "ms to wait for a record if there is none"},
};

static const char *openapi_type(const char *name, const char **help)
{
    for (uint32_t i = 0; i < ARRAY_COUNT(openapi_params); i++) {
        if (strcmp(openapi_params[i].name, name) == 0) {
            *help = openapi_params[i].help;
            return openapi_params[i].type;
        }
    }
    UNREACHABLE();
}

static void openapi_put_route(const struct http_route *route, struct http_writer *writer)
{
    const char *comma = "";
    http_put(writer, "\"", 1);
    for (const char *at = http_method_text(route->method); *at != 0; at++) {
        http_printf(writer, "%c", *at + ('a' - 'A'));
    }
    http_put_text(writer, "\":{\"summary\":");
    http_put_json(writer, bytes_text(route->summary));
    http_put_text(writer, ",\"parameters\":[");
    const char *name = strchr(route->path, '{');
    if (name != NULL) {
        http_printf(writer,
                    "{\"name\":\"%.*s\",\"in\":\"path\",\"required\":true,"
                    "\"schema\":{\"type\":\"string\"}}",
                    (int)strcspn(name + 1, "}"), name + 1);
        comma = ",";
    }
    for (uint32_t i = 0; i < HTTP_PARAMS_MAX && route->params[i] != NULL; i++) {
        const char *help = NULL;
        const char *type = openapi_type(route->params[i], &help);
        http_printf(writer, "%s{\"name\":\"%s\",\"in\":\"query\",\"description\":", comma,
                    route->params[i]);
        http_put_json(writer, bytes_text(help));
        http_printf(writer, ",\"schema\":{\"type\":\"%s\"}}", type);
        comma = ",";
    }
    http_put_text(writer, "],");
    if (route->method == HTTP_POST) {
        http_put_text(writer, "\"requestBody\":{\"content\":{\"application/json\":{\"schema\":"
                              "{\"type\":\"object\"}}}},");
    }
    http_put_text(writer, "\"responses\":{\"default\":{\"description\":\"JSON, or a problem\"}}}");
}

static void openapi_encode(struct http_op *op, struct http_writer *writer)
{
    (void)op;
    const char *path = NULL;
    http_printf(writer,
                "{\"openapi\":\"3.0.3\",\"info\":{\"title\":\"floe\",\"version\":\"%s\"},\n"
                "\"paths\":{",
                FLOE_VERSION);
    for (uint32_t i = 0; i < http_route_count; i++) {
        bool same = path != NULL && strcmp(path, http_routes[i].path) == 0;
        if (!same) {
            http_printf(writer, "%s\n\"%s\":{", path == NULL ? "" : "},", http_routes[i].path);
        } else {
            http_put_text(writer, ",");
        }
        path = http_routes[i].path;
        openapi_put_route(&http_routes[i], writer);
    }
    http_put_text(writer, "}\n}}\n");
}

enum err http_openapi_start(struct http_op *op)
{
    http_answer(op, &(struct http_answer){
                        .status = 200, .type = "application/json", .encode = openapi_encode});
    return OK;
}

static void index_encode(struct http_op *op, struct http_writer *writer)
{
    http_printf(writer, "{\"name\":\"floe\",\"version\":\"%s\",\"node\":%u,\"paths\":[",
                FLOE_VERSION, op->net->options.node_id);
    const char *path = NULL;
    for (uint32_t i = 0; i < http_route_count; i++) {
        if (path == NULL || strcmp(path, http_routes[i].path) != 0) {
            http_printf(writer, "%s\"%s\"", path == NULL ? "" : ",", http_routes[i].path);
        }
        path = http_routes[i].path;
    }
    http_put_text(writer, "]}\n");
}

enum err http_index_start(struct http_op *op)
{
    http_answer(op, &(struct http_answer){
                        .status = 200, .type = "application/json", .encode = index_encode});
    return OK;
}
