/* floe serve: settings -> plan of cores -> one pinned thread per core -> a node; then waits for a
 * signal.
 *
 *     main thread      makes the threads, starts the node, waits for SIGTERM or SIGINT, stops it
 *     core threads     open their reactor (io_uring wants its own thread), then turn it to the end
 *
 * What goes wrong before "floe ready" is one sentence on stderr and an exit code.
 *
 * All signals are blocked and taken by the main thread where it waits. The first SIGTERM or SIGINT
 * ends the server in order with 0, also while it starts: then the step that runs is the last one.
 * The next one ends the drain, if that is where it is: connections are cut, and the stop goes on.
 * Anywhere else, and after that, it ends the process where it stands. */
#include "core/assert.h"
#include "core/limits.h"
#include "core/log.h"
#include "tools/cmd.h"
#include "tools/descriptors.h"
#include "tools/errors.h"
#include "tools/node.h"
#include "tools/serve_dev.h"
#include "tools/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Tells the main thread to look at `event`. */
#define SERVE_EVENT SIGUSR2

enum { SERVE_ECHO_MS = 1000 };

struct serve;

struct serve_thread {
    struct serve *serve;
    struct reactor *reactor;
    struct topology_core place;
    pthread_t thread;
    bool started;
    enum err err; /* Of reactor_open(). */
    char engine[256];
};

struct serve {
    const struct cmd *cmd;
    struct settings settings;
    bool dev;
    bool data_temporary;
    char data_dir[4096];
    struct node_options node_options;
    char listen_text[1024];
    const struct io_engine *engine; /* Of all cores: they wake each other by their own. */
    struct io_helper *helper;
    uint32_t thread_count;
    struct serve_thread *threads;
    struct reactor **reactors;
    struct node *node;
    struct completion done;
    pthread_t main;
    sigset_t signals; /* Taken in every wait: to end, and SERVE_EVENT. */
    int ending;       /* The first signal to end; 0 = none yet. */
    struct timespec ending_time;
    sem_t event; /* A thread is open, the node has answered, counters are written. */
    int32_t result;
};

static bool serve_choose_data(struct serve *serve)
{
    const char *dir = config_text(serve->settings.config, "data.dir");
    bool given = config_source(serve->settings.config, "data.dir") != CONFIG_FROM_DEFAULT;
    if (!given && serve->dev) {
        if (!serve_dev_make_directory(serve->data_dir, sizeof(serve->data_dir))) {
            (void)cmd_fail(serve->cmd, errors_of_path(errno),
                           "cannot make a temporary directory %s: %s", serve->data_dir,
                           strerror(errno));
            return false;
        }
        serve->data_temporary = true;
        return true;
    }
    snprintf(serve->data_dir, sizeof(serve->data_dir), "%s", dir);
    return true;
}

static enum durability serve_durability(const char *text)
{
    return strcmp(text, "os") == 0       ? DURABILITY_OS
           : strcmp(text, "memory") == 0 ? DURABILITY_MEMORY
                                         : DURABILITY_DISK;
}

static void serve_fill_options(struct serve *serve)
{
    const struct config *config = serve->settings.config;
    struct node_options *node = &serve->node_options;
    *node = (struct node_options){
        .data_dir = serve->data_dir,
        .version = FLOE_VERSION,
        .node_id = (uint32_t)config_number(config, "node.id"),
        .direct = strcmp(config_text(config, "storage.engine"), "direct") == 0,
        .mapped = strcmp(config_text(config, "storage.engine"), "mmap") == 0,
        .partitions_max = PARTITIONS_MAX,
        .connections_max = (uint32_t)config_number(config, "connections.max"),
        .retention_check_ms = (uint32_t)config_number(config, "retention.check.ms"),
        .meta_log_file_bytes = (uint64_t)config_number(config, "meta.log.bytes"),
        .config_default =
            {
                .segment_records = (uint64_t)config_number(config, "segment.records"),
                .segment_bytes = (uint64_t)config_number(config, "segment.bytes"),
                .batch_bytes_max = BATCH_BYTES_MAX_DEFAULT,
                .durability = serve_durability(config_text(config, "durability")),
                .timestamp_before_max_ms = INT64_MAX,
                .timestamp_after_max_ms = 3600000,
                .producer_expiry_ms = 86400000,
                .retention_ms = config_number(config, "retention.ms"),
                .retention_bytes = config_number(config, "retention.bytes"),
                .deep_validation = true,
            },
        .settings = config,
    };
    settings_read_door(&serve->settings, serve->dev, node);
    settings_read_boot_id(node->boot_id);
    node->listen_count = serve->settings.listen_count;
    memcpy(node->listen, serve->settings.listen, sizeof(node->listen));
}

