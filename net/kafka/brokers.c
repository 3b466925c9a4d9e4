/* The brokers as clients are told them, by Metadata and DescribeCluster: this node by the address
 * that the client came in by, others by one they registered; `advertise` overrides both. And the
 * cluster's id. */
#include "core/assert.h"
#include "net/kafka/kafka.h"

#include <stdlib.h>

/* Splits "host:port" at its last colon. */
static void broker_write_advertised(const char *advertise, struct kafka_writer *writer)
{
    const char *colon = strrchr(advertise, ':');
    uint32_t size = (uint32_t)(colon == NULL ? strlen(advertise) : (size_t)(colon - advertise));
    long port = colon == NULL ? 9092 : strtol(colon + 1, NULL, 10);
    if (size > 2 && advertise[0] == '[' && advertise[size - 1] == ']') {
        advertise++;
        size -= 2;
    }
    kafka_write_string(writer, bytes_of(advertise, size));
    kafka_write_i32(writer, (int32_t)port);
}

static void broker_write_address(const struct io_address *address, struct kafka_writer *writer)
{
    char text[IO_ADDRESS_TEXT_BYTES];
    struct io_address shown = *address;
    if (shown.family == 0) {
        shown = (struct io_address){.bytes = {127, 0, 0, 1}, .port = address->port, .family = 4};
    }
    char *host = io_address_text(&shown, text);
    char *colon = strrchr(host, ':');
    ASSERT(colon != NULL);
    *colon = 0;
    uint32_t size = (uint32_t)(colon - host);
    if (host[0] == '[') {
        host++;
        size -= 2;
    }
    kafka_write_string(writer, bytes_of(host, size));
    kafka_write_i32(writer, shown.port);
}

bool kafka_read_own_replica(const struct kafka_request *request, struct kafka_reader *body)
{
    uint32_t brokers = kafka_read_count(body, 4);
    bool own = brokers == 1;
    for (uint32_t i = 0; i < brokers && !body->bytes.failed; i++) {
        own = kafka_read_i32(body) == (int32_t)request->net->options.node_id && own;
    }
    return own;
}

static bool broker_is_loopback(const struct io_address *address)
{
    static const uint8_t six[16] = {[15] = 1};
    return address->family == 4 ? address->bytes[0] == 127
                                : memcmp(address->bytes, six, sizeof(six)) == 0;
}

void kafka_write_own_address(const struct kafka_request *request, struct kafka_writer *writer)
{
    const char *advertise = request->net->options.advertise;
    if (advertise != NULL) {
        broker_write_advertised(advertise, writer);
    } else {
        broker_write_address(&request->call->conn->local, writer);
    }
}

static void broker_write(const struct kafka_request *request, const struct kafka_brokers *shape,
                         uint32_t id, const struct map_node *node, struct kafka_writer *writer)
{
    const struct net_options *options = &request->net->options;
    kafka_write_i32(writer, (int32_t)id);
    if (id == options->node_id) {
        kafka_write_own_address(request, writer);
    } else {
        struct io_address address = {0};
        for (uint32_t i = 0; i < node->address_count; i++) {
            if (address.family == 0 || broker_is_loopback(&address)) {
                address = node->addresses[i];
            }
        }
        broker_write_address(&address, writer);
    }
    if (shape->rack) {
        kafka_write_text(writer, NULL);
    }
    if (shape->fenced) {
        kafka_write_bool(writer, false);
    }
    kafka_write_tags(writer);
}

void kafka_write_brokers(const struct kafka_request *request, const struct kafka_brokers *shape,
                         struct kafka_writer *writer)
{
    const struct map *map = kafka_map(request);
    uint32_t own = request->net->options.node_id;
    bool listed = map_node_by_id(map, own) != NULL;
    uint32_t count = map_node_count(map);
    kafka_write_count(writer, count + (listed ? 0 : 1));
    if (!listed) {
        broker_write(request, shape, own, NULL, writer);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct map_node *node = map_node_at(map, i);
        broker_write(request, shape, node->id, node, writer);
    }
}

char *kafka_cluster_text(const uint8_t id[16], char text[KAFKA_CLUSTER_TEXT_BYTES])
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    uint32_t held = 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < 16; i++) {
        bits = (bits << 8 | id[i]) & 0xffff;
        held += 8;
        while (held >= 6) {
            held -= 6;
            text[at++] = letters[bits >> held & 63];
        }
    }
    text[at++] = letters[bits << (6 - held) & 63];
    ASSERT(at == KAFKA_CLUSTER_TEXT_BYTES - 1);
    text[at] = 0;
    return text;
}
