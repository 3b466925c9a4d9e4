/* See the header. */
#include "net/door.h"

#include "core/assert.h"
#include "core/limits.h"

#include <string.h>

/* Each protocol, once: its name in `listen`, and how it is served. */
static const struct {
    const char *name;
    const struct protocol *protocol; /* NULL: recognised, not served by this build. */
} door_table[NET_PROTOCOL_COUNT] = {
    [NET_ANY] = {"any", NULL},
    [NET_KAFKA] = {"kafka", &protocol_kafka},
    [NET_RESP] = {"resp", &protocol_resp},
    [NET_WALRUS] = {"walrus", &protocol_walrus},
    [NET_HTTP] = {"http", &protocol_http},
};

enum { DOOR_FIRST_BYTES = 5, DOOR_TLS_BYTES = 6 };

static bool is_letter(uint8_t byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_text(uint8_t byte)
{
    return (byte >= ' ' && byte <= '~') || byte == '\t' || byte == '\r' || byte == '\n';
}

/* As far as the bytes go. */
static bool door_may_be_walrus(struct bytes first)
{
    return (first.size < 3 || first.data[2] == 0) && (first.size < 4 || first.data[3] == 0) &&
           (first.size < DOOR_FIRST_BYTES || is_letter(first.data[4]));
}

static bool door_may_be_kafka(struct bytes first)
{
    uint8_t length[4] = {0};
    memcpy(length, first.data, min_u32(first.size, sizeof(length)));
    return load_be32(length) <= REQUEST_FRAME_BYTES_MAX &&
           (first.size < DOOR_FIRST_BYTES || first.data[4] == 0);
}

static enum door_guess door_guess_tls(struct bytes first)
{
    if (first.size >= 2 && first.data[1] != 0x03) {
        return DOOR_NONE;
    }
    if (first.size < DOOR_TLS_BYTES) {
        return DOOR_MORE;
    }
    return first.data[DOOR_TLS_BYTES - 1] == 0x01 ? DOOR_TLS : DOOR_NONE;
}

/* "GET / HTTP/1.1" is; the line end is not part of `line`. */
static bool door_line_is_http(struct bytes line)
{
    static const char end[] = " HTTP/1.";

    enum { END_BYTES = sizeof(end) - 1 };

    if (line.size > 0 && line.data[line.size - 1] == '\r') {
        line.size--;
    }
    return line.size > END_BYTES + 1 && is_digit(line.data[line.size - 1]) &&
           memcmp(line.data + line.size - 1 - END_BYTES, end, END_BYTES) == 0;
}

static enum door_guess door_guess_line(struct bytes first, uint32_t *position)
{
    ASSERT(*position <= first.size);
    const uint8_t *end = memchr(first.data + *position, '\n', first.size - *position);
    *position = first.size;
    if (end == NULL) {
        return first.size > DOOR_LINE_BYTES_MAX ? DOOR_RESP : DOOR_MORE;
    }
    struct bytes line = bytes_of(first.data, (uint32_t)(end - first.data));
    return door_line_is_http(line) ? DOOR_HTTP : DOOR_RESP;
}

enum door_guess door_guess(struct bytes first, uint32_t *position)
{
    bool enough = first.size >= DOOR_FIRST_BYTES;
    if (first.size == 0) {
        return DOOR_MORE;
    }
    if (door_may_be_walrus(first)) {
        return enough ? DOOR_WALRUS : DOOR_MORE;
    }
    if (door_may_be_kafka(first)) {
        return enough ? DOOR_KAFKA : DOOR_MORE;
    }
    if (first.data[0] == 0x16) {
        return door_guess_tls(first);
    }
    if (first.size >= 2 && first.data[0] == '*' && is_digit(first.data[1])) {
        return DOOR_RESP;
    }
    return is_text(first.data[0]) ? door_guess_line(first, position) : DOOR_NONE;
}

const char *door_refusal(enum door_guess guess)
{
    static const char *const unserved[NET_PROTOCOL_COUNT] = {
        [NET_RESP] = "it speaks RESP, which this build does not serve",
        [NET_WALRUS] = "it speaks Walrus, which this build does not serve",
    };
    switch (guess) {
    case DOOR_TLS:
        return "it speaks TLS, which is not served yet; connect without it";
    case DOOR_NONE:
    case DOOR_MORE:
        return "its first bytes are of no protocol that is known here";
    case DOOR_KAFKA:
    case DOOR_RESP:
    case DOOR_WALRUS:
    case DOOR_HTTP:
        break;
    }
    return door_table[guess].protocol != NULL ? NULL : unserved[guess];
}

const struct protocol *door_protocol(enum net_protocol protocol)
{
    ASSERT(protocol < NET_PROTOCOL_COUNT);
    return door_table[protocol].protocol;
}

bool door_serves(enum net_protocol protocol)
{
    return protocol == NET_ANY || door_protocol(protocol) != NULL;
}

uint32_t door_session_bytes(void)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < NET_PROTOCOL_COUNT; i++) {
        const struct protocol *protocol = door_table[i].protocol;
        most = protocol == NULL ? most : max_u32(most, protocol->session_bytes);
    }
    return most;
}

const char *net_protocol_name(enum net_protocol protocol)
{
    ASSERT(protocol < NET_PROTOCOL_COUNT);
    return door_table[protocol].name;
}
