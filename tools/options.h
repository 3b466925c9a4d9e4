/* The settings of floe: one table that gives parsing, --help, the environment's names and
 * `floe config show`. How a value is read, and who wins, stands in core/config.h.
 *
 * X(key, type, default, min, max, choices, sentence); what the limits mean stands there too. */
#pragma once

#include "core/config.h"
#include "core/limits.h"
#include "core/reactor.h"
#include "net/group/group.h"

#define OPTIONS_TABLE(X)                                                                           \
    X("data.dir", CONFIG_TEXT, "/var/lib/floe", 1, 0, NULL, "directory of all data")               \
    X("listen", CONFIG_TEXT, "any://0.0.0.0:9092", 1, 0, NULL,                                     \
      "addresses to listen on, PROTOCOL://HOST:PORT, separated by commas")                         \
    X("advertise", CONFIG_TEXT, "", 0, 0, NULL,                                                    \
      "HOST:PORT that clients are told; empty: the address they came in by")                       \
    X("node.id", CONFIG_COUNT, "0", 0, INT32_MAX, NULL,                                            \
      "number of this node; 0: the data directory's, or 1 in a new one")                           \
    X("cpu.cores", CONFIG_TEXT, "auto", 1, 0, NULL,                                                \
      "cores that carry data: auto, a number, or a list such as 0-3,8")                            \
    X("cpu.smt", CONFIG_BOOL, "false", 0, 1, NULL, "use hyper-threads as cores of their own")      \
    X("numa.policy", CONFIG_CHOICE, "local", 0, 0, "local|none",                                   \
      "local: a core's memory lies on its NUMA node; none: let the kernel choose")                 \
    X("memory.limit", CONFIG_BYTES, "auto", 0, 0, NULL,                                            \
      "memory of all cores together; auto: a quarter of the machine's or the cgroup's")            \
    X("memory.prefault", CONFIG_BOOL, "false", 0, 1, NULL,                                         \
      "touch all of that memory at the start, for a host that serves nothing else")                \
    X("io.engine", CONFIG_CHOICE, "auto", 0, 0, "auto|uring|posix",                                \
      "how the kernel is asked; auto: uring where it is allowed, else posix")                      \
    X("storage.engine", CONFIG_CHOICE, "direct", 0, 0, "direct|buffered|mmap",                     \
      "direct: past the page cache; buffered: through it; mmap: copied into mapped files")         \
    X("durability", CONFIG_CHOICE, "disk", 0, 0, "disk|os|memory",                                 \
      "where a record is when it is acked, for topics that do not say it themselves")              \
    X("segment.records", CONFIG_COUNT, "1000000", 1, UINT32_MAX, NULL,                             \
      "records of a segment before the next one begins")                                           \
    X("segment.bytes", CONFIG_BYTES, "1GiB", MIB(1), GIB(1024), NULL,                              \
      "bytes of a segment before the next one begins")                                             \
    X("retention.ms", CONFIG_DURATION, "7d", -1, 0, NULL,                                          \
      "age of its newest record at which a segment goes; -1: never")                               \
    X("retention.bytes", CONFIG_COUNT, "-1", -1, 0, NULL,                                          \
      "bytes of a partition's files beyond which its oldest segments go; -1: no bound")            \
    X("retention.check.ms", CONFIG_DURATION, "30s", 0, UINT32_MAX, NULL,                           \
      "how often a core looks for segments that go; 0: never")                                     \
    X("topic.auto.create", CONFIG_BOOL, "false", 0, 1, NULL,                                       \
      "make a topic when a client first names it; always on with --dev")                           \
    X("resp.allow.delete", CONFIG_BOOL, "true", 0, 1, NULL,                                        \
      "let clients of Redis delete topics by DEL and UNLINK")                                      \
    X("resp.allow.flush", CONFIG_BOOL, "false", 0, 1, NULL,                                        \
      "let FLUSHALL and FLUSHDB delete every topic; always on with --dev")                         \
    X("partitions.default", CONFIG_COUNT, "1", 1, TOPIC_PARTITIONS_MAX, NULL,                      \
      "partitions of a topic whose maker does not say how many")                                   \
    X("group.initial.rebalance.delay.ms", CONFIG_DURATION, "3s", 0, 3600000, NULL,                 \
      "how long the first member of a group waits for others; 0 with --dev")                       \
    X("group.min.session.timeout.ms", CONFIG_DURATION, "6s", 1, UINT32_MAX, NULL,                  \
      "least time of silence that a member of a group may ask for")                                \
    X("group.max.session.timeout.ms", CONFIG_DURATION, "30m", 1, UINT32_MAX, NULL,                 \
      "longest time of silence that a member of a group may ask for")                              \
    X("group.max.size", CONFIG_COUNT, "5000", 1, 100000, NULL, "members of a group")               \
    X("offsets.retention.ms", CONFIG_DURATION, "7d", 1, 0, NULL,                                   \
      "how long an empty group keeps its offsets")                                                 \
    X("offsets.partitions", CONFIG_COUNT, "16", 1, GROUP_PARTITIONS_MAX, NULL,                     \
      "partitions of the topic that groups are kept in, when it is made")                          \
    X("connections.max", CONFIG_COUNT, "10000", 1, 1000000, NULL,                                  \
      "client connections of a core; fewer where the limit of open files is low")                  \
    X("connections.idle.ms", CONFIG_DURATION, "10m", 0, UINT32_MAX, NULL,                          \
      "silence after which a connection that is owed nothing is closed; 0: never")                 \
    X("connections.stall.ms", CONFIG_DURATION, "30s", 0, UINT32_MAX, NULL,                         \
      "how long a peer may stop in the middle of a request or of taking an answer; 0: forever")    \
    X("drain.timeout.ms", CONFIG_DURATION, "5s", 0, 3600000, NULL,                                 \
      "how long a stop waits for answers to leave; what is left then is cut off; 0: at once")      \
    X("connections.max.per.address", CONFIG_COUNT, "0", 0, 1000000, NULL,                          \
      "those of a core that one address may have (IPv6: one /64); 0: as many as there are")        \
    X("meta.log.bytes", CONFIG_BYTES, "16MiB", KIB(256), GIB(16), NULL,                            \
      "size of each of the two files that the map's log is written to")                            \
    X("http.hosts", CONFIG_TEXT, "", 0, 0, NULL,                                                   \
      "names, besides its addresses, that HTTP requests may call this server by; *: any")          \
    X("http.admin", CONFIG_CHOICE, "loopback", 0, 0, "loopback|any",                               \
      "from where topics may be made and deleted over HTTP")                                       \
    X("idle.poll.us", CONFIG_COUNT, "0", 0, 1000, NULL,                                            \
      "microseconds that an idle core looks for work before it sleeps; 0: chosen by the plan")     \
    X("log.level", CONFIG_CHOICE, "info", 0, 0, "error|warn|info|debug", "least level logged")

extern const struct config_option options_table[];
extern const uint32_t options_count;
