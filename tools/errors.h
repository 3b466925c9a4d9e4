/* Every kind of error that a user of floe can meet, once. Its number stands at the end of the
 * message, "[FLOE-1401]", and `floe explain FLOE-1401` prints the rest. A number keeps its meaning
 * for ever: a kind that goes takes its number with it.
 *
 *     10xx words of the command line, input, output     11xx files, directories
 *     12xx settings, start and stop of floe serve       13xx the way to a server
 *     14xx topics, records                              15xx floe log, floe cluster
 *     16xx floe doctor                                  17xx groups of consumers
 *     19xx what has no kind of its own
 *
 * X(name, number, exit code, what, cause, remedy). A kind is a thing to do about it: two messages
 * that ask for the same remedy share one. `floe serve` ends with 1 for whatever stops it behind its
 * settings; the exit codes here are those of the other verbs. */
#pragma once

#include "core/err.h"
#include "tools/cmd.h"

#define ERRORS_TABLE(X)                                                                            \
    X(ERROR_VERB, 1001, CMD_USAGE, "no such verb",                                                 \
      "The first words name nothing that floe can do.",                                            \
      "See floe --help for all verbs, floe NOUN --help for those of a noun.")                      \
    X(ERROR_FLAG, 1002, CMD_USAGE, "a flag is wrong here",                                         \
      "The verb has no such flag, or the flag lacks its value, takes none, or goes with another.", \
      "See the verb's --help. A value may follow as the next word or behind =.")                   \
    X(ERROR_VALUE, 1003, CMD_USAGE, "a flag's value is not one it takes",                          \
      "The value is no number, is out of bounds, or is none of the words that the flag knows.",    \
      "The message says what the flag takes; --help shows examples.")                              \
    X(ERROR_OPERAND, 1004, CMD_USAGE, "an operand is missing or too many",                         \
      "The verb needs a name, a file or a directory that was not given, or was given too much.",   \
      "See the usage line of --help. A name that begins with - goes behind --.")                   \
    X(ERROR_FORMAT, 1005, CMD_USAGE, "a format of records is wrong",                               \
      "A % is followed by a letter that stands for no part of a record, or a \\ by one that "      \
      "stands for no character.",                                                                  \
      "The message points at the place. %% is a percent sign, \\\\ a backslash; see --help.")      \
    X(ERROR_LATER, 1006, CMD_FAILED, "not in this release",                                        \
      "The words are known, but what they ask for is not built yet.",                              \
      "See \"What does not work yet\" in README.md for what to do instead.")                       \
    X(ERROR_OUTPUT, 1007, CMD_FAILED, "standard output took not everything",                       \
      "The disk or the pipe behind standard output refused a write.",                              \
      "Check the disk that the output goes to; run the same command again.")                       \
    X(ERROR_INPUT, 1008, CMD_FAILED, "the input cannot be read",                                   \
      "Reading standard input or a file failed half-way.",                                         \
      "Check the file. What was read before is written: the counts of the message tell.")          \
    X(ERROR_MEMORY, 1009, CMD_FAILED, "out of memory",                                             \
      "The machine, or the cgroup, had no memory for it.",                                         \
      "Free some, raise the limit, or lower memory.limit of a server.")                            \
    X(ERROR_CODE, 1010, CMD_NOT_FOUND, "no such error code",                                       \
      "floe explain knows no error of this number.",                                               \
      "floe explain alone lists all. A newer floe may know more: see floe version.")               \
    X(ERROR_FILE_MISSING, 1101, CMD_NOT_FOUND, "a file or directory is not there",                 \
      "The path names nothing, or a folder on the way to it is none.",                             \
      "Check the spelling, and that the disk is mounted.")                                         \
    X(ERROR_FILE_DENIED, 1102, CMD_DENIED, "a file or directory may not be opened",                \
      "Its owner, its mode or a sandbox forbids it to this user.",                                 \
      "Run as the user that owns it; see ls -l, id, and systemd's ProtectSystem.")                 \
    X(ERROR_FILE, 1103, CMD_FAILED, "a file or directory cannot be read or changed",               \
      "The operating system refused, for the reason in the message.",                              \
      "For an input/output error look at dmesg and the disk's health before trying again.")        \
    X(ERROR_DISK_FULL, 1104, CMD_FAILED, "no space is left on the disk",                           \
      "The file system is full, or a quota is used up.",                                           \
      "Free space, lower retention.ms or retention.bytes, or trim topics; then try again.")        \
    X(ERROR_SETTING, 1201, CMD_USAGE, "a setting is not usable",                                   \
      "A flag, a FLOE_ variable or a line of the file has a key that does not exist, or a value "  \
      "that its key does not take.",                                                               \
      "The message names the place. floe config show lists the keys, floe config check tries "     \
      "them.")                                                                                     \
    X(ERROR_LISTEN, 1202, CMD_USAGE, "an address to listen on is not usable",                      \
      "listen is not a list of PROTOCOL://HOST:PORT, or names what this release does not speak.",  \
      "Write it as any://0.0.0.0:9092 or kafka://127.0.0.1:9092, separated by commas.")            \
    X(ERROR_PLAN, 1203, CMD_USAGE, "settings do not fit this machine",                             \
      "cpu.cores names CPUs that are not there or not allowed, memory.limit is too small for so "  \
      "many cores, or this build lacks the engine.",                                               \
      "Try auto for the setting that the message names; see nproc and taskset -p.")                \
    X(ERROR_THREADS, 1204, CMD_FAILED, "the threads cannot be made",                               \
      "The limit of processes and threads of the user or the cgroup is reached.",                  \
      "Raise it (ulimit -u, TasksMax=), or lower cpu.cores.")                                      \
    X(ERROR_DESCRIPTORS, 1205, CMD_FAILED, "the limit of open files is too low",                   \
      "A server needs some files for each core, and the limit does not reach.",                    \
      "Raise it (ulimit -n, LimitNOFILE=), or lower cpu.cores.")                                   \
    X(ERROR_CORE, 1206, CMD_FAILED, "a core cannot be opened",                                     \
      "Its memory could not be reserved, or its engine of input and output not be opened.",        \
      "Try --set io.engine=posix, or a smaller memory.limit; floe doctor tells which it is.")      \
    X(ERROR_URING, 1207, CMD_OK, "io_uring is not allowed, the posix engine is used",              \
      "A container's seccomp profile (Docker 25 and later) or the sysctl io_uring_disabled "       \
      "forbids it, or a limit is too low. All works, with more CPU time for each record.",         \
      "Allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile, or "     \
      "sysctl kernel.io_uring_disabled=0; or say io.engine=posix and there is no warning.")        \
    X(ERROR_DESCRIPTORS_LOW, 1208, CMD_OK, "the limit of open files is low",                       \
      "The server runs, with fewer connections or fewer open segments than it would take.",        \
      "Raise it (ulimit -n, LimitNOFILE=), or lower connections.max.")                             \
    X(ERROR_ADDRESS_IN_USE, 1209, CMD_FAILED, "another server holds the address",                  \
      "A process listens on the port already, perhaps another floe.",                              \
      "Find it with ss -ltnp; end it, or give another port with --listen.")                        \
    X(ERROR_ADDRESS_NONE, 1210, CMD_FAILED, "the address is not of this machine",                  \
      "No network interface has the address to listen on, or the port may not be taken.",          \
      "See ip address; 0.0.0.0 listens on all of them.")                                           \
    X(ERROR_DATA_BUSY, 1211, CMD_UNAVAILABLE, "the data directory is in use",                      \
      "Another process holds its lock: a server, or a program with libfloe.",                      \
      "End the process that the message names, or give another directory with --data.")            \
    X(ERROR_DATA_FOREIGN, 1212, CMD_FAILED, "the data directory is not ours to open",              \
      "It has files of something else, of a newer floe, of another node, or a map that misses "    \
      "its segments.",                                                                             \
      "Check the path and floe version. For a node.id that differs, drop the setting. What lacks " \
      "its meta/ is for floe cluster rebuild-map.")                                                \
    X(ERROR_DATA_DAMAGED, 1213, CMD_FAILED, "the data directory is damaged",                       \
      "A checksum or a structure of the superblock, the map or a MANIFEST is wrong.",              \
      "Keep a copy. floe log verify DIR says what is wrong; floe cluster rebuild-map DIR shows "   \
      "what a new map would have.")                                                                \
    X(ERROR_START, 1214, CMD_FAILED, "the server cannot start",                                    \
      "A step of the start failed, for the reason in the message.",                                \
      "floe doctor --data DIR looks at what usually stands in the way.")                           \
    X(ERROR_STOP, 1215, CMD_FAILED, "the server did not stop cleanly",                             \
      "Something was not flushed or closed; what was acked is in the journal.",                    \
      "Look at dmesg and the disk's health, then start again: recovery reads the journal.")        \
    X(ERROR_UNREACHABLE, 1301, CMD_UNAVAILABLE, "no server answers there",                         \
      "No floe serve runs at the address, a firewall is in between, or the server told a wrong "   \
      "address of itself.",                                                                        \
      "Check -b HOST:PORT. floe doctor -b HOST:PORT dials it, and what it tells.")                 \
    X(ERROR_RETRY, 1302, CMD_UNAVAILABLE, "the server cannot answer now",                          \
      "The request timed out, or what it needs is starting, moving or short of space.",            \
      "Try again later; look at the server's log if it stays so.")                                 \
    X(ERROR_DENIED, 1303, CMD_DENIED, "the server refuses this user",                              \
      "The user is not known to the server, or may not do this.",                                  \
      "Check the credentials and the rights.")                                                     \
    X(ERROR_CLIENT, 1304, CMD_USAGE, "the client takes no such value",                             \
      "librdkafka, which speaks to the server, refuses an address, a name or a codec.",            \
      "The message has its words; see the verb's --help.")                                         \
    X(ERROR_REFUSED, 1305, CMD_FAILED, "the server refused",                                       \
      "The request was understood and not done, for the reason in the message.",                   \
      "Change the request by that reason.")                                                        \
    X(ERROR_NO_METRICS, 1306, CMD_FAILED, "no metrics there",                                      \
      "What listens at the address is no floe, or takes no HTTP on this port.",                    \
      "Give the address of a listener any:// or http://; floe config show tells.")                 \
    X(ERROR_TOPIC_UNKNOWN, 1401, CMD_NOT_FOUND, "the topic does not exist",                        \
      "No topic has this name, and the server does not make topics when they are named.",          \
      "floe topic list names them; floe topic create NAME makes it.")                              \
    X(ERROR_PARTITION_UNKNOWN, 1402, CMD_NOT_FOUND, "the topic has no such partition",             \
      "Partitions are numbered from 0, and the topic has fewer.",                                  \
      "floe topic describe NAME shows them.")                                                      \
    X(ERROR_TOPIC_EXISTS, 1403, CMD_EXISTS, "the topic exists already",                            \
      "A topic has this name; nothing was changed.",                                               \
      "Use it, delete it first, or take another name.")                                            \
    X(ERROR_TOPIC_INVALID, 1404, CMD_FAILED, "the topic is not possible",                          \
      "Its name has other characters than A-Z a-z 0-9 . _ - or over 249 of them, or it asks for "  \
      "partitions, replicas or settings that this server does not take.",                          \
      "The message says which. There is one copy in this release: --rf 1.")                        \
    X(ERROR_RECORD_TOO_LARGE, 1405, CMD_FAILED, "a record is too large",                           \
      "A batch of records may have max.message.bytes at most, and one record needs more.",         \
      "Split the record, compress it with -z, or make the topic with a larger "                    \
      "max.message.bytes.")                                                                        \
    X(ERROR_OFFSET, 1406, CMD_FAILED, "the offset is outside of the log",                          \
      "The records were removed by retention or trim, or were never written.",                     \
      "floe topic describe NAME shows the first and the next offset; --from start begins there.")  \
    X(ERROR_PARTLY, 1407, CMD_PARTLY, "done for a part only",                                      \
      "Some records, or some partitions, were done, and some were not.",                           \
      "The message counts them. What succeeded needs no second time.")                             \
    X(ERROR_RECORD, 1408, CMD_USAGE, "the input does not have the form of --format",               \
      "A record of the input lacks what stands between the fields, or a field is no number.",      \
      "The message counts to the record. What came before it is written.")                         \
    X(ERROR_NOT_DATA, 1501, CMD_NOT_FOUND, "not a data directory of floe",                         \
      "The directory has no topics/ in it.",                                                       \
      "Give the directory that data.dir names; floe config show tells.")                           \
    X(ERROR_LOG_DAMAGED, 1502, CMD_FAILED, "stored data is damaged",                               \
      "A checksum or a structure is wrong where acked records are.",                               \
      "Look at the disk's health. floe log export prints what can be read; a copy may have the "   \
      "rest.")                                                                                     \
    X(ERROR_NOT_SEGMENT, 1503, CMD_FAILED, "not a segment file",                                   \
      "The file does not begin as a segment does.",                                                \
      "Give a .seg file of topics/, or the data directory. One that was a segment is damaged.")    \
    X(ERROR_LOG_TOPIC, 1504, CMD_NOT_FOUND, "the directory has nothing of this topic",             \
      "No segment of the topic, or of this partition of it, is there.",                            \
      "floe log inspect DIR shows which topics have segments.")                                    \
    X(ERROR_LOG_TWICE, 1505, CMD_FAILED, "several topics were named so",                           \
      "A topic was deleted and made again, and files of both are there.",                          \
      "Give the id of one instead of the name: its folder in topics/.")                            \
    X(ERROR_LOG_LOST, 1506, CMD_PARTLY, "records are missing or cannot be read",                   \
      "A segment is damaged, missing, or not readable; all else was done.",                        \
      "Put the file back from a copy. The offsets that are missing stand in the message.")         \
    X(ERROR_REBUILD_FINDING, 1507, CMD_PARTLY, "something is amiss with the segments",             \
      "Files are missing, damaged, strange or there twice; the message says what the map does.",   \
      "Put files back from a copy first, then run it again.")                                      \
    X(ERROR_REBUILD_LOSS, 1508, CMD_FAILED, "a new map would give records up",                     \
      "By the findings, records would be hidden or lost; nothing was written.",                    \
      "Put the files right, or accept it with --accept-loss.")                                     \
    X(ERROR_REBUILD_SOUND, 1509, CMD_EXISTS, "the map is sound",                                   \
      "There is nothing to rebuild; nothing was written.",                                         \
      "Start floe. --replace-meta makes a new map all the same.")                                  \
    X(ERROR_REBUILD_LIBRARY, 1510, CMD_FAILED, "a directory of libfloe has no map",                \
      "The library keeps none that could be lost.",                                                \
      "Open it with the library, or start floe serve, which takes it over.")                       \
    X(ERROR_REBUILD, 1511, CMD_FAILED, "the new map cannot be made",                               \
      "A step of it failed, for the reason in the message; the old map is kept.",                  \
      "Mend the reason and run the same command again: it begins anew.")                           \
    X(ERROR_DOCTOR, 1601, CMD_FAILED, "floe doctor found what does not work",                      \
      "At least one check failed; a server or its clients would fail there.",                      \
      "Follow the remedy beside each row that says fail.")                                         \
    X(ERROR_GROUP_UNKNOWN, 1701, CMD_NOT_FOUND, "the group does not exist",                        \
      "No group has this name, or it has committed nothing that could be moved.",                  \
      "floe group list names them; a group begins when a consumer joins, or by floe group seek "   \
      "with --topic.")                                                                             \
    X(ERROR_GROUP_BUSY, 1702, CMD_FAILED, "the group has members",                                 \
      "Consumers of the group run now, and would go on committing over what was changed.",         \
      "Stop them; floe group describe NAME shows where they run. One that died without a word "    \
      "goes when its session is over.")                                                            \
    X(ERROR_OTHER, 1901, CMD_FAILED, "failed",                                                     \
      "What was asked for was not done, for the reason in the message.",                           \
      "Mend the reason and try again.")                                                            \
    X(ERROR_OTHER_USAGE, 1902, CMD_USAGE, "the command line is wrong",                             \
      "The words do not fit each other.", "See the verb's --help.")                                \
    X(ERROR_OTHER_MISSING, 1903, CMD_NOT_FOUND, "not found", "What was named does not exist.",     \
      "Check the spelling.")                                                                       \
    X(ERROR_OTHER_DENIED, 1904, CMD_DENIED, "denied", "This user may not do it.",                  \
      "Use another user, or give this one the right.")                                             \
    X(ERROR_OTHER_RETRY, 1905, CMD_UNAVAILABLE, "not available now",                               \
      "What is needed cannot be reached or takes too long.", "Try again later.")                   \
    X(ERROR_OTHER_PARTLY, 1906, CMD_PARTLY, "done for a part only",                                \
      "A part was not done, for the reason in the message.", "Mend the reason and try again.")     \
    X(ERROR_OTHER_EXISTS, 1907, CMD_EXISTS, "exists already", "What was to be made is there.",     \
      "Use it, or take another name.")

