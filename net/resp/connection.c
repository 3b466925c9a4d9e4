/* Commands about the connection and the server. */
#include "core/assert.h"
#include "net/resp/multi.h"
#include "net/resp/stats.h"
#include "net/resp/text.h"

#include <inttypes.h>
#include <stdio.h>

static bool name_is_sound(struct bytes name)
{
    for (uint32_t i = 0; i < name.size; i++) {
        if (name.data[i] < '!' || name.data[i] > '~') {
            return false;
        }
    }
    return name.size < RESP_NAME_BYTES;
}

static void fail_name(struct resp_op *op, const char *what)
{
    resp_fail(op,
              "ERR %s cannot contain spaces, newlines or special characters, nor be longer than %d",
              what, RESP_NAME_BYTES - 1);
}

/* --- HELLO, AUTH. --- */

static void encode_hello(struct resp_op *op, struct resp_writer *writer)
{
    resp_write_map(writer, 7);
    resp_write_text(writer, "server");
    resp_write_text(writer, "floe");
    resp_write_text(writer, "version");
    resp_write_text(writer, RESP_REDIS_VERSION);
    resp_write_text(writer, "proto");
    resp_write_integer(writer, op->protocol);
    resp_write_text(writer, "id");
    resp_write_integer(writer, (int64_t)op->client->id);
    resp_write_text(writer, "mode");
    resp_write_text(writer, "standalone");
    resp_write_text(writer, "role");
    resp_write_text(writer, "master");
    resp_write_text(writer, "modules");
    resp_write_array(writer, 0);
}

static void fail_auth(struct resp_op *op)
{
    resp_fail(op,
              "ERR AUTH <password> called without any password configured for the default user: "
              "this version of floe has no users; leave the password out");
}

void resp_hello(struct resp_op *op)
{
    uint64_t protocol = op->protocol;
    struct bytes name = {0};
    if (op->count > 1 &&
        (!resp_parse_u64(op->arguments[1], &protocol) || protocol < 2 || protocol > 3)) {
        resp_fail(op, "NOPROTO unsupported protocol version");
        return;
    }
    for (uint32_t i = 2; i < op->count; i++) {
        if (resp_argument_is(op, i, "AUTH") && i + 2 < op->count) {
            fail_auth(op);
            return;
        }
        if (!resp_argument_is(op, i, "SETNAME") || i + 1 >= op->count) {
            resp_fail(op, "ERR Syntax error in HELLO option '%.*s'",
                      (int)min_u32(op->arguments[i].size, 64),
                      op->arguments[i].size == 0 ? "" : (const char *)op->arguments[i].data);
            return;
        }
        name = op->arguments[++i];
    }
    if (!name_is_sound(name)) {
        fail_name(op, "Client names");
        return;
    }
    if (name.data != NULL) {
        resp_copy_word(op->client->name, name);
    }
    op->protocol = (uint8_t)protocol;
    op->client->protocol = (uint8_t)protocol;
    resp_answer(op, encode_hello);
}

void resp_auth(struct resp_op *op)
{
    if (op->count > 3) {
        resp_fail_syntax(op);
        return;
    }
    fail_auth(op);
}

/* --- The simple ones. --- */

static void encode_pong(struct resp_op *op, struct resp_writer *writer)
{
    (void)op;
    resp_write_simple(writer, "PONG");
}

static void encode_second(struct resp_op *op, struct resp_writer *writer)
{
    resp_write_bulk(writer, op->arguments[1]);
}

void resp_ping(struct resp_op *op)
{
    if (op->count > 2) {
        resp_fail_arity(op);
        return;
    }
    resp_answer(op, op->count == 2 ? encode_second : encode_pong);
}

void resp_echo(struct resp_op *op)
{
    resp_answer(op, encode_second);
}

void resp_select(struct resp_op *op)
{
    int64_t number;
    if (!resp_parse_i64(op->arguments[1], &number)) {
        resp_fail_integer(op);
    } else if (number != 0) {
        resp_fail(op, "ERR DB index is out of range: floe has one, 0");
    } else {
        resp_answer_ok(op);
    }
}

void resp_quit(struct resp_op *op)
{
    op->call->last = true;
    resp_answer_ok(op);
}

static void encode_reset(struct resp_op *op, struct resp_writer *writer)
{
    (void)op;
    resp_write_simple(writer, "RESET");
}

