/* Every verb with its flags, its sentence and its examples: what --help prints is what is parsed.
 */
#include "tools/cmd_verbs.h"

#include "tools/cmd_record.h"
#include "tools/cmd_where.h"

const struct cmd_flag cmd_flag_broker = {"--broker", "-b", "HOST:PORT",
                                         "the server (default localhost:9092)"};
const struct cmd_flag cmd_flag_output = {"--output", "-o", "table|json|jsonl",
                                         "how the answer is printed (default table)"};
const struct cmd_flag cmd_flag_help = {"--help", "-h", NULL, "this text"};

static const struct cmd_flag serve_flags[] = {
    {"--dev", NULL, NULL, "for trying out: temporary directory, 1-2 cores, topics made when named"},
    {"--config", "-c", "FILE", "settings file (INI)"},
    {"--data", NULL, "DIR", "data.dir"},
    {"--listen", NULL, "URL[,URL]", "listen, such as kafka://127.0.0.1:9092"},
    {"--node-id", NULL, "N", "node.id"},
    {"--join", NULL, "HOST:PORT", "join a cluster; not there in this release"},
    {"--set", NULL, "KEY=VALUE", "any setting, see floe config show; may be repeated"},
};

static const struct cmd_flag create_flags[] = {
    {"--partitions", "-p", "N", "how many (default: the server's)"},
    {"--rf", NULL, "N", "replication factor (default: the server's)"},
    {"--config", "-c", "KEY=VALUE", "a setting of the topic; may be repeated"},
};

static const struct cmd_flag alter_flags[] = {
    {"--partitions", "-p", "N", "how many from now on"},
    {"--rf", NULL, "N", "replication factor from now on"},
    {"--config", "-c", "KEY=VALUE", "a setting of the topic; may be repeated"},
    {"--delete-config", NULL, "KEY", "back to the server's value; may be repeated"},
};

static const struct cmd_flag describe_flags[] = {
    {"--configs", NULL, NULL, "every setting of the topic with its source, instead of partitions"},
};

static const struct cmd_flag trim_flags[] = {
    {"--to", NULL, "OFFSET|end|-N|@TIME",
     "the first offset to keep; end: keep none; -N: keep the last N of each "
     "partition; " CMD_WHERE_TIME_HELP},
    {"--partition", "-p", "P", "only this one (default: all)"},
    {"--yes", NULL, NULL, "delete them: nobody can bring them back"},
};

static const struct cmd_flag seek_flags[] = {
    {"--to", NULL, "start|end|OFFSET|-N|@TIME",
     "where to read on; -N: the last N records of each partition; " CMD_WHERE_TIME_HELP
     "; earliest and latest are start and end"},
    {"--topic", "-t", "TOPIC", "only this one; may be repeated (default: all it has committed)"},
    {"--partition", "-p", "P", "only this one (default: all)"},
    {"--dry-run", NULL, NULL, "show what would move, and change nothing: so it is without --yes"},
    {"--yes", NULL, NULL, "move them"},
};

static const struct cmd_flag produce_flags[] = {
    {"--key", "-k", "KEY", "the key of every record"},
    {"--header", "-H", "NAME=VALUE", "a header of every record; may be repeated"},
    {"--partition", "-p", "P", "the partition (default: by key, else any)"},
    {"--acks", NULL, "all|1|0", "who must have it before it counts as written (default all)"},
    {"--delimiter", "-D", "TEXT", "what ends a record (default \\n); '' takes stdin as one record"},
    {"--format", "-f", "FORMAT",
     "what the input is made of: %k key %v value %p partition %h headers as a=1,b=2 %d or %T time "
     "in ms, with text between them; " CMD_FORMAT_ESCAPES "; without %v a record is a null"},
    {"--codec", "-z", "none|gzip|snappy|lz4|zstd", "compression (default none)"},
};

static const struct cmd_flag consume_flags[] = {
    {"--partition", "-p", "P", "only this one (default: all)"},
    {"--from", NULL, "start|end|OFFSET|-N|@TIME",
     "where to begin; -N: the last N of each partition; " CMD_WHERE_TIME_HELP
     " (default: end; start if --until is given)"},
    {"--filter", NULL, "TEXT", "only records with TEXT in key or value; if repeated, with all"},
    {"--until", NULL, "end|OFFSET", "end: what is there now; or the first offset not to print"},
    {"--count", "-n", "N", "stop after N records"},
    {"--format", "-f", "FORMAT", CMD_RECORD_FORMAT_HELP},
};

