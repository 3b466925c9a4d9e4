/* One port for all protocols: who speaks is told by the first bytes of a connection, for in each of
 * them the client begins. In this order, because the later ones would take what is an earlier one:
 *
 *     Walrus   bytes 3 and 4 zero, byte 5 a letter: a length (LE) below 64 KiB, a verb
 *     Kafka    byte 5 zero: an API key below 256; a length (BE) of at most 100 MiB
 *     TLS      16 03, and handshake type 01 as byte 6
 *     RESP     '*' and a digit
 *     HTTP     the first line ends in " HTTP/1.x"
 *     RESP     any other text: an inline command
 *
 * The length of a Walrus frame may be a letter, or "*0" (12,330 bytes): Walrus comes first. A TLS
 * hello of 512 bytes has a zero as byte 5: only the bound of the length keeps it from Kafka. */
#pragma once

#include "core/bytes.h"
#include "net/net.h"
#include "net/protocol.h"

enum door_guess {
    DOOR_MORE = NET_ANY, /* More bytes are needed to tell. */
    DOOR_KAFKA = NET_KAFKA,
    DOOR_RESP = NET_RESP,
    DOOR_WALRUS = NET_WALRUS,
    DOOR_HTTP = NET_HTTP,
    DOOR_TLS = NET_PROTOCOL_COUNT,
    DOOR_NONE,
};

/* A first line that is longer is no HTTP; and it is as far as one looks. */
enum { DOOR_LINE_BYTES_MAX = 8192 };

/* Who sends these first bytes. As early as they tell: one guess other than DOOR_MORE is final.
 *
 * position   how far the first line was looked at; 0 at first, kept between calls */
enum door_guess door_guess(struct bytes first, uint32_t *position);

/* Why the door closes, or NULL: the protocol is served. */
const char *door_refusal(enum door_guess guess);

/* NULL of NET_ANY, and of those that this build does not serve. */
const struct protocol *door_protocol(enum net_protocol protocol);

/* Whether a listener may be for it: any, or one that is served. */
bool door_serves(enum net_protocol protocol);

/* The largest session of a connection. */
uint32_t door_session_bytes(void);
