/* Numbers, words, patterns and stream IDs as RESP clients write them: pure. */
#pragma once

#include "core/bytes.h"
#include "shard/request.h"

enum { RESP_ID_TEXT_BYTES = 42 }; /* "18446744073709551615-18446744073709551615" and NUL. */

/* Decimal, without a plus, blanks or leading zeros. False: it is none, or out of range. */
bool resp_parse_i64(struct bytes text, int64_t *value);
bool resp_parse_u64(struct bytes text, uint64_t *value);

/* Writes it in decimal, without a NUL: at most 20 bytes; how many they are. */
uint32_t resp_u64_text(uint64_t value, char *text);

/* A text that is put together; what there is no room for is cut off. */
struct resp_text {
    char *text;
    uint32_t size, used;
};

void resp_text_add(struct resp_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

int resp_hex(uint8_t c); /* -1: it is none. */

/* Whether they are the same but for upper and lower case of ASCII letters. */
bool resp_is(struct bytes text, const char *word);

/* Whether `text` matches the pattern: ?, *, [a-z^] and backslashes. */
bool resp_matches(struct bytes pattern, struct bytes text);

/* "5-3", or "5" where `seq_missing` stands for the rest, or "-", "+": the least, the greatest.
 * `*whole`, if not NULL: seq was there. */
bool resp_parse_id(struct bytes text, uint64_t seq_missing, struct stream_id *id, bool *whole);

char *resp_id_text(struct stream_id id, char *text); /* Of RESP_ID_TEXT_BYTES; returns it. */

/* The next greater and smaller one; false: there is none. */
bool resp_id_after(struct stream_id *id);
bool resp_id_before(struct stream_id *id);
