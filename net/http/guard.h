/* Who may ask what, before there are users: a web page that its reader's browser runs can reach
 * this port, so what it could send is not enough. Pure.
 *
 *     every request   Host names this server (a page whose name was bent to our address does not),
 *                     and Origin, if a browser sends one, is the same host
 *     what changes    also X-Floe, or Content-Type application/json: a page may send neither to
 *     something       another origin without asking first (OPTIONS), and is never told yes
 *     administration  also from this machine, or http.admin = any */
#pragma once

#include "core/io.h"
#include "net/http/head.h"

struct http_guard {
    const char *hosts;     /* http.hosts: names, separated by commas; "*": any. */
    const char *host_name; /* The machine's own; NULL or empty: not known. */
    const char *advertise; /* HOST:PORT, or NULL. */
    bool admin_any;
};

struct http_visit {
    const struct http_head *head;
    const struct io_address *peer;
    bool changes, admin;
};

/* False: `fault` says who is refused and how to be let in. */
NODISCARD bool http_guard_admits(const struct http_guard *guard, const struct http_visit *visit,
                                 struct http_fault *fault);
