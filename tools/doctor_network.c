/* What floe doctor finds by dialing: the addresses to listen on, the server that answers there, and
 * the addresses that this server tells its clients to use from then on. Those are where newcomers
 * fail: the first connection works, the next one goes to an address that only the server knows.
 *
 *     -b, or listen's first -> dial -> Metadata -> dial each address that was told */
#include "core/io.h"
#include "tools/cmd_client.h"
#include "tools/doctor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NETWORK_DIAL_MS = 2000, NETWORK_ASK_MS = 5000, NETWORK_HOST_BYTES = 256 };

/* "host:port" or "[v6]:port", the port 9092 if there is none. */
static void network_split(const char *text, char host[NETWORK_HOST_BYTES], char port[16])
{
    const char *colon = strrchr(text, ':');
    const char *bracket = strrchr(text, ']');
    bool numbered = colon != NULL && (bracket == NULL || bracket < colon);
    size_t size = numbered ? (size_t)(colon - text) : strlen(text);
    (void)snprintf(port, 16, "%s", numbered ? colon + 1 : "9092");
    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    (void)snprintf(host, NETWORK_HOST_BYTES, "%.*s", (int)size, text);
}

static int network_dial_one(const struct addrinfo *at)
{
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    int error = connect(fd, at->ai_addr, at->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof(error);
        if (poll(&wait, 1, NETWORK_DIAL_MS) <= 0) {
            error = ETIMEDOUT;
        } else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
            error = errno;
        }
    }
    close(fd);
    return error;
}

/* Whether a connection to HOST:PORT can be made; else `why`. */
static bool network_dial(const char *address, char why[DOCTOR_TEXT_BYTES])
{
    char host[NETWORK_HOST_BYTES], port[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    network_split(address, host, port);
    int code = getaddrinfo(host, port, &hints, &list);
    if (code != 0) {
        (void)snprintf(why, DOCTOR_TEXT_BYTES, "%s", gai_strerror(code));
        return false;
    }
    int error = ENOENT;
    for (const struct addrinfo *at = list; at != NULL && error != 0; at = at->ai_next) {
        error = network_dial_one(at);
    }
    freeaddrinfo(list);
    (void)snprintf(why, DOCTOR_TEXT_BYTES, "%s", strerror(error));
    return error == 0;
}

/* --- The addresses to listen on. --- */

static socklen_t network_sockaddr(const struct io_address *address, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (address->family == 6) {
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(address->port);
        memcpy(&six->sin6_addr, address->bytes, 16);
        return sizeof(*six);
    }
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    four->sin_family = AF_INET;
    four->sin_port = htons(address->port);
    memcpy(&four->sin_addr, address->bytes, 4);
    return sizeof(*four);
}

/* Whether a server could listen there: bound and let go, without a listen. 0 or an errno. */
static int network_try_bind(const struct io_address *address)
{
    struct sockaddr_storage at;
    socklen_t size = network_sockaddr(address, &at);
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;
    if (fd < 0) {
        return errno;
    }
    /* As floe does it: what waits out a closed connection is no server. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    int error = bind(fd, (const struct sockaddr *)&at, size) == 0 ? 0 : errno;
    close(fd);
    return error;
}

/* What to dial for an address to listen on: a wildcard is this machine. */
static void network_reach(const struct io_address *address, char text[IO_ADDRESS_TEXT_BYTES])
{
    static const uint8_t zero[16];
    struct io_address at = *address;
    if (memcmp(at.bytes, zero, at.family == 6 ? 16 : 4) == 0) {
        at = (struct io_address){.bytes = {127, 0, 0, 1}, .port = address->port, .family = 4};
    }
    (void)io_address_text(&at, text);
}

static void network_listen(struct doctor *doctor)
{
    for (uint32_t i = 0; i < doctor->settings.listen_count; i++) {
        const struct io_address *address = &doctor->settings.listen[i].address;
        char text[IO_ADDRESS_TEXT_BYTES];
        int error = network_try_bind(address);
        (void)io_address_text(address, text);
        if (error == 0) {
            doctor_say(doctor, "listen", DOCTOR_OK, NULL, "%s: free", text);
        } else if (error == EADDRINUSE) {
            char reach[IO_ADDRESS_TEXT_BYTES], why[DOCTOR_TEXT_BYTES];
            network_reach(address, reach);
            bool answers = network_dial(reach, why);
            doctor_say(doctor, "listen", answers ? DOCTOR_OK : DOCTOR_FAIL,
                       answers ? NULL : "find who holds it with ss -ltnp, or take another port",
                       "%s: %s", text,
                       answers ? "a server answers there" : "held, and nobody answers");
        } else {
            doctor_say(doctor, "listen", DOCTOR_FAIL,
                       error == EACCES ? "take a port of 1024 or more"
                       : error == EADDRNOTAVAIL
                           ? "take an address of this machine (ip address), or "
                             "0.0.0.0 for all"
                           : "take another address with --listen",
                       "%s: %s", text, strerror(error));
        }
    }
}

/* --- The server that answers, and what it tells. --- */

static bool network_is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "localhost") == 0;
}