static const struct cmd_flag export_flags[] = {
    {"--partition", "-p", "P", "only this one (default: all)"},
    {"--from", NULL, "OFFSET", "the first offset to print (default: the first there is)"},
    {"--until", NULL, "OFFSET", "the first offset not to print (default: to the end)"},
    {"--count", "-n", "N", "stop after N records"},
    {"--format", "-f", "FORMAT", CMD_RECORD_FORMAT_HELP},
};

static const struct cmd_flag rebuild_flags[] = {
    {"--write", NULL, NULL,
     "write the new map; what is in meta/ is kept as meta.old-TIME. Code 6: done, with findings"},
    {"--accept-loss", NULL, NULL,
     "write also what hides records or gives them up, as the findings say; no file is deleted"},
    {"--replace-meta", NULL, NULL,
     "write also if the map in meta/ is sound; segments that are put back later need it, before "
     "floe starts"},
    {"--partitions", "-p", "NAME=N",
     "topic NAME had N partitions, though the last have no files; may be repeated"},
};

static const struct cmd_flag config_flags[] = {
    {"--config", "-c", "FILE", "settings file (INI)"},
    {"--set", NULL, "KEY=VALUE", "as floe serve would be given it; may be repeated"},
};

static const struct cmd_flag doctor_flags[] = {
    {"--config", "-c", "FILE", "settings file (INI)"},
    {"--data", NULL, "DIR", "data.dir"},
    {"--listen", NULL, "URL[,URL]", "listen, such as kafka://127.0.0.1:9092"},
    {"--set", NULL, "KEY=VALUE", "as floe serve would be given it; may be repeated"},
    {"--from-client", NULL, "HOST", "whether a client on HOST would come in and be told well"},
};

static const struct cmd_flag top_flags[] = {
    {"--interval", "-i", "SECONDS", "between two frames (default 1)"},
    {"--count", "-n", "N", "stop after N frames"},
    {"--once", NULL, NULL, "one frame, as --count 1"},
};

static const struct cmd_flag man_flags[] = {
    {"--dir", NULL, "DIR", "write every page into this directory, as floe.1, floe-topic.1 ..."},
};

#define FLAGS(table)             .flags = (table), .flag_count = ARRAY_COUNT(table)
#define OPERANDS(text, min, max) .operands = (text), .operand_min = (min), .operand_max = (max)

