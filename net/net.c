/* What has no connection yet: the texts of addresses, and what the cores of a process share. */
#include "core/assert.h"
#include "net/door.h"
#include "net/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct net_shared *net_shared_create(uint32_t core_count)
{
    ASSERT(core_count > 0 && core_count < REACTORS_MAX);
    struct net_shared *shared = calloc(1, sizeof(*shared));
    if (shared == NULL) {
        return NULL;
    }
    size_t bytes = core_count * sizeof(struct net_shared_core);
    shared->core_count = core_count;
    shared->cores = aligned_alloc(CACHE_LINE_BYTES, bytes);
    if (shared->cores == NULL) {
        free(shared);
        return NULL;
    }
    memset(shared->cores, 0, bytes);
    atomic_init(&shared->drains, 0);
    atomic_init(&shared->drain_connections, 0);
    atomic_init(&shared->drain_requests, 0);
    atomic_init(&shared->drain_cut, 0);
    for (uint32_t i = 0; i < core_count; i++) {
        atomic_init(&shared->cores[i].connections, 0);
        atomic_init(&shared->cores[i].requests, 0);
        atomic_init(&shared->cores[i].open, false);
    }
    return shared;
}

void net_shared_destroy(struct net_shared *shared)
{
    if (shared != NULL) {
        free(shared->cores);
        free(shared);
    }
}

/* Those that can be served, as in "any://, kafka:// or walrus://". */
static void net_list_protocols(char *text, uint32_t size)
{
    enum net_protocol last = NET_ANY;
    for (uint32_t i = 0; i < NET_PROTOCOL_COUNT; i++) {
        last = door_serves((enum net_protocol)i) ? (enum net_protocol)i : last;
    }
    uint32_t used = 0;
    for (uint32_t i = 0; i <= last && used < size; i++) {
        if (door_serves((enum net_protocol)i)) {
            const char *link = i == NET_ANY ? "" : i == last ? " or " : ", ";
            int added = snprintf(text + used, size - used, "%s%s://", link,
                                 net_protocol_name((enum net_protocol)i));
            used += (uint32_t)added;
        }
    }
}

static bool net_parse_one(const char *item, struct net_listen *listen, char *message)
{
    const char *address = strstr(item, "://");
    listen->protocol = NET_ANY;
    if (address == NULL) {
        address = item;
    } else {
        uint32_t i = 0;
        struct bytes name = bytes_of(item, (uint32_t)(address - item));
        while (i < NET_PROTOCOL_COUNT &&
               (!bytes_equal(name, bytes_text(net_protocol_name((enum net_protocol)i))) ||
                !door_serves((enum net_protocol)i))) {
            i++;
        }
        if (i == NET_PROTOCOL_COUNT) {
            char known[128];
            net_list_protocols(known, sizeof(known));
            snprintf(message, NET_MESSAGE_BYTES, "listen: '%.100s': unknown protocol; use %s", item,
                     known);
            return false;
        }
        listen->protocol = (enum net_protocol)i;
        address += 3;
    }
    if (io_address_parse(address, &listen->address) != OK) {
        const char *colon = strchr(address, ':');
        bool bare = address[0] != '[' && colon != NULL && strchr(colon + 1, ':') != NULL;
        snprintf(message, NET_MESSAGE_BYTES, "listen: '%.100s' is no numeric host:port, as in %s",
                 item,
                 bare            ? "any://[::1]:9092: an IPv6 address stands in brackets"
                 : colon == NULL ? "any://0.0.0.0:9092: the port is missing"
                                 : "any://0.0.0.0:9092");
        return false;
    }
    return true;
}

static bool net_is_wildcard(const struct io_address *address)
{
    static const uint8_t none[16];
    return memcmp(address->bytes, none, sizeof(none)) == 0;
}

/* Whether `inner` is `outer`, or part of it: only one of them can listen. */
static bool net_covers(const struct io_address *outer, const struct io_address *inner)
{
    return outer->port != 0 && outer->port == inner->port && outer->family == inner->family &&
           (net_is_wildcard(outer) ||
            memcmp(outer->bytes, inner->bytes, sizeof(inner->bytes)) == 0);
}

/* The system would call the second one in use, and by another server. [::] leaves IPv4 to whoever
 * has the same port for it. */
static bool net_settle_listen(struct net_listen *listen, uint32_t count, char *message)
{
    char outer[IO_ADDRESS_TEXT_BYTES], inner[IO_ADDRESS_TEXT_BYTES];
    for (uint32_t i = 0; i < count; i++) {
        const struct io_address *address = &listen[i].address;
        listen[i].six_only = false;
        for (uint32_t j = 0; j < count; j++) {
            const struct io_address *other = &listen[j].address;
            if (i != j && net_covers(address, other)) {
                (void)io_address_text(address, outer);
                (void)io_address_text(other, inner);
                bool twice = strcmp(outer, inner) == 0;
                snprintf(message, NET_MESSAGE_BYTES, "listen: %s is %s%s: give %s, or another port",
                         inner, twice ? "given twice" : "part of ", twice ? "" : outer,
                         twice ? "it once" : "one of them");
                return false;
            }
            listen[i].six_only =
                listen[i].six_only || (address->family == 6 && net_is_wildcard(address) &&
                                       other->family == 4 && other->port == address->port);
        }
    }
    return true;
}

enum err net_parse_listen(const char *text, struct net_listen *listen, uint32_t *count,
                          char *message)
{
    ASSERT(text != NULL && listen != NULL && count != NULL && message != NULL);
    *count = 0;
    message[0] = 0;
    const char *at = text;
    for (;;) {
        at += strspn(at, " ");
        size_t size = strcspn(at, ",");
        const char *next = at[size] == ',' ? at + size + 1 : NULL;
        while (size > 0 && at[size - 1] == ' ') {
            size--;
        }
        char item[128];
        if (size == 0 || size >= sizeof(item)) {
            snprintf(message, NET_MESSAGE_BYTES, "listen: an address is empty or too long");
            return ERR_INVALID;
        }
        if (*count == NET_LISTEN_MAX) {
            snprintf(message, NET_MESSAGE_BYTES, "listen: more than %d addresses", NET_LISTEN_MAX);
            return ERR_INVALID;
        }
        memcpy(item, at, size);
        item[size] = 0;
        if (!net_parse_one(item, &listen[*count], message)) {
            return ERR_INVALID;
        }
        (*count)++;
        if (next == NULL) {
            return net_settle_listen(listen, *count, message) ? OK : ERR_INVALID;
        }
        at = next;
    }
}
