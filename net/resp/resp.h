/* The RESP protocol: what its commands share. A call of a connection is one command:
 *
 *     frame -> arguments -> command table -> start() ... resp_answer() | resp_fail() | resp_send()
 *
 * Commands of a connection run one after the other where it can be told: whoever looks at data
 * waits until every reply before it has left (ERR_BUSY), but plain XADDs, which stay in order by
 * themselves, run together. */
#pragma once

#include "net/resp/parse.h"
#include "net/resp/run.h"
#include "net/resp/write.h"
#include "net/route.h"

/* The level that clients are told: what they look for in it is there. */
#define RESP_REDIS_VERSION "7.2.4"

enum {
    RESP_NAME_BYTES = 64, /* Of what a client calls itself and its library. */
    RESP_PIECES = 64,     /* Frames of one read. */
    RESP_SCAN_COUNT = 10, /* Keys of one SCAN. */
};

struct resp_transaction;

/* A connection, at conn->session. */
struct resp_client {
    uint64_t id;
    uint64_t opened_ns;
    uint8_t protocol;   /* 2 or 3. */
    bool silent;        /* CLIENT REPLY OFF. */
    uint8_t skip;       /* CLIENT REPLY SKIP: of so many commands. */
    uint32_t exclusive; /* Commands under way that look at data, but plain XADDs. */
    uint64_t commands;
    struct resp_transaction *transaction; /* From WATCH or MULTI on; see multi.h. */
    bool multi_refused; /* MULTI was: what comes up to EXEC is put aside, and refused then. */
    bool watch_refused; /* WATCH was: the next EXEC will be, too. */
    char name[RESP_NAME_BYTES], library[RESP_NAME_BYTES], version[RESP_NAME_BYTES];
    char last[RESP_NAME_BYTES]; /* The newest command. */
};

enum resp_flag {
    RESP_WRITE = 1 << 0,
    RESP_READONLY = 1 << 1,
    RESP_FAST = 1 << 2,
    RESP_BLOCKING = 1 << 3,
    RESP_ADMIN = 1 << 4,
    RESP_STALE = 1 << 5,
    RESP_DENYOOM = 1 << 6,
    RESP_APPEND = 1 << 8, /* Runs beside others of its kind. */
    RESP_DATA = 1 << 9,   /* Looks at data: in order. */
};

/* State of commands: what the table of them gives. */
enum {
    RESP_SMALL_BYTES = 128,
    RESP_LINE_BYTES = 1024,   /* A text of a line. */
    RESP_ROUND_BYTES = 5000,  /* A round of the cores, */
    RESP_INFO_BYTES = 25000,  /* and what it has found out. */
    RESP_CHANGE_BYTES = 3500, /* With a change of the map. */
    RESP_ADD_BYTES = 4500,
    RESP_ADD_ZEROED_BYTES = 900, /* What is behind them a plain XADD never touches. */
    RESP_READ_BYTES = 5500,
    RESP_READ_KEY_BYTES = 320,
    RESP_GET_BYTES = 2000,
    RESP_GROUP_BYTES = 4200,  /* About groups: that read no entries, */
    RESP_CLAIM_BYTES = 8000,  /* that read some, */
    RESP_READER_BYTES = 6700, /* and that read what is new. */
    RESP_READER_KEY_BYTES = 920,
    RESP_WATCH_BYTES = 400,
    RESP_EXEC_BYTES = 6500,
    RESP_DELETE_BYTES = 2000,
};

struct resp_op;

typedef void resp_start_fn(struct resp_op *op);

struct resp_command {
    const char *name; /* Lower case. */
    resp_start_fn *start;
    uint32_t state_bytes, argument_bytes; /* Of op->state: see resp_state_bytes(). */
    int8_t arity;                         /* < 0: at least; the name counts. */
    uint16_t flags;
    uint8_t key_first, key_step;
    int8_t key_last; /* < 0: the last argument. */
    const char *group, *since, *summary;
};

/* In order of name. */
const struct resp_command *resp_commands(uint32_t *count);
const struct resp_command *resp_find_command(struct bytes name);

/* What op->state of the command takes with `count` arguments: so many bytes, and so many for each
 * argument that is a key or an ID. The shortest form has two of these. */