void resp_reset(struct resp_op *op)
{
    struct resp_client *client = op->client;
    multi_forget(op->net, client);
    client->protocol = 2;
    client->silent = false;
    client->skip = 0;
    client->name[0] = 0;
    op->protocol = 2;
    op->silent = false;
    resp_answer(op, encode_reset);
}

static void encode_time(struct resp_op *op, struct resp_writer *writer)
{
    char text[24];
    uint64_t ms = (uint64_t)op->integer;
    resp_write_array(writer, 2);
    (void)snprintf(text, sizeof(text), "%" PRIu64, ms / 1000);
    resp_write_text(writer, text);
    (void)snprintf(text, sizeof(text), "%" PRIu64, ms % 1000 * 1000);
    resp_write_text(writer, text);
}

void resp_time(struct resp_op *op)
{
    op->integer = (int64_t)op->net->reactor->now_ms;
    resp_answer(op, encode_time);
}

/* Test harnesses of Redis's clients begin with FUNCTION FLUSH. */
void resp_function(struct resp_op *op)
{
    if (resp_argument_is(op, 1, "FLUSH")) {
        resp_answer_ok(op);
        return;
    }
    resp_fail(op, "ERR scripting is not supported");
}

/* --- CLIENT. --- */

static void client_line(struct resp_op *op, struct resp_text *info)
{
    const struct resp_client *client = op->client;
    char peer[IO_ADDRESS_TEXT_BYTES];
    char local[IO_ADDRESS_TEXT_BYTES];
    uint64_t age = (op->net->reactor->now_ns - client->opened_ns) / NS_PER_S;
    resp_text_add(info,
                  "id=%" PRIu64 " addr=%s laddr=%s fd=%d name=%s age=%" PRIu64
                  " idle=0 flags=N db=0 sub=0 psub=0 multi=%d cmd=%s user=default redir=-1 resp=%u "
                  "lib-name=%s lib-ver=%s tot-cmds=%" PRIu64 "\n",
                  client->id, io_address_text(&op->call->conn->peer, peer),
                  io_address_text(&op->call->conn->local, local), op->call->conn->fd, client->name,
                  age, multi_count(client), client->last, client->protocol, client->library,
                  client->version, client->commands);
}

static void encode_client_line(struct resp_op *op, struct resp_writer *writer)
{
    struct resp_text info = {.text = op->state, .size = RESP_LINE_BYTES};
    client_line(op, &info);
    resp_write_verbatim(writer, bytes_of(info.text, info.used));
}

static void client_reply(struct resp_op *op)
{
    struct resp_client *client = op->client;
    if (resp_argument_is(op, 2, "ON")) {
        client->silent = false;
        op->silent = false;
        resp_answer_ok(op);
    } else if (resp_argument_is(op, 2, "OFF")) {
        client->silent = true;
        op->silent = true;
        resp_answer_ok(op);
    } else if (resp_argument_is(op, 2, "SKIP")) {
        client->skip = client->silent ? 0 : 1;
        op->silent = true;
        resp_answer_ok(op);
    } else {
        resp_fail_syntax(op);
    }
}

static void client_set_info(struct resp_op *op)
{
    bool library = resp_argument_is(op, 2, "LIB-NAME");
    if (!library && !resp_argument_is(op, 2, "LIB-VER")) {
        resp_fail(op, "ERR Unrecognized option '%.*s'", (int)min_u32(op->arguments[2].size, 64),
                  op->arguments[2].size == 0 ? "" : (const char *)op->arguments[2].data);
    } else if (!name_is_sound(op->arguments[3])) {
        fail_name(op, library ? "lib-name" : "lib-ver");
    } else {
        resp_copy_word(library ? op->client->library : op->client->version, op->arguments[3]);
        resp_answer_ok(op);
    }
}

static void client_set_name(struct resp_op *op)
{
    if (!name_is_sound(op->arguments[2])) {
        fail_name(op, "Client names");
        return;
    }
    resp_copy_word(op->client->name, op->arguments[2]);
    resp_answer_ok(op);
}

static void client_get_name(struct resp_op *op)
{
    if (op->client->name[0] == 0) {
        resp_answer_null(op);
        return;
    }
    resp_answer_text(op, op->client->name);
}

static void client_id(struct resp_op *op)
{
    resp_answer_integer(op, (int64_t)op->client->id);
}

/* INFO; LIST, which knows of this connection alone. */
static void client_info(struct resp_op *op)
{
    resp_answer(op, encode_client_line);
}