static int serve_share_descriptors(struct serve *serve)
{
    struct node_options *node = &serve->node_options;
    struct descriptors share;
    int code = descriptors_judge(&share, serve->cmd, serve->settings.plan.core_count,
                                 node->connections_max);
    node->files_max = share.files_max;
    node->files_limit = share.limit;
    node->connections_max = share.connections_max;
    return code;
}

static enum err serve_open_reactor(struct serve_thread *thread)
{
    struct serve *serve = thread->serve;
    struct reactor_options options = {
        .index = (uint32_t)(thread - serve->threads),
        .engine = serve->engine,
        .io = {.entries = 512, .recv_count = 64, .recv_size = 65536, .helper = serve->helper},
        .memory = {.limit_bytes = thread->place.memory_bytes,
                   .numa_node = thread->place.numa_node,
                   .bind = topology_bind,
                   .prefault = config_bool(serve->settings.config, "memory.prefault")},
        .idle_poll_us = serve->settings.plan.idle_poll_us,
    };
    if (!prng_entropy(options.seed)) {
        return ERR_IO;
    }
    return reactor_open(thread->reactor, &options);
}

/* From any thread: serve_wait() returns once for it. */
static void serve_happened(struct serve *serve)
{
    sem_post(&serve->event);
    pthread_kill(serve->main, SERVE_EVENT);
}

static void *serve_thread_main(void *argument)
{
    struct serve_thread *thread = argument;
    if (thread->serve->settings.plan.pinned) {
        enum err err = topology_pin(&thread->place);
        if (err != OK) {
            LOG_WARN("cannot pin core cpu=%u reason=\"%s\"", thread->place.cpu, err_text(err));
        }
    }
    thread->err = serve_open_reactor(thread);
    if (thread->err == OK) {
        thread->reactor->engine->describe(thread->reactor, thread->engine, sizeof(thread->engine));
    }
    serve_happened(thread->serve);
    if (thread->err != OK) {
        return NULL;
    }
    reactor_run(thread->reactor);
    return NULL;
}

/* A signal to end. The same one again within a second is the first one's echo: timeout(1) sends it
 * to its child, then to the group of both. */
static void serve_end(struct serve *serve, int number)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (serve->ending == 0) {
        serve->ending = number;
        serve->ending_time = now;
        LOG_INFO("stopping signal=%d", number);
        if (serve->node != NULL) {
            node_cancel(serve->node);
        }
        return;
    }
    int64_t after_ms = (now.tv_sec - serve->ending_time.tv_sec) * 1000 +
                       (now.tv_nsec - serve->ending_time.tv_nsec) / 1000000;
    if (number == serve->ending && after_ms < SERVE_ECHO_MS) {
        return;
    }
    if (serve->node != NULL && node_hurry(serve->node)) {
        serve->ending = number;
        serve->ending_time = now;
        LOG_WARN("the drain ends at once signal=%d: what is not answered is cut off, then the stop "
                 "goes on; one more signal ends the process where it stands",
                 number);
        return;
    }
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, number);
    (void)signal(number, SIG_DFL);
    (void)raise(number);
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    UNREACHABLE();
}

static void serve_take(struct serve *serve, int number)
{
    if (number == SIGTERM || number == SIGINT) {
        serve_end(serve, number);
    }
}

/* Waits for one event; takes the signals that come before it. */
static void serve_wait(struct serve *serve)
{
    static const struct timespec now = {0};
    for (;;) {
        int number = sigtimedwait(&serve->signals, NULL, &now);
        if (number < 0 && sem_trywait(&serve->event) == 0) {
            return;
        }
        serve_take(serve, number > 0 ? number : sigwaitinfo(&serve->signals, NULL));
    }
}