uint64_t resp_state_bytes(const struct resp_command *command, uint32_t count);

/* The keys of a command, one after the other from *at = 0; false: no more. */
bool resp_next_key(const struct resp_command *command, const struct bytes *arguments,
                   uint32_t count, uint32_t *at, uint32_t *index);

typedef void resp_encode_fn(struct resp_op *op, struct resp_writer *writer);
typedef void resp_done_fn(struct resp_op *op, enum err err);

struct resp_op {
    struct call *call;
    struct net *net;
    struct resp_client *client;
    const struct resp_command *command;
    const struct bytes *arguments; /* The name is the first. */
    uint32_t count;
    uint32_t commands;   /* As many answers: more than one if it is a run, see run.h. */
    uint32_t run_head;   /* run->head_bytes then; `arguments` are the first command's. */
    uint32_t unanswered; /* CLIENT REPLY SKIP: so many of the first get none. */
    uint8_t protocol;
    bool silent;
    bool counted_exclusive;
    bool counted; /* It began as a call, at `begun_ns`, */
    bool failed;  /* and is answered by an error. */
    uint64_t begun_ns;
    resp_encode_fn *encode;
    int64_t integer;  /* What resp_answer_integer() answers, */
    const char *text; /* and resp_answer_text(). */
    void *state;      /* command->state_bytes and more, zeroed; see RESP_ADD_ZEROED_BYTES. */
    void (*cancel)(struct resp_op *op);
    void (*sent)(struct resp_op *op); /* Gives back what the reply held. */
    struct resp_proposal *proposal;   /* In the state; for resp_create() and resp_delete(). */
    resp_done_fn *proposed;
    struct resp_op *exec; /* The EXEC that this one runs within, or NULL. */
    char error[RESP_ERROR_BYTES];
};

/* Takes call->frame apart, into an op of the call's arena: ERR_NO_MEMORY, ERR_TOO_LARGE as
 * call_arena(); OK and NULL: a line whose quotes do not match. */
NODISCARD enum err resp_take_apart(struct call *call, struct resp_op **op);

/* Begins the command, which is there and has as many arguments as it wants. */
void resp_run(struct resp_op *op);

/* From op->sent: the command is over. */
void resp_over(struct resp_op *op);

/* Encodes and replies; waits for memory if it must. */
void resp_answer(struct resp_op *op, resp_encode_fn *encode);
void resp_answer_ok(struct resp_op *op);
void resp_answer_integer(struct resp_op *op, int64_t value);
void resp_answer_text(struct resp_op *op, const char *text); /* Static: as bulk. */
void resp_answer_null(struct resp_op *op);
void resp_answer_null_array(struct resp_op *op);

/* The vectors of the call are the reply. */
void resp_send(struct resp_op *op);