static void network_told(struct doctor *doctor, const struct rd_kafka_metadata *metadata)
{
    for (int i = 0; i < metadata->broker_cnt; i++) {
        const struct rd_kafka_metadata_broker *broker = &metadata->brokers[i];
        char address[NETWORK_HOST_BYTES + 16], why[DOCTOR_TEXT_BYTES], fix[DOCTOR_TEXT_BYTES];
        bool six = strchr(broker->host, ':') != NULL;
        (void)snprintf(address, sizeof(address), "%s%.*s%s:%d", six ? "[" : "",
                       NETWORK_HOST_BYTES - 1, broker->host, six ? "]" : "", broker->port);
        if (network_dial(address, why)) {
            doctor_say(doctor, "advertised", DOCTOR_OK, NULL,
                       "node %" PRId32 " tells clients %s, which answers", broker->id, address);
            continue;
        }
        (void)snprintf(fix, sizeof(fix),
                       "clients from here need an address that they reach, such as the one that "
                       "answered: start the server with --set advertise=%.200s",
                       doctor->broker);
        doctor_say(doctor, "advertised", DOCTOR_FAIL, fix,
                   "node %" PRId32 " tells clients %s, which does not answer from here: %s",
                   broker->id, address, why);
    }
}

static void network_server(struct doctor *doctor)
{
    const struct rd_kafka_metadata *metadata;
    char why[DOCTOR_TEXT_BYTES], said[DOCTOR_TEXT_BYTES] = "";
    if (!network_dial(doctor->broker, why)) {
        enum doctor_result result = doctor->broker_given ? DOCTOR_FAIL : DOCTOR_OK;
        doctor_say(doctor, "server", result,
                   doctor->broker_given ? "is floe serve running there, and no firewall in between?"
                                        : NULL,
                   "nobody answers at %s: %s", doctor->broker, why);
        return;
    }
    struct cmd quiet = *doctor->cmd;
    static const struct cmd_flag broker = {.name = "--broker", .value = "HOST:PORT"};
    quiet.said = said;
    quiet.said_size = sizeof(said);
    quiet.given[0] = (struct cmd_given){&broker, doctor->broker};
    quiet.given_count = 1;
    struct client client;
    int code = client_open(&client, &quiet, &(struct client_options){.type = RD_KAFKA_CONSUMER});
    code = code == CMD_OK ? client_metadata(&client, NULL, &metadata) : code;
    if (code != CMD_OK) {
        doctor_say(doctor, "server", DOCTOR_FAIL,
                   "does another server hold the port? Look at the log of floe serve",
                   "%s takes connections and does not answer as a Kafka broker", doctor->broker);
    } else {
        doctor_say(doctor, "server", DOCTOR_OK, NULL, "%s answers: %d topics", doctor->broker,
                   metadata->topic_cnt);
        network_told(doctor, metadata);
        rd_kafka_metadata_destroy(metadata);
    }
    client_close(&client);
}

/* --- A client elsewhere. --- */

