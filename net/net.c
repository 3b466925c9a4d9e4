/* What has no connection yet: the texts of addresses, and what the cores of a process share. */
#include "core/assert.h"
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
    for (uint32_t i = 0; i < core_count; i++) {
        atomic_init(&shared->cores[i].connections, 0);
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

static bool net_parse_one(const char *item, struct net_listen *listen, char *message)
{
    const char *address = strstr(item, "://");
    if (address == NULL) {
        address = item;
        listen->protocol = NET_ANY;
    } else {
        size_t size = (size_t)(address - item);
        if (size == 3 && strncmp(item, "any", size) == 0) {
            listen->protocol = NET_ANY;
        } else if (size == 5 && strncmp(item, "kafka", size) == 0) {
            listen->protocol = NET_KAFKA;
        } else {
            snprintf(message, NET_MESSAGE_BYTES,
                     "listen: '%.100s': unknown protocol; use any:// or kafka://", item);
            return false;
        }
        address += 3;
    }
    if (io_address_parse(address, &listen->address) != OK) {
        snprintf(message, NET_MESSAGE_BYTES,
                 "listen: '%.100s' is no numeric host:port, as in any://0.0.0.0:9092", item);
        return false;
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
            return OK;
        }
        at = next;
    }
}