const struct cmd_verb cmd_verbs[] = {
    {.noun = "serve",
     FLAGS(serve_flags),
     .run = cmd_serve,
     .sentence = "run the server",
     .examples = "  floe serve --dev\n"
                 "  floe serve -c /etc/floe/floe.ini\n"
                 "  floe serve --data /srv/floe --listen kafka://0.0.0.0:9092\n"},
    {.noun = "topic",
     .verb = "create",
     OPERANDS("NAME", 1, 1),
     FLAGS(create_flags),
     .client = true,
     .rows = true,
     .run = cmd_topic_create,
     .sentence = "make a topic",
     .examples = "  floe topic create orders\n"
                 "  floe topic create orders --partitions 16\n"
                 "  floe topic create logs --config durability=os\n"},
    {.noun = "topic",
     .verb = "list",
     .client = true,
     .rows = true,
     .run = cmd_topic_list,
     .sentence = "name the topics",
     .examples = "  floe topic list\n"
                 "  floe topic list -o jsonl\n"
                 "  floe topic list -b broker-1:9092\n"},
    {.noun = "topic",
     .verb = "describe",
     OPERANDS("NAME", 1, 1),
     FLAGS(describe_flags),
     .client = true,
     .rows = true,
     .run = cmd_topic_describe,
     .sentence = "show the partitions of a topic: leader, replicas, first and next offset; in a "
                 "table also what it sets",
     .examples = "  floe topic describe orders\n"
                 "  floe topic describe orders --configs\n"
                 "  floe topic describe orders -b broker-1:9092 -o json\n"},
    {.noun = "topic",
     .verb = "alter",
     OPERANDS("NAME", 1, 1),
     FLAGS(alter_flags),
     .client = true,
     .rows = true,
     .run = cmd_topic_alter,
     .sentence = "change a topic: more partitions, other settings",
     .examples = "  floe topic alter orders --partitions 32\n"
                 "  floe topic alter orders --config retention.ms=86400000 --config durability=os\n"
                 "  floe topic alter orders --delete-config retention.ms\n"},
    {.noun = "topic",
     .verb = "delete",
     OPERANDS("NAME", 1, 1),
     .client = true,
     .rows = true,
     .run = cmd_topic_delete,
     .sentence = "delete a topic and its records",
     .examples = "  floe topic delete orders\n"
                 "  floe topic delete orders -b broker-1:9092\n"
                 "  floe topic delete orders -o json\n"},
    {.noun = "topic",
     .verb = "trim",
     OPERANDS("NAME", 1, 1),
     FLAGS(trim_flags),
     .client = true,
     .rows = true,
     .run = cmd_topic_trim,
     .sentence = "show which records of a topic would go, and delete them with --yes",
     .examples = "  floe topic trim orders --to 1000 --partition 0\n"
                 "  floe topic trim events --to @-30d\n"
                 "  floe topic trim scratch --to end --yes\n"},
    {.noun = "topic",
     .verb = "usage",
     OPERANDS("[NAME]", 0, 1),
     .client = true,
     .rows = true,
     .run = cmd_topic_usage,
     .sentence = "count the records of each partition, with the times of its first and last one, "
                 "and its bytes on the disk; the server's own topic only when it is named",
     .examples = "  floe topic usage\n"
                 "  floe topic usage orders\n"
                 "  floe topic usage orders -o json\n"},
    {.noun = "group",
     .verb = "list",
     .client = true,
     .rows = true,
     .run = cmd_group_list,
     .sentence = "name the groups of consumers, with state, protocol and number of members",
     .examples = "  floe group list\n"
                 "  floe group list -o jsonl\n"
                 "  floe group list -b broker-1:9092\n"},
    {.noun = "group",
     .verb = "describe",
     OPERANDS("GROUP", 1, 1),
     .client = true,
     .rows = true,
     .run = cmd_group_describe,
     .sentence = "show what a group has committed, who reads it, and its lag in records and in "
                 "seconds since the next one to read was written",
     .examples = "  floe group describe billing\n"
                 "  floe group describe billing -o json\n"
                 "  floe group describe billing -b broker-1:9092\n"},
    {.noun = "group",
     .verb = "seek",
     OPERANDS("GROUP", 1, 1),
     FLAGS(seek_flags),
     .client = true,
     .rows = true,
     .run = cmd_group_seek,
     .sentence = "show where a group without members would read on, and move it there with --yes",
     .examples = "  floe group seek billing --to start\n"
                 "  floe group seek billing --to @-1h --topic orders --yes\n"
                 "  floe group seek billing --to 1000 -t orders -p 0 --yes\n"},
    {.noun = "group",
     .verb = "delete",
     OPERANDS("GROUP", 1, 1),
     .client = true,
     .rows = true,
     .run = cmd_group_delete,
     .sentence = "delete a group without members, and its offsets",
     .examples = "  floe group delete billing\n"
                 "  floe group delete billing -b broker-1:9092\n"
                 "  floe group delete billing -o json\n"},
    {.noun = "produce",
     OPERANDS("TOPIC [FILE]...", 1, CMD_OPERANDS_MAX),
     FLAGS(produce_flags),
     .client = true,
     .rows = true,
     .run = cmd_produce,
     .sentence = "write a record per line of standard input, or one per file",
     .examples = "  echo hello | floe produce greetings\n"
                 "  floe produce events -k user-7 -H source=import < events.txt\n"
                 "  floe produce pictures a.png b.png\n"},
    {.noun = "consume",
     OPERANDS("TOPIC", 1, 1),
     FLAGS(consume_flags),
     .client = true,
     .rows = true,
     .run = cmd_consume,
     .sentence = "print records",
     .examples = "  floe consume greetings --until end\n"
                 "  floe consume events --from -10 --format '%p %o %k %v\\n'\n"
                 "  floe consume events --from @2026-11-24T10:00:00 -n 100 -o jsonl\n"},
    {.noun = "log",
     .verb = "inspect",
     OPERANDS("DIR|FILE", 1, 1),
     .rows = true,
     .run = cmd_log_inspect,
     .sentence = "print the segments of a data directory, or the batches of one; offline",
     .examples = "  floe log inspect /var/lib/floe\n"
                 "  floe log inspect /var/lib/floe/topics/*/0/8000000000000001.seg\n"
                 "  floe log inspect backup -o jsonl\n"},
    {.noun = "log",
     .verb = "verify",
     OPERANDS("DIR|FILE", 1, 1),
     .rows = true,
     .run = cmd_log_verify,
     .sentence = "check every checksum of segment files, MANIFEST and journals; offline",
     .examples = "  floe log verify /var/lib/floe\n"
                 "  floe log verify backup -o json\n"
                 "  floe log verify 8000000000000001.seg\n"},
    {.noun = "log",
     .verb = "export",
     OPERANDS("DIR TOPIC|FILE", 1, 2),
     FLAGS(export_flags),
     .rows = true,
     .run = cmd_log_export,
     .sentence = "print the records of a topic in a data directory, or of one segment; offline",
     .examples = "  floe log export /var/lib/floe orders -o jsonl > orders.jsonl\n"
                 "  floe log export backup orders -p 0 --from 1000 --until 2000\n"
                 "  floe log export 8000000000000001.seg --format '%o %k %v\\n'\n"},
    {.noun = "cluster",
     .verb = "rebuild-map",
     OPERANDS("DIR", 1, 1),
     FLAGS(rebuild_flags),
     .rows = true,
     .run = cmd_cluster_rebuild_map,
     .sentence = "make the map of a data directory anew from its segments, when meta/ is lost: "
                 "print it, or write it; offline",
     .examples = "  floe cluster rebuild-map /var/lib/floe\n"
                 "  floe cluster rebuild-map backup -o json\n"
                 "  floe cluster rebuild-map /var/lib/floe --write --partitions orders=16\n"},
    {.noun = "config",
     .verb = "show",
     FLAGS(config_flags),
     .rows = true,
     .run = cmd_config_show,
     .sentence = "show every setting, its value and where that comes from",
     .examples = "  floe config show\n"
                 "  floe config show -c /etc/floe/floe.ini\n"
                 "  floe config show --set cpu.cores=4 -o json\n"},
    {.noun = "config",
     .verb = "check",
     FLAGS(config_flags),
     .rows = true,
     .run = cmd_config_check,
     .sentence = "check settings as serve on this machine would; touches no data",
     .examples = "  floe config check -c /etc/floe/floe.ini\n"
                 "  floe config check --set segment.bytes=64MiB\n"
                 "  FLOE_IO_ENGINE=posix floe config check\n"},
    {.noun = "doctor",
     FLAGS(doctor_flags),
     .client = true,
     .rows = true,
     .run = cmd_doctor,
     .sentence = "look for what stands in the way of a server or its clients; changes nothing",
     .examples = "  floe doctor\n"
                 "  floe doctor -c /etc/floe/floe.ini -o json\n"
                 "  floe doctor -b broker-1:9092\n"},
    {.noun = "top",
     FLAGS(top_flags),
     .client = true,
     .rows = true,
     .run = cmd_top,
     .sentence = "watch what every core does, per second: turns, requests, bytes, records, "
                 "flushes; live on a terminal (q quits), else a frame per interval",
     .examples = "  floe top\n"
                 "  floe top --once\n"
                 "  floe top -n 60 -o jsonl -b broker-1:9092 > minute.jsonl\n"},
    {.noun = "explain",
     OPERANDS("[CODE]", 0, 1),
     .rows = true,
     .run = cmd_explain,
     .sentence = "say what the code at the end of an error message stands for, or list all codes",
     .examples = "  floe explain FLOE-1401\n"
                 "  floe explain 1207 -o json\n"
                 "  floe explain\n"},
    {.noun = "completion",
     OPERANDS("bash|zsh|fish", 1, 1),
     .run = cmd_completion,
     .sentence = "print the script that completes floe's words in a shell",
     .examples = "  source <(floe completion bash)\n"
                 "  floe completion zsh > ~/.zfunc/_floe\n"
                 "  floe completion fish > ~/.config/fish/completions/floe.fish\n"},
    {.noun = "man",
     OPERANDS("[NOUN [VERB]]", 0, 2),
     FLAGS(man_flags),
     .run = cmd_man,
     .sentence = "print a manual page, or write all of them",
     .examples = "  floe man | man -l -\n"
                 "  floe man topic | man -l -\n"
                 "  floe man --dir /usr/local/share/man/man1\n"},
    {.noun = "version",
     .rows = true,
     .run = cmd_version,
     .sentence = "print the version",
     .examples = "  floe version\n  floe version -o json\n  floe --version\n"},
};

const uint32_t cmd_verb_count = ARRAY_COUNT(cmd_verbs);