enum error {

#define X(name, number, exit, what, cause, remedy) name = (number),
    ERRORS_TABLE(X)
#undef X
};

enum { ERROR_TEXT_BYTES = sizeof("FLOE-0000") };

struct error_kind {
    enum error number;
    enum cmd_exit exit;
    const char *what, *cause, *remedy;
};

extern const struct error_kind errors_table[];
extern const uint32_t errors_count;

/* The kind of a number; NULL: there is none. */
const struct error_kind *errors_find(int64_t number);

/* What cmd_fail() takes, an error or a bare exit code, as a kind; NULL for CMD_OK, a remark. */
const struct error_kind *errors_kind(int code);

/* The exit code of what cmd_fail() takes. */
int errors_exit(int code);

/* The kind of what went wrong with a data directory, or with a start on it. */
int errors_of(enum err err);

/* The kind of an errno of a path. */
int errors_of_path(int error);

/* "FLOE-1401" */
const char *errors_text(enum error error, char text[ERROR_TEXT_BYTES]);

/* "FLOE-1401", "floe-1401", "[FLOE-1401]" and "1401"; false: `text` is no such thing. */
NODISCARD bool errors_parse(const char *text, int64_t *number);

/* The kind whose number is nearest. */
const struct error_kind *errors_nearest(int64_t number);