/* Zeroed, placed and connected; none is open yet. */
static bool serve_make_reactors(struct serve *serve)
{
    serve->thread_count = serve->settings.plan.core_count + 1;
    serve->threads = calloc(serve->thread_count, sizeof(*serve->threads));
    serve->reactors = calloc(serve->thread_count, sizeof(*serve->reactors));
    if (serve->threads == NULL || serve->reactors == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < serve->thread_count; i++) {
        serve->reactors[i] = aligned_alloc(CACHE_LINE_BYTES, sizeof(struct reactor));
        if (serve->reactors[i] == NULL) {
            return false;
        }
        memset(serve->reactors[i], 0, sizeof(struct reactor));
        serve->reactors[i]->index = i;
        serve->threads[i].serve = serve;
        serve->threads[i].reactor = serve->reactors[i];
        serve->threads[i].place = i < serve->settings.plan.core_count
                                      ? serve->settings.plan.cores[i]
                                      : serve->settings.plan.meta;
    }
    return reactor_connect(serve->reactors, serve->thread_count) == OK;
}

/* Makes a thread per core and waits until each has opened its reactor, or failed to: from then on
 * a reactor may be stopped. 0, or the errno of the thread that could not be made. */
static int serve_make_threads(struct serve *serve)
{
    int error = 0;
    uint32_t started = 0;
    while (started < serve->thread_count && error == 0) {
        struct serve_thread *thread = &serve->threads[started];
        error = pthread_create(&thread->thread, NULL, serve_thread_main, thread);
        thread->started = error == 0;
        started += thread->started;
    }
    for (uint32_t i = 0; i < started; i++) {
        serve_wait(serve);
    }
    return error;
}

/* All that serve_try_threads() made, as far as it came; it may be tried again. */
static void serve_stop_threads(struct serve *serve)
{
    for (uint32_t i = 0; i < serve->thread_count && serve->threads != NULL; i++) {
        if (serve->threads[i].started) {
            if (serve->threads[i].err == OK) {
                reactor_stop(serve->reactors[i]);
            }
            pthread_join(serve->threads[i].thread, NULL);
        }
    }
    if (serve->helper != NULL) {
        io_helper_stop(serve->helper);
        serve->helper = NULL;
    }
    /* Only now can nobody wake a reactor any more. */
    for (uint32_t i = 0; i < serve->thread_count && serve->threads != NULL; i++) {
        if (serve->threads[i].started && serve->threads[i].err == OK) {
            reactor_close(serve->reactors[i]);
        }
    }
    if (serve->reactors != NULL) {
        reactor_disconnect(serve->reactors, serve->thread_count);
        for (uint32_t i = 0; i < serve->thread_count; i++) {
            free(serve->reactors[i]);
        }
    }
    free(serve->reactors);
    free(serve->threads);
    serve->reactors = NULL;
    serve->threads = NULL;
}

/* The first core that did not open; NULL = all did. */
static const struct serve_thread *serve_unopened(const struct serve *serve)
{
    for (uint32_t i = 0; i < serve->thread_count; i++) {
        if (serve->threads[i].err != OK) {
            return &serve->threads[i];
        }
    }
    return NULL;
}

/* All cores, open on `engine` and turning. False: `error` is the errno of the thread that could not
 * be made, or 0 if a core did not open. serve_stop_threads() in any case. */
static bool serve_try_threads(struct serve *serve, const struct io_engine *engine, int *error)
{
    serve->engine = engine;
    *error = ENOMEM;
    if (!serve_make_reactors(serve)) {
        return false;
    }
    *error = 0;
    if (engine != &io_engine_posix) {
        serve->helper = io_helper_start(); /* Each posix core makes its own. */
        *error = serve->helper == NULL ? EAGAIN : 0;
    }
    if (*error == 0) {
        *error = serve_make_threads(serve);
    }
    return *error == 0 && serve_unopened(serve) == NULL;
}

