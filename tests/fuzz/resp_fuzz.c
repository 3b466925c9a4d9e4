/* Whatever a client sends as RESP, in whatever pieces: it is answered or refused, answers are whole
 * replies of RESP2 or RESP3, and everything that was lent is home at the end.
 *
 * The door is fuzz_net.h's. The first byte chooses how:
 *
 *     1  the rest is commands, a line each, words with blanks between: they are sent as arrays, and
 *        a byte from 128 on is a word of the table below. Without the flag the rest is the stream
 *  4-128 see there */
#include "core/assert.h"
#include "net/resp/resp.h"
#include "net/resp/trim.h"
#include "tests/fuzz/fuzz_net.h"

#include <stdio.h>
#include <string.h>

enum {
    FUZZ_INPUT_BYTES_MAX = 512,
    FUZZ_WORDS_MAX = 32,
    FUZZ_WORD_BYTES = 64,
    FUZZ_LINE_BYTES = 32,
};

enum fuzz_flag {
    FUZZ_ARRAYS = 1,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const fuzz_words[] = {
    "XADD",
    "XRANGE",
    "XREVRANGE",
    "XREAD",
    "XTRIM",
    "XLEN",
    "XINFO",
    "STREAM",
    "FULL",
    "COUNT",
    "BLOCK",
    "STREAMS",
    "t",
    "n",
    "t/0",
    "a{b}",
    "*",
    "1-1",
    "1-*",
    "5",
    "-",
    "+",
    "$",
    "0",
    "0-0",
    "(1-1",
    "18446744073709551615-18446744073709551615",
    "key",
    "value",
    "f",
    "MAXLEN",
    "MINID",
    "~",
    "=",
    "LIMIT",
    "NOMKSTREAM",
    "HELLO",
    "3",
    "2",
    "SETNAME",
    "CLIENT",
    "REPLY",
    "OFF",
    "ON",
    "SKIP",
    "COMMAND",
    "DOCS",
    "GETKEYS",
    "INFO",
    "CONFIG",
    "GET",
    "SET",
    "stream-node-max-entries",
    "KEYS",
    "SCAN",
    "MATCH",
    "DEL",
    "FLUSHALL",
    "EXISTS",
    "TYPE",
    "REGISTER",
    "PARTITIONS",
    "PUT",
    "STATE",
    "METRICS",
    "PING",
    "QUIT",
    "RESET",
    "SELECT",
    "LPUSH",
    "1",
    "10",
    "1000000",
    "__floe.order",
    "1,0",
    "LIST",
    "TIME",
    "ECHO",
    "DBSIZE",
    "XDEL",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH",
    "UNWATCH",
    "XSETID",
    "ENTRIESADDED",
    "MAXDELETEDID",
    "RESETSTAT",
    "commandstats",
    "errorstats",
};

/* What of an answer is still to come. */
static struct {
    bool open;
    char line[FUZZ_LINE_BYTES]; /* Of lengths and counts; others may be longer. */
    uint32_t line_size;
    bool in_line, cr;
    uint64_t payload;  /* Bytes, their end of line included. */
    uint64_t elements; /* Of what has begun. */
} fuzz;

static void fuzz_take_line(void)
{
    unsigned long long count = 0;
    char type = fuzz.line[0];
    fuzz.line[min_u32(fuzz.line_size, FUZZ_LINE_BYTES - 1)] = 0;
    fuzz.in_line = false;
    if (fuzz.elements > 0) {
        fuzz.elements--;
    }
    if (type == '+' || type == '-' || type == ':' || type == '_' || strcmp(fuzz.line, "$-1") == 0 ||
        strcmp(fuzz.line, "*-1") == 0) {
        return;
    }
    int read = sscanf(fuzz.line + 1, "%llu", &count);
    ASSERT(read == 1);
    switch (type) {
    case '$':
    case '=':
        fuzz.payload = count + 2;
        return;
    case '%':
        fuzz.elements += 2 * count;
        return;
    case '*':
    case '~':
        fuzz.elements += count;
        return;
    default:
        UNREACHABLE();
    }
}

static void fuzz_take_answer(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (fuzz.payload > 0) {
            ASSERT(fuzz.payload != 2 || data[i] == '\r');
            ASSERT(fuzz.payload != 1 || data[i] == '\n');
            fuzz.payload--;
        } else if (fuzz.cr) {
            ASSERT(data[i] == '\n');
            fuzz.cr = false;
            fuzz_take_line();
        } else if (fuzz.in_line && data[i] == '\r') {
            fuzz.cr = true;
        } else {
            fuzz.line_size = fuzz.in_line ? fuzz.line_size : 0;
            fuzz.in_line = true;
            ASSERT(data[i] != '\n');
            if (fuzz.line_size < FUZZ_LINE_BYTES - 1) {
                fuzz.line[fuzz.line_size++] = (char)data[i];
            }
        }
    }
}

