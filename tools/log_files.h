/* The segment files of a data directory, or one of them, as they lie on the disk; with what its
 * journals have behind their ends. For the verbs that work without a server: they write nothing.
 *
 *     log_files_find() -> files, journals -> log_files_walk_all(), log_file_walk() -> what is there
 */
#pragma once

#include "shard/inspect.h"
#include "tools/cmd.h"

enum { LOG_PATH_BYTES = 4096 };

/* One segment file and what a walk through it found. */
struct log_file {
    char *path;
    uint64_t bytes;
    enum err err; /* Of its header: nothing below is set then. */
    struct segment_header header;
    bool sealed;
    struct segment_seal seal; /* If it is sealed. */
    enum inspect_end end;
    uint64_t offset_end, log_start, records, batches, problem_position;
    uint64_t journal_records; /* Of the records: those that are in a journal alone. */
    uint64_t chain;           /* At offset_end. */
    int64_t producer_max;     /* Greatest id of a producer; -1: none. */
    int64_t timestamp_max;    /* Greatest time of a batch or, where none has one, of an append. */
    const char *problem;
};

struct log_files {
    const struct cmd *cmd;
    struct log_file *files;
    size_t count, room;
    char data_dir[LOG_PATH_BYTES]; /* Empty: a file that is in none. */
    bool owned;                    /* The caller has the directory open. */
    bool running;                  /* Somebody else has it open. */
    struct journal_view *journals; /* NULL: there is no data directory. */
};

/* Finds the files of data directory `path`, or takes `path` as one, and reads the journals. CMD_OK,
 * or another code after it has said why. `list` has its cmd, all else is zero; free it in any case.
 */
NODISCARD int log_files_find(struct log_files *list, const char *path);
void log_files_free(struct log_files *list);

/* Opens and walks; `each`, if any, is called for every frame. CMD_OK unless the file cannot be
 * opened or read at all. */
NODISCARD int log_file_walk(struct log_files *list, struct log_file *file,
                            void (*each)(const struct inspect *inspect, void *context),
                            void *context);

/* Reads the headers alone, and sorts the files by them. */
NODISCARD int log_files_read_headers(struct log_files *list);

/* Walks all, with progress on a terminal, and sorts them: by topic, partition, offset. */
NODISCARD int log_files_walk_all(struct log_files *list);

/* A problem that a walk through one file found, as a sentence; `code` if there is none. */
int log_file_say_problem(const struct log_files *list, const struct log_file *file, int code);

/* What is wrong with MANIFEST and journals, as sentences; `code` if nothing is. */
int log_files_say_problems(const struct log_files *list, int code);

/* Where `path` stands: topics/TOPIC/PARTITION/SEGMENT.seg at its end. False: it does not. */
bool log_file_place(const char *path, struct partition_id *partition, uint64_t *segment_id);

/* The journals speak of a segment that was the newest of its partition, and its file is gone: then
 * `path` says where it should be. */
bool log_files_lack(const struct log_files *list, const struct journal_view_segment *segment,
                    char *path, size_t path_bytes);
