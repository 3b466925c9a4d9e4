/* INFO: what tools of Redis look for, added up over the cores. */
#include "core/assert.h"
#include "net/conn.h"
#include "net/resp/resp.h"
#include "net/resp/stats.h"
#include "net/resp/text.h"
#include "net/server.h"

#include <inttypes.h>
#include <unistd.h>

enum {
    INFO_COMMAND_BYTES = 160, /* A line of commandstats, */
    INFO_ERROR_BYTES = 64,    /* and of errorstats. */
    INFO_TEXT_BYTES =
        2048 + RESP_COMMANDS_MAX * INFO_COMMAND_BYTES + RESP_ERROR_WORDS_MAX * INFO_ERROR_BYTES,
};

struct info_state {
    struct resp_round round;
    char text[INFO_TEXT_BYTES];
};

_Static_assert(sizeof(struct info_state) <= RESP_INFO_BYTES, "the command table's");

static bool info_is_asked(const struct resp_op *op, const char *section)
{
    for (uint32_t i = 1; i < op->count; i++) {
        if (resp_argument_is(op, i, section) || resp_argument_is(op, i, "all") ||
            resp_argument_is(op, i, "everything")) {
            return true;
        }
    }
    return false;
}

static bool info_wants(const struct resp_op *op, const char *section)
{
    return op->count == 1 || info_is_asked(op, section) || info_is_asked(op, "default");
}

static void info_server(const struct resp_op *op, struct resp_text *info)
{
    const struct net *net = op->net;
    resp_text_add(info,
                  "# Server\r\nredis_version:" RESP_REDIS_VERSION "\r\nserver_name:floe\r\n"
                  "floe_version:" FLOE_VERSION "\r\nredis_mode:standalone\r\nos:Linux\r\n"
                  "arch_bits:64\r\nprocess_id:%d\r\ntcp_port:%u\r\nfloe_node:%u\r\n"
                  "floe_core:%u\r\nfloe_cores:%u\r\n\r\n",
                  (int)getpid(), op->call->conn->local.port, net->options.node_id,
                  net->options.core_index, net->options.core_count);
}

static void info_stats(const struct resp_op *op, struct resp_text *info)
{
    const struct info_state *state = op->state;
    const struct resp_round *all = &state->round;
    if (info_wants(op, "clients")) {
        resp_text_add(info,
                      "# Clients\r\nconnected_clients:%" PRIu64 "\r\nblocked_clients:%" PRIu64
                      "\r\ntotal_blocking_keys:%" PRIu64 "\r\ntotal_blocking_keys_on_nokey:%" PRIu64
                      "\r\n\r\n",
                      all->clients, all->blocked, all->blocking_keys, all->blocking_nokey);
    }
    if (info_wants(op, "memory")) {
        resp_text_add(
            info, "# Memory\r\nused_memory:%" PRIu64 "\r\nused_memory_human:%" PRIu64 "K\r\n\r\n",
            all->used_bytes, all->used_bytes >> 10);
    }
    if (info_wants(op, "persistence")) {
        resp_text_add(info, "# Persistence\r\nloading:0\r\naof_enabled:1\r\n\r\n");
    }
    if (info_wants(op, "stats")) {
        resp_text_add(
            info,
            "# Stats\r\ntotal_connections_received:%" PRIu64 "\r\ntotal_commands_processed:%" PRIu64
            "\r\ntotal_error_replies:%" PRIu64 "\r\ntotal_net_input_bytes:%" PRIu64
            "\r\ntotal_net_output_bytes:%" PRIu64 "\r\n\r\n",
            all->accepted, all->stats.commands, all->stats.errors, all->received, all->sent);
    }
    if (info_wants(op, "replication")) {
        resp_text_add(info, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n");
    }
}

static void info_commands(const struct resp_stats *all, struct resp_text *info)
{
    uint32_t count;
    const struct resp_command *commands = resp_commands(&count);
    resp_text_add(info, "# Commandstats\r\n");
    for (uint32_t i = 0; i < count; i++) {
        const struct resp_command_stats *of = &all->of[i];
        if (of->calls == 0 && of->rejected == 0) {
            continue;
        }
        double each = of->calls == 0 ? 0 : (double)of->usec / (double)of->calls;
        resp_text_add(info,
                      "cmdstat_%s:calls=%" PRIu64 ",usec=%" PRIu64
                      ",usec_per_call=%.2f,rejected_calls=%" PRIu64 ",failed_calls=%" PRIu64 "\r\n",
                      commands[i].name, of->calls, of->usec, each, of->rejected, of->failed);
    }
    resp_text_add(info, "\r\n");
}

static void info_errors(const struct resp_stats *all, struct resp_text *info)
{
    resp_text_add(info, "# Errorstats\r\n");
    for (uint32_t i = 0; i < all->word_count; i++) {
        resp_text_add(info, "errorstat_%s:count=%" PRIu64 "\r\n", all->words[i].word,
                      all->words[i].count);
    }
    resp_text_add(info, "\r\n");
}

static void info_keyspace(const struct resp_op *op, struct resp_text *info)
{
    struct resp_keys keys = {0};
    uint32_t count = 0;
    while (resp_keys_next(resp_map(op), &keys)) {
        count++;
    }
    resp_text_add(info, "# Keyspace\r\n");
    if (count > 0) {
        resp_text_add(info, "db0:keys=%u,expires=0,avg_ttl=0\r\n", count);
    }
}

static void encode_info(struct resp_op *op, struct resp_writer *writer)
{
    struct info_state *state = op->state;
    struct resp_text info = {.text = state->text, .size = INFO_TEXT_BYTES};
    if (info_wants(op, "server")) {
        info_server(op, &info);
    }
    info_stats(op, &info);
    if (info_is_asked(op, "commandstats")) {
        info_commands(&state->round.stats, &info);
    }
    if (info_wants(op, "errorstats")) {
        info_errors(&state->round.stats, &info);
    }
    if (info_wants(op, "cluster")) {
        resp_text_add(&info, "# Cluster\r\ncluster_enabled:0\r\n\r\n");
    }
    if (info_wants(op, "keyspace")) {
        info_keyspace(op, &info);
    }
    resp_write_verbatim(writer, bytes_of(info.text, info.used));
}

static void info_added_up(struct resp_op *op)
{
    resp_answer(op, encode_info);
}

void resp_info(struct resp_op *op)
{
    struct info_state *state = op->state;
    resp_round_start(op, &state->round, RESP_ROUND_SUM, info_added_up);
}