/* --- One input. --- */

/* A line, taken apart, as an array. */
static void fuzz_command(struct bytes_writer *out, struct bytes line)
{
    char words[FUZZ_WORDS_MAX][FUZZ_WORD_BYTES];
    uint32_t count = 0;
    uint32_t size = 0;
    for (uint32_t i = 0; i <= line.size && count < FUZZ_WORDS_MAX; i++) {
        uint8_t c = i < line.size ? line.data[i] : ' ';
        if (c >= 128) {
            (void)snprintf(words[count++], FUZZ_WORD_BYTES, "%s",
                           fuzz_words[(c - 128U) % ARRAY_COUNT(fuzz_words)]);
            size = 0;
        } else if (c == ' ' && size > 0) {
            words[count++][size] = 0;
            size = 0;
        } else if (c != ' ' && c != 0 && size < FUZZ_WORD_BYTES - 1) {
            words[count][size++] = (char)c;
        }
    }
    char head[FUZZ_LINE_BYTES];
    int length = snprintf(head, sizeof(head), "*%u\r\n", count);
    write_bytes(out, head, (uint32_t)length);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = (uint32_t)strlen(words[i]);
        length = snprintf(head, sizeof(head), "$%u\r\n", bytes);
        write_bytes(out, head, (uint32_t)length);
        write_bytes(out, words[i], bytes);
        write_bytes(out, "\r\n", 2);
    }
}

static void fuzz_arrays(const uint8_t *data, uint32_t size)
{
    struct bytes_writer out = bytes_writer(fuzz_net.stream, FUZZ_STREAM_BYTES_MAX);
    uint32_t from = 0;
    for (uint32_t i = 0; i <= size; i++) {
        if (i == size || data[i] == '\n') {
            fuzz_command(&out, bytes_of(data + from, i - from));
            from = i + 1;
        }
    }
    ASSERT(!out.failed);
    fuzz_net.stream_size = out.position;
}

/* Where the newest entries of a log with holes begin, as the doors ask for it: again and again,
 * until it stays the same. Each byte is an entry of the log, an odd one is deleted. */
static void fuzz_live(struct bytes log, uint32_t count)
{
    uint64_t from = log.size > count ? log.size - count : 0;
    uint64_t before;
    uint32_t live;
    do {
        before = from;
        live = 0;
        for (uint64_t i = from; i < log.size; i++) {
            live += log.data[i] % 2 == 0;
        }
        from = resp_live_from(0, log.size, count, log.size - from - live);
        ASSERT(from <= before);
    } while (from < before);
    ASSERT(from == 0 || live == count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > FUZZ_INPUT_BYTES_MAX) {
        return 0;
    }
    if (!fuzz.open) {
        fuzz_net.take_answer = fuzz_take_answer;
        fuzz_net_begin();
    }
    fuzz_net_reset();
    memset(&fuzz, 0, sizeof(fuzz));
    fuzz.open = true;
    fuzz_live(bytes_of(data + 1, (uint32_t)size - 1), data[0]);
    fuzz_net_flags(data[0]);
    if ((data[0] & FUZZ_ARRAYS) != 0) {
        fuzz_arrays(data + 1, (uint32_t)size - 1);
    } else {
        memcpy(fuzz_net.stream, data + 1, size - 1);
        fuzz_net.stream_size = (uint32_t)size - 1;
    }
    fuzz_net_run(NET_RESP);
    /* A client that stays to the end gets whole answers. */
    ASSERT(fuzz_net.reset ||
           (fuzz.payload == 0 && fuzz.elements == 0 && !fuzz.in_line && !fuzz.cr));
    return 0;
}
