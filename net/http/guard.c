/* See the header. */
#include "net/http/guard.h"

#include "core/assert.h"

#include <stdio.h>
#include <string.h>

enum { GUARD_NAME_BYTES_MAX = 253 };

/* The host of "host", "host:port" or "[v6]:port", without brackets; size 0: it is none. */
static struct bytes guard_host_of(struct bytes authority)
{
    static const struct bytes none = {0};
    uint32_t size = authority.size;
    uint32_t digits = 0;
    while (digits < size && authority.data[size - 1 - digits] >= '0' &&
           authority.data[size - 1 - digits] <= '9') {
        digits++;
    }
    bool port =
        digits > 0 && digits <= 5 && digits < size && authority.data[size - 1 - digits] == ':';
    bool bracket = size > 0 && authority.data[0] == '[';
    if (port) {
        size -= digits + 1;
    }
    if (bracket) {
        return size > 2 && authority.data[size - 1] == ']' ? bytes_of(authority.data + 1, size - 2)
                                                           : none;
    }
    return memchr(authority.data, ':', size) == NULL ? bytes_of(authority.data, size) : none;
}

/* A page's name can be bent to any address, but an address is itself: whoever names us by one has
 * come to us on purpose, through whatever gateway. */
static bool guard_is_address(struct bytes host)
{
    char text[64];
    struct io_address address;
    bool v6 = memchr(host.data, ':', host.size) != NULL;
    if (host.size == 0 || host.size > 45) {
        return false;
    }
    (void)snprintf(text, sizeof(text), v6 ? "[%.*s]:1" : "%.*s:1", (int)host.size,
                   (const char *)host.data);
    return io_address_parse(text, &address) == OK;
}

static bool guard_is_local_name(struct bytes host)
{
    static const char suffix[] = ".localhost";
    uint32_t size = sizeof(suffix) - 1;
    return http_equal(host, "localhost") ||
           (host.size > size && http_equal(bytes_of(host.data + host.size - size, size), suffix));
}

static bool guard_in_list(const char *list, struct bytes host)
{
    while (list[0] != 0) {
        size_t size = strcspn(list, ",");
        const char *next = list[size] == ',' ? list + size + 1 : list + size;
        while (size > 0 && list[0] == ' ') {
            list++;
            size--;
        }
        while (size > 0 && list[size - 1] == ' ') {
            size--;
        }
        char name[GUARD_NAME_BYTES_MAX + 1];
        if (size > 0 && size < sizeof(name)) {
            memcpy(name, list, size);
            name[size] = 0;
            if (strcmp(name, "*") == 0 || http_equal(host, name)) {
                return true;
            }
        }
        list = next;
    }
    return false;
}

static bool guard_knows(const struct http_guard *guard, struct bytes host)
{
    if (guard_is_local_name(host) || guard_is_address(host)) {
        return true;
    }
    if (guard->host_name != NULL && guard->host_name[0] != 0 &&
        http_equal(host, guard->host_name)) {
        return true;
    }
    if (guard->advertise != NULL) {
        struct bytes own = guard_host_of(bytes_text(guard->advertise));
        char name[GUARD_NAME_BYTES_MAX + 1];
        (void)snprintf(name, sizeof(name), "%.*s", (int)own.size, (const char *)own.data);
        if (own.size > 0 && http_equal(host, name)) {
            return true;
        }
    }
    return guard->hosts != NULL && guard_in_list(guard->hosts, host);
}

static bool guard_host(const struct http_guard *guard, const struct http_head *head,
                       struct http_fault *fault)
{
    struct bytes authority = head->fields[HTTP_FIELD_HOST];
    struct bytes host = guard_host_of(authority);
    char quoted[HTTP_QUOTE_BYTES];
    if (host.size == 0 || host.size > GUARD_NAME_BYTES_MAX) {
        http_fault(fault, 400, "Host \"%s\" is no host or host:port",
                   http_quote(authority, quoted));
        return false;
    }
    if (!guard_knows(guard, host)) {
        http_fault(fault, 421,
                   "Host \"%s\" is none of this server's names: use its address or localhost, or "
                   "tell the server the name by its setting http.hosts",
                   http_quote(host, quoted));
        return false;
    }
    return true;
}

/* "http://host:port" of the same host and port as Host. */
static bool guard_origin(const struct http_head *head, struct http_fault *fault)
{
    struct bytes origin = head->fields[HTTP_FIELD_ORIGIN];
    if (origin.data == NULL) {
        return true;
    }
    static const char *const schemes[] = {"http://", "https://"};
    for (uint32_t i = 0; i < ARRAY_COUNT(schemes); i++) {
        uint32_t size = (uint32_t)strlen(schemes[i]);
        if (origin.size > size && http_equal(bytes_of(origin.data, size), schemes[i]) &&
            bytes_equal(bytes_of(origin.data + size, origin.size - size),
                        head->fields[HTTP_FIELD_HOST])) {
            return true;
        }
    }
    char quoted[HTTP_QUOTE_BYTES];
    http_fault(fault, 403,
               "a page of Origin \"%s\" asks: pages of other origins are not served, ask without "
               "a browser or through a server of that origin",
               http_quote(origin, quoted));
    return false;
}

static bool guard_is_loopback(const struct io_address *peer)
{
    static const uint8_t v6[16] = {[15] = 1};
    return peer->family == 4 ? peer->bytes[0] == 127
                             : peer->family == 6 && memcmp(peer->bytes, v6, sizeof(v6)) == 0;
}

bool http_guard_admits(const struct http_guard *guard, const struct http_visit *visit,
                       struct http_fault *fault)
{
    const struct http_head *head = visit->head;
    if (!guard_host(guard, head, fault) || !guard_origin(head, fault)) {
        return false;
    }
    bool shown = head->fields[HTTP_FIELD_X_FLOE].size > 0 ||
                 http_media_is(head->fields[HTTP_FIELD_CONTENT_TYPE], "application/json");
    if (visit->changes && !shown) {
        http_fault(fault, 403,
                   "%s changes something, so it needs a header that no foreign web page can send: "
                   "add X-Floe: 1",
                   http_method_text(head->method));
        return false;
    }
    if (visit->admin && !guard->admin_any && !guard_is_loopback(visit->peer)) {
        char peer[IO_ADDRESS_TEXT_BYTES];
        http_fault(fault, 403,
                   "topics are made and deleted from the server's own machine only, not from %s: "
                   "set http.admin=any to allow it from anywhere",
                   io_address_text(visit->peer, peer));
        return false;
    }
    return true;
}
