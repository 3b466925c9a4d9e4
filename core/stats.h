/* Counters and histograms of one core. Plain integers that only their core writes; others read them
 * through messages. Tests assert on counts, never on times. */
#pragma once

#include "core/base.h"

/* name, help: also the metric's name later. */
#define STATS_TABLE(X)                                                                             \
    X(TURNS, "turns of the loop")                                                                  \
    X(TURNS_IDLE, "turns that found nothing to do")                                                \
    X(COMPLETIONS, "completions run")                                                              \
    X(MAILS, "mails received")                                                                     \
    X(WAKES, "wake-ups sent to sleeping cores")                                                    \
    X(IO_SUBMITTED, "operations submitted")                                                        \
    X(KERNEL_ENTRIES, "entries into the kernel for I/O")                                           \
    X(FILES_OPENED, "files opened")                                                                \
    X(FILES_REFUSED, "files not opened for want of a descriptor")                                  \
    X(FILES_EVICTED, "idle files closed to keep few open")                                         \
    X(FILE_READS, "file reads")                                                                    \
    X(FILE_READ_BYTES, "bytes read from files")                                                    \
    X(FILE_WRITES, "file writes")                                                                  \
    X(FILE_WRITE_BYTES, "bytes written to files")                                                  \
    X(ZERO_BYTES, "bytes of zeros written ahead to files")                                         \
    X(FLUSHES, "durable writes and syncs")                                                         \
    X(FLUSHES_SPARED, "writes to files that were made durable by the sync of another")             \
    X(CONNECTIONS_ACCEPTED, "connections accepted")                                                \
    X(CONNECTIONS_CLOSED, "connections closed")                                                    \
    X(CONNECTIONS_REFUSED, "connections refused because there were too many")                      \
    X(CONNECTIONS_REFUSED_ADDRESS, "connections refused because their address had too many")       \
    X(CONNECTIONS_STALLED, "connections closed because the peer took or sent nothing it owed")     \
    X(RECV_BYTES, "bytes received")                                                                \
    X(SEND_BYTES, "bytes sent")                                                                    \
    X(REQUESTS, "protocol requests parsed")                                                        \
    X(REQUESTS_REFUSED, "connections closed for a malformed request")                              \
    X(APPENDS, "batches appended")                                                                 \
    X(APPEND_RECORDS, "records appended")                                                          \
    X(APPEND_BYTES, "bytes of batches appended")                                                   \
    X(APPEND_DUPLICATES, "batches answered from the producer's window")                            \
    X(APPENDS_SLICED, "batches that unpack to so much that it was not done at once")               \
    X(APPEND_SLICES, "slices in which batches were unpacked")                                      \
    X(COMMITS, "group commits, each of one frame")                                                 \
    X(JOURNAL_FRAMES, "frames that went into the journal")                                         \
    X(JOURNAL_BLOCKS, "writes to the journal")                                                     \
    X(JOURNAL_BYTES, "bytes written to the journal")                                               \
    X(JOURNALS_REPLACED, "journals that failed and were followed by their spare")                  \
    X(WRITEBACK_CHUNKS, "writes from the journal to files")                                        \
    X(WRITEBACK_BYTES, "bytes written from the journal to files")                                  \
    X(SEGMENT_BYTES, "bytes written to segment files, heads and trailers too")                     \
    X(FETCHES, "partition fetches")                                                                \
    X(FETCH_BYTES, "bytes handed to readers")                                                      \
    X(FETCH_FROM_CACHE, "frames served from memory")                                               \
    X(FETCH_FROM_FILE, "frames served from files")                                                 \
    X(FETCH_READ_BYTES, "bytes read from files for readers")                                       \
    X(INDEX_READ_BYTES, "bytes read from files for their indexes, at first use")                   \
    X(FRAMES_CHECKED, "frames from files whose checksum was computed for readers")                 \
    X(READS_AHEAD, "file reads begun before a reader asked for them")                              \
    X(READS_SHARED, "file reads spared because memory had what they would bring")                  \
    X(FETCH_PARKED, "fetches that waited for data or for memory")                                  \
    X(FETCH_PRESSED, "fetches that found readers holding all the memory they may")                 \
    X(SEGMENT_ROLLS, "segments sealed and followed by another")                                    \
    X(SEGMENTS_REBUILT, "segments whose file was made anew after a failed write")                  \
    X(SEGMENTS_REMOVED, "segments trimmed or no longer retained")                                  \
    X(SEGMENTS_RECYCLED, "segments whose file was one of a removed segment")                       \
    X(POOL_BYTES, "bytes of files of removed segments that wait to be used again")                 \
    X(RECOVERY_READ_BYTES, "bytes read by recovery, from journals and files")                      \
    X(SCANNED_BYTES, "bytes scanned in files that have no sound trailer")                          \
    X(LOG_DROPPED, "log lines dropped")

enum stat_id {

#define X(name, help) STAT_##name,
    STATS_TABLE(X)
#undef X
        STAT_COUNT,
};

/* Log-linear: 64 powers of two, 16 steps each; values within 6.25 %. */
enum { HISTOGRAM_STEPS = 16, HISTOGRAM_BUCKETS = 64 * HISTOGRAM_STEPS };

struct histogram {
    uint64_t count, sum, max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

struct stats {
    uint64_t counters[STAT_COUNT];
    struct histogram commit_ns;
};

const char *stat_name(enum stat_id stat); /* "turns_idle" */
const char *stat_help(enum stat_id stat);

void histogram_record(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* How many values are at most `value`, the last one of its bucket (2^n - 1 is). */
uint64_t histogram_count_until(const struct histogram *histogram, uint64_t value);
uint64_t histogram_quantile(const struct histogram *histogram, double quantile); /* 0 when empty. */

/* Adds to a counter of the core: stats_add(&reactor->stats, STAT_TURNS, 1). */
static inline void stats_add(struct stats *stats, enum stat_id stat, uint64_t amount)
{
    stats->counters[stat] += amount;
}
