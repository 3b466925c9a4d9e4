/* Replies, as bytes: pure. Each is written twice, first to count (data NULL). What RESP3 has of its
 * own has its form of RESP2 here, too, so that nobody else looks at `protocol`. */
#pragma once

#include "core/bytes.h"
#include "net/resp/text.h"
#include "shard/request.h"

struct resp_writer {
    uint8_t *data; /* NULL: only counts. */
    uint64_t size, position;
    uint8_t protocol; /* 2 or 3. */
};

/* The line of an ID; all zeros: of none. The next one differs in a digit mostly. */
struct resp_id_line {
    struct stream_id id;
    uint32_t size, end; /* `end`: behind the last digit. */
    char text[RESP_ID_TEXT_BYTES + 8];
};

void resp_write_raw(struct resp_writer *writer, const void *data, uint64_t size);
void resp_write_simple(struct resp_writer *writer, const char *text); /* +OK */
void resp_write_error(struct resp_writer *writer, const char *text);  /* Ends of lines: blanks. */
void resp_write_integer(struct resp_writer *writer, int64_t value);
void resp_write_bulk(struct resp_writer *writer, struct bytes bytes);
void resp_write_text(struct resp_writer *writer, const char *text); /* As bulk. */
void resp_write_id(struct resp_writer *writer, struct stream_id id);
void resp_write_ids(struct resp_writer *writer, struct stream_id first, uint32_t count); /* Each. */

/* As resp_write_id(); `line` is that of the one before, and then of this one. */
void resp_write_id_behind(struct resp_writer *writer, struct resp_id_line *line,
                          struct stream_id id);

void resp_write_null(struct resp_writer *writer);
void resp_write_null_array(struct resp_writer *writer);
void resp_write_array(struct resp_writer *writer, uint64_t count);
void resp_write_map(struct resp_writer *writer, uint64_t pairs);         /* RESP2: an array. */
void resp_write_set(struct resp_writer *writer, uint64_t count);         /* RESP2: an array. */
void resp_write_verbatim(struct resp_writer *writer, struct bytes text); /* RESP2: bulk. */