static int serve_explain_threads(const struct serve *serve, int error)
{
    if (error != 0) {
        return cmd_fail(serve->cmd, ERROR_THREADS,
                        "cannot make %u threads: %s. Raise the limit of processes and threads "
                        "(ulimit -u), or lower cpu.cores",
                        serve->thread_count + 1, strerror(error));
    }
    const struct serve_thread *thread = serve_unopened(serve);
    ASSERT(thread != NULL);
    return cmd_fail(serve->cmd, ERROR_CORE,
                    "cannot open core %u: %s (io.engine=%s, memory of this core %" PRIu64
                    " bytes). Try --set io.engine=posix, or a smaller --set memory.limit=...",
                    (uint32_t)(thread - serve->threads), err_text(thread->err),
                    config_text(serve->settings.config, "io.engine"), thread->place.memory_bytes);
}

#ifdef FLOE_HAS_URING
static const char *serve_uring_hint(enum err err)
{
    if (err == ERR_NO_MEMORY || err == ERR_LIMIT) {
        return "a limit is too low for it: see ulimit -l and ulimit -n";
    }
    return "a container's seccomp profile or the sysctl io_uring_disabled usually forbids it";
}
#endif

/* io.engine: the one asked for, or uring with a loud fallback, of all cores if one cannot have it.
 * CMD_OK, or CMD_FAILED after it has said why; serve_stop_threads() in any case. */
static int serve_start_threads(struct serve *serve)
{
    int error = 0;
#ifdef FLOE_HAS_URING
    const char *wanted = config_text(serve->settings.config, "io.engine");
    if (strcmp(wanted, "posix") != 0) {
        if (serve_try_threads(serve, &io_engine_uring, &error)) {
            return CMD_OK;
        }
        if (error != 0 || strcmp(wanted, "uring") == 0) {
            return serve_explain_threads(serve, error);
        }
        const struct serve_thread *thread = serve_unopened(serve);
        ASSERT(thread != NULL);
        uint32_t core = (uint32_t)(thread - serve->threads);
        enum err err = thread->err;
        serve_stop_threads(serve);
        if (!serve_try_threads(serve, &io_engine_posix, &error)) {
            /* Such as a core's memory: not for io_uring to answer for. */
            return serve_explain_threads(serve, error);
        }
        char text[ERROR_TEXT_BYTES];
        LOG_WARN("io_uring is not available, using the posix engine core=%u reason=\"%s\" "
                 "hint=\"%s\" code=%s",
                 core, err_text(err), serve_uring_hint(err), errors_text(ERROR_URING, text));
        return CMD_OK;
    }
#endif
    return serve_try_threads(serve, &io_engine_posix, &error) ? CMD_OK
                                                              : serve_explain_threads(serve, error);
}

static void serve_answered(struct completion *completion)
{
    struct serve *serve = CONTAINER_OF(completion, struct serve, done);
    serve->result = completion->result;
    serve_happened(serve);
}

static void serve_say_ready(const struct serve *serve)
{
    char text[IO_ADDRESS_TEXT_BYTES];
    char listen[1024] = "";
    for (uint32_t i = 0; i < serve->node_options.listen_count; i++) {
        const struct net_listen *at = node_listening(serve->node, i);
        size_t used = strlen(listen);
        snprintf(listen + used, sizeof(listen) - used, "%s%s://%s", i > 0 ? "," : "",
                 net_protocol_name(at->protocol), io_address_text(&at->address, text));
    }
    LOG_INFO("profile %s pinned=%d idle_poll_us=%u", serve->threads[0].engine,
             serve->settings.plan.pinned, serve->reactors[0]->idle_poll_us);
    fprintf(stderr, "floe ready listen=%s node=%u cores=%u io=%s storage=%s\n", listen,
            node_id(serve->node), serve->settings.plan.core_count, serve->engine->name,
            config_text(serve->settings.config, "storage.engine"));
    if (serve->dev) {
        fprintf(stderr, "data in %s%s\n", serve->data_dir,
                serve->data_temporary ? " (temporary: removed at a clean stop)" : "");
        serve_dev_say_first_steps(node_listening(serve->node, 0)->address.port);
    }
}

/* SIGUSR1: one line of counters per core, for operators and tests. The counters are their cores'
 * own; a read from here may be a turn old. */
struct serve_dump {
    struct completion done;
    struct reactor *reactor;
    struct serve *serve;
};

