/* The checks of floe doctor. Each looks at one thing and says a row: what it found, and what to do
 * if that is not well. None changes anything: no file is made or written, no limit raised. */
#pragma once

#include "tools/settings.h"

enum doctor_result {
    DOCTOR_OK,
    DOCTOR_WARN, /* Works, and could be better or safer. */
    DOCTOR_FAIL, /* floe serve, or a client of it, would fail there. */
    DOCTOR_RESULTS,
};

enum { DOCTOR_TEXT_BYTES = 512 };

struct doctor {
    const struct cmd *cmd;
    struct settings settings;
    bool planned; /* The settings are good, and settings.plan is there. */
    struct cmd_rows rows;
    uint32_t counts[DOCTOR_RESULTS];
    char broker[DOCTOR_TEXT_BYTES]; /* HOST:PORT of the server to ask. */
    bool broker_given;              /* By -b. */
};

/* One row; `remedy` NULL: nothing is to be done. */
void doctor_say(struct doctor *doctor, const char *check, enum doctor_result result,
                const char *remedy, const char *found, ...) PRINTF_LIKE(5, 6);

/* Reads a short file of /proc or /sys without its newline; false: it is not there. */
NODISCARD bool doctor_read(const char *path, char *text, size_t size);

/* io_uring, limits, memory, clock, pages. */
void doctor_check_machine(struct doctor *doctor);

/* The data directory and the disk below it. */
void doctor_check_disk(struct doctor *doctor);

/* The addresses: to listen on, of the server that answers, and what it tells clients. */
void doctor_check_network(struct doctor *doctor);