/* The address of ours that packets to `host` leave from, by the routes: nothing is sent. */
static bool network_route(const char *host, char local[INET6_ADDRSTRLEN],
                          char why[DOCTOR_TEXT_BYTES])
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *list = NULL;
    int code = getaddrinfo(host, "9", &hints, &list);
    if (code != 0) {
        (void)snprintf(why, DOCTOR_TEXT_BYTES, "%s", gai_strerror(code));
        return false;
    }
    struct sockaddr_storage own;
    socklen_t size = sizeof(own);
    int fd = socket(list->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool found = fd >= 0 && connect(fd, list->ai_addr, list->ai_addrlen) == 0 &&
                 getsockname(fd, (struct sockaddr *)&own, &size) == 0 &&
                 getnameinfo((const struct sockaddr *)&own, size, local, INET6_ADDRSTRLEN, NULL, 0,
                             NI_NUMERICHOST) == 0;
    (void)snprintf(why, DOCTOR_TEXT_BYTES, "%s", strerror(errno));
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(list);
    return found;
}

/* Whether a listener takes connections to `local`; `*port` is its port. */
static bool network_listens(const struct doctor *doctor, const char *local, uint16_t *port)
{
    static const uint8_t zero[16];
    for (uint32_t i = 0; i < doctor->settings.listen_count; i++) {
        const struct io_address *address = &doctor->settings.listen[i].address;
        char text[INET6_ADDRSTRLEN] = "";
        (void)inet_ntop(address->family == 6 ? AF_INET6 : AF_INET, address->bytes, text,
                        sizeof(text));
        *port = address->port;
        if (memcmp(address->bytes, zero, address->family == 6 ? 16 : 4) == 0 ||
            strcmp(text, local) == 0) {
            return true;
        }
    }
    return false;
}

/* Would a client on `client` come in, and reach the address that it is told then? */
static void network_from(struct doctor *doctor, const char *client)
{
    char local[INET6_ADDRSTRLEN] = "", why[DOCTOR_TEXT_BYTES], fix[DOCTOR_TEXT_BYTES];
    const char *advertise = config_text(doctor->settings.config, "advertise");
    uint16_t port = 0;
    if (!network_route(client, local, why)) {
        doctor_say(doctor, "client", DOCTOR_FAIL, "check its name, and the routes (ip route)",
                   "%s cannot be reached from here: %s", client, why);
        return;
    }
    if (!network_listens(doctor, local, &port)) {
        (void)snprintf(fix, sizeof(fix),
                       "listen where it comes in: --listen any://%s:%u or any://"
                       "0.0.0.0:%u",
                       local, port, port);
        doctor_say(doctor, "client", DOCTOR_FAIL, fix, "%s comes in by %s, where nothing listens",
                   client, local);
        return;
    }
    char host[NETWORK_HOST_BYTES] = "", told_port[16] = "";
    network_split(advertise, host, told_port);
    if (advertise[0] == '\0') {
        doctor_say(doctor, "client", DOCTOR_OK, NULL,
                   "%s comes in by %s:%u and is told that address", client, local, port);
    } else if (network_is_loopback(host) && !network_is_loopback(local)) {
        (void)snprintf(fix, sizeof(fix), "drop the setting advertise, or set advertise=%s:%u",
                       local, port);
        doctor_say(doctor, "client", DOCTOR_FAIL, fix,
                   "%s is told %s, which is itself: the first connection works, no other", client,
                   advertise);
    } else {
        (void)snprintf(fix, sizeof(fix), "floe doctor -b %s:%u, run on %s, dials it", local, port,
                       client);
        doctor_say(doctor, "client", DOCTOR_OK, fix, "%s comes in by %s:%u and is told %s", client,
                   local, port, advertise);
    }
}

void doctor_check_network(struct doctor *doctor)
{
    const char *client = cmd_value(doctor->cmd, "--from-client");
    const char *broker = cmd_value(doctor->cmd, "--broker");
    char reach[IO_ADDRESS_TEXT_BYTES] = "localhost:9092";
    if (doctor->planned) {
        network_listen(doctor);
        network_reach(&doctor->settings.listen[0].address, reach);
    }
    doctor->broker_given = broker != NULL;
    (void)snprintf(doctor->broker, sizeof(doctor->broker), "%s", broker != NULL ? broker : reach);
    network_server(doctor);
    if (client != NULL && doctor->planned) {
        network_from(doctor, client);
    }
}