static void serve_dump_core(struct completion *completion)
{
    struct serve_dump *dump = CONTAINER_OF(completion, struct serve_dump, done);
    char line[3072];
    size_t used = 0;
    for (int i = 0; i < STAT_COUNT && used < sizeof(line); i++) {
        used += (size_t)snprintf(line + used, sizeof(line) - used, " %s=%llu",
                                 stat_name((enum stat_id)i),
                                 (unsigned long long)dump->reactor->stats.counters[i]);
    }
    LOG_INFO("counters%s", line);
    serve_happened(dump->serve);
}

static void serve_dump(struct serve *serve)
{
    struct serve_dump dump = {.serve = serve};
    for (uint32_t i = 0; i < serve->thread_count; i++) {
        completion_init(&dump.done, serve_dump_core);
        dump.reactor = serve->reactors[i];
        reactor_post(serve->reactors[i], &dump.done, OK);
        serve_wait(serve);
    }
}

static void serve_until_ending(struct serve *serve)
{
    sigset_t signals = serve->signals;
    sigaddset(&signals, SIGUSR1);
    while (serve->ending == 0) {
        int number = sigwaitinfo(&signals, NULL);
        if (number == SIGUSR1) {
            serve_dump(serve);
        } else {
            serve_take(serve, number);
        }
    }
}

/* Starts the node, serves until a signal, stops it. The exit code. */
static int serve_run(struct serve *serve)
{
    int code = CMD_OK;
    completion_init(&serve->done, serve_answered);
    node_start(serve->node, &serve->done);
    serve_wait(serve);
    if (serve->result < 0 && (serve->result != ERR_CANCELED || serve->ending == 0)) {
        (void)cmd_fail(serve->cmd, errors_of((enum err)serve->result), "%s",
                       node_message(serve->node));
        code = CMD_FAILED;
    } else if (serve->ending == 0) {
        serve_say_ready(serve);
        serve_until_ending(serve);
    }
    completion_init(&serve->done, serve_answered);
    node_stop(serve->node, &serve->done);
    serve_wait(serve);
    if (serve->result < 0) {
        code = cmd_fail(serve->cmd, ERROR_STOP, "the stop failed: %s", node_message(serve->node));
    }
    return code;
}

/* Before any thread, which all inherit the mask. */
static void serve_block_signals(struct serve *serve)
{
    serve->main = pthread_self();
    sigemptyset(&serve->signals);
    sigaddset(&serve->signals, SIGTERM);
    sigaddset(&serve->signals, SIGINT);
    sigaddset(&serve->signals, SERVE_EVENT);
    sigset_t blocked = serve->signals;
    sigaddset(&blocked, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* Everything after the settings are read. */
static int serve_with(struct serve *serve)
{
    serve_block_signals(serve);
    if (!serve_choose_data(serve)) {
        return CMD_FAILED;
    }
    sem_init(&serve->event, 0, 0);
    serve_fill_options(serve);
    int code = serve_share_descriptors(serve);
    if (code == CMD_OK) {
        code = serve_start_threads(serve);
    }
    if (code == CMD_OK && serve->ending == 0) {
        code = node_create(&serve->node, serve->reactors, serve->settings.plan.core_count,
                           &serve->node_options) == OK
                   ? serve_run(serve)
                   : cmd_fail(serve->cmd, ERROR_MEMORY, "out of memory");
    }
    serve_stop_threads(serve);
    node_destroy(serve->node);
    sem_destroy(&serve->event);
    if (serve->data_temporary) {
        serve_dev_remove_directory(serve->data_dir);
    }
    return code;
}

int cmd_serve(const struct cmd *cmd)
{
    if (cmd_value(cmd, "--join") != NULL) {
        return cmd_fail(cmd, ERROR_FLAG,
                        "--join: clusters of more than one node are not there yet");
    }
    struct serve *serve = calloc(1, sizeof(*serve));
    if (serve == NULL) {
        return cmd_fail(cmd, ERROR_MEMORY, "out of memory");
    }
    serve->cmd = cmd;
    serve->dev = cmd_value(cmd, "--dev") != NULL;
    int code = settings_read(&serve->settings, cmd);
    if (code == CMD_OK) {
        code = settings_judge(&serve->settings, cmd);
    }
    if (code == CMD_OK) {
        (void)log_set_level_text(config_text(serve->settings.config, "log.level"));
        code = serve_with(serve);
    }
    settings_close(&serve->settings);
    free(serve);
    return code;
}