/* "-" and the sentence, which begins with its prefix. */
void resp_fail(struct resp_op *op, const char *format, ...) __attribute__((format(printf, 2, 3)));
void resp_fail_err(struct resp_op *op, enum err err); /* Of the log or the map. */
void resp_explain(struct resp_op *op, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* op->error. */
void resp_explain_err(struct resp_op *op, enum err err);
void resp_explain_append(struct resp_op *op, enum err err); /* Of entries with `*`. */
void resp_fail_told(struct resp_op *op);                    /* What op->error says. */
void resp_fail_syntax(struct resp_op *op);
void resp_fail_integer(struct resp_op *op);
void resp_fail_arity(struct resp_op *op);
void resp_fail_subcommand(struct resp_op *op);       /* It has none of this name, */
void resp_fail_subcommand_arity(struct resp_op *op); /* or not with so many arguments. */

/* As a C string in RESP_NAME_BYTES, cut off if it must be. */
void resp_copy_word(char *to, struct bytes from);

/* Whether an argument is this word. */
bool resp_argument_is(const struct resp_op *op, uint32_t index, const char *word);

/* --- Topics. --- */

/* A change of the map on its way. */
struct resp_proposal {
    struct proposal proposal;
    struct resp_op *op;
    uint8_t name[TOPIC_NAME_BYTES_MAX];
};

/* The partition that the key stands for. OK; ERR_TOPIC_UNKNOWN: nobody has made it; ERR_INVALID: it
 * can be none, which op->error explains. */
NODISCARD enum err resp_find_key(struct resp_op *op, struct bytes key, struct partition_id *id);

/* The same for commands that count: false: it is answered, by 0 where the stream is not there. */
NODISCARD bool resp_find_or_zero(struct resp_op *op, struct bytes key, struct partition_id *id);

/* How large a batch of entries may be that were sent as commands of their own (run.h); 0: each goes
 * alone, because the topic is not there, or one entry could be refused and not the others. */
uint32_t resp_run_bytes(const struct net *net, struct bytes key);

/* This core's; its pointers are valid until control returns to the reactor. */
const struct map *resp_map(const struct resp_op *op);

/* The keys of the map, one after the other from 0; false: no more. `key` has room for
 * RESP_KEY_BYTES. */
enum { RESP_KEY_BYTES = 264 };

struct resp_keys {
    uint32_t topic, partition;
    uint8_t room[RESP_KEY_BYTES];
    struct bytes key;
};

bool resp_keys_next(const struct map *map, struct resp_keys *keys);

/* Begins to make the topic of a key; op->proposal is set. Where the setting does not allow that, or
 * the key none, op->error says so: ERR_DENIED. Somebody else may have been faster: that is OK.
 *
 * asked  the client asked for it in so many words: whatever the setting says */
NODISCARD enum err resp_create(struct resp_op *op, struct bytes key, uint32_t partitions,
                               bool asked, resp_done_fn *done);
void resp_delete(struct resp_op *op, const struct topic_id *id, resp_done_fn *done);

/* Lends a request, whose partition is set, and what its kind wants. */
void resp_submit(struct resp_op *op, struct request *request, enum request_kind kind,
                 completion_fn *done);

/* --- The commands. --- */

void resp_hello(struct resp_op *op);
void resp_auth(struct resp_op *op);
void resp_ping(struct resp_op *op);
void resp_echo(struct resp_op *op);
void resp_select(struct resp_op *op);
void resp_quit(struct resp_op *op);
void resp_reset(struct resp_op *op);
void resp_time(struct resp_op *op);
void resp_info(struct resp_op *op);
void resp_client_command(struct resp_op *op);
void resp_config(struct resp_op *op);
void resp_command(struct resp_op *op);
void resp_function(struct resp_op *op);
void resp_ttl(struct resp_op *op);

void resp_multi(struct resp_op *op);
void resp_exec(struct resp_op *op);
void resp_discard(struct resp_op *op);
void resp_watch(struct resp_op *op);
void resp_unwatch(struct resp_op *op);

void resp_dbsize(struct resp_op *op);
void resp_exists(struct resp_op *op);
void resp_type(struct resp_op *op);
void resp_keys_command(struct resp_op *op);
void resp_scan_command(struct resp_op *op);
void resp_del(struct resp_op *op);
void resp_flush(struct resp_op *op);

void resp_xadd(struct resp_op *op);
bool resp_add_is_plain(struct resp_op *op); /* An XADD that changes nothing but the stream's end. */
/* What its arena has for the batch. */
uint64_t resp_add_room(struct bytes frame, uint32_t count, uint32_t commands);
void resp_xlen(struct resp_op *op);
void resp_xtrim(struct resp_op *op);
void resp_xdel(struct resp_op *op);
void resp_xsetid(struct resp_op *op);
void resp_xinfo(struct resp_op *op);
void resp_xrange(struct resp_op *op);
void resp_xread(struct resp_op *op);

void resp_xgroup(struct resp_op *op);
void resp_xreadgroup(struct resp_op *op);
void resp_xack(struct resp_op *op);
void resp_xpending(struct resp_op *op);
void resp_xclaim(struct resp_op *op);
void resp_xautoclaim(struct resp_op *op);

void resp_register(struct resp_op *op);
void resp_put(struct resp_op *op);
void resp_get(struct resp_op *op);
void resp_state(struct resp_op *op);
void resp_metrics(struct resp_op *op);

/* What a command is told that is none; false: nothing is known of it. */
bool resp_refusal(struct bytes name, char *text);
