/* floe_power, a program that uses libfloe and whose disk loses power: see powercut.py. */
#pragma once

#include "power_content.h"

#include <stdatomic.h>
#include <stdio.h>

#define POWER_TOPIC_DISK "safe"
#define POWER_TOPIC_OS   "quick"

/* Exit codes. */
enum {
    POWER_OK = 0,
    POWER_WRONG = 1, /* A record is lost, or not what it was. */
    POWER_USAGE = 2,
    POWER_FAILED = 4, /* libfloe reports an error: no wonder behind a cut. */
};

/* Partitions have numbers over both topics: those with durability=disk come first. */
struct power_options {
    const char *directory, *ledger;
    struct content content;
    uint64_t session; /* The seed of what follows from no content: order, pauses, trims. */
    uint32_t disk_partitions, os_partitions, threads;
    bool posix, buffered, mapped, shared, read_only;
    uint64_t segment_records, segment_bytes;
};

/* A line of the ledger ends in " ." so that half a line is known for what it is. All is decimal.
 *
 *     open                         the handle is open, all its partitions too
 *     idle                         a thread has nothing under way
 *     batch PARTITION NUMBER       is about to be appended
 *     ack PARTITION NUMBER OFFSET COUNT SUM
 *     sync PARTITION END           what is below is on the disk, whatever its durability
 *     trim PARTITION OFFSET        is about to be asked for
 *     trimmed PARTITION START
 *     found PARTITION START END    by a check behind a cut: stays there, too
 *     closed                       in order */
struct power_ledger {
    int file;
};

int power_load(const struct power_options *options);
int power_check(const struct power_options *options);

/* Ends the program. */
_Noreturn void power_fail(const char *what, int result, const char *message);
_Noreturn void power_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Appends a line to the ledger. */
void power_write(const struct power_ledger *ledger, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct power_ledger power_ledger_open(const char *path);

/* As the options say; ends the program if it cannot. */
struct floe *power_open(const struct power_options *options, uint32_t mode);

/* One partition; NULL if there is none and it is not to be made. */
struct floe_partition *power_open_partition(const struct power_options *options, struct floe *log,
                                            uint32_t number, bool existing);
