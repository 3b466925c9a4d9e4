/* See the header. */
#include "net/resp/stats.h"

#include "core/assert.h"
#include "net/resp/resp.h"
#include "net/server.h"

#include <string.h>

/* --- Counting. --- */

static struct resp_command_stats *stats_of(struct net *net, const struct resp_command *command)
{
    uint32_t count;
    uint64_t index = (uint64_t)(command - resp_commands(&count));
    ASSERT(count <= RESP_COMMANDS_MAX && index < count);
    return &net->resp.stats.of[index];
}

void resp_count_begin(struct resp_op *op)
{
    op->begun_ns = op->net->reactor->now_ns;
    op->counted = true;
}

void resp_count_rejected(struct resp_op *op)
{
    stats_of(op->net, op->command)->rejected++;
}

static uint64_t usec_since(const struct resp_op *op)
{
    return (op->net->reactor->now_ns - op->begun_ns) / 1000;
}

void resp_count_end(struct resp_op *op)
{
    if (!op->counted) {
        return;
    }
    struct resp_command_stats *stats = stats_of(op->net, op->command);
    op->counted = false;
    stats->calls += op->commands;
    stats->usec += usec_since(op);
    stats->failed += op->failed ? op->commands : 0;
}

void resp_count_run(struct resp_op *op, const char *name, uint32_t count, bool failed)
{
    struct resp_command_stats *stats = stats_of(op->net, resp_find_command(bytes_text(name)));
    stats->calls += count;
    stats->usec += usec_since(op);
    stats->failed += failed ? count : 0;
    op->net->resp.stats.commands += count;
}

static void count_word(struct resp_stats *stats, const char *word, uint32_t size, uint64_t count)
{
    uint32_t i = 0;
    size = min_u32(size, RESP_ERROR_WORD_BYTES - 1);
    while (i < stats->word_count &&
           (memcmp(stats->words[i].word, word, size) != 0 || stats->words[i].word[size] != 0)) {
        i++;
    }
    if (i == RESP_ERROR_WORDS_MAX) {
        return;
    }
    if (i == stats->word_count) {
        stats->words[i] = (struct resp_error_stats){.count = 0};
        memcpy(stats->words[i].word, word, size);
        stats->word_count++;
    }
    stats->words[i].count += count;
}

void resp_count_error(struct resp_stats *stats, const char *text, uint32_t count)
{
    stats->errors += count;
    count_word(stats, text, (uint32_t)strcspn(text, " "), count);
}

/* --- Rounds. --- */

static void round_add(struct resp_round *round, const struct net *net)
{
    const struct resp_stats *from = &net->resp.stats;
    const uint64_t *counters = net->reactor->stats.counters;
    struct memory_stats memory;
    memory_stats(net->reactor->memory, &memory);
    for (uint32_t i = 0; i < ARRAY_COUNT(memory.used_bytes); i++) {
        round->used_bytes += memory.used_bytes[i];
    }
    round->clients += net->conn_count;
    round->blocked += net->resp.blocked;
    round->blocking_keys += net->resp.blocking_keys;
    round->blocking_nokey += net->resp.blocking_nokey;
    round->accepted += counters[STAT_CONNECTIONS_ACCEPTED];
    round->received += counters[STAT_RECV_BYTES];
    round->sent += counters[STAT_SEND_BYTES];
    round->stats.commands += from->commands;
    round->stats.errors += from->errors;
    for (uint32_t i = 0; i < RESP_COMMANDS_MAX; i++) {
        round->stats.of[i].calls += from->of[i].calls;
        round->stats.of[i].usec += from->of[i].usec;
        round->stats.of[i].rejected += from->of[i].rejected;
        round->stats.of[i].failed += from->of[i].failed;
    }
    for (uint32_t i = 0; i < from->word_count; i++) {
        const char *word = from->words[i].word;
        count_word(&round->stats, word, (uint32_t)strlen(word), from->words[i].count);
    }
}

static void round_visit(struct resp_round *round, struct net *net)
{
    switch (round->kind) {
    case RESP_ROUND_SUM:
        round_add(round, net);
        return;
    case RESP_ROUND_RESET:
        net->resp.stats = (struct resp_stats){0};
        return;
    case RESP_ROUND_NODE_ENTRIES:
        net->resp.node_entries = round->node_entries;
        return;
    }
    UNREACHABLE();
}

static void round_home(struct reactor *reactor, const struct mail *mail)
{
    struct resp_round *round = mail->object;
    ASSERT(round->op->net->reactor == reactor);
    round->done(round->op);
}

/* Cores that serve nobody any more have nothing to add. */
static void round_arrived(struct reactor *reactor, const struct mail *mail)
{
    struct resp_round *round = mail->object;
    struct net *net = reactor->owner[REACTOR_NET];
    struct reactor *home = round->op->net->reactor;
    if (net != NULL) {
        round_visit(round, net);
    }
    round->next++;
    bool over = round->next == home->peer_count;
    round->mail.fn = over ? round_home : round_arrived;
    mail_send(reactor, over ? home : home->peers[round->next], &round->mail);
}

void resp_round_start(struct resp_op *op, struct resp_round *round, enum resp_round_kind kind,
                      void (*done)(struct resp_op *op))
{
    struct reactor *reactor = op->net->reactor;
    round->op = op;
    round->kind = kind;
    round->done = done;
    round->next = 0;
    round->mail = (struct mail){.fn = round_arrived, .object = round};
    mail_send(reactor, reactor->peers[0], &round->mail);
}
