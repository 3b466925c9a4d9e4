/* See the header. */
#include "net/resp/write.h"

#include "core/assert.h"
#include "net/resp/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static inline void put(struct resp_writer *writer, const void *data, uint64_t size)
{
    if (writer->data != NULL) {
        ASSERT(size <= writer->size - writer->position);
        if (size > 0) {
            memcpy(writer->data + writer->position, data, (size_t)size);
        }
    }
    writer->position += size;
}

void resp_write_raw(struct resp_writer *writer, const void *data, uint64_t size)
{
    put(writer, data, size);
}

/* A type, a number, the end of the line. */
static inline void write_head(struct resp_writer *writer, char type, uint64_t number)
{
    if (number < 10) { /* Most arrays and names of fields; a store of four bytes. */
        const char text[4] = {type, (char)('0' + number), '\r', '\n'};
        put(writer, text, sizeof(text));
        return;
    }
    char text[32];
    text[0] = type;
    uint32_t size = 1 + resp_u64_text(number, text + 1);
    memcpy(text + size, "\r\n", 2);
    put(writer, text, size + 2ULL);
}

static void write_line(struct resp_writer *writer, char type, const char *text)
{
    resp_write_raw(writer, &type, 1);
    for (const char *at = text; *at != 0; at++) {
        char c = *at == '\r' || *at == '\n' ? ' ' : *at;
        resp_write_raw(writer, &c, 1);
    }
    resp_write_raw(writer, "\r\n", 2);
}

void resp_write_simple(struct resp_writer *writer, const char *text)
{
    write_line(writer, '+', text);
}

void resp_write_error(struct resp_writer *writer, const char *text)
{
    write_line(writer, '-', text);
}

void resp_write_integer(struct resp_writer *writer, int64_t value)
{
    char text[32];
    int size = snprintf(text, sizeof(text), ":%" PRId64 "\r\n", value);
    resp_write_raw(writer, text, (uint64_t)size);
}

void resp_write_bulk(struct resp_writer *writer, struct bytes bytes)
{
    write_head(writer, '$', bytes.size);
    put(writer, bytes.data, bytes.size);
    put(writer, "\r\n", 2);
}

void resp_write_text(struct resp_writer *writer, const char *text)
{
    resp_write_bulk(writer, bytes_text(text));
}

void resp_write_id(struct resp_writer *writer, struct stream_id id)
{
    resp_write_ids(writer, id, 1);
}

/* "$15\r\n1764409826123-7\r\n". */
static void id_line(struct resp_id_line *line, struct stream_id id)
{
    char text[RESP_ID_TEXT_BYTES];
    uint32_t ms = resp_u64_text(id.ms, text);
    text[ms] = '-';
    uint32_t size = ms + 1 + resp_u64_text(id.seq, text + ms + 1);
    line->text[0] = '$';
    uint32_t at = 1 + resp_u64_text(size, line->text + 1);
    memcpy(line->text + at, "\r\n", 2);
    memcpy(line->text + at + 2, text, size);
    line->end = at + 2 + size;
    memcpy(line->text + line->end, "\r\n", 2);
    line->size = line->end + 2;
}

void resp_write_id_behind(struct resp_writer *writer, struct resp_id_line *line,
                          struct stream_id id)
{
    bool next = line->size > 0 && id.ms == line->id.ms && id.seq > line->id.seq &&
                id.seq - line->id.seq == 1;
    if (next && line->text[line->end - 1] < '9') {
        line->text[line->end - 1]++;
    } else {
        id_line(line, id);
    }
    line->id = id;
    put(writer, line->text, line->size);
}

void resp_write_ids(struct resp_writer *writer, struct stream_id first, uint32_t count)
{
    struct resp_id_line line = {.size = 0};
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(first.seq <= UINT64_MAX - i);
        resp_write_id_behind(writer, &line, (struct stream_id){first.ms, first.seq + i});
    }
}

void resp_write_null(struct resp_writer *writer)
{
    const char *text = writer->protocol == 3 ? "_\r\n" : "$-1\r\n";
    resp_write_raw(writer, text, strlen(text));
}

void resp_write_null_array(struct resp_writer *writer)
{
    const char *text = writer->protocol == 3 ? "_\r\n" : "*-1\r\n";
    resp_write_raw(writer, text, strlen(text));
}

void resp_write_array(struct resp_writer *writer, uint64_t count)
{
    write_head(writer, '*', count);
}

void resp_write_map(struct resp_writer *writer, uint64_t pairs)
{
    if (writer->protocol == 3) {
        write_head(writer, '%', pairs);
    } else {
        write_head(writer, '*', pairs * 2);
    }
}

void resp_write_set(struct resp_writer *writer, uint64_t count)
{
    write_head(writer, writer->protocol == 3 ? '~' : '*', count);
}

void resp_write_verbatim(struct resp_writer *writer, struct bytes text)
{
    if (writer->protocol != 3) {
        resp_write_bulk(writer, text);
        return;
    }
    write_head(writer, '=', text.size + 4ULL);
    resp_write_raw(writer, "txt:", 4);
    resp_write_raw(writer, text.data, text.size);
    resp_write_raw(writer, "\r\n", 2);
}