static void encode_help(struct resp_op *op, struct resp_writer *writer)
{
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GETNAME | SETNAME <name>",
        "ID | INFO | LIST: of this connection",
        "REPLY (ON|OFF|SKIP)",
        "SETINFO <LIB-NAME|LIB-VER> <value>",
        "MAINT_NOTIFICATIONS, NO-EVICT, NO-TOUCH: accepted, without effect",
    };
    (void)op;
    resp_write_array(writer, ARRAY_COUNT(lines));
    for (uint32_t i = 0; i < ARRAY_COUNT(lines); i++) {
        resp_write_simple(writer, lines[i]);
    }
}

static void client_help(struct resp_op *op)
{
    resp_answer(op, encode_help);
}

void resp_client_command(struct resp_op *op)
{
    static const struct {
        const char *name;
        uint32_t count_min, count_max;
        void (*start)(struct resp_op *op);
    } table[] = {
        {"ID", 2, 2, client_id},
        {"INFO", 2, 2, client_info},
        {"LIST", 2, UINT32_MAX, client_info},
        {"SETNAME", 3, 3, client_set_name},
        {"GETNAME", 2, 2, client_get_name},
        {"SETINFO", 4, 4, client_set_info},
        {"REPLY", 3, 3, client_reply},
        {"NO-EVICT", 3, 3, resp_answer_ok},
        {"NO-TOUCH", 3, 3, resp_answer_ok},
        {"MAINT_NOTIFICATIONS", 3, UINT32_MAX, resp_answer_ok},
        {"HELP", 2, 2, client_help},
    };

    for (uint32_t i = 0; i < ARRAY_COUNT(table); i++) {
        if (!resp_argument_is(op, 1, table[i].name)) {
            continue;
        }
        if (op->count < table[i].count_min || op->count > table[i].count_max) {
            resp_fail_subcommand_arity(op);
        } else {
            table[i].start(op);
        }
        return;
    }
    resp_fail_subcommand(op);
}

/* --- CONFIG. --- */

/* What tools ask for. Only the first can be set. */
static const struct {
    const char *name, *value;
} config_table[] = {
    {"stream-node-max-entries", NULL},
    {"appendonly", "yes"},
    {"save", ""},
    {"maxmemory", "0"},
    {"databases", "1"},
    {"timeout", "600"},
    {"proto-max-bulk-len", "67108864"},
};

static bool config_is_asked(const struct resp_op *op, uint32_t index)
{
    for (uint32_t i = 2; i < op->count; i++) {
        if (resp_matches(op->arguments[i], bytes_text(config_table[index].name))) {
            return true;
        }
    }
    return false;
}

static void encode_config(struct resp_op *op, struct resp_writer *writer)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < ARRAY_COUNT(config_table); i++) {
        count += config_is_asked(op, i) ? 1 : 0;
    }
    resp_write_map(writer, count);
    for (uint32_t i = 0; i < ARRAY_COUNT(config_table); i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%u", op->net->resp.node_entries);
        if (config_is_asked(op, i)) {
            resp_write_text(writer, config_table[i].name);
            resp_write_text(writer, config_table[i].value == NULL ? text : config_table[i].value);
        }
    }
}

static void config_change(struct resp_op *op)
{
    uint64_t value;
    if (op->count != 4 || !resp_argument_is(op, 2, config_table[0].name)) {
        resp_fail(op, "ERR CONFIG SET of this is not supported; see: floe config show");
    } else if (!resp_parse_u64(op->arguments[3], &value) || value > UINT32_MAX) {
        resp_fail(op,
                  "ERR CONFIG SET failed (possibly related to argument '%s') - argument must be "
                  "between 0 and 4294967295 inclusive",
                  config_table[0].name);
    } else {
        struct resp_round *round = op->state;
        round->node_entries = (uint32_t)value;
        resp_round_start(op, round, RESP_ROUND_NODE_ENTRIES, resp_answer_ok);
    }
}

void resp_config(struct resp_op *op)
{
    if (resp_argument_is(op, 1, "GET") && op->count > 2) {
        resp_answer(op, encode_config);
    } else if (resp_argument_is(op, 1, "SET") && op->count > 3) {
        config_change(op);
    } else if (resp_argument_is(op, 1, "RESETSTAT") && op->count == 2) {
        resp_round_start(op, op->state, RESP_ROUND_RESET, resp_answer_ok);
    } else if (resp_argument_is(op, 1, "GET") || resp_argument_is(op, 1, "SET")) {
        resp_fail_subcommand_arity(op);
    } else {
        resp_fail_subcommand(op);
    }
}
